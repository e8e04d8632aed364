//! The state machine against core's enums and the template: what no linter can know.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot read its file has no test to go on with"
)]

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::SHIFT_S_MAX;
use cutover_core::limits::{EXECUTION_S_MAX, RETRY_EVENTS, ROUND_EVENTS, TASK_EVENTS};
use cutover_core::{Action, Failure};
use cutover_core::{FAILED_ENDS, FIRST_STATE, GOOD_ENDS, HARMLESS_STATES, SHIFT_STATE};
use cutover_core::{
    HISTORY_EVENTS_RESERVED, NOT_READY_RETRY_RATE, NOT_READY_RETRY_S, NOT_READY_RETRY_S_MAX,
    ROLLBACK_EVENTS, not_ready_retries,
};
use serde_json::{Map, Value};

const DEFINITION: &str = include_str!("../../statemachine/cutover.asl.json");
const TEMPLATE: &str = include_str!("../../template.yaml");

/// Names that AWS gives to errors. Source: Step Functions developer guide, "Handling errors" and
/// "Best practices: transient Lambda service exceptions"; Lambda API reference, errors of `Invoke`;
/// Lambda developer guide, runtime errors.
const LAMBDAS_OWN: [&str; 7] = [
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ResourceConflictException",
    "Lambda.ResourceNotReadyException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
];
/// What a function says that was killed: out of time or of memory, or its process ended.
const KILLED: [&str; 6] = [
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Runtime.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
];

/// The longest `ready_timeout_s` that a request may ask for.
const READY_TIMEOUT_S_MAX: u32 = 86_400;
/// Events of a task that needs no retry: entered, scheduled, started, succeeded, exited.
const EVENTS_OF_A_TASK: u64 = 5;

fn states() -> Map<String, Value> {
    let definition: Value = serde_json::from_str(DEFINITION).expect("the definition is JSON");
    definition["States"].as_object().expect("States is an object").clone()
}

fn of_type(kind: &str) -> BTreeMap<String, Value> {
    states().into_iter().filter(|(_, state)| state["Type"] == kind).collect()
}

/// The tasks that run a function, and those that send a message.
fn functions() -> BTreeMap<String, Value> {
    let message = |task: &Value| text(&task["Resource"]) == PUBLISH;
    of_type("Task").into_iter().filter(|(_, task)| !message(task)).collect()
}

fn messages() -> BTreeMap<String, Value> {
    of_type("Task").into_iter().filter(|(_, task)| text(&task["Resource"]) == PUBLISH).collect()
}

const PUBLISH: &str = "${PublishIntegrationArn}";

/// How often a retrier tries again.
fn retries(retrier: &Value) -> u64 {
    retrier["MaxAttempts"].as_u64().expect("a literal MaxAttempts")
}

/// Seconds that a retrier waits in all until it is used up, on average and at most: with FULL jitter a
/// wait is anything from nothing to its back-off. Source: Step Functions developer guide, "Retrying
/// after an error".
fn waits_s(retrier: &Value) -> (f64, f64) {
    let number = |field: &str| retrier[field].as_f64().expect("a literal number");
    let (mut wait_s, rate) = (number("IntervalSeconds"), number("BackoffRate"));
    let mut most_s = 0.0;
    for _ in 0..retries(retrier) {
        most_s += wait_s.min(number("MaxDelaySeconds"));
        wait_s = (wait_s * rate).min(number("MaxDelaySeconds"));
    }
    match text(&retrier["JitterStrategy"]) {
        "FULL" => (most_s / 2.0, most_s),
        "NONE" => (most_s, most_s),
        other => unreachable!("{other} is no jitter strategy"),
    }
}

/// The retrier of a state for an error.
fn retrier(state: &str, error: &str) -> Value {
    let states = states();
    let of_error = items(&states[state]["Retry"]).find(|rule| errors(rule).contains(&error));
    of_error.unwrap_or_else(|| unreachable!("{state} does not retry {error}")).clone()
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
    assert_eq!((functions().len(), messages().len()), (6, 2));
    for (name, task) in of_type("Task") {
        assert!(task["Comment"].is_string(), "{name} has no Comment");
        assert!(task["TimeoutSeconds"].is_u64(), "{name} has no literal TimeoutSeconds");
    }
    for (name, task) in functions() {
        let resource = text(&task["Resource"]).strip_prefix("${");
        let function = resource.and_then(|rest| rest.strip_suffix("Arn}"));
        let function = function.expect("a Resource is a substitution");
        // Otherwise a repeat could run beside a first try that still lives.
        let timeout_s = task["TimeoutSeconds"].as_u64().expect("a literal TimeoutSeconds");
        assert!(timeout_s > function_timeout_s(function), "{name} ends before {function}");
    }
}

#[test]
fn every_error_name_exists() {
    let of_states = ["States.ALL", "States.DataLimitExceeded"];
    let of_aws = LAMBDAS_OWN.into_iter().chain(KILLED).chain(of_states);
    let known: BTreeSet<&str> = of_aws.chain(Failure::NAMES).collect();
    for (name, task) in of_type("Task") {
        for rule in items(&task["Retry"]).chain(items(&task["Catch"])) {
            for error in errors(rule) {
                assert!(known.contains(error), "{name}: no function and no service says {error}");
            }
        }
    }
}

