//! The bell, when somebody else has taken its byte.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::super::AlignedBuffer;
use super::*;

/// A pipe wakes who polls it a moment after its byte can be read: so the poll may end for a byte that was read before.
#[test]
fn a_bell_without_a_byte_holds_nothing_up() {
    let (ear, mut bell) = pipe().unwrap();
    let by_name = format!("/proc/self/fd/{}", ear.as_raw_fd());
    let flags = OFlags::NONBLOCK.bits() as i32;
    let thief = OpenOptions::new().read(true).custom_flags(flags).open(by_name).unwrap();
    let (source, mut into_source) = io::pipe().unwrap();
    let (requests, queue) = unbounded();
    let (report, reported) = bounded(1);
    let thread = std::thread::spawn(move || {
        let ring = Ring::new(4, Arc::default()).map_err(|error| report.send(error));
        drop(report);
        if let Ok(ring) = ring {
            serve(ring, &queue, ear, &AtomicBool::new(false));
        }
    });
    if let Ok(error) = reported.recv() {
        return println!("skipped: io_uring cannot be used here: {error}");
    }
    let (done, completions) = unbounded();
    let read = ReadRequest {
        file: Arc::new(File::from(OwnedFd::from(source))),
        offset: 0,
        len: 1,
        buffer: AlignedBuffer::new(1),
        tag: 0,
        done,
    };
    requests.send(read.into()).unwrap();
    bell.write_all(&[1]).unwrap();
    let until = Instant::now() + Duration::from_millis(200);
    let mut stolen = 0;
    while Instant::now() < until {
        bell.write_all(&[1]).unwrap();
        stolen += (&thief).read(&mut [0]).map_or(0, |len| len);
    }
    assert!(stolen > 0, "no ring was in vain");
    into_source.write_all(b"x").unwrap();
    let answer = completions
        .recv_timeout(Duration::from_secs(20))
        .expect("the ring goes on");
    assert_eq!((answer.result.unwrap(), answer.buffer.as_slice()), (1, &b"x"[..]));
    drop((bell, requests));
    thread.join().unwrap();
}
