//! The reading of small files: one after the other, or together where that costs the disk and the processor less.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError, RwLock};

use tracing::info;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::event::{Event, Item, LargeFile, Step};
use super::file_object::FileObject;
use super::source::Attributes;
use super::visit::{SMALL_FILE_BYTES_MAX, SmallFile, failed, has_changed};
use crate::io::{Engine, FirstRead, Together};

/// At most so many files are open and read together by one thread.
const TOGETHER_MAX: u64 = 64;
/// Their bytes together; one file at least.
const TOGETHER_BYTES_MAX: u64 = SMALL_FILE_BYTES_MAX;

/// What looking at an item gave.
#[derive(Debug)]
pub(crate) enum Visited {
    /// The tree can be told.
    Step(Step),
    /// A small file, read, or a link.
    Small(SmallFile),
    /// A small file that is to be read.
    Opened(Opened),
    /// To be read in parts.
    Large(LargeFile, SplitterAlgorithm),
}

/// A file that is open and about to be read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub item: Item,
    pub file: File,
    pub attributes: Attributes,
    pub object: Arc<FileObject>,
    pub splitter: SplitterAlgorithm,
    pub part_len: Option<u64>,
    pub ignore_errors: bool,
}

impl Opened {
    /// Whether it is read at once, by who has opened it.
    pub(crate) fn is_small(&self) -> bool {
        let in_parts = self.part_len.is_some_and(|len| self.attributes.size > len);
        self.attributes.size <= SMALL_FILE_BYTES_MAX && !in_parts
    }

    /// The file on its way to be read in parts.
    pub(crate) fn large(self) -> Visited {
        let large = LargeFile {
            file: self.file,
            attributes: self.attributes,
            object: self.object,
            part_len: self.part_len,
            ignore_errors: self.ignore_errors,
            is_device: false,
            earlier: self.item.previous.iter().find_map(|entry| entry.object),
        };
        Visited::Large(large, self.splitter)
    }

    /// Room for the file and one byte more, which would tell that it has grown.
    fn room(&self) -> Vec<u8> {
        vec![0; self.attributes.size as usize + 1]
    }

    /// Reads the file.
    pub(crate) fn read(self) -> Visited {
        let mut room = self.room();
        let came = read_at(&self.file, &mut room, 0);
        self.read_on(room, came)
    }

    /// Reads what the first read has left. When that gave exactly as many bytes as the file had, it has asked for one more
    /// and there was none.
    fn read_on(self, mut bytes: Vec<u8>, first: io::Result<usize>) -> Visited {
        let read = first.and_then(|came| {
            bytes.truncate(came);
            if came as u64 == self.attributes.size {
                return Ok(());
            }
            // It grows or shrinks. One byte more than a small file may have is enough to know that it is none.
            let mut filled = came;
            let wanted = SMALL_FILE_BYTES_MAX as usize + 1;
            bytes.resize(wanted, 0);
            while filled < wanted {
                match read_at(&self.file, &mut bytes[filled..], filled as u64)? {
                    0 => break,
                    came => filled += came,
                }
            }
            bytes.truncate(filled);
            bytes.shrink_to_fit();
            Ok(())
        });
        match read {
            Err(error) => Visited::Step(Step {
                sequence: self.item.sequence,
                event: *failed(&self.item, &error),
            }),
            Ok(()) if bytes.len() as u64 > SMALL_FILE_BYTES_MAX => self.large(),
            Ok(()) => Visited::Small(SmallFile {
                changed_while_read: has_changed(&self.file, &self.attributes),
                object: self.object,
                bytes,
                splitter: self.splitter,
            }),
        }
    }
}

