//! The orchard: folders to back up, and what must come back of them, byte for byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use windlass_mover::blocking::block_on;
use windlass_mover::{MoverError, Repository};
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

use crate::dice::{Dice, part};

/// A folder: every path below it, and the bytes of its files.
pub type Tree = BTreeMap<String, Kept>;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A folder.
    Folder,
    /// A file of these bytes.
    File(Vec<u8>),
}

/// A file longer than one content: contents are cut every 128 KiB.
const LARGE_LEN: usize = 140_000;

/// The tree of a source at a version. Some files are the same in all versions, some in all sources, some change with each.
pub fn tree(source: &str, version: u64) -> Tree {
    let mut tree = Tree::new();
    let mut file = |path: &str, seed: u64, len: usize| {
        tree.insert(path.to_owned(), Kept::File(Dice::new(seed).bytes(len)));
    };
    let own: u64 = source.bytes().map(u64::from).sum();
    let changing = part(own, version);
    file("shared", 1, 3_000);
    file("d0/shared too", 2, 900);
    file("d0/own", own, 1_500);
    file("d0/deep/changing", changing, 700 + version as usize);
    file("d1/now and then", part(own, version / 2), 1_200);
    file("d1/empty", 0, 0);
    file("large", changing ^ 7, LARGE_LEN);
    tree.extend(["d0", "d0/deep", "d1"].map(|folder| (folder.to_owned(), Kept::Folder)));
    tree
}

/// Makes a folder be this tree. Times of change follow from the version, so that the same run stores the same bytes.
///
/// # Errors
/// What the file system says.
pub fn plant(tree: &Tree, folder: &Path, version: u64) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (path, kept) in tree {
        let path = folder.join(path);
        match kept {
            Kept::Folder => fs::create_dir_all(&path)?,
            Kept::File(bytes) if fs::read(&path).is_ok_and(|found| found == *bytes) => {}
            Kept::File(bytes) => {
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                fs::write(&path, bytes)?;
                date(&path, version)?;
            }
        }
    }
    for (path, kept) in tree {
        if *kept == Kept::Folder {
            date(&folder.join(path), version)?;
        }
    }
    date(folder, version)
}

fn date(path: &Path, version: u64) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + version);
    File::open(path)?.set_modified(time)
}

/// Reads all that lies below a stored root, and says in what it differs from the tree that was backed up.
///
/// Of an incomplete snapshot nothing must be there, but what is there must be right.
///
/// # Errors
/// What cannot be read, or differs.
pub fn compare(repository: &Repository, root: &DirEntry, tree: &Tree, complete: bool) -> Result<(), String> {
    let mut found = Vec::new();
    below(repository, root, "", tree, &mut found)?;
    let missing = tree.keys().find(|path| !found.contains(path));
    match missing {
        Some(path) if complete => Err(format!("{path} is missing")),
        _ => Ok(()),
    }
}

fn below<'a>(
    repository: &Repository,
    folder: &DirEntry,
    at: &str,
    tree: &'a Tree,
    found: &mut Vec<&'a String>,
) -> Result<(), String> {
    let object = folder
        .object
        .ok_or_else(|| format!("the folder {at:?} has no object"))?;
    let mut entries = repository.directory_entries(object);
    loop {
        let entry = block_on(entries.next(repository)).map_err(|error| format!("in {at:?}: {}", causes(&error)))?;
        let Some(entry) = entry else { return Ok(()) };
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        let path = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}/{name}")
        };
        if let Some(begun) = begun_name(&name) {
            let whole = if at.is_empty() {
                begun.to_owned()
            } else {
                format!("{at}/{begun}")
            };
            let bytes = read(repository, &entry).map_err(|error| format!("{path}: {error}"))?;
            match tree.get(&whole) {
                Some(Kept::File(whole)) if whole.starts_with(&bytes) => continue,
                _ => return Err(format!("{path} is not the beginning of {whole}")),
            }
        }
        let (key, kept) = tree
            .get_key_value(&path)
            .ok_or_else(|| format!("{path} was never there"))?;
        match (&entry.kind, kept) {
            (EntryKind::Directory, Kept::Folder) => below(repository, &entry, &path, tree, found)?,
            (EntryKind::File, Kept::File(wanted)) => {
                let bytes = read(repository, &entry).map_err(|error| format!("{path}: {error}"))?;
                if bytes != *wanted {
                    return Err(format!(
                        "{path} holds other bytes ({} of {})",
                        bytes.len(),
                        wanted.len()
                    ));
                }
            }
            (kind, _) => return Err(format!("{path} has become a {kind:?}")),
        }
        found.push(key);
    }
}

/// The file of which this is the name of an unfinished part in a checkpoint.
fn begun_name(name: &str) -> Option<&str> {
    let (file, _unique) = name.strip_prefix(".checkpointed.")?.rsplit_once('.')?;
    Some(file)
}

fn read(repository: &Repository, entry: &DirEntry) -> Result<Vec<u8>, String> {
    let object = entry.object.ok_or("it has no object")?;
    let mut bytes = Vec::new();
    let mut parts = repository.object_parts(object);
    while let Some(part) = block_on(parts.next(repository)).map_err(|error| causes(&error))? {
        let part = block_on(repository.read_part(&object, &part)).map_err(|error| causes(&error))?;
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// An error and all its causes in one line.
pub fn causes(error: &MoverError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A moment so many seconds after another.
pub fn later(moment: Timestamp, by: jiff::SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(moment)
}
