//! The stairwell: a stored tree is walked depth first, in memory that grows neither with its width nor much with its
//! depth.

use windlass_repo_format::id::ObjectId;
use windlass_repo_format::snapshot::DirEntry;

use crate::error::Result;
use crate::repository::{DirectoryEntries, Repository};

/// So many entries are held for all open directories together; beyond it those nearest the root are put away and read
/// again when the walk comes back to them.
const HELD_MAX: usize = 50_000;

/// One directory that is being read, which can be put away and taken up again where it was left.
#[derive(Debug)]
pub(crate) struct DirectoryCursor {
    id: ObjectId,
    taken: u64,
    entries: Option<DirectoryEntries>,
}

impl DirectoryCursor {
    pub(crate) fn new(id: ObjectId) -> Self {
        Self {
            id,
            taken: 0,
            entries: None,
        }
    }

    /// The next entry in stored order, or `None` after the last.
    pub(crate) async fn next(&mut self, repository: &Repository) -> Result<Option<DirEntry>> {
        if self.entries.is_none() {
            let mut entries = repository.directory_entries(self.id);
            for _ in 0..self.taken {
                entries.next(repository).await?;
            }
            self.entries = Some(entries);
        }
        let entries = self.entries.as_mut().expect("opened above");
        let next = entries.next(repository).await?;
        self.taken += u64::from(next.is_some());
        Ok(next)
    }

    fn held(&self) -> usize {
        self.entries.as_ref().map_or(0, DirectoryEntries::held)
    }

    /// Forgets what is held; the next call reads the directory again up to where it was.
    pub(crate) fn put_away(&mut self) {
        self.entries = None;
    }
}

/// The directories from the top of a tree down to the one being read, each with something of the walker's own.
#[derive(Debug)]
pub(crate) struct Descent<T> {
    levels: Vec<Level<T>>,
    /// Entries held by all levels but the last.
    held: usize,
    /// Levels before this one are put away.
    kept_from: usize,
    held_max: usize,
}

#[derive(Debug)]
struct Level<T> {
    cursor: DirectoryCursor,
    held: usize,
    own: T,
}

impl<T> Default for Descent<T> {
    fn default() -> Self {
        Self::holding(HELD_MAX)
    }
}

impl<T> Descent<T> {
    fn holding(held_max: usize) -> Self {
        Self {
            levels: Vec::new(),
            held: 0,
            kept_from: 0,
            held_max,
        }
    }

    /// Goes down into a directory: the next entry is its first.
    pub(crate) fn enter(&mut self, id: ObjectId, own: T) {
        if let Some(above) = self.levels.last_mut() {
            above.held = above.cursor.held();
            self.held += above.held;
        }
        while self.held > self.held_max && self.kept_from < self.levels.len() {
            let level = &mut self.levels[self.kept_from];
            level.cursor.put_away();
            self.held -= level.held;
            level.held = 0;
            self.kept_from += 1;
        }
        self.levels.push(Level {
            cursor: DirectoryCursor::new(id),
            held: 0,
            own,
        });
    }

    /// Goes up: gives what [`Descent::enter`] was given for the directory that is left.
    pub(crate) fn leave(&mut self) -> Option<T> {
        let left = self.levels.pop()?;
        if let Some(level) = self.levels.last_mut() {
            self.held -= level.held;
            level.held = 0;
        }
        self.kept_from = self.kept_from.min(self.levels.len().saturating_sub(1));
        Some(left.own)
    }

    /// The next entry of the directory that was entered last; `None` after its last one, or when all were left.
    pub(crate) async fn next(&mut self, repository: &Repository) -> Result<Option<DirEntry>> {
        match self.levels.last_mut() {
            Some(level) => level.cursor.next(repository).await,
            None => Ok(None),
        }
    }

    /// What belongs to the directory being read.
    pub(crate) fn here(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.own)
    }

    /// What belongs to the directories on the way down, the top first.
    pub(crate) fn way(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.levels.iter_mut().map(|level| &mut level.own)
    }

    /// How many directories are open.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::block_on;
    use crate::sample::Sample;

    /// The names of a tree in the order in which they are met, with a step up as a dot.
    fn names(sample: &Sample, top: ObjectId, held_max: usize) -> Vec<String> {
        let mut descent = Descent::holding(held_max);
        descent.enter(top, ());
        let mut names = Vec::new();
        while descent.depth() > 0 {
            match block_on(descent.next(&sample.repository)).unwrap() {
                Some(entry) => {
                    names.push(String::from_utf8(entry.name).unwrap());
                    if let Some(id) = entry.object.filter(|_| entry.summary.is_some()) {
                        descent.enter(id, ());
                    }
                }
                None => {
                    descent.leave();
                    names.push(".".to_owned());
                }
            }
        }
        names
    }

    #[test]
    fn a_walk_that_holds_little_sees_the_same() {
        let sample = Sample::new();
        let mut tree = sample.directory("bottom", &[sample.file("f", b"")]);
        for level in 0..20 {
            let side = sample.directory("side", &[sample.file("s", b"")]);
            tree = sample.directory(
                &level.to_string(),
                &[tree, side, sample.file("f", b""), sample.file("g", b"")],
            );
        }
        sample.flush();
        let top = tree.object.unwrap();
        let all = names(&sample, top, usize::MAX);
        assert_eq!(all.len(), 20 * 7 + 2);
        for held_max in [0, 1, 5, 20] {
            assert_eq!(names(&sample, top, held_max), all, "{held_max}");
        }
    }
}
