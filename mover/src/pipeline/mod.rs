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
//! | items          | 64 lists                               | up to 64 names with their earlier entries   |
//! | large files    | 64                                     | an open file                                |
//! | batches        | one per visitor                        | small chunks, up to 256 KiB                 |
//! | large chunks   | [`Limits::batches`]                    | one large chunk                             |
//! | packs          | none: a writer takes it or nobody does | a full pack                                 |
//! | steps          | the window of the walk                 | an entry without its bytes                  |
//!
//! The walk numbers everything it meets; the tree takes the numbers in their order and gives back the places in the
//! window. So the result does not depend on the order in which threads finish.
//!
//! A stage that meets an error says so in [`Control`] and goes on emptying its queue, so that nobody waits for it.

mod crowd;
mod earlier;
mod event;
mod extended;
mod file_object;
mod gather;
mod inline;
mod level;
mod names;
mod object_writer;
mod parcels;
mod plain;
mod previous;
mod profile;
mod read;
mod rota;
mod scouts;
mod seal;
mod small;
mod source;
mod split;
mod threads;
mod tree;
mod visit;
mod walk;
mod window;
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
pub use profile::StageProfile;
pub use source::FileKind;
pub(crate) use source::{Attributes, Root, open_root};
pub(crate) use tree::{Tree, volume_directory};
pub(crate) use visit::Visit;
pub(crate) use walk::{Walk, WalkRoot, metadata_compression};

use crate::error::Result;
use crate::io::{BufferPool, Engine};
use crate::repository::WriteSession;

/// What a run is to be cut for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measures {
    /// Bytes the run may take.
    pub memory: u64,
    /// Threads that are to seal.
    pub sealers: usize,
    /// Messages that the repository's hash takes side by side.
    pub lanes: usize,
    /// No content has more bytes.
    pub content_max: usize,
    /// Bytes of a full pack.
    pub pack_len: u64,
    /// Some contents may be compressed.
    pub compresses: bool,
}

/// The limits of all queues and pools; the memory of a run is their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Threads that look at items and read small files.
    pub visitors: usize,
    /// Threads that seal.
    pub sealers: usize,
    /// Contents that a sealer wants to hash side by side.
    pub lanes: usize,
    /// Bytes of contents that a sealer takes at once, at most, while all are at work; one content at least. Who works alone
    /// takes the share of the others, too.
    pub gathered: u64,
    /// Threads that write packs.
    pub writers: usize,
    /// Data packs that are open at once: so many threads can encrypt at the same moment.
    pub open_packs: usize,
    /// Batches between cutting and sealing.
    pub batches: usize,
    /// Buffers for the bytes of large files, of [`Limits::EXTENT_LEN`] bytes each: those being read, those of the chunk
    /// that is being cut, and those of chunks on their way to a pack.
    pub extents: usize,
    /// Entries between the walk and the tree.
    pub window: usize,
}

impl Limits {
    /// Bytes of one read of a large file.
    pub(crate) const EXTENT_LEN: usize = 1 << 20;
    /// Reads of a large file ahead of its cutting.
    pub(crate) const READS_AHEAD: usize = 8;
    /// What the program itself, thread stacks, contents that wait for an index, and directories take.
    const BASE_BYTES: u64 = 32 << 20;

    /// The limits for a run. The least that works is taken even where the budget is smaller.
    pub(crate) fn new(measures: &Measures) -> Self {
        let sealers = measures.sealers.max(1);
        let one = measures.content_max as u64;
        let least = Self {
            visitors: 16,
            sealers: 1,
            lanes: measures.lanes,
            gathered: one,
            writers: 1,
            open_packs: 1,
            batches: 1,
            extents: 0,
            window: 8192,
        };
        // Splitters aim at half of the greatest length; one more, because the last to come may be a long one.
        let lanes = |lanes: usize| (lanes as u64 + 1) * one / 2;
        let fits = |limits: &Self| limits.bytes_max(measures) <= measures.memory;
        // What helps most comes first: all cores, then a second writer, then lanes of the hash, then longer queues.
        let affordable = (1..=sealers).rev().map(|sealers| Self { sealers, ..least });
        let mut limits = affordable.into_iter().find(fits).unwrap_or(least);
        let wishes = [
            Self { writers: 2, ..least },
            Self {
                gathered: lanes(measures.lanes / 2).max(one),
                ..least
            },
            Self {
                gathered: lanes(measures.lanes).max(one),
                ..least
            },
            Self {
                open_packs: sealers.div_ceil(4) + 1,
                ..least
            },
            Self {
                batches: sealers,
                ..least
            },
        ];
        for wish in wishes {
            let more = limits.at_least(&wish);
            if fits(&more) {
                limits = more;
            }
        }
        Self {
            extents: limits.extents_for(measures.content_max),
            ..limits
        }
    }

    fn at_least(&self, other: &Self) -> Self {
        Self {
            gathered: self.gathered.max(other.gathered),
            writers: self.writers.max(other.writers),
            open_packs: self.open_packs.max(other.open_packs),
            batches: self.batches.max(other.batches),
            ..*self
        }
    }

