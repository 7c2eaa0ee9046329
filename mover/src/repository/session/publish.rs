//! The release desk: what a session has stored is given to all, in the only order that is safe.

use windlass_repo_format::FormatError;
use windlass_repo_format::compression::Compression;
use windlass_repo_format::epoch::uncompacted_blob_prefix;
use windlass_repo_format::id::{BlobId, ContentPrefix};
use windlass_repo_format::index::{ENTRIES_MAX_PER_INDEX, IndexEntry, encode_v2};
use windlass_repo_format::manifest::encode_batch;

use super::pending::Pending;
use super::{WriteSession, lock};
use crate::error::{MoverError, Result};

/// When so many contents wait for an index, one is written, so that memory does not grow with the session: each takes
/// about 300 bytes while it waits.
pub(super) const UNINDEXED_MAX: usize = 50_000;
/// An index is written at least so often, so that an interrupted session loses little (Kopia flushes as often).
const FLUSH_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// An index that came too late is written again at most until there are so many of it: an epoch lasts minutes at least.
const LATE_INDEXES_MAX: usize = 10;

impl WriteSession {
    /// Does what is due while a long run goes on: writes an index when many contents wait for one or time has
    /// passed, and reads the indexes anew before they are too old to deduplicate against.
    pub(crate) async fn tend(&self) -> Result<()> {
        let now = self.repository.now();
        let flush_due = now.duration_since(*lock(&self.last_flush)) >= FLUSH_EVERY;
        let stored = lock(&self.pending).stored;
        if stored >= self.unindexed_max || (stored > 0 && flush_due) {
            self.check_not_failed()?;
            self.publish_stored().await.inspect_err(|_| self.fail())?;
            *lock(&self.last_flush) = now;
        }
        if self.repository.index_is_ageing() {
            self.repository.refresh().await?;
        }
        Ok(())
    }

    /// Waits until every content that was claimed before now is stored, while other threads go on writing. Afterwards
    /// a directory that names such contents can be published.
    pub(crate) async fn settle(&self) -> Result<()> {
        let generation = {
            let mut pending = lock(&self.pending);
            pending.generation += 1;
            pending.generation - 1
        };
        // Not before they all have their places are the open packs taken from those who fill them, and only once.
        self.wait_until(|pending| pending.unpacked.are_past(generation)).await?;
        self.store_open_packs().await?;
        self.wait_until(|pending| pending.unstored.are_past(generation)).await
    }

    async fn wait_until(&self, is_so: impl Fn(&Pending) -> bool) -> Result<()> {
        loop {
            // Made before looking, so that no change is missed.
            let change = self.change.notified();
            self.check_not_failed()?;
            if is_so(&lock(&self.pending)) {
                return Ok(());
            }
            change.await;
        }
    }

    async fn store_open_packs(&self) -> Result<()> {
        for (pack, _place) in self.data.clear().into_iter().chain(self.metadata.clear()) {
            let closed = self.close_pack(pack)?;
            self.store_pack(closed).await?;
        }
        Ok(())
    }

    /// Publishes everything written so far and ends the session's claim on packs that no index names: nobody else may
    /// be writing through it at this moment.
    ///
    /// # Errors
    /// When anything could not be stored, now or earlier in this session, or each index came too late for its epoch
    /// ([`MoverError::EpochsRaceAhead`]). What was not published then never is; what is stored is found by the next run.
    pub async fn flush(&self) -> Result<()> {
        self.publish().await?;
        self.remove_markers().await;
        Ok(())
    }

    /// Publishes everything written so far, while other threads go on writing: manifests, packs, indexes, in this order
    /// of need: a manifest is itself a content, and no index is written before the packs that it names.
    pub(crate) async fn publish(&self) -> Result<()> {
        self.check_not_failed()?;
        let published = self.publish_all().await;
        if published.is_err() {
            self.fail();
        }
        published
    }

    async fn publish_all(&self) -> Result<()> {
        let manifests = std::mem::take(&mut lock(&self.pending).manifests);
        if !manifests.is_empty() {
            let batch = encode_batch(&manifests);
            self.write_content(Some(ContentPrefix::MANIFEST), &batch, Some(Compression::ZstdFastest))
                .await?;
        }
        // Not only the open packs: the manifests may be in one that another has filled and that is on its way.
        self.settle().await?;
        self.publish_stored().await?;
        *lock(&self.last_flush) = self.repository.now();
        Ok(())
    }

    /// Writes an index of all contents whose packs are stored.
    async fn publish_stored(&self) -> Result<()> {
        let mut entries = lock(&self.pending).unindexed();
        if entries.is_empty() {
            return Ok(());
        }
        entries.sort_unstable_by_key(|entry| entry.id);
        let payload = encode_v2(&entries).map_err(|source| not_writable(&entries, source))?;
        self.write_marker().await?;
        let (blobs, bytes) = self.write_index(&payload).await?;
        let count = blobs.len() as u64;
        self.repository.add_own_run(blobs, payload)?;
        let mut pending = lock(&self.pending);
        pending.indexed(&entries);
        pending.summary.blobs += count;
        pending.summary.stored_bytes += bytes;
        Ok(())
    }

    /// Writes an index of contents whose packs are stored already, or of their deletion, and gives how many blobs that
    /// took. The entries are sorted, one per content.
    pub(crate) async fn publish_entries(&self, entries: &[IndexEntry]) -> Result<u64> {
        let mut count = 0;
        for entries in entries.chunks(ENTRIES_MAX_PER_INDEX) {
            let payload = encode_v2(entries).map_err(|source| not_writable(entries, source))?;
            let (blobs, _) = self.write_index(&payload).await?;
            count += blobs.len() as u64;
            self.repository.add_own_run(blobs, payload)?;
        }
        Ok(count)
    }

    /// Writes an index blob into the current epoch, and looks afterwards whether the epoch was still open to writers.
    ///
    /// A blob that arrives two epochs late may be overlooked by a compaction that ran meanwhile, so it is written
    /// again into the epoch that is current then. The late one is left alone: it does no harm.
    async fn write_index(&self, payload: &[u8]) -> Result<(Vec<BlobId>, u64)> {
        let mut written = Vec::new();
        let mut bytes_written = 0;
        while written.len() < LATE_INDEXES_MAX {
            let epoch = self.repository.read_write_epoch().await?;
            let prefix = uncompacted_blob_prefix(epoch);
            let suffix = format!("{}-c1", self.id);
            let nonce = self.repository.random_bytes();
            let (blob, bytes) = self.repository.sealer().seal_blob(&prefix, &suffix, &nonce, payload);
            bytes_written += self.put(&blob, bytes.into()).await?;
            written.push(blob);
            if self.repository.read_write_epoch().await? < epoch + 2 {
                return Ok((written, bytes_written));
            }
        }
        Err(MoverError::EpochsRaceAhead {
            attempts: written.len(),
        })
    }
}

fn not_writable(entries: &[IndexEntry], source: FormatError) -> MoverError {
    MoverError::NotWritable {
        what: format!("an index of {} contents", entries.len()),
        source,
    }
}
