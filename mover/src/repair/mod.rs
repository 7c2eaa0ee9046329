//! The mending room: what an inspection found damaged is made whole where that loses nothing.
//!
//! Contents are looked for where they may still be: in packs whose index is lost, in packs that hold them under another's
//! name, behind their parity, and in the folder that a snapshot was made of. What is found is compared with its name, and
//! is named by a new index, or stored once more in a new pack with an entry that is younger than the damaged one. Packs
//! come before the indexes that name them. No pack and no index that can be read is replaced or removed; what cannot be
//! had stays as it is.
//!
//! An index blob that cannot be opened keeps every program from opening the repository. It is stored under another
//! name, and only then removed.
//!
//! Holds [`VerifyReport::DAMAGED_MAX`] names of contents, some entries that wait for an index, one content, and what a
//! session of writes holds; an index blob that is set aside, whole.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use tracing::{debug, info};
use windlass_repo_format::id::{BlobId, ContentId};
use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::pack::PackClass;
use windlass_repo_format::snapshot::SourceInfo;

use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::recover::{read_local_index, winners};
use crate::repository::{Repository, SealingTools, WriteSession};
use crate::snapshot::{SnapshotOptions, store_again};
use crate::snapshots;
use crate::storage::{BlobRange, StorageError};
use crate::verify::VerifyReport;

/// What the name of an index blob begins with when it was set aside.
const ASIDE_PREFIX: &str = "damaged-";
/// Packs whose ends are read at the same time.
const READS_AT_ONCE: usize = 16;
/// Entries that are gathered before an index is written.
const ENTRIES_MAX: usize = 200_000;

/// How far a repair has come; read by others while it runs.
#[derive(Debug, Default)]
pub struct RepairProgress {
    /// Packs looked at.
    pub packs: AtomicU64,
    /// Contents that were made whole.
    pub mended: AtomicU64,
}

/// What a repair has done.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Contents that were in their packs and in no index, and are in a new one.
    pub indexed: u64,
    /// Contents that another pack held, stored anew.
    pub from_packs: u64,
    /// Contents that parity made whole, stored anew.
    pub from_parity: u64,
    /// Contents stored anew from files and folders.
    pub from_source: u64,
    /// Index blobs that could not be opened, and have another name now.
    pub set_aside: Vec<BlobId>,
    /// Damaged or missing contents that were found nowhere.
    pub left: u64,
}

impl RepairReport {
    /// Whether anything was written.
    pub fn has_changed(&self) -> bool {
        self.indexed + self.from_packs + self.from_parity + self.from_source > 0 || !self.set_aside.is_empty()
    }
}

/// Mends what `found` says is damaged, if need be with what is in the folder `from`, of which the damaged snapshots were
/// made. The repository is best opened by [`Repository::open_damaged`].
///
/// Not to be run while anybody maintains the repository: packs that no index names may be removed then.
///
/// Blocks; must not be called from async code.
///
/// # Errors
/// When the repository cannot be written, the folder cannot be read, or `cancel` was set. What was mended by then stays.
pub fn repair(
    repository: &Repository,
    found: &VerifyReport,
    from: Option<&Path>,
    progress: &RepairProgress,
    cancel: &Arc<AtomicBool>,
) -> Result<RepairReport> {
    let mut mending = Mending {
        repository,
        session: repository.write_session()?,
        tools: SealingTools::default(),
        wanted: found.damage.contents.clone(),
        named: Vec::new(),
        is_index_damaged: !found.damage.index_blobs.is_empty(),
        progress,
        cancel,
        report: RepairReport::default(),
    };
    let is_index_lost = found.unindexed.as_ref().is_some_and(|packs| packs.lost > 0) || mending.is_index_damaged;
    block_on(async {
        mending.worn(&found.damage.worn).await?;
        if is_index_lost || !mending.wanted.is_empty() {
            mending.look_through_packs().await?;
        }
        mending.session.flush().await?;
        mending.publish().await
    })?;
    if let Some(from) = from {
        mending.read_source(from, found)?;
    }
    block_on(mending.set_aside(&found.damage.index_blobs))?;
    mending.report.left = mending.wanted.len() as u64;
    info!(report = ?mending.report, "repaired");
    Ok(mending.report)
}

