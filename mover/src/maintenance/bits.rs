//! The tally sticks: one bit for each of many numbered things.

/// Bits that are all clear at first: 8 MiB for 67 million.
#[derive(Debug)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// For numbers below `count`.
    pub(super) fn new(count: u64) -> Self {
        Self(vec![0; count.div_ceil(64) as usize])
    }

    /// Sets the bit of a number; true when it was clear.
    pub(super) fn set(&mut self, number: u64) -> bool {
        let word = &mut self.0[(number / 64) as usize];
        let bit = 1 << (number % 64);
        let was_clear = *word & bit == 0;
        *word |= bit;
        was_clear
    }

    /// Whether the bit of a number is set.
    pub(super) fn is_set(&self, number: u64) -> bool {
        self.0[(number / 64) as usize] & (1 << (number % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_a_set_of_numbers(numbers in prop::collection::vec(0u64..300, 0..200)) {
            let (mut bits, mut set) = (Bits::new(300), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(bits.set(number), set.insert(number));
            }
            for number in 0..300 {
                prop_assert_eq!(bits.is_set(number), set.contains(&number));
            }
        }
    }
}
