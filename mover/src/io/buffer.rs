//! The bucket room: page-aligned memory of a fixed total, lent out and given back.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What O_DIRECT wants of memory, offsets and lengths, in bytes. Some disks are content with 512.
pub const ALIGNMENT: usize = 4096;

/// Memory that begins at a page and has room for a multiple of [`ALIGNMENT`] bytes; the first of them are filled.
///
/// One from a [`BufferPool`] goes back there when it is dropped.
pub struct AlignedBuffer {
    /// Never grows: the window below would move, and with it memory that an engine has handed to the kernel.
    memory: Vec<u8>,
    start: usize,
    capacity: usize,
    filled: usize,
    home: Option<Home>,
}

/// Where a buffer goes when it is dropped.
struct Home {
    pool: Arc<Inner>,
    number: usize,
}

impl AlignedBuffer {
    /// A buffer of its own, outside of any budget. `capacity` is rounded up to a multiple of [`ALIGNMENT`].
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1).next_multiple_of(ALIGNMENT);
        let memory = vec![0; capacity + ALIGNMENT];
        let start = memory.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        Self {
            memory,
            start,
            capacity,
            filled: 0,
            home: None,
        }
    }

    /// How many bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many bytes are filled.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing is filled.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Says how many of the first bytes are filled. Panics beyond the capacity.
    pub fn set_len(&mut self, filled: usize) {
        assert!(
            filled <= self.capacity,
            "{filled} bytes do not fit into {}",
            self.capacity
        );
        self.filled = filled;
    }

    /// The filled bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    /// All the room, filled or not.
    pub fn room_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.capacity]
    }

    /// The filled bytes without a copy. The buffer goes back to its pool when the last clone is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Which of the pool's buffers this is; `None` for one from elsewhere.
    pub(super) fn number_in(&self, pool: &BufferPool) -> Option<usize> {
        let home = self.home.as_ref()?;
        Arc::ptr_eq(&home.pool, &pool.0).then_some(home.number)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for AlignedBuffer {
    /// Without the bytes: they are somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} of {} bytes)", self.filled, self.capacity)
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        let Some(Home { pool, number }) = self.home.take() else {
            return;
        };
        let buffer = Self {
            memory: std::mem::take(&mut self.memory),
            filled: 0,
            home: None,
            ..*self
        };
        pool.free().push((number, buffer));
        pool.given_back.notify_one();
    }
}

/// A fixed number of buffers of a fixed size: a budget that cannot be exceeded. Clones share the buffers.
///
/// The buffer that came back last is lent first, so that who needs few at a time touches few: the others take no memory.
#[derive(Clone)]
pub struct BufferPool(Arc<Inner>);

struct Inner {
    count: usize,
    buffer_len: usize,
    free: Mutex<Vec<(usize, AlignedBuffer)>>,
    given_back: Condvar,
}

impl Inner {
    fn free(&self) -> MutexGuard<'_, Vec<(usize, AlignedBuffer)>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BufferPool {
    /// A pool of `count` buffers (at least one) with room for `buffer_len` bytes each, rounded up to a multiple of
    /// [`ALIGNMENT`]. The system lends the memory when it is first touched.
    pub fn new(count: usize, buffer_len: usize) -> Self {
        let count = count.max(1);
        let buffer_len = buffer_len.max(1).next_multiple_of(ALIGNMENT);
        let numbers = (0..count).rev();
        let free = numbers.map(|number| (number, AlignedBuffer::new(buffer_len)));
        Self(Arc::new(Inner {
            count,
            buffer_len,
            free: Mutex::new(free.collect()),
            given_back: Condvar::new(),
        }))
    }

    /// How many buffers there are.
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// How many bytes each buffer has room for.
    pub fn buffer_len(&self) -> usize {
        self.0.buffer_len
    }

    /// The memory of all buffers together, in bytes: what the pool adds to the program's budget.
    pub fn total_len(&self) -> usize {
        self.0.count * (self.0.buffer_len + ALIGNMENT)
    }

    /// How many buffers are free at this moment.
    pub fn free(&self) -> usize {
        self.0.free().len()
    }

    /// An empty buffer, as soon as one is free. Whoever holds buffers and waits for more may wait for ever.
    pub fn take(&self) -> AlignedBuffer {
        let mut free = self.0.free();
        loop {
            if let Some(taken) = free.pop() {
                return self.lend(taken);
            }
            free = self.0.given_back.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An empty buffer, if one is free.
    pub fn try_take(&self) -> Option<AlignedBuffer> {
        let taken = self.0.free().pop();
        taken.map(|taken| self.lend(taken))
    }

    fn lend(&self, (number, mut buffer): (usize, AlignedBuffer)) -> AlignedBuffer {
        buffer.home = Some(Home {
            pool: Arc::clone(&self.0),
            number,
        });
        buffer
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { count, buffer_len, .. } = &*self.0;
        write!(f, "BufferPool({} free of {count} x {buffer_len} bytes)", self.free())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buffers_begin_at_a_page_and_have_whole_pages() {
        for wanted in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let mut buffer = AlignedBuffer::new(wanted);
            assert!(buffer.capacity() >= wanted && buffer.capacity() > 0);
            assert_eq!(buffer.capacity() % ALIGNMENT, 0);
            assert_eq!(buffer.room_mut().as_ptr().addr() % ALIGNMENT, 0);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn more_than_the_room_cannot_be_filled() {
        AlignedBuffer::new(4096).set_len(4097);
    }

    #[test]
    fn a_pool_lends_what_it_has_and_no_more() {
        let pool = BufferPool::new(2, 5000);
        assert_eq!((pool.buffer_len(), pool.total_len()), (8192, 2 * (8192 + 4096)));
        let (mut one, two) = (pool.take(), pool.take());
        assert!(pool.try_take().is_none());
        assert_ne!(one.number_in(&pool), two.number_in(&pool));
        assert_eq!(one.number_in(&BufferPool::new(1, 1)), None);
        one.room_mut()[..3].copy_from_slice(b"abc");
        one.set_len(3);
        let bytes = one.into_bytes();
        let part = bytes.slice(1..);
        drop(bytes);
        assert!(pool.try_take().is_none(), "a part still holds the buffer");
        assert_eq!(part, "bc");
        drop(part);
        assert!(pool.take().is_empty(), "a lent buffer is empty");
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn who_needs_one_at_a_time_gets_the_same_one() {
        let pool = BufferPool::new(3, 1);
        let numbers = [(); 5].map(|()| pool.take().number_in(&pool));
        assert_eq!(numbers, [Some(0); 5]);
    }

    #[test]
    fn who_waits_gets_what_another_gives_back() {
        let pool = BufferPool::new(1, 1);
        let held = pool.take();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take().capacity());
            std::thread::sleep(Duration::from_millis(10));
            assert!(!waiting.is_finished());
            drop(held);
            assert_eq!(waiting.join().unwrap(), 4096);
        });
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = BufferPool::new(1, 1);
        let mut buffer = pool.take();
        drop(pool);
        buffer.room_mut().fill(1);
    }
}
