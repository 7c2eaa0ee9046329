//! The collection: what no snapshot needs is marked deleted, what one needs again is written anew.
//!
//! Holds three bits for each entry of the indexes, a batch of marks, and the directories on the way down.

use jiff::SignedDuration;
use windlass_repo_format::id::{ContentId, ContentPrefix, ObjectId};
use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::maintenance::{ContentFate, content_fate};
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use super::Work;
use super::bits::Bits;
use super::carry::Porter;
use super::report::{Kept, Outcome, Stats, Tally};
use crate::blocking::block_on;
use crate::descent::Descent;
use crate::error::{MoverError, Result};
use crate::repository::{Frozen, Repository};
use crate::snapshots::{self, Snapshot};

/// So many marks are put into one index blob: about 200 bytes each while they wait.
const MARKS_MAX: usize = 100_000;

/// Marks what nobody needs, and writes again what is needed and marked.
pub(super) fn collect(work: &Work<'_>, kept: &mut Vec<Kept>) -> Result<Outcome> {
    let frozen = work.repository.frozen()?;
    let needed = Need::of_all_snapshots(work, &frozen)?;
    sweep(work, &frozen, &needed, kept)
}

/// Which contents the snapshots need.
struct Need<'a> {
    repository: &'a Repository,
    frozen: &'a Frozen,
    needed: Bits,
    /// Lists of parts that were read: all that they list is needed.
    listed: Bits,
    /// Directories that were walked: all that is below them is needed.
    walked: Bits,
}

impl<'a> Need<'a> {
    fn of_all_snapshots(work: &Work<'a>, frozen: &'a Frozen) -> Result<Bits> {
        let mut need = Self {
            repository: work.repository,
            frozen,
            needed: Bits::new(frozen.entries()),
            listed: Bits::new(frozen.entries()),
            walked: Bits::new(frozen.entries()),
        };
        let listed = block_on(snapshots::list_all(work.repository, None))?;
        if let Some((id, source)) = listed.unreadable.into_iter().next() {
            return Err(cannot_collect(id.to_string(), &[], source));
        }
        for snapshot in &listed.snapshots {
            need.snapshot(work, snapshot)?;
        }
        Ok(need.needed)
    }

    fn snapshot(&mut self, work: &Work<'_>, snapshot: &Snapshot) -> Result<()> {
        let mut path = Vec::new();
        let walked = snapshot.root().and_then(|root| self.tree(work, root, &mut path));
        walked.map_err(|source| match source {
            MoverError::Cancelled => source,
            source => cannot_collect(snapshot.id.to_string(), &path, source),
        })
    }

    /// Everything that a tree needs. After an error `path` says where.
    fn tree(&mut self, work: &Work<'_>, top: &DirEntry, path: &mut Vec<u8>) -> Result<()> {
        let mut descent: Descent<usize> = Descent::default();
        if let Some(id) = self.entry(top)? {
            descent.enter(id, 0);
        }
        while descent.depth() > 0 {
            work.check_not_cancelled()?;
            let Some(entry) = block_on(descent.next(self.repository))? else {
                path.truncate(descent.leave().unwrap_or(0));
                continue;
            };
            work.progress.count(0);
            let back = path.len();
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            match self.entry(&entry)? {
                Some(id) => descent.enter(id, back),
                None => path.truncate(back),
            }
        }
        Ok(())
    }

    /// What an entry needs. Gives its directory where that was not walked yet.
    fn entry(&mut self, entry: &DirEntry) -> Result<Option<ObjectId>> {
        let Some(object) = entry.object else {
            return Ok(None);
        };
        self.object(object)?;
        if entry.kind != EntryKind::Directory {
            return Ok(None);
        }
        let is_new = match self.name_bit(object) {
            Some(number) => self.walked.set(number),
            None => true,
        };
        Ok(is_new.then_some(object))
    }

    /// The number of the one content that stands for an object: itself, or its list of parts. `None` for a list of lists,
    /// which is too rare to be remembered.
    fn name_bit(&self, object: ObjectId) -> Option<u64> {
        let is_simple = object.list().is_none_or(|list| list.list().is_none());
        is_simple.then(|| self.frozen.number(&object.content())).flatten()
    }

    fn object(&mut self, object: ObjectId) -> Result<()> {
        if object.list().is_none() {
            return self.content(&object.content());
        }
        let list = self.name_bit(object);
        if list.is_some_and(|number| self.listed.is_set(number)) {
            return Ok(());
        }
        let mut parts = self.repository.object_parts(object);
        while let Some(part) = block_on(parts.next(self.repository))? {
            self.content(&part.content)?;
            for text in parts.take_list_contents() {
                self.content(&text)?;
            }
        }
        for text in parts.take_list_contents() {
            self.content(&text)?;
        }
        if let Some(number) = list {
            self.listed.set(number);
        }
        Ok(())
    }

