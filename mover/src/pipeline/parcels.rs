//! The handing-over room: what goes from thread to thread goes many at a time, because waking somebody costs more than what
//! he is woken for.

use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use windlass_repo_format::pack::ClosedPack;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::event::{Batch, Chunk, Control, Items, LargeFile, Steps};
use super::profile::Meter;
use super::seal::Sealing;
use super::small::Visited;
use super::visit::SMALL_FILE_BYTES_MAX;
use super::walk::Walked;
use crate::error::{MoverError, Result};
use crate::repository::{FullPack, WriteSession};
use crate::snapshot::Progress;

/// Small chunks travel in batches of at most so many, or of [`SMALL_FILE_BYTES_MAX`] bytes.
const BATCH_CHUNKS_MAX: usize = 64;
/// Entries travel in lists of at most so many: what it costs to hand something on is paid for all of them together.
const ITEMS_TOGETHER_MAX: usize = 64;
/// So few travel where somebody waits for them.
const ITEMS_TOGETHER_MIN: usize = 8;

/// Gives full packs to a writer; the place of each is kept until one has taken it.
pub(super) fn deliver_to(packs: &Sender<ClosedPack>, meter: &Meter<'_>) -> impl FnMut(FullPack<'_>) -> Result<()> {
    |full| {
        let sent = meter.output(|| packs.send(full.pack));
        drop(full.place);
        sent.map_err(|_| MoverError::SessionFailed)
    }
}

/// Chunks on their way to be sealed.
pub(super) struct Parcel {
    pub chunks: Batch,
    /// It takes one of the places for large chunks.
    is_large: bool,
}

impl Parcel {
    /// What is in it, which is no longer in the queue.
    pub(super) fn unpack(self, room: &Receiver<()>) -> Batch {
        if self.is_large {
            let _ = room.try_recv();
        }
        self.chunks
    }
}

/// The way of large chunks into the queue.
pub(super) struct LargeChunks {
    pub batch_in: Sender<Parcel>,
    pub room_in: Sender<()>,
}

impl LargeChunks {
    pub(super) fn send(&self, chunk: Chunk, meter: &Meter<'_>) -> Result<()> {
        let parcel = Parcel {
            chunks: vec![chunk],
            is_large: true,
        };
        let sent = meter.output(|| self.room_in.send(()).is_ok() && self.batch_in.send(parcel).is_ok());
        if sent { Ok(()) } else { Err(MoverError::SessionFailed) }
    }
}

/// What the walk has found and not handed on yet.
pub(super) struct Found {
    item_in: Sender<Items>,
    step_in: Sender<Steps>,
    items: Items,
    steps: Steps,
}

impl Found {
    pub(super) fn new(item_in: Sender<Items>, step_in: Sender<Steps>) -> Self {
        Self {
            item_in,
            step_in,
            items: Items::new(),
            steps: Steps::new(),
        }
    }

    /// Takes in one more. False when nobody listens.
    pub(super) fn push(&mut self, walked: Walked, meter: &Meter<'_>) -> bool {
        match walked {
            Walked::Step(step) => self.steps.push(step),
            Walked::Item(item) => self.items.push(item),
        }
        let together = self.items.len() + self.steps.len();
        let is_due = together >= ITEMS_TOGETHER_MAX || together >= ITEMS_TOGETHER_MIN && self.item_in.is_empty();
        !is_due || self.send(meter)
    }

    /// Hands everything on. The steps go first: whoever has an item may count on those before it having been sent.
    pub(super) fn send(&mut self, meter: &Meter<'_>) -> bool {
        let (items, steps) = (std::mem::take(&mut self.items), std::mem::take(&mut self.steps));
        (steps.is_empty() || self.step_in.send(steps).is_ok())
            && (items.is_empty() || meter.output(|| self.item_in.send(items)).is_ok())
    }
}

/// What one visitor has looked at and not handed on yet.
pub(super) struct Looked<'a, 'b> {
    pub session: &'a WriteSession,
    pub control: &'b Control,
    pub progress: &'b Progress,
    pub meter: &'b Meter<'b>,
    pub batches: &'b Sender<Parcel>,
    pub batch: OpenBatch,
    pub sealing: Sealing<'a>,
    pub packs: &'b Sender<ClosedPack>,
    /// They go behind the small files: their reader may be busy for long.
    pub large: Vec<(LargeFile, SplitterAlgorithm)>,
    pub steps: Steps,
}

impl Looked<'_, '_> {
    pub(super) fn take(&mut self, visited: Visited) {
        match visited {
            Visited::Step(step) => self.steps.push(step),
            Visited::Opened(opened) => self.take(opened.read()),
            Visited::Large(file, splitter) => self.large.push((file, splitter)),
            Visited::Small(small) => {
                let read = small.bytes.len() as u64;
                self.progress.bytes_read.fetch_add(read, Ordering::Relaxed);
                let object = small.object.clone();
                let Ok(ending) = small.cut(&mut |chunk: Chunk| {
                    self.meter.pass(chunk.plain.len() as u64);
                    self.batch.push(chunk, self.batches, self.meter);
                    Ok::<(), std::convert::Infallible>(())
                });
                match self
                    .sealing
                    .end(&object, ending, &mut deliver_to(self.packs, self.meter))
                {
                    Ok(step) => self.steps.extend(step),
                    Err(error) => self.control.fail(self.session, error),
                }
            }
        }
    }

    pub(super) fn tell(&mut self, steps: &Sender<Steps>) {
        if !self.steps.is_empty() {
            drop(steps.send(std::mem::take(&mut self.steps)));
        }
    }
}

/// Small chunks that will travel together.
#[derive(Default)]
pub(super) struct OpenBatch {
    chunks: Batch,
    bytes: usize,
}

impl OpenBatch {
    fn push(&mut self, chunk: Chunk, batches: &Sender<Parcel>, meter: &Meter<'_>) {
        self.bytes += chunk.plain.len();
        self.chunks.push(chunk);
        if self.chunks.len() >= BATCH_CHUNKS_MAX || self.bytes as u64 >= SMALL_FILE_BYTES_MAX {
            self.send(batches, meter);
        }
    }

    pub(super) fn send(&mut self, batches: &Sender<Parcel>, meter: &Meter<'_>) {
        if !self.chunks.is_empty() {
            let parcel = Parcel {
                chunks: std::mem::take(&mut self.chunks),
                is_large: false,
            };
            // Nobody listens only after a failure, and then nothing has to arrive.
            drop(meter.output(|| batches.send(parcel)));
            self.bytes = 0;
        }
    }
}
