//! The door to Google's and Azure's servers: who we are, where they are, and what the common client does not say well.

use std::env;
use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use jiff::Timestamp;
use object_store::azure::{AzureAuthorizer, AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{HttpRequest, HttpRequestBody, HttpService};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::list::PaginatedListStore;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result, RetryConfig,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use windlass_mover::storage::StorageError;

use super::complaints::credentials_refused;
use super::transport::{LastModified, Line};
use super::{CloudOptions, Provider};
use crate::s3::trust::{Lines, Trust};

/// What Kopia calls its blobs.
const CONTENT_TYPE_OF_BLOBS: &str = "application/x-kopia";

const GOOGLE: &str = "https://storage.googleapis.com";

/// What has a meaning of its own in a URL's path, or behind it.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
const PATH: &AsciiSet = &NAME.remove(b'/');

/// A bucket's client.
#[derive(Debug)]
pub(super) struct Client {
    line: Line,
    bucket: String,
    provider: Of,
}

#[derive(Debug)]
enum Of {
    Google {
        store: GoogleCloudStorage,
        base: String,
    },
    Azure {
        store: MicrosoftAzure,
        service: String,
        account: String,
    },
}

impl Client {
    pub(super) fn connect(options: &CloudOptions) -> std::result::Result<Self, StorageError> {
        let trust = Trust {
            ca_bundle: options.ca_bundle.as_deref(),
            skip_verify: options.skip_verify,
        };
        let line = Line::new(&Lines::new(trust, &options.location())?);
        let provider = match options.provider {
            Provider::Google => google(options, &line)?,
            Provider::Azure => azure(options, &line)?,
        };
        Ok(Self {
            line,
            bucket: options.bucket.clone(),
            provider,
        })
    }

    pub(super) fn objects(&self) -> &dyn ObjectStore {
        match &self.provider {
            Of::Google { store, .. } => store,
            Of::Azure { store, .. } => store,
        }
    }

    pub(super) fn pages(&self) -> &dyn PaginatedListStore {
        match &self.provider {
            Of::Google { store, .. } => store,
            Of::Azure { store, .. } => store,
        }
    }

    /// Puts an object in one request; tells when it was put, if the answer does.
    pub(super) async fn put(&self, key: &Key, body: Bytes, only_if_absent: bool) -> Result<Option<Timestamp>> {
        match &self.provider {
            Of::Google { store, base } => self.put_to_google(store, base, key, body, only_if_absent).await,
            Of::Azure { store, .. } => {
                let kind = (Attribute::ContentType, CONTENT_TYPE_OF_BLOBS);
                let options = PutOptions {
                    mode: if only_if_absent {
                        PutMode::Create
                    } else {
                        PutMode::Overwrite
                    },
                    attributes: Attributes::from_iter([kind]),
                    ..PutOptions::default()
                };
                let put = store.put_opts(key, PutPayload::from(body), options).await?;
                Ok(put.extensions.get::<LastModified>().map(|modified| modified.0))
            }
        }
    }

    /// In the words of Google's JSON, as Kopia says it: its answer tells the time of the object, which the one to a put
    /// of XML does not.
    async fn put_to_google(
        &self,
        store: &GoogleCloudStorage,
        base: &str,
        key: &Key,
        body: Bytes,
        only_if_absent: bool,
    ) -> Result<Option<Timestamp>> {
        let bearer = store.credentials().get_credential().await?;
        let (bucket, name) = (encoded(&self.bucket, NAME), encoded(key.as_ref(), NAME));
        let absent = if only_if_absent { "&ifGenerationMatch=0" } else { "" };
        let url = format!("{base}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}{absent}");
        let mut request = request(Method::POST, &url, body)?;
        if !bearer.bearer.is_empty() {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", bearer.bearer)).map_err(other)?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let answer = self.line.call(request).await.map_err(other)?;
        let answer = answer.into_body().bytes().await.map_err(other)?;
        let answer: Value = serde_json::from_slice(&answer).map_err(other)?;
        Ok(answer["updated"].as_str().and_then(|time| time.parse().ok()))
    }

    /// Removes an object.
    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        match &self.provider {
            Of::Google { store, .. } => store.delete(key).await,
            Of::Azure {
                store,
                service,
                account,
            } => {
                // The common client wraps each delete into a batch, and does not tell what the server said in there.
                let credential = store.credentials().get_credential().await?;
                let (container, name) = (encoded(&self.bucket, NAME), encoded(key.as_ref(), PATH));
                let mut request = request(Method::DELETE, &format!("{service}/{container}/{name}"), Bytes::new())?;
                AzureAuthorizer::new(&credential, account).try_authorize(&mut request)?;
                self.line.call(request).await.map(drop).map_err(other)
            }
        }
    }
}

fn encoded(text: &str, kept: &'static AsciiSet) -> String {
    utf8_percent_encode(text, kept).to_string()
}

fn request(method: Method, url: &str, body: Bytes) -> Result<HttpRequest> {
    let mut request = Request::builder().method(&method).uri(url);
    if method != Method::DELETE {
        request = request
            .header(CONTENT_LENGTH, body.len())
            .header(CONTENT_TYPE, CONTENT_TYPE_OF_BLOBS);
    }
    request.body(HttpRequestBody::from(body)).map_err(other)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "bucket",
        source: Box::new(error),
    }
}

