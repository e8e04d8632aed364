//! The request: what a person or an event asks for.

pub mod fields;
pub mod health;
mod judgeable;
pub mod probe;
pub mod ramp;
pub mod router;
mod signals;
pub mod start;

use serde_json::{Value, json};

use crate::failure::{Failure, Problem};
use crate::limits::{ALARMS_PER_CALL, EXECUTION_S_MAX, SHORT_PERIODS_S, SIDE_NAME_CHARS_MAX};
use crate::percent::Percent;
use crate::request::fields::Fields;
use crate::request::health::{Health, LatencyBy, OnNoData};
use crate::request::probe::Probe;
use crate::request::ramp::Ramp;
use crate::request::router::RouterSyntax;
use crate::router::RouteId;
use crate::router::lumps::{RESOLVERS, RESOLVERS_MAX};
use crate::router::survey::RouterRef;

/// What to do with routes that external-dns owns, whose weights it may write back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExternalDns {
    /// Say so and go on.
    Warn,
    /// Refuse them.
    Refuse,
}

/// A request whose every field is in range.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the request by itself")]
pub struct Request {
    /// Name of the new side.
    pub new: String,
    /// Name of the old side; without one, the one that carries all weight today.
    pub old: Option<String>,
    /// The router that splits the routes, and its place as the request names it.
    pub router: RouterRef,
    /// The routes; without any, every one that both sides have.
    pub routes: Option<Vec<RouteId>>,
    /// The steps.
    pub ramp: Ramp,
    /// How evidence is read and judged.
    pub health: Health,
    /// Healthy hosts that the new side needs, in percent of the old side's, 0–1000.
    pub capacity_min_percent: u32,
    /// Number of DNS resolvers that the traffic comes through, 1–10,000: fewer make the split lumpier.
    pub resolvers: u32,
    /// Whether a failed route goes back alone.
    pub isolate: bool,
    /// With `isolate`: more failed routes than this roll everything back.
    pub max_failed_routes: u32,
    /// What to do with routes that external-dns owns.
    pub external_dns: ExternalDns,
    /// Seconds since the execution's start during which "not ready yet" is tried again.
    pub ready_timeout_s: u32,
    /// Go on from the live split instead of insisting on (all, 0).
    pub resume: bool,
    /// Put a fence beside each route, which each write replaces.
    pub fence: bool,
    /// Requests of cutover's own to both sides before the start; none without it.
    pub probe: Option<Probe>,
    /// Only check and plan.
    pub dry_run: bool,
    /// What was laid under it: another execution's input is read over the same.
    pub defaults: Value,
}

/// Kinds of numbers, for people.
const SECONDS: &str = "a whole number of seconds";
const WHOLE: &str = "a whole number";
const NUMBER: &str = "a number";
/// Most routes that a request may name.
const ROUTES_MAX: usize = 1000;
impl Request {
    /// Reads a request over its defaults: a field of `request` stands before the same one of
    /// `defaults`, and so do the fields in `health`. A default that is overridden must be allowed as well.
    ///
    /// `syntaxes` are those of the routers that there are; the first one is meant when the request names none.
    /// `period_s_min` is the shortest period that the metrics have, in seconds:
    /// [`PERIOD_S_MIN`](crate::request::health::PERIOD_S_MIN) on AWS, less at a desk or on an emulator.
    ///
    /// # Errors
    /// `InvalidInput` with every problem: unknown, missing and out-of-range fields, and `null`.
    pub fn parse(
        defaults: &Value,
        request: &Value,
        syntaxes: &[RouterSyntax],
        period_s_min: u32,
    ) -> Result<Self, Failure> {
        let mut problems = vec![];
        let (Value::Object(defaults), Value::Object(request)) = (defaults, request) else {
            let not_an_object =
                |what, value| format!("{what} {}; allowed: a JSON object", fields::shown(value));
            if !defaults.is_object() {
                let message = not_an_object("the defaults are", defaults);
                problems.push(Problem::new("invalid_defaults", message));
            }
            if !request.is_object() {
                let message = not_an_object("the request is", request);
                problems.push(Problem::new("invalid_request", message));
            }
            return Err(Failure::InvalidInput(problems));
        };
        let fields = Fields::over(defaults.clone(), request.clone(), &mut problems);
        let parsed = Self::read(fields, syntaxes, period_s_min);
        match parsed {
            Some(request) if problems.is_empty() => {
                Ok(Self { defaults: Value::Object(defaults.clone()), ..request })
            }
            _ => Err(Failure::InvalidInput(problems)),
        }
    }

