//! The rule book of maintenance: what may be marked, rewritten, dropped or deleted, and when. Values in, values out.
//!
//! Times of blobs are the storage's. Times of index entries are their writers', whose clocks may be an hour off: every age
//! here is hours longer than that.

use jiff::{SignedDuration, Timestamp};

use super::{LogRetention, MaintenanceSchedule, RunInfo};

/// A step of maintenance, by the name under which Kopia's schedule keeps its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Contents that no snapshot needs are marked deleted; what is needed again is written anew.
    SnapshotGc,
    /// Contents of packs that are mostly empty are written into full ones.
    FullRewriteContents,
    /// The same, of metadata packs alone: Kopia's quick cycle of repositories without epochs.
    QuickRewriteContents,
    /// The deletion watermark moves on: what was deleted before it is gone.
    FullDropDeletedContents,
    /// Packs that no index names are deleted.
    FullDeleteBlobs,
    /// The same, of metadata packs alone: Kopia's quick cycle of repositories without epochs.
    QuickDeleteBlobs,
    /// The locks of blobs are extended.
    ExtendBlobRetention,
    /// The index blobs of one epoch become one set.
    CompactSingleEpoch,
    /// The next epoch begins.
    AdvanceEpoch,
    /// The index blobs of many epochs become one set.
    GenerateRange,
    /// Epoch markers and watermarks that others have superseded are deleted.
    CleanupMarkers,
    /// Index blobs that a compacted set has superseded are deleted.
    DeleteSupersededIndexes,
    /// Old logs are deleted.
    CleanupLogs,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 13] = [
        Self::SnapshotGc,
        Self::FullRewriteContents,
        Self::QuickRewriteContents,
        Self::FullDropDeletedContents,
        Self::FullDeleteBlobs,
        Self::QuickDeleteBlobs,
        Self::ExtendBlobRetention,
        Self::CompactSingleEpoch,
        Self::AdvanceEpoch,
        Self::GenerateRange,
        Self::CleanupMarkers,
        Self::DeleteSupersededIndexes,
        Self::CleanupLogs,
    ];

    /// The name in the schedule.
    pub fn name(self) -> &'static str {
        match self {
            Self::SnapshotGc => "snapshot-gc",
            Self::FullRewriteContents => "full-rewrite-contents",
            Self::QuickRewriteContents => "quick-rewrite-contents",
            Self::FullDropDeletedContents => "full-drop-deleted-content",
            Self::FullDeleteBlobs => "full-delete-blobs",
            Self::QuickDeleteBlobs => "quick-delete-blobs",
            Self::ExtendBlobRetention => "extend-blob-retention-time",
            Self::CompactSingleEpoch => "compact-single-epoch",
            Self::AdvanceEpoch => "advance-epoch",
            Self::GenerateRange => "generate-epoch-range-index",
            Self::CleanupMarkers => "cleanup-epoch-markers",
            Self::DeleteSupersededIndexes => "delete-superseded-epoch-indexes",
            Self::CleanupLogs => "cleanup-logs",
        }
    }

    /// Whether it looks at, moves or removes contents and packs: two programs must not do such work at the same time.
    /// What is done with epochs and logs may be done twice.
    pub fn is_exclusive(self) -> bool {
        matches!(
            self,
            Self::SnapshotGc
                | Self::FullRewriteContents
                | Self::QuickRewriteContents
                | Self::FullDropDeletedContents
                | Self::FullDeleteBlobs
                | Self::QuickDeleteBlobs
        )
    }
}

/// How old something must be before maintenance may touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// Age of a content before it is moved to another pack.
    pub rewrite_age_min: SignedDuration,
    /// Age of a content that nobody needs before it is marked deleted.
    pub collect_age_min: SignedDuration,
    /// Time from the end of one collection to the beginning of another that may confirm it: more than the longest time
    /// that a snapshot goes without a checkpoint.
    pub between_collections_min: SignedDuration,
    /// Whether a second collection has to confirm what the first one marked before it is dropped.
    pub two_collections: bool,
    /// So long before the confirmed collection something must have been marked to be dropped.
    pub drop_margin: SignedDuration,
    /// Age of a pack that no index names before it is deleted.
    pub pack_age_min: SignedDuration,
    /// Time since a session last said that it is alive before its packs may be deleted.
    pub session_age_min: SignedDuration,
    /// Time from the end of a rewrite to the deletion of the packs that it emptied: others may still read them.
    pub rewrite_to_deletion_min: SignedDuration,
}

