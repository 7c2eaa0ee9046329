//! The rhythm room: the numbers of the repository format that steer the epochs of its index.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::UnknownMembers;
use crate::FormatError;
use crate::json::lenient::read_object;

/// When index epochs begin, are compacted and cleaned up. Unlike all other members of the format they are spelled in
/// Pascal case; durations are whole nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EpochParameters {
    /// Whether there are epochs at all. Without, the index is a flat set of blobs, and nothing else here counts.
    #[serde(rename = "Enabled")]
    pub enabled: bool,
    /// How old a client's view of the epochs may get.
    #[serde(rename = "EpochRefreshFrequency", serialize_with = "nanoseconds")]
    pub refresh_frequency: Duration,
    /// Every so many epochs a checkpoint of the whole index is made.
    #[serde(rename = "FullCheckpointFrequency")]
    pub full_checkpoint_frequency: u32,
    /// How long a blob that was replaced is kept.
    #[serde(rename = "CleanupSafetyMargin", serialize_with = "nanoseconds")]
    pub cleanup_safety_margin: Duration,
    /// How long an epoch lasts at least.
    #[serde(rename = "MinEpochDuration", serialize_with = "nanoseconds")]
    pub min_epoch_duration: Duration,
    /// An epoch of so many index blobs ends.
    #[serde(rename = "EpochAdvanceOnCountThreshold")]
    pub advance_on_count: u32,
    /// An epoch with so many bytes of index blobs ends.
    #[serde(rename = "EpochAdvanceOnTotalSizeBytesThreshold")]
    pub advance_on_total_size_bytes: u64,
    /// How many blobs are deleted at a time.
    #[serde(rename = "DeleteParallelism")]
    pub delete_parallelism: u32,
    /// Other members.
    #[serde(flatten)]
    pub unknown: UnknownMembers,
}
read_object!(EpochParameters, "epoch parameters", {
    "Enabled" => enabled: bool,
    "EpochRefreshFrequency" => refresh_frequency: Nanoseconds = Nanoseconds::duration,
    "FullCheckpointFrequency" => full_checkpoint_frequency: u32,
    "CleanupSafetyMargin" => cleanup_safety_margin: Nanoseconds = Nanoseconds::duration,
    "MinEpochDuration" => min_epoch_duration: Nanoseconds = Nanoseconds::duration,
    "EpochAdvanceOnCountThreshold" => advance_on_count: u32,
    "EpochAdvanceOnTotalSizeBytesThreshold" => advance_on_total_size_bytes: u64,
    "DeleteParallelism" => delete_parallelism: u32,
}, unknown);

impl EpochParameters {
    /// What Kopia gives a new repository of version 2 or 3.
    pub fn new_default() -> Self {
        Self {
            enabled: true,
            refresh_frequency: Duration::from_secs(20 * 60),
            full_checkpoint_frequency: 7,
            cleanup_safety_margin: Duration::from_secs(4 * 60 * 60),
            min_epoch_duration: Duration::from_secs(24 * 60 * 60),
            advance_on_count: 20,
            advance_on_total_size_bytes: 10 << 20,
            delete_parallelism: 4,
            unknown: UnknownMembers::default(),
        }
    }

    /// Whether Kopia would let a user set these.
    pub fn validate(&self) -> Result<(), FormatError> {
        if !self.enabled {
            return Ok(());
        }
        let refreshes = self.refresh_frequency.saturating_mul(3);
        let shown = |duration: Duration| format!("{duration:?}");
        if self.min_epoch_duration < Duration::from_secs(10 * 60) {
            return Err(FormatError::bad_format_member(
                "MinEpochDuration",
                shown(self.min_epoch_duration),
                "it is 10 minutes or more",
            ));
        }
        if refreshes > self.min_epoch_duration {
            let found = shown(self.refresh_frequency);
            return Err(FormatError::bad_format_member(
                "EpochRefreshFrequency",
                found,
                "three of it fit into MinEpochDuration",
            ));
        }
        if self.full_checkpoint_frequency == 0 {
            return Err(FormatError::bad_format_member(
                "FullCheckpointFrequency",
                0,
                "it is 1 or more",
            ));
        }
        if self.cleanup_safety_margin < refreshes {
            let found = shown(self.cleanup_safety_margin);
            return Err(FormatError::bad_format_member(
                "CleanupSafetyMargin",
                found,
                "it is three times EpochRefreshFrequency or more",
            ));
        }
        if self.advance_on_count < 10 {
            let found = self.advance_on_count;
            return Err(FormatError::bad_format_member(
                "EpochAdvanceOnCountThreshold",
                found,
                "it is 10 or more",
            ));
        }
        if self.advance_on_total_size_bytes < 1 << 20 {
            let found = self.advance_on_total_size_bytes;
            return Err(FormatError::bad_format_member(
                "EpochAdvanceOnTotalSizeBytesThreshold",
                found,
                "it is 1048576 or more",
            ));
        }
        Ok(())
    }
}

/// A duration as a JSON number of nanoseconds. Kopia keeps it in 63 bits and refuses more.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Nanoseconds(u64);

impl TryFrom<u64> for Nanoseconds {
    type Error = &'static str;

    fn try_from(nanoseconds: u64) -> Result<Self, &'static str> {
        match i64::try_from(nanoseconds) {
            Ok(_) => Ok(Self(nanoseconds)),
            Err(_) => Err("a duration of more than 292 years"),
        }
    }
}

impl Nanoseconds {
    pub(super) fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// Durations as JSON numbers of nanoseconds.
pub(super) fn nanoseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
