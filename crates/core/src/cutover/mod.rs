//! `Cutover`: the state that travels through the state machine, and every decision about it.
//!
//! A function calls one transition, the state machine branches on [`Next::action`] alone.
//! Transitions take the state and what an adapter observed, and give the next state. The same
//! arguments give the same state, so a function that is run twice does no harm.

mod schema_1;
pub mod state;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evidence::e_process::Test;
use crate::evidence::judge::judge;
use crate::evidence::verdict::{Verdict, VerdictKind};
use crate::evidence::{Evidence, Observed, Series, TelemetryLimits, Window};
use crate::failure::{Failure, Problem};
use crate::limits::RETRY_EVENTS;
use crate::meter::{Meter, OldSide};
use crate::percent::Percent;
use crate::report::Report;
use crate::request::health::{Health, OnNoData};
use crate::request::ramp::{ROLLBACK_EVENTS, Ramp, Step, history_is_full};
use crate::router::survey::RouterRef;
use crate::router::{
    Fence, Move, Moved, Propagation, RouteId, Settling, Shifted, Sides, Split, Way, Weights,
};

/// Version of the state's JSON.
pub const SCHEMA: u32 = 2;

/// How long a change may take to be live everywhere, in seconds, before the cutover gives up.
pub const SETTLE_S_MAX: i64 = 900;

/// Longest wait until a step that settles is looked at for the first time, in seconds.
const SETTLING_CHECK_S_MAX: u32 = 60;

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
    fn new(action: Action, wait_s: u32, reason: &str) -> Self {
        Self { action, wait_s, reason: reason.chars().take(NEXT_REASON_CHARS_MAX).collect() }
    }
}

/// Which execution this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The step's weights are about to be written.
    Shifting,
    /// They are written, and not yet live everywhere.
    Settling(Settling),
    /// They are live everywhere since this time (in the future while a TTL runs out).
    Baking {
        /// Begin of the bake.
        since: Timestamp,
    },
}

/// How a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It goes with the ramp.
    Active,
    /// It must go back.
    RollingBack,
    /// It has its original weights again.
    RolledBack,
    /// Somebody else changed its split: it is left alone.
    Drifted,
    /// It should go back and could not: its old side has no registered target, or the service refused.
    /// Its traffic stays.
    Kept,
    /// It belongs to another execution now, or was given back by another hand: it is left alone.
    Superseded,
}

/// One route on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its host name.
    pub name: RouteId,
    /// The weights that a roll-back gives it again.
    pub original: Weights,
    /// The weights that cutover wrote last, or found at the start.
    pub last: Weights,
    /// How it stands.
    pub status: Status,
    /// Index of its old side's meter in [`Cutover::meters`].
    pub old_meter: usize,
    /// Index of its new side's meter.
    pub new_meter: usize,
    /// Who else may write its weights back: a name in [`Cutover::other_writers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_writer: Option<String>,
    /// Fingerprints of everything about it but the weights, as [`Split::shapes`] has them. A state of before there
    /// were any has none, and then they are not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<u32>,
    /// The holder of a fence that validation found on it: an execution that has ended and left it behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
    /// Whether a person insists that it goes back, whatever it has become.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Whether its router sends nothing to the old side while any group of that side's targets has no healthy
    /// one, whatever the weights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_or_nothing: bool,
    /// The latest verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why it is no longer active, in at most [`REASON_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Longest reason kept per route, in characters: 250 of them must fit into the state.
pub const REASON_CHARS_MAX: usize = 160;

/// Who else may write weights back, by name, and what to do about each: the end of a sentence.
type Writers = BTreeMap<String, String>;

