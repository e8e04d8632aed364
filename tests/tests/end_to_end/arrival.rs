//! What is made of requests that do not arrive, that stay, that come no more or that are the first.

use serde_json::{Value, json};
use tests::{Case, FINE, Given, GivenAlb, HOSTS, Rate, SILENT, now_s};

/// A request whose steps are held for long once they are over.
pub fn patient(mut request: Value) -> Value {
    request["health"]["hold_max_s"] = json!(600);
    request
}

/// A world whose new side has counted nothing yet.
async fn silent() -> Case {
    Given { rates: (FINE, SILENT), ..Given::default() }.case().await
}

#[tokio::test]
async fn requests_that_vanish_on_their_way_to_the_new_side_go_back() {
    let case = silent().await;
    let (state, since) = case.baking(&patient(case.request()), 15).await;
    // Before the shift the old side had twice as many: the other half never arrives.
    case.count_in(&case.world.old, FINE, since - 40..since).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
    assert!(reason.contains("requests vanish on the way"), "{reason}");
    let metric = "ClientTLSNegotiationErrorCount";
    case.count_also_in(case.new_side(), metric, 50, since..since + 60).await;
    let (_, reason) = case.next(&state).await;
    let said = " TLS negotiations failed on the new side since the step settled, 0 on the old one";
    assert!(reason.contains("requests vanish on the way: ") && reason.contains(said), "{reason}");
}

#[tokio::test]
async fn requests_that_keep_going_to_the_old_side_hold_the_step_and_are_said() {
    let case = GivenAlb { rates: (FINE, SILENT), ..GivenAlb::default() }.case().await;
    let (state, since) = case.baking(&patient(case.request()), 15).await;
    let few = Rate { requests: 2, ..FINE };
    case.count_in(&case.world.new, few, since..since + 60).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    for said in ["50 %: held for up to ", "50 % are meant for it", "the router does not send them"]
    {
        assert!(reason.contains(said), "{said} is not in {reason}");
    }
}

#[tokio::test]
async fn the_last_step_waits_for_the_old_side_to_get_less() {
    let case = Given::default().case().await;
    let mut request = patient(case.request());
    request["ramp"] = json!([{"percent": 100, "bake_s": 1}]);
    request["health"]["old_share_max"] = json!(0.1);
    let (mut state, _) = case.baking(&request, 8).await;
    let still = "the old side still gets 50 % of the requests";
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    assert!(reason.contains("old_share_max is 10 %") && reason.contains(still), "{reason}");
    // It has been held for long enough.
    state["health"]["hold_max_s"] = json!(3);
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "release", "{reason}");
    assert!(reason.contains("every step was passed") && reason.contains(still), "{reason}");
}

#[tokio::test]
async fn a_step_is_not_passed_on_requests_that_come_no_more() {
    let case = silent().await;
    let (state, since) = case.baking(&patient(case.request()), 20).await;
    case.count_in(case.new_side(), FINE, since..since + 12).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    assert!(reason.contains("but 0 in the last 5 periods"), "{reason}");
    case.count_in(case.new_side(), FINE, since + 12..since + 90).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "shift", "{reason}");
}

#[tokio::test]
async fn a_cold_start_of_a_new_side_does_not_go_back_and_what_lasts_longer_does() {
    let case = silent().await;
    // Most of a day, so that a period worse than any of it could decide alone.
    let now = now_s();
    case.count_in(&case.world.old, FINE, now - 900..now - 40).await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(600);
    let (mut state, since) = case.baking(&request, 8).await;
    let cold = Rate { errors: 25, ..FINE };
    case.count_in(case.new_side(), cold, since..since + 1).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "{reason}");
    case.count_in(case.new_side(), cold, since + 1..since + 3).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
    // Where a third of the requests fail and more, one is enough.
    let mut broken = case.new_side().clone();
    broken.load_balancer = format!("app/broken-{}/0123456789abcdef", broken.name);
    case.count_in(&broken, Rate { errors: 60, ..FINE }, since..since + 1).await;
    state["meters"][1]["id"] = json!(broken.load_balancer);
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
}

#[tokio::test]
async fn hosts_that_were_there_and_are_told_of_no_more_are_none() {
    let case = silent().await;
    let (mut state, since) = case.baking(&patient(case.request()), 15).await;
    // Nothing has its name any more, so it was not made anew.
    let mut group = case.new_side().clone();
    group.load_balancer = "app/deleted-in-mid-ramp/0123456789abcdef".to_owned();
    group.target_group = "targetgroup/deregistered-in-mid-ramp/0123456789abcdef".to_owned();
    state["meters"][1]["id"] = json!(group.load_balancer);
    state["meters"][1]["hosts"] = json!([group.target_group.trim_start_matches("targetgroup/")]);
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "wait", "nobody has told of them: {reason}");
    case.count_part_in(&group, HOSTS, 2, since..since + 5).await;
    let (action, reason) = case.next(&state).await;
    assert_eq!(action, "roll_back", "{reason}");
    assert!(reason.contains("the new side has no healthy target"), "{reason}");
}
