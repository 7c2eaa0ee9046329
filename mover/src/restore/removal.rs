//! The clearing room of a restore: what is in the target and not in the snapshot is removed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Dir, FileType, fstat, unlinkat};
use rustix::io::Errno;

use super::directory::{Identity, join, open, open_parent, open_up};
use super::names::NameHashes;
use super::run::{Run, look_at};

/// Names that are held before they are removed; a directory with more is read several times.
const NAMES_MAX: usize = 1000;

/// Removes from a directory whatever `names` does not hold.
pub(super) fn remove_extra(run: &Run<'_>, directory: BorrowedFd<'_>, path: &[u8], names: &NameHashes) {
    // What cannot be removed stays in the way, so a round without progress is the last.
    loop {
        let extra = match extra_names(directory, names) {
            Ok(extra) => extra,
            Err(error) => return run.fail_io("read folder", path, error),
        };
        let mut removed = 0;
        let all = extra.len() < NAMES_MAX;
        for name in extra {
            if run.stop.is_set() {
                return;
            }
            match remove_any(directory, &name) {
                Ok(()) => removed += 1,
                Err(error) => run.fail_io("remove", &join(path, &name), error),
            }
        }
        run.removed.fetch_add(removed, Ordering::Relaxed);
        if all || removed == 0 {
            return;
        }
    }
}

fn extra_names(directory: BorrowedFd<'_>, names: &NameHashes) -> io::Result<Vec<Vec<u8>>> {
    let mut extra = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !is_dots(name) && !names.contains(name) {
            extra.push(name.to_vec());
            if extra.len() == NAMES_MAX {
                break;
            }
        }
    }
    Ok(extra)
}

fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

fn remove_any(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match look_at(directory, name)? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => remove_tree(directory, name),
        Some(_) => Ok(unlinkat(directory, name, AtFlags::empty())?),
        None => Ok(()),
    }
}

/// Removes a directory and all that is in it, however deep, with two directories open at a time. Links are removed, not
/// followed, and other file systems that are mounted inside are left alone with an error.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let device = fstat(parent)?.st_dev;
    let mut here: OwnedFd = parent.try_clone_to_owned()?;
    // The directories from `parent` down to the one that `here` is, by name, with what each lies in.
    let mut way: Vec<(Vec<u8>, Identity)> = Vec::new();
    let mut down = Some(name.to_vec());
    loop {
        if let Some(name) = down.take() {
            let inside = Identity::of(&here)?;
            let next = open(here.as_fd(), &name)?;
            if fstat(&next)?.st_dev != device {
                return Err(Errno::XDEV.into());
            }
            open_up(&next)?;
            way.push((name, inside));
            here = next;
        }
        down = remove_others(here.as_fd())?;
        if down.is_none() {
            let (name, inside) = way.pop().expect("the way ends at the top");
            here = open_parent(here.as_fd(), inside)?;
            unlinkat(&here, &name, AtFlags::REMOVEDIR)?;
            if way.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Removes all that is not a directory from a directory; gives the first directory met.
fn remove_others(directory: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if is_dots(name) {
            continue;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Linux says EISDIR, POSIX says EPERM.
            Err(Errno::ISDIR | Errno::PERM) => return Ok(Some(name.to_vec())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
