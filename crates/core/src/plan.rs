//! The plan of a cutover: timetable, weights, calls and cost, before anything is touched.

use serde::{Deserialize, Serialize};

use crate::limits::{CLOUDWATCH, USD_PER_METRIC, USD_PER_TRANSITION, queries_per_call};
use crate::meter::Meter;
use crate::percent::Percent;
use crate::request::health::Health;
use crate::request::ramp::Step;
use crate::router::lumps::{hosts_needed, worst_share};
use crate::router::survey::{Behaviour, Splitting};
use crate::router::{Scale, Weights};

/// Raw series a meter: requests, errors of targets, errors before them, and two kinds of failed connections. Two more are
/// asked of a meter that has errors before its targets.
const SERIES_PER_METER: usize = 5;
/// And where refused requests are judged: those of targets, those before them, and fixed responses.
const SERIES_OF_REFUSED: usize = 3;
/// Requests and failures of both sides, for each of one's own signals.
const SERIES_PER_OWN_SIGNAL: usize = 4;

/// Transitions of a check (Wait, Task, Choice) and of a shift (Task, Choice).
const TRANSITIONS_PER_CHECK: u64 = 3;
const TRANSITIONS_PER_SHIFT: u64 = 2;

/// One line of the timetable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Seconds after the start at which the step's weights are written, if nothing holds.
    pub shift_at_s: u64,
    /// The share of the new side.
    pub percent: Percent,
    /// The weights of every route.
    pub weights: Weights,
    /// Seconds to settle, at most: until the change is live, then what lingers.
    pub settle_s: u32,
    /// Seconds to bake.
    pub bake_s: u32,
    /// The share that the new side may get for a while, in percent: that of the weights, but where the split makes lumps.
    pub worst_percent: f64,
    /// Hosts that the new side needs for it, of all meters together, if they do as much as those of
    /// the old side; left out when the number of those is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_needed: Option<u32>,
}

/// What a cutover would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The timetable, if nothing holds a step.
    pub steps: Vec<PlannedStep>,
    /// Seconds until the end, if nothing holds a step.
    pub duration_s: u64,
    /// Number of routes.
    pub routes: usize,
    /// Checks, if nothing holds a step.
    pub checks: u64,
    /// Calls that write weights, a shift; the first shift has some more where it takes fences.
    pub change_calls_per_shift: usize,
    /// Seconds that a shift takes to be written, because of the service's limit of changes a second; in the timetable.
    #[serde(default)]
    pub write_s: u64,
    /// `GetMetricData` calls a check.
    pub metric_calls_per_check: usize,
    /// Metrics that a check asks for: what `GetMetricData` is billed by.
    pub metrics_per_check: usize,
    /// State transitions and metrics at the list prices of us-east-1, in USD. Lambda, logs and
    /// custom metrics are not in it.
    pub cost_usd: f64,
}

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// The steps ahead.
    pub steps: &'a [Step],
    /// What their weights sum to.
    pub scale: Scale,
    /// How evidence is read.
    pub health: &'a Health,
    /// Number of routes.
    pub routes: usize,
    /// How their router splits.
    pub behaviour: &'a Behaviour,
    /// The meters of both sides.
    pub meters: &'a [Meter],
    /// Seconds that requests may linger on their former side.
    pub linger_s: u32,
    /// Number of DNS resolvers that the traffic comes through.
    pub resolvers: u32,
}

impl Plan {
    /// Plans a cutover, accepted or at a desk.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts stay far below 2^52, and none is negative"
    )]
    pub fn of(planned: &Planned<'_>) -> Self {
        let Planned { steps: ahead, scale, health, routes, behaviour, .. } = *planned;
        let Planned { meters, linger_s, resolvers, .. } = *planned;
        let routes_u32 = u32::try_from(routes).unwrap_or(u32::MAX);
        let later = f64::from(routes_u32.saturating_sub(behaviour.routes_at_once));
        let write_s = (later / behaviour.routes_per_s).ceil() as u64;
        let settle_s = behaviour.live_in_s.saturating_add(linger_s);
        let mut at_s = 0;
        let mut checks = 0;
        let mut steps = Vec::new();
        let baselines = meters.iter().filter_map(|lb| lb.baseline.as_ref());
        let hosts: Vec<u32> = baselines.map(|baseline| baseline.hosts).collect();
        for step in ahead {
            let worst = match behaviour.splits {
                Splitting::PerAnswer => worst_share(step.percent, resolvers, linger_s, step.bake_s),
                Splitting::PerRequest => f64::from(step.percent) / 100.0,
            };
            let needed = hosts.iter().map(|hosts| hosts_needed(worst, *hosts));
            let needed = needed.fold(0, u32::saturating_add);
            steps.push(PlannedStep {
                shift_at_s: at_s,
                percent: step.percent,
                weights: Weights::of(step.percent, scale),
                settle_s,
                bake_s: step.bake_s,
                worst_percent: (worst * 1000.0).round() / 10.0,
                hosts_needed: (!hosts.is_empty()).then_some(needed),
            });
            at_s += write_s + u64::from(settle_s) + u64::from(step.bake_s);
            checks += step.checks(health.check_interval_s, settle_s);
        }
        let groups: usize = meters.iter().map(|lb| lb.hosts.len()).sum();
        let latency = usize::from(health.latency_target_s.is_some());
        let refused = health.refused_tolerated_odds_ratio.map_or(0, |_| SERIES_OF_REFUSED);
        let series = SERIES_PER_METER + refused + latency;
        let own = SERIES_PER_OWN_SIGNAL * health.signals.len();
        let plan = Self {
            duration_s: at_s,
            steps,
            routes,
            checks,
            change_calls_per_shift: routes_u32.div_ceil(behaviour.routes_per_write.max(1)) as usize,
            write_s,
            metric_calls_per_check: 0,
            metrics_per_check: 0,
            cost_usd: 0.0,
        };
        plan.asking(series * meters.len() + groups, own)
    }

    /// With what a check asks for: metrics of the meters and of one's own signals, which are asked for in calls of their
    /// own. At first each meter is reckoned with by itself; the telemetry knows what some of them have in common.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn asking(self, of_meters: usize, own: usize) -> Self {
        let per_call = queries_per_call(CLOUDWATCH.periods_per_check);
        let transitions =
            TRANSITIONS_PER_CHECK * self.checks + TRANSITIONS_PER_SHIFT * self.steps.len() as u64;
        let metrics_per_check = of_meters + own;
        let cost_usd = transitions as f64 * USD_PER_TRANSITION
            + self.checks as f64 * metrics_per_check as f64 * USD_PER_METRIC;
        Self {
            metric_calls_per_check: of_meters.div_ceil(per_call) + own.div_ceil(per_call),
            metrics_per_check,
            cost_usd: (cost_usd * 10_000.0).round() / 10_000.0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::baseline::BASELINE_PERIODS;

    #[test]
    fn a_call_asks_for_what_one_page_holds() {
        assert_eq!(queries_per_call(CLOUDWATCH.periods_per_check), 500, "a check");
        assert_eq!(queries_per_call(BASELINE_PERIODS), 70, "a day of minutes");
        assert_eq!((queries_per_call(0), queries_per_call(u32::MAX)), (500, 1));
    }
}
