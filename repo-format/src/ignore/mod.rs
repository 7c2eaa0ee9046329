//! The ignore room: which files a source leaves out.
//!
//! Rules come from policies and from dot files (`.kopiaignore`); they look like those of git, but what they mean is what
//! Kopia 0.22.3 was seen to do with them (`golden/ignore`): see [`pattern`] for the wildcards.

pub mod pattern;

use std::sync::Arc;

use self::pattern::{Pattern, chars_of};
use crate::FormatError;
use crate::policy::{EffectiveFiles, FilesPolicy};

/// The rules that hold for the entries of one directory: its own, and behind them those of the directories above.
///
/// A walk makes one for the root of the source with [`IgnoreRules::root`] and one for each directory it enters with
/// [`IgnoreRules::below`], then reads the [`IgnoreRules::dot_files`] that this directory holds and adds what they say.
/// A directory without a policy of its own and without dot files may use the rules of its parent as they are. What
/// lies in an ignored directory is never looked at, so a rule cannot bring it back.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    parent: Option<Arc<IgnoreRules>>,
    /// The directory the rules are relative to, with a slash behind it; empty at the root of the source.
    base: Vec<char>,
    patterns: Vec<Pattern>,
    dot_files: Arc<[String]>,
    max_file_size: Option<u64>,
    one_file_system: bool,
    ignore_cache_dirs: bool,
}

impl IgnoreRules {
    /// A dot file is read up to the first line of so many bytes, its line break counted in; the rest of it is passed
    /// over without a word, as in Kopia.
    pub const LINE_LIMIT: usize = 65_536;

    /// The rules for the root directory of a source.
    ///
    /// # Errors
    /// [`FormatError::BadIgnoreRule`] for a rule that cannot be read; Kopia then makes no snapshot.
    pub fn root(files: &EffectiveFiles) -> Result<Self, FormatError> {
        let mut rules = Self {
            dot_files: files.dot_ignore_files.clone().into(),
            max_file_size: files.max_file_size,
            one_file_system: files.one_file_system,
            ignore_cache_dirs: files.ignore_cache_dirs,
            ..Self::default()
        };
        rules.add_patterns(&files.ignore)?;
        Ok(rules)
    }

    /// The rules for the directory at `path`, relative to the root of the source and without a slash at its ends;
    /// `policy` is the policy for exactly this directory, if there is one.
    ///
    /// Such a policy adds its rules to those of the directories above, which it cannot switch off. It decides alone
    /// which dot files are read here and below: none, if it names none. It decides as well about other file systems
    /// (kept, if it does not say) and caches (left out, if it does not say); the size limit it may leave as it is.
    ///
    /// # Errors
    /// [`FormatError::BadIgnoreRule`] for a rule that cannot be read; Kopia then counts the directory as failed.
    pub fn below(parent: &Arc<Self>, path: &[u8], policy: Option<&FilesPolicy>) -> Result<Self, FormatError> {
        let mut base = chars_of(path);
        base.push('/');
        let mut rules = Self {
            parent: Some(Arc::clone(parent)),
            base,
            patterns: Vec::new(),
            dot_files: Arc::clone(&parent.dot_files),
            max_file_size: parent.max_file_size,
            one_file_system: parent.one_file_system,
            ignore_cache_dirs: parent.ignore_cache_dirs,
        };
        if let Some(policy) = policy {
            rules.dot_files = policy.ignore_dot_files.clone().into();
            if policy.max_file_size != 0 {
                rules.max_file_size = u64::try_from(policy.max_file_size).ok();
            }
            rules.one_file_system = policy.one_file_system.unwrap_or(false);
            rules.ignore_cache_dirs = policy.ignore_cache_dirs.unwrap_or(true);
            rules.add_patterns(&policy.ignore)?;
        }
        Ok(rules)
    }

    /// Names of the dot files to be read in this directory, in the order in which they are to be added.
    pub fn dot_files(&self) -> &[String] {
        &self.dot_files
    }

    /// Entries of this directory that are no directories and have more bytes than this are left out.
    pub fn max_file_size(&self) -> Option<u64> {
        self.max_file_size
    }

    /// Whether entries of this directory, files too, that lie on another file system than the directory are left out.
    pub fn one_file_system(&self) -> bool {
        self.one_file_system
    }

    /// Whether this directory is stored empty if it holds a valid [`CACHE_DIR_TAG`].
    pub fn ignore_cache_dirs(&self) -> bool {
        self.ignore_cache_dirs
    }

    /// Adds the rules that a dot file of this directory holds, one a line.
    ///
    /// # Errors
    /// [`FormatError::BadIgnoreRule`] for a rule that cannot be read; Kopia then counts the directory as failed, or makes
    /// no snapshot if it is the root.
    pub fn add_dot_file(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.len() >= Self::LINE_LIMIT && (line.len() > Self::LINE_LIMIT || !line.ends_with(b"\n")) {
                break;
            }
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() && line[0] != b'#' {
                self.patterns.push(Pattern::parse(line)?);
            }
        }
        Ok(())
    }

    /// Adds rules of a policy: each is one pattern, even if it begins with `#`.
    ///
    /// # Errors
    /// [`FormatError::BadIgnoreRule`] for a rule that cannot be read.
    pub fn add_patterns(&mut self, patterns: &[String]) -> Result<(), FormatError> {
        for pattern in patterns {
            self.patterns.push(Pattern::parse(pattern.as_bytes())?);
        }
        Ok(())
    }

    /// Whether the entry at this path, relative to the root of the source, is left out by a rule.
    ///
    /// The path must lie below the directory of these rules. Sizes and file systems are the caller's to compare.
    pub fn is_ignored(&self, relative_path: &[u8], is_dir: bool) -> bool {
        self.ignores(&chars_of(relative_path), is_dir)
    }

    /// Rules further down and later in a file overturn the others, so only those that would are tried.
    fn ignores(&self, path: &[char], is_dir: bool) -> bool {
        let mut ignored = self.parent.as_ref().is_some_and(|parent| parent.ignores(path, is_dir));
        let Some(path) = path.strip_prefix(&self.base[..]) else {
            return ignored;
        };
        for pattern in &self.patterns {
            if pattern.is_negated() == ignored && pattern.matches(path, is_dir) {
                ignored = !ignored;
            }
        }
        ignored
    }
}

/// First bytes of a `CACHEDIR.TAG` that make its directory a cache.
pub const CACHE_DIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Name of the file that may make its directory a cache; it must be a regular file.
pub const CACHE_DIR_TAG: &str = "CACHEDIR.TAG";

/// Whether the first bytes of a [`CACHE_DIR_TAG`] make its directory a cache, to be stored as an empty directory; looked
/// for before any rule is.
pub fn is_cache_dir_tag(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(CACHE_DIR_SIGNATURE)
}

#[cfg(test)]
mod tests;
