//! The room of Google's and Azure's buckets: blobs as objects, through one client for both.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStoreExt};
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError};
use windlass_repo_format::id::BlobId;

use crate::keys::Keys;
use crate::patience::{Pace, Patience, within};
use client::Client;
use complaints::Failure;

mod client;
mod complaints;
mod listing;
mod options;
mod reading;
mod transport;

pub use options::{CloudOptions, Provider};

/// A storage in a bucket of Google's or Azure's.
///
/// A body goes up in one request, whatever its length; many go up at once. A read whose connection breaks goes on where
/// it broke, for as long as the blob is the same. Objects are not locked: a put with a retention is refused. What has to
/// carry a checksum is read back and compared instead.
///
/// Clones share the connections.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    provider: Provider,
    client: Client,
    keys: Keys,
    location: String,
    bucket_url: String,
    pace: Pace,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = &self.0.location;
        f.debug_struct("Cloud")
            .field("location", location)
            .finish_non_exhaustive()
    }
}

impl Cloud {
    /// The storage in a bucket that exists. Lists it once: whether it can be reached with these credentials.
    ///
    /// # Errors
    /// What keeps the bucket from being used; a place that does not answer is given up after ten seconds.
    pub async fn open(options: &CloudOptions, patience: Patience) -> Result<Self, StorageError> {
        let inner = Inner {
            provider: options.provider,
            client: Client::connect(options)?,
            keys: Keys::new(options.prefix.clone()),
            location: options.location(),
            bucket_url: options.bucket_url(),
            pace: Pace::new(patience),
        };
        inner.key(&"p".into())?;
        let pace = inner.pace.with(patience.at_first());
        // Of names that no blob has: whether there is an answer, not what is in it.
        inner.page("open", &pace, "windlass-opens-", None).await?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    fn key(&self, id: &BlobId) -> Result<Key, StorageError> {
        let text = self.keys.key(id.as_str());
        // The client would write some characters in another way.
        let key = Key::parse(&text).ok().filter(|key| key.as_ref() == text);
        key.ok_or_else(|| StorageError::Unsupported {
            what: "a prefix with empty folders, or with characters that are not written as they are",
            location: self.location.clone(),
        })
    }

    /// What people call a blob.
    fn place(&self, id: &BlobId) -> String {
        format!("{}/{}", self.bucket_url, self.keys.key(id.as_str()))
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        const DOING: &str = "look at";
        let (key, place) = (self.key(id)?, self.place(id));
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            let asked = self.client.objects().head(&key);
            let refusal = match within(self.pace.silence_max(), DOING, &place, asked).await {
                Ok(Ok(object)) => return Ok(described(id.clone(), &object)),
                Ok(Err(error)) => Failure::of(error).refusal_of_blob(self.provider, DOING, &place, id),
                Err(silent) => silent,
            };
            tries.again(refusal).await?;
        }
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        if options.retention.is_some() {
            return Err(StorageError::Unsupported {
                what: "retention: Windlass locks objects in buckets of S3 only",
                location: self.location.clone(),
            });
        }
        let modified = self.put_at_once(id, &body, options.only_if_absent).await?;
        if options.checksum && self.read(id, BlobRange::Whole).await? != body {
            let why = "what was read back is not what was written";
            return Err(StorageError::Io {
                doing: "write",
                place: self.place(id),
                source: io::Error::new(io::ErrorKind::InvalidData, why),
            });
        }
        let modified = match modified {
            Some(modified) => in_seconds(modified.as_second()),
            None => self.metadata(id).await?.modified,
        };
        Ok(BlobMetadata {
            id: id.clone(),
            len: body.len() as u64,
            modified,
        })
    }

    /// Tells when the object was put, if the server told.
    async fn put_at_once(&self, id: &BlobId, body: &Bytes, absent: bool) -> Result<Option<Timestamp>, StorageError> {
        const DOING: &str = "write";
        let (key, place) = (self.key(id)?, self.place(id));
        let mut tries = self.pace.tries();
        let mut may_be_done = false;
        loop {
            tries.gate().await;
            let put = self.client.put(&key, body.clone(), absent);
            let refusal = match within(self.pace.answer_within(body.len()), DOING, &place, put).await {
                Ok(Ok(modified)) => return Ok(modified),
                Ok(Err(error)) => {
                    let failure = Failure::of(error);
                    if absent && failure.is_there_already() {
                        // An earlier try of ours may have made it, and its answer have got lost.
                        if may_be_done && self.read(id, BlobRange::Whole).await? == body {
                            return Ok(None);
                        }
                        return Err(StorageError::AlreadyExists { blob: id.clone() });
                    }
                    may_be_done |= failure.is_ambiguous();
                    // A put that finds no place for its object misses the bucket.
                    if failure.status() == 404 {
                        let place = self.location.clone();
                        return Err(StorageError::NoBucket { place });
                    }
                    failure.refusal(self.provider, DOING, &place)
                }
                Err(silent) => {
                    may_be_done = true;
                    silent
                }
            };
            tries.again(refusal).await?;
        }
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        const DOING: &str = "delete";
        let (key, place) = (self.key(id)?, self.place(id));
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            let asked = self.client.delete(&key);
            let refusal = match within(self.pace.silence_max(), DOING, &place, asked).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => Failure::of(error).refusal_of_blob(self.provider, DOING, &place, id),
                Err(silent) => silent,
            };
            match tries.again(refusal).await {
                Err(StorageError::NotFound { .. }) => return Ok(()),
                other => other?,
            }
        }
    }
}

fn described(id: BlobId, object: &ObjectMeta) -> BlobMetadata {
    BlobMetadata {
        id,
        len: object.size,
        modified: in_seconds(object.last_modified.timestamp()),
    }
}

/// In whole seconds: heads show no more, and what is compared must be of one kind.
fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[async_trait]
impl Storage for Cloud {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn can_retain(&self) -> bool {
        false
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.0.read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.0.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        self.0.put(id, body, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.0.delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        self.0.list(prefix)
    }
}
