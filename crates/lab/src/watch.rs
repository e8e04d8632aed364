//! Starts a cutover as a user does, by an event on the bus, and follows the execution by its
//! history.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sfn::types::{HistoryEvent, HistoryEventType};
use cutover_core::Cutover;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::error::LabError;
use crate::recording::{End, Recording};

/// How long the event may take to start an execution.
const START_MAX: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);

/// Events of one page of history; a second brings about a dozen.
const PAGE: i32 = 100;

/// Puts the `Cluster Ready` event with `request` as its detail on the default bus.
///
/// # Errors
/// `Aws` when EventBridge refuses it.
pub async fn send_event(config: &SdkConfig, request: &Value) -> Result<(), LabError> {
    let doing = "put the Cluster Ready event on the bus";
    let event = PutEventsRequestEntry::builder()
        .source("cutover")
        .detail_type("Cluster Ready")
        .detail(request.to_string())
        .build();
    let put = aws_sdk_eventbridge::Client::new(config).put_events().entries(event).send().await;
    let put = put.map_err(|error| LabError::aws(doing, error))?;
    let refused = put.entries().iter().find_map(|entry| entry.error_message());
    match refused {
        Some(reason) => Err(LabError::Aws { doing: doing.to_owned(), reason: reason.to_owned() }),
        None => Ok(()),
    }
}

/// Follows one execution.
#[derive(Debug)]
pub struct Watch {
    sfn: aws_sdk_sfn::Client,
    /// The execution.
    pub execution_arn: String,
    /// Id of the newest event that was read.
    seen: i64,
    /// The state that the execution is in.
    state: String,
    /// What the last function that succeeded left to do, in one sentence.
    reason: String,
}

