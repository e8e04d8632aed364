//! Who asks for a roll-back, what the execution that they name has done, and what to do about it.
//!
//! [`RollbackStart::read`] tells who asks. For an execution, what Step Functions knows of it ([`Ended`]
//! and [`Recorded`]) becomes its [`Past`], and that a [`Todo`]. Nothing is ever given back for an
//! execution that still runs, or that touched nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cutover::{Cutover, Route, Status};
use crate::failure::{Failure, Problem};
use crate::next::{Action, FAILED_ENDS, IGNORED, PLANNED, REJECTED};
use crate::request::fields::{Fields, refused, shown};

/// The order to roll back: from the state machine, or by hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The cutover.
    pub cutover: Cutover,
    /// The error of the task that could not go on: everything goes back. Without one, the routes
    /// that the cutover has marked go back.
    pub failure: Option<TaskError>,
    /// Go back even where the old side has no registered target, and whatever somebody else has changed.
    pub force: bool,
    /// Whether a route whose fence is gone may be taken up again: the execution has not ended, so that nobody
    /// can have given its routes back.
    pub retake: bool,
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
    /// The state machine, or a person who has the state of a cutover at hand.
    Order(Box<Order>),
    /// Somebody names an execution.
    Execution(Asked),
}

/// The execution whose routes shall go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The execution.
    pub execution_arn: String,
    /// Who asks.
    pub by: By,
}

/// Who names an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A person: roll back what it has done, however it ended.
    Hand {
        /// Even where the old side has no healthy target.
        force: bool,
    },
    /// An event of Step Functions: it has ended, perhaps without its roll-back.
    Event,
}

impl RollbackStart {
    /// Tells an [`Order`], `{"execution_arn", "force"}` and the event of an execution's status
    /// change apart. Only executions of the given state machine are rolled back.
    ///
    /// An order may have fields that are not known here: an execution keeps the definition that it was started
    /// with, and one that is newer than the function must not keep traffic from going back.
    ///
    /// # Errors
    /// `InvalidInput` with everything that is wrong when it is none of them.
    pub fn read(event: Value, state_machine_arn: &str) -> Result<Self, Failure> {
        let executions = Executions::of(state_machine_arn);
        let mut problems = Vec::new();
        let start = if event.get("detail-type").is_some() {
            read_event(&event, &executions, &mut problems)
        } else if event.get("cutover").is_some() {
            read_order(event, &mut problems)
        } else {
            read_by_hand(event, &executions, &mut problems)
        };
        match start {
            Some(start) if problems.is_empty() => Ok(start),
            _ => Err(Failure::InvalidInput(problems)),
        }
    }
}

/// The executions of one state machine, by how their ARNs begin.
struct Executions {
    prefix: String,
}

impl Executions {
    fn of(state_machine_arn: &str) -> Self {
        Self { prefix: state_machine_arn.replacen(":stateMachine:", ":execution:", 1) + ":" }
    }

    fn have(&self, arn: &str) -> bool {
        arn.strip_prefix(&self.prefix).is_some_and(|name| !name.is_empty())
    }

    fn allowed(&self) -> String {
        format!("the ARN of an execution of this state machine, {}NAME", self.prefix)
    }
}

fn read_event(
    event: &Value,
    executions: &Executions,
    problems: &mut Vec<Problem>,
) -> Option<RollbackStart> {
    const STATUS_CHANGE: &str = "Step Functions Execution Status Change";
    let at = |pointer: &str| event.pointer(pointer).unwrap_or(&Value::Null);
    let (kind, arn) = (at("/detail-type"), at("/detail/executionArn"));
    match arn.as_str() {
        Some(arn) if kind == STATUS_CHANGE && executions.have(arn) => {
            Some(RollbackStart::Execution(Asked { execution_arn: arn.to_owned(), by: By::Event }))
        }
        _ => {
            problems.push(Problem::new(
                "unknown_event",
                format!(
                    "this event is not for a roll-back: detail-type {}, detail.executionArn {}; allowed: \
                     detail-type \"{STATUS_CHANGE}\", with {}",
                    shown(kind),
                    shown(arn),
                    executions.allowed()
                ),
            ));
            None
        }
    }
}

