//! What is found in the world: every kind of entry is stored or counted.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use windlass_mover::snapshot::{FileKind, LostKind, SnapshotOptions, SnapshotReport};
use windlass_repo_format::policy::{ErrorHandlingPolicy, FilesPolicy, Policy, UploadPolicy};
use windlass_repo_format::snapshot::EntryKind;

use crate::world::{Tree, World, is_root, noise, set_mtime, skipped, snapshot_of};

fn lost(report: &SnapshotReport, kind: LostKind) -> u64 {
    report.lost.get(&kind).map_or(0, |lost| lost.count)
}

fn make_node(path: &Path, kind: FileType, device: (u32, u32)) {
    let device = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

/// The paths of all that is in a tree.
fn names(tree: &Tree) -> Vec<String> {
    let names = tree.keys().map(|path| String::from_utf8_lossy(path).into_owned());
    names.collect()
}

/// Snapshots on one thread and on many; both must say the same.
fn both(world: &World) -> SnapshotReport {
    let repository = world.open();
    let options = world.options_rereading();
    let alone = SnapshotOptions {
        single_thread: true,
        ..options.clone()
    };
    let first = world.snapshot_with(&repository, &alone);
    let second = world.snapshot_with(&repository, &options);
    assert_eq!(first.root(), second.root());
    assert_eq!(first.lost, second.lost);
    assert_eq!(first.failures, second.failures);
    assert_eq!(first.manifest.stats, second.manifest.stats);
    second
}

#[test]
fn links_are_stored_as_links_wherever_they_lead() {
    let world = World::new();
    world
        .file("here/file", "x")
        .link("to-file", "here/file")
        .link("to-folder", "here");
    world
        .link("dangling", "no/where")
        .link("loop", "loop")
        .link("absolute", "/etc");
    let report = both(&world);
    let tree = world.tree(&report);
    for (name, target) in [
        ("to-file", "here/file"),
        ("to-folder", "here"),
        ("dangling", "no/where"),
        ("loop", "loop"),
        ("absolute", "/etc"),
    ] {
        let kept = &tree[name.as_bytes()];
        assert_eq!(kept.entry.kind, EntryKind::Symlink, "{name}");
        assert_eq!(kept.bytes, target.as_bytes());
    }
    assert!(!report.is_partial());
    assert!(!tree.contains_key(&b"to-folder/file"[..]));
}

#[test]
fn what_the_format_cannot_hold_is_counted_by_kind() {
    if !is_root("make devices") {
        return;
    }
    let world = World::new();
    world.file("twin", "one").file("kept", "two");
    fs::hard_link(world.path("twin"), world.path("other-twin")).unwrap();
    make_node(&world.path("pipe"), FileType::Fifo, (0, 0));
    make_node(&world.path("char"), FileType::CharacterDevice, (1, 3));
    make_node(&world.path("block"), FileType::BlockDevice, (7, 200));
    let _socket = UnixListener::bind(world.path("socket")).unwrap();
    let report = both(&world);
    for kind in [
        FileKind::Fifo,
        FileKind::CharacterDevice,
        FileKind::BlockDevice,
        FileKind::Socket,
    ] {
        assert_eq!(lost(&report, LostKind::SpecialFile(kind)), 1, "{kind:?}");
    }
    assert_eq!(lost(&report, LostKind::HardLink), 2);
    assert_eq!(report.failure_count, 0);
    assert!(!report.is_partial(), "special files alone are no failure");
    let tree = world.tree(&report);
    assert_eq!(tree[&b"twin"[..]].entry.object, tree[&b"other-twin"[..]].entry.object);
    assert_eq!(tree.len(), 4);
    // A policy may want to know.
    world.policy(&Policy {
        error_handling: ErrorHandlingPolicy {
            ignore_unknown_types: Some(false),
            ..ErrorHandlingPolicy::default()
        },
        ..Policy::default()
    });
    let strict = both(&world);
    assert_eq!(strict.failure_count, 4);
    assert!(strict.is_partial());
    let summary = strict.manifest.root_entry.unwrap().summary.unwrap();
    assert_eq!(summary.num_failed, 4);
    assert_eq!(summary.errors[0].path, b"block");
    assert_eq!(summary.errors[0].error, b"unknown or unsupported entry type");
}

#[test]
fn modes_owners_and_times_are_kept() {
    let world = World::new();
    let names = ["plain", "setuid", "setgid", "none", "folder", "sticky", "closed"];
    for (name, mode) in names.iter().zip([0o644, 0o4755, 0o2711, 0o000, 0o750, 0o1777, 0o000]) {
        if mode & 0o40000 != 0 || ["folder", "sticky", "closed"].contains(name) {
            world.directory(name);
        } else {
            world.file(name, *name);
        }
        if mode != 0 || rustix::process::geteuid().is_root() {
            world.mode(name, mode); // only the superuser can read what nobody may
        }
    }
    let times = [
        "1960-05-04T03:02:01.987654321Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "2300-01-01T00:00:00.000000001Z",
        "2026-02-28T23:59:59.5Z",
    ];
    for (number, time) in times.iter().enumerate() {
        let name = format!("time{number}");
        world.file(&name, "t");
        set_mtime(&world.path(&name), time.parse().unwrap());
    }
    world.link("old-link", "plain");
    set_mtime(&world.path("old-link"), times[0].parse().unwrap());
    if is_root("give files away") {
        chown(world.path("plain"), Some(12345), Some(4_000_000_000)).unwrap();
        lchown(world.path("old-link"), Some(7), Some(8)).unwrap();
    }
    let report = both(&world);
    assert_eq!(report.failure_count, 0, "{:?}", report.failures);
    let tree = world.tree(&report);
    for (path, kept) in &tree {
        let found = fs::symlink_metadata(world.path(path)).unwrap();
        let entry = &kept.entry;
        assert_eq!(
            (entry.uid, entry.gid),
            (found.uid(), found.gid()),
            "{}",
            path.escape_ascii()
        );
        let mtime = Timestamp::new(found.mtime(), found.mtime_nsec() as i32).unwrap();
        assert_eq!(entry.mtime, mtime, "{}", path.escape_ascii());
        let permissions = found.mode() & 0o7777;
        assert_eq!(entry.mode.to_unix(), permissions, "{}", path.escape_ascii());
    }
    assert_eq!(tree[&b"time2"[..]].entry.mtime.as_nanosecond(), -1);
    assert!(report.lost.is_empty(), "{:?}", report.lost);
}

#[test]
fn names_that_are_no_text_are_counted_and_twins_among_them_too() {
    let world = World::new();
    for name in [
        &b"a\xffz"[..],
        b"a\xfez",
        b"caf\xe9",
        "caf\u{e9}".as_bytes(),
        b"tab\there",
        b"line\nbreak",
    ] {
        world.file(name, name);
    }
    world.file(b"dir\x80/inside", "x").file(b"dir\x81/inside", "y");
    let report = both(&world);
    assert_eq!(lost(&report, LostKind::NameNotUtf8), 3);
    assert_eq!(lost(&report, LostKind::NameCollides), 2);
    assert!(report.is_partial());
    let examples = &report.lost[&LostKind::NameNotUtf8].examples;
    assert!(examples.contains(&b"caf\xe9".to_vec()), "{examples:?}");
    let summary = report.manifest.root_entry.clone().unwrap().summary.unwrap();
    assert_eq!(summary.files, 8, "all of them are stored");
}

#[test]
fn a_true_replacement_character_is_the_twin_of_a_name_that_is_no_text() {
    let world = World::new();
    world.file("a\u{fffd}z", "1");
    assert!(both(&world).lost.is_empty());
    world.file(b"a\xffz", "2");
    let report = both(&world);
    assert_eq!(lost(&report, LostKind::NameCollides), 1);
    assert!(report.is_partial());
}

#[test]
fn a_folder_full_of_names_in_another_encoding_takes_no_square_time() {
    let world = World::new();
    let bytes: Vec<u8> = (0x80..=0xff).collect();
    for first in &bytes {
        for second in &bytes {
            let name = [b"n", &[*first, b'-', *second][..]].concat();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                world.path(name),
                FileType::RegularFile,
                Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
        }
    }
    let begun = std::time::Instant::now();
    let report = world.snapshot(&world.open());
    // Sixteen thousand names that all look the same; comparing each with each is 130 million comparisons.
    assert_eq!(lost(&report, LostKind::NameCollides), 128 * 128 - 1);
    assert!(begun.elapsed().as_secs() < 20);
}

#[test]
fn extended_attributes_are_counted_where_there_are_some() {
    let world = World::new();
    world
        .file("tagged", "x")
        .file("plain", "y")
        .file("sub/tagged", vec![1; 300_000])
        .directory("folder");
    for name in ["tagged", "sub/tagged", "folder"] {
        let set = rustix::fs::setxattr(world.path(name), "user.colour", b"green", XattrFlags::empty());
        if set.is_err() {
            let folder = world.folder.path().display();
            return skipped(format_args!("the file system of {folder} has no extended attributes"));
        }
    }
    let repository = world.open();
    let report = world.snapshot(&repository);
    let examples = |report: &SnapshotReport| {
        let mut examples = report.lost[&LostKind::ExtendedAttributes].examples.clone();
        examples.sort();
        examples
    };
    let expected = [&b"folder"[..], b"sub/tagged", b"tagged"];
    assert_eq!(examples(&report), expected);
    assert!(!report.is_partial());
    let again = world.snapshot(&repository);
    assert_eq!(again.bytes_read, 0);
    assert_eq!(examples(&again), expected, "also where nothing is read");
}

#[test]
fn files_above_the_part_size_are_cut_anew_at_each_part() {
    let world = World::new();
    let len = 300_000;
    for (name, size) in [
        ("empty", 0),
        ("below", len - 1),
        ("equal", len),
        ("above", len + 1),
        ("twice", 2 * len),
        ("more", 7 * len + 12345),
    ] {
        world.file(name, noise(size as u64, size));
    }
    let whole = both(&world);
    world.policy(&Policy {
        upload: UploadPolicy {
            parallel_upload_above_size: Some(len as i64),
            ..UploadPolicy::default()
        },
        ..Policy::default()
    });
    let parts = both(&world);
    let (whole, parts) = (world.tree(&whole), world.tree(&parts));
    for (path, kept) in &whole {
        if kept.entry.kind != EntryKind::File {
            continue;
        }
        let name = String::from_utf8_lossy(path);
        assert_eq!(kept.bytes, parts[path].bytes, "{name}");
        let same = ["empty", "below", "equal"].contains(&&*name);
        assert_eq!(kept.entry.object == parts[path].entry.object, same, "{name}");
    }
    // A size that is a multiple ends with an empty part of its own, as in Kopia.
    let repository = world.open();
    let mut ends = repository.object_parts(parts[&b"twice"[..]].entry.object.unwrap());
    let mut lens = Vec::new();
    while let Some(part) = windlass_mover::blocking::block_on(ends.next(&repository)).unwrap() {
        lens.push(part.len.unwrap());
    }
    let chunk = 128 << 10;
    let last = len as u64 - 2 * chunk;
    assert_eq!(lens, [chunk, chunk, last, chunk, chunk, last, 0]);
}

#[test]
fn small_files_above_a_small_part_size_are_cut_too() {
    // They were read whole by the thread that looks at them, which knew of no parts.
    let world = World::new();
    world.file("small", noise(5, 10_000));
    world.policy(&Policy {
        upload: UploadPolicy {
            parallel_upload_above_size: Some(4_000),
            ..UploadPolicy::default()
        },
        ..Policy::default()
    });
    let report = both(&world);
    let tree = world.tree(&report);
    let repository = world.open();
    let mut parts = repository.object_parts(tree[&b"small"[..]].entry.object.unwrap());
    let mut lens = Vec::new();
    while let Some(part) = windlass_mover::blocking::block_on(parts.next(&repository)).unwrap() {
        lens.push(part.len.unwrap());
    }
    assert_eq!(lens, [4000, 4000, 2000]);
}

#[test]
fn sparse_files_and_empty_folders_are_whole() {
    let world = World::new();
    world.directory("empty/in/empty");
    let file = fs::File::create(world.path("sparse")).unwrap();
    file.set_len(20 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"island", 9_999_999).unwrap();
    drop(file);
    let report = both(&world);
    let tree = world.tree(&report);
    let sparse = &tree[&b"sparse"[..]].bytes;
    assert_eq!(sparse.len(), 20 << 20);
    assert_eq!(&sparse[9_999_999..10_000_005], b"island");
    assert_eq!(sparse.iter().filter(|byte| **byte != 0).count(), 6);
    assert!(report.written.stored_bytes < 1 << 20, "empty regions are one content");
    assert_eq!(tree[&b"empty/in/empty"[..]].entry.kind, EntryKind::Directory);
    assert_eq!(report.manifest.stats.dir_count, 4);
}

#[test]
fn rules_caches_and_sizes_keep_entries_out() {
    let world = World::new();
    world
        .file(".kopiaignore", "*.tmp\n/skipped/\n")
        .file("a.tmp", "1")
        .file("kept", "2")
        .file("skipped/x", "3");
    world
        .file("sub/b.tmp", "4")
        .file("sub/c", vec![0; 2001])
        .file("sub/d", vec![0; 2000]);
    world
        .file("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")
        .file("cache/data", "5");
    world
        .file("not-cache/CACHEDIR.TAG", "Signature: none")
        .file("not-cache/data", "6");
    world.policy(&Policy {
        files: FilesPolicy {
            max_file_size: 2000,
            ignore_dot_files: vec![".kopiaignore".to_owned()],
            ..FilesPolicy::default()
        },
        ..Policy::default()
    });
    let report = both(&world);
    let expected = [
        "",
        ".kopiaignore",
        "cache",
        "kept",
        "not-cache",
        "not-cache/CACHEDIR.TAG",
        "not-cache/data",
        "sub",
        "sub/d",
    ];
    assert_eq!(names(&world.tree(&report)), expected);
    assert!(!report.is_partial());
    let stats = report.manifest.stats;
    assert_eq!((stats.excluded_file_count, stats.excluded_dir_count), (3, 1));
    assert_eq!(stats.excluded_total_size, 2003);
}

#[test]
fn rules_behind_a_link_are_obeyed_and_broken_ones_hide_their_folder() {
    // A link was taken for no rules at all, and what they keep out was stored. Kopia follows it, and stores nothing of
    // a folder whose rules it cannot find.
    let world = World::new();
    world
        .file("rules/list", "*.tmp\n")
        .file("a.tmp", "1")
        .file("kept", "2")
        .link(".kopiaignore", "rules/list");
    world.file("broken/x", "3").link("broken/.kopiaignore", "nowhere");
    world.file("odd/x", "4").link("odd/.kopiaignore", "/");
    world.file("folder/.kopiaignore/x", "5");
    let report = both(&world);
    let expected = [
        "",
        ".kopiaignore",
        "folder",
        "folder/.kopiaignore",
        "folder/.kopiaignore/x",
        "kept",
        "rules",
        "rules/list",
    ];
    assert_eq!(names(&world.tree(&report)), expected);
    assert_eq!(report.failure_count, 2);
    assert!(report.failures.iter().all(|failure| failure.is_directory));
}

/// Mounts something for as long as it lives; `None` where the system does not let us.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(arguments: &[&str], on: &Path) -> Option<Self> {
        let done = std::process::Command::new("mount").args(arguments).arg(on).output();
        if !done.is_ok_and(|done| done.status.success()) {
            skipped("cannot mount here");
            return None;
        }
        Some(Self(on.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn other_file_systems_are_left_out_where_the_policy_says_so() {
    let world = World::new();
    world
        .file("here", "1")
        .directory("elsewhere")
        .file("bound", "")
        .file("rather", "");
    let outside = tempfile::tempdir().unwrap();
    let Some(_elsewhere) = Mounted::new(&["-t", "tmpfs", "none"], &world.path("elsewhere")) else {
        return;
    };
    world.file("elsewhere/inside", "2").file("elsewhere/file", "3");
    let Some(_outside) = Mounted::new(&["-t", "tmpfs", "none"], outside.path()) else {
        return;
    };
    fs::write(outside.path().join("file"), "4").unwrap();
    let source = outside.path().join("file");
    let Some(_bound) = Mounted::new(&["--bind", source.to_str().unwrap()], &world.path("bound")) else {
        return;
    };
    let all = world.tree(&both(&world));
    assert_eq!(all[&b"elsewhere/inside"[..]].bytes, b"2");
    assert_eq!(all[&b"bound"[..]].bytes, b"4");
    world.policy(&Policy {
        files: FilesPolicy {
            one_file_system: Some(true),
            ..FilesPolicy::default()
        },
        ..Policy::default()
    });
    let report = both(&world);
    assert_eq!(names(&world.tree(&report)), ["", "here", "rather"]);
    assert!(!report.is_partial());
}

fn many_files(world: &World, folder: &str, count: usize) {
    world.directory(folder);
    let directory = fs::File::open(world.path(folder)).unwrap();
    for number in 0..count {
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(&directory, format!("file-{number:07}"), FileType::RegularFile, mode, 0).unwrap();
    }
}

/// A run of all tests asks for the long ones too.
fn is_full() -> bool {
    std::env::var("WINDLASS_TESTS").is_ok_and(|scale| scale == "full")
}

#[test]
fn a_folder_may_have_very_many_entries() {
    let world = World::for_many_files();
    let count = if is_full() { 1_000_000 } else { 200_000 };
    many_files(&world, "many", count);
    world.file("many/file-0000007", "seven");
    let repository = world.open();
    let report = world.snapshot(&repository);
    let summary = report.manifest.root_entry.clone().unwrap().summary.unwrap();
    assert_eq!((summary.files, summary.size), (count as u64, 5));
    let again = world.snapshot(&repository);
    assert_eq!(again.root(), report.root());
    assert_eq!(
        again.manifest.stats.cached_files, count as u64,
        "the window moves over the whole earlier folder"
    );
    assert_eq!(again.bytes_read, 0);
}

/// Makes folders one in the other, however long the path becomes.
fn descend(world: &World, levels: usize) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(world.folder.path(), flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755)).unwrap();
        at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    at
}

#[test]
fn paths_may_be_longer_than_the_system_takes() {
    let world = World::new();
    let levels = 2_500;
    let deepest = descend(&world, levels);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(deepest.as_fd(), "file", flags, Mode::from_raw_mode(0o600)).unwrap();
    rustix::io::write(&file, b"down here").unwrap();
    let report = both(&world);
    assert_eq!(report.failure_count, 0, "{:?}", report.failures);
    let summary = report.manifest.root_entry.clone().unwrap().summary.unwrap();
    assert_eq!((summary.files, summary.dirs, summary.size), (1, levels as u64 + 1, 9));
}

#[test]
fn the_root_may_be_a_file() {
    let world = World::new();
    world.file("alone", noise(3, 700_000)).file("empty", "");
    for name in ["alone", "empty"] {
        let path = world.path(name);
        for single_thread in [true, false] {
            let options = SnapshotOptions {
                single_thread,
                ..world.options_of(&path)
            };
            let report = world.snapshot_with(&world.open(), &options);
            let stats = report.manifest.stats;
            assert_eq!((stats.file_count, stats.non_cached_files, stats.dir_count), (1, 0, 0));
            let root = report.manifest.root_entry.clone().unwrap();
            assert_eq!((root.kind.clone(), &root.name[..]), (EntryKind::File, name.as_bytes()));
            let summary = root.summary.clone().unwrap();
            assert_eq!((summary.files, summary.dirs, summary.max_time), (1, 0, root.mtime));
            assert_eq!(world.tree(&report)[&b""[..]].bytes, fs::read(&path).unwrap());
        }
    }
}

#[test]
fn a_volume_is_a_folder_with_one_file() {
    let world = World::new();
    world.file("disk", noise(4, 3_000_000));
    let path = world.path("disk");
    let mut roots = Vec::new();
    for single_thread in [true, false] {
        let options = SnapshotOptions {
            block_device: true,
            single_thread,
            ..world.options_of(&path)
        };
        let report = world.snapshot_with(&world.open(), &options);
        let root = report.manifest.root_entry.clone().unwrap();
        assert_eq!(root.kind, EntryKind::Directory);
        let tree = world.tree(&report);
        assert_eq!(tree.len(), 2);
        assert_eq!(tree[&b"disk"[..]].bytes, fs::read(&path).unwrap());
        roots.push(root.object);
    }
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn a_root_that_cannot_be_one_is_refused() {
    let world = World::new();
    make_node(&world.path("pipe"), FileType::Fifo, (0, 0));
    world.directory("folder");
    let repository = world.open();
    for (name, block_device) in [("pipe", false), ("pipe", true), ("nothing", false), ("folder", true)] {
        let options = SnapshotOptions {
            block_device,
            ..world.options_of(&world.path(name))
        };
        let refused = snapshot_of(&repository, &options).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
    assert_eq!(world.list(&repository).len(), 0);
}
