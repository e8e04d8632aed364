//! What follows from what was seen.

use jiff::Timestamp;

use super::{Cutover, Doubt, Held, Leave, Phase, Route, SETTLE_S_MAX, Status, later};
use crate::next::{Action, Next};
use crate::request::ramp::history_is_full;
use crate::router::{RouteId, Split};
use crate::seen::Seen;
use crate::words::percent;

/// Whether a step has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Some change is not live yet.
    NotYet,
    /// It has, at this time, which may be to come.
    Since(Timestamp),
    /// Some change is not live, after longer than it may take.
    TooLate,
}

impl Settled {
    pub(super) const fn since(self) -> Option<Timestamp> {
        match self {
            Self::Since(since) => Some(since),
            Self::NotYet | Self::TooLate => None,
        }
    }
}

/// What is decided: the phase, which routes leave the ramp, and what the others do then.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    phase: Phase,
    leave: Vec<(RouteId, Leave)>,
    then: Then,
}

/// What the routes do that are left, unless there is a roll-back.
#[derive(Clone, Debug, PartialEq)]
enum Then {
    /// They stay on the step, and are looked at again.
    Stay { wait_s: u32, reason: String },
    /// Their step, which is held, is tried again.
    TryAgain(String),
    /// They go on to the next step.
    GoOn,
    /// They have passed the last step, with these splits.
    Complete(Vec<Split>),
    /// They wait for those that go back, or go back as well.
    RollBack,
}

impl Decision {
    /// To stay in a phase.
    pub(super) const fn stay(phase: Phase, wait_s: u32, reason: String) -> Self {
        Self { phase, leave: Vec::new(), then: Then::Stay { wait_s, reason } }
    }
}

impl Cutover {
    /// Decides about the step, with the routes as [`after_check`](Cutover::after_check) has just judged them.
    pub(super) fn decide(
        &self,
        settled: Settled,
        splits: &Seen<Vec<Split>>,
        now: Timestamp,
    ) -> Decision {
        let (extra_events, steps) = (self.extra_events, self.ramp.steps().len());
        if settled == Settled::TooLate {
            let reason = format!("the change of weights was not live after {SETTLE_S_MAX} s");
            return self.all_back(self.phase.clone(), &reason);
        }
        let phase = match settled.since() {
            Some(since) => Phase::Baking { since },
            None => self.phase.clone(),
        };
        if history_is_full(self.checks, extra_events, steps, self.ready_timeout_s) {
            return self.all_back(phase, "the execution's history is nearly full");
        }
        if self.must_roll_back() {
            return Decision { phase, leave: Vec::new(), then: Then::RollBack };
        }
        if let Some(held) = &self.held {
            return self.decide_held(held, now);
        }
        let interval_s = i64::from(self.health.check_interval_s);
        let stay = |phase, left_s: i64, reason| {
            let wait_s = u32::try_from(left_s.clamp(1, interval_s.max(1))).unwrap_or(1);
            Decision::stay(phase, wait_s, reason)
        };
        let Some(since) = settled.since() else {
            let reason = format!("{}: settling; {}", self.intended(), self.worst_verdict());
            return stay(phase, interval_s, reason);
        };
        let bake_s = self.current_step().map_or(0, |step| i64::from(step.bake_s));
        let bake_end = later(since, bake_s);
        if now < bake_end {
            let doing = if now < since { "settling" } else { "baking" };
            let reason = format!("{}: {doing}; {}", self.intended(), self.worst_verdict());
            return stay(phase, bake_end.as_second() - now.as_second(), reason);
        }
        let hold_end = self.health.hold_end(bake_end);
        if let Some(because) = self.why_to_hold(splits).filter(|_| now < hold_end) {
            let left_s = hold_end.as_second() - now.as_second();
            let share = self.intended();
            let reason = format!("{share}: held for up to {left_s} s more because {because}");
            return stay(phase, left_s, reason);
        }
        let leave = |route: &Route| Some((route.name.clone(), self.leave(route, splits)?));
        let leave = self.active().filter_map(leave).collect();
        let then = match splits {
            Seen::Now(splits) if self.is_last_step() => Then::Complete(splits.clone()),
            Seen::Now(_) => Then::GoOn,
            Seen::OutOfReach(_) => Then::RollBack,
        };
        Decision { phase, leave, then }
    }

