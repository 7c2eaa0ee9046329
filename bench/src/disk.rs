//! The disk room: caches made cold, writes waited for, free space, and whether two trees are the same.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Result;

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Whether caches can be dropped here: only root may.
pub fn may_drop_caches() -> bool {
    fs::OpenOptions::new().write(true).open(DROP_CACHES).is_ok()
}

/// Drops what the system remembers of files and folders. What waits to be written stays, so [`sync`] comes first.
pub fn drop_caches() -> Result<()> {
    fs::write(DROP_CACHES, "3").map_err(|error| format!("cannot write {DROP_CACHES}: {error}"))
}

/// Waits until all that was written to the file system of a folder is on its disk.
pub fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| format!("cannot sync {}: {error}", folder.display()))
}

/// Bytes that may still be written to the file system of a folder.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let status = rustix::fs::statvfs(folder).map_err(|error| format!("cannot ask {}: {error}", folder.display()))?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Removes a folder and all in it; one that is not there is fine.
pub fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Moves a folder into another one, under a name that nothing has there; one that is not there is fine.
pub fn set_aside(folder: &Path, aside: &Path) -> Result<()> {
    let place = (0u64..).map(|number| aside.join(number.to_string()));
    let free = place
        .into_iter()
        .find(|place| !place.exists())
        .expect("numbers do not end");
    match fs::rename(folder, &free) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot move {} away: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a folder and those above it.
pub fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

/// The regular files below a folder, sorted, by their paths from there.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = waiting.pop() {
        let listed = fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        for entry in listed.map_err(|error| format!("cannot list {}: {error}", folder.display()))? {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            } else {
                let below = path.strip_prefix(root).expect("it was found below");
                files.push(below.to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Checks that two folders hold the same files with the same bytes.
pub fn assert_same(source: &Path, copy: &Path) -> Result<()> {
    let names = files(source)?;
    if names != files(copy)? {
        return Err(format!("{} has other files than {}", copy.display(), source.display()));
    }
    let mut buffers = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for name in names {
        let (one, other) = (source.join(&name), copy.join(&name));
        let same = same_bytes(&one, &other, &mut buffers);
        if !same.map_err(|error| format!("cannot compare {}: {error}", other.display()))? {
            return Err(format!("{} has other bytes than {}", other.display(), one.display()));
        }
    }
    Ok(())
}

fn same_bytes(one: &Path, other: &Path, buffers: &mut (Vec<u8>, Vec<u8>)) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.size() != other.metadata()?.size() {
        return Ok(false);
    }
    loop {
        let read = one.read(&mut buffers.0)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut buffers.1[..read])?;
        if buffers.0[..read] != buffers.1[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::assert_same;

    #[test]
    fn a_byte_more_or_another_one_or_a_file_less_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        for (root, text) in [(&one, "kept"), (&other, "held")] {
            std::fs::create_dir_all(root.join("below")).unwrap();
            std::fs::write(root.join("below/file"), text).unwrap();
        }
        assert!(assert_same(&one, &other).unwrap_err().contains("other bytes"));
        std::fs::write(other.join("below/file"), "kept").unwrap();
        assert_same(&one, &other).unwrap();
        std::fs::write(other.join("below/file"), "kept.").unwrap();
        assert!(assert_same(&one, &other).unwrap_err().contains("other bytes"));
        std::fs::remove_file(other.join("below/file")).unwrap();
        assert!(assert_same(&one, &other).unwrap_err().contains("other files"));
    }
}
