//! The passport control: whose certificates are believed, and the line on which they are shown.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::{RuntimeComponents, SharedHttpClient};
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use windlass_mover::storage::StorageError;

use super::S3Options;

const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Whose certificates are believed, of those who speak for a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust<'a> {
    /// A file of PEM certificates that are believed besides the system's.
    pub ca_bundle: Option<&'a Path>,
    /// Believes any certificate.
    pub skip_verify: bool,
}

/// Makes lines to servers.
#[derive(Clone, Debug)]
pub(crate) enum Lines {
    /// Any certificate is believed.
    Believing(Believing),
    /// The system's certificates and those of the bundle are.
    Checking {
        /// Those.
        context: TlsContext,
        /// Who stands between, by the environment.
        proxy: ProxyConfig,
    },
}

impl Lines {
    /// Lines to the servers at `place`.
    pub(crate) fn new(trust: Trust<'_>, place: &str) -> Result<Self, StorageError> {
        if trust.skip_verify {
            return Ok(Self::Believing(Believing::new()));
        }
        let mut trusted = TrustStore::default();
        if let Some(bundle) = trust.ca_bundle {
            trusted = trusted.with_pem_certificate(checked_bundle(bundle)?);
        }
        let context = TlsContext::builder().with_trust_store(trusted).build();
        let context = context.map_err(|source| StorageError::Io {
            doing: "prepare TLS for",
            place: place.to_owned(),
            source: io::Error::other(source),
        })?;
        let proxy = ProxyConfig::from_env();
        Ok(Self::Checking { context, proxy })
    }

    /// A line, with what the client around it wants of it.
    pub(crate) fn connector(
        &self,
        settings: Option<HttpConnectorSettings>,
        components: Option<&RuntimeComponents>,
    ) -> SharedHttpConnector {
        match self {
            Self::Believing(believing) => SharedHttpConnector::new(believing.clone()),
            Self::Checking { context, proxy } => {
                SharedHttpConnector::new(checking(context, proxy, settings, components))
            }
        }
    }
}

fn checking(
    context: &TlsContext,
    proxy: &ProxyConfig,
    settings: Option<HttpConnectorSettings>,
    components: Option<&RuntimeComponents>,
) -> Connector {
    let mut connector = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context.clone())
        .proxy_config(proxy.clone());
    connector.set_connector_settings(settings);
    connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
    connector.build()
}

/// A client that believes the system's certificates and those of the bundle, or any.
pub(super) fn http_client(options: &S3Options) -> Result<SharedHttpClient, StorageError> {
    let of_environment = || {
        std::env::var_os("AWS_CA_BUNDLE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let bundle = options.ca_bundle.clone().or_else(of_environment);
    let trust = Trust {
        ca_bundle: bundle.as_deref(),
        skip_verify: options.skip_verify,
    };
    Ok(match Lines::new(trust, &options.location())? {
        Lines::Believing(believing) => http_client_fn(move |_: &HttpConnectorSettings, _: &RuntimeComponents| {
            SharedHttpConnector::new(believing.clone())
        }),
        Lines::Checking { context, proxy } => Builder::new().build_with_connector_fn(move |settings, components| {
            checking(&context, &proxy, settings.cloned(), components)
        }),
    })
}

/// The bytes of a bundle; the client would panic over what is wrong in them.
fn checked_bundle(file: &Path) -> Result<Vec<u8>, StorageError> {
    let failed = |source| StorageError::Io {
        doing: "read the certificates in",
        place: file.display().to_string(),
        source,
    };
    let invalid = |why: String| failed(io::Error::new(io::ErrorKind::InvalidData, why));
    let bytes = std::fs::read(file).map_err(failed)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| invalid(format!("no PEM: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(invalid("there is no certificate in it".to_owned()));
    }
    Ok(bytes)
}

/// A client that believes any certificate: the provider's own can not be told to. It asks no proxy.
#[derive(Clone, Debug)]
pub(crate) struct Believing(Client<HttpsConnector<Tcp>, SdkBody>);

impl Believing {
    fn new() -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("this provider speaks the versions that are safe")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let mut tcp = Tcp::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self(client)
    }
}

impl HttpConnector for Believing {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let answer = client
                .request(request)
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Checks only that the server owns the key of the certificate it shows, whatever certificate that is.
struct AnyCertificate(Arc<CryptoProvider>);

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        for bytes in [
            "",
            "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&file, bytes).unwrap();
            let error = checked_bundle(&file).unwrap_err();
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
        let error = checked_bundle(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("certificates in"), "{error}");
    }
}
