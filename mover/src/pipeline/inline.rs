//! The single-threaded driver: the same stages, one after the other, for simulations that must repeat exactly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::never;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::event::{Chunk, Control, LargeFile, Step};
use super::gather::{Gathering, InFlight};
use super::profile::Profile;
use super::read::{Fetch, ReadLarge};
use super::seal::Sealing;
use super::small::{Visited, absent};
use super::tree::Tree;
use super::visit::SmallFile;
use super::walk::Walked;
use super::window::Window;
use super::{Run, Source};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::repository::{FullPack, WriteSession};
use crate::snapshot::Progress;

pub(crate) fn run(source: Source, run: Run<'_>) -> Result<Tree> {
    let session = run.session;
    let driven = drive(source, run);
    if driven.is_err() {
        session.fail();
    }
    driven
}

/// All stages behind looking.
struct Stages<'a> {
    session: &'a WriteSession,
    control: &'a Control,
    reader: ReadLarge,
    sealing: Sealing<'a>,
    gathering: Gathering<'a>,
    profile: &'a Profile,
}

fn drive(source: Source, run: Run<'_>) -> Result<Tree> {
    let Run {
        session,
        visit,
        control,
        progress,
        checkpoint,
    } = run;
    let profile = Profile::new();
    let mut tree = Tree::new(visit.splitter, progress.clone());
    let in_flight: Arc<InFlight> = Arc::default();
    let mut stages = Stages {
        session,
        control: &control,
        profile: &profile,
        reader: ReadLarge {
            fetch: Fetch::Plain,
            repository: session.repository().clone(),
            progress: progress.clone(),
            in_flight: in_flight.clone(),
        },
        sealing: Sealing::new(session),
        gathering: Gathering {
            tree: &mut tree,
            session,
            in_flight,
            checkpoint,
            steps: &never(),
            window: &Window::new(1),
            waiting: BTreeMap::new(),
            next: 0,
        },
    };
    match source {
        Source::File(file) => {
            let (large, splitter) = *file;
            let step = stages.large(large, splitter)?;
            stages.take(step.ok_or(MoverError::Cancelled)?)?;
        }
        Source::Tree(mut walk) => {
            while let Some(walked) = walk.next() {
                progress.entries_found.fetch_add(1, Ordering::Relaxed);
                if control.is_stopped() {
                    walk.cut_short();
                    stages.gathering.tree.mark_incomplete("canceled");
                }
                let step = match walked {
                    Walked::Step(step) => step,
                    Walked::Item(item) if control.is_stopped() => absent(&item),
                    Walked::Item(item) => stages.visited(visit.visit(item), &progress)?,
                };
                stages.take(step)?;
                stages.tend()?;
            }
        }
    }
    drop(stages);
    Ok(tree)
}

impl Stages<'_> {
    fn visited(&mut self, visited: Visited, progress: &Progress) -> Result<Step> {
        match visited {
            Visited::Step(step) => Ok(step),
            Visited::Opened(opened) => self.visited(opened.read(), progress),
            Visited::Large(large, splitter) => complete(self.large(large, splitter)?),
            Visited::Small(small) => {
                let read = small.bytes.len() as u64;
                progress.bytes_read.fetch_add(read, Ordering::Relaxed);
                complete(self.small(small)?)
            }
        }
    }

    /// Reads a large file; between two of its chunks the session is looked after.
    fn large(&mut self, large: LargeFile, splitter: SplitterAlgorithm) -> Result<Option<Step>> {
        let object = large.object.clone();
        let mut deliver = |full: FullPack<'_>| store(self.session, full);
        let ending = self.reader.read(
            large,
            splitter,
            self.control,
            &self.profile.read.start(),
            |chunk: Chunk| {
                self.sealing.seal(chunk, &mut deliver, &mut |_| {})?;
                self.gathering.tend(&mut self.sealing.sink(&mut deliver))
            },
        )?;
        self.sealing.end(&object, ending, &mut deliver)
    }

    fn small(&mut self, small: SmallFile) -> Result<Option<Step>> {
        let object = small.object.clone();
        let mut deliver = |full: FullPack<'_>| store(self.session, full);
        let ending = small.cut(&mut |chunk| self.sealing.seal(chunk, &mut deliver, &mut |_| {}))?;
        self.sealing.end(&object, ending, &mut deliver)
    }

    fn take(&mut self, step: Step) -> Result<()> {
        let mut deliver = |full: FullPack<'_>| store(self.session, full);
        self.gathering.put(step);
        self.gathering.advance(&mut self.sealing.sink(&mut deliver))
    }

    fn tend(&mut self) -> Result<()> {
        let mut deliver = |full: FullPack<'_>| store(self.session, full);
        self.gathering.tend(&mut self.sealing.sink(&mut deliver))
    }
}

/// On one thread every content of a file is sealed before its reading has ended.
fn complete(step: Option<Step>) -> Result<Step> {
    step.ok_or(MoverError::SessionFailed)
}

/// Writes a full pack where it was filled.
pub(super) fn store(session: &WriteSession, full: FullPack<'_>) -> Result<()> {
    block_on(session.store_pack(full.pack))
}
