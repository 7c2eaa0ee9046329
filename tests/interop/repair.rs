//! The hospital: repositories that Kopia and Windlass made are damaged in every way, and what can be healed is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use windlass_tests::command::says;
use windlass_tests::{Kopia, Listing, Need, Shape, Slack, Tree, Windlass, World};

use crate::blob_files::blob_files;
use crate::maintenance::fine_grained;

/// What heals a kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cure {
    Alone,
    /// The folder that the snapshot was made of.
    Folder,
    None,
}

/// The longest blob whose name begins so.
fn longest(repository: &Path, prefix: &str) -> PathBuf {
    let blobs = blob_files(repository).into_iter();
    let files = blobs.filter(|(name, _)| name.starts_with(prefix)).map(|(_, file)| file);
    let len = |file: &PathBuf| fs::metadata(file).expect("the repository is ours").len();
    files.max_by_key(len).expect("there is such a blob")
}

fn remove(file: &Path) {
    fs::remove_file(file).expect("the repository is ours");
}

/// Writes over a file of the repository, which may be read only.
fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("the repository is ours");
    change(&mut bytes);
    remove(file);
    fs::write(file, bytes).expect("the repository is ours");
}

fn flip(file: &Path) {
    change(file, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x5a;
    });
}

fn halve(file: &Path) {
    change(file, |bytes| bytes.truncate(bytes.len() / 2));
}

fn swap(one: &Path, other: &Path) {
    let bytes = fs::read(other).expect("the repository is ours");
    let first = fs::read(one).expect("the repository is ours");
    change(one, |here| *here = bytes);
    change(other, |there| *there = first);
}

type Damage = fn(&Path);

const DAMAGES: [(&str, Cure, Damage); 10] = [
    ("an index blob is gone", Cure::Alone, |at| remove(&longest(at, "xn"))),
    ("an index blob is flipped", Cure::Alone, |at| flip(&longest(at, "xn"))),
    ("an index blob is cut", Cure::Alone, |at| halve(&longest(at, "xn"))),
    ("packs are swapped", Cure::Alone, |at| {
        swap(&longest(at, "p"), &longest(at, "q"));
    }),
    ("a pack is flipped", Cure::Folder, |at| flip(&longest(at, "p"))),
    ("a pack is cut", Cure::Folder, |at| halve(&longest(at, "p"))),
    ("a pack is gone", Cure::Folder, |at| remove(&longest(at, "p"))),
    ("an index blob and a pack are damaged", Cure::Folder, |at| {
        flip(&longest(at, "xn"));
        flip(&longest(at, "p"));
    }),
    ("all index blobs are gone", Cure::Alone, |at| {
        fs::remove_dir_all(at.join("x")).expect("the repository is ours");
    }),
    ("the packs of the snapshots themselves are gone", Cure::None, |at| {
        for (name, file) in blob_files(at) {
            if name.starts_with('q') {
                remove(&file);
            }
        }
    }),
];

/// All blobs but Kopia's logs.
fn bytes_of(repository: &Path) -> BTreeMap<String, Vec<u8>> {
    let blobs = blob_files(repository).into_iter();
    let blobs = blobs.filter(|(name, _)| !name.starts_with("_log"));
    let read = blobs.map(|(name, file)| (name, fs::read(file).expect("the repository is ours")));
    read.collect()
}

fn assert_healed(name: &str, world: &World, (kopia, windlass): (&Kopia, &Windlass), id: &str, wanted: &Listing) {
    println!("healed: {name}");
    windlass.verify_all();
    kopia.forget_cache();
    kopia.verify_all();
    let restored = world.path(&format!("restored after {name}"));
    kopia.restore(id, &restored);
    wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_KOPIA);
}

fn damage_and_heal(of_kopia: bool) {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let source = world.path("source");
    Tree::sized(&source, 1, &[300, 3000, 150_000, 500_000]);
    let wanted = Listing::of(&source);
    let folder = source.to_str().expect("paths of worlds are text");
    for (name, cure, damage) in DAMAGES {
        let repository = world.path(name);
        let (kopia, windlass) = world.both(&repository);
        let id = if of_kopia {
            kopia.create(&fine_grained());
            kopia.snapshot(&source, &[]).id
        } else {
            windlass.init(&fine_grained());
            kopia.connect();
            windlass.snapshot(&source, &[]).id
        };
        damage(&repository);
        let damaged = bytes_of(&repository);
        let found = windlass.try_run(&["repo", "verify"]).exits_with(1);
        if cure == Cure::Folder && !name.contains("index") {
            says(&found, &[&id, "--repair", "--from"]);
        }
        assert!(bytes_of(&repository) == damaged, "{name}: looking changed something");
        let repair = ["repo", "verify", "--repair"];
        if cure == Cure::Alone {
            windlass.run(&repair);
        } else {
            windlass.try_run(&repair).exits_with(1);
        }
        if cure == Cure::Folder {
            let written = bytes_of(&repository);
            let index_only = name.contains("index");
            assert!(
                index_only || written == damaged,
                "{name}: something was written in vain"
            );
            windlass.run(&[&repair[..], &["--from", folder]].concat());
        }
        let after = bytes_of(&repository);
        for (blob, bytes) in &damaged {
            let kept = after.get(blob).or_else(|| after.get(&format!("damaged-{blob}")));
            assert!(kept == Some(bytes), "{name}: {blob} was lost or changed");
        }
        if cure == Cure::None {
            assert!(after == damaged, "{name}: something was written in vain");
        } else {
            assert_healed(name, &world, (&kopia, &windlass), &id, &wanted);
        }
    }
}

#[test]
fn what_is_damaged_in_a_repository_of_kopia_is_healed_for_both() {
    damage_and_heal(true);
}

#[test]
fn what_is_damaged_in_a_repository_of_windlass_is_healed_for_both() {
    damage_and_heal(false);
}

#[test]
fn what_parity_makes_whole_is_stored_anew() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&Shape {
        ecc_percent: 10,
        ..fine_grained()
    });
    let source = world.path("source");
    Tree::sized(&source, 1, &[300, 500_000]);
    let id = kopia.snapshot(&source, &[]).id;
    flip(&longest(&repository, "p"));
    let found = windlass.try_run(&["repo", "verify"]).exits_with(1);
    says(&found, &["parity makes it whole", "--repair"]);
    windlass.run(&["repo", "verify", "--repair"]);
    assert_healed("parity", &world, (&kopia, &windlass), &id, &Listing::of(&source));
}
