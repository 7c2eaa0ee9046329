//! The stock-taking of the catalogue: the indexes as they were at one moment, every entry with a number, so that what is
//! to be remembered of each content is a bit and not a name.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use windlass_repo_format::encryption::NONCE_LEN;
use windlass_repo_format::epoch::{EpochState, ListedBlob, index_blob_suffix};
use windlass_repo_format::id::{BlobId, ContentId};
use windlass_repo_format::index::{ENTRIES_MAX_PER_INDEX, HeaderV2, IndexEntry, StreamingEncoder, look_up, merge_runs};

use super::{
    READS_AT_ONCE, RUN_BYTES_IN_MEMORY_MAX, RUNS_MAX, RUNS_WAITING_MAX, Run, WAITING_BYTES_MAX, bytes_in_memory,
    index_error, merge_small_runs, spill_error, will_be_read,
};
use crate::error::{MoverError, Result};
use crate::mapped::{Mapped, PrivateFile, Reading};
use crate::repository::Repository;

/// While an index is written, each pack that it names takes about 150 bytes of memory; then the next index begins.
const PACKS_MAX_PER_SHARD: usize = 400_000;

/// What the indexes said at one moment. Every entry of every run has a number below [`Frozen::entries`].
#[derive(Debug)]
pub(crate) struct Frozen {
    runs: Vec<Run>,
    /// The number of the first entry of each run.
    starts: Vec<u64>,
    entries: u64,
    watermark: Option<i64>,
}

impl Frozen {
    fn new(runs: Vec<Run>, watermark: Option<i64>) -> Self {
        let mut entries = 0;
        let starts = runs.iter().map(|run| {
            let start = entries;
            entries += run.len() as u64;
            start
        });
        let starts = starts.collect();
        Self {
            runs,
            starts,
            entries,
            watermark,
        }
    }

    /// The same, as it will look once the deletion watermark has moved on to `seconds`.
    pub(crate) fn with_watermark(self, seconds: i64) -> Self {
        let watermark = self.watermark.max(Some(seconds));
        Self { watermark, ..self }
    }

    /// How many entries there are, the same content counted once for each run that names it.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// The number by which a content is remembered, whichever of its entries is asked for; `None` for an unknown one.
    pub(crate) fn number(&self, id: &ContentId) -> Option<u64> {
        let runs = self.runs.iter().zip(&self.starts);
        let mut places = runs.filter_map(|(run, start)| run.place(id).map(|place| start + place as u64));
        places.next()
    }

    /// The winning entry of a content, deleted ones above the watermark included.
    pub(crate) fn find(&self, id: &ContentId) -> Result<Option<IndexEntry>> {
        let found = look_up(self.runs.iter().map(Arc::as_ref), id, self.watermark);
        found.map_err(|source| index_error(format!("look up content {id} in"), source))
    }

    /// Shows the winning entry of every content with the content's number, in the order of their IDs: live ones, and
    /// deleted ones above the watermark.
    pub(crate) fn each(&self, each: impl FnMut(u64, IndexEntry) -> Result<()>) -> Result<()> {
        will_be_read(&self.runs, Reading::InOrder);
        let shown = self.each_in_order(each);
        will_be_read(&self.runs, Reading::HereAndThere);
        shown
    }

    fn each_in_order(&self, mut each: impl FnMut(u64, IndexEntry) -> Result<()>) -> Result<()> {
        let mut reached = vec![0; self.runs.len()];
        let entries = self.runs.iter().map(|run| (0..run.len()).map(|place| run.entry(place)));
        for entry in merge_runs(entries, self.watermark) {
            let entry = entry.map_err(|source| index_error("read all contents from", source))?;
            // A run that is not sorted, as nobody writes it, is searched instead.
            let number = self.number_in_order(&mut reached, entry.id.as_key());
            let number = number.or_else(|| self.number(&entry.id));
            each(number.ok_or(MoverError::ContentMissing { id: entry.id })?, entry)?;
        }
        Ok(())
    }

    /// As [`Frozen::number`], for keys that come in order: each run has been looked at up to where the last call left it.
    fn number_in_order(&self, reached: &mut [usize], key: &[u8]) -> Option<u64> {
        for ((run, start), reached) in self.runs.iter().zip(&self.starts).zip(reached) {
            while *reached < run.len() && run.key(*reached) < key {
                *reached += 1;
            }
            if *reached < run.len() && run.key(*reached) == key {
                return Some(start + *reached as u64);
            }
        }
        None
    }
}

impl Repository {
    /// What the indexes say now, as they were last read.
    pub(crate) fn frozen(&self) -> Result<Frozen> {
        let view = self.view();
        if view.runs.len() <= RUNS_MAX {
            return Ok(Frozen::new(view.runs.clone(), view.watermark));
        }
        let runs = merge_small_runs(view.runs.clone())?;
        // Everybody profits. Where another view has come meanwhile, only this caller does.
        self.replace_view(&view, view.with_runs(runs.clone()));
        Ok(Frozen::new(runs, view.watermark))
    }

    /// What the index blobs of the repository are at this moment, by the storage.
    pub(crate) async fn read_epochs(&self) -> Result<EpochState> {
        self.list_epochs("x").await
    }

