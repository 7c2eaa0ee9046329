//! BLAKE2b over several messages side by side: one message per lane of a vector, and a lane whose message ends takes the
//! next one at once, so that messages of different lengths do not leave lanes idle until the longest has ended.
//!
//! The function is that of RFC 7693, keyed, with a digest of 32 bytes. A message is given in pieces, as it lies in memory.

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vectors;

use super::Instructions;
use crate::hashing::Pieces;
#[cfg(target_arch = "x86_64")]
use vectors::{avx2, avx512};

/// Bytes of one block of input.
const BLOCK_LEN: usize = 128;
const ROUNDS: usize = 12;

/// Bytes of a digest here.
pub(crate) const DIGEST_LEN: usize = 32;

/// The initial state of RFC 7693, which is that of SHA-512.
const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// Which word of a block a round mixes in where; rounds 10 and 11 repeat rounds 0 and 1.
const ORDER: [[usize; 16]; ROUNDS] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
];

/// A block in which a message that ends there, or crosses from one piece to the next, is put together.
type Block = [u8; BLOCK_LEN];

/// Keyed BLAKE2b in lanes.
#[derive(Clone)]
pub(crate) struct Lanes {
    /// The state after the key, which is the first block of every message but the empty one.
    keyed: [u64; 8],
    /// The digest of the empty message: there the key's block is the last.
    of_nothing: [u8; DIGEST_LEN],
    kernel: Kernel,
}

#[derive(Clone, Copy)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(test)]
    Plain,
}

impl Kernel {
    fn best(instructions: Instructions) -> Option<Self> {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => Some(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Some(Self::Avx2),
            _ => None,
        }
    }
}

impl Lanes {
    /// For a key of 1 to 64 bytes; `None` where lanes would gain nothing.
    pub(crate) fn new(key: &[u8], instructions: Instructions) -> Option<Self> {
        Some(Self::with(key, Kernel::best(instructions)?))
    }

    fn with(key: &[u8], kernel: Kernel) -> Self {
        assert!((1..=64).contains(&key.len()), "the format takes no such key");
        let mut start = INITIAL;
        // Digest length, key length, fan-out 1, depth 1.
        start[0] ^= 0x0101_0000 | (key.len() as u64) << 8 | DIGEST_LEN as u64;
        let mut block = [0; BLOCK_LEN];
        block[..key.len()].copy_from_slice(key);
        let (mut keyed, mut empty) = (start, start);
        compress(&mut keyed, &block, BLOCK_LEN as u64, false);
        compress(&mut empty, &block, BLOCK_LEN as u64, true);
        Self {
            keyed,
            of_nothing: digest(&empty),
            kernel,
        }
    }

    /// How many messages are hashed side by side.
    pub(crate) fn count(&self) -> usize {
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => 8,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => 4,
            #[cfg(test)]
            Kernel::Plain => 3,
        }
    }

    /// Lanes without messages.
    pub(crate) fn start(&self) -> Running {
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => Running::Eight(Box::default()),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => Running::Four(Box::default()),
            #[cfg(test)]
            Kernel::Plain => Running::Three(Box::default()),
        }
    }

    /// Puts a message into a lane that has none. An empty one has ended at once: this is its digest.
    pub(crate) fn begin(&self, running: &mut Running, lane: usize, message: &impl Pieces) -> Option<[u8; DIGEST_LEN]> {
        let Some(place) = Place::first(message) else {
            return Some(self.of_nothing);
        };
        match running {
            #[cfg(target_arch = "x86_64")]
            Running::Eight(course) => course.begin(lane, place, &self.keyed),
            #[cfg(target_arch = "x86_64")]
            Running::Four(course) => course.begin(lane, place, &self.keyed),
            #[cfg(test)]
            Running::Three(course) => course.begin(lane, place, &self.keyed),
        }
        None
    }

    /// Goes on until the message of at least one lane has ended, and tells the lanes that are free then. `messages` are
    /// those that were begun, by their lanes, and have the same bytes as at any time before.
    ///
    /// Does nothing where all lanes are free.
    pub(crate) fn advance<M: Pieces>(
        &self,
        running: &mut Running,
        messages: &[Option<M>],
        ended: impl FnMut(usize, [u8; DIGEST_LEN]),
    ) {
        match running {
            // SAFETY: `Lanes::start` makes one of this width only where the processor has the instructions, as
            // `Kernel::best` saw.
            #[cfg(target_arch = "x86_64")]
            Running::Eight(course) => {
                course.advance(messages, ended, |state, blocks| unsafe {
                    avx512::compress(state, blocks)
                });
            }
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Running::Four(course) => {
                course.advance(messages, ended, |state, blocks| unsafe {
                    avx2::compress(state, blocks)
                });
            }
            #[cfg(test)]
            Running::Three(course) => course.advance(messages, ended, plain::compress::<3>),
        }
    }
}

