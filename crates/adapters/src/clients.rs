//! One client a service, and the configuration that all share.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls;

pub use aws_sdk_cloudwatch::Client as CloudWatchClient;
pub use aws_sdk_elasticloadbalancingv2::Client as LoadBalancingClient;
pub use aws_sdk_route53::Client as Route53Client;
pub use aws_sdk_sfn::Client as StepFunctionsClient;
pub use aws_sdk_ssm::Client as ParametersClient;

use crate::replies::WholeReplies;

/// Tries of one call. The SDK waits between them, longer each time and with jitter, for throttles
/// as well: `PriorRequestNotComplete` and `Throttling` are over within seconds.
const ATTEMPTS_MAX: u32 = 5;

/// Region, credentials and endpoint from the environment. With `AWS_ENDPOINT_URL=http://…` the
/// same client speaks plain http.
///
/// TLS is by ring: aws-lc-rs spends about 32 ms of CPU in its first handshake.
pub async fn sdk_config() -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .load()
        .await
}

/// For [`Route53`](crate::Route53) and [`zone`](crate::zone).
#[must_use]
pub fn route53(config: &SdkConfig) -> Route53Client {
    let config = aws_sdk_route53::config::Builder::from(config).interceptor(WholeReplies);
    Route53Client::from_conf(config.build())
}

/// For [`CloudWatch`](crate::CloudWatch).
#[must_use]
pub fn cloudwatch(config: &SdkConfig) -> CloudWatchClient {
    let config = aws_sdk_cloudwatch::config::Builder::from(config).interceptor(WholeReplies);
    CloudWatchClient::from_conf(config.build())
}

/// For [`Targets`](crate::Targets).
#[must_use]
pub fn load_balancing(config: &SdkConfig) -> LoadBalancingClient {
    let config =
        aws_sdk_elasticloadbalancingv2::config::Builder::from(config).interceptor(WholeReplies);
    LoadBalancingClient::from_conf(config.build())
}

/// For [`parameters`](crate::parameters).
#[must_use]
pub fn parameters(config: &SdkConfig) -> ParametersClient {
    let config = aws_sdk_ssm::config::Builder::from(config).interceptor(WholeReplies);
    ParametersClient::from_conf(config.build())
}

/// For [`executions`](crate::executions).
#[must_use]
pub fn step_functions(config: &SdkConfig) -> StepFunctionsClient {
    let config = aws_sdk_sfn::config::Builder::from(config).interceptor(WholeReplies);
    StepFunctionsClient::from_conf(config.build())
}
