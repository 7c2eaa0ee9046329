//! The parallel driver: every stage on threads of its own, joined by bounded queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
use tokio::runtime::Handle;
use windlass_repo_format::pack::ClosedPack;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::crowd::{Crowd, ThreadClock};
use super::event::{Chunk, Control, Items, LargeFile, Steps};
use super::gather::{Gathering, InFlight};
use super::parcels::{Found, LargeChunks, Looked, OpenBatch, Parcel, deliver_to};
use super::profile::Profile;
use super::read::{Fetch, ReadLarge};
use super::rota::Rota;
use super::seal::Sealing;
use super::small::{SmallReads, Visited, absent};
use super::tree::Tree;
use super::visit::Visit;
use super::walk::Walk;
use super::window::Window;
use super::write;
use super::{Limits, Run, Source, StageProfile};
use crate::error::{MoverError, Result};
use crate::fetch::open_files_max;
use crate::io::{BufferPool, Engine};
use crate::repository::WriteSession;
use crate::snapshot::Progress;

const ITEM_LISTS_MAX: usize = 64;
/// So many places in the window are taken at once.
const PLACES_TOGETHER_MAX: usize = 64;
/// So many files that a sealer has completed are told of at once.
const STEPS_TOGETHER_MAX: usize = 64;
const LARGE_FILES_MAX: usize = 64;
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
    gathered: Gathered,
    profile: Profile,
    /// Who looks at files.
    crowd: Crowd,
    /// Of the sealers.
    rota: Rota,
    /// So many batches in the queue are more than the sealers at work keep up with.
    backlog: usize,
    /// The reading stage is in the midst of a file.
    reads_large: AtomicBool,
}

/// Bytes that the sealers hash, all of them together: where one keeps up, its lanes are full with what the others leave.
struct Gathered {
    held: AtomicUsize,
    most: usize,
    content_max: usize,
}

