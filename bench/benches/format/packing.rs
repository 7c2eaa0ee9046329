//! What is stored: packs are filled with contents that are sealed into them, closed, and told again from their ends.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use windlass_repo_format::format_blob::RepositoryFormat;
use windlass_repo_format::id::{ContentHash, ContentId};
use windlass_repo_format::pack::{
    ClosedPack, NewContent, OpenPack, PADDING_MAX, PackBody, PackClass, Postamble, open_local_index, pack_blob_id,
};
use windlass_repo_format::quantity::ContentLen;
use windlass_repo_format::sealing::Sealer;

use crate::material::{KIB, MIB, amount, noise};

const NONCE: [u8; 12] = [7; 12];

pub(crate) fn bench(criterion: &mut Criterion) {
    let sealer = Sealer::new(&RepositoryFormat::new_default([1; 32], [2; 32])).expect("these are Kopia's defaults");
    let noise = noise(amount(20 * MIB, 256 * KIB), 8);
    for (what, content_len) in [("4 MiB", 4 * MIB), ("4 KiB", 4 * KIB)] {
        let contents: Vec<(ContentHash, &[u8])> = noise
            .chunks(content_len)
            .map(|plain| (sealer.hash(plain), plain))
            .collect();
        pack(criterion, &sealer, what, &contents);
    }
}

fn pack(criterion: &mut Criterion, sealer: &Sealer, what: &str, contents: &[(ContentHash, &[u8])]) {
    let bytes: usize = contents.iter().map(|(_, plain)| plain.len()).sum();
    let mut group = criterion.benchmark_group("pack");
    group.throughput(Throughput::BytesDecimal(bytes as u64));
    // The buffer of a pack that was stored is used for the next, so it is made beforehand here.
    let buffer = || Vec::with_capacity(bytes + bytes / 64 + MIB);
    group.bench_function(format!("fill and close/{what}"), |bencher| {
        bencher.iter_batched(
            buffer,
            |buffer| filled(sealer, buffer, black_box(contents)),
            BatchSize::PerIteration,
        );
    });
    let closed = filled(sealer, buffer(), contents);
    group.throughput(Throughput::Elements(contents.len() as u64));
    group.bench_function(format!("contents from its end/{what}"), |bencher| {
        bencher.iter(|| listed(sealer, black_box(&closed)));
    });
    assert_eq!(
        listed(sealer, &closed),
        contents.len(),
        "a pack lists what went into it"
    );
}

fn filled(sealer: &Sealer, buffer: Vec<u8>, contents: &[(ContentHash, &[u8])]) -> ClosedPack {
    let id = pack_blob_id(PackClass::Data, [9; 16], "0123456789abcdef123");
    let mut pack = OpenPack::new(id, PackBody::new(buffer, 0), [10; 32]);
    for (hash, plain) in contents {
        let about = NewContent {
            id: ContentId::new(None, hash),
            original_len: ContentLen::of(plain).expect("a content is far below the limit"),
            compression: 0,
            format_version: 3,
            timestamp: 1_234_567_890,
        };
        let seal = |out: &mut Vec<u8>| sealer.seal_into(hash.iv(), &NONCE, plain, out);
        pack.add_with(about, seal).expect("20 MiB are no full pack");
    }
    let closed = pack.close(sealer, &NONCE, &[11; PADDING_MAX], [12; 32], &[]);
    closed.expect("so few entries fit into an index")
}

fn listed(sealer: &Sealer, pack: &ClosedPack) -> usize {
    let postamble = Postamble::find(&pack.bytes).expect("a closed pack has an end");
    let sealed = postamble.index_in(&pack.bytes, pack.bytes.len() as u64);
    let entries = open_local_index(sealer, &postamble, sealed.expect("the whole pack is there"));
    entries.expect("it was sealed a moment ago").len()
}
