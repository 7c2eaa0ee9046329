//! The reconstruction room: `repo recover-index`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use serde_json::json;
use windlass_mover::blocking::block_on;
use windlass_mover::recover::{RecoverProgress, RecoverReport, recover_index};

use crate::context::Context;
use crate::exit::Exit;
use crate::figures::{chain, count, things};
use crate::output;
use crate::progress::{Meter, Reading, say};

const EXAMPLES: &str = "\
Every pack ends with a list of what is in it. The ends of all packs are read, and what no index knows is written into new \
indexes. Nothing is deleted or replaced. What had been deleted and whose packs are still there comes back; maintenance \
deletes it again. A pack without such a list is named, and the exit code is then 3.

Examples:
    windlass repo recover-index --dry-run
    windlass repo recover-index --repo /mnt/backup";

/// `windlass repo recover-index`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RecoverIndex {
    /// Only say what would be recovered
    #[arg(long)]
    dry_run: bool,
}

impl RecoverIndex {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open_uncached()?;
        let stop = context.interrupt.heed();
        let progress = Arc::new(RecoverProgress::default());
        let seen = progress.clone();
        let meter = Meter::start(context.options.json, "pack", move || Reading {
            items: seen.packs.load(Ordering::Relaxed),
            ..Reading::default()
        });
        let recovered = block_on(recover_index(&repository, self.dry_run, &progress, &stop));
        drop(meter);
        let report = recovered?;
        if context.options.json {
            output::json(&self.json(&report))?;
        } else {
            self.tell(&report)?;
        }
        Ok(if report.failed == 0 { Exit::Done } else { Exit::Partial })
    }

    fn json(&self, report: &RecoverReport) -> serde_json::Value {
        let failures = report.failures.iter();
        let failures = failures.map(|(pack, error)| json!({"pack": pack.to_string(), "error": chain(error)}));
        json!({
            "dryRun": self.dry_run,
            "packs": report.packs,
            "entries": report.entries,
            "recovered": report.recovered,
            "indexBlobs": report.index_blobs,
            "failed": report.failed,
            "failures": failures.collect::<Vec<_>>(),
        })
    }

    fn tell(&self, report: &RecoverReport) -> anyhow::Result<()> {
        for (pack, error) in &report.failures {
            say(&format!("pack {pack}: {}", chain(error)));
        }
        let told = report.failures.len() as u64;
        if report.failed > told {
            say(&format!("... and {} more", count(report.failed - told)));
        }
        let (entries, packs) = (things(report.entries, "content"), things(report.packs, "pack"));
        let recovered = things(report.recovered, "content");
        let outcome = match (report.recovered, self.dry_run) {
            (0, _) => "the indexes know them all".to_owned(),
            (_, true) => format!("{recovered} would be recovered"),
            (_, false) => format!(
                "{recovered} recovered into {}",
                things(report.index_blobs, "new index blob")
            ),
        };
        output::text(&format!("{entries} in {packs}: {outcome}\n"))
    }
}
