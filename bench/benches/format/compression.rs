//! What is made shorter where a policy asks for it: every kind of stream, on text and on what cannot be made shorter.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_repo_format::compression::{Compression, Compressor, decompress};

use crate::material::{KIB, MIB, amount, noise, text};

/// One for each stream and level; others are these under another name. LZ4 is never written.
const COMPRESSIONS: [Compression; 9] = [
    Compression::ZstdFastest,
    Compression::Zstd,
    Compression::ZstdBetterCompression,
    Compression::ZstdBestCompression,
    Compression::S2Default,
    Compression::S2Better,
    Compression::GzipBestSpeed,
    Compression::Gzip,
    Compression::DeflateBestSpeed,
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let len = amount(4 * MIB, 64 * KIB);
    let (text, noise) = (text(len), noise(len, 5));
    let throughput = Throughput::BytesDecimal(len as u64);

    let mut group = criterion.benchmark_group("compress");
    group.throughput(throughput.clone());
    for compression in COMPRESSIONS {
        let mut compressor = Compressor::new(compression);
        for (what, plain) in [("text", &text), ("noise", &noise)] {
            group.bench_function(format!("{}/{what}", compression.name()), |bencher| {
                let mut out = Vec::with_capacity(2 * len);
                bencher.iter(|| {
                    out.clear();
                    compressor.compress_into(black_box(plain), &mut out)
                });
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("decompress");
    group.throughput(throughput);
    for compression in COMPRESSIONS {
        let mut stored = Vec::new();
        let shorter = Compressor::new(compression).compress_into(&text, &mut stored);
        assert!(
            matches!(shorter, Ok(true)),
            "text was not shortened by {}",
            compression.name()
        );
        group.bench_function(format!("{}/text", compression.name()), |bencher| {
            bencher.iter(|| decompress(compression, black_box(&stored), len));
        });
    }
}