    fn content(&mut self, id: &ContentId) -> Result<()> {
        let missing = MoverError::ContentMissing { id: *id };
        let Some(number) = self.frozen.number(id) else {
            return Err(missing);
        };
        // Its entries may all be deleted and below the watermark: then it is gone.
        if self.needed.set(number) && self.frozen.find(id)?.is_none() {
            return Err(missing);
        }
        Ok(())
    }
}

fn cannot_collect(snapshot: String, path: &[u8], source: MoverError) -> MoverError {
    MoverError::CannotCollect {
        snapshot,
        path: String::from_utf8_lossy(path).into_owned(),
        source: Box::new(source),
    }
}

#[derive(Default)]
struct Counts {
    in_use: Tally,
    system: Tally,
    unused: Tally,
    recent: Tally,
    already: Tally,
    undelete: Tally,
    deleted: Tally,
    changed: Tally,
}

/// Looks at every content and does with it what becomes of it.
fn sweep(work: &Work<'_>, frozen: &Frozen, needed: &Bits, kept: &mut Vec<Kept>) -> Result<Outcome> {
    let mut counts = Counts::default();
    let mut marks = Vec::new();
    let mut porter = Porter::new(work)?;
    frozen.each(|number, entry| {
        work.check_not_cancelled()?;
        work.progress.count(0);
        let bytes = u64::from(entry.packed_len.bytes());
        // Manifests are looked after by those who write them.
        if entry.id.prefix() == Some(ContentPrefix::MANIFEST) {
            counts.system.add(bytes);
            return Ok(());
        }
        let age = SignedDuration::from_secs(work.start.as_second().saturating_sub(entry.timestamp));
        match content_fate(needed.is_set(number), entry.deleted, age, &work.safety) {
            ContentFate::InUse => counts.in_use.add(bytes),
            ContentFate::TooRecent => counts.recent.add(bytes),
            ContentFate::AlreadyDeleted => counts.already.add(bytes),
            ContentFate::Undelete => {
                counts.in_use.add(bytes);
                counts.undelete.add(bytes);
                porter.push(entry)?;
            }
            ContentFate::Delete => {
                counts.unused.add(bytes);
                marks.push(entry);
                if marks.len() >= MARKS_MAX {
                    mark(work, &mut marks, &mut counts)?;
                }
            }
        }
        Ok(())
    })?;
    porter.finish()?;
    mark(work, &mut marks, &mut counts)?;
    kept.extend([
        Kept {
            why: "nobody needs them yet, and they are too young to be marked",
            tally: counts.recent,
        },
        Kept {
            why: "marked by an earlier maintenance, and readable until they are dropped",
            tally: counts.already,
        },
        Kept {
            why: "somebody has changed them meanwhile",
            tally: counts.changed,
        },
    ]);
    Ok(Outcome::Done(Stats::SnapshotGc {
        unreferenced_content_count: counts.unused.count + counts.already.count,
        unreferenced_content_size: counts.unused.bytes + counts.already.bytes,
        deleted_content_count: counts.deleted.count,
        deleted_content_size: counts.deleted.bytes,
        unreferenced_recent_content_count: counts.recent.count,
        unreferenced_recent_content_size: counts.recent.bytes,
        in_use_content_count: counts.in_use.count,
        in_use_content_size: counts.in_use.bytes,
        in_use_system_content_count: counts.system.count,
        in_use_system_content_size: counts.system.bytes,
        recovered_content_count: counts.undelete.count,
        recovered_content_size: counts.undelete.bytes,
    }))
}

/// Publishes that contents are deleted. A mark names the pack that its content lies in; so it is made of what the indexes
/// say at this moment, and a content that was moved or written again since is left alone.
fn mark(work: &Work<'_>, batch: &mut Vec<IndexEntry>, counts: &mut Counts) -> Result<()> {
    let repository = work.repository;
    if batch.is_empty() {
        return Ok(());
    }
    if work.dry_run {
        for entry in batch.drain(..) {
            counts.deleted.add(u64::from(entry.packed_len.bytes()));
        }
        return Ok(());
    }
    block_on(repository.refresh())?;
    let now = repository.now().as_second();
    let mut marks = Vec::with_capacity(batch.len());
    for entry in batch.drain(..) {
        let bytes = u64::from(entry.packed_len.bytes());
        if repository.find(&entry.id)?.is_none_or(|current| current != entry) {
            counts.changed.add(bytes);
            continue;
        }
        counts.deleted.add(bytes);
        marks.push(IndexEntry {
            deleted: true,
            timestamp: now.max(entry.timestamp.saturating_add(1)),
            ..entry
        });
    }
    if !marks.is_empty() {
        block_on(repository.write_session()?.publish_entries(&marks))?;
    }
    Ok(())
}
