//! The moving walkway: an open file as its bytes in order, with several reads ahead of the reader.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fs::Advice;

use super::{ALIGNMENT, AlignedBuffer, BufferPool, Completion, Engine, ReadRequest, direct};

/// Shorter files are read through the page cache, in place: nothing is gained by asking ahead.
const DIRECT_LEN_MIN: u64 = 256 << 10;

/// A piece of a file.
#[derive(Debug)]
pub struct Extent {
    /// Where it begins, in bytes from the file's first.
    pub offset: u64,
    /// Its bytes; never empty.
    pub bytes: AlignedBuffer,
}

/// Reads a file from front to back, some requests ahead.
///
/// Long files are read past the page cache (O_DIRECT) by the engine. Short ones, and file systems that refuse O_DIRECT,
/// are read through the page cache by the thread that asks, with the kernel reading ahead: engines are slower at that.
/// The file may grow or shrink meanwhile: what is read ends where a read finds the end of the file.
///
/// Holds at most `depth` buffers of the pool, besides those it has handed out. It waits for a buffer only when it holds
/// none, so several readers can share a pool as long as somebody gives back what they handed out.
#[derive(Debug)]
pub struct ReadAhead {
    engine: Arc<dyn Engine>,
    pool: BufferPool,
    file: Arc<File>,
    depth: usize,
    /// Whether the engine reads, with O_DIRECT on.
    direct: bool,
    /// Where the next extent begins.
    offset: u64,
    /// Where the next request begins, or the next hint to the kernel.
    ahead: u64,
    /// Where to stop asking ahead: the file's length when it was opened, or `end`.
    expected: u64,
    /// Where to stop at all.
    end: u64,
    window: VecDeque<Asked>,
    /// How many requests have left the window: the tag of its first.
    passed: u64,
    done: Sender<Completion>,
    completions: Receiver<Completion>,
    finished: bool,
}

/// A request that the engine has.
#[derive(Debug)]
struct Asked {
    len: usize,
    answer: Option<Completion>,
}

impl ReadAhead {
    /// Reads all of a file, up to its end. The open file must not be shared: O_DIRECT is switched on and off on it.
    pub fn new(engine: Arc<dyn Engine>, pool: BufferPool, file: File, depth: usize) -> io::Result<Self> {
        Self::within(engine, pool, file, depth, 0..u64::MAX)
    }

    /// Reads a part of a file, up to the part's end or the file's. A part that begins at a multiple of [`ALIGNMENT`] is
    /// read faster.
    pub fn within(
        engine: Arc<dyn Engine>,
        pool: BufferPool,
        file: File,
        depth: usize,
        range: Range<u64>,
    ) -> io::Result<Self> {
        let expected = file_len(&file)?.min(range.end);
        let long = expected.saturating_sub(range.start) >= DIRECT_LEN_MIN;
        let direct = long && range.start.is_multiple_of(ALIGNMENT as u64) && direct::turn_on(&file);
        if long && !direct {
            // Only a hint.
            let _ = rustix::fs::fadvise(&file, range.start, None, Advice::Sequential);
        }
        let (done, completions) = unbounded();
        Ok(Self {
            engine,
            pool,
            file: Arc::new(file),
            depth: depth.max(1),
            direct,
            offset: range.start,
            ahead: range.start,
            expected,
            end: range.end,
            window: VecDeque::new(),
            passed: 0,
            done,
            completions,
            finished: range.start >= range.end,
        })
    }

