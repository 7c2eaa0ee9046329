//! The shelf of the simulation: blobs in memory whose list may lag behind what happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use windlass_mover::clock::Clock;
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};
use windlass_repo_format::id::BlobId;

/// A blob as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// All of it.
    pub body: Bytes,
    /// When it was put, by the storage's clock.
    pub modified: Timestamp,
}

impl Blob {
    fn describe(&self, id: &BlobId) -> BlobMetadata {
        BlobMetadata {
            id: id.clone(),
            len: self.body.len() as u64,
            modified: self.modified,
        }
    }
}

/// All blobs of a storage at one moment. Cheap to clone: the bytes are shared.
pub type Blobs = BTreeMap<BlobId, Blob>;

/// A storage over [`Blobs`], with a clock of its own. Clones share their blobs.
///
/// Reads are always exact. Its lists can be made to lag, see [`Shelf::lag`], as those of an eventually consistent bucket do.
#[derive(Clone, Debug)]
pub struct Shelf {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Inner {
    blobs: Blobs,
    /// Blobs that are there and that no list shows yet.
    missed: BTreeSet<BlobId>,
    /// Blobs that are gone and that lists still show.
    ghosts: BTreeMap<BlobId, BlobMetadata>,
    changes: u64,
}

impl Shelf {
    /// A storage of these blobs.
    pub fn new(blobs: Blobs, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            blobs,
            missed: BTreeSet::new(),
            ghosts: BTreeMap::new(),
            changes: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            clock,
        }
    }

    /// From now on lists leave out `missed` and still show `ghosts`. What is put later is shown at once.
    pub fn lag(&self, missed: BTreeSet<BlobId>, ghosts: BTreeMap<BlobId, BlobMetadata>) {
        let mut inner = self.lock();
        inner.missed = missed;
        inner.ghosts = ghosts;
    }

    /// Lists are exact from now on.
    pub fn catch_up(&self) {
        self.lag(BTreeSet::new(), BTreeMap::new());
    }

    /// All that is there.
    pub fn blobs(&self) -> Blobs {
        self.lock().blobs.clone()
    }

    /// Takes a blob away behind everybody's back: damage. False when there is none of that name.
    pub fn lose(&self, id: &BlobId) -> bool {
        self.lock().blobs.remove(id).is_some()
    }

    /// How often a blob was put or removed.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self, id: &BlobId) -> Result<Blob, StorageError> {
        let found = self.lock().blobs.get(id).cloned();
        found.ok_or_else(|| StorageError::NotFound { blob: id.clone() })
    }
}

#[async_trait]
impl Storage for Shelf {
    fn location(&self) -> String {
        "the shelf of the simulation".to_owned()
    }

    fn can_retain(&self) -> bool {
        false
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        let body = self.look_up(id)?.body;
        let actual = body.len() as u64;
        let (offset, wanted) = match range {
            BlobRange::Whole => (0, actual),
            BlobRange::Part { len: 0, .. } => (0, 0),
            BlobRange::Part { offset, len } => (offset, len),
        };
        match offset.checked_add(wanted).filter(|end| *end <= actual) {
            Some(end) => Ok(body.slice(offset as usize..end as usize)),
            None => Err(StorageError::OutOfRange {
                blob: id.clone(),
                offset,
                wanted,
                actual,
            }),
        }
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        Ok(self.look_up(id)?.describe(id))
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        if options.retention.is_some() {
            return Err(StorageError::Unsupported {
                what: "object lock",
                location: self.location(),
            });
        }
        let modified = self.clock.now();
        let blob = Blob { body, modified };
        let mut inner = self.lock();
        if options.only_if_absent && inner.blobs.contains_key(id) {
            return Err(StorageError::AlreadyExists { blob: id.clone() });
        }
        let metadata = blob.describe(id);
        inner.blobs.insert(id.clone(), blob);
        inner.missed.remove(id);
        inner.ghosts.remove(id);
        inner.changes += 1;
        Ok(metadata)
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        let mut inner = self.lock();
        inner.blobs.remove(id);
        inner.ghosts.remove(id);
        inner.changes += 1;
        Ok(())
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        let inner = self.lock();
        let there = inner.blobs.range(BlobId::new(prefix)..);
        let there = there.take_while(|(id, _)| id.as_str().starts_with(prefix));
        let shown = there.filter(|(id, _)| !inner.missed.contains(id));
        let mut listed: Vec<BlobMetadata> = shown.map(|(id, blob)| blob.describe(id)).collect();
        let ghosts = inner.ghosts.values();
        listed.extend(ghosts.filter(|blob| blob.id.as_str().starts_with(prefix)).cloned());
        stream::iter(listed.into_iter().map(Ok)).boxed()
    }
}

/// What lists show of `there` when they are as they were when there was `then`: the blobs they miss, and the ghosts.
pub fn behind(there: &Blobs, then: &Blobs) -> (BTreeSet<BlobId>, BTreeMap<BlobId, BlobMetadata>) {
    let missed = there.keys().filter(|id| !then.contains_key(*id)).cloned().collect();
    let gone = then.iter().filter(|(id, _)| !there.contains_key(*id));
    let ghosts = gone.map(|(id, blob)| (id.clone(), blob.describe(id))).collect();
    (missed, ghosts)
}

#[cfg(test)]
mod tests {
    use windlass_mover::blocking::block_on;
    use windlass_mover::clock::ManualClock;
    use windlass_mover::storage::conformance::conformance;

    use super::*;

    fn shelf() -> Shelf {
        Shelf::new(Blobs::new(), Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)))
    }

    #[tokio::test]
    async fn a_shelf_that_does_not_lag_keeps_the_contract() {
        conformance(async || shelf()).await;
    }

    #[test]
    fn a_list_that_lags_misses_puts_and_shows_deletes_until_it_has_caught_up() {
        let shelf = shelf();
        let put = |name: &str| {
            let (id, options) = (name.into(), PutOptions::default());
            let put = shelf.put(&id, Bytes::from_static(b"1"), &options);
            assert_eq!(block_on(put).unwrap().len, 1);
        };
        let names = || -> Vec<String> {
            let listed = block_on(shelf.list("p").collect::<Vec<_>>());
            listed.into_iter().map(|blob| blob.unwrap().id.to_string()).collect()
        };
        put("p1");
        let then = shelf.blobs();
        put("p2");
        block_on(shelf.delete(&"p1".into())).unwrap();
        let (missed, ghosts) = behind(&shelf.blobs(), &then);
        shelf.lag(missed, ghosts);
        assert_eq!(names(), ["p1"]);
        assert!(block_on(shelf.read(&"p2".into(), BlobRange::Whole)).is_ok());
        assert!(block_on(shelf.read(&"p1".into(), BlobRange::Whole)).is_err());
        put("p3");
        assert_eq!(names(), ["p3", "p1"]);
        shelf.catch_up();
        assert_eq!(names(), ["p2", "p3"]);
    }
}
