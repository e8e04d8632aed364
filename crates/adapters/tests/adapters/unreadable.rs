//! Replies that cannot be read, of every service and to every call: HTML, nothing, a part of the reply, with the
//! status of a success or of an error. Something between us and AWS sends them; the next try may be fine.

use adapters::router::route53::zone::{find_zone, records};
use adapters::{
    Alarms, Capacity, CloudWatch, Route53, Router, Splits, Targets, Telemetry, executions,
    parameters,
};
use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsInput;
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataInput;
use aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::DescribeLoadBalancersInput;
use aws_sdk_elasticloadbalancingv2::operation::describe_target_groups::DescribeTargetGroupsInput;
use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::DescribeTargetHealthInput;
use aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsInput;
use aws_sdk_route53::operation::get_change::GetChangeInput;
use aws_sdk_route53::operation::get_hosted_zone::GetHostedZoneInput;
use aws_sdk_route53::operation::list_hosted_zones_by_name::ListHostedZonesByNameInput;
use aws_sdk_route53::operation::list_resource_record_sets::ListResourceRecordSetsInput;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionInput, DescribeExecutionOutput};
use aws_sdk_sfn::operation::get_execution_history::GetExecutionHistoryInput;
use aws_sdk_sfn::operation::list_executions::ListExecutionsInput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::ExecutionStatus;
use aws_sdk_ssm::operation::get_parameter::GetParameterInput;
use cutover_core::{
    Asked, By, Failure, Health, Meter, Move, Moved, RouteId, Sides, Way, Weights, Window,
};
use jiff::Timestamp;
use std::collections::BTreeSet;

use crate::fake::{Answer, Fake, client};
use crate::zone::{FakeZone, aliases};

/// What is no reply of any service.
const GARBAGE: [(u16, &str); 12] = [
    (200, "<html><body>busy</body></html>"),
    (200, "<!DOCTYPE html><title>busy"),
    (200, ""),
    (200, "\n"),
    (200, "busy"),
    (200, "<?xml version=\"1.0\"?>"),
    (200, "{\"Parameter\":{\"Value\":\"{}"),
    (204, ""),
    (400, ""),
    (403, "<html>blocked</html>"),
    (404, "{}"),
    (400, "<ErrorResponse><Error><Code>AccessDen"),
];

fn garbage() -> impl Iterator<Item = impl Fn() -> Answer + Clone + Send + Sync + 'static> {
    GARBAGE.into_iter().map(|(status, body)| move || Answer::Http(status, body.to_owned()))
}

/// Every beginning of a reply, and nothing more.
fn parts(reply: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..reply.len()).map(|end| reply[..end].to_vec())
}

fn is_transient<T: std::fmt::Debug>(what: &str, outcome: Result<T, Failure>) {
    match outcome {
        Err(Failure::Unreachable(_)) => {}
        other => panic!("{what}: {other:?}"),
    }
}

fn sides() -> Sides {
    Sides { old: "blue".to_owned(), new: "green".to_owned() }
}

fn chat() -> RouteId {
    RouteId::from("chat.example.com")
}

fn to_half() -> Move {
    let weights = |old, new| Weights { old, new };
    Move {
        route: chat(),
        from: vec![weights(100, 0)],
        to: weights(50, 50),
        shapes: Vec::new(),
        way: Way::Onward,
        supersedes: None,
    }
}

const LISTING: &str = "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse \
    xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ResourceRecordSets><ResourceRecordSet>\
    <Name>chat.example.com.</Name><Type>CNAME</Type><SetIdentifier>blue</SetIdentifier>\
    <Weight>100</Weight><TTL>1</TTL><ResourceRecords><ResourceRecord><Value>a</Value>\
    </ResourceRecord></ResourceRecords></ResourceRecordSet></ResourceRecordSets>\
    <IsTruncated>false</IsTruncated><MaxItems>300</MaxItems></ListResourceRecordSetsResponse>";

