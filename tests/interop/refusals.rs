//! The refusals: wrong passwords, damage and lack of room end in a clear word and exit code 1, and harm nothing that was readable.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use windlass_tests::command::{Outcome, says};
use windlass_tests::{Listing, Need, Seed, Shape, Slack, Tree, Windlass, World, workspace};

use crate::small_disk::SmallDisk;

/// A copy of a golden repository, and what it holds.
struct Golden {
    world: World,
    folder: PathBuf,
    expected: Value,
}

impl Golden {
    fn copy_of(name: &str) -> Option<Self> {
        let world = World::with(&[])?;
        let golden = workspace().join("repo-format/golden/repositories").join(name);
        let expected = std::fs::read(golden.join("expected.json")).expect("a golden repository says what it holds");
        let expected = serde_json::from_slice(&expected).expect("the recipe writes JSON");
        let folder = world.path("repository");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(golden.join("repository"))
            .arg(&folder)
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "cannot copy {}",
            golden.display()
        );
        Some(Self {
            world,
            folder,
            expected,
        })
    }

    fn windlass(&self) -> Windlass {
        self.world.windlass(
            &self.folder,
            self.expected["password"].as_str().expect("a password is text"),
        )
    }

    /// The files of all blobs whose name begins so.
    fn blobs(&self, prefix: &str) -> Vec<(String, PathBuf)> {
        let (mut blobs, mut waiting) = (Vec::new(), vec![(String::new(), self.folder.clone())]);
        while let Some((above, folder)) = waiting.pop() {
            for entry in std::fs::read_dir(folder).expect("the copy is ours").flatten() {
                let name = format!("{above}{}", entry.file_name().to_string_lossy());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    waiting.push((name, entry.path()));
                } else if let Some(blob) = name.strip_suffix(".f").filter(|blob| blob.starts_with(prefix)) {
                    blobs.push((blob.to_owned(), entry.path()));
                }
            }
        }
        blobs.sort();
        assert!(!blobs.is_empty(), "there is no {prefix} blob");
        blobs
    }

    /// A content of the packs whose name begins so: where its bytes lie.
    fn content_in(&self, class: &str) -> (String, PathBuf, usize) {
        let contents = self.expected["contents"].as_object().expect("contents by id");
        let content = contents
            .values()
            .find(|content| {
                content["deleted"].is_null() && content["pack"].as_str().is_some_and(|pack| pack.starts_with(class))
            })
            .expect("each class of packs holds a content");
        let pack = content["pack"].as_str().expect("a pack has a name");
        let number = |key: &str| usize::try_from(content[key].as_u64().expect("a number")).expect("small");
        let (_, path) = self.blobs(pack).remove(0);
        (pack.to_owned(), path, number("offset") + number("packed") / 2)
    }
}

/// The outcome is a refusal: exit code 1, words on standard error, among them this one; no panic.
#[track_caller]
fn refused(outcome: Outcome, naming: &str) {
    says(&outcome.exits_with(1), &[naming]);
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the copy is ours");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the copy is ours");
}

fn flip(path: &Path, at: usize) {
    change(path, |bytes| bytes[at] ^= 0x10);
}

const SMALL: &str = "hash-blake2b-256-128";

#[test]
fn a_wrong_password() {
    let Some(golden) = Golden::copy_of(SMALL) else { return };
    refused(
        golden
            .world
            .windlass(&golden.folder, "wrong")
            .try_run(&["snapshot", "list", "--all"]),
        "password",
    );
    golden.windlass().run(&["snapshot", "list", "--all"]);
}

#[test]
fn what_is_not_a_repository() {
    let Some(world) = World::with(&[]) else { return };
    let empty = world.path("empty");
    refused(world.windlass(&empty, "password").try_run(&["repo", "status"]), "empty");
    std::fs::create_dir(&empty).expect("the world is ours");
    refused(
        world.windlass(&empty, "password").try_run(&["repo", "status"]),
        "kopia.repository",
    );
    assert!(!empty.join("kopia.repository.f").exists(), "looking made a repository");
}

