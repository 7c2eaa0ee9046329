//! The permission room: Go's mode word, whose special bits lie elsewhere than POSIX's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::FormatError;
use crate::json::lenient::Text;

/// Permissions as the format stores them; the type of the entry is not in it.
///
/// | bits  | meaning                                            |
/// |-------|----------------------------------------------------|
/// | 0..9  | read, write, execute for owner, group, others      |
/// | 20    | sticky                                             |
/// | 22    | set group ID                                       |
/// | 23    | set user ID                                        |
///
/// In JSON a string, `0` and the octal digits, and left out when zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoMode(u32);

/// Go's flag and POSIX's bit of the same meaning.
const SPECIAL: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];

impl GoMode {
    /// A mode word as it is stored.
    pub fn new(word: u32) -> Self {
        Self(word)
    }

    /// The mode word of `st_mode`; its type bits are dropped.
    pub fn from_unix_permissions(st_mode: u32) -> Self {
        let special = SPECIAL.iter().filter(|(_, unix)| st_mode & unix != 0).map(|(go, _)| go);
        Self(special.fold(st_mode & 0o777, |word, go| word | go))
    }

    /// The bits below 010000 of `st_mode`.
    pub fn to_unix(self) -> u32 {
        let special = SPECIAL.iter().filter(|(go, _)| self.0 & go != 0).map(|(_, unix)| unix);
        special.fold(self.0 & 0o777, |bits, unix| bits | unix)
    }

    /// The word as it is stored.
    pub fn word(self) -> u32 {
        self.0
    }
}

impl fmt::Display for GoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0{:o}", self.0)
    }
}

impl FromStr for GoMode {
    type Err = FormatError;

    /// Reads a number as Go does when the text says its base: `0x` hexadecimal, `0o` or `0` octal, `0b` binary, else
    /// decimal; an underscore may stand between digits or behind the base.
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bad = || FormatError::BadMode {
            found: text.chars().take(80).collect(),
        };
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let based = |base: &str| {
            let prefix = unsigned.get(..2)?;
            prefix.eq_ignore_ascii_case(base).then(|| &unsigned[2..])
        };
        let (digits, radix) = if let Some(digits) = based("0x") {
            (digits, 16)
        } else if let Some(digits) = based("0o") {
            (digits, 8)
        } else if let Some(digits) = based("0b") {
            (digits, 2)
        } else if unsigned.len() > 1 && unsigned.starts_with('0') {
            (&unsigned[1..], 8)
        } else {
            (unsigned, 10)
        };
        let groups = match digits.strip_prefix('_') {
            Some(rest) if radix != 10 => rest,
            _ => digits,
        };
        if groups.split('_').any(str::is_empty) {
            return Err(bad());
        }
        let mut word = 0u32;
        for character in groups.chars().filter(|character| *character != '_') {
            let digit = character.to_digit(radix).ok_or_else(bad)?;
            word = word
                .checked_mul(radix)
                .and_then(|word| word.checked_add(digit))
                .filter(|word| i32::try_from(*word).is_ok())
                .ok_or_else(bad)?;
        }
        Ok(Self(word))
    }
}

impl Serialize for GoMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?.into_string();
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn special_bits_are_spelled_as_kopia_spells_them() {
        for (unix, text) in [
            (0o100_644, "0644"),
            (0o104_755, "040000755"),
            (0o102_755, "020000755"),
            (0o041_777, "04000777"),
            (0o107_777, "064000777"),
            (0o000_001, "01"),
        ] {
            let mode = GoMode::from_unix_permissions(unix);
            assert_eq!(mode.to_string(), text);
            assert_eq!(mode.to_unix(), unix & 0o7777);
        }
    }

    #[test]
    fn text_is_read_by_the_base_it_names() {
        for text in [
            "0755",
            "0o755",
            "0O755",
            "493",
            "0x1ed",
            "0X1ED",
            "0b111101101",
            "+0755",
            "0_755",
            "0x_1ed",
            "4_93",
        ] {
            assert_eq!(text.parse::<GoMode>().unwrap(), GoMode::new(0o755), "{text}");
        }
        assert_eq!("0".parse::<GoMode>().unwrap(), GoMode::default());
        assert_eq!("0x7fffffff".parse::<GoMode>().unwrap().word(), 0x7fff_ffff);
        for text in [
            "",
            "+",
            "-1",
            "08",
            "0x",
            "0b2",
            "7__5",
            "755_",
            "_755",
            "0x7__5",
            "0x80000000",
            "rwx",
            "9999999999999",
            "é1",
        ] {
            assert!(text.parse::<GoMode>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn modes_survive_a_round_trip(bits in 0u32..0o10000, word in 0u32..1 << 31, text: String) {
            prop_assert_eq!(GoMode::from_unix_permissions(bits).to_unix(), bits);
            prop_assert_eq!(GoMode::new(word).to_string().parse::<GoMode>().unwrap().word(), word);
            let _ = text.parse::<GoMode>();
        }
    }
}
