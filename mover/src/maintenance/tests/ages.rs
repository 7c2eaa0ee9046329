//! Just before and just after each age at which something may be deleted.

use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::maintenance::LogRetention;
use windlass_repo_format::session::SessionId;

use super::*;
use crate::repository::CreateOptions;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What the deletion of packs alone would do now.
fn delete_alone(sample: &Sample, seed: u64) -> u64 {
    let client = sample.joined(seed);
    let progress = MaintainProgress::default();
    let cancel = AtomicBool::new(false);
    let work = Work {
        repository: &client.repository,
        safety: Safety::FULL,
        start: sample.clock.now(),
        dry_run: false,
        progress: &progress,
        cancel: &cancel,
    };
    let Outcome::Done(stats) = packs::delete_unnamed(&work, &mut Vec::new(), None).unwrap() else {
        panic!("there is always something to say")
    };
    serde_json::to_value(&stats).unwrap()["deletedPackCount"]
        .as_u64()
        .unwrap()
}

fn deleted(report: &MaintainReport) -> u64 {
    figure(report, Task::FullDeleteBlobs, "deletedPackCount")
}

/// A session that stored a pack and died before it wrote an index; gives the blobs it left.
fn died(sample: &Sample, seed: u64) -> Vec<BlobId> {
    let before = blobs(&sample.storage);
    let client = sample.joined(seed);
    client.object(b"somebody wrote this and nobody will read it");
    block_on(client.session().settle()).unwrap();
    drop(client);
    let after = blobs(&sample.storage);
    let left: Vec<BlobId> = after.into_keys().filter(|blob| !before.contains_key(blob)).collect();
    assert_eq!(left.len(), 2, "a pack and a marker: {left:?}");
    left
}

#[test]
fn packs_of_a_session_that_died_go_after_four_days() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &tree(&sample, 1, 2));
    died(&sample, 10);
    sample.clock.advance(hours(96) - SECOND - SECOND);
    assert_eq!(delete_alone(&sample, 11), 0);
    sample.clock.advance(SECOND);
    assert_eq!(delete_alone(&sample, 12), 2, "the pack and then the marker");
    assert_eq!(check_all(&sample, 13), 1);
}

#[test]
fn a_session_that_sleeps_for_days_publishes_nothing_of_what_may_be_gone() {
    let sample = Sample::new();
    let client = sample.joined(10);
    let root = tree(&client, 1, 2);
    block_on(client.session().settle()).unwrap();
    sample.clock.advance(hours(97));
    assert!(delete_alone(&sample, 11) > 2, "its packs are gone");
    let manifest = Sample::manifest("/a", 1, &root);
    client.session().put_manifest(
        manifest.labels().unwrap(),
        serde_json::from_slice(&manifest.encode().unwrap()).unwrap(),
    );
    let error = block_on(client.session().flush()).unwrap_err();
    assert!(matches!(error, MoverError::SessionAsleep { hours: 97 }), "{error}");
    assert!(block_on(client.session().flush()).is_err());
    assert_eq!(check_all(&sample, 12), 0);
}

#[test]
fn the_marker_of_a_clock_that_is_behind_counts_from_when_it_was_stored() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &tree(&sample, 1, 2));
    let behind = Arc::new(ManualClock::new(sample.clock.now() - hours(100)));
    let repository = sample.opened_on(Arc::new(sample.storage.clone()), behind, 10);
    let client = Sample::on(repository, &sample);
    client.object(b"not yet in an index");
    block_on(client.session().settle()).unwrap();
    sample.clock.advance(hours(90));
    assert_eq!(delete_alone(&sample, 11), 0);
    client.flush();
    assert_eq!(delete_alone(&sample, 12), 0, "an index names it now");
}

