//! The shredder's counter: `snapshot delete`.

use clap::Args;
use serde_json::json;
use windlass_mover::blocking::block_on;
use windlass_mover::snapshots::{self, Snapshot};

use super::described::source_text;
use crate::context::Context;
use crate::exit::Exit;
use crate::figures::{moment, shown};
use crate::output;

const EXAMPLES: &str = "\
Nothing is deleted unless all that are named are found. The space that only these snapshots used is freed later, by the \
maintenance of the repository.

Examples:
    windlass snapshot delete 3f2a9c
    windlass snapshot delete 3f2a9c 77d0e1 --repo /mnt/backup";

/// `windlass snapshot delete`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Delete {
    /// Which snapshots
    #[arg(value_name = "ID", required = true, long_help = super::place::ID_HELP)]
    ids: Vec<String>,
}

impl Delete {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open()?;
        let mut found: Vec<Snapshot> = Vec::new();
        for id in &self.ids {
            let snapshot = block_on(snapshots::find(&repository, id))?;
            if !found.iter().any(|other| other.id == snapshot.id) {
                found.push(snapshot);
            }
        }
        let _finish = context.interrupt.heed();
        let session = repository.write_session()?;
        found.iter().for_each(|snapshot| snapshots::delete(&session, snapshot));
        block_on(session.flush())?;
        if context.options.json {
            let ids: Vec<String> = found.iter().map(|snapshot| snapshot.id.to_string()).collect();
            output::json(&json!({ "deleted": ids }))?;
        } else {
            for Snapshot { id, manifest, .. } in &found {
                let source = shown(source_text(&manifest.source).as_bytes());
                output::text(&format!("deleted {id}: {source} of {}\n", moment(manifest.start_time)))?;
            }
        }
        Ok(Exit::Done)
    }
}
