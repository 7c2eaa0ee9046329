//! The christening of unfinished files: under which name a checkpoint holds what there is of a file so far.

use crate::json::lossy_name;

const PREFIX: &str = ".checkpointed.";
/// The longest name that file systems take, in bytes.
const NAME_LEN_MAX: usize = 255;
/// A dot and a UUID.
const SUFFIX_LEN: usize = 37;

/// The name of an unfinished file in the directory of a checkpoint: `.checkpointed.<name>.<uuid>`, as Kopia has it. No
/// later snapshot takes it for an earlier version of anything, because no file has that name.
///
/// A long name is cut, so that the whole can be restored: it then has at most 255 bytes. (Kopia does not cut.)
pub fn checkpointed_name(name: &[u8], random: [u8; 16]) -> String {
    let mut named = PREFIX.to_owned();
    for letter in lossy_name(name).chars() {
        if named.len() + letter.len_utf8() + SUFFIX_LEN > NAME_LEN_MAX {
            break;
        }
        named.push(letter);
    }
    // A UUID of version 4: random but for the two places that say so.
    let mut uuid = u128::from_be_bytes(random);
    uuid = uuid & !(0xf << 76) | 4 << 76;
    uuid = uuid & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{uuid:032x}");
    for (start, end) in [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)] {
        named.push(if start == 0 { '.' } else { '-' });
        named.push_str(&digits[start..end]);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_kopias() {
        assert_eq!(
            checkpointed_name(b"large", [0xff; 16]),
            ".checkpointed.large.ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            checkpointed_name(b"", [0; 16]),
            ".checkpointed..00000000-0000-4000-8000-000000000000"
        );
    }

    #[test]
    fn a_long_name_is_cut_between_two_letters() {
        let uuid = checkpointed_name(b"", [7; 16]).split_off(PREFIX.len());
        assert_eq!(uuid.len(), SUFFIX_LEN);
        for (name, kept) in [
            ("x".repeat(255), "x".repeat(204)),
            ("x".repeat(204), "x".repeat(204)),
            ("é".repeat(127), "é".repeat(102)),
            (format!("x{}", "é".repeat(127)), format!("x{}", "é".repeat(101))),
        ] {
            assert_eq!(
                checkpointed_name(name.as_bytes(), [7; 16]),
                format!("{PREFIX}{kept}{uuid}")
            );
        }
        // Each byte becomes three.
        assert!(checkpointed_name(&[0xff; 255], [7; 16]).len() <= NAME_LEN_MAX);
    }
}
