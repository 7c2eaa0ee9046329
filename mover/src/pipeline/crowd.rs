//! The doorkeeper: lets as many threads look at files as keep the processor busy, and no more.
//!
//! A thread that waits for a cold disk costs nothing, and another one can ask it something else meanwhile. A thread that
//! waits for the processor only gets in the way of others. So what is measured is how long those inside are blocked, beside
//! how long they run: with `b` seconds blocked for each second of work, `1 + b` threads keep one core busy.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much what was seen before counts beside what was seen last.
const MEMORY: f64 = 0.9;

/// The threads of one stage, of which some wait at the door.
#[derive(Debug)]
pub(crate) struct Crowd {
    cores: usize,
    most: usize,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
struct State {
    inside: usize,
    allowed: usize,
    /// Seconds, of which older ones count less.
    working: f64,
    blocked: f64,
}

impl Crowd {
    /// For at most so many threads on so many cores.
    pub(crate) fn new(cores: usize, most: usize) -> Self {
        Self {
            cores: cores.max(1),
            most: most.max(1),
            state: Mutex::new(State {
                inside: 0,
                // A disk that is not asked much does not show how much it could be asked.
                allowed: most.max(1),
                working: 0.0,
                blocked: 0.0,
            }),
            left: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes in if there is room for one more.
    pub(crate) fn try_enter(&self) -> Option<Inside<'_>> {
        let mut state = self.state();
        let may_enter = state.inside < state.allowed;
        state.inside += usize::from(may_enter);
        drop(state);
        may_enter.then(|| Inside(self))
    }

    /// Waits until there is room for one more.
    pub(crate) fn enter(&self) -> Inside<'_> {
        let mut state = self.state();
        while state.inside >= state.allowed {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.inside += 1;
        Inside(self)
    }

    /// Takes in what one of those inside has measured.
    pub(crate) fn tell(&self, spent: Spent) {
        let mut state = self.state();
        state.working = state.working * MEMORY + spent.working.as_secs_f64();
        state.blocked = state.blocked * MEMORY + spent.blocked.as_secs_f64();
        let before = state.allowed;
        state.allowed = allowed(self.cores, self.most, state.working, state.blocked);
        if state.allowed > before {
            self.left.notify_all();
        }
    }
}

/// How many threads keep the cores busy, when they are blocked so long beside their work.
fn allowed(cores: usize, most: usize, working: f64, blocked: f64) -> usize {
    let threads = cores as f64 * (1.0 + blocked / working.max(1e-9));
    (threads.round() as usize).clamp(cores.min(most), most)
}

/// The right to be inside.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a Crowd);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.left.notify_one();
    }
}

/// What a thread did with some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// It was on a core.
    pub working: Duration,
    /// It could not have been: it waited for a disk.
    pub blocked: Duration,
}

/// The clock of the calling thread. Without the kernel's accounting of it, it shows nothing.
#[derive(Debug)]
pub(crate) struct ThreadClock {
    accounting: Option<File>,
    began: Instant,
    at_begin: Accounted,
}

/// What the kernel has accounted to a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Accounted {
    working: Duration,
    /// It could have worked, and others were on the cores.
    queued: Duration,
}

impl ThreadClock {
    pub(crate) fn new() -> Self {
        Self {
            accounting: File::open("/proc/thread-self/schedstat").ok(),
            began: Instant::now(),
            at_begin: Accounted::default(),
        }
    }

    fn look(&self) -> Option<Accounted> {
        let mut text = [0; 128];
        let len = self.accounting.as_ref()?.read_at(&mut text, 0).ok()?;
        accounted(std::str::from_utf8(&text[..len]).ok()?)
    }

    /// Begins to measure.
    pub(crate) fn start(&mut self) {
        self.began = Instant::now();
        self.at_begin = self.look().unwrap_or_default();
    }

    /// What the thread did since then, besides waiting for other threads so long; `None` where that is not known.
    pub(crate) fn stop(&self, waited_for_others: Duration) -> Option<Spent> {
        let passed = self.began.elapsed();
        let now = self.look()?;
        let working = now.working.saturating_sub(self.at_begin.working);
        let queued = now.queued.saturating_sub(self.at_begin.queued);
        Some(Spent {
            working,
            blocked: passed.saturating_sub(working + queued + waited_for_others),
        })
    }
}

/// `schedstat`: nanoseconds on a core, nanoseconds in a queue for one, time slices.
fn accounted(text: &str) -> Option<Accounted> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
    Some(Accounted {
        working: next()?,
        queued: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_threads_as_keep_the_cores_busy() {
        assert_eq!(allowed(2, 16, 1.0, 0.0), 2, "nothing waits");
        assert_eq!(allowed(2, 16, 1.0, 1.0), 4);
        assert_eq!(allowed(2, 16, 1.0, 2.6), 7);
        assert_eq!(allowed(2, 16, 1.0, 1e9), 16, "never more than there are");
        assert_eq!(allowed(2, 16, 0.0, 0.0), 2);
        assert_eq!(allowed(64, 16, 1.0, 0.0), 16);
    }

    #[test]
    fn the_door_opens_when_a_disk_is_slow_and_closes_when_it_is_not() {
        let crowd = Crowd::new(1, 3);
        let second = Duration::from_secs(1);
        let warm = Spent {
            working: second,
            blocked: Duration::ZERO,
        };
        let cold = Spent {
            working: second / 100,
            blocked: 100 * second,
        };
        crowd.tell(warm);
        let inside = crowd.enter();
        std::thread::scope(|scope| {
            let (second, third) = (scope.spawn(|| crowd.enter()), scope.spawn(|| crowd.enter()));
            std::thread::sleep(Duration::from_millis(10));
            assert!(!second.is_finished() && !third.is_finished());
            crowd.tell(cold);
            drop((second.join().unwrap(), third.join().unwrap()));
        });
        crowd.tell(Spent {
            working: 10_000 * second,
            ..warm
        });
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(crowd.enter()));
            std::thread::sleep(Duration::from_millis(10));
            assert!(!waiting.is_finished() && crowd.try_enter().is_none());
            drop(inside);
            waiting.join().unwrap();
        });
    }

    #[test]
    fn a_thread_that_sleeps_is_blocked_and_one_that_counts_is_not() {
        assert_eq!(accounted("5 7 9\n").map(|seen| seen.working.as_nanos()), Some(5));
        assert_eq!((accounted("5"), accounted("x 1 2")), (None, None));
        let mut clock = ThreadClock::new();
        clock.start();
        std::thread::sleep(Duration::from_millis(30));
        if let Some(spent) = clock.stop(Duration::from_millis(10)) {
            assert!(spent.blocked >= Duration::from_millis(10), "{spent:?}");
            assert!(spent.blocked < Duration::from_secs(5) && spent.working < Duration::from_millis(25));
        }
    }
}
