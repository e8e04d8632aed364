//! Executions of the state machine.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::ExecutionStatus;
use cutover_core::Failure;
use cutover_core::facts::Running;
use jiff::Timestamp;

use crate::errors::failure;

/// Running executions that are looked at; each takes a call.
const RUNNING_MAX: usize = 100;

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
        // To the millisecond, as an execution sees its own start: who was first depends on it.
        let off = |error: &dyn std::fmt::Display| Failure::Internal(format!("{what}: {error}"));
        let millisecond = reply.start_date.to_millis().map_err(|error| off(&error))?;
        let started_at = Timestamp::from_millisecond(millisecond).map_err(|error| off(&error))?;
        // The name is the end of the ARN as well, and there it always is.
        let name = arn.rsplit(':').next().unwrap_or(&arn).to_owned();
        running.push(Running { name, started_at, input: reply.input });
    }
    Ok(running)
}
