//! Tests of what a zone's records say, through to the cutover that validation makes of them.

use std::collections::BTreeMap;

use cutover_core::{
    Attempt, Backend, Behind, Counts, Cutover, Execution, Facts, Failure, Group, History, Series,
    Validation,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::router::SYNTAXES;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn alias(name: &str, kind: &str, id: &str, weight: u32) -> Record {
    Record {
        name: RouteId::from(name),
        kind: kind.to_owned(),
        set_identifier: Some(id.to_owned()),
        weight: Some(weight),
        policy: Policy::Weighted,
        ttl_s: None,
        shape: 7,
        health_check_id: None,
        target: Target::Alias {
            dns_name: format!("dualstack.K8S-{id}.elb.example."),
            evaluates_health: false,
        },
    }
}

/// What external-dns notes about a record that it owns.
fn ownership(name: &str, id: &str) -> Record {
    let value = "\"heritage=external-dns,external-dns/owner=x\"".to_owned();
    Record { ttl_s: Some(300), target: Target::Values(vec![value]), ..alias(name, "TXT", id, 0) }
}

fn backend(id: &str, healthy: u32) -> Behind {
    Behind::Found(Backend {
        called: format!("load balancer app/k8s-{id}/1"),
        meter: format!("app/k8s-{id}/1"),
        active: true,
        groups: vec![Group { id: format!("{id}/1"), healthy, registered: 3 }],
    })
}

/// A zone in which everything is as it must be; tests break one thing each.
struct Given {
    request: Value,
    records: Vec<Record>,
    facts: Facts,
}

impl Given {
    fn fine() -> Self {
        let mut records = vec![];
        for (id, weight) in [("blue", 100), ("green", 0)] {
            for name in ["chat.example.com", "shop.example.com"] {
                records.push(alias(name, "A", id, weight));
                records.push(alias(name, "AAAA", id, weight));
            }
        }
        // external-dns is at work in the zone, and does not own these.
        for id in ["blue", "green"] {
            records.push(ownership("cname-elsewhere.example.com", id));
        }
        let both = ["blue", "green"].map(|id| (format!("k8s-{id}.elb.example"), backend(id, 3)));
        let facts = Facts { behind: BTreeMap::from(both), ..Facts::default() };
        Self { request: json!({"new": "green"}), records, facts }
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.request[field] = value;
        self
    }

    fn validate(&self) -> Result<Cutover, Failure> {
        let defaults = json!({"hosted_zone": "example.com"});
        let request =
            Request::parse(&defaults, &self.request, &SYNTAXES, 60).expect("a good request");
        let zone = Zone { id: "Z1".to_owned(), name: "example.com".to_owned() };
        let mut survey = survey(&request, &zone, &self.records);
        add_owners(&mut survey, &request, &self.records);
        let execution = Execution { arn: "arn:us".to_owned(), name: "us".to_owned() };
        let attempt = Attempt { execution, started_at: at(1000), now: at(1000) };
        let validation = Validation::of(request, survey, self.facts.clone(), attempt, &SYNTAXES);
        let counts = vec![Some(Counts { requests: 1000, errors: 1 }); 1440];
        let day = Series { counts, ..Series::default() };
        validation.conclude(&History::from([("app/k8s-blue/1".to_owned(), day)]))
    }

    /// The failure's name and the codes of its problems.
    fn refused(&self) -> (&'static str, BTreeSet<String>) {
        let failure = self.validate().expect_err("refused");
        for Problem { code, message, .. } in failure.problems() {
            assert!(says_what_to_do(message), "{code}: {message}");
        }
        let codes = failure.problems().iter().map(|problem| problem.code.clone()).collect();
        (failure.name(), codes)
    }
}

#[test]
fn routes_and_the_old_side_are_discovered() {
    let mut given = Given::fine();
    let cutover = given.validate().expect("accepted");
    let names: Vec<&str> = cutover.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["chat.example.com", "shop.example.com"]);
    assert_eq!(cutover.sides, Sides { old: "blue".to_owned(), new: "green".to_owned() });
    assert_eq!(cutover.router.place, json!({"hosted_zone": "Z1"}));
    assert_eq!(cutover.routes[0].original, Weights { old: 100, new: 0 });
    given.records.push(alias("only-old.example.com", "A", "blue", 100));
    assert_eq!(given.refused(), ("NotReady", BTreeSet::from(["left_out".to_owned()])));
}

/// Whether a sentence says, behind a colon or a semicolon, what is allowed or to be done.
fn says_what_to_do(message: &str) -> bool {
    let words = "allowed wait look give name take set point write run remove they";
    let says = |clause: &str| words.split(' ').any(|word| clause.trim_start().starts_with(word));
    message.split([':', ';']).skip(1).any(says)
}

/// Breaks one thing.
type Break = fn(&mut Given);

