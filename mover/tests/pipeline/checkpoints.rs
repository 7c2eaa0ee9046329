//! Half-time: what a checkpoint holds of files that are not finished yet.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use windlass_mover::Repository;
use windlass_mover::blocking::block_on;
use windlass_mover::diff::{Change, diff};
use windlass_mover::random::SeededRandom;
use windlass_mover::repository::CreateOptions;
use windlass_mover::restore::{RestoreOptions, RestoreProgress, restore};
use windlass_mover::snapshot::SnapshotOptions;
use windlass_mover::snapshots::Snapshot;
use windlass_mover::storage::Faulty;
use windlass_mover::storage::faulty::{Fault, Operation};
use windlass_mover::verify::{VerifyOptions, VerifyProgress, verify_snapshots};
use windlass_repo_format::compression::Compression;
use windlass_repo_format::policy::{Policy, UploadPolicy};
use windlass_repo_format::snapshot::{EntryKind, is_checkpointed_name};

use crate::world::{Dice, Kept, Tree, World, noise, read_tree, small_chunks, snapshot_of, splitter};

static NO: AtomicBool = AtomicBool::new(false);
const CHUNK: u64 = 128 << 10;

/// The bytes of a file that takes two seconds, with [`slow`] options.
const LONG: usize = 64 << 20;

/// All stages have threads of their own, and the only one that seals is slow.
fn slow(world: &World, path: &Path) -> SnapshotOptions {
    SnapshotOptions {
        parallel: Some(1),
        compression: Some(Some(Compression::from_name("deflate-best-compression").unwrap())),
        ..world.options_of(path)
    }
}

/// The checkpoints that others could see, in their order.
type Seen = Arc<Mutex<Vec<(String, Tree)>>>;

fn keep_checkpoints(seen: &Seen) -> impl Fn(&Repository, &Snapshot) + Send + Sync + 'static {
    let seen = seen.clone();
    move |repository, snapshot| {
        let id = snapshot.id.to_string();
        let mut seen = seen.lock().unwrap();
        let is_known = seen.last().is_some_and(|(last, _)| *last == id);
        if !is_known && snapshot.manifest.incomplete.as_deref() == Some("checkpoint") {
            let tree = read_tree(repository, snapshot.root().unwrap()).unwrap();
            seen.push((id, tree));
        }
    }
}

fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap()
}

/// The file that an unfinished entry is a part of: one in the same folder that begins with these bytes.
fn finished<'a>(path: &[u8], kept: &Kept, whole: &'a Tree) -> (&'a [u8], &'a Kept) {
    let folder = &path[..path.len() - name_of(path).len()];
    let candidates: Vec<_> = whole
        .iter()
        .filter(|(other, file)| {
            let is_beside = other.len() - name_of(other).len() == folder.len() && other.starts_with(folder);
            is_beside && file.entry.kind == EntryKind::File && file.bytes.starts_with(&kept.bytes)
        })
        .collect();
    let [(path, file)] = candidates[..] else {
        panic!("{} is a part of {} files", path.escape_ascii(), candidates.len());
    };
    let name = String::from_utf8_lossy(name_of(path)).into_owned();
    let called = String::from_utf8_lossy(&kept.entry.name).into_owned();
    let called = called.strip_prefix(".checkpointed.").unwrap();
    assert!(
        name.starts_with(&called[..called.len() - 37]),
        "{name} is called {called}"
    );
    (path, file)
}

/// How many bytes of each file a checkpoint holds; everything it holds must be as in the whole.
fn held(checkpoint: &Tree, whole: &Tree) -> BTreeMap<Vec<u8>, u64> {
    let mut held = BTreeMap::new();
    for (path, kept) in checkpoint {
        if is_checkpointed_name(name_of(path)) {
            let (path, file) = finished(path, kept, whole);
            assert!(kept.entry.size > 0);
            let attributes = |kept: &Kept| (kept.entry.mode, kept.entry.mtime, kept.entry.uid, kept.entry.gid);
            assert_eq!(attributes(kept), attributes(file));
            assert_eq!(held.insert(path.to_vec(), kept.entry.size), None);
        } else {
            let there = &whole[path];
            assert_eq!(kept.entry.kind, there.entry.kind);
            if kept.entry.kind != EntryKind::Directory {
                assert_eq!(kept, there);
                assert_eq!(held.insert(path.clone(), kept.entry.size), None);
            }
        }
    }
    held
}

/// Nothing that a checkpoint holds may be missing from the one that takes its place. Gives how many checkpoints hold a
/// part of a file.
fn check(seen: &Seen, whole: &Tree) -> usize {
    let mut before: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut with_parts = 0;
    for (id, checkpoint) in seen.lock().unwrap().iter() {
        let now = held(checkpoint, whole);
        for (path, bytes) in &before {
            assert!(now.get(path) >= Some(bytes), "{id} lost of {}", path.escape_ascii());
        }
        with_parts += usize::from(now.iter().any(|(path, bytes)| whole[path].entry.size > *bytes));
        before = now;
    }
    with_parts
}

