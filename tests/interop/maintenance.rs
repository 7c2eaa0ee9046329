//! The caretakers' room: Windlass and Kopia maintain one repository in turn, and each accepts the state the other leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use windlass_tests::command::Running;
use windlass_tests::{Kopia, Listing, Need, Seed, Shape, Slack, Tree, Windlass, World, scale};

use crate::interleaved::{blobs, make_one_index_of_each_epoch_older};

/// Files that are cut into a few contents, and small ones.
const LENGTHS: [usize; 4] = [300, 3000, 150_000, 500_000];

fn shape() -> Shape {
    Shape {
        splitter: "DYNAMIC-128K-BUZHASH",
        ..Shape::default()
    }
}

/// Maintains as the owner that Kopia's client is, at once.
#[track_caller]
fn maintain(windlass: &Windlass, more: &[&str]) -> Value {
    let mut arguments = vec![
        "repo",
        "maintain",
        "--json",
        "--override-username=u",
        "--override-hostname=h",
    ];
    arguments.extend(more);
    windlass.run(&arguments).json()
}

/// What a step did by its own words; `null` when it did nothing.
fn done<'a>(report: &'a Value, task: &str) -> &'a Value {
    let tasks = report["tasks"].as_array().expect("a report has tasks");
    let task = tasks.iter().find(|found| found["task"] == task);
    &task.unwrap_or_else(|| panic!("no such task in {report}"))["done"]["data"]
}

fn restores(world: &World, kopia: &Kopia, windlass: &Windlass, kept: &BTreeMap<String, Listing>) {
    for (number, (id, wanted)) in kept.iter().enumerate() {
        let (ours, theirs) = (
            world.path(&format!("ours-{number}")),
            world.path(&format!("theirs-{number}")),
        );
        windlass.restore(id, &ours);
        wanted.assert_same(&Listing::of(&ours), Slack::RESTORED_BY_WINDLASS);
        kopia.restore(id, &theirs);
        wanted.assert_same(&Listing::of(&theirs), Slack::RESTORED_BY_KOPIA);
        for restored in [ours, theirs] {
            fs::remove_dir_all(restored).expect("the world is ours");
        }
    }
}

#[test]
fn kopia_and_windlass_maintain_one_repository_in_turn() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&shape());
    kopia.run(&[
        "repository",
        "set-parameters",
        "--epoch-min-duration=10m",
        "--epoch-advance-on-count=10",
        "--epoch-refresh-frequency=1m",
        "--epoch-cleanup-safety-margin=5m",
        "--epoch-checkpoint-frequency=2",
    ]);
    let source = world.path("source");
    let mut kept = BTreeMap::new();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for round in 0..scale(24, 80) {
        if source.exists() {
            fs::remove_dir_all(&source).expect("the world is ours");
        }
        Tree::sized(&source, round, &LENGTHS);
        let listing = Listing::of(&source);
        let id = if round % 2 == 0 {
            windlass.snapshot(&source, &[]).id
        } else {
            kopia.snapshot(&source, &[]).id
        };
        kept.insert(id, listing);
        if kept.len() > 4 {
            let gone = kept.keys().nth(usize::try_from(round % 3).expect("small")).cloned();
            let gone = gone.expect("there are more than four");
            kopia.delete(&gone);
            kept.remove(&gone);
        }
        make_one_index_of_each_epoch_older(&repository);
        make_old(&repository, "xs");
        if round % 6 == 5 {
            kopia.maintain();
        } else {
            let report = maintain(&windlass, &["--full", "--safety=none"]);
            for (task, figure) in [
                ("snapshot-gc", "deletedContentCount"),
                ("full-rewrite-contents", "rewrittenContentCount"),
                ("full-delete-blobs", "deletedPackCount"),
                ("compact-single-epoch", "supersededIndexBlobCount"),
                ("advance-epoch", "currentEpoch"),
                ("generate-epoch-range-index", "rangeMaxEpoch"),
                ("cleanup-epoch-markers", "deletedEpochMarkerBlobCount"),
                ("delete-superseded-epoch-indexes", "deletedBlobCount"),
            ] {
                let figure = done(&report, task)[figure].as_u64().unwrap_or(0);
                *seen.entry(task).or_default() += figure;
            }
        }
        kopia.forget_cache();
        if round % 4 == 3 {
            kopia.verify_all();
            windlass.verify_all();
        }
    }
    for (task, figure) in &seen {
        assert!(*figure > 0, "the story never came to {task}: {seen:?}");
    }
    restores(&world, &kopia, &windlass, &kept);
    kopia.maintain();
    kopia.run(&["maintenance", "run", "--full"]);
    kopia.forget_cache();
    kopia.verify_all();
    windlass.verify_all();
    restores(&world, &kopia, &windlass, &kept);
    let packs = blobs_of(&repository)
        .into_iter()
        .filter(|name| name.starts_with(['p', 'q', 's']))
        .count();
    assert!(packs < 20, "{packs} packs and markers are left");
}

