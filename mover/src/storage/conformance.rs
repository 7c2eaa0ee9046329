//! The examination room: the contract of a storage, as a test that every storage and every wrapper takes.

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use windlass_repo_format::id::BlobId;

use super::{BlobMetadata, BlobRange, PutOptions, Retention, RetentionMode, Storage, StorageError};

/// What the lists of a storage may be asked for. All else of the contract holds of both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// Everything that was done before they began.
    Exact,
    /// That they come to it, by the 10th list at the latest when nothing changes meanwhile. Until then a blob is shown
    /// as it was or as it is, or not if it was or is not there; never a name that no blob had.
    Late,
}

impl Lists {
    fn tries_max(self) -> u32 {
        match self {
            Self::Exact => 1,
            Self::Late => 10,
        }
    }
}

/// Asks everything of the contract of storages that `make` gives, each of them empty and its own.
///
/// Panics with what was broken. Takes some 25 MB in each of the storages that are made.
pub async fn conformance<S, F, Made>(make: F)
where
    S: Storage,
    F: Fn() -> Made,
    Made: Future<Output = S>,
{
    conformance_with(Lists::Exact, make).await;
}

/// The same of storages whose lists may be late.
pub async fn conformance_with<S, F, Made>(lists: Lists, make: F)
where
    S: Storage,
    F: Fn() -> Made,
    Made: Future<Output = S>,
{
    empty(lists, &make().await).await;
    ranges(&make().await).await;
    replacing(lists, &make().await).await;
    deleting(lists, &make().await).await;
    listing(lists, &make().await).await;
    long_lists(lists, &make().await).await;
    large(&make().await).await;
    same_name_at_once(lists, &make().await).await;
    only_if_absent(lists, &make().await).await;
    only_one_is_first(lists, &make().await).await;
    retaining(&make().await).await;
    listing_while_writing(lists, &make().await).await;
}

/// Names as they occur in repositories, on both sides of 20 characters, and some that share beginnings.
const NAMES: [&str; 14] = [
    "kopia.repository",
    "kopia.blobcfg",
    "xe5",
    "xw1795392561",
    "p",
    "pa",
    "pack-of-20-letters-p",
    "pack-of-21-letters-pa",
    "pf0e1d2c3b4a5968778695a4b3c2d1e0f-s0123456789abcdef0",
    "pf0e1d2c3b4a5968778695a4b3c2d1e0f-s0123456789abcdef1",
    "qf0e1d2c3b4a5968778695a4b3c2d1e0f-s0123456789abcdef0",
    "xn0_0123456789abcdef0123456789abcdef-s0123456789abcdef0-c1",
    "xn0_0123456789abcdef0123456789abcdef--c1",
    "_log_20261123125131_ab12_1795438291_1795438301_1_0123456789abcdef0123456789abcdef",
];

async fn put(storage: &impl Storage, name: &str, body: impl Into<Bytes>) -> BlobMetadata {
    let (id, body) = (BlobId::from(name), body.into());
    let len = body.len() as u64;
    let metadata = storage
        .put(&id, body, &PutOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{name} must be accepted: {error}"));
    assert_eq!(
        (&metadata.id, metadata.len),
        (&id, len),
        "a put describes what it has put"
    );
    metadata
}

async fn read(storage: &impl Storage, name: &str) -> Bytes {
    storage
        .read(&name.into(), BlobRange::Whole)
        .await
        .unwrap_or_else(|error| panic!("{name} must be readable: {error}"))
}

async fn listed(storage: &impl Storage, prefix: &str) -> Vec<BlobMetadata> {
    let mut listed: Vec<BlobMetadata> = storage
        .list(prefix)
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("{prefix:?} must be listed: {error}"));
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    listed
}

/// What a list shows once it is `wanted`, or what it shows at last.
async fn settled<T: PartialEq>(
    lists: Lists,
    storage: &impl Storage,
    prefix: &str,
    of: impl Fn(&BlobMetadata) -> T,
    wanted: &[T],
) -> Vec<T> {
    let mut seen = Vec::new();
    for _ in 0..lists.tries_max() {
        seen = listed(storage, prefix).await.iter().map(&of).collect();
        if seen == wanted {
            break;
        }
    }
    seen
}