    /// Whether the page cache is left aside at this point of the file.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The answer to the oldest request, completed if it is short.
    fn next_direct(&mut self) -> io::Result<AlignedBuffer> {
        self.ask();
        if self.window.is_empty() {
            self.leave_direct()?; // all that was expected has come; more may have been written since
            return self.next_buffered();
        }
        let (len, answer) = self.oldest();
        match answer.result {
            Ok(filled) if filled == len => Ok(answer.buffer),
            Ok(_) => {
                self.leave_direct()?;
                self.fill(answer.buffer)
            }
            Err(error) if direct::is_refusal(&error) => {
                self.leave_direct()?;
                self.fill(answer.buffer)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps the engine busy, as far as buffers are free.
    fn ask(&mut self) {
        while self.window.len() < self.depth && self.ahead < self.expected {
            let buffer = if self.window.is_empty() {
                self.pool.take()
            } else {
                match self.pool.try_take() {
                    Some(buffer) => buffer,
                    None => return,
                }
            };
            let left = (self.expected - self.ahead).next_multiple_of(ALIGNMENT as u64);
            let len = usize::try_from(left).map_or(buffer.capacity(), |left| left.min(buffer.capacity()));
            self.engine.submit_read(ReadRequest {
                file: Arc::clone(&self.file),
                offset: self.ahead,
                len,
                buffer,
                tag: self.passed + self.window.len() as u64,
                done: self.done.clone(),
            });
            self.window.push_back(Asked { len, answer: None });
            self.ahead += len as u64;
        }
    }

    /// Waits for the first request of the window, which must not be empty.
    fn oldest(&mut self) -> (usize, Completion) {
        loop {
            if let Some(Asked { len, answer }) = self.window.front_mut()
                && let Some(answer) = answer.take()
            {
                let len = *len;
                self.window.pop_front();
                self.passed += 1;
                return (len, answer);
            }
            let answer = self.completions.recv().expect("this reader holds a sending end itself");
            let place = (answer.tag - self.passed) as usize;
            self.window[place].answer = Some(answer);
        }
    }

    /// Goes on through the page cache, from where the next extent begins. What the engine still has comes back to
    /// nobody, and its buffers to the pool.
    fn leave_direct(&mut self) -> io::Result<()> {
        (self.done, self.completions) = unbounded();
        self.window.clear();
        self.ahead = self.offset;
        self.direct = false;
        direct::turn_off(&self.file)
    }

    fn next_buffered(&mut self) -> io::Result<AlignedBuffer> {
        let buffer = self.pool.take();
        let depth = (buffer.capacity() as u64).saturating_mul(self.depth as u64);
        let wanted = self.offset.saturating_add(depth).min(self.expected);
        self.ahead = self.ahead.max(self.offset);
        if let Some(len) = NonZero::new(wanted.saturating_sub(self.ahead)) {
            // Only a hint.
            let _ = rustix::fs::fadvise(&self.file, self.ahead, Some(len), Advice::WillNeed);
            self.ahead = wanted;
        }
        self.fill(buffer)
    }

    /// Fills the rest of a buffer that begins at the next extent, through the page cache. Not full: the end of the file.
    fn fill(&mut self, mut buffer: AlignedBuffer) -> io::Result<AlignedBuffer> {
        let wanted =
            usize::try_from(self.end - self.offset).map_or(buffer.capacity(), |left| left.min(buffer.capacity()));
        let mut filled = buffer.len();
        while filled < wanted {
            match self
                .file
                .read_at(&mut buffer.room_mut()[filled..wanted], self.offset + filled as u64)
            {
                Ok(0) => {
                    self.finished = true;
                    break;
                }
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.set_len(filled);
        Ok(buffer)
    }
}

impl Iterator for ReadAhead {
    type Item = io::Result<Extent>;

    /// The next piece of the file; `None` at its end and after an error.
    fn next(&mut self) -> Option<io::Result<Extent>> {
        if self.finished {
            return None;
        }
        let was_direct = self.direct;
        let step = if self.direct {
            self.next_direct()
        } else {
            self.next_buffered()
        };
        let mut bytes = match step {
            Ok(bytes) => bytes,
            Err(error) => {
                self.finished = true;
                return Some(Err(error));
            }
        };
        let left = self.end - self.offset;
        if bytes.len() as u64 >= left {
            bytes.set_len(left as usize);
            self.finished = true;
        }
        if bytes.is_empty() {
            self.finished = true;
            return None;
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        self.engine
            .traffic()
            .pass(bytes.len() as u64, was_direct && self.direct);
        Some(Ok(Extent { offset, bytes }))
    }
}

/// How long a file or a block device is, in bytes.
pub(crate) fn file_len(file: &File) -> io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    use std::os::unix::fs::FileTypeExt;
    let metadata = file.metadata()?;
    if metadata.file_type().is_block_device() {
        let mut file = file;
        return file.seek(SeekFrom::End(0));
    }
    Ok(metadata.len())
}
