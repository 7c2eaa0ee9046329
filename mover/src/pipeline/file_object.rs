//! The collecting room: the contents of one file, sealed in any order by many threads, become its object.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

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
}

#[derive(Debug)]
struct State {
    entry: DirEntry,
    notes: Notes,
    parts: Option<PartList>,
    next: u32,
    early: BTreeMap<u32, (ContentId, u64)>,
    ending: Option<Ending>,
}

/// How a file's reading ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Read to its end, in so many contents.
    Read { contents: u32, changed_while_read: bool },
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
            next: 0,
            early: BTreeMap::new(),
            ending: None,
        };
        Self {
            sequence,
            compression,
            relative,
            state: Mutex::new(state),
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

    /// Takes in the name of a sealed content; gives the file's step when it was the last.
    pub(crate) fn sealed(
        &self,
        index: u32,
        content: ContentId,
        len: u64,
        sink: &mut dyn ContentSink,
    ) -> Result<Option<Step>> {
        let mut state = self.state();
        state.early.insert(index, (content, len));
        while let Some((content, len)) = {
            let next = state.next;
            state.early.remove(&next)
        } {
            state.next += 1;
            if let Some(parts) = state.parts.as_mut() {
                parts.push(content, len, sink)?;
            }
        }
        self.complete(&mut state, sink)
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
            Some(Ending::Read { contents, .. }) if state.next < *contents => return Ok(None),
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
