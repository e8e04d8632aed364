//! Hosts of both sides, and requests that a load balancer answers itself.

use serde_json::json;
use tests::{FINE, Given};

#[tokio::test]
async fn a_new_side_that_answers_nothing_but_504_fails_all_of_its_requests() {
    let case = Given::default().case().await;
    case.count_also(case.new_side(), "HTTPCode_ELB_5XX_Count", FINE.requests).await;
    let end = case.run(&case.request()).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("new 100 % of "), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn requests_for_which_there_was_no_target_are_counted_beside_the_others() {
    let case = Given::default().case().await;
    for metric in ["HTTPCode_ELB_5XX_Count", "HTTPCode_ELB_503_Count"] {
        case.count_also(case.new_side(), metric, FINE.requests).await;
    }
    let end = case.run(&case.request()).await;
    assert_eq!(end.error, "RolledBack", "{end:?}");
    assert!(end.report().reason.contains("new 50 % of "), "{end:?}");
    assert_eq!(case.live().await, (100, 0));
}

#[tokio::test]
async fn an_old_side_that_was_scaled_down_is_said_during_the_ramp() {
    let case = Given::default().case().await;
    let mut accepted = json!(case.accepted(&case.request()).await);
    let old = &mut accepted["meters"][0];
    assert_eq!(old["id"], case.world.old.load_balancer);
    assert_eq!(old["baseline"]["hosts"], 2);
    old["baseline"]["hosts"] = json!(20);
    let shifted = case.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
    let warning =
        "warning: the old side has 2 of the 20 hosts it had: going back would overload it";
    tests::until("the warning", async || {
        let checked = case.invoke("CheckHealthFunctionName", &shifted).await.expect("checked");
        assert_eq!(checked["next"]["action"], "wait", "{}", checked["next"]);
        checked["next"]["reason"].as_str()?.contains(warning).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_old_side_of_which_nothing_is_known_any_more_is_said_during_the_ramp() {
    let case = Given::default().case().await;
    let mut accepted = json!(case.accepted(&case.request()).await);
    accepted["meters"][0]["hosts"] = json!(["deleted-in-mid-ramp/0123456789abcdef"]);
    let shifted = case.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
    let warning = "warning: nothing is known of the 2 hosts that the old side had";
    tests::until("the warning", async || {
        let checked = case.invoke("CheckHealthFunctionName", &shifted).await.expect("checked");
        checked["next"]["reason"].as_str()?.contains(warning).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_load_balancer_that_was_made_anew_is_followed() {
    let case = Given::default().case().await;
    let mut accepted = json!(case.accepted(&case.request()).await);
    let id = &case.new_side().load_balancer;
    let (name, _) = id.rsplit_once('/').expect("app/NAME/ID");
    accepted["meters"][1]["id"] = json!(format!("{name}/former"));
    accepted["meters"][1]["hosts"] = json!(["former/0123456789abcdef"]);
    let shifted = case.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
    let followed = tests::until("the new id", async || {
        let checked = case.invoke("CheckHealthFunctionName", &shifted).await.expect("checked");
        (checked["meters"][1]["id"] != shifted["meters"][1]["id"]).then_some(checked)
    })
    .await;
    assert_eq!(followed["meters"][1]["id"], format!("{id};{name}/former"));
    let group = case.new_side().target_group.trim_start_matches("targetgroup/");
    assert_eq!(followed["meters"][1]["hosts"], json!([group]));
    let reason = followed["next"]["reason"].as_str().expect("a reason");
    let said = "warning: made anew, and counted from now on: the new side's load balancer";
    assert!(reason.ends_with(&format!("; {said}: {id}")), "{reason}");
}
