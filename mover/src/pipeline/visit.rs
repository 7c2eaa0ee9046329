//! The looking stage: an item comes in; it is found unchanged, read if it is small, or handed on to be read in parts.
//!
//! Run by many threads, because a cold disk answers many questions at once. Budget: 60,000 files of 4 KiB per second
//! cold; holds the small files of one thread that are read together; waits for the file system.

use std::fs::File;
use std::io;
use std::sync::Arc;

use windlass_repo_format::compression::Compression;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::event::{Chunk, Event, Item, Notes, Origin, Step};
use super::extended::Extended;
use super::file_object::{Ending, FileObject};
use super::object_writer::MetadataFormat;
use super::small::{Opened, Visited};
use super::source::{Attributes, FileKind};
use super::split::Split;
use super::walk::{Failed, failure, metadata_compression};

/// Files up to this many bytes are read by the thread that looks at them; larger ones by the engine.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 256 << 10;

/// All bytes of a small file or of a link.
#[derive(Debug)]
pub(crate) struct SmallFile {
    pub object: Arc<FileObject>,
    pub bytes: Vec<u8>,
    pub splitter: SplitterAlgorithm,
    pub changed_while_read: bool,
}

impl SmallFile {
    /// Cuts the file; chunks are given to `each`. Gives how its reading ended.
    pub(crate) fn cut<E>(self, each: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<Ending, E> {
        let Self {
            object,
            bytes,
            splitter,
            changed_while_read,
        } = self;
        let contents = if bytes.len() < splitter.min_chunk_len() {
            each(Chunk {
                plain: bytes.into(),
                object,
                start: 0,
                expected: None,
            })?;
            1
        } else {
            let mut split = Split::new(splitter, object, bytes.len() as u64, None);
            split.push(bytes.into(), each)?;
            split.end(each)?;
            split.chunks()
        };
        Ok(Ending::Read {
            contents,
            changed_while_read,
        })
    }
}

/// What all items of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The repository's splitter, for files whose policy names none.
    pub splitter: SplitterAlgorithm,
    /// The splitter that was asked for, whatever policies say.
    pub splitter_wanted: Option<SplitterAlgorithm>,
    /// The compression that was asked for, whatever policies say; `Some(None)` is none.
    pub compression: Option<Option<Compression>>,
    pub extended: Extended,
    /// No content of any file has more bytes.
    pub content_max: usize,
}

impl Visit {
    /// Looks at one item.
    pub(crate) fn visit(&self, item: Item) -> Visited {
        let sequence = item.sequence;
        match self.look(item) {
            Ok(visited) => visited,
            Err(event) => Visited::Step(Step {
                sequence,
                event: *event,
            }),
        }
    }

