//! The walking stage of a restore: stored directories come in, directories are made and pieces of files asked for.
//!
//! Several walkers share a tree: one that meets a directory while another has nothing to do hands it over. Each keeps
//! the directories on its way down in memory, few of them open; it finds its way up again through `..`, looking
//! whether that is still the directory it came from.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use windlass_repo_format::id::ObjectId;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use super::Overwrite;
use super::directory::{Identity, Leave, Made, OpenDirectory, make, open_parent};
use super::file::{DIRECT_FILE_LEN_MIN, Place, Share, is_unchanged};
use super::names::{SeenNames, bad_entry, check_name};
use super::run::{Given, Run, look_at};
use super::target::Top;
use crate::blocking::block_on;
use crate::descent::Descent;
use crate::error::{MoverError, Result};
use crate::fetch::{Fetch, Gather, Piece, Slot, Slots};
use crate::repository::{ObjectPart, ObjectParts};

/// A directory that was made and is to be filled.
#[derive(Debug)]
pub(super) struct Subtree<'a> {
    pub object: ObjectId,
    pub level: Level<'a>,
    /// Where it is, below the target.
    pub path: Vec<u8>,
}

/// A directory on the way from the top to where a walker is.
#[derive(Debug)]
pub(super) struct Level<'a> {
    /// Open, unless it is far above and too many are.
    pub directory: Option<Arc<OpenDirectory<'a>>>,
    pub identity: Identity,
    pub given: Given,
    pub seen: SeenNames,
    /// Whether all its entries were seen so far.
    pub is_whole: bool,
    /// The length of the path of the directory above.
    pub back: usize,
}

/// What walkers have to do, and who waits for it.
#[derive(Debug)]
pub(super) struct WorkPool<'a> {
    state: Mutex<Pool<'a>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pool<'a> {
    work: Vec<Top<'a>>,
    waiting: usize,
    walkers: usize,
}

