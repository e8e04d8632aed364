//! `check-health`: reads the evidence and the live weights, and lets core judge.

use adapters::{Alarms, CloudWatch, Routers, Splits, Targets, Telemetry};
use adapters::{anew, clients, journal, runtime};
use cutover_core::{Checked, Cutover, Failure, Observed, Propagation, RouteId, Seen};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let config = clients::sdk_config().await;
    let routers = Routers::new(&config);
    let telemetry = CloudWatch::new(clients::cloudwatch(&config));
    runtime::serve(async |event| {
        let cutover = Cutover::read(event)?;
        let splits = routers.of(&cutover)?;
        let targets = || Targets::new(clients::load_balancing(&config), telemetry.clone());
        Box::pin(check(&splits, &telemetry, targets, cutover, Timestamp::now())).await
    })
    .await
}

/// Looks for drift, asks whether the last shift is live everywhere, reads the evidence since the
/// first shift, and decides what comes next.
///
/// What is out of reach is no error: the rest is judged, and the step is held. What was made anew is counted again.
///
/// # Errors
/// `Refused` when the router or the telemetry refused, `Internal` when a reply made no sense.
async fn check(
    router: &impl Splits,
    telemetry: &(impl Telemetry + Alarms),
    targets: impl FnOnce() -> Targets,
    cutover: Cutover,
    now: Timestamp,
) -> Result<Cutover, Failure> {
    let names: Vec<RouteId> = cutover.routes.iter().map(|route| route.name.clone()).collect();
    let (splits, propagated, observed) = tokio::join!(
        router.read(&names),
        router.is_live(cutover.unsettled_receipts()),
        observe(telemetry, &cutover, now),
    );
    let observed = observed?;
    let (cutover, said) = anew::follow(targets, cutover, &observed).await;
    let observed = if said.is_some() { observe(telemetry, &cutover, now).await? } else { observed };
    let checked = Checked {
        propagated: match Seen::of(propagated)? {
            Seen::Now(propagated) => propagated,
            Seen::OutOfReach(_) => Propagation::Pending,
        },
        splits: Seen::of(splits)?,
        observed,
    };
    let cutover = cutover.after_check(&checked, now).warning(said);
    journal::tell_verdicts(&cutover, now);
    Ok(cutover)
}

async fn observe(
    telemetry: &(impl Telemetry + Alarms),
    cutover: &Cutover,
    now: Timestamp,
) -> Result<Observed, Failure> {
    let window = cutover.evidence_window(telemetry.limits(), now);
    let health = &cutover.health;
    let counted = async {
        tokio::try_join!(
            telemetry.series(&cutover.meters, window, health),
            telemetry.own(&health.signals, &cutover.sides, window),
        )
    };
    let (counted, alarms) = tokio::join!(counted, telemetry.in_alarm(&health.alarms));
    let (series, own) = match Seen::of(counted)? {
        Seen::Now((series, own)) => (Seen::Now(series), own),
        Seen::OutOfReach(why) => (Seen::OutOfReach(why), Vec::new()),
    };
    Ok(Observed { window, series, own, alarms: Seen::of(alarms)? })
}