    fn look(&self, item: Item) -> Result<Visited, Box<Event>> {
        if item.is_file && item.previous.is_empty() && item.max_file_size.is_none() && !item.one_file_system {
            // It will be read in any case, and whether it is still a file is seen once it is open.
            match item.directory.open_file(&item.name) {
                Ok((file, attributes)) if attributes.kind == FileKind::File => {
                    return Ok(self.opened(item, file, attributes));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Event::Absent.into()),
                Ok(_) | Err(_) => {}
            }
        }
        let attributes = match item.directory.stat(&item.name) {
            Ok(attributes) => attributes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Event::Absent.into()),
            Err(error) => return Err(failed(&item, &error)),
        };
        let too_large = item.max_file_size.is_some_and(|limit| attributes.size > limit);
        if too_large {
            return Err(Event::Excluded {
                kind: attributes.kind,
                size: attributes.size,
            }
            .into());
        }
        match attributes.kind {
            FileKind::File => self.file(item, attributes),
            FileKind::Symlink => self.symlink(item, attributes),
            FileKind::Directory => Err(failed(
                &item,
                &io::Error::other("it became a directory while its folder was being read"),
            )),
            kind => {
                let relative = item.directory.relative_of(&item.name);
                if item.directory.policy.effective().errors.ignore_unknown_types {
                    Err(Event::Skipped { kind, relative }.into())
                } else {
                    Err(failed(&item, &io::Error::other("unknown or unsupported entry type")))
                }
            }
        }
    }

    fn unchanged(&self, item: &Item, attributes: &Attributes, kind: &EntryKind) -> Option<Event> {
        let stored = item
            .previous
            .iter()
            .find(|stored| attributes.is_unchanged(kind, stored))?;
        let object = stored.object;
        let entry = DirEntry {
            object,
            ..attributes.entry(&item.name, kind.clone())
        };
        Some(Event::Stored {
            entry,
            origin: Origin::Cached,
            notes: self.notes(item, attributes, None),
        })
    }

    fn file(&self, item: Item, attributes: Attributes) -> Result<Visited, Box<Event>> {
        let other_device = attributes.device != item.directory.device;
        if item.one_file_system && other_device && item.directory.is_mount_point(&item.name) {
            return Err(Event::Excluded {
                kind: FileKind::File,
                size: attributes.size,
            }
            .into());
        }
        if let Some(event) = self.unchanged(&item, &attributes, &EntryKind::File) {
            return Err(event.into());
        }
        let (file, attributes) = match item.directory.open_file(&item.name) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Event::Absent.into()),
            Err(error) => return Err(failed(&item, &error)),
        };
        if attributes.kind != FileKind::File {
            return Err(failed(
                &item,
                &io::Error::other("it was replaced by something else while being opened"),
            ));
        }
        Ok(self.opened(item, file, attributes))
    }

    /// A file that is to be read.
    fn opened(&self, item: Item, file: File, attributes: Attributes) -> Visited {
        let policy = item.directory.policy.effective();
        let by_policy = || {
            let name = String::from_utf8_lossy(&item.name);
            let name = policy.compression.compressor_for(&name, attributes.size);
            name.and_then(|name| Compression::from_name(name).ok())
        };
        let compression = self.compression.unwrap_or_else(by_policy);
        let splitter = self.splitter_for(policy);
        let part_len = policy.upload.parallel_upload_above_size;
        let ignore_errors = policy.errors.ignore_file_errors;
        let notes = self.notes(&item, &attributes, Some(&file));
        let object = self.object(&item, &attributes, EntryKind::File, compression, notes);
        let opened = Opened {
            item,
            file,
            attributes,
            object,
            splitter,
            part_len,
            ignore_errors,
        };
        if opened.is_small() {
            Visited::Opened(opened)
        } else {
            opened.large()
        }
    }

    fn symlink(&self, item: Item, attributes: Attributes) -> Result<Visited, Box<Event>> {
        if let Some(event) = self.unchanged(&item, &attributes, &EntryKind::Symlink) {
            return Err(event.into());
        }
        let target = match item.directory.read_link(&item.name) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Event::Absent.into()),
            Err(error) => return Err(failed(&item, &error)),
        };
        let notes = self.notes(&item, &attributes, None);
        let object = self.object(&item, &attributes, EntryKind::Symlink, None, notes);
        Ok(Visited::Small(SmallFile {
            object,
            bytes: target,
            splitter: self.splitter,
            changed_while_read: false,
        }))
    }

    /// The splitter for files under this policy. Kopia refuses unknown names where they are set, so what is unknown
    /// here is a name of a later version: the repository's own splitter serves.
    pub(crate) fn splitter_for(&self, policy: &windlass_repo_format::policy::EffectivePolicy) -> SplitterAlgorithm {
        let named = policy.splitter.as_deref().filter(|name| !name.is_empty());
        let by_policy = named.and_then(|name| SplitterAlgorithm::from_name(name).ok());
        self.splitter_wanted.or(by_policy).unwrap_or(self.splitter)
    }

    fn object(
        &self,
        item: &Item,
        attributes: &Attributes,
        kind: EntryKind,
        compression: Option<Compression>,
        notes: Notes,
    ) -> Arc<FileObject> {
        let format = MetadataFormat {
            splitter: self.splitter,
            compression: metadata_compression(item.directory.policy.effective()),
        };
        Arc::new(FileObject::new(
            item.sequence,
            attributes.entry(&item.name, kind),
            notes,
            item.directory.relative_of(&item.name),
            compression,
            format,
        ))
    }

    fn notes(&self, item: &Item, attributes: &Attributes, file: Option<&File>) -> Notes {
        let is_file = attributes.kind == FileKind::File;
        let device = attributes.device;
        // Links cannot have attributes of a user's making.
        let extended_attributes = match file {
            Some(file) => self.extended.of_open(device, file),
            None => is_file && self.extended.of_entry(device, &item.directory, &item.name),
        };
        Notes {
            more_links: is_file && attributes.links > 1,
            time_clamped: attributes.mtime_clamped,
            extended_attributes,
            changed_while_read: false,
        }
    }
}

/// The event for an item that could not be read.
pub(super) fn failed(item: &Item, error: &io::Error) -> Box<Event> {
    Box::new(failure(
        &item.directory.policy,
        item.directory.relative_of(&item.name),
        error,
        Failed::File,
    ))
}

/// Whether a file is no longer what it was when its reading began.
pub(crate) fn has_changed(file: &File, before: &Attributes) -> bool {
    let now = rustix::fs::fstat(file).map(|stat| Attributes::of(&stat));
    now.is_ok_and(|now| now.size != before.size || now.mtime != before.mtime)
}
