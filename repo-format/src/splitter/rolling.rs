//! The rolling room: the cutting rule that both rolling hashes share, and a scan that keeps several hashes in flight.

/// A hash of the last [`WINDOW`] bytes that takes one byte in and lets one out. The hash of zero bytes is zero.
pub(super) trait Rolling: Copy + Default {
    /// An unsigned word that is tested for zero bits.
    type Mask: Copy;

    /// The hash after `leaving` fell out of the window and `entering` came in.
    fn roll(self, leaving: u8, entering: u8) -> Self;

    /// Whether none of the bits of `mask` is set.
    fn ends_chunk(self, mask: Self::Mask) -> bool;

    /// Whether this processor can look for ends of chunks with [`Rolling::first_stretch`].
    fn has_kernel(_mask: Self::Mask) -> bool {
        false
    }

    /// Looks at a whole block behind the window before it: how many bytes come before the stretch with its first end of a
    /// chunk, and `None` where there is no end.
    fn first_stretch(_bytes: &[u8; WINDOW + KERNEL_BLOCK_LEN], _mask: Self::Mask) -> Option<usize> {
        Some(0)
    }
}

/// How many bytes the hashes look back.
pub(super) const WINDOW: usize = 64;

/// How many hashes roll side by side: a rolling step has to wait for the one before it, so one keeps no processor busy.
const LANES: usize = 4;

/// How many bytes one lane scans at a time. A cut in any of them costs a second look at the same bytes.
const LANE_LEN: usize = 2048;

const BLOCK_LEN: usize = LANES * LANE_LEN;

/// How many bytes a kernel looks at in one call.
pub(super) use crate::kernel::buzhash::BLOCK_LEN as KERNEL_BLOCK_LEN;

/// Cuts one object where the hash of the window has no bit of `mask` set, within a minimum and a maximum length.
///
/// The window is a window over the object and is not emptied by a cut. But a chunk is much longer than the window, so
/// nothing before the last [`WINDOW`] bytes of the minimum can matter: those bytes are not looked at.
#[derive(Clone, Debug)]
pub(super) struct Dynamic<H: Rolling> {
    min: usize,
    max: usize,
    mask: H::Mask,
    has_kernel: bool,
    /// Bytes of the current chunk seen so far, below `max`.
    filled: usize,
    hash: H,
    /// The last bytes that went into `hash`, oldest first; zeros before the first ones.
    window: [u8; WINDOW],
}

impl<H: Rolling> Dynamic<H> {
    pub(super) fn new(min: usize, max: usize, mask: H::Mask) -> Self {
        assert!(min > WINDOW && min < max);
        Self {
            min,
            max,
            mask,
            has_kernel: H::has_kernel(mask),
            filled: 0,
            hash: H::default(),
            window: [0; WINDOW],
        }
    }

    pub(super) fn next_cut(&mut self, data: &[u8]) -> Option<usize> {
        // Positions in `data`: hashing begins at `begin`, cutting is allowed after `testable` bytes.
        let begin = (self.min - WINDOW).saturating_sub(self.filled);
        let end = data.len().min(self.max - self.filled);
        if begin >= end {
            self.filled += data.len();
            return None;
        }
        let testable = self.min.saturating_sub(self.filled);
        match self.scan(&data[..end], begin, testable) {
            Some(cut) => Some(self.cut_after(cut)),
            None if self.filled + end == self.max => Some(self.cut_after(end)),
            None => {
                self.filled += end;
                None
            }
        }
    }

    fn cut_after(&mut self, len: usize) -> usize {
        self.filled = 0;
        self.hash = H::default();
        self.window = [0; WINDOW];
        len
    }

    /// Hashes `data[begin..]` and gives the first position, not below `testable`, after which the chunk may end.
    /// Without one, `hash` and `window` are left ready for the bytes after `data`.
    fn scan(&mut self, data: &[u8], begin: usize, testable: usize) -> Option<usize> {
        let fresh = &data[begin..];
        // What leaves the window during the first steps came in with an earlier piece.
        let (head, _) = fresh.split_at(fresh.len().min(WINDOW));
        for (index, (&leaving, &entering)) in self.window.iter().zip(head).enumerate() {
            self.hash = self.hash.roll(leaving, entering);
            let len = begin + index + 1;
            if len >= testable && self.hash.ends_chunk(self.mask) {
                return Some(len);
            }
        }
        if fresh.len() <= WINDOW {
            self.window.rotate_left(head.len());
            self.window[WINDOW - head.len()..].copy_from_slice(head);
            return None;
        }
        // From here on everything is testable, and what leaves is in `fresh` itself.
        let (hash, cut) = first_end::<H>(self.hash, fresh, self.mask, self.has_kernel);
        if let Some(cut) = cut {
            return Some(begin + cut);
        }
        self.hash = hash;
        self.window.copy_from_slice(&fresh[fresh.len() - WINDOW..]);
        None
    }
}

/// Rolls over `bytes` after their first [`WINDOW`], whose hash is `hash`: how many bytes come before the first end of
/// a chunk, and the hash at the end of `bytes`, which counts only where there is no such end.
fn first_end<H: Rolling>(mut hash: H, bytes: &[u8], mask: H::Mask, has_kernel: bool) -> (H, Option<usize>) {
    let mut done = WINDOW;
    if has_kernel {
        while let Some(block) = bytes[done - WINDOW..].first_chunk() {
            let clear = H::first_stretch(block, mask);
            done += clear.unwrap_or(KERNEL_BLOCK_LEN);
            if clear.is_some() {
                break;
            }
        }
        hash = of_window(&bytes[done - WINDOW..done]);
    }
    while bytes.len() - done >= BLOCK_LEN {
        let Some(after) = scan_lanes(hash, &bytes[done - WINDOW..done + BLOCK_LEN], mask) else {
            break;
        };
        hash = after;
        done += BLOCK_LEN;
    }
    // One byte after the other: the end of `bytes`, or a block that is known to hold an end.
    let leaving = &bytes[done - WINDOW..];
    for (index, (&leaving, &entering)) in leaving.iter().zip(&bytes[done..]).enumerate() {
        hash = hash.roll(leaving, entering);
        if hash.ends_chunk(mask) {
            return (hash, Some(done + index + 1));
        }
    }
    (hash, None)
}

/// Scans [`WINDOW`] bytes of history, whose hash is `hash`, and [`BLOCK_LEN`] bytes after them. Gives the hash at the
/// end; `None` when one of the bytes may end a chunk.
fn scan_lanes<H: Rolling>(hash: H, block: &[u8], mask: H::Mask) -> Option<H> {
    let lanes: [&[u8; WINDOW + LANE_LEN]; LANES] = std::array::from_fn(|lane| {
        block[lane * LANE_LEN..][..WINDOW + LANE_LEN]
            .try_into()
            .expect("the slice was made with this length")
    });
    // Each lane but the first starts from the hash of the bytes just before it.
    let mut hashes = lanes.map(|lane| of_window(&lane[..WINDOW]));
    hashes[0] = hash;
    for index in 0..LANE_LEN {
        for (hash, lane) in hashes.iter_mut().zip(lanes) {
            *hash = hash.roll(lane[index], lane[index + WINDOW]);
            if hash.ends_chunk(mask) {
                return None;
            }
        }
    }
    Some(hashes[LANES - 1])
}

/// The hash of a window. What leaves while it fills are the zeros of an empty one, and their hash is zero.
fn of_window<H: Rolling>(window: &[u8]) -> H {
    window.iter().fold(H::default(), |hash, byte| hash.roll(0, *byte))
}
