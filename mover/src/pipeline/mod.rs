//! The pipeline's table of contents: from a folder to packs, stage by stage.
//!
//! ```text
//! walk --items--> visit --small files--------------------+
//!   |               |                                    v
//!   |               +--large files--> read, split --chunks--> seal --packs--> write
//!   |                                                    |
//!   +------------------steps------------------> tree <---+   (directories are sealed by the tree itself)
//! ```
//!
//! | queue          | limit                                  | what a place in it holds                    |
//! |----------------|----------------------------------------|---------------------------------------------|
//! | items          | 1024                                   | a name and its earlier entries              |
//! | large files    | 64                                     | an open file                                |
//! | batches        | [`Limits::batches`]                    | one large chunk, or small ones up to 256 KiB |
//! | packs          | none: a writer takes it or nobody does | a full pack                                 |
//! | steps          | the window of the walk                 | an entry without its bytes                  |
//!
//! The walk numbers everything it meets; the tree takes the numbers in their order and gives back the places in the
//! window. So the result does not depend on the order in which threads finish.
//!
//! A stage that meets an error says so in [`Control`] and goes on emptying its queue, so that nobody waits for it.

mod buffers;
mod event;
mod extended;
mod file_object;
mod gather;
mod inline;
mod names;
mod object_writer;
mod previous;
mod read;
mod seal;
mod source;
mod split;
mod threads;
mod tree;
mod visit;
mod walk;
mod write;

use std::sync::Arc;

use windlass_repo_format::snapshot::{DirEntry, SnapshotStats};
use windlass_repo_format::splitter::SplitterAlgorithm;

pub use event::Failure;
pub(crate) use event::{Control, LargeFile};
pub(crate) use extended::Extended;
pub(crate) use file_object::FileObject;
pub(crate) use gather::CHECKPOINT;
pub(crate) use object_writer::MetadataFormat;
pub use source::FileKind;
pub(crate) use source::{Attributes, Root, open_root};
pub(crate) use tree::{Tree, volume_directory};
pub(crate) use visit::Visit;
pub(crate) use walk::{Walk, WalkRoot, metadata_compression};

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
    /// Contents that a sealer hashes side by side, where the algorithm has lanes.
    pub lanes: usize,
    /// Threads that write packs.
    pub writers: usize,
    /// Data packs that are open at once: so many threads can encrypt at the same moment.
    pub open_packs: usize,
    /// Reads of the large file ahead of its cutting, of [`Limits::EXTENT_LEN`] bytes each.
    pub reads_ahead: usize,
    /// Batches between cutting and sealing.
    pub batches: usize,
    /// Entries between the walk and the tree.
    pub window: usize,
}

impl Limits {
    /// Bytes of one read of a large file.
    pub(crate) const EXTENT_LEN: usize = 1 << 20;
    /// What the program itself, thread stacks, contents that wait for an index, and directories take.
    const BASE_BYTES: u64 = 32 << 20;

    /// The limits for a budget of `memory` bytes, a number of sealing threads, a hash with so many lanes, and contents of
    /// at most `content_max` bytes in packs of about `pack_len` bytes. The least that works is taken even where the
    /// budget is smaller.
    pub(crate) fn new(memory: u64, sealers: usize, lanes: usize, content_max: usize, pack_len: u64) -> Self {
        let least = Self {
            visitors: 16,
            sealers: 1,
            lanes: 1,
            writers: 1,
            reads_ahead: 4,
            batches: 1,
            open_packs: 1,
            window: 8192,
        };
        let fits = |limits: &Self| limits.bytes_max(content_max, pack_len) <= memory;
        let mut limits = least;
        // What helps most comes first: all cores, then a second writer, then lanes of the hash, then longer queues.
        let wishes = [
            Self {
                sealers: sealers.max(1),
                ..least
            },
            Self { writers: 2, ..least },
            Self {
                lanes: lanes.div_ceil(2),
                ..least
            },
            Self { lanes, ..least },
            Self {
                reads_ahead: 8,
                ..least
            },
            Self {
                batches: sealers.max(1),
                ..least
            },
            Self {
                open_packs: sealers.max(1).div_ceil(4) + 1,
                ..least
            },
            Self {
                batches: 2 * sealers.max(1),
                ..least
            },
        ];
        for wish in wishes {
            let more = limits.at_least(&wish);
            if fits(&more) {
                limits = more;
            }
        }
        if limits.sealers == 1 {
            let affordable = (2..=sealers).rev().map(|sealers| Self { sealers, ..limits }).find(fits);
            limits = affordable.unwrap_or(limits);
        }
        limits
    }