fn each_is_refused_by_its_code<const N: usize>(table: [(&str, &str, Break); N]) {
    for (name, code, break_it) in table {
        let mut given = Given::fine();
        break_it(&mut given);
        assert_eq!(given.refused(), (name, BTreeSet::from([code.to_owned()])), "{code}");
    }
}

#[test]
fn records_that_are_not_as_they_must_be_are_refused_by_their_code() {
    let table: [(&str, &str, Break); 22] = [
        ("InvalidInput", "simple_record", |g| g.records[0].policy = Policy::Simple),
        ("InvalidInput", "other_policy", |g| g.records[0].policy = Policy::Other),
        ("InvalidInput", "third_identifier", |g| {
            g.records.push(alias("chat.example.com", "A", "red", 1));
            g.request["old"] = json!("blue");
        }),
        ("InvalidInput", "old_ambiguous", |g| {
            g.records.push(alias("chat.example.com", "A", "red", 1));
        }),
        ("InvalidInput", "old_unknown", |g| {
            g.records.iter_mut().for_each(|record| record.weight = Some(0));
        }),
        ("InvalidInput", "old_unknown", |g| g.request["old"] = json!("bleu")),
        ("InvalidInput", "no_target", |g| g.records[0].target = Target::Values(vec![])),
        ("InvalidInput", "all_weights_zero", |g| {
            g.records.iter_mut().for_each(|record| record.weight = Some(0));
            g.request["old"] = json!("blue");
        }),
        ("InvalidInput", "no_old_record", |g| {
            g.records.retain(|r| r.kind != "AAAA" || r.set_identifier != Some("blue".into()));
        }),
        ("InvalidInput", "no_old_record", |g| {
            g.request["routes"] = json!(["green-only.example.com"]);
            g.request["old"] = json!("blue");
            g.records.push(alias("green-only.example.com", "A", "green", 0));
        }),
        ("NotReady", "no_new_record", |g| {
            g.records.retain(|r| r.kind != "AAAA" || r.set_identifier != Some("green".into()));
        }),
        ("NotReady", "no_new_record", |g| {
            g.records.retain(|r| r.set_identifier != Some("green".into()));
        }),
        ("NotReady", "no_new_record", |g| {
            g.records.retain(|r| r.set_identifier != Some("green".into()));
            g.request["routes"] = json!(["chat.example.com"]);
        }),
        ("NotReady", "no_routes", |g| {
            g.records.retain(|r| r.set_identifier != Some("green".into()));
            g.request["old"] = json!("blue");
        }),
        ("InvalidInput", "split_not_initial", |g| {
            g.records.iter_mut().for_each(|record| record.weight = Some(50));
        }),
        ("InvalidInput", "weights_differ", |g| g.records[0].weight = Some(99)),
        ("InvalidInput", "ttl_too_long", |g| {
            g.records.iter_mut().for_each(|record| record.ttl_s = Some(301));
        }),
        ("InvalidInput", "ttl_differs", |g| g.records[0].ttl_s = Some(30)),
        ("InvalidInput", "cloudfront_target", |g| {
            let dns_name = "d111111abcdef8.cloudfront.net.".to_owned();
            g.records[0].target = Target::Alias { dns_name, evaluates_health: false };
        }),
        ("InvalidInput", "many_targets", |g| {
            g.records[0].target = Target::Values(vec!["192.0.2.1".into(), "192.0.2.2".into()]);
        }),
        ("InvalidInput", "no_record", |g| {
            g.request["routes"] = json!(["chat.example.com", "tyop.example.com"]);
        }),
        ("InvalidInput", "route_outside_zone", |g| {
            g.request["routes"] = json!(["chat.example.com", "chat.example.org"]);
        }),
    ];
    each_is_refused_by_its_code(table);
}

#[test]
fn a_side_that_route_53_takes_out_of_its_answers_is_refused_or_waited_for() {
    let evaluating = || {
        let mut given = Given::fine();
        for record in &mut given.records {
            if let Target::Alias { evaluates_health, .. } = &mut record.target {
                *evaluates_health = true;
            }
        }
        given
    };
    let cutover = evaluating().validate().expect("all groups have healthy targets");
    assert!(cutover.routes.iter().all(|route| route.all_or_nothing));
    let cutover = Given::fine().validate().expect("accepted");
    assert!(!cutover.routes.iter().any(|route| route.all_or_nothing));

    let group = |healthy, registered| Group { id: "b/2".into(), healthy, registered };
    for extra in [group(0, 0), group(0, 2)] {
        for (key, name, code) in [
            ("k8s-blue.elb.example", "InvalidInput", "old_side_left_out"),
            ("k8s-green.elb.example", "NotReady", "new_side_left_out"),
        ] {
            let break_it = |mut given: Given| {
                let Some(Behind::Found(found)) = given.facts.behind.get_mut(key) else {
                    panic!("nothing is behind {key}")
                };
                found.groups.push(extra.clone());
                given
            };
            let mut waited_for = break_it(evaluating());
            waited_for.facts.behind.insert(
                "k8s-green.elb.example".to_owned(),
                Behind::Nothing {
                    code: "no_load_balancer",
                    what: String::new(),
                    allowed: String::new(),
                },
            );
            let refused = waited_for.refused();
            assert_eq!(refused.0, name, "the old side is looked at without the new one");
            let refused = break_it(evaluating()).refused();
            assert_eq!(refused, (name, BTreeSet::from([code.to_owned()])), "{extra:?}");
            let cutover = break_it(Given::fine()).validate().expect("only warned");
            let warned: Vec<&str> = cutover.warnings.iter().map(|w| w.code.as_str()).collect();
            let of_new = key.contains("green");
            assert_eq!(warned, ["unhealthy_group"].repeat(usize::from(of_new)));
        }
    }
}

