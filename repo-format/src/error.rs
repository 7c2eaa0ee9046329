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
    /// The blob `kopia.maintenance` was sealed with another key, or its bytes have changed.
    #[error("the maintenance schedule does not open with this key")]
    MaintenanceScheduleSeal,
    /// A line of a dot file or a rule of a policy that is no ignore rule.
    #[error("{rule:?} is not an ignore rule: {reason}")]
    BadIgnoreRule {
        /// The rule, at most 80 characters of it.
        rule: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}
