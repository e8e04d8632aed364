//! The real functions, state machine and template on the emulator. Weights are read back from
//! Route 53, never taken from a function's answer.

mod ends;
mod events;
mod failures;
mod repeats;
mod scale;
mod starts;