/// All blobs of a repository by name.
fn blobs_of(repository: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![(String::new(), repository.to_owned())];
    while let Some((prefix, folder)) = waiting.pop() {
        for entry in fs::read_dir(&folder).expect("the repository is ours").flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push((name, entry.path()));
            } else if let Some(blob) = name.strip_suffix(".f") {
                names.push(blob.to_owned());
            }
        }
    }
    names
}

/// Compacted sets replace others only once everybody knows of them.
fn make_old(repository: &Path, prefix: &str) {
    let then = SystemTime::now() - Duration::from_mins(20);
    for (name, path) in crate::interleaved::index_blobs(repository) {
        if name.starts_with(prefix) {
            let file = fs::File::options()
                .write(true)
                .open(path)
                .expect("the repository is ours");
            file.set_modified(then).expect("the repository is ours");
        }
    }
}

#[test]
fn one_schedule_and_one_owner_for_both() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&shape());
    let source = world.path("source");
    Tree::sized(&source, 1, &LENGTHS);
    kopia.snapshot(&source, &[]);

    let report = maintain(&windlass, &["--full"]);
    assert_eq!(report["mode"], "full");
    let info = kopia.run(&["maintenance", "info", "--json"]).json();
    let runs = &info["schedule"]["runs"];
    assert_eq!(runs["snapshot-gc"][0]["success"], true, "{info}");
    let in_use = &runs["snapshot-gc"][0]["extra"][0]["data"]["inUseContentCount"];
    assert_eq!(in_use, &done(&report, "snapshot-gc")["inUseContentCount"]);
    assert!(in_use.as_u64() > Some(4), "{info}");

    kopia.run(&["maintenance", "run"]);
    let status = windlass.status();
    assert!(status["maintenance"].to_string().contains("advance-epoch"), "{status}");
    assert_eq!(maintain(&windlass, &[])["mode"], Value::Null, "neither is due");

    kopia.run(&["maintenance", "set", "--owner=somebody@else"]);
    let refused = windlass.try_run(&["repo", "maintain", "--full"]).exits_with(1);
    assert!(refused.stderr.contains("somebody@else"), "{}", refused.stderr);
    assert_eq!(
        windlass
            .run(&["repo", "maintain", "--quick", "--force", "--json"])
            .json()["mode"],
        "quick"
    );
    kopia.verify_all();
}

#[test]
fn a_rehearsal_changes_no_blob() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&shape());
    let source = world.path("source");
    Tree::sized(&source, 1, &LENGTHS);
    let first = kopia.snapshot(&source, &[]).id;
    Tree::sized(&source, 2, &LENGTHS);
    kopia.snapshot(&source, &[]);
    kopia.delete(&first);
    let before = Listing::of(&repository);
    let would = maintain(&windlass, &["--full", "--safety=none", "--dry-run"]);
    before.assert_same(&Listing::of(&repository), Slack::RESTORED_BY_WINDLASS);
    let report = maintain(&windlass, &["--full", "--safety=none"]);
    for figure in ["deletedContentCount", "deletedContentSize", "inUseContentCount"] {
        assert_eq!(
            done(&would, "snapshot-gc")[figure],
            done(&report, "snapshot-gc")[figure]
        );
    }
    assert!(
        done(&would, "snapshot-gc")["deletedContentCount"].as_u64() > Some(0),
        "{would}"
    );
    kopia.forget_cache();
    kopia.verify_all();
}

#[test]
fn a_maintenance_that_is_killed_at_any_moment_leaves_all_snapshots_whole() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&shape());
    let source = world.path("source");
    let mut kept = BTreeMap::new();
    let mut seed = Seed::new(77);
    let arguments = [
        "repo",
        "maintain",
        "--full",
        "--safety=none",
        "--override-username=u",
        "--override-hostname=h",
    ];
    let began = Instant::now();
    windlass.run(&arguments);
    // Most of it goes by before the first blob is touched; what has to be done makes it longer.
    let whole = began.elapsed().mul_f64(1.5);
    for round in 0..scale(8, 60) {
        if source.exists() {
            fs::remove_dir_all(&source).expect("the world is ours");
        }
        Tree::sized(&source, round, &LENGTHS);
        kept.insert(windlass.snapshot(&source, &[]).id, Listing::of(&source));
        if kept.len() > 3 {
            let (gone, _) = kept.pop_first().expect("there are more than three");
            kopia.delete(&gone);
        }
        let running = Running::start(&mut windlass.command(&arguments));
        let share = seed.below(1000);
        std::thread::sleep(whole.mul_f64(share as f64 / 1000.0));
        drop(running);
        kopia.forget_cache();
        kopia.verify_all();
        windlass.verify_all();
    }
    restores(&world, &kopia, &windlass, &kept);
    windlass.run(&arguments);
    kopia.maintain();
    kopia.forget_cache();
    restores(&world, &kopia, &windlass, &kept);
    assert!(
        blobs(&repository).iter().any(|blob| blob.starts_with("xw")),
        "nothing was ever dropped"
    );
}
