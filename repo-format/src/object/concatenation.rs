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
///
/// The parts must have been written by the caller: together they are shorter than 2^63 bytes.
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
        start += entries.iter().map(|entry| entry.len).sum::<u64>();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{decode_indirect, encode_indirect, total_len};

    fn listed(golden: &[u8]) -> PartObject {
        let entries = decode_indirect(golden).unwrap();
        PartObject {
            object: "Ixab".parse().unwrap(),
            len: total_len(&entries),
            entries: Some(entries),
        }
    }

    #[test]
    fn lists_of_parts_are_joined_as_kopia_joins_them() {
        let parts = [
            listed(include_bytes!("../../golden/object/part-1.json")),
            listed(include_bytes!("../../golden/object/part-2.json")),
            listed(include_bytes!("../../golden/object/part-3.json")),
        ];
        let lens: Vec<u64> = parts.iter().map(|part| part.len).collect();
        assert_eq!(lens, [8 << 20, 8 << 20, 4 << 20]);
        assert_eq!(
            encode_indirect(&concatenate(&parts)),
            include_bytes!("../../golden/object/whole.json")
        );
    }

    #[test]
    fn parts_without_lists_are_joined_as_kopia_joins_them() {
        let golden = include_bytes!("../../golden/object/exact.json");
        let parts: Vec<PartObject> = decode_indirect(golden)
            .unwrap()
            .iter()
            .map(|entry| PartObject {
                object: entry.object,
                len: entry.len,
                entries: None,
            })
            .collect();
        assert_eq!(encode_indirect(&concatenate(&parts)), golden);
    }

    #[test]
    fn a_file_is_cut_behind_each_full_part_and_ends_with_an_open_one() {
        let lens = |size, chunk| part_lengths(size, chunk).map(|parts| parts.ranges().collect::<Vec<_>>());
        let full = |start| PartRange { start, len: Some(10) };
        let open = |start| PartRange { start, len: None };
        assert_eq!(lens(0, 10), None);
        assert_eq!(lens(10, 10), None);
        assert_eq!(lens(11, 0), None);
        assert_eq!(lens(11, 10).unwrap(), [full(0), open(10)]);
        assert_eq!(
            lens(20, 10).unwrap(),
            [full(0), full(10), open(20)],
            "the last part is empty"
        );
        let last = part_lengths(u64::MAX, 1 << 63).unwrap().ranges().last().unwrap();
        assert_eq!((last.start, last.len), (1 << 63, None));
    }
}
