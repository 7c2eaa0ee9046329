//! Inspections of repositories in memory, sound and damaged.

use super::*;
use crate::blocking::block_on;
use crate::random::SeededRandom;
use crate::sample::{PART_LEN, Sample};
use crate::storage::Storage;

fn snapshots_of(sample: &Sample, snapshots: &[Snapshot], percent: f64) -> VerifyReport {
    let (options, progress) = (VerifyOptions::reading(percent), VerifyProgress::default());
    let random = SeededRandom::new(3);
    let cancel = AtomicBool::new(false);
    verify_snapshots(&sample.repository, snapshots, &options, &random, &progress, &cancel).unwrap()
}

fn repository_of(sample: &Sample, percent: f64) -> VerifyReport {
    let (options, progress) = (VerifyOptions::reading(percent), VerifyProgress::default());
    let random = SeededRandom::new(3);
    let cancel = AtomicBool::new(false);
    verify_repository(&sample.reopened(), &options, &random, &progress, &cancel).unwrap()
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place / 3) as u8).collect()
}

#[test]
fn a_sound_repository_has_no_problems() {
    let sample = Sample::new();
    let sub = sample.directory(
        "sub",
        &[sample.file("big", &text(10 * PART_LEN)), sample.link("l", "x")],
    );
    let top = sample.directory("r", &[sub, sample.file("f", b"1")]);
    let first = sample.snapshot("/a", 1, None, &top);
    let second = sample.snapshot("/a", 2, None, &top);
    let report = snapshots_of(&sample, &[first, second], 0.0);
    assert!(report.is_sound(), "{:?}", report.first_problems);
    assert_eq!((report.snapshots, report.files, report.contents_read), (2, 2, 0));
    let all = repository_of(&sample, 100.0);
    assert!(all.is_sound(), "{:?}", all.first_problems);
    assert_eq!(all.contents, all.contents_read);
    assert!(all.index_blobs > 0);
}

#[test]
fn as_many_are_read_as_were_asked_for() {
    let sample = Sample::new();
    let files: Vec<_> = (0..1000u32)
        .map(|number| sample.file(&format!("{number:04}"), &number.to_be_bytes()))
        .collect();
    let snapshot = sample.snapshot("/a", 1, None, &sample.directory("r", &files));
    let read = snapshots_of(&sample, &[snapshot], 20.0).contents_read;
    assert!((120..280).contains(&read), "{read}");
}

#[test]
fn damage_is_found_where_it_is_and_named_with_what_it_touches() {
    let sample = Sample::new();
    let hurt = sample.file("hurt", &text(3 * PART_LEN));
    let sub = sample.directory("sub", &[hurt, sample.file("whole", b"well")]);
    let snapshot = sample.snapshot("/a", 1, None, &sample.directory("r", &[sub]));
    let part = sample.object(&text(3 * PART_LEN)[PART_LEN..2 * PART_LEN]);
    let pack = sample.damage(part);
    let snapshots = [snapshot];
    assert!(
        snapshots_of(&sample, &snapshots, 0.0).is_sound(),
        "it is there, and nobody looked into it"
    );
    let report = snapshots_of(&sample, &snapshots, 100.0);
    assert_eq!(report.problems, 1, "{:?}", report.first_problems);
    let problem = &report.first_problems[0];
    assert_eq!(problem.snapshot, Some(snapshots[0].id));
    assert_eq!(problem.path.as_deref(), Some(&b"sub/hurt"[..]));
    assert_eq!(problem.content, Some(part.content()));
    assert_eq!(problem.blob.as_ref(), Some(&pack));
    assert!(
        problem.to_string().contains("/sub/hurt: cannot open content"),
        "{problem}"
    );

    let report = repository_of(&sample, 100.0);
    assert_eq!(report.problems, 1);
    assert_eq!(report.first_problems[0].content, Some(part.content()));
    assert_eq!(report.touched, [(snapshots[0].id, b"sub/hurt".to_vec())]);
}

