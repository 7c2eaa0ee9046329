//! The charter room: the sealed part of the format blob. Algorithms, keys, limits.

use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{EpochParameters, FormatBlob, FormatKey, RequiredFeature, Secret, UnknownMembers, UpgradeLock};
use crate::FormatError;
use crate::encryption::{EncryptionAlgorithm, NONCE_LEN};
use crate::hashing::HashAlgorithm;
use crate::json::lenient::read_object;
use crate::quantity::PackOffset;

/// The version of a repository. Versions 2 and 3 differ in nothing but the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FormatVersion {
    /// Flat index, compression inside objects, the password is bound to the data.
    V1,
    /// Index epochs, compression of contents.
    V2,
    /// As version 2; what Kopia makes now.
    V3,
}

impl FormatVersion {
    /// The number, as it stands in the format and in each entry of an index.
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version of this number; `None` outside of 1 to 3.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }
}

/// How a repository is built: the one member `format` of the inner JSON of the format blob, in Kopia's order.
///
/// | JSON member            | when it is missing                                 |
/// |------------------------|----------------------------------------------------|
/// | `hash`                 | refused                                            |
/// | `encryption`           | refused                                            |
/// | `ecc`                  | no error correction                                |
/// | `eccOverheadPercent`   | 0; left out when 0                                 |
/// | `secret`               | base64; refused by the hasher when empty           |
/// | `masterKey`            | base64; refused by the encryptor when empty        |
/// | `version`              | refused, as is anything but 1 to 3                 |
/// | `maxPackSize`          | 20 MiB                                             |
/// | `indexVersion`         | 1                                                  |
/// | `epochParameters`      | no epochs                                          |
/// | `enablePasswordChange` | false                                              |
/// | `splitter`             | `FIXED`; left out when empty                       |
/// | `upgradeLock`          | nobody upgrades; left out                          |
/// | `requiredFeatures`     | none; left out                                     |
/// | any other              | kept in `unknown`                                  |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFormat {
    /// How contents are named.
    pub hash: HashAlgorithm,
    /// How contents are sealed.
    pub encryption: EncryptionAlgorithm,
    /// How much parity is added to what is stored, in percent of it: 0 (none) to 100.
    pub ecc_overhead_percent: u8,
    /// The key of the content hash.
    pub secret: Secret,
    /// What the keys of contents are made from.
    pub master_key: Secret,
    /// The version of the format.
    pub version: FormatVersion,
    /// A pack is closed once it is longer than so many bytes.
    pub max_pack_size: u32,
    /// The version of the index blobs that are written: 1 or 2.
    pub index_version: u8,
    /// The rhythm of the index.
    pub epoch: EpochParameters,
    /// Whether the password can change. If not, it is in the key of the maintenance schedule.
    pub enable_password_change: bool,
    /// The name of the splitter for what no policy says otherwise; the empty name means `FIXED`.
    pub splitter: String,
    /// Set while somebody upgrades the repository: see [`RepositoryFormat::refuse_while_locked`].
    pub upgrade_lock: Option<UpgradeLock>,
    /// What a program has to understand; [`RepositoryFormat::warnings`] has those that this build does not.
    pub required_features: Vec<RequiredFeature>,
    /// Other members of `format`.
    pub unknown: UnknownMembers,
    /// Members beside `format`.
    pub unknown_beside: UnknownMembers,
}

#[derive(Default, Serialize)]
struct Inner {
    format: Option<Members>,
    #[serde(flatten)]
    unknown: UnknownMembers,
}
read_object!(Inner, "a sealed repository format", {
    "format" => format: Members = Some,
}, unknown);

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    hash: Option<String>,
    encryption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecc_overhead_percent: Option<i64>,
    secret: Option<Secret>,
    master_key: Option<Secret>,
    version: Option<i64>,
    max_pack_size: Option<i64>,
    index_version: Option<i64>,
    epoch_parameters: Option<EpochParameters>,
    enable_password_change: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    splitter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade_lock: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_features: Option<Vec<RequiredFeature>>,
    #[serde(flatten)]
    unknown: UnknownMembers,
}
read_object!(Members, "a repository format", {
    "hash" => hash: String = Some,
    "encryption" => encryption: String = Some,
    "ecc" => ecc: String = Some,
    "eccOverheadPercent" => ecc_overhead_percent: i64 = Some,
    "secret" => secret: Secret = Some,
    "masterKey" => master_key: Secret = Some,
    "version" => version: i64 = Some,
    "maxPackSize" => max_pack_size: i64 = Some,
    "indexVersion" => index_version: i64 = Some,
    "epochParameters" => epoch_parameters: EpochParameters = Some,
    "enablePasswordChange" => enable_password_change: bool = Some,
    "splitter" => splitter: String = Some,
    "upgradeLock" => upgrade_lock: Box<RawValue> = Some,
    "requiredFeatures" => required_features: Vec<RequiredFeature> = Some,
}, unknown);

