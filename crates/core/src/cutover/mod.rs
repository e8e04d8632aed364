//! `Cutover`: the state that travels through the state machine, and every decision about it.
//!
//! A function calls one transition, the state machine branches on [`Next::action`] alone.
//! Transitions take the state and what an adapter observed, and give the next state. The same
//! arguments give the same state, so a function that is run twice does no harm.

mod anew;
mod check;
mod decide;
mod hold;
mod rollback;
mod route;
mod shift;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evidence::baseline::Baseline;
use crate::evidence::e_process::Test;
use crate::evidence::verdict::Verdict;
use crate::failure::Problem;
use crate::limits::RETRY_EVENTS;
use crate::meter::Meter;
use crate::next::Next;
use crate::percent::Percent;
use crate::report::{Report, RouteReport};
use crate::request::health::Health;
use crate::request::ramp::{Ramp, Step};
use crate::router::lumps::Lumps;
use crate::router::survey::RouterRef;
use crate::router::{Live, RouteId, Settling, Sides, Split, Weights};

pub use self::check::Checked;
pub use self::hold::{Doubt, Leave};
pub use self::rollback::RollbackDone;

/// Version of the state's JSON.
pub const SCHEMA: u32 = 2;

/// How long a change may take to be live everywhere, in seconds, before the cutover gives up.
pub const SETTLE_S_MAX: i64 = 900;

/// Longest wait until a step that settles is looked at for the first time, in seconds.
const SETTLING_CHECK_S_MAX: u32 = 60;

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

/// The last shift that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastShift {
    /// When its weights were written.
    pub at: Timestamp,
    /// Seconds that requests may linger on their former side.
    pub linger_s: u32,
}

/// Since when and why a step cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// When its shift was held for the first time.
    pub since: Timestamp,
    /// The first route that was held at the last try, and why.
    pub reason: String,
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
    /// What tells its requests.
    #[serde(default, rename = "counts", skip_serializing_if = "crate::is_default")]
    pub counted_by: CountedBy,
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
    /// Why it is no longer active, in at most 160 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What tells a route's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// Its meters, which may count others' as well.
    #[default]
    Meters,
    /// Its meters, which count nothing else.
    #[serde(rename = "alone")]
    MetersAlone,
    /// [`Health::signals`](crate::Health) alone: a side of it counts no requests.
    #[serde(rename = "own")]
    OwnCounts,
}

/// Longest reason kept per route, in characters: 250 of them must fit into the state.
pub const REASON_CHARS_MAX: usize = 160;

/// Who else may write weights back, by name, and what to do about each: the end of a sentence.
type Writers = BTreeMap<String, String>;

