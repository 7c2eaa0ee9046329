//! The safe-deposit room: `kopia.blobcfg` says for how long the object store keeps each blob from being deleted.

use std::time::Duration;

use serde::Serialize;

use super::epoch_parameters::Nanoseconds;
use super::{FormatKey, UnknownMembers};
use crate::FormatError;
use crate::encryption::NONCE_LEN;
use crate::json::lenient::read_object;

/// Who may delete a retained blob before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetentionMode {
    /// Those with a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

/// The configuration of blobs, sealed like the format: `{}` unless the object store holds blobs back.
///
/// | JSON member       | field              | when it is missing  |
/// |-------------------|--------------------|---------------------|
/// | `retentionMode`   | `retention_mode`   | nothing is retained |
/// | `retentionPeriod` | `retention_period` | nothing is retained |
/// | any other         | `unknown`          | kept                |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobConfig {
    /// Who may delete a retained blob; set together with the period.
    pub retention_mode: Option<RetentionMode>,
    /// How long a blob is retained from its last change; a day or more, zero when nothing is retained.
    pub retention_period: Duration,
    /// Other members of the configuration.
    pub unknown: UnknownMembers,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    #[serde(skip_serializing_if = "String::is_empty")]
    retention_mode: String,
    #[serde(
        serialize_with = "super::epoch_parameters::nanoseconds",
        skip_serializing_if = "Duration::is_zero"
    )]
    retention_period: Duration,
    #[serde(flatten)]
    unknown: UnknownMembers,
}
read_object!(Members, "a blob configuration", {
    "retentionMode" => retention_mode: String,
    "retentionPeriod" => retention_period: Nanoseconds = Nanoseconds::duration,
}, unknown);

impl RetentionMode {
    /// The name in the blob configuration and in object stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// The mode of this name; the error repeats a name that is none.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        match name {
            "GOVERNANCE" => Ok(Self::Governance),
            "COMPLIANCE" => Ok(Self::Compliance),
            _ => Err(FormatError::unknown_algorithm("retention mode", name)),
        }
    }
}

impl BlobConfig {
    /// The shortest retention.
    pub const RETENTION_PERIOD_MIN: Duration = Duration::from_secs(24 * 60 * 60);

    /// Reads the plain JSON. As in Kopia, one of the members without the other is not refused here: it retains nothing.
    pub fn parse(json: &[u8]) -> Result<Self, FormatError> {
        let members: Members = serde_json::from_slice(json).map_err(|source| FormatError::Json {
            what: "the blob configuration",
            source,
        })?;
        let retention_mode = match members.retention_mode.as_str() {
            "" => None,
            name => Some(RetentionMode::from_name(name)?),
        };
        Ok(Self {
            retention_mode,
            retention_period: members.retention_period,
            unknown: members.unknown,
        })
    }

    /// Mode and period are both there or both absent, and the period is a day or more: to be asked before a
    /// configuration that was put together by hand is sealed.
    pub fn validate(&self) -> Result<(), FormatError> {
        match self.retention_mode {
            None if self.retention_period.is_zero() => Ok(()),
            None => Err(FormatError::bad_format_member(
                "retentionMode",
                "missing",
                "it is there if retentionPeriod is",
            )),
            Some(_) if self.retention_period < Self::RETENTION_PERIOD_MIN => {
                let found = format!("{:?}", self.retention_period);
                Err(FormatError::bad_format_member(
                    "retentionPeriod",
                    found,
                    "it is 24 hours or more if retentionMode is there",
                ))
            }
            Some(_) => Ok(()),
        }
    }

    /// The plain JSON, byte for byte as Kopia writes it.
    pub fn to_json(&self) -> Vec<u8> {
        let members = Members {
            retention_mode: self.retention_mode.map_or("", RetentionMode::name).to_owned(),
            retention_period: self.retention_period,
            unknown: self.unknown.clone(),
        };
        serde_json::to_vec(&members).expect("a struct of a string, a number and JSON is always JSON")
    }

    /// Opens the blob of the repository whose format blob opens with `key`.
    pub fn unseal(bytes: &[u8], unique_id: &[u8], key: &FormatKey) -> Result<Self, FormatError> {
        let json = key.open(unique_id, bytes).ok_or(FormatError::BlobConfigNotAuthentic)?;
        Self::parse(&json)
    }

    /// The bytes of the blob. `nonce` must be fresh.
    pub fn seal(&self, unique_id: &[u8], key: &FormatKey, nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
        key.seal(unique_id, nonce, &self.to_json())
    }
}
