//! Index blobs come, become sets, and go, and what the indexes say stays the same.

use std::collections::BTreeSet;

use windlass_repo_format::epoch::EpochState;

use super::*;

fn state(sample: &Sample) -> EpochState {
    block_on(sample.repository.read_epochs()).unwrap()
}

fn names(sample: &Sample, prefix: &str) -> Vec<BlobId> {
    block_on(sample.repository.list_names(prefix)).unwrap()
}

/// What a client that has just come knows.
fn contents(sample: &Sample, seed: u64) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let repository = sample.joined(seed).repository;
    repository
        .frozen()
        .unwrap()
        .each(|_, entry| {
            known.insert(format!("{} {} {}", entry.id, entry.pack, entry.timestamp));
            Ok(())
        })
        .unwrap();
    known
}

/// An epoch's worth of index blobs: 20 in 24 hours.
fn fill_epoch(sample: &Sample, seed: u64) {
    for number in 0..20u64 {
        let client = sample.joined(seed + number);
        client.object(format!("content {seed} {number}").as_bytes());
        client.flush();
        sample.clock.advance(SignedDuration::from_mins(76));
    }
}

#[test]
fn epochs_are_compacted_and_their_index_blobs_go_hours_later() {
    let sample = Sample::new();
    let quick = MaintainOptions::new(Mode::Quick);
    for epoch in 0..12u64 {
        assert_eq!(state(&sample).write_epoch(), epoch);
        fill_epoch(&sample, 1000 * (epoch + 1));
        let known = contents(&sample, 5);
        let client = sample.joined(6);
        let report = run(&client.repository, &quick).unwrap();
        assert_eq!(figure(&report, Task::AdvanceEpoch, "currentEpoch"), epoch + 1);
        if epoch >= 2 {
            assert_eq!(figure(&report, Task::CompactSingleEpoch, "epoch"), epoch - 2);
            assert!(state(&sample).single(epoch - 2).is_some());
        }
        assert_eq!(contents(&sample, 7), known, "epoch {epoch}");
    }
    assert!(names(&sample, "xr").is_empty() && !names(&sample, "xn0_").is_empty());

    let known = contents(&sample, 5);
    let client = sample.joined(8);
    let work_done = epochs_alone(&client);
    assert_eq!(names(&sample, "xr0_10_").len(), 1, "{work_done:?}");
    assert_eq!(names(&sample, "xe").len(), 2, "only the last two markers are needed");
    assert!(names(&sample, "xn0_").is_empty(), "its set is old enough");
    assert!(!names(&sample, "xn10_").is_empty(), "its set is not");
    assert_eq!(contents(&sample, 9), known);
    assert_eq!(check_all(&sample, 10), 0);
}

/// The steps with epochs of a full maintenance; what nobody needs is left alone.
fn epochs_alone(client: &Sample) -> Vec<Outcome> {
    let progress = MaintainProgress::default();
    let cancel = AtomicBool::new(false);
    let work = Work {
        repository: &client.repository,
        safety: Safety::FULL,
        start: client.clock.now(),
        dry_run: false,
        progress: &progress,
        cancel: &cancel,
    };
    let mut kept = Vec::new();
    vec![
        super::super::epochs::compact_single(&work).unwrap(),
        super::super::epochs::compact_range(&work).unwrap(),
        super::super::epochs::cleanup_markers(&work).unwrap(),
        super::super::epochs::delete_superseded(&work, &mut kept).unwrap(),
    ]
}

#[test]
fn an_index_blob_that_its_set_does_not_cover_is_kept() {
    let sample = Sample::new();
    for epoch in 0..3u64 {
        fill_epoch(&sample, 1000 * (epoch + 1));
        run(&sample.joined(5).repository, &MaintainOptions::new(Mode::Quick)).unwrap();
    }
    assert!(state(&sample).single(0).is_some());
    // A blob that a listing had overlooked when the set was made.
    let overlooked = {
        let stray = sample.joined(6);
        stray.object(b"overlooked");
        let before = names(&sample, "xn");
        stray.flush();
        let new = names(&sample, "xn")
            .into_iter()
            .find(|blob| !before.contains(blob))
            .unwrap();
        let bytes = block_on(sample.storage.read(&new, BlobRange::Whole)).unwrap();
        let (prefix, rest) = new.as_str().split_once('_').unwrap();
        assert_eq!(prefix, "xn3");
        let late = BlobId::from(format!("xn0_{rest}"));
        block_on(sample.repository.put_blob(&late, bytes)).unwrap();
        block_on(sample.storage.delete(&new)).unwrap();
        late
    };
    sample.clock.advance(hours(5));
    fill_epoch(&sample, 9000);
    epochs_alone(&sample.joined(7));
    assert_eq!(names(&sample, "xn0_"), [overlooked], "the others are covered and gone");
}

#[test]
fn a_set_of_many_blobs_is_as_good_as_one() {
    let sample = Sample::new();
    fill_epoch(&sample, 1000);
    let state = state(&sample);
    let inputs: Vec<BlobId> = state.uncompacted(0).iter().map(|blob| blob.id.clone()).collect();
    let stored = block_on(sample.repository.store_compacted(&inputs, "xs0_")).unwrap();
    assert_eq!(stored.len(), 1);
    assert!(stored[0].as_str().ends_with("-c1"), "{stored:?}");
    let run = block_on(sample.repository.open_index(&stored[0])).unwrap();
    assert_eq!(run.len(), contents(&sample, 5).len());
    let none = block_on(sample.repository.store_compacted(&[], "xs7_")).unwrap();
    assert!(none.is_empty() && names(&sample, "xs7_").is_empty());
}
