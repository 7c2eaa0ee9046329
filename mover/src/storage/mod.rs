//! The storage room: blobs by name, wherever they are kept.
//!
//! # The contract
//!
//! - A blob is whole: readers see the old bytes or the new ones, never a mixture, never a part.
//! - [`Storage::put`] has made the blob durable when it returns. A put that fails may have happened or not; it leaves
//!   nothing that [`Storage::list`] shows but a whole blob.
//! - [`Storage::delete`] may be undone by a crash of the machine, never done twice as an error.
//! - [`BlobMetadata::modified`] is the clock of the storage, not of the writer: Kopia's epochs and garbage collection
//!   compare only such times with each other.
//! - A list may be behind: [`Late`] is what repositories must live with, and [`conformance::Lists`] what remains of the
//!   contract then.
//! - Every call may be repeated. Dropping a future gives up waiting; the call itself may still happen.
//!
//! [`conformance::conformance`] is the contract as a test; it runs over every storage and every wrapper.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use windlass_repo_format::id::BlobId;

pub mod conformance;
pub mod counting;
pub mod faulty;
pub mod filesystem;
pub mod late;
pub mod memory;
pub mod throttled;

mod error;

pub use counting::Counting;
pub use error::StorageError;
pub use faulty::Faulty;
pub use filesystem::FileSystem;
pub use late::Late;
pub use memory::Memory;
pub use throttled::Throttled;
pub use windlass_repo_format::format_blob::RetentionMode;

/// More bytes than this are not read as a whole: packs have some 20 MiB, and offsets in them end at 1 GiB.
pub const WHOLE_BLOB_LEN_MAX: u64 = 2 << 30;

/// What a storage knows of a blob without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobMetadata {
    /// The blob's name.
    pub id: BlobId,
    /// Its length in bytes.
    pub len: u64,
    /// When it was put, by the storage's clock.
    pub modified: Timestamp,
}

/// Which bytes of a blob to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlobRange {
    /// All of it.
    Whole,
    /// Exactly `len` bytes from `offset`. A part of no bytes is empty wherever it begins.
    Part {
        /// Where the part begins, in bytes from the blob's first.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// A promise of the storage to keep this version of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Until when.
    pub until: Timestamp,
}

/// How a blob is to be put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Lock the blob. A storage without locks refuses.
    pub retention: Option<Retention>,
    /// The put must carry a checksum that the server compares with the bytes that arrived. Where there is no server,
    /// this changes nothing.
    pub checksum: bool,
    /// Fail with [`StorageError::AlreadyExists`] rather than replace.
    pub only_if_absent: bool,
}

/// Which way the bytes of blobs went to a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFigures {
    /// Bytes that were written past the page cache.
    pub direct_bytes: u64,
    /// Bytes that were written through the page cache.
    pub cached_bytes: u64,
    /// Bytes for which the space was asked for before they were written.
    pub reserved_bytes: u64,
}

impl WriteFigures {
    /// What came to it since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            direct_bytes: self.direct_bytes.saturating_sub(earlier.direct_bytes),
            cached_bytes: self.cached_bytes.saturating_sub(earlier.cached_bytes),
            reserved_bytes: self.reserved_bytes.saturating_sub(earlier.reserved_bytes),
        }
    }
}

/// A place that keeps blobs. The contract is in the [module's page](self).
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// The place, for people; never with secrets.
    fn location(&self) -> String;

    /// Whether a blob can be put with a [`Retention`] here. Where not, no blob has ever been locked.
    fn can_retain(&self) -> bool {
        true
    }

    /// How this storage has written so far; `None` where it has no disk of its own.
    fn writes(&self) -> Option<WriteFigures> {
        None
    }

    /// The bytes of a blob. Fewer bytes than asked for are [`StorageError::OutOfRange`], never a short answer.
    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError>;

    /// Length and time of a blob.
    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError>;

    /// Puts a whole blob, replacing one of that name unless told otherwise. Atomic to readers; durable on return.
    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError>;

    /// Moves the end of a blob's lock to a later moment, or locks it. One that is not later changes nothing, or is an
    /// error. A storage without locks refuses.
    async fn extend_retention(&self, _id: &BlobId, _retention: Retention) -> Result<(), StorageError> {
        Err(StorageError::Unsupported {
            what: "locking a blob against removal",
            location: self.location(),
        })
    }

    /// Removes a blob. One that is not there counts as removed.
    async fn delete(&self, id: &BlobId) -> Result<(), StorageError>;

    /// The blobs whose names begin with `prefix`, in any order, in bounded memory. Blobs that stay there all the while
    /// are shown; those that come or go meanwhile may be. An error ends the stream.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>>;
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }

    fn can_retain(&self) -> bool {
        (**self).can_retain()
    }

    fn writes(&self) -> Option<WriteFigures> {
        (**self).writes()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        (**self).read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        (**self).metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        (**self).put(id, body, options).await
    }

    async fn extend_retention(&self, id: &BlobId, retention: Retention) -> Result<(), StorageError> {
        (**self).extend_retention(id, retention).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        (**self).delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        (**self).list(prefix)
    }
}

/// Where a range lies in a blob of `actual` bytes: its first offset and its length.
///
/// # Errors
/// [`StorageError::OutOfRange`] when it is not wholly inside, [`StorageError::TooLong`] beyond [`WHOLE_BLOB_LEN_MAX`].
pub fn locate(id: &BlobId, range: BlobRange, actual: u64) -> Result<(u64, usize), StorageError> {
    let (offset, wanted) = match range {
        BlobRange::Whole => (0, actual),
        BlobRange::Part { len: 0, .. } => (0, 0),
        BlobRange::Part { offset, len } => (offset, len),
    };
    if offset.checked_add(wanted).is_none_or(|end| end > actual) {
        let blob = id.clone();
        return Err(StorageError::OutOfRange {
            blob,
            offset,
            wanted,
            actual,
        });
    }
    match usize::try_from(wanted) {
        Ok(len) if wanted <= WHOLE_BLOB_LEN_MAX => Ok((offset, len)),
        _ => Err(StorageError::TooLong {
            blob: id.clone(),
            actual: wanted,
            limit: WHOLE_BLOB_LEN_MAX,
        }),
    }
}
