//! The retention room: which snapshots of one source are still wanted, and why.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::policy::EffectiveRetention;

/// What retention needs to know of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSnapshot {
    /// ID of its manifest.
    pub id: String,
    /// When it was begun; snapshots are ordered by this.
    pub start: Timestamp,
    /// When it was ended.
    pub end: Timestamp,
    /// Whether it is a checkpoint, canceled or cut at a limit.
    pub incomplete: bool,
    /// Whether it bears a pin.
    pub pinned: bool,
}

/// Why a snapshot is kept. Numbers count from one, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is incomplete but may still be continued.
    Incomplete,
    /// It is among the newest.
    Latest(u64),
    /// It is the newest of its hour.
    Hourly(u64),
    /// It is the newest of its day.
    Daily(u64),
    /// It is the newest of its ISO week.
    Weekly(u64),
    /// It is the newest of its month.
    Monthly(u64),
    /// It is the newest of its year.
    Annual(u64),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("incomplete"),
            Self::Latest(n) => write!(f, "latest-{n}"),
            Self::Annual(n) => write!(f, "annual-{n}"),
            Self::Monthly(n) => write!(f, "monthly-{n}"),
            Self::Weekly(n) => write!(f, "weekly-{n}"),
            Self::Daily(n) => write!(f, "daily-{n}"),
            Self::Hourly(n) => write!(f, "hourly-{n}"),
        }
    }
}

/// Incomplete snapshots are kept if they were begun less than this before the newest one.
const INCOMPLETE_AGE_LIMIT: SignedDuration = SignedDuration::from_hours(4);
/// The newest so many incomplete snapshots are kept whatever their age.
const INCOMPLETE_KEPT: usize = 3;

/// The reasons to keep each of the snapshots of one source, in the order given.
///
/// Complete snapshots count for the newest so many and for periods of the UTC calendar. (So it is in Kopia, except for
/// weeks, which it takes from the zone of the machine; what is kept of a shared repository should not depend on who looks
/// at it.) The newest snapshot of a period stands for it; a period counts if that snapshot is not older than the newest
/// complete one by more than the number of periods kept. If all numbers are zero, everything is kept.
///
/// Incomplete snapshots newer than the newest complete one are kept if they are among the newest three, or begun less
/// than four hours before the newest of them.
pub fn retention_reasons(policy: &EffectiveRetention, snapshots: &[RetentionSnapshot]) -> Vec<Vec<Reason>> {
    let mut reasons = vec![Vec::new(); snapshots.len()];
    let mut newest_first: Vec<usize> = (0..snapshots.len()).collect();
    newest_first.sort_by_key(|place| Reverse((snapshots[*place].start, snapshots[*place].end)));

    let mut complete = newest_first
        .iter()
        .copied()
        .filter(|place| !snapshots[*place].incomplete)
        .peekable();
    if let Some(newest) = complete.peek() {
        let mut counting = Counting::new(policy, snapshots[*newest].start);
        for (rank, place) in complete.enumerate() {
            reasons[place] = counting.reasons(rank, snapshots[place].start);
        }
    }
    let newest = newest_first.first().map(|place| snapshots[*place].start);
    let incomplete = newest_first.iter().take_while(|place| snapshots[**place].incomplete);
    for ((rank, place), newest) in incomplete.enumerate().zip(newest.into_iter().cycle()) {
        if rank < INCOMPLETE_KEPT || newest.duration_since(snapshots[*place].start) < INCOMPLETE_AGE_LIMIT {
            reasons[*place].push(Reason::Incomplete);
        }
    }
    reasons
}

/// The snapshots of one source that have neither a reason nor a pin, by ID.
pub fn to_delete(policy: &EffectiveRetention, snapshots: &[RetentionSnapshot]) -> Vec<String> {
    let reasons = retention_reasons(policy, snapshots);
    let unwanted = snapshots
        .iter()
        .zip(reasons)
        .filter(|(snapshot, reasons)| reasons.is_empty() && !snapshot.pinned);
    unwanted.map(|(snapshot, _)| snapshot.id.clone()).collect()
}

/// A kind of period, how many of it are kept, and how many were met so far.
struct Period {
    keep: i64,
    met: u64,
    /// Snapshots before this time do not count.
    not_before: Timestamp,
    reason: fn(u64) -> Reason,
    /// The name of the period a snapshot of this rank and time lies in.
    name: fn(usize, DateTime) -> String,
}

struct Counting {
    periods: [Period; 6],
    /// Periods that have been met. A week and a month may share a name, `2021-03`: if the month was met, the week is
    /// taken for met as well. So it is in Kopia, and a snapshot kept or deleted otherwise would be a surprise.
    met: HashSet<String>,
}

impl Counting {
    fn new(policy: &EffectiveRetention, newest: Timestamp) -> Self {
        let EffectiveRetention {
            keep_latest,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_annual,
            ..
        } = policy;
        let others = [keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual];
        // Kopia adds them up to see whether nothing was asked for, so -1, -1 and 2 keep everything too.
        let keep_all = others.iter().fold(*keep_latest, |sum, keep| sum.wrapping_add(**keep)) == 0;
        let period = |keep: i64, not_before: fn(DateTime, i64) -> Option<DateTime>, reason, name| Period {
            keep,
            met: 0,
            not_before: not_before(utc(newest), keep)
                .and_then(|before| before.to_zoned(TimeZone::UTC).ok())
                .map_or(Timestamp::MIN, |before| before.timestamp()),
            reason,
            name,
        };
        let latest = if keep_all { i64::MAX } else { policy.keep_latest };
        Self {
            periods: [
                period(latest, |_, _| None, Reason::Latest, |rank, _| rank.to_string()),
                period(
                    policy.keep_annual,
                    |at, n| months_before(at, n.checked_mul(12)?),
                    Reason::Annual,
                    |_, at| format!("{:04}", at.year()),
                ),
                period(policy.keep_monthly, months_before, Reason::Monthly, |_, at| {
                    format!("{:04}-{:02}", at.year(), at.month())
                }),
                period(
                    policy.keep_weekly,
                    |at, n| days_before(at, n.checked_mul(7)?),
                    Reason::Weekly,
                    |_, at| {
                        let week = at.date().iso_week_date();
                        format!("{:04}-{:02}", week.year(), week.week())
                    },
                ),
                period(policy.keep_daily, days_before, Reason::Daily, |_, at| {
                    at.date().to_string()
                }),
                period(policy.keep_hourly, hours_before, Reason::Hourly, |_, at| {
                    format!("{} {:02}", at.date(), at.hour())
                }),
            ],
            met: HashSet::new(),
        }
    }

