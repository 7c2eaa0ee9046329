//! The binding room: contents in their order become one object, with lists of parts as deep as it takes.

use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::{ContentId, ContentPrefix, ObjectId};
use windlass_repo_format::object::{IndirectEntry, IndirectWriter};
use windlass_repo_format::splitter::{Splitter, SplitterAlgorithm};

use crate::error::{MoverError, Result};
use crate::repository::ContentSink;

/// How the metadata of a repository is written: directories and lists of parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetadataFormat {
    /// The repository's default splitter, also where files use another one.
    pub splitter: SplitterAlgorithm,
    /// The compression that the policy asks for.
    pub compression: Option<Compression>,
}

/// The contents of one object, given in order. Holds one content's name until a second one comes; from then on the
/// list of parts is written as a stream, so memory does not grow with the object.
#[derive(Clone, Debug)]
pub(crate) struct PartList {
    format: MetadataFormat,
    /// The prefix of the list's own contents: the object's prefix, or `x`.
    prefix: ContentPrefix,
    first: Option<(ContentId, u64)>,
    len: u64,
    list: Option<Box<ListStream>>,
}

#[derive(Clone, Debug)]
struct ListStream {
    encoder: IndirectWriter,
    bytes: Vec<u8>,
    object: ObjectStream,
}

/// One object that is written as a stream of bytes: a directory, or a list of parts.
///
/// Holds the bytes of one unfinished content, at most twice the splitter's average.
#[derive(Clone, Debug)]
pub(crate) struct ObjectStream {
    prefix: Option<ContentPrefix>,
    compression: Option<Compression>,
    splitter: Splitter,
    unfinished: Vec<u8>,
    parts: PartList,
}

impl PartList {
    /// An object without contents so far; `prefix` is that of its contents.
    pub(crate) fn new(prefix: Option<ContentPrefix>, format: MetadataFormat) -> Self {
        Self {
            format,
            prefix: prefix.unwrap_or(ContentPrefix::INDIRECT),
            first: None,
            len: 0,
            list: None,
        }
    }

    /// Bytes of the object so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether no content was given so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds the next content of the object.
    pub(crate) fn push(&mut self, content: ContentId, len: u64, sink: &mut dyn ContentSink) -> Result<()> {
        let start = self.len;
        self.len += len;
        let Some((first, first_len)) = self.first else {
            self.first = Some((content, len));
            return Ok(());
        };
        if self.list.is_none() {
            let mut list = ListStream {
                encoder: IndirectWriter::new(),
                bytes: Vec::new(),
                object: ObjectStream::new(Some(self.prefix), self.format.splitter, self.format),
            };
            list.push(
                IndirectEntry {
                    start: 0,
                    len: first_len,
                    object: ObjectId::direct(first),
                },
                sink,
            )?;
            self.list = Some(Box::new(list));
        }
        let list = self.list.as_mut().expect("made above");
        list.push(
            IndirectEntry {
                start,
                len,
                object: ObjectId::direct(content),
            },
            sink,
        )
    }

    /// The object's name. An object without contents gets one empty content.
    pub(crate) fn finish(self, sink: &mut dyn ContentSink) -> Result<ObjectId> {
        let Some(mut list) = self.list else {
            let prefix = Some(self.prefix).filter(|prefix| *prefix != ContentPrefix::INDIRECT);
            let content = match self.first {
                Some((content, _)) => content,
                None => sink.write(prefix, &[], None)?,
            };
            return Ok(ObjectId::direct(content));
        };
        list.encoder.finish(&mut list.bytes);
        list.object.push(&list.bytes, sink)?;
        let written = list.object.finish(sink)?;
        ObjectId::indirect(written).ok_or(MoverError::BadOption {
            option: "splitter",
            value: self.format.splitter.name().to_owned(),
            reason: "an object needs more levels of lists than can be named",
        })
    }
}

impl ListStream {
    fn push(&mut self, entry: IndirectEntry, sink: &mut dyn ContentSink) -> Result<()> {
        self.bytes.clear();
        self.encoder.push(&entry, &mut self.bytes);
        self.object.push(&self.bytes, sink)?;
        self.bytes.clear();
        Ok(())
    }
}

impl ObjectStream {
    /// An empty object whose contents will bear `prefix`.
    pub(crate) fn new(prefix: Option<ContentPrefix>, splitter: SplitterAlgorithm, format: MetadataFormat) -> Self {
        Self {
            prefix,
            compression: format.compression,
            splitter: splitter.start(),
            unfinished: Vec::new(),
            parts: PartList::new(prefix, format),
        }
    }

    /// Adds bytes to the object; contents that they complete are written to `sink`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], sink: &mut dyn ContentSink) -> Result<()> {
        while let Some(cut) = self.splitter.next_cut(bytes) {
            let (head, tail) = bytes.split_at(cut);
            self.unfinished.extend_from_slice(head);
            self.write_unfinished(sink)?;
            bytes = tail;
        }
        self.unfinished.extend_from_slice(bytes);
        Ok(())
    }

    fn write_unfinished(&mut self, sink: &mut dyn ContentSink) -> Result<()> {
        let content = sink.write(self.prefix, &self.unfinished, self.compression)?;
        self.parts.push(content, self.unfinished.len() as u64, sink)?;
        self.unfinished.clear();
        Ok(())
    }

    /// Writes what is left and gives the object's name.
    pub(crate) fn finish(mut self, sink: &mut dyn ContentSink) -> Result<ObjectId> {
        if !self.unfinished.is_empty() || self.parts.is_empty() {
            self.write_unfinished(sink)?;
        }
        self.parts.finish(sink)
    }
}
