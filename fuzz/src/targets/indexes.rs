//! The catalogue's trial: indexes of both versions beside their plain twins, and the names that say which of them count.

use jiff::Timestamp;
use windlass_repo_format::epoch::{EpochState, IndexBlobName};
use windlass_repo_format::id::BlobId;
use windlass_repo_format::index::legacy::{CompactionLog, active_index_blobs};
use windlass_repo_format::index::{Index, IndexEntry, encode_v2};

use crate::naive::{NaiveEntry, entry_v1, entry_v2};

pub(super) fn v1(input: &[u8]) {
    index(input, 1, entry_v1);
}

pub(super) fn v2(input: &[u8]) {
    index(input, 2, entry_v2);
}

fn plain(entry: &IndexEntry) -> NaiveEntry {
    NaiveEntry {
        key: entry.id.as_key().to_vec(),
        timestamp: entry.timestamp,
        pack: entry.pack.to_string(),
        offset: entry.offset.bytes(),
        packed_len: entry.packed_len.bytes(),
        original_len: entry.original_len.bytes(),
        compression: entry.compression,
        version: entry.format_version,
        deleted: entry.deleted,
    }
}

fn index(input: &[u8], version: u8, twin: fn(&[u8], usize) -> Option<NaiveEntry>) {
    let mut bytes = input.to_vec();
    match bytes.first_mut() {
        Some(first) => *first = version,
        None => return assert!(Index::open(input).is_err()),
    }
    let Ok(index) = Index::open(&bytes[..]) else { return };
    let entries: Vec<_> = (0..index.len()).map(|place| index.entry(place)).collect();
    let mut keys = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        match (entry, twin(&bytes, place)) {
            (Ok(entry), Some(twin)) => {
                assert_eq!(plain(entry), twin, "entry {place}");
                keys.push(twin.key);
            }
            // The twin does not know which keys are names of contents.
            (Err(_), _) => keys.push(Vec::new()),
            (Ok(entry), None) => panic!("entry {place} is {entry:?}, and cannot be read by the twin"),
        }
    }
    let is_sorted = keys.windows(2).all(|pair| pair[0] < pair[1]) && keys.first().is_some_and(|key| !key.is_empty());
    let readable: Vec<IndexEntry> = entries.into_iter().filter_map(Result::ok).collect();
    for entry in readable.iter().take(50) {
        let found = index.get(&entry.id);
        if is_sorted {
            assert_eq!(
                found.expect("it can be read").as_ref(),
                Some(entry),
                "looked up by its name"
            );
        }
    }
    if is_sorted
        && readable.len() == index.len()
        && let Ok(encoded) = encode_v2(&readable)
    {
        let again = Index::open(&encoded[..]).expect("it was just encoded");
        let again: Vec<IndexEntry> = again.iter().collect::<Result<_, _>>().expect("it was just encoded");
        assert_eq!(again, readable, "encoded and decoded");
    }
}

/// One name a line.
pub(super) fn epoch_names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let words = text.split(['\n', '"', ',']).filter(|word| !word.is_empty()).take(500);
    let listed: Vec<(BlobId, u64, Timestamp)> = words
        .map(|name| (BlobId::from(name), name.len() as u64, Timestamp::UNIX_EPOCH))
        .collect();
    let state = EpochState::from_blobs(listed.clone());
    let active = state.active_index_blobs();
    for blob in &active {
        assert!(listed.iter().any(|(id, ..)| id == blob), "{blob} was not listed");
        assert!(matches!(
            IndexBlobName::parse(blob.as_str()),
            Some(IndexBlobName::Uncompacted { .. } | IndexBlobName::Compacted { .. } | IndexBlobName::Range { .. })
        ));
    }
    let mut sorted = active.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), active.len(), "none counts twice");
    // The order in which a storage lists its blobs says nothing.
    let backwards = EpochState::from_blobs(listed.iter().rev().cloned());
    assert_eq!(backwards.active_index_blobs(), active);
    assert_eq!(backwards.write_epoch(), state.write_epoch());
    let markers = listed
        .iter()
        .filter_map(|(id, ..)| match IndexBlobName::parse(id.as_str()) {
            Some(IndexBlobName::Marker { epoch }) => Some(epoch),
            _ => None,
        });
    assert_eq!(state.write_epoch(), markers.max().unwrap_or(0));
}

/// A log of compactions of format version 1, and the indexes that count by it.
pub(super) fn compaction_log(input: &[u8]) {
    let Ok(log) = CompactionLog::parse(input) else { return };
    let blobs: Vec<BlobId> = log.inputs.iter().chain(&log.outputs).cloned().collect();
    let active = active_index_blobs(blobs.clone(), std::slice::from_ref(&log));
    assert!(active.iter().all(|blob| blobs.contains(blob)));
    let only_inputs = active_index_blobs(log.inputs.clone(), std::slice::from_ref(&log));
    let an_output_is_missing = log.outputs.iter().any(|output| !log.inputs.contains(output));
    let are_indexes = log.inputs.iter().filter(|id| id.as_str().starts_with('n')).count();
    if an_output_is_missing
        && !log
            .inputs
            .iter()
            .any(|id| id.as_str().contains("repository_unreadable"))
    {
        assert_eq!(
            only_inputs.len(),
            are_indexes,
            "nothing is replaced by what is not there"
        );
    }
}
