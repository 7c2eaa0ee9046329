//! Whom we believe, and what the server encrypts.

use windlass_buckets::{S3, S3Options};
use windlass_mover::storage::{BlobRange, PutOptions, Storage, StorageError};
use windlass_tests::{Need, SeaweedFs};

use crate::world::{World, impatient, noise, said};

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_that_are_trusted_are_believed_unless_any_is_to_be() {
    if !Need::all_met(&[Need::SeaweedFs, Need::OpenSsl]) {
        return;
    }
    let Some(world) = World::with_bucket(false) else { return };
    let server = SeaweedFs::start_with_tls();
    server.make_bucket("sealed");
    let options = S3Options {
        bucket: "sealed".to_owned(),
        endpoint: Some(format!("https://{}", server.authority())),
        ..world.options()
    };
    let error = S3::open(&options, impatient())
        .await
        .expect_err("nobody has signed the certificate");
    let text = said(&error);
    assert!(error.is_permanent() && text.contains("ca-bundle="), "{text}");
    let (id, body) = ("p1".into(), noise(1 << 20));
    for trusting in [
        S3Options {
            ca_bundle: Some(server.certificate()),
            ..options.clone()
        },
        S3Options {
            skip_verify: true,
            ..options.clone()
        },
    ] {
        let storage = S3::open(&trusting, impatient()).await.unwrap();
        storage.put(&id, body.clone(), &PutOptions::default()).await.unwrap();
        assert!(storage.read(&id, BlobRange::Whole).await.unwrap() == body);
    }
    let long = noise(30 << 20);
    let key = world.home.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let encrypting = S3Options {
        ca_bundle: Some(server.certificate()),
        customer_key_file: Some(key),
        ..options.clone()
    };
    let encrypted = S3::open(&encrypting, impatient()).await.unwrap();
    for (name, body) in [("pshort", &body), ("plong", &long)] {
        let id = name.into();
        encrypted.put(&id, body.clone(), &PutOptions::default()).await.unwrap();
        assert!(encrypted.read(&id, BlobRange::Whole).await.unwrap() == *body, "{name}");
        let part = encrypted
            .read(
                &id,
                BlobRange::Part {
                    offset: 1000,
                    len: 70_000,
                },
            )
            .await
            .unwrap();
        assert!(part == body.slice(1000..71_000), "{name}");
    }
    let plain = S3Options {
        ca_bundle: Some(server.certificate()),
        ..options
    };
    let plain = S3::open(&plain, impatient()).await.unwrap();
    let read = plain.read(&"pshort".into(), BlobRange::Whole).await;
    assert!(
        matches!(read, Err(StorageError::Io { .. } | StorageError::Denied { .. })),
        "{read:?}"
    );
}
