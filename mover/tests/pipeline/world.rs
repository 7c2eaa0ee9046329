//! The stage: a repository in memory, a folder to be read, and what comes back out of the repository.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use tempfile::TempDir;
use windlass_mover::blocking::block_on;
use windlass_mover::clock::{Clock, ManualClock};
use windlass_mover::random::SeededRandom;
use windlass_mover::repository::{CreateOptions, OpenOptions, Unlock};
use windlass_mover::snapshot::{self, Progress, SnapshotOptions, SnapshotReport};
use windlass_mover::snapshots::{self, Snapshot};
use windlass_mover::storage::{BlobRange, Memory, PutOptions, Storage};
use windlass_mover::{Identity, MoverError, Repository};
use windlass_repo_format::format_blob::FormatKey;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::policy::{Policy, PolicyTarget};
use windlass_repo_format::snapshot::{DirEntry, EntryKind, SourceInfo};
use windlass_repo_format::splitter::SplitterAlgorithm;

/// Nothing here takes longer, even on a busy machine; what does is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(300);
/// A file system in memory, where a million files are made in seconds; the usual place where there is none.
const IN_MEMORY: &str = "/dev/shm";
pub(crate) const START: &str = "2026-03-01T12:00:00Z";

/// A repository, the clock it runs by, and a folder.
pub(crate) struct World {
    pub memory: Memory,
    pub clock: Arc<ManualClock>,
    pub key: FormatKey,
    pub folder: TempDir,
    seed: AtomicUsize,
}

/// An entry as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub entry: DirEntry,
    /// All bytes of a file or the target of a link.
    pub bytes: Vec<u8>,
}

pub(crate) type Tree = BTreeMap<Vec<u8>, Kept>;

/// A splitter by its name.
pub(crate) fn splitter(name: &str) -> SplitterAlgorithm {
    SplitterAlgorithm::from_name(name).unwrap()
}

