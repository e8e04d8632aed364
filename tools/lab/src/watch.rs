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
    reader: Reader,
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
                return Ok(Some(Self { sfn, execution_arn, reader: Reader::default() }));
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
            if let Some(end) = self.reader.read(&event, recording)? {
                return Ok(Some(end));
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
            let reached = page.events.iter().any(|event| event.id <= self.reader.seen);
            news.extend(page.events.into_iter().filter(|event| event.id > self.reader.seen));
            token = page.next_token;
            if reached || token.is_none() {
                news.reverse();
                return Ok(news);
            }
        }
    }
}

/// The states whose task sends a message and gives no cutover back.
const MESSAGES: [&str; 2] = ["TellPeople", "TellRollbackFailed"];

/// Makes sense of a history, event by event.
#[derive(Debug, Default)]
struct Reader {
    /// Id of the newest event that was read.
    seen: i64,
    /// The state that the execution is in.
    state: String,
    /// What the last function that succeeded left to do, in one sentence.
    reason: String,
}

impl Reader {
    fn read(
        &mut self,
        event: &HistoryEvent,
        recording: &mut Recording,
    ) -> Result<Option<End>, LabError> {
        self.seen = self.seen.max(event.id);
        let at = event.timestamp.to_millis().ok();
        let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at_s = at.map_or(0.0, |at| recording.elapsed_s(at));
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
        if MESSAGES.contains(&self.state.as_str()) {
            recording.note(at_s, "people are told".to_owned());
            return Ok(());
        }
        let cutover: Cutover = serde_json::from_str(output).map_err(|error| {
            LabError::aws(format!("understand what {} gave back", self.state), error)
        })?;
        match self.state.as_str() {
            "Validate" => recording.accepted(at_s, &cutover),
            "ShiftWeight" => recording.shifted(at_s, &cutover),
            "CheckHealth" => recording.checked(at_s, &cutover),
            "RollBack" | "RollBackAgain" => {
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
    use aws_sdk_sfn::primitives::DateTime;
    use aws_sdk_sfn::types::builders::HistoryEventBuilder;
    use aws_sdk_sfn::types::{
        ExecutionFailedEventDetails, StateEnteredEventDetails, TaskFailedEventDetails,
        TaskSucceededEventDetails,
    };
    use cutover_core::VerdictKind;
    use serde_json::json;

    use super::*;

    const CUTOVER: &str = include_str!("../../../events/check-health-baking.json");

    /// Reads events that happen a second apart, and gives the end.
    fn read(recording: &mut Recording, events: Vec<HistoryEventBuilder>) -> Option<End> {
        let mut reader = Reader::default();
        let mut end = None;
        for (id, event) in (1..).zip(events) {
            let event = event.id(id).timestamp(DateTime::from_secs(id)).build().unwrap();
            end = reader.read(&event, recording).unwrap();
        }
        end
    }

    fn entered(state: &str) -> HistoryEventBuilder {
        let details = StateEnteredEventDetails::builder().name(state).build().unwrap();
        HistoryEvent::builder()
            .r#type(HistoryEventType::TaskStateEntered)
            .state_entered_event_details(details)
    }

    fn succeeded(cutover: &Value) -> HistoryEventBuilder {
        let details = TaskSucceededEventDetails::builder()
            .resource_type("lambda")
            .resource("arn")
            .output(cutover.to_string())
            .build()
            .unwrap();
        HistoryEvent::builder()
            .r#type(HistoryEventType::TaskSucceeded)
            .task_succeeded_event_details(details)
    }

    fn failed(error: &str, cause: &str) -> HistoryEventBuilder {
        let details = TaskFailedEventDetails::builder()
            .resource_type("lambda")
            .resource("arn")
            .error(error)
            .cause(cause)
            .build()
            .unwrap();
        HistoryEvent::builder()
            .r#type(HistoryEventType::TaskFailed)
            .task_failed_event_details(details)
    }

    #[test]
    fn a_history_becomes_steps_checks_notes_and_an_end() {
        let cutover: Value = serde_json::from_str(CUTOVER).unwrap();
        let mut judged = cutover.clone();
        judged["routes"][1]["verdict"] = json!({
            "kind": "regressed",
            "old": {"requests": 90, "errors": 0},
            "new": {"requests": 10, "errors": 5},
            "log10_e": 2.5,
        });
        judged["next"] = json!({"action": "roll_back", "wait_s": 0, "reason": "half failed"});
        let end = ExecutionFailedEventDetails::builder()
            .error("RolledBack")
            .cause(r#"{"outcome":"rolled_back","reason":"half failed","routes":[]}"#)
            .build();
        let mut recording = Recording::for_test();
        let end = read(
            &mut recording,
            vec![
                entered("Validate"),
                failed("NotReady", r#"{"problems":[{"code":"a","message":"no records"}]}"#),
                succeeded(&cutover),
                entered("ShiftWeight"),
                succeeded(&cutover),
                entered("CheckHealth"),
                succeeded(&judged),
                entered("RollBack"),
                succeeded(&judged),
                HistoryEvent::builder()
                    .r#type(HistoryEventType::ExecutionFailed)
                    .execution_failed_event_details(end),
            ],
        )
        .expect("an end");

        assert_eq!((end.name.as_str(), end.reason.as_str()), ("RolledBack", "half failed"));
        let said: Vec<&str> = recording.notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(
            said,
            [
                "not ready yet: no records",
                "accepted: chat.example.com, api.example.com from blue to green in 3 steps",
                "step 1 of 3: 10 %",
                "verdict regressed: half failed",
                "rolled back: half failed",
            ]
        );
        let [step] = recording.steps.as_slice() else { panic!("{:?}", recording.steps) };
        assert_eq!(step.verdict, Some(VerdictKind::Regressed));
        assert!((step.from_s - 5.0).abs() < 1e-9);
        assert!((step.until_s.unwrap() - 9.0).abs() < 1e-9);
        let [check] = recording.checks.as_slice() else { panic!("{:?}", recording.checks) };
        assert!((check.measured.unwrap() - 0.1).abs() < 1e-9, "of the worst route");
        assert_eq!(check.words(), "regressed, e = 316 of 200");
    }

    #[test]
    fn a_roll_back_that_is_made_again_and_its_message_are_noted() {
        let mut cutover: Value = serde_json::from_str(CUTOVER).unwrap();
        cutover["next"] = json!({"action": "rolled_back", "wait_s": 0, "reason": "half failed"});
        let mut recording = Recording::for_test();
        let end = read(
            &mut recording,
            vec![
                entered("RollBack"),
                failed("Unreachable", r#"{"errorMessage":"throttled"}"#),
                entered("TellPeople"),
                succeeded(&json!({"MessageId": "m-1"})),
                entered("RollBackAgain"),
                succeeded(&cutover),
            ],
        );
        assert!(end.is_none());
        let said: Vec<&str> = recording.notes.iter().map(|note| note.text.as_str()).collect();
        assert_eq!(
            said,
            [
                "RollBack failed with Unreachable: throttled",
                "people are told",
                "rolled back: half failed",
            ]
        );
    }

    #[test]
    fn a_success_ends_in_the_state_that_was_entered_last() {
        let succeeded = HistoryEvent::builder().r#type(HistoryEventType::ExecutionSucceeded);
        let end = read(&mut Recording::for_test(), vec![entered("Completed"), succeeded]);
        assert_eq!(end.expect("an end").name, "Completed");
    }

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
            (r#"{"errorType":"Refused","errorMessage":"access denied"}"#, "access denied"),
            ("plain", "plain"),
        ] {
            assert_eq!(sentence(cause), words);
        }
    }
}
