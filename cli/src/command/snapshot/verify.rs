//! The proof room: `snapshot verify`.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use windlass_mover::blocking::block_on;
use windlass_mover::random::SystemRandom;
use windlass_mover::snapshots;
use windlass_mover::verify::{Problem, VerifyOptions, VerifyProgress, verify_snapshots};

use crate::command::inspection;
use crate::context::{Context, refuse_lost_index};
use crate::exit::Exit;
use crate::figures::things;

const EXAMPLES: &str = "\
Every folder of the snapshots is read, and every content of every file must be in an index and lie wholly in a pack that is \
there. With --files-percent, some or all files are also read to their ends and hashed again. The exit code is 1 when \
something is wrong.

Examples:
    windlass snapshot verify
    windlass snapshot verify 3f2a --files-percent 100
    windlass snapshot verify --files-percent 2.5 --json";

/// `windlass snapshot verify`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Which snapshots [default: all, of all sources]
    #[arg(value_name = "ID", long_help = super::place::ID_HELP)]
    ids: Vec<String>,

    /// Read so many of a hundred files to their ends, drawn at random
    #[arg(long, value_name = "P", default_value = "0", value_parser = inspection::parse_percent)]
    files_percent: f64,

    /// How many contents are read at the same time [default: what fits the machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: Option<u16>,
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open_uncached()?;
        let mut wanted = Vec::new();
        let mut unreadable = Vec::new();
        if self.ids.is_empty() {
            refuse_lost_index(&repository)?;
            let listed = block_on(snapshots::list_all(&repository, None))?;
            (wanted, unreadable) = (listed.snapshots, listed.unreadable);
        }
        for id in &self.ids {
            wanted.push(block_on(snapshots::find(&repository, id))?);
        }
        let options = VerifyOptions {
            parallel: self.parallel.map_or(0, usize::from),
            ..VerifyOptions::reading(self.files_percent)
        };
        let stop = context.interrupt.heed();
        let progress = Arc::new(VerifyProgress::default());
        let meter = inspection::meter(context, &progress);
        let began = Instant::now();
        let verified = verify_snapshots(&repository, &wanted, &options, &SystemRandom, &progress, &stop);
        drop(meter);
        let mut report = verified?;
        for (id, error) in unreadable {
            report.problems += 1;
            report.first_problems.push(Problem {
                snapshot: Some(id),
                path: None,
                blob: None,
                content: None,
                error,
            });
        }
        let checked = things(wanted.len() as u64, "snapshot");
        inspection::show(context, &checked, &report, began.elapsed())
    }
}
