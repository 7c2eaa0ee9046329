//! The weighing room: a run keeps to the memory it was given.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass_mover::blocking::block_on;
use windlass_mover::repository::{CreateOptions, OpenOptions};
use windlass_mover::snapshot::SnapshotOptions;
use windlass_mover::storage::FileSystem;
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::{Identity, Repository};
use windlass_repo_format::hashing::HashAlgorithm;

use crate::world::{World, snapshot_of};

const MIB: u64 = 1 << 20;

/// Bytes of memory that belong to this program alone, at this moment.
fn anonymous_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Watches the memory while something runs.
fn peak_during<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let peak = Arc::new(AtomicU64::new(0));
    let watch = Arc::downgrade(&peak);
    let watcher = std::thread::spawn(move || {
        while let Some(peak) = watch.upgrade() {
            peak.fetch_max(anonymous_memory(), Ordering::Relaxed);
            drop(peak);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let result = work();
    let found = peak.load(Ordering::Relaxed);
    drop(peak);
    watcher.join().unwrap();
    (found, result)
}

/// Runs a measurement in a program of its own: other tests use memory too.
fn alone(test: &str) -> bool {
    if std::env::var_os("WINDLASS_TEST_ALONE").is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command
        .args(["--exact", test, "--nocapture"])
        .env("WINDLASS_TEST_ALONE", "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    eprintln!("{text}");
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn snapshot_within(folder: &Path, splitter: &str, options: impl Fn(SnapshotOptions) -> SnapshotOptions) -> (u64, u64) {
    let target = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileSystem::create(target.path(), Sharding::default()).unwrap());
    let identity = Identity {
        user: "u".to_owned(),
        host: "h".to_owned(),
    };
    let options_of_open = OpenOptions::new(identity);
    let create = CreateOptions {
        splitter: crate::world::splitter(splitter),
        hash: HashAlgorithm::Blake2b256_128,
        ..CreateOptions::default()
    };
    let created = Repository::create(storage, "secret", &create, options_of_open);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let repository = block_on(created).unwrap();
    let world = World::new();
    let options = options(world.options_of(folder));
    let (peak, report) =
        peak_during(|| windlass_mover::snapshot::create(&repository, &options, &Arc::default(), &Arc::default()));
    let report = report.unwrap();
    assert_eq!(report.failure_count, 0);
    println!(
        "peak of anonymous memory: {} MiB of {} MiB",
        peak / MIB,
        options.memory / MIB
    );
    (peak, report.bytes_read)
}

#[test]
fn a_large_file_is_read_within_the_budget() {
    if !alone("limits::a_large_file_is_read_within_the_budget") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("large")).unwrap();
    // Bytes that repeat never, quickly made.
    let mut block = crate::world::noise(1, MIB as usize);
    for number in 0..1024u64 {
        block.rotate_left(4097);
        block[..8].copy_from_slice(&number.to_be_bytes());
        std::os::unix::fs::FileExt::write_all_at(&file, &block, number * MIB).unwrap();
    }
    drop(file);
    // The splitter of most repositories, and one whose contents all have the length that others have at most.
    for (memory, parallel, splitter) in [
        (256 * MIB, 2, "DYNAMIC-4M-BUZHASH"),
        (256 * MIB, 2, "FIXED-8M"),
        (512 * MIB, 4, "FIXED-8M"),
    ] {
        let (peak, read) = snapshot_within(folder.path(), splitter, |options| SnapshotOptions {
            memory,
            parallel: Some(parallel),
            ..options
        });
        assert_eq!(read, 1024 * MIB);
        assert!(peak <= memory, "{} MiB of {} MiB", peak / MIB, memory / MIB);
    }
}

#[test]
fn many_small_files_are_read_within_the_budget() {
    if !alone("limits::many_small_files_are_read_within_the_budget") {
        return;
    }
    let world = World::for_many_files();
    for number in 0..50_000u64 {
        world.file(
            format!("d{}/f{number}", number / 500),
            crate::world::noise(number, 1 + number as usize % 20_000),
        );
    }
    let (peak, read) = snapshot_within(world.folder.path(), "DYNAMIC-4M-BUZHASH", |options| options);
    assert!(read > 400 * MIB);
    assert!(peak <= 256 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn the_least_budget_still_works() {
    let world = World::new();
    world.file("a", crate::world::noise(1, 3 << 20));
    let options = SnapshotOptions {
        memory: 0,
        parallel: Some(64),
        ..world.options()
    };
    let report = snapshot_of(&world.open(), &options).unwrap();
    assert_eq!(world.tree(&report)[&b"a"[..]].bytes.len(), 3 << 20);
}
