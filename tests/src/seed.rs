//! The seed room: bytes and choices that are the same on every machine.

/// A small pseudo-random source (xorshift64*): good enough that its bytes neither compress nor repeat.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The source that begins with this number.
    pub fn new(number: u64) -> Self {
        let mut seed = Self(number ^ 0x9e37_79b9_7f4a_7c15);
        if seed.0 == 0 {
            seed.0 = 1; // the one state xorshift never leaves
        }
        for _ in 0..8 {
            seed.next();
        }
        seed
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// When `limit` is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "no number is below zero");
        self.next() % limit
    }

    /// This many bytes that no compressor shrinks.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// This many bytes of made-up words: a compressor finds much in them, yet no two chunks are alike.
    pub fn prose(&mut self, length: usize) -> Vec<u8> {
        let mut words = Vec::with_capacity(256);
        for _ in 0..256 {
            let letters = 2 + self.below(8);
            words.push(
                (0..letters)
                    .map(|_| b"etaoinshrdlu"[self.index_below(12)])
                    .collect::<Vec<u8>>(),
            );
        }
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            bytes.extend_from_slice(&words[self.index_below(256)]);
            bytes.push(if self.below(12) == 0 { b'\n' } else { b' ' });
        }
        bytes.truncate(length);
        bytes
    }

    fn index_below(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("it is below an index")
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn the_same_number_gives_the_same_bytes_and_another_one_others() {
        assert_eq!(Seed::new(7).bytes(100), Seed::new(7).bytes(100));
        assert_ne!(Seed::new(7).bytes(100), Seed::new(8).bytes(100));
        assert_eq!(Seed::new(7).bytes(13).len(), 13);
        assert_eq!(Seed::new(7).prose(1000).len(), 1000);
        assert_ne!(Seed::new(7).prose(1000), Seed::new(8).prose(1000));
    }
}
