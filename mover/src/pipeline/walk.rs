//! The walking stage: a tree comes in, its entries go out one after the other in the order in which they are stored.
//!
//! Subdirectories come before files, so a directory's entries arrive in stored order and nothing has to be sorted
//! again. Budget: 500,000 names per second warm (bench `stage/walk`); holds the names of the directories on the way down
//! (8 MiB per directory, the rest on disk) and as many of them open as may be, and waits for the file system and for a
//! free place in the window.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::debug;
use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::policy::{EffectivePolicy, PolicyPlace};
use windlass_repo_format::snapshot::DirEntry;

use super::event::{Event, Failure, Item, Sequence, Step};
use super::extended::Extended;
use super::level::{Drawn, Entered, Entering, Level, Names, Standing, enter_event};
use super::names::Name;
use super::previous::Previous;
use super::scouts::{Asked, Scouts};
use super::source::{Attributes, FileKind, OpenDirectory};
use crate::error::{MoverError, Result};
use crate::fetch::{Slot, Slots, open_files_max};
use crate::patience::wait_for;
use crate::repository::Repository;

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
    /// Who opens directories ahead of the walk.
    scouts: Option<Scouts>,
    next: Sequence,
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
        let previous = Previous::open(&repository, previous, Previous::WINDOW);
        let event = enter_event(&directory, name, attributes, &extended);
        let level = Level::root(directory, previous).map_err(failed)?;
        Ok(Self {
            repository,
            extended,
            levels: Vec::new(),
            below: None,
            places: Slots::new(open_files_max()),
            pending: Some(Box::new((event, level))),
            scouts: None,
            next: 0,
        })
    }

    /// Has directories opened by threads, ahead of the walk. What it gives does not depend on them.
    pub(crate) fn send_scouts(&mut self) {
        self.scouts = Scouts::start(open_files_max());
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
            level.names = Names::default();
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
        self.scout();
        let level = self.levels.last_mut()?;
        let directory = match &level.directory {
            Standing::Open(directory) => directory.clone(),
            Standing::Closed(_) | Standing::Lost => return self.leave(),
        };
        match level.names.next() {
            Some(Drawn::Asked(asked)) => self.asked(&directory, asked),
            Some(Drawn::Name(name)) if name.is_other => self.other(&directory, name),
            Some(Drawn::Name(name)) => self.directory(&directory, name.bytes),
            None => self.leave(),
            Some(Drawn::Failed(error)) => {
                // The names that were sorted outside memory cannot be read back: the directory is incomplete.
                level.names = Names::default();
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
                level.names = Names::default();
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

    /// Asks for the next directories of the one that is being read, so that they are open when their turn comes.
    fn scout(&mut self) {
        let Some(scouts) = &self.scouts else { return };
        let Some(level) = self.levels.last_mut() else { return };
        let Standing::Open(parent) = &level.directory else {
            return;
        };
        // Whether one is on the same file system is looked at by the walk itself.
        if level.rules.one_file_system() {
            return;
        }
        while level.names.may_draw(Scouts::AHEAD_IN_ONE_MAX)
            && let Some((turn, slot)) = scouts.place(&self.places)
        {
            let Some(name) = level.names.draw() else { return };
            let is_ignored = |name: &Name| level.rules.is_ignored(&parent.relative_of(&name.bytes), true);
            if name.is_other || is_ignored(&name) {
                level.names.put_back(Drawn::Name(name));
                continue;
            }
            let previous = level.previous.find(&self.repository, false, &name.bytes);
            let entering = Entering {
                repository: self.repository.clone(),
                extended: self.extended.clone(),
                parent: parent.clone(),
                name: name.bytes,
                rules: level.rules.clone(),
                previous: previous.iter().filter_map(|entry| entry.object).collect(),
                slot: Some(slot),
            };
            level.names.put_back(Drawn::Asked(scouts.ask(entering, turn)));
        }
    }

    /// A directory that was asked for. Where that came to nothing, it is entered here.
    fn asked(&mut self, parent: &Arc<OpenDirectory>, asked: Asked) -> Option<Walked> {
        let (name, previous) = (asked.name.clone(), asked.previous.clone());
        match asked.answer() {
            Some(answer) => self.entered(parent, &name, answer),
            None => self.enter(parent, name, previous),
        }
    }

    fn directory(&mut self, parent: &Arc<OpenDirectory>, name: Vec<u8>) -> Option<Walked> {
        let level = self.levels.last_mut()?;
        let relative = parent.relative_of(&name);
        if level.rules.is_ignored(&relative, true) {
            return self.step(Event::Excluded {
                kind: FileKind::Directory,
                size: 0,
            });
        }
        let previous = level.previous.find(&self.repository, false, &name);
        // Looked at before it is opened: what is mounted there may not let anybody in.
        let is_elsewhere = |attributes: Attributes| attributes.device != parent.device;
        if level.rules.one_file_system() && parent.stat(&name).is_ok_and(is_elsewhere) {
            return self.step(Event::Excluded {
                kind: FileKind::Directory,
                size: 0,
            });
        }
        let previous = previous.iter().filter_map(|entry| entry.object).collect();
        self.enter(parent, name, previous)
    }

    fn enter(&mut self, parent: &Arc<OpenDirectory>, name: Vec<u8>, previous: Vec<ObjectId>) -> Option<Walked> {
        let slot = self.place();
        let entering = Entering {
            repository: self.repository.clone(),
            extended: self.extended.clone(),
            parent: parent.clone(),
            name: name.clone(),
            rules: self.levels.last()?.rules.clone(),
            previous,
            slot,
        };
        self.entered(parent, &name, entering.enter())
    }

    fn entered(&mut self, parent: &OpenDirectory, name: &[u8], answer: io::Result<Entered>) -> Option<Walked> {
        match answer {
            Ok(Entered::In(entered)) => {
                let (event, level) = *entered;
                self.levels.push(level);
                self.step(event)
            }
            Ok(Entered::Gone) => self.step(Event::Absent),
            Ok(Entered::TooLarge) => self.entered(parent, name, Err(io::Error::other("the folder has no end"))),
            Err(error) => {
                let relative = parent.relative_of(name);
                self.step(failure(&parent.policy, relative, &error, Failed::Directory))
            }
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

/// How directories and lists of parts are compressed. An unknown name leaves them as they are: all readers manage.
pub(crate) fn metadata_compression(policy: &EffectivePolicy) -> Option<Compression> {
    policy
        .metadata_compressor
        .as_deref()
        .and_then(|name| Compression::from_name(name).ok())
}
