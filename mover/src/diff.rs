//! The comparing room: what is in a stored tree, and what two of them do not have in common.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

use futures_util::{StreamExt, TryStreamExt, stream};
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use crate::descent::{Descent, DirectoryCursor};
use crate::error::{MoverError, Result};
use crate::repository::Repository;

/// Contents of a file that are read ahead of the one being written.
const READ_AHEAD: usize = 4;

/// An entry and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The names from the top of the tree, joined by slashes. Empty for the top itself.
    pub path: Vec<u8>,
    /// What is there.
    pub entry: DirEntry,
}

/// The entries below a directory, one after the other, in stored order.
#[derive(Debug)]
pub struct Listing {
    descent: Descent<usize>,
    path: Vec<u8>,
    recursive: bool,
    only: Option<DirEntry>,
}

/// The entries of a directory, or with `recursive` of all directories below it too. Of anything else, the entry itself.
pub fn list_entries(entry: &DirEntry, recursive: bool) -> Listing {
    let mut descent = Descent::default();
    let directory = entry.object.filter(|_| entry.kind == EntryKind::Directory);
    if let Some(id) = directory {
        descent.enter(id, 0);
    }
    Listing {
        descent,
        path: Vec::new(),
        recursive,
        only: directory.is_none().then(|| entry.clone()),
    }
}

impl Listing {
    /// The next entry, or `None` after the last.
    ///
    /// # Errors
    /// When a directory cannot be read. Calling again goes on behind that directory.
    pub async fn next(&mut self, repository: &Repository) -> Result<Option<Found>> {
        if let Some(entry) = self.only.take() {
            let path = entry.name.clone();
            return Ok(Some(Found { path, entry }));
        }
        while self.descent.depth() > 0 {
            let entry = match self.descent.next(repository).await {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    self.leave();
                    continue;
                }
                Err(error) => {
                    self.leave();
                    return Err(error);
                }
            };
            let path = joined(&self.path, &entry.name);
            if let Some(id) = entry.object
                && self.recursive
                && entry.kind == EntryKind::Directory
            {
                let back = self.path.len();
                self.path.clone_from(&path);
                self.descent.enter(id, back);
            }
            return Ok(Some(Found { path, entry }));
        }
        Ok(None)
    }

    fn leave(&mut self) {
        if let Some(back) = self.descent.leave() {
            self.path.truncate(back);
        }
    }
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    if !directory.is_empty() {
        path.extend_from_slice(directory);
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// In what an entry of one tree differs from that of the same path in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The bytes of a file, or the target of a link. Never of directories: what is in them is told on its own.
    pub content: bool,
    /// The permissions.
    pub mode: bool,
    /// User or group.
    pub owner: bool,
    /// The stored modification time.
    pub mtime: bool,
    /// What it is. A directory that became something else is removed and added instead.
    pub kind: bool,
}

impl Differences {
    /// Compares two entries of one path.
    pub fn between(before: &DirEntry, after: &DirEntry) -> Self {
        let both_directories = before.kind == EntryKind::Directory && after.kind == EntryKind::Directory;
        Self {
            content: !both_directories && (before.object != after.object || before.size != after.size),
            mode: before.mode != after.mode,
            owner: (before.uid, before.gid) != (after.uid, after.gid),
            mtime: before.mtime != after.mtime,
            kind: before.kind != after.kind,
        }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// One thing that is not the same in both trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the later tree. Everything below an added directory is told too.
    Added(Found),
    /// Only in the earlier tree. Everything below a removed directory is told too.
    Removed(Found),
    /// In both, and not the same.
    Modified {
        /// The path, from the top.
        path: Vec<u8>,
        /// As it was.
        before: Box<DirEntry>,
        /// As it is.
        after: Box<DirEntry>,
        /// What is not the same.
        what: Differences,
    },
}

/// The changes from one tree to another, one after the other. Directories with the same object are not looked into.
#[derive(Debug)]
pub struct Diff {
    levels: Vec<Level>,
    path: Vec<u8>,
    first: Option<Box<(DirEntry, DirEntry)>>,
}

/// Levels whose entries stay in memory; those nearer to the root are read again when the walk comes back to them.
const LEVELS_HELD: usize = 8;

#[derive(Debug)]
struct Level {
    before: Side,
    after: Side,
    /// The length of the path of the directory above.
    back: usize,
}

/// Compares two trees: roots of snapshots, or what [`crate::snapshots::entry_at`] found in them.
pub fn diff(before: &DirEntry, after: &DirEntry) -> Diff {
    Diff {
        levels: Vec::new(),
        path: Vec::new(),
        first: Some(Box::new((before.clone(), after.clone()))),
    }
}

impl Diff {
    /// The next change, or `None` after the last.
    ///
    /// # Errors
    /// When a directory cannot be read. Calling again goes on behind that directory.
    pub async fn next(&mut self, repository: &Repository) -> Result<Option<Change>> {
        if let Some(tops) = self.first.take() {
            let (before, after) = *tops;
            let change = self.compare(repository, Vec::new(), before, after).await?;
            if change.is_some() {
                return Ok(change);
            }
        }
        while let Some(level) = self.levels.last_mut() {
            let pair = match level.next(repository).await {
                Ok(pair) => pair,
                Err(error) => {
                    self.leave();
                    return Err(error);
                }
            };
            let change = match pair {
                (None, None) => {
                    self.leave();
                    None
                }
                (Some(before), None) => {
                    let path = joined(&self.path, &before.name);
                    self.enter(&path, directory(&before).map(Side::stream), None);
                    Some(Change::Removed(Found { path, entry: before }))
                }
                (None, Some(after)) => {
                    let path = joined(&self.path, &after.name);
                    self.enter(&path, None, directory(&after).map(Side::stream));
                    Some(Change::Added(Found { path, entry: after }))
                }
                (Some(before), Some(after)) => {
                    let path = joined(&self.path, &after.name);
                    self.compare(repository, path, before, after).await?
                }
            };
            if change.is_some() {
                return Ok(change);
            }
        }
        Ok(None)
    }

