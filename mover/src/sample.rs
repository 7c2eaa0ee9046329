//! The model shop: small repositories in memory, with trees that Kopia would write and trees that nobody should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use windlass_repo_format::id::{BlobId, ContentPrefix, ObjectId};
use windlass_repo_format::object::{IndirectEntry, encode_indirect};
use windlass_repo_format::snapshot::{DirEntry, DirectorySummary, EntryKind, GoMode, SnapshotManifest, SourceInfo};

use crate::blocking::block_on;
use crate::clock::{Clock, ManualClock};
use crate::random::SeededRandom;
use crate::repository::{CreateOptions, Identity, OpenOptions, Repository, Unlock, WriteSession};
use crate::snapshots::{self, Snapshot};
use crate::storage::faulty::{Fault, Operation};
use crate::storage::{BlobRange, Faulty, Memory, Storage};

/// Files are cut into contents of so many bytes.
pub(crate) const PART_LEN: usize = 5000;
/// Half a second into some day, so that fractions are seen.
pub(crate) const WHEN: Timestamp = Timestamp::constant(1_234_567_890, 123_456_789);

/// A repository that is being filled.
pub(crate) struct Sample {
    pub(crate) repository: Repository,
    pub(crate) storage: Memory,
    pub(crate) clock: Arc<ManualClock>,
    session: WriteSession,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self::with(&CreateOptions::default())
    }

    pub(crate) fn with(create: &CreateOptions) -> Self {
        let clock = Arc::new(ManualClock::new(WHEN));
        let storage = Memory::new(clock.clone());
        let shared: Arc<dyn Storage> = Arc::new(storage.clone());
        let options = Self::options(&clock, 1);
        let repository = block_on(Repository::create(shared, "secret", create, options)).unwrap();
        let session = repository.write_session().unwrap();
        Self {
            repository,
            storage,
            clock,
            session,
        }
    }

    fn options(clock: &Arc<ManualClock>, seed: u64) -> OpenOptions {
        OpenOptions {
            identity: Identity {
                user: "u".to_owned(),
                host: "h".to_owned(),
            },
            clock: clock.clone(),
            random: Arc::new(SeededRandom::new(seed)),
            cache: None,
        }
    }

    /// The repository as another client sees it.
    pub(crate) fn reopened(&self) -> Repository {
        let shared: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let unlock = Unlock::Key(self.repository.format_key().clone());
        block_on(Repository::open(shared, unlock, Self::options(&self.clock, 2))).unwrap()
    }

    /// The repository as somebody sees it who comes to repair it.
    pub(crate) fn opened_damaged(&self, storage: Arc<dyn Storage>, seed: u64) -> Repository {
        let unlock = Unlock::Key(self.repository.format_key().clone());
        let options = Self::options(&self.clock, seed);
        block_on(Repository::open_damaged(storage, unlock, options)).unwrap()
    }

    /// Another client at work on the same repository, with a view of its own. Each wants another seed, above 2.
    pub(crate) fn joined(&self, seed: u64) -> Self {
        let repository = self.opened_on(Arc::new(self.storage.clone()), self.clock.clone(), seed);
        Self::on(repository, self)
    }

    /// A repository of its own that is now as this one is.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(self.clock.now()));
        let storage = self.storage.fork(clock.clone());
        let repository = self.opened_on(Arc::new(storage.clone()), clock.clone(), seed);
        let session = repository.write_session().unwrap();
        Self {
            repository,
            storage,
            clock,
            session,
        }
    }

    /// A client that works with `repository`, which was opened on the blobs of another sample.
    pub(crate) fn on(repository: Repository, other: &Self) -> Self {
        let session = repository.write_session().unwrap();
        Self {
            repository,
            storage: other.storage.clone(),
            clock: other.clock.clone(),
            session,
        }
    }

    /// The repository opened on some storage that holds it, with a clock.
    pub(crate) fn opened_on(&self, storage: Arc<dyn Storage>, clock: Arc<dyn Clock>, seed: u64) -> Repository {
        let options = OpenOptions {
            clock,
            ..Self::options(&self.clock, seed)
        };
        let unlock = Unlock::Key(self.repository.format_key().clone());
        block_on(Repository::open(storage, unlock, options)).unwrap()
    }

    fn content(&self, prefix: Option<ContentPrefix>, bytes: &[u8]) -> ObjectId {
        ObjectId::direct(block_on(self.session.write_content(prefix, bytes, None)).unwrap())
    }

    /// An object of these bytes, with a list of parts if they are many.
    pub(crate) fn object(&self, bytes: &[u8]) -> ObjectId {
        if bytes.len() <= PART_LEN {
            return self.content(None, bytes);
        }
        self.object_of(bytes.chunks(PART_LEN))
    }

    /// An object of these contents, at least two, with their list.
    pub(crate) fn object_of<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> ObjectId {
        let mut start = 0;
        let parts: Vec<IndirectEntry> = parts
            .map(|part| {
                let len = part.len() as u64;
                let object = self.content(None, part);
                start += len;
                let start = start - len;
                IndirectEntry { start, len, object }
            })
            .collect();
        let list = self.content(Some(ContentPrefix::INDIRECT), &encode_indirect(&parts));
        ObjectId::indirect(list).unwrap()
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> DirEntry {
        DirEntry {
            kind: EntryKind::File,
            size: bytes.len() as u64,
            object: Some(self.object(bytes)),
            ..entry(name, 0o640)
        }
    }

    pub(crate) fn link(&self, name: &str, target: &str) -> DirEntry {
        DirEntry {
            kind: EntryKind::Symlink,
            size: target.len() as u64,
            object: Some(self.content(None, target.as_bytes())),
            ..entry(name, 0o777)
        }
    }

    /// A directory of these entries, in this order, whatever they are.
    pub(crate) fn directory(&self, name: &str, entries: &[DirEntry]) -> DirEntry {
        let summary = DirectorySummary {
            max_time: WHEN,
            ..DirectorySummary::default()
        };
        let mut json = br#"{"stream":"kopia:directory","entries":["#.to_vec();
        for (number, entry) in entries.iter().enumerate() {
            if number > 0 {
                json.push(b',');
            }
            entry.write(&mut json).unwrap();
        }
        json.extend_from_slice(br#"],"summary":"#);
        summary.write(&mut json).unwrap();
        json.extend_from_slice(b"}\n");
        DirEntry {
            kind: EntryKind::Directory,
            object: Some(self.content(Some(ContentPrefix::DIRECTORY), &json)),
            summary: Some(summary),
            ..entry(name, 0o750)
        }
    }

    /// Publishes everything written so far.
    pub(crate) fn flush(&self) {
        block_on(self.session.flush()).unwrap();
    }

    /// What a snapshot of `path` that begins so many seconds after [`WHEN`] says of itself.
    pub(crate) fn manifest(path: &str, seconds: i64, root: &DirEntry) -> SnapshotManifest {
        let start = Timestamp::from_second(WHEN.as_second() + seconds).unwrap();
        SnapshotManifest {
            source: source(path),
            start_time: start,
            end_time: start,
            root_entry: Some(root.clone()),
            ..SnapshotManifest::default()
        }
    }

    /// Files a snapshot of `path` that begins so many seconds after [`WHEN`].
    pub(crate) fn snapshot(&self, path: &str, seconds: i64, incomplete: Option<&str>, root: &DirEntry) -> Snapshot {
        let manifest = SnapshotManifest {
            incomplete: incomplete.map(str::to_owned),
            ..Self::manifest(path, seconds, root)
        };
        let data = serde_json::from_slice(&manifest.encode().unwrap()).unwrap();
        let filed = self.session.put_manifest(manifest.labels().unwrap(), data);
        self.flush();
        block_on(snapshots::find(&self.repository, &filed.id.to_string())).unwrap()
    }

    pub(crate) fn session(&self) -> &WriteSession {
        &self.session
    }

    /// Turns one bit of the content that holds this object, in its pack.
    pub(crate) fn damage(&self, object: ObjectId) -> BlobId {
        let found = self.repository.locate(&object.content()).unwrap();
        let mut bytes = block_on(self.storage.read(&found.pack, BlobRange::Whole))
            .unwrap()
            .to_vec();
        bytes[found.offset.bytes() as usize] ^= 1;
        assert!(self.storage.damage(&found.pack, bytes.into()));
        found.pack
    }
}

/// Everything from the `nth` put or delete on fails, that one before or after it was done.
pub(crate) fn dies(inner: Memory, nth: u64, after: bool) -> Arc<dyn Storage> {
    let changes = AtomicU64::new(0);
    Arc::new(Faulty::new(inner, move |call| {
        if !matches!(call.operation, Operation::Put | Operation::Delete) {
            return match changes.load(Ordering::Relaxed) > nth {
                true => Fault::Before(Fault::passing(call)),
                false => Fault::None,
            };
        }
        match changes.fetch_add(1, Ordering::Relaxed) {
            number if number < nth => Fault::None,
            number if number == nth && after => Fault::After(Fault::passing(call)),
            _ => Fault::Before(Fault::passing(call)),
        }
    }))
}

pub(crate) fn source(path: &str) -> SourceInfo {
    SourceInfo {
        host: "h".to_owned(),
        user_name: "u".to_owned(),
        path: path.to_owned(),
    }
}

fn entry(name: &str, mode: u32) -> DirEntry {
    DirEntry {
        name: name.as_bytes().to_vec(),
        mode: GoMode::from_unix_permissions(mode),
        mtime: WHEN,
        ..DirEntry::default()
    }
}
