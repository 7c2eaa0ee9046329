//! The roll call: the contract of storages over every storage there is, bare and behind every wrapper, and a list of
//! what was called.
//!
//! Servers that are not there are passed over with a word, but not under `tests/run`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use windlass_buckets::{Cloud, CloudOptions, Patience, Provider, S3, S3Options};
use windlass_mover::clock::SystemClock;
use windlass_mover::storage::conformance::{Lists, conformance_with};
use windlass_mover::storage::faulty::Fault;
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::storage::throttled::Limits;
use windlass_mover::storage::{Counting, Faulty, FileSystem, Late, Memory, Storage, Throttled};
use windlass_tests::{Azurite, FakeGcs, Need, SeaweedFs, workspace};

/// Each with the type of storage that it is.
const STORAGES: [(&str, &str); 6] = [
    ("memory", "Memory"),
    ("folder", "FileSystem"),
    ("S3", "S3"),
    ("S3 with object lock", "S3"),
    ("Google", "Cloud"),
    ("Azure", "Cloud"),
];

/// Each by its type; the first is none.
const WRAPPERS: [&str; 5] = ["bare", "Counting", "Faulty", "Throttled", "Late"];

/// What only leads to another storage.
const NO_STORAGES: [&str; 1] = ["Arc"];

type Call = (&'static str, &'static str);

/// What has been called so far.
#[derive(Default)]
struct Roll(Mutex<Vec<(Call, Duration)>>);

impl Roll {
    fn tick(&self, call: Call, took: Duration) {
        self.0.lock().expect("nobody panics with it").push((call, took));
    }
}

/// The contract of one storage and of all wrappers around it.
async fn examine<S, F, Made>(roll: &Roll, storage: &'static str, fresh: F)
where
    S: Storage,
    F: Fn() -> Made,
    Made: Future<Output = S>,
{
    let slow = Limits {
        latency: Duration::from_millis(1),
        read_bytes_per_second: Some(1 << 30),
        put_bytes_per_second: Some(1 << 30),
        calls_max: Some(8),
    };
    for wrapper in WRAPPERS {
        let begun = Instant::now();
        let exact = Lists::Exact;
        match wrapper {
            "bare" => conformance_with(exact, &fresh).await,
            "Counting" => conformance_with(exact, async || Counting::new(fresh().await)).await,
            "Faulty" => conformance_with(exact, async || Faulty::new(fresh().await, |_| Fault::None)).await,
            "Throttled" => conformance_with(exact, async || Throttled::new(fresh().await, slow)).await,
            "Late" => conformance_with(Lists::Late, async || Late::new(fresh().await, 3)).await,
            other => panic!("{other} is called and not known"),
        }
        roll.tick((storage, wrapper), begun.elapsed());
    }
}

fn impatient() -> Patience {
    Patience {
        deadline: Duration::from_secs(20),
        first_pause: Duration::from_millis(20),
        longest_pause: Duration::from_millis(500),
        silence_max: Duration::from_secs(10),
    }
}

/// A prefix that nobody has used yet.
fn prefix() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("folder-{}/", LAST.fetch_add(1, Ordering::Relaxed))
}

async fn memory(roll: &Roll) {
    examine(roll, "memory", async || Memory::new(Arc::new(SystemClock))).await;
}

async fn folder(roll: &Roll) {
    // Where nobody waits for a disk, if there is such a place; the tests of `mover` use the disk.
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let home = home.expect("a temporary folder can be made");
    examine(roll, "folder", async || {
        let place = home.path().join(prefix());
        std::fs::create_dir(&place).expect("the folder is ours");
        FileSystem::create(&place, Sharding::default()).expect("it is empty")
    })
    .await;
}

async fn s3(roll: &Roll, storage: &'static str, bucket: &str) {
    let server = SeaweedFs::shared();
    if bucket == "locking" {
        server.make_locking_bucket(bucket);
    } else {
        server.make_bucket(bucket);
    }
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let file = home.path().join("credentials");
    let (key, secret) = (SeaweedFs::ACCESS_KEY, SeaweedFs::SECRET_KEY);
    let text = format!("[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n");
    std::fs::write(&file, text).expect("the folder is ours");
    examine(roll, storage, async || {
        let options = S3Options {
            bucket: bucket.to_owned(),
            prefix: prefix(),
            endpoint: Some(server.endpoint()),
            region: Some("us-east-1".to_owned()),
            credentials_file: Some(file.clone()),
            ..S3Options::default()
        };
        S3::open(&options, impatient()).await.expect("the server is there")
    })
    .await;
}

