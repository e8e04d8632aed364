//! What an accepted cutover begins with.

use std::collections::BTreeSet;

use super::Validation;
use crate::cutover::{CountedBy, Cutover, Phase, REASON_CHARS_MAX, Route, SCHEMA, Status};
use crate::evidence::OwnSeries;
use crate::evidence::baseline::Baselines;
use crate::failure::Problem;
use crate::limits::{CAUSE_BYTES_MAX, STATE_BYTES_MAX};
use crate::meter::Meter;
use crate::next::{Action, Next};
use crate::plan::{Plan, Planned};
use crate::router::lumps::Lumps;
use crate::router::survey::{Backend, Found, RouterRef, Splitting};
use crate::router::{Live, Side, Split, Weights};
use crate::validate::facts::History;
use crate::words::listed;

/// Bytes that a verdict takes per route.
const VERDICT_BYTES_MAX: usize = 150;

impl Validation {
    /// Without `resume`, every route begins with all weight on the old side.
    pub(super) fn look_at_splits(&mut self) {
        if self.request.resume {
            return;
        }
        let routes = std::mem::take(&mut self.survey.routes);
        let (initial, others): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|found| found.live.old > 0 && found.live.new == 0);
        self.survey.routes = initial;
        for found in others {
            let message = format!(
                "its weights are {}, and a cutover begins with all weight on old and 0 on new: write that first, or go \
                 on from here with resume: true",
                found.live
            );
            self.refuse(Problem::of(&found.route, "split_not_initial", message));
        }
    }

    /// Routes that are there already are left out of a resumed cutover, and the others must have one
    /// split: some would jump otherwise.
    pub(super) fn leave_out_what_is_there(&mut self) {
        if !self.request.resume || self.survey.routes.is_empty() {
            return;
        }
        let routes = std::mem::take(&mut self.survey.routes);
        let (there, open): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|found| found.live.old == 0);
        self.survey.routes = open;
        if self.survey.routes.is_empty() {
            let message =
                "every route has all its weight on the new side already: nothing is left to resume";
            self.refuse(Problem::new("nothing_to_do", message));
        } else if !there.is_empty() {
            let names = listed(there.iter().map(|found| &found.route));
            let message =
                format!("all weight is on the new side already, and stays there: {names}");
            self.warn(Problem::new("already_there", message));
        }
        let shares = self.survey.routes.iter().filter_map(|found| found.live.share());
        let shares: BTreeSet<String> = shares.map(crate::words::percent).collect();
        if shares.len() > 1 {
            let message = format!(
                "the routes have different live shares: {}; resume those of one share at a time, \
                 with routes",
                listed(&shares)
            );
            self.refuse(Problem::new("splits_differ", message));
        }
    }

    /// The cutover, as far as all its parts are known.
    pub(super) fn cutover(&mut self, history: &History) -> Option<Cutover> {
        let sides = self.survey.sides.clone()?;
        let (meters, routes) = self.meters_and_routes(history)?;
        let first_step = self.first_step()?;
        self.warn_without_baseline(&meters, &routes);
        let (request, survey) = (&self.request, &self.survey);
        let reason = format!("{} route(s) go from {} to {}", routes.len(), sides.old, sides.new);
        let mut cutover = Cutover {
            schema: SCHEMA,
            execution: self.attempt.execution.clone(),
            sides,
            router: RouterRef { kind: request.router.kind.clone(), place: survey.place.clone() },
            ramp: request.ramp.clone(),
            step: first_step,
            phase: Phase::Shifting,
            held: None,
            health: request.health.clone(),
            isolate: request.isolate,
            max_failed_routes: request.max_failed_routes,
            ready_timeout_s: request.ready_timeout_s,
            started_at: self.attempt.now,
            first_shift_at: None,
            last_shift: None,
            lumps: Some(match survey.behaviour.splits {
                Splitting::PerAnswer => Lumps::PerAnswer { resolvers: request.resolvers },
                Splitting::PerRequest => Lumps::PerRequest,
            }),
            counted_until: None,
            checks: 0,
            fence: request.fence && survey.behaviour.atomic,
            writes: 0,
            released: false,
            extra_events: 0,
            retry_count: 0,
            other_writers: survey.other_writers.clone(),
            meters,
            own_days: self.facts.own_days.clone(),
            routes,
            warnings: survey.warnings.clone(),
            next: Next { action: Action::Shift, wait_s: 0, reason },
            report: None,
        };
        if request.dry_run {
            cutover.next.action = Action::Planned;
            let live: Vec<_> = cutover.routes.iter().map(Route::found).collect();
            let mut report = cutover.report_now(&live);
            report.plan = Some(Plan::of(&Planned {
                steps: cutover.ramp.steps().get(cutover.step..).unwrap_or_default(),
                scale: cutover.ramp.scale(),
                health: &cutover.health,
                routes: cutover.routes.len(),
                behaviour: &survey.behaviour,
                meters: &cutover.meters,
                linger_s: self.linger_s(),
                resolvers: request.resolvers,
            }));
            cutover.report = Some(report);
        }
        Some(cutover)
    }

    /// Takes what others counted of the old side in the last day, in the order of the request's signals.
    pub fn look_at_own_days(&mut self, counted: &[OwnSeries]) {
        self.facts.own_days = Baselines::of_own(counted, &self.request.health);
        self.warn_of_silent_metrics(counted);
    }

    /// Every meter once, and the routes with the indices of theirs.
    fn meters_and_routes(&self, history: &History) -> Option<(Vec<Meter>, Vec<Route>)> {
        let mut meters: Vec<Meter> = Vec::new();
        let mut index_of = |found: &Found, backend: &Backend, side: Side| {
            // What counts no requests does not tell its hosts in the same way either.
            let is_silent = self.facts.uncounted.contains(&found.endpoint(side).id);
            let groups = backend.groups.iter().filter(|_| !is_silent);
            let groups = groups.map(|group| group.id.clone());
            let hosts = backend.healthy();
            let baseline = if side == Side::New {
                None
            } else if self.facts.is_uncounted(found) {
                Some(Baselines { hosts, ..Baselines::default() })
            } else {
                let counted = history.get(&backend.meter);
                counted.map(|of| Baselines::of(of, hosts, &self.request.health))
            };
            let meter = Meter { id: backend.meter.clone(), hosts: groups.collect(), baseline };
            meters.iter().position(|known| *known == meter).unwrap_or_else(|| {
                meters.push(meter);
                meters.len() - 1
            })
        };
        let mut routes = Vec::new();
        for found in &self.survey.routes {
            let old_meter = index_of(found, self.backend(found, Side::Old)?, Side::Old);
            let new_meter = index_of(found, self.backend(found, Side::New)?, Side::New);
            // Resumed: going back means all weight on the old side, not the split found. Any
            // weight beside 0 does.
            let all = found.live.old.saturating_add(found.live.new);
            let all = all.min(self.survey.behaviour.weight_max);
            routes.push(Route {
                name: found.route.clone(),
                original: Weights { old: all, new: 0 },
                last: found.live,
                status: Status::Active,
                old_meter,
                new_meter,
                counted_by: self.facts.counted_by(found),
                other_writer: found.other_writer.clone(),
                all_or_nothing: found.old.all_or_nothing.is_some(),
                shapes: found.shapes.clone(),
                supersedes: found.mark.as_ref().map(|mark| mark.holder.clone()),
                forced: false,
                verdict: None,
                reason: None,
            });
        }
        Some((meters, routes))
    }

    /// The first step above the live share; the last one when none is.
    fn first_step(&self) -> Option<usize> {
        let share = self.survey.routes.iter().find_map(|found| found.live.share());
        let live = share.unwrap_or(0.0);
        let steps = self.request.ramp.steps();
        let above = steps.iter().position(|step| f64::from(step.percent) / 100.0 > live);
        above.or_else(|| steps.len().checked_sub(1))
    }

    /// Without a day of the old side's traffic, its bursts are not known.
    fn warn_without_baseline(&mut self, meters: &[Meter], routes: &[Route]) {
        let counted = routes.iter().filter(|route| route.counted_by != CountedBy::OwnCounts);
        let of_old: BTreeSet<usize> = counted.map(|route| route.old_meter).collect();
        let known = |meter: &&Meter| meter.baseline.as_ref().is_some_and(Baselines::knows_bursts);
        let old = of_old.iter().filter_map(|index| meters.get(*index));
        let old = old.filter(|meter| !known(meter)).map(|meter| meter.id.clone());
        let own = self.facts.own_days.iter().filter(|(_, day)| !day.knows_bursts());
        let ids: Vec<String> = old.chain(own.map(|(name, _)| name.clone())).collect();
        if !ids.is_empty() {
            let message = format!(
                "too little traffic was counted before the start to know the bursts of {}: a new side that \
                 fails more often, but stays below the limit, is found in six periods at best, not in two; after a day of \
                 traffic they are known",
                listed(&ids)
            );
            self.warn(Problem::new("short_baseline", message));
        }
    }

    pub(super) fn refuse_what_is_too_large(&mut self, cutover: &Cutover) {
        let growth = REASON_CHARS_MAX + VERDICT_BYTES_MAX;
        let bytes = state_bytes(cutover) + cutover.routes.len() * growth + CAUSE_BYTES_MAX;
        if bytes > STATE_BYTES_MAX {
            let routes = cutover.routes.len();
            let message = format!(
                "the state of {routes} routes could grow to {bytes} bytes, {STATE_BYTES_MAX} are \
                 allowed: name about {} routes an execution",
                routes * STATE_BYTES_MAX / bytes
            );
            self.refuse(Problem::new("too_many_routes", message));
        }
    }
}

impl Route {
    /// The route's split as validation found it.
    fn found(&self) -> Split {
        let (shapes, whole) = (self.shapes.clone(), Some(self.last));
        Split { route: self.name.clone(), live: Live::At(self.last), whole, shapes }
    }
}

/// Bytes of the state as JSON.
pub(crate) fn state_bytes(cutover: &Cutover) -> usize {
    serde_json::to_string(cutover).map_or(usize::MAX, |json| json.len())
}
