//! Ends before the end: a run that is stopped, and one that publishes what it has on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use windlass_mover::repository::CreateOptions;
use windlass_mover::snapshot::{SnapshotOptions, SnapshotReport};
use windlass_mover::storage::Storage;
use windlass_mover::{MoverError, Repository};
use windlass_repo_format::policy::{Policy, RetentionPolicy};

use crate::world::{Hooked, Tree, World, noise, read_tree, small_chunks, snapshot_of, splitter, stoppable};

/// More than a pack can hold, in files of all sizes.
fn fill(world: &World) {
    for number in 0..30 {
        world.file(format!("small/file{number:02}"), noise(number, 1000 * number as usize));
        world.file(format!("middle/file{number:02}"), noise(100 + number, 900_000));
    }
    world.file("large", noise(1000, 9 << 20)).file("zlast", "the last one");
    world.link("link", "large");
}

/// The repository behind a storage that raises `stop` when the put with this number begins.
fn stopped_at(world: &World, number: u64, stop: &Arc<AtomicBool>) -> Repository {
    let (stop, puts) = (stop.clone(), AtomicU64::new(0));
    let hook = move |operation: &str, _: &str| {
        if operation == "put" && puts.fetch_add(1, Ordering::Relaxed) == number {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let storage = Hooked {
        inner: world.fork(),
        hook: Box::new(hook),
    };
    world.open_through(Arc::new(storage)).unwrap()
}

fn is_part_of(part: &Tree, whole: &Tree) -> bool {
    let is_in = |(path, kept): (&Vec<u8>, &crate::world::Kept)| {
        let full = &whole[path];
        kept.entry.kind == full.entry.kind && kept.bytes == full.bytes
    };
    part.iter().all(is_in)
}

#[test]
fn a_stopped_run_keeps_what_it_has_and_the_next_one_builds_on_it() {
    let world = World::new();
    fill(&world);
    let whole = {
        let fork = world.open_through(Arc::new(world.fork())).unwrap();
        let report = world.snapshot_with(&fork, &world.options());
        read_tree(&fork, report.manifest.root_entry.as_ref().unwrap()).unwrap()
    };
    for single_thread in [true, false] {
        let options = SnapshotOptions {
            single_thread,
            ..world.options()
        };
        let mut files_kept = Vec::new();
        for number in 0..4 {
            let stop = Arc::new(AtomicBool::new(false));
            let repository = stopped_at(&world, number, &stop);
            world.clock.advance(SignedDuration::from_mins(1));
            let stopped = stoppable(&repository, &options, &stop).unwrap();
            let name = format!("put {number}, single thread {single_thread}");
            assert!(stop.load(Ordering::Relaxed), "{name}: the run came so far");
            if stopped.manifest.incomplete.is_none() {
                // The last pack and the index are written when all is read.
                assert_eq!(stopped.manifest.stats.non_cached_files, 62, "{name}");
                continue;
            }
            assert_eq!(stopped.manifest.incomplete.as_deref(), Some("canceled"), "{name}");
            assert!(stopped.is_partial() && stopped.id.is_some());
            let root = stopped.manifest.root_entry.clone().unwrap();
            assert_eq!(
                root.summary.clone().unwrap().incomplete.as_deref(),
                Some("canceled"),
                "{name}"
            );
            let part = read_tree(&repository, &root).unwrap();
            assert!(is_part_of(&part, &whole), "{name}");
            files_kept.push(part.len());
            let next = world.snapshot_with(&repository, &options);
            assert_eq!(next.manifest.incomplete, None, "{name}");
            let kept_files = stopped.manifest.stats.non_cached_files;
            assert_eq!(next.manifest.stats.non_cached_files, 62 - kept_files, "{name}");
            assert!(next.manifest.stats.cached_files >= kept_files, "{name}");
            let tree = read_tree(&repository, next.manifest.root_entry.as_ref().unwrap()).unwrap();
            assert_eq!(tree, whole, "{name}");
        }
        // Threads may have read everything when the first pack is put; then there is nothing left to stop.
        assert!(!files_kept.is_empty() || !single_thread, "some run was really stopped");
    }
}

#[test]
fn a_run_that_is_stopped_before_it_begins_files_an_empty_folder() {
    let world = World::new();
    fill(&world);
    for single_thread in [true, false] {
        let options = SnapshotOptions {
            single_thread,
            ..world.options()
        };
        let stopped = stoppable(&world.open(), &options, &Arc::new(AtomicBool::new(true))).unwrap();
        assert_eq!(stopped.manifest.incomplete.as_deref(), Some("canceled"));
        assert_eq!(stopped.bytes_read, 0);
        assert!(world.tree(&stopped).len() <= 1);
    }
}

#[test]
fn a_single_file_that_is_stopped_leaves_nothing() {
    let world = World::new();
    world.file("large", noise(1, 4 << 20));
    for single_thread in [true, false] {
        let options = SnapshotOptions {
            single_thread,
            ..world.options_of(&world.path("large"))
        };
        let stopped = stoppable(&world.open(), &options, &Arc::new(AtomicBool::new(true)));
        assert!(matches!(stopped, Err(MoverError::Cancelled)), "{stopped:?}");
    }
    assert_eq!(world.list(&world.open()).len(), 0);
}

type Seen = (Option<String>, usize);

fn leftovers(world: &World) -> usize {
    use futures_util::StreamExt;
    windlass_mover::blocking::block_on(world.memory.list("s").count())
}

#[test]
fn checkpoints_can_be_read_and_give_way_to_the_snapshot() {
    for single_thread in [true, false] {
        let world = World::new();
        fill(&world);
        let found = Arc::new(std::sync::Mutex::new(Vec::<Seen>::new()));
        let seen = found.clone();
        let repository = world.watched(world.hasty(Duration::from_millis(200)), move |repository, snapshot| {
            let tree = read_tree(repository, snapshot.root().unwrap()).unwrap();
            let seen_now = (snapshot.manifest.incomplete.clone(), tree.len());
            seen.lock().unwrap().push(seen_now);
        });
        let options = SnapshotOptions {
            single_thread,
            checkpoint_every: Duration::from_secs(8),
            ..world.options()
        };
        let report = snapshot_of(&repository, &options).unwrap();
        assert_eq!(report.manifest.incomplete, None);
        let seen = found.lock().unwrap().clone();
        let checkpoints = seen
            .iter()
            .filter(|(why, _)| why.as_deref() == Some("checkpoint"))
            .count();
        assert!(checkpoints > 1, "single thread {single_thread}: {seen:?}");
        let left = world.list(&world.open());
        assert_eq!(left.len(), 1, "only the snapshot itself is left");
        assert_eq!(left[0].id, report.id.unwrap());
        assert!(
            report.expired.is_empty(),
            "a checkpoint is not an earlier snapshot that retention deletes"
        );
        assert_eq!(world.tree(&report).len(), 66);
        assert_eq!(leftovers(&world), 0, "no marker of the session stays");
    }
}

#[test]
fn a_checkpoint_of_a_run_that_died_is_built_on() {
    let world = World::new();
    fill(&world);
    let puts = AtomicU64::new(0);
    let storage = windlass_mover::storage::Faulty::new(world.memory.clone(), move |call| {
        let is_put = call.operation == windlass_mover::storage::faulty::Operation::Put;
        if is_put && puts.fetch_add(1, Ordering::Relaxed) > 30 {
            return windlass_mover::storage::faulty::Fault::Before(windlass_mover::storage::faulty::Fault::passing(
                call,
            ));
        }
        windlass_mover::storage::faulty::Fault::None
    });
    let repository = world
        .open_with(Arc::new(storage), world.hasty(Duration::from_millis(100)))
        .unwrap();
    let options = SnapshotOptions {
        single_thread: true,
        checkpoint_every: Duration::from_secs(2),
        ..world.options()
    };
    snapshot_of(&repository, &options).unwrap_err();
    let left = world.list(&world.open());
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].manifest.incomplete.as_deref(), Some("checkpoint"));
    let kept = left[0].manifest.stats.non_cached_files;
    assert!(kept > 0);
    world.clock.advance(SignedDuration::from_hours(1));
    let next = world.snapshot(&world.open());
    assert_eq!(next.manifest.stats.cached_files, kept);
    assert_eq!(world.tree(&next).len(), 66);
}

