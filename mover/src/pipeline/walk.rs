//! The walking stage: a tree comes in, its entries go out one after the other in the order in which they are stored.
//!
//! Subdirectories come before files, so a directory's entries arrive in stored order and nothing has to be sorted
//! again. Budget: 200,000 names per second warm; holds the names of the directories on the way down (8 MiB per
//! directory, the rest on disk) and as many of them open as may be, and waits for the file system and for a free place
//! in the window.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;
use tracing::debug;
use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::ignore::{CACHE_DIR_TAG, IgnoreRules, is_cache_dir_tag};
use windlass_repo_format::policy::{EffectivePolicy, PolicyPlace};
use windlass_repo_format::snapshot::DirEntry;

use super::event::{Event, Failure, Item, Sequence, Step};
use super::extended::Extended;
use super::names::{Name, NameSorter, SORT_BYTES_MAX, SortedNames};
use super::previous::Previous;
use super::source::{Attributes, ClosedDirectory, FileKind, OpenDirectory};
use crate::error::{MoverError, Result};
use crate::fetch::{Slot, Slots, open_files_max};
use crate::patience::wait_for;
use crate::repository::Repository;

/// A file of rules that is larger than this makes its directory unreadable.
const RULES_LEN_MAX: u64 = 16 << 20;
/// How much of a tag is looked at.
const CACHE_DIR_TAG_LEN_MAX: u64 = 4096;

/// What the walk gives.
#[derive(Debug)]
pub(crate) enum Walked {
    /// Something the tree can be told at once.
    Step(Step),
    /// Something that has to be looked at first.
    Item(Item),
}

/// A walk over a source directory.
#[derive(Debug)]
pub(crate) struct Walk {
    repository: Repository,
    extended: Extended,
    levels: Vec<Level>,
    /// The directory that was left last, while the one above it is closed.
    below: Option<Arc<OpenDirectory>>,
    /// Directories that may be open, those of entries that are still being looked at included.
    places: Slots,
    /// The root, before its first name is asked for.
    pending: Option<Box<(Event, Level)>>,
    next: Sequence,
}

#[derive(Debug)]
struct Level {
    directory: Standing,
    names: SortedNames,
    previous: Previous,
    rules: Arc<IgnoreRules>,
}

/// Whether a directory on the way down is open. The one whose names are being read always is, unless it is lost.
#[derive(Debug)]
enum Standing {
    Open(Arc<OpenDirectory>),
    /// Far above, while too many are open.
    Closed(ClosedDirectory),
    /// It was closed and is no longer where it was.
    Lost,
}

/// Where a walk begins.
#[derive(Debug)]
pub(crate) struct WalkRoot {
    pub fd: OwnedFd,
    pub attributes: Attributes,
    /// The whole path, for messages.
    pub path: PathBuf,
    /// The name of the snapshot's root entry.
    pub name: Vec<u8>,
}

impl Walk {
    /// Starts at an open directory.
    ///
    /// # Errors
    /// A root that cannot be read fails the whole snapshot.
    pub(crate) fn new(
        repository: Repository,
        root: WalkRoot,
        policy: PolicyPlace,
        previous: Vec<ObjectId>,
        extended: Extended,
    ) -> Result<Self> {
        let WalkRoot {
            fd,
            attributes,
            path,
            name,
        } = root;
        let directory = OpenDirectory::new(fd, attributes.device, path.clone(), Vec::new(), policy);
        let failed = |source| MoverError::File {
            doing: "read folder",
            path,
            source,
        };
        let previous = Previous::open(&repository, previous);
        let event = enter_event(&directory, name, attributes, &extended);
        let level = Level::open(directory, previous, None).map_err(failed)?;
        Ok(Self {
            repository,
            extended,
            levels: Vec::new(),
            below: None,
            places: Slots::new(open_files_max()),
            pending: Some(Box::new((event, level))),
            next: 0,
        })
    }

    fn step(&mut self, event: Event) -> Option<Walked> {
        let sequence = self.number();
        Some(Walked::Step(Step { sequence, event }))
    }

