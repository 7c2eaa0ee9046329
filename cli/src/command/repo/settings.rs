//! The nameplate: what was chosen when a repository was made.

use serde_json::{Value, json};
use windlass_mover::Repository;
use windlass_repo_format::format_blob::RepositoryFormat;

use crate::figures::{duration, size};
use crate::table::Facts;

/// The choices as JSON.
pub(super) fn json(repository: &Repository) -> Value {
    let (format, blob) = (repository.format(), repository.format_blob());
    let lock = repository.blob_config().retention_mode.map(|mode| {
        let period = repository.blob_config().retention_period;
        json!({"mode": mode.name(), "seconds": period.as_secs()})
    });
    json!({
        "location": repository.storage().location(),
        "uniqueID": hex::encode(&blob.unique_id),
        "formatVersion": format.version.number(),
        "hash": format.hash.name(),
        "encryption": format.encryption.name(),
        "splitter": format.splitter,
        "ecc": ecc(format).map(|percent| json!({"algorithm": RepositoryFormat::ECC_NAME, "overheadPercent": percent})),
        "indexVersion": format.index_version,
        "maxPackSize": format.max_pack_size,
        "keyDerivation": blob.key_derivation.name(),
        "passwordCanChange": format.enable_password_change,
        "objectLock": lock,
    })
}

/// The choices for people.
pub(super) fn facts(repository: &Repository) -> Facts {
    let (format, blob) = (repository.format(), repository.format_blob());
    let mut facts = Facts::default();
    facts.add("location", repository.storage().location());
    facts.add("unique id", hex::encode(&blob.unique_id));
    facts.add("format", format!("version {}", format.version.number()));
    facts.add("hash", format.hash.name());
    facts.add("encryption", format.encryption.name());
    facts.add("splitter", format.splitter.as_str());
    let ecc = ecc(format).map(|percent| format!("{}, {percent} % overhead", RepositoryFormat::ECC_NAME));
    facts.add("error correction", ecc.unwrap_or_else(|| "none".to_owned()));
    facts.add("packs", format!("up to {}", size(u64::from(format.max_pack_size))));
    facts.add("key derivation", blob.key_derivation.name());
    if !format.enable_password_change {
        facts.add("password", "cannot be changed");
    }
    if let Some(mode) = repository.blob_config().retention_mode {
        let period = duration(repository.blob_config().retention_period);
        facts.add("object lock", format!("{} for {period}", mode.name()));
    }
    facts
}

fn ecc(format: &RepositoryFormat) -> Option<u8> {
    Some(format.ecc_overhead_percent).filter(|percent| *percent > 0)
}
