use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::cutover::{CountedBy, Execution, Route};
use crate::evidence::{Counts, OwnSeries};
use crate::next::Action;
use crate::request::tests::ROUTERS;
use crate::router::survey::{Backend, Behaviour, Behind, Endpoint, Found, Group, Splitting};
use crate::router::{Mark, RouteId, Side, Sides, Weights};
use crate::validate::facts::{Busiest, Door, Entrance, Running, own_counts_of};
use crate::validate::probes::{Answered, Probed};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// A router of lumps, whose writes come in batches.
const BEHAVIOUR: Behaviour = Behaviour {
    live_in_s: 60,
    splits: Splitting::PerAnswer,
    routes_per_write: 100,
    routes_at_once: 135,
    routes_per_s: 9.0,
    weight_max: 255,
    atomic: true,
};

fn found(name: &str) -> Found {
    let endpoint = |id: &str| Endpoint { id: id.to_owned(), all_or_nothing: None };
    Found {
        route: RouteId::from(name),
        live: Weights { old: 100, new: 0 },
        old: endpoint("blue"),
        new: endpoint("green"),
        linger_s: 60,
        aliases: BTreeSet::new(),
        side_names: ["blue".to_owned(), "green".to_owned()].into(),
        other_writer: None,
        shapes: vec![7],
        mark: None,
    }
}

fn backend(id: &str, healthy: u32) -> Behind {
    Behind::Found(Backend {
        called: format!("balancer {id}"),
        id: id.to_owned(),
        meter: id.to_owned(),
        active: true,
        groups: vec![Group { id: format!("{id}/1"), healthy, registered: 3, by_node: false }],
    })
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
    survey: Survey,
    facts: Facts,
    history: History,
    waited_s: i64,
}

impl Given {
    fn fine() -> Self {
        let survey = Survey {
            sides: Some(Sides { old: "blue".to_owned(), new: "green".to_owned() }),
            routes: vec![found("chat.example.com"), found("shop.example.com")],
            left_out: None,
            findings: vec![],
            warnings: vec![],
            scopes: vec!["example.com".to_owned()],
            behaviour: BEHAVIOUR,
            place: json!({"found": "example.com"}),
            other_writers: BTreeMap::new(),
            writers_are_known: true,
        };
        let both = ["blue", "green"].map(|id| (id.to_owned(), backend(id, 3)));
        Self {
            defaults: json!({"place": "example.com"}),
            request: json!({"new": "green"}),
            survey,
            facts: Facts { behind: both.into(), ..Facts::default() },
            history: History::from([("blue".to_owned(), a_day())]),
            waited_s: 0,
        }
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.request[field] = value;
        self
    }

    fn begun(&self) -> Validation {
        let request =
            Request::parse(&self.defaults, &self.request, &ROUTERS, 60).expect("a good request");
        let (survey, facts) = (self.survey.clone(), self.facts.clone().settled(&request.health));
        Validation::of(request, survey, facts, self.attempt(), &ROUTERS)
    }

    fn attempt(&self) -> Attempt {
        let execution = Execution { arn: "arn:us".to_owned(), name: "us".to_owned() };
        Attempt { execution, started_at: at(1000), now: at(1000 + self.waited_s) }
    }

