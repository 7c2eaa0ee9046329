//! What cannot work says what was being done, to what, and what to do.

use std::time::{Duration, Instant};

use windlass_buckets::{S3, S3Options};
use windlass_mover::storage::{Storage, StorageError};
use windlass_tests::SeaweedFs;

use crate::world::{World, impatient, said};

async fn refused(options: &S3Options) -> (StorageError, String) {
    let error = match S3::open(options, impatient()).await {
        Ok(storage) => panic!("{} was opened", storage.location()),
        Err(error) => error,
    };
    let text = said(&error);
    assert!(!text.contains(SeaweedFs::SECRET_KEY), "a secret was said: {text}");
    (error, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_from_missing_rights() {
    let Some(world) = World::with_bucket(false) else { return };
    for (key, secret, code) in [
        (SeaweedFs::ACCESS_KEY, "hidden", "SignatureDoesNotMatch"),
        ("NOBODY", SeaweedFs::SECRET_KEY, "InvalidAccessKeyId"),
    ] {
        let text = format!("[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n");
        std::fs::write(world.credentials(), text).unwrap();
        let (error, said) = refused(&world.options()).await;
        assert!(matches!(error, StorageError::Denied { .. }), "{said}");
        for word in ["cannot open s3://bucket-", code, "check the access key"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("hidden"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(world) = World::with_bucket(false) else { return };
    let options = S3Options {
        bucket: "nowhere".to_owned(),
        ..world.options()
    };
    let (error, said) = refused(&options).await;
    assert!(matches!(error, StorageError::NoBucket { .. }), "{said}");
    assert!(
        said.contains("s3://nowhere/") && said.contains("make it first"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_given_up_soon() {
    let Some(world) = World::with_bucket(false) else { return };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let options = S3Options {
        endpoint: Some(format!("http://{nobody}")),
        ..world.options()
    };
    let begun = Instant::now();
    let (error, said) = refused(&options).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(!error.is_permanent(), "{said}");
    for word in ["cannot open", &nobody.to_string(), "is the endpoint right"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_not_there_is_no_reason_to_ask_the_server() {
    let Some(world) = World::with_bucket(false) else { return };
    let options = S3Options {
        profile: Some("nobody".to_owned()),
        ..world.options()
    };
    let (error, said) = refused(&options).await;
    assert!(matches!(error, StorageError::Denied { .. }), "{said}");
    assert!(said.contains("nobody") && said.contains("AWS_ACCESS_KEY_ID"), "{said}");
}
