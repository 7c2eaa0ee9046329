//! Stories of Azure's and Google's buckets, told to servers on loopback that stand in for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use windlass_buckets::{Cloud, CloudOptions, Patience, Provider};
use windlass_mover::storage::conformance::conformance;
use windlass_mover::storage::faulty::Fault;
use windlass_mover::storage::throttled::Limits;
use windlass_mover::storage::{BlobRange, Counting, Faulty, PutOptions, Storage, StorageError, Throttled};
use windlass_tests::{Azurite, FakeGcs, Need};

const PATIENCE: Patience = Patience {
    deadline: Duration::from_secs(20),
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(500),
    silence_max: Duration::from_secs(10),
};

fn azure(server: &Azurite) -> CloudOptions {
    CloudOptions {
        endpoint: Some(server.endpoint()),
        account: Some(Azurite::ACCOUNT.to_owned()),
        credentials_file: Some(server.key_file()),
        ..CloudOptions::new(Provider::Azure, "box")
    }
}

fn google(server: &FakeGcs) -> CloudOptions {
    CloudOptions {
        endpoint: Some(server.endpoint()),
        credentials_file: Some(server.key_file()),
        ..CloudOptions::new(Provider::Google, "box")
    }
}

/// A folder that nobody has used yet.
async fn fresh(options: &CloudOptions) -> Cloud {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("folder-{}/", LAST.fetch_add(1, Ordering::Relaxed));
    let options = CloudOptions { prefix, ..options.clone() };
    Cloud::open(&options, PATIENCE).await.unwrap()
}

/// The contract, bare and behind each wrapper.
async fn keeps_the_contract(options: &CloudOptions) {
    conformance(async || fresh(options).await).await;
    conformance(async || Counting::new(fresh(options).await)).await;
    conformance(async || Faulty::new(fresh(options).await, |_| Fault::None)).await;
    let limits = Limits {
        latency: Duration::from_millis(1),
        calls_max: Some(8),
        ..Limits::default()
    };
    conformance(async || Throttled::new(fresh(options).await, limits)).await;
}

/// A long blob, and what cannot be.
async fn long_and_wrong(options: &CloudOptions) {
    let storage = fresh(options).await;
    let body: bytes::Bytes = (0..30_u32 << 20).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let checked = PutOptions { checksum: true, ..PutOptions::default() };
    storage.put(&"plong".into(), body.clone(), &checked).await.unwrap();
    let (offset, len) = (5 << 20, 20 << 20);
    let part = storage.read(&"plong".into(), BlobRange::Part { offset, len }).await.unwrap();
    assert!(part == body.slice(5 << 20..25 << 20));
    let nowhere = CloudOptions { bucket: "nowhere".to_owned(), ..options.clone() };
    let error = Cloud::open(&nowhere, PATIENCE).await.unwrap_err();
    assert!(matches!(error, StorageError::NoBucket { .. }), "{error:?}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = CloudOptions { endpoint: Some(format!("http://{nobody}")), ..options.clone() };
    let error = Cloud::open(&silent, PATIENCE).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.is_permanent() && cause.contains("is the endpoint right"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azures_containers_keep_the_contract() {
    if !Need::all_met(&[Need::Azurite]) {
        return;
    }
    let server = Azurite::start();
    server.make_container("box");
    let options = azure(&server);
    keeps_the_contract(&options).await;
    long_and_wrong(&options).await;
    let wrong = server.key_file().with_file_name("wrong");
    std::fs::write(&wrong, "aGlkZGVu").unwrap();
    let options = CloudOptions { credentials_file: Some(wrong), ..options };
    let error = Cloud::open(&options, PATIENCE).await.unwrap_err();
    assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("aGlkZGVu"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_buckets_keep_the_contract() {
    if !Need::all_met(&[Need::FakeGcs]) {
        return;
    }
    let server = FakeGcs::start();
    server.make_bucket("box");
    let options = google(&server);
    keeps_the_contract(&options).await;
    long_and_wrong(&options).await;
}
