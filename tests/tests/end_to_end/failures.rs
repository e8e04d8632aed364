//! A failure injected at each task, by refusing one of its calls.

use lab::proxy::{Effect, Rule};
use tests::{Case, End, FAILING, Given};

const DENIED: Effect = Effect::Refuse { status: 403, code: "AccessDenied" };
const THROTTLED: Effect = Effect::Refuse { status: 400, code: "Throttling" };
const BROKEN: Effect = Effect::Refuse { status: 503, code: "ServiceUnavailable" };

/// Runs a cutover while calls of an action that name the test's zone are disturbed.
async fn run_with(case: &Case, action: &str, effect: Effect, times: u32) -> End {
    let rule = Rule::on(action, effect).containing(&case.world.zone.id).times(times);
    let rule = case.proxy().rule(rule);
    let end = case.run(&case.request()).await;
    assert!(rule.hits() > 0, "{action} was never disturbed: {end:?}");
    end
}

#[tokio::test]
async fn validate_that_may_not_read_the_records_is_rejected() {
    let case = Given::default().case().await;
    let end = run_with(&case, "ListResourceRecordSets", DENIED, u32::MAX).await;
    assert_eq!(end.error, "Rejected", "{end:?}");
    assert!(end.cause.contains("AccessDenied"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn shift_weight_that_may_not_write_goes_back() {
    let case = Given::default().case().await;
    let end = run_with(&case, "ChangeResourceRecordSets", DENIED, 1).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("could not go on: Refused"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn check_health_that_may_not_read_the_metrics_goes_back() {
    let case = Given::default().case().await;
    let arn = case.start(&case.request()).await;
    case.until_live((50, 50)).await;
    let rule = Rule::on("GetMetricData", DENIED).containing(&case.new_side().load_balancer);
    let rule = case.proxy().rule(rule);
    let end = case.end(&arn).await;
    assert!(rule.hits() > 0);
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("could not go on: Refused"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn metrics_that_stay_out_of_reach_are_held_and_then_go_back() {
    let case = Given::default().case().await;
    let arn = case.start(&case.request()).await;
    case.until_live((50, 50)).await;
    let rule = Rule::on("GetMetricData", BROKEN).containing(&case.new_side().load_balancer);
    let rule = case.proxy().rule(rule);
    let end = case.end(&arn).await;
    assert!(rule.hits() > 0);
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("the metrics cannot be read"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn rollback_that_may_not_write_fails_and_tells_every_route() {
    let case = Given { rates: (tests::FINE, FAILING), ..Given::default() }.case().await;
    let arn = case.start(&case.request()).await;
    case.until_live((50, 50)).await;
    let rule = Rule::on("ChangeResourceRecordSets", DENIED).containing(&case.world.zone.id);
    let rule = case.proxy().rule(rule);
    let end = case.end(&arn).await;
    assert!(rule.hits() > 0);
    assert_eq!(end.error, "RollbackFailed", "{end:?}");
    for told in ["AccessDenied", case.route(), "original", "new 30 % of"] {
        assert!(end.cause.contains(told), "{told} is not in {end:?}");
    }
    assert_eq!(case.live().await, (50, 50));
}

#[tokio::test]
async fn throttles_at_every_task_are_waited_out() {
    let case = Given::default().case().await;
    let zone = &case.world.zone.id;
    let rules = ["ListResourceRecordSets", "ChangeResourceRecordSets"]
        .map(|action| case.proxy().rule(Rule::on(action, THROTTLED).containing(zone).times(2)));
    let metrics = Rule::on("GetMetricData", THROTTLED).containing(&case.new_side().load_balancer);
    let metrics = case.proxy().rule(metrics.times(2));
    let end = case.run(&case.request()).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!((rules.map(|rule| rule.hits()), metrics.hits()), ([2, 2], 2));
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_throttle_that_outlasts_the_sdk_is_retried_by_the_state_machine() {
    let case = Given::default().case().await;
    // Five tries are the SDK's own; the seventh call is the function's second attempt.
    let end = run_with(&case, "ChangeResourceRecordSets", THROTTLED, 6).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}
