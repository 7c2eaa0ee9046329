//! The packing table of a session: open packs lie ready, and who has a content takes one and seals into it.
//!
//! A pack is in one pair of hands at a time, so nothing is locked while a content is encrypted. There are as many open
//! packs as memory was set aside for: who finds none waits until another has finished with his.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use windlass_repo_format::pack::{OpenPack, PackBody};

use super::lock;
use crate::io::ALIGNMENT;
use crate::mapped::ask_for_huge_pages;

/// The open packs of one class.
#[derive(Debug)]
pub(super) struct OpenPacks {
    table: Mutex<Table>,
    changed: Condvar,
    /// So many packs are open at once, those that are full and wait for a writer included.
    open_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    idle: Vec<OpenPack>,
    /// How many are in somebody's hands.
    taken: usize,
    /// Somebody waits for all packs: none is handed out until he has them.
    clearing: bool,
}

/// A pack in one pair of hands. It goes back to the table unless it is [`Hands::close`]d.
#[derive(Debug)]
pub(super) struct Hands<'a> {
    table: &'a OpenPacks,
    pack: Option<OpenPack>,
    place: Option<Place<'a>>,
    /// How long it took to get it.
    pub(super) waited: Duration,
}

/// The right to one of the places at the table; others wait for it as long as it is held.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a OpenPacks);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.0.table).taken -= 1;
        self.0.changed.notify_all();
    }
}

impl OpenPacks {
    /// A table with room for so many packs, one at least.
    pub(super) fn new(open_max: usize) -> Self {
        Self {
            table: Mutex::default(),
            changed: Condvar::new(),
            open_max: open_max.max(1),
        }
    }

    /// An open pack, or a new one where there is room, or one that another puts back.
    pub(super) fn take(&self, open: impl FnOnce() -> OpenPack) -> Hands<'_> {
        let mut table = lock(&self.table);
        let mut began = None;
        let pack = loop {
            if !table.clearing {
                if let Some(pack) = table.idle.pop() {
                    break Some(pack);
                }
                if table.taken < self.open_max {
                    break None;
                }
            }
            began.get_or_insert_with(Instant::now);
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        };
        table.taken += 1;
        drop(table);
        let place = Some(Place(self));
        Hands {
            table: self,
            pack: Some(pack.unwrap_or_else(open)),
            place,
            waited: began.map_or(Duration::ZERO, |began| began.elapsed()),
        }
    }

    /// Takes all packs off the table, and waits for those that are in somebody's hands. Each keeps its place until that is
    /// dropped: no other is opened for it before.
    pub(super) fn clear(&self) -> Vec<(OpenPack, Place<'_>)> {
        let mut table = lock(&self.table);
        while table.clearing {
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
        table.clearing = true;
        while table.taken > 0 {
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
        table.clearing = false;
        let packs = std::mem::take(&mut table.idle);
        table.taken = packs.len();
        drop(table);
        self.changed.notify_all();
        packs.into_iter().map(|pack| (pack, Place(self))).collect()
    }
}

impl<'a> Hands<'a> {
    /// Takes the pack off the table for good. Its place is still taken, so that who opens the next one waits until this
    /// one has found a writer.
    pub(super) fn close(mut self) -> (OpenPack, Place<'a>) {
        let pack = self.pack.take().expect("hands hold a pack until they are gone");
        let place = self.place.take().expect("and a place");
        (pack, place)
    }
}

impl Deref for Hands<'_> {
    type Target = OpenPack;

    fn deref(&self) -> &OpenPack {
        self.pack.as_ref().expect("hands hold a pack until they are gone")
    }
}

impl DerefMut for Hands<'_> {
    fn deref_mut(&mut self) -> &mut OpenPack {
        self.pack.as_mut().expect("hands hold a pack until they are gone")
    }
}

impl Drop for Hands<'_> {
    fn drop(&mut self) {
        // Before the place is given up, so that who is woken finds it.
        if let Some(pack) = self.pack.take() {
            lock(&self.table.table).idle.push(pack);
        }
    }
}

/// Buffers of packs that were stored, for the next ones. They all have the same length and begin at any byte.
#[derive(Clone, Debug)]
pub(super) struct PackBuffers(Arc<Spare>);

#[derive(Debug)]
struct Spare {
    buffers: Mutex<Vec<Vec<u8>>>,
    len: usize,
}

/// The bytes of a pack on its way into storage; the buffer is kept for the next one.
#[derive(Debug)]
pub(super) struct Recycled {
    bytes: PackBody,
    home: PackBuffers,
}

