//! The clearance: packs that no index names are deleted, once nothing can make them needed again.
//!
//! Holds about 16 bytes for each pack that is named.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use futures_util::StreamExt;
use jiff::Timestamp;
use tracing::debug;
use windlass_repo_format::maintenance::{PackFate, UnnamedPack, pack_fate};
use windlass_repo_format::pack::PackClass;
use windlass_repo_format::session::{SessionId, SessionMarker};

use super::Work;
use super::report::{Kept, Outcome, Stats, Tally};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::recover::read_local_index;
use crate::repository::Repository;
use crate::storage::{BlobMetadata, StorageError};

/// Packs that are looked at and deleted at the same time.
const AT_ONCE: usize = 16;

/// When each session that has not ended last said that it is alive.
type Sessions = BTreeMap<SessionId, Timestamp>;

/// What becomes of a blob that no index names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep(PackFate),
    /// It holds contents that no index has ever named, though its session has ended: an index was lost.
    Lost,
    /// It is no session marker that can be understood.
    Unknown,
    /// The storage does not let go of it yet.
    Locked,
    Delete,
}

/// Deletes packs that no index names, and the markers of sessions that were not heard of for days.
///
/// The order is what makes it safe. Sessions are read first and the indexes after them: a session whose marker is gone
/// has written its last index by then. Each pack is proved before it is deleted: all that its own index lists must be
/// known to the indexes, as moved or as deleted, or its session be one that died. Markers go after the packs.
pub(super) fn delete_unnamed(work: &Work<'_>, kept: &mut Vec<Kept>, drop_up_to: Option<Timestamp>) -> Result<Outcome> {
    let repository = work.repository;
    let sessions = sessions(repository)?;
    block_on(repository.refresh())?;
    let hashes = RandomState::new();
    let named = named_packs(work, &hashes, drop_up_to)?;
    let (mut deleted, mut counts) = (Tally::default(), BTreeMap::<&'static str, Tally>::new());
    for prefix in PackClass::ALL
        .map(|class| class.letter().to_string())
        .into_iter()
        .chain([SessionId::MARKER_PREFIX.to_owned()])
    {
        let failed = |source| repository.storage_failed(format!("cannot list blobs {prefix}*"), source);
        let listed = repository.storage().list(&prefix).filter(|blob| {
            let is_unnamed = blob
                .as_ref()
                .map_or(true, |blob| !named.contains(&hashes.hash_one(&blob.id)));
            std::future::ready(is_unnamed)
        });
        let judged = listed
            .map(|blob| async {
                let blob = blob.map_err(failed)?;
                work.check_not_cancelled()?;
                let mut verdict = judge(work, &sessions, &blob).await?;
                if verdict == Verdict::Delete && !work.dry_run && !work.delete(&blob.id).await? {
                    verdict = Verdict::Locked;
                }
                Ok::<_, MoverError>((blob, verdict))
            })
            .buffered(AT_ONCE);
        let mut judged = std::pin::pin!(judged);
        while let Some(done) = block_on(judged.next()) {
            let (blob, verdict) = done?;
            work.progress.count(blob.len);
            match why_kept(verdict) {
                None => deleted.add(blob.len),
                Some(why) => counts.entry(why).or_default().add(blob.len),
            }
        }
    }
    let retained = counts.values().fold(Tally::default(), |sum, tally| Tally {
        count: sum.count + tally.count,
        bytes: sum.bytes + tally.bytes,
    });
    kept.extend(counts.into_iter().map(|(why, tally)| Kept { why, tally }));
    let really = if work.dry_run { Tally::default() } else { deleted };
    Ok(Outcome::Done(Stats::DeleteUnreferencedPacks {
        unreferenced_pack_count: deleted.count,
        unreferenced_total_size: deleted.bytes,
        deleted_pack_count: really.count,
        deleted_total_size: really.bytes,
        retained_pack_count: retained.count,
        retained_total_size: retained.bytes,
    }))
}

fn why_kept(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Delete => None,
        Verdict::Lost => Some(
            "they hold contents that no index has ever named: an index was lost, and `repo recover-index` brings it back",
        ),
        Verdict::Unknown => Some("their names say nothing about a session"),
        Verdict::Locked => Some("nobody needs them, and the storage holds them back until their locks end"),
        Verdict::Keep(PackFate::TooNew) => Some("written since the maintenance began"),
        Verdict::Keep(PackFate::TooYoung) => Some("in no index, and not old enough to be deleted"),
        Verdict::Keep(_) => Some("of sessions that may still write an index"),
    }
}

