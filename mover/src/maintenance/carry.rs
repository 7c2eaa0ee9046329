//! The porter: contents are taken out of their packs, in the order of the packs, and put into new ones.
//!
//! Holds a batch of entries, a few stretches of packs, and what a session of writes holds.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use windlass_repo_format::id::BlobId;
use windlass_repo_format::index::IndexEntry;

use super::Work;
use super::report::Tally;
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::repository::{Repository, SealingTools, WriteSession};
use crate::storage::{BlobRange, StorageError};

/// Entries that are gathered before they are sorted by pack: about 200 bytes each.
const BATCH_MAX: usize = 20_000;
/// One read takes so many bytes of a pack, or one content that is longer.
const STRETCH_BYTES_MAX: u64 = 4 << 20;
/// Bytes between two contents that are read along rather than asked for apart.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// Stretches read at the same time.
const READS_AT_ONCE: usize = 4;

/// Carries contents into the packs of a new session.
pub(super) struct Porter<'a> {
    work: &'a Work<'a>,
    /// None in a rehearsal.
    session: Option<WriteSession>,
    tools: SealingTools,
    waiting: Vec<IndexEntry>,
    /// What was carried.
    pub(super) carried: Tally,
}

/// Contents of one pack that are read together.
struct Stretch {
    pack: BlobId,
    start: u64,
    end: u64,
    entries: Vec<IndexEntry>,
}

impl<'a> Porter<'a> {
    pub(super) fn new(work: &'a Work<'a>) -> Result<Self> {
        let session = (!work.dry_run).then(|| work.repository.write_session()).transpose()?;
        Ok(Self {
            work,
            session,
            tools: SealingTools::default(),
            waiting: Vec::new(),
            carried: Tally::default(),
        })
    }

    /// Takes on a content.
    pub(super) fn push(&mut self, entry: IndexEntry) -> Result<()> {
        self.waiting.push(entry);
        if self.waiting.len() >= BATCH_MAX {
            self.carry()?;
        }
        Ok(())
    }

    /// Carries what is left and publishes it.
    pub(super) fn finish(mut self) -> Result<Tally> {
        self.carry()?;
        if let Some(session) = &self.session {
            block_on(session.flush())?;
        }
        Ok(self.carried)
    }

    fn carry(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.waiting);
        let Some(session) = &self.session else {
            return Ok(());
        };
        let (work, repository) = (self.work, self.work.repository);
        let stretches = stretches(entries);
        let (tools, carried) = (&mut self.tools, &mut self.carried);
        block_on(async {
            let mut read = stream::iter(stretches)
                .map(|stretch| async { (read(repository, &stretch).await, stretch) })
                .buffered(READS_AT_ONCE);
            while let Some((bytes, stretch)) = read.next().await {
                work.check_not_cancelled()?;
                let Some(bytes) = bytes? else { continue };
                for entry in &stretch.entries {
                    let start = (u64::from(entry.offset.bytes()) - stretch.start) as usize;
                    let sealed = &bytes[start..start + entry.packed_len.as_usize()];
                    let plain = repository.open_sealed(entry, sealed)?;
                    repository.check_hash(entry, &plain)?;
                    if session.write_again(tools, entry, &plain).await? {
                        carried.add(u64::from(entry.packed_len.bytes()));
                        work.progress.count(u64::from(entry.packed_len.bytes()));
                    }
                    session.tend().await?;
                }
            }
            Ok(())
        })
    }
}

/// The contents in the order of their packs, those that lie near each other together.
fn stretches(mut entries: Vec<IndexEntry>) -> Vec<Stretch> {
    entries.sort_unstable_by(|a, b| (&a.pack, a.offset.bytes()).cmp(&(&b.pack, b.offset.bytes())));
    let mut stretches: Vec<Stretch> = Vec::new();
    for entry in entries {
        let start = u64::from(entry.offset.bytes());
        let end = start + u64::from(entry.packed_len.bytes());
        match stretches.last_mut() {
            Some(last)
                if last.pack == entry.pack
                    && start <= last.end + GAP_BYTES_MAX
                    && end.max(last.end) - last.start <= STRETCH_BYTES_MAX =>
            {
                last.end = last.end.max(end);
                last.entries.push(entry);
            }
            _ => stretches.push(Stretch {
                pack: entry.pack.clone(),
                start,
                end,
                entries: vec![entry],
            }),
        }
    }
    stretches
}

/// The bytes of a stretch; `None` when another maintenance has carried all of it elsewhere meanwhile.
async fn read(repository: &Repository, stretch: &Stretch) -> Result<Option<Bytes>> {
    let range = BlobRange::Part {
        offset: stretch.start,
        len: stretch.end - stretch.start,
    };
    match repository.storage().read(&stretch.pack, range).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StorageError::NotFound { .. }) => {
            repository.refresh().await?;
            for entry in &stretch.entries {
                if repository.find(&entry.id)?.is_some_and(|now| now.pack == entry.pack) {
                    return Err(MoverError::PackMissing {
                        pack: entry.pack.clone(),
                        id: entry.id,
                    });
                }
            }
            Ok(None)
        }
        Err(source) => Err(repository.storage_error("read", &stretch.pack, source)),
    }
}
