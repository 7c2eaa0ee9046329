//! The finding room of the index: a key in sorted keys that are hashes, looking at few of them.
//!
//! An index of millions lies on a disk, and each place that is looked at may have to be read. Halving looks at 24 places
//! of 16 million, a dozen of them far apart. Keys are hashes, so their place can be guessed: the second guess is some dozens of entries off,
//! which is on the same page or the next.

use std::cmp::Ordering;
use std::ops::Range;

/// Guesses before the rest is searched. The second is off by the fourth root of the number of keys.
const GUESSES: u32 = 2;
/// In so few places nothing is guessed.
const NEAR: usize = 32;

/// The place of a key among sorted ones of the same first byte, or `None` if it is not there. Whatever the keys are, it
/// looks at a number of them that grows with the logarithm of how many there are.
pub(super) fn search<'a>(places: Range<usize>, wanted: &[u8], key: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
    let Range {
        start: mut low,
        end: mut high,
    } = places;
    let target = leading(wanted);
    let (mut below, mut above) = (0, u64::MAX);
    let mut last = Ordering::Equal;
    for _ in 0..GUESSES {
        if high.saturating_sub(low) <= NEAR {
            break;
        }
        let share = u128::from(target.clamp(below, above) - below) * (high - low) as u128;
        let guess = low + (share / (u128::from(above - below) + 1)) as usize;
        let found = key(guess);
        last = found.cmp(wanted);
        match last {
            Ordering::Less => {
                low = guess + 1;
                below = leading(found).clamp(below, above);
            }
            Ordering::Greater => {
                high = guess;
                above = leading(found).clamp(below, above);
            }
            Ordering::Equal => return Some(guess),
        }
    }
    // The key is near the last guess: away from there in steps that double, then by halves.
    let mut step = NEAR;
    while last != Ordering::Equal && high.saturating_sub(low) > step {
        let at = if last == Ordering::Less {
            low + step
        } else {
            high - step
        };
        match (key(at).cmp(wanted), last) {
            (Ordering::Equal, _) => return Some(at),
            (Ordering::Less, Ordering::Less) => low = at + 1,
            (Ordering::Greater, Ordering::Greater) => high = at,
            (Ordering::Less, _) => {
                low = at + 1;
                break;
            }
            (Ordering::Greater, _) => {
                high = at;
                break;
            }
        }
        step *= 2;
    }
    let place = partition(low..high, |place| key(place) < wanted);
    (place < high && key(place) == wanted).then_some(place)
}

/// The first of sorted places of which `is_before` no longer holds.
pub(super) fn partition(places: Range<usize>, is_before: impl Fn(usize) -> bool) -> usize {
    let Range {
        start: mut low,
        end: mut high,
    } = places;
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The first bytes behind the letter, as a number.
fn leading(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (byte, from) in bytes.iter_mut().zip(&key[1..]) {
        *byte = *from;
    }
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::search;

    fn find(keys: &[Vec<u8>], wanted: &[u8]) -> (Option<usize>, BTreeSet<usize>) {
        let seen = RefCell::new(BTreeSet::new());
        let found = search(0..keys.len(), wanted, |place| {
            seen.borrow_mut().insert(place);
            &keys[place]
        });
        (found, seen.into_inner())
    }

    proptest! {
        #[test]
        fn what_is_there_is_found_and_nothing_else(
            bytes in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 3), 0..400),
            near in prop::collection::btree_set(0u32..3000, 0..400),
            wanted in prop::collection::vec(any::<u8>(), 3),
        ) {
            // Keys that are spread evenly, and keys that are as unlike hashes as can be.
            let near = near.iter().map(|number| number.to_be_bytes()[1..].to_vec());
            let keys: BTreeSet<_> = bytes.into_iter().chain(near).map(|key| [&[0][..], &key].concat()).collect();
            let keys: Vec<_> = keys.into_iter().collect();
            for (place, key) in keys.iter().enumerate() {
                prop_assert_eq!(find(&keys, key).0, Some(place));
            }
            let wanted = [&[0][..], &wanted].concat();
            prop_assert_eq!(find(&keys, &wanted).0, keys.binary_search(&wanted).ok());
        }

        #[test]
        fn keys_in_no_order_end_the_search(keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5), 0..200)) {
            for key in &keys {
                let (_, seen) = find(&keys, key);
                prop_assert!(seen.len() <= 30);
            }
        }
    }

    #[test]
    fn hashes_are_found_on_few_pages_and_others_in_few_steps() {
        const COUNT: u64 = 300_000;
        let hashed = |number: u64| {
            let mut bytes = number.wrapping_add(1);
            for _ in 0..3 {
                bytes = (bytes ^ bytes >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
            [&[0][..], &bytes.to_be_bytes(), &number.to_be_bytes()].concat()
        };
        let mut hashes: Vec<_> = (0..COUNT).map(hashed).collect();
        hashes.sort();
        let counted: Vec<_> = (0..COUNT)
            .map(|number| [&[0][..], &number.to_be_bytes()].concat())
            .collect();
        let pages = |keys: &[Vec<u8>], wanted: &[u8]| {
            let (found, seen) = find(keys, wanted);
            assert!(found.is_some() && seen.len() <= 40, "{}", seen.len());
            seen.iter().map(|place| place / 117).collect::<BTreeSet<_>>().len()
        };
        let all: usize = (0..1000).map(|number| pages(&hashes, &hashed(number * 299))).sum();
        assert!(all <= 3 * 1000, "{all} pages for 1000 keys");
        for key in counted.iter().step_by(997) {
            pages(&counted, key);
        }
    }
}
