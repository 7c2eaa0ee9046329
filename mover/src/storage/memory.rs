//! The shelf room: blobs in memory, with a clock of its own, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Retention, Storage, StorageError, locate};
use crate::clock::Clock;

/// A storage in memory. Deterministic: the same calls at the same times give the same answers, lists in name order.
///
/// Clones share their blobs, as two clients share a bucket.
#[derive(Clone, Debug)]
pub struct Memory {
    blobs: Arc<Mutex<BTreeMap<BlobId, Stored>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
struct Stored {
    body: Bytes,
    modified: Timestamp,
    retention: Option<Retention>,
}

impl Memory {
    /// An empty storage whose blobs get their times from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            blobs: Arc::default(),
            clock,
        }
    }

    /// A storage of its own with the blobs that this one has now, and their times.
    pub fn fork(&self, clock: Arc<dyn Clock>) -> Self {
        let blobs = Arc::new(Mutex::new(self.lock().clone()));
        Self { blobs, clock }
    }

    /// The lock that a blob was put with. It is remembered, not enforced: like a bucket with versions, where a delete
    /// or a replacement leaves the locked version behind.
    pub fn retention(&self, id: &BlobId) -> Option<Retention> {
        self.lock().get(id)?.retention
    }

    /// Replaces the bytes of a blob behind everybody's back, keeping its time: damage, for tests. False when there is
    /// no such blob.
    pub fn damage(&self, id: &BlobId, body: Bytes) -> bool {
        self.lock().get_mut(id).map(|stored| stored.body = body).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BlobId, Stored>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self, id: &BlobId) -> Result<Stored, StorageError> {
        let blob = || id.clone();
        self.lock()
            .get(id)
            .cloned()
            .ok_or_else(|| StorageError::NotFound { blob: blob() })
    }

    /// Some blobs with `prefix`, those after `last` in name order.
    fn page(&self, prefix: &str, last: Option<&BlobId>) -> Vec<BlobMetadata> {
        let first = BlobId::new(prefix);
        let start = last.map_or(Bound::Included(&first), Bound::Excluded);
        self.lock()
            .range((start, Bound::Unbounded))
            .take_while(|(id, _)| id.as_str().starts_with(prefix))
            .take(PAGE)
            .map(|(id, stored)| stored.describe(id))
            .collect()
    }
}

/// How many blobs one look at the shelf lists.
const PAGE: usize = 256;

impl Stored {
    fn describe(&self, id: &BlobId) -> BlobMetadata {
        BlobMetadata {
            id: id.clone(),
            len: self.body.len() as u64,
            modified: self.modified,
        }
    }
}

#[async_trait]
impl Storage for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        let body = self.look_up(id)?.body;
        let (offset, len) = locate(id, range, body.len() as u64)?;
        Ok(body.slice(offset as usize..offset as usize + len))
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        Ok(self.look_up(id)?.describe(id))
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        let stored = Stored {
            body,
            modified: self.clock.now(),
            retention: options.retention,
        };
        let mut blobs = self.lock();
        if options.only_if_absent && blobs.contains_key(id) {
            return Err(StorageError::AlreadyExists { blob: id.clone() });
        }
        let metadata = stored.describe(id);
        blobs.insert(id.clone(), stored);
        Ok(metadata)
    }

    async fn extend_retention(&self, id: &BlobId, retention: Retention) -> Result<(), StorageError> {
        let mut blobs = self.lock();
        let stored = blobs
            .get_mut(id)
            .ok_or_else(|| StorageError::NotFound { blob: id.clone() })?;
        let is_later = stored.retention.is_none_or(|held| held.until < retention.until);
        if is_later {
            stored.retention = Some(retention);
        }
        Ok(())
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.lock().remove(id);
        Ok(())
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        stream::unfold(None, move |last: Option<BlobId>| async move {
            let page = self.page(prefix, last.as_ref());
            let last = page.last()?.id.clone();
            Some((stream::iter(page.into_iter().map(Ok)), Some(last)))
        })
        .flatten()
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::storage::RetentionMode;
    use crate::storage::conformance::conformance;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        conformance(async || Memory::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)))).await;
    }

    #[tokio::test]
    async fn times_and_locks_are_those_of_the_put() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let memory = Memory::new(clock.clone());
        let id = BlobId::from("p1");
        clock.advance(SignedDuration::from_hours(1));
        let retention = Retention {
            mode: RetentionMode::Compliance,
            until: Timestamp::MAX,
        };
        let options = PutOptions {
            retention: Some(retention),
            ..PutOptions::default()
        };
        memory.put(&id, Bytes::from_static(b"one"), &options).await.unwrap();
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(memory.clone().metadata(&id).await.unwrap().modified.as_second(), 3600);
        assert_eq!(memory.retention(&id), Some(retention));
        assert!(memory.damage(&id, Bytes::from_static(b"two")));
        assert_eq!(memory.read(&id, BlobRange::Whole).await.unwrap(), "two");
        assert_eq!(memory.metadata(&id).await.unwrap().modified.as_second(), 3600);
    }
}
