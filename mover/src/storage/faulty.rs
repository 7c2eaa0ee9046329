//! The mishap room: a storage that fails as planned.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};
use crate::random::scramble;

/// What is being asked of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Storage::read`].
    Read,
    /// [`Storage::metadata`].
    Metadata,
    /// [`Storage::put`].
    Put,
    /// [`Storage::delete`].
    Delete,
    /// [`Storage::list`].
    List,
}

/// One call, as a plan sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// How many calls came before it, over all operations.
    pub number: u64,
    /// What is asked.
    pub operation: Operation,
    /// The blob's name, or the prefix of a list.
    pub name: &'a str,
}

/// How a call ends.
#[derive(Debug)]
pub enum Fault {
    /// As the storage behind has it.
    None,
    /// With this error; the storage behind never hears of it.
    Before(StorageError),
    /// The storage behind does it, but the answer is lost and this error comes instead. A list shows its blobs first.
    After(StorageError),
}

impl Fault {
    /// An error that another try may not meet.
    pub fn passing(call: &Call<'_>) -> StorageError {
        StorageError::Io {
            doing: "reach",
            place: call.name.to_owned(),
            source: io::ErrorKind::ConnectionReset.into(),
        }
    }
}

type Plan = Box<dyn Fn(&Call<'_>) -> Fault + Send + Sync>;

/// Fails some of the calls on their way to another storage, by a plan.
pub struct Faulty<S> {
    inner: S,
    plan: Plan,
    calls: AtomicU64,
}

impl<S: fmt::Debug> fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Faulty<S> {
    /// Asks `plan` before each call.
    pub fn new(inner: S, plan: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) -> Self {
        Self {
            inner,
            plan: Box::new(plan),
            calls: AtomicU64::new(0),
        }
    }

    /// Fails about one call in `one_in` with a passing error, half of those after the storage has done its work. Which
    /// ones follows from `seed` and the number of the call. Zero fails none.
    pub fn seeded(inner: S, seed: u64, one_in: u32) -> Self {
        Self::new(inner, move |call| {
            let dice = scramble(seed ^ scramble(call.number.wrapping_add(1)));
            match dice.checked_rem(u64::from(one_in)) {
                Some(0) if dice >> 63 == 0 => Fault::Before(Fault::passing(call)),
                Some(0) => Fault::After(Fault::passing(call)),
                _ => Fault::None,
            }
        })
    }

    /// The storage behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn fault(&self, operation: Operation, name: &str) -> Fault {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        (self.plan)(&Call {
            number,
            operation,
            name,
        })
    }

    async fn meet<T>(
        &self,
        fault: Fault,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match fault {
            Fault::None => work.await,
            Fault::Before(error) => Err(error),
            Fault::After(error) => work.await.and(Err(error)),
        }
    }
}

#[async_trait]
impl<S: Storage> Storage for Faulty<S> {
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
        let fault = self.fault(Operation::Read, id.as_str());
        self.meet(fault, self.inner.read(id, range)).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        let fault = self.fault(Operation::Metadata, id.as_str());
        self.meet(fault, self.inner.metadata(id)).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        let fault = self.fault(Operation::Put, id.as_str());
        self.meet(fault, self.inner.put(id, body, options)).await
    }

    async fn extend_retention(&self, id: &BlobId, retention: super::Retention) -> Result<(), StorageError> {
        let fault = self.fault(Operation::Put, id.as_str());
        self.meet(fault, self.inner.extend_retention(id, retention)).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let fault = self.fault(Operation::Delete, id.as_str());
        self.meet(fault, self.inner.delete(id)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        match self.fault(Operation::List, prefix) {
            Fault::None => self.inner.list(prefix),
            Fault::Before(error) => stream::iter([Err(error)]).boxed(),
            Fault::After(error) => self.inner.list(prefix).chain(stream::iter([Err(error)])).boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::storage::Memory;
    use crate::storage::conformance::conformance;

    fn memory() -> Memory {
        Memory::new(Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn without_faults_the_contract_is_kept() {
        conformance(async || Faulty::new(memory(), |_| Fault::None)).await;
    }

    #[tokio::test]
    async fn a_fault_before_or_after_decides_what_happened() {
        let storage = Faulty::new(memory(), |call| match (call.operation, call.name) {
            (Operation::Put, "p1") => Fault::Before(Fault::passing(call)),
            (Operation::Put, "p2") => Fault::After(Fault::passing(call)),
            (Operation::List, _) => Fault::After(Fault::passing(call)),
            _ => Fault::None,
        });
        for name in ["p1", "p2", "p3"] {
            let id = BlobId::from(name);
            let put = storage.put(&id, Bytes::from_static(b"1"), &PutOptions::default()).await;
            let failed = put.err().map(|error| error.is_permanent());
            assert_eq!(failed, (name != "p3").then_some(false), "{name}");
        }
        let listed: Vec<_> = storage.list("").collect().await;
        let names: Vec<_> = listed
            .iter()
            .map(|blob| blob.as_ref().ok().map(|blob| blob.id.as_str()))
            .collect();
        assert_eq!(names, [Some("p2"), Some("p3"), None]);
        assert_eq!(storage.calls(), 4);
    }

    #[tokio::test]
    async fn a_seed_replays_its_mishaps() {
        let run = async |seed| {
            let storage = Faulty::seeded(memory(), seed, 4);
            let mut failed = Vec::new();
            for number in 0..200 {
                let id = BlobId::from(format!("p{number}"));
                failed.push(storage.put(&id, Bytes::new(), &PutOptions::default()).await.is_err());
            }
            (failed, storage.inner().list("").count().await)
        };
        let (failed, kept) = run(7).await;
        assert_eq!(run(7).await, (failed.clone(), kept));
        assert_ne!(run(8).await.0, failed);
        let failures = failed.iter().filter(|failed| **failed).count();
        assert!((25..75).contains(&failures), "{failures} of 200 failed");
        assert!(
            kept > 200 - failures && kept < 200,
            "some failed after the deed, some before"
        );
    }
}
