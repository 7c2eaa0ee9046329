//! The measuring room: numbers that know what they count, so that an offset is never added to a count.

/// Where a content begins inside its pack blob; what a writer makes is always below [`PackOffset::WRITE_LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackOffset(u32);

impl PackOffset {
    /// Kopia's index writer refuses offsets from here on.
    pub const WRITE_LIMIT: u32 = 1 << 30;
    /// The index keeps 31 bits: the top one is the deletion flag.
    pub const READ_LIMIT: u32 = 1 << 31;

    /// An offset as read from an index; `None` at or above [`PackOffset::READ_LIMIT`].
    pub fn new(offset: u32) -> Option<Self> {
        (offset < Self::READ_LIMIT).then_some(Self(offset))
    }

    /// The offset in bytes from the first byte of the pack blob.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// The place `by` bytes further on; `None` where a writer may not go.
    pub fn advance(self, by: ContentLen) -> Option<Self> {
        let next = u64::from(self.0).checked_add(u64::from(by.bytes()))?;
        u32::try_from(next)
            .ok()
            .filter(|next| *next < Self::WRITE_LIMIT)
            .map(Self)
    }
}

/// How many bytes one content has, either as its owner sees it or as it lies in the pack; below [`ContentLen::LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentLen(u32);

impl ContentLen {
    /// The version 2 index keeps 28 bits of a length.
    pub const LIMIT: u32 = 1 << 28;

    /// A length; `None` at or above [`ContentLen::LIMIT`].
    pub fn new(bytes: u32) -> Option<Self> {
        (bytes < Self::LIMIT).then_some(Self(bytes))
    }

    /// The length of a byte string; `None` at or above [`ContentLen::LIMIT`].
    pub fn of(bytes: &[u8]) -> Option<Self> {
        u32::try_from(bytes.len()).ok().and_then(Self::new)
    }

    /// The length in bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// The length as a size in memory.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_stops_where_kopia_stops_writing() {
        let near = PackOffset::new(PackOffset::WRITE_LIMIT - 10).unwrap();
        assert_eq!(
            near.advance(ContentLen::new(9).unwrap()).unwrap().bytes(),
            PackOffset::WRITE_LIMIT - 1
        );
        assert_eq!(near.advance(ContentLen::new(10).unwrap()), None);
        assert_eq!(PackOffset::new(1 << 31), None);
        assert_eq!(ContentLen::new(1 << 28), None);
    }
}