impl Safety {
    /// Kopia's defaults: safe while others read and write.
    pub const FULL: Self = Self {
        rewrite_age_min: SignedDuration::from_hours(2),
        collect_age_min: SignedDuration::from_hours(24),
        between_collections_min: SignedDuration::from_hours(4),
        two_collections: true,
        drop_margin: SignedDuration::from_hours(1),
        pack_age_min: SignedDuration::from_hours(24),
        session_age_min: SignedDuration::from_hours(96),
        rewrite_to_deletion_min: SignedDuration::from_hours(1),
    };
    /// No ages at all: only while nobody else uses the repository, and its storage shows at once what was written.
    pub const NONE: Self = Self {
        rewrite_age_min: SignedDuration::ZERO,
        collect_age_min: SignedDuration::ZERO,
        between_collections_min: SignedDuration::ZERO,
        two_collections: false,
        drop_margin: SignedDuration::ZERO,
        pack_age_min: SignedDuration::ZERO,
        session_age_min: SignedDuration::ZERO,
        rewrite_to_deletion_min: SignedDuration::ZERO,
    };
    /// This machine's clock and the storage's may differ by so much, else there is no maintenance.
    pub const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);
    /// Blobs up to so long after the beginning of the maintenance count as written before it: clocks move in steps.
    pub const CUTOFF_SLACK: SignedDuration = SignedDuration::from_secs(1);
}

impl MaintenanceSchedule {
    /// Whether contents may be rewritten: the packs that an earlier rewrite has emptied were deleted since, else there
    /// would be more and more of them.
    pub fn may_rewrite(&self, safety: &Safety) -> bool {
        let Some(rewritten) = self.last_success(&[Task::FullRewriteContents]) else {
            return true;
        };
        safety.rewrite_to_deletion_min.is_zero()
            || self
                .last_success(&[Task::FullDeleteBlobs, Task::QuickDeleteBlobs])
                .is_some_and(|deleted| deleted >= rewritten)
    }

    /// From when on packs that no index names may be deleted; `None` when nothing was ever rewritten.
    pub fn deletion_waits_until(&self, safety: &Safety) -> Option<Timestamp> {
        let rewritten = self.last_success(&[Task::FullRewriteContents, Task::QuickRewriteContents])?;
        Some(
            rewritten
                .checked_add(safety.rewrite_to_deletion_min)
                .unwrap_or(Timestamp::MAX),
        )
    }

    /// Up to when deleted contents may be dropped; `None` when no collection is confirmed yet.
    ///
    /// The newest collection has written anew what an earlier one marked by mistake, because a snapshot that was being
    /// made at that time needed it. So what was marked before that earlier one is needed by nobody, if all snapshots of
    /// that time are visible to the newest one.
    pub fn safe_drop_time(&self, safety: &Safety, now: Timestamp) -> Option<Timestamp> {
        if !safety.two_collections {
            return Some(now);
        }
        let mut runs: Vec<&RunInfo> = self.runs_of(Task::SnapshotGc).filter(|run| run.success).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.start));
        let (newest, earlier) = runs.split_first()?;
        let confirmed = earlier
            .iter()
            .find(|run| newest.start.duration_since(run.end) > safety.between_collections_min)?;
        confirmed.start.checked_sub(safety.drop_margin).ok()
    }

    fn runs_of(&self, task: Task) -> impl Iterator<Item = &RunInfo> {
        self.runs.get(task.name()).into_iter().flatten()
    }

    fn last_success(&self, tasks: &[Task]) -> Option<Timestamp> {
        let runs = tasks.iter().flat_map(|task| self.runs_of(*task));
        runs.filter(|run| run.success).map(|run| run.end).max()
    }
}

/// What a collection does with a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFate {
    /// It is needed and stays.
    InUse,
    /// It is needed and marked deleted: it has to be written again.
    Undelete,
    /// Nobody needs it, but somebody may be about to.
    TooRecent,
    /// Nobody needs it, and it is marked already.
    AlreadyDeleted,
    /// Nobody needs it: it is marked.
    Delete,
}

/// What a collection does with a content that is needed by a snapshot or not, is marked deleted or not, and is so old.
pub fn content_fate(needed: bool, deleted: bool, age: SignedDuration, safety: &Safety) -> ContentFate {
    match (needed, deleted) {
        (true, true) => ContentFate::Undelete,
        (true, false) => ContentFate::InUse,
        (false, true) => ContentFate::AlreadyDeleted,
        (false, false) if age < safety.collect_age_min => ContentFate::TooRecent,
        (false, false) => ContentFate::Delete,
    }
}

