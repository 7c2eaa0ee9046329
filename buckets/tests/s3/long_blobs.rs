//! Blobs that go up in parts. The contract of storages is called in `tests/conformance`.

use windlass_mover::storage::{BlobRange, PutOptions, Storage, StorageError};

use crate::world::{World, noise};

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
