//! The lost property office: from what a server of Google or Azure said to what a user can act on.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;
use windlass_mover::storage::StorageError;
use windlass_repo_format::id::BlobId;

use super::Provider;
use crate::patience::{Again, Refusal};

/// Longer texts of servers are cut.
const MESSAGE_CHARS_MAX: usize = 300;

/// A machine of the provider asks these who it is; elsewhere nobody answers.
const ROLE_HOSTS: [&str; 3] = ["metadata.google.internal", "169.254.169.254", "169.254.170.2"];

/// A server said no.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the server answered {status} {code}{}{message}", if message.is_empty() { "" } else { ": " })]
pub(super) struct Answered {
    host: String,
    status: u16,
    /// Azure's or Google's own word for it, or "".
    code: String,
    message: String,
    retry_after: Option<Duration>,
}

/// No answer came, or only a part of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the line to {host} broke")]
pub(super) struct Broken {
    pub(super) host: String,
    pub(super) source: Arc<dyn Error + Send + Sync>,
}

/// What was said, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; {advice}")]
struct Advised {
    problem: String,
    advice: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Answered {
    pub(super) fn new(host: &str, status: u16, headers: &HeaderMap, said: &[u8]) -> Self {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let said = String::from_utf8_lossy(said);
        let (code, message) = words(&said);
        let seconds = header("retry-after").and_then(|seconds| seconds.trim().parse::<u64>().ok());
        Self {
            host: host.to_owned(),
            status,
            code: header("x-ms-error-code").map_or(code, str::to_owned),
            message,
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds.min(60))),
        }
    }

    /// Whether the server may have done what it was asked for all the same.
    fn is_ambiguous(&self) -> bool {
        self.status >= 500
    }

    fn again(&self) -> Again {
        match (self.status, self.code.as_str()) {
            (429 | 503, _) | (_, "ServerBusy" | "SlowDown" | "rateLimitExceeded" | "userRateLimitExceeded") => {
                Again::SlowDown(self.retry_after)
            }
            (501 | 505 | 507, _) => Again::Never,
            (408 | 500..=599, _) | (_, "OperationTimedOut" | "ContainerBeingCreated") => Again::Soon,
            _ => Again::Never,
        }
    }

    fn error(self, doing: &'static str, place: String) -> StorageError {
        let about_bucket = ["ContainerNotFound", "NoSuchBucket", "ContainerBeingDeleted"];
        if about_bucket.contains(&self.code.as_str()) {
            return StorageError::NoBucket { place };
        }
        let (kind, advice) = match (self.status, self.code.as_str()) {
            (401, _)
            | (_, "AuthenticationFailed" | "InvalidAuthenticationInfo" | "invalid_grant" | "invalid_client") => (
                io::ErrorKind::PermissionDenied,
                "check the credentials, whether they have expired, and the clock of this machine",
            ),
            (_, "AuthorizationProtocolMismatch") => (io::ErrorKind::PermissionDenied, "these credentials want https"),
            (403, _) => (
                io::ErrorKind::PermissionDenied,
                "the credentials must be allowed to list the bucket, and to get, put and delete its objects",
            ),
            (507, _) | (_, "AccountQuotaExceeded" | "InsufficientStorage") => (io::ErrorKind::StorageFull, ""),
            (429 | 503, _) => (io::ErrorKind::ResourceBusy, "it has too much to do, or is starting"),
            (408 | 500..=599, _) => (io::ErrorKind::ConnectionReset, ""),
            (_, "BlobImmutableDueToPolicy") | (_, "retentionPolicyNotMet") => {
                (io::ErrorKind::Other, "the bucket keeps its objects for a time")
            }
            _ => (io::ErrorKind::Other, ""),
        };
        let source = if advice.is_empty() {
            io::Error::new(kind, self)
        } else {
            let problem = self.to_string();
            let source = None;
            io::Error::new(
                kind,
                Advised {
                    problem,
                    advice,
                    source,
                },
            )
        };
        match kind {
            io::ErrorKind::PermissionDenied => StorageError::Denied { doing, place, source },
            io::ErrorKind::StorageFull => StorageError::NoSpace { place, source },
            _ => StorageError::Io { doing, place, source },
        }
    }
}

