//! The outside world behind ports: who splits a route's traffic ([`router`]), who counts it
//! ([`telemetry`]), what stands behind a record ([`zone`], [`targets`]), and how a function meets
//! Lambda ([`runtime`]).
//!
//! **Invariant:** SDK types are named here and nowhere else. A function gets its clients from
//! [`clients`], and builds only those that it uses: each costs time in a cold start.

pub mod alarms;
pub mod clients;
mod errors;
pub mod executions;
pub mod journal;
pub mod parameters;
pub mod replies;
pub mod router;
pub mod runtime;
pub mod targets;
pub mod telemetry;
pub mod world;
pub mod zone;

pub use alarms::Alarms;
pub use router::{AnyRouter, Router, Splits, route53::Route53};
pub use targets::Targets;
pub use telemetry::{Telemetry, cloudwatch::CloudWatch};
