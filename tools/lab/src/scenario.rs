//! What can happen to a cutover, as data: the request to send, what befalls the world meanwhile,
//! and how it must end.

use std::time::Duration;

use clap::ValueEnum;
use cutover_core::{COMPLETED, DRIFTED, ROLLED_BACK, limits};
use serde::Serialize;
use serde_json::{Value, json};

use crate::edges::Caching;
use crate::error::LabError;

/// A story for the lab to play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Everything goes well: all traffic ends on the new cluster.
    #[default]
    Healthy,
    /// The new cluster begins to fail a little, far below the limit: the traffic goes back.
    Regressed,
    /// Both clusters fail now and then because of something behind both: all traffic moves all the same.
    Noisy,
    /// Somebody else changes a route's weights: cutover leaves it alone and takes the others back.
    Drift,
    /// The event comes before the new cluster can serve: cutover waits, then goes on.
    NotReady,
    /// No request reaches the new cluster: without evidence the traffic goes back.
    NoTraffic,
}

/// What splits the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Router {
    /// The weighted records of a zone: one load balancer for each cluster.
    #[default]
    Route53,
    /// The rules of one load balancer: a target group for each cluster.
    Alb,
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
    /// Something that both clusters need fails: both answer this share of their requests with status
    /// 500, and are well again after so many seconds.
    SharedErrors {
        /// The share, 0 to 1.
        rate: f64,
        /// Whole seconds, from the next one that begins.
        seconds: u8,
    },
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
    /// When the weights of this step are live, counted from 1.
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
    /// What the reason of the end must have in it, where it matters what decided.
    pub reason: Option<&'static str>,
    /// Whether a limit on the new side's error rate, without a look at the old side, must have been
    /// passed: in two of three seconds in a row.
    pub limit_passed: bool,
    /// The weights that the first route must have then, old and new.
    pub first_route: (i64, i64),
    /// The weights that the other routes must have then.
    pub other_routes: (i64, i64),
}

/// Share of requests that fails on either side when nothing is wrong.
pub const ERROR_RATE_USUAL: f64 = 0.001;

/// What the new cluster fails in `regressed`. In 1,000 simulated runs with the lab's traffic, half were
/// found within 7 s of the second step's begin and 99 % within 15 s, not counting what it takes until
/// a second is counted and checked.
const ERROR_RATE_REGRESSED: f64 = 0.03;

impl Router {
    /// Its name, as on the command line and in a request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route53 => "route53",
            Self::Alb => "alb",
        }
    }

    /// The scenarios that are played with it, for people.
    #[must_use]
    pub fn scenarios(self) -> String {
        let all = Scenario::value_variants().iter().filter(|scenario| scenario.has(self));
        all.map(|scenario| scenario.name()).collect::<Vec<_>>().join(", ")
    }

    /// Where the weights are, after "the weights".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Route53 => "in Route 53",
            Self::Alb => "of the rules",
        }
    }

    /// Seconds that a step takes beside its bake: until the change is live, the TTL, and the rest of a check's
    /// interval.
    #[must_use]
    pub fn beside_bake_s(self) -> f64 {
        match self {
            Self::Route53 => 6.5,
            Self::Alb => f64::from(limits::ALB_LIVE_IN_S) + 2.5,
        }
    }

    /// The ramp. A step of the router `alb` takes a minute more, because its service confirms no change: it gets
    /// fewer steps.
    fn ramp(self) -> Value {
        match self {
            Self::Route53 => json!({"linear": {"step_percent": 20, "bake_s": 8}}),
            Self::Alb => {
                json!([20, 60, 100].map(|percent| json!({"percent": percent, "bake_s": 8})))
            }
        }
    }

    /// The fields of a request that say where the routes are: in the zone, or at the listener, of this name.
    fn fields(self, place: &str) -> Value {
        match self {
            Self::Route53 => json!({"hosted_zone": place}),
            Self::Alb => json!({"router": {"alb": {"listener": place}}}),
        }
    }

    /// When a step in mid-ramp begins, with traffic on both sides.
    const fn middle(self) -> When {
        match self {
            Self::Route53 => When::Step(3),
            Self::Alb => When::Step(2),
        }
    }

    /// When both clusters begin to fail in `noisy`, in seconds after the event. While both have
    /// traffic: at 100 % there is nothing left to compare with, and the limit alone would count. With Route 53 the
    /// fourth step, in which few requests are left on the old side, does not begin before 40 s; with a load balancer
    /// the third, which is the last, not before 136 s.
    const fn bursts_at_s(self) -> [u64; 6] {
        match self {
            Self::Route53 => [5, 11, 17, 23, 29, 35],
            Self::Alb => [5, 27, 49, 71, 93, 115],
        }
    }
}

