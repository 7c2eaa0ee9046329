//! The Rabin-Karp room: a polynomial fingerprint of degree 53 over 64 bytes.

use super::rolling::{Rolling, WINDOW};

/// The window read as a polynomial over GF(2), oldest byte first, modulo [`MODULUS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RabinKarp(u64);

/// Irreducible; the first one that Kopia's library draws from Go's `math/rand` seeded with 1.
const MODULUS: u64 = 0x2e_3e3e_4a30_5605;
const DEGREE: u32 = MODULUS.ilog2();

impl Rolling for RabinKarp {
    type Mask = u64;

    #[inline(always)]
    fn roll(self, leaving: u8, entering: u8) -> Self {
        let kept = self.0 ^ LEAVING[usize::from(leaving)];
        let overflow = (kept >> (DEGREE - 8)) as u8;
        Self((kept << 8 | u64::from(entering)) ^ REDUCE[usize::from(overflow)])
    }

    #[inline(always)]
    fn ends_chunk(self, mask: u64) -> bool {
        self.0 & mask == 0
    }
}

/// What the oldest byte of the window has become by the time it leaves.
static LEAVING: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut step = 1;
        while step < WINDOW {
            value = times_x8(value);
            step += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

/// For the eight bits that a shift pushes over the degree: those bits, to clear them, and what they are modulo the
/// modulus.
static REDUCE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let overflow = (byte as u64) << DEGREE;
        table[byte] = overflow ^ reduce(overflow);
        byte += 1;
    }
    table
};

const fn times_x8(value: u64) -> u64 {
    reduce(value << 8)
}

/// The remainder of a polynomial of at most 61 bits.
const fn reduce(mut value: u64) -> u64 {
    let mut bit = DEGREE + 8;
    while bit >= DEGREE {
        if value >> bit & 1 == 1 {
            value ^= MODULUS << (bit - DEGREE);
        }
        bit -= 1;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_the_bytes_0_to_63() {
        let hash = (0..WINDOW as u8).fold(RabinKarp::default(), |hash, byte| hash.roll(0, byte));
        assert_eq!(hash, RabinKarp(0x1a_9159_8731_792b));
    }
}
