//! The pantry: where what was read from the repository is kept for the next time.

use std::path::PathBuf;

use tracing::warn;
use windlass_mover::cache::CacheSettings;

use crate::arguments::GlobalOptions;
use crate::exit::WrongUse;
use crate::location::Location;

/// What is said in the place of a folder to keep nothing.
const NOTHING: &str = "none";

/// What may be kept of the repository at a place, and where; `None` for nothing.
///
/// # Errors
/// When the folder that was given cannot be one.
pub(crate) fn settings(options: &GlobalOptions, location: &Location) -> Result<Option<CacheSettings>, WrongUse> {
    let folder = match &options.cache_dir {
        Some(folder) if folder.as_os_str() == NOTHING => return Ok(None),
        Some(folder) if folder.as_os_str().is_empty() => {
            return Err(WrongUse(format!("--cache-dir is empty: give a folder, or {NOTHING}")));
        }
        Some(folder) => folder.clone(),
        None => {
            let Some(folder) = of_the_user() else {
                warn!(
                    "there is no place for a cache: set XDG_CACHE_HOME or HOME, or give --cache-dir FOLDER or {NOTHING}"
                );
                return Ok(None);
            };
            folder
        }
    };
    Ok(Some(CacheSettings {
        folder,
        bytes_max: options.cache_size,
        // A folder is read as quickly as a cache.
        metadata: !matches!(location, Location::Folder(_)),
    }))
}

fn of_the_user() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("windlass"))
}
