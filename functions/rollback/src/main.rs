//! `rollback`: gives the routes that must go back their original weights again: those of a cutover
//! that the state machine hands over, or all those of an execution that was stopped, timed out or
//! crashed, and could not do so itself.

use adapters::{Route53, Router, Targets, clients, executions, journal, runtime};
use cutover_core::{Cutover, Failure, Order, RollbackDone, RollbackStart, RouteId};
use jiff::Timestamp;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let config = clients::sdk_config().await;
    let client = clients::route53(&config);
    let targets = Targets::new(clients::load_balancing(&config));
    runtime::serve(async |event: Value| {
        let order = match RollbackStart::read(event)? {
            RollbackStart::Order(order) => *order,
            RollbackStart::Ended { execution_arn, status } => {
                let step_functions = clients::step_functions(&config);
                match executions::interrupted(&step_functions, &execution_arn).await? {
                    Some(cutover) => Order::of_interrupted(cutover, &status),
                    None => return Ok(None),
                }
            }
        };
        let force = order.force;
        let cutover = order.into_cutover();
        let router = Route53::of(&client, &cutover);
        let kept = if force { vec![] } else { dead_old_sides(&targets, &cutover).await };
        roll_back(&router, cutover, kept, Timestamp::now()).await.map(Some)
    })
    .await
}

/// The routes that must go back and cannot, because their old side has no healthy target.
///
/// When the targets cannot be told, the routes go back: an old side that served a moment ago is
/// a better guess than a new one that failed.
async fn dead_old_sides(targets: &Targets, cutover: &Cutover) -> Vec<RouteId> {
    let (routes, ids): (Vec<RouteId>, Vec<String>) = cutover
        .going_back()
        .filter_map(|(route, old)| Some((route.clone(), old?.id.clone())))
        .unzip();
    match targets.healthy_hosts(&ids).await {
        Ok(healthy) => {
            routes.into_iter().zip(healthy).filter(|(_, n)| *n == 0).map(|(r, _)| r).collect()
        }
        Err(failure) => {
            let execution = &cutover.execution.name;
            tracing::warn!(execution, %failure, "the old side's targets cannot be told");
            Vec::new()
        }
    }
}

/// Moves every route that must go back, but for those in `kept`, and reads back what is live.
///
/// # Errors
/// `TransientAws` when the router could not be reached, `AwsRefused` when it refused; the message
/// is the report of what is known of every route.
async fn roll_back(
    router: &impl Router,
    cutover: Cutover,
    kept: Vec<RouteId>,
    now: Timestamp,
) -> Result<Cutover, Failure> {
    let routes: Vec<RouteId> = cutover.routes.iter().map(|route| route.name.clone()).collect();
    let moves = cutover.rollback_moves(&kept);
    let done = async {
        let shifted = router.shift(&moves).await?;
        let splits = router.read(&routes).await?;
        Ok::<_, Failure>(RollbackDone { kept, shifted, splits })
    };
    let done = done.await.map_err(|failure| cutover.rollback_failure(&failure))?;
    let cutover = cutover.after_rollback(&done);
    journal::tell(&cutover, now);
    Ok(cutover)
}
