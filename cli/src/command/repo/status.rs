//! The gauge room: `repo status`.

use anyhow::Context as _;
use clap::Args;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_mover::blocking::block_on;
use windlass_mover::io::{EngineChoice, EngineSettings, probe};
use windlass_mover::repository::IndexSummary;
use windlass_mover::storage::{BlobRange, StorageError};
use windlass_mover::{MoverError, Repository};
use windlass_repo_format::format_blob::derive_application_key;
use windlass_repo_format::maintenance::{
    MaintenanceCycle, MaintenanceParams, MaintenanceSchedule, RunInfo, open_schedule,
};

use super::settings;
use crate::blob_kinds::BlobTally;
use crate::context::Context;
use crate::exit::Exit;
use crate::figures::{count, duration, moment, shown, size, things};
use crate::output;
use crate::table::Facts;

const EXAMPLES: &str = "\
Lists all blobs and reads all indexes, so it takes some seconds on a large repository. The last line says how large files \
would be read on this machine: with io_uring, or with threads where a container's profile forbids it.

Examples:
    windlass repo status
    windlass repo status --repo /mnt/backup --json";

/// `windlass repo status`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let repository = context.open()?;
        let seen = Seen::look(&repository)?;
        if context.options.json {
            output::json(&seen.json(&repository))?;
        } else {
            output::text(&seen.text(&repository))?;
        }
        Ok(Exit::Done)
    }
}

/// Everything that has to be read for the status.
struct Seen {
    blobs: BlobTally,
    contents: Contents,
    index: IndexSummary,
    snapshots: u64,
    maintenance: Maintenance,
    engine: String,
}

#[derive(Default)]
struct Contents {
    count: u64,
    bytes: u64,
    packed_bytes: u64,
}

struct Maintenance {
    params: MaintenanceParams,
    schedule: MaintenanceSchedule,
}

impl Seen {
    fn look(repository: &Repository) -> anyhow::Result<Self> {
        let mut contents = Contents::default();
        repository.each_live_content(|entry| {
            contents.count += 1;
            contents.bytes += u64::from(entry.original_len.bytes());
            contents.packed_bytes += u64::from(entry.packed_len.bytes());
            Ok(())
        })?;
        let manifests = block_on(repository.manifests())?;
        let maintenance = manifests.find(&[("type", MaintenanceParams::MANIFEST_TYPE)]);
        let params = match maintenance.last() {
            Some(entry) => MaintenanceParams::decode(entry.data_json().as_bytes())
                .with_context(|| format!("cannot read the maintenance settings in manifest {}", entry.id))?,
            None => MaintenanceParams::default(),
        };
        let engine = probe(EngineChoice::Auto, &EngineSettings::default());
        Ok(Self {
            blobs: tally(repository)?,
            contents,
            index: repository.index_summary(),
            snapshots: manifests.find(&[("type", "snapshot")]).len() as u64,
            maintenance: Maintenance {
                params,
                schedule: schedule(repository)?,
            },
            engine: engine.map_or_else(|error| format!("none: {error}"), |(_, why)| why),
        })
    }

    fn json(&self, repository: &Repository) -> Value {
        let mut status = settings::json(repository);
        let epoch = &repository.format().epoch;
        status["blobs"] = self.blobs.json();
        status["contents"] = json!({
            "count": self.contents.count,
            "bytes": self.contents.bytes,
            "packedBytes": self.contents.packed_bytes,
        });
        status["snapshots"] = json!(self.snapshots);
        status["index"] = json!({
            "blobs": self.index.blobs,
            "entries": self.index.entries,
            "deletionWatermark": self.index.deletion_watermark,
        });
        status["epochs"] = json!({
            "enabled": epoch.enabled,
            "writeEpoch": self.index.write_epoch,
            "minDurationSeconds": epoch.min_epoch_duration.as_secs(),
            "refreshSeconds": epoch.refresh_frequency.as_secs(),
            "advanceOnCount": epoch.advance_on_count,
            "advanceOnTotalSize": epoch.advance_on_total_size_bytes,
            "checkpointFrequency": epoch.full_checkpoint_frequency,
            "cleanupSafetyMarginSeconds": epoch.cleanup_safety_margin.as_secs(),
        });
        status["maintenance"] = self.maintenance.json(repository);
        status["engine"] = json!(self.engine);
        status["cache"] = json!(repository.cache_usage().map(|cache| {
            json!({
                "folder": cache.folder.to_string_lossy(),
                "files": cache.files,
                "bytes": cache.bytes,
                "bytesMax": cache.bytes_max,
            })
        }));
        status
    }

