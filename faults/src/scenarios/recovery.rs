//! The morning after: all indexes are lost and put together again.

use std::sync::atomic::AtomicBool;

use windlass_mover::MoverError;
use windlass_mover::blocking::block_on;
use windlass_mover::recover::{RecoverProgress, recover_index};

use super::Scenario;
use super::one_writer::skewed;
use crate::history::Told;
use crate::world::World;

/// Indexes are recovered from packs.
#[derive(Debug)]
pub(super) struct Recovery;

impl Scenario for Recovery {
    fn name(&self) -> &'static str {
        "index-recovery"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let writer = world.writer(1, skewed(world))?;
        world.snapshot(&writer, "a")?;
        world.change("a");
        world.snapshot(&writer, "a")?;
        let blobs = world.shelf.blobs();
        for index in blobs.keys().filter(|id| id.as_str().starts_with("xn")) {
            world.shelf.lose(index);
        }
        world.logbook.tell(Told::IndexesLost);
        world.begin_here();
        world.stage("recovery");
        let writer = world.writer(2, skewed(world))?;
        let (progress, cancel) = (RecoverProgress::default(), AtomicBool::new(false));
        block_on(recover_index(&writer.repository, false, &progress, &cancel))?;
        world.logbook.tell(Told::IndexesRecovered);
        world.stage("after the recovery");
        world.change("a");
        world.snapshot(&writer, "a")?;
        Ok(())
    }
}
