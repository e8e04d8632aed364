//! One client a service, and the configuration that all share.

use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_route53::config::SharedCredentialsProvider;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};

pub use aws_sdk_cloudwatch::Client as CloudWatchClient;
pub use aws_sdk_elasticloadbalancingv2::Client as LoadBalancingClient;
pub use aws_sdk_route53::Client as Route53Client;
pub use aws_sdk_sfn::Client as StepFunctionsClient;
pub use aws_sdk_ssm::Client as ParametersClient;

use crate::replies::WholeReplies;

/// Tries of one call. The SDK waits between them, longer each time and with jitter, for throttles
/// as well: `PriorRequestNotComplete` and `Throttling` are over within seconds.
const ATTEMPTS_MAX: u32 = 5;

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// The environment variable with the role to assume for Route 53. Empty or missing where the zone lives in
/// the functions' own account.
const HOSTED_ZONE_ROLE: &str = "HOSTED_ZONE_ROLE_ARN";
/// The name by which the other account's CloudTrail knows who changed its zone.
const SESSION: &str = "cutover";

/// What the clients are made from.
#[derive(Clone, Debug)]
pub struct Config {
    own: SdkConfig,
    /// The same with the credentials of the zone's account.
    zone: SdkConfig,
}

impl Config {
    /// The configuration of all clients, and the role that the one for Route 53 assumes, if any: once it
    /// is first used, and again when its credentials run out.
    pub async fn new(own: SdkConfig, hosted_zone_role_arn: Option<&str>) -> Self {
        let zone = match hosted_zone_role_arn.filter(|arn| !arn.is_empty()) {
            None => own.clone(),
            Some(arn) => {
                let role = AssumeRoleProvider::builder(arn).session_name(SESSION).configure(&own);
                let role = SharedCredentialsProvider::new(role.build().await);
                // One for all clients: validation makes a new one each time.
                let cache = IdentityCache::lazy().build();
                own.to_builder().credentials_provider(role).identity_cache(cache).build()
            }
        };
        Self { own, zone }
    }
}

/// Region, credentials and endpoint from the environment, and the role for the zone. With
/// `AWS_ENDPOINT_URL=http://…` the same client speaks plain http.
///
/// Lambda sets both. The chains of providers that the SDK takes otherwise build clients of STS and of the instance
/// metadata service before the first call, for nothing.
pub async fn sdk_config() -> Config {
    // Half of a cold start's instructions read the root certificates: a thread does so while this one goes on.
    // Without that thread, or before it is done, the first call waits for them.
    let connector = Arc::new(LazyLock::new(connector));
    let early = connector.clone();
    drop(thread::Builder::new().spawn(move || LazyLock::force(&early).clone()));
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build();
    let own = aws_config::defaults(BehaviorVersion::latest())
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .http_client(http_client_fn(move |_, _| LazyLock::force(&connector).clone()))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .load()
        .await;
    Config::new(own, std::env::var(HOSTED_ZONE_ROLE).ok().as_deref()).await
}

/// Opens the connections of all clients, and trusts the system's root certificates.
///
/// The SDK's own HTTP client parses all root certificates again for each client of a service, and once more for
/// the first call.
///
/// TLS is by ring: aws-lc-rs spends about 32 ms of CPU in its first handshake.
fn connector() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_MAX).build();
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let connector = Connector::builder().connector_settings(settings).tls_provider(ring).build();
    SharedHttpConnector::new(connector)
}

/// For [`Route53`](crate::Route53): in the account of the zone.
#[must_use]
pub fn route53(config: &Config) -> Route53Client {
    let config = aws_sdk_route53::config::Builder::from(&config.zone).interceptor(WholeReplies);
    Route53Client::from_conf(config.build())
}

/// For [`CloudWatch`](crate::CloudWatch).
#[must_use]
pub fn cloudwatch(config: &Config) -> CloudWatchClient {
    let config = aws_sdk_cloudwatch::config::Builder::from(&config.own).interceptor(WholeReplies);
    CloudWatchClient::from_conf(config.build())
}

/// For [`Targets`](crate::Targets).
#[must_use]
pub fn load_balancing(config: &Config) -> LoadBalancingClient {
    let config = aws_sdk_elasticloadbalancingv2::config::Builder::from(&config.own)
        .interceptor(WholeReplies);
    LoadBalancingClient::from_conf(config.build())
}

/// For [`parameters`](crate::parameters).
#[must_use]
pub fn parameters(config: &Config) -> ParametersClient {
    let config = aws_sdk_ssm::config::Builder::from(&config.own).interceptor(WholeReplies);
    ParametersClient::from_conf(config.build())
}

/// For [`executions`](crate::executions).
#[must_use]
pub fn step_functions(config: &Config) -> StepFunctionsClient {
    let config = aws_sdk_sfn::config::Builder::from(&config.own).interceptor(WholeReplies);
    StepFunctionsClient::from_conf(config.build())
}
