use serde_json::{Value, json};

use super::*;
use crate::evidence::{Counts, Series};
use crate::request::tests::ROUTERS;
use crate::router::survey::Group;

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

fn load_balancer(id: &str, healthy: u32) -> FoundLoadBalancer {
    FoundLoadBalancer {
        id: format!("app/k8s-{id}/1"),
        kind: LoadBalancerKind::Application,
        active: true,
        groups: vec![Group { id: format!("{id}/1"), healthy, registered: 3 }],
    }
}

/// A day of minutes with 1,000 requests each.
fn a_day() -> Series {
    let counts = Counts { requests: 1000, errors: 1 };
    Series { counts: vec![Some(counts); 1440], ..Series::default() }
}

/// A world in which everything is as it must be; tests break one thing each.
struct Given {
    defaults: Value,
    request: Value,
    records: Vec<Record>,
    facts: Facts,
    waited_s: i64,
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
        let key = |id: &str| format!("k8s-{id}.elb.example");
        let load_balancers = BTreeMap::from([
            (key("blue"), load_balancer("blue", 3)),
            (key("green"), load_balancer("green", 3)),
        ]);
        let history = BTreeMap::from([("app/k8s-blue/1".to_owned(), a_day())]);
        let region = "us-east-1".to_owned();
        Self {
            defaults: json!({"place": "example.com"}),
            request: json!({"new": "green"}),
            records,
            facts: Facts { region, load_balancers, history, ..Facts::default() },
            waited_s: 0,
        }
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.request[field] = value;
        self
    }

    fn survey(&self) -> Survey {
        let request =
            Request::parse(&self.defaults, &self.request, &ROUTERS, 60).expect("a good request");
        let zone = Zone { id: "Z1".to_owned(), name: "example.com".to_owned() };
        Survey::of(request, zone, &self.records)
    }

    fn attempt(&self) -> Attempt {
        let execution = Execution { arn: "arn:us".to_owned(), name: "us".to_owned() };
        Attempt { execution, started_at: at(1000), now: at(1000 + self.waited_s) }
    }

    fn validate(&self) -> Result<Cutover, Failure> {
        self.survey().conclude(&self.facts, &self.attempt())
    }

    /// The failure's name and the codes of its problems.
    fn refused(&self) -> (&'static str, BTreeSet<String>) {
        match self.validate() {
            Err(failure @ (Failure::InvalidInput(_) | Failure::NotReady(_))) => {
                let name = failure.name();
                let (Failure::InvalidInput(problems) | Failure::NotReady(problems)) = failure
                else {
                    panic!("just matched")
                };
                (name, problems.into_iter().map(|problem| problem.code).collect())
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

#[test]
fn routes_and_the_old_side_are_discovered() {
    let mut given = Given::fine();
    given.records.push(alias("only-old.example.com", "A", "blue", 100));
    assert_eq!(given.refused(), ("NotReady", BTreeSet::from(["left_out".to_owned()])));
    given.waited_s = i64::from(LEFT_OUT_WAIT_S);
    let cutover = given.validate().expect("accepted");
    let names: Vec<&str> = cutover.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["chat.example.com", "shop.example.com"]);
    assert_eq!(cutover.sides, Sides { old: "blue".to_owned(), new: "green".to_owned() });
    assert_eq!(cutover.router.place, json!({"hosted_zone": "Z1"}));
    assert_eq!(cutover.routes[0].original, Weights { old: 100, new: 0 });
    assert_eq!(cutover.load_balancers.len(), 2, "shared ones are listed once");
    assert_eq!(cutover.load_balancers[0].target_groups, ["blue/1"]);
    assert_eq!(cutover.load_balancers[1].target_groups, ["green/1"]);
    assert_eq!(cutover.next.action, Action::Shift);
    assert_eq!(cutover.warnings[0].code, "left_out");
    assert!(cutover.warnings[0].message.contains("only-old.example.com"));
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
    let table: [(&str, &str, Break); 24] = [
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
        ("InvalidInput", "splits_differ", |g| {
            g.request["resume"] = json!(true);
            let of_shop = |record: &&mut Record| record.name.as_str().starts_with("shop");
            g.records.iter_mut().filter(of_shop).for_each(|record| record.weight = Some(50));
        }),
        ("InvalidInput", "ramp_too_slow", |g| {
            g.request["health"] = json!({"check_interval_s": 3600});
            g.request["ramp"] = json!({"linear": {"step_percent": 50, "bake_s": 604_800}});
        }),
        ("InvalidInput", "route_outside_zone", |g| {
            g.request["routes"] = json!(["chat.example.com", "chat.example.org"]);
        }),
    ];
    each_is_refused_by_its_code(table);
}

#[test]
fn what_else_is_wrong_is_refused_by_its_code() {
    let table: [(&str, &str, Break); 11] = [
        ("InvalidInput", "no_load_balancer", |g| {
            g.facts.load_balancers.remove("k8s-blue.elb.example");
        }),
        ("NotReady", "no_load_balancer", |g| {
            g.facts.load_balancers.remove("k8s-green.elb.example");
        }),
        ("NotReady", "load_balancer_not_active", |g| green(g).active = false),
        ("NotReady", "no_healthy_target", |g| green(g).groups[0].healthy = 0),
        ("NotReady", "capacity_too_low", |g| green(g).groups[0].healthy = 2),
        ("InvalidInput", "same_load_balancer", |g| {
            let blue = g.facts.load_balancers["k8s-blue.elb.example"].clone();
            *green(g) = blue;
        }),
        ("InvalidInput", "no_old_traffic", |g| g.facts.history.clear()),
        ("InvalidInput", "alarm_missing", |g| g.request["health"] = json!({"alarms": ["5xx"]})),
        ("InvalidInput", "alarm_already", |g| {
            g.request["health"] = json!({"alarms": ["5xx"]});
            g.facts.alarms = vec![("5xx".to_owned(), true)];
        }),
        ("InvalidInput", "ramp_too_long", |g| {
            g.request["ramp"] = json!({"linear": {"step_percent": 1, "bake_s": 10_000}});
        }),
        ("InvalidInput", "nothing_to_do", |g| {
            g.request["resume"] = json!(true);
            g.request["old"] = json!("blue");
            for record in &mut g.records {
                let new = record.set_identifier.as_deref() == Some("green");
                record.weight = Some(if new { 100 } else { 0 });
            }
        }),
    ];
    each_is_refused_by_its_code(table);
}

fn green(given: &mut Given) -> &mut FoundLoadBalancer {
    given.facts.load_balancers.get_mut("k8s-green.elb.example").expect("there")
}

#[test]
fn all_problems_are_told_at_once_and_what_cannot_pass_wins_over_what_may() {
    let mut given = Given::fine().with("health", json!({"alarms": ["gone"]}));
    given.records[0].policy = Policy::Simple;
    given.records[2].ttl_s = Some(900);
    green(&mut given).active = false;
    let (name, codes) = given.refused();
    assert_eq!(name, "InvalidInput");
    let wanted = ["alarm_missing", "simple_record", "ttl_differs", "ttl_too_long"];
    assert_eq!(codes, wanted.map(str::to_owned).into());
}

#[test]
fn waiting_ends_when_its_time_is_over_and_a_dry_run_does_not_wait() {
    let mut given = Given::fine();
    green(&mut given).active = false;
    given.waited_s = 7199;
    assert_eq!(given.refused().0, "NotReady");
    given.waited_s = 7200;
    let (name, codes) = given.refused();
    assert_eq!(name, "InvalidInput");
    assert!(codes.contains("not_ready_in_time") && codes.contains("load_balancer_not_active"));
    given.waited_s = 0;
    assert_eq!(given.with("dry_run", json!(true)).refused().0, "InvalidInput");
}

#[test]
fn resumed_it_goes_on_above_the_live_split_and_back_to_all_on_old() {
    let mut given = Given::fine().with("resume", json!(true));
    for record in &mut given.records {
        let new = record.set_identifier.as_deref() == Some("green");
        record.weight = Some(if new { 30 } else { 70 });
    }
    let cutover = given.validate().expect("accepted");
    assert_eq!(f64::from(cutover.intended()).to_string(), "40");
    assert_eq!(cutover.routes[0].original, Weights { old: 100, new: 0 });
    assert_eq!(cutover.routes[0].last, Weights { old: 70, new: 30 });

    for record in &mut given.records {
        let shop = record.name.as_str().starts_with("shop");
        let new = record.set_identifier.as_deref() == Some("green");
        record.weight = Some(if new || !shop { 200 } else { 0 });
    }
    let cutover = given.validate().expect("accepted");
    let names: Vec<&str> = cutover.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["chat.example.com"], "one that is there already is left out");
    assert_eq!(cutover.warnings[0].code, "already_there");
    assert_eq!(cutover.routes[0].original, Weights { old: 255, new: 0 }, "a weight it can have");
}

#[test]
fn a_new_side_that_is_waited_for_needs_no_history() {
    let outlook = |given: &Given| given.survey().outlook(&given.facts, &given.attempt());
    assert_eq!(outlook(&Given::fine()), Outlook::Accepted);
    let mut silent = Given::fine();
    silent.facts.history.clear();
    assert_eq!(outlook(&silent), Outlook::Accepted, "whatever the traffic is");
    let dry = Given::fine().with("dry_run", json!(true)).with("health", json!({"alarms": ["5xx"]}));
    assert_eq!(outlook(&dry), Outlook::Refused);
    let breaks: [Break; 4] = [
        |given| green(given).active = false,
        |given| green(given).groups[0].healthy = 0,
        |given| given.records.retain(|r| r.set_identifier.as_deref() != Some("green")),
        |given| given.records.push(alias("late.example.com", "A", "blue", 100)),
    ];
    for break_it in breaks {
        let mut given = Given::fine();
        break_it(&mut given);
        given.facts.history.clear();
        assert_eq!(outlook(&given), Outlook::NotReady);
        assert_eq!(given.refused().0, "NotReady");
        given.waited_s = 7200;
        assert_ne!(outlook(&given), Outlook::NotReady);
    }
    let survey = Given::fine().survey();
    assert_eq!(survey.dns_names(Side::Old), BTreeSet::from(["k8s-blue.elb.example".to_owned()]));
    assert_eq!(survey.dns_names(Side::New), BTreeSet::from(["k8s-green.elb.example".to_owned()]));
}

#[test]
fn what_may_pass_is_looked_at_again_while_something_is_waited_for_anyway() {
    let mut given = Given::fine().with("health", json!({"alarms": ["5xx"]}));
    given.facts.alarms = vec![("5xx".to_owned(), true)];
    assert_eq!(given.refused().0, "InvalidInput");
    green(&mut given).active = false;
    assert_eq!(given.refused().0, "NotReady");
}

#[test]
fn a_dry_run_ends_with_a_plan() {
    let cutover = Given::fine().with("dry_run", json!(true)).validate().expect("planned");
    assert_eq!(cutover.next.action, Action::Planned);
    let plan = cutover.report.and_then(|report| report.plan).expect("a plan");
    assert_eq!(plan.steps.len(), 10);
    assert_eq!(plan.steps[1].shift_at_s, 420);
    assert_eq!(plan.steps[0].weights, Weights { old: 90, new: 10 });
    assert_eq!(plan.duration_s, 4200);
    assert_eq!((plan.change_calls_per_shift, plan.metric_calls_per_check), (1, 1));
    assert_eq!(plan.metrics_per_check, 8);
    assert_eq!(plan.checks, 150);
    assert_eq!(plan.cost_usd.to_string(), "0.0238");
    for latency_by in ["count", "percentile"] {
        let health = json!({"latency_target_s": 0.5, "latency_by": latency_by});
        let given = Given::fine().with("health", health).with("dry_run", json!(true));
        let report = given.validate().expect("planned").report.expect("a report");
        let plan = report.plan.expect("a plan");
        assert_eq!(plan.metrics_per_check, 10, "one more of each load balancer: {latency_by}");
    }
}

#[test]
fn of_two_executions_the_one_that_started_first_has_the_route() {
    let running = |name: &str, second, input: &str| Running {
        name: name.to_owned(),
        started_at: at(second),
        input: Some(input.to_owned()),
    };
    let table = [
        (running("a", 999, r#"{"new":"green","routes":["chat.example.com"]}"#), true),
        (running("a", 999, r#"{"new":"green","routes":["else.example.com"]}"#), false),
        (running("a", 999, r#"{"new":"green"}"#), true),
        (running("a", 999, r#"{"new":"green","place":"example.com."}"#), true),
        (running("a", 999, r#"{"new":"green","place":"EXAMPLE.COM"}"#), true),
        (running("a", 999, r#"{"new":"green","place":"/hostedzone/Z1"}"#), true),
        (running("a", 999, r#"{"new":"green","place":"/hostedzone/Z2"}"#), false),
        (running("a", 999, r#"{"new":"green","routes":["CHAT.example.com."]}"#), true),
        (running("a", 999, r#"{"new":"red","routes":["chat.example.com"]}"#), true),
        (running("a", 999, r#"{"new":"red","routes":["chat.example.com"],"place":"Z2"}"#), false),
        (running("a", 999, r#"{"routes":"chat.example.com","new":"red"}"#), true),
        (running("a", 999, r#"{"new":7}"#), true),
        (
            running(
                "a",
                999,
                r#"{"source":"cutover","detail-type":"Cluster Ready","detail":{"new":"green"}}"#,
            ),
            true,
        ),
        (running("a", 999, r#"{"new":"green","ramp":"of an older version"}"#), true),
        (running("a", 999, r#"{"new":"green","place":"Z1"}"#), true),
        (running("a", 999, r#"{"new":"green","place":"example.org"}"#), false),
        (running("a", 999, r#"{"new":"red"}"#), false),
        (running("a", 999, r#"{"new":"green","dry_run":true}"#), false),
        (running("a", 999, "not JSON"), true),
        (running("a", 1000, r#"{"new":"green"}"#), true),
        (running("z", 1000, r#"{"new":"green"}"#), false),
        (running("a", 1001, r#"{"new":"green"}"#), false),
    ];
    for (other, refused) in table {
        let mut given = Given::fine();
        given.facts.running = vec![other.clone()];
        assert_eq!(given.validate().is_err(), refused, "{other:?}");
        if refused {
            assert_eq!(given.refused().1, BTreeSet::from(["already_running".to_owned()]));
        }
    }
}

#[test]
fn another_executions_input_is_read_over_the_same_defaults() {
    let other = |input: &str| Running {
        name: "a".to_owned(),
        started_at: at(999),
        input: Some(input.to_owned()),
    };
    let table = [
        (json!({"new": "green"}), "{}", true),
        (json!({"new": "green", "dry_run": true}), "{}", false),
        (json!({"new": "green", "routes": ["else.example.com"]}), "{}", false),
        (json!({"new": "green", "routes": ["Chat.Example.com."]}), "{}", true),
        (json!({"new": "green"}), r#"{"place":"Z2"}"#, false),
    ];
    for (defaults, input, refused) in table {
        let mut given = Given::fine();
        given.facts.running = vec![other(input)];
        given.request = json!({"new": "green", "old": "blue", "place": "Z1", "dry_run": true,
                               "routes": ["chat.example.com"]});
        given.defaults = defaults;
        assert_eq!(given.validate().is_err(), refused, "{input} over {}", given.defaults);
    }
}

#[test]
fn another_execution_with_a_third_side_wants_the_routes_that_have_its_records() {
    let mut given = Given::fine().with("old", json!("blue"));
    let input = Some(r#"{"new":"red"}"#.to_owned());
    given.facts.running = vec![Running { name: "a".to_owned(), started_at: at(999), input }];
    assert!(given.validate().is_ok());
    given.records.push(alias("chat.example.com", "A", "red", 0));
    assert_eq!(given.refused().1, BTreeSet::from(["already_running".to_owned()]));
}

#[test]
fn only_application_load_balancers_are_taken_and_others_are_not_waited_for() {
    let point_at = |g: &mut Given, id: &str, dns_name: &str| {
        for record in g.records.iter_mut().filter(|r| r.set_identifier.as_deref() == Some(id)) {
            record.target = Target::Values(vec![dns_name.to_owned()]);
        }
    };
    let mut table = vec![];
    for (id, side) in [("blue", Side::Old), ("green", Side::New)] {
        for kind in [LoadBalancerKind::Network, LoadBalancerKind::Gateway] {
            let mut given = Given::fine();
            let key = format!("k8s-{id}.elb.example");
            given.facts.load_balancers.get_mut(&key).expect("there").kind = kind;
            table.push((given, "InvalidInput", "load_balancer_type"));
        }
        for (name, code) in [
            ("k8s-x-8f3ab2c1d4e5f607.elb.us-east-1.amazonaws.com", "load_balancer_type"),
            ("k8s-x-1.eu-west-1.elb.amazonaws.com", "foreign_target"),
            ("x.s3-website-us-east-1.amazonaws.com", "foreign_target"),
            ("192.0.2.1", "foreign_target"),
        ] {
            let mut given = Given::fine();
            point_at(&mut given, id, name);
            table.push((given, "InvalidInput", code));
        }
        for name in ["k8s-x-1.us-east-1.elb.amazonaws.com", "lb.example.com"] {
            let mut given = Given::fine();
            point_at(&mut given, id, name);
            let waited_for = if side == Side::New { "NotReady" } else { "InvalidInput" };
            table.push((given, waited_for, "no_load_balancer"));
        }
    }
    for (mut given, name, code) in table {
        given.request["health"] = json!({"on_no_data": "advance"});
        let refused = given.refused();
        assert_eq!(refused, (name, BTreeSet::from([code.to_owned()])), "{:?}", given.records[0]);
    }
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
            ("k8s-blue.elb.example", "InvalidInput", "old_side_out_of_dns"),
            ("k8s-green.elb.example", "NotReady", "new_side_out_of_dns"),
        ] {
            let break_it = |mut given: Given| {
                let found = given.facts.load_balancers.get_mut(key).expect("there");
                found.groups.push(extra.clone());
                given
            };
            let mut waited_for = break_it(evaluating());
            waited_for.facts.load_balancers.remove("k8s-green.elb.example");
            let refused = waited_for.refused();
            assert_eq!(refused.0, name, "the old side is looked at without the new one");
            let refused = break_it(evaluating()).refused();
            assert_eq!(refused, (name, BTreeSet::from([code.to_owned()])), "{extra:?}");
            let cutover = break_it(Given::fine()).validate().expect("only warned");
            let warned: Vec<&str> = cutover.warnings.iter().map(|w| w.code.as_str()).collect();
            let of_new = key.contains("green");
            assert_eq!(warned, ["unhealthy_target_group"].repeat(usize::from(of_new)));
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
fn a_fence_tells_whose_hand_is_on_a_route() {
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
    // "arn:us" is our execution: its machine is "arn".
    let ended = with("cutover 3 2026-11-25T16:00:00Z arn:before").validate().expect("accepted");
    assert_eq!(ended.warnings[0].code, "fence_left");
    let supersedes: Vec<_> = ended.routes.iter().map(|r| r.supersedes.as_deref()).collect();
    assert_eq!(supersedes, [Some("arn:before"), None]);
    let mut running = with("cutover 3 2026-11-25T16:00:00Z arn:later");
    running.facts.running = vec![Running {
        name: "later".to_owned(),
        started_at: at(2000),
        input: Some(r#"{"new":"green"}"#.to_owned()),
    }];
    assert_eq!(running.refused().1, BTreeSet::from(["fenced".to_owned()]));
    running.facts.running[0].started_at = at(1);
    assert_eq!(running.refused().1, BTreeSet::from(["already_running".to_owned()]));
    let elsewhere = with("cutover 3 2026-11-25T16:00:00Z other:x");
    assert_eq!(elsewhere.refused(), ("InvalidInput", BTreeSet::from(["fenced".to_owned()])));
    let odd = with("v=spf1 -all");
    assert_eq!(odd.refused().1, BTreeSet::from(["fence_unreadable".to_owned()]));
    let cutover = odd.with("fence", json!(false)).validate().expect("it is not needed");
    assert!(!cutover.fence);
    let left = with("cutover 3 2026-11-25T16:00:00Z arn:before");
    let holders = left.survey().fence_holders(&left.attempt());
    assert_eq!(holders, BTreeSet::from(["before".to_owned()]));
    assert_eq!(left.with("fence", json!(false)).refused().0, "InvalidInput");
    let ours = with("cutover 1 2026-11-25T16:00:00Z arn:us").validate().expect("a repeat");
    assert_eq!(ours.warnings, []);
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
fn more_routes_than_the_state_holds_are_refused_with_a_number_that_fits() {
    let mut given = Given::fine();
    for index in 0..600 {
        let name = format!("application-number-{index}.example.com");
        given.records.push(alias(&name, "A", "blue", 100));
        given.records.push(alias(&name, "A", "green", 0));
    }
    assert_eq!(given.refused().1, BTreeSet::from(["too_many_routes".to_owned()]));
}

#[test]
fn a_new_side_with_too_few_hosts_for_a_lump_is_warned_about() {
    let mut given = Given::fine().with("capacity_min_percent", json!(50));
    given.facts.load_balancers.get_mut("k8s-green.elb.example").expect("there").groups[0].healthy =
        2;
    let warnings = given.validate().expect("accepted").warnings;
    assert_eq!(warnings[0].code, "lumpy_split");
    assert_eq!(
        warnings[0].message,
        "at 20 %, 10 resolvers may send 70 % of the requests to app/k8s-green/1 for a while, which \
         takes 3 hosts as app/k8s-blue/1 has them; it has 2"
    );
    assert_eq!(Given::fine().validate().expect("accepted").warnings, []);
}

#[test]
fn a_cutover_that_knows_little_of_the_old_side_is_warned_about() {
    let mut given = Given::fine();
    for series in given.facts.history.values_mut() {
        series.counts.truncate(500);
    }
    let cutover = given.validate().expect("accepted");
    assert_eq!(cutover.warnings[0].code, "short_baseline");
    let baseline = cutover.load_balancers[0].baseline.expect("of the old side");
    assert_eq!((baseline.hosts, baseline.errors.stretches), (3, 500));
    assert_eq!(cutover.load_balancers[1].baseline, None, "of the new side there is none");
}

#[test]
fn quiet_routes_that_may_advance_without_data_are_only_warned_about() {
    let mut given = Given::fine().with("health", json!({"on_no_data": "advance"}));
    given.facts.history.clear();
    let cutover = given.validate().expect("accepted");
    assert_eq!(cutover.warnings[0].code, "no_old_traffic");
}
