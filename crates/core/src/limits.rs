//! Every quota, rate and price that cutover reckons with, each with its source. This is the one file of `core` that
//! knows the services by name.

use std::time::Duration;

use crate::evidence::TelemetryLimits;
use crate::router::Scale;
use crate::router::survey::{Behaviour, Splitting};

// ── Step Functions ──

/// Events that the history of one execution may hold.
/// Source: Step Functions developer guide, "Quotas for executions".
pub const HISTORY_EVENTS_MAX: u64 = 25_000;
/// Events of one round Wait, Task, Choice: entered and exited, and three more for a Task.
pub const ROUND_EVENTS: u64 = 9;
/// Events of a Task and the Choice behind it.
pub const TASK_EVENTS: u64 = 7;
/// Events of a retried Task: failed, scheduled, started.
pub const RETRY_EVENTS: u64 = 3;
/// Days that an execution is remembered after its end.
/// Source: Step Functions developer guide, "Quotas for executions" (execution history retention).
pub const EXECUTION_KEPT_DAYS: u32 = 90;
/// Bytes of a state, with everything that travels with it.
/// Source: Step Functions developer guide, "Quotas" (maximum input or output size).
pub const STATE_BYTES_ALLOWED: usize = 256 * 1024;
/// Bytes that our state may grow to, with an error's Cause beside it.
pub const STATE_BYTES_MAX: usize = 240 * 1024;
/// Characters of a Cause. Source: Step Functions API reference, `HistoryEvent` (`cause`).
pub const CAUSE_CHARS_MAX: usize = 32_768;
/// Bytes of a text that goes into a Cause: Lambda wraps a function's message into JSON, with every quote of it
/// escaped.
pub const CAUSE_BYTES_MAX: usize = 30 * 1024;
/// Seconds that an execution may take: the time-out of the state machine. AWS allows a year.
pub const EXECUTION_S_MAX: u64 = 1_209_600;

const _: () = assert!(CAUSE_BYTES_MAX < CAUSE_CHARS_MAX);
const _: () = assert!(STATE_BYTES_MAX < STATE_BYTES_ALLOWED);

// ── CloudWatch ──

/// Queries of one call. Source: CloudWatch API reference, `GetMetricData`.
pub const METRIC_QUERIES_PER_CALL: usize = 500;
/// Data points of one page of an answer. Source: CloudWatch API reference, `GetMetricData`.
pub const METRIC_POINTS_PER_PAGE: usize = 100_800;
/// How far back CloudWatch is read: periods of a check whose answer has one page, 3 hours for those of high resolution
/// and 15 days for those of a minute. Source: CloudWatch API reference, `GetMetricData`.
pub const CLOUDWATCH: TelemetryLimits = TelemetryLimits {
    periods_per_check: 200,
    short_periods_kept_s: 3 * 3_600,
    periods_kept_s: 15 * 86_400,
};
/// Periods below a minute that there are, in seconds, for metrics of high resolution. Those of load balancers have
/// none. Source: CloudWatch API reference, `MetricStat`.
pub const SHORT_PERIODS_S: [u32; 5] = [1, 5, 10, 20, 30];
/// Seconds of a period of the metrics of load balancers, which CloudWatch has within 2 or 3 minutes.
/// Source: Elastic Load Balancing user guide, "CloudWatch metrics for your Application Load Balancer".
pub const METRIC_PERIOD_S: u32 = 60;
/// Alarms of one call. Source: CloudWatch API reference, `DescribeAlarms`.
pub const ALARMS_PER_CALL: usize = 100;

/// Most meters whose day of refused requests is read: with more, it takes calls that a validation has not. Without such
/// a day, refused requests are compared with what both sides had since the ramp began, and no period of them decides alone.
pub const REFUSED_DAY_METERS_MAX: usize = 50;

// A check asks for a full set of queries and gets its answer in one page.
const _: () = assert!(
    METRIC_QUERIES_PER_CALL * CLOUDWATCH.periods_per_check as usize <= METRIC_POINTS_PER_PAGE
);

/// Queries that one `GetMetricData` call may ask for this many periods of, so that its answer has one page:
/// 500 in a check, 70 for a day of minutes.
#[must_use]
pub fn queries_per_call(periods: u32) -> usize {
    let periods = usize::try_from(periods).unwrap_or(usize::MAX);
    (METRIC_POINTS_PER_PAGE / periods.max(1)).clamp(1, METRIC_QUERIES_PER_CALL)
}

// ── Route 53 ──

