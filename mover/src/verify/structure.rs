//! The inspection below the snapshots: index blobs, packs and contents.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_repo_format::epoch::IndexBlobName;
use windlass_repo_format::id::{BlobId, ContentId, ObjectId};
use windlass_repo_format::index::{IndexEntry, legacy};
use windlass_repo_format::snapshot::EntryKind;

use super::packs::PackList;
use super::trees::Forest;
use super::{Findings, Lots, Problem, VerifyOptions, VerifyReport, count, unindexed, with_readers};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::fetch::{self, Fetch, Gather, Piece, Stop, Taker};
use crate::mapped::Reading;
use crate::random::RandomSource;
use crate::repository::{ObjectPart, Repository};
use crate::snapshots;
use crate::storage::StorageError;

/// So many damaged contents are looked for in the snapshots.
const DAMAGED_MAX: usize = 100_000;

/// A content that is being read.
struct ContentCheck<'a> {
    findings: &'a Findings<'a>,
    damaged: &'a Mutex<HashSet<ContentId>>,
    entry: IndexEntry,
}

impl ContentCheck<'_> {
    fn fail(&self, error: MoverError) {
        if !matches!(error, MoverError::Cancelled) {
            let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
            if damaged.len() < DAMAGED_MAX {
                damaged.insert(self.entry.id);
            }
        }
        self.findings.add(Problem {
            snapshot: None,
            path: None,
            blob: Some(self.entry.pack.clone()),
            content: Some(self.entry.id),
            error,
        });
    }
}

impl Taker for Arc<ContentCheck<'_>> {
    fn take(&self, part: &ObjectPart, bytes: &[u8]) {
        self.findings.count_read(bytes);
        let promised = u64::from(self.entry.original_len.bytes());
        if bytes.len() as u64 != promised {
            self.fail(MoverError::PartLength {
                id: ObjectId::direct(part.content),
                start: 0,
                wanted: promised,
                found: bytes.len() as u64,
            });
        }
    }

    fn lose(&self, _: &ObjectPart, error: MoverError) {
        self.fail(error);
    }
}

pub(super) fn inspect(
    repository: &Repository,
    options: &VerifyOptions,
    random: &dyn RandomSource,
    findings: &Findings<'_>,
    stop: &Stop<'_>,
) -> Result<VerifyReport> {
    let mut packs = PackList::read(repository, stop)?;
    let unfinished = unindexed::unfinished_sessions(repository)?;
    index_blobs(repository, &mut packs, findings, stop)?;
    let packs = packs;
    let fetch = Fetch::new(repository, options.memory_bytes, fetch::readers(options.parallel), stop);
    let lots = Lots {
        percent: options.percent,
        random,
    };
    let damaged = Mutex::default();
    with_readers(&fetch, stop, |gather| {
        repository.each_live_content(|entry| {
            if stop.is_set() {
                return Err(MoverError::Cancelled);
            }
            count(&findings.progress.contents);
            let check = ContentCheck {
                findings,
                damaged: &damaged,
                entry,
            };
            match packs.check(repository, &check.entry) {
                Err(error) => check.fail(error),
                Ok(()) if lots.draw() => ask(check, gather),
                Ok(()) => {}
            }
            Ok(())
        })
    })?;
    let mut report = VerifyReport {
        unindexed: Some(unindexed::inspect(repository, &packs, &unfinished, findings, stop)?),
        ..VerifyReport::default()
    };
    let damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    match snapshots_that_need(repository, &damaged, &mut report, stop) {
        Ok(()) => {}
        Err(MoverError::Cancelled) => return Err(MoverError::Cancelled),
        Err(error) => findings.add(Problem {
            snapshot: None,
            path: None,
            blob: None,
            content: None,
            error,
        }),
    }
    Ok(report)
}

fn ask<'a>(check: ContentCheck<'a>, gather: &mut Gather<'_, Arc<ContentCheck<'a>>>) {
    let id = check.entry.id;
    let part = ObjectPart {
        start: 0,
        len: None,
        content: id,
        compressed: false,
    };
    let entry = check.entry.clone();
    gather.push(Piece {
        object: ObjectId::direct(id),
        part,
        entry,
        to: Arc::new(check),
    });
}

/// Opens every index blob, reads all its entries, and notes which packs they name.
fn index_blobs(repository: &Repository, packs: &mut PackList, findings: &Findings<'_>, stop: &Stop<'_>) -> Result<()> {
    let prefix = if repository.format().epoch.enabled {
        "x"
    } else {
        legacy::INDEX_PREFIX
    };
    for blob in block_on(repository.list_names(prefix))? {
        use IndexBlobName::{Compacted, Legacy, Range, Uncompacted};
        if stop.is_set() {
            return Err(MoverError::Cancelled);
        }
        let name = IndexBlobName::parse(blob.as_str());
        if !matches!(
            name,
            Some(Uncompacted { .. } | Compacted { .. } | Range { .. } | Legacy)
        ) {
            continue;
        }
        match index_blob(repository, packs, &blob) {
            Ok(()) => count(&findings.progress.index_blobs),
            // Maintenance of another client removed it meanwhile.
            Err(MoverError::Storage {
                source: StorageError::NotFound { .. },
                ..
            }) => {}
            Err(error) => findings.add(Problem {
                snapshot: None,
                path: None,
                blob: Some(blob),
                content: None,
                error,
            }),
        }
    }
    Ok(())
}

fn index_blob(repository: &Repository, packs: &mut PackList, blob: &BlobId) -> Result<()> {
    let index = block_on(repository.open_index(blob))?;
    index.bytes().will_be_read(Reading::InOrder);
    let bad = |source| MoverError::Blob {
        blob: blob.clone(),
        source,
    };
    for entry in index.iter() {
        packs.claim(&entry.map_err(bad)?.pack);
    }
    Ok(())
}

/// Looks for the files and directories that need damaged contents, and counts the snapshots looked into.
fn snapshots_that_need(
    repository: &Repository,
    damaged: &HashSet<ContentId>,
    report: &mut VerifyReport,
    stop: &Stop<'_>,
) -> Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let mut forest = Forest::default();
    for snapshot in block_on(snapshots::list(repository, None))? {
        report.snapshots += 1;
        let Ok(root) = snapshot.root() else {
            continue; // nothing in it to suffer
        };
        let touched = RefCell::new(Vec::new());
        let touch = |path: &[u8]| {
            let mut touched = touched.borrow_mut();
            if touched.len() < VerifyReport::PROBLEMS_MAX {
                touched.push((snapshot.id, path.to_vec()));
            }
        };
        forest.walk(
            repository,
            root,
            stop,
            |path, entry| {
                let is_file = entry.kind != EntryKind::Directory;
                if let Some(object) = entry.object.filter(|_| is_file)
                    && needs(repository, object, damaged)
                {
                    touch(path);
                }
            },
            |path, _| touch(path),
        );
        let room = VerifyReport::PROBLEMS_MAX.saturating_sub(report.touched.len());
        report.touched.extend(touched.into_inner().into_iter().take(room));
        if room == 0 || stop.is_set() {
            break;
        }
    }
    Ok(())
}

/// Whether one of the contents of an object is damaged, or cannot even be found.
fn needs(repository: &Repository, object: ObjectId, damaged: &HashSet<ContentId>) -> bool {
    let mut parts = repository.object_parts(object);
    loop {
        match block_on(parts.next(repository)) {
            Ok(Some(part)) if damaged.contains(&part.content) => return true,
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}
