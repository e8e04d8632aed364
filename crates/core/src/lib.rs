//! What cutover decides. Everything here is a function of its arguments: no clock, no I/O, no AWS
//! type. Time comes in as `now`, the world as what adapters observed.

pub mod baseline;
pub mod check;
pub mod cutover;
pub mod e_process;
mod endpoint;
pub mod evidence;
pub mod facts;
pub mod failure;
mod fields;
pub mod health;
pub mod hypergeometric;
pub mod load_balancer;
pub mod lumps;
mod ownership;
pub mod percent;
pub mod plan;
pub mod power;
pub mod ramp;
pub mod report;
pub mod request;
mod rivals;
pub mod rollback_order;
pub mod split;
pub mod start;
pub mod state;
pub mod verdict;

pub use baseline::{Baseline, Baselines};
pub use cutover::{Action, Checked, Cutover, Execution, Next, Phase, RollbackDone, Route, Status};
pub use e_process::EProcess;
pub use evidence::{Counts, Evidence, Latency, Observed, Period, Series, Window};
pub use failure::{Failure, Problem};
pub use health::{Health, LatencyBy, OnNoData};
pub use load_balancer::{LoadBalancer, OldSide};
pub use percent::Percent;
pub use plan::Plan;
pub use ramp::{Ramp, Step};
pub use report::{Report, RouteReport};
pub use request::{ExternalDns, Request};
pub use rollback_order::{Answer, Asked, By, Ended, Order, Past, Recorded, RollbackStart, Todo};
pub use split::{
    Fence, Mark, Move, Moved, Propagation, RouteId, Scale, Settling, Shifted, Side, Sides, Split,
    Way, Weights,
};
pub use start::Start;
pub use verdict::{Judge, Verdict, VerdictKind, judge};