fn read_at(file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(room, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// How small files are read in a run: shared by the threads that do.
#[derive(Debug)]
pub(crate) struct SmallReads {
    engine: Arc<dyn Engine>,
    /// How many files one thread may open at a time.
    most: usize,
    /// By device, whether its files are read together.
    devices: RwLock<Vec<(u64, bool)>>,
}

impl SmallReads {
    /// For so many threads, which together take a quarter of the files that this process may open.
    pub(crate) fn new(engine: Arc<dyn Engine>, threads: usize, open_files_max: u64) -> Self {
        let most = (open_files_max / 2 / threads.max(1) as u64).clamp(1, TOGETHER_MAX);
        Self {
            engine,
            most: most as usize,
            devices: RwLock::default(),
        }
    }

    /// One thread's reader.
    pub(crate) fn reader(&self) -> SmallReader<'_> {
        SmallReader {
            all: self,
            together: None,
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether files on this device are read together. The kernel has to answer such reads without a thread for each:
    /// that is known of the file systems that are named here.
    fn are_together(&self, opened: &Opened) -> bool {
        const EXT4: u64 = 0xef53;
        const XFS: u64 = 0x5846_5342;
        const BTRFS: u64 = 0x9123_683e;
        let device = opened.attributes.device;
        let known = |devices: &Vec<(u64, bool)>| devices.iter().find(|known| known.0 == device).map(|known| known.1);
        if let Some(known) = known(&self.devices.read().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        let kind = rustix::fs::fstatfs(&opened.file).map_or(0, |found| found.f_type as u64);
        let together = self.most > 1 && [EXT4, XFS, BTRFS].contains(&kind) && self.engine.together(1).is_some();
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        if known(&devices).is_none() {
            let how = if together {
                "together, by io_uring"
            } else {
                "one by one"
            };
            info!(device, file_system = format!("{kind:#x}"), "small files are read {how}");
            devices.push((device, together));
        }
        together
    }
}

/// Collects small files and reads them together.
#[derive(Debug)]
pub(crate) struct SmallReader<'a> {
    all: &'a SmallReads,
    together: Option<Together>,
    waiting: Vec<Opened>,
    bytes: u64,
}

impl SmallReader<'_> {
    /// Takes a file in. What has been read by then is given to `each`.
    pub(crate) fn push(&mut self, opened: Opened, each: &mut impl FnMut(Visited)) {
        if !self.all.are_together(&opened) {
            self.all.engine.traffic().pass(opened.attributes.size, false);
            return each(opened.read());
        }
        if self.bytes + opened.attributes.size > TOGETHER_BYTES_MAX {
            self.read(each);
        }
        self.bytes += opened.attributes.size;
        self.waiting.push(opened);
        if self.waiting.len() >= self.all.most {
            self.read(each);
        }
    }

    /// Reads all that have been taken in.
    pub(crate) fn read(&mut self, each: &mut impl FnMut(Visited)) {
        self.all.engine.traffic().pass(self.bytes, false);
        self.bytes = 0;
        if self.together.is_none() && self.waiting.len() > 1 {
            self.together = self.all.engine.together(self.all.most as u32);
        }
        let Some(together) = self.together.as_mut().filter(|_| self.waiting.len() > 1) else {
            return self.waiting.drain(..).for_each(|opened| each(opened.read()));
        };
        let mut rooms: Vec<Vec<u8>> = self.waiting.iter().map(Opened::room).collect();
        let pairs = self.waiting.iter().zip(&mut rooms);
        let mut reads: Vec<FirstRead<'_>> = pairs.map(|(opened, room)| FirstRead::new(&opened.file, room)).collect();
        together.read(&mut reads);
        let results: Vec<io::Result<usize>> = reads.into_iter().map(|read| read.result).collect();
        for ((opened, room), result) in self.waiting.drain(..).zip(rooms).zip(results) {
            // What the ring could not do is told by the plain call, or done by it.
            each(match result {
                Ok(came) => opened.read_on(room, Ok(came)),
                Err(_) => opened.read(),
            });
        }
    }
}

/// The step of an item that is not looked at because the run was stopped.
pub(crate) fn absent(item: &Item) -> Step {
    Step {
        sequence: item.sequence,
        event: Event::Absent,
    }
}