    fn reasons(&mut self, rank: usize, start: Timestamp) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for period in &mut self.periods {
            let full = i64::try_from(period.met).is_ok_and(|met| met >= period.keep);
            if !full && start >= period.not_before && self.met.insert((period.name)(rank, utc(start))) {
                period.met += 1;
                reasons.push((period.reason)(period.met));
            }
        }
        reasons.sort_unstable();
        reasons
    }
}

fn utc(time: Timestamp) -> DateTime {
    TimeZone::UTC.to_datetime(time)
}

/// A day that the earlier month does not have becomes one of the month after it: a month before 31 March is 3 March.
fn months_before(time: DateTime, count: i64) -> Option<DateTime> {
    let months = i64::from(time.year()) * 12 + i64::from(time.month()) - 1;
    let months = months.checked_sub(count)?;
    let year = i16::try_from(months.div_euclid(12)).ok()?;
    let month = i8::try_from(months.rem_euclid(12) + 1).expect("the remainder is below 12");
    let first = jiff::civil::Date::new(year, month, 1).ok()?;
    days_before(first.to_datetime(time.time()), 1 - i64::from(time.day()))
}

fn days_before(time: DateTime, count: i64) -> Option<DateTime> {
    hours_before(time, count.checked_mul(24)?)
}

fn hours_before(time: DateTime, count: i64) -> Option<DateTime> {
    time.checked_sub(SignedDuration::try_from_hours(count)?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::policy::RetentionPolicy;

    #[derive(Deserialize)]
    struct Golden {
        policies: BTreeMap<String, RetentionPolicy>,
        sets: BTreeMap<String, Vec<Stored>>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Stored {
        start: Timestamp,
        end: Timestamp,
        incomplete: bool,
        pinned: bool,
    }

    #[derive(Deserialize)]
    struct Case {
        set: String,
        policy: String,
        reasons: Vec<Vec<String>>,
        deleted: Vec<usize>,
        zones_that_differ: Vec<String>,
    }

    #[test]
    fn kopia_keeps_the_same_snapshots_for_the_same_reasons() {
        let golden: Golden = serde_json::from_slice(include_bytes!("../golden/retention/cases.json")).unwrap();
        let mut wrong = 0;
        for case in &golden.cases {
            let snapshots: Vec<RetentionSnapshot> = (golden.sets[&case.set].iter().enumerate())
                .map(|(number, stored)| RetentionSnapshot {
                    id: number.to_string(),
                    start: stored.start,
                    end: stored.end,
                    incomplete: stored.incomplete,
                    pinned: stored.pinned,
                })
                .collect();
            let policy = EffectiveRetention::from(&golden.policies[&case.policy]);
            let reasons: Vec<Vec<String>> = retention_reasons(&policy, &snapshots)
                .iter()
                .map(|reasons| reasons.iter().map(Reason::to_string).collect())
                .collect();
            let deleted: Vec<String> = case.deleted.iter().map(usize::to_string).collect();
            let found = to_delete(&policy, &snapshots);
            let differs = !case.zones_that_differ.is_empty() && policy.keep_weekly == 0;
            if reasons != case.reasons || found != deleted || differs {
                wrong += 1;
                eprintln!(
                    "{} / {}: zones {:?}, deletes {found:?}, not {deleted:?}",
                    case.set, case.policy, case.zones_that_differ
                );
                for ((snapshot, found), expected) in snapshots.iter().zip(&reasons).zip(&case.reasons) {
                    if found != expected {
                        eprintln!("    {} {}: {found:?}, not {expected:?}", snapshot.id, snapshot.start);
                    }
                }
            }
        }
        assert_eq!(wrong, 0, "of {} cases", golden.cases.len());
    }

    proptest! {
        #[test]
        fn any_times_and_numbers_can_be_asked(
            times in proptest::collection::vec((-377_705_023_201i64..=253_402_207_200, any::<bool>(), any::<bool>()), 0..20),
            keeps in any::<[i64; 6]>(),
        ) {
            let snapshots: Vec<RetentionSnapshot> = times.iter().map(|(second, incomplete, pinned)| {
                let start = Timestamp::from_second(*second).unwrap();
                RetentionSnapshot { id: second.to_string(), start, end: start, incomplete: *incomplete, pinned: *pinned }
            }).collect();
            let [keep_latest, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual] = keeps;
            let policy = EffectiveRetention {
                keep_latest, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual, ignore_identical_snapshots: false,
            };
            let reasons = retention_reasons(&policy, &snapshots);
            prop_assert_eq!(reasons.len(), snapshots.len());
            let deleted = to_delete(&policy, &snapshots);
            prop_assert!(snapshots.iter().all(|snapshot| !snapshot.pinned || !deleted.contains(&snapshot.id) || times.iter().filter(|time| time.0.to_string() == snapshot.id).count() > 1));
        }
    }
}
