//! The counter where a snapshot is made: policy and earlier snapshots are looked up, the pipeline runs, the manifest
//! is written last.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::info;
use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::{ContentId, ObjectId};
use windlass_repo_format::identity::Source;
use windlass_repo_format::manifest::{ManifestEntry, ManifestId};
use windlass_repo_format::policy::{EffectivePolicy, PolicySet};
use windlass_repo_format::retention::{RetentionSnapshot, to_delete};
use windlass_repo_format::snapshot::{DirEntry, SnapshotManifest, SnapshotStats, SourceInfo};
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::checkpoints::{Checkpoints, file};
use super::opened::Opened;
use super::{Failure, Lost, LostKind, Progress, StageProfile};
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::io::{BufferPool, EngineChoice, EngineSettings, TrafficFigures, probe};
use crate::pipeline::{Checkpoint, Control, Driver, Extended, Limits, Measures, Run, Visit};
use crate::repository::{Repository, SessionSummary, WriteSession};
use crate::snapshots::{self, Snapshot, for_retention};
use crate::storage::WriteFigures;

/// Kopia's bound between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(45 * 60);

/// Indexes that were read so long ago are read again before a snapshot: others may have written, policies and
/// snapshots too.
const INDEX_FRESH_FOR: Duration = Duration::from_secs(10);

/// What is to be snapshotted, and how.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// What is read.
    pub path: PathBuf,
    /// Under which name it is filed; earlier snapshots of the same name are compared with.
    pub source: SourceInfo,
    /// For people.
    pub description: String,
    /// Labels of the manifest, with their prefix where they have one.
    pub tags: BTreeMap<String, String>,
    /// Why retention must never delete the snapshot; usually empty.
    pub pins: Vec<String>,
    /// Threads that hash and encrypt; `None` for one per core.
    pub parallel: Option<usize>,
    /// How large files are read.
    pub engine: EngineChoice,
    /// The memory budget in bytes.
    pub memory: u64,
    /// Compression of all files, whatever policies say; `Some(None)` for none.
    pub compression: Option<Option<Compression>>,
    /// Splitter of all files, whatever policies say.
    pub splitter: Option<SplitterAlgorithm>,
    /// The path is a device (or a file) that is stored as the content of a volume.
    pub block_device: bool,
    /// How often a long run publishes what it has so far.
    pub checkpoint_every: Duration,
    /// Read every file again, whether it looks unchanged or not.
    pub force_read: bool,
    /// One thread does everything, so that the same run always does the same.
    pub single_thread: bool,
}

impl SnapshotOptions {
    /// The memory budget where none is given, in bytes.
    pub const MEMORY_DEFAULT: u64 = 256 << 20;

    /// The usual way to snapshot a path.
    pub fn new(path: PathBuf, source: SourceInfo) -> Self {
        Self {
            path,
            source,
            description: String::new(),
            tags: BTreeMap::new(),
            pins: Vec::new(),
            parallel: None,
            engine: EngineChoice::Auto,
            memory: Self::MEMORY_DEFAULT,
            compression: None,
            splitter: None,
            block_device: false,
            checkpoint_every: CHECKPOINT_EVERY,
            force_read: false,
            single_thread: false,
        }
    }
}

/// What became of a snapshot.
#[derive(Debug)]
pub struct SnapshotReport {
    /// The snapshot; `None` where the policy does not want one that is identical to the last.
    pub id: Option<ManifestId>,
    /// What was filed.
    pub manifest: SnapshotManifest,
    /// Entries that could not be read; the first thousand with their text.
    pub failures: Vec<Failure>,
    /// How many entries could not be read, those the policy ignores not counted.
    pub failure_count: u64,
    /// How many entries could not be read and are ignored by the policy.
    pub ignored_failure_count: u64,
    /// What the format could not keep.
    pub lost: BTreeMap<LostKind, Lost>,
    /// What was written into the repository.
    pub written: SessionSummary,
    /// Earlier snapshots that retention deleted.
    pub expired: Vec<ManifestId>,
    /// Which engine read large files, and why.
    pub engine: String,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// What each stage of the pipeline did, in their order; none where one thread did everything.
    pub stages: Vec<StageProfile>,
    /// How large files were read; `None` where no engine was used.
    pub reads: Option<TrafficFigures>,
    /// How the storage has written meanwhile, for this run and whoever else used it; `None` where it does not know.
    pub writes: Option<WriteFigures>,
}

impl SnapshotReport {
    /// Whether something is missing that the source has.
    pub fn is_partial(&self) -> bool {
        self.failure_count > 0 || self.lost.keys().any(|kind| kind.is_loss()) || self.manifest.incomplete.is_some()
    }

    /// The object that holds the whole tree.
    pub fn root(&self) -> Option<ObjectId> {
        self.manifest.root_entry.as_ref().and_then(|root| root.object)
    }
}

