//! What cutover decides. Everything here is a function of its arguments: no clock, no I/O, no AWS
//! type. Time comes in as `now`, the world as what adapters observed.

mod cutover;
mod evidence;
mod failure;
pub mod limits;
mod meter;
mod next;
mod percent;
mod plan;
mod report;
mod request;
mod rollback_order;
mod router;
mod seen;
mod validate;
mod words;

pub use cutover::{
    Checked, CountedBy, Cutover, Doubt, Execution, Leave, Phase, RollbackDone, Route, SCHEMA,
    SHIFT_S_MAX, Status, later,
};
pub use evidence::arrival::{Arrival, BEFORE_PERIODS, Missing, Sent};
pub use evidence::baseline::{BASELINE_PERIODS, Baseline, Baselines};
pub use evidence::connections::Connections;
pub use evidence::e_process::EProcess;
pub use evidence::hypergeometric::Table;
pub use evidence::judge::{Judge, Regression, judge};
pub use evidence::signal::{Signal, SignalKind};
pub use evidence::verdict::{SignalSeen, Verdict, VerdictKind};
pub use evidence::{
    AlarmsSeen, Counts, Evidence, Latency, Observed, OwnSeries, Pair, Period, Series,
    TelemetryLimits, Window,
};
pub use failure::{Failure, Problem};
pub use meter::{GoingBack, MadeAnew, Meter, OldSide};
pub use next::{
    Action, COMPLETED, DRIFTED, FAILED_ENDS, GOOD_ENDS, IGNORED, Next, PLANNED, REJECTED,
    ROLLBACK_FAILED, ROLLED_BACK,
};
pub use percent::Percent;
pub use plan::{Plan, Planned};
pub use report::{Report, RouteReport};
pub use request::fields::Fields;
pub use request::health::{Health, LatencyBy, OnNoData, OwnMetric, OwnSignal, PERIOD_S_MIN};
pub use request::probe::Probe;
pub use request::ramp::{
    HISTORY_EVENTS_RESERVED, NOT_READY_RETRY_RATE, NOT_READY_RETRY_S, NOT_READY_RETRY_S_MAX,
    ROLLBACK_EVENTS, Ramp, Step, not_ready_retries,
};
pub use request::router::RouterSyntax;
pub use request::start::Start;
pub use request::{ExternalDns, Request};
pub use rollback_order::{
    Answer, Asked, By, Ended, FIRST_STATE, HARMLESS_STATES, Order, Past, Recorded, RollbackStart,
    SHIFT_STATE, Todo,
};
pub use router::lumps::{Lumps, RESOLVERS};
pub use router::survey::{
    Backend, Behaviour, Behind, Endpoint, Finding, Found, Group, Remedy, RouterRef, Splitting,
    Survey,
};
pub use router::{
    Fence, Live, Mark, Move, Moved, Propagation, RouteId, Scale, Settling, Shifted, Side, Sides,
    Split, Way, Weights,
};
pub use seen::Seen;
pub use validate::facts::{
    Attempt, Busiest, Door, Entrance, Facts, History, Running, own_counts_of,
};
pub use validate::probes::{Answered, Probed};
pub use validate::{Outlook, TRAFFIC_PERIODS, Validation, mark_holders};
pub use words::{e_shown, grouped, listed, percent, shortened};

/// Whether a field of a state has its default, and is left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
