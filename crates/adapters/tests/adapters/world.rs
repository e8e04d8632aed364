//! What validation asks about the traffic before a cutover.

use std::cell::RefCell;
use std::collections::BTreeMap;

use adapters::router::SYNTAXES;
use adapters::router::memory::Memory;
use adapters::world::{history, own_counts};
use adapters::{Router, Telemetry};
use cutover_core::limits::CLOUDWATCH;
use cutover_core::{
    Attempt, Backend, Behind, Counts, Execution, Facts, Failure, Group, Health, Meter, Outlook,
    OwnSeries, OwnSignal, Request, RouteId, Series, Side, Sides, TelemetryLimits, Validation,
    Weights, Window, own_counts_of,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A source of requests in every period, which remembers what it was asked.
#[derive(Default)]
struct Counting {
    /// Ids of the load balancers, and the window.
    asked: RefCell<Vec<(Vec<String>, Window)>>,
}

impl Telemetry for Counting {
    fn limits(&self) -> TelemetryLimits {
        CLOUDWATCH
    }

    async fn series(
        &self,
        meters: &[Meter],
        window: Window,
        _: &Health,
    ) -> Result<Vec<Series>, Failure> {
        let ids = meters.iter().map(|of| of.id.clone()).collect();
        self.asked.borrow_mut().push((ids, window));
        let counts = vec![Some(Counts { requests: 9, errors: 0 }); window.periods as usize];
        let series = Series { counts, ..Series::default() };
        Ok(vec![series; meters.len()])
    }

    async fn own(
        &self,
        signals: &[OwnSignal],
        sides: &Sides,
        window: Window,
    ) -> Result<Vec<OwnSeries>, Failure> {
        let ids = signals.iter().map(|signal| format!("{} of {}", signal.name, sides.old));
        self.asked.borrow_mut().push((ids.collect(), window));
        let counts = vec![Some(Counts { requests: 7, errors: 0 }); window.periods as usize];
        let own = OwnSeries { old: counts, ..OwnSeries::default() };
        Ok(vec![own; signals.len()])
    }
}

fn behind(side: &str) -> (String, Behind) {
    let groups = vec![Group { id: format!("{side}/1"), healthy: 3, registered: 3, by_node: false }];
    let (called, meter) = (format!("load balancer app/{side}/1"), format!("app/{side}/1"));
    (
        side.to_owned(),
        Behind::Found(Backend { called, id: side.to_owned(), meter, active: true, groups }),
    )
}

/// A validation under way, and when.
async fn begun(request: Value, new: (String, Behind)) -> (Validation, Timestamp) {
    let defaults = json!({"hosted_zone": "example.com", "old": "blue"});
    let request = Request::parse(&defaults, &request, &SYNTAXES, 60).expect("a good request");
    let all_on_old = Weights { old: 100, new: 0 };
    let router = Memory::new([(RouteId::from("chat.example.com"), all_on_old)]);
    let survey = router.survey(&request).await.expect("surveyed");
    let now = Timestamp::from_second(1_000_000_000).expect("in range");
    let execution = Execution { arn: "arn".to_owned(), name: "us".to_owned() };
    let attempt = Attempt { execution, started_at: now, now };
    let behind = BTreeMap::from([behind("blue"), new]);
    let facts = Facts { behind, ..Facts::default() }.settled(&request.health);
    (Validation::of(request, survey, facts, attempt, &SYNTAXES), now)
}

/// What was asked for a request, ids and number of periods, and of which there is a history.
async fn asked(request: Value, new: (String, Behind)) -> (Vec<(Vec<String>, u32)>, Vec<String>) {
    let (validation, now) = begun(request, new).await;
    let telemetry = Counting::default();
    let outlook = validation.outlook();
    assert_ne!(outlook, Outlook::NotReady, "nobody asks for the traffic then");
    let history = history(&telemetry, &validation, outlook, &[], now).await.expect("told");
    for (_, window) in telemetry.asked.borrow().iter() {
        let delay = SignedDuration::from_secs(120 + 60);
        assert!(window.end() > now - delay, "up to what is counted by now");
    }
    let asked = telemetry.asked.into_inner().into_iter();
    (asked.map(|(ids, window)| (ids, window.periods)).collect(), history.into_keys().collect())
}

#[tokio::test]
async fn of_the_old_side_a_day_is_asked_for_and_nothing_of_the_new_one() {
    let (asked, told) = asked(json!({"new": "green"}), behind("green")).await;
    assert_eq!(asked, [(vec!["app/blue/1".to_owned()], 1440)]);
    assert_eq!(told, ["app/blue/1"]);
}

#[tokio::test]
async fn a_resumed_cutover_is_told_of_the_new_sides_traffic_as_well() {
    let request = json!({"new": "green", "resume": true});
    let (asked, told) = asked(request, behind("green")).await;
    let of = |side: &str| vec![format!("app/{side}/1")];
    assert_eq!(asked, [(of("blue"), 1440), (of("green"), 15)]);
    assert_eq!(told, ["app/blue/1", "app/green/1"]);
}

#[tokio::test]
async fn where_a_cutover_is_refused_anyway_no_day_is_asked_for() {
    let request = json!({"new": "green", "resume": true});
    let never = Behind::Never { code: "load_balancer_type", why: "counts nothing".to_owned() };
    let (asked, told) = asked(request, ("green".to_owned(), never)).await;
    let of_old = (vec!["app/blue/1".to_owned()], 15);
    assert_eq!(asked, [of_old, (vec![], 15)], "what counts nothing is not asked");
    assert_eq!(told, ["app/blue/1"], "its traffic is still looked at");
}

#[tokio::test]
async fn ones_own_counts_are_asked_for_once_over_a_day_and_lately_where_a_side_counts_nothing_else()
{
    let metric =
        |name: &str| json!({"namespace": "Shop", "metric": name, "dimensions": {"Of": "{side}"}});
    let signal =
        |name: &str| json!({"name": name, "requests": metric("All"), "failures": metric("Bad")});
    let signals = json!([signal("orders"), signal("logins")]);
    let request = json!({"new": "green", "health": {"signals": signals}});
    let uncounted = || {
        let (name, found) = behind("green");
        let why = "counts nothing".to_owned();
        (name, Behind::Uncounted { behind: Box::new(found), code: "load_balancer_type", why })
    };
    for (new, outlook, periods, of_old) in [
        (behind("green"), Outlook::Accepted, Some(1440), "app/blue/1".to_owned()),
        (behind("green"), Outlook::Refused, None, "app/blue/1".to_owned()),
        (uncounted(), Outlook::Accepted, Some(1440), own_counts_of(Side::Old)),
        (uncounted(), Outlook::Refused, Some(15), own_counts_of(Side::Old)),
    ] {
        let (validation, now) = begun(request.clone(), new).await;
        let telemetry = Counting::default();
        let own = own_counts(&telemetry, &validation, outlook, now).await.expect("told");
        let asked: Vec<_> = telemetry.asked.take().into_iter().collect();
        let ids = vec!["orders of blue".to_owned(), "logins of blue".to_owned()];
        let asked: Vec<_> = asked.into_iter().map(|(ids, window)| (ids, window.periods)).collect();
        assert_eq!(asked, periods.map(|periods| (ids, periods)).into_iter().collect::<Vec<_>>());
        let told = history(&telemetry, &validation, outlook, &own, now).await.expect("told");
        assert_eq!(told.keys().collect::<Vec<_>>(), [&of_old], "{outlook:?}");
        let counted = told.get(&own_counts_of(Side::Old));
        assert!(counted.is_none_or(|of| of.counts.len() == 15), "{outlook:?}");
    }
}