/// Makes a snapshot. Blocks; to be called from a thread, inside a runtime if the storage needs one.
///
/// `stop` ends it early: what was read so far is published as an incomplete snapshot, which the next one builds on.
///
/// # Errors
/// When the root cannot be read, or the repository cannot be written. Files that cannot be read are in the report.
pub fn create(
    repository: &Repository,
    options: &SnapshotOptions,
    progress: &Arc<Progress>,
    stop: &Arc<AtomicBool>,
) -> Result<SnapshotReport> {
    if repository.index_age().unsigned_abs() >= INDEX_FRESH_FOR {
        block_on(repository.refresh())?;
    }
    let manifests = block_on(repository.manifests())?;
    let policies = manifests.policies()?;
    let place = policies.place(&Source::from(&options.source));
    let policy = place.effective().clone();
    let earlier = block_on(snapshots::previous_for(repository, &options.source))?;
    announce(&earlier, progress);
    let previous: Vec<DirEntry> = earlier
        .iter()
        .filter_map(|snapshot| snapshot.manifest.root_entry.clone())
        .collect();
    let previous = if options.force_read { Vec::new() } else { previous };

    let draft = draft(repository, options);
    let content_max = content_max(repository, options, &policies);
    let writes_before = repository.storage().writes();
    let (driver, engine) = driver(repository, options, content_max, may_compress(options, &policies))?;
    let session = repository.write_session_with(content_max, driver.open_packs())?;
    let visit = visit(repository, options, content_max);
    let Opened { source, wrap } = Opened::open(repository, options, &visit, place, &previous)?;
    let mut checkpoints = Checkpoints::new(&session, draft.clone(), wrap.clone(), options.checkpoint_every);
    let run = Run {
        session: &session,
        visit,
        control: Control::new(stop.clone()),
        progress: progress.clone(),
        checkpoint: &mut checkpoints,
    };
    let used = driver.engine();
    let (tree, stages) = driver.run(source, run)?;
    let gathered = tree.into_gathered();
    let checkpoint = checkpoints.into_last();

    let Some(root) = gathered.root else {
        return Err(root_error(&gathered.failures, &options.path));
    };
    let manifest = SnapshotManifest {
        end_time: repository.now(),
        stats: gathered.stats,
        incomplete: gathered.incomplete.map(str::to_owned),
        root_entry: Some(wrap.finish(root, None, &session)?),
        ..draft
    };
    let unwanted = policy.retention.ignore_identical_snapshots && is_identical(&manifest, &earlier);
    let id = if unwanted {
        None
    } else {
        Some(file(&session, &manifest)?.id)
    };
    // Of a large file that was being read when the run was stopped, the checkpoint has more than this snapshot.
    let checkpoint = checkpoint.filter(|_| manifest.incomplete.is_none());
    if let Some(checkpoint) = &checkpoint {
        session.delete_manifest(checkpoint);
    }
    let expired = match id {
        Some(id) => expire(&session, &policy, (id, &manifest), checkpoint.as_ref())?,
        None => Vec::new(),
    };
    block_on(session.flush())?;
    info!(snapshot = ?id, expired = expired.len(), "snapshot stored");
    Ok(SnapshotReport {
        id,
        manifest,
        failures: gathered.failures,
        failure_count: gathered.failure_count,
        ignored_failure_count: gathered.ignored_failure_count,
        lost: gathered.lost,
        written: session.summary(),
        expired,
        engine,
        bytes_read: progress.bytes_read.load(Ordering::Relaxed),
        stages,
        reads: used.map(|engine| engine.traffic().figures()),
        writes: repository
            .storage()
            .writes()
            .zip(writes_before)
            .map(|(now, before)| now.since(&before)),
    })
}

/// Reads a source as a snapshot would, every file of it, and stores those of its contents that are `wanted`, whatever the
/// indexes say of them. Nothing is filed. Gives the contents that the source does not have.
///
/// # Errors
/// When the repository cannot be written, or the root cannot be opened.
pub(crate) fn store_again(
    repository: &Repository,
    options: &SnapshotOptions,
    wanted: HashSet<ContentId>,
    stop: &Arc<AtomicBool>,
) -> Result<HashSet<ContentId>> {
    let policies = block_on(repository.manifests())?.policies()?;
    let place = policies.place(&Source::from(&options.source));
    let content_max = content_max(repository, options, &policies);
    let (driver, _) = driver(repository, options, content_max, may_compress(options, &policies))?;
    let session = repository
        .write_session_with(content_max, driver.open_packs())?
        .only(wanted);
    let visit = visit(repository, options, content_max);
    let Opened { source, wrap } = Opened::open(repository, options, &visit, place, &[])?;
    let run = Run {
        session: &session,
        visit,
        control: Control::new(stop.clone()),
        progress: Arc::default(),
        checkpoint: &mut NoCheckpoints,
    };
    let (tree, _) = driver.run(source, run)?;
    if let Some(root) = tree.into_gathered().root {
        wrap.finish(root, None, &session)?;
    }
    block_on(session.flush())?;
    Ok(session.into_unmet())
}

/// For a run of which nothing is filed.
struct NoCheckpoints;

impl Checkpoint for NoCheckpoints {
    fn is_due(&self) -> bool {
        false
    }

    fn write(&mut self, _: DirEntry, _: SnapshotStats) -> Result<()> {
        Ok(())
    }
}

