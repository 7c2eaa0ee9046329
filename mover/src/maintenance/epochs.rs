//! The binding of the catalogue: epochs begin, their index blobs become sets, and what those replace is deleted later.

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use windlass_repo_format::epoch::{
    EPOCH_MARKER_BODY, EpochState, ListedBlob, WATERMARK_BODY, epoch_marker, range_blob_prefix, single_blob_prefix,
    watermark_blob,
};
use windlass_repo_format::id::BlobId;

use super::Work;
use super::report::{Kept, Outcome, Stats, Tally};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::mapped::Reading;
use crate::repository::{Repository, names};
use crate::storage::StorageError;

/// Blobs deleted at the same time.
const DELETES_AT_ONCE: usize = 8;

fn read(repository: &Repository) -> Result<EpochState> {
    block_on(repository.read_epochs())
}

fn total(blobs: &[ListedBlob]) -> u64 {
    blobs.iter().map(|blob| blob.len).sum()
}

/// Makes the index blobs of the oldest epoch that has none into one set.
pub(super) fn compact_single(work: &Work<'_>) -> Result<Outcome> {
    let state = read(work.repository)?;
    let Some(epoch) = state.next_to_compact() else {
        return Ok(Outcome::Nothing("every epoch that has ended is compacted".to_owned()));
    };
    let inputs = state.uncompacted(epoch);
    if inputs.is_empty() {
        return Ok(Outcome::Nothing(format!("epoch {epoch} has no index blobs")));
    }
    if !work.dry_run {
        let prefix = single_blob_prefix(epoch);
        block_on(work.repository.store_compacted(&names(inputs), &prefix))?;
    }
    Ok(Outcome::Done(Stats::CompactSingleEpoch {
        superseded_index_blob_count: inputs.len() as u64,
        superseded_index_total_size: total(inputs),
        epoch,
    }))
}

/// Begins the next epoch if this one is old and full enough.
pub(super) fn advance(work: &Work<'_>) -> Result<Outcome> {
    let state = read(work.repository)?;
    let epoch = state.write_epoch();
    let settings = &work.repository.format().epoch;
    let was_advanced = state.should_advance(
        SignedDuration::try_from(settings.min_epoch_duration).unwrap_or(SignedDuration::MAX),
        settings.advance_on_count as usize,
        settings.advance_on_total_size_bytes,
    );
    if was_advanced && !work.dry_run {
        put(work.repository, &epoch_marker(epoch + 1), EPOCH_MARKER_BODY)?;
    }
    Ok(Outcome::Done(Stats::AdvanceEpoch {
        current_epoch: epoch + u64::from(was_advanced),
        was_advanced,
    }))
}

/// Makes the index blobs of many epochs into one set.
pub(super) fn compact_range(work: &Work<'_>) -> Result<Outcome> {
    let state = read(work.repository)?;
    let frequency = work.repository.format().epoch.full_checkpoint_frequency;
    // A range of one epoch would never be read.
    let range = state.next_range(u64::from(frequency.max(1)));
    let Some((first, last)) = range else {
        return Ok(Outcome::Nothing(
            "too few epochs have ended since the last range".to_owned(),
        ));
    };
    if !work.dry_run {
        let inputs = names(state.index_blobs_between(first, last));
        let prefix = range_blob_prefix(first, last);
        block_on(work.repository.store_compacted(&inputs, &prefix))?;
    }
    Ok(Outcome::Done(Stats::GenerateRangeCheckpoint {
        range_min_epoch: first,
        range_max_epoch: last,
    }))
}

/// Moves the deletion watermark on: what was marked deleted up to then is gone. It never moves back.
pub(super) fn drop_deleted(work: &Work<'_>, up_to: Timestamp) -> Result<Outcome> {
    let state = read(work.repository)?;
    let seconds = up_to.as_second();
    if state.deletion_watermark().is_some_and(|now| seconds < now) {
        return Ok(Outcome::Nothing("what may be dropped is dropped already".to_owned()));
    }
    if !work.dry_run {
        put(work.repository, &watermark_blob(seconds), WATERMARK_BODY)?;
        block_on(work.repository.refresh())?;
    }
    Ok(Outcome::Done(Stats::CompactIndexes {
        dropped_contents_deleted_before: up_to,
    }))
}