#[test]
fn a_repository_is_not_made_over_another() {
    let Some(golden) = Golden::copy_of(SMALL) else { return };
    let before = Listing::of(&golden.folder);
    golden.windlass().try_run(&["repo", "init"]).exits_with(1);
    before.assert_same(&Listing::of(&golden.folder), Slack::NONE);
    golden.windlass().run(&["repo", "verify"]);
}

#[test]
fn a_format_blob_cut_short_or_changed() {
    let Some(golden) = Golden::copy_of(SMALL) else { return };
    let (name, path) = golden.blobs("kopia.repository").remove(0);
    let whole = std::fs::read(&path).expect("the copy is ours");
    for length in [0, 1, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&path, &whole[..length]).expect("the copy is ours");
        refused(golden.windlass().try_run(&["repo", "status"]), &name);
    }
    std::fs::write(&path, &whole).expect("the copy is ours");
    let sealed = String::from_utf8_lossy(&whole)
        .find("encryptedBlockFormat")
        .expect("the format blob is JSON");
    change(&path, |bytes| {
        bytes[sealed + 40] = if bytes[sealed + 40] == b'A' { b'B' } else { b'A' }
    });
    golden.windlass().try_run(&["repo", "status"]).exits_with(1);
    std::fs::write(&path, &whole).expect("the copy is ours");
    golden.windlass().run(&["repo", "status"]);
}

#[test]
fn an_index_cut_short_or_changed() {
    for damage in ["cut", "flip", "empty"] {
        let Some(golden) = Golden::copy_of(SMALL) else { return };
        let (name, path) = golden.blobs("xn").remove(0);
        match damage {
            "cut" => change(&path, |bytes| bytes.truncate(bytes.len() - 1)),
            "flip" => flip(&path, 20),
            _ => change(&path, Vec::clear),
        }
        refused(golden.windlass().try_run(&["snapshot", "list", "--all"]), &name);
    }
}

#[test]
fn a_content_changed_in_its_pack() {
    for class in ["p", "q"] {
        let Some(golden) = Golden::copy_of(SMALL) else { return };
        let (pack, path, at) = golden.content_in(class);
        flip(&path, at);
        refused(golden.windlass().try_run(&["repo", "verify"]), &pack);
    }
}

#[test]
fn a_pack_that_is_gone_or_cut_short() {
    for class in ["p", "q"] {
        let Some(golden) = Golden::copy_of(SMALL) else { return };
        let (pack, path, at) = golden.content_in(class);
        change(&path, |bytes| bytes.truncate(at));
        refused(golden.windlass().try_run(&["repo", "verify"]), &pack);
        std::fs::remove_file(path).expect("the copy is ours");
        refused(golden.windlass().try_run(&["repo", "verify"]), &pack);
    }
}

#[test]
fn a_restore_from_damaged_data_says_which_file_is_lost() {
    let Some(golden) = Golden::copy_of(SMALL) else { return };
    let (_, path, at) = golden.content_in("p");
    flip(&path, at);
    let id = golden.expected["snapshots"][0]["id"]
        .as_str()
        .expect("an id is text")
        .to_owned();
    let target = golden.world.path("restored");
    let target = target.to_str().expect("paths of worlds are text");
    let outcome = golden.windlass().try_run(&["snapshot", "restore", &id, target]);
    assert!(matches!(outcome.code, Some(1 | 3)), "{outcome:?}");
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}

