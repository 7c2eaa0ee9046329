//! Objects that are locked stay for as long as was promised.

use jiff::{SignedDuration, Timestamp};
use windlass_mover::storage::{BlobRange, PutOptions, Retention, RetentionMode, Storage, StorageError};

use crate::world::{World, noise};

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_blob_outlives_its_deletion_as_a_version() {
    let Some(world) = World::with_bucket(true) else { return };
    let storage = world.storage().await;
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    for (name, len) in [("pshort", 1000), ("plong", 30 << 20)] {
        for mode in [RetentionMode::Governance, RetentionMode::Compliance] {
            let (id, body) = (name.into(), noise(len));
            let options = PutOptions {
                retention: Some(Retention { mode, until }),
                ..PutOptions::default()
            };
            storage.put(&id, body.clone(), &options).await.unwrap();
            assert!(storage.read(&id, BlobRange::Whole).await.unwrap() == body);
            storage.delete(&id).await.unwrap();
            let gone = storage.read(&id, BlobRange::Whole).await;
            assert!(matches!(gone, Err(StorageError::NotFound { .. })), "{gone:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_lock_says_so_before_anything_is_sent() {
    let Some(world) = World::with_bucket(false) else { return };
    let storage = world.storage().await;
    assert!(!storage.can_retain());
    let retention = Retention {
        mode: RetentionMode::Compliance,
        until: Timestamp::now(),
    };
    let options = PutOptions {
        retention: Some(retention),
        ..PutOptions::default()
    };
    let put = storage.put(&"p1".into(), noise(10), &options).await;
    assert!(matches!(put, Err(StorageError::Unsupported { .. })), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_can_be_made_longer_but_not_for_what_is_not_there() {
    let Some(world) = World::with_bucket(true) else { return };
    let storage = world.storage().await;
    let retention = |hours| Retention {
        mode: RetentionMode::Compliance,
        until: Timestamp::now() + SignedDuration::from_hours(hours),
    };
    let options = PutOptions {
        retention: Some(retention(1)),
        ..PutOptions::default()
    };
    storage.put(&"p1".into(), noise(1000), &options).await.unwrap();
    storage.extend_retention(&"p1".into(), retention(48)).await.unwrap();
    let shorter = storage.extend_retention(&"p1".into(), retention(1)).await;
    assert!(shorter.is_err(), "the longer one holds");
    let missing = storage.extend_retention(&"p2".into(), retention(1)).await;
    assert!(matches!(missing, Err(StorageError::NotFound { .. })), "{missing:?}");
}
