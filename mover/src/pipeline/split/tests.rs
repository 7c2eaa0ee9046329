//! Files that were cut before and have changed since: whatever is guessed, the object is the one that a fresh look gives.

use proptest::prelude::*;
use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::{ContentId, ContentPrefix, ObjectId};
use windlass_repo_format::snapshot::DirEntry;

use super::*;
use crate::blocking::block_on;
use crate::pipeline::earlier::Worth;
use crate::pipeline::event::Event;
use crate::pipeline::file_object::Ending;
use crate::pipeline::object_writer::MetadataFormat;
use crate::repository::{ContentSink, WriteSession};
use crate::sample::Sample;

const WORTH: Worth = Worth {
    file_len_min: 0,
    tail_len: 300 << 10,
};

struct Sink<'a>(&'a WriteSession);

impl ContentSink for Sink<'_> {
    fn write(
        &mut self,
        prefix: Option<ContentPrefix>,
        plain: &[u8],
        compression: Option<Compression>,
    ) -> crate::Result<ContentId> {
        block_on(self.0.write_content(prefix, plain, compression))
    }
}

fn splitter() -> SplitterAlgorithm {
    SplitterAlgorithm::from_name("DYNAMIC-128K-BUZHASH").unwrap()
}

/// The pieces that a fresh look at the bytes gives.
fn cut(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut splitter = splitter().start();
    let mut pieces = Vec::new();
    while let Some(cut) = splitter.next_cut(bytes) {
        let (piece, rest) = bytes.split_at(cut);
        pieces.push(piece);
        bytes = rest;
    }
    if !bytes.is_empty() || pieces.is_empty() {
        pieces.push(bytes);
    }
    pieces
}

/// What guessing did besides.
#[derive(Debug, PartialEq, Eq)]
struct Guessed {
    object: ObjectId,
    right: usize,
    wrong: usize,
}

/// Cuts `bytes` with guesses by `earlier`; so many chunks are hashed together, and end in an order of their own.
fn guessed(sample: &Sample, earlier: ObjectId, bytes: &[u8], together: usize, piece: usize) -> Guessed {
    let format = MetadataFormat {
        splitter: splitter(),
        compression: None,
    };
    let object = Arc::new(FileObject::alone(DirEntry::default(), None, format));
    let len = bytes.len() as u64;
    let mut split = Split::new(splitter(), object.clone(), len, None);
    split.guess_by(Earlier::new(&sample.repository, earlier, len, splitter(), WORTH));
    let (mut right, mut wrong) = (0, 0);
    let mut lanes: Vec<Chunk> = Vec::new();
    let mut random = bytes.len();
    let mut seal = |lanes: &mut Vec<Chunk>| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let chunk = lanes.swap_remove((random >> 33) % lanes.len());
        let plain = chunk.plain.pieces().concat();
        let hash = sample.repository.sealer().hash(&plain);
        match chunk.expected {
            Some(expected) if expected != hash => {
                wrong += 1;
                chunk.object.guess_was(chunk.start, false);
                return;
            }
            Some(_) => right += 1,
            None => {}
        }
        let id = block_on(sample.session().write_content(None, &plain, None)).unwrap();
        let step = chunk
            .object
            .sealed(chunk.start, id, plain.len() as u64, &mut Sink(sample.session()));
        assert!(step.unwrap().is_none(), "its reading has not ended");
        if chunk.expected.is_some() {
            chunk.object.guess_was(chunk.start, true);
        }
    };
    let mut read = |offset: u64| {
        let rest = &bytes[offset as usize..];
        Ok(Bytes::copy_from_slice(&rest[..rest.len().min(50_000)]))
    };
    for piece in bytes.chunks(piece) {
        let mut each = |chunk| {
            lanes.push(chunk);
            if lanes.len() > together {
                seal(&mut lanes);
            }
            Ok::<(), ()>(())
        };
        split.push(Bytes::copy_from_slice(piece), &mut each).unwrap();
        split.mend(&mut read, &mut each).unwrap().unwrap();
    }
    loop {
        let mut each = |chunk| {
            lanes.push(chunk);
            Ok::<(), ()>(())
        };
        split.end(&mut each).unwrap();
        split.mend(&mut read, &mut each).unwrap().unwrap();
        split.end(&mut each).unwrap();
        if lanes.is_empty() {
            break;
        }
        while !lanes.is_empty() {
            seal(&mut lanes);
        }
    }
    assert!(object.wait_for_guesses(std::time::Duration::ZERO));
    let ending = Ending::Read {
        contents: split.chunks(),
        changed_while_read: false,
    };
    let step = object.ended(ending, &mut Sink(sample.session())).unwrap();
    let Event::Stored { entry, .. } = step.expect("all contents are there").event else {
        panic!("it was read");
    };
    assert_eq!(entry.size, len);
    Guessed {
        object: entry.object.unwrap(),
        right,
        wrong,
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = (0..len).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    });
    bytes.collect()
}

/// One change of a file.
#[derive(Clone, Debug)]
enum Edit {
    Flip(usize),
    Overwrite(usize, usize),
    Insert(usize, usize),
    Remove(usize, usize),
    Zeros(usize, usize),
}

