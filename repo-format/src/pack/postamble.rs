//! The colophon of the pack room: the last bytes of a pack, which say where its local index is.

use std::ops::Range;

use crate::FormatError;
use crate::cursor::{Cursor, put_uvarint};
use crate::id::ContentHash;

/// The last bytes of a pack.
///
/// | bytes     | field             | meaning                                                   |
/// |-----------|-------------------|-----------------------------------------------------------|
/// | varint    | version           | always 1                                                  |
/// | varint    | IV length         | bytes of the following                                    |
/// | IV length | IV                | keyed hash of the plain local index, all of it            |
/// | varint    | index offset      | where in the pack the sealed local index begins           |
/// | varint    | index length      | bytes of the sealed local index                           |
/// | 4         | checksum          | CRC-32 (IEEE, big-endian) of all that comes before        |
/// | 1         | postamble length  | bytes before this one                                     |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postamble {
    /// What opens the local index: the keyed hash of its plain bytes.
    pub iv: ContentHash,
    /// Where in the pack the sealed local index begins, in bytes.
    pub index_offset: u64,
    /// How many bytes the sealed local index has.
    pub index_len: u64,
}

const VERSION: u64 = 1;
const CHECKSUM_LEN: usize = 4;

impl Postamble {
    /// The longest postamble: version, IV length, the longest hash, two varints, checksum, length.
    pub const MAX_LEN: usize = 1 + 1 + ContentHash::MAX_LEN + 10 + 10 + CHECKSUM_LEN + 1;

    /// Finds the postamble at the very end of a pack, or of its last bytes.
    ///
    /// # Errors
    /// When the pack does not end with one: it was written without, or was cut off.
    pub fn find(tail: &[u8]) -> Result<Self, FormatError> {
        let missing = |why| FormatError::NoPostamble { why };
        let (&len, before) = tail.split_last().ok_or(missing("it is empty"))?;
        let len = usize::from(len);
        let start = before.len().checked_sub(len).ok_or(missing("it is too short"))?;
        let (body, checksum) = before[start..]
            .split_last_chunk::<CHECKSUM_LEN>()
            .ok_or(missing("there is no checksum"))?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(missing("the checksum is wrong"));
        }
        let mut body = Cursor::new(body, "pack postamble");
        if body.uvarint()? != VERSION {
            return Err(missing("its version is unknown"));
        }
        let iv_len = usize::try_from(body.uvarint()?).unwrap_or(usize::MAX);
        let iv = ContentHash::new(body.take(iv_len)?).ok_or(missing("the IV is no hash"))?;
        Ok(Self {
            iv,
            index_offset: body.uvarint()?,
            index_len: body.uvarint()?,
        })
    }

    /// Appends the postamble.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_uvarint(out, VERSION);
        put_uvarint(out, self.iv.as_bytes().len() as u64);
        out.extend_from_slice(self.iv.as_bytes());
        put_uvarint(out, self.index_offset);
        put_uvarint(out, self.index_len);
        let checksum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        out.push(u8::try_from(out.len() - start).expect("the longest postamble is shorter than 256 bytes"));
    }

    /// Where in the pack the sealed local index lies; `None` when that is not before the end of a pack of so many
    /// bytes.
    pub fn index_range(&self, pack_len: u64) -> Option<Range<u64>> {
        let end = self.index_offset.checked_add(self.index_len)?;
        (end < pack_len).then_some(self.index_offset..end)
    }

    /// The sealed local index inside the last bytes of a pack; `None` when `tail` does not hold all of it and more of
    /// the pack has to be read. `pack_len` is the length of the whole pack.
    pub fn index_in<'a>(&self, tail: &'a [u8], pack_len: u64) -> Option<&'a [u8]> {
        let range = self.index_range(pack_len)?;
        let tail_offset = pack_len.checked_sub(tail.len() as u64)?;
        let place = |at: u64| usize::try_from(at.checked_sub(tail_offset)?).ok();
        tail.get(place(range.start)?..place(range.end)?)
    }
}