/// The whole state of one cutover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cutover {
    /// [`SCHEMA`]; [`Cutover::read`] reads every version.
    pub schema: u32,
    /// Which execution this is.
    pub execution: Execution,
    /// The set identifiers of the two sides.
    #[serde(flatten)]
    pub sides: Sides,
    /// The router of the routes, and where it finds them.
    pub router: RouterRef,
    /// The steps.
    pub ramp: Ramp,
    /// Index of the current step in the ramp.
    pub step: usize,
    /// Where the step stands.
    pub phase: Phase,
    /// How evidence is judged.
    pub health: Health,
    /// Whether a failed route goes back alone.
    pub isolate: bool,
    /// With `isolate`: more failed routes than this roll everything back.
    pub max_failed_routes: u32,
    /// How long validation was allowed to wait, for the account of history events.
    pub ready_timeout_s: u32,
    /// When the cutover was accepted.
    pub started_at: Timestamp,
    /// When the first weights were written: evidence begins here.
    pub first_shift_at: Option<Timestamp>,
    /// Checks made so far: bounds the execution's history.
    pub checks: u32,
    /// Whether each write replaces a [`Fence`] beside the route. False in a state of before there were fences.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fence: bool,
    /// Shifts written so far: the number of the fences.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub writes: u32,
    /// Whether the fences are gone, as they are once the cutover has completed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Events of the history beside those of checks and shifts: retries, and roll-backs of single routes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extra_events: u64,
    /// Retries of the task that has this state as its argument: the state machine adds it.
    #[serde(default, skip_serializing)]
    pub retry_count: u32,
    /// Every meter of the routes, once.
    pub meters: Vec<Meter>,
    /// Who else may write weights back, by name, and what to do about each: the end of a sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_writers: Writers,
    /// The routes.
    pub routes: Vec<Route>,
    /// What validation found worth saying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
    /// What the state machine does next.
    pub next: Next,
    /// At an end: what became of every route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// What one check saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// While settling: whether every change is live everywhere.
    pub propagated: Propagation,
    /// The live splits of the routes, or why they could not be read.
    pub splits: Result<Vec<Split>, String>,
    /// The evidence, or why the telemetry failed.
    pub observed: Result<Observed, String>,
}

/// What one roll-back did.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackDone {
    /// Routes that were left because their old side has no registered target.
    pub kept: Vec<RouteId>,
    /// What is wrong with old sides, of the routes for which something is known to be.
    pub old_sides: Vec<(RouteId, OldSide)>,
    /// What became of the moves.
    pub shifted: Shifted,
    /// The live splits afterwards, read back.
    pub splits: Vec<Split>,
    /// The name of the function that rolls back, for the command that a person is given.
    pub function: Option<String>,
}

/// Seconds that a shift may go on after its execution was stopped: the time-out of its task.
pub const SHIFT_S_MAX: i64 = 150;

impl RollbackDone {
    /// What a person must know about a route that has gone back.
    fn warning(&self, route: &Route) -> Option<&'static str> {
        let (_, old_side) = self.old_sides.iter().find(|(name, _)| name == &route.name)?;
        old_side.warning(route.all_or_nothing)
    }
}

impl Cutover {
    /// Whether a shift of an execution that was stopped then may still be under way: its function
    /// goes on, and may write after a roll-back has looked.
    #[must_use]
    pub fn may_be_shifting(&self, stopped_at: Option<Timestamp>, now: Timestamp) -> bool {
        // Later shifts find their fence gone.
        let unfenced = !self.fence || self.writes == 0;
        self.phase == Phase::Shifting
            && unfenced
            && stopped_at.is_some_and(|stopped_at| now < later(stopped_at, SHIFT_S_MAX))
    }
}

impl Cutover {
    /// The current step; `None` only for a state that cutover did not write.
    #[must_use]
    pub fn current_step(&self) -> Option<Step> {
        self.ramp.steps().get(self.step).copied()
    }

    /// The share that the current step asks for.
    #[must_use]
    pub fn intended(&self) -> Percent {
        self.current_step().map_or(Percent::ZERO, |step| step.percent)
    }

    /// The weights that the current step asks for.
    #[must_use]
    pub fn target(&self) -> Weights {
        Weights::of(self.intended(), self.ramp.scale())
    }

    /// The routes that go with the ramp.
    pub fn active(&self) -> impl Iterator<Item = &Route> {
        self.with_status(Status::Active)
    }

