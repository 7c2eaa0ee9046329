//! The card of the index room: what an index says about one content.

use crate::id::{BlobId, ContentId};
use crate::quantity::{ContentLen, PackOffset};

/// What one index says about one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The content.
    pub id: ContentId,
    /// The pack in which it lies.
    pub pack: BlobId,
    /// Where in the pack its sealed bytes begin.
    pub offset: PackOffset,
    /// How many sealed bytes lie there.
    pub packed_len: ContentLen,
    /// How many bytes the content has once opened and decompressed.
    pub original_len: ContentLen,
    /// The header ID of the compression, 0 for none.
    pub compression: u32,
    /// The format version of the repository that wrote it.
    pub format_version: u8,
    /// When the entry was made, in Unix seconds: the later entry of a content wins.
    pub timestamp: i64,
    /// Whether this entry says that the content is no longer wanted. Its bytes can still be read.
    pub deleted: bool,
}

impl IndexEntry {
    /// Whether this entry wins over another one of the same content: the later one does, then the live one, then the
    /// one with the larger pack name.
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |entry: &Self| (entry.timestamp, !entry.deleted);
        rank(self)
            .cmp(&rank(other))
            .then_with(|| self.pack.cmp(&other.pack))
            .is_gt()
    }

    /// Whether the deletion watermark has passed over this entry: the content is as good as absent.
    pub fn is_dead(&self, watermark: Option<i64>) -> bool {
        self.deleted && watermark.is_some_and(|watermark| self.timestamp <= watermark)
    }
}