#[test]
fn retention_counts_the_new_snapshot_and_not_its_checkpoints() {
    let world = World::new();
    world.policy(&Policy {
        retention: RetentionPolicy {
            keep_latest: Some(2),
            keep_hourly: Some(0),
            keep_daily: Some(0),
            keep_weekly: Some(0),
            keep_monthly: Some(0),
            keep_annual: Some(0),
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    });
    let mut made = Vec::new();
    for round in 0..4u64 {
        world.file("changing", noise(round, 100_000));
        world.clock.advance(SignedDuration::from_hours(5));
        let clock = world.hasty(Duration::from_millis(50));
        let repository = world.open_with(Arc::new(world.memory.clone()), clock).unwrap();
        let options = SnapshotOptions {
            single_thread: true,
            checkpoint_every: Duration::ZERO,
            ..world.options()
        };
        let report = snapshot_of(&repository, &options).unwrap();
        let expected = made.len().checked_sub(2).map(|oldest| made[oldest]);
        assert_eq!(report.expired, Vec::from_iter(expected), "round {round}");
        made.push(report.id.unwrap());
    }
    let left: Vec<_> = world.list(&world.open()).iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(left, made[2..]);
}

/// A report in the numbers that do not depend on time.
fn essence(report: &SnapshotReport) -> (Option<windlass_repo_format::id::ObjectId>, u64) {
    (report.root(), report.manifest.stats.total_size)
}

#[test]
fn checkpoints_change_nothing_in_the_result() {
    let create = CreateOptions {
        splitter: splitter("DYNAMIC-128K-BUZHASH"),
        ..small_chunks()
    };
    let world = World::with(&create);
    fill(&world);
    let plain = world.snapshot_with(
        &world.open(),
        &SnapshotOptions {
            single_thread: true,
            ..world.options()
        },
    );
    for (single_thread, step) in [(true, 100), (false, 300)] {
        let clock = world.hasty(Duration::from_millis(step));
        let repository = world.open_with(Arc::new(world.fork()), clock).unwrap();
        let options = SnapshotOptions {
            single_thread,
            force_read: true,
            checkpoint_every: Duration::ZERO,
            ..world.options()
        };
        let report = snapshot_of(&repository, &options).unwrap();
        assert_eq!(essence(&report), essence(&plain));
    }
}
