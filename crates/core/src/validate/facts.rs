//! What validation needs to know of the world, in plain types.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cutover::Execution;
use crate::evidence::Series;
use crate::router::survey::{Backend, Behind};

/// Which execution validates, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The execution.
    pub execution: Execution,
    /// When the execution started.
    pub started_at: Timestamp,
    /// Now.
    pub now: Timestamp,
}

impl Attempt {
    pub(super) fn waited_s(&self) -> i64 {
        self.now.as_second() - self.started_at.as_second()
    }
}

/// A running execution of the same state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its input, JSON text; `None` when it could not be had.
    pub input: Option<String>,
}

/// What was found out about endpoints, alarms and executions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// What stands behind each endpoint, by its id.
    pub behind: BTreeMap<String, Behind>,
    /// Of the named alarms those that exist, and whether they are in ALARM.
    pub alarms: Vec<(String, bool)>,
    /// Other running executions.
    pub running: Vec<Running>,
}

impl Facts {
    /// What stands behind an endpoint, if it counts requests.
    pub(super) fn backend(&self, endpoint: &str) -> Option<&Backend> {
        match self.behind.get(endpoint)? {
            Behind::Found(backend) => Some(backend),
            Behind::Nothing { .. } | Behind::Never { .. } => None,
        }
    }
}

/// By meter, what it counted up to now: [`BASELINE_PERIODS`](crate::BASELINE_PERIODS) periods at most, the newest
/// last. Those of the old side, and of both sides when the cutover is resumed.
pub type History = BTreeMap<String, Series>;
