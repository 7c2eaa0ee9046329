//! The writing desk of a restore: a file is made by whoever brings its first bytes, filled by many, and closed by
//! whoever brings the last.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Mode, OFlags, Stat, chownat, fallocate, ftruncate, renameat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;
use windlass_repo_format::snapshot::{DirEntry, EntryKind, is_checkpointed_name};

use super::Overwrite;
use super::directory::{Identity, OpenDirectory, clear_directory, gid, give, owned, path_buf, uid};
use super::names::bad_entry;
use super::run::{Given, Run, look_at, open_at};
use crate::error::{MoverError, Result};
use crate::fetch::{DIRECT_LEN_MIN, Slot, Taker};
use crate::io::{ALIGNMENT, direct};
use crate::repository::ObjectPart;

/// Zeros are left out of a sparse file in steps of so many bytes.
const HOLE_LEN: usize = 4096;

/// Files with fewer bytes are written through the page cache.
pub(super) const DIRECT_FILE_LEN_MIN: u64 = 1 << 20;

/// Where the bytes of a file go.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// A new file or link in a directory of the target.
    In(Arc<OpenDirectory<'a>>),
    /// A block device, which keeps its attributes.
    Device(Arc<File>),
}

/// A file or link that is being restored.
#[derive(Debug)]
pub(super) struct FileTask<'a> {
    run: &'a Run<'a>,
    place: Place<'a>,
    name: Vec<u8>,
    is_link: bool,
    given: Given,
    promised: u64,
    /// The file was still being read when it was stored: fewer bytes than promised are what there is.
    is_unfinished: bool,
    /// How many bytes to reserve on the disk before the first is written.
    reserve: Option<u64>,
    /// Pieces to come, and one for the walker while it asks for more.
    remaining: AtomicUsize,
    /// The end of the last piece.
    end: AtomicU64,
    state: Mutex<State>,
    _slot: Option<Slot>,
}

/// How a file is written.
#[derive(Clone, Debug)]
struct Handles {
    file: Arc<File>,
    /// The same file once more, past the page cache, where that is worth it and the file system has it.
    direct: Option<Arc<File>>,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open {
        handles: Handles,
        /// The name the file bears until it is complete, when something else bears the right one.
        temporary: Option<Vec<u8>>,
    },
    /// A link, complete.
    Linked,
    /// Something was left in its place.
    Skipped,
    /// Told already.
    Failed,
}

/// Held by everybody who still has something to do for a file.
#[derive(Debug)]
pub(super) struct Share<'a>(Arc<FileTask<'a>>);

impl<'a> Share<'a> {
    pub(super) fn new(
        run: &'a Run<'a>,
        place: Place<'a>,
        name: &[u8],
        entry: &DirEntry,
        reserve: bool,
        slot: Option<Slot>,
    ) -> Self {
        Self(Arc::new(FileTask {
            run,
            place,
            name: name.to_vec(),
            is_link: entry.kind == EntryKind::Symlink,
            given: Given::of(entry, run.options.directory_times, false),
            promised: entry.size,
            is_unfinished: is_unfinished(entry),
            reserve: (reserve && !is_unfinished(entry) && !run.options.sparse).then_some(entry.size),
            remaining: AtomicUsize::new(1),
            end: AtomicU64::new(0),
            state: Mutex::new(State::Unopened),
            _slot: slot,
        }))
    }

    /// Says that something of the file cannot be had.
    pub(super) fn fail(&self, error: MoverError) {
        self.0.fail(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.0.state(), State::Failed | State::Skipped)
    }
}

impl Clone for Share<'_> {
    fn clone(&self) -> Self {
        self.0.remaining.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.0.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.finish();
        }
    }
}

impl Taker for Share<'_> {
    fn take(&self, part: &ObjectPart, bytes: &[u8]) {
        let task = &*self.0;
        let taken = if task.is_link {
            task.link(bytes)
        } else {
            task.write(part.start, bytes)
        };
        match taken {
            Ok(()) => {
                let len = bytes.len() as u64;
                task.end.fetch_max(part.start.saturating_add(len), Ordering::Relaxed);
            }
            Err(error) => task.fail(error),
        }
    }

    fn lose(&self, _: &ObjectPart, error: MoverError) {
        self.0.fail(error);
    }
}