/// A pack, or a session marker, that no index entry names: neither a live one nor one that is deleted above the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnnamedPack {
    /// When the storage got it.
    pub modified: Timestamp,
    /// When its session last said that it is alive; `None` for a session that has ended, or none.
    pub session_alive: Option<Timestamp>,
}

/// What becomes of a pack that no index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackFate {
    /// It was written since the maintenance began.
    TooNew,
    /// It is not old enough.
    TooYoung,
    /// Its session may still write an index that names it.
    SessionAlive,
    /// It may go.
    Delete,
}

/// What becomes of a pack that no index names, when maintenance began at `start` by the storage's clock.
pub fn pack_fate(pack: UnnamedPack, start: Timestamp, safety: &Safety) -> PackFate {
    let cutoff = start.checked_add(Safety::CUTOFF_SLACK).unwrap_or(Timestamp::MAX);
    if pack.modified > cutoff {
        return PackFate::TooNew;
    }
    if cutoff.duration_since(pack.modified) < safety.pack_age_min {
        return PackFate::TooYoung;
    }
    match pack.session_alive {
        Some(alive) if cutoff.duration_since(alive) < safety.session_age_min => PackFate::SessionAlive,
        _ => PackFate::Delete,
    }
}

/// How many logs are kept of those with these lengths in bytes and times, newest first: those before the first that
/// exceeds one of the limits. A limit of zero is none.
pub fn logs_kept(
    newest_first: impl IntoIterator<Item = (u64, Timestamp)>,
    retention: &LogRetention,
    now: Timestamp,
) -> usize {
    let mut total = 0u64;
    let exceeds = |limit: i64, value: u64| u64::try_from(limit).is_ok_and(|limit| limit > 0 && value > limit);
    let kept = newest_first
        .into_iter()
        .enumerate()
        .take_while(|(place, (len, modified))| {
            total = total.saturating_add(*len);
            let too_old = !retention.max_age.is_zero() && now.duration_since(*modified) > retention.max_age;
            !exceeds(retention.max_total_size, total) && !exceeds(retention.max_count, *place as u64 + 1) && !too_old
        });
    kept.count()
}