/// Messages on their way through the lanes of a kernel.
pub(crate) enum Running {
    #[cfg(target_arch = "x86_64")]
    Eight(Box<Course<8>>),
    #[cfg(target_arch = "x86_64")]
    Four(Box<Course<4>>),
    #[cfg(test)]
    Three(Box<Course<3>>),
}

/// The lanes: what has been taken in of each message, and where it goes on.
pub(crate) struct Course<const N: usize> {
    state: State<N>,
    places: [Option<Place>; N],
}

impl<const N: usize> Default for Course<N> {
    fn default() -> Self {
        Self {
            state: State::new(),
            places: [None; N],
        }
    }
}

impl<const N: usize> Course<N> {
    fn begin(&mut self, lane: usize, place: Place, keyed: &[u64; 8]) {
        assert!(self.places[lane].is_none(), "a lane has one message at a time");
        self.state.set(lane, keyed, BLOCK_LEN as u64);
        self.places[lane] = Some(place);
    }

    fn advance<M: Pieces>(
        &mut self,
        messages: &[Option<M>],
        mut ended: impl FnMut(usize, [u8; DIGEST_LEN]),
        compress: impl Fn(&mut State<N>, &Blocks<'_, N>),
    ) {
        let mut staged = [[0; BLOCK_LEN]; N];
        loop {
            let mut lanes: [Option<Lane<'_, M>>; N] = std::array::from_fn(|lane| {
                let place = self.places[lane]?;
                let message = messages[lane].as_ref().expect("a message stays until it has ended");
                Some(Lane { message, place })
            });
            // As many blocks as all lanes have in one stretch before any of them needs to be looked at.
            let Some(count) = lanes.iter().flatten().map(Lane::blocks_in_a_row).min() else {
                return;
            };
            if count > 0 {
                let of_any = lanes.iter().flatten().next().map_or(&[][..], Lane::current);
                let blocks = Blocks {
                    // A lane without a message repeats another's work, and nobody asks for the result.
                    starts: std::array::from_fn(|lane| lanes[lane].as_ref().map_or(of_any, Lane::current)),
                    count,
                };
                self.state.last = [0; N];
                compress(&mut self.state, &blocks);
                lanes.iter_mut().flatten().for_each(|lane| lane.skip(count * BLOCK_LEN));
            } else {
                // One block of each lane, put together where it does not lie in a row.
                for (index, lane) in lanes.iter_mut().enumerate() {
                    let Some(lane) = lane else { continue };
                    let filled = lane.fill(&mut staged[index]);
                    self.state.last[index] = if lane.place.left == 0 { u64::MAX } else { 0 };
                    // The kernel counts whole blocks.
                    let missing = (BLOCK_LEN - filled) as u64;
                    self.state.bytes[index] = self.state.bytes[index].wrapping_sub(missing);
                }
                let blocks = Blocks {
                    starts: std::array::from_fn(|index| &staged[index][..]),
                    count: 1,
                };
                compress(&mut self.state, &blocks);
            }
            self.places = lanes.map(|lane| lane.map(|lane| lane.place));
            let mut some_ended = false;
            for (lane, place) in self.places.iter_mut().enumerate() {
                if place.is_some_and(|place| place.left == 0) {
                    *place = None;
                    some_ended = true;
                    ended(lane, digest(&self.state.get(lane)));
                }
            }
            if some_ended {
                return;
            }
        }
    }
}

/// The states of all lanes, word by word: vectors take one word of every lane.
struct State<const N: usize> {
    words: [[u64; N]; 8],
    /// Bytes of each message that are in its state, the key's block included.
    bytes: [u64; N],
    /// All ones where the block that comes is the message's last.
    last: [u64; N],
}

impl<const N: usize> State<N> {
    fn new() -> Self {
        Self {
            words: [[0; N]; 8],
            bytes: [0; N],
            last: [0; N],
        }
    }

    fn set(&mut self, lane: usize, words: &[u64; 8], bytes: u64) {
        for (of_lanes, word) in self.words.iter_mut().zip(words) {
            of_lanes[lane] = *word;
        }
        self.bytes[lane] = bytes;
    }

    fn get(&self, lane: usize) -> [u64; 8] {
        self.words.map(|of_lanes| of_lanes[lane])
    }
}

/// What a kernel compresses: `count` blocks of each lane, one behind the other from the start of its slice.
struct Blocks<'a, const N: usize> {
    starts: [&'a [u8]; N],
    count: usize,
}

impl<const N: usize> Blocks<'_, N> {
    /// That every slice has all its blocks: kernels read without looking again.
    fn check(&self) {
        let len = self.count * BLOCK_LEN;
        assert!(self.starts.iter().all(|start| start.len() >= len));
    }
}

