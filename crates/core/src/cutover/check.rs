//! The transition of a check: what was seen changes the routes, and [`decide`](super::decide) says what follows.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::decide::Settled;
use super::{Cutover, Phase, Route, SETTLE_S_MAX, Status, later};
use crate::evidence::judge::judge;
use crate::evidence::verdict::{Verdict, VerdictKind};
use crate::evidence::{Evidence, Observed, Series, TelemetryLimits, Window};
use crate::failure::Failure;
use crate::router::{Propagation, Split};

/// What could be read, or why it was out of reach. What refuses is no such thing: it is a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// As it is now.
    Now(T),
    /// Nobody answered; it may be read at the next check.
    OutOfReach(String),
}

impl<T> Seen<T> {
    /// Separates what was out of reach from what failed.
    ///
    /// # Errors
    /// The failure, unless it is `Unreachable`.
    pub fn of(read: Result<T, Failure>) -> Result<Self, Failure> {
        match read {
            Ok(now) => Ok(Self::Now(now)),
            Err(Failure::Unreachable(why)) => Ok(Self::OutOfReach(why)),
            Err(failure) => Err(failure),
        }
    }
}

/// What one check saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// While settling: whether every change is live everywhere.
    pub propagated: Propagation,
    /// The live splits of the routes.
    pub splits: Seen<Vec<Split>>,
    /// The evidence.
    pub observed: Seen<Observed>,
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

    /// The periods whose evidence a check at `now` needs.
    #[must_use]
    pub fn evidence_window(&self, limits: TelemetryLimits, now: Timestamp) -> Window {
        Window::complete(self.first_shift_at.unwrap_or(now), now, &self.health, limits)
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

    fn judge_routes(&mut self, observed: &Seen<Observed>, settled_at: Option<Timestamp>) {
        let none = Series::default();
        let pairs = self.pairs();
        // Routes that share both meters share their verdict.
        let mut judged: BTreeMap<(usize, usize), Verdict> = BTreeMap::new();
        // A new side that gets nothing yet is not judged: it is held because it cannot serve.
        let judged_routes =
            |route: &&mut Route| route.status == Status::Active && route.last.new > 0;
        for route in self.routes.iter_mut().filter(judged_routes) {
            let verdict = judged.entry((route.old_meter, route.new_meter)).or_insert_with(|| {
                let observed = match observed {
                    Seen::OutOfReach(why) => return Verdict::metrics_broken(why),
                    Seen::Now(observed) => observed,
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
}
