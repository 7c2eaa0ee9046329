//! The policy-data room: one policy as its manifest stores it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::FormatError;

/// One policy, as stored: everything not said is `None`, zero or empty and is taken from a less specific policy.
///
/// All sections are always written, empty ones as `{}`. Keys this build does not know survive a round trip; the
/// sections `actions`, `osSnapshots` and `logging` are kept word for word, because nothing here obeys them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// How many snapshots are kept, and for how long.
    #[serde(deserialize_with = "or_default")]
    pub retention: RetentionPolicy,
    /// Which files are left out.
    #[serde(deserialize_with = "or_default")]
    pub files: FilesPolicy,
    /// Which errors do not count.
    #[serde(deserialize_with = "or_default")]
    pub error_handling: ErrorHandlingPolicy,
    /// When snapshots are made by themselves.
    #[serde(deserialize_with = "or_default")]
    pub scheduling: SchedulingPolicy,
    /// How file data is compressed.
    #[serde(deserialize_with = "or_default")]
    pub compression: CompressionPolicy,
    /// How directories and indirect lists are compressed.
    #[serde(deserialize_with = "or_default")]
    pub metadata_compression: MetadataCompressionPolicy,
    /// How files are cut.
    #[serde(deserialize_with = "or_default")]
    pub splitter: SplitterPolicy,
    /// Commands to run around a snapshot; kept, never run.
    #[serde(deserialize_with = "or_default")]
    pub actions: Map<String, Value>,
    /// Snapshots by the operating system; kept, never made.
    #[serde(deserialize_with = "or_default")]
    pub os_snapshots: Map<String, Value>,
    /// How much Kopia logs; kept, never obeyed.
    #[serde(deserialize_with = "or_default")]
    pub logging: Map<String, Value>,
    /// How much is read at once.
    #[serde(deserialize_with = "or_default")]
    pub upload: UploadPolicy,
    /// Stops the merge: less specific policies are not asked.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub no_parent: bool,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Default for Policy {
    /// The policy that says nothing, with the empty sections Kopia writes.
    fn default() -> Self {
        Self {
            retention: RetentionPolicy::default(),
            files: FilesPolicy::default(),
            error_handling: ErrorHandlingPolicy::default(),
            scheduling: SchedulingPolicy::default(),
            compression: CompressionPolicy::default(),
            metadata_compression: MetadataCompressionPolicy::default(),
            splitter: SplitterPolicy::default(),
            actions: Map::new(),
            os_snapshots: object(json!({"volumeShadowCopy": {}})),
            logging: object(json!({"directories": {}, "entries": {}})),
            upload: UploadPolicy::default(),
            no_parent: false,
            unknown: Map::new(),
        }
    }
}

impl Policy {
    /// Reads the data of a policy manifest.
    ///
    /// # Errors
    /// [`FormatError::Json`] when it is not an object, or when a known key holds a value of another type.
    pub fn decode(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|source| FormatError::Json { what: "policy", source })
    }

    /// The data of a policy manifest.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a policy has string keys only")
    }
}

/// Section `retention`: how many snapshots of each period are kept; zero keeps none, `None` asks the next policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionPolicy {
    /// The newest snapshots, whatever their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_latest: Option<i64>,
    /// The newest snapshot of each of so many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<i64>,
    /// The newest snapshot of each of so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<i64>,
    /// The newest snapshot of each of so many ISO weeks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<i64>,
    /// The newest snapshot of each of so many months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<i64>,
    /// The newest snapshot of each of so many years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_annual: Option<i64>,
    /// Do not store a snapshot whose root is that of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_identical_snapshots: Option<bool>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `files`: what is left out of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilesPolicy {
    /// Ignore rules, one pattern each, relative to the directory the policy is for.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ignore: Vec<String>,
    /// The rules of less specific policies do not hold here.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub no_parent_ignore: bool,
    /// Names of files in which further ignore rules are looked for, in each directory.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ignore_dot_files: Vec<String>,
    /// The dot files of less specific policies are not read here.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub no_parent_dot_files: bool,
    /// Whether directories with a valid `CACHEDIR.TAG` are stored empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_cache_dirs: Option<bool>,
    /// Files of more bytes than this are left out; zero sets no limit.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub max_file_size: i64,
    /// Whether what lies on another file system is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_file_system: Option<bool>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `errorHandling`: which errors are noted but do not spoil a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorHandlingPolicy {
    /// Errors on reading a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_file_errors: Option<bool>,
    /// Errors on listing a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_directory_errors: Option<bool>,
    /// Entries that are neither file, directory nor symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_unknown_types: Option<bool>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `scheduling`: when Kopia's server makes snapshots by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulingPolicy {
    /// Seconds between snapshots; zero for none.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub interval_seconds: i64,
    /// Times of the day.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub time_of_day: Vec<TimeOfDay>,
    /// The times of less specific policies do not hold here.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub no_parent_time_of_day: bool,
    /// Only made when a user asks.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub manual: bool,
    /// Cron expressions.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cron: Vec<String>,
    /// Whether a snapshot that was slept through is made afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_missed: Option<bool>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A time of the day in the local zone of whoever runs the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOfDay {
    /// Hour, from 0.
    pub hour: i64,
    /// Minute, from 0.
    pub min: i64,
}