/// Asserts the names that a list shows; `wanted` is sorted.
async fn shows<N: AsRef<str>>(lists: Lists, storage: &impl Storage, prefix: &str, wanted: &[N], why: &str) {
    let wanted: Vec<&str> = wanted.iter().map(AsRef::as_ref).collect();
    let owned: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let seen = settled(lists, storage, prefix, |blob| blob.id.to_string(), &owned).await;
    assert_eq!(seen, wanted, "{why}: prefix {prefix:?}");
}

/// Bytes that differ from place to place and from seed to seed.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32)
        .map(|place| {
            (place
                .wrapping_mul(2_654_435_761)
                .wrapping_add(seed.wrapping_mul(40_503))
                >> 13) as u8
        })
        .collect()
}

async fn empty(lists: Lists, storage: &impl Storage) {
    shows::<&str>(lists, storage, "", &[], "a new storage lists nothing").await;
    let missing = BlobId::from("p0123456789abcdef0123456789abcdef");
    let is_missing = |error: &StorageError| matches!(error, StorageError::NotFound { blob } if *blob == missing);
    for range in [
        BlobRange::Whole,
        BlobRange::Part { offset: 0, len: 1 },
        BlobRange::Part { offset: 0, len: 0 },
    ] {
        let error = storage.read(&missing, range).await.expect_err("nothing to read");
        assert!(is_missing(&error), "{range:?}: {error}");
        assert!(error.is_permanent(), "another try finds nothing either");
    }
    let error = storage.metadata(&missing).await.expect_err("nothing to look at");
    assert!(is_missing(&error), "{error}");
    assert!(!storage.location().is_empty(), "a storage says where it is");
}

async fn ranges(storage: &impl Storage) {
    for (name, len) in [
        ("kopia.repository", 10_000),
        ("p0123456789abcdef0123456789abcdef", 70_001),
    ] {
        let body = pattern(len, 1);
        put(storage, name, body.clone()).await;
        assert_eq!(read(storage, name).await, body, "{name} whole");
        let end = len as u64;
        for (offset, len) in [
            (0, end),
            (0, 1),
            (end - 1, 1),
            (4095, 2),
            (4096, 4096),
            (end, 0),
            (7, 0),
            (1, end - 1),
        ] {
            let part = BlobRange::Part { offset, len };
            let got = storage
                .read(&name.into(), part)
                .await
                .unwrap_or_else(|error| panic!("{name} {part:?}: {error}"));
            assert_eq!(got, &body[offset as usize..][..len as usize], "{name} {part:?}");
        }
        for (offset, len) in [
            (0, end + 1),
            (end, 1),
            (end + 1, 1),
            (end - 1, 2),
            (u64::MAX, 1),
            (1, u64::MAX),
        ] {
            let part = BlobRange::Part { offset, len };
            let error = storage
                .read(&name.into(), part)
                .await
                .expect_err("a part beyond the end is no part");
            assert!(
                matches!(error, StorageError::OutOfRange { .. }),
                "{name} {part:?}: {error}"
            );
        }
    }
}

async fn replacing(lists: Lists, storage: &impl Storage) {
    for name in ["xe5", "p0123456789abcdef0123456789abcdef"] {
        let before = put(storage, name, pattern(5000, 1)).await;
        assert_eq!(
            storage.metadata(&name.into()).await.ok().as_ref(),
            Some(&before),
            "{name}"
        );
        let after = put(storage, name, pattern(300, 2)).await;
        assert_eq!(
            read(storage, name).await,
            pattern(300, 2),
            "the new bytes of {name}, all of them"
        );
        assert_eq!(
            storage.metadata(&name.into()).await.ok().as_ref(),
            Some(&after),
            "{name}"
        );
        assert!(after.modified >= before.modified, "{name} got no older");
        put(storage, name, Bytes::new()).await;
        assert!(read(storage, name).await.is_empty(), "{name} may be empty");
        let none = BlobRange::Part { offset: 0, len: 0 };
        assert!(storage.read(&name.into(), none).await.is_ok_and(|part| part.is_empty()));
        assert!(storage.metadata(&name.into()).await.is_ok_and(|blob| blob.len == 0));
        shows(lists, storage, name, &[name], "replaced, not doubled").await;
    }
}