#[test]
fn a_pack_that_lost_its_index_is_kept() {
    let sample = Sample::new();
    let before = blobs(&sample.storage);
    sample.snapshot("/a", 1, None, &tree(&sample, 1, 2));
    let lost: Vec<BlobId> = blobs(&sample.storage)
        .into_keys()
        .filter(|blob| !before.contains_key(blob) && blob.as_str().starts_with('x'))
        .collect();
    for blob in &lost {
        block_on(sample.storage.delete(blob)).unwrap();
    }
    sample.clock.advance(hours(200));
    for round in 0..3 {
        sample.clock.advance(hours(25));
        let report = run(&sample.joined(10 + round).repository, &careless()).unwrap();
        assert_eq!(deleted(&report), 0);
        let kept = report
            .tasks
            .iter()
            .find(|task| task.task == Task::FullDeleteBlobs)
            .unwrap();
        assert!(
            kept.kept
                .iter()
                .any(|kept| kept.why.contains("an index was lost") && kept.tally.count == 2)
        );
    }
    let cancel = AtomicBool::new(false);
    let progress = crate::recover::RecoverProgress::default();
    block_on(crate::recover::recover_index(
        &sample.joined(20).repository,
        false,
        &progress,
        &cancel,
    ))
    .unwrap();
    assert_eq!(check_all(&sample, 21), 1);
}

#[test]
fn a_session_marker_that_means_nothing_is_left_alone() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &tree(&sample, 1, 2));
    let strange = BlobId::from("strange");
    block_on(sample.repository.put_blob(&strange, Bytes::from_static(b"?"))).unwrap();
    let damaged = BlobId::from(format!("{}0011-s22", SessionId::MARKER_PREFIX));
    block_on(sample.repository.put_blob(&damaged, Bytes::from_static(b"?"))).unwrap();
    sample.clock.advance(hours(96) - SECOND - SECOND);
    assert_eq!(delete_alone(&sample, 10), 0);
    sample.clock.advance(SECOND);
    assert_eq!(
        delete_alone(&sample, 11),
        1,
        "what cannot be read counts from when it was stored"
    );
    assert!(blobs(&sample.storage).contains_key(&strange));
}

#[test]
fn a_content_is_marked_when_it_is_a_day_old_by_the_storages_clock() {
    let sample = Sample::new();
    let root = tree(&sample, 1, 2);
    let snapshot = sample.snapshot("/a", 1, None, &root);
    delete(&sample, &snapshot);
    let marked = |report: &MaintainReport| figure(report, Task::SnapshotGc, "deletedContentCount");
    sample.clock.advance(hours(24) - SECOND);
    assert_eq!(marked(&full(&sample.joined(10).repository)), 0);
    sample.clock.advance(SECOND);
    // This machine is four minutes ahead, and the storage's time counts all the same.
    let ahead = Arc::new(ManualClock::new(sample.clock.now() + SignedDuration::from_mins(4)));
    let repository = sample.opened_on(Arc::new(sample.storage.clone()), ahead, 11);
    assert!(marked(&full(&repository)) > 0);
}

#[test]
fn a_mark_is_not_put_on_a_content_that_was_moved_meanwhile() {
    let sample = Sample::new();
    let root = tree(&sample, 1, 2);
    let snapshot = sample.snapshot("/a", 1, None, &root);
    delete(&sample, &snapshot);
    sample.clock.advance(hours(30));
    let stale = sample.joined(10);
    // As if another maintenance had carried them into another pack since.
    let moved: Vec<IndexEntry> = {
        let mut moved = Vec::new();
        let each = |entry: IndexEntry| {
            moved.push(IndexEntry {
                timestamp: entry.timestamp + 5,
                ..entry
            });
            Ok(())
        };
        stale.repository.each_live_content(each).unwrap();
        moved
    };
    let progress = MaintainProgress::default();
    let cancel = AtomicBool::new(false);
    let work = Work {
        repository: &stale.repository,
        safety: Safety::FULL,
        start: sample.clock.now(),
        dry_run: false,
        progress: &progress,
        cancel: &cancel,
    };
    // The view of `stale` is older than this.
    block_on(sample.joined(11).session().publish_entries(&moved)).unwrap();
    let mut kept = Vec::new();
    let done = collect::collect(&work, &mut kept).unwrap();
    let Outcome::Done(stats) = done else { panic!("{done:?}") };
    assert_eq!(serde_json::to_value(&stats).unwrap()["deletedContentCount"], 0);
    assert!(
        kept.iter()
            .any(|kept| kept.why.contains("changed") && kept.tally.count > 6),
        "{kept:?}"
    );
}

