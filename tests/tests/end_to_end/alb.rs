//! Cutovers behind one load balancer, whose rules split between the target groups of both clusters.
//!
//! Its service confirms no change, so a step settles for a minute: where it does not matter, the ramp has one.

use lab::alb::AlbWorld;
use lab::proxy::{Effect, Rule};
use lab::world::Cluster;
use serde_json::{Value, json};
use tests::{Case, FAILING, FINE, GivenAlb};

/// The call that changes a rule's weights.
const MODIFY: &str = "ModifyRule";

/// The new side's target group, as a call that names it has it in its body.
fn new_group(case: &Case<AlbWorld>) -> String {
    format!("k8s-{}%2F", case.world.new.name)
}

/// How often the functions have changed a rule of a case: the whole action is sent, with both groups.
fn changes(case: &Case<AlbWorld>) -> u64 {
    let calls = case.balancing().calls_containing(&new_group(case));
    calls.iter().filter(|((_, action), _)| action == MODIFY).map(|(_, calls)| calls).sum()
}

/// A request that ends with its first step.
fn at_once(case: &Case<AlbWorld>) -> Value {
    let mut request = case.request();
    request["ramp"] = json!([{"percent": 100, "bake_s": 1}]);
    request
}

#[tokio::test]
async fn a_healthy_new_side_gets_all_the_traffic_of_every_rule() {
    let case = GivenAlb { routes: 2, ..GivenAlb::default() }.case().await;
    let arn = case.start(&case.request()).await;
    case.until_live(&[(50, 50), (50, 50)]).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, [(0, 100), (0, 100)]);
    let report = end.report();
    let names: Vec<String> = report.routes.iter().map(|route| route.route.to_string()).collect();
    assert_eq!(names, case.world.routes());
    for route in report.routes {
        assert_eq!((route.original.old, route.original.new), (100, 0));
        assert_eq!(route.live.map(|live| live.new), Some(100));
    }
}

#[tokio::test]
async fn a_failing_new_side_gives_all_the_traffic_back() {
    let case = GivenAlb { rates: (FINE, FAILING), ..GivenAlb::default() }.case().await;
    let arn = case.start(&case.request()).await;
    case.until_live(&[(50, 50)]).await;
    let end = case.end(&arn).await;
    assert_eq!((end.status.as_str(), end.error.as_str()), ("FAILED", "RolledBack"), "{end:?}");
    assert_eq!(case.live().await, [(100, 0)]);
    let reason = end.report().reason;
    assert!(reason.contains("new 30 % of"), "{reason}");
}

#[tokio::test]
async fn a_second_writer_keeps_his_weights_and_the_other_rules_go_back() {
    let case = GivenAlb { routes: 2, ..GivenAlb::default() }.case().await;
    let arn = case.start(&case.request()).await;
    case.until_live(&[(50, 50), (50, 50)]).await;
    let [first, ..] = case.world.routes() else { panic!("two routes") };
    case.world.overwrite_weights(first, 77, 3).await.expect("overwritten");
    let end = case.end(&arn).await;
    assert_eq!(end.error, "Drifted", "{end:?}");
    assert_eq!(case.live().await, [(77, 3), (100, 0)], "his stay, the other goes back");
    assert_eq!(end.report().routes[0].live.map(|live| (live.old, live.new)), Some((77, 3)));
}

#[tokio::test]
async fn a_cutover_that_completed_is_undone_by_hand() {
    let case = GivenAlb::default().case().await;
    let arn = case.start(&at_once(&case)).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, [(0, 100)]);
    let order = json!({"execution_arn": arn});
    let undone = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
    assert_eq!(undone["next"]["action"], "rolled_back");
    assert_eq!(case.live().await, [(100, 0)]);
}

#[tokio::test]
async fn an_execution_that_is_stopped_goes_back_by_the_event_of_its_end() {
    let case = GivenAlb::default().case().await;
    let arn = case.start(&case.request()).await;
    case.until_live(&[(50, 50)]).await;
    case.stop(&arn).await;
    assert_eq!(case.end(&arn).await.status, "ABORTED");
    case.until_live(&[(100, 0)]).await;
}

#[tokio::test]
async fn a_change_whose_reply_is_lost_is_found_by_the_repeat() {
    let case = GivenAlb::default().case().await;
    let lost = Rule::on(MODIFY, Effect::DropReply).containing(&new_group(&case)).times(1);
    let lost = case.balancing().rule(lost);
    let arn = case.start(&at_once(&case)).await;
    case.until_live(&[(0, 100)]).await;
    assert_eq!(lost.hits(), 1);
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, [(0, 100)]);
}