/// Small chunks, so that small files have many.
pub(crate) fn small_chunks() -> CreateOptions {
    CreateOptions {
        splitter: splitter("FIXED-128K"),
        ..CreateOptions::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&small_chunks())
    }

    /// Small chunks, and a folder that is quick to fill with very many files.
    pub(crate) fn for_many_files() -> Self {
        let folder = tempfile::tempdir_in(IN_MEMORY).or_else(|_| tempfile::tempdir());
        Self {
            folder: folder.unwrap(),
            ..Self::new()
        }
    }

    pub(crate) fn with(create: &CreateOptions) -> Self {
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let memory = Memory::new(clock.clone());
        let options = open_options(clock.clone(), 1);
        let created = Repository::create(Arc::new(memory.clone()), "secret", create, options);
        let key = block_on(created).unwrap().format_key().clone();
        let folder = tempfile::Builder::new().prefix("windlass-").tempdir().unwrap();
        Self {
            memory,
            clock,
            key,
            folder,
            seed: AtomicUsize::new(2),
        }
    }

    /// Opens the repository once more.
    pub(crate) fn open(&self) -> Repository {
        self.open_through(Arc::new(self.memory.clone())).unwrap()
    }

    /// Opens the repository through a wrapper of its storage.
    pub(crate) fn open_through(&self, storage: Arc<dyn Storage>) -> Result<Repository, MoverError> {
        self.open_with(storage, self.clock.clone())
    }

    pub(crate) fn open_with(&self, storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Result<Repository, MoverError> {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let options = open_options(clock, seed as u64);
        block_on(Repository::open(storage, Unlock::Key(self.key.clone()), options))
    }

    /// A copy of all blobs: what happens to it does not happen here.
    pub(crate) fn fork(&self) -> Memory {
        let copy = Memory::new(self.clock.clone());
        let blobs: Vec<_> = block_on(self.memory.list("").collect::<Vec<_>>());
        for blob in blobs {
            let id = blob.unwrap().id;
            let bytes = block_on(self.memory.read(&id, BlobRange::Whole)).unwrap();
            block_on(copy.put(&id, bytes, &PutOptions::default())).unwrap();
        }
        copy
    }

    pub(crate) fn path(&self, relative: impl AsRef<[u8]>) -> PathBuf {
        self.folder.path().join(OsStr::from_bytes(relative.as_ref()))
    }

    /// Writes a file, with the folders on its way.
    pub(crate) fn file(&self, relative: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub(crate) fn directory(&self, relative: impl AsRef<[u8]>) -> &Self {
        fs::create_dir_all(self.path(relative)).unwrap();
        self
    }

    pub(crate) fn link(&self, relative: impl AsRef<[u8]>, target: &str) -> &Self {
        symlink(target, self.path(relative)).unwrap();
        self
    }

    pub(crate) fn mode(&self, relative: impl AsRef<[u8]>, mode: u32) -> &Self {
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// How the folder is snapshotted, unless a test says otherwise.
    pub(crate) fn options(&self) -> SnapshotOptions {
        self.options_of(self.folder.path())
    }

    /// Nothing is taken for unchanged.
    pub(crate) fn options_rereading(&self) -> SnapshotOptions {
        SnapshotOptions {
            force_read: true,
            ..self.options()
        }
    }

    pub(crate) fn options_of(&self, path: &Path) -> SnapshotOptions {
        SnapshotOptions {
            parallel: Some(3),
            ..SnapshotOptions::new(path.to_owned(), self.source_of(path))
        }
    }

    pub(crate) fn source_of(&self, path: &Path) -> SourceInfo {
        SourceInfo {
            host: "h".to_owned(),
            user_name: "u".to_owned(),
            path: path.display().to_string(),
        }
    }

    /// Gives the folder a policy.
    pub(crate) fn policy(&self, policy: &Policy) {
        let path = self.folder.path().display().to_string();
        let target = PolicyTarget::Path("u".to_owned(), "h".to_owned(), path);
        let repository = self.open();
        let session = repository.write_session().unwrap();
        let data = serde_json::from_slice(&policy.encode()).unwrap();
        session.put_manifest(target.labels(), data);
        block_on(session.flush()).unwrap();
    }

    /// Snapshots the folder, one minute after the last time.
    pub(crate) fn snapshot(&self, repository: &Repository) -> SnapshotReport {
        self.snapshot_with(repository, &self.options())
    }

    pub(crate) fn snapshot_with(&self, repository: &Repository, options: &SnapshotOptions) -> SnapshotReport {
        self.clock.advance(jiff::SignedDuration::from_mins(1));
        snapshot_of(repository, options).unwrap()
    }

    pub(crate) fn list(&self, repository: &Repository) -> Vec<Snapshot> {
        block_on(repository.refresh()).unwrap();
        block_on(snapshots::list(repository, None)).unwrap()
    }
}

fn open_options(clock: Arc<dyn Clock>, seed: u64) -> OpenOptions {
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

/// Makes a snapshot; a run that is stuck fails instead of hanging.
pub(crate) fn snapshot_of(repository: &Repository, options: &SnapshotOptions) -> Result<SnapshotReport, MoverError> {
    stoppable(repository, options, &Arc::new(AtomicBool::new(false)))
}

pub(crate) fn stoppable(
    repository: &Repository,
    options: &SnapshotOptions,
    stop: &Arc<AtomicBool>,
) -> Result<SnapshotReport, MoverError> {
    let (repository, options, stop) = (repository.clone(), options.clone(), stop.clone());
    in_time(move || snapshot::create(&repository, &options, &Arc::new(Progress::default()), &stop))
}

/// Runs something on a thread of its own, and gives up on it when it is stuck.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waiting) = mpsc::channel();
    let thread = std::thread::spawn(move || drop(done.send(work())));
    match waiting.recv_timeout(STUCK_AFTER) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("stuck for {STUCK_AFTER:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a thread that ended well has sent its result"),
        },
    }
}

/// Everything below a root, by path; every byte is read.
pub(crate) fn read_tree(repository: &Repository, root: &DirEntry) -> Result<Tree, MoverError> {
    let mut tree = Tree::new();
    read_into(repository, root, Vec::new(), &mut tree)?;
    Ok(tree)
}

fn read_into(repository: &Repository, entry: &DirEntry, path: Vec<u8>, tree: &mut Tree) -> Result<(), MoverError> {
    let object = entry.object.expect("every stored entry has an object");
    let mut kept = Kept {
        entry: entry.clone(),
        bytes: Vec::new(),
    };
    if entry.kind == EntryKind::Directory {
        let mut entries = repository.directory_entries(object);
        while let Some(child) = block_on(entries.next(repository))? {
            let mut below = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(&child.name);
            read_into(repository, &child, below, tree)?;
        }
        assert_eq!(entries.summary(), entry.summary.as_ref(), "one summary, two places");
    } else {
        kept.bytes = read_bytes(repository, object)?;
        assert_eq!(kept.bytes.len() as u64, entry.size, "{}", path.escape_ascii());
    }
    tree.insert(path, kept);
    Ok(())
}

pub(crate) fn read_bytes(repository: &Repository, object: ObjectId) -> Result<Vec<u8>, MoverError> {
    let mut bytes = Vec::new();
    let mut parts = repository.object_parts(object);
    while let Some(part) = block_on(parts.next(repository))? {
        bytes.extend_from_slice(&block_on(repository.read_part(&object, &part))?);
    }
    Ok(bytes)
}

