//! What AWS adds and the emulator lacks: the tests see it all the same.

use std::time::{Duration, Instant};

use lab::proxy::{Effect, Rule};
use serde_json::json;
use tests::{AWS_MINUTE, Case, Given};

const DENIED: Effect = Effect::Refuse { status: 403, code: "AccessDenied" };

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
    assert!(by_rule[1] - by_rule[0] >= AWS_MINUTE / 2, "{by_rule:?}");
    assert!(by_rule[2] - by_rule[1] >= AWS_MINUTE, "{by_rule:?}");
    case.deliver_end_again(&event).await;
    tries_of_rollback(&case, &arn, 5).await;
    assert_eq!(case.live().await, (50, 50));
    drop(denied);
    // The last repeat of the second delivery may read it.
    case.until_live((100, 0)).await;
}
