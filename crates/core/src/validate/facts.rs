//! What validation needs to know of the world, in plain types.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cutover::{CountedBy, Execution};
use crate::evidence::Series;
use crate::evidence::baseline::Baseline;
use crate::request::health::Health;
use crate::router::survey::{Backend, Behind, Found};
use crate::router::{RouteId, Side};

/// Which execution validates, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The execution.
    pub execution: Execution,
    /// When the execution started.
    pub started_at: Timestamp,
    /// Now.
    pub now: Timestamp,
}

impl Attempt {
    pub(super) fn waited_s(&self) -> i64 {
        self.now.as_second() - self.started_at.as_second()
    }
}

/// A running execution of the same state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its input, JSON text; `None` when it could not be had.
    pub input: Option<String>,
}

/// How one route's requests enter an endpoint that other names may share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entrance {
    /// What serves this route and nothing else; `None` where that cannot be told.
    pub own: Option<Backend>,
    /// Other names whose requests the endpoint takes.
    pub others: BTreeSet<String>,
    /// Each door of the endpoint, by what people call it.
    pub doors: BTreeMap<String, Door>,
}

/// One door of an endpoint: where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The fixed answer that all requests of the route get, after "answers with"; `None` where targets get some of them,
    /// or it leads elsewhere.
    pub fixed_answer: Option<String>,
    /// Ids of the certificates that it shows, none without TLS; `None` where nobody has looked.
    pub certificates: Option<BTreeSet<String>>,
}

/// The hour of a day in which most requests came, or most hosts were healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busiest {
    /// When it began.
    pub at: Timestamp,
    /// Its requests; `None` where none are counted: then it is the hour with most hosts.
    pub requests: Option<u64>,
    /// Most hosts that were healthy at once in it.
    pub hosts: u32,
}

/// What was found out about endpoints, alarms and executions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// What stands behind each endpoint, by its id.
    pub behind: BTreeMap<String, Behind>,
    /// Endpoints that count no requests and are accepted, because the request names counts of its own.
    pub uncounted: BTreeSet<String>,
    /// How the requests of a route enter an endpoint, by the endpoint's id; none where nobody has looked.
    pub entrances: BTreeMap<(String, RouteId), Entrance>,
    /// The busiest hour of the last day of each meter of the old side.
    pub busiest: BTreeMap<String, Busiest>,
    /// What others counted of the old side in the last day, by the signal's name.
    pub own_days: BTreeMap<String, Baseline>,
    /// Of the named alarms those that exist, and whether they are in ALARM.
    pub alarms: Vec<(String, bool)>,
    /// Other running executions.
    pub running: Vec<Running>,
}

impl Facts {
    /// Takes what counts no requests for what it is beside that where there are counts of one's own, and refuses it
    /// otherwise.
    #[must_use]
    pub fn settled(mut self, health: &Health) -> Self {
        let has_own_counts = !health.signals.is_empty();
        for (id, found) in &mut self.behind {
            let Behind::Uncounted { behind, code, why } = found else { continue };
            *found = if has_own_counts {
                self.uncounted.insert(id.clone());
                (**behind).clone()
            } else {
                Behind::Never { code, why: std::mem::take(why) }
            };
        }
        self
    }

    /// Whether a side of a route counts no requests, so that both are judged by what others count.
    pub(super) fn is_uncounted(&self, found: &Found) -> bool {
        [&found.old, &found.new].iter().any(|endpoint| self.uncounted.contains(&endpoint.id))
    }

    /// What tells a route's requests.
    pub(super) fn counted_by(&self, found: &Found) -> CountedBy {
        if self.is_uncounted(found) {
            CountedBy::OwnCounts
        } else if self.is_told_apart(found) {
            CountedBy::MetersAlone
        } else {
            CountedBy::Meters
        }
    }

    /// What stands behind an endpoint, if it counts requests.
    pub(super) fn backend(&self, endpoint: &str) -> Option<&Backend> {
        match self.behind.get(endpoint)? {
            Behind::Found(backend) => Some(backend),
            Behind::Nothing { .. } | Behind::Uncounted { .. } | Behind::Never { .. } => None,
        }
    }

    /// How a route's requests enter an endpoint, if somebody has looked.
    #[must_use]
    pub fn entrance(&self, endpoint: &str, route: &RouteId) -> Option<&Entrance> {
        self.entrances.get(&(endpoint.to_owned(), route.clone()))
    }

    /// What stands behind a side of a route, if it counts requests: what serves the route alone, where that can be told
    /// of both sides, so that they are counted alike.
    #[must_use]
    pub fn serving(&self, found: &Found, side: Side) -> Option<&Backend> {
        let endpoint = &found.endpoint(side).id;
        let own = self.own(endpoint, &found.route).filter(|_| self.is_told_apart(found));
        own.or_else(|| self.backend(endpoint))
    }

    /// Whether both sides have something that serves this route alone, so that no other requests are counted with its own.
    pub(super) fn is_told_apart(&self, found: &Found) -> bool {
        let own = |side| self.own(&found.endpoint(side).id, &found.route);
        own(Side::Old).is_some() && own(Side::New).is_some()
    }

    /// What serves a route alone behind an endpoint.
    pub(super) fn own(&self, endpoint: &str, route: &RouteId) -> Option<&Backend> {
        self.entrance(endpoint, route)?.own.as_ref()
    }
}

/// By meter, what it counted up to now: [`BASELINE_PERIODS`](crate::BASELINE_PERIODS) periods at most, the newest
/// last. Those of the old side, and of both sides when the cutover is resumed. What others counted stands under
/// [`own_counts_of`] a side.
pub type History = BTreeMap<String, Series>;

/// The name in a [`History`] of what the first of the request's own signals counted of a side.
#[must_use]
pub fn own_counts_of(side: Side) -> String {
    format!("own counts of {side:?}")
}
