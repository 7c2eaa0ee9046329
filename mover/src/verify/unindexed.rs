//! The unclaimed goods of an inspection: packs that no index names, and whether something is lost with that.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use windlass_repo_format::id::BlobId;
use windlass_repo_format::pack::PackClass;
use windlass_repo_format::session::SessionId;

use super::packs::PackList;
use super::{Findings, Problem, UnindexedPacks, VerifyReport};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::fetch::Stop;
use crate::recover::read_local_index;
use crate::repository::Repository;
use crate::storage::{BlobMetadata, StorageError};

/// Packs whose ends are read at the same time.
const READS_AT_ONCE: usize = 16;
/// A pack that names no session may still get its index at this age; Kopia's maintenance gives it as long.
const UNNAMED_SESSION_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Which sessions have not said that they ended. To be asked after the packs were listed and before the indexes are: a
/// session that is no longer among them has written its last index by then.
pub(super) fn unfinished_sessions(repository: &Repository) -> Result<BTreeSet<SessionId>> {
    let markers = block_on(repository.list_names(SessionId::MARKER_PREFIX))?;
    Ok(markers.iter().filter_map(SessionId::of_blob).collect())
}

/// What an unclaimed pack turns out to be.
enum Finding {
    /// Maintenance of another client removed it meanwhile.
    Gone,
    /// All its contents are elsewhere as well.
    Superseded,
    /// Some of its contents are in no index, and it may be that they are to be so.
    Unclear,
    /// So many of its contents are in no index, and nothing but the loss of one explains that.
    Lost(u64),
    /// It cannot be told what is in it.
    Unreadable(MoverError),
}

/// Looks at the packs of the list that no index named. Packs of sessions at work are only counted; a pack that has lost
/// its index is a problem.
pub(super) fn inspect(
    repository: &Repository,
    packs: &PackList,
    unfinished: &BTreeSet<SessionId>,
    findings: &Findings<'_>,
    stop: &Stop<'_>,
) -> Result<UnindexedPacks> {
    let mut report = UnindexedPacks::default();
    if packs.unclaimed() == 0 {
        return Ok(report);
    }
    // What was compacted or rewritten while the indexes were read is in the new ones.
    if let Err(error) = block_on(repository.refresh()) {
        findings.add(Problem {
            snapshot: None,
            path: None,
            blob: None,
            content: None,
            error,
        });
        return Ok(report);
    }
    let now = repository.now();
    for class in PackClass::ALL {
        let prefix = class.letter().to_string();
        let failed = |source| repository.storage_failed(format!("cannot list packs {prefix}*"), source);
        let unclaimed = repository.storage().list(&prefix).filter(|pack| {
            let unclaimed = pack.as_ref().map_or(true, |pack| packs.is_unclaimed(&pack.id));
            std::future::ready(unclaimed)
        });
        let looked = unclaimed
            .map(|pack| async {
                let pack = pack.map_err(failed)?;
                if is_expected(&pack, unfinished, now) {
                    return Ok((pack, None));
                }
                let finding = look(repository, &pack).await?;
                Ok::<_, MoverError>((pack, Some(finding)))
            })
            .buffer_unordered(READS_AT_ONCE);
        let mut looked = std::pin::pin!(looked);
        while let Some(found) = block_on(looked.next()) {
            if stop.is_set() {
                return Err(MoverError::Cancelled);
            }
            let (pack, finding) = found?;
            count(&mut report, findings, pack.id, finding);
        }
    }
    Ok(report)
}

/// Whether the session that wrote a pack may still write its index, or has left it to maintenance.
fn is_expected(pack: &BlobMetadata, unfinished: &BTreeSet<SessionId>, now: Timestamp) -> bool {
    match SessionId::of_blob(&pack.id) {
        Some(session) => unfinished.contains(&session),
        None => now.duration_since(pack.modified) < UNNAMED_SESSION_MAX,
    }
}

async fn look(repository: &Repository, pack: &BlobMetadata) -> Result<Finding> {
    let entries = match read_local_index(repository, pack).await {
        Ok(entries) => entries,
        Err(MoverError::Storage {
            source: StorageError::NotFound { .. },
            ..
        }) => return Ok(Finding::Gone),
        Err(error) => return Ok(Finding::Unreadable(error)),
    };
    let epochs = repository.format().epoch.enabled;
    let watermark = repository.index_summary().deletion_watermark;
    let (mut lost, mut unclear) = (0, false);
    for entry in entries {
        if entry.deleted || entry.pack != pack.id || repository.find(&entry.id)?.is_some() {
            continue;
        }
        // Compaction drops what was deleted before the watermark, and only that. Indexes without epochs have none.
        if epochs && watermark.is_none_or(|watermark| entry.timestamp > watermark) {
            lost += 1;
        } else {
            unclear = true;
        }
    }
    Ok(match (lost, unclear) {
        (0, false) => Finding::Superseded,
        (0, true) => Finding::Unclear,
        (lost, _) => Finding::Lost(lost),
    })
}

fn count(report: &mut UnindexedPacks, findings: &Findings<'_>, pack: BlobId, finding: Option<Finding>) {
    let mut doubtful = |pack| {
        report.unclear += 1;
        if report.first_unclear.len() < VerifyReport::PROBLEMS_MAX {
            report.first_unclear.push(pack);
        }
    };
    match finding {
        None => report.expected += 1,
        Some(Finding::Gone) => {}
        Some(Finding::Superseded) => report.superseded += 1,
        Some(Finding::Unclear) => doubtful(pack),
        Some(Finding::Unreadable(error)) => {
            tracing::debug!(%pack, %error, "no index names this pack, and its own cannot be read");
            doubtful(pack);
        }
        Some(Finding::Lost(contents)) => {
            report.lost += 1;
            findings.add(Problem {
                snapshot: None,
                path: None,
                blob: Some(pack.clone()),
                content: None,
                error: MoverError::PackNotIndexed { pack, contents },
            });
        }
    }
}
