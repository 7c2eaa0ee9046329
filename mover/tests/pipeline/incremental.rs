//! The next time: what has not changed is not read again, and what has is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use windlass_mover::repository::CreateOptions;
use windlass_mover::snapshot::{SnapshotOptions, SnapshotReport};
use windlass_mover::storage::Counting;
use windlass_repo_format::policy::{Policy, RetentionPolicy};
use windlass_repo_format::snapshot::EntryKind;

use crate::world::{Hooked, World, is_root, noise, set_mtime, splitter, stoppable};

/// Something that happens to a source between two snapshots.
type Deed<'a> = Box<dyn Fn() + 'a>;
/// Makes of a name in the world what the story says it becomes.
type Becoming = fn(&World);

/// Files, cached ones and bytes that a run read.
fn counts(report: &SnapshotReport) -> (u64, u64, u64) {
    let stats = report.manifest.stats;
    (stats.non_cached_files, stats.cached_files, report.bytes_read)
}

#[test]
fn nothing_is_read_when_nothing_has_changed() {
    let world = World::new();
    world
        .file("a", "1")
        .file("sub/b", noise(1, 500_000))
        .file("empty", "")
        .link("link", "a");
    let storage = Arc::new(Counting::new(world.memory.clone()));
    let repository = world.open_through(storage.clone()).unwrap();
    let first = world.snapshot(&repository);
    assert_eq!(counts(&first), (3, 0, 500_002));
    let before = storage.counts();
    let second = world.snapshot(&repository);
    assert_eq!(counts(&second), (0, 4, 0));
    assert_eq!(second.root(), first.root());
    assert_eq!(
        second.manifest.stats.total_size, 500_002,
        "cached links count with their targets"
    );
    assert_eq!(first.manifest.stats.total_size, 500_001, "read ones do not");
    let after = storage.counts();
    // The marker, the pack with the manifest, its index.
    assert_eq!(after.puts - before.puts, 3);
    // Nothing of the files; the two earlier directories and the manifests only.
    assert!(after.read_bytes - before.read_bytes < 20_000);
    let forced = world.snapshot_with(&repository, &world.options_rereading());
    assert_eq!(counts(&forced), (3, 0, 500_002));
    assert_eq!(forced.root(), first.root());
}

#[test]
fn every_attribute_that_changes_has_exactly_its_file_read_again() {
    let world = World::new();
    let names = [
        "mtime",
        "mtime-by-one",
        "mode",
        "owner",
        "group",
        "size",
        "sticky",
        "back",
    ];
    for name in names {
        world.file(name, format!("content of {name}"));
        set_mtime(&world.path(name), "2026-01-01T00:00:00.5Z".parse().unwrap());
    }
    world.link("link", "old");
    let repository = world.open();
    world.snapshot(&repository);
    let mut changes: Vec<(&str, Deed<'_>)> = vec![
        (
            "mtime",
            Box::new(|| set_mtime(&world.path("mtime"), "2026-01-02T00:00:00.5Z".parse().unwrap())),
        ),
        (
            "mtime-by-one",
            Box::new(|| {
                set_mtime(
                    &world.path("mtime-by-one"),
                    "2026-01-01T00:00:00.500000001Z".parse().unwrap(),
                )
            }),
        ),
        (
            "back",
            Box::new(|| set_mtime(&world.path("back"), "1965-01-01T00:00:00Z".parse().unwrap())),
        ),
        (
            "mode",
            Box::new(|| {
                world.mode("mode", 0o600);
            }),
        ),
        (
            "sticky",
            Box::new(|| {
                world.mode("sticky", 0o1644);
            }),
        ),
        (
            "size",
            Box::new(|| {
                world.file("size", "longer than it was before");
                set_mtime(&world.path("size"), "2026-01-01T00:00:00.5Z".parse().unwrap());
            }),
        ),
    ];
    if is_root("give files away") {
        changes.push((
            "owner",
            Box::new(|| chown(world.path("owner"), Some(1234), None).unwrap()),
        ));
        changes.push((
            "group",
            Box::new(|| chown(world.path("group"), None, Some(1234)).unwrap()),
        ));
    }
    for (name, change) in changes {
        change();
        let len = fs::metadata(world.path(name)).unwrap().len();
        let report = world.snapshot(&repository);
        assert_eq!(counts(&report), (1, names.len() as u64, len), "{name}");
        assert_eq!(report.bytes_read, len);
        let kept = &world.tree(&report)[name.as_bytes()];
        assert_eq!(kept.bytes, fs::read(world.path(name)).unwrap());
        assert_eq!(
            kept.entry.mode.to_unix(),
            fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o7777
        );
    }
    fs::remove_file(world.path("link")).unwrap();
    world.link("link", "new target");
    let report = world.snapshot(&repository);
    assert_eq!(counts(&report), (0, names.len() as u64, 10));
    assert_eq!(world.tree(&report)[&b"link"[..]].bytes, b"new target");
}

