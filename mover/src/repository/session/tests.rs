//! The trial desk: a session among others' writes and failures, step by step.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use windlass_repo_format::encryption::EncryptionAlgorithm;
use windlass_repo_format::epoch::epoch_marker;
use windlass_repo_format::id::ContentPrefix;

use super::{BlobId, ContentId, ContentLen, NewContent, Repository, WriteSession, lock};
use crate::Identity;
use crate::blocking::block_on;
use crate::clock::ManualClock;
use crate::error::MoverError;
use crate::random::SeededRandom;
use crate::repository::{CreateOptions, OpenOptions};
use crate::storage::{BlobMetadata, BlobRange, Memory, PutOptions, Storage, StorageError};

fn repository_in(storage: Arc<dyn Storage>) -> Repository {
    let options = OpenOptions {
        clock: Arc::new(ManualClock::new("2026-03-01T00:00:00Z".parse().unwrap())),
        random: Arc::new(SeededRandom::new(1)),
        ..OpenOptions::new(Identity {
            user: "u".to_owned(),
            host: "h".to_owned(),
        })
    };
    let create = CreateOptions {
        encryption: EncryptionAlgorithm::ChaCha20Poly1305HmacSha256,
        ..CreateOptions::default()
    };
    block_on(Repository::create(storage, "secret", &create, options)).unwrap()
}

fn memory() -> Memory {
    Memory::new(Arc::new(ManualClock::new("2026-03-01T00:00:00Z".parse().unwrap())))
}

fn names(memory: &Memory, prefix: &str) -> Vec<String> {
    let listed = block_on(memory.list(prefix).collect::<Vec<_>>());
    listed.into_iter().map(|blob| blob.unwrap().id.to_string()).collect()
}

/// Claims a content and keeps it out of any pack, as a stage does that is busy.
fn claim(session: &WriteSession, plain: &[u8]) -> NewContent {
    let id = ContentId::new(None, &session.repository().sealer().hash(plain));
    NewContent {
        id,
        original_len: ContentLen::of(plain).unwrap(),
        compression: 0,
        format_version: 3,
        timestamp: session.claim(&id).unwrap().expect("it is new"),
    }
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn settling_waits_for_what_was_claimed_before_and_for_nothing_else() {
    let memory = memory();
    let session = repository_in(Arc::new(memory.clone())).write_session().unwrap();
    let packs = names(&memory, "p").len();
    let before = claim(&session, b"before");
    let mut settling = Box::pin(session.settle());
    assert!(poll(settling.as_mut()).is_pending());
    let _after = claim(&session, b"after");
    assert!(poll(settling.as_mut()).is_pending());
    assert_eq!(
        names(&memory, "p").len(),
        packs,
        "no pack is stored before it holds what is waited for"
    );
    let hash = session.repository().sealer().hash(b"before");
    assert!(session.pack(before, &hash, &[b"before"]).unwrap().0.is_none());
    assert!(matches!(poll(settling.as_mut()), Poll::Ready(Ok(()))));
    assert_eq!(names(&memory, "p").len(), packs + 1);
}

#[test]
fn a_content_counts_as_packed_before_another_can_take_its_pack() {
    // It counted only afterwards. Another thread filled the pack meanwhile and had it stored; what was stored could no
    // longer become packed, and settling waited for it for ever.
    let repository = repository_in(Arc::new(memory()));
    let session = Arc::new(repository.write_session_with(1 << 20, 2).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let session = session.clone();
            scope.spawn(move || {
                for number in 0..300u32 {
                    let plain = [thread.to_be_bytes(), number.to_be_bytes()].concat();
                    block_on(session.write_content(None, &plain, None)).unwrap();
                    block_on(session.settle()).unwrap();
                }
            });
        }
    });
    let pending = lock(&session.pending);
    assert!(pending.unpacked.are_past(u64::MAX) && pending.unstored.are_past(u64::MAX));
}

#[test]
fn settling_ends_when_a_stage_fails() {
    // It looked only for failures of the storage, and waited for ever for a content that another stage had dropped.
    let session = repository_in(Arc::new(memory())).write_session().unwrap();
    let _dropped = claim(&session, b"dropped");
    let mut settling = Box::pin(session.settle());
    assert!(poll(settling.as_mut()).is_pending());
    session.fail();
    assert!(matches!(
        poll(settling.as_mut()),
        Poll::Ready(Err(MoverError::SessionFailed))
    ));
}

#[test]
fn an_index_is_written_when_very_many_contents_wait_for_one() {
    let memory = memory();
    let repository = repository_in(Arc::new(memory.clone()));
    let mut session = repository.write_session().unwrap();
    session.unindexed_max = 10;
    let indexes = names(&memory, "xn").len();
    let mut ids = Vec::new();
    for number in 0..25u32 {
        let plain = number.to_be_bytes();
        ids.push(block_on(session.write_content(None, &plain, None)).unwrap());
        if number % 5 == 4 {
            block_on(session.settle()).unwrap();
        }
        block_on(session.tend()).unwrap();
    }
    assert_eq!(names(&memory, "xn").len(), indexes + 2);
    assert_eq!(lock(&session.pending).unindexed().len(), 5);
    assert_eq!(
        names(&memory, "s").len(),
        1,
        "the session goes on, and so does its marker"
    );
    block_on(session.flush()).unwrap();
    assert!(lock(&session.pending).contents.is_empty());
    assert_eq!(names(&memory, "s"), Vec::<String>::new());
    block_on(repository.refresh()).unwrap();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(
            block_on(repository.read_content(id)).unwrap(),
            (number as u32).to_be_bytes()
        );
    }
}

