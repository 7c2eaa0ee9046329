//! The room of Google's and Azure's buckets: one client for both.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path as Key;
use object_store::{
    Certificate, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig,
};
use windlass_mover::storage::{BlobMetadata, BlobRange, PutOptions, Storage, StorageError, WHOLE_BLOB_LEN_MAX, locate};
use windlass_repo_format::id::BlobId;

use crate::keys::Keys;
use crate::patience::{Again, Pace, Patience, Refusal, within};

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Google Cloud Storage: Kopia's `gcs`.
    Google,
    /// Azure Blob Storage: Kopia's `azure`. Buckets are called containers there.
    Azure,
}

/// A bucket of Google's or Azure's, and how it is reached. Secrets are not here, but in files and the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudOptions {
    /// Whose it is.
    pub provider: Provider,
    /// The bucket's or container's name.
    pub bucket: String,
    /// What stands before each blob's name, with the slash if there is to be one.
    pub prefix: String,
    /// URL of a server other than the provider's.
    pub endpoint: Option<String>,
    /// Azure's storage account, else `AZURE_STORAGE_ACCOUNT_NAME`.
    pub account: Option<String>,
    /// A file with the key of the account (Azure) or of a service account (Google).
    pub credentials_file: Option<PathBuf>,
    /// A file of PEM certificates that are trusted besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Believes any certificate.
    pub skip_verify: bool,
}

impl CloudOptions {
    /// The place, for people.
    pub fn location(&self) -> String {
        let url = format!("{}://{}/{}", self.scheme(), self.bucket, self.prefix);
        match &self.endpoint {
            Some(endpoint) => format!("{url} at {endpoint}"),
            None => url,
        }
    }

    fn scheme(&self) -> &'static str {
        match self.provider {
            Provider::Google => "gs",
            Provider::Azure => "azblob",
        }
    }

    fn client(&self) -> Result<ClientOptions, StorageError> {
        let mut client = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout_disabled()
            .with_allow_invalid_certificates(self.skip_verify);
        if let Some(bundle) = &self.ca_bundle {
            let pem = read_file("read the certificates in", bundle)?;
            let trusted = Certificate::from_pem_bundle(&pem);
            for certificate in trusted.map_err(|error| unusable(&bundle.display().to_string(), error))? {
                client = client.with_root_certificate(certificate);
            }
        }
        Ok(client)
    }

    fn connect(&self) -> Result<Arc<dyn Bucket>, StorageError> {
        let failed = |error| unusable(&self.location(), error);
        let key = match &self.credentials_file {
            Some(file) => Some(read_file("read the credentials in", file)?),
            None => None,
        };
        let key = key.map(|key| String::from_utf8_lossy(&key).trim().to_owned());
        // Tries are counted here, in one place for all providers; only what comes at once is left to the client.
        let retry = RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(2),
            ..RetryConfig::default()
        };
        match self.provider {
            Provider::Google => {
                let mut google = match key {
                    Some(key) => GoogleCloudStorageBuilder::new().with_service_account_key(key),
                    None => GoogleCloudStorageBuilder::from_env(),
                };
                if let Some(endpoint) = &self.endpoint {
                    google = google.with_base_url(endpoint);
                }
                let google = google.with_bucket_name(&self.bucket).with_retry(retry);
                let google = google.with_client_options(self.client()?).build().map_err(failed)?;
                Ok(Arc::new(google))
            }
            Provider::Azure => {
                let mut azure = match key {
                    Some(key) => MicrosoftAzureBuilder::new().with_access_key(key),
                    None => MicrosoftAzureBuilder::from_env(),
                };
                if let Some(account) = &self.account {
                    azure = azure.with_account(account);
                }
                if let Some(endpoint) = &self.endpoint {
                    azure = azure.with_endpoint(endpoint.clone());
                }
                let azure = azure.with_container_name(&self.bucket).with_retry(retry);
                // Azurite refuses tags, and there are none to be put.
                let azure = azure.with_disable_tagging(true).with_client_options(self.client()?);
                Ok(Arc::new(azure.build().map_err(failed)?))
            }
        }
    }
}

fn read_file(doing: &'static str, file: &Path) -> Result<Vec<u8>, StorageError> {
    std::fs::read(file).map_err(|source| StorageError::Io {
        doing,
        place: file.display().to_string(),
        source,
    })
}

fn unusable(place: &str, error: object_store::Error) -> StorageError {
    StorageError::Io {
        doing: "use",
        place: place.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, error),
    }
}

/// What a provider's client can do.
trait Bucket: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Bucket for T {}

/// A storage in a bucket of Google's or Azure's.
///
/// Bodies go up at once, whatever their length. Objects are not locked: a put with a retention is refused. Neither
/// client sends checksums: what has to carry one is read back and compared instead.
///
/// Clones share the connections.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    bucket: Arc<dyn Bucket>,
    keys: Keys,
    location: String,
    url: String,
    pace: Pace,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud").field("location", &self.0.location).finish_non_exhaustive()
    }
}

