//! The power cut: programs are killed at any moment, and what they were doing can be finished by either of the two.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use windlass_tests::command::Running;
use windlass_tests::{Attributes, Listing, Need, ODD, Seed, Shape, Slack, Tree, Windlass, World, scale};

/// The seed of this file's stories, and how to give another.
fn seed() -> Seed {
    let number = std::env::var("WINDLASS_SEED").ok().and_then(|text| text.parse().ok());
    let number: u64 = number.unwrap_or(1);
    println!("WINDLASS_SEED={number}");
    Seed::new(number)
}

/// Files of all sizes, some of which change with each generation.
fn grow(root: &Path, seed: &mut Seed) -> Tree {
    let tree = Tree::grow(root);
    // Another time of change each time, or nobody would look at files of the same length.
    let attributes = Attributes {
        mtime_ns: ODD + i128::from(seed.below(1 << 40)) * 1000,
        ..Attributes::default()
    };
    for number in 0..60 {
        let bytes = seed.bytes(1 + number * 700);
        tree.file_with(format!("folder{}/small{number}", number % 7), &bytes, attributes);
    }
    tree.file_with("large", &seed.bytes(24_000_000), attributes);
    tree.file_with("middling", &seed.bytes(3_000_000), attributes);
    tree.settle();
    tree
}

/// Starts a program and kills it after a moment; true when it had not ended by then.
fn kill_after(command: &mut Command, moment: Duration) -> bool {
    let mut running = Running::start(command);
    std::thread::sleep(moment);
    running.kill_now()
}

/// How long a command takes when nobody kills it.
fn duration_of(work: impl FnOnce()) -> Duration {
    let begun = std::time::Instant::now();
    work();
    begun.elapsed()
}

fn moment(seed: &mut Seed, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).expect("it takes minutes at most");
    Duration::from_millis(seed.below(most.max(1)))
}

fn snapshot(windlass: &Windlass, source: &Path) -> Command {
    windlass.snapshot_command(source, &["--parallel=2", "--checkpoint-interval=1s"])
}

#[test]
fn a_snapshot_killed_at_any_moment_harms_nothing_and_is_finished_by_the_next() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    windlass.init(&Shape::default());
    kopia.connect();
    let (mut seed, source) = (seed(), world.path("source"));
    grow(&source, &mut seed);
    let whole = duration_of(|| drop(windlass.snapshot(&source, &[])));
    let mut killed = 0;
    for round in 0..scale(5, 30) {
        let tree = grow(&source, &mut seed);
        let moment = moment(&mut seed, whole);
        println!("round {round}: killed after {moment:?} of {whole:?}");
        killed += u64::from(kill_after(&mut snapshot(&windlass, &source), moment));
        windlass.verify_all();
        if round % 3 == 0 {
            kopia.verify_all();
        }
        // One of them finishes what the other was killed in.
        let id = match round % 2 {
            0 => windlass.snapshot(&source, &[]).id,
            _ => kopia.snapshot(&source, &[]).id,
        };
        let restored = world.path("restored");
        windlass.restore(&id, &restored);
        Listing::of(tree.root())
            .as_stored()
            .assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
        std::fs::remove_dir_all(&restored).expect("the world's folder is ours");
    }
    assert!(killed > 0, "none of them was killed");
    kopia.verify_all();
    windlass.verify_all();
}

#[test]
fn a_restore_killed_at_any_moment_is_finished_by_the_next() {
    let Some(world) = World::with(&[]) else { return };
    let windlass = world.windlass(&world.path("repository"), "password");
    windlass.init(&Shape::default());
    let (mut seed, source) = (seed(), world.path("source"));
    let tree = grow(&source, &mut seed);
    let id = windlass.snapshot(&source, &[]).id;
    let listing = Listing::of(tree.root()).as_stored();
    let target = world.path("restored");
    let text = target.to_str().expect("paths of worlds are text");
    let restore = ["snapshot", "restore", &id, text, "--overwrite", "changed"];
    let whole = duration_of(|| drop(windlass.run(&restore)));
    let mut killed = 0;
    for _ in 0..scale(4, 30) {
        std::fs::remove_dir_all(&target).expect("the world's folder is ours");
        // Several may be killed one after the other before one comes through.
        for _ in 0..=seed.below(2) {
            let moment = moment(&mut seed, whole);
            println!("killed after {moment:?} of {whole:?}");
            killed += u64::from(kill_after(&mut windlass.command(&restore), moment));
        }
        windlass.run(&restore);
        listing.assert_same(&Listing::of(&target), Slack::RESTORED_BY_WINDLASS);
    }
    assert!(killed > 0, "none of them was killed");
    windlass.verify_all();
}

/// Whatever was written of a disk's folder is taken away by this.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mounted(at: &'a Path, size: &str) -> Self {
        std::fs::create_dir(at).expect("the world's folder is ours");
        let disk = Self(at);
        disk.mount(&["-t", "tmpfs", "-o", size, "tmpfs"]);
        disk
    }

    fn mount(&self, arguments: &[&str]) {
        let mounted = Command::new("mount").args(arguments).arg(self.0).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "cannot mount {arguments:?}"
        );
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status(); // the world's folder goes anyway
    }
}

#[test]
fn a_repository_whose_disk_is_full_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let Some(world) = World::with(&[Need::Root, Need::Mounts, Need::Kopia]) else {
        return;
    };
    let at = world.path("disk");
    let disk = SmallDisk::mounted(&at, "size=40m");
    let repository = at.join("repository");
    let (kopia, windlass) = world.both(&repository);
    windlass.init(&Shape::default());
    kopia.connect();
    let (mut seed, source) = (seed(), world.path("source"));
    grow(&source, &mut seed);
    let first = windlass.snapshot(&source, &[]).id;
    let tree = grow(&source, &mut seed);
    for _ in 0..2 {
        let outcome = windlass.try_snapshot(&source, &[]).exits_with(1);
        let said = format!("{}{}", outcome.stderr, String::from_utf8_lossy(&outcome.stdout));
        assert!(said.to_lowercase().contains("no space left"), "{said}");
        windlass.verify_all();
        assert_eq!(windlass.snapshots().len(), 1);
    }
    kopia.verify_all();
    disk.mount(&["-o", "remount,size=120m"]);
    let second = windlass.snapshot(&source, &[]).id;
    let listed: Vec<String> = kopia.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(listed, [first, second.clone()]);
    kopia.verify_all();
    let restored = world.path("restored");
    windlass.restore(&second, &restored);
    Listing::of(tree.root())
        .as_stored()
        .assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
}