/// Kopia has a switch for its own tests that puts such a demand into a repository.
#[test]
fn a_feature_that_nobody_knows_is_warned_of_or_refused_as_kopia_does() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    let source = world.path("source");
    Tree::sized(&source, 1, &[1000]);
    kopia.create(&Shape::default());
    let made = kopia.snapshot(&source, &[]);
    kopia.require_feature("of-tomorrow", true);
    let warned = windlass.run(&["snapshot", "list", "--all"]);
    says(&warned, &["does not know", "of-tomorrow"]);
    assert_eq!(windlass.snapshot(&source, &[]).root, made.root);
    assert_eq!(kopia.snapshots().len(), 2);

    kopia.require_feature("of-the-day-after", false);
    let before = Listing::of(&repository);
    let password = world.path("password");
    std::fs::write(&password, "another").expect("the world is ours");
    let text = |path: &Path| path.to_str().expect("paths of worlds are text").to_owned();
    let (source, password, target) = (text(&source), text(&password), text(&world.path("restored")));
    for command in [
        &["repo", "status"][..],
        &["repo", "verify"],
        &["repo", "recover-index"],
        &["repo", "change-password", "--new-password-file", &password],
        &["snapshot", "create", &source],
        &["snapshot", "list", "--all"],
        &["snapshot", "restore", &made.id, &target],
        &["snapshot", "verify"],
        &["snapshot", "delete", &made.id],
    ] {
        refused(windlass.try_run(command), "of-the-day-after");
    }
    refused(
        kopia.try_with_input(&["snapshot", "list", "--all"], &[]),
        "of-the-day-after",
    );
    refused(windlass.try_run(&["repo", "init"]), "already there");
    assert!(!Path::new(&target).exists(), "something was restored");
    before.assert_same(&Listing::of(&repository), Slack::NONE);
}

#[test]
fn a_change_of_the_password_that_was_interrupted_is_said_and_finished() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    let source = world.path("source");
    Tree::sized(&source, 1, &[1000]);
    kopia.create(&Shape::default());
    kopia.snapshot(&source, &[]);
    let settings = repository.join("kopia.repository.f");
    let before = std::fs::read(&settings).expect("Kopia has made it");
    kopia.change_password("another");
    // As after a crash between the two: Kopia writes this blob last.
    std::fs::write(&settings, before).expect("the repository is ours");
    kopia.forget_cache();
    kopia.try_with_input(&["snapshot", "list", "--all"], &[]).exits_with(1);

    refused(windlass.try_run(&["snapshot", "list", "--all"]), "was interrupted");
    let other = world.windlass(&repository, "another");
    refused(other.try_run(&["snapshot", "list", "--all"]), "was interrupted");
    windlass.change_password("another");
    assert_eq!(windlass.snapshots().len(), 1);
    kopia.forget_cache();
    assert_eq!(kopia.snapshots().len(), 1);
}

/// Two snapshots at the same moment by two programs of ours and one by Kopia: all are kept.
#[test]
fn three_writers_at_once() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let kopia = world.kopia(&repository, "password");
    kopia.create(&Shape::default());
    let trees: Vec<_> = (0..3_u64)
        .map(|number| {
            let root = world.path(&format!("source-{number}"));
            Tree::sized(&root, number, &[10_000_000, 5_000_000, 100])
        })
        .collect();
    let (first, second) = (
        world.windlass(&repository, "password"),
        world.windlass(&repository, "password"),
    );
    std::thread::scope(|scope| {
        scope.spawn(|| first.snapshot(trees[0].root(), &[]));
        scope.spawn(|| second.snapshot(trees[1].root(), &[]));
        kopia.run(&[
            "snapshot",
            "create",
            trees[2].root().to_str().expect("paths of worlds are text"),
        ]);
    });
    kopia.forget_cache();
    assert_eq!(kopia.snapshots().len(), 3);
    assert_eq!(first.snapshots().len(), 3);
    kopia.verify_all();
    first.verify_all();
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written() {
    let Some(world) = World::with(&[Need::Root, Need::Mounts]) else {
        return;
    };
    let at = world.path("disk");
    let disk = SmallDisk::mounted(&at, "size=40m");
    let repository = world.path("disk/repository");
    let windlass = world.windlass(&repository, "password");
    windlass.init(&Shape::default());
    let small = world.path("small");
    Tree::sized(&small, 1, &[1000, 2_000_000]);
    let kept = windlass.snapshot(&small, &[]);
    let large = Tree::grow(&world.path("large"));
    large.file("large", &Seed::new(2).bytes(100_000_000));
    windlass.try_snapshot(large.root(), &[]).exits_with(1);
    let readable = || {
        assert_eq!(windlass.snapshots().len(), 1);
        windlass.listed(&kept.id);
        windlass.verify_all();
    };
    readable();
    disk.mount(&["-o", "remount,ro"]);
    windlass.try_snapshot(large.root(), &[]).exits_with(1);
    readable();
    disk.mount(&["-o", "remount,rw"]);
}
