//! The odd disk: a file system of the tests' own, whose files fail in the middle, come in small pieces, or become shorter while
//! they are read.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, MountOption,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};
use windlass_tests::{Need, Seed, Shape, World};

const FORGOTTEN_AT_ONCE: Duration = Duration::ZERO;

/// How a file behaves when it is read.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// As any file.
    Well,
    /// From the middle on, reading fails.
    FailsInTheMiddle,
    /// Each read gives at most 1,000 bytes.
    InPieces,
    /// It says that it has all its bytes, and ends in the middle.
    EndsInTheMiddle,
}

struct OddFile {
    name: &'static str,
    manner: Manner,
    bytes: Vec<u8>,
}

/// One folder of odd files.
struct OddDisk(Vec<OddFile>);

impl OddDisk {
    fn new() -> Self {
        let mut seed = Seed::new(5);
        let mut file = |name, manner, length| OddFile {
            name,
            manner,
            bytes: seed.bytes(length),
        };
        Self(vec![
            file("broken", Manner::FailsInTheMiddle, 6_000_000),
            file("broken small", Manner::FailsInTheMiddle, 30_000),
            file("ending", Manner::EndsInTheMiddle, 6_000_000),
            file("ending small", Manner::EndsInTheMiddle, 30_000),
            file("pieces", Manner::InPieces, 5_000_000),
            file("pieces small", Manner::InPieces, 30_000),
            file("well", Manner::Well, 5_000_000),
        ])
    }

    fn file(&self, inode: INodeNo) -> Option<&OddFile> {
        self.0.get(usize::try_from(u64::from(inode)).ok()?.checked_sub(2)?)
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let file = self.file(inode);
        if file.is_none() && inode != INodeNo::ROOT {
            return None;
        }
        let size = file.map_or(0, |file| file.bytes.len() as u64);
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            ctime: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            crtime: UNIX_EPOCH,
            kind: if file.is_some() {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if file.is_some() { 0o644 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        })
    }
}

impl Filesystem for OddDisk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let place = self.0.iter().position(|file| file.name == name);
        let found = place.filter(|_| parent == INodeNo::ROOT);
        match found.and_then(|place| self.attributes(INodeNo(place as u64 + 2))) {
            Some(attributes) => reply.entry(&FORGOTTEN_AT_ONCE, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&FORGOTTEN_AT_ONCE, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache, so that every read is answered here, and as it is answered here.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = self.file(inode) else {
            return reply.error(Errno::ENOENT);
        };
        let (length, middle) = (file.bytes.len(), file.bytes.len() / 2);
        let start = usize::try_from(offset).unwrap_or(length).min(length);
        let end = start.saturating_add(size as usize).min(length);
        match file.manner {
            Manner::FailsInTheMiddle if end > middle => reply.error(Errno::EIO),
            Manner::EndsInTheMiddle => reply.data(&file.bytes[start.min(middle)..end.min(middle)]),
            Manner::InPieces => reply.data(&file.bytes[start..end.min(start + 1_000)]),
            _ => reply.data(&file.bytes[start..end]),
        }
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if inode != INodeNo::ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let folders = [".", ".."].map(|name| (INodeNo::ROOT, FileType::Directory, name));
        let files = self.0.iter().enumerate();
        let files = files.map(|(place, file)| (INodeNo(place as u64 + 2), FileType::RegularFile, file.name));
        let entries = folders.into_iter().chain(files).enumerate();
        for (place, (inode, kind, name)) in entries.skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(inode, place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// Mounts the odd disk; says why it cannot. A machine may have no FUSE although all else that the tests need is there.
fn mount(at: &Path) -> Option<fuser::BackgroundSession> {
    std::fs::create_dir(at).expect("the world's folder is ours");
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("odd".to_owned())];
    match fuser::spawn_mount(OddDisk::new(), at, &config) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            println!("skipped: a file system of one's own cannot be mounted here: {error}");
            None
        }
    }
}

#[test]
fn files_that_fail_come_in_pieces_or_become_shorter_do_no_harm_to_others() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let source = world.path("source");
    let Some(mounted) = mount(&source) else { return };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    windlass.init(&Shape::default());
    kopia.connect();
    for engine in ["threads", "auto"] {
        let options = ["--engine", engine, "--force-read"];
        let outcome = windlass.try_snapshot(&source, &options).exits_with(3);
        let said = outcome.stderr.clone();
        let json = outcome.json();
        println!("{engine}: {json}\n{said}");
        assert_eq!(json["errorCount"], 2, "{json}");
        let id = json["id"].as_str().expect("a partial snapshot is filed");
        let restored = world.path("restored");
        windlass.restore(id, &restored);
        for OddFile { name, manner, bytes } in OddDisk::new().0 {
            let found = std::fs::read(restored.join(name)).ok();
            match manner {
                Manner::Well | Manner::InPieces => assert!(found == Some(bytes), "{engine}: {name}"),
                Manner::FailsInTheMiddle => assert_eq!(found, None, "{engine}: {name}"),
                Manner::EndsInTheMiddle => assert!(
                    found.as_deref() == Some(&bytes[..bytes.len() / 2]),
                    "{engine}: {name} has {:?} bytes",
                    found.map(|found| found.len())
                ),
            }
        }
        std::fs::remove_dir_all(&restored).expect("the world's folder is ours");
    }
    kopia.verify_all();
    windlass.verify_all();
    mounted.umount_and_join().expect("nobody uses the odd disk any more");
}