    async fn compare(
        &mut self,
        repository: &Repository,
        path: Vec<u8>,
        before: DirEntry,
        after: DirEntry,
    ) -> Result<Option<Change>> {
        let what = Differences::between(&before, &after);
        if before.object != after.object {
            match (directory(&before), directory(&after)) {
                (Some(before), Some(after)) => {
                    let before = Side::sorted(repository, before).await?;
                    let after = Side::sorted(repository, after).await?;
                    self.enter(&path, Some(before), Some(after));
                }
                // Only the tops can be of different kinds: what is in the directory came or went.
                (before, after) => self.enter(&path, before.map(Side::stream), after.map(Side::stream)),
            }
        }
        Ok(what.any().then_some(Change::Modified {
            path,
            before: Box::new(before),
            after: Box::new(after),
            what,
        }))
    }

    fn enter(&mut self, path: &[u8], before: Option<Side>, after: Option<Side>) {
        if before.is_none() && after.is_none() {
            return;
        }
        let back = self.path.len();
        self.path = path.to_vec();
        self.levels.push(Level {
            before: before.unwrap_or_default(),
            after: after.unwrap_or_default(),
            back,
        });
        if let Some(far) = self.levels.len().checked_sub(LEVELS_HELD + 1) {
            self.levels[far].before.put_away();
            self.levels[far].after.put_away();
        }
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.path.truncate(level.back);
        }
    }
}

fn directory(entry: &DirEntry) -> Option<ObjectId> {
    entry.object.filter(|_| entry.kind == EntryKind::Directory)
}

impl Level {
    /// The next entry of either side, or both where they have the same place in the stored order.
    async fn next(&mut self, repository: &Repository) -> Result<(Option<DirEntry>, Option<DirEntry>)> {
        let before = self.before.peek(repository).await?.map(place);
        let after = self.after.peek(repository).await?.map(place);
        let (take_before, take_after) = match (before, after) {
            (Some(before), Some(after)) => (before <= after, after <= before),
            (before, after) => (before.is_some(), after.is_some()),
        };
        let before = self.before.next.take_if(|_| take_before);
        let after = self.after.next.take_if(|_| take_after);
        Ok((before, after))
    }
}

/// Where an entry stands in a directory: directories first, each group by the bytes of the names.
fn place(entry: &DirEntry) -> (bool, &[u8]) {
    (entry.kind != EntryKind::Directory, &entry.name)
}

/// One of two directories that are compared.
#[derive(Debug, Default)]
struct Side {
    rest: Rest,
    next: Option<DirEntry>,
}

#[derive(Debug)]
enum Rest {
    Stream(Box<DirectoryCursor>),
    Held(VecDeque<DirEntry>),
}

impl Default for Rest {
    fn default() -> Self {
        Self::Held(VecDeque::new())
    }
}

impl Side {
    /// A directory in whatever order it is stored.
    fn stream(id: ObjectId) -> Self {
        let rest = Rest::Stream(Box::new(DirectoryCursor::new(id)));
        Self { rest, next: None }
    }