/// The time before which a blob must have been written for everybody to know of it: the newest index blob's, less a
/// margin. `None` where no index blob tells the time.
fn known_to_all(work: &Work<'_>, state: &EpochState) -> Option<Timestamp> {
    let margin = work.repository.format().epoch.cleanup_safety_margin;
    state.storage_time()?.checked_sub(margin).ok()
}

/// Deletes epoch markers and watermarks that newer ones have replaced.
pub(super) fn cleanup_markers(work: &Work<'_>) -> Result<Outcome> {
    let state = read(work.repository)?;
    let Some(before) = known_to_all(work, &state) else {
        return Ok(Outcome::Nothing("no index blob tells the time".to_owned()));
    };
    let markers = names(state.stale_markers());
    let watermarks = names(state.stale_watermarks(before));
    let stats = Stats::CleanupMarkers {
        deleted_epoch_marker_blob_count: markers.len() as u64,
        deleted_watermark_blob_count: watermarks.len() as u64,
    };
    delete(work, markers.into_iter().chain(watermarks))?;
    Ok(Outcome::Done(stats))
}

/// Deletes index blobs that a compacted set has replaced for hours. Each is read once more before it goes: everything in
/// it must be known to the indexes that count.
pub(super) fn delete_superseded(work: &Work<'_>, kept: &mut Vec<Kept>) -> Result<Outcome> {
    let repository = work.repository;
    let state = read(repository)?;
    let Some(before) = known_to_all(work, &state) else {
        return Ok(Outcome::Nothing("no index blob tells the time".to_owned()));
    };
    // The indexes that count now have none of these blobs among them.
    block_on(repository.refresh())?;
    let (mut replaced, mut unproved) = (Tally::default(), Tally::default());
    for blob in state.superseded(before) {
        work.check_not_cancelled()?;
        work.progress.count(blob.len);
        if is_covered(repository, &blob.id)? {
            replaced.add(blob.len);
            delete(work, [blob.id.clone()])?;
        } else {
            warn!(blob = %blob.id, "an index blob says what the set that replaces it does not; it is kept");
            unproved.add(blob.len);
        }
    }
    kept.push(Kept {
        why: "index blobs that say what the set that replaces them does not",
        tally: unproved,
    });
    Ok(Outcome::Done(Stats::CleanupSupersededIndexes {
        max_replacement_time: before,
        deleted_blob_count: replaced.count,
        deleted_total_size: replaced.bytes,
    }))
}

/// Whether the indexes that count know everything that an index blob says, or something newer.
fn is_covered(repository: &Repository, blob: &BlobId) -> Result<bool> {
    let index = match block_on(repository.open_index(blob)) {
        Err(MoverError::Storage {
            source: StorageError::NotFound { .. },
            ..
        }) => return Ok(true), // deleted by somebody else meanwhile
        // What cannot be read could not have been compacted.
        Err(MoverError::Blob { .. }) => return Ok(false),
        opened => opened?,
    };
    index.bytes().will_be_read(Reading::InOrder);
    for entry in index.iter() {
        let Ok(entry) = entry else { return Ok(false) };
        let known = repository.find_buried(&entry.id)?;
        if known.is_none_or(|known| known != entry && !known.supersedes(&entry)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn put(repository: &Repository, blob: &BlobId, body: &'static [u8]) -> Result<()> {
    block_on(repository.put_blob(blob, bytes::Bytes::from_static(body)))?;
    Ok(())
}

fn delete(work: &Work<'_>, blobs: impl IntoIterator<Item = BlobId>) -> Result<()> {
    if work.dry_run {
        return Ok(());
    }
    // One that is held back is tried again by the next maintenance, and does no harm until then.
    let deleted = stream::iter(blobs)
        .map(|blob| async move { work.delete(&blob).await.map(drop) })
        .buffered(DELETES_AT_ONCE);
    block_on(deleted.try_collect::<()>())
}
