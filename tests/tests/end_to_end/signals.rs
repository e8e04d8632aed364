//! What both sides are compared by beside failed requests, and what is seen while something else is not.

use lab::proxy::{Effect, Rule};
use serde_json::{Value, json};
use tests::{ERRORS, End, FAILING, FINE, Given, Rate, SILENT, SLOW, now_s};

use crate::arrival::patient;

const THROTTLED: Effect = Effect::Refuse { status: 400, code: "Throttling" };
/// 4xx answers of targets.
const REFUSED: &str = "HTTPCode_Target_4XX_Count";

#[tokio::test]
async fn a_new_side_that_refuses_requests_goes_back_and_bots_take_nothing_back() {
    let run = async |new: Rate, metric: &str, refused: [u32; 2]| {
        let case = Given { rates: (FINE, new), ..Given::default() }.case().await;
        for (side, refused) in [&case.world.old, case.new_side()].into_iter().zip(refused) {
            case.count_also(side, metric, refused).await;
        }
        (case.run(&case.request()).await, case.live().await)
    };
    let (secret, rule, bots) = tokio::join!(
        run(FINE, REFUSED, [0, 100]),
        // No request gets as far as a target.
        run(SILENT, "HTTP_Fixed_Response_Count", [0, 100]),
        run(FINE, REFUSED, [5, 5]),
    );
    for (end, live) in [secret, rule] {
        assert_eq!((end.error.as_str(), live), ("RolledBack", (100, 0)), "{end:?}");
        let reason = end.report().reason;
        assert!(reason.contains("new 100 % of "), "{reason}");
        assert!(reason.contains("requests were answered 4xx"), "{reason}");
    }
    assert_eq!((bots.0.status.as_str(), bots.1), ("SUCCEEDED", (0, 100)), "{:?}", bots.0);
}

#[tokio::test]
async fn slow_requests_are_seen_at_100_percent_without_a_day_and_what_is_not_judged_is_said() {
    let case = Given { rates: (FINE, SLOW), ..Given::default() }.case().await;
    let mut request = case.request();
    request["ramp"] = json!([{"percent": 100, "bake_s": 2}]);
    // By percentiles: the emulator cannot count.
    request["health"]["latency_by"] = json!("percentile");
    request["health"]["latency_target_s"] = json!(0.5);
    let (mut state, _) = case.baking(&request, 8).await;
    state["meters"][0] = json!({"id": "app/to-which-nothing-comes/0123456789abcdef"});
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
    assert!(reason.contains("95 of 100 requests of new took up to 2.000 s"), "{reason}");
    state["health"].as_object_mut().expect("health").remove("latency_target_s");
    let (action, reason) = case.next(&state).await;
    assert_ne!(action, "roll_back", "{reason}");
    assert!(reason.contains("; latency not judged"), "{reason}");
}

/// Orders of a shop as a signal.
pub fn orders() -> Value {
    let metric = |name: &str| json!({"namespace": "Shop", "metric": name, "dimensions": {"Cluster": "{side}"}});
    json!([{"name": "orders", "requests": metric("Orders"), "failures": metric("FailedOrders")}])
}

#[tokio::test]
async fn counts_of_ones_own_go_through_the_same_test_and_are_named() {
    let run = async |failed: [u32; 2]| {
        let case = Given::default().case().await;
        for (side, failed) in [&case.world.old, case.new_side()].into_iter().zip(failed) {
            case.count_own(side, "Orders", 50).await;
            case.count_own(side, "FailedOrders", failed).await;
        }
        let mut request = case.request();
        request["health"]["signals"] = orders();
        // Without a day of the old side, five periods count as one.
        request["ramp"][0]["bake_s"] = json!(12);
        (case.run(&request).await, case.live().await)
    };
    let (worse, alike) = tokio::join!(run([1, 20]), run([1, 1]));
    let reason = |end: &End| end.report().reason;
    assert_eq!((worse.0.error.as_str(), worse.1), ("RolledBack", (100, 0)), "{:?}", worse.0);
    assert!(reason(&worse.0).contains("orders failed, old 2 % of "), "{}", reason(&worse.0));
    assert_eq!((alike.0.status.as_str(), alike.1), ("SUCCEEDED", (0, 100)), "{:?}", alike.0);
    assert!(reason(&alike.0).contains("; orders: e = "), "{}", reason(&alike.0));
}

#[tokio::test]
async fn a_step_is_held_while_the_new_side_has_none_of_ones_own_counts() {
    let case = Given::default().case().await;
    case.count_own(&case.world.old, "Orders", 50).await;
    let mut request = patient(case.request());
    request["health"]["signals"] = orders();
    let (state, _) = case.baking(&request, 8).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    assert!(reason.contains("no orders have been counted on the new side"), "{reason}");
    case.count_own(case.new_side(), "Orders", 50).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "shift", "{reason}");
}

#[tokio::test]
async fn alarms_and_metrics_do_not_blind_each_other() {
    let case = Given::default().case().await;
    let alarm = format!("checkout-of-{}", case.world.zone.name);
    case.set_alarm(&alarm, false).await;
    let mut request = patient(case.request());
    request["health"]["alarms"] = json!([alarm]);
    let (state, _) = case.baking(&request, 8).await;

    let metrics = Rule::on("GetMetricData", THROTTLED).containing(&case.new_side().load_balancer);
    let metrics = case.proxy().rule(metrics);
    let (action, reason) = case.next(&state).await;
    assert_ne!(action, "roll_back", "{reason}");
    assert!(reason.contains("the metrics cannot be read"), "{reason}");
    case.set_alarm(&alarm, true).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
    assert!(reason.contains(&format!("alarm {alarm} is in ALARM")), "{reason}");
    drop(metrics);

    let alarms = case.proxy().rule(Rule::on("DescribeAlarms", THROTTLED).containing(&alarm));
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    assert!(reason.contains("the alarms cannot be read"), "{reason}");
    drop(alarms);

    let client = aws_sdk_cloudwatch::Client::new(case.config());
    client.delete_alarms().alarm_names(&alarm).send().await.expect("deleted");
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "shift", "{reason}");
    let gone = format!("warning: no alarm of this name exists any more: {alarm}");
    assert!(reason.contains(&gone), "{reason}");
    case.count(case.new_side(), FAILING).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
}

#[tokio::test]
async fn a_fault_of_both_sides_that_began_with_the_move_goes_back() {
    let case = Given { rates: (FINE, SILENT), ..Given::default() }.case().await;
    // Most of a day.
    let now = now_s();
    case.count_in(&case.world.old, FINE, now - 900..now - 40).await;
    let (mut state, since) = case.baking(&patient(case.request()), 8).await;
    case.count_in(case.new_side(), FINE, since..since + 60).await;
    for side in [&case.world.old, case.new_side()] {
        case.count_also_in(side, ERRORS, 60, since..since + 60).await;
    }
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
    assert!(reason.contains("the move itself may be the cause"), "{reason}");
    // Nobody knows whether the day before was like that.
    state["meters"][0].as_object_mut().expect("a meter").remove("baseline");
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    assert!(reason.contains("both sides are over the 5 % limit"), "{reason}");
}
