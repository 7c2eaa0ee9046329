//! The contents page: `snapshot ls`.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;
use serde_json::json;
use windlass_mover::blocking::block_on;
use windlass_mover::diff::{Found, list_entries};

use super::entry;
use super::place::{ID_HELP, Place};
use crate::context::Context;
use crate::exit::Exit;
use crate::figures::{chain, moment, shown, size};
use crate::output::{self, JsonStream};
use crate::progress::say;

const EXAMPLES: &str = "\
Of a folder, size and time are those of all that is below it. With --json, one object with the array \"entries\" is printed.

Examples:
    windlass snapshot ls 3f2a
    windlass snapshot ls 3f2a/projects/letters --long
    windlass snapshot ls 3f2a --recursive | grep report
    windlass snapshot ls 3f2a --json";

/// `windlass snapshot ls`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Ls {
    /// Which snapshot, and where in it
    #[arg(value_name = "ID[/PATH]", long_help = ID_HELP)]
    place: OsString,

    /// Show mode, owner, size, time and object too
    #[arg(long, short)]
    long: bool,

    /// List everything below, too
    #[arg(long, short)]
    recursive: bool,
}

impl Ls {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let place = Place::parse(&self.place)?;
        let repository = context.open()?;
        let top = place.find(&repository)?.entry;
        let mut listing = list_entries(&top, self.recursive);
        let mut out = output::stdout();
        let mut errors = Vec::new();
        let mut stream = None;
        if context.options.json {
            stream = Some(JsonStream::begin(output::stdout_unlocked(), "entries")?);
        }
        loop {
            match block_on(listing.next(&repository)) {
                Ok(None) => break,
                Ok(Some(found)) => match &mut stream {
                    Some(stream) => stream.push(&entry::json(&found.path, &found.entry))?,
                    None => writeln!(out, "{}", self.line(&found))?,
                },
                Err(error) => errors.push(chain(&error)),
            }
        }
        let exit = if errors.is_empty() { Exit::Done } else { Exit::Failed };
        match stream {
            Some(stream) => {
                let rest = json!({ "errors": errors });
                stream.end(rest.as_object().expect("it was just made as an object"))?;
            }
            None => {
                out.flush()?;
                errors.iter().for_each(|error| say(&format!("windlass: {error}")));
            }
        }
        Ok(exit)
    }

    fn line(&self, found: &Found) -> String {
        let entry = &found.entry;
        let slash = if entry::kind(entry) == "directory" { "/" } else { "" };
        let path = shown(&found.path) + slash;
        if !self.long {
            return path;
        }
        let object = entry.object.map(|object| object.to_string()).unwrap_or_default();
        let (mode, owner) = (entry::mode(entry), format!("{}:{}", entry.uid, entry.gid));
        let (bytes, time) = (size(entry.shown_size()), moment(entry.shown_mtime()));
        format!("{mode}  {owner:<11}  {bytes:>10}  {time}  {object:<33}  {path}")
    }
}
