//! The card catalogue: the repository's indexes as sorted runs, read once and looked up by many threads.

mod frozen;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tracing::{debug, warn};
use windlass_repo_format::FormatError;
use windlass_repo_format::epoch::EpochState;
use windlass_repo_format::id::{BlobId, ContentId, ContentPrefix};
use windlass_repo_format::index::legacy::{self, CompactionLog};
use windlass_repo_format::index::{
    ENTRIES_MAX_PER_INDEX, HeaderV2, Index, IndexEntry, StreamingEncoder, look_up, merge_runs,
};

use super::Repository;
use crate::cache::{Cache, Kept};
use crate::error::{MoverError, Result};
use crate::mapped::{Mapped, PrivateFile, Reading};
use crate::storage::{BlobRange, StorageError};

pub(crate) use frozen::{Frozen, names};

/// Index payloads up to this many bytes stay in memory; larger ones are kept in an unlinked file and mapped.
const RUN_BYTES_IN_MEMORY_MAX: usize = 1 << 20;
/// A look-up asks every run, so more runs than this are merged into one, once enough was looked for.
const RUNS_MAX: usize = 8;
/// Merging costs about as much as looking up one in so many of all entries in twenty runs instead of one. Who only lists
/// snapshots, or finds nothing changed, looks up less.
const LOOK_UPS_SHARE: u64 = 8;
/// Runs are merged into one of at most so many entries: an index holds twice as many, and large ones are not worth it.
const MERGED_ENTRIES_MAX: usize = ENTRIES_MAX_PER_INDEX / 2;
/// However little is looked for, runs are merged as soon as there are more than this, or more bytes of them in memory.
const RUNS_WAITING_MAX: usize = 64;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Index blobs read at the same time.
const READS_AT_ONCE: usize = 8;
/// Of an index blob that does not stay in memory, so much is read at once: Kopia writes blobs of half a gigabyte.
const READ_BYTES_MAX: u64 = 4 << 20;
/// How often a listing is repeated when a blob vanishes between listing and reading.
const VANISHED_MAX: u32 = 10;

/// The bytes of one sorted run. Other than in memory they are in a file and not counted as this program's.
#[derive(Debug)]
pub(crate) enum RunBytes {
    Memory(Vec<u8>),
    Mapped(Mapped),
}

impl AsRef<[u8]> for RunBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(file) => file.as_ref(),
        }
    }
}

impl From<Kept> for RunBytes {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Memory(bytes) => Self::Memory(bytes),
            Kept::Mapped(mapped) => Self::Mapped(mapped),
        }
    }
}

impl RunBytes {
    /// Tells the kernel how a run will be read from now on: here and there, until told otherwise.
    pub(crate) fn will_be_read(&self, reading: Reading) {
        if let Self::Mapped(mapped) = self {
            mapped.will_be_read(reading);
        }
    }

    fn keep(payload: Vec<u8>) -> Result<Self> {
        if payload.len() <= RUN_BYTES_IN_MEMORY_MAX {
            return Ok(Self::Memory(payload));
        }
        let spill = || -> io::Result<Mapped> {
            let mut file = PrivateFile::create_in(&std::env::temp_dir())?;
            file.write_all(&payload)?;
            file.map()
        };
        spill().map(Self::Mapped).map_err(spill_error)
    }
}

fn spill_error(source: io::Error) -> MoverError {
    MoverError::Spill {
        folder: std::env::temp_dir(),
        source,
    }
}

fn index_error(doing: impl Into<String>, source: FormatError) -> MoverError {
    MoverError::Index {
        doing: doing.into(),
        source,
    }
}

pub(crate) type Run = Arc<Index<RunBytes>>;

/// What the indexes said when they were last read, and what this program has added since.
#[derive(Debug)]
pub(crate) struct IndexView {
    runs: Vec<Run>,
    /// The index blobs whose entries are in `runs`.
    covered: BTreeSet<BlobId>,
    watermark: Option<i64>,
    epochs: Option<EpochState>,
    loaded: Timestamp,
    /// Look-ups since the indexes were read.
    looked_up: AtomicU64,
}

/// The indexes in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSummary {
    /// Index blobs in use.
    pub blobs: usize,
    /// Entries in them, the same content counted once for each index that names it.
    pub entries: u64,
    /// The epoch that writers add to; `None` where the repository has no epochs (format version 1).
    pub write_epoch: Option<u64>,
    /// Deleted contents up to this moment, in Unix seconds, are gone.
    pub deletion_watermark: Option<i64>,
}

