//! A maintenance ends at any of its calls, and whatever happens around it, every snapshot stays whole.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::storage::Faulty;
use crate::storage::faulty::{Fault, Operation};

/// Everything from the `nth` put or delete on fails, that one before or after it was done.
fn dies(inner: crate::storage::Memory, nth: u64, after: bool) -> Arc<dyn Storage> {
    let changes = AtomicU64::new(0);
    Arc::new(Faulty::new(inner, move |call| {
        if !matches!(call.operation, Operation::Put | Operation::Delete) {
            return match changes.load(Ordering::Relaxed) > nth {
                true => Fault::Before(Fault::passing(call)),
                false => Fault::None,
            };
        }
        match changes.fetch_add(1, Ordering::Relaxed) {
            number if number < nth => Fault::None,
            number if number == nth && after => Fault::After(Fault::passing(call)),
            _ => Fault::Before(Fault::passing(call)),
        }
    }))
}

/// A repository with something for every step of a full maintenance.
fn lived_in() -> Sample {
    let sample = Sample::new();
    let mut snapshots = Vec::new();
    for number in 0..4u8 {
        snapshots.push(sample.snapshot(
            &format!("/{number}"),
            i64::from(number),
            None,
            &tree(&sample, number, 100),
        ));
    }
    delete(&sample, &snapshots[0]);
    sample.clock.advance(hours(25));
    full(&sample.joined(3).repository);
    // Needed again, though it is marked.
    let root = snapshots[0].root().unwrap().clone();
    sample.snapshot("/again", 9, None, &root);
    delete(&sample, &snapshots[1]);
    sample.clock.advance(hours(25));
    sample
}

#[test]
fn a_maintenance_that_dies_at_any_call_leaves_every_snapshot_whole() {
    let lived_in = lived_in();
    for careless in [false, true] {
        let mut nth = 0;
        loop {
            let sample = lived_in.fork(40);
            let options = MaintainOptions {
                safety: if careless { Safety::NONE } else { Safety::FULL },
                ..MaintainOptions::new(Mode::Full)
            };
            let after = nth % 2 == 1;
            let storage = dies(sample.storage.clone(), nth / 2, after);
            let repository = sample.opened_on(storage, sample.clock.clone(), 50);
            let ran = run(&repository, &options);
            assert_eq!(check_all(&sample, 51), 3, "died at {nth}");
            if ran.is_ok() {
                assert!(nth > 20, "it has many calls to die at: {nth}");
                break;
            }
            // The next ones take up what was left.
            for round in 0..2 {
                sample.clock.advance(hours(25));
                run(&sample.joined(60 + round).repository, &options).unwrap();
                assert_eq!(check_all(&sample, 70 + round), 3, "died at {nth}, then round {round}");
            }
            nth += 1;
        }
    }
}

/// Deriving a key takes longer than everything else.
fn empty() -> &'static Sample {
    static EMPTY: OnceLock<Sample> = OnceLock::new();
    EMPTY.get_or_init(Sample::new)
}

#[derive(Clone, Debug)]
enum Step {
    /// A client that has just come makes a snapshot.
    Snapshot {
        own: u8,
        shared: u8,
    },
    /// A client whose view is as old as `view_hours` makes one; its clock may be off by as much as an hour.
    Late {
        own: u8,
        shared: u8,
        minutes_off: i64,
    },
    DeleteOldest,
    Full,
    Quick,
    /// A full maintenance that dies.
    Dies {
        nth: u64,
        after: bool,
    },
    Hours(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u8..4, 0u8..4).prop_map(|(own, shared)| Step::Snapshot { own, shared }),
        2 => (0u8..4, 0u8..4, -60i64..=60).prop_map(|(own, shared, minutes_off)| Step::Late { own, shared, minutes_off }),
        2 => Just(Step::DeleteOldest),
        3 => Just(Step::Full),
        1 => Just(Step::Quick),
        1 => (0u64..25, any::<bool>()).prop_map(|(nth, after)| Step::Dies { nth, after }),
        4 => prop_oneof![Just(1), Just(5), Just(25), Just(100)].prop_map(Step::Hours),
    ];
    prop::collection::vec(step, 4..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_snapshot_stays_whole(steps in steps()) {
        let sample = empty().fork(3);
        let mut seed = 100;
        let mut next = || { seed += 1; seed };
        let mut expected = 0;
        // A client that looks at the indexes now and writes at the next step that asks for it, a quarter of an hour later.
        let mut late: Option<Sample> = None;
        for step in steps {
            match step {
                Step::Snapshot { own, shared } => {
                    let client = sample.joined(next());
                    client.snapshot(&format!("/{seed}", seed = next()), 1, None, &tree(&client, own, shared));
                    expected += 1;
                }
                Step::Late { own, shared, minutes_off } => {
                    if let Some(client) = late.take() {
                        client.snapshot(&format!("/{seed}", seed = next()), 1, None, &tree(&client, own, shared));
                        expected += 1;
                    }
                    let clock = Arc::new(ManualClock::new(sample.clock.now() + SignedDuration::from_mins(minutes_off)));
                    let repository = sample.opened_on(Arc::new(sample.storage.clone()), clock, next());
                    late = Some(Sample::on(repository, &sample));
                }
                Step::DeleteOldest => {
                    let client = sample.joined(next());
                    let snapshots = block_on(snapshots::list(&client.repository, None)).unwrap();
                    if let Some(oldest) = snapshots.first() {
                        delete(&client, oldest);
                        expected -= 1;
                    }
                }
                Step::Full => { full(&sample.joined(next()).repository); }
                Step::Quick => { run(&sample.joined(next()).repository, &MaintainOptions::new(Mode::Quick)).unwrap(); }
                Step::Dies { nth, after } => {
                    let storage = dies(sample.storage.clone(), nth, after);
                    let _ = run(&sample.opened_on(storage, sample.clock.clone(), next()), &MaintainOptions::new(Mode::Full));
                }
                Step::Hours(by) => {
                    // No view is older than 20 minutes when it is written with.
                    late = None;
                    sample.clock.advance(hours(by));
                }
            }
            prop_assert_eq!(check_all(&sample, next()), expected);
        }
    }
}
