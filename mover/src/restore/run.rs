//! The bookkeeping of a restore: what all its threads share, count and complain to.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use super::{DirectoryTimes, RestoreOptions, RestoreProgress, RestoreReport};
use crate::error::MoverError;
use crate::fetch::{Slots, Stop, open_files_max};
use crate::patience::patiently;
use crate::pipeline::StageProfile;
use crate::repository::Repository;

/// One restore.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub repository: &'a Repository,
    pub options: &'a RestoreOptions,
    pub progress: &'a RestoreProgress,
    pub stop: &'a Stop<'a>,
    /// How many threads walk the tree.
    pub walkers: usize,
    /// Files that stay open from one batch to the next: those of more than one content.
    pub open_files: Slots,
    /// Directories that one walker and its files may hold open.
    pub open_directories_max: u64,
    pub removed: AtomicU64,
    unowned: AtomicU64,
    failures: Mutex<Vec<(PathBuf, MoverError)>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        options: &'a RestoreOptions,
        progress: &'a RestoreProgress,
        stop: &'a Stop<'a>,
        walkers: usize,
    ) -> Self {
        let allowed = open_files_max();
        Self {
            repository,
            options,
            progress,
            stop,
            open_files: Slots::new((allowed / 2).max(1)),
            open_directories_max: (allowed / 2 / walkers as u64).max(4),
            walkers,
            removed: AtomicU64::new(0),
            unowned: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    /// Counts an entry that could not be restored, and names it.
    fn fail(&self, path: &[u8], error: MoverError) {
        if matches!(error, MoverError::Cancelled) {
            return;
        }
        self.progress.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < RestoreReport::FAILURES_MAX {
            failures.push((PathBuf::from(OsStr::from_bytes(path)), error));
        }
    }

    /// As [`Run::fail`]; a full or unwritable disk ends the restore.
    pub(super) fn complain(&self, path: &[u8], error: MoverError) {
        if is_hopeless(&error) {
            self.stop.set(error);
        } else {
            self.fail(path, error);
        }
    }

    /// As [`Run::complain`] for what the system said.
    pub(super) fn fail_io(&self, doing: &'static str, path: &[u8], source: impl Into<io::Error>) {
        let error = MoverError::File {
            doing,
            path: PathBuf::from(OsStr::from_bytes(path)),
            source: source.into(),
        };
        self.complain(path, error);
    }

    /// Counts an entry that did not get its owner.
    pub(super) fn count_unowned(&self) {
        self.unowned.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an entry that was left as it was.
    pub(super) fn count_skipped(&self) {
        self.progress.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn into_report(self, stages: Vec<StageProfile>) -> RestoreReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let progress = self.progress;
        RestoreReport {
            files: count(&progress.files),
            bytes: count(&progress.bytes),
            directories: count(&progress.directories),
            links: count(&progress.links),
            skipped: count(&progress.skipped),
            removed: count(&self.removed),
            unowned: count(&self.unowned),
            failed: count(&progress.failed),
            failures: self.failures.into_inner().unwrap_or_else(PoisonError::into_inner),
            stages,
        }
    }
}

/// Whether the restore cannot become whole: the disk is full, nothing can be written to it, or the indexes cannot be read.
fn is_hopeless(error: &MoverError) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if matches!(error, MoverError::Spill { .. }) {
        return true;
    }
    matches!(error, MoverError::File { source, .. }
        if matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem))
}

/// What an entry is given after its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub uid: u32,
    pub gid: u32,
    /// The bits below 010000.
    pub mode: u32,
    pub mtime: Timestamp,
}

impl Given {
    pub(super) fn of(entry: &DirEntry, times: DirectoryTimes, is_root: bool) -> Self {
        let stored = is_root || entry.kind != EntryKind::Directory || times == DirectoryTimes::Stored;
        Self {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode.to_unix(),
            mtime: if stored { entry.mtime } else { entry.shown_mtime() },
        }
    }

    /// Access and modification time, which Kopia makes the same.
    pub(super) fn times(&self) -> Timestamps {
        let time = timespec(self.mtime);
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    /// The permissions, as far as they may be given to what has another owner than it should.
    pub(super) fn permissions(&self, owned: bool) -> Mode {
        const SET_IDS: u32 = 0o6000;
        Mode::from_raw_mode(if owned { self.mode } else { self.mode & !SET_IDS })
    }
}

/// A moment as the system counts it: the fraction is never negative.
pub(super) fn timespec(time: Timestamp) -> Timespec {
    let (mut seconds, mut nanoseconds) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    if nanoseconds < 0 {
        seconds -= 1;
        nanoseconds += 1_000_000_000;
    }
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    }
}

/// Opens a name in a directory, never through a link. Waits while too many files are open.
pub(super) fn open_at(
    directory: impl std::os::fd::AsFd,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    patiently(|| rustix::fs::openat(&directory, name, flags, mode))
}

/// What is at a name in a directory, itself and not what it points at.
pub(super) fn look_at(directory: impl std::os::fd::AsFd, name: &[u8]) -> rustix::io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