/// How far a message has come.
#[derive(Clone, Copy)]
struct Place {
    /// The piece that is being read, and the next byte in it.
    piece: usize,
    at: usize,
    /// Bytes of the message that are left; at the end of a piece, the place is the begin of the next.
    left: usize,
}

impl Place {
    /// `None` for an empty message.
    fn first(message: &impl Pieces) -> Option<Self> {
        let pieces = (0..).map_while(|index| message.piece(index));
        let left = pieces.map(<[u8]>::len).sum();
        let mut lane = Lane {
            message,
            place: Self { piece: 0, at: 0, left },
        };
        lane.skip(0);
        (left > 0).then_some(lane.place)
    }
}

/// A message on its way through a lane.
struct Lane<'a, M> {
    message: &'a M,
    place: Place,
}

impl<'a, M: Pieces> Lane<'a, M> {
    /// What is left of the piece that is being read; empty only behind the message's end.
    fn current(&self) -> &'a [u8] {
        let piece = self.message.piece(self.place.piece);
        piece.map_or(&[], |piece| &piece[self.place.at..])
    }

    /// Whole blocks that lie in a row and are not the message's last.
    fn blocks_in_a_row(&self) -> usize {
        let in_a_row = self.current().len() / BLOCK_LEN;
        in_a_row.min((self.place.left - 1) / BLOCK_LEN)
    }

    fn skip(&mut self, len: usize) {
        self.place.at += len;
        self.place.left -= len;
        while let Some(piece) = self.message.piece(self.place.piece)
            && piece.len() == self.place.at
        {
            self.place.piece += 1;
            self.place.at = 0;
        }
    }

    /// Copies the next block, with zeros behind the message's end; gives how many bytes are of the message.
    fn fill(&mut self, block: &mut Block) -> usize {
        let mut filled = 0;
        while filled < BLOCK_LEN && self.place.left > 0 {
            let current = self.current();
            let len = current.len().min(BLOCK_LEN - filled);
            block[filled..filled + len].copy_from_slice(&current[..len]);
            filled += len;
            self.skip(len);
        }
        block[filled..].fill(0);
        filled
    }
}

fn digest(state: &[u64; 8]) -> [u8; DIGEST_LEN] {
    let mut digest = [0; DIGEST_LEN];
    for (bytes, word) in digest.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// One block into one state, in plain code: the key at the start, and the twin that the kernels are tested against.
fn compress(state: &mut [u64; 8], block: &Block, bytes: u64, is_last: bool) {
    let words: [u64; 16] = std::array::from_fn(|index| {
        u64::from_le_bytes(
            *block[index * 8..]
                .first_chunk()
                .expect("a block has 16 words of 8 bytes"),
        )
    });
    let mut v = [0; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&INITIAL);
    v[12] ^= bytes;
    if is_last {
        v[14] = !v[14];
    }
    let mut mix = |a: usize, b: usize, c: usize, d: usize, x: u64, y: u64| {
        v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
        v[d] = (v[d] ^ v[a]).rotate_right(32);
        v[c] = v[c].wrapping_add(v[d]);
        v[b] = (v[b] ^ v[c]).rotate_right(24);
        v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
        v[d] = (v[d] ^ v[a]).rotate_right(16);
        v[c] = v[c].wrapping_add(v[d]);
        v[b] = (v[b] ^ v[c]).rotate_right(63);
    };
    for order in &ORDER {
        let word = |index: usize| words[order[index]];
        for column in 0..4 {
            let (x, y) = (word(2 * column), word(2 * column + 1));
            mix(column, 4 + column, 8 + column, 12 + column, x, y);
        }
        for diagonal in 0..4 {
            let (x, y) = (word(8 + 2 * diagonal), word(9 + 2 * diagonal));
            mix(
                diagonal,
                4 + (diagonal + 1) % 4,
                8 + (diagonal + 2) % 4,
                12 + (diagonal + 3) % 4,
                x,
                y,
            );
        }
    }
    for (index, word) in state.iter_mut().enumerate() {
        *word ^= v[index] ^ v[index + 8];
    }
}

/// The kernels' twin in safe code.
#[cfg(test)]
mod plain {
    use super::{BLOCK_LEN, Blocks, State};

    pub(super) fn compress<const N: usize>(state: &mut State<N>, blocks: &Blocks<'_, N>) {
        blocks.check();
        for block in 0..blocks.count {
            for lane in 0..N {
                let bytes = blocks.starts[lane][block * BLOCK_LEN..].first_chunk().unwrap();
                let mut words = state.get(lane);
                let counted = state.bytes[lane].wrapping_add(BLOCK_LEN as u64);
                super::compress(&mut words, bytes, counted, state.last[lane] != 0);
                state.set(lane, &words, counted);
            }
        }
    }
}
