//! The cases: how each is made, and what is done with it.

use std::fs;
use std::path::Path;

use windlass_bench::many_contents::mint_indexes;
use windlass_bench::{Result, disk, stop};

/// The repository's folder in the corner of a case.
pub(crate) const REPOSITORY: &str = "repository";
const SOURCE: &str = "source";
/// ext4 allows 65,000 links to a file.
const LINKS_MAX: u64 = 60_000;
const FILES_IN_A_FOLDER: u64 = 1_000;
/// Files of the snapshot that is added to a repository of many contents: each is looked up there.
const FILES_ADDED: u64 = 10_000;

/// What there is very much of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case {
    /// Files in many folders.
    Files(u64),
    /// Files in one folder.
    Entries(u64),
    /// Contents of the repository.
    Contents(u64),
}

type Work = (&'static str, &'static [&'static str]);

impl Case {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Files(size) | Self::Entries(size) | Self::Contents(size) => size,
        }
    }

    pub(crate) fn title(self) -> String {
        match self {
            Self::Files(size) => format!("{size} files"),
            Self::Entries(size) => format!("{size} files in one folder"),
            Self::Contents(size) => format!("{size} contents"),
        }
    }

    /// Whether the repository is yet to be made.
    pub(crate) fn needs_a_repository(self) -> bool {
        !matches!(self, Self::Contents(_))
    }

    /// Makes what is worked with.
    pub(crate) fn make(self, corner: &Path, password: &str) -> Result<()> {
        let source = corner.join(SOURCE);
        match self {
            Self::Files(size) => links(&source, size, FILES_IN_A_FOLDER),
            Self::Entries(size) => links(&source, size, size),
            Self::Contents(size) => {
                different(&source, FILES_ADDED)?;
                mint_indexes(&corner.join(REPOSITORY), password, size)
            }
        }
    }

    /// What is done, in order. Words that begin with `./` are places in the corner.
    pub(crate) fn works(self) -> &'static [Work] {
        const FIRST: Work = ("first snapshot", &["snapshot", "create", "./source"]);
        const AGAIN: Work = ("nothing changed", &["snapshot", "create", "./source"]);
        const VERIFY: Work = ("verify", &["snapshot", "verify", "--files-percent=0"]);
        const LIST: Work = ("list snapshots", &["snapshot", "list", "--all"]);
        // No snapshot needs the contents that were there before: all of them are marked.
        const MAINTAIN: Work = ("full maintenance", &["repo", "maintain", "--full", "--force"]);
        match self {
            Self::Files(_) | Self::Entries(_) => &[FIRST, AGAIN, VERIFY, MAINTAIN],
            Self::Contents(_) => &[LIST, FIRST, AGAIN, VERIFY, MAINTAIN],
        }
    }
}

/// Files that are links to a few, so many in each folder.
fn links(source: &Path, files: u64, in_a_folder: u64) -> Result<()> {
    let failed = |error: std::io::Error| format!("cannot make files in {}: {error}", source.display());
    let (mut folder, mut original) = (source.to_owned(), source.to_owned());
    for number in 0..files {
        if number % in_a_folder == 0 {
            stop::check()?;
            folder = source.join(format!("d{:06}", number / in_a_folder));
            disk::make(&folder)?;
        }
        let path = folder.join(format!("f{number:09}"));
        if number % LINKS_MAX == 0 {
            fs::write(&path, format!("file {number}\n")).map_err(failed)?;
            original = path;
        } else {
            fs::hard_link(&original, &path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Files with different bytes.
fn different(source: &Path, files: u64) -> Result<()> {
    disk::make(source)?;
    for number in 0..files {
        let path = source.join(format!("f{number:09}"));
        fs::write(&path, format!("file {number}\n"))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
