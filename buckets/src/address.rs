//! The address book: which bucket a URL names, and what else it says about it.

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use windlass_mover::storage::{Storage, StorageError};

use crate::cloud::{Cloud, CloudOptions, Provider};
use crate::patience::Patience;
use crate::s3::{S3, S3Options};

/// A bucket, as a user names it.
///
/// | URL | keys |
/// |---|---|
/// | `s3://bucket/prefix` | `prefix/...` |
/// | `s3://bucket/prefix?raw-prefix=true` | `prefix...`, as Kopia's `--prefix` has it |
/// | `s3://bucket` | at the top of the bucket |
/// | `gs://bucket/prefix`, `azblob://container/prefix` | as with `s3://` |
///
/// No parameter is secret: a URL may be shown, logged and seen among the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// `s3://`
    S3(S3Options),
    /// `gs://` and `azblob://`
    Cloud(CloudOptions),
}

/// A URL that names no bucket. What was in it is not repeated: it may be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// No provider has this scheme.
    #[error("buckets are named by s3://, gs:// or azblob://")]
    Scheme,
    /// There is no name behind the scheme.
    #[error("{scheme}:// is followed by no name: write {scheme}://{noun}/prefix")]
    NoName {
        /// The scheme.
        scheme: &'static str,
        /// What is named.
        noun: &'static str,
    },
    /// Something like `key:secret@` stands before the name.
    #[error(
        "{scheme}://...@...: a URL must hold no credentials, since URLs are shown and logged; they are taken from the \
         environment, from files, or from the machine's role"
    )]
    Credentials {
        /// The scheme.
        scheme: &'static str,
    },
    /// A parameter that the scheme does not have.
    #[error("{scheme}://...?{name}=...: there is no such parameter; there are {known}")]
    Parameter {
        /// The scheme.
        scheme: &'static str,
        /// The parameter.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A parameter that would hold a secret.
    #[error(
        "{scheme}://...?{name}=...: a URL must hold no secrets, since URLs are shown and logged; they are taken from the \
         environment, from files, or from the machine's role"
    )]
    Secret {
        /// The scheme.
        scheme: &'static str,
        /// The parameter.
        name: String,
    },
    /// A parameter is given twice.
    #[error("{name} is given twice")]
    Twice {
        /// The parameter.
        name: String,
    },
    /// A parameter has a value that it cannot have.
    #[error("{name} must be {wanted}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it can be.
        wanted: &'static str,
    },
    /// Percent signs that encode no text.
    #[error("the URL has a % that does not begin the code of a letter")]
    Encoding,
}

