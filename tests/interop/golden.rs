//! The golden room: what Windlass finds in the repositories that Kopia wrote once and for all. Needs no Kopia.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use windlass_tests::{Listing, Need, Slack, World, workspace};

fn golden_folder() -> PathBuf {
    workspace().join("repo-format/golden/repositories")
}

/// Lists, verifies and restores every snapshot of a golden repository.
#[track_caller]
fn as_expected(name: &str) {
    let Some(world) = World::with(&[Need::Root]) else {
        return;
    };
    let folder = golden_folder().join(name);
    let expected = std::fs::read(folder.join("expected.json")).expect("a golden repository says what it holds");
    let expected: Value = serde_json::from_slice(&expected).expect("the recipe writes JSON");
    let copy = world.path("repository");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(folder.join("repository"))
        .arg(&copy)
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    let windlass = world.windlass(&copy, expected["password"].as_str().expect("a password is text"));
    let snapshots = expected["snapshots"].as_array().expect("a list of snapshots");
    let complete: BTreeSet<_> = snapshots
        .iter()
        .filter(|snapshot| snapshot["incomplete"].is_null())
        .map(|snapshot| {
            (
                snapshot["id"].as_str().unwrap_or_default(),
                snapshot["root"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let listed = windlass.snapshots();
    let listed: BTreeSet<_> = listed
        .iter()
        .map(|snapshot| (snapshot.id.as_str(), snapshot.root.as_str()))
        .collect();
    assert!(listed.is_superset(&complete), "listed {listed:?}, wanted {complete:?}");
    windlass.run(&["repo", "verify"]);
    for (number, snapshot) in snapshots.iter().enumerate() {
        let restored = world.path(&format!("restored-{number}"));
        windlass.restore(snapshot["id"].as_str().expect("an id is text"), &restored);
        Listing::from_expected(&snapshot["entries"]).assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
    }
}

macro_rules! golden {
    ($($story:ident: $name:literal)*) => {
        $(
            #[test]
            fn $story() {
                as_expected($name);
            }
        )*

        #[test]
        fn every_golden_repository_is_read() {
            let told = BTreeSet::from([$($name.to_owned()),*]);
            let there = std::fs::read_dir(golden_folder()).expect("golden repositories are part of the tree").flatten();
            let there = there.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let there: BTreeSet<_> = there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            assert_eq!(there, told);
        }
    };
}

golden! {
    every_entry_kind: "every-entry-kind"
    epochs: "epochs"
    deleted_entries: "deleted-entries"
    version_1: "version-1"
    indirect: "indirect"
    long_contents: "long-contents"
    multipart: "multipart"
    compressions: "compressions"
    error_correction: "error-correction"
    pbkdf2: "pbkdf2"
    failures: "failures"
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
