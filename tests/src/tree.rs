//! The nursery: trees to back up, grown from a seed, with every kind of entry the world has.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev, mknodat, utimensat};

use crate::Seed;

/// A time with nanoseconds, 2009-02-13T23:31:30.123456789Z, as nanoseconds since 1970.
pub const ODD: i128 = 1_234_567_890_123_456_789;
/// A time before 1970, 1960-06-29, with nanoseconds.
pub const SIXTIES: i128 = -300_000_000_123_456_789;

/// What an entry carries besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// The permission word: nine bits, setuid, setgid, sticky.
    pub mode: u32,
    /// Owner and group; anything but the caller's own needs root.
    pub owner: Option<(u32, u32)>,
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            mode: 0o644,
            owner: None,
            mtime_ns: ODD,
        }
    }
}

/// A tree under construction. Its methods panic where the machine refuses: a story cannot go on without its source.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// A new tree, or more growth on one that is there.
    pub fn grow(root: &Path) -> Self {
        must(root, fs::create_dir_all(root));
        Self { root: root.to_owned() }
    }

    /// The folder it grows in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn place(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.root.join(name.as_ref());
        let parent = path.parent().expect("a name below the root has a parent");
        must(parent, fs::create_dir_all(parent));
        path
    }

    /// A folder.
    pub fn folder(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.place(name);
        must(&path, fs::create_dir_all(&path));
        path
    }

    /// A file of these bytes with the usual attributes.
    pub fn file(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> PathBuf {
        self.file_with(name, bytes, Attributes::default())
    }

    /// A file of these bytes.
    pub fn file_with(&self, name: impl AsRef<OsStr>, bytes: &[u8], attributes: Attributes) -> PathBuf {
        let path = self.place(name);
        must(&path, fs::write(&path, bytes));
        set(&path, attributes);
        path
    }

    /// A file of zeros that takes no room, with some bytes in the midst of it.
    pub fn sparse(&self, name: impl AsRef<OsStr>, length: u64, island: &[u8]) -> PathBuf {
        let path = self.place(name);
        let file = must(&path, File::create(&path));
        must(&path, file.set_len(length));
        must(
            &path,
            std::os::unix::fs::FileExt::write_all_at(&file, island, length / 2),
        );
        drop(file);
        set(&path, Attributes::default());
        path
    }

    /// A symbolic link.
    pub fn link(&self, name: impl AsRef<OsStr>, target: impl AsRef<OsStr>, mtime_ns: i128) -> PathBuf {
        let path = self.place(name);
        must(&path, symlink(target.as_ref(), &path));
        age(&path, mtime_ns);
        path
    }

    /// A fifo, device or socket: kinds that the format cannot hold.
    pub fn special(&self, name: &str, kind: FileType) {
        let path = self.place(name);
        if kind == FileType::Socket {
            must(&path, UnixListener::bind(&path));
        } else {
            must(
                &path,
                mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), makedev(1, 3)),
            );
        }
    }

    /// Gives every folder a time that does not depend on when it was made. Last of all: every change below a folder changes its time.
    pub fn settle(&self) {
        let mut waiting = vec![self.root.clone()];
        while let Some(folder) = waiting.pop() {
            for child in must(&folder, fs::read_dir(&folder)).flatten() {
                if child.file_type().is_ok_and(|kind| kind.is_dir()) {
                    waiting.push(child.path());
                }
            }
            age(&folder, ODD + folder.as_os_str().len() as i128);
        }
    }

    /// Some files of these lengths, of bytes that no compressor shrinks, in two folders.
    pub fn sized(root: &Path, seed: u64, lengths: &[usize]) -> Self {
        // Another seed, another time: equal times and lengths would be taken as unchanged.
        let attributes = Attributes {
            mtime_ns: ODD + i128::from(seed),
            ..Attributes::default()
        };
        let (tree, mut seed) = (Self::grow(root), Seed::new(seed));
        for (number, &length) in lengths.iter().enumerate() {
            let name = format!("{}/random-{number}-{length}", number % 2);
            tree.file_with(name, &seed.bytes(length), attributes);
        }
        tree.settle();
        tree
    }

    /// A small tree for the rows of the matrix: several chunks of the splitter's average length, and the plain kinds of entries.
    pub fn small(root: &Path, seed: u64, chunk_bytes_average: usize) -> Self {
        let (tree, mut seed) = (Self::grow(root), Seed::new(seed));
        tree.file("empty", b"");
        tree.file("one-byte", b"x");
        tree.file("several-chunks", &seed.bytes(chunk_bytes_average * 5 / 2));
        tree.file("folder/prose", &seed.prose(1_500_001));
        tree.file("folder/100000-of-one-byte", &[0xa5; 100_000]);
        tree.file("folder/&<>\u{e9}", &seed.prose(300));
        tree.file_with(
            "folder/program",
            b"#!/bin/sh\n",
            Attributes {
                mode: 0o4755,
                mtime_ns: SIXTIES,
                ..Attributes::default()
            },
        );
        tree.link("link", "folder/prose", ODD);
        tree.folder("empty-folder");
        tree.settle();
        tree
    }

    /// Every kind of entry and every metadata field the format knows, and what it cannot hold. Needs root.
    pub fn every_kind(root: &Path, seed: u64) -> Self {
        let (tree, mut seed) = (Self::grow(root), Seed::new(seed));
        tree.file("sizes/empty", b"");
        tree.file("sizes/one-byte", b"x");
        tree.file("sizes/100000-of-one-byte", &[0xa5; 100_000]);
        tree.file("sizes/prose", &seed.prose(5_000_000));
        tree.sparse("sizes/sparse", 40 << 20, b"island");
        tree.names();
        tree.modes();
        tree.times();
        tree.links();
        for (name, kind) in [
            ("special/fifo", FileType::Fifo),
            ("special/character-device", FileType::CharacterDevice),
            ("special/block-device", FileType::BlockDevice),
            ("special/socket", FileType::Socket),
        ] {
            tree.special(name, kind);
        }
        tree.file(format!("deep{}/bottom", "/level".repeat(60)), b"bottom\n");
        tree.settle();
        // These two times are what the story is about, so they come after the settling.
        age(&tree.root.join("times/folder-of-1960"), SIXTIES);
        age(&tree.root.join("times/folder-of-1970"), 0);
        tree
    }

    fn names(&self) {
        let long = "n".repeat(255);
        let names: [&[u8]; 27] = [
            b"&<>",
            b"quote\"back\\slash",
            b"new\nline",
            b"tab\there",
            b"bell\x07",
            b"back\x08space",
            b"form\x0cfeed",
            b"return\rhere",
            b"delete\x7f",
            "line\u{2028}separator\u{2029}".as_bytes(),
            "na\u{ef}ve-\u{65e5}\u{672c}\u{8a9e}-\u{1f980}".as_bytes(),
            "cafe\u{301}".as_bytes(),
            "caf\u{e9}".as_bytes(),
            "genuine-\u{fffd}".as_bytes(),
            b"bad-\xff-byte",
            b"cut-\xe6\x97-short",
            b"surrogate-\xed\xa0\x80",
            b"overlong-\xc0\xaf",
            b" spaces ",
            b"-dash",
            b"..three",
            b"A",
            b"a",
            b"a.b",
            b"a-b",
            b"*?[x]",
            long.as_bytes(),
        ];
        for name in names {
            self.file(OsStr::from_bytes(&[b"names/", name].concat()), name);
        }
        self.file("names/a folder/inside", b"inside\n");
        self.folder("names/Z-folder");
        self.folder(format!("names/{}", "\u{fc}".repeat(127)));
    }

    fn modes(&self) {
        for mode in [
            0o000, 0o400, 0o600, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o4000,
        ] {
            self.file_with(
                format!("modes/{mode:04o}"),
                b"mode\n",
                Attributes {
                    mode,
                    ..Attributes::default()
                },
            );
        }
        for mode in [0o000, 0o700, 0o1777, 0o2755, 0o3770] {
            self.file(format!("modes/folder-{mode:04o}/inside"), b"inside\n");
            set_mode(&self.root.join(format!("modes/folder-{mode:04o}")), mode);
        }
        for owner in [(12345, 54321), (4_294_967_294, 4_294_967_294), (0, 7)] {
            let attributes = Attributes {
                owner: Some(owner),
                ..Attributes::default()
            };
            self.file_with(format!("modes/owner-{}-{}", owner.0, owner.1), b"owned\n", attributes);
        }
        let owned = self.folder("modes/folder-of-12345");
        must(&owned, chown(&owned, Some(12345), Some(0)));
    }

    fn times(&self) {
        for (name, mtime_ns) in [
            ("1902", -2_145_916_800_000_000_001),
            ("1960", SIXTIES),
            ("last-nanosecond-of-1969", -1),
            ("1970", 0),
            ("first-nanosecond-of-1970", 1),
            ("no-fraction", 1_000_000_000_000_000_000),
            ("fraction-12", 1_000_000_000_120_000_000),
            ("2099", 4_085_164_800_999_999_999),
        ] {
            self.file_with(
                format!("times/{name}"),
                b"then\n",
                Attributes {
                    mtime_ns,
                    ..Attributes::default()
                },
            );
        }
        self.folder("times/folder-of-1960");
        self.folder("times/folder-of-1970");
        let attributes = Attributes {
            mtime_ns: ODD * 2,
            ..Attributes::default()
        };
        self.file_with("times/folder-older-than-its-file/new", b"new\n", attributes);
    }

    fn links(&self) {
        self.link("links/relative", "../sizes/one-byte", ODD);
        let dangling = self.link("links/dangling", "/nonexistent/absolute", ODD);
        must(&dangling, lchown(&dangling, Some(12345), Some(54321)));
        age(&dangling, ODD + 1);
        self.link("links/to-folder", "..", ODD);
        self.link("links/long", "t".repeat(4000), ODD);
        self.link("links/not-utf-8", OsStr::from_bytes(b"bad-\xff-byte"), ODD);
        self.link("links/from-1960", "1960", SIXTIES);
        let first = self.file("links/hard-1", b"one inode, two names\n");
        must(&first, fs::hard_link(&first, self.root.join("links/hard-2")));
    }
}

fn set(path: &Path, attributes: Attributes) {
    if let Some((uid, gid)) = attributes.owner {
        must(path, chown(path, Some(uid), Some(gid)));
    }
    set_mode(path, attributes.mode);
    age(path, attributes.mtime_ns);
}

fn set_mode(path: &Path, mode: u32) {
    must(path, fs::set_permissions(path, fs::Permissions::from_mode(mode)));
}

/// Sets the modification time of a file, folder or link.
fn age(path: &Path, mtime_ns: i128) {
    let time = Timespec {
        tv_sec: i64::try_from(mtime_ns.div_euclid(1_000_000_000)).expect("no file system knows such years"),
        tv_nsec: i64::try_from(mtime_ns.rem_euclid(1_000_000_000)).expect("below a thousand million"),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    must(path, utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW));
}

fn must<T, E: std::fmt::Display>(path: &Path, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
