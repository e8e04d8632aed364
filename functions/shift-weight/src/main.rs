//! `shift-weight`: brings every active route to the share that its step asks for.

use adapters::{Route53, Router, clients, journal, runtime};
use cutover_core::{Cutover, Failure, state};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let client = clients::route53(&clients::sdk_config().await);
    runtime::serve(async |event| {
        let cutover = state::read(event)?;
        let router = Route53::of(&client, &cutover);
        shift(&router, cutover, Timestamp::now()).await
    })
    .await
}

/// Moves each active route to its step's weights and says how long to wait for it to show.
///
/// # Errors
/// `TransientAws` when the router could not be reached, `AwsRefused` when it refused.
async fn shift(router: &impl Router, cutover: Cutover, now: Timestamp) -> Result<Cutover, Failure> {
    let moves = cutover.pending_moves();
    let shifted = router.shift(&moves).await?;
    let cutover = cutover.after_shift(&shifted, now);
    journal::tell(&cutover, now);
    Ok(cutover)
}