    /// A directory in order. Kopia stores them so; only where it had to replace bytes in a name, or another program
    /// wrote the directory, all of it is held and sorted. Of a name that occurs twice the later entry counts.
    async fn sorted(repository: &Repository, id: ObjectId) -> Result<Self> {
        let mut last: Option<(bool, Vec<u8>)> = None;
        let mut entries = repository.directory_entries(id);
        while let Some(entry) = entries.next(repository).await? {
            let this = place(&entry);
            if last
                .as_ref()
                .is_some_and(|(group, name)| (*group, name.as_slice()) >= this)
            {
                return Self::held(repository, id).await;
            }
            last = Some((this.0, entry.name));
        }
        Ok(Self::stream(id))
    }

    async fn held(repository: &Repository, id: ObjectId) -> Result<Self> {
        let mut sorted = BTreeMap::new();
        let mut entries = repository.directory_entries(id);
        while let Some(entry) = entries.next(repository).await? {
            let (group, name) = place(&entry);
            sorted.insert((group, name.to_vec()), entry);
        }
        let rest = Rest::Held(sorted.into_values().collect());
        Ok(Self { rest, next: None })
    }

    async fn peek(&mut self, repository: &Repository) -> Result<Option<&DirEntry>> {
        if self.next.is_none() {
            self.next = match &mut self.rest {
                Rest::Stream(cursor) => cursor.next(repository).await?,
                Rest::Held(entries) => entries.pop_front(),
            };
        }
        Ok(self.next.as_ref())
    }

    fn put_away(&mut self) {
        if let Rest::Stream(cursor) = &mut self.rest {
            cursor.put_away();
        }
    }
}