fn read_order(event: Value, problems: &mut Vec<Problem>) -> Option<RollbackStart> {
    let Value::Object(mut fields) = event else { return None };
    let cutover = fields.remove("cutover").unwrap_or_default();
    // The state machine gives null where there was no error.
    let mut given = |name| fields.remove(name).filter(|value| !value.is_null());
    let failure = given("failure").and_then(|value| {
        let error = serde_json::from_value::<TaskError>(value.clone()).ok();
        if error.is_none() {
            let allowed = r#"null, or the error of a task, {"Error", "Cause"}"#;
            problems.push(refused("failure", &value, allowed));
        }
        error
    });
    let force = given("force").and_then(|value| {
        if !value.is_boolean() {
            problems.push(refused("force", &value, "true or false"));
        }
        value.as_bool()
    });
    let force = force.unwrap_or_default();
    match Cutover::read(cutover) {
        Ok(cutover) => {
            let order = Order { cutover, failure, force, retake: true };
            Some(RollbackStart::Order(Box::new(order)))
        }
        Err(Failure::InvalidInput(of_state)) => {
            problems.extend(of_state);
            None
        }
        Err(other) => {
            problems.push(Problem::new("unreadable_state", other.to_string()));
            None
        }
    }
}

fn read_by_hand(
    event: Value,
    executions: &Executions,
    problems: &mut Vec<Problem>,
) -> Option<RollbackStart> {
    let mut fields = Fields::of(event, String::new(), problems);
    let of_ours = |arn: &String| executions.have(arn);
    let execution_arn = fields.required("execution_arn", &executions.allowed(), of_ours);
    let force = fields.or("force", false, "true or false", |_: &bool| true);
    fields.finish();
    let by = By::Hand { force };
    Some(RollbackStart::Execution(Asked { execution_arn: execution_arn?, by }))
}

impl Order {
    /// The order to take back everything that an execution has done, for the reason given. Routes that
    /// could not go back before are tried again: their old side may be alive by now.
    #[must_use]
    pub fn of_execution(cutover: Cutover, reason: &str, force: bool) -> Self {
        // It had completed, and removing its fences may have been all that was left.
        let released = cutover.released || cutover.next.action == Action::Release;
        let mut cutover = Cutover { report: None, released, ..cutover }.give_up(reason);
        for route in &mut cutover.routes {
            match route.status {
                Status::Kept => route.must_go_back(reason),
                Status::RolledBack => route.say("went back already"),
                Status::Drifted | Status::Superseded if force => route.must_go_back(reason),
                Status::Active | Status::RollingBack | Status::Drifted | Status::Superseded => {}
            }
        }
        // A person insists, whatever somebody else has made of it.
        for route in cutover.routes.iter_mut().filter(|r| r.status == Status::RollingBack) {
            route.forced = force;
        }
        Self { cutover, failure: None, force, retake: force }
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
        let payload = serde_json::from_str::<Value>(&cause).ok();
        let message = payload.as_ref().and_then(|p| p.get("errorMessage")?.as_str());
        cutover.give_up(&format!("could not go on: {error}: {}", message.unwrap_or(&cause)))
    }
}

/// The state that every execution begins with. Its input is the request, no state.
pub const FIRST_STATE: &str = "Validate";
/// The state that shifts.
pub const SHIFT_STATE: &str = "ShiftWeight";
/// The states that touch nothing: an execution that has entered no other has touched nothing.
pub const HARMLESS_STATES: [&str; 5] = [FIRST_STATE, "DecideNext", PLANNED, IGNORED, REJECTED];

/// An execution that has ended, as Step Functions describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its ARN.
    pub execution_arn: String,
    /// `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// Of a failed one: the name of its error, such as that of a Fail state.
    pub error: Option<String>,
    /// When it ended.
    pub stopped_at: Option<Timestamp>,
}

/// What the history of an execution that has ended holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// The last state of its cutover.
    State {
        /// As it was recorded.
        state: Value,
        /// Whether a shift was begun from it, so that the live weights may be ahead of it.
        shift_begun: bool,
    },
    /// No state at all.
    Nothing {
        /// Names of the states that it has entered.
        entered: BTreeSet<String>,
    },
}

