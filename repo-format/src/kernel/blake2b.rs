//! BLAKE2b over several messages side by side: one message per lane of a vector, and a lane whose message ends takes the
//! next one at once, so that messages of different lengths do not leave lanes idle until the longest has ended.
//!
//! The function is that of RFC 7693, keyed, with a digest of 32 bytes. A message is given in pieces, as it lies in memory.

use super::Instructions;
use crate::hashing::Pieces;

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

/// All rounds of a vector kernel. `$mix` is the kernel's step on places of its sixteen vectors, `$m` are its message words.
///
/// Spelled out, so that every place is known when this is compiled and all can stay in registers.
#[cfg(target_arch = "x86_64")]
macro_rules! rounds {
    ($mix:ident, $m:ident) => {
        round!($mix, $m, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        round!($mix, $m, 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
        round!($mix, $m, 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
        round!($mix, $m, 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
        round!($mix, $m, 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
        round!($mix, $m, 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
        round!($mix, $m, 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
        round!($mix, $m, 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
        round!($mix, $m, 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
        round!($mix, $m, 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
        round!($mix, $m, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        round!($mix, $m, 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! round {
    ($mix:ident, $m:ident, $a:literal, $b:literal, $c:literal, $d:literal, $e:literal, $f:literal, $g:literal, $h:literal,
     $i:literal, $j:literal, $k:literal, $l:literal, $n:literal, $o:literal, $p:literal, $q:literal) => {
        $mix!(0, 4, 8, 12, $m[$a], $m[$b]);
        $mix!(1, 5, 9, 13, $m[$c], $m[$d]);
        $mix!(2, 6, 10, 14, $m[$e], $m[$f]);
        $mix!(3, 7, 11, 15, $m[$g], $m[$h]);
        $mix!(0, 5, 10, 15, $m[$i], $m[$j]);
        $mix!(1, 6, 11, 12, $m[$k], $m[$l]);
        $mix!(2, 7, 8, 13, $m[$n], $m[$o]);
        $mix!(3, 4, 9, 14, $m[$p], $m[$q]);
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi64, _mm512_loadu_si512, _mm512_ror_epi64, _mm512_set1_epi64, _mm512_storeu_si512,
        _mm512_xor_si512,
    };

    use super::super::turn::turned_words;
    use super::{BLOCK_LEN, Blocks, INITIAL, State};

    const LANES: usize = 8;

    /// Compresses the blocks into the states. The processor must have AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) fn compress(state: &mut State<LANES>, blocks: &Blocks<'_, LANES>) {
        blocks.check();
        let load = |words: &[u64; LANES]| {
            // SAFETY: the array has 64 bytes, and this load asks for no alignment.
            unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
        };
        let mut h: [__m512i; 8] = [
            load(&state.words[0]),
            load(&state.words[1]),
            load(&state.words[2]),
            load(&state.words[3]),
            load(&state.words[4]),
            load(&state.words[5]),
            load(&state.words[6]),
            load(&state.words[7]),
        ];
        let mut bytes = load(&state.bytes);
        let last = load(&state.last);
        for block in 0..blocks.count {
            let half = |lane: usize, half: usize| {
                let start = blocks.starts[lane].as_ptr();
                // SAFETY: `check` saw that the slice has `count` blocks of 128 bytes; `block` is one of them, and the
                // load takes one of its two halves. It asks for no alignment.
                unsafe { _mm512_loadu_si512(start.add(block * BLOCK_LEN + half * 64).cast()) }
            };
            let row = |of: usize| {
                [
                    half(0, of),
                    half(1, of),
                    half(2, of),
                    half(3, of),
                    half(4, of),
                    half(5, of),
                    half(6, of),
                    half(7, of),
                ]
            };
            let [m0, m1, m2, m3, m4, m5, m6, m7] = turned_words(row(0));
            let [m8, m9, m10, m11, m12, m13, m14, m15] = turned_words(row(1));
            let m = [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15];
            bytes = _mm512_add_epi64(bytes, _mm512_set1_epi64(BLOCK_LEN as i64));
            let constant = |index: usize| _mm512_set1_epi64(INITIAL[index].cast_signed());
            let mut v = [
                h[0],
                h[1],
                h[2],
                h[3],
                h[4],
                h[5],
                h[6],
                h[7],
                constant(0),
                constant(1),
                constant(2),
                constant(3),
                _mm512_xor_si512(constant(4), bytes),
                constant(5),
                _mm512_xor_si512(constant(6), last),
                constant(7),
            ];
            macro_rules! mix {
                ($a:literal, $b:literal, $c:literal, $d:literal, $x:expr, $y:expr) => {
                    v[$a] = _mm512_add_epi64(_mm512_add_epi64(v[$a], $x), v[$b]);
                    v[$d] = _mm512_ror_epi64::<32>(_mm512_xor_si512(v[$d], v[$a]));
                    v[$c] = _mm512_add_epi64(v[$c], v[$d]);
                    v[$b] = _mm512_ror_epi64::<24>(_mm512_xor_si512(v[$b], v[$c]));
                    v[$a] = _mm512_add_epi64(_mm512_add_epi64(v[$a], $y), v[$b]);
                    v[$d] = _mm512_ror_epi64::<16>(_mm512_xor_si512(v[$d], v[$a]));
                    v[$c] = _mm512_add_epi64(v[$c], v[$d]);
                    v[$b] = _mm512_ror_epi64::<63>(_mm512_xor_si512(v[$b], v[$c]));
                };
            }
            rounds!(mix, m);
            for index in 0..8 {
                h[index] = _mm512_xor_si512(h[index], _mm512_xor_si512(v[index], v[index + 8]));
            }
        }
        let store = |words: &mut [u64; LANES], vector: __m512i| {
            // SAFETY: the array has 64 bytes, and this store asks for no alignment.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
        };
        for (words, vector) in state.words.iter_mut().zip(h) {
            store(words, vector);
        }
        store(&mut state.bytes, bytes);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi64x,
        _mm256_setr_epi8, _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_srli_epi64, _mm256_storeu_si256,
        _mm256_unpackhi_epi64, _mm256_unpacklo_epi64, _mm256_xor_si256,
    };

    use super::{BLOCK_LEN, Blocks, INITIAL, State};

    const LANES: usize = 4;

    /// Four words each of four lanes, turned so that each vector has one word of every lane.
    #[target_feature(enable = "avx2")]
    fn transposed([a, b, c, d]: [__m256i; LANES]) -> [__m256i; LANES] {
        let (ab, ab_odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let (cd, cd_odd) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
        [
            _mm256_permute2x128_si256::<0x20>(ab, cd),
            _mm256_permute2x128_si256::<0x20>(ab_odd, cd_odd),
            _mm256_permute2x128_si256::<0x31>(ab, cd),
            _mm256_permute2x128_si256::<0x31>(ab_odd, cd_odd),
        ]
    }

    /// Compresses the blocks into the states. The processor must have AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn compress(state: &mut State<LANES>, blocks: &Blocks<'_, LANES>) {
        blocks.check();
        let load = |words: &[u64; LANES]| {
            // SAFETY: the array has 32 bytes, and this load asks for no alignment.
            unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
        };
        let mut h: [__m256i; 8] = [
            load(&state.words[0]),
            load(&state.words[1]),
            load(&state.words[2]),
            load(&state.words[3]),
            load(&state.words[4]),
            load(&state.words[5]),
            load(&state.words[6]),
            load(&state.words[7]),
        ];
        let mut bytes = load(&state.bytes);
        let last = load(&state.last);
        // Rotations by whole bytes are shuffles.
        let by_24 = _mm256_setr_epi8(
            3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10,
        );
        let by_16 = _mm256_setr_epi8(
            2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9,
        );
        for block in 0..blocks.count {
            let quarter = |lane: usize, quarter: usize| {
                let start = blocks.starts[lane].as_ptr();
                // SAFETY: `check` saw that the slice has `count` blocks of 128 bytes; `block` is one of them, and the
                // load takes one of its four quarters. It asks for no alignment.
                unsafe { _mm256_loadu_si256(start.add(block * BLOCK_LEN + quarter * 32).cast()) }
            };
            let row = |of: usize| [quarter(0, of), quarter(1, of), quarter(2, of), quarter(3, of)];
            let [m0, m1, m2, m3] = transposed(row(0));
            let [m4, m5, m6, m7] = transposed(row(1));
            let [m8, m9, m10, m11] = transposed(row(2));
            let [m12, m13, m14, m15] = transposed(row(3));
            let m = [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15];
            bytes = _mm256_add_epi64(bytes, _mm256_set1_epi64x(BLOCK_LEN as i64));
            let constant = |index: usize| _mm256_set1_epi64x(INITIAL[index].cast_signed());
            let mut v = [
                h[0],
                h[1],
                h[2],
                h[3],
                h[4],
                h[5],
                h[6],
                h[7],
                constant(0),
                constant(1),
                constant(2),
                constant(3),
                _mm256_xor_si256(constant(4), bytes),
                constant(5),
                _mm256_xor_si256(constant(6), last),
                constant(7),
            ];
            macro_rules! mix {
                ($a:literal, $b:literal, $c:literal, $d:literal, $x:expr, $y:expr) => {
                    v[$a] = _mm256_add_epi64(_mm256_add_epi64(v[$a], $x), v[$b]);
                    v[$d] = _mm256_shuffle_epi32::<0b10_11_00_01>(_mm256_xor_si256(v[$d], v[$a]));
                    v[$c] = _mm256_add_epi64(v[$c], v[$d]);
                    v[$b] = _mm256_shuffle_epi8(_mm256_xor_si256(v[$b], v[$c]), by_24);
                    v[$a] = _mm256_add_epi64(_mm256_add_epi64(v[$a], $y), v[$b]);
                    v[$d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[$d], v[$a]), by_16);
                    v[$c] = _mm256_add_epi64(v[$c], v[$d]);
                    let turned = _mm256_xor_si256(v[$b], v[$c]);
                    v[$b] = _mm256_or_si256(
                        _mm256_srli_epi64::<63>(turned),
                        _mm256_add_epi64(turned, turned),
                    );
                };
            }
            rounds!(mix, m);
            for index in 0..8 {
                h[index] = _mm256_xor_si256(h[index], _mm256_xor_si256(v[index], v[index + 8]));
            }
        }
        let store = |words: &mut [u64; LANES], vector: __m256i| {
            // SAFETY: the array has 32 bytes, and this store asks for no alignment.
            unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
        };
        for (words, vector) in state.words.iter_mut().zip(h) {
            store(words, vector);
        }
        store(&mut state.bytes, bytes);
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

#[cfg(test)]
mod tests {
    use blake2::Blake2bMac;
    use blake2::digest::consts::U32;
    use blake2::digest::{FixedOutput, KeyInit, Update};
    use proptest::prelude::*;

    use super::*;

    fn kernels() -> Vec<Kernel> {
        let best = super::super::instructions();
        let mut kernels = vec![Kernel::Plain];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend((best >= Instructions::Avx2).then_some(Kernel::Avx2));
            kernels.extend((best >= Instructions::Avx512).then_some(Kernel::Avx512));
        }
        kernels
    }

    fn reference(key: &[u8], message: &[u8]) -> [u8; DIGEST_LEN] {
        let mut state = Blake2bMac::<U32>::new_from_slice(key).unwrap();
        state.update(message);
        state.finalize_fixed().into()
    }

    fn hash_many(lanes: &Lanes, messages: &[&[&[u8]]]) -> Vec<[u8; DIGEST_LEN]> {
        let mut digests = vec![None; messages.len()];
        let mut running = lanes.start();
        let mut here: Vec<Option<&[&[u8]]>> = vec![None; lanes.count()];
        let mut numbers = vec![0; lanes.count()];
        let mut coming = messages.iter().enumerate();
        loop {
            for (lane, place) in here.iter_mut().enumerate() {
                while place.is_none()
                    && let Some((number, message)) = coming.next()
                {
                    numbers[lane] = number;
                    match lanes.begin(&mut running, lane, message) {
                        Some(digest) => digests[number] = Some(digest),
                        None => *place = Some(message),
                    }
                }
            }
            let mut free = Vec::new();
            lanes.advance(&mut running, &here, |lane, digest| free.push((lane, digest)));
            if free.is_empty() {
                return digests.into_iter().map(|digest| digest.unwrap()).collect();
            }
            for (lane, digest) in free {
                digests[numbers[lane]] = Some(digest);
                here[lane] = None;
            }
        }
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u32)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect()
    }

    #[test]
    fn messages_of_all_lengths_around_a_block_are_hashed_as_one_by_one() {
        let bytes = noise(700);
        let messages: Vec<[&[u8]; 1]> = (0..700).map(|len| [&bytes[..len]]).collect();
        let messages: Vec<&[&[u8]]> = messages.iter().map(|pieces| &pieces[..]).collect();
        for kernel in kernels() {
            for key in [&bytes[..1], &bytes[..32], &bytes[..64]] {
                let digests = hash_many(&Lanes::with(key, kernel), &messages);
                for (len, digest) in digests.iter().enumerate() {
                    assert_eq!(*digest, reference(key, &bytes[..len]), "{len}");
                }
            }
        }
    }

    #[test]
    fn free_lanes_do_nothing() {
        for kernel in kernels() {
            let lanes = Lanes::with(b"k", kernel);
            let messages: Vec<Option<&[&[u8]]>> = vec![None; lanes.count()];
            lanes.advance(&mut lanes.start(), &messages, |lane, _| panic!("{lane} has no message"));
        }
    }

    proptest! {
        #[test]
        fn pieces_and_their_lengths_do_not_matter(
            messages in prop::collection::vec(prop::collection::vec(0usize..400, 0..6), 0..20),
            long in prop::collection::vec(1000usize..20_000, 0..3),
        ) {
            let bytes = noise(20_000);
            let mut pieces: Vec<Vec<&[u8]>> = messages
                .iter()
                .map(|lens| lens.iter().enumerate().map(|(at, len)| &bytes[at * 37..at * 37 + len]).collect())
                .collect();
            pieces.extend(long.iter().map(|len| vec![&bytes[..*len]]));
            let given: Vec<&[&[u8]]> = pieces.iter().map(|pieces| &pieces[..]).collect();
            for kernel in kernels() {
                let digests = hash_many(&Lanes::with(b"the secret", kernel), &given);
                for (pieces, digest) in pieces.iter().zip(digests) {
                    prop_assert_eq!(digest, reference(b"the secret", &pieces.concat()));
                }
            }
        }
    }
}
