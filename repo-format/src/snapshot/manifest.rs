//! The title-page room: what a snapshot says of itself, as the data of a manifest of the type `snapshot`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::FormatError;
use crate::identity::Source;
use crate::json::lenient::{Text, Time, read_object};
use crate::json::{self, write_number, write_string, write_time};
use crate::snapshot::DirEntry;
use crate::snapshot::entry::raw;

/// Labels of a snapshot manifest that are no tags.
const RESERVED_LABELS: [&str; 4] = ["type", "hostname", "username", "path"];

/// What was backed up: members `host`, `userName`, `path`, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceInfo {
    /// Name of the machine.
    pub host: String,
    /// Name of the user. The JSON key here is `userName`; the label of the manifest is `username`.
    pub user_name: String,
    /// The folder, or whatever the client calls the thing it read.
    pub path: String,
}

impl From<&SourceInfo> for Source {
    fn from(info: &SourceInfo) -> Self {
        Self {
            host: info.host.clone(),
            user_name: info.user_name.clone(),
            path: info.path.clone(),
        }
    }
}

read_object!(SourceInfo, "the source of a snapshot", {
    "host" => host: Text = Text::into_string,
    "userName" => user_name: Text = Text::into_string,
    "path" => path: Text = Text::into_string,
});

/// What the client counted while it made a snapshot; the members are written in this order, zeroes too.
///
/// Kopia counts each part of a big file as a file, and cached files not at all: for the truth see the root's summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotStats {
    /// `totalSize`: bytes of all files, and of the targets of cached links.
    pub total_size: u64,
    /// `excludedTotalSize`: bytes of files left out by rules.
    pub excluded_total_size: u64,
    /// `fileCount`: files that were read.
    pub file_count: u64,
    /// `cachedFiles`: entries taken from an earlier snapshot.
    pub cached_files: u64,
    /// `nonCachedFiles`: files that were read.
    pub non_cached_files: u64,
    /// `dirCount`: directories visited.
    pub dir_count: u64,
    /// `excludedFileCount`: files left out by rules.
    pub excluded_file_count: u64,
    /// `excludedDirCount`: directories left out by rules.
    pub excluded_dir_count: u64,
    /// `ignoredErrorCount`: errors that were to be ignored.
    pub ignored_error_count: u64,
    /// `errorCount`: errors that were not.
    pub error_count: u64,
}

read_object!(SnapshotStats, "the statistics of a snapshot", {
    "totalSize" => total_size: u64,
    "excludedTotalSize" => excluded_total_size: u64,
    "fileCount" => file_count: u64,
    "cachedFiles" => cached_files: u64,
    "nonCachedFiles" => non_cached_files: u64,
    "dirCount" => dir_count: u64,
    "excludedFileCount" => excluded_file_count: u64,
    "excludedDirCount" => excluded_dir_count: u64,
    "ignoredErrorCount" => ignored_error_count: u64,
    "errorCount" => error_count: u64,
});

/// A snapshot.
///
/// | key            | field           | meaning                                                          |
/// |----------------|-----------------|------------------------------------------------------------------|
/// | `id`           | -               | always an empty string: the manifest entry has the real one      |
/// | `source`       | `source`        | see [`SourceInfo`]                                               |
/// | `description`  | `description`   | free text, also when empty                                       |
/// | `startTime`    | `start_time`    | RFC 3339; snapshots are ordered by it                            |
/// | `endTime`      | `end_time`      | RFC 3339                                                         |
/// | `stats`        | `stats`         | see [`SnapshotStats`]                                            |
/// | `incomplete`   | `incomplete`    | why it is incomplete; left out when it is complete               |
/// | `rootEntry`    | `root_entry`    | the root with its summary; a snapshot without one cannot be used |
/// | `tags`         | `tags`          | strings by key; left out when there are none                     |
/// | `storageStats` | `storage_stats` | kept as it is; left out when there is none                       |
/// | `pins`         | `pins`          | names; while there is one the snapshot is kept; left out if none |
#[derive(Clone, Debug, Default)]
pub struct SnapshotManifest {
    /// What was backed up.
    pub source: SourceInfo,
    /// Free text.
    pub description: String,
    /// When the snapshot began.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Timestamp,
    /// What was counted.
    pub stats: SnapshotStats,
    /// Why it is incomplete: `checkpoint`, `canceled`, `limit reached`.
    pub incomplete: Option<String>,
    /// The root. Its name is that of the folder that was really read, which need not be the end of the source's path.
    pub root_entry: Option<DirEntry>,
    /// Tags, which are labels of the manifest too.
    pub tags: BTreeMap<String, String>,
    /// What Kopia may say about storage use; its JSON is kept.
    pub storage_stats: Option<Box<RawValue>>,
    /// Reasons to keep the snapshot.
    pub pins: Vec<String>,
}

