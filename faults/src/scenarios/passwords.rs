//! The change of locks: the repository gets another password between two snapshots.

use windlass_mover::MoverError;
use windlass_mover::blocking::block_on;

use super::Scenario;
use super::one_writer::skewed;
use crate::history::Told;
use crate::world::{NEXT_PASSWORD, World};

/// The password is changed.
#[derive(Debug)]
pub(super) struct Change;

impl Scenario for Change {
    fn name(&self) -> &'static str {
        "password-change"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let writer = world.writer(1, skewed(world))?;
        world.snapshot(&writer, "a")?;
        // What came before is what the other scenarios are about.
        world.begin_here();
        world.stage("password change");
        let [old, new] = world.keys();
        world.logbook.tell(Told::Keys(vec![old, new.clone()]));
        block_on(writer.repository.change_password(NEXT_PASSWORD))?;
        world.logbook.tell(Told::Keys(vec![new]));
        Ok(())
    }

    /// Few: each of them derives keys, which is slow on purpose.
    fn points_per_history(&self) -> u64 {
        6
    }
}
