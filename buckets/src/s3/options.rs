//! The order form of a bucket: everything that can be said about it, none of it secret.

use std::io;
use std::path::PathBuf;

use aws_smithy_types::base64;
use windlass_mover::storage::StorageError;

use super::Encryption;

/// A bucket, how it is reached, and how things are put there. Secrets are not here but where the provider's own tools
/// look for them: environment, shared files, the machine's role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// What stands before each blob's name, with the slash if there is to be one.
    pub prefix: String,
    /// URL of a server other than AWS's.
    pub endpoint: Option<String>,
    /// The region; else that of the environment, the profile or the machine, else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is named in the path rather than in the host; unless told, where there is an endpoint.
    pub path_style: Option<bool>,
    /// The profile of the shared files, else `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// A file in the form of `~/.aws/credentials` that is read instead.
    pub credentials_file: Option<PathBuf>,
    /// A file in the form of `~/.aws/config` that is read instead.
    pub config_file: Option<PathBuf>,
    /// A file of PEM certificates that are trusted besides the system's, else `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// Believes any certificate. Who is in the way can then read and change everything but the repository's contents.
    pub skip_verify: bool,
    /// `AES256` or `aws:kms`.
    pub server_side_encryption: Option<String>,
    /// Name or ARN of a key of the key management service.
    pub kms_key_id: Option<String>,
    /// A file with the key of SSE-C: 32 bytes, or those in base64.
    pub customer_key_file: Option<PathBuf>,
    /// The storage class, such as `STANDARD_IA`.
    pub storage_class: Option<String>,
}

impl S3Options {
    /// The place, for people.
    pub fn location(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        match &self.endpoint {
            Some(endpoint) => format!("s3://{bucket}/{prefix} at {endpoint}"),
            None => format!("s3://{bucket}/{prefix}"),
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.endpoint
            .as_ref()
            .is_none_or(|endpoint| !endpoint.starts_with("http://"))
    }

    /// How the server is to encrypt.
    ///
    /// # Errors
    /// Names that are not known, and a key file that cannot be read or holds no key of 32 bytes.
    pub(super) fn encryption(&self) -> Result<Encryption, StorageError> {
        if let Some(file) = &self.customer_key_file {
            return customer_key(file);
        }
        match (self.server_side_encryption.as_deref(), &self.kms_key_id) {
            (None, None) => Ok(Encryption::OfBucket),
            (Some("AES256"), None) => Ok(Encryption::Managed),
            (Some("aws:kms") | None, key_id) => Ok(Encryption::Kms { key_id: key_id.clone() }),
            _ => Err(StorageError::Unsupported {
                what: "this kind of encryption by the server: sse is AES256 or aws:kms, and a key is for aws:kms",
                location: self.location(),
            }),
        }
    }
}

fn customer_key(file: &std::path::Path) -> Result<Encryption, StorageError> {
    let failed = |source| StorageError::Io {
        doing: "read the key of SSE-C in",
        place: file.display().to_string(),
        source,
    };
    let bytes = std::fs::read(file).map_err(failed)?;
    let decoded = || base64::decode(std::str::from_utf8(&bytes).ok()?.trim()).ok();
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok();
    match key.or_else(|| decoded()?.try_into().ok()) {
        Some(key) => Ok(Encryption::Customer { key }),
        None => Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "it holds neither 32 bytes nor the base64 of 32 bytes",
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_files_and_wrong_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let with = |bytes: &[u8]| {
            let file = folder.path().join("key");
            std::fs::write(&file, bytes).unwrap();
            let options = S3Options {
                customer_key_file: Some(file),
                ..S3Options::default()
            };
            options.encryption()
        };
        let wanted = Encryption::Customer { key: [7; 32] };
        assert_eq!(with(&[7; 32]).unwrap(), wanted);
        assert_eq!(
            with(format!("{}\n", base64::encode([7; 32])).as_bytes()).unwrap(),
            wanted
        );
        let error = with(b"short").unwrap_err();
        assert!(
            error.to_string().contains("SSE-C") && error.to_string().contains("key"),
            "{error}"
        );
        assert!(!format!("{wanted:?}").contains('7'), "keys are not shown");
    }

    #[test]
    fn kinds_of_encryption_have_the_names_of_s3() {
        let of = |kind: Option<&str>, key: Option<&str>| {
            S3Options {
                server_side_encryption: kind.map(str::to_owned),
                kms_key_id: key.map(str::to_owned),
                ..S3Options::default()
            }
            .encryption()
        };
        let kms = |key: Option<&str>| Encryption::Kms {
            key_id: key.map(str::to_owned),
        };
        assert_eq!(of(None, None).unwrap(), Encryption::OfBucket);
        assert_eq!(of(Some("AES256"), None).unwrap(), Encryption::Managed);
        assert_eq!(of(Some("aws:kms"), None).unwrap(), kms(None));
        assert_eq!(of(None, Some("arn:k")).unwrap(), kms(Some("arn:k")));
        assert!(of(Some("AES256"), Some("arn:k")).is_err());
        assert!(of(Some("rot13"), None).is_err());
    }
}
