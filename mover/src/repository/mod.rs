//! The repository room: joins the bytes of `repo-format` to a [`Storage`], a clock and a source of randomness.

mod contents;
mod indexes;
mod manifests;
mod objects;
mod opening;
mod password;
mod session;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use jiff::Timestamp;
use windlass_repo_format::format_blob::{BlobConfig, FormatBlob, FormatKey, RepositoryFormat};
use windlass_repo_format::id::BlobId;
use windlass_repo_format::sealing::Sealer;
use windlass_repo_format::splitter::SplitterAlgorithm;

use crate::cache::{Cache, CacheUsage};
use crate::clock::Clock;
use crate::error::{MoverError, Result};
use crate::random::RandomSource;
use crate::storage::{Storage, StorageError};

pub use indexes::IndexSummary;
pub(crate) use indexes::{Frozen, IndexView, names};
pub use manifests::Manifests;
pub use objects::{DirectoryEntries, ObjectPart, ObjectParts};
pub use opening::{CreateOptions, OpenOptions, Unlock};
pub(crate) use session::{ContentSink, FullPack, SealingTools};
pub use session::{SessionSummary, WriteSession};

/// Who works with the repository: recorded in sessions and sources, and compared with the owner of maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, as Kopia would give it.
    pub user: String,
    /// The host's name, as Kopia would give it.
    pub host: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}

/// An open repository. Cheap to clone; all clones see the same indexes.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
    identity: Identity,
    format_blob: FormatBlob,
    format: RepositoryFormat,
    blob_config: BlobConfig,
    key: FormatKey,
    sealer: Sealer,
    splitter: SplitterAlgorithm,
    index: RwLock<Arc<IndexView>>,
    /// Index blobs that could not be opened, where the repository was opened for all that.
    left_out: OnceLock<Mutex<BTreeSet<BlobId>>>,
    cache: Option<Cache>,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("location", &self.inner.storage.location())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Where the blobs are.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// The clock this repository was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Who works with the repository.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The settings that were sealed into the format blob.
    pub fn format(&self) -> &RepositoryFormat {
        &self.inner.format
    }

    /// The format blob's clear part.
    pub fn format_blob(&self) -> &FormatBlob {
        &self.inner.format_blob
    }

    /// Object lock settings of the repository's blobs.
    pub fn blob_config(&self) -> &BlobConfig {
        &self.inner.blob_config
    }

    /// The key that the password gave: opens the repository again without deriving it anew.
    pub fn format_key(&self) -> &FormatKey {
        &self.inner.key
    }

    /// The repository's default splitter; directories and lists of parts always use it.
    pub fn splitter(&self) -> SplitterAlgorithm {
        self.inner.splitter
    }

    /// What everything passes through on its way into storage.
    pub fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    /// What is kept of this repository on this machine; `None` when nothing is to be kept.
    pub fn cache_usage(&self) -> Option<CacheUsage> {
        self.inner.cache.as_ref().map(Cache::usage)
    }

    /// The present moment by the repository's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.inner.random.fill(&mut bytes);
        bytes
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        self.inner.random.fill(bytes);
    }

    /// Adds to a storage error what was being done to which blob.
    pub(crate) fn storage_error(&self, doing: &str, blob: &BlobId, source: StorageError) -> MoverError {
        self.storage_failed(format!("cannot {doing} blob {blob}"), source)
    }

    pub(crate) fn storage_failed(&self, doing: String, source: StorageError) -> MoverError {
        MoverError::Storage {
            doing,
            location: self.inner.storage.location(),
            source,
        }
    }

    /// Reads a whole blob and opens its seal.
    pub(crate) async fn open_blob(&self, blob: &BlobId) -> Result<Vec<u8>> {
        let stored = self.read_blob(blob).await?;
        self.inner
            .sealer
            .open_blob(blob, &stored)
            .map_err(|source| MoverError::Blob {
                blob: blob.clone(),
                source,
            })
    }

    async fn read_blob(&self, blob: &BlobId) -> Result<bytes::Bytes> {
        let read = self.inner.storage.read(blob, crate::storage::BlobRange::Whole).await;
        read.map_err(|source| self.storage_error("read", blob, source))
    }
}
