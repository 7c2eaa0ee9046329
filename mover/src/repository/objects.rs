//! The reading room for objects: files and directories, put together from their contents part by part.

use std::collections::VecDeque;

use windlass_repo_format::compression;
use windlass_repo_format::id::{ContentId, ObjectId};
use windlass_repo_format::object::decode_indirect;
use windlass_repo_format::snapshot::{DirEntry, DirectoryReader, DirectorySummary};

use super::Repository;
use crate::error::{MoverError, Result};

/// No content grows beyond this when it is decompressed: the index of any version keeps fewer bits.
const CONTENT_LEN_MAX: usize = 1 << 28;

/// One content of an object, in the object's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPart {
    /// Where its bytes begin in the object.
    pub start: u64,
    /// How many bytes the list of parts promises; `None` for an object that is a single content.
    pub len: Option<u64>,
    /// The content.
    pub content: ContentId,
    /// Whether the content holds a compressed stream with its own header (`Z`, format version 1).
    pub compressed: bool,
}

/// The contents of an object, one after the other. Lists of parts are read when they are reached.
#[derive(Debug)]
pub struct ObjectParts {
    id: ObjectId,
    /// What is still to come, nearest last: objects that begin at `start` and have `len` bytes.
    ahead: Vec<(u64, Option<u64>, ObjectId)>,
}

impl Repository {
    /// The contents of an object in their order.
    pub fn object_parts(&self, id: ObjectId) -> ObjectParts {
        ObjectParts {
            id,
            ahead: vec![(0, None, id)],
        }
    }

    /// All bytes of an object that is known to be small: a list of parts, a link's target.
    ///
    /// # Errors
    /// When anything is missing or damaged, or there are more than `limit` bytes.
    pub async fn read_object(&self, id: ObjectId, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut parts = self.object_parts(id);
        while let Some(part) = parts.next(self).await? {
            let read = self.read_part(&id, &part).await?;
            if bytes.len() as u64 + read.len() as u64 > limit {
                let wanted = limit;
                let found = bytes.len() as u64 + read.len() as u64;
                return Err(MoverError::PartLength {
                    id,
                    start: part.start,
                    wanted,
                    found,
                });
            }
            bytes.extend_from_slice(&read);
        }
        Ok(bytes)
    }

    /// The plain bytes of one part of an object, checked against the length that was promised.
    pub async fn read_part(&self, id: &ObjectId, part: &ObjectPart) -> Result<Vec<u8>> {
        let content = self.read_content(&part.content).await?;
        self.finish_part(id, part, content)
    }

    /// From a content's plain bytes to the bytes of the object: inflates a `Z` content and checks the length.
    pub(crate) fn finish_part(&self, id: &ObjectId, part: &ObjectPart, content: Vec<u8>) -> Result<Vec<u8>> {
        let bytes = if part.compressed {
            compression::decompress_by_header(&content, CONTENT_LEN_MAX)
                .map_err(|source| MoverError::Object { id: *id, source })?
        } else {
            content
        };
        match part.len {
            Some(wanted) if wanted != bytes.len() as u64 => Err(MoverError::PartLength {
                id: *id,
                start: part.start,
                wanted,
                found: bytes.len() as u64,
            }),
            _ => Ok(bytes),
        }
    }

    /// The entries of a directory, one after the other, in memory that does not grow with the directory.
    pub fn directory_entries(&self, id: ObjectId) -> DirectoryEntries {
        DirectoryEntries {
            id,
            parts: self.object_parts(id),
            reader: Some(DirectoryReader::new()),
            ready: VecDeque::new(),
            summary: None,
        }
    }
}

impl ObjectParts {
    /// The next content of the object, or `None` after the last.
    pub async fn next(&mut self, repository: &Repository) -> Result<Option<ObjectPart>> {
        while let Some((start, len, object)) = self.ahead.pop() {
            let Some(list) = object.list() else {
                let part = ObjectPart {
                    start,
                    len,
                    content: object.content(),
                    compressed: object.is_compressed(),
                };
                return Ok(Some(part));
            };
            self.expand(repository, start, len, list).await?;
        }
        Ok(None)
    }

    /// Where the last part that is known of ends; after the first part was taken, the length of the object unless it
    /// is a single content.
    pub(crate) fn end(&self) -> Option<u64> {
        let (start, len, _) = self.ahead.first()?;
        start.checked_add((*len)?)
    }

    async fn expand(&mut self, repository: &Repository, start: u64, len: Option<u64>, list: ObjectId) -> Result<()> {
        /// A list longer than this would name more parts than a file of 100 TiB has.
        const LIST_LEN_MAX: u64 = 4 << 30;
        let text = Box::pin(repository.read_object(list, LIST_LEN_MAX)).await?;
        let entries = decode_indirect(&text).map_err(|source| MoverError::Object { id: list, source })?;
        let total = entries.last().map_or(0, |last| last.start + last.len);
        if let Some(wanted) = len.filter(|wanted| *wanted != total) {
            return Err(MoverError::PartLength {
                id: self.id,
                start,
                wanted,
                found: total,
            });
        }
        let shifted = entries
            .iter()
            .rev()
            .map(|entry| (start + entry.start, Some(entry.len), entry.object));
        self.ahead.extend(shifted);
        Ok(())
    }
}

/// The entries of one directory, read as they are needed.
#[derive(Debug)]
pub struct DirectoryEntries {
    id: ObjectId,
    parts: ObjectParts,
    reader: Option<DirectoryReader>,
    ready: VecDeque<DirEntry>,
    summary: Option<DirectorySummary>,
}

impl DirectoryEntries {
    /// The next entry in stored order, or `None` after the last.
    pub async fn next(&mut self, repository: &Repository) -> Result<Option<DirEntry>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            let Some(reader) = self.reader.as_mut() else {
                return Ok(None);
            };
            let id = self.id;
            match self.parts.next(repository).await? {
                Some(part) => {
                    let bytes = repository.read_part(&id, &part).await?;
                    let ready = &mut self.ready;
                    let pushed = reader.push(&bytes, |entry| ready.push_back(entry));
                    pushed.map_err(|source| MoverError::Object { id, source })?;
                }
                None => {
                    let reader = self.reader.take().expect("looked at above");
                    self.summary = reader.finish().map_err(|source| MoverError::Object { id, source })?;
                }
            }
        }
    }

    /// How many entries are in memory at this moment, waiting for [`DirectoryEntries::next`].
    pub(crate) fn held(&self) -> usize {
        self.ready.len()
    }

    /// The directory's own summary; known once [`DirectoryEntries::next`] gave `None`.
    pub fn summary(&self) -> Option<&DirectorySummary> {
        self.summary.as_ref()
    }
}
