//! The writing room: contents go in, packs and then indexes go out, in the only order that is safe.

use std::collections::btree_map;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tracing::debug;
use windlass_repo_format::compression::{Compression, Compressor};
use windlass_repo_format::encryption::NONCE_LEN;
use windlass_repo_format::format_blob::BlobConfig;
use windlass_repo_format::id::{BlobId, ContentHash, ContentId, ContentPrefix};
use windlass_repo_format::index::{IndexEntry, encode_v2};
use windlass_repo_format::manifest::{ManifestEntry, ManifestId, encode_batch};
use windlass_repo_format::pack::{ClosedPack, NewContent, OpenPack, PackClass, pack_blob_id};
use windlass_repo_format::quantity::ContentLen;
use windlass_repo_format::session::{SessionId, SessionMarker};

use super::Repository;
use crate::error::{MoverError, Result};
use crate::storage::{PutOptions, Retention};

/// When so many contents wait for an index, one is written, so that memory does not grow with the session.
const UNINDEXED_MAX: usize = 200_000;
/// An index is written at least so often, so that an interrupted session loses little (Kopia flushes as often).
const FLUSH_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// A session marker older than this is written anew: clean-up spares packs for 96 hours after it.
const MARKER_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_hours(12);
/// Buffers of blobs at least so large are used again, so many of them at most.
const RECYCLED_BYTES_MIN: usize = 4 << 20;
const SPARE_PACKS_MAX: usize = 2;
/// How long to wait for packs under way before looking again.
const SETTLE_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);
/// The random bytes that a pack begins with and is padded with.
const PREAMBLE_LEN: usize = 32;
const PADDING_LEN_MAX: usize = 4096;

/// A run of writes into a repository. Nothing it wrote can be seen by others before [`WriteSession::flush`].
///
/// The order is: packs, then the indexes that name their contents, then the removal of the session's marker. Shared
/// by the stages of a pipeline; dropped without a flush it leaves only packs that nothing refers to.
#[derive(Debug)]
pub struct WriteSession {
    repository: Repository,
    pending: Mutex<Pending>,
    packs: Mutex<OpenPacks>,
    marker: tokio::sync::Mutex<Option<Marker>>,
    id: SessionId,
    last_flush: Mutex<Timestamp>,
    /// Buffers of packs that were stored.
    spare_packs: SparePacks,
}

type SparePacks = Arc<Mutex<Vec<Vec<u8>>>>;

/// The bytes of a blob on its way into storage; a large buffer is kept for the next pack.
struct Recycled {
    bytes: Vec<u8>,
    spare: SparePacks,
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        if self.bytes.capacity() >= RECYCLED_BYTES_MIN {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            let mut spare = lock(&self.spare);
            if spare.len() < SPARE_PACKS_MAX {
                spare.push(bytes);
            }
        }
    }
}

#[derive(Debug)]
struct Marker {
    blobs: Vec<BlobId>,
    start: Timestamp,
    written: Timestamp,
}

#[derive(Debug, Default)]
struct Pending {
    contents: HashMap<ContentId, PendingContent>,
    /// Entries for contents that are to be hidden from listings and deduplication.
    deletions: Vec<IndexEntry>,
    /// How many of `contents` are [`PendingContent::Stored`].
    stored: usize,
    manifests: Vec<ManifestEntry>,
    summary: SessionSummary,
    failed: bool,
    /// Goes up with every [`WriteSession::settle`].
    generation: u64,
    /// How many contents of each generation are claimed and not yet stored.
    claimed: BTreeMap<u64, usize>,
}

#[derive(Debug)]
enum PendingContent {
    /// Somewhere between the hash and the end of its pack's upload, since this generation.
    Claimed(u64),
    /// In a pack that is safely stored, in no index yet.
    Stored(IndexEntry),
}

#[derive(Debug, Default)]
struct OpenPacks {
    data: Option<OpenPack>,
    metadata: Option<OpenPack>,
}

/// What a session has written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// Contents that were not in the repository before.
    pub new_contents: u64,
    /// Their bytes as their owner sees them.
    pub new_bytes: u64,
    /// Pack and index blobs stored.
    pub blobs: u64,
    /// Bytes of those blobs.
    pub stored_bytes: u64,
}

