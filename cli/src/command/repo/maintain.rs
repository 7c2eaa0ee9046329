//! The caretaker's round: `repo maintain`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use windlass_mover::maintenance::{
    Kept, MaintainOptions, MaintainProgress, MaintainReport, Mode, Outcome, Stats, TaskReport, maintain,
};
use windlass_repo_format::maintenance::{Safety, Task};

use crate::context::{Context, refuse_lost_index};
use crate::exit::Exit;
use crate::figures::{size, things};
use crate::output;
use crate::progress::{Meter, Reading};
use crate::table::Facts;

const EXAMPLES: &str = "\
Quick maintenance keeps the indexes few; full maintenance also removes what no snapshot needs. Without --quick or --full \
whichever is due is carried out. Others may read and write the repository meanwhile. Nothing is removed at once: what no \
snapshot needs is marked, dropped after a second full maintenance has confirmed it, and its pack is deleted a day after \
it was written at the earliest. Only the owner that the repository names runs it, which is who made it; --force is for \
taking over. Kopia and Windlass keep one schedule and may take turns.

--safety none removes all of it at once. It loses data if anybody else uses the repository at the same time.

Examples:
    windlass repo maintain
    windlass repo maintain --full --dry-run
    windlass repo maintain --quick --repo /mnt/backup";

/// `windlass repo maintain`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Maintain {
    /// Look after the indexes alone, also if that is not due
    #[arg(long, conflicts_with = "full")]
    quick: bool,

    /// Do everything, also if that is not due
    #[arg(long)]
    full: bool,

    /// Run it although somebody else is the owner
    #[arg(long)]
    force: bool,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,

    /// How careful to be of others who use the repository at the same time
    #[arg(long, value_enum, default_value = "full")]
    safety: Care,
}

/// How careful to be.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Care {
    /// Safe while others read and write
    Full,
    /// Only while nobody else uses the repository
    None,
}

impl Maintain {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open_uncached()?;
        refuse_lost_index(&repository)?;
        let options = MaintainOptions {
            mode: match (self.quick, self.full) {
                (true, _) => Some(Mode::Quick),
                (_, true) => Some(Mode::Full),
                _ => None,
            },
            safety: match self.safety {
                Care::Full => Safety::FULL,
                Care::None => Safety::NONE,
            },
            force: self.force,
            dry_run: self.dry_run,
        };
        let stop = context.interrupt.heed();
        let progress = Arc::new(MaintainProgress::default());
        let seen = progress.clone();
        let meter = Meter::start(context.options.json, "thing", move || Reading {
            bytes: seen.bytes.load(Ordering::Relaxed),
            items: seen.items.load(Ordering::Relaxed),
            ..Reading::default()
        });
        let maintained = maintain(&repository, &options, &progress, &stop);
        drop(meter);
        let report = maintained?;
        if context.options.json {
            output::json(&json(&report))?;
        } else {
            output::text(&text(&report))?;
        }
        Ok(Exit::Done)
    }
}

fn mode_name(report: &MaintainReport) -> Option<&'static str> {
    report.mode.map(|mode| match mode {
        Mode::Quick => "quick",
        Mode::Full => "full",
    })
}

fn json(report: &MaintainReport) -> Value {
    json!({
        "mode": mode_name(report),
        "dryRun": report.dry_run,
        "start": report.start.to_string(),
        "tasks": report.tasks.iter().map(task_json).collect::<Vec<_>>(),
    })
}

fn task_json(task: &TaskReport) -> Value {
    let kept = task
        .kept
        .iter()
        .map(|Kept { why, tally }| json!({"why": why, "count": tally.count, "bytes": tally.bytes}));
    let mut value = json!({
        "task": task.task.name(),
        "kept": kept.collect::<Vec<_>>(),
    });
    match &task.outcome {
        Outcome::Done(stats) => value["done"] = json!({"kind": stats.kind(), "data": stats}),
        Outcome::Nothing(why) => value["nothing"] = json!(why),
    }
    value
}

fn text(report: &MaintainReport) -> String {
    let Some(mode) = mode_name(report) else {
        return "No maintenance is due; --quick or --full runs it all the same\n".to_owned();
    };
    let mut facts = Facts::default();
    for task in &report.tasks {
        let told = match &task.outcome {
            Outcome::Done(stats) => sentence(stats, report.dry_run),
            Outcome::Nothing(why) => format!("nothing: {why}"),
        };
        facts.add(words(task.task), told);
        for Kept { why, tally } in &task.kept {
            facts.add(
                "",
                format!("kept {} ({}): {why}", things(tally.count, "thing"), size(tally.bytes)),
            );
        }
    }
    let done = if report.dry_run { "would do this" } else { "done" };
    format!("{mode} maintenance {done}\n\n{}", facts.render("  "))
}

