//! The epoch room: from the names of index blobs to the set of them that counts, without any lock.
//!
//! Writers add `xn<E>_` blobs to the current epoch E. Older epochs are frozen, so maintenance can replace the blobs of
//! one by a compacted set `xs<E>_`, and of many by a range set `xr<A>_<B>_`.

mod name;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::id::BlobId;

pub use name::{
    EPOCH_MARKER_BODY, INDEX_BLOB_PREFIX, IndexBlobName, WATERMARK_BODY, epoch_marker, index_blob_suffix,
    range_blob_prefix, single_blob_prefix, uncompacted_blob_prefix, watermark_blob,
};

/// One blob of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBlob {
    /// Its name.
    pub id: BlobId,
    /// Its length in bytes.
    pub len: u64,
    /// When the storage last saw it written, by the storage's own clock.
    pub modified: Timestamp,
}

/// A complete set of index blobs that replaces all the epochs from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet {
    /// The first epoch it covers.
    pub first: u64,
    /// The last epoch it covers.
    pub last: u64,
    /// The blobs of the set.
    pub blobs: Vec<ListedBlob>,
}

/// What one listing of all blobs that begin with `x` says about the epochs of a repository.
///
/// What a caller derives from it holds for as long as the listing is fresh, see the repository's epoch parameters.
#[derive(Clone, Debug, Default)]
pub struct EpochState {
    write_epoch: u64,
    markers: Vec<(u64, ListedBlob)>,
    watermarks: Vec<(i64, ListedBlob)>,
    uncompacted: BTreeMap<u64, Vec<ListedBlob>>,
    singles: BTreeMap<u64, Vec<ListedBlob>>,
    ranges: Vec<RangeSet>,
}