/// A storage that does something on the way: when a blob is put, and when a list was made and is not shown yet.
#[derive(Default)]
struct Watched {
    memory: Option<Memory>,
    on_put: Mutex<Option<OnPut>>,
    on_list: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

type OnPut = Box<dyn FnMut(&Memory, &BlobId) + Send>;

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.memory.fmt(f)
    }
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: Some(memory()),
            ..Self::default()
        })
    }

    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("made with one")
    }
}

#[async_trait::async_trait]
impl Storage for Watched {
    fn location(&self) -> String {
        self.memory().location()
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.memory().read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.memory().metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        if let Some(on_put) = lock(&self.on_put).as_mut() {
            on_put(self.memory(), id);
        }
        self.memory().put(id, body, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.memory().delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        let listed = block_on(self.memory().list(prefix).collect::<Vec<_>>());
        let on_list = lock(&self.on_list).take();
        on_list.into_iter().for_each(|on_list| on_list());
        futures_util::stream::iter(listed).boxed()
    }
}

#[test]
fn an_index_that_comes_two_epochs_late_is_written_again() {
    let storage = Watched::new();
    let repository = repository_in(storage.clone());
    // Two epochs pass while the first index is written, and two more while the second is.
    let mut epoch = 0;
    *lock(&storage.on_put) = Some(Box::new(move |memory, id| {
        if id.as_str().starts_with("xn") && epoch < 4 {
            for marker in [epoch + 1, epoch + 2] {
                let body = Bytes::from_static(b"marker");
                block_on(memory.put(&epoch_marker(marker), body, &PutOptions::default())).unwrap();
            }
            epoch += 2;
        }
    }));
    let session = repository.write_session().unwrap();
    let id = block_on(session.write_content(None, b"late", None)).unwrap();
    block_on(session.flush()).unwrap();
    let written = names(storage.memory(), "xn");
    for epoch in ["xn0_", "xn2_", "xn4_"] {
        assert!(
            written.iter().any(|name| name.starts_with(epoch)),
            "{epoch}: {written:?}"
        );
    }
    assert_eq!(session.summary().blobs, 1 + 3);
    // A compaction that overlooked the late ones and then removed them has taken nothing away.
    for name in written.iter().filter(|name| name.starts_with("xn2_")) {
        block_on(storage.memory().delete(&BlobId::from(name.as_str()))).unwrap();
    }
    block_on(repository.refresh()).unwrap();
    assert_eq!(block_on(repository.read_content(&id)).unwrap(), b"late");
}

#[test]
fn epochs_that_race_ahead_for_ever_end_the_session() {
    let storage = Watched::new();
    let repository = repository_in(storage.clone());
    let mut epoch = 0;
    *lock(&storage.on_put) = Some(Box::new(move |memory, id| {
        if id.as_str().starts_with("xn") {
            epoch += 2;
            for marker in [epoch - 1, epoch] {
                let body = Bytes::from_static(b"marker");
                block_on(memory.put(&epoch_marker(marker), body, &PutOptions::default())).unwrap();
            }
        }
    }));
    let session = repository.write_session().unwrap();
    block_on(session.write_content(None, b"late", None)).unwrap();
    let before = names(storage.memory(), "xn").len();
    let error = block_on(session.flush()).unwrap_err();
    assert!(matches!(error, MoverError::EpochsRaceAhead { attempts: 10 }), "{error}");
    assert_eq!(names(storage.memory(), "xn").len(), before + 10);
    assert!(matches!(block_on(session.flush()), Err(MoverError::SessionFailed)));
    // Recovery writes its indexes by the same rule.
    let session = repository.write_session().unwrap();
    let error = block_on(session.publish_entries(&[])).map(|blobs| blobs == 0);
    assert!(matches!(error, Ok(true)), "nothing to write");
    let entry = windlass_repo_format::index::IndexEntry {
        timestamp: 5,
        ..repository
            .live_contents(Some(ContentPrefix::MANIFEST))
            .unwrap()
            .remove(0)
    };
    let error = block_on(session.publish_entries(&[entry])).unwrap_err();
    assert!(matches!(error, MoverError::EpochsRaceAhead { .. }), "{error}");
}

#[test]
fn a_session_that_failed_writes_no_index_on_the_way() {
    let memory = memory();
    let mut session = repository_in(Arc::new(memory.clone())).write_session().unwrap();
    session.unindexed_max = 1;
    block_on(session.write_content(None, b"stored", None)).unwrap();
    block_on(session.settle()).unwrap();
    let indexes = names(&memory, "xn").len();
    session.fail();
    assert!(matches!(block_on(session.tend()), Err(MoverError::SessionFailed)));
    assert_eq!(names(&memory, "xn").len(), indexes);
}

#[test]
fn an_index_written_while_others_are_listed_is_not_forgotten() {
    // The view that was made of the older list took the place of the one that had the new index.
    let storage = Watched::new();
    let repository = repository_in(storage.clone());
    let session = repository.write_session().unwrap();
    let id = block_on(session.write_content(None, b"in between", None)).unwrap();
    *lock(&storage.on_list) = Some(Box::new(move || block_on(session.flush()).unwrap()));
    block_on(repository.refresh()).unwrap();
    assert!(lock(&storage.on_list).is_none(), "it was written meanwhile");
    assert!(repository.find(&id).unwrap().is_some());
}
