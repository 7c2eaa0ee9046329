//! The turnstile: several writers, each on its own thread, of whom one at a time goes on to its next operation; who that is
//! follows from a seed.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::dice::Dice;

/// Lets one of its writers through at a time.
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
    dice: Dice,
}

#[derive(Debug)]
struct State {
    /// Writers that have not left.
    present: BTreeSet<usize>,
    /// Those of them that wait here.
    waiting: BTreeSet<usize>,
    /// Who may go on.
    next: Option<usize>,
}

impl Turns {
    /// For these writers. The first goes on when all have come.
    pub fn new(writers: impl IntoIterator<Item = usize>, seed: u64) -> Self {
        let state = State {
            present: writers.into_iter().collect(),
            waiting: BTreeSet::new(),
            next: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            dice: Dice::new(seed),
        }
    }

    /// Waits for the next turn.
    pub fn wait(&self, writer: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(writer);
        self.choose(&mut state);
        while state.next != Some(writer) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.next = None;
        state.waiting.remove(&writer);
    }

    /// Goes away for good.
    pub fn leave(&self, writer: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.present.remove(&writer);
        self.choose(&mut state);
    }

    /// Nobody works while a choice is made, so it depends on nothing but the seed.
    fn choose(&self, state: &mut State) {
        if state.next.is_some() || state.waiting.is_empty() || state.waiting.len() < state.present.len() {
            return;
        }
        let place = self.dice.place(state.waiting.len());
        state.next = state.waiting.iter().nth(place).copied();
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn order(seed: u64) -> Vec<usize> {
        let turns = Turns::new(0..3, seed);
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    for _ in 0..5 {
                        turns.wait(writer);
                        order.lock().unwrap().push(writer);
                    }
                    turns.leave(writer);
                });
            }
        });
        let order = order.lock().unwrap();
        order.clone()
    }

    #[test]
    fn a_seed_decides_who_goes_on() {
        let first = order(1);
        assert_eq!(first.len(), 15);
        for _ in 0..5 {
            assert_eq!(order(1), first);
        }
        assert_ne!(order(2), first);
    }
}
