//! The shelving room: a blob's bytes become a file that is whole, durable and suddenly there.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, FallocateFlags, RenameFlags};
use rustix::io::Errno;

use super::super::{StorageError, WriteFigures};
use crate::io::{ALIGNMENT, direct};
use crate::random::{RandomSource, SystemRandom};

/// Smaller bodies go through the page cache: the call that turns O_DIRECT on is not worth it.
const DIRECT_LEN_MIN: usize = 256 << 10;

/// So many directories are remembered as durable; 256 prefixes of the default sharding fit.
const DURABLE_MAX: usize = 1 << 16;

/// The directories whose own entry in their parent is known to be on the disk.
#[derive(Debug, Default)]
pub(super) struct Durable(Mutex<HashSet<PathBuf>>);

impl Durable {
    fn contains(&self, directory: &Path) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(directory)
    }

    fn insert(&self, directory: &Path) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DURABLE_MAX {
            known.clear();
        }
        known.insert(directory.to_owned());
    }

    fn remove(&self, directory: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(directory);
    }
}

/// A file under its temporary name; removed when dropped before [`Draft::place`] was done.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    placed: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a temporary file stays behind");
        }
    }
}

/// Whether a file may take the place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    Yes,
    /// `AlreadyExists` instead.
    No,
}

/// A file that is in its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub metadata: fs::Metadata,
    pub written: WriteFigures,
}

/// Makes `root/relative` hold `body`, durably.
///
/// The order: the bytes are written and synced under a temporary name, the name is changed, the directory is synced,
/// and so is the parent of every directory whose entry may not be on the disk yet, ours or another writer's.
pub(super) fn place(
    root: &Path,
    relative: &Path,
    body: &[u8],
    replace: Replace,
    durable: &Durable,
) -> Result<Placed, StorageError> {
    let path = root.join(relative);
    if replace == Replace::No && path.symlink_metadata().is_ok() {
        return Err(failed("create", &path, io::ErrorKind::AlreadyExists.into()));
    }
    let (file, draft) = create(root, &path, durable)?;
    let placed = fill(&file, body)
        .and_then(|written| {
            file.sync_all()?;
            let metadata = file.metadata()?;
            Ok(Placed { metadata, written })
        })
        .map_err(|source| failed("write", &draft.path, source))?;
    drop(file);
    draft.rename(&path, replace)?;
    sync_directories(root, &path, durable)?;
    Ok(placed)
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::from_io(doing, path.display().to_string(), source)
}

fn create(root: &Path, path: &Path, durable: &Durable) -> Result<(File, Draft), StorageError> {
    let mut digits = [0; 8];
    SystemRandom.fill(&mut digits);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp.{}", hex::encode(digits)));
    let temporary = PathBuf::from(temporary);
    let open = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
    };
    let opened = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directories(root, path, durable)?;
            open()
        }
        opened => opened,
    };
    let file = opened.map_err(|source| failed("create", &temporary, source))?;
    let draft = Draft {
        path: temporary,
        placed: false,
    };
    Ok((file, draft))
}

/// The directories between the root and the file, the outermost first; the root itself is not among them.
fn directories_between<'a>(root: &Path, path: &'a Path) -> Vec<&'a Path> {
    let mut between: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|directory| *directory != root)
        .collect();
    between.reverse();
    between
}

/// Never makes the root: a root that is gone is a disk that is not mounted.
fn make_directories(root: &Path, path: &Path, durable: &Durable) -> Result<(), StorageError> {
    if !root.is_dir() {
        let place = root.display().to_string();
        return Err(StorageError::NoStorage { place });
    }
    for directory in directories_between(root, path) {
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => durable.remove(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed("create", directory, source)),
        }
    }
    Ok(())
}

fn sync_directories(root: &Path, path: &Path, durable: &Durable) -> Result<(), StorageError> {
    let between = directories_between(root, path);
    sync_directory(between.last().copied().unwrap_or(root))?;
    for directory in between.into_iter().rev() {
        if !durable.contains(directory) {
            sync_directory(directory.parent().unwrap_or(root))?;
            durable.insert(directory);
        }
    }
    Ok(())
}

/// Puts the entries of a directory on the disk. File systems that cannot do that for directories are left in peace.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StorageError> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    match synced {
        Err(error) if direct::is_refusal(&error) => Ok(()),
        synced => synced.map_err(|source| failed("sync", directory, source)),
    }
}

impl Draft {
    fn rename(mut self, path: &Path, replace: Replace) -> Result<(), StorageError> {
        let renamed = match replace {
            Replace::Yes => fs::rename(&self.path, path),
            Replace::No => self.rename_if_absent(path),
        };
        renamed.map_err(|source| failed("create", path, source))?;
        self.placed = true;
        Ok(())
    }

    fn rename_if_absent(&self, path: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                // An older file system: a second name fails if taken, then the first one goes.
                fs::hard_link(&self.path, path)?;
                fs::remove_file(&self.path)
            }
            renamed => Ok(renamed?),
        }
    }
}

/// Writes the body to an empty file: past the page cache as far as it is aligned and the file system agrees.
fn fill(file: &File, body: &[u8]) -> io::Result<WriteFigures> {
    let (mut written, mut reserved) = (0, false);
    if body.len() >= DIRECT_LEN_MIN {
        reserved = reserve(file, body.len())?;
        if body.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            written = write_direct(file, &body[..body.len() / ALIGNMENT * ALIGNMENT])?;
        }
    }
    file.write_all_at(&body[written..], written as u64)?;
    Ok(WriteFigures {
        direct_bytes: written as u64,
        cached_bytes: (body.len() - written) as u64,
        reserved_bytes: if reserved { body.len() as u64 } else { 0 },
    })
}

/// Asks for the space first: fewer pieces on the disk, and a full disk is told before the work. It changes no bytes;
/// file systems without it are left in peace. Whether it was granted.
fn reserve(file: &File, len: usize) -> io::Result<bool> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, len as u64) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        asked => Ok(asked.is_ok()),
    }
}

/// Writes aligned bytes with O_DIRECT. Returns how many were written: fewer, a multiple of the alignment, when the file
/// system refuses. O_DIRECT is off again afterwards.
fn write_direct(file: &File, aligned: &[u8]) -> io::Result<usize> {
    if !direct::turn_on(file) {
        return Ok(0);
    }
    let mut written = 0;
    let outcome = loop {
        if written == aligned.len() {
            break Ok(());
        }
        match file.write_at(&aligned[written..], written as u64) {
            Ok(0) => break Ok(()),
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if direct::is_refusal(&error) => break Ok(()),
            Err(error) => break Err(error),
        }
        if !written.is_multiple_of(ALIGNMENT) {
            break Ok(()); // the rest is no longer aligned
        }
    };
    direct::turn_off(file)?;
    outcome.map(|()| written)
}
