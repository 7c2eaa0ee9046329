//! The register room: snapshots are listed, found by what a person remembers of them, and walked into by path.

use tracing::warn;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::manifest::{ManifestEntry, ManifestId};
use windlass_repo_format::retention::RetentionSnapshot;
use windlass_repo_format::snapshot::{DirEntry, EntryKind, SnapshotManifest, SourceInfo};

use crate::error::{MoverError, Result};
use crate::repository::{Repository, WriteSession};

/// A snapshot as the repository keeps it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The name by which people and other programs ask for it.
    pub id: ManifestId,
    /// What it says of itself.
    pub manifest: SnapshotManifest,
    /// The manifest that holds this, with its labels.
    pub entry: ManifestEntry,
}

impl Snapshot {
    /// The root of the snapshot.
    ///
    /// # Errors
    /// A snapshot without a root cannot be used for anything.
    pub fn root(&self) -> Result<&DirEntry> {
        self.manifest.root_entry.as_ref().ok_or_else(|| MoverError::NoRoot {
            snapshot: self.id.to_string(),
        })
    }

    /// What retention wants to know of it.
    pub fn for_retention(&self) -> RetentionSnapshot {
        for_retention(self.id, &self.manifest)
    }

    fn root_object(&self) -> Option<ObjectId> {
        self.manifest.root_entry.as_ref().and_then(|root| root.object)
    }
}

/// What retention wants to know of a snapshot.
pub(crate) fn for_retention(id: ManifestId, manifest: &SnapshotManifest) -> RetentionSnapshot {
    RetentionSnapshot {
        id: id.to_string(),
        start: manifest.start_time,
        end: manifest.end_time,
        incomplete: manifest.incomplete.is_some(),
        pinned: !manifest.pins.is_empty(),
    }
}

/// What [`list_all`] found.
#[derive(Debug, Default)]
pub struct Listed {
    /// The snapshots that can be read, by start time.
    pub snapshots: Vec<Snapshot>,
    /// The manifests that say they are snapshots and cannot be read as one.
    pub unreadable: Vec<(ManifestId, MoverError)>,
}

/// The snapshots of a source, or of all sources, the one that began first in front.
///
/// A manifest that cannot be understood is left out with a warning, so that it does not hide the others; see
/// [`list_all`].
///
/// # Errors
/// When a batch of manifests cannot be read, see [`Repository::manifests`].
pub async fn list(repository: &Repository, source: Option<&SourceInfo>) -> Result<Vec<Snapshot>> {
    let listed = list_all(repository, source).await?;
    for (id, error) in &listed.unreadable {
        warn!(%id, %error, "a snapshot cannot be read and is not listed");
    }
    Ok(listed.snapshots)
}

/// As [`list`], naming what cannot be read.
///
/// # Errors
/// As [`list`]. A snapshot that cannot be understood is no error, it is in [`Listed::unreadable`].
pub async fn list_all(repository: &Repository, source: Option<&SourceInfo>) -> Result<Listed> {
    let mut labels = vec![("type", "snapshot")];
    if let Some(SourceInfo { host, user_name, path }) = source {
        labels.extend([("hostname", host.as_str()), ("username", user_name), ("path", path)]);
    }
    let manifests = repository.manifests().await?;
    let mut listed = Listed::default();
    for entry in manifests.find(&labels) {
        match SnapshotManifest::decode(entry.data_json().as_bytes()) {
            Ok(manifest) => listed.snapshots.push(Snapshot {
                id: entry.id,
                manifest,
                entry: entry.clone(),
            }),
            Err(source) => {
                let id = entry.id.to_string();
                listed.unreadable.push((entry.id, MoverError::Manifest { id, source }));
            }
        }
    }
    listed
        .snapshots
        .sort_by_key(|snapshot| (snapshot.manifest.start_time, snapshot.id));
    Ok(listed)
}

