//! A moving target: files that change, shrink, grow, vanish or turn into something else while they are read.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use windlass_mover::io::EngineChoice;
use windlass_mover::snapshot::{LostKind, SnapshotOptions};
use windlass_repo_format::snapshot::EntryKind;

use crate::world::{Dice, World, noise, read_tree, snapshot_of};

/// Opens a file for writing; never waits for a reader of a pipe that took its place.
fn open(path: &Path) -> std::io::Result<fs::File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(fs::File::from(rustix::fs::open(
        path,
        flags,
        Mode::from_raw_mode(0o600),
    )?))
}

/// Does one thing to one of the files. What fails because another change came first is no matter.
fn meddle(path: &Path, what: u64, round: u64) {
    let done = match what {
        0 => fs::remove_file(path),
        1 => open(path).and_then(|file| file.set_len(0).and_then(|()| file.write_all_at(&noise(round, 100), 0))),
        2 => open(path).and_then(|file| file.write_all_at(&noise(round, 700_000), 0)),
        3 => open(path).and_then(|file| file.set_len(round % 600_000)),
        4 => open(path).and_then(|file| file.write_all_at(&noise(round, 300_000), round % 600_000)),
        5 => {
            drop(fs::remove_file(path));
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).map_err(Into::into)
        }
        6 => {
            drop(fs::remove_file(path));
            fs::create_dir(path)
        }
        _ => {
            drop(fs::remove_file(path));
            std::os::unix::fs::symlink("elsewhere", path)
        }
    };
    drop(done);
    if path.is_dir() && what != 6 {
        drop(fs::remove_dir(path));
    }
}

#[test]
fn a_tree_that_changes_all_the_time_can_be_stored_and_read() {
    let world = World::new();
    let names: Vec<String> = (0..40).map(|number| format!("d{}/file{number}", number % 4)).collect();
    for (number, name) in names.iter().enumerate() {
        world.file(
            name,
            noise(number as u64, if number % 2 == 0 { 900_000 } else { 10_000 }),
        );
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (world, names, done) = (&world, &names, &done);
            scope.spawn(move || {
                let dice = Dice::new(seed);
                while !done.load(Ordering::Relaxed) {
                    let name = &names[dice.below(names.len() as u64) as usize];
                    meddle(&world.path(name), dice.below(8), dice.below(1 << 40));
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            });
        }
        let repository = world.open();
        for round in 0..24 {
            let options = SnapshotOptions {
                single_thread: round % 3 == 0,
                engine: if round % 3 == 1 {
                    EngineChoice::Threads
                } else {
                    EngineChoice::Auto
                },
                force_read: round % 2 == 0,
                ..world.options()
            };
            world.clock.advance(jiff::SignedDuration::from_mins(1));
            let report = snapshot_of(&repository, &options);
            if report.is_err() {
                done.store(true, Ordering::Relaxed);
            }
            let report = report.unwrap();
            // Every entry is as long as it says, and can be read.
            let root = report.manifest.root_entry.clone().unwrap();
            let tree = read_tree(&repository, &root);
            done.store(tree.is_err() || round == 23, Ordering::Relaxed);
            let files = tree
                .unwrap()
                .values()
                .filter(|kept| kept.entry.kind == EntryKind::File)
                .count() as u64;
            let summary = root.summary.unwrap();
            assert_eq!((summary.files, summary.num_failed), (files, report.failure_count));
        }
    });
}

