//! Late hands, second deliveries, other executions, and other people's changes: what is not ours is left alone.

use std::time::Duration;

use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use lab::proxy::{Effect, Rule};
use serde_json::{Value, json};
use tests::{Case, FAILING, FINE, Given, Rate};

/// The record sets of the first route and of its fence.
async fn sets(case: &Case) -> Vec<ResourceRecordSet> {
    let client = aws_sdk_route53::Client::new(case.config());
    let listed = client.list_resource_record_sets().hosted_zone_id(&case.world.zone.id);
    let listed = listed.send().await.expect("listed").resource_record_sets;
    let of_route = |set: &ResourceRecordSet| set.name().contains(case.route());
    listed.into_iter().filter(of_route).collect()
}

/// What the fence of the first route says, if it has one.
async fn mark(case: &Case) -> Option<String> {
    let sets = sets(case).await;
    let fence = sets.iter().find(|set| set.name().starts_with("_cutover."))?;
    Some(fence.resource_records()[0].value().to_owned())
}

/// Changes a record set of the first route, as somebody else would.
async fn change(case: &Case, action: ChangeAction, set: ResourceRecordSet) {
    let client = aws_sdk_route53::Client::new(case.config());
    let change = Change::builder().action(action).resource_record_set(set);
    let batch = ChangeBatch::builder().changes(change.build().expect("complete")).build();
    let request = client.change_resource_record_sets().hosted_zone_id(&case.world.zone.id);
    request.change_batch(batch.expect("complete")).send().await.expect("changed");
}

/// The record set of one side of the first route.
async fn of_side(case: &Case, side: &str) -> ResourceRecordSet {
    let sets = sets(case).await;
    let of_side = |set: &ResourceRecordSet| set.set_identifier() == Some(side);
    sets.into_iter().find(of_side).expect("a record")
}

fn slow_first_step(case: &Case, bake_s: u32) -> Value {
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(bake_s);
    request
}

fn by_hand(arn: &str, force: bool) -> Value {
    json!({"execution_arn": arn, "force": force})
}

#[tokio::test]
async fn a_fence_stands_beside_a_route_from_the_first_shift_to_the_last_write() {
    let case = Given::default().case().await;
    let arn = case.start(&slow_first_step(&case, 6)).await;
    case.until_live((50, 50)).await;
    let name = arn.rsplit(':').next().expect("a name");
    let said = mark(&case).await.expect("a fence");
    assert!(
        said.starts_with("\"cutover 1 ") && said.contains(&format!("cutover:{name}")),
        "{said}"
    );
    case.until_live((0, 100)).await;
    let said = mark(&case).await;
    assert!(said.as_ref().is_none_or(|said| said.starts_with("\"cutover 2 ")), "{said:?}");
    assert_eq!(case.end(&arn).await.status, "SUCCEEDED");
    assert_eq!((mark(&case).await, case.live().await), (None, (0, 100)));
    // By hand it is taken up again for as long as the undo takes.
    let undone = case.invoke("RollbackFunctionName", &by_hand(&arn, false)).await;
    assert_eq!(undone.expect("undone")["next"]["action"], "rolled_back");
    assert_eq!((mark(&case).await, case.live().await), (None, (100, 0)));
}

#[tokio::test]
async fn a_cutover_whose_fence_cannot_be_removed_has_completed_all_the_same() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][1]["bake_s"] = json!(4);
    let arn = case.start(&request).await;
    case.until_live((0, 100)).await;
    let denied = Effect::Refuse { status: 403, code: "AccessDenied" };
    let denied = Rule::on("ChangeResourceRecordSets", denied).containing(&case.world.zone.id);
    let denied = case.proxy().rule(denied);
    let end = case.end(&arn).await;
    assert_eq!((end.status.as_str(), denied.hits()), ("SUCCEEDED", 1), "{end:?}");
    assert_eq!(end.report().routes[0].live.map(|live| live.new), Some(100));
    drop(denied);
    assert!(mark(&case).await.is_some());
    assert_eq!(case.live().await, (0, 100));
    // By hand it goes back, and the fence with it.
    let undone = case.invoke("RollbackFunctionName", &by_hand(&arn, false)).await;
    assert_eq!(undone.expect("undone")["next"]["action"], "rolled_back");
    assert_eq!((mark(&case).await, case.live().await), (None, (100, 0)));
}

