//! The saboteurs: writers that break one rule of the safe order each. The checker has to find every one of them, or it proves
//! nothing about those that keep the rules.
//!
//! A mutant stands between the mover and the storage: the mover's own code is what it always is, but its operations arrive in
//! another order, or not at all, as they would if that rule were missing from the code.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};
use windlass_repo_format::id::BlobId;

use crate::recorder::Recorder;

/// The rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The index goes out before the data packs that it names.
    IndexBeforePacks,
    /// The index goes out before the packs with the manifest and the directories.
    IndexBeforeManifest,
    /// The session's marker is removed before the index.
    MarkerGoneEarly,
    /// Whether the epoch has moved on is not asked again.
    EpochNotAskedAgain,
    /// A put is answered before the blob is stored, and the last index never is.
    IndexNotAwaited,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::IndexBeforePacks,
        Self::IndexBeforeManifest,
        Self::MarkerGoneEarly,
        Self::EpochNotAskedAgain,
        Self::IndexNotAwaited,
    ];

    /// Breaks the rule for one writer.
    pub fn between(self, recorder: Arc<Recorder>) -> Broken {
        Broken {
            mutant: self,
            inner: recorder,
            kept_back: Mutex::default(),
            markers: Mutex::default(),
            epochs: Mutex::default(),
        }
    }
}

/// A storage through which one rule is broken.
#[derive(Debug)]
pub struct Broken {
    mutant: Mutant,
    inner: Arc<Recorder>,
    /// Puts that were answered and not made.
    kept_back: Mutex<Vec<(BlobId, Bytes, PutOptions)>>,
    /// Session markers that are there.
    markers: Mutex<Vec<BlobId>>,
    /// The first answer about epochs.
    epochs: Mutex<Option<Vec<BlobMetadata>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broken {
    fn is_kept_back(&self, id: &BlobId) -> bool {
        let prefix = match self.mutant {
            Mutant::IndexBeforePacks => "p",
            Mutant::IndexBeforeManifest => "q",
            Mutant::IndexNotAwaited => "xn",
            Mutant::MarkerGoneEarly | Mutant::EpochNotAskedAgain => return false,
        };
        id.as_str().starts_with(prefix)
    }

    async fn deliver(&self) -> Result<(), StorageError> {
        let waiting = std::mem::take(&mut *lock(&self.kept_back));
        for (id, body, options) in waiting {
            self.inner.put(&id, body, &options).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for Broken {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn can_retain(&self) -> bool {
        self.inner.can_retain()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.inner.read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.inner.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        if self.is_kept_back(id) {
            let len = body.len() as u64;
            lock(&self.kept_back).push((id.clone(), body, options.clone()));
            let before = self.inner.metadata(&"kopia.repository".into()).await?;
            return Ok(BlobMetadata {
                id: id.clone(),
                len,
                modified: before.modified,
            });
        }
        let is_index = id.as_str().starts_with("xn");
        if is_index && self.mutant == Mutant::MarkerGoneEarly {
            let markers = std::mem::take(&mut *lock(&self.markers));
            for marker in markers {
                self.inner.delete(&marker).await?;
            }
        }
        let stored = self.inner.put(id, body, options).await?;
        if id.as_str().starts_with('s') {
            lock(&self.markers).push(id.clone());
        }
        if is_index {
            self.deliver().await?;
        }
        Ok(stored)
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.inner.delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        if self.mutant != Mutant::EpochNotAskedAgain || prefix != "xe" {
            return self.inner.list(prefix);
        }
        let listed = async move {
            if let Some(known) = lock(&self.epochs).clone() {
                return known.into_iter().map(Ok).collect::<Vec<_>>();
            }
            let asked: Vec<_> = self.inner.list(prefix).collect().await;
            let known = asked.iter().filter_map(|blob| blob.as_ref().ok().cloned());
            *lock(&self.epochs) = Some(known.collect());
            asked
        };
        stream::once(listed).flat_map(stream::iter).boxed()
    }
}
