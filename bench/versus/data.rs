//! The data room: folders to be backed up, the same on every machine and quickly made.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use windlass_tests::Seed;

use windlass_bench::{Result, disk, stop};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Random bytes are made in such pieces.
const PIECE: u64 = 4 * MIB;
/// Between two of the islands of a sparse file begin so many bytes.
const ISLAND_EVERY: u64 = 16 * MIB;
const ISLAND: u64 = 256 * KIB;

/// A kind of data, each of which has a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// One file of 4 GiB and 64 of 16 MiB, which no compressor shrinks
    Large,
    /// The one file of 4 GiB alone
    Single,
    /// 1 GiB of text, of what looks like programs, and of what is compressed already
    Mixed,
    /// Four files of 1 GiB that are mostly holes
    Sparse,
    /// 100,000 files of 4 KiB in 1,000 folders
    Small,
    /// One folder with 200,000 small files
    Huge,
    /// Opening a repository with 1,000,000 contents
    Open,
}

/// A folder to be backed up.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Source {
    /// Where it is.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Regular files in it.
    pub files: u64,
    /// The sum of their lengths, holes included.
    pub bytes: u64,
}

impl Kind {
    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Single => "single",
            Self::Mixed => "mixed",
            Self::Sparse => "sparse",
            Self::Small => "small",
            Self::Huge => "huge",
            Self::Open => "open",
        }
    }

    /// Whether the number of files says more about it than the number of bytes.
    pub(crate) fn counts_files(self) -> bool {
        matches!(self, Self::Small | Self::Huge)
    }

    /// About how many bytes of disk it takes, where each small file takes a block of 4 KiB and some of the inode.
    pub(crate) fn disk_bytes(self, scale: f64) -> u64 {
        let whole = match self {
            Self::Large => 5 * GIB,
            Self::Single => 4 * GIB,
            Self::Mixed => GIB,
            Self::Sparse => 64 * MIB,
            Self::Small => 500 * MIB,
            Self::Huge => GIB,
            Self::Open => 100 * MIB,
        };
        (whole as f64 * scale) as u64
    }

    /// Makes the data below a folder, if it is not there already: two kinds share theirs.
    pub(crate) fn grow(self, below: &Path, scale: f64) -> Result<Source> {
        let scaled = |number: u64| ((number as f64 * scale) as u64).max(1);
        let part = |name: &str| below.join(name);
        let folder = match self {
            Self::Large | Self::Single => {
                let (root, one) = (part("large"), part("large").join("one"));
                if !root.exists() {
                    random_file(&one, "whole.bin", 0, whole_blocks(scaled(4 * GIB)))?;
                    for number in 1..=scaled(64) {
                        random_file(&root.join("many"), &format!("part-{number:02}.bin"), number, 16 * MIB)?;
                    }
                }
                if self == Self::Large { root } else { one }
            }
            Self::Mixed => grown(part("mixed"), |root| mixed(root, scaled(GIB)))?,
            Self::Sparse => grown(part("sparse"), |root| {
                (0..4).try_for_each(|number| sparse_file(root, number, scaled(GIB).next_multiple_of(ISLAND_EVERY)))
            })?,
            Self::Small => grown(part("small"), |root| small(root, scaled(1000)))?,
            Self::Huge => grown(part("huge"), |root| huge(root, scaled(200_000)))?,
            Self::Open => grown(part("little"), |root| write(root, "note.txt", b"kept\n"))?,
        };
        disk::sync(&folder)?;
        let mut source = Source {
            files: 0,
            bytes: 0,
            folder,
        };
        for name in disk::files(&source.folder)? {
            let path = source.folder.join(name);
            let about = fs::metadata(&path).map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
            source.files += 1;
            source.bytes += about.len();
        }
        Ok(source)
    }
}

/// The folder, filled if it was not there.
fn grown(root: PathBuf, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if !root.exists() {
        disk::make(&root)?;
        fill(&root)?;
    }
    Ok(root)
}

/// O_DIRECT copies whole blocks only.
fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(4 * KIB)
}

fn create(folder: &Path, name: &str) -> Result<File> {
    stop::check()?;
    let path = folder.join(name);
    File::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let written = create(folder, name)?.write_all(bytes);
    written.map_err(|error| format!("cannot write {name} in {}: {error}", folder.display()))
}

fn random(seed: &mut Seed, bytes: u64) -> Vec<u8> {
    seed.bytes(usize::try_from(bytes).expect("pieces fit into memory"))
}

