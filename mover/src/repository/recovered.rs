//! The annex of the writing room: indexes of contents that were written long ago.

use bytes::Bytes;
use jiff::Timestamp;
use windlass_repo_format::epoch::uncompacted_blob_prefix;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::index::{ENTRIES_MAX_PER_INDEX, IndexEntry, encode_v2};
use windlass_repo_format::session::SessionId;

use super::{Repository, WriteSession};
use crate::error::{MoverError, Result};
use crate::storage::{PutOptions, Retention};

impl WriteSession {
    /// Writes an index of contents whose packs are there already, and gives how many blobs that took. The entries are
    /// sorted, one per content.
    pub(crate) async fn publish_recovered(&self, entries: Vec<IndexEntry>) -> Result<u64> {
        let repository = self.repository();
        let mut blobs = 0;
        for entries in entries.chunks(ENTRIES_MAX_PER_INDEX) {
            let payload = encode_v2(entries).map_err(MoverError::Settings)?;
            let written = self.put_recovered_index(&payload).await?;
            blobs += written.len() as u64;
            repository.add_own_run(written, payload)?;
        }
        Ok(blobs)
    }

    /// Seals an index into the epoch that is open to writers, and again if the epoch went by meanwhile: a compaction
    /// may have overlooked the first one.
    async fn put_recovered_index(&self, payload: &[u8]) -> Result<Vec<BlobId>> {
        let repository = self.repository();
        let session = SessionId::new(repository.random_bytes(), repository.now());
        let mut written = Vec::new();
        loop {
            let epoch = repository.read_write_epoch().await?;
            let nonce = repository.random_bytes();
            let (blob, bytes) = repository.sealer().seal_blob(
                &uncompacted_blob_prefix(epoch),
                &format!("{session}-c1"),
                &nonce,
                payload,
            );
            let options = index_options(repository);
            let put = repository.storage().put(&blob, Bytes::from(bytes), &options).await;
            put.map_err(|source| repository.storage_error("write", &blob, source))?;
            written.push(blob);
            if repository.read_write_epoch().await? < epoch + 2 {
                return Ok(written);
            }
        }
    }
}

/// On a bucket with object lock, an index is held like everything that a snapshot needs.
fn index_options(repository: &Repository) -> PutOptions {
    let config = repository.blob_config();
    let until = repository
        .now()
        .checked_add(config.retention_period)
        .unwrap_or(Timestamp::MAX);
    PutOptions {
        retention: config.retention_mode.map(|mode| Retention { mode, until }),
        checksum: config.retention_mode.is_some(),
        only_if_absent: false,
    }
}