/// Section `compression`: which compressor file data gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompressionPolicy {
    /// Name of the compressor; `none` is a name too, an empty one asks the next policy.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub compressor_name: String,
    /// If not empty, only files with these extensions (with their dot) are compressed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub only_compress: Vec<String>,
    /// The list of less specific policies does not hold here.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub no_parent_only_compress: bool,
    /// Files with these extensions (with their dot) are not compressed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub never_compress: Vec<String>,
    /// The list of less specific policies does not hold here.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub no_parent_never_compress: bool,
    /// Files of fewer bytes are not compressed; zero sets no limit.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub min_size: i64,
    /// Files of more bytes are not compressed; zero sets no limit.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub max_size: i64,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `metadataCompression`: which compressor directories and indirect lists get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetadataCompressionPolicy {
    /// Name of the compressor; an empty one asks the next policy.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub compressor_name: String,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `splitter`: how files are cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SplitterPolicy {
    /// Name of the splitter; an empty one means that of the repository.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub algorithm: String,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `upload`: how much is read at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UploadPolicy {
    /// Snapshots that Kopia's server makes at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_snapshots: Option<i64>,
    /// Files that are read at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_file_reads: Option<i64>,
    /// Files of more bytes than this are stored in parts of this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_upload_above_size: Option<i64>,
    /// Keys this build does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The global policy that `kopia repository create` writes: its built-in values, spelled out.
pub fn default_global_policy() -> Policy {
    Policy {
        retention: RetentionPolicy {
            keep_latest: Some(10),
            keep_hourly: Some(48),
            keep_daily: Some(7),
            keep_weekly: Some(4),
            keep_monthly: Some(24),
            keep_annual: Some(3),
            ignore_identical_snapshots: Some(false),
            ..RetentionPolicy::default()
        },
        files: FilesPolicy {
            ignore_dot_files: vec![".kopiaignore".into()],
            ..FilesPolicy::default()
        },
        error_handling: ErrorHandlingPolicy {
            ignore_file_errors: Some(false),
            ignore_directory_errors: Some(false),
            ignore_unknown_types: Some(true),
            ..ErrorHandlingPolicy::default()
        },
        scheduling: SchedulingPolicy {
            run_missed: Some(true),
            ..SchedulingPolicy::default()
        },
        compression: CompressionPolicy {
            compressor_name: "none".into(),
            ..CompressionPolicy::default()
        },
        metadata_compression: MetadataCompressionPolicy {
            compressor_name: "zstd-fastest".into(),
            ..MetadataCompressionPolicy::default()
        },
        os_snapshots: object(json!({"volumeShadowCopy": {"enable": 0}})),
        logging: object(json!({
            "directories": {"snapshotted": 5, "ignored": 5},
            "entries": {"snapshotted": 0, "ignored": 5, "cacheHit": 0, "cacheMiss": 0},
        })),
        upload: UploadPolicy {
            max_parallel_snapshots: Some(1),
            parallel_upload_above_size: Some(2 << 30),
            ..UploadPolicy::default()
        },
        ..Policy::default()
    }
}

/// The members of a JSON object written in this file.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => unreachable!("only objects are spelled out here"),
    }
}

/// `null` leaves the default, as Kopia's decoder does.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
