//! The larder: what was fetched from a repository's storage once and never changes, kept in files for the next run.
//!
//! Index blobs and contents are named for good: what a name stood for once it stands for always. So nothing here is ever
//! out of date, and all that can be wrong with a file is damage. Each file is checked as a whole when it is opened, and one
//! that is not what it should be is a file that is not there. Which index blobs count is asked of the storage each time.
//! Maintenance, verification and index recovery read the storage alone (`Repository::distrust_cache`), because it may have lost
//! what is still here.
//!
//! A file has its name only when it is complete (written under another name, then renamed), and is then never changed, only
//! removed. So several programs share a folder without locks, and one that is killed leaves a file without a proper name.
//! What is kept is as open as it is useful: index entries are content ids and names of packs, in the clear; contents are
//! sealed as in their packs. The folders are the user's alone (0700), the files can be read by him alone and written by
//! nobody (0400): a file that is cut while it is mapped would end the program.
//!
//! | bytes     | field  | meaning                                                                     |
//! |-----------|--------|-----------------------------------------------------------------------------|
//! | 0..n      | body   | what is kept                                                                |
//! | n..n+8    | length | n, little-endian                                                            |
//! | n+8..n+16 | mark   | `windlas1`                                                                  |
//! | n+16..    | check  | BLAKE3 with a key of the repository, of all before and the name of the file |
//!
//! Budget: the check takes 3 GB/s or more; bodies above 1 MiB are mapped and are not the program's memory.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use crate::mapped::{Mapped, PrivateFile, Reading, may_be_mapped};

/// What the key of the files is derived for.
pub(crate) const KEY_PURPOSE: &str = "windlass cache";
/// Bodies up to this many bytes are read into memory, larger ones are mapped.
const BODY_IN_MEMORY_MAX: u64 = 1 << 20;
/// There are never more files than this, however small: they are all looked at when there has to be room.
const FILES_MAX: u64 = 1 << 16;
/// What was used within this time is in use; what is used has its time renewed when half of this has passed.
const IN_USE: Duration = Duration::from_secs(120);
/// A file without a proper name that is older belongs to a program that was killed.
const UNFINISHED_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Files without a proper name begin so.
const UNFINISHED: &str = ".new-";
const MARK: &[u8; 8] = b"windlas1";
const TRAILER_LEN: usize = 8 + MARK.len() + blake3::OUT_LEN;
/// Where a file system that is not on this machine is copied from, so much is read at once.
const COPY_BYTES: usize = 1 << 20;
/// Tells programs that make copies of a disk that nothing is lost here.
const TAG: (&str, &[u8]) = (
    "CACHEDIR.TAG",
    b"Signature: 8a477f597d28d172789f06886806bc55\n# This folder can be removed at any time: Windlass fetches again what it needs.\n",
);

/// Where a repository may keep what it has read, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder of all caches. Each repository makes a folder of its own in it, named by its unique id, once it has
    /// something to keep.
    pub folder: PathBuf,
    /// How many bytes of files are kept. What was not used for longest goes first.
    pub bytes_max: u64,
    /// Whether contents of metadata packs are kept, too. They are directories and lists of snapshots, and not worth it where
    /// the storage is a disk of this machine.
    pub metadata: bool,
}

/// What a repository keeps at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    /// The repository's own folder. It may not be there yet.
    pub folder: PathBuf,
    /// The files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes there may be.
    pub bytes_max: u64,
}

/// A body as it was kept, byte for byte.
#[derive(Debug)]
pub(crate) enum Kept {
    Memory(Vec<u8>),
    Mapped(Mapped),
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(mapped) => mapped,
        }
    }
}

/// The cache of one repository. Whatever goes wrong in it, the caller goes on without.
pub(crate) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    metadata: bool,
    key: Zeroizing<[u8; 32]>,
    /// What there is, by the last count and what was added since; `None` before the first count.
    stock: Mutex<Option<Stock>>,
    /// Nothing is read or kept any more.
    is_off: AtomicBool,
    /// Keeping has failed once, and that has been said.
    is_unwritable: AtomicBool,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({})", self.folder.display())
    }
}

impl Cache {
    /// The cache of the repository with this id. Touches no file.
    pub(crate) fn new(settings: &CacheSettings, unique_id: &[u8], key: [u8; 32]) -> Self {
        Self {
            folder: settings.folder.join(hex::encode(unique_id)),
            bytes_max: settings.bytes_max,
            metadata: settings.metadata,
            key: Zeroizing::new(key),
            stock: Mutex::new(None),
            is_off: AtomicBool::new(false),
            is_unwritable: AtomicBool::new(false),
        }
    }