/// The snapshot with this ID, or the only one whose ID begins so, or the latest one with this root object.
///
/// # Errors
/// [`MoverError::NoSuchSnapshot`] and [`MoverError::AmbiguousSnapshot`].
pub async fn find(repository: &Repository, wanted: &str) -> Result<Snapshot> {
    let no_such = || MoverError::NoSuchSnapshot {
        wanted: wanted.to_owned(),
    };
    if wanted.is_empty() {
        return Err(no_such());
    }
    let snapshots = list(repository, None).await?;
    let mut fitting = snapshots
        .iter()
        .filter(|snapshot| snapshot.id.to_string().starts_with(wanted));
    match (fitting.next(), fitting.count()) {
        (Some(found), 0) => return Ok(found.clone()),
        (Some(_), others) => {
            return Err(MoverError::AmbiguousSnapshot {
                wanted: wanted.to_owned(),
                count: others + 1,
            });
        }
        (None, _) => {}
    }
    let object: ObjectId = wanted.parse().map_err(|_| no_such())?;
    let latest = snapshots
        .into_iter()
        .rfind(|snapshot| snapshot.root_object() == Some(object));
    latest.ok_or_else(no_such)
}

/// The snapshots that the next one of this source is compared with: the latest complete one, and the incomplete ones
/// that began later; in the order in which they began.
///
/// # Errors
/// As [`list`].
pub async fn previous_for(repository: &Repository, source: &SourceInfo) -> Result<Vec<Snapshot>> {
    let mut snapshots = list(repository, Some(source)).await?;
    snapshots.retain(|snapshot| snapshot.root_object().is_some());
    let first = snapshots.iter().rposition(is_complete).unwrap_or(0);
    Ok(snapshots.split_off(first))
}

fn is_complete(snapshot: &Snapshot) -> bool {
    snapshot.manifest.incomplete.is_none() && snapshot.root_object().is_some()
}

/// Deletes a snapshot; it disappears with the session's next flush. What only it used is freed by maintenance.
pub fn delete(session: &WriteSession, snapshot: &Snapshot) {
    session.delete_manifest(&snapshot.entry);
}

/// What lies at a path inside a snapshot. The names are compared byte by byte; slashes in front, behind and doubled do
/// not count. An empty path is the snapshot's root.
///
/// A name that holds slashes itself (the file of a block device is named like the device) is found by the path that
/// it spells. Of a name that occurs twice the first one is meant, as in a restore.
///
/// # Errors
/// [`MoverError::NoSuchEntry`] when there is no such path.
pub async fn entry_at(repository: &Repository, snapshot: &Snapshot, path: impl AsRef<[u8]>) -> Result<DirEntry> {
    let wanted = path.as_ref();
    let missing = || MoverError::NoSuchEntry {
        path: String::from_utf8_lossy(wanted).into_owned(),
    };
    let mut entry = snapshot.root()?.clone();
    let mut rest = without_leading_slashes(wanted);
    while !rest.is_empty() {
        let directory = entry.object.filter(|_| entry.kind == EntryKind::Directory);
        let mut entries = repository.directory_entries(directory.ok_or_else(missing)?);
        let found = loop {
            let Some(child) = entries.next(repository).await? else {
                return Err(missing());
            };
            if let Some(name_len) = leading_name(&child.name, rest) {
                break (child, name_len);
            }
        };
        entry = found.0;
        rest = without_leading_slashes(&rest[found.1..]);
    }
    Ok(entry)
}

/// How many bytes of `path` this name takes; `None` when the path does not begin with it.
fn leading_name(name: &[u8], path: &[u8]) -> Option<usize> {
    let name = without_leading_slashes(name);
    let rest = path.strip_prefix(name).filter(|_| !name.is_empty())?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(name.len())
}