    /// Every reason why its ramp cannot be walked, when a change takes `settle_s` seconds to show: it is too long for
    /// one execution, or leaves no time to judge.
    #[must_use]
    pub fn unfit(&self, settle_s: u32) -> Vec<Problem> {
        let history = self.ramp.check_history(&self.health, settle_s, self.ready_timeout_s);
        let longest_s = self.ramp.duration_s(settle_s)
            + u64::from(self.ready_timeout_s)
            + u64::from(self.health.hold_max_s);
        let duration = (longest_s > EXECUTION_S_MAX).then(|| {
            let message = format!(
                "ready_timeout_s, hold_max_s and the ramp come to {longest_s} s; an execution may \
                 take {EXECUTION_S_MAX} s: shorten one of them"
            );
            Problem::new("ramp_too_slow", message)
        });
        history.err().into_iter().chain(duration).chain(self.never_judged()).collect()
    }

    fn read(mut fields: Fields<'_>, syntaxes: &[RouterSyntax], period_s_min: u32) -> Option<Self> {
        let identifier = "the name of a cluster (a set identifier of 1 to 128 characters)";
        let is_identifier = |id: &String| (1..=SIDE_NAME_CHARS_MAX).contains(&id.chars().count());
        let new = fields.required("new", identifier, is_identifier);
        let old_label = fields.label("old");
        let old = fields.optional("old", identifier, is_identifier);
        if old.is_some() && old == new {
            let allowed = "another name than that of new: no cluster is cut over to itself";
            fields.refuse(&old_label, &json!(old), allowed);
        }
        let (syntax, router) = router::read(&mut fields, syntaxes).unzip();
        let route_allowed = syntax.map_or("a text", |syntax| syntax.route_allowed);
        let named: Option<Vec<RouteId>> = fields.list(
            "routes",
            &(1..=ROUTES_MAX),
            [
                "a list of 1 to 1000 routes, or nothing to take all that have both sides",
                route_allowed,
            ],
            |name| syntax.map_or_else(|| Some(RouteId::from(name)), |syntax| (syntax.route)(name)),
        );
        let ramp = fields
            .read("ramp", Ramp::parse)
            .or_else(|| Percent::from_halves(20).and_then(|stride| Ramp::linear(stride, 300)));
        let health = read_health(fields.object("health"), period_s_min);
        let flag = "true or false";
        let capacity_min_percent = fields.within("capacity_min_percent", 100, WHOLE, 0..=1_000);
        let resolvers = fields.within("resolvers", RESOLVERS, WHOLE, 1..=RESOLVERS_MAX);
        let isolate = fields.or("isolate", false, flag, |_| true);
        let max_failed_routes = fields.within("max_failed_routes", 1, WHOLE, 0..=1_000);
        let external_dns =
            fields.or("external_dns", ExternalDns::Warn, "\"warn\" or \"refuse\"", |_| true);
        let ready_timeout_s = fields.within("ready_timeout_s", 7200, SECONDS, 0..=86_400);
        let resume = fields.or("resume", false, flag, |_| true);
        let fence = fields.or("fence", true, flag, |_| true);
        let dry_run = fields.or("dry_run", false, flag, |_| true);
        let probe = fields.object_if_given("probe").and_then(Probe::read);
        fields.finish();
        Some(Self {
            new: new?,
            old,
            router: router.flatten()?,
            routes: named,
            ramp: ramp?,
            health,
            capacity_min_percent,
            resolvers,
            isolate,
            max_failed_routes,
            external_dns,
            ready_timeout_s,
            resume,
            fence,
            probe,
            dry_run,
            defaults: Value::Null,
        })
    }
}

