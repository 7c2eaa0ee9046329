//! The field room: arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1.

/// The polynomial without its highest term.
pub(super) const POLYNOMIAL: u8 = 0x1d;
/// The order of the multiplicative group.
const ORDER: usize = 255;

/// Powers of the generator 2, twice in a row so that a sum of two logarithms needs no reduction.
static POWERS: [u8; 2 * ORDER] = {
    let mut powers = [0; 2 * ORDER];
    let mut value = 1u8;
    let mut index = 0;
    while index < 2 * ORDER {
        powers[index] = value;
        value = (value << 1) ^ if value & 0x80 == 0 { 0 } else { POLYNOMIAL };
        index += 1;
    }
    powers
};

static LOGARITHMS: [u8; 256] = {
    let mut logarithms = [0; 256];
    let mut index = 0;
    while index < ORDER {
        logarithms[POWERS[index] as usize] = index as u8;
        index += 1;
    }
    logarithms
};

/// The logarithm to the base 2 of what is not zero.
fn logarithm(value: u8) -> usize {
    usize::from(LOGARITHMS[usize::from(value)])
}

pub(super) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    POWERS[logarithm(a) + logarithm(b)]
}

/// The inverse of what is not zero.
pub(super) fn invert(value: u8) -> u8 {
    assert_ne!(value, 0, "zero has no inverse");
    POWERS[ORDER - logarithm(value)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication as the polynomials do it.
    fn by_shifting(a: u8, b: u8) -> u8 {
        (0..8).rev().fold(0, |sum: u8, bit| {
            let doubled = (sum << 1) ^ if sum & 0x80 == 0 { 0 } else { POLYNOMIAL };
            doubled ^ if b >> bit & 1 == 1 { a } else { 0 }
        })
    }

    #[test]
    fn products_are_those_of_the_polynomials() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), by_shifting(a, b), "{a} * {b}");
            }
            assert!(a == 0 || multiply(a, invert(a)) == 1);
        }
    }
}