    /// Merges index blobs into a set of new ones that replaces them, and stores it. Gives the names: none where there is
    /// no entry.
    ///
    /// Nothing is dropped: deleted entries hide others, and who reads the set decides by the watermark. The set is made in
    /// files and counts only when its last blob is stored.
    pub(crate) async fn store_compacted(&self, inputs: &[BlobId], prefix: &str) -> Result<Vec<BlobId>> {
        let mut runs: Vec<Run> = Vec::new();
        let mut opened = stream::iter(inputs)
            .map(|blob| self.open_index(blob))
            .buffered(READS_AT_ONCE);
        while let Some(run) = opened.try_next().await? {
            runs.extend((!run.is_empty()).then_some(run));
            if runs.len() > RUNS_WAITING_MAX || bytes_in_memory(&runs) > WAITING_BYTES_MAX {
                runs = merge_small_runs(runs)?;
            }
        }
        drop(opened);
        let shards = self.write_shards(&runs)?;
        let set: [u8; 8] = self.random_bytes();
        let suffix = index_blob_suffix(&format!("s{}", hex::encode(set)), shards.len());
        let mut stored = Vec::new();
        for shard in shards {
            let (blob, body) = self.seal_shard(shard, prefix, &suffix)?;
            self.put_blob(&blob, body).await?;
            stored.push(blob);
        }
        Ok(stored)
    }

    fn write_shards(&self, runs: &[Run]) -> Result<Vec<PrivateFile>> {
        will_be_read(runs, Reading::InOrder);
        let entries = runs.iter().map(|run| (0..run.len()).map(|place| run.entry(place)));
        let room = self.sealer().room_around().unwrap_or((0, 0));
        let mut shards = Vec::new();
        let mut open: Option<Shard> = None;
        for entry in merge_runs(entries, None) {
            let entry = entry.map_err(|source| index_error("merge", source))?;
            if open.as_ref().is_some_and(Shard::is_full)
                && let Some(full) = open.take()
            {
                shards.push(full.finish()?);
            }
            let shard = match &mut open {
                Some(shard) => shard,
                none => none.insert(Shard::begin(entry.id.as_key().len(), room)?),
            };
            shard.push(&entry)?;
        }
        if let Some(last) = open {
            shards.push(last.finish()?);
        }
        Ok(shards)
    }

    fn seal_shard(&self, shard: PrivateFile, prefix: &str, suffix: &str) -> Result<(BlobId, bytes::Bytes)> {
        let nonce: [u8; NONCE_LEN] = self.random_bytes();
        let sealer = self.sealer();
        if sealer.room_around().is_none() {
            let plain = shard.map().map_err(spill_error)?;
            let (blob, stored) = sealer.seal_blob(prefix, suffix, &nonce, &plain);
            return Ok((blob, stored.into()));
        }
        let mut name = None;
        let sealed = shard.map_changed(|room| {
            name = Some(sealer.seal_blob_in_place(prefix, suffix, &nonce, room));
            Ok::<Range<usize>, std::convert::Infallible>(0..room.len())
        });
        let Ok(sealed): std::result::Result<Mapped, _> = sealed.map_err(spill_error)?;
        sealed.will_be_read(Reading::InOrder);
        let name = name.expect("the name was given where the blob was sealed");
        Ok((name, bytes::Bytes::from_owner(sealed)))
    }
}

/// The names of some blobs.
pub(crate) fn names<'a>(blobs: impl IntoIterator<Item = &'a ListedBlob>) -> Vec<BlobId> {
    blobs.into_iter().map(|blob| blob.id.clone()).collect()
}

/// An index that is being written into a file, with room around it for what sealing adds.
struct Shard {
    encoder: StreamingEncoder,
    file: PrivateFile,
    bytes: Vec<u8>,
    room: (usize, usize),
}

impl Shard {
    fn begin(key_len: usize, room: (usize, usize)) -> Result<Self> {
        Ok(Self {
            encoder: StreamingEncoder::new(key_len),
            file: PrivateFile::create_in(&std::env::temp_dir()).map_err(spill_error)?,
            bytes: vec![0; room.0 + HeaderV2::SIZE],
            room,
        })
    }

    fn is_full(&self) -> bool {
        self.encoder.len() >= ENTRIES_MAX_PER_INDEX || self.encoder.packs() >= PACKS_MAX_PER_SHARD
    }

    fn push(&mut self, entry: &IndexEntry) -> Result<()> {
        let pushed = self.encoder.push(entry, &mut self.bytes);
        pushed.map_err(|source| index_error("merge", source))?;
        if self.bytes.len() >= RUN_BYTES_IN_MEMORY_MAX {
            self.write().map_err(spill_error)?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    fn finish(self) -> Result<PrivateFile> {
        let Self {
            encoder,
            mut file,
            mut bytes,
            room,
        } = self;
        let header = encoder.finish(&mut bytes);
        bytes.resize(bytes.len() + room.1, 0);
        let written = file.write_all(&bytes);
        let written = written.and_then(|()| file.write_all_at(&header, room.0 as u64));
        written.map_err(spill_error)?;
        Ok(file)
    }
}
