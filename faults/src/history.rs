//! The ship's log: every operation of a run, when it began, when it took effect, when it was answered, and what the writers were
//! promised.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use windlass_mover::storage::faulty::Operation as Kind;
use windlass_repo_format::format_blob::FormatKey;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::manifest::ManifestId;

use crate::shelf::{Blob, Blobs};

/// What an operation does to the blobs once it happens.
#[derive(Clone, Debug)]
pub enum Change {
    /// The blob is there, with this body.
    Put(BlobId, Bytes),
    /// The blob is gone.
    Delete(BlobId),
}

impl Change {
    /// Makes it happen at this time of the storage's clock.
    pub fn apply(&self, blobs: &mut Blobs, at: Timestamp) {
        match self {
            Self::Put(id, body) => {
                let body = body.clone();
                blobs.insert(id.clone(), Blob { body, modified: at });
            }
            Self::Delete(id) => {
                blobs.remove(id);
            }
        }
    }

    /// The blob it is about.
    pub fn blob(&self) -> &BlobId {
        match self {
            Self::Put(id, _) | Self::Delete(id) => id,
        }
    }
}

/// One call of a storage by a writer.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who asked.
    pub writer: usize,
    /// What was asked.
    pub kind: Kind,
    /// The blob's name, or the prefix of a list.
    pub name: String,
    /// What it does to the blobs; nothing for what only looks.
    pub change: Option<Change>,
}

impl Operation {
    /// What is done to which kind of blob: `put xn`, `delete s`, `list xe`.
    pub fn class(&self) -> String {
        let kind = match self.kind {
            Kind::Read => "read",
            Kind::Metadata => "look at",
            Kind::Put => "put",
            Kind::Delete => "delete",
            Kind::List => "list",
        };
        format!("{kind} {}", blob_class(&self.name))
    }
}

fn blob_class(name: &str) -> &str {
    if name.starts_with("kopia.") {
        return name;
    }
    name.get(..if name.starts_with('x') { 2 } else { 1 }).unwrap_or(name)
}

/// What a writer was told, or is about to do.
#[derive(Clone, Debug)]
pub enum Told {
    /// The scenario has come to this part.
    Stage(&'static str),
    /// A run begins that makes a snapshot of this source, and may delete earlier ones of it.
    Begins(usize, String),
    /// The run has ended well: this snapshot is stored, and these are gone.
    Made(usize, String, ManifestId, Vec<ManifestId>),
    /// A run begins that deletes these snapshots.
    Deletes(usize, Vec<ManifestId>),
    /// These snapshots are gone.
    Deleted(usize, Vec<ManifestId>),
    /// From now on these keys may open the repository, with the passwords that they come from: the first is the older one.
    Keys(Vec<(FormatKey, String)>),
    /// The indexes are lost: until they are recovered, nobody can expect to see a snapshot, nor that packs are named.
    IndexesLost,
    /// They are recovered.
    IndexesRecovered,
}

/// One line of the logbook.
#[derive(Clone, Debug)]
pub enum Event {
    /// The operation of this number has begun. From now on it may happen.
    Begun(usize),
    /// It has happened, at this time of the storage's clock.
    Happened(usize, Timestamp),
    /// It was refused, and will never happen.
    Refused(usize),
    /// The writer has its answer. Where that was a failure, and nothing has happened, it may happen still.
    Answered(usize),
    /// A promise.
    Told(Told),
}

/// What has been written down so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Logbook(Arc<Mutex<History>>);

/// A run, from its first operation to its last.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was there before.
    pub start: Blobs,
    /// Every operation, by number.
    pub operations: Vec<Operation>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Logbook {
    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history begins here, with these blobs: of what came before only the promises are kept.
    pub fn starts_with(&self, blobs: Blobs) {
        let mut history = self.lock();
        history.start = blobs;
        history.events.retain(|event| matches!(event, Event::Told(_)));
    }

    /// Writes down that an operation begins; gives its number.
    pub fn begin(&self, operation: Operation) -> usize {
        let mut history = self.lock();
        history.operations.push(operation);
        let number = history.operations.len() - 1;
        history.events.push(Event::Begun(number));
        number
    }

    /// Writes something down.
    pub fn write(&self, event: Event) {
        self.lock().events.push(event);
    }

    /// Writes down what a writer was told.
    pub fn tell(&self, told: Told) {
        self.write(Event::Told(told));
    }

    /// All that was written down.
    pub fn history(&self) -> History {
        self.lock().clone()
    }
}

impl History {
    /// The last lines before a place that change anything, for people.
    pub fn around(&self, place: usize) -> String {
        let mut lines: Vec<String> = Vec::new();
        for event in self.events[..place.min(self.events.len())].iter().rev() {
            let line = match event {
                Event::Told(told) => format!("told: {}", told.name()),
                Event::Begun(number)
                | Event::Happened(number, _)
                | Event::Refused(number)
                | Event::Answered(number) => {
                    let operation = &self.operations[*number];
                    if operation.change.is_none() {
                        continue;
                    }
                    let what = match event {
                        Event::Begun(_) => "begins to",
                        Event::Happened(..) => "has happened:",
                        Event::Refused(_) => "is refused to",
                        _ => "is answered:",
                    };
                    format!(
                        "writer {} {what} {} ({})",
                        operation.writer,
                        operation.class(),
                        operation.name
                    )
                }
            };
            lines.push(line);
            if lines.len() == 12 {
                break;
            }
        }
        lines.reverse();
        lines.join("\n    ")
    }

    /// How many operations change something.
    pub fn changes(&self) -> usize {
        self.operations
            .iter()
            .filter(|operation| operation.change.is_some())
            .count()
    }

    /// The different kinds of operations.
    pub fn classes(&self) -> BTreeSet<String> {
        self.operations.iter().map(Operation::class).collect()
    }
}

impl Told {
    fn name(&self) -> String {
        match self {
            Self::Stage(name) => format!("stage {name}"),
            Self::Begins(writer, source) => format!("writer {writer} begins a snapshot of {source}"),
            Self::Made(writer, source, id, _) => format!("writer {writer} has made snapshot {id} of {source}"),
            Self::Deletes(writer, ids) => format!("writer {writer} begins to delete {ids:?}"),
            Self::Deleted(writer, ids) => format!("writer {writer} has deleted {ids:?}"),
            Self::Keys(keys) => format!("{} keys may open the repository", keys.len()),
            Self::IndexesLost => "the indexes are lost".to_owned(),
            Self::IndexesRecovered => "the indexes are recovered".to_owned(),
        }
    }
}
