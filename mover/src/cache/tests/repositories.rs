//! Repositories that are opened with a cache say what they say without one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;
use windlass_repo_format::id::ContentPrefix;
use windlass_repo_format::maintenance::Safety;

use super::*;
use crate::Repository;
use crate::blocking::block_on;
use crate::maintenance::{MaintainOptions, MaintainProgress, Mode, maintain};
use crate::random::{RandomSource, SeededRandom};
use crate::repository::{Identity, OpenOptions, Unlock};
use crate::sample::Sample;
use crate::storage::counting::Counts;
use crate::storage::{BlobRange, Counting, Memory, Storage};
use crate::verify::{VerifyOptions, VerifyProgress, verify_repository};

fn open(sample: &Sample, storage: Arc<dyn Storage>, cache: Option<CacheSettings>) -> crate::Result<Repository> {
    let options = OpenOptions {
        identity: Identity {
            user: "u".to_owned(),
            host: "h".to_owned(),
        },
        clock: sample.clock.clone(),
        random: Arc::new(SeededRandom::new(99)),
        cache,
    };
    let unlock = Unlock::Key(sample.repository.format_key().clone());
    block_on(Repository::open(storage, unlock, options))
}

/// Opened through the cache, and what was asked of the storage for it.
fn opened(sample: &Sample, cache: &CacheSettings) -> (Repository, Counts, Arc<Counting<Memory>>) {
    let storage = Arc::new(Counting::new(sample.storage.clone()));
    let repository = open(sample, storage.clone(), Some(cache.clone())).unwrap();
    let counts = storage.counts();
    (repository, counts, storage)
}

/// All that the indexes say, deleted entries included.
fn all(repository: &Repository) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let each = repository.each_live_content(|entry| {
        all.insert(format!("{entry:?}"));
        Ok(())
    });
    each.unwrap();
    all
}

fn index_files(folder: &TempDir, sample: &Sample) -> Vec<PathBuf> {
    let unique_id = hex::encode(&sample.repository.format_blob().unique_id);
    let entries = fs::read_dir(settings(folder, 0).folder.join(unique_id)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with(TAG.0)).collect()
}

#[test]
fn indexes_are_read_from_the_storage_once() {
    let folder = TempDir::new().unwrap();
    let sample = Sample::new();
    for number in 0..5u32 {
        sample.object(&number.to_le_bytes());
        sample.flush();
    }
    let cache = settings(&folder, 1 << 30);
    let (first, cold, _) = opened(&sample, &cache);
    let (second, warm, _) = opened(&sample, &cache);
    assert_eq!(cold.reads - warm.reads, first.index_summary().blobs as u64);
    assert_eq!((warm.reads, warm.metadata), (2, 0), "the settings alone are read");
    assert_eq!(all(&first), all(&second));

    // What this client writes it need not read either.
    let writer = Sample::on(second, &sample);
    writer.object(b"new");
    writer.flush();
    let (third, warm, _) = opened(&sample, &cache);
    assert_eq!(warm.reads, 2);
    assert_eq!(all(&third), all(&sample.reopened()));
}

#[test]
fn directories_are_read_from_a_bucket_once_and_contents_of_files_are_not_kept() {
    let folder = TempDir::new().unwrap();
    let sample = Sample::new();
    let session = sample.session();
    let directory = block_on(session.write_content(Some(ContentPrefix::DIRECTORY), b"a directory", None)).unwrap();
    let data = block_on(session.write_content(None, b"a file", None)).unwrap();
    sample.flush();
    let cache = CacheSettings {
        metadata: true,
        ..settings(&folder, 1 << 30)
    };
    let reads = |id, wanted: &[u8]| {
        let (repository, before, storage) = opened(&sample, &cache);
        assert_eq!(block_on(repository.read_content(id)).unwrap(), wanted);
        storage.counts().reads - before.reads
    };
    assert_eq!(
        [reads(&directory, b"a directory"), reads(&directory, b"a directory")],
        [1, 0]
    );
    assert_eq!([reads(&data, b"a file"), reads(&data, b"a file")], [1, 1]);
    for path in index_files(&folder, &sample) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        overwrite(&path, &bytes);
    }
    assert_eq!(reads(&directory, b"a directory"), 1);
}