fn random_file(folder: &Path, name: &str, number: u64, bytes: u64) -> Result<()> {
    disk::make(folder)?;
    let (mut file, mut seed, mut left) = (create(folder, name)?, Seed::new(number), bytes);
    while left > 0 {
        stop::check()?;
        let piece = random(&mut seed, left.min(PIECE));
        let written = file.write_all(&piece);
        written.map_err(|error| format!("cannot write {name} in {}: {error}", folder.display()))?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// Files of 1 KiB to 8 MiB, as many of 1 to 2 KiB as of 4 to 8 MiB, in folders of 50: four tenths of the bytes are text, three look
/// like programs, three are compressed already.
fn mixed(root: &Path, bytes: u64) -> Result<()> {
    let (mut seed, mut made, mut number) = (Seed::new(0x006d_6978), 0, 0);
    while made < bytes {
        let order = seed.below(13);
        let length = (KIB << order) + seed.below(KIB << order);
        let length_in_memory = usize::try_from(length).expect("16 MiB fit into memory");
        let (suffix, content) = match seed.below(10) {
            0..=3 => ("txt", seed.prose(length_in_memory)),
            4..=6 => ("so", records(&mut seed, length_in_memory)),
            _ => ("gz", seed.bytes(length_in_memory)),
        };
        let folder = root.join(format!("{:02}/{:04}", number / 2500, number / 50));
        disk::make(&folder)?;
        write(&folder, &format!("{number:06}.{suffix}"), &content)?;
        made += length;
        number += 1;
    }
    Ok(())
}

/// What looks like a program to a compressor: words of a small alphabet with numbers between them, halved by most compressors.
fn records(seed: &mut Seed, length: usize) -> Vec<u8> {
    let alphabet = seed.bytes(64 * 4);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        let word = usize::try_from(seed.below(64)).expect("it is below 64") * 4;
        bytes.extend_from_slice(&alphabet[word..word + 4]);
        bytes.extend_from_slice(&seed.below(1 << 24).to_le_bytes()[..4]);
    }
    bytes.truncate(length);
    bytes
}

fn sparse_file(root: &Path, number: u64, bytes: u64) -> Result<()> {
    let name = format!("image-{number}.raw");
    let (file, mut seed) = (create(root, &name)?, Seed::new(1000 + number));
    let mut written = file.set_len(bytes);
    for at in (0..bytes).step_by(usize::try_from(ISLAND_EVERY).expect("16 MiB fit")) {
        stop::check()?;
        written = written.and_then(|()| file.write_all_at(&random(&mut seed, ISLAND), at));
    }
    written.map_err(|error| format!("cannot write {name} in {}: {error}", root.display()))
}

fn small(root: &Path, folders: u64) -> Result<()> {
    let mut seed = Seed::new(0x0073_6d61);
    for number in 0..folders {
        let folder = root.join(format!("{:02}/{:03}", number / 100, number % 100));
        disk::make(&folder)?;
        for file in 0..100 {
            write(&folder, &format!("{file:02}.dat"), &random(&mut seed, 4 * KIB))?;
        }
    }
    Ok(())
}

fn huge(root: &Path, files: u64) -> Result<()> {
    let mut seed = Seed::new(0x6875_6765);
    (0..files).try_for_each(|file| write(root, &format!("entry-{file:07}"), &random(&mut seed, 64)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use clap::ValueEnum;

    use super::Kind;
    use windlass_bench::disk;

    #[test]
    fn every_kind_is_the_same_each_time_and_of_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        for kind in Kind::value_variants() {
            let first = kind.grow(&one, 0.001).unwrap();
            let second = kind.grow(&other, 0.001).unwrap();
            disk::assert_same(&first.folder, &second.folder).unwrap();
            let (files, bytes) = match kind {
                Kind::Large => (2, (4 << 30) / 1000 + (16 << 20)),
                Kind::Single => (1, (4 << 30) / 1000),
                Kind::Mixed => (first.files, 1 << 20),
                Kind::Sparse => (4, 4 * (16 << 20)),
                Kind::Small => (100, 100 * 4096),
                Kind::Huge => (200, 200 * 64),
                Kind::Open => (1, 5),
            };
            assert_eq!(first.files, files, "{kind:?}");
            assert!(
                (bytes..bytes + (17 << 20)).contains(&first.bytes),
                "{kind:?}: {}",
                first.bytes
            );
        }
        let image = std::fs::metadata(one.join("sparse/image-0.raw")).unwrap();
        assert!(image.blocks() * 512 < 1 << 20, "it has no holes");
    }
}
