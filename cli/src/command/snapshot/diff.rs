//! The light table: `snapshot diff`.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use windlass_mover::blocking::block_on;
use windlass_mover::diff::{Change, Differences, diff};

use super::entry;
use super::place::{ID_HELP, Place};
use crate::context::Context;
use crate::exit::Exit;
use crate::figures::{chain, count, shown};
use crate::output::{self, JsonStream};
use crate::progress::say;

const EXAMPLES: &str = "\
Each line is a path from the top: + it was added, - it was removed, and for what is in both, what is not the same: M its \
content, p its permissions, o its owner, t its time. The exit code is 0 whether there are changes or not.

Examples:
    windlass snapshot diff 3f2a 77d0
    windlass snapshot diff 3f2a/projects 77d0/projects
    windlass snapshot diff 3f2a 77d0 --json";

/// `windlass snapshot diff`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Diff {
    /// The earlier snapshot, or a place in it
    #[arg(value_name = "ID[/PATH]", long_help = ID_HELP)]
    before: OsString,

    /// The later snapshot, or a place in it
    #[arg(value_name = "ID[/PATH]", long_help = ID_HELP)]
    after: OsString,
}

#[derive(Default)]
struct Tally {
    added: u64,
    removed: u64,
    modified: u64,
    errors: Vec<String>,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (before, after) = (Place::parse(&self.before)?, Place::parse(&self.after)?);
        let repository = context.open()?;
        let (before, after) = (before.find(&repository)?.entry, after.find(&repository)?.entry);
        let mut changes = diff(&before, &after);
        let mut tally = Tally::default();
        let mut out = output::stdout();
        let mut stream = None;
        if context.options.json {
            stream = Some(JsonStream::begin(output::stdout_unlocked(), "changes")?);
        }
        loop {
            let change = match block_on(changes.next(&repository)) {
                Ok(None) => break,
                Ok(Some(change)) => change,
                Err(error) => {
                    tally.errors.push(chain(&error));
                    continue;
                }
            };
            tally.count(&change);
            match &mut stream {
                Some(stream) => stream.push(&json(&change))?,
                None => writeln!(out, "{}", line(&change))?,
            }
        }
        match stream {
            Some(stream) => {
                let Tally {
                    added,
                    removed,
                    modified,
                    errors,
                } = &tally;
                let rest = json!({"added": added, "removed": removed, "modified": modified, "errors": errors});
                stream.end(rest.as_object().expect("it was just made as an object"))?;
            }
            None => {
                let (added, removed, modified) = (count(tally.added), count(tally.removed), count(tally.modified));
                writeln!(out, "{added} added, {removed} removed, {modified} modified")?;
                out.flush()?;
                tally.errors.iter().for_each(|error| say(&format!("windlass: {error}")));
            }
        }
        Ok(if tally.errors.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

impl Tally {
    fn count(&mut self, change: &Change) {
        match change {
            Change::Added(_) => self.added += 1,
            Change::Removed(_) => self.removed += 1,
            Change::Modified { .. } => self.modified += 1,
        }
    }
}

/// The marks of what is not the same, in columns.
fn marks(what: Differences) -> String {
    let mark = |differs: bool, letter: char| if differs { letter } else { '.' };
    let content = mark(what.content || what.kind, 'M');
    [
        content,
        mark(what.mode, 'p'),
        mark(what.owner, 'o'),
        mark(what.mtime, 't'),
    ]
    .iter()
    .collect()
}

fn line(change: &Change) -> String {
    let slash = |kind: &str| if kind == "directory" { "/" } else { "" };
    let path = |path: &[u8]| if path.is_empty() { ".".to_owned() } else { shown(path) };
    match change {
        Change::Added(found) => format!("+     {}{}", path(&found.path), slash(entry::kind(&found.entry))),
        Change::Removed(found) => format!("-     {}{}", path(&found.path), slash(entry::kind(&found.entry))),
        Change::Modified {
            path: at, after, what, ..
        } => {
            format!("{}  {}{}", marks(*what), path(at), slash(entry::kind(after)))
        }
    }
}

fn json(change: &Change) -> Value {
    let with = |found: &windlass_mover::diff::Found, word: &str| {
        let mut value = entry::json(&found.path, &found.entry);
        value["change"] = json!(word);
        value
    };
    match change {
        Change::Added(found) => with(found, "added"),
        Change::Removed(found) => with(found, "removed"),
        Change::Modified {
            path,
            before,
            after,
            what,
        } => json!({
            "path": String::from_utf8_lossy(path),
            "change": "modified",
            "content": what.content,
            "mode": what.mode,
            "owner": what.owner,
            "mtime": what.mtime,
            "type": what.kind,
            "before": entry::json(path, before),
            "after": entry::json(path, after),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_in_columns() {
        let all = Differences {
            content: true,
            mode: true,
            owner: true,
            mtime: true,
            kind: false,
        };
        assert_eq!(marks(all), "Mpot");
        assert_eq!(
            marks(Differences {
                mtime: true,
                ..Differences::default()
            }),
            "...t"
        );
        assert_eq!(
            marks(Differences {
                kind: true,
                ..Differences::default()
            }),
            "M..."
        );
    }
}