/// Appends or truncates whenever the file is read, through the reader's own eyes: a named pipe cannot do that, a
/// thread that never rests can.
fn with_writer<T>(path: &Path, change: impl Fn(&fs::File, u64) + Sync, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                change(&file, round);
                round += 1;
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_is_counted() {
    let world = World::new();
    world.file("log", noise(1, 30 << 20)).file("still", noise(2, 1 << 20));
    let repository = world.open();
    for single_thread in [true, false] {
        let options = SnapshotOptions {
            single_thread,
            force_read: true,
            ..world.options()
        };
        let change = |file: &fs::File, round: u64| drop(file.write_all_at(&round.to_be_bytes(), round % 1000));
        let report = with_writer(&world.path("log"), change, || {
            world.snapshot_with(&repository, &options)
        });
        let changed = &report.lost[&LostKind::ChangedWhileRead];
        assert_eq!(changed.examples, [b"log".to_vec()]);
        assert!(!report.is_partial());
        assert_eq!(world.tree(&report)[&b"log"[..]].bytes.len(), 30 << 20);
    }
}

#[test]
fn a_file_that_grows_past_the_limit_of_small_ones_is_read_from_its_front() {
    // The single thread went on where the small read had ended, and lost the first 256 KiB.
    let world = World::new();
    let path = world.path("growing");
    let len = 256 << 10;
    let pattern: Vec<u8> = (0..2_000_000u32).flat_map(|number| number.to_be_bytes()).collect();
    let repository = world.open();
    let mut grown = 0;
    for round in 0..60 {
        fs::write(&path, &pattern[..len - 4096]).unwrap();
        let options = SnapshotOptions {
            single_thread: round % 2 == 0,
            force_read: true,
            ..world.options()
        };
        let change = |file: &fs::File, round: u64| {
            let from = (len - 4096 + (round as usize % 1000) * 4096).min(pattern.len() - 4096);
            file.write_all_at(&pattern[from..from + 4096], from as u64).unwrap();
        };
        let report = with_writer(&path, change, || world.snapshot_with(&repository, &options));
        let bytes = &world.tree(&report)[&b"growing"[..]].bytes;
        assert!(*bytes == pattern[..bytes.len()], "round {round}: {} bytes", bytes.len());
        grown += usize::from(bytes.len() > len);
    }
    eprintln!("{grown} of 60 had grown");
}

/// Runs this very program as nobody, who cannot read everything; `None` where that cannot be done.
fn as_nobody(test: &str, folder: &Path) -> Option<String> {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program);
    command
        .args(["--exact", test, "--nocapture"])
        .env("WINDLASS_TEST_AS_NOBODY", folder);
    let Ok(output) = command.output() else {
        crate::world::skipped("there is no setpriv");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.contains("setpriv:") {
        crate::world::skipped(text);
        return None;
    }
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[test]
fn what_may_not_be_read_is_counted_and_named() {
    if let Some(folder) = std::env::var_os("WINDLASS_TEST_AS_NOBODY") {
        return read_as_nobody(Path::new(&folder));
    }
    if !crate::world::is_root("become somebody else") {
        return;
    }
    // Where nobody can get at: the folder of a test may be below a closed one.
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    for (path, bytes) in [
        ("open", "1"),
        ("closed", "2"),
        ("sub/closed", "3"),
        ("shut/inside", "4"),
        ("seen/inside", "5"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(folder.path().join("large"), noise(1, 400_000)).unwrap();
    for (path, bits) in [
        ("closed", 0),
        ("sub/closed", 0o200),
        ("shut", 0),
        ("seen", 0o744),
        ("large", 0),
    ] {
        fs::set_permissions(folder.path().join(path), mode(bits)).unwrap();
    }
    let text = as_nobody("reading::what_may_not_be_read_is_counted_and_named", folder.path());
    assert!(text.is_none_or(|text| text.contains("seen by nobody")));
}

fn read_as_nobody(folder: &Path) {
    let world = World::new();
    for single_thread in [true, false] {
        let options = SnapshotOptions {
            single_thread,
            ..world.options_of(folder)
        };
        let report = world.snapshot_with(&world.open(), &options);
        let mut failed: Vec<_> = report
            .failures
            .iter()
            .map(|failure| {
                (
                    String::from_utf8_lossy(&failure.relative).into_owned(),
                    failure.is_directory,
                )
            })
            .collect();
        failed.sort();
        let expected = [
            ("closed", false),
            ("large", false),
            ("seen", true),
            ("shut", true),
            ("sub/closed", false),
        ];
        assert_eq!(
            failed,
            expected.map(|(path, is_directory)| (path.to_owned(), is_directory))
        );
        assert_eq!(report.failure_count, 5);
        assert!(report.is_partial());
        assert_eq!(report.manifest.stats.error_count, 5);
        let root = report.manifest.root_entry.clone().unwrap();
        assert_eq!(root.summary.unwrap().num_failed, 5);
        let tree = world.tree(&report);
        assert_eq!(tree.len(), 3, "the root, a folder, a file: {:?}", tree.keys());
        assert_eq!(tree[&b"open"[..]].bytes, b"1");
    }
    // A root that cannot be read is no snapshot.
    let shut = folder.join("shut");
    snapshot_of(&world.open(), &world.options_of(&shut)).unwrap_err();
    println!("seen by nobody");
}
