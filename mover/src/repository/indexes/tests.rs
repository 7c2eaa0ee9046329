//! The proving room of the catalogue: indexes that are large, and many that are small, are not held in memory.

use std::sync::Arc;

use windlass_repo_format::id::{BlobId, ContentHash, ContentId};
use windlass_repo_format::index::{IndexEntry, encode_v2};
use windlass_repo_format::quantity::{ContentLen, PackOffset};

use super::{RUNS_MAX, RUNS_WAITING_MAX, RunBytes, WAITING_BYTES_MAX, bytes_in_memory, worth_keeping};
use crate::blocking::block_on;
use crate::sample::Sample;
use crate::storage::{PutOptions, Storage};

/// A content that no other number has, spread as hashes are.
fn entry(number: u32) -> IndexEntry {
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let hash = ContentHash::new(&spread.to_be_bytes()).unwrap();
    IndexEntry {
        id: ContentId::new(None, &hash),
        pack: format!("p{:032x}-s1", number / 300).into(),
        offset: PackOffset::new(number % 1000).unwrap(),
        packed_len: ContentLen::new(100).unwrap(),
        original_len: ContentLen::new(72).unwrap(),
        compression: 0,
        format_version: 2,
        timestamp: 7,
        deleted: false,
    }
}

fn put_index(sample: &Sample, name: u8, numbers: std::ops::Range<u32>) -> BlobId {
    let mut entries: Vec<_> = numbers.map(entry).collect();
    entries.sort_unstable_by_key(|entry| entry.id);
    let payload = encode_v2(&entries).unwrap();
    let suffix = format!("s{name:02x}-c1");
    let (blob, bytes) = sample
        .repository
        .sealer()
        .seal_blob("xn0_", &suffix, &[name; 12], &payload);
    block_on(sample.storage.put(&blob, bytes.into(), &PutOptions::default())).unwrap();
    blob
}

#[test]
fn a_large_index_blob_is_opened_in_a_file_and_says_the_same() {
    let sample = Sample::new();
    put_index(&sample, 1, 0..40_000);
    let repository = sample.reopened();
    let view = repository.view();
    let mapped = view
        .runs
        .iter()
        .filter(|run| matches!(run.bytes(), RunBytes::Mapped(_)));
    assert_eq!(mapped.map(|run| run.len()).sum::<usize>(), 40_000);
    for number in (0..40_000).step_by(37) {
        assert_eq!(repository.find(&entry(number).id).unwrap(), Some(entry(number)));
    }
    assert_eq!(repository.find(&entry(40_000).id).unwrap(), None);
}

#[test]
fn a_large_index_blob_that_was_changed_is_refused_by_its_name() {
    let sample = Sample::new();
    let blob = put_index(&sample, 1, 0..40_000);
    let mut bytes = block_on(sample.storage.read(&blob, crate::storage::BlobRange::Whole))
        .unwrap()
        .to_vec();
    bytes[1_000_000] ^= 1;
    assert!(sample.storage.damage(&blob, bytes.into()));
    let error = block_on(sample.repository.open_index(&blob)).unwrap_err();
    assert!(error.to_string().contains(blob.as_str()), "{error}");
}

#[test]
fn many_small_index_blobs_do_not_add_up_in_memory() {
    let sample = Sample::new();
    let blobs = RUNS_WAITING_MAX as u32 * 3;
    // Together they are larger than what may wait in memory.
    let each = WAITING_BYTES_MAX as u32 / 36 * 2 / blobs;
    for number in 0..blobs {
        put_index(&sample, number as u8, number * each..(number + 1) * each);
    }
    let repository = sample.reopened();
    let view = repository.view();
    assert!(view.runs.len() <= RUNS_WAITING_MAX, "{} runs", view.runs.len());
    let runs: Vec<_> = view.runs.iter().map(Arc::clone).collect();
    assert!(bytes_in_memory(&runs) <= WAITING_BYTES_MAX);
    for number in (0..blobs * each).step_by(4_001) {
        assert_eq!(repository.find(&entry(number).id).unwrap(), Some(entry(number)));
    }
    let mut live = 0;
    repository
        .each_live_content(|_| {
            live += 1;
            Ok(())
        })
        .unwrap();
    assert!(live >= blobs * each);
}

#[test]
fn runs_are_merged_when_enough_was_looked_for() {
    let sample = Sample::new();
    let blobs = RUNS_MAX as u32 * 2;
    for number in 0..blobs {
        put_index(&sample, number as u8, number * 100..(number + 1) * 100);
    }
    let repository = sample.reopened();
    let runs = || repository.view().runs.len();
    let found = |number| repository.find(&entry(number).id).unwrap() == Some(entry(number));
    assert!(found(0) && runs() > RUNS_MAX, "few look-ups are not worth it");
    assert!((0..blobs * 100).all(found));
    assert!(runs() <= RUNS_MAX, "{} runs", runs());
    assert!((0..blobs * 100).all(found), "nothing is lost");
}

#[test]
fn runs_that_no_index_could_hold_together_are_not_merged() {
    const MILLION: usize = 1_000_000;
    // Five as large as Kopia compacts them to, and four of today.
    let lens = [
        15 * MILLION,
        15 * MILLION,
        15 * MILLION,
        15 * MILLION,
        15 * MILLION,
        900,
        800,
        700,
        600,
    ];
    assert_eq!(worth_keeping(&lens), 5);
    assert_eq!(worth_keeping(&[7 * MILLION; 9]), 8);
    assert_eq!(worth_keeping(&[1_000; 9]), 0);
    assert_eq!(
        worth_keeping(&[9_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]),
        1
    );
}