    fn with_status(&self, status: Status) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(move |route| route.status == status)
    }

    /// What a shift has to do: every active route from what was written last to the current
    /// step's weights. Nothing once the step is written.
    #[must_use]
    pub fn pending_moves(&self) -> Vec<Move> {
        if self.phase != Phase::Shifting {
            return Vec::new();
        }
        let to = self.target();
        self.active()
            .map(|route| Move {
                route: route.name.clone(),
                from: vec![route.last],
                to,
                shapes: route.shapes.clone(),
                way: Way::Onward,
                supersedes: route.supersedes.clone(),
            })
            .collect()
    }

    /// Who holds the fences: `REGION:ACCOUNT:STATE_MACHINE:EXECUTION`, from the execution's ARN.
    #[must_use]
    pub fn holder(&self) -> String {
        holder_of(&self.execution.arn)
    }

    /// The fence of the next shift, if there is to be one.
    #[must_use]
    pub fn shift_fence(&self, now: Timestamp) -> Option<Fence> {
        self.fence.then(|| Fence {
            holder: self.holder(),
            number: self.writes.saturating_add(1),
            at: now,
            take: self.writes == 0,
            last: false,
        })
    }

    /// The fence of a roll-back. Its number is above that of a shift that is under way. With `retake`, a route
    /// whose fence is gone may be taken up again, as after completion.
    #[must_use]
    pub fn rollback_fence(&self, retake: bool, now: Timestamp) -> Option<Fence> {
        self.fence.then(|| Fence {
            holder: self.holder(),
            number: self.writes.saturating_add(2),
            at: now,
            take: self.released || retake,
            last: true,
        })
    }

    /// After a shift: the routes that moved begin to settle, those that drifted stop.
    #[must_use]
    pub fn after_shift(mut self, shifted: &Shifted, now: Timestamp) -> Self {
        if self.phase != Phase::Shifting {
            return self;
        }
        self.count_retries();
        let to = self.target();
        for (name, moved) in &shifted.moves {
            let Some(route) = self.routes.iter_mut().find(|route| &route.name == name) else {
                continue;
            };
            match moved {
                Moved::There => route.last = to,
                Moved::Refused(why) | Moved::MustGoBack(why) => route.must_go_back(why),
                Moved::Drifted(live) => route.differs(live, &self.other_writers),
                Moved::Superseded(why) => route.superseded(why),
                // Only said of a roll-back.
                Moved::Partly(why) => route.drifted(&Err(why.clone()), &self.other_writers),
            }
        }
        self.writes = self.writes.saturating_add(1);
        self.first_shift_at = self.first_shift_at.or(Some(now));
        self.phase = Phase::Settling(Settling {
            receipts: shifted.receipts.clone(),
            unconfirmed: shifted.unconfirmed,
            live_in_s: shifted.live_in_s,
            linger_s: shifted.linger_s,
            shifted_at: now,
        });
        if !self.fail_or_go_on() {
            let wait_s = self.health.check_interval_s.min(SETTLING_CHECK_S_MAX);
            let reason = format!("{} asked for; settling", self.intended());
            self.next = Next::new(Action::Wait, wait_s, &reason);
        }
        self
    }

    /// Routes that are counted apart: pairs of meters. They share the chance of a false alarm.
    fn pairs(&self) -> u32 {
        let pairs: BTreeSet<(usize, usize)> =
            self.routes.iter().map(|route| (route.old_meter, route.new_meter)).collect();
        u32::try_from(pairs.len()).unwrap_or(u32::MAX)
    }

    /// The decimal logarithm of what e must reach for a route to go back:
    /// pairs of meters × signals / alpha.
    #[must_use]
    pub fn log10_limit(&self) -> f64 {
        Test::of(&self.health, self.pairs()).log_limit() / std::f64::consts::LN_10
    }

    /// The ids of the changes whose propagation the next check must ask about.
    #[must_use]
    pub fn unsettled_receipts(&self) -> &[String] {
        match &self.phase {
            Phase::Settling(settling) => &settling.receipts,
            Phase::Shifting | Phase::Baking { .. } => &[],
        }
    }

    /// The periods whose evidence a check at `now` needs.
    #[must_use]
    pub fn evidence_window(&self, limits: TelemetryLimits, now: Timestamp) -> Window {
        Window::complete(self.first_shift_at.unwrap_or(now), now, &self.health, limits)
    }

    /// After a check: settles, judges every active route, and decides what comes next.
    #[must_use]
    pub fn after_check(mut self, checked: &Checked, now: Timestamp) -> Self {
        if self.phase == Phase::Shifting || self.report.is_some() {
            return self;
        }
        self.checks = self.checks.saturating_add(1);
        self.count_retries();
        for split in checked.splits.iter().flatten() {
            let route = self.routes.iter_mut().find(|route| route.name == split.route);
            if let Some(route) = route.filter(|route| route.status == Status::Active) {
                route.compare(split, &self.other_writers);
            }
        }
        self.settle(checked.propagated, now);
        self.judge_routes(&checked.observed);
        let (extra_events, steps) = (self.extra_events, self.ramp.steps().len());
        if history_is_full(self.checks, extra_events, steps, self.ready_timeout_s) {
            self.roll_back_active("the execution's history is nearly full");
        }
        if !self.fail_or_go_on() {
            self.next = self.after_verdicts(checked.splits.as_ref().err(), now);
            if self.fail_or_go_on() {
                return self;
            }
            match (self.next.action, &checked.splits) {
                (Action::Shift, _) => {
                    self.step += 1;
                    self.phase = Phase::Shifting;
                }
                (Action::Complete, Ok(splits)) => self.complete(splits),
                _ => {}
            }
        }
        self
    }

    /// Adds the retries of the task that has just succeeded to the account of the history.
    fn count_retries(&mut self) {
        let events = RETRY_EVENTS * u64::from(std::mem::take(&mut self.retry_count));
        self.extra_events = self.extra_events.saturating_add(events);
    }

    /// From settling to baking, once every change is live everywhere and the TTL's end is known.
    fn settle(&mut self, propagated: Propagation, now: Timestamp) {
        let Phase::Settling(settling) = &self.phase else { return };
        let ttl_s = i64::from(settling.linger_s);
        if propagated != Propagation::Pending {
            // A change whose id was lost with its reply, or is not known to the service, cannot be asked
            // about: it gets the time that the service generally takes.
            let live_at = if settling.unconfirmed || propagated == Propagation::Unknown {
                now.max(later(settling.shifted_at, i64::from(settling.live_in_s)))
            } else {
                now
            };
            self.phase = Phase::Baking { since: later(live_at, ttl_s) };
        } else if now > later(settling.shifted_at, SETTLE_S_MAX) {
            let reason = format!("the change of weights was not live after {SETTLE_S_MAX} s");
            self.roll_back_active(&reason);
        }
    }

    fn judge_routes(&mut self, observed: &Result<Observed, String>) {
        let settled_at = match self.phase {
            Phase::Baking { since } => Some(since),
            Phase::Shifting | Phase::Settling(_) => None,
        };
        let none = Series::default();
        let pairs = self.pairs();
        // Routes that share both meters share their verdict.
        let mut judged: BTreeMap<(usize, usize), Verdict> = BTreeMap::new();
        for route in self.routes.iter_mut().filter(|route| route.status == Status::Active) {
            let verdict = judged.entry((route.old_meter, route.new_meter)).or_insert_with(|| {
                let observed = match observed {
                    Err(why) => return Verdict::metrics_broken(why),
                    Ok(observed) => observed,
                };
                let of = |index: usize| observed.series.get(index).unwrap_or(&none);
                let (old, new) = (of(route.old_meter), of(route.new_meter));
                let evidence = Evidence::new(observed, old, new, settled_at);
                let baseline = self.meters.get(route.old_meter);
                let baseline = baseline.and_then(|lb| lb.baseline.as_ref());
                judge(&self.health, &evidence, pairs, baseline)
            });
            if verdict.kind == VerdictKind::Regressed {
                route.must_go_back(&verdict.reason);
            }
            route.verdict = Some(verdict.clone());
        }
    }

    /// What comes next when no route has failed: stay, go on or end. `unread`: why the live
    /// weights could not be read; a step is not passed without them.
    fn after_verdicts(&mut self, unread: Option<&String>, now: Timestamp) -> Next {
        let interval_s = i64::from(self.health.check_interval_s);
        let wait = |left_s: i64, reason: String| {
            let wait_s = u32::try_from(left_s.clamp(1, interval_s.max(1))).unwrap_or(1);
            Next::new(Action::Wait, wait_s, &reason)
        };
        let since = match &self.phase {
            Phase::Baking { since } => *since,
            Phase::Shifting | Phase::Settling(_) => {
                let verdict = self.worst_verdict();
                return wait(interval_s, format!("{}: settling; {verdict}", self.intended()));
            }
        };
        let bake_s = self.current_step().map_or(0, |step| i64::from(step.bake_s));
        let bake_end = later(since, bake_s);
        let left_s = bake_end.as_second() - now.as_second();
        if now < bake_end {
            let phase = if now < since { "settling" } else { "baking" };
            let verdict = self.worst_verdict();
            return wait(left_s, format!("{}: {phase}; {verdict}", self.intended()));
        }
        let hold_end = later(bake_end, i64::from(self.health.hold_max_s));
        let unknown = |route: &Route| {
            let kind = route.verdict.as_ref().map(|verdict| verdict.kind);
            !matches!(kind, Some(VerdictKind::Healthy | VerdictKind::Regressed))
        };
        let is_last = self.step + 1 >= self.ramp.steps().len();
        let fails = |route: &Route| {
            is_last && route.verdict.as_ref().is_some_and(|verdict| verdict.failing)
        };
        let unjudged = self.active().filter(|route| unread.is_some() || unknown(route)).count();
        let failing = self.active().filter(|route| fails(route)).count();
        let why = match unread {
            Some(why) => format!("the live weights cannot be read: {why}"),
            None => self.worst_verdict(),
        };
        if unjudged + failing > 0 && now < hold_end {
            let left_s = hold_end.as_second() - now.as_second();
            let because = if unjudged > 0 {
                format!("{unjudged} route(s) cannot be judged")
            } else {
                format!("{failing} route(s) fail on both sides, which is no end to complete at")
            };
            let reason = format!(
                "{}: held for up to {left_s} s more because {because}; {why}",
                self.intended()
            );
            return wait(left_s, reason);
        }
        let (hold_max_s, on_no_data) = (self.health.hold_max_s, self.health.on_no_data);
        for route in self.routes.iter_mut().filter(|route| route.status == Status::Active) {
            let Some(verdict) = &route.verdict else { continue };
            if is_last && verdict.failing && unread.is_none() {
                let sentence = format!("still failing after {hold_max_s} s: {}", verdict.reason);
                let worse = verdict.old.requests >= self.health.requests_min
                    && verdict.old.error_rate() > verdict.new.error_rate();
                route.must_go_back(&sentence);
                if worse {
                    route.kept("its old side fails even more than the new one");
                }
                continue;
            }
            let goes_back = match verdict.kind {
                _ if unread.is_some() => true,
                VerdictKind::MetricsBroken => true,
                VerdictKind::NotEnoughData => on_no_data == OnNoData::RollBack,
                VerdictKind::Healthy | VerdictKind::Regressed => false,
            };
            if goes_back {
                let why = if unread.is_some() { &why } else { &verdict.reason };
                let reason = format!("still not judged after {hold_max_s} s: {why}");
                route.must_go_back(&reason);
            }
        }
        let verdict = self.worst_verdict();
        if is_last {
            let left_behind = self.routes.len() - self.active().count();
            let reason = if left_behind == 0 {
                format!("every step was passed; {verdict}")
            } else {
                let why = self.why_failed();
                format!("every step was passed, but {left_behind} route(s) are not there; {why}")
            };
            return Next::new(Action::Complete, 0, &reason);
        }
        Next::new(Action::Shift, 0, &format!("{} passed; {verdict}", self.intended()))
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

    /// Orders a roll-back when routes must go back, when more failed than may, or when none is
    /// left to go on. Says whether it did.
    fn fail_or_go_on(&mut self) -> bool {
        let failed = self.routes.iter().filter(|route| route.status != Status::Active).count();
        let allowed = if self.isolate { self.max_failed_routes as usize } else { 0 };
        let why = self.why_failed();
        if failed > allowed {
            self.roll_back_active(&format!("goes back with the others; {why}"));
        }
        let going_back = self.with_status(Status::RollingBack).count();
        let ordered = going_back > 0 || self.active().next().is_none();
        if ordered {
            self.next = Next::new(Action::RollBack, 0, &why);
        }
        ordered
    }

    /// The first failed route's reason, with its name; those that failed last come first.
    fn why_failed(&self) -> String {
        let going_back = self.with_status(Status::RollingBack);
        let others = self.routes.iter().filter(|route| route.status != Status::RollingBack);
        let mut reasons =
            going_back.chain(others).filter_map(|r| r.reason.as_ref().map(|why| (&r.name, why)));
        reasons.next().map(|(name, why)| format!("{name}: {why}")).unwrap_or_default()
    }

    fn roll_back_active(&mut self, reason: &str) {
        for route in self.routes.iter_mut().filter(|route| route.status == Status::Active) {
            route.must_go_back(reason);
        }
    }

    /// Marks every active route to go back, because a function could not go on.
    #[must_use]
    pub fn give_up(mut self, reason: &str) -> Self {
        self.roll_back_active(reason);
        if self.report.is_none() {
            self.next = Next::new(Action::RollBack, 0, reason);
        }
        self
    }

    /// The routes that must go back, each with the id of its old side's meter.
    pub fn going_back(&self) -> impl Iterator<Item = (RouteId, String)> {
        self.with_status(Status::RollingBack).filter_map(|route| {
            Some((route.name.clone(), self.meters.get(route.old_meter)?.id.clone()))
        })
    }

    /// What a roll-back has to do, but for the routes in `kept`: to the original weights, from
    /// what was written last or was about to be written when the function was stopped.
    ///
    /// A weight that is an original one was written back by somebody, external-dns for one, who wants what a
    /// roll-back wants: beside a weight of cutover's it is no drift.
    #[must_use]
    pub fn rollback_moves(&self, kept: &[RouteId]) -> Vec<Move> {
        let about_to_be_written = self.target();
        self.with_status(Status::RollingBack)
            .filter(|route| !kept.contains(&route.name))
            .map(|route| {
                let original = route.original;
                let ours = [route.last, about_to_be_written];
                let half = ours.into_iter().flat_map(|ours| {
                    [Weights { old: original.old, ..ours }, Weights { new: original.new, ..ours }]
                });
                let mut from = Vec::new();
                for weights in ours.into_iter().chain(half) {
                    if !from.contains(&weights) {
                        from.push(weights);
                    }
                }
                Move {
                    route: route.name.clone(),
                    from,
                    to: original,
                    shapes: route.shapes.clone(),
                    way: if route.forced { Way::Forced } else { Way::Back },
                    supersedes: route.supersedes.clone(),
                }
            })
            .collect()
    }

    /// After a roll-back: ends, or goes on with the routes that stay active.
    #[must_use]
    pub fn after_rollback(mut self, done: &RollbackDone) -> Self {
        let mut warned: Vec<(RouteId, &str)> = Vec::new();
        if self.report.is_none() {
            self.count_retries();
            self.extra_events = self.extra_events.saturating_add(ROLLBACK_EVENTS);
        }
        for route in self.routes.iter_mut().filter(|r| r.status == Status::RollingBack) {
            if done.kept.contains(&route.name) {
                route.kept("its old side has no registered target");
                continue;
            }
            match done.shifted.moves.iter().find(|(name, _)| name == &route.name) {
                Some((_, Moved::There)) => {
                    route.status = Status::RolledBack;
                    route.last = route.original;
                    if let Some(warning) = done.warning(route) {
                        warned.push((route.name.clone(), warning));
                        let why = route.reason.take().unwrap_or_default();
                        route.say(&format!("{warning}; went back because: {why}"));
                    }
                }
                Some((_, Moved::Refused(why))) => route.kept(why),
                Some((_, Moved::Drifted(live))) => route.drifted(live, &self.other_writers),
                Some((_, Moved::Superseded(why) | Moved::MustGoBack(why))) => route.superseded(why),
                Some((_, Moved::Partly(why))) => {
                    route.last = route.original;
                    route.drifted(&Err(why.clone()), &self.other_writers);
                }
                None => {}
            }
        }
        if self.active().next().is_some() {
            let (action, wait_s) = match self.phase {
                Phase::Shifting => (Action::Shift, 0),
                Phase::Settling(_) | Phase::Baking { .. } => {
                    (Action::Wait, self.health.check_interval_s)
                }
            };
            let reason = format!("the other routes go on; {}", self.next.reason);
            let reason = warned_first(&warned, reason);
            self.next = Next::new(action, wait_s, &reason);
            return self;
        }
        let first = |status| self.with_status(status).next();
        let (action, cause) = if let Some(kept) =
            first(Status::Kept).or_else(|| first(Status::RollingBack))
        {
            (Action::RollbackFailed, Some(kept))
        } else if let Some(left) = first(Status::Drifted).or_else(|| first(Status::Superseded)) {
            (Action::Drifted, Some(left))
        } else {
            (Action::RolledBack, None)
        };
        let mut reason = match cause {
            Some(route) => {
                format!("{}: {}", route.name, route.reason.as_deref().unwrap_or_default())
            }
            None => self.next.reason.clone(),
        };
        reason = warned_first(&warned, reason);
        if let Some(left) = self.left_on_new(done) {
            reason = format!("{left} {reason}");
        }
        self.next = Next::new(action, 0, &reason);
        self.report = Some(Report::of(&self, &done.splits));
        self.release_what_is_left();
        self
    }

    /// At an end: fences that nobody needs any more are removed before it.
    fn release_what_is_left(&mut self) {
        if self.fence && self.with_leftover_fence().next().is_some() {
            self.next.action = Action::Release;
        }
    }

    /// Routes that have come to their end without a last write: those that completed, and those that somebody
    /// else changed. One that was kept has its fence until it can go back.
    fn with_leftover_fence(&self) -> impl Iterator<Item = &Route> {
        self.active().chain(self.with_status(Status::Drifted))
    }

    /// Says first and loudest that requests stay on the new side although they should go back, and how a person
    /// takes them back.
    fn left_on_new(&self, done: &RollbackDone) -> Option<String> {
        let left = |status| -> Vec<String> {
            let share = |route: &Route| {
                let split = done.splits.iter().find(|split| split.route == route.name)?;
                match &split.live {
                    Ok(live) => {
                        let share = live.share().filter(|share| *share > 0.0)?;
                        Some(format!("{} of {}", crate::words::percent(share), route.name))
                    }
                    Err(_) => Some(format!("an unknown share of {}", route.name)),
                }
            };
            self.with_status(status).filter_map(share).collect()
        };
        let function = done.function.as_deref().unwrap_or("ROLLBACK_FUNCTION");
        let said = |left: Vec<String>, when: &str, force: bool| {
            let order = serde_json::json!({ "execution_arn": self.execution.arn, "force": force });
            (!left.is_empty()).then(|| {
                format!(
                    "REQUESTS STAY ON THE NEW SIDE {:?}. {when}: aws lambda invoke --function-name {function} \
                     --cli-binary-format raw-in-base64-out --payload '{order}' /dev/stdout. They are {}.",
                    self.sides.new,
                    crate::words::listed(&left),
                )
            })
        };
        // What somebody else has changed is taken back by force; a side that cannot serve gets nothing by force.
        let drifted = said(left(Status::Drifted), "To take them back", true);
        let once = "Once the old side can serve them, this takes them back";
        drifted.or_else(|| said(left(Status::Kept), once, false))
    }

    /// What a roll-back wrote and what it read back afterwards.
    ///
    /// # Errors
    /// As [`rollback_failure`](Self::rollback_failure) when either failed.
    pub fn rollback_outcome(
        &self,
        shifted: Result<Shifted, Failure>,
        splits: Result<Vec<Split>, Failure>,
    ) -> Result<(Shifted, Vec<Split>), Failure> {
        match (shifted, splits) {
            (Ok(shifted), Ok(splits)) => Ok((shifted, splits)),
            (Err(failure), Ok(splits)) => Err(self.rollback_failure(&failure, &splits)),
            (Err(failure), Err(_)) | (Ok(_), Err(failure)) => {
                Err(self.rollback_failure(&failure, &[]))
            }
        }
    }

    /// The failure of a roll-back, told with what is known of every route. `splits`: what could
    /// still be read.
    #[must_use]
    pub fn rollback_failure(&self, failure: &Failure, splits: &[Split]) -> Failure {
        let mut failed = self.clone();
        let reason = format!("the roll-back failed: {failure}; it was for: {}", self.next.reason);
        failed.next = Next::new(Action::RollbackFailed, 0, &reason);
        let report = serde_json::to_string(&Report::of(&failed, splits));
        let message = report.unwrap_or_else(|error| format!("{reason}; no report: {error}"));
        match failure {
            Failure::Unreachable(_) => Failure::Unreachable(message),
            Failure::Refused(_) => Failure::Refused(message),
            Failure::InvalidInput(_) | Failure::NotReady(_) | Failure::Internal(_) => {
                Failure::Internal(message)
            }
        }
    }

    /// For a roll-back that no state machine watches: only one that is done is no failure.
    ///
    /// # Errors
    /// `Unreachable` when a shift may still be under way (`again`), so that it is done once more;
    /// `Refused` with the report when some route has not its original weights.
    pub fn undone(self, again: bool) -> Result<Self, Failure> {
        if again {
            let why = "the weights were given back, but a first shift of the stopped execution may still begin: \
                       this must be done once more in three minutes";
            return Err(Failure::Unreachable(why.to_owned()));
        }
        // What another execution has now is none of this one's business, and no failure.
        let done = [Status::RolledBack, Status::Superseded];
        if self.routes.iter().all(|route| done.contains(&route.status)) {
            return Ok(self);
        }
        let report = serde_json::to_string(&self.report);
        Err(Failure::Refused(report.unwrap_or_else(|error| format!("no report: {error}"))))
    }

    /// Ends well, unless some route had to be kept on a new side that failed.
    fn complete(&mut self, splits: &[Split]) {
        if self.routes.iter().any(|route| route.status == Status::Kept) {
            let reason = format!("the other routes completed; {}", self.why_failed());
            self.next = Next::new(Action::RollbackFailed, 0, &reason);
        }
        self.report = Some(Report::of(self, splits));
        self.release_what_is_left();
    }

    /// The routes whose fences are left to remove before the end.
    #[must_use]
    pub fn to_release(&self) -> Vec<RouteId> {
        let left = self.with_leftover_fence().filter(|_| self.next.action == Action::Release);
        left.map(|route| route.name.clone()).collect()
    }

    /// After the fences are gone: the end that the report names.
    #[must_use]
    pub fn after_release(mut self) -> Self {
        if let Some(report) = &self.report
            && self.next.action == Action::Release
        {
            self.next.action = report.outcome;
            self.released = true;
        }
        self
    }
}

