//! The key room: from a password to the key of the format blob, and from the master key to keys for a purpose.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::RepositoryFormat;
use crate::FormatError;
use crate::encryption::{NONCE_LEN, derive_key, open_aes, seal_aes};

/// How a password becomes a key, by the name in `keyAlgo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyDerivation {
    /// scrypt with N = 65536, r = 8, p = 1: Kopia's default. Takes 64 MiB of memory.
    Scrypt65536_8_1,
    /// PBKDF2 with HMAC-SHA256, 600,000 times.
    Pbkdf2Sha256_600000,
}

impl KeyDerivation {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Scrypt65536_8_1, Self::Pbkdf2Sha256_600000];

    /// The name in the format blob.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scrypt65536_8_1 => "scrypt-65536-8-1",
            Self::Pbkdf2Sha256_600000 => "pbkdf2-sha256-600000",
        }
    }

    /// The derivation of this name; the error repeats a name that is none. The empty name is none: Kopia refuses it.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        let known = Self::ALL.into_iter().find(|derivation| derivation.name() == name);
        known.ok_or_else(|| FormatError::unknown_algorithm("password key derivation", name))
    }

    /// The key that `password` gives for the repository of this identity.
    pub fn derive(self, password: &str, unique_id: &[u8]) -> FormatKey {
        let mut key = Zeroizing::new([0; 32]);
        match self {
            Self::Scrypt65536_8_1 => {
                let params = scrypt::Params::new(16, 8, 1).expect("these are legal parameters of scrypt");
                scrypt::scrypt(password.as_bytes(), unique_id, &params, &mut *key)
                    .expect("32 bytes are a legal output of scrypt");
            }
            Self::Pbkdf2Sha256_600000 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), unique_id, 600_000, &mut *key);
            }
        }
        FormatKey(key)
    }
}

/// The key made from the password. It opens the format blob and the blob configuration, and is wiped when dropped.
#[derive(Clone)]
pub struct FormatKey(Zeroizing<[u8; 32]>);

impl FormatKey {
    /// A key that was derived before.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key itself: whoever has it needs no password.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a small blob of the repository of this identity: `nonce || AES-256-GCM || tag`.
    pub(super) fn seal(&self, unique_id: &[u8], nonce: &[u8; NONCE_LEN], plain: &[u8]) -> Vec<u8> {
        let (key, associated) = self.sealing_keys(unique_id);
        seal_aes(&key, nonce, plain, &*associated)
    }

    /// Opens what [`FormatKey::seal`] made; `None` when the key or the bytes are not the same.
    pub(super) fn open(&self, unique_id: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (key, associated) = self.sealing_keys(unique_id);
        open_aes(&key, sealed, &*associated)
    }

    /// The AES key and the associated data.
    pub(super) fn sealing_keys(&self, unique_id: &[u8]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
        let key = derive_key(self.as_bytes(), unique_id, b"AES");
        let associated = derive_key(self.as_bytes(), unique_id, b"CHECKSUM");
        (key, associated)
    }
}

impl fmt::Debug for FormatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormatKey(..)")
    }
}

/// Secret bytes of the repository format: never printed, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(&*text);
        // The error of the decoder would repeat a character of the secret.
        let bytes = bytes.map_err(|_| serde::de::Error::custom("not standard base64"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// The key of a repository for a purpose, such as `maintenance schedule`.
///
/// It comes from the master key, but from the key of the format blob in a repository whose password cannot change.
pub fn derive_application_key(
    format: &RepositoryFormat,
    format_key: &FormatKey,
    unique_id: &[u8],
    purpose: &str,
) -> [u8; 32] {
    let material = if format.enable_password_change {
        format.master_key.as_bytes()
    } else {
        format_key.as_bytes()
    };
    *derive_key(material, unique_id, purpose.as_bytes())
}
