//! The listing room: directory entries become the stream that Kopia would have written, byte for byte.

use crate::FormatError;
use crate::json::lossy_name;
use crate::snapshot::{DirEntry, DirectorySummary, EntryKind};

/// Writes a directory stream entry by entry. Holds the last name, no matter how long the directory is.
///
/// The bytes decide the name of the stored object, so the order is Kopia's: all directories, then everything else, both
/// ordered by the raw bytes of the name, before those that are no UTF-8 are replaced.
#[derive(Clone, Debug, Default)]
pub struct DirectoryWriter {
    last: Option<(bool, Vec<u8>)>,
    /// Entries without a place in the order have begun: no others may follow.
    is_behind: bool,
}

impl DirectoryWriter {
    /// A directory without entries so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one entry to `out`.
    ///
    /// # Errors
    /// [`FormatError::EntryOutOfOrder`] when the entry should have come earlier or was there already, and
    /// [`FormatError::TimeNotWritable`]. `out` and the writer are then as they were, so the entry may be left out.
    pub fn push(&mut self, entry: &DirEntry, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let last_group = entry.kind != EntryKind::Directory;
        if let Some((previous_group, previous)) = &self.last
            && (self.is_behind || (*previous_group, previous.as_slice()) >= (last_group, entry.name.as_slice()))
        {
            return Err(FormatError::EntryOutOfOrder {
                previous: lossy_name(previous),
                name: lossy_name(&entry.name),
            });
        }
        self.append(entry, out)
    }

    /// Appends to `out` an entry behind all that have a place in the order; only others of its kind can follow. This is
    /// for the unfinished files of a checkpoint, whose names ([`super::checkpointed_name`]) belong far in front of
    /// where the writer is by then. Kopia sorts them in; it reads directories in any order, and no directory with such
    /// a name is ever written twice.
    ///
    /// # Errors
    /// As [`DirectoryWriter::push`], for the time.
    pub fn push_behind(&mut self, entry: &DirEntry, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.append(entry, out)?;
        self.is_behind = true;
        Ok(())
    }

    fn append(&mut self, entry: &DirEntry, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let before = out.len();
        out.extend_from_slice(match self.last {
            Some(_) => b",",
            None => br#"{"stream":"kopia:directory","entries":["#,
        });
        entry.write(out).inspect_err(|_| out.truncate(before))?;
        let (group, name) = self.last.get_or_insert_default();
        *group = entry.kind != EntryKind::Directory;
        name.clone_from(&entry.name);
        Ok(())
    }

    /// Appends the end of the stream: the summary and a newline.
    ///
    /// # Errors
    /// [`FormatError::TimeNotWritable`] when the summary's time cannot be written.
    pub fn finish(self, summary: &DirectorySummary, out: &mut Vec<u8>) -> Result<(), FormatError> {
        out.extend_from_slice(match self.last {
            Some(_) => b"]",
            None => br#"{"stream":"kopia:directory","entries":null"#,
        });
        out.extend_from_slice(br#","summary":"#);
        summary.write(out)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}
