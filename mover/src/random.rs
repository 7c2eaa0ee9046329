//! The dice room: where random bytes come from, so that a simulation can replay them from a seed.

use std::sync::Mutex;

use rustix::rand::{GetRandomFlags, getrandom};

/// A source of random bytes: names of packs, nonces, salts, temporary file names.
pub trait RandomSource: Send + Sync + std::fmt::Debug {
    /// Overwrites all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The cryptographic generator of the operating system. The only one for real repositories.
///
/// Not that of the library of ciphers: it collects jitter of its own first, which takes longer than opening a repository
/// does otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    /// Panics when the operating system gives no randomness: going on without would reuse nonces.
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                came => filled += came.expect("the operating system provides randomness"),
            }
        }
    }
}

/// The same bytes for the same seed, in the order they are asked for: for tests and simulations.
///
/// Not for real use: who knows a few bytes knows all that follow.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl RandomSource for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(STEP);
            chunk.copy_from_slice(&scramble(*state).to_le_bytes()[..chunk.len()]);
        }
    }
}

impl<R: RandomSource + ?Sized> RandomSource for std::sync::Arc<R> {
    fn fill(&self, bytes: &mut [u8]) {
        (**self).fill(bytes);
    }
}

/// An odd number near 2^64 divided by the golden ratio: adding it walks through all 64-bit numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: neighbouring numbers in, unrelated numbers out.
pub(crate) fn scramble(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_bytes() {
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            let mut bytes = [[0; 13]; 3];
            bytes.iter_mut().for_each(|bytes| random.fill(bytes));
            bytes
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(7)[0], draw(7)[1]);
    }

    #[test]
    fn splitmix_gives_its_published_first_number() {
        let mut bytes = [0; 8];
        SeededRandom::new(0).fill(&mut bytes);
        assert_eq!(u64::from_le_bytes(bytes), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        let mut bytes = [[0; 16]; 2];
        bytes.iter_mut().for_each(|bytes| SystemRandom.fill(bytes));
        assert_ne!(bytes[0], bytes[1]);
    }
}
