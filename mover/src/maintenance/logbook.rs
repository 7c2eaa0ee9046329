//! The duty roster: the schedule blob, the storage's time, and whether somebody else is at work.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::warn;
use windlass_repo_format::format_blob::derive_application_key;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::maintenance::{
    MaintenanceParams, MaintenanceSchedule, RunInfo, Safety, Task, open_schedule, seal_schedule,
};

use super::Mode;
use super::report::{Outcome, Stats};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::repository::Repository;
use crate::storage::{BlobRange, StorageError};

/// Reads the parameters of a repository's maintenance. Where there are none, they are Kopia's defaults, without an owner.
///
/// # Errors
/// When the manifests cannot be read, or this one is none.
pub fn params(repository: &Repository) -> Result<MaintenanceParams> {
    let manifests = block_on(repository.manifests())?;
    let found = manifests.find(&[("type", MaintenanceParams::MANIFEST_TYPE)]);
    let Some(entry) = found.last() else {
        return Ok(MaintenanceParams::default());
    };
    MaintenanceParams::decode(entry.data_json().as_bytes()).map_err(|source| MoverError::Manifest {
        id: entry.id.to_string(),
        source,
    })
}

/// Reads when maintenance is due and what was done. Where nothing was, the schedule is empty.
///
/// # Errors
/// When the blob cannot be read or is none.
pub fn schedule(repository: &Repository) -> Result<MaintenanceSchedule> {
    Ok(Logbook::open(repository, true)?.schedule)
}

/// The schedule while maintenance runs.
#[derive(Debug)]
pub(super) struct Logbook<'a> {
    repository: &'a Repository,
    pub(super) schedule: MaintenanceSchedule,
    /// The blob as it was read or written last.
    stored: Option<Bytes>,
    /// What this maintenance has reported, in order: another program that writes the schedule may not know of it.
    own: Vec<(Task, RunInfo)>,
    /// What is added to this machine's clock to have the storage's.
    ahead: SignedDuration,
    dry_run: bool,
}

impl<'a> Logbook<'a> {
    pub(super) fn open(repository: &'a Repository, dry_run: bool) -> Result<Self> {
        let mut logbook = Self {
            repository,
            schedule: MaintenanceSchedule::default(),
            stored: None,
            own: Vec::new(),
            ahead: SignedDuration::ZERO,
            dry_run,
        };
        logbook.stored = logbook.read()?;
        if let Some(bytes) = &logbook.stored {
            logbook.schedule = logbook.decode(bytes)?;
        }
        Ok(logbook)
    }

    /// Which cycle the schedule asks for at this moment.
    pub(super) fn due(&self, params: &MaintenanceParams) -> Option<Mode> {
        let now = self.repository.now();
        if params.full.enabled && now >= self.schedule.next_full {
            return Some(Mode::Full);
        }
        (params.quick.enabled && now >= self.schedule.next_quick).then_some(Mode::Quick)
    }

    /// Puts the next dates into the schedule, so that nobody begins the same again should this run end early, and learns
    /// from that put what time the storage has. Gives it: it is when the maintenance began.
    ///
    /// # Errors
    /// [`MoverError::ClocksDiffer`] when this machine's clock and the storage's are too far apart to tell ages.
    pub(super) fn begin(&mut self, mode: Mode, params: &MaintenanceParams) -> Result<Timestamp> {
        let now = self.repository.now();
        if self.dry_run {
            return Ok(now);
        }
        let after = |interval| now.checked_add(interval).unwrap_or(Timestamp::MAX);
        if mode == Mode::Full {
            self.schedule.next_full = after(params.full.interval);
        }
        self.schedule.next_quick = after(params.quick.interval);
        self.put()?;
        let blob = BlobId::from(MaintenanceSchedule::BLOB);
        let metadata = block_on(self.repository.storage().metadata(&blob));
        let stored = metadata.map_err(|source| self.repository.storage_error("look at", &blob, source))?;
        let here = self.repository.now();
        self.ahead = stored.modified.duration_since(here);
        if self.ahead.abs() > Safety::CLOCK_SKEW_MAX {
            return Err(MoverError::ClocksDiffer {
                here,
                storage: stored.modified,
            });
        }
        Ok(stored.modified)
    }