impl IndexView {
    pub(crate) fn empty(now: Timestamp) -> Self {
        Self {
            runs: Vec::new(),
            covered: BTreeSet::new(),
            watermark: None,
            epochs: None,
            loaded: now,
            looked_up: AtomicU64::new(0),
        }
    }

    /// Whether so much was looked for in so many runs that one for all would have been quicker.
    fn wants_merging(&self) -> bool {
        if self.runs.len() <= RUNS_MAX {
            return false;
        }
        let entries: usize = self.runs.iter().map(|run| run.len()).sum();
        let looked_up = self.looked_up.fetch_add(1, Ordering::Relaxed);
        looked_up == entries as u64 / LOOK_UPS_SHARE
    }

    fn find(&self, id: &ContentId) -> std::result::Result<Option<IndexEntry>, FormatError> {
        look_up(self.runs.iter().map(Arc::as_ref), id, self.watermark)
    }

    fn with_run(&self, blobs: &[BlobId], run: Run) -> Self {
        let mut runs = self.runs.clone();
        runs.push(run);
        let covered = self.covered.iter().chain(blobs).cloned().collect();
        Self {
            covered,
            ..self.with_runs(runs)
        }
    }

    fn with_runs(&self, runs: Vec<Run>) -> Self {
        Self {
            runs,
            covered: self.covered.clone(),
            watermark: self.watermark,
            epochs: self.epochs.clone(),
            loaded: self.loaded,
            looked_up: AtomicU64::new(self.looked_up.load(Ordering::Relaxed)),
        }
    }
}

