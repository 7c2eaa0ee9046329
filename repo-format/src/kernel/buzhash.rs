//! The hash of the default splitters over 64 stretches of bytes at the same time, with AVX-512: a byte of a vector belongs to
//! a stretch, and four vectors are the four bytes of all hashes.

/// How many bytes the hash looks back.
const WINDOW: usize = 64;
/// Bytes of one stretch. Each begins with hashing the window before it once more.
const STRETCH_LEN: usize = 2048;
const STRETCHES: usize = 64;

/// How many bytes are looked at in one call.
pub(crate) const BLOCK_LEN: usize = STRETCHES * STRETCH_LEN;

/// The table of the hash, cut into bytes.
#[derive(Clone, Debug)]
pub(crate) struct Planes([[u8; 256]; 4]);

impl Planes {
    /// Byte `n` of each word of the table.
    pub(crate) const fn of(table: &[u32; 256]) -> Self {
        let mut planes = [[0; 256]; 4];
        let mut value = 0;
        while value < 256 {
            let bytes = table[value].to_le_bytes();
            let mut plane = 0;
            while plane < 4 {
                planes[plane][value] = bytes[plane];
                plane += 1;
            }
            value += 1;
        }
        Self(planes)
    }
}

/// The first stretch of a block in which a hash has no bit of `mask` set, by its first byte; `None` when there is no such.
///
/// `bytes` are the window before the block and the block. The mask may not go beyond the 24 lowest bits. The processor
/// must have the instructions.
#[cfg(target_arch = "x86_64")]
pub(crate) fn first_stretch(planes: &Planes, bytes: &[u8; WINDOW + BLOCK_LEN], mask: u32) -> Option<usize> {
    assert!(mask >> 24 == 0 && super::detected() == super::Instructions::Avx512);
    // SAFETY: the processor was asked just now.
    let hits = unsafe { avx512::hits(planes, bytes, mask) };
    (hits != 0).then(|| hits.trailing_zeros() as usize * STRETCH_LEN)
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi8, _mm512_and_si512, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512,
        _mm512_mask_blend_epi8, _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_permutexvar_epi8,
        _mm512_set1_epi8, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_ternarylogic_epi64, _mm512_testn_epi8_mask,
        _mm512_xor_si512,
    };

    use super::super::turn::turned_words;
    use super::{BLOCK_LEN, Planes, STRETCH_LEN, WINDOW};

    /// Each lane's byte of a word of the table.
    type Words = [__m512i; 4];
    type Turned = [__m512i; 64];

    /// Which stretches hold a hash without a bit of `mask`; the first is the lowest bit.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,gfni")]
    pub(super) fn hits(planes: &Planes, bytes: &[u8; WINDOW + BLOCK_LEN], mask: u32) -> u64 {
        let quarter = |plane: usize, quarter: usize| load(&planes.0[plane], quarter * 64);
        let tables: [[__m512i; 4]; 4] = [
            [quarter(0, 0), quarter(0, 1), quarter(0, 2), quarter(0, 3)],
            [quarter(1, 0), quarter(1, 1), quarter(1, 2), quarter(1, 3)],
            [quarter(2, 0), quarter(2, 1), quarter(2, 2), quarter(2, 3)],
            [quarter(3, 0), quarter(3, 1), quarter(3, 2), quarter(3, 3)],
        ];
        let masks = mask.to_le_bytes().map(u8::cast_signed);
        let masks = [
            _mm512_set1_epi8(masks[0]),
            _mm512_set1_epi8(masks[1]),
            _mm512_set1_epi8(masks[2]),
        ];
        // Takes the highest bit of each byte down to the lowest place.
        let carry = _mm512_set1_epi64(i64::MIN);
        let zero = _mm512_setzero_si512();
        let mut turned: Turned = [zero; 64];
        let mut leaving: [Words; WINDOW] = [[zero; 4]; WINDOW];
        let mut hash: Words = [zero; 4];
        let mut hits = 0;
        // The window before each stretch, which ends no chunk, then the stretch.
        for step in 0..=STRETCH_LEN / 64 {
            turn(bytes, step * 64, &mut turned);
            for (values, left) in turned.iter().zip(&mut leaving) {
                let high = _mm512_movepi8_mask(*values);
                let word = |[a, b, c, d]: [__m512i; 4]| {
                    let low = _mm512_permutex2var_epi8(a, *values, b);
                    _mm512_mask_blend_epi8(high, low, _mm512_permutex2var_epi8(c, *values, d))
                };
                let entering = [word(tables[0]), word(tables[1]), word(tables[2]), word(tables[3])];
                let rolled = |of: usize, below: usize| {
                    let shifted = _mm512_add_epi8(hash[of], hash[of]);
                    let carried = _mm512_gf2p8affine_epi64_epi8::<0>(hash[below], carry);
                    let turned = _mm512_ternarylogic_epi64::<0x96>(shifted, carried, entering[of]);
                    _mm512_xor_si512(turned, left[of])
                };
                hash = [rolled(0, 3), rolled(1, 0), rolled(2, 1), rolled(3, 2)];
                *left = entering;
                if step > 0 {
                    let set = _mm512_and_si512(hash[0], masks[0]);
                    let set = _mm512_ternarylogic_epi64::<0xea>(hash[1], masks[1], set);
                    let set = _mm512_ternarylogic_epi64::<0xea>(hash[2], masks[2], set);
                    hits |= _mm512_testn_epi8_mask(set, set);
                }
            }
        }
        hits
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(bytes: &[u8], at: usize) -> __m512i {
        let part: &[u8; 64] = bytes[at..].first_chunk().expect("the caller stays within its bytes");
        // SAFETY: the array has 64 bytes, and this load asks for no alignment.
        unsafe { _mm512_loadu_si512(part.as_ptr().cast()) }
    }

    /// The next 64 bytes of each stretch, turned so that each vector has one byte of every stretch.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn turn(bytes: &[u8; WINDOW + BLOCK_LEN], at: usize, turned: &mut Turned) {
        // Byte 8a + b of a vector goes to place 8b + a.
        const TURN_8: [u8; 64] = {
            let mut places = [0; 64];
            let mut place = 0;
            while place < 64 {
                places[place] = (place % 8 * 8 + place / 8) as u8;
                place += 1;
            }
            places
        };
        let turn_8 = load(&TURN_8, 0);
        // First by eights: of eight stretches, the same eight bytes each.
        let mut eights: [[__m512i; 8]; 8] = [[_mm512_setzero_si512(); 8]; 8];
        for (group, eight) in eights.iter_mut().enumerate() {
            let row = |lane: usize| load(bytes, (group * 8 + lane) * STRETCH_LEN + at);
            *eight = turned_words([row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)]);
            for vector in eight {
                *vector = _mm512_permutexvar_epi8(turn_8, *vector);
            }
        }
        for (word, turned) in turned.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let of = |group: usize| eights[group][word];
            *turned = turned_words([of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)]);
        }
    }
}
