//! Bad days: the storage fails at every call a run makes, and what was there before stays whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use windlass_mover::blocking::block_on;
use windlass_mover::snapshot::{SnapshotOptions, SnapshotReport};
use windlass_mover::storage::faulty::{Call, Fault, Operation};
use windlass_mover::storage::{Faulty, Memory, StorageError};
use windlass_mover::{MoverError, snapshots};
use windlass_repo_format::compression::Compression;

use crate::world::{Tree, World, noise, read_tree, snapshot_of};

/// A small tree whose contents fill several packs, if packs are small.
fn fill(world: &World, generation: u64) {
    for number in 0..12 {
        world.file(
            format!("d{}/file{number}", number % 3),
            noise(generation * 100 + number, 3000),
        );
    }
    world
        .file("large", noise(generation, 700_000))
        .file("same", "always the same");
}

#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// The call never reaches the storage.
    Once,
    /// The call is carried out, and the answer lost.
    Answer,
    /// From this call on every put fails.
    Full,
}

fn passing(call: &Call<'_>) -> StorageError {
    Fault::passing(call)
}

fn faulty(memory: Memory, mishap: Mishap, at: Arc<AtomicU64>) -> Faulty<Memory> {
    Faulty::new(memory, move |call| {
        let at = at.load(Ordering::Relaxed);
        match mishap {
            Mishap::Once if call.number == at => Fault::Before(passing(call)),
            Mishap::Answer if call.number == at => Fault::After(passing(call)),
            Mishap::Full if call.number >= at && call.operation == Operation::Put => Fault::Before(passing(call)),
            _ => Fault::None,
        }
    })
}

/// What is in a storage after all: every snapshot, read to its last byte.
fn everything(world: &World, memory: &Memory) -> Vec<(Option<String>, Tree)> {
    let repository = world.open_through(Arc::new(memory.clone())).unwrap();
    let snapshots = block_on(snapshots::list(&repository, None)).unwrap();
    let read = |snapshot: &snapshots::Snapshot| {
        let tree = read_tree(&repository, snapshot.root().unwrap());
        (snapshot.manifest.incomplete.clone(), tree.unwrap())
    };
    snapshots.iter().map(read).collect()
}

struct Attempt {
    result: Result<SnapshotReport, MoverError>,
    memory: Memory,
    /// Calls that opening made, and all.
    calls: (u64, u64),
}

fn attempt(world: &World, options: &SnapshotOptions, mishap: Mishap, at: Option<u64>) -> Attempt {
    let memory = world.fork();
    // Nothing fails while the repository is opened.
    let fails_at = Arc::new(AtomicU64::new(u64::MAX));
    let storage = Arc::new(faulty(memory.clone(), mishap, fails_at.clone()));
    let repository = world.open_through(storage.clone()).unwrap();
    let opened = storage.calls();
    if let Some(at) = at {
        fails_at.store(opened + at, Ordering::Relaxed);
    }
    let result = snapshot_of(&repository, options);
    Attempt {
        result,
        memory,
        calls: (opened, storage.calls()),
    }
}

fn every_call_fails_once(options: impl Fn(&World) -> SnapshotOptions) {
    let world = World::new();
    fill(&world, 1);
    world.snapshot(&world.open());
    fill(&world, 2);
    world.clock.advance(jiff::SignedDuration::from_mins(5));
    let options = options(&world);
    let well = attempt(&world, &options, Mishap::Once, None);
    let before = everything(&world, &world.memory);
    let after = everything(&world, &well.memory);
    assert_eq!((before.len(), after.len()), (1, 2));
    let calls = well.calls.1 - well.calls.0;
    assert!(calls > 10);
    let (mut failed, mut survived) = (0, 0);
    for mishap in [Mishap::Once, Mishap::Answer, Mishap::Full] {
        for at in 0..calls {
            let name = format!("{mishap:?} at call {at} of {calls}");
            let Attempt { result, memory, .. } = attempt(&world, &options, mishap, Some(at));
            let found = everything(&world, &memory);
            assert_eq!(found[0], before[0], "{name}: what was there before");
            match &result {
                Ok(report) => {
                    survived += 1;
                    assert_eq!(report.manifest.incomplete, None, "{name}");
                    assert_eq!(found.last(), after.last(), "{name}");
                }
                Err(MoverError::Storage { .. }) => {
                    failed += 1;
                    for (incomplete, tree) in &found[1..] {
                        // A put whose answer was lost may have published it all.
                        assert!(incomplete.is_some() || *tree == after[1].1, "{name}");
                    }
                }
                Err(other) => panic!("{name}: the cause is told, not {other:?}"),
            }
            // And the next run, on a good day, gets through.
            let repository = world.open_through(Arc::new(memory.clone())).unwrap();
            let next = world.snapshot_with(&repository, &options);
            assert_eq!(
                read_tree(&repository, next.manifest.root_entry.as_ref().unwrap()).unwrap(),
                after[1].1,
                "{name}"
            );
        }
    }
    assert!(failed > 20 && survived > 0, "{failed} failed, {survived} survived");
}

#[test]
fn a_failing_call_harms_nothing_on_one_thread() {
    every_call_fails_once(|world| SnapshotOptions {
        single_thread: true,
        ..world.options()
    });
}

#[test]
fn a_failing_call_harms_nothing_on_many_threads() {
    every_call_fails_once(World::options);
}

#[test]
fn a_failing_call_harms_nothing_between_checkpoints() {
    every_call_fails_once(|world| SnapshotOptions {
        single_thread: true,
        checkpoint_every: Duration::ZERO,
        compression: Some(Some(Compression::ZstdFastest)),
        ..world.options()
    });
}

#[test]
fn the_first_cause_is_told_and_not_that_the_session_has_failed() {
    // A stage that heard of the failure came before the one that had met it.
    let world = World::new();
    for number in 0..40 {
        world.file(format!("f{number}"), noise(number, 2_000_000));
    }
    for round in 0..8 {
        let storage = Faulty::new(world.fork(), |call| match call.operation {
            Operation::Put if call.name.starts_with('p') => Fault::Before(passing(call)),
            _ => Fault::None,
        });
        let repository = world.open_through(Arc::new(storage)).unwrap();
        let options = SnapshotOptions {
            parallel: Some(1 + round),
            ..world.options()
        };
        let error = snapshot_of(&repository, &options).unwrap_err();
        assert!(matches!(error, MoverError::Storage { .. }), "{error:?}");
        assert!(!error.is_permanent());
    }
}

#[test]
fn a_run_that_fails_between_many_checkpoints_ends() {
    let world = World::new();
    for number in 0..60 {
        world.file(format!("f{number}"), noise(number, 1_000_000));
    }
    for failing in 0..6 {
        let packs = AtomicU64::new(0);
        let storage = Faulty::new(world.fork(), move |call| {
            std::thread::sleep(Duration::from_millis(1));
            let is_pack = call.operation == Operation::Put && call.name.starts_with('p');
            if is_pack && packs.fetch_add(1, Ordering::Relaxed) >= failing {
                return Fault::Before(passing(call));
            }
            Fault::None
        });
        let options = SnapshotOptions {
            checkpoint_every: Duration::ZERO,
            ..world.options()
        };
        let clock = world.hasty(Duration::from_millis(100));
        let repository = world.open_with(Arc::new(storage), clock).unwrap();
        let failed = snapshot_of(&repository, &options);
        assert!(matches!(failed, Err(MoverError::Storage { .. })), "{failed:?}");
    }
}