fn words(task: Task) -> &'static str {
    match task {
        Task::SnapshotGc => "unneeded contents",
        Task::FullRewriteContents | Task::QuickRewriteContents => "short packs",
        Task::FullDropDeletedContents => "deleted contents",
        Task::FullDeleteBlobs | Task::QuickDeleteBlobs => "unneeded packs",
        Task::ExtendBlobRetention => "locks",
        Task::CompactSingleEpoch => "index of an epoch",
        Task::AdvanceEpoch => "epoch",
        Task::GenerateRange => "index of many epochs",
        Task::CleanupMarkers => "epoch markers",
        Task::DeleteSupersededIndexes => "replaced indexes",
        Task::CleanupLogs => "logs",
    }
}

/// What a step did, or would do.
fn sentence(stats: &Stats, would: bool) -> String {
    let amount = |count: u64, what: &str, bytes: u64| format!("{} ({})", things(count, what), size(bytes));
    match stats {
        Stats::SnapshotGc {
            deleted_content_count,
            deleted_content_size,
            in_use_content_count,
            in_use_content_size,
            recovered_content_count,
            recovered_content_size,
            ..
        } => {
            let mut sentence = format!(
                "{} marked deleted, {} in use",
                amount(*deleted_content_count, "content", *deleted_content_size),
                amount(*in_use_content_count, "content", *in_use_content_size)
            );
            if *recovered_content_count > 0 {
                let again = amount(*recovered_content_count, "content", *recovered_content_size);
                sentence.push_str(&format!(", {again} needed again and written anew"));
            }
            sentence
        }
        Stats::RewriteContents {
            to_rewrite_content_count,
            to_rewrite_content_size,
            ..
        } => format!(
            "{} moved",
            amount(*to_rewrite_content_count, "content", *to_rewrite_content_size)
        ),
        Stats::CompactIndexes {
            dropped_contents_deleted_before,
        } => format!("dropped what was marked before {dropped_contents_deleted_before}"),
        Stats::DeleteUnreferencedPacks {
            unreferenced_pack_count,
            unreferenced_total_size,
            ..
        } => format!(
            "{} deleted",
            amount(
                *unreferenced_pack_count,
                "pack or session marker",
                *unreferenced_total_size
            )
        ),
        Stats::ExtendBlobRetention {
            to_extend_blob_count,
            extended_blob_count,
            ..
        } => {
            let count = if would {
                to_extend_blob_count
            } else {
                extended_blob_count
            };
            format!("{} locked for longer", things(*count, "blob"))
        }
        Stats::CompactSingleEpoch {
            superseded_index_blob_count,
            superseded_index_total_size,
            epoch,
        } => {
            let inputs = amount(*superseded_index_blob_count, "index blob", *superseded_index_total_size);
            format!("{inputs} of epoch {epoch} put together")
        }
        Stats::AdvanceEpoch {
            current_epoch,
            was_advanced: true,
        } => format!("epoch {current_epoch} begins"),
        Stats::AdvanceEpoch { current_epoch, .. } => format!("epoch {current_epoch} goes on"),
        Stats::GenerateRangeCheckpoint {
            range_min_epoch,
            range_max_epoch,
        } => format!("epochs {range_min_epoch} to {range_max_epoch} put together"),
        Stats::CleanupMarkers {
            deleted_epoch_marker_blob_count,
            deleted_watermark_blob_count,
        } => format!(
            "{} and {} deleted",
            things(*deleted_epoch_marker_blob_count, "epoch marker"),
            things(*deleted_watermark_blob_count, "watermark")
        ),
        Stats::CleanupSupersededIndexes {
            deleted_blob_count,
            deleted_total_size,
            ..
        } => format!(
            "{} deleted",
            amount(*deleted_blob_count, "index blob", *deleted_total_size)
        ),
        Stats::CleanupLogs {
            to_delete_blob_count,
            to_delete_blob_size,
            retained_blob_count,
            ..
        } => format!(
            "{} deleted, {} kept",
            amount(*to_delete_blob_count, "log", *to_delete_blob_size),
            retained_blob_count
        ),
    }
}
