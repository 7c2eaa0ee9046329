//! The loading dock: what a snapshot is made of, opened and ready for the pipeline.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use jiff::Timestamp;
use windlass_repo_format::compression::Compression;
use windlass_repo_format::id::ObjectId;
use windlass_repo_format::policy::PolicyPlace;
use windlass_repo_format::snapshot::{DirEntry, DirectorySummary, EntryKind};

use super::create::SnapshotOptions;
use crate::blocking::block_on;
use crate::error::{MoverError, Result};
use crate::pipeline::{
    Attributes, FileKind, FileObject, LargeFile, MetadataFormat, Root, Source, Visit, Walk, WalkRoot,
    metadata_compression, open_root, volume_directory,
};
use crate::repository::{Repository, WriteSession};

/// A source ready to run, and what its root is wrapped into afterwards.
pub(crate) struct Opened {
    pub source: Source,
    pub wrap: Wrap,
}

/// What becomes of the root that the pipeline gives.
#[derive(Clone)]
pub(crate) enum Wrap {
    /// It is the snapshot's root.
    No,
    /// A single file's entry carries a summary, as Kopia's does.
    FileSummary,
    /// The file is the only entry of a directory that exists in the snapshot alone: a volume.
    Volume {
        name: Vec<u8>,
        mtime: Timestamp,
        format: MetadataFormat,
    },
}

impl Opened {
    /// Opens the path of a snapshot; `previous` are the roots of earlier ones.
    pub(crate) fn open(
        repository: &Repository,
        options: &SnapshotOptions,
        visit: &Visit,
        place: PolicyPlace,
        previous: &[DirEntry],
    ) -> Result<Self> {
        let failed = |source| MoverError::File {
            doing: "open",
            path: options.path.clone(),
            source,
        };
        let name = base_name(&options.path);
        match open_root(&options.path, options.block_device).map_err(failed)? {
            Root::Directory(fd, attributes) => {
                let directories = previous.iter().filter(|root| root.kind == EntryKind::Directory);
                let objects = directories.filter_map(|root| root.object).collect();
                let path = options.path.clone();
                let root = WalkRoot {
                    fd,
                    attributes,
                    path,
                    name,
                };
                let walk = Walk::new(repository.clone(), root, place, objects, visit.extended.clone())?;
                Ok(Self {
                    source: Source::Tree(Box::new(walk)),
                    wrap: Wrap::No,
                })
            }
            Root::File(file, attributes) => {
                let name = match attributes.kind {
                    FileKind::BlockDevice => device_name(&options.path).map_err(failed)?,
                    _ => name,
                };
                let earlier = earlier_file(repository, previous);
                Ok(Self::file(options, visit, &place, (file, attributes), name, earlier))
            }
        }
    }

    fn file(
        options: &SnapshotOptions,
        visit: &Visit,
        place: &PolicyPlace,
        (file, attributes): (File, Attributes),
        name: Vec<u8>,
        earlier: Option<ObjectId>,
    ) -> Self {
        let policy = place.effective();
        let by_policy = || {
            let name = policy
                .compression
                .compressor_for(&String::from_utf8_lossy(&name), attributes.size);
            name.and_then(|name| Compression::from_name(name).ok())
        };
        let compression = visit.compression.unwrap_or_else(by_policy);
        let format = MetadataFormat {
            splitter: visit.splitter,
            compression: metadata_compression(policy),
        };
        let part_len = policy.upload.parallel_upload_above_size;
        let object = FileObject::alone(attributes.entry(&name, EntryKind::File), compression, format);
        let large = LargeFile {
            file,
            attributes,
            object: object.into(),
            part_len,
            ignore_errors: false,
            is_device: options.block_device,
            earlier,
        };
        let wrap = if options.block_device {
            Wrap::Volume {
                name,
                mtime: attributes.mtime,
                format,
            }
        } else {
            Wrap::FileSummary
        };
        Self {
            source: Source::File(Box::new((large, visit.splitter_for(policy)))),
            wrap,
        }
    }
}

impl Wrap {
    /// The snapshot's root, with a word on why it is not whole.
    pub(crate) fn finish(
        &self,
        root: DirEntry,
        incomplete: Option<&'static str>,
        session: &WriteSession,
    ) -> Result<DirEntry> {
        match self {
            Self::No => Ok(root),
            Self::FileSummary => {
                let summary = DirectorySummary {
                    size: root.size,
                    files: 1,
                    max_time: root.mtime,
                    incomplete: incomplete.map(str::to_owned),
                    ..DirectorySummary::default()
                };
                Ok(DirEntry {
                    summary: Some(summary),
                    ..root
                })
            }
            Self::Volume { name, mtime, format } => volume_directory(root, name, *mtime, *format, incomplete, session),
        }
    }
}

/// The file in the last snapshot: its root, or the only file in a volume's directory.
fn earlier_file(repository: &Repository, previous: &[DirEntry]) -> Option<ObjectId> {
    let root = previous.first()?;
    let object = root.object?;
    match root.kind {
        EntryKind::File => Some(object),
        // One that cannot be read is as if it were not there.
        EntryKind::Directory => {
            let first = block_on(repository.directory_entries(object).next(repository)).ok()??;
            first.object.filter(|_| first.kind == EntryKind::File)
        }
        _ => None,
    }
}

/// What Velero calls the file of a device, and the directory around it: the whole path, and where a link leads.
fn device_name(path: &Path) -> io::Result<Vec<u8>> {
    let path = if fs::symlink_metadata(path)?.is_symlink() {
        fs::canonicalize(path)?
    } else {
        path.to_owned()
    };
    Ok(path.into_os_string().into_vec())
}

fn base_name(path: &Path) -> Vec<u8> {
    path.file_name()
        .map_or_else(|| b"/".to_vec(), |name| name.as_bytes().to_vec())
}
