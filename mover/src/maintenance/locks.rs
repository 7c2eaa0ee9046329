//! The watchman's rounds: what a snapshot needs stays locked for as long as the repository's settings say, counted from now.

use futures_util::StreamExt;
use jiff::Timestamp;
use windlass_repo_format::format_blob::{BLOB_CONFIG_NAME, FORMAT_BLOB_NAME};

use super::Work;
use super::report::{Outcome, Stats};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::storage::{Retention, StorageError};

/// Everything that is put with a lock begins so.
const LOCKED: [&str; 6] = ["n", "x", FORMAT_BLOB_NAME, BLOB_CONFIG_NAME, "p", "q"];
/// Locks extended at the same time.
const AT_ONCE: usize = 8;

/// Extends the locks of all blobs.
pub(super) fn extend(work: &Work<'_>, now: Timestamp) -> Result<Outcome> {
    let repository = work.repository;
    let config = repository.blob_config();
    let Some(mode) = config.retention_mode else {
        return Ok(Outcome::Nothing("the repository locks nothing".to_owned()));
    };
    let until = now.checked_add(config.retention_period).unwrap_or(Timestamp::MAX);
    let retention = Retention { mode, until };
    let (mut wanted, mut extended) = (0, 0);
    for prefix in LOCKED {
        let failed = |source| repository.storage_failed(format!("cannot list blobs {prefix}*"), source);
        let done = repository
            .storage()
            .list(prefix)
            .map(|blob| async {
                let blob = blob.map_err(failed)?.id;
                work.check_not_cancelled()?;
                if work.dry_run {
                    return Ok(false);
                }
                match repository.storage().extend_retention(&blob, retention).await {
                    Ok(()) => Ok::<_, MoverError>(true),
                    // Deleted by somebody else meanwhile.
                    Err(StorageError::NotFound { .. }) => Ok(false),
                    Err(source) => Err(repository.storage_error("extend the lock of", &blob, source)),
                }
            })
            .buffered(AT_ONCE);
        let mut done = std::pin::pin!(done);
        while let Some(is_done) = block_on(done.next()) {
            wanted += 1;
            extended += u64::from(is_done?);
            work.progress.count(0);
        }
    }
    let seconds = config.retention_period.as_secs();
    Ok(Outcome::Done(Stats::ExtendBlobRetention {
        to_extend_blob_count: wanted,
        extended_blob_count: extended,
        // As Go writes a duration.
        retention_period: format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }))
}
