//! The format blobs that the real Kopia wrote, read and written again.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::encryption::EncryptionAlgorithm;
use crate::hashing::HashAlgorithm;
use crate::id::BlobId;
use crate::sealing::Sealer;
use crate::session::{SessionId, SessionMarker};

macro_rules! golden {
    ($($part:literal),+) => {
        &include_bytes!(concat!("../../golden/format/", $($part),+))[..]
    };
}

const PASSWORD: &str = "golden-password";
const NONCE: [u8; 12] = [7; 12];

/// Two blobs of a repository, opened. Everything is written again and has to be the same bytes.
struct Opened {
    blob: FormatBlob,
    key: FormatKey,
    format: RepositoryFormat,
}

fn open(repository: &[u8], blob_config: &[u8]) -> Opened {
    let blob = FormatBlob::parse(repository).unwrap();
    assert_eq!(blob.encode(), repository, "the envelope, byte for byte");
    let key = blob.derive_key(PASSWORD);

    let json = key.open(&blob.unique_id, &blob.sealed_format).unwrap();
    let format = RepositoryFormat::unseal(&blob, &key).unwrap();
    let text = |json: &[u8]| String::from_utf8(json.to_vec()).unwrap();
    assert_eq!(text(&format.to_json()), text(&json), "the inner JSON, byte for byte");
    let nonce = blob.sealed_format.first_chunk().unwrap();
    assert_eq!(format.seal(&blob.unique_id, &key, nonce), blob.sealed_format);

    let config = BlobConfig::unseal(blob_config, &blob.unique_id, &key).unwrap();
    assert_eq!(config, BlobConfig::default());
    let nonce = blob_config.first_chunk().unwrap();
    assert_eq!(config.seal(&blob.unique_id, &key, nonce), blob_config);
    Opened { blob, key, format }
}

macro_rules! open {
    ($folder:literal) => {
        open(
            golden!($folder, "/kopia.repository"),
            golden!($folder, "/kopia.blobcfg"),
        )
    };
}

#[test]
fn the_default_is_what_kopia_makes() {
    let Opened { blob, format, .. } = open!("default");
    assert_eq!(blob.key_derivation, KeyDerivation::Scrypt65536_8_1);
    assert_eq!(blob.unique_id.len(), FormatBlob::UNIQUE_ID_NEW_LEN);
    assert_eq!(format.secret.as_bytes().len(), 32);
    assert_eq!(format.master_key.as_bytes().len(), 32);
    let made = RepositoryFormat {
        secret: format.secret.clone(),
        master_key: format.master_key.clone(),
        splitter: "DYNAMIC-128K-BUZHASH".to_owned(),
        ..RepositoryFormat::new_default([0; 32], [0; 32])
    };
    assert_eq!(format, made);
    format.validate().unwrap();
}

#[test]
fn other_algorithms_are_read_and_written() {
    assert_eq!(open!("pbkdf2").blob.key_derivation, KeyDerivation::Pbkdf2Sha256_600000);

    let format = open!("chacha20-blake3").format;
    assert_eq!(format.hash, HashAlgorithm::Blake3_256);
    assert_eq!(format.encryption, EncryptionAlgorithm::ChaCha20Poly1305HmacSha256);

    let format = open!("error-correction").format;
    assert_eq!(format.hash, HashAlgorithm::HmacSha224);
    assert_eq!(format.ecc_overhead_percent, 10);
}

#[test]
fn old_versions_are_read_and_written() {
    let format = open!("version-2").format;
    assert_eq!((format.version, format.index_version), (FormatVersion::V2, 2));
    assert!(format.epoch.enabled && format.enable_password_change);

    let format = open!("version-1").format;
    assert_eq!((format.version, format.index_version), (FormatVersion::V1, 1));
    assert!(!format.epoch.enabled && !format.enable_password_change);
    format.validate().unwrap();
}

