//! Holding: whether a step is passed at the end of its bake, and what becomes of a route whose step was held for as
//! long as it may be.

use jiff::Timestamp;
use serde::Serialize;

use super::later;
use crate::evidence::verdict::{Verdict, VerdictKind};
use crate::request::health::{Health, OnNoData};

/// Why a step is not passed on a route's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The new side is over a limit, whatever excuses it.
    Failing,
    /// It cannot be judged.
    Unjudged,
    /// It is the last step, and the old side still gets more than `old_share_max`.
    OldShare,
}

/// How a route leaves the ramp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It goes back, for this reason.
    Back(String),
    /// It should go back for this reason, and stays because the old side does even worse.
    Kept(String),
}

impl Health {
    /// Why a step is not passed on a route's verdict at the end of its bake; `None`: it is. `verdict`: `None` before
    /// the first one.
    #[must_use]
    pub fn doubt(&self, verdict: Option<&Verdict>, is_last_step: bool) -> Option<Doubt> {
        let Some(verdict) = verdict else { return Some(Doubt::Unjudged) };
        let share_max = self.old_share_max.filter(|_| is_last_step);
        if verdict.failing {
            Some(Doubt::Failing)
        } else if !matches!(verdict.kind, VerdictKind::Healthy | VerdictKind::Regressed) {
            Some(Doubt::Unjudged)
        } else {
            let share = verdict.old_share.zip(share_max);
            share.is_some_and(|(share, most)| share > most).then_some(Doubt::OldShare)
        }
    }

    /// When a step has been held for as long as it may be. `since`: the end of its bake.
    #[must_use]
    pub fn hold_end(&self, since: Timestamp) -> Timestamp {
        later(since, i64::from(self.hold_max_s))
    }

    /// Whether and how a route leaves the ramp that was held for as long as it may be; `None`: it goes on.
    #[must_use]
    pub fn leave(&self, verdict: &Verdict, is_last_step: bool) -> Option<Leave> {
        let hold_max_s = self.hold_max_s;
        if verdict.failing {
            let reason = format!("still failing after {hold_max_s} s: {}", verdict.reason);
            let old_is_worse = is_last_step
                && verdict.old.requests >= self.requests_min
                && verdict.old.error_rate() > verdict.new.error_rate();
            return Some(if old_is_worse { Leave::Kept(reason) } else { Leave::Back(reason) });
        }
        match (verdict.kind, self.on_no_data) {
            (VerdictKind::MetricsBroken, _) | (VerdictKind::NotEnoughData, OnNoData::RollBack) => {
                Some(self.not_judged(&verdict.reason))
            }
            (VerdictKind::NotEnoughData, OnNoData::Advance)
            | (VerdictKind::Healthy | VerdictKind::Regressed, _) => None,
        }
    }

    pub(super) fn not_judged(&self, why: &str) -> Leave {
        Leave::Back(format!("still not judged after {} s: {why}", self.hold_max_s))
    }
}
