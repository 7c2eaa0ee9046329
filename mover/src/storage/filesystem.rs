//! The folder room: blobs as files in a directory tree, where Kopia would look for them.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError, WriteFigures, locate};
use listing::Walk;
use placing::{Durable, Replace};
use reading::Buffers;

mod listing;
mod placing;
mod reading;
mod sharding;

pub use sharding::{Sharding, ShardingOverride};

/// A storage in a directory: Kopia's `filesystem` provider.
///
/// Files without the suffix `.f` are no blobs: temporary files of a put (`<file>.tmp.<16 digits>`, mode 0600) and the
/// file `.shards`. Times are those of the file system; over a network they are the server's.
///
/// Blocking work runs on the runtime's blocking threads, or in place where there is no runtime.
#[derive(Clone, Debug)]
pub struct FileSystem(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    sharding: Sharding,
    sharding_is_guess: bool,
    durable: Durable,
    buffers: Buffers,
    written: Written,
}

/// Which way the bytes of blobs went.
#[derive(Debug, Default)]
struct Written {
    direct: AtomicU64,
    cached: AtomicU64,
    reserved: AtomicU64,
}

impl FileSystem {
    /// The storage in an existing directory.
    ///
    /// Without a `.shards` file the blobs are looked for where a Kopia client would look, [`Sharding::when_missing`],
    /// and [`FileSystem::sharding_is_guess`] says so; nothing is written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let root = root.into();
        if !root.is_dir() {
            let place = root.display().to_string();
            return Err(StorageError::NoStorage { place });
        }
        let found = read_shards(&root)?;
        let sharding_is_guess = found.is_none();
        let sharding = found.unwrap_or_else(Sharding::when_missing);
        Ok(Self::new(root, sharding, sharding_is_guess))
    }

    /// The storage in a directory that is made if needed (mode 0700). A `.shards` file that is there already counts;
    /// otherwise `sharding` is written, before any blob can be.
    pub fn create(root: impl Into<PathBuf>, sharding: Sharding) -> Result<Self, StorageError> {
        let root = root.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)
            .map_err(|source| StorageError::from_io("create", root.display().to_string(), source))?;
        if let Some(parent) = root.canonicalize().ok().as_deref().and_then(Path::parent) {
            // Who may not read the parent has not just made a directory in it.
            let _ = placing::sync_directory(parent);
        }
        let sharding = match read_shards(&root)? {
            Some(found) => found,
            None => write_shards(&root, sharding)?,
        };
        Ok(Self::new(root, sharding, false))
    }

    fn new(root: PathBuf, sharding: Sharding, sharding_is_guess: bool) -> Self {
        Self(Arc::new(Inner {
            root,
            sharding,
            sharding_is_guess,
            durable: Durable::default(),
            buffers: Buffers::default(),
            written: Written::default(),
        }))
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// How blobs are spread over directories.
    pub fn sharding(&self) -> &Sharding {
        &self.0.sharding
    }

    /// Whether there was no `.shards` file to read: then blobs are looked for, and put, where a client that finds none
    /// expects them, and the owner may want to know.
    pub fn sharding_is_guess(&self) -> bool {
        self.0.sharding_is_guess
    }
}

