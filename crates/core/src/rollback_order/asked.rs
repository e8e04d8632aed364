//! Who asks for a roll-back: the state machine, a person, or an event.

use serde_json::Value;

use super::{Order, TaskError};
use crate::cutover::Cutover;
use crate::failure::{Failure, Problem};
use crate::request::fields::{Fields, refused, shown};

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
    /// Distinguishes an [`Order`], `{"execution_arn", "force"}` and the event of an execution's status
    /// change. Only executions of the given state machine are rolled back.
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
