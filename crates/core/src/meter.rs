//! Where requests are counted, and what a roll-back must know of an old side.

use serde::{Deserialize, Serialize};

use crate::evidence::baseline::Baselines;
use crate::router::RouteId;

/// Where one side's requests are counted. Routes may share one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    /// Names it to the telemetry, which alone knows what it means.
    pub id: String,
    /// Names of the groups of targets whose healthy hosts are watched, as the telemetry has them. A state of long ago
    /// lacks those of the old side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// What it counted before the ramp; only meters of the old side have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baselines>,
}

/// A meter of something that was made anew: its names are the same, and the telemetry knows it, or its hosts alone, by
/// another id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeAnew {
    /// The id of the meter.
    pub meter: String,
    /// The id that it has from now on, by which what it counted before is found as well. The same where only its hosts are
    /// others.
    pub id: String,
    /// As [`Meter::hosts`].
    pub hosts: Vec<String>,
    /// What was made anew, after "the new side's".
    pub called: String,
}

/// A route that must go back, and what is to be known of its old side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoingBack {
    /// The route.
    pub route: RouteId,
    /// The id of its old side's meter.
    pub meter: String,
    /// Whether its router leaves the old side out while any group of targets behind the same endpoint has no healthy
    /// one, also a group that the meter does not count.
    pub all_or_nothing: bool,
}

/// What keeps an old side from serving well when a route is to go back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldSide {
    /// It has no registered target, or is gone: it cannot serve at all.
    Dead,
    /// It was made anew, and is reached by another address than the one that the route's requests go to.
    Replaced,
    /// Targets are registered and none is healthy. All of them get requests then.
    Unhealthy,
    /// One of its groups of targets has no healthy one. The others serve; a router for which a side is
    /// [all or nothing](crate::Endpoint::all_or_nothing) leaves all of them out.
    PartlyUnhealthy,
}

impl OldSide {
    /// The routes that cannot go back.
    #[must_use]
    pub fn dead(old_sides: &[(RouteId, Self)]) -> Vec<RouteId> {
        let is_dead = |old_side| matches!(old_side, Self::Dead | Self::Replaced);
        let dead = old_sides.iter().filter(|(_, old_side)| is_dead(*old_side));
        dead.map(|(route, _)| route.clone()).collect()
    }

    /// What a person must know about a route that has gone back to it; `None` when nothing.
    /// `all_or_nothing`: whether its router leaves it out while a group of its targets has no healthy one.
    pub(crate) const fn warning(self, all_or_nothing: bool) -> Option<&'static str> {
        match (self, all_or_nothing) {
            (Self::Dead, _) => Some("its old side has no registered target"),
            (Self::Replaced, _) => {
                Some("its old side was made anew: its requests may go to an address that is gone")
            }
            (_, true) => Some(
                "its old side is left out by its router, which sends everything to the new one until every \
                 group of the old one's targets has a healthy one",
            ),
            (Self::Unhealthy, false) => {
                Some("its old side has no healthy target, and serves with unhealthy ones")
            }
            (Self::PartlyUnhealthy, false) => None,
        }
    }
}
