//! The shredder: a storage in memory in which data packs are gone as soon as they were put.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use windlass_mover::clock::{Clock, SystemClock};
use windlass_mover::storage::{BlobMetadata, BlobRange, Memory, PutOptions, Storage, StorageError};
use windlass_repo_format::id::BlobId;
use windlass_repo_format::pack::PackClass;

/// As [`Memory`], but data packs are dropped: what holds them is free for the next one, as it is where packs go to a disk.
#[derive(Debug)]
pub(super) struct Forgetful(Memory);

impl Default for Forgetful {
    fn default() -> Self {
        Self(Memory::new(Arc::new(SystemClock)))
    }
}

#[async_trait]
impl Storage for Forgetful {
    fn location(&self) -> String {
        "nowhere".to_owned()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.0.read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.0.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        if !id.as_str().starts_with(PackClass::Data.letter()) {
            return self.0.put(id, body, options).await;
        }
        Ok(BlobMetadata {
            id: id.clone(),
            len: body.len() as u64,
            modified: SystemClock.now(),
        })
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.0.delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        self.0.list(prefix)
    }
}
