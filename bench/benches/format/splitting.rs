//! Where a file is cut: the splitters over bytes without any structure, over text, and over zeros.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_repo_format::splitter::{ChunkSize, SplitterAlgorithm};

use crate::material::{EXTENT_LEN, MIB, amount, each_instructions, noise, text};

pub(crate) fn bench(criterion: &mut Criterion) {
    let len = amount(64 * MIB, MIB);
    let (noise, text, zeros) = (noise(len, 1), text(len), vec![0; len]);
    let mut group = criterion.benchmark_group("split");
    group.throughput(Throughput::BytesDecimal(len as u64));
    let mut run = |algorithm: SplitterAlgorithm, what: &str, bytes: &[u8]| {
        group.bench_function(format!("{}/{what}", algorithm.name()), |bencher| {
            bencher.iter(|| cuts(algorithm, black_box(bytes)));
        });
    };
    each_instructions(|instructions| {
        run(SplitterAlgorithm::DEFAULT, &format!("noise/{instructions}"), &noise);
        run(SplitterAlgorithm::DEFAULT, &format!("text/{instructions}"), &text);
    });
    run(SplitterAlgorithm::DEFAULT, "zeros", &zeros);
    run(SplitterAlgorithm::Buzhash(ChunkSize::K128), "noise", &noise);
    run(SplitterAlgorithm::RabinKarp(ChunkSize::M4), "noise", &noise);
    run(SplitterAlgorithm::Fixed(ChunkSize::M4), "noise", &noise);
}

/// How many chunks end in a file that is read piece by piece.
fn cuts(algorithm: SplitterAlgorithm, bytes: &[u8]) -> usize {
    let (mut splitter, mut cuts) = (algorithm.start(), 0);
    for mut piece in bytes.chunks(EXTENT_LEN) {
        while let Some(cut) = splitter.next_cut(piece) {
            piece = &piece[cut..];
            cuts += 1;
        }
    }
    cuts
}