    fn validate(&self) -> Result<Cutover, Failure> {
        self.begun().conclude(&self.history)
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
fn routes_that_lack_the_new_side_are_waited_for_and_then_left_where_they_are() {
    let mut given = Given::fine();
    given.survey.left_out =
        Some(Problem::new("left_out", "only-old.example.com has no new side; write one"));
    assert_eq!(given.refused(), ("NotReady", BTreeSet::from(["left_out".to_owned()])));
    given.waited_s = i64::from(LEFT_OUT_WAIT_S);
    let cutover = given.validate().expect("accepted");
    let names: Vec<&str> = cutover.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["chat.example.com", "shop.example.com"]);
    assert_eq!(cutover.sides, Sides { old: "blue".to_owned(), new: "green".to_owned() });
    assert_eq!(cutover.router.place, json!({"found": "example.com"}));
    assert_eq!(cutover.routes[0].original, Weights { old: 100, new: 0 });
    assert_eq!(cutover.meters.len(), 2, "shared ones are listed once");
    assert_eq!(cutover.meters[0].hosts, ["blue/1"]);
    assert_eq!(cutover.meters[1].hosts, ["green/1"]);
    assert_eq!(cutover.next.action, Action::Shift);
    assert_eq!(cutover.warnings[0].code, "left_out");
    assert!(cutover.warnings[0].message.contains("only-old.example.com"));
}

/// Whether a sentence says, behind a colon or a semicolon, what is allowed or to be done.
fn says_what_to_do(message: &str) -> bool {
    let words = "allowed wait look give name take mend shorten start point resume write roll report remove nothing";
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
fn what_else_is_wrong_is_refused_by_its_code() {
    let table: [(&str, &str, Break); 20] = [
        ("InvalidInput", "nothing_there", |g| {
            g.facts.behind.insert("blue".to_owned(), nothing());
        }),
        ("NotReady", "nothing_there", |g| {
            g.facts.behind.insert("green".to_owned(), nothing());
        }),
        ("InvalidInput", "never", |g| {
            g.facts.behind.insert("blue".to_owned(), never());
        }),
        ("InvalidInput", "never", |g| {
            g.facts.behind.insert("green".to_owned(), never());
        }),
        ("InvalidInput", "not_looked_at", |g| {
            g.facts.behind.remove("green");
        }),
        ("InvalidInput", "a_router_s", |g| {
            g.survey.findings.push(finding("a_router_s", Remedy::Person));
        }),
        ("NotReady", "a_router_s", |g| {
            g.survey.findings.push(finding("a_router_s", Remedy::Wait));
        }),
        ("InvalidInput", "split_not_initial", |g| {
            g.survey.routes[0].live = Weights { old: 50, new: 50 };
        }),
        ("InvalidInput", "split_not_initial", |g| {
            g.survey.routes[0].live = Weights { old: 0, new: 50 };
        }),
        ("InvalidInput", "splits_differ", |g| {
            g.request["resume"] = json!(true);
            g.survey.routes[0].live = Weights { old: 50, new: 50 };
        }),
        ("InvalidInput", "ramp_too_slow", |g| {
            g.request["health"] = json!({"check_interval_s": 3600});
            g.request["ramp"] = json!({"linear": {"step_percent": 50, "bake_s": 604_800}});
        }),
        ("NotReady", "not_active", |g| green(g).active = false),
        ("NotReady", "no_healthy_target", |g| green(g).groups[0].healthy = 0),
        ("NotReady", "capacity_too_low", |g| green(g).groups[0].healthy = 2),
        ("InvalidInput", "same_endpoint", |g| {
            let blue = behind(g, "blue").clone();
            *green(g) = blue;
        }),
        ("InvalidInput", "no_old_traffic", |g| g.history.clear()),
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
            for found in &mut g.survey.routes {
                found.live = Weights { old: 0, new: 100 };
            }
        }),
    ];
    each_is_refused_by_its_code(table);
}

fn behind<'g>(given: &'g mut Given, id: &str) -> &'g mut Backend {
    match given.facts.behind.get_mut(id) {
        Some(Behind::Found(backend)) => backend,
        other => panic!("{id}: {other:?}"),
    }
}

fn green(given: &mut Given) -> &mut Backend {
    behind(given, "green")
}

fn nothing() -> Behind {
    let (what, allowed) = ("points at nothing".to_owned(), "something".to_owned());
    Behind::Nothing { code: "nothing_there", what, allowed }
}

fn never() -> Behind {
    Behind::Never {
        code: "never",
        why: "points at what cannot be counted; allowed: what can".to_owned(),
    }
}

/// Something that speaks against a cutover, as a router says it.
fn finding(code: &str, remedy: Remedy) -> Finding {
    Finding { problem: Problem::new(code, "a router says so: mend it"), remedy }
}

#[test]
fn all_problems_are_told_at_once_and_what_cannot_pass_wins_over_what_may() {
    let mut given = Given::fine().with("health", json!({"alarms": ["gone"]}));
    given.survey.findings.push(finding("a_router_s", Remedy::Person));
    green(&mut given).active = false;
    let (name, codes) = given.refused();
    assert_eq!(name, "InvalidInput");
    let wanted = ["a_router_s", "alarm_missing", "not_active"];
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
    assert!(codes.contains("not_ready_in_time") && codes.contains("not_active"));
    given.waited_s = 0;
    assert_eq!(given.with("dry_run", json!(true)).refused().0, "InvalidInput");
}

#[test]
fn resumed_it_goes_on_above_the_live_split_and_back_to_all_on_old() {
    let mut given = Given::fine().with("resume", json!(true));
    for found in &mut given.survey.routes {
        found.live = Weights { old: 70, new: 30 };
    }
    let cutover = given.validate().expect("accepted");
    assert_eq!(f64::from(cutover.intended()).to_string(), "40");
    assert_eq!(cutover.routes[0].original, Weights { old: 100, new: 0 });
    assert_eq!(cutover.routes[0].last, Weights { old: 70, new: 30 });

    given.survey.routes[0].live = Weights { old: 200, new: 200 };
    given.survey.routes[1].live = Weights { old: 0, new: 200 };
    let cutover = given.validate().expect("accepted");
    let names: Vec<&str> = cutover.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["chat.example.com"], "one that is there already is left out");
    assert_eq!(cutover.warnings[0].code, "already_there");
    assert_eq!(cutover.routes[0].original, Weights { old: 255, new: 0 }, "a weight it can have");
}

