//! The archive of the index room: which index blobs count in a repository of format version 1, which has no epochs.

use std::collections::HashSet;

use serde::Deserialize;

use crate::FormatError;
use crate::id::BlobId;

/// What names of index blobs begin with.
pub const INDEX_PREFIX: &str = "n";
/// What names of compaction logs begin with.
pub const COMPACTION_LOG_PREFIX: &str = "m";

/// Left behind by an upgrade to a version with epochs: makes old programs stop. It is no index.
const POISON_PREFIX: &str = "n00000000000000000000000000000000-repository_unreadable";

/// A compaction log: these indexes were merged into those. Sealed JSON in a blob named `m<hash>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactionLog {
    /// The indexes that are no longer needed once all outputs are there.
    pub inputs: Vec<BlobId>,
    /// The indexes that replace them.
    pub outputs: Vec<BlobId>,
}

impl CompactionLog {
    /// Reads the opened body of an `m` blob.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn parse(json: &[u8]) -> Result<Self, FormatError> {
        let log: StoredLog = serde_json::from_slice(json).map_err(|source| FormatError::Json {
            what: "index compaction log",
            source,
        })?;
        let ids = |blobs: Option<Vec<StoredBlob>>| blobs.unwrap_or_default().into_iter().map(|blob| blob.id.into());
        Ok(Self {
            inputs: ids(log.input_metadata).collect(),
            outputs: ids(log.output_metadata).collect(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredLog {
    input_metadata: Option<Vec<StoredBlob>>,
    output_metadata: Option<Vec<StoredBlob>>,
}

#[derive(Deserialize)]
struct StoredBlob {
    id: String,
}

/// The index blobs that count, in the order given: all `n` blobs but those that a compaction has replaced, which holds
/// only where all of its outputs are there.
pub fn active_index_blobs(blobs: impl IntoIterator<Item = BlobId>, logs: &[CompactionLog]) -> Vec<BlobId> {
    let is_index = |id: &BlobId| id.as_str().starts_with(INDEX_PREFIX) && !id.as_str().starts_with(POISON_PREFIX);
    let mut active: Vec<BlobId> = blobs.into_iter().filter(is_index).collect();
    let present: HashSet<&BlobId> = active.iter().collect();
    let complete = |log: &&CompactionLog| log.outputs.iter().all(|output| present.contains(output));
    let replaced: HashSet<&BlobId> = logs.iter().filter(complete).flat_map(|log| &log.inputs).collect();
    let replaced: HashSet<BlobId> = replaced.into_iter().cloned().collect();
    active.retain(|id| !replaced.contains(id));
    active
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(blobs: &[&str], inputs: &[&str], outputs: &[&str]) -> Vec<String> {
        let ids = |names: &[&str]| names.iter().map(|name| BlobId::from(*name)).collect::<Vec<_>>();
        let log = CompactionLog {
            inputs: ids(inputs),
            outputs: ids(outputs),
        };
        let active = active_index_blobs(ids(blobs), &[log]);
        active.iter().map(BlobId::to_string).collect()
    }

    #[test]
    fn inputs_count_until_all_outputs_are_there() {
        assert_eq!(active(&["n1", "n2", "n3"], &["n1", "n2"], &["n3"]), ["n3"]);
        assert_eq!(
            active(&["n1", "n2", "n3"], &["n1", "n2"], &["n3", "n4"]),
            ["n1", "n2", "n3"]
        );
    }

    #[test]
    fn what_an_upgrade_leaves_behind_is_no_index() {
        let poison = "n00000000000000000000000000000000-repository_unreadable_by_this_kopia_version_upgrade_required";
        assert_eq!(active(&["n1", poison, "m1"], &[], &[]), ["n1"]);
    }

    #[test]
    fn a_log_without_lists_is_an_empty_one() {
        let empty = CompactionLog::parse(br#"{"inputMetadata":null,"new":1}"#).unwrap();
        assert_eq!(empty, CompactionLog::default());
        assert!(CompactionLog::parse(b"[]1").is_err());
    }
}
