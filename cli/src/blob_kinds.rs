//! The sorting office: what the blobs of a repository are for, by how their names begin.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a blob is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BlobKind {
    /// Packs of file data.
    Data,
    /// Packs of directories and manifests.
    Metadata,
    /// Indexes and what belongs to them.
    Index,
    /// Marks of running writers.
    Session,
    /// Settings and the schedule of maintenance.
    Settings,
    /// Kopia's logs.
    Log,
    /// Anything else.
    Other,
}

impl BlobKind {
    /// The kind of a blob of this name.
    pub(crate) fn of(name: &str) -> Self {
        match name.as_bytes().first() {
            Some(b'p') => Self::Data,
            Some(b'q') => Self::Metadata,
            Some(b'x' | b'n') => Self::Index,
            Some(b's') => Self::Session,
            _ if name.starts_with("kopia.") => Self::Settings,
            _ if name.starts_with("_log") => Self::Log,
            _ => Self::Other,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Data => "dataPacks",
            Self::Metadata => "metadataPacks",
            Self::Index => "indexes",
            Self::Session => "sessions",
            Self::Settings => "settings",
            Self::Log => "logs",
            Self::Other => "others",
        }
    }

    /// The kind in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Data => "packs of data",
            Self::Metadata => "packs of metadata",
            Self::Index => "indexes",
            Self::Session => "session markers",
            Self::Settings => "settings",
            Self::Log => "logs",
            Self::Other => "other blobs",
        }
    }
}

/// How many blobs of each kind there are, and how many bytes.
#[derive(Debug, Default)]
pub(crate) struct BlobTally(BTreeMap<BlobKind, (u64, u64)>);

impl BlobTally {
    /// Counts a blob.
    pub(crate) fn add(&mut self, name: &str, len: u64) {
        let (count, bytes) = self.0.entry(BlobKind::of(name)).or_default();
        *count += 1;
        *bytes += len;
    }

    /// Number and bytes of each kind there is.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (BlobKind, u64, u64)> {
        self.0.iter().map(|(kind, (count, bytes))| (*kind, *count, *bytes))
    }

    /// Number and bytes of all.
    pub(crate) fn total(&self) -> (u64, u64) {
        self.0
            .values()
            .fold((0, 0), |(count, bytes), more| (count + more.0, bytes + more.1))
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let (count, bytes) = self.total();
        let of = |(kind, count, bytes): (BlobKind, u64, u64)| {
            (kind.key().to_owned(), json!({"count": count, "bytes": bytes}))
        };
        let kinds: serde_json::Map<String, Value> = self.kinds().map(of).collect();
        json!({"count": count, "bytes": bytes, "kinds": kinds})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_kind() {
        for (name, kind) in [
            ("p0123456789abcdef-s1", BlobKind::Data),
            ("q0123456789abcdef-s1", BlobKind::Metadata),
            ("xn0_0123-s1-c1", BlobKind::Index),
            ("xe1", BlobKind::Index),
            ("n0123", BlobKind::Index),
            ("s0123-s1", BlobKind::Session),
            ("kopia.repository", BlobKind::Settings),
            ("_log_20240101", BlobKind::Log),
            ("", BlobKind::Other),
            ("zzz", BlobKind::Other),
        ] {
            assert_eq!(BlobKind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn a_tally_adds_up() {
        let mut tally = BlobTally::default();
        tally.add("p1", 10);
        tally.add("p2", 20);
        tally.add("kopia.blobcfg", 1);
        assert_eq!(tally.total(), (3, 31));
        assert_eq!(tally.json()["kinds"]["dataPacks"], json!({"count": 2, "bytes": 30}));
    }
}