impl Cloud {
    /// The storage in a bucket that exists. Lists it once: whether it can be reached with these credentials.
    ///
    /// # Errors
    /// What keeps the bucket from being used; a place that does not answer is given up after some ten seconds.
    pub async fn open(options: &CloudOptions, patience: Patience) -> Result<Self, StorageError> {
        let inner = Inner {
            bucket: options.connect()?,
            keys: Keys::new(options.prefix.clone()),
            location: options.location(),
            url: format!("{}://{}", options.scheme(), options.bucket),
            pace: Pace::new(patience),
        };
        inner.page("open", &inner.pace.with(patience.at_first()), "", None).await?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    fn key(&self, id: &BlobId) -> Key {
        Key::from(self.keys.key(id.as_str()))
    }

    fn place(&self, id: &BlobId) -> String {
        format!("{}/{}", self.url, self.keys.key(id.as_str()))
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        const DOING: &str = "look at";
        let (key, place) = (self.key(id), self.place(id));
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            let refusal = match within(self.pace.silence_max(), DOING, &place, self.bucket.head(&key)).await {
                Ok(Ok(meta)) => return Ok(described(id.clone(), &meta)),
                Ok(Err(error)) => refusal(DOING, &place, Some(id), error),
                Err(silent) => silent,
            };
            tries.again(refusal).await?;
        }
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        const DOING: &str = "read";
        let end = match range {
            BlobRange::Whole => None,
            BlobRange::Part { offset, len } => Some(offset.checked_add(len)),
        };
        let wanted = match range {
            BlobRange::Part { len, .. } => len,
            BlobRange::Whole => 1,
        };
        if wanted == 0 || wanted > WHOLE_BLOB_LEN_MAX || end == Some(None) {
            // Nothing to fetch, or not to be fetched: the length says which.
            locate(id, range, self.metadata(id).await?.len)?;
            return Ok(Bytes::new());
        }
        let (key, place) = (self.key(id), self.place(id));
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            let limit = self.pace.answer_within(usize::try_from(wanted).unwrap_or(usize::MAX));
            let refusal = match within(limit, DOING, &place, self.fetch(id, &key, range)).await {
                Ok(Ok(bytes)) => return bytes,
                Ok(Err(error)) => {
                    let refused = refusal(DOING, &place, Some(id), error);
                    if status(&refused.error) == Some(416) {
                        locate(id, range, self.metadata(id).await?.len)?;
                    }
                    refused
                }
                Err(silent) => silent,
            };
            tries.again(refusal).await?;
        }
    }

    /// One try at it. The client itself takes a broken body up again where it broke.
    async fn fetch(
        &self,
        id: &BlobId,
        key: &Key,
        range: BlobRange,
    ) -> object_store::Result<Result<Bytes, StorageError>> {
        let asked = match range {
            BlobRange::Whole => None,
            BlobRange::Part { offset, len } => Some(GetRange::Bounded(offset..offset + len)),
        };
        let options = GetOptions {
            range: asked,
            ..GetOptions::default()
        };
        let answer = self.bucket.get_opts(key, options).await?;
        match locate(id, range, answer.meta.size) {
            Ok(_) => answer.bytes().await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        const DOING: &str = "write";
        if options.retention.is_some() {
            return Err(StorageError::Unsupported {
                what: "retention",
                location: self.location.clone(),
            });
        }
        let (key, place) = (self.key(id), self.place(id));
        let mode = if options.only_if_absent { PutMode::Create } else { PutMode::Overwrite };
        let mut tries = self.pace.tries();
        let mut may_be_done = false;
        loop {
            tries.gate().await;
            let put = self.bucket.put_opts(&key, PutPayload::from(body.clone()), mode.clone().into());
            let limit = self.pace.answer_within(body.len());
            let refusal = match within(limit, DOING, &place, put).await {
                Ok(Ok(_)) => break,
                Ok(Err(error)) => refusal(DOING, &place, Some(id), error),
                Err(silent) => silent,
            };
            if matches!(refusal.error, StorageError::AlreadyExists { .. }) && options.only_if_absent {
                // An earlier try of ours may have made it, and its answer have got lost.
                if may_be_done && self.read(id, BlobRange::Whole).await? == body {
                    break;
                }
                return Err(refusal.error);
            }
            may_be_done |= refusal.again != Again::Never;
            tries.again(refusal).await?;
        }
        if options.checksum && self.read(id, BlobRange::Whole).await? != body {
            return Err(StorageError::Io {
                doing: DOING,
                place,
                source: io::Error::new(io::ErrorKind::InvalidData, "what was read back is not what was written"),
            });
        }
        let put = self.metadata(id).await?;
        Ok(BlobMetadata {
            len: body.len() as u64,
            ..put
        })
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        const DOING: &str = "delete";
        let (key, place) = (self.key(id), self.place(id));
        let mut tries = self.pace.tries();
        loop {
            tries.gate().await;
            let refusal = match within(self.pace.silence_max(), DOING, &place, self.bucket.delete(&key)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => refusal(DOING, &place, Some(id), error),
                Err(silent) => silent,
            };
            match tries.again(refusal).await {
                Err(StorageError::NotFound { .. }) => return Ok(()),
                other => other?,
            }
        }
    }

    async fn page(
        &self,
        doing: &'static str,
        pace: &Pace,
        prefix: &str,
        page_token: Option<String>,
    ) -> Result<PaginatedListResult, StorageError> {
        let prefix = self.keys.key(prefix);
        let mut tries = pace.tries();
        loop {
            tries.gate().await;
            let options = PaginatedListOptions {
                // What lies in folders below belongs to somebody else.
                delimiter: Some("/".into()),
                page_token: page_token.clone(),
                ..PaginatedListOptions::default()
            };
            let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
            let asked = self.bucket.list_paginated(prefix, options);
            let refusal = match within(pace.silence_max(), doing, &self.location, asked).await {
                Ok(Ok(page)) => return Ok(page),
                Ok(Err(object_store::Error::NotFound { .. })) => Refusal::last(StorageError::NoBucket {
                    place: self.location.clone(),
                }),
                Ok(Err(error)) => refusal(doing, &self.location, None, error),
                Err(silent) => silent,
            };
            tries.again(refusal).await?;
        }
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        // The token of the next page; `None` behind the last one.
        let first = Some(None);
        let pages = stream::try_unfold(first, move |token: Option<Option<String>>| async move {
            let Some(token) = token else { return Ok(None) };
            let page = self.page("list", &self.pace, prefix, token).await?;
            let blobs = page.result.objects.into_iter();
            let blobs = blobs.filter_map(|meta| Some(described(self.keys.blob(meta.location.as_ref())?, &meta)));
            let blobs: Vec<_> = blobs.map(Ok).collect();
            Ok::<_, StorageError>(Some((stream::iter(blobs), page.page_token.map(Some))))
        });
        pages.try_flatten().boxed()
    }
}

