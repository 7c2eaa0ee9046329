//! The surveyor's office: `repo verify`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use windlass_mover::blocking::block_on;
use windlass_mover::random::SystemRandom;
use windlass_mover::repair::{RepairProgress, RepairReport, repair};
use windlass_mover::repository::Repository;
use windlass_mover::verify::{VerifyOptions, VerifyProgress, VerifyReport, verify_repository};

use crate::command::inspection;
use crate::context::{Context, refuse_lost_index};
use crate::exit::Exit;
use crate::progress::{Meter, Reading};

const EXAMPLES: &str = "\
First the structure: every index must open, and every content must lie wholly in a pack that is there, and a \
pack that is in no index must have a reason. Then contents are read, decrypted and hashed again, and all snapshots are \
looked through for what they need. When something is wrong, the files that suffer from it are named, and the exit code \
is 1. Nothing is changed.

With --repair, what is wrong is mended where that loses nothing, and the repository is checked once more: packs that have lost \
their index get a new one, contents that another pack holds or that parity makes whole are stored anew, and with --from \
so is what the folder, of which the snapshots were made, still has. An index blob that cannot be opened is \
renamed, since nobody can open the repository while it is there. Nothing else is replaced or removed. Not to be run while \
the repository is maintained.

Examples:
    windlass repo verify
    windlass repo verify --sample 5 --repo /mnt/backup
    windlass repo verify --sample 0 --json
    windlass repo verify --repair
    windlass repo verify --repair --from /home/me";

/// A content that was made whole may show that others are missing: so often at most.
const ROUNDS_MAX: usize = 10;

/// `windlass repo verify`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Read so many of a hundred contents, drawn at random; 0 for the structure alone
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = inspection::parse_percent)]
    sample: f64,

    /// How many contents are read at the same time [default: what fits the machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: Option<u16>,

    /// Mend what can be mended without loss
    #[arg(long)]
    repair: bool,

    /// Take what the repository has lost from this folder, of which the damaged snapshots were made
    #[arg(long, value_name = "FOLDER", requires = "repair")]
    from: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open_damaged()?;
        if !self.repair {
            refuse_lost_index(&repository)?;
        }
        let stop = context.interrupt.heed();
        let (mut report, mut time) = self.inspect(context, &repository, &stop)?;
        let mut repairs = Vec::new();
        while self.repair && !report.is_sound() && repairs.len() < ROUNDS_MAX {
            if !context.options.json {
                inspection::tell(&report);
            }
            let done = self.mend(context, &repository, &report, &stop)?;
            if !context.options.json {
                inspection::tell_repair(&done);
            }
            let has_changed = done.has_changed();
            repairs.push(done);
            if !has_changed {
                break;
            }
            block_on(repository.refresh())?;
            (report, time) = self.inspect(context, &repository, &stop)?;
        }
        let checked = format!("Repository at {}", repository.storage().location());
        inspection::show_mended(context, &checked, &report, time, &repairs)
    }

    fn inspect(
        &self,
        context: &Context,
        repository: &Repository,
        stop: &AtomicBool,
    ) -> anyhow::Result<(VerifyReport, Duration)> {
        let options = VerifyOptions {
            parallel: self.parallel.map_or(0, usize::from),
            ..VerifyOptions::reading(self.sample)
        };
        let progress = Arc::new(VerifyProgress::default());
        let _meter = inspection::meter(context, &progress);
        let began = Instant::now();
        let report = verify_repository(repository, &options, &SystemRandom, &progress, stop)?;
        Ok((report, began.elapsed()))
    }

    fn mend(
        &self,
        context: &Context,
        repository: &Repository,
        found: &VerifyReport,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<RepairReport> {
        let progress = Arc::new(RepairProgress::default());
        let seen = progress.clone();
        let _meter = Meter::start(context.options.json, "content", move || Reading {
            items: seen.mended.load(Ordering::Relaxed),
            ..Reading::default()
        });
        Ok(repair(repository, found, self.from.as_deref(), &progress, stop)?)
    }
}
