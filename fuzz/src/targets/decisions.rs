//! The court's trial: rules that decide what is left out, kept, and deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_repo_format::identity::Source;
use windlass_repo_format::ignore::IgnoreRules;
use windlass_repo_format::maintenance::{MaintenanceParams, MaintenanceSchedule, open_schedule};
use windlass_repo_format::policy::{EffectiveFiles, EffectivePolicy, EffectiveRetention, Policy, PolicySet};
use windlass_repo_format::retention::{RetentionSnapshot, retention_reasons, to_delete};

use super::settles;
use crate::bytes::Tickets;

/// Paths, and behind them three times as many bytes of rules.
pub(super) const SOME_RULES: &[u8] = b"a/b.txt\nc\nlog/x.tmp\ndeep/a/b/cc\n\n*.tmp\n/c\n!keep.tmp\n# no rule\n**/b/*\nlog/\n[a-c]?\n[!x]*.o\n\\#x\na/**\n  b \n*.[oa]\n[[:alpha:]]1\ndeep/**/cc\n!/c/d\n*/x\n";
/// A policy behind the byte that says so.
pub(super) const A_POLICY: &[u8] = b"\0{\"retention\":{\"keepLatest\":10,\"keepHourly\":48,\"ignoreIdenticalSnapshots\":true},\"files\":{\"ignore\":[\"*.tmp\"],\"ignoreDotFiles\":[\".kopiaignore\"],\"maxFileSize\":7,\"oneFileSystem\":true},\"errorHandling\":{\"ignoreFileErrors\":true},\"scheduling\":{\"intervalSeconds\":60,\"timeOfDay\":[{\"hour\":1,\"min\":2}],\"cron\":[\"1 2 3\"],\"runMissed\":true},\"compression\":{\"compressorName\":\"zstd\",\"onlyCompress\":[\".txt\"],\"minSize\":1},\"splitter\":{\"algorithm\":\"FIXED\"},\"actions\":{\"a\":1},\"logging\":{},\"upload\":{\"parallelUploadAboveSize\":9},\"noParent\":true,\"x\":[1.5]}";
/// Two policies with their targets.
pub(super) const POLICIES: &[u8] =
    b"\x01\0\0\0\x1f{\"retention\":{\"keepLatest\":1}}\x20\x03\x02/a\0\x11{\"noParent\":true}";
/// Numbers to be kept, and snapshots.
pub(super) const SNAPSHOTS: &[u8] = b"\x02\x03\x04\x05\x06\x07\0\0\0\0\0\0\x01\x02\x03\x01\0\0\0\0\0\x0a\x02\x03\x02\0\0\0\0\0\x02\x02\x03\x04\0\0\0\x10\0\x01\x02\x03";

/// What holds where no policy says anything.
fn no_rules() -> EffectiveFiles {
    EffectivePolicy::merge([]).files
}

/// A dot file, and paths that its rules are asked about.
pub(super) fn ignore_rules(input: &[u8]) {
    let (paths, file) = input.split_at(input.len() / 4);
    let root = || IgnoreRules::root(&no_rules()).expect("there are no rules yet");
    let mut rules = root();
    let understood = rules.add_dot_file(file).is_ok();
    for path in paths
        .split(|byte| *byte == b'\n')
        .filter(|path| !path.is_empty() && path.len() < 300)
    {
        if understood {
            let ignored = rules.is_ignored(path, false);
            assert_eq!(rules.is_ignored(path, false), ignored);
            let _ = rules.is_ignored(path, true);
        }
        literal(path);
    }
}

