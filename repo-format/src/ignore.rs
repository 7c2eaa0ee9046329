//! The ignore room: which files a source leaves out.

use std::sync::Arc;

use crate::FormatError;

/// The rules of one directory, chained to those of the directories above it.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    parent: Option<Arc<IgnoreRules>>,
    base: Vec<u8>,
}

impl IgnoreRules {
    /// Rules of the root directory of a source: none yet.
    pub fn root() -> Self {
        Self::default()
    }

    /// Rules of the directory at `path` (relative to the root of the source, without slashes at its ends), below those
    /// of `parent`: none yet of its own.
    pub fn below(parent: &Arc<Self>, path: &[u8]) -> Self {
        Self {
            parent: Some(Arc::clone(parent)),
            base: path.to_vec(),
        }
    }

    /// Adds the rules that a dot file of this directory holds, one a line.
    pub fn add_dot_file(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let _ = bytes;
        Ok(())
    }

    /// Adds one rule of a policy.
    pub fn add_pattern(&mut self, pattern: &[u8]) -> Result<(), FormatError> {
        let _ = (pattern, &self.base, &self.parent);
        Ok(())
    }

    /// Whether the entry at this path, relative to the root of the source, is left out.
    pub fn is_ignored(&self, relative_path: &[u8], is_dir: bool) -> bool {
        let _ = (relative_path, is_dir);
        false
    }
}

/// Whether the first bytes of a `CACHEDIR.TAG` make its directory a cache.
pub fn is_cache_dir_tag(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55")
}
