//! The maintenance room: who looks after a repository, how often, and what was done when.

mod rules;

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::FormatError;

pub use rules::{ContentFate, PackFate, Safety, Task, UnnamedPack, content_fate, logs_kept, pack_fate};

/// Data of the manifest with the single label `type` = `maintenance`: who looks after the repository, and how often.
///
/// A repository without one behaves as with [`MaintenanceParams::default`]: nobody owns it, so nobody maintains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MaintenanceParams {
    /// `user@host` of the only client that runs maintenance by itself.
    #[serde(deserialize_with = "or_default")]
    pub owner: String,
    /// The short cycle.
    #[serde(deserialize_with = "or_default")]
    pub quick: MaintenanceCycle,
    /// The thorough cycle.
    #[serde(deserialize_with = "or_default")]
    pub full: MaintenanceCycle,
    /// How long Kopia's logs in the repository are kept.
    #[serde(deserialize_with = "or_default")]
    pub log_retention: LogRetention,
    /// Whether full maintenance extends the object locks of blobs.
    #[serde(deserialize_with = "or_default")]
    pub extend_object_locks: bool,
    /// Blob listings at the same time; zero leaves it to the program.
    #[serde(deserialize_with = "or_default")]
    pub list_parallelism: i64,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl MaintenanceParams {
    /// The value of the label `type` of the manifest.
    pub const MANIFEST_TYPE: &str = "maintenance";

    /// What `kopia repository create` writes, with the creator as owner.
    pub fn owned_by(user: &str, host: &str) -> Self {
        Self {
            owner: format!("{user}@{host}"),
            ..Self::default()
        }
    }

    /// Reads the data of the manifest.
    ///
    /// # Errors
    /// [`FormatError::Json`] when it is not an object, or when a known key holds a value of another type.
    pub fn decode(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|source| FormatError::Json {
            what: "maintenance parameters",
            source,
        })
    }

    /// The data of the manifest.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maintenance parameters have string keys only")
    }
}

impl Default for MaintenanceParams {
    /// Kopia's built-in values; no owner.
    fn default() -> Self {
        let every = |hours| MaintenanceCycle {
            enabled: true,
            interval: SignedDuration::from_hours(hours),
        };
        Self {
            owner: String::new(),
            quick: every(1),
            full: every(24),
            log_retention: LogRetention {
                max_total_size: 1 << 30,
                max_count: 10_000,
                max_age: SignedDuration::from_hours(30 * 24),
            },
            extend_object_locks: false,
            list_parallelism: 0,
            unknown: Map::new(),
        }
    }
}

/// How often one kind of maintenance runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MaintenanceCycle {
    /// Whether it runs by itself.
    #[serde(deserialize_with = "or_default")]
    pub enabled: bool,
    /// Time from one run to the next; whole nanoseconds as stored.
    #[serde(with = "nanoseconds")]
    pub interval: SignedDuration,
}

/// How long Kopia's logs in the repository are kept: as long as none of these is exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRetention {
    /// Bytes of all logs together.
    #[serde(deserialize_with = "or_default")]
    pub max_total_size: i64,
    /// Number of logs.
    #[serde(deserialize_with = "or_default")]
    pub max_count: i64,
    /// Age of a log; whole nanoseconds as stored.
    #[serde(with = "nanoseconds")]
    pub max_age: SignedDuration,
}

