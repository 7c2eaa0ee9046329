//! The leafing room: a directory stream is read piece by piece, an entry at a time.

use crate::FormatError;
use crate::json::stream::{Piece, StreamReader, VALUE_BYTES_MAX, parse};
use crate::snapshot::{DirEntry, DirectorySummary};

const WHAT: &str = "directory";
const STREAM: &str = "kopia:directory";

/// Reads a directory stream as it arrives. Holds one entry of at most 32 MiB of JSON,
/// no matter how long the directory is.
#[derive(Debug)]
pub struct DirectoryReader {
    stream: StreamReader,
    summary: Option<DirectorySummary>,
}

impl DirectoryReader {
    /// A reader at the start of a directory.
    #[expect(clippy::new_without_default, reason = "a reader is begun, not defaulted")]
    pub fn new() -> Self {
        Self {
            stream: StreamReader::new(WHAT, Some(STREAM), VALUE_BYTES_MAX),
            summary: None,
        }
    }

    /// Takes the next bytes, however they are cut, and hands on the entries that are complete, in stored order.
    ///
    /// Names are not checked and may repeat; Kopia lets a later entry of the same name replace the earlier one.
    ///
    /// # Errors
    /// When the bytes are no directory stream. Entries handed on before remain valid only if [`Self::finish`] agrees.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(DirEntry)) -> Result<(), FormatError> {
        let summary = &mut self.summary;
        self.stream.push(bytes, &mut |piece| match piece {
            Piece::Entry(json) => {
                each(parse(WHAT, json)?);
                Ok(())
            }
            Piece::Member(key, json) if key.is("summary") => {
                *summary = parse(WHAT, json)?;
                Ok(())
            }
            Piece::Member(_, json) => parse::<serde::de::IgnoredAny>(WHAT, json).map(|_| ()),
        })
    }

    /// Says that no more bytes come; gives the summary, if there was one.
    ///
    /// # Errors
    /// When the stream is cut short, or did not say that it is a directory.
    pub fn finish(self) -> Result<Option<DirectorySummary>, FormatError> {
        self.stream.finish()?;
        Ok(self.summary)
    }

    /// Reads a whole directory that is in memory.
    ///
    /// # Errors
    /// As [`Self::push`] and [`Self::finish`].
    pub fn read_all(bytes: &[u8]) -> Result<(Vec<DirEntry>, Option<DirectorySummary>), FormatError> {
        let mut entries = Vec::new();
        let mut reader = Self::new();
        reader.push(bytes, |entry| entries.push(entry))?;
        Ok((entries, reader.finish()?))
    }
}
