//! The slot room: requests that are in the kernel, and the memory it may write to meanwhile.
#![expect(
    unsafe_code,
    reason = "the kernel reads and writes memory that is handed to it by address"
)]

use std::io::{self, IoSliceMut, PipeReader};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::super::request::{Operation, Request};
use super::super::{BufferPool, Traffic};

/// The mark of the bell among the completions; slots have small numbers.
const BELL: u64 = u64::MAX;

/// More requests than this in the kernel gain nothing.
const DEPTH_MAX: u32 = 1024;

/// An io_uring and the requests that are in it. Each slot holds one request; a request in a slot is owned by the slot,
/// with its file and its memory, until [`Ring::wait`] takes the kernel's completion for that slot.
pub(super) struct Ring {
    ring: IoUring,
    slots: Box<[Option<Flight>]>,
    free: Vec<usize>,
    /// Kept open while the kernel watches it.
    ear: Option<Arc<PipeReader>>,
    /// The buffers that the kernel pins. Declared after the ring, so dropped after it.
    registered: Option<Registered>,
    traffic: Arc<Traffic>,
}

/// The buffers of a pool, of which the kernel has pinned those that were used.
struct Registered {
    pool: BufferPool,
    /// By number, whether the kernel has pinned the buffer.
    pinned: Box<[bool]>,
    /// The system has refused to pin one more: all others stay as they are.
    refused: bool,
}

/// A request that is in the kernel.
struct Flight {
    request: Request,
    /// Bytes written so far.
    done: usize,
    /// Its buffer is known to the kernel by a number.
    registered: bool,
}

impl Ring {
    pub(super) fn new(depth: u32, traffic: Arc<Traffic>) -> io::Result<Self> {
        let depth = depth.clamp(1, DEPTH_MAX);
        let entries = depth + 1; // one for the bell
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(entries)
            .or_else(|error| match Errno::from_io_error(&error) {
                Some(Errno::INVAL) => IoUring::new(entries), // a kernel before 6.1
                _ => Err(error),
            })?;
        let depth = depth as usize;
        Ok(Self {
            ring,
            slots: std::iter::repeat_with(|| None).take(depth).collect(),
            free: (0..depth).rev().collect(),
            ear: None,
            registered: None,
            traffic,
        })
    }

    /// Has the kernel pin each of the pool's buffers when it is first used, instead of at every request. One that is never
    /// used takes no memory.
    pub(super) fn register(&mut self, pool: BufferPool) -> io::Result<()> {
        let count = u16::try_from(pool.count()).map_err(|_| io::Error::other("the pool has too many buffers"))?;
        self.ring.submitter().register_buffers_sparse(u32::from(count))?;
        self.registered = Some(Registered {
            pinned: vec![false; usize::from(count)].into(),
            refused: false,
            pool,
        });
        Ok(())
    }

    /// Under which number the kernel knows the buffer of a slot, once it has pinned it.
    fn number(&mut self, slot: usize) -> Option<u16> {
        let registered = self.registered.as_mut()?;
        let buffer = self.slots[slot].as_mut()?.request.buffer_mut();
        let number = buffer.number_in(&registered.pool)?;
        if !registered.pinned[number] {
            if registered.refused {
                return None;
            }
            let window = [IoSliceMut::new(buffer.room_mut())];
            // SAFETY: `IoSliceMut` has the layout of `iovec`, and the list outlives the call, which copies it. The memory
            // is owned by a buffer of the pool, which exists as long as the pool or its borrower does and never moves; the
            // pool is kept in `registered` until the ring is gone. The kernel touches the memory only for a request that
            // names the buffer, and `push` takes only requests that own it.
            let pinned = unsafe {
                let vectors = std::slice::from_raw_parts(window.as_ptr().cast(), window.len());
                self.ring
                    .submitter()
                    .register_buffers_update(number as u32, vectors, None)
            };
            if let Err(error) = pinned {
                tracing::info!(%error, "no more buffers are registered with io_uring");
                registered.refused = true;
                return None;
            }
            registered.pinned[number] = true;
        }
        u16::try_from(number).ok()
    }

    /// Whether another request can be pushed.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether no request is in the kernel.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Takes a request; the next [`Ring::wait`] hands it to the kernel. There must be room.
    pub(super) fn push(&mut self, request: Request) {
        let slot = self.free.pop().expect("who pushes has asked for room");
        assert!(self.slots[slot].is_none(), "a free slot is empty");
        if request.operation == Operation::Read {
            self.traffic.read_begins();
        }
        self.slots[slot] = Some(Flight {
            request,
            done: 0,
            registered: false,
        });
        self.enqueue(slot);
    }

