//! The outsider's room: a user without any rights backs up what he may read, and restores what he cannot give away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use windlass_tests::command::{run, says};
use windlass_tests::{Attributes, Kind, Kopia, Listing, NOBODY, Need, Tree, World};

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of worlds are text")
}

/// A folder of root's in which nobody may read some files and folders, and what these are, in order.
fn partly_secret(root: &Path) -> (Tree, [&'static str; 4]) {
    let tree = Tree::grow(root);
    tree.file("readable", b"kept");
    tree.file("folder/readable", b"kept");
    tree.file("folder/secret", b"not kept");
    tree.file("locked/inside", b"not kept");
    tree.link("only-names/inside", "target", 1);
    tree.file("secret", b"not kept");
    for (name, mode) in [
        ("folder/secret", 0o000),
        ("locked", 0o700),
        ("only-names", 0o744),
        ("secret", 0o600),
    ] {
        fs::set_permissions(tree.root().join(name), Permissions::from_mode(mode)).expect("the tree is ours");
    }
    (tree, ["folder/secret", "locked", "only-names", "secret"])
}

#[test]
fn what_cannot_be_read_is_listed_and_the_rest_is_kept() {
    let Some(world) = World::with(&[Need::Root]) else {
        return;
    };
    let folder = world.nobodys_folder("of-nobody");
    let windlass = world.nobodys_windlass(&folder.join("repository"), "password");
    let nameless = |arguments: &[&str]| run(&mut windlass.nameless(arguments), &[]);
    let (tree, secrets) = partly_secret(&world.path("source"));
    let source = text(tree.root());
    let made = nameless(&["snapshot", "create", source]).exits_with(3);
    says(
        &made,
        &secrets
            .map(|secret| format!("{secret}: Permission denied"))
            .each_ref()
            .map(String::as_str),
    );
    let made = nameless(&["snapshot", "create", source, "--json"]).exits_with(3).json();
    assert_eq!(
        (&made["errorCount"], &made["files"]),
        (&Value::from(4), &Value::from(2))
    );
    let id = made["id"].as_str().expect("a snapshot has an id");
    let restored = folder.join("restored");
    nameless(&["snapshot", "restore", id, text(&restored)]).succeeds();
    assert_eq!(fs::read(restored.join("readable")).expect("it was restored"), b"kept");
    nameless(&["snapshot", "create", &format!("{source}/secret")]).exits_with(1);
    assert_ne!(nameless(&["--repo", "/proc/repository", "repo", "init"]).code, Some(0));

    let not_theirs = world.path("not-theirs");
    fs::create_dir(&not_theirs).expect("the world is ours");
    let windlass = world.nobodys_windlass(&not_theirs.join("repository"), "password");
    says(
        &windlass.try_run(&["repo", "init"]).exits_with(1),
        &["permission denied"],
    );
}

/// What Kopia says of a snapshot's tree, but for the words of the errors, which are each program's own.
fn summary(kopia: &Kopia, id: &str) -> Value {
    let mut summary = kopia.listed(id).json["rootEntry"]["summ"].take();
    for error in summary["errors"].as_array_mut().into_iter().flatten() {
        let words = error["error"].take();
        assert!(
            words
                .as_str()
                .is_some_and(|words| words.to_lowercase().contains("permission denied")),
            "{words}"
        );
    }
    summary
}

#[test]
fn both_programs_count_the_same_failures_and_ignore_them_when_a_policy_says_so() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.nobodys_folder("of-nobody").join("repository");
    let (kopia, windlass) = (
        world.nobodys_kopia(&repository, "password"),
        world.nobodys_windlass(&repository, "password"),
    );
    kopia.create(&Default::default());
    let (tree, secrets) = partly_secret(&world.path("source"));
    for (ignored, our_code, their_code) in [(false, 3, 1), (true, 0, 0)] {
        if ignored {
            kopia.run(&[
                "policy",
                "set",
                "--global",
                "--ignore-file-errors=true",
                "--ignore-dir-errors=true",
            ]);
        }
        let ours = windlass.try_snapshot(tree.root(), &[]).exits_with(our_code).json();
        let theirs = kopia
            .try_with_input(&["snapshot", "create", text(tree.root()), "--json"], &[])
            .exits_with(their_code)
            .json();
        let [ours, theirs] = [&ours, &theirs].map(|made| made["id"].as_str().expect("a snapshot has an id"));
        let seen = summary(&kopia, ours);
        assert_eq!(seen, summary(&kopia, theirs));
        let count = if ignored { "numIgnoredErrors" } else { "numFailed" };
        assert_eq!(seen[count], secrets.len(), "{seen}");
        let failed = seen["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| &error["path"]);
        assert!(failed.eq(&secrets), "{seen}");
        let (errors, ignored_errors) = if ignored { (0, 4) } else { (4, 0) };
        for id in [ours, theirs] {
            let stats = &kopia.listed(id).json["stats"];
            assert_eq!(stats["errorCount"], errors, "{stats}");
            assert_eq!(stats["ignoredErrorCount"], ignored_errors, "{stats}");
        }
    }
    kopia.verify_all();
    windlass.verify_all();
}

/// Path, kind and permission word of all that was restored, all of which belongs to nobody.
fn restored(folder: &Path) -> Vec<(Vec<u8>, Kind, u32)> {
    let listing = Listing::of(folder);
    let entries = listing.entries().map(|(path, entry)| {
        assert_eq!((entry.uid, entry.gid), (NOBODY, NOBODY), "{}", path.escape_ascii());
        (path.to_vec(), entry.kind.clone(), entry.mode)
    });
    entries.collect()
}

/// Kopia leaves set-user and set-group permission on files that now belong to another; Windlass takes it away.
#[test]
fn what_cannot_be_given_away_belongs_to_who_restored_it() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let folder = world.nobodys_folder("of-nobody");
    let repository = folder.join("repository");
    let (kopia, windlass) = (
        world.nobodys_kopia(&repository, "password"),
        world.nobodys_windlass(&repository, "password"),
    );
    let tree = Tree::grow(&world.path("source"));
    for mode in [0o644, 0o4755, 0o2755, 0o6711, 0o1644] {
        let attributes = Attributes {
            mode: mode | 0o444,
            owner: Some((12345, 54321)),
            ..Attributes::default()
        };
        tree.file_with(format!("{mode:o}"), b"owned", attributes);
    }
    for mode in [0o755, 0o1777, 0o2755] {
        let name = tree.folder(format!("folder-{mode:o}"));
        fs::set_permissions(name, Permissions::from_mode(mode)).expect("the tree is ours");
    }
    tree.link("link", "444", 1);
    windlass.init(&Default::default());
    let made = windlass.snapshot(tree.root(), &[]);
    kopia.connect();
    let (by_kopia, by_windlass) = (folder.join("by-kopia"), folder.join("by-windlass"));
    kopia.restore(&made.id, &by_kopia);
    let told = windlass
        .run(&["snapshot", "restore", &made.id, text(&by_windlass), "--json"])
        .json();
    let wanted: Vec<_> = Listing::of(tree.root())
        .entries()
        .map(|(path, entry)| (path.to_vec(), entry.kind.clone(), entry.mode))
        .collect();
    assert_eq!(restored(&by_kopia), wanted);
    let without = |(path, kind, mode): (Vec<u8>, Kind, u32)| (path, kind, mode & !0o6000);
    assert_eq!(
        restored(&by_windlass),
        wanted.into_iter().map(without).collect::<Vec<_>>()
    );
    assert_eq!(told["unowned"], 10, "{told}");
}
