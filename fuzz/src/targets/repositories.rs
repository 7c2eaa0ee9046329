//! The flea market's trial: a repository is opened among arbitrary blobs, sealed with its key or not, and looked through.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use windlass_mover::blocking::block_on;
use windlass_mover::clock::ManualClock;
use windlass_mover::random::SeededRandom;
use windlass_mover::recover::{RecoverProgress, recover_index};
use windlass_mover::repository::{CreateOptions, OpenOptions, Unlock};
use windlass_mover::storage::{BlobRange, Memory, PutOptions, Storage};
use windlass_mover::{Identity, Repository, snapshots};
use windlass_repo_format::format_blob::{BLOB_CONFIG_NAME, FORMAT_BLOB_NAME, FormatKey};
use windlass_repo_format::id::{BlobId, ContentId, ContentPrefix};
use windlass_repo_format::index::{IndexEntry, encode_v2};
use windlass_repo_format::quantity::{ContentLen, PackOffset};

use crate::bytes::Tickets;

/// The settings of a repository, made once: deriving a key is slow.
pub(super) struct Settings {
    blobs: Vec<(BlobId, Bytes)>,
    key: FormatKey,
}

fn options(seed: u64) -> OpenOptions {
    OpenOptions {
        identity: Identity {
            user: "u".to_owned(),
            host: "h".to_owned(),
        },
        clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
        random: Arc::new(SeededRandom::new(seed)),
        cache: None,
    }
}

pub(super) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let memory = Memory::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)));
        let create = CreateOptions::default();
        let created = Repository::create(Arc::new(memory.clone()), "secret", &create, options(1));
        let repository = block_on(created).expect("memory takes a repository");
        let blobs = [FORMAT_BLOB_NAME, BLOB_CONFIG_NAME].map(|name| {
            let id = BlobId::from(name);
            let bytes = block_on(memory.read(&id, BlobRange::Whole)).expect("it was just written");
            (id, bytes)
        });
        Settings {
            blobs: blobs.into(),
            key: repository.format_key().clone(),
        }
    })
}

fn put(memory: &Memory, id: &BlobId, body: impl Into<Bytes>) {
    block_on(memory.put(id, body.into(), &PutOptions::default())).expect("memory takes a blob");
}

/// A blob of any kind for each piece of the input.
pub(super) fn open(input: &[u8]) {
    let Settings { blobs, key } = settings();
    let memory = Memory::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)));
    blobs.iter().for_each(|(id, bytes)| put(&memory, id, bytes.clone()));
    let open = |seed| {
        let storage: Arc<dyn Storage> = Arc::new(memory.clone());
        block_on(Repository::open(storage, Unlock::Key(key.clone()), options(seed)))
    };
    let empty = open(2).expect("it has nothing but its settings");
    let mut tickets = Tickets::new(input);
    for number in 0..40_u8 {
        if tickets.is_empty() {
            break;
        }
        scatter(&memory, &empty, number, &mut tickets);
    }
    if let Ok(repository) = open(3) {
        look_through(&repository);
    }
}

/// Adds one blob, or a content with the index that names it.
fn scatter(memory: &Memory, repository: &Repository, number: u8, tickets: &mut Tickets<'_>) {
    let (kind, piece) = (tickets.byte(), tickets.piece());
    let sealed = |prefix: &str| {
        let nonce = [number; 12];
        repository
            .sealer()
            .seal_blob(prefix, "s00000000000000001-c1", &nonce, piece)
    };
    match kind % 8 {
        // An index that somebody with the key has written.
        1 => {
            let (id, bytes) = sealed("xn0_");
            put(memory, &id, bytes);
        }
        // A content with a meaning, in a pack, and in an index.
        2 => content(memory, repository, number, ContentPrefix::MANIFEST, piece),
        3 => content(memory, repository, number, ContentPrefix::DIRECTORY, piece),
        4 => content(memory, repository, number, ContentPrefix::INDIRECT, piece),
        5 => put(
            memory,
            &BlobId::from(format!("xe{}", number % 4).as_str()),
            Bytes::from_static(b"epoch-marker"),
        ),
        // Anything under any name that has a meaning.
        6 => put(
            memory,
            &BlobId::from(format!("p{number:032x}-s00000000000000001").as_str()),
            piece.to_vec(),
        ),
        7 => {
            let (id, bytes) = sealed("s");
            put(memory, &id, bytes);
        }
        _ => {
            let name: String = piece.iter().take(12).map(|byte| char::from(b'a' + byte % 26)).collect();
            let name = format!("x{name}");
            put(memory, &BlobId::from(name.as_str()), piece.to_vec());
        }
    }
}

fn content(memory: &Memory, repository: &Repository, number: u8, prefix: ContentPrefix, plain: &[u8]) {
    let sealer = repository.sealer();
    let hash = sealer.hash(plain);
    let mut pack = Vec::new();
    sealer.seal_into(hash.iv(), &[number; 12], plain, &mut pack);
    let id = BlobId::from(format!("q{number:032x}-s00000000000000001").as_str());
    let len = |len: usize| {
        u32::try_from(len)
            .ok()
            .and_then(ContentLen::new)
            .expect("a piece is short")
    };
    let entry = IndexEntry {
        id: ContentId::new(Some(prefix), &hash),
        pack: id.clone(),
        offset: PackOffset::new(0).expect("zero is an offset"),
        packed_len: len(pack.len()),
        original_len: len(plain.len()),
        compression: 0,
        format_version: 3,
        timestamp: i64::from(number),
        deleted: false,
    };
    put(memory, &id, pack);
    let index = encode_v2(&[entry]).expect("one entry can be encoded");
    let (id, bytes) = sealer.seal_blob("xn0_", "s00000000000000002-c1", &[number; 12], &index);
    put(memory, &id, bytes);
}

/// Everything that a reader does.
fn look_through(repository: &Repository) {
    if let Ok(listed) = block_on(snapshots::list_all(repository, None)) {
        for snapshot in listed.snapshots.iter().take(10) {
            let Some(object) = snapshot.manifest.root_entry.as_ref().and_then(|root| root.object) else {
                continue;
            };
            let mut entries = repository.directory_entries(object);
            for _ in 0..100 {
                let Ok(Some(entry)) = block_on(entries.next(repository)) else {
                    break;
                };
                let Some(object) = entry.object else { continue };
                let mut parts = repository.object_parts(object);
                for _ in 0..100 {
                    let Ok(Some(part)) = block_on(parts.next(repository)) else {
                        break;
                    };
                    let _ = block_on(repository.read_part(&object, &part));
                }
            }
        }
    }
    let mut count = 0_u64;
    let _ = repository.each_live_content(|entry| {
        count += 1;
        if count < 50 {
            let _ = block_on(repository.read_content(&entry.id));
        }
        Ok(())
    });
    let (progress, cancel) = (RecoverProgress::default(), AtomicBool::new(false));
    let _ = block_on(recover_index(repository, true, &progress, &cancel));
}
