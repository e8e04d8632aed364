//! What validation makes of records, load balancers and other executions that are not as they should be.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, LoadBalancerTypeEnum, ProtocolEnum,
};
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use lab::world::{Cluster, RecordKind};
use serde_json::{Value, json};
use tests::{Case, Given};

/// The errorType of a refusal, and the codes of its problems, while there is time to wait.
pub async fn refused(case: &Case, request: &Value) -> (String, Vec<String>) {
    let mut request = request.clone();
    request["ready_timeout_s"] = json!(7200);
    let answer = case.invoke("ValidateFunctionName", &case.validation(&request)).await;
    let error = answer.expect_err("refused");
    let text = |name: &str| error[name].as_str().expect("text").to_owned();
    let said: Value = serde_json::from_str(&text("errorMessage")).expect("problems as JSON");
    let problems = said["problems"].as_array().expect("a list");
    let code = |problem: &Value| problem["code"].as_str().expect("a code").to_owned();
    (text("errorType"), problems.iter().map(code).collect())
}

/// Every record set of the case's zone of one type.
async fn record_sets(case: &Case, kind: &RrType) -> Vec<ResourceRecordSet> {
    let client = aws_sdk_route53::Client::new(case.config());
    let listing = client.list_resource_record_sets().hosted_zone_id(&case.world.zone.id);
    let page = listing.send().await.expect("listed");
    assert!(!page.is_truncated, "more than a page");
    page.resource_record_sets.into_iter().filter(|set| set.r#type == *kind).collect()
}

async fn change(case: &Case, changes: impl IntoIterator<Item = (ChangeAction, ResourceRecordSet)>) {
    let change = |(action, set)| {
        Change::builder().action(action).resource_record_set(set).build().expect("complete")
    };
    let batch = ChangeBatch::builder().set_changes(Some(changes.into_iter().map(change).collect()));
    let client = aws_sdk_route53::Client::new(case.config());
    let request = client.change_resource_record_sets().hosted_zone_id(&case.world.zone.id);
    request.change_batch(batch.build().expect("complete")).send().await.expect("changed");
}

fn value(text: &str) -> ResourceRecord {
    ResourceRecord::builder().value(text).build().expect("complete")
}

/// Turns the plain record of one side to another name.
pub(crate) async fn point_at(case: &Case, side: &str, dns_name: &str) {
    let sets = record_sets(case, &RrType::Cname).await.into_iter();
    let of_side = sets.filter(|set| set.set_identifier() == Some(side)).map(|mut set| {
        set.resource_records = Some(vec![value(dns_name)]);
        (ChangeAction::Upsert, set)
    });
    change(case, of_side.collect::<Vec<_>>()).await;
}

/// Gives a side's load balancer one more target group, without targets.
async fn add_empty_target_group(case: &Case, side: &Cluster) {
    let client = aws_sdk_elasticloadbalancingv2::Client::new(case.config());
    let groups = client.create_target_group().name(format!("empty-{}", side.name));
    let groups = groups.protocol(ProtocolEnum::Http).port(8081).vpc_id("vpc-00000001").send().await;
    let arn = groups.expect("created").target_groups()[0].target_group_arn.clone();
    let name = format!("k8s-{}", side.name);
    let balancers = client.describe_load_balancers().names(name).send().await.expect("listed");
    let forward =
        Action::builder().r#type(ActionTypeEnum::Forward).set_target_group_arn(arn).build();
    client
        .create_listener()
        .set_load_balancer_arn(balancers.load_balancers()[0].load_balancer_arn.clone())
        .protocol(ProtocolEnum::Http)
        .port(8081)
        .default_actions(forward)
        .send()
        .await
        .expect("created");
}

#[tokio::test]
async fn a_network_load_balancer_is_refused_at_once_even_where_no_data_would_do() {
    let case = Given::default().case().await;
    let client = aws_sdk_elasticloadbalancingv2::Client::new(case.config());
    let create = client.create_load_balancer().name(format!("net-{}", case.new_side().name));
    let create = create.r#type(LoadBalancerTypeEnum::Network).subnets("subnet-0000000000000000a");
    let created = create.send().await.expect("created");
    let dns_name = created.load_balancers()[0].dns_name().expect("a name");
    point_at(&case, &case.new_side().name, dns_name).await;
    let mut request = case.request();
    request["health"]["on_no_data"] = json!("advance");
    let end = case.run(&request).await;
    assert_eq!((end.error.as_str(), end.codes()), ("Rejected", vec!["load_balancer_type".into()]));
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn names_that_can_never_become_ready_are_refused_at_once_and_others_waited_for() {
    let case = Given::default().case().await;
    for (name, error, code) in [
        (
            "k8s-x-8f3ab2c1d4e5f607.elb.us-east-1.amazonaws.com",
            "InvalidInput",
            "load_balancer_type",
        ),
        ("k8s-x-123456789.ap-south-2.elb.amazonaws.com", "InvalidInput", "foreign_target"),
        ("x.s3-website-us-east-1.amazonaws.com", "InvalidInput", "foreign_target"),
        ("k8s-x-123456789.us-east-1.elb.amazonaws.com", "NotReady", "no_load_balancer"),
        ("lb.example.com", "NotReady", "no_load_balancer"),
    ] {
        point_at(&case, &case.new_side().name, name).await;
        let refused = refused(&case, &case.request()).await;
        assert_eq!(refused, (error.to_owned(), vec![code.to_owned()]), "{name}");
    }
    let mut request = case.request();
    request["old"] = json!("bleu");
    let expected = ("InvalidInput".to_owned(), vec!["old_unknown".to_owned()]);
    assert_eq!(refused(&case, &request).await, expected);
}

#[tokio::test]
async fn external_dns_is_found_whatever_affixes_its_ownership_records_have() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["external_dns"] = json!("refuse");
    let expected = |code: &str| ("InvalidInput".to_owned(), vec![code.to_owned()]);
    let (label, rest) = case.route().split_once('.').expect("a host name");
    let usual = record_sets(&case, &RrType::Txt).await;
    assert_eq!(usual.len(), 2, "one of each side");
    for name in [
        format!("xdns-cname-{label}.{rest}"),
        format!("cname-own.{label}.{rest}"),
        format!("cname-{label}-own.{rest}"),
    ] {
        let moved = |set: &ResourceRecordSet| {
            let mut renamed = set.clone();
            renamed.name.clone_from(&name);
            [(ChangeAction::Delete, set.clone()), (ChangeAction::Create, renamed)]
        };
        let before = record_sets(&case, &RrType::Txt).await;
        change(&case, before.iter().flat_map(moved)).await;
        assert_eq!(refused(&case, &request).await, expected("external_dns"), "{name}");
        assert_eq!(case.accepted(&case.request()).await.warnings[0].code, "external_dns");
    }
    let before = record_sets(&case, &RrType::Txt).await;
    let encrypted = before.iter().cloned().map(|mut set| {
        set.resource_records = Some(vec![value("\"h8UQ6jelUFUsEIn7SbFktc2MYXPx/q8lySqI4Vw=\"")]);
        (ChangeAction::Upsert, set)
    });
    change(&case, encrypted).await;
    assert_eq!(refused(&case, &request).await, expected("external_dns_unknown"), "encrypted");
    let before = record_sets(&case, &RrType::Txt).await;
    change(&case, before.into_iter().map(|set| (ChangeAction::Delete, set))).await;
    assert_eq!(refused(&case, &request).await, expected("external_dns_unknown"), "no trace");
    // Named routes are read alone until nothing else is wrong; the warning needs the rest of the zone.
    let mut request = case.request();
    request["routes"] = json!([case.route()]);
    let warnings = case.accepted(&request).await.warnings;
    assert_eq!(warnings[0].code, "external_dns_unknown");
    change(&case, usual.into_iter().map(|set| (ChangeAction::Create, set))).await;
    assert_eq!(case.accepted(&request).await.warnings[0].code, "external_dns");
}

#[tokio::test]
async fn a_running_execution_is_known_whatever_way_it_names_zone_and_routes() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(20);
    request["hosted_zone"] = json!(format!("/hostedzone/{}", case.world.zone.id));
    request["routes"] = json!([format!("{}.", case.route().to_uppercase())]);
    let event = json!({"source": "cutover", "detail-type": "Cluster Ready", "detail": request});
    let first = case.start(&event).await;
    case.until_live((50, 50)).await;
    let name = case.world.zone.name.clone();
    for zone in [case.world.zone.id.clone(), name.to_uppercase(), format!("{name}.")] {
        let mut second = case.request();
        second["hosted_zone"] = json!(zone);
        second["resume"] = json!(true);
        second["old"] = json!(case.world.old.name);
        let end = case.run(&second).await;
        let expected = ("Rejected", vec!["already_running".to_owned()]);
        assert_eq!((end.error.as_str(), end.codes()), expected, "{zone}");
    }
    case.stop(&first).await;
    case.until_live((100, 0)).await;
}