    /// Hands what is left of a slot's request to the kernel.
    fn enqueue(&mut self, slot: usize) {
        let number = self.number(slot);
        let flight = self.slots[slot].as_mut().expect("only a filled slot is handed on");
        flight.registered = number.is_some();
        let entry = flight.entry(number).user_data(slot as u64);
        // SAFETY: file and memory belong to `slots[slot]`; nobody frees, resizes or touches them until `take` empties
        // the slot, which it does only for the completion that bears this number. `Drop` waits for every slot.
        unsafe { self.ring.submission().push(&entry) }
            .expect("the ring has an entry for each slot and one for the bell");
    }

    /// Makes the next [`Ring::wait`] return true when there is something to read from the pipe, or its end. Once.
    pub(super) fn listen(&mut self, ear: &Arc<PipeReader>) {
        const READABLE: u32 = 1; // POLLIN; the end of the pipe is told in any case
        let entry = opcode::PollAdd::new(types::Fd(ear.as_raw_fd()), READABLE).build();
        self.ear = Some(Arc::clone(ear));
        // SAFETY: the entry names no memory, and `ear` keeps the file open.
        unsafe { self.ring.submission().push(&entry.user_data(BELL)) }
            .expect("the ring has an entry for each slot and one for the bell");
    }

    /// Hands over what was pushed, waits until something is done and completes it. Returns whether the bell rang.
    pub(super) fn wait(&mut self) -> bool {
        if let Err(error) = self.ring.submit_and_wait(1) {
            // What was pushed is still in the queue or in the kernel, and so are its slots: only another try helps.
            if error.kind() != io::ErrorKind::Interrupted {
                tracing::warn!(%error, "io_uring is busy");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let done: Vec<(u64, i32)> = self
            .ring
            .completion()
            .map(|completion| (completion.user_data(), completion.result()))
            .collect();
        let mut rang = false;
        for (mark, result) in done {
            match mark {
                BELL => rang = true,
                slot => self.take(slot as usize, result),
            }
        }
        rang
    }

    /// The kernel is done with a slot: it no longer touches the slot's memory.
    fn take(&mut self, slot: usize, result: i32) {
        let mut flight = self.slots[slot]
            .take()
            .expect("the kernel completes what is in a slot, once");
        match flight.proceed(result) {
            Some(outcome) => {
                self.free.push(slot);
                if flight.request.operation == Operation::Read {
                    let bytes = outcome.as_ref().map_or(0, |len| *len as u64);
                    self.traffic.read_ends(bytes, flight.registered);
                }
                flight.request.complete(outcome);
            }
            None => {
                self.slots[slot] = Some(flight);
                self.enqueue(slot);
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while !self.is_idle() {
            self.wait();
        }
    }
}

impl Flight {
    /// What is left of the request, as the kernel wants to be told.
    fn entry(&mut self, number: Option<u16>) -> squeue::Entry {
        let file = types::Fd(self.request.file.as_raw_fd());
        let (offset, len) = (self.request.offset + self.done as u64, self.request.len);
        let room = &mut self.request.buffer_mut().room_mut()[self.done..len];
        let memory = room.as_mut_ptr();
        let len = room.len().min(1 << 30) as u32;
        match (self.request.operation, number) {
            (Operation::Read, Some(number)) => opcode::ReadFixed::new(file, memory, len, number).offset(offset).build(),
            (Operation::Read, None) => opcode::Read::new(file, memory, len).offset(offset).build(),
            (Operation::Write, Some(number)) => opcode::WriteFixed::new(file, memory, len, number)
                .offset(offset)
                .build(),
            (Operation::Write, None) => opcode::Write::new(file, memory, len).offset(offset).build(),
        }
    }

    /// What the kernel's answer means for the request: its outcome, or `None` when there is more to do.
    fn proceed(&mut self, result: i32) -> Option<io::Result<usize>> {
        let Ok(len) = usize::try_from(result) else {
            let error = io::Error::from_raw_os_error(-result);
            return match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => None,
                _ => Some(Err(error)),
            };
        };
        match self.request.operation {
            Operation::Read => Some(Ok(len)),
            Operation::Write => {
                self.done += len;
                let all = self.done >= self.request.len;
                if !all && len == 0 {
                    return Some(Err(io::ErrorKind::WriteZero.into()));
                }
                all.then_some(Ok(self.request.len))
            }
        }
    }
}