fn grow(world: &World, dice: &Dice) {
    let long = "n".repeat(250);
    let folders = ["", "a/", "a/b/", "z/"];
    for number in 0..4 + dice.below(20) {
        let folder = folders[dice.below(4) as usize];
        world.file(
            format!("{folder}small{number:02}"),
            noise(number, dice.below(200_000) as usize),
        );
    }
    for number in 0..1 + dice.below(4) {
        let folder = folders[dice.below(4) as usize];
        let name = match dice.below(4) {
            0 => format!("{long}{number}").into_bytes(),
            1 => [b"not \xff text", number.to_string().as_bytes()].concat(),
            2 => format!(" before{number}").into_bytes(),
            _ => format!("large{number}").into_bytes(),
        };
        let bytes = noise(100 + number, 300_000 + dice.below(6 << 20) as usize);
        world.file([folder.as_bytes(), &name].concat(), bytes);
    }
    world.directory("empty");
}

#[test]
fn a_checkpoint_holds_what_there_is_of_a_file_and_never_less_than_the_one_before() {
    let mut with_parts = 0;
    for seed in 0..10 {
        eprintln!("seed {seed}");
        let dice = Dice::new(seed);
        let splitters = ["FIXED-128K", "DYNAMIC-128K-BUZHASH"];
        let create = CreateOptions {
            splitter: splitter(splitters[dice.below(2) as usize]),
            ..small_chunks()
        };
        let world = World::with(&create);
        grow(&world, &dice);
        if dice.below(3) == 0 {
            world.policy(&Policy {
                upload: UploadPolicy {
                    parallel_upload_above_size: Some(1_000_000),
                    ..UploadPolicy::default()
                },
                ..Policy::default()
            });
        }
        let whole = {
            let fork = world.open_through(Arc::new(world.fork())).unwrap();
            let report = world.snapshot_with(&fork, &world.options());
            read_tree(&fork, report.manifest.root_entry.as_ref().unwrap()).unwrap()
        };
        let seen = Seen::default();
        let clock = world.hasty(Duration::from_millis(20 + dice.below(300)));
        let repository = world.watched(clock, keep_checkpoints(&seen));
        let options = SnapshotOptions {
            single_thread: true,
            checkpoint_every: Duration::from_secs(dice.below(9)),
            ..world.options()
        };
        let report = snapshot_of(&repository, &options).unwrap();
        assert_eq!(world.tree(&report), whole);
        with_parts += check(&seen, &whole);
    }
    assert!(with_parts > 40, "checkpoints with parts of files: {with_parts}");
}

#[test]
fn what_comes_after_a_file_that_takes_long_is_in_the_checkpoint_too() {
    let world = World::new();
    world.file("a/long", noise(1, LONG));
    for number in 0..20 {
        world.file(format!("a/small{number:02}"), noise(10 + number, 5000));
        world.file(format!("b/below/small{number:02}"), noise(40 + number, 3000));
    }
    world.file("last", "the last one");
    let whole = {
        let fork = world.open_through(Arc::new(world.fork())).unwrap();
        let report = world.snapshot_with(&fork, &world.options());
        read_tree(&fork, report.manifest.root_entry.as_ref().unwrap()).unwrap()
    };
    let seen = Seen::default();
    let repository = world.watched(world.hasty(Duration::from_millis(300)), keep_checkpoints(&seen));
    let options = SnapshotOptions {
        checkpoint_every: Duration::ZERO,
        ..slow(&world, world.folder.path())
    };
    let report = snapshot_of(&repository, &options).unwrap();
    assert_eq!(world.tree(&report), whole);
    assert!(check(&seen, &whole) > 0, "no checkpoint holds a part of the file");
    let is_full = |checkpoint: &Tree| {
        let held = held(checkpoint, &whole);
        held.len() == 42 && held[&b"a/long"[..]] < LONG as u64
    };
    assert!(
        seen.lock().unwrap().iter().any(|(_, checkpoint)| is_full(checkpoint)),
        "no checkpoint holds a part of the file and all that comes after it"
    );
}