/// `REGION:ACCOUNT:STATE_MACHINE:EXECUTION`, from an execution's ARN.
#[must_use]
pub fn holder_of(execution_arn: &str) -> String {
    match execution_arn.split(':').collect::<Vec<_>>()[..] {
        [_, _, _, region, account, _, machine, name] => {
            format!("{region}:{account}:{machine}:{name}")
        }
        _ => execution_arn.to_owned(),
    }
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Route {
    pub(crate) fn say(&mut self, reason: &str) {
        self.reason = Some(reason.chars().take(REASON_CHARS_MAX).collect());
    }

    pub(crate) fn must_go_back(&mut self, reason: &str) {
        self.status = Status::RollingBack;
        self.say(reason);
    }

    fn kept(&mut self, cause: &str) {
        self.status = Status::Kept;
        let why = self.reason.take().unwrap_or_default();
        self.say(&format!("could not go back: {cause}; it should because: {why}"));
    }

    fn superseded(&mut self, why: &str) {
        self.status = Status::Superseded;
        self.say(why);
    }

    /// Compares what is live with what cutover wrote last.
    fn compare(&mut self, split: &Split, writers: &Writers) {
        let same_shape = self.shapes.is_empty() || split.shapes == self.shapes;
        match &split.live {
            Ok(live) if *live == self.last && same_shape => {}
            Ok(live) if *live == self.last => {
                let why = "it has the weights that cutover wrote, but where its requests go, or for how long, was \
                           changed";
                self.drifted(&Err(why.to_owned()), writers);
            }
            Ok(live) if !same_shape => self.drifted(&Ok(*live), writers),
            // What cutover has moved is as it left it: beside it, a part of one side alone has appeared.
            Err(why) if split.whole == Some(self.last) && same_shape => {
                self.must_go_back(&format!("somebody else changed it: {why}"));
            }
            live => self.differs(live, writers),
        }
    }

    /// Weights, with everything else as it was, that are not those that cutover wrote.
    fn differs(&mut self, live: &Result<Weights, String>, writers: &Writers) {
        match live {
            Ok(live) if self.is_half_reverted(*live) => {
                let side = if live.old == self.original.old { "old" } else { "new" };
                let (who, advice) = self.writer(writers).unwrap_or(("somebody", ""));
                let to_do = if advice.is_empty() { "" } else { ": " };
                self.must_go_back(&format!(
                    "{who} wrote the weight of its {side} side back ({live}){to_do}{advice}"
                ));
            }
            live => self.drifted(live, writers),
        }
    }

    /// Who else may write its weights back, and what to do about it.
    fn writer<'a>(&'a self, writers: &'a Writers) -> Option<(&'a str, &'a str)> {
        let name = self.other_writer.as_deref()?;
        Some((name, writers.get(name)?))
    }

    /// Whether one side has its original weight again and the other still the one that cutover wrote.
    fn is_half_reverted(&self, live: Weights) -> bool {
        let (original, last) = (self.original, self.last);
        live != original
            && (live == Weights { old: original.old, ..last }
                || live == Weights { new: original.new, ..last })
    }

    fn drifted(&mut self, live: &Result<Weights, String>, writers: &Writers) {
        let reason = match (live, self.writer(writers)) {
            (Err(why), _) => format!("somebody else changed it: {why}"),
            (Ok(live), Some((who, advice))) if *live == self.original => {
                format!("{who} wrote the weights back ({live}): {advice}")
            }
            (Ok(live), _) => {
                format!("somebody else changed its weights to {live}; cutover wrote {}", self.last)
            }
        };
        self.status = Status::Drifted;
        self.say(&reason);
    }
}

/// Puts the warning about old sides before the reason, which may be cut off at its end.
fn warned_first(warned: &[(RouteId, &str)], reason: String) -> String {
    let Some(((route, warning), others)) = warned.split_first() else { return reason };
    let more = match others.len() {
        0 => String::new(),
        more => format!(" (and {more} more routes have such an old side)"),
    };
    format!("warning: {route} went back, but {warning}{more}; {reason}")
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
