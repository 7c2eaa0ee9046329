//! Every repository that the real Kopia left for us is opened, listed, verified and restored.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use windlass_mover::blocking::block_on;
use windlass_mover::random::SeededRandom;
use windlass_mover::repository::{OpenOptions, Unlock};
use windlass_mover::restore::{DirectoryTimes, RestoreOptions, RestoreProgress, restore};
use windlass_mover::snapshots::{self, Snapshot};
use windlass_mover::storage::FileSystem;
use windlass_mover::verify::{VerifyOptions, VerifyProgress, VerifyReport, verify_repository, verify_snapshots};
use windlass_mover::{Identity, Repository};

static NO: AtomicBool = AtomicBool::new(false);

#[derive(Deserialize)]
struct Expected {
    password: String,
    snapshots: Vec<ExpectedSnapshot>,
}

#[derive(Deserialize)]
struct ExpectedSnapshot {
    id: String,
    root: String,
    entries: Vec<ExpectedEntry>,
}

/// One file of the source, as the recipe saw it.
#[derive(Debug, Deserialize, PartialEq)]
struct ExpectedEntry {
    path: String,
    r#type: String,
    mode: String,
    /// These are missing where the source was no file: a stream.
    uid: Option<u32>,
    gid: Option<u32>,
    mtime_ns: Option<i128>,
    #[serde(default)]
    size: u64,
    sha256: Option<String>,
    link: Option<String>,
}

fn golden(name: &str) -> (Repository, Expected) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../repo-format/golden/repositories")
        .join(name);
    let expected: Expected = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let storage = FileSystem::open(folder.join("repository")).unwrap();
    let identity = Identity {
        user: "u".to_owned(),
        host: "h".to_owned(),
    };
    let unlock = Unlock::Password(expected.password.clone().into());
    let repository = block_on(Repository::open(Arc::new(storage), unlock, OpenOptions::new(identity))).unwrap();
    (repository, expected)
}

fn is_superuser() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// What was found at a path. Who is no superuser first has to allow himself to look at some things.
fn readable<T>(path: &Path, look: impl Fn() -> io::Result<T>) -> T {
    match look() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
            look().unwrap()
        }
        found => found.unwrap(),
    }
}

/// What lies at a path, in the words of the recipe.
fn describe(path: &Path, name: String) -> ExpectedEntry {
    let there = fs::symlink_metadata(path).unwrap();
    let (kind, size, sha256, link) = if there.is_dir() {
        ("d", 0, None, None)
    } else if there.is_symlink() {
        let target = fs::read_link(path).unwrap();
        let link = String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned();
        ("s", there.len(), None, Some(link))
    } else {
        let bytes = readable(path, || fs::read(path));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        ("f", there.len(), Some(hex::encode(digest)), None)
    };
    ExpectedEntry {
        path: name,
        r#type: kind.to_owned(),
        mode: format!("{:04o}", there.mode() & 0o7777),
        uid: Some(there.uid()),
        gid: Some(there.gid()),
        mtime_ns: Some(i128::from(there.mtime()) * 1_000_000_000 + i128::from(there.mtime_nsec())),
        size,
        sha256,
        link,
    }
}

fn describe_tree(top: &Path) -> BTreeMap<String, ExpectedEntry> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![(top.to_owned(), String::new())];
    while let Some((path, name)) = ahead.pop() {
        let entry = describe(&path, name.clone());
        if entry.r#type == "d" {
            for child in readable(&path, || fs::read_dir(&path)) {
                let child = child.unwrap();
                let child_name = child.file_name().into_string().unwrap();
                let joined = if name.is_empty() {
                    child_name
                } else {
                    format!("{name}/{child_name}")
                };
                ahead.push((child.path(), joined));
            }
        }
        found.insert(name, entry);
    }
    found
}

