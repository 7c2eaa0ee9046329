//! The counting room: what a directory and everything below it amount to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::FormatError;
use crate::json::lenient::{Text, Time, read_object};
use crate::json::{write_number, write_string, write_time};
use crate::snapshot::entry::{DirEntry, EntryKind, raw};

/// What a directory and everything below it amount to.
///
/// | key                | field                | meaning                                                       |
/// |--------------------|----------------------|---------------------------------------------------------------|
/// | `size`             | `size`               | bytes of all files                                            |
/// | `files`            | `files`              | number of files                                               |
/// | `symlinks`         | `symlinks`           | number of symbolic links                                      |
/// | `dirs`             | `dirs`               | number of directories, this one included                      |
/// | `maxTime`          | `max_time`           | latest modification time, RFC 3339                            |
/// | `incomplete`       | `incomplete`         | why it is incomplete; left out when it is complete            |
/// | `numFailed`        | `num_failed`         | errors that were not ignored                                  |
/// | `numIgnoredErrors` | `num_ignored_errors` | errors that were ignored; left out when 0                     |
/// | `errors`           | `errors`             | the first of both kinds, by path; left out when empty         |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorySummary {
    /// Bytes of all files; symbolic links count nothing.
    pub size: u64,
    /// Number of files.
    pub files: u64,
    /// Number of symbolic links.
    pub symlinks: u64,
    /// Number of directories, this one included.
    pub dirs: u64,
    /// The latest modification time of anything below the directory, not before the epoch; an empty directory's own.
    pub max_time: Timestamp,
    /// Why the directory is incomplete: `checkpoint`, `canceled`, `limit reached`.
    pub incomplete: Option<String>,
    /// How many entries are missing because of an error.
    pub num_failed: u64,
    /// How many entries are missing because of an error that was to be ignored.
    pub num_ignored_errors: u64,
    /// What went wrong, ordered by path: not more than [`DirectorySummary::ERRORS_MAX`] when it is ours. Kopia 0.22.3
    /// means to do the same, but writes all it has.
    pub errors: Vec<EntryError>,
}

/// Why an entry is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryError {
    /// The bytes of the path, from the root of the snapshot.
    pub path: Vec<u8>,
    /// What went wrong; may repeat the bytes of the path.
    pub error: Vec<u8>,
}

read_object!(EntryError, "an entry's error", {
    "path" => path: Text = Text::into_bytes,
    "error" => error: Text = Text::into_bytes,
});

read_object!(DirectorySummary, "a directory summary", {
    "size" => size: u64,
    "files" => files: u64,
    "symlinks" => symlinks: u64,
    "dirs" => dirs: u64,
    "maxTime" => max_time: Time = |time: Time| time.0,
    "incomplete" => incomplete: Text = Text::non_empty,
    "numFailed" => num_failed: u64,
    "numIgnoredErrors" => num_ignored_errors: u64,
    "errors" => errors: Vec<Option<EntryError>> = |errors: Vec<_>| errors.into_iter().flatten().collect(),
});

impl DirectorySummary {
    /// How many errors a summary tells of; the others are only counted.
    pub const ERRORS_MAX: usize = 10;

