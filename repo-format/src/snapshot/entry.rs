//! The entry room: what a directory, or a snapshot of its root, says about one file, link or directory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::FormatError;
use crate::id::ObjectId;
use crate::json::lenient::{Text, Time, read_object};
use crate::json::{write_number, write_string, write_time};
use crate::snapshot::{DirectorySummary, GoMode};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// `d`: the object is a directory stream.
    Directory,
    /// `f`: the object is the content of the file.
    File,
    /// `s`: the object is the target of the link, raw bytes.
    Symlink,
    /// Anything else, which no writer known to us makes; a restore reports it.
    Unknown(String),
}

impl EntryKind {
    /// The text of the member `type`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Directory => "d",
            Self::File => "f",
            Self::Symlink => "s",
            Self::Unknown(text) => text,
        }
    }
}

impl From<String> for EntryKind {
    fn from(text: String) -> Self {
        match text.as_str() {
            "d" => Self::Directory,
            "f" => Self::File,
            "s" => Self::Symlink,
            _ => Self::Unknown(text),
        }
    }
}

/// One entry of a directory, or the root of a snapshot.
///
/// | key     | field     | meaning                                                     |
/// |---------|-----------|-------------------------------------------------------------|
/// | `name`  | `name`    | base name; what is no UTF-8 is lost; left out when empty    |
/// | `type`  | `kind`    | `d`, `f`, `s`; left out when empty                          |
/// | `mode`  | `mode`    | see [`GoMode`]; left out when 0                             |
/// | `size`  | `size`    | bytes; left out when 0, so in directories                   |
/// | `mtime` | `mtime`   | RFC 3339; left out when it is the Unix epoch                |
/// | `uid`   | `uid`     | owner; left out when 0                                      |
/// | `gid`   | `gid`     | group; left out when 0                                      |
/// | `obj`   | `object`  | the content; an empty string when there is none             |
/// | `summ`  | `summary` | of directories, and of the root of a single-file snapshot   |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: raw bytes when writing, what the JSON says when reading. Not checked: it may hold slashes.
    pub name: Vec<u8>,
    /// What the entry is.
    pub kind: EntryKind,
    /// Permissions.
    pub mode: GoMode,
    /// Length in bytes: of a file, or of the target of a link.
    pub size: u64,
    /// Modification time as it is stored.
    pub mtime: Timestamp,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Where the bytes are.
    pub object: Option<ObjectId>,
    /// What a directory amounts to.
    pub summary: Option<DirectorySummary>,
}

impl Default for DirEntry {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            kind: EntryKind::Unknown(String::new()),
            mode: GoMode::default(),
            size: 0,
            mtime: Timestamp::UNIX_EPOCH,
            uid: 0,
            gid: 0,
            object: None,
            summary: None,
        }
    }
}

read_object!(DirEntry, "a directory entry", {
    "name" => name: Text = Text::into_bytes,
    "type" => kind: Text = |text: Text| EntryKind::from(text.into_string()),
    "mode" => mode: GoMode,
    "size" => size: u64,
    "mtime" => mtime: Time = |time: Time| time.0,
    "uid" => uid: u32,
    "gid" => gid: u32,
    "obj" => object: StoredObject = |object: StoredObject| object.0,
    "summ" => summary: DirectorySummary = Some,
});

/// An object ID, or none when the text is empty.
struct StoredObject(Option<ObjectId>);

impl<'de> Deserialize<'de> for StoredObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?.into_string();
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|id| Self(Some(id))).map_err(serde::de::Error::custom)
    }
}

impl DirEntry {
    /// The size that a user is shown: of a directory, what its summary says.
    pub fn shown_size(&self) -> u64 {
        self.summary_of_directory().map_or(self.size, |summary| summary.size)
    }

    /// The modification time that an entry read out of a directory stream is shown and restored with: of a directory
    /// with a summary, the latest time below it. The root of a snapshot has [`DirEntry::mtime`].
    pub fn shown_mtime(&self) -> Timestamp {
        self.summary_of_directory()
            .map_or(self.mtime, |summary| summary.max_time)
    }

    fn summary_of_directory(&self) -> Option<&DirectorySummary> {
        self.summary.as_ref().filter(|_| self.kind == EntryKind::Directory)
    }

    /// Appends the entry as JSON.
    ///
    /// # Errors
    /// [`FormatError::TimeNotWritable`]; `out` then holds a part of it.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let begin = out.len();
        for (key, text) in [
            (&br#","name":"#[..], &self.name[..]),
            (br#","type":"#, self.kind.as_str().as_bytes()),
        ] {
            if !text.is_empty() {
                out.extend_from_slice(key);
                write_string(text, out);
            }
        }
        if self.mode != GoMode::default() {
            out.extend_from_slice(br#","mode":"#);
            write_string(self.mode.to_string().as_bytes(), out);
        }
        if self.size != 0 {
            out.extend_from_slice(br#","size":"#);
            write_number(self.size, out);
        }
        if self.mtime != Timestamp::UNIX_EPOCH {
            out.extend_from_slice(br#","mtime":"#);
            write_time(self.mtime, out)?;
        }
        for (key, number) in [(&br#","uid":"#[..], self.uid), (br#","gid":"#, self.gid)] {
            if number != 0 {
                out.extend_from_slice(key);
                write_number(number, out);
            }
        }
        out.extend_from_slice(br#","obj":"#);
        out[begin] = b'{'; // the first member has come with a comma
        let object = self.object.map(|object| object.to_string()).unwrap_or_default();
        write_string(object.as_bytes(), out);
        if let Some(summary) = &self.summary {
            out.extend_from_slice(br#","summ":"#);
            summary.write(out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

impl Serialize for DirEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(|out| self.write(out), serializer)
    }
}

/// Whether two modification times are the same to Kopia, which counts nanoseconds in 64 bits: a time before 1677 or after
/// 2262 is stored by it as one that lies a multiple of 584 years away.
///
/// What we write is the true time; a stored time has to be compared with a file's in this way.
pub fn same_time(left: Timestamp, right: Timestamp) -> bool {
    left.as_nanosecond() as i64 == right.as_nanosecond() as i64
}

/// Serialises as what `write` appends: the one way to get an escape that stands for no character through a serialiser.
pub(crate) fn raw<S: Serializer>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), FormatError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut json = Vec::new();
    write(&mut json).map_err(serde::ser::Error::custom)?;
    let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
    RawValue::from_string(json)
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}
