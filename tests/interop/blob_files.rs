//! The files of a repository in a folder: their blobs' names, and their times.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// All blobs by name, and where they lie.
pub(crate) fn blob_files(repository: &Path) -> Vec<(String, PathBuf)> {
    let (mut blobs, mut waiting) = (Vec::new(), vec![(String::new(), repository.to_owned())]);
    while let Some((prefix, folder)) = waiting.pop() {
        for entry in fs::read_dir(&folder).expect("the repository is ours").flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push((name, entry.path()));
            } else if let Some(blob) = name.strip_suffix(".f") {
                blobs.push((blob.to_owned(), entry.path()));
            }
        }
    }
    blobs
}

/// The names of all blobs.
pub(crate) fn blobs(repository: &Path) -> Vec<String> {
    blob_files(repository).into_iter().map(|(name, _)| name).collect()
}

/// Compacted sets replace others only once everybody knows of them.
pub(crate) fn make_older(repository: &Path, prefix: &str) {
    for (name, path) in blob_files(repository) {
        if name.starts_with(prefix) {
            turn_back(&path);
        }
    }
}

/// An epoch ends only after ten minutes: its first index blob says when it began.
pub(crate) fn make_one_index_of_each_epoch_older(repository: &Path) {
    let mut first = BTreeMap::new();
    for (name, path) in blob_files(repository) {
        if let Some((epoch, _)) = name.strip_prefix("xn").and_then(|rest| rest.split_once('_')) {
            first.entry(epoch.to_owned()).or_insert(path);
        }
    }
    first.values().for_each(|path| turn_back(path));
}

fn turn_back(file: &Path) {
    let then = SystemTime::now() - Duration::from_mins(20);
    let file = fs::File::options()
        .write(true)
        .open(file)
        .expect("the repository is ours");
    file.set_modified(then).expect("the repository is ours");
}