impl PackBuffers {
    /// At most so many are kept, whatever a storage does with those it was given.
    const SPARE_MAX: usize = 8;

    /// The usual allocator maps buffers of this length for themselves: memory is taken as they fill, and given back to
    /// the system when they are freed.
    const LEN_MIN: usize = 33 << 20;

    /// Buffers for blobs of at most `blob_len` bytes.
    pub(super) fn new(blob_len: usize) -> Self {
        Self(Arc::new(Spare {
            buffers: Mutex::default(),
            len: (blob_len + ALIGNMENT).max(Self::LEN_MIN),
        }))
    }

    /// An empty body that begins at a page. It stays there as long as it does not outgrow the buffer.
    pub(super) fn take(&self) -> PackBody {
        let spare = lock(&self.0.buffers).pop();
        spare.map_or_else(|| self.fresh(), Self::body_in)
    }

    /// The same in memory that nobody has used yet: it costs what is written into it and no more.
    pub(super) fn fresh(&self) -> PackBody {
        let mut buffer = Vec::with_capacity(self.0.len);
        ask_for_huge_pages(buffer.spare_capacity_mut());
        Self::body_in(buffer)
    }

    fn body_in(buffer: Vec<u8>) -> PackBody {
        let start = buffer.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        PackBody::new(buffer, start)
    }

    /// A body that gives its buffer back when it is dropped.
    pub(super) fn recycle(&self, bytes: PackBody) -> Recycled {
        Recycled {
            bytes,
            home: self.clone(),
        }
    }
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.bytes).into_buffer();
        // One that has grown would cost more than was set aside.
        if buffer.capacity() == self.home.0.len {
            let mut buffers = lock(&self.home.0.buffers);
            if buffers.len() < PackBuffers::SPARE_MAX {
                buffers.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_repo_format::id::BlobId;

    use super::*;

    fn pack(name: &str) -> OpenPack {
        OpenPack::new(BlobId::from(name), PackBody::default(), [0; 32])
    }

    #[test]
    fn who_finds_no_pack_and_no_place_waits_for_another() {
        let table = OpenPacks::new(1);
        let held = table.take(|| pack("p1"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| table.take(|| pack("p2")).id().to_string());
            std::thread::sleep(Duration::from_millis(10));
            assert!(!waiting.is_finished());
            drop(held);
            assert_eq!(waiting.join().unwrap(), "p1", "the one that came back");
        });
        let (full, place) = table.take(|| pack("p3")).close();
        assert_eq!(full.id().as_str(), "p1");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| table.take(|| pack("p4")).id().to_string());
            std::thread::sleep(Duration::from_millis(10));
            assert!(
                !waiting.is_finished(),
                "a full pack keeps its place until it has a writer"
            );
            drop(place);
            assert_eq!(waiting.join().unwrap(), "p4");
        });
    }

    #[test]
    fn a_cleared_table_misses_no_pack_that_was_in_somebodys_hands() {
        let table = OpenPacks::new(2);
        drop(table.take(|| pack("p1")));
        let (first, second) = (table.take(|| pack("p2")), table.take(|| pack("p3")));
        std::thread::scope(|scope| {
            let clearing = scope.spawn(|| table.clear());
            std::thread::sleep(Duration::from_millis(10));
            let late = scope.spawn(|| table.take(|| pack("p4")).id().to_string());
            drop(first);
            std::thread::sleep(Duration::from_millis(10));
            assert!(!clearing.is_finished() && !late.is_finished());
            drop(second);
            let mut cleared = clearing.join().unwrap();
            cleared.sort_by_key(|(pack, _)| pack.id().clone());
            let names: Vec<_> = cleared.iter().map(|(pack, _)| pack.id().as_str()).collect();
            assert_eq!(names, ["p1", "p3"]);
            std::thread::sleep(Duration::from_millis(10));
            assert!(!late.is_finished(), "they are not stored yet");
            cleared.pop();
            assert_eq!(late.join().unwrap(), "p4");
        });
    }

    #[test]
    fn a_body_begins_at_a_page_and_its_buffer_comes_back() {
        let buffers = PackBuffers::new(10_000);
        let body = buffers.take();
        assert!(body.as_ptr().addr().is_multiple_of(ALIGNMENT) && body.is_empty());
        let place = body.as_ptr();
        drop(buffers.recycle(body));
        assert_eq!(buffers.take().as_ptr(), place);
        drop(buffers.recycle(PackBody::default()));
        assert!(lock(&buffers.0.buffers).is_empty(), "others are not kept");
    }
}
