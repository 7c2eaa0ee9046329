//! The caption room: a snapshot in words and in JSON, the same in every command.

use serde_json::{Value, json};
use windlass_mover::snapshots::Snapshot;
use windlass_repo_format::snapshot::{DirEntry, SnapshotManifest, SourceInfo};

/// A source as people write it.
pub(super) fn source_text(source: &SourceInfo) -> String {
    format!("{}@{}:{}", source.user_name, source.host, source.path)
}

/// How much there is below a root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub files: u64,
    pub bytes: u64,
    pub directories: u64,
    pub symlinks: u64,
}

impl Amount {
    /// By the root's summary, or by what the root itself is where it has none.
    pub(super) fn of(manifest: &SnapshotManifest) -> Self {
        match &manifest.root_entry {
            None => Self::default(),
            Some(DirEntry {
                summary: Some(summary), ..
            }) => Self {
                files: summary.files,
                bytes: summary.size,
                directories: summary.dirs,
                symlinks: summary.symlinks,
            },
            Some(root) => Self {
                files: 1,
                bytes: root.size,
                ..Self::default()
            },
        }
    }
}

/// The first 12 digits of the ID, as tables have room for. Should two snapshots share them, commands ask for more.
pub(super) fn short_id(snapshot: &Snapshot) -> String {
    snapshot.id.to_string()[..12].to_owned()
}

/// What is said of every snapshot in JSON.
pub(super) fn json(snapshot: &Snapshot) -> Value {
    let manifest = &snapshot.manifest;
    let mut value = manifest_json(manifest);
    let root = manifest.root_entry.as_ref();
    let summary = root.and_then(|root| root.summary.as_ref());
    value["id"] = json!(snapshot.id.to_string());
    value["failures"] = json!(summary.map_or(0, |summary| summary.num_failed));
    value["ignoredFailures"] = json!(summary.map_or(0, |summary| summary.num_ignored_errors));
    value
}

/// What a manifest says, in JSON.
pub(super) fn manifest_json(manifest: &SnapshotManifest) -> Value {
    let amount = Amount::of(manifest);
    let root = manifest.root_entry.as_ref().and_then(|root| root.object);
    json!({
        "id": "",
        "root": root.map(|root| root.to_string()).unwrap_or_default(),
        "source": {
            "userName": manifest.source.user_name,
            "host": manifest.source.host,
            "path": manifest.source.path,
        },
        "description": manifest.description,
        "startTime": manifest.start_time.to_string(),
        "endTime": manifest.end_time.to_string(),
        "files": amount.files,
        "bytes": amount.bytes,
        "directories": amount.directories,
        "symlinks": amount.symlinks,
        "incomplete": manifest.incomplete,
        "tags": manifest.tags,
        "pins": manifest.pins,
    })
}
