//! The catalogue: `snapshot list`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use windlass_mover::Repository;
use windlass_mover::blocking::block_on;
use windlass_mover::snapshots::{self, Snapshot};
use windlass_repo_format::identity::{Source, SourceArgument};
use windlass_repo_format::retention::{RetentionSnapshot, retention_reasons};

use super::described::{self, Amount};
use crate::context::{Context, refuse_lost_index};
use crate::exit::Exit;
use crate::figures::{chain, count, moment, shown, size};
use crate::progress::say;
use crate::table::{Align, Table};
use crate::{output, whoami};

const EXAMPLES: &str = "\
Without PATH, the snapshots of this user on this host are listed; with --all those of everybody. PATH may also be \
user@host:path, user@host or @host. The IDs are shortened; all commands take them so.

KEPT FOR says why the retention policy keeps a snapshot; one without a reason goes with the next snapshot of its source.

Examples:
    windlass snapshot list
    windlass snapshot list ~/documents
    windlass snapshot list --all --json
    windlass snapshot list ann@laptop:/home/ann";

/// `windlass snapshot list`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct List {
    /// Only the snapshots of this source
    path: Option<String>,

    /// The snapshots of all users and hosts
    #[arg(long, conflicts_with = "path")]
    all: bool,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let wanted = match &self.path {
            Some(path) => whoami::source_argument(path, &context.identity)?,
            None if self.all => SourceArgument::Global,
            None => SourceArgument::User(context.identity.user.clone(), context.identity.host.clone()),
        };
        let repository = context.open()?;
        let listed = block_on(snapshots::list_all(&repository, None))?;
        let total = listed.snapshots.len();
        if total == 0 {
            refuse_lost_index(&repository)?;
        }
        let mut by_source: BTreeMap<Source, Vec<Snapshot>> = BTreeMap::new();
        for snapshot in listed.snapshots {
            let source = Source::from(&snapshot.manifest.source);
            if is_wanted(&wanted, &source) {
                by_source.entry(source).or_default().push(snapshot);
            }
        }
        let reasons = reasons(&repository, &by_source)?;
        if context.options.json {
            let mut all: Vec<(&Snapshot, &String)> = by_source.values().flatten().zip(&reasons).collect();
            all.sort_by_key(|(snapshot, _)| (snapshot.manifest.start_time, snapshot.id));
            let values = all.into_iter().map(|(snapshot, reasons)| {
                let mut value = described::json(snapshot);
                value["retentionReasons"] = json!(reasons.split_terminator(' ').collect::<Vec<_>>());
                value
            });
            output::json(&values.collect::<Vec<_>>())?;
        } else {
            output::text(&text(&by_source, &reasons, total))?;
        }
        for (id, error) in &listed.unreadable {
            say(&format!("windlass: snapshot {id} cannot be listed: {:#}", chain(error)));
        }
        Ok(if listed.unreadable.is_empty() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

fn is_wanted(wanted: &SourceArgument, source: &Source) -> bool {
    match wanted {
        SourceArgument::Global => true,
        SourceArgument::Host(host) => source.host == *host,
        SourceArgument::User(user, host) => source.user_name == *user && source.host == *host,
        SourceArgument::Path(path) => source == path,
    }
}

/// Why each snapshot is kept, in the order of the sources.
fn reasons(repository: &Repository, by_source: &BTreeMap<Source, Vec<Snapshot>>) -> anyhow::Result<Vec<String>> {
    let manifests = block_on(repository.manifests())?;
    let policies = manifests.policies()?;
    let mut texts = Vec::new();
    for (source, snapshots) in by_source {
        let seen: Vec<RetentionSnapshot> = snapshots.iter().map(Snapshot::for_retention).collect();
        let reasons = retention_reasons(&policies.effective(source).retention, &seen);
        texts.extend(reasons.iter().map(|reasons| {
            let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            words.join(" ")
        }));
    }
    Ok(texts)
}

fn text(by_source: &BTreeMap<Source, Vec<Snapshot>>, reasons: &[String], total: usize) -> String {
    if by_source.is_empty() {
        return match total {
            0 => "There are no snapshots yet. `windlass snapshot create FOLDER` makes one.\n".to_owned(),
            _ => format!(
                "There are no such snapshots; the repository has {} of other sources, which --all shows.\n",
                count(total as u64)
            ),
        };
    }
    let mut reasons = reasons.iter();
    let mut text = String::new();
    for (source, snapshots) in by_source {
        let mut table = Table::new(&[
            ("ID", Align::Left),
            ("STARTED", Align::Left),
            ("SIZE", Align::Right),
            ("FILES", Align::Right),
            ("KEPT FOR", Align::Left),
            ("NOTES", Align::Left),
        ]);
        for (snapshot, reasons) in snapshots.iter().zip(&mut reasons) {
            let amount = Amount::of(&snapshot.manifest);
            table.row(vec![
                described::short_id(snapshot),
                moment(snapshot.manifest.start_time),
                size(amount.bytes),
                count(amount.files),
                reasons.clone(),
                notes(snapshot),
            ]);
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{}\n{}", shown(source.to_string().as_bytes()), table.render("  "));
    }
    text
}

/// What else a person should know at a glance.
fn notes(snapshot: &Snapshot) -> String {
    let manifest = &snapshot.manifest;
    let mut notes = Vec::new();
    if let Some(why) = &manifest.incomplete {
        notes.push(format!("incomplete: {}", shown(why.as_bytes())));
    }
    let failed = manifest
        .root_entry
        .as_ref()
        .and_then(|root| root.summary.as_ref())
        .map_or(0, |summary| summary.num_failed);
    if failed > 0 {
        notes.push(format!("{} not readable", count(failed)));
    }
    if !manifest.pins.is_empty() {
        notes.push(format!("pinned: {}", shown(manifest.pins.join(", ").as_bytes())));
    }
    notes.extend(manifest.tags.iter().map(|(key, value)| {
        let key = key.strip_prefix("tag:").unwrap_or(key);
        shown(format!("{key}:{value}").as_bytes())
    }));
    if !manifest.description.is_empty() {
        notes.push(format!("\"{}\"", shown(manifest.description.as_bytes())));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_wanted_by_what_was_named_of_them() {
        let source = |user: &str, host: &str, path: &str| Source {
            host: host.to_owned(),
            user_name: user.to_owned(),
            path: path.to_owned(),
        };
        let ours = source("u", "h", "/a");
        let user = |user: &str| SourceArgument::User(user.to_owned(), "h".to_owned());
        assert!(is_wanted(&SourceArgument::Global, &ours));
        assert!(is_wanted(&SourceArgument::Host("h".to_owned()), &ours));
        assert!(!is_wanted(&SourceArgument::Host("other".to_owned()), &ours));
        assert!(is_wanted(&user("u"), &ours) && !is_wanted(&user("v"), &ours));
        assert!(is_wanted(&SourceArgument::Path(source("u", "h", "/a")), &ours));
        assert!(!is_wanted(&SourceArgument::Path(source("u", "h", "/a/b")), &ours));
    }

    #[test]
    fn an_empty_list_says_what_to_do() {
        assert!(text(&BTreeMap::new(), &[], 0).contains("snapshot create"));
        assert!(text(&BTreeMap::new(), &[], 7).contains("7 of other sources"));
    }
}
