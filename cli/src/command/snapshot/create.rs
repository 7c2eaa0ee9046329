//! The intake: `snapshot create`.

mod outcome;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};
use windlass_mover::MoverError;
use windlass_mover::io::EngineChoice;
use windlass_mover::repository::CreateOptions;
use windlass_mover::snapshot::{Progress, SnapshotOptions, create};
use windlass_repo_format::compression::Compression;
use windlass_repo_format::splitter::SplitterAlgorithm;

use crate::context::{Context, refuse_lost_index};
use crate::exit::{Exit, WrongUse};
use crate::figures::{parse_duration, parse_size};
use crate::progress::{Meter, Reading};
use crate::whoami;

const EXAMPLES: &str = "\
Only what changed since the last snapshot of the same source is read; Kopia's snapshots count too. Rules in .kopiaignore \
files and the policies stored in the repository are followed. Afterwards, what the policy does not want to keep any longer \
is deleted.

What cannot be read is listed, and the rest is kept: the exit code is then 3. What the format cannot hold (devices, sockets, \
hard links between files, extended attributes, names that are not UTF-8) is counted.

Ctrl-C ends the snapshot early: what has been read is kept as an incomplete snapshot, and the next run goes on from there.

Examples:
    windlass snapshot create ~/documents
    windlass snapshot create /home --repo /mnt/backup --tag host:laptop --description weekly
    windlass snapshot create /data --compression zstd-fastest --memory 1GiB
    windlass snapshot create /dev/vg/volume --block-device --source backup@store:/volumes/volume
    windlass snapshot create ~/documents --json";

/// `windlass snapshot create`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Create {
    /// The folder or file to back up
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    path: PathBuf,

    /// File the snapshot under this source instead of this user, host and path
    #[arg(long, value_name = "USER@HOST:PATH")]
    source: Option<String>,

    /// Tag the snapshot; can be given several times
    #[arg(long = "tag", value_name = "KEY:VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,

    /// Text that says what the snapshot is
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    /// How many threads hash and encrypt [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,

    /// How large files are read: io_uring where it works, io_uring or nothing, plain threads
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = Engine::Auto)]
    engine: Engine,

    /// How much memory may be used for data on its way
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    memory: u64,

    /// Compress all files so, whatever the policies say; "none" for not at all
    ///
    /// Without it, policies decide; without a policy, nothing is compressed. Names are Kopia's, such as zstd, zstd-fastest or
    /// s2-default.
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = PossibleValuesParser::new(compressions()))]
    compression: Option<String>,

    /// Cut all files so, whatever the policies say
    ///
    /// Files that are read now and were cut in another way before are stored anew.
    #[arg(long, value_name = "NAME", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(SplitterAlgorithm::ALL.map(SplitterAlgorithm::name)))]
    splitter: Option<String>,

    /// PATH is a block device, or the image of one: store its bytes as a volume
    #[arg(long)]
    block_device: bool,

    /// Read every file, also those that look unchanged
    #[arg(long)]
    force_read: bool,

    /// At the end, show how busy each stage was and what it waited for
    #[arg(long)]
    profile_stages: bool,

    /// How often a long run publishes what it has so far
    #[arg(long, value_name = "TIME", value_parser = parse_duration, hide_short_help = true)]
    checkpoint_interval: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Engine {
    Auto,
    Uring,
    Threads,
}

/// All names that Kopia takes in a policy; those that it has given up are not offered, but still taken.
fn compressions() -> Vec<PossibleValue> {
    let known = Compression::ALL.map(|known| PossibleValue::new(known.name()).hide(known.is_deprecated()));
    std::iter::once(PossibleValue::new("none")).chain(known).collect()
}

/// Reads `key:value`; the key ends at the first colon, as in Kopia.
fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY:VALUE".to_owned()),
    }
}

