//! Which credentials each client uses.

use std::sync::{Arc, Mutex, PoisonError};

use adapters::clients::{self, Config};
use adapters::{Route53, Splits};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_route53::config::Credentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use cutover_core::{Failure, Sides};

const ROLE: &str = "arn:aws:iam::210987654321:role/cutover-zone";

/// Answers STS, and says of every call who made it: the access key, and the form that was sent.
#[derive(Clone, Debug, Default)]
struct Aws {
    sts: Sts,
    calls: Arc<Mutex<Vec<(String, String)>>>,
}

/// What STS answers.
#[derive(Clone, Copy, Debug, Default)]
enum Sts {
    #[default]
    Credentials,
    /// An error of this HTTP status and code, about this.
    Error(u16, &'static str, &'static str),
    /// A reply of this HTTP status that is none.
    Unreadable(u16),
    /// No reply.
    Lost,
    /// None in time.
    Late,
}

impl Aws {
    async fn config(&self, role: Option<&str>) -> Config {
        let connector = SharedHttpConnector::new(self.clone());
        let own = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("OWN", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .load();
        Config::new(own.await, role).await
    }

    fn calls(&self) -> Vec<(String, String)> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let signed = request.headers().get("authorization").unwrap_or_default();
        let key = signed.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
        let form = String::from_utf8_lossy(request.body().bytes().unwrap_or_default());
        let call = (key.unwrap_or_default().to_owned(), form.clone().into_owned());
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let (status, body) = match (form.contains("Action=AssumeRole"), self.sts) {
            // What the service says is of no interest here.
            (false, _) => (400, String::new()),
            (true, Sts::Credentials) => (200, ASSUMED.to_owned()),
            (true, Sts::Error(status, code, message)) => (
                status,
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                     <Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
                ),
            ),
            (true, Sts::Unreadable(status)) => (status, "<html>".to_owned()),
            (true, Sts::Lost) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::io("reset by peer".into())));
            }
            (true, Sts::Late) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::timeout("slow".into())));
            }
        };
        let status = StatusCode::try_from(status).expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

const ASSUMED: &str = "<AssumeRoleResponse><AssumeRoleResult>\
    <AssumedRoleUser><AssumedRoleId>R:cutover</AssumedRoleId>\
    <Arn>arn:aws:sts::210987654321:assumed-role/cutover-zone/cutover</Arn></AssumedRoleUser>\
    <Credentials><AccessKeyId>ZONE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
    <SessionToken>token</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
    </AssumeRoleResult></AssumeRoleResponse>";
const NOT_AUTHORIZED: &str = "not authorized to perform: sts:AssumeRole";

/// Asks Route 53 and CloudWatch something.
async fn ask(config: &Config) {
    drop(clients::route53(config).get_change().id("C1").send().await);
    drop(clients::cloudwatch(config).describe_alarms().send().await);
}

#[tokio::test]
async fn route_53_alone_is_asked_with_the_role_of_the_zones_account_which_is_assumed_once() {
    let aws = Aws::default();
    let config = aws.config(Some(ROLE)).await;
    assert!(aws.calls().is_empty(), "a cold start must not wait for it");
    ask(&config).await;
    ask(&config).await;
    let calls = aws.calls();
    let keys: Vec<&str> = calls.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["OWN", "ZONE", "OWN", "ZONE", "OWN"], "{calls:?}");
    let assume = &calls[0].1;
    assert!(assume.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A210987654321%3Arole%2Fcutover-zone"));
    assert!(assume.contains("RoleSessionName=cutover"), "{assume}");
}

#[tokio::test]
async fn without_a_role_nothing_is_assumed() {
    for role in [None, Some("")] {
        let aws = Aws::default();
        ask(&aws.config(role).await).await;
        let keys: Vec<String> = aws.calls().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["OWN", "OWN"], "{role:?}");
    }
}

/// The failure of a call of Route 53 when STS answers so.
async fn failure(sts: Sts) -> Failure {
    let config = Aws { sts, ..Aws::default() }.config(Some(ROLE)).await;
    let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
    let route53 = Route53::new(clients::route53(&config), "Z1", sides);
    route53.is_live(&["C1".to_owned()]).await.expect_err("it has no credentials")
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_a_refusal_with_what_sts_said() {
    let failure = failure(Sts::Error(403, "AccessDenied", NOT_AUTHORIZED)).await;
    assert_eq!(failure.name(), "Refused");
    let said = failure.to_string();
    for part in ["GetChange", "HostedZoneRoleArn was not assumed: AccessDenied: ", NOT_AUTHORIZED] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[tokio::test]
async fn only_what_sts_refuses_for_good_is_a_refusal() {
    for (sts, name) in [
        (Sts::Error(400, "ValidationError", "arn:aws:iam::1:role/x is invalid"), "Refused"),
        (Sts::Error(403, "RegionDisabledException", "STS is not activated"), "Refused"),
        (Sts::Error(400, "Throttling", "Rate exceeded"), "Unreachable"),
        (Sts::Error(500, "InternalFailure", "oops"), "Unreachable"),
        (Sts::Error(503, "Anything", "later"), "Unreachable"),
        (Sts::Unreadable(403), "Unreachable"),
        (Sts::Lost, "Unreachable"),
        (Sts::Late, "Unreachable"),
    ] {
        let failure = failure(sts).await;
        assert_eq!(failure.name(), name, "{sts:?}: {failure}");
    }
}
