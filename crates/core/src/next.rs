//! What the state machine does next: all that its Choice branches on.

use serde::{Deserialize, Serialize};

/// What the state machine does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Bring the routes to their step's weights.
    Shift,
    /// Wait, then check.
    Wait,
    /// Remove the fences of the routes; the cutover has ended as its report says.
    Release,
    /// End: everything is on the new side.
    Complete,
    /// End: a dry run; nothing was touched.
    Planned,
    /// End: the event asked for nothing; nothing was touched.
    Ignored,
    /// Give the routes that must go back their original weights.
    RollBack,
    /// End: the routes have their original weights again.
    RolledBack,
    /// End: as `RolledBack`, but for routes that were left as somebody else set them.
    Drifted,
    /// End: some route could not be given back.
    RollbackFailed,
}

impl Action {
    /// Every action's name in JSON.
    pub const NAMES: [&str; 10] = [
        "shift",
        "wait",
        "release",
        "complete",
        "planned",
        "ignored",
        "roll_back",
        "rolled_back",
        "drifted",
        "rollback_failed",
    ];
}

/// The order to the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// What to do.
    pub action: Action,
    /// For [`Action::Wait`]: seconds to wait; 0 otherwise.
    pub wait_s: u32,
    /// One plain sentence why.
    pub reason: String,
}

/// Longest reason of what comes next, in characters: it travels, and ends in a Cause.
const NEXT_REASON_CHARS_MAX: usize = 1_000;

impl Next {
    pub(crate) fn new(action: Action, wait_s: u32, reason: &str) -> Self {
        Self { action, wait_s, reason: reason.chars().take(NEXT_REASON_CHARS_MAX).collect() }
    }
}
