//! The bookkeeping room: a storage that counts what is asked of it.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};

/// Counts calls and bytes on their way to another storage. Failed calls count as calls, their bytes do not.
#[derive(Debug)]
pub struct Counting<S> {
    inner: S,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    metadata: AtomicU64,
    puts: AtomicU64,
    put_bytes: AtomicU64,
    deletes: AtomicU64,
    lists: AtomicU64,
    listed: AtomicU64,
}

/// What was asked of a storage so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of [`Storage::read`].
    pub reads: u64,
    /// Bytes that those gave.
    pub read_bytes: u64,
    /// Calls of [`Storage::metadata`].
    pub metadata: u64,
    /// Calls of [`Storage::put`].
    pub puts: u64,
    /// Bytes that were put.
    pub put_bytes: u64,
    /// Calls of [`Storage::delete`].
    pub deletes: u64,
    /// Calls of [`Storage::list`].
    pub lists: u64,
    /// Blobs that those showed.
    pub listed: u64,
}

impl<S: Storage> Counting<S> {
    /// Counts what is asked of `inner` from now on.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            tally: Tally::default(),
        }
    }

    /// The storage behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The counts of this moment.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            reads: read(&self.tally.reads),
            read_bytes: read(&self.tally.read_bytes),
            metadata: read(&self.tally.metadata),
            puts: read(&self.tally.puts),
            put_bytes: read(&self.tally.put_bytes),
            deletes: read(&self.tally.deletes),
            lists: read(&self.tally.lists),
            listed: read(&self.tally.listed),
        }
    }
}

fn add(count: &AtomicU64, more: usize) {
    count.fetch_add(more as u64, Ordering::Relaxed);
}

#[async_trait]
impl<S: Storage> Storage for Counting<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn can_retain(&self) -> bool {
        self.inner.can_retain()
    }

    fn writes(&self) -> Option<super::WriteFigures> {
        self.inner.writes()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        add(&self.tally.reads, 1);
        let body = self.inner.read(id, range).await?;
        add(&self.tally.read_bytes, body.len());
        Ok(body)
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        add(&self.tally.metadata, 1);
        self.inner.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        add(&self.tally.puts, 1);
        let len = body.len();
        let metadata = self.inner.put(id, body, options).await?;
        add(&self.tally.put_bytes, len);
        Ok(metadata)
    }

    async fn extend_retention(&self, id: &BlobId, retention: super::Retention) -> Result<(), StorageError> {
        add(&self.tally.puts, 1);
        self.inner.extend_retention(id, retention).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        add(&self.tally.deletes, 1);
        self.inner.delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        add(&self.tally.lists, 1);
        self.inner
            .list(prefix)
            .inspect(|blob| add(&self.tally.listed, usize::from(blob.is_ok())))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::storage::Memory;
    use crate::storage::conformance::conformance;

    #[tokio::test]
    async fn counting_keeps_the_contract() {
        conformance(async || Counting::new(Memory::new(Arc::new(SystemClock)))).await;
    }

    #[tokio::test]
    async fn every_call_is_counted_once() {
        let storage = Counting::new(Memory::new(Arc::new(SystemClock)));
        let id = BlobId::from("p1");
        let put = async |body: &'static [u8]| storage.put(&id, Bytes::from_static(body), &PutOptions::default()).await;
        put(b"12345").await.unwrap();
        put(b"1234").await.unwrap();
        storage.read(&id, BlobRange::Whole).await.unwrap();
        storage.read(&id, BlobRange::Part { offset: 1, len: 2 }).await.unwrap();
        storage.read(&"p2".into(), BlobRange::Whole).await.unwrap_err();
        storage.metadata(&id).await.unwrap();
        storage.list("").collect::<Vec<_>>().await;
        storage.delete(&id).await.unwrap();
        let counts = Counts {
            reads: 3,
            read_bytes: 6,
            metadata: 1,
            puts: 2,
            put_bytes: 9,
            deletes: 1,
            lists: 1,
            listed: 1,
        };
        assert_eq!(storage.counts(), counts);
    }
}
