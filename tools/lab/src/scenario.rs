//! What can happen to a cutover, as data: the request to send, what befalls the world meanwhile,
//! and how it must end.

use std::time::Duration;

use clap::ValueEnum;
use cutover_core::{BASELINE_PERIODS, COMPLETED, DRIFTED, ROLLED_BACK, limits};
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
    /// One of two host names behind a shared load balancer gets a fixed 404: the traffic goes back.
    MissingRule,
    /// The new cluster's load balancer takes no connection any more: the traffic goes back.
    BlackHole,
    /// Both clusters fail for good after a shift: the move itself may be why, and the traffic goes back.
    SharedDatabase,
    /// Two host names behind a shared load balancer fail very differently: all traffic moves all the same.
    SharedAlb,
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
    /// Something that both clusters need fails: both answer this share of their requests with status 500.
    SharedErrors {
        /// The share, 0 to 1.
        rate: f64,
        /// Whole seconds, from the next one that begins; `None`: for good.
        seconds: Option<u8>,
    },
    /// The new cluster's rule for the last host name takes another name's requests: somebody edited its Ingress.
    NewRuleLost,
    /// No request reaches the new cluster's load balancer: somebody edited its security group.
    NewUnreachable,
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

/// How the load balancer of a cluster serves the host names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hosting {
    /// All of them by one target group.
    Together,
    /// Each by a target group and a rule of its own. This share of its requests fails on either side when nothing is
    /// wrong, 0 to 1.
    Apart([f64; 2]),
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
    /// How the host names are served.
    pub hosting: Hosting,
    /// Seconds for which the old side's traffic was counted before that of the lab itself.
    pub past_s: u32,
    /// How edges keep DNS answers.
    pub caching: Caching,
    /// What befalls the world, in this order.
    pub incidents: Vec<(When, Incident)>,
    /// The end that the execution must come to.
    pub end: &'static str,
    /// What the reason of the end must have in it, where it matters what decided.
    pub reason: &'static [&'static str],
    /// Whether it must end in less than `hold_max_s` after the event: by what was seen, and not because nothing was.
    pub before_hold_ends: bool,
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
/// found within 6 s of the second step's begin and 99 % within 18 s, where the old side's day is known, not counting what
/// it takes until a second is counted and checked.
const ERROR_RATE_REGRESSED: f64 = 0.03;

/// `hold_max_s` of the scenarios that must end before it: longer than any of them takes.
const HOLD_LONG_S: u16 = 120;

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
            Self::MissingRule => "missing-rule",
            Self::BlackHole => "black-hole",
            Self::SharedDatabase => "shared-database",
            Self::SharedAlb => "shared-alb",
        }
    }

    /// Whether it is played with a router: some need records and caches of DNS answers.
    #[must_use]
    pub const fn has(self, router: Router) -> bool {
        match router {
            Router::Route53 => true,
            Router::Alb => {
                matches!(self, Self::Healthy | Self::Regressed | Self::Noisy | Self::Drift)
            }
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
            Self::Regressed => regressed(router, healthy),
            Self::Noisy => noisy(router, healthy),
            Self::Drift => drift(router, healthy),
            Self::NotReady => not_ready(healthy),
            Self::NoTraffic => no_traffic(healthy),
            Self::MissingRule => missing_rule(healthy),
            Self::BlackHole => black_hole(healthy),
            Self::SharedDatabase => shared_database(healthy),
            Self::SharedAlb => shared_alb(healthy),
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
        hosting: Hosting::Together,
        past_s: 0,
        caching: Caching::Ttl,
        incidents: vec![],
        end: COMPLETED,
        reason: &[],
        before_hold_ends: false,
        limit_passed: false,
        first_route: (0, 100),
        other_routes: (0, 100),
    }
}