#[test]
fn a_single_file_and_a_volume_have_checkpoints() {
    for (block_device, single_thread) in [(false, true), (true, true), (false, false), (true, false)] {
        let world = World::new();
        let bytes = noise(1, if single_thread { 4 << 20 } else { LONG });
        world.file("disk.img", &bytes);
        let seen = Seen::default();
        let repository = world.watched(world.hasty(Duration::from_millis(300)), keep_checkpoints(&seen));
        let path = world.path("disk.img");
        let options = SnapshotOptions {
            single_thread,
            block_device,
            checkpoint_every: Duration::from_secs(3),
            ..if single_thread {
                world.options_of(&path)
            } else {
                slow(&world, &path)
            }
        };
        let report = snapshot_of(&repository, &options).unwrap();
        let name = format!("block device {block_device}, single thread {single_thread}");
        let seen = seen.lock().unwrap();
        let mut parts = 0;
        for (_, checkpoint) in &*seen {
            let part = checkpoint
                .values()
                .find(|kept| kept.entry.kind == EntryKind::File)
                .expect("there is a file");
            assert_eq!(checkpoint.len(), 1 + usize::from(block_device), "{name}");
            assert!(is_checkpointed_name(&part.entry.name), "{name}");
            assert!(bytes.starts_with(&part.bytes), "{name}");
            parts += usize::from(part.bytes.len() < bytes.len());
            let root = &checkpoint[&b""[..]].entry;
            assert_eq!(root.kind == EntryKind::Directory, block_device, "{name}");
            let summary = root.summary.as_ref().unwrap();
            assert_eq!(summary.incomplete.as_deref(), Some("checkpoint"), "{name}");
            assert_eq!((summary.files, summary.size), (1, part.entry.size), "{name}");
        }
        assert!(parts > 0, "{name}");
        assert_eq!(report.manifest.incomplete, None);
        assert_eq!(world.list(&world.open()).len(), 1, "{name}");
    }
}

/// A run that dies while it reads a large file.
fn died(world: &World) -> Snapshot {
    let puts = AtomicU64::new(0);
    let storage = Faulty::new(world.memory.clone(), move |call| {
        if call.operation == Operation::Put && puts.fetch_add(1, Ordering::Relaxed) > 40 {
            return Fault::Before(Fault::passing(call));
        }
        Fault::None
    });
    let clock = world.hasty(Duration::from_millis(100));
    let repository = world.open_with(Arc::new(storage), clock).unwrap();
    let options = SnapshotOptions {
        single_thread: true,
        checkpoint_every: Duration::from_secs(2),
        ..world.options()
    };
    snapshot_of(&repository, &options).unwrap_err();
    let mut left = world.list(&world.open());
    assert_eq!(left.len(), 1);
    left.remove(0)
}

#[test]
fn a_checkpoint_is_restored_compared_verified_and_built_on() {
    let world = World::new();
    let large = noise(1, 9 << 20);
    let name = "large".repeat(50);
    world.file(&name, &large).file("a", "first").file("z", "last");
    let checkpoint = died(&world);
    let repository = world.open();
    let root = checkpoint.root().unwrap();
    assert_eq!(root.summary.as_ref().unwrap().files, 2);

    let target = world.path("target");
    let progress = RestoreProgress::default();
    let restored = restore(&repository, root, &target, &RestoreOptions::default(), &progress, &NO).unwrap();
    assert!(restored.is_complete(), "{:?}", restored.failures);
    let mut found: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap()).collect();
    found.sort_by_key(fs::DirEntry::file_name);
    let [part, first] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(first.file_name(), "a");
    assert!(is_checkpointed_name(part.file_name().as_encoded_bytes()));
    let part = fs::read(part.path()).unwrap();
    assert!(part.len() as u64 >= CHUNK && part.len() < large.len());
    assert_eq!(part.len() as u64 % CHUNK, 0);
    assert!(large.starts_with(&part));
    fs::remove_dir_all(&target).unwrap();

    let options = VerifyOptions::reading(100.0);
    let random = SeededRandom::new(1);
    let snapshots = std::slice::from_ref(&checkpoint);
    let progress = VerifyProgress::default();
    let verified = verify_snapshots(&repository, snapshots, &options, &random, &progress, &NO).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.first_problems);

    world.clock.advance(SignedDuration::from_hours(1));
    let next = world.snapshot(&repository);
    assert_eq!(
        (next.manifest.stats.cached_files, next.manifest.stats.non_cached_files),
        (1, 2)
    );
    let new_bytes = next.written.new_bytes;
    assert!(
        new_bytes < (large.len() - part.len()) as u64 + (64 << 10),
        "{new_bytes}"
    );
    let tree = world.tree(&next);
    assert_eq!(tree[name.as_bytes()].bytes, large);
    assert_eq!(tree.len(), 4);

    let mut changes = diff(root, next.manifest.root_entry.as_ref().unwrap());
    let repository = world.open();
    let mut told = Vec::new();
    while let Some(change) = block_on(changes.next(&repository)).unwrap() {
        told.push(match change {
            Change::Added(found) => ("added", found.path),
            Change::Removed(found) => ("removed", found.path),
            Change::Modified { path, .. } => ("modified", path),
        });
    }
    told.retain(|(_, path)| !path.is_empty());
    let [("removed", unfinished), ("added", finished), ("added", last)] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(is_checkpointed_name(unfinished));
    assert_eq!((finished.as_slice(), last.as_slice()), (name.as_bytes(), &b"z"[..]));
}
