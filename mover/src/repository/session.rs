//! The writing room: contents go in, packs and then indexes go out, in the only order that is safe.

mod marker;
mod packs;
mod pending;
mod publish;
mod rewriting;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tracing::debug;
use windlass_repo_format::compression::{Compression, Compressor};
use windlass_repo_format::encryption::NONCE_LEN;
use windlass_repo_format::format_blob::{BLOB_CONFIG_NAME, BlobConfig, FORMAT_BLOB_NAME};
use windlass_repo_format::id::{BlobId, ContentHash, ContentId, ContentPrefix};
use windlass_repo_format::manifest::{ManifestEntry, ManifestId};
use windlass_repo_format::pack::{ClosedPack, NewContent, OpenPack, PackBody, PackClass, pack_blob_id};
use windlass_repo_format::quantity::ContentLen;
use windlass_repo_format::session::SessionId;

use self::marker::Marker;
use self::packs::{OpenPacks, PackBuffers, Place};
use self::pending::Pending;
use super::Repository;
use crate::error::{MoverError, Result};
use crate::storage::{PutOptions, Retention};

/// The random bytes that a pack begins with and is padded with.
const PREAMBLE_LEN: usize = 32;
const PADDING_LEN_MAX: usize = 4096;
/// What the local index and the padding of most packs take.
const INDEX_LEN: usize = 64 << 10;

/// A run of writes into a repository, shared by the stages of a pipeline.
///
/// The order is: the session's marker, packs, then the indexes that name their contents, then the removal of the
/// marker. A long run writes indexes, and checkpoints, before it ends: others may see contents before
/// [`WriteSession::flush`], each of them whole and stored. A manifest is seen only with all that it needs. Dropped
/// without a flush, a session leaves its marker, packs, and perhaps indexes of some of them: contents that the next
/// run uses, and that maintenance removes if nobody does.
#[derive(Debug)]
pub struct WriteSession {
    repository: Repository,
    pending: Mutex<Pending>,
    data: OpenPacks,
    metadata: OpenPacks,
    marker: tokio::sync::Mutex<Option<Marker>>,
    id: SessionId,
    last_flush: Mutex<Timestamp>,
    /// How many contents may wait for an index.
    unindexed_max: usize,
    /// Told when contents have come further, or the session has failed.
    change: tokio::sync::Notify,
    /// Memory for data packs.
    buffers: PackBuffers,
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

/// A pack that is full and has no writer yet. As long as it is held, its place at the table of open packs is taken.
#[derive(Debug)]
pub(crate) struct FullPack<'a> {
    pub pack: ClosedPack,
    pub place: Place<'a>,
}

/// What one thread needs to seal contents: compressors that are costly to make.
#[derive(Default)]
pub(crate) struct SealingTools {
    compressors: HashMap<Compression, Compressor>,
    compressed: Vec<u8>,
    joined: Vec<u8>,
    /// How long its owner waited for open packs.
    pub waited: Duration,
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
    /// A repository of format version 1, or one whose indexes know no epochs, is read only.
    pub fn write_session(&self) -> Result<WriteSession> {
        self.write_session_with(self.splitter().max_chunk_len(), 1)
    }

    /// A session for contents of at most `content_max` bytes, whose data packs are filled by so many threads at the same
    /// moment.
    pub(crate) fn write_session_with(&self, content_max: usize, open_packs: usize) -> Result<WriteSession> {
        let version = self.format().version.number();
        if version < 2 {
            return Err(MoverError::ReadOnlyFormat { version });
        }
        if !self.format().epoch.enabled {
            return Err(MoverError::NoEpochs { version });
        }
        Ok(WriteSession {
            id: SessionId::new(self.random_bytes(), self.now()),
            pending: Mutex::default(),
            data: OpenPacks::new(open_packs),
            metadata: OpenPacks::new(1),
            marker: tokio::sync::Mutex::default(),
            last_flush: Mutex::new(self.now()),
            unindexed_max: publish::UNINDEXED_MAX,
            change: tokio::sync::Notify::new(),
            buffers: PackBuffers::new(self.pack_room(content_max)),
            repository: self.clone(),
        })
    }