impl Gathered {
    fn new(most: usize, content_max: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            most,
            content_max,
        }
    }

    /// Whether one more content fits, however long. Two who ask at once may both be told so.
    fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) + self.content_max <= self.most
    }

    fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
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
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let stages = Stages {
        session,
        control: &control,
        progress: &progress,
        in_flight: Arc::default(),
        runtime: Handle::try_current().ok(),
        lanes: limits.lanes,
        gathered: Gathered::new(limits.gathered_together(visit.content_max), visit.content_max),
        profile: Profile::new(),
        crowd: Crowd::new(cores, limits.visitors),
        rota: Rota::default(),
        backlog: limits.batches.max(1),
        reads_large: AtomicBool::new(false),
    };
    let (item_in, items) = bounded::<Items>(ITEM_LISTS_MAX);
    let (large_in, large) = bounded::<LargeQueue>(LARGE_FILES_MAX);
    // Memory is set aside for as many large chunks as there is room for, and for a batch of small ones of each visitor.
    let (batch_in, batches) = bounded::<Parcel>(limits.batches + limits.visitors);
    let (room_in, room) = bounded::<()>(limits.batches);
    let (pack_in, packs) = bounded::<ClosedPack>(0);
    let (step_in, steps) = unbounded::<Steps>();
    let window = &Window::new(limits.window);
    let small = &SmallReads::new(engine.clone(), limits.visitors, open_files_max());
    let reader = ReadLarge {
        fetch: Fetch::Engine {
            engine,
            pool,
            depth: Limits::READS_AHEAD,
        },
        repository: session.repository().clone(),
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
            let (batches, room) = (batches.clone(), room.clone());
            let (pack_in, step_in) = (pack_in.clone(), step_in.clone());
            spawn.thread("seal", move || stages.seal(&batches, &room, &pack_in, &step_in));
        }
        drop((batches, room));
        {
            let (batch_in, pack_in, step_in) = (batch_in.clone(), pack_in.clone(), step_in.clone());
            spawn.thread("read", move || {
                let chunks = LargeChunks { batch_in, room_in };
                stages.read(&reader, &large, &chunks, &pack_in, &step_in)
            });
        }
        match source {
            Source::Tree(walk) => {
                for _ in 0..limits.visitors {
                    let (items, large_in, visit) = (items.clone(), large_in.clone(), visit.clone());
                    let (batch_in, pack_in, step_in) = (batch_in.clone(), pack_in.clone(), step_in.clone());
                    let work = move || stages.visit(&visit, small, &items, &large_in, &batch_in, &pack_in, &step_in);
                    spawn.thread("visit", work);
                }
                spawn.thread("walk", move || stages.walk(*walk, item_in, step_in, window));
            }
            Source::File(file) => {
                drop(large_in.send(*file));
                drop((item_in, step_in));
            }
        }
        drop((items, large_in, batch_in));
        let alarm = Alarm(stages);
        let gathered = stages.gather(&mut tree, checkpoint, &steps, window, pack_in);
        if let Err(error) = gathered {
            stages.control.fail(stages.session, error);
        }
        // The walk may wait for a place; without anybody to give one it ends.
        drop(steps);
        window.close();
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
    fn walk(&self, mut walk: Walk, items: Sender<Items>, steps: Sender<Steps>, window: &Window) {
        let meter = self.profile.walk.start();
        walk.send_scouts();
        let mut cut = false;
        let mut found = Found::new(items, steps);
        let mut places = 0;
        while let Some(walked) = walk.next() {
            if self.control.is_stopped() && !cut {
                cut = true;
                walk.cut_short();
            }
            if places == 0 {
                places = window.try_take(PLACES_TOGETHER_MAX);
            }
            if places == 0 {
                // Nothing may be held back while this thread waits: the tree may be waiting for it.
                found.send(&meter);
                match meter.output(|| window.take(PLACES_TOGETHER_MAX)) {
                    Some(taken) => places = taken,
                    None => return,
                }
            }
            places -= 1;
            if self.control.has_failed() {
                return;
            }
            self.progress.entries_found.fetch_add(1, Ordering::Relaxed);
            if !found.push(walked, &meter) {
                return;
            }
        }
        found.send(&meter);
    }

    #[expect(clippy::too_many_arguments, reason = "the ends of all the queues that meet here")]
    fn visit(
        &self,
        visit: &Visit,
        small: &SmallReads,
        items: &Receiver<Items>,
        large: &Sender<LargeQueue>,
        batches: &Sender<Parcel>,
        packs: &Sender<ClosedPack>,
        steps: &Sender<Steps>,
    ) {
        let meter = self.profile.visit.start();
        let mut looked = Looked {
            session: self.session,
            control: self.control,
            progress: self.progress,
            meter: &meter,
            batches,
            batch: OpenBatch::default(),
            sealing: Sealing::new(self.session),
            packs,
            large: Vec::new(),
            steps: Vec::new(),
        };
        let mut reader = small.reader();
        let mut clock = ThreadClock::new();
        loop {
            // Nothing may lie in an unfinished batch while this thread waits: the tree may be waiting for it.
            let inside = self.crowd.try_enter().unwrap_or_else(|| {
                looked.batch.send(batches, &meter);
                meter.input(|| self.crowd.enter())
            });
            let list = match items.try_recv() {
                Ok(list) => list,
                Err(TryRecvError::Empty) => {
                    looked.batch.send(batches, &meter);
                    match meter.input(|| items.recv()) {
                        Ok(list) => list,
                        Err(_) => break,
                    }
                }
                Err(TryRecvError::Disconnected) => break,
            };
            if self.control.has_failed() {
                continue;
            }
            let waited = meter.output_so_far();
            clock.start();
            for item in list {
                if self.control.is_stopped() {
                    looked.steps.push(absent(&item));
                    continue;
                }
                match visit.visit(item) {
                    Visited::Opened(opened) => reader.push(opened, &mut |read| looked.take(read)),
                    other => looked.take(other),
                }
            }
            reader.read(&mut |read| looked.take(read));
            looked.tell(steps);
            if let Some(spent) = clock.stop(meter.output_so_far() - waited) {
                self.crowd.tell(spent);
            }
            drop(inside);
            if !looked.large.is_empty() {
                looked.batch.send(batches, &meter);
                for file in looked.large.drain(..) {
                    drop(meter.output(|| large.send(file)));
                }
            }
        }
        looked.batch.send(batches, &meter);
    }

    fn read(
        &self,
        reader: &ReadLarge,
        large: &Receiver<LargeQueue>,
        chunks: &LargeChunks,
        packs: &Sender<ClosedPack>,
        steps: &Sender<Steps>,
    ) {
        let meter = self.profile.read.start();
        let mut sealing = Sealing::new(self.session);
        let mut deliver = deliver_to(packs, &meter);
        while let Ok((file, splitter)) = meter.input(|| large.recv()) {
            if self.control.has_failed() {
                continue;
            }
            let object = file.object.clone();
            let each = |chunk: Chunk| chunks.send(chunk, &meter);
            self.reads_large.store(true, Ordering::Relaxed);
            let ending = reader.read(file, splitter, self.control, &meter, each);
            self.reads_large.store(!large.is_empty(), Ordering::Relaxed);
            match ending.and_then(|ending| sealing.end(&object, ending, &mut deliver)) {
                Ok(Some(step)) => drop(steps.send(vec![step])),
                Ok(None) => {}
                Err(error) => self.control.fail(self.session, error),
            }
        }
    }

    fn seal(&self, batches: &Receiver<Parcel>, room: &Receiver<()>, packs: &Sender<ClosedPack>, steps: &Sender<Steps>) {
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
                if !meter.input(|| self.fill_lanes(batches, room, &mut sealing, &mut patience)) {
                    return;
                }
                if self.control.has_failed() {
                    self.gathered.give_back(sealing.held());
                    sealing.clear();
                    continue;
                }
                let held = sealing.held();
                let mut done = Steps::new();
                // Small chunks come many at a time: as long as the lanes stay full, their files are told of together.
                let sealed = loop {
                    let sealed = sealing.seal_next(&mut deliver, &mut |step| done.push(step));
                    if sealed.is_err() || sealing.len() < self.lanes.max(1) || done.len() >= STEPS_TOGETHER_MAX {
                        break sealed;
                    }
                };
                if !done.is_empty() {
                    drop(steps.send(done));
                }
                let done = held - sealing.held();
                self.gathered.give_back(done);
                meter.pass(done as u64);
                meter.waited_for_output(sealing.take_waited());
                if let Err(error) = sealed {
                    self.control.fail(self.session, error);
                }
            }
        }
    }

    /// Takes in as many chunks as are hashed side by side, or as memory was set aside for, or as there are when no more
    /// come for a while; that is waited for once, until some come again. False when there is nothing to seal and will not be.
    fn fill_lanes(
        &self,
        batches: &Receiver<Parcel>,
        room: &Receiver<()>,
        sealing: &mut Sealing<'_>,
        patience: &mut Duration,
    ) -> bool {
        while sealing.len() == 0 || (sealing.len() < self.lanes && self.gathered.has_room()) {
            let came = match sealing.len() {
                0 => batches.recv().ok(),
                _ => self.wait_for_more(batches, *patience),
            };
            let Some(batch) = came else {
                *patience = Duration::ZERO;
                return sealing.len() > 0;
            };
            let held = sealing.held();
            sealing.put(batch.unpack(room));
            self.gathered.take(sealing.held() - held);
            *patience = GATHER_FOR;
        }
        if batches.len() >= self.backlog {
            self.rota.call();
        }
        true
    }

    /// While a large file is being read more will come, and nobody behind needs what waits here: then a slow disk is given
    /// more time.
    fn wait_for_more(&self, batches: &Receiver<Parcel>, patience: Duration) -> Option<Parcel> {
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

    /// The tree's own thread: puts steps in order, and looks after the session while it waits.
    fn gather(
        &self,
        tree: &mut Tree,
        checkpoint: &mut dyn super::Checkpoint,
        steps: &Receiver<Steps>,
        window: &Window,
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
            window,
            waiting: BTreeMap::new(),
            next: 0,
        };
        let mut tended = self.session.repository().now();
        loop {
            match meter.input(|| steps.recv_timeout(TEND_EVERY)) {
                Ok(steps) => steps.into_iter().for_each(|step| gathering.put(step)),
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
