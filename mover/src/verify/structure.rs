//! The inspection below the snapshots: index blobs, packs and contents.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windlass_repo_format::epoch::IndexBlobName;
use windlass_repo_format::id::{BlobId, ContentId, ObjectId};
use windlass_repo_format::index::{IndexEntry, legacy};
use windlass_repo_format::manifest::ManifestId;
use windlass_repo_format::snapshot::EntryKind;

use super::packs::PackList;
use super::trees::Forest;
use super::{Damage, Findings, Lots, Problem, VerifyOptions, VerifyReport, count, unindexed, with_readers};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::fetch::{self, Fetch, Gather, Piece, Stop, Taker};
use crate::mapped::Reading;
use crate::random::RandomSource;
use crate::repository::{ObjectPart, Repository};
use crate::snapshots;
use crate::storage::StorageError;

/// A content that is being read.
struct ContentCheck<'a> {
    findings: &'a Findings<'a>,
    damage: &'a Mutex<Damage>,
    entry: IndexEntry,
}

impl ContentCheck<'_> {
    fn fail(&self, error: MoverError) {
        if !matches!(error, MoverError::Cancelled) {
            note(&mut self.damage().contents, self.entry.id);
        }
        self.tell(error);
    }

    fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, error: MoverError) {
        self.findings.add(Problem {
            snapshot: None,
            path: None,
            blob: Some(self.entry.pack.clone()),
            content: Some(self.entry.id),
            error,
        });
    }
}

/// Remembers a content, as long as there is room.
fn note(contents: &mut HashSet<ContentId>, id: ContentId) {
    if contents.len() < VerifyReport::DAMAGED_MAX {
        contents.insert(id);
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

    fn looks_for_wear(&self) -> bool {
        true
    }

    fn worn(&self, _: &ObjectPart) {
        note(&mut self.damage().worn, self.entry.id);
        self.tell(MoverError::ContentWorn {
            id: self.entry.id,
            pack: self.entry.pack.clone(),
        });
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
    let damaged_indexes = index_blobs(repository, &mut packs, findings, stop)?;
    let packs = packs;
    let fetch = Fetch::new(repository, options.memory_bytes, fetch::readers(options.parallel), stop);
    let lots = Lots {
        percent: options.percent,
        random,
    };
    let damage = Mutex::default();
    with_readers(&fetch, stop, |gather| {
        repository.each_live_content(|entry| {
            if stop.is_set() {
                return Err(MoverError::Cancelled);
            }
            count(&findings.progress.contents);
            let check = ContentCheck {
                findings,
                damage: &damage,
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
    report.damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.damage.index_blobs = damaged_indexes;
    match look_through_snapshots(repository, &mut report, findings, stop) {
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
///
/// Gives the blobs that cannot be opened.
fn index_blobs(
    repository: &Repository,
    packs: &mut PackList,
    findings: &Findings<'_>,
    stop: &Stop<'_>,
) -> Result<Vec<BlobId>> {
    let mut damaged = Vec::new();
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
            Err(error) => {
                if matches!(error, MoverError::Blob { .. }) {
                    damaged.push(blob.clone());
                }
                findings.add(Problem {
                    snapshot: None,
                    path: None,
                    blob: Some(blob),
                    content: None,
                    error,
                });
            }
        }
    }
    Ok(damaged)
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

/// Looks for the files and directories that need damaged contents, and for those that need what is not there at all.
fn look_through_snapshots(
    repository: &Repository,
    report: &mut VerifyReport,
    findings: &Findings<'_>,
    stop: &Stop<'_>,
) -> Result<()> {
    let mut forest = Forest::default();
    let survey = RefCell::new(Survey {
        findings,
        damaged: &mut report.damage.contents,
        touched: &mut report.touched,
    });
    for snapshot in block_on(snapshots::list(repository, None))? {
        report.snapshots += 1;
        let Ok(root) = snapshot.root() else {
            continue; // nothing in it to suffer
        };
        forest.walk(
            repository,
            root,
            stop,
            |path, entry| {
                if entry.kind == EntryKind::Directory {
                    return count(&findings.progress.directories);
                }
                count(&findings.progress.files);
                let mut survey = survey.borrow_mut();
                if let Some(object) = entry.object
                    && let Some(missing) = survey.missing_of(repository, object)
                {
                    survey.touch(snapshot.id, path, missing);
                }
            },
            |path, error| survey.borrow_mut().touch(snapshot.id, path, Missing::of(error)),
        );
        if stop.is_set() {
            break;
        }
    }
    Ok(())
}

/// Why something in a snapshot cannot be had.
enum Missing {
    /// What was found and told before.
    Known,
    /// A content that is in no index, or else unknown as damaged so far.
    New(MoverError),
}

impl Missing {
    fn of(error: MoverError) -> Self {
        match error {
            // That packs are missing was told for each of their contents.
            MoverError::Cancelled
            | MoverError::Storage {
                source: StorageError::NotFound { .. } | StorageError::OutOfRange { .. },
                ..
            } => Self::Known,
            error => Self::New(error),
        }
    }
}

/// What is known of the damage while snapshots are looked through.
struct Survey<'a> {
    findings: &'a Findings<'a>,
    damaged: &'a mut HashSet<ContentId>,
    touched: &'a mut Vec<(ManifestId, Vec<u8>)>,
}

impl Survey<'_> {
    /// Whether contents of an object are damaged or in no index. Of the latter the first is told, and all are noted.
    fn missing_of(&mut self, repository: &Repository, object: ObjectId) -> Option<Missing> {
        let mut parts = repository.object_parts(object);
        let mut missing = None;
        loop {
            let part = match block_on(parts.next(repository)) {
                Ok(Some(part)) => part,
                Ok(None) => return missing,
                Err(error) => return Some(Missing::of(error)),
            };
            if self.damaged.contains(&part.content) {
                missing = missing.or(Some(Missing::Known));
            } else if let Err(error) = repository.locate(&part.content) {
                match &missing {
                    Some(Missing::New(_)) => note(self.damaged, part.content),
                    _ => missing = Some(Missing::New(error)),
                }
            }
        }
    }

    fn touch(&mut self, snapshot: ManifestId, path: &[u8], missing: Missing) {
        if self.touched.len() < VerifyReport::PROBLEMS_MAX {
            self.touched.push((snapshot, path.to_vec()));
        }
        let Missing::New(error) = missing else { return };
        let content = error.content();
        if content.is_some_and(|id| self.damaged.contains(&id)) {
            return;
        }
        if let Some(id) = content {
            note(self.damaged, id);
        }
        self.findings.add(Problem {
            snapshot: Some(snapshot),
            path: Some(path.to_vec()),
            blob: None,
            content,
            error,
        });
    }
}
