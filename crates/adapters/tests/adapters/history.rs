//! What `rollback` finds out about an execution.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adapters::executions;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionInput, DescribeExecutionOutput};
use aws_sdk_sfn::operation::get_execution_history::{
    GetExecutionHistoryInput, GetExecutionHistoryOutput,
};
use aws_sdk_sfn::types::{
    ExecutionStatus, HistoryEvent, HistoryEventType, StateEnteredEventDetails,
    StateExitedEventDetails,
};
use aws_smithy_types::DateTime;
use cutover_core::{Asked, By, Failure, Past};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fake::{Answer, Classes, Fake, client};

const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:cutover";
const EXECUTION: &str = "arn:aws:states:eu-central-1:123456789012:execution:cutover:green-1";
/// A state that has not shifted yet, and one that has.
const FIRST: &str = include_str!("../../../../events/shift-weight-first-step.json");
const BAKING: &str = include_str!("../../../../events/check-health-baking.json");
const ERROR: &str = r#"{"Error":"Unreachable","Cause":"{}"}"#;
const BY_HAND: By = By::Hand { force: false };

fn asked(by: By) -> Asked {
    Asked { execution_arn: EXECUTION.to_owned(), by }
}

fn event(kind: HistoryEventType) -> aws_sdk_sfn::types::builders::HistoryEventBuilder {
    HistoryEvent::builder().timestamp(DateTime::from_secs(999)).r#type(kind).id(7)
}

fn entered(name: &str, input: &str) -> HistoryEvent {
    let details = StateEnteredEventDetails::builder().name(name).input(input).build();
    let event = event(HistoryEventType::TaskStateEntered);
    event.state_entered_event_details(details.expect("complete")).build().expect("complete")
}

fn exited(name: &str, output: &str) -> HistoryEvent {
    let details = StateExitedEventDetails::builder().name(name).output(output).build();
    let event = event(HistoryEventType::TaskStateExited);
    event.state_exited_event_details(details.expect("complete")).build().expect("complete")
}

/// The three events that Step Functions writes for a try of a Lambda task, newest first.
fn a_try() -> [HistoryEvent; 3] {
    [
        HistoryEventType::LambdaFunctionFailed,
        HistoryEventType::LambdaFunctionStarted,
        HistoryEventType::LambdaFunctionScheduled,
    ]
    .map(|kind| event(kind).build().expect("complete"))
}

/// The answer to `DescribeExecution`.
fn described(status: ExecutionStatus, error: Option<&str>) -> Answer {
    let ended = status != ExecutionStatus::Running;
    let reply = DescribeExecutionOutput::builder()
        .execution_arn(EXECUTION)
        .state_machine_arn(MACHINE)
        .status(status)
        .start_date(DateTime::from_secs(500))
        .set_stop_date(ended.then(|| DateTime::from_secs_f64(1000.25)))
        .set_error(error.map(str::to_owned));
    Answer::ok(reply.build().expect("complete"))
}

/// An execution that was stopped, with this history, newest first. `page_max`: a page never holds more, whatever
/// is asked for.
fn stopped(history: Vec<HistoryEvent>, page_max: usize) -> Fake {
    aborted().on(move |input: &GetExecutionHistoryInput| {
        assert_eq!(input.reverse_order(), Some(true));
        let from: usize = input.next_token().map_or(0, |token| token.parse().expect("a number"));
        let asked = usize::try_from(input.max_results().expect("always")).expect("positive");
        let to = history.len().min(from + asked.min(page_max));
        let reply = GetExecutionHistoryOutput::builder()
            .set_events(Some(history[from..to].to_vec()))
            .set_next_token((to < history.len()).then(|| to.to_string()));
        Answer::ok(reply.build().expect("complete"))
    })
}

fn aborted() -> Fake {
    Fake::new().on(|_: &DescribeExecutionInput| described(ExecutionStatus::Aborted, None))
}

async fn past(fake: Fake, by: By) -> Result<Past, Failure> {
    executions::past(&client!(aws_sdk_sfn, fake), &asked(by)).await
}

