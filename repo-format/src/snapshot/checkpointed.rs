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

/// Whether an entry of this name holds what there was of a file when a checkpoint was made. Of such an entry Kopia
/// promises the length of the whole file.
pub fn is_checkpointed_name(name: &[u8]) -> bool {
    let rest = name.strip_prefix(PREFIX.as_bytes());
    let suffix = rest.and_then(|rest| rest.last_chunk::<SUFFIX_LEN>());
    suffix.is_some_and(|suffix| {
        let is_in_place = |(at, byte): (usize, &u8)| match at {
            0 => *byte == b'.',
            9 | 14 | 19 | 24 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        suffix.iter().enumerate().all(is_in_place)
    })
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
    fn only_such_names_are_known_again() {
        for name in [&b"large"[..], b"", &[0xff; 255], b"a.b"] {
            assert!(is_checkpointed_name(checkpointed_name(name, [9; 16]).as_bytes()));
        }
        // As Kopia 0.22.3 wrote it.
        let kopias = ".checkpointed.large.6c63c465-b0f0-44c1-8800-12299c691b87";
        assert!(is_checkpointed_name(kopias.as_bytes()));
        for other in [
            "large",
            ".checkpointed.large",
            ".checkpointed.6c63c465-b0f0-44c1-8800-12299c691b87",
            "x.checkpointed.large.6c63c465-b0f0-44c1-8800-12299c691b87",
            ".checkpointed.large.6c63c465-b0f0-44c1-8800-12299c691b8g",
            ".checkpointed.large.6c63c465-b0f0-44c1-8800+12299c691b87",
            ".checkpointed.large-6c63c465-b0f0-44c1-8800-12299c691b87",
        ] {
            assert!(!is_checkpointed_name(other.as_bytes()), "{other}");
        }
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
