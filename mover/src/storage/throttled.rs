//! The toll room: a storage that takes its time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};

/// How slow a storage is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Time that each call takes at least.
    pub latency: Duration,
    /// Bytes that are read in a second, over all calls.
    pub read_bytes_per_second: Option<u64>,
    /// Bytes that are put in a second, over all calls.
    pub put_bytes_per_second: Option<u64>,
    /// Calls at a time; the others wait. A list counts while it begins.
    pub calls_max: Option<usize>,
}

/// Slows down the calls on their way to another storage. Needs a tokio runtime with a timer.
#[derive(Debug)]
pub struct Throttled<S> {
    inner: S,
    latency: Duration,
    read: Toll,
    put: Toll,
    calls: Option<Semaphore>,
}

impl<S: Storage> Throttled<S> {
    /// Puts limits before `inner`.
    pub fn new(inner: S, limits: Limits) -> Self {
        Self {
            inner,
            latency: limits.latency,
            read: Toll::new(limits.read_bytes_per_second),
            put: Toll::new(limits.put_bytes_per_second),
            calls: limits
                .calls_max
                .map(|calls| Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// The storage behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Waits for a place and for the latency. The place is free again when the answer is dropped.
    async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        let place = match &self.calls {
            Some(calls) => Some(calls.acquire().await.expect("this semaphore is never closed")),
            None => None,
        };
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        place
    }
}

/// One direction's gate: each call books the time its bytes take, after those before it.
#[derive(Debug)]
struct Toll {
    bytes_per_second: Option<u64>,
    free_at: Mutex<Option<Instant>>,
}

impl Toll {
    fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.map(|rate| rate.max(1)),
            free_at: Mutex::default(),
        }
    }

    async fn pay(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let start = free_at.map_or(now, |free_at| free_at.max(now));
            *free_at.insert(start.checked_add(takes).unwrap_or(start))
        };
        tokio::time::sleep_until(until).await;
    }
}

#[async_trait]
impl<S: Storage> Storage for Throttled<S> {
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
        let _place = self.enter().await;
        let body = self.inner.read(id, range).await?;
        self.read.pay(body.len()).await;
        Ok(body)
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        let _place = self.enter().await;
        self.inner.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        let _place = self.enter().await;
        self.put.pay(body.len()).await;
        self.inner.put(id, body, options).await
    }

    async fn extend_retention(&self, id: &BlobId, retention: super::Retention) -> Result<(), StorageError> {
        let _place = self.enter().await;
        self.inner.extend_retention(id, retention).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let _place = self.enter().await;
        self.inner.delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        let begin = async move {
            let _place = self.enter().await;
            self.inner.list(prefix)
        };
        stream::once(begin).flatten().boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;

    use super::*;
    use crate::clock::SystemClock;
    use crate::storage::Memory;
    use crate::storage::conformance::conformance;

    fn throttled(limits: Limits) -> Throttled<Memory> {
        Throttled::new(Memory::new(Arc::new(SystemClock)), limits)
    }

    #[tokio::test]
    async fn a_slow_storage_keeps_the_contract() {
        let limits = Limits {
            latency: Duration::ZERO,
            read_bytes_per_second: Some(10 << 30),
            put_bytes_per_second: Some(10 << 30),
            calls_max: Some(3),
        };
        conformance(async || throttled(limits)).await;
    }

    #[tokio::test]
    async fn bytes_and_calls_take_the_time_they_were_given() {
        let storage = throttled(Limits {
            latency: Duration::from_millis(20),
            put_bytes_per_second: Some(1_000_000),
            calls_max: Some(1),
            ..Limits::default()
        });
        let start = Instant::now();
        let names: Vec<BlobId> = (0..4).map(|number| format!("p{number}").into()).collect();
        let (body, options) = (Bytes::from(vec![0; 10_000]), PutOptions::default());
        join_all(names.iter().map(|id| storage.put(id, body.clone(), &options))).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(4 * (20 + 10)), "{took:?}");
    }
}
