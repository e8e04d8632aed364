//! The transition of a check: what was seen changes the routes, and [`decide`](super::decide) says what follows.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::decide::Settled;
use super::{CountedBy, Cutover, Phase, Route, SETTLE_S_MAX, Status, later};
use crate::evidence::arrival::{BEFORE_PERIODS, Sent};
use crate::evidence::baseline::Baselines;
use crate::evidence::judge::judge;
use crate::evidence::verdict::{Verdict, VerdictKind};
use crate::evidence::{AlarmsSeen, Counts, Evidence, Observed, Series, TelemetryLimits, Window};
use crate::router::lumps::Lumps;
use crate::router::{Propagation, Split};
use crate::seen::Seen;

/// What one check saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// While settling: whether every change is live everywhere.
    pub propagated: Propagation,
    /// The live splits of the routes.
    pub splits: Seen<Vec<Split>>,
    /// The evidence.
    pub observed: Observed,
}

impl Cutover {
    /// The ids of the changes whose propagation the next check must ask about.
    #[must_use]
    pub fn unsettled_receipts(&self) -> &[String] {
        match &self.phase {
            Phase::Settling(settling) => &settling.receipts,
            Phase::Shifting | Phase::Baking { .. } => &[],
        }
    }

    /// The periods whose evidence a check at `now` needs: a few from before the ramp tell whether requests vanish in it.
    #[must_use]
    pub fn evidence_window(&self, limits: TelemetryLimits, now: Timestamp) -> Window {
        let before_s = i64::from(BEFORE_PERIODS) * i64::from(self.health.period_s);
        let since = self.first_shift_at.map_or(now, |first| later(first, -before_s));
        Window::complete(since, now, &self.health, limits)
    }

    /// After a check: settles, judges every active route, and decides what comes next.
    #[must_use]
    pub fn after_check(mut self, checked: &Checked, now: Timestamp) -> Self {
        if (self.phase == Phase::Shifting && self.held.is_none()) || self.report.is_some() {
            return self;
        }
        self.checks = self.checks.saturating_add(1);
        self.count_retries();
        let settled = self.settled(checked.propagated, now);
        self.look_for_drift(&checked.splits);
        if settled != Settled::TooLate {
            self.judge_routes(&checked.observed, settled.since());
        }
        let decision = self.decide(settled, &checked.splits, now);
        self.apply(decision)
    }

    /// Whether the step has settled: once every change is live everywhere, and the end of what lingers is known.
    fn settled(&self, propagated: Propagation, now: Timestamp) -> Settled {
        match &self.phase {
            Phase::Shifting => Settled::NotYet,
            Phase::Baking { since } => Settled::Since(*since),
            Phase::Settling(settling) => match propagated {
                Propagation::Pending if now > later(settling.shifted_at, SETTLE_S_MAX) => {
                    Settled::TooLate
                }
                Propagation::Pending => Settled::NotYet,
                Propagation::Done | Propagation::Unknown => {
                    // A change whose id was lost with its reply, or is not known to the service, cannot be asked
                    // about: it gets the time that the service generally takes.
                    let live_at = if settling.unconfirmed || propagated == Propagation::Unknown {
                        now.max(later(settling.shifted_at, i64::from(settling.live_in_s)))
                    } else {
                        now
                    };
                    Settled::Since(later(live_at, i64::from(settling.linger_s)))
                }
            },
        }
    }

    fn look_for_drift(&mut self, splits: &Seen<Vec<Split>>) {
        let Seen::Now(splits) = splits else { return };
        for split in splits {
            let route = self.routes.iter_mut().find(|route| route.name == split.route);
            if let Some(route) = route.filter(|route| route.status == Status::Active) {
                route.compare(split, &self.other_writers);
            }
        }
    }

    fn judge_routes(&mut self, observed: &Observed, settled_at: Option<Timestamp>) {
        let period_s = i64::from(self.health.period_s.max(1));
        let begin = |at: Timestamp| later(at, -at.as_second().rem_euclid(period_s));
        let judging = Judging {
            cutover: self,
            observed,
            alarms: AlarmsSeen::of(&observed.alarms, &self.health.alarms),
            settled_at,
            ramp_at: self.first_shift_at.map(begin),
        };
        // A new side that gets nothing yet is not judged: it is held because it cannot serve.
        let is_judged = |route: &Route| route.status == Status::Active && route.last.new > 0;
        // Routes that share both meters share their verdict.
        let mut judged: BTreeMap<(usize, usize), Verdict> = BTreeMap::new();
        for route in self.routes.iter().filter(|route| is_judged(route)) {
            let pair = (route.old_meter, route.new_meter);
            judged.entry(pair).or_insert_with(|| judging.verdict(route));
        }
        for route in self.routes.iter_mut().filter(|route| is_judged(route)) {
            let verdict = judged.get(&(route.old_meter, route.new_meter));
            let Some(verdict) = verdict else { continue };
            if verdict.kind == VerdictKind::Regressed {
                route.must_go_back(&verdict.reason);
            }
            route.verdict = Some(verdict.clone());
        }
        if let Seen::Now(_) = observed.series {
            self.counted_until = settled_at.map(|_| observed.window.end());
        }
    }