/// The highest weight. Source: Route 53 API reference, `ResourceRecordSet` (`Weight`).
pub const ROUTE53_WEIGHT_MAX: u32 = 255;
/// The highest weight that every router can write.
pub const WEIGHT_MAX: u32 = ROUTE53_WEIGHT_MAX;
/// Seconds until a change is live on all servers, generally. Source: Route 53 API reference, `GetChange`
/// ("generally within 60 seconds").
pub const ROUTE53_LIVE_IN_S: u32 = 60;
/// `ResourceRecord` elements of one batch. Source: Route 53 developer guide, "Quotas".
pub const ROUTE53_ELEMENTS_PER_BATCH: usize = 1_000;
/// Changes at once that Route 53 allows an account, and then a second.
/// Source: Route 53 developer guide, "Quotas".
pub const ROUTE53_CHANGES_ALLOWED: [u64; 2] = [1_500, 100];
/// Changes that are written at once: nine tenths, so that the clusters' external-dns has the rest.
pub const ROUTE53_CHANGES_AT_ONCE: u64 = 1_350;
/// Changes that are written a second after that.
pub const ROUTE53_CHANGES_PER_S: u64 = 90;
/// Characters of all `Value` elements of one batch; an alias has none.
/// Source: Route 53 API reference, `ChangeResourceRecordSets`.
pub const ROUTE53_CHARACTERS_PER_BATCH: usize = 32_000;
/// Record sets of one page. Source: Route 53 API reference, `ListResourceRecordSets`.
pub const ROUTE53_SETS_PER_PAGE: i32 = 300;
/// Record sets of a zone, unless AWS has raised the quota. Source: Route 53 developer guide, "Quotas".
pub const ROUTE53_SETS_ALLOWED: usize = 10_000;
/// Pages of a zone that are read: 30,000 record sets.
pub const ROUTE53_PAGES_MAX: usize = 100;
/// Longest name of a record, in characters. Source: RFC 1035, section 2.3.4.
pub const DNS_NAME_CHARS_MAX: usize = 253;
/// TTL of an alias to a load balancer, in seconds.
/// Source: Route 53 developer guide, "Values specific for weighted alias records".
pub const ROUTE53_ALIAS_TTL_S: u32 = 60;
/// Longest set identifier, in characters. Source: Route 53 API reference, `ResourceRecordSet`.
pub const SIDE_NAME_CHARS_MAX: usize = 128;
/// Changes of one route with A and AAAA records: DELETE and CREATE of both sides' record sets.
const ROUTE53_CHANGES_PER_ROUTE: u32 = 8;
/// Changes of its fence.
const ROUTE53_CHANGES_PER_FENCE: u32 = 2;

// Whatever a step asks for can be written.
const _: () = assert!(Scale::Half.total() <= WEIGHT_MAX);
const _: () = assert!(ROUTE53_CHANGES_AT_ONCE <= ROUTE53_CHANGES_ALLOWED[0]);
const _: () = assert!(ROUTE53_CHANGES_PER_S <= ROUTE53_CHANGES_ALLOWED[1]);
const _: () = assert!(ROUTE53_SETS_ALLOWED <= ROUTE53_PAGES_MAX * ROUTE53_SETS_PER_PAGE as usize);

/// How Route 53 splits.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "small constants")]
pub fn route53(fence: bool) -> Behaviour {
    let changes = ROUTE53_CHANGES_PER_ROUTE + if fence { ROUTE53_CHANGES_PER_FENCE } else { 0 };
    Behaviour {
        live_in_s: ROUTE53_LIVE_IN_S,
        splits: Splitting::PerAnswer,
        routes_per_write: ROUTE53_ELEMENTS_PER_BATCH as u32 / changes,
        routes_at_once: ROUTE53_CHANGES_AT_ONCE as u32 / changes,
        routes_per_s: f64::from(ROUTE53_CHANGES_PER_S as u32) / f64::from(changes),
        weight_max: ROUTE53_WEIGHT_MAX,
        atomic: true,
    }
}

// ── Elastic Load Balancing ──

/// Load balancers, target groups, listeners or rules of one page. Source: Elastic Load Balancing API reference,
/// `DescribeLoadBalancers`, `DescribeTargetGroups`, `DescribeListeners`, `DescribeRules`.
pub const BALANCERS_PER_PAGE: i32 = 400;
/// Names of one call. Source: Elastic Load Balancing API reference, `DescribeLoadBalancers`.
pub const BALANCER_NAMES_PER_CALL: usize = 20;
/// Resources of one call. Source: Elastic Load Balancing API reference, `DescribeTags`.
pub const TAGGED_PER_CALL: usize = 20;
/// Describe calls a second that an account may make in a region, once a burst of 40 is used up; the controllers of both
/// clusters share them. Source: Elastic Load Balancing user guide, "Request throttling for the Elastic Load Balancing
/// API".
pub const BALANCER_READS_ALLOWED_PER_S: u32 = 10;
/// Time between two calls for the targets of a group: 8 a second.
pub const BALANCER_READ_PACE: Duration = Duration::from_millis(125);

const _: () =
    assert!(1_000 < BALANCER_READS_ALLOWED_PER_S as u128 * BALANCER_READ_PACE.as_millis());

/// The highest weight of a target group. Source: Elastic Load Balancing API reference, `TargetGroupTuple` (`Weight`).
pub const ALB_WEIGHT_MAX: u32 = 999;
/// Seconds until new weights are live on all nodes of a load balancer. Not documented: requests on former weights
/// have been seen for up to two minutes, and the measured share counts.
pub const ALB_LIVE_IN_S: u32 = 60;
/// Rules that are written at once. The rates of the calls that modify rules are not documented; the controllers of
/// both clusters share them.
pub const ALB_WRITES_AT_ONCE: u32 = 10;
/// Rules that are written a second after that.
pub const ALB_WRITES_PER_S: u32 = 3;

const _: () = assert!(Scale::Half.total() <= ALB_WEIGHT_MAX);

/// How weighted target groups of an application load balancer split: each request by itself, and without a
/// compare-and-swap.
#[must_use]
pub const fn alb() -> Behaviour {
    Behaviour {
        live_in_s: ALB_LIVE_IN_S,
        splits: Splitting::PerRequest,
        routes_per_write: 1,
        routes_at_once: ALB_WRITES_AT_ONCE,
        routes_per_s: ALB_WRITES_PER_S as f64,
        weight_max: ALB_WEIGHT_MAX,
        atomic: false,
    }
}

// ── Prices ──

/// USD a metric that is asked for. Source: CloudWatch pricing, us-east-1 (`GetMetricData`).
pub const USD_PER_METRIC: f64 = 0.01 / 1000.0;
/// USD a state transition of a standard workflow. Source: Step Functions pricing, us-east-1.
pub const USD_PER_TRANSITION: f64 = 0.025 / 1000.0;
