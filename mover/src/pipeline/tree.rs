//! The gathering stage: steps come in, in the order of the walk; directories go out as they end, then the root.
//!
//! Budget: 400,000 entries per second, some 60 MB/s of directories (bench `stage/tree`; the directories alone:
//! `directory/write`); holds one unfinished content for each directory on the way down; waits for the writing stage when a
//! directory's content is complete.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use windlass_repo_format::FormatError;
use windlass_repo_format::id::ContentPrefix;
use windlass_repo_format::json::lossy_name;
use windlass_repo_format::snapshot::{DirEntry, DirectoryWriter, EntryKind, SnapshotStats, SummaryBuilder};
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::event::{Event, Failure, Notes, Origin};
use super::inline::store;
use super::object_writer::{MetadataFormat, ObjectStream};
use super::seal::Sealing;
use super::source::{Attributes, FileKind};
use crate::error::{MoverError, Result};
use crate::repository::{ContentSink, FullPack, WriteSession};
use crate::snapshot::{Lost, LostKind, Progress};

/// Failures that are kept with their text; more are only counted.
const FAILURES_KEPT_MAX: usize = 1_000;

/// The directories that are open, and what was counted so far.
pub(crate) struct Tree {
    splitter: SplitterAlgorithm,
    stack: Vec<OpenDirectory>,
    progress: Arc<Progress>,
    gathered: Gathered,
}

/// What a run has gathered.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The root; `None` when it could not be read.
    pub root: Option<DirEntry>,
    /// Why the root is not whole.
    pub incomplete: Option<&'static str>,
    pub stats: SnapshotStats,
    /// The first entries that could not be read.
    pub failures: Vec<Failure>,
    pub failure_count: u64,
    pub ignored_failure_count: u64,
    pub lost: BTreeMap<LostKind, Lost>,
}

#[derive(Clone)]
struct OpenDirectory {
    name: Vec<u8>,
    relative: Vec<u8>,
    attributes: Attributes,
    extended_attributes: bool,
    writer: DirectoryWriter,
    stream: ObjectStream,
    summary: SummaryBuilder,
    /// The names with U+FFFD in them, as readers will see them: a name that is not UTF-8 may look like another one.
    /// Hashes, because a directory in another encoding may have millions.
    lossy: HashSet<u64>,
    /// In a checkpoint: files of which only a part is there, under the names that say so.
    unfinished: Vec<DirEntry>,
}

/// Something that a checkpoint holds although its turn in the tree has not come.
#[derive(Debug)]
pub(crate) enum Ahead {
    /// A step that has come early.
    Known(Event),
    /// As much of a file as there is.
    Unfinished(DirEntry),
}

impl Tree {
    pub(crate) fn new(splitter: SplitterAlgorithm, progress: Arc<Progress>) -> Self {
        Self {
            splitter,
            stack: Vec::new(),
            progress,
            gathered: Gathered::default(),
        }
    }

    /// From here on, directories that end are marked as not whole.
    pub(crate) fn mark_incomplete(&mut self, why: &'static str) {
        self.gathered.incomplete.get_or_insert(why);
    }

    /// What was gathered, once the root has ended.
    pub(crate) fn into_gathered(self) -> Gathered {
        self.gathered
    }

    /// Takes in the next step of the walk.
    pub(crate) fn take(&mut self, event: Event, sink: &mut dyn ContentSink) -> Result<()> {
        match event {
            Event::Enter {
                name,
                relative,
                attributes,
                extended_attributes,
                compression,
            } => {
                let format = MetadataFormat {
                    splitter: self.splitter,
                    compression,
                };
                self.gathered.stats.dir_count += 1;
                self.progress.directories.fetch_add(1, Ordering::Relaxed);
                let directory = OpenDirectory::new(name, relative, attributes, format);
                self.stack.push(OpenDirectory {
                    extended_attributes,
                    ..directory
                });
                Ok(())
            }
            Event::Leave => self.leave(sink),
            Event::Stored { entry, origin, notes } => self.stored(entry, origin, notes, sink),
            Event::Excluded {
                kind: FileKind::Directory,
                ..
            } => {
                self.gathered.stats.excluded_dir_count += 1;
                Ok(())
            }
            Event::Excluded { size, .. } => {
                self.gathered.stats.excluded_file_count += 1;
                self.gathered.stats.excluded_total_size += size;
                Ok(())
            }
            Event::Skipped { kind, relative } => {
                self.note(LostKind::SpecialFile(kind), &relative);
                Ok(())
            }
            Event::Failed(failure) => {
                self.failed(failure);
                Ok(())
            }
            Event::Absent => Ok(()),
        }
    }

