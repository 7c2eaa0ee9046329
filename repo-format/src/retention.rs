//! The retention room: which snapshots of one source are still wanted, and why.

use std::fmt;

use jiff::Timestamp;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is incomplete but may still be continued.
    Incomplete,
    /// It is among the newest.
    Latest(u64),
    /// It is the newest of its year.
    Annual(u64),
    /// It is the newest of its month.
    Monthly(u64),
    /// It is the newest of its ISO week.
    Weekly(u64),
    /// It is the newest of its day.
    Daily(u64),
    /// It is the newest of its hour.
    Hourly(u64),
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

/// The reasons to keep each of the snapshots of one source, in the order given.
pub fn retention_reasons(
    policy: &EffectiveRetention,
    snapshots: &[RetentionSnapshot],
    now: Timestamp,
) -> Vec<Vec<Reason>> {
    let _ = (policy, now);
    snapshots.iter().map(|_| Vec::new()).collect()
}

/// The snapshots of one source that have neither a reason nor a pin, by ID.
pub fn to_delete(policy: &EffectiveRetention, snapshots: &[RetentionSnapshot], now: Timestamp) -> Vec<String> {
    let reasons = retention_reasons(policy, snapshots, now);
    let unwanted = snapshots
        .iter()
        .zip(reasons)
        .filter(|(snapshot, reasons)| reasons.is_empty() && !snapshot.pinned);
    unwanted.map(|(snapshot, _)| snapshot.id.clone()).collect()
}
