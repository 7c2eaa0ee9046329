//! The splitter room: where the bytes of an object are cut into chunks, exactly where Kopia cuts them.
//!
//! All splitters cut after a byte that is at least [`SplitterAlgorithm::min_chunk_len`] into the chunk and at the
//! latest after [`SplitterAlgorithm::max_chunk_len`] bytes; what is left at the end of the object is the last chunk.
//! Equal bytes are cut equally whatever pieces they are fed in.

mod buzhash;
mod fixed;
mod rabin_karp;
mod rolling;

use crate::FormatError;
use buzhash::Buzhash;
use fixed::Fixed;
use rabin_karp::RabinKarp;
use rolling::Dynamic;

/// The size in a splitter's name: the length of every chunk, or the average that dynamic splitters aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChunkSize {
    /// 128 KiB.
    K128,
    /// 256 KiB.
    K256,
    /// 512 KiB.
    K512,
    /// 1 MiB.
    M1,
    /// 2 MiB.
    M2,
    /// 4 MiB.
    M4,
    /// 8 MiB.
    M8,
}

impl ChunkSize {
    /// The size in bytes, a power of two.
    pub const fn bytes(self) -> usize {
        (128 << 10) << self as usize
    }
}

/// A splitter that the format blob or a policy may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SplitterAlgorithm {
    /// `FIXED-<size>`: every chunk has the same length.
    Fixed(ChunkSize),
    /// `DYNAMIC-<size>-BUZHASH`: cuts where a 32-bit buzhash of the last 64 bytes says so.
    Buzhash(ChunkSize),
    /// `DYNAMIC-<size>-RABINKARP`: cuts where a polynomial fingerprint of the last 64 bytes says so.
    RabinKarp(ChunkSize),
    /// The old name `FIXED`: cuts as `FIXED-4M`.
    LegacyFixed,
    /// The old name `DYNAMIC`: cuts as `DYNAMIC-4M-BUZHASH`.
    LegacyDynamic,
}

macro_rules! named_splitters {
    ($($size:literal $variant:ident),*) => {
        [
            $((concat!("FIXED-", $size), SplitterAlgorithm::Fixed(ChunkSize::$variant)),)*
            $((concat!("DYNAMIC-", $size, "-BUZHASH"), SplitterAlgorithm::Buzhash(ChunkSize::$variant)),)*
            $((concat!("DYNAMIC-", $size, "-RABINKARP"), SplitterAlgorithm::RabinKarp(ChunkSize::$variant)),)*
            ("FIXED", SplitterAlgorithm::LegacyFixed),
            ("DYNAMIC", SplitterAlgorithm::LegacyDynamic),
        ]
    };
}

const NAMES: [(&str, SplitterAlgorithm); 23] =
    named_splitters!("128K" K128, "256K" K256, "512K" K512, "1M" M1, "2M" M2, "4M" M4, "8M" M8);

impl SplitterAlgorithm {
    /// Every splitter Kopia knows, the two old names last.
    pub const ALL: [Self; NAMES.len()] = {
        let mut all = [Self::LegacyFixed; NAMES.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = NAMES[index].1;
            index += 1;
        }
        all
    };

    /// What Kopia gives to new repositories.
    pub const DEFAULT: Self = Self::Buzhash(ChunkSize::M4);

    /// The name as the format blob spells it. The old names are kept as they are.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, algorithm)| *algorithm == self)
            .expect("the table above has a line for every variant and size")
            .0
    }

    /// The splitter with this name. An empty name, as old repositories have it, means `FIXED`.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        if name.is_empty() {
            return Ok(Self::LegacyFixed);
        }
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| *algorithm)
            .ok_or_else(|| FormatError::UnknownSplitter {
                found: name.chars().take(80).collect(),
            })
    }

    /// No chunk is longer than this many bytes.
    pub fn max_chunk_len(self) -> usize {
        match self.family() {
            Family::Fixed(size) => size.bytes(),
            Family::Buzhash(size) | Family::RabinKarp(size) => 2 * size.bytes(),
        }
    }

    /// No chunk but the last of an object is shorter than this many bytes.
    pub fn min_chunk_len(self) -> usize {
        match self.family() {
            Family::Fixed(size) => size.bytes(),
            Family::Buzhash(size) | Family::RabinKarp(size) => size.bytes() / 2,
        }
    }

    /// Begins an object.
    pub fn start(self) -> Splitter {
        let (min, max) = (self.min_chunk_len(), self.max_chunk_len());
        Splitter(match self.family() {
            Family::Fixed(size) => Kind::Fixed(Fixed::new(size.bytes())),
            Family::Buzhash(size) => Kind::Buzhash(Dynamic::new(min, max, size.bytes() as u32 - 1)),
            Family::RabinKarp(size) => Kind::RabinKarp(Dynamic::new(min, max, size.bytes() as u64 - 1)),
        })
    }

    fn family(self) -> Family {
        match self {
            Self::Fixed(size) => Family::Fixed(size),
            Self::Buzhash(size) => Family::Buzhash(size),
            Self::RabinKarp(size) => Family::RabinKarp(size),
            Self::LegacyFixed => Family::Fixed(ChunkSize::M4),
            Self::LegacyDynamic => Family::Buzhash(ChunkSize::M4),
        }
    }
}

/// A splitter without its name.
enum Family {
    Fixed(ChunkSize),
    Buzhash(ChunkSize),
    RabinKarp(ChunkSize),
}

/// Cuts one object. Made by [`SplitterAlgorithm::start`].
///
/// Budget: on one core 2 GB/s for buzhash, 5 GB/s with AVX-512, 1.5 GB/s for Rabin-Karp (bench `split`), no allocation, about
/// 100 bytes of state.
#[derive(Clone, Debug)]
pub struct Splitter(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Fixed),
    Buzhash(Dynamic<Buzhash>),
    RabinKarp(Dynamic<RabinKarp>),
}

impl Splitter {
    /// Feeds the next bytes of the object.
    ///
    /// `Some(n)`: a chunk ends after the first `n` bytes of `data` (never zero); the bytes after them must be fed again.
    /// `None`: there is no cut in `data`, and all of it was consumed.
    pub fn next_cut(&mut self, data: &[u8]) -> Option<usize> {
        match &mut self.0 {
            Kind::Fixed(splitter) => splitter.next_cut(data),
            Kind::Buzhash(splitter) => splitter.next_cut(data),
            Kind::RabinKarp(splitter) => splitter.next_cut(data),
        }
    }
}

#[cfg(test)]
mod tests;
