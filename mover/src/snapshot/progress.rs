//! The departure board: what a running snapshot has done so far, to be read by anyone at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a running snapshot. They only grow.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files that were read to their end.
    pub files: AtomicU64,
    /// Files and links that were found unchanged.
    pub cached_files: AtomicU64,
    /// Bytes of those.
    pub cached_bytes: AtomicU64,
    /// Bytes that were read from files.
    pub bytes_read: AtomicU64,
    /// Directories that were entered.
    pub directories: AtomicU64,
    /// Entries the walk has come to, finished or not.
    pub entries_found: AtomicU64,
    /// Entries that could not be read.
    pub failures: AtomicU64,
    /// Bytes of the earlier snapshot of the same source, as a guess of what is to come; zero where there is none.
    pub expected_bytes: AtomicU64,
    /// Files and links of the earlier snapshot.
    pub expected_files: AtomicU64,
}

impl Progress {
    /// Bytes that are done, read or found unchanged.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed) + self.cached_bytes.load(Ordering::Relaxed)
    }

    /// Files that are done, read or found unchanged.
    pub fn files_done(&self) -> u64 {
        self.files.load(Ordering::Relaxed) + self.cached_files.load(Ordering::Relaxed)
    }
}