async fn deleting(lists: Lists, storage: &impl Storage) {
    for name in ["xe5", "p0123456789abcdef0123456789abcdef"] {
        put(storage, name, pattern(100, 1)).await;
        let neighbour = format!("{name}0");
        put(storage, &neighbour, pattern(100, 2)).await;
        for time in ["first", "second"] {
            let deleted = storage.delete(&name.into()).await;
            assert!(deleted.is_ok(), "the {time} delete of {name}: {deleted:?}");
        }
        let gone = storage.read(&name.into(), BlobRange::Whole).await;
        assert!(matches!(gone, Err(StorageError::NotFound { .. })), "{name}: {gone:?}");
        shows(lists, storage, name, &[neighbour], "only what was deleted is gone").await;
        put(storage, name, pattern(100, 3)).await;
        assert_eq!(read(storage, name).await, pattern(100, 3), "{name} can come again");
    }
}

async fn listing(lists: Lists, storage: &impl Storage) {
    let mut kept = BTreeMap::new();
    for (number, name) in NAMES.into_iter().enumerate() {
        let metadata = put(storage, name, pattern(number * 7, number as u32)).await;
        kept.insert(name, metadata);
    }
    let mut prefixes: Vec<&str> = vec!["", "y", "pz", "kopia.repository.", "xn0_x", "_log_2026112312513100"];
    // Every beginning of every name: among them some that end within, at and behind the cuts of any sharding.
    prefixes.extend(NAMES.iter().flat_map(|name| (1..=name.len()).map(|len| &name[..len])));
    for prefix in prefixes {
        let wanted: Vec<BlobMetadata> = kept
            .values()
            .filter(|blob| blob.id.as_str().starts_with(prefix))
            .cloned()
            .collect();
        let mut wanted = wanted;
        wanted.sort_by(|one, other| one.id.cmp(&other.id));
        let seen = settled(lists, storage, prefix, Clone::clone, &wanted).await;
        assert_eq!(seen, wanted, "prefix {prefix:?}");
    }
}

async fn long_lists(lists: Lists, storage: &impl Storage) {
    // Longer than a page of any provider.
    let wanted: Vec<String> = (0..1234).map(|number| format!("n{number:032x}")).collect();
    for group in wanted.chunks(32) {
        join_all(group.iter().map(|name| put(storage, name, Bytes::from_static(b"n")))).await;
    }
    shows(lists, storage, "n", &wanted, "all pages").await;
    let some: Vec<BlobMetadata> = storage
        .list("")
        .take(5)
        .try_collect()
        .await
        .expect("the beginning of a list");
    assert_eq!(some.len(), 5, "a list may be given up");
}

async fn large(storage: &impl Storage) {
    for (name, len) in [
        ("pa0123456789abcdef0123456789abcde", 20 << 20),
        ("pb0123456789abcdef0123456789abcde", (1 << 20) + 1),
    ] {
        let body = Bytes::from(pattern(len + 4096, 5));
        // Once from wherever the allocator put it and once from a page's first byte: a storage may treat them apart.
        let to_page = body.as_ptr().align_offset(4096);
        for start in [to_page + 1, to_page] {
            let body = body.slice(start..).slice(..len - 4097);
            put(storage, name, body.clone()).await;
            assert!(read(storage, name).await == body, "{name} came back changed");
        }
    }
}

async fn same_name_at_once(lists: Lists, storage: &impl Storage) {
    let name = "p0123456789abcdef0123456789abcdef";
    let bodies: Vec<Vec<u8>> = (0..8).map(|seed| pattern(300_000 + seed as usize, seed)).collect();
    put(storage, name, bodies[0].clone()).await;
    let writing = join_all(bodies.iter().map(|body| put(storage, name, body.clone())));
    let reading = join_all((0..20).map(|_| read(storage, name)));
    let (_, seen) = futures_util::future::join(writing, reading).await;
    for body in seen.into_iter().chain([read(storage, name).await]) {
        assert!(bodies.contains(&body.to_vec()), "a reader saw what nobody wrote");
    }
    shows(lists, storage, "", &[name], "nothing else is left behind").await;
}

