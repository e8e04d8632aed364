//! A load balancer, as far as evidence and a roll-back need to know it.

use serde::{Deserialize, Serialize};

use crate::evidence::baseline::Baselines;
use crate::router::RouteId;

/// A load balancer and its target groups, named as CloudWatch's dimensions name them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The `LoadBalancer` dimension, `app/NAME/ID`: the end of its ARN after `loadbalancer/`.
    pub id: String,
    /// Names of the groups whose healthy targets are watched, as the telemetry has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "hosts")]
    pub target_groups: Vec<String>,
    /// What it did before the ramp: told of the old side's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baselines>,
}

/// What keeps an old side from serving well when a route is to go back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldSide {
    /// It has no registered target, or its load balancer is gone: it cannot serve at all.
    Dead,
    /// Targets are registered and none is healthy. An application load balancer then sends requests to all
    /// of them. Source: Elastic Load Balancing user guide, "Health checks for Application Load Balancer
    /// target groups" (fail open).
    Unhealthy,
    /// One of its target groups has no healthy target. The others serve, but Route 53 takes the whole
    /// load balancer for unhealthy where its record evaluates the target's health.
    /// Source: Route 53 developer guide, "Values specific for weighted alias records".
    PartlyUnhealthy,
}

impl OldSide {
    /// The routes that cannot go back.
    #[must_use]
    pub fn dead(old_sides: &[(RouteId, Self)]) -> Vec<RouteId> {
        let dead = old_sides.iter().filter(|(_, old_side)| *old_side == Self::Dead);
        dead.map(|(route, _)| route.clone()).collect()
    }

    /// What a person must know about a route that has gone back to it; `None` when nothing.
    /// `all_or_nothing`: whether the old side's record does.
    pub(crate) const fn warning(self, all_or_nothing: bool) -> Option<&'static str> {
        match (self, all_or_nothing) {
            (Self::Dead, _) => Some("its old side has no registered target"),
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
