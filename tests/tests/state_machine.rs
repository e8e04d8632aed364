//! The state machine against core's enums and the template: what no linter can know.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot read its file has no test to go on with"
)]

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::cutover::SHIFT_S_MAX;
use cutover_core::ramp::NOT_READY_RETRY_S;
use cutover_core::request::EXECUTION_S_MAX;
use cutover_core::rollback_order::{FAIL_STATES, FIRST_STATE, HARMLESS_STATES, SHIFT_STATE};
use cutover_core::{Action, Failure};
use serde_json::{Map, Value};

const DEFINITION: &str = include_str!("../../statemachine/cutover.asl.json");
const TEMPLATE: &str = include_str!("../../template.yaml");

/// Names that AWS gives to errors. Source: Step Functions developer guide, "Handling errors" and
/// "Best practices: transient Lambda service exceptions"; Lambda developer guide, runtime errors.
const AWS_NAMES: [&str; 13] = [
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Runtime.Unknown",
    "Sandbox.Timedout",
    "States.ALL",
    "States.DataLimitExceeded",
    "States.Timeout",
];

/// The longest `ready_timeout_s` that a request may ask for.
const READY_TIMEOUT_S_MAX: u64 = 86_400;

fn states() -> Map<String, Value> {
    let definition: Value = serde_json::from_str(DEFINITION).expect("the definition is JSON");
    definition["States"].as_object().expect("States is an object").clone()
}

fn of_type(kind: &str) -> BTreeMap<String, Value> {
    states().into_iter().filter(|(_, state)| state["Type"] == kind).collect()
}

/// The elements of an array, none when it is missing.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The error names of one retrier or catcher.
fn errors(rule: &Value) -> Vec<&str> {
    items(&rule["ErrorEquals"]).map(text).collect()
}

/// The lines of the template under `heading` that are indented deeper than it.
fn template_block(heading: &str) -> Vec<&'static str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    TEMPLATE
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| line.is_empty() || indent(line) > indent(heading))
        .collect()
}

/// The seconds after which Lambda ends this resource of the template.
fn function_timeout_s(resource: &str) -> u64 {
    let block = template_block(&format!("  {resource}:"));
    let line = block.iter().find_map(|line| line.strip_prefix("      Timeout: "));
    line.and_then(|seconds| seconds.parse().ok()).expect("every function has a Timeout")
}

#[test]
fn it_begins_with_its_purpose_its_language_its_start_and_its_limit() {
    let keys = DEFINITION.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next());
    let first: Vec<&str> = keys.take(4).collect();
    assert_eq!(first, ["Comment", "QueryLanguage", "StartAt", "TimeoutSeconds"]);
}

#[test]
fn it_has_no_literal_arn_and_no_arithmetic() {
    assert!(!DEFINITION.contains("arn:"));
    for expression in DEFINITION.split("{%").skip(1).filter_map(|rest| rest.split("%}").next()) {
        for operator in [" + ", " - ", " * ", " / ", " % "] {
            assert!(!expression.contains(operator), "core decides, not {expression}");
        }
    }
}

#[test]
fn every_task_says_why_and_outlasts_its_function() {
    let tasks = of_type("Task");
    assert_eq!(tasks.len(), 4);
    for (name, task) in tasks {
        assert!(task["Comment"].is_string(), "{name} has no Comment");
        let resource = text(&task["Resource"]).strip_prefix("${");
        let function = resource.and_then(|rest| rest.strip_suffix("Arn}"));
        let function = function.expect("a Resource is a substitution");
        let timeout_s = task["TimeoutSeconds"].as_u64().expect("a literal TimeoutSeconds");
        // Otherwise a repeat could run beside a first try that still lives.
        assert!(timeout_s > function_timeout_s(function), "{name} ends before {function}");
    }
}

#[test]
fn every_error_name_exists() {
    let known: BTreeSet<&str> = AWS_NAMES.into_iter().chain(Failure::NAMES).collect();
    for (name, task) in of_type("Task") {
        for rule in items(&task["Retry"]).chain(items(&task["Catch"])) {
            for error in errors(rule) {
                assert!(known.contains(error), "{name}: no function and no service says {error}");
            }
        }
    }
}

#[test]
fn every_task_catches_every_failure_by_name_and_anything_else_last() {
    for (name, task) in of_type("Task") {
        let mut catchers: Vec<Vec<&str>> = items(&task["Catch"]).map(errors).collect();
        assert_eq!(catchers.pop(), Some(vec!["States.ALL"]), "{name}: the last catcher");
        let named: BTreeSet<&str> = catchers.into_iter().flatten().collect();
        // States.ALL does not cover States.DataLimitExceeded.
        let must: BTreeSet<&str> =
            Failure::NAMES.into_iter().chain(["States.DataLimitExceeded"]).collect();
        assert_eq!(named, must, "{name}");
    }
}

