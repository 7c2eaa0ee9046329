//! The address label: a snapshot, or a place inside one, as a person writes it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::Context as _;
use windlass_mover::Repository;
use windlass_mover::blocking::block_on;
use windlass_mover::snapshots::{self, Snapshot};
use windlass_repo_format::snapshot::DirEntry;

use crate::exit::WrongUse;

/// What every command that takes `ID[/path]` says about it.
pub(super) const ID_HELP: &str = "\
ID is the snapshot's ID or the beginning of it, or the object ID of its root, as `windlass snapshot show` and, shortened, `windlass snapshot list` show them.";

/// A place inside a snapshot: `ID` or `ID/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The snapshot's ID, or the beginning of it, or its root.
    pub id: String,
    /// The path from the snapshot's root; empty for the root.
    pub path: Vec<u8>,
}

/// What was found at a place.
pub(super) struct Found {
    pub snapshot: Snapshot,
    pub entry: DirEntry,
    /// Whether the entry is not the snapshot's root.
    pub is_inside: bool,
}

impl Place {
    /// Reads a place.
    pub(super) fn parse(text: &OsStr) -> Result<Self, WrongUse> {
        let bytes = text.as_bytes();
        let end = bytes.iter().position(|byte| *byte == b'/').unwrap_or(bytes.len());
        let (id, rest) = bytes.split_at(end);
        let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| WrongUse(format!("{text:?} does not begin with the ID of a snapshot")))?;
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        Ok(Self {
            id: id.to_owned(),
            path: rest[slashes..].to_vec(),
        })
    }

    /// Looks up what is there.
    pub(super) fn find(&self, repository: &Repository) -> anyhow::Result<Found> {
        let snapshot = block_on(snapshots::find(repository, &self.id))?;
        let entry = block_on(snapshots::entry_at(repository, &snapshot, &self.path))
            .with_context(|| format!("cannot look into snapshot {}", snapshot.id))?;
        let is_inside = self.path.iter().any(|byte| *byte != b'/');
        Ok(Found {
            snapshot,
            entry,
            is_inside,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &[u8]) -> Option<(String, Vec<u8>)> {
        Place::parse(OsStr::from_bytes(text))
            .ok()
            .map(|place| (place.id, place.path))
    }

    #[test]
    fn an_id_ends_at_the_first_slash() {
        for (text, id, path) in [
            (&b"abc"[..], "abc", &b""[..]),
            (b"abc/", "abc", b""),
            (b"abc/a/b", "abc", b"a/b"),
            (b"abc//a/", "abc", b"a/"),
            (b"abc/bad-\xff", "abc", b"bad-\xff"),
        ] {
            assert_eq!(place(text), Some((id.to_owned(), path.to_vec())));
        }
        for wrong in [&b""[..], b"/a", b"\xff/a"] {
            assert_eq!(place(wrong), None);
        }
    }
}
