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
}

impl IndirectWriter {
    /// A list without parts so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one part to `out`. The caller gives them in order.
    pub fn push(&mut self, entry: &IndirectEntry, out: &mut Vec<u8>) {
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

/// Reads a whole list of parts: at least one, each beginning where the one before it ends, empty ones allowed.
///
/// # Errors
/// As [`IndirectReader::push`] and [`IndirectReader::finish`].
pub fn decode_indirect(bytes: &[u8]) -> Result<Vec<IndirectEntry>, FormatError> {
    let mut entries = Vec::new();
    let mut reader = IndirectReader::new();
    reader.push(bytes, |entry| entries.push(entry))?;
    reader.finish()?;
    Ok(entries)
}

/// The length in bytes of the object that these parts make up.
pub fn total_len(entries: &[IndirectEntry]) -> u64 {
    entries.last().and_then(IndirectEntry::end).unwrap_or(0)
}
