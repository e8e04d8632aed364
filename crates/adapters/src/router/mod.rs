//! Who splits a route's requests. `core` knows routes and weights, and none of the services.

pub mod alb;
pub mod memory;
pub mod route53;

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::sync::OnceLock;

use cutover_core::limits;
use cutover_core::{
    Cutover, Failure, Fence, Move, Propagation, Request, RouteId, RouterRef, RouterSyntax, Shifted,
    Sides, Split, Survey,
};

use fnv::FnvHasher;

use crate::clients;
use crate::router::alb::Alb;
use crate::router::route53::Route53;

/// Sees how routes are split now. It cannot write: this is all that a check of health is given.
#[expect(async_fn_in_trait, reason = "the runtime has one thread: no future needs to be Send")]
pub trait Splits {
    /// What is live now: one [`Split`] a route, in the order asked.
    ///
    /// # Errors
    /// `Unreachable` when the service could not be reached or throttles, `Refused` when it
    /// refuses, `Internal` when its reply makes no sense.
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure>;

    /// Whether every change with these [receipts](Shifted::receipts) is live on all of the service's servers.
    ///
    /// # Errors
    /// As [`read`](Splits::read).
    async fn is_live(&self, receipts: &[String]) -> Result<Propagation, Failure>;
}

/// Splits a route's requests between its two sides.
///
/// A router is asked and answers; it never waits for traffic. How long a shift takes to be seen is
/// reckoned in `core`, which is given the time: from [`Shifted::linger_s`] and whether the changes
/// [are live](Splits::is_live).
#[expect(async_fn_in_trait, reason = "the runtime has one thread: no future needs to be Send")]
pub trait Router: Splits {
    /// Finds the routes of a request, and everything that only the router can see about them. Who else writes the
    /// weights may be left to [`find_writers`](Router::find_writers) where that is costly.
    ///
    /// # Errors
    /// As [`read`](Splits::read), and `InvalidInput` when the place of the request is not there.
    async fn survey(&self, request: &Request) -> Result<Survey, Failure>;

    /// Adds to a survey who else writes the weights of its routes, and what the request says to that.
    ///
    /// # Errors
    /// As [`read`](Splits::read).
    async fn find_writers(&self, request: &Request, survey: &mut Survey) -> Result<(), Failure>;

    /// Moves each route from a split that it may have now to the one it shall have, in as few
    /// calls as the service allows. A route whose live split is neither has drifted and is left
    /// untouched.
    ///
    /// With a `fence`, each write replaces the mark of the write before it beside the route, in the same
    /// transaction: a route whose mark is not this cutover's, or that of a later write, is
    /// [`Moved::Superseded`](cutover_core::Moved) and untouched. A router whose writes are not
    /// [atomic](cutover_core::Behaviour::atomic) is given none.
    ///
    /// An error may come after some of the routes have moved. A repeat of the same moves is the
    /// remedy: it finds those routes there and moves the others.
    ///
    /// # Errors
    /// As [`read`](Splits::read), but for a route that is refused by itself: that is
    /// [`Moved::Refused`](cutover_core::Moved), and the others move. `Internal` as well for moves that
    /// must never be made: to weights that are all 0 or too high, or two of the same route.
    async fn shift(&self, moves: &[Move], fence: Option<&Fence>) -> Result<Shifted, Failure>;

    /// Removes the fences of these routes that are of this holder, and touches nothing else.
    ///
    /// # Errors
    /// As [`read`](Splits::read).
    async fn release(&self, routes: &[RouteId], holder: &str) -> Result<(), Failure>;
}

/// How requests name each router. The first is meant when a request names none.
pub const SYNTAXES: [RouterSyntax; 2] = [route53::SYNTAX, alb::place::SYNTAX];

/// The router of one cutover, whichever it is.
#[derive(Clone, Debug)]
pub enum AnyRouter {
    /// Weighted records.
    Route53(Route53),
    /// Rules of application load balancers.
    Alb(Alb),
}

/// The one `match` over routers.
macro_rules! each {
    ($router:expr, $of:ident => $do:expr) => {
        match $router {
            AnyRouter::Route53($of) => $do,
            AnyRouter::Alb($of) => $do,
        }
    };
}

/// The routers with their clients. Each client is built once, when a cutover first needs it, so that a cold start
/// waits for no other router's.
#[derive(Clone, Debug)]
pub struct Routers {
    config: clients::Config,
    route53: OnceLock<clients::Route53Client>,
    load_balancing: OnceLock<clients::LoadBalancingClient>,
}

