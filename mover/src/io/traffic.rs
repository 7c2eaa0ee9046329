//! The counter at the pipe: how many requests an engine has in flight, and which way the bytes went.
//!
//! A few relaxed additions for a request of a mebibyte; what is shown while requests are in flight may be a moment old.

use std::sync::atomic::{AtomicU64, Ordering};

/// What an engine, and the readers that use it, count.
#[derive(Debug, Default)]
pub struct Traffic {
    reads: AtomicU64,
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
    /// The sum over all reads of how many were in flight when they began, they themselves included.
    in_flight_sum: AtomicU64,
    direct_bytes: AtomicU64,
    cached_bytes: AtomicU64,
    registered_bytes: AtomicU64,
    plain_bytes: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrafficFigures {
    /// Reads that were handed to the kernel.
    pub reads: u64,
    /// The most that were there at a time.
    pub in_flight_max: u64,
    /// How many were there on average when one began, that one included.
    pub in_flight_mean: f64,
    /// Bytes of files that were read past the page cache.
    pub direct_bytes: u64,
    /// Bytes of files that were read through the page cache, by an engine or in place.
    pub cached_bytes: u64,
    /// Bytes that an engine read into buffers that are registered with the kernel.
    pub registered_bytes: u64,
    /// Bytes that an engine read into other buffers.
    pub plain_bytes: u64,
}

fn add(count: &AtomicU64, more: u64) -> u64 {
    count.fetch_add(more, Ordering::Relaxed)
}

impl Traffic {
    /// A read is handed to the kernel.
    pub(super) fn read_begins(&self) {
        let now = add(&self.in_flight, 1) + 1;
        add(&self.reads, 1);
        add(&self.in_flight_sum, now);
        self.in_flight_max.fetch_max(now, Ordering::Relaxed);
    }

    /// The kernel has answered it with so many bytes.
    pub(super) fn read_ends(&self, bytes: u64, registered: bool) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        add(
            if registered {
                &self.registered_bytes
            } else {
                &self.plain_bytes
            },
            bytes,
        );
    }

    /// Bytes of a file have come, past the page cache or through it.
    pub(crate) fn pass(&self, bytes: u64, direct: bool) {
        add(if direct { &self.direct_bytes } else { &self.cached_bytes }, bytes);
    }

    /// What was counted until now.
    pub fn figures(&self) -> TrafficFigures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let reads = read(&self.reads);
        TrafficFigures {
            reads,
            in_flight_max: read(&self.in_flight_max),
            in_flight_mean: if reads == 0 {
                0.0
            } else {
                read(&self.in_flight_sum) as f64 / reads as f64
            },
            direct_bytes: read(&self.direct_bytes),
            cached_bytes: read(&self.cached_bytes),
            registered_bytes: read(&self.registered_bytes),
            plain_bytes: read(&self.plain_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_when_they_begin_and_bytes_when_they_have_come() {
        let traffic = Traffic::default();
        assert_eq!(traffic.figures(), TrafficFigures::default());
        traffic.read_begins();
        traffic.read_begins();
        traffic.read_ends(100, true);
        traffic.read_begins();
        traffic.read_ends(20, false);
        traffic.read_ends(0, false);
        traffic.pass(100, true);
        traffic.pass(20, false);
        let figures = traffic.figures();
        assert_eq!((figures.reads, figures.in_flight_max), (3, 2));
        assert!((figures.in_flight_mean - 5.0 / 3.0).abs() < 1e-9);
        assert_eq!((figures.direct_bytes, figures.cached_bytes), (100, 20));
        assert_eq!((figures.registered_bytes, figures.plain_bytes), (100, 20));
    }
}
