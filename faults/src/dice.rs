//! The dice box: every choice of a run, drawn from one seed.

use windlass_mover::random::{RandomSource, SeededRandom};

/// Numbers that look random and are the same for the same seed.
#[derive(Debug)]
pub struct Dice(SeededRandom);

impl Dice {
    /// The throws that belong to this seed.
    pub fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// Any number.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// When `end` is zero.
    pub fn below(&self, end: u64) -> u64 {
        assert!(end > 0, "no number is below zero");
        self.number() % end
    }

    /// A place in a list of so many.
    ///
    /// # Panics
    /// When the list is empty.
    pub fn place(&self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True once in so many throws; never for zero.
    pub fn once_in(&self, throws: u64) -> bool {
        throws > 0 && self.below(throws) == 0
    }

    /// This many bytes that no compressor shrinks.
    pub fn bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// The seed of the `part`-th part of a run.
pub fn part(seed: u64, part: u64) -> u64 {
    Dice::new(seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)).number()
}