/// The state that was found last.
async fn found(history: Vec<HistoryEvent>, page_max: usize) -> (usize, Option<Timestamp>) {
    match past(stopped(history, page_max), BY_HAND).await {
        Ok(Past::Did { cutover, ended }) => (cutover.checks as usize, ended.stopped_at),
        other => panic!("nothing found: {other:?}"),
    }
}

async fn why_nothing(fake: Fake, by: By) -> String {
    match past(fake, by).await {
        Ok(Past::NothingToUndo(reason)) => reason,
        other => panic!("something to undo: {other:?}"),
    }
}

/// A state in mid-ramp with this number of checks.
fn baking(checks: usize) -> String {
    let mut state: Value = serde_json::from_str(BAKING).expect("JSON");
    state["checks"] = json!(checks);
    state.to_string()
}

#[tokio::test]
async fn the_newest_state_is_found_whichever_event_has_it() {
    let older = || exited("CheckHealth", &baking(1));
    for newest in [exited("CheckHealth", &baking(2)), entered("Settle", &baking(2))] {
        let stop = event(HistoryEventType::ExecutionAborted).build().expect("complete");
        let stopped_at = Timestamp::from_millisecond(1_000_250).expect("in range");
        assert_eq!(found(vec![stop, newest, older()], 100).await, (2, Some(stopped_at)));
    }
}

#[tokio::test]
async fn the_last_state_is_found_however_many_tries_lie_after_it() {
    for (tries, page_max) in [(1, 100), (201, 100), (201, 7), (8300, 100)] {
        let mut history: Vec<HistoryEvent> = (0..tries).flat_map(|_| a_try()).collect();
        // A task's error is what a state is entered with that catches it.
        history.push(entered("RollBack", ERROR));
        history.push(exited("CheckHealth", &baking(3)));
        history.push(exited("CheckHealth", &baking(2)));
        assert_eq!(found(history, page_max).await.0, 3, "{tries} tries");
    }
}

#[tokio::test]
async fn a_page_without_events_is_not_the_end_of_a_history() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fake = aborted().on(move |_: &GetExecutionHistoryInput| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let reply = GetExecutionHistoryOutput::builder();
        let reply = match call {
            0..5 => reply.set_events(Some(vec![])).next_token(call.to_string()),
            _ => reply.events(exited("CheckHealth", &baking(4))),
        };
        Answer::ok(reply.build().expect("complete"))
    });
    let Ok(Past::Did { cutover, .. }) = past(fake, BY_HAND).await else { panic!("not found") };
    assert_eq!((cutover.checks, calls.load(Ordering::Relaxed)), (4, 6));
}

#[tokio::test]
async fn an_execution_that_was_stopped_before_its_first_shift_touched_nothing() {
    let request = r#"{"new": "green", "routes": ["a.example.com"]}"#;
    let validating = [a_try().to_vec(), vec![entered("Validate", request)]].concat();
    let reason = why_nothing(stopped(validating, 100), BY_HAND).await;
    assert!(reason.contains("before its validation was done"), "{reason}");
    let accepted = vec![entered("DecideNext", FIRST), exited("Validate", FIRST)];
    let reason = why_nothing(stopped(accepted.clone(), 100), By::Event).await;
    assert!(reason.contains("before its first shift"), "{reason}");
    let shifting = [vec![entered("ShiftWeight", FIRST)], accepted].concat();
    let past = past(stopped(shifting, 100), By::Event).await;
    assert!(matches!(past, Ok(Past::Did { .. })), "a shift was begun: {past:?}");
}

#[tokio::test]
async fn a_history_without_the_state_of_what_was_shifted_is_an_error() {
    let shifted = vec![entered("ShiftWeight", ERROR), entered("Validate", "{}")];
    for history in [shifted, vec![]] {
        let failure = past(stopped(history, 100), BY_HAND).await.expect_err("an error");
        assert_eq!(failure.name(), "Internal");
        assert!(failure.to_string().contains("nothing was given back"), "{failure}");
    }
}

/// A state as the first versions wrote it.
const BAKING_OF_SCHEMA_1: &str =
    include_str!("../../../core/tests/data/schema-1/check-health-baking.json");