/// Plain content of the blob `kopia.maintenance`: when maintenance is due, and what was done.
///
/// Whoever collects garbage or rewrites contents must add its runs truthfully: Kopia's safety margins count from them.
///
/// ```text
/// | bytes         | field  | meaning                                                       |
/// |---------------|--------|---------------------------------------------------------------|
/// | 0..12         | nonce  | fresh for every write                                         |
/// | 12..length-16 | sealed | AES-256-GCM of the JSON; associated data is `maintenance`     |
/// | length-16..   | tag    | of the same                                                   |
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MaintenanceSchedule {
    /// When full maintenance is due; [`MaintenanceSchedule::DUE_NOW`] if it never ran.
    #[serde(rename = "nextFullMaintenance")]
    pub next_full: Timestamp,
    /// When quick maintenance is due; [`MaintenanceSchedule::DUE_NOW`] if it never ran.
    #[serde(rename = "nextQuickMaintenance")]
    pub next_quick: Timestamp,
    /// By name of the task, the newest run first; at most [`MaintenanceSchedule::RUNS_MAX`] of each.
    #[serde(deserialize_with = "or_default")]
    pub runs: BTreeMap<String, Vec<RunInfo>>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl MaintenanceSchedule {
    /// Name of the blob that holds the schedule.
    pub const BLOB: &str = "kopia.maintenance";
    /// Purpose from which the key of the blob is derived.
    pub const KEY_PURPOSE: &str = "maintenance schedule";
    /// Bytes of the nonce at the front of the blob.
    pub const NONCE_LEN: usize = 12;
    /// Bytes of the tag at the end of the blob.
    pub const TAG_LEN: usize = 16;
    /// Runs that are remembered of each task.
    pub const RUNS_MAX: usize = 50;
    /// The zero time of Kopia: 0001-01-01T00:00:00Z.
    pub const DUE_NOW: Timestamp = Timestamp::constant(-62_135_596_800, 0);

    const ASSOCIATED_DATA: &[u8] = b"maintenance";

    /// Adds a run of a task as its newest and forgets what is too old to be remembered.
    pub fn report(&mut self, task: &str, run: RunInfo) {
        let runs = self.runs.entry(task.to_owned()).or_default();
        runs.insert(0, run);
        runs.truncate(Self::RUNS_MAX);
    }

    /// Reads the plain JSON.
    ///
    /// # Errors
    /// [`FormatError::Json`] when it is not an object, or when a known key holds a value of another type.
    pub fn decode(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|source| FormatError::Json {
            what: "maintenance schedule",
            source,
        })
    }

    /// The plain JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a maintenance schedule has string keys only")
    }
}

impl Default for MaintenanceSchedule {
    /// What a missing blob stands for: nothing ran yet.
    fn default() -> Self {
        Self {
            next_full: Self::DUE_NOW,
            next_quick: Self::DUE_NOW,
            runs: BTreeMap::new(),
            unknown: Map::new(),
        }
    }
}

/// One run of a maintenance task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunInfo {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Whether it did what it should.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub success: bool,
    /// Why it did not; empty after a success.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub error: String,
    /// Counts of what was done, as objects with `kind` and `data`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub extra: Vec<Value>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Default for RunInfo {
    fn default() -> Self {
        Self {
            start: MaintenanceSchedule::DUE_NOW,
            end: MaintenanceSchedule::DUE_NOW,
            success: false,
            error: String::new(),
            extra: Vec::new(),
            unknown: Map::new(),
        }
    }
}

/// Opens the blob `kopia.maintenance`; `key` is derived for [`MaintenanceSchedule::KEY_PURPOSE`].
///
/// # Errors
/// [`FormatError::Truncated`] when there is no room for nonce and tag, [`FormatError::MaintenanceScheduleSeal`] when key
/// and bytes do not fit together, [`FormatError::Json`] when what was sealed is no schedule.
pub fn open_schedule(key: &[u8; 32], bytes: &[u8]) -> Result<MaintenanceSchedule, FormatError> {
    let mut cursor = crate::cursor::Cursor::new(bytes, "maintenance schedule blob");
    let nonce: [u8; MaintenanceSchedule::NONCE_LEN] = cursor.array()?;
    let mut sealed = cursor.rest().to_vec();
    cursor.take(MaintenanceSchedule::TAG_LEN)?;
    let plain = gcm(key)
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(MaintenanceSchedule::ASSOCIATED_DATA),
            &mut sealed,
        )
        .map_err(|_| FormatError::MaintenanceScheduleSeal)?;
    MaintenanceSchedule::decode(plain)
}

/// The blob `kopia.maintenance`; `nonce` must never be used twice with one key.
pub fn seal_schedule(
    key: &[u8; 32],
    nonce: [u8; MaintenanceSchedule::NONCE_LEN],
    schedule: &MaintenanceSchedule,
) -> Vec<u8> {
    let mut sealed = schedule.encode();
    let tag = gcm(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(MaintenanceSchedule::ASSOCIATED_DATA),
            &mut sealed,
        )
        .expect("a schedule is far shorter than the cipher's limit");
    [&nonce[..], &sealed, tag.as_ref()].concat()
}

fn gcm(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length"))
}

