//! The request: what a person or an event asks for.

use serde_json::{Map, Value};

use crate::failure::{Failure, Problem};
use crate::fields::Fields;
use crate::health::{Health, LatencyBy, OnNoData};
use crate::lumps::{RESOLVERS, RESOLVERS_MAX};
use crate::percent::Percent;
use crate::ramp::Ramp;
use crate::split::RouteId;

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
pub struct Request {
    /// Set identifier of the new side.
    pub new: String,
    /// Set identifier of the old side; without one, the one that carries all weight today.
    pub old: Option<String>,
    /// Name or id of the hosted zone.
    pub hosted_zone: String,
    /// The routes; without any, every name of the zone that has records of both sides.
    pub routes: Option<Vec<RouteId>>,
    /// The steps.
    pub ramp: Ramp,
    /// How evidence is read and judged.
    pub health: Health,
    /// Healthy hosts that the new side needs, in percent of the old side's, 0–1000.
    pub capacity_min_percent: u32,
    /// Through so many resolvers come the requests: what the worst share of a step is predicted for,
    /// 1–10,000.
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
    /// Only check and plan.
    pub dry_run: bool,
    /// What was laid under it: another execution's input is read over the same.
    pub defaults: Value,
}

/// Seconds that an execution may take: the time-out of the state machine.
pub const EXECUTION_S_MAX: u64 = 1_209_600;
/// Longest set identifier. Source: Route 53 API reference, `ResourceRecordSet`.
const SET_IDENTIFIER_CHARS_MAX: usize = 128;
/// Most alarms of one `DescribeAlarms` call. Source: CloudWatch API reference.
const ALARMS_MAX: usize = 100;

impl Request {
    /// Reads a request over its defaults: a field of `request` stands before the same one of
    /// `defaults`, and so do the fields in `health`.
    ///
    /// # Errors
    /// `InvalidInput` with every problem: unknown, missing and out-of-range fields.
    pub fn parse(defaults: &Value, request: &Value) -> Result<Self, Failure> {
        let mut problems = vec![];
        if !defaults.is_object() {
            let shown = crate::fields::shown(defaults);
            problems.push(Problem::new(
                "invalid_defaults",
                format!("the defaults are {shown}; allowed: a JSON object"),
            ));
        }
        if !request.is_object() {
            let shown = crate::fields::shown(request);
            problems.push(Problem::new(
                "invalid_request",
                format!("the request is {shown}; allowed: a JSON object"),
            ));
        }
        if !problems.is_empty() {
            return Err(Failure::InvalidInput(problems));
        }
        let parsed = Self::fields(overlaid(defaults, request), &mut problems);
        match parsed {
            Some(request) if problems.is_empty() => {
                Ok(Self { defaults: defaults.clone(), ..request })
            }
            _ => Err(Failure::InvalidInput(problems)),
        }
    }

    /// What speaks against its length, with records of this TTL, in seconds: an execution holds so many events
    /// and lasts so long.
    #[must_use]
    pub fn too_long(&self, ttl_s: u32) -> Vec<Problem> {
        let history = self.ramp.check_history(&self.health, ttl_s, self.ready_timeout_s);
        let longest_s = self.ramp.duration_s(ttl_s)
            + u64::from(self.ready_timeout_s)
            + u64::from(self.health.hold_max_s);
        let duration = (longest_s > EXECUTION_S_MAX).then(|| {
            let message = format!(
                "ready_timeout_s, hold_max_s and the ramp come to {longest_s} s; an execution may \
                 take {EXECUTION_S_MAX} s"
            );
            Problem::new("ramp_too_slow", message)
        });
        history.err().into_iter().chain(duration).collect()
    }

