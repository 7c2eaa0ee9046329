//! The wards: every kind of damage, what can be done about it, and that nothing is done where nothing can.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use futures_util::TryStreamExt;
use windlass_repo_format::id::{ContentPrefix, ObjectId};
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::*;
use crate::random::SeededRandom;
use crate::repository::CreateOptions;
use crate::sample::{Sample, dies, source};
use crate::snapshot;
use crate::storage::{BlobMetadata, Storage};
use crate::verify::{VerifyOptions, VerifyProgress, verify_repository};

/// A folder and a repository with a snapshot of it.
struct Patient {
    folder: Arc<tempfile::TempDir>,
    sample: Sample,
}

impl Patient {
    fn new(ecc_overhead_percent: u8) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let noise = |seed: u64, len: usize| {
            let mut bytes = vec![0; len];
            crate::random::RandomSource::fill(&SeededRandom::new(seed), &mut bytes);
            bytes
        };
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("small"), noise(1, 3000)).unwrap();
        fs::write(folder.path().join("below/long"), noise(2, 600_000)).unwrap();
        fs::write(folder.path().join("below/other"), noise(3, 5000)).unwrap();
        let sample = Sample::with(&CreateOptions {
            splitter: SplitterAlgorithm::from_name("DYNAMIC-128K-BUZHASH").unwrap(),
            ecc_overhead_percent,
            ..CreateOptions::default()
        });
        let patient = Self { folder, sample };
        let options = SnapshotOptions::new(patient.folder.path().to_owned(), source("/a"));
        let stop = Arc::new(AtomicBool::new(false));
        snapshot::create(&patient.sample.reopened(), &options, &Arc::default(), &stop).unwrap();
        assert!(patient.inspect(90).is_sound());
        patient
    }

    /// The same once more; what is done to one does not harm the other.
    fn twin(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            sample: self.sample.fork(80),
        }
    }

    fn opened(&self, seed: u64) -> Repository {
        self.sample.opened_damaged(Arc::new(self.sample.storage.clone()), seed)
    }

    fn inspect(&self, seed: u64) -> VerifyReport {
        let options = VerifyOptions::reading(100.0);
        let (random, progress) = (SeededRandom::new(3), VerifyProgress::default());
        let cancel = AtomicBool::new(false);
        let repository = self.opened(seed);
        verify_repository(&repository, &options, &random, &progress, &cancel).unwrap()
    }

    /// Repairs as long as that helps; gives what was done, and what is wrong afterwards.
    fn treat(&self, from: Option<&Path>) -> (Vec<RepairReport>, VerifyReport) {
        let cancel = Arc::new(AtomicBool::new(false));
        let mut done = Vec::new();
        loop {
            let seed = 100 + 10 * done.len() as u64;
            let found = self.inspect(seed);
            let repository = self.opened(seed + 1);
            if found.is_sound() {
                return (done, found);
            }
            let report = repair(&repository, &found, from, &RepairProgress::default(), &cancel).unwrap();
            if !report.has_changed() {
                return (done, found);
            }
            done.push(report);
        }
    }

    fn blobs(&self) -> BTreeMap<BlobId, Bytes> {
        let storage = &self.sample.storage;
        let listed: Vec<BlobMetadata> = block_on(storage.list("").try_collect()).unwrap();
        let read = |blob: BlobMetadata| (blob.id.clone(), self.read(&blob.id));
        listed.into_iter().map(read).collect()
    }

    fn read(&self, blob: &BlobId) -> Bytes {
        block_on(self.sample.storage.read(blob, BlobRange::Whole)).unwrap()
    }

    /// Nothing may be lost or changed, but an index blob may have another name.
    fn assert_kept(&self, before: &BTreeMap<BlobId, Bytes>, when: &str) {
        let after = self.blobs();
        for (blob, bytes) in before {
            let aside = BlobId::from(format!("{ASIDE_PREFIX}{blob}"));
            let kept = after.get(blob).or_else(|| after.get(&aside));
            assert!(kept == Some(bytes), "{when}: {blob} was lost or changed");
        }
    }

    fn remove(&self, blob: &BlobId) {
        block_on(self.sample.storage.delete(blob)).unwrap();
    }

    /// The blobs whose names begin so that only the snapshot has written.
    fn names(&self, prefix: &str) -> Vec<BlobId> {
        let mut blobs = self.blobs();
        blobs.retain(|blob, _| blob.as_str().starts_with(prefix));
        blobs.into_keys().collect()
    }

    fn pack_of(&self, id: &ContentId) -> IndexEntry {
        self.sample.reopened().locate(id).unwrap()
    }

    /// A content of the long file, or of a folder, or whatever has this prefix.
    fn some_content(&self, prefix: Option<ContentPrefix>) -> IndexEntry {
        let contents = self.sample.reopened().live_contents(prefix).unwrap();
        let longest = contents.into_iter().max_by_key(|entry| entry.packed_len.bytes());
        longest.unwrap()
    }

    /// Turns bits in the middle of a content.
    fn flip(&self, entry: &IndexEntry) {
        let mut bytes = self.read(&entry.pack).to_vec();
        bytes[entry.offset.bytes() as usize + entry.packed_len.as_usize() / 2] ^= 0x55;
        assert!(self.sample.storage.damage(&entry.pack, bytes.into()));
    }

    fn cut(&self, blob: &BlobId, len: usize) {
        let bytes = self.read(blob).slice(..len);
        assert!(self.sample.storage.damage(blob, bytes));
    }

    fn swap(&self, one: &BlobId, other: &BlobId) {
        let (first, second) = (self.read(one), self.read(other));
        self.sample.storage.damage(one, second);
        self.sample.storage.damage(other, first);
    }
}

