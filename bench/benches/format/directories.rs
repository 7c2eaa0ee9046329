//! What a folder is in a repository: directories written as streams of entries, and read back.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use jiff::Timestamp;
use windlass_repo_format::id::{ContentHash, ContentId, ObjectId};
use windlass_repo_format::snapshot::{
    DirEntry, DirectoryReader, DirectorySummary, DirectoryWriter, EntryKind, GoMode, SummaryBuilder,
};

use crate::material::{EXTENT_LEN, amount, noise};

pub(crate) fn bench(criterion: &mut Criterion) {
    let entries = entries(amount(100_000, 100));
    let stream = written(&entries);
    let mut group = criterion.benchmark_group("directory");
    group.throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("write", |bencher| bencher.iter(|| written(black_box(&entries))));
    group.bench_function("read", |bencher| bencher.iter(|| count(black_box(&stream))));
    assert_eq!(
        count(&stream),
        entries.len(),
        "a directory has the entries that were written"
    );
}

/// Summed up and written, as the tree does it.
fn written(entries: &[DirEntry]) -> Vec<u8> {
    let (mut writer, mut summary, mut out) = (DirectoryWriter::new(), SummaryBuilder::new(), Vec::new());
    for entry in entries {
        writer.push(entry, &mut out).expect("the entries are in order");
        summary.add(entry);
    }
    let summary: DirectorySummary = summary.finish(Timestamp::UNIX_EPOCH, None);
    writer.finish(&summary, &mut out).expect("the time can be written");
    out
}

fn count(stream: &[u8]) -> usize {
    let (mut reader, mut count) = (DirectoryReader::new(), 0);
    for piece in stream.chunks(EXTENT_LEN) {
        reader.push(piece, |_| count += 1).expect("it was written a moment ago");
    }
    count
}

fn entries(count: usize) -> Vec<DirEntry> {
    let names = noise(16 * count, 11);
    let entry = |(number, name): (usize, &[u8])| {
        let hash = ContentHash::new(name).expect("16 bytes are a hash");
        let time = Timestamp::new(1_600_000_000 + number as i64, 123_456_789);
        DirEntry {
            name: format!("photograph-{number:08}.jpg").into_bytes(),
            kind: EntryKind::File,
            mode: GoMode::from_unix_permissions(0o644),
            size: 4096 + number as u64,
            mtime: time.expect("this is a time of our century"),
            uid: 1000,
            gid: 1000,
            object: Some(ObjectId::direct(ContentId::new(None, &hash))),
            summary: None,
        }
    };
    names.chunks_exact(16).enumerate().map(entry).collect()
}
