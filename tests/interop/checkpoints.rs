//! The half-way house: a run dies while it reads a long file, and the other program looks after what there is of it.

use std::fs;
use std::path::{Path, PathBuf};

use windlass_tests::command::Running;
use windlass_tests::{Kopia, Listing, Need, Seed, Shape, Slack, World};

const CHUNK: usize = 1 << 20;

fn shape() -> Shape {
    Shape {
        splitter: "FIXED-1M",
        ..Shape::default()
    }
}

/// A folder with a long file, one before it and one below another folder.
fn source(world: &World, len: usize) -> (PathBuf, Vec<u8>) {
    let source = world.path("source");
    fs::create_dir_all(source.join("folder")).expect("the world is ours");
    let mut seed = Seed::new(7);
    let large = seed.bytes(len);
    fs::write(source.join("large"), &large).expect("the world is ours");
    fs::write(source.join("after"), seed.bytes(5000)).expect("the world is ours");
    fs::write(source.join("folder/inner"), seed.bytes(5000)).expect("the world is ours");
    (source, large)
}

/// The one unfinished file in a restored checkpoint: in a folder with all that is finished.
fn unfinished(restored: &Path) -> Vec<u8> {
    let names = fs::read_dir(restored).expect("it was restored");
    let names = names
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found: Vec<String> = names.filter(|name| name.starts_with(".checkpointed.large.")).collect();
    let [name] = &found[..] else {
        panic!("unfinished files in {}: {found:?}", restored.display());
    };
    fs::read(restored.join(name)).expect("it was restored")
}

fn contents(kopia: &Kopia) -> usize {
    let listed = kopia.run(&["content", "list"]).text();
    listed.lines().filter(|line| !line.starts_with('m')).count()
}

/// Marking and forgetting are the work of several runs.
fn maintain(kopia: &Kopia) {
    for _ in 0..3 {
        kopia.maintain();
    }
    kopia.forget_cache();
}

#[test]
fn kopia_spares_what_a_checkpoint_of_windlass_holds_of_a_file() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = (
        world.kopia(&repository, "password"),
        world.windlass(&repository, "password"),
    );
    kopia.create(&shape());
    let (source, large) = source(&world, 192 << 20);
    // Slow enough to die on its way.
    let options = [
        "--parallel=1",
        "--compression=deflate-best-compression",
        "--checkpoint-interval=1s",
    ];
    let running = Running::start(&mut windlass.snapshot_command(&source, &options));
    running.kill_once(|| !windlass.snapshots().is_empty());

    let listed = kopia.snapshots();
    assert_eq!(listed.len(), 1, "the last checkpoint only: {listed:?}");
    let id = listed[0].id.as_str();
    kopia.verify_all();
    windlass.verify_all();
    let (by_kopia, by_windlass) = (world.path("by-kopia"), world.path("by-windlass"));
    kopia.restore(id, &by_kopia);
    windlass.restore(id, &by_windlass);
    let prefix = unfinished(&by_kopia);
    assert!(prefix.len() >= CHUNK && prefix.len() < large.len(), "{}", prefix.len());
    assert_eq!(prefix.len() % CHUNK, 0);
    assert!(large.starts_with(&prefix));
    Listing::of(&by_kopia).assert_same(&Listing::of(&by_windlass), Slack::RESTORED_BY_WINDLASS);
    let inner = |folder: &Path| fs::read(folder.join("folder/inner")).expect("it was there before the file");
    assert_eq!(inner(&by_kopia), inner(&source));

    // Maintenance without waiting times takes all that no snapshot refers to, and nothing of this.
    let without = world.path("without");
    copy(&repository, &without);
    maintain(&kopia);
    let kept = contents(&kopia);
    assert!(kept > prefix.len() / CHUNK, "{kept}");
    kopia.verify_all();
    let again = world.path("again");
    kopia.restore(id, &again);
    assert_eq!(unfinished(&again), prefix);

    // So it would have gone without the checkpoint.
    let elsewhere = world.kopia(&without, "password");
    elsewhere.connect();
    elsewhere.delete(id);
    maintain(&elsewhere);
    assert_eq!(contents(&elsewhere), 0);

    let made = windlass.snapshot(&source, &[]);
    let new = made.json["newBytes"].as_u64().expect("a number");
    let rest = (large.len() - prefix.len()) as u64;
    assert!(
        (rest..rest + (CHUNK as u64)).contains(&new),
        "{new} new bytes of {rest}: {}",
        made.json
    );
    maintain(&kopia);
    kopia.verify_all();
    let whole = world.path("whole");
    kopia.restore(&made.id, &whole);
    Listing::of(&source).assert_same(&Listing::of(&whole), Slack::RESTORED_BY_KOPIA);
}

#[test]
fn windlass_reads_what_a_checkpoint_of_kopia_holds_of_a_file() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = (
        world.kopia(&repository, "password"),
        world.windlass(&repository, "password"),
    );
    kopia.create(&shape());
    let (source, large) = source(&world, 60 << 20);
    let throttle = |speed: &str| {
        kopia.run(&[
            "repository",
            "throttle",
            "set",
            &format!("--upload-bytes-per-second={speed}"),
        ])
    };
    throttle("4000000");
    let path = source.to_str().expect("paths of worlds are text");
    let arguments = ["snapshot", "create", path, "--checkpoint-interval=1s"];
    Running::start(&mut kopia.command(&arguments)).kill_once(|| !windlass.snapshots().is_empty());
    throttle("unlimited");

    windlass.verify_all();
    let checkpoint = windlass.snapshots().pop().expect("it is there");
    let restored = world.path("restored");
    windlass.restore(&checkpoint.id, &restored);
    let prefix = unfinished(&restored);
    assert!(!prefix.is_empty() && large.starts_with(&prefix), "{}", prefix.len());
    let made = windlass.snapshot(&source, &[]);
    let new = made.json["newBytes"].as_u64().expect("a number");
    assert!(new < (large.len() - prefix.len() + CHUNK) as u64, "{}", made.json);
    kopia.verify_all();
    let whole = world.path("whole");
    kopia.restore(&made.id, &whole);
    Listing::of(&source).assert_same(&Listing::of(&whole), Slack::RESTORED_BY_KOPIA);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the world is ours");
    for entry in fs::read_dir(from).expect("the world is ours").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the world is ours");
        }
    }
}
