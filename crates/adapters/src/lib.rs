//! The outside world behind ports: who splits a route's traffic ([`router`]), who counts it
//! ([`telemetry`]), what stands behind it ([`capacity`]), and how a function meets
//! Lambda ([`runtime`]).
//!
//! **Invariant:** SDK types are named here and nowhere else. A function gets its clients from
//! [`clients`], and builds only those that it uses: each costs time in a cold start.

pub mod alarms;
pub mod anew;
pub mod capacity;
pub mod clients;
mod endpoint;
mod errors;
pub mod executions;
pub mod journal;
pub mod listeners;
pub mod parameters;
pub mod probe;
pub mod replies;
pub mod router;
pub mod runtime;
pub mod schema_1;
pub mod telemetry;
pub mod world;

pub use alarms::Alarms;
pub use capacity::{Capacity, Targets};
pub use router::{Router, Routers, Splits, route53::Route53};

pub use telemetry::{Telemetry, cloudwatch::CloudWatch};
