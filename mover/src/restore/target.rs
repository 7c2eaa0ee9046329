//! The front gate of a restore: what the target is, and what of the entry becomes it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use super::directory::{Identity, OpenDirectory, open_up};
use super::file::{Place, is_unfinished};
use super::names::{SeenNames, bad_entry, check_name};
use super::run::{Given, Run};
use super::walk::{Level, Subtree, object_of};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};

/// What a restore begins with.
#[derive(Debug)]
pub(super) enum Top<'a> {
    /// A directory that is open, and what belongs into it.
    Tree(Subtree<'a>),
    /// One file or link, under a name of its own.
    Single(Place<'a>, Vec<u8>, DirEntry),
}

impl<'a> Top<'a> {
    /// Makes or opens the target.
    pub(super) fn open(run: &'a Run<'a>, entry: &DirEntry, target: &Path) -> Result<Self> {
        let there = match fs::metadata(target) {
            Ok(there) => Some(there.file_type()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(failed("look at", target)(source)),
        };
        if there.is_some_and(|there| there.is_block_device()) {
            return device(run, entry, target);
        }
        match entry.kind {
            EntryKind::Directory => {
                let as_file = match there {
                    Some(there) => there.is_file(),
                    None => holds_a_device(run, entry)?,
                };
                if as_file {
                    single(run, &only_file(run, entry)?, target, false)
                } else {
                    tree(run, entry, target)
                }
            }
            EntryKind::File | EntryKind::Symlink => {
                let inside = there.is_some_and(|there| there.is_dir());
                single(run, entry, target, inside)
            }
            EntryKind::Unknown(_) => Err(bad_entry(&entry.name, "its type is unknown")),
        }
    }
}

fn failed<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> MoverError + use<'p> {
    move |source| MoverError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("make folder", path))
}

/// Opens a directory that the user named: links in its path are the user's own and are followed.
fn open_directory(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed("open folder", path)(error.into()))
}

fn tree<'a>(run: &'a Run<'a>, entry: &DirEntry, target: &Path) -> Result<Top<'a>> {
    let object = object_of(entry)?;
    make_directory(target)?;
    let fd = open_directory(target)?;
    open_up(&fd).map_err(|error| failed("change the permissions of", target)(error.into()))?;
    let identity = Identity::of(&fd).map_err(|error| failed("look at", target)(error.into()))?;
    let directory = Arc::new(OpenDirectory::new(run, fd, Vec::new(), None));
    let options = run.options;
    let level = Level {
        directory: Some(directory),
        identity,
        given: Given::of(entry, options.directory_times, !options.is_inside),
        seen: SeenNames::new(object, options.delete_extra),
        is_whole: true,
        back: 0,
    };
    let path = Vec::new();
    Ok(Top::Tree(Subtree { object, level, path }))
}

fn single<'a>(run: &'a Run<'a>, entry: &DirEntry, target: &Path, inside: bool) -> Result<Top<'a>> {
    object_of(entry)?;
    let (directory, name) = if inside {
        check_name(&entry.name)?;
        (target.to_owned(), entry.name.clone())
    } else {
        let name = target.file_name().map(OsStr::as_bytes).unwrap_or_default();
        check_name(name)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.map_or_else(|| PathBuf::from("."), Path::to_owned), name.to_vec())
    };
    make_directory(&directory)?;
    let fd = open_directory(&directory)?;
    let place = Place::In(Arc::new(OpenDirectory::new(run, fd, Vec::new(), None)));
    Ok(Top::Single(place, name, entry.clone()))
}

/// Opens a block device that nothing else uses, and that is long enough.
fn device<'a>(run: &'a Run<'a>, entry: &DirEntry, target: &Path) -> Result<Top<'a>> {
    let entry = match entry.kind {
        EntryKind::Directory => only_file(run, entry)?,
        EntryKind::File => entry.clone(),
        EntryKind::Symlink | EntryKind::Unknown(_) => {
            return Err(bad_entry(&entry.name, "only a file can be written onto a device"));
        }
    };
    object_of(&entry)?;
    let flags = OFlags::WRONLY | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = rustix::fs::open(target, flags, Mode::empty());
    let mut file = File::from(opened.map_err(|error| failed("open", target)(error.into()))?);
    let len = file.seek(SeekFrom::End(0)).map_err(failed("measure", target))?;
    if len < entry.size && !is_unfinished(&entry) {
        let source = io::Error::new(
            io::ErrorKind::StorageFull,
            format!("the device has {len} bytes and the volume {}", entry.size),
        );
        return Err(failed("restore onto", target)(source));
    }
    let name = target.as_os_str().as_bytes().to_vec();
    Ok(Top::Single(Place::Device(Arc::new(file)), name, entry))
}

/// The file of a directory that holds nothing else: how Velero stores a block volume.
fn only_file(run: &Run<'_>, directory: &DirEntry) -> Result<DirEntry> {
    match first_two(run, directory)? {
        (Some(file), None) if file.kind == EntryKind::File => Ok(file),
        _ => Err(MoverError::WrongKind {
            name: String::from_utf8_lossy(&directory.name).into_owned(),
            wanted: "file, nor a folder with only a file in it",
        }),
    }
}

/// Whether a directory holds only a file that is named like a device: with slashes, so it can be made nowhere in a
/// directory.
fn holds_a_device(run: &Run<'_>, directory: &DirEntry) -> Result<bool> {
    let (first, second) = first_two(run, directory)?;
    Ok(second.is_none() && first.is_some_and(|first| first.kind == EntryKind::File && first.name.contains(&b'/')))
}

fn first_two(run: &Run<'_>, directory: &DirEntry) -> Result<(Option<DirEntry>, Option<DirEntry>)> {
    let mut entries = run.repository.directory_entries(object_of(directory)?);
    block_on(async {
        let first = entries.next(run.repository).await?;
        Ok((first, entries.next(run.repository).await?))
    })
}
