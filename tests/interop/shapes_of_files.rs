//! The odd files: lists of lists, files put together from parts, streams, single files, folders with many entries.

use std::path::Path;

use windlass_tests::{Kind, Listing, Need, Seed, Shape, Slack, Tree, World, scale};

const MIB: usize = 1 << 20;

/// Kopia stores the tree and Windlass restores it; Windlass stores it and Kopia, reading all again, comes to the same root.
/// Returns the most memory that Windlass had, in bytes.
#[track_caller]
fn both_ways(world: &World, shape: &Shape, source: &Path, policy: &[&str]) -> u64 {
    let (wanted, mut peak_memory) = (Listing::of(source), 0);
    for first in ["kopia", "windlass"] {
        let (kopia, windlass) = world.both(&world.path(&format!("repository-{first}")));
        kopia.create(shape);
        kopia.run(&[&["policy", "set", "--global"], policy].concat());
        let restored = world.path(&format!("restored-{first}"));
        if first == "kopia" {
            let theirs = kopia.snapshot(source, &[]);
            windlass.restore(&theirs.id, &restored);
            wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
            windlass.verify_all();
            let ours = windlass.snapshot(source, &[]);
            assert_eq!(ours.root, theirs.root);
            if source.is_dir() {
                ours.assert_all_cached(&wanted); // a source that is a file is read every time, by Kopia too
            }
        } else {
            let ours = windlass.snapshot(source, &[]);
            kopia.verify_all();
            kopia.restore(&ours.id, &restored);
            wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_KOPIA);
            assert_eq!(kopia.snapshot_read_again(source).root, ours.root);
        }
        peak_memory = peak_memory.max(windlass.peak_memory());
    }
    peak_memory
}

#[test]
fn a_file_so_long_that_its_list_of_chunks_is_cut_too() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let tree = Tree::grow(&world.path("source"));
    tree.sparse("sparse", 400 << 20, b"island");
    tree.settle();
    let shape = Shape {
        splitter: "FIXED-128K",
        compression: "zstd-fastest",
        ..Shape::default()
    };
    both_ways(&world, &shape, tree.root(), &["--keep-latest=10"]);
}

#[test]
fn files_put_together_from_parts() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let (tree, mut seed) = (Tree::grow(&world.path("source")), Seed::new(5));
    tree.file("one-part", &seed.bytes(16 * MIB));
    tree.file("four-parts-and-an-empty-one", &seed.bytes(64 * MIB));
    tree.file("one-part-and-a-short-one", &seed.bytes(16 * MIB + 1));
    tree.settle();
    both_ways(
        &world,
        &Shape::default(),
        tree.root(),
        &["--parallel-upload-above-size-mib=16"],
    );
}

/// With `tests/run full`, the names alone are 88 MB.
#[test]
fn a_folder_of_many_entries_is_a_list_of_chunks_itself_and_not_held_in_memory() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let tree = Tree::grow(&world.path("source"));
    for number in 0..scale(10_000, 1_000_000) {
        tree.file(format!("{number:07}-{}", "w".repeat(80)), b"");
    }
    tree.settle();
    let shape = Shape {
        splitter: "DYNAMIC-128K-BUZHASH",
        ..Shape::default()
    };
    let peak = both_ways(&world, &shape, tree.root(), &["--keep-latest=10"]);
    // The key of the repository takes 64 MiB to derive.
    assert!((64 * MIB..96 * MIB).contains(&(peak as usize)), "{} MiB", peak >> 20);
}

#[test]
fn a_source_that_is_a_single_file() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let tree = Tree::grow(&world.path("above"));
    let file = tree.file("single", &Seed::new(6).bytes(9 * MIB));
    both_ways(&world, &Shape::default(), &file, &["--keep-latest=10"]);
}

#[test]
fn an_empty_folder_from_before_1970() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let tree = Tree::grow(&world.path("above"));
    let folder = tree.folder("empty");
    let then = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_nanos(300_000_000_123_456_789);
    std::fs::File::open(&folder)
        .and_then(|folder| folder.set_modified(then))
        .expect("the world is ours");
    both_ways(&world, &Shape::default(), &folder, &["--keep-latest=10"]);
}

#[test]
fn a_stream_that_kopia_stored() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let (kopia, windlass) = world.both(&world.path("repository"));
    kopia.create(&Shape::default());
    let bytes = Seed::new(8).bytes(10 * MIB);
    let made = kopia.snapshot_of_stream("/stream", "piped", &bytes);
    let restored = world.path("restored");
    windlass.restore(&made.id, &restored);
    assert!(
        std::fs::read(restored.join("piped")).expect("the stream was restored") == bytes,
        "other bytes came back"
    );
    let shown = windlass.run(&["snapshot", "cat", &format!("{}/piped", made.id)]);
    assert!(shown.stdout == bytes, "other bytes were shown");
}

#[test]
fn every_kind_of_entry_that_kopia_stored() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let (kopia, windlass) = world.both(&world.path("repository"));
    kopia.create(&Shape::default());
    let source = world.path("source");
    Tree::every_kind(&source, 7);
    let wanted = Listing::of(&source).as_stored();
    assert!(wanted.count(|kind| matches!(kind, Kind::Special)) == 0 && wanted.count(|_| true) > 100);
    let theirs = kopia.snapshot(&source, &[]);
    let (by_windlass, by_kopia) = (world.path("by-windlass"), world.path("by-kopia"));
    kopia.restore(&theirs.id, &by_kopia);
    wanted.assert_same(&Listing::of(&by_kopia), Slack::RESTORED_BY_KOPIA);
    windlass.restore(&theirs.id, &by_windlass);
    wanted.assert_same(&Listing::of(&by_windlass), Slack::RESTORED_BY_WINDLASS);
    Listing::of(&by_kopia).assert_same(&Listing::of(&by_windlass), Slack::BOTH_RESTORED);
    let ours = windlass.snapshot(&source, &[]);
    assert_eq!(ours.root, theirs.root);
    ours.assert_all_cached(&wanted);
}
