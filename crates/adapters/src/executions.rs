//! Executions of the state machine.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionError;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use cutover_core::limits::{EXECUTION_KEPT_DAYS, HISTORY_EVENTS_MAX};
use cutover_core::{
    Asked, By, Cutover, Ended, FIRST_STATE, Failure, Past, Recorded, Running, SHIFT_STATE,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::errors::{failure, if_there};
use crate::schema_1::upgraded;

/// Running executions that are looked at; each takes a call.
const RUNNING_MAX: usize = 100;
/// The newest events of a history that are looked at first: some more than a round of the machine has.
const NEWEST_EVENTS: i32 = 20;
/// Events of a page after that.
const PAGE_EVENTS: i32 = 100;

/// The event of an end may be ahead of what Step Functions describes, which is only consistent in the end: it is
/// asked this many times more, this long apart, before the event is left to Lambda's repeat a minute later.
/// Source: Step Functions API reference, `DescribeExecution`.
const ASKS_AGAIN_MAX: usize = 4;
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The state machine whose executions this installation rolls back: `STATE_MACHINE_ARN` of the environment.
///
/// # Errors
/// `Internal` when the variable is missing: the function was deployed wrongly.
pub fn state_machine_from_env() -> Result<String, Failure> {
    const NAME: &str = "STATE_MACHINE_ARN";
    std::env::var(NAME).map_err(|_| Failure::Internal(format!("the environment has no {NAME}")))
}

/// All running executions of a state machine except our own.
///
/// Step Functions lists them with some delay: one that has just begun may be missing, and this is no
/// lock. Those named in `also` are asked about one by one. An execution that ends meanwhile is left out.
///
/// # Errors
/// `Unreachable` when Step Functions could not be reached or throttles, `Refused` when it
/// refuses, `InvalidInput` (`too_many_executions`) when more than 100 others are running.
pub async fn running(
    client: &Client,
    state_machine_arn: &str,
    except_execution_arn: &str,
    also: &BTreeSet<String>,
) -> Result<Vec<Running>, Failure> {
    let what = format!("ListExecutions of {state_machine_arn}");
    let mut others = BTreeSet::new();
    let mut listed = client
        .list_executions()
        .state_machine_arn(state_machine_arn)
        .status_filter(ExecutionStatus::Running)
        .into_paginator()
        .items()
        .send();
    while let Some(other) = listed.try_next().await.map_err(|error| failure(&what, &error))? {
        others.insert(other.execution_arn);
        others.remove(except_execution_arn);
        if others.len() > RUNNING_MAX {
            let message =
                format!("more than {RUNNING_MAX} other executions are running: stop some first");
            return Err(Failure::invalid("too_many_executions", message));
        }
    }
    // Those that the list may not have yet.
    let prefix = state_machine_arn.replacen(":stateMachine:", ":execution:", 1);
    others.extend(also.iter().map(|name| format!("{prefix}:{name}")));
    others.remove(except_execution_arn);
    let mut running = Vec::with_capacity(others.len());
    for arn in others {
        let what = format!("DescribeExecution {arn}");
        let reply = client.describe_execution().execution_arn(&arn).send().await;
        // Step Functions forgets executions that ended long ago.
        let reply = if_there(&what, reply, DescribeExecutionError::is_execution_does_not_exist)?;
        let Some(reply) = reply.filter(|reply| reply.status == ExecutionStatus::Running) else {
            continue;
        };
        let started_at = to_the_millisecond(&reply.start_date)
            .map_err(|error| Failure::Internal(format!("{what}: {error}")))?;
        // The name is the end of the ARN as well, and there it always is.
        let name = arn.rsplit(':').next().unwrap_or(&arn).to_owned();
        running.push(Running { name, started_at, input: reply.input });
    }
    Ok(running)
}

/// Rounded, as an execution sees its own start (`$states.context.Execution.StartTime`): who was first depends
/// on it.
fn to_the_millisecond(time: &DateTime) -> Result<Timestamp, jiff::Error> {
    const NANOS: i128 = 1_000_000;
    let rounded = (time.as_nanos() + NANOS / 2).div_euclid(NANOS) * NANOS;
    Timestamp::from_nanosecond(rounded)
}

/// What an execution has done.
///
/// # Errors
/// `InvalidInput` (`execution_missing`) when there is none of this ARN, `Unreachable` when Step Functions could
/// not be reached or throttles, `Refused` when it refuses; as [`Ended::past`] otherwise.
pub async fn past(client: &Client, asked: &Asked) -> Result<Past, Failure> {
    let mut found = ended(client, &asked.execution_arn).await?;
    let mut asks_left = if asked.by == By::Event { ASKS_AGAIN_MAX } else { 0 };
    while found.is_none() && asks_left > 0 {
        asks_left -= 1;
        tokio::time::sleep(ASK_AGAIN).await;
        found = ended(client, &asked.execution_arn).await?;
    }
    let Some(ended) = found else { return Ok(Past::Running) };
    if let Some(past) = ended.without_history(asked.by) {
        return Ok(past);
    }
    let recorded = recorded(client, &asked.execution_arn).await?;
    ended.past(recorded)
}

/// How an execution has ended; `None` while it has not.
async fn ended(client: &Client, execution_arn: &str) -> Result<Option<Ended>, Failure> {
    let what = format!("DescribeExecution of {execution_arn}");
    let reply = client.describe_execution().execution_arn(execution_arn).send().await;
    let is_missing = DescribeExecutionError::is_execution_does_not_exist;
    let Some(reply) = if_there(&what, reply, is_missing)? else {
        let message = format!(
            "there is no execution {execution_arn}: look at the spelling; Step Functions forgets an execution \
             {EXECUTION_KEPT_DAYS} days after its end"
        );
        return Err(Failure::invalid("execution_missing", message));
    };
    let has_ended = matches!(
        reply.status,
        ExecutionStatus::Succeeded
            | ExecutionStatus::Failed
            | ExecutionStatus::TimedOut
            | ExecutionStatus::Aborted
    );
    let stopped_at =
        reply.stop_date.and_then(|date| Timestamp::from_nanosecond(date.as_nanos()).ok());
    Ok(has_ended.then(|| Ended {
        execution_arn: execution_arn.to_owned(),
        status: reply.status.as_str().to_owned(),
        error: reply.error,
        stopped_at,
    }))
}

/// What the history of an execution holds: its last state stands within the last round of the machine, a dozen
/// events back, unless a task was tried again and again after it. A page of large states is megabytes, so the
/// newest events are looked at alone first.
async fn recorded(client: &Client, execution_arn: &str) -> Result<Recorded, Failure> {
    for (events_max, pages_max) in [(NEWEST_EVENTS, 1), (PAGE_EVENTS, HISTORY_EVENTS_MAX)] {
        // Names of the states that were entered, from the end on.
        let mut entered = BTreeSet::new();
        let mut pages = client
            .get_execution_history()
            .execution_arn(execution_arn)
            .reverse_order(true)
            .max_results(events_max)
            .into_paginator()
            .send();
        // A page may hold fewer events than asked for, even none: only the last one ends the history.
        for _ in 0..pages_max {
            let what = format!("GetExecutionHistory of {execution_arn}");
            let Some(page) = pages.next().await else {
                return Ok(Recorded::Nothing { entered });
            };
            for event in page.map_err(|error| failure(&what, &error))?.events {
                let state = state(&event, &mut entered);
                let state = state.map_err(|error| Failure::Internal(format!("{what}: {error}")))?;
                if let Some(state) = state {
                    let shift_begun = entered.contains(SHIFT_STATE);
                    return Ok(Recorded::State { state, shift_begun });
                }
            }
        }
    }
    Err(Failure::Internal(format!("the history of {execution_arn} has no end")))
}

/// The state of a cutover that an event recorded: as the result of a state of the machine, or as its input. Adds the
/// state of the machine that it entered to `entered`.
fn state(event: &HistoryEvent, entered: &mut BTreeSet<String>) -> Result<Option<Value>, String> {
    let details = event.state_entered_event_details();
    entered.extend(details.map(|details| details.name().to_owned()));
    let exited = event.state_exited_event_details().and_then(|details| details.output());
    // The request is no state, whatever fields it has.
    let details = details.filter(|details| details.name() != FIRST_STATE);
    let Some(text) = exited.or(details.and_then(|details| details.input())) else {
        return Ok(None);
    };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("event {} holds no JSON: {error}", event.id()))?;
    Ok(Cutover::is_state(&value).then(|| upgraded(value)))
}