#[test]
fn parameters_that_are_not_the_default() {
    let format = open!("parameters").format;
    assert_eq!(format.max_pack_size, 30 << 20);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let expected = EpochParameters {
        enabled: true,
        refresh_frequency: minutes(10),
        full_checkpoint_frequency: 5,
        cleanup_safety_margin: minutes(3 * 60),
        min_epoch_duration: minutes(12 * 60),
        advance_on_count: 30,
        advance_on_total_size_bytes: 20 << 20,
        delete_parallelism: 8,
        unknown: UnknownMembers::default(),
    };
    assert_eq!(format.epoch, expected);
}

#[test]
fn a_feature_nobody_knows_is_fatal_unless_it_says_otherwise() {
    let blob = FormatBlob::parse(golden!("feature-fatal/kopia.repository")).unwrap();
    let error = RepositoryFormat::unseal(&blob, &blob.derive_key(PASSWORD)).unwrap_err();
    assert!(matches!(&error, FormatError::UnknownRequiredFeature { feature, .. } if feature == "feature-x"));

    let format = open!("feature-warning").format;
    let warnings: Vec<_> = format.warnings().map(|feature| feature.feature.as_str()).collect();
    assert_eq!(warnings, ["feature-x"]);
    assert_eq!(open!("default").format.warnings().count(), 0);
}

#[test]
fn an_upgrade_lock_is_shown_and_kept() {
    let format = open!("locked").format;
    let lock = format.upgrade_lock.as_ref().unwrap();
    assert_eq!(lock.owner(), "owner-1");
    assert!(lock.since().is_some());
    let error = format.refuse_while_locked().unwrap_err();
    assert!(error.to_string().contains("\"owner-1\" has locked"), "{error}");
    open!("default").format.refuse_while_locked().unwrap();
}

#[test]
fn a_wrong_password_or_damage_cannot_be_told_apart() {
    let blob = FormatBlob::parse(golden!("default/kopia.repository")).unwrap();
    let is_wrong_password = |blob: &FormatBlob, key: &FormatKey| {
        let error = RepositoryFormat::unseal(blob, key).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot open the format blob: wrong password, or damaged"
        );
    };
    is_wrong_password(&blob, &blob.derive_key("golden-passwort"));
    let key = blob.derive_key(PASSWORD);
    for at in 0..blob.sealed_format.len() {
        let mut damaged = blob.clone();
        damaged.sealed_format[at] ^= 0x20;
        is_wrong_password(&damaged, &key);
        damaged.sealed_format.truncate(at);
        is_wrong_password(&damaged, &key);
    }
    let error = BlobConfig::unseal(&[0; 30], &blob.unique_id, &key).unwrap_err();
    assert!(matches!(error, FormatError::BlobConfigNotAuthentic));
}

#[test]
fn an_envelope_that_kopia_refuses_is_refused_by_name() {
    let whole = String::from_utf8(golden!("default/kopia.repository").to_vec()).unwrap();
    let error = |from: &str, to: &str| {
        assert!(whole.contains(from));
        FormatBlob::parse(whole.replace(from, to).as_bytes())
            .unwrap_err()
            .to_string()
    };
    let found = error("scrypt-65536-8-1", "scrypt-1");
    assert_eq!(found, "unknown password key derivation \"scrypt-1\"");
    assert_eq!(error("scrypt-65536-8-1", ""), "unknown password key derivation \"\"");
    assert_eq!(error("AES256_GCM", "NONE"), "unknown format blob encryption \"NONE\"");
    assert!(error("\"uniqueID\"", "\"other\"").contains("0 bytes long"));
    assert!(error("\"uniqueID\": \"", "\"uniqueID\": \"?").contains("not base64"));
    assert!(FormatBlob::parse(b"").is_err());
    assert!(FormatBlob::parse(&whole.as_bytes()[..whole.len() / 2]).is_err());
    let more = whole.replacen('{', "{\"unknown\": [1, {}],", 1);
    let more = more.replace("\"buildInfo\": \"", "\"buildInfo\": null, \"build\": \"");
    assert_eq!(FormatBlob::parse(more.as_bytes()).unwrap().build_info, "");
}

