//! The parallel driver: every stage on threads of its own, joined by bounded queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
use tokio::runtime::Handle;
use windlass_repo_format::pack::ClosedPack;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::event::{Batch, Chunk, Control, Event, Item, LargeFile, Step};
use super::gather::{Gathering, InFlight};
use super::profile::{Meter, Profile};
use super::read::{Fetch, ReadLarge};
use super::rota::Rota;
use super::seal::Sealing;
use super::tree::Tree;
use super::visit::{SMALL_FILE_BYTES_MAX, Visit, Visited};
use super::walk::{Walk, Walked};
use super::write;
use super::{Limits, Run, Source, StageProfile};
use crate::error::{MoverError, Result};
use crate::io::{BufferPool, Engine};
use crate::repository::{FullPack, WriteSession};
use crate::snapshot::Progress;

const ITEMS_MAX: usize = 1024;
const LARGE_FILES_MAX: usize = 64;
/// Small chunks travel in batches of at most so many, or of [`SMALL_FILE_BYTES_MAX`] bytes.
const BATCH_CHUNKS_MAX: usize = 64;
/// How long a sealer waits for one more chunk to be hashed beside those it has.
const GATHER_FOR: Duration = Duration::from_millis(20);
/// As [`GATHER_FOR`], while a large file is being read.
const GATHER_LONG: Duration = Duration::from_millis(300);
/// How often the tree looks whether something is due besides steps.
const TEND_EVERY: Duration = Duration::from_millis(500);

type LargeQueue = (LargeFile, SplitterAlgorithm);

/// The ends of the queues that a stage needs, shared by all its threads.
struct Stages<'a> {
    session: &'a WriteSession,
    control: &'a Control,
    progress: &'a Progress,
    in_flight: Arc<InFlight>,
    runtime: Option<Handle>,
    lanes: usize,
    gathered: usize,
    content_max: usize,
    profile: Profile,
    /// Of the sealers.
    rota: Rota,
    /// The reading stage is in the midst of a file.
    reads_large: AtomicBool,
}

pub(crate) fn run(
    source: Source,
    run: Run<'_>,
    limits: Limits,
    engine: Arc<dyn Engine>,
    pool: BufferPool,
) -> Result<(Tree, Vec<StageProfile>)> {
    let Run {
        session,
        visit,
        control,
        progress,
        checkpoint,
    } = run;
    let stages = Stages {
        session,
        control: &control,
        progress: &progress,
        in_flight: Arc::default(),
        runtime: Handle::try_current().ok(),
        lanes: limits.lanes,
        gathered: usize::try_from(limits.gathered).unwrap_or(usize::MAX),
        content_max: visit.content_max,
        profile: Profile::new(),
        rota: Rota::default(),
        reads_large: AtomicBool::new(false),
    };
    let (item_in, items) = bounded::<Item>(ITEMS_MAX);
    let (large_in, large) = bounded::<LargeQueue>(LARGE_FILES_MAX);
    let (batch_in, batches) = bounded::<Batch>(limits.batches);
    let (pack_in, packs) = bounded::<ClosedPack>(0);
    let (step_in, steps) = unbounded::<Step>();
    let (place_in, places) = bounded::<()>(limits.window);
    let reader = ReadLarge {
        fetch: Fetch::Engine {
            engine,
            pool,
            depth: Limits::READS_AHEAD,
        },
        progress: progress.clone(),
        in_flight: stages.in_flight.clone(),
    };

    let mut tree = Tree::new(visit.splitter, progress.clone());
    let stages = &stages;
    std::thread::scope(|scope| {
        let spawn = Spawn { scope, stages };
        for _ in 0..limits.writers {
            let packs = packs.clone();
            spawn.thread("write", move || {
                let meter = stages.profile.write.start();
                write::write(stages.session, &packs, stages.control, &meter);
            });
        }
        drop(packs);
        for _ in 0..limits.sealers {
            let (batches, pack_in, step_in) = (batches.clone(), pack_in.clone(), step_in.clone());
            spawn.thread("seal", move || stages.seal(&batches, &pack_in, &step_in));
        }
        drop(batches);
        {
            let (batch_in, pack_in, step_in) = (batch_in.clone(), pack_in.clone(), step_in.clone());
            spawn.thread("read", move || {
                stages.read(&reader, &large, &batch_in, &pack_in, &step_in)
            });
        }
        match source {
            Source::Tree(walk) => {
                for _ in 0..limits.visitors {
                    let (items, large_in, visit) = (items.clone(), large_in.clone(), visit.clone());
                    let (batch_in, pack_in, step_in) = (batch_in.clone(), pack_in.clone(), step_in.clone());
                    let work = move || stages.visit(&visit, &items, &large_in, &batch_in, &pack_in, &step_in);
                    spawn.thread("visit", work);
                }
                spawn.thread("walk", move || stages.walk(*walk, &item_in, &step_in, &place_in));
            }
            Source::File(file) => {
                drop(large_in.send(*file));
                drop((item_in, step_in, place_in));
            }
        }
        drop((items, large_in, batch_in));
        let alarm = Alarm(stages);
        let gathered = stages.gather(&mut tree, checkpoint, &steps, &places, pack_in);
        if let Err(error) = gathered {
            stages.control.fail(stages.session, error);
        }
        // The walk may wait for a place; without anybody to give one it ends.
        drop((steps, places));
        drop(alarm);
    });
    match control.take_error() {
        Some(error) => Err(error),
        None => Ok((tree, stages.profile.stages())),
    }
}