impl Watch {
    /// Finds the execution that an event has started after `since`; `None` when there is none in
    /// time.
    ///
    /// # Errors
    /// `Aws` when the executions cannot be listed.
    pub async fn find(
        config: &SdkConfig,
        state_machine_arn: &str,
        since: Timestamp,
    ) -> Result<Option<Self>, LabError> {
        let sfn = aws_sdk_sfn::Client::new(config);
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            let executions = sfn
                .list_executions()
                .state_machine_arn(state_machine_arn)
                .send()
                .await
                .map_err(|error| LabError::aws("list the executions", error))?
                .executions;
            let started = executions.into_iter().find(|e| e.start_date.secs() >= since.as_second());
            if let Some(execution) = started {
                let execution_arn = execution.execution_arn;
                let (state, reason) = (String::new(), String::new());
                return Ok(Some(Self { sfn, execution_arn, seen: 0, state, reason }));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(None)
    }

    /// Reads what has happened since the last call into `recording`, and gives the end once there
    /// is one, without its weights.
    ///
    /// # Errors
    /// `Aws` when the history cannot be read, or tells of a state that is no `Cutover`.
    pub async fn follow(&mut self, recording: &mut Recording) -> Result<Option<End>, LabError> {
        for event in self.news().await? {
            let at_s = event.timestamp.to_millis().ok().and_then(|ms| {
                Timestamp::from_millisecond(ms).ok().map(|at| recording.elapsed_s(at))
            });
            let end = self.read(&event, at_s.unwrap_or_default(), recording)?;
            self.seen = self.seen.max(event.id);
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    /// The events that were not read yet, oldest first. Newest are asked for first, so that a
    /// long history costs no more than a short one.
    async fn news(&self) -> Result<Vec<HistoryEvent>, LabError> {
        let mut news = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .sfn
                .get_execution_history()
                .execution_arn(&self.execution_arn)
                .reverse_order(true)
                .max_results(PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| LabError::aws("read the execution's history", error))?;
            let reached = page.events.iter().any(|event| event.id <= self.seen);
            news.extend(page.events.into_iter().filter(|event| event.id > self.seen));
            token = page.next_token;
            if reached || token.is_none() {
                news.reverse();
                return Ok(news);
            }
        }
    }

    fn read(
        &mut self,
        event: &HistoryEvent,
        at_s: f64,
        recording: &mut Recording,
    ) -> Result<Option<End>, LabError> {
        if let Some(entered) = &event.state_entered_event_details {
            self.state.clone_from(&entered.name);
        }
        // AWS tells of a function that is named as the resource by events of its own.
        let output = event.task_succeeded_event_details.as_ref().and_then(|d| d.output.as_ref());
        let output = output
            .or_else(|| event.lambda_function_succeeded_event_details.as_ref()?.output.as_ref());
        if let Some(output) = output {
            self.succeeded(output, at_s, recording)?;
        }
        let failed = event
            .task_failed_event_details
            .as_ref()
            .map(|d| (d.error.as_deref(), d.cause.as_deref()))
            .or_else(|| {
                let details = event.lambda_function_failed_event_details.as_ref()?;
                Some((details.error.as_deref(), details.cause.as_deref()))
            });
        if let Some((error, cause)) = failed {
            let error = error.unwrap_or("an error without a name");
            let said = sentence(cause.unwrap_or_default());
            recording.note(
                at_s,
                match error {
                    "NotReady" => format!("not ready yet: {said}"),
                    _ => format!("{} failed with {error}: {said}", self.state),
                },
            );
        }
        Ok(self.end(event, at_s))
    }

    fn succeeded(
        &mut self,
        output: &str,
        at_s: f64,
        recording: &mut Recording,
    ) -> Result<(), LabError> {
        let cutover: Cutover = serde_json::from_str(output).map_err(|error| {
            LabError::aws(format!("understand what {} gave back", self.state), error)
        })?;
        match self.state.as_str() {
            "Validate" => recording.accepted(at_s, &cutover),
            "ShiftWeight" => recording.shifted(at_s, &cutover),
            "CheckHealth" => recording.checked(at_s, &cutover),
            "RollBack" => {
                recording.close_step(at_s);
                recording.note(at_s, format!("rolled back: {}", cutover.next.reason));
            }
            _ => {}
        }
        self.reason = cutover.next.reason;
        Ok(())
    }

    fn end(&self, event: &HistoryEvent, at_s: f64) -> Option<End> {
        let (name, reason) = match event.r#type {
            HistoryEventType::ExecutionSucceeded => (self.state.clone(), self.reason.clone()),
            HistoryEventType::ExecutionFailed => {
                let details = event.execution_failed_event_details.as_ref();
                let name = details.and_then(|d| d.error.clone());
                let cause = details.and_then(|d| d.cause.as_deref()).unwrap_or_default();
                (name.unwrap_or_else(|| "failed".to_owned()), sentence(cause))
            }
            HistoryEventType::ExecutionAborted => {
                ("stopped".to_owned(), "somebody stopped the execution".to_owned())
            }
            HistoryEventType::ExecutionTimedOut => {
                ("timed out".to_owned(), "the execution took too long".to_owned())
            }
            _ => return None,
        };
        Some(End { at_s, name, reason, weights: Vec::new() })
    }
}

/// What a Cause says, as a person reads it: the messages of its problems, the reason of its
/// report, or itself. What Lambda wraps around the message is taken off first.
fn sentence(cause: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(cause) else { return cause.to_owned() };
    if let Some(message) = value.get("errorMessage").and_then(Value::as_str) {
        return sentence(message);
    }
    if let Some(problems) = value.get("problems").and_then(Value::as_array) {
        let messages = problems.iter().filter_map(|problem| problem.get("message")?.as_str());
        return messages.collect::<Vec<_>>().join("; ");
    }
    let reason = ["/reason", "/report/reason"].into_iter().find_map(|at| value.pointer(at));
    reason.and_then(Value::as_str).unwrap_or(cause).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_in_words() {
        for (cause, words) in [
            (
                r#"{"errorType":"NotReady","errorMessage":"{\"problems\":[{\"code\":\"a\",\"message\":\"no records\"},{\"code\":\"b\",\"message\":\"no targets\"}]}"}"#,
                "no records; no targets",
            ),
            (
                r#"{"outcome":"rolled_back","reason":"new 15 % failed","routes":[]}"#,
                "new 15 % failed",
            ),
            (r#"{"errorType":"AwsRefused","errorMessage":"access denied"}"#, "access denied"),
            ("plain", "plain"),
        ] {
            assert_eq!(sentence(cause), words);
        }
    }
}
