//! The inspection room: whether what the repository promises can be had, and what suffers when it cannot.
//!
//! Budget: one index look-up per content and one read per directory; what is read in full is as fast as a restore
//! without its writes: on one core 0.9 GB/s with Kopia's default algorithms, 3 GB/s where BLAKE3 is the hash (bench
//! `fetch`). Holds 17 bytes per pack, 16 per directory, and [`VerifyOptions::memory_bytes`] of contents.

mod packs;
mod snapshots;
mod structure;
mod trees;
mod unindexed;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle;
use windlass_repo_format::id::{BlobId, ContentId};
use windlass_repo_format::manifest::ManifestId;

use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::fetch::{Fetch, Gather, Stop, Taker};
use crate::random::RandomSource;
use crate::repository::Repository;
use crate::snapshots::Snapshot;

/// How much to verify.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyOptions {
    /// How many of a hundred files, or contents, are read in full and hashed again; the choice is drawn.
    pub percent: f64,
    /// How many contents are read at the same time; 0 for what fits the machine.
    pub parallel: usize,
    /// Bytes that contents on their way may take together; a single content that is longer is still read.
    pub memory_bytes: u64,
}

impl VerifyOptions {
    /// To read so many of a hundred.
    pub fn reading(percent: f64) -> Self {
        Self {
            percent,
            parallel: 0,
            memory_bytes: 160 << 20,
        }
    }
}

/// How far an inspection has come; read by others while it runs.
#[derive(Debug, Default)]
pub struct VerifyProgress {
    /// Directories read.
    pub directories: AtomicU64,
    /// Files looked at.
    pub files: AtomicU64,
    /// Contents looked for in indexes and packs.
    pub contents: AtomicU64,
    /// Contents read and hashed again.
    pub contents_read: AtomicU64,
    /// Bytes of these, as their owner sees them.
    pub bytes_read: AtomicU64,
    /// Index blobs opened.
    pub index_blobs: AtomicU64,
    /// What is wrong.
    pub problems: AtomicU64,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// The snapshot that suffers, where one is known.
    pub snapshot: Option<ManifestId>,
    /// The path in it.
    pub path: Option<Vec<u8>>,
    /// The blob that is wrong, where it is one.
    pub blob: Option<BlobId>,
    /// The content that is wrong, where it is one.
    pub content: Option<ContentId>,
    /// What is wrong.
    pub error: MoverError,
}

impl fmt::Display for Problem {
    /// Where it is, then what it is and all its causes, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(snapshot) = &self.snapshot {
            write!(f, "snapshot {snapshot}")?;
            if let Some(path) = &self.path {
                write!(f, " /{}", String::from_utf8_lossy(path))?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.error)?;
        let mut cause = std::error::Error::source(&self.error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What an inspection found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Snapshots looked into.
    pub snapshots: u64,
    /// Directories read, those that several snapshots share once.
    pub directories: u64,
    /// Files looked at.
    pub files: u64,
    /// Contents looked for in indexes and packs.
    pub contents: u64,
    /// Contents read and hashed again.
    pub contents_read: u64,
    /// Bytes of these, as their owner sees them.
    pub bytes_read: u64,
    /// Index blobs opened.
    pub index_blobs: u64,
    /// How many things are wrong.
    pub problems: u64,
    /// The first [`VerifyReport::PROBLEMS_MAX`] of these.
    pub first_problems: Vec<Problem>,
    /// The first [`VerifyReport::PROBLEMS_MAX`] files and directories that suffer from damaged contents: snapshot and
    /// path. Only [`verify_repository`] looks for them; [`verify_snapshots`] names them in the problems.
    pub touched: Vec<(ManifestId, Vec<u8>)>,
    /// Packs that no index names, where they were looked for: by [`verify_repository`].
    pub unindexed: Option<UnindexedPacks>,
    /// What a repair would have to mend; only [`verify_repository`] gathers it.
    pub damage: Damage,
}

/// What a repair would have to mend.
#[derive(Debug, Default)]
pub struct Damage {
    /// The first [`VerifyReport::DAMAGED_MAX`] contents that are not where the indexes say, or that a snapshot needs and no
    /// index names.
    pub contents: HashSet<ContentId>,
    /// The first [`VerifyReport::DAMAGED_MAX`] contents that only parity makes whole.
    pub worn: HashSet<ContentId>,
    /// Index blobs that cannot be opened.
    pub index_blobs: Vec<BlobId>,
}

/// Packs that no index names.
#[derive(Debug, Default)]
pub struct UnindexedPacks {
    /// Those of sessions that have not ended: they are being written, or left to maintenance by a run that broke off.
    pub expected: u64,
    /// Those whose contents are in other packs as well, or that hold none: maintenance removes them.
    pub superseded: u64,
    /// Those of which it cannot be told whether they are waste that maintenance will remove, or have lost their index:
    /// they hold contents that may have been deleted since, or do not say what they hold.
    pub unclear: u64,
    /// The first [`VerifyReport::PROBLEMS_MAX`] of the unclear ones.
    pub first_unclear: Vec<BlobId>,
    /// Those that have lost their index; each is a problem.
    pub lost: u64,
}

impl VerifyReport {
    /// So many problems are told; all are counted.
    pub const PROBLEMS_MAX: usize = 100;
    /// The files of so many damaged contents are looked for, and so many can be mended in one go.
    pub const DAMAGED_MAX: usize = 100_000;

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems == 0
    }
}

