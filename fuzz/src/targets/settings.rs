//! The charter's trial: format blob, sealed format, blob configuration.

use windlass_repo_format::format_blob::{BlobConfig, FormatBlob, FormatKey, RepositoryFormat};

use super::settles;
use crate::bytes::Tickets;

/// What the sealed part holds.
pub(super) const A_FORMAT: &[u8] = br#"{"format":{"hash":"BLAKE3-256-128","encryption":"AES256-GCM-HMAC-SHA256","ecc":"REED-SOLOMON-CRC32","eccOverheadPercent":2,"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","masterKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","version":3,"maxPackSize":20971520,"indexVersion":2,"epochParameters":{"Enabled":true,"EpochRefreshFrequency":1200000000000,"FullCheckpointFrequency":7,"CleanupSafetyMargin":14400000000000,"MinEpochDuration":86400000000000,"EpochAdvanceOnCountThreshold":20,"EpochAdvanceOnTotalSizeBytesThreshold":10485760,"DeleteParallelism":4},"enablePasswordChange":true,"splitter":"DYNAMIC-4M-BUZHASH","upgradeLock":{"ownerID":"o","creationTime":"2026-01-01T00:00:00Z"},"requiredFeatures":[{"feature":"f","ifNotUnderstood":{"warn":true}}]}}"#;
/// What the configuration of blobs holds.
pub(super) const A_CONFIG: &[u8] = br#"{"retentionMode":"COMPLIANCE","retentionPeriod":172800000000000,"other":1}"#;

const UNIQUE_ID: [u8; 32] = [3; 32];

fn key() -> FormatKey {
    FormatKey::from_bytes([5; 32])
}

/// The clear part: as it is, or with arbitrary bytes for what is sealed.
pub(super) fn format_blob(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let first = tickets.byte();
    let blob = FormatBlob::parse(tickets.rest());
    let Ok(blob) = blob else { return };
    settles(blob.clone(), FormatBlob::encode, FormatBlob::parse);
    // A key that does not fit is a wrong password, whatever the bytes are.
    assert!(RepositoryFormat::unseal(&blob, &FormatKey::from_bytes([first; 32])).is_err());
}

/// The sealed part, which only a holder of the password can have written.
pub(super) fn repository_format(input: &[u8]) {
    let Ok(format) = RepositoryFormat::from_json(input) else {
        return;
    };
    settles(
        format.clone(),
        |format| format.to_json().to_vec(),
        RepositoryFormat::from_json,
    );
    let nonce = [1; 12];
    let sealed = format.seal(&UNIQUE_ID, &key(), &nonce);
    let blob = FormatBlob {
        unique_id: UNIQUE_ID.to_vec(),
        sealed_format: sealed,
        ..a_blob()
    };
    let again = RepositoryFormat::unseal(&blob, &key()).expect("it was sealed with this key");
    assert_eq!(again.to_json().to_vec(), format.to_json().to_vec());
    // Whatever it asks for is refused in words, or can be used.
    let _ = windlass_repo_format::sealing::Sealer::new(&format);
    let _ = format.validate();
    let _ = format.refuse_while_locked();
    let _ = format.warnings().count();
}

fn a_blob() -> FormatBlob {
    const BLOB: &[u8] = include_bytes!("../../../repo-format/golden/format/default/kopia.repository");
    FormatBlob::parse(BLOB).expect("Kopia wrote it")
}

/// The blob configuration, open and sealed.
pub(super) fn blob_config(input: &[u8]) {
    assert!(
        BlobConfig::unseal(input, &UNIQUE_ID, &key()).is_err(),
        "nobody has sealed this"
    );
    let Ok(config) = BlobConfig::parse(input) else { return };
    settles(config.clone(), BlobConfig::to_json, BlobConfig::parse);
    let sealed = config.seal(&UNIQUE_ID, &key(), &[2; 12]);
    if let Ok(again) = BlobConfig::unseal(&sealed, &UNIQUE_ID, &key()) {
        assert_eq!(again, config);
    }
    let _ = config.validate();
}