struct Mending<'a> {
    repository: &'a Repository,
    session: WriteSession,
    tools: SealingTools,
    /// Contents that cannot be had so far.
    wanted: HashSet<ContentId>,
    /// Entries of contents that are where their packs say, for the next index.
    named: Vec<IndexEntry>,
    is_index_damaged: bool,
    progress: &'a RepairProgress,
    cancel: &'a Arc<AtomicBool>,
    report: RepairReport,
}

impl Mending<'_> {
    /// Stores anew what only parity keeps together.
    async fn worn(&mut self, worn: &HashSet<ContentId>) -> Result<()> {
        for id in worn {
            self.check_not_cancelled()?;
            let Some(known) = self.repository.find(id)? else {
                continue;
            };
            if let Some(plain) = read_checked(self.repository, &known).await? {
                self.store(&known, &plain).await?;
                self.report.from_parity += 1;
            }
        }
        Ok(())
    }

    async fn look_through_packs(&mut self) -> Result<()> {
        let repository = self.repository;
        for class in PackClass::ALL {
            let prefix = class.letter().to_string();
            let packs = repository.storage().list(&prefix);
            let mut read = packs
                .map(|pack| async {
                    let failed = |source| repository.storage_failed(format!("cannot list packs {prefix}*"), source);
                    let pack = pack.map_err(failed)?;
                    let entries = read_local_index(repository, &pack).await;
                    Ok::<_, MoverError>((pack.id, entries))
                })
                .buffer_unordered(READS_AT_ONCE);
            while let Some(pack) = read.next().await {
                self.check_not_cancelled()?;
                let (pack, entries) = pack?;
                self.progress.packs.fetch_add(1, Ordering::Relaxed);
                match entries {
                    Ok(entries) => {
                        for entry in entries {
                            self.look_at(&pack, entry).await?;
                        }
                    }
                    // Its contents are among the wanted, where anybody knows of them.
                    Err(error) => debug!(%pack, %error, "a pack does not say what it holds"),
                }
                if self.named.len() >= ENTRIES_MAX {
                    self.publish().await?;
                }
            }
        }
        Ok(())
    }

    /// Looks at what a pack says of one content: is it wanted, or lost, and is it really there?
    async fn look_at(&mut self, pack: &BlobId, entry: IndexEntry) -> Result<()> {
        if entry.deleted {
            return Ok(());
        }
        let known = self.repository.find_buried(&entry.id)?;
        let is_lost = known.is_none() && self.may_be_alive(&entry);
        if !is_lost && !self.wanted.contains(&entry.id) {
            return Ok(());
        }
        // A pack may lie under the name of another.
        let here = IndexEntry {
            pack: pack.clone(),
            ..entry.clone()
        };
        let Some(plain) = read_checked(self.repository, &here).await? else {
            return Ok(());
        };
        match known {
            // It has only to be named, where nothing younger says otherwise.
            known if here == entry && known.as_ref().is_none_or(|known| entry.supersedes(known)) => {
                self.named.push(entry.clone());
                self.report.indexed += 1;
                self.progress.mended.fetch_add(1, Ordering::Relaxed);
            }
            known => {
                self.store(&known.unwrap_or_else(|| entry.clone()), &plain).await?;
                self.report.from_packs += 1;
            }
        }
        self.wanted.remove(&entry.id);
        Ok(())
    }

    /// Whether a content that no index names was not simply deleted: compaction drops what was deleted before the
    /// watermark, and only that. Where an index was damaged, it may as well have been in that.
    fn may_be_alive(&self, entry: &IndexEntry) -> bool {
        let watermark = self.repository.index_summary().deletion_watermark;
        self.is_index_damaged || watermark.is_none_or(|watermark| entry.timestamp > watermark)
    }

    async fn store(&mut self, known: &IndexEntry, plain: &[u8]) -> Result<()> {
        if self.session.write_again(&mut self.tools, known, plain).await? {
            self.progress.mended.fetch_add(1, Ordering::Relaxed);
        }
        self.session.tend().await
    }

    /// Writes an index of the contents that are in their packs.
    async fn publish(&mut self) -> Result<()> {
        let entries = winners(std::mem::take(&mut self.named));
        if !entries.is_empty() {
            self.session.publish_entries(&entries).await?;
        }
        Ok(())
    }

    /// Reads the folder as each of the damaged snapshots was made of it, and stores what is wanted of it.
    fn read_source(&mut self, from: &Path, found: &VerifyReport) -> Result<()> {
        for source in damaged_sources(self.repository, found)? {
            if self.wanted.is_empty() {
                return Ok(());
            }
            let options = SnapshotOptions::new(from.to_owned(), source);
            let before = self.wanted.len();
            self.wanted = store_again(self.repository, &options, std::mem::take(&mut self.wanted), self.cancel)?;
            let stored = (before - self.wanted.len()) as u64;
            self.report.from_source += stored;
            self.progress.mended.fetch_add(stored, Ordering::Relaxed);
            self.check_not_cancelled()?;
        }
        Ok(())
    }

    /// Gives index blobs that nobody can open another name, so that the repository can be opened.
    async fn set_aside(&mut self, blobs: &[BlobId]) -> Result<()> {
        let storage = self.repository.storage();
        for blob in blobs {
            self.check_not_cancelled()?;
            if self.repository.open_index(blob).await.is_ok() {
                continue; // the reading failed, and the blob is well
            }
            let read = async |blob: &BlobId| {
                let read = storage.read(blob, BlobRange::Whole).await;
                read.map_err(|source| self.repository.storage_error("read", blob, source))
            };
            let bytes = read(blob).await?;
            let aside = BlobId::from(format!("{ASIDE_PREFIX}{blob}"));
            self.repository.put_blob(&aside, bytes.clone()).await?;
            if read(&aside).await? != bytes {
                return Err(MoverError::StoredLength {
                    blob: aside,
                    wanted: bytes.len() as u64,
                    found: 0,
                });
            }
            let removed = storage.delete(blob).await;
            removed.map_err(|source| self.repository.storage_error("remove", blob, source))?;
            self.report.set_aside.push(blob.clone());
        }
        Ok(())
    }

    fn check_not_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(MoverError::Cancelled);
        }
        Ok(())
    }
}