/// Looks into snapshots: every directory must be readable, every content of every file in an index and wholly inside
/// its pack, and some files are read in full and hashed again.
///
/// A directory that several snapshots share is looked into once; its problems are told with the first of them.
///
/// Blocks; must not be called from async code. A runtime that the calling thread has entered is used for the storage.
///
/// # Errors
/// When the inspection itself cannot go on: the packs cannot be listed, `cancel` was set. Everything that is wrong with
/// the snapshots is told in the report.
pub fn verify_snapshots(
    repository: &Repository,
    snapshots: &[Snapshot],
    options: &VerifyOptions,
    random: &dyn RandomSource,
    progress: &VerifyProgress,
    cancel: &AtomicBool,
) -> Result<VerifyReport> {
    block_on(repository.distrust_cache())?;
    let stop = Stop::new(cancel);
    let findings = Findings::new(progress);
    let mut report = snapshots::inspect(repository, snapshots, options, random, &findings, &stop)?;
    stop.into_result()?;
    findings.fill(&mut report);
    Ok(report)
}

/// Looks at the repository below the snapshots: every index blob must open, every entry point into a pack that is there
/// and long enough, every pack be named by an index or have a reason why not, and some contents are read, opened and
/// hashed again.
///
/// All snapshots are looked through: for the files that need damaged contents, for contents that no index names, and for
/// directories that cannot be read.
///
/// Blocks; must not be called from async code. A runtime that the calling thread has entered is used for the storage.
///
/// # Errors
/// As [`verify_snapshots`].
pub fn verify_repository(
    repository: &Repository,
    options: &VerifyOptions,
    random: &dyn RandomSource,
    progress: &VerifyProgress,
    cancel: &AtomicBool,
) -> Result<VerifyReport> {
    block_on(repository.distrust_cache())?;
    let stop = Stop::new(cancel);
    let findings = Findings::new(progress);
    let mut report = structure::inspect(repository, options, random, &findings, &stop)?;
    stop.into_result()?;
    findings.fill(&mut report);
    Ok(report)
}

/// What all threads of an inspection write to.
#[derive(Debug)]
struct Findings<'a> {
    progress: &'a VerifyProgress,
    first: Mutex<Vec<Problem>>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<'a> Findings<'a> {
    fn new(progress: &'a VerifyProgress) -> Self {
        Self {
            progress,
            first: Mutex::default(),
        }
    }

    fn add(&self, problem: Problem) {
        if matches!(problem.error, MoverError::Cancelled) {
            return;
        }
        count(&self.progress.problems);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < VerifyReport::PROBLEMS_MAX {
            first.push(problem);
        }
    }

    fn count_read(&self, bytes: &[u8]) {
        count(&self.progress.contents_read);
        self.progress
            .bytes_read
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn fill(self, report: &mut VerifyReport) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let progress = self.progress;
        report.directories = load(&progress.directories);
        report.files = load(&progress.files);
        report.contents = load(&progress.contents);
        report.contents_read = load(&progress.contents_read);
        report.bytes_read = load(&progress.bytes_read);
        report.index_blobs = load(&progress.index_blobs);
        report.problems = load(&progress.problems);
        report.first_problems = self.first.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
}

/// Runs `ask` on this thread and readers on others, until `ask` is done and all that it asked for was read.
fn with_readers<'a, T: Taker, R>(
    fetch: &Fetch<'a>,
    stop: &'a Stop<'a>,
    ask: impl FnOnce(&mut Gather<'a, T>) -> R,
) -> R {
    let readers = fetch.readers();
    let (sender, batches) = crossbeam_channel::bounded(readers);
    let runtime = Handle::try_current().ok();
    thread::scope(|threads| {
        for _ in 0..readers {
            let (batches, runtime) = (&batches, runtime.as_ref());
            threads.spawn(move || {
                let _entered = runtime.map(Handle::enter);
                fetch.serve(batches);
            });
        }
        let mut gather = Gather::new(sender, stop);
        let asked = ask(&mut gather);
        gather.flush();
        drop(gather);
        asked
    })
}

/// Draws so many of a hundred.
struct Lots<'a> {
    percent: f64,
    random: &'a dyn RandomSource,
}

impl Lots<'_> {
    fn draw(&self) -> bool {
        if self.percent <= 0.0 {
            return false;
        }
        if self.percent >= 100.0 {
            return true;
        }
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) < self.percent / 100.0 * (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests;
