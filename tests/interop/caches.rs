//! The pantry door: what a cache keeps is never more than what the repository says, whatever happens to either.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use windlass_tests::command::{Running, says};
use windlass_tests::{Need, Seed, Shape, Tree, Windlass, World, scale};

use crate::blob_files::make_one_index_of_each_epoch_older;
use crate::small_disk::SmallDisk;

/// What is in the repository, by a program with this cache.
fn answers(windlass: &Windlass, cache: &str) -> Value {
    let cache = format!("--cache-dir={cache}");
    let status = windlass.run(&["repo", "status", "--json", &cache]).json();
    let listed = windlass.run(&["snapshot", "list", "--all", "--json", &cache]).json();
    json!([
        status["contents"],
        status["index"],
        status["epochs"],
        status["snapshots"],
        listed
    ])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of worlds are text")
}

/// The files of all caches in a folder.
fn files(cache: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    entries(cache)
        .flat_map(|repository| entries(&repository).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_cache_says_what_the_repository_says_while_kopia_writes_and_compacts() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&Shape::default());
    kopia.shorten_epochs(1);
    let (source, cache) = (world.path("source"), world.path("cache"));
    let mut compacted = 0;
    for round in 0..scale(14, 40) {
        let tree = Tree::sized(&source, round, &[100, 2000, 30_000]);
        kopia.snapshot(tree.root(), &[]);
        windlass.snapshot(tree.root(), &[&format!("--cache-dir={}", text(&cache))]);
        if round % 3 == 2 {
            make_one_index_of_each_epoch_older(&repository);
            kopia.maintain();
        }
        let wanted = answers(&windlass, "none");
        assert_eq!(answers(&windlass, text(&cache)), wanted, "round {round}");
        assert_eq!(answers(&windlass, text(&cache)), wanted, "round {round}, once more");
        let epoch = wanted[2]["writeEpoch"].as_u64().expect("there are epochs");
        compacted = compacted.max(epoch);
    }
    assert!(compacted >= 1, "no epoch has ended");
    assert!(!files(&cache).is_empty());
}

#[test]
fn programs_that_fill_one_cache_and_are_killed_at_any_moment_leave_nothing_wrong() {
    let Some(world) = World::with(&[]) else {
        return;
    };
    let windlass = world.windlass(&world.path("repository"), "password");
    windlass.init(&Shape::default());
    let cache = world.path("cache");
    for round in 0..4 {
        let sizes: Vec<usize> = (0..500).map(|place| 20 + place % 90).collect();
        let tree = Tree::sized(&world.path("source"), round, &sizes);
        windlass.snapshot(tree.root(), &["--cache-dir=none"]);
    }
    let wanted = answers(&windlass, "none");
    let number = std::env::var("WINDLASS_SEED").ok().and_then(|text| text.parse().ok());
    let mut seed = Seed::new(number.unwrap_or(1));
    let mut killed = 0;
    for round in 0..scale(8, 60) {
        if round % 2 == 0 {
            let _ = fs::remove_dir_all(&cache); // it is not there in the first round
        }
        let option = format!("--cache-dir={}", text(&cache));
        let list = ["snapshot", "list", "--all", &option];
        let mut running: Vec<_> = (0..3).map(|_| Running::start(&mut windlass.command(&list))).collect();
        for one in &mut running {
            std::thread::sleep(Duration::from_millis(seed.below(150)));
            killed += u64::from(one.kill_now());
        }
        // As a power cut does, which leaves the name and not the bytes.
        if let Some(file) = files(&cache).first() {
            let half = fs::read(file).expect("it is there").len() / 2;
            let file = fs::OpenOptions::new().write(true).open(file);
            if let Ok(file) = file {
                file.set_len(half as u64).expect("it can be cut");
            }
        }
        assert_eq!(answers(&windlass, text(&cache)), wanted, "round {round}");
        assert_eq!(answers(&windlass, text(&cache)), wanted, "round {round}, once more");
    }
    assert!(killed > 0, "all had ended before they were killed");
}

#[test]
fn a_disk_that_is_full_or_read_only_costs_one_warning_and_the_cache() {
    let Some(world) = World::with(&[Need::Root, Need::Mounts]) else {
        return;
    };
    let windlass = world.windlass(&world.path("repository"), "password");
    windlass.init(&Shape::default());
    for round in 0..3 {
        let tree = Tree::sized(&world.path("source"), round, &vec![50; 2000]);
        windlass.snapshot(tree.root(), &["--cache-dir=none"]);
    }
    let wanted = answers(&windlass, "none");
    let at = world.path("disk");
    let disk = SmallDisk::mounted(&at, "size=128k");
    let option = format!("--cache-dir={}", text(&at));
    let warned = || {
        let listed = windlass.run(&["snapshot", "list", "--all", &option]);
        let lines = listed.stderr.lines().filter(|line| line.contains("WARN"));
        assert_eq!(lines.count(), 1, "{}", listed.stderr);
        says(&listed, &["nothing can be kept in the cache"]);
    };
    warned();
    assert_eq!(answers(&windlass, text(&at)), wanted);
    disk.mount(&["-o", "remount,ro"]);
    warned();
    assert_eq!(answers(&windlass, text(&at)), wanted);
    disk.mount(&["-o", "remount,rw,size=100m"]);
    assert_eq!(answers(&windlass, text(&at)), wanted);
    let quiet = windlass.run(&["snapshot", "list", "--all", &option]);
    assert!(!quiet.stderr.contains("WARN"), "{}", quiet.stderr);
    // Said once and not at all where nobody wants a cache.
    disk.mount(&["-o", "remount,ro"]);
    let none = windlass.run(&["snapshot", "list", "--all", "--cache-dir=none"]);
    assert!(!none.stderr.contains("WARN"), "{}", none.stderr);
}
