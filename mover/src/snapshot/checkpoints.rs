//! The milestones: what a long run has so far is published now and then, so that clean-up by others spares it and an
//! interrupted run loses little.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tracing::info;
use windlass_repo_format::FormatError;
use windlass_repo_format::identity::Source;
use windlass_repo_format::manifest::ManifestEntry;
use windlass_repo_format::snapshot::{DirEntry, SnapshotManifest, SnapshotStats};

use super::opened::Wrap;
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::pipeline::{CHECKPOINT, Checkpoint};
use crate::repository::WriteSession;

/// Writes the checkpoints of one run.
pub(crate) struct Checkpoints<'a> {
    session: &'a WriteSession,
    /// The snapshot's manifest, of which each checkpoint is an unfinished copy.
    draft: SnapshotManifest,
    wrap: Wrap,
    every: Duration,
    next: Timestamp,
    /// The manifest of the last checkpoint: the next one, or the snapshot itself, takes its place.
    last: Option<ManifestEntry>,
}

impl<'a> Checkpoints<'a> {
    pub(crate) fn new(session: &'a WriteSession, draft: SnapshotManifest, wrap: Wrap, every: Duration) -> Self {
        let next = draft.start_time.checked_add(every).unwrap_or(Timestamp::MAX);
        Self {
            session,
            draft,
            wrap,
            every,
            next,
            last: None,
        }
    }

    /// The manifest of the last checkpoint.
    pub(crate) fn into_last(self) -> Option<ManifestEntry> {
        self.last
    }
}

impl Checkpoint for Checkpoints<'_> {
    fn is_due(&self) -> bool {
        self.session.repository().now() >= self.next
    }

    fn write(&mut self, root: DirEntry, stats: SnapshotStats) -> Result<()> {
        let root = self.wrap.finish(root, Some(CHECKPOINT), self.session)?;
        block_on(self.session.settle())?;
        let now = self.session.repository().now();
        let manifest = SnapshotManifest {
            end_time: now,
            stats,
            incomplete: Some(CHECKPOINT.to_owned()),
            root_entry: Some(root),
            ..self.draft.clone()
        };
        let entry = file(self.session, &manifest)?;
        if let Some(before) = self.last.replace(entry) {
            self.session.delete_manifest(&before);
        }
        block_on(self.session.publish())?;
        info!("checkpoint stored");
        self.next = now.checked_add(self.every).unwrap_or(Timestamp::MAX);
        Ok(())
    }
}

/// Adds a snapshot's manifest to what the session will publish.
pub(crate) fn file(session: &WriteSession, manifest: &SnapshotManifest) -> Result<ManifestEntry> {
    let not_writable = |source| MoverError::NotWritable {
        what: format!("the manifest of the snapshot of {}", Source::from(&manifest.source)),
        source,
    };
    let labels = manifest.labels().map_err(not_writable)?;
    let bytes = manifest.encode().map_err(not_writable)?;
    let data: Box<RawValue> = serde_json::from_slice(&bytes).map_err(|source| {
        not_writable(FormatError::Json {
            what: "the snapshot manifest",
            source,
        })
    })?;
    Ok(session.put_manifest(labels, data))
}