    fn number(&mut self) -> Sequence {
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Leaves the directories that are open without looking further into them.
    pub(crate) fn cut_short(&mut self) {
        for level in &mut self.levels {
            level.names = SortedNames::default();
        }
    }

    /// The next step or item, or `None` after the root was left.
    pub(crate) fn next(&mut self) -> Option<Walked> {
        if let Some(root) = self.pending.take() {
            let (event, level) = *root;
            self.levels.push(level);
            return self.step(event);
        }
        if let Some(lost) = self.open_again() {
            return self.step(lost);
        }
        let level = self.levels.last_mut()?;
        let directory = match &level.directory {
            Standing::Open(directory) => directory.clone(),
            Standing::Closed(_) | Standing::Lost => return self.leave(),
        };
        match level.names.next() {
            Ok(Some(name)) if name.is_other => self.other(&directory, name),
            Ok(Some(name)) => self.directory(&directory, name.bytes),
            Ok(None) => self.leave(),
            Err(error) => {
                // The names that were sorted outside memory cannot be read back: the directory is incomplete.
                level.names = SortedNames::default();
                let relative = directory.relative.clone();
                self.step(failure(&directory.policy, relative, &error, Failed::Directory))
            }
        }
    }

    fn leave(&mut self) -> Option<Walked> {
        let left = self.levels.pop()?;
        let above = self.levels.last().map(|level| &level.directory);
        if let (Standing::Open(left), Some(Standing::Closed(_))) = (left.directory, above) {
            self.below = Some(left);
        }
        self.step(Event::Leave)
    }

    /// Opens the directory that is read on from now, if it was closed. One that cannot be found again is incomplete.
    fn open_again(&mut self) -> Option<Event> {
        if !matches!(self.levels.last()?.directory, Standing::Closed(_)) {
            return None;
        }
        let slot = self.place();
        let below = self.below.take();
        let level = self.levels.last_mut()?;
        let Standing::Closed(closed) = &level.directory else {
            return None;
        };
        match closed.open(below.as_deref()) {
            Ok(directory) => {
                let directory = directory.in_place(slot);
                level.directory = Standing::Open(Arc::new(directory));
                None
            }
            Err(error) => {
                let lost = failure(&closed.policy, closed.relative.clone(), &error, Failed::Directory);
                level.directory = Standing::Lost;
                level.names = SortedNames::default();
                Some(lost)
            }
        }
    }

    /// A place for one more open directory. Where there is none, those far above are closed, and those whose entries
    /// are being looked at waited for; after some time it is tried without.
    fn place(&mut self) -> Option<Slot> {
        wait_for(|| {
            let place = self.places.try_take(1);
            if place.is_none() && self.close_those_above() {
                return self.places.try_take(1);
            }
            place
        })
    }

    /// Closes all directories above the one being read of which nobody needs an entry. Whether there was one.
    fn close_those_above(&mut self) -> bool {
        let here = self.levels.len().saturating_sub(1);
        let mut some = false;
        for level in &mut self.levels[..here] {
            let standing = std::mem::replace(&mut level.directory, Standing::Lost);
            level.directory = match standing {
                Standing::Open(directory) => match Arc::try_unwrap(directory).map(OpenDirectory::close) {
                    Ok(Ok(closed)) => {
                        some = true;
                        Standing::Closed(closed)
                    }
                    Ok(Err((directory, error))) => {
                        debug!(%error, "a folder stays open");
                        Standing::Open(Arc::new(*directory))
                    }
                    Err(shared) => Standing::Open(shared),
                },
                other => other,
            };
        }
        some
    }

    fn other(&mut self, directory: &Arc<OpenDirectory>, name: Name) -> Option<Walked> {
        let Name {
            bytes: name, is_file, ..
        } = name;
        let level = self.levels.last_mut()?;
        let relative = directory.relative_of(&name);
        if level.rules.is_ignored(&relative, false) {
            let event = match directory.stat(&name) {
                Ok(attributes) => Event::Excluded {
                    kind: attributes.kind,
                    size: attributes.size,
                },
                Err(_) => Event::Absent,
            };
            return self.step(event);
        }
        let previous: Vec<DirEntry> = level.previous.find(&self.repository, true, &name);
        let max_file_size = level.rules.max_file_size();
        let one_file_system = level.rules.one_file_system();
        Some(Walked::Item(Item {
            sequence: self.number(),
            directory: directory.clone(),
            name,
            is_file,
            previous,
            max_file_size,
            one_file_system,
        }))
    }

    fn directory(&mut self, parent: &OpenDirectory, name: Vec<u8>) -> Option<Walked> {
        let level = self.levels.last_mut()?;
        let relative = parent.relative_of(&name);
        if level.rules.is_ignored(&relative, true) {
            return self.step(Event::Excluded {
                kind: FileKind::Directory,
                size: 0,
            });
        }
        let previous = level.previous.find(&self.repository, false, &name);
        let rules = level.rules.clone();
        // Looked at before it is opened: what is mounted there may not let anybody in.
        let is_elsewhere = |attributes: Attributes| attributes.device != parent.device;
        if rules.one_file_system() && parent.stat(&name).is_ok_and(is_elsewhere) {
            return self.step(Event::Excluded {
                kind: FileKind::Directory,
                size: 0,
            });
        }
        let slot = self.place();
        match open_child(parent, &name) {
            Ok((fd, attributes)) => {
                let policy = parent.policy.enter(&String::from_utf8_lossy(&name));
                let directory =
                    OpenDirectory::new(fd, attributes.device, parent.path_of(&name), relative.clone(), policy)
                        .in_place(slot);
                let objects = previous.iter().filter_map(|entry| entry.object).collect();
                let previous = Previous::open(&self.repository, objects);
                let event = enter_event(&directory, name, attributes, &self.extended);
                match Level::open(directory, previous, Some(&rules)) {
                    Ok(level) => {
                        self.levels.push(level);
                        self.step(event)
                    }
                    Err(error) => self.step(failure(&parent.policy, relative, &error, Failed::Directory)),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.step(Event::Absent),
            Err(error) => self.step(failure(&parent.policy, relative, &error, Failed::Directory)),
        }
    }
}

/// Whose error policy applies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    File,
    Directory,
}

/// The event for an entry that could not be read, by the policy of the directory it is in.
pub(crate) fn failure(policy: &PolicyPlace, relative: Vec<u8>, error: &io::Error, failed: Failed) -> Event {
    let errors = policy.effective().errors;
    let ignored = match failed {
        Failed::File => errors.ignore_file_errors,
        Failed::Directory => errors.ignore_directory_errors,
    };
    Event::Failed(Failure {
        relative,
        error: error.to_string(),
        kind: error.kind(),
        ignored,
        is_directory: failed == Failed::Directory,
    })
}

/// Opens a child directory.
fn open_child(parent: &OpenDirectory, name: &[u8]) -> io::Result<(OwnedFd, Attributes)> {
    let fd = parent.open_directory(name)?;
    let attributes = Attributes::of(&rustix::fs::fstat(&fd)?);
    Ok((fd, attributes))
}

impl Level {
    /// Reads the names of a directory and the rules that hold in it.
    fn open(directory: OpenDirectory, previous: Previous, parent: Option<&Arc<IgnoreRules>>) -> io::Result<Self> {
        let mut names = read_names(&directory)?;
        let own = directory.policy.defined().map(|policy| &policy.files);
        let rules = match parent {
            None => IgnoreRules::root(&directory.policy.effective().files),
            Some(parent) => IgnoreRules::below(parent, &directory.relative, own),
        };
        let mut rules = rules.map_err(io::Error::other)?;
        for dot_file in rules.dot_files().to_vec() {
            if let Some(bytes) = read_rules(&directory, dot_file.as_bytes())? {
                rules.add_dot_file(&bytes).map_err(io::Error::other)?;
            }
        }
        if rules.ignore_cache_dirs() && is_cache_dir(&directory) {
            names = SortedNames::default();
        }
        Ok(Self {
            directory: Standing::Open(Arc::new(directory)),
            names,
            previous,
            rules: Arc::new(rules),
        })
    }
}

fn enter_event(directory: &OpenDirectory, name: Vec<u8>, attributes: Attributes, extended: &Extended) -> Event {
    Event::Enter {
        name,
        relative: directory.relative.clone(),
        attributes,
        extended_attributes: extended.of_open(attributes.device, directory.as_fd()),
        compression: metadata_compression(directory.policy.effective()),
    }
}

/// How directories and lists of parts are compressed. An unknown name leaves them as they are: all readers manage.
pub(crate) fn metadata_compression(policy: &EffectivePolicy) -> Option<Compression> {
    policy
        .metadata_compressor
        .as_deref()
        .and_then(|name| Compression::from_name(name).ok())
}

fn read_names(directory: &OpenDirectory) -> io::Result<SortedNames> {
    let mut sorter = NameSorter::new(SORT_BYTES_MAX);
    for entry in directory.read()? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => directory
                .stat(name)
                .is_ok_and(|attributes| attributes.kind == FileKind::Directory),
            _ => false,
        };
        sorter.push(Name {
            is_other: !is_directory,
            is_file: entry.file_type() == FileType::RegularFile,
            bytes: name.to_vec(),
        })?;
    }
    sorter.finish()
}

/// The rules in a file of the directory; `None` where there is no such file. A link is followed, and must lead to one:
/// rules that cannot be read are no reason to store what they leave out.
fn read_rules(directory: &OpenDirectory, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let (file, attributes) = match directory.open_file(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            let target = directory.open_followed(name)?;
            if target.1.kind != FileKind::File {
                let text = format!("{} does not lead to a file", String::from_utf8_lossy(name));
                return Err(io::Error::other(text));
            }
            target
        }
        opened => opened?,
    };
    if attributes.kind != FileKind::File {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(RULES_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > RULES_LEN_MAX {
        let text = format!("{} has more than {RULES_LEN_MAX} bytes", String::from_utf8_lossy(name));
        return Err(io::Error::other(text));
    }
    Ok(Some(bytes))
}

fn is_cache_dir(directory: &OpenDirectory) -> bool {
    let Ok((file, attributes)) = directory.open_file(CACHE_DIR_TAG.as_bytes()) else {
        return false;
    };
    let mut bytes = Vec::new();
    attributes.kind == FileKind::File
        && file.take(CACHE_DIR_TAG_LEN_MAX).read_to_end(&mut bytes).is_ok()
        && is_cache_dir_tag(&bytes)
}
