//! The plan of a cutover: timetable, weights, calls and cost, before anything is touched.

use serde::{Deserialize, Serialize};

use crate::cutover::Cutover;
use crate::evidence::WINDOW_PERIODS_MAX;
use crate::meter::LoadBalancer;
use crate::percent::Percent;
use crate::request::health::Health;
use crate::request::ramp::{INSYNC_S, Step};
use crate::router::lumps::{hosts_needed, worst_share};
use crate::router::{Scale, Weights};

/// Changes of one route that has A and AAAA records of two sides, DELETE and CREATE of four record sets; and
/// of its fence. As many of the 1,000 elements of a batch.
/// Source: Route 53 developer guide, "Quotas", maximum elements of a `ChangeResourceRecordSets`.
const CHANGES_PER_ROUTE: usize = 8;
const CHANGES_PER_FENCE: usize = 2;
const CHANGES_PER_BATCH: usize = 1_000;
/// Changes that are written at once, and then a second: nine tenths of what Route 53 allows an account, so that the
/// clusters' external-dns has the rest. Source: Route 53 developer guide, "Quotas", 1,500 and 100.
pub const CHANGES_AT_ONCE: u64 = 1_350;
/// See [`CHANGES_AT_ONCE`].
pub const CHANGES_PER_S: u64 = 90;
/// Queries that one `GetMetricData` call holds, and data points of one page of its answer.
/// Source: CloudWatch API reference.
const QUERIES_PER_CALL: usize = 500;
const POINTS_PER_PAGE: usize = 100_800;
/// Raw series a load balancer: requests, target errors, load balancer errors. One more is asked of a load
/// balancer that has errors of its own.
const SERIES_PER_LOAD_BALANCER: usize = 3;

/// Queries that one `GetMetricData` call may ask for so many periods of, so that its answer has one page:
/// 500 in a check, 70 of a day of minutes.
#[must_use]
pub fn queries_per_call(periods: u32) -> usize {
    let periods = usize::try_from(periods).unwrap_or(usize::MAX);
    (POINTS_PER_PAGE / periods.max(1)).clamp(1, QUERIES_PER_CALL)
}

/// USD a metric requested by `GetMetricData`. Source: CloudWatch pricing, us-east-1.
const USD_PER_METRIC: f64 = 0.01 / 1000.0;
/// USD a state transition of a standard workflow. Source: Step Functions pricing, us-east-1.
const USD_PER_TRANSITION: f64 = 0.025 / 1000.0;
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
    /// Seconds to settle, at most: in sync, then the TTL.
    pub settle_s: u32,
    /// Seconds to bake.
    pub bake_s: u32,
    /// The share that the new side may get for a while, in percent: DNS makes lumps.
    pub worst_percent: f64,
    /// Hosts that the new side needs for it, of all load balancers together, if they do as much as those of
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
    /// `ChangeResourceRecordSets` calls a shift; the first one has ⌈routes / 1,000⌉ more for the fences.
    pub change_calls_per_shift: usize,
    /// Seconds that a shift takes to be written, because of Route 53's limit of changes a second; in the timetable.
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
    /// Whether each has a fence.
    pub fence: bool,
    /// The load balancers of both sides.
    pub load_balancers: &'a [LoadBalancer],
    /// The longest TTL of the records, in seconds.
    pub ttl_s: u32,
    /// Through so many resolvers come the requests.
    pub resolvers: u32,
}

impl Plan {
    /// Plans a cutover that has been accepted. `ttl_s`: the longest TTL of its records; `resolvers`: through
    /// so many come the requests.
    #[must_use]
    pub fn of(cutover: &Cutover, ttl_s: u32, resolvers: u32) -> Self {
        let steps = cutover.ramp.steps().get(cutover.step..).unwrap_or_default();
        let (scale, health) = (cutover.ramp.scale(), &cutover.health);
        let Cutover { load_balancers, routes, fence, .. } = cutover;
        Self::of_steps(&Planned {
            steps,
            scale,
            health,
            routes: routes.len(),
            fence: *fence,
            load_balancers,
            ttl_s,
            resolvers,
        })
    }

    /// Plans without a cutover: what is known at a desk.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn of_steps(planned: &Planned<'_>) -> Self {
        let Planned { steps: ahead, scale, health, routes, fence, .. } = *planned;
        let Planned { load_balancers, ttl_s, resolvers, .. } = *planned;
        let changes_per_route = CHANGES_PER_ROUTE + if fence { CHANGES_PER_FENCE } else { 0 };
        let changes = (routes * changes_per_route) as u64;
        let write_s = changes.saturating_sub(CHANGES_AT_ONCE).div_ceil(CHANGES_PER_S);
        let settle_s = INSYNC_S.saturating_add(ttl_s);
        let mut at_s = 0;
        let mut checks = 0;
        let mut steps = Vec::new();
        let baselines = load_balancers.iter().filter_map(|lb| lb.baseline.as_ref());
        let hosts: Vec<u32> = baselines.map(|baseline| baseline.hosts).collect();
        for step in ahead {
            let worst = worst_share(step.percent, resolvers, ttl_s, step.bake_s);
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
            checks += step.checks(health.check_interval_s, ttl_s);
        }
        let groups: usize = load_balancers.iter().map(|lb| lb.target_groups.len()).sum();
        let latency = usize::from(health.latency_target_s.is_some());
        let series = SERIES_PER_LOAD_BALANCER + latency;
        let metrics_per_check = series * load_balancers.len() + groups;
        let transitions =
            TRANSITIONS_PER_CHECK * checks + TRANSITIONS_PER_SHIFT * steps.len() as u64;
        let cost_usd = transitions as f64 * USD_PER_TRANSITION
            + checks as f64 * metrics_per_check as f64 * USD_PER_METRIC;
        Self {
            duration_s: at_s,
            steps,
            routes,
            checks,
            change_calls_per_shift: routes.div_ceil(CHANGES_PER_BATCH / changes_per_route),
            write_s,
            metric_calls_per_check: metrics_per_check
                .div_ceil(queries_per_call(WINDOW_PERIODS_MAX)),
            metrics_per_check,
            cost_usd: (cost_usd * 10_000.0).round() / 10_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::baseline::BASELINE_PERIODS;

    #[test]
    fn a_call_asks_for_what_one_page_holds() {
        assert_eq!(queries_per_call(WINDOW_PERIODS_MAX), 500, "a check");
        assert_eq!(queries_per_call(BASELINE_PERIODS), 70, "a day of minutes");
        assert_eq!((queries_per_call(0), queries_per_call(u32::MAX)), (500, 1));
    }
}
