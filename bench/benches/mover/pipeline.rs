//! What a user waits for, without any disk: the first snapshot, the next one, and the restore, from memory to memory on all
//! cores.

use std::sync::atomic::AtomicBool;

use criterion::{BatchSize, Criterion, Throughput};
use windlass_mover::Repository;
use windlass_mover::restore::{RestoreOptions, RestoreProgress, restore};
use windlass_mover::snapshot::{SnapshotOptions, SnapshotReport};

use super::workshop::{Empty, KOPIAS, OURS, Tree, folder_in_memory, snapshot};

pub(crate) fn bench(criterion: &mut Criterion) {
    let (large, small) = (Tree::large(), Tree::small());
    for empty in [&*KOPIAS, &*OURS] {
        first_snapshot(criterion, empty, "large file", &large);
        large_file_that_was_touched(criterion, empty, &large);
        back_again(criterion, empty, "large file", &large);
    }
    first_snapshot(criterion, &OURS, "small files", &small);
    second_snapshot_when_nothing_changed(criterion, &small);
    back_again(criterion, &OURS, "small files", &small);
}

fn throughput(tree: &Tree) -> Throughput {
    if tree.files == 1 {
        return Throughput::BytesDecimal(tree.bytes);
    }
    Throughput::Elements(tree.files)
}

fn first_snapshot(criterion: &mut Criterion, empty: &Empty, what: &str, tree: &Tree) {
    let mut group = criterion.benchmark_group("first snapshot");
    group.throughput(throughput(tree));
    group.bench_function(format!("{what}/{}", empty.name()), |bencher| {
        let (again, options) = (|| empty.again(), tree.options());
        bencher.iter_batched(again, |made| (snapshot(&made, &options), made), BatchSize::PerIteration);
    });
}

/// All of it is read, cut and hashed again, and nothing is stored.
fn large_file_that_was_touched(criterion: &mut Criterion, empty: &Empty, tree: &Tree) {
    let options = SnapshotOptions {
        force_read: true,
        ..tree.options()
    };
    let (repository, _) = backed_up(empty, tree);
    let mut group = criterion.benchmark_group("next snapshot");
    group.throughput(throughput(tree));
    group.bench_function(format!("large file that was touched/{}", empty.name()), |bencher| {
        bencher.iter(|| snapshot(&repository, &options));
    });
}

fn second_snapshot_when_nothing_changed(criterion: &mut Criterion, tree: &Tree) {
    let mut group = criterion.benchmark_group("next snapshot");
    group.throughput(Throughput::Elements(tree.files));
    group.bench_function("small files, nothing changed", |bencher| {
        // Always the second: a repository with many snapshots takes longer to look through.
        let (first, options) = (|| backed_up(&OURS, tree).0, tree.options());
        bencher.iter_batched(first, |made| (snapshot(&made, &options), made), BatchSize::PerIteration);
    });
}

fn back_again(criterion: &mut Criterion, empty: &Empty, what: &str, tree: &Tree) {
    let (repository, report) = backed_up(empty, tree);
    let root = report.manifest.root_entry.expect("a snapshot has a root");
    let mut group = criterion.benchmark_group("restore");
    group.throughput(throughput(tree));
    group.bench_function(format!("{what}/{}", empty.name()), |bencher| {
        let restored = |folder: tempfile::TempDir| {
            let (options, progress) = (RestoreOptions::default(), RestoreProgress::default());
            let target = folder.path().join("back");
            let ended = restore(
                &repository,
                &root,
                &target,
                &options,
                &progress,
                &AtomicBool::new(false),
            );
            let report = ended.expect("memory can be read and written");
            assert!(report.is_complete(), "{:?}", report.failures);
            assert_eq!((report.files, report.bytes), (tree.files, tree.bytes));
            folder
        };
        bencher.iter_batched(folder_in_memory, restored, BatchSize::PerIteration);
    });
}

fn backed_up(empty: &Empty, tree: &Tree) -> (Repository, SnapshotReport) {
    let repository = empty.again();
    let report = snapshot(&repository, &tree.options());
    (repository, report)
}
