//! How fast contents come back: packs in memory are read, opened and checked against their names, and no file is written.

use std::sync::atomic::AtomicBool;

use criterion::{Criterion, Throughput};
use windlass_mover::random::SeededRandom;
use windlass_mover::verify::{VerifyOptions, VerifyProgress, verify_repository};

use super::workshop::{KOPIAS, OURS, Tree, snapshot};

pub(crate) fn bench(criterion: &mut Criterion) {
    let (large, small) = (Tree::large(), Tree::small());
    for (what, tree) in [("large file", &large), ("small files", &small)] {
        for empty in [&*KOPIAS, &*OURS] {
            let repository = empty.again();
            snapshot(&repository, &tree.options());
            let mut group = criterion.benchmark_group("fetch");
            group.throughput(Throughput::BytesDecimal(tree.bytes));
            for (how, parallel) in [("one reader", 1), ("all cores", 0)] {
                let options = VerifyOptions {
                    parallel,
                    ..VerifyOptions::reading(100.0)
                };
                group.bench_function(format!("{what}/{}/{how}", empty.name()), |bencher| {
                    bencher.iter(|| {
                        let (draw, progress) = (SeededRandom::new(16), VerifyProgress::default());
                        let verified =
                            verify_repository(&repository, &options, &draw, &progress, &AtomicBool::new(false));
                        let report = verified.expect("memory can be read");
                        assert!(report.is_sound() && report.bytes_read >= tree.bytes, "{report:?}");
                    });
                });
            }
        }
    }
}
