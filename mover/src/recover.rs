//! The lost-and-found: indexes that are gone are put together again from the packs, each of which lists its contents.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::pack::{PackClass, Postamble, TAIL_LEN, open_local_index};

use crate::error::{MoverError, Result};
use crate::repository::Repository;
use crate::storage::{BlobMetadata, BlobRange};

/// Packs whose ends are read at the same time.
const READS_AT_ONCE: usize = 16;
/// Entries that are gathered before an index is written.
const ENTRIES_MAX: usize = 200_000;

/// How far a recovery has come; read by others while it runs.
#[derive(Debug, Default)]
pub struct RecoverProgress {
    /// Packs looked at.
    pub packs: AtomicU64,
    /// Entries that were missing from the indexes.
    pub recovered: AtomicU64,
}

/// What a recovery found.
#[derive(Debug, Default)]
pub struct RecoverReport {
    /// Packs looked at.
    pub packs: u64,
    /// Entries in their own indexes.
    pub entries: u64,
    /// Entries that were missing from the repository's indexes.
    pub recovered: u64,
    /// Index blobs written.
    pub index_blobs: u64,
    /// Packs that could not be read, or do not end with an index of their own.
    pub failed: u64,
    /// The first [`RecoverReport::FAILURES_MAX`] of these.
    pub failures: Vec<(BlobId, MoverError)>,
}

impl RecoverReport {
    /// So many failures are told; all are counted.
    pub const FAILURES_MAX: usize = 100;
}

