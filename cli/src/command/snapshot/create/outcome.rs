//! The receipt: what became of a snapshot, for people and for programs.

use std::time::Duration;

use serde_json::{Map, Value, json};
use windlass_mover::snapshot::{LostKind, SnapshotReport};

use super::super::described::{Amount, manifest_json, source_text};
use super::super::stages;
use crate::context::{Context, Place, about_password_file};
use crate::exit::Exit;
use crate::figures::{count, duration, quoted, rate, shown, size, things};
use crate::output;
use crate::progress::say;
use crate::table::Facts;

/// So many failures are listed for people; programs are told of as many as there are texts for.
const FAILURES_SHOWN: usize = 50;
/// So many examples of each kind of loss are listed for people.
const EXAMPLES_SHOWN: usize = 3;

/// A snapshot that was made.
pub(super) struct Outcome<'a> {
    pub report: &'a SnapshotReport,
    pub time: Duration,
    /// The default repository, if this run has made it.
    pub made_repository: Option<&'a Place>,
    pub location: String,
    /// Show what the stages did.
    pub profile_stages: bool,
}

impl Outcome<'_> {
    /// Shows it, and says which exit code it is.
    pub(super) fn show(&self, context: &Context) -> anyhow::Result<Exit> {
        let exit = self.exit(context.interrupt.is_stopped());
        if context.options.json {
            output::json(&self.json(context))?;
            return Ok(exit);
        }
        self.list_failures();
        output::text(&self.text(context))?;
        match exit {
            Exit::Failed => say(
                "windlass: stopped before the end. What had been read is kept as an incomplete snapshot; the next run of \
                 the same command goes on from there.",
            ),
            Exit::Partial => say("windlass: the snapshot is stored, but not all could be kept (see above)."),
            _ => {}
        }
        Ok(exit)
    }

    fn exit(&self, is_stopped: bool) -> Exit {
        if is_stopped && self.report.manifest.incomplete.is_some() {
            Exit::Failed
        } else if self.report.is_partial() {
            Exit::Partial
        } else {
            Exit::Done
        }
    }

    fn list_failures(&self) {
        let report = self.report;
        for failure in report.failures.iter().take(FAILURES_SHOWN) {
            let what = if failure.is_directory { "folder " } else { "" };
            let ignored = if failure.ignored {
                " (ignored by the policy)"
            } else {
                ""
            };
            let (path, error) = (shown(&failure.relative), shown(failure.error.as_bytes()));
            say(&format!("cannot read {what}{path}: {error}{ignored}"));
        }
        let all = report.failure_count + report.ignored_failure_count;
        let listed = report.failures.len().min(FAILURES_SHOWN) as u64;
        if all > listed {
            say(&format!("... and {} more", count(all - listed)));
        }
    }

    fn text(&self, context: &Context) -> String {
        let report = self.report;
        let source = shown(source_text(&report.manifest.source).as_bytes());
        let mut text = match &report.id {
            Some(_) => format!("Snapshot of {source}\n\n"),
            None => {
                format!("Nothing has changed in {source} since the last snapshot, and the policy wants no copy.\n\n")
            }
        };
        text += &self.facts().render("  ");
        text += &self.losses();
        if self.profile_stages {
            text += &stages::table(&self.report.stages);
            text += &self.input_and_output();
        }
        if let Some(place) = self.made_repository {
            text += &format!(
                "\nThis was the first snapshot, so a repository has been made in the folder\n\n  {}\n",
                place.location
            );
            if let Some(file) = context.own_password_file(place) {
                text += &about_password_file(&file);
            }
            text += &self.next_steps();
        }
        text
    }

    fn facts(&self) -> Facts {
        let (report, amount) = (self.report, Amount::of(&self.report.manifest));
        let mut facts = Facts::default();
        if let Some(id) = &report.id {
            facts.add("id", id.to_string());
        }
        if let Some(root) = report.root() {
            facts.add("root", root.to_string());
        }
        let (links, folders) = (things(amount.symlinks, "link"), things(amount.directories, "folder"));
        facts.add("files", format!("{}, {links}, in {folders}", count(amount.files)));
        let unchanged = report.manifest.stats.cached_files;
        if unchanged > 0 {
            facts.add("unchanged", format!("{} of the files and links", count(unchanged)));
        }
        facts.add("size", size(amount.bytes));
        let pace = rate(report.bytes_read, self.time);
        facts.add(
            "read",
            format!("{} in {}, {pace}", size(report.bytes_read), duration(self.time)),
        );
        let written = &report.written;
        let (new, blobs) = (things(written.new_contents, "content"), things(written.blobs, "blob"));
        facts.add(
            "new",
            format!(
                "{} in {new}, stored as {} in {blobs}",
                size(written.new_bytes),
                size(written.stored_bytes)
            ),
        );
        if !report.expired.is_empty() {
            let number = report.expired.len() as u64;
            facts.add(
                "expired",
                format!("{} by the retention policy", things(number, "earlier snapshot")),
            );
        }
        if let Some(why) = &report.manifest.incomplete {
            facts.add("incomplete", why.as_str());
        }
        if report.failure_count > 0 {
            let what = if report.failure_count == 1 {
                "file or folder"
            } else {
                "files or folders"
            };
            facts.add("not read", format!("{} {what}", count(report.failure_count)));
        }
        facts
    }

    /// What the format could not keep, by kind.
    fn losses(&self) -> String {
        let mut text = String::new();
        for (kind, lost) in &self.report.lost {
            text += &format!("  {:>8}  {}\n", count(lost.count), kind.text(lost.count));
            if kind.is_loss() || *kind == LostKind::ChangedWhileRead {
                for example in lost.examples.iter().take(EXAMPLES_SHOWN) {
                    text += &format!("            {}\n", shown(example));
                }
            }
        }
        if text.is_empty() {
            text
        } else {
            format!("\nNot kept, or kept otherwise:\n{text}")
        }
    }

    /// How files were read and packs written.
    fn input_and_output(&self) -> String {
        let mut text = String::new();
        if let Some(reads) = &self.report.reads {
            text += &format!(
                "\nRead by {}:\n  {} in flight on average, {} at most; {} past the page cache, {} through it; \
                 {} into registered buffers, {} into others\n",
                self.report.engine,
                format_args!("{:.1}", reads.in_flight_mean),
                count(reads.in_flight_max),
                size(reads.direct_bytes),
                size(reads.cached_bytes),
                size(reads.registered_bytes),
                size(reads.plain_bytes),
            );
        }
        if let Some(writes) = &self.report.writes {
            text += &format!(
                "\nWritten into the folder:\n  {} past the page cache, {} through it; space for {} asked for first\n",
                size(writes.direct_bytes),
                size(writes.cached_bytes),
                size(writes.reserved_bytes),
            );
        }
        text
    }

    fn next_steps(&self) -> String {
        let id = self.report.id.map(|id| id.to_string()).unwrap_or_default();
        let path = quoted(&self.report.manifest.source.path);
        format!(
            "\nNext:\n\n  windlass snapshot create {path}     # again, at any time: only changes are stored\n  \
             windlass snapshot list\n  windlass snapshot ls {id}\n  windlass snapshot restore {id} /tmp/restored\n"
        )
    }

    fn json(&self, context: &Context) -> Value {
        let report = self.report;
        let failure = |failure: &windlass_mover::snapshot::Failure| {
            json!({
                "path": String::from_utf8_lossy(&failure.relative),
                "error": failure.error,
                "ignored": failure.ignored,
            })
        };
        let lost: Map<String, Value> = report
            .lost
            .iter()
            .map(|(kind, lost)| {
                let examples: Vec<_> = lost.examples.iter().map(|path| String::from_utf8_lossy(path)).collect();
                (
                    kind.name().to_owned(),
                    json!({"count": lost.count, "examples": examples, "isLoss": kind.is_loss()}),
                )
            })
            .collect();
        let mut value = manifest_json(&report.manifest);
        value["id"] = json!(report.id.map(|id| id.to_string()));
        value["cachedFiles"] = json!(report.manifest.stats.cached_files);
        value["bytesRead"] = json!(report.bytes_read);
        value["errors"] = report.failures.iter().map(failure).collect();
        value["errorCount"] = json!(report.failure_count);
        value["ignoredErrorCount"] = json!(report.ignored_failure_count);
        value["notKept"] = lost.into();
        value["newContents"] = json!(report.written.new_contents);
        value["newBytes"] = json!(report.written.new_bytes);
        value["storedBytes"] = json!(report.written.stored_bytes);
        value["blobs"] = json!(report.written.blobs);
        value["expired"] = report.expired.iter().map(ToString::to_string).collect();
        value["engine"] = json!(report.engine);
        value["reads"] = json!(report.reads.map(|reads| {
            json!({
                "requests": reads.reads,
                "inFlightMax": reads.in_flight_max,
                "inFlightMean": reads.in_flight_mean,
                "directBytes": reads.direct_bytes,
                "cachedBytes": reads.cached_bytes,
                "registeredBytes": reads.registered_bytes,
                "plainBytes": reads.plain_bytes,
            })
        }));
        value["writes"] = json!(report.writes.map(|writes| {
            json!({
                "directBytes": writes.direct_bytes,
                "cachedBytes": writes.cached_bytes,
                "reservedBytes": writes.reserved_bytes,
            })
        }));
        value["seconds"] = json!(self.time.as_secs_f64());
        if self.profile_stages {
            value["stages"] = stages::json(&report.stages);
        }
        value["repository"] = json!({
            "location": self.location,
            "isNew": self.made_repository.is_some(),
            "passwordFile": self.made_repository.and_then(|place| context.own_password_file(place)),
        });
        value
    }
}
