//! The proving ground of the folder: what it does beyond the conformance suite.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use futures_util::TryStreamExt;
use tempfile::TempDir;

use super::*;
use crate::storage::conformance::conformance;
use crate::storage::{Retention, RetentionMode};

/// A storage in a directory that goes with it.
#[derive(Debug)]
struct Temporary {
    storage: FileSystem,
    _directory: TempDir,
}

fn temporary_in(directory: TempDir, sharding: Sharding) -> Temporary {
    Temporary {
        storage: FileSystem::create(directory.path().join("repository"), sharding).unwrap(),
        _directory: directory,
    }
}

fn temporary() -> Temporary {
    temporary_in(tempfile::tempdir().unwrap(), Sharding::default())
}

#[async_trait]
impl Storage for Temporary {
    fn location(&self) -> String {
        self.storage.location()
    }
    fn can_retain(&self) -> bool {
        self.storage.can_retain()
    }
    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.storage.read(id, range).await
    }
    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.storage.metadata(id).await
    }
    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        self.storage.put(id, body, options).await
    }
    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.storage.delete(id).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        self.storage.list(prefix)
    }
}

fn with_override() -> Sharding {
    Sharding {
        overrides: vec![
            ShardingOverride {
                prefix: "x".to_owned(),
                levels: vec![2, 2, 40],
            },
            ShardingOverride {
                prefix: "_".to_owned(),
                levels: vec![],
            },
        ],
        ..Sharding::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract_however_it_is_sharded() {
    let unbounded = Sharding {
        unsharded_len_max: 0,
        ..Sharding::levels(&[1, 0, 2])
    };
    // One on the disk; each of its puts waits for the disk, so the others are where nobody waits, if there is such a place.
    let shared_memory = Path::new("/dev/shm");
    let place = match tempfile::tempdir_in(shared_memory) {
        Ok(_) => shared_memory.to_owned(),
        Err(_) => std::env::temp_dir(),
    };
    conformance(async || temporary_in(tempfile::tempdir().unwrap(), Sharding::default())).await;
    for sharding in [
        Sharding::default(),
        Sharding::when_missing(),
        Sharding::flat(),
        with_override(),
        unbounded,
    ] {
        conformance(async || temporary_in(tempfile::tempdir_in(&place).unwrap(), sharding.clone())).await;
    }
}

#[test]
fn without_a_runtime_the_work_is_done_in_place() {
    // The future has nobody to wait for: one poll finishes it.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let temporary = temporary();
    let id = BlobId::from("p0123456789abcdef0123456789abcdef");
    let options = PutOptions::default();
    let mut put = temporary.put(&id, Bytes::from_static(b"1"), &options);
    assert!(matches!(put.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(_))));
}

fn path(sharding: &Sharding, name: &str) -> String {
    let path = sharding.path(&name.into()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn blobs_lie_where_kopia_puts_them() {
    let sharding = Sharding::default();
    for (name, wanted) in [
        (
            "q57626338a2a18a2a3ad8ac5b31ef9d85-s2fc4ef8b93d6a1c1147",
            "q/576/26338a2a18a2a3ad8ac5b31ef9d85-s2fc4ef8b93d6a1c1147.f",
        ),
        (
            "xn0_9549ecc1d36dc9d75bb6faf90e4a4a2e-s-c1",
            "x/n0_/9549ecc1d36dc9d75bb6faf90e4a4a2e-s-c1.f",
        ),
        ("_log_20260101000000_ab12", "_/log/_20260101000000_ab12.f"),
        ("kopia.repository", "kopia.repository.f"),
        ("xe5", "xe5.f"),
        ("xw1795392561", "xw1795392561.f"),
    ] {
        assert_eq!(path(&sharding, name), wanted);
    }
    let name = "xn0_9549ecc1d36dc9d75bb6faf90e4a4a2e-s-c1";
    assert_eq!(
        path(&Sharding::when_missing(), name),
        "xn0/_95/49ecc1d36dc9d75bb6faf90e4a4a2e-s-c1.f"
    );
    assert_eq!(path(&Sharding::flat(), name), format!("{name}.f"));
    assert_eq!(
        path(&with_override(), name),
        "xn/0_/9549ecc1d36dc9d75bb6faf90e4a4a2e-s-c1.f"
    );
    assert_eq!(
        path(&with_override(), "_log_20260101000000_ab12"),
        "_log_20260101000000_ab12.f"
    );
}

#[test]
fn the_shards_file_is_what_kopia_writes() {
    let golden = b"{\"default\":[1,3],\"maxNonShardedLength\":20}\n";
    assert_eq!(Sharding::default().encode(), golden);
    assert_eq!(Sharding::decode(golden).unwrap(), Sharding::default());
    let special = with_override();
    assert_eq!(Sharding::decode(&special.encode()).unwrap(), special);
    let odd = br#"{"default":null,"maxNonShardedLength":20,"overrides":null,"unknown":{}}"#;
    assert_eq!(Sharding::decode(odd).unwrap(), Sharding::flat());
    for broken in ["", "[]", r#"{"default":[-1]}"#, r#"{"default":"1,3"}"#] {
        assert!(Sharding::decode(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn no_name_leads_out_of_the_root() {
    let two = Sharding {
        unsharded_len_max: 0,
        ..Sharding::levels(&[2, 1])
    };
    for name in [
        "",
        "..",
        "../../etc/passwd",
        "..0123456789abcdef0123456789abcdef",
        "a/b",
        "/etc/passwd",
        "with space",
        "nul\0",
        "ümlaut",
        "line\nbreak",
    ] {
        for sharding in [&Sharding::default(), &two, &Sharding::flat()] {
            match sharding.path(&name.into()) {
                Err(StorageError::BadName { .. }) => {}
                Err(error) => panic!("{name:?}: {error}"),
                Ok(path) => assert!(
                    path.components()
                        .all(|part| matches!(part, std::path::Component::Normal(_))),
                    "{name:?} leads to {}",
                    path.display()
                ),
            }
        }
    }
    assert!(matches!(two.path(&"ab.cdef".into()), Err(StorageError::BadName { .. })));
    let long = BlobId::from("p".repeat(400));
    assert!(matches!(two.path(&long), Err(StorageError::BadName { .. })));
}

proptest::proptest! {
    #[test]
    fn a_listed_path_spells_the_name_again(name in "[!-.0-~]{1,80}", levels in proptest::collection::vec(0u32..5, 0..4), whole in 0u32..30) {
        let sharding = Sharding { levels, unsharded_len_max: whole, overrides: vec![] };
        if let Ok(path) = sharding.path(&name.as_str().into()) {
            let joined: String = path.components().map(|part| part.as_os_str().to_str().unwrap()).collect();
            proptest::prop_assert_eq!(joined.strip_suffix(".f"), Some(name.as_str()));
        }
    }
}

#[tokio::test]
async fn only_blobs_are_listed() {
    let temporary = temporary();
    let root = temporary.storage.root().to_owned();
    temporary
        .put(&"xe5".into(), Bytes::new(), &PutOptions::default())
        .await
        .unwrap();
    for stray in ["xe6.f.tmp.0123456789abcdef", "notes.txt", ".f", "p"] {
        fs::write(root.join(stray), "stray").unwrap();
    }
    fs::create_dir(root.join("xe7.f")).unwrap();
    let listed: Vec<BlobMetadata> = temporary.list("").try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|blob| blob.id.as_str()).collect::<Vec<_>>(), ["xe5"]);
}

#[tokio::test]
async fn files_are_private_and_nothing_is_left_over() {
    let temporary = temporary();
    let root = temporary.storage.root().to_owned();
    let id = BlobId::from("p0123456789abcdef0123456789abcdef");
    temporary
        .put(&id, Bytes::from(vec![1; 1 << 20]), &PutOptions::default())
        .await
        .unwrap();
    let file = root.join("p/012/3456789abcdef0123456789abcdef.f");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(root.join("p/012")).unwrap().mode() & 0o777, 0o700);
    // A directory in the way of the final name: the put fails at its last step.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let failed = temporary
        .put(&id, Bytes::from(vec![1; 1 << 20]), &PutOptions::default())
        .await;
    assert!(matches!(failed, Err(StorageError::Io { .. })), "{failed:?}");
    assert_eq!(
        fs::read_dir(root.join("p/012")).unwrap().count(),
        1,
        "the temporary file is gone"
    );
}

#[test]
fn an_existing_shards_file_counts() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::write(root.join(".shards"), "{\"default\":[2],\"maxNonShardedLength\":5}\n").unwrap();
    for storage in [
        FileSystem::open(root).unwrap(),
        FileSystem::create(root, Sharding::flat()).unwrap(),
    ] {
        assert_eq!(storage.sharding().levels, [2]);
        assert!(!storage.sharding_is_guess());
    }
    fs::write(root.join(".shards"), "{").unwrap();
    assert!(matches!(FileSystem::open(root), Err(StorageError::BadShards { .. })));
    fs::remove_file(root.join(".shards")).unwrap();
    let storage = FileSystem::open(root).unwrap();
    assert_eq!(
        (storage.sharding(), storage.sharding_is_guess()),
        (&Sharding::when_missing(), true)
    );
    assert!(!root.join(".shards").exists(), "opening writes nothing");
}

#[tokio::test]
async fn what_the_system_refuses_is_said_with_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    assert!(matches!(FileSystem::open(&nowhere), Err(StorageError::NoStorage { place }) if place.ends_with("nowhere")));

    let storage = FileSystem::create(directory.path().join("repository"), Sharding::default()).unwrap();
    let id = BlobId::from("p0123456789abcdef0123456789abcdef");
    let put = async || storage.put(&id, Bytes::from_static(b"1"), &PutOptions::default()).await;
    fs::write(storage.root().join("p"), "in the way").unwrap();
    for failed in [
        put().await.unwrap_err(),
        storage.read(&id, BlobRange::Whole).await.unwrap_err(),
    ] {
        assert!(
            matches!(&failed, StorageError::NotADirectory { place, .. } if place.contains("p/012")),
            "{failed}"
        );
    }
    fs::remove_file(storage.root().join("p")).unwrap();
    let locked = PutOptions {
        retention: Some(Retention {
            mode: RetentionMode::Governance,
            until: jiff::Timestamp::MAX,
        }),
        ..PutOptions::default()
    };
    let failed = storage.put(&id, Bytes::new(), &locked).await;
    assert!(matches!(failed, Err(StorageError::Unsupported { .. })), "{failed:?}");

    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(storage.root(), fs::Permissions::from_mode(0o500)).unwrap();
        let failed = put().await;
        fs::set_permissions(storage.root(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(
            matches!(&failed, Err(StorageError::Denied { place, .. }) if place.contains("repository")),
            "{failed:?}"
        );
    }

    fs::remove_dir_all(storage.root()).unwrap();
    for failed in [put().await.unwrap_err(), storage.metadata(&id).await.unwrap_err()] {
        assert!(
            matches!(failed, StorageError::NoStorage { .. }),
            "{failed}: a disk that is not mounted is no empty one"
        );
    }
    let listed = storage.list("").try_collect::<Vec<_>>().await;
    assert!(matches!(listed, Err(StorageError::NoStorage { .. })), "{listed:?}");
}