/// A content after hashing: known to the repository, or sealed and waiting for its place in a pack.
#[derive(Debug)]
pub(crate) enum Sealed {
    Known,
    New { about: NewContent, bytes: Vec<u8> },
}

/// What one thread needs to seal contents: compressors that are costly to make.
#[derive(Default)]
pub(crate) struct SealingTools {
    compressors: HashMap<Compression, Compressor>,
    compressed: Vec<u8>,
}

/// Where the contents of an object are written to while the object is being cut into them.
pub(crate) trait ContentSink {
    /// Writes one content and gives its ID.
    fn write(
        &mut self,
        prefix: Option<ContentPrefix>,
        plain: &[u8],
        compression: Option<Compression>,
    ) -> Result<ContentId>;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Repository {
    /// Begins to write. Many sessions, of this program and of Kopia, may write at the same time.
    ///
    /// # Errors
    /// A repository of format version 1 is read only.
    pub fn write_session(&self) -> Result<WriteSession> {
        let version = self.format().version.number();
        if version < 2 {
            return Err(MoverError::ReadOnlyFormat { version });
        }
        Ok(WriteSession {
            id: SessionId::new(self.random_bytes(), self.now()),
            pending: Mutex::default(),
            packs: Mutex::default(),
            marker: tokio::sync::Mutex::default(),
            last_flush: Mutex::new(self.now()),
            spare_packs: SparePacks::default(),
            repository: self.clone(),
        })
    }
}

impl WriteSession {
    /// The repository that is written to.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What has been written so far.
    pub fn summary(&self) -> SessionSummary {
        lock(&self.pending).summary
    }

    /// Marks the session as failed: nothing that it has not yet published will be.
    pub(crate) fn fail(&self) {
        lock(&self.pending).failed = true;
    }

    fn check_not_failed(&self) -> Result<()> {
        if lock(&self.pending).failed {
            Err(MoverError::SessionFailed)
        } else {
            Ok(())
        }
    }

    /// Decides whether a content must be written, and takes on the duty to write it.
    ///
    /// Gives the timestamp for its index entry, or `None` when the repository or this session already has it. An
    /// entry that is marked deleted does not count: it is written again, with a later time.
    fn claim(&self, id: &ContentId) -> Result<Option<i64>> {
        if lock(&self.pending).contents.contains_key(id) {
            return Ok(None);
        }
        let now = self.repository.now().as_second();
        let timestamp = match self.repository.find(id)? {
            Some(entry) if !entry.deleted => return Ok(None),
            Some(deleted) => now.max(deleted.timestamp + 1),
            None => now,
        };
        let mut pending = lock(&self.pending);
        if pending.failed {
            return Err(MoverError::SessionFailed);
        }
        let generation = pending.generation;
        match pending.contents.entry(*id) {
            Entry::Occupied(_) => Ok(None),
            Entry::Vacant(place) => {
                place.insert(PendingContent::Claimed(generation));
                *pending.claimed.entry(generation).or_default() += 1;
                Ok(Some(timestamp))
            }
        }
    }

