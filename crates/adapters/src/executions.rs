//! Executions of the state machine.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::ExecutionStatus;
use cutover_core::facts::Running;
use cutover_core::{Cutover, Failure};
use jiff::Timestamp;

use crate::errors::failure;

/// Running executions that are looked at; each takes a call.
const RUNNING_MAX: usize = 100;
/// The Fail states of the state machine: an execution that ended in one has decided itself.
const OWN_ENDS: [&str; 4] = ["Rejected", "RolledBack", "Drifted", "RollbackFailed"];
/// Pages of a history that are looked at, newest first, 100 events each. The last state stands
/// within the last round of the machine, a dozen events back; retries may be in between.
const HISTORY_PAGES_MAX: usize = 5;

/// The executions of a state machine that are running, but our own.
///
/// Step Functions lists them with some delay: one that has just begun may be missing, and this is no
/// lock. One that ends while this is asked is left out.
///
/// # Errors
/// `TransientAws` when Step Functions could not be reached or throttles, `AwsRefused` when it
/// refuses, `InvalidInput` (`too_many_executions`) when more than 100 others are running.
pub async fn running(
    client: &Client,
    state_machine_arn: &str,
    except_execution_arn: &str,
) -> Result<Vec<Running>, Failure> {
    let what = format!("ListExecutions of {state_machine_arn}");
    let mut others = Vec::new();
    let mut pages = client
        .list_executions()
        .state_machine_arn(state_machine_arn)
        .status_filter(ExecutionStatus::Running)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure(&what, &error))?;
        let listed = page.executions.into_iter().map(|execution| execution.execution_arn);
        others.extend(listed.filter(|arn| arn != except_execution_arn));
        if others.len() > RUNNING_MAX {
            return Err(Failure::invalid(
                "too_many_executions",
                format!("more than {RUNNING_MAX} other executions are running: stop some first"),
            ));
        }
    }
    let mut running = Vec::with_capacity(others.len());
    for arn in others {
        let what = format!("DescribeExecution {arn}");
        let reply = client.describe_execution().execution_arn(&arn).send().await;
        let reply = reply.map_err(|error| failure(&what, &error))?;
        if reply.status != ExecutionStatus::Running {
            continue;
        }
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

/// The last [`Cutover`] of an execution that has ended. `None` when it never had one, or when
/// `decided` is false and it came to an end of its own, a roll-back included.
///
/// The live weights may be one shift ahead of it: a shift whose result was never recorded.
///
/// # Errors
/// `TransientAws` when Step Functions could not be reached or throttles, `AwsRefused` when it
/// refuses.
pub async fn last_cutover(
    client: &Client,
    execution_arn: &str,
    decided: bool,
) -> Result<Option<Cutover>, Failure> {
    let what = format!("GetExecutionHistory of {execution_arn}");
    let mut pages = client
        .get_execution_history()
        .execution_arn(execution_arn)
        .reverse_order(true)
        .max_results(100)
        .into_paginator()
        .send();
    for _ in 0..HISTORY_PAGES_MAX {
        let Some(page) = pages.next().await else { break };
        for event in page.map_err(|error| failure(&what, &error))?.events {
            let failed = event.execution_failed_event_details().and_then(|failed| failed.error());
            let has_decided = failed.is_some_and(|error| OWN_ENDS.contains(&error))
                || event.execution_succeeded_event_details().is_some();
            if has_decided && !decided {
                return Ok(None);
            }
            let exited = event.state_exited_event_details().and_then(|state| state.output());
            let entered = event.state_entered_event_details().and_then(|state| state.input());
            let state = exited.or(entered).map(serde_json::from_str::<Cutover>);
            if let Some(Ok(cutover)) = state {
                return Ok(Some(cutover));
            }
        }
    }
    Ok(None)
}
