//! One tree, one name: whichever way the pipeline runs.

use windlass_mover::io::EngineChoice;
use windlass_mover::repository::CreateOptions;
use windlass_mover::snapshot::SnapshotOptions;
use windlass_repo_format::compression::Compression;

use crate::world::{Dice, World, noise, splitter};

const KIB: usize = 1 << 10;

/// A tree of some shape: deep or flat, with large files or without.
fn grow(world: &World, below: &str, seed: u64) {
    let dice = Dice::new(seed);
    let mut folders = vec![below.to_owned()];
    world.directory(below);
    for number in 0..dice.below(6) {
        let parent = &folders[dice.below(folders.len() as u64) as usize];
        let folder = format!("{parent}d{number}/");
        world.directory(&folder);
        folders.push(folder);
    }
    for number in 0..dice.below(40) {
        let folder = &folders[dice.below(folders.len() as u64) as usize];
        let len = match dice.below(8) {
            0 => 0,
            1 => 128 * KIB + dice.below(3) as usize - 1,
            2 => 256 * KIB + dice.below(3) as usize - 1,
            3 => dice.below(6 << 20) as usize,
            4 => 1024 * KIB * (1 + dice.below(3) as usize),
            _ => dice.below(5000) as usize,
        };
        let name = format!("{folder}f{}", dice.below(1000));
        match dice.below(5) {
            // Long runs of the same contents, also inside one file.
            0 => world.file(name, vec![b'x'; len]),
            1 => world.file(name, noise(1, len)),
            // Zeros are told without a hash once they were hashed, also a byte fewer or more.
            2 => world.file(name, vec![0; len]),
            _ => world.file(name, noise(seed * 1000 + number, len)),
        };
    }
    let link = format!("{}link", folders[0]);
    world.link(link, "d0/somewhere");
}

fn ways(options: &SnapshotOptions) -> Vec<(String, SnapshotOptions)> {
    let mut ways = Vec::new();
    for sealers in [1, 2, 16] {
        for engine in [EngineChoice::Threads, EngineChoice::Auto] {
            for memory in [0, 70 << 20, 1 << 30] {
                let name = format!("{sealers} sealers, {engine:?}, {memory} bytes");
                let parallel = Some(sealers);
                let options = SnapshotOptions {
                    parallel,
                    engine,
                    memory,
                    ..options.clone()
                };
                ways.push((name, options));
            }
        }
    }
    ways
}

#[test]
fn all_ways_through_the_pipeline_lead_to_the_same_root() {
    for (seed, name) in [
        (1, "FIXED-128K"),
        (2, "DYNAMIC-128K-BUZHASH"),
        (3, "DYNAMIC-1M-BUZHASH"),
        (4, "FIXED-1M"),
    ] {
        let create = CreateOptions {
            splitter: splitter(name),
            ..CreateOptions::default()
        };
        let world = World::with(&create);
        for shape in 0..4 {
            grow(&world, &format!("shape{shape}/"), seed * 100 + shape);
        }
        let repository = world.open();
        let options = world.options_rereading();
        let alone = SnapshotOptions {
            single_thread: true,
            ..options.clone()
        };
        let first = world.snapshot_with(&repository, &alone);
        let tree = world.tree(&first);
        assert!(tree.len() > 30, "the tree is worth the name");
        for (path, kept) in &tree {
            let path = world.path(path);
            if path.is_file() && !path.is_symlink() {
                assert!(std::fs::read(&path).unwrap() == kept.bytes, "{}", path.display());
            }
        }
        for (way, options) in ways(&options) {
            let report = world.snapshot_with(&repository, &options);
            assert_eq!(report.root(), first.root(), "{name}: {way}");
            assert_eq!(report.manifest.stats, first.manifest.stats, "{name}: {way}");
            assert_eq!(report.lost, first.lost, "{name}: {way}");
            assert!(report.written.new_bytes < 5000, "{way}: more than a manifest is new");
        }
    }
}

#[test]
fn two_repositories_with_the_same_secrets_agree_whatever_came_first() {
    let world = World::new();
    grow(&world, "", 77);
    // The same seed gives both the same secrets.
    let other = World::new();
    other.snapshot_with(
        &other.open(),
        &SnapshotOptions {
            compression: Some(Some(Compression::ZstdFastest)),
            ..other.options()
        },
    );
    let options = world.options();
    let first = world.snapshot_with(&world.open(), &options);
    let second = other.snapshot_with(
        &other.open(),
        &SnapshotOptions {
            compression: Some(Some(Compression::ZstdFastest)),
            ..options
        },
    );
    assert_eq!(first.root(), second.root());
    assert_eq!(world.tree(&first), other.tree(&second));
}
