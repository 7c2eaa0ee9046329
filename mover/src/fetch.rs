//! The fetching room: contents that are wanted here and there are read pack by pack, opened, checked and handed out.
//!
//! One side says what it wants, in any order ([`Gather`]). What lies close together in a pack is read with one request,
//! and a content that is wanted several times is opened once. The other side is any number of threads that call
//! [`Fetch::serve`]: each opens contents onto a desk of its own until there are as many as the hash takes side by side.
//!
//! Budget: on one core about 1 GB/s with Kopia's default algorithms and AVX2, 1.9 with AVX-512, 3.6 where BLAKE3 is the hash
//! (bench `fetching`); holds [`Fetch::new`]'s bytes, and at most [`WINDOW_PIECES_MAX`] pieces per gatherer; waits for the
//! storage and for whoever takes the bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};
use windlass_repo_format::id::{BlobId, ObjectId};
use windlass_repo_format::index::IndexEntry;

use crate::error::{MoverError, Result};
use crate::repository::ObjectPart;

mod serve;

pub(crate) use serve::{DIRECT_LEN_MIN, Fetch};

/// No more than so many bytes of a pack are read with one request, unless a single content is longer.
const READ_LEN_MAX: u64 = 4 << 20;
/// Bytes between two wanted contents that are rather read than skipped with a second request.
const GAP_LEN_MAX: u64 = 64 << 10;
/// Pieces that one request may serve: more would leave the other threads without work.
const READ_PIECES_MAX: usize = 128;
/// Bytes handed out from one request, where few contents fill many places.
const READ_OUTPUT_MAX: u64 = 64 << 20;
/// Pieces, and bytes of packs, that are gathered before the reading order is decided.
pub(crate) const WINDOW_PIECES_MAX: usize = 2048;
const WINDOW_LEN_MAX: u64 = 32 << 20;
/// How often whoever waits looks whether the work was stopped.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Takes the bytes of pieces. Every piece ends in exactly one call of one of these.
pub(crate) trait Taker: Send + Sync {
    /// The bytes of one part of the object, checked.
    fn take(&self, part: &ObjectPart, bytes: &[u8]);
    /// The part cannot be had.
    fn lose(&self, part: &ObjectPart, error: MoverError);
    /// Whether it is to be told of contents that are whole only by their parity: to find out takes as long as to open them.
    fn looks_for_wear(&self) -> bool {
        false
    }
    /// The content that holds the part is damaged, and its parity makes it whole.
    fn worn(&self, _: &ObjectPart) {}
}

/// One part of an object that somebody waits for.
#[derive(Debug)]
pub(crate) struct Piece<T> {
    pub object: ObjectId,
    pub part: ObjectPart,
    pub entry: IndexEntry,
    pub to: T,
}

/// Pieces of one pack, near each other, in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    pack: BlobId,
    offset: u64,
    len: u64,
    pieces: Vec<Piece<T>>,
}

/// Whether to go on: the owner's wish, and the first error after which nothing makes sense.
#[derive(Debug)]
pub(crate) struct Stop<'a> {
    cancel: &'a AtomicBool,
    stopped: AtomicBool,
    reason: Mutex<Option<MoverError>>,
}

