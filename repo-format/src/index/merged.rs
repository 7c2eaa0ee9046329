//! The round table of the index room: many indexes, one answer. The winning entry of each content speaks.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::FormatError;
use crate::id::ContentId;
use crate::index::{Index, IndexEntry};

/// Merges sorted runs of entries: gives the winning entry of each content, in order. A winner that is deleted and not
/// younger than the watermark is left out; other deleted winners are given.
///
/// The first error of any run ends the merge: what would follow could be the wrong winner.
pub fn merge_runs<R>(runs: impl IntoIterator<Item = R>, watermark: Option<i64>) -> Merge<R>
where
    R: Iterator<Item = Result<IndexEntry, FormatError>>,
{
    let mut merge = Merge {
        heads: BinaryHeap::new(),
        runs: runs.into_iter().collect(),
        watermark,
        failed: None,
    };
    let mut heads = Vec::with_capacity(merge.runs.len());
    for (run, entries) in merge.runs.iter_mut().enumerate() {
        match entries.next() {
            Some(Ok(entry)) => heads.push(Reverse(Head { entry, run })),
            Some(Err(error)) => merge.failed = Some(error),
            None => {}
        }
    }
    merge.heads = heads.into();
    merge
}

/// The iterator that [`merge_runs`] gives. It holds one entry per run.
#[derive(Debug)]
pub struct Merge<R> {
    heads: BinaryHeap<Reverse<Head>>,
    runs: Vec<R>,
    watermark: Option<i64>,
    failed: Option<FormatError>,
}

impl<R: Iterator<Item = Result<IndexEntry, FormatError>>> Merge<R> {
    /// The smallest entry of all runs; whatever comes next in its run takes its place.
    fn step(&mut self) -> Option<IndexEntry> {
        let mut top = self.heads.peek_mut()?;
        match self.runs[top.0.run].next() {
            Some(Ok(next)) => Some(std::mem::replace(&mut top.0.entry, next)),
            Some(Err(error)) => {
                self.failed = Some(error);
                None
            }
            None => Some(PeekMut::pop(top).0.entry),
        }
    }
}

impl<R: Iterator<Item = Result<IndexEntry, FormatError>>> Iterator for Merge<R> {
    type Item = Result<IndexEntry, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut winner = self.step();
            if let Some(winner) = &mut winner {
                while self.failed.is_none() && self.heads.peek().is_some_and(|head| head.0.entry.id == winner.id) {
                    if let Some(rival) = self.step().filter(|rival| rival.supersedes(winner)) {
                        *winner = rival;
                    }
                }
            }
            if let Some(error) = self.failed.take() {
                self.heads.clear();
                return Some(Err(error));
            }
            let winner = winner?;
            if !winner.is_dead(self.watermark) {
                return Some(Ok(winner));
            }
        }
    }
}

/// The next entry of one run, ordered by content.
#[derive(Debug)]
struct Head {
    entry: IndexEntry,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.entry.id.cmp(&other.entry.id).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Looks a content up in many indexes. A deleted content is given as such until the watermark, in Unix seconds, has
/// passed over it.
///
/// A look-up asks every run, so its time grows with their number: many small runs are merged into a larger one with
/// [`merge_runs`] (without a watermark).
///
/// # Errors
/// When the content's entry in any index cannot be read.
pub fn look_up<'a, B: AsRef<[u8]> + 'a>(
    runs: impl IntoIterator<Item = &'a Index<B>>,
    id: &ContentId,
    watermark: Option<i64>,
) -> Result<Option<IndexEntry>, FormatError> {
    let mut winner: Option<IndexEntry> = None;
    for run in runs {
        let Some(entry) = run.get(id)? else { continue };
        if winner.as_ref().is_none_or(|winner| entry.supersedes(winner)) {
            winner = Some(entry);
        }
    }
    Ok(winner.filter(|winner| !winner.is_dead(watermark)))
}
