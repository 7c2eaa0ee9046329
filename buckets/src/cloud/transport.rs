//! The line to Google's and Azure's servers: the same client of HTTP and the same certificates as for S3.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat, SdkBody};
use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest as LineRequest;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::complaints::{Answered, Broken};
use crate::s3::trust::Lines;

const CONNECT_MAX: Duration = Duration::from_secs(10);

/// More of an answer that says no is not read.
const COMPLAINT_LEN_MAX: usize = 64 << 10;

/// When the object was put, as the answer to a put says in its head; left in the answer's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastModified(pub(super) Timestamp);

/// A line. What is no success is an error with what was said: [`Answered`]; so is a broken line: [`Broken`].
#[derive(Clone, Debug)]
pub(super) struct Line(SharedHttpConnector);

impl Line {
    pub(super) fn new(lines: &Lines) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_MAX).build();
        Self(lines.connector(Some(settings), None))
    }
}

impl HttpConnector for Line {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Line {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let broke = |source: Arc<dyn Error + Send + Sync>| {
            let host = host.clone();
            HttpError::new(HttpErrorKind::Interrupted, Broken { host, source })
        };
        let request = LineRequest::try_from(request.map(SdkBody::from_body_1_x));
        let request = request.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let answer = self.0.call(request).await.map_err(|error| broke(Arc::new(error)))?;
        let answer = answer.try_into_http1x().map_err(|error| broke(Arc::new(error)))?;
        let (mut head, body) = answer.into_parts();
        if !head.status.is_success() {
            let said = beginning(body).await;
            let answered = Answered::new(&host, head.status.as_u16(), &head.headers, &said);
            return Err(HttpError::new(HttpErrorKind::Unknown, answered));
        }
        let modified = head.headers.get("last-modified").and_then(|date| {
            let date = DateTime::from_str(date.to_str().ok()?, DateTimeFormat::HttpDate).ok()?;
            Timestamp::from_second(date.secs()).ok()
        });
        if let Some(modified) = modified {
            head.extensions.insert(LastModified(modified));
        }
        let body = body.map_err(move |source| {
            let (host, source) = (host.clone(), Arc::from(source));
            HttpError::new(HttpErrorKind::Interrupted, Broken { host, source })
        });
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

/// What came of a body before it was too long or the line broke.
async fn beginning(body: SdkBody) -> Bytes {
    let mut body = Limited::new(body, COMPLAINT_LEN_MAX);
    let mut got = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            got.extend_from_slice(data);
        }
    }
    got.freeze()
}
