//! The drill ground of the caretaker: days go by, clients come and go, and every snapshot stays whole.

mod ages;
mod crashes;
mod epochs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::SignedDuration;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::snapshot::DirEntry;

use super::*;
use crate::blocking::block_on;
use crate::clock::{Clock, ManualClock};
use crate::random::SeededRandom;
use crate::sample::Sample;
use crate::snapshots;
use crate::storage::{BlobRange, Storage};
use crate::verify::{VerifyOptions, VerifyProgress, verify_snapshots};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn hours(hours: i64) -> SignedDuration {
    HOUR * i32::try_from(hours).unwrap()
}

fn run(repository: &Repository, options: &MaintainOptions) -> Result<MaintainReport> {
    maintain(
        repository,
        options,
        &MaintainProgress::default(),
        &AtomicBool::new(false),
    )
}

fn full(repository: &Repository) -> MaintainReport {
    run(repository, &MaintainOptions::new(Mode::Full)).unwrap()
}

fn careless() -> MaintainOptions {
    MaintainOptions {
        safety: Safety::NONE,
        ..MaintainOptions::new(Mode::Full)
    }
}

fn outcome(report: &MaintainReport, task: Task) -> &Outcome {
    let mut tasks = report.tasks.iter().filter(|done| done.task == task);
    &tasks
        .next()
        .unwrap_or_else(|| panic!("{} was not tried", task.name()))
        .outcome
}

/// One figure of a step that was done.
fn figure(report: &MaintainReport, task: Task, name: &str) -> u64 {
    match outcome(report, task) {
        Outcome::Done(stats) => serde_json::to_value(stats).unwrap()[name].as_u64().unwrap(),
        Outcome::Nothing(why) => panic!("{}: {why}", task.name()),
    }
}

/// All blobs, whole.
fn blobs(storage: &dyn Storage) -> BTreeMap<BlobId, Bytes> {
    let listed: Vec<_> = block_on(storage.list("").try_collect()).unwrap();
    let read = listed.into_iter().map(|blob: crate::storage::BlobMetadata| {
        let bytes = block_on(storage.read(&blob.id, BlobRange::Whole)).unwrap();
        (blob.id, bytes)
    });
    read.collect()
}

/// Reads every file of every snapshot as somebody who has just come, and says how many snapshots there are.
fn check_all(sample: &Sample, seed: u64) -> usize {
    let repository = sample.opened_on(Arc::new(sample.storage.clone()), sample.clock.clone(), seed);
    let snapshots = block_on(snapshots::list(&repository, None)).unwrap();
    let report = verify_snapshots(
        &repository,
        &snapshots,
        &VerifyOptions::reading(100.0),
        &SeededRandom::new(1),
        &VerifyProgress::default(),
        &AtomicBool::new(false),
    );
    let report = report.unwrap();
    let problems: Vec<String> = report.first_problems.iter().map(ToString::to_string).collect();
    assert!(report.is_sound(), "{problems:#?}");
    snapshots.len()
}

/// A tree of one file that is `shared` by its name and one of its own; long enough for a list of parts.
fn tree(sample: &Sample, own: u8, shared: u8) -> DirEntry {
    let bytes = |first: u8| -> Vec<u8> { (0..12_000u32).map(|place| (place / 11) as u8 ^ first).collect() };
    let below = sample.directory("below", &[sample.file("shared", &bytes(shared))]);
    sample.directory(
        "top",
        &[below, sample.file("own", &bytes(own)), sample.link("link", "own")],
    )
}

fn delete(sample: &Sample, snapshot: &snapshots::Snapshot) {
    sample.session().delete_manifest(&snapshot.entry);
    sample.flush();
}