    /// Tries a held step again, or gives up the routes that it could not move.
    fn decide_held(&self, held: &Held, now: Timestamp) -> Decision {
        let hold_max_s = self.health.hold_max_s;
        let left_s = self.health.hold_end(held.since).as_second() - now.as_second();
        let (target, why) = (self.target(), &held.reason);
        let is_held = |route: &&Route| left_s <= 0 && route.last != target;
        let back = format!("its step was held for {hold_max_s} s; {why}");
        let leave = self.active().filter(is_held);
        let leave = leave.map(|route| (route.name.clone(), Leave::Back(back.clone())));
        let reason = format!("{}: held for up to {left_s} s more because {why}", self.intended());
        let then = Then::TryAgain(reason);
        Decision { phase: Phase::Shifting, leave: leave.collect(), then }
    }

    /// Carries a decision out. It alone writes step, phase and next after a shift or a check.
    pub(super) fn apply(mut self, decision: Decision) -> Self {
        let Decision { phase, leave, then } = decision;
        self.phase = phase;
        for route in self.routes.iter_mut().filter(|route| route.status == Status::Active) {
            match leave.iter().find(|(name, _)| name == &route.name) {
                Some((_, Leave::Back(reason))) => route.must_go_back(reason),
                Some((_, Leave::Kept(reason))) => {
                    route.must_go_back(reason);
                    route.kept("its old side fails even more than the new one");
                }
                None => {}
            }
        }
        let then = if self.must_roll_back() { Then::RollBack } else { then };
        match then {
            Then::RollBack => {
                let why = self.why_failed();
                if self.too_many_failed() {
                    self.roll_back_active(&format!("goes back with the others; {why}"));
                }
                self.next = Next::new(Action::RollBack, 0, &why);
            }
            Then::Stay { wait_s, reason } => self.next = Next::new(Action::Wait, wait_s, &reason),
            Then::TryAgain(reason) => self.next = Next::new(Action::Shift, 0, &reason),
            Then::GoOn => {
                let reason = format!("{} passed; {}", self.intended(), self.worst_verdict());
                self.next = Next::new(Action::Shift, 0, &reason);
                self.step += 1;
                self.phase = Phase::Shifting;
                self.counted_until = None;
                if self.is_last_step() {
                    self.learn_from_ramp();
                }
            }
            Then::Complete(splits) => self.complete(&splits),
        }
        self
    }

    /// Ends well, unless some route had to be kept on a new side that failed.
    fn complete(&mut self, splits: &[Split]) {
        let left_behind = self.routes.len() - self.active().count();
        let (action, reason) = if self.with_status(Status::Kept).next().is_some() {
            let reason = format!("the other routes completed; {}", self.why_failed());
            (Action::RollbackFailed, reason)
        } else if left_behind > 0 {
            let why = self.why_failed();
            let reason =
                format!("every step was passed, but {left_behind} route(s) are not there; {why}");
            (Action::Complete, reason)
        } else {
            let rest = still_on_old(self.old_share());
            (Action::Complete, format!("every step was passed; {}{rest}", self.worst_verdict()))
        };
        self.next = Next::new(action, 0, &reason);
        self.report = Some(self.report_now(splits));
        self.release_what_is_left();
    }

    fn all_back(&self, phase: Phase, reason: &str) -> Decision {
        let back = |route: &Route| (route.name.clone(), Leave::Back(reason.to_owned()));
        Decision { phase, leave: self.active().map(back).collect(), then: Then::RollBack }
    }

    fn is_last_step(&self) -> bool {
        self.step + 1 >= self.ramp.steps().len()
    }

