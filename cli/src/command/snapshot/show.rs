//! The display case: `snapshot show`.

use clap::Args;
use serde_json::json;
use windlass_repo_format::snapshot::DirEntry;

use super::described::{self, Amount, source_text};
use super::place::{Found, ID_HELP, Place};
use crate::context::Context;
use crate::exit::{Exit, WrongUse};
use crate::figures::{count, duration, moment, shown, size, things};
use crate::output;
use crate::table::Facts;

const EXAMPLES: &str = "\
Examples:
    windlass snapshot show 3f2a
    windlass snapshot show 3f2a --json";

/// `windlass snapshot show`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Show {
    /// Which snapshot
    #[arg(long_help = ID_HELP)]
    id: std::ffi::OsString,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let place = Place::parse(&self.id)?;
        if !place.path.is_empty() {
            return Err(
                WrongUse("only whole snapshots are shown; `windlass snapshot ls` looks into them".to_owned()).into(),
            );
        }
        let found = place.find(&context.open()?)?;
        if context.options.json {
            let mut value = described::json(&found.snapshot);
            let stats = &found.snapshot.manifest.stats;
            value["stats"] = json!({
                "cachedFiles": stats.cached_files,
                "nonCachedFiles": stats.non_cached_files,
                "excludedFiles": stats.excluded_file_count,
                "excludedDirectories": stats.excluded_dir_count,
                "excludedBytes": stats.excluded_total_size,
                "errors": stats.error_count,
                "ignoredErrors": stats.ignored_error_count,
            });
            value["failedEntries"] = failures(&found.entry)
                .map(|(path, error)| json!({"path": path, "error": error}))
                .collect();
            output::json(&value)?;
        } else {
            output::text(&text(&found))?;
        }
        Ok(Exit::Done)
    }
}

fn failures(root: &DirEntry) -> impl Iterator<Item = (String, String)> {
    let errors = root.summary.iter().flat_map(|summary| &summary.errors);
    errors.map(|error| {
        (
            String::from_utf8_lossy(&error.path).into_owned(),
            String::from_utf8_lossy(&error.error).into_owned(),
        )
    })
}

fn text(found: &Found) -> String {
    let manifest = &found.snapshot.manifest;
    let mut facts = Facts::default();
    facts.add("id", found.snapshot.id.to_string());
    facts.add("source", shown(source_text(&manifest.source).as_bytes()));
    if !manifest.description.is_empty() {
        facts.add("description", shown(manifest.description.as_bytes()));
    }
    facts.add("started", moment(manifest.start_time));
    let time = manifest.end_time.duration_since(manifest.start_time).unsigned_abs();
    facts.add(
        "ended",
        format!("{}, after {}", moment(manifest.end_time), duration(time)),
    );
    if let Some(why) = &manifest.incomplete {
        facts.add("incomplete", shown(why.as_bytes()));
    }
    let root = found.entry.object.map(|object| object.to_string());
    facts.add("root", root.unwrap_or_else(|| "none".to_owned()));
    let amount = Amount::of(manifest);
    facts.add("size", size(amount.bytes));
    facts.add("files", count(amount.files));
    facts.add("folders", count(amount.directories));
    facts.add("links", count(amount.symlinks));
    let stats = &manifest.stats;
    facts.add(
        "read",
        format!(
            "{}; {} were unchanged",
            count(stats.non_cached_files),
            count(stats.cached_files)
        ),
    );
    if stats.excluded_file_count + stats.excluded_dir_count > 0 {
        let files = things(stats.excluded_file_count, "file");
        let folders = things(stats.excluded_dir_count, "folder");
        facts.add(
            "ignored",
            format!("{files} of {} and {folders}, by rules", size(stats.excluded_total_size)),
        );
    }
    for (key, value) in &manifest.tags {
        facts.add("tag", shown(format!("{key}: {value}").as_bytes()));
    }
    for pin in &manifest.pins {
        facts.add("pinned", shown(pin.as_bytes()));
    }
    let mut text = facts.render("");
    if let Some(summary) = found
        .entry
        .summary
        .as_ref()
        .filter(|summary| summary.num_failed + summary.num_ignored_errors > 0)
    {
        let ignored = match summary.num_ignored_errors {
            0 => String::new(),
            1 => ", 1 more was ignored by the policy".to_owned(),
            ignored => format!(", {} more were ignored by the policy", count(ignored)),
        };
        text += &format!("\n{} could not be read{ignored}:\n", count(summary.num_failed));
        for (path, error) in failures(&found.entry) {
            text += &format!("  {}: {}\n", shown(path.as_bytes()), shown(error.as_bytes()));
        }
    }
    text
}