    /// Ends the use of this cache. True when it was in use before.
    pub(crate) fn turn_off(&self) -> bool {
        !self.is_off.swap(true, Ordering::Relaxed)
    }

    /// Whether contents of metadata packs are to be kept.
    pub(crate) fn keeps_metadata(&self) -> bool {
        self.metadata && !self.is_off.load(Ordering::Relaxed)
    }

    /// What was kept under a name; `None` when nothing was, or it is damaged.
    pub(crate) fn find(&self, name: &str) -> Option<Kept> {
        if self.is_off.load(Ordering::Relaxed) || !is_plain(name) {
            return None;
        }
        let path = self.folder.join(name);
        match self.open(&path, name) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                debug!(path = %path.display(), %error, "a file of the cache cannot be used");
                if error.kind() == io::ErrorKind::InvalidData {
                    let _ = fs::remove_file(&path); // whoever keeps it again replaces it anyway
                }
                None
            }
        }
    }

    /// Keeps bytes under a name for the next one who asks, if there is room. They must be all that the name can ever mean.
    pub(crate) fn keep(&self, name: &str, body: &[u8]) {
        let is_idle = self.is_off.load(Ordering::Relaxed) || self.is_unwritable.load(Ordering::Relaxed);
        if is_idle || !is_plain(name) {
            return;
        }
        if let Err(error) = self.try_keep(name, body)
            && !self.is_unwritable.swap(true, Ordering::Relaxed)
        {
            let folder = self.folder.display();
            warn!(%folder, %error, "nothing can be kept in the cache; going on without (--cache-dir)");
        }
    }

    /// What is there now.
    pub(crate) fn usage(&self) -> CacheUsage {
        let mut stock = Stock::default();
        // What cannot be looked at is as good as not there.
        let _ = self.each_file(&mut |_, about| stock.add(about.len()));
        CacheUsage {
            folder: self.folder.clone(),
            files: stock.files,
            bytes: stock.bytes,
            bytes_max: self.bytes_max,
        }
    }

    fn open(&self, path: &Path, name: &str) -> io::Result<Kept> {
        // Neither a link nor a pipe that somebody put there.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        let about = file.metadata()?;
        let body_len = about.len().checked_sub(TRAILER_LEN as u64);
        let body_len = body_len.filter(|_| about.is_file()).ok_or(io::ErrorKind::InvalidData)?;
        let mut trailer = [0; TRAILER_LEN];
        file.read_exact_at(&mut trailer, body_len).map_err(cut_short)?;
        // Before the bytes are looked at, which may be very many of a file that was made longer.
        if trailer[..8] != body_len.to_le_bytes() || trailer[8..16] != *MARK {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let kept = read_body(&file, body_len)?;
        if self.trailer(kept.as_ref(), name) != trailer {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Kept::Mapped(mapped) = &kept {
            mapped.will_be_read(Reading::HereAndThere);
        }
        let is_recent = about.modified().is_ok_and(|time| is_within(time, IN_USE / 2));
        if !is_recent {
            // Without the time it is forgotten earlier than it should be, and nothing else.
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(kept)
    }

    fn trailer(&self, body: &[u8], name: &str) -> [u8; TRAILER_LEN] {
        let mut trailer = [0; TRAILER_LEN];
        trailer[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
        trailer[8..16].copy_from_slice(MARK);
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(body).update(&trailer[..16]).update(name.as_bytes());
        trailer[16..].copy_from_slice(hasher.finalize().as_bytes());
        trailer
    }

    fn try_keep(&self, name: &str, body: &[u8]) -> io::Result<()> {
        let len = (body.len() + TRAILER_LEN) as u64;
        if !self.has_room_for(len)? {
            return Ok(());
        }
        // Removed again wherever what follows fails.
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(Permissions::from_mode(0o400))
            .tempfile_in(&self.folder)?;
        file.write_all(body)?;
        file.write_all(&self.trailer(body, name))?;
        // Not synced: what a power cut leaves of it is found to be damaged.
        file.persist(self.folder.join(name))?;
        Ok(())
    }

    /// Whether there is room for so many bytes more, after what was not used for longest had to go.
    fn has_room_for(&self, len: u64) -> io::Result<bool> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = match stock.take() {
            Some(counted) => counted,
            None => {
                make_folder(&self.folder)?;
                self.count()?.total
            }
        };
        let fits = |stock: &Stock| stock.bytes.saturating_add(len) <= self.bytes_max && stock.files < FILES_MAX;
        let mut now = counted;
        if !fits(&now) && !now.is_all_in_use && len <= self.bytes_max {
            now = self.make_room_for(len)?;
        }
        let is_room = fits(&now);
        if is_room {
            now.add(len);
        }
        *stock = Some(now);
        Ok(is_room)
    }

    fn make_room_for(&self, len: u64) -> io::Result<Stock> {
        let count = self.count()?;
        // A tenth more than is needed now, so that this is not done for each file.
        let bytes_wanted = (self.bytes_max - self.bytes_max / 10).saturating_sub(len);
        let files_wanted = FILES_MAX - FILES_MAX / 10;
        let mut left = count.total;
        let mut oldest_kept = AGES;
        while oldest_kept > 0 && (left.bytes > bytes_wanted || left.files > files_wanted) {
            oldest_kept -= 1;
            left.bytes = left.bytes.saturating_sub(count.ages[oldest_kept].bytes);
            left.files -= count.ages[oldest_kept].files;
        }
        let mut left = count.total;
        self.each_file(&mut |entry, about| {
            let is_old = age_of(about).is_some_and(|age| age >= oldest_kept);
            if is_old && fs::remove_file(entry.path()).is_ok() {
                left.bytes = left.bytes.saturating_sub(about.len());
                left.files = left.files.saturating_sub(1);
            }
        })?;
        // Looking again would find the same while this run lasts.
        left.is_all_in_use = oldest_kept == 0;
        debug!(files = left.files, bytes = left.bytes, "made room in the cache");
        Ok(left)
    }

    /// Counts what is there by age, and removes what a program that was killed has left.
    fn count(&self) -> io::Result<Count> {
        let mut count = Count::default();
        self.each_file(&mut |entry, about| {
            let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
            let is_old = about.modified().is_ok_and(|time| !is_within(time, UNFINISHED_MAX));
            if is_unfinished && is_old && fs::remove_file(entry.path()).is_ok() {
                return;
            }
            count.total.add(about.len());
            if let Some(age) = age_of(about) {
                count.ages[age].add(about.len());
            }
        })?;
        Ok(count)
    }

    fn each_file(&self, each: &mut dyn FnMut(&DirEntry, &fs::Metadata)) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // One that is gone meanwhile was removed by somebody else.
            if let Ok(about) = entry.metadata()
                && about.is_file()
                && entry.file_name() != OsStr::new(TAG.0)
            {
                each(&entry, &about);
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Stock {
    bytes: u64,
    files: u64,
    /// Nothing of it can go to make room.
    is_all_in_use: bool,
}

impl Stock {
    fn add(&mut self, len: u64) {
        self.bytes = self.bytes.saturating_add(len);
        self.files += 1;
    }
}

/// Hours for a month, and what is older: so what is old is found without a list of all files.
const AGES: usize = 24 * 31;

struct Count {
    total: Stock,
    ages: [Stock; AGES],
}

impl Default for Count {
    fn default() -> Self {
        Self {
            total: Stock::default(),
            ages: [Stock::default(); AGES],
        }
    }
}

/// How long ago a file was used, in hours; `None` while it is in use. A time that is yet to come is a very old one.
fn age_of(about: &fs::Metadata) -> Option<usize> {
    let modified = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    if is_within(modified, IN_USE) {
        return None;
    }
    let age = SystemTime::now().duration_since(modified).unwrap_or(Duration::MAX);
    Some(usize::try_from(age.as_secs() / 3600).map_or(AGES - 1, |hours| hours.min(AGES - 1)))
}

/// Whether a moment is nearer to now than this, on either side.
fn is_within(time: SystemTime, distance: Duration) -> bool {
    let from_now = SystemTime::now()
        .duration_since(time)
        .unwrap_or_else(|ahead| ahead.duration());
    from_now < distance
}

/// Names come from the storage, and only those that are surely names of files in this folder are used.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+');
    (1..=200).contains(&name.len()) && name.bytes().all(is_plain)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let tag = folder.join(TAG.0);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(tag) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => Ok(()),
        Ok(mut file) => file.write_all(TAG.1),
    }
}

fn read_body(file: &File, len: u64) -> io::Result<Kept> {
    if len <= BODY_IN_MEMORY_MAX {
        let mut body = vec![0; len as usize];
        file.read_exact_at(&mut body, 0).map_err(cut_short)?;
        return Ok(Kept::Memory(body));
    }
    if may_be_mapped(file) {
        return Mapped::of_finished_file(file, len).map(Kept::Mapped);
    }
    let mut copy = PrivateFile::create_in(&std::env::temp_dir())?;
    let mut part = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < len {
        let part_len = (len - offset).min(COPY_BYTES as u64);
        let part = &mut part[..part_len as usize];
        file.read_exact_at(part, offset).map_err(cut_short)?;
        copy.write_all(part)?;
        offset += part_len;
    }
    copy.map().map(Kept::Mapped)
}

fn cut_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
