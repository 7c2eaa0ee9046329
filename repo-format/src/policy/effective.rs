//! The effective-policy room: what holds for a directory once all policies that apply to it are merged.

use super::{Policy, RetentionPolicy};

/// What holds for one directory: every question has an answer here.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectivePolicy {
    /// Which files are left out.
    pub files: EffectiveFiles,
    /// Which errors do not count.
    pub errors: EffectiveErrors,
    /// How file data is compressed.
    pub compression: EffectiveCompression,
    /// Compressor of directories and indirect lists; `None` leaves them as they are.
    pub metadata_compressor: Option<String>,
    /// Splitter of files, if not that of the repository.
    pub splitter: Option<String>,
    /// How much is read at once.
    pub upload: EffectiveUpload,
    /// How many snapshots are kept.
    pub retention: EffectiveRetention,
}

/// Which files are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveFiles {
    /// Ignore rules in the order they are tried, relative to the directory the policy is for.
    pub ignore: Vec<String>,
    /// Names of files in which further rules are looked for, in each directory.
    pub dot_ignore_files: Vec<String>,
    /// Whether directories with a valid `CACHEDIR.TAG` are stored empty.
    pub ignore_cache_dirs: bool,
    /// Files of more bytes than this are left out.
    pub max_file_size: Option<u64>,
    /// Whether what lies on another file system is left out.
    pub one_file_system: bool,
}

/// Which errors are noted but do not spoil a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveErrors {
    /// Errors on reading a file.
    pub ignore_file_errors: bool,
    /// Errors on listing a directory.
    pub ignore_directory_errors: bool,
    /// Entries that are neither file, directory nor symbolic link.
    pub ignore_unknown_types: bool,
}

/// How file data is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveCompression {
    /// Name of the compressor; `None` stores everything as it is.
    pub compressor: Option<String>,
    /// If not empty, only files with these extensions are compressed. Sorted.
    pub only_compress: Vec<String>,
    /// Files with these extensions are not compressed. Sorted.
    pub never_compress: Vec<String>,
    /// Files of fewer bytes are not compressed; zero sets no limit.
    pub min_size: i64,
    /// Files of more bytes are not compressed; zero sets no limit.
    pub max_size: i64,
}

impl EffectiveCompression {
    /// The compressor for a file of this name and size in bytes; `None` stores it as it is.
    pub fn compressor_for(&self, name: &str, size: u64) -> Option<&str> {
        let compressor = self.compressor.as_deref()?;
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if (self.min_size > 0 && size < self.min_size) || (self.max_size > 0 && size > self.max_size) {
            return None;
        }
        let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
        let listed = |list: &[String]| list.binary_search_by(|known| known.as_str().cmp(extension)).is_ok();
        let compress = if self.only_compress.is_empty() {
            !listed(&self.never_compress)
        } else {
            listed(&self.only_compress)
        };
        compress.then_some(compressor)
    }
}

/// How much is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveUpload {
    /// Snapshots that Kopia's server makes at the same time.
    pub max_parallel_snapshots: i64,
    /// Files that are read at the same time; `None` leaves it to the program.
    pub max_parallel_file_reads: Option<i64>,
    /// Files of more bytes than this are stored in parts of this size; `None` stores every file as one.
    pub parallel_upload_above_size: Option<u64>,
}

/// How many snapshots are kept: see [`crate::retention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EffectiveRetention {
    /// The newest snapshots, whatever their time.
    pub keep_latest: i64,
    /// Hours of which the newest snapshot is kept.
    pub keep_hourly: i64,
    /// Days of which the newest snapshot is kept.
    pub keep_daily: i64,
    /// ISO weeks of which the newest snapshot is kept.
    pub keep_weekly: i64,
    /// Months of which the newest snapshot is kept.
    pub keep_monthly: i64,
    /// Years of which the newest snapshot is kept.
    pub keep_annual: i64,
    /// Do not store a snapshot whose root is that of the one before.
    pub ignore_identical_snapshots: bool,
}

impl EffectivePolicy {
    /// Merges policies, the most specific first; what none of them says takes Kopia's built-in value.
    ///
    /// The first that answers a question decides. Only the extensions of the section `compression` are united, until a
    /// policy stops that; lists of ignore rules and dot files replace each other, whatever `noParentIgnore` and
    /// `noParentDotFiles` say. After a policy with `noParent` nobody is asked, not even for the built-in values: then
    /// nothing is compressed, no dot file is read and no snapshot expires, if that policy does not say so.
    pub fn merge<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut merging = Merging::default();
        for policy in policies {
            merging.add(policy);
            if policy.no_parent {
                return merging.finish();
            }
        }
        merging.add(&super::default_global_policy());
        merging.finish()
    }
}

/// A merge under way: the first answer to each question stays.
#[derive(Default)]
struct Merging {
    sum: Policy,
    only_compress_closed: bool,
    never_compress_closed: bool,
}