fn read_shards(root: &Path) -> Result<Option<Sharding>, StorageError> {
    let path = sharding::shards_path(root);
    match fs::read(&path) {
        Ok(json) => Sharding::decode(&json)
            .map(Some)
            .map_err(|source| StorageError::BadShards { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError::from_io("read", path.display().to_string(), source)),
    }
}

/// Writes `.shards`, or reads what another writer wrote in that moment.
fn write_shards(root: &Path, sharding: Sharding) -> Result<Sharding, StorageError> {
    let name = sharding::shards_path(Path::new(""));
    match placing::place(root, &name, &sharding.encode(), Replace::No, &Durable::default()) {
        Ok(_) => Ok(sharding),
        Err(error) => match read_shards(root)? {
            Some(found) => Ok(found),
            None => Err(error),
        },
    }
}

/// Runs blocking work where it hurts nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return work();
    };
    match runtime.spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down and drops this future too: there is nobody to answer.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Inner {
    fn path(&self, id: &BlobId) -> Result<PathBuf, StorageError> {
        Ok(self.root.join(self.sharding.path(id)?))
    }

    /// The error for something that was tried on a blob's file.
    fn failed(&self, doing: &'static str, id: &BlobId, path: &Path, source: io::Error) -> StorageError {
        match source.kind() {
            io::ErrorKind::NotFound if self.root.is_dir() => StorageError::NotFound { blob: id.clone() },
            io::ErrorKind::NotFound => StorageError::NoStorage {
                place: self.root.display().to_string(),
            },
            _ => StorageError::from_io(doing, path.display().to_string(), source),
        }
    }

    fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        let path = self.path(id)?;
        let failed = |source| self.failed("read", id, &path, source);
        let file = File::open(&path).map_err(failed)?;
        let actual = file.metadata().map_err(failed)?.len();
        let (offset, len) = locate(id, range, actual)?;
        let is_part = matches!(range, BlobRange::Part { .. });
        if is_part && let Some(bytes) = self.buffers.read_direct(&file, offset, len).map_err(failed)? {
            return Ok(bytes);
        }
        let mut body = Vec::new();
        body.try_reserve_exact(len)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
        body.resize(len, 0);
        match file.read_exact_at(&mut body, offset) {
            Ok(()) => Ok(Bytes::from(body)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StorageError::OutOfRange {
                blob: id.clone(),
                offset,
                wanted: len as u64,
                actual: file.metadata().map_err(failed)?.len(),
            }),
            Err(error) => Err(failed(error)),
        }
    }

    fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        let path = self.path(id)?;
        let metadata = fs::metadata(&path).map_err(|source| self.failed("look at", id, &path, source))?;
        listing::describe(id.clone(), &metadata, &path)
    }

    fn put(&self, id: &BlobId, body: &[u8], replace: Replace) -> Result<BlobMetadata, StorageError> {
        let relative = self.sharding.path(id)?;
        match placing::place(&self.root, &relative, body, replace, &self.durable) {
            Ok(placed) => {
                let add = |to: &AtomicU64, bytes| to.fetch_add(bytes, Ordering::Relaxed);
                add(&self.written.direct, placed.written.direct_bytes);
                add(&self.written.cached, placed.written.cached_bytes);
                add(&self.written.reserved, placed.written.reserved_bytes);
                listing::describe(id.clone(), &placed.metadata, &relative)
            }
            Err(StorageError::Io { source, .. })
                if replace == Replace::No && source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Err(StorageError::AlreadyExists { blob: id.clone() })
            }
            Err(error) => Err(error),
        }
    }

    fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let path = self.path(id)?;
        match fs::remove_file(&path).map_err(|source| self.failed("remove", id, &path, source)) {
            Err(StorageError::NotFound { .. }) => Ok(()),
            removed => removed,
        }
    }
}

#[async_trait]
impl Storage for FileSystem {
    fn location(&self) -> String {
        self.0.root.display().to_string()
    }

    fn can_retain(&self) -> bool {
        false
    }

    fn writes(&self) -> Option<WriteFigures> {
        let written = &self.0.written;
        Some(WriteFigures {
            direct_bytes: written.direct.load(Ordering::Relaxed),
            cached_bytes: written.cached.load(Ordering::Relaxed),
            reserved_bytes: written.reserved.load(Ordering::Relaxed),
        })
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        blocking(move || inner.read(&id, range)).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        blocking(move || inner.metadata(&id)).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        if options.retention.is_some() {
            return Err(StorageError::Unsupported {
                what: "locking a blob against removal",
                location: self.location(),
            });
        }
        let replace = if options.only_if_absent {
            Replace::No
        } else {
            Replace::Yes
        };
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        blocking(move || inner.put(&id, &body, replace)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let (inner, id) = (Arc::clone(&self.0), id.clone());
        blocking(move || inner.delete(&id)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        enum State {
            Start,
            Walking(Walk),
            Failed,
        }
        stream::unfold(State::Start, move |state| async move {
            let (root, prefix) = (Arc::clone(&self.0), prefix.to_owned());
            let step = blocking(move || {
                let mut walk = match state {
                    State::Start => Walk::start(&root.root, &prefix)?,
                    State::Walking(walk) => walk,
                    State::Failed => return Ok(None),
                };
                Ok(walk.step()?.map(|found| (found, walk)))
            });
            let (found, state) = match step.await {
                Ok(None) => return None,
                Ok(Some((found, walk))) => (found.into_iter().map(Ok).collect(), State::Walking(walk)),
                Err(error) => (vec![Err(error)], State::Failed),
            };
            Some((stream::iter(found), state))
        })
        .flatten()
        .boxed()
    }
}

#[cfg(test)]
mod tests;