fn assert_restored(repository: &Repository, snapshot: &Snapshot, expected: &ExpectedSnapshot, target: PathBuf) {
    let options = RestoreOptions {
        directory_times: DirectoryTimes::Stored,
        ..RestoreOptions::default()
    };
    let progress = RestoreProgress::default();
    let root = snapshot.root().unwrap();
    let report = restore(repository, root, &target, &options, &progress, &NO).unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    let mut found = describe_tree(&target);
    for wanted in &expected.entries {
        let mut there = found
            .remove(&wanted.path)
            .unwrap_or_else(|| panic!("{} was not restored", wanted.path));
        if !is_superuser() {
            // What cannot be given to its owner does not act as its owner either.
            let mode = u32::from_str_radix(&wanted.mode, 8).unwrap() & !0o6000;
            assert_eq!(there.mode, format!("{mode:04o}"), "{}", wanted.path);
            (there.uid, there.gid) = (wanted.uid, wanted.gid);
            there.mode.clone_from(&wanted.mode);
        }
        there.mtime_ns = there.mtime_ns.filter(|_| wanted.mtime_ns.is_some());
        there.uid = there.uid.filter(|_| wanted.uid.is_some());
        there.gid = there.gid.filter(|_| wanted.gid.is_some());
        assert_eq!(there, *wanted);
    }
    assert!(found.is_empty(), "too much was restored: {:?}", found.keys());
    let files = expected.entries.iter().filter(|entry| entry.r#type == "f").count();
    assert_eq!(report.files, files as u64);
}

fn assert_sound(report: &VerifyReport) {
    let problems: Vec<String> = report.first_problems.iter().map(ToString::to_string).collect();
    assert!(report.is_sound(), "{problems:#?}");
}

#[track_caller]
fn everything_is_there(name: &str) {
    if !is_superuser() {
        assert!(std::env::var_os("WINDLASS_TESTS").is_none(), "needs the superuser");
        println!("skipped: owners, because only the superuser may give files away");
    }
    let (repository, expected) = golden(name);
    let listed = block_on(snapshots::list_all(&repository, None)).unwrap();
    assert!(listed.unreadable.is_empty());
    let found: BTreeMap<String, &Snapshot> = listed
        .snapshots
        .iter()
        .map(|snapshot| (snapshot.id.to_string(), snapshot))
        .collect();
    let wanted: Vec<&String> = expected.snapshots.iter().map(|snapshot| &snapshot.id).collect();
    assert_eq!(found.len(), wanted.len());

    let all = VerifyOptions::reading(100.0);
    let progress = VerifyProgress::default();
    let random = SeededRandom::new(1);
    let report = verify_repository(&repository, &all, &random, &progress, &NO).unwrap();
    assert_sound(&report);
    assert_eq!(report.contents, report.contents_read);
    let progress = VerifyProgress::default();
    let report = verify_snapshots(&repository, &listed.snapshots, &all, &random, &progress, &NO).unwrap();
    assert_sound(&report);
    assert_eq!(report.snapshots, found.len() as u64);

    let folder = tempfile::tempdir().unwrap();
    for (number, wanted) in expected.snapshots.iter().enumerate() {
        let snapshot = found[&wanted.id];
        assert_eq!(snapshot.root().unwrap().object.unwrap().to_string(), wanted.root);
        let target = folder.path().join(number.to_string());
        assert_restored(&repository, snapshot, wanted, target);
    }
}

macro_rules! golden {
    ($($story:ident: $name:literal)*) => {$(
        #[test]
        fn $story() {
            everything_is_there($name);
        }
    )*};
}

golden! {
    every_kind_of_entry_comes_back: "every-entry-kind"
    all_kinds_of_index_blobs_are_read: "epochs"
    deleted_contents_do_no_harm: "deleted-entries"
    the_first_format_is_read: "version-1"
    lists_of_lists_are_read: "indirect"
    the_longest_content_is_read: "long-contents"
    files_made_of_parts_come_back: "multipart"
    every_compression_is_read: "compressions"
    parity_is_taken_off: "error-correction"
    another_key_derivation_opens: "pbkdf2"
    incomplete_snapshots_are_restored_as_far_as_they_go: "failures"
    hash_blake2b_256_128: "hash-blake2b-256-128"
    hash_blake2b_256: "hash-blake2b-256"
    hash_blake2s_128: "hash-blake2s-128"
    hash_blake2s_256: "hash-blake2s-256"
    hash_blake3_256_128: "hash-blake3-256-128"
    hash_blake3_256: "hash-blake3-256"
    hash_hmac_sha224: "hash-hmac-sha224"
    hash_hmac_sha256: "hash-hmac-sha256"
    hash_hmac_sha256_128: "hash-hmac-sha256-128"
    hash_hmac_sha3_224: "hash-hmac-sha3-224"
    hash_hmac_sha3_256: "hash-hmac-sha3-256"
}

#[test]
fn no_golden_repository_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../repo-format/golden/repositories");
    let stories = fs::read_to_string(file!().replace("mover/", "")).unwrap();
    for repository in fs::read_dir(folder).unwrap() {
        let repository = repository.unwrap();
        if repository.path().is_dir() {
            let name = repository.file_name().into_string().unwrap();
            assert!(stories.contains(&format!("\"{name}\"")), "{name} is not tried");
        }
    }
}
