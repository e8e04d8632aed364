//! `rollback`: gives routes their original weights again: those that the state machine says must go
//! back, those of an execution that was stopped, timed out or crashed and could not do so itself, or
//! those of any execution that a person names.

use adapters::{CloudWatch, Route53, Router, Targets, clients, executions, journal, runtime};
use cutover_core::{Cutover, Failure, OldSide, Order, RollbackDone, RollbackStart, RouteId};
use jiff::Timestamp;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let config = clients::sdk_config().await;
    let client = clients::route53(&config);
    let metrics = CloudWatch::new(clients::cloudwatch(&config));
    let targets = Targets::new(clients::load_balancing(&config), metrics);
    runtime::serve(async |event: Value| {
        let step_functions = || clients::step_functions(&config);
        let (found, why, ended_at, force) = match RollbackStart::read(event)? {
            RollbackStart::Order(order) => return undo(&client, &targets, *order).await.map(Some),
            RollbackStart::Execution { execution_arn, force } => {
                let found =
                    executions::last_cutover(&step_functions(), &execution_arn, true).await?;
                (found, "asked for by hand".to_owned(), None, force)
            }
            RollbackStart::Ended { execution_arn, status, stopped_at } => {
                let found =
                    executions::last_cutover(&step_functions(), &execution_arn, false).await?;
                (found, status, stopped_at, false)
            }
        };
        let Some(cutover) = found else { return Ok(None) };
        let again = cutover.may_be_shifting(ended_at, Timestamp::now());
        let order = Order::of_execution(cutover, &why, force);
        undo(&client, &targets, order).await?.undone(again).map(Some)
    })
    .await
}

/// Carries out one order.
async fn undo(
    client: &clients::Route53Client,
    targets: &Targets,
    order: Order,
) -> Result<Cutover, Failure> {
    let force = order.force;
    let cutover = order.into_cutover();
    let old_sides = targets.old_sides(cutover.going_back()).await;
    roll_back(&Route53::of(client, &cutover), cutover, old_sides, force, Timestamp::now()).await
}

/// Moves every route that must go back, without `force` none whose old side is dead, and reads back.
///
/// # Errors
/// `TransientAws` when the router could not be reached, `AwsRefused` when it refused; the message
/// is the report of what is known of every route.
async fn roll_back(
    router: &impl Router,
    cutover: Cutover,
    old_sides: Vec<(RouteId, OldSide)>,
    force: bool,
    now: Timestamp,
) -> Result<Cutover, Failure> {
    let kept = if force { Vec::new() } else { OldSide::dead(&old_sides) };
    let names: Vec<RouteId> = cutover.routes.iter().map(|route| route.name.clone()).collect();
    let moves = cutover.rollback_moves(&kept);
    let shifted = router.shift(&moves).await;
    let splits = router.read(&names).await;
    let (shifted, splits) = match (shifted, splits) {
        (Ok(shifted), Ok(splits)) => (shifted, splits),
        (Err(failure), splits) => {
            return Err(cutover.rollback_failure(&failure, &splits.unwrap_or_default()));
        }
        (Ok(_), Err(failure)) => return Err(cutover.rollback_failure(&failure, &[])),
    };
    let cutover = cutover.after_rollback(&RollbackDone { kept, old_sides, shifted, splits });
    journal::tell(&cutover, now);
    Ok(cutover)
}