/// Reads the ends of all packs and writes an index of every content that no index knows. With `dry_run` nothing is
/// written.
///
/// Contents that were deleted, and whose packs are still there, come back: that does no harm, and maintenance deletes
/// them again.
///
/// # Errors
/// When the packs cannot be listed, an index cannot be written, or `cancel` was set.
pub async fn recover_index(
    repository: &Repository,
    dry_run: bool,
    progress: &RecoverProgress,
    cancel: &AtomicBool,
) -> Result<RecoverReport> {
    repository.distrust_cache().await?;
    let session = if dry_run {
        None
    } else {
        Some(repository.write_session()?)
    };
    let mut report = RecoverReport::default();
    let mut missing: Vec<IndexEntry> = Vec::new();
    for class in PackClass::ALL {
        let prefix = class.letter().to_string();
        let packs = repository.storage().list(&prefix);
        let mut read = packs
            .map(|pack| async {
                let pack =
                    pack.map_err(|source| repository.storage_failed(format!("cannot list packs {prefix}*"), source))?;
                let entries = read_local_index(repository, &pack).await;
                Ok::<_, MoverError>((pack.id, entries))
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some(pack) = read.next().await {
            if cancel.load(Ordering::Relaxed) {
                return Err(MoverError::Cancelled);
            }
            let (pack, entries) = pack?;
            report.packs += 1;
            progress.packs.fetch_add(1, Ordering::Relaxed);
            match entries {
                Ok(entries) => take_missing(repository, entries, &mut missing, &mut report)?,
                Err(error) => {
                    report.failed += 1;
                    if report.failures.len() < RecoverReport::FAILURES_MAX {
                        report.failures.push((pack, error));
                    }
                }
            }
            progress
                .recovered
                .store(report.recovered + missing.len() as u64, Ordering::Relaxed);
            if missing.len() >= ENTRIES_MAX {
                publish(session.as_ref(), &mut missing, &mut report).await?;
            }
        }
    }
    publish(session.as_ref(), &mut missing, &mut report).await?;
    Ok(report)
}

/// Keeps the entries that say something the indexes do not.
fn take_missing(
    repository: &Repository,
    entries: Vec<IndexEntry>,
    missing: &mut Vec<IndexEntry>,
    report: &mut RecoverReport,
) -> Result<()> {
    report.entries += entries.len() as u64;
    for entry in entries {
        let is_known = repository
            .find(&entry.id)?
            .is_some_and(|known| known == entry || known.supersedes(&entry));
        if !is_known {
            missing.push(entry);
        }
    }
    Ok(())
}

async fn publish(
    session: Option<&crate::repository::WriteSession>,
    missing: &mut Vec<IndexEntry>,
    report: &mut RecoverReport,
) -> Result<()> {
    let entries = winners(std::mem::take(missing));
    report.recovered += entries.len() as u64;
    if let Some(session) = session
        && !entries.is_empty()
    {
        report.index_blobs += session.publish_entries(&entries).await?;
    }
    Ok(())
}

/// One entry per content, sorted.
pub(crate) fn winners(mut entries: Vec<IndexEntry>) -> Vec<IndexEntry> {
    entries.sort_unstable_by(|a, b| a.id.cmp(&b.id).then_with(|| b.supersedes(a).cmp(&a.supersedes(b))));
    entries.dedup_by(|later, first| later.id == first.id);
    entries
}

/// The entries that a pack has of itself. Most packs need one short read, some the whole pack.
pub(crate) async fn read_local_index(repository: &Repository, pack: &BlobMetadata) -> Result<Vec<IndexEntry>> {
    let bad = |source| MoverError::Blob {
        blob: pack.id.clone(),
        source,
    };
    let read = |range| async move {
        let bytes = repository.storage().read(&pack.id, range).await;
        bytes.map_err(|source| repository.storage_error("read", &pack.id, source))
    };
    let len = pack.len.min(TAIL_LEN);
    let tail = read(BlobRange::Part {
        offset: pack.len - len,
        len,
    })
    .await?;
    let postamble = Postamble::find(&tail).map_err(bad)?;
    if let Some(sealed) = postamble.index_in(&tail, pack.len) {
        return open_local_index(repository.sealer(), &postamble, sealed).map_err(bad);
    }
    let range = postamble
        .index_range(pack.len)
        .ok_or_else(|| MoverError::NoLocalIndex { pack: pack.id.clone() })?;
    let sealed = read(BlobRange::Part {
        offset: range.start,
        len: range.end - range.start,
    })
    .await?;
    open_local_index(repository.sealer(), &postamble, &sealed).map_err(bad)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::blocking::block_on;
    use crate::diff::cat;
    use crate::sample::{PART_LEN, Sample};
    use crate::snapshots;
    use crate::storage::Storage;

    fn recover(repository: &Repository, dry_run: bool) -> RecoverReport {
        let (progress, cancel) = (RecoverProgress::default(), AtomicBool::new(false));
        block_on(recover_index(repository, dry_run, &progress, &cancel)).unwrap()
    }

    fn contents(repository: &Repository) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let each = |entry: IndexEntry| {
            found.insert(entry.id.to_string());
            Ok(())
        };
        repository.each_live_content(each).unwrap();
        found
    }

    #[test]
    fn indexes_that_are_gone_come_back_from_the_packs() {
        let sample = Sample::new();
        let text: Vec<u8> = (0..1000 * PART_LEN).map(|place| (place / 7) as u8).collect();
        let file = sample.file("f", &text);
        let snapshot = sample.snapshot("/a", 1, None, &sample.directory("r", std::slice::from_ref(&file)));
        let before = contents(&sample.reopened());
        assert_eq!(recover(&sample.reopened(), false).recovered, 0, "nothing is missing");
        for blob in block_on(sample.repository.list_names("x")).unwrap() {
            block_on(sample.storage.delete(&blob)).unwrap();
        }
        let without = sample.reopened();
        assert!(contents(&without).is_empty());
        let dry = recover(&without, true);
        assert_eq!((dry.recovered, dry.index_blobs), (before.len() as u64, 0));
        assert!(contents(&sample.reopened()).is_empty(), "a rehearsal writes nothing");

        let report = recover(&without, false);
        assert_eq!(report.recovered, before.len() as u64);
        assert_eq!((report.index_blobs, report.failed), (1, 0));
        assert_eq!(contents(&without), before, "seen at once");
        let again = sample.reopened();
        assert_eq!(contents(&again), before, "and by others");
        assert_eq!(
            block_on(snapshots::find(&again, &snapshot.id.to_string())).unwrap().id,
            snapshot.id
        );
        let mut out = Vec::new();
        block_on(cat(&again, &file, &mut out)).unwrap();
        assert!(out == text);
        assert_eq!(recover(&again, false).recovered, 0);
    }

    #[test]
    fn a_pack_without_an_index_is_told_and_the_others_are_read() {
        let sample = Sample::new();
        let file = sample.file("f", b"data");
        sample.snapshot("/a", 1, None, &sample.directory("r", std::slice::from_ref(&file)));
        let pack = sample.repository.locate(&file.object.unwrap().content()).unwrap().pack;
        sample.storage.damage(&pack, bytes::Bytes::from_static(b"cut"));
        let report = recover(&sample.reopened(), false);
        assert_eq!(report.failed, 1);
        assert_eq!(report.failures[0].0, pack);
        assert!(report.packs > 1 && report.entries > 0);
    }
}
