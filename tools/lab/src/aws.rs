//! SDK clients for the emulator.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, SharedCredentialsProvider};

/// The region of everything in the lab.
pub const REGION: &str = "us-east-1";

/// A configuration that leads to `endpoint` and nowhere else.
///
/// It is built by hand and not loaded, so that neither the environment nor the profile of the
/// user has a say: a lab must never reach a real account. Its connections belong to the async
/// runtime that uses them first, so every test makes its own.
#[must_use]
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "lab");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .build()
}

/// A client for S3, which by default puts the bucket into the host name, and the emulator has no
/// names. Nor are checksums of any use on loopback: a debug build spends seconds on those of an
/// executable.
#[must_use]
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
