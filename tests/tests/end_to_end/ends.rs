//! Each end of the state machine.

use lab::world::RecordKind;
use serde_json::json;
use tests::{FAILING, FINE, Given, Rate, SILENT, SLOW};

#[tokio::test]
async fn a_healthy_new_side_gets_all_the_traffic() {
    let case = Given { routes: 2, ..Given::default() }.case().await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live_of("CNAME").await, [(0, 100), (0, 100)]);
    for route in end.report().routes {
        assert_eq!((route.original.old, route.original.new), (100, 0));
        assert_eq!(route.live.map(|live| live.new), Some(100));
    }
}

#[tokio::test]
async fn a_failing_new_side_gives_all_the_traffic_back() {
    let case = Given { rates: (FINE, FAILING), ..Given::default() }.case().await;
    let end = case.run(&case.request()).await;
    assert_eq!((end.status.as_str(), end.error.as_str()), ("FAILED", "RolledBack"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
    let report = end.report();
    assert!(report.reason.contains("new 30 % of"), "{}", report.reason);
    assert_eq!(report.routes[0].live, Some(report.routes[0].original));
}

#[tokio::test]
async fn a_fault_that_both_sides_share_is_no_reason_to_go_back_once_it_is_over() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(10);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.burst(&[case.new_side(), &case.world.old], 100, 4).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn three_times_as_many_errors_far_below_the_limit_are_found_by_evidence() {
    let old = Rate { requests: 100_000, errors: 300, slow: 0 };
    let new = Rate { errors: 900, ..old };
    let case = Given { rates: (old, new), ..Given::default() }.case().await;
    let mut request = case.request();
    // Without a day of the old side, five periods count as one.
    request["ramp"][0]["bake_s"] = json!(12);
    let end = case.run(&request).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    let reason = end.report().reason;
    for told in ["new 0.9 % of", "old 0.3 % of", "; odds 3.0 times; e = ", ", limit 200"] {
        assert!(reason.contains(told), "{told} is not in {reason}");
    }
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_burst_of_errors_is_no_reason_to_go_back_if_both_sides_have_it() {
    let burst = async |shared: bool| {
        let case = Given::default().case().await;
        let mut request = case.request();
        // The burst is over before the step is.
        request["ramp"][0]["bake_s"] = json!(10);
        let arn = case.start(&request).await;
        case.until_live((50, 50)).await;
        let sides = [case.new_side(), &case.world.old];
        case.burst(if shared { &sides } else { &sides[..1] }, 40, 5).await;
        let end = case.end(&arn).await;
        (end.status, end.error, case.live().await)
    };
    let (shared, alone) = tokio::join!(burst(true), burst(false));
    assert_eq!((shared.0.as_str(), shared.2), ("SUCCEEDED", (0, 100)), "{shared:?}");
    assert_eq!((alone.1.as_str(), alone.2), ("RolledBack", (100, 0)), "{alone:?}");
}

#[tokio::test]
async fn a_slow_new_side_gives_all_the_traffic_back() {
    // By percentiles: the emulator cannot count.
    let run = async |rates| {
        let case = Given { rates, ..Given::default() }.case().await;
        let mut request = case.request();
        request["health"]["latency_target_s"] = json!(0.5);
        request["health"]["latency_by"] = json!("percentile");
        (case.run(&request).await, case.live().await)
    };
    let (slow, alike) = tokio::join!(run((FINE, SLOW)), run((SLOW, SLOW)));
    assert_eq!((slow.0.error.as_str(), slow.1), ("RolledBack", (100, 0)), "{slow:?}");
    let reason = slow.0.report().reason;
    let told = "95 of 100 requests of new took up to 2.000 s, of old 0.100 s";
    assert!(reason.contains(told), "{reason}");
    assert_eq!((alike.0.status.as_str(), alike.1), ("SUCCEEDED", (0, 100)), "{alike:?}");
}

#[tokio::test]
async fn a_new_side_without_requests_is_held_and_then_goes_back() {
    let case = Given { rates: (FINE, SILENT), ..Given::default() }.case().await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("still not judged after 3 s"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_is_touched() {
    let case = Given { targets: (4, 1), ..Given::default() }.case().await;
    let mut request = case.request();
    request["health"]["alarms"] = json!(["there-is-none"]);
    request["routes"] = json!([case.route(), "elsewhere.example.org"]);
    request["old"] = json!(case.world.old.name);
    let end = case.run(&request).await;
    assert_eq!(end.error, "Rejected", "{end:?}");
    assert_eq!(end.codes(), ["alarm_missing", "capacity_too_low", "route_outside_zone"]);
    assert_eq!(case.live().await, (100, 0));
    let calls = case.proxy().calls_containing(&case.world.zone.id);
    assert!(
        calls.keys().all(|(_, action)| action != "ChangeResourceRecordSets"),
        "nothing may be written: {calls:?}"
    );
}

#[tokio::test]
async fn a_dry_run_ends_with_a_plan_and_touches_nothing() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["dry_run"] = json!(true);
    let end = case.run(&request).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    let plan = end.report().plan.expect("a plan");
    let shares: Vec<f64> = plan.steps.iter().map(|step| step.percent.into()).collect();
    assert_eq!(format!("{shares:?}"), "[50.0, 100.0]");
    assert_eq!((plan.routes, plan.metrics_per_check), (1, 18));
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_second_writer_in_mid_ramp_stops_the_cutover_and_keeps_his_weights() {
    let case = Given { routes: 2, ..Given::default() }.case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(30);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.world.overwrite_weights(case.route(), 77, 3).await.expect("overwritten");
    let end = case.end(&arn).await;
    assert_eq!(end.error, "Drifted", "{end:?}");
    assert_eq!(case.live_of("CNAME").await, [(77, 3), (100, 0)], "his stay, the other goes back");
    let report = end.report();
    assert!(report.reason.contains("changed its weights to old 77, new 3"), "{}", report.reason);
    assert_eq!(report.routes[0].live.map(|live| (live.old, live.new)), Some((77, 3)));
}

#[tokio::test]
async fn external_dns_that_writes_the_weights_back_is_named() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(30);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.world.overwrite_weights(case.route(), 100, 0).await.expect("overwritten");
    let end = case.end(&arn).await;
    assert_eq!(end.error, "Drifted", "{end:?}");
    assert!(end.report().reason.contains("--policy=create-only"), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn an_execution_that_is_stopped_goes_back() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(60);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.stop(&arn).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "ABORTED");
    case.until_live((100, 0)).await;
}

#[tokio::test]
async fn traffic_stays_when_the_old_side_is_dead_until_a_person_forces_it_back() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(60);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.deregister_old_targets().await;
    case.count(case.new_side(), FAILING).await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RollbackFailed", "{end:?}");
    assert!(end.report().reason.contains("old side has no registered target"), "{end:?}");
    assert_eq!(case.live().await, (50, 50));

    let order = json!({"execution_arn": arn, "force": true});
    let forced = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
    assert_eq!(forced["next"]["action"], "rolled_back");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_cutover_that_completed_is_undone_by_hand() {
    let case = Given::default().case().await;
    let arn = case.start(&case.request()).await;
    assert_eq!(case.end(&arn).await.status, "SUCCEEDED");
    assert_eq!(case.live().await, (0, 100));
    let order = json!({"execution_arn": arn});
    let undone = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
    assert_eq!(undone["next"]["action"], "rolled_back");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn an_alarm_in_mid_ramp_goes_back() {
    let case = Given::default().case().await;
    let alarm = format!("checkout-of-{}", case.world.zone.name);
    case.set_alarm(&alarm, false).await;
    let mut request = case.request();
    request["health"]["alarms"] = json!([alarm]);
    request["ramp"][0]["bake_s"] = json!(30);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.set_alarm(&alarm, true).await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains(&format!("alarm {alarm} is in ALARM")), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_and_aaaa_records_move_together_and_back() {
    let case =
        Given { records: RecordKind::AliasAAndAaaa, rates: (FINE, FAILING), ..Given::default() }
            .case()
            .await;
    let arn = case.start(&case.request()).await;
    tests::until("both types at 50 %", async || {
        let [a, aaaa] = case.live_of_each(["A", "AAAA"]).await;
        assert_eq!(a, aaaa, "one batch holds both");
        (a == [(50, 50)]).then_some(())
    })
    .await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert_eq!(
        (case.live_of("A").await, case.live_of("AAAA").await),
        (vec![(100, 0)], vec![(100, 0)])
    );
}