async fn only_if_absent(lists: Lists, storage: &impl Storage) {
    let options = PutOptions {
        only_if_absent: true,
        ..PutOptions::default()
    };
    for name in ["kopia.repository", "p0123456789abcdef0123456789abcdef"] {
        let first = storage.put(&name.into(), pattern(10, 1).into(), &options).await;
        assert!(first.is_ok_and(|blob| blob.len == 10), "{name} was absent");
        let second = storage.put(&name.into(), pattern(20, 2).into(), &options).await;
        assert!(
            matches!(second, Err(StorageError::AlreadyExists { .. })),
            "{name}: {second:?}"
        );
        assert_eq!(read(storage, name).await, pattern(10, 1), "{name} is untouched");
        shows(lists, storage, name, &[name], "made once").await;
    }
}

async fn retaining(storage: &impl Storage) {
    let retention = Retention {
        mode: RetentionMode::Governance,
        until: Timestamp::MAX,
    };
    let options = PutOptions {
        retention: Some(retention),
        checksum: true,
        ..PutOptions::default()
    };
    let locked = storage.put(&"p1".into(), pattern(10, 1).into(), &options).await;
    let refused = matches!(locked, Err(StorageError::Unsupported { .. }));
    assert!(locked.is_ok() || refused, "{locked:?}");
    assert_eq!(
        locked.is_ok(),
        storage.can_retain(),
        "a storage knows whether it can retain"
    );
    if locked.is_err() {
        put(storage, "p1", Bytes::from_static(b"p")).await;
    }
    let extended = storage.extend_retention(&"p1".into(), retention).await;
    assert_eq!(extended.is_ok(), storage.can_retain(), "{extended:?}");
}

async fn only_one_is_first(lists: Lists, storage: &impl Storage) {
    let options = PutOptions {
        only_if_absent: true,
        ..PutOptions::default()
    };
    let id = BlobId::from("p0123456789abcdef0123456789abcdef");
    let bodies: Vec<Vec<u8>> = (0..8).map(|seed| pattern(300_000, seed)).collect();
    let puts = join_all(
        bodies
            .iter()
            .map(|body| storage.put(&id, Bytes::from(body.clone()), &options)),
    );
    let mut winners = Vec::new();
    for (number, outcome) in puts.await.into_iter().enumerate() {
        match outcome {
            Ok(_) => winners.push(number),
            Err(error) => assert!(matches!(error, StorageError::AlreadyExists { .. }), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "one put made the blob, the others are told");
    assert!(
        read(storage, id.as_str()).await == bodies[winners[0]],
        "the winner's bytes stay"
    );
    shows(lists, storage, "", &[id.as_str()], "made once").await;
}

async fn listing_while_writing(lists: Lists, storage: &impl Storage) {
    let name = |kind: char, number: usize| format!("{kind}{number:032x}");
    for number in 0..300 {
        put(storage, &name('p', number), Bytes::from_static(b"p")).await;
    }
    let there: Vec<String> = (0..300).map(|number| name('p', number)).collect();
    shows(lists, storage, "p", &there, "before others come").await;
    let writing = async {
        for number in 0..300 {
            put(storage, &name('q', number), Bytes::from_static(b"q")).await;
            put(storage, &name('p', number), Bytes::from_static(b"changed")).await;
        }
    };
    let listing = async {
        for _ in 0..5 {
            let seen = listed(storage, "").await;
            let names: Vec<&str> = seen.iter().map(|blob| blob.id.as_str()).collect();
            let stayed = there.iter().all(|name| names.contains(&name.as_str()));
            assert!(stayed, "what stays is shown while other blobs come");
            assert!(names.iter().all(|name| name.len() == 33), "only blobs are shown");
        }
    };
    futures_util::future::join(writing, listing).await;
    let came: Vec<String> = (0..300).map(|number| name('q', number)).collect();
    shows(lists, storage, "q", &came, "all that came").await;
}
