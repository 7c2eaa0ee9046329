//! The magnifying glass: whether an entry has extended attributes or access control lists, which the format cannot
//! hold.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;

use super::source::OpenDirectory;

/// Room for the names of an entry's attributes. Where more are found, there are some.
const NAMES_LEN_MAX: usize = 4096;
/// Set by the system's policy on every file and given anew to restored ones: nothing is lost.
const LABEL: &[u8] = b"security.selinux";

/// Looks for extended attributes; remembers the file systems that have none. Clones share their memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extended {
    without: Arc<RwLock<Vec<u64>>>,
}

impl Extended {
    /// Whether an open file or directory on `device` has any. What cannot be asked has none.
    pub(crate) fn of_open(&self, device: u64, file: impl AsFd) -> bool {
        self.ask(device, |names| rustix::fs::flistxattr(file.as_fd(), names))
    }

    /// As [`Self::of_open`], of an entry of an open directory, without opening it.
    ///
    /// There is no call that takes a directory and a name. A path costs a quarter of the way through `/proc`, which is gone
    /// where the path has become another one or is too long.
    pub(crate) fn of_entry(&self, device: u64, directory: &OpenDirectory, name: &[u8]) -> bool {
        self.ask(device, |names| {
            if directory.path.is_absolute() {
                match rustix::fs::llistxattr(directory.path_of(name), &mut *names) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ACCESS | Errno::LOOP) => {}
                    answer => return answer,
                }
            }
            let directory = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
            rustix::fs::llistxattr(Path::new(&directory).join(OsStr::from_bytes(name)), names)
        })
    }

    fn ask(&self, device: u64, list: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> bool {
        if self
            .without
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&device)
        {
            return false;
        }
        let mut names = [0; NAMES_LEN_MAX];
        match list(&mut names) {
            Ok(len) => names[..len]
                .split(|byte| *byte == 0)
                .any(|name| !name.is_empty() && name != LABEL),
            Err(Errno::RANGE) => true,
            Err(Errno::NOTSUP) => {
                self.without
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(device);
                false
            }
            Err(_) => false,
        }
    }
}