/// The whole state of one cutover.
///
/// [Validation](crate::Validation) makes it, and from then on its methods are of three kinds, called in this order:
///
/// - **What is to be done** asks nothing and changes nothing: [`pending_moves`](Self::pending_moves) and
///   [`shift_fence`](Self::shift_fence) for a shift, [`unsettled_receipts`](Self::unsettled_receipts) and
///   [`evidence_window`](Self::evidence_window) for a check, [`rollback_moves`](Self::rollback_moves) and
///   [`rollback_fence`](Self::rollback_fence) for a roll-back, [`to_release`](Self::to_release) at the end.
/// - **Transitions** take the state and what came of it, and give the next state:
///   [`after_shift`](Self::after_shift), [`after_check`](Self::after_check), [`give_up`](Self::give_up),
///   [`after_rollback`](Self::after_rollback), [`after_release`](Self::after_release). Which one is next stands in
///   [`next`](Self::next).
/// - **What it stands at** is for people: [`intended`](Self::intended), [`target`](Self::target),
///   [`active`](Self::active), [`log10_limit`](Self::log10_limit).
///
/// ```
/// use cutover_core::limits::CLOUDWATCH;
/// use cutover_core::{
///     Action, Checked, Cutover, Moved, Observed, Propagation, Seen, Shifted,
/// };
///
/// # let state = include_str!("../../tests/data/schema-2/shift-weight-first-step.json");
/// # let now = "2026-03-17T09:40:00Z".parse().unwrap();
/// // What validation has accepted: the first step is about to be written.
/// let cutover = Cutover::read(serde_json::from_str(state).unwrap()).unwrap();
/// assert_eq!(cutover.next.action, Action::Shift);
///
/// // A router makes the moves, and says what became of each.
/// let moves = cutover.pending_moves();
/// let done = moves.iter().map(|asked| (asked.route.clone(), Moved::There)).collect();
/// let shifted =
///     Shifted { moves: done, receipts: vec![], unconfirmed: false, live_in_s: 60, linger_s: 60 };
/// let cutover = cutover.after_shift(&shifted, now);
/// assert_eq!(cutover.next.action, Action::Wait);
///
/// // Nobody answers a check: the step is held, and nothing moves.
/// let checked = Checked {
///     propagated: Propagation::Done,
///     splits: Seen::OutOfReach("no answer".to_owned()),
///     observed: Observed {
///         window: cutover.evidence_window(CLOUDWATCH, now),
///         series: Seen::OutOfReach("no answer".to_owned()),
///         own: vec![],
///         alarms: Seen::Now(vec![]),
///     },
/// };
/// let cutover = cutover.after_check(&checked, now);
/// assert_eq!(cutover.next.action, Action::Wait);
///
/// // A person takes it back: every route gets the weights that it had.
/// let cutover = cutover.give_up("somebody asked for it");
/// let back = cutover.rollback_moves(&[]);
/// assert_eq!(back[0].to, cutover.routes[0].original);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cutover {
    /// [`SCHEMA`]; [`Cutover::read`] reads this version alone.
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
    /// Set while the step's shift is held: some new side cannot take its requests yet. Only in
    /// [`Phase::Shifting`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
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
    /// The last shift; a state of before there was this has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_shift: Option<LastShift>,
    /// How the router draws the split; a state of before there was this does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lumps: Option<Lumps>,
    /// End of the periods that are in the verdicts' counts of this step; `None` before any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_until: Option<Timestamp>,
    /// Checks made so far: bounds the execution's history.
    pub checks: u32,
    /// Whether each write replaces a [`Fence`](crate::Fence) beside the route. False in a state of before there were fences.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fence: bool,
    /// Shifts written so far: the number of the fences.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub writes: u32,
    /// Whether the fences are gone, as they are once the cutover has completed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Events of the history beside those of checks and shifts: retries, and roll-backs of single routes.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub extra_events: u64,
    /// Retries of the task that has this state as its argument: the state machine adds it.
    #[serde(default, skip_serializing)]
    pub retry_count: u32,
    /// Every meter of the routes, once.
    pub meters: Vec<Meter>,
    /// What the old side did before the ramp, of each of one's own signals, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_days: BTreeMap<String, Baseline>,
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

/// Seconds that a shift may go on after its execution was stopped: the time-out of its task.
pub const SHIFT_S_MAX: i64 = 150;

impl Cutover {
    /// The current step; `None` only for a state that cutover did not write.
    pub(crate) fn current_step(&self) -> Option<Step> {
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

    /// Who holds the fences: `REGION:ACCOUNT:STATE_MACHINE:EXECUTION`, from the execution's ARN.
    #[must_use]
    pub fn holder(&self) -> String {
        holder_of(&self.execution.arn)
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
        let tests = Test::of(&self.health, &self.health.signals(), self.pairs());
        let log_limit = tests.first().map_or(f64::INFINITY, Test::log_limit);
        log_limit / std::f64::consts::LN_10
    }

    /// Adds the retries of the task that has just succeeded to the account of the history.
    fn count_retries(&mut self) {
        let events = RETRY_EVENTS * u64::from(std::mem::take(&mut self.retry_count));
        self.extra_events = self.extra_events.saturating_add(events);
    }

    /// What became of every route so far. `splits`: what was read back.
    pub(crate) fn report_now(&self, splits: &[Split]) -> Report {
        let live = |name: &RouteId| {
            let split = splits.iter().find(|split| &split.route == name)?;
            match split.live {
                Live::At(live) => Some(live),
                Live::Unclear(_) => None,
            }
        };
        let of_route = |route: &Route| {
            let report = RouteReport {
                route: route.name.clone(),
                original: route.original,
                last: route.last,
                live: live(&route.name),
                reason: route.reason.clone().unwrap_or_else(|| self.next.reason.clone()),
            };
            (matches!(route.status, Status::Active | Status::RolledBack), report)
        };
        Report::new(self.next.action, &self.next.reason, self.routes.iter().map(of_route))
    }
}

/// `REGION:ACCOUNT:STATE_MACHINE:EXECUTION`, from an execution's ARN.
pub(crate) fn holder_of(execution_arn: &str) -> String {
    match execution_arn.split(':').collect::<Vec<_>>()[..] {
        [_, _, _, region, account, _, machine, name] => {
            format!("{region}:{account}:{machine}:{name}")
        }
        _ => execution_arn.to_owned(),
    }
}

/// A time this many seconds later, or the last one that there is.
#[must_use]
pub fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