    /// Stores a blob, locked where the repository wants that, and gives its length in bytes.
    pub(crate) async fn put_blob(&self, id: &BlobId, body: Bytes) -> Result<u64> {
        let len = body.len() as u64;
        let options = put_options(id, self.blob_config(), self.now());
        let put = self.storage().put(id, body, &options).await;
        let stored = put.map_err(|source| self.storage_error("write", id, source))?;
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

    /// Room for a full pack with the content that made it full, and its index: growing would hold two of it for a moment.
    fn pack_room(&self, content_max: usize) -> usize {
        self.format().max_pack_size as usize + self.sealer().sealed_len(content_max) + INDEX_LEN
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
        self.change.notify_waiters();
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
        // Also after one that the watermark has passed over: it would hide a new entry of a clock that is behind.
        let timestamp = match self.repository.find_buried(id)? {
            Some(entry) if !entry.deleted => return Ok(None),
            Some(deleted) => now.max(deleted.timestamp.saturating_add(1)),
            None => now,
        };
        let mut pending = lock(&self.pending);
        if pending.failed {
            return Err(MoverError::SessionFailed);
        }
        Ok(pending.claim(*id).then_some(timestamp))
    }

    /// Looks a hashed content up and, if it is new, compresses it and encrypts it into an open pack. Gives that pack when
    /// it became full.
    pub(crate) fn add(
        &self,
        tools: &mut SealingTools,
        prefix: Option<ContentPrefix>,
        hash: &ContentHash,
        plain: &[&[u8]],
        compression: Option<Compression>,
    ) -> Result<(ContentId, Option<FullPack<'_>>)> {
        let id = ContentId::new(prefix, hash);
        let len = plain.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let original_len = u32::try_from(len).ok().and_then(ContentLen::new);
        let original_len = original_len.ok_or(MoverError::BadOption {
            option: "splitter",
            value: self.repository.format().splitter.clone(),
            reason: "it made a content of 256 MiB or more",
        })?;
        let Some(timestamp) = self.claim(&id)? else {
            return Ok((id, None));
        };
        let shrunk = compression.filter(|compression| tools.compress(*compression, plain));
        let compressed = [&tools.compressed[..]];
        let stored = if shrunk.is_some() { &compressed } else { plain };
        let about = NewContent {
            id,
            original_len,
            compression: shrunk.map_or(0, Compression::header_id),
            format_version: self.repository.format().version.number(),
            timestamp,
        };
        let (full, waited) = self.pack(about, hash, stored)?;
        tools.waited += waited;
        Ok((id, full))
    }

    /// Encrypts a claimed content into an open pack; gives the pack when it became full, and how long there was none.
    fn pack(
        &self,
        about: NewContent,
        hash: &ContentHash,
        stored: &[&[u8]],
    ) -> Result<(Option<FullPack<'_>>, Duration)> {
        let class = PackClass::of(&about.id);
        let (id, original_len) = (about.id, u64::from(about.original_len.bytes()));
        let nonce: [u8; NONCE_LEN] = self.repository.random_bytes();
        let mut pack = self.table(class).take(|| self.open_pack(class));
        let waited = pack.waited;
        let sealer = self.repository.sealer();
        let added = pack.add_with(about, |body| sealer.seal_pieces_into(hash.iv(), &nonce, stored, body));
        added.map_err(|source| MoverError::NotWritable {
            what: format!("content {id} into pack {}", pack.id()),
            source,
        })?;
        // Before the pack is given back: another could fill it, and it could be stored, before the content counts as packed.
        let was_last = {
            let mut pending = lock(&self.pending);
            pending.summary.new_contents += 1;
            pending.summary.new_bytes += original_len;
            pending.packed(&id)
        };
        if was_last {
            self.change.notify_waiters();
        }
        if (pack.len() as u64) < u64::from(self.repository.format().max_pack_size) {
            return Ok((None, waited));
        }
        let (pack, place) = pack.close();
        let pack = self.close_pack(pack)?;
        Ok((Some(FullPack { pack, place }), waited))
    }

    fn table(&self, class: PackClass) -> &OpenPacks {
        match class {
            PackClass::Data => &self.data,
            PackClass::Metadata => &self.metadata,
        }
    }

    fn open_pack(&self, class: PackClass) -> OpenPack {
        let id = pack_blob_id(class, self.repository.random_bytes(), &self.id.to_string());
        let preamble: [u8; PREAMBLE_LEN] = self.repository.random_bytes();
        let body = match class {
            PackClass::Data => self.buffers.take(),
            // Few of them are ever full: they leave the used buffers to the others.
            PackClass::Metadata => self.buffers.fresh(),
        };
        OpenPack::new(id, body, preamble)
    }

    fn close_pack(&self, pack: OpenPack) -> Result<ClosedPack> {
        let id = pack.id().clone();
        let mut padding = vec![0; PADDING_LEN_MAX];
        self.repository.fill_random(&mut padding);
        let nonce = self.repository.random_bytes();
        let tail = self.repository.random_bytes();
        pack.close(self.repository.sealer(), &nonce, &padding, tail, &[])
            .map_err(|source| MoverError::NotWritable {
                what: format!("the end of pack {id}"),
                source,
            })
    }

    /// Stores a full pack. Only afterwards do its contents count as written.
    ///
    /// Who gives up waiting for this has lost contents that others may name already: the session fails.
    pub(crate) async fn store_pack(&self, pack: ClosedPack) -> Result<()> {
        self.check_not_failed()?;
        let mut unless_stored = FailUnless {
            session: self,
            stored: false,
        };
        let len = self.store_pack_blob(&pack.id, pack.bytes).await?;
        unless_stored.stored = true;
        let mut pending = lock(&self.pending);
        pending.summary.blobs += 1;
        pending.summary.stored_bytes += len;
        let mut was_last = false;
        for entry in pack.entries {
            was_last |= pending.stored(entry);
        }
        drop(pending);
        if was_last {
            self.change.notify_waiters();
        }
        Ok(())
    }

    async fn store_pack_blob(&self, id: &BlobId, bytes: PackBody) -> Result<u64> {
        self.write_marker().await?;
        let body = if id.as_str().starts_with(PackClass::Data.letter()) {
            Bytes::from_owner(self.buffers.recycle(bytes))
        } else {
            Bytes::from_owner(bytes)
        };
        self.put(id, body).await
    }

    async fn put(&self, id: &BlobId, body: Bytes) -> Result<u64> {
        self.repository.put_blob(id, body).await
    }

    /// Writes one content through all steps; packs that become full are stored before this returns.
    ///
    /// # Errors
    /// When the storage fails, or an earlier write of this session did: then nothing more is written.
    pub async fn write_content(
        &self,
        prefix: Option<ContentPrefix>,
        plain: &[u8],
        compression: Option<Compression>,
    ) -> Result<ContentId> {
        let hash = self.repository.sealer().hash(plain);
        let mut tools = SealingTools::default();
        let (id, full) = self.add(&mut tools, prefix, &hash, &[plain], compression)?;
        // Its place is given up first: who waits for one may hold the thread that has to store this.
        if let Some(pack) = full.map(|full| full.pack) {
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
}

/// Fails the session when it is dropped too early.
struct FailUnless<'a> {
    session: &'a WriteSession,
    stored: bool,
}

impl Drop for FailUnless<'_> {
    fn drop(&mut self) {
        if !self.stored {
            self.session.fail();
        }
    }
}

impl SealingTools {
    /// Compresses into `self.compressed`; false when that would not make it smaller.
    fn compress(&mut self, compression: Compression, plain: &[&[u8]]) -> bool {
        self.compressed.clear();
        // Encoders want a content in a row.
        let plain = match plain {
            [piece] => *piece,
            pieces => {
                self.joined.clear();
                pieces.iter().for_each(|piece| self.joined.extend_from_slice(piece));
                &self.joined
            }
        };
        let compressor = self
            .compressors
            .entry(compression)
            .or_insert_with(|| Compressor::new(compression));
        // An encoder that fails loses nothing: the content is stored as it is.
        compressor.compress_into(plain, &mut self.compressed).unwrap_or(false)
    }
}

/// On a bucket with object lock, everything that a snapshot needs is held back for the configured time.
pub(super) fn put_options(id: &BlobId, config: &BlobConfig, now: Timestamp) -> PutOptions {
    const LOCKED: [&str; 6] = ["p", "q", "x", "n", FORMAT_BLOB_NAME, BLOB_CONFIG_NAME];
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

#[cfg(test)]
mod tests;
