//! The gate room: what a repository demands of the programs that open it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::UnknownMembers;
use crate::json::lenient::read_object;

/// A feature that a program has to understand before it may use the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequiredFeature {
    /// The name of the feature.
    pub feature: String,
    /// What a program does that does not know it.
    #[serde(rename = "ifNotUnderstood")]
    pub if_not_understood: IfNotUnderstood,
    /// Other members.
    #[serde(flatten)]
    pub unknown: UnknownMembers,
}
read_object!(RequiredFeature, "a required feature", {
    "feature" => feature: String,
    "ifNotUnderstood" => if_not_understood: IfNotUnderstood,
}, unknown);

/// What a program does that does not know a [`RequiredFeature`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IfNotUnderstood {
    /// Warn and go on, instead of refusing the repository.
    pub warn: bool,
    /// What to tell the user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where the user can read more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The version of Kopia that knows the feature.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upgrade_to_version: String,
    /// Other members.
    #[serde(flatten)]
    pub unknown: UnknownMembers,
}
read_object!(IfNotUnderstood, "what to do without a required feature", {
    "warn" => warn: bool,
    "message" => message: String,
    "url" => url: String,
    "upgradeToVersion" => upgrade_to_version: String,
}, unknown);

impl RequiredFeature {
    /// What this build understands.
    pub const UNDERSTOOD: [&str; 2] = ["index-v1", "index-v2"];

    /// Whether this build understands the feature.
    pub fn is_understood(&self) -> bool {
        Self::UNDERSTOOD.contains(&self.feature.as_str())
    }
}

/// Somebody's claim on the repository while it is upgraded. Kept as it was found, so that sealing the format again
/// changes nothing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeLock {
    json: String,
    owner: String,
    since: Option<Timestamp>,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LockMembers {
    #[serde(rename = "ownerID")]
    owner_id: Option<String>,
    creation_time: Option<Timestamp>,
    message: Option<String>,
}

impl UpgradeLock {
    /// Who holds the lock.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Since when.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// What the owner wants others to read; often empty.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn from_raw(raw: &RawValue) -> Result<Self, serde_json::Error> {
        let members: LockMembers = serde_json::from_str(raw.get())?;
        Ok(Self {
            json: raw.get().to_owned(),
            owner: members.owner_id.unwrap_or_default(),
            since: members.creation_time,
            message: members.message.unwrap_or_default(),
        })
    }

    pub(super) fn to_raw(&self) -> Box<RawValue> {
        RawValue::from_string(self.json.clone()).expect("the text was taken from a JSON value")
    }
}
