//! `rollback` of an execution that somebody names: what it finds, and what it answers.

#![expect(clippy::indexing_slicing, reason = "an answer without its field ends its test")]

use std::time::Duration;

use lab::proxy::{Effect, Rule};
use serde_json::{Value, json};
use tests::{Case, FAILING, FINE, Given};

/// Names an execution by hand.
async fn by_hand(case: &Case, arn: &str) -> Result<Value, Value> {
    case.invoke("RollbackFunctionName", &json!({ "execution_arn": arn })).await
}

/// The event of an execution's end, delivered once more.
async fn by_event(case: &Case, arn: &str, status: &str) -> Result<Value, Value> {
    let event = json!({"source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": arn, "status": status, "stopDate": 0}});
    case.invoke("RollbackFunctionName", &event).await
}

fn assert_nothing(answer: Result<Value, Value>, why: &str) {
    let answer = answer.expect("an answer");
    assert_eq!(answer["outcome"], "nothing_to_do", "{answer}");
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(reason.contains(why), "{why} is not in {reason}");
}

fn assert_refused(answer: Result<Value, Value>, name: &str, told: &[&str]) {
    let error = answer.expect_err("refused");
    assert_eq!(error["errorType"], name, "{error}");
    let message = error["errorMessage"].as_str().expect("a message");
    for told in told {
        assert!(message.contains(told), "{told} is not in {message}");
    }
}

/// Changes of this test's records so far.
fn changes(case: &Case) -> u64 {
    let calls = case.proxy().calls_containing(&case.world.zone.id).into_iter();
    calls.filter(|((_, action), _)| action == "ChangeResourceRecordSets").map(|(_, n)| n).sum()
}

/// A request whose first step takes this long.
fn baking(case: &Case, seconds: u32) -> Value {
    let mut request = case.request();
    request["ramp"][0]["bake_s"] = json!(seconds);
    request
}

#[tokio::test]
async fn routes_that_were_kept_on_a_failing_side_go_back_once_the_old_side_lives() {
    let mut case = Given { routes: 2, ..Given::default() }.case().await;
    let arn = case.start(&baking(&case, 60)).await;
    case.until_live((50, 50)).await;
    case.deregister_old_targets().await;
    case.count(case.new_side(), FAILING).await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RollbackFailed", "{end:?}");

    // Still dead: asked about again, and the traffic stays.
    assert_refused(by_hand(&case, &arn).await, "Refused", &["could not go back", case.route()]);
    assert_eq!(case.live_of("CNAME").await, [(50, 50), (50, 50)]);

    case.world.register_old_targets().await.expect("registered");
    let done = by_hand(&case, &arn).await.expect("rolled back");
    assert_eq!(done["next"]["action"], "rolled_back", "{done}");
    assert_eq!(done["report"]["routes"][0]["reason"], "asked for by hand", "{done}");
    assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)]);
}

#[tokio::test]
async fn what_an_execution_did_is_found_behind_the_tries_of_an_outage() {
    // A try more than Step Functions is asked for: an outage of 98 minutes, on average.
    const TRIES: u32 = 201;
    let case = Given { routes: 2, ..Given::default() }.case().await;
    let arn = case.start(&baking(&case, 60)).await;
    case.until_live((50, 50)).await;
    let long =
        Rule::on("GetExecutionHistory", Effect::PadHistory { state: "RollBack", tries: TRIES });
    let long = case.proxy().rule(long.containing(&arn));
    let outage = Effect::Refuse { status: 503, code: "ServiceUnavailable" };
    let outage = Rule::on("ChangeResourceRecordSets", outage).containing(&case.world.zone.id);
    let outage = case.proxy().rule(outage);
    case.count(case.new_side(), FAILING).await;
    tests::until("a first try", async || (outage.hits() > 0).then_some(())).await;
    case.stop(&arn).await;
    // What it did is found, and cannot be undone yet.
    assert_refused(by_hand(&case, &arn).await, "Unreachable", &["ServiceUnavailable"]);
    assert!(long.hits() > 3 * TRIES / 100, "{} pages of a hundred events", long.hits());
    assert_eq!(case.live_of("CNAME").await, [(50, 50), (50, 50)]);

    drop(outage);
    let done = by_hand(&case, &arn).await.expect("rolled back");
    assert_eq!(done["next"]["action"], "rolled_back", "{done}");
    assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)]);
}

#[tokio::test]
async fn a_record_that_route_53_refused_goes_back_once_it_no_longer_does() {
    let case = Given { routes: 2, ..Given::default() }.case().await;
    let arn = case.start(&baking(&case, 60)).await;
    case.until_live((50, 50)).await;
    // Only batches with the first route: the other one goes back alone.
    let protected = Effect::Refuse { status: 400, code: "InvalidChangeBatch" };
    let protected = Rule::on("ChangeResourceRecordSets", protected).containing(case.route());
    let protected = case.proxy().rule(protected);
    case.count(case.new_side(), FAILING).await;
    let end = case.end(&arn).await;
    assert_eq!(end.error, "RollbackFailed", "{end:?}");
    assert!(protected.hits() > 0);
    assert_eq!(case.live_of("CNAME").await, [(50, 50), (100, 0)]);

    drop(protected);
    let done = by_hand(&case, &arn).await.expect("rolled back");
    assert_eq!(done["next"]["action"], "rolled_back", "{done}");
    let routes = done["report"]["routes"].as_array().expect("routes").iter();
    let of_second = routes.clone().find(|route| route["route"] != case.route());
    assert_eq!(of_second.map(|route| &route["reason"]), Some(&json!("went back already")));
    assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)]);
}