impl RepositoryFormat {
    /// The default size of a pack, in bytes.
    pub const MAX_PACK_SIZE_DEFAULT: u32 = 20 << 20;
    /// The smallest limit for packs that may be set, in bytes.
    pub const MAX_PACK_SIZE_MIN: u32 = 10 << 20;
    /// The largest limit for packs that may be set, in bytes.
    pub const MAX_PACK_SIZE_MAX: u32 = 120 << 20;
    /// The name of the one error correction there is.
    pub const ECC_NAME: &'static str = "REED-SOLOMON-CRC32";
    const WHAT: &'static str = "the repository format";

    /// What Kopia makes when it is asked for nothing in particular, with these keys: 32 random bytes each.
    pub fn new_default(secret: [u8; 32], master_key: [u8; 32]) -> Self {
        Self {
            hash: HashAlgorithm::Blake2b256_128,
            encryption: EncryptionAlgorithm::Aes256GcmHmacSha256,
            ecc_overhead_percent: 0,
            secret: Secret::new(secret),
            master_key: Secret::new(master_key),
            version: FormatVersion::V3,
            max_pack_size: Self::MAX_PACK_SIZE_DEFAULT,
            index_version: 2,
            epoch: EpochParameters::new_default(),
            enable_password_change: true,
            splitter: "DYNAMIC-4M-BUZHASH".to_owned(),
            upgrade_lock: None,
            required_features: Vec::new(),
            unknown: UnknownMembers::default(),
            unknown_beside: UnknownMembers::default(),
        }
    }

    /// Reads the inner JSON. Refuses what this build cannot keep to: algorithms, versions and features it does not
    /// know, sizes out of range.
    pub fn from_json(json: &[u8]) -> Result<Self, FormatError> {
        let not_json = |source| FormatError::Json {
            what: Self::WHAT,
            source,
        };
        let Inner { format, unknown } = serde_json::from_slice(json).map_err(not_json)?;
        let format = format.unwrap_or_default();
        let upgrade_lock = format.upgrade_lock.as_deref().map(UpgradeLock::from_raw);
        let format = Self {
            ecc_overhead_percent: ecc_overhead(format.ecc.as_deref(), format.ecc_overhead_percent)?,
            hash: HashAlgorithm::from_name(&format.hash.unwrap_or_default())?,
            encryption: EncryptionAlgorithm::from_name(&format.encryption.unwrap_or_default())?,
            secret: format.secret.unwrap_or_else(|| Secret::new([])),
            master_key: format.master_key.unwrap_or_else(|| Secret::new([])),
            version: version(format.version.unwrap_or_default())?,
            max_pack_size: max_pack_size(format.max_pack_size.unwrap_or_default())?,
            index_version: index_version(format.index_version.unwrap_or_default())?,
            epoch: format.epoch_parameters.unwrap_or_default(),
            enable_password_change: format.enable_password_change.unwrap_or_default(),
            splitter: format.splitter.unwrap_or_default(),
            upgrade_lock: upgrade_lock.transpose().map_err(not_json)?,
            required_features: format.required_features.unwrap_or_default(),
            unknown: format.unknown,
            unknown_beside: unknown,
        };
        if format.epoch.enabled && format.epoch.full_checkpoint_frequency == 0 {
            return Err(FormatError::bad_format_member(
                "FullCheckpointFrequency",
                0,
                "it is 1 or more",
            ));
        }
        format.refuse_unknown_features()?;
        Ok(format)
    }