    /// Why the step is not passed yet, at the end of its bake.
    fn why_to_hold(&self, splits: &Seen<Vec<Split>>) -> Option<String> {
        let (is_read, why) = match splits {
            Seen::Now(_) => (true, self.worst_verdict()),
            Seen::OutOfReach(why) => (false, format!("the live weights cannot be read: {why}")),
        };
        let doubts = self
            .active()
            .filter_map(|route| self.health.doubt(route.verdict.as_ref(), self.is_last_step()));
        let doubts: Vec<Doubt> = doubts.collect();
        let number = |doubt| doubts.iter().filter(|other| **other == doubt).count();
        let unjudged = if is_read { number(Doubt::Unjudged) } else { self.active().count() };
        match (number(Doubt::Failing), unjudged) {
            (0, 0) => {
                let most = self.health.old_share_max.filter(|_| !doubts.is_empty())?;
                Some(format!(
                    "old_share_max is {}{}",
                    percent(most),
                    still_on_old(self.old_share())
                ))
            }
            (0, unjudged) => Some(format!("{unjudged} route(s) cannot be judged; {why}")),
            (failing, _) => {
                Some(format!("{failing} route(s) are over a limit, whatever excuses it; {why}"))
            }
        }
    }

    /// The share of the requests that the old side gets lately, 0–1: of all routes, the largest.
    fn old_share(&self) -> Option<f64> {
        let shares = self.active().filter_map(|route| route.verdict.as_ref()?.old_share);
        shares.reduce(f64::max)
    }

    /// Whether and how a route leaves the ramp that was held for as long as it may be.
    fn leave(&self, route: &Route, splits: &Seen<Vec<Split>>) -> Option<Leave> {
        match splits {
            Seen::OutOfReach(why) => {
                Some(self.health.not_judged(&format!("the live weights cannot be read: {why}")))
            }
            Seen::Now(_) => self.health.leave(route.verdict.as_ref()?, self.is_last_step()),
        }
    }

    /// Whether some route must go back, more have failed than may, or none is left to go on.
    fn must_roll_back(&self) -> bool {
        self.too_many_failed()
            || self.with_status(Status::RollingBack).next().is_some()
            || self.active().next().is_none()
    }

    /// Whether more routes have failed than may.
    fn too_many_failed(&self) -> bool {
        let failed = self.routes.iter().filter(|route| route.status != Status::Active).count();
        let allowed = if self.isolate { self.max_failed_routes as usize } else { 0 };
        failed > allowed
    }

    /// The sentence of the active route that stands worst, with its name when there are several.
    fn worst_verdict(&self) -> String {
        let judged = self.active().filter_map(|r| r.verdict.as_ref().map(|v| (&r.name, v)));
        let worst =
            judged.reduce(|a, b| if b.1.kind.badness() > a.1.kind.badness() { b } else { a });
        match worst {
            None => "no route was judged".to_owned(),
            Some((_, verdict)) if self.routes.len() == 1 => verdict.reason.clone(),
            Some((name, verdict)) => format!("{name}: {}", verdict.reason),
        }
    }

    /// The first failed route's reason, with its name; those that failed last come first.
    pub(super) fn why_failed(&self) -> String {
        let going_back = self.with_status(Status::RollingBack);
        let others = self.routes.iter().filter(|route| route.status != Status::RollingBack);
        let mut reasons =
            going_back.chain(others).filter_map(|r| r.reason.as_ref().map(|why| (&r.name, why)));
        reasons.next().map(|(name, why)| format!("{name}: {why}")).unwrap_or_default()
    }

    pub(super) fn roll_back_active(&mut self, reason: &str) {
        for route in self.routes.iter_mut().filter(|route| route.status == Status::Active) {
            route.must_go_back(reason);
        }
    }
}

/// Words how much the old side still gets: whoever deletes it takes that away. Empty when nothing.
fn still_on_old(share: Option<f64>) -> String {
    match share.filter(|share| *share > 0.0) {
        Some(share) => format!("; the old side still gets {} of the requests", percent(share)),
        None => String::new(),
    }
}
