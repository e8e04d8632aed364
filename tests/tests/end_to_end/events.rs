//! Every file in `events/` against the function or the bus that it is for.

use serde_json::{Value, json};
use tests::{Case, FAILING, FINE, Given};

/// Two routes in the zone of the defaults, as the examples have them.
async fn example(rates: (tests::Rate, tests::Rate)) -> Case {
    Given { routes: 2, default_zone: true, rates, ..Given::default() }.case().await
}

async fn validate(case: &Case, input: &Value) -> Value {
    case.invoke("ValidateFunctionName", &case.validation(input)).await.expect("accepted")
}

#[tokio::test]
async fn the_start_inputs_are_accepted() {
    let case = example((FINE, FINE)).await;
    case.set_alarm("chat-latency-high", false).await;
    let table = [
        ("start-console.json", "shift", 4),
        ("start-cluster-ready.json", "shift", 10),
        ("start-dry-run.json", "planned", 2),
    ];
    for (file, action, steps) in table {
        let cutover = validate(&case, &case.event(file)).await;
        assert_eq!(cutover["next"]["action"], action, "{file}");
        assert_eq!(cutover["ramp"].as_array().map(Vec::len), Some(steps), "{file}");
        assert_eq!(cutover["routes"].as_array().map(Vec::len), Some(2), "{file}");
    }
    case.world.overwrite_weights(case.route(), 98, 2).await.expect("overwritten");
    let cutover = validate(&case, &case.event("start-resume.json")).await;
    assert_eq!((&cutover["step"], &cutover["routes"][0]["last"]["new"]), (&json!(2), &json!(2)));
    assert_eq!(cutover["routes"][0]["original"], json!({"old": 100, "new": 0}));
}

#[tokio::test]
async fn the_events_of_validate_are_accepted_or_refused_with_every_mistake() {
    let case = example((FINE, FINE)).await;
    case.set_alarm("chat-latency-high", false).await;
    for file in ["validate-console.json", "validate-cluster-ready.json"] {
        let cutover = case.invoke("ValidateFunctionName", &case.event(file)).await;
        assert_eq!(cutover.expect("accepted")["next"]["action"], "shift", "{file}");
    }
    let event = case.event("validate-mistakes.json");
    let error = case.invoke("ValidateFunctionName", &event).await.expect_err("refused");
    let message = error["errorMessage"].as_str().expect("text");
    for field in ["old is", "routs", "ramp.linear.step_percent is 0.3", "health.period_s is 7"] {
        assert!(message.contains(field), "{field} is not in {message}");
    }
}

#[tokio::test]
async fn the_example_for_put_events_starts_a_cutover_of_its_cluster() {
    let case = example((FINE, FINE)).await;
    let entries = case.event("put-events-cluster-ready.json");
    let entry = |field: &str| entries[0][field].as_str().expect("text").to_owned();
    let mut detail: Value = serde_json::from_str(&entry("Detail")).expect("JSON");
    detail["ramp"] = case.request()["ramp"].clone();
    detail["routes"] = json!(case.world.routes());
    case.put_event(&entry("Source"), &entry("DetailType"), &detail).await;
    let arn = case.started_by(case.route()).await;
    let end = case.end(&arn).await;
    assert_eq!(end.status, "SUCCEEDED", "{end:?}");
}

/// Invokes a function with one of its files, and gives the cutover that comes back.
async fn invoke(case: &Case, function: &str, file: &str) -> Value {
    let cutover = case.invoke(&format!("{function}FunctionName"), &case.event(file)).await;
    cutover.unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[tokio::test]
async fn the_events_of_shift_weight_move_the_weights_once() {
    let case = example((FINE, FINE)).await;
    for file in ["shift-weight-first-step.json", "shift-weight-already-shifted.json"] {
        assert_eq!(invoke(&case, "ShiftWeight", file).await["next"]["action"], "wait", "{file}");
        assert_eq!(case.live_of("CNAME").await, [(90, 10), (90, 10)], "{file}");
    }
}

#[tokio::test]
async fn the_events_of_check_health_are_judged_by_what_was_counted() {
    for (file, rates, live, action, verdict) in [
        ("check-health-baking.json", (FINE, FINE), (90, 10), "wait", "healthy"),
        ("check-health-regressed.json", (FINE, FAILING), (50, 50), "roll_back", "regressed"),
    ] {
        let case = example(rates).await;
        for route in case.world.routes() {
            case.world.overwrite_weights(route, live.0, live.1).await.expect("overwritten");
        }
        let cutover = invoke(&case, "CheckHealth", file).await;
        assert_eq!(cutover["next"]["action"], action, "{file}: {cutover}");
        assert_eq!(cutover["routes"][0]["verdict"]["kind"], verdict, "{file}: {cutover}");
    }
}

#[tokio::test]
async fn the_events_of_rollback_give_the_weights_back_if_the_old_side_lives_or_by_force() {
    let case = example((FINE, FAILING)).await;
    let again = async || {
        for route in case.world.routes() {
            case.world.overwrite_weights(route, 90, 10).await.expect("overwritten");
        }
    };
    for file in ["rollback-regressed.json", "rollback-task-failed.json"] {
        again().await;
        assert_eq!(invoke(&case, "Rollback", file).await["next"]["action"], "rolled_back");
        assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)], "{file}");
    }
    again().await;
    case.deregister_old_targets().await;
    let kept = invoke(&case, "Rollback", "rollback-regressed.json").await;
    assert_eq!(kept["next"]["action"], "rollback_failed");
    assert_eq!(case.live_of("CNAME").await, [(90, 10), (90, 10)]);
    let forced = invoke(&case, "Rollback", "rollback-force.json").await;
    assert_eq!(forced["next"]["action"], "rolled_back");
    assert_eq!(case.live_of("CNAME").await, [(100, 0), (100, 0)]);
}

#[tokio::test]
async fn a_change_that_route_53_does_not_know_is_waited_for() {
    // The example's change id is nobody's: AWS says NoSuchChange, and so does the emulator.
    let case = example((FINE, FINE)).await;
    let shift = case.event("shift-weight-first-step.json");
    case.invoke("ShiftWeightFunctionName", &shift).await.expect("shifted");
    let event = case.event("check-health-settling.json");
    let checked = case.invoke("CheckHealthFunctionName", &event).await.expect("checked");
    assert_eq!(checked["next"]["action"], "wait", "{checked}");
    assert!(checked["phase"]["baking"].is_object(), "{checked}");
}