/// What heals a kind of damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cure {
    /// The repository itself.
    Alone,
    /// The folder.
    Folder,
}

#[test]
fn every_kind_of_damage_is_found_and_mended_or_left_alone() {
    type Damage = fn(&Patient);
    let cases: [(&str, Cure, Damage); 14] = [
        ("an index blob is gone", Cure::Alone, |patient| {
            patient.names("xn").iter().for_each(|blob| patient.remove(blob));
        }),
        ("an index blob is damaged", Cure::Alone, |patient| {
            for blob in patient.names("xn") {
                let mut bytes = patient.read(&blob).to_vec();
                bytes[20] ^= 1;
                patient.sample.storage.damage(&blob, bytes.into());
            }
        }),
        ("an index blob is empty", Cure::Alone, |patient| {
            patient.cut(&patient.names("xn")[0], 0);
        }),
        ("index blobs are swapped", Cure::Alone, |patient| {
            let names = patient.names("xn");
            patient.swap(&names[0], &names[1]);
        }),
        ("data packs are swapped", Cure::Alone, |patient| {
            let long = patient.some_content(None).pack;
            let other = patient.names("q").pop().unwrap();
            patient.swap(&long, &other);
        }),
        ("data is flipped", Cure::Folder, |patient| {
            patient.flip(&patient.some_content(None));
        }),
        ("a list of parts is flipped", Cure::Folder, |patient| {
            patient.flip(&patient.some_content(Some(ContentPrefix::INDIRECT)));
        }),
        ("a folder is flipped", Cure::Folder, |patient| {
            patient.flip(&patient.some_content(Some(ContentPrefix::DIRECTORY)));
        }),
        ("a pack is gone", Cure::Folder, |patient| {
            patient.remove(&patient.some_content(None).pack);
        }),
        ("a pack is cut", Cure::Folder, |patient| {
            let last = patient.some_content(None);
            patient.cut(&last.pack, last.offset.bytes() as usize + 100);
        }),
        ("a pack is empty", Cure::Folder, |patient| {
            patient.cut(&patient.some_content(None).pack, 0);
        }),
        ("a content has another's bytes", Cure::Folder, |patient| {
            let entry = patient.some_content(None);
            let session = patient.sample.reopened().write_session().unwrap();
            let mut tools = SealingTools::default();
            let wrong = vec![0; entry.original_len.as_usize()];
            assert!(block_on(session.write_again(&mut tools, &entry, &wrong)).unwrap());
            block_on(session.flush()).unwrap();
        }),
        ("a pack is gone and in no index", Cure::Folder, |patient| {
            let pack = patient.some_content(None).pack;
            patient.remove(&pack);
            forget(patient, &pack);
        }),
        ("an index is gone and a pack cut", Cure::Folder, |patient| {
            let entry = patient.some_content(None);
            patient.cut(&entry.pack, entry.offset.bytes() as usize);
            forget(patient, &entry.pack);
        }),
    ];
    for (name, cure, damage) in cases {
        let patient = Patient::new(0);
        damage(&patient);
        let found = patient.inspect(5);
        assert!(!found.is_sound(), "{name}: nobody noticed");
        if cure == Cure::Folder {
            assert!(!found.touched.is_empty(), "{name}: who suffers? {found:?}");
        }
        let before = patient.blobs();
        let (alone, left) = patient.treat(None);
        assert_eq!(left.is_sound(), cure == Cure::Alone, "{name}: {alone:?} {left:?}");
        if cure == Cure::Folder {
            assert!(alone.is_empty(), "{name}: {alone:?}");
            assert!(patient.blobs() == before, "{name}: something was written in vain");
            let (helped, left) = patient.treat(Some(patient.folder.path()));
            assert!(left.is_sound(), "{name}: {helped:?} {left:?}");
        }
        patient.assert_kept(&before, name);
        // Also to those who open a repository only if it is whole.
        patient.sample.reopened();
    }
}

