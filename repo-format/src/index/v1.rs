//! The old wing of the index room: index blobs of version 1, as repositories before format version 2 hold them.

use crate::FormatError;
use crate::cursor::Cursor;
use crate::id::ContentId;
use crate::index::{IndexEntry, Layout, Values, entries_len, name_at};
use crate::quantity::{ContentLen, PackOffset};

/// Bytes of the header: version 1, key length, value length (2 bytes), entry count (4 bytes).
const HEADER_LEN: usize = 8;
/// Bytes of one value.
const VALUE_LEN: usize = 20;
/// What sealing adds to a content; version 1 does not store the original length, only the packed one.
const SEAL_OVERHEAD: u32 = 28;
/// The top bit of the offset says that the entry is a deletion marker.
const DELETED: u32 = 1 << 31;

pub(super) fn open(data: &[u8]) -> Result<Layout, FormatError> {
    let mut header = Cursor::new(data, "index header");
    header.u8()?;
    let key_len = header.u8()?;
    let value_len = header.u16()?;
    let count = header.u32()?;
    if usize::from(value_len) != VALUE_LEN {
        return Err(FormatError::BadIndexHeader {
            field: "entry length",
            found: u64::from(value_len),
        });
    }
    entries_len(data, HEADER_LEN, key_len, VALUE_LEN, count)?;
    Ok(Layout {
        entries_at: HEADER_LEN,
        key_len: usize::from(key_len),
        value_len: VALUE_LEN,
        count: count as usize,
        values: Values::V1,
    })
}

/// What follows the key of an entry of version 1. Numbers are big-endian.
///
/// | bytes  | field            | meaning                                          |
/// |--------|------------------|--------------------------------------------------|
/// | 0..6   | timestamp        | Unix seconds                                     |
/// | 6      | format version   | of the repository that wrote it                  |
/// | 7      | pack name length | bytes                                            |
/// | 8..12  | pack name place  | from the start of the index                      |
/// | 12..16 | offset in pack   | 31 bits; the top bit marks a deletion            |
/// | 16..20 | packed length    | bytes in the pack, 28 more than the content has  |
struct Value {
    timestamp: u64,
    format_version: u8,
    name_len: u8,
    name_at: u32,
    offset: u32,
    packed_len: u32,
}

impl Value {
    fn decode(value: &[u8]) -> Result<Self, FormatError> {
        let mut value = Cursor::new(value, "index entry");
        Ok(Self {
            timestamp: value.u48()?,
            format_version: value.u8()?,
            name_len: value.u8()?,
            name_at: value.u32()?,
            offset: value.u32()?,
            packed_len: value.u32()?,
        })
    }
}

pub(super) fn decode_value(data: &[u8], id: ContentId, place: usize, value: &[u8]) -> Result<IndexEntry, FormatError> {
    let bad = |field, found: u32| FormatError::BadIndexEntry {
        entry: place,
        field,
        found: u64::from(found),
    };
    let value = Value::decode(value)?;
    let pack = name_at(data, value.name_at, value.name_len);
    let bad_len = || bad("packed length", value.packed_len);
    let original_len = value.packed_len.checked_sub(SEAL_OVERHEAD).ok_or_else(bad_len)?;
    Ok(IndexEntry {
        id,
        pack: pack.ok_or_else(|| bad("pack name at", value.name_at))?,
        offset: PackOffset::new(value.offset & !DELETED).expect("31 bits are below the limit of an offset"),
        packed_len: ContentLen::new(value.packed_len).ok_or_else(bad_len)?,
        original_len: ContentLen::new(original_len).ok_or_else(bad_len)?,
        compression: 0,
        format_version: value.format_version,
        timestamp: value.timestamp as i64, // 48 bits
        deleted: value.offset & DELETED != 0,
    })
}
