//! The stage of the simulation: one repository, its clock, folders to back up, and writers whose every operation is recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use windlass_mover::blocking::block_on;
use windlass_mover::clock::{Clock, ManualClock};
use windlass_mover::random::SeededRandom;
use windlass_mover::repository::{CreateOptions, OpenOptions, Unlock};
use windlass_mover::snapshot::{self, Progress, SnapshotOptions, SnapshotReport};
use windlass_mover::storage::{Faulty, PutOptions, Storage};
use windlass_mover::{Identity, MoverError, Repository};
use windlass_repo_format::format_blob::{FORMAT_BLOB_NAME, FormatBlob, FormatKey};
use windlass_repo_format::manifest::ManifestId;
use windlass_repo_format::snapshot::SourceInfo;
use windlass_repo_format::splitter::SplitterAlgorithm;

use crate::dice::{Dice, part};
use crate::history::{Logbook, Told};
use crate::mutants::Mutant;
use crate::recorder::{Desk, Interruption, Pace, Recorder};
use crate::shelf::{Blobs, Shelf};
use crate::trees::{self, Tree};
use crate::turns::Turns;

/// The password of every repository here, and the one that it gets.
pub const PASSWORD: &str = "secret";
/// The password after a change.
pub const NEXT_PASSWORD: &str = "another secret";
const START: Timestamp = Timestamp::constant(1_772_366_400, 0);
/// Packs are closed once they are longer than this, so that a small snapshot has several.
const PACK_LEN: u32 = 20_000;
/// A file system in memory, where there is one.
const IN_MEMORY: &str = "/dev/shm";

/// An empty repository, made once: deriving keys is slow.
struct Template {
    blobs: Blobs,
    key: FormatKey,
    next_key: FormatKey,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let clock = Arc::new(ManualClock::new(START));
        let shelf = Shelf::new(Blobs::new(), clock.clone());
        let create = CreateOptions {
            splitter: SplitterAlgorithm::from_name("FIXED-128K").expect("Kopia has this splitter"),
            ..CreateOptions::default()
        };
        let storage: Arc<dyn Storage> = Arc::new(shelf.clone());
        let created = Repository::create(storage, PASSWORD, &create, open_options(clock, 1));
        let repository = block_on(created).expect("a storage in memory takes a repository");
        let key = repository.format_key().clone();
        let mut format = repository.format().clone();
        format.max_pack_size = PACK_LEN;
        let blob = repository.format_blob();
        let smaller = FormatBlob {
            sealed_format: format.seal(&blob.unique_id, &key, &[7; 12]),
            ..blob.clone()
        };
        let (id, options) = (FORMAT_BLOB_NAME.into(), PutOptions::default());
        let put = shelf.put(&id, Bytes::from(smaller.encode()), &options);
        block_on(put).expect("a storage in memory takes a blob");
        Template {
            blobs: shelf.blobs(),
            next_key: blob.derive_key(NEXT_PASSWORD),
            key,
        }
    })
}

/// What a repository is opened with.
pub fn open_options(clock: Arc<dyn Clock>, seed: u64) -> OpenOptions {
    OpenOptions {
        identity: Identity {
            user: "u".to_owned(),
            host: "h".to_owned(),
        },
        clock,
        random: Arc::new(SeededRandom::new(seed)),
        cache: None,
    }
}

/// A clock that is wrong by a constant.
#[derive(Debug)]
pub struct Skewed {
    /// The right one.
    pub clock: Arc<ManualClock>,
    /// How far this one is ahead.
    pub ahead: SignedDuration,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        trees::later(self.clock.now(), self.ahead)
    }
}

/// How a writer is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// How far its clock is ahead of the storage's.
    pub ahead: SignedDuration,
    /// One of so many calls fails; 0 for none.
    pub fails_once_in: u32,
}

/// One writer, with the repository open.
#[derive(Debug)]
pub struct Writer {
    /// Which one.
    pub number: usize,
    /// The repository as it sees it.
    pub repository: Repository,
    recorder: Arc<Recorder>,
}

impl Writer {
    /// Lets something happen in the middle of the next operation of this class, between its begin and its effect.
    pub fn interrupt(&self, class: &'static str, with: Interruption) {
        self.recorder.interrupt(class, with);
    }
}