impl Repository {
    pub(crate) fn view(&self) -> Arc<IndexView> {
        self.inner
            .index
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Puts a view in the place of the one that it was made from. False when another one has taken that place.
    fn replace_view(&self, old: &Arc<IndexView>, new: IndexView) -> bool {
        let mut view = self
            .inner
            .index
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_current = Arc::ptr_eq(&view, old);
        if is_current {
            *view = Arc::new(new);
        }
        is_current
    }

    /// The winning index entry of a content, deleted ones included.
    pub(crate) fn find(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        let view = self.view_to_search()?;
        self.found(id, view.find(id))
    }

    /// The winning index entry of a content, also one that the watermark has passed over: `None` means that no index
    /// that counts has ever named it.
    pub(crate) fn find_buried(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        let view = self.view_to_search()?;
        self.found(id, look_up(view.runs.iter().map(Arc::as_ref), id, None))
    }

    fn found(
        &self,
        id: &ContentId,
        found: std::result::Result<Option<IndexEntry>, FormatError>,
    ) -> Result<Option<IndexEntry>> {
        found.map_err(|source| index_error(format!("look up content {id} in"), source))
    }

    /// What the indexes said, merged if that is worth it.
    fn view_to_search(&self) -> Result<Arc<IndexView>> {
        let view = self.view();
        if view.wants_merging() {
            let mut merged = view.with_runs(merge_small_runs(view.runs.clone())?);
            merged.looked_up = AtomicU64::new(0);
            // Where another view has come meanwhile, this one serves for this look-up.
            self.replace_view(&view, merged);
            return Ok(self.view());
        }
        Ok(view)
    }

    /// The live entries of all contents with this prefix, in the order of their IDs. For prefixes with few contents.
    pub(crate) fn live_contents(&self, prefix: Option<ContentPrefix>) -> Result<Vec<IndexEntry>> {
        let mut live = Vec::new();
        self.each_content(
            prefix.map_or(0, ContentPrefix::letter)..=prefix.map_or(0, ContentPrefix::letter),
            |entry| {
                live.push(entry);
                Ok(())
            },
        )?;
        Ok(live)
    }

    /// Shows every live content, in the order of their IDs, without holding them.
    ///
    /// # Errors
    /// The first of `each`, or [`MoverError::Index`] when an index cannot be read: the contents behind it were not shown.
    pub fn each_live_content(&self, each: impl FnMut(IndexEntry) -> Result<()>) -> Result<()> {
        self.each_content(0..=u8::MAX, each)
    }

    fn each_content(
        &self,
        letters: std::ops::RangeInclusive<u8>,
        each: impl FnMut(IndexEntry) -> Result<()>,
    ) -> Result<()> {
        let view = self.view();
        let is_all = *letters.start() == 0 && *letters.end() == u8::MAX;
        if is_all {
            will_be_read(&view.runs, Reading::InOrder);
        }
        let shown = each_entry(&view, &letters, each);
        if is_all {
            will_be_read(&view.runs, Reading::HereAndThere);
        }
        shown
    }

    /// The indexes in figures.
    pub fn index_summary(&self) -> IndexSummary {
        let view = self.view();
        IndexSummary {
            blobs: view.covered.len(),
            entries: view.runs.iter().map(|run| run.len() as u64).sum(),
            write_epoch: view.epochs.as_ref().map(EpochState::write_epoch),
            deletion_watermark: view.watermark,
        }
    }

    /// Whether the indexes should be read again before more is deduplicated against them: three quarters of the time
    /// that Kopia trusts a listing have passed.
    pub(crate) fn index_is_ageing(&self) -> bool {
        let trusted = self.format().epoch.refresh_frequency;
        self.index_age().unsigned_abs() >= trusted / 4 * 3
    }

    /// Reads the indexes that others have written since.
    ///
    /// # Errors
    /// When the storage fails, or an index blob that counts cannot be read: the view stays what it was.
    pub async fn refresh(&self) -> Result<()> {
        self.load(false).await
    }

    /// From now on reads the storage alone: for who deletes by what the indexes say, or says whether they can be had. Where
    /// there was a cache, all indexes are read again.
    pub(crate) async fn distrust_cache(&self) -> Result<()> {
        if self.inner.cache.as_ref().is_some_and(Cache::turn_off) {
            self.load(true).await?;
        }
        Ok(())
    }

    async fn load(&self, afresh: bool) -> Result<()> {
        let nothing = IndexView::empty(self.now());
        let mut pause = std::time::Duration::from_millis(100);
        let mut vanished = 0;
        loop {
            let old = self.view();
            match self.load_view(if afresh { &nothing } else { &old }).await {
                Err(MoverError::Storage {
                    source: StorageError::NotFound { .. },
                    ..
                }) if vanished < VANISHED_MAX => {
                    vanished += 1;
                    debug!(vanished, "an index blob vanished while the indexes were read");
                    if tokio::runtime::Handle::try_current().is_ok() {
                        tokio::time::sleep(pause).await;
                    }
                    pause *= 2;
                }
                // An index that was added meanwhile may not be in the listing: then once more.
                Ok(view) => {
                    if self.replace_view(&old, view) {
                        return Ok(());
                    }
                }
                Err(MoverError::Blob { blob, source }) => {
                    if !self.leave_out(&blob) {
                        return Err(MoverError::Blob { blob, source });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes that an index blob cannot be opened; false where that is a reason to give up, or was noted before.
    fn leave_out(&self, blob: &BlobId) -> bool {
        let Some(left_out) = self.inner.left_out.get() else {
            return false;
        };
        warn!(%blob, "an index blob cannot be opened, and is left out");
        let mut left_out = left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.insert(blob.clone())
    }

    /// Whether an index blob was left out because it cannot be opened.
    pub(crate) fn is_left_out(&self, blob: &BlobId) -> bool {
        let left_out = self.inner.left_out.get();
        left_out.is_some_and(|left_out| left_out.lock().unwrap_or_else(PoisonError::into_inner).contains(blob))
    }

    async fn load_view(&self, old: &IndexView) -> Result<IndexView> {
        let now = self.now();
        let (epochs, active) = if self.format().epoch.enabled {
            let state = self.list_epochs("x").await?;
            let active = state.active_index_blobs();
            (Some(state), active)
        } else {
            (None, self.legacy_index_blobs().await?)
        };
        let active: BTreeSet<BlobId> = active.into_iter().collect();
        let watermark = epochs.as_ref().and_then(EpochState::deletion_watermark);
        let keep = old.covered.is_subset(&active);
        let mut runs = if keep { old.runs.clone() } else { Vec::new() };
        let wanted: Vec<BlobId> = active
            .iter()
            .filter(|blob| !keep || !old.covered.contains(blob))
            .cloned()
            .collect();
        let mut opened = stream::iter(wanted)
            .map(|blob| async move { self.kept_index(&blob).await })
            .buffer_unordered(READS_AT_ONCE);
        while let Some(run) = opened.try_next().await? {
            runs.extend((!run.is_empty()).then_some(run));
            if runs.len() > RUNS_WAITING_MAX || bytes_in_memory(&runs) > WAITING_BYTES_MAX {
                runs = merge_small_runs(runs)?;
            }
        }
        drop(opened);
        Ok(IndexView {
            runs,
            covered: active,
            watermark,
            epochs,
            loaded: now,
            looked_up: AtomicU64::new(0),
        })
    }

    /// An index blob from the cache, else from the storage and then into the cache.
    async fn kept_index(&self, blob: &BlobId) -> Result<Run> {
        let Some(cache) = &self.inner.cache else {
            return self.open_index(blob).await;
        };
        let kept = cache.find(blob.as_str()).map(RunBytes::from);
        if let Some(Ok(run)) = kept.map(Index::open) {
            return Ok(Arc::new(run));
        }
        let run = self.open_index(blob).await?;
        run.bytes().will_be_read(Reading::InOrder);
        cache.keep(blob.as_str(), run.bytes().as_ref());
        run.bytes().will_be_read(Reading::HereAndThere);
        Ok(run)
    }

    /// Reads and opens an index blob as it is in the storage. A large one goes into a file as it is read and is opened there, so it is never in
    /// memory as a whole.
    pub(crate) async fn open_index(&self, blob: &BlobId) -> Result<Run> {
        let bad = |source| MoverError::Blob {
            blob: blob.clone(),
            source,
        };
        let storage = &self.inner.storage;
        let failed = |source| self.storage_error("read", blob, source);
        let len = storage.metadata(blob).await.map_err(failed)?.len;
        if len <= RUN_BYTES_IN_MEMORY_MAX as u64 {
            let payload = self.open_blob(blob).await?;
            return Index::open(RunBytes::Memory(payload)).map(Arc::new).map_err(bad);
        }
        let mut file = PrivateFile::create_in(&std::env::temp_dir()).map_err(spill_error)?;
        let mut offset = 0;
        while offset < len {
            let part = (len - offset).min(READ_BYTES_MAX);
            let range = BlobRange::Part { offset, len: part };
            let bytes = storage.read(blob, range).await.map_err(failed)?;
            file.write_all(&bytes).map_err(spill_error)?;
            offset += part;
        }
        let opened = file.map_changed(|stored| self.inner.sealer.open_blob_in_place(blob, stored));
        let mapped = opened.map_err(spill_error)?.map_err(bad)?;
        Index::open(RunBytes::Mapped(mapped)).map(Arc::new).map_err(bad)
    }

    async fn list_epochs(&self, prefix: &str) -> Result<EpochState> {
        let mut blobs = Vec::new();
        let mut listed = self.inner.storage.list(prefix);
        while let Some(blob) = listed.next().await {
            let blob = blob.map_err(|source| self.storage_failed(format!("cannot list blobs {prefix}*"), source))?;
            if !self.is_left_out(&blob.id) {
                blobs.push((blob.id, blob.len, blob.modified));
            }
        }
        Ok(EpochState::from_blobs(blobs))
    }

    /// The epoch that writers add to at this moment, by the storage and not by what was read before.
    pub(crate) async fn read_write_epoch(&self) -> Result<u64> {
        Ok(self.list_epochs("xe").await?.write_epoch())
    }

    async fn legacy_index_blobs(&self) -> Result<Vec<BlobId>> {
        let indexes = self.list_names(legacy::INDEX_PREFIX).await?;
        let mut logs = Vec::new();
        for blob in self.list_names(legacy::COMPACTION_LOG_PREFIX).await? {
            let text = self.open_blob(&blob).await?;
            logs.push(CompactionLog::parse(&text).map_err(|source| MoverError::Blob { blob, source })?);
        }
        Ok(legacy::active_index_blobs(indexes, &logs))
    }

    pub(crate) async fn list_names(&self, prefix: &str) -> Result<Vec<BlobId>> {
        let listed = self
            .inner
            .storage
            .list(prefix)
            .map_ok(|blob| blob.id)
            .try_collect()
            .await;
        listed.map_err(|source| self.storage_failed(format!("cannot list blobs {prefix}*"), source))
    }

    /// Adds an index that this program has written, so that it finds its own contents without reading it back.
    /// Each of the blobs holds all of it, and is stored.
    pub(crate) fn add_own_run(&self, blobs: Vec<BlobId>, payload: Vec<u8>) -> Result<()> {
        if let Some(cache) = &self.inner.cache {
            blobs.iter().for_each(|blob| cache.keep(blob.as_str(), &payload));
        }
        let run = Index::open(RunBytes::keep(payload)?);
        let run = Arc::new(run.map_err(|source| index_error("add a new one to", source))?);
        loop {
            let old = self.view();
            let mut view = old.with_run(&blobs, run.clone());
            if view.runs.len() > RUNS_WAITING_MAX {
                view.runs = merge_small_runs(view.runs)?;
            }
            if self.replace_view(&old, view) {
                return Ok(());
            }
        }
    }

    /// How long ago the indexes were read.
    pub fn index_age(&self) -> SignedDuration {
        self.now().duration_since(self.view().loaded)
    }
}

fn each_entry(
    view: &IndexView,
    letters: &std::ops::RangeInclusive<u8>,
    mut each: impl FnMut(IndexEntry) -> Result<()>,
) -> Result<()> {
    let ranges = view.runs.iter().map(|run| {
        let places = run.places_of(letters.clone());
        places.map(|place| run.entry(place))
    });
    for entry in merge_runs(ranges, view.watermark) {
        let entry = entry.map_err(|source| index_error("read all contents from", source))?;
        if !entry.deleted {
            each(entry)?;
        }
    }
    Ok(())
}

fn will_be_read(runs: &[Run], reading: Reading) {
    runs.iter().for_each(|run| run.bytes().will_be_read(reading));
}

fn bytes_in_memory(runs: &[Run]) -> usize {
    let held = runs.iter().map(|run| match run.bytes() {
        RunBytes::Memory(bytes) => bytes.len(),
        RunBytes::Mapped(_) => 0,
    });
    held.sum()
}

/// Merges all but the largest runs into one, so that look-ups stay quick. Deleted entries are kept: they hide older
/// ones in other runs. Runs of other key lengths than the rest are left as they are.
fn merge_small_runs(mut runs: Vec<Run>) -> Result<Vec<Run>> {
    let Some(key_len) = runs.iter().max_by_key(|run| run.len()).map(|run| run.key_len()) else {
        return Ok(runs);
    };
    runs.sort_by_key(|run| std::cmp::Reverse((run.key_len() == key_len, run.len())));
    let same = runs.iter().take_while(|run| run.key_len() == key_len).count();
    let lens: Vec<usize> = runs[..same].iter().map(|run| run.len()).collect();
    let kept = worth_keeping(&lens);
    if same - kept < 2 {
        return Ok(runs);
    }
    let merged = merge_into_one(&runs[kept..same], key_len)?;
    runs.splice(kept..same, [merged]);
    Ok(runs)
}

/// How many of the runs, by their lengths, largest first, are not copied: those that dwarf everything after them, and as
/// many as it takes for the rest to be one run.
fn worth_keeping(lens: &[usize]) -> usize {
    let mut rest: usize = lens.iter().sum();
    let mut kept = 0;
    for len in lens {
        let fits = rest <= MERGED_ENTRIES_MAX;
        rest -= len;
        if fits && (kept >= RUNS_MAX / 2 || *len < rest) {
            break;
        }
        kept += 1;
    }
    kept
}

fn merge_into_one(runs: &[Run], key_len: usize) -> Result<Run> {
    will_be_read(runs, Reading::InOrder);
    let mut encoder = StreamingEncoder::new(key_len);
    let mut sink = Spill::default();
    let mut bytes = vec![0; HeaderV2::SIZE];
    for entry in merge_runs(
        runs.iter().map(|run| (0..run.len()).map(|place| run.entry(place))),
        None,
    ) {
        let pushed = entry.and_then(|entry| encoder.push(&entry, &mut bytes));
        pushed.map_err(|source| index_error("merge", source))?;
        if bytes.len() >= RUN_BYTES_IN_MEMORY_MAX {
            sink.write(&mut bytes)?;
        }
    }
    let header = encoder.finish(&mut bytes);
    let payload = sink.finish(bytes, &header)?;
    let merged = Index::open(payload).map(Arc::new);
    merged.map_err(|source| index_error("merge", source))
}

/// Takes a run as it is made: memory for a small one, a file for a large one.
#[derive(Default)]
struct Spill {
    file: Option<PrivateFile>,
}

impl Spill {
    fn write(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        if self.file.is_none() {
            self.file = Some(PrivateFile::create_in(&std::env::temp_dir()).map_err(spill_error)?);
        }
        self.file
            .as_mut()
            .expect("made above")
            .write_all(bytes)
            .map_err(spill_error)?;
        bytes.clear();
        Ok(())
    }

    fn finish(mut self, mut bytes: Vec<u8>, header: &[u8; HeaderV2::SIZE]) -> Result<RunBytes> {
        if self.file.is_none() {
            bytes[..HeaderV2::SIZE].copy_from_slice(header);
            return Ok(RunBytes::Memory(bytes));
        }
        self.write(&mut bytes)?;
        let file = self.file.expect("written to above");
        let finish = || -> io::Result<Mapped> {
            file.write_all_at(header, 0)?;
            file.map()
        };
        finish().map(RunBytes::Mapped).map_err(spill_error)
    }
}

#[cfg(test)]
mod tests;
