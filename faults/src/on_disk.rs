//! The exhibition: a state that a crash left behind, put into a folder, where other programs can look at it.

use std::path::Path;

use windlass_mover::blocking::block_on;
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::storage::{FileSystem, PutOptions, Storage, StorageError};

use crate::crashes::{Choice, Moment, View, moments};
use crate::dice::{Dice, part};
use crate::expected::Expected;
use crate::history::History;
use crate::scenarios::Scenario;
use crate::shelf::Blobs;
use crate::world::World;

/// A crash, and what may be expected after it.
#[derive(Debug)]
pub struct Exhibit {
    /// What is there.
    pub blobs: Blobs,
    /// What was promised.
    pub expected: Expected,
    /// Where it comes from.
    pub about: String,
}

/// Some crash of a scenario, with lists that do not lag, as a folder's never do; `None` where the scenario could not be played.
pub fn exhibit(scenario: &dyn Scenario, seed: u64) -> Option<Exhibit> {
    let world = World::new(seed, None);
    scenario.play(&world).ok()?;
    let history: History = world.logbook.history();
    let moments: Vec<Moment> = moments(&history);
    let dice = Dice::new(part(seed, 2));
    let moment = moments.get(dice.place(moments.len()))?;
    let choice = Choice {
        view: View::Exact,
        ..moment.draw(&dice)
    };
    Some(Exhibit {
        blobs: moment.state(&history, &choice).blobs,
        expected: Expected::after(&history, moment.place),
        about: format!("{}, seed {seed}: {} ({choice:?})", scenario.name(), moment.operation),
    })
}

/// Writes blobs into a folder that is made for them.
///
/// # Errors
/// What the folder says.
pub fn write_out(blobs: &Blobs, folder: &Path) -> Result<(), StorageError> {
    let storage = FileSystem::create(folder, Sharding::default())?;
    for (id, blob) in blobs {
        block_on(storage.put(id, blob.body.clone(), &PutOptions::default()))?;
    }
    Ok(())
}
