//! The reading room for contents: an ID in, its plain bytes out.

use bytes::Bytes;
use windlass_repo_format::compression::{self, Compression};
use windlass_repo_format::id::ContentId;
use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::pack::PackClass;

use super::Repository;
use crate::error::{MoverError, Result};
use crate::storage::{BlobRange, StorageError};

impl Repository {
    /// The index entry of a content, deleted ones included: they stay readable until maintenance drops them.
    ///
    /// # Errors
    /// [`MoverError::ContentMissing`] when no index that was read knows it, [`MoverError::Index`] when one cannot be read.
    pub fn locate(&self, id: &ContentId) -> Result<IndexEntry> {
        self.find(id)?.ok_or(MoverError::ContentMissing { id: *id })
    }

    /// The plain bytes of a content.
    ///
    /// A pack that vanished since the indexes were read (maintenance moved its contents) is looked for once more in
    /// fresh indexes.
    ///
    /// # Errors
    /// When no index knows it even after a [`Repository::refresh`], its pack cannot be read, or its bytes there were changed.
    /// The hash is not made again: whoever needs that calls for a verification.
    pub async fn read_content(&self, id: &ContentId) -> Result<Vec<u8>> {
        let entry = match self.locate(id) {
            Ok(entry) => entry,
            Err(MoverError::ContentMissing { .. }) => {
                self.refresh().await?;
                self.locate(id)?
            }
            Err(other) => return Err(other),
        };
        match self.read_entry(&entry).await {
            Err(MoverError::Storage {
                source: StorageError::NotFound { .. },
                ..
            }) => {
                self.refresh().await?;
                let entry = self.locate(id)?;
                self.read_entry(&entry).await
            }
            other => other,
        }
    }

    /// Compares the hash of a content's plain bytes with its name.
    pub(crate) fn check_hash(&self, entry: &IndexEntry, plain: &[u8]) -> Result<()> {
        let found = self.inner.sealer.hash(plain);
        if found != entry.id.hash() {
            return Err(MoverError::WrongContent {
                id: entry.id,
                pack: entry.pack.clone(),
                found: found.to_string(),
            });
        }
        Ok(())
    }

    /// The plain bytes of a content from where an entry says that they are.
    pub(crate) async fn read_entry(&self, entry: &IndexEntry) -> Result<Vec<u8>> {
        let is_metadata = entry.pack.as_str().starts_with(PackClass::Metadata.letter());
        let cache = self.inner.cache.as_ref();
        let Some(cache) = cache.filter(|cache| is_metadata && cache.keeps_metadata()) else {
            let sealed = self.read_sealed(entry).await?;
            return self.open_sealed(entry, &sealed);
        };
        let name = kept_as(entry);
        if let Some(kept) = cache.find(&name)
            && let Ok(plain) = self.open_sealed(entry, kept.as_ref())
        {
            return Ok(plain);
        }
        let sealed = self.read_sealed(entry).await?;
        let plain = self.open_sealed(entry, &sealed)?;
        cache.keep(&name, &sealed);
        Ok(plain)
    }

    async fn read_sealed(&self, entry: &IndexEntry) -> Result<Bytes> {
        let range = BlobRange::Part {
            offset: u64::from(entry.offset.bytes()),
            len: u64::from(entry.packed_len.bytes()),
        };
        let read = self.inner.storage.read(&entry.pack, range).await;
        read.map_err(|source| {
            let doing = format!(
                "cannot read content {} at {}+{} of blob {}",
                entry.id,
                entry.offset.bytes(),
                entry.packed_len.bytes(),
                entry.pack
            );
            self.storage_failed(doing, source)
        })
    }

    /// Whether the bytes of a content as they lie in its pack are damaged, though parity may make them whole.
    pub(crate) fn is_worn(&self, sealed: &[u8]) -> bool {
        self.inner.sealer.is_worn(sealed)
    }

    /// Opens the bytes of a content as they lie in its pack.
    pub(crate) fn open_sealed(&self, entry: &IndexEntry, sealed: &[u8]) -> Result<Vec<u8>> {
        self.open_bytes(entry, sealed)
            .map_err(|source| cannot_open(entry, source))
    }

    /// As [`Repository::open_sealed`], of a content that is not compressed in a repository without error correction, onto
    /// memory with room for exactly its plain bytes.
    pub(crate) fn open_sealed_onto(&self, entry: &IndexEntry, sealed: &[u8], out: &mut [u8]) -> Result<()> {
        let opened = self.inner.sealer.open_onto(entry.id.hash().iv(), sealed, out);
        opened.map_err(|source| cannot_open(entry, source))
    }

    fn open_bytes(
        &self,
        entry: &IndexEntry,
        sealed: &[u8],
    ) -> std::result::Result<Vec<u8>, windlass_repo_format::FormatError> {
        let opened = self.inner.sealer.open(entry.id.hash().iv(), sealed)?;
        if entry.compression == 0 {
            return Ok(opened);
        }
        let compression = Compression::from_header_id(entry.compression)?;
        compression::decompress(compression, &opened, entry.original_len.as_usize())
    }
}

/// The name of a sealed content in the cache. A pack never changes, so what lies at a place in it does not either.
fn kept_as(entry: &IndexEntry) -> String {
    let (offset, len) = (entry.offset.bytes(), entry.packed_len.bytes());
    format!("{}+{offset}+{len}", entry.pack)
}

fn cannot_open(entry: &IndexEntry, source: windlass_repo_format::FormatError) -> MoverError {
    MoverError::Content {
        id: entry.id,
        pack: entry.pack.clone(),
        offset: entry.offset.bytes(),
        len: entry.packed_len.bytes(),
        source,
    }
}
