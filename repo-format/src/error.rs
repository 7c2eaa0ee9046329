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
    /// A splitter's name that Kopia does not know either.
    #[error("no splitter is called {found:?}")]
    UnknownSplitter {
        /// What was found, at most 80 characters of it.
        found: String,
    },
    /// A compression's name that Kopia does not know either.
    #[error("no compression is called {found:?}")]
    UnknownCompression {
        /// What was found, at most 80 characters of it.
        found: String,
    },
    /// A number that stands for no compression.
    #[error("no compression has the header id {found:#06x}")]
    UnknownCompressionHeader {
        /// The number found.
        found: u32,
    },
    /// A compressed content begins with the number of another compression than its index entry has.
    #[error("compressed content begins with header id {found:#06x}, its index entry has {expected:#06x}")]
    WrongCompressionHeader {
        /// The number in the index entry.
        expected: u32,
        /// The number before the stream.
        found: u32,
    },
    /// A compressed stream is damaged.
    #[error("{compression} stream cannot be decompressed")]
    Decompress {
        /// The name of the compression.
        compression: &'static str,
        /// What the decoder met.
        source: std::io::Error,
    },
    /// A compressed stream is whole, but does not hold as many bytes as it should.
    #[error("{compression} stream holds {found} bytes, {expected} were expected")]
    DecompressedLength {
        /// The name of the compression.
        compression: &'static str,
        /// The length wanted.
        expected: usize,
        /// The length of what came out.
        found: usize,
    },
    /// A compressed stream holds more bytes than anyone may have asked to store.
    #[error("{compression} stream holds more than the {limit} bytes allowed")]
    DecompressedTooLong {
        /// The name of the compression.
        compression: &'static str,
        /// The most bytes that were allowed.
        limit: usize,
    },
    /// Compression failed: not for want of something to gain, but in the encoder.
    #[error("{compression} encoder failed")]
    Compress {
        /// The name of the compression.
        compression: &'static str,
        /// What the encoder met.
        source: std::io::Error,
    },
    /// An overhead for error correction that Kopia does not offer.
    #[error("error correction can take 1 to 100 percent, not {found}")]
    BadEccOverhead {
        /// The percentage found.
        found: u8,
    },
    /// More shards of a block are damaged than its parity can make good.
    #[error("block {block} has {damaged} damaged shards, its parity can restore {parity}")]
    EccBeyondRepair {
        /// The number of the block in the stored bytes, from zero.
        block: usize,
        /// How many shards, parity included, do not match their checksums.
        damaged: usize,
        /// How many shards the block may lose.
        parity: usize,
    },
    // Packs, indexes, epochs, sessions.

    // Objects, directories, manifests, policies.
}