/// All that a scenario plays with.
#[derive(Debug)]
pub struct World {
    /// The storage's clock, which everybody else's follows.
    pub clock: Arc<ManualClock>,
    /// The blobs.
    pub shelf: Shelf,
    /// What has happened.
    pub logbook: Logbook,
    /// Choices that the scenario leaves to the seed.
    pub dice: Dice,
    folder: TempDir,
    seed: u64,
    opened: AtomicU64,
    pace: Pace,
    mutant: Option<Mutant>,
    versions: Mutex<BTreeMap<String, u64>>,
}

impl World {
    /// An empty repository.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let template = template();
        let clock = Arc::new(ManualClock::new(trees::later(START, SignedDuration::from_hours(1))));
        let shelf = Shelf::new(template.blobs.clone(), clock.clone());
        let logbook = Logbook::default();
        logbook.starts_with(template.blobs.clone());
        logbook.tell(Told::Keys(vec![(template.key.clone(), PASSWORD.to_owned())]));
        let dice = Dice::new(seed);
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("windlass-faults-");
            builder
        };
        let folder = builder().tempdir_in(IN_MEMORY).or_else(|_| builder().tempdir());
        Self {
            pace: Pace {
                operation_max: SignedDuration::from_secs(1 + dice.below(20) as i64),
            },
            clock,
            shelf,
            logbook,
            dice,
            folder: folder.expect("a temporary folder can be made"),
            seed,
            opened: AtomicU64::new(0),
            mutant,
            versions: Mutex::default(),
        }
    }

    /// Says which part of the scenario begins.
    pub fn stage(&self, name: &'static str) {
        self.logbook.tell(Told::Stage(name));
    }

    /// What happened so far is not looked at: crashes begin here, with what is stored now.
    pub fn begin_here(&self) {
        self.logbook.starts_with(self.shelf.blobs());
    }

    /// Time in which nobody works.
    pub fn pass(&self, time: SignedDuration) {
        self.clock.advance(time);
    }

    /// A skew that the seed chooses: an hour ahead, an hour behind, or none.
    pub fn skew(&self) -> SignedDuration {
        SignedDuration::from_hours(self.dice.below(3) as i64 - 1)
    }

    /// The keys before and after a change of the password.
    pub fn keys(&self) -> [(FormatKey, String); 2] {
        let template = template();
        [
            (template.key.clone(), PASSWORD.to_owned()),
            (template.next_key.clone(), NEXT_PASSWORD.to_owned()),
        ]
    }

    fn recorder(&self, number: usize, manner: Manner, turns: Option<Arc<Turns>>) -> Arc<Recorder> {
        let seed = part(self.seed, 1000 + self.opened.fetch_add(1, Ordering::Relaxed));
        Arc::new(Recorder::new(Desk {
            shelf: self.shelf.clone(),
            inner: Arc::new(Faulty::seeded(self.shelf.clone(), part(seed, 1), manner.fails_once_in)),
            logbook: self.logbook.clone(),
            writer: number,
            clock: self.clock.clone(),
            pace: self.pace,
            seed,
            turns,
        }))
    }

    /// A storage through which a writer's operations are recorded, for what needs no open repository.
    pub fn storage(&self, number: usize, manner: Manner) -> Arc<dyn Storage> {
        self.recorder(number, manner, None)
    }

    /// A writer that has opened the repository.
    ///
    /// # Errors
    /// As opening a repository.
    pub fn writer(&self, number: usize, manner: Manner) -> Result<Writer, MoverError> {
        self.writer_among(number, manner, None)
    }

    fn writer_among(&self, number: usize, manner: Manner, turns: Option<Arc<Turns>>) -> Result<Writer, MoverError> {
        let recorder = self.recorder(number, manner, turns);
        let storage: Arc<dyn Storage> = match self.mutant {
            Some(mutant) => Arc::new(mutant.between(recorder.clone())),
            None => recorder.clone(),
        };
        let clock = Arc::new(Skewed {
            clock: self.clock.clone(),
            ahead: manner.ahead,
        });
        let seed = part(self.seed, 2000 + self.opened.fetch_add(1, Ordering::Relaxed));
        let unlock = Unlock::Key(template().key.clone());
        let repository = block_on(Repository::open(storage, unlock, open_options(clock, seed)))?;
        Ok(Writer {
            number,
            repository,
            recorder,
        })
    }

    /// Lets several writers work at the same time, each on its own thread, and one operation of one of them after the other.
    pub fn together(&self, writers: &[(usize, Manner)], work: impl Fn(&Writer) + Sync) {
        let turns = Arc::new(Turns::new(
            writers.iter().map(|(number, _)| *number),
            self.dice.number(),
        ));
        std::thread::scope(|scope| {
            for (number, manner) in writers {
                let (turns, work) = (turns.clone(), &work);
                scope.spawn(move || {
                    let _leaving = Leaving(&turns, *number);
                    turns.wait(*number);
                    if let Ok(writer) = self.writer_among(*number, *manner, Some(turns.clone())) {
                        work(&writer);
                    }
                });
            }
        });
    }

    /// Where a source lies.
    pub fn path(&self, source: &str) -> PathBuf {
        self.folder.path().join(source)
    }

    /// Changes a source, or makes it.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn change(&self, source: &str) {
        let version = {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            let version = versions.entry(source.to_owned()).or_default();
            *version += 1;
            *version
        };
        let planted = trees::plant(&trees::tree(source, version), &self.path(source), version);
        planted.expect("the temporary folder is ours");
    }

    /// The version that a source has now.
    pub fn version(&self, source: &str) -> u64 {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(source).copied().unwrap_or(0)
    }

    /// How a source is snapshotted here.
    pub fn options(&self, source: &str) -> SnapshotOptions {
        let filed = SourceInfo {
            host: "h".to_owned(),
            user_name: "u".to_owned(),
            path: format!("/{source}"),
        };
        SnapshotOptions {
            description: format!("{source} {}", self.version(source)),
            single_thread: true,
            ..SnapshotOptions::new(self.path(source), filed)
        }
    }

    /// Makes a snapshot; what the writer is told of it is written down.
    ///
    /// # Errors
    /// As [`snapshot::create`].
    pub fn snapshot(&self, writer: &Writer, source: &str) -> Result<SnapshotReport, MoverError> {
        self.snapshot_every(writer, source, Duration::from_secs(3600))
    }

    /// The same, with a checkpoint whenever so much time has passed.
    ///
    /// # Errors
    /// As [`snapshot::create`].
    pub fn snapshot_every(&self, writer: &Writer, source: &str, every: Duration) -> Result<SnapshotReport, MoverError> {
        let options = SnapshotOptions {
            checkpoint_every: every,
            ..self.options(source)
        };
        self.logbook.tell(Told::Begins(writer.number, source.to_owned()));
        let report = create(&writer.repository, &options)?;
        if let Some(id) = report.id {
            let expired = report.expired.clone();
            self.logbook
                .tell(Told::Made(writer.number, source.to_owned(), id, expired));
        }
        Ok(report)
    }

    /// Deletes snapshots.
    ///
    /// # Errors
    /// As finding and writing manifests.
    pub fn delete(&self, writer: &Writer, ids: &[ManifestId]) -> Result<(), MoverError> {
        self.logbook.tell(Told::Deletes(writer.number, ids.to_vec()));
        let session = writer.repository.write_session()?;
        for id in ids {
            let found = block_on(windlass_mover::snapshots::find(&writer.repository, &id.to_string()))?;
            windlass_mover::snapshots::delete(&session, &found);
        }
        block_on(session.flush())?;
        self.logbook.tell(Told::Deleted(writer.number, ids.to_vec()));
        Ok(())
    }
}

/// Makes a snapshot that nobody stops.
///
/// # Errors
/// As [`snapshot::create`].
pub fn create(repository: &Repository, options: &SnapshotOptions) -> Result<SnapshotReport, MoverError> {
    let (progress, stop) = (Arc::new(Progress::default()), Arc::new(AtomicBool::new(false)));
    snapshot::create(repository, options, &progress, &stop)
}

/// What a snapshot with this description must hold.
pub fn described(description: &str) -> Option<Tree> {
    let (source, version) = description.split_once(' ')?;
    Some(trees::tree(source, version.parse().ok()?))
}

/// Leaves the turnstile, also when a writer panics.
struct Leaving<'a>(&'a Turns, usize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}