/// Writes the bytes of a file, each content checked against its name, and gives their number.
///
/// # Errors
/// Of a directory, a link, or a file of which anything is missing; what came before it is written.
pub async fn cat(repository: &Repository, entry: &DirEntry, out: &mut (impl Write + Send)) -> Result<u64> {
    let name = || String::from_utf8_lossy(&entry.name).into_owned();
    if entry.kind != EntryKind::File {
        return Err(MoverError::WrongKind {
            name: name(),
            wanted: "file",
        });
    }
    let id = entry.object.ok_or_else(|| MoverError::NoObject { name: name() })?;
    let parts = stream::try_unfold(repository.object_parts(id), |mut parts| async move {
        let part = parts.next(repository).await?;
        Ok::<_, MoverError>(part.map(|part| (part, parts)))
    });
    let mut bytes = parts
        .map_ok(|part| async move {
            let content = repository.read_content(&part.content).await?;
            repository.check_hash(&repository.locate(&part.content)?, &content)?;
            repository.finish_part(&id, &part, content.into()).map(Cow::into_owned)
        })
        .try_buffered(READ_AHEAD)
        .boxed();
    let mut written = 0;
    while let Some(bytes) = bytes.try_next().await? {
        out.write_all(&bytes).map_err(|source: io::Error| MoverError::File {
            doing: "write",
            path: "the output".into(),
            source,
        })?;
        written += bytes.len() as u64;
    }
    if written == entry.size {
        Ok(written)
    } else {
        Err(MoverError::FileLength {
            promised: entry.size,
            found: written,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::block_on;
    use crate::sample::{PART_LEN, Sample};

    fn changes(sample: &Sample, before: &DirEntry, after: &DirEntry) -> Vec<String> {
        sample.flush();
        let mut diff = diff(before, after);
        let mut lines = Vec::new();
        while let Some(change) = block_on(diff.next(&sample.repository)).unwrap() {
            let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
            lines.push(match change {
                Change::Added(found) => format!("+ {}", text(&found.path)),
                Change::Removed(found) => format!("- {}", text(&found.path)),
                Change::Modified { path, what, .. } => {
                    let all = [
                        (what.content, "content"),
                        (what.mode, "mode"),
                        (what.owner, "owner"),
                        (what.mtime, "mtime"),
                        (what.kind, "kind"),
                    ];
                    let said: Vec<&str> = all
                        .iter()
                        .filter(|(differs, _)| *differs)
                        .map(|(_, name)| *name)
                        .collect();
                    format!("! {} {}", text(&path), said.join(","))
                }
            });
        }
        lines
    }

    #[test]
    fn changes_are_told_by_path_and_kind() {
        let sample = Sample::new();
        let mut owned = sample.file("owned", b"same");
        let missing = DirEntry {
            object: Some("k00112233445566778899aabbccddeeff".parse().unwrap()),
            ..sample.directory("not-looked-into", &[])
        };
        let gone = sample.directory("gone", &[sample.file("inside", b"")]);
        let below = |text: &[u8]| sample.directory("sub", &[sample.file("file", text), sample.file("same", b"")]);
        let before = sample.directory(
            "r",
            &[
                gone,
                missing.clone(),
                below(b"old"),
                owned.clone(),
                sample.file("turned", b"x"),
            ],
        );
        owned.uid = 7;
        owned.mode = windlass_repo_format::snapshot::GoMode::new(0o600);
        let after = sample.directory(
            "r",
            &[
                sample.directory("come", &[sample.directory("deep", &[sample.file("f", b"")])]),
                missing,
                below(b"new"),
                owned,
                sample.link("turned", "x"),
            ],
        );
        assert_eq!(changes(&sample, &before, &before), [""; 0]);
        assert_eq!(
            changes(&sample, &before, &after),
            [
                "+ come",
                "+ come/deep",
                "+ come/deep/f",
                "- gone",
                "- gone/inside",
                "! sub/file content",
                "! owned mode,owner",
                "! turned mode,kind",
            ]
        );
    }

    #[test]
    fn a_folder_out_of_order_is_compared_all_the_same() {
        let sample = Sample::new();
        let names = |names: &[&str]| {
            let files: Vec<DirEntry> = names.iter().map(|name| sample.file(name, b"")).collect();
            sample.directory("r", &files)
        };
        let (before, after) = (names(&["c", "a", "b"]), names(&["b", "c", "d"]));
        assert_eq!(changes(&sample, &before, &after), ["- a", "+ d"]);
    }

    #[test]
    fn trees_deeper_than_what_is_held_are_compared() {
        let sample = Sample::new();
        let tree = |text: &[u8]| {
            let mut tree = sample.directory("d", &[sample.file("bottom", text)]);
            for _ in 0..3 * LEVELS_HELD {
                tree = sample.directory("d", &[tree, sample.file("f", text)]);
            }
            tree
        };
        assert_eq!(changes(&sample, &tree(b"1"), &tree(b"2")).len(), 3 * LEVELS_HELD + 1);
    }

    #[test]
    fn a_listing_goes_down_only_when_asked() {
        let sample = Sample::new();
        let sub = sample.directory("sub", &[sample.file("file", b"")]);
        let top = sample.directory("r", &[sub, sample.file("last", b"")]);
        sample.flush();
        let paths = |entry: &DirEntry, recursive| {
            let mut listing = list_entries(entry, recursive);
            let mut paths = Vec::new();
            while let Some(found) = block_on(listing.next(&sample.repository)).unwrap() {
                paths.push(String::from_utf8(found.path).unwrap());
            }
            paths
        };
        assert_eq!(paths(&top, false), ["sub", "last"]);
        assert_eq!(paths(&top, true), ["sub", "sub/file", "last"]);
        assert_eq!(paths(&sample.file("alone", b""), true), ["alone"]);
    }

    #[test]
    fn a_listing_goes_on_behind_a_folder_that_cannot_be_read() {
        let sample = Sample::new();
        let sub = sample.directory("sub", &[sample.file("file", b"")]);
        let top = sample.directory("r", &[sub.clone(), sample.file("last", b"")]);
        sample.flush();
        sample.damage(sub.object.unwrap());
        let mut listing = list_entries(&top, true);
        let mut next = || block_on(listing.next(&sample.repository)).map(|found| found.map(|found| found.path));
        assert_eq!(next().unwrap().unwrap(), b"sub");
        assert!(next().is_err());
        assert_eq!(next().unwrap().unwrap(), b"last");
        assert_eq!(next().unwrap(), None);
    }

    #[test]
    fn a_file_is_printed_whole_or_not_at_all() {
        let sample = Sample::new();
        let text: Vec<u8> = (0..10 * PART_LEN).map(|place| (place / 7) as u8).collect();
        let mut file = sample.file("f", &text);
        sample.flush();
        let print = |entry: &DirEntry| {
            let mut out = Vec::new();
            block_on(cat(&sample.repository, entry, &mut out)).map(|_| out)
        };
        assert!(print(&file).unwrap() == text);
        assert!(matches!(
            print(&sample.link("l", "x")),
            Err(MoverError::WrongKind { .. })
        ));
        file.size += 1;
        assert!(matches!(print(&file), Err(MoverError::FileLength { .. })));
        sample.damage(sample.object(&text[9 * PART_LEN..]));
        assert!(matches!(print(&file), Err(MoverError::Content { .. })));
    }
}
