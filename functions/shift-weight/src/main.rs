//! `shift-weight`: brings every active route to the share that its step asks for, and at the end removes
//! the fences.

use adapters::{Router, Routers, clients, journal, runtime};
use cutover_core::{Action, Cutover, Failure};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    runtime::init_logging();
    let routers = Routers::new(&clients::sdk_config().await);
    runtime::serve(async |event| {
        let cutover = Cutover::read(event)?;
        let router = routers.of(&cutover)?;
        shift(&router, cutover, Timestamp::now()).await
    })
    .await
}

/// Moves each active route to its step's weights and says how long to wait for it to show; or, once the
/// cutover has completed, removes its fences.
///
/// # Errors
/// `Unreachable` when the router could not be reached, `Refused` when it refused.
async fn shift(router: &impl Router, cutover: Cutover, now: Timestamp) -> Result<Cutover, Failure> {
    let cutover = if cutover.next.action == Action::Release {
        router.release(&cutover.to_release(), &cutover.holder()).await?;
        cutover.after_release()
    } else {
        let (moves, fence) = (cutover.pending_moves(), cutover.shift_fence(now));
        let shifted = router.shift(&moves, fence.as_ref()).await?;
        cutover.after_shift(&shifted, now)
    };
    journal::tell(&cutover, now);
    Ok(cutover)
}
