//! Restores of all kinds of trees, good and bad, from a repository in memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use jiff::Timestamp;
use tempfile::TempDir;
use windlass_repo_format::snapshot::{DirEntry, EntryKind, GoMode};

use super::*;
use crate::sample::{PART_LEN, Sample, WHEN};

fn try_restore(sample: &Sample, entry: &DirEntry, target: &Path, options: &RestoreOptions) -> Result<RestoreReport> {
    sample.flush();
    let progress = RestoreProgress::default();
    restore(
        &sample.repository,
        entry,
        target,
        options,
        &progress,
        &AtomicBool::new(false),
    )
}

#[track_caller]
fn restored(sample: &Sample, entry: &DirEntry, target: &Path, options: &RestoreOptions) -> RestoreReport {
    try_restore(sample, entry, target, options).unwrap()
}

#[track_caller]
fn restored_whole(sample: &Sample, entry: &DirEntry, target: &Path, options: &RestoreOptions) -> RestoreReport {
    let report = restored(sample, entry, target, options);
    assert!(report.is_complete(), "{:?}", report.failures);
    report
}

fn usual() -> RestoreOptions {
    RestoreOptions::default()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn failed_names(report: &RestoreReport) -> Vec<String> {
    let mut names: Vec<String> = report
        .failures
        .iter()
        .map(|(path, _)| path.display().to_string().escape_debug().to_string())
        .collect();
    names.sort();
    names
}

/// Says why something cannot be told here. Under `tests/run` that is a failure.
#[track_caller]
fn skipped(why: &str) {
    assert!(std::env::var_os("WINDLASS_TESTS").is_none(), "skipped: {why}");
    println!("skipped: {why}");
}

/// Bytes that are not the same anywhere.
fn noise(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|place| crate::random::scramble(place) as u8)
        .collect()
}

#[test]
fn a_tree_comes_back_with_all_its_attributes() {
    let sample = Sample::new();
    let mut odd = sample.file("set-user", b"run me");
    odd.mode = GoMode::from_unix_permissions(0o4755);
    let mut old = sample.file("old", b"");
    old.mtime = Timestamp::new(-2, -5).unwrap();
    let mut below = sample.directory("below", &[sample.file("big", &noise(20 * PART_LEN + 1)), odd, old]);
    below.mtime = Timestamp::new(1_000_000_000, 1).unwrap();
    let mut top = sample.directory("top", &[below, sample.link("link", "below/../big")]);
    top.mtime = Timestamp::new(999_999_999, 5).unwrap();
    let target = folder();
    let target = target.path().join("made/on/the/way");
    let report = restored_whole(&sample, &top, &target, &usual());
    assert_eq!((report.files, report.directories, report.links), (3, 2, 1));
    assert_eq!(fs::read(target.join("below/big")).unwrap(), noise(20 * PART_LEN + 1));
    assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("below/../big"));
    let look = |path: &str| fs::symlink_metadata(target.join(path)).unwrap();
    // What cannot be given to its owner does not act as its owner either.
    let of_user = if rustix::process::geteuid().is_root() {
        0o4000
    } else {
        0
    };
    assert_eq!(look("below/set-user").mode() & 0o7777, 0o755 | of_user);
    assert_eq!(look("below/big").mode() & 0o7777, 0o640);
    assert_eq!(
        (look("below/old").mtime(), look("below/old").mtime_nsec()),
        (-3, 999_999_995)
    );
    assert_eq!(look("below/big").mtime_nsec(), 123_456_789);
    assert_eq!(look("link").mtime_nsec(), 123_456_789);
    assert_eq!(
        look("below").mtime(),
        WHEN.as_second(),
        "the latest time below it, as Kopia"
    );
    assert_eq!(look("").mtime(), 999_999_999, "but not for the root");
    assert_eq!(look("").mode() & 0o7777, 0o750);

    let stored = RestoreOptions {
        directory_times: DirectoryTimes::Stored,
        ..usual()
    };
    restored_whole(&sample, &top, &target, &stored);
    assert_eq!(look("below").mtime(), 1_000_000_000);
    let inside = RestoreOptions {
        is_inside: true,
        ..usual()
    };
    restored_whole(&sample, &top, &target, &inside);
    assert_eq!(look("").mtime(), WHEN.as_second());
}

