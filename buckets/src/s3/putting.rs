//! The way up: a whole object at once, or in parts where it is long.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockMode, StorageClass};
use aws_smithy_types::base64;
use bytes::Bytes;
use jiff::Timestamp;
use md5::{Digest, Md5};
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Retention, StorageError};
use windlass_repo_format::id::BlobId;

use super::complaints::Failure;
use super::locking::mode_of_put;
use super::{Inner, S3, times};
use crate::patience::{Again, Refusal, within};

pub(super) const DOING: &str = "write";

/// What Kopia calls its blobs.
pub(super) const CONTENT_TYPE: &str = "application/x-kopia";

/// A put under way.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) id: &'a BlobId,
    pub(super) place: String,
    pub(super) key: String,
    pub(super) body: Bytes,
    pub(super) options: &'a PutOptions,
}

impl Order<'_> {
    /// A bucket that locks wants a checksum with everything that it is to lock.
    pub(super) fn wants_checksum(&self) -> bool {
        self.options.checksum || self.options.retention.is_some()
    }

    pub(super) fn if_none_match(&self) -> Option<String> {
        self.options.only_if_absent.then(|| "*".to_owned())
    }

    pub(super) fn lock(&self) -> (Option<ObjectLockMode>, Option<DateTime>) {
        let Some(Retention { mode, until }) = self.options.retention else {
            return (None, None);
        };
        (Some(mode_of_put(mode)), Some(times::date_time(until)))
    }

    fn exists(&self) -> StorageError {
        StorageError::AlreadyExists { blob: self.id.clone() }
    }
}

impl Inner {
    pub(super) async fn put(
        &self,
        id: &BlobId,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<BlobMetadata, StorageError> {
        if options.retention.is_some() && !self.can_retain {
            return Err(self.locks_nothing());
        }
        let len = body.len() as u64;
        let order = Order {
            id,
            place: self.place(id),
            key: self.keys.key(id.as_str()),
            body,
            options,
        };
        if order.body.len() > S3::SINGLE_PUT_LEN_MAX {
            self.put_in_parts(&order).await?;
        } else {
            self.put_at_once(&order).await?;
        }
        // The answer to a put does not say which time the object got. Of two writers at once each tells its own length.
        let modified = match self.metadata(id).await {
            Ok(blob) => blob.modified,
            // Somebody has removed it already.
            Err(StorageError::NotFound { .. }) => self.clock.last_seen().unwrap_or(Timestamp::UNIX_EPOCH),
            Err(error) => return Err(error),
        };
        Ok(BlobMetadata {
            id: id.clone(),
            len,
            modified,
        })
    }

    async fn put_at_once(&self, order: &Order<'_>) -> Result<(), StorageError> {
        let md5 = if order.wants_checksum() {
            Some(content_md5(&order.body).await?)
        } else {
            None
        };
        let mut tries = self.pace.tries();
        let mut may_be_done = false;
        loop {
            tries.gate().await;
            let answer = self.send(order, md5.clone());
            let refusal = match within(self.pace.answer_within(order.body.len()), DOING, &order.place, answer).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    let failure = Failure::of(error);
                    if failure.status() == 412 && order.options.only_if_absent {
                        return self.settle(order, may_be_done).await;
                    }
                    may_be_done |= failure.is_ambiguous();
                    self.refusal_of_put(failure, order)
                }
                Err(silent) => {
                    may_be_done = true;
                    silent
                }
            };
            tries.again(refusal).await?;
        }
    }

    async fn send(&self, order: &Order<'_>, md5: Option<String>) -> Result<(), SdkError<PutObjectError>> {
        let (mode, until) = order.lock();
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&order.key)
            .content_type(CONTENT_TYPE)
            .content_length(order.body.len() as i64)
            .body(ByteStream::from(order.body.clone()))
            .set_content_md5(md5)
            .set_storage_class(self.storage_class())
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until)
            .set_if_none_match(order.if_none_match());
        let request = self.encryption.of_put(request).customize();
        let request = if self.is_https {
            request.disable_payload_signing()
        } else {
            request
        };
        request.send().await.map(drop)
    }

    /// There is a blob of that name. Is it the one that an earlier try of ours has made, whose answer got lost?
    pub(super) async fn settle(&self, order: &Order<'_>, may_be_done: bool) -> Result<(), StorageError> {
        if may_be_done && self.read(order.id, BlobRange::Whole).await? == order.body {
            return Ok(());
        }
        Err(order.exists())
    }

    pub(super) fn refusal_of_put(&self, failure: Failure, order: &Order<'_>) -> Refusal {
        if order.options.retention.is_some() && failure.code() == "InvalidRequest" {
            return Refusal {
                error: StorageError::Unsupported {
                    what: "this retention: the bucket does not lock objects",
                    location: self.location.clone(),
                },
                again: Again::Never,
            };
        }
        failure.refusal(DOING, &order.place)
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.storage_class.as_deref().map(StorageClass::from)
    }
}

/// The header `Content-MD5`, hashed where nobody waits for it.
pub(super) async fn content_md5(body: &Bytes) -> Result<String, StorageError> {
    let body = body.clone();
    let hashed = tokio::task::spawn_blocking(move || base64::encode(Md5::digest(&body))).await;
    hashed.map_err(|error| StorageError::Io {
        doing: "hash a blob for",
        place: "its put".to_owned(),
        source: std::io::Error::other(error),
    })
}
