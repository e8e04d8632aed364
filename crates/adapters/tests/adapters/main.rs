//! Every adapter against a stand-in for its service: one test a behaviour, and one an error class.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, which clippy does not see as such"
)]

mod alb;
mod capacity;
mod clients;
mod cloudwatch;
mod contract;
mod fake;
mod fence;
mod history;
mod listeners;
mod lookups;
mod probe;
mod route53;
mod rules;
mod runtime;
mod schema;
mod unreadable;
mod world;
mod zone;