#[tokio::test]
async fn a_last_state_of_a_former_version_is_found_as_one_of_this_version() {
    for by in [BY_HAND, By::Event] {
        let history = vec![exited("CheckHealth", BAKING_OF_SCHEMA_1)];
        let past = past(stopped(history, 100), by).await.expect("found");
        let Past::Did { cutover, .. } = past else { panic!("nothing found") };
        let router = (cutover.router.kind.as_str(), cutover.router.place.clone());
        assert_eq!(router, ("route53", json!({"hosted_zone": "Z0123456789EXAMPLE"})));
        let back = cutover.give_up("a test says so").rollback_moves(&[]);
        assert_eq!(back.iter().map(|back| back.to.new).collect::<Vec<_>>(), [0, 0]);
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_an_error_and_no_older_one_is_taken() {
    let newer = baking(2).replace("\"schema\":2", "\"schema\":3");
    for (newest, name) in [(newer.as_str(), "InvalidInput"), ("{\"schema\":2", "Internal")] {
        let history = vec![exited("CheckHealth", newest), exited("CheckHealth", &baking(1))];
        let failure = past(stopped(history, 100), BY_HAND).await.expect_err("an error");
        assert_eq!(failure.name(), name, "{failure}");
    }
}

#[tokio::test]
async fn an_execution_that_has_not_ended_is_running_and_its_history_is_not_read() {
    for status in [ExecutionStatus::Running, ExecutionStatus::PendingRedrive] {
        let fake =
            Fake::new().on(move |_: &DescribeExecutionInput| described(status.clone(), None));
        assert_eq!(past(fake, BY_HAND).await, Ok(Past::Running));
    }
}

#[tokio::test]
async fn an_event_that_is_ahead_of_the_description_is_asked_about_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let fake = Fake::new().on(move |_: &DescribeExecutionInput| {
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 => described(ExecutionStatus::Running, None),
            _ => described(ExecutionStatus::Failed, Some("Drifted")),
        }
    });
    let reason = why_nothing(fake, By::Event).await;
    assert!(reason.contains("decided its end itself (Drifted)"), "{reason}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_end_of_its_own_is_told_without_the_history() {
    let table = [
        (ExecutionStatus::Succeeded, None, By::Event, "decided its end itself"),
        (ExecutionStatus::Failed, Some("RolledBack"), By::Event, "decided its end itself"),
        (ExecutionStatus::Failed, Some("RollbackFailed"), By::Event, "decided its end itself"),
        (ExecutionStatus::Failed, Some("Rejected"), By::Event, "rejected"),
        (ExecutionStatus::Failed, Some("Rejected"), BY_HAND, "rejected"),
    ];
    for (status, error, by, why) in table {
        let fake =
            Fake::new().on(move |_: &DescribeExecutionInput| described(status.clone(), error));
        let reason = why_nothing(fake, by).await;
        assert!(reason.contains(why), "{error:?}: {reason}");
    }
}

#[tokio::test]
async fn an_execution_that_does_not_exist_is_refused_by_name() {
    let fake = Fake::new().on(|_: &DescribeExecutionInput| {
        Answer::json_error(400, "ExecutionDoesNotExist", "Execution Does Not Exist")
    });
    let failure = past(fake, BY_HAND).await.expect_err("refused");
    assert_eq!(failure.name(), "InvalidInput");
    for told in ["execution_missing", EXECUTION] {
        assert!(failure.to_string().contains(told), "{failure}");
    }
}

#[tokio::test]
async fn each_class_of_error_has_its_name() {
    let table: Classes<4> = [
        (|| Answer::json_error(400, "ThrottlingException", "slow down"), "Unreachable"),
        (|| Answer::json_error(500, "InternalServerError", "oops"), "Unreachable"),
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::json_error(400, "AccessDeniedException", "not yours"), "Refused"),
    ];
    for (answer, name) in table {
        let describing = Fake::new().on(move |_: &DescribeExecutionInput| answer());
        let reading = aborted().on(move |_: &GetExecutionHistoryInput| answer());
        for fake in [describing, reading] {
            let failure = past(fake, BY_HAND).await.expect_err(name);
            assert_eq!(failure.name(), name);
            assert!(failure.to_string().contains(EXECUTION), "{failure}");
        }
    }
}
