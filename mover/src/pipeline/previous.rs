//! The memory: directories of earlier snapshots, asked for what has not changed.

use std::collections::HashMap;

use tracing::debug;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use crate::blocking::block_on;
use crate::repository::{DirectoryEntries, Repository};

/// The directories at one path in the earlier snapshots, the best snapshot first.
#[derive(Debug, Default)]
pub(crate) struct Previous {
    directories: Vec<PreviousDirectory>,
}

/// One earlier directory. Entries are asked for in stored order, so a window moves over a large one.
#[derive(Debug)]
struct PreviousDirectory {
    window: HashMap<Vec<u8>, DirEntry>,
    /// The largest place in the order that the window has reached.
    reached: Option<(bool, Vec<u8>)>,
    rest: Option<DirectoryEntries>,
}

impl Previous {
    /// So many entries of one earlier directory are held at a time.
    pub(crate) const WINDOW: usize = 20_000;

    /// The directories with these objects, so many entries of each to begin with. One that cannot be read is as if it were
    /// not there: its files are read anew.
    pub(crate) fn open(repository: &Repository, mut objects: Vec<ObjectId>, window: usize) -> Self {
        let mut seen = Vec::new();
        objects.retain(|object| {
            let is_new = !seen.contains(object);
            seen.push(*object);
            is_new
        });
        let directories = objects
            .into_iter()
            .map(|object| PreviousDirectory::open(repository, object, window));
        Self {
            directories: directories.collect(),
        }
    }

    /// The entries of this name, of which `is_other` says whether a directory or anything else is looked for.
    pub(crate) fn find(&mut self, repository: &Repository, is_other: bool, name: &[u8]) -> Vec<DirEntry> {
        let found = self
            .directories
            .iter_mut()
            .filter_map(|directory| directory.find(repository, is_other, name));
        found.collect()
    }
}

fn is_other(entry: &DirEntry) -> bool {
    entry.kind != EntryKind::Directory
}

/// Whether a name may have been stored with replacement characters: then its place is that of its true bytes, which
/// nobody knows.
fn is_lossy(name: &[u8]) -> bool {
    name.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes())
}

impl PreviousDirectory {
    fn open(repository: &Repository, object: ObjectId, window: usize) -> Self {
        let rest = Some(repository.directory_entries(object));
        let mut directory = Self {
            window: HashMap::new(),
            reached: None,
            rest,
        };
        directory.fill(repository, window);
        directory
    }

    fn fill(&mut self, repository: &Repository, window: usize) {
        self.window.clear();
        while self.window.len() < window {
            let Some(rest) = self.rest.as_mut() else { return };
            match block_on(rest.next(repository)) {
                Ok(Some(entry)) => {
                    if !is_lossy(&entry.name) {
                        let place = (is_other(&entry), entry.name.clone());
                        self.reached = self.reached.take().max(Some(place));
                    }
                    self.window.insert(entry.name.clone(), entry);
                }
                Ok(None) => self.rest = None,
                Err(error) => {
                    debug!(%error, "an earlier directory cannot be read; its files are read anew");
                    self.rest = None;
                }
            }
        }
    }

    fn find(&mut self, repository: &Repository, is_other_wanted: bool, name: &[u8]) -> Option<DirEntry> {
        loop {
            // Each name is asked for once.
            if self
                .window
                .get(name)
                .is_some_and(|entry| is_other(entry) == is_other_wanted)
            {
                return self.window.remove(name);
            }
            let is_ahead = self
                .reached
                .as_ref()
                .is_none_or(|(other, reached)| (*other, reached.as_slice()) < (is_other_wanted, name));
            if self.rest.is_none() || !is_ahead {
                return None;
            }
            self.fill(repository, Previous::WINDOW);
        }
    }
}