/// What a call of a client met.
#[derive(Debug)]
pub(super) enum Failure {
    Answer(Answered),
    Line(Broken),
    /// The request could not be made, or the answer not be understood.
    Other(object_store::Error),
}

impl Failure {
    pub(super) fn of(error: object_store::Error) -> Self {
        if let Some(answered) = find::<Answered>(&error) {
            return Self::Answer(answered.clone());
        }
        if let Some(broken) = find::<Broken>(&error) {
            return Self::Line(broken.clone());
        }
        Self::Other(error)
    }

    /// The status of the answer, or 0.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer(answered) => answered.status,
            _ => 0,
        }
    }

    /// Whether a put that was to make the object met one that was there.
    pub(super) fn is_there_already(&self) -> bool {
        let Self::Answer(Answered { status, code, .. }) = self else {
            return false;
        };
        *status == 412 || (*status == 409 && code == "BlobAlreadyExists")
    }

    /// Whether the server may have done what it was asked for all the same.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Answer(answered) => answered.is_ambiguous(),
            Self::Line(_) => true,
            Self::Other(_) => false,
        }
    }

    /// The refusal, where a blob was asked for that may not be there.
    pub(super) fn refusal_of_blob(self, provider: Provider, doing: &'static str, place: &str, id: &BlobId) -> Refusal {
        match self {
            Self::Answer(ref answered) if answered.status == 404 => {
                let error = answered.clone().error(doing, place.to_owned());
                let is_bucket = matches!(error, StorageError::NoBucket { .. });
                let blob = id.clone();
                Refusal::last(if is_bucket {
                    error
                } else {
                    StorageError::NotFound { blob }
                })
            }
            other => other.refusal(provider, doing, place),
        }
    }

    /// The refusal of what was done to `place`.
    pub(super) fn refusal(self, provider: Provider, doing: &'static str, place: &str) -> Refusal {
        let place = place.to_owned();
        match self {
            Self::Answer(answered) if ROLE_HOSTS.contains(&answered.host.as_str()) => {
                no_credentials(provider, doing, place, Box::new(answered))
            }
            Self::Answer(answered) => Refusal {
                again: answered.again(),
                error: answered.error(doing, place),
            },
            Self::Line(broken) if ROLE_HOSTS.contains(&broken.host.as_str()) => {
                no_credentials(provider, doing, place, Box::new(broken))
            }
            Self::Line(broken) if find::<rustls::Error>(&broken).is_some_and(is_about_certificates) => {
                let source = Advised {
                    problem: "the server's certificate is not trusted".to_owned(),
                    advice: "name the certificates of its authority (ca-bundle=FILE)",
                    source: Some(Box::new(broken)),
                };
                let source = io::Error::new(io::ErrorKind::InvalidData, source);
                Refusal::last(StorageError::Io { doing, place, source })
            }
            Self::Line(broken) => {
                let source = Advised {
                    problem: "no answer came".to_owned(),
                    advice: "is the endpoint right, and can it be reached from here",
                    source: Some(Box::new(broken)),
                };
                let source = io::Error::new(io::ErrorKind::ConnectionReset, source);
                Refusal {
                    error: StorageError::Io { doing, place, source },
                    again: Again::Soon,
                }
            }
            Self::Other(error) => Refusal::last(StorageError::Io {
                doing,
                place,
                source: io::Error::other(error),
            }),
        }
    }
}

/// Where credentials are looked for.
pub(super) fn credentials_advice(provider: Provider) -> &'static str {
    match provider {
        Provider::Google => {
            "credentials are looked for in a file (credentials-file=...), in GOOGLE_APPLICATION_CREDENTIALS, in gcloud's \
             own file, and in the role of the machine"
        }
        Provider::Azure => {
            "credentials are looked for in files (account-key-file=..., sas-token-file=...), in AZURE_STORAGE_KEY, \
             AZURE_STORAGE_SAS_TOKEN, in AZURE_TENANT_ID and AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or \
             AZURE_FEDERATED_TOKEN_FILE, and in the role of the machine"
        }
    }
}