impl<'a> Stop<'a> {
    pub(crate) fn new(cancel: &'a AtomicBool) -> Self {
        Self {
            cancel,
            stopped: AtomicBool::new(false),
            reason: Mutex::new(None),
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.cancel.load(Ordering::Relaxed)
    }

    /// Ends the work because of an error that would meet everything that follows.
    pub(crate) fn set(&self, error: MoverError) {
        lock(&self.reason).get_or_insert(error);
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What ended the work, if anything did.
    pub(crate) fn into_result(self) -> Result<()> {
        let cancelled = self.cancel.load(Ordering::Relaxed);
        match self.reason.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None if cancelled => Err(MoverError::Cancelled),
            None => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number of things of which only so many may be in use; a place is free again when its [`Slot`] is dropped.
#[derive(Debug)]
pub(crate) struct Slots(Arc<SlotsInner>);

#[derive(Debug)]
struct SlotsInner {
    free: Mutex<u64>,
    freed: Condvar,
    max: u64,
}

/// Some places of [`Slots`].
#[derive(Debug)]
pub(crate) struct Slot {
    of: Arc<SlotsInner>,
    count: u64,
}

impl Slots {
    pub(crate) fn new(max: u64) -> Self {
        Self(Arc::new(SlotsInner {
            free: Mutex::new(max),
            freed: Condvar::new(),
            max,
        }))
    }

    /// So many places, or all there are if that is fewer; `None` when they are not free.
    pub(crate) fn try_take(&self, count: u64) -> Option<Slot> {
        let count = count.min(self.0.max);
        let mut free = lock(&self.0.free);
        *free = free.checked_sub(count)?;
        Some(Slot {
            of: self.0.clone(),
            count,
        })
    }

    /// As [`Slots::try_take`], waiting for them; `None` when the work was stopped.
    pub(crate) fn take(&self, count: u64, stop: &Stop<'_>) -> Option<Slot> {
        loop {
            if let Some(slot) = self.try_take(count) {
                return Some(slot);
            }
            if stop.is_set() {
                return None;
            }
            let free = lock(&self.0.free);
            if *free < count.min(self.0.max) {
                drop(self.0.freed.wait_timeout(free, LOOK_AROUND));
            }
        }
    }
}

/// How many files and directories a stage may hold open: half of what the system allows this process, because the
/// storage, the indexes and everybody else open some as well. No stage needs more than some thousand.
pub(crate) fn open_files_max() -> u64 {
    use rustix::process::{Resource, getrlimit};
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    allowed.min(4096) / 2
}

impl Drop for Slot {
    fn drop(&mut self) {
        *lock(&self.of.free) += self.count;
        self.of.freed.notify_all();
    }
}

/// Collects pieces, and decides in which order and how many at a time they are read.
#[derive(Debug)]
pub(crate) struct Gather<'a, T> {
    pieces: Vec<Piece<T>>,
    len: u64,
    to: Sender<Batch<T>>,
    stop: &'a Stop<'a>,
}

impl<'a, T: Taker> Gather<'a, T> {
    pub(crate) fn new(to: Sender<Batch<T>>, stop: &'a Stop<'a>) -> Self {
        Self {
            pieces: Vec::new(),
            len: 0,
            to,
            stop,
        }
    }

    /// Asks for a piece.
    pub(crate) fn push(&mut self, piece: Piece<T>) {
        self.len += u64::from(piece.entry.packed_len.bytes());
        self.pieces.push(piece);
        if self.pieces.len() >= WINDOW_PIECES_MAX || self.len >= WINDOW_LEN_MAX {
            self.flush();
        }
    }

    /// Sends everything off. To be called before waiting for anything that pieces still held here may be part of.
    pub(crate) fn flush(&mut self) {
        let mut pieces = std::mem::take(&mut self.pieces);
        self.len = 0;
        pieces.sort_by(|a, b| {
            let place = |piece: &Piece<T>| piece.entry.offset;
            a.entry.pack.cmp(&b.entry.pack).then_with(|| place(a).cmp(&place(b)))
        });
        let mut batch: Option<Batch<T>> = None;
        let mut output = 0;
        for piece in pieces {
            let original = u64::from(piece.entry.original_len.bytes());
            let fits = batch
                .as_ref()
                .is_some_and(|batch| batch.takes(&piece) && output + original <= READ_OUTPUT_MAX);
            if !fits {
                if let Some(full) = batch.take() {
                    self.send(full);
                }
                output = 0;
            }
            output += original;
            match &mut batch {
                Some(batch) => batch.add(piece),
                None => batch = Some(Batch::of(piece)),
            }
        }
        if let Some(last) = batch {
            self.send(last);
        }
    }

    fn send(&self, batch: Batch<T>) {
        let mut waiting = batch;
        while !self.stop.is_set() {
            match self.to.send_timeout(waiting, LOOK_AROUND) {
                Ok(()) => return,
                Err(SendTimeoutError::Timeout(again)) => waiting = again,
                Err(SendTimeoutError::Disconnected(lost)) => {
                    waiting = lost;
                    break;
                }
            }
        }
        waiting.lose_all();
    }
}

fn range_of(entry: &IndexEntry) -> std::ops::Range<u64> {
    let start = u64::from(entry.offset.bytes());
    start..start + u64::from(entry.packed_len.bytes())
}

impl<T: Taker> Batch<T> {
    fn of(piece: Piece<T>) -> Self {
        let range = range_of(&piece.entry);
        Self {
            pack: piece.entry.pack.clone(),
            offset: range.start,
            len: range.end - range.start,
            pieces: vec![piece],
        }
    }

    fn takes(&self, piece: &Piece<T>) -> bool {
        let range = range_of(&piece.entry);
        let end = self.offset + self.len;
        self.pack == piece.entry.pack
            && self.pieces.len() < READ_PIECES_MAX
            && range.start <= end + GAP_LEN_MAX
            && range.end.max(end) - self.offset <= READ_LEN_MAX
    }

    fn add(&mut self, piece: Piece<T>) {
        let end = (self.offset + self.len).max(range_of(&piece.entry).end);
        self.len = end - self.offset;
        self.pieces.push(piece);
    }

    fn lose_all(self) {
        for piece in self.pieces {
            piece.to.lose(&piece.part, MoverError::Cancelled);
        }
    }
}

/// How many threads read where so many were asked for; 0 stands for what fits the machine.
pub(crate) fn readers(wanted: usize) -> usize {
    const READERS_MAX: usize = 256;
    let fitting = || std::thread::available_parallelism().map_or(8, |cores| (2 * cores.get()).clamp(8, 32));
    match wanted {
        0 => fitting(),
        wanted => wanted.min(READERS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use crossbeam_channel::RecvTimeoutError;
    use windlass_repo_format::compression::Compression;
    use windlass_repo_format::quantity::{ContentLen, PackOffset};
    use windlass_repo_format::splitter::SplitterAlgorithm;

    use super::*;
    use crate::blocking::block_on;
    use crate::repository::CreateOptions;
    use crate::sample::Sample;
    use crate::storage::{BlobRange, Storage};

    /// Notes what came, by the place where it was to go.
    #[derive(Default)]
    struct Notes(Mutex<BTreeMap<u64, Vec<u8>>>, AtomicUsize);

    impl Taker for Arc<Notes> {
        fn take(&self, part: &ObjectPart, bytes: &[u8]) {
            assert_eq!(lock(&self.0).insert(part.start, bytes.to_vec()), None);
        }

        fn lose(&self, _: &ObjectPart, _: MoverError) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fetch(sample: &Sample, pieces: Vec<Piece<Arc<Notes>>>) -> usize {
        let cancel = AtomicBool::new(false);
        let stop = Stop::new(&cancel);
        let (sender, receiver) = crossbeam_channel::unbounded();
        let mut gather = Gather::new(sender, &stop);
        pieces.into_iter().for_each(|piece| gather.push(piece));
        gather.flush();
        drop(gather);
        let batches = receiver.len();
        Fetch::new(&sample.repository, 1 << 20, 1, &stop).serve(&receiver);
        batches
    }

    fn piece(sample: &Sample, object: ObjectId, start: u64, len: Option<u64>, to: &Arc<Notes>) -> Piece<Arc<Notes>> {
        let content = object.content();
        Piece {
            object,
            part: ObjectPart {
                start,
                len,
                content,
                compressed: false,
            },
            entry: sample.repository.locate(&content).unwrap(),
            to: to.clone(),
        }
    }

    #[test]
    fn neighbours_are_read_with_one_request_and_a_content_opened_once_for_all() {
        let sample = Sample::new();
        let text = |number: u64| format!("content {number}").into_bytes();
        let objects: Vec<ObjectId> = (0..100).map(|number| sample.object(&text(number))).collect();
        sample.flush();
        let notes = Arc::<Notes>::default();
        let pieces = (0..200u64).rev();
        let pieces = pieces.map(|place| piece(&sample, objects[place as usize / 2], place, None, &notes));
        assert_eq!(fetch(&sample, pieces.collect()), 200_usize.div_ceil(READ_PIECES_MAX));
        let came = lock(&notes.0);
        assert_eq!(came.len(), 200);
        assert!(came.iter().all(|(place, bytes)| *bytes == text(place / 2)));
    }

    #[test]
    fn a_request_that_fails_as_a_whole_loses_only_what_is_damaged() {
        let sample = Sample::new();
        let objects: Vec<ObjectId> = (0..10u8).map(|number| sample.object(&[number; 100])).collect();
        sample.flush();
        let last = sample.repository.locate(&objects[9].content()).unwrap();
        let bytes = block_on(sample.storage.read(&last.pack, BlobRange::Whole)).unwrap();
        sample
            .storage
            .damage(&last.pack, bytes.slice(..last.offset.bytes() as usize + 1));
        let notes = Arc::<Notes>::default();
        let twice = objects.iter().chain(&objects).enumerate();
        fetch(
            &sample,
            twice
                .map(|(place, object)| piece(&sample, *object, place as u64, None, &notes))
                .collect(),
        );
        assert_eq!(lock(&notes.0).len(), 18);
        assert_eq!(notes.1.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn readers_of_contents_too_long_for_their_memory_do_not_wait_for_each_other() {
        const LEN: usize = 4 << 20;
        let sample = Sample::with(&CreateOptions {
            splitter: SplitterAlgorithm::LegacyFixed,
            ecc_overhead_percent: 100,
            ..CreateOptions::default()
        });
        let zstd = Some(Compression::Zstd);
        let objects = (0..12u64).map(|number| {
            let mut bytes: Vec<u8> = (0..LEN as u64 / 8)
                .flat_map(|word| (word * (number + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
                .collect();
            let compressed = number % 3 == 2;
            bytes[..LEN / 2].fill(0);
            let written = sample
                .session()
                .write_content(None, &bytes, zstd.filter(|_| compressed));
            ObjectId::direct(block_on(written).unwrap())
        });
        let objects: Vec<ObjectId> = objects.collect();
        sample.flush();
        let notes = Arc::<Notes>::default();
        let cancel = AtomicBool::new(false);
        let stop = Stop::new(&cancel);
        let (sender, receiver) = crossbeam_channel::unbounded();
        let mut gather = Gather::new(sender, &stop);
        for (place, object) in objects.iter().chain(&objects).enumerate() {
            gather.push(piece(&sample, *object, place as u64, None, &notes));
        }
        gather.flush();
        drop(gather);
        let fetch = Fetch::new(&sample.repository, 64 << 20, 3, &stop);
        assert_eq!(fetch.readers(), 3);
        let (ended, end) = crossbeam_channel::bounded::<()>(0);
        thread::scope(|scope| {
            for ended in [ended.clone(), ended.clone(), ended] {
                let (fetch, receiver) = (&fetch, &receiver);
                scope.spawn(move || {
                    let _ended = ended;
                    fetch.serve(receiver);
                });
            }
            if end.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
                cancel.store(true, Ordering::Relaxed);
            }
        });
        assert_eq!(lock(&notes.0).len(), 24, "{} lost", notes.1.load(Ordering::Relaxed));
    }

    #[test]
    fn a_part_of_another_length_than_promised_is_lost() {
        let sample = Sample::new();
        let object = sample.object(b"seven b");
        sample.flush();
        let notes = Arc::<Notes>::default();
        let lens = [Some(7), Some(8), None, Some(6), Some(7)];
        let pieces = lens.iter().enumerate();
        fetch(
            &sample,
            pieces
                .map(|(place, len)| piece(&sample, object, place as u64, *len, &notes))
                .collect(),
        );
        assert_eq!(lock(&notes.0).keys().copied().collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(notes.1.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_entry_that_lies_about_its_place_is_lost() {
        let sample = Sample::new();
        let object = sample.object(b"here");
        sample.flush();
        let notes = Arc::<Notes>::default();
        let mut beyond = piece(&sample, object, 0, None, &notes);
        beyond.entry.offset = PackOffset::new((1 << 31) - 1).unwrap();
        let mut huge = piece(&sample, object, 1, None, &notes);
        huge.entry.packed_len = ContentLen::new((1 << 28) - 1).unwrap();
        let mut empty = piece(&sample, object, 2, None, &notes);
        empty.entry.packed_len = ContentLen::default();
        let mut elsewhere = piece(&sample, object, 3, None, &notes);
        elsewhere.entry.pack = "p-not-there".into();
        fetch(&sample, vec![beyond, huge, empty, elsewhere]);
        // The last is found again in fresh indexes, as after maintenance moved it.
        assert_eq!(lock(&notes.0).keys().copied().collect::<Vec<_>>(), [3]);
        assert_eq!(notes.1.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn after_a_stop_every_piece_is_lost_and_nobody_waits() {
        let sample = Sample::new();
        let object = sample.object(b"here");
        sample.flush();
        let notes = Arc::<Notes>::default();
        let cancel = AtomicBool::new(true);
        let stop = Stop::new(&cancel);
        let (sender, receiver) = crossbeam_channel::bounded(0);
        let mut gather = Gather::new(sender, &stop);
        gather.push(piece(&sample, object, 0, None, &notes));
        gather.flush();
        drop((gather, receiver));
        assert_eq!(notes.1.load(Ordering::Relaxed), 1);
        assert!(Slots::new(1).take(1, &stop).is_some(), "what is free can be had");
        let slots = Slots::new(1);
        let held = slots.take(1, &stop);
        assert!(slots.take(1, &stop).is_none());
        drop(held);
        assert!(slots.try_take(5).is_some(), "more than there are is all there are");
    }
}