impl Routers {
    /// The routers of this configuration.
    #[must_use]
    pub fn new(config: &clients::Config) -> Self {
        let (route53, load_balancing) = (OnceLock::new(), OnceLock::new());
        Self { config: config.clone(), route53, load_balancing }
    }

    /// The router that a request or the state of a cutover names.
    ///
    /// # Errors
    /// `InvalidInput`: `unknown_router` when this version has no such router, `unreadable_state` when its
    /// place lacks something.
    pub fn get(&self, router: &RouterRef, sides: Sides) -> Result<AnyRouter, Failure> {
        match router.kind.as_str() {
            route53::KIND => {
                let zone = route53::zone_of(&router.place)?;
                let client = self.route53.get_or_init(|| clients::route53(&self.config));
                Ok(AnyRouter::Route53(Route53::new(client.clone(), zone, sides)))
            }
            alb::place::KIND => {
                let build = || clients::load_balancing(&self.config);
                let client = self.load_balancing.get_or_init(build);
                Ok(AnyRouter::Alb(Alb::new(client.clone(), &router.place)?))
            }
            unknown => {
                let known = SYNTAXES.map(|syntax| format!("{:?}", syntax.kind)).join(", ");
                let message = format!(
                    "the state names the router {unknown:?}; these functions know {known}: deploy the version \
                     that began this cutover"
                );
                Err(Failure::invalid("unknown_router", message))
            }
        }
    }

    /// The router that has the routes of a cutover.
    ///
    /// # Errors
    /// As [`get`](Routers::get).
    pub fn of(&self, cutover: &Cutover) -> Result<AnyRouter, Failure> {
        self.get(&cutover.router, cutover.sides.clone())
    }
}

impl Splits for AnyRouter {
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure> {
        each!(self, router => router.read(routes).await)
    }

    async fn is_live(&self, receipts: &[String]) -> Result<Propagation, Failure> {
        each!(self, router => router.is_live(receipts).await)
    }
}

impl Router for AnyRouter {
    async fn survey(&self, request: &Request) -> Result<Survey, Failure> {
        each!(self, router => router.survey(request).await)
    }

    async fn find_writers(&self, request: &Request, survey: &mut Survey) -> Result<(), Failure> {
        each!(self, router => router.find_writers(request, survey).await)
    }

    async fn shift(&self, moves: &[Move], fence: Option<&Fence>) -> Result<Shifted, Failure> {
        each!(self, router => router.shift(moves, fence).await)
    }

    async fn release(&self, routes: &[RouteId], holder: &str) -> Result<(), Failure> {
        each!(self, router => router.release(routes, holder).await)
    }
}

/// Reads a host name as a route: lower case, no dot at the end; `None` for what can be none in DNS. It has
/// letters, digits, `-`, `_` and labels of 1 to 63, and a `*` only as the whole first label.
pub(crate) fn host_name(text: &str) -> Option<RouteId> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_name = name.len() <= limits::DNS_NAME_CHARS_MAX && rest.split('.').all(label_ok);
    is_name.then(|| RouteId::from(name.to_ascii_lowercase()))
}

/// Refuses weights that are all 0, which give every side the same share, or none; weights that are too high; and a
/// route that is in two moves, which would drift from itself. All are defects of the caller, found before anything
/// is touched.
///
/// # Errors
/// `Internal`.
fn refuse_moves_never_made(moves: &[Move], weight_max: u32) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for Move { route, to, .. } in moves {
        if to.old == 0 && to.new == 0 {
            return Err(Failure::Internal(format!("{route} would get weight 0 on both sides")));
        }
        if to.old.max(to.new) > weight_max {
            return Err(Failure::Internal(format!(
                "{route} would get {to}: {weight_max} is the most"
            )));
        }
        if !seen.insert(route) {
            return Err(Failure::Internal(format!("{route} is to be moved twice at once")));
        }
    }
    Ok(())
}

/// A fingerprint of some texts in 32 bits. It is kept in the state, so it must be the same in every version.
#[derive(Default)]
struct Fingerprint(FnvHasher);

impl Fingerprint {
    fn add(&mut self, text: &str) {
        self.0.write(text.as_bytes());
        self.0.write_u8(0);
    }

    fn finish(self) -> u32 {
        let hash = self.0.finish();
        // Folded, so that all bits count.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let folded = (hash ^ (hash >> 32)) as u32;
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_other_text() {
        for good in ["chat.example.com", "*.example.com", "_x.example.com.", "a"] {
            assert!(host_name(good).is_some(), "{good}");
        }
        for bad in ["", ".", "a..b", "a b", "ä.example", "a.*.b", "-/x", &"a".repeat(64)] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
        assert_eq!(host_name("Chat.Example.COM."), Some(RouteId::from("chat.example.com")));
    }
}
