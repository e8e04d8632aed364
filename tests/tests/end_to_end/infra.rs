//! What AWS adds and the emulator lacks, and what people hear when a roll-back fails.

use std::time::{Duration, Instant};

use lab::proxy::{Effect, Rule};
use serde_json::json;
use tests::{AWS_MINUTE, Case, FAILING, FINE, Given};

const DENIED: Effect = Effect::Refuse { status: 403, code: "AccessDenied" };
const THROTTLED: Effect = Effect::Refuse { status: 400, code: "Throttling" };

/// Times at which the rollback function has read the history of an execution: its tries.
async fn tries_of_rollback(case: &Case, arn: &str, wanted: usize) -> Vec<Duration> {
    let begin = Instant::now();
    let reads = || {
        let calls = case.proxy().calls_containing(arn);
        calls.iter().find(|((_, a), _)| a == "GetExecutionHistory").map_or(0, |(_, n)| *n)
    };
    let mut tries = vec![];
    tests::until(&format!("{wanted} tries of rollback"), async || {
        while u64::try_from(tries.len()).expect("few") < reads() {
            tries.push(begin.elapsed());
        }
        (tries.len() >= wanted).then_some(())
    })
    .await;
    tries
}

#[tokio::test]
async fn lambda_repeats_what_an_event_rule_or_a_second_delivery_has_invoked_in_vain() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(60);
    let arn = case.start(&request).await;
    case.until_live((50, 50)).await;
    let denied = Rule::on("GetExecutionHistory", DENIED).containing(&arn);
    let denied = case.proxy().rule(denied);
    case.stop(&arn).await;
    let event = case.end_event(&arn).await;

    let by_rule = tries_of_rollback(&case, &arn, 3).await;
    assert!(by_rule[1] >= by_rule[0] + AWS_MINUTE / 2, "{by_rule:?}");
    assert!(by_rule[2] >= by_rule[1] + AWS_MINUTE, "{by_rule:?}");
    case.deliver_end_again(&event).await;
    tries_of_rollback(&case, &arn, 5).await;
    assert_eq!(case.live().await, (50, 50));
    drop(denied);
    // The last repeat of the second delivery may read it.
    case.until_live((100, 0)).await;
}

/// Starts a cutover whose new side fails, and disturbs its writes once it is at its first step.
async fn roll_back_with(effect: Effect, times: u32) -> (Case, String, tests::End) {
    let case = Given { rates: (FINE, FAILING), ..Given::default() }.case().await;
    let arn = case.start(&case.request()).await;
    case.until_live((50, 50)).await;
    let rule = Rule::on("ChangeResourceRecordSets", effect).containing(&case.world.zone.id);
    let rule = case.proxy().rule(rule.times(times));
    let end = case.end(&arn).await;
    assert!(rule.hits() > 0, "nothing was disturbed: {end:?}");
    (case, arn, end)
}

#[tokio::test]
async fn people_hear_of_the_first_failed_try_of_a_roll_back_which_is_made_again() {
    // The first try makes all of its five calls in vain, the second one is throttled once more.
    let (case, arn, end) = roll_back_with(THROTTLED, 6).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert_eq!(case.live().await, (100, 0));
    let name = arn.rsplit(':').next().expect("a name");
    let said = case.heard(&[name, "the first try of a roll-back has failed"]).await;
    for part in ["Unreachable", "Throttling", "stop-execution --execution-arn", &arn] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[tokio::test]
async fn people_hear_that_a_roll_back_has_failed_for_good_and_what_to_do() {
    let (case, arn, end) = roll_back_with(DENIED, u32::MAX).await;
    assert_eq!(end.error, "RollbackFailed", "{end:?}");
    assert_eq!(case.live().await, (50, 50));
    let name = arn.rsplit(':').next().expect("a name");
    let said = case.heard(&[name, "a person must look"]).await;
    for part in ["Refused", "AccessDenied", "aws lambda invoke --function-name", &arn] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[tokio::test]
async fn a_retry_of_a_task_is_counted_in_the_state_as_three_events_of_the_history() {
    let case = Given::default().case().await;
    let throttled = Rule::on("ChangeResourceRecordSets", THROTTLED).containing(&case.world.zone.id);
    // Five tries are the SDK's own; the sixth call is the first of the task's second try.
    let _throttled = case.proxy().rule(throttled.times(5));
    let end = case.run(&case.request()).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(end.output["extra_events"], 3, "{}", end.output);
}

#[tokio::test]
async fn a_call_that_is_carried_out_late_and_a_long_history_look_as_on_aws() {
    let case = Given::default().case().await;
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(60);
    let late = Rule::on("ChangeResourceRecordSets", Effect::Late(Duration::from_secs(3)));
    let late = case.proxy().rule(late.containing(&case.world.zone.id).times(1));
    let arn = case.start(&request).await;
    // The SDK's second try writes; the first arrives later, and finds what it would delete changed.
    case.until_live((50, 50)).await;
    tests::until("the late call", async || (!late.late_answers().is_empty()).then_some(())).await;
    let (status, answer) = late.late_answers().remove(0);
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("InvalidChangeBatch"), "{answer}");
    assert_eq!(case.live().await, (50, 50));

    let long = Effect::PadHistory { state: "ShiftWeight", tries: 60 };
    let _long = case.proxy().rule(Rule::on("GetExecutionHistory", long).containing(&arn));
    case.stop(&arn).await;
    case.until_live((100, 0)).await;
    let client = aws_sdk_sfn::Client::new(&lab::aws::sdk_config(case.proxy().endpoint()));
    let history = client.get_execution_history().execution_arn(&arn).max_results(1000);
    let mut pages = history.into_paginator().send();
    let (mut sizes, mut kinds) = (vec![], vec![]);
    while let Some(page) = pages.next().await {
        let events = page.expect("a page").events;
        sizes.push(events.len());
        kinds.extend(events.into_iter().map(|event| event.r#type.as_str().to_owned()));
    }
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= 100), "{sizes:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "LambdaFunctionFailed").count(), 60);
    assert_eq!(kinds.last().map(String::as_str), Some("ExecutionAborted"));
}
