//! The holding stage: steps come in in any order, and go to the tree in the order of the walk. Now and then all that
//! is known becomes a checkpoint.
//!
//! Holds the steps that came early, at most the window of the walk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Receiver;
use windlass_repo_format::snapshot::checkpointed_name;

use super::Checkpoint;
use super::event::{Event, Sequence, Step, Steps};
use super::file_object::FileObject;
use super::tree::{Ahead, Tree};
use super::window::Window;
use crate::blocking::block_on;
use crate::error::Result;
use crate::repository::{ContentSink, WriteSession};

/// So many places in the window are given back at once.
const GIVEN_BACK_TOGETHER: u64 = 256;

/// Why a checkpoint is not whole.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The large files that are being read. Small ones are whole before a checkpoint would have been of use to them.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    files: Mutex<BTreeMap<Sequence, Arc<FileObject>>>,
}

impl InFlight {
    fn files(&self) -> std::sync::MutexGuard<'_, BTreeMap<Sequence, Arc<FileObject>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reading of a file begins.
    pub(crate) fn begin(&self, object: Arc<FileObject>) {
        self.files().insert(object.sequence, object);
    }

    /// What became of an entry is known.
    fn end(&self, sequence: Sequence) {
        self.files().remove(&sequence);
    }
}

/// What lies between the stages and the tree.
pub(crate) struct Gathering<'a> {
    pub tree: &'a mut Tree,
    pub session: &'a WriteSession,
    pub in_flight: Arc<InFlight>,
    pub checkpoint: &'a mut dyn Checkpoint,
    pub steps: &'a Receiver<Steps>,
    /// Where the places are that steps take, given back when their turn comes.
    pub window: &'a Window,
    pub waiting: BTreeMap<Sequence, Event>,
    pub next: Sequence,
}

impl Gathering<'_> {
    /// Takes in a step.
    pub(crate) fn put(&mut self, step: Step) {
        self.in_flight.end(step.sequence);
        self.waiting.insert(step.sequence, step.event);
    }

    /// Gives the tree the steps whose turn has come.
    pub(crate) fn advance(&mut self, sink: &mut dyn ContentSink) -> Result<()> {
        let first = self.next;
        let mut given = 0;
        while let Some(event) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.tree.take(event, sink)?;
            // Some at a time, but not so many that the walk has nothing to do meanwhile.
            if self.next - first - given >= GIVEN_BACK_TOGETHER {
                self.window.give(GIVEN_BACK_TOGETHER as usize);
                given += GIVEN_BACK_TOGETHER;
            }
        }
        self.window.give((self.next - first - given) as usize);
        Ok(())
    }

    /// Looks after the session, and writes a checkpoint when it is time.
    pub(crate) fn tend(&mut self, sink: &mut dyn ContentSink) -> Result<()> {
        block_on(self.session.tend())?;
        if self.checkpoint.is_due() {
            self.write_checkpoint(sink)?;
        }
        Ok(())
    }

    /// Everything that an earlier checkpoint holds must be in this one too, because it takes that one's place. So the
    /// files in flight are noted before the steps that have arrived are taken in: a file is in one or the other. And
    /// whoever sent a step or began a file knew of all directories before it, so that their steps have arrived as well.
    fn write_checkpoint(&mut self, sink: &mut dyn ContentSink) -> Result<()> {
        let in_flight: Vec<Arc<FileObject>> = self.in_flight.files().values().cloned().collect();
        while let Ok(steps) = self.steps.try_recv() {
            steps.into_iter().for_each(|step| self.put(step));
        }
        self.advance(sink)?;
        let mut unfinished = BTreeMap::new();
        for object in in_flight {
            let is_ahead = object.sequence >= self.next && !self.waiting.contains_key(&object.sequence);
            if is_ahead && let Some(mut entry) = object.so_far(sink)? {
                let random = self.session.repository().random_bytes();
                entry.name = checkpointed_name(&entry.name, random).into_bytes();
                unfinished.insert(object.sequence, entry);
            }
        }
        let known = self.waiting.iter().map(|(sequence, event)| (*sequence, Some(event)));
        let mut order: Vec<(Sequence, Option<&Event>)> = known.collect();
        order.extend(unfinished.keys().map(|sequence| (*sequence, None)));
        order.sort_unstable_by_key(|(sequence, _)| *sequence);
        let ahead = order.into_iter().filter_map(|(sequence, event)| match event {
            Some(event) => Some(Ahead::Known(event.clone())),
            None => unfinished.remove(&sequence).map(Ahead::Unfinished),
        });
        match self.tree.checkpoint(CHECKPOINT, ahead, sink)? {
            Some((root, stats)) => self.checkpoint.write(root, stats),
            None => Ok(()),
        }
    }
}
