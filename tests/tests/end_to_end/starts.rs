//! Started by each of the three inputs, and what happens before the first shift.

use serde_json::json;
use tests::{FINE, Given};

#[tokio::test]
async fn a_cluster_ready_event_starts_a_cutover() {
    let case = Given::default().case().await;
    case.put_event("cutover", "Cluster Ready", &case.request()).await;
    let arn = case.started_by(&case.new_side().name).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_create_cluster_call_starts_a_cutover_with_the_defaults_in_both_spellings() {
    // One after the other: both take every route of the default zone.
    for file in ["start-create-cluster.json", "start-create-cluster-clustername.json"] {
        let case = Given { default_zone: true, ..Given::default() }.case().await;
        let arn = case.deliver(&case.event(file)).await;
        let end = case.end(&arn).await;
        assert_eq!(end.status, "SUCCEEDED", "{end:?}");
        assert_eq!(case.live().await, (0, 100));
    }
}

#[tokio::test]
async fn a_create_cluster_call_that_failed_is_ignored() {
    let case = Given::default().case().await;
    let arn = case.deliver(&case.event("start-create-cluster-failed.json")).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(end.output["next"]["action"], "ignored");
    let reason = end.output["next"]["reason"].as_str().expect("text");
    assert!(reason.contains("failed with \"ResourceInUseException\""), "{reason}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn what_is_none_of_the_three_is_rejected() {
    let case = Given::default().case().await;
    let end =
        case.run(&json!({"source": "aws.ec2", "detail-type": "Something", "detail": {}})).await;
    assert_eq!((end.error.as_str(), end.codes()), ("Rejected", vec!["unknown_input".to_owned()]));
    let end = case.run(&json!({"nwe": "green"})).await;
    assert_eq!(end.codes(), ["missing_field", "unknown_field"], "{end:?}");
}

#[tokio::test]
async fn a_new_side_that_is_not_ready_yet_is_waited_for() {
    let mut case = Given { new_side: false, ..Given::default() }.case().await;
    let mut request = case.request();
    request["old"] = json!(case.world.old.name);
    let arn = case.start(&request).await;
    let calls = || case.proxy().calls_containing(&case.world.zone.id).values().sum::<u64>();
    tests::until("a first validation", async || (calls() > 0).then_some(())).await;
    case.world.create_new().await.expect("a load balancer and records");
    case.world.register_new_targets().await.expect("targets");
    case.count(case.new_side(), FINE).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_new_side_that_is_not_ready_in_time_is_rejected() {
    let case = Given { new_side: false, ..Given::default() }.case().await;
    let mut request = case.request();
    request["old"] = json!(case.world.old.name);
    request["ready_timeout_s"] = json!(5);
    let end = case.run(&request).await;
    assert_eq!(end.error, "Rejected", "{end:?}");
    assert_eq!(end.codes(), ["no_routes", "not_ready_in_time"]);
}

#[tokio::test]
async fn of_two_cutovers_of_one_route_the_second_is_rejected() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(10);
    let first = case.start(&request).await;
    case.until_live((50, 50)).await;
    request["resume"] = json!(true);
    let second = case.run(&request).await;
    assert_eq!(
        (second.error.as_str(), second.codes()),
        ("Rejected", vec!["already_running".to_owned()])
    );
    let first = case.end(&first).await;
    assert_eq!(first.status, "SUCCEEDED", "{first:?}");
}

#[tokio::test]
async fn a_stopped_cutover_is_resumed_above_its_live_split() {
    let case = Given::default().case().await;
    case.world.overwrite_weights(case.route(), 70, 30).await.expect("overwritten");
    let mut request = case.request();
    let refused = case.run(&request).await;
    assert_eq!(refused.codes(), ["split_not_initial"]);
    request["resume"] = json!(true);
    request["old"] = json!(case.world.old.name);
    let end = case.run(&request).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}