#[tokio::test]
async fn a_last_step_is_held_while_the_new_side_has_no_target_and_then_goes_back() {
    let case = GivenAlb::default().case().await;
    let arn = case.start(&case.request()).await;
    case.until_live(&[(50, 50)]).await;
    case.deregister_new_targets().await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    let reason = end.report().reason;
    assert!(reason.contains("has no healthy target"), "{reason}");
    assert_eq!((case.live().await, changes(&case)), (vec![(100, 0)], 2), "never at (0, 100)");
}

#[tokio::test]
async fn a_dry_run_ends_with_a_plan_and_changes_no_rule() {
    let case = GivenAlb { routes: 2, ..GivenAlb::default() }.case().await;
    let mut request = case.request();
    request["dry_run"] = json!(true);
    let end = case.run(&request).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    let plan = end.report().plan.expect("a plan");
    let shares: Vec<f64> = plan.steps.iter().map(|step| step.percent.into()).collect();
    assert_eq!((plan.routes, format!("{shares:?}")), (2, "[50.0, 100.0]".to_owned()));
    assert_eq!(
        plan.metrics_per_check,
        2 * 5 + 6,
        "both rules have two groups of one load balancer"
    );
    assert_eq!((case.live().await, changes(&case)), (vec![(100, 0); 2], 0));
}

#[tokio::test]
async fn a_listener_that_is_not_there_is_refused_at_once() {
    let case = GivenAlb::default().case().await;
    let (name, _) = case.world.listener.split_once(':').expect("NAME:PORT");
    for listener in [format!("{name}:8443"), format!("{name}-of-nobody:80")] {
        let mut request = case.request();
        request["router"]["alb"]["listener"] = json!(listener);
        let end = case.run(&request).await;
        assert_eq!(end.error, "Rejected", "{listener}: {end:?}");
        assert_eq!(end.codes(), ["listener_missing"], "{listener}");
    }
    assert_eq!(case.live().await, [(100, 0)]);
}

#[tokio::test]
async fn sides_are_told_by_target_groups_and_routes_by_host_names_where_the_request_names_them() {
    let case = GivenAlb { routes: 2, ..GivenAlb::default() }.case().await;
    let (old, new) = (&case.world.old, &case.world.new);
    let [_, second] = case.world.routes() else { panic!("two routes") };
    let mut request = case.request();
    request["old"] = json!(old.name);
    request["routes"] = json!([second]);
    request["router"]["alb"] = json!({
        "listener": [case.world.rules.listener_arn],
        "target_groups": {
            old.name.as_str(): old.target_group_arn(), new.name.as_str(): new.target_group_arn(),
        },
    });
    let cutover = case.accepted(&request).await;
    let names: Vec<String> = cutover.routes.iter().map(|route| route.name.to_string()).collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), [second]);
    assert!(cutover.warnings.iter().any(|warning| warning.code == "not_atomic"));
}

#[tokio::test]
async fn a_stopped_cutover_is_resumed_above_its_live_split() {
    let case = GivenAlb::default().case().await;
    let [route] = case.world.routes() else { panic!("one route") };
    case.world.overwrite_weights(route, 70, 30).await.expect("overwritten");
    let mut request = at_once(&case);
    request["old"] = json!(case.world.old.name);
    assert_eq!(case.run(&request).await.codes(), ["split_not_initial"]);
    request["resume"] = json!(true);
    let end = case.run(&request).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, [(0, 100)]);
}

#[tokio::test]
async fn with_isolate_a_failing_rule_goes_back_alone() {
    let mut case = GivenAlb::default().case().await;
    let apart = format!("apart.{}", case.world.routes()[0]);
    let [old, new] = case.world.add_route(&apart).await.expect("a rule");
    for (side, rate) in [(&old, FINE), (&new, FAILING)] {
        case.count(side, rate).await;
    }
    let mut request = at_once(&case);
    request["isolate"] = json!(true);
    let end = case.run(&request).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    let splits = case.world.rules.splits().await.expect("read");
    let of_new = |host: &str, side: &Cluster| {
        let split = splits.iter().find(|split| split.host == host).expect("its rule");
        let group = split.groups.iter().find(|(arn, _)| arn == side.target_group_arn());
        group.map(|(_, weight)| *weight)
    };
    let fine = of_new(&case.world.routes()[0], &case.world.new);
    assert_eq!((fine, of_new(&apart, &new)), (Some(100), Some(0)), "{end:?}");
}
