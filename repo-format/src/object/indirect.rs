//! The parts-list room: which objects, one after the other, make up a longer one.

use crate::FormatError;
use crate::id::ObjectId;
use crate::json::lenient::read_object;
use crate::json::stream::{Piece, StreamReader, VALUE_BYTES_MAX, parse};
use crate::json::{write_number, write_string};

const WHAT: &str = "list of parts";
const STREAM: &str = "kopia:indirect";

/// Kopia counts the bytes of an object in a signed number.
const OBJECT_BYTES_MAX: u64 = i64::MAX as u64;

/// One part of a long object.
///
/// | key | field    | meaning                                                     |
/// |-----|----------|-------------------------------------------------------------|
/// | `s` | `start`  | offset of the part in the whole, in bytes; left out when 0  |
/// | `l` | `len`    | length of the part in bytes; left out when 0                |
/// | `o` | `object` | the part, which may itself be a list of parts               |
///
/// A part of no bytes occurs: it is the last one of a file whose size was a multiple of the part length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndirectEntry {
    /// Offset in the whole object, in bytes.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// The object that holds the bytes.
    pub object: ObjectId,
}

impl IndirectEntry {
    /// Where the part ends in the whole object.
    pub fn end(&self) -> Option<u64> {
        self.start.checked_add(self.len).filter(|end| *end <= OBJECT_BYTES_MAX)
    }
}

/// A part as it is read, before it is known to have an object.
#[derive(Default)]
struct ReadEntry {
    start: u64,
    len: u64,
    object: Option<ObjectId>,
}
read_object!(ReadEntry, "a part of an object", {
    "s" => start: u64,
    "l" => len: u64,
    "o" => object: ObjectId = Some,
});

/// Writes a list of parts as Kopia does, byte for byte, without holding it.
#[derive(Clone, Debug, Default)]
pub struct IndirectWriter {
    begun: bool,
    end: u64,
}

impl IndirectWriter {
    /// A list without parts so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one part to `out`.
    ///
    /// # Panics
    /// When the part does not begin where the one before it ends.
    pub fn push(&mut self, entry: &IndirectEntry, out: &mut Vec<u8>) {
        assert_eq!(entry.start, self.end, "the parts of an object follow on one another");
        self.end = entry.end().expect("an object has less than 2^63 bytes");
        if std::mem::replace(&mut self.begun, true) {
            out.push(b',');
        } else {
            out.extend_from_slice(br#"{"stream":"kopia:indirect","entries":["#);
        }
        out.push(b'{');
        for (key, number) in [(&br#""s":"#[..], entry.start), (br#""l":"#, entry.len)] {
            if number != 0 {
                out.extend_from_slice(key);
                write_number(number, out);
                out.push(b',');
            }
        }
        out.extend_from_slice(br#""o":"#);
        write_string(entry.object.to_string().as_bytes(), out);
        out.push(b'}');
    }

    /// Appends the end of the list, a newline included.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.begun {
            true => b"]}\n",
            false => b"{\"stream\":\"kopia:indirect\",\"entries\":null}\n",
        });
    }
}

/// The list of these parts as Kopia writes it.
///
/// # Panics
/// When a part does not begin where the one before it ends.
pub fn encode_indirect(entries: &[IndirectEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = IndirectWriter::new();
    for entry in entries {
        writer.push(entry, &mut out);
    }
    writer.finish(&mut out);
    out
}

/// Reads a list of parts as it arrives, holding one part at a time.
#[derive(Debug)]
pub struct IndirectReader {
    stream: StreamReader,
    reach: Reach,
}

/// How far the parts read so far reach.
#[derive(Debug, Default)]
struct Reach {
    count: u64,
    end: u64,
}

impl IndirectReader {
    /// A reader at the start of a list.
    #[expect(clippy::new_without_default, reason = "a reader is begun, not defaulted")]
    pub fn new() -> Self {
        Self {
            stream: StreamReader::new(WHAT, Some(STREAM), VALUE_BYTES_MAX),
            reach: Reach::default(),
        }
    }

    /// Takes the next bytes, however they are cut, and hands on the parts that are complete.
    ///
    /// # Errors
    /// When the bytes are no such list, or a part does not begin where the one before it ends.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(IndirectEntry)) -> Result<(), FormatError> {
        let reach = &mut self.reach;
        self.stream.push(bytes, &mut |piece| match piece {
            Piece::Entry(json) => {
                each(reach.accept(parse(WHAT, json)?)?);
                Ok(())
            }
            Piece::Member(_, json) => parse::<serde::de::IgnoredAny>(WHAT, json).map(|_| ()),
        })
    }

    /// Says that no more bytes come; gives the length of the whole object in bytes.
    ///
    /// # Errors
    /// When the list is cut short, is no list of parts, or has none.
    pub fn finish(self) -> Result<u64, FormatError> {
        self.stream.finish()?;
        if self.reach.count == 0 {
            return Err(FormatError::NoParts);
        }
        Ok(self.reach.end)
    }
}

impl Reach {
    fn accept(&mut self, read: ReadEntry) -> Result<IndirectEntry, FormatError> {
        let ReadEntry { start, len, object } = read;
        let object = object.ok_or(FormatError::BadObjectId { found: String::new() })?;
        if start != self.end {
            return Err(FormatError::PartMisplaced {
                expected: self.end,
                found: start,
            });
        }
        let entry = IndirectEntry { start, len, object };
        self.end = entry.end().ok_or(FormatError::ObjectTooLong { start, len })?;
        self.count += 1;
        Ok(entry)
    }
}