/// What an execution has done so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Past {
    /// It has not ended, and may write at any time.
    Running,
    /// It has ended, and left nothing to undo, for the reason given.
    NothingToUndo(String),
    /// It has ended, and this is the last state that it recorded.
    Did {
        /// The state. The live weights may be one shift ahead of it.
        cutover: Box<Cutover>,
        /// How it ended.
        ended: Ended,
    },
}

/// What is to be done about an execution.
#[derive(Clone, Debug, PartialEq)]
pub enum Todo {
    /// Roll back.
    Undo {
        /// What exactly.
        order: Box<Order>,
        /// Whether a shift may still be under way, so that it must be done once more later.
        again: bool,
    },
    /// Nothing, for the reason given.
    Nothing(String),
}

/// What `rollback` answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// What it did: the state after it.
    Did(Box<Cutover>),
    /// `{"outcome":"nothing_to_do","reason":…}`: nothing was given back.
    Nothing {
        /// Always `nothing_to_do`.
        outcome: &'static str,
        /// One plain sentence why.
        reason: String,
    },
}

impl Answer {
    /// The answer that there is nothing to do.
    #[must_use]
    pub const fn nothing(reason: String) -> Self {
        Self::Nothing { outcome: "nothing_to_do", reason }
    }
}

impl From<Cutover> for Answer {
    /// A roll-back that found nothing of its own to give back did nothing.
    fn from(cutover: Cutover) -> Self {
        let superseded = cutover.routes.iter().find(|route| route.status == Status::Superseded);
        let gave_back = |route: &Route| route.status != Status::Superseded;
        match superseded {
            Some(route) if !cutover.routes.iter().any(gave_back) => {
                let why = route.reason.clone().unwrap_or_default();
                Self::nothing(format!("{}: {why}", route.name))
            }
            _ => Self::Did(Box::new(cutover)),
        }
    }
}

impl Ended {
    /// The end that the execution came to by a decision of its own, a roll-back included.
    fn own_end(&self) -> Option<&str> {
        match (self.status.as_str(), self.error.as_deref()) {
            ("SUCCEEDED", _) => Some("SUCCEEDED"),
            ("FAILED", Some(error)) if FAILED_ENDS.contains(&error) => Some(error),
            _ => None,
        }
    }

    /// The end in a word, as a sentence names it.
    fn end(&self) -> &str {
        self.own_end().or(self.error.as_deref()).unwrap_or(&self.status)
    }

    /// What the end alone tells, before the history is read.
    #[must_use]
    pub fn without_history(&self, by: By) -> Option<Past> {
        match self.own_end()? {
            REJECTED => Some(Past::NothingToUndo(
                "the execution was rejected before its first shift: it touched nothing".to_owned(),
            )),
            end if by == By::Event => Some(Past::NothingToUndo(format!(
                "the execution decided its end itself ({end}): an event does not undo that; to take its routes \
                 back, invoke this function with {{\"execution_arn\"}}"
            ))),
            _ => None,
        }
    }

    /// What the execution has done, with its history.
    ///
    /// # Errors
    /// `InvalidInput` when its last state cannot be read (as [`Cutover::read`]), `Internal` when no state was
    /// found although it may have written.
    pub fn past(self, recorded: Recorded) -> Result<Past, Failure> {
        let end = self.end();
        let nothing = |reason: String| Ok(Past::NothingToUndo(reason));
        let (state, shift_begun) = match recorded {
            Recorded::State { state, shift_begun } => (state, shift_begun),
            Recorded::Nothing { entered } => {
                let harmless = |name: &String| HARMLESS_STATES.contains(&name.as_str());
                let may_have_written = entered.iter().find(|name| !harmless(name));
                if may_have_written.is_none() && entered.contains(FIRST_STATE) {
                    return nothing(if self.status == "SUCCEEDED" {
                        "the execution was started by an event that asks for nothing: it touched nothing".to_owned()
                    } else {
                        format!(
                            "the execution ended ({end}) before its validation was done: it touched nothing"
                        )
                    });
                }
                return Err(Failure::Internal(format!(
                    "no state was found in the history of {}, although it {}: nothing was given back. Look at the \
                     weights of its routes, and set them by hand where they must go back",
                    self.execution_arn,
                    may_have_written
                        .map_or("ended".to_owned(), |name| format!("got as far as {name}")),
                )));
            }
        };
        let cutover = Cutover::read(state)?;
        if cutover.next.action == Action::Planned {
            return nothing("the execution was a dry run: it touched nothing".to_owned());
        }
        // As validation gave it: a first shift that failed has left its marks.
        let untouched = cutover.next.action == Action::Shift
            && cutover.first_shift_at.is_none()
            && cutover.active().count() == cutover.routes.len();
        if untouched && !shift_begun {
            return nothing(format!(
                "the execution ended ({end}) before its first shift: it touched nothing"
            ));
        }
        if cutover.routes.iter().all(|route| route.status == Status::RolledBack) {
            return nothing(format!(
                "every route of the execution went back already ({end}); if one has other weights today, \
                 they were set since then"
            ));
        }
        Ok(Past::Did { cutover: Box::new(cutover), ended: self })
    }
}