#[tokio::test]
async fn an_execution_that_is_running_is_not_rolled_back_but_left_to_run() {
    let case = Given { routes: 2, ..Given::default() }.case().await;
    let slow = Rule::on("ChangeResourceRecordSets", Effect::Delay(Duration::from_secs(5)));
    let slow = case.proxy().rule(slow.containing(&case.world.zone.id).times(1));
    let arn = case.start(&baking(&case, 10)).await;
    tests::until("the first shift", async || (slow.hits() > 0).then_some(())).await;
    assert_refused(by_hand(&case, &arn).await, "InvalidInput", &["execution_running", "stop it"]);
    assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)], "the shift is still held");
    assert_refused(by_event(&case, &arn, "ABORTED").await, "Unreachable", &["redriven", &arn]);
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
    assert_eq!(case.live_of("CNAME").await, [(0, 100), (0, 100)]);
}

#[tokio::test]
async fn a_dry_run_gives_nothing_back_while_the_real_one_is_under_way() {
    let case = Given { routes: 2, ..Given::default() }.case().await;
    let mut dry = baking(&case, 15);
    dry["dry_run"] = json!(true);
    let dry_run = case.start(&dry).await;
    assert_eq!(case.end(&dry_run).await.status, "SUCCEEDED");
    let real = case.start(&baking(&case, 15)).await;
    case.until_live((50, 50)).await;
    assert_nothing(by_hand(&case, &dry_run).await, "dry run: it touched nothing");
    assert_nothing(by_event(&case, &dry_run, "FAILED").await, "decided its end itself");
    assert_eq!(case.live_of("CNAME").await, [(50, 50), (50, 50)]);
    let end = case.end(&real).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
}

#[tokio::test]
async fn what_was_rejected_or_ignored_or_stopped_in_its_validation_gives_nothing_back() {
    let case = Given { new_side: false, ..Given::default() }.case().await;
    let rejected = case.start(&json!({"nwe": "green"})).await;
    assert_eq!(case.end(&rejected).await.error, "Rejected");
    assert_nothing(by_hand(&case, &rejected).await, "was rejected");

    let ignored = json!({"source": "aws.eks", "detail-type": "AWS API Call via CloudTrail",
        "detail": {"eventName": "CreateCluster", "errorCode": "ResourceInUseException",
                   "requestParameters": {"name": "green"}}});
    let ignored = case.start(&ignored).await;
    assert_eq!(case.end(&ignored).await.status, "SUCCEEDED");
    assert_nothing(by_hand(&case, &ignored).await, "asks for nothing");

    let mut request = case.request();
    request["old"] = json!(case.world.old.name);
    let waiting = case.start(&request).await;
    let calls = || case.proxy().calls_containing(&case.world.zone.id).values().sum::<u64>();
    tests::until("a first validation", async || (calls() > 0).then_some(())).await;
    case.stop(&waiting).await;
    assert_nothing(by_hand(&case, &waiting).await, "before its validation was done");
    assert_eq!(changes(&case), 0);
}

#[tokio::test]
async fn what_went_back_is_said_to_have_gone_back_and_is_not_written_again() {
    let case = Given { rates: (FINE, FAILING), ..Given::default() }.case().await;
    let arn = case.start(&case.request()).await;
    assert_eq!(case.end(&arn).await.error, "RolledBack");
    let written = changes(&case);
    assert_nothing(by_hand(&case, &arn).await, "went back already (RolledBack)");
    assert_nothing(by_event(&case, &arn, "FAILED").await, "decided its end itself (RolledBack)");
    assert_eq!((changes(&case), case.live().await), (written, (100, 0)));
}

#[tokio::test]
async fn what_cannot_be_an_execution_of_ours_is_refused_with_every_mistake() {
    let case = Given::default().case().await;
    let arn = case.start(&json!({"nwe": "green"})).await;
    case.end(&arn).await;
    let invoke = async |payload: Value| case.invoke("RollbackFunctionName", &payload).await;
    let mistakes = json!({"execution_arn": "green-1", "force": "yes", "forse": true});
    let told = ["execution_arn is \\\"green-1\\\"", "force is", "forse", ":execution:cutover:NAME"];
    assert_refused(invoke(mistakes).await, "InvalidInput", &told);
    let (ours, _) = arn.rsplit_once(':').expect("a name");
    let none = format!("{ours}:there-is-none");
    assert_refused(by_hand(&case, &none).await, "InvalidInput", &["execution_missing", &none]);
    let other = arn.replace(":cutover:", ":billing:");
    assert_refused(by_hand(&case, &other).await, "InvalidInput", &["of this state machine"]);
    assert_refused(by_event(&case, &other, "ABORTED").await, "InvalidInput", &["unknown_event"]);
}
