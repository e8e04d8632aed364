//! What can happen to a cutover, as data: the request to send, what befalls the world meanwhile,
//! and how it must end.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::edges::Caching;

/// A story for the lab to play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Everything goes well: all traffic ends on the new cluster.
    #[default]
    Healthy,
    /// The new cluster begins to fail under load: the traffic goes back.
    Regressed,
    /// Somebody else changes a route's weights: cutover leaves it alone and takes the others back.
    Drift,
    /// The event comes before the new cluster can serve: cutover waits, then goes on.
    NotReady,
    /// No request reaches the new cluster: without evidence the traffic goes back.
    NoTraffic,
}

/// What befalls the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Incident {
    /// The new cluster's load balancer and records appear, still without targets.
    NewRecords,
    /// The new cluster's targets pass their health checks.
    NewTargets,
    /// The new cluster answers this share of its requests with status 500, 0 to 1.
    NewErrors(f64),
    /// A second writer gives the first route these weights.
    OtherWeights {
        /// Of the old side.
        old: u16,
        /// Of the new side.
        new: u16,
    },
}

/// When it befalls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// So long after the event.
    After(Duration),
    /// When Route 53 shows the weights of this step, counted from 1.
    Step(usize),
}

/// A scenario, spelled out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is going to happen, in one sentence.
    pub summary: &'static str,
    /// The event's detail: a request.
    pub request: Value,
    /// Whether the new side stands before the event.
    pub new_side_ready: bool,
    /// How edges keep DNS answers.
    pub caching: Caching,
    /// What befalls the world, in this order.
    pub incidents: Vec<(When, Incident)>,
    /// The end that the execution must come to.
    pub end: &'static str,
    /// The weights that the first route must have then, old and new.
    pub first_route: (i64, i64),
    /// The weights that the other routes must have then.
    pub other_routes: (i64, i64),
}

/// Share of requests that fails on either side when nothing is wrong.
pub const ERROR_RATE_USUAL: f64 = 0.001;

impl Scenario {
    /// Its name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Regressed => "regressed",
            Self::Drift => "drift",
            Self::NotReady => "not-ready",
            Self::NoTraffic => "no-traffic",
        }
    }

    /// What is to be done and expected.
    #[must_use]
    pub fn plan(self, zone: &str, new: &str) -> Plan {
        // `old` and `routes` are left out: cutover finds them in the zone.
        let request = json!({
            "new": new,
            "hosted_zone": zone,
            "ramp": {"linear": {"step_percent": 20, "bake_s": 8}},
            "health": {
                "period_s": 1,
                "metrics_delay_s": 2,
                "check_interval_s": 2,
                "requests_min": 20,
                "error_rate_max": 0.05,
                "hold_max_s": 20,
            },
            "ready_timeout_s": 90,
        });
        let healthy = Plan {
            summary: "the new cluster serves as well as the old one; all traffic moves to it",
            request,
            new_side_ready: true,
            caching: Caching::Ttl,
            incidents: vec![],
            end: "Completed",
            first_route: (0, 100),
            other_routes: (0, 100),
        };
        match self {
            Self::Healthy => healthy,
            Self::Regressed => Plan {
                summary: "the new cluster fails 15 % of its requests from the second step on; \
                          the traffic goes back",
                incidents: vec![(When::Step(2), Incident::NewErrors(0.15))],
                end: "RolledBack",
                first_route: (100, 0),
                other_routes: (100, 0),
                ..healthy
            },
            Self::Drift => Plan {
                summary: "a second writer changes one route in the third step; cutover leaves that \
                          one as it is and takes the other back",
                incidents: vec![(When::Step(3), Incident::OtherWeights { old: 70, new: 30 })],
                end: "Drifted",
                first_route: (70, 30),
                other_routes: (100, 0),
                ..healthy
            },
            Self::NotReady => Plan {
                summary: "the new cluster's records come 8 s after the event and its targets after \
                          20 s; cutover waits for them",
                new_side_ready: false,
                incidents: vec![
                    (When::After(Duration::from_secs(8)), Incident::NewRecords),
                    (When::After(Duration::from_secs(20)), Incident::NewTargets),
                ],
                ..healthy
            },
            Self::NoTraffic => {
                let mut request = healthy.request;
                if let Some(hold) = request.pointer_mut("/health/hold_max_s") {
                    *hold = json!(8);
                }
                Plan {
                    summary: "the edges never ask DNS again, so no request reaches the new \
                              cluster; without evidence the traffic goes back",
                    request,
                    caching: Caching::Forever,
                    end: "RolledBack",
                    first_route: (100, 0),
                    other_routes: (100, 0),
                    ..healthy
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_scenario_sends_a_request_that_is_allowed() {
        for scenario in Scenario::value_variants() {
            let plan = scenario.plan("lab.example.com", "green");
            let parsed = cutover_core::Request::parse(&json!({}), &plan.request);
            let request = parsed.unwrap_or_else(|failure| panic!("{scenario:?}: {failure}"));
            assert_eq!(request.health.period_s, 1);
        }
    }

    #[test]
    fn incidents_happen_on_steps_that_the_ramp_has() {
        for scenario in Scenario::value_variants() {
            for (when, _) in scenario.plan("lab.example.com", "green").incidents {
                assert!(!matches!(when, When::Step(step) if !(1..=5).contains(&step)));
            }
        }
    }
}
