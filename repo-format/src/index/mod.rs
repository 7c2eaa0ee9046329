//! The index room: which content lies where in which pack. Read in versions 1 and 2, written in version 2.
//!
//! An index is a list of fixed-size entries, sorted by content, with the pack names behind it. A repository has many
//! of them; [`look_up`] and [`merge_runs`] are what they say together.

mod encode;
mod entry;
pub mod legacy;
mod merged;
mod search;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::ops::{Range, RangeInclusive};

use crate::FormatError;
use crate::id::{BlobId, ContentId};
use search::{partition, search};

pub use encode::{ENTRIES_MAX_PER_INDEX, StreamingEncoder, encode_v2, shard_of};
pub use entry::IndexEntry;
pub use merged::{Merge, look_up, merge_runs};
pub use v2::HeaderV2;

/// One index over bytes that somebody owns, borrows or maps. Opening checks the header and every table bound once, and
/// keeps nothing that grows with the entries or the packs: names of packs are read where they lie.
///
/// Bytes behind the index are allowed: the local index of a pack is followed by 32 random bytes.
#[derive(Debug)]
pub struct Index<B> {
    bytes: B,
    layout: Layout,
    /// The contents of each prefix letter, or of none, which is zero: in order of the letters.
    groups: Vec<Group>,
}

/// Where the contents of one prefix lie. Within it keys are hashes, so a look-up can guess the place.
#[derive(Debug)]
struct Group {
    letter: u8,
    places: Range<usize>,
}

/// Where the entries lie, and how to read the value behind each key.
#[derive(Debug)]
struct Layout {
    entries_at: usize,
    key_len: usize,
    value_len: usize,
    count: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    V1,
    V2(v2::Tables),
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Opens an index of version 1 or 2.
    ///
    /// # Errors
    /// When the header is not one, or a table does not fit into the bytes. A single bad entry or pack name is reported
    /// when it is read, as Kopia does.
    pub fn open(bytes: B) -> Result<Self, FormatError> {
        let data = bytes.as_ref();
        let layout = match data.first() {
            Some(1) => v1::open(data)?,
            Some(2) => v2::open(data)?,
            Some(&found) => return Err(FormatError::UnknownIndexVersion { found }),
            None => {
                return Err(FormatError::Truncated {
                    what: "index header",
                    wanted: 1,
                    available: 0,
                });
            }
        };
        let mut index = Self {
            bytes,
            layout,
            groups: Vec::new(),
        };
        index.groups = index.find_groups();
        Ok(index)
    }

    /// Where the letters change. In an index that is not sorted the answer is wrong, as that of any search, but it ends.
    fn find_groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut start = 0;
        while start < self.len() {
            let letter = self.key(start)[0];
            if groups.last().is_some_and(|last| last.letter >= letter) {
                break;
            }
            let end = partition(start + 1..self.len(), |place| self.key(place)[0] <= letter);
            let places = start..end;
            groups.push(Group { letter, places });
            start = end;
        }
        groups
    }

    /// The entries whose keys begin with one of `letters`, as places for [`Index::entry`].
    pub fn places_of(&self, letters: RangeInclusive<u8>) -> Range<usize> {
        let before = |limit: u8, or_at: bool| {
            let groups = self.groups.iter();
            let is_before = |group: &&Group| group.letter < limit || (or_at && group.letter == limit);
            groups.take_while(is_before).last().map_or(0, |group| group.places.end)
        };
        let start = before(*letters.start(), false);
        start..before(*letters.end(), true).max(start)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.layout.count
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.layout.count == 0
    }

    /// The bytes of every key: one more than the hash has. Meaningless when there are no entries.
    pub fn key_len(&self) -> usize {
        self.layout.key_len
    }

    /// The bytes this index was opened on.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Looks a content up. A content whose hash has another length than this index's is not there.
    ///
    /// # Errors
    /// When the entry is there but cannot be read.
    pub fn get(&self, id: &ContentId) -> Result<Option<IndexEntry>, FormatError> {
        self.place(id).map(|place| self.entry(place)).transpose()
    }

    /// The place of a content's entry, counted from zero; `None` for a content that is not there.
    pub fn place(&self, id: &ContentId) -> Option<usize> {
        let wanted = id.as_key();
        if self.is_empty() || wanted.len() != self.layout.key_len {
            return None;
        }
        let group = self.groups.binary_search_by_key(&wanted[0], |group| group.letter);
        let group = group.map(|group| &self.groups[group]).ok()?;
        search(group.places.clone(), wanted, |place| self.key(place))
    }

    /// The entry at a place, counted from zero.
    ///
    /// # Errors
    /// When there is no such entry, or it names no content, no pack or an impossible length.
    pub fn entry(&self, place: usize) -> Result<IndexEntry, FormatError> {
        if place >= self.layout.count {
            return Err(FormatError::BadIndexEntry {
                entry: place,
                field: "place, with an entry count of",
                found: self.layout.count as u64,
            });
        }
        let id = ContentId::from_key(self.key(place))?;
        let value = &self.record(place)[self.layout.key_len..];
        match &self.layout.values {
            Values::V1 => v1::decode_value(self.bytes.as_ref(), id, place, value),
            Values::V2(tables) => v2::decode_value(tables, self.bytes.as_ref(), id, place, value),
        }
    }

    /// All entries in key order. An entry that cannot be read or is out of order gives an error in its place.
    pub fn iter(&self) -> impl Iterator<Item = Result<IndexEntry, FormatError>> {
        (0..self.layout.count).map(|place| {
            let entry = self.entry(place)?;
            if place > 0 && self.key(place - 1) >= self.key(place) {
                return Err(FormatError::IndexNotSorted { id: entry.id });
            }
            Ok(entry)
        })
    }

    fn record(&self, place: usize) -> &[u8] {
        let stride = self.layout.key_len + self.layout.value_len;
        let start = self.layout.entries_at + place * stride;
        &self.bytes.as_ref()[start..start + stride]
    }

    /// The key of the entry at a place below [`Index::len`]: what [`ContentId::as_key`] gives.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn key(&self, place: usize) -> &[u8] {
        &self.record(place)[..self.layout.key_len]
    }
}

/// The entries' bytes: checks that key length and count are sane and that all entries are there.
fn entries_len(
    data: &[u8],
    entries_at: usize,
    key_len: u8,
    value_len: usize,
    count: u32,
) -> Result<usize, FormatError> {
    let bad = |field, found| Err(FormatError::BadIndexHeader { field, found });
    if key_len <= 1 || (count > 0 && usize::from(key_len) > ContentId::MAX_KEY_LEN) {
        return bad("key length", u64::from(key_len)); // an empty index of Kopia's says 255
    }
    let wanted = (usize::from(key_len) + value_len).checked_mul(count as usize);
    let available = data.len().saturating_sub(entries_at);
    match wanted {
        Some(wanted) if wanted <= available => Ok(wanted),
        wanted => Err(FormatError::Truncated {
            what: "index",
            wanted: wanted.unwrap_or(usize::MAX),
            available,
        }),
    }
}

/// A name in the bytes of an index; `None` where it points out of them or at no text.
fn name_at(data: &[u8], at: u32, len: u8) -> Option<BlobId> {
    let at = at as usize;
    let name = data.get(at..at.checked_add(usize::from(len))?)?;
    std::str::from_utf8(name).ok().map(BlobId::from)
}
