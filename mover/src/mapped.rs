//! The shelf-in-view room: files of our own that are read as if they were memory, for what is too large to hold. They have
//! no name, or one in our cache, where files are removed and never changed.
#![expect(
    unsafe_code,
    reason = "a map is only as safe as the file behind it, and advice takes addresses"
)]

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{Advice, Mmap, MmapMut};
use rustix::mm::{Advice as MemoryAdvice, madvise};
use rustix::param::page_size;

/// Asks the system for large pages behind memory that is going to be filled from end to end: it is then there with fewer
/// faults, and a disk is told of fewer pieces. Where there are none, nothing changes.
pub(crate) fn ask_for_huge_pages(memory: &mut [MaybeUninit<u8>]) {
    let page = page_size();
    let start = memory.as_ptr().addr().wrapping_neg() % page;
    let Some(inner) = memory.get_mut(start..) else { return };
    let len = inner.len() / page * page;
    // SAFETY: the pages lie within a slice that is borrowed for this call alone, and this advice changes no byte.
    let asked = unsafe { madvise(inner.as_mut_ptr().cast(), len, MemoryAdvice::LinuxHugepage) };
    if let Err(error) = asked {
        tracing::trace!(%error, "no large pages");
    }
}

/// A file without a name, which only this program can open: being filled, from front to back.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: File,
    len: u64,
}

impl PrivateFile {
    /// An empty file in the file system of `directory`. Its space is free again when the program ends, however it ends.
    pub(crate) fn create_in(directory: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        Ok(Self { file, len: 0 })
    }

    /// Writes over a part of what was written so far.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Ends the writing and maps the file. From here on nobody can change it.
    pub(crate) fn map(self) -> io::Result<Mapped> {
        // SAFETY: a map must not be changed or cut while it is read. The file belongs to this value alone: it has no
        // name, this handle was never shared, only `write` wrote to it, and the handle is closed when this function
        // returns. The map itself keeps the pages, until `Mapped` is dropped.
        let map = unsafe { Mmap::map(&self.file) }?;
        Ok(self.mapped(map, 0..self.len as usize))
    }

    /// Ends the writing, lets `change` work on the bytes where they lie, and keeps the range of them that it gives. What
    /// is changed becomes pages of the file and not memory of the program.
    ///
    /// # Errors
    /// The outer one when the file cannot be mapped, the inner one is that of `change`.
    pub(crate) fn map_changed<E>(
        self,
        change: impl FnOnce(&mut [u8]) -> Result<Range<usize>, E>,
    ) -> io::Result<Result<Mapped, E>> {
        // SAFETY: as in `map`: nobody else has the file. `change` gets the only reference into the map, and the map
        // can no longer be written to before anybody reads it.
        let mut map = unsafe { MmapMut::map_mut(&self.file) }?;
        match change(&mut map) {
            Ok(range) => Ok(Ok(self.mapped(map.make_read_only()?, range))),
            Err(error) => Ok(Err(error)),
        }
    }

    fn mapped(&self, map: Mmap, range: Range<usize>) -> Mapped {
        assert_eq!(map.len() as u64, self.len, "the file has the length that was written");
        assert!(
            range.start <= range.end && range.end <= map.len(),
            "the range lies in the file"
        );
        let mapped = Mapped { map, range };
        mapped.will_be_read(Reading::HereAndThere);
        mapped
    }
}

impl Write for PrivateFile {
    /// Appends; no holes, so that reading the map later needs no space on the disk.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write_at(bytes, self.len)?;
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a [`PrivateFile`], or of a finished file of the cache. They come from the disk when they are looked at and count as page cache, not as the
/// program's memory. A disk that fails to deliver them ends the program.
pub(crate) struct Mapped {
    map: Mmap,
    /// The bytes that are meant.
    range: Range<usize>,
}

/// The file systems, by the numbers of the kernel, on which the pages of a file that was removed stay until the last map of it
/// is gone: ext4, xfs, btrfs, tmpfs, overlayfs, zfs, f2fs, bcachefs. A server somewhere else forgets them earlier.
const LOCAL: [u32; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0xca45_1a4e,
];

/// Whether a file with a name, which others may remove, can be mapped.
pub(crate) fn may_be_mapped(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|about| LOCAL.contains(&(about.f_type as u32)))
}