fn regressed(router: Router, healthy: Plan) -> Plan {
    Plan {
        summary: "the new cluster fails 3 % of its requests from the second step on, the old \
                  one 0.1 %: too few for the limit of 5 %, but evidence enough to take the \
                  traffic back",
        past_s: match router {
            Router::Route53 => BASELINE_PERIODS,
            // Its steps last long enough without.
            Router::Alb => 0,
        },
        incidents: vec![(When::Step(2), Incident::NewErrors(ERROR_RATE_REGRESSED))],
        end: ROLLED_BACK,
        reason: &["e = "],
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

fn noisy(router: Router, healthy: Plan) -> Plan {
    let burst = Incident::SharedErrors { rate: 0.4, seconds: Some(2) };
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
    Plan {
        summary: "the edges never ask DNS again, so no request reaches the new cluster; without \
                  evidence the traffic goes back",
        request: held_for(8, healthy.request),
        caching: Caching::Forever,
        end: ROLLED_BACK,
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

fn missing_rule(healthy: Plan) -> Plan {
    Plan {
        summary: "each cluster serves two host names behind one load balancer; from the second step \
                  on the new one has no rule for one of them, because somebody edited its Ingress, \
                  and answers a fixed 404 that no target counts; the traffic goes back",
        request: held_for(HOLD_LONG_S, healthy.request),
        hosting: Hosting::Apart([ERROR_RATE_USUAL; 2]),
        incidents: vec![(When::Step(2), Incident::NewRuleLost)],
        end: ROLLED_BACK,
        reason: &[
            "api.lab.example.com: requests vanish",
            "were answered 4xx before a side answered",
        ],
        before_hold_ends: true,
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

fn black_hole(healthy: Plan) -> Plan {
    Plan {
        summary: "from the second step on a security group lets no request reach the new cluster's \
                  load balancer: nobody counts them, and the sum of both sides falls; the traffic \
                  goes back",
        request: held_for(HOLD_LONG_S, healthy.request),
        incidents: vec![(When::Step(2), Incident::NewUnreachable)],
        end: ROLLED_BACK,
        reason: &["requests vanish on the way: the new side gets 0 %"],
        before_hold_ends: true,
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

fn shared_database(healthy: Plan) -> Plan {
    Plan {
        summary: "from the second step on both clusters fail 60 % of their requests and stay so, as \
                  they would if their database broke under both; the new cluster is no worse than \
                  the old one, but the day before had nothing like it: the traffic goes back",
        request: held_for(HOLD_LONG_S, healthy.request),
        past_s: BASELINE_PERIODS,
        incidents: vec![(When::Step(2), Incident::SharedErrors { rate: 0.6, seconds: None })],
        end: ROLLED_BACK,
        reason: &["the move itself may be the cause", "both sides have been over the 5 % limit"],
        before_hold_ends: true,
        first_route: (100, 0),
        other_routes: (100, 0),
        ..healthy
    }
}

fn shared_alb(healthy: Plan) -> Plan {
    Plan {
        summary: "each cluster serves two host names behind one load balancer, one of which always \
                  fails 2 % of its requests and the other 0.1 %; each is compared with itself, and \
                  all traffic moves",
        request: held_for(HOLD_LONG_S, healthy.request),
        hosting: Hosting::Apart([0.02, ERROR_RATE_USUAL]),
        before_hold_ends: true,
        ..healthy
    }
}

/// The request with another `hold_max_s`.
fn held_for(hold_max_s: u16, mut request: Value) -> Value {
    if let Some(hold) = request.pointer_mut("/health/hold_max_s") {
        *hold = json!(hold_max_s);
    }
    request
}

#[cfg(test)]
mod tests {
    use cutover_core::{
        Baseline, Baselines, Counts, Evidence, Judge, Lumps, Period, Regression, Request, Sent,
        Verdict, VerdictKind, judge,
    };
    use jiff::Timestamp;

    use super::*;
    use crate::edges;
    use crate::run::{EDGES, REQUESTS_PER_S, TTL_S};

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
        day: Option<&Baselines>,
        seconds: impl Iterator<Item = (Counts, Counts)>,
    ) -> Option<(i64, Regression)> {
        let health = request(plan).health;
        let mut judge = Judge::new(&health, 1, day);
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
    fn every_scenario_is_named_as_on_the_command_line_in_its_recording_and_in_the_readme() {
        let readme = include_str!("../../../README.md");
        for scenario in Scenario::value_variants() {
            let row = format!("\n| `{}` | ", scenario.name());
            assert!(readme.contains(&row), "{row}");
            let possible = scenario.to_possible_value().unwrap();
            assert_eq!(possible.get_name(), scenario.name());
            assert_eq!(json!(scenario), json!(scenario.name()));
        }
    }

    #[test]
    fn a_story_that_a_router_has_not_is_refused_with_those_that_it_has() {
        for scenario in [Scenario::NotReady, Scenario::NoTraffic, Scenario::SharedAlb] {
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
        let plan = plan(Scenario::Regressed, Router::Route53);
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let past = (0..plan.past_s).map(|_| counts(&mut random, 200, ERROR_RATE_USUAL));
            let errors = Baseline::of(past.map(Some), 20);
            let day = Baselines { errors, ..Baselines::default() };
            let seconds = std::iter::repeat_with(|| {
                let old = counts(&mut random, 120, ERROR_RATE_USUAL);
                (old, counts(&mut random, 80, ERROR_RATE_REGRESSED))
            });
            let found = regression(&plan, Some(&day), seconds);
            assert!(matches!(found, Some((0..20, Regression::Tested(0)))), "{seed}: {found:?}");
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
            assert_eq!(regression(&plan, None, seconds(|rate| rate)), None, "{router:?}");
            let alone = regression(&plan, None, seconds(|_| ERROR_RATE_USUAL));
            assert!(matches!(alone, Some((6, _))), "of the new side alone: {alone:?}");
        }
    }

    /// Seconds of a scenario before its second step begins, and of this until it has settled.
    const BEFORE_S: i64 = 10;
    const SETTLES_S: i64 = 4;

    /// What is judged of the second step, of whose `seconds` nothing is known but these counts of old and new, after
    /// ten seconds of the first.
    fn verdict(plan: &Plan, seconds: &[(Counts, Counts)], day: Option<&Baselines>) -> Verdict {
        let at = |second| Timestamp::from_second(second).unwrap();
        let period = |(second, (old, new)): (i64, &(Counts, Counts))| {
            let (old, new) = (Some(*old), Some(*new).filter(|new| new.requests > 0));
            Period { start: at(second), old, new, ..Period::default() }
        };
        let request = request(plan);
        let share = f64::from(request.ramp.steps()[1].percent) / 100.0;
        let lumps = Lumps::PerAnswer { resolvers: request.resolvers };
        let (since, linger_s) = (at(BEFORE_S), TTL_S);
        let evidence = Evidence {
            periods: (0..).zip(seconds).map(period).collect(),
            settled_at: Some(at(BEFORE_S + SETTLES_S)),
            sent: Some(Sent { share, since, lumps, linger_s, is_alone: false }),
            ..Evidence::default()
        };
        judge(&request.health, &evidence, 1, day)
    }

    /// What arrives of this many requests a second on both sides through the lab's edges, whose answers are drawn anew
    /// when their TTL is over: 20 % for the new side, then 40 %, of which some arrive.
    fn arrivals(seed: u64, requests: f64, arrive: bool) -> Vec<(Counts, Counts)> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut edges: Vec<(f64, bool)> =
            edges::sizes(EDGES).into_iter().map(|size| (size, false)).collect();
        let second = |second: i64| {
            let share = if second < BEFORE_S { 0.2 } else { 0.4 };
            let (mut old, mut new) = (0, 0);
            for (index, (size, is_new)) in (0..).zip(&mut edges) {
                if (second + index) % i64::from(TTL_S) == 0 {
                    *is_new = random.f64() < share;
                }
                let sent = requests * *size;
                let sent = (0..1000).filter(|_| random.f64() < sent / 1000.0).count();
                *(if *is_new { &mut new } else { &mut old }) += u64::try_from(sent).unwrap();
            }
            let new = if arrive || second < BEFORE_S { new } else { 0 };
            [old, new].map(|requests| Counts { requests, errors: 0 }).into()
        };
        (0..BEFORE_S + 100).map(second).collect()
    }

    /// The second of the step in which this is the verdict for the first time.
    fn first(
        plan: &Plan,
        seconds: &[(Counts, Counts)],
        is: impl Fn(&Verdict) -> bool,
    ) -> Option<usize> {
        let begin = usize::try_from(BEFORE_S + SETTLES_S).unwrap();
        (begin..seconds.len()).find(|until| is(&verdict(plan, &seconds[..*until], None)))
    }

    #[test]
    fn requests_that_vanish_are_found_while_the_step_is_held_and_lumps_are_not_taken_for_them() {
        // All routes are counted together, or half of the requests are those of one.
        for (scenario, requests) in
            [(Scenario::BlackHole, REQUESTS_PER_S), (Scenario::MissingRule, REQUESTS_PER_S / 2.0)]
        {
            let plan = plan(scenario, Router::Route53);
            let goes_back = |verdict: &Verdict| verdict.kind == VerdictKind::Regressed;
            for seed in 0..50 {
                let lost = arrivals(seed, requests, false);
                let found = first(&plan, &lost, goes_back);
                assert!(found.is_some_and(|second| second < 60), "{scenario:?} {seed}: {found:?}");
                let all = arrivals(seed, requests, true);
                assert_eq!(first(&plan, &all, goes_back), None, "{scenario:?} {seed}");
            }
        }
    }

    #[test]
    fn both_sides_that_fail_since_a_shift_go_back_after_a_day_that_had_nothing_like_it() {
        let plan = plan(Scenario::SharedDatabase, Router::Route53);
        let usual_rate = ERROR_RATE_USUAL;
        let errors = Baseline { stretches: 1440, usual_rate, ..Baseline::default() };
        let day = Baselines { errors, ..Baselines::default() };
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let seconds: Vec<_> = (0..BEFORE_S + SETTLES_S + 8)
                .map(|second| {
                    let (new, rate) = match second {
                        0..BEFORE_S => (40, ERROR_RATE_USUAL),
                        _ => (80, 0.6),
                    };
                    let old = counts(&mut random, 200 - new, rate);
                    (old, counts(&mut random, new, rate))
                })
                .collect();
            let known = verdict(&plan, &seconds, Some(&day));
            assert_eq!(known.kind, VerdictKind::Regressed, "{seed}: {}", known.reason);
            assert!(known.reason.contains(plan.reason[0]), "{seed}: {}", known.reason);
            let unknown = verdict(&plan, &seconds, None);
            assert_eq!(unknown.kind, VerdictKind::NotEnoughData, "{seed}: {}", unknown.reason);
        }
    }

    /// The rate of a burst that lasts in this second after the event.
    fn burst_rate(plan: &Plan, second: u64) -> Option<f64> {
        plan.incidents.iter().find_map(|(when, incident)| match (when, incident) {
            (When::After(time), Incident::SharedErrors { rate, seconds }) => {
                let passed = second.checked_sub(time.as_secs())?;
                (passed < u64::from((*seconds)?)).then_some(*rate)
            }
            _ => None,
        })
    }
}