    fn stored(&mut self, entry: DirEntry, origin: Origin, notes: Notes, sink: &mut dyn ContentSink) -> Result<()> {
        match (origin, entry.kind == EntryKind::Symlink) {
            (Origin::Cached, _) => {
                self.gathered.stats.cached_files += 1;
                self.gathered.stats.total_size += entry.size;
                self.progress.cached_files.fetch_add(1, Ordering::Relaxed);
                self.progress.cached_bytes.fetch_add(entry.size, Ordering::Relaxed);
            }
            (Origin::Read, false) => {
                self.gathered.stats.file_count += 1;
                // As Kopia counts: a file that is the whole source is compared with nothing.
                self.gathered.stats.non_cached_files += u64::from(!self.stack.is_empty());
                self.gathered.stats.total_size += entry.size;
                self.progress.files.fetch_add(1, Ordering::Relaxed);
            }
            (Origin::Read, true) => {}
        }
        self.notes(&entry.name, notes);
        self.note_name(&entry.name);
        match self.stack.last_mut() {
            Some(directory) => directory.push(&entry, sink),
            None => {
                self.gathered.root = Some(entry);
                Ok(())
            }
        }
    }

    /// The path of a child of the innermost directory. A file that is the whole source is its own path.
    fn relative_of(&self, name: &[u8]) -> Vec<u8> {
        match self.stack.last() {
            Some(directory) if !directory.relative.is_empty() => [&directory.relative[..], b"/", name].concat(),
            _ => name.to_vec(),
        }
    }

    /// Counts a name that readers will see otherwise, or that they cannot tell from another one.
    fn note_name(&mut self, name: &[u8]) {
        let is_utf8 = match std::str::from_utf8(name) {
            Ok(text) if !text.contains(char::REPLACEMENT_CHARACTER) => return,
            valid => valid.is_ok(),
        };
        let collides = self
            .stack
            .last_mut()
            .is_some_and(|directory| directory.sees_again(&lossy_name(name)));
        let kind = if collides {
            LostKind::NameCollides
        } else {
            LostKind::NameNotUtf8
        };
        if collides || !is_utf8 {
            let relative = self.relative_of(name);
            self.note(kind, &relative);
        }
    }

    fn notes(&mut self, name: &[u8], notes: Notes) {
        if notes == Notes::default() {
            return;
        }
        let relative = self.relative_of(name);
        for (happened, kind) in [
            (notes.more_links, LostKind::HardLink),
            (notes.time_clamped, LostKind::TimeOutOfRange),
            (notes.extended_attributes, LostKind::ExtendedAttributes),
            (notes.changed_while_read, LostKind::ChangedWhileRead),
        ] {
            if happened {
                self.note(kind, &relative);
            }
        }
    }

    fn note(&mut self, kind: LostKind, relative: &[u8]) {
        self.gathered.lost.entry(kind).or_default().add(relative);
    }

    fn failed(&mut self, failure: Failure) {
        if let Some(directory) = self.stack.last_mut() {
            directory
                .summary
                .add_failed(failure.relative.as_slice(), failure.error.as_bytes(), failure.ignored);
        }
        // As Kopia counts them.
        if failure.is_directory {
            self.gathered.stats.dir_count += 1;
        } else {
            self.gathered.stats.non_cached_files += 1;
        }
        if failure.ignored {
            self.gathered.stats.ignored_error_count += 1;
            self.gathered.ignored_failure_count += 1;
        } else {
            self.gathered.stats.error_count += 1;
            self.gathered.failure_count += 1;
            self.progress.failures.fetch_add(1, Ordering::Relaxed);
        }
        if self.gathered.failures.len() < FAILURES_KEPT_MAX {
            self.gathered.failures.push(failure);
        }
    }

    fn leave(&mut self, sink: &mut dyn ContentSink) -> Result<()> {
        let directory = self.stack.pop().expect("the walk leaves only what it entered");
        let relative = directory.relative.clone();
        let lost = [
            (directory.attributes.mtime_clamped, LostKind::TimeOutOfRange),
            (directory.extended_attributes, LostKind::ExtendedAttributes),
        ];
        let entry = directory.close(self.gathered.incomplete, sink)?;
        for (_, kind) in lost.into_iter().filter(|(is_lost, _)| *is_lost) {
            self.note(kind, &relative);
        }
        self.note_name(&entry.name);
        match self.stack.last_mut() {
            Some(parent) => parent.push(&entry, sink),
            None => {
                self.gathered.root = Some(entry);
                Ok(())
            }
        }
    }

    /// A tree of nothing but the innermost open directory, in which it is tried out how this one would go on.
    fn rehearsal(&self) -> Self {
        let gathered = Gathered {
            incomplete: self.gathered.incomplete,
            stats: self.gathered.stats,
            ..Gathered::default()
        };
        Self {
            splitter: self.splitter,
            stack: self.stack.last().cloned().into_iter().collect(),
            progress: Arc::default(),
            gathered,
        }
    }