#[test]
fn what_no_snapshot_needs_is_gone_after_three_days_and_everything_else_stays() {
    let sample = Sample::new();
    let first = sample.snapshot("/a", 1, None, &tree(&sample, 1, 100));
    sample.snapshot("/b", 2, None, &tree(&sample, 2, 100));
    delete(&sample, &first);
    let packs = |sample: &Sample| {
        let blobs = blobs(&sample.storage);
        blobs
            .keys()
            .filter(|blob| blob.as_str().starts_with(['p', 'q']))
            .count()
    };
    let before = packs(&sample);

    let young = full(&sample.joined(10).repository);
    assert_eq!(figure(&young, Task::SnapshotGc, "deletedContentCount"), 0);
    assert!(figure(&young, Task::SnapshotGc, "unreferencedRecentContentCount") > 0);
    assert_eq!(check_all(&sample, 11), 1);

    sample.clock.advance(hours(25));
    let marked = full(&sample.joined(12).repository);
    let count = figure(&marked, Task::SnapshotGc, "deletedContentCount");
    assert_eq!(count, 5, "three parts, their list, and the top directory");
    assert!(matches!(
        outcome(&marked, Task::FullDropDeletedContents),
        Outcome::Done(_)
    ));
    assert_eq!(check_all(&sample, 13), 1);

    // Twice more, so that the collection that marked them is confirmed and an hour older than the one that counts.
    for (round, hours_on) in [(20u64, 6), (30, 24), (40, 24)] {
        sample.clock.advance(hours(hours_on));
        let report = full(&sample.joined(round).repository);
        assert_eq!(figure(&report, Task::SnapshotGc, "deletedContentCount"), 0, "{round}");
        assert_eq!(check_all(&sample, round + 1), 1);
    }
    assert!(packs(&sample) < before, "{} packs of {before} are left", packs(&sample));
    let fresh = sample.joined(50);
    let root = first.root().unwrap().object.unwrap().content();
    assert!(fresh.repository.find(&root).unwrap().is_none(), "it was dropped");
    assert!(fresh.repository.find_buried(&root).unwrap().unwrap().deleted);
}

#[test]
fn what_was_marked_while_a_snapshot_was_being_made_of_it_is_written_again() {
    let sample = Sample::new();
    let root = tree(&sample, 1, 100);
    let first = sample.snapshot("/a", 1, None, &root);
    sample.snapshot("/b", 2, None, &tree(&sample, 2, 101));
    delete(&sample, &first);
    sample.clock.advance(hours(25));
    // It sees the contents alive, and will not write them again.
    let late = sample.joined(10);
    let marked = full(&sample.joined(11).repository);
    assert!(figure(&marked, Task::SnapshotGc, "deletedContentCount") > 0);
    tree(&late, 1, 100);
    late.snapshot("/late", 3, None, &root);
    assert_eq!(check_all(&sample, 12), 2, "marked contents can be read");

    sample.clock.advance(hours(6));
    let healed = full(&sample.joined(13).repository);
    assert_eq!(
        figure(&healed, Task::SnapshotGc, "recoveredContentCount"),
        figure(&marked, Task::SnapshotGc, "deletedContentCount")
    );
    for round in 0..6 {
        sample.clock.advance(hours(25));
        let report = full(&sample.joined(20 + 2 * round).repository);
        assert_eq!(figure(&report, Task::SnapshotGc, "deletedContentCount"), 0);
        assert_eq!(check_all(&sample, 21 + 2 * round), 2);
    }
}

#[test]
fn a_content_that_was_dropped_can_be_written_again_by_a_clock_that_is_days_behind() {
    let sample = Sample::new();
    let root = tree(&sample, 1, 100);
    let first = sample.snapshot("/a", 1, None, &root);
    delete(&sample, &first);
    sample.clock.advance(hours(25));
    run(&sample.joined(10).repository, &careless()).unwrap();
    let behind = Arc::new(ManualClock::new(sample.clock.now() - hours(48)));
    let storage = Arc::new(sample.storage.clone());
    let repository = sample.opened_on(storage, behind, 11);
    let again = Sample::on(repository, &sample);
    tree(&again, 1, 100);
    again.snapshot("/a", 2, None, &root);
    assert_eq!(check_all(&sample, 12), 1);
}