/// How the bytes of a [`Mapped`] will be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// In any order: what is near is not read with it, since in little memory it would push out what is needed.
    HereAndThere,
    /// From front to back, so the disk may read ahead.
    InOrder,
}

impl Mapped {
    /// Maps the first `len` bytes of a file that is in the cache under its proper name.
    ///
    /// # Errors
    /// When it is shorter, or cannot be mapped.
    pub(crate) fn of_finished_file(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: a map must not be changed or cut while it is read. A file of the cache gets its name when it is complete,
        // has no right to be written to, and whoever knows of it only ever removes it, which leaves a map as it is: see
        // `may_be_mapped` for where that is so. Who changes it in spite of its rights is told in the cache's page that the
        // program may end. The map itself keeps the pages, until `Mapped` is dropped.
        let map = unsafe { Mmap::map(file) }?;
        if map.len() < len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mapped = Self { map, range: 0..len };
        mapped.will_be_read(Reading::InOrder);
        Ok(mapped)
    }

    /// Tells the kernel how the bytes will be looked at from now on. Here and there, until told otherwise.
    pub(crate) fn will_be_read(&self, reading: Reading) {
        let advice = match reading {
            Reading::HereAndThere => Advice::Random,
            Reading::InOrder => Advice::Sequential,
        };
        // A kernel that does not take the advice is slower and nothing else.
        let _ = self.map.advise(advice);
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

impl std::ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_seen_and_no_name_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PrivateFile::create_in(directory.path()).unwrap();
        let bytes: Vec<u8> = (0..100_003u32).map(|place| (place * 7) as u8).collect();
        for part in bytes.chunks(1000) {
            file.write_all(part).unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        file.write_all_at(&bytes[5000..5010], 5000).unwrap();
        assert!(
            file.write_all_at(&[0], 100_003).is_err(),
            "nothing may be written behind the end"
        );
        let mapped = file.map().unwrap();
        drop(directory);
        assert!(*mapped == bytes[..]);
    }

    #[test]
    fn what_was_changed_in_place_is_seen_and_only_the_part_that_was_named() {
        let filled = || {
            let mut file = PrivateFile::create_in(&std::env::temp_dir()).unwrap();
            file.write_all(&[7; 10_000]).unwrap();
            file
        };
        let mapped = filled().map_changed(|bytes| {
            bytes.reverse();
            bytes[9_000] = 8;
            Ok::<_, ()>(8_999..9_002)
        });
        assert_eq!(*mapped.unwrap().unwrap(), [7, 8, 7]);
        let refused = filled().map_changed(|_| Err::<Range<usize>, _>("no"));
        assert_eq!(refused.unwrap().err(), Some("no"));
    }

    #[test]
    fn a_finished_file_is_seen_as_far_as_asked_also_when_its_name_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("finished");
        std::fs::write(&path, [7; 10_000]).unwrap();
        let file = File::open(&path).unwrap();
        let mapped = Mapped::of_finished_file(&file, 9_000).unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(file);
        assert!(*mapped == [7; 9_000]);
        let short = tempfile::tempfile().unwrap();
        let refused = Mapped::of_finished_file(&short, 1);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn only_what_is_surely_local_may_be_mapped_by_name() {
        // It has no pages of a disk, and is there on every Linux.
        let elsewhere = File::open("/proc/self/status").unwrap();
        assert!(!may_be_mapped(&elsewhere));
    }

    #[test]
    fn nothing_can_be_mapped_too() {
        let file = PrivateFile::create_in(&std::env::temp_dir()).unwrap();
        assert!(file.map().unwrap().is_empty());
    }
}
