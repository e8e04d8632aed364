//! `check-health`: reads the evidence and the live weights, and lets core judge.

use adapters::{CloudWatch, Route53, Router, Telemetry, clients, journal, runtime};
use cutover_core::{Checked, Cutover, Failure, Observed, RouteId};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let config = clients::sdk_config().await;
    let client = clients::route53(&config);
    let telemetry = CloudWatch::new(clients::cloudwatch(&config));
    runtime::serve(async |cutover: Cutover| {
        let router = Route53::of(&client, &cutover);
        check(&router, &telemetry, cutover, Timestamp::now()).await
    })
    .await
}

/// Looks for drift, asks whether the last shift is live everywhere, reads the evidence since the
/// first shift, and decides what comes next.
///
/// # Errors
/// `TransientAws` when the router could not be reached; `AwsRefused` when the router or the
/// telemetry refused. Telemetry that is only out of reach is no error but a verdict.
async fn check(
    router: &impl Router,
    telemetry: &impl Telemetry,
    cutover: Cutover,
    now: Timestamp,
) -> Result<Cutover, Failure> {
    let routes: Vec<RouteId> = cutover.active().map(|route| route.name.clone()).collect();
    let (splits, propagated, observed) = tokio::join!(
        router.read(&routes),
        router.propagated(cutover.unsettled_changes()),
        observe(telemetry, &cutover, now),
    );
    let observed = match observed {
        Err(Failure::TransientAws(why)) => Err(why),
        observed => Ok(observed?),
    };
    let checked = Checked { propagated: propagated?, splits: splits?, observed };
    let cutover = cutover.after_check(&checked, now);
    journal::tell(&cutover, now);
    Ok(cutover)
}

async fn observe(
    telemetry: &impl Telemetry,
    cutover: &Cutover,
    now: Timestamp,
) -> Result<Observed, Failure> {
    let window = cutover.evidence_window(now);
    let (series, alarms) = tokio::try_join!(
        telemetry.series(&cutover.load_balancers, window),
        telemetry.alarms(&cutover.health.alarms),
    )?;
    let alarms = alarms.into_iter().filter(|(_, in_alarm)| *in_alarm).map(|(name, _)| name);
    Ok(Observed { window, series, alarms: alarms.collect() })
}
