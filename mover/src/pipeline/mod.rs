//! The pipeline's table of contents: from a folder to packs, stage by stage.
//!
//! ```text
//! walk --items--> visit --small files--------------------+
//!   |               |                                    v
//!   |               +--large files--> read, split --chunks--> seal --contents--> pack --packs--> write
//!   |                                                    |
//!   +------------------steps------------------> tree <---+   (directories are sealed by the tree itself)
//! ```
//!
//! | queue          | limit                                  | what a place in it holds                    |
//! |----------------|----------------------------------------|---------------------------------------------|
//! | items          | 1024                                   | a name and its earlier entries              |
//! | large files    | 64                                     | an open file                                |
//! | batches        | [`Limits::batches`]                    | one large chunk, or small ones up to 256 KiB |
//! | contents       | [`Limits::contents`]                   | one sealed content                          |
//! | packs          | none: a writer takes it or nobody does | a full pack                                 |
//! | steps          | the window of the walk                 | an entry without its bytes                  |
//!
//! The walk numbers everything it meets; the tree takes the numbers in their order and gives back the places in the
//! window. So the result does not depend on the order in which threads finish.
//!
//! A stage that meets an error says so in [`Control`] and goes on emptying its queue, so that nobody waits for it.

mod buffers;
mod event;
mod file_object;
mod inline;
mod names;
mod object_writer;
mod pack;
mod previous;
mod read;
mod seal;
mod source;
mod split;
mod threads;
mod tree;
mod visit;
mod walk;

use std::sync::Arc;

use windlass_repo_format::snapshot::DirEntry;
use windlass_repo_format::splitter::SplitterAlgorithm;

pub use event::Failure;
pub(crate) use event::{Control, LargeFile};
pub(crate) use file_object::FileObject;
pub(crate) use object_writer::MetadataFormat;
pub use source::FileKind;
pub(crate) use source::{Attributes, Root, open_root};
pub(crate) use tree::{Tree, volume_directory};
pub(crate) use visit::Visit;
pub(crate) use walk::{Walk, metadata_compression};

use crate::error::Result;
use crate::io::{BufferPool, Engine};
use crate::repository::WriteSession;

/// The limits of all queues and pools; the memory of a run is their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Threads that look at items and read small files.
    pub visitors: usize,
    /// Threads that seal.
    pub sealers: usize,
    /// Threads that write packs.
    pub writers: usize,
    /// Reads of the large file ahead of its cutting, of [`Limits::EXTENT_LEN`] bytes each.
    pub reads_ahead: usize,
    /// Batches between cutting and sealing.
    pub batches: usize,
    /// Sealed contents between sealing and packing.
    pub contents: usize,
    /// Entries between the walk and the tree.
    pub window: usize,
}

impl Limits {
    /// Bytes of one read of a large file.
    pub(crate) const EXTENT_LEN: usize = 1 << 20;
    /// What the program itself, thread stacks, index look-ups and directories take.
    const BASE_BYTES: u64 = 48 << 20;

    /// The limits for a budget of `memory` bytes, a number of sealing threads, and contents of at most `content_max`
    /// bytes in packs of about `pack_len` bytes. The least that works is taken even where the budget is smaller.
    pub(crate) fn new(memory: u64, sealers: usize, content_max: usize, pack_len: u64) -> Self {
        let content = content_max as u64;
        let pack = pack_len + content;
        // One data and one metadata pack are open, and each writer holds one more.
        let writers = if memory >= Self::BASE_BYTES + 4 * pack + 12 * content {
            2
        } else {
            1
        };
        let packs = (1 + writers as u64) * pack + pack / 2;
        let left = memory.saturating_sub(Self::BASE_BYTES + packs);
        // A sealer holds a batch it hashes and a content it seals; one more of each may wait.
        let per_sealer = 2 * content;
        let affordable = (left / 2 / per_sealer.max(1)).max(1) as usize;
        let sealers = sealers.clamp(1, affordable.max(1));
        let left = left.saturating_sub(sealers as u64 * per_sealer);
        let queued = (left / 2 / content.max(1)) as usize;
        Self {
            visitors: 16,
            sealers,
            writers,
            reads_ahead: 8,
            batches: queued.clamp(1, 2 * sealers),
            contents: (queued / 2).clamp(1, sealers),
            window: 8192,
        }
    }

    /// Bytes that all queues and pools hold when they are full.
    pub(crate) fn bytes_max(&self, content_max: usize, pack_len: u64) -> u64 {
        let content = content_max as u64;
        let contents = 2 * self.sealers + self.batches + self.contents + 1;
        Self::BASE_BYTES
            + contents as u64 * content
            + (self.reads_ahead * Self::EXTENT_LEN) as u64
            + (1 + self.writers as u64) * (pack_len + content)
            + self.visitors as u64 * 2 * visit::SMALL_FILE_BYTES_MAX
    }
}

/// What a run needs besides its source.
pub(crate) struct Run<'a> {
    pub session: &'a WriteSession,
    pub visit: Visit,
    pub control: Control,
    pub progress: Arc<crate::snapshot::Progress>,
    /// Called now and then by the tree with its present state: writes checkpoints.
    pub checkpoint: &'a mut dyn Checkpoint,
}

/// Writes a snapshot of a tree that is not finished.
pub(crate) trait Checkpoint: Send {
    /// Whether it is time.
    fn is_due(&self) -> bool;

    /// Publishes what is there so far under this root.
    fn write(&mut self, root: DirEntry, tree: &Tree) -> Result<()>;
}

/// What a run reads.
pub(crate) enum Source {
    Tree(Box<Walk>),
    File(Box<(LargeFile, SplitterAlgorithm)>),
}

/// Which driver moves the stages.
pub(crate) enum Driver {
    /// Each stage on threads of its own.
    Threads {
        limits: Limits,
        engine: Arc<dyn Engine>,
        pool: BufferPool,
    },
    /// All stages in turn on the calling thread; the same run always does the same.
    SingleThread,
}

impl Driver {
    /// Runs a source through all stages. The tree holds the root unless the run was stopped before its beginning.
    pub(crate) fn run(self, source: Source, run: Run<'_>) -> Result<Tree> {
        match self {
            Self::Threads { limits, engine, pool } => threads::run(source, run, limits, engine, pool),
            Self::SingleThread => inline::run(source, run),
        }
    }
}
