//! Who splits a route's traffic. The plan in `core` knows nothing of DNS.

pub mod route53;

use cutover_core::{Failure, Fence, Move, Propagation, RouteId, Shifted, Split};

/// Splits a route's requests between its two sides.
///
/// A router is asked and answers; it never waits. How long a shift takes to be seen in traffic is
/// reckoned in `core`, which is given the time: from [`Shifted::ttl_s`] and whether the changes
/// have [propagated](Router::propagated).
#[expect(async_fn_in_trait, reason = "the runtime has one thread: no future needs to be Send")]
pub trait Router {
    /// What is live now: one [`Split`] a route, in the order asked.
    ///
    /// # Errors
    /// `Unreachable` when the service could not be reached or throttles, `Refused` when it
    /// refuses, `Internal` when its reply makes no sense.
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure>;

    /// Moves each route from a split that it may have now to the one it shall have, in as few
    /// calls as the service allows. A route whose live split is neither has drifted and is left
    /// untouched.
    ///
    /// With a `fence`, each write replaces the mark of the write before it beside the route, in the same
    /// transaction: a route whose mark is not this cutover's, or that of a later write, is
    /// [`Moved::Superseded`](cutover_core::Moved) and untouched.
    ///
    /// An error may come after some of the routes have moved. A repeat of the same moves is the
    /// remedy: it finds those routes there and moves the others.
    ///
    /// # Errors
    /// As [`read`](Router::read), but for a route that is refused by itself: that is
    /// [`Moved::Refused`](cutover_core::Moved), and the others move. `Internal` as well for moves that
    /// must never be made: to weights that are all 0 or too high, or two of the same route.
    async fn shift(&self, moves: &[Move], fence: Option<&Fence>) -> Result<Shifted, Failure>;

    /// Removes the fences of these routes that are of this holder, and touches nothing else.
    ///
    /// # Errors
    /// As [`read`](Router::read).
    async fn release(&self, routes: &[RouteId], holder: &str) -> Result<(), Failure>;

    /// Whether every change of these ids is live on all of the service's servers.
    ///
    /// # Errors
    /// As [`read`](Router::read).
    async fn propagated(&self, changes: &[String]) -> Result<Propagation, Failure>;
}
