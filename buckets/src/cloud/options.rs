//! The order form of a bucket at Google's or Azure's: everything that can be said about it, none of it secret.

use std::path::PathBuf;

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Google Cloud Storage: Kopia's `gcs`.
    Google,
    /// Azure Blob Storage: Kopia's `azure`. Buckets are called containers there.
    Azure,
}

/// A bucket at Google's or Azure's, and how it is reached. Secrets are not here, but in files, the environment and the
/// machine's role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudOptions {
    /// Whose it is.
    pub provider: Provider,
    /// The bucket's or container's name.
    pub bucket: String,
    /// What stands before each blob's name, with the slash if there is to be one.
    pub prefix: String,
    /// URL of a server other than the provider's. One that speaks Azure has the account in its path.
    pub endpoint: Option<String>,
    /// Azure's storage account, else `AZURE_STORAGE_ACCOUNT`.
    pub account: Option<String>,
    /// What stands behind the account in the name of Azure's host, else `AZURE_STORAGE_DOMAIN`, else
    /// [`AZURE_DOMAIN`](Self::AZURE_DOMAIN).
    pub domain: Option<String>,
    /// A file with the key of Azure's storage account, or with Google's credentials in JSON.
    pub credentials_file: Option<PathBuf>,
    /// A file with a shared access signature of Azure.
    pub sas_token_file: Option<PathBuf>,
    /// A file of PEM certificates that are trusted besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Believes any certificate. Who is in the way can then read and change everything but the repository's contents.
    pub skip_verify: bool,
}

impl CloudOptions {
    /// Where Azure's storage accounts are, unless they are in a cloud of their own country.
    pub const AZURE_DOMAIN: &str = "blob.core.windows.net";

    /// A bucket of that name, of which nothing else is said.
    pub fn new(provider: Provider, bucket: impl Into<String>) -> Self {
        Self {
            provider,
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            account: None,
            domain: None,
            credentials_file: None,
            sas_token_file: None,
            ca_bundle: None,
            skip_verify: false,
        }
    }

    /// The place, for people.
    pub fn location(&self) -> String {
        let url = format!("{}/{}", self.bucket_url(), self.prefix);
        match (&self.endpoint, &self.account) {
            (Some(endpoint), _) => format!("{url} at {endpoint}"),
            (None, Some(account)) => format!("{url} of {account}"),
            (None, None) => url,
        }
    }

    /// The bucket alone.
    pub(super) fn bucket_url(&self) -> String {
        let scheme = match self.provider {
            Provider::Google => "gs",
            Provider::Azure => "azblob",
        };
        format!("{scheme}://{}", self.bucket)
    }
}
