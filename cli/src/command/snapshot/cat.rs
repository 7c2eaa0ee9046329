//! The reading desk: `snapshot cat`.

use std::ffi::OsString;
use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use windlass_mover::blocking::block_on;
use windlass_mover::diff::cat;

use super::place::{ID_HELP, Place};
use crate::context::Context;
use crate::exit::{Exit, WrongUse};
use crate::output;

const EXAMPLES: &str = "\
The bytes are checked before they are printed. --json has no meaning here but for failures.

Examples:
    windlass snapshot cat 3f2a/notes.txt
    windlass snapshot cat 3f2a/photos/1.jpg > 1.jpg";

/// `windlass snapshot cat`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Cat {
    /// Which snapshot, and which file in it
    #[arg(value_name = "ID/PATH", long_help = ID_HELP)]
    place: OsString,
}

impl Cat {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let place = Place::parse(&self.place)?;
        let repository = context.open()?;
        let found = place.find(&repository)?;
        let mut out = output::stdout_unlocked();
        let shown = self.place.to_string_lossy();
        match block_on(cat(&repository, &found.entry, &mut out)) {
            Err(windlass_mover::MoverError::WrongKind { .. }) => Err(WrongUse(format!(
                "{shown} is not a file; `windlass snapshot ls {shown}` lists a folder"
            ))
            .into()),
            printed => {
                printed.with_context(|| format!("cannot print {shown}"))?;
                out.flush()?;
                Ok(Exit::Done)
            }
        }
    }
}
