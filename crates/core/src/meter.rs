//! A load balancer, as far as evidence and a roll-back need to know it.

use serde::{Deserialize, Serialize};

use crate::evidence::baseline::Baselines;
use crate::router::RouteId;

/// A load balancer and its target groups, named as CloudWatch's dimensions name them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The `LoadBalancer` dimension, `app/NAME/ID`: the end of its ARN after `loadbalancer/`.
    pub id: String,
    /// The `TargetGroup` dimensions, `targetgroup/NAME/ID`, whose healthy hosts are watched. An older
    /// version left out those of the old side. In JSON without the `targetgroup/`: 500 of them travel with the
    /// state.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "without_prefix")]
    pub target_groups: Vec<String>,
    /// What it did before the ramp: told of the old side's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baselines>,
}

/// Reads target groups with their prefix as well: an older version wrote it.
mod without_prefix {
    use serde::{Deserialize, Deserializer, Serializer};

    const PREFIX: &str = "targetgroup/";

    pub(super) fn serialize<S: Serializer>(groups: &[String], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(groups.iter().map(|group| group.strip_prefix(PREFIX).unwrap_or(group)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        let prefixed = |group: String| {
            if group.starts_with(PREFIX) { group } else { format!("{PREFIX}{group}") }
        };
        Ok(Vec::<String>::deserialize(from)?.into_iter().map(prefixed).collect())
    }
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
    /// `evaluates_target_health`: whether the old side's record does.
    pub(crate) const fn warning(self, evaluates_target_health: bool) -> Option<&'static str> {
        match (self, evaluates_target_health) {
            (Self::Dead, _) => Some("its old side has no registered target"),
            (_, true) => Some(
                "its old side is unhealthy for Route 53, which answers with the new one until every \
                 target group of the old one has a healthy target",
            ),
            (Self::Unhealthy, false) => {
                Some("its old side has no healthy target, and serves with unhealthy ones")
            }
            (Self::PartlyUnhealthy, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_groups_travel_without_their_prefix_and_are_read_with_it_as_well() {
        let group = "targetgroup/k8s-web/0123456789abcdef".to_owned();
        let id = "app/k8s-blue/1".to_owned();
        let balancer = LoadBalancer { id, target_groups: vec![group], baseline: None };
        let json = serde_json::to_string(&balancer).expect("JSON");
        assert_eq!(json, r#"{"id":"app/k8s-blue/1","target_groups":["k8s-web/0123456789abcdef"]}"#);
        let older = json.replace("[\"k8s-web", "[\"targetgroup/k8s-web");
        for json in [json, older] {
            assert_eq!(serde_json::from_str::<LoadBalancer>(&json).expect("read"), balancer);
        }
    }
}
