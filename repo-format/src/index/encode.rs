//! The writing desk of the index room: entries in, an index of version 2 out, byte for byte what Kopia would write.

use std::collections::HashMap;

use crate::FormatError;
use crate::id::{BlobId, ContentId};
use crate::index::IndexEntry;
use crate::index::v2::{DELETED, FORMAT_LEN, Format, HeaderV2, PACK_LEN, VALUE_LEN_MAX, VALUE_LEN_MIN};
use crate::quantity::PackOffset;

/// More entries than this are not put into one index: whoever has more writes several.
pub const ENTRIES_MAX_PER_INDEX: usize = 16_000_000;

/// Formats are counted in one byte.
const FORMATS_MAX: usize = 255;
/// Packs are counted in three bytes.
const PACKS_MAX: usize = 1 << 24;
/// So many bytes of pack names and records leave room for the entries before them where places have four bytes.
const PACK_BYTES_MAX: usize = 3 << 30;
/// What an empty index of Kopia's says its key length is.
const KEY_LEN_OF_NOTHING: u8 = 255;

/// Which of `shards` indexes a content belongs to: FNV-1a of its name, 32 bits, modulo the number of shards.
pub fn shard_of(id: &ContentId, shards: u32) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(PRIME);
    let digits = id.as_key()[1..].iter().flat_map(|byte| {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        [digit(byte >> 4), digit(byte & 15)]
    });
    let prefix = id.prefix().map(|prefix| prefix.letter());
    prefix.into_iter().chain(digits).fold(OFFSET, step) % shards.max(1)
}

/// Writes an index of version 2 with the smallest entries that hold what is asked for: the bytes are Kopia's.
///
/// # Errors
/// When the entries are not strictly sorted, differ in key length, are too many for one index, or one of them does not
/// fit.
pub fn encode_v2(entries: &[IndexEntry]) -> Result<Vec<u8>, FormatError> {
    let mut tables = TableBuilder::default();
    let mut longest = 0;
    for entry in entries {
        tables.pack(&entry.pack)?;
        tables.format(entry)?;
        longest = longest.max(entry.original_len.bytes()).max(entry.packed_len.bytes());
    }
    let value_len = if longest >= 1 << 24 {
        VALUE_LEN_MAX
    } else if tables.packs.len() > 1 << 16 {
        18
    } else if tables.formats.len() > 1 {
        17
    } else {
        VALUE_LEN_MIN
    };
    let key_len = entries.first().map_or(0, |entry| entry.id.as_key().len());
    let mut out = Vec::with_capacity(HeaderV2::SIZE + entries.len() * (key_len + value_len) + tables.len());
    out.resize(HeaderV2::SIZE, 0);
    let mut encoder = Encoder::new(key_len, value_len);
    for entry in entries {
        encoder.push(entry, &mut out)?;
    }
    let header = encoder.finish(&mut out);
    out[..HeaderV2::SIZE].copy_from_slice(&header);
    Ok(out)
}

/// Writes an index of version 2 piece by piece, for merges that do not fit into memory. What it holds itself is one
/// record and one name per pack.
///
/// The header comes last: the caller leaves [`HeaderV2::SIZE`] bytes free at the front. Entries always have the longest
/// form, since nobody knows yet what the last ones need.
#[derive(Debug)]
pub struct StreamingEncoder(Encoder);

impl StreamingEncoder {
    /// An index of keys of this many bytes: one more than the repository's hash has.
    pub fn new(key_len: usize) -> Self {
        Self(Encoder::new(key_len, VALUE_LEN_MAX))
    }

    /// Appends the bytes of one entry to `out`.
    ///
    /// # Errors
    /// When the entry is out of order, has another key length, does not fit, or the index is full. Nothing is appended
    /// then.
    pub fn push(&mut self, entry: &IndexEntry, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.0.push(entry, out)
    }

    /// How many entries there are so far.
    pub fn len(&self) -> usize {
        self.0.count
    }

    /// How many packs the entries so far name.
    pub fn packs(&self) -> usize {
        self.0.tables.packs.len()
    }

    /// Whether there is no entry yet.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// Appends what follows the entries to `out` and gives the header that belongs to the front.
    pub fn finish(self, out: &mut Vec<u8>) -> [u8; HeaderV2::SIZE] {
        self.0.finish(out)
    }
}

/// Entries with values of one length, and the tables they share.
#[derive(Debug)]
struct Encoder {
    key_len: usize,
    value_len: usize,
    count: usize,
    last: Option<ContentId>,
    tables: TableBuilder,
}

impl Encoder {
    fn new(key_len: usize, value_len: usize) -> Self {
        Self {
            key_len,
            value_len,
            count: 0,
            last: None,
            tables: TableBuilder::default(),
        }
    }