#[test]
fn no_retrier_is_shadowed_and_none_retries_what_stays_as_it_is() {
    for (name, task) in of_type("Task") {
        let mut seen = BTreeSet::new();
        for error in items(&task["Retry"]).flat_map(errors) {
            assert!(seen.insert(error), "{name}: a second retrier for {error} is never used");
        }
        for wide in ["States.ALL", "States.TaskFailed", "InvalidInput", "AwsRefused", "Internal"] {
            assert!(!seen.contains(wide), "{name} retries {wide}");
        }
        assert!(seen.contains("TransientAws"), "{name} gives up at a throttle");
        assert_eq!(seen.contains("NotReady"), name == "Validate", "{name} and NotReady");
    }
}

#[test]
fn validation_is_tried_again_at_the_pace_and_for_the_time_that_core_counts_with() {
    let validate = &states()["Validate"];
    let retrier = items(&validate["Retry"]).find(|rule| errors(rule) == ["NotReady"]);
    let retrier = retrier.expect("a retrier for NotReady alone");
    let interval_s = retrier["IntervalSeconds"].as_u64().expect("a literal interval");
    assert_eq!(interval_s, u64::from(NOT_READY_RETRY_S));
    assert_eq!(retrier["BackoffRate"], 1.0);
    let attempts = retrier["MaxAttempts"].as_u64().expect("a literal number of attempts");
    assert!(attempts * interval_s >= READY_TIMEOUT_S_MAX, "validate must be the one to give up");
}

#[test]
fn it_may_take_as_long_as_core_counts_with() {
    let definition: Value = serde_json::from_str(DEFINITION).expect("JSON");
    assert_eq!(definition["TimeoutSeconds"].as_u64(), Some(EXECUTION_S_MAX));
    let shift = &states()["ShiftWeight"]["TimeoutSeconds"];
    assert_eq!(shift.as_i64(), Some(SHIFT_S_MAX));
}

#[test]
fn the_choice_knows_exactly_the_actions_of_core() {
    let choices = of_type("Choice");
    assert_eq!(choices.len(), 1, "one state branches");
    let choice = &choices["DecideNext"];
    let actions: Vec<&str> = items(&choice["Choices"])
        .map(|rule| {
            let condition = text(&rule["Condition"]);
            let action = condition.strip_prefix("{% $cutover.next.action = '");
            action.and_then(|rest| rest.strip_suffix("' %}")).expect("a comparison with an action")
        })
        .collect();
    assert_eq!(actions.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(Action::NAMES));
    assert_eq!(actions.len(), Action::NAMES.len(), "one rule an action");
    assert_eq!(choice["Default"], "RollBack", "what nobody knows goes back");
}

#[test]
fn every_transition_leads_somewhere_and_every_state_is_reached() {
    let states = states();
    let definition: Value = serde_json::from_str(DEFINITION).expect("the definition is JSON");
    let mut reached = BTreeSet::new();
    let mut ahead = vec![text(&definition["StartAt"]).to_owned()];
    while let Some(name) = ahead.pop() {
        let state = states.get(&name);
        let state = state.unwrap_or_else(|| unreachable!("{name} is named but not there"));
        let rules = items(&state["Catch"]).chain(items(&state["Choices"]));
        let next = rules.map(|rule| &rule["Next"]).chain([&state["Next"], &state["Default"]]);
        if reached.insert(name) {
            ahead.extend(next.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    assert_eq!(reached, states.keys().cloned().collect());
}

#[test]
fn a_failed_end_is_named_by_its_error_and_says_its_cause() {
    for (name, end) in of_type("Fail") {
        assert_eq!(end["Error"], *name);
        assert!(text(&end["Cause"]).starts_with("{%"), "{name}: the cause comes from the data");
    }
}

#[test]
fn rollback_knows_the_states_by_which_it_tells_what_an_execution_did() {
    let ends = of_type("Fail").into_keys().collect::<BTreeSet<_>>();
    assert_eq!(ends, FAIL_STATES.map(str::to_owned).into());
    let definition: Value = serde_json::from_str(DEFINITION).expect("the definition is JSON");
    assert_eq!(definition["StartAt"], FIRST_STATE);
    for name in HARMLESS_STATES {
        let resource = states()[name]["Resource"].as_str().unwrap_or_default().to_owned();
        let function = resource.trim_matches(['$', '{', '}']).replace("Arn", ":");
        let function = template_block(&format!("  {function}"));
        assert!(!function.iter().any(|line| line.contains("ChangeWeights")), "{name} may write");
    }
    assert_eq!(states()[SHIFT_STATE]["Resource"], "${ShiftWeightFunctionArn}");
}

#[test]
fn the_template_substitutes_exactly_what_the_definition_asks_for() {
    let asked: BTreeSet<&str> =
        DEFINITION.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    let given: BTreeSet<&str> = template_block("      DefinitionSubstitutions:")
        .into_iter()
        .filter_map(|line| line.trim().split(':').next())
        .collect();
    assert_eq!(asked, given);
}
