//! A whole local world for cutover: an emulated AWS account with the real functions, state machine
//! and template in it, two clusters that serve real requests, and traffic that follows the weights.

pub mod alb;
pub mod aws;
pub mod balancer;
pub mod deploy;
pub mod edges;
pub mod emulator;
pub mod error;
pub mod functions;
mod history;
pub mod metrics;
pub mod origin;
pub mod picture;
pub mod proxy;
pub mod python;
pub mod recording;
pub mod routed;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod view;
pub mod watch;
pub mod world;