#[tokio::test]
async fn a_zone_may_do_without_fences() {
    let case = Given { rates: (FINE, FAILING), ..Given::default() }.case().await;
    let mut request = case.request();
    request["fence"] = json!(false);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    assert_eq!(mark(&case).await, None);
    assert_eq!(case.end(&arn).await.error, "RolledBack");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn the_repeats_of_a_stopped_cutover_s_event_take_nothing_from_the_next_one() {
    // F03a: the first shift is under way when the execution is stopped, so the roll-back is done once more
    // after one and two more minutes.
    let case = Given::default().case().await;
    let request = slow_first_step(&case, 30);
    let slow = Rule::on("ChangeResourceRecordSets", Effect::Delay(Duration::from_secs(2)));
    let slow = case.proxy().rule(slow.containing(&case.world.zone.id).times(1));
    let stopped = case.start(&request).await;
    tests::until("the first write", async || (slow.hits() > 0).then_some(())).await;
    case.stop(&stopped).await;
    case.end(&stopped).await;
    // Its function goes on; whatever it has written is taken back.
    tokio::time::sleep(Duration::from_secs(4)).await;
    tests::until("all on the old side, and no fence", async || {
        (case.live().await == (100, 0) && mark(&case).await.is_none()).then_some(())
    })
    .await;
    let next = case.start(&request).await;
    case.until_live((50, 50)).await;
    for _ in 0..3 {
        let event = case.end_event(&stopped).await;
        case.deliver_end_again(&event).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(case.live().await, (50, 50));
    }
    let end = case.end(&next).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_second_delivery_of_an_old_event_takes_nothing_from_a_completed_cutover() {
    // F03b: stopped at 100 %, before the last bake is over; undone; then the same again, to its end.
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][1]["bake_s"] = json!(30);
    let stopped = case.start(&request).await;
    case.until_live((0, 100)).await;
    case.stop(&stopped).await;
    case.until_live((100, 0)).await;
    let event = case.end_event(&stopped).await;
    assert_eq!(case.run(&case.request()).await.status, "SUCCEEDED");
    assert_eq!(case.live().await, (0, 100));
    let again = case.invoke("RollbackFunctionName", &event).await.expect("nothing to undo");
    assert_eq!(again["outcome"], "nothing_to_do", "{again}");
    assert!(again.to_string().contains("there is nothing to undo"), "{again}");
    assert_eq!(case.live().await, (0, 100));
    let again = case.invoke("RollbackFunctionName", &by_hand(&stopped, false)).await;
    assert!(again.expect("nothing").to_string().contains("there is nothing to undo"));
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_call_that_is_carried_out_after_the_roll_back_moves_nothing() {
    let case = Given::default().case().await;
    let arn = case.start(&slow_first_step(&case, 4)).await;
    case.until_live((50, 50)).await;
    // The SDK's tries of the second shift are all lost, and carried out later.
    let late = Rule::on("ChangeResourceRecordSets", Effect::Late(Duration::from_secs(8)));
    let late = case.proxy().rule(late.containing(&case.world.zone.id).times(2));
    tests::until("a late call", async || (late.hits() > 0).then_some(())).await;
    case.stop(&arn).await;
    case.until_live((100, 0)).await;
    tests::until("the late calls to be carried out", async || {
        (late.late_answers().len() >= usize::try_from(late.hits()).expect("few")).then_some(())
    })
    .await;
    for (status, body) in late.late_answers() {
        assert_eq!(status, 400, "{body}");
        assert!(body.contains("InvalidChangeBatch"), "{body}");
    }
    tests::until("no fence", async || mark(&case).await.is_none().then_some(())).await;
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_second_cutover_reads_whose_hand_is_on_a_route() {
    let case = Given::default().case().await;
    let first = case.start(&slow_first_step(&case, 12)).await;
    case.until_live((50, 50)).await;
    let mut request = case.request();
    request["resume"] = json!(true);
    request["old"] = json!(case.world.old.name);
    let second = case.run(&request).await;
    assert_eq!(second.error, "Rejected", "{second:?}");
    assert_eq!(second.codes(), ["already_running"], "{second:?}");
    // An execution that started earlier, and is not listed as a rival, is stopped by the fence alone.
    let refused = case.invoke("ValidateFunctionName", &case.validation(&request)).await;
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("fenced") && refused.contains("has its hand on"), "{refused}");
    assert_eq!(case.end(&first).await.status, "SUCCEEDED");

    // The fence that an execution has left, whose last write failed, is replaced.
    case.world.overwrite_weights(case.route(), 100, 0).await.expect("overwritten");
    let parts: Vec<&str> = first.split(':').collect();
    let machine = [parts[3], parts[4], parts[6]].join(":");
    let fence = ResourceRecordSet::builder()
        .name(format!("_cutover.{}", case.route()))
        .r#type(RrType::Txt)
        .ttl(60)
        .resource_records(
            ResourceRecord::builder()
                .value(format!("\"cutover 2 2026-03-17T09:30:00Z {machine}:long-gone\""))
                .build()
                .expect("complete"),
        );
    change(&case, ChangeAction::Create, fence.build().expect("complete")).await;
    let accepted = case.accepted(&case.request()).await;
    assert!(accepted.warnings.iter().any(|warning| warning.code == "fence_left"), "{accepted:?}");
    let end = case.run(&case.request()).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!((mark(&case).await, case.live().await), (None, (0, 100)));
}

#[tokio::test]
async fn a_record_that_is_repointed_or_kept_for_a_day_is_drift() {
    // F04: the weights are those that cutover wrote.
    let run = async |alter: fn(&mut ResourceRecordSet)| {
        let case = Given::default().case().await;
        let arn = case.start(&slow_first_step(&case, 30)).await;
        case.until_live((50, 50)).await;
        let mut set = of_side(&case, &case.new_side().name).await;
        alter(&mut set);
        change(&case, ChangeAction::Upsert, set).await;
        let end = case.end(&arn).await;
        assert_eq!(end.error, "Drifted", "{end:?}");
        assert_eq!(case.live().await, (50, 50), "somebody else's hand is left alone");
        let reason = end.report().reason;
        // Traffic that stays is said first, with the command that takes it back.
        assert!(reason.starts_with("REQUESTS STAY ON THE NEW SIDE"), "{reason}");
        assert!(reason.contains("aws lambda invoke --function-name "), "{reason}");
        assert!(reason.contains(&by_hand(&arn, true).to_string()), "{reason}");
        assert!(reason.contains("where its requests go, or for how long, was changed"), "{reason}");
        assert_eq!(mark(&case).await, None, "nobody's hand is on it any more");
        let plain = case.invoke("RollbackFunctionName", &by_hand(&arn, false)).await;
        plain.expect_err("it is somebody else's");
        let forced = case.invoke("RollbackFunctionName", &by_hand(&arn, true)).await;
        assert_eq!(forced.expect("forced")["next"]["action"], "rolled_back");
        assert_eq!((mark(&case).await, case.live().await), (None, (100, 0)));
    };
    let repoint = |set: &mut ResourceRecordSet| {
        let records = set.resource_records.as_mut().expect("values");
        records[0].value = "other-lb.us-east-1.elb.amazonaws.com".to_owned();
    };
    let a_day = |set: &mut ResourceRecordSet| set.ttl = Some(86_400);
    tokio::join!(run(repoint), run(a_day));
}

#[tokio::test]
async fn a_fence_that_somebody_removes_strands_no_traffic() {
    let case = Given { rates: (FINE, FAILING), ..Given::default() }.case().await;
    let mut request = slow_first_step(&case, 30);
    // Failing is found by the limit alone, some periods after the fence is gone.
    request["health"]["alpha"] = json!(0.000_001);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    let gone = sets(&case).await.into_iter().find(|set| set.name().starts_with("_cutover."));
    change(&case, ChangeAction::Delete, gone.expect("a fence")).await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert_eq!((mark(&case).await, case.live().await), (None, (100, 0)));

    // A healthy one finds it gone at its next shift.
    let case = Given::default().case().await;
    let arn = case.start(&slow_first_step(&case, 4)).await;
    case.until_live((50, 50)).await;
    let gone = sets(&case).await.into_iter().find(|set| set.name().starts_with("_cutover."));
    change(&case, ChangeAction::Delete, gone.expect("a fence")).await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("somebody has removed its fence"), "{end:?}");
    assert_eq!((mark(&case).await, case.live().await), (None, (100, 0)));
}

#[tokio::test]
async fn an_execution_of_before_fences_takes_nothing_from_one_that_has_them() {
    let case = Given::default().case().await;
    let mut request = slow_first_step(&case, 60);
    request["fence"] = json!(false);
    let stopped = case.start(&request).await;
    case.until_live((50, 50)).await;
    case.stop(&stopped).await;
    case.until_live((100, 0)).await;
    let event = case.end_event(&stopped).await;
    let next = case.start(&slow_first_step(&case, 8)).await;
    case.until_live((50, 50)).await;
    let again = case.invoke("RollbackFunctionName", &event).await.expect("nothing to do");
    assert_eq!(again["outcome"], "nothing_to_do", "{again}");
    assert_eq!(case.live().await, (50, 50));
    assert_eq!(case.end(&next).await.status, "SUCCEEDED");
}

#[tokio::test]
async fn a_one_sided_revert_is_recognised_and_the_rest_goes_back_as_well() {
    let case = Given::default().case().await;
    let arn = case.start(&slow_first_step(&case, 30)).await;
    case.until_live((50, 50)).await;
    // The old cluster's external-dns writes its own record back, and that alone.
    case.world.overwrite_weights(case.route(), 100, 50).await.expect("overwritten");
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    let reason = end.report().reason;
    assert!(reason.contains("wrote the weight of its old side back"), "{reason}");
    assert!(reason.contains("--policy=create-only"), "{reason}");
    assert_eq!((mark(&case).await, case.live().await), (None, (100, 0)));
}

#[tokio::test]
async fn a_record_type_that_appears_on_one_side_keeps_nothing_from_going_back() {
    let case = Given::default().case().await;
    // Beside a CNAME no other type can stand, so the route has A records.
    for side in [&case.world.old.name, &case.new_side().name] {
        let mut set = of_side(&case, side).await;
        change(&case, ChangeAction::Delete, set.clone()).await;
        set.r#type = RrType::A;
        set.resource_records.as_mut().expect("values")[0].value = "192.0.2.1".to_owned();
        change(&case, ChangeAction::Create, set).await;
    }
    let accepted = async || {
        // Load balancers are told by DNS names: the state is made by hand.
        let mut state = case.event("shift-weight-first-step.json");
        let routes = state["routes"].as_array_mut().expect("routes");
        routes.truncate(1);
        routes[0]["name"] = json!(case.route());
        routes[0]["original"] = json!({"old": 100, "new": 0});
        routes[0]["last"] = json!({"old": 100, "new": 0});
        state["fence"] = json!(true);
        state
    };
    let shifted = case.invoke("ShiftWeightFunctionName", &accepted().await).await;
    let shifted = shifted.expect("shifted");
    let share = case.live_of("A").await[0];
    assert!(share.1 > 0, "{share:?}");
    let mut aaaa = of_side(&case, &case.world.old.name).await;
    aaaa.r#type = RrType::Aaaa;
    aaaa.weight = Some(100);
    aaaa.resource_records.as_mut().expect("values")[0].value = "2001:db8::1".to_owned();
    change(&case, ChangeAction::Create, aaaa).await;
    let checked = case.invoke("CheckHealthFunctionName", &shifted).await.expect("checked");
    assert_eq!(checked["next"]["action"], "roll_back", "{checked}");
    assert_eq!(checked["routes"][0]["status"], "rolling_back", "{checked}");
    let order = json!({"cutover": checked, "failure": null});
    let back = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
    assert_eq!(back["next"]["action"], "rolled_back", "{back}");
    assert_eq!((mark(&case).await, case.live_of("A").await[0]), (None, (100, 0)));
}

#[tokio::test]
async fn a_cutover_does_not_complete_while_both_sides_fail() {
    let run = async |old: Rate, new: Rate| {
        let case = Given { rates: (old, new), ..Given::default() }.case().await;
        let mut request = case.request();
        request["ramp"] = json!([{"percent": 100, "bake_s": 1}]);
        let end = case.run(&request).await;
        (end, case.live().await)
    };
    let dead = Rate { errors: 100, ..FINE };
    let worse = Rate { errors: 60, ..FINE };
    let ((alike, live), (old_is_worse, stays)) =
        tokio::join!(run(FAILING, FAILING), run(dead, worse));
    assert_eq!((alike.error.as_str(), live), ("RolledBack", (100, 0)), "{alike:?}");
    assert!(alike.report().reason.contains("still failing after 3 s"), "{alike:?}");
    // Going back to a side that fails even more would help nobody: a person is called.
    assert_eq!(
        (old_is_worse.error.as_str(), stays),
        ("RollbackFailed", (0, 100)),
        "{old_is_worse:?}"
    );
    let reason = old_is_worse.report().reason;
    assert!(reason.contains("its old side fails even more than the new one"), "{reason}");
}
