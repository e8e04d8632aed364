//! Host names that share the load balancer of each side, and whether the new side has room for them.

use lab::proxy::{Effect, Rule};
use lab::world::Groups;
use serde_json::Value;
use tests::{Case, ERRORS, FINE, Given, HOSTS, Rate, SILENT, now_s};

use crate::arrival::patient;
use crate::entrances::{waits_for, warnings};
use crate::world::refused;

/// Two host names, each with target groups of its own, as an `IngressGroup` has them.
async fn two_hosts(rates: (Rate, Rate)) -> Case {
    Given { routes: 2, groups: Groups::EachHost, rates, ..Given::default() }.case().await
}

#[tokio::test]
async fn a_host_name_that_fails_behind_others_that_do_well_goes_back_by_its_name() {
    let case = two_hosts((FINE, FINE)).await;
    let parts = case.new_side().parts();
    let ([_, second], [_, host]) = (parts.as_slice(), case.world.routes()) else {
        panic!("two host names")
    };
    case.count_part(second, ERRORS, FINE.requests).await;
    case.count_also(case.new_side(), ERRORS, FINE.requests).await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    let reason = end.report().reason;
    assert!(reason.starts_with(&format!("{host}: new 100 % of ")), "{reason}");
    assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)]);
}

#[tokio::test]
async fn a_host_name_whose_requests_stay_on_the_old_side_holds_the_step_by_its_name() {
    let case = two_hosts((FINE, SILENT)).await;
    let (state, since) = case.baking(&patient(case.request()), 15).await;
    let parts = case.new_side().parts();
    let ([first, second], [_, host]) = (parts.as_slice(), case.world.routes()) else {
        panic!("two host names")
    };
    for (part, requests) in [(first, FINE.requests), (second, 2)] {
        case.count_part_in(part, "RequestCount", requests, since..since + 60).await;
    }
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    let said = format!("{host}: requests are missing: the router does not send them");
    assert!(reason.contains(&said), "{reason}");
    assert!(reason.contains("the new side gets 1.96 % "), "{reason}");
}

#[tokio::test]
async fn requests_that_no_target_answers_are_those_of_the_host_name_that_lacks_them() {
    let case = two_hosts((FINE, FINE)).await;
    let parts = case.new_side().parts();
    let ([first, _], [_, host]) = (parts.as_slice(), case.world.routes()) else {
        panic!("two host names")
    };
    case.count_part(first, "HTTPCode_Target_2XX_Count", FINE.requests).await;
    // 504s, which AWS counts for the load balancer alone.
    case.count_also(case.new_side(), "HTTPCode_ELB_5XX_Count", FINE.requests).await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    let reason = end.report().reason;
    assert!(reason.starts_with(&format!("{host}: new 100 % of ")), "{reason}");
}

#[tokio::test]
async fn host_names_with_different_error_rates_are_judged_each_by_itself() {
    let case = two_hosts((SILENT, SILENT)).await;
    let of = |requests, errors| Rate { requests, errors, slow: 0 };
    // 2 % and 0.1 % on both sides. A lump has brought most of the first to the new one, which all together would be
    // three times as bad.
    let (old, new) = ([of(1_000, 20), of(5_000, 5)], [of(9_000, 180), of(5_000, 5)]);
    case.count_each(&case.world.old, &old).await;
    case.count_each(case.new_side(), &new).await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live_of("CNAME").await, [(0, 100), (0, 100)]);
}

#[tokio::test]
async fn host_names_that_share_a_target_group_are_counted_together_which_is_said() {
    let case = Given { routes: 2, ..Given::default() }.case().await;
    assert!(warnings(&case, &case.request()).await.contains(&"shared_counts".to_owned()));
}

#[tokio::test]
async fn a_host_name_without_a_target_of_its_own_is_waited_for() {
    let case = two_hosts((FINE, FINE)).await;
    let parts = case.new_side().parts();
    case.deregister(parts.last().expect("two")).await;
    assert_eq!(refused(&case, &case.request()).await, waits_for("no_healthy_target"));
}

#[tokio::test]
async fn a_new_side_must_have_the_hosts_of_the_busiest_hour_of_the_day() {
    let case = Given::default().case().await;
    busiest_hour_has_8_hosts(&case, &case.request()).await;
}

/// A new side with fewer hosts than the old one had at noon is waited for.
pub async fn busiest_hour_has_8_hosts(case: &Case, request: &Value) {
    let (old, noon) = (&case.world.old, now_s() - 3 * 3_600);
    let many = Rate { requests: 10_000, ..FINE };
    case.count_in(old, many, noon..noon + 60).await;
    assert!(case.invoke("ValidateFunctionName", &case.validation(request)).await.is_ok());
    case.count_part_in(old, HOSTS, 8, noon..noon + 60).await;
    assert_eq!(refused(case, request).await, waits_for("capacity_too_low"));
}

#[tokio::test]
async fn targets_that_are_nodes_are_said() {
    let case = Given::default().case().await;
    let nodes = Effect::Reword {
        text: "<TargetType>ip</TargetType>",
        by: "<TargetType>instance</TargetType>",
    };
    let groups = Rule::on("DescribeTargetGroups", nodes);
    let nodes = case.proxy().rule(groups.containing(&format!("k8s-{}%2F", case.new_side().name)));
    let warnings = warnings(&case, &case.request()).await;
    assert!(nodes.hits() > 0);
    assert!(warnings.contains(&"node_targets".to_owned()), "{warnings:?}");
}
