//! The returns desk: buffers of large chunks and sealed contents, used again instead of being asked from the system anew.
//!
//! What is given back to the allocator is not always given back to the system, so the large buffers never are: there
//! are as many as were in use at once, all of one length.

use std::sync::{Mutex, PoisonError};

/// Byte buffers that were used and are free.
#[derive(Debug)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
    kept_max: usize,
    len: usize,
}

impl Buffers {
    /// Keeps at most so many buffers of `len` bytes each.
    pub(crate) fn new(kept_max: usize, len: usize) -> Self {
        Self {
            free: Mutex::default(),
            kept_max,
            len,
        }
    }

    /// An empty buffer with room for `len` bytes. Where they are few, one of their own: a large one for each would be
    /// more than the queues are made for.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        if len < self.len / 4 || len > self.len {
            return Vec::with_capacity(len);
        }
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Vec::with_capacity(self.len))
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < self.len {
            return;
        }
        buffer.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.kept_max {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_come_back_and_never_grow() {
        let buffers = Buffers::new(2, 1000);
        let all = [buffers.take(1000), buffers.take(250), buffers.take(999)];
        assert!(all.iter().all(|buffer| buffer.capacity() == 1000));
        let places: Vec<_> = all.iter().map(|buffer| buffer.as_ptr()).collect();
        all.into_iter().for_each(|buffer| buffers.give(buffer));
        let again = [buffers.take(500), buffers.take(600)];
        assert!(
            again
                .iter()
                .all(|buffer| buffer.is_empty() && places.contains(&buffer.as_ptr()))
        );
    }

    #[test]
    fn small_ones_and_too_large_ones_are_made_to_measure() {
        let buffers = Buffers::new(2, 1000);
        buffers.give(Vec::with_capacity(1000));
        assert_eq!(buffers.take(249).capacity(), 249);
        assert_eq!(buffers.take(1001).capacity(), 1001);
        buffers.give(Vec::with_capacity(10));
        assert_eq!(buffers.free.lock().unwrap().len(), 1);
    }
}
