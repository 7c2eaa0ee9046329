//! The directory desk of a restore: directories are made, held open while anything is written into them, and given
//! their owner, permissions and time afterwards.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fchown, fstat, futimens, mkdirat, unlinkat};
use rustix::io::Errno;

use super::Overwrite;
use super::names::NameHashes;
use super::removal::{remove_extra, remove_tree};
use super::run::{Given, Run, look_at, open_at};
use crate::error::{MoverError, Result};
use crate::fetch::Slot;

/// Which directory it is, whatever it is called: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(directory: impl AsFd) -> rustix::io::Result<Self> {
        let stat = fstat(directory)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// What is to be done to a directory after everything in it is complete.
#[derive(Debug)]
pub(super) struct Leave {
    pub given: Given,
    /// The names that belong into the directory, when everything else is to be removed from it.
    pub names: Option<NameHashes>,
}

/// A directory of the target that is open. Shared by its walker and the files that are being written into it; the last
/// of them to let it go finishes it.
#[derive(Debug)]
pub(super) struct OpenDirectory<'a> {
    fd: OwnedFd,
    /// Path below the target.
    pub path: Vec<u8>,
    leave: OnceLock<Leave>,
    run: &'a Run<'a>,
    /// Declared behind `fd`, so that the place is free only after the directory was closed.
    _slot: Option<Slot>,
}

impl<'a> OpenDirectory<'a> {
    pub(super) fn new(run: &'a Run<'a>, fd: OwnedFd, path: Vec<u8>, slot: Option<Slot>) -> Self {
        Self {
            fd,
            path,
            leave: OnceLock::new(),
            run,
            _slot: slot,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path below the target of a name in here.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }

    /// Says that nothing more comes into the directory: it is finished as soon as nobody uses it.
    pub(super) fn set_leave(&self, leave: Leave) {
        assert!(self.leave.set(leave).is_ok(), "a directory is left once");
    }

    fn finish(&self, leave: &Leave) {
        let run = self.run;
        if run.stop.is_set() {
            return;
        }
        if let Some(names) = &leave.names {
            remove_extra(run, self.fd.as_fd(), &self.path, names);
        }
        match give(&self.fd, &leave.given) {
            Ok(owned) => {
                if !owned {
                    run.count_unowned();
                }
                run.progress.directories.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => run.fail_io("set the attributes of folder", &self.path, error),
        }
    }
}

impl Drop for OpenDirectory<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.finish(&leave);
        }
    }
}

/// The path of a name in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    if !directory.is_empty() {
        path.extend_from_slice(directory);
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Owner, permissions and times, in the order in which they do not undo each other. Gives whether the owner could be
/// set; who may not give files away keeps them, without the permissions that let others act as their owner.
pub(super) fn give(fd: impl AsFd, given: &Given) -> rustix::io::Result<bool> {
    let owned = owned(fchown(&fd, Some(uid(given)), Some(gid(given))))?;
    fchmod(&fd, given.permissions(owned))?;
    futimens(&fd, &given.times())?;
    Ok(owned)
}

pub(super) fn uid(given: &Given) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(given.uid)
}

pub(super) fn gid(given: &Given) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(given.gid)
}

/// Not being allowed to give a file away, or its file system having no such owner, is not an error.
pub(super) fn owned(chown: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match chown {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What became of the wish for a directory.
#[derive(Debug)]
pub(super) enum Made {
    Directory(OwnedFd),
    /// Something else is there and stays.
    Skipped,
}

/// Makes a directory, or opens the one that is there. Only its owner can look into it until it is finished.
pub(super) fn make(run: &Run<'_>, parent: BorrowedFd<'_>, parent_path: &[u8], name: &[u8]) -> Result<Made> {
    let failed = |doing| {
        move |error: Errno| MoverError::File {
            doing,
            path: path_buf(&join(parent_path, name)),
            source: io::Error::from(error),
        }
    };
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => return open(parent, name).map(Made::Directory).map_err(failed("open folder")),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(failed("make folder")(error)),
    }
    let there = look_at(parent, name).map_err(failed("look at"))?;
    let is_directory = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if !is_directory {
        if run.options.overwrite == Overwrite::Never {
            return Ok(Made::Skipped);
        }
        unlinkat(parent, name, AtFlags::empty()).map_err(failed("replace"))?;
        mkdirat(parent, name, Mode::RWXU).map_err(failed("make folder"))?;
    }
    let fd = open(parent, name).map_err(failed("open folder"))?;
    open_up(&fd).map_err(failed("change the permissions of"))?;
    Ok(Made::Directory(fd))
}

/// Lets the owner write into a directory that was there, which an earlier restore may have forbidden.
pub(super) fn open_up(directory: impl AsFd) -> rustix::io::Result<()> {
    if fstat(&directory)?.st_mode & 0o700 != 0o700 {
        fchmod(directory, Mode::RWXU)?;
    }
    Ok(())
}

pub(super) fn open(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    open_at(parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Goes from a directory to the one it lies in, if that is still the same one.
pub(super) fn open_parent(child: BorrowedFd<'_>, expected: Identity) -> io::Result<OwnedFd> {
    let parent = open(child, b"..")?;
    if Identity::of(&parent)? == expected {
        Ok(parent)
    } else {
        Err(io::Error::other("the folder was moved while it was being restored"))
    }
}

/// Clears a directory out of the way of a file, if that was asked for.
pub(super) fn clear_directory(run: &Run<'_>, parent: BorrowedFd<'_>, parent_path: &[u8], name: &[u8]) -> Result<()> {
    let path = join(parent_path, name);
    if !run.options.delete_extra {
        return Err(MoverError::InTheWay {
            reason: "a folder is in the way of a file or link (only with delete-extra it is removed)",
            path: path_buf(&path),
        });
    }
    remove_tree(parent, name).map_err(|source| MoverError::File {
        doing: "remove folder",
        path: path_buf(&path),
        source,
    })?;
    run.removed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

pub(super) fn path_buf(path: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(path).into()
}
