//! The door to the server: who we are, where it is, and how the line is kept.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use windlass_mover::storage::StorageError;

use super::S3Options;
use super::encryption::WithoutEchoes;
use super::times::ServerClock;
use super::trust;

/// Where a bucket is unless anybody says otherwise, as all tools have it.
const DEFAULT_REGION: &str = "us-east-1";

/// A client for the bucket. Credentials are looked for when they are first needed, and again before they expire.
pub(super) async fn connect(options: &S3Options, clock: &ServerClock) -> Result<Client, StorageError> {
    let files = profile_files(options);
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).profile_files(files.clone());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    let client = trust::http_client(options)?;
    if !options.skip_verify {
        // The services that give credentials out stand behind the same certificates. What is not believed for the
        // bucket is not believed for them either.
        loader = loader.http_client(client.clone());
    }
    let is_named = options.profile.is_some() || options.credentials_file.is_some() || options.config_file.is_some();
    if is_named {
        // Who names a profile or a file means it, whatever the environment says.
        let around = ProviderConfig::without_region().with_region(options.region.clone().map(Region::new));
        let around = if options.skip_verify {
            around
        } else {
            around.with_http_client(client.clone())
        };
        let mut named = ProfileFileCredentialsProvider::builder()
            .configure(&around)
            .profile_files(files.clone());
        if let Some(profile) = &options.profile {
            named = named.profile_name(profile);
        }
        loader = loader.credentials_provider(named.build());
    }
    let shared = loader.region(region(options, files)).load().await;
    let path_style = options.path_style.unwrap_or(options.endpoint.is_some());
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .http_client(client)
        .interceptor(clock.clone())
        .interceptor(WithoutEchoes)
        .force_path_style(path_style)
        // Many servers know no checksums, and what Windlass reads it checks by itself.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Tries, silence and progress are counted here, in one place for all providers.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(10))
                .build(),
        );
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    if shared.region().is_none() {
        config = config.region(Region::from_static(DEFAULT_REGION));
    }
    Ok(Client::from_conf(config.build()))
}

fn profile_files(options: &S3Options) -> EnvConfigFiles {
    let kinds = [
        (EnvConfigFileKind::Config, &options.config_file),
        (EnvConfigFileKind::Credentials, &options.credentials_file),
    ];
    let mut files = EnvConfigFiles::builder();
    for (kind, file) in kinds {
        files = match (kind, file) {
            (kind, Some(file)) => files.with_file(kind, file),
            (EnvConfigFileKind::Config, None) => files.include_default_config_file(true),
            (_, None) => files.include_default_credentials_file(true),
        };
    }
    files.build()
}

/// A machine of AWS knows its region; a server of one's own does not ask for one.
fn region(options: &S3Options, files: EnvConfigFiles) -> RegionProviderChain {
    let said = RegionProviderChain::first_try(options.region.clone().map(Region::new));
    if options.endpoint.is_none() && options.profile.is_none() && options.config_file.is_none() {
        return said.or_default_provider().or_else(Region::from_static(DEFAULT_REGION));
    }
    let mut of_profile = ProfileFileRegionProvider::builder().profile_files(files);
    if let Some(profile) = &options.profile {
        of_profile = of_profile.profile_name(profile);
    }
    said.or_else(EnvironmentVariableRegionProvider::new())
        .or_else(of_profile.build())
        .or_else(Region::from_static(DEFAULT_REGION))
}