    /// Appends the summary as JSON.
    ///
    /// # Errors
    /// [`FormatError::TimeNotWritable`]; `out` then holds a part of it.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        for (key, number) in [
            (&br#"{"size":"#[..], self.size),
            (br#","files":"#, self.files),
            (br#","symlinks":"#, self.symlinks),
            (br#","dirs":"#, self.dirs),
        ] {
            out.extend_from_slice(key);
            write_number(number, out);
        }
        out.extend_from_slice(br#","maxTime":"#);
        write_time(self.max_time, out)?;
        if let Some(reason) = self.incomplete.as_deref().filter(|reason| !reason.is_empty()) {
            out.extend_from_slice(br#","incomplete":"#);
            write_string(reason.as_bytes(), out);
        }
        out.extend_from_slice(br#","numFailed":"#);
        write_number(self.num_failed, out);
        if self.num_ignored_errors != 0 {
            out.extend_from_slice(br#","numIgnoredErrors":"#);
            write_number(self.num_ignored_errors, out);
        }
        for (index, error) in self.errors.iter().enumerate() {
            out.extend_from_slice(if index == 0 { br#","errors":["# } else { b"," });
            out.extend_from_slice(br#"{"path":"#);
            write_string(&error.path, out);
            out.extend_from_slice(br#","error":"#);
            write_string(&error.error, out);
            out.push(b'}');
        }
        if !self.errors.is_empty() {
            out.push(b']');
        }
        out.push(b'}');
        Ok(())
    }
}

impl Serialize for DirectorySummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(|out| self.write(out), serializer)
    }
}

/// Adds up a directory while its entries pass by. Holds as many errors as it is told to, however many there are.
#[derive(Clone, Debug)]
pub struct SummaryBuilder {
    totals: DirectorySummary,
    errors_max: usize,
    errors: BTreeSet<EntryError>,
    has_entries: bool,
}

impl SummaryBuilder {
    /// A directory without entries so far, which will tell of [`DirectorySummary::ERRORS_MAX`] errors.
    #[expect(clippy::new_without_default, reason = "a sum is begun, not defaulted")]
    pub fn new() -> Self {
        Self::keeping(DirectorySummary::ERRORS_MAX)
    }

    /// A directory without entries so far, which will tell of `errors_max` errors. Each takes memory in this directory
    /// and in all above it.
    pub fn keeping(errors_max: usize) -> Self {
        Self {
            totals: DirectorySummary::default(),
            errors_max,
            errors: BTreeSet::new(),
            has_entries: false,
        }
    }

    /// Counts one entry that is stored. Of a directory, what its own summary says is added; without one, nothing is.
    pub fn add(&mut self, entry: &DirEntry) {
        self.has_entries = true;
        self.totals.max_time = self.totals.max_time.max(entry.mtime);
        match &entry.kind {
            EntryKind::File => {
                raise(&mut self.totals.files, 1);
                raise(&mut self.totals.size, entry.size);
            }
            EntryKind::Symlink => raise(&mut self.totals.symlinks, 1),
            EntryKind::Directory => {
                if let Some(child) = &entry.summary {
                    self.add_child(child);
                }
            }
            EntryKind::Unknown(_) => {}
        }
    }

    /// Counts one entry that is missing because of an error. `path` leads to it from the root of the snapshot.
    pub fn add_failed(&mut self, path: impl Into<Vec<u8>>, error: impl Into<Vec<u8>>, ignored: bool) {
        let totals = &mut self.totals;
        raise(
            if ignored {
                &mut totals.num_ignored_errors
            } else {
                &mut totals.num_failed
            },
            1,
        );
        self.add_error(EntryError {
            path: path.into(),
            error: error.into(),
        });
    }

    /// The summary. `own_mtime` is the modification time of the directory itself, which counts when nothing is in it.
    pub fn finish(self, own_mtime: Timestamp, incomplete: Option<String>) -> DirectorySummary {
        let mut summary = self.totals;
        raise(&mut summary.dirs, 1);
        if !self.has_entries {
            summary.max_time = own_mtime;
        }
        summary.incomplete = incomplete;
        summary.errors = self.errors.into_iter().collect();
        summary
    }

    fn add_child(&mut self, child: &DirectorySummary) {
        let totals = &mut self.totals;
        for (total, part) in [
            (&mut totals.size, child.size),
            (&mut totals.files, child.files),
            (&mut totals.symlinks, child.symlinks),
            (&mut totals.dirs, child.dirs),
            (&mut totals.num_failed, child.num_failed),
            (&mut totals.num_ignored_errors, child.num_ignored_errors),
        ] {
            raise(total, part);
        }
        totals.max_time = totals.max_time.max(child.max_time);
        child.errors.iter().for_each(|error| self.add_error(error.clone()));
    }

    fn add_error(&mut self, error: EntryError) {
        self.errors.insert(error);
        if self.errors.len() > self.errors_max {
            self.errors.pop_last();
        }
    }
}

/// Adds to a total. A summary that was read may claim anything, and a wrong total is better than a panic.
fn raise(total: &mut u64, by: u64) {
    *total = total.saturating_add(by);
}