fn without_leading_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::block_on;
    use crate::sample::{Sample, source};

    fn ids(snapshots: &[Snapshot]) -> Vec<ManifestId> {
        snapshots.iter().map(|snapshot| snapshot.id).collect()
    }

    #[test]
    fn snapshots_are_listed_in_the_order_in_which_they_began() {
        let sample = Sample::new();
        let root = sample.directory("r", &[]);
        let later = sample.snapshot("/a", 20, None, &root);
        let earlier = sample.snapshot("/a", 10, None, &root);
        let other = sample.snapshot("/b", 15, None, &root);
        let repository = &sample.repository;
        let all = block_on(list(repository, None)).unwrap();
        assert_eq!(ids(&all), [earlier.id, other.id, later.id]);
        let of_a = block_on(list(repository, Some(&source("/a")))).unwrap();
        assert_eq!(ids(&of_a), [earlier.id, later.id]);
        delete(sample.session(), &earlier);
        sample.flush();
        let left = block_on(list(&sample.reopened(), Some(&source("/a")))).unwrap();
        assert_eq!(ids(&left), [later.id]);
    }

    #[test]
    fn a_snapshot_is_found_by_id_prefix_or_root() {
        let sample = Sample::new();
        let root = sample.directory("r", &[sample.file("f", b"1")]);
        let first = sample.snapshot("/a", 1, None, &root);
        let second = sample.snapshot("/a", 2, None, &root);
        let find = |wanted: &str| block_on(find(&sample.repository, wanted)).map(|found| found.id);
        let text = first.id.to_string();
        assert_eq!(find(&text).unwrap(), first.id);
        let common = text
            .chars()
            .zip(second.id.to_string().chars())
            .take_while(|(a, b)| a == b)
            .count();
        assert_eq!(find(&text[..=common]).unwrap(), first.id);
        assert_eq!(find(&root.object.unwrap().to_string()).unwrap(), second.id);
        assert!(matches!(find(""), Err(MoverError::NoSuchSnapshot { .. })));
        assert!(matches!(find("nothing"), Err(MoverError::NoSuchSnapshot { .. })));
        for _ in 0..16 {
            sample.snapshot("/b", 3, None, &root);
        }
        let ambiguous = ('0'..='f').any(
            |digit| matches!(find(&digit.to_string()), Err(MoverError::AmbiguousSnapshot { count, .. }) if count > 1),
        );
        assert!(ambiguous, "eighteen snapshots share sixteen first digits");
    }

    #[test]
    fn the_next_snapshot_is_compared_with_the_last_complete_one_and_what_began_later() {
        let sample = Sample::new();
        let root = sample.directory("r", &[]);
        let previous = || ids(&block_on(previous_for(&sample.repository, &source("/a"))).unwrap());
        assert_eq!(previous(), []);
        let checkpoint = sample.snapshot("/a", 1, Some("checkpoint"), &root);
        assert_eq!(previous(), [checkpoint.id]);
        let complete = sample.snapshot("/a", 2, None, &root);
        let canceled = sample.snapshot("/a", 3, Some("canceled"), &root);
        sample.snapshot("/b", 4, None, &root);
        assert_eq!(previous(), [complete.id, canceled.id]);
    }

    #[test]
    fn a_path_leads_to_its_entry() {
        let sample = Sample::new();
        let below = sample.directory("below", &[sample.file("file", b"text")]);
        let root = sample.directory("r", &[below.clone(), sample.file("/dev/xvdb", b"volume")]);
        let snapshot = sample.snapshot("/a", 1, None, &root);
        let at = |path: &str| block_on(entry_at(&sample.repository, &snapshot, path));
        assert_eq!(at("").unwrap(), root);
        assert_eq!(at("/").unwrap(), root);
        assert_eq!(at("below/").unwrap(), below);
        assert_eq!(at("//below//file").unwrap().size, 4);
        assert_eq!(at("/dev/xvdb").unwrap().size, 6);
        for missing in ["nothing", "below/file/more", "belo", "below/../below", "dev"] {
            assert!(matches!(at(missing), Err(MoverError::NoSuchEntry { .. })), "{missing}");
        }
    }
}
