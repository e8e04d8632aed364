//! What the state machine does next: all that its Choice branches on.

use serde::{Deserialize, Serialize};

use crate::words::shortened;

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

/// End: everything is on the new side.
pub const COMPLETED: &str = "Completed";
/// End: a dry run.
pub const PLANNED: &str = "Planned";
/// End: the event asked for nothing.
pub const IGNORED: &str = "Ignored";
/// End: the request was refused, and nothing was touched. The one end that no action leads to.
pub const REJECTED: &str = "Rejected";
/// End: every route has its original weights.
pub const ROLLED_BACK: &str = "RolledBack";
/// End: some route was left as somebody else set it.
pub const DRIFTED: &str = "Drifted";
/// End: some route could not be given back.
pub const ROLLBACK_FAILED: &str = "RollbackFailed";
/// The ends that are Fail states: an execution that ended in one has decided its end itself.
pub const FAILED_ENDS: [&str; 4] = [REJECTED, ROLLED_BACK, DRIFTED, ROLLBACK_FAILED];
/// The ends that are Succeed states.
pub const GOOD_ENDS: [&str; 3] = [COMPLETED, PLANNED, IGNORED];

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
        Self { action, wait_s, reason: shortened(reason, NEXT_REASON_CHARS_MAX) }
    }
}
