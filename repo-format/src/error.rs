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
    /// An algorithm this build does not know.
    #[error("unknown {what} {found:?}")]
    UnknownAlgorithm {
        /// What the algorithm is for.
        what: &'static str,
        /// The name that was found, at most 80 characters of it.
        found: String,
    },
    /// The hash secret of the repository is empty, or longer than the algorithm takes.
    #[error("{algorithm} cannot be keyed with a secret of {len} bytes")]
    BadHashSecret {
        /// The hash algorithm.
        algorithm: &'static str,
        /// The length of the secret in bytes.
        len: usize,
    },
    /// The repository has no master key.
    #[error("the repository format holds no master key")]
    NoMasterKey,
    /// Sealed bytes were changed, or sealed with another key or under another name.
    #[error("{what} is damaged, or was sealed with another key")]
    NotAuthentic {
        /// What was to be opened.
        what: &'static str,
    },
    /// A whole blob whose name does not say what it was sealed with.
    #[error("the name of blob {blob} holds no hash")]
    BlobNameWithoutHash {
        /// The blob.
        blob: BlobId,
    },
    /// A whole blob that cannot be opened.
    #[error("cannot open blob {blob}")]
    SealedBlob {
        /// The blob.
        blob: BlobId,
        /// Why not.
        source: Box<FormatError>,
    },
    /// The sealed part of the format blob does not open with the key made from the password.
    #[error("cannot open the format blob: wrong password, or damaged")]
    WrongPassword,
    /// The blob configuration does not open with the key that opens the format blob.
    #[error("cannot open the blob configuration: sealed with another password, or damaged")]
    BlobConfigNotAuthentic,
    /// A value of the format blob, the repository format or the blob configuration that is out of its range.
    #[error("{member} of the repository format is {found}; {expected}")]
    BadFormatMember {
        /// The JSON member.
        member: &'static str,
        /// The value, at most 80 characters of it.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The repository can only be used by programs that know a certain feature.
    #[error("the repository needs a program that understands {feature:?}{}{message}", if message.is_empty() { "" } else { ": " })]
    UnknownRequiredFeature {
        /// The feature.
        feature: String,
        /// What the one who added it wants its users to read; often empty.
        message: String,
    },
    /// The repository was made so that its password cannot be changed.
    #[error("the password of this repository cannot be changed: its data is sealed with a key made from it")]
    PasswordChangeDisabled,
    /// Somebody is upgrading the repository.
    #[error("{owner:?} has locked the repository to upgrade it{}{message}", if message.is_empty() { "" } else { ": " })]
    UpgradeLocked {
        /// Who holds the lock.
        owner: String,
        /// What the owner wants others to read; often empty.
        message: String,
    },
    /// A format blob too long to be copied into packs.
    #[error("a format blob of {len} bytes does not fit into the recovery frame of a pack")]
    RecoveryFrameTooLong {
        /// The length of the format blob in bytes.
        len: usize,
    },

    // Packs, indexes, epochs, sessions.
    /// Text that names no session.
    #[error("{found:?} is not a session ID")]
    BadSessionId {
        /// What was found, at most 80 characters of it.
        found: String,
    },
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
    /// The blob `kopia.maintenance` was sealed with another key, or its bytes have changed.
    #[error("the maintenance schedule does not open with this key")]
    MaintenanceScheduleSeal,
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
    /// A line of a dot file or a rule of a policy that is no ignore rule.
    #[error("{rule:?} is not an ignore rule: {reason}")]
    BadIgnoreRule {
        /// The rule, at most 80 characters of it.
        rule: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl FormatError {
    /// An algorithm name from outside, cut to what a message can show.
    pub(crate) fn unknown_algorithm(what: &'static str, found: &str) -> Self {
        Self::UnknownAlgorithm {
            what,
            found: shown(found),
        }
    }

    /// A value that is out of its range, cut to what a message can show.
    pub(crate) fn bad_format_member(
        member: &'static str,
        found: impl std::fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self::BadFormatMember {
            member,
            found: shown(&found.to_string()),
            expected,
        }
    }
}

/// At most 80 characters of some text from outside.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