/// Takes a pack out of all indexes.
fn forget(patient: &Patient, pack: &BlobId) {
    let repository = patient.sample.reopened();
    let session = repository.write_session().unwrap();
    for blob in patient.names("xn") {
        let index = block_on(repository.open_index(&blob)).unwrap();
        let entries: Vec<IndexEntry> = index.iter().map(|entry| entry.unwrap()).collect();
        let others: Vec<IndexEntry> = entries.iter().filter(|entry| entry.pack != *pack).cloned().collect();
        if others.len() < entries.len() {
            patient.remove(&blob);
            block_on(session.publish_entries(&others)).unwrap();
        }
    }
}

#[test]
fn what_parity_keeps_together_is_found_and_stored_anew() {
    let patient = Patient::new(20);
    let entry = patient.some_content(None);
    patient.flip(&entry);
    let found = patient.inspect(5);
    assert_eq!((found.problems, found.damage.worn.len()), (1, 1), "{found:?}");
    assert!(matches!(found.first_problems[0].error, MoverError::ContentWorn { .. }));
    let (done, left) = patient.treat(None);
    assert!(left.is_sound(), "{left:?}");
    assert_eq!(done[0].from_parity, 1);
    assert_ne!(patient.pack_of(&entry.id).pack, entry.pack);
}

#[test]
fn a_folder_that_has_changed_gives_what_it_still_has_and_nothing_else() {
    let patient = Patient::new(0);
    let pack = patient.some_content(None).pack;
    patient.remove(&pack);
    fs::write(patient.folder.path().join("small"), b"something else").unwrap();
    fs::write(patient.folder.path().join("new"), b"not in the snapshot").unwrap();
    let wanted = patient.inspect(4).damage.contents.len() as u64;
    let (done, left) = patient.treat(Some(patient.folder.path()));
    assert_eq!(done.len(), 1);
    assert_eq!((done[0].from_source, done[0].left), (wanted - 1, 1), "{done:?}");
    let touched: Vec<&[u8]> = left.touched.iter().map(|(_, path)| &path[..]).collect();
    assert_eq!(touched, [b"small"], "{left:?}");
    let repository = patient.sample.reopened();
    let hash = repository.sealer().hash(b"not in the snapshot");
    let new = ObjectId::direct(ContentId::new(None, &hash));
    assert!(repository.find(&new.content()).unwrap().is_none());
}

#[test]
fn what_was_deleted_long_ago_does_not_come_back() {
    let patient = Patient::new(0);
    let object = patient.sample.object(b"nobody needs this any more");
    patient.sample.flush();
    let pack = patient.pack_of(&object.content()).pack;
    forget(&patient, &pack);
    let watermark = BlobId::from(format!("xw{}", crate::sample::WHEN.as_second() + 1000).as_str());
    let put = crate::storage::PutOptions::default();
    block_on(patient.sample.storage.put(&watermark, Bytes::from_static(b"-"), &put)).unwrap();
    patient.flip(&patient.some_content(None));
    let (done, left) = patient.treat(Some(patient.folder.path()));
    assert!(left.is_sound(), "{left:?}");
    assert_eq!(done.iter().map(|report| report.indexed).sum::<u64>(), 0);
    assert!(patient.sample.reopened().find(&object.content()).unwrap().is_none());
}

#[test]
fn a_repair_that_dies_at_any_call_harms_nothing_and_is_finished_by_the_next() {
    let well = Patient::new(0);
    let mut nth = 0;
    loop {
        let patient = well.twin();
        for blob in patient.names("xn") {
            let mut bytes = patient.read(&blob).to_vec();
            bytes[20] ^= 1;
            patient.sample.storage.damage(&blob, bytes.into());
        }
        patient.flip(&well.some_content(None));
        let before = patient.blobs();
        let found = patient.inspect(5);
        let storage = dies(patient.sample.storage.clone(), nth / 2, nth % 2 == 1);
        let repository = patient.sample.opened_damaged(storage, 6);
        let cancel = Arc::new(AtomicBool::new(false));
        let from = Some(patient.folder.path());
        let ended = repair(&repository, &found, from, &RepairProgress::default(), &cancel);
        patient.assert_kept(&before, &format!("died at {nth}"));
        let (_, left) = patient.treat(from);
        assert!(left.is_sound(), "died at {nth}: {left:?}");
        patient.assert_kept(&before, &format!("died at {nth} and was repaired"));
        if ended.is_ok() {
            assert!(nth > 8, "it has many calls to die at: {nth}");
            break;
        }
        nth += 1;
    }
}