    fn at_least(&self, other: &Self) -> Self {
        Self {
            visitors: self.visitors.max(other.visitors),
            sealers: self.sealers.max(other.sealers),
            lanes: self.lanes.max(other.lanes),
            writers: self.writers.max(other.writers),
            open_packs: self.open_packs.max(other.open_packs),
            reads_ahead: self.reads_ahead.max(other.reads_ahead),
            batches: self.batches.max(other.batches),
            window: self.window.max(other.window),
        }
    }

    /// Contents that are somewhere when all queues and threads are full.
    fn contents_max(&self) -> u64 {
        // A sealer holds the contents it hashes together and a compressed one; one more is being cut.
        (self.sealers * (self.lanes + 1) + self.batches + 1) as u64
    }

    /// Bytes that all queues, pools and threads hold when they are full.
    pub(crate) fn bytes_max(&self, content_max: usize, pack_len: u64) -> u64 {
        let content = content_max as u64;
        // A data pack is open or waits for a writer, each writer has one; besides, there is one metadata pack.
        let packs = (self.open_packs + self.writers) as u64 * (pack_len + content) + pack_len;
        Self::BASE_BYTES
            + self.contents_max() * content
            + ((self.reads_ahead + 1) * Self::EXTENT_LEN) as u64
            + packs
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
    fn write(&mut self, root: DirEntry, stats: SnapshotStats) -> Result<()>;
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
    /// How many data packs its session keeps open.
    pub(crate) fn open_packs(&self) -> usize {
        match self {
            Self::Threads { limits, .. } => limits.open_packs,
            Self::SingleThread => 1,
        }
    }

    /// Runs a source through all stages. The tree holds the root unless the run was stopped before its beginning.
    pub(crate) fn run(self, source: Source, run: Run<'_>) -> Result<Tree> {
        match self {
            Self::Threads { limits, engine, pool } => threads::run(source, run, limits, engine, pool),
            Self::SingleThread => inline::run(source, run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_budget_holds_all_queues_of_the_default_splitter() {
        let limits = Limits::new(256 << 20, 2, 4, 8 << 20, 20 << 20);
        assert_eq!((limits.sealers, limits.lanes, limits.writers), (2, 4, 2), "{limits:?}");
        assert!(limits.bytes_max(8 << 20, 20 << 20) <= 256 << 20, "{limits:?}");
    }

    #[test]
    fn a_budget_too_small_for_anything_still_gives_one_of_each() {
        let limits = Limits::new(0, 16, 4, 16 << 20, 20 << 20);
        assert_eq!(
            (limits.sealers, limits.lanes, limits.writers, limits.batches),
            (1, 1, 1, 1)
        );
    }

    #[test]
    fn the_sum_of_all_limits_is_within_the_budget_or_the_least_there_is() {
        for content_max in [128 << 10, 256 << 10, 2 << 20, 8 << 20, 16 << 20] {
            for pack_len in [10 << 20, 20 << 20, 120 << 20] {
                for sealers in [1, 2, 4, 16, 64] {
                    let bytes = |memory: u64| {
                        let limits = Limits::new(memory, sealers, 4, content_max, pack_len);
                        limits.bytes_max(content_max, pack_len)
                    };
                    for memory in (0..2048).step_by(16).map(|mebibytes| mebibytes << 20) {
                        assert!(
                            bytes(memory) <= memory.max(bytes(0)),
                            "{memory} {sealers} {content_max} {pack_len}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn more_memory_never_gives_less() {
        let mut before = Limits::new(0, 8, 4, 8 << 20, 20 << 20);
        for mebibytes in (0..2048).step_by(16) {
            let limits = Limits::new(mebibytes << 20, 8, 4, 8 << 20, 20 << 20);
            assert!(limits.sealers >= before.sealers, "{before:?} then {limits:?}");
            before = limits;
        }
    }
}