/// The client would not even be made.
pub(super) fn credentials_refused(provider: Provider, place: String, error: object_store::Error) -> StorageError {
    no_credentials(provider, "open", place, Box::new(error)).error
}

fn no_credentials(
    provider: Provider,
    doing: &'static str,
    place: String,
    source: Box<dyn Error + Send + Sync>,
) -> Refusal {
    let source = Advised {
        problem: "there are no credentials that can be used".to_owned(),
        advice: credentials_advice(provider),
        source: Some(source),
    };
    let source = io::Error::new(io::ErrorKind::PermissionDenied, source);
    Refusal::last(StorageError::Denied { doing, place, source })
}

fn is_about_certificates(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let below = || find(inner? as &(dyn Error + 'static));
        if let Some(found) = error.downcast_ref().or_else(below) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The code and the message of a complaint: XML of both, or Google's JSON.
fn words(said: &str) -> (String, String) {
    let said = said.trim_start_matches('\u{feff}').trim_start();
    if said.starts_with('{') {
        let said: Value = serde_json::from_str(said).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let error = &said["error"];
        let reason = text(&error["errors"][0]["reason"]).or_else(|| text(error));
        let message = text(&error["message"]).or_else(|| text(&said["error_description"]));
        return (reason.unwrap_or_default(), cut(&message.unwrap_or_default()));
    }
    let between = |name: &str| {
        let (_, behind) = said.split_once(&format!("<{name}>"))?;
        Some(behind.split_once("</")?.0)
    };
    let code = between("Code").unwrap_or_default().to_owned();
    (code, cut(between("Message").unwrap_or_default()))
}

/// The first line, if it is not too long: further ones tell times and numbers of requests, or what was signed.
fn cut(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &'static str)], said: &str) -> Refusal {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let answered = Answered::new("there", status, &headers, said.as_bytes());
        Failure::Answer(answered).refusal_of_blob(Provider::Azure, "read", "azblob://box/p1", &"p1".into())
    }

    fn said(refusal: &Refusal) -> String {
        let cause = refusal.error.source().map(ToString::to_string);
        format!("{}: {}", refusal.error, cause.unwrap_or_default())
    }

    #[test]
    fn complaints_of_both_are_understood() {
        let azure = "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to \
                     authenticate.\nRequestId:1</Message><AuthenticationErrorDetail>hidden</AuthenticationErrorDetail></Error>";
        let denied = refusal(403, &[], azure);
        assert!(matches!(denied.error, StorageError::Denied { .. }), "{denied:?}");
        let text = said(&denied);
        assert!(
            text.contains("403 AuthenticationFailed: Server failed to authenticate.; check"),
            "{text}"
        );
        assert!(!text.contains("hidden") && !text.contains("RequestId"), "{text}");
        let google = r#"{"error":{"code":403,"message":"no access","errors":[{"reason":"forbidden"}]}}"#;
        assert!(said(&refusal(403, &[], google)).contains("403 forbidden: no access; the credentials must"));
        let token = r#"{"error":"invalid_grant","error_description":"Invalid JWT"}"#;
        let denied = refusal(400, &[], token);
        assert!(matches!(denied.error, StorageError::Denied { .. }), "{denied:?}");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        let slow = refusal(503, &[("retry-after", "7")], "<Error><Code>ServerBusy</Code></Error>");
        assert_eq!(slow.again, Again::SlowDown(Some(Duration::from_secs(7))));
        assert_eq!(refusal(429, &[], "").again, Again::SlowDown(None));
        for status in [408, 500, 502, 504] {
            assert_eq!(refusal(status, &[], "").again, Again::Soon, "{status}");
        }
        for status in [400, 403, 501, 507] {
            assert_eq!(refusal(status, &[], "").again, Again::Never, "{status}");
        }
        let missing = refusal(404, &[("x-ms-error-code", "BlobNotFound")], "");
        assert!(matches!(missing.error, StorageError::NotFound { .. }), "{missing:?}");
        let gone = refusal(404, &[("x-ms-error-code", "ContainerNotFound")], "");
        assert!(matches!(gone.error, StorageError::NoBucket { .. }), "{gone:?}");
    }
}
