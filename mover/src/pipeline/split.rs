//! The cutting stage: the bytes of a file come in, in order; chunks go out where Kopia would cut.
//!
//! Budget: 2 GB/s on one core for the default splitter, 5 GB/s with AVX-512 (benches `split` and `stage/read and split`);
//! holds one unfinished chunk, at most twice the splitter's average, in the buffers in which it was read; waits for nothing
//! itself.

use std::sync::Arc;

use bytes::Bytes;
use windlass_repo_format::splitter::{Splitter, SplitterAlgorithm};

use super::event::Chunk;
use super::file_object::FileObject;
use super::plain::Plain;

/// The cutting of one file. Above the policy's size limit, a file is several objects joined by one list: the cuts begin
/// anew at each of them.
#[derive(Debug)]
pub(crate) struct Split {
    algorithm: SplitterAlgorithm,
    splitter: Splitter,
    object: Arc<FileObject>,
    unfinished: Plain,
    /// Chunks given so far.
    chunks: u32,
    /// Chunks given of the current part.
    chunks_of_part: u32,
    /// Parts of exactly `part_len` bytes that are still to come, the current one included.
    full_parts: u64,
    part_len: u64,
    /// Bytes that the current full part still lacks.
    lacking: u64,
}

impl Split {
    /// Begins a file whose size is believed to be `size`.
    pub(crate) fn new(algorithm: SplitterAlgorithm, object: Arc<FileObject>, size: u64, part_len: Option<u64>) -> Self {
        let full_parts = part_len.filter(|len| size > *len).map_or(0, |len| size / len);
        let part_len = part_len.unwrap_or(u64::MAX);
        Self {
            algorithm,
            splitter: algorithm.start(),
            object,
            unfinished: Plain::default(),
            chunks: 0,
            chunks_of_part: 0,
            full_parts,
            part_len,
            lacking: part_len,
        }
    }

    /// Takes the next bytes; chunks that they complete are given to `each`.
    pub(crate) fn push<E>(&mut self, mut bytes: Bytes, each: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        while !bytes.is_empty() {
            let of_this_part = if self.full_parts > 0 {
                self.lacking.min(bytes.len() as u64) as usize
            } else {
                bytes.len()
            };
            self.cut(bytes.split_to(of_this_part), each)?;
            if self.full_parts > 0 {
                self.lacking -= of_this_part as u64;
                if self.lacking == 0 {
                    self.end_part(each)?;
                    self.full_parts -= 1;
                    self.lacking = self.part_len;
                }
            }
        }
        Ok(())
    }

    fn cut<E>(&mut self, mut bytes: Bytes, each: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        while let Some(cut) = self.splitter.next_cut(&bytes) {
            self.unfinished.push(bytes.split_to(cut));
            self.give(each)?;
        }
        self.unfinished.push(bytes);
        Ok(())
    }

    fn give<E>(&mut self, each: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let plain = std::mem::take(&mut self.unfinished);
        let chunk = Chunk {
            plain,
            object: self.object.clone(),
            index: self.chunks,
        };
        self.chunks += 1;
        self.chunks_of_part += 1;
        each(chunk)
    }

    /// What is left becomes the part's last chunk; a part without bytes is one empty chunk.
    fn end_part<E>(&mut self, each: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        if !self.unfinished.is_empty() || self.chunks_of_part == 0 {
            self.give(each)?;
        }
        self.chunks_of_part = 0;
        self.splitter = self.algorithm.start();
        Ok(())
    }

    /// Ends the file; gives how many chunks it was cut into.
    pub(crate) fn finish<E>(mut self, each: &mut impl FnMut(Chunk) -> Result<(), E>) -> Result<u32, E> {
        self.end_part(each)?;
        Ok(self.chunks)
    }
}
