//! The logbook's pages: what a maintenance did, left and why, for people and for programs.

use jiff::Timestamp;
use serde::Serialize;
use windlass_repo_format::maintenance::Task;

use super::Mode;

/// Things and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their bytes in storage.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What was left as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why it was left.
    pub why: &'static str,
    /// How much.
    pub tally: Tally,
}

/// What one run of maintenance did, or would do.
#[derive(Clone, Debug, PartialEq)]
pub struct MaintainReport {
    /// What was carried out; `None` when nothing was due.
    pub mode: Option<Mode>,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// When it began, by the storage's clock.
    pub start: Timestamp,
    /// Every step in its order.
    pub tasks: Vec<TaskReport>,
}

/// One step of a maintenance.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskReport {
    /// Which.
    pub task: Task,
    /// How it went.
    pub outcome: Outcome,
    /// What it left.
    pub kept: Vec<Kept>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done.
    Done(Stats),
    /// There was nothing to do, or it is not yet time, for this reason.
    Nothing(String),
}

/// What a step did, with the names that Kopia's schedule has for it. Sizes are bytes in storage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Stats {
    /// A collection.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    SnapshotGc {
        unreferenced_content_count: u64,
        unreferenced_content_size: u64,
        deleted_content_count: u64,
        deleted_content_size: u64,
        unreferenced_recent_content_count: u64,
        unreferenced_recent_content_size: u64,
        in_use_content_count: u64,
        in_use_content_size: u64,
        in_use_system_content_count: u64,
        in_use_system_content_size: u64,
        recovered_content_count: u64,
        recovered_content_size: u64,
    },
    /// A rewrite.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    RewriteContents {
        to_rewrite_content_count: u64,
        to_rewrite_content_size: u64,
        rewritten_content_count: u64,
        rewritten_content_size: u64,
        retained_content_count: u64,
        retained_content_size: u64,
    },
    /// The watermark moved on.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    CompactIndexes { dropped_contents_deleted_before: Timestamp },
    /// Packs and session markers that no index names.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    DeleteUnreferencedPacks {
        unreferenced_pack_count: u64,
        unreferenced_total_size: u64,
        deleted_pack_count: u64,
        deleted_total_size: u64,
        retained_pack_count: u64,
        retained_total_size: u64,
    },
    /// Locks that were extended.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    ExtendBlobRetention {
        to_extend_blob_count: u64,
        extended_blob_count: u64,
        retention_period: String,
    },
    /// One epoch's index blobs became a set.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    CompactSingleEpoch {
        superseded_index_blob_count: u64,
        superseded_index_total_size: u64,
        epoch: u64,
    },
    /// The write epoch.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    AdvanceEpoch { current_epoch: u64, was_advanced: bool },
    /// Many epochs' index blobs became a set.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    GenerateRangeCheckpoint { range_min_epoch: u64, range_max_epoch: u64 },
    /// Markers and watermarks that were deleted.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    CleanupMarkers {
        deleted_epoch_marker_blob_count: u64,
        deleted_watermark_blob_count: u64,
    },
    /// Index blobs that were deleted.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    CleanupSupersededIndexes {
        max_replacement_time: Timestamp,
        deleted_blob_count: u64,
        deleted_total_size: u64,
    },
    /// Logs that were deleted.
    #[expect(missing_docs, reason = "the names are Kopia's and say it")]
    CleanupLogs {
        to_delete_blob_count: u64,
        to_delete_blob_size: u64,
        deleted_blob_count: u64,
        deleted_blob_size: u64,
        retained_blob_count: u64,
        retained_blob_size: u64,
    },
}

impl Stats {
    /// What Kopia calls such figures.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SnapshotGc { .. } => "snapshotGCStats",
            Self::RewriteContents { .. } => "rewriteContentsStats",
            Self::CompactIndexes { .. } => "compactIndexesStats",
            Self::DeleteUnreferencedPacks { .. } => "deleteUnreferencedPacksStats",
            Self::ExtendBlobRetention { .. } => "extendBlobRetentionStats",
            Self::CompactSingleEpoch { .. } => "compactSingleEpochStats",
            Self::AdvanceEpoch { .. } => "advanceEpochStats",
            Self::GenerateRangeCheckpoint { .. } => "generateRangeCheckpointStats",
            Self::CleanupMarkers { .. } => "cleanupMarkersStats",
            Self::CleanupSupersededIndexes { .. } => "cleanupSupersededIndexesStats",
            Self::CleanupLogs { .. } => "cleanupLogsStats",
        }
    }
}
