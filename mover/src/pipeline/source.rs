//! The gate to the source: opening and describing what lies on the machine's own file systems.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use windlass_repo_format::policy::PolicyPlace;
use windlass_repo_format::snapshot::{DirEntry, EntryKind, GoMode, same_time};

use crate::fetch::Slot;
use crate::patience::patiently;

/// What a file system entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// Something else.
    Unknown,
}

impl FileKind {
    /// The kind's name in results and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::BlockDevice => "block device",
            Self::CharacterDevice => "character device",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::Unknown => Self::Unknown,
        }
    }
}

/// What the format keeps of an entry, and a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub kind: FileKind,
    pub mode: GoMode,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: Timestamp,
    /// The time lies outside the years the format can hold, and `mtime` is the nearest one inside.
    pub mtime_clamped: bool,
    /// The file system the entry is on.
    pub device: u64,
    /// How many names the file has.
    pub links: u64,
}

impl Attributes {
    pub(crate) fn of(stat: &Stat) -> Self {
        let mtime = Timestamp::new(stat.st_mtime, i32::try_from(stat.st_mtime_nsec).unwrap_or(0)).ok();
        let in_range = mtime.filter(|mtime| *mtime >= Self::earliest());
        let nearest = if stat.st_mtime < 0 {
            Self::earliest()
        } else {
            Timestamp::MAX
        };
        Self {
            kind: FileKind::of(FileType::from_raw_mode(stat.st_mode)),
            mode: GoMode::from_unix_permissions(stat.st_mode & 0o7777),
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: in_range.unwrap_or(nearest),
            mtime_clamped: in_range.is_none(),
            device: stat.st_dev,
            links: stat.st_nlink,
        }
    }

    /// What the directory around a volume looks like: everybody may enter it.
    pub(crate) fn of_volume(mtime: Timestamp) -> Self {
        Self {
            kind: FileKind::Directory,
            mode: GoMode::from_unix_permissions(0o777),
            uid: 0,
            gid: 0,
            size: 0,
            mtime,
            mtime_clamped: false,
            device: 0,
            links: 1,
        }
    }

    /// The first moment of the year 0, before which the format's timestamps do not go.
    fn earliest() -> Timestamp {
        const YEAR_0: i64 = -62_167_219_200;
        Timestamp::from_second(YEAR_0).unwrap_or(Timestamp::MIN)
    }

    /// The entry as it is stored, without an object yet.
    pub(crate) fn entry(&self, name: &[u8], kind: EntryKind) -> DirEntry {
        let size = if kind == EntryKind::Directory { 0 } else { self.size };
        DirEntry {
            name: name.to_vec(),
            kind,
            mode: self.mode,
            size,
            mtime: self.mtime,
            uid: self.uid,
            gid: self.gid,
            object: None,
            summary: None,
        }
    }

    /// Kopia's rule for "unchanged": time, mode, owner and size are those of the stored entry.
    pub(crate) fn is_unchanged(&self, kind: &EntryKind, stored: &DirEntry) -> bool {
        stored.kind == *kind
            && same_time(stored.mtime, self.mtime)
            && stored.mode == self.mode
            && stored.uid == self.uid
            && stored.gid == self.gid
            && stored.size == self.size
            && stored.object.is_some()
    }
}

/// A directory of the source while its entries are being read.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    fd: OwnedFd,
    /// Declared behind `fd`, so that the place is free only after the directory was closed.
    _slot: Option<Slot>,
    /// The whole path, for messages.
    pub path: PathBuf,
    /// The path from the snapshot's root, empty for the root itself.
    pub relative: Vec<u8>,
    pub policy: PolicyPlace,
    /// The file system it is on.
    pub device: u64,
}

impl OpenDirectory {
    pub(crate) fn new(fd: OwnedFd, device: u64, path: PathBuf, relative: Vec<u8>, policy: PolicyPlace) -> Self {
        Self {
            fd,
            _slot: None,
            path,
            relative,
            policy,
            device,
        }
    }

    /// The same directory, which takes one of the places for open ones.
    pub(crate) fn in_place(self, slot: Option<Slot>) -> Self {
        Self { _slot: slot, ..self }
    }

