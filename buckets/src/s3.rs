//! The S3 room: blobs as objects of a bucket, through the client that AWS keeps.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object_lock_configuration::GetObjectLockConfigurationError;
use aws_sdk_s3::types::ObjectLockEnabled;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Retention, Storage, StorageError};
use windlass_repo_format::id::BlobId;

use crate::keys::Keys;
use crate::patience::{Pace, Patience};
use complaints::Failure;
use times::ServerClock;

mod client;
mod complaints;
mod encryption;
mod listing;
mod locking;
mod multipart;
mod options;
mod putting;
mod reading;
mod times;
pub(crate) mod trust;

pub use encryption::Encryption;
pub use options::S3Options;

/// A storage in a bucket of S3, or of a server that speaks it: Kopia's `s3` provider.
///
/// A body beyond [`S3::SINGLE_PUT_LEN_MAX`] goes up in parts, some at a time; what a put holds beyond its body is small.
/// A read whose connection breaks goes on where it broke, for as long as the blob is the same.
///
/// Clones share the connections.
#[derive(Clone, Debug)]
pub struct S3(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    bucket: String,
    keys: Keys,
    location: String,
    encryption: Encryption,
    storage_class: Option<String>,
    can_retain: bool,
    /// TLS keeps the body whole, so it need not be hashed for the signature too.
    is_https: bool,
    pace: Pace,
    clock: ServerClock,
}

impl S3 {
    /// A longer body goes up in parts. Kopia's packs have some 20 MiB and stay below.
    pub const SINGLE_PUT_LEN_MAX: usize = 24 << 20;

    /// The storage in a bucket that exists. Asks it once: whether it can be reached with these credentials, and whether
    /// it locks objects.
    ///
    /// # Errors
    /// What keeps the bucket from being used; a place that does not answer is given up after ten seconds.
    pub async fn open(options: &S3Options, patience: Patience) -> Result<Self, StorageError> {
        let clock = ServerClock::default();
        let client = client::connect(options, &clock).await?;
        let mut inner = Inner {
            client,
            bucket: options.bucket.clone(),
            keys: Keys::new(options.prefix.clone()),
            location: options.location(),
            encryption: options.encryption()?,
            storage_class: options.storage_class.clone(),
            can_retain: true,
            is_https: options.is_https(),
            pace: Pace::new(patience),
            clock,
        };
        inner.can_retain = inner.locks_objects(patience.at_first()).await?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    /// Whether the bucket locks objects. Where that must not be asked, it may.
    async fn locks_objects(&self, patience: Patience) -> Result<bool, StorageError> {
        const DOING: &str = "open";
        let pace = self.pace.with(patience);
        let ask = async || {
            let asked = self.client.get_object_lock_configuration().bucket(&self.bucket);
            let configured = asked.send().await?.object_lock_configuration;
            Ok(configured.and_then(|lock| lock.object_lock_enabled) == Some(ObjectLockEnabled::Enabled))
        };
        let judge = |error: SdkError<GetObjectLockConfigurationError>| {
            let failure = Failure::of(error);
            match failure.code() {
                "ObjectLockConfigurationNotFoundError" | "NotImplemented" | "MethodNotAllowed" => Ok(false),
                "AccessDenied" => Ok(true),
                _ => Err(failure.refusal(DOING, &self.location)),
            }
        };
        pace.ask(DOING, &self.location, pace.silence_max(), ask, judge).await
    }

    /// What people call a blob.
    fn place(&self, id: &BlobId) -> String {
        format!("s3://{}/{}", self.bucket, self.keys.key(id.as_str()))
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        const DOING: &str = "look at";
        let place = self.place(id);
        let ask = || {
            let request = self
                .client
                .head_object()
                .bucket(&self.bucket)
                .key(self.keys.key(id.as_str()));
            self.encryption.of_head(request).send()
        };
        let judge = |error| Err(Failure::of(error).refusal_of_blob(DOING, &place, id));
        let answer = self
            .pace
            .ask(DOING, &place, self.pace.silence_max(), ask, judge)
            .await?;
        let modified = answer.last_modified().and_then(times::timestamp);
        Ok(BlobMetadata {
            id: id.clone(),
            len: answer
                .content_length()
                .and_then(|len| u64::try_from(len).ok())
                .unwrap_or(0),
            modified: modified
                .or_else(|| self.clock.last_seen())
                .unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        const DOING: &str = "delete";
        let place = self.place(id);
        let ask = || {
            self.client
                .delete_object()
                .bucket(&self.bucket)
                .key(self.keys.key(id.as_str()))
                .send()
        };
        let judge = |error| Err(Failure::of(error).refusal_of_blob(DOING, &place, id));
        match self.pace.ask(DOING, &place, self.pace.silence_max(), ask, judge).await {
            Ok(_) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Storage for S3 {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn can_retain(&self) -> bool {
        self.0.can_retain
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

    async fn extend_retention(&self, id: &BlobId, retention: Retention) -> Result<(), StorageError> {
        self.0.extend_retention(id, retention).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        self.0.list(prefix)
    }
}
