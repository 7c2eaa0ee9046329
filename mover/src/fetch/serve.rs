//! The serving hatch: batches are read, their contents opened onto one desk per thread, hashed together, and handed out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, TryRecvError};
use windlass_repo_format::id::BlobId;
use windlass_repo_format::index::IndexEntry;

use super::{Batch, Piece, READ_LEN_MAX, Slot, Slots, Stop, Taker, lock, range_of};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::io::{ALIGNMENT, AlignedBuffer};
use crate::pipeline::StageProfile;
use crate::repository::{ObjectPart, Repository};
use crate::storage::{BlobRange, StorageError};

/// Contents of at least so many bytes lie on the desk as their file's pages do, so that they can be written past the page
/// cache.
pub(crate) const DIRECT_LEN_MIN: usize = 128 << 10;

/// What the threads that read share.
#[derive(Debug)]
pub(crate) struct Fetch<'a> {
    repository: &'a Repository,
    /// For what does not fit onto a desk.
    besides: Slots,
    measures: Measures,
    stop: &'a Stop<'a>,
    /// Packs that are not there, even by the newest indexes.
    lost: Mutex<HashSet<BlobId>>,
    times: Times,
}

/// What the threads did one after the other, all of them together.
#[derive(Debug, Default)]
struct Times {
    idle: AtomicU64,
    read: Step,
    open: Step,
    hash: Step,
    write: Step,
}

#[derive(Debug, Default)]
struct Step {
    nanos: AtomicU64,
    bytes: AtomicU64,
}

impl Step {
    fn time<R>(&self, bytes: u64, work: impl FnOnce() -> R) -> R {
        let done = time(&self.nanos, work);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        done
    }