#[test]
fn a_cache_says_nothing_else_than_the_storage_while_others_write_and_compact() {
    for seed in 1..=12u64 {
        let folder = TempDir::new().unwrap();
        let dice = SeededRandom::new(seed);
        let roll = |below: u8| {
            let mut byte = [0];
            dice.fill(&mut byte);
            byte[0] % below
        };
        let sample = Sample::new();
        // Sometimes with room for a few of the files only.
        let bytes_max = if seed % 3 == 0 { 3_000 } else { 1 << 30 };
        let cache = settings(&folder, bytes_max);
        let mut keeper = opened(&sample, &cache).0;
        for step in 0..60u64 {
            match roll(8) {
                0..=2 => {
                    let other = sample.joined(1000 * seed + step);
                    for number in 0..roll(40) {
                        other.object(&[number, step as u8, seed as u8]);
                    }
                    other.flush();
                }
                3 => {
                    let own = Sample::on(keeper.clone(), &sample);
                    own.object(&[step as u8; 9]);
                    own.flush();
                }
                4 => {
                    sample.clock.advance(SignedDuration::from_hours(25));
                    let other = sample.joined(1000 * seed + step).repository;
                    let options = MaintainOptions {
                        safety: Safety::NONE,
                        ..MaintainOptions::new(if roll(2) == 0 { Mode::Quick } else { Mode::Full })
                    };
                    let done = maintain(&other, &options, &MaintainProgress::default(), &AtomicBool::new(false));
                    done.unwrap();
                }
                5 => {
                    let paths = index_files(&folder, &sample);
                    if !paths.is_empty() {
                        let path = &paths[usize::from(roll(paths.len().min(255) as u8))];
                        let mut bytes = fs::read(path).unwrap();
                        let place = usize::from(roll(255)) % bytes.len();
                        match roll(3) {
                            0 => bytes.truncate(place),
                            1 => bytes[place] ^= 1 << roll(8),
                            _ => bytes = fs::read(&paths[0]).unwrap(),
                        }
                        overwrite(path, &bytes);
                    }
                }
                6 => keeper = opened(&sample, &cache).0,
                _ => block_on(keeper.refresh()).unwrap(),
            }
            let fresh = opened(&sample, &cache).0;
            assert_eq!(all(&fresh), all(&sample.reopened()), "seed {seed}, step {step}");
        }
        block_on(keeper.refresh()).unwrap();
        assert_eq!(all(&keeper), all(&sample.reopened()), "seed {seed}");
    }
}

/// The storage loses what the cache still has: who asks after the storage must not be told by the cache.
#[test]
fn nobody_deletes_or_calls_sound_by_the_word_of_a_cache() {
    let folder = TempDir::new().unwrap();
    let cache = settings(&folder, 1 << 30);
    let sample = Sample::new();
    sample.object(b"content");
    sample.flush();
    drop(opened(&sample, &cache));
    let damaged = block_on(sample.repository.list_names("xn")).unwrap().pop().unwrap();
    let mut bytes = block_on(sample.storage.read(&damaged, BlobRange::Whole))
        .unwrap()
        .to_vec();
    bytes[20] ^= 1;
    assert!(sample.storage.damage(&damaged, bytes.into()));

    assert!(open(&sample, Arc::new(sample.storage.clone()), None).is_err());
    let repository = || open(&sample, Arc::new(sample.storage.clone()), Some(cache.clone())).unwrap();
    let names = |error: crate::MoverError| error.to_string().contains(damaged.as_str());
    let never = AtomicBool::new(false);
    let options = MaintainOptions::new(Mode::Full);
    let maintained = maintain(&repository(), &options, &MaintainProgress::default(), &never);
    assert!(maintained.is_err_and(names));
    let verified = verify_repository(
        &repository(),
        &VerifyOptions::reading(0.0),
        &SeededRandom::new(1),
        &VerifyProgress::default(),
        &never,
    );
    assert!(verified.is_err_and(names));
}
