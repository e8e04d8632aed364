//! Plays what a cutover does with its verdicts on one route: when it holds a step, and what ends that.

use cutover_core::{Doubt, Health, Leave, Verdict, later};
use jiff::Timestamp;
use serde::Serialize;

/// A time for which a step is held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hold {
    /// The end of the step's bake, or the first check after it on which the step would not be passed.
    pub since: Timestamp,
    /// When the hold ended, or the last check.
    pub until: Timestamp,
    /// Why, at the last check.
    pub doubt: Doubt,
    /// What ended it.
    pub end: HoldEnd,
}

/// What ends a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldEnd {
    /// Nothing: the series is over.
    Open,
    /// A verdict on which the step is passed.
    Passed,
    /// The series, whose intended share changed all the same.
    Shifted,
    /// `hold_max_s`: the cutover goes on all the same.
    Advanced,
    /// `hold_max_s`, or a regression: the traffic goes back.
    RolledBack,
    /// `hold_max_s`: the traffic should go back, and stays because the old side does even worse.
    Kept,
}

/// The steps of a series. After its bake, a step is looked at in every check as if the bake had just ended: the series
/// may stay on a step that is passed.
pub(crate) struct Steps<'a> {
    health: &'a Health,
    bake_s: u32,
    bake_end: Timestamp,
    /// Since when no check would pass the step.
    in_doubt: Option<Timestamp>,
    /// Whether the cutover has gone on all the same: until a verdict passes, the step is held no more.
    has_advanced: bool,
    is_last: bool,
    pub(crate) holds: Vec<Hold>,
}

impl<'a> Steps<'a> {
    pub(crate) const fn new(health: &'a Health, bake_s: u32) -> Self {
        Self {
            health,
            bake_s,
            bake_end: Timestamp::MAX,
            in_doubt: None,
            has_advanced: false,
            is_last: false,
            holds: Vec::new(),
        }
    }

    /// A step begins. `settled_at`: when it has settled; `None`: nothing is meant for the new side, and nothing is held.
    pub(crate) fn begin(&mut self, at: Timestamp, settled_at: Option<Timestamp>, is_last: bool) {
        self.end(at, HoldEnd::Shifted);
        self.bake_end =
            settled_at.map_or(Timestamp::MAX, |settled| later(settled, self.bake_s.into()));
        self.in_doubt = Some(at);
        self.has_advanced = false;
        self.is_last = is_last;
    }

    /// Looks at the step; `Some`: the route leaves the ramp.
    pub(crate) fn check(&mut self, now: Timestamp, verdict: &Verdict) -> Option<Leave> {
        let Some(doubt) = self.health.doubt(Some(verdict), self.is_last) else {
            self.end(now, HoldEnd::Passed);
            (self.in_doubt, self.has_advanced) = (None, false);
            return None;
        };
        let since = self.bake_end.max(*self.in_doubt.get_or_insert(now));
        if now < since || self.has_advanced {
            return None;
        }
        let hold_end = self.health.hold_end(since);
        if self.open().is_none() {
            self.holds.push(Hold { since, until: now, doubt, end: HoldEnd::Open });
        }
        if let Some(hold) = self.open() {
            (hold.until, hold.doubt) = (now.min(hold_end), doubt);
        }
        if now < hold_end {
            return None;
        }
        let leave = self.health.leave(verdict, self.is_last);
        self.has_advanced = leave.is_none();
        self.end(
            hold_end,
            match leave {
                None => HoldEnd::Advanced,
                Some(Leave::Back(_)) => HoldEnd::RolledBack,
                Some(Leave::Kept(_)) => HoldEnd::Kept,
            },
        );
        leave
    }

    /// Ends the hold, if there is one.
    pub(crate) fn end(&mut self, at: Timestamp, end: HoldEnd) {
        if let Some(hold) = self.open() {
            (hold.until, hold.end) = (at, end);
        }
    }

    /// The hold that the step is in.
    pub(crate) fn open(&mut self) -> Option<&mut Hold> {
        self.holds.last_mut().filter(|hold| hold.end == HoldEnd::Open)
    }
}
