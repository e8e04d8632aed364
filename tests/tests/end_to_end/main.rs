//! The real functions, state machine and template on the emulator. Weights are read back from
//! Route 53 or the load balancer, never taken from a function's answer.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails ends its test"
)]

mod alb;
mod arrival;
mod ends;
mod entrances;
mod events;
mod failures;
mod fence;
mod hosts;
mod infra;
mod input;
mod lookup;
mod repeats;
mod scale;
mod shared;
mod signals;
mod starts;
mod uncounted;
mod world;