    /// Keeps what the old sides did in the ramp, for the time in which they have no requests.
    pub(super) fn learn_from_ramp(&mut self) {
        let signals = self.health.signals();
        let active = self.routes.iter().filter(|route| route.status == Status::Active);
        let judged = active.filter_map(|route| Some((route, route.verdict.as_ref()?)));
        let mut judged: Vec<(&Route, &Verdict)> = judged.collect();
        // Routes may share an old side. What is learnt last stays: that of the route with most requests beside it.
        judged.sort_by_key(|(_, verdict)| verdict.beside.first().map_or(0, |of| of.requests));
        for (route, verdict) in judged {
            let of_own_alone = route.counted_by == CountedBy::OwnCounts;
            let judged = signals.iter().filter(|signal| !of_own_alone || signal.is_own());
            let of_meter = self.meters.get_mut(route.old_meter);
            if let Some(day) = of_meter.and_then(|meter| meter.baseline.as_mut()) {
                day.own = std::mem::take(&mut self.own_days);
                day.learn(judged, &verdict.beside);
                self.own_days = std::mem::take(&mut day.own);
            }
        }
    }

    /// What the router was asked to send in this step of a route's requests.
    fn sent(&self, route: &Route) -> Option<Sent> {
        let (shift, lumps) = (self.last_shift?, self.lumps?);
        Some(Sent {
            share: f64::from(self.intended()) / 100.0,
            since: shift.at,
            lumps,
            linger_s: shift.linger_s,
            // Where each request is drawn by itself, what is split is counted by itself as well.
            is_alone: lumps == Lumps::PerRequest || route.counted_by == CountedBy::MetersAlone,
        })
    }
}

/// What verdicts are made of, the same for every route.
struct Judging<'a> {
    cutover: &'a Cutover,
    observed: &'a Observed,
    alarms: AlarmsSeen,
    settled_at: Option<Timestamp>,
    ramp_at: Option<Timestamp>,
}

impl Judging<'_> {
    fn verdict(&self, route: &Route) -> Verdict {
        let (health, pairs) = (&self.cutover.health, self.cutover.pairs());
        let known = Evidence {
            alarms: (!health.alarms.is_empty()).then_some(&self.alarms),
            ..Evidence::default()
        };
        let baseline = self.baselines(route);
        let baseline = baseline.as_ref();
        let series = match &self.observed.series {
            Seen::Now(series) => series,
            // An alarm that rings needs no series.
            Seen::OutOfReach(_) if !self.alarms.ringing.is_empty() => {
                return judge(health, &known, pairs, baseline);
            }
            Seen::OutOfReach(why) => {
                let [old, new] = self.counted(route).unwrap_or_default();
                return Verdict { old, new, ..Verdict::metrics_broken(why) };
            }
        };
        let none = Series::default();
        let of = |index: usize| series.get(index).unwrap_or(&none);
        let (old, new) = (of(route.old_meter), of(route.new_meter));
        let evidence = Evidence::new(self.observed.window, [old, new], &self.observed.own, health);
        let evidence = match route.counted_by {
            CountedBy::OwnCounts => evidence.of_own_alone(health),
            CountedBy::Meters | CountedBy::MetersAlone => evidence,
        };
        let evidence = Evidence {
            settled_at: self.settled_at,
            ramp_at: self.ramp_at,
            sent: self.cutover.sent(route),
            alarms: known.alarms,
            ..evidence
        }
        .without_strays();
        let before = self.before_the_window(route, &evidence);
        let evidence = Evidence { before, ..evidence }.marked(health);
        judge(health, &evidence, pairs, baseline)
    }

    /// The day of a route's old side: what its meter counted, and what others did.
    fn baselines(&self, route: &Route) -> Option<Baselines> {
        let Cutover { meters, own_days, .. } = self.cutover;
        let of_meter = meters.get(route.old_meter).and_then(|meter| meter.baseline.clone());
        if own_days.is_empty() {
            return of_meter;
        }
        Some(Baselines { own: own_days.clone(), ..of_meter.unwrap_or_default() })
    }

    /// What the last verdict counted of this step.
    fn counted(&self, route: &Route) -> Option<[Counts; 2]> {
        let verdict = route.verdict.as_ref().filter(|_| self.cutover.counted_until.is_some())?;
        Some([verdict.old, verdict.new])
    }

    /// What the step counted before the window, which a long bake is longer than: what the last verdict counted, less what
    /// of it is in the window still.
    fn before_the_window(&self, route: &Route, evidence: &Evidence<'_>) -> [Counts; 2] {
        let (Some(settled_at), Some(until), Some([old, new])) =
            (self.settled_at, self.cutover.counted_until, self.counted(route))
        else {
            return Default::default();
        };
        if self.observed.window.start <= settled_at {
            return Default::default();
        }
        let again = evidence.periods.iter().filter(|period| period.start < until);
        again.fold([old, new], |[old, new], period| {
            [old.less(period.old.unwrap_or_default()), new.less(period.new.unwrap_or_default())]
        })
    }
}
