//! Who asks for a roll-back, and of what.

use jiff::Timestamp;
use serde::Deserialize;

use crate::cutover::{Cutover, Status};
use crate::failure::Failure;

/// The order to roll back: from the state machine, or by hand.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Order {
    /// The cutover.
    pub cutover: Cutover,
    /// The error of the task that could not go on: everything goes back. Without one, the routes
    /// that the cutover has marked go back.
    #[serde(default)]
    pub failure: Option<TaskError>,
    /// Go back even where the old side has no healthy target.
    #[serde(default)]
    pub force: bool,
}

/// An error as Step Functions gives it to a catcher.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TaskError {
    /// Its name.
    #[serde(rename = "Error")]
    pub error: String,
    /// What is known of it: for a function's own error, JSON with `errorMessage`.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

/// Who asks for a roll-back.
#[derive(Clone, Debug, PartialEq)]
pub enum RollbackStart {
    /// The state machine.
    Order(Box<Order>),
    /// A person: roll back what this execution has done, however it ended.
    Execution {
        /// The execution.
        execution_arn: String,
        /// Even where the old side has no healthy target.
        force: bool,
    },
    /// An event of Step Functions: this execution has ended, perhaps without its roll-back.
    Ended {
        /// The execution.
        execution_arn: String,
        /// How it ended, `ABORTED`, `TIMED_OUT` or `FAILED`.
        status: String,
        /// When it ended.
        stopped_at: Option<Timestamp>,
    },
}

impl RollbackStart {
    /// Tells an [`Order`], `{"execution_arn", "force"}` and the event of an execution's status
    /// change apart.
    ///
    /// # Errors
    /// `InvalidInput` when it is none of them.
    pub fn read(event: serde_json::Value) -> Result<Self, Failure> {
        use serde_json::Value;
        let at = |pointer: &str| event.pointer(pointer);
        let text = |pointer: &str| at(pointer).and_then(Value::as_str).map(str::to_owned);
        if text("/detail-type").as_deref() == Some("Step Functions Execution Status Change")
            && let (Some(execution_arn), Some(status)) =
                (text("/detail/executionArn"), text("/detail/status"))
        {
            let stopped_at = at("/detail/stopDate").and_then(Value::as_i64);
            let stopped_at = stopped_at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            return Ok(Self::Ended { execution_arn, status, stopped_at });
        }
        if let Some(execution_arn) = text("/execution_arn") {
            let force = at("/force").and_then(Value::as_bool).unwrap_or_default();
            return Ok(Self::Execution { execution_arn, force });
        }
        serde_json::from_value(event).map(|order| Self::Order(Box::new(order))).map_err(|error| {
            Failure::invalid(
                "unreadable_event",
                format!(
                    "this is neither {{\"cutover\", \"failure\", \"force\"}} nor {{\"execution_arn\", \
                     \"force\"}} nor the status change of an execution: {error}"
                ),
            )
        })
    }
}

impl Order {
    /// The order to take back everything that an execution has done.
    #[must_use]
    pub fn of_execution(cutover: Cutover, why: &str, force: bool) -> Self {
        let error = TaskError { error: why.to_owned(), cause: "the execution ended".to_owned() };
        Self { cutover: Cutover { report: None, ..cutover }, failure: Some(error), force }
    }

    /// The cutover with every route marked that must go back: with `force`, those that could not
    /// go back before as well.
    #[must_use]
    pub fn into_cutover(self) -> Cutover {
        let mut cutover = self.cutover;
        if self.force {
            for route in cutover.routes.iter_mut().filter(|r| r.status == Status::Kept) {
                route.status = Status::RollingBack;
            }
        }
        let Some(TaskError { error, cause }) = self.failure else { return cutover };
        let payload = serde_json::from_str::<serde_json::Value>(&cause).ok();
        let message = payload.as_ref().and_then(|p| p.get("errorMessage")?.as_str());
        cutover.give_up(&format!("could not go on: {error}: {}", message.unwrap_or(&cause)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cutover::{Action, RollbackDone};
    use crate::split::{Moved, Shifted};

    /// A cutover in mid-ramp whose routes all go with the ramp.
    fn cutover() -> Cutover {
        const STATE: &str = include_str!("../../../events/check-health-baking.json");
        serde_json::from_str(STATE).expect("a cutover")
    }

    #[test]
    fn force_takes_back_a_route_that_was_kept() {
        let cutover = cutover().give_up("CheckHealth could not go on");
        let kept = cutover.routes.iter().map(|route| route.name.clone()).collect();
        let shifted = Shifted { moves: vec![], changes: vec![], unconfirmed: false, ttl_s: 60 };
        let end = cutover.after_rollback(&RollbackDone { kept, shifted, splits: vec![] });
        assert_eq!(end.next.action, Action::RollbackFailed);
        let order = |force| Order::of_execution(end.clone(), "by hand", force).into_cutover();
        assert!(order(false).rollback_moves(&[]).is_empty());
        let forced = order(true);
        let moves = forced.rollback_moves(&[]);
        assert_eq!(moves.len(), 2);
        let moves = moves.into_iter().map(|m| (m.route, Moved::There)).collect();
        let shifted = Shifted { moves, changes: vec![], unconfirmed: false, ttl_s: 60 };
        let done = RollbackDone { kept: vec![], shifted, splits: vec![] };
        assert_eq!(forced.after_rollback(&done).next.action, Action::RolledBack);
    }

    #[test]
    fn the_three_ways_to_ask_for_a_roll_back_are_told_apart() {
        let read = |event| RollbackStart::read(event).map_err(|failure| failure.name());
        let by_hand = json!({"execution_arn": "arn:e", "force": true});
        let execution_arn = "arn:e".to_owned();
        assert_eq!(
            read(by_hand),
            Ok(RollbackStart::Execution { execution_arn: execution_arn.clone(), force: true })
        );
        let event = json!({"detail-type": "Step Functions Execution Status Change",
            "detail": {"executionArn": "arn:e", "status": "ABORTED", "stopDate": 5000}});
        let stopped_at = Some(Timestamp::from_second(5).expect("in range"));
        let status = "ABORTED".to_owned();
        assert_eq!(read(event), Ok(RollbackStart::Ended { execution_arn, status, stopped_at }));
        let order = json!({"cutover": cutover(), "failure": null});
        assert!(matches!(read(order), Ok(RollbackStart::Order(_))));
        assert_eq!(read(json!({"force": true})), Err("InvalidInput"));
        let mut other: Value = json!({"cutover": cutover()});
        other["cutover"]["schema"] = json!(2);
        assert_eq!(read(other), Err("InvalidInput"), "a state of another version");
    }
}