impl EpochState {
    /// Sorts out a listing of all blobs whose names begin with `x`: name, length in bytes, storage's time of change.
    /// Names that mean nothing are ignored.
    pub fn from_blobs(blobs: impl IntoIterator<Item = (BlobId, u64, Timestamp)>) -> Self {
        let mut blobs: Vec<ListedBlob> = blobs
            .into_iter()
            .map(|(id, len, modified)| ListedBlob { id, len, modified })
            .collect();
        blobs.sort_by(|a, b| a.id.cmp(&b.id));
        blobs.dedup_by(|a, b| a.id == b.id);

        let mut state = Self::default();
        let mut singles: BTreeMap<u64, Vec<ListedBlob>> = BTreeMap::new();
        let mut ranges: BTreeMap<(u64, u64), Vec<ListedBlob>> = BTreeMap::new();
        for blob in blobs {
            match IndexBlobName::parse(blob.id.as_str()) {
                Some(IndexBlobName::Marker { epoch }) => state.markers.push((epoch, blob)),
                Some(IndexBlobName::Watermark { seconds }) => state.watermarks.push((seconds, blob)),
                Some(IndexBlobName::Uncompacted { epoch }) => state.uncompacted.entry(epoch).or_default().push(blob),
                Some(IndexBlobName::Compacted { epoch }) => singles.entry(epoch).or_default().push(blob),
                Some(IndexBlobName::Range { first, last }) => ranges.entry((first, last)).or_default().push(blob),
                Some(IndexBlobName::Legacy) | None => {}
            }
        }
        let complete = |blobs| name::complete_set(blobs, |blob: &ListedBlob| blob.id.as_str());
        state.write_epoch = state.markers.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0);
        state.singles = singles
            .into_iter()
            .filter_map(|(epoch, blobs)| Some((epoch, complete(blobs)?)))
            .collect();
        let ranges = ranges.into_iter().filter_map(|((first, last), blobs)| {
            let blobs = complete(blobs)?;
            Some(RangeSet { first, last, blobs })
        });
        state.ranges = longest_chain(ranges.collect());
        state
    }

    /// The epoch that a writer adds index blobs to.
    pub fn write_epoch(&self) -> u64 {
        self.write_epoch
    }

    /// Up to which second, inclusive, deletion markers mean that the content is gone.
    pub fn deletion_watermark(&self) -> Option<i64> {
        self.watermarks.iter().map(|(seconds, _)| *seconds).max()
    }

    /// The index blobs that count: exactly those that Kopia would load, so that nobody reuses a content that Kopia
    /// does not see.
    pub fn active_index_blobs(&self) -> Vec<BlobId> {
        self.index_blobs_between(0, self.write_epoch.saturating_add(1))
            .map(|blob| blob.id.clone())
            .collect()
    }

    /// What counts for the epochs from the first to the last: ranges, then single sets of settled epochs, then
    /// uncompacted blobs. A range that lies at or before `first` is left out.
    pub fn index_blobs_between(&self, first: u64, last: u64) -> impl Iterator<Item = &ListedBlob> {
        let mut start = first;
        let mut chosen: Vec<&RangeSet> = Vec::new();
        for range in &self.ranges {
            // Strictly: a range of the one epoch `start` does not count, in Kopia neither.
            if range.last > start {
                chosen.push(range);
                start = range.last.saturating_add(1);
            }
        }
        let settled = |epoch: u64| epoch.saturating_add(2) <= self.write_epoch;
        let is_single = move |epoch: u64| settled(epoch) && self.singles.contains_key(&epoch);
        // Both maps are walked, not the numbers: an epoch number is as large as somebody cared to write it.
        let end = last.max(start);
        let mut rest: Vec<(u64, &Vec<ListedBlob>)> = Vec::new();
        if start <= last {
            let singles = self.singles.range(start..=end).filter(|(epoch, _)| is_single(**epoch));
            let uncompacted = self
                .uncompacted
                .range(start..=end)
                .filter(|(epoch, _)| !is_single(**epoch));
            rest.extend(singles.chain(uncompacted).map(|(epoch, blobs)| (*epoch, blobs)));
            rest.sort_by_key(|(epoch, _)| *epoch);
        }
        let ranges = chosen.into_iter().flat_map(|range| &range.blobs);
        ranges.chain(rest.into_iter().flat_map(|(_, blobs)| blobs))
    }

    /// The uncompacted index blobs of one epoch.
    pub fn uncompacted(&self, epoch: u64) -> &[ListedBlob] {
        self.uncompacted.get(&epoch).map_or(&[], Vec::as_slice)
    }

    /// All epochs that have uncompacted index blobs, with those.
    pub fn uncompacted_epochs(&self) -> impl Iterator<Item = (u64, &[ListedBlob])> {
        self.uncompacted.iter().map(|(epoch, blobs)| (*epoch, blobs.as_slice()))
    }

    /// The complete compacted set of one epoch, if there is one, whether it counts or not.
    pub fn single(&self, epoch: u64) -> Option<&[ListedBlob]> {
        self.singles.get(&epoch).map(Vec::as_slice)
    }

    /// All epochs that have a complete compacted set, with it.
    pub fn singles(&self) -> impl Iterator<Item = (u64, &[ListedBlob])> {
        self.singles.iter().map(|(epoch, blobs)| (*epoch, blobs.as_slice()))
    }

    /// The chosen chain of range sets, from epoch 0 on without a gap.
    pub fn ranges(&self) -> &[RangeSet] {
        &self.ranges
    }

    /// The epoch markers: each number but 0 up to the write epoch once had one.
    pub fn markers(&self) -> &[(u64, ListedBlob)] {
        &self.markers
    }

    /// The deletion watermarks in Unix seconds: the largest counts.
    pub fn watermarks(&self) -> &[(i64, ListedBlob)] {
        &self.watermarks
    }

    /// The first epoch that no range set covers.
    pub fn first_epoch_after_ranges(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.last.saturating_add(1))
    }

    /// The last epoch that no writer can still add to; `None` before there is one.
    pub fn last_settled_epoch(&self) -> Option<u64> {
        self.write_epoch.checked_sub(2)
    }

    /// Whether the write epoch is old enough and full enough to begin the next one: its blobs span at least
    /// `duration_min`, and there are at least `count` of them or at least `bytes` bytes.
    pub fn should_advance(&self, duration_min: SignedDuration, count: usize, bytes: u64) -> bool {
        let blobs = self.uncompacted(self.write_epoch);
        let times = blobs.iter().map(|blob| blob.modified);
        let (Some(oldest), Some(newest)) = (times.clone().min(), times.max()) else {
            return false;
        };
        let total = blobs.iter().fold(0u64, |total, blob| total.saturating_add(blob.len));
        newest.duration_since(oldest) >= duration_min && (blobs.len() >= count || total >= bytes)
    }

    /// The present moment as far as index blobs show it: the newest time of those that writers may still be adding to.
    /// `None` when there are none.
    pub fn storage_time(&self) -> Option<Timestamp> {
        let epochs = self.write_epoch.saturating_sub(1)..=self.write_epoch.saturating_add(1);
        let blobs = self.uncompacted.range(epochs).flat_map(|(_, blobs)| blobs);
        blobs.map(|blob| blob.modified).max()
    }

    /// The epoch markers that nobody needs to find the write epoch: those below the one before it.
    pub fn stale_markers(&self) -> impl Iterator<Item = &ListedBlob> {
        let needed = self.write_epoch.saturating_sub(1);
        let stale = self.markers.iter().filter(move |(epoch, _)| *epoch < needed);
        stale.map(|(_, blob)| blob)
    }

    /// The watermarks below the largest one that are older than `before`.
    pub fn stale_watermarks(&self, before: Timestamp) -> impl Iterator<Item = &ListedBlob> {
        let largest = self.deletion_watermark();
        let stale = self
            .watermarks
            .iter()
            .filter(move |(seconds, _)| Some(*seconds) != largest);
        stale.map(|(_, blob)| blob).filter(move |blob| blob.modified < before)
    }

    /// The uncompacted index blobs of settled epochs whose compacted set is complete and older than `before`: everybody
    /// reads that set instead.
    pub fn superseded(&self, before: Timestamp) -> impl Iterator<Item = &ListedBlob> {
        let settled = self.last_settled_epoch();
        let replaced = self.singles.iter().filter(move |(epoch, set)| {
            settled.is_some_and(|last| **epoch <= last) && set.iter().all(|blob| blob.modified < before)
        });
        replaced.flat_map(|(epoch, _)| self.uncompacted(*epoch))
    }

    /// The epoch that single-epoch compaction takes next: the oldest one after the ranges that has no compacted set,
    /// if it is settled.
    pub fn next_to_compact(&self) -> Option<u64> {
        let last = self.last_settled_epoch()?;
        let first = self.first_epoch_after_ranges();
        // There are no more sets than blobs, so this ends soon whatever the numbers are.
        (first..=last).find(|epoch| !self.singles.contains_key(epoch))
    }

    /// The epochs, first and last, that the next range set would cover: at least `frequency` past the last one.
    pub fn next_range(&self, frequency: u64) -> Option<(u64, u64)> {
        let last = self.last_settled_epoch()?;
        let first = self.first_epoch_after_ranges();
        let due = last.checked_sub(first).is_some_and(|span| span >= frequency);
        due.then_some((first, last))
    }
}

