//! What cutover decides. Everything here is a function of its arguments: no clock, no I/O, no AWS
//! type. Time comes in as `now`, the world as what adapters observed.

mod cutover;
mod evidence;
mod failure;
mod meter;
mod percent;
mod plan;
mod report;
mod request;
mod rollback_order;
mod router;
mod validate;

pub use cutover::{
    Action, Checked, Cutover, Execution, Next, Phase, RollbackDone, Route, SCHEMA, SHIFT_S_MAX,
    Status,
};
pub use evidence::baseline::{BASELINE_PERIODS, Baseline, Baselines};
pub use evidence::e_process::EProcess;
pub use evidence::judge::{
    Judge, Regression, Verdict, VerdictKind, e_shown, grouped, judge, percent,
};
pub use evidence::{Counts, Evidence, Latency, Observed, Period, Series, Window};
pub use failure::{Failure, Problem};
pub use meter::{LoadBalancer, OldSide};
pub use percent::Percent;
pub use plan::{CHANGES_AT_ONCE, CHANGES_PER_S, Plan, Planned, queries_per_call};
pub use report::{Report, RouteReport};
pub use request::fields::Fields;
pub use request::health::{Health, LatencyBy, OnNoData, PERIOD_S_MIN};
pub use request::ramp::{
    HISTORY_EVENTS_RESERVED, NOT_READY_RETRY_RATE, NOT_READY_RETRY_S, NOT_READY_RETRY_S_MAX,
    RETRY_EVENTS, ROLLBACK_EVENTS, ROUND_EVENTS, Ramp, Step, TASK_EVENTS, not_ready_retries,
};
pub use request::router::RouterSyntax;
pub use request::start::Start;
pub use request::{EXECUTION_S_MAX, ExternalDns, Request};
pub use rollback_order::{
    Answer, Asked, By, Ended, FAIL_STATES, FIRST_STATE, HARMLESS_STATES, Order, Past, Recorded,
    RollbackStart, SHIFT_STATE, Todo,
};
pub use router::survey::{
    Backend, Behaviour, Behind, Endpoint, Finding, Found, Group, Remedy, RouterRef, Splitting,
};
pub use router::{
    Fence, Mark, Move, Moved, Propagation, RouteId, Scale, Settling, Shifted, Side, Sides, Split,
    WEIGHT_MAX, Way, Weights,
};
pub use validate::facts::{
    Facts, FoundLoadBalancer, LoadBalancerKind, Policy, Record, Running, Target, dns_key,
};
pub use validate::{ALIAS_TTL_S, Attempt, Outlook, Survey, TRAFFIC_PERIODS, Zone};
