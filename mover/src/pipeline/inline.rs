//! The single-threaded driver: the same stages, one after the other, for simulations that must repeat exactly.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::buffers::Buffers;
use super::event::{Chunk, Event, Step};
use super::file_object::Ending;
use super::read::{Fetch, ReadLarge};
use super::seal::Sealing;
use super::split::Split;
use super::tree::Tree;
use super::visit::Visited;
use super::walk::Walked;
use super::{Run, Source};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::repository::FullPack;

pub(crate) fn run(source: Source, run: Run<'_>) -> Result<Tree> {
    let session = run.session;
    let driven = drive(source, run);
    if driven.is_err() {
        session.fail();
    }
    driven
}

fn drive(source: Source, run: Run<'_>) -> Result<Tree> {
    let Run {
        session,
        visit,
        control,
        progress,
        checkpoint,
    } = run;
    let buffers = Arc::new(Buffers::new(2, session.repository().splitter().max_chunk_len()));
    let mut tree = Tree::new(visit.splitter, progress.clone());
    let mut sealing = Sealing::new(session, buffers.clone());
    let mut deliver = |full: FullPack<'_>| block_on(session.store_pack(full.pack));
    let reader = ReadLarge {
        fetch: Fetch::Plain,
        buffers: buffers.clone(),
    };
    let mut walk = match source {
        Source::Tree(walk) => walk,
        Source::File(file) => {
            let (large, splitter) = *file;
            let mut each = |chunk: Chunk| {
                progress
                    .bytes_read
                    .fetch_add(chunk.plain.len() as u64, Ordering::Relaxed);
                sealing.seal(vec![chunk], &mut deliver, &mut |_| {})
            };
            let object = large.object.clone();
            let ending = reader.read(large, splitter, &control, &mut each)?;
            let step = sealing.end(&object, ending, &mut deliver)?;
            let step = step.ok_or(MoverError::Cancelled)?;
            tree.take(step.event, &mut sealing.sink(&mut deliver))?;
            return Ok(tree);
        }
    };
    while let Some(walked) = walk.next() {
        progress.entries_found.fetch_add(1, Ordering::Relaxed);
        if control.is_stopped() {
            walk.cut_short();
            tree.mark_incomplete("canceled");
        }
        let step = match walked {
            Walked::Step(step) => step,
            Walked::Item(item) if control.is_stopped() => Step {
                sequence: item.sequence,
                event: Event::Absent,
            },
            Walked::Item(item) => match visit.visit(item) {
                Visited::Step(step) => step,
                Visited::Large(large, splitter) => {
                    let object = large.object.clone();
                    let mut each = |chunk: Chunk| {
                        progress
                            .bytes_read
                            .fetch_add(chunk.plain.len() as u64, Ordering::Relaxed);
                        sealing.seal(vec![chunk], &mut deliver, &mut |_| {})
                    };
                    let ending = reader.read(large, splitter, &control, &mut each)?;
                    complete(sealing.end(&object, ending, &mut deliver)?)?
                }
                Visited::Small {
                    object,
                    bytes,
                    splitter,
                    changed_while_read,
                } => {
                    progress.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    let mut split = Split::new(splitter, object.clone(), bytes.len() as u64, None, buffers.clone());
                    let mut each = |chunk: Chunk| sealing.seal(vec![chunk], &mut deliver, &mut |_| {});
                    split.push(&bytes, &mut each)?;
                    let contents = split.finish(&mut each)?;
                    complete(sealing.end(
                        &object,
                        Ending::Read {
                            contents,
                            changed_while_read,
                        },
                        &mut deliver,
                    )?)?
                }
            },
        };
        tree.take(step.event, &mut sealing.sink(&mut deliver))?;
        block_on(session.tend())?;
        if checkpoint.is_due()
            && let Some(root) = tree.checkpoint("checkpoint", &mut sealing.sink(&mut deliver))?
        {
            checkpoint.write(root, &tree)?;
        }
    }
    Ok(tree)
}

/// On one thread every content of a file is sealed before its reading has ended.
fn complete(step: Option<Step>) -> Result<Step> {
    step.ok_or(MoverError::SessionFailed)
}
