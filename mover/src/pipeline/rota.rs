//! The rota: which of several threads take from one queue. As few as keep up with it: a thread that hashes in lanes does
//! the work of several only while its lanes are full, and two that share what comes slowly fill neither's.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shared by the threads of a stage.
#[derive(Debug, Default)]
pub(crate) struct Rota {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that are on.
    on: usize,
    /// Threads that wait for their turn.
    off: usize,
    /// Of these, how many are called.
    called: usize,
}

/// A thread that is on, until this is dropped.
#[derive(Debug)]
pub(crate) struct Shift<'a>(&'a Rota);

impl Rota {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else is on, or until it was called.
    pub(crate) fn begin(&self) -> Shift<'_> {
        let mut state = self.lock();
        state.off += 1;
        while state.on > 0 && state.called == 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.called = state.called.saturating_sub(1);
        state.off -= 1;
        state.on += 1;
        Shift(self)
    }

    /// Calls one more thread, if one waits.
    pub(crate) fn call(&self) {
        let mut state = self.lock();
        if state.called < state.off {
            state.called += 1;
            self.changed.notify_one();
        }
    }
}

impl Shift<'_> {
    /// Whether somebody else is on, too: then who has nothing left to do may go.
    pub(crate) fn has_company(&self) -> bool {
        let state = self.0.lock();
        state.on + state.called > 1
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.on -= 1;
        if state.on == 0 {
            self.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_is_on_and_more_only_when_called() {
        let rota = Rota::default();
        let began = AtomicUsize::new(0);
        let settled = |count: usize| {
            for _ in 0..200 {
                std::thread::sleep(Duration::from_millis(1));
                if began.load(Ordering::SeqCst) == count && rota.lock().off == 3 - count {
                    std::thread::sleep(Duration::from_millis(5));
                    return began.load(Ordering::SeqCst) == count;
                }
            }
            false
        };
        let first = rota.begin();
        assert!(!first.has_company());
        std::thread::scope(|scope| {
            let (go, wait) = crossbeam_channel::bounded::<()>(0);
            for _ in 0..3 {
                let wait = wait.clone();
                scope.spawn(|| {
                    let shift = rota.begin();
                    began.fetch_add(1, Ordering::SeqCst);
                    let _gone = wait.recv();
                    drop((shift, wait));
                });
            }
            assert!(settled(0), "nobody was called");
            rota.call();
            assert!(settled(1) && first.has_company());
            drop(first);
            assert!(settled(1), "somebody is still on");
            go.send(()).unwrap();
            assert!(settled(2), "nobody was on");
            drop(go);
        });
        assert_eq!(began.load(Ordering::SeqCst), 3, "all had their turn");
    }
}
