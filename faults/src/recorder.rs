//! The court stenographer: a storage that writes down every operation on its way to another one, its begin and its end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::SignedDuration;
use windlass_mover::clock::{Clock, ManualClock};
use windlass_mover::storage::faulty::Operation as Kind;
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};
use windlass_repo_format::id::BlobId;

use crate::dice::Dice;
use crate::history::{Change, Event, Logbook, Operation};
use crate::shelf::Shelf;
use crate::turns::Turns;

/// What happens in the middle of another's operation.
pub type Interruption = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// How the time goes on while a writer works.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// An operation takes up to so long.
    pub operation_max: SignedDuration,
}

/// The hands of one writer on the storage.
pub struct Recorder {
    /// The blobs themselves, to see whether an operation has happened although it failed.
    shelf: Shelf,
    /// The way to them, on which operations may fail.
    inner: Arc<dyn Storage>,
    logbook: Logbook,
    writer: usize,
    clock: Arc<ManualClock>,
    pace: Pace,
    dice: Dice,
    turns: Option<Arc<Turns>>,
    /// Before the first operation of this class, this happens.
    interruption: Mutex<Option<(&'static str, Interruption)>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

/// What a recorder works with.
#[derive(Debug)]
pub struct Desk {
    /// The blobs.
    pub shelf: Shelf,
    /// The way to them.
    pub inner: Arc<dyn Storage>,
    /// Where everything is written down.
    pub logbook: Logbook,
    /// Whose hands these are.
    pub writer: usize,
    /// The storage's clock, which goes on.
    pub clock: Arc<ManualClock>,
    /// How fast.
    pub pace: Pace,
    /// Where the choices come from.
    pub seed: u64,
    /// Who else works at the same time.
    pub turns: Option<Arc<Turns>>,
}

impl Recorder {
    /// The hands of a writer.
    pub fn new(desk: Desk) -> Self {
        Self {
            shelf: desk.shelf,
            inner: desk.inner,
            logbook: desk.logbook,
            writer: desk.writer,
            clock: desk.clock,
            pace: desk.pace,
            dice: Dice::new(desk.seed),
            turns: desk.turns,
            interruption: Mutex::default(),
        }
    }

    /// Lets something happen before the first operation of this class is carried out, after it has begun.
    pub fn interrupt(&self, class: &'static str, with: Interruption) {
        *self.interruption.lock().unwrap_or_else(PoisonError::into_inner) = Some((class, with));
    }

    /// Some time passes, and others may work.
    async fn pause(&self) {
        let most = self.pace.operation_max.as_millis().max(1) as u64;
        let took = SignedDuration::from_millis(self.dice.below(most) as i64);
        self.clock.advance(took);
        for _ in 0..self.dice.below(3) {
            Yield(false).await;
        }
        if let Some(turns) = &self.turns {
            turns.wait(self.writer);
        }
    }

    async fn record<T>(
        &self,
        kind: Kind,
        name: &str,
        change: Option<Change>,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let changes = change.is_some();
        let operation = Operation {
            writer: self.writer,
            kind,
            name: name.to_owned(),
            change,
        };
        let class = operation.class();
        let number = self.logbook.begin(operation);
        self.pause().await;
        let interruption = {
            let mut waiting = self.interruption.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.take_if(|(wanted, _)| *wanted == class)
        };
        if let Some((_, interruption)) = interruption {
            interruption().await;
        }
        let before = self.shelf.changes();
        let result = work.await;
        if changes {
            if self.shelf.changes() > before {
                self.logbook.write(Event::Happened(number, self.clock.now()));
            } else if result.as_ref().is_err_and(StorageError::is_permanent) {
                self.logbook.write(Event::Refused(number));
            }
        }
        self.pause().await;
        self.logbook.write(Event::Answered(number));
        result
    }
}

/// Lets other futures of the same task go on.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl Storage for Recorder {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn can_retain(&self) -> bool {
        self.inner.can_retain()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.record(Kind::Read, id.as_str(), None, self.inner.read(id, range))
            .await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.record(Kind::Metadata, id.as_str(), None, self.inner.metadata(id))
            .await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        let change = Change::Put(id.clone(), body.clone());
        let put = self.inner.put(id, body, options);
        self.record(Kind::Put, id.as_str(), Some(change), put).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let change = Change::Delete(id.clone());
        self.record(Kind::Delete, id.as_str(), Some(change), self.inner.delete(id))
            .await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        let listed = async move {
            let work = async {
                let blobs: Vec<_> = self.inner.list(prefix).collect().await;
                blobs.into_iter().collect::<Result<Vec<_>, _>>()
            };
            match self.record(Kind::List, prefix, None, work).await {
                Ok(blobs) => blobs.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        stream::once(listed).flat_map(stream::iter).boxed()
    }
}