#[test]
fn an_entry_may_become_something_else() {
    let world = World::new();
    let repository = world.open();
    let becomes: [(&str, EntryKind, Becoming); 6] = [
        ("file", EntryKind::File, |world| {
            world.file("x", "now a file");
        }),
        ("folder", EntryKind::Directory, |world| {
            world.file("x/inside", "now a folder");
        }),
        ("link", EntryKind::Symlink, |world| {
            world.link("x", "now a link");
        }),
        ("folder", EntryKind::Directory, |world| {
            world.file("x/inside", "a folder again");
        }),
        ("file", EntryKind::File, |world| {
            world.file("x", "a file again");
        }),
        ("link", EntryKind::Symlink, |world| {
            world.link("x", "a link again");
        }),
    ];
    for (what, kind, make) in becomes {
        let path = world.path("x");
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            let _ = fs::remove_file(&path);
        }
        make(&world);
        set_mtime(&path, "2026-01-01T00:00:00Z".parse().unwrap());
        let report = world.snapshot(&repository);
        let tree = world.tree(&report);
        assert_eq!(tree[&b"x"[..]].entry.kind, kind, "{what}");
        assert_eq!(report.manifest.stats.cached_files, 0, "{what}");
    }
}

#[test]
fn large_earlier_folders_with_names_in_another_encoding_are_found_again() {
    // Such names are stored with replacement characters, which sort behind everything they stood before: the window
    // over the earlier folder was believed to have passed all that follows.
    let world = World::for_many_files();
    for number in 0..25_000 {
        world.file(format!("file-{number:05}"), "");
    }
    world
        .file(b"aaa\xff", "sorts first")
        .file("zzz", "last")
        .file("\u{e9}", "even later");
    let repository = world.open();
    world.snapshot(&repository);
    let again = world.snapshot(&repository);
    assert_eq!(
        counts(&again),
        (1, 25_002, 11),
        "only the name that is no text cannot be looked up"
    );
}

#[test]
fn an_interrupted_run_and_the_complete_one_before_it_are_both_built_on() {
    let world = World::new();
    for number in 0..20 {
        world.file(format!("old{number:02}"), noise(number, 10_000));
    }
    let repository = world.open();
    world.snapshot(&repository);
    for number in 0..20 {
        world.file(format!("new{number:02}"), noise(100 + number, 2_000_000));
    }
    // Stopped when the first pack is written, after about half of the new files.
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let hooked = Hooked {
        inner: world.memory.clone(),
        hook: Box::new(move |_, name| {
            raised.fetch_or(name.starts_with('p'), Ordering::Relaxed);
        }),
    };
    let through = world.open_through(Arc::new(hooked)).unwrap();
    world.clock.advance(jiff::SignedDuration::from_mins(1));
    // On one thread, so that what comes after the stop is surely not read yet.
    let options = SnapshotOptions {
        single_thread: true,
        ..world.options()
    };
    let interrupted = stoppable(&through, &options, &stop).unwrap();
    assert_eq!(interrupted.manifest.incomplete.as_deref(), Some("canceled"));
    let next = world.snapshot(&repository);
    let read_before = interrupted.manifest.stats.non_cached_files;
    assert_eq!(next.manifest.stats.cached_files, 20 + read_before);
    assert_eq!(next.manifest.stats.non_cached_files, 20 - read_before);
    assert_eq!(next.manifest.incomplete, None);
    assert_eq!(world.tree(&next).len(), 41);
}

#[test]
fn an_identical_snapshot_is_not_filed_where_the_policy_does_not_want_it() {
    let world = World::new();
    world.file("a", "1");
    world.policy(&Policy {
        retention: RetentionPolicy {
            ignore_identical_snapshots: Some(true),
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    });
    let repository = world.open();
    assert!(world.snapshot(&repository).id.is_some());
    assert_eq!(world.snapshot(&repository).id, None);
    assert_eq!(world.list(&repository).len(), 1);
    world.file("a", "2");
    assert!(world.snapshot(&repository).id.is_some());
    assert_eq!(world.list(&repository).len(), 2);
}

#[test]
fn a_large_file_that_changed_in_places_is_cut_as_a_fresh_look_would() {
    const LEN: usize = 160 << 20;
    let world = World::with(&CreateOptions {
        splitter: splitter("DYNAMIC-1M-BUZHASH"),
        ..CreateOptions::default()
    });
    let mut bytes = noise(7, LEN);
    world.file("disk", &bytes);
    let repository = world.open();
    world.snapshot(&repository);
    let deeds: [fn(&mut Vec<u8>); 5] = [
        |_| {},
        |bytes| bytes[50 << 20] ^= 1,
        |bytes| bytes[20 << 20..26 << 20].fill(0),
        // All cuts behind it are where they were, and the file's bytes are not.
        |bytes| {
            bytes.remove(90 << 20);
            bytes.insert(100 << 20, 7);
        },
        |bytes| bytes.truncate(140 << 20),
    ];
    for (number, deed) in deeds.iter().enumerate() {
        deed(&mut bytes);
        world.file("disk", &bytes);
        set_mtime(
            &world.path("disk"),
            Timestamp::from_second(1_700_000_000 + number as i64).unwrap(),
        );
        let options = SnapshotOptions {
            parallel: Some(1 + number % 2),
            ..world.options()
        };
        let guessed = world.snapshot_with(&repository, &options);
        let fresh = world.snapshot_with(&repository, &world.options_rereading());
        assert_eq!(guessed.root(), fresh.root(), "deed {number}");
        assert_eq!(fresh.bytes_read, bytes.len() as u64);
        // What was guessed wrongly was read once more: the chunk that changed, and perhaps the next one.
        let again = guessed.bytes_read - fresh.bytes_read;
        assert_eq!(
            again > 0,
            (1..=3).contains(&number),
            "deed {number}: {again} bytes again"
        );
        assert!(again <= 16 << 20, "deed {number}: {again} bytes again");
    }
}
