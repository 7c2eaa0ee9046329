//! The surveyor's office: `repo verify`.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use windlass_mover::random::SystemRandom;
use windlass_mover::verify::{VerifyOptions, VerifyProgress, verify_repository};

use crate::command::inspection;
use crate::context::{Context, refuse_lost_index};
use crate::exit::Exit;

const EXAMPLES: &str = "\
First the structure: every index must open, and every content must lie wholly in a pack that is there, and a \
pack that is in no index must have a reason. Then contents are read, decrypted and hashed again. When something is wrong, the files that suffer from it are looked for, and the exit code \
is 1. Nothing is changed.

Examples:
    windlass repo verify
    windlass repo verify --sample 5 --repo /mnt/backup
    windlass repo verify --sample 0 --json";

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
}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open_uncached()?;
        refuse_lost_index(&repository)?;
        let options = VerifyOptions {
            parallel: self.parallel.map_or(0, usize::from),
            ..VerifyOptions::reading(self.sample)
        };
        let stop = context.interrupt.heed();
        let progress = Arc::new(VerifyProgress::default());
        let meter = inspection::meter(context, &progress);
        let began = Instant::now();
        let verified = verify_repository(&repository, &options, &SystemRandom, &progress, &stop);
        drop(meter);
        let checked = format!("Repository at {}", repository.storage().location());
        inspection::show(context, &checked, &verified?, began.elapsed())
    }
}