impl World {
    /// What a snapshot holds, read through a fresh look at the repository.
    pub(crate) fn tree(&self, report: &SnapshotReport) -> Tree {
        read_tree(&self.open(), report.manifest.root_entry.as_ref().unwrap()).unwrap()
    }
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    use windlass_mover::random::RandomSource;
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(SeededRandom);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        use windlass_mover::random::RandomSource;
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
    }
}

/// Called before each call of a storage, with what is done and to which blob.
pub(crate) type Hook = Box<dyn Fn(&'static str, &str) + Send + Sync>;

/// Runs something on every storage call, before it is made.
pub(crate) struct Hooked<S> {
    pub inner: S,
    pub hook: Hook,
}

impl<S: Debug> Debug for Hooked<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooked")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<S: Storage> Storage for Hooked<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn read(
        &self,
        id: &windlass_repo_format::id::BlobId,
        range: BlobRange,
    ) -> Result<Bytes, windlass_mover::storage::StorageError> {
        (self.hook)("read", id.as_str());
        self.inner.read(id, range).await
    }

    async fn metadata(
        &self,
        id: &windlass_repo_format::id::BlobId,
    ) -> Result<windlass_mover::storage::BlobMetadata, windlass_mover::storage::StorageError> {
        (self.hook)("metadata", id.as_str());
        self.inner.metadata(id).await
    }

    async fn put(
        &self,
        id: &windlass_repo_format::id::BlobId,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<windlass_mover::storage::BlobMetadata, windlass_mover::storage::StorageError> {
        (self.hook)("put", id.as_str());
        self.inner.put(id, body, options).await
    }

    async fn delete(&self, id: &windlass_repo_format::id::BlobId) -> Result<(), windlass_mover::storage::StorageError> {
        (self.hook)("delete", id.as_str());
        self.inner.delete(id).await
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> futures_util::stream::BoxStream<
        'a,
        Result<windlass_mover::storage::BlobMetadata, windlass_mover::storage::StorageError>,
    > {
        (self.hook)("list", prefix);
        self.inner.list(prefix)
    }
}

/// A moment that stays the same when it is written to a file system.
pub(crate) fn set_mtime(path: &Path, mtime: Timestamp) {
    let seconds = mtime.as_nanosecond().div_euclid(1_000_000_000);
    let nanoseconds = mtime.as_nanosecond().rem_euclid(1_000_000_000);
    let time = rustix::fs::Timespec {
        tv_sec: seconds as i64,
        tv_nsec: nanoseconds as i64,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

/// Whether the tests run with the rights that a node agent has.
pub(crate) fn is_root(why: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped(format_args!("only the superuser can {why}"));
    }
    is_root
}

/// Says why something cannot be told here. Under `tests/run` that is a failure.
#[track_caller]
pub(crate) fn skipped(why: impl std::fmt::Display) {
    assert!(std::env::var_os("WINDLASS_TESTS").is_none(), "skipped: {why}");
    println!("skipped: {why}");
}

/// A clock that goes on by itself: some time passes whenever somebody looks.
#[derive(Debug)]
pub(crate) struct Hasty {
    start: Timestamp,
    looks: AtomicU64,
    step: Duration,
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        self.start.checked_add(self.step * looks as u32).unwrap()
    }
}

impl World {
    /// A clock that begins now and goes on by `step` at every look.
    pub(crate) fn hasty(&self, step: Duration) -> Arc<Hasty> {
        Arc::new(Hasty {
            start: self.clock.now(),
            looks: AtomicU64::new(0),
            step,
        })
    }
}

impl World {
    /// Opens the repository so that every state in which others can see it is looked at: `each` is called for every
    /// snapshot that is there whenever something was published. What is visible at such a moment must be whole.
    pub(crate) fn watched(
        &self,
        clock: Arc<Hasty>,
        each: impl Fn(&Repository, &Snapshot) + Send + Sync + 'static,
    ) -> Repository {
        let (memory, manual, key) = (self.memory.clone(), self.clock.clone(), self.key.clone());
        let hook = move |operation: &str, name: &str| {
            // The epoch is asked for before and after an index is written; before the first one there is nothing yet.
            if operation == "list" && name == "xe" {
                let options = open_options(manual.clone(), 1);
                let opened = Repository::open(Arc::new(memory.clone()), Unlock::Key(key.clone()), options);
                let repository = block_on(opened).unwrap();
                let snapshots = block_on(snapshots::list(&repository, None)).unwrap();
                snapshots.iter().for_each(|snapshot| each(&repository, snapshot));
            }
        };
        let storage = Hooked {
            inner: self.memory.clone(),
            hook: Box::new(hook),
        };
        self.open_with(Arc::new(storage), clock).unwrap()
    }
}
