//! The second opinion: the real Kopia opens what crashes left behind, and sees what the promises say.

use std::collections::BTreeSet;

use windlass_faults::dice::part;
use windlass_faults::explore::seed;
use windlass_faults::on_disk::{exhibit, write_out};
use windlass_faults::scenarios;
use windlass_mover::blocking::block_on;
use windlass_mover::repository::Unlock;
use windlass_mover::storage::FileSystem;
use windlass_mover::{Repository, snapshots};
use windlass_tests::{Need, World, scale};

#[test]
fn kopia_reads_what_crashes_left_behind_and_agrees() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let seed = seed(1);
    let scenarios = scenarios::all();
    let mut seen = 0;
    for number in 0..scale(scenarios.len() as u64, 44) {
        let scenario = scenarios[number as usize % scenarios.len()];
        let exhibit = exhibit(scenario, part(seed, number)).expect("the scenario can be played");
        let about = &exhibit.about;
        // Between the two blobs of a password change nobody opens the repository, see docs and DESIGN.md.
        let folder = world.path(&format!("crash{number}"));
        write_out(&exhibit.blobs, &folder).expect("the world's folder is ours");
        let opened = exhibit.expected.keys.iter().find_map(|(key, password)| {
            let storage = std::sync::Arc::new(FileSystem::open(&folder).expect("it was just made"));
            let clock = std::sync::Arc::new(windlass_mover::clock::SystemClock);
            let options = windlass_faults::world::open_options(clock, number);
            let repository = block_on(Repository::open(storage, Unlock::Key(key.clone()), options)).ok()?;
            Some((repository, password))
        });
        let Some((repository, password)) = opened else {
            assert!(exhibit.expected.keys.len() > 1, "{about}");
            let passwords = exhibit.expected.keys.iter().map(|(_, password)| password);
            let refused = passwords
                .into_iter()
                .all(|password| world.kopia(&folder, password).try_connect().code != Some(0));
            assert!(refused, "{about}: Kopia opens what we do not");
            continue;
        };
        let ours: BTreeSet<String> = block_on(snapshots::list(&repository, None))
            .expect("the manifests can be read")
            .iter()
            .map(|snapshot| snapshot.id.to_string())
            .collect();
        let kopia = world.kopia(&folder, password);
        kopia.connect();
        let theirs: BTreeSet<String> = kopia.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
        assert_eq!(ours, theirs, "{about}");
        let must = exhibit.expected.must.keys().map(ToString::to_string);
        assert!(must.into_iter().all(|id| theirs.contains(&id)), "{about}");
        kopia.verify_all();
        seen += theirs.len();
        std::fs::remove_dir_all(&folder).expect("the world's folder is ours");
    }
    println!("Kopia read {seen} snapshots after crashes");
    assert!(seen > 0);
}
