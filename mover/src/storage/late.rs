//! The slow post: a storage whose lists are behind what happened to its blobs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Retention, Storage, StorageError};

/// Lets the lists of another storage lag: fresh blobs are not shown yet, replaced ones as they were, and those that were
/// deleted linger, as in a bucket whose lists are eventually consistent. Reads, looks and puts are exact.
///
/// A change is shown by the list that comes after as many others of its name as were asked for. Only changes made
/// through this very wrapper lag. Remembers each change until it was shown: for tests.
#[derive(Debug)]
pub struct Late<S> {
    inner: S,
    lists_behind: u32,
    unseen: Mutex<BTreeMap<BlobId, Unseen>>,
}

/// A change that lists do not show yet.
#[derive(Clone, Debug)]
struct Unseen {
    /// What they show instead.
    before: Option<BlobMetadata>,
    lists_left: u32,
}

impl<S: Storage> Late<S> {
    /// Every change is missed by that many lists.
    pub fn new(inner: S, lists_behind: u32) -> Self {
        Self {
            inner,
            lists_behind,
            unseen: Mutex::default(),
        }
    }

    /// The storage behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BlobId, Unseen>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What lists show of a blob before it changes.
    async fn shown(&self, id: &BlobId) -> Result<Option<BlobMetadata>, StorageError> {
        if let Some(unseen) = self.lock().get(id) {
            return Ok(unseen.before.clone());
        }
        match self.inner.metadata(id).await {
            Ok(blob) => Ok(Some(blob)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn changed(&self, id: &BlobId, before: Option<BlobMetadata>) {
        let lists_left = self.lists_behind;
        self.lock().insert(id.clone(), Unseen { before, lists_left });
    }

    /// What a list that begins now does not know, of the blobs that it is asked for.
    fn missed(&self, prefix: &str) -> BTreeMap<BlobId, Option<BlobMetadata>> {
        let mut missed = BTreeMap::new();
        self.lock().retain(|id, unseen| {
            if !id.as_str().starts_with(prefix) {
                return true;
            }
            if unseen.lists_left == 0 {
                return false;
            }
            unseen.lists_left -= 1;
            missed.insert(id.clone(), unseen.before.clone());
            true
        });
        missed
    }
}

#[async_trait]
impl<S: Storage> Storage for Late<S> {
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
        self.inner.read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.inner.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        let before = self.shown(id).await?;
        let put = self.inner.put(id, body, options).await?;
        self.changed(id, before);
        Ok(put)
    }

    async fn extend_retention(&self, id: &BlobId, retention: Retention) -> Result<(), StorageError> {
        self.inner.extend_retention(id, retention).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let before = self.shown(id).await?;
        self.inner.delete(id).await?;
        self.changed(id, before);
        Ok(())
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        let missed = self.missed(prefix);
        let lingering: Vec<_> = missed.values().flatten().cloned().map(Ok).collect();
        let exact = self.inner.list(prefix);
        let known = exact.filter(move |blob| {
            let is_known = !matches!(blob, Ok(blob) if missed.contains_key(&blob.id));
            async move { is_known }
        });
        known.chain(stream::iter(lingering)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::TryStreamExt;

    use super::super::conformance::{Lists, conformance_with};
    use super::super::memory::Memory;
    use super::*;
    use crate::clock::SystemClock;

    fn late(lists_behind: u32) -> Late<Memory> {
        Late::new(Memory::new(Arc::new(SystemClock)), lists_behind)
    }

    async fn lens(storage: &impl Storage) -> Vec<u64> {
        let listed: Vec<BlobMetadata> = storage.list("p").try_collect().await.unwrap();
        listed.iter().map(|blob| blob.len).collect()
    }

    #[tokio::test]
    async fn changes_are_shown_late_and_in_the_end() {
        let storage = late(2);
        let (id, options) = (BlobId::from("p1"), PutOptions::default());
        storage.put(&id, Bytes::from_static(b"1"), &options).await.unwrap();
        assert!(storage.read(&id, BlobRange::Whole).await.is_ok(), "reads are exact");
        for wanted in [&[][..], &[], &[1]] {
            assert_eq!(lens(&storage).await, wanted, "fresh");
        }
        storage.put(&id, Bytes::from_static(b"22"), &options).await.unwrap();
        assert_eq!(lens(&storage).await, [1], "replaced");
        storage.delete(&id).await.unwrap();
        for wanted in [&[1][..], &[1], &[]] {
            assert_eq!(lens(&storage).await, wanted, "gone");
        }
    }

    #[tokio::test]
    async fn a_late_storage_keeps_what_is_left_of_the_contract() {
        for lists_behind in [0, 1, 3] {
            conformance_with(Lists::Late, async || late(lists_behind)).await;
        }
        conformance_with(Lists::Exact, async || late(0)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "xe5")]
    async fn the_suite_notices_lists_that_are_late() {
        conformance_with(Lists::Exact, async || late(1)).await;
    }
}
