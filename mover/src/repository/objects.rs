//! The reading room for objects: files and directories, put together from their contents part by part.

use std::borrow::Cow;
use std::collections::VecDeque;

use windlass_repo_format::compression;
use windlass_repo_format::id::{ContentId, ObjectId};
use windlass_repo_format::object::{IndirectEntry, IndirectReader};
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

/// The contents of an object, one after the other. Lists of parts are read as far as they are needed: of each list on
/// the way down, one content of its text is in memory.
#[derive(Debug)]
pub struct ObjectParts {
    id: ObjectId,
    /// The object itself, until it was looked at.
    whole: Option<ObjectId>,
    /// The lists on the way down, the one that is being read last.
    lists: Vec<PartsList>,
    /// Contents that hold the texts of lists, since they were last asked for.
    list_contents: Vec<ContentId>,
}

/// A list of parts that is being read.
#[derive(Debug)]
struct PartsList {
    id: ObjectId,
    /// Where what it lists begins in the object.
    start: u64,
    /// How long that is by the list above.
    promised: Option<u64>,
    /// The contents of its text.
    text: Box<ObjectParts>,
    /// What was read of the text and not yet looked at, and how far it was.
    read: Vec<u8>,
    looked_at: usize,
    reader: Option<IndirectReader>,
    ready: VecDeque<IndirectEntry>,
}

impl Repository {
    /// The contents of an object in their order.
    pub fn object_parts(&self, id: ObjectId) -> ObjectParts {
        ObjectParts {
            id,
            whole: Some(id),
            lists: Vec::new(),
            list_contents: Vec::new(),
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
        self.finish_part(id, part, content.into()).map(Cow::into_owned)
    }

    /// From a content's plain bytes to the bytes of the object: inflates a `Z` content and checks the length.
    pub(crate) fn finish_part<'a>(
        &self,
        id: &ObjectId,
        part: &ObjectPart,
        content: Cow<'a, [u8]>,
    ) -> Result<Cow<'a, [u8]>> {
        let bytes = if part.compressed {
            let inflated = compression::decompress_by_header(&content, CONTENT_LEN_MAX);
            Cow::Owned(inflated.map_err(|source| MoverError::Object { id: *id, source })?)
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
    /// The next content of the object, or `None` after the last and after an error.
    ///
    /// # Errors
    /// When a list cannot be read, or lists something else than is promised. Its first parts may have been given then.
    pub async fn next(&mut self, repository: &Repository) -> Result<Option<ObjectPart>> {
        let next = self.advance(repository).await;
        if next.is_err() {
            self.lists.clear();
        }
        next
    }

    /// The contents that hold the lists themselves: those that were read since this was asked for last.
    pub(crate) fn take_list_contents(&mut self) -> Vec<ContentId> {
        std::mem::take(&mut self.list_contents)
    }

    async fn advance(&mut self, repository: &Repository) -> Result<Option<ObjectPart>> {
        if let Some(whole) = self.whole.take()
            && let Some(part) = self.enter(repository, 0, None, whole)
        {
            return Ok(Some(part));
        }
        while let Some(list) = self.lists.last_mut() {
            match list.next(repository, &mut self.list_contents).await? {
                Some(entry) => {
                    list.check_end(self.id, entry.start + entry.len, false)?;
                    let start = list.start + entry.start;
                    if let Some(part) = self.enter(repository, start, Some(entry.len), entry.object) {
                        return Ok(Some(part));
                    }
                }
                None => {
                    self.lists.pop();
                }
            }
        }
        Ok(None)
    }

    /// The only content of an object; `None` for one with a list of parts, which is read next.
    fn enter(&mut self, repository: &Repository, start: u64, len: Option<u64>, object: ObjectId) -> Option<ObjectPart> {
        let Some(list) = object.list() else {
            return Some(ObjectPart {
                start,
                len,
                content: object.content(),
                compressed: object.is_compressed(),
            });
        };
        self.lists.push(PartsList {
            id: list,
            start,
            promised: len,
            text: Box::new(repository.object_parts(list)),
            read: Vec::new(),
            looked_at: 0,
            reader: Some(IndirectReader::new()),
            ready: VecDeque::new(),
        });
        None
    }
}

impl PartsList {
    /// So many bytes of text are looked at together.
    const STEP_LEN: usize = 16 << 10;

