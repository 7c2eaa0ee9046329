//! Crashes, replayed: writers work on a repository in memory, every operation of theirs is recorded, and then each state that a
//! crash at any moment could have left behind is opened, read to the last byte, and written on.
//!
//! ```text
//! scenario ---writers---> Recorder ---> Shelf          (scenarios, world, recorder, turns, shelf)
//!                            |
//!                         Logbook                       (history: begun, happened, answered, promised)
//!                            |
//!            every moment x what was open x lists       (crashes)
//!                            |
//!        opens? all there, byte for byte? goes on?      (check, expected, trees)
//! ```
//!
//! One seed decides everything: who of two writers is next, how long an operation takes, which call fails, where it all breaks
//! off. A report prints it, and the environment variable [`explore::SEED`] plays it again.
//!
//! What the checker can and cannot show is in DESIGN.md.

pub mod check;
pub mod crashes;
pub mod dice;
pub mod expected;
pub mod explore;
pub mod history;
pub mod mutants;
pub mod on_disk;
pub mod recorder;
pub mod scenarios;
pub mod shelf;
pub mod trees;
pub mod turns;
pub mod world;
