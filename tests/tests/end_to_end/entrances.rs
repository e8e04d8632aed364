//! What is found before the first user is sent to the new side.

use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Certificate, ProtocolEnum};
use lab::proxy::{Effect, Rule, RuleHandle};
use lab::world::{Cluster, Groups};
use serde_json::{Value, json};
use tests::{Case, Given};

use crate::world::refused;

/// The answer to `DescribeListenerCertificates`, which the emulator does not know.
macro_rules! certificate {
    ($id:literal) => {
        concat!(
            "<DescribeListenerCertificatesResponse><DescribeListenerCertificatesResult><Certificates><member>",
            "<CertificateArn>arn:aws:acm:us-east-1:000000000000:certificate/", $id, "</CertificateArn>",
            "<IsDefault>true</IsDefault></member></Certificates></DescribeListenerCertificatesResult>",
            "</DescribeListenerCertificatesResponse>"
        )
    };
}

const ONE: Effect = Effect::Reply { status: 200, body: certificate!("one") };
const ANOTHER: Effect = Effect::Reply { status: 200, body: certificate!("another") };

pub fn waits_for(code: &str) -> (String, Vec<String>) {
    ("NotReady".to_owned(), vec![code.to_owned()])
}

fn refuses(code: &str) -> (String, Vec<String>) {
    ("InvalidInput".to_owned(), vec![code.to_owned()])
}

/// Lets a side listen for TLS as well, with a certificate as long as the rule is in force.
async fn listen(case: &Case, side: &Cluster, certificate: &Effect) -> RuleHandle {
    let client = aws_sdk_elasticloadbalancingv2::Client::new(case.config());
    let balancers = client.describe_load_balancers().names(format!("k8s-{}", side.name));
    let balancers = balancers.send().await.expect("listed");
    let forward = Action::builder().r#type(ActionTypeEnum::Forward);
    let listener = client
        .create_listener()
        .set_load_balancer_arn(balancers.load_balancers()[0].load_balancer_arn.clone())
        .protocol(ProtocolEnum::Https)
        .port(443)
        .certificates(Certificate::builder().certificate_arn("arn:any").build())
        .default_actions(forward.target_group_arn(side.target_group_arn()).build())
        .send()
        .await
        .expect("created");
    let arn = listener.listeners()[0].listener_arn().expect("an ARN");
    let (_, id) = arn.rsplit_once('/').expect("an id");
    let rule = Rule::on("DescribeListenerCertificates", certificate.clone()).containing(id);
    case.proxy().rule(rule)
}

/// The codes of the warnings with which a request is accepted.
pub async fn warnings(case: &Case, request: &Value) -> Vec<String> {
    let warnings = case.accepted(request).await.warnings;
    warnings.into_iter().map(|warning| warning.code).collect()
}

#[tokio::test]
async fn a_new_side_must_listen_where_the_old_one_does_and_other_certificates_are_said() {
    let case = Given::default().case().await;
    let request = case.request();
    let of_old = listen(&case, &case.world.old, &ONE).await;
    assert_eq!(refused(&case, &request).await, waits_for("not_answered"));
    let of_new = listen(&case, case.new_side(), &ANOTHER).await;
    let other = "other_certificates".to_owned();
    assert!(warnings(&case, &request).await.contains(&other));
    assert!(of_old.hits() > 0 && of_new.hits() > 0);
    drop(of_new);
    let certificates = Rule::on("DescribeListenerCertificates", ONE);
    let _same =
        case.proxy().rule(certificates.containing(&format!("k8s-{}%2F", case.new_side().name)));
    assert!(!warnings(&case, &request).await.contains(&other));
}

#[tokio::test]
async fn a_host_name_that_would_get_a_fixed_answer_is_waited_for() {
    let case = Given { routes: 2, groups: Groups::EachHost, ..Given::default() }.case().await;
    assert!(!warnings(&case, &case.request()).await.contains(&"shared_counts".to_owned()));
    let rules = case.world.rules(case.new_side()).await.expect("its rules");
    rules.rename(case.route(), "elsewhere.test").await.expect("renamed");
    assert_eq!(refused(&case, &case.request()).await, waits_for("not_answered"));
}

#[tokio::test]
async fn load_balancers_out_of_the_functions_reach_are_a_warning_of_a_probe() {
    // What servers answer is not played here: a probe goes to ports 443 or 80, which only root may listen on.
    let case = Given::default().case().await;
    let mut request = case.request();
    request["probe"] = json!({"path": "/healthz", "count": 1});
    assert!(warnings(&case, &request).await.contains(&"probe_out_of_reach".to_owned()));
}

#[tokio::test]
async fn records_of_a_traffic_policy_are_refused() {
    let case = Given::default().case().await;
    let managed = Effect::Reword {
        text: "<Weight>",
        by: "<TrafficPolicyInstanceId>7b9f</TrafficPolicyInstanceId><Weight>",
    };
    let managed = Rule::on("ListResourceRecordSets", managed).containing(&case.world.zone.id);
    let _managed = case.proxy().rule(managed);
    let (error, codes) = refused(&case, &case.request()).await;
    assert_eq!(error, "InvalidInput");
    assert!(codes.contains(&"traffic_policy_record".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn a_ramp_that_cannot_be_judged_is_refused_and_one_with_few_requests_warned_about() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["health"]["requests_min"] = json!(100_000);
    assert!(warnings(&case, &request).await.contains(&"thin_step".to_owned()));
    request["ramp"][0]["bake_s"] = json!(0);
    request["health"]["hold_max_s"] = json!(0);
    assert_eq!(refused(&case, &request).await, refuses("never_judged"));
}
