//! The ring room: bulk I/O by one thread with an io_uring.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::request::Request;
use super::{BufferPool, Engine, EngineKind, ReadRequest, Traffic, WriteRequest};
use ring::Ring;

mod ring;
mod together;

pub use together::{FirstRead, Together};

/// The engine with an io_uring. Its thread sleeps in the kernel until a request is done or the bell rings.
pub struct Uring {
    /// Empty only while the engine is dropped.
    requests: Option<Sender<Request>>,
    /// Dropping it tells the thread that no more requests come.
    bell: Option<PipeWriter>,
    /// Whether the bell has rung since the thread last looked into the queue.
    rung: Arc<AtomicBool>,
    /// Whether buffers are registered; `None` where there is no pool.
    registered: Option<Result<(), String>>,
    traffic: Arc<Traffic>,
    thread: Option<JoinHandle<()>>,
}

impl Uring {
    /// Sets up a ring for `depth` requests at a time and registers the pool's buffers as they are used, if the system allows.
    /// Fails where io_uring is forbidden or missing.
    pub fn start(depth: u32, pool: Option<&BufferPool>) -> io::Result<Self> {
        let (requests, queue) = unbounded();
        let (ear, bell) = pipe()?;
        let rung = Arc::new(AtomicBool::new(false));
        let (report, reported) = bounded(1);
        let traffic: Arc<Traffic> = Arc::default();
        let thread = std::thread::Builder::new().name("io-uring".to_owned()).spawn({
            let (pool, rung, traffic) = (pool.cloned(), Arc::clone(&rung), Arc::clone(&traffic));
            move || {
                // The ring belongs to the thread that makes it.
                let mut ring = match Ring::new(depth, traffic) {
                    Ok(ring) => ring,
                    Err(error) => return drop(report.send(Err(error))),
                };
                let registered = pool.map(|pool| ring.register(pool).map_err(|error| error.to_string()));
                if report.send(Ok(registered)).is_ok() {
                    serve(ring, &queue, ear, &rung);
                }
            }
        })?;
        let registered = reported.recv().map_err(|_| super::request::stopped())??;
        Ok(Self {
            requests: Some(requests),
            bell: Some(bell),
            rung,
            registered,
            traffic,
            thread: Some(thread),
        })
    }

    fn submit(&self, request: impl Into<Request>) {
        let (Some(request), Some(requests)) = (request.into().checked(), &self.requests) else {
            return;
        };
        // A queue without a thread gives the request back, and dropping that completes it.
        if requests.send(request).is_ok()
            && !self.rung.swap(true, Ordering::AcqRel)
            && let Some(mut bell) = self.bell.as_ref()
        {
            // The pipe has room: one byte is in it at most. It breaks only when the thread is gone.
            let _ = bell.write_all(&[1]);
        }
    }
}

impl Engine for Uring {
    fn kind(&self) -> EngineKind {
        EngineKind::Uring
    }

    fn describe(&self) -> String {
        match &self.registered {
            None => "io_uring".to_owned(),
            Some(Ok(())) => "io_uring, buffers registered when first used".to_owned(),
            Some(Err(error)) => format!("io_uring, buffers not registered ({error})"),
        }
    }

    fn submit_read(&self, request: ReadRequest) {
        self.submit(request);
    }

    fn submit_write(&self, request: WriteRequest) {
        self.submit(request);
    }

    fn together(&self, most: u32) -> Option<Together> {
        Together::new(most).ok()
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.requests = None;
        self.bell = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, its ring has waited for the kernel and every request was completed by being dropped.
            let _ = thread.join();
        }
    }
}

/// A pipe, of which the reading end never waits.
///
/// The kernel wakes who polls a pipe a moment after its byte can be read. Who reads it in that moment, and polls again, is
/// woken for a byte that is gone, and would wait for the next one while requests in the ring are done.
fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (ear, bell) = io::pipe()?;
    rustix::io::ioctl_fionbio(&ear, true)?;
    Ok((ear, bell))
}

/// Carries out requests until the bell is gone and nothing is left to do.
fn serve(mut ring: Ring, queue: &Receiver<Request>, ear: PipeReader, rung: &AtomicBool) {
    let ear = Arc::new(ear);
    let mut open = true;
    ring.listen(&ear);
    loop {
        while ring.has_room() {
            match queue.try_recv() {
                Ok(request) => ring.push(request),
                Err(_) => break,
            }
        }
        if !open && ring.is_idle() {
            return; // and the queue is empty, since there is room
        }
        if ring.wait() {
            match (&*ear).read(&mut [0; 16]) {
                Ok(0) => open = false,
                // Requests sent before this are seen in the queue by the next turn; later ones ring again.
                Ok(_) => drop(rung.swap(false, Ordering::AcqRel)),
                // Woken for a byte that was read before; one that is on its way wakes again.
                Err(_) => {}
            }
            if open {
                ring.listen(&ear);
            }
        }
    }
}

#[cfg(test)]
mod tests;
