//! The inventory room: everything a tree holds, and what differs between two of them.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

/// What an entry of a tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file: its length in bytes and the SHA-256 of them in hex.
    File {
        /// Length in bytes.
        size: u64,
        /// SHA-256 in hex.
        sha256: String,
    },
    /// A symbolic link.
    Link {
        /// What it points at, byte for byte.
        target: Vec<u8>,
    },
    /// What Kopia's format cannot hold: a device, a fifo, a socket.
    Special,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The permission word: nine bits, setuid, setgid, sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
}

/// Which differences are not counted.
#[derive(Clone, Copy, Debug)]
pub struct Slack {
    folder_times: bool,
    link_times: bool,
}

impl Slack {
    /// The same tree, seen twice.
    pub const NONE: Self = Self {
        folder_times: false,
        link_times: false,
    };
    /// A source beside what Kopia restored: folders take another time on restore, links lose their nanoseconds.
    pub const RESTORED_BY_KOPIA: Self = Self {
        folder_times: true,
        link_times: true,
    };
    /// A source beside what Windlass restored: folders take another time on restore, as Kopia's do.
    pub const RESTORED_BY_WINDLASS: Self = Self {
        folder_times: true,
        link_times: false,
    };
    /// What the one restored beside what the other restored.
    pub const BOTH_RESTORED: Self = Self {
        folder_times: false,
        link_times: true,
    };

    fn same_time(self, kind: &Kind, left: i128, right: i128) -> bool {
        match kind {
            Kind::Folder if self.folder_times => true,
            // Kopia sets a link's time in whole microseconds, rounded up; before 1970 it is off by one more.
            Kind::Link { .. } if self.link_times => {
                (left - right).abs() <= if left.min(right) < 0 { 2_000 } else { 1_000 }
            }
            _ => left == right,
        }
    }
}

/// Everything below a path, by relative path; the top is the empty path. Beside it, how many files have names that are stored as others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    entries: BTreeMap<Vec<u8>, Entry>,
    renamed: u64,
}

impl Listing {
    /// Reads a tree, or a single file, all bytes included.
    ///
    /// # Panics
    /// When something cannot be read.
    #[track_caller]
    pub fn of(top: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut waiting = vec![Vec::new()];
        while let Some(relative) = waiting.pop() {
            let path = if relative.is_empty() {
                top.to_owned()
            } else {
                top.join(std::ffi::OsStr::from_bytes(&relative))
            };
            let entry = read_entry(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            if entry.kind == Kind::Folder {
                let children = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                for child in children.unwrap_or_else(|error| panic!("cannot list {}: {error}", path.display())) {
                    let mut below = relative.clone();
                    if !below.is_empty() {
                        below.push(b'/');
                    }
                    below.extend(child.file_name().into_vec());
                    waiting.push(below);
                }
            }
            entries.insert(relative, entry);
        }
        Self::from_entries(entries)
    }

    fn from_entries(entries: BTreeMap<Vec<u8>, Entry>) -> Self {
        let is_renamed = |path: &[u8], entry: &Entry| entry.kind != Kind::Folder && str::from_utf8(path).is_err();
        let renamed = entries.iter().filter(|(path, entry)| is_renamed(path, entry)).count() as u64;
        Self { entries, renamed }
    }

    /// The same tree as Kopia's format keeps it: without special files, and each byte of a name that begins no valid UTF-8
    /// sequence replaced by U+FFFD.
    ///
    /// # Panics
    /// When two names become one: a story that wants this must look itself.
    #[track_caller]
    pub fn as_stored(&self) -> Self {
        let mut stored = BTreeMap::new();
        for (path, entry) in self.entries.iter().filter(|(_, entry)| entry.kind != Kind::Special) {
            let taken = stored.insert(stored_name(path).into_bytes(), entry.clone());
            assert!(taken.is_none(), "two names become {}", stored_name(path));
        }
        Self {
            entries: stored,
            renamed: self.renamed,
        }
    }

    /// How many entries are of a kind.
    pub fn count(&self, wanted: impl Fn(&Kind) -> bool) -> u64 {
        self.entries.values().filter(|entry| wanted(&entry.kind)).count() as u64
    }

    /// How many files have a name that is not UTF-8 and is stored as another, or was until [`Listing::as_stored`].
    pub fn renamed(&self) -> u64 {
        self.renamed
    }

    /// The entries by path.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_slice(), entry))
    }

