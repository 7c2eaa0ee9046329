//! The new wing of the index room: index blobs of version 2, as every repository since format version 2 holds them.

use crate::FormatError;
use crate::cursor::Cursor;
use crate::id::{BlobId, ContentId};
use crate::index::{IndexEntry, Layout, Values, entries_len, name_at};
use crate::quantity::{ContentLen, PackOffset};

/// Fixed header of a version 2 index. Numbers are big-endian.
///
/// | bytes  | field          | meaning                                             |
/// |--------|----------------|-----------------------------------------------------|
/// | 0      | version        | always 2                                            |
/// | 1      | key length     | bytes of one content's key                          |
/// | 2..4   | value length   | 16 to 19; absent tail fields mean zero              |
/// | 4..8   | entry count    | sorted entries that follow the header               |
/// | 8..12  | pack count     | records of 5 bytes after the entries     |
/// | 12     | format count   | records of 6 bytes after the packs     |
/// | 13..17 | base timestamp | Unix seconds, added to each entry's own             |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderV2 {
    /// Bytes of one content's key.
    pub key_len: u8,
    /// Bytes of what follows each key.
    pub value_len: u16,
    /// How many entries follow.
    pub entry_count: u32,
    /// How many pack records follow the entries.
    pub pack_count: u32,
    /// How many format records follow the packs.
    pub format_count: u8,
    /// Unix seconds, added to each entry's own. Kopia writes 0.
    pub base_timestamp: u32,
}

/// Bytes of a pack record: length of the name, its place from the start of the index (4 bytes).
pub(super) const PACK_LEN: usize = 5;
/// Bytes of a format record: compression (4 bytes), format version, ID of the encryption key (always 0).
pub(super) const FORMAT_LEN: usize = 6;
/// The shortest value a writer may choose.
pub(super) const VALUE_LEN_MIN: usize = 16;
/// The longest value a writer may choose: with it every field is there.
pub(super) const VALUE_LEN_MAX: usize = 19;
/// The top bit of the offset says that the entry is a deletion marker.
pub(super) const DELETED: u32 = 1 << 31;

impl HeaderV2 {
    /// Bytes of the header.
    pub const SIZE: usize = 17;

    /// Reads the header at the front of an index of version 2.
    ///
    /// # Errors
    /// When the bytes end too soon or the version is another one.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut header = Cursor::new(bytes, "index header");
        match header.u8()? {
            2 => {}
            found => return Err(FormatError::UnknownIndexVersion { found }),
        }
        Ok(Self {
            key_len: header.u8()?,
            value_len: header.u16()?,
            entry_count: header.u32()?,
            pack_count: header.u32()?,
            format_count: header.u8()?,
            base_timestamp: header.u32()?,
        })
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[0] = 2;
        out[1] = self.key_len;
        out[2..4].copy_from_slice(&self.value_len.to_be_bytes());
        out[4..8].copy_from_slice(&self.entry_count.to_be_bytes());
        out[8..12].copy_from_slice(&self.pack_count.to_be_bytes());
        out[12] = self.format_count;
        out[13..17].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out
    }
}

/// What the entries of one index share. The names of packs stay where they are, in the bytes of the index: an index
/// may name millions.
#[derive(Debug)]
pub(super) struct Tables {
    /// Where the records of the packs begin.
    packs_at: usize,
    pack_count: usize,
    formats: Vec<Format>,
    base_timestamp: i64,
}

/// A format record: how the contents that point at it were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) compression: u32,
    pub(super) version: u8,
    /// Anything but 0 makes its entries unreadable.
    pub(super) key_id: u8,
}

