//! The joining room: a big file is cut into parts that are written side by side, and their lists become one list.

use crate::id::ObjectId;
use crate::object::IndirectEntry;

/// One part of a big file after it was written as an object of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartObject {
    /// The part.
    pub object: ObjectId,
    /// How many bytes the part turned out to have.
    pub len: u64,
    /// The parts of this part, counted from its own start, when its object is a list.
    pub entries: Option<Vec<IndirectEntry>>,
}

/// One list for all parts in order. A part that is itself a list is replaced by what it lists, one level deep; any other
/// part becomes one entry, even when it is empty.
pub fn concatenate(parts: &[PartObject]) -> Vec<IndirectEntry> {
    let mut whole = Vec::new();
    let mut start = 0;
    for part in parts {
        let alone = [IndirectEntry {
            start: 0,
            len: part.len,
            object: part.object,
        }];
        let entries = part.entries.as_deref().unwrap_or(&alone);
        whole.extend(entries.iter().map(|entry| IndirectEntry {
            start: start + entry.start,
            ..*entry
        }));
        start += part.len;
    }
    whole
}

/// How a big file is cut into parts: `full` parts of `len` bytes and, behind them, one without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many parts of exactly [`Parts::len`] bytes there are.
    pub full: u64,
    /// The length of a full part in bytes.
    pub len: u64,
}

/// What of a file belongs to one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartRange {
    /// Offset in the file, in bytes.
    pub start: u64,
    /// Length in bytes; `None` for the last part, which takes what there is, be it nothing.
    pub len: Option<u64>,
}

impl Parts {
    /// The parts in order.
    pub fn ranges(self) -> impl Iterator<Item = PartRange> {
        (0..=self.full).map(move |index| PartRange {
            start: index * self.len,
            len: (index < self.full).then_some(self.len),
        })
    }
}

/// How Kopia cuts a file of `size` bytes when parts are to be `chunk` bytes long; `None` when the file is one object,
/// which it is up to and including `chunk` bytes. A `chunk` of 0 means that files are never cut.
pub fn part_lengths(size: u64, chunk: u64) -> Option<Parts> {
    (chunk != 0 && size > chunk).then(|| Parts {
        full: size / chunk,
        len: chunk,
    })
}