#[test]
fn a_pack_that_is_gone_or_cut_is_found_without_reading() {
    let sample = Sample::new();
    let file = sample.file("f", &text(3 * PART_LEN));
    let snapshot = sample.snapshot("/a", 1, None, &sample.directory("r", &[file]));
    let first = sample.object(&text(3 * PART_LEN)[..PART_LEN]);
    let last = sample.object(&text(3 * PART_LEN)[2 * PART_LEN..]);
    let pack = sample.repository.locate(&first.content()).unwrap().pack;
    let place = sample.repository.locate(&last.content()).unwrap();
    let bytes = block_on(sample.storage.read(&pack, crate::storage::BlobRange::Whole)).unwrap();
    sample
        .storage
        .damage(&pack, bytes.slice(..place.offset.bytes() as usize));
    let snapshots = [snapshot];
    let report = snapshots_of(&sample, &snapshots, 0.0);
    assert_eq!(report.problems, 1, "a file is told once");
    assert!(matches!(report.first_problems[0].error, MoverError::PackShort { .. }));
    let whole = repository_of(&sample, 0.0);
    assert!(whole.problems >= 1);
    assert_eq!(whole.touched, [(snapshots[0].id, b"f".to_vec())]);

    block_on(sample.storage.delete(&pack)).unwrap();
    let report = snapshots_of(&sample, &snapshots, 100.0);
    assert_eq!(report.problems, 1);
    assert!(matches!(report.first_problems[0].error, MoverError::PackMissing { .. }));
    assert!(repository_of(&sample, 0.0).problems >= 3, "each content of it");
}

#[test]
fn a_folder_that_cannot_be_read_is_told() {
    let sample = Sample::new();
    let sub = sample.directory("sub", &[sample.file("f", b"1")]);
    let snapshot = sample.snapshot("/a", 1, None, &sample.directory("r", std::slice::from_ref(&sub)));
    sample.damage(sub.object.unwrap());
    let report = snapshots_of(&sample, &[snapshot], 0.0);
    assert_eq!(report.problems, 1);
    assert_eq!(report.first_problems[0].path.as_deref(), Some(&b"sub"[..]));
}

#[test]
fn an_index_blob_that_does_not_open_is_told() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &sample.directory("r", &[sample.file("f", b"1")]));
    let repository = sample.reopened();
    let blob = block_on(repository.list_names("xn")).unwrap().remove(0);
    let mut bytes = block_on(sample.storage.read(&blob, crate::storage::BlobRange::Whole))
        .unwrap()
        .to_vec();
    bytes[20] ^= 1;
    sample.storage.damage(&blob, bytes.into());
    let (options, progress) = (VerifyOptions::reading(0.0), VerifyProgress::default());
    let (random, cancel) = (SeededRandom::new(3), AtomicBool::new(false));
    let report = verify_repository(&repository, &options, &random, &progress, &cancel).unwrap();
    assert_eq!(report.problems, 1, "{:?}", report.first_problems);
    assert_eq!(report.first_problems[0].blob.as_ref(), Some(&blob));
}

#[test]
fn a_cancelled_inspection_says_so() {
    let sample = Sample::new();
    let snapshot = sample.snapshot("/a", 1, None, &sample.directory("r", &[]));
    let (options, progress) = (VerifyOptions::reading(0.0), VerifyProgress::default());
    let (random, cancel) = (SeededRandom::new(3), AtomicBool::new(true));
    let snapshots = [snapshot];
    let ended = verify_snapshots(&sample.repository, &snapshots, &options, &random, &progress, &cancel);
    assert!(matches!(ended, Err(MoverError::Cancelled)));
    let ended = verify_repository(&sample.repository, &options, &random, &progress, &cancel);
    assert!(matches!(ended, Err(MoverError::Cancelled)));
}