    /// The tree as it is now, closed at every level: the root of a checkpoint, and what was counted. `None` where there
    /// is nothing yet.
    ///
    /// What is known of entries whose turn has not come is `ahead`, in the order of the walk, which has told of every
    /// directory up to the last of them. So a file that takes days does not keep what follows it out of the checkpoint.
    /// One open directory is copied at a time.
    pub(crate) fn checkpoint(
        &self,
        why: &'static str,
        ahead: impl Iterator<Item = Ahead>,
        sink: &mut dyn ContentSink,
    ) -> Result<Option<(DirEntry, SnapshotStats)>> {
        let mut copy = self.rehearsal();
        copy.mark_incomplete(why);
        let mut above = self.stack.iter().rev().skip(1);
        for ahead in ahead {
            match ahead {
                Ahead::Known(event) => {
                    if matches!(event, Event::Leave) && copy.stack.len() == 1 {
                        let parent = above.next().cloned();
                        copy.stack.splice(0..0, parent);
                    }
                    copy.take(event, sink)?;
                }
                Ahead::Unfinished(entry) => match copy.stack.last_mut() {
                    Some(directory) => directory.unfinished.push(entry),
                    None => copy.gathered.root = Some(entry),
                },
            }
        }
        while let Some(directory) = copy.stack.pop() {
            let entry = directory.close(Some(why), sink)?;
            if copy.stack.is_empty() {
                copy.stack.extend(above.next().cloned());
            }
            match copy.stack.last_mut() {
                Some(parent) => parent.push(&entry, sink)?,
                None => copy.gathered.root = Some(entry),
            }
        }
        let Gathered { root, stats, .. } = copy.gathered;
        Ok(root.map(|root| (root, stats)))
    }
}

impl OpenDirectory {
    fn new(name: Vec<u8>, relative: Vec<u8>, attributes: Attributes, format: MetadataFormat) -> Self {
        Self {
            name,
            relative,
            attributes,
            extended_attributes: false,
            writer: DirectoryWriter::new(),
            stream: ObjectStream::new(Some(ContentPrefix::DIRECTORY), format.splitter, format),
            summary: SummaryBuilder::keeping(FAILURES_KEPT_MAX),
            lossy: HashSet::new(),
            unfinished: Vec::new(),
        }
    }

    /// Whether a name, as readers will see it, was there before.
    fn sees_again(&mut self, name: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        !self.lossy.insert(hasher.finish())
    }

    fn push(&mut self, entry: &DirEntry, sink: &mut dyn ContentSink) -> Result<()> {
        let mut bytes = Vec::new();
        let pushed = self.writer.push(entry, &mut bytes);
        pushed.map_err(|source| not_writable(&self.name, source))?;
        self.summary.add(entry);
        self.stream.push(&bytes, sink)
    }

    fn close(self, incomplete: Option<&'static str>, sink: &mut dyn ContentSink) -> Result<DirEntry> {
        let Self {
            name,
            attributes,
            mut writer,
            mut stream,
            mut summary,
            unfinished,
            ..
        } = self;
        let mut bytes = Vec::new();
        for entry in &unfinished {
            let pushed = writer.push_behind(entry, &mut bytes);
            pushed.map_err(|source| not_writable(&name, source))?;
            summary.add(entry);
        }
        let summary = summary.finish(attributes.mtime, incomplete.map(str::to_owned));
        let finished = writer.finish(&summary, &mut bytes);
        finished.map_err(|source| not_writable(&name, source))?;
        stream.push(&bytes, sink)?;
        let object = Some(stream.finish(sink)?);
        Ok(DirEntry {
            object,
            summary: Some(summary),
            ..attributes.entry(&name, EntryKind::Directory)
        })
    }
}

fn not_writable(name: &[u8], source: FormatError) -> MoverError {
    MoverError::NotWritable {
        what: format!("directory {:?}", String::from_utf8_lossy(name)),
        source,
    }
}

/// A directory that exists only in the snapshot, with a volume's content as its only entry.
pub(crate) fn volume_directory(
    file: DirEntry,
    name: &[u8],
    mtime: Timestamp,
    format: MetadataFormat,
    incomplete: Option<&'static str>,
    session: &WriteSession,
) -> Result<DirEntry> {
    let attributes = Attributes::of_volume(mtime);
    let mut directory = OpenDirectory::new(name.to_vec(), Vec::new(), attributes, format);
    let mut sealing = Sealing::new(session);
    let mut deliver = |full: FullPack<'_>| store(session, full);
    let mut sink = sealing.sink(&mut deliver);
    directory.push(&file, &mut sink)?;
    directory.close(incomplete, &mut sink)
}