#[test]
fn locks_are_extended_where_the_repository_has_them() {
    use windlass_repo_format::format_blob::{BLOB_CONFIG_NAME, BlobConfig, RetentionMode};
    let sample = Sample::with(&CreateOptions::default());
    sample.snapshot("/a", 1, None, &tree(&sample, 1, 2));
    let progress = MaintainProgress::default();
    let cancel = AtomicBool::new(false);
    let work = Work {
        repository: &sample.repository,
        safety: Safety::FULL,
        start: sample.clock.now(),
        dry_run: false,
        progress: &progress,
        cancel: &cancel,
    };
    assert!(matches!(
        locks::extend(&work, sample.clock.now()).unwrap(),
        Outcome::Nothing(_)
    ));
    let config = BlobConfig {
        retention_mode: Some(RetentionMode::Compliance),
        retention_period: hours(48).unsigned_abs(),
        ..BlobConfig::default()
    };
    let repository = &sample.repository;
    let sealed = config.seal(&repository.format_blob().unique_id, repository.format_key(), &[7; 12]);
    block_on(repository.put_blob(&BLOB_CONFIG_NAME.into(), sealed.into())).unwrap();
    let locked = sample.joined(10).repository;
    let work = Work {
        repository: &locked,
        ..work
    };
    let Outcome::Done(stats) = locks::extend(&work, sample.clock.now()).unwrap() else {
        panic!("nothing was extended")
    };
    let all = blobs(&sample.storage);
    let wanted = all.keys().filter(|blob| {
        blob.as_str().starts_with(['p', 'q', 'x'])
            || blob.as_str() == "kopia.repository"
            || blob.as_str() == "kopia.blobcfg"
    });
    let until = sample.clock.now() + hours(48);
    let mut count = 0;
    for blob in wanted {
        assert_eq!(
            sample.storage.retention(blob).map(|held| held.until),
            Some(until),
            "{blob}"
        );
        count += 1;
    }
    let stats = serde_json::to_value(&stats).unwrap();
    assert_eq!(
        (stats["extendedBlobCount"].as_u64(), &stats["retentionPeriod"]),
        (Some(count), &"48h0m0s".into())
    );
    assert!(sample.storage.retention(&BlobId::from("kopia.maintenance")).is_none());
}

#[test]
fn old_logs_go_and_young_ones_stay() {
    let sample = Sample::new();
    for number in 0..5 {
        let log = BlobId::from(format!("_log_{number}"));
        block_on(sample.repository.put_blob(&log, Bytes::from_static(b"0123456789"))).unwrap();
        sample.clock.advance(hours(1));
    }
    let progress = MaintainProgress::default();
    let cancel = AtomicBool::new(false);
    let work = Work {
        repository: &sample.repository,
        safety: Safety::FULL,
        start: sample.clock.now(),
        dry_run: false,
        progress: &progress,
        cancel: &cancel,
    };
    let retention = |max_age| LogRetention {
        max_total_size: 0,
        max_count: 0,
        max_age,
    };
    logs::clean_up(&work, retention(hours(4)), sample.clock.now()).unwrap();
    let left = || block_on(sample.repository.list_names("_")).unwrap();
    assert_eq!(left().len(), 4, "one is older than four hours");
    logs::clean_up(
        &work,
        LogRetention {
            max_total_size: 25,
            ..retention(SignedDuration::ZERO)
        },
        sample.clock.now(),
    )
    .unwrap();
    assert_eq!(left(), [BlobId::from("_log_3"), BlobId::from("_log_4")]);
}
