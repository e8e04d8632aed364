//! Each task run twice with the same input, and a reply that never came.

use lab::proxy::{Effect, Rule};
use serde_json::json;
use tests::Given;

#[tokio::test]
async fn each_task_run_twice_with_the_same_input_does_no_harm() {
    let case = Given::default().case().await;
    let request = case.request();
    let first = case.accepted(&request).await;
    let second = case.accepted(&request).await;
    assert_eq!((&first.routes, &first.ramp), (&second.routes, &second.ramp));

    let accepted = json!(first);
    let shifted = case.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
    assert_eq!(case.live().await, (50, 50));
    let again = case.invoke("ShiftWeightFunctionName", &accepted).await.expect("nothing to do");
    assert_eq!(case.live().await, (50, 50));
    assert_eq!(again["routes"], shifted["routes"]);
    assert_eq!(again["next"], shifted["next"]);

    let checked = case.invoke("CheckHealthFunctionName", &shifted).await.expect("checked");
    let again = case.invoke("CheckHealthFunctionName", &shifted).await.expect("checked");
    assert_eq!(case.live().await, (50, 50));
    assert_eq!(again["next"]["action"], checked["next"]["action"]);
    assert_eq!(again["checks"], checked["checks"]);

    let failure = json!({"Error": "States.Timeout", "Cause": "too slow"});
    let order = json!({"cutover": checked, "failure": failure});
    let back = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
    assert_eq!(case.live().await, (100, 0));
    let again = case.invoke("RollbackFunctionName", &order).await.expect("nothing to do");
    assert_eq!(case.live().await, (100, 0));
    assert_eq!(again, back);
    assert_eq!(back["next"]["action"], "rolled_back");
}

#[tokio::test]
async fn a_roll_back_undoes_a_shift_that_its_state_does_not_know_of() {
    let case = Given::default().case().await;
    let accepted = json!(case.accepted(&case.request()).await);
    case.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
    assert_eq!(case.live().await, (50, 50));
    // The function was killed before it could answer: the state is still that of before.
    let order = json!({"cutover": accepted, "failure": {"Error": "Sandbox.Timedout", "Cause": ""}});
    let back = case.invoke("RollbackFunctionName", &order).await.expect("rolled back");
    assert_eq!(back["next"]["action"], "rolled_back");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn a_shift_whose_reply_is_lost_is_neither_repeated_nor_taken_for_drift() {
    let case = Given::default().case().await;
    let rule = Rule::on("ChangeResourceRecordSets", Effect::DropReply)
        .containing(&case.world.zone.id)
        .times(1);
    let rule = case.proxy().rule(rule);
    let end = case.run(&case.request()).await;
    assert_eq!(rule.hits(), 1);
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live().await, (0, 100));
}

#[tokio::test]
async fn a_payload_that_no_function_can_read_is_invalid_input() {
    let case = Given::default().case().await;
    for function in ["Validate", "ShiftWeight", "CheckHealth", "Rollback"] {
        let name = format!("{function}FunctionName");
        let error = case.invoke(&name, &json!({"schema": "?"})).await.expect_err("refused");
        assert_eq!(error["errorType"], "InvalidInput", "{function}: {error}");
    }
}
