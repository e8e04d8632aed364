//! Who counts requests and errors.

pub mod cloudwatch;
mod own;

use cutover_core::{
    Failure, Health, Meter, OwnSeries, OwnSignal, Series, Sides, TelemetryLimits, Window,
};

/// Says what each side's meters counted.
#[expect(async_fn_in_trait, reason = "the runtime has one thread: no future needs to be Send")]
pub trait Telemetry {
    /// What it can give.
    fn limits(&self) -> TelemetryLimits;

    /// What was counted in each period of the window: one [`Series`] a load balancer, in the order
    /// asked, each with as many counts as the window has periods. `health` says which requests are
    /// slow; without `latency_target_s`, latency is not asked for.
    ///
    /// # Errors
    /// `Unreachable` when the service could not be reached, throttles or fails, `Refused` when
    /// it refuses, `Internal` when its reply makes no sense.
    async fn series(
        &self,
        meters: &[Meter],
        window: Window,
        health: &Health,
    ) -> Result<Vec<Series>, Failure>;

    /// What others counted on both sides: one [`OwnSeries`] a signal, in the order asked, each with as many counts as the
    /// window has periods.
    ///
    /// # Errors
    /// As [`series`](Self::series).
    async fn own(
        &self,
        signals: &[OwnSignal],
        sides: &Sides,
        window: Window,
    ) -> Result<Vec<OwnSeries>, Failure>;
}
