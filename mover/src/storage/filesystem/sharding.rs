//! The spreading room: which directory a blob's file lies in, as Kopia's `.shards` file says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use windlass_repo_format::id::BlobId;

use super::super::StorageError;

/// The end of every file name that is a blob.
pub(super) const SUFFIX: &str = ".f";

/// Longest part of a name that may stay for the file: a file name has at most 255 bytes, and the temporary one is
/// longer by `.f`, `.tmp.` and 16 digits.
const FILE_STEM_LEN_MAX: usize = 255 - SUFFIX.len() - ".tmp.".len() - 16;

/// How names are cut into directories: the content of the file `.shards` in the root.
///
/// A name of at most `maxNonShardedLength` characters lies in the root. Of a longer one, each number `n` in the list
/// takes the next `n` characters for a directory, as long as more than `n` are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharding {
    /// How many characters of the name each level of directories takes.
    #[serde(rename = "default", default, deserialize_with = "null_is_default")]
    pub levels: Vec<u32>,
    /// Names of at most this many characters lie in the root.
    #[serde(rename = "maxNonShardedLength", default, deserialize_with = "null_is_default")]
    pub unsharded_len_max: u32,
    /// Other lists for names that begin with a prefix; the first that fits counts.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<ShardingOverride>,
}

/// Another list of levels for the names that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardingOverride {
    /// How the names begin.
    #[serde(default, deserialize_with = "null_is_default")]
    pub prefix: String,
    /// How many characters of the name each level of directories takes.
    #[serde(rename = "shards", default, deserialize_with = "null_is_default")]
    pub levels: Vec<u32>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Default for Sharding {
    /// What Kopia's creator writes: `[1,3]`, names of up to 20 characters in the root.
    fn default() -> Self {
        Self::levels(&[1, 3])
    }
}

impl Sharding {
    /// These levels, and names of up to 20 characters in the root.
    pub fn levels(levels: &[u32]) -> Self {
        Self {
            levels: levels.to_vec(),
            unsharded_len_max: 20,
            overrides: Vec::new(),
        }
    }

    /// What a Kopia client invents when it connects to a directory without `.shards`: `[3,3]`.
    pub fn when_missing() -> Self {
        Self::levels(&[3, 3])
    }

    /// Everything in the root: a bucket copied key by key, with `.f` appended.
    pub fn flat() -> Self {
        Self::levels(&[])
    }

    /// The content of a `.shards` file.
    pub fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        // By way of a map, or a list would pass for the object whose fields it gives in order.
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
        serde_json::from_value(object.into())
    }

    /// The content of a `.shards` file, byte for byte as Kopia writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("numbers and strings have a JSON form");
        json.push(b'\n');
        json
    }

    /// The blob's file, relative to the root. Whatever the name, the path stays below the root.
    pub(super) fn path(&self, id: &BlobId) -> Result<PathBuf, StorageError> {
        let bad = |reason| StorageError::BadName {
            blob: id.clone(),
            reason,
        };
        let name = id.as_str();
        if name.is_empty() {
            return Err(bad("it is empty"));
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
            return Err(bad("only visible ASCII characters without a slash can be stored"));
        }
        let mut path = PathBuf::new();
        let mut rest = name;
        for level in self.levels_for(name) {
            let level = *level as usize;
            if rest.len() <= level {
                break;
            }
            let (directory, after) = rest.split_at(level); // ASCII: every place is a boundary
            if directory == "." || directory == ".." {
                return Err(bad("a part of it would be a relative directory"));
            }
            path.push(directory);
            rest = after;
        }
        if rest.len() > FILE_STEM_LEN_MAX {
            return Err(bad("it is too long for a file name"));
        }
        path.push(format!("{rest}{SUFFIX}"));
        Ok(path)
    }

    fn levels_for(&self, name: &str) -> &[u32] {
        if name.len() <= self.unsharded_len_max as usize {
            return &[];
        }
        self.overrides
            .iter()
            .find(|special| name.starts_with(&special.prefix))
            .map_or(&self.levels, |special| &special.levels)
    }
}

/// The file that holds a [`Sharding`].
pub(super) fn shards_path(root: &Path) -> PathBuf {
    root.join(".shards")
}