#[tokio::test]
async fn a_target_group_without_a_healthy_target_is_a_reason_where_route_53_evaluates_it() {
    let records = RecordKind::AliasAAndAaaa;
    let case = Given { records, ..Given::default() }.case().await;
    let cutover = case.accepted(&case.request()).await;
    assert!(cutover.routes.iter().all(|route| route.all_or_nothing));
    add_empty_target_group(&case, case.new_side()).await;
    let expected = ("NotReady".to_owned(), vec!["new_side_left_out".to_owned()]);
    assert_eq!(refused(&case, &case.request()).await, expected);
    add_empty_target_group(&case, &case.world.old).await;
    let (error, codes) = refused(&case, &case.request()).await;
    assert_eq!(error, "InvalidInput");
    assert_eq!(codes, ["old_side_left_out", "new_side_left_out"]);

    let case = Given::default().case().await;
    for side in [&case.world.old, case.new_side()] {
        add_empty_target_group(&case, side).await;
    }
    let cutover = case.accepted(&case.request()).await;
    assert!(!cutover.routes.iter().any(|route| route.all_or_nothing), "plain records");
}

#[tokio::test]
async fn no_metric_is_asked_for_while_the_new_side_is_waited_for() {
    let case = Given { targets: (2, 0), ..Given::default() }.case().await;
    let mut request = case.request();
    request["routes"] = json!([case.route()]);
    let (error, codes) = refused(&case, &request).await;
    assert_eq!((error.as_str(), codes), ("NotReady", vec!["no_healthy_target".to_owned()]));
    let metrics = ("monitoring".to_owned(), "GetMetricData".to_owned());
    let of_old = case.proxy().calls_containing(&case.world.old.load_balancer);
    assert_eq!(of_old.get(&metrics), None, "{of_old:?}");
    let listing = ("route53".to_owned(), "ListResourceRecordSets".to_owned());
    assert_eq!(case.proxy().calls_containing(&case.world.zone.id).get(&listing), Some(&1));
}
