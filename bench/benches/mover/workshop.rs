//! The building yard: repositories in memory that cost nothing to have again, and folders of files that are in memory too.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use windlass_mover::blocking::block_on;
use windlass_mover::clock::SystemClock;
use windlass_mover::repository::{CreateOptions, OpenOptions, Unlock};
use windlass_mover::snapshot::{self, Progress, SnapshotOptions, SnapshotReport};
use windlass_mover::storage::{BlobRange, Memory, PutOptions, Storage};
use windlass_mover::{Identity, Repository};
use windlass_repo_format::format_blob::{BLOB_CONFIG_NAME, FORMAT_BLOB_NAME};
use windlass_repo_format::hashing::HashAlgorithm;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::snapshot::SourceInfo;

use super::forgetful::Forgetful;
use crate::material::{EXTENT_LEN, KIB, MIB, amount, noise};

const FILES_PER_FOLDER: usize = 100;

/// As Kopia makes repositories by default.
pub(super) static KOPIAS: LazyLock<Empty> = LazyLock::new(|| Empty::new(HashAlgorithm::Blake2b256_128));
/// As Windlass makes them by default.
pub(super) static OURS: LazyLock<Empty> = LazyLock::new(|| Empty::new(HashAlgorithm::Blake3_256_128));

/// A repository without contents. Its key was derived once.
pub(super) struct Empty {
    made: Repository,
}

impl Empty {
    fn new(hash: HashAlgorithm) -> Self {
        let create = CreateOptions {
            hash,
            ..CreateOptions::default()
        };
        let made = Repository::create(memory(), "secret", &create, options());
        Self {
            made: block_on(made).expect("memory takes all blobs"),
        }
    }

    /// The name of what decides how fast it is.
    pub(super) fn name(&self) -> &'static str {
        self.made.format().hash.name()
    }

    /// Another one just like it, in a storage of its own.
    pub(super) fn again(&self) -> Repository {
        self.copied_to(memory())
    }

    /// One that loses the bytes of files, so that it can be written to for ever and gives the memory of packs back.
    pub(super) fn forgetful(&self) -> Repository {
        self.copied_to(Arc::new(Forgetful::default()))
    }

    fn copied_to(&self, storage: Arc<dyn Storage>) -> Repository {
        for name in [BLOB_CONFIG_NAME, FORMAT_BLOB_NAME] {
            let id = BlobId::from(name);
            let blob = block_on(self.made.storage().read(&id, BlobRange::Whole)).expect("a new repository has it");
            block_on(storage.put(&id, blob, &PutOptions::default())).expect("memory takes all blobs");
        }
        let key = Unlock::Key(self.made.format_key().clone());
        block_on(Repository::open(storage, key, options())).expect("it is the same repository")
    }
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(Memory::new(Arc::new(SystemClock)))
}

fn options() -> OpenOptions {
    OpenOptions::new(Identity {
        user: "u".to_owned(),
        host: "h".to_owned(),
    })
}

/// Where files are in memory: a container may have no such place, or a tiny one.
static MEMORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(shared).map_or(0, |about| about.f_bavail * about.f_frsize);
    if free > 4 * large_len() as u64 {
        return shared.to_owned();
    }
    let temporary = std::env::temp_dir();
    eprintln!(
        "no room in {}: what is called memory is {}",
        shared.display(),
        temporary.display()
    );
    temporary
});

/// A folder in memory, or where temporary files go.
pub(super) fn folder_in_memory() -> TempDir {
    let made = TempDir::with_prefix_in("windlass-bench-", &*MEMORY);
    made.expect("temporary files can be made there")
}

/// A folder on the disk on which this was built.
pub(super) fn folder_on_disk() -> TempDir {
    let made = TempDir::with_prefix_in("windlass-bench-", env!("CARGO_TARGET_TMPDIR"));
    made.expect("cargo made this folder for temporary files")
}

/// Bytes of a large file to be backed up.
fn large_len() -> usize {
    amount(512 * MIB, MIB)
}

/// Something to be backed up, in memory.
pub(super) struct Tree {
    folder: TempDir,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Tree {
    /// One file that is cut into many chunks.
    pub(super) fn large() -> Self {
        let len = large_len();
        let folder = folder_in_memory();
        fs::write(folder.path().join("volume.img"), noise(len, 12)).expect("there is room in memory");
        Self {
            folder,
            files: 1,
            bytes: len as u64,
        }
    }

    /// Many files of a page each.
    pub(super) fn small() -> Self {
        let (files, len) = (amount(10_000, 20), 4 * KIB);
        let folder = folder_in_memory();
        let bytes = noise(files * len, 13);
        for (number, bytes) in bytes.chunks(len).enumerate() {
            let parent = folder.path().join(format!("folder-{:04}", number / FILES_PER_FOLDER));
            if number % FILES_PER_FOLDER == 0 {
                fs::create_dir(&parent).expect("its name is new");
            }
            fs::write(parent.join(format!("file-{number:06}")), bytes).expect("there is room in memory");
        }
        Self {
            folder,
            files: files as u64,
            bytes: (files * len) as u64,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Files and folders, the root left out.
    pub(super) fn entries(&self) -> u64 {
        self.files + self.files / FILES_PER_FOLDER as u64
    }

    /// The usual way to back it up.
    pub(super) fn options(&self) -> SnapshotOptions {
        let source = SourceInfo {
            host: "h".to_owned(),
            user_name: "u".to_owned(),
            path: self.path().to_string_lossy().into_owned(),
        };
        SnapshotOptions::new(self.path().to_owned(), source)
    }
}

/// Backs up; whatever is left out is a bug.
pub(super) fn snapshot(repository: &Repository, options: &SnapshotOptions) -> SnapshotReport {
    let (progress, stop) = (Arc::new(Progress::default()), Arc::new(AtomicBool::new(false)));
    let report = snapshot::create(repository, options, &progress, &stop).expect("memory can be read and written");
    assert!(!report.is_partial(), "{:?}", report.failures);
    report
}

/// The bytes of a file that is read in whole extents.
pub(super) fn file_len() -> usize {
    amount(256 * MIB, EXTENT_LEN)
}