/// In whole seconds, as heads of all providers show it.
fn described(id: BlobId, meta: &ObjectMeta) -> BlobMetadata {
    BlobMetadata {
        id,
        len: meta.size,
        modified: Timestamp::from_second(meta.last_modified.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

/// What was said, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct Advised {
    advice: &'static str,
    source: object_store::Error,
}

fn refusal(doing: &'static str, place: &str, id: Option<&BlobId>, error: object_store::Error) -> Refusal {
    let place = place.to_owned();
    let denied = |source| {
        let advice = "check the credentials, and what they may do: list the bucket, get, put and delete its objects";
        let source = io::Error::new(io::ErrorKind::PermissionDenied, Advised { advice, source });
        Refusal::last(StorageError::Denied { doing, place: place.clone(), source })
    };
    match (error, id) {
        (object_store::Error::NotFound { .. }, Some(blob)) => {
            Refusal::last(StorageError::NotFound { blob: blob.clone() })
        }
        (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }, Some(blob)) => {
            Refusal::last(StorageError::AlreadyExists { blob: blob.clone() })
        }
        (
            error @ (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }),
            _,
        ) => denied(error),
        (error, _) => {
            let (again, kind, advice) = match (status(&error), line_broke(&error)) {
                (Some(429 | 503), _) => {
                    (Again::SlowDown(None), io::ErrorKind::ResourceBusy, "the server has too much to do")
                }
                (Some(408 | 500..=599), _) => (Again::Soon, io::ErrorKind::ConnectionReset, "the server has failed"),
                (None, true) => (
                    Again::Soon,
                    io::ErrorKind::ConnectionReset,
                    "no answer came; is the endpoint right, and can it be reached from here",
                ),
                _ => (Again::Never, io::ErrorKind::Other, "the server refuses"),
            };
            let source = io::Error::new(kind, Advised { advice, source: error });
            let error = StorageError::Io { doing, place, source };
            Refusal { error, again }
        }
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = error.downcast_ref().or_else(|| find(inner?)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What the server answered, if it was no success. The client tells it in words only.
fn status(error: &(dyn Error + 'static)) -> Option<u16> {
    const BEFORE: &str = "status code: ";
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if let Some((_, after)) = text.split_once(BEFORE) {
            return after.get(..3)?.parse().ok();
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn line_broke(error: &(dyn Error + 'static)) -> bool {
    use HttpErrorKind as Kind;
    let kind = find::<HttpError>(error).map(HttpError::kind);
    matches!(kind, Some(Kind::Connect | Kind::Request | Kind::Timeout | Kind::Interrupted | Kind::Decode))
}

#[async_trait]
impl Storage for Cloud {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn can_retain(&self) -> bool {
        false
    }

    async fn read(&self, id: &BlobId, range: BlobRange) -> Result<Bytes, StorageError> {
        self.0.read(id, range).await
    }

    async fn metadata(&self, id: &BlobId) -> Result<BlobMetadata, StorageError> {
        self.0.metadata(id).await
    }

    async fn put(&self, id: &BlobId, body: Bytes, options: &PutOptions) -> Result<BlobMetadata, StorageError> {
        self.0.put(id, body, options).await
    }

    async fn delete(&self, id: &BlobId) -> Result<(), StorageError> {
        self.0.delete(id).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<BlobMetadata, StorageError>> {
        self.0.list(prefix)
    }
}