    /// Takes an entry and all below it out.
    pub fn remove(&mut self, path: &str) {
        let below = [path.as_bytes(), b"/"].concat();
        self.entries
            .retain(|name, _| name != path.as_bytes() && !name.starts_with(&below));
    }

    /// What differs, in words.
    pub fn differences(&self, other: &Self, slack: Slack) -> Vec<String> {
        let mut differences = Vec::new();
        let paths: std::collections::BTreeSet<_> = self.entries.keys().chain(other.entries.keys()).collect();
        for path in paths {
            let name = path.escape_ascii();
            match (self.entries.get(path), other.entries.get(path)) {
                (Some(left), Some(right)) => {
                    if left.kind != right.kind {
                        differences.push(format!("{name}: {:?} became {:?}", left.kind, right.kind));
                    }
                    if (left.mode, left.uid, left.gid) != (right.mode, right.uid, right.gid) {
                        let said = |entry: &Entry| format!("{:04o} {}:{}", entry.mode, entry.uid, entry.gid);
                        differences.push(format!("{name}: {} became {}", said(left), said(right)));
                    }
                    if !slack.same_time(&left.kind, left.mtime_ns, right.mtime_ns) {
                        differences.push(format!("{name}: time {} became {}", left.mtime_ns, right.mtime_ns));
                    }
                }
                (Some(_), None) => differences.push(format!("{name}: lost")),
                (None, _) => differences.push(format!("{name}: came from nowhere")),
            }
        }
        differences
    }

    /// Checks that the other is the same, but for the slack.
    ///
    /// # Panics
    /// With the first twenty differences.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, slack: Slack) {
        let differences = self.differences(other, slack);
        let shown = differences
            .iter()
            .take(20)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(differences.is_empty(), "{} differences:\n{shown}", differences.len());
    }
}

fn read_entry(path: &Path) -> std::io::Result<Entry> {
    let metadata = fs::symlink_metadata(path)?;
    Ok(Entry {
        kind: read_kind(path, &metadata)?,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    })
}

fn read_kind(path: &Path, metadata: &Metadata) -> std::io::Result<Kind> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(Kind::Folder);
    }
    if kind.is_symlink() {
        return Ok(Kind::Link {
            target: fs::read_link(path)?.into_os_string().into_vec(),
        });
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        return Ok(Kind::Special);
    }
    let (mut file, mut digest, mut size) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; metadata.len().clamp(1, 1 << 20) as usize];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        digest.update(&buffer[..read]);
    }
    Ok(Kind::File {
        size,
        sha256: hex::encode(digest.finalize()),
    })
}

/// A name as Kopia's JSON keeps it. Each bad **byte** gives one U+FFFD, where Rust's lossy conversion would join some of them.
pub fn stored_name(name: &[u8]) -> String {
    let mut kept = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        kept.push_str(chunk.valid());
        kept.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{Listing, Slack, stored_name};
    use crate::{Attributes, Tree};

    #[test]
    fn every_bad_byte_of_a_name_counts() {
        assert_eq!(stored_name(b"cut-\xe6\x97-short"), "cut-\u{fffd}\u{fffd}-short");
        assert_eq!(
            stored_name(b"surrogate-\xed\xa0\x80"),
            "surrogate-\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(stored_name("genuine-\u{fffd}".as_bytes()), "genuine-\u{fffd}");
    }

    #[test]
    fn a_changed_byte_mode_time_or_name_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let grow = |name: &str, bytes: &[u8], mode: u32, mtime_ns: i128| {
            let tree = Tree::grow(&folder.path().join(name));
            tree.file_with(
                "a",
                bytes,
                Attributes {
                    mode,
                    mtime_ns,
                    ..Attributes::default()
                },
            );
            tree.settle();
            Listing::of(tree.root())
        };
        let first = grow("1", b"bytes", 0o644, 1);
        assert_eq!(
            first.differences(&grow("2", b"bytes", 0o644, 1), Slack::BOTH_RESTORED),
            [""; 0]
        );
        for (number, other) in [
            grow("3", b"bytez", 0o644, 1),
            grow("4", b"bytes", 0o640, 1),
            grow("5", b"bytes", 0o644, 2),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(
                first.differences(other, Slack::RESTORED_BY_KOPIA).len(),
                1,
                "the {number}th change"
            );
        }
        let mut less = first.clone();
        less.remove("a");
        assert_eq!(first.differences(&less, Slack::RESTORED_BY_KOPIA), ["a: lost"]);
    }
}