    fn shown(&self, stage: &'static str, threads: usize) -> StageProfile {
        StageProfile {
            stage,
            threads: threads as u64,
            busy: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
            waiting_for_input: Duration::ZERO,
            waiting_for_output: Duration::ZERO,
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

fn time<R>(nanos: &AtomicU64, work: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let done = work();
    let taken = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    nanos.fetch_add(taken, Ordering::Relaxed);
    done
}

/// How the memory is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measures {
    readers: usize,
    /// Bytes of plain contents on each reader's desk.
    desk: usize,
    /// Bytes of one read, at most, unless a single content is longer.
    read: u64,
    /// Bytes of all that is too long for a desk or a read, or comes out of a decompressor.
    besides: u64,
}

impl Measures {
    /// For a repository whose contents have at most `content_max` bytes, mostly. `wanted` readers if all cores and full lanes
    /// of the hash leave memory for so many.
    fn new(memory: u64, wanted: usize, cores: usize, lanes: usize, content_max: usize) -> Self {
        let content = content_max.clamp(1 << 20, 32 << 20).next_multiple_of(ALIGNMENT) as u64;
        let read = READ_LEN_MAX.max(content) + 2 * ALIGNMENT as u64;
        let besides = (memory / 8).max(2 * content);
        let left = memory.saturating_sub(besides);
        // Splitters aim at half of the greatest length; two more keep the lanes busy when the first have ended.
        let wish = content.max((lanes as u64 + 2) * content / 2);
        let at_work = wanted.min(cores + 2).max(1) as u64;
        let desk = (left / at_work).saturating_sub(read).clamp(content, wish);
        let readers = left / (desk + read);
        Self {
            readers: usize::try_from(readers).unwrap_or(wanted).clamp(1, wanted.max(1)),
            desk: desk as usize,
            read,
            besides,
        }
    }
}

impl<'a> Fetch<'a> {
    /// Readers, `wanted` of them at most, that hold so many bytes together, or one content each if these are longer.
    pub(crate) fn new(repository: &'a Repository, memory_bytes: u64, wanted: usize, stop: &'a Stop<'a>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = repository.sealer().hasher().lanes();
        let content_max = repository.splitter().max_chunk_len();
        let measures = Measures::new(memory_bytes, wanted, cores, lanes, content_max);
        Self {
            repository,
            besides: Slots::new(measures.besides),
            measures,
            stop,
            lost: Mutex::default(),
            times: Times::default(),
        }
    }

    /// What the threads did: each does all of this in turn. Who reads has waited to be asked before; reading itself waits
    /// for the storage, and writing for the disk.
    pub(crate) fn stages(&self) -> Vec<StageProfile> {
        let Times {
            idle,
            read,
            open,
            hash,
            write,
        } = &self.times;
        let shown = |step: &Step, stage| step.shown(stage, self.readers());
        vec![
            StageProfile {
                waiting_for_input: Duration::from_nanos(idle.load(Ordering::Relaxed)),
                ..shown(read, "read")
            },
            shown(open, "open"),
            shown(hash, "hash"),
            shown(write, "write"),
        ]
    }

    /// How many threads are to call [`Fetch::serve`].
    pub(crate) fn readers(&self) -> usize {
        self.measures.readers
    }

    /// The index entry of a content. One that no index knows is looked for once more in fresh ones.
    pub(crate) fn locate(&self, part: &ObjectPart) -> Result<IndexEntry> {
        match self.repository.locate(&part.content) {
            Err(MoverError::ContentMissing { id }) => {
                // An index that is only just read cannot have become outdated.
                if self.repository.index_age() >= jiff::SignedDuration::from_secs(1) {
                    block_on(self.repository.refresh())?;
                }
                self.repository.locate(&id)
            }
            other => other,
        }
    }

    /// Reads and hands out batches until the other side is gone.
    pub(crate) fn serve<T: Taker>(&self, batches: &Receiver<Batch<T>>) {
        let mut desk = Desk::new(self);
        loop {
            let batch = match batches.try_recv() {
                Ok(batch) => Some(batch),
                Err(TryRecvError::Empty) => {
                    // Whoever asks may wait for what lies here.
                    desk.settle();
                    time(&self.times.idle, || batches.recv().ok())
                }
                Err(TryRecvError::Disconnected) => None,
            };
            match batch {
                None => return desk.settle(),
                Some(batch) if self.stop.is_set() => batch.lose_all(),
                Some(batch) => desk.serve(batch),
            }
        }
    }

    fn read_range(&self, pack: &BlobId, offset: u64, len: u64) -> std::result::Result<Bytes, StorageError> {
        let range = BlobRange::Part { offset, len };
        let read = || block_on(self.repository.storage().read(pack, range));
        self.times.read.time(len, read)
    }

    /// Reads one content. A pack that vanished since the indexes were read is looked for once in fresh ones.
    fn read_alone(&self, entry: &IndexEntry) -> Result<(IndexEntry, Bytes)> {
        match self.read_entry(entry) {
            Err(MoverError::Storage {
                source: StorageError::NotFound { .. },
                ..
            }) => {}
            other => return Ok((entry.clone(), other?)),
        }
        let missing = || MoverError::PackMissing {
            pack: entry.pack.clone(),
            id: entry.id,
        };
        if lock(&self.lost).contains(&entry.pack) {
            return Err(missing());
        }
        block_on(self.repository.refresh())?;
        let moved = self.repository.locate(&entry.id)?;
        if moved.pack == entry.pack {
            lock(&self.lost).insert(entry.pack.clone());
            return Err(missing());
        }
        let read = self.read_entry(&moved)?;
        Ok((moved, read))
    }

    fn read_entry(&self, entry: &IndexEntry) -> Result<Bytes> {
        let range = range_of(entry);
        self.read_range(&entry.pack, range.start, range.end - range.start)
            .map_err(|source| {
                let doing = format!("cannot read content {} of pack {}", entry.id, entry.pack);
                self.repository.storage_failed(doing, source)
            })
    }

    fn hand_out<T: Taker>(&self, pieces: &[Piece<T>], plain: &[u8]) {
        for piece in pieces {
            let finished = self
                .repository
                .finish_part(&piece.object, &piece.part, Cow::Borrowed(plain));
            match finished {
                Ok(bytes) => piece.to.take(&piece.part, &bytes),
                Err(error) => piece.to.lose(&piece.part, error),
            }
        }
    }
}

/// Where one thread puts the contents that it has opened, until their hashes are compared all at once.
struct Desk<'r, 'a, T> {
    fetch: &'r Fetch<'a>,
    room: AlignedBuffer,
    used: usize,
    opened: Vec<Opened<T>>,
}

/// A content that was opened, and all who want it.
struct Opened<T> {
    /// Where it was read, which may be another place than was asked for.
    entry: IndexEntry,
    pieces: Vec<Piece<T>>,
    plain: Plain,
}

enum Plain {
    OnDesk(Range<usize>),
    Besides {
        plain: Vec<u8>,
        /// Free for others when the bytes are gone.
        _memory: Slot,
    },
}

impl<'r, 'a, T: Taker> Desk<'r, 'a, T> {
    fn new(fetch: &'r Fetch<'a>) -> Self {
        let mut room = AlignedBuffer::new(fetch.measures.desk);
        room.set_len(room.capacity());
        Self {
            fetch,
            room,
            used: 0,
            opened: Vec::new(),
        }
    }

    fn serve(&mut self, batch: Batch<T>) {
        let Batch {
            pack,
            offset,
            len,
            pieces,
        } = batch;
        let mut ahead = self.memory_ahead(len, &pieces);
        // When the whole cannot be read, each content is tried alone: one that lies before the damage can be had.
        let read = self.fetch.read_range(&pack, offset, len).ok();
        let mut pieces = pieces.into_iter().peekable();
        while let Some(first) = pieces.next() {
            let entry = first.entry.clone();
            let mut same = vec![first];
            while let Some(next) = pieces.next_if(|next| next.entry == entry) {
                same.push(next);
            }
            let range = range_of(&entry);
            let sealed = match &read {
                Some(bytes) => {
                    let start = (range.start - offset) as usize;
                    let sealed = bytes.slice(start..start + (range.end - range.start) as usize);
                    Ok((entry, sealed))
                }
                None => self.fetch.read_alone(&entry),
            };
            let plain = sealed.and_then(|(entry, sealed)| {
                let plain = self.open(&entry, &sealed, same[0].part.start, &mut ahead)?;
                let (to, part) = (&same[0].to, &same[0].part);
                if to.looks_for_wear() && self.fetch.repository.is_worn(&sealed) {
                    to.worn(part);
                }
                Ok((entry, plain))
            });
            match plain {
                Ok((entry, plain)) => self.opened.push(Opened {
                    entry,
                    pieces: same,
                    plain,
                }),
                Err(error) => lose(&same, error),
            }
        }
        let lanes = self.fetch.repository.sealer().hasher().lanes();
        if self.opened.len() >= lanes + lanes / 4 {
            self.settle();
        }
    }

    /// Memory for a read that is longer than others, and for opening the content it is for: at once, because who waits must
    /// hold nothing.
    fn memory_ahead(&mut self, len: u64, pieces: &[Piece<T>]) -> Option<Slot> {
        if len <= self.fetch.measures.read {
            return None;
        }
        let opening = pieces.iter().map(|piece| cost_besides(&piece.entry, len)).max();
        self.memory_besides(len + opening.unwrap_or(0))
    }

    /// Memory for so many bytes, for which others may have to end first. They may wait as well, so this thread must hold
    /// no other such memory than what goes with its opened contents, which are given away meanwhile.
    fn memory_besides(&mut self, bytes: u64) -> Option<Slot> {
        if let Some(slot) = self.fetch.besides.try_take(bytes) {
            return Some(slot);
        }
        self.settle();
        self.fetch.besides.take(bytes, self.fetch.stop)
    }

    /// Opens a content. Where it can be told how long it becomes, it goes onto the desk: at an address that is to a page as
    /// `start`, its place in its file, is. Otherwise it takes the memory `ahead`, or what it needs of its own.
    fn open(&mut self, entry: &IndexEntry, sealed: &[u8], start: u64, ahead: &mut Option<Slot>) -> Result<Plain> {
        let sealer = self.fetch.repository.sealer();
        let plain_len = sealer.plain_len(sealed.len());
        let fitting = plain_len.filter(|len| entry.compression == 0 && *len + ALIGNMENT <= self.room.capacity());
        let Some(len) = fitting else {
            let own = || self.memory_besides(cost_besides(entry, sealed.len() as u64));
            let slot = ahead.take().or_else(own).ok_or(MoverError::Cancelled)?;
            let open = || self.fetch.repository.open_sealed(entry, sealed);
            let plain = self.fetch.times.open.time(sealed.len() as u64, open)?;
            return Ok(Plain::Besides { plain, _memory: slot });
        };
        let mut at = self.place(len, start);
        if at + len > self.room.capacity() {
            self.settle();
            at = self.place(len, start);
        }
        let place = at..at + len;
        let room = &mut self.room.room_mut()[place.clone()];
        let open = || self.fetch.repository.open_sealed_onto(entry, sealed, room);
        self.fetch.times.open.time(len as u64, open)?;
        self.used = place.end;
        Ok(Plain::OnDesk(place))
    }

    fn place(&self, len: usize, start: u64) -> usize {
        if len < DIRECT_LEN_MIN {
            return self.used;
        }
        let wanted = (start % ALIGNMENT as u64) as usize;
        let page = self.used / ALIGNMENT * ALIGNMENT;
        if page + wanted >= self.used {
            page + wanted
        } else {
            page + ALIGNMENT + wanted
        }
    }

    /// Compares all hashes and hands everything out.
    fn settle(&mut self) {
        if self.opened.is_empty() {
            return;
        }
        let opened = std::mem::take(&mut self.opened);
        let pieces: Vec<[&[u8]; 1]> = opened
            .iter()
            .map(|opened| match &opened.plain {
                Plain::OnDesk(place) => [&self.room.as_slice()[place.clone()]],
                Plain::Besides { plain, .. } => [&plain[..]],
            })
            .collect();
        let messages: Vec<&[&[u8]]> = pieces.iter().map(|pieces| &pieces[..]).collect();
        let bytes = pieces.iter().map(|[plain]| plain.len() as u64).sum();
        let hash = || self.fetch.repository.sealer().hasher().hash_many(&messages);
        let hashes = self.fetch.times.hash.time(bytes, hash);
        for ((opened, hash), [plain]) in opened.iter().zip(hashes).zip(&pieces) {
            if hash == opened.entry.id.hash() {
                let hand_out = || self.fetch.hand_out(&opened.pieces, plain);
                self.fetch.times.write.time(plain.len() as u64, hand_out);
            } else {
                let error = MoverError::WrongContent {
                    id: opened.entry.id,
                    pack: opened.entry.pack.clone(),
                    found: hash.to_string(),
                };
                lose(&opened.pieces, error);
            }
        }
        self.used = 0;
    }
}

/// Bytes that opening a content takes when it does not go onto the desk.
fn cost_besides(entry: &IndexEntry, sealed_len: u64) -> u64 {
    sealed_len + 2 * u64::from(entry.original_len.bytes())
}

fn lose<T: Taker>(same: &[Piece<T>], error: MoverError) {
    let (first, others) = same.split_first().expect("a group has at least one piece");
    for piece in others {
        let (id, pack) = (piece.entry.id, piece.entry.pack.clone());
        piece.to.lose(&piece.part, MoverError::SameContent { id, pack });
    }
    first.to.lose(&first.part, error);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_default_budget_has_room_for_full_lanes_on_two_cores() {
        let measures = Measures::new(160 * MIB, 8, 2, 8, 8 << 20);
        assert!(measures.readers >= 4 && measures.desk >= 24 << 20, "{measures:?}");
    }

    #[test]
    fn the_memory_is_kept_or_the_least_is_taken() {
        for memory in [0, 1, 64 * MIB, 96 * MIB, 160 * MIB, 1024 * MIB] {
            for (wanted, cores) in [(1, 1), (8, 2), (32, 64)] {
                for (lanes, content) in [(1, 8 << 20), (8, 8 << 20), (8, 128 << 10), (4, 16 << 20)] {
                    let measures = Measures::new(memory, wanted, cores, lanes, content);
                    let each = measures.desk as u64 + measures.read;
                    let all = measures.besides + measures.readers as u64 * each;
                    assert!((1..=wanted).contains(&measures.readers));
                    assert!(all <= memory || measures.readers == 1, "{memory} {measures:?}");
                    assert!(measures.desk as u64 >= content.max(1 << 20) as u64);
                }
            }
        }
    }
}
