//! The bucket-chain room: bulk I/O by threads that each do one system call at a time.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::request::{Operation, Request};
use super::{Engine, EngineKind, ReadRequest, Traffic, WriteRequest};

/// The engine for machines where io_uring is forbidden. Memory: the threads' stacks.
#[derive(Debug)]
pub struct Threads {
    /// Empty only while the engine is dropped.
    requests: Option<Sender<Request>>,
    threads: Vec<JoinHandle<()>>,
    traffic: Arc<Traffic>,
}

impl Threads {
    /// Starts `count` threads, at least one.
    pub fn start(count: usize) -> io::Result<Self> {
        let (requests, queue) = unbounded();
        let mut engine = Self {
            requests: Some(requests),
            threads: Vec::new(),
            traffic: Arc::default(),
        };
        for number in 0..count.max(1) {
            let (queue, traffic) = (queue.clone(), Arc::clone(&engine.traffic));
            let thread = std::thread::Builder::new()
                .name(format!("io-{number}"))
                .spawn(move || serve(&queue, &traffic))?;
            engine.threads.push(thread);
        }
        Ok(engine)
    }

    fn submit(&self, request: impl Into<Request>) {
        if let Some(request) = request.into().checked()
            && let Some(requests) = &self.requests
        {
            // A queue without threads gives the request back, and dropping that completes it.
            let _ = requests.send(request);
        }
    }
}

impl Engine for Threads {
    fn kind(&self) -> EngineKind {
        EngineKind::Threads
    }

    fn describe(&self) -> String {
        format!("{} threads", self.threads.len())
    }

    fn submit_read(&self, request: ReadRequest) {
        self.submit(request);
    }

    fn submit_write(&self, request: WriteRequest) {
        self.submit(request);
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.requests = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has completed its request by dropping it.
            let _ = thread.join();
        }
    }
}

fn serve(queue: &Receiver<Request>, traffic: &Traffic) {
    for mut request in queue {
        let outcome = match request.operation {
            Operation::Read => {
                traffic.read_begins();
                let outcome = read(&mut request);
                traffic.read_ends(outcome.as_ref().map_or(0, |len| *len as u64), false);
                outcome
            }
            Operation::Write => write(&request),
        };
        request.complete(outcome);
    }
}

fn read(request: &mut Request) -> io::Result<usize> {
    let (offset, len) = (request.offset, request.len);
    let file = Arc::clone(&request.file);
    let room = &mut request.buffer_mut().room_mut()[..len];
    loop {
        match file.read_at(room, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

fn write(request: &Request) -> io::Result<usize> {
    request.file.write_all_at(request.buffer(), request.offset)?;
    Ok(request.len)
}