impl Health {
    /// Reads a policy for periods of any length: a request's `health`, by itself.
    ///
    /// # Errors
    /// `InvalidInput` with every problem: unknown and out-of-range fields, and `null`.
    pub fn parse(value: &Value) -> Result<Self, Failure> {
        let mut problems = vec![];
        let fields = Fields::of(value.clone(), "health.".to_owned(), &mut problems);
        let health = read_health(fields, 1);
        if problems.is_empty() { Ok(health) } else { Err(Failure::InvalidInput(problems)) }
    }
}

fn read_health(mut fields: Fields<'_>, period_s_min: u32) -> Health {
    let default = Health::default();
    let short: Vec<u32> = SHORT_PERIODS_S.into_iter().filter(|s| *s >= period_s_min).collect();
    let period_ok =
        |s: &u32| short.contains(s) || ((60..=3600).contains(s) && s.is_multiple_of(60));
    let period_allowed = if short.is_empty() {
        "a multiple of 60 up to 3600 (the metrics are counted by the minute)".to_owned()
    } else {
        format!("a multiple of 60 up to 3600, or one of {short:?}")
    };
    let mut health = Health {
        period_s: fields.or("period_s", default.period_s, &period_allowed, period_ok),
        metrics_delay_s: fields.within(
            "metrics_delay_s",
            default.metrics_delay_s,
            SECONDS,
            0..=3_600,
        ),
        check_interval_s: fields.within(
            "check_interval_s",
            default.check_interval_s,
            SECONDS,
            1..=3_600,
        ),
        requests_min: fields.within("requests_min", default.requests_min, WHOLE, 1..=1_000_000_000),
        error_rate_max: fields.within("error_rate_max", default.error_rate_max, NUMBER, 0.0..=1.0),
        alpha: fields.within("alpha", default.alpha, NUMBER, 1e-6..=0.5),
        tolerated_odds_ratio: fields.within(
            "tolerated_odds_ratio",
            default.tolerated_odds_ratio,
            NUMBER,
            1.0..=100.0,
        ),
        refused_tolerated_odds_ratio: fields
            .read("refused_tolerated_odds_ratio", refused_ratio)
            .map_or(default.refused_tolerated_odds_ratio, |ratio| {
                Some(ratio).filter(|r| r.is_finite())
            }),
        detectable_odds_ratio: 0.0,
        warm_up_s: fields.within_if_given("warm_up_s", SECONDS, 0..=3_600),
        latency_target_s: fields.within_if_given(
            "latency_target_s",
            "a number of seconds",
            0.001..=900.0,
        ),
        latency_by: fields.or(
            "latency_by",
            LatencyBy::Count,
            "\"count\" or \"percentile\"",
            |_| true,
        ),
        old_share_max: fields.within_if_given("old_share_max", NUMBER, 0.0..=1.0),
        requests_per_host_max: fields.optional(
            "requests_per_host_max",
            "a number of requests per second above 0, up to 1000000",
            |rate: &f64| *rate > 0.0 && *rate <= 1e6,
        ),
        signals: Vec::new(),
        alarms: fields
            .list(
                "alarms",
                &(0..=ALARMS_PER_CALL),
                [
                    "a list of up to 100 names of CloudWatch alarms",
                    "the name of a CloudWatch alarm (1 to 255 characters)",
                ],
                |name| (1..=255).contains(&name.chars().count()).then(|| name.to_owned()),
            )
            .unwrap_or(default.alarms),
        hold_max_s: fields.within("hold_max_s", default.hold_max_s, SECONDS, 0..=86_400),
        on_no_data: fields.or(
            "on_no_data",
            OnNoData::RollBack,
            "\"roll_back\" or \"advance\"",
            |_| true,
        ),
    };
    // Twice what is tolerated, where that is more than the default.
    let tolerated = health.tolerated_odds_ratio;
    let usual = default.detectable_odds_ratio.max(2.0 * tolerated);
    let label = fields.label("detectable_odds_ratio");
    let allowed = "a number above tolerated_odds_ratio, up to 1000";
    let detectable =
        fields.or("detectable_odds_ratio", usual, allowed, |r: &f64| *r > 1.0 && *r <= 1000.0);
    if detectable <= tolerated {
        let allowed = format!("a number above tolerated_odds_ratio ({tolerated}), up to 1000");
        fields.refuse(&label, &json!(detectable), &allowed);
    }
    health.detectable_odds_ratio = detectable;
    health.signals = fields
        .read("signals", |value, field, problems| signals::read(value, field, tolerated, problems))
        .unwrap_or_default();
    fields.finish();
    health
}

