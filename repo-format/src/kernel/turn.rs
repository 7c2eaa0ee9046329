//! Rows and columns changed over, with AVX-512.

use std::arch::x86_64::{__m512i, _mm512_shuffle_i64x2, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64};

/// Eight rows of eight words; the first vector of the answer has the first word of every row.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn turned_words([a, b, c, d, e, f, g, h]: [__m512i; 8]) -> [__m512i; 8] {
    // Words 0, 2, 4, 6 of two rows side by side, and words 1, 3, 5, 7.
    let (ab, ab_odd) = (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let (cd, cd_odd) = (_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d));
    let (ef, ef_odd) = (_mm512_unpacklo_epi64(e, f), _mm512_unpackhi_epi64(e, f));
    let (gh, gh_odd) = (_mm512_unpacklo_epi64(g, h), _mm512_unpackhi_epi64(g, h));
    let mut words = [a; 8];
    for (first, (ab, cd, ef, gh)) in [(0, (ab, cd, ef, gh)), (1, (ab_odd, cd_odd, ef_odd, gh_odd))] {
        // Quarters of four rows: words 0 and 4, then 2 and 6.
        let abcd_04 = _mm512_shuffle_i64x2::<0b10_00_10_00>(ab, cd);
        let abcd_26 = _mm512_shuffle_i64x2::<0b11_01_11_01>(ab, cd);
        let efgh_04 = _mm512_shuffle_i64x2::<0b10_00_10_00>(ef, gh);
        let efgh_26 = _mm512_shuffle_i64x2::<0b11_01_11_01>(ef, gh);
        words[first] = _mm512_shuffle_i64x2::<0b10_00_10_00>(abcd_04, efgh_04);
        words[first + 4] = _mm512_shuffle_i64x2::<0b11_01_11_01>(abcd_04, efgh_04);
        words[first + 2] = _mm512_shuffle_i64x2::<0b10_00_10_00>(abcd_26, efgh_26);
        words[first + 6] = _mm512_shuffle_i64x2::<0b11_01_11_01>(abcd_26, efgh_26);
    }
    words
}