    /// The inner JSON, byte for byte as Kopia writes it, with the members that were not known behind the others.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let with_ecc = self.ecc_overhead_percent > 0;
        let inner = Inner {
            format: Some(Members {
                hash: Some(self.hash.name().to_owned()),
                encryption: Some(self.encryption.name().to_owned()),
                ecc: with_ecc.then(|| Self::ECC_NAME.to_owned()),
                ecc_overhead_percent: with_ecc.then(|| self.ecc_overhead_percent.into()),
                secret: Some(self.secret.clone()),
                master_key: Some(self.master_key.clone()),
                version: Some(self.version.number().into()),
                max_pack_size: Some(self.max_pack_size.into()),
                index_version: Some(self.index_version.into()),
                epoch_parameters: Some(self.epoch.clone()),
                enable_password_change: Some(self.enable_password_change),
                splitter: Some(self.splitter.clone()).filter(|name| !name.is_empty()),
                upgrade_lock: self.upgrade_lock.as_ref().map(UpgradeLock::to_raw),
                required_features: (!self.required_features.is_empty()).then(|| self.required_features.clone()),
                unknown: self.unknown.clone(),
            }),
            unknown: self.unknown_beside.clone(),
        };
        Zeroizing::new(serde_json::to_vec(&inner).expect("a struct of strings, numbers and JSON is always JSON"))
    }

    /// Opens the sealed part of a format blob. A key that does not fit is [`FormatError::WrongPassword`].
    pub fn unseal(blob: &FormatBlob, key: &FormatKey) -> Result<Self, FormatError> {
        let json = key.open(&blob.unique_id, &blob.sealed_format);
        Self::from_json(&json.ok_or(FormatError::WrongPassword)?)
    }

    /// Seals the format for [`FormatBlob::sealed_format`]. `nonce` must be fresh.
    pub fn seal(&self, unique_id: &[u8], key: &FormatKey, nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
        key.seal(unique_id, nonce, &self.to_json())
    }

    /// Whether Kopia would make such a repository, or let a user change one to this: to be asked before a format that
    /// was put together or changed by hand is sealed.
    pub fn validate(&self) -> Result<(), FormatError> {
        ecc_overhead(None, Some(self.ecc_overhead_percent.into()))?;
        if !(Self::MAX_PACK_SIZE_MIN..=Self::MAX_PACK_SIZE_MAX).contains(&self.max_pack_size) {
            let expected = "it is 10485760 to 125829120 bytes";
            return Err(FormatError::bad_format_member(
                "maxPackSize",
                self.max_pack_size,
                expected,
            ));
        }
        index_version(self.index_version.into())?;
        self.epoch.validate()
    }

    /// Required features that this build does not understand, but may go on without after a warning.
    pub fn warnings(&self) -> impl Iterator<Item = &RequiredFeature> {
        self.unknown_features()
    }

    /// Refuses while anybody holds the upgrade lock. Kopia itself goes on until the lock's notice has run out.
    pub fn refuse_while_locked(&self) -> Result<(), FormatError> {
        match &self.upgrade_lock {
            None => Ok(()),
            Some(lock) => Err(FormatError::UpgradeLocked {
                owner: lock.owner().to_owned(),
                message: lock.message().to_owned(),
            }),
        }
    }

    fn refuse_unknown_features(&self) -> Result<(), FormatError> {
        let fatal = self.unknown_features().find(|feature| !feature.if_not_understood.warn);
        fatal.map_or(Ok(()), |fatal| {
            Err(FormatError::UnknownRequiredFeature {
                feature: fatal.feature.clone(),
                message: fatal.if_not_understood.message.clone(),
            })
        })
    }

    fn unknown_features(&self) -> impl Iterator<Item = &RequiredFeature> {
        self.required_features.iter().filter(|feature| !feature.is_understood())
    }
}

fn ecc_overhead(name: Option<&str>, percent: Option<i64>) -> Result<u8, FormatError> {
    let percent = percent.unwrap_or_default();
    let percent = u8::try_from(percent)
        .ok()
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| FormatError::bad_format_member("eccOverheadPercent", percent, "it is 0 to 100"))?;
    match name {
        Some(name) if percent > 0 && !name.is_empty() && name != RepositoryFormat::ECC_NAME => {
            Err(FormatError::unknown_algorithm("error correction", name))
        }
        _ => Ok(percent),
    }
}

fn version(number: i64) -> Result<FormatVersion, FormatError> {
    FormatVersion::from_number(number)
        .ok_or_else(|| FormatError::bad_format_member("version", number, "this build knows 1, 2 and 3"))
}

/// Kopia opens repositories whose limit it would not let anyone set, so a reader takes whatever a pack can be.
fn max_pack_size(bytes: i64) -> Result<u32, FormatError> {
    if bytes == 0 {
        return Ok(RepositoryFormat::MAX_PACK_SIZE_DEFAULT);
    }
    let size = u32::try_from(bytes).ok().filter(|size| *size < PackOffset::WRITE_LIMIT);
    size.ok_or_else(|| FormatError::bad_format_member("maxPackSize", bytes, "a pack is shorter than 1 GiB"))
}

fn index_version(number: i64) -> Result<u8, FormatError> {
    match number {
        0 | 1 => Ok(1),
        2 => Ok(2),
        _ => Err(FormatError::bad_format_member(
            "indexVersion",
            number,
            "this build knows 1 and 2",
        )),
    }
}
