//! `validate`: reads a request and the world, and gives the cutover, or everything that speaks
//! against it. It only reads.

use adapters::router::SYNTAXES;
use adapters::world::World;
use adapters::{journal, runtime};
use cutover_core::Attempt;
use cutover_core::{Action, Cutover, Execution, Failure, Next, Request, Start};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The state machine's input, and which execution it is.
#[derive(Deserialize)]
struct Event {
    input: Value,
    execution: Caller,
}

#[derive(Deserialize)]
struct Caller {
    arn: String,
    name: String,
    started_at: Timestamp,
    state_machine_arn: String,
    /// Whether the definition that the execution was started with knows the action `release`: one that waits
    /// for a new side may be older than this function.
    #[serde(default)]
    releases: bool,
}

/// A cutover, or for an event that asks for nothing just what comes next.
#[derive(Serialize)]
#[serde(untagged)]
enum Validated {
    Cutover(Box<Cutover>),
    Ignored { next: Next },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let world = World::from_env().await?;
    runtime::serve(async |event: Event| validate(&world, event, Timestamp::now()).await).await
}

/// Reads what is asked for, looks at everything that it depends on, and lets core decide.
///
/// # Errors
/// `InvalidInput` with every problem, `NotReady` when all of them may pass by waiting;
/// `Unreachable` or `Refused` when the world could not be read.
async fn validate(world: &World, event: Event, now: Timestamp) -> Result<Validated, Failure> {
    let request = match Start::read(&event.input, world.cluster_name_prefix())? {
        Start::Request(request) => request,
        Start::Ignored(reason) => {
            tracing::info!(execution = event.execution.name, reason, "ignored");
            let next = Next { action: Action::Ignored, wait_s: 0, reason };
            return Ok(Validated::Ignored { next });
        }
    };
    let Caller { arn, name, started_at, state_machine_arn, releases } = event.execution;
    let mut request =
        Request::parse(&world.defaults().await?, &request, &SYNTAXES, world.period_s_min())?;
    request.fence &= releases;
    let attempt = Attempt { execution: Execution { arn, name }, started_at, now };
    let cutover = world.validate(request, &state_machine_arn, attempt).await?;
    journal::tell_warnings(&cutover);
    journal::tell(&cutover, now);
    Ok(Validated::Cutover(Box::new(cutover)))
}