impl Address {
    /// Whether this is a URL of a bucket at all, right or wrong.
    pub fn is_meant_by(url: &str) -> bool {
        ["s3://", "gs://", "azblob://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = url.split_once("://").ok_or(BadAddress::Scheme)?;
        match scheme {
            "s3" => s3(Parts::of(rest, "s3", "bucket", S3_PARAMETERS)?),
            "gs" => cloud(Provider::Google, Parts::of(rest, "gs", "bucket", GOOGLE_PARAMETERS)?),
            "azblob" => cloud(
                Provider::Azure,
                Parts::of(rest, "azblob", "container", AZURE_PARAMETERS)?,
            ),
            _ => Err(BadAddress::Scheme),
        }
    }

    /// The place, for people.
    pub fn location(&self) -> String {
        match self {
            Self::S3(options) => options.location(),
            Self::Cloud(options) => options.location(),
        }
    }

    /// The storage there.
    ///
    /// # Errors
    /// What keeps it from being used.
    pub async fn open(&self) -> Result<Arc<dyn Storage>, StorageError> {
        match self {
            Self::S3(options) => Ok(Arc::new(S3::open(options, Patience::default()).await?)),
            Self::Cloud(options) => Ok(Arc::new(Cloud::open(options, Patience::default()).await?)),
        }
    }
}

const S3_PARAMETERS: &[&str] = &[
    "endpoint",
    "region",
    "path-style",
    "profile",
    "credentials-file",
    "config-file",
    "ca-bundle",
    "skip-verify",
    "sse",
    "sse-kms-key-id",
    "sse-c-key-file",
    "storage-class",
    "raw-prefix",
];

const GOOGLE_PARAMETERS: &[&str] = &["endpoint", "credentials-file", "ca-bundle", "skip-verify", "raw-prefix"];

const AZURE_PARAMETERS: &[&str] = &[
    "account",
    "domain",
    "endpoint",
    "account-key-file",
    "sas-token-file",
    "ca-bundle",
    "skip-verify",
    "raw-prefix",
];

fn cloud(provider: Provider, mut parts: Parts) -> Result<Address, BadAddress> {
    let file = parts
        .text("credentials-file")
        .or_else(|| parts.text("account-key-file"));
    Ok(Address::Cloud(CloudOptions {
        prefix: parts.prefix()?,
        endpoint: parts.endpoint()?,
        account: parts.text("account"),
        domain: parts.text("domain"),
        credentials_file: file.map(PathBuf::from),
        sas_token_file: parts.text("sas-token-file").map(PathBuf::from),
        ca_bundle: parts.text("ca-bundle").map(PathBuf::from),
        skip_verify: parts.flag("skip-verify")?.unwrap_or(false),
        ..CloudOptions::new(provider, std::mem::take(&mut parts.name))
    }))
}

fn s3(mut parts: Parts) -> Result<Address, BadAddress> {
    let path_style = parts.flag("path-style")?;
    let skip_verify = parts.flag("skip-verify")?.unwrap_or(false);
    let endpoint = parts.endpoint()?;
    Ok(Address::S3(S3Options {
        prefix: parts.prefix()?,
        bucket: std::mem::take(&mut parts.name),
        endpoint,
        region: parts.text("region"),
        path_style,
        profile: parts.text("profile"),
        credentials_file: parts.text("credentials-file").map(PathBuf::from),
        config_file: parts.text("config-file").map(PathBuf::from),
        ca_bundle: parts.text("ca-bundle").map(PathBuf::from),
        skip_verify,
        server_side_encryption: parts.text("sse"),
        kms_key_id: parts.text("sse-kms-key-id"),
        customer_key_file: parts.text("sse-c-key-file").map(PathBuf::from),
        storage_class: parts.text("storage-class"),
    }))
}

/// A URL without its scheme, taken apart.
struct Parts {
    name: String,
    path: String,
    parameters: Vec<(&'static str, String)>,
}

impl Parts {
    fn of(
        rest: &str,
        scheme: &'static str,
        noun: &'static str,
        known: &'static [&'static str],
    ) -> Result<Self, BadAddress> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, path) = place.split_once('/').unwrap_or((place, ""));
        if name.contains('@') || name.contains(':') {
            return Err(BadAddress::Credentials { scheme });
        }
        if name.is_empty() {
            return Err(BadAddress::NoName { scheme, noun });
        }
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let name = known
                .iter()
                .find(|known| **known == name)
                .ok_or_else(|| unknown(scheme, name, known))?;
            if parameters.iter().any(|(before, _)| before == name) {
                return Err(BadAddress::Twice {
                    name: (*name).to_owned(),
                });
            }
            parameters.push((name, decoded(value)?));
        }
        Ok(Self {
            name: decoded(name)?,
            path: decoded(path)?,
            parameters,
        })
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let place = self.parameters.iter().position(|(known, _)| *known == name)?;
        Some(self.parameters.swap_remove(place).1).filter(|value| !value.is_empty())
    }

    fn flag(&mut self, name: &'static str) -> Result<Option<bool>, BadAddress> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("true" | "1" | "yes") => Ok(Some(true)),
            Some("false" | "0" | "no") => Ok(Some(false)),
            Some(_) => Err(BadAddress::Value {
                name,
                wanted: "true or false",
            }),
        }
    }

    /// The URL of a server; without a scheme it is asked over TLS.
    fn endpoint(&mut self) -> Result<Option<String>, BadAddress> {
        const NAME: &str = "endpoint";
        let Some(endpoint) = self.text(NAME) else {
            return Ok(None);
        };
        let wrong = || BadAddress::Value {
            name: NAME,
            wanted: "http://host:port or https://host:port, without credentials or path",
        };
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        let host = host.trim_end_matches('/');
        if !["http", "https"].contains(&scheme) || host.is_empty() || host.contains(['@', '/', '?', '#', ' ']) {
            return Err(wrong());
        }
        Ok(Some(format!("{scheme}://{host}")))
    }

    /// What stands before each name: the path as a folder, or just as it is.
    fn prefix(&mut self) -> Result<String, BadAddress> {
        let is_raw = self.flag("raw-prefix")?.unwrap_or(false);
        let path = std::mem::take(&mut self.path);
        if is_raw || path.is_empty() || path.ends_with('/') {
            return Ok(path);
        }
        Ok(path + "/")
    }
}

fn unknown(scheme: &'static str, name: &str, known: &[&str]) -> BadAddress {
    let is_name = name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let name = if is_name { name.to_owned() } else { "...".to_owned() };
    let simple: String = name
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let secrets = [
        "secret",
        "accesskey",
        "sessiontoken",
        "password",
        "accountkey",
        "storagekey",
        "sastoken",
    ];
    if secrets.iter().any(|secret| simple.contains(secret)) {
        return BadAddress::Secret { scheme, name };
    }
    let known = known.join(", ");
    BadAddress::Parameter { scheme, name, known }
}

