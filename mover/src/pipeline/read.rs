//! The reading stage for large files: an open file comes in, its chunks go out in order, several reads ahead.
//!
//! Budget: the speed of the disk, as long as one core can cut what comes: 2 GB/s with the default splitter, 5 GB/s with
//! AVX-512 (bench `stage/read and split`; the engines alone: `read ahead`). Holds 8 MiB of reads ahead of one file and one
//! unfinished chunk; waits for the engine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::earlier::{Earlier, Worth};
use super::event::{Chunk, Control, LargeFile};
use super::file_object::Ending;
use super::gather::InFlight;
use super::profile::Meter;
use super::split::Split;
use super::visit::has_changed;
use crate::error::{MoverError, Result};
use crate::io::{ALIGNMENT, AlignedBuffer, BufferPool, Engine, ReadAhead, file_len};
use crate::repository::Repository;
use crate::snapshot::Progress;

/// How often who waits for the sealers looks whether the run has failed.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// How many bytes a reader without an engine asks for at a time.
const PLAIN_READ_LEN: usize = 1 << 20;

/// How the bytes of a file are fetched.
pub(crate) enum Fetch {
    /// By the engine, so many reads ahead.
    Engine {
        engine: Arc<dyn Engine>,
        pool: BufferPool,
        depth: usize,
    },
    /// One read after the other on the calling thread, for simulations.
    Plain,
}

/// Reads large files.
pub(crate) struct ReadLarge {
    pub fetch: Fetch,
    /// Knows where files were cut before.
    pub repository: Repository,
    pub progress: Arc<Progress>,
    /// Told of every file whose reading begins.
    pub in_flight: Arc<InFlight>,
}

impl ReadLarge {
    /// Reads one file to its end; chunks are given to `each`.
    ///
    /// # Errors
    /// Only what `each` says. What is wrong with the file is the [`Ending`].
    pub(crate) fn read(
        &self,
        large: LargeFile,
        splitter: SplitterAlgorithm,
        control: &Control,
        meter: &Meter<'_>,
        mut each: impl FnMut(Chunk) -> Result<()>,
    ) -> Result<Ending> {
        let LargeFile {
            file,
            attributes,
            object,
            part_len,
            ignore_errors,
            is_device,
            earlier,
        } = large;
        let size = attributes.size;
        self.in_flight.begin(object.clone());
        let mut each = |chunk: Chunk| {
            let read = chunk.plain.len() as u64;
            self.progress.bytes_read.fetch_add(read, Ordering::Relaxed);
            meter.pass(read);
            each(chunk)
        };
        let (watch, len) = match file.try_clone().and_then(|watch| Ok((watch, file_len(&file)?))) {
            Ok(watched) => watched,
            Err(error) => return Ok(failed(&error, ignore_errors)),
        };
        let mut split = Split::new(splitter, object.clone(), size, part_len.filter(|_| !is_device));
        split
            .guess_by(earlier.and_then(|earlier| Earlier::new(&self.repository, earlier, len, splitter, Worth::USUAL)));
        let mut again = |offset| self.read_again(&watch, offset);
        let read = self.each_extent(file, meter, |bytes| {
            if control.is_stopped() {
                return Err(Stop::run(MoverError::Cancelled));
            }
            split.push(bytes, &mut each).map_err(Stop::run)?;
            if split.guesses() {
                let mended = split.mend(&mut again, &mut each).map_err(Stop::run)?;
                mended.map_err(Stop::Source)?;
            }
            Ok(())
        });
        let read = read.and_then(|()| {
            split.end(&mut each).map_err(Stop::run)?;
            while !meter.output(|| object.wait_for_guesses(LOOK_AROUND)) {
                if control.has_failed() {
                    return Err(Stop::run(MoverError::Cancelled));
                }
                let mended = split.mend(&mut again, &mut each).map_err(Stop::run)?;
                mended.map_err(Stop::Source)?;
                split.end(&mut each).map_err(Stop::run)?;
            }
            Ok(())
        });
        match read {
            Ok(()) => {
                let contents = split.chunks();
                let changed_while_read = !is_device && has_changed(&watch, &attributes);
                Ok(Ending::Read {
                    contents,
                    changed_while_read,
                })
            }
            Err(Stop::Source(error)) => Ok(failed(&error, ignore_errors)),
            Err(Stop::Run(error)) if matches!(*error, MoverError::Cancelled) => Ok(Ending::Stopped),
            Err(Stop::Run(error)) => Err(*error),
        }
    }

    fn each_extent(
        &self,
        file: File,
        meter: &Meter<'_>,
        mut each: impl FnMut(Bytes) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        match &self.fetch {
            Fetch::Engine { engine, pool, depth } => {
                let mut extents = ReadAhead::new(engine.clone(), pool.clone(), file, *depth).map_err(Stop::Source)?;
                while let Some(extent) = meter.input(|| extents.next()) {
                    each(extent.map_err(Stop::Source)?.bytes.into_bytes())?;
                }
                Ok(())
            }
            Fetch::Plain => {
                let mut offset = 0;
                loop {
                    let mut bytes = vec![0; PLAIN_READ_LEN];
                    match file.read_at(&mut bytes, offset) {
                        Ok(0) => return Ok(()),
                        Ok(read) => {
                            bytes.truncate(read);
                            each(bytes.into())?;
                            offset += read as u64;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(Stop::Source(error)),
                    }
                }
            }
        }
    }
}

impl ReadLarge {
    /// Bytes of a file that is being read, from an offset; none at its end. The file may be open past the page cache.
    fn read_again(&self, file: &File, offset: u64) -> io::Result<Bytes> {
        let begin = offset - offset % ALIGNMENT as u64;
        let mut buffer = match &self.fetch {
            Fetch::Engine { pool, .. } => pool.take(),
            Fetch::Plain => AlignedBuffer::new(PLAIN_READ_LEN),
        };
        let came = loop {
            match file.read_at(buffer.room_mut(), begin) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                came => break came?,
            }
        };
        buffer.set_len(came);
        let mut bytes = buffer.into_bytes();
        let skipped = bytes.len().min((offset - begin) as usize);
        Ok(bytes.split_off(skipped))
    }
}

enum Stop {
    Source(io::Error),
    Run(Box<MoverError>),
}

impl Stop {
    fn run(error: MoverError) -> Self {
        Self::Run(Box::new(error))
    }
}

fn failed(error: &io::Error, ignored: bool) -> Ending {
    Ending::Failed {
        error: error.to_string(),
        kind: error.kind(),
        ignored,
    }
}