/// A whole list of parts, for tests.
#[cfg(test)]
pub(crate) fn decode_indirect(bytes: &[u8]) -> Result<Vec<IndirectEntry>, FormatError> {
    let mut entries = Vec::new();
    let mut reader = IndirectReader::new();
    reader.push(bytes, |entry| entries.push(entry))?;
    reader.finish()?;
    Ok(entries)
}

/// The length in bytes of the object that these parts make up.
#[cfg(test)]
pub(crate) fn total_len(entries: &[IndirectEntry]) -> u64 {
    entries.last().and_then(IndirectEntry::end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    const LIST_OF_LIST: &[u8] = include_bytes!("../../golden/object/list-of-list.json");
    const EXACT: &[u8] = include_bytes!("../../golden/object/exact.json");
    const WHOLE: &[u8] = include_bytes!("../../golden/object/whole.json");

    fn list_of_400_mib() -> Vec<u8> {
        let mut list = Vec::new();
        GzDecoder::new(&include_bytes!("../../golden/object/list-of-400-mib.json.gz")[..])
            .read_to_end(&mut list)
            .unwrap();
        list
    }

    #[test]
    fn lists_are_byte_for_byte_what_kopia_wrote() {
        let long = list_of_400_mib();
        for golden in [LIST_OF_LIST, EXACT, WHOLE, &long] {
            let entries = decode_indirect(golden).unwrap();
            assert_eq!(
                String::from_utf8(encode_indirect(&entries)),
                String::from_utf8(golden.to_vec())
            );
        }
        let entries = decode_indirect(&long).unwrap();
        assert_eq!((entries.len(), total_len(&entries)), (3200, 400 << 20));
        let lists = decode_indirect(LIST_OF_LIST).unwrap();
        assert_eq!(
            total_len(&lists),
            long.len() as u64,
            "the outer list has the length of the inner one"
        );
    }

    #[test]
    fn an_empty_last_part_is_kept() {
        let entries = decode_indirect(EXACT).unwrap();
        assert_eq!((entries[3].start, entries[3].len), (3 << 20, 0));
    }

    #[test]
    fn a_damaged_list_is_refused() {
        for end in 0..EXACT.len() - 2 {
            assert!(decode_indirect(&EXACT[..end]).is_err(), "cut at {end}");
        }
        let twin = |from: &str, to: &str| {
            let text = std::str::from_utf8(EXACT).unwrap();
            assert!(text.contains(from));
            decode_indirect(text.replacen(from, to, 1).as_bytes()).unwrap_err()
        };
        assert!(matches!(
            twin(r#""s":1048576"#, r#""s":1048577"#),
            FormatError::PartMisplaced {
                expected: 1_048_576,
                found: 1_048_577
            }
        ));
        assert!(matches!(
            twin(r#""l":1048576"#, r#""l":9223372036854775808"#),
            FormatError::ObjectTooLong { .. }
        ));
        assert!(matches!(
            twin("kopia:indirect", "kopia:directory"),
            FormatError::WrongStream { .. }
        ));
        assert!(matches!(twin(r#""o":""#, r#""p":""#), FormatError::BadObjectId { .. }));
        assert!(matches!(twin(r#""o":""#, r#""o":"?"#), FormatError::Json { .. }));
        assert!(matches!(twin(r#""l":1"#, r#""l":-1"#), FormatError::Json { .. }));
        for none in ["null", "[]"] {
            let list = format!(r#"{{"stream":"kopia:indirect","entries":{none}}}"#);
            assert!(matches!(decode_indirect(list.as_bytes()), Err(FormatError::NoParts)));
        }
    }

    #[test]
    fn a_list_can_be_read_in_pieces() {
        for step in 1..WHOLE.len() {
            let (mut reader, mut entries) = (IndirectReader::new(), Vec::new());
            for bytes in WHOLE.chunks(step) {
                reader.push(bytes, |entry| entries.push(entry)).unwrap();
            }
            assert_eq!(reader.finish().unwrap(), 20 << 20);
            assert_eq!(entries, decode_indirect(WHOLE).unwrap());
        }
    }

    #[test]
    #[should_panic(expected = "follow on one another")]
    fn a_gap_is_never_written() {
        let object = "ab".parse().unwrap();
        encode_indirect(&[IndirectEntry {
            start: 1,
            len: 1,
            object,
        }]);
    }

    proptest! {
        #[test]
        fn lists_survive_a_round_trip(lens in prop::collection::vec(0u64..1 << 50, 1..50), indirection in 0usize..3) {
            let object = format!("{}x00ff", "I".repeat(indirection)).parse().unwrap();
            let mut start = 0;
            let mut entries = Vec::new();
            for len in lens {
                entries.push(IndirectEntry { start, len, object });
                start += len;
            }
            prop_assert_eq!(decode_indirect(&encode_indirect(&entries)).unwrap(), entries);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at in 0..EXACT.len(), byte: u8) {
            let _ = decode_indirect(&bytes);
            let mut damaged = EXACT.to_vec();
            damaged[at] = byte;
            let _ = decode_indirect(&damaged);
        }
    }
}