fn decoded(text: &str) -> Result<String, BadAddress> {
    let bytes = text.as_bytes();
    let broken = |place: usize| {
        let digits = bytes.get(place + 1..place + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if bytes
        .iter()
        .enumerate()
        .any(|(place, byte)| *byte == b'%' && broken(place))
    {
        return Err(BadAddress::Encoding);
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| BadAddress::Encoding)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(url: &str) -> S3Options {
        match Address::parse(url).unwrap() {
            Address::S3(options) => options,
            other => panic!("{url} is {other:?}"),
        }
    }

    #[test]
    fn a_path_is_a_folder_unless_it_is_to_be_taken_as_it_is() {
        for (url, prefix) in [
            ("s3://b", ""),
            ("s3://b/", ""),
            ("s3://b/one/two", "one/two/"),
            ("s3://b/one/", "one/"),
            ("s3://b/a%20b%2Fc", "a b/c/"),
            ("s3://b/one?raw-prefix=true", "one"),
            ("s3://b/one/?raw-prefix", "one/"),
            ("s3://b?raw-prefix=true", ""),
        ] {
            let options = s3(url);
            assert_eq!(
                (options.bucket.as_str(), options.prefix.as_str()),
                ("b", prefix),
                "{url}"
            );
        }
    }

    #[test]
    fn every_parameter_has_its_place() {
        let options = s3(
            "s3://b/p?endpoint=http://127.0.0.1:8333/&region=eu-west-1&path-style=false&profile=me&\
             credentials-file=/c%26d&config-file=/e&ca-bundle=/f&skip-verify=true&sse=aws:kms&sse-kms-key-id=arn%3Ak&\
             sse-c-key-file=/g&storage-class=STANDARD_IA",
        );
        let path = |path: &str| Some(PathBuf::from(path));
        let text = |text: &str| Some(text.to_owned());
        let wanted = S3Options {
            bucket: "b".to_owned(),
            prefix: "p/".to_owned(),
            endpoint: text("http://127.0.0.1:8333"),
            region: text("eu-west-1"),
            path_style: Some(false),
            profile: text("me"),
            credentials_file: path("/c&d"),
            config_file: path("/e"),
            ca_bundle: path("/f"),
            skip_verify: true,
            server_side_encryption: text("aws:kms"),
            kms_key_id: text("arn:k"),
            customer_key_file: path("/g"),
            storage_class: text("STANDARD_IA"),
        };
        assert_eq!(options, wanted);
        assert_eq!(s3("s3://b?endpoint=minio:9000").endpoint, text("https://minio:9000"));
        assert_eq!(options.location(), "s3://b/p/ at http://127.0.0.1:8333");
    }

    #[test]
    fn the_other_providers_have_parameters_of_their_own() {
        let cloud = |url: &str| match Address::parse(url).unwrap() {
            Address::Cloud(options) => options,
            other => panic!("{url} is {other:?}"),
        };
        let path = |path: &str| Some(PathBuf::from(path));
        let text = |text: &str| Some(text.to_owned());
        let google = cloud("gs://b/p?endpoint=http://127.0.0.1:4443&credentials-file=/k&ca-bundle=/c&skip-verify=1");
        let wanted = CloudOptions {
            prefix: "p/".to_owned(),
            endpoint: text("http://127.0.0.1:4443"),
            credentials_file: path("/k"),
            ca_bundle: path("/c"),
            skip_verify: true,
            ..CloudOptions::new(Provider::Google, "b")
        };
        assert_eq!(google, wanted);
        assert_eq!(google.location(), "gs://b/p/ at http://127.0.0.1:4443");
        let azure = cloud("azblob://b/p?raw-prefix&account=me&domain=blob.core.chinacloudapi.cn&account-key-file=/k");
        let wanted = CloudOptions {
            prefix: "p".to_owned(),
            account: text("me"),
            domain: text("blob.core.chinacloudapi.cn"),
            credentials_file: path("/k"),
            ..CloudOptions::new(Provider::Azure, "b")
        };
        assert_eq!(azure, wanted);
        assert_eq!(azure.location(), "azblob://b/p of me");
        assert_eq!(cloud("azblob://b?sas-token-file=/s").sas_token_file, path("/s"));
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_is_repeated() {
        for (url, why) in [
            ("s3://", "no name"),
            ("s3:///prefix", "no name"),
            ("s3://user:hidden@b/p", "no credentials"),
            ("s3://b?secret-access-key=hidden", "no secrets"),
            ("s3://b?accessKey=hidden", "no secrets"),
            ("s3://b?sessionToken=hidden", "no secrets"),
            ("s3://b?colour=hidden", "no such parameter"),
            ("s3://b?hidden%2Fhidden%2Fhidden", "no such parameter"),
            ("s3://b?path-style=hidden", "true or false"),
            ("s3://b?endpoint=http://me:hidden@there", "without credentials"),
            ("s3://b?endpoint=ftp://hidden", "http://host:port"),
            ("s3://b?region=a&region=hidden", "twice"),
            ("s3://b/%2", "%"),
            ("s3://b/%ff", "%"),
            ("azblob://me:hidden@b", "no credentials"),
            ("azblob://b?sas-token=hidden", "no secrets"),
            ("azblob://b?storage-key=hidden", "no secrets"),
            ("azblob://b?client-secret=hidden", "no secrets"),
            ("azblob:///prefix", "azblob://container/prefix"),
            ("gs://b?region=hidden", "there are endpoint, credentials-file"),
            ("ftp://b", "s3://"),
        ] {
            let said = Address::parse(url).unwrap_err().to_string();
            assert!(said.contains(why), "{url}: {said}");
            assert!(!said.contains("hidden"), "{url}: {said}");
        }
    }
}
