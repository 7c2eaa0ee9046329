//! The plain twins: decoders written from the tables of the format alone, without regard to speed, to be compared with.

/// An entry of an index as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaiveEntry {
    /// The key: prefix letter or zero, and the hash.
    pub key: Vec<u8>,
    /// Unix seconds.
    pub timestamp: i64,
    /// The name of the pack.
    pub pack: String,
    /// Bytes before the content in its pack.
    pub offset: u32,
    /// Bytes in the pack.
    pub packed_len: u32,
    /// Bytes of the content.
    pub original_len: u32,
    /// Header of the compression, or zero.
    pub compression: u32,
    /// Version of the repository's format.
    pub version: u8,
    /// Whether it marks a deletion.
    pub deleted: bool,
}

/// A number of so many bytes, the most significant first.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let mut value = 0_u64;
    for byte in bytes.get(at..at.checked_add(len)?)? {
        value = value * 256 + u64::from(*byte);
    }
    Some(value)
}

fn text(bytes: &[u8], at: usize, len: usize) -> Option<String> {
    let name = bytes.get(at..at.checked_add(len)?)?;
    Some(std::str::from_utf8(name).ok()?.to_owned())
}

/// How many entries an index says it has, and how long key and value are.
fn header(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    let key = number(bytes, 1, 1)? as usize;
    let value = number(bytes, 2, 2)? as usize;
    let count = number(bytes, 4, 4)? as usize;
    Some((key, value, count))
}

/// The entry at a place of an index of version 1; `None` where it cannot be read.
pub fn entry_v1(bytes: &[u8], place: usize) -> Option<NaiveEntry> {
    const LEN_MAX: u64 = 1 << 28;
    let (key_len, value_len, _) = header(bytes)?;
    let at = 8 + place * (key_len + value_len);
    let value = at + key_len;
    let flagged = number(bytes, value + 12, 4)?;
    let packed = number(bytes, value + 16, 4)?;
    (28..LEN_MAX).contains(&packed).then_some(())?;
    Some(NaiveEntry {
        key: bytes.get(at..value)?.to_vec(),
        timestamp: number(bytes, value, 6)? as i64,
        version: number(bytes, value + 6, 1)? as u8,
        pack: text(
            bytes,
            number(bytes, value + 8, 4)? as usize,
            number(bytes, value + 7, 1)? as usize,
        )?,
        offset: (flagged % (1 << 31)) as u32,
        deleted: flagged >> 31 == 1,
        packed_len: packed as u32,
        original_len: packed as u32 - 28,
        compression: 0,
    })
}

/// The entry at a place of an index of version 2; `None` where it cannot be read.
pub fn entry_v2(bytes: &[u8], place: usize) -> Option<NaiveEntry> {
    let (key_len, value_len, count) = header(bytes)?;
    let (packs, formats) = (number(bytes, 8, 4)? as usize, number(bytes, 12, 1)? as usize);
    let at = 17 + place * (key_len + value_len);
    let value = at + key_len;
    let tail = |byte: usize| {
        if byte < value_len {
            number(bytes, value + byte, 1)
        } else {
            Some(0)
        }
    };
    let flagged = number(bytes, value + 4, 4)?;
    let pack = (number(bytes, value + 14, 2)? + tail(17)? * 65_536) as usize;
    let format = tail(16)? as usize;
    let (high_original, high_packed) = (tail(18)? / 16, tail(18)? % 16);
    let packs_at = 17 + count * (key_len + value_len);
    let formats_at = packs_at + packs * 5;
    (pack < packs && format < formats).then_some(())?;
    let record = packs_at + pack * 5;
    let how = formats_at + format * 6;
    (number(bytes, how + 5, 1)? == 0).then_some(())?;
    Some(NaiveEntry {
        key: bytes.get(at..value)?.to_vec(),
        timestamp: number(bytes, 13, 4)? as i64 + number(bytes, value, 4)? as i64,
        pack: text(
            bytes,
            number(bytes, record + 1, 4)? as usize,
            number(bytes, record, 1)? as usize,
        )?,
        offset: (flagged % (1 << 31)) as u32,
        deleted: flagged >> 31 == 1,
        packed_len: (high_packed * (1 << 24) + number(bytes, value + 11, 3)?) as u32,
        original_len: (high_original * (1 << 24) + number(bytes, value + 8, 3)?) as u32,
        compression: number(bytes, how, 4)? as u32,
        version: number(bytes, how + 4, 1)? as u8,
    })
}

/// The bytes of hexadecimal digits, small ones only.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| b"0123456789abcdef".iter().position(|known| *known == letter);
    let digits: Option<Vec<usize>> = text.bytes().map(digit).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}
