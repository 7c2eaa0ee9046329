//! The plumbing room: bulk reads and writes of files, by whichever engine this machine allows.
//!
//! Two engines have one shape, [`Engine`]: io_uring, and plain threads where a container profile forbids it. [`probe`]
//! chooses and says why. [`ReadAhead`] turns an open file into its bytes in order, several requests ahead.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

mod buffer;
pub mod direct;
mod read_ahead;
mod request;
#[cfg(test)]
mod tests;
mod threads;
mod traffic;
mod uring;

pub use buffer::{ALIGNMENT, AlignedBuffer, BufferPool};
pub(crate) use read_ahead::file_len;
pub use read_ahead::{Extent, ReadAhead};
pub use threads::Threads;
pub use traffic::{Traffic, TrafficFigures};
pub use uring::{FirstRead, Together, Uring};

/// How bulk I/O is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// One thread with an io_uring.
    Uring,
    /// Threads that each do one system call at a time.
    Threads,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Threads => "threads",
        })
    }
}

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineChoice {
    /// io_uring where it works, threads elsewhere.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// Threads.
    Threads,
}

/// A read of at most `len` bytes at `offset`, in one system call. Fewer bytes than asked for are not yet the end of the
/// file; none are. The completion's buffer is filled with what came.
#[derive(Debug)]
pub struct ReadRequest {
    /// The file; held open until the completion.
    pub file: Arc<File>,
    /// Where to read, in bytes from the file's first.
    pub offset: u64,
    /// How many bytes to ask for; at most the buffer's capacity.
    pub len: usize,
    /// Where the bytes go.
    pub buffer: AlignedBuffer,
    /// Returned in the completion.
    pub tag: u64,
    /// Who is told. Must not block: unbounded, or with room for all that is asked for.
    pub done: Sender<Completion>,
}

/// A write of all that a buffer is filled with.
#[derive(Debug)]
pub struct WriteRequest {
    /// The file; held open until the completion.
    pub file: Arc<File>,
    /// Where to write, in bytes from the file's first.
    pub offset: u64,
    /// The bytes.
    pub buffer: AlignedBuffer,
    /// Returned in the completion.
    pub tag: u64,
    /// Who is told. Must not block: unbounded, or with room for all that is asked for.
    pub done: Sender<Completion>,
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// The request's tag.
    pub tag: u64,
    /// The request's buffer.
    pub buffer: AlignedBuffer,
    /// How many bytes were read or written.
    pub result: io::Result<usize>,
}

/// Something that carries out requests at the same time, in any order.
///
/// Every request completes exactly once; a completion that nobody takes out of its channel keeps its buffer. Dropping
/// an engine waits until all requests are done. Requests wait in a queue whose length is limited only by the buffers
/// there are.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// The engine and how it is set up, for people.
    fn describe(&self) -> String;

    /// Reads into the request's buffer.
    fn submit_read(&self, request: ReadRequest);

    /// Writes the request's buffer.
    fn submit_write(&self, request: WriteRequest);

    /// Reads the beginnings of so many files together, for the calling thread; `None` where the engine has no way that
    /// would be better than one read after the other.
    fn together(&self, most: u32) -> Option<Together> {
        let _ = most;
        None
    }

    /// What it has done so far.
    fn traffic(&self) -> &Traffic;
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Buffers that io_uring registers with the kernel when they are first used, as far as the limit of locked memory
    /// allows. Other buffers work too.
    pub pool: Option<BufferPool>,
    /// How many requests io_uring keeps in the kernel at a time.
    pub depth: u32,
    /// How many threads the other engine has.
    pub threads: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            pool: None,
            depth: 64,
            threads: 8,
        }
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// io_uring was asked for and does not work here.
    #[error("io_uring cannot be used here: {why}")]
    NoUring {
        /// What the refusal usually means.
        why: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread for bulk I/O")]
    NoThread {
        /// What the system said.
        source: io::Error,
    },
}

/// Starts the engine that was chosen. The text says which one runs and why, for the log and the status.
pub fn probe(choice: EngineChoice, settings: &EngineSettings) -> Result<(Arc<dyn Engine>, String), EngineError> {
    let no_uring = match choice {
        EngineChoice::Threads => "asked for".to_owned(),
        EngineChoice::Auto | EngineChoice::Uring => match start_uring(settings) {
            Ok(engine) => {
                let why = match choice {
                    EngineChoice::Uring => "asked for",
                    _ => "a test read went well",
                };
                let text = format!("{}: {why}", engine.describe());
                return Ok((Arc::new(engine), text));
            }
            Err(source) => {
                let why = refusal(&source);
                if choice == EngineChoice::Uring {
                    return Err(EngineError::NoUring { why, source });
                }
                format!("io_uring cannot be used here: {why} ({source})")
            }
        },
    };
    let engine = Threads::start(settings.threads).map_err(|source| EngineError::NoThread { source })?;
    let text = format!("{}: {no_uring}", engine.describe());
    Ok((Arc::new(engine), text))
}

/// What a refusal of io_uring usually means.
fn refusal(error: &io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => "the container's profile or the system forbids it",
        Some(rustix::io::Errno::NOSYS) => "the kernel, or what stands in for it, does not have it",
        Some(rustix::io::Errno::NOMEM) => "the limit of locked memory is too low",
        _ => "the test read failed",
    }
}

/// Starts io_uring and reads some bytes with it: a profile may allow the one system call and not the other.
fn start_uring(settings: &EngineSettings) -> io::Result<Uring> {
    let engine = Uring::start(settings.depth, settings.pool.as_ref())?;
    let file = File::from(rustix::fs::memfd_create(
        "windlass-probe",
        rustix::fs::MemfdFlags::CLOEXEC,
    )?);
    let wanted = b"read by io_uring";
    std::os::unix::fs::FileExt::write_all_at(&file, wanted, 0)?;
    let (done, completions) = crossbeam_channel::bounded(1);
    engine.submit_read(ReadRequest {
        file: Arc::new(file),
        offset: 0,
        len: ALIGNMENT,
        buffer: AlignedBuffer::new(ALIGNMENT),
        tag: 0,
        done,
    });
    let completion = completions.recv().map_err(|_| request::stopped())?;
    completion.result?;
    if completion.buffer.as_slice() != wanted {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "other bytes came than were written",
        ));
    }
    Ok(engine)
}