#[test]
fn a_format_out_of_range_is_refused_by_name() {
    let whole = r#"{"format":{"hash":"BLAKE2B-256-128","encryption":"AES256-GCM-HMAC-SHA256","secret":"AQI=",
        "masterKey":"AQI=","version":3,"maxPackSize":20971520,"indexVersion":2,"epochParameters":null,"unknown":1}}"#;
    let format = RepositoryFormat::from_json(whole.as_bytes()).unwrap();
    assert_eq!(format.epoch, EpochParameters::default());
    assert_eq!(format.splitter, "");
    for (from, to, member) in [
        ("BLAKE2B-256-128", "MD5", "MD5"),
        ("AES256-GCM-HMAC-SHA256", "NONE", "NONE"),
        ("\"version\":3", "\"version\":4", "version"),
        ("\"version\":3", "\"version\":0", "version"),
        ("20971520", "1073741824", "maxPackSize"),
        ("20971520", "-1", "maxPackSize"),
        ("\"indexVersion\":2", "\"indexVersion\":3", "indexVersion"),
        (
            "\"unknown\":1",
            "\"ecc\":\"X\",\"eccOverheadPercent\":1",
            "error correction",
        ),
        ("\"unknown\":1", "\"eccOverheadPercent\":101", "eccOverheadPercent"),
        ("null", "{\"Enabled\":true}", "FullCheckpointFrequency"),
    ] {
        let json = whole.replace(from, to);
        assert_ne!(json, whole);
        let error = RepositoryFormat::from_json(json.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(member), "{error}");
    }
    let zero = whole
        .replace("20971520", "0")
        .replace("\"indexVersion\":2", "\"indexVersion\":0");
    let format = RepositoryFormat::from_json(zero.as_bytes()).unwrap();
    assert_eq!((format.max_pack_size, format.index_version), (20 << 20, 1));
}

#[test]
fn epochs_are_checked_as_kopia_checks_them() {
    let refused = |change: fn(&mut EpochParameters)| {
        let mut parameters = EpochParameters::new_default();
        parameters.validate().unwrap();
        change(&mut parameters);
        assert!(parameters.validate().is_err(), "{parameters:?}");
        parameters.enabled = false;
        parameters.validate().unwrap();
    };
    refused(|epoch| epoch.min_epoch_duration = Duration::from_secs(599));
    refused(|epoch| epoch.refresh_frequency = Duration::from_secs(8 * 60 * 60 + 1));
    refused(|epoch| epoch.full_checkpoint_frequency = 0);
    refused(|epoch| epoch.cleanup_safety_margin = Duration::from_secs(59 * 60));
    refused(|epoch| epoch.advance_on_count = 9);
    refused(|epoch| epoch.advance_on_total_size_bytes = (1 << 20) - 1);
}

#[test]
fn changing_the_password_is_what_kopia_does() {
    let before = open!("password-before");
    let after = FormatBlob::parse(golden!("password-after/kopia.repository")).unwrap();
    let new_key = after.derive_key("changed-password");
    let nonce = after.sealed_format.first_chunk().unwrap();
    let ours = before.blob.change_key(&before.key, &new_key, nonce).unwrap();
    assert_eq!(ours.encode(), golden!("password-after/kopia.repository"));
    let config = golden!("password-after/kopia.blobcfg");
    BlobConfig::unseal(config, &after.unique_id, &new_key).unwrap();

    let bound = open!("version-1");
    let error = bound.blob.change_key(&bound.key, &new_key, nonce).unwrap_err();
    assert!(matches!(error, FormatError::PasswordChangeDisabled));
}

