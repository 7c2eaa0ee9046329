//! The mint: a repository with more contents than anybody wants to wait for, made without files.

use std::path::Path;
use std::sync::Arc;

use windlass_mover::blocking::block_on;
use windlass_mover::repository::{CreateOptions, OpenOptions};
use windlass_mover::storage::FileSystem;
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::{Identity, MoverError, Repository};
use windlass_repo_format::hashing::HashAlgorithm;

use crate::{Result, stop};

/// An index is published whenever so many contents are new, so that there are many of them, as in a repository that is used.
const INDEX_EVERY: u64 = 50_000;

/// Makes a repository as Kopia does by default, with so many contents of a few bytes each.
pub(crate) fn mint(folder: &Path, password: &str, contents: u64) -> Result<()> {
    let storage = FileSystem::create(folder, Sharding::default());
    let storage = storage.map_err(|error| format!("cannot make a storage in {}: {error}", folder.display()))?;
    let identity = Identity {
        user: "u".to_owned(),
        host: "h".to_owned(),
    };
    let create = CreateOptions {
        hash: HashAlgorithm::Blake2b256_128,
        ..CreateOptions::default()
    };
    let failed = |error: MoverError| format!("cannot make a repository in {}: {error}", folder.display());
    let made = Repository::create(Arc::new(storage), password, &create, OpenOptions::new(identity));
    let repository = block_on(made).map_err(failed)?;
    let session = repository.write_session().map_err(failed)?;
    for number in 0..contents {
        block_on(session.write_content(None, &number.to_le_bytes(), None)).map_err(failed)?;
        if number % INDEX_EVERY == INDEX_EVERY - 1 {
            stop::check()?;
            block_on(session.flush()).map_err(failed)?;
        }
    }
    block_on(session.flush()).map_err(failed)
}
