//! The way back: a stored tree becomes files, links and directories again, as Kopia would make them.
//!
//! ```text
//! walk (some threads)   makes directories, asks for the contents of files        -> batches, as many as readers
//! fetch (more threads)  reads packs, opens, checks, writes where the bytes belong; the last one closes the file
//! ```
//!
//! Many files are written at once, and one big file by all readers. Nothing outside the target is touched: every name is
//! looked up in an open directory, no link is followed, and names that are no names are refused.
//!
//! Budget: as fast as the disk takes it, or the cipher gives it; holds [`RestoreOptions::memory_bytes`], some thousand
//! pieces per walker and the entries of the directories on the way down, and with [`RestoreOptions::delete_extra`] eight
//! bytes per entry of these; waits for the storage and for the disk.

mod directory;
mod file;
mod names;
mod removal;
mod run;
mod target;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;

use tokio::runtime::Handle;
use windlass_repo_format::snapshot::DirEntry;

use crate::error::{MoverError, Result};
use crate::fetch::{self, Fetch, Gather, Stop};
use crate::pipeline::StageProfile;
use crate::repository::Repository;
use run::Run;
use target::Top;
use walk::{Walker, WorkPool};

/// What to do with what is already at the place of an entry. Directories are always kept and filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overwrite {
    /// Replace it. The old file stays until the new one is complete.
    #[default]
    Always,
    /// Leave it, whatever it is. After a restore that was killed, the files it was just writing may be incomplete and
    /// would be left too: [`Overwrite::Changed`] finds them.
    Never,
    /// Replace it unless type, size and modification time are those of the entry.
    Changed,
}

/// Which modification time a directory gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DirectoryTimes {
    /// What Kopia gives it: the latest time of anything below it, except for the root of a snapshot.
    #[default]
    Kopia,
    /// What it had when it was backed up.
    Stored,
}

/// How to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What happens to what is already there.
    pub overwrite: Overwrite,
    /// Remove what is in the target's directories and not in the snapshot's; also a directory where a file belongs.
    pub delete_extra: bool,
    /// Leave holes where files hold nothing but zeros.
    pub sparse: bool,
    /// How many contents are read at the same time; 0 for what fits the machine.
    pub parallel: usize,
    /// Which modification time directories get.
    pub directory_times: DirectoryTimes,
    /// Bytes that contents on their way may take together; a single content that is longer is still read.
    pub memory_bytes: u64,
    /// The entry was found inside a snapshot and is not its root: Kopia then gives a directory another time.
    pub is_inside: bool,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            overwrite: Overwrite::Always,
            delete_extra: false,
            sparse: false,
            parallel: 0,
            directory_times: DirectoryTimes::Kopia,
            memory_bytes: 160 << 20,
            is_inside: false,
        }
    }
}

/// How far a restore has come; read by others while it runs.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    /// Files complete.
    pub files: AtomicU64,
    /// Bytes written, holes included.
    pub bytes: AtomicU64,
    /// Directories complete.
    pub directories: AtomicU64,
    /// Symbolic links made.
    pub links: AtomicU64,
    /// Entries left as they were because of [`RestoreOptions::overwrite`].
    pub skipped: AtomicU64,
    /// Entries that could not be restored.
    pub failed: AtomicU64,
}

/// What came of a restore that ran to its end.
#[derive(Debug, Default)]
pub struct RestoreReport {
    /// Files restored.
    pub files: u64,
    /// Bytes in them, holes included.
    pub bytes: u64,
    /// Directories made or found and given their attributes.
    pub directories: u64,
    /// Symbolic links restored.
    pub links: u64,
    /// Entries left as they were because of [`RestoreOptions::overwrite`].
    pub skipped: u64,
    /// Things removed because of [`RestoreOptions::delete_extra`], each tree counted once.
    pub removed: u64,
    /// Entries that belong to somebody else than in the snapshot, because only the superuser may give files away. They
    /// have no set-user and set-group permission then.
    pub unowned: u64,
    /// Entries that could not be restored, or not wholly.
    pub failed: u64,
    /// The first [`RestoreReport::FAILURES_MAX`] of these: path below the target, and why.
    pub failures: Vec<(PathBuf, MoverError)>,
    /// What the threads that read and write did.
    pub stages: Vec<StageProfile>,
}

impl RestoreReport {
    /// So many failures are told; all are counted.
    pub const FAILURES_MAX: usize = 100;

    /// Whether everything that was asked for is there.
    pub fn is_complete(&self) -> bool {
        self.failed == 0
    }
}

/// Restores a file, a link or a whole directory tree.
///
/// A directory becomes `target` itself, which is made, with its parents, unless it is there. A file or link becomes
/// `target`, or `target/NAME` where `target` is a directory. Where `target` is a block device, the bytes of a file, or of
/// the only file of a directory (as Velero stores volumes), are written onto it.
///
/// Blocks; must not be called from async code. A runtime that the calling thread has entered is used for the storage.
///
/// # Errors
/// When nothing can be restored at all, the target's disk is full or cannot be written to, or `cancel` was set. A file
/// that was being written is removed then. Everything else that goes wrong is counted and told in the report.
pub fn restore(
    repository: &Repository,
    entry: &DirEntry,
    target: &Path,
    options: &RestoreOptions,
    progress: &RestoreProgress,
    cancel: &AtomicBool,
) -> Result<RestoreReport> {
    let stop = Stop::new(cancel);
    let fetch = Fetch::new(
        repository,
        options.memory_bytes,
        fetch::readers(options.parallel),
        &stop,
    );
    let run = Run::new(repository, options, progress, &stop, fetch.readers().min(WALKERS_MAX));
    work(&run, &fetch, Top::open(&run, entry, target)?);
    let report = run.into_report(fetch.stages());
    stop.into_result()?;
    Ok(report)
}

/// Walks and fetches until nothing is left to do, or the work is stopped.
fn work<'a>(run: &'a Run<'a>, fetch: &Fetch<'a>, top: Top<'a>) {
    let readers = fetch.readers();
    let pool = WorkPool::new(run.walkers);
    let (sender, batches) = crossbeam_channel::bounded(readers);
    let runtime = Handle::try_current().ok();
    pool.put(top);
    thread::scope(|threads| {
        for _ in 0..readers {
            threads.spawn(|| {
                let _entered = runtime.as_ref().map(Handle::enter);
                fetch.serve(&batches);
            });
        }
        for _ in 0..run.walkers {
            let gather = Gather::new(sender.clone(), run.stop);
            let (pool, runtime) = (&pool, runtime.as_ref());
            threads.spawn(move || {
                let _entered = runtime.map(Handle::enter);
                Walker::new(run, fetch, gather, pool).work();
            });
        }
        drop(sender);
    });
}

/// More threads than this do not walk a tree faster.
const WALKERS_MAX: usize = 4;

#[cfg(test)]
mod tests;
