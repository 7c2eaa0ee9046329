//! The stock list of an inspection: which packs there are, and how long they are.

use std::hash::{BuildHasher, RandomState};

use futures_util::StreamExt;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::index::IndexEntry;

use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::fetch::Stop;
use crate::repository::Repository;
use crate::storage::StorageError;

/// The lengths of all packs, by a random hash of their names: 16 bytes each. Two names share a hash with a chance of
/// one in 2^64 per pair. One byte more says whether an index names the pack.
#[derive(Debug)]
pub(super) struct PackList {
    state: RandomState,
    lens: Vec<(u64, u64)>,
    claimed: Vec<bool>,
}

impl PackList {
    pub(super) fn read(repository: &Repository, stop: &Stop<'_>) -> Result<Self> {
        let state = RandomState::new();
        let mut lens = Vec::new();
        for prefix in ["p", "q"] {
            let mut blobs = repository.storage().list(prefix);
            while let Some(blob) = block_on(blobs.next()) {
                let failed = |source| repository.storage_failed(format!("cannot list packs {prefix}*"), source);
                let blob = blob.map_err(failed)?;
                lens.push((state.hash_one(&blob.id), blob.len));
                if stop.is_set() {
                    return Err(MoverError::Cancelled);
                }
            }
        }
        lens.sort_unstable();
        let claimed = vec![false; lens.len()];
        Ok(Self { state, lens, claimed })
    }

    fn place(&self, pack: &BlobId) -> Option<usize> {
        let hash = self.state.hash_one(pack);
        self.lens.binary_search_by_key(&hash, |(hash, _)| *hash).ok()
    }

    fn len_of(&self, pack: &BlobId) -> Option<u64> {
        self.place(pack).map(|place| self.lens[place].1)
    }

    /// Notes that an index names this pack.
    pub(super) fn claim(&mut self, pack: &BlobId) {
        if let Some(place) = self.place(pack) {
            self.claimed[place] = true;
        }
    }

    /// How many packs no index has named.
    pub(super) fn unclaimed(&self) -> usize {
        self.claimed.iter().filter(|claimed| !**claimed).count()
    }

    /// Whether a pack is on the list and no index has named it.
    pub(super) fn is_unclaimed(&self, pack: &BlobId) -> bool {
        self.place(pack).is_some_and(|place| !self.claimed[place])
    }

    /// Whether a content lies wholly inside a pack that is there. A pack that is not on the list is asked for: it may
    /// have been written since.
    pub(super) fn check(&self, repository: &Repository, entry: &IndexEntry) -> Result<()> {
        let found = match self.len_of(&entry.pack) {
            Some(len) => len,
            None => match block_on(repository.storage().metadata(&entry.pack)) {
                Ok(blob) => blob.len,
                Err(StorageError::NotFound { .. }) => {
                    return Err(MoverError::PackMissing {
                        pack: entry.pack.clone(),
                        id: entry.id,
                    });
                }
                Err(source) => return Err(repository.storage_error("look at", &entry.pack, source)),
            },
        };
        let needed = u64::from(entry.offset.bytes()) + u64::from(entry.packed_len.bytes());
        if needed <= found {
            return Ok(());
        }
        Err(MoverError::PackShort {
            pack: entry.pack.clone(),
            id: entry.id,
            needed,
            found,
        })
    }
}