#[test]
fn names_that_lead_elsewhere_are_refused_and_told() {
    let sample = Sample::new();
    let long = "n".repeat(256);
    let names = [
        "",
        ".",
        "..",
        "../escaped",
        "/etc/escaped",
        "a/b",
        "zero\0byte",
        &long,
        "fine",
    ];
    let entries: Vec<DirEntry> = names.iter().map(|name| sample.file(name, b"!")).collect();
    let top = sample.directory("top", &entries);
    let outside = folder();
    let target = outside.path().join("target");
    let report = restored(&sample, &top, &target, &usual());
    assert_eq!(report.failed, names.len() as u64 - 1);
    assert_eq!(report.files, 1);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn of_a_name_that_comes_twice_the_first_is_restored() {
    let sample = Sample::new();
    let (first, second) = (sample.file("same", b"first"), sample.file("same", b"second"));
    let folder_of_the_name = sample.directory("same", &[]);
    for entries in [
        vec![first.clone(), second.clone()],
        vec![first.clone(), sample.file("a", b""), second.clone()],
        vec![first.clone(), folder_of_the_name],
    ] {
        let target = folder();
        let report = restored(&sample, &sample.directory("top", &entries), target.path(), &usual());
        assert_eq!(failed_names(&report), ["same"]);
        assert_eq!(fs::read(target.path().join("same")).unwrap(), b"first");
    }
    let target = folder();
    let refused = [sample.file("x/y", b""), first, sample.file("z", b""), second.clone()];
    let report = restored(&sample, &sample.directory("top", &refused), target.path(), &usual());
    assert_eq!(
        failed_names(&report),
        ["same", "x/y"],
        "a refused name does not hide another"
    );
    let target = folder();
    let entries = [sample.directory("same", &[sample.file("inside", b"kept")]), second];
    let report = restored(&sample, &sample.directory("top", &entries), target.path(), &usual());
    assert_eq!(failed_names(&report), ["same"]);
    assert_eq!(fs::read(target.path().join("same/inside")).unwrap(), b"kept");
}

#[test]
fn links_in_the_target_are_replaced_and_not_followed() {
    let sample = Sample::new();
    let top = sample.directory(
        "top",
        &[
            sample.directory("folder", &[sample.file("file", b"new")]),
            sample.file("file", b"new"),
            sample.link("link", "anywhere"),
        ],
    );
    let outside = folder();
    let victim = outside.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    let target = outside.path().join("target");
    fs::create_dir(&target).unwrap();
    symlink(&victim, target.join("folder")).unwrap();
    symlink(victim.join("file"), target.join("file")).unwrap();
    symlink(victim.join("file"), target.join("link")).unwrap();
    restored_whole(&sample, &top, &target, &usual());
    assert_eq!(fs::read(victim.join("file")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    assert!(fs::symlink_metadata(target.join("folder")).unwrap().is_dir());
    assert!(fs::symlink_metadata(target.join("file")).unwrap().is_file());
    assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("anywhere"));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 3, "no temporary name is left");
}

#[test]
fn what_is_there_is_kept_or_replaced_as_asked() {
    let sample = Sample::new();
    let top = sample.directory(
        "top",
        &[
            sample.file("same-size", b"stored"),
            sample.file("untouched", b"stored"),
            sample.link("z-link", "there"),
        ],
    );
    let with = |overwrite| RestoreOptions { overwrite, ..usual() };
    let target = folder();
    let path = |name: &str| target.path().join(name);
    restored_whole(&sample, &top, target.path(), &usual());
    fs::hard_link(path("same-size"), path("other-name")).unwrap();
    fs::write(path("same-size"), "edited").unwrap();

    let report = restored_whole(&sample, &top, target.path(), &with(Overwrite::Never));
    assert_eq!((report.skipped, report.files), (3, 0));
    assert_eq!(fs::read(path("same-size")).unwrap(), b"edited");

    let before = fs::metadata(path("untouched")).unwrap().ino();
    let report = restored_whole(&sample, &top, target.path(), &with(Overwrite::Changed));
    assert_eq!((report.skipped, report.files), (2, 1));
    assert_eq!(fs::read(path("same-size")).unwrap(), b"stored");
    assert_eq!(fs::metadata(path("untouched")).unwrap().ino(), before);
    assert_eq!(
        fs::read(path("other-name")).unwrap(),
        b"edited",
        "another name of the old file"
    );

    let report = restored_whole(&sample, &top, target.path(), &with(Overwrite::Always));
    assert_eq!((report.skipped, report.files, report.links), (0, 2, 1));
}

#[test]
fn what_is_not_in_the_snapshot_goes_only_when_asked() {
    let sample = Sample::new();
    let top = sample.directory(
        "top",
        &[
            sample.directory("kept", &[sample.file("kept", b"")]),
            sample.file("in-the-way", b"a file"),
        ],
    );
    let outside = folder();
    let target = outside.path().join("target");
    let victim = outside.path().join("victim");
    fs::create_dir_all(target.join("in-the-way/of/many/levels")).unwrap();
    fs::create_dir_all(target.join("kept/extra/deep")).unwrap();
    fs::write(target.join("kept/extra/deep/file"), "").unwrap();
    fs::set_permissions(target.join("kept/extra/deep"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "").unwrap();
    symlink(&victim, target.join("kept/extra/link")).unwrap();
    symlink(&victim, target.join("extra-link")).unwrap();

    let report = restored(&sample, &top, &target, &usual());
    assert_eq!(failed_names(&report), ["in-the-way"], "a folder is not removed unasked");
    assert!(target.join("kept/extra/deep/file").exists());

    let delete = RestoreOptions {
        delete_extra: true,
        ..usual()
    };
    let report = restored_whole(&sample, &top, &target, &delete);
    assert_eq!(report.removed, 3);
    assert!(victim.join("file").exists());
    assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    assert_eq!(fs::read_dir(target.join("kept")).unwrap().count(), 1);
    assert_eq!(fs::read(target.join("in-the-way")).unwrap(), b"a file");
}

#[test]
fn many_extra_names_go_too() {
    let sample = Sample::new();
    let top = sample.directory("top", &[sample.file("kept", b"")]);
    let target = folder();
    for number in 0..2500 {
        fs::write(target.path().join(number.to_string()), "").unwrap();
    }
    let delete = RestoreOptions {
        delete_extra: true,
        ..usual()
    };
    let report = restored_whole(&sample, &top, target.path(), &delete);
    assert_eq!(report.removed, 2500);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
}

#[test]
fn holes_take_no_space() {
    let sample = Sample::new();
    let mut bytes = vec![0; 400 * PART_LEN];
    bytes[70_000] = 1;
    bytes[70_001] = 2;
    let end = bytes.len();
    bytes[end / 2..end / 2 + 100].fill(3);
    let top = sample.directory(
        "top",
        &[
            sample.file("holes", &bytes),
            sample.file("nothing", &[0; 20 * PART_LEN]),
        ],
    );
    let target = folder();
    let sparse = RestoreOptions {
        sparse: true,
        ..usual()
    };
    restored_whole(&sample, &top, target.path(), &sparse);
    assert!(fs::read(target.path().join("holes")).unwrap() == bytes);
    assert!(fs::read(target.path().join("nothing")).unwrap() == vec![0; 20 * PART_LEN]);
    let blocks = |name: &str| fs::metadata(target.path().join(name)).unwrap().blocks() * 512;
    assert!(blocks("holes") <= 32 << 10, "{}", blocks("holes"));
    assert_eq!(blocks("nothing"), 0);
}

#[test]
fn a_damaged_content_costs_its_files_and_no_other() {
    let sample = Sample::new();
    let hurt = sample.file("hurt", &noise(30 * PART_LEN));
    let old = sample.file("old", b"this one is damaged");
    let top = sample.directory("top", &[hurt, old.clone(), sample.file("whole", &noise(100))]);
    let target = folder();
    fs::write(target.path().join("old"), "what was there").unwrap();
    sample.flush();
    sample.damage(old.object.unwrap());
    sample.damage(sample.object(&noise(30 * PART_LEN)[7 * PART_LEN..8 * PART_LEN]));
    let report = restored(&sample, &top, target.path(), &usual());
    assert_eq!(failed_names(&report), ["hurt", "old"]);
    assert_eq!(report.files, 1);
    assert!(!target.path().join("hurt").exists(), "half a file is no file");
    assert_eq!(fs::read(target.path().join("old")).unwrap(), b"what was there");
    assert_eq!(fs::read(target.path().join("whole")).unwrap(), noise(100));
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_is_not_as_long_as_promised_is_kept_and_told() {
    let sample = Sample::new();
    let mut liar = sample.file("liar", b"twelve bytes");
    liar.size = 13;
    let target = folder();
    let report = restored(&sample, &sample.directory("top", &[liar]), target.path(), &usual());
    assert!(matches!(
        report.failures[0].1,
        MoverError::FileLength {
            promised: 13,
            found: 12
        }
    ));
    assert_eq!(fs::read(target.path().join("liar")).unwrap(), b"twelve bytes");
}

#[test]
fn entries_that_are_nothing_are_told() {
    let sample = Sample::new();
    let nothing = |name: &str, kind| DirEntry {
        object: None,
        kind,
        ..sample.file(name, b"")
    };
    let top = sample.directory(
        "top",
        &[
            nothing("directory", EntryKind::Directory),
            nothing("file", EntryKind::File),
            nothing("link", EntryKind::Symlink),
            sample.link("link-to-nothing", ""),
            sample.link("link-with-zero", "a\0b"),
            nothing("strange", EntryKind::Unknown("x".to_owned())),
            DirEntry {
                kind: EntryKind::Directory,
                ..sample.file("text-as-directory", b"no JSON")
            },
        ],
    );
    let target = folder();
    let report = restored(&sample, &top, target.path(), &usual());
    assert_eq!(report.failed, 7, "{:?}", report.failures);
    assert_eq!((report.files, report.links), (0, 0));
}

#[test]
fn a_tree_of_two_thousand_levels_comes_back() {
    const LEVELS: usize = 2000;
    let sample = Sample::new();
    let mut tree = sample.directory("d", &[sample.file("bottom", b"deep")]);
    for _ in 1..LEVELS {
        tree = sample.directory("d", &[tree, sample.file("f", b"on the way")]);
    }
    let target = folder();
    for options in [
        usual(),
        RestoreOptions {
            delete_extra: true,
            ..usual()
        },
    ] {
        let report = restored_whole(&sample, &tree, &target.path().join("t"), &options);
        assert_eq!((report.files, report.directories), (LEVELS as u64, LEVELS as u64));
    }
    let bottom = target.path().join("t").join("d/".repeat(LEVELS - 1)).join("bottom");
    assert!(bottom.as_os_str().len() < 4096);
    assert_eq!(fs::read(bottom).unwrap(), b"deep");
    let empty = sample.directory("t", &[]);
    let delete = RestoreOptions {
        delete_extra: true,
        ..usual()
    };
    restored_whole(&sample, &empty, &target.path().join("t"), &delete);
    assert_eq!(fs::read_dir(target.path().join("t")).unwrap().count(), 0);
}

#[test]
fn many_folders_and_files_come_back_with_few_threads_and_with_many() {
    let sample = Sample::new();
    let folders: Vec<DirEntry> = (0..300)
        .map(|number| {
            let files: Vec<DirEntry> = (0..10)
                .map(|file| sample.file(&file.to_string(), &noise(number * 7 + file)))
                .collect();
            sample.directory(&format!("{number:03}"), &files)
        })
        .collect();
    let top = sample.directory("top", &folders);
    for parallel in [1, 2, 16] {
        let target = folder();
        let options = RestoreOptions {
            parallel,
            memory_bytes: 1,
            ..usual()
        };
        let report = restored_whole(&sample, &top, target.path(), &options);
        assert_eq!((report.files, report.directories), (3000, 301));
        assert_eq!(fs::read(target.path().join("299/9")).unwrap(), noise(299 * 7 + 9));
        for folder in fs::read_dir(target.path()).unwrap() {
            assert_eq!(folder.unwrap().metadata().unwrap().mtime(), WHEN.as_second());
        }
    }
}

#[test]
fn a_single_file_becomes_the_target_or_goes_into_it() {
    let sample = Sample::new();
    let file = sample.file("its-name", b"text");
    let link = sample.link("a-link", "there");
    let target = folder();
    let path = |name: &str| target.path().join(name);
    restored_whole(&sample, &file, &path("new/folder/other-name"), &usual());
    restored_whole(&sample, &file, target.path(), &usual());
    restored_whole(&sample, &link, &path("l"), &usual());
    assert_eq!(fs::read(path("new/folder/other-name")).unwrap(), b"text");
    assert_eq!(fs::read(path("its-name")).unwrap(), b"text");
    assert_eq!(fs::read_link(path("l")).unwrap(), Path::new("there"));
    assert_ne!(fs::metadata(target.path()).unwrap().mtime(), WHEN.as_second());
    let hostile = sample.file("../escaped", b"text");
    assert!(try_restore(&sample, &hostile, target.path(), &usual()).is_err());
}

#[test]
fn a_volume_that_velero_stored_becomes_a_file() {
    let sample = Sample::new();
    let volume = sample.directory("/dev/xvdb", &[sample.file("/dev/xvdb", &noise(3 * PART_LEN))]);
    let target = folder();
    let image = target.path().join("disk.img");
    restored_whole(&sample, &volume, &image, &usual());
    assert_eq!(fs::read(&image).unwrap(), noise(3 * PART_LEN));
    restored_whole(&sample, &volume, &image, &usual());
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
    let two = sample.directory("d", &[sample.file("a", b""), sample.file("b", b"")]);
    assert!(
        try_restore(&sample, &two, &image, &usual()).is_err(),
        "a folder does not become a file"
    );
}

fn run(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

#[test]
fn a_volume_is_written_onto_a_device() {
    let sample = Sample::new();
    let space = folder();
    let backing = space.path().join("backing");
    let file = fs::File::create(&backing).unwrap();
    file.set_len(1 << 20).unwrap();
    let Some(device) = run("losetup", &["--find", "--show", &backing.display().to_string()]) else {
        return skipped("no loop device can be had");
    };
    let volume = sample.directory("/dev/xvdb", &[sample.file("/dev/xvdb", &noise(10 * PART_LEN))]);
    let report = try_restore(&sample, &volume, Path::new(&device), &usual());
    let too_long = sample.file("v", &noise((1 << 20) + 1));
    let refused = try_restore(&sample, &too_long, Path::new(&device), &usual());
    assert!(run("losetup", &["--detach", &device]).is_some());
    assert_eq!(report.unwrap().files, 1);
    assert!(refused.is_err());
    assert_eq!(fs::read(&backing).unwrap()[..10 * PART_LEN], noise(10 * PART_LEN));
}

/// A file system of a megabyte; unmounted when it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = folder();
        let path = folder.path().display().to_string();
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "windlass-test", &path]).map(|_| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["--lazy", &self.0.path().display().to_string()]);
    }
}

