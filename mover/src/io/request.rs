//! The docket room: a request on its way through an engine, which completes whatever becomes of the engine.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{AlignedBuffer, Completion, ReadRequest, WriteRequest};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
}

/// A request that is not complete. Dropped, it completes with an error.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Empty only while the request is being completed.
    buffer: Option<AlignedBuffer>,
    tag: u64,
    done: Sender<Completion>,
}

impl From<ReadRequest> for Request {
    fn from(read: ReadRequest) -> Self {
        Self {
            operation: Operation::Read,
            file: read.file,
            offset: read.offset,
            len: read.len,
            buffer: Some(read.buffer),
            tag: read.tag,
            done: read.done,
        }
    }
}

impl From<WriteRequest> for Request {
    fn from(write: WriteRequest) -> Self {
        Self {
            operation: Operation::Write,
            file: write.file,
            offset: write.offset,
            len: write.buffer.len(),
            buffer: Some(write.buffer),
            tag: write.tag,
            done: write.done,
        }
    }
}

impl Request {
    /// Hands the request back as a completion when it cannot be carried out: more bytes than the buffer has room for,
    /// or an offset that no file has.
    pub(super) fn checked(self) -> Option<Self> {
        let fits = self.len <= self.buffer().capacity();
        let end = self.offset.checked_add(self.len as u64);
        if fits && end.is_some_and(|end| i64::try_from(end).is_ok()) {
            return Some(self);
        }
        self.complete(Err(io::ErrorKind::InvalidInput.into()));
        None
    }

    pub(super) fn buffer(&self) -> &AlignedBuffer {
        self.buffer.as_ref().expect("only completing takes the buffer")
    }

    pub(super) fn buffer_mut(&mut self) -> &mut AlignedBuffer {
        self.buffer.as_mut().expect("only completing takes the buffer")
    }

    /// Tells who asked.
    pub(super) fn complete(mut self, result: io::Result<usize>) {
        self.tell(result);
    }

    fn tell(&mut self, result: io::Result<usize>) {
        let Some(mut buffer) = self.buffer.take() else {
            return;
        };
        if self.operation == Operation::Read {
            let filled = result.as_ref().map_or(0, |len| *len);
            buffer.set_len(filled);
        }
        // Who no longer listens needs no answer; the buffer goes back to its pool.
        let _ = self.done.send(Completion {
            tag: self.tag,
            buffer,
            result,
        });
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.tell(Err(stopped()));
    }
}

/// The error of requests that an engine did not get to.
pub(super) fn stopped() -> io::Error {
    io::Error::other("the I/O engine has stopped")
}
