//! The seed bank: what a target begins with, from the golden files that Kopia wrote.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Target;

/// Longer files are no seeds: mutating them is slow, and shorter ones show the same.
const LEN_MAX: u64 = 200_000;

/// The folder of the golden files.
pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../repo-format/golden")
}

/// What has once failed: committed, and run by every test.
pub fn findings(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("findings").join(target.name)
}

/// All seeds of a target: its golden files, each with what is put before it, and what was once found.
///
/// A name that ends in `/` stands for all files of the folder, one with `*` at its end for those that begin so; no name stands
/// for what is put before it alone.
///
/// # Panics
/// When a golden file that is named is not there.
pub fn of(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (before, name) in target.seeds {
        if name.is_empty() {
            seeds.push(before.to_vec());
            continue;
        }
        let files = files(name);
        assert!(!files.is_empty(), "there is no golden file {name}");
        for file in files {
            let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            seeds.push([before, &bytes[..]].concat());
        }
    }
    seeds.extend(
        in_folder(&findings(target))
            .iter()
            .filter_map(|file| fs::read(file).ok()),
    );
    seeds
}

fn files(name: &str) -> Vec<PathBuf> {
    let (folder, begins) = name.rsplit_once('/').unwrap_or(("", name));
    let files = in_folder(&golden().join(folder)).into_iter();
    let fits = |file: &PathBuf| {
        let found = file.file_name().unwrap_or_default().to_string_lossy();
        match begins.strip_suffix('*') {
            Some(begins) => found.starts_with(begins),
            None => begins.is_empty() || found == begins,
        }
    };
    files.filter(fits).collect()
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_seed = |entry: &fs::DirEntry| {
        let about = entry.metadata();
        about.is_ok_and(|about| about.is_file() && about.len() <= LEN_MAX)
    };
    let mut files: Vec<PathBuf> = entries.filter(is_seed).map(|entry| entry.path()).collect();
    files.sort();
    files
}
