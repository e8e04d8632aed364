//! Who asks for a roll-back, what the execution that they name has done, and what to do about it.
//!
//! [`RollbackStart::read`] finds out who asks. For an execution, what Step Functions knows of it ([`Ended`]
//! and [`Recorded`]) becomes its [`Past`], and that a [`Todo`]. Nothing is ever given back for an
//! execution that still runs, or that touched nothing.

mod asked;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cutover::{Cutover, Route, Status};
use crate::failure::Failure;
use crate::next::{Action, FAILED_ENDS, IGNORED, PLANNED, REJECTED};

pub use self::asked::{Asked, By, RollbackStart};

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

    /// What the end alone says, before the history is read.
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
mod tests;
