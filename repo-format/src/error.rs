//! The complaints room: everything that can be wrong with the bytes of a repository.

use crate::id::{BlobId, ContentId};

/// What is wrong with some bytes of a repository. Every case is permanent: the same bytes will fail again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    // Shared by all rooms.
    /// The bytes end before the structure does.
    #[error("{what} is cut short: {wanted} more bytes wanted, {available} there")]
    Truncated {
        /// The structure being read.
        what: &'static str,
        /// How many bytes the next field takes.
        wanted: usize,
        /// How many bytes are left.
        available: usize,
    },
    /// A variable-length number does not end within ten bytes.
    #[error("{what} holds a variable-length number that does not end")]
    VarintTooLong {
        /// The structure being read.
        what: &'static str,
    },
    /// Text that should be JSON of a certain shape is not.
    #[error("{what} is not the JSON that was expected")]
    Json {
        /// The structure being read.
        what: &'static str,
        /// What the parser met.
        source: serde_json::Error,
    },

    // Names.
    /// Text or an index key that names no content.
    #[error("{found:?} is not a content ID")]
    BadContentId {
        /// What was found, at most 80 characters of it.
        found: String,
    },
    /// Text that names no object.
    #[error("{found:?} is not an object ID")]
    BadObjectId {
        /// What was found, at most 80 characters of it.
        found: String,
    },
    // Algorithms and keys (hashing, encryption, compression, splitter, ecc, format_blob).

    // Packs, indexes, epochs, sessions.
    /// An index of a version that nobody has written yet.
    #[error("index has version {found}; this build reads 1 and 2")]
    UnknownIndexVersion {
        /// The first byte of the index.
        found: u8,
    },
    /// A number in an index header that no writer can have meant.
    #[error("index header says {field} {found}")]
    BadIndexHeader {
        /// The field of the header.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
    /// An index entry that points at nothing, or whose numbers are out of range.
    #[error("entry {entry} of the index has the bad {field} {found}")]
    BadIndexEntry {
        /// Which entry, counted from zero.
        entry: usize,
        /// The field of the entry.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
    /// Index entries that are not strictly sorted by content.
    #[error("index entry {id} is not in its place: entries have to be strictly sorted and of one key length")]
    IndexNotSorted {
        /// The content that comes too late.
        id: ContentId,
    },
    /// An entry that does not fit into an index.
    #[error("{field} {found} of content {id} does not fit into an index")]
    IndexEntryTooLarge {
        /// The content.
        id: ContentId,
        /// The field of the entry.
        field: &'static str,
        /// What it should have held.
        found: i64,
    },
    /// One index cannot hold so many entries, packs or formats.
    #[error("one index cannot hold more than {limit} {what}")]
    IndexFull {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A content that begins or ends where Kopia's index could not say it.
    #[error("pack {pack} of {len} bytes has no room for one more content of {wanted} bytes")]
    PackFull {
        /// The pack.
        pack: BlobId,
        /// Its length so far, in bytes.
        len: usize,
        /// The sealed length of the content, in bytes.
        wanted: usize,
    },
    /// The end of a pack is not a postamble: its local index cannot be found.
    #[error("pack does not end with a postamble: {why}")]
    NoPostamble {
        /// What is missing or wrong.
        why: &'static str,
    },
    // Objects, directories, manifests, policies.
}
