//! The walking room: the tree of shard directories as a stream of blobs, one directory at a time.

use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use windlass_repo_format::id::BlobId;

use super::super::{BlobMetadata, StorageError};
use super::sharding::SUFFIX;

/// How many entries one step looks at.
const BATCH: usize = 512;

/// No `.shards` file asks for so many levels; what is deeper was not made by a repository.
const DEPTH_MAX: usize = 32;

/// A walk over the blobs below a root. Memory: one open directory per level and one batch.
#[derive(Debug)]
pub(super) struct Walk {
    prefix: String,
    levels: Vec<Level>,
}

/// A directory being read.
#[derive(Debug)]
struct Level {
    path: PathBuf,
    /// The directories' names from the root on, joined: how the names of all blobs in it begin.
    name: String,
    entries: ReadDir,
}

impl Walk {
    pub(super) fn start(root: &Path, prefix: &str) -> Result<Self, StorageError> {
        let entries = fs::read_dir(root).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StorageError::NoStorage {
                place: root.display().to_string(),
            },
            _ => cannot_list(root, source),
        })?;
        Ok(Self {
            prefix: prefix.to_owned(),
            levels: vec![Level {
                path: root.to_owned(),
                name: String::new(),
                entries,
            }],
        })
    }

    /// Some more blobs; `None` at the end. May be empty before the end.
    pub(super) fn step(&mut self) -> Result<Option<Vec<BlobMetadata>>, StorageError> {
        let mut found = Vec::new();
        for _ in 0..BATCH {
            let Some(level) = self.levels.last_mut() else {
                return Ok((!found.is_empty()).then_some(found));
            };
            match level.entries.next() {
                None => drop(self.levels.pop()),
                Some(Err(source)) => return Err(cannot_list(&level.path, source)),
                Some(Ok(entry)) => self.visit(&entry, &mut found)?,
            }
        }
        Ok(Some(found))
    }

    fn visit(&mut self, entry: &DirEntry, found: &mut Vec<BlobMetadata>) -> Result<(), StorageError> {
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else {
            return Ok(()); // no blob has such a name
        };
        let path = entry.path();
        let kind = entry.file_type().map_err(|source| cannot_list(&path, source))?;
        if kind.is_dir() {
            let name = format!("{}{file_name}", level.name);
            let wanted = name.starts_with(&self.prefix) || self.prefix.starts_with(&name);
            return if wanted && self.levels.len() < DEPTH_MAX {
                self.descend(path, name)
            } else {
                Ok(())
            };
        }
        let Some(stem) = file_name.strip_suffix(SUFFIX).filter(|stem| !stem.is_empty()) else {
            return Ok(());
        };
        let name = format!("{}{stem}", level.name);
        if !name.starts_with(&self.prefix) {
            return Ok(());
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => found.push(describe(name.into(), &metadata, &path)?),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // removed since it was named
            Err(source) => return Err(StorageError::from_io("look at", path.display().to_string(), source)),
        }
        Ok(())
    }

    fn descend(&mut self, path: PathBuf, name: String) -> Result<(), StorageError> {
        match fs::read_dir(&path) {
            Ok(entries) => self.levels.push(Level { path, name, entries }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(cannot_list(&path, source)),
        }
        Ok(())
    }
}

fn cannot_list(path: &Path, source: io::Error) -> StorageError {
    StorageError::from_io("list", path.display().to_string(), source)
}

/// What a file's metadata say of its blob.
pub(super) fn describe(id: BlobId, metadata: &fs::Metadata, path: &Path) -> Result<BlobMetadata, StorageError> {
    let modified = metadata
        .modified()
        .and_then(|time| Timestamp::try_from(time).map_err(io::Error::other))
        .map_err(|source| StorageError::from_io("tell the time of", path.display().to_string(), source))?;
    Ok(BlobMetadata {
        id,
        len: metadata.len(),
        modified,
    })
}