#[test]
fn a_new_side_that_is_waited_for_needs_no_history() {
    let outlook = |given: &Given| given.begun().outlook();
    assert_eq!(outlook(&Given::fine()), Outlook::Accepted);
    let mut silent = Given::fine();
    silent.history.clear();
    assert_eq!(outlook(&silent), Outlook::Accepted, "whatever the traffic is");
    let dry = Given::fine().with("dry_run", json!(true)).with("health", json!({"alarms": ["5xx"]}));
    assert_eq!(outlook(&dry), Outlook::Refused);
    let breaks: [Break; 4] = [
        |given| green(given).active = false,
        |given| green(given).groups[0].healthy = 0,
        |given| given.survey.findings.push(finding("no_new_part", Remedy::Wait)),
        |given| {
            given.survey.left_out = Some(Problem::new("left_out", "late.example.com: wait for it"));
        },
    ];
    for break_it in breaks {
        let mut given = Given::fine();
        break_it(&mut given);
        given.history.clear();
        assert_eq!(outlook(&given), Outlook::NotReady);
        assert_eq!(given.refused().0, "NotReady");
        given.waited_s = 7200;
        assert_ne!(outlook(&given), Outlook::NotReady);
    }
    let begun = Given::fine().begun();
    assert_eq!(begun.meters(Side::Old), BTreeSet::from(["blue".to_owned()]));
    assert_eq!(begun.meters(Side::New), BTreeSet::from(["green".to_owned()]));
}

