//! The inspection of snapshots: directories are read, contents of files looked for, some files read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use windlass_repo_format::manifest::ManifestId;
use windlass_repo_format::snapshot::{DirEntry, EntryKind, is_checkpointed_name};

use super::packs::PackList;
use super::trees::Forest;
use super::{Findings, Lots, Problem, VerifyOptions, VerifyReport, count, with_readers};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::fetch::{self, Fetch, Gather, Piece, Stop, Taker};
use crate::random::RandomSource;
use crate::repository::{ObjectPart, Repository};
use crate::snapshots::Snapshot;

/// A file that is being read.
struct FileCheck<'a> {
    findings: &'a Findings<'a>,
    snapshot: ManifestId,
    path: Vec<u8>,
    has_failed: AtomicBool,
}

impl FileCheck<'_> {
    /// Tells the first problem of the file.
    fn fail(&self, part: Option<&ObjectPart>, error: MoverError) {
        if self.has_failed.swap(true, Ordering::Relaxed) {
            return;
        }
        let blob = match &error {
            MoverError::PackMissing { pack, .. }
            | MoverError::PackShort { pack, .. }
            | MoverError::Content { pack, .. }
            | MoverError::WrongContent { pack, .. }
            | MoverError::SameContent { pack, .. } => Some(pack.clone()),
            _ => None,
        };
        self.findings.add(Problem {
            snapshot: Some(self.snapshot),
            path: Some(self.path.clone()),
            blob,
            content: part.map(|part| part.content),
            error,
        });
    }
}

impl Taker for Arc<FileCheck<'_>> {
    fn take(&self, _: &ObjectPart, bytes: &[u8]) {
        self.findings.count_read(bytes);
    }

    fn lose(&self, part: &ObjectPart, error: MoverError) {
        self.fail(Some(part), error);
    }
}

pub(super) fn inspect(
    repository: &Repository,
    snapshots: &[Snapshot],
    options: &VerifyOptions,
    random: &dyn RandomSource,
    findings: &Findings<'_>,
    stop: &Stop<'_>,
) -> Result<VerifyReport> {
    let packs = PackList::read(repository, stop)?;
    let fetch = Fetch::new(repository, options.memory_bytes, fetch::readers(options.parallel), stop);
    let lots = Lots {
        percent: options.percent,
        random,
    };
    let mut forest = Forest::default();
    let mut report = VerifyReport::default();
    with_readers(&fetch, stop, |gather| {
        for snapshot in snapshots {
            report.snapshots += 1;
            let look = Look {
                repository,
                packs: &packs,
                fetch: &fetch,
                lots: &lots,
                findings,
                snapshot: snapshot.id,
            };
            match snapshot.root() {
                Ok(root) => look.visit_tree(root, &mut forest, gather, stop),
                Err(error) => look.check(Vec::new()).fail(None, error),
            }
        }
    });
    Ok(report)
}

/// Everything that is needed to look at the entries of one snapshot.
struct Look<'a> {
    repository: &'a Repository,
    packs: &'a PackList,
    fetch: &'a Fetch<'a>,
    lots: &'a Lots<'a>,
    findings: &'a Findings<'a>,
    snapshot: ManifestId,
}

impl<'a> Look<'a> {
    fn check(&self, path: Vec<u8>) -> Arc<FileCheck<'a>> {
        Arc::new(FileCheck {
            findings: self.findings,
            snapshot: self.snapshot,
            path,
            has_failed: AtomicBool::new(false),
        })
    }

    fn visit_tree(
        &self,
        root: &DirEntry,
        forest: &mut Forest,
        gather: &mut Gather<'_, Arc<FileCheck<'a>>>,
        stop: &Stop<'_>,
    ) {
        forest.walk(
            self.repository,
            root,
            stop,
            |path, entry| self.at_entry(path, entry, gather),
            |path, error| self.check(path.to_vec()).fail(None, error),
        );
    }

    fn at_entry(&self, path: &[u8], entry: &DirEntry, gather: &mut Gather<'_, Arc<FileCheck<'a>>>) {
        let progress = self.findings.progress;
        let check = self.check(path.to_vec());
        match entry.kind {
            EntryKind::Directory => count(&progress.directories),
            EntryKind::File => count(&progress.files),
            EntryKind::Symlink => {}
            EntryKind::Unknown(_) => {
                let wanted = "file, folder or link";
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                return check.fail(None, MoverError::WrongKind { name, wanted });
            }
        }
        if entry.object.is_none() {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            return check.fail(None, MoverError::NoObject { name });
        }
        if entry.kind != EntryKind::Directory
            && let Err(error) = self.parts(entry, &check, gather)
        {
            check.fail(None, error);
        }
    }

    /// Looks for every content of a file or link, and asks for all of them if the file is to be read.
    fn parts(
        &self,
        entry: &DirEntry,
        check: &Arc<FileCheck<'a>>,
        gather: &mut Gather<'_, Arc<FileCheck<'a>>>,
    ) -> Result<()> {
        let Some(object) = entry.object else {
            return Ok(());
        };
        let read = self.lots.draw();
        let mut parts = self.repository.object_parts(object);
        let mut end = Some(0);
        while let Some(part) = block_on(parts.next(self.repository))? {
            count(&self.findings.progress.contents);
            let located = self.fetch.locate(&part).and_then(|found| {
                self.packs.check(self.repository, &found)?;
                Ok(found)
            });
            let found = match located {
                Ok(found) => found,
                Err(error) => {
                    check.fail(Some(&part), error);
                    continue;
                }
            };
            // Only the bytes of a content that is compressed inside tell how long it is.
            let len = part
                .len
                .or((!part.compressed).then_some(u64::from(found.original_len.bytes())));
            end = len.map(|len| part.start.saturating_add(len));
            if read {
                gather.push(Piece {
                    object,
                    part,
                    entry: found,
                    to: check.clone(),
                });
            }
        }
        match end {
            // Of a file in a checkpoint Kopia promises more than there was.
            Some(found) if found < entry.size && is_checkpointed_name(&entry.name) => Ok(()),
            Some(found) if found != entry.size => Err(MoverError::FileLength {
                promised: entry.size,
                found,
            }),
            _ => Ok(()),
        }
    }
}
