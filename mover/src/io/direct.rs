//! The bypass room: O_DIRECT, which leaves the page cache aside, switched on and off for an open file.

use std::fs::File;
use std::io;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Asks that reads and writes of this open file leave the page cache aside. False when the file system does not do
/// that. From then on memory, offset and length must be multiples of [`super::ALIGNMENT`].
pub fn turn_on(file: &File) -> bool {
    rustix::fs::fcntl_getfl(file)
        .and_then(|flags| rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT))
        .is_ok()
}

/// Lets reads and writes of this open file go through the page cache again.
pub fn turn_off(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags - OFlags::DIRECT)?)
}

/// Whether an error may mean that the file system or the disk wants another alignment than ours.
pub fn is_refusal(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOTSUP]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}
