//! What nobody else can read: the ciphers and the parity around them, for a large content and for a small one.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_repo_format::ecc::EccCodec;
use windlass_repo_format::encryption::{ContentEncryptor, EncryptionAlgorithm, NONCE_LEN};

use crate::material::{EXTENT_LEN, KIB, MIB, amount, noise};

const KEY: [u8; 32] = [4; 32];
const IV: [u8; 16] = [5; 16];
/// One for all that is sealed here, which is nobody's secret.
const NONCE: [u8; NONCE_LEN] = [6; NONCE_LEN];

pub(crate) fn bench(criterion: &mut Criterion) {
    let noise = noise(amount(4 * MIB, 64 * KIB), 4);
    for algorithm in EncryptionAlgorithm::ALL {
        let encryptor = ContentEncryptor::new(algorithm, &KEY).expect("32 bytes are a master key");
        for (what, plain) in [("4 MiB", &noise[..]), ("4 KiB", &noise[..4 * KIB])] {
            cipher(criterion, &encryptor, what, plain);
        }
    }
    for percent in [10, 50] {
        parity(criterion, percent, &noise);
    }
}

/// Key derivation and, when sealing, the copy into the pack are part of it.
fn cipher(criterion: &mut Criterion, encryptor: &ContentEncryptor, what: &str, plain: &[u8]) {
    let name = format!("{}/{what}", encryptor.algorithm().name());
    let pieces: Vec<&[u8]> = plain.chunks(EXTENT_LEN).collect();
    let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    encryptor.seal_into(&IV, &NONCE, &pieces, &mut sealed);
    let ended = encryptor.open_into(&IV, &sealed, &mut opened);
    assert!(
        ended.is_ok() && opened == plain,
        "{name}: something else came out than went in"
    );

    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::BytesDecimal(plain.len() as u64));
    group.bench_function(&name, |bencher| {
        let mut out = Vec::with_capacity(sealed.len());
        bencher.iter(|| {
            out.clear();
            encryptor.seal_into(&IV, &NONCE, black_box(&pieces), &mut out);
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::BytesDecimal(plain.len() as u64));
    group.bench_function(&name, |bencher| {
        bencher.iter(|| {
            opened.clear();
            encryptor.open_into(&IV, black_box(&sealed), &mut opened)
        });
    });
}

fn parity(criterion: &mut Criterion, percent: u8, bytes: &[u8]) {
    let codec = EccCodec::new(percent).expect("Kopia allows 1 to 100 percent");
    let mut stored = Vec::new();
    codec.encode_into(bytes, &mut stored);
    let mut group = criterion.benchmark_group("parity");
    group.throughput(Throughput::BytesDecimal(bytes.len() as u64));
    group.bench_function(format!("{percent} %/guard"), |bencher| {
        let mut out = Vec::with_capacity(stored.len());
        bencher.iter(|| {
            out.clear();
            codec.encode_into(black_box(bytes), &mut out);
        });
    });
    group.bench_function(format!("{percent} %/check"), |bencher| {
        bencher.iter(|| codec.decode(black_box(&stored)));
    });
}
