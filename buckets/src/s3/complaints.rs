//! The grievance office: from what the server or the line said to what a user can act on.

use std::error::Error;
use std::io;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use windlass_mover::storage::StorageError;
use windlass_repo_format::id::BlobId;

use crate::patience::{Again, Refusal};

/// What one request met.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no.
    Answer {
        status: u16,
        code: String,
        message: String,
        retry_after: Option<Duration>,
    },
    /// No answer, or none that could be read.
    Line(Box<dyn Error + Send + Sync>),
    /// The request could not be made: no credentials, or options that contradict each other.
    Request(Box<dyn Error + Send + Sync>),
}

/// What a server said, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status} {code}{}{message}{}{advice}", if message.is_empty() { "" } else { ": " }, if advice.is_empty() { "" } else { "; " })]
struct Answered {
    status: u16,
    code: String,
    message: String,
    advice: &'static str,
}

/// What kept a request from an answer, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; {advice}")]
struct Unanswered {
    problem: &'static str,
    advice: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    pub(super) fn of<E>(error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(refused) => {
                let headers = refused.raw().headers();
                let retry_after = headers.get("retry-after").and_then(|seconds| seconds.parse().ok());
                let status = refused.raw().status().as_u16();
                Self::Answer {
                    status,
                    code: refused
                        .err()
                        .code()
                        .map_or_else(|| name(status).to_owned(), str::to_owned),
                    message: match (refused.err().message(), refused.err().source()) {
                        (Some(message), _) => message.to_owned(),
                        // The answer could not be understood; says what of it.
                        (None, Some(cause)) if status < 300 => cause.to_string(),
                        (None, _) => String::new(),
                    },
                    retry_after: retry_after.map(|seconds: u64| Duration::from_secs(seconds.min(60))),
                }
            }
            SdkError::ResponseError(unread) => {
                let status = unread.raw().status().as_u16();
                match status {
                    200..=299 => Self::Line(Box::new(SdkError::<E, HttpResponse>::ResponseError(unread))),
                    _ => Self::Answer {
                        status,
                        code: name(status).to_owned(),
                        message: String::new(),
                        retry_after: None,
                    },
                }
            }
            SdkError::ConstructionFailure(_) => Self::Request(Box::new(error)),
            SdkError::DispatchFailure(ref failed) if failed.is_user() => Self::Request(Box::new(error)),
            _ if mentions(&error, is_about_credentials) => Self::Request(Box::new(error)),
            _ => Self::Line(Box::new(error)),
        }
    }

    /// The server's own word for it, or "".
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Answer { code, .. } => code,
            _ => "",
        }
    }

    /// The status of the answer, or 0.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer { status, .. } => *status,
            _ => 0,
        }
    }

    /// Whether the server may have done what it was asked for all the same.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Answer { status, .. } => *status >= 500,
            Self::Line(_) => true,
            Self::Request(_) => false,
        }
    }

    /// The refusal, where a blob was asked for that may not be there.
    pub(super) fn refusal_of_blob(self, doing: &'static str, place: &str, id: &BlobId) -> Refusal {
        if self.status() == 404 && self.code() != "NoSuchBucket" {
            return Refusal::last(StorageError::NotFound { blob: id.clone() });
        }
        self.refusal(doing, place)
    }

    /// The refusal of what was done to `place`.
    pub(super) fn refusal(self, doing: &'static str, place: &str) -> Refusal {
        let place = place.to_owned();
        match self {
            Self::Answer {
                status,
                code,
                message,
                retry_after,
            } => {
                let again = again(status, &code, retry_after);
                let error = answered(doing, place, status, code, message);
                Refusal { error, again }
            }
            Self::Request(source) => {
                let source = Unanswered {
                    problem: "the request could not be made",
                    advice: "credentials are looked for in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the shared \
                             files (profile=...), and in the role of the machine",
                    source,
                };
                let source = io::Error::new(io::ErrorKind::PermissionDenied, source);
                Refusal::last(StorageError::Denied { doing, place, source })
            }
            Self::Line(source) if mentions(&*source, is_about_certificates) => {
                let source = Unanswered {
                    problem: "the server's certificate is not trusted",
                    advice: "name the certificates of its authority (ca-bundle=FILE)",
                    source,
                };
                let source = io::Error::new(io::ErrorKind::InvalidData, source);
                Refusal::last(StorageError::Io { doing, place, source })
            }
            Self::Line(source) => {
                let source = Unanswered {
                    problem: "no answer came",
                    advice: "is the endpoint right, and can it be reached from here",
                    source,
                };
                let source = io::Error::new(io::ErrorKind::ConnectionReset, source);
                Refusal {
                    error: StorageError::Io { doing, place, source },
                    again: Again::Soon,
                }
            }
        }
    }
}

fn again(status: u16, code: &str, retry_after: Option<Duration>) -> Again {
    match (status, code) {
        (_, "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequests")
        | (429 | 503, _) => Again::SlowDown(retry_after),
        (507, _) => Again::Never,
        (500..=599, code) if code != "NotImplemented" => Again::Soon,
        (408, _) => Again::Soon,
        (_, "RequestTimeout" | "ConditionalRequestConflict" | "OperationAborted") => Again::Soon,
        _ => Again::Never,
    }
}

fn answered(doing: &'static str, place: String, status: u16, code: String, message: String) -> StorageError {
    if code == "NoSuchBucket" {
        return StorageError::NoBucket { place };
    }
    let (kind, advice) = match (status, code.as_str()) {
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidClientTokenId") => (
            io::ErrorKind::PermissionDenied,
            "check the access key and its secret, and which profile they come from",
        ),
        (_, "ExpiredToken" | "ExpiredTokenException") => (
            io::ErrorKind::PermissionDenied,
            "the session has ended: get new credentials",
        ),
        (_, "RequestTimeTooSkewed") => (io::ErrorKind::Other, "set the clock of this machine"),
        (301 | 307, _)
        | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") => {
            (io::ErrorKind::Other, "the bucket is in another region: give region=...")
        }
        (401 | 403, _) => (
            io::ErrorKind::PermissionDenied,
            "the credentials must be allowed to list the bucket, and to get, put and delete its objects",
        ),
        (507, _) | (_, "QuotaExceeded" | "InsufficientStorage") => (io::ErrorKind::StorageFull, ""),
        (429 | 503, _) | (_, "SlowDown") => (io::ErrorKind::ResourceBusy, "it has too much to do, or is starting"),
        (408 | 500..=599, _) => (io::ErrorKind::ConnectionReset, ""),
        _ => (io::ErrorKind::Other, ""),
    };
    let answered = Answered {
        status,
        code,
        message,
        advice,
    };
    let source = io::Error::new(kind, answered);
    match kind {
        io::ErrorKind::PermissionDenied => StorageError::Denied { doing, place, source },
        io::ErrorKind::StorageFull => StorageError::NoSpace { place, source },
        _ => StorageError::Io { doing, place, source },
    }
}

/// What a status means where the server says nothing more.
fn name(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        412 => "PreconditionFailed",
        429 => "TooManyRequests",
        500 => "InternalError",
        501 => "NotImplemented",
        503 => "ServiceUnavailable",
        _ => "without a reason",
    }
}

fn mentions(error: &(dyn Error + 'static), what: fn(&(dyn Error + 'static)) -> bool) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if what(error) || inner.is_some_and(|inner| mentions(inner, what)) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_about_certificates(error: &(dyn Error + 'static)) -> bool {
    matches!(
        error.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}

fn is_about_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<aws_credential_types::provider::error::CredentialsError>()
}