#[test]
fn what_fails_before_a_side_answers_must_be_below_the_limit_before_the_start() {
    let mut given = Given::fine();
    let mut day = a_day();
    let shared = |errors| vec![Some(Counts { requests: 2000, errors }); 1440];
    day.shared = shared(100);
    given.history.insert("blue".to_owned(), day.clone());
    given.validate().expect("at the limit of 5 %");
    day.shared = shared(101);
    given.history.insert("blue".to_owned(), day);
    let failure = given.validate().expect_err("over it");
    assert_eq!(failure.problems()[0].code, "shared_failures");
    let message = &failure.problems()[0].message;
    assert!(
        message.starts_with("5.05 % of the requests around the old balancer blue"),
        "{message}"
    );
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
    assert_eq!(plan.metrics_per_check, 18);
    assert_eq!(plan.checks, 150);
    assert_eq!(plan.cost_usd.to_string(), "0.0388");
    for latency_by in ["count", "percentile"] {
        let health = json!({"latency_target_s": 0.5, "latency_by": latency_by});
        let given = Given::fine().with("health", health).with("dry_run", json!(true));
        let report = given.validate().expect("planned").report.expect("a report");
        let plan = report.plan.expect("a plan");
        assert_eq!(plan.metrics_per_check, 20, "one more of each meter: {latency_by}");
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
        (running("a", 999, r#"{"new":"green","place":"example.com"}"#), true),
        (running("a", 999, r#"{"new":"green","router":{"names":{"place":"example.com"}}}"#), true),
        (running("a", 999, r#"{"new":"green","router":{"names":{"place":"example.org"}}}"#), false),
        (running("a", 999, r#"{"new":"green","router":{"rules":{"of":"example.com"}}}"#), false),
        (running("a", 999, r#"{"new":"green","router":7}"#), true),
        (running("a", 999, r#"{"new":"green","routes":["CHAT.example.com"]}"#), true),
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
fn another_execution_may_name_a_route_by_an_alias() {
    let mut given = Given::fine();
    given.facts.running = vec![Running {
        name: "a".to_owned(),
        started_at: at(999),
        input: Some(r#"{"new":"green","routes":["www.example.com"]}"#.to_owned()),
    }];
    given.validate().expect("it has nothing of ours");
    given.survey.routes[0].aliases = [RouteId::from("www.example.com")].into();
    assert_eq!(given.refused().1, BTreeSet::from(["already_running".to_owned()]));
    given.survey.routes[0].aliases = [RouteId::from("*.example.com")].into();
    given.validate().expect("this router's aliases are no patterns");
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
        (json!({"new": "green", "routes": ["Chat.Example.com"]}), "{}", true),
        (json!({"new": "green"}), r#"{"place":"Z2"}"#, false),
    ];
    for (defaults, input, refused) in table {
        let mut given = Given::fine();
        given.facts.running = vec![other(input)];
        given.request = json!({"new": "green", "old": "blue", "place": "example.com", "dry_run": true,
                               "routes": ["chat.example.com"]});
        given.defaults = defaults;
        assert_eq!(given.validate().is_err(), refused, "{input} over {}", given.defaults);
    }
}

#[test]
fn another_execution_with_a_third_side_wants_the_routes_that_have_a_part_of_it() {
    let mut given = Given::fine().with("old", json!("blue"));
    let input = Some(r#"{"new":"red"}"#.to_owned());
    given.facts.running = vec![Running { name: "a".to_owned(), started_at: at(999), input }];
    assert!(given.validate().is_ok());
    given.survey.routes[0].side_names.insert("red".to_owned());
    assert_eq!(given.refused().1, BTreeSet::from(["already_running".to_owned()]));
}

#[test]
fn a_fence_tells_whose_hand_is_on_a_route() {
    let with = |text: &str| {
        let mut given = Given::fine();
        given.survey.routes[0].mark = Mark::read(text);
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
    let left = with("cutover 3 2026-11-25T16:00:00Z arn:before");
    let holders = mark_holders(&left.survey, &left.attempt());
    assert_eq!(holders, BTreeSet::from(["before".to_owned()]));
    assert_eq!(left.with("fence", json!(false)).refused().0, "InvalidInput");
    let ours = with("cutover 1 2026-11-25T16:00:00Z arn:us").validate().expect("a repeat");
    assert_eq!(ours.warnings, []);
}

#[test]
fn more_routes_than_the_state_holds_are_refused_with_a_number_that_fits() {
    let mut given = Given::fine();
    for index in 0..600 {
        given.survey.routes.push(found(&format!("application-number-{index}.example.com")));
    }
    assert_eq!(given.refused().1, BTreeSet::from(["too_many_routes".to_owned()]));
}

#[test]
fn a_new_side_with_too_few_hosts_for_a_lump_is_warned_about() {
    let mut given = Given::fine().with("capacity_min_percent", json!(50));
    green(&mut given).groups[0].healthy = 2;
    let warnings = given.validate().expect("accepted").warnings;
    assert_eq!(warnings[0].code, "lumpy_split");
    assert_eq!(
        warnings[0].message,
        "at 20 %, 10 resolvers may send 70 % of the requests to the balancer green for a while, \
         which takes 3 hosts as the balancer blue has them; it has 2: give it that many first"
    );
    given.survey.behaviour.splits = Splitting::PerRequest;
    assert_eq!(given.validate().expect("accepted").warnings, [], "each request is drawn by itself");
    assert_eq!(Given::fine().validate().expect("accepted").warnings, []);
}

#[test]
fn what_two_routes_share_is_said_once_even_if_only_one_of_them_is_left_out() {
    let mixed = || {
        let mut given = Given::fine().with("capacity_min_percent", json!(50));
        given.survey.routes[0].new.all_or_nothing = Some("its router leaves it out");
        given
    };
    let codes = |problems: &[Problem]| -> Vec<String> {
        problems.iter().map(|problem| problem.code.clone()).collect()
    };
    let mut lumpy = mixed();
    green(&mut lumpy).groups[0].healthy = 2;
    assert_eq!(codes(&lumpy.validate().expect("accepted").warnings), ["lumpy_split"]);

    let mut slow = mixed();
    green(&mut slow).active = false;
    let Err(Failure::NotReady(problems)) = slow.validate() else { panic!("not waited for") };
    assert_eq!(codes(&problems), ["not_active"]);

    let mut group = mixed();
    green(&mut group).groups.push(Group {
        id: "green/2".into(),
        healthy: 0,
        registered: 1,
        by_node: false,
    });
    let Err(Failure::NotReady(problems)) = group.validate() else { panic!("not waited for") };
    assert_eq!(codes(&problems), ["new_side_left_out"]);
}

#[test]
fn a_cutover_that_knows_little_of_the_old_side_is_warned_about() {
    let mut given = Given::fine();
    for series in given.history.values_mut() {
        series.counts.truncate(500);
    }
    let cutover = given.validate().expect("accepted");
    assert_eq!(cutover.warnings[0].code, "short_baseline");
    let baseline = cutover.meters[0].baseline.as_ref().expect("of the old side");
    assert_eq!((baseline.hosts, baseline.errors.stretches), (3, 500));
    assert_eq!(cutover.meters[1].baseline, None, "of the new side there is none");
}

#[test]
fn quiet_routes_that_may_advance_without_data_are_only_warned_about() {
    let mut given = Given::fine().with("health", json!({"on_no_data": "advance"}));
    given.history.clear();
    let cutover = given.validate().expect("accepted");
    assert_eq!(cutover.warnings[0].code, "no_old_traffic");
}

#[test]
fn steps_that_will_be_too_thin_to_judge_are_named_before_the_start() {
    let case = include_str!("../../tests/data/requests/lowtraffic_day.json");
    let mut given = Given::fine();
    given.request = serde_json::from_str(case).expect("JSON");
    let day = |requests| Series {
        counts: vec![Some(Counts { requests, errors: 0 }); 1440],
        ..Series::default()
    };
    given.history.insert("blue".to_owned(), day(2));
    let warnings = given.validate().expect("only warned").warnings;
    let warning = warnings.iter().find(|problem| problem.code == "thin_step").expect("warned");
    let said = "at the present rate of the old balancer blue, the new side will have too few recent requests when a step \
                should be passed: step 1 (10 %): about 4 in the last 20 periods, where 5 are needed; such a step goes back";
    assert!(warning.message.starts_with(said), "{}", warning.message);
    assert!(!warning.message.contains("a longer bake,"), "that does not help: {}", warning.message);
    given.history.insert("blue".to_owned(), day(0));
    given.history.entry("blue".to_owned()).and_modify(|of| {
        of.counts.iter_mut().step_by(2).flatten().for_each(|counts| counts.requests = 1);
    });
    let warnings = given.validate().expect("only warned").warnings;
    let warning = warnings.iter().find(|problem| problem.code == "thin_step").expect("warned");
    let said = "will count fewer requests than requests_min while a step bakes and is held: step 1 (10 %): about 75; ";
    assert!(warning.message.contains(said), "{}", warning.message);
    // What a long bake counts is added up: 4 a minute are 600 by its end.
    given.history.insert("blue".to_owned(), day(4));
    let warnings = given.validate().expect("accepted").warnings;
    assert!(warnings.iter().all(|problem| problem.code != "thin_step"), "{warnings:?}");
    given.history.insert("blue".to_owned(), day(1000));
    let warnings = given.validate().expect("accepted").warnings;
    assert!(warnings.iter().all(|problem| problem.code != "thin_step"), "{warnings:?}");
}

#[test]
fn a_day_of_one_s_own_counts_is_kept_once_and_a_short_one_is_said() {
    let metric =
        json!({"namespace": "Shop", "metric": "Orders", "dimensions": {"Cluster": "{side}"}});
    let orders = json!({"name": "orders", "requests": metric, "failures": metric});
    let given = Given::fine().with("health", json!({"signals": [orders]}));
    let day = |periods| {
        let counted = Some(Counts { requests: 1000, errors: 10 });
        let mut validation = given.begun();
        validation
            .look_at_own_days(&[OwnSeries { old: vec![counted; periods], ..OwnSeries::default() }]);
        validation.conclude(&given.history).expect("accepted")
    };
    let cutover = day(1440);
    let orders = cutover.own_days["orders"];
    assert_eq!((orders.stretches, orders.usual_rate), (1440, 0.01));
    assert!(cutover.warnings.iter().all(|warning| warning.code != "short_baseline"));
    let short = &day(500).warnings[0];
    assert_eq!(short.code, "short_baseline");
    assert!(short.message.contains("the bursts of orders:"), "{}", short.message);
}

#[test]
fn a_ramp_that_leaves_no_time_to_judge_is_refused() {
    for case in [
        include_str!("../../tests/data/requests/hold0.json"),
        include_str!("../../tests/data/requests/blind.json"),
    ] {
        let mut given = Given::fine();
        given.request = serde_json::from_str(case).expect("JSON");
        assert_eq!(given.refused().1, BTreeSet::from(["never_judged".to_owned()]));
    }
}

/// A route's part of an endpoint, with the number of its healthy targets.
fn part(id: &str, healthy: u32) -> Backend {
    let group = Group { id: format!("{id}/own"), healthy, registered: 3, by_node: false };
    Backend {
        called: format!("part of balancer {id}"),
        id: id.to_owned(),
        meter: format!("{id},own"),
        active: true,
        groups: vec![group],
    }
}

fn enter(given: &mut Given, endpoint: &str, route: &str, entrance: Entrance) {
    given.facts.entrances.insert((endpoint.to_owned(), RouteId::from(route)), entrance);
}

/// Both sides of the first route can be told apart.
fn apart() -> Given {
    let mut given = Given::fine();
    for side in ["blue", "green"] {
        let entrance = Entrance { own: Some(part(side, 3)), ..Entrance::default() };
        enter(&mut given, side, "chat.example.com", entrance);
    }
    given.history.insert("blue,own".to_owned(), a_day());
    given
}

#[test]
fn a_route_is_counted_by_itself_where_both_sides_can_be_told_apart() {
    let cutover = apart().validate().expect("accepted");
    let of = |index: usize| cutover.meters[index].id.as_str();
    let meters: Vec<_> =
        cutover.routes.iter().map(|route| (of(route.old_meter), of(route.new_meter))).collect();
    assert_eq!(meters, [("blue,own", "green,own"), ("blue", "green")]);
    let is_alone = |route: &Route| route.counted_by == CountedBy::MetersAlone;
    let alone: Vec<bool> = cutover.routes.iter().map(is_alone).collect();
    assert_eq!(alone, [true, false]);
    assert_eq!(cutover.meters[0].hosts, ["blue/own"]);

    let mut failing = a_day();
    failing.shared = vec![Some(Counts { requests: 100, errors: 90 }); 1440];
    let mut given = apart();
    given.history.insert("blue,own".to_owned(), failing);
    given
        .validate()
        .expect("what the old endpoint answers by itself is not shared with the new one");

    let mut half = apart();
    enter(&mut half, "green", "chat.example.com", Entrance::default());
    let cutover = half.validate().expect("accepted");
    assert_eq!(cutover.meters.len(), 2, "counted alike: both together with the other route");
    assert!(cutover.routes.iter().all(|route| route.counted_by == CountedBy::Meters));
}

#[test]
fn capacity_is_that_of_the_route_s_own_groups() {
    let mut given = apart();
    let entrance = Entrance { own: Some(part("green", 2)), ..Entrance::default() };
    enter(&mut given, "green", "chat.example.com", entrance);
    green(&mut given).groups[0].healthy = 90;
    let failure = given.validate().expect_err("too few");
    let problem = &failure.problems()[0];
    assert_eq!(problem.code, "capacity_too_low");
    assert!(problem.message.starts_with("the new part of balancer green has 2 healthy targets"));
}

#[test]
fn a_dead_group_of_a_route_is_mended_first_and_one_that_may_be_another_s_is_warned_about() {
    for (side, name) in [("blue", "InvalidInput"), ("green", "NotReady")] {
        let dead = Group { id: "dead".into(), healthy: 0, registered: 0, by_node: false };
        let mut given = apart();
        let mut own = part(side, 3);
        own.groups.push(dead.clone());
        let entrance = Entrance { own: Some(own), ..Entrance::default() };
        enter(&mut given, side, "chat.example.com", entrance);
        assert_eq!(given.refused(), (name, BTreeSet::from(["unhealthy_group".to_owned()])));

        let mut given = Given::fine();
        behind(&mut given, side).groups.push(dead);
        let warnings = given.validate().expect("accepted").warnings;
        assert_eq!(warnings[0].code, "unhealthy_group", "{side}");
    }
}

#[test]
fn a_new_side_must_suffice_for_the_busiest_hour_of_the_day() {
    let mut given = Given::fine();
    let busiest = |hosts| Busiest { at: at(43_200), requests: Some(60_000), hosts };
    given.facts.busiest.insert("blue".to_owned(), busiest(2));
    given.validate().expect("it has more hosts now than then");
    given.facts.busiest.insert("blue".to_owned(), busiest(8));
    let failure = given.validate().expect_err("3 of 8");
    assert_eq!(failure.name(), "NotReady");
    let problem = &failure.problems()[0];
    assert_eq!(
        (problem.code.as_str(), problem.message.as_str()),
        (
            "capacity_too_low",
            "the new balancer green has 3 healthy targets, the old one 8 in its busiest hour of the last day \
             (60,000 requests from 1970-01-01T12:00:00Z); capacity_min_percent 100 asks for 8: give it more, or \
             lower capacity_min_percent"
        )
    );
    let silent = Busiest { requests: None, ..busiest(8) };
    given.facts.busiest.insert("blue".to_owned(), silent);
    let failure = given.validate().expect_err("3 of 8");
    let said = "8 in its busiest hour of the last day (from 1970-01-01T12:00:00Z);";
    assert!(failure.problems()[0].message.contains(said), "{:?}", failure.problems());
    given.with("capacity_min_percent", json!(30)).validate().expect("3 of 8 are 37 %");
}

#[test]
fn nodes_are_counted_once_and_what_they_do_not_tell_is_said() {
    let nodes = |healthy| Group { id: "n".into(), healthy, registered: 9, by_node: true };
    let mut given = Given::fine();
    behind(&mut given, "blue").groups = vec![nodes(5), nodes(4)];
    green(&mut given).groups = vec![nodes(5)];
    let cutover = given.validate().expect("5 nodes on both sides");
    assert_eq!(cutover.warnings[0].code, "node_targets");
    assert_eq!(
        cutover.meters[0].baseline.as_ref().expect("of old").hosts,
        9,
        "as the meter counts them"
    );
    green(&mut given).groups = vec![nodes(4)];
    assert_eq!(given.refused().1, BTreeSet::from(["capacity_too_low".to_owned()]));
}

/// A door that shows these certificates.
fn door(certificates: &[&str]) -> Door {
    let certificates = Some(certificates.iter().map(|&id| id.to_owned()).collect());
    Door { fixed_answer: None, certificates }
}

fn with_doors(old: &[(&str, Door)], new: &[(&str, Door)]) -> Given {
    let mut given = Given::fine();
    for (side, doors) in [("blue", old), ("green", new)] {
        let doors = doors.iter().map(|(name, door)| ((*name).to_owned(), door.clone())).collect();
        enter(&mut given, side, "chat.example.com", Entrance { doors, ..Entrance::default() });
    }
    given
}

#[test]
fn a_new_side_that_does_not_answer_as_the_old_one_does_is_waited_for() {
    let (plain, tls) = (("80 HTTP", door(&[])), ("443 HTTPS", door(&["a", "b"])));
    let both = [plain.clone(), tls];
    with_doors(&both, &both).validate().expect("they are alike");
    with_doors(&both[..1], &both).validate().expect("one more does no harm");
    let lacking = with_doors(&both, &both[..1]).validate().expect_err("no TLS");
    assert_eq!((lacking.name(), lacking.problems()[0].code.as_str()), ("NotReady", "not_answered"));
    assert_eq!(
        lacking.problems()[0].message,
        "chat.example.com would not be answered: the old side listens on 443 HTTPS, and the new one does \
         not: wait until it does, or mend it"
    );
    let fixed = Door { fixed_answer: Some("a fixed response 404".to_owned()), ..door(&[]) };
    let missing = [("80 HTTP", fixed)];
    let refused = with_doors(&[plain], &missing).validate().expect_err("no rule");
    let message = &refused.problems()[0].message;
    assert!(message.contains("the new one answers with a fixed response 404"), "{message}");
    with_doors(&missing, &missing).validate().expect("404 on both sides is alike");
}

#[test]
fn other_certificates_are_warned_about_unless_a_probe_looks_at_them() {
    let of = |ids: &[&str]| [("443 HTTPS", door(ids))];
    for (new, warned) in [(["a", "b"], false), (["a", "c"], true)] {
        let given = with_doors(&of(&["a", "b"]), &of(&new));
        let warnings = given.validate().expect("accepted").warnings;
        let codes: Vec<&str> = warnings.iter().map(|warning| warning.code.as_str()).collect();
        assert_eq!(codes.contains(&"other_certificates"), warned, "{new:?}");
        let unknown = Door { certificates: None, ..door(&[]) };
        let unread = with_doors(&of(&["a"]), &[("443 HTTPS", unknown)]);
        assert_eq!(unread.validate().expect("accepted").warnings, []);
        let probing = given.with("probe", json!({"path": "/"}));
        assert_eq!(probing.validate().expect("accepted").warnings, []);
    }
}

#[test]
fn names_that_are_counted_together_are_told_above_all_those_that_do_not_move() {
    let entrance = |others: &[&str]| Entrance {
        others: others.iter().map(|&name| name.to_owned()).collect(),
        ..Entrance::default()
    };
    let said = |others: &[&str]| {
        let mut given = Given::fine();
        enter(&mut given, "blue", "chat.example.com", entrance(others));
        enter(&mut given, "green", "chat.example.com", entrance(&[]));
        let warnings = given.validate().expect("accepted").warnings;
        warnings.into_iter().map(|warning| (warning.code, warning.message)).collect::<Vec<_>>()
    };
    assert_eq!(said(&[]), []);
    let moving = said(&["shop.example.com"]);
    assert_eq!(moving[0].0, "shared_counts");
    let of = "behind balancer blue the requests of chat.example.com, shop.example.com cannot be told from";
    assert!(moving[0].1.starts_with(&format!("{of} each other's, and all")), "{moving:?}");
    let staying = said(&["shop.example.com", "wiki.example.com"]);
    let those = format!("{of} those of wiki.example.com, which do not move, and all");
    assert!(staying[0].1.starts_with(&those), "{staying:?}");
}

#[test]
fn both_sides_must_answer_a_probe_alike() {
    let statuses = |of: &[u16]| Answered::Statuses(of.iter().map(|&status| (status, 7)).collect());
    let badly = || Answered::Badly("the certificate is of another name".to_owned());
    let away = || Answered::OutOfReach("timed out".to_owned());
    let table = [
        (statuses(&[200, 200]), statuses(&[200]), None),
        (statuses(&[200, 503]), statuses(&[503]), None),
        (statuses(&[404]), statuses(&[404]), None),
        (statuses(&[200]), statuses(&[200, 404]), Some("probe_differs")),
        (statuses(&[200]), badly(), Some("probe_differs")),
        (statuses(&[200]), away(), Some("probe_differs")),
        (badly(), statuses(&[200]), None),
        (away(), statuses(&[500]), Some("probe_differs")),
        (badly(), badly(), Some("probe_differs")),
        (away(), away(), Some("probe_out_of_reach")),
    ];
    let given = Given::fine().with("probe", json!({"path": "/healthz", "count": 2}));
    for (old, new, code) in table {
        let mut validation = given.begun();
        let route = RouteId::from("chat.example.com");
        validation.look_at_probes(&[Probed { route, old: old.clone(), new: new.clone() }]);
        let found = match validation.conclude(&given.history) {
            Ok(cutover) => cutover.warnings,
            Err(failure) => failure.problems().to_vec(),
        };
        let codes: Vec<&str> = found.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, Vec::from_iter(code), "{old:?} {new:?}");
    }
    let mut validation = given.begun();
    let route = RouteId::from("chat.example.com");
    validation.look_at_probes(&[Probed { route, old: statuses(&[200, 200]), new: badly() }]);
    let failure = validation.conclude(&given.history).expect_err("waited for");
    assert_eq!(failure.name(), "NotReady");
    assert_eq!(
        failure.problems()[0].message,
        "to 2 requests for /healthz the old side answered 200 in up to 7 ms, the new one with a failure (the \
         certificate is of another name): mend the new side first"
    );
}

/// A world whose new side counts no requests, and whose request may name counts of its own.
fn uncounted(behind: Behind) -> Given {
    let (behind, why) = (Box::new(behind), "points at what counts none; allowed: what does");
    let mut given = Given::fine();
    let uncounted = Behind::Uncounted { behind, code: "counts_none", why: why.to_owned() };
    given.facts.behind.insert("green".to_owned(), uncounted);
    given
}

fn with_orders(given: Given) -> Given {
    let metric =
        |name: &str| json!({"namespace": "Shop", "metric": name, "dimensions": {"Of": "{side}"}});
    let orders =
        json!({"name": "orders", "requests": metric("Orders"), "failures": metric("Failed")});
    let mut given = given.with("health", json!({"signals": [orders]}));
    given.history = History::from([(own_counts_of(Side::Old), a_day())]);
    given
}

#[test]
fn a_side_that_counts_no_requests_is_judged_by_counts_of_one_s_own_alone() {
    let refused = |given: Given| given.refused();
    let counts_none = ("InvalidInput", BTreeSet::from(["counts_none".to_owned()]));
    assert_eq!(refused(uncounted(backend("green", 3))), counts_none);
    assert_eq!(refused(uncounted(nothing())), counts_none, "not waited for either");

    let given = with_orders(uncounted(backend("green", 3)));
    let begun = given.begun();
    for side in [Side::Old, Side::New] {
        assert_eq!(begun.meters(side), BTreeSet::from([own_counts_of(side)]), "counted alike");
    }
    let cutover = given.validate().expect("accepted");
    assert!(cutover.routes.iter().all(|route| route.counted_by == CountedBy::OwnCounts));
    let [old, new] = &cutover.meters[..] else { panic!("{:?}", cutover.meters) };
    assert_eq!(old.baseline.as_ref().map(|baseline| baseline.hosts), Some(3));
    assert_eq!((old.hosts.len(), new.hosts.len()), (1, 0));
    let warning = |code| cutover.warnings.iter().find(|warning| warning.code == code);
    let said = &warning("own_counts_alone").expect("said").message;
    assert!(said.contains("chat.example.com, shop.example.com"), "{said}");
    assert!(said.contains("judged by orders alone"), "{said}");
    assert!(
        said.contains("whole cluster, 2 routes together: any route named here may be down unseen"),
        "{said}"
    );
    assert_eq!(warning("short_baseline"), None, "no day of theirs is read");

    let mut one = with_orders(uncounted(backend("green", 3)));
    one.survey.routes.pop();
    let warnings = one.validate().expect("accepted").warnings;
    let said = warnings.iter().find(|warning| warning.code == "own_counts_alone").expect("said");
    assert!(!said.message.contains("together"), "{}", said.message);

    let mut given = with_orders(uncounted(backend("green", 0)));
    assert_eq!(refused(given).0, "NotReady", "its targets are looked at");
    given = with_orders(uncounted(nothing()));
    assert_eq!(refused(given).0, "NotReady", "it may be about to appear");
    given = with_orders(uncounted(backend("green", 3)));
    given.history.clear();
    let failure = given.validate().expect_err("nothing to compare with");
    let message = &failure.problems()[0].message;
    assert!(message.starts_with("orders of the old side of chat.example.com"), "{message}");
    given = with_orders(uncounted(backend("green", 3)));
    given.facts.behind.insert("blue".to_owned(), nothing());
    let failure = given.validate().expect_err("nothing is there");
    let message = &failure.problems()[0].message;
    assert!(message.contains("there is nothing to compare with; point it at"), "{message}");

    let mut given = with_orders(uncounted(backend("green", 3)));
    let few = vec![Some(Counts { requests: 1, errors: 0 }); 15];
    let few = Series { counts: few, ..Series::default() };
    given.history.insert(own_counts_of(Side::Old), few);
    let warnings = given.validate().expect("accepted").warnings;
    let thin = warnings.iter().find(|warning| warning.code == "thin_step").expect("said");
    assert!(thin.message.starts_with("at the present rate of orders of the old side,"), "{thin:?}");
}

#[test]
fn own_metrics_without_one_point_in_the_day_are_said_and_louder_where_they_are_all() {
    let said = |given: &Given, silent: &[&str]| {
        let mut validation = given.begun();
        let old = vec![Some(Counts { requests: 9, errors: 0 }); 1440];
        let silent = silent.iter().map(|&what| what.to_owned()).collect();
        validation.look_at_own_days(&[OwnSeries { old, silent, ..OwnSeries::default() }]);
        let warnings = validation.conclude(&given.history).expect("accepted").warnings;
        let said = warnings.into_iter().find(|warning| warning.code == "own_not_counted");
        said.map(|warning| warning.message)
    };
    let mut beside = with_orders(Given::fine());
    beside.history = Given::fine().history;
    assert_eq!(said(&beside, &[]), None);
    let message = said(&beside, &["failures (Shop Failed, Of=blue)"]).expect("said");
    assert_eq!(
        message,
        "orders: CloudWatch has no point of its failures (Shop Failed, Of=blue) in the 1,440 periods before the start: \
         a misspelt name or dimension looks like this, and so does a service without a single one in that time"
    );
    let alone = with_orders(uncounted(backend("green", 3)));
    assert_eq!(said(&alone, &[]), None);
    let message = said(&alone, &["failures (Shop Failed, Of=blue)"]).expect("said");
    let loud = "look at this before you go on, because chat.example.com, shop.example.com are judged by nothing else; \
                orders: CloudWatch has no point of";
    assert!(message.starts_with(loud), "{message}");
}