/// Reads the tolerated odds ratio of refused requests; infinity: they are not judged.
fn refused_ratio(value: &Value, field: &str, problems: &mut Vec<Problem>) -> Option<f64> {
    let ratio = value.as_f64().filter(|ratio| (1.0..=1000.0).contains(ratio));
    let read = if *value == json!("off") { Some(f64::INFINITY) } else { ratio };
    if read.is_none() {
        problems.push(fields::refused(field, value, "a number from 1 to 1000, or \"off\""));
    }
    read
}

/// `request` laid over `defaults`, field by field; `health` field by field as well.
pub(crate) fn overlaid(defaults: &Value, request: &Value) -> Value {
    let (Value::Object(defaults), Value::Object(request)) = (defaults, request) else {
        return request.clone();
    };
    let mut merged = defaults.clone();
    for (name, value) in request {
        let value = match defaults.get(name) {
            // What is no object is taken as it is.
            Some(default @ Value::Object(_)) if name == "health" => overlaid(default, value),
            _ => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::health::PERIOD_S_MIN;

    /// Two routers: one whose name may stand alone, and one that takes fields.
    pub(crate) const ROUTERS: [RouterSyntax; 2] = [
        RouterSyntax {
            kind: "names",
            own_fields: &["place"],
            place: |fields| {
                let place: Option<String> = fields.required("place", "a name", |_| true);
                place.map(|place| json!({ "place": place }))
            },
            route: |name| (!name.contains(' ')).then(|| RouteId::from(name.to_lowercase())),
            means: |asked, alias| asked == alias,
            route_allowed: "a name without spaces",
            meets: |place, scopes| {
                let named = place.get("place");
                named.is_none_or(|named| scopes.iter().any(|scope| named == scope.as_str()))
            },
        },
        RouterSyntax {
            kind: "rules",
            own_fields: &[],
            place: |fields| {
                let of: Option<String> = fields.required("of", "whose rules", |_| true);
                of.map(|of| json!({ "of": of }))
            },
            route: |name| Some(RouteId::from(name)),
            means: |asked, alias| {
                alias.as_str().strip_suffix('*').is_some_and(|a| asked.as_str().starts_with(a))
            },
            route_allowed: "a rule",
            meets: |place, scopes| scopes.iter().any(|scope| place["of"] == scope.as_str()),
        },
    ];

    fn messages(defaults: &Value, request: &Value) -> Vec<String> {
        match Request::parse(defaults, request, &ROUTERS, PERIOD_S_MIN) {
            Err(Failure::InvalidInput(problems)) => {
                problems.into_iter().map(|problem| problem.message).collect()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn every_field_but_new_and_the_place_has_a_default() {
        let defaults = json!({"place": "example.com"});
        let request = Request::parse(&defaults, &json!({"new": "green"}), &ROUTERS, PERIOD_S_MIN)
            .expect("enough");
        assert_eq!(request.ramp.steps().len(), 10);
        assert_eq!(request.health, Health::default());
        assert_eq!((request.old, request.routes), (None, None));
        assert_eq!((request.capacity_min_percent, request.ready_timeout_s), (100, 7200));
    }

    #[test]
    fn the_request_stands_before_the_defaults_field_by_field() {
        let defaults = json!({
            "place": "example.com", "isolate": true, "old": "green",
            "health": {"period_s": 60, "requests_min": 7},
            "ramp": {"linear": {"step_percent": 50, "bake_s": 1}}
        });
        let request = json!({
            "new": "green", "old": "blue", "health": {"period_s": 120},
            "ramp": {"canary": {"percent": 5, "bake_s": 9}}
        });
        let request = Request::parse(&defaults, &request, &ROUTERS, PERIOD_S_MIN).expect("allowed");
        assert!(request.isolate);
        assert_eq!((request.health.period_s, request.health.requests_min), (120, 7));
        assert_eq!(request.ramp.steps()[0].percent.halves(), 10);
        assert_eq!(request.old.as_deref(), Some("blue"));
    }

    #[test]
    fn all_problems_are_told_at_once_with_field_value_and_what_is_allowed() {
        let said = messages(
            &json!({}),
            &json!({
                "old": "", "routs": ["a.example.com"], "router": "nginx",
                "health": {"period_s": 7, "error_rate_max": 1.5, "colour": "green"},
                "ramp": {"linear": {"step_percent": 0.3, "bake_s": 1}},
                "isolate": "yes", "external_dns": "ignore", "dry_run": 1, "resolvers": 1.5
            }),
        );
        for expected in [
            "new is missing",
            "old is \"\"; allowed:",
            "\"routs\" is not a field; known are new, old,",
            "router is \"nginx\"; allowed: \"names\", {\"names\": {…}}, {\"rules\": {…}}",
            "health.period_s is 7; allowed: a multiple of 60 up to 3600",
            "health.error_rate_max is 1.5; allowed: a number from 0 to 1",
            "health.\"colour\" is not a field",
            "ramp.linear.step_percent is 0.3",
            "isolate is \"yes\"; allowed: true or false",
            "external_dns is \"ignore\"",
            "dry_run is 1",
            "resolvers is 1.5; allowed: a whole number",
        ] {
            assert!(said.iter().any(|m| m.starts_with(expected)), "{expected} not in {said:#?}");
        }
        assert_eq!(said.len(), 12);
        let said = messages(&json!({}), &json!({"new": "green", "routes": ["a b"]}));
        let expected = ["place is missing", "routes[0] is \"a b\"; allowed: a name without spaces"];
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn problems_of_the_defaults_are_told_as_theirs_even_of_fields_that_the_request_overrides() {
        let said = messages(
            &json!({
                "place": "example.com", "isolte": true, "isolate": null, "resolvers": 0,
                "ramp": [{"percent": 50, "bake_s": 1}, {"percent": 100, "bake_s": 1, "x": 1}],
                "health": {"requests_min": 0, "on_no_dat": "advance"},
            }),
            &json!({
                "new": "green", "resolvers": 5, "ramp": {"canary": {"percent": 5, "bake_s": 9}},
                "health": {"requests_min": 5}
            }),
        );
        for expected in [
            "in the defaults, \"isolte\" is not a field; known are new, old,",
            "in the defaults, isolate is null; allowed: true or false; or leave the field out",
            "in the defaults, resolvers is 0; allowed: a whole number from 1 to 10000",
            "in the defaults, ramp[1].\"x\" is not a field; known are percent, bake_s",
            "in the defaults, health.requests_min is 0; allowed:",
            "in the defaults, health.\"on_no_dat\" is not a field",
        ] {
            assert!(said.iter().any(|m| m.starts_with(expected)), "{expected} not in {said:#?}");
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }

    #[test]
    fn null_is_no_way_to_say_nothing() {
        let good = json!({"new": "green", "place": "example.com"});
        for field in FIELDS {
            let mut request = good.clone();
            request[field] = Value::Null;
            let said = messages(&json!({}), &request);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(&format!("{field} is null; allowed: ")), "{said:?}");
            assert!(said[0].ends_with("; or leave the field out"), "{said:?}");
        }
        for field in HEALTH_FIELDS {
            let mut request = good.clone();
            request["health"] = json!({field: null});
            let said = messages(&json!({}), &request);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(&format!("health.{field} is null; allowed: ")), "{said:?}");
        }
    }

    #[test]
    fn a_route_or_an_alarm_that_is_named_twice_is_refused() {
        let said = messages(
            &json!({}),
            &json!({
                "new": "green", "place": "example.com", "health": {"alarms": ["a", "b", "a"]},
                "routes": ["a.example.com", "b.example.com", "A.Example.com"]
            }),
        );
        let twice = "routes[2] is \"A.Example.com\", the same as routes[0]; allowed: each once";
        assert_eq!(
            said,
            [twice, "health.alarms[2] is \"a\", the same as health.alarms[0]; allowed: each once"]
        );
    }

    #[test]
    fn a_router_is_named_alone_or_with_its_fields_and_the_request_stands_before_the_defaults() {
        let parse = |defaults: Value, request: Value| {
            let request = Request::parse(&defaults, &request, &ROUTERS, PERIOD_S_MIN)?;
            Ok::<_, Failure>((request.router.kind, request.router.place))
        };
        let names = |place: &str| ("names".to_owned(), json!({ "place": place }));
        let rules = ("rules".to_owned(), json!({"of": "x"}));
        let stack = json!({"place": "the stack's"});
        for (defaults, router, expected) in [
            (stack.clone(), json!({}), names("the stack's")),
            (stack.clone(), json!({"router": "names", "place": "z"}), names("z")),
            (stack.clone(), json!({"router": {"names": {"place": "z"}}}), names("z")),
            (stack.clone(), json!({"router": {"rules": {"of": "x"}}}), rules.clone()),
            (json!({"router": {"rules": {"of": "x"}}}), json!({}), rules),
            (
                json!({"router": {"rules": {"of": "x"}}}),
                json!({"router": "names", "place": "z"}),
                names("z"),
            ),
        ] {
            let mut request = json!({"new": "green"});
            let fields = request.as_object_mut().expect("an object");
            fields.extend(router.as_object().expect("an object").clone());
            assert_eq!(parse(defaults, request).expect("allowed"), expected, "{router}");
        }
        for (router, problem) in [
            (json!({"router": "rules"}), "router is \"rules\"; allowed: \"names\", {"),
            (json!({"router": {"names": {}, "rules": {}}}), "router is {"),
            (json!({"router": {"rules": {}}}), "router.rules.of is missing"),
            (
                json!({"router": {"rules": {"of": "x", "port": 1}}}),
                "router.rules.\"port\" is not a field",
            ),
            (json!({"router": {"rules": {"of": 7}}}), "router.rules.of is 7"),
            (json!({"router": {"rules": {"of": "x"}}, "place": "z"}), "\"place\" is not a field"),
        ] {
            let mut request = json!({"new": "green"});
            let fields = request.as_object_mut().expect("an object");
            fields.extend(router.as_object().expect("an object").clone());
            let said = messages(&stack, &request);
            assert!(said.len() == 1 && said[0].starts_with(problem), "{router}: {said:?}");
        }
    }

    #[test]
    fn periods_shorter_than_a_minute_are_for_metrics_that_have_them() {
        let request = |period_s: u32| {
            let request = json!({"new": "green", "place": "z", "health": {"period_s": period_s}});
            move |period_s_min| Request::parse(&json!({}), &request, &ROUTERS, period_s_min).is_ok()
        };
        for (period_s, on_aws, elsewhere) in [
            (0, false, false),
            (1, false, true),
            (30, false, true),
            (45, false, false),
            (60, true, true),
            (90, false, false),
            (3600, true, true),
            (3660, false, false),
        ] {
            assert_eq!(request(period_s)(PERIOD_S_MIN), on_aws, "{period_s}");
            assert_eq!(request(period_s)(1), elsewhere, "{period_s}");
        }
        let by_default = messages(
            &json!({"health": {"period_s": 1}}),
            &json!({"new": "green", "place": "z", "health": {"period_s": 60}}),
        );
        assert_eq!(by_default.len(), 1, "{by_default:?}");
        assert!(
            by_default[0].starts_with("in the defaults, health.period_s is 1; allowed: a multiple")
        );
        let policy = Health::parse(&json!({"period_s": 10})).expect("at a desk");
        assert_eq!(policy.period_s, 10);
        let message = Health::parse(&json!({"period_s": 7})).expect_err("never").to_string();
        assert!(message.contains("or one of [1, 5, 10, 20, 30]"), "{message}");
    }

    #[test]
    fn a_cluster_cannot_be_cut_over_to_itself() {
        let said = messages(&json!({"place": "z"}), &json!({"new": "green", "old": "green"}));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("old is \"green\""), "{said:?}");
        let defaults = json!({"place": "z", "old": "green"});
        let said = messages(&defaults, &json!({"new": "green"}));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("in the defaults, old is \"green\""), "{said:?}");
    }

    #[test]
    fn what_must_be_detectable_is_more_than_what_is_tolerated() {
        let request = json!({"new": "green", "place": "z",
            "health": {"tolerated_odds_ratio": 4}});
        let health =
            Request::parse(&json!({}), &request, &ROUTERS, PERIOD_S_MIN).expect("allowed").health;
        assert!((health.detectable_odds_ratio - 8.0).abs() < 1e-9);
        let said = messages(&json!({"health": {"detectable_odds_ratio": 3}}), &request);
        let expected = "in the defaults, health.detectable_odds_ratio is 3.0; allowed: a number \
                        above tolerated_odds_ratio (4), up to 1000";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for odd in [json!(null), json!([1]), json!("green"), json!(3)] {
            assert!(messages(&json!({}), &odd)[0].contains("allowed: a JSON object"));
            assert!(messages(&odd, &json!({}))[0].contains("the defaults are"));
        }
    }

    const FIELDS: [&str; 17] = [
        "new",
        "old",
        "router",
        "place",
        "routes",
        "ramp",
        "health",
        "capacity_min_percent",
        "resolvers",
        "isolate",
        "max_failed_routes",
        "external_dns",
        "ready_timeout_s",
        "resume",
        "fence",
        "dry_run",
        "probe",
    ];
    const HEALTH_FIELDS: [&str; 18] = [
        "period_s",
        "metrics_delay_s",
        "check_interval_s",
        "requests_min",
        "error_rate_max",
        "alpha",
        "tolerated_odds_ratio",
        "refused_tolerated_odds_ratio",
        "detectable_odds_ratio",
        "warm_up_s",
        "latency_target_s",
        "latency_by",
        "old_share_max",
        "requests_per_host_max",
        "signals",
        "alarms",
        "hold_max_s",
        "on_no_data",
    ];

    /// Every field with a value that is allowed.
    fn full() -> Value {
        json!({
            "new": "green", "old": "blue", "place": "example.com",
            "routes": ["a.example.com", "*.example.com"], "router": "names",
            "ramp": [{"percent": 5.5, "bake_s": 60}, {"percent": 100, "bake_s": 0}],
            "health": {
                "period_s": 60, "metrics_delay_s": 1, "check_interval_s": 1, "requests_min": 1,
                "error_rate_max": 0.5, "alpha": 0.01, "tolerated_odds_ratio": 2,
                "refused_tolerated_odds_ratio": 5, "detectable_odds_ratio": 4, "warm_up_s": 1,
                "latency_target_s": 0.5, "latency_by": "count", "old_share_max": 0.5,
                "requests_per_host_max": 1.5, "signals": [], "alarms": ["a"], "hold_max_s": 1,
                "on_no_data": "advance"
            },
            "capacity_min_percent": 1, "resolvers": 1, "isolate": true, "max_failed_routes": 1,
            "external_dns": "refuse", "ready_timeout_s": 1, "resume": true,
            "fence": false, "dry_run": true, "probe": {"path": "/healthz", "count": 5}
        })
    }

    #[test]
    fn every_field_is_read() {
        let full = full();
        // The request says itself which fields it reads.
        let said = messages(&json!({}), &json!({"new": "green", "place": "z", "no_field": 1}));
        let known = said[0].split_once("known are ").expect("the fields").1;
        assert_eq!(known.split(", ").collect::<Vec<_>>(), FIELDS);
        let said = messages(&full, &json!({"health": {"no_field": 1}}));
        let known = said[0].split_once("known are ").expect("the fields").1;
        let (mut known, mut names) =
            (known.split(", ").collect::<Vec<_>>(), HEALTH_FIELDS.to_vec());
        known.sort_unstable();
        names.sort_unstable();
        assert_eq!(known, names);
        for (object, names) in [(&full, &FIELDS[..]), (&full["health"], &HEALTH_FIELDS)] {
            let mut names = names.to_vec();
            names.sort_unstable();
            assert_eq!(object.as_object().expect("an object").keys().collect::<Vec<_>>(), names);
        }
        Request::parse(&json!({}), &full, &ROUTERS, PERIOD_S_MIN).expect("allowed");
        Request::parse(&full, &json!({}), &ROUTERS, PERIOD_S_MIN).expect("allowed as defaults");
    }

    /// The places of a request's fields, as JSON pointers and as messages call them.
    fn places() -> Vec<(String, String)> {
        let top = FIELDS.iter().map(|name| (format!("/{name}"), (*name).to_owned()));
        let health =
            HEALTH_FIELDS.iter().map(|name| (format!("/health/{name}"), format!("health.{name}")));
        let steps = ["percent", "bake_s"].into_iter().flat_map(|name| {
            [0, 1].map(|step| (format!("/ramp/{step}/{name}"), format!("ramp[{step}].{name}")))
        });
        let entries = ["routes", "health/alarms"]
            .map(|list| (format!("/{list}/0"), format!("{}[0]", list.replace('/', "."))));
        let probe = ["path", "count"];
        let probe = probe.map(|name| (format!("/probe/{name}"), format!("probe.{name}")));
        top.chain(health).chain(steps).chain(entries).chain(probe).collect()
    }

    /// Any JSON, a few levels deep; its texts are no words of a request.
    fn junk() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,200}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,12}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// What kind of value this is, as far as a field can tell.
    fn kind(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(number) if number.is_u64() => 2,
            Value::Number(_) => 3,
            Value::String(_) => 4,
            Value::Array(_) => 5,
            Value::Object(_) => 6,
        }
    }

    proptest! {
        #[test]
        fn junk_in_place_of_a_request_or_its_defaults_is_refused(junk in junk()) {
            let good = json!({"new": "green", "place": "example.com"});
            let nothing = json!({});
            prop_assert!(Request::parse(&good, &junk, &ROUTERS, PERIOD_S_MIN).is_err() || junk == nothing);
            prop_assert!(Request::parse(&junk, &good, &ROUTERS, PERIOD_S_MIN).is_err() || junk == nothing);
            prop_assert!(Health::parse(&junk).is_err() || junk == nothing);
        }

        #[test]
        fn a_value_of_the_wrong_kind_is_refused_by_name_wherever_it_stands(
            place in prop::sample::select(places()), junk in junk(), as_default: bool
        ) {
            let (pointer, name) = place;
            let mut request = full();
            let value = request.pointer_mut(&pointer).expect("a field");
            // A ramp may be a list or an object; a number with a fraction may be a whole one.
            let same = kind(&junk) == kind(value)
                || (value.is_number() && junk.is_number())
                || (pointer == "/ramp" && junk.is_object());
            prop_assume!(!same);
            *value = junk;
            let (defaults, request) =
                if as_default { (request, full()) } else { (json!({}), request) };
            let said = messages(&defaults, &request);
            let label = if as_default { format!("in the defaults, {name}") } else { name };
            prop_assert!(said.iter().any(|m| m.starts_with(&label)), "{label}: {said:?}");
        }

        #[test]
        fn an_unknown_field_is_refused_by_name_wherever_it_stands(
            object in prop::sample::select(vec!["", "/health", "/ramp/0", "/ramp/1"]),
            name in "[a-z_]{1,12}", junk in junk(), as_default: bool
        ) {
            let mut request = full();
            let fields = request.pointer_mut(object).and_then(Value::as_object_mut);
            let fields = fields.expect("an object");
            prop_assume!(!fields.contains_key(&name));
            fields.insert(name.clone(), junk);
            let (defaults, request) =
                if as_default { (request, full()) } else { (json!({}), request) };
            let said = messages(&defaults, &request);
            let named = format!("\"{name}\" is not a field");
            prop_assert!(said.len() == 1 && said[0].contains(&named), "{said:?}");
        }

        #[test]
        fn what_is_accepted_is_in_range(junk in junk(), place in prop::sample::select(places())) {
            let mut request = full();
            *request.pointer_mut(&place.0).expect("a field") = junk;
            if let Ok(read) = Request::parse(&json!({}), &request, &ROUTERS, PERIOD_S_MIN) {
                prop_assert!(read.health.period_s.is_multiple_of(60) && read.health.period_s > 0);
                prop_assert!((0.0..=1.0).contains(&read.health.error_rate_max));
                prop_assert!((1e-6..=0.5).contains(&read.health.alpha));
                prop_assert!(read.health.detectable_odds_ratio > read.health.tolerated_odds_ratio);
                prop_assert!(read.resolvers >= 1 && read.resolvers <= RESOLVERS_MAX);
                prop_assert!(read.old.as_ref() != Some(&read.new));
                prop_assert!(read.routes.is_none_or(|routes| !routes.is_empty()));
            }
        }
    }
}