/// A rule that spells a path letter by letter leaves out that path and what lies elsewhere by no other name.
fn literal(path: &[u8]) {
    let text = String::from_utf8_lossy(path);
    let plain = |letter: char| letter.is_alphanumeric() || letter == '/';
    let is_plain = text.chars().all(plain) && !text.starts_with('/') && !text.ends_with('/') && !text.contains("//");
    if !is_plain {
        return;
    }
    let mut rules = IgnoreRules::root(&no_rules()).expect("there are no rules yet");
    rules.add_patterns(&[format!("/{text}")]).expect("letters are a rule");
    assert!(
        rules.is_ignored(text.as_bytes(), false),
        "{text} is not ignored by its own name"
    );
    assert!(
        !rules.is_ignored(format!("{text}x").as_bytes(), false),
        "{text} ignores {text}x"
    );
    rules.add_patterns(&[format!("!/{text}")]).expect("letters are a rule");
    assert!(!rules.is_ignored(text.as_bytes(), false), "{text} is not brought back");
}

/// Policies for several places, and what holds for a source.
pub(super) fn policies(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let mut set = PolicySet::default();
    if tickets.byte() % 2 == 1 {
        while !tickets.is_empty() {
            let labels = [
                ("type", "policy".to_owned()),
                (
                    "policyType",
                    ["global", "host", "user", "path"][usize::from(tickets.byte() % 4)].to_owned(),
                ),
                ("hostname", "h".to_owned()),
                ("username", "u".to_owned()),
                ("path", tickets.text()),
            ];
            let labels: BTreeMap<String, String> = labels.map(|(name, value)| (name.to_owned(), value)).into();
            let _ = set.add(&labels, tickets.piece());
        }
        let source = Source {
            user_name: "u".to_owned(),
            host: "h".to_owned(),
            path: "/a".to_owned(),
        };
        assert_eq!(set.effective(&source), **set.place(&source).effective());
        return;
    }
    if let Ok(policy) = Policy::decode(tickets.rest()) {
        settles(policy, Policy::encode, Policy::decode);
    }
}

/// Snapshots at any time, and what becomes of them.
pub(super) fn retention(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let mut keep = || i64::from(tickets.byte() as i8);
    let policy = EffectiveRetention {
        keep_latest: keep(),
        keep_hourly: keep(),
        keep_daily: keep(),
        keep_weekly: keep(),
        keep_monthly: keep(),
        keep_annual: keep(),
        ignore_identical_snapshots: false,
    };
    let mut snapshots = Vec::new();
    while !tickets.is_empty() && snapshots.len() < 300 {
        let (kind, number) = (tickets.byte(), tickets.number());
        let span = if kind & 4 == 0 { 40_000_000 } else { 250_000_000_000 };
        let start = Timestamp::from_second((number % span) as i64).expect("it is before the year 9999");
        snapshots.push(RetentionSnapshot {
            id: snapshots.len().to_string(),
            start,
            end: start,
            incomplete: kind & 1 == 1,
            pinned: kind & 2 == 2,
        });
    }
    let reasons = retention_reasons(&policy, &snapshots);
    let unwanted = to_delete(&policy, &snapshots);
    for (snapshot, reasons) in snapshots.iter().zip(&reasons) {
        let goes = unwanted.contains(&snapshot.id);
        assert_eq!(goes, reasons.is_empty() && !snapshot.pinned);
    }
    let newest = snapshots
        .iter()
        .filter(|snapshot| !snapshot.incomplete)
        .max_by_key(|snapshot| snapshot.start);
    if let Some(newest) = newest.filter(|_| policy.keep_latest > 0) {
        let same = snapshots
            .iter()
            .filter(|other| !other.incomplete && other.start == newest.start)
            .count();
        assert!(same > 1 || !unwanted.contains(&newest.id), "the newest goes");
    }
}

/// Who maintains the repository, and when.
pub(super) fn maintenance(input: &[u8]) {
    assert!(open_schedule(&[1; 32], input).is_err(), "nobody has sealed this");
    if let Ok(params) = MaintenanceParams::decode(input) {
        settles(params, MaintenanceParams::encode, MaintenanceParams::decode);
    }
    if let Ok(schedule) = MaintenanceSchedule::decode(input) {
        settles(schedule, MaintenanceSchedule::encode, MaintenanceSchedule::decode);
    }
}
