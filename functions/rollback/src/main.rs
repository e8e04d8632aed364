//! `rollback`: gives routes their original weights again: those that the state machine says must go
//! back, those of an execution that was stopped, timed out or crashed and could not do so itself, or
//! those of any execution that a person names.

use adapters::{
    Capacity, CloudWatch, Router, Routers, Targets, clients, executions, journal, runtime,
};
use cutover_core::{
    Answer, Cutover, Failure, Fence, OldSide, Order, RollbackDone, RollbackStart, RouteId, Todo,
};
use jiff::Timestamp;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let state_machine_arn = executions::state_machine_from_env()?;
    let config = clients::sdk_config().await;
    let routers = Routers::new(&config);
    let of_metrics = config.clone();
    let metrics = CloudWatch::lazily(move || clients::cloudwatch(&of_metrics));
    let targets = Targets::new(clients::load_balancing(&config), metrics);
    runtime::serve(async |event: Value| {
        let asked = match RollbackStart::read(event, &state_machine_arn)? {
            RollbackStart::Order(order) => {
                return undo(&routers, &targets, *order).await.map(Answer::from);
            }
            RollbackStart::Execution(asked) => asked,
        };
        let past = executions::past(&clients::step_functions(&config), &asked).await?;
        match past.todo(&asked, Timestamp::now())? {
            Todo::Nothing(reason) => Ok(journal::tell_nothing(&asked, reason)),
            Todo::Undo { order, again } => {
                undo(&routers, &targets, *order).await?.undone(again).map(Answer::from)
            }
        }
    })
    .await
}

/// Carries out one order.
async fn undo(routers: &Routers, targets: &Targets, order: Order) -> Result<Cutover, Failure> {
    let Order { force, retake, .. } = order;
    let cutover = order.into_cutover();
    let old_sides = targets.old_sides(cutover.going_back()).await;
    let kept = if force { Vec::new() } else { OldSide::dead(&old_sides) };
    let now = Timestamp::now();
    let fence = cutover.rollback_fence(retake, now);
    roll_back(&routers.of(&cutover)?, cutover, (old_sides, kept), fence, now).await
}

/// Moves every route that must go back, but for those in `kept`, and reads back what is live.
///
/// # Errors
/// `Unreachable` when the router could not be reached, `Refused` when it refused; the message
/// is the report of what is known of every route.
async fn roll_back(
    router: &impl Router,
    cutover: Cutover,
    (old_sides, kept): (Vec<(RouteId, OldSide)>, Vec<RouteId>),
    fence: Option<Fence>,
    now: Timestamp,
) -> Result<Cutover, Failure> {
    let names: Vec<RouteId> = cutover.routes.iter().map(|route| route.name.clone()).collect();
    let moves = cutover.rollback_moves(&kept);
    let (shifted, splits) = (router.shift(&moves, fence.as_ref()).await, router.read(&names).await);
    let (shifted, splits) = cutover.rollback_outcome(shifted, splits)?;
    // Lambda's name for this function, for the command that a person is given.
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").ok();
    let done = RollbackDone { kept, old_sides, shifted, splits, function };
    let cutover = cutover.after_rollback(&done);
    journal::tell(&cutover, now);
    Ok(cutover)
}
