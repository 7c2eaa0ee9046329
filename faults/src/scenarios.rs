//! The playbook: what writers do while crashes are waited for.
//!
//! A scenario is a value that implements [`Scenario`]; it is added to [`all`] and nowhere else.
//!
//! # The place of maintenance
//!
//! Maintenance is one more writer. Its scenario goes into a file of its own beside these, `scenarios/maintenance.rs`, and plays
//! on a [`World`] like the others:
//!
//! - [`World::writer`] gives it a repository whose operations are recorded; [`World::together`] lets it work between the
//!   operations of others; [`World::pass`] lets the days go by that its safety intervals want.
//! - [`World::delete`] leaves contents behind that nobody needs, before it comes.
//! - Nothing has to be told to the checker: maintenance must leave every promised snapshot whole, whatever it deletes, so
//!   [`Told`](crate::history::Told) has no line for it. An index blob that it has deleted and that a list still shows makes a
//!   reader wait: that is what `View::Behind` would meet first.
//! - A mutant that deletes before it has proved (in `mutants.rs`) belongs to it, and a line in `tests/mutants.rs`.

mod epochs;
mod one_writer;
mod passwords;
mod recovery;
mod two_writers;

use std::fmt;

use windlass_mover::MoverError;

use crate::world::World;

/// Something that writers do.
pub trait Scenario: Sync + fmt::Debug {
    /// What it is called, in reports and on the command line.
    fn name(&self) -> &'static str;

    /// Does it. A writer that meets a failure may give up: that is one more way to break off.
    ///
    /// # Errors
    /// What a writer met where nothing was meant to fail.
    fn play(&self, world: &World) -> Result<(), MoverError>;

    /// How many crash points of one history are drawn before another is played.
    fn points_per_history(&self) -> u64 {
        40
    }
}

/// All scenarios.
pub fn all() -> Vec<&'static dyn Scenario> {
    vec![
        &one_writer::First,
        &one_writer::Next,
        &one_writer::Checkpoints,
        &one_writer::DeletesAndRetention,
        &one_writer::Mishaps,
        &two_writers::Together,
        &two_writers::Mishaps,
        &passwords::Change,
        &recovery::Recovery,
        &epochs::LateIndex,
        &epochs::MovingOn,
    ]
}

/// The scenario of this name.
pub fn named(name: &str) -> Option<&'static dyn Scenario> {
    all().into_iter().find(|scenario| scenario.name() == name)
}