    /// Looks a hashed content up, and compresses and encrypts it if it is new, into what `buffer` gives for a length.
    pub(crate) fn seal(
        &self,
        tools: &mut SealingTools,
        prefix: Option<ContentPrefix>,
        hash: &ContentHash,
        plain: &[u8],
        compression: Option<Compression>,
        buffer: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<(ContentId, Sealed)> {
        let id = ContentId::new(prefix, hash);
        let Some(timestamp) = self.claim(&id)? else {
            return Ok((id, Sealed::Known));
        };
        let sealer = self.repository.sealer();
        let original_len = ContentLen::of(plain).ok_or(MoverError::BadOption {
            option: "splitter",
            value: self.repository.format().splitter.clone(),
            reason: "it made a content of 256 MiB or more",
        })?;
        let shrunk = compression.filter(|compression| tools.compress(*compression, plain));
        let stored = if shrunk.is_some() { &tools.compressed } else { plain };
        let nonce: [u8; NONCE_LEN] = self.repository.random_bytes();
        let mut bytes = buffer(sealer.sealed_len(stored.len()));
        sealer.seal_into(hash.iv(), &nonce, stored, &mut bytes);
        let about = NewContent {
            id,
            original_len,
            compression: shrunk.map_or(0, Compression::header_id),
            format_version: self.repository.format().version.number(),
            timestamp,
        };
        Ok((id, Sealed::New { about, bytes }))
    }

    /// Puts a sealed content into the open pack of its class; gives the pack when that made it full.
    pub(crate) fn append(&self, about: NewContent, bytes: &[u8]) -> Result<Option<ClosedPack>> {
        let class = PackClass::of(&about.id);
        let full = u64::from(self.repository.format().max_pack_size);
        let mut packs = lock(&self.packs);
        let place = packs.place(class);
        let pack = place.get_or_insert_with(|| self.open_pack(class));
        let original_len = u64::from(about.original_len.bytes());
        pack.add(about, bytes).map_err(|source| MoverError::Blob {
            blob: pack.id().clone(),
            source,
        })?;
        let closed = if pack.len() as u64 >= full { place.take() } else { None };
        drop(packs);
        {
            let mut pending = lock(&self.pending);
            pending.summary.new_contents += 1;
            pending.summary.new_bytes += original_len;
        }
        closed.map(|pack| self.close_pack(pack, &[])).transpose()
    }

    fn open_pack(&self, class: PackClass) -> OpenPack {
        let id = pack_blob_id(class, self.repository.random_bytes(), &self.id.to_string());
        let preamble: [u8; PREAMBLE_LEN] = self.repository.random_bytes();
        let spare = lock(&self.spare_packs).pop();
        OpenPack::new(id, spare.unwrap_or_default(), preamble)
    }

    fn close_pack(&self, pack: OpenPack, markers: &[IndexEntry]) -> Result<ClosedPack> {
        let id = pack.id().clone();
        let mut padding = vec![0; PADDING_LEN_MAX];
        self.repository.fill_random(&mut padding);
        let nonce = self.repository.random_bytes();
        let tail = self.repository.random_bytes();
        pack.close(self.repository.sealer(), &nonce, &padding, tail, markers)
            .map_err(|source| MoverError::Blob { blob: id, source })
    }

    /// Stores a full pack. Only afterwards do its contents count as written.
    pub(crate) async fn store_pack(&self, pack: ClosedPack) -> Result<()> {
        self.check_not_failed()?;
        let stored = self.store_pack_blob(&pack.id, pack.bytes).await;
        let mut pending = lock(&self.pending);
        match stored {
            Ok(len) => {
                pending.summary.blobs += 1;
                pending.summary.stored_bytes += len;
                for entry in pack.entries {
                    pending.stored += 1;
                    let before = pending.contents.insert(entry.id, PendingContent::Stored(entry));
                    if let Some(PendingContent::Claimed(generation)) = before
                        && let btree_map::Entry::Occupied(mut left) = pending.claimed.entry(generation)
                    {
                        *left.get_mut() -= 1;
                        if *left.get() == 0 {
                            left.remove();
                        }
                    }
                }
                Ok(())
            }
            Err(error) => {
                pending.failed = true;
                Err(error)
            }
        }
    }

    async fn store_pack_blob(&self, id: &BlobId, bytes: Vec<u8>) -> Result<u64> {
        self.write_marker().await?;
        self.put(id, bytes).await
    }

    async fn put(&self, id: &BlobId, bytes: Vec<u8>) -> Result<u64> {
        let len = bytes.len() as u64;
        let options = put_options(id, self.repository.blob_config(), self.repository.now());
        let body = Bytes::from_owner(Recycled {
            bytes,
            spare: self.spare_packs.clone(),
        });
        let put = self.repository.storage().put(id, body, &options).await;
        let stored = put.map_err(|source| self.repository.storage_error("write", id, source))?;
        if stored.len != len {
            return Err(MoverError::StoredLength {
                blob: id.clone(),
                wanted: len,
                found: stored.len,
            });
        }
        debug!(blob = %id, bytes = len, "stored");
        Ok(len)
    }

    /// Makes sure that clean-up by others spares the packs of this session while no index names them.
    async fn write_marker(&self) -> Result<()> {
        let mut marker = self.marker.lock().await;
        let now = self.repository.now();
        if marker
            .as_ref()
            .is_some_and(|marker| now.duration_since(marker.written) < MARKER_EVERY)
        {
            return Ok(());
        }
        let start = marker.as_ref().map_or(now, |marker| marker.start);
        let identity = self.repository.identity();
        let text = SessionMarker {
            id: self.id.clone(),
            start_time: start,
            checkpoint_time: now,
            username: identity.user.clone(),
            hostname: identity.host.clone(),
        };
        let nonce = self.repository.random_bytes();
        let (blob, bytes) = self
            .repository
            .sealer()
            .seal_blob("s", &self.id.to_string(), &nonce, &text.to_json());
        self.put(&blob, bytes).await?;
        let marker = marker.get_or_insert_with(|| Marker {
            blobs: Vec::new(),
            start,
            written: now,
        });
        marker.written = now;
        marker.blobs.push(blob);
        Ok(())
    }

    /// Writes one content through all steps; packs that become full are stored before this returns.
    pub async fn write_content(
        &self,
        prefix: Option<ContentPrefix>,
        plain: &[u8],
        compression: Option<Compression>,
    ) -> Result<ContentId> {
        let hash = self.repository.sealer().hash(plain);
        let mut tools = SealingTools::default();
        let (id, sealed) = self.seal(&mut tools, prefix, &hash, plain, compression, Vec::with_capacity)?;
        if let Sealed::New { about, bytes } = sealed
            && let Some(pack) = self.append(about, &bytes)?
        {
            self.store_pack(pack).await?;
        }
        Ok(id)
    }

    /// Adds a manifest; it becomes visible with the next [`WriteSession::flush`].
    pub fn put_manifest(
        &self,
        labels: BTreeMap<String, String>,
        data: Box<serde_json::value::RawValue>,
    ) -> ManifestEntry {
        let entry = ManifestEntry {
            id: ManifestId::new(self.repository.random_bytes()),
            labels,
            modified: self.repository.now(),
            deleted: false,
            data: Some(data),
        };
        lock(&self.pending).manifests.push(entry.clone());
        entry
    }

    /// Deletes a manifest; it disappears with the next [`WriteSession::flush`].
    ///
    /// The deletion is dated after the manifest's own last change, whatever the clock says.
    pub fn delete_manifest(&self, manifest: &ManifestEntry) {
        let after = manifest
            .modified
            .checked_add(jiff::SignedDuration::from_nanos(1))
            .unwrap_or(Timestamp::MAX);
        let deletion = ManifestEntry {
            id: manifest.id,
            labels: Default::default(),
            modified: self.repository.now().max(after),
            deleted: true,
            data: None,
        };
        lock(&self.pending).manifests.push(deletion);
    }

    /// Does what is due while a long run goes on: writes an index when many contents wait for one or time has
    /// passed, and reads the indexes anew before they are too old to deduplicate against.
    pub(crate) async fn tend(&self) -> Result<()> {
        let now = self.repository.now();
        let flush_due = now.duration_since(*lock(&self.last_flush)) >= FLUSH_EVERY;
        let stored = lock(&self.pending).stored;
        if stored >= UNINDEXED_MAX || (stored > 0 && flush_due) {
            self.publish_stored(Vec::new()).await?;
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
        loop {
            self.check_not_failed()?;
            if lock(&self.pending).claimed.range(..=generation).next().is_none() {
                return Ok(());
            }
            self.store_open_packs(&[]).await?;
            std::thread::sleep(SETTLE_PAUSE);
        }
    }

    async fn store_open_packs(&self, deletions: &[IndexEntry]) -> Result<()> {
        let (data, metadata) = {
            let mut packs = lock(&self.packs);
            (packs.data.take(), packs.metadata.take())
        };
        for (pack, markers) in [(data, &[][..]), (metadata, deletions)] {
            if let Some(pack) = pack {
                let closed = self.close_pack(pack, markers)?;
                self.store_pack(closed).await?;
            }
        }
        Ok(())
    }

    /// Publishes everything written so far: manifests, packs, indexes, in this order of need: a manifest is itself a
    /// content, and no index is written before the packs that it names.
    pub async fn flush(&self) -> Result<()> {
        self.check_not_failed()?;
        let flushed = self.flush_all().await;
        if flushed.is_err() {
            self.fail();
        }
        flushed
    }

    async fn flush_all(&self) -> Result<()> {
        let manifests = std::mem::take(&mut lock(&self.pending).manifests);
        if !manifests.is_empty() {
            let batch = encode_batch(&manifests);
            self.write_content(Some(ContentPrefix::MANIFEST), &batch, Some(Compression::ZstdFastest))
                .await?;
        }
        let deletions = std::mem::take(&mut lock(&self.pending).deletions);
        self.store_open_packs(&deletions).await?;
        self.publish_stored(deletions).await?;
        self.remove_markers().await;
        *lock(&self.last_flush) = self.repository.now();
        Ok(())
    }

    /// Writes an index of all contents whose packs are stored.
    async fn publish_stored(&self, deletions: Vec<IndexEntry>) -> Result<()> {
        let mut entries: Vec<IndexEntry> = {
            let pending = lock(&self.pending);
            let stored = pending.contents.values().filter_map(|content| match content {
                PendingContent::Stored(entry) => Some(entry.clone()),
                PendingContent::Claimed(_) => None,
            });
            stored.collect()
        };
        entries.extend(deletions);
        if entries.is_empty() {
            return Ok(());
        }
        entries.sort_unstable_by(|a, b| a.id.cmp(&b.id).then_with(|| b.supersedes(a).cmp(&a.supersedes(b))));
        entries.dedup_by(|later, first| later.id == first.id);
        let payload = encode_v2(&entries).map_err(MoverError::Settings)?;
        self.write_marker().await?;
        let (blobs, bytes) = self.write_index(&payload).await?;
        self.repository.add_own_run(blobs, payload)?;
        let mut pending = lock(&self.pending);
        for entry in &entries {
            if pending.contents.remove(&entry.id).is_some() {
                pending.stored -= 1;
            }
        }
        pending.summary.blobs += 1;
        pending.summary.stored_bytes += bytes;
        Ok(())
    }

    /// Writes an index blob into the current epoch, and looks afterwards whether the epoch was still open to writers.
    ///
    /// A blob that arrives two epochs late may be overlooked by a compaction that ran meanwhile, so it is written
    /// again into the epoch that is current then. The late one is left alone: it does no harm.
    async fn write_index(&self, payload: &[u8]) -> Result<(Vec<BlobId>, u64)> {
        let mut written = Vec::new();
        let mut bytes_written = 0;
        loop {
            let epoch = self.repository.read_write_epoch().await?;
            let prefix = windlass_repo_format::epoch::uncompacted_blob_prefix(epoch);
            let suffix = format!("{}-c1", self.id);
            let nonce = self.repository.random_bytes();
            let (blob, bytes) = self.repository.sealer().seal_blob(&prefix, &suffix, &nonce, payload);
            bytes_written += self.put(&blob, bytes).await?;
            written.push(blob);
            if self.repository.read_write_epoch().await? < epoch + 2 {
                return Ok((written, bytes_written));
            }
        }
    }

    /// Removes the session's markers. A marker that stays costs nothing but a delay in the clean-up of its packs.
    async fn remove_markers(&self) {
        let Some(marker) = self.marker.lock().await.take() else {
            return;
        };
        for blob in marker.blobs {
            if let Err(error) = self.repository.storage().delete(&blob).await {
                debug!(%blob, %error, "the session's marker stays");
            }
        }
    }
}

impl OpenPacks {
    fn place(&mut self, class: PackClass) -> &mut Option<OpenPack> {
        match class {
            PackClass::Data => &mut self.data,
            PackClass::Metadata => &mut self.metadata,
        }
    }
}

impl SealingTools {
    /// Compresses into `self.compressed`; false when that would not make it smaller.
    fn compress(&mut self, compression: Compression, plain: &[u8]) -> bool {
        self.compressed.clear();
        let compressor = self
            .compressors
            .entry(compression)
            .or_insert_with(|| Compressor::new(compression));
        // An encoder that fails loses nothing: the content is stored as it is.
        compressor.compress_into(plain, &mut self.compressed).unwrap_or(false)
    }
}

/// On a bucket with object lock, everything that a snapshot needs is held for the configured time.
fn put_options(id: &BlobId, config: &BlobConfig, now: Timestamp) -> PutOptions {
    const LOCKED: [&str; 4] = ["p", "q", "x", "n"];
    let Some(mode) = config.retention_mode else {
        return PutOptions::default();
    };
    let locked = LOCKED.iter().any(|prefix| id.as_str().starts_with(prefix));
    let until = now.checked_add(config.retention_period).unwrap_or(Timestamp::MAX);
    let retention = locked.then_some(Retention { mode, until });
    PutOptions {
        retention,
        checksum: true,
        only_if_absent: false,
    }
}
