//! The caretaker: what nobody needs any more is removed, what is scattered is put together, in the order that is safe.
//!
//! # The order, and why it is safe
//!
//! A *quick* maintenance compacts the index blobs of one epoch that has ended, and begins the next epoch. A *full* one
//!
//! 1. collects: contents that no snapshot needs are **marked** deleted; what is needed and marked is written again;
//! 2. writes the contents of short packs into new ones: **packs, then the index that names them**;
//! 3. drops what was marked, once a second collection, hours after the first, has found it unneeded too: a **watermark**;
//! 4. deletes packs that no index names: **last and late**, a day after they were written, an hour after the last rewrite,
//!    four days after their session was heard of, and only if the indexes know all that is in them;
//! 5. extends locks, where the parameters say so;
//! 6. compacts an epoch, begins the next one, compacts a range, and deletes markers and index blobs that were replaced
//!    hours ago;
//! 7. deletes old logs.
//!
//! Whoever is killed between any two calls leaves packs that no index names yet, or index blobs beside the set that
//! replaces them: the next maintenance goes on from there. Ages count by the storage's clock, and there is no maintenance
//! when this machine's differs from it by more than five minutes. What each run did is put into the schedule after each
//! step, and looked at before the next: when another full maintenance has begun meanwhile, this one ends.
//!
//! Budget: three bits for each entry of the indexes and 40 bytes for each pack that is named; a batch of marks (20 MiB), or
//! a session that writes packs (about 100 MiB). Indexes are files, as everywhere.

mod bits;
mod carry;
mod collect;
mod epochs;
mod locks;
mod logbook;
mod logs;
mod packs;
mod report;
mod rewrite;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use tracing::debug;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::maintenance::{MaintenanceParams, Safety, Task};

pub use logbook::{params, schedule};
pub use report::{Kept, MaintainReport, Outcome, Stats, Tally, TaskReport};

use self::logbook::Logbook;
use crate::error::{MoverError, Result};
use crate::repository::Repository;
use crate::storage::StorageError;

/// Which cycle is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Epochs alone: seconds.
    Quick,
    /// Everything.
    Full,
}

/// How to maintain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintainOptions {
    /// Which cycle; `None` for the one that is due by the schedule, if any.
    pub mode: Option<Mode>,
    /// How old things must be.
    pub safety: Safety,
    /// Also as somebody who is not the owner.
    pub force: bool,
    /// Change nothing, and tell what would be done.
    pub dry_run: bool,
}

impl MaintainOptions {
    /// A cycle with Kopia's ages, by the owner alone.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode: Some(mode),
            safety: Safety::FULL,
            force: false,
            dry_run: false,
        }
    }
}

/// How far a maintenance has come; read by others while it runs.
#[derive(Debug, Default)]
pub struct MaintainProgress {
    task: AtomicU64,
    /// Entries, contents or blobs that the present step has looked at.
    pub items: AtomicU64,
    /// Bytes that the present step has moved or looked at.
    pub bytes: AtomicU64,
}

impl MaintainProgress {
    /// The step that is being carried out; `None` before the first.
    pub fn task(&self) -> Option<Task> {
        let place = self.task.load(Ordering::Relaxed).checked_sub(1)?;
        Task::ALL.get(place as usize).copied()
    }

    fn begin(&self, task: Task) {
        let place = Task::ALL.iter().position(|known| *known == task);
        let number = place.expect("all tasks are in the list") as u64 + 1;
        self.items.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.task.store(number, Ordering::Relaxed);
    }

    fn count(&self, bytes: u64) {
        self.items.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What every step has at hand.
#[derive(Debug)]
struct Work<'a> {
    repository: &'a Repository,
    safety: Safety,
    /// When the maintenance began, by the storage's clock.
    start: Timestamp,
    dry_run: bool,
    progress: &'a MaintainProgress,
    cancel: &'a AtomicBool,
}

impl Work<'_> {
    fn check_not_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(MoverError::Cancelled);
        }
        Ok(())
    }

    /// Deletes a blob; false when the repository locks its blobs and the storage holds this one back.
    async fn delete(&self, blob: &BlobId) -> Result<bool> {
        match self.repository.storage().delete(blob).await {
            Ok(()) => {
                debug!(%blob, "deleted");
                Ok(true)
            }
            Err(StorageError::Denied { .. }) if self.repository.blob_config().retention_mode.is_some() => Ok(false),
            Err(source) => Err(self.repository.storage_error("delete", blob, source)),
        }
    }
}

