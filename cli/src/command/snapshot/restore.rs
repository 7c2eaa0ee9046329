//! The way out of the archive: `snapshot restore`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;
use windlass_mover::MoverError;
use windlass_mover::restore::{DirectoryTimes, Overwrite, RestoreOptions, RestoreProgress, RestoreReport, restore};

use super::place::{Found, ID_HELP, Place};
use super::stages;
use crate::context::Context;
use crate::exit::{Exit, TargetUnusable};
use crate::figures::{chain, count, duration, parse_size, rate, shown, size, things};
use crate::output;
use crate::progress::{Meter, Reading, say};
use crate::table::Facts;

const EXAMPLES: &str = "\
A folder becomes TARGET itself, which is made if it is not there. A file or link becomes TARGET, or a file in it where \
TARGET is a folder. Owners are given back only to root; modes, times and links to everybody. On a block device, the bytes \
of a volume are written.

What cannot be restored is listed, and the rest is restored: the exit code is then 3. A target that is full or cannot be written \
to ends the restore with 1. After that, and after Ctrl-C, run the same command with --overwrite changed to go on.

Examples:
    windlass snapshot restore 3f2a /tmp/restored
    windlass snapshot restore 3f2a/projects/letters ~/letters --overwrite never
    windlass snapshot restore 3f2a ~/documents --overwrite changed --delete-extra
    windlass snapshot restore 3f2a/disk.img /var/lib/images --sparse";

/// `windlass snapshot restore`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Restore {
    /// Which snapshot, and what of it
    #[arg(value_name = "ID[/PATH]", long_help = ID_HELP)]
    place: OsString,

    /// Where it goes
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    target: PathBuf,

    /// Which files that are already there are replaced: all, none, or those of another size or time
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Which::Always)]
    overwrite: Which,

    /// Delete what is in the folders of TARGET and not in the snapshot
    #[arg(long)]
    delete_extra: bool,

    /// Leave holes where files hold nothing but zeros
    #[arg(long)]
    sparse: bool,

    /// How many contents are read at the same time [default: what fits the machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: Option<u16>,

    /// How much memory may be used for data on its way
    #[arg(long, value_name = "SIZE", default_value = "160MiB", value_parser = parse_size, hide_short_help = true)]
    memory: u64,

    /// At the end, show how busy each stage was and what it waited for
    #[arg(long)]
    profile_stages: bool,

    /// Which time folders get: Kopia's, that of the newest file below them; or their own
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Times::Kopia)]
    directory_times: Times,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Always,
    Never,
    Changed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Times {
    Kopia,
    Stored,
}

impl Restore {
    pub(crate) fn run(mut self, context: &Context) -> anyhow::Result<Exit> {
        // The same place without doubled slashes and single dots, for messages.
        self.target = self.target.components().collect();
        let place = Place::parse(&self.place)?;
        let repository = context.open()?;
        let found = place.find(&repository)?;
        let options = self.options(&found);
        let stop = context.interrupt.heed();
        let progress = Arc::new(RestoreProgress::default());
        let meter = meter(context, &found, &progress);
        let began = Instant::now();
        let restored = restore(&repository, &found.entry, &self.target, &options, &progress, &stop);
        drop(meter);
        let report = match restored {
            Err(MoverError::Cancelled) => {
                return Err(MoverError::Cancelled).context(
                    "the restore is incomplete; the same command with --overwrite changed goes on from there",
                );
            }
            Err(source) if is_of_the_disk(&source) => {
                let target = self.shown_target();
                return Err(TargetUnusable { target, source }.into());
            }
            restored => restored.with_context(|| format!("cannot restore to {}", self.shown_target()))?,
        };
        self.show(context, &found, &report, began.elapsed())?;
        Ok(if report.is_complete() {
            Exit::Done
        } else {
            Exit::Partial
        })
    }

    fn shown_target(&self) -> String {
        shown(self.target.as_os_str().as_encoded_bytes())
    }

    fn options(&self, found: &Found) -> RestoreOptions {
        RestoreOptions {
            overwrite: match self.overwrite {
                Which::Always => Overwrite::Always,
                Which::Never => Overwrite::Never,
                Which::Changed => Overwrite::Changed,
            },
            delete_extra: self.delete_extra,
            sparse: self.sparse,
            parallel: self.parallel.map_or(0, usize::from),
            directory_times: match self.directory_times {
                Times::Kopia => DirectoryTimes::Kopia,
                Times::Stored => DirectoryTimes::Stored,
            },
            memory_bytes: self.memory,
            is_inside: found.is_inside,
        }
    }

    fn show(&self, context: &Context, found: &Found, report: &RestoreReport, time: Duration) -> anyhow::Result<()> {
        if context.options.json {
            let failures = report
                .failures
                .iter()
                .map(|(path, error)| json!({"path": path.to_string_lossy(), "error": chain(error)}));
            let mut value = json!({
                "snapshot": found.snapshot.id.to_string(),
                "target": self.target.to_string_lossy(),
                "files": report.files,
                "bytes": report.bytes,
                "directories": report.directories,
                "links": report.links,
                "skipped": report.skipped,
                "removed": report.removed,
                "unowned": report.unowned,
                "failed": report.failed,
                "failures": failures.collect::<Vec<_>>(),
                "seconds": time.as_secs_f64(),
            });
            if self.profile_stages {
                value["stages"] = stages::json(&report.stages);
            }
            return output::json(&value);
        }
        for (path, error) in &report.failures {
            let path = shown(path.as_os_str().as_encoded_bytes());
            say(&format!("cannot restore {path}: {}", chain(error)));
        }
        let listed = report.failures.len() as u64;
        if report.failed > listed {
            say(&format!("... and {} more", count(report.failed - listed)));
        }
        let mut text = format!(
            "Restored to {}\n\n{}",
            self.shown_target(),
            facts(report, time).render("  ")
        );
        if self.profile_stages {
            text += &stages::table(&report.stages);
        }
        output::text(&text)
    }
}

/// Whether the disk of the target is full, or takes no writes.
fn is_of_the_disk(error: &MoverError) -> bool {
    use ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error, MoverError::File { source, .. }
        if matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem))
}

fn facts(report: &RestoreReport, time: Duration) -> Facts {
    let mut facts = Facts::default();
    let (bytes, pace) = (size(report.bytes), rate(report.bytes, time));
    facts.add(
        "files",
        format!("{} of {bytes} in {}, {pace}", count(report.files), duration(time)),
    );
    facts.add(
        "folders",
        format!("{}, {}", count(report.directories), things(report.links, "link")),
    );
    if report.skipped > 0 {
        facts.add("left alone", format!("{} already there", count(report.skipped)));
    }
    if report.removed > 0 {
        facts.add("deleted", format!("{} not in the snapshot", count(report.removed)));
    }
    if report.unowned > 0 {
        facts.add(
            "not owned",
            format!(
                "{} {} to you now, because only root can give files away",
                count(report.unowned),
                if report.unowned == 1 { "belongs" } else { "belong" }
            ),
        );
    }
    if report.failed > 0 {
        facts.add("failed", count(report.failed));
    }
    facts
}

fn meter(context: &Context, found: &Found, progress: &Arc<RestoreProgress>) -> Meter {
    let (progress, bytes_expected) = (progress.clone(), found.entry.shown_size());
    Meter::start(context.options.json, "file", move || Reading {
        bytes: progress.bytes.load(Ordering::Relaxed),
        bytes_expected,
        items: progress.files.load(Ordering::Relaxed),
        failures: progress.failed.load(Ordering::Relaxed),
    })
}
