//! The filing room: manifests are collected from their batches, found by label, and typed data put into them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use windlass_repo_format::FormatError;
use windlass_repo_format::id::ContentPrefix;
use windlass_repo_format::json;
use windlass_repo_format::manifest::{ManifestEntry, ManifestSet, decode_batch};
use windlass_repo_format::policy::{PolicySet, PolicyTarget};

use super::Repository;
use crate::error::{MoverError, Result};

/// No batch of manifests inflates beyond this.
const BATCH_LEN_MAX: usize = 1 << 30;
/// How often manifests are looked for in fresh indexes when a batch vanished (another client compacted them).
const ATTEMPTS: usize = 5;

/// All live manifests of a repository at one moment.
#[derive(Debug)]
pub struct Manifests {
    set: ManifestSet,
}

impl Manifests {
    /// The manifests that bear all these labels, oldest change first.
    pub fn find(&self, labels: &[(&str, &str)]) -> Vec<&ManifestEntry> {
        self.set.find(&self::labels(labels))
    }

    /// Every manifest with its labels.
    pub fn all(&self) -> Vec<&ManifestEntry> {
        self.set.live().collect()
    }

    /// The policies among them.
    ///
    /// # Errors
    /// Names the first that cannot be read: without it, nobody knows what it wanted to have kept or left out.
    pub fn policies(&self) -> Result<PolicySet> {
        let mut policies = PolicySet::default();
        for entry in self.find(&[("type", PolicyTarget::MANIFEST_TYPE)]) {
            let added = policies.add(&entry.labels, entry.data_json().as_bytes());
            added.map_err(|source| MoverError::Manifest {
                id: entry.id.to_string(),
                source,
            })?;
        }
        Ok(policies)
    }
}

impl Repository {
    /// Reads all manifests.
    ///
    /// # Errors
    /// One unreadable batch is an error: what it may have deleted or replaced cannot be known.
    pub async fn manifests(&self) -> Result<Manifests> {
        let mut attempt = 1;
        loop {
            match self.load_manifests().await {
                Err(MoverError::ContentMissing { .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                    self.refresh().await?;
                }
                loaded => return loaded,
            }
        }
    }

    async fn load_manifests(&self) -> Result<Manifests> {
        let mut set = ManifestSet::new();
        for entry in self.live_contents(Some(ContentPrefix::MANIFEST))? {
            let id = entry.id;
            let batch = self.read_content(&id).await?;
            let entries = decode_batch(&batch, BATCH_LEN_MAX).map_err(|source| MoverError::Manifest {
                id: id.to_string(),
                source,
            })?;
            entries.into_iter().for_each(|entry| set.add(entry));
        }
        Ok(Manifests { set })
    }

    /// A manifest's data as the bytes that Kopia would write.
    pub(crate) fn manifest_data<T: Serialize>(&self, what: &'static str, data: &T) -> Result<Box<RawValue>> {
        let encoded = json::to_vec(data)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|source| FormatError::Json { what, source }));
        encoded.map_err(|source| MoverError::NotWritable {
            what: format!("the {what} manifest"),
            source,
        })
    }
}

/// Labels as the map that a manifest keeps.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
