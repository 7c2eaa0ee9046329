//! The complaints room: everything that can be wrong with the bytes of a repository.

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

    // Objects, directories, manifests, policies.
    /// A value has no spelling in JSON.
    #[error("a value cannot be written as JSON")]
    NotJson {
        /// What the serialiser met.
        source: serde_json::Error,
    },
    /// A time outside the years 0 to 9999, which no timestamp of the format can say.
    #[error("the time {seconds} s after 1970 lies outside the years 0 to 9999 and cannot be written")]
    TimeNotWritable {
        /// Seconds since the Unix epoch.
        seconds: i64,
    },
    /// A stream of entries ends before its object is closed.
    #[error("{what} is cut short")]
    StreamCut {
        /// The structure being read.
        what: &'static str,
    },
    /// A stream of entries has a byte where JSON allows none like it.
    #[error("{what} is no JSON object: unexpected byte 0x{byte:02x} between its members")]
    StreamBroken {
        /// The structure being read.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
    /// A stream of entries says that it is something else, or does not say what it is.
    #[error("{what} should be the stream {expected:?}, but is {found:?}")]
    WrongStream {
        /// The structure being read.
        what: &'static str,
        /// The name it should have.
        expected: &'static str,
        /// The name it has, at most 80 characters of it; empty when there is none.
        found: String,
    },
    /// A stream has two lists of entries.
    #[error("{what} has two lists of entries")]
    EntriesTwice {
        /// The structure being read.
        what: &'static str,
    },
    /// One value of a stream is longer than any writer makes it.
    #[error("{what} holds a value of more than {limit} bytes")]
    ValueTooLong {
        /// The structure being read.
        what: &'static str,
        /// The longest value that is read, in bytes.
        limit: usize,
    },
    /// A list of parts does not follow on: a gap, an overlap, or a length beyond 64 bits.
    #[error("part of an object begins at {found}, but the one before it ends at {expected}")]
    PartMisplaced {
        /// Where the part should begin, in bytes.
        expected: u64,
        /// Where it says it begins, in bytes.
        found: u64,
    },
    /// A list of parts reaches beyond what 63 bits can count.
    #[error("part of an object at {start} is {len} bytes long, more than an object can be")]
    ObjectTooLong {
        /// Where the part begins, in bytes.
        start: u64,
        /// How long it is, in bytes.
        len: u64,
    },
    /// A list of parts that names none: not even an empty object is written that way.
    #[error("list of parts is empty")]
    NoParts,
    /// A batch of manifests is not the gzip stream it should be.
    #[error("batch of manifests does not decompress")]
    ManifestGzip {
        /// What the decompressor met.
        source: std::io::Error,
    },
    /// A batch of manifests is longer than the caller allows.
    #[error("batch of manifests is longer than {limit} bytes")]
    ManifestBatchTooLong {
        /// The most that is taken, in bytes.
        limit: usize,
    },
    /// Text that names no manifest.
    #[error("{found:?} is not a manifest ID")]
    BadManifestId {
        /// What was found, at most 80 characters of it.
        found: String,
    },
    /// Text that is no mode word.
    #[error("{found:?} is not a mode word")]
    BadMode {
        /// What was found, at most 80 characters of it.
        found: String,
    },
    /// A tag of a snapshot whose key already has a meaning among the labels of a manifest.
    #[error("a snapshot cannot have the tag {key:?}: the label of that name is taken")]
    ReservedTag {
        /// The key.
        key: String,
    },
    /// The source of a snapshot lacks one of its three parts.
    #[error("a snapshot must have a host, a user and a path: {field} is empty")]
    EmptySource {
        /// The part that is empty.
        field: &'static str,
    },
    /// Directory entries were given in another order than they are stored in.
    #[error(
        "directory entry {name:?} does not come after {previous:?}: directories first, then by the bytes of the name"
    )]
    EntryOutOfOrder {
        /// The entry before.
        previous: String,
        /// The entry that should have come before it.
        name: String,
    },
}