#[test]
fn packs_whose_index_blob_is_lost_are_named() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &sample.directory("r", &[sample.file("f", b"1")]));
    let before = block_on(sample.repository.list_names("xn")).unwrap();
    let packs_before = block_on(sample.repository.list_names("p")).unwrap();
    // All that is deduplicated against the first is there, so only the second snapshot and its file are lost.
    sample.snapshot("/b", 2, None, &sample.directory("r", &[sample.file("g", b"2")]));
    assert!(repository_of(&sample, 100.0).is_sound());
    for blob in block_on(sample.repository.list_names("xn")).unwrap() {
        if !before.contains(&blob) {
            assert!(block_on(sample.storage.delete(&blob)).is_ok());
        }
    }
    let report = repository_of(&sample, 0.0);
    let lost: Vec<_> = report
        .first_problems
        .iter()
        .map(|problem| problem.blob.clone().unwrap())
        .collect();
    assert_eq!(
        (report.problems, report.unindexed.as_ref().unwrap().lost),
        (2, 2),
        "{report:?}"
    );
    assert!(lost.iter().any(|pack| pack.as_str().starts_with('q')), "{lost:?}");
    assert!(
        lost.iter()
            .any(|pack| pack.as_str().starts_with('p') && !packs_before.contains(pack))
    );
    assert!(
        report
            .first_problems
            .iter()
            .all(|problem| problem.to_string().contains("has lost its index"))
    );

    let (progress, cancel) = (crate::recover::RecoverProgress::default(), AtomicBool::new(false));
    block_on(crate::recover::recover_index(
        &sample.reopened(),
        false,
        &progress,
        &cancel,
    ))
    .unwrap();
    let report = repository_of(&sample, 100.0);
    assert!(report.is_sound(), "{report:?}");
    let unindexed = report.unindexed.unwrap();
    assert_eq!(unindexed.expected + unindexed.superseded + unindexed.unclear, 0);
}

#[test]
fn packs_that_need_no_index_are_not_damage() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &sample.directory("r", &[sample.file("f", b"1")]));
    // A session is at work: its pack is stored, and its index is not.
    let object = sample.object(b"being written");
    block_on(sample.session().settle()).unwrap();
    let report = repository_of(&sample, 100.0);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.unindexed.as_ref().unwrap().expected, 1);
    sample.flush();

    // Rewritten into another pack, and the entry of the first pack compacted away: its pack waits for maintenance.
    let entry = sample.repository.locate(&object.content()).unwrap();
    let session = sample.repository.write_session().unwrap();
    sample.object(b"elsewhere");
    sample.flush();
    let other = sample
        .repository
        .locate(&sample.object(b"elsewhere").content())
        .unwrap();
    let moved = windlass_repo_format::index::IndexEntry {
        pack: other.pack,
        offset: other.offset,
        timestamp: entry.timestamp + 1,
        ..entry.clone()
    };
    for blob in block_on(sample.repository.list_names("xn")).unwrap() {
        let index = windlass_repo_format::index::Index::open(block_on(sample.repository.open_blob(&blob)).unwrap());
        let rest: Vec<_> = index.unwrap().iter().map(|entry| entry.unwrap()).collect();
        if rest.iter().any(|found| found.pack == entry.pack) {
            block_on(sample.storage.delete(&blob)).unwrap();
            let rest: Vec<_> = rest.into_iter().filter(|found| found.pack != entry.pack).collect();
            block_on(session.publish_entries(&rest)).unwrap();
        }
    }
    block_on(session.publish_entries(&[moved])).unwrap();
    let report = repository_of(&sample, 0.0);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(
        (
            report.unindexed.as_ref().unwrap().superseded,
            report.unindexed.as_ref().unwrap().lost
        ),
        (1, 0)
    );
}

#[test]
fn what_may_have_been_deleted_is_a_warning() {
    let sample = Sample::new();
    sample.snapshot("/a", 1, None, &sample.directory("r", &[sample.file("f", b"1")]));
    let before = block_on(sample.repository.list_names("xn")).unwrap();
    let object = sample.object(b"no longer wanted");
    sample.flush();
    let pack = sample.repository.locate(&object.content()).unwrap().pack;
    for blob in block_on(sample.repository.list_names("xn")).unwrap() {
        if !before.contains(&blob) {
            block_on(sample.storage.delete(&blob)).unwrap();
        }
    }
    assert_eq!(repository_of(&sample, 0.0).unindexed.unwrap().lost, 1);
    // The watermark has passed over it: compaction would have dropped its entries had they been deleted.
    let watermark = BlobId::from(format!("xw{}", crate::sample::WHEN.as_second() + 1000).as_str());
    let put = crate::storage::PutOptions::default();
    block_on(sample.storage.put(&watermark, bytes::Bytes::from_static(b"-"), &put)).unwrap();
    let report = repository_of(&sample, 0.0);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(
        report.unindexed.as_ref().unwrap().first_unclear,
        std::slice::from_ref(&pack)
    );
    // Nor does a pack that does not say what it holds.
    sample.storage.damage(&pack, bytes::Bytes::from_static(b"cut"));
    assert_eq!(repository_of(&sample, 0.0).unindexed.unwrap().unclear, 1);
}
