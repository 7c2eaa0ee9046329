//! The inspector's report: what a check has found, for people and for programs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};
use windlass_mover::verify::{Problem, UnindexedPacks, VerifyProgress, VerifyReport};

use crate::context::Context;
use crate::exit::Exit;
use crate::figures::{chain, count, duration, rate, shown, size, things};
use crate::output;
use crate::progress::{Meter, Reading, say};
use crate::table::Facts;

/// Reads a part of a hundred.
pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    let percent: Result<f64, _> = text.trim_end_matches('%').trim().parse();
    let percent = percent.ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

/// Shows how far a check has come.
pub(super) fn meter(context: &Context, progress: &Arc<VerifyProgress>) -> Meter {
    let progress = progress.clone();
    Meter::start(context.options.json, "content", move || Reading {
        bytes: progress.bytes_read.load(Ordering::Relaxed),
        bytes_expected: 0,
        items: progress.contents.load(Ordering::Relaxed),
        failures: progress.problems.load(Ordering::Relaxed),
    })
}

/// Shows what a check has found. Damage is a failure.
pub(super) fn show(context: &Context, checked: &str, report: &VerifyReport, time: Duration) -> anyhow::Result<Exit> {
    let exit = if report.is_sound() { Exit::Done } else { Exit::Failed };
    if context.options.json {
        output::json(&json(report, time))?;
        return Ok(exit);
    }
    for problem in &report.first_problems {
        say(&format!("wrong: {}", shown(problem.to_string().as_bytes())));
    }
    let told = report.first_problems.len() as u64;
    if report.problems > told {
        say(&format!("... and {} more", count(report.problems - told)));
    }
    if !report.touched.is_empty() {
        say("These files and folders suffer from it:");
        for (snapshot, path) in &report.touched {
            say(&format!("  {snapshot}/{}", shown(path)));
        }
    }
    if let Some(packs) = &report.unindexed {
        tell_unindexed(packs);
    }
    let in_doubt = report.unindexed.as_ref().map_or(0, |packs| packs.unclear);
    let verdict = match report.problems {
        0 if in_doubt > 0 => format!("{checked}: no damage found, {} in doubt", things(in_doubt, "pack")),
        0 => format!("{checked}: all is well"),
        problems => format!("{checked}: DAMAGED, {}", things(problems, "problem")),
    };
    output::text(&format!("{verdict}\n\n{}", facts(report, time).render("  ")))?;
    Ok(exit)
}

/// What can be done about packs that no index names.
fn tell_unindexed(packs: &UnindexedPacks) {
    for pack in &packs.first_unclear {
        say(&format!("in doubt: pack {pack} is in no index"));
    }
    let told = packs.first_unclear.len() as u64;
    if packs.unclear > told {
        say(&format!("... and {} more", count(packs.unclear - told)));
    }
    if packs.unclear > 0 {
        say(
            "A pack in doubt is either waste that maintenance will remove, or has lost its index. If snapshots \
             or files are missing, run `windlass repo recover-index` before the next maintenance: waste does no harm.",
        );
    }
    if packs.lost > 0 {
        say(
            "An index blob was lost. `windlass repo recover-index` writes a new one from the packs; do it before Kopia's \
             next maintenance, which removes packs that no index names.",
        );
    }
}

fn facts(report: &VerifyReport, time: Duration) -> Facts {
    let mut facts = Facts::default();
    let mut add = |name: &str, number: u64| {
        if number > 0 {
            facts.add(name, count(number));
        }
    };
    add("index blobs", report.index_blobs);
    add("snapshots", report.snapshots);
    add("folders", report.directories);
    add("files", report.files);
    add("contents", report.contents);
    if let Some(packs) = &report.unindexed {
        let kinds = [
            (packs.expected, "of sessions that have not ended"),
            (packs.superseded, "that maintenance will remove"),
            (packs.unclear, "in doubt"),
            (packs.lost, "without the index they had"),
        ];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, kind)| format!("{} {kind}", count(*number)))
            .collect();
        if !kinds.is_empty() {
            facts.add("packs in no index", kinds.join(", "));
        }
    }
    if report.contents_read == 0 {
        return facts;
    }
    let (bytes, pace) = (size(report.bytes_read), rate(report.bytes_read, time));
    let read = format!(
        "{} of {bytes} in {}, {pace}",
        things(report.contents_read, "content"),
        duration(time)
    );
    facts.add("read", read);
    facts
}

fn json(report: &VerifyReport, time: Duration) -> Value {
    let touched = report
        .touched
        .iter()
        .map(|(snapshot, path)| json!({"snapshot": snapshot.to_string(), "path": String::from_utf8_lossy(path)}));
    let unindexed = report.unindexed.as_ref().map(|packs| {
        json!({
            "expected": packs.expected,
            "superseded": packs.superseded,
            "unclear": packs.unclear,
            "firstUnclear": packs.first_unclear.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "lost": packs.lost,
        })
    });
    let mut value = json!({
        "isSound": report.is_sound(),
        "problemCount": report.problems,
        "problems": report.first_problems.iter().map(problem).collect::<Vec<_>>(),
        "touched": touched.collect::<Vec<_>>(),
        "snapshots": report.snapshots,
        "directories": report.directories,
        "files": report.files,
        "contents": report.contents,
        "contentsRead": report.contents_read,
        "bytesRead": report.bytes_read,
        "indexBlobs": report.index_blobs,
        "seconds": time.as_secs_f64(),
    });
    if let Some(unindexed) = unindexed {
        value["unindexedPacks"] = unindexed;
    }
    value
}

fn problem(problem: &Problem) -> Value {
    let mut value = Map::new();
    let mut add = |name: &str, text: Option<String>| {
        if let Some(text) = text {
            value.insert(name.to_owned(), text.into());
        }
    };
    add("error", Some(chain(&problem.error)));
    add("snapshot", problem.snapshot.map(|id| id.to_string()));
    add(
        "path",
        problem
            .path
            .as_ref()
            .map(|path| String::from_utf8_lossy(path).into_owned()),
    );
    add("blob", problem.blob.as_ref().map(ToString::to_string));
    add("content", problem.content.map(|id| id.to_string()));
    value.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_hundred_is_read_with_or_without_its_sign() {
        assert_eq!(parse_percent("0.5"), Ok(0.5));
        assert_eq!(parse_percent("100%"), Ok(100.0));
        assert_eq!(parse_percent("7 %"), Ok(7.0));
        for wrong in ["", "-1", "101", "NaN", "some"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
    }
}
