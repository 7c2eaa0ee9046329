//! The scales: how much memory a decoder takes for what it is given.

use std::sync::{Mutex, PoisonError};

use peak_alloc::PeakAlloc;

/// Counts what every thread of the program allocates.
#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

/// How much a decoder may hold at the same time, beyond what there was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes for each byte of the input.
    pub per_byte: usize,
    /// Bytes whatever the input is: tables, buffers of a fixed length.
    pub fixed: usize,
}

impl Allowance {
    /// For decoders whose values are some times as long as their text.
    pub const USUAL: Self = Self {
        per_byte: 100,
        fixed: 1 << 20,
    };

    /// So many bytes for an input of this length.
    pub fn for_input(self, len: usize) -> usize {
        self.fixed.saturating_add(self.per_byte.saturating_mul(len))
    }
}

/// Only one at a time is weighed: the count is that of the whole program.
static SCALES: Mutex<()> = Mutex::new(());

/// Runs a decoder.
///
/// # Panics
/// When it held more memory than it is allowed for an input of this length.
pub fn weigh<R>(allowance: Allowance, input_len: usize, work: impl FnOnce() -> R) -> R {
    let _alone = SCALES.lock().unwrap_or_else(PoisonError::into_inner);
    COUNTED.reset_peak_usage();
    let before = COUNTED.current_usage();
    let result = work();
    let held = COUNTED.peak_usage().saturating_sub(before);
    let allowed = allowance.for_input(input_len);
    assert!(
        held <= allowed,
        "{held} bytes were held for an input of {input_len}; {allowed} are allowed"
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_weighed_and_what_is_given_back_is_not() {
        let small = Allowance {
            per_byte: 1,
            fixed: 100_000,
        };
        weigh(small, 0, || {
            for _ in 0..10 {
                drop(vec![1_u8; 50_000]);
            }
        });
        let greedy = std::panic::catch_unwind(|| weigh(small, 10, || vec![1_u8; 200_000].len()));
        assert!(greedy.is_err());
    }
}
