//! The mint: a repository with more contents than anybody wants to wait for, made without files.

use std::path::Path;
use std::sync::Arc;

use windlass_mover::blocking::block_on;
use windlass_mover::random::{RandomSource, SystemRandom};
use windlass_mover::repository::{CreateOptions, OpenOptions};
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::storage::{FileSystem, PutOptions, Storage};
use windlass_mover::{Identity, MoverError, Repository};
use windlass_repo_format::FormatError;
use windlass_repo_format::epoch::{EPOCH_MARKER_BODY, range_blob_prefix};
use windlass_repo_format::hashing::HashAlgorithm;
use windlass_repo_format::id::{BlobId, ContentId};
use windlass_repo_format::index::{ENTRIES_MAX_PER_INDEX, HeaderV2, IndexEntry, StreamingEncoder, encode_v2};
use windlass_repo_format::quantity::{ContentLen, PackOffset};

use crate::{Result, stop};

/// An index is published whenever so many contents are new, so that there are many of them, as in a repository that is used.
const INDEX_EVERY: u64 = 50_000;

/// Makes a repository as Kopia does by default, with so many contents of a few bytes each.
pub fn mint(folder: &Path, password: &str, contents: u64) -> Result<()> {
    let failed = |error: MoverError| format!("cannot fill the repository in {}: {error}", folder.display());
    let repository = create(folder, password)?;
    let session = repository.write_session().map_err(failed)?;
    for number in 0..contents {
        block_on(session.write_content(None, &number.to_le_bytes(), None)).map_err(failed)?;
        if number % INDEX_EVERY == INDEX_EVERY - 1 {
            stop::check()?;
            block_on(session.flush()).map_err(failed)?;
        }
    }
    block_on(session.flush()).map_err(failed)
}

fn create(folder: &Path, password: &str) -> Result<Repository> {
    let storage = FileSystem::create(folder, Sharding::default());
    let storage = storage.map_err(|error| format!("cannot make a storage in {}: {error}", folder.display()))?;
    let identity = Identity {
        user: "u".to_owned(),
        host: "h".to_owned(),
    };
    let create = CreateOptions {
        hash: HashAlgorithm::Blake2b256_128,
        ..CreateOptions::default()
    };
    let failed = |error: MoverError| format!("cannot make a repository in {}: {error}", folder.display());
    let made = Repository::create(Arc::new(storage), password, &create, OpenOptions::new(identity));
    block_on(made).map_err(failed)
}

/// Contents in one pack, as where they have 60 KiB on average.
const CONTENTS_PER_PACK: u64 = 333;
/// The last epoch of the range that the indexes cover.
const LAST_EPOCH: u64 = 1;

/// Makes a repository that has so many contents by its indexes, as large as Kopia's own compaction makes them: one set of
/// blobs for a range of epochs. There is no pack behind them.
pub fn mint_indexes(folder: &Path, password: &str, contents: u64) -> Result<()> {
    let repository = create(folder, password)?;
    let failed = |error: FormatError| format!("cannot make an index in {}: {error}", folder.display());
    // What the repository has of its own lies in an epoch that the set replaces, so it is in the set, too.
    let mut own = Vec::new();
    let read = repository.each_live_content(|entry| {
        own.push(entry);
        Ok(())
    });
    read.map_err(|error| error.to_string())?;
    let shard_len = ENTRIES_MAX_PER_INDEX as u64;
    let shards = contents.div_ceil(shard_len);
    let suffix = format!("s{:016x}-c{}", 0x5ca1e, shards + 1);
    let put = |blob: &BlobId, bytes: Vec<u8>| {
        let put = block_on(repository.storage().put(blob, bytes.into(), &PutOptions::default()));
        put.map(drop)
            .map_err(|error| format!("cannot write blob {blob}: {error}"))
    };
    let seal = |payload: Vec<u8>| {
        let mut nonce = [0; 12];
        SystemRandom.fill(&mut nonce);
        let prefix = range_blob_prefix(0, LAST_EPOCH);
        let (blob, bytes) = repository.sealer().seal_blob(&prefix, &suffix, &nonce, &payload);
        drop(payload);
        put(&blob, bytes)
    };
    let packs: Vec<BlobId> = (0..contents.div_ceil(CONTENTS_PER_PACK)).map(pack).collect();
    let mut left = contents;
    for shard in 0..shards {
        stop::check()?;
        // Filled evenly, as those of Kopia.
        let count = left / (shards - shard);
        seal(index_of(shard, count, &packs).map_err(failed)?)?;
        left -= count;
    }
    seal(encode_v2(&own).map_err(failed)?)?;
    for epoch in 1..=LAST_EPOCH + 2 {
        put(&format!("xe{epoch}").into(), EPOCH_MARKER_BODY.to_vec())?;
    }
    Ok(())
}

/// An index of so many contents that no other shard has, with keys as evenly spread as hashes are.
fn index_of(shard: u64, count: u64, packs: &[BlobId]) -> std::result::Result<Vec<u8>, FormatError> {
    const KEY_LEN: usize = 17;
    let stride = u64::MAX / count.max(1);
    let mut encoder = StreamingEncoder::new(KEY_LEN);
    let mut bytes = vec![0; HeaderV2::SIZE];
    for number in 0..count {
        let drawn = scramble(number ^ shard << 40);
        let mut key = [0; KEY_LEN];
        key[1..9].copy_from_slice(&(number * stride + drawn % stride).to_be_bytes());
        key[9..].copy_from_slice(&drawn.to_be_bytes());
        let len = ContentLen::new(60_000).expect("it is far below the limit");
        let entry = IndexEntry {
            id: ContentId::from_key(&key)?,
            pack: packs[(drawn % packs.len() as u64) as usize].clone(),
            offset: PackOffset::new((drawn >> 32) as u32 % (20 << 20)).expect("it lies in the first 20 MiB"),
            packed_len: len,
            original_len: len,
            compression: 0,
            format_version: 2,
            timestamp: 1_700_000_000,
            deleted: false,
        };
        encoder.push(&entry, &mut bytes)?;
    }
    let header = encoder.finish(&mut bytes);
    bytes[..HeaderV2::SIZE].copy_from_slice(&header);
    Ok(bytes)
}

fn pack(number: u64) -> BlobId {
    let (high, low) = (scramble(number), scramble(!number));
    format!("p{high:016x}{low:016x}-s{:016x}147", scramble(number / 100)).into()
}

/// Spreads numbers over all there are.
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