impl<'a> WorkPool<'a> {
    pub(super) fn new(walkers: usize) -> Self {
        Self {
            state: Mutex::new(Pool {
                work: Vec::new(),
                waiting: 0,
                walkers,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, work: Top<'a>) {
        self.lock().work.push(work);
        self.changed.notify_one();
    }

    /// Whether somebody waits for more than there is.
    fn is_hungry(&self) -> bool {
        let pool = self.lock();
        pool.waiting > pool.work.len()
    }

    /// Something to do; `None` when nobody has anything left.
    fn next(&self) -> Option<Top<'a>> {
        let mut pool = self.lock();
        pool.waiting += 1;
        loop {
            if let Some(work) = pool.work.pop() {
                pool.waiting -= 1;
                return Some(work);
            }
            if pool.waiting == pool.walkers {
                self.changed.notify_all();
                return None;
            }
            pool = self.changed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One thread that walks.
#[derive(Debug)]
pub(super) struct Walker<'r, 'a> {
    run: &'a Run<'a>,
    fetch: &'r Fetch<'a>,
    gather: Gather<'a, Share<'a>>,
    pool: &'r WorkPool<'a>,
    directories: Slots,
    descent: Descent<Level<'a>>,
    path: Vec<u8>,
}

impl<'r, 'a> Walker<'r, 'a> {
    pub(super) fn new(
        run: &'a Run<'a>,
        fetch: &'r Fetch<'a>,
        gather: Gather<'a, Share<'a>>,
        pool: &'r WorkPool<'a>,
    ) -> Self {
        Self {
            run,
            fetch,
            gather,
            pool,
            directories: Slots::new(run.open_directories_max),
            descent: Descent::default(),
            path: Vec::new(),
        }
    }

    /// Takes part until the whole tree was walked.
    pub(super) fn work(mut self) {
        while let Some(work) = self.pool.next() {
            match work {
                Top::Tree(subtree) => self.tree(subtree),
                Top::Single(place, name, entry) => self.ask(place, &name, &entry),
            }
            self.gather.flush();
        }
    }

    fn tree(&mut self, subtree: Subtree<'a>) {
        self.path = subtree.path;
        self.descent.enter(subtree.object, subtree.level);
        while self.descent.depth() > 0 {
            if self.run.stop.is_set() {
                while self.descent.leave().is_some() {}
                return;
            }
            match block_on(self.descent.next(self.run.repository)) {
                Ok(Some(entry)) => self.visit(entry),
                Ok(None) => self.leave(),
                Err(error) => {
                    self.run.complain(&self.path, error);
                    if let Some(level) = self.descent.here() {
                        level.is_whole = false;
                    }
                    self.leave();
                }
            }
        }
    }

    fn visit(&mut self, entry: DirEntry) {
        if let Err(error) = self.restore(&entry) {
            let path = super::directory::join(&self.path, &entry.name);
            self.run.complain(&path, error);
        }
    }

    fn restore(&mut self, entry: &DirEntry) -> Result<()> {
        let level = self.descent.here().expect("entries come from an open level");
        if !block_on(level.seen.is_new(self.run.repository, entry))? {
            return Err(bad_entry(&entry.name, "its folder has two entries of this name"));
        }
        check_name(&entry.name)?;
        let directory = level.directory.clone().expect("the directory being filled is open");
        match entry.kind {
            EntryKind::Directory => self.directory(directory, entry),
            EntryKind::File | EntryKind::Symlink => self.file(directory, entry),
            EntryKind::Unknown(_) => Err(bad_entry(&entry.name, "its type is unknown")),
        }
    }

    fn directory(&mut self, parent: Arc<OpenDirectory<'a>>, entry: &DirEntry) -> Result<()> {
        let run = self.run;
        let object = object_of(entry)?;
        let Some(slot) = self.directory_slot() else {
            return Err(MoverError::Cancelled);
        };
        let fd = match make(run, parent.fd(), &parent.path, &entry.name)? {
            Made::Directory(fd) => fd,
            Made::Skipped => {
                run.count_skipped();
                return Ok(());
            }
        };
        let path = parent.path_of(&entry.name);
        let identity = Identity::of(&fd).map_err(|error| MoverError::File {
            doing: "look at",
            path: super::directory::path_buf(&path),
            source: error.into(),
        })?;
        let level = Level {
            directory: Some(Arc::new(OpenDirectory::new(run, fd, path.clone(), Some(slot)))),
            identity,
            given: Given::of(entry, run.options.directory_times, false),
            seen: SeenNames::new(object, run.options.delete_extra),
            is_whole: true,
            back: self.path.len(),
        };
        if self.pool.is_hungry() {
            self.pool.put(Top::Tree(Subtree { object, level, path }));
        } else {
            self.path = path;
            self.descent.enter(object, level);
        }
        Ok(())
    }

    /// A place for one more open directory; `None` when the work was stopped.
    fn directory_slot(&mut self) -> Option<Slot> {
        if let Some(slot) = self.directories.try_take(1) {
            return Some(slot);
        }
        self.gather.flush();
        let open = self.descent.way().filter(|level| level.directory.is_some()).count() as u64;
        if open >= self.run.open_directories_max / 2 {
            for level in self.descent.way().rev().skip(1) {
                let Some(directory) = level.directory.take() else {
                    break;
                };
                // Whoever still writes into it would do so after it was finished through another handle.
                while Arc::strong_count(&directory) > 1 && !self.run.stop.is_set() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.directories.take(1, self.run.stop)
    }

    fn leave(&mut self) {
        let Some(level) = self.descent.leave() else {
            return;
        };
        let directory = level.directory.expect("the directory being left is open");
        self.path.truncate(level.back);
        self.open_again(&directory);
        let whole = level.is_whole && self.run.options.delete_extra;
        directory.set_leave(Leave {
            given: level.given,
            names: level.seen.into_hashes().filter(|_| whole),
        });
    }

    /// Opens the directory above the one that is left, if it was closed meanwhile.
    fn open_again(&mut self, child: &OpenDirectory<'a>) {
        if self.descent.here().is_none_or(|above| above.directory.is_some()) {
            return;
        }
        let Some(slot) = self.directory_slot() else {
            return; // stopped: nobody looks at the level any more
        };
        let Some(above) = self.descent.here() else {
            return;
        };
        match open_parent(child.fd(), above.identity) {
            Ok(fd) => {
                let directory = OpenDirectory::new(self.run, fd, self.path.clone(), Some(slot));
                above.directory = Some(Arc::new(directory));
            }
            Err(error) => {
                self.run.fail_io("return to folder", &self.path, error);
                // There is no other way to it, nor to anything above it.
                while let Some(lost) = self.descent.leave() {
                    self.path.truncate(lost.back);
                    if self.descent.depth() > 0 {
                        self.run
                            .complain(&self.path, bad_entry(&self.path, "what is below it was moved"));
                    }
                }
            }
        }
    }

    fn file(&mut self, directory: Arc<OpenDirectory<'a>>, entry: &DirEntry) -> Result<()> {
        object_of(entry)?;
        if self.run.options.overwrite != Overwrite::Always {
            let there = look_at(directory.fd(), &entry.name).map_err(|error| MoverError::File {
                doing: "look at",
                path: super::directory::path_buf(&directory.path_of(&entry.name)),
                source: error.into(),
            })?;
            let stays = match self.run.options.overwrite {
                Overwrite::Always => false,
                Overwrite::Never => there.is_some(),
                Overwrite::Changed => there.is_some_and(|there| is_unchanged(&there, entry)),
            };
            if stays {
                self.run.count_skipped();
                return Ok(());
            }
        }
        self.ask(Place::In(directory), &entry.name, entry);
        Ok(())
    }

    /// Asks for all contents of a file or link that shall have this name.
    fn ask(&mut self, place: Place<'a>, name: &[u8], entry: &DirEntry) {
        let share = |reserve, slot| Share::new(self.run, place, name, entry, reserve, slot);
        let repository = self.run.repository;
        let begun = object_of(entry).and_then(|id| {
            let mut parts = repository.object_parts(id);
            let first = block_on(parts.next(repository))?;
            let second = block_on(parts.next(repository))?;
            Ok((id, parts, first, second))
        });
        let (id, parts, first, second) = match begun {
            Ok(begun) => begun,
            Err(error) => return share(false, None).fail(error),
        };
        if second.is_none() {
            let share = share(entry.size >= DIRECT_FILE_LEN_MIN, None);
            return self.push(&share, id, first.into_iter());
        }
        if entry.kind == EntryKind::Symlink {
            return share(false, None).fail(bad_entry(&entry.name, "its link target is too long"));
        }
        // Through the page cache and past it.
        let slot = self.run.open_files.try_take(2).or_else(|| {
            self.gather.flush();
            self.run.open_files.take(2, self.run.stop)
        });
        let share = share(true, slot);
        self.push(&share, id, first.into_iter().chain(second));
        self.push_rest(&share, id, parts);
    }

    fn push_rest(&mut self, share: &Share<'a>, id: ObjectId, mut parts: ObjectParts) {
        while !share.has_failed() {
            if self.run.stop.is_set() {
                return share.fail(MoverError::Cancelled);
            }
            match block_on(parts.next(self.run.repository)) {
                Ok(Some(part)) => self.push(share, id, std::iter::once(part)),
                Ok(None) => return,
                Err(error) => return share.fail(error),
            }
        }
    }

    fn push(&mut self, share: &Share<'a>, object: ObjectId, parts: impl Iterator<Item = ObjectPart>) {
        for part in parts {
            match self.fetch.locate(&part) {
                Ok(entry) => self.gather.push(Piece {
                    object,
                    part,
                    entry,
                    to: share.clone(),
                }),
                Err(error) => return share.fail(error),
            }
        }
    }
}

/// Where an entry's bytes are.
pub(super) fn object_of(entry: &DirEntry) -> Result<ObjectId> {
    entry.object.ok_or_else(|| MoverError::NoObject {
        name: String::from_utf8_lossy(&entry.name).into_owned(),
    })
}