    fn fields(merged: Value, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut ramp_problems = vec![];
        let mut health_problems = vec![];
        let mut fields = Fields::of(merged, "", problems);
        let identifier = "the name of a cluster (a set identifier of 1 to 128 characters)";
        let is_identifier =
            |id: &String| (1..=SET_IDENTIFIER_CHARS_MAX).contains(&id.chars().count());
        let new = fields.required("new", identifier, is_identifier);
        let not_new = |old: &String| is_identifier(old) && new.as_ref() != Some(old);
        let old = fields.optional("old", "a name like that of new, and another", not_new);
        let hosted_zone = fields.required(
            "hosted_zone",
            "the name or id of a Route 53 hosted zone",
            |zone: &String| !zone.is_empty() && zone.len() <= 255,
        );
        let routes: Option<Vec<String>> = fields.optional(
            "routes",
            "a list of 1 to 1000 host names, or nothing to take all that have both sides",
            |routes: &Vec<String>| {
                (1..=1000).contains(&routes.len()) && routes.iter().all(|route| is_host_name(route))
            },
        );
        let _: String = fields.or("router", "route53".to_owned(), "\"route53\"", |router| {
            router.as_str() == "route53"
        });
        let ramp = match fields.take("ramp") {
            Some(value) => Ramp::parse(&value, &mut ramp_problems),
            None => Percent::from_halves(20).and_then(|stride| Ramp::linear(stride, 300)),
        };
        let health = match fields.take("health") {
            Some(value) => read_health(value, &mut health_problems),
            None => Health::default(),
        };
        let flag = "true or false";
        let capacity_min_percent = fields.or(
            "capacity_min_percent",
            100,
            "a whole number from 0 to 1000",
            |percent: &u32| *percent <= 1000,
        );
        let resolvers =
            fields.or("resolvers", RESOLVERS, "a whole number from 1 to 10000", |n: &u32| {
                (1..=RESOLVERS_MAX).contains(n)
            });
        let isolate = fields.or("isolate", false, flag, |_| true);
        let max_failed_routes =
            fields
                .or("max_failed_routes", 1, "a whole number from 0 to 1000", |n: &u32| *n <= 1000);
        let external_dns =
            fields.or("external_dns", ExternalDns::Warn, "\"warn\" or \"refuse\"", |_| true);
        let ready_timeout_s = fields.or(
            "ready_timeout_s",
            7200,
            "a whole number of seconds from 0 to 86400",
            |s: &u32| *s <= 86_400,
        );
        let resume = fields.or("resume", false, flag, |_| true);
        let dry_run = fields.or("dry_run", false, flag, |_| true);
        fields.finish();
        problems.append(&mut ramp_problems);
        problems.append(&mut health_problems);
        let mut routes: Option<Vec<RouteId>> =
            routes.map(|routes| routes.into_iter().map(RouteId::from).collect());
        if let Some(routes) = &mut routes {
            routes.sort();
            routes.dedup();
        }
        Some(Self {
            new: new?,
            old,
            hosted_zone: hosted_zone?,
            routes,
            ramp: ramp?,
            health,
            capacity_min_percent,
            resolvers,
            isolate,
            max_failed_routes,
            external_dns,
            ready_timeout_s,
            resume,
            dry_run,
            defaults: Value::Null,
        })
    }
}

impl Health {
    /// Reads a policy: the `health` of a request, over its defaults.
    ///
    /// # Errors
    /// `InvalidInput` with every problem: unknown and out-of-range fields.
    pub fn parse(value: &Value) -> Result<Self, Failure> {
        let mut problems = vec![];
        let health = read_health(value.clone(), &mut problems);
        if problems.is_empty() { Ok(health) } else { Err(Failure::InvalidInput(problems)) }
    }
}

fn read_health(value: Value, problems: &mut Vec<Problem>) -> Health {
    let default = Health::default();
    let mut fields = Fields::of(value, "health.", problems);
    let mut health = Health {
        period_s: fields.or(
            "period_s",
            default.period_s,
            "1, 5, 10, 20, 30 or a multiple of 60 up to 3600",
            |s: &u32| {
                [1, 5, 10, 20, 30].contains(s) || (*s > 0 && *s <= 3600 && s.is_multiple_of(60))
            },
        ),
        metrics_delay_s: fields.or(
            "metrics_delay_s",
            default.metrics_delay_s,
            "a whole number of seconds from 0 to 3600",
            |s: &u32| *s <= 3600,
        ),
        check_interval_s: fields.or(
            "check_interval_s",
            default.check_interval_s,
            "a whole number of seconds from 1 to 3600",
            |s: &u32| (1..=3600).contains(s),
        ),
        requests_min: fields.or(
            "requests_min",
            default.requests_min,
            "a whole number from 1 to 1000000000",
            |n: &u64| (1..=1_000_000_000).contains(n),
        ),
        error_rate_max: fields.or(
            "error_rate_max",
            default.error_rate_max,
            "a number from 0 to 1",
            |rate: &f64| (0.0..=1.0).contains(rate),
        ),
        alpha: fields.or("alpha", default.alpha, "a number from 0.000001 to 0.5", |alpha: &f64| {
            (1e-6..=0.5).contains(alpha)
        }),
        tolerated_odds_ratio: fields.or(
            "tolerated_odds_ratio",
            default.tolerated_odds_ratio,
            "a number from 1 to 100",
            |ratio: &f64| (1.0..=100.0).contains(ratio),
        ),
        detectable_odds_ratio: 0.0,
        latency_target_s: fields.optional(
            "latency_target_s",
            "a number of seconds from 0.001 to 900",
            |s: &f64| (0.001..=900.0).contains(s),
        ),
        latency_by: fields.or(
            "latency_by",
            LatencyBy::Count,
            "\"count\" or \"percentile\"",
            |_| true,
        ),
        requests_per_host_max: fields.optional(
            "requests_per_host_max",
            "a number of requests per second above 0, up to 1000000",
            |rate: &f64| *rate > 0.0 && *rate <= 1e6,
        ),
        alarms: fields.or(
            "alarms",
            default.alarms,
            "a list of up to 100 names of CloudWatch alarms",
            |names: &Vec<String>| {
                names.len() <= ALARMS_MAX
                    && names.iter().all(|n| (1..=255).contains(&n.chars().count()))
            },
        ),
        hold_max_s: fields.or(
            "hold_max_s",
            default.hold_max_s,
            "a whole number of seconds from 0 to 86400",
            |s: &u32| *s <= 86_400,
        ),
        on_no_data: fields.or(
            "on_no_data",
            OnNoData::RollBack,
            "\"roll_back\" or \"advance\"",
            |_| true,
        ),
    };
    // Twice what is tolerated, where that is more than the default.
    let usual = default.detectable_odds_ratio.max(2.0 * health.tolerated_odds_ratio);
    let allowed = format!(
        "a number above tolerated_odds_ratio ({}), up to 1000",
        health.tolerated_odds_ratio
    );
    let tolerated = health.tolerated_odds_ratio;
    health.detectable_odds_ratio =
        fields.or("detectable_odds_ratio", usual, &allowed, |ratio: &f64| {
            *ratio > tolerated && *ratio <= 1000.0
        });
    fields.finish();
    health
}