/// Ends the run when its thread panics: the others would wait for ever for what does not come.
struct Alarm<'a>(&'a Stages<'a>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.control.fail(self.0.session, MoverError::SessionFailed);
        }
    }
}

/// Starts the threads of a run.
struct Spawn<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    stages: &'scope Stages<'scope>,
}

impl<'scope> Spawn<'scope, '_> {
    fn thread(&self, name: &'static str, work: impl FnOnce() + Send + 'scope) {
        let stages = self.stages;
        let named = Builder::new().name(format!("windlass-{name}"));
        let spawned = named.spawn_scoped(self.scope, move || {
            let _runtime = stages.runtime.as_ref().map(Handle::enter);
            let _alarm = Alarm(stages);
            work();
        });
        if let Err(source) = spawned {
            stages.control.fail(
                stages.session,
                MoverError::File {
                    doing: "start a thread for",
                    path: name.into(),
                    source,
                },
            );
        }
    }
}

impl Stages<'_> {
    fn walk(&self, mut walk: Walk, items: &Sender<Item>, steps: &Sender<Step>, places: &Sender<()>) {
        let meter = self.profile.walk.start();
        let mut cut = false;
        while let Some(walked) = walk.next() {
            if self.control.is_stopped() && !cut {
                cut = true;
                walk.cut_short();
            }
            if meter.output(|| places.send(())).is_err() || self.control.has_failed() {
                return;
            }
            self.progress.entries_found.fetch_add(1, Ordering::Relaxed);
            let sent = match walked {
                Walked::Step(step) => steps.send(step).is_ok(),
                Walked::Item(item) => meter.output(|| items.send(item)).is_ok(),
            };
            if !sent {
                return;
            }
        }
    }

    fn visit(
        &self,
        visit: &Visit,
        items: &Receiver<Item>,
        large: &Sender<LargeQueue>,
        batches: &Sender<Batch>,
        packs: &Sender<ClosedPack>,
        steps: &Sender<Step>,
    ) {
        let meter = self.profile.visit.start();
        let mut sealing = Sealing::new(self.session);
        let mut deliver = deliver_to(packs, &meter);
        let mut batch = OpenBatch::default();
        loop {
            // Nothing may lie in an unfinished batch while this thread waits: the tree may be waiting for it.
            let item = match items.try_recv() {
                Ok(item) => item,
                Err(TryRecvError::Empty) => {
                    meter.output(|| batch.send(batches));
                    match meter.input(|| items.recv()) {
                        Ok(item) => item,
                        Err(_) => break,
                    }
                }
                Err(TryRecvError::Disconnected) => break,
            };
            if self.control.has_failed() {
                continue;
            }
            if self.control.is_stopped() {
                drop(steps.send(Step {
                    sequence: item.sequence,
                    event: Event::Absent,
                }));
                continue;
            }
            match visit.visit(item) {
                Visited::Step(step) => drop(steps.send(step)),
                Visited::Large(file, splitter) => {
                    meter.output(|| batch.send(batches));
                    drop(meter.output(|| large.send((file, splitter))));
                }
                Visited::Small(small) => {
                    self.progress
                        .bytes_read
                        .fetch_add(small.bytes.len() as u64, Ordering::Relaxed);
                    let object = small.object.clone();
                    let mut push = |chunk: Chunk| {
                        meter.pass(chunk.plain.len() as u64);
                        batch.push(chunk, batches, &meter);
                        Ok::<(), std::convert::Infallible>(())
                    };
                    let Ok(ending) = small.cut(&mut push);
                    self.tell(sealing.end(&object, ending, &mut deliver), steps);
                }
            }
        }
        meter.output(|| batch.send(batches));
    }

    fn read(
        &self,
        reader: &ReadLarge,
        large: &Receiver<LargeQueue>,
        batches: &Sender<Batch>,
        packs: &Sender<ClosedPack>,
        steps: &Sender<Step>,
    ) {
        let meter = self.profile.read.start();
        let mut sealing = Sealing::new(self.session);
        let mut deliver = deliver_to(packs, &meter);
        while let Ok((file, splitter)) = meter.input(|| large.recv()) {
            if self.control.has_failed() {
                continue;
            }
            let object = file.object.clone();
            let each = |chunk: Chunk| {
                let sent = meter.output(|| batches.send(vec![chunk]));
                sent.map_err(|_| MoverError::SessionFailed)
            };
            self.reads_large.store(true, Ordering::Relaxed);
            let ending = reader.read(file, splitter, self.control, &meter, each);
            self.reads_large.store(!large.is_empty(), Ordering::Relaxed);
            let ended = ending.and_then(|ending| sealing.end(&object, ending, &mut deliver));
            self.tell(ended, steps);
        }
    }

    fn seal(&self, batches: &Receiver<Batch>, packs: &Sender<ClosedPack>, steps: &Sender<Step>) {
        let meter = self.profile.seal.start();
        let mut sealing = Sealing::new(self.session);
        let mut deliver = deliver_to(packs, &meter);
        let mut patience = GATHER_FOR;
        loop {
            let shift = meter.input(|| self.rota.begin());
            loop {
                // Who has company and nothing to do leaves what comes to the others.
                if sealing.len() == 0 && shift.has_company() {
                    break;
                }
                if !meter.input(|| self.fill_lanes(batches, &mut sealing, &mut patience)) {
                    return;
                }
                if self.control.has_failed() {
                    sealing.clear();
                    continue;
                }
                let held = sealing.held();
                let sealed = sealing.seal_next(&mut deliver, &mut |step| drop(steps.send(step)));
                meter.pass((held - sealing.held()) as u64);
                meter.waited_for_output(sealing.take_waited());
                if let Err(error) = sealed {
                    self.control.fail(self.session, error);
                }
            }
        }
    }

    /// Takes in as many chunks as are hashed side by side, or as memory was set aside for, or as there are when no more
    /// come for a while; that is waited for once, until some come again. False when there is nothing to seal and will not be.
    fn fill_lanes(&self, batches: &Receiver<Batch>, sealing: &mut Sealing<'_>, patience: &mut Duration) -> bool {
        while sealing.len() == 0 || (sealing.len() < self.lanes && sealing.held() + self.content_max <= self.gathered) {
            let came = match sealing.len() {
                0 => batches.recv().ok(),
                _ => self.wait_for_more(batches, *patience),
            };
            let Some(batch) = came else {
                *patience = Duration::ZERO;
                return sealing.len() > 0;
            };
            sealing.put(batch);
            *patience = GATHER_FOR;
        }
        if batches.is_full() {
            self.rota.call();
        }
        true
    }

    /// While a large file is being read more will come, and nobody behind needs what waits here: then a slow disk is given
    /// more time.
    fn wait_for_more(&self, batches: &Receiver<Batch>, patience: Duration) -> Option<Batch> {
        let deadline = Instant::now() + GATHER_LONG;
        loop {
            match batches.recv_timeout(patience) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    let goes_on = !patience.is_zero() && self.reads_large.load(Ordering::Relaxed);
                    if !goes_on || Instant::now() >= deadline {
                        return None;
                    }
                }
            }
        }
    }

    fn tell(&self, step: Result<Option<Step>>, steps: &Sender<Step>) {
        match step {
            Ok(Some(step)) => drop(steps.send(step)),
            Ok(None) => {}
            Err(error) => self.control.fail(self.session, error),
        }
    }

    /// The tree's own thread: puts steps in order, and looks after the session while it waits.
    fn gather(
        &self,
        tree: &mut Tree,
        checkpoint: &mut dyn super::Checkpoint,
        steps: &Receiver<Step>,
        places: &Receiver<()>,
        packs: Sender<ClosedPack>,
    ) -> Result<()> {
        let meter = self.profile.tree.start();
        let mut sealing = Sealing::new(self.session);
        let mut deliver = deliver_to(&packs, &meter);
        let mut gathering = Gathering {
            tree,
            session: self.session,
            in_flight: self.in_flight.clone(),
            checkpoint,
            steps,
            places,
            waiting: BTreeMap::new(),
            next: 0,
        };
        let mut tended = self.session.repository().now();
        loop {
            match meter.input(|| steps.recv_timeout(TEND_EVERY)) {
                Ok(step) => gathering.put(step),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.control.has_failed() {
                return Ok(());
            }
            if self.control.is_stopped() {
                gathering.tree.mark_incomplete("canceled");
            }
            let mut sink = sealing.sink(&mut deliver);
            gathering.advance(&mut sink)?;
            let now = self.session.repository().now();
            if now.duration_since(tended).unsigned_abs() >= TEND_EVERY {
                tended = now;
                gathering.tend(&mut sink)?;
            }
        }
    }
}

/// Gives full packs to a writer; the place of each is kept until one has taken it.
fn deliver_to(packs: &Sender<ClosedPack>, meter: &Meter<'_>) -> impl FnMut(FullPack<'_>) -> Result<()> {
    |full| {
        let sent = meter.output(|| packs.send(full.pack));
        drop(full.place);
        sent.map_err(|_| MoverError::SessionFailed)
    }
}

/// Small chunks that will travel together.
#[derive(Default)]
struct OpenBatch {
    chunks: Batch,
    bytes: usize,
}

impl OpenBatch {
    fn push(&mut self, chunk: Chunk, batches: &Sender<Batch>, meter: &Meter<'_>) {
        self.bytes += chunk.plain.len();
        self.chunks.push(chunk);
        if self.chunks.len() >= BATCH_CHUNKS_MAX || self.bytes as u64 >= SMALL_FILE_BYTES_MAX {
            meter.output(|| self.send(batches));
        }
    }

    fn send(&mut self, batches: &Sender<Batch>) {
        if !self.chunks.is_empty() {
            // Nobody listens only after a failure, and then nothing has to arrive.
            drop(batches.send(std::mem::take(&mut self.chunks)));
            self.bytes = 0;
        }
    }
}
