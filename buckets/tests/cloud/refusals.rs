//! Buckets that cannot be used: said with advice, and without secrets.

use windlass_buckets::{Cloud, CloudOptions, Provider};
use windlass_mover::storage::{PutOptions, Retention, RetentionMode, Storage, StorageError};

use crate::proxy::{Fate, Proxy};
use crate::world::{IMPATIENT, World, open, said};

async fn refused(options: &CloudOptions) -> (StorageError, String) {
    let error = Cloud::open(options, IMPATIENT).await.expect_err("it cannot be used");
    let said = said(&error);
    assert!(
        !format!("{error:?} {said}").contains("hidden"),
        "a secret was said: {error:?} {said}"
    );
    (error, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_told_from_a_server_that_is_not() {
    const NONE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 46\r\nconnection: close\r\n\r\n\
        <Error><Code>NoSuchBucket</Code></Error>      ";
    for world in World::each() {
        let options = world.options();
        let proxy = Proxy::before(&world.authority(), |_| Fate::Answer(NONE)).await;
        let nowhere = match options.provider {
            Provider::Azure => CloudOptions {
                bucket: "nowhere".to_owned(),
                ..options.clone()
            },
            // The server of the tests says something else than Google.
            Provider::Google => CloudOptions {
                endpoint: Some(proxy.endpoint()),
                ..options.clone()
            },
        };
        let (error, said) = refused(&nowhere).await;
        assert!(matches!(error, StorageError::NoBucket { .. }), "{error:?}");
        assert!(said.contains("make it first"), "{said}");
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let silent = CloudOptions {
            endpoint: Some(format!("http://{nobody}")),
            ..options
        };
        let (error, said) = refused(&silent).await;
        assert!(
            !error.is_permanent() && said.contains("is the endpoint right"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_refused_without_showing_them() {
    let Some(world) = World::azure() else { return };
    let home = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let file = home.path().join("key");
        std::fs::write(&file, text).unwrap();
        Some(file)
    };
    let wrong = CloudOptions {
        credentials_file: file("aGlkZGVu"), // "hidden" in base64
        ..world.options()
    };
    let (error, said) = refused(&wrong).await;
    assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
    assert!(
        said.contains("403") && said.contains("the credentials") && !said.contains("aGlkZGVu"),
        "{said}"
    );
    let no_key = CloudOptions {
        credentials_file: file("hidden!"),
        ..world.options()
    };
    let (error, said) = refused(&no_key).await;
    assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
    assert!(said.contains("AZURE_STORAGE_KEY"), "{said}");
    let signature = CloudOptions {
        credentials_file: None,
        sas_token_file: file("sv=2024-01-01&ss=b&srt=sco&sp=rwdl&se=2020-01-01T00:00:00Z&sig=hidden"),
        ..world.options()
    };
    let (error, _) = refused(&signature).await;
    assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_credentials_are_named_when_they_hold_none() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("key");
    let google = CloudOptions {
        credentials_file: Some(file.clone()),
        ..CloudOptions::new(Provider::Google, "box")
    };
    let azure = CloudOptions {
        account: Some("me".to_owned()),
        ..CloudOptions {
            provider: Provider::Azure,
            ..google.clone()
        }
    };
    for options in [&google, &azure] {
        let (error, said) = refused(options).await;
        assert!(
            matches!(error, StorageError::Io { .. }) && said.contains("key"),
            "{said}"
        );
    }
    std::fs::write(&file, "hidden").unwrap();
    let (error, said) = refused(&google).await;
    assert!(said.contains("no JSON") && said.contains("key"), "{error:?}");
    std::fs::write(&file, r#"{"type": "service_account", "private_key": "hidden"}"#).unwrap();
    let (error, said) = refused(&google).await;
    assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
    assert!(said.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_cannot_be_written_as_it_is_and_a_lock_are_refused() {
    for world in World::each() {
        for prefix in ["a//", "a/../"] {
            let options = CloudOptions {
                prefix: prefix.to_owned(),
                ..world.options()
            };
            let (error, said) = refused(&options).await;
            assert!(matches!(error, StorageError::Unsupported { .. }), "{prefix}: {said}");
        }
        let strange = CloudOptions {
            prefix: "a b/\u{e9}-".to_owned(),
            ..world.options()
        };
        let storage = open(&strange).await;
        let id = "p1".into();
        storage.put(&id, "one".into(), &PutOptions::default()).await.unwrap();
        assert_eq!(storage.metadata(&id).await.unwrap().len, 3);
        storage.delete(&id).await.unwrap();
        assert!(matches!(
            storage.metadata(&id).await,
            Err(StorageError::NotFound { .. })
        ));
        let retention = Some(Retention {
            mode: RetentionMode::Compliance,
            until: jiff::Timestamp::MAX,
        });
        let options = PutOptions {
            retention,
            ..PutOptions::default()
        };
        let locked = storage.put(&id, "one".into(), &options).await;
        assert!(matches!(locked, Err(StorageError::Unsupported { .. })), "{locked:?}");
    }
}