#[test]
fn short_packs_become_few_and_go_a_day_later() {
    let sample = Sample::new();
    let roots: Vec<DirEntry> = (0..8)
        .map(|number| {
            let root = tree(&sample, number, 100 + number);
            sample.snapshot(&format!("/{number}"), i64::from(number), None, &root);
            root
        })
        .collect();
    assert_eq!(roots.len(), 8);
    let packs = |letter: char| {
        blobs(&sample.storage)
            .keys()
            .filter(|blob| blob.as_str().starts_with(letter))
            .count()
    };
    assert_eq!(packs('p'), 8);
    let too_young = full(&sample.joined(10).repository);
    assert!(matches!(
        outcome(&too_young, Task::FullRewriteContents),
        Outcome::Nothing(_)
    ));

    sample.clock.advance(hours(3));
    let report = full(&sample.joined(11).repository);
    assert!(figure(&report, Task::FullRewriteContents, "rewrittenContentCount") > 8 * 6);
    assert!(
        matches!(outcome(&report, Task::FullDeleteBlobs), Outcome::Nothing(_)),
        "others may read the old packs"
    );
    assert_eq!((packs('p'), check_all(&sample, 12)), (9, 8));

    sample.clock.advance(hours(21) - SignedDuration::from_secs(2));
    let report = full(&sample.joined(13).repository);
    assert_eq!(
        figure(&report, Task::FullDeleteBlobs, "deletedPackCount"),
        0,
        "not a day old"
    );
    sample.clock.advance(SignedDuration::from_secs(3));
    let report = full(&sample.joined(14).repository);
    assert!(figure(&report, Task::FullDeleteBlobs, "deletedPackCount") >= 16);
    assert_eq!((packs('p'), check_all(&sample, 15)), (1, 8));
    sample.clock.advance(hours(30));
    let report = full(&sample.joined(16).repository);
    assert!(
        matches!(outcome(&report, Task::FullRewriteContents), Outcome::Nothing(_)),
        "one short pack is left alone"
    );
}

#[test]
fn without_care_everything_goes_at_once() {
    let sample = Sample::new();
    let first = sample.snapshot("/a", 1, None, &tree(&sample, 1, 100));
    sample.snapshot("/b", 2, None, &tree(&sample, 2, 100));
    delete(&sample, &first);
    sample.clock.advance(HOUR);
    let rehearsed = MaintainOptions {
        dry_run: true,
        ..careless()
    };
    let before = blobs(&sample.storage);
    let would = run(&sample.joined(9).repository, &rehearsed).unwrap();
    assert_eq!(blobs(&sample.storage), before, "a rehearsal changes nothing");
    let report = run(&sample.joined(10).repository, &careless()).unwrap();
    for name in ["deletedContentCount", "inUseContentCount"] {
        assert_eq!(
            figure(&would, Task::SnapshotGc, name),
            figure(&report, Task::SnapshotGc, name),
            "{name}"
        );
    }
    assert!(figure(&report, Task::FullDeleteBlobs, "deletedPackCount") >= 4);
    let packs = blobs(&sample.storage);
    let packs = packs
        .keys()
        .filter(|blob| blob.as_str().starts_with(['p', 'q', 's']))
        .count();
    assert_eq!((packs, check_all(&sample, 11)), (2, 1));
}

#[test]
fn a_content_that_a_snapshot_needs_and_nobody_has_ends_the_collection() {
    let sample = Sample::new();
    let root = tree(&sample, 1, 100);
    sample.snapshot("/a", 1, None, &root);
    sample.clock.advance(hours(30));
    let found = sample.repository.locate(&root.object.unwrap().content()).unwrap();
    sample.damage(root.object.unwrap());
    let before = blobs(&sample.storage).len();
    let error = run(&sample.joined(10).repository, &MaintainOptions::new(Mode::Full)).unwrap_err();
    assert!(matches!(error, MoverError::CannotCollect { .. }), "{error}");
    // Gone from the indexes instead.
    let gone = windlass_repo_format::index::IndexEntry {
        deleted: true,
        timestamp: found.timestamp + 1,
        ..found
    };
    block_on(sample.session().publish_entries(std::slice::from_ref(&gone))).unwrap();
    let mark = windlass_repo_format::epoch::watermark_blob(gone.timestamp);
    block_on(
        sample
            .repository
            .put_blob(&mark, Bytes::from_static(b"deletion-watermark")),
    )
    .unwrap();
    let error = run(&sample.joined(11).repository, &MaintainOptions::new(Mode::Full)).unwrap_err();
    let MoverError::CannotCollect { path, source, .. } = error else {
        panic!("{error}")
    };
    assert!(
        path.is_empty() && matches!(*source, MoverError::ContentMissing { .. }),
        "{source}"
    );
    let after = blobs(&sample.storage);
    assert!(after.len() >= before && after.contains_key(&BlobId::from("kopia.maintenance")));
    let failed = schedule(&sample.repository).unwrap().runs;
    assert!(!failed[Task::SnapshotGc.name()][0].success);
    assert!(failed[Task::SnapshotGc.name()][0].error.contains("nothing is removed"));
}