#[test]
fn a_disk_that_is_full_or_read_only_ends_the_restore() {
    let sample = Sample::new();
    let Some(disk) = SmallDisk::mount() else {
        return skipped("only the superuser can mount a small disk");
    };
    let path = disk.0.path();
    let files: Vec<DirEntry> = (0..400)
        .map(|number| sample.file(&format!("{number:03}"), &noise(PART_LEN)))
        .collect();
    let error = try_restore(&sample, &sample.directory("top", &files), path, &usual()).unwrap_err();
    let is = |error: &MoverError, kind| matches!(error, MoverError::File { source, .. } if source.kind() == kind);
    assert!(is(&error, std::io::ErrorKind::StorageFull), "{error:?}");
    for file in fs::read_dir(path).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().len(),
            PART_LEN as u64,
            "{:?} is incomplete",
            file.path()
        );
    }

    let one_large = [
        sample.file("large", &noise(400 * PART_LEN)),
        sample.file("small", b"fits"),
    ];
    let delete = RestoreOptions {
        delete_extra: true,
        ..usual()
    };
    restored_whole(&sample, &sample.directory("top", &[]), path, &delete);
    // The space of a large file is reserved, and its disk is known to be full before a byte is written.
    let error = try_restore(&sample, &sample.directory("top", &one_large), path, &usual()).unwrap_err();
    assert!(is(&error, std::io::ErrorKind::StorageFull), "{error:?}");
    assert!(!path.join("large").exists(), "what is incomplete goes");

    assert!(run("mount", &["-o", "remount,ro", &path.display().to_string()]).is_some());
    let error = try_restore(&sample, &sample.directory("top", &files), path, &usual()).unwrap_err();
    assert!(is(&error, std::io::ErrorKind::ReadOnlyFilesystem), "{error:?}");
}

#[test]
fn a_cancelled_restore_leaves_no_half_file() {
    let sample = Sample::new();
    let files: Vec<DirEntry> = (0..200)
        .map(|number| sample.file(&format!("{number:03}"), &noise(20 * PART_LEN)))
        .collect();
    let top = sample.directory("top", &files);
    sample.flush();
    let target = folder();
    let cancel = AtomicBool::new(false);
    let progress = RestoreProgress::default();
    let ended = thread::scope(|threads| {
        let restoring =
            threads.spawn(|| restore(&sample.repository, &top, target.path(), &usual(), &progress, &cancel));
        while progress.files.load(std::sync::atomic::Ordering::Relaxed) < 3 && !restoring.is_finished() {
            thread::yield_now();
        }
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        restoring.join().unwrap()
    });
    assert!(matches!(ended, Err(MoverError::Cancelled)), "{ended:?}");
    for file in fs::read_dir(target.path()).unwrap() {
        assert_eq!(fs::read(file.unwrap().path()).unwrap(), noise(20 * PART_LEN));
    }
}
