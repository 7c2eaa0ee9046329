//! The storekeeper's complaints: what can go wrong outside the bytes of a repository.

use std::io;
use std::path::PathBuf;

use windlass_repo_format::id::BlobId;

/// What went wrong when blobs were read, written, listed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such blob.
    #[error("blob {blob} not found")]
    NotFound {
        /// The blob that was asked for.
        blob: BlobId,
    },
    /// A put that may not replace found a blob of that name.
    #[error("blob {blob} exists already")]
    AlreadyExists {
        /// The blob that was to be made.
        blob: BlobId,
    },
    /// The part that was asked for is not wholly inside the blob.
    #[error("blob {blob} has {actual} bytes; {wanted} bytes from offset {offset} were asked for")]
    OutOfRange {
        /// The blob that was asked for.
        blob: BlobId,
        /// Where the part begins, in bytes.
        offset: u64,
        /// How many bytes were asked for.
        wanted: u64,
        /// How many bytes the blob has.
        actual: u64,
    },
    /// The blob is longer than can be read as a whole.
    #[error("blob {blob} has {actual} bytes; at most {limit} are read as a whole")]
    TooLong {
        /// The blob that was asked for.
        blob: BlobId,
        /// How many bytes the blob has.
        actual: u64,
        /// How many bytes are read as a whole.
        limit: u64,
    },
    /// The storage cannot hold a blob of this name.
    #[error("{blob:?} cannot be the name of a blob here: {reason}")]
    BadName {
        /// The name.
        blob: BlobId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The storage is full, or a quota is.
    #[error("no space left at {place}")]
    NoSpace {
        /// Where it was to be written: path or URL.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The credentials or the user may not do this.
    #[error("permission denied: cannot {doing} {place}")]
    Denied {
        /// The attempt, as a verb.
        doing: &'static str,
        /// Path or URL.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("cannot {doing} {place}: the file system is read-only")]
    ReadOnly {
        /// The attempt, as a verb.
        doing: &'static str,
        /// The path.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// A directory was needed where something else is.
    #[error("cannot {doing} {place}: something on the way is not a directory")]
    NotADirectory {
        /// The attempt, as a verb.
        doing: &'static str,
        /// The path.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no storage at this place.
    #[error("there is no directory {place}")]
    NoStorage {
        /// The path.
        place: String,
    },
    /// There is no bucket of that name.
    #[error("there is no bucket for {place}: make it first, or check its name and the endpoint")]
    NoBucket {
        /// The URL, without secrets.
        place: String,
    },
    /// The file that says how blobs are spread over directories is not understood.
    #[error("{} does not say how blobs are spread over directories", path.display())]
    BadShards {
        /// The `.shards` file.
        path: PathBuf,
        /// What the parser met.
        source: serde_json::Error,
    },
    /// This kind of storage cannot do that.
    #[error("{location} does not support {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The storage.
        location: String,
    },
    /// Anything else that the system or the network said.
    #[error("cannot {doing} {place}")]
    Io {
        /// The attempt, as a verb.
        doing: &'static str,
        /// Path, URL or blob.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    /// Whether the same call can be expected to fail again. What is not permanent is worth another try.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Io { source, .. } => !is_passing(source),
            _ => true,
        }
    }

    /// The right variant for what the system said about `place`.
    pub(crate) fn from_io(doing: &'static str, place: impl Into<String>, source: io::Error) -> Self {
        let place = place.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { place, source },
            io::ErrorKind::PermissionDenied => Self::Denied { doing, place, source },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { doing, place, source },
            io::ErrorKind::NotADirectory => Self::NotADirectory { doing, place, source },
            _ => Self::Io { doing, place, source },
        }
    }
}

/// Errors that come from load or from the way to the storage, rather than from what was asked.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let out_of_files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .map(rustix::io::Errno::raw_os_error)
        .map(Some)
        .contains(&error.raw_os_error());
    out_of_files
        || matches!(
            error.kind(),
            Kind::Interrupted
                | Kind::WouldBlock
                | Kind::TimedOut
                | Kind::ConnectionRefused
                | Kind::ConnectionReset
                | Kind::ConnectionAborted
                | Kind::NotConnected
                | Kind::BrokenPipe
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::NetworkDown
                | Kind::StaleNetworkFileHandle
                | Kind::ResourceBusy
                | Kind::OutOfMemory
        )
}
