//! What comes in from outside: replies that cannot be read, requests with mistakes, events.

use lab::proxy::{Effect, Rule, RuleHandle};
use serde_json::{Value, json};
use tests::{Case, End, FAILING, FINE, Given};

/// What something between a function and AWS may answer in its place, once.
const UNREADABLE: [Effect; 4] = [
    Effect::ReplaceReply { status: 200, body: "<html>busy</html>" },
    Effect::ReplaceReply { status: 200, body: "" },
    Effect::ReplaceReply { status: 403, body: "<html>blocked</html>" },
    Effect::HalveReply,
];

/// Disturbs the next calls of an action with this text in them, each by another effect.
fn disturb(case: &Case, action: &str, text: &str, effects: &[Effect]) -> Vec<RuleHandle> {
    let rule = |effect: &Effect| Rule::on(action, effect.clone()).containing(text).times(1);
    effects.iter().map(|effect| case.proxy().rule(rule(effect))).collect()
}

fn all_were_met(rules: &[RuleHandle], end: &End) {
    let hits: Vec<u32> = rules.iter().map(RuleHandle::hits).collect();
    assert_eq!(hits, vec![1; rules.len()], "{end:?}");
}

#[tokio::test]
async fn unreadable_replies_in_mid_ramp_end_nothing() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(4);
    request["health"]["hold_max_s"] = json!(60);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    let mut rules = disturb(&case, "ListResourceRecordSets", &case.world.zone.id, &UNREADABLE);
    let metrics = &case.new_side().load_balancer;
    rules.extend(disturb(&case, "GetMetricData", metrics, &UNREADABLE));
    let end = case.end(&arn).await;
    all_were_met(&rules, &end);
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn an_unreadable_reply_to_a_change_that_took_effect_ends_nothing() {
    let case = Given::default().case().await;
    let [html, ..] = UNREADABLE;
    let rules = disturb(&case, "ChangeResourceRecordSets", &case.world.zone.id, &[html]);
    let end = case.run(&case.request()).await;
    all_were_met(&rules, &end);
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_roll_back_with_unreadable_replies_gives_everything_back() {
    for (action, effects) in [
        // A check judges the metrics all the same, and the roll-back meets what the checks have left.
        ("ListResourceRecordSets", [&UNREADABLE[..], &UNREADABLE[..2]].concat()),
        // It takes effect, so that the next try has nothing to change.
        ("ChangeResourceRecordSets", UNREADABLE[..1].to_vec()),
    ] {
        let case = Given { rates: (FINE, FAILING), ..Given::default() }.case().await;
        let arn = case.start(&case.request()).await;
        case.until_live((50, 50)).await;
        let rules = disturb(&case, action, &case.world.zone.id, &effects);
        let end = case.end(&arn).await;
        all_were_met(&rules, &end);
        assert_eq!(end.error, "RolledBack", "{action}: {end:?}");
        assert_eq!(case.live().await, (100, 0), "{action}");
    }
}

#[tokio::test]
async fn a_roll_back_says_that_it_could_not_read_a_reply_and_its_repeat_gives_everything_back() {
    let case = Given { routes: 2, rates: (FINE, FAILING), ..Given::default() }.case().await;
    let accepted = json!(case.accepted(&case.request()).await);
    for action in ["ListResourceRecordSets", "ChangeResourceRecordSets"] {
        for effect in &UNREADABLE {
            let shifted = case.invoke("ShiftWeightFunctionName", &accepted).await;
            let mut shifted = shifted.expect("shifted");
            // As the state machine hands it over.
            shifted["definition"] = json!(2);
            assert_eq!(case.live_of("CNAME").await, [(50, 50), (50, 50)]);
            let rules = disturb(&case, action, &case.world.zone.id, std::slice::from_ref(effect));
            let failure = json!({"Error": "States.Timeout", "Cause": "too slow"});
            let order = json!({"cutover": shifted, "failure": failure});
            let error = case.invoke("RollbackFunctionName", &order).await.expect_err("unreadable");
            assert_eq!(error["errorType"], "Unreachable", "{action} {effect:?}: {error}");
            assert_eq!(rules[0].hits(), 1);
            let back = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
            assert_eq!(back["next"]["action"], "rolled_back", "{action} {effect:?}");
            assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)]);
        }
    }
}

#[tokio::test]
async fn a_validation_with_unreadable_replies_is_tried_again() {
    let case = Given::default().case().await;
    let zone = &case.world.zone.id;
    let [html, _, _, half] = UNREADABLE;
    let mut rules = disturb(&case, "ListResourceRecordSets", zone, &[half]);
    rules.extend(disturb(&case, "GetHostedZone", zone, std::slice::from_ref(&html)));
    rules.extend(disturb(&case, "GetMetricData", &case.world.old.load_balancer, &[html]));
    let mut request = case.request();
    request["dry_run"] = json!(true);
    let end = case.run(&request).await;
    all_were_met(&rules, &end);
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
}

#[tokio::test]
async fn a_step_with_an_unknown_field_is_rejected_by_its_name() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["x"] = json!(1);
    request["ramp"][1]["percent"] = json!(60);
    request["health"]["hold_max_s"] = Value::Null;
    let end = case.run(&request).await;
    assert_eq!(end.error, "Rejected", "{end:?}");
    assert_eq!(end.codes(), ["invalid_field", "invalid_field", "unknown_field"]);
    for named in ["ramp[0].", "ramp[1].percent is 60", "health.hold_max_s is null"] {
        assert!(end.cause.contains(named), "{named} is not in {end:?}");
    }
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_new_cluster_without_the_prefix_of_the_stack_starts_nothing() {
    let case = Given::default().case().await;
    for file in ["start-create-cluster.json", "start-create-cluster-clustername.json"] {
        let mut event = case.event(file);
        let parameters = &mut event["detail"]["requestParameters"];
        let spelling = if parameters.get("name").is_some() { "name" } else { "clusterName" };
        parameters[spelling] = json!("sandbox-1");
        let arn = case.deliver(&event).await;
        let end = case.end(&arn).await;
        assert_eq!(end.status, "SUCCEEDED", "{end:?}");
        assert_eq!(end.output["next"]["action"], "ignored", "{end:?}");
        let reason = end.output["next"]["reason"].as_str().expect("text");
        for said in ["sandbox-1", tests::CLUSTER_NAME_PREFIX] {
            assert!(reason.contains(said), "{said} is not in {reason}");
        }
    }
}