    async fn next(&mut self, repository: &Repository, read_from: &mut Vec<ContentId>) -> Result<Option<IndirectEntry>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            let Some(reader) = self.reader.as_mut() else {
                return Ok(None);
            };
            let id = self.id;
            let bad = |source| MoverError::Object { id, source };
            if self.looked_at < self.read.len() {
                let end = self.read.len().min(self.looked_at + Self::STEP_LEN);
                let ready = &mut self.ready;
                let pushed = reader.push(&self.read[self.looked_at..end], |entry| ready.push_back(entry));
                pushed.map_err(bad)?;
                self.looked_at = end;
            } else if let Some(part) = Box::pin(self.text.next(repository)).await? {
                read_from.append(&mut self.text.list_contents);
                read_from.push(part.content);
                self.read = repository.read_part(&id, &part).await?;
                self.looked_at = 0;
            } else {
                let reader = self.reader.take().expect("looked at above");
                let total = reader.finish().map_err(bad)?;
                self.check_end(id, total, true)?;
            }
        }
    }

    /// Whether what was listed so far, or in all, is as long as the list above promises.
    fn check_end(&self, id: ObjectId, found: u64, is_all: bool) -> Result<()> {
        match self.promised {
            Some(wanted) if found > wanted || (is_all && found != wanted) => Err(MoverError::PartLength {
                id,
                start: self.start,
                wanted,
                found,
            }),
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use windlass_repo_format::id::ContentPrefix;
    use windlass_repo_format::object::encode_indirect;

    use super::*;
    use crate::blocking::block_on;
    use crate::sample::Sample;

    /// The object of a list of parts, its text in contents of so many bytes.
    fn listed(sample: &Sample, entries: &[IndirectEntry], text_len: usize) -> ObjectId {
        let write = |bytes: &[u8]| {
            let written = sample
                .session()
                .write_content(Some(ContentPrefix::INDIRECT), bytes, None);
            ObjectId::direct(block_on(written).unwrap())
        };
        let text = encode_indirect(entries);
        if text.len() <= text_len {
            return ObjectId::indirect(write(&text)).unwrap();
        }
        let mut start = 0;
        let parts: Vec<IndirectEntry> = text
            .chunks(text_len)
            .map(|bytes| {
                let (len, object) = (bytes.len() as u64, write(bytes));
                start += len;
                let start = start - len;
                IndirectEntry { start, len, object }
            })
            .collect();
        ObjectId::indirect(listed(sample, &parts, text_len)).unwrap()
    }

    fn follow(parts: &[(u64, ObjectId)]) -> Vec<IndirectEntry> {
        let mut start = 0;
        let entries = parts.iter().map(|&(len, object)| {
            start += len;
            let start = start - len;
            IndirectEntry { start, len, object }
        });
        entries.collect()
    }

    #[test]
    fn lists_of_lists_and_lists_in_lists_are_read_as_they_are_needed() {
        let sample = Sample::new();
        let (one, two) = (sample.object(b"one"), sample.object(b"second"));
        // The text takes some contents, and so does the list of these.
        let many: Vec<(u64, ObjectId)> = (0..3000)
            .map(|number| if number % 2 == 0 { (3, one) } else { (6, two) })
            .collect();
        let inner = listed(&sample, &follow(&many), 60_000);
        assert!(inner.list().is_some_and(|list| list.list().is_some()), "{inner}");
        let whole = listed(&sample, &follow(&[(6, two), (13_500, inner), (3, one)]), 60_000);
        sample.flush();
        let mut parts = sample.repository.object_parts(whole);
        let (mut end, mut count) = (0, 0);
        while let Some(part) = block_on(parts.next(&sample.repository)).unwrap() {
            assert_eq!(part.start, end);
            end += part.len.unwrap();
            count += 1;
            let held: usize = parts.lists.iter().map(|list| list.ready.len()).sum();
            assert!(held <= PartsList::STEP_LEN / 40, "{held} parts are held");
        }
        assert_eq!((count, end), (3002, 13_509));
        let bytes = block_on(sample.repository.read_object(whole, 1 << 20)).unwrap();
        assert_eq!((&bytes[..9], &bytes[13_500..]), (&b"secondone"[..], &b"secondone"[..]));
    }

    #[test]
    fn a_list_that_is_longer_or_shorter_than_promised_ends_with_an_error() {
        let sample = Sample::new();
        let one = sample.object(b"one");
        let inner = listed(&sample, &follow(&[(3, one), (3, one)]), 60_000);
        for (promised, before) in [(5, 1), (7, 2), (2, 0)] {
            let whole = listed(&sample, &follow(&[(promised, inner), (3, one)]), 60_000);
            sample.flush();
            let mut parts = sample.repository.object_parts(whole);
            for _ in 0..before {
                assert!(block_on(parts.next(&sample.repository)).unwrap().is_some());
            }
            let error = block_on(parts.next(&sample.repository)).unwrap_err();
            assert!(matches!(error, MoverError::PartLength { .. }), "{promised}: {error}");
            assert!(block_on(parts.next(&sample.repository)).unwrap().is_none());
        }
    }
}