#[tokio::test]
async fn of_route_53() {
    for answer in garbage() {
        let (list, change, get, by_name, by_id) =
            (answer.clone(), answer.clone(), answer.clone(), answer.clone(), answer);
        let fake = Fake::new()
            .on(move |_: &ListResourceRecordSetsInput| list())
            .on(move |_: &ChangeResourceRecordSetsInput| change())
            .on(move |_: &GetChangeInput| get())
            .on(move |_: &ListHostedZonesByNameInput| by_name())
            .on(move |_: &GetHostedZoneInput| by_id());
        let client = client!(aws_sdk_route53, fake);
        is_transient("GetHostedZone", find_zone(&client, "Z1").await);
        is_transient("ListHostedZonesByName", find_zone(&client, "example.com").await);
        is_transient("ListResourceRecordSets", records(&client, "Z1").await);
        let router = Route53::new(client, "Z1", sides());
        is_transient("read", router.read(&[chat()]).await);
        is_transient("GetChange", router.is_live(&["C1".to_owned()]).await);
    }
}

#[tokio::test]
async fn a_listing_that_is_cut_off_anywhere_is_no_listing() {
    let whole = Fake::new()
        .on(|_: &ListResourceRecordSetsInput| Answer::Bytes(LISTING.as_bytes().to_vec()));
    let whole = records(&client!(aws_sdk_route53, whole), "Z1").await.expect("a listing");
    assert_eq!(whole.len(), 1);
    for part in parts(LISTING.as_bytes()) {
        let what = String::from_utf8_lossy(&part).into_owned();
        let fake =
            Fake::new().on(move |_: &ListResourceRecordSetsInput| Answer::Bytes(part.clone()));
        is_transient(&what, records(&client!(aws_sdk_route53, fake), "Z1").await);
    }
    // Whole documents, but no listings.
    for root in ["ListResourceRecordSetsResponse", "ListHostedZonesByNameResponse"] {
        let empty = format!("<{root}/>");
        let (list, by_name) = (empty.clone(), empty.clone());
        let fake = Fake::new()
            .on(move |_: &ListResourceRecordSetsInput| Answer::Http(200, list.clone()))
            .on(move |_: &ListHostedZonesByNameInput| Answer::Http(200, by_name.clone()));
        let client = client!(aws_sdk_route53, fake);
        is_transient(&empty, records(&client, "Z1").await);
        is_transient(&empty, find_zone(&client, "example.com").await);
    }
}

#[tokio::test]
async fn a_change_that_took_effect_and_has_an_unreadable_reply_is_found_by_the_repeat() {
    for answer in garbage() {
        let zone = FakeZone::new(aliases("chat.example.com", 100, 0));
        zone.state().after_change = Box::new(move |_| Some(answer()));
        let router = Route53::new(zone.client(), "Z1", sides());
        is_transient("ChangeResourceRecordSets", router.shift(&[to_half()], None).await);
        assert_eq!(zone.weights("chat.example.com", "A"), (50, 50));
        let batches = zone.state().batches.len();
        let again = router.shift(&[to_half()], None).await.expect("there");
        assert_eq!(again.moves, [(chat(), Moved::There)]);
        assert!(again.unconfirmed);
        assert_eq!(zone.state().batches.len(), batches, "nothing more to change");
    }
}

/// Load balancers of an account in which CloudWatch is not asked.
fn targets(elb: Fake) -> Targets {
    let metrics = CloudWatch::new(client!(aws_sdk_cloudwatch, Fake::new()));
    Targets::new(client!(aws_sdk_elasticloadbalancingv2, elb), metrics)
}

#[tokio::test]
async fn of_elastic_load_balancing() {
    let names = BTreeSet::from(["k8s-blue-1.eu-central-1.elb.amazonaws.com".to_owned()]);
    for answer in garbage() {
        let (balancers, groups, health) = (answer.clone(), answer.clone(), answer);
        let fake = Fake::new()
            .on(move |_: &DescribeLoadBalancersInput| balancers())
            .on(move |_: &DescribeTargetGroupsInput| groups())
            .on(move |_: &DescribeTargetHealthInput| health());
        let targets = targets(fake);
        is_transient("DescribeLoadBalancers", targets.behind(&names).await);
    }
    let reply = "<DescribeLoadBalancersResponse><DescribeLoadBalancersResult><LoadBalancers/>\
                 </DescribeLoadBalancersResult></DescribeLoadBalancersResponse>";
    for part in parts(reply.as_bytes()) {
        let what = String::from_utf8_lossy(&part).into_owned();
        let fake =
            Fake::new().on(move |_: &DescribeLoadBalancersInput| Answer::Bytes(part.clone()));
        let targets = targets(fake);
        is_transient(&what, targets.behind(&names).await);
    }
}