    /// Closes the directory for now.
    ///
    /// # Errors
    /// When the system does not say which directory it is, and so it could not be found again.
    pub(crate) fn close(self) -> Result<ClosedDirectory, (Box<Self>, io::Error)> {
        let stat = match rustix::fs::fstat(&self.fd) {
            Ok(stat) => stat,
            Err(error) => return Err((Box::new(self), error.into())),
        };
        Ok(ClosedDirectory {
            path: self.path,
            relative: self.relative,
            policy: self.policy,
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// A child's path from the snapshot's root.
    pub(crate) fn relative_of(&self, name: &[u8]) -> Vec<u8> {
        if self.relative.is_empty() {
            name.to_vec()
        } else {
            [&self.relative[..], b"/", name].concat()
        }
    }

    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<Attributes> {
        let stat = rustix::fs::statat(&self.fd, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Attributes::of(&stat))
    }

    /// Whether something is mounted on a child that is no directory. Asked about those that seem to be on another
    /// device: with overlays of several file systems all files do.
    pub(crate) fn is_mount_point(&self, name: &[u8]) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let Ok(statx) = rustix::fs::statx(&self.fd, OsStr::from_bytes(name), flags, StatxFlags::empty()) else {
            return false;
        };
        let can_tell = statx.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
        !can_tell || statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    }

    /// Opens a child for reading. Never blocks on a fifo that took the file's place, never follows a link.
    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<(File, Attributes)> {
        self.open_with(name, OFlags::NOFOLLOW)
    }

    /// As [`Self::open_file`], following links to wherever they lead.
    pub(crate) fn open_followed(&self, name: &[u8]) -> io::Result<(File, Attributes)> {
        self.open_with(name, OFlags::empty())
    }

    fn open_with(&self, name: &[u8], more: OFlags) -> io::Result<(File, Attributes)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | more;
        let fd = patiently(|| rustix::fs::openat(&self.fd, OsStr::from_bytes(name), flags, Mode::empty()))?;
        let attributes = Attributes::of(&rustix::fs::fstat(&fd)?);
        Ok((File::from(fd), attributes))
    }

    pub(crate) fn open_directory(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let open = || rustix::fs::openat(&self.fd, OsStr::from_bytes(name), directory_flags(), Mode::empty());
        Ok(patiently(open)?)
    }

    /// The names in it and what they are.
    pub(crate) fn read(&self) -> io::Result<Dir> {
        Ok(patiently(|| Dir::read_from(&self.fd))?)
    }

    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, OsStr::from_bytes(name), Vec::new())?.into_bytes())
    }
}

/// A directory that was open, and will be again.
#[derive(Debug)]
pub(crate) struct ClosedDirectory {
    path: PathBuf,
    pub relative: Vec<u8>,
    pub policy: PolicyPlace,
    device: u64,
    inode: u64,
}

impl ClosedDirectory {
    /// Opens it again from a directory in it, or by its path.
    ///
    /// # Errors
    /// When neither leads to the same directory: it was moved or removed.
    pub(crate) fn open(&self, below: Option<&OpenDirectory>) -> io::Result<OpenDirectory> {
        let above = || below?.open_directory(b"..").ok();
        let by_path = || patiently(|| rustix::fs::open(&self.path, directory_flags(), Mode::empty()));
        let fd = match above().filter(|fd| self.is(fd)) {
            Some(fd) => fd,
            None => by_path()?,
        };
        if !self.is(&fd) {
            return Err(io::Error::other("the folder was moved while it was being read"));
        }
        let (path, relative) = (self.path.clone(), self.relative.clone());
        Ok(OpenDirectory::new(fd, self.device, path, relative, self.policy.clone()))
    }

    fn is(&self, fd: &OwnedFd) -> bool {
        rustix::fs::fstat(fd).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (self.device, self.inode))
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// What a snapshot is made of.
pub(crate) enum Root {
    Directory(OwnedFd, Attributes),
    File(File, Attributes),
}

/// Opens the root of a snapshot. A link given by the user is followed, as Kopia does.
pub(crate) fn open_root(path: &Path, block_device: bool) -> io::Result<Root> {
    let stat = rustix::fs::stat(path)?;
    let attributes = Attributes::of(&stat);
    match attributes.kind {
        FileKind::Directory if !block_device => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(Root::Directory(
                rustix::fs::open(path, flags, Mode::empty())?,
                attributes,
            ))
        }
        FileKind::File | FileKind::BlockDevice if block_device || attributes.kind == FileKind::File => {
            // Not blocking, should a fifo have taken its place.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            let opened = Attributes::of(&rustix::fs::fstat(&file)?);
            if opened.kind != attributes.kind {
                return Err(io::Error::other("it was replaced by something else while being opened"));
            }
            Ok(Root::File(file, opened))
        }
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a {} cannot be the root of this kind of snapshot", other.name()),
        )),
    }
}