/// Maintains a repository. Others may read and write it meanwhile.
///
/// Blocks; must not be called from async code. A runtime that the calling thread has entered is used for the storage. All
/// that is changed is changed through the repository's storage, in an order that does not depend on threads.
///
/// # Errors
/// [`MoverError::NotMaintenanceOwner`] unless forced; [`MoverError::ClocksDiffer`]; [`MoverError::MaintenanceOverlaps`] when
/// another one begins meanwhile; [`MoverError::CannotCollect`] when something that a snapshot needs cannot be read: then
/// nothing is deleted. What was done until then stays and does no harm.
pub fn maintain(
    repository: &Repository,
    options: &MaintainOptions,
    progress: &MaintainProgress,
    cancel: &AtomicBool,
) -> Result<MaintainReport> {
    // Formats that are only read are refused here.
    drop(repository.write_session()?);
    crate::blocking::block_on(repository.distrust_cache())?;
    let params = params(repository)?;
    let identity = repository.identity().to_string();
    if !options.force && params.owner != identity {
        return Err(MoverError::NotMaintenanceOwner {
            owner: params.owner,
            identity,
        });
    }
    let mut logbook = Logbook::open(repository, options.dry_run)?;
    let Some(mode) = options.mode.or_else(|| logbook.due(&params)) else {
        return Ok(MaintainReport {
            mode: None,
            dry_run: options.dry_run,
            start: repository.now(),
            tasks: Vec::new(),
        });
    };
    let start = logbook.begin(mode, &params)?;
    crate::blocking::block_on(repository.refresh())?;
    let work = Work {
        repository,
        safety: options.safety,
        start,
        dry_run: options.dry_run,
        progress,
        cancel,
    };
    let mut cycle = Cycle {
        work,
        logbook,
        params,
        tasks: Vec::new(),
    };
    match mode {
        Mode::Quick => cycle.quick()?,
        Mode::Full => cycle.full()?,
    }
    Ok(MaintainReport {
        mode: Some(mode),
        dry_run: options.dry_run,
        start,
        tasks: cycle.tasks,
    })
}

/// The steps of a maintenance, one after the other.
struct Cycle<'a> {
    work: Work<'a>,
    logbook: Logbook<'a>,
    params: MaintenanceParams,
    tasks: Vec<TaskReport>,
}

impl Cycle<'_> {
    fn quick(&mut self) -> Result<()> {
        self.step(Task::CompactSingleEpoch, |work, _| epochs::compact_single(work))?;
        self.step(Task::AdvanceEpoch, |work, _| epochs::advance(work))
    }

    fn full(&mut self) -> Result<()> {
        self.step(Task::SnapshotGc, collect::collect)?;
        self.rewrite()?;
        let dropped = self.drop_deleted()?;
        self.delete_packs(dropped)?;
        if self.params.extend_object_locks {
            let now = self.logbook.now();
            self.step(Task::ExtendBlobRetention, |work, _| locks::extend(work, now))?;
        }
        self.quick()?;
        self.step(Task::GenerateRange, |work, _| epochs::compact_range(work))?;
        self.step(Task::CleanupMarkers, |work, _| epochs::cleanup_markers(work))?;
        self.step(Task::DeleteSupersededIndexes, epochs::delete_superseded)?;
        let (retention, now) = (self.params.log_retention, self.logbook.now());
        self.step(Task::CleanupLogs, |work, _| logs::clean_up(work, retention, now))
    }

    fn rewrite(&mut self) -> Result<()> {
        let task = Task::FullRewriteContents;
        if !self.logbook.schedule.may_rewrite(&self.work.safety) {
            self.skip(
                task,
                "the packs that the last rewrite has emptied were not deleted yet".to_owned(),
            );
            return Ok(());
        }
        self.step(task, rewrite::rewrite)
    }

    /// Gives up to when contents are dropped, where they are.
    fn drop_deleted(&mut self) -> Result<Option<Timestamp>> {
        let task = Task::FullDropDeletedContents;
        let safe = self
            .logbook
            .schedule
            .safe_drop_time(&self.work.safety, self.logbook.now());
        let Some(up_to) = safe else {
            let margin = self.work.safety.between_collections_min.as_hours();
            let why =
                format!("no two collections with more than {margin} hours between them have confirmed each other");
            self.skip(task, why);
            return Ok(None);
        };
        self.step(task, |work, _| epochs::drop_deleted(work, up_to))?;
        Ok(Some(up_to))
    }

    fn delete_packs(&mut self, dropped: Option<Timestamp>) -> Result<()> {
        let task = Task::FullDeleteBlobs;
        let wait = self.logbook.schedule.deletion_waits_until(&self.work.safety);
        if let Some(until) = wait.filter(|until| self.logbook.now() < *until) {
            let why = format!("others may still read the packs that the last rewrite has emptied, until {until}");
            self.skip(task, why);
            return Ok(());
        }
        self.step(task, |work, kept| packs::delete_unnamed(work, kept, dropped))
    }

    fn step(&mut self, task: Task, work: impl FnOnce(&Work<'_>, &mut Vec<Kept>) -> Result<Outcome>) -> Result<()> {
        self.work.check_not_cancelled()?;
        self.work.progress.begin(task);
        let span = tracing::info_span!("maintenance", task = task.name());
        let _entered = span.enter();
        let mut kept = Vec::new();
        let outcome = self.logbook.run(task, || work(&self.work, &mut kept))?;
        kept.retain(|kept| kept.tally.count > 0);
        self.tasks.push(TaskReport { task, outcome, kept });
        Ok(())
    }

    fn skip(&mut self, task: Task, why: String) {
        self.tasks.push(TaskReport {
            task,
            outcome: Outcome::Nothing(why),
            kept: Vec::new(),
        });
    }
}