#[tokio::test]
async fn of_cloudwatch() {
    let balancer = Meter { id: "app/a/1".to_owned(), hosts: vec![], baseline: None };
    let start = Timestamp::from_second(1_000_000_020).expect("in range");
    let window = Window { start, period_s: 60, periods: 3 };
    let health = Health::default();
    let alarms = ["high".to_owned()];
    for answer in garbage() {
        let (data, described) = (answer.clone(), answer);
        let fake = Fake::new()
            .on(move |_: &GetMetricDataInput| data())
            .on(move |_: &DescribeAlarmsInput| described());
        let cloudwatch = CloudWatch::new(client!(aws_sdk_cloudwatch, fake));
        let series = cloudwatch.series(std::slice::from_ref(&balancer), window, &health).await;
        is_transient("GetMetricData", series);
        is_transient("DescribeAlarms", cloudwatch.in_alarm(&alarms).await);
    }
    // {"MetricDataResults": []}
    let reply = [b"\xa1\x71".as_slice(), b"MetricDataResults", b"\x80"].concat();
    for part in parts(&reply) {
        let what = format!("{part:?}");
        let fake = Fake::new().on(move |_: &GetMetricDataInput| Answer::Bytes(part.clone()));
        let cloudwatch = CloudWatch::new(client!(aws_sdk_cloudwatch, fake));
        let series = cloudwatch.series(std::slice::from_ref(&balancer), window, &health).await;
        is_transient(&what, series);
    }
}

#[tokio::test]
async fn of_ssm() {
    for answer in garbage() {
        let fake = Fake::new().on(move |_: &GetParameterInput| answer());
        let client = client!(aws_sdk_ssm, fake);
        is_transient("GetParameter", parameters::defaults(&client, "/cutover/defaults").await);
    }
    let reply = r#"{"Parameter":{"Name":"/cutover/defaults","Value":"{\"isolate\":true}"}}"#;
    for part in parts(reply.as_bytes()) {
        let what = String::from_utf8_lossy(&part).into_owned();
        let fake = Fake::new().on(move |_: &GetParameterInput| Answer::Bytes(part.clone()));
        let client = client!(aws_sdk_ssm, fake);
        is_transient(&what, parameters::defaults(&client, "/cutover/defaults").await);
    }
}

#[tokio::test]
async fn of_step_functions() {
    for answer in garbage() {
        let (list, describe, history) = (answer.clone(), answer.clone(), answer);
        let ended = || {
            let reply = DescribeExecutionOutput::builder()
                .execution_arn("execution")
                .state_machine_arn("machine")
                .status(ExecutionStatus::Aborted)
                .start_date(DateTime::from_secs(0));
            Answer::ok(reply.build().expect("complete"))
        };
        let fake = Fake::new()
            .on(move |_: &DescribeExecutionInput| ended())
            .on(move |_: &GetExecutionHistoryInput| history());
        let asked = Asked { execution_arn: "execution".to_owned(), by: By::Event };
        let past = executions::past(&client!(aws_sdk_sfn, fake), &asked).await;
        is_transient("GetExecutionHistory", past);
        let fake = Fake::new()
            .on(move |_: &ListExecutionsInput| list())
            .on(move |_: &DescribeExecutionInput| describe());
        let client = client!(aws_sdk_sfn, fake);
        is_transient(
            "ListExecutions",
            executions::running(&client, "machine", "us", &BTreeSet::new()).await,
        );
        let asked = Asked { execution_arn: "execution".to_owned(), by: By::Hand { force: false } };
        is_transient("DescribeExecution", executions::past(&client, &asked).await);
    }
}
