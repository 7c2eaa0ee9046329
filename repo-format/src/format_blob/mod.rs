//! The front door room: `kopia.repository` says how a repository is built, and opens with the password only.

mod blob_config;
mod epoch_parameters;
mod key;
mod recovery;
mod repository_format;
mod upgrade;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

pub use blob_config::{BlobConfig, RetentionMode};
pub use epoch_parameters::EpochParameters;
pub use key::{FormatKey, KeyDerivation, Secret, derive_application_key};
pub use recovery::{
    RECOVERY_FRAME_SEARCH_LEN, encode_recovery_frame, find_recovery_frame_at_end, find_recovery_frame_at_start,
};
pub use repository_format::{FormatVersion, RepositoryFormat};
pub use upgrade::{IfNotUnderstood, RequiredFeature, UpgradeLock};

use crate::FormatError;
use crate::encryption::NONCE_LEN;
pub use crate::json::UnknownMembers;
use crate::json::lenient::read_object;

/// The name of the format blob.
pub const FORMAT_BLOB_NAME: &str = "kopia.repository";
/// The name of the blob configuration; a repository without this blob has the empty configuration.
pub const BLOB_CONFIG_NAME: &str = "kopia.blobcfg";

/// The format blob: an open envelope around the sealed [`RepositoryFormat`].
///
/// | JSON member            | field            | meaning                                             |
/// |------------------------|------------------|-----------------------------------------------------|
/// | `tool`                 | `tool`           | informational                                       |
/// | `buildVersion`         | `build_version`  | informational                                       |
/// | `buildInfo`            | `build_info`     | informational                                       |
/// | `uniqueID`             | `unique_id`      | base64, 16 bytes or more: names the repository      |
/// | `keyAlgo`              | `key_derivation` | how the password becomes a key                      |
/// | `encryption`           | (always the one) | `AES256_GCM`                                        |
/// | `encryptedBlockFormat` | `sealed_format`  | base64: nonce, ciphertext and tag of the inner JSON |
/// | any other              | `unknown`        | kept                                                |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatBlob {
    /// What wrote the blob.
    pub tool: String,
    /// The version of what wrote it.
    pub build_version: String,
    /// The build of what wrote it.
    pub build_info: String,
    /// The identity of the repository, and the salt of its keys.
    pub unique_id: Vec<u8>,
    /// How the password becomes a key.
    pub key_derivation: KeyDerivation,
    /// The sealed inner JSON.
    pub sealed_format: Vec<u8>,
    /// Other members of the envelope.
    pub unknown: UnknownMembers,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    tool: String,
    build_version: String,
    build_info: String,
    #[serde(rename = "uniqueID")]
    unique_id: String,
    key_algo: String,
    encryption: String,
    encrypted_block_format: String,
    #[serde(flatten)]
    unknown: UnknownMembers,
}
read_object!(Envelope, "a format blob", {
    "tool" => tool: String,
    "buildVersion" => build_version: String,
    "buildInfo" => build_info: String,
    "uniqueID" => unique_id: String,
    "keyAlgo" => key_algo: String,
    "encryption" => encryption: String,
    "encryptedBlockFormat" => encrypted_block_format: String,
}, unknown);

impl FormatBlob {
    /// A shorter identity is refused.
    pub const UNIQUE_ID_MIN_LEN: usize = 16;
    /// How many random bytes the identity of a new repository has.
    pub const UNIQUE_ID_NEW_LEN: usize = 32;
    const ENCRYPTION: &'static str = "AES256_GCM";

    /// Reads a format blob. Unknown members are kept; an unknown key derivation or encryption is named in the error.
    ///
    /// # Errors
    /// When the bytes are not the JSON of a format blob, name an unknown key derivation or encryption, or hold an identity
    /// that is too short.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|source| FormatError::Json {
            what: "the format blob",
            source,
        })?;
        if envelope.encryption != Self::ENCRYPTION {
            return Err(FormatError::unknown_algorithm(
                "format blob encryption",
                &envelope.encryption,
            ));
        }
        let key_derivation = KeyDerivation::from_name(&envelope.key_algo)?;
        let unique_id = from_base64("uniqueID", &envelope.unique_id)?;
        if unique_id.len() < Self::UNIQUE_ID_MIN_LEN {
            let found = format!("{} bytes long", unique_id.len());
            return Err(FormatError::bad_format_member(
                "uniqueID",
                found,
                "it has 16 bytes or more",
            ));
        }
        Ok(Self {
            tool: envelope.tool,
            build_version: envelope.build_version,
            build_info: envelope.build_info,
            unique_id,
            key_derivation,
            sealed_format: from_base64("encryptedBlockFormat", &envelope.encrypted_block_format)?,
            unknown: envelope.unknown,
        })
    }

    /// The bytes of the blob, byte for byte as Kopia writes them: indented by two spaces, one line feed at the end.
    pub fn encode(&self) -> Vec<u8> {
        let envelope = Envelope {
            tool: self.tool.clone(),
            build_version: self.build_version.clone(),
            build_info: self.build_info.clone(),
            unique_id: STANDARD.encode(&self.unique_id),
            key_algo: self.key_derivation.name().to_owned(),
            encryption: Self::ENCRYPTION.to_owned(),
            encrypted_block_format: STANDARD.encode(&self.sealed_format),
            unknown: self.unknown.clone(),
        };
        let mut bytes = serde_json::to_vec_pretty(&envelope).expect("a struct of strings and JSON is always JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The key that a password gives for this repository. Slow by intention: a good part of a second, and 64 MiB of
    /// memory with scrypt.
    pub fn derive_key(&self, password: &str) -> FormatKey {
        self.key_derivation.derive(password, &self.unique_id)
    }

    /// The same blob sealed for another password: what is sealed stays byte for byte, so the data keys are the same and
    /// no content changes. The blob configuration has to be sealed anew as well, and stored **before** this blob.
    ///
    /// # Errors
    /// [`FormatError::WrongPassword`] when `old` does not open the blob, [`FormatError::PasswordChangeDisabled`] when the
    /// repository does not allow it.
    pub fn change_key(&self, old: &FormatKey, new: &FormatKey, nonce: &[u8; NONCE_LEN]) -> Result<Self, FormatError> {
        let json = old.open(&self.unique_id, &self.sealed_format);
        let json = json.ok_or(FormatError::WrongPassword)?;
        if !RepositoryFormat::from_json(&json)?.enable_password_change {
            return Err(FormatError::PasswordChangeDisabled);
        }
        Ok(Self {
            sealed_format: new.seal(&self.unique_id, nonce, &json),
            ..self.clone()
        })
    }
}

fn from_base64(member: &'static str, text: &str) -> Result<Vec<u8>, FormatError> {
    STANDARD
        .decode(text)
        .map_err(|_| FormatError::bad_format_member(member, "not base64", "it is standard base64 with padding"))
}

#[cfg(test)]
mod tests;
