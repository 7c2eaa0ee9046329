//! The locks of objects that are there already.

use aws_sdk_s3::operation::put_object_retention::PutObjectRetentionError;
use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode};
use windlass_mover::storage::{Retention, RetentionMode, StorageError};
use windlass_repo_format::id::BlobId;

use super::complaints::Failure;
use super::{Inner, times};
use crate::patience::within;

impl Inner {
    /// Locks the newest version of an object for longer.
    pub(super) async fn extend_retention(&self, id: &BlobId, retention: Retention) -> Result<(), StorageError> {
        const DOING: &str = "extend the lock of";
        if !self.can_retain {
            return Err(self.locks_nothing());
        }
        let place = self.place(id);
        let wanted = ObjectLockRetention::builder()
            .mode(match retention.mode {
                RetentionMode::Governance => ObjectLockRetentionMode::Governance,
                RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
            })
            .retain_until_date(times::date_time(retention.until))
            .build();
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            let asked = self
                .client
                .put_object_retention()
                .bucket(&self.bucket)
                .key(self.keys.key(id.as_str()))
                .retention(wanted.clone())
                .send();
            let refusal = match within(self.pace.silence_max(), DOING, &place, asked).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => Failure::of::<PutObjectRetentionError>(error).refusal_of_blob(DOING, &place, id),
                Err(silent) => silent,
            };
            tries.again(refusal).await?;
        }
    }

    pub(super) fn locks_nothing(&self) -> StorageError {
        StorageError::Unsupported {
            what: "retention: the bucket does not lock objects",
            location: self.location.clone(),
        }
    }
}

/// As the header of a put says it.
pub(super) fn mode_of_put(mode: RetentionMode) -> ObjectLockMode {
    match mode {
        RetentionMode::Governance => ObjectLockMode::Governance,
        RetentionMode::Compliance => ObjectLockMode::Compliance,
    }
}
