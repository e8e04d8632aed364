//! What a router finds before anything moves, in words that fit every router.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Problem;
use crate::router::{Mark, RouteId, Side, Sides, Weights};

/// What a router found of a request: the routes, and everything that only the router can see about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// The two sides; `None` when the old one cannot be named, and then a finding says why.
    pub sides: Option<Sides>,
    /// The routes that are as they must be, in the order of their names.
    pub routes: Vec<Found>,
    /// Routes that only the old side has: left where they are, or not built yet.
    pub left_out: Option<Problem>,
    /// What speaks against a cutover.
    pub findings: Vec<Finding>,
    /// What a person should know, and what speaks against nothing.
    pub warnings: Vec<Problem>,
    /// Names under which another request may ask for the same place.
    pub scopes: Vec<String>,
    /// How the router splits.
    pub behaviour: Behaviour,
    /// What the router must know to find these routes again; core carries it and never looks in.
    pub place: Value,
    /// Who else may write the weights back, by name, and what to do about each of them: the end of a sentence.
    pub other_writers: BTreeMap<String, String>,
    /// Whether it is known of every route who else writes its weights. Where that is costly to find out, it is
    /// asked only when nothing else speaks against a cutover.
    pub writers_are_known: bool,
}

/// A route that is as it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The route.
    pub route: RouteId,
    /// Its weights.
    pub live: Weights,
    /// Where the old side's requests end up.
    pub old: Endpoint,
    /// Where the new side's requests end up.
    pub new: Endpoint,
    /// Seconds that requests may go on to the former side once a change is live: a TTL, or stickiness.
    pub linger_s: u32,
    /// Other names that a request may give it in `routes`, or patterns of them: [`RouterSyntax::means`] compares them.
    ///
    /// [`RouterSyntax::means`]: crate::RouterSyntax::means
    pub aliases: BTreeSet<RouteId>,
    /// Names of every side that has a part in the route, beyond the two of the request too.
    pub side_names: BTreeSet<String>,
    /// Who else may write its weights back: a key of [`Survey::other_writers`].
    pub other_writer: Option<String>,
    /// Fingerprints of everything but the weights, as [`Split::shapes`](crate::Split) has them.
    pub shapes: Vec<u32>,
    /// The mark that stands on it: an execution's that has ended and left it, or that still runs.
    pub mark: Option<Mark>,
}

impl Found {
    /// Where a side's requests end up.
    #[must_use]
    pub const fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

/// Where a side's requests end up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// What its service calls it: a DNS name, an ARN. The port for capacity finds it by that.
    pub id: String,
    /// Set where the router sends nothing to this side, whatever the weights, while any group of its targets has
    /// no healthy one: a clause that says what makes it do so and how to turn that off.
    pub all_or_nothing: Option<&'static str>,
}

/// Something that speaks against starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub problem: Problem,
    /// What helps.
    pub remedy: Remedy,
}

/// What helps against a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Waiting: the new side is being built.
    Wait,
    /// A person; but it is looked at again if there is something to wait for anyway.
    MayPass,
    /// A person.
    Person,
}

/// How a router splits, and what its service takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// Seconds until a change is live, generally; waited for when the service confirms none.
    pub live_in_s: u32,
    /// What one draw of the split decides.
    pub splits: Splitting,
    /// Routes that one call writes.
    pub routes_per_write: u32,
    /// Routes that are written without a pause.
    pub routes_at_once: u32,
    /// Routes a second after that.
    pub routes_per_s: f64,
    /// The highest weight that it can write.
    pub weight_max: u32,
    /// Whether a write is a compare-and-swap. Otherwise another writer may come between reading and writing.
    pub atomic: bool,
}

/// What one draw of a split decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitting {
    /// Where everybody behind one resolver goes until its answer expires: shares come in lumps.
    PerAnswer,
    /// Where one request goes.
    PerRequest,
}

/// Which router has the routes of a cutover. In JSON `{"kind":"…","place":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterRef {
    /// The router's name in a request.
    pub kind: String,
    /// As [`Survey::place`].
    pub place: Value,
}

/// What stands behind an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Something that counts requests.
    Found(Backend),
    /// Nothing that is known; on the new side it may still be made.
    Nothing {
        /// The problem's code.
        code: &'static str,
        /// What was found instead, after "its old side" or "its new side": "points at NAME, which is …".
        what: String,
        /// What should stand there, after "point it at".
        allowed: String,
    },
    /// Something that takes requests and counts none: it does where the request names counts of its own.
    Uncounted {
        /// What it is beside that.
        behind: Box<Behind>,
        /// The problem's code, where there are no such counts.
        code: &'static str,
        /// Why, after "its old side" or "its new side".
        why: String,
    },
    /// Something that can never be counted here.
    Never {
        /// The problem's code.
        code: &'static str,
        /// Why, after "its old side" or "its new side".
        why: String,
    },
}

/// What counts requests behind an endpoint, and its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What it is called in a sentence, after "the old" or "the new": what kind of thing, and its name.
    pub called: String,
    /// Its own id, by which its service finds it.
    pub id: String,
    /// Names it to the telemetry.
    pub meter: String,
    /// Whether it takes requests already.
    pub active: bool,
    /// Its groups of targets.
    pub groups: Vec<Group>,
}

/// A group of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Names it to the telemetry.
    pub id: String,
    /// Its targets that are healthy.
    pub healthy: u32,
    /// All of its targets that may get requests.
    pub registered: u32,
    /// Whether its targets are the nodes of a cluster, which every other such group has as well: they say little about
    /// how much serves behind them.
    pub by_node: bool,
}

impl Backend {
    /// Healthy targets of all its groups.
    #[must_use]
    pub fn healthy(&self) -> u32 {
        self.groups.iter().map(|group| group.healthy).fold(0, u32::saturating_add)
    }

    /// Its healthy targets, each once: groups of nodes have the same ones.
    #[must_use]
    pub fn distinct(&self) -> u32 {
        let healthy = |by_node| {
            let of = self.groups.iter().filter(move |group| group.by_node == by_node);
            of.map(|group| group.healthy)
        };
        healthy(false).fold(healthy(true).max().unwrap_or(0), u32::saturating_add)
    }

    /// Its groups without a healthy target, also those that are empty.
    pub fn groups_without_healthy_target(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.healthy == 0)
    }
}
