//! The returns desk: buffers of chunks and sealed contents, used again instead of being asked from the system anew.

use std::sync::{Mutex, PoisonError};

/// Buffers smaller than this are not worth keeping.
const KEPT_BYTES_MIN: usize = 64 << 10;

/// Byte buffers that were used and are free. Holds at most as many as it was made for.
#[derive(Debug)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
    kept_max: usize,
}

impl Buffers {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            free: Mutex::new(Vec::with_capacity(kept_max)),
            kept_max,
        }
    }

    /// An empty buffer; a used one where the new one would be large.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        if len < KEPT_BYTES_MIN {
            return Vec::with_capacity(len);
        }
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Vec::with_capacity(len))
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < KEPT_BYTES_MIN {
            return;
        }
        buffer.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.kept_max {
            free.push(buffer);
        }
    }
}
