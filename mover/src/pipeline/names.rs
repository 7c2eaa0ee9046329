//! The sorting room: the names of one directory, in the order in which Kopia stores them, in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// Names of this many bytes are sorted in memory; more are sorted in runs on disk and merged.
pub(crate) const SORT_BYTES_MAX: usize = 8 << 20;
/// What a name costs in memory besides its bytes.
pub(crate) const NAME_OVERHEAD: usize = 48;

/// A directory's child: ordered as Kopia stores a directory, directories first, each group by raw name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub is_other: bool,
    pub bytes: Vec<u8>,
    /// The directory says that it is a regular file.
    pub is_file: bool,
}

/// Collects names in any order.
#[derive(Debug)]
pub(crate) struct NameSorter {
    limit: usize,
    held: Vec<Name>,
    held_bytes: usize,
    runs: Vec<File>,
}

/// Gives names in order.
#[derive(Debug, Default)]
pub(crate) struct SortedNames {
    held: std::vec::IntoIter<Name>,
    runs: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<(Name, usize)>>,
}

impl NameSorter {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Vec::new(),
            held_bytes: 0,
            runs: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, name: Name) -> io::Result<()> {
        self.held_bytes += name.bytes.len() + NAME_OVERHEAD;
        self.held.push(name);
        if self.held_bytes >= self.limit {
            self.spill()
        } else {
            Ok(())
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for name in self.held.drain(..) {
            let len = u16::try_from(name.bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
            run.write_all(&[u8::from(name.is_other) | u8::from(name.is_file) << 1])?;
            run.write_all(&len.to_be_bytes())?;
            run.write_all(&name.bytes)?;
        }
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        self.held_bytes = 0;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<SortedNames> {
        if self.runs.is_empty() {
            self.held.sort_unstable();
            return Ok(SortedNames {
                held: self.held.into_iter(),
                runs: Vec::new(),
                heads: BinaryHeap::new(),
            });
        }
        self.spill()?;
        let mut runs: Vec<_> = self.runs.into_iter().map(BufReader::new).collect();
        let mut heads = BinaryHeap::new();
        for (at, run) in runs.iter_mut().enumerate() {
            if let Some(name) = read_name(run)? {
                heads.push(Reverse((name, at)));
            }
        }
        Ok(SortedNames {
            held: Vec::new().into_iter(),
            runs,
            heads,
        })
    }
}

impl SortedNames {
    pub(crate) fn next(&mut self) -> io::Result<Option<Name>> {
        if let Some(name) = self.held.next() {
            return Ok(Some(name));
        }
        let Some(Reverse((name, at))) = self.heads.pop() else {
            return Ok(None);
        };
        if let Some(next) = read_name(&mut self.runs[at])? {
            self.heads.push(Reverse((next, at)));
        }
        Ok(Some(name))
    }
}

fn read_name(run: &mut impl Read) -> io::Result<Option<Name>> {
    let mut head = [0; 3];
    match run.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut bytes = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    run.read_exact(&mut bytes)?;
    Ok(Some(Name {
        is_other: head[0] & 1 != 0,
        is_file: head[0] & 2 != 0,
        bytes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(names: &[Name], limit: usize) -> Vec<Name> {
        let mut sorter = NameSorter::new(limit);
        names.iter().for_each(|name| sorter.push(name.clone()).unwrap());
        let mut sorted = sorter.finish().unwrap();
        std::iter::from_fn(|| sorted.next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn runs_on_disk_give_the_same_order_as_memory(
            names in proptest::collection::vec((0..3u8, proptest::collection::vec(1u8.., 1..20)), 0..200),
        ) {
            let name = |(kind, bytes)| Name { is_other: kind > 0, bytes, is_file: kind > 1 };
            let names: Vec<Name> = names.into_iter().map(name).collect();
            let mut expected = names.clone();
            expected.sort();
            prop_assert_eq!(&sorted(&names, usize::MAX), &expected);
            prop_assert_eq!(&sorted(&names, 300), &expected);
        }
    }
}