impl LogRetention {
    /// Kopia's defaults in the place of a retention that says nothing.
    pub fn or_default(self) -> Self {
        if self.max_count == 0 && self.max_age.is_zero() && self.max_total_size == 0 {
            super::MaintenanceParams::default().log_retention
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: SignedDuration = SignedDuration::from_secs(1);

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    fn run(start: Timestamp, end: Timestamp) -> RunInfo {
        RunInfo {
            start,
            end,
            success: true,
            ..RunInfo::default()
        }
    }

    #[test]
    fn a_content_is_marked_when_nobody_needs_it_for_a_day() {
        let fate = |needed, deleted, age| content_fate(needed, deleted, age, &Safety::FULL);
        assert_eq!(fate(false, false, hours(24) - SECOND), ContentFate::TooRecent);
        assert_eq!(fate(false, false, hours(24)), ContentFate::Delete);
        assert_eq!(
            fate(false, false, hours(-1)),
            ContentFate::TooRecent,
            "a writer's clock is ahead"
        );
        for age in [hours(0), hours(1000)] {
            assert_eq!(fate(true, false, age), ContentFate::InUse);
            assert_eq!(fate(true, true, age), ContentFate::Undelete);
            assert_eq!(fate(false, true, age), ContentFate::AlreadyDeleted);
        }
        assert_eq!(content_fate(false, false, hours(0), &Safety::NONE), ContentFate::Delete);
    }

    #[test]
    fn a_pack_goes_after_a_day_and_four_days_after_its_session_was_heard_of() {
        let fate = |modified, session_alive| {
            let pack = UnnamedPack {
                modified,
                session_alive,
            };
            pack_fate(pack, at(0), &Safety::FULL)
        };
        let day_ago = at(-24) + SECOND;
        assert_eq!(fate(at(0) + SECOND + SECOND, None), PackFate::TooNew);
        assert_eq!(fate(at(0) + SECOND, None), PackFate::TooYoung);
        assert_eq!(fate(day_ago + SECOND, None), PackFate::TooYoung);
        assert_eq!(fate(day_ago, None), PackFate::Delete);
        assert_eq!(fate(at(-200), Some(at(-96) + SECOND + SECOND)), PackFate::SessionAlive);
        assert_eq!(fate(at(-200), Some(at(-96) + SECOND)), PackFate::Delete);
        assert_eq!(
            fate(at(-200), Some(at(2))),
            PackFate::SessionAlive,
            "a writer's clock is ahead"
        );
        let pack = UnnamedPack {
            modified: at(0),
            session_alive: Some(at(0)),
        };
        assert_eq!(pack_fate(pack, at(0), &Safety::NONE), PackFate::Delete);
    }

    #[test]
    fn deleted_contents_are_dropped_after_two_collections_with_four_hours_between_them() {
        let mut schedule = MaintenanceSchedule::default();
        let safe = |schedule: &MaintenanceSchedule| schedule.safe_drop_time(&Safety::FULL, at(100));
        assert_eq!(safe(&schedule), None);
        schedule.report(Task::SnapshotGc.name(), run(at(0), at(1)));
        assert_eq!(safe(&schedule), None, "one is not enough");
        assert_eq!(schedule.safe_drop_time(&Safety::NONE, at(100)), Some(at(100)));

        let with = |start: Timestamp| {
            let mut schedule = schedule.clone();
            schedule.report(Task::SnapshotGc.name(), run(start, start + hours(1)));
            schedule
        };
        assert_eq!(
            safe(&with(at(5))),
            None,
            "exactly four hours after the end of the first"
        );
        assert_eq!(
            safe(&with(at(5) + SECOND)),
            Some(at(-1)),
            "an hour before the first began"
        );

        let mut three = with(at(10));
        three.report(Task::SnapshotGc.name(), run(at(12), at(13)));
        assert_eq!(
            safe(&three),
            Some(at(-1)),
            "the one in the middle is too close to the last"
        );
        three.report(
            Task::SnapshotGc.name(),
            RunInfo {
                success: false,
                ..run(at(30), at(31))
            },
        );
        assert_eq!(safe(&three), Some(at(-1)), "what failed confirms nothing");
        three.report(Task::SnapshotGc.name(), run(at(40), at(41)));
        assert_eq!(safe(&three), Some(at(11)));
    }

    #[test]
    fn packs_are_deleted_an_hour_after_a_rewrite_and_rewritten_after_the_deletion() {
        let mut schedule = MaintenanceSchedule::default();
        assert!(schedule.may_rewrite(&Safety::FULL));
        assert_eq!(schedule.deletion_waits_until(&Safety::FULL), None);
        schedule.report(Task::FullRewriteContents.name(), run(at(0), at(1)));
        assert!(!schedule.may_rewrite(&Safety::FULL) && schedule.may_rewrite(&Safety::NONE));
        assert_eq!(schedule.deletion_waits_until(&Safety::FULL), Some(at(2)));
        assert_eq!(schedule.deletion_waits_until(&Safety::NONE), Some(at(1)));
        schedule.report(Task::QuickRewriteContents.name(), run(at(2), at(3)));
        assert_eq!(schedule.deletion_waits_until(&Safety::FULL), Some(at(4)));
        schedule.report(Task::FullDeleteBlobs.name(), run(at(0), at(1) - SECOND));
        assert!(!schedule.may_rewrite(&Safety::FULL));
        schedule.report(Task::FullDeleteBlobs.name(), run(at(0), at(1)));
        assert!(schedule.may_rewrite(&Safety::FULL));
    }

    #[test]
    fn logs_are_kept_until_one_of_the_limits_is_exceeded() {
        let retention = LogRetention {
            max_total_size: 100,
            max_count: 3,
            max_age: hours(10),
        };
        let kept = |logs: &[(u64, i64)]| {
            let logs = logs.iter().map(|(len, age)| (*len, at(-age)));
            logs_kept(logs, &retention, at(0))
        };
        assert_eq!(kept(&[]), 0);
        assert_eq!(kept(&[(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]), 3);
        assert_eq!(kept(&[(50, 0), (50, 1), (1, 2)]), 2);
        assert_eq!(kept(&[(50, 0), (51, 1), (1, 2)]), 1);
        assert_eq!(kept(&[(1, 10), (1, 11)]), 1);
        let unlimited = LogRetention {
            max_total_size: 0,
            max_count: 0,
            max_age: SignedDuration::ZERO,
        };
        assert_eq!(logs_kept([(1 << 40, at(-100_000)); 5], &unlimited, at(0)), 5);
        assert_eq!(unlimited.or_default().max_count, 10_000);
        assert_eq!(retention.or_default(), retention);
    }
}
