//! The conveyor: what the stages hand to one another.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use windlass_repo_format::compression::Compression;
use windlass_repo_format::hashing::Pieces;
use windlass_repo_format::id::{ContentHash, ObjectId};
use windlass_repo_format::snapshot::DirEntry;

use super::file_object::FileObject;
use super::plain::Plain;
use super::source::{Attributes, FileKind, OpenDirectory};
use crate::error::MoverError;
use crate::repository::WriteSession;

/// The place of an entry in the order of the walk. Every number yields exactly one [`Step`].
pub(crate) type Sequence = u64;

/// What became of one place in the walk.
#[derive(Debug)]
pub(crate) struct Step {
    pub sequence: Sequence,
    pub event: Event,
}

/// What the tree is told about an entry.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A directory begins; its children follow, then its [`Event::Leave`].
    Enter {
        name: Vec<u8>,
        relative: Vec<u8>,
        attributes: Attributes,
        /// It has attributes that the format cannot hold.
        extended_attributes: bool,
        compression: Option<Compression>,
    },
    /// The innermost directory ends.
    Leave,
    /// A file or a link is stored.
    Stored {
        entry: DirEntry,
        origin: Origin,
        notes: Notes,
    },
    /// A rule keeps the entry out.
    Excluded { kind: FileKind, size: u64 },
    /// The format has no place for the entry's kind, and the policy does not mind.
    Skipped { kind: FileKind, relative: Vec<u8> },
    /// The entry could not be read.
    Failed(Failure),
    /// The entry was gone before it could be looked at, or the run was stopped before it was read.
    Absent,
}

/// An entry that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its path from the snapshot's root.
    pub relative: Vec<u8>,
    /// What the system said.
    pub error: String,
    /// Of which kind that was.
    pub kind: io::ErrorKind,
    /// The policy says to go on as if nothing had happened.
    pub ignored: bool,
    /// It is a directory, with all that it holds.
    pub is_directory: bool,
}

/// Where the bytes of a stored entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Read in this run.
    Read,
    /// An earlier snapshot: the entry is unchanged.
    Cached,
}

/// What the format could not keep of a stored entry, and what else its owner should know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub more_links: bool,
    pub time_clamped: bool,
    pub extended_attributes: bool,
    pub changed_while_read: bool,
}

/// A file, link or special file on its way to be looked at.
#[derive(Debug)]
pub(crate) struct Item {
    pub sequence: Sequence,
    pub directory: Arc<OpenDirectory>,
    pub name: Vec<u8>,
    /// The directory says that it is a regular file.
    pub is_file: bool,
    /// The entries of this name in earlier snapshots, the best one first.
    pub previous: Vec<DirEntry>,
    /// Larger entries are left out.
    pub max_file_size: Option<u64>,
    /// Files that are mounted from elsewhere are left out.
    pub one_file_system: bool,
}

/// A large file that is to be read by the engine.
#[derive(Debug)]
pub(crate) struct LargeFile {
    pub file: File,
    pub attributes: Attributes,
    pub object: Arc<FileObject>,
    /// Parts of this many bytes are objects of their own, joined afterwards.
    pub part_len: Option<u64>,
    /// The policy says that errors of this file do not count.
    pub ignore_errors: bool,
    /// The size is not to be believed and the end is where reading says (a block device).
    pub is_device: bool,
    /// The file in an earlier snapshot.
    pub earlier: Option<ObjectId>,
}

/// One content's worth of a file, cut and waiting for its hash.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub plain: Plain,
    pub object: Arc<FileObject>,
    /// Where it begins in its file.
    pub start: u64,
    /// It was cut by a guess. With another hash it is no chunk of the file.
    pub expected: Option<ContentHash>,
}

impl Pieces for Chunk {
    fn piece(&self, index: usize) -> Option<&[u8]> {
        self.plain.piece(index)
    }
}

/// Chunks that travel together: one large one, or many small ones.
pub(crate) type Batch = Vec<Chunk>;

/// Entries that travel together: to be looked at, or known.
pub(crate) type Items = Vec<Item>;
pub(crate) type Steps = Vec<Step>;

/// How a run is stopped: by its owner, or by the first error of any stage.
#[derive(Debug)]
pub(crate) struct Control {
    stop: Arc<AtomicBool>,
    failed: AtomicBool,
    error: Mutex<Option<MoverError>>,
}

impl Control {
    /// `stop` is set by the owner of the run, or here after an error.
    pub(crate) fn new(stop: Arc<AtomicBool>) -> Self {
        Self {
            stop,
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    /// Whether nothing new should be begun.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.has_failed()
    }

    /// Ends the run with an error. The first error is the one that is told; that of a stage which only heard that the
    /// session has failed may come earlier, and makes way.
    pub(crate) fn fail(&self, session: &WriteSession, error: MoverError) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*first, None | Some(MoverError::SessionFailed)) {
            *first = Some(error);
        }
        drop(first);
        self.failed.store(true, Ordering::Relaxed);
        // Whoever waits for contents that will now never come is woken.
        session.fail();
    }

    /// Whether an error has ended the run: then nothing that is still under way is of use.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn take_error(&self) -> Option<MoverError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