#[test]
fn records_with_a_health_check_are_warned_about() {
    let mut given = Given::fine();
    given.records[0].health_check_id = Some("abc".to_owned());
    let cutover = given.validate().expect("accepted");
    assert_eq!(cutover.warnings[0].code, "record_health_check");
    assert!(cutover.warnings[0].message.contains("1 route(s) have a Route 53 health check: chat"));
}

#[test]
fn where_ownership_is_unknown_one_warning_says_so_or_it_is_refused() {
    let mut given = Given::fine();
    given.records.retain(|record| record.kind != "TXT");
    let cutover = given.validate().expect("warned");
    assert_eq!(cutover.warnings.len(), 1);
    assert_eq!(cutover.warnings[0].code, "external_dns_unknown");
    assert!(cutover.warnings[0].message.contains("2 route(s): chat.example.com, shop."));
    assert!(cutover.routes.iter().all(|route| route.other_writer.is_none()));
    let (name, codes) = given.with("external_dns", json!("refuse")).refused();
    let expected = BTreeSet::from(["external_dns_unknown".to_owned()]);
    assert_eq!((name, codes), ("InvalidInput", expected));
}

#[test]
fn records_that_external_dns_owns_are_warned_about_or_refused() {
    let mut given = Given::fine();
    given.records.push(ownership("xdns-aaaa-chat.example.com", "blue"));
    let cutover = given.validate().expect("warned");
    assert_eq!(cutover.warnings[0].code, "external_dns");
    assert!(cutover.routes[0].other_writer.is_some() && cutover.routes[1].other_writer.is_none());
    let (name, codes) = given.with("external_dns", json!("refuse")).refused();
    assert_eq!((name, codes), ("InvalidInput", BTreeSet::from(["external_dns".to_owned()])));
}

#[test]
fn a_name_that_is_too_long_for_its_fence_is_refused() {
    let mut given = Given::fine();
    let label = "a".repeat(59);
    let name = [&*label; 4].join(".") + ".example.com";
    for (id, weight) in [("blue", 100), ("green", 0)] {
        given.records.push(alias(&name, "A", id, weight));
    }
    assert_eq!(given.refused().1, BTreeSet::from(["fence_name_too_long".to_owned()]));
    given.with("fence", json!(false)).validate().expect("without a fence");
}

#[test]
fn the_record_in_the_place_of_a_fence_is_read_or_refused() {
    let fence = |text: &str| Record {
        set_identifier: None,
        weight: None,
        policy: Policy::Simple,
        target: Target::Values(vec![format!("\"{text}\"")]),
        ..alias("_cutover.chat.example.com", "TXT", "", 0)
    };
    let with = |text: &str| {
        let mut given = Given::fine();
        given.records.push(fence(text));
        given
    };
    let ended = with("cutover 3 2026-11-25T16:00:00Z arn:before").validate().expect("accepted");
    let supersedes: Vec<_> = ended.routes.iter().map(|r| r.supersedes.as_deref()).collect();
    assert_eq!(supersedes, [Some("arn:before"), None]);
    let odd = with("v=spf1 -all");
    assert_eq!(odd.refused().1, BTreeSet::from(["fence_unreadable".to_owned()]));
    let cutover = odd.with("fence", json!(false)).validate().expect("it is not needed");
    assert!(!cutover.fence);
}

#[test]
fn a_request_means_a_zone_by_its_name_or_id_however_it_is_written() {
    let scopes = ["Z1".to_owned(), "example.com".to_owned()];
    for (named, meets) in [
        ("example.com.", true),
        ("EXAMPLE.COM", true),
        ("/hostedzone/Z1", true),
        ("Z1", true),
        ("/hostedzone/Z2", false),
        ("example.org", false),
    ] {
        assert_eq!(
            (crate::router::route53::SYNTAX.meets)(&place(named), &scopes),
            meets,
            "{named}"
        );
    }
    assert!((crate::router::route53::SYNTAX.meets)(&json!({}), &scopes), "it may mean any");
}