    fn push(&mut self, entry: &IndexEntry, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let key = entry.id.as_key();
        if key.len() != self.key_len || self.last.is_some_and(|last| last >= entry.id) {
            return Err(FormatError::IndexNotSorted { id: entry.id });
        }
        if self.count >= ENTRIES_MAX_PER_INDEX {
            return Err(FormatError::IndexFull {
                what: "entries",
                limit: ENTRIES_MAX_PER_INDEX,
            });
        }
        let too_large = |field, found: i64| FormatError::IndexEntryTooLarge {
            id: entry.id,
            field,
            found,
        };
        let timestamp = u32::try_from(entry.timestamp).map_err(|_| too_large("timestamp", entry.timestamp))?;
        let offset = entry.offset.bytes();
        if offset >= PackOffset::WRITE_LIMIT {
            return Err(too_large("offset", i64::from(offset)));
        }
        if entry.pack.as_str().is_empty() || entry.pack.as_str().len() > usize::from(u8::MAX) {
            return Err(too_large("length of the pack name", entry.pack.as_str().len() as i64));
        }
        let pack = self.tables.pack(&entry.pack)?;
        let format = self.tables.format(entry)?;
        let (original, packed) = (entry.original_len.bytes(), entry.packed_len.bytes());

        let mut value = [0; VALUE_LEN_MAX];
        value[..4].copy_from_slice(&timestamp.to_be_bytes());
        value[4..8].copy_from_slice(&(offset | if entry.deleted { DELETED } else { 0 }).to_be_bytes());
        value[8..11].copy_from_slice(&original.to_be_bytes()[1..]);
        value[11..14].copy_from_slice(&packed.to_be_bytes()[1..]);
        value[14..16].copy_from_slice(&pack.to_be_bytes()[2..]);
        value[16] = format;
        value[17] = (pack >> 16) as u8;
        value[18] = (original >> 24 << 4 | packed >> 24) as u8;
        assert!(
            value[self.value_len..].iter().all(|byte| *byte == 0),
            "the length of the values was chosen after looking at every entry"
        );
        out.extend_from_slice(key);
        out.extend_from_slice(&value[..self.value_len]);
        self.count += 1;
        self.last = Some(entry.id);
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> [u8; HeaderV2::SIZE] {
        let entries_len = self.count * (self.key_len + self.value_len);
        let header = HeaderV2 {
            key_len: match self.count {
                0 => KEY_LEN_OF_NOTHING,
                _ => u8::try_from(self.key_len).expect("a key that was pushed has at most 33 bytes"),
            },
            value_len: self.value_len as u16,
            entry_count: self.count as u32,
            pack_count: self.tables.packs.len() as u32,
            format_count: self.tables.formats.len() as u8,
            base_timestamp: 0,
        };
        self.tables.append(HeaderV2::SIZE + entries_len, out);
        header.encode()
    }
}

/// Packs and formats in the order in which the sorted entries first name them.
#[derive(Debug, Default)]
struct TableBuilder {
    packs: Vec<BlobId>,
    pack_numbers: HashMap<BlobId, u32>,
    pack_bytes: usize,
    formats: Vec<Format>,
}

impl TableBuilder {
    fn pack(&mut self, pack: &BlobId) -> Result<u32, FormatError> {
        if let Some(number) = self.pack_numbers.get(pack) {
            return Ok(*number);
        }
        if self.packs.len() >= PACKS_MAX {
            return Err(FormatError::IndexFull {
                what: "packs",
                limit: PACKS_MAX,
            });
        }
        let bytes = self.pack_bytes + PACK_LEN + pack.as_str().len();
        if bytes > PACK_BYTES_MAX {
            return Err(FormatError::IndexFull {
                what: "bytes of pack names",
                limit: PACK_BYTES_MAX,
            });
        }
        self.pack_bytes = bytes;
        let number = self.packs.len() as u32;
        self.packs.push(pack.clone());
        self.pack_numbers.insert(pack.clone(), number);
        Ok(number)
    }

    fn format(&mut self, entry: &IndexEntry) -> Result<u8, FormatError> {
        let format = Format {
            compression: entry.compression,
            version: entry.format_version,
            key_id: 0,
        };
        if let Some(number) = self.formats.iter().position(|known| *known == format) {
            return Ok(number as u8);
        }
        if self.formats.len() >= FORMATS_MAX {
            return Err(FormatError::IndexFull {
                what: "formats",
                limit: FORMATS_MAX,
            });
        }
        self.formats.push(format);
        Ok((self.formats.len() - 1) as u8)
    }

    /// Bytes of the tables and the names behind them.
    fn len(&self) -> usize {
        self.pack_bytes + self.formats.len() * FORMAT_LEN
    }

    /// Appends the tables; `at` is the place in the index where they begin.
    fn append(&self, at: usize, out: &mut Vec<u8>) {
        let mut name_at = at + self.packs.len() * PACK_LEN + self.formats.len() * FORMAT_LEN;
        for pack in &self.packs {
            let len = pack.as_str().len();
            out.push(u8::try_from(len).expect("push refuses longer names"));
            let place = u32::try_from(name_at).expect("entries and pack names are limited so that this fits");
            out.extend_from_slice(&place.to_be_bytes());
            name_at += len;
        }
        for format in &self.formats {
            out.extend_from_slice(&format.compression.to_be_bytes());
            out.extend_from_slice(&[format.version, format.key_id]);
        }
        for pack in &self.packs {
            out.extend_from_slice(pack.as_str().as_bytes());
        }
    }
}