    fn text(&self, repository: &Repository) -> String {
        let mut facts = settings::facts(repository);
        let (blobs, bytes) = self.blobs.total();
        facts.add("", "");
        facts.add("blobs", format!("{} in {}", size(bytes), things(blobs, "blob")));
        for (kind, number, bytes) in self.blobs.kinds() {
            facts.add(
                &format!("  {}", kind.words()),
                format!("{} in {}", size(bytes), things(number, "blob")),
            );
        }
        let Contents {
            count: number,
            bytes,
            packed_bytes,
        } = &self.contents;
        let packed = size(*packed_bytes);
        facts.add(
            "contents",
            format!(
                "{}: {} before they were packed, {packed} after",
                count(*number),
                size(*bytes)
            ),
        );
        facts.add("snapshots", format!("{} of all sources", count(self.snapshots)));
        let IndexSummary { blobs, entries, .. } = &self.index;
        facts.add(
            "indexes",
            format!(
                "{} in {} in use",
                things(*entries, "entry"),
                things(*blobs as u64, "blob")
            ),
        );
        let epoch = self.index.write_epoch.map_or_else(
            || "none in this format".to_owned(),
            |epoch| format!("{epoch} is written to"),
        );
        facts.add("epoch", epoch);
        if let Some(watermark) = self
            .index
            .deletion_watermark
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
        {
            facts.add("  deletions", format!("done up to {}", moment(watermark)));
        }
        self.maintenance.describe(repository, &mut facts);
        facts.add("", "");
        facts.add("io engine", &*self.engine);
        let cache = repository.cache_usage().map(|cache| {
            let (bytes, files) = (size(cache.bytes), things(cache.files, "file"));
            let folder = shown(cache.folder.as_os_str().as_encoded_bytes());
            format!("{bytes} in {files}, up to {}, in {folder}", size(cache.bytes_max))
        });
        facts.add("cache", cache.unwrap_or_else(|| "none".to_owned()));
        facts.render("")
    }
}

impl Maintenance {
    fn cycles(&self) -> [(&'static str, MaintenanceCycle, Timestamp); 2] {
        [
            ("quick", self.params.quick, self.schedule.next_quick),
            ("full", self.params.full, self.schedule.next_full),
        ]
    }

    /// The newest run of each task.
    fn last_runs(&self) -> impl Iterator<Item = (&str, &RunInfo)> {
        self.schedule
            .runs
            .iter()
            .filter_map(|(task, runs)| Some((task.as_str(), runs.first()?)))
    }

    fn json(&self, repository: &Repository) -> Value {
        let cycle = |(cycle, next): (MaintenanceCycle, Timestamp)| json!({"enabled": cycle.enabled, "intervalSeconds": cycle.interval.as_secs(), "next": due(next).map(|next| next.to_string())});
        let [(_, quick, next_quick), (_, full, next_full)] = self.cycles();
        let run = |(task, run): (&str, &RunInfo)| json!({"task": task, "start": run.start.to_string(), "end": run.end.to_string(), "success": run.success, "error": run.error});
        json!({
            "owner": self.params.owner,
            "ownerIsThisUser": self.params.owner == repository.identity().to_string(),
            "quick": cycle((quick, next_quick)),
            "full": cycle((full, next_full)),
            "lastRuns": self.last_runs().map(run).collect::<Vec<_>>(),
        })
    }

    fn describe(&self, repository: &Repository, facts: &mut Facts) {
        facts.add("", "");
        let owner = &self.params.owner;
        let whose = match owner {
            nobody if nobody.is_empty() => "nobody".to_owned(),
            us if *us == repository.identity().to_string() => format!("{}, which is you", shown(us.as_bytes())),
            other => shown(other.as_bytes()),
        };
        facts.add("maintenance", format!("by {whose}"));
        for (name, cycle, next) in self.cycles() {
            let next = due(next).map_or_else(|| "due now".to_owned(), |next| format!("next at {}", moment(next)));
            let every = duration(cycle.interval.unsigned_abs());
            let text = if cycle.enabled {
                format!("every {every}, {next}")
            } else {
                "switched off".to_owned()
            };
            facts.add(&format!("  {name}"), text);
        }
        for (task, run) in self.last_runs() {
            let how = if run.success {
                String::new()
            } else {
                format!(", failed: {}", shown(run.error.as_bytes()))
            };
            facts.add(
                &format!("  {}", shown(task.as_bytes())),
                format!("last at {}{how}", moment(run.end)),
            );
        }
    }
}

fn due(next: Timestamp) -> Option<Timestamp> {
    Some(next).filter(|next| *next != MaintenanceSchedule::DUE_NOW)
}

fn tally(repository: &Repository) -> anyhow::Result<BlobTally> {
    let mut tally = BlobTally::default();
    let mut blobs = repository.storage().list("");
    while let Some(blob) = block_on(blobs.next()) {
        let blob = blob.with_context(|| format!("cannot list the blobs of {}", repository.storage().location()))?;
        tally.add(blob.id.as_str(), blob.len);
    }
    Ok(tally)
}

fn schedule(repository: &Repository) -> anyhow::Result<MaintenanceSchedule> {
    let blob = MaintenanceSchedule::BLOB.into();
    let bytes = match block_on(repository.storage().read(&blob, BlobRange::Whole)) {
        Err(StorageError::NotFound { .. }) => return Ok(MaintenanceSchedule::default()),
        read => read.with_context(|| format!("cannot read blob {blob}"))?,
    };
    let key = derive_application_key(
        repository.format(),
        repository.format_key(),
        &repository.format_blob().unique_id,
        MaintenanceSchedule::KEY_PURPOSE,
    );
    Ok(open_schedule(&key, &bytes).map_err(|source| MoverError::Blob { blob, source })?)
}