impl Merging {
    fn add(&mut self, next: &Policy) {
        let sum = &mut self.sum;

        let (to, from) = (&mut sum.retention, &next.retention);
        take_option(&mut to.keep_latest, &from.keep_latest);
        take_option(&mut to.keep_hourly, &from.keep_hourly);
        take_option(&mut to.keep_daily, &from.keep_daily);
        take_option(&mut to.keep_weekly, &from.keep_weekly);
        take_option(&mut to.keep_monthly, &from.keep_monthly);
        take_option(&mut to.keep_annual, &from.keep_annual);
        take_option(&mut to.ignore_identical_snapshots, &from.ignore_identical_snapshots);

        let (to, from) = (&mut sum.files, &next.files);
        take(&mut to.ignore, &from.ignore);
        take(&mut to.ignore_dot_files, &from.ignore_dot_files);
        take_option(&mut to.ignore_cache_dirs, &from.ignore_cache_dirs);
        take(&mut to.max_file_size, &from.max_file_size);
        take_option(&mut to.one_file_system, &from.one_file_system);

        let (to, from) = (&mut sum.error_handling, &next.error_handling);
        take_option(&mut to.ignore_file_errors, &from.ignore_file_errors);
        take_option(&mut to.ignore_directory_errors, &from.ignore_directory_errors);
        take_option(&mut to.ignore_unknown_types, &from.ignore_unknown_types);

        let (to, from) = (&mut sum.compression, &next.compression);
        take(&mut to.compressor_name, &from.compressor_name);
        let closes = from.no_parent_only_compress;
        unite(
            &mut to.only_compress,
            &from.only_compress,
            &mut self.only_compress_closed,
            closes,
        );
        let closes = from.no_parent_never_compress;
        unite(
            &mut to.never_compress,
            &from.never_compress,
            &mut self.never_compress_closed,
            closes,
        );
        take(&mut to.min_size, &from.min_size);
        take(&mut to.max_size, &from.max_size);

        take(
            &mut sum.metadata_compression.compressor_name,
            &next.metadata_compression.compressor_name,
        );
        take(&mut sum.splitter.algorithm, &next.splitter.algorithm);

        let (to, from) = (&mut sum.upload, &next.upload);
        take_option(&mut to.max_parallel_snapshots, &from.max_parallel_snapshots);
        take_option(&mut to.max_parallel_file_reads, &from.max_parallel_file_reads);
        take_option(&mut to.parallel_upload_above_size, &from.parallel_upload_above_size);
    }

    fn finish(self) -> EffectivePolicy {
        let Policy {
            retention,
            files,
            error_handling,
            compression,
            metadata_compression,
            splitter,
            upload,
            ..
        } = self.sum;
        let compressor = |name: String| Some(name).filter(|name| !name.is_empty() && name != "none");
        EffectivePolicy {
            files: EffectiveFiles {
                ignore: files.ignore,
                dot_ignore_files: files.ignore_dot_files,
                ignore_cache_dirs: files.ignore_cache_dirs.unwrap_or(true),
                max_file_size: positive(files.max_file_size),
                one_file_system: files.one_file_system.unwrap_or(false),
            },
            errors: EffectiveErrors {
                ignore_file_errors: error_handling.ignore_file_errors.unwrap_or(false),
                ignore_directory_errors: error_handling.ignore_directory_errors.unwrap_or(false),
                ignore_unknown_types: error_handling.ignore_unknown_types.unwrap_or(true),
            },
            compression: EffectiveCompression {
                compressor: compressor(compression.compressor_name),
                only_compress: compression.only_compress,
                never_compress: compression.never_compress,
                min_size: compression.min_size,
                max_size: compression.max_size,
            },
            metadata_compressor: compressor(metadata_compression.compressor_name),
            splitter: Some(splitter.algorithm).filter(|name| !name.is_empty()),
            upload: EffectiveUpload {
                max_parallel_snapshots: upload.max_parallel_snapshots.unwrap_or(1),
                max_parallel_file_reads: upload.max_parallel_file_reads,
                parallel_upload_above_size: upload.parallel_upload_above_size.and_then(positive),
            },
            retention: EffectiveRetention::from(&retention),
        }
    }
}

impl From<&RetentionPolicy> for EffectiveRetention {
    /// What is not said keeps nothing.
    fn from(policy: &RetentionPolicy) -> Self {
        Self {
            keep_latest: policy.keep_latest.unwrap_or(0),
            keep_hourly: policy.keep_hourly.unwrap_or(0),
            keep_daily: policy.keep_daily.unwrap_or(0),
            keep_weekly: policy.keep_weekly.unwrap_or(0),
            keep_monthly: policy.keep_monthly.unwrap_or(0),
            keep_annual: policy.keep_annual.unwrap_or(0),
            ignore_identical_snapshots: policy.ignore_identical_snapshots.unwrap_or(false),
        }
    }
}

fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

fn take_option<T: Clone>(sum: &mut Option<T>, next: &Option<T>) {
    if sum.is_none() {
        sum.clone_from(next);
    }
}

fn take<T: Clone + Default + PartialEq>(sum: &mut T, next: &T) {
    if *sum == T::default() {
        sum.clone_from(next);
    }
}

fn unite(sum: &mut Vec<String>, next: &[String], closed: &mut bool, closes: bool) {
    if *closed {
        return;
    }
    *closed = closes;
    sum.extend(next.iter().cloned());
    sum.sort();
    sum.dedup();
}