pub(super) fn open(data: &[u8]) -> Result<Layout, FormatError> {
    let header = HeaderV2::decode(data)?;
    let value_len = usize::from(header.value_len);
    if !(VALUE_LEN_MIN..=VALUE_LEN_MAX).contains(&value_len) {
        return Err(FormatError::BadIndexHeader {
            field: "entry length",
            found: u64::from(header.value_len),
        });
    }
    let entries_len = entries_len(data, HeaderV2::SIZE, header.key_len, value_len, header.entry_count)?;
    let mut rest = Cursor::new(&data[HeaderV2::SIZE + entries_len..], "index");
    let packs = rest.take((header.pack_count as usize).saturating_mul(PACK_LEN))?;
    let formats = rest.take(usize::from(header.format_count) * FORMAT_LEN)?;
    let mut formats = Cursor::new(formats, "index format");
    let tables = Tables {
        packs_at: HeaderV2::SIZE + entries_len,
        pack_count: packs.len() / PACK_LEN,
        formats: (0..header.format_count)
            .map(|_| {
                Ok(Format {
                    compression: formats.u32()?,
                    version: formats.u8()?,
                    key_id: formats.u8()?,
                })
            })
            .collect::<Result<_, FormatError>>()?,
        base_timestamp: i64::from(header.base_timestamp),
    };
    Ok(Layout {
        entries_at: HeaderV2::SIZE,
        key_len: usize::from(header.key_len),
        value_len,
        count: header.entry_count as usize,
        values: Values::V2(tables),
    })
}

impl Tables {
    /// The name of a pack; `None` where there is no such record, or it points out of the index or at no text.
    fn pack(&self, data: &[u8], number: usize) -> Option<BlobId> {
        let place = self.packs_at + number * PACK_LEN;
        let record = data.get(place..place + PACK_LEN).filter(|_| number < self.pack_count)?;
        let mut record = Cursor::new(record, "index pack");
        let (len, at) = (record.u8().ok()?, record.u32().ok()?);
        name_at(data, at, len)
    }
}

/// Reads what follows the key of an entry of version 2. Numbers are big-endian.
///
/// | bytes  | field           | meaning                                                        |
/// |--------|-----------------|----------------------------------------------------------------|
/// | 0..4   | timestamp       | Unix seconds less the base timestamp                           |
/// | 4..8   | offset in pack  | 31 bits; the top bit marks a deletion                          |
/// | 8..11  | original length | low 24 bits                                                    |
/// | 11..14 | packed length   | low 24 bits                                                    |
/// | 14..16 | pack            | number of the pack record, low 16 bits                         |
/// | 16     | format          | number of the format record; absent means 0                    |
/// | 17     | pack            | bits 16 to 23; absent means 0                                  |
/// | 18     | lengths         | bits 24 to 27: original in the high half, packed in the low one |
pub(super) fn decode_value(
    tables: &Tables,
    data: &[u8],
    id: ContentId,
    place: usize,
    value: &[u8],
) -> Result<IndexEntry, FormatError> {
    let bad = |field, found: u64| FormatError::BadIndexEntry {
        entry: place,
        field,
        found,
    };
    let mut value = Cursor::new(value, "index entry");
    let timestamp = value.u32()?;
    let offset = value.u32()?;
    let original_low = value.u24()?;
    let packed_low = value.u24()?;
    let pack_low = value.u16()?;
    let tail = value.rest();
    let tail = |at: usize| u32::from(tail.get(at).copied().unwrap_or(0));
    let (format, pack_high, lengths_high) = (tail(0), tail(1), tail(2));
    let pack = pack_high << 16 | u32::from(pack_low);
    let format = tables
        .formats
        .get(format as usize)
        .ok_or_else(|| bad("format", u64::from(format)))?;
    if format.key_id != 0 {
        return Err(bad("encryption key", u64::from(format.key_id)));
    }
    let len = |high: u32, low: u32| ContentLen::new((high & 0xf) << 24 | low).expect("28 bits are below the limit");
    let name = tables.pack(data, pack as usize);
    Ok(IndexEntry {
        id,
        pack: name.ok_or_else(|| bad("pack", u64::from(pack)))?,
        offset: PackOffset::new(offset & !DELETED).expect("31 bits are below the limit of an offset"),
        packed_len: len(lengths_high, packed_low),
        original_len: len(lengths_high >> 4, original_low),
        compression: format.compression,
        format_version: format.version,
        timestamp: tables.base_timestamp + i64::from(timestamp),
        deleted: offset & DELETED != 0,
    })
}