fn visit(repository: &Repository, options: &SnapshotOptions, content_max: usize) -> Visit {
    Visit {
        content_max,
        splitter: repository.splitter(),
        splitter_wanted: options.splitter,
        compression: options.compression,
        extended: Extended::default(),
    }
}

fn draft(repository: &Repository, options: &SnapshotOptions) -> SnapshotManifest {
    let now = repository.now();
    SnapshotManifest {
        source: options.source.clone(),
        description: options.description.clone(),
        start_time: now,
        end_time: now,
        stats: SnapshotStats::default(),
        incomplete: None,
        root_entry: None,
        tags: options.tags.clone(),
        storage_stats: None,
        pins: options.pins.clone(),
    }
}

/// Says what the last snapshot had, as a guess of what is to come.
fn announce(earlier: &[Snapshot], progress: &Progress) {
    let summary = earlier
        .first()
        .and_then(|snapshot| snapshot.manifest.root_entry.as_ref()?.summary.as_ref());
    if let Some(summary) = summary {
        progress.expected_bytes.store(summary.size, Ordering::Relaxed);
        progress
            .expected_files
            .store(summary.files + summary.symlinks, Ordering::Relaxed);
    }
}

/// How long a content can become, by whichever splitter a file may be cut.
fn content_max(repository: &Repository, options: &SnapshotOptions, policies: &PolicySet) -> usize {
    let by_policy = policies
        .iter()
        .filter_map(|(_, policy)| SplitterAlgorithm::from_name(&policy.splitter.algorithm).ok());
    let splitters = by_policy.chain(options.splitter).chain([repository.splitter()]);
    splitters.map(SplitterAlgorithm::max_chunk_len).max().unwrap_or(0)
}

/// Whether the contents of some file may be compressed.
fn may_compress(options: &SnapshotOptions, policies: &PolicySet) -> bool {
    let by_policy = |name: &str| !name.is_empty() && name != "none";
    match options.compression {
        Some(asked_for) => asked_for.is_some(),
        None => policies
            .iter()
            .any(|(_, policy)| by_policy(&policy.compression.compressor_name)),
    }
}

fn driver(
    repository: &Repository,
    options: &SnapshotOptions,
    content_max: usize,
    compresses: bool,
) -> Result<(Driver, String)> {
    if options.single_thread {
        return Ok((Driver::SingleThread, "none: one thread does everything".to_owned()));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let measures = Measures {
        memory: options.memory,
        sealers: options.parallel.unwrap_or(cores),
        lanes: repository.sealer().hasher().lanes(),
        content_max,
        pack_len: u64::from(repository.format().max_pack_size),
        compresses,
    };
    let limits = Limits::new(&measures);
    info!(
        ?limits,
        bytes_max = limits.bytes_max(&measures),
        "memory of the pipeline"
    );
    let pool = BufferPool::new(limits.extents, Limits::EXTENT_LEN);
    let settings = EngineSettings {
        pool: Some(pool.clone()),
        ..EngineSettings::default()
    };
    let (engine, why) = probe(options.engine, &settings)?;
    info!(engine = %why, "reading large files");
    Ok((Driver::Threads { limits, engine, pool }, why))
}

fn root_error(failures: &[Failure], path: &Path) -> MoverError {
    failures
        .first()
        .map_or(MoverError::Cancelled, |failure| MoverError::File {
            doing: "read",
            path: path.to_owned(),
            source: io::Error::new(failure.kind, failure.error.clone()),
        })
}

fn is_identical(manifest: &SnapshotManifest, earlier: &[Snapshot]) -> bool {
    let object = |manifest: &SnapshotManifest| manifest.root_entry.as_ref().and_then(|root| root.object);
    let last = earlier.iter().find(|snapshot| snapshot.manifest.incomplete.is_none());
    manifest.incomplete.is_none() && last.is_some_and(|last| object(&last.manifest) == object(manifest))
}

/// Deletes the snapshots of this source that the policy no longer wants. The checkpoint of this run is gone already.
fn expire(
    session: &WriteSession,
    policy: &EffectivePolicy,
    (id, manifest): (ManifestId, &SnapshotManifest),
    checkpoint: Option<&ManifestEntry>,
) -> Result<Vec<ManifestId>> {
    let mut snapshots = block_on(snapshots::list(session.repository(), Some(&manifest.source)))?;
    snapshots.retain(|snapshot| checkpoint.is_none_or(|checkpoint| checkpoint.id != snapshot.id));
    let earlier = snapshots.iter().map(Snapshot::for_retention);
    let all: Vec<RetentionSnapshot> = earlier.chain([for_retention(id, manifest)]).collect();
    let unwanted = to_delete(&policy.retention, &all);
    let is_unwanted = |snapshot: &&Snapshot| unwanted.contains(&snapshot.id.to_string());
    let expired: Vec<&Snapshot> = snapshots.iter().filter(is_unwanted).collect();
    expired
        .iter()
        .for_each(|snapshot| session.delete_manifest(&snapshot.entry));
    Ok(expired.into_iter().map(|snapshot| snapshot.id).collect())
}