impl Scenario {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Regressed => "regressed",
            Self::Noisy => "noisy",
            Self::Drift => "drift",
            Self::NotReady => "not-ready",
            Self::NoTraffic => "no-traffic",
        }
    }

    /// Whether it is played with a router: some need records and caches of DNS answers.
    #[must_use]
    pub const fn has(self, router: Router) -> bool {
        match router {
            Router::Route53 => true,
            Router::Alb => !matches!(self, Self::NotReady | Self::NoTraffic),
        }
    }

    /// What is to be done and expected, in the zone or at the listener of this name.
    ///
    /// # Errors
    /// `NotPlayed` when there is no such story for the router.
    pub fn plan(self, router: Router, place: &str, new: &str) -> Result<Plan, LabError> {
        if !self.has(router) {
            let what = format!("the scenario {}", self.name());
            return Err(LabError::NotPlayed { what, router });
        }
        let healthy = healthy(router, place, new);
        Ok(match self {
            Self::Healthy => healthy,
            Self::Regressed => regressed(healthy),
            Self::Noisy => noisy(router, healthy),
            Self::Drift => drift(router, healthy),
            Self::NotReady => not_ready(healthy),
            Self::NoTraffic => no_traffic(healthy),
        })
    }
}

fn healthy(router: Router, place: &str, new: &str) -> Plan {
    // `old` and `routes` are left out: cutover finds them.
    let mut request = json!({
        "new": new,
        "ramp": router.ramp(),
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
    if let (Some(request), Value::Object(fields)) = (request.as_object_mut(), router.fields(place))
    {
        request.extend(fields);
    }
    Plan {
        summary: "the new cluster serves as well as the old one; all traffic moves to it",
        request,
        new_side_ready: true,
        caching: Caching::Ttl,
        incidents: vec![],
        end: COMPLETED,
        reason: None,
        limit_passed: false,
        first_route: (0, 100),
        other_routes: (0, 100),
    }
}

fn regressed(healthy: Plan) -> Plan {
    Plan {
        summary: "the new cluster fails 3 % of its requests from the second step on, the old \
                  one 0.1 %: too few for the limit of 5 %, but evidence enough to take the \
                  traffic back",
        incidents: vec![(When::Step(2), Incident::NewErrors(ERROR_RATE_REGRESSED))],
        end: ROLLED_BACK,
        reason: Some("e = "),
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

fn noisy(router: Router, healthy: Plan) -> Plan {
    let burst = Incident::SharedErrors { rate: 0.4, seconds: 2 };
    let at = |at_s| (When::After(Duration::from_secs(at_s)), burst);
    Plan {
        summary: "while both clusters have traffic, something behind both fails 40 % of all \
                  requests for 2 s, again and again; a fixed limit of 5 % would take the \
                  traffic back, but the new cluster is no worse than the old one, and all \
                  traffic moves to it",
        incidents: router.bursts_at_s().map(at).to_vec(),
        limit_passed: true,
        ..healthy
    }
}

fn drift(router: Router, healthy: Plan) -> Plan {
    Plan {
        summary: "a second writer changes one route in mid-ramp; cutover leaves that one as it is \
                  and takes the other back",
        incidents: vec![(router.middle(), Incident::OtherWeights { old: 70, new: 30 })],
        end: DRIFTED,
        first_route: (70, 30),
        other_routes: (100, 0),
        ..healthy
    }
}

fn not_ready(healthy: Plan) -> Plan {
    Plan {
        summary: "the new cluster's records come 8 s after the event and its targets after \
                  20 s; cutover waits for them",
        new_side_ready: false,
        incidents: vec![
            (When::After(Duration::from_secs(8)), Incident::NewRecords),
            (When::After(Duration::from_secs(20)), Incident::NewTargets),
        ],
        ..healthy
    }
}

fn no_traffic(healthy: Plan) -> Plan {
    let mut request = healthy.request;
    if let Some(hold) = request.pointer_mut("/health/hold_max_s") {
        *hold = json!(8);
    }
    Plan {
        summary: "the edges never ask DNS again, so no request reaches the new cluster; without \
                  evidence the traffic goes back",
        request,
        caching: Caching::Forever,
        end: ROLLED_BACK,
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

#[cfg(test)]
mod tests {
    use cutover_core::Regression;
    use cutover_core::{Counts, Judge, Period, Request};
    use jiff::Timestamp;

    use super::*;

    fn plan(scenario: Scenario, router: Router) -> Plan {
        let place = match router {
            Router::Route53 => "lab.example.com",
            Router::Alb => "lab:80",
        };
        scenario.plan(router, place, "green").unwrap()
    }

    /// Every story that is played.
    fn plans() -> impl Iterator<Item = (Scenario, Router, Plan)> {
        let routers = Router::value_variants().iter().copied();
        let all = routers.flat_map(|r| Scenario::value_variants().iter().map(move |s| (*s, r)));
        all.filter(|(s, r)| s.has(*r)).map(|(s, r)| (s, r, plan(s, r)))
    }

    fn request(plan: &Plan) -> Request {
        let parsed = Request::parse(&json!({}), &plan.request, &adapters::router::SYNTAXES, 1);
        parsed.unwrap_or_else(|failure| panic!("{}: {failure}", plan.summary))
    }

    /// The second in which a scenario's request is judged to go back, and what speaks for it, when each
    /// second brings this.
    fn regression(
        plan: &Plan,
        seconds: impl Iterator<Item = (Counts, Counts)>,
    ) -> Option<(i64, Regression)> {
        let health = request(plan).health;
        let mut judge = Judge::new(&health, 1, None);
        (0..).zip(seconds).find_map(|(second, (old, new))| {
            let start = Timestamp::from_second(second).unwrap();
            let (old, new) = (Some(old), Some(new));
            let period = Period { start, old, new, ..Period::default() };
            judge.see(&period, true);
            Some((second, judge.regression()?))
        })
    }

    /// What a side counts in a second.
    fn counts(random: &mut fastrand::Rng, requests: u64, error_rate: f64) -> Counts {
        let failed = (0..requests).filter(|_| random.f64() < error_rate).count();
        Counts { requests, errors: u64::try_from(failed).unwrap() }
    }

    #[test]
    fn every_scenario_sends_a_request_that_is_allowed() {
        for (_, router, plan) in plans() {
            let request = request(&plan);
            assert_eq!(request.health.period_s, 1);
            assert_eq!(request.router.kind, router.name());
        }
    }

    #[test]
    fn every_scenario_is_named_as_on_the_command_line_and_in_its_recording() {
        for scenario in Scenario::value_variants() {
            let possible = scenario.to_possible_value().unwrap();
            assert_eq!(possible.get_name(), scenario.name());
            assert_eq!(json!(scenario), json!(scenario.name()));
        }
    }

    #[test]
    fn a_story_that_a_router_has_not_is_refused_with_those_that_it_has() {
        for scenario in [Scenario::NotReady, Scenario::NoTraffic] {
            let refused = scenario.plan(Router::Alb, "lab:80", "green").unwrap_err().to_string();
            let told = format!(
                "The lab does not play the scenario {} with --router alb. Take the scenario healthy, regressed, noisy, drift, or --router route53.",
                scenario.name()
            );
            assert_eq!(refused, told);
        }
    }

    #[test]
    fn incidents_happen_in_order_and_on_steps_that_the_ramp_has() {
        for (scenario, router, plan) in plans() {
            let steps = request(&plan).ramp.steps().len();
            let mut last = Duration::ZERO;
            for (when, _) in plan.incidents {
                match when {
                    When::Step(step) => assert!((1..=steps).contains(&step), "{scenario:?}"),
                    When::After(time) => {
                        let alone = "a second brings one incident at most";
                        assert!(time > last, "{scenario:?} {router:?}: {alone}");
                        last = time;
                    }
                }
            }
        }
    }

    #[test]
    fn regressed_is_found_by_evidence_and_not_by_the_limit() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let seconds = std::iter::repeat_with(|| {
                let old = counts(&mut random, 120, ERROR_RATE_USUAL);
                (old, counts(&mut random, 80, ERROR_RATE_REGRESSED))
            });
            let found = regression(&plan(Scenario::Regressed, Router::Route53), seconds);
            assert!(matches!(found, Some((0..15, Regression::Tested(0)))), "{seed}: {found:?}");
        }
    }

    #[test]
    fn noisy_is_over_the_limit_but_speaks_against_neither_side() {
        // As much on the new side as the steps before the last bring, or the first three.
        for (router, shares, step_s) in
            [(Router::Route53, &[40, 80, 120][..], 15), (Router::Alb, &[40, 120], 70)]
        {
            let plan = plan(Scenario::Noisy, router);
            let rate = |second: u64| burst_rate(&plan, second).unwrap_or(ERROR_RATE_USUAL);
            let shares = shares.iter().flat_map(|new| std::iter::repeat_n(*new, step_s));
            let seconds = |old_rate: fn(f64) -> f64| {
                let mut random = fastrand::Rng::with_seed(1);
                (0..).zip(shares.clone()).map(move |(second, new)| {
                    let old = counts(&mut random, 200 - new, old_rate(rate(second)));
                    (old, counts(&mut random, new, rate(second)))
                })
            };
            assert_eq!(regression(&plan, seconds(|rate| rate)), None, "{router:?}");
            let alone = regression(&plan, seconds(|_| ERROR_RATE_USUAL));
            assert!(matches!(alone, Some((6, _))), "of the new side alone: {alone:?}");
        }
    }

    /// The rate of a burst that lasts in this second after the event.
    fn burst_rate(plan: &Plan, second: u64) -> Option<f64> {
        plan.incidents.iter().find_map(|(when, incident)| match (when, incident) {
            (When::After(time), Incident::SharedErrors { rate, seconds }) => {
                let passed = second.checked_sub(time.as_secs())?;
                (passed < u64::from(*seconds)).then_some(*rate)
            }
            _ => None,
        })
    }
}
