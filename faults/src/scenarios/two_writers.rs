//! The duet: two writers at the same time, with much in common, whose clocks may be two hours apart.

use windlass_mover::MoverError;

use super::Scenario;
use crate::world::{Manner, World, Writer};

/// Two writers, each with a source of its own.
#[derive(Debug)]
pub(super) struct Together;

impl Scenario for Together {
    fn name(&self) -> &'static str {
        "two-writers"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        play(world, 0);
        Ok(())
    }
}

/// The same, and any call may fail.
#[derive(Debug)]
pub(super) struct Mishaps;

impl Scenario for Mishaps {
    fn name(&self) -> &'static str {
        "two-writers-and-mishaps"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        play(world, 10 + world.dice.below(50) as u32);
        Ok(())
    }
}

fn play(world: &World, fails_once_in: u32) {
    world.change("a");
    world.change("b");
    let manner = || Manner {
        ahead: world.skew(),
        fails_once_in,
    };
    let work = |writer: &Writer| {
        let source = if writer.number == 1 { "a" } else { "b" };
        // One that fails leaves the field to the other.
        let _ = world.snapshot(writer, source);
    };
    world.stage("both for the first time");
    world.together(&[(1, manner()), (2, manner())], work);
    world.change("a");
    world.change("b");
    world.pass(super::one_writer::minutes(world, 60));
    world.stage("both again");
    world.together(&[(1, manner()), (2, manner())], work);
}
