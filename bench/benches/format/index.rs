//! Where a content lies: indexes are opened, asked, merged and written.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_repo_format::id::{BlobId, ContentHash, ContentId};
use windlass_repo_format::index::{Index, IndexEntry, encode_v2, look_up, merge_runs};
use windlass_repo_format::quantity::{ContentLen, PackOffset};

use crate::material::{amount, noise};

/// Contents of a pack, as with small files.
const CONTENTS_PER_PACK: usize = 1000;
const LOOK_UPS: usize = 1000;
const RUNS: usize = 8;

pub(crate) fn bench(criterion: &mut Criterion) {
    let all = entries(amount(800_000, 8000), 6);
    let whole = index(all.clone());
    let runs: Vec<Index<Vec<u8>>> = (0..RUNS).map(|run| index(every(&all, RUNS, run))).collect();
    let known: Vec<ContentId> = every(&all, all.len() / LOOK_UPS, 0)
        .iter()
        .map(|entry| entry.id)
        .collect();
    let unknown: Vec<ContentId> = entries(LOOK_UPS, 99).iter().map(|entry| entry.id).collect();

    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(LOOK_UPS as u64));
    for (what, ids) in [("known", &known), ("unknown", &unknown)] {
        for (where_from, runs) in [("one run", std::slice::from_ref(&whole)), ("8 runs", &runs[..])] {
            group.bench_function(format!("look up {what} in {where_from} of 800,000"), |bencher| {
                bencher.iter(|| ids.iter().filter(|id| is_there(runs, black_box(id))).count());
            });
        }
    }

    let of_a_shard = every(&all, RUNS, 0);
    let encoded = runs[0].bytes();
    group.throughput(Throughput::Elements(of_a_shard.len() as u64));
    group.bench_function("write 100,000 entries", |bencher| {
        bencher.iter(|| encode_v2(black_box(&of_a_shard)));
    });
    group.bench_function("read 100,000 entries", |bencher| {
        bencher.iter(|| {
            let index = Index::open(black_box(encoded)).expect("it was written a moment ago");
            index.iter().filter(Result::is_ok).count()
        });
    });
    group.throughput(Throughput::Elements(all.len() as u64));
    group.bench_function("merge 8 runs of 100,000 entries", |bencher| {
        bencher.iter(|| {
            merge_runs(runs.iter().map(Index::iter), None)
                .filter(Result::is_ok)
                .count()
        });
    });
}

fn is_there(runs: &[Index<Vec<u8>>], id: &ContentId) -> bool {
    matches!(look_up(runs, id, None), Ok(Some(_)))
}

fn index(entries: Vec<IndexEntry>) -> Index<Vec<u8>> {
    let bytes = encode_v2(&entries).expect("sorted entries of one length can be written");
    Index::open(bytes).expect("what was written can be read")
}

/// One in so many, from a place on.
fn every(entries: &[IndexEntry], step: usize, first: usize) -> Vec<IndexEntry> {
    entries.iter().skip(first).step_by(step).cloned().collect()
}

/// Sorted entries of contents whose names are noise, a thousand to a pack.
pub(super) fn entries(count: usize, seed: u64) -> Vec<IndexEntry> {
    let names = noise(16 * count, seed);
    let pack = |number: usize| BlobId::new(format!("p{number:032x}-0123456789abcdef123"));
    let packs: Vec<BlobId> = (0..=count / CONTENTS_PER_PACK).map(pack).collect();
    let mut entries: Vec<IndexEntry> = names
        .chunks_exact(16)
        .enumerate()
        .map(|(number, name)| IndexEntry {
            id: ContentId::new(None, &ContentHash::new(name).expect("16 bytes are a hash")),
            pack: packs[number / CONTENTS_PER_PACK].clone(),
            offset: PackOffset::new((number % CONTENTS_PER_PACK) as u32 * 5000)
                .expect("a pack ends far below the limit"),
            packed_len: ContentLen::new(4124).expect("a content is far below the limit"),
            original_len: ContentLen::new(4096).expect("a content is far below the limit"),
            compression: 0,
            format_version: 3,
            timestamp: 1_234_567_890 + number as i64,
            deleted: false,
        })
        .collect();
    entries.sort_by_key(|entry| entry.id);
    entries
}