impl<'a> FileTask<'a> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> Vec<u8> {
        match &self.place {
            Place::In(directory) => directory.path_of(&self.name),
            Place::Device(_) => self.name.clone(),
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(Errno) -> MoverError + use<'_, 'a> {
        move |error| self.failed_io(doing, error.into())
    }

    fn failed_io(&self, doing: &'static str, source: io::Error) -> MoverError {
        MoverError::File {
            doing,
            path: path_buf(&self.path()),
            source,
        }
    }

    /// Gives the file up, if nobody did so before. What was written of it is removed.
    fn fail(&self, error: MoverError) {
        let before = std::mem::replace(&mut *self.state(), State::Failed);
        match before {
            State::Failed => return,
            State::Open { temporary, .. } => self.remove(temporary.as_deref().unwrap_or(&self.name)),
            State::Unopened | State::Linked | State::Skipped => {}
        }
        self.run.complain(&self.path(), error);
    }

    fn remove(&self, name: &[u8]) {
        let Place::In(directory) = &self.place else {
            return;
        };
        if let Err(error) = unlinkat(directory.fd(), name, AtFlags::empty()) {
            let path = directory.path_of(name);
            self.run.fail_io("remove the incomplete", &path, error);
        }
    }

    fn write(&self, start: u64, bytes: &[u8]) -> Result<()> {
        let Some(Handles { file, direct }) = self.open()? else {
            return Ok(()); // skipped, or failed before
        };
        let written = if self.run.options.sparse && matches!(self.place, Place::In(_)) {
            write_sparse(&file, start, bytes)
        } else if let Some(direct) = direct.filter(|_| bytes.len() >= DIRECT_LEN_MIN) {
            write_past_cache(&file, &direct, start, bytes)
        } else {
            file.write_all_at(bytes, start)
        };
        written.map_err(|source| self.failed_io("write", source))?;
        self.run.progress.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The file, made by the first who asks.
    fn open(&self) -> Result<Option<Handles>> {
        let mut state = self.state();
        match &*state {
            State::Open { handles, .. } => return Ok(Some(handles.clone())),
            State::Unopened => {}
            State::Linked | State::Skipped | State::Failed => return Ok(None),
        }
        let opened = match &self.place {
            Place::Device(file) => State::Open {
                handles: Handles {
                    file: file.clone(),
                    direct: None,
                },
                temporary: None,
            },
            Place::In(directory) => self.create(directory)?,
        };
        *state = opened;
        let State::Open { handles, .. } = &*state else {
            return Ok(None);
        };
        let handles = handles.clone();
        drop(state);
        self.reserve(&handles.file)?;
        Ok(Some(handles))
    }

    fn create(&self, directory: &OpenDirectory<'a>) -> Result<State> {
        const FLAGS: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL);
        const MODE: Mode = Mode::RUSR.union(Mode::WUSR);
        match open_at(directory.fd(), &self.name, FLAGS, MODE) {
            Ok(fd) => {
                return Ok(State::Open {
                    handles: self.handles(directory, &self.name, fd),
                    temporary: None,
                });
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed("make")(error)),
        }
        if self.run.options.overwrite == Overwrite::Never {
            return Ok(State::Skipped);
        }
        self.make_way(directory)?;
        let temporary = self.temporary_name();
        let fd = open_at(directory.fd(), &temporary, FLAGS, MODE).map_err(self.failed("make a file beside"))?;
        Ok(State::Open {
            handles: self.handles(directory, &temporary, fd),
            temporary: Some(temporary),
        })
    }

    fn handles(&self, directory: &OpenDirectory<'a>, name: &[u8], made: OwnedFd) -> Handles {
        Handles {
            direct: self.open_direct(directory, name, &made),
            file: Arc::new(made.into()),
        }
    }

    /// Opens a large file that was just made once more, past the page cache. `None` where there is no such way, or something
    /// else has taken its name.
    fn open_direct(&self, directory: &OpenDirectory<'a>, name: &[u8], made: &OwnedFd) -> Option<Arc<File>> {
        self.reserve.filter(|len| *len >= DIRECT_FILE_LEN_MIN)?;
        let fd = open_at(directory.fd(), name, OFlags::WRONLY | OFlags::DIRECT, Mode::empty()).ok()?;
        let same = Identity::of(made).ok()? == Identity::of(&fd).ok()?;
        same.then(|| Arc::new(fd.into()))
    }

    /// A name for as long as the file is not complete. It fits wherever the right one does not collide.
    fn temporary_name(&self) -> Vec<u8> {
        let random: [u8; 8] = self.run.repository.random_bytes();
        format!(".windlass-restore-{}", hex::encode(random)).into_bytes()
    }

    /// A directory has to go before a file can take its place; everything else is replaced.
    fn make_way(&self, directory: &OpenDirectory<'a>) -> Result<()> {
        let there = look_at(directory.fd(), &self.name).map_err(self.failed("look at"))?;
        let is_directory = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if is_directory {
            clear_directory(self.run, directory.fd(), &directory.path, &self.name)?;
        }
        Ok(())
    }

    /// Takes the space on the disk at once: it becomes one piece, and a disk that is too small is known early.
    fn reserve(&self, file: &File) -> Result<()> {
        let (Some(len), Place::In(_)) = (self.reserve, &self.place) else {
            return Ok(());
        };
        loop {
            match fallocate(file, FallocateFlags::empty(), 0, len) {
                Err(Errno::INTR) => {}
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
                Err(error) => return Err(self.failed("reserve the space for")(error)),
            }
        }
    }

    /// Makes a link that points at what the bytes say.
    fn link(&self, target: &[u8]) -> Result<()> {
        let Place::In(directory) = &self.place else {
            return Err(bad_entry(&self.name, "a link cannot be written onto a device"));
        };
        if target.is_empty() || target.contains(&0) {
            return Err(bad_entry(&self.name, "its link target is empty or holds a zero byte"));
        }
        let mut state = self.state();
        let made = match symlinkat(target, directory.fd(), &self.name) {
            Ok(()) => None,
            Err(Errno::EXIST) if self.run.options.overwrite == Overwrite::Never => {
                *state = State::Skipped;
                return Ok(());
            }
            Err(Errno::EXIST) => {
                self.make_way(directory)?;
                let temporary = self.temporary_name();
                symlinkat(target, directory.fd(), &temporary).map_err(self.failed("make a link beside"))?;
                Some(temporary)
            }
            Err(error) => return Err(self.failed("make link")(error)),
        };
        *state = State::Linked;
        drop(state);
        let name = made.as_deref().unwrap_or(&self.name);
        let finished = self.finish_link(directory, name, made.is_some());
        if finished.is_err() {
            self.remove(name);
        }
        finished
    }

    fn finish_link(&self, directory: &OpenDirectory<'a>, name: &[u8], rename: bool) -> Result<()> {
        let (uid, gid) = (Some(uid(&self.given)), Some(gid(&self.given)));
        let chown = chownat(directory.fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        if !owned(chown).map_err(self.failed("change the owner of"))? {
            self.run.count_unowned();
        }
        utimensat(directory.fd(), name, &self.given.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.failed("set the time of"))?;
        if rename {
            renameat(directory.fd(), name, directory.fd(), &self.name).map_err(self.failed("replace"))?;
        }
        Ok(())
    }

    /// Called once, when nobody has anything to do for the file any more.
    fn finish(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Failed);
        let progress = self.run.progress;
        match state {
            State::Failed => {}
            State::Skipped => self.run.count_skipped(),
            State::Linked => {
                progress.links.fetch_add(1, Ordering::Relaxed);
            }
            State::Unopened => {
                // Only a file without any content comes here: one without a piece.
                let name = String::from_utf8_lossy(&self.name).into_owned();
                self.run.complain(&self.path(), MoverError::NoObject { name });
            }
            State::Open { handles, temporary } => self.finish_file(&handles.file, temporary),
        }
    }

    fn finish_file(&self, file: &File, temporary: Option<Vec<u8>>) {
        let found = self.end.load(Ordering::Acquire);
        if let Err(error) = self.complete(file, found, temporary.as_deref()) {
            self.remove(temporary.as_deref().unwrap_or(&self.name));
            return self.run.complain(&self.path(), error);
        }
        if found == self.promised || (self.is_unfinished && found < self.promised) {
            self.run.progress.files.fetch_add(1, Ordering::Relaxed);
        } else {
            let promised = self.promised;
            self.run
                .complain(&self.path(), MoverError::FileLength { promised, found });
        }
    }

    fn complete(&self, file: &File, found: u64, temporary: Option<&[u8]>) -> Result<()> {
        let Place::In(directory) = &self.place else {
            return file.sync_all().map_err(|source| self.failed_io("write", source));
        };
        if self.run.options.sparse || self.reserve.is_some_and(|reserved| reserved != found) {
            ftruncate(file, found).map_err(self.failed("set the length of"))?;
        }
        let owned = give(file.as_fd(), &self.given).map_err(self.failed("set the attributes of"))?;
        if !owned {
            self.run.count_unowned();
        }
        if let Some(temporary) = temporary {
            renameat(directory.fd(), temporary, directory.fd(), &self.name).map_err(self.failed("replace"))?;
        }
        Ok(())
    }
}

/// Whether the entry is of a checkpoint, and its file was still being read: Kopia promises more than there was.
pub(super) fn is_unfinished(entry: &DirEntry) -> bool {
    is_checkpointed_name(&entry.name)
}

/// Whether what is there is what the entry would become, by type, size and time.
pub(super) fn is_unchanged(there: &Stat, entry: &DirEntry) -> bool {
    let kind = match entry.kind {
        EntryKind::File => FileType::RegularFile,
        EntryKind::Symlink => FileType::Symlink,
        _ => return false,
    };
    let wanted = super::run::timespec(entry.mtime);
    FileType::from_raw_mode(there.st_mode) == kind
        && u64::try_from(there.st_size) == Ok(entry.size)
        && there.st_mtime == wanted.tv_sec
        && i64::try_from(there.st_mtime_nsec) == Ok(wanted.tv_nsec)
}

/// Writes the whole pages among the bytes with O_DIRECT, if they lie in memory as in the file, and the rest through the page
/// cache, which then holds no page of which a part is written otherwise.
fn write_past_cache(file: &File, direct: &File, start: u64, bytes: &[u8]) -> io::Result<()> {
    let page = rustix::param::page_size().max(ALIGNMENT);
    let head = (start.next_multiple_of(page as u64) - start) as usize;
    let mut written = head.min(bytes.len());
    file.write_all_at(&bytes[..written], start)?;
    let end = written + (bytes.len() - written) / page * page;
    if !bytes[written..].as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return file.write_all_at(&bytes[written..], start + written as u64);
    }
    while written < end {
        match direct.write_at(&bytes[written..end], start + written as u64) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if direct::is_refusal(&error) => break,
            Err(error) => return Err(error),
        }
        if !(start + written as u64).is_multiple_of(page as u64) {
            break; // what follows is not aligned
        }
    }
    file.write_all_at(&bytes[written..], start + written as u64)
}

/// Writes all but the blocks of zeros. The file must be new, so that they read as zeros.
fn write_sparse(file: &File, start: u64, bytes: &[u8]) -> io::Result<()> {
    // The first step ends where a block of the file does.
    let first = (HOLE_LEN as u64 - start % HOLE_LEN as u64) as usize;
    let (head, blocks) = bytes.split_at(first.min(bytes.len()));
    let mut steps = std::iter::once(head).chain(blocks.chunks(HOLE_LEN));
    let mut at = 0;
    let mut run_start = None;
    loop {
        let step = steps.next();
        let is_data = step.is_some_and(|step| step.iter().any(|byte| *byte != 0));
        match (is_data, run_start) {
            (true, None) => run_start = Some(at),
            (false, Some(from)) => {
                file.write_all_at(&bytes[from..at], start + from as u64)?;
                run_start = None;
            }
            _ => {}
        }
        match step {
            Some(step) => at += step.len(),
            None => return Ok(()),
        }
    }
}
