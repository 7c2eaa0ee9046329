//! The rules room: policies and ignore files lead both programs to the same tree, and so to the same root object id.

use std::path::Path;

use windlass_tests::{Kopia, Listing, Need, Seed, Shape, Slack, Tree, Windlass, World};

/// Windlass takes a snapshot, Kopia reads every file again: the roots are the same. So is what each restores.
#[track_caller]
fn same_root(world: &World, kopia: &Kopia, windlass: &Windlass, source: &Path) -> Listing {
    let ours = windlass.snapshot(source, &[]);
    let theirs = kopia.snapshot_read_again(source);
    if ours.root != theirs.root {
        let (left, right) = (world.path("ours"), world.path("theirs"));
        kopia.restore(&ours.id, &left);
        kopia.restore(&theirs.id, &right);
        Listing::of(&left).assert_same(&Listing::of(&right), Slack::BOTH_RESTORED);
        panic!(
            "the trees are the same, but the roots are {} and {}",
            ours.root, theirs.root
        );
    }
    let restored = world.path(&format!("restored-{}", ours.id));
    windlass.restore(&ours.id, &restored);
    Listing::of(&restored)
}

fn scene() -> Option<(World, Kopia, Windlass)> {
    let world = World::with(&[Need::Root, Need::Kopia])?;
    let (kopia, windlass) = world.both(&world.path("repository"));
    kopia.create(&Shape::default());
    Some((world, kopia, windlass))
}

#[test]
fn ignore_files_leave_out_the_same_entries() {
    let Some((world, kopia, windlass)) = scene() else {
        return;
    };
    let tree = Tree::grow(&world.path("source"));
    tree.file(
        ".kopiaignore",
        b"# comment\n\n*.tmp\n!keep.tmp\n/anchored\nfolder-only/\na/**/z\n[xy].bin\nspace\\ \ninner/anchor\n",
    );
    for name in [
        "a.tmp",
        "keep.tmp",
        "anchored",
        "sub/anchored",
        "folder-only/inside",
        "sub/folder-only",
        "a/b/c/z",
        "a/z",
        "x.bin",
        "z.bin",
        "inner/anchor",
        "sub/inner/anchor",
        "kept",
    ] {
        tree.file(name, name.as_bytes());
    }
    tree.file("deeper/.kopiaignore", b"!*.tmp\n*.log\n");
    tree.file("deeper/comes-back.tmp", b"negated below\n");
    tree.file("deeper/gone.log", b"gone\n");
    tree.file("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    tree.file("cache/left-out", b"left out\n");
    tree.file("no-cache/CACHEDIR.TAG", b"another signature\n");
    tree.settle();
    let restored = same_root(&world, &kopia, &windlass, tree.root());
    let paths: Vec<_> = restored
        .entries()
        .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
        .collect();
    for gone in ["a.tmp", "anchored", "folder-only", "cache/left-out"] {
        assert!(!paths.iter().any(|path| path == gone), "{gone} should be left out");
    }
    for kept in ["keep.tmp", "sub/anchored", "kept", "no-cache/CACHEDIR.TAG"] {
        assert!(paths.iter().any(|path| path == kept), "{kept} should be kept");
    }
}

#[test]
fn policies_of_folders_choose_ignores_sizes_compressors_and_splitters() {
    let Some((world, kopia, windlass)) = scene() else {
        return;
    };
    let (tree, mut seed) = (Tree::grow(&world.path("source")), Seed::new(9));
    for folder in ["plain", "zipped", "cut", "picky"] {
        tree.file(format!("{folder}/prose.txt"), &seed.prose(700_000));
        tree.file(format!("{folder}/picture.jpg"), &seed.prose(50_000));
        tree.file(format!("{folder}/large"), &seed.bytes(900_000));
    }
    tree.settle();
    let path = |below: &str| format!("u@h:{}{below}", tree.root().display());
    kopia.run(&[
        "policy",
        "set",
        "--global",
        "--compression=s2-default",
        "--add-ignore=never-there",
    ]);
    kopia.run(&["policy", "set", "@h", "--add-never-compress=.jpg"]);
    kopia.run(&["policy", "set", "u@h", "--compression-min-size=1000"]);
    kopia.run(&["policy", "set", &path(""), "--add-dot-ignore=.other-ignore"]);
    kopia.run(&[
        "policy",
        "set",
        &path("/zipped"),
        "--compression=zstd-better-compression",
    ]);
    kopia.run(&["policy", "set", &path("/cut"), "--splitter=FIXED-128K"]);
    kopia.run(&[
        "policy",
        "set",
        &path("/picky"),
        "--max-file-size=800000",
        "--add-ignore=*.jpg",
    ]);
    let mut wanted = Listing::of(tree.root());
    wanted.remove("picky/large");
    wanted.remove("picky/picture.jpg");
    wanted.assert_same(
        &same_root(&world, &kopia, &windlass, tree.root()),
        Slack::RESTORED_BY_WINDLASS,
    );
}

#[test]
fn retention_leaves_the_same_snapshots() {
    let Some((world, kopia, windlass)) = scene() else {
        return;
    };
    kopia.run(&[
        "policy",
        "set",
        "--global",
        "--keep-latest=3",
        "--keep-hourly=0",
        "--keep-daily=0",
        "--keep-weekly=0",
        "--keep-monthly=0",
        "--keep-annual=0",
    ]);
    let tree = Tree::grow(&world.path("source"));
    let mut made = Vec::new();
    for round in 0..5_u8 {
        tree.file(format!("file-{round}"), &[round]);
        made.push(windlass.snapshot(tree.root(), &[]).id);
    }
    let listed: Vec<_> = kopia.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(listed, made[2..]);
}
