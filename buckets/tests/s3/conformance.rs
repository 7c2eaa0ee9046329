//! The contract of storages, over a bucket and over each wrapper round it.

use std::time::Duration;

use windlass_mover::storage::conformance::conformance;
use windlass_mover::storage::faulty::Fault;
use windlass_mover::storage::throttled::Limits;
use windlass_mover::storage::{BlobRange, Counting, Faulty, PutOptions, Storage, StorageError, Throttled};

use crate::world::{World, noise};

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_the_contract() {
    let Some(world) = World::with_bucket(false) else { return };
    conformance(async || world.storage().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_locks_objects_keeps_the_contract() {
    let Some(world) = World::with_bucket(true) else { return };
    assert!(world.storage().await.can_retain());
    conformance(async || world.storage().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counted_bucket_keeps_the_contract() {
    let Some(world) = World::with_bucket(false) else { return };
    conformance(async || Counting::new(world.storage().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_behind_a_plan_without_faults_keeps_the_contract() {
    let Some(world) = World::with_bucket(false) else { return };
    conformance(async || Faulty::new(world.storage().await, |_| Fault::None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_bucket_keeps_the_contract() {
    let Some(world) = World::with_bucket(false) else { return };
    let limits = Limits {
        latency: Duration::from_millis(1),
        read_bytes_per_second: Some(1 << 30),
        put_bytes_per_second: Some(1 << 30),
        calls_max: Some(8),
    };
    conformance(async || Throttled::new(world.storage().await, limits)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_blob_goes_up_in_parts_and_comes_back_in_ranges() {
    let Some(world) = World::with_bucket(false) else { return };
    let storage = world.storage().await;
    let (id, body) = ("plong".into(), noise((30 << 20) + 77));
    for checksum in [false, true] {
        let options = PutOptions {
            checksum,
            ..PutOptions::default()
        };
        let put = storage.put(&id, body.clone(), &options).await.unwrap();
        assert_eq!(put.len, body.len() as u64);
        assert_eq!(storage.metadata(&id).await.unwrap(), put);
        assert!(
            storage.read(&id, BlobRange::Whole).await.unwrap() == body,
            "it came back changed"
        );
    }
    let end = body.len() as u64;
    for (offset, len) in [
        (0, 1),
        ((8 << 20) - 1, 2),
        (5 << 20, 20 << 20),
        (end - 77, 77),
        (end, 0),
    ] {
        let part = storage.read(&id, BlobRange::Part { offset, len }).await.unwrap();
        assert!(
            part == body.slice(offset as usize..(offset + len) as usize),
            "{offset} {len}"
        );
    }
    let beyond = storage
        .read(
            &id,
            BlobRange::Part {
                offset: end - 1,
                len: 2,
            },
        )
        .await;
    assert!(
        matches!(beyond, Err(StorageError::OutOfRange { actual, .. }) if actual == end),
        "{beyond:?}"
    );
    let absent = PutOptions {
        only_if_absent: true,
        ..PutOptions::default()
    };
    let again = storage.put(&id, noise(25 << 20), &absent).await;
    assert!(matches!(again, Err(StorageError::AlreadyExists { .. })), "{again:?}");
    assert!(
        storage.read(&id, BlobRange::Whole).await.unwrap() == body,
        "it was replaced"
    );
    storage.put(&"pother".into(), body.clone(), &absent).await.unwrap();
}
