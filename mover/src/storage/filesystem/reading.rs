//! The lending room: large parts of packs are read past the page cache, into buffers that are used again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::io::{ALIGNMENT, AlignedBuffer, direct};

/// Shorter parts go through the page cache: neighbours that are read next are there then.
const DIRECT_LEN_MIN: usize = 256 << 10;
/// Room of a buffer that is kept: for a content of the default splitters, sealed, from anywhere in its first page to anywhere
/// in its last. Of what is never touched the system lends no memory.
const KEPT_LEN: usize = (8 << 20) + 4 * ALIGNMENT;
/// So many buffers are kept for the next reads.
const KEPT_MAX: usize = 4;

/// Buffers that wait to be used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<AlignedBuffer>>>);

/// A buffer that goes back when nobody looks at its bytes any more.
struct Lent {
    buffer: Option<AlignedBuffer>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], AlignedBuffer::as_slice)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take().filter(|buffer| buffer.capacity() == KEPT_LEN) else {
            return;
        };
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    }
}

impl Buffers {
    fn take(&self, len: usize) -> AlignedBuffer {
        if len > KEPT_LEN {
            return AlignedBuffer::new(len);
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| AlignedBuffer::new(KEPT_LEN))
    }

    /// Exactly `len` bytes from `offset`, read with O_DIRECT. `None` when there are too few to be worth it, the file ends
    /// before, or the file system refuses: then they are to be read in the usual way, which O_DIRECT is off for.
    pub(super) fn read_direct(&self, file: &File, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        if len < DIRECT_LEN_MIN || !direct::turn_on(file) {
            return Ok(None);
        }
        let page = ALIGNMENT as u64;
        let first = offset / page * page;
        let ahead = (offset - first) as usize;
        let wanted = (ahead + len).next_multiple_of(ALIGNMENT);
        let mut buffer = self.take(wanted);
        let mut read = 0;
        while read < wanted {
            match file.read_at(&mut buffer.room_mut()[read..wanted], first + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if direct::is_refusal(&error) => break,
                Err(error) => return Err(error),
            }
            if !read.is_multiple_of(ALIGNMENT) {
                break; // the end of the file, or what follows is not aligned
            }
        }
        buffer.set_len(read);
        let home = self.clone();
        let lent = Lent {
            buffer: Some(buffer),
            home,
        };
        if read < ahead + len {
            direct::turn_off(file)?;
            return Ok(None);
        }
        Ok(Some(Bytes::from_owner(lent).slice(ahead..ahead + len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_file_is_what_a_plain_read_gives() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..(1u32 << 20) + 777)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let path = folder.path().join("pack");
        std::fs::write(&path, &bytes).unwrap();
        let buffers = Buffers::default();
        for offset in [0, 1, 4095, 4096, 500_000] {
            for len in [DIRECT_LEN_MIN, DIRECT_LEN_MIN + 4095, bytes.len() - offset] {
                let file = File::open(&path).unwrap();
                // A file system without O_DIRECT reads nothing here.
                if let Some(read) = buffers.read_direct(&file, offset as u64, len).unwrap() {
                    assert!(read == bytes[offset..offset + len], "{offset}+{len}");
                }
            }
        }
        let file = File::open(&path).unwrap();
        let short = buffers.read_direct(&file, 0, DIRECT_LEN_MIN - 1).unwrap();
        let beyond = buffers.read_direct(&file, 1000, bytes.len()).unwrap();
        assert!(short.is_none() && beyond.is_none());
        let mut plain = [0; 10];
        file.read_exact_at(&mut plain, 3).unwrap();
        assert_eq!(plain[..], bytes[3..13], "O_DIRECT is off again");
    }

    #[test]
    fn few_buffers_are_kept() {
        let buffers = Buffers::default();
        let lend = |len| Lent {
            buffer: Some(buffers.take(len)),
            home: buffers.clone(),
        };
        let lent: Vec<Lent> = (0..3 * KEPT_MAX).map(|_| lend(1)).collect();
        drop((lent, lend(KEPT_LEN + 1)));
        assert_eq!(buffers.0.lock().unwrap().len(), KEPT_MAX);
        drop(lend(KEPT_LEN));
        assert_eq!(buffers.0.lock().unwrap().len(), KEPT_MAX);
    }
}