impl Create {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let path = whoami::absolute(&self.path)?;
        self.check(&path)?;
        let options = self.options(path, context)?;
        let place = context.place()?;
        let is_first = place.default.as_ref().is_some_and(|default| !default.exists());
        let repository = if is_first {
            context.create_at(&place, &CreateOptions::default())?
        } else {
            context.open_at(&place)?
        };
        refuse_lost_index(&repository)?;
        let began = Instant::now();
        let stop = context.interrupt.heed();
        let progress = Arc::new(Progress::default());
        let meter = meter(context, &progress);
        let made = create(&repository, &options, &progress, &stop);
        drop(meter);
        let report = match made {
            Err(MoverError::Cancelled) if context.interrupt.is_stopped() => {
                return Err(MoverError::Cancelled)
                    .context("the snapshot was stopped before there was anything to keep");
            }
            made => made.with_context(|| format!("cannot make a snapshot of {}", options.path.display()))?,
        };
        let outcome = outcome::Outcome {
            report: &report,
            time: began.elapsed(),
            made_repository: is_first.then_some(&place),
            location: repository.storage().location(),
            profile_stages: self.profile_stages,
        };
        outcome.show(context)
    }

    /// Finds out what is wrong with the path before a repository is made for it.
    fn check(&self, path: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::FileTypeExt;
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot back up {}", path.display()))?;
        let kind = metadata.file_type();
        let wrong = |why: &str| Err(WrongUse(format!("cannot back up {}: {why}", path.display())).into());
        match (self.block_device, kind.is_block_device()) {
            (false, true) => wrong("it is a block device; give --block-device to store its bytes"),
            (true, false) if !kind.is_file() => wrong("it is no block device, nor the image of one"),
            _ if kind.is_char_device() || kind.is_fifo() || kind.is_socket() => {
                wrong("it is neither a folder nor a file")
            }
            _ => Ok(()),
        }
    }

    fn options(&self, path: PathBuf, context: &Context) -> anyhow::Result<SnapshotOptions> {
        let source = match &self.source {
            Some(source) => whoami::one_source(source, &context.identity)?,
            None => whoami::source_of(&path, &context.identity),
        };
        let mut tags = BTreeMap::new();
        for (key, value) in &self.tags {
            if tags.insert(format!("tag:{key}"), value.clone()).is_some() {
                return Err(WrongUse(format!("the tag {key:?} is given twice")).into());
            }
        }
        let compression = match self.compression.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some(name) => Some(Some(Compression::from_name(name)?)),
        };
        if compression == Some(Some(Compression::Lz4)) {
            context.note(
                "lz4 is read but no longer written, because newer Kopias do not read it: files are not compressed",
            );
        }
        let splitter = self.splitter.as_deref().map(SplitterAlgorithm::from_name).transpose()?;
        let mut options = SnapshotOptions {
            description: self.description.clone(),
            tags,
            parallel: self.parallel.map(usize::from),
            engine: match self.engine {
                Engine::Auto => EngineChoice::Auto,
                Engine::Uring => EngineChoice::Uring,
                Engine::Threads => EngineChoice::Threads,
            },
            memory: self.memory,
            compression,
            splitter,
            block_device: self.block_device,
            force_read: self.force_read,
            ..SnapshotOptions::new(resolved(path)?, source)
        };
        options.checkpoint_every = self.checkpoint_interval.unwrap_or(options.checkpoint_every);
        Ok(options)
    }
}

/// The path to read: what a symbolic link points at, as Kopia does it. The source keeps the link's own name.
fn resolved(path: PathBuf) -> std::io::Result<PathBuf> {
    if path.is_symlink() {
        path.canonicalize()
    } else {
        Ok(path)
    }
}

fn meter(context: &Context, progress: &Arc<Progress>) -> Meter {
    let progress = progress.clone();
    Meter::start(context.options.json, "file", move || Reading {
        bytes: progress.bytes_done(),
        bytes_expected: progress.expected_bytes.load(Ordering::Relaxed),
        items: progress.files_done(),
        failures: progress.failures.load(Ordering::Relaxed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_cut_at_its_first_colon() {
        assert_eq!(parse_tag("a:b:c"), Ok(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(parse_tag("a:"), Ok(("a".to_owned(), String::new())));
        assert!(parse_tag("a").is_err());
        assert!(parse_tag(":b").is_err());
    }
}
