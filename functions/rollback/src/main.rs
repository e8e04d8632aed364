//! `rollback`: gives routes their original weights again: those that the state machine says must go
//! back, those of an execution that was stopped, timed out or crashed and could not do so itself, or
//! those of any execution that a person names.

use adapters::{Route53, Router, Targets, clients, executions, journal, runtime};
use cutover_core::{
    Answer, Cutover, Failure, Fence, Order, RollbackDone, RollbackStart, RouteId, Todo,
};
use jiff::Timestamp;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let state_machine_arn = executions::state_machine_from_env()?;
    let config = clients::sdk_config().await;
    let client = clients::route53(&config);
    let targets = Targets::new(clients::load_balancing(&config));
    runtime::serve(async |event: Value| {
        let asked = match RollbackStart::read(event, &state_machine_arn)? {
            RollbackStart::Order(order) => {
                return undo(&client, &targets, *order).await.map(Answer::from);
            }
            RollbackStart::Execution(asked) => asked,
        };
        let past = executions::past(&clients::step_functions(&config), &asked).await?;
        match past.todo(&asked, Timestamp::now())? {
            Todo::Nothing(reason) => Ok(journal::tell_nothing(&asked, reason)),
            Todo::Undo { order, again } => {
                undo(&client, &targets, *order).await?.undone(again).map(Answer::from)
            }
        }
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
    let kept = if force { Vec::new() } else { targets.dead(cutover.going_back()).await };
    let now = Timestamp::now();
    let fence = cutover.rollback_fence(force, now);
    roll_back(&Route53::of(client, &cutover), cutover, fence.as_ref(), kept, now).await
}

/// Moves every route that must go back, but for those in `kept`, and reads back what is live.
///
/// # Errors
/// `TransientAws` when the router could not be reached, `AwsRefused` when it refused; the message
/// is the report of what is known of every route.
async fn roll_back(
    router: &impl Router,
    cutover: Cutover,
    fence: Option<&Fence>,
    kept: Vec<RouteId>,
    now: Timestamp,
) -> Result<Cutover, Failure> {
    let names: Vec<RouteId> = cutover.routes.iter().map(|route| route.name.clone()).collect();
    let moves = cutover.rollback_moves(&kept);
    let shifted = router.shift(&moves, fence).await;
    let splits = router.read(&names).await;
    let (shifted, splits) = match (shifted, splits) {
        (Ok(shifted), Ok(splits)) => (shifted, splits),
        (Err(failure), splits) => {
            return Err(cutover.rollback_failure(&failure, &splits.unwrap_or_default()));
        }
        (Ok(_), Err(failure)) => return Err(cutover.rollback_failure(&failure, &[])),
    };
    // Lambda's name for this function.
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok();
    let cutover = cutover.after_rollback(&RollbackDone { kept, shifted, splits, function });
    if let Err(failure) = router.release(&cutover.left_behind(), &cutover.holder()).await {
        // The weights are what counts; the next cutover of these routes says whose fences it found.
        tracing::warn!(error_message = %failure, "the fences of routes that were left stay");
    }
    journal::tell(&cutover, now);
    Ok(cutover)
}
