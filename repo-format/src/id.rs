//! The naming room: blobs, contents and objects, as they are spelled in storage and compared in an index.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::FormatError;

/// The name of one blob in storage, as Kopia spells it. The name's prefix says what the blob is. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(Arc<str>);

impl BlobId {
    /// A blob by its name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for BlobId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for BlobId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

/// The repository's keyed hash of some bytes: 16, 28 or 32 bytes, depending on the algorithm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl ContentHash {
    /// The longest hash any algorithm gives, in bytes.
    pub const MAX_LEN: usize = 32;

    /// A hash from its bytes; `None` when empty or longer than [`ContentHash::MAX_LEN`].
    pub fn new(hash: &[u8]) -> Option<Self> {
        if hash.is_empty() || hash.len() > Self::MAX_LEN {
            return None;
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..hash.len()].copy_from_slice(hash);
        Some(Self {
            bytes,
            len: hash.len() as u8,
        })
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// What seals the bytes that were hashed: the **last** 16 bytes of the hash, or all of a shorter one.
    pub fn iv(&self) -> &[u8] {
        let bytes = self.as_bytes();
        &bytes[bytes.len().saturating_sub(16)..]
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The letter before a content's hash, `g` to `z`: it says what the content is and into which class of pack it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentPrefix(u8);

impl ContentPrefix {
    /// A directory stream, or the list of its parts.
    pub const DIRECTORY: Self = Self(b'k');
    /// A batch of manifests.
    pub const MANIFEST: Self = Self(b'm');
    /// The list of the parts of a large file.
    pub const INDIRECT: Self = Self(b'x');

    /// A prefix letter; `None` unless it is one of `g` to `z`, which hexadecimal digits cannot be.
    pub fn new(letter: u8) -> Option<Self> {
        matches!(letter, b'g'..=b'z').then_some(Self(letter))
    }

    /// The letter itself.
    pub fn letter(self) -> u8 {
        self.0
    }
}

/// The name of a content: an optional prefix letter and the keyed hash of its plain bytes.
///
/// Ordered as Kopia's indexes are: no prefix first, then by letter, then by hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId {
    /// The index key: the prefix letter or zero, then the hash. Bytes beyond `len` are zero.
    key: [u8; Self::MAX_KEY_LEN],
    len: u8,
}

impl ContentId {
    /// The longest index key: a prefix byte and the longest hash.
    pub const MAX_KEY_LEN: usize = 1 + ContentHash::MAX_LEN;

    /// The content with this prefix and hash.
    pub fn new(prefix: Option<ContentPrefix>, hash: &ContentHash) -> Self {
        let mut key = [0; Self::MAX_KEY_LEN];
        key[0] = prefix.map_or(0, ContentPrefix::letter);
        key[1..=hash.as_bytes().len()].copy_from_slice(hash.as_bytes());
        Self { key, len: 1 + hash.len }
    }

    /// The content that an index key (prefix byte or zero, then hash) stands for.
    pub fn from_key(bytes: &[u8]) -> Result<Self, FormatError> {
        let bad = || FormatError::BadContentId {
            found: hex::encode(bytes),
        };
        let (&first, hash) = bytes.split_first().ok_or_else(bad)?;
        if first != 0 && ContentPrefix::new(first).is_none() {
            return Err(bad());
        }
        if hash.is_empty() || hash.len() > ContentHash::MAX_LEN {
            return Err(bad());
        }
        let mut key = [0; Self::MAX_KEY_LEN];
        key[..bytes.len()].copy_from_slice(bytes);
        Ok(Self {
            key,
            len: bytes.len() as u8,
        })
    }

    /// The index key: the prefix letter or zero, then the hash.
    pub fn as_key(&self) -> &[u8] {
        &self.key[..usize::from(self.len)]
    }

    /// The prefix letter, if the content has one.
    pub fn prefix(&self) -> Option<ContentPrefix> {
        ContentPrefix::new(self.key[0])
    }

    /// The hash without the prefix.
    pub fn hash(&self) -> ContentHash {
        ContentHash::new(&self.as_key()[1..]).expect("a content ID is made with a hash of legal length")
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One write for all digits: a directory of a million entries has a million of these.
        let mut text = [0; 2 * Self::MAX_KEY_LEN];
        let hash = &self.as_key()[1..];
        let digits = &mut text[1..=2 * hash.len()];
        hex::encode_to_slice(hash, digits).expect("the room is twice as long as the hash");
        let end = 1 + 2 * hash.len();
        let begin = match self.prefix() {
            Some(prefix) => {
                text[0] = prefix.letter();
                0
            }
            None => 1,
        };
        f.write_str(std::str::from_utf8(&text[begin..end]).expect("letters and digits are text"))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentId {
    type Err = FormatError;

    /// Reads `[prefix] hex`. An odd number of characters means that the first one is the prefix.
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bad = || FormatError::BadContentId {
            found: text.chars().take(80).collect(),
        };
        let bytes = text.as_bytes();
        let (prefix, digits) = match bytes.split_first() {
            Some((first, rest)) if bytes.len() % 2 == 1 => (Some(ContentPrefix::new(*first).ok_or_else(bad)?), rest),
            _ => (None, bytes),
        };
        if digits.iter().any(u8::is_ascii_uppercase) {
            return Err(bad());
        }
        let mut hash = [0; ContentHash::MAX_LEN];
        let hash = hash.get_mut(..digits.len() / 2).ok_or_else(bad)?;
        hex::decode_to_slice(digits, hash).map_err(|_| bad())?;
        let hash = ContentHash::new(hash).ok_or_else(bad)?;
        Ok(Self::new(prefix, &hash))
    }
}

/// The name of an object: a content, or a content that lists the parts of the object.
///
/// Grammar: `I` per level of indirection, then an optional `Z` (compressed inside the content, format version 1),
/// then an optional legacy `D` which is read and forgotten, then the content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    indirection: u8,
    compressed: bool,
    content: ContentId,
}

impl ObjectId {
    /// More levels than this no list of parts can need: each level divides the length by thousands.
    pub const INDIRECTION_MAX: u8 = 16;

    /// The object that is this content itself.
    pub fn direct(content: ContentId) -> Self {
        Self {
            indirection: 0,
            compressed: false,
            content,
        }
    }

    /// The object whose content was compressed before it was hashed (`Z`, format version 1).
    pub fn compressed(content: ContentId) -> Self {
        Self {
            indirection: 0,
            compressed: true,
            content,
        }
    }

    /// The object whose parts are listed in `list`; `None` when `list` is a `Z` object or nested too deeply.
    pub fn indirect(list: Self) -> Option<Self> {
        if list.compressed || list.indirection >= Self::INDIRECTION_MAX {
            return None;
        }
        Some(Self {
            indirection: list.indirection + 1,
            ..list
        })
    }

    /// The object that lists the parts of this one: one `I` less; `None` for a direct object.
    pub fn list(&self) -> Option<Self> {
        let indirection = self.indirection.checked_sub(1)?;
        Some(Self { indirection, ..*self })
    }

    /// Whether the content holds a compression header and a stream (`Z`).
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// The content at the bottom of the name.
    pub fn content(&self) -> ContentId {
        self.content
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.indirection).try_for_each(|_| f.write_str("I"))?;
        if self.compressed {
            f.write_str("Z")?;
        }
        fmt::Display::fmt(&self.content, f)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let bad = || FormatError::BadObjectId {
            found: text.chars().take(80).collect(),
        };
        let levels = text.bytes().take_while(|byte| *byte == b'I').count();
        let indirection = u8::try_from(levels)
            .ok()
            .filter(|levels| *levels <= Self::INDIRECTION_MAX)
            .ok_or_else(bad)?;
        let rest = &text[levels..];
        let (compressed, rest) = rest.strip_prefix('Z').map_or((false, rest), |rest| (true, rest));
        let rest = rest.strip_prefix('D').unwrap_or(rest);
        if compressed && indirection > 0 {
            return Err(bad());
        }
        let content = rest.parse().map_err(|_| bad())?;
        Ok(Self {
            indirection,
            compressed,
            content,
        })
    }
}

macro_rules! as_text {
    ($($id:ty),*) => {$(
        impl serde::Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(ContentId, ObjectId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_survive_a_round_trip() {
        for name in [
            "ab01",
            "k6cac55a3cbea44b42e2a3edc3ca2ac20",
            "Ix0102",
            "IIx0102",
            "Za0ff",
            "Iab01",
        ] {
            assert_eq!(name.parse::<ObjectId>().unwrap().to_string(), name);
        }
        assert_eq!(
            "Dab01".parse::<ObjectId>().unwrap().to_string(),
            "ab01",
            "the legacy D is forgotten"
        );
    }

    #[test]
    fn names_that_kopia_cannot_have_written_are_refused() {
        for name in [
            "",
            "I",
            "IZab01",
            "a01",
            "AB01",
            "k",
            "Ik",
            "ab0",
            "abzz",
            &"I".repeat(300),
            &"ab".repeat(33),
        ] {
            assert!(name.parse::<ObjectId>().is_err(), "{name}");
        }
    }

    #[test]
    fn order_is_the_order_of_index_keys() {
        let mut ids: Vec<ContentId> = ["k00", "ff", "m00", "00", "kff"]
            .iter()
            .map(|id| id.parse().unwrap())
            .collect();
        ids.sort();
        let names: Vec<String> = ids.iter().map(ContentId::to_string).collect();
        assert_eq!(names, ["00", "ff", "k00", "kff", "m00"]);
    }
}
