//! The name check of a restore: what a repository calls a name must be one, and only once in a directory.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use windlass_repo_format::id::ObjectId;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use crate::error::{MoverError, Result};
use crate::repository::Repository;

/// The longest name a file system of this machine takes, in bytes.
const NAME_LEN_MAX: usize = 255;

/// Refuses what is no name in a directory.
pub(super) fn check_name(name: &[u8]) -> Result<()> {
    let reason = match name {
        b"" => "its name is empty",
        b"." | b".." => "its name means a directory",
        _ if name.contains(&b'/') => "its name holds a slash",
        _ if name.contains(&0) => "its name holds a zero byte",
        _ if name.len() > NAME_LEN_MAX => "its name is longer than 255 bytes",
        _ => return Ok(()),
    };
    Err(bad_entry(name, reason))
}

pub(super) fn bad_entry(name: &[u8], reason: &'static str) -> MoverError {
    MoverError::BadEntry {
        name: String::from_utf8_lossy(name).into_owned(),
        reason,
    }
}

/// The names of a directory that have passed by.
///
/// As long as they come in stored order, as Kopia writes them, the last one tells whether the next is new. Only out of
/// order, and where the names are needed later, a random hash of each is kept: two names that share one are taken for
/// the same with a chance of one in 2^64 per pair, which costs a complaint and no data.
#[derive(Debug)]
pub(super) struct SeenNames {
    directory: ObjectId,
    last: Option<(bool, Vec<u8>)>,
    count: u64,
    hashes: Option<NameHashes>,
}

/// A set of names that can only be asked whether a name is in it.
#[derive(Debug, Default)]
pub(super) struct NameHashes {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl NameHashes {
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.hashes.contains(&self.state.hash_one(name))
    }

    fn insert(&mut self, name: &[u8]) -> bool {
        self.hashes.insert(self.state.hash_one(name))
    }
}

impl SeenNames {
    /// No names so far. With `keep`, all of them are remembered.
    pub(super) fn new(directory: ObjectId, keep: bool) -> Self {
        Self {
            directory,
            last: None,
            count: 0,
            hashes: keep.then(NameHashes::default),
        }
    }

    /// Whether this name was not there before in this directory.
    pub(super) async fn is_new(&mut self, repository: &Repository, entry: &DirEntry) -> Result<bool> {
        let place = (entry.kind != EntryKind::Directory, entry.name.as_slice());
        let in_order = match &self.last {
            Some((group, name)) => (*group, name.as_slice()) < place,
            None => true,
        };
        if !in_order && self.hashes.is_none() {
            self.hashes = Some(self.read_again(repository).await?);
        }
        self.count += 1;
        match &mut self.last {
            Some((group, name)) => {
                *group = place.0;
                name.clear();
                name.extend_from_slice(&entry.name);
            }
            None => self.last = Some((place.0, entry.name.clone())),
        }
        Ok(self.hashes.as_mut().is_none_or(|hashes| hashes.insert(&entry.name)))
    }

    /// The names up to here, from the repository.
    async fn read_again(&self, repository: &Repository) -> Result<NameHashes> {
        let mut hashes = NameHashes::default();
        let mut entries = repository.directory_entries(self.directory);
        for _ in 0..self.count {
            if let Some(entry) = entries.next(repository).await? {
                hashes.insert(&entry.name);
            }
        }
        Ok(hashes)
    }

    /// All names, if they were to be kept.
    pub(super) fn into_hashes(self) -> Option<NameHashes> {
        self.hashes
    }
}