/// `null` leaves the default, as Kopia's decoder does.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Durations as whole nanoseconds.
mod nanoseconds {
    use jiff::SignedDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
        let nanoseconds = i64::try_from(duration.as_nanos()).map_err(serde::ser::Error::custom)?;
        serializer.serialize_i64(nanoseconds)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        Ok(SignedDuration::from_nanos(
            Option::<i64>::deserialize(deserializer)?.unwrap_or(0),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEALED: &[u8] = include_bytes!("../golden/maintenance/kopia.maintenance");

    #[derive(Deserialize)]
    struct Golden {
        key: String,
        schedule: Value,
        params: Value,
    }

    fn golden() -> ([u8; 32], Value, Value) {
        let golden: Golden = serde_json::from_slice(include_bytes!("../golden/maintenance/case.json")).unwrap();
        let mut key = [0; 32];
        hex::decode_to_slice(golden.key, &mut key).unwrap();
        (key, golden.schedule, golden.params)
    }

    #[test]
    fn the_schedule_of_kopia_opens_and_is_written_back_as_it_was() {
        let (key, expected, _) = golden();
        let schedule = open_schedule(&key, SEALED).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&schedule.encode()).unwrap(), expected);
        assert!(schedule.runs["snapshot-gc"][0].success && schedule.next_full > schedule.next_quick);
        let nonce = SEALED[..MaintenanceSchedule::NONCE_LEN].try_into().unwrap();
        assert_eq!(
            open_schedule(&key, &seal_schedule(&key, nonce, &schedule)).unwrap(),
            schedule
        );
    }

    #[test]
    fn a_damaged_or_foreign_schedule_is_refused() {
        let (key, ..) = golden();
        for at in [0, MaintenanceSchedule::NONCE_LEN, SEALED.len() / 2, SEALED.len() - 1] {
            let mut damaged = SEALED.to_vec();
            damaged[at] ^= 1;
            assert!(
                matches!(open_schedule(&key, &damaged), Err(FormatError::MaintenanceScheduleSeal)),
                "{at}"
            );
        }
        assert!(matches!(
            open_schedule(&[7; 32], SEALED),
            Err(FormatError::MaintenanceScheduleSeal)
        ));
        for length in 0..MaintenanceSchedule::NONCE_LEN + MaintenanceSchedule::TAG_LEN {
            assert!(
                matches!(
                    open_schedule(&key, &SEALED[..length]),
                    Err(FormatError::Truncated { .. })
                ),
                "{length}"
            );
        }
    }

    #[test]
    fn parameters_of_a_new_repository_are_those_of_kopia() {
        let (.., params) = golden();
        let ours = MaintenanceParams::owned_by("u", "h");
        assert_eq!(serde_json::to_value(&ours).unwrap(), params);
        assert_eq!(MaintenanceParams::decode(params.to_string().as_bytes()).unwrap(), ours);
        assert_eq!(
            MaintenanceParams::decode(br#"{"quick":null,"listParallelism":null}"#)
                .unwrap()
                .list_parallelism,
            0
        );
        assert!(matches!(
            MaintenanceParams::decode(b"[1]"),
            Err(FormatError::Json { .. })
        ));
    }

    #[test]
    fn a_schedule_that_never_ran_is_due_since_the_first_year() {
        let text = String::from_utf8(MaintenanceSchedule::default().encode()).unwrap();
        let expected =
            r#"{"nextFullMaintenance":"0001-01-01T00:00:00Z","nextQuickMaintenance":"0001-01-01T00:00:00Z","runs":{}}"#;
        assert_eq!(text, expected);
        assert_eq!(
            MaintenanceSchedule::decode(br#"{"runs":null}"#).unwrap(),
            MaintenanceSchedule::default()
        );
    }

    #[test]
    fn old_runs_are_forgotten() {
        let mut schedule = MaintenanceSchedule::default();
        for number in 0..60 {
            let start = Timestamp::from_second(number).unwrap();
            schedule.report(
                "snapshot-gc",
                RunInfo {
                    start,
                    ..RunInfo::default()
                },
            );
        }
        let runs = &schedule.runs["snapshot-gc"];
        assert_eq!(
            (runs.len(), runs[0].start.as_second()),
            (MaintenanceSchedule::RUNS_MAX, 59)
        );
    }

    proptest! {
        #[test]
        fn schedules_survive_a_round_trip(key in any::<[u8; 32]>(), nonce in any::<[u8; 12]>(), task in ".{0,9}", error in ".{0,9}", second in 0i64..9_999_999_999, nanosecond in 0i32..1_000_000_000) {
            let start = Timestamp::new(second, nanosecond).unwrap();
            let mut schedule = MaintenanceSchedule { next_full: start, ..MaintenanceSchedule::default() };
            schedule.report(&task, RunInfo { start, end: start, success: error.is_empty(), error, ..RunInfo::default() });
            prop_assert_eq!(open_schedule(&key, &seal_schedule(&key, nonce, &schedule)).unwrap(), schedule);
        }

        #[test]
        fn any_bytes_can_be_tried(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            prop_assert!(open_schedule(&[0; 32], &bytes).is_err());
        }
    }
}
