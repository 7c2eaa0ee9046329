//! The waste paper: logs that Kopia keeps in the repository and that are too many, too large or too old.

use futures_util::StreamExt;
use jiff::Timestamp;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::maintenance::{LogRetention, logs_kept};

use super::Work;
use super::report::{Outcome, Stats, Tally};
use crate::blocking::block_on;
use crate::error::Result;

/// What the names of logs begin with.
const PREFIX: &str = "_";
/// So many logs are looked at in one run, the newest; those behind them wait for the next: about 150 bytes each.
const LOGS_MAX: usize = 50_000;

/// Deletes old logs.
pub(super) fn clean_up(work: &Work<'_>, retention: LogRetention, now: Timestamp) -> Result<Outcome> {
    let repository = work.repository;
    let mut logs: Vec<(Timestamp, BlobId, u64)> = Vec::new();
    let mut listed = repository.storage().list(PREFIX);
    while let Some(log) = block_on(listed.next()) {
        let log = log.map_err(|source| repository.storage_failed(format!("cannot list blobs {PREFIX}*"), source))?;
        logs.push((log.modified, log.id, log.len));
        if logs.len() >= 2 * LOGS_MAX {
            keep_newest(&mut logs);
        }
    }
    drop(listed);
    keep_newest(&mut logs);
    let lens_and_times = logs.iter().map(|(modified, _, len)| (*len, *modified));
    let kept = logs_kept(lens_and_times, &retention.or_default(), now);
    let (mut retained, mut old) = (Tally::default(), Tally::default());
    for (place, (_, blob, len)) in logs.iter().enumerate() {
        if place < kept {
            retained.add(*len);
            continue;
        }
        old.add(*len);
        if work.dry_run {
            continue;
        }
        work.check_not_cancelled()?;
        block_on(work.delete(blob))?;
    }
    let deleted = if work.dry_run { Tally::default() } else { old };
    Ok(Outcome::Done(Stats::CleanupLogs {
        to_delete_blob_count: old.count,
        to_delete_blob_size: old.bytes,
        deleted_blob_count: deleted.count,
        deleted_blob_size: deleted.bytes,
        retained_blob_count: retained.count,
        retained_blob_size: retained.bytes,
    }))
}

fn keep_newest(logs: &mut Vec<(Timestamp, BlobId, u64)>) {
    logs.sort_unstable_by(|a, b| b.cmp(a));
    logs.truncate(LOGS_MAX);
}