/// The bytes of a content where an entry says that they are; `None` where they are not.
async fn read_checked(repository: &Repository, entry: &IndexEntry) -> Result<Option<Vec<u8>>> {
    match repository.read_entry(entry).await {
        Ok(plain) => Ok(repository.check_hash(entry, &plain).is_ok().then_some(plain)),
        Err(
            MoverError::Content { .. }
            | MoverError::Storage {
                source: StorageError::NotFound { .. } | StorageError::OutOfRange { .. },
                ..
            },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the snapshots were made of in which something is damaged, each once.
fn damaged_sources(repository: &Repository, found: &VerifyReport) -> Result<Vec<SourceInfo>> {
    let touched = found.touched.iter().map(|(snapshot, _)| *snapshot);
    let named = found.first_problems.iter().filter_map(|problem| problem.snapshot);
    let damaged: HashSet<_> = touched.chain(named).collect();
    let mut sources = BTreeMap::new();
    for snapshot in block_on(snapshots::list(repository, None))? {
        if damaged.contains(&snapshot.id) {
            let source = snapshot.manifest.source;
            let key = (source.host.clone(), source.user_name.clone(), source.path.clone());
            sources.entry(key).or_insert(source);
        }
    }
    Ok(sources.into_values().collect())
}

#[cfg(test)]
mod tests;
