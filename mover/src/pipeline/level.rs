//! One directory on the way of the walk: its names in order, its rules, and what earlier snapshots knew of it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::ignore::{CACHE_DIR_TAG, IgnoreRules, is_cache_dir_tag};

use super::event::Event;
use super::extended::Extended;
use super::names::{NAME_OVERHEAD, Name, NameSorter, SORT_BYTES_MAX, SortedNames};
use super::previous::Previous;
use super::scouts::Asked;
use super::source::{Attributes, ClosedDirectory, FileKind, OpenDirectory};
use super::walk::metadata_compression;
use crate::fetch::Slot;
use crate::repository::Repository;

/// A file of rules that is larger than this makes its directory unreadable.
const RULES_LEN_MAX: u64 = 16 << 20;
/// How much of a tag is looked at.
const CACHE_DIR_TAG_LEN_MAX: u64 = 4096;

#[derive(Debug)]
pub(super) struct Level {
    pub directory: Standing,
    pub names: Names,
    pub previous: Previous,
    pub rules: Arc<IgnoreRules>,
}

/// Whether a directory on the way down is open. The one whose names are being read always is, unless it is lost.
#[derive(Debug)]
pub(super) enum Standing {
    Open(Arc<OpenDirectory>),
    /// Far above, while too many are open.
    Closed(ClosedDirectory),
    /// It was closed and is no longer where it was.
    Lost,
}

/// The names of a directory that are still to come.
#[derive(Debug, Default)]
pub(super) struct Names {
    sorted: SortedNames,
    /// The next ones, which were looked at ahead of their turn.
    drawn: VecDeque<Drawn>,
    /// All directories have been drawn.
    others: bool,
}

/// What is next in a directory.
#[derive(Debug)]
pub(super) enum Drawn {
    Name(Name),
    /// A directory that others have been asked to open.
    Asked(Asked),
    /// The names that were sorted outside memory cannot be read back.
    Failed(io::Error),
}

impl Names {
    /// The next of all.
    pub(super) fn next(&mut self) -> Option<Drawn> {
        self.drawn.pop_front().or_else(|| match self.sorted.next() {
            Ok(name) => name.map(Drawn::Name),
            Err(error) => Some(Drawn::Failed(error)),
        })
    }

    /// Whether directories may still come that nobody has been asked for: only those come first, and at most so many are
    /// drawn.
    pub(super) fn may_draw(&self, most: usize) -> bool {
        !self.others && self.drawn.len() < most
    }

    /// Draws one more name, to be put back by [`Names::put_back`].
    pub(super) fn draw(&mut self) -> Option<Name> {
        match self.sorted.next() {
            Ok(name) => {
                self.others = name.as_ref().is_none_or(|name| name.is_other);
                name
            }
            Err(error) => {
                self.others = true;
                self.put_back(Drawn::Failed(error));
                None
            }
        }
    }

    /// Puts a name that was drawn, or what became of it, behind all others that were.
    pub(super) fn put_back(&mut self, drawn: Drawn) {
        self.drawn.push_back(drawn);
    }
}

/// All that is needed to enter a directory, for whoever does it.
#[derive(Debug)]
pub(super) struct Entering {
    pub repository: Repository,
    pub extended: Extended,
    pub parent: Arc<OpenDirectory>,
    pub name: Vec<u8>,
    pub rules: Arc<IgnoreRules>,
    /// The directories of this name in earlier snapshots.
    pub previous: Vec<ObjectId>,
    pub slot: Option<Slot>,
}

/// What came of entering a directory.
#[derive(Debug)]
pub(super) enum Entered {
    /// What the tree is told, and where the walk goes on.
    In(Box<(Event, Level)>),
    /// There is none of that name any more.
    Gone,
    /// Its names take more than was allowed.
    TooLarge,
}

impl Entering {
    /// Opens the directory, lists it and reads its rules.
    pub(super) fn enter(self) -> io::Result<Entered> {
        self.enter_small(usize::MAX, Previous::WINDOW)
    }

    /// As [`Entering::enter`], unless the names take more than so many bytes. Of earlier directories so many entries are
    /// read at once.
    pub(super) fn enter_small(self, bytes_max: usize, window: usize) -> io::Result<Entered> {
        let Self {
            repository,
            extended,
            parent,
            name,
            rules,
            previous,
            slot,
        } = self;
        let (fd, attributes) = match open_child(&parent, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entered::Gone),
            opened => opened?,
        };
        let policy = parent.policy.enter(&String::from_utf8_lossy(&name));
        let (path, relative) = (parent.path_of(&name), parent.relative_of(&name));
        let directory = OpenDirectory::new(fd, attributes.device, path, relative, policy).in_place(slot);
        let Some(names) = read_names(&directory, bytes_max)? else {
            return Ok(Entered::TooLarge);
        };
        let previous = Previous::open(&repository, previous, window);
        let event = enter_event(&directory, name, attributes, &extended);
        let level = Level::new(directory, names, previous, Some(&rules))?;
        Ok(Entered::In(Box::new((event, level))))
    }
}

/// Opens a child directory.
fn open_child(parent: &OpenDirectory, name: &[u8]) -> io::Result<(OwnedFd, Attributes)> {
    let fd = parent.open_directory(name)?;
    let attributes = Attributes::of(&rustix::fs::fstat(&fd)?);
    Ok((fd, attributes))
}

impl Level {
    /// The root of a walk.
    pub(super) fn root(directory: OpenDirectory, previous: Previous) -> io::Result<Self> {
        let names = read_names(&directory, usize::MAX)?;
        Self::new(directory, names.unwrap_or_default(), previous, None)
    }

    /// Reads the rules that hold in a directory.
    fn new(
        directory: OpenDirectory,
        mut names: SortedNames,
        previous: Previous,
        parent: Option<&Arc<IgnoreRules>>,
    ) -> io::Result<Self> {
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
            names: Names {
                sorted: names,
                ..Names::default()
            },
            previous,
            rules: Arc::new(rules),
        })
    }
}

pub(super) fn enter_event(
    directory: &OpenDirectory,
    name: Vec<u8>,
    attributes: Attributes,
    extended: &Extended,
) -> Event {
    Event::Enter {
        name,
        relative: directory.relative.clone(),
        attributes,
        extended_attributes: extended.of_open(attributes.device, directory.as_fd()),
        compression: metadata_compression(directory.policy.effective()),
    }
}

/// The names in a directory, sorted; `None` when they take more than `bytes_max`.
fn read_names(directory: &OpenDirectory, bytes_max: usize) -> io::Result<Option<SortedNames>> {
    let mut sorter = NameSorter::new(SORT_BYTES_MAX);
    let mut bytes = 0;
    for entry in directory.read()? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        bytes += name.len() + NAME_OVERHEAD;
        if bytes > bytes_max {
            return Ok(None);
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
    sorter.finish().map(Some)
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