#[test]
fn only_the_owner_maintains_unless_forced() {
    let sample = Sample::new();
    let strange = Repository::clone(&sample.repository);
    let manifests = block_on(strange.manifests()).unwrap();
    let owned = manifests.find(&[("type", MaintenanceParams::MANIFEST_TYPE)])[0].clone();
    sample.session().delete_manifest(&owned);
    sample.flush();
    let repository = sample.joined(10).repository;
    let error = run(&repository, &MaintainOptions::new(Mode::Quick)).unwrap_err();
    assert!(
        error.to_string().contains("belongs to nobody, and this is u@h"),
        "{error}"
    );
    let forced = MaintainOptions {
        force: true,
        ..MaintainOptions::new(Mode::Quick)
    };
    assert_eq!(run(&repository, &forced).unwrap().tasks.len(), 2);
}

#[test]
fn what_is_due_is_carried_out_and_then_is_not_due() {
    let sample = Sample::new();
    let options = MaintainOptions {
        mode: None,
        ..MaintainOptions::new(Mode::Quick)
    };
    let modes: Vec<_> = [0, 0, 1, 0, 23, 0]
        .into_iter()
        .map(|hours_on| {
            sample.clock.advance(hours(hours_on));
            run(&sample.repository, &options).unwrap().mode
        })
        .collect();
    assert_eq!(
        modes,
        [Some(Mode::Full), None, Some(Mode::Quick), None, Some(Mode::Full), None]
    );
}

#[test]
fn clocks_that_differ_refuse_a_maintenance() {
    let sample = Sample::new();
    for (apart, refused) in [
        (299, false),
        (301, true),
        (-299, false),
        (-301, true),
        (3600, true),
        (-3600, true),
    ] {
        let here = Arc::new(ManualClock::new(sample.clock.now() + SignedDuration::from_secs(apart)));
        let repository = sample.opened_on(Arc::new(sample.storage.clone()), here, 10);
        let ran = run(&repository, &MaintainOptions::new(Mode::Full));
        assert_eq!(matches!(ran, Err(MoverError::ClocksDiffer { .. })), refused, "{apart}");
    }
}

#[test]
fn a_second_full_maintenance_ends_the_first_and_a_quick_one_does_not() {
    let sample = Sample::new();
    let params = params(&sample.repository).unwrap();
    let (one, two) = (sample.joined(10), sample.joined(11));
    let mut first = Logbook::open(&one.repository, false).unwrap();
    first.begin(Mode::Full, &params).unwrap();
    let nothing = || Ok(Outcome::Nothing("for once".to_owned()));
    first.run(Task::CleanupMarkers, nothing).unwrap();

    sample.clock.advance(SignedDuration::from_secs(10));
    let mut quick = Logbook::open(&two.repository, false).unwrap();
    quick.begin(Mode::Quick, &params).unwrap();
    first.run(Task::CleanupLogs, nothing).unwrap();
    quick.run(Task::AdvanceEpoch, nothing).unwrap();
    first.run(Task::CleanupLogs, nothing).unwrap();
    let runs = schedule(&sample.repository).unwrap().runs;
    assert_eq!(runs[Task::CleanupLogs.name()].len(), 2);
    assert_eq!(runs[Task::AdvanceEpoch.name()].len(), 1);
    assert_eq!(runs[Task::CleanupMarkers.name()].len(), 1);

    sample.clock.advance(SignedDuration::from_secs(10));
    let mut second = Logbook::open(&two.repository, false).unwrap();
    second.begin(Mode::Full, &params).unwrap();
    let error = first.run(Task::CleanupLogs, nothing).unwrap_err();
    assert!(matches!(error, MoverError::MaintenanceOverlaps), "{error}");
    second.run(Task::CleanupLogs, nothing).unwrap();
}
