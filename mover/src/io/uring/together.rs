//! The scoop: one thread reads the beginnings of many files together, and waits for all of them.
//!
//! The reads are handed over at once, so the kernel joins those that lie side by side on the disk into one request, and one
//! call waits for all.
#![expect(
    unsafe_code,
    reason = "the kernel writes into memory that is handed to it by address"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;

/// A read from the beginning of a file, through the page cache.
#[derive(Debug)]
pub struct FirstRead<'a> {
    /// The file. Whatever may keep a reader waiting, as a pipe does, must not be read like this.
    pub file: &'a File,
    /// Where the bytes go; its length is how many are asked for.
    pub room: &'a mut [u8],
    /// How many came.
    pub result: io::Result<usize>,
}

impl<'a> FirstRead<'a> {
    /// A read that has not been made.
    pub fn new(file: &'a File, room: &'a mut [u8]) -> Self {
        Self {
            file,
            room,
            result: Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// A small io_uring of one thread's own.
pub struct Together {
    ring: IoUring,
    most: usize,
}

impl Together {
    /// A ring for so many reads at a time, at least one.
    pub(super) fn new(most: u32) -> io::Result<Self> {
        let most = most.clamp(1, 1024);
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(most)
            .or_else(|error| match Errno::from_io_error(&error) {
                Some(Errno::INVAL) => IoUring::new(most), // a kernel before 6.1
                _ => Err(error),
            })?;
        Ok(Self {
            ring,
            most: most as usize,
        })
    }

    /// Makes all reads and waits for them. Each has its own result; fewer bytes than asked for are not yet the file's end.
    ///
    /// To be called by the thread that made the ring.
    pub fn read(&mut self, reads: &mut [FirstRead<'_>]) {
        for some in reads.chunks_mut(self.most) {
            self.read_some(some);
        }
    }

    fn read_some(&mut self, reads: &mut [FirstRead<'_>]) {
        let mut left = 0;
        for (mark, read) in reads.iter_mut().enumerate() {
            let len = u32::try_from(read.room.len()).unwrap_or(u32::MAX);
            let entry = opcode::Read::new(types::Fd(read.file.as_raw_fd()), read.room.as_mut_ptr(), len)
                .offset(0)
                .build()
                .user_data(mark as u64);
            // SAFETY: file and memory are borrowed by `reads` until this function returns, which it does only when the
            // kernel has answered every entry: until then nobody else frees, moves or touches them. Nothing in between
            // can panic.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                break; // there is room for each; one without is not made
            }
            left += 1;
        }
        let mut busy = None;
        while left > 0 {
            if let Err(error) = self.ring.submit_and_wait(left)
                && error.kind() != io::ErrorKind::Interrupted
            {
                // The entries are still in the queue or in the kernel: only another try helps.
                busy = Some(error);
                std::thread::sleep(Duration::from_millis(1));
            }
            for completion in self.ring.completion() {
                left = left.saturating_sub(1);
                if let Some(read) = reads.get_mut(completion.user_data() as usize) {
                    let result = completion.result();
                    read.result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
                }
            }
        }
        if let Some(error) = busy {
            tracing::warn!(%error, "io_uring was busy");
        }
    }
}

impl std::fmt::Debug for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Together({} reads)", self.most)
    }
}