async fn cloud(roll: &Roll, storage: &'static str, options: CloudOptions) {
    examine(roll, storage, async || {
        let options = CloudOptions {
            prefix: prefix(),
            ..options.clone()
        };
        Cloud::open(&options, impatient()).await.expect("the server is there")
    })
    .await;
}

async fn google(roll: &Roll) {
    let server = FakeGcs::start();
    server.make_bucket("box");
    let options = CloudOptions {
        endpoint: Some(server.endpoint()),
        credentials_file: Some(server.key_file()),
        ..CloudOptions::new(Provider::Google, "box")
    };
    cloud(roll, "Google", options).await;
}

async fn azure(roll: &Roll) {
    let server = Azurite::start();
    server.make_container("box");
    let options = CloudOptions {
        endpoint: Some(server.endpoint()),
        account: Some(Azurite::ACCOUNT.to_owned()),
        credentials_file: Some(server.key_file()),
        ..CloudOptions::new(Provider::Azure, "box")
    };
    cloud(roll, "Azure", options).await;
}

/// Calls one storage; false where its server is not there.
fn call(roll: &Roll, storage: &'static str) -> bool {
    let needs: &[Need] = match storage {
        "S3" | "S3 with object lock" => &[Need::SeaweedFs],
        "Google" => &[Need::FakeGcs],
        "Azure" => &[Need::Azurite],
        _ => &[],
    };
    if !Need::all_met(needs) {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads can be made").block_on(async {
        match storage {
            "memory" => memory(roll).await,
            "folder" => folder(roll).await,
            "S3" => s3(roll, storage, "open").await,
            "S3 with object lock" => s3(roll, storage, "locking").await,
            "Google" => google(roll).await,
            "Azure" => azure(roll).await,
            other => panic!("{other} is called and not known"),
        }
    });
    true
}

#[test]
fn every_storage_keeps_the_contract_bare_and_behind_every_wrapper() {
    let roll = Roll::default();
    let there: Vec<&str> = std::thread::scope(|scope| {
        let calls = STORAGES.map(|(storage, _)| (storage, scope.spawn(|| call(&roll, storage))));
        let there = calls.into_iter().filter_map(|(storage, call)| {
            let is_there = call.join().unwrap_or_else(|_| panic!("{storage} breaks the contract"));
            is_there.then_some(storage)
        });
        there.collect()
    });
    let called = roll.0.into_inner().expect("nobody panics with it");
    // Written past the harness, which keeps what a passing test prints to itself.
    let mut out = std::io::stdout().lock();
    for (storage, _) in STORAGES {
        let of_it = called.iter().filter(|((of, _), _)| *of == storage);
        let line: Vec<String> = of_it
            .map(|((_, wrapper), took)| format!("{wrapper} {took:.1?}"))
            .collect();
        let line = if line.is_empty() {
            "not there".to_owned()
        } else {
            line.join(", ")
        };
        writeln!(out, "conformance: {storage}: {line}").expect("standard output is there");
    }
    let called: BTreeSet<Call> = called.into_iter().map(|(call, _)| call).collect();
    let pairs = there
        .iter()
        .flat_map(|storage| WRAPPERS.map(|wrapper| (*storage, wrapper)));
    assert_eq!(called, pairs.collect(), "not all were called");
}

/// Storages and wrappers by the sources: `impl Storage for NAME` and `impl<S: Storage> Storage for NAME<S>`.
fn written(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources are there").flatten() {
        let path: PathBuf = entry.path();
        if path.is_dir() {
            written(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("the sources are text");
            let names = text.lines().filter(|line| line.starts_with("impl")).filter_map(|line| {
                let (_, name) = line.split_once("Storage for ")?;
                name.split(['<', ' ', '{']).next().map(str::to_owned)
            });
            found.extend(names);
        }
    }
}

#[test]
fn no_storage_and_no_wrapper_is_left_out() {
    let mut found = BTreeSet::new();
    for folder in ["mover/src", "buckets/src"] {
        written(&workspace().join(folder), &mut found);
    }
    let storages = STORAGES.iter().map(|(_, kind)| *kind);
    let known = storages.chain(WRAPPERS.into_iter().skip(1)).chain(NO_STORAGES);
    let known: BTreeSet<String> = known.map(str::to_owned).collect();
    assert_eq!(found, known, "what is written is not what is called");
}