    /// Bytes that the sealers hold together, before the last content of each: who has none takes one, and several may do
    /// so at the same moment.
    fn gathered_together(&self, content_max: usize) -> usize {
        let each = usize::try_from(self.gathered).unwrap_or(usize::MAX);
        let all = self.sealers.saturating_mul(each);
        all.saturating_sub((self.sealers - 1) * content_max)
    }

    /// How many extents are in use when all queues and threads are full.
    fn extents_for(&self, content_max: usize) -> usize {
        // Waiting, and being cut. What is cut anew, now and then, takes what the sealers give back.
        let in_queues = (self.batches + 1) * content_max;
        let bytes = self.sealers * self.gathered as usize + in_queues;
        // At both ends of every run of chunks there is an extent that they do not fill.
        let ends = 2 * (self.sealers + self.batches + 1);
        bytes.div_ceil(Self::EXTENT_LEN) + ends + Self::READS_AHEAD
    }

    /// Bytes that all queues, pools and threads hold when they are full.
    pub(crate) fn bytes_max(&self, measures: &Measures) -> u64 {
        let content = measures.content_max as u64;
        // A data pack is open or waits for a writer, each writer has one; besides, there is one metadata pack.
        let packs = (self.open_packs + self.writers) as u64 * (measures.pack_len + content) + measures.pack_len;
        // Encoders want a content in one piece, and put the result elsewhere.
        let compressed = if measures.compresses {
            self.sealers as u64 * 2 * content
        } else {
            0
        };
        Self::BASE_BYTES
            + (self.extents_for(measures.content_max) * Self::EXTENT_LEN) as u64
            + packs
            + compressed
            // What a visitor reads together, what it has read, and what of that waits for a sealer.
            + self.visitors as u64 * 3 * visit::SMALL_FILE_BYTES_MAX
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

    /// What large files are read with.
    pub(crate) fn engine(&self) -> Option<Arc<dyn Engine>> {
        match self {
            Self::Threads { engine, .. } => Some(engine.clone()),
            Self::SingleThread => None,
        }
    }

    /// Runs a source through all stages. The tree holds the root unless the run was stopped before its beginning. Stages
    /// that share one thread have no profile.
    pub(crate) fn run(self, source: Source, run: Run<'_>) -> Result<(Tree, Vec<StageProfile>)> {
        match self {
            Self::Threads { limits, engine, pool } => threads::run(source, run, limits, engine, pool),
            Self::SingleThread => Ok((inline::run(source, run)?, Vec::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURES: Measures = Measures {
        memory: 256 << 20,
        sealers: 2,
        lanes: 8,
        content_max: 8 << 20,
        pack_len: 20 << 20,
        compresses: false,
    };

    #[test]
    fn the_default_budget_fills_the_lanes_of_the_default_splitter() {
        for compresses in [false, true] {
            let measures = Measures { compresses, ..MEASURES };
            let limits = Limits::new(&measures);
            assert_eq!((limits.sealers, limits.writers), (2, 2), "{limits:?}");
            let chunks = limits.gathered / (4 << 20);
            assert!(chunks >= if compresses { 5 } else { 9 }, "{limits:?}");
            assert!(limits.bytes_max(&measures) <= measures.memory, "{limits:?}");
            // Chunks that are being hashed are longer than the average of all: long ones are hashed longer.
            let together = limits.gathered_together(measures.content_max) - measures.content_max;
            assert!(together >= if compresses { 4 } else { 9 } * (5 << 20), "{limits:?}");
        }
    }

    #[test]
    fn a_budget_too_small_for_anything_still_gives_one_of_each() {
        let limits = Limits::new(&Measures {
            memory: 0,
            sealers: 16,
            content_max: 16 << 20,
            ..MEASURES
        });
        assert_eq!((limits.sealers, limits.writers, limits.batches), (1, 1, 1));
        assert_eq!(limits.gathered, 16 << 20);
        assert!(limits.extents > 3 * 16, "{limits:?}");
    }

    #[test]
    fn the_sum_of_all_limits_is_within_the_budget_or_the_least_there_is() {
        for content_max in [128 << 10, 256 << 10, 2 << 20, 8 << 20, 16 << 20] {
            for pack_len in [10 << 20, 20 << 20, 120 << 20] {
                for sealers in [1, 2, 4, 16, 64] {
                    let bytes = |memory: u64| {
                        let measures = Measures {
                            memory,
                            sealers,
                            content_max,
                            pack_len,
                            ..MEASURES
                        };
                        Limits::new(&measures).bytes_max(&measures)
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
        let of = |mebibytes: u64| {
            Limits::new(&Measures {
                memory: mebibytes << 20,
                sealers: 8,
                ..MEASURES
            })
        };
        let mut before = of(0);
        for mebibytes in (0..2048).step_by(16) {
            let limits = of(mebibytes);
            assert!(limits.sealers >= before.sealers, "{before:?} then {limits:?}");
            before = limits;
        }
    }
}
