//! The time sheet: of each stage, how long its threads were busy, and how long they waited for something to come or for room
//! to pass something on. What waits least for input is what bounds a run.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the threads of one stage did, all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageProfile {
    /// The stage: a word of the pipeline's picture.
    pub stage: &'static str,
    /// How many threads it had.
    pub threads: u64,
    /// Neither waiting for input nor for output. Reading small files and storing packs count here, as work of the stage.
    pub busy: Duration,
    /// Waiting for the stage before, or for the disk.
    pub waiting_for_input: Duration,
    /// Waiting for the stage behind.
    pub waiting_for_output: Duration,
    /// Bytes that went through: of files up to the sealing stage, of packs behind it.
    pub bytes: u64,
}

/// The stopwatches of a run.
#[derive(Debug)]
pub(crate) struct Profile {
    pub walk: Stopwatch,
    pub visit: Stopwatch,
    pub read: Stopwatch,
    pub seal: Stopwatch,
    pub write: Stopwatch,
    pub tree: Stopwatch,
}

impl Profile {
    pub(crate) const fn new() -> Self {
        Self {
            walk: Stopwatch::new("walk"),
            visit: Stopwatch::new("visit"),
            read: Stopwatch::new("read"),
            seal: Stopwatch::new("seal"),
            write: Stopwatch::new("write"),
            tree: Stopwatch::new("tree"),
        }
    }

    /// What they show, of the stages that ran.
    pub(crate) fn stages(&self) -> Vec<StageProfile> {
        let all = [&self.walk, &self.visit, &self.read, &self.seal, &self.write, &self.tree];
        let shown = all.iter().map(|watch| watch.shown());
        shown.filter(|stage| stage.threads > 0).collect()
    }
}

/// The stopwatch of one stage.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    stage: &'static str,
    threads: AtomicU64,
    alive: AtomicU64,
    input: AtomicU64,
    output: AtomicU64,
    bytes: AtomicU64,
}

impl Stopwatch {
    const fn new(stage: &'static str) -> Self {
        Self {
            stage,
            threads: AtomicU64::new(0),
            alive: AtomicU64::new(0),
            input: AtomicU64::new(0),
            output: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Begins to measure the calling thread; what it measured counts when the meter is dropped.
    pub(crate) fn start(&self) -> Meter<'_> {
        Meter {
            watch: self,
            began: Instant::now(),
            input: Cell::default(),
            output: Cell::default(),
            bytes: Cell::default(),
        }
    }

    fn shown(&self) -> StageProfile {
        let nanos = |of: &AtomicU64| Duration::from_nanos(of.load(Ordering::Relaxed));
        let (input, output) = (nanos(&self.input), nanos(&self.output));
        StageProfile {
            stage: self.stage,
            threads: self.threads.load(Ordering::Relaxed),
            busy: nanos(&self.alive).saturating_sub(input + output),
            waiting_for_input: input,
            waiting_for_output: output,
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// The stopwatch in the hands of one thread.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    watch: &'a Stopwatch,
    began: Instant,
    input: Cell<Duration>,
    output: Cell<Duration>,
    bytes: Cell<u64>,
}

impl Meter<'_> {
    /// Does something that waits for the stage before.
    pub(crate) fn input<T>(&self, wait: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let came = wait();
        self.input.set(self.input.get() + began.elapsed());
        came
    }

    /// Does something that waits for the stage behind.
    pub(crate) fn output<T>(&self, wait: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let went = wait();
        self.waited_for_output(began.elapsed());
        went
    }

    /// How long the thread has waited for the stage behind so far.
    pub(crate) fn output_so_far(&self) -> Duration {
        self.output.get()
    }

    /// Waits that were measured elsewhere.
    pub(crate) fn waited_for_output(&self, time: Duration) {
        self.output.set(self.output.get() + time);
    }

    /// So many bytes went through.
    pub(crate) fn pass(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let add = |to: &AtomicU64, time: Duration| {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            to.fetch_add(nanos, Ordering::Relaxed);
        };
        add(&self.watch.alive, self.began.elapsed());
        add(&self.watch.input, self.input.get());
        add(&self.watch.output, self.output.get());
        self.watch.bytes.fetch_add(self.bytes.get(), Ordering::Relaxed);
        self.watch.threads.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_wait_is_work() {
        let profile = Profile::new();
        assert!(profile.stages().is_empty());
        let pause = Duration::from_millis(20);
        for _ in 0..2 {
            let meter = profile.seal.start();
            meter.input(|| std::thread::sleep(pause));
            meter.output(|| std::thread::sleep(pause));
            meter.waited_for_output(pause);
            std::thread::sleep(2 * pause);
            meter.pass(10);
        }
        let [seal] = &profile.stages()[..] else {
            panic!("one stage ran")
        };
        assert_eq!((seal.stage, seal.threads, seal.bytes), ("seal", 2, 20));
        assert!(seal.waiting_for_input >= 2 * pause && seal.waiting_for_output >= 4 * pause);
        // The third wait was not one of this thread's: it is taken from its work.
        assert!(seal.busy >= 2 * pause);
    }
}
