//! The loops of BLAKE2b in vectors: each takes one word of every lane.

/// All rounds of a vector kernel. `$mix` is the kernel's step on places of its sixteen vectors, `$m` are its message words.
///
/// Spelled out, so that every place is known when this is compiled and all can stay in registers.
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

pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi64, _mm512_loadu_si512, _mm512_ror_epi64, _mm512_set1_epi64, _mm512_storeu_si512,
        _mm512_xor_si512,
    };

    use super::super::super::turn::turned_words;
    use super::super::{BLOCK_LEN, Blocks, INITIAL, State};

    const LANES: usize = 8;

    /// Compresses the blocks into the states. The processor must have AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn compress(state: &mut State<LANES>, blocks: &Blocks<'_, LANES>) {
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

pub(super) mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi64x,
        _mm256_setr_epi8, _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_srli_epi64, _mm256_storeu_si256,
        _mm256_unpackhi_epi64, _mm256_unpacklo_epi64, _mm256_xor_si256,
    };

    use super::super::{BLOCK_LEN, Blocks, INITIAL, State};

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
    pub(in super::super) fn compress(state: &mut State<LANES>, blocks: &Blocks<'_, LANES>) {
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