/// `request` laid over `defaults`, field by field; `health` field by field as well.
pub(crate) fn overlaid(defaults: &Value, request: &Value) -> Value {
    let (Value::Object(defaults), Value::Object(request)) = (defaults, request) else {
        return request.clone();
    };
    let mut merged: Map<String, Value> = defaults.clone();
    for (name, value) in request {
        let both = (name.as_str(), merged.get(name), value);
        let value = match both {
            ("health", Some(Value::Object(_)), Value::Object(_)) => {
                overlaid(merged.get(name).unwrap_or(&Value::Null), value)
            }
            _ => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

/// Whether a text can be a host name in DNS: letters, digits, `-`, `_`, labels of 1 to 63, a `*`
/// only as the whole first label.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && rest.split('.').all(label_ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(defaults: &Value, request: &Value) -> Vec<String> {
        match Request::parse(defaults, request) {
            Err(Failure::InvalidInput(problems)) => {
                problems.into_iter().map(|problem| problem.message).collect()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn every_field_but_new_and_the_zone_has_a_default() {
        let request =
            Request::parse(&json!({"hosted_zone": "example.com"}), &json!({"new": "green"}))
                .expect("enough");
        assert_eq!(request.ramp.steps().len(), 10);
        assert_eq!(request.health, Health::default());
        assert_eq!((request.old, request.routes), (None, None));
        assert_eq!((request.capacity_min_percent, request.ready_timeout_s), (100, 7200));
    }

    #[test]
    fn the_request_stands_before_the_defaults_field_by_field() {
        let defaults = json!({
            "hosted_zone": "example.com", "isolate": true,
            "health": {"period_s": 60, "requests_min": 7},
            "ramp": {"linear": {"step_percent": 50, "bake_s": 1}}
        });
        let request = json!({
            "new": "green", "health": {"period_s": 1}, "ramp": {"canary": {"percent": 5, "bake_s": 9}}
        });
        let request = Request::parse(&defaults, &request).expect("allowed");
        assert!(request.isolate);
        assert_eq!((request.health.period_s, request.health.requests_min), (1, 7));
        assert_eq!(request.ramp.steps()[0].percent.halves(), 10);
    }

    #[test]
    fn all_problems_are_told_at_once_with_field_value_and_what_is_allowed() {
        let said = messages(
            &json!({}),
            &json!({
                "old": "", "routs": ["a.example.com"], "routes": ["a b"], "router": "nginx",
                "health": {"period_s": 7, "error_rate_max": 1.5, "colour": "green"},
                "ramp": {"linear": {"step_percent": 0.3, "bake_s": 1}},
                "isolate": "yes", "external_dns": "ignore", "dry_run": 1
            }),
        );
        for expected in [
            "new is missing",
            "hosted_zone is missing",
            "old is \"\"; allowed:",
            "\"routs\" is not a field; known are new, old,",
            "routes is [\"a b\"]; allowed:",
            "router is \"nginx\"; allowed: \"route53\"",
            "health.period_s is 7; allowed: 1, 5, 10, 20, 30 or a multiple of 60",
            "health.error_rate_max is 1.5; allowed: a number from 0 to 1",
            "health.\"colour\" is not a field",
            "ramp.linear.step_percent is 0.3",
            "isolate is \"yes\"; allowed: true or false",
            "external_dns is \"ignore\"",
            "dry_run is 1",
        ] {
            assert!(said.iter().any(|m| m.contains(expected)), "{expected} not in {said:#?}");
        }
        assert_eq!(said.len(), 13);
    }

    #[test]
    fn a_cluster_cannot_be_cut_over_to_itself() {
        let said = messages(&json!({"hosted_zone": "z"}), &json!({"new": "green", "old": "green"}));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("old is \"green\""), "{said:?}");
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for odd in [json!(null), json!([1]), json!("green"), json!(3)] {
            assert!(messages(&json!({}), &odd)[0].contains("allowed: a JSON object"));
            assert!(messages(&odd, &json!({}))[0].contains("the defaults are"));
        }
    }

    #[test]
    fn host_names_are_told_from_other_text() {
        for good in ["chat.example.com", "*.example.com", "_x.example.com.", "a"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "a b", "ä.example", "a.*.b", "-/x", &"a".repeat(64)] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
