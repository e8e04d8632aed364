//! What validation asks about the traffic before a cutover.

use std::cell::RefCell;
use std::collections::BTreeMap;

use adapters::Telemetry;
use adapters::router::SYNTAXES;
use adapters::world::history;
use cutover_core::Request;
use cutover_core::{Attempt, Outlook, Survey, Zone};
use cutover_core::{Counts, Execution, Failure, Health, LoadBalancer, RouteId, Series, Window};
use cutover_core::{Facts, FoundLoadBalancer, Group, LoadBalancerKind, Policy, Record, Target};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A source of requests in every period, which remembers what it was asked.
#[derive(Default)]
struct Counting {
    /// Ids of the load balancers, and the window.
    asked: RefCell<Vec<(Vec<String>, Window)>>,
}

impl Telemetry for Counting {
    async fn series(
        &self,
        load_balancers: &[LoadBalancer],
        window: Window,
        _: &Health,
    ) -> Result<Vec<Series>, Failure> {
        let ids = load_balancers.iter().map(|of| of.id.clone()).collect();
        self.asked.borrow_mut().push((ids, window));
        let counts = vec![Some(Counts { requests: 9, errors: 0 }); window.periods as usize];
        let series = Series { counts, ..Series::default() };
        Ok(vec![series; load_balancers.len()])
    }
}

fn alias(side: &str, weight: u32) -> Record {
    Record {
        name: RouteId::from("chat.example.com"),
        kind: "A".to_owned(),
        set_identifier: Some(side.to_owned()),
        weight: Some(weight),
        policy: Policy::Weighted,
        ttl_s: None,
        shape: 7,
        health_check_id: None,
        target: Target::Alias {
            dns_name: format!("dualstack.{side}.elb.example."),
            evaluates_health: true,
        },
    }
}

fn found(side: &str, kind: LoadBalancerKind) -> (String, FoundLoadBalancer) {
    let groups = vec![Group { id: format!("{side}/1"), healthy: 3, registered: 3 }];
    let balancer = FoundLoadBalancer { id: format!("app/{side}/1"), kind, active: true, groups };
    (format!("{side}.elb.example"), balancer)
}

/// What was asked for a request, ids and number of periods, and of which there is a history.
async fn asked(request: Value, new: LoadBalancerKind) -> (Vec<(Vec<String>, u32)>, Vec<String>) {
    let request = Request::parse(&json!({"hosted_zone": "example.com"}), &request, &SYNTAXES, 60);
    let zone = Zone { id: "Z1".to_owned(), name: "example.com".to_owned() };
    let records = [alias("blue", 100), alias("green", 0)];
    let survey = Survey::of(request.expect("a good request"), zone, &records);
    let now = Timestamp::from_second(1_000_000_000).expect("in range");
    let execution = Execution { arn: "arn".to_owned(), name: "us".to_owned() };
    let attempt = Attempt { execution, started_at: now, now };
    let telemetry = Counting::default();
    let load_balancers =
        BTreeMap::from([found("blue", LoadBalancerKind::Application), found("green", new)]);
    let facts = Facts { load_balancers, ..Facts::default() };
    let outlook = survey.outlook(&facts, &attempt);
    assert_ne!(outlook, Outlook::NotReady, "nobody asks for the traffic then");
    let history = history(&telemetry, &survey, &facts, outlook, now).await.expect("told");
    for (_, window) in telemetry.asked.borrow().iter() {
        let delay = SignedDuration::from_secs(120 + 60);
        assert!(window.end() > now - delay, "up to what is counted by now");
    }
    let asked = telemetry.asked.into_inner().into_iter();
    (asked.map(|(ids, window)| (ids, window.periods)).collect(), history.into_keys().collect())
}

#[tokio::test]
async fn of_the_old_side_a_day_is_asked_for_and_nothing_of_the_new_one() {
    let (asked, told) = asked(json!({"new": "green"}), LoadBalancerKind::Application).await;
    assert_eq!(asked, [(vec!["app/blue/1".to_owned()], 1440)]);
    assert_eq!(told, ["app/blue/1"]);
}

#[tokio::test]
async fn a_resumed_cutover_is_told_of_the_new_sides_traffic_as_well() {
    let request = json!({"new": "green", "resume": true});
    let (asked, told) = asked(request, LoadBalancerKind::Application).await;
    let of = |side: &str| vec![format!("app/{side}/1")];
    assert_eq!(asked, [(of("blue"), 1440), (of("green"), 15)]);
    assert_eq!(told, ["app/blue/1", "app/green/1"]);
}

#[tokio::test]
async fn where_a_cutover_is_refused_anyway_no_day_is_asked_for() {
    let request = json!({"new": "green", "resume": true});
    let (asked, told) = asked(request, LoadBalancerKind::Network).await;
    let of_old = (vec!["app/blue/1".to_owned()], 15);
    assert_eq!(
        asked,
        [of_old, (vec![], 15)],
        "what is no application load balancer counts nothing"
    );
    assert_eq!(told, ["app/blue/1"], "its traffic is still looked at");
}