/// The markers of all sessions that have not ended. The time is that of the marker or that of the storage, whichever is
/// later: a writer's clock may be behind.
fn sessions(repository: &Repository) -> Result<Sessions> {
    let mut sessions = Sessions::new();
    let mut markers = repository.storage().list(SessionId::MARKER_PREFIX);
    while let Some(marker) = block_on(markers.next()) {
        let marker = marker.map_err(|source| repository.storage_failed("cannot list blobs s*".to_owned(), source))?;
        let Some(session) = SessionId::of_blob(&marker.id) else {
            continue;
        };
        let said = match block_on(repository.open_blob(&marker.id)) {
            Ok(json) => SessionMarker::parse(&json).ok().map(|marker| marker.checkpoint_time),
            Err(MoverError::Storage {
                source: StorageError::NotFound { .. },
                ..
            }) => continue, // it has just ended
            // The time of one that cannot be read is the storage's.
            Err(MoverError::Blob { .. }) => None,
            Err(error) => return Err(error),
        };
        let alive = said.unwrap_or(marker.modified).max(marker.modified);
        let known = sessions.entry(session).or_insert(alive);
        *known = alive.max(*known);
    }
    Ok(sessions)
}

/// The packs that some entry names: a live one, or a deleted one above the watermark. By the hashes of their names: two
/// that share one keep each other.
fn named_packs(work: &Work<'_>, hashes: &RandomState, drop_up_to: Option<Timestamp>) -> Result<HashSet<u64>> {
    let mut frozen = work.repository.frozen()?;
    if let Some(time) = drop_up_to {
        frozen = frozen.with_watermark(time.as_second());
    }
    let mut named = HashSet::new();
    frozen.each(|_, entry| {
        work.check_not_cancelled()?;
        named.insert(hashes.hash_one(&entry.pack));
        Ok(())
    })?;
    Ok(named)
}

async fn judge(work: &Work<'_>, sessions: &Sessions, blob: &BlobMetadata) -> Result<Verdict> {
    let session = SessionId::of_blob(&blob.id);
    let is_marker = blob.id.as_str().starts_with(SessionId::MARKER_PREFIX);
    if is_marker && session.is_none() {
        return Ok(Verdict::Unknown);
    }
    let session_alive = session.as_ref().and_then(|session| sessions.get(session)).copied();
    let pack = UnnamedPack {
        modified: blob.modified,
        session_alive,
    };
    match pack_fate(pack, work.start, &work.safety) {
        // Its session has died, and was not heard of for days: nobody will ever name what is in it.
        PackFate::Delete if is_marker || session_alive.is_some() => Ok(Verdict::Delete),
        PackFate::Delete => prove(work.repository, blob).await,
        fate => Ok(Verdict::Keep(fate)),
    }
}

/// Whether all that a pack holds is known to the indexes: moved to another pack, or deleted and dropped.
async fn prove(repository: &Repository, pack: &BlobMetadata) -> Result<Verdict> {
    let entries = match read_local_index(repository, pack).await {
        Ok(entries) => entries,
        // Deleted by somebody else meanwhile.
        Err(MoverError::Storage {
            source: StorageError::NotFound { .. },
            ..
        }) => return Ok(Verdict::Delete),
        Err(error @ MoverError::Storage { .. }) => return Err(error),
        Err(error) => {
            // Nothing could bring back what is in it.
            debug!(pack = %pack.id, %error, "a pack that no index names does not say what it holds");
            return Ok(Verdict::Delete);
        }
    };
    for entry in entries.iter().filter(|entry| entry.pack == pack.id) {
        if repository.find_buried(&entry.id)?.is_none() {
            return Ok(Verdict::Lost);
        }
    }
    Ok(Verdict::Delete)
}