impl Past {
    /// What is to be done.
    ///
    /// # Errors
    /// `InvalidInput` (`execution_running`) when a person names an execution that has not ended;
    /// `Unreachable` when an event says that it has ended and Step Functions says that it has not.
    pub fn todo(self, asked: &Asked, now: Timestamp) -> Result<Todo, Failure> {
        let arn = &asked.execution_arn;
        match (self, asked.by) {
            (Self::NothingToUndo(reason), _) => Ok(Todo::Nothing(reason)),
            (Self::Running, By::Hand { .. }) => Err(Failure::invalid(
                "execution_running",
                format!(
                    "{arn} is still running: stop it first, which gives its weights back by itself (aws \
                     stepfunctions stop-execution --execution-arn {arn})"
                ),
            )),
            (Self::Running, By::Event) => Err(Failure::Unreachable(format!(
                "an event says that {arn} has ended, and Step Functions that it is running (was it redriven?): \
                 nothing was given back"
            ))),
            (Self::Did { cutover, .. }, By::Event) if cutover.next.action == Action::Release => {
                Ok(Todo::Nothing(
                    "the execution had come to its end, and was removing its fences: an event does not undo that"
                        .to_owned(),
                ))
            }
            (Self::Did { cutover, ended }, by) => {
                let (reason, force) = match by {
                    By::Hand { force } => ("asked for by hand".to_owned(), force),
                    By::Event => (format!("the execution ended: {}", ended.end()), false),
                };
                // An execution that came to its own end has waited for its last shift.
                let again =
                    ended.own_end().is_none() && cutover.may_be_shifting(ended.stopped_at, now);
                let order = Box::new(Order::of_execution(*cutover, &reason, force));
                Ok(Todo::Undo { order, again })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cutover::{RollbackDone, SHIFT_S_MAX};
    use crate::next::ROLLBACK_FAILED;
    use crate::router::{Moved, Shifted, Weights};

    const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:cutover";
    const EXECUTION: &str = "arn:aws:states:eu-central-1:123456789012:execution:cutover:green-1";
    const BY_HAND: By = By::Hand { force: false };

    fn state(json: &str) -> Value {
        serde_json::from_str(json).expect("JSON")
    }

    /// A state in mid-ramp whose two routes go with the ramp.
    fn baking() -> Value {
        state(include_str!("../tests/data/schema-1/check-health-baking.json"))
    }

    /// The state that validation gives.
    fn first_step() -> Value {
        state(include_str!("../tests/data/schema-1/shift-weight-first-step.json"))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn ended(status: &str, error: Option<&str>) -> Ended {
        Ended {
            execution_arn: EXECUTION.to_owned(),
            status: status.to_owned(),
            error: error.map(str::to_owned),
            stopped_at: Some(at(1000)),
        }
    }

    fn stopped() -> Ended {
        ended("ABORTED", None)
    }

    fn recorded(state: Value) -> Recorded {
        Recorded::State { state, shift_begun: false }
    }

    fn asked(by: By) -> Asked {
        Asked { execution_arn: EXECUTION.to_owned(), by }
    }

    fn read(event: Value) -> Result<RollbackStart, Failure> {
        RollbackStart::read(event, MACHINE)
    }

    fn codes(refused: Result<RollbackStart, Failure>) -> Vec<String> {
        match refused {
            Err(Failure::InvalidInput(problems)) => problems.into_iter().map(|p| p.code).collect(),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The order for what an execution did, as a person asks for it.
    fn order(past: Past) -> Order {
        match past.todo(&asked(BY_HAND), at(5000)) {
            Ok(Todo::Undo { order, .. }) => *order,
            other => panic!("nothing to undo: {other:?}"),
        }
    }

    fn why_nothing(past: Past) -> String {
        match past.todo(&asked(BY_HAND), at(5000)) {
            Ok(Todo::Nothing(reason)) => reason,
            other => panic!("something to undo: {other:?}"),
        }
    }

    /// The end of a roll-back in which every move succeeds, but for routes that are kept.
    fn rolled_back(cutover: Cutover, kept: usize) -> Cutover {
        let kept: Vec<_> =
            cutover.routes.iter().take(kept).map(|route| route.name.clone()).collect();
        let moves = cutover.rollback_moves(&kept);
        let moves = moves.into_iter().map(|m| (m.route, Moved::There)).collect();
        let shifted =
            Shifted { moves, receipts: vec![], unconfirmed: false, live_in_s: 60, linger_s: 60 };
        cutover.after_rollback(&RollbackDone {
            kept,
            old_sides: vec![],
            shifted,
            splits: vec![],
            function: None,
        })
    }

    #[test]
    fn the_three_ways_to_ask_for_a_roll_back_are_told_apart() {
        let by_hand = json!({"execution_arn": EXECUTION, "force": true});
        let force = By::Hand { force: true };
        assert_eq!(read(by_hand), Ok(RollbackStart::Execution(asked(force))));
        let by_hand = json!({"execution_arn": EXECUTION});
        assert_eq!(read(by_hand), Ok(RollbackStart::Execution(asked(BY_HAND))));
        let event = json!({"detail-type": "Step Functions Execution Status Change",
            "detail": {"executionArn": EXECUTION, "status": "ABORTED", "stopDate": 5000}});
        assert_eq!(read(event), Ok(RollbackStart::Execution(asked(By::Event))));
        let order = json!({"cutover": baking(), "failure": null, "added_later": 1});
        assert!(matches!(read(order), Ok(RollbackStart::Order(_))));
    }

    #[test]
    fn everything_that_is_wrong_with_what_a_person_asks_is_said_at_once() {
        let odd = json!({"execution_arn": EXECUTION.replace(":cutover:", ":other:"),
            "force": "yes", "forse": true});
        assert_eq!(codes(read(odd)), ["invalid_field", "invalid_field", "unknown_field"]);
        for arn in [json!("green-1"), json!(7), json!(MACHINE), json!(format!("{}:", MACHINE))] {
            assert_eq!(codes(read(json!({ "execution_arn": arn }))), ["invalid_field"], "{arn}");
        }
        assert_eq!(codes(read(json!({"force": true}))), ["missing_field"]);
        assert_eq!(codes(read(json!(null))), ["invalid_field", "missing_field"]);
        let refused = read(json!({"execution_arn": "green-1"})).expect_err("refused").to_string();
        let allowed = EXECUTION.replace("green-1", "NAME");
        assert!(refused.contains(&allowed), "{refused}");
    }

    #[test]
    fn an_order_or_event_that_cannot_be_read_is_refused() {
        let odd = json!({"cutover": null, "failure": "Internal", "force": 1});
        let mut refused = codes(read(odd));
        refused.sort();
        assert_eq!(refused, ["invalid_field", "invalid_field", "unknown_schema"]);
        for event in [
            json!({"detail-type": "EC2 Instance State-change Notification", "detail": {}}),
            json!({"detail-type": "Step Functions Execution Status Change", "detail": {}}),
            json!({"detail-type": "Step Functions Execution Status Change",
                "detail": {"executionArn": EXECUTION.replace(":cutover:", ":other:")}}),
        ] {
            assert_eq!(codes(read(event)), ["unknown_event"]);
        }
    }

    #[test]
    fn a_task_that_failed_takes_all_routes_back_and_says_its_message() {
        let order = json!({"cutover": baking(), "failure": {"Error": "Refused",
            "Cause": "{\"errorType\":\"Refused\",\"errorMessage\":\"not yours\"}"}});
        let Ok(RollbackStart::Order(order)) = read(order) else { panic!("not an order") };
        let cutover = order.into_cutover();
        assert_eq!(cutover.going_back().count(), 2);
        assert_eq!(cutover.next.reason, "could not go on: Refused: not yours");
    }

    #[test]
    fn an_execution_that_is_running_is_never_rolled_back() {
        let refused = Past::Running.todo(&asked(By::Hand { force: true }), at(0));
        let refused = refused.expect_err("refused");
        assert_eq!(refused.name(), "InvalidInput");
        assert!(refused.to_string().contains("execution_running"), "{refused}");
        assert!(refused.to_string().contains("stop it first"), "{refused}");
        let refused = Past::Running.todo(&asked(By::Event), at(0)).expect_err("refused");
        assert_eq!(refused.name(), "Unreachable", "the event may be ahead of the description");
    }

    #[test]
    fn what_touched_nothing_gives_nothing_back() {
        let mut planned = first_step();
        planned["next"]["action"] = json!("planned");
        let entered = |names: &[&str]| Recorded::Nothing {
            entered: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let table = [
            (ended("SUCCEEDED", None), recorded(planned), "a dry run"),
            (stopped(), recorded(first_step()), "(ABORTED) before its first shift"),
            (stopped(), entered(&[FIRST_STATE]), "(ABORTED) before its validation was done"),
            (ended("SUCCEEDED", None), entered(&[FIRST_STATE, "DecideNext"]), "asks for nothing"),
        ];
        for (ended, recorded, why) in table {
            assert_eq!(ended.without_history(BY_HAND), None);
            let reason = why_nothing(ended.past(recorded).expect("told"));
            assert!(reason.contains(why) && reason.ends_with("it touched nothing"), "{reason}");
        }
        let rejected = ended("FAILED", Some(REJECTED)).without_history(BY_HAND);
        assert!(why_nothing(rejected.expect("told")).contains("was rejected"));
    }

    #[test]
    fn an_execution_that_was_stopped_in_its_first_shift_is_undone() {
        let recorded = Recorded::State { state: first_step(), shift_begun: true };
        let order = order(stopped().past(recorded).expect("told"));
        let cutover = order.into_cutover();
        let first = &cutover.rollback_moves(&[])[0];
        assert_eq!(first.from[..2], [Weights { old: 100, new: 0 }, Weights { old: 90, new: 10 }]);
        assert_eq!(first.to, Weights { old: 100, new: 0 });
    }

    #[test]
    fn a_first_shift_that_failed_and_could_not_be_taken_back_is_undone_by_hand() {
        let failed = rolled_back(Cutover::read(first_step()).expect("a state").give_up("bad"), 1);
        assert_eq!(failed.first_shift_at, None);
        let state = serde_json::to_value(&failed).expect("JSON");
        let end = ended("FAILED", Some(ROLLBACK_FAILED));
        let order = order(end.past(recorded(state)).expect("told"));
        assert_eq!(order.into_cutover().rollback_moves(&[]).len(), 1);
    }

    #[test]
    fn a_state_that_is_not_found_although_something_was_written_is_an_error() {
        for (names, told) in
            [(vec![FIRST_STATE, "ShiftWeight"], "got as far as ShiftWeight"), (vec![], "ended")]
        {
            let entered = names.into_iter().map(str::to_owned).collect();
            let failure = stopped().past(Recorded::Nothing { entered }).expect_err("an error");
            assert_eq!(failure.name(), "Internal");
            assert!(failure.to_string().contains(told), "{failure}");
            assert!(failure.to_string().contains("nothing was given back"), "{failure}");
        }
    }

    #[test]
    fn a_last_state_of_a_newer_version_is_refused_and_no_older_one_is_taken_for_it() {
        let mut newer = baking();
        newer["schema"] = json!(3);
        let failure = stopped().past(recorded(newer)).expect_err("refused");
        assert!(failure.to_string().contains("unknown_schema"), "{failure}");
    }

    #[test]
    fn by_event_only_an_end_that_was_not_its_own_decision_is_undone() {
        for own in [ended("SUCCEEDED", None), ended("FAILED", Some(ROLLBACK_FAILED))] {
            let Some(Past::NothingToUndo(reason)) = own.without_history(By::Event) else {
                panic!("{own:?} is not left alone")
            };
            assert!(reason.contains("decided its end itself"), "{reason}");
            assert_eq!(own.without_history(BY_HAND), None, "a person may undo it");
        }
        let crashed = ended("FAILED", Some("States.Runtime"));
        for interrupted in [stopped(), ended("TIMED_OUT", None), crashed] {
            assert_eq!(interrupted.without_history(By::Event), None);
            let past = interrupted.past(recorded(baking())).expect("told");
            let Ok(Todo::Undo { order, again }) = past.todo(&asked(By::Event), at(1001)) else {
                panic!("nothing to undo")
            };
            assert!(!again, "it was baking");
            assert_eq!(order.into_cutover().rollback_moves(&[]).len(), 2);
        }
    }

    #[test]
    fn what_was_stopped_in_a_shift_is_undone_once_more_also_by_hand() {
        let mut shifting = baking();
        shifting["phase"] = json!("shifting");
        let again = |ended: Ended, now| {
            let past = ended.past(recorded(shifting.clone())).expect("told");
            match past.todo(&asked(BY_HAND), at(now)) {
                Ok(Todo::Undo { again, .. }) => again,
                other => panic!("nothing to undo: {other:?}"),
            }
        };
        assert!(again(stopped(), 1000 + SHIFT_S_MAX - 1));
        assert!(!again(stopped(), 1000 + SHIFT_S_MAX));
        assert!(!again(ended("FAILED", Some(ROLLBACK_FAILED)), 1001), "it waited for the shift");
    }

    #[test]
    fn a_route_that_could_not_go_back_is_tried_again_by_hand_and_the_others_are_left() {
        let failed = rolled_back(Cutover::read(baking()).expect("a state").give_up("bad"), 1);
        assert_eq!(failed.next.action, Action::RollbackFailed);
        let end = ended("FAILED", Some(ROLLBACK_FAILED));
        let state = serde_json::to_value(&failed).expect("JSON");
        let order = order(end.clone().past(recorded(state)).expect("told"));
        assert!(!order.force, "the old side is asked about again");
        let cutover = order.into_cutover();
        let moves = cutover.rollback_moves(&[]);
        assert_eq!((moves.len(), &moves[0].route), (1, &failed.routes[0].name));

        let kept_again = rolled_back(cutover.clone(), 1);
        assert_eq!(kept_again.next.action, Action::RollbackFailed);
        let done = rolled_back(cutover, 0);
        assert_eq!(done.next.action, Action::RolledBack);
        let report = done.report.clone().expect("an end");
        let reasons: Vec<&str> = report.routes.iter().map(|r| r.reason.as_str()).collect();
        assert_eq!(reasons, ["asked for by hand", "went back already"]);

        let state = serde_json::to_value(&done).expect("JSON");
        let reason = why_nothing(end.past(recorded(state)).expect("told"));
        assert!(reason.contains("went back already"), "{reason}");
    }

    #[test]
    fn an_order_of_the_state_machine_leaves_a_route_that_was_kept_unless_it_is_forced() {
        let failed = rolled_back(Cutover::read(baking()).expect("a state").give_up("bad"), 2);
        let order = |force| {
            Order { cutover: failed.clone(), failure: None, force, retake: force }.into_cutover()
        };
        assert_eq!(order(false).going_back().count(), 0);
        assert_eq!(order(true).going_back().count(), 2);
    }

    #[test]
    fn the_answer_is_the_state_or_a_plain_reason() {
        let nothing = serde_json::to_value(Answer::nothing("it was a dry run".to_owned()));
        let wanted = json!({"outcome": "nothing_to_do", "reason": "it was a dry run"});
        assert_eq!(nothing.expect("JSON"), wanted);
        let cutover = Cutover::read(baking()).expect("a state");
        let did = serde_json::to_value(Answer::from(cutover.clone())).expect("JSON");
        assert_eq!(did, serde_json::to_value(cutover).expect("JSON"));
    }
}