/// Of all ways to go from epoch 0 on from range to range without a gap, the one that ends latest, and of those the one
/// with the fewest ranges.
fn longest_chain(ranges: Vec<RangeSet>) -> Vec<RangeSet> {
    /// The best chain from one epoch on: where it ends, how many ranges it has, the place of its first one.
    #[derive(Clone, Copy)]
    struct Best {
        last: u64,
        count: usize,
        place: usize,
    }

    let mut best: BTreeMap<u64, Best> = BTreeMap::new();
    // From the latest first epoch to the earliest, so that what may follow a range is already known.
    for (place, range) in ranges.iter().enumerate().rev() {
        let next = range.last.checked_add(1).and_then(|next| best.get(&next));
        let chain = Best {
            last: next.map_or(range.last, |next| next.last),
            count: 1 + next.map_or(0, |next| next.count),
            place,
        };
        let known = best.entry(range.first).or_insert(chain);
        if chain.last > known.last || (chain.last == known.last && chain.count <= known.count) {
            *known = chain;
        }
    }
    let mut at = best.get(&0).copied();
    let mut chosen = Vec::new();
    while let Some(link) = at {
        chosen.push(link.place);
        at = ranges[link.place]
            .last
            .checked_add(1)
            .and_then(|next| best.get(&next))
            .copied();
    }
    let mut chosen = chosen.into_iter().peekable();
    let is_chosen = ranges
        .into_iter()
        .enumerate()
        .filter(|(place, _)| chosen.next_if_eq(place).is_some());
    is_chosen.map(|(_, range)| range).collect()
}
