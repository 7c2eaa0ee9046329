//! The removal desk: contents that the repository has already are written once more, into another pack.

use windlass_repo_format::compression::Compression;
use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::pack::NewContent;

use super::{SealingTools, WriteSession, lock};
use crate::error::{MoverError, Result};

impl WriteSession {
    /// Writes a content again whose entry in the indexes is `known`, alive whatever that entry says. `plain` are its
    /// bytes, whose hash was compared with its name. False when this session is writing it already.
    ///
    /// The new entry is younger than the known one, so that it wins.
    pub(crate) async fn write_again(&self, tools: &mut SealingTools, known: &IndexEntry, plain: &[u8]) -> Result<bool> {
        {
            let mut pending = lock(&self.pending);
            if pending.failed {
                return Err(MoverError::SessionFailed);
            }
            if !pending.claim(known.id) {
                return Ok(false);
            }
        }
        // One that this build only reads is stored as it is.
        let compression = match known.compression {
            0 => None,
            header => Compression::from_header_id(header).ok(),
        };
        let pieces = [plain];
        let shrunk = compression.filter(|compression| tools.compress(*compression, &pieces));
        let stored = if shrunk.is_some() { &tools.compressed[..] } else { plain };
        let about = NewContent {
            id: known.id,
            original_len: known.original_len,
            compression: shrunk.map_or(0, Compression::header_id),
            format_version: self.repository.format().version.number(),
            timestamp: self.repository.now().as_second().max(known.timestamp.saturating_add(1)),
        };
        let packed = self.pack(about, &known.id.hash(), &[stored]);
        let (full, _) = packed.inspect_err(|_| self.fail())?;
        // Its place is given up first: the next pack is opened while this one is stored.
        if let Some(pack) = full.map(|full| full.pack) {
            self.store_pack(pack).await?;
        }
        Ok(true)
    }
}
