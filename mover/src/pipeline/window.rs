//! The counting gate: how many entries may be between the walk and the tree. The walk takes places, some at a time; the tree
//! gives them back, some at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The places there are.
#[derive(Debug)]
pub(crate) struct Window {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    closed: bool,
}

impl Window {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: places.max(1),
                closed: false,
            }),
            given: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many places as are free, up to `most`; perhaps none.
    pub(crate) fn try_take(&self, most: usize) -> usize {
        let mut state = self.state();
        let taken = most.min(state.free);
        state.free -= taken;
        taken
    }

    /// As [`Window::try_take`], waiting for the first; `None` when nobody will give one any more.
    pub(crate) fn take(&self, most: usize) -> Option<usize> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if state.free > 0 {
                let taken = most.min(state.free);
                state.free -= taken;
                return Some(taken);
            }
            state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives places back.
    pub(crate) fn give(&self, places: usize) {
        if places > 0 {
            self.state().free += places;
            self.given.notify_one();
        }
    }

    /// From now on who waits is told that nobody gives a place any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.given.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_finds_no_place_waits_until_one_is_given_or_none_will_be() {
        let window = Window::new(3);
        assert_eq!((window.try_take(2), window.try_take(2), window.try_take(2)), (2, 1, 0));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| window.take(5));
            std::thread::sleep(Duration::from_millis(10));
            assert!(!waiting.is_finished());
            window.give(2);
            assert_eq!(waiting.join().unwrap(), Some(2));
            let waiting = scope.spawn(|| window.take(5));
            std::thread::sleep(Duration::from_millis(10));
            assert!(!waiting.is_finished());
            window.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