#[test]
fn what_a_later_version_adds_to_the_settings_is_kept() {
    let opened = open!("feature-warning");
    let text = |json: &[u8]| String::from_utf8(json.to_vec()).unwrap();
    // A number that no float holds, spaces, the order of keys: all of it stays as it is.
    let new = r#""later":{ "z":123456789012345678901234567890, "a":[1.0,"\u00e9"] },"none":null"#;
    let close = |json: &str, at: &str| {
        assert!(json.contains(at), "{json}");
        json.replacen(at, &at.replacen('}', &format!(",{new}}}"), 1), 1)
    };

    let inner = text(&opened.format.to_json());
    let mut inner = close(&inner, r#""DeleteParallelism":4}"#);
    for at in ["}}]}}", "}]}}", "]}}", "}"] {
        let (head, tail) = inner.split_at(inner.len() - at.len());
        inner = format!("{head}{}", close(tail, "}"));
    }
    let format = RepositoryFormat::from_json(inner.as_bytes()).unwrap();
    assert_eq!(inner.matches(new).count(), 5, "{inner}");
    assert_eq!(text(&format.to_json()), inner);
    assert!(format.unknown.names().eq(["later", "none"]));
    assert!(!format!("{format:?}").contains("123456789012345678901234567890"));

    let envelope = text(&opened.blob.encode()).replacen("\"\n}", "\",\n  \"later\": { \"z\":1e400 }\n}", 1);
    let blob = FormatBlob::parse(envelope.as_bytes()).unwrap();
    assert_eq!(text(&blob.encode()), envelope);

    let config = format!("{{{new}}}");
    assert_eq!(text(&BlobConfig::parse(config.as_bytes()).unwrap().to_json()), config);

    // Sealed for another password it is the same text, even in an order that is not ours.
    let inner = inner.replacen(r#"{"format""#, r#"{"first": 1 ,"format""#, 1);
    let unique_id = blob.unique_id.clone();
    let sealed_format = opened.key.seal(&unique_id, &NONCE, inner.as_bytes());
    let blob = FormatBlob { sealed_format, ..blob };
    let key = FormatKey::from_bytes([3; 32]);
    let changed = blob.change_key(&opened.key, &key, &NONCE).unwrap();
    assert_eq!(text(&key.open(&unique_id, &changed.sealed_format).unwrap()), inner);
    assert!(text(&changed.encode()).contains("1e400"));
}

#[test]
fn the_maintenance_schedule_opens_with_a_derived_key() {
    let schedule = |opened: &Opened, sealed: &[u8]| {
        let key = derive_application_key(
            &opened.format,
            &opened.key,
            &opened.blob.unique_id,
            "maintenance schedule",
        );
        let json = crate::encryption::open_aes(&key, sealed, b"maintenance").unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(json["nextFullMaintenance"].is_string());
    };
    schedule(&open!("parameters"), golden!("parameters/kopia.maintenance"));
    // Here the key comes from the password.
    schedule(&open!("version-1"), golden!("version-1/kopia.maintenance"));
}

#[test]
fn a_pack_of_version_1_begins_with_the_format_blob() {
    let repository = golden!("version-1/kopia.repository");
    let pack = golden!("version-1/first-pack");
    assert_eq!(find_recovery_frame_at_start(pack), Some(repository));
    assert_eq!(find_recovery_frame_at_end(pack), None);
    let frame = encode_recovery_frame(repository).unwrap();
    assert_eq!(frame, pack[..frame.len()]);
    assert_eq!(find_recovery_frame_at_end(&frame), Some(repository));
    for at in 0..frame.len() {
        let mut damaged = frame.clone();
        damaged[at] ^= 1;
        // Each end has a length of its own.
        let start = find_recovery_frame_at_start(&damaged);
        let end = find_recovery_frame_at_end(&damaged);
        assert_eq!(start.is_some(), at >= frame.len() - 2, "{at}");
        assert_eq!(end.is_some(), at < 2, "{at}");
        assert_eq!(find_recovery_frame_at_start(&frame[..at.min(frame.len() - 3)]), None);
    }
    assert!(encode_recovery_frame(&[0; 65_000 - 32]).is_ok());
    assert!(encode_recovery_frame(&[0; 65_000 - 31]).is_err());
}

#[test]
fn retention_is_both_members_or_none() {
    let config = BlobConfig {
        retention_mode: Some(RetentionMode::Governance),
        retention_period: Duration::from_secs(48 * 60 * 60),
        unknown: UnknownMembers::default(),
    };
    let json = r#"{"retentionMode":"GOVERNANCE","retentionPeriod":172800000000000}"#;
    assert_eq!(String::from_utf8(config.to_json()).unwrap(), json);
    assert_eq!(BlobConfig::parse(json.as_bytes()).unwrap(), config);
    assert_eq!(BlobConfig::parse(b"{}").unwrap().to_json(), b"{}");
    let compliance = json.replace("GOVERNANCE", "COMPLIANCE");
    let compliance = BlobConfig::parse(compliance.as_bytes()).unwrap();
    assert_eq!(compliance.retention_mode, Some(RetentionMode::Compliance));
    // Kopia opens such a repository, but does not let anyone make it.
    for json in [
        r#"{"retentionMode":"GOVERNANCE"}"#,
        r#"{"retentionPeriod":172800000000000}"#,
        r#"{"retentionMode":"GOVERNANCE","retentionPeriod":86399999999999}"#,
    ] {
        let config = BlobConfig::parse(json.as_bytes()).unwrap();
        assert!(config.validate().is_err(), "{json}");
    }
    for json in [
        "",
        r#"{"retentionMode":"governance","retentionPeriod":172800000000000}"#,
        r#"{"retentionMode":"GOVERNANCE","retentionPeriod":-1}"#,
        // More than Go's durations hold: it would be written back as another one.
        r#"{"retentionMode":"GOVERNANCE","retentionPeriod":9223372036854775808}"#,
    ] {
        assert!(BlobConfig::parse(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn the_marker_of_a_running_session_opens() {
    let Opened { format, .. } = open!("session");
    let blob = BlobId::from(std::str::from_utf8(golden!("session/marker.name")).unwrap().trim_end());
    let stored = golden!("session/marker");
    let sealer = Sealer::new(&format).unwrap();
    let json = sealer.open_blob(&blob, stored).unwrap();
    let marker = SessionMarker::parse(&json).unwrap();
    assert_eq!(marker.to_json(), json);
    assert_eq!(SessionId::of_blob(&blob), Some(marker.id.clone()));
    assert_eq!((&marker.username[..], &marker.hostname[..]), ("u", "h"));
    let nonce = stored.first_chunk().unwrap();
    let (name, bytes) = sealer.seal_blob(SessionId::MARKER_PREFIX, marker.id.as_str(), nonce, &json);
    assert_eq!((name, &bytes[..]), (blob, stored));
    // The same session's name comes out of its own random digits and start.
    let random: [u8; 8] = hex::decode(&marker.id.as_str()[1..17]).unwrap().try_into().unwrap();
    assert_eq!(SessionId::new(random, marker.start_time), marker.id);
}

/// What an independent model, whose primitives opened real repositories, computes.
#[test]
fn keys_are_what_kopia_derives() {
    let unique_id: Vec<u8> = (0..32).collect();
    let scrypt = KeyDerivation::from_name("scrypt-65536-8-1")
        .unwrap()
        .derive("x", &unique_id);
    assert_eq!(
        hex::encode(scrypt.as_bytes()),
        "4917ffbb18b9726526183b415770e30fb8ade2c6716009dc8d72ba9c52aee2c6"
    );
    let pbkdf2 = KeyDerivation::from_name("pbkdf2-sha256-600000")
        .unwrap()
        .derive("x", &unique_id);
    assert_eq!(
        hex::encode(pbkdf2.as_bytes()),
        "77705957a8ed3a69d1768c679f658c2f8d0910303148a1f2bd1617db9753d5f4"
    );
    let sealed = scrypt.seal(&unique_id, &[0; 12], b"{}");
    assert_eq!(
        hex::encode(&sealed),
        "000000000000000000000000fa760516ab87529948e675c352448e8bad0e"
    );
    let (aes, associated) = scrypt.sealing_keys(&unique_id);
    assert_eq!(
        hex::encode(*aes),
        "5ff13ae24e7d9fb91c040926b85a03e8188a7bb4359ef8f555d59a6bf1ba628c"
    );
    assert_eq!(
        hex::encode(*associated),
        "9ff53d91bcb5b2980517426abbf60af15b5b473853e56fe52d6e445d5904319d"
    );
    let format = RepositoryFormat::new_default([0; 32], unique_id.clone().try_into().unwrap());
    let key = derive_application_key(&format, &scrypt, &unique_id, "maintenance schedule");
    assert_eq!(
        hex::encode(key),
        "a1f3565e6e924af5bff9be5b1d1b4e199d03a9a679196af5756232d902a76b16"
    );
}

#[test]
fn nothing_secret_is_printed() {
    let secret = [0xab; 32];
    let shown = format!(
        "{:?} {:?}",
        RepositoryFormat::new_default(secret, secret),
        FormatKey::from_bytes(secret)
    );
    for digits in ["171, 171", "abab", "q6ur"] {
        assert!(!shown.contains(digits), "{shown}");
    }
}

prop_compose! {
    fn any_format()(
        hash in prop::sample::select(&HashAlgorithm::ALL[..]),
        encryption in prop::sample::select(&EncryptionAlgorithm::ALL[..]),
        ecc_overhead_percent in 0u8..=100,
        secret in prop::collection::vec(any::<u8>(), 0..70),
        max_pack_size in RepositoryFormat::MAX_PACK_SIZE_MIN..=RepositoryFormat::MAX_PACK_SIZE_MAX,
        version in 1i64..=3,
        index_version in 1u8..=2,
        enabled: bool,
        nanoseconds in 0..=i64::MAX as u64,
        splitter in "[A-Z0-9-]{0,20}",
        messages in prop::collection::vec(any::<String>(), 0..3),
    ) -> RepositoryFormat {
        let required_features = messages.into_iter().map(|message| RequiredFeature {
            feature: format!("feature {message}"),
            if_not_understood: IfNotUnderstood { warn: true, message, ..IfNotUnderstood::default() },
            unknown: UnknownMembers::default(),
        });
        RepositoryFormat {
            hash,
            encryption,
            ecc_overhead_percent,
            secret: Secret::new(secret),
            max_pack_size,
            version: FormatVersion::from_number(version).unwrap(),
            index_version,
            epoch: EpochParameters {
                enabled,
                min_epoch_duration: Duration::from_nanos(nanoseconds),
                ..EpochParameters::new_default()
            },
            enable_password_change: enabled,
            splitter,
            required_features: required_features.collect(),
            ..RepositoryFormat::new_default([0; 32], [9; 32])
        }
    }
}

proptest! {
    #[test]
    fn formats_survive_a_round_trip(format in any_format(), key: [u8; 32], unique_id: [u8; 16]) {
        let key = FormatKey::from_bytes(key);
        let blob = FormatBlob {
            tool: "<tool> & \"quotes\"".to_owned(),
            build_version: "v0".to_owned(),
            build_info: String::new(),
            unique_id: unique_id.to_vec(),
            key_derivation: KeyDerivation::Pbkdf2Sha256_600000,
            sealed_format: format.seal(&unique_id, &key, &NONCE),
            unknown: UnknownMembers::default(),
        };
        let read = FormatBlob::parse(&blob.encode()).unwrap();
        prop_assert_eq!(&read, &blob);
        prop_assert_eq!(RepositoryFormat::unseal(&read, &key).unwrap(), format);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = FormatBlob::parse(&bytes);
        let _ = RepositoryFormat::from_json(&bytes);
        let _ = BlobConfig::parse(&bytes);
        let _ = find_recovery_frame_at_start(&bytes);
        let _ = find_recovery_frame_at_end(&bytes);
    }
}
