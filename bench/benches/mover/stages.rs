//! The stages of the pipeline, each by its own stopwatch: how long its threads worked, their waits not counted, while a
//! folder in memory went into a repository that keeps nothing of it.
//!
//! What is shown is the speed of one core at this stage. A thread that the system makes wait for a core seems to work: on
//! a machine with few cores the stages with many threads look slower than they are. `in turn` has no such doubt: one
//! thread does the work of all stages.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use windlass_mover::snapshot::{SnapshotOptions, SnapshotReport};

use super::workshop::{Empty, KOPIAS, OURS, Tree, snapshot};
use crate::material::each_instructions;

pub(crate) fn bench(criterion: &mut Criterion) {
    large(criterion);
    small(criterion);
}

fn large(criterion: &mut Criterion) {
    let large = Tree::large();
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::BytesDecimal(large.bytes));
    let mut run = |name: String, stage: &str, empty: &Empty| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| worked(times, stage, empty, &one_sealer(&large)));
        });
    };
    each_instructions(|instructions| {
        run(format!("read and split/{instructions}"), "read", &OURS);
        run(format!("seal/{}/{instructions}", KOPIAS.name()), "seal", &KOPIAS);
    });
    run(format!("seal/{}", OURS.name()), "seal", &OURS);
    for empty in [&*KOPIAS, &*OURS] {
        group.bench_function(format!("in turn, large file/{}", empty.name()), |bencher| {
            let options = in_turn(&large);
            bencher.iter_batched(
                || empty.again(),
                |repository| (snapshot(&repository, &options), repository),
                PER_ITERATION,
            );
        });
    }
}

fn small(criterion: &mut Criterion) {
    let small = Tree::small();
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Elements(small.entries()));
    for stage in ["walk", "visit", "tree"] {
        group.bench_function(format!("{stage}, small files"), |bencher| {
            bencher.iter_custom(|times| worked(times, stage, &OURS, &one_sealer(&small)));
        });
    }
    group.bench_function("in turn, small files", |bencher| {
        let options = in_turn(&small);
        bencher.iter_batched(
            || OURS.again(),
            |repository| (snapshot(&repository, &options), repository),
            PER_ITERATION,
        );
    });
    group.bench_function("in turn, small files unchanged", |bencher| {
        let options = in_turn(&small);
        let first = || {
            let repository = OURS.again();
            snapshot(&repository, &options);
            repository
        };
        bencher.iter_batched(
            first,
            |repository| (snapshot(&repository, &options), repository),
            PER_ITERATION,
        );
    });
}

const PER_ITERATION: criterion::BatchSize = criterion::BatchSize::PerIteration;

/// So that the stage before finds a core of its own.
fn one_sealer(tree: &Tree) -> SnapshotOptions {
    SnapshotOptions {
        parallel: Some(1),
        ..tree.options()
    }
}

fn in_turn(tree: &Tree) -> SnapshotOptions {
    SnapshotOptions {
        single_thread: true,
        ..tree.options()
    }
}

/// How long a stage worked in so many first snapshots.
fn worked(times: u64, stage: &str, empty: &Empty, options: &SnapshotOptions) -> Duration {
    let once = |_| busy(&snapshot(&empty.forgetful(), options), stage);
    (0..times).map(once).sum()
}

fn busy(report: &SnapshotReport, stage: &str) -> Duration {
    let found = report.stages.iter().find(|profile| profile.stage == stage);
    found.expect("every stage has a stopwatch").busy
}
