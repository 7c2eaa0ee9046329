//! The scouts: the next directories of the walk are opened and listed by other threads while it is busy in front of them.
//!
//! A cold directory is some waits for the disk, one after the other; the walk would wait for each of them. Its order does not
//! change: what comes back is taken when its turn comes. Holds the names of at most [`Scouts::AHEAD_MAX`] directories,
//! 128 KiB each, and 500 earlier entries of each; larger ones are left to the walk, which finds them warm.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::runtime::Handle;
use windlass_repo_format::id::ObjectId;

use super::level::{Entered, Entering};
use crate::fetch::{Slot, Slots};

/// Names of this many bytes are left to the walk.
const NAMES_BYTES_MAX: usize = 128 << 10;
/// So many entries of an earlier directory are read ahead.
const EARLIER_ENTRIES_MAX: usize = 500;
/// Where fewer files may be open, the walk keeps them all for itself.
const OPEN_FILES_MIN: u64 = 256;

/// Threads that open directories ahead of a walk.
#[derive(Debug)]
pub(super) struct Scouts {
    /// Empty only while the scouts are dismissed.
    errands: Option<Sender<Errand>>,
    turns: Slots,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Errand {
    entering: Entering,
    answer: Sender<io::Result<Entered>>,
}

/// A directory that somebody has been asked to open.
#[derive(Debug)]
pub(super) struct Asked {
    pub name: Vec<u8>,
    pub previous: Vec<ObjectId>,
    answer: Receiver<io::Result<Entered>>,
    /// Kept until the answer is taken.
    _turn: Slot,
}

impl Asked {
    /// What came of it; `None` where the directory is too large for that, or nobody was left to open it.
    pub(super) fn answer(self) -> Option<io::Result<Entered>> {
        self.answer.recv().ok()
    }
}

impl Scouts {
    /// Directories that are open ahead of the walk, at all levels together.
    const AHEAD_MAX: u64 = 32;
    /// Of one directory, so many that are in it.
    pub(super) const AHEAD_IN_ONE_MAX: usize = 8;
    const THREADS: usize = 8;

    /// Starts the threads; `None` where too few files may be open, or no thread starts.
    pub(super) fn start(open_files_max: u64) -> Option<Self> {
        if open_files_max < OPEN_FILES_MIN {
            return None;
        }
        let (errands, queue) = bounded::<Errand>(Self::AHEAD_MAX as usize);
        let mut scouts = Self {
            errands: Some(errands),
            turns: Slots::new(Self::AHEAD_MAX),
            threads: Vec::new(),
        };
        let runtime = Handle::try_current().ok();
        for _ in 0..Self::THREADS {
            let (queue, runtime) = (queue.clone(), runtime.clone());
            let named = std::thread::Builder::new().name("windlass-scout".to_owned());
            let thread = named.spawn(move || {
                let _runtime = runtime.as_ref().map(Handle::enter);
                for errand in queue {
                    run(errand);
                }
            });
            scouts.threads.extend(thread.ok());
        }
        (!scouts.threads.is_empty()).then_some(scouts)
    }

    /// A turn, and a place for one more open directory; `None` when one of them is not to be had now.
    pub(super) fn place(&self, places: &Slots) -> Option<(Slot, Slot)> {
        let turn = self.turns.try_take(1)?;
        Some((turn, places.try_take(1)?))
    }

    /// Asks for a directory to be entered.
    pub(super) fn ask(&self, entering: Entering, turn: Slot) -> Asked {
        let (answer, answered) = bounded(1);
        let asked = Asked {
            name: entering.name.clone(),
            previous: entering.previous.clone(),
            answer: answered,
            _turn: turn,
        };
        if let Some(errands) = &self.errands {
            // There is room for as many as have a turn. Where nobody takes it, nobody answers.
            let _ = errands.try_send(Errand { entering, answer });
        }
        asked
    }
}

fn run(errand: Errand) {
    let entered = errand.entering.enter_small(NAMES_BYTES_MAX, EARLIER_ENTRIES_MAX);
    // No answer is one as well: it is too large.
    if !matches!(entered, Ok(Entered::TooLarge)) {
        // The walk may have ended meanwhile.
        let _ = errand.answer.send(entered);
    }
}

impl Drop for Scouts {
    fn drop(&mut self) {
        self.errands = None;
        for thread in self.threads.drain(..) {
            // One that panicked has answered nobody, and the walk has gone there itself.
            let _ = thread.join();
        }
    }
}
