//! The proving ground: folders go through the whole pipeline into a repository in memory, and are read back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod checkpoints;
mod entries;
mod faults;
mod incremental;
mod limits;
mod reading;
mod roots;
mod stopping;
mod volumes;
mod world;
mod writers;