read_object!(SnapshotManifest, "a snapshot manifest", {
    "source" => source: SourceInfo,
    "description" => description: Text = Text::into_string,
    "startTime" => start_time: Time = |time: Time| time.0,
    "endTime" => end_time: Time = |time: Time| time.0,
    "stats" => stats: SnapshotStats,
    "incomplete" => incomplete: Text = Text::non_empty,
    "rootEntry" => root_entry: DirEntry = Some,
    "tags" => tags: BTreeMap<String, Option<String>> = |tags: BTreeMap<String, Option<String>>| {
        tags.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
    },
    "storageStats" => storage_stats: Box<RawValue> = Some,
    "pins" => pins: Vec<Option<String>> = |pins: Vec<Option<String>>| pins.into_iter().map(Option::unwrap_or_default).collect(),
});

impl SnapshotManifest {
    /// Reads the data of a manifest of the type `snapshot`.
    ///
    /// # Errors
    /// [`FormatError::Json`].
    pub fn decode(json: &[u8]) -> Result<Self, FormatError> {
        json::stream::parse("snapshot manifest", json)
    }

    /// The data of a manifest, without a newline.
    ///
    /// # Errors
    /// [`FormatError::TimeNotWritable`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        self.write(&mut out)?;
        Ok(out)
    }

    /// The labels under which the manifest is stored: the type, the source, and the tags.
    ///
    /// # Errors
    /// [`FormatError::EmptySource`] when the source lacks a part, [`FormatError::ReservedTag`] when a tag would hide one
    /// of the other labels.
    pub fn labels(&self) -> Result<BTreeMap<String, String>, FormatError> {
        let SourceInfo { host, user_name, path } = &self.source;
        for (field, text) in [("host", host), ("user", user_name), ("path", path)] {
            if text.is_empty() {
                return Err(FormatError::EmptySource { field });
            }
        }
        if let Some(key) = self.tags.keys().find(|key| RESERVED_LABELS.contains(&key.as_str())) {
            return Err(FormatError::ReservedTag { key: key.clone() });
        }
        let own = RESERVED_LABELS.map(str::to_owned).into_iter();
        let values = ["snapshot", host, user_name, path].map(str::to_owned);
        Ok(own.zip(values).chain(self.tags.clone()).collect())
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        for (key, text) in [
            (&br#"{"id":"","source":{"host":"#[..], &self.source.host),
            (br#","userName":"#, &self.source.user_name),
            (br#","path":"#, &self.source.path),
            (br#"},"description":"#, &self.description),
        ] {
            out.extend_from_slice(key);
            write_string(text.as_bytes(), out);
        }
        out.extend_from_slice(br#","startTime":"#);
        write_time(self.start_time, out)?;
        out.extend_from_slice(br#","endTime":"#);
        write_time(self.end_time, out)?;
        self.stats.write(out);
        if let Some(reason) = self.incomplete.as_deref().filter(|reason| !reason.is_empty()) {
            out.extend_from_slice(br#","incomplete":"#);
            write_string(reason.as_bytes(), out);
        }
        out.extend_from_slice(br#","rootEntry":"#);
        match &self.root_entry {
            Some(root) => root.write(out)?,
            None => out.extend_from_slice(b"null"),
        }
        if !self.tags.is_empty() {
            out.extend_from_slice(br#","tags":"#);
            out.extend(json::to_vec(&self.tags)?);
        }
        if let Some(stats) = &self.storage_stats {
            out.extend_from_slice(br#","storageStats":"#);
            out.extend(json::compact(stats.get()));
        }
        if !self.pins.is_empty() {
            out.extend_from_slice(br#","pins":"#);
            out.extend(json::to_vec(&self.pins)?);
        }
        out.push(b'}');
        Ok(())
    }
}

impl SnapshotStats {
    fn write(&self, out: &mut Vec<u8>) {
        for (key, number) in [
            (&br#","stats":{"totalSize":"#[..], self.total_size),
            (br#","excludedTotalSize":"#, self.excluded_total_size),
            (br#","fileCount":"#, self.file_count),
            (br#","cachedFiles":"#, self.cached_files),
            (br#","nonCachedFiles":"#, self.non_cached_files),
            (br#","dirCount":"#, self.dir_count),
            (br#","excludedFileCount":"#, self.excluded_file_count),
            (br#","excludedDirCount":"#, self.excluded_dir_count),
            (br#","ignoredErrorCount":"#, self.ignored_error_count),
            (br#","errorCount":"#, self.error_count),
        ] {
            out.extend_from_slice(key);
            write_number(number, out);
        }
        out.push(b'}');
    }
}

impl Serialize for SnapshotManifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(|out| self.write(out), serializer)
    }
}