fn edit(bytes: &mut Vec<u8>, edit: &Edit) {
    let place = |at: usize| at % bytes.len().max(1);
    match *edit {
        Edit::Flip(at) => {
            let at = place(at);
            bytes[at] ^= 0x55;
        }
        Edit::Overwrite(at, len) => {
            let at = place(at);
            let end = (at + len).min(bytes.len());
            let fresh = noise(at as u64 + 77, end - at);
            bytes[at..end].copy_from_slice(&fresh);
        }
        Edit::Zeros(at, len) => {
            let at = place(at);
            let end = (at + len).min(bytes.len());
            bytes[at..end].fill(0);
        }
        Edit::Insert(at, len) => {
            let at = place(at);
            let fresh = noise(len as u64 + 5, len);
            bytes.splice(at..at, fresh);
        }
        Edit::Remove(at, len) => {
            let at = place(at);
            let end = (at + len).min(bytes.len() - 1);
            bytes.drain(at..end.max(at));
        }
    }
}

fn object_of(sample: &Sample, bytes: &[u8]) -> ObjectId {
    let object = sample.object_of(cut(bytes).into_iter());
    sample.flush();
    object
}

#[test]
fn a_file_that_is_the_same_is_not_looked_through_again() {
    let sample = Sample::new();
    let bytes = noise(1, 4 << 20);
    let object = object_of(&sample, &bytes);
    let chunks = cut(&bytes);
    let tail = chunks.iter().rev().scan(0, |len, chunk| {
        *len += chunk.len() as u64;
        Some(*len)
    });
    let tail = tail.take_while(|len| *len <= WORTH.tail_len).count();
    let guessed = guessed(&sample, object, &bytes, 8, 100_000);
    assert_eq!((guessed.object, guessed.wrong), (object, 0));
    assert!(
        guessed.right + tail + 3 >= chunks.len(),
        "{} of {} guessed, {tail} in the tail",
        guessed.right,
        chunks.len()
    );
}

#[test]
fn what_has_changed_is_cut_anew_and_no_more() {
    let sample = Sample::new();
    let mut bytes = noise(2, 4 << 20);
    let object = object_of(&sample, &bytes);
    bytes[1 << 20] ^= 1;
    bytes[2 << 20] ^= 1;
    let guessed = guessed(&sample, object, &bytes, 8, 100_000);
    assert_eq!((guessed.object, guessed.wrong), (object_of(&sample, &bytes), 2));
    assert!(guessed.right > 10, "{guessed:?}");
}

#[test]
fn a_file_that_was_written_anew_is_soon_cut_as_a_new_one() {
    let sample = Sample::new();
    let old = noise(3, 4 << 20);
    let object = object_of(&sample, &old);
    // The same cuts, since all chunks begin as they did; other bytes behind that.
    let mut bytes = old.clone();
    for chunk_start in cut(&old).iter().scan(0, |at, chunk| {
        let start = *at;
        *at += chunk.len();
        Some(start)
    }) {
        bytes[chunk_start + 100] ^= 1;
    }
    let guessed = guessed(&sample, object, &bytes, 1, 1000);
    assert_eq!((guessed.object, guessed.right), (object_of(&sample, &bytes), 0));
    assert!((1..=6).contains(&guessed.wrong), "{guessed:?}");
}

#[test]
fn cuts_of_another_splitter_are_not_believed() {
    let sample = Sample::new();
    let bytes = noise(4, 4 << 20);
    let object = sample.object_of(bytes.chunks(130_000));
    sample.flush();
    let guessed = guessed(&sample, object, &bytes, 4, 70_000);
    assert_eq!(
        (guessed.object, guessed.right, guessed.wrong),
        (object_of(&sample, &bytes), 0, 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn guesses_change_nothing(
        seed in any::<u64>(),
        len in 1usize..3 << 19,
        edits in prop::collection::vec(prop_oneof![
            any::<usize>().prop_map(Edit::Flip),
            (any::<usize>(), 1usize..400_000).prop_map(|(at, len)| Edit::Overwrite(at, len)),
            (any::<usize>(), 1usize..400_000).prop_map(|(at, len)| Edit::Insert(at, len)),
            (any::<usize>(), 1usize..400_000).prop_map(|(at, len)| Edit::Remove(at, len)),
            (any::<usize>(), 1usize..900_000).prop_map(|(at, len)| Edit::Zeros(at, len)),
        ], 0..5),
        together in 1usize..12,
        piece in prop_oneof![1000usize..100_000, Just(1 << 20)],
    ) {
        let sample = Sample::new();
        let mut bytes = noise(seed, len);
        bytes.extend(noise(seed ^ 1, 1 << 20));
        let object = object_of(&sample, &bytes);
        for change in &edits {
            edit(&mut bytes, change);
        }
        let fresh = cut(&bytes);
        let expected = if fresh.len() == 1 {
            ObjectId::direct(block_on(sample.session().write_content(None, &bytes, None)).unwrap())
        } else {
            object_of(&sample, &bytes)
        };
        prop_assert_eq!(guessed(&sample, object, &bytes, together, piece).object, expected);
    }
}
