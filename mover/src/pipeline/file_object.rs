//! The collecting room: the contents of one file, sealed in any order by many threads, become its object.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::ContentId;
use windlass_repo_format::snapshot::DirEntry;

use super::event::{Event, Failure, Notes, Origin, Sequence, Step};
use super::object_writer::{MetadataFormat, PartList};
use crate::error::Result;
use crate::repository::ContentSink;

/// A file whose contents are being sealed. Holds contents that came before their turn, at most as many as are in
/// flight at once.
#[derive(Debug)]
pub(crate) struct FileObject {
    pub sequence: Sequence,
    /// The compression that the policy asks for.
    pub compression: Option<Compression>,
    /// The path from the snapshot's root, for messages.
    pub relative: Vec<u8>,
    state: Mutex<State>,
    /// A guess proved right or wrong.
    proved: Condvar,
}

#[derive(Debug)]
struct State {
    entry: DirEntry,
    notes: Notes,
    parts: Option<PartList>,
    /// So many contents are in `parts`.
    taken: u64,
    /// Where the next of them begins.
    next: u64,
    /// By where they begin.
    early: BTreeMap<u64, (ContentId, u64)>,
    ending: Option<Ending>,
    /// Chunks that were cut by a guess of which nobody knows yet whether it was right.
    guesses: u64,
    /// Where chunks began that were guessed wrongly, until they are cut anew.
    wrong: BTreeSet<u64>,
}

/// How a file's reading ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Read to its end, in so many contents.
    Read { contents: u64, changed_while_read: bool },
    /// The run was stopped; what was read is not the file.
    Stopped,
    /// It could not be read to its end.
    Failed {
        error: String,
        kind: io::ErrorKind,
        ignored: bool,
    },
}

impl FileObject {
    pub(crate) fn new(
        sequence: Sequence,
        entry: DirEntry,
        notes: Notes,
        relative: Vec<u8>,
        compression: Option<Compression>,
        format: MetadataFormat,
    ) -> Self {
        let parts = Some(PartList::new(None, format));
        let state = State {
            entry,
            notes,
            parts,
            taken: 0,
            next: 0,
            early: BTreeMap::new(),
            ending: None,
            guesses: 0,
            wrong: BTreeSet::new(),
        };
        Self {
            sequence,
            compression,
            relative,
            state: Mutex::new(state),
            proved: Condvar::new(),
        }
    }

    /// A file that is the whole source.
    pub(crate) fn alone(entry: DirEntry, compression: Option<Compression>, format: MetadataFormat) -> Self {
        let relative = entry.name.clone();
        Self::new(0, entry, Notes::default(), relative, compression, format)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the name of a sealed content and where it begins; gives the file's step when it was the last.
    ///
    /// A content that begins within another one is none of the file's: it was cut by a guess behind one that was wrong.
    pub(crate) fn sealed(
        &self,
        start: u64,
        content: ContentId,
        len: u64,
        sink: &mut dyn ContentSink,
    ) -> Result<Option<Step>> {
        let mut state = self.state();
        if start < state.next {
            return Ok(None);
        }
        state.early.insert(start, (content, len));
        while let Some((content, len)) = {
            let next = state.next;
            state.early.remove(&next)
        } {
            state.taken += 1;
            state.next += len;
            if let Some(parts) = state.parts.as_mut() {
                parts.push(content, len, sink)?;
            }
        }
        while state
            .early
            .first_key_value()
            .is_some_and(|(start, _)| *start < state.next)
        {
            state.early.pop_first();
        }
        self.complete(&mut state, sink)
    }

    /// A chunk was cut by a guess.
    pub(crate) fn was_guessed(&self) {
        self.state().guesses += 1;
    }

    /// Whether the guess was right by which the chunk that begins at `start` was cut.
    pub(crate) fn guess_was(&self, start: u64, right: bool) {
        let mut state = self.state();
        state.guesses -= 1;
        if !right {
            state.wrong.insert(start);
        }
        self.proved.notify_all();
    }

    /// Where the first chunk began that was guessed wrongly, once for each.
    pub(crate) fn next_wrong(&self) -> Option<u64> {
        self.state().wrong.pop_first()
    }

    /// Waits, not longer than this, until there is no guess of which nobody knows whether it was right, or one was wrong.
    /// Whether there is neither.
    pub(crate) fn wait_for_guesses(&self, patience: Duration) -> bool {
        let state = self.state();
        let unknown = |state: &mut State| state.guesses > 0 && state.wrong.is_empty();
        let waited = self.proved.wait_timeout_while(state, patience, unknown);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.guesses == 0 && state.wrong.is_empty()
    }

    /// The contents up to here have their names.
    pub(crate) fn reached(&self) -> u64 {
        self.state().next
    }

    /// Takes in how the reading ended; gives the file's step when nothing is in flight any more.
    pub(crate) fn ended(&self, ending: Ending, sink: &mut dyn ContentSink) -> Result<Option<Step>> {
        let mut state = self.state();
        state.ending = Some(ending);
        self.complete(&mut state, sink)
    }

    /// The file as far as its contents are sealed without a gap: an entry of exactly these bytes. `None` as long as
    /// there are none, and when the file could not be read.
    ///
    /// The list of parts is copied as it is being written, which is one unfinished content per level of list.
    pub(crate) fn so_far(&self, sink: &mut dyn ContentSink) -> Result<Option<DirEntry>> {
        // Not held while the list is written: that waits for those who pack, and who seals would wait too.
        let (mut entry, parts) = {
            let state = self.state();
            (state.entry.clone(), state.parts.clone())
        };
        if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
            entry.size = parts.len();
            entry.object = Some(parts.finish(sink)?);
        }
        Ok(entry.object.is_some().then_some(entry))
    }

    fn complete(&self, state: &mut State, sink: &mut dyn ContentSink) -> Result<Option<Step>> {
        let event = match &state.ending {
            None => return Ok(None),
            Some(Ending::Read { contents, .. }) if state.taken < *contents => return Ok(None),
            Some(Ending::Read { changed_while_read, .. }) => {
                let Some(parts) = state.parts.take() else {
                    return Ok(None);
                };
                state.notes.changed_while_read = *changed_while_read;
                state.entry.size = parts.len();
                state.entry.object = Some(parts.finish(sink)?);
                Event::Stored {
                    entry: state.entry.clone(),
                    origin: Origin::Read,
                    notes: state.notes,
                }
            }
            Some(Ending::Stopped) => {
                if state.parts.take().is_none() {
                    return Ok(None);
                }
                Event::Absent
            }
            Some(Ending::Failed { error, kind, ignored }) => {
                let failure = Failure {
                    relative: self.relative.clone(),
                    error: error.clone(),
                    kind: *kind,
                    ignored: *ignored,
                    is_directory: false,
                };
                if state.parts.take().is_none() {
                    return Ok(None);
                }
                Event::Failed(failure)
            }
        };
        Ok(Some(Step {
            sequence: self.sequence,
            event,
        }))
    }
}
