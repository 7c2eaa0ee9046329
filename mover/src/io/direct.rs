//! The bypass room: O_DIRECT, which leaves the page cache aside, switched on and off for an open file.

use std::fs::File;
use std::io;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// What the kernel calls a file system that is a program.
const FUSE_SUPER_MAGIC: u32 = 0x6573_5546;

/// Asks that reads and writes of this open file leave the page cache aside. False when the file system does not do
/// that. From then on memory, offset and length must be multiples of [`super::ALIGNMENT`].
///
/// False also where the file system is a program (FUSE): when such a one gives fewer bytes than asked for, at the end of a
/// file that has become shorter, Linux 6.18 goes on for io_uring with bytes from where the read began, and counts them.
pub fn turn_on(file: &File) -> bool {
    // Magic numbers have 32 bits, whatever the word has that they come in.
    if rustix::fs::fstatfs(file).is_ok_and(|about| about.f_type as u32 == FUSE_SUPER_MAGIC) {
        return false;
    }
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
