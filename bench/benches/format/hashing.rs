//! What contents are named by: the keyed hashes, for one message and for many side by side.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_repo_format::hashing::{ContentHasher, HashAlgorithm};

use crate::material::{KIB, MIB, amount, chunks, each_instructions, noise};

const SECRET: [u8; 32] = [3; 32];

pub(crate) fn bench(criterion: &mut Criterion) {
    one(criterion);
    many(criterion);
}

fn hasher(algorithm: HashAlgorithm) -> ContentHasher {
    ContentHasher::new(algorithm, &SECRET).expect("32 bytes are a key for every hash")
}

fn one(criterion: &mut Criterion) {
    let noise = noise(amount(4 * MIB, 64 * KIB), 2);
    let mut group = criterion.benchmark_group("hash one");
    let mut run = |algorithm: HashAlgorithm, what: &str, message: &[u8]| {
        let hasher = hasher(algorithm);
        group.throughput(Throughput::BytesDecimal(message.len() as u64));
        group.bench_function(format!("{}/{what}", algorithm.name()), |bencher| {
            bencher.iter(|| hasher.hash(black_box(message)));
        });
    };
    // Those that only keep less of a digest are as fast as those that keep it all.
    for algorithm in [
        HashAlgorithm::Blake2b256_128,
        HashAlgorithm::Blake2s128,
        HashAlgorithm::Blake3_256_128,
        HashAlgorithm::HmacSha256_128,
        HashAlgorithm::HmacSha3_256,
    ] {
        run(algorithm, "4 MiB", &noise);
    }
    for algorithm in [
        HashAlgorithm::Blake2b256_128,
        HashAlgorithm::Blake3_256_128,
        HashAlgorithm::HmacSha256_128,
    ] {
        run(algorithm, "4 KiB", &noise[..4 * KIB]);
    }
}

fn many(criterion: &mut Criterion) {
    let noise = noise(amount(256 * MIB, MIB), 3);
    let large = chunks(&noise);
    let small: Vec<Vec<&[u8]>> = noise[..MIB].chunks(4 * KIB).map(|message| vec![message]).collect();
    let mut group = criterion.benchmark_group("hash many");
    let mut run = |hasher: &ContentHasher, what: String, messages: &[Vec<&[u8]>]| {
        let messages: Vec<&[&[u8]]> = messages.iter().map(|pieces| &pieces[..]).collect();
        let bytes: usize = messages.iter().copied().flatten().map(|piece| piece.len()).sum();
        group.throughput(Throughput::BytesDecimal(bytes as u64));
        group.bench_function(format!("{}/{what}", hasher.algorithm().name()), |bencher| {
            bencher.iter(|| hasher.hash_many(black_box(&messages)));
        });
    };
    each_instructions(|instructions| {
        let blake2b = hasher(HashAlgorithm::Blake2b256_128);
        run(&blake2b, format!("chunks of a file/{instructions}"), &large);
        run(
            &blake2b,
            format!("8 chunks of a file/{instructions}"),
            &large[..large.len().min(8)],
        );
        run(&blake2b, format!("4 KiB/{instructions}"), &small);
    });
    run(
        &hasher(HashAlgorithm::Blake3_256_128),
        "chunks of a file".to_owned(),
        &large,
    );
}
