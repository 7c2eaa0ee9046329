//! The complaints desk: what can go wrong while data moves, told so that a person can act on it.

use std::io;
use std::path::PathBuf;

use windlass_repo_format::FormatError;
use windlass_repo_format::id::{BlobId, ContentId, ObjectId};

use crate::storage::StorageError;

/// What went wrong while a repository was read or written, or a folder walked or restored.
///
/// The lower cause is in `source`, never in the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoverError {
    /// The place that holds the blobs failed.
    #[error("{doing} in the repository at {location}")]
    Storage {
        /// What was being done, as a sentence without an end: "cannot read blob p01".
        doing: String,
        /// Where the repository is.
        location: String,
        /// What the storage said.
        source: StorageError,
    },
    /// There is no repository at this place.
    #[error("there is no repository at {location}: blob kopia.repository is missing (make one with `repo init`)")]
    NotARepository {
        /// Where a repository was looked for.
        location: String,
    },
    /// There is a repository, or what may be the rest of one, where a new one should be made.
    #[error("cannot make a repository at {location}: {found} is already there")]
    AlreadyARepository {
        /// Where it was to be made.
        location: String,
        /// What was found.
        found: String,
    },
    /// A blob's bytes are not what the format says.
    #[error("cannot understand blob {blob}")]
    Blob {
        /// The blob.
        blob: BlobId,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The repository's settings cannot be used by this build.
    #[error("cannot use the settings of the repository")]
    Settings(#[source] FormatError),
    /// The repository's password cannot become another.
    #[error("cannot change the password of the repository")]
    PasswordChange(#[source] FormatError),
    /// What the indexes say, as they were read, cannot be understood.
    #[error("cannot {doing} the indexes of the repository")]
    Index {
        /// What was being done: "look up content k01 in".
        doing: String,
        /// What is wrong with them.
        source: FormatError,
    },
    /// Something does not fit into the format of the repository.
    #[error("cannot write {what}")]
    NotWritable {
        /// What was to be written.
        what: String,
        /// Why it does not fit.
        source: FormatError,
    },
    /// The format blob says that somebody is upgrading the repository.
    #[error("the repository cannot be used while it is upgraded; wait for the upgrade to end, or end it with Kopia")]
    UpgradeLocked(#[source] FormatError),
    /// The two blobs of the settings are sealed with different keys: a change of the password ended between them, or one
    /// of them is damaged.
    #[error(
        "a password change of the repository at {location} was interrupted between its two blobs: this password opens \
         {opened} and not {other}"
    )]
    PasswordChangeInterrupted {
        /// Where the repository is.
        location: String,
        /// The blob that the password opens.
        opened: BlobId,
        /// The blob that it does not open.
        other: BlobId,
    },
    /// After an interrupted change of the password, the blob configuration opens with no password that was given, and
    /// may say for how long blobs are held back.
    #[error(
        "neither the old password nor the new one opens blob kopia.blobcfg of the repository at {location}, which may \
         hold the settings of an object lock: give the new password of the change that was interrupted"
    )]
    RetentionUnknown {
        /// Where the repository is.
        location: String,
    },
    /// This build reads such a repository, and does not write it.
    #[error("a repository of format version {version} can be read and restored but not written; upgrade it with Kopia")]
    ReadOnlyFormat {
        /// The version found.
        version: u8,
    },
    /// The repository's indexes know no epochs although its version would have them: this build does not write such
    /// indexes.
    #[error(
        "the indexes of this repository (format version {version}) have no epochs: it can be read and restored, but only \
         Kopia can write to it"
    )]
    NoEpochs {
        /// The version found.
        version: u8,
    },
    /// No index knows a content that something refers to.
    #[error("content {id} is in no index")]
    ContentMissing {
        /// The content.
        id: ContentId,
    },
    /// A content cannot be taken out of its pack.
    #[error("cannot open content {id} at {offset}+{len} of pack {pack}")]
    Content {
        /// The content.
        id: ContentId,
        /// The pack that should hold it.
        pack: BlobId,
        /// Where in the pack it begins, in bytes.
        offset: u32,
        /// How many bytes of the pack it takes.
        len: u32,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A content was opened and is not what its name says.
    #[error("content {id} of pack {pack} holds other bytes than its name promises (their hash is {found})")]
    WrongContent {
        /// The content.
        id: ContentId,
        /// The pack that holds it.
        pack: BlobId,
        /// The hash of the bytes that are there.
        found: String,
    },
    /// An object's bytes are not what its name or its owner promised.
    #[error("cannot read object {id}")]
    Object {
        /// The object.
        id: ObjectId,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A pack holds contents that no index names, though nobody can have deleted them.
    #[error("pack {pack} has lost its index: {contents} of the contents in it are in no index")]
    PackNotIndexed {
        /// The pack.
        pack: BlobId,
        /// How many contents that are.
        contents: u64,
    },
    /// A part of an object is longer or shorter than the list of its parts says.
    #[error("object {id}: the part at byte {start} has {found} bytes where {wanted} were promised")]
    PartLength {
        /// The object.
        id: ObjectId,
        /// Where the part begins in the object.
        start: u64,
        /// What the list says.
        wanted: u64,
        /// What is there.
        found: u64,
    },
    /// A manifest batch or a manifest's data cannot be read.
    #[error("cannot read manifest {id}")]
    Manifest {
        /// The manifest, or the content that holds a batch of them.
        id: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A large index could not be kept in a file without a name.
    #[error("cannot keep an index in a temporary file in {folder}")]
    Spill {
        /// Where it was tried: `TMPDIR`, or the system's own folder for such files.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something on the machine's own disks failed: a source or a target.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done: "open", "read", "write".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No snapshot has the name that was asked for.
    #[error("there is no snapshot {wanted}")]
    NoSuchSnapshot {
        /// What was asked for.
        wanted: String,
    },
    /// The name that was asked for fits several snapshots.
    #[error("{wanted} is the beginning of {count} snapshot IDs; give more of it")]
    AmbiguousSnapshot {
        /// What was asked for.
        wanted: String,
        /// How many begin so.
        count: usize,
    },
    /// A path inside a snapshot does not exist.
    #[error("there is no {path} in the snapshot")]
    NoSuchEntry {
        /// The path, from the snapshot's root.
        path: String,
    },
    /// An option asks for what cannot be.
    #[error("{option} cannot be {value:?}: {reason}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// No engine for bulk I/O can be had as it was asked for.
    #[error("cannot read files in bulk")]
    Engine(#[from] crate::io::EngineError),
    /// The storage took a blob and says that it has another length.
    #[error("blob {blob} has {found} bytes in storage where {wanted} were written")]
    StoredLength {
        /// The blob.
        blob: BlobId,
        /// How many bytes were written.
        wanted: u64,
        /// How many the storage says it has.
        found: u64,
    },
    /// Whenever an index had been written, its epoch was no longer open to writers.
    #[error(
        "an index was written {attempts} times and came too late each time: something moves the repository's epochs \
         on without end, or storing a small blob takes longer than an epoch"
    )]
    EpochsRaceAhead {
        /// How often it was written.
        attempts: usize,
    },
    /// The work was stopped by its owner.
    #[error("stopped before the end")]
    Cancelled,
    /// A stage of the pipeline failed earlier; the first cause was reported there.
    #[error("an earlier write to this repository failed, so nothing more is written in this run")]
    SessionFailed,
    /// A snapshot has no root, so there is nothing in it.
    #[error("snapshot {snapshot} has no root")]
    NoRoot {
        /// The snapshot.
        snapshot: String,
    },
    /// An entry that should have bytes points at nothing.
    #[error("{name:?} has no object")]
    NoObject {
        /// The entry's name.
        name: String,
    },
    /// What is stored under a path is not what was asked for: a file, a directory.
    #[error("{name:?} is not a {wanted}")]
    WrongKind {
        /// The entry's name.
        name: String,
        /// What was needed.
        wanted: &'static str,
    },
    /// An entry cannot be made on a file system.
    #[error("the entry {name:?} cannot be restored: {reason}")]
    BadEntry {
        /// The entry's name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file is complete, and not as long as its entry says. A restore keeps it.
    #[error("the snapshot promises {promised} bytes of this file and holds {found}")]
    FileLength {
        /// What the entry says.
        promised: u64,
        /// What is stored.
        found: u64,
    },
    /// Something in the target cannot make way for what is to be restored.
    #[error("{reason} at {path}")]
    InTheWay {
        /// What is there.
        reason: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// A pack is not in the storage.
    #[error("pack {pack} is missing; content {id} is in it")]
    PackMissing {
        /// The pack.
        pack: BlobId,
        /// A content that should be in it.
        id: ContentId,
    },
    /// A pack is shorter than the indexes say.
    #[error("pack {pack} has {found} bytes; content {id} ends at {needed}")]
    PackShort {
        /// The pack.
        pack: BlobId,
        /// A content that reaches beyond its end.
        id: ContentId,
        /// How long the pack has to be for it.
        needed: u64,
        /// How long it is.
        found: u64,
    },
    /// A pack says that its own index lies where the pack has already ended.
    #[error("pack {pack} does not hold the index that it points at")]
    NoLocalIndex {
        /// The pack.
        pack: BlobId,
    },
    /// A run that writes stood still for days; maintenance may have removed packs of it that no index names yet.
    #[error(
        "this run stood still for {hours} hours, and maintenance may have removed what it had stored: nothing of it is \
         published; run it again"
    )]
    SessionAsleep {
        /// For how long nothing was heard of it.
        hours: i64,
    },
    /// Somebody else looks after the repository.
    #[error(
        "maintenance of this repository belongs to {}, and this is {identity}",
        if owner.is_empty() { "nobody" } else { owner }
    )]
    NotMaintenanceOwner {
        /// Who may run it, as `user@host`; empty for nobody.
        owner: String,
        /// Who we are.
        identity: String,
    },
    /// Ages cannot be told, so nothing may be deleted.
    #[error(
        "this machine's clock says {here} and the storage's {storage}: they are more than 5 minutes apart, and \
         maintenance tells by the clock what may be deleted"
    )]
    ClocksDiffer {
        /// This machine's time.
        here: jiff::Timestamp,
        /// The storage's time at the same moment.
        storage: jiff::Timestamp,
    },
    /// Another program maintains the repository.
    #[error("another full maintenance of this repository has begun meanwhile, so this one ends here")]
    MaintenanceOverlaps,
    /// What a snapshot needs is not known, so nothing may be marked as unneeded.
    #[error("snapshot {snapshot} cannot be followed at /{}, so nothing is removed", path.trim_start_matches('/'))]
    CannotCollect {
        /// The snapshot.
        snapshot: String,
        /// The path in it that could not be followed.
        path: String,
        /// Why not.
        source: Box<Self>,
    },
    /// A content that is wanted in several places cannot be read.
    #[error("content {id} of pack {pack} cannot be read; why is told where it was wanted first")]
    SameContent {
        /// The content.
        id: ContentId,
        /// The pack.
        pack: BlobId,
    },
}

impl MoverError {
    /// Whether trying the same again is bound to fail the same way.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Storage { source, .. } => source.is_permanent(),
            Self::File { source, .. } => !matches!(source.kind(), io::ErrorKind::Interrupted | io::ErrorKind::TimedOut),
            Self::CannotCollect { source, .. } => source.is_permanent(),
            Self::MaintenanceOverlaps => false,
            Self::SessionAsleep { .. }
            | Self::Cancelled
            | Self::SessionFailed
            | Self::UpgradeLocked(_)
            | Self::EpochsRaceAhead { .. } => false,
            _ => true,
        }
    }
}

/// What a fallible step of the mover gives.
pub type Result<T> = std::result::Result<T, MoverError>;