    /// The present moment by the storage's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.repository.now().checked_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// Carries out a task and reports it. What did nothing and says so is not reported.
    pub(super) fn run(&mut self, task: Task, work: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
        self.check_alone()?;
        let start = self.now();
        let outcome = work();
        let mut run = RunInfo {
            start,
            end: self.now(),
            ..RunInfo::default()
        };
        match &outcome {
            Ok(Outcome::Nothing(_)) if task.is_exclusive() => return outcome,
            Ok(Outcome::Nothing(_)) => run.success = true,
            Ok(Outcome::Done(stats)) => {
                run.success = true;
                run.extra = vec![extra(stats)];
            }
            Err(error) => run.error = error.to_string(),
        }
        self.schedule.report(task.name(), run.clone());
        self.own.push((task, run));
        let saved = self.save();
        match (outcome, saved) {
            (Ok(outcome), saved) => saved.map(|()| outcome),
            (Err(error), saved) => {
                if let Err(also) = saved {
                    warn!(task = task.name(), error = %also, "the failure could not be put into the schedule");
                }
                Err(error)
            }
        }
    }

    /// Makes sure that nobody else has begun a maintenance that moves or removes what this one does.
    ///
    /// # Errors
    /// [`MoverError::MaintenanceOverlaps`].
    pub(super) fn check_alone(&mut self) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        let stored = self.read()?;
        if stored == self.stored {
            return Ok(());
        }
        let theirs = match &stored {
            Some(bytes) => self.decode(bytes)?,
            None => MaintenanceSchedule::default(),
        };
        if interferes(&self.schedule, &theirs) {
            return Err(MoverError::MaintenanceOverlaps);
        }
        self.stored = stored;
        self.schedule = theirs;
        for (task, run) in &self.own {
            let runs = self.schedule.runs.get(task.name());
            if !runs.is_some_and(|runs| runs.contains(run)) {
                self.schedule.report(task.name(), run.clone());
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        if self.dry_run {
            return Ok(());
        }
        self.check_alone()?;
        self.put()
    }

    fn put(&mut self) -> Result<()> {
        let bytes = Bytes::from(seal_schedule(
            &self.key(),
            self.repository.random_bytes(),
            &self.schedule,
        ));
        let blob = BlobId::from(MaintenanceSchedule::BLOB);
        block_on(self.repository.put_blob(&blob, bytes.clone()))?;
        self.stored = Some(bytes);
        Ok(())
    }

    fn read(&self) -> Result<Option<Bytes>> {
        let blob = BlobId::from(MaintenanceSchedule::BLOB);
        match block_on(self.repository.storage().read(&blob, BlobRange::Whole)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.repository.storage_error("read", &blob, source)),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<MaintenanceSchedule> {
        open_schedule(&self.key(), bytes).map_err(|source| MoverError::Blob {
            blob: MaintenanceSchedule::BLOB.into(),
            source,
        })
    }

    fn key(&self) -> [u8; 32] {
        let repository = self.repository;
        derive_application_key(
            repository.format(),
            repository.format_key(),
            &repository.format_blob().unique_id,
            MaintenanceSchedule::KEY_PURPOSE,
        )
    }
}

/// Whether somebody has changed the schedule in the way of a full maintenance. What is missing is no sign: a quick one
/// that began earlier writes what it had read.
fn interferes(ours: &MaintenanceSchedule, theirs: &MaintenanceSchedule) -> bool {
    let newest = |runs: &BTreeMap<String, Vec<RunInfo>>, task: Task| {
        let runs = runs.get(task.name()).into_iter().flatten();
        runs.map(|run| run.start).max()
    };
    theirs.next_full > ours.next_full
        || Task::ALL
            .into_iter()
            .filter(|task| task.is_exclusive())
            .any(|task| newest(&theirs.runs, task) > newest(&ours.runs, task))
}

/// Figures as the schedule keeps them.
fn extra(stats: &Stats) -> serde_json::Value {
    json!({"kind": stats.kind(), "data": stats})
}