#[test]
fn every_function_catches_every_failure_by_name_and_anything_else_last() {
    for (name, task) in functions() {
        let mut catchers: Vec<Vec<&str>> = items(&task["Catch"]).map(errors).collect();
        assert_eq!(catchers.pop(), Some(vec!["States.ALL"]), "{name}: the last catcher");
        let named: BTreeSet<&str> = catchers.into_iter().flatten().collect();
        // States.ALL does not cover States.DataLimitExceeded.
        let must: BTreeSet<&str> =
            Failure::NAMES.into_iter().chain(["States.DataLimitExceeded"]).collect();
        assert!(named.is_superset(&must), "{name}: {named:?}");
    }
}

#[test]
fn no_retrier_is_shadowed_and_none_retries_what_stays_as_it_is() {
    for (name, task) in functions() {
        let mut seen = BTreeSet::new();
        for error in items(&task["Retry"]).flat_map(errors) {
            assert!(seen.insert(error), "{name}: a second retrier for {error} is never used");
        }
        for wide in ["States.ALL", "States.TaskFailed", "InvalidInput", "Refused", "Internal"] {
            assert!(!seen.contains(wide), "{name} retries {wide}");
        }
        for own in LAMBDAS_OWN {
            assert!(seen.contains(own), "{name} gives up at {own}");
        }
        let patient = name != "RollBack";
        assert_eq!(seen.contains("Unreachable"), patient, "{name} and a throttle");
        assert_eq!(KILLED.iter().all(|killed| seen.contains(killed)), patient, "{name}, killed");
        assert_eq!(seen.contains("NotReady"), name == "Validate", "{name} and NotReady");
    }
}

#[test]
fn throttling_and_trouble_of_lambda_are_waited_out_for_minutes_however_they_take_turns() {
    for (name, minutes) in
        [("Validate", 25.0..30.0), ("ShiftWeight", 10.0..15.0), ("CheckHealth", 10.0..15.0)]
    {
        let trouble = retrier(name, "Unreachable");
        let one: BTreeSet<&str> = LAMBDAS_OWN.into_iter().chain(["Unreachable"]).collect();
        assert_eq!(errors(&trouble).into_iter().collect::<BTreeSet<_>>(), one, "{name}");
        let (mean_s, most_s) = waits_s(&trouble);
        assert!(minutes.contains(&(mean_s / 60.0)), "{name}: {mean_s} s on average");
        assert!(most_s < 3600.0, "{name}: {most_s} s at most");
    }
}

#[test]
fn a_roll_back_is_tried_again_for_ten_minutes_on_average_and_a_killed_one_twice() {
    let trouble = retrier("RollBackAgain", "Unreachable");
    let one: BTreeSet<&str> = LAMBDAS_OWN.into_iter().chain(["Unreachable"]).collect();
    assert_eq!(errors(&trouble).into_iter().collect::<BTreeSet<_>>(), one);
    let (mean_s, most_s) = waits_s(&trouble);
    assert!((540.0..660.0).contains(&mean_s), "{mean_s} s on average");
    assert!(most_s <= 1_260.0, "{most_s} s at most");
    for killed in KILLED {
        assert_eq!(retries(&retrier("RollBackAgain", killed)), 2, "{killed}");
    }
}

#[test]
fn people_hear_of_the_first_failed_try_of_a_roll_back() {
    let (_, most_s) = waits_s(&retrier("RollBack", "Lambda.ServiceException"));
    assert!(most_s <= 2.0, "a quick retry holds the message up for {most_s} s");
    let states = states();
    let first = &states["RollBack"]["Catch"][0];
    assert_eq!(first["Next"], "TellPeople");
    let again = items(&states["RollBackAgain"]["Retry"]).flat_map(errors);
    let may_pass: BTreeSet<&str> = errors(first).into_iter().collect();
    assert_eq!(may_pass, again.collect(), "what is tried again is what people are told of");
    for rule in items(&states["RollBack"]["Catch"]).skip(1) {
        assert_eq!(rule["Next"], "TellRollbackFailed");
    }
}

#[test]
fn a_second_try_of_a_roll_back_has_the_same_order_as_the_first() {
    // With an order of its own, a failed try would take back what `isolate` lets go on.
    let states = states();
    let (first, again) = (&states["RollBack"], &states["RollBackAgain"]);
    assert_eq!(first["Arguments"], again["Arguments"]);
    for rule in items(&first["Catch"]).chain(items(&again["Catch"])) {
        assert!(rule["Assign"]["failure"].is_null(), "{rule}");
        assert_eq!(rule["Assign"]["rollback_failure"], "{% $states.errorOutput %}");
    }
}

