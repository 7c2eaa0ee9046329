//! The rounds of an inspection: all entries of many trees, what they share only once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use windlass_repo_format::id::ObjectId;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use crate::blocking::block_on;
use crate::descent::Descent;
use crate::error::MoverError;
use crate::fetch::Stop;
use crate::repository::Repository;

/// Directories that are remembered as seen; beyond these, shared ones are looked into again.
const SEEN_MAX: usize = 4 << 20;

/// Remembers which directories were seen, by a random hash of their names.
#[derive(Debug, Default)]
pub(super) struct Forest {
    state: RandomState,
    seen: HashSet<u64>,
}

impl Forest {
    fn is_new(&mut self, directory: ObjectId) -> bool {
        let hash = self.state.hash_one(directory);
        if self.seen.len() >= SEEN_MAX {
            return !self.seen.contains(&hash);
        }
        self.seen.insert(hash)
    }

    /// Shows every entry of a tree with its path, the top included, and every directory that cannot be read. What lies
    /// in directories that were seen before is left out.
    pub(super) fn walk(
        &mut self,
        repository: &Repository,
        top: &DirEntry,
        stop: &Stop<'_>,
        mut each: impl FnMut(&[u8], &DirEntry),
        mut unreadable: impl FnMut(&[u8], MoverError),
    ) {
        let mut descent: Descent<usize> = Descent::default();
        let mut path = Vec::new();
        each(&path, top);
        if let Some(id) = top.object.filter(|_| top.kind == EntryKind::Directory)
            && self.is_new(id)
        {
            descent.enter(id, 0);
        }
        while descent.depth() > 0 && !stop.is_set() {
            let next = block_on(descent.next(repository)).unwrap_or_else(|error| {
                unreadable(&path, error);
                None
            });
            let Some(entry) = next else {
                path.truncate(descent.leave().unwrap_or(0));
                continue;
            };
            let back = path.len();
            if back > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&entry.name);
            each(&path, &entry);
            match entry.object {
                Some(id) if entry.kind == EntryKind::Directory && self.is_new(id) => descent.enter(id, back),
                _ => path.truncate(back),
            }
        }
    }
}