/// Tries are counted in one place for all providers.
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn read_secret(file: &Path) -> std::result::Result<String, StorageError> {
    let text = fs::read_to_string(file).map_err(|source| StorageError::Io {
        doing: "read the credentials in",
        place: file.display().to_string(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

fn google(options: &CloudOptions, line: &Line) -> std::result::Result<Of, StorageError> {
    let refused = |error| credentials_refused(Provider::Google, options.location(), error);
    let mut builder = match &options.credentials_file {
        None => GoogleCloudStorageBuilder::from_env(),
        Some(file) => {
            let text = read_secret(file)?;
            let said: Value = serde_json::from_str(&text).map_err(|error| StorageError::Io {
                doing: "read the credentials in",
                place: file.display().to_string(),
                source: io::Error::new(io::ErrorKind::InvalidData, format!("no JSON: {error}")),
            })?;
            match said["type"].as_str() {
                None | Some("service_account") => GoogleCloudStorageBuilder::new().with_service_account_key(text),
                Some(_) => GoogleCloudStorageBuilder::new().with_application_credentials(file.display().to_string()),
            }
        }
    };
    let base = options.endpoint.clone().unwrap_or_else(|| GOOGLE.to_owned());
    builder = builder.with_bucket_name(&options.bucket).with_base_url(&base);
    let store = builder
        .with_retry(no_retries())
        .with_http_connector(line.clone())
        .build();
    let store = store.map_err(refused)?;
    Ok(Of::Google { store, base })
}

fn azure(options: &CloudOptions, line: &Line) -> std::result::Result<Of, StorageError> {
    let account = options.account.clone().or_else(|| variable("AZURE_STORAGE_ACCOUNT"));
    let Some(account) = account.or_else(|| variable("AZURE_STORAGE_ACCOUNT_NAME")) else {
        return Err(StorageError::Unsupported {
            what: "a container without its storage account: give account=... or AZURE_STORAGE_ACCOUNT",
            location: options.location(),
        });
    };
    let domain = options.domain.clone().or_else(|| variable("AZURE_STORAGE_DOMAIN"));
    let domain = domain.unwrap_or_else(|| CloudOptions::AZURE_DOMAIN.to_owned());
    let service = match &options.endpoint {
        Some(endpoint) => format!("{endpoint}/{account}"),
        None => format!("https://{account}.{domain}"),
    };
    let mut builder = match (&options.credentials_file, &options.sas_token_file) {
        // Who names a file means it, whatever the environment says.
        (Some(file), _) => MicrosoftAzureBuilder::new().with_access_key(read_secret(file)?),
        (None, Some(file)) => MicrosoftAzureBuilder::new().with_config(AzureConfigKey::SasKey, read_secret(file)?),
        (None, None) => {
            // Kopia's names for what the client knows by others.
            let mut builder = MicrosoftAzureBuilder::from_env();
            if let Some(key) = variable("AZURE_STORAGE_KEY") {
                builder = builder.with_access_key(key);
            }
            builder
        }
    };
    builder = builder.with_account(&account).with_endpoint(service.clone());
    // There are no tags to be put, and not all servers know them.
    builder = builder.with_container_name(&options.bucket).with_disable_tagging(true);
    let store = builder
        .with_retry(no_retries())
        .with_http_connector(line.clone())
        .build();
    let store = store.map_err(|error| credentials_refused(Provider::Azure, options.location(), error))?;
    Ok(Of::Azure {
        store,
        service,
        account,
    })
}