#[test]
fn a_message_says_what_to_do_and_holds_nothing_up_when_it_cannot_be_sent() {
    for (name, state) in messages() {
        let message = text(&state["Arguments"]["Message"]);
        for said in ["$states.context.Execution.Name", "aws lambda invoke", "execution_arn"] {
            assert!(message.contains(said), "{name} does not say {said}");
        }
        // Source: SNS API reference, `Publish`: ASCII, up to 100 characters.
        let subject = text(&state["Arguments"]["Subject"]);
        assert!(subject.is_ascii() && subject.len() <= 100, "{name}: {subject}");
        let catchers: Vec<Vec<&str>> = items(&state["Catch"]).map(errors).collect();
        assert_eq!(catchers, [["States.ALL"]], "{name}");
        assert_eq!(state["Catch"][0]["Next"], state["Next"], "{name}");
        let (_, most_s) = waits_s(&retrier(&name, "States.ALL"));
        let most_s = most_s + 3.0 * state["TimeoutSeconds"].as_f64().expect("a number");
        assert!(most_s < 60.0, "{name} holds up for {most_s} s");
    }
    assert!(text(&messages()["TellPeople"]["Arguments"]["Message"]).contains("stop-execution"));
}

#[test]
fn nobody_misses_that_a_roll_back_has_failed_for_good() {
    for (name, state) in states() {
        let rules = items(&state["Catch"]).chain(items(&state["Choices"]));
        let next = rules.map(|rule| &rule["Next"]).chain([&state["Next"], &state["Default"]]);
        let to_the_end = next.filter(|next| **next == "RollbackFailed").count();
        assert_eq!(to_the_end > 0, name == "TellRollbackFailed", "{name}");
    }
}

/// The most events of one visit of a task, as AWS writes them.
fn events_of(task: &Value) -> u64 {
    let retries: u64 = items(&task["Retry"]).map(retries).sum();
    EVENTS_OF_A_TASK + RETRY_EVENTS * retries
}

#[test]
fn the_reserve_of_the_history_holds_the_worst_of_each_task_and_the_ends() {
    let states = states();
    assert_eq!((ROUND_EVENTS, TASK_EVENTS), (2 + EVENTS_OF_A_TASK + 2, EVENTS_OF_A_TASK + 2));
    // What core counts for a roll-back, but for the retries of its last task, which it counts apart.
    let first = events_of(&states["RollBack"]) + events_of(&states["TellPeople"]);
    assert_eq!(ROLLBACK_EVENTS, first + TASK_EVENTS);

    // Every task once, its retries used up, a Choice behind it; the wait before a check; the start, the
    // end. Core counts the waits for a new side that is not ready yet by itself.
    let not_ready = RETRY_EVENTS * retries(&retrier("Validate", "NotReady"));
    let tasks = of_type("Task");
    let worst: u64 = tasks.values().map(|task| events_of(task) + 2).sum();
    let worst = worst - not_ready + 2 + 1 + 3;
    assert!(worst < HISTORY_EVENTS_RESERVED, "{worst} of {HISTORY_EVENTS_RESERVED}");
    // One more task with the patience of a shift would fit.
    let room = HISTORY_EVENTS_RESERVED - worst;
    assert!(room > events_of(&states["ShiftWeight"]), "{room} are left");
}

#[test]
fn core_hears_of_the_retries_of_every_task_that_a_long_ramp_repeats() {
    let counted =
        "$merge([$cutover, {'retry_count': $states.context.State.RetryCount, 'definition': 2}])";
    for (name, task) in functions() {
        let arguments = task["Arguments"].to_string();
        assert_eq!(arguments.contains(counted), name != "Validate", "{name}: {arguments}");
    }
}

#[test]
fn validation_hears_that_this_definition_can_release_fences() {
    // An execution keeps the definition that it was started with, and gets newer functions in mid-wait.
    let states = states();
    assert_eq!(states["Validate"]["Arguments"]["execution"]["releases"], true);
    assert_eq!(states["Validate"]["Arguments"]["execution"]["definition"], 2);
    let choices = items(&states["DecideNext"]["Choices"]);
    assert!(choices.into_iter().any(|choice| choice["Next"] == "Release"));
}

#[test]
fn validation_is_tried_again_at_the_pace_and_for_the_time_that_core_counts_with() {
    let retrier = retrier("Validate", "NotReady");
    assert_eq!(errors(&retrier), ["NotReady"]);
    assert_eq!(retrier["IntervalSeconds"].as_f64(), Some(NOT_READY_RETRY_S));
    assert_eq!(retrier["BackoffRate"], NOT_READY_RETRY_RATE);
    assert_eq!(retrier["MaxDelaySeconds"].as_f64(), Some(NOT_READY_RETRY_S_MAX));
    assert_eq!(retrier["JitterStrategy"], "NONE");
    assert!(
        retries(&retrier) >= not_ready_retries(READY_TIMEOUT_S_MAX),
        "validate must be the one to give up"
    );
    assert!(waits_s(&retrier).0 >= f64::from(READY_TIMEOUT_S_MAX));
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
    for (kind, ends) in [("Fail", &FAILED_ENDS[..]), ("Succeed", &GOOD_ENDS)] {
        let known: BTreeSet<String> = ends.iter().map(|end| (*end).to_owned()).collect();
        assert_eq!(of_type(kind).into_keys().collect::<BTreeSet<_>>(), known);
    }
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
