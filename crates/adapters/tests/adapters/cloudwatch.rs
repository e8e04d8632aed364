//! The CloudWatch telemetry.

use std::sync::{Arc, Mutex};

use adapters::telemetry::cloudwatch::Hosts;
use adapters::{Alarms, CloudWatch, Telemetry};
use aws_sdk_cloudwatch::operation::describe_alarms::{DescribeAlarmsInput, DescribeAlarmsOutput};
use aws_sdk_cloudwatch::operation::get_metric_data::{GetMetricDataInput, GetMetricDataOutput};
use aws_sdk_cloudwatch::types::{
    AlarmType, CompositeAlarm, MessageData, MetricAlarm, MetricDataQuery, MetricDataResult, ScanBy,
    StateValue, StatusCode,
};
use aws_smithy_types::DateTime;
use cutover_core::{
    Backend, Busiest, Connections, Counts, Group, Health, Latency, LatencyBy, Meter, Series, Sides,
    Window,
};
use jiff::Timestamp;
use serde_json::json;

use crate::fake::{Answer, Classes, Fake, client};

const START_S: i64 = 60_000;

fn window(periods: u32) -> Window {
    let start = Timestamp::from_second(START_S).expect("in range");
    Window { start, period_s: 60, periods }
}

fn balancer(id: &str, hosts: &[&str]) -> Meter {
    let hosts = hosts.iter().map(|&group| group.to_owned()).collect();
    Meter { id: id.to_owned(), hosts, baseline: None }
}

/// `LoadBalancer/TargetGroup/metric`, as the tests name a series.
fn name(query: &MetricDataQuery) -> String {
    let metric = query.metric_stat().and_then(|stat| stat.metric()).expect("a plain metric");
    let of = |name| metric.dimensions().iter().find(|d| d.name() == Some(name));
    let load_balancer = of("LoadBalancer").and_then(|d| d.value()).expect("always");
    let is_network = load_balancer.starts_with("net/");
    let namespace = if is_network { "AWS/NetworkELB" } else { "AWS/ApplicationELB" };
    assert_eq!(metric.namespace(), Some(namespace));
    let mut parts = vec![load_balancer];
    parts.extend(of("TargetGroup").and_then(|d| d.value()));
    parts.push(metric.metric_name().expect("always"));
    parts.join(" ")
}

/// One page's result: data points as (period, value).
fn result(id: &str, points: &[(i64, f64)]) -> MetricDataResult {
    let at = points.iter().map(|(period, _)| DateTime::from_secs(START_S + 60 * period));
    MetricDataResult::builder()
        .id(id)
        .set_timestamps(Some(at.collect()))
        .set_values(Some(points.iter().map(|(_, value)| *value).collect()))
        .status_code(StatusCode::Complete)
        .build()
}

type Asked = Arc<Mutex<Vec<GetMetricDataInput>>>;

/// A CloudWatch that has these series, and what was asked of it.
fn cloudwatch(series: &'static [(&'static str, &'static [(i64, f64)])]) -> (CloudWatch, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let fake = Fake::new().on(move |input: &GetMetricDataInput| {
        seen.lock().expect("whole").push(input.clone());
        let results = input.metric_data_queries().iter().map(|query| {
            let points = series.iter().find(|(of, _)| *of == name(query));
            result(query.id().expect("always"), points.map_or(&[], |(_, points)| points))
        });
        let results = Some(results.collect());
        Answer::ok(GetMetricDataOutput::builder().set_metric_data_results(results).build())
    });
    (CloudWatch::new(client!(aws_sdk_cloudwatch, fake)), asked)
}

fn answering(answer: impl Fn(&GetMetricDataInput) -> Answer + Send + Sync + 'static) -> CloudWatch {
    CloudWatch::new(client!(aws_sdk_cloudwatch, Fake::new().on(answer)))
}

#[allow(clippy::unnecessary_wraps, reason = "a period, as a series has it")]
const fn counts(requests: u64, errors: u64) -> Option<Counts> {
    Some(Counts { requests, errors })
}

#[tokio::test]
async fn what_was_made_anew_is_counted_under_both_of_its_ids() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0), (1, 40.0)]),
        ("app/a/1 HTTPCode_Target_5XX_Count", &[(0, 3.0)]),
        ("app/a/1 TargetResponseTime", &[(0, 7.0)]),
        ("app/a/1 ClientTLSNegotiationErrorCount", &[(0, 4.0), (1, 1.0)]),
        ("app/a/1 targetgroup/g/1 HealthyHostCount", &[(0, 9.0)]),
        ("app/a/2 RequestCount", &[(1, 60.0), (2, 100.0)]),
        ("app/a/2 HTTPCode_Target_4XX_Count", &[(2, 5.0)]),
        ("app/a/2 TargetResponseTime", &[(1, 2.0)]),
        ("app/a/2 ClientTLSNegotiationErrorCount", &[(1, 6.0)]),
        ("app/a/2 targetgroup/g/2 HealthyHostCount", &[(2, 2.0)]),
    ]);
    let health = Health { latency_target_s: Some(1.0), ..Health::default() };
    let meters = [balancer("app/a/2;app/a/1", &["g/2"])];
    let series = &cloudwatch.series(&meters, window(3), &health).await.expect("told")[0];
    assert_eq!(series.counts, [counts(100, 3), counts(100, 0), counts(100, 0)]);
    assert_eq!(series.refused, [counts(100, 0), counts(100, 0), counts(100, 5)]);
    assert_eq!(series.latency, [7, 2, 0].map(|slow| Some(Latency::Slow(slow))));
    let failed: Vec<u64> = series.connections.iter().map(|failed| failed.tls).collect();
    assert_eq!(failed, [4, 7, 0]);
    assert_eq!(series.healthy_hosts, Some(2));
}

#[tokio::test]
async fn what_a_load_balancer_counts_is_counted_once_where_only_its_groups_were_made_anew() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 1000.0), (1, 1000.0)]),
        ("app/a/1 HTTPCode_ELB_5XX_Count", &[(1, 30.0)]),
        ("app/a/1 HTTPCode_ELB_503_Count", &[(1, 30.0)]),
        ("app/a/1 HTTPCode_ELB_4XX_Count", &[(0, 6.0)]),
        ("app/a/1 ClientTLSNegotiationErrorCount", &[(0, 4.0)]),
        ("app/a/1 RejectedConnectionCount", &[(1, 5.0)]),
        ("app/a/1 targetgroup/g/1 RequestCount", &[(0, 100.0), (1, 30.0)]),
        ("app/a/1 targetgroup/g/1 HTTPCode_Target_5XX_Count", &[(0, 7.0)]),
        ("app/a/1 targetgroup/g/1 TargetConnectionErrorCount", &[(1, 2.0)]),
        ("app/a/1 targetgroup/g/2 RequestCount", &[(1, 60.0)]),
        ("app/a/1 targetgroup/g/2 TargetConnectionErrorCount", &[(1, 1.0)]),
    ]);
    let of = [balancer("app/a/1,targetgroup/g/2;app/a/1,targetgroup/g/1", &["g/2"])];
    let series = &cloudwatch.series(&of, window(2), &Health::default()).await.expect("told")[0];
    assert_eq!(series.counts, [counts(100, 7), counts(90, 3)]);
    assert_eq!(series.shared, [counts(1006, 0), counts(1030, 30)]);
    assert_eq!(series.shared_refused, [counts(1006, 6), counts(1030, 0)]);
    let failed = |tls, rejected, to_targets| Connections { tls, rejected, to_targets };
    assert_eq!(series.connections, [failed(4, 0, 0), failed(0, 5, 3)]);
}

#[tokio::test]
async fn a_network_load_balancer_is_not_asked_for_what_it_does_not_count() {
    let (cloudwatch, asked) = cloudwatch(&[]);
    let meters = [balancer("net/a/1", &[])];
    let series = cloudwatch.series(&meters, window(7), &Health::default()).await.expect("told");
    assert_eq!((series[0].counts.len(), series[0].hosts_are_missing), (7, false));
    assert!(asked.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn what_is_missing_is_no_evidence_but_errors_missing_beside_requests_are_0() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0), (1, 200.0), (4, 10.0), (5, 60.0), (6, 60.0)]),
        ("app/a/1 HTTPCode_Target_5XX_Count", &[(1, 7.0), (4, 12.0)]),
        ("app/a/1 HTTPCode_ELB_5XX_Count", &[(1, 3.0), (2, 5.0), (5, 60.0), (6, 50.0)]),
        ("app/a/1 HTTPCode_ELB_503_Count", &[(1, 1.0), (2, 5.0), (6, 40.0)]),
    ]);
    let series = cloudwatch
        .series(&[balancer("app/a/1", &[])], window(7), &Health::default())
        .await
        .expect("told");
    let expected = [
        counts(100, 0),
        // 200 for which a target was chosen, 2 of them a 502 or 504, and 1 without a target; 7 + 3 errors.
        counts(201, 10),
        // No target was ever chosen.
        counts(5, 5),
        None,
        // Errors of requests that came in the period before.
        counts(12, 12),
        // A total outage by 504: each was counted as a request already.
        counts(60, 60),
        // 10 of 60 by 502, and 40 more by 503.
        counts(100, 50),
    ];
    assert_eq!(series[0].counts, expected);
    let refused = expected.map(|of| of.map(|of| Counts { errors: 0, ..of }));
    assert_eq!(series[0].refused, refused, "4xx that are missing beside requests are 0 as well");
}

#[tokio::test]
async fn what_is_refused_is_4xx_of_targets_and_what_is_answered_without_them() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0), (1, 100.0), (4, 100.0)]),
        ("app/a/1 HTTPCode_Target_4XX_Count", &[(0, 7.0), (4, 5.0)]),
        ("app/a/1 HTTPCode_ELB_4XX_Count", &[(0, 3.0), (1, 40.0)]),
        ("app/a/1 HTTP_Fixed_Response_Count", &[(1, 60.0), (2, 50.0)]),
        ("app/a/1 targetgroup/g/1 RequestCount", &[(0, 60.0)]),
        ("app/a/1 targetgroup/g/1 HTTPCode_Target_4XX_Count", &[(0, 6.0)]),
    ]);
    let of = [balancer("app/a/1", &[]), balancer("app/a/1,targetgroup/g/1", &[])];
    let series = cloudwatch.series(&of, window(5), &Health::default()).await.expect("told");
    let expected = [
        counts(103, 10),
        // A fixed 404 may be among the 4xx of the load balancer: the larger number.
        counts(160, 60),
        // No rule of it leads to a target: all that is known are its fixed responses.
        counts(50, 50),
        None,
        counts(100, 5),
    ];
    assert_eq!(series[0].refused, expected);
    let requests = |of: &Option<Counts>| of.map(|of| of.requests);
    let failed: Vec<_> = series[0].counts.iter().map(requests).collect();
    assert_eq!(failed, expected.iter().map(requests).collect::<Vec<_>>(), "the same requests");
    assert_eq!(series[1].refused, [counts(60, 6), None, None, None, None]);
    let shared = [counts(103, 3), counts(160, 60), counts(50, 50), None, counts(100, 0)];
    assert_eq!(series[1].shared_refused, shared);
    let off = Health { refused_tolerated_odds_ratio: None, ..Health::default() };
    let series = cloudwatch.series(&of[..1], window(5), &off).await.expect("told");
    assert_eq!(series[0].counts, [counts(100, 0), counts(100, 0), None, None, counts(100, 0)]);
}

#[tokio::test]
async fn counts_of_one_s_own_are_asked_for_both_sides_by_name() {
    let health = json!({"signals": [{
        "name": "orders",
        "requests": {"namespace": "Shop", "metric": "Orders", "dimensions": {"Cluster": "c-{side}"}},
        "failures": {"namespace": "Shop", "metric": "Failed", "dimensions": {"Cluster": "c-{side}"}},
    }]});
    let health = Health::parse(&health).expect("allowed");
    let cloudwatch = answering(|input| {
        let results = input.metric_data_queries().iter().map(|query| {
            let metric = query.metric_stat().and_then(|stat| stat.metric()).expect("a metric");
            assert_eq!(metric.namespace(), Some("Shop"));
            let [cluster] = metric.dimensions() else { panic!("one dimension") };
            let points: &[(i64, f64)] = match (metric.metric_name(), cluster.value()) {
                (Some("Orders"), Some("c-blue")) => &[(0, 90.0), (1, 80.0)],
                (Some("Orders"), Some("c-green")) => &[(0, 10.0)],
                (Some("Failed"), Some("c-green")) => &[(0, 4.0), (2, 3.0)],
                _ => &[],
            };
            result(query.id().expect("always"), points)
        });
        let results = Some(results.collect());
        Answer::ok(GetMetricDataOutput::builder().set_metric_data_results(results).build())
    });
    let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
    let own = cloudwatch.own(&health.signals, &sides, window(3)).await.expect("told");
    assert_eq!(own[0].old, [counts(90, 0), counts(80, 0), None]);
    assert_eq!(own[0].new, [counts(10, 4), None, counts(3, 3)]);
    assert_eq!(own[0].silent, ["failures (Shop Failed, Cluster=c-blue)"], "of the old side");
    assert_eq!(cloudwatch.own(&[], &sides, window(3)).await, Ok(vec![]));
}

#[tokio::test]
async fn healthy_hosts_that_are_silent_after_they_were_there_are_none() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 targetgroup/x/1 HealthyHostCount", &[(0, 3.0)]),
        ("app/b/1 targetgroup/x/1 HealthyHostCount", &[(0, 3.0)]),
        ("app/b/1 RequestCount", &[(5, 100.0)]),
        ("app/c/1 targetgroup/x/1 HealthyHostCount", &[(3, 3.0)]),
        ("app/d/1 RequestCount", &[(0, 3.0)]),
    ]);
    let of = ["a", "b", "c", "d"].map(|name| balancer(&format!("app/{name}/1"), &["x/1"]));
    let series = cloudwatch.series(&of, window(6), &Health::default()).await.expect("told");
    let hosts: Vec<_> = series.iter().map(|series| series.healthy_hosts).collect();
    // Of b, requests succeed: its targets are in a group that was made anew. Of d, nothing was ever told.
    assert_eq!(hosts, [Some(0), None, Some(3), None]);
}

#[tokio::test]
async fn a_target_group_has_its_own_failures_and_shares_those_of_its_load_balancer() {
    let (cloudwatch, asked) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 1000.0), (1, 1000.0), (2, 1000.0)]),
        ("app/a/1 HTTPCode_Target_5XX_Count", &[(0, 90.0)]),
        ("app/a/1 HTTPCode_ELB_5XX_Count", &[(1, 30.0)]),
        ("app/a/1 HTTPCode_ELB_503_Count", &[(1, 20.0)]),
        ("app/a/1 targetgroup/g/1 RequestCount", &[(0, 100.0), (1, 100.0)]),
        ("app/a/1 targetgroup/g/1 HTTPCode_Target_5XX_Count", &[(0, 7.0)]),
        ("app/a/1 targetgroup/g/1 TargetConnectionErrorCount", &[(0, 2.0), (1, 3.0)]),
        // In the second minute its targets answered 93 of 100, and the load balancer sent 10 answers 502 or 504.
        ("app/a/1 targetgroup/g/1 HTTPCode_Target_2XX_Count", &[(0, 80.0), (1, 88.0)]),
        ("app/a/1 targetgroup/g/1 HTTPCode_Target_4XX_Count", &[(1, 5.0)]),
        ("app/a/1 targetgroup/g/1 HealthyHostCount", &[(2, 4.0)]),
    ]);
    let of = [balancer("app/a/1,targetgroup/g/1", &["g/1"]), balancer("app/a/1", &[])];
    let series = cloudwatch.series(&of, window(3), &Health::default()).await.expect("told");
    assert_eq!(series[0].counts, [counts(100, 9), counts(100, 7), None]);
    assert_eq!(series[0].shared, [counts(1000, 0), counts(1020, 23), counts(1000, 0)]);
    assert_eq!(series[0].healthy_hosts, Some(4));
    assert_eq!(series[1].counts, [counts(1000, 90), counts(1020, 30), counts(1000, 0)]);
    assert_eq!(series[1].shared, []);
    let calls: Vec<usize> =
        asked.lock().expect("whole").iter().map(|call| call.metric_data_queries().len()).collect();
    assert_eq!(calls, [13, 4], "what both meters need of the load balancer is asked once");
}

#[tokio::test]
async fn who_was_not_served_is_asked_of_load_balancers_with_errors_of_their_own_alone() {
    let (cloudwatch, asked) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0)]),
        ("app/a/1 HTTPCode_ELB_5XX_Count", &[(0, 0.0)]),
        ("app/b/1 HTTPCode_ELB_5XX_Count", &[(0, 8.0)]),
        ("app/b/1 HTTPCode_ELB_503_Count", &[(0, 8.0)]),
    ]);
    let of = [balancer("app/a/1", &[]), balancer("app/b/1", &[])];
    let series = cloudwatch.series(&of, window(1), &Health::default()).await.expect("told");
    assert_eq!(series[0].counts, [counts(100, 0)]);
    assert_eq!(series[1].counts, [counts(8, 8)], "nobody was served");
    let asked = asked.lock().expect("whole");
    let names: Vec<Vec<String>> =
        asked.iter().map(|call| call.metric_data_queries().iter().map(name).collect()).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0].len(), 16, "what every check asks");
    assert_eq!(names[1], ["app/b/1 TargetConnectionErrorCount", "app/b/1 HTTPCode_ELB_503_Count"]);
}

#[tokio::test]
async fn connections_that_fail_are_those_of_the_load_balancer_also_where_a_group_is_counted() {
    let (cloudwatch, asked) = cloudwatch(&[
        ("app/a/1 ClientTLSNegotiationErrorCount", &[(0, 40.0), (1, 80.0)]),
        ("app/a/1 RejectedConnectionCount", &[(1, 3.0)]),
        ("app/a/1 HTTPCode_ELB_5XX_Count", &[(1, 9.0)]),
        ("app/a/1 TargetConnectionErrorCount", &[(1, 9.0)]),
        ("app/a/1 targetgroup/g/1 TargetConnectionErrorCount", &[(1, 7.0)]),
    ]);
    let of = [balancer("app/a/1", &[]), balancer("app/a/1,targetgroup/g/1", &[])];
    let series = cloudwatch.series(&of, window(2), &Health::default()).await.expect("told");
    let failed = |tls, rejected, to_targets| Connections { tls, rejected, to_targets };
    assert_eq!(series[0].connections, [failed(40, 0, 0), failed(80, 3, 9)]);
    assert_eq!(series[1].connections, [failed(40, 0, 0), failed(80, 3, 7)]);
    asked.lock().expect("whole").clear();
    let day = Window { periods: 1440, ..window(0) };
    let series = cloudwatch.series(&of[..1], day, &Health::default()).await.expect("told");
    assert_eq!(series[0].connections, [], "a day of them is not read");
    let asked = asked.lock().expect("whole");
    let sizes: Vec<usize> = asked.iter().map(|call| call.metric_data_queries().len()).collect();
    assert_eq!(sizes, [6, 1]);
}

#[tokio::test]
async fn hosts_of_many_target_groups_take_a_call_for_250_and_what_is_not_told_is_not_0() {
    // 5 minutes up to and with the one of `now`.
    let (cloudwatch, asked) = cloudwatch(&[
        ("app/a/1 targetgroup/x/1 HealthyHostCount", &[(0, 3.0), (3, 2.0)]),
        ("app/a/1 targetgroup/x/1 UnHealthyHostCount", &[(0, 0.0), (3, 1.0)]),
        ("app/a/1 targetgroup/y/1 HealthyHostCount", &[(2, 0.0)]),
        ("app/a/1 targetgroup/y/1 UnHealthyHostCount", &[(1, 9.0), (2, 4.0)]),
        ("app/b/1 targetgroup/w/1 HealthyHostCount", &[(1, 5.0), (4, 6.0)]),
        ("app/b/1 targetgroup/w/1 UnHealthyHostCount", &[(1, 7.0)]),
        ("app/c/1 targetgroup/v/1 HealthyHostCount", &[(-1, 5.0)]),
    ]);
    let now = Timestamp::from_second(START_S + 4 * 60 + 42).expect("in range");
    let mut groups =
        vec![("app/a/1", "x/1"), ("app/a/1", "y/1"), ("app/b/1", "w/1"), ("app/c/1", "v/1")];
    let many: Vec<String> = (0..300).map(|i| format!("many-{i}/1")).collect();
    groups.extend(many.iter().map(|group| ("app/d/1", group.as_str())));
    let hosts = cloudwatch.hosts(&groups, now).await.expect("told");
    let of = |healthy, unhealthy| Some(Hosts { healthy, registered: healthy + unhealthy });
    assert_eq!(hosts[..4], [of(2, 1), of(0, 4), of(6, 0), None], "the newest, of one moment");
    assert_eq!(hosts[4..], vec![None; 300]);
    let asked = asked.lock().expect("whole");
    let sizes: Vec<usize> = asked.iter().map(|call| call.metric_data_queries().len()).collect();
    assert_eq!(sizes, [500, 108]);
    assert_eq!(asked[0].start_time(), Some(&DateTime::from_secs(START_S)));
    assert_eq!(asked[0].end_time(), Some(&DateTime::from_secs(START_S + 300)));
}

#[tokio::test]
async fn hosts_that_were_asked_for_in_vain_for_a_while_are_missing() {
    let (cloudwatch, _) = cloudwatch(&[("app/a/1 RequestCount", &[(0, 100.0)])]);
    let missing = async |groups: &[&str], periods| {
        let of = [balancer("app/a/1", groups)];
        let series = cloudwatch.series(&of, window(periods), &Health::default()).await;
        series.expect("told")[0].hosts_are_missing
    };
    assert!(missing(&["x/1"], 3).await);
    assert!(!missing(&["x/1"], 2).await, "they may be late");
    assert!(!missing(&[], 3).await, "nobody asked");
}

#[tokio::test]
async fn healthy_hosts_are_the_newest_of_each_target_group_added_up() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 targetgroup/x/1 HealthyHostCount", &[(0, 3.0), (1, 2.0)]),
        ("app/a/1 targetgroup/y/1 HealthyHostCount", &[(0, 4.0)]),
        ("app/b/1 targetgroup/w/1 HealthyHostCount", &[(0, 0.0)]),
    ]);
    let asked = [
        balancer("app/a/1", &["x/1", "y/1", "z/1"]),
        balancer("app/b/1", &["w/1"]),
        balancer("app/c/1", &["v/1"]),
    ];
    let series = cloudwatch.series(&asked, window(2), &Health::default()).await.expect("told");
    let hosts: Vec<_> = series.iter().map(|series| series.healthy_hosts).collect();
    assert_eq!(hosts, [Some(6), Some(0), None], "none told is not none healthy");
}

#[tokio::test]
async fn a_load_balancer_of_many_routes_is_asked_once_and_raw() {
    let (cloudwatch, asked) = cloudwatch(&[("app/a/1 RequestCount", &[(0, 1.0)])]);
    let of =
        [balancer("app/a/1", &["x/1"]), balancer("app/b/1", &[]), balancer("app/a/1", &["x/1"])];
    let series = cloudwatch.series(&of, window(1), &Health::default()).await.expect("told");
    assert_eq!(series.len(), 3);
    assert_eq!(series[0], series[2]);

    let asked = asked.lock().expect("whole");
    let [call] = &asked[..] else { panic!("{} calls", asked.len()) };
    let mut names: Vec<String> = call.metric_data_queries().iter().map(name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "app/a/1 ClientTLSNegotiationErrorCount",
            "app/a/1 HTTPCode_ELB_4XX_Count",
            "app/a/1 HTTPCode_ELB_5XX_Count",
            "app/a/1 HTTPCode_Target_4XX_Count",
            "app/a/1 HTTPCode_Target_5XX_Count",
            "app/a/1 HTTP_Fixed_Response_Count",
            "app/a/1 RejectedConnectionCount",
            "app/a/1 RequestCount",
            "app/a/1 targetgroup/x/1 HealthyHostCount",
            "app/b/1 ClientTLSNegotiationErrorCount",
            "app/b/1 HTTPCode_ELB_4XX_Count",
            "app/b/1 HTTPCode_ELB_5XX_Count",
            "app/b/1 HTTPCode_Target_4XX_Count",
            "app/b/1 HTTPCode_Target_5XX_Count",
            "app/b/1 HTTP_Fixed_Response_Count",
            "app/b/1 RejectedConnectionCount",
            "app/b/1 RequestCount",
        ]
    );
    for query in call.metric_data_queries() {
        let stat = query.metric_stat().expect("no expression");
        let hosts = name(query).ends_with("HealthyHostCount");
        assert_eq!(stat.stat(), Some(if hosts { "Maximum" } else { "Sum" }));
        assert_eq!(stat.period(), Some(60));
    }
    assert_eq!(call.start_time(), Some(&DateTime::from_secs(START_S)));
    assert_eq!(call.end_time(), Some(&DateTime::from_secs(START_S + 60)));
    assert_eq!(call.scan_by(), Some(&ScanBy::TimestampAscending));
}

#[tokio::test]
async fn a_plan_reckons_with_what_a_check_asks() {
    let health = Health { latency_target_s: Some(0.5), ..Health::default() };
    let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
    let table: [(&str, &[&str], usize); 3] = [
        ("a load balancer a side", &["app/a/1", "app/b/1"], 2 * 9),
        ("a group a side", &["app/a/1,targetgroup/g/1", "app/b/1,targetgroup/g/1"], 2 * (5 + 6)),
        (
            "groups of one load balancer",
            &["app/a/1,targetgroup/g/1", "app/a/1,targetgroup/h/1"],
            2 * 5 + 6,
        ),
    ];
    for (what, ids, metrics) in table {
        let (cloudwatch, asked) = cloudwatch(&[]);
        let of: Vec<_> = ids.iter().map(|id| balancer(id, &[])).collect();
        cloudwatch.series(&of, window(200), &health).await.expect("told");
        let made: Vec<usize> = asked.lock().expect("whole").iter().map(queries_of).collect();
        assert_eq!(made, [metrics], "{what}");
        assert_eq!(CloudWatch::metrics_per_check(&of, &health, &sides), (metrics, 0), "{what}");
    }
}

fn queries_of(call: &GetMetricDataInput) -> usize {
    call.metric_data_queries().len()
}

#[tokio::test]
async fn a_call_holds_500_queries() {
    let (cloudwatch, asked) = cloudwatch(&[("app/lb249/1 RequestCount", &[(0, 9.0)])]);
    let of: Vec<_> = (0..250).map(|i| balancer(&format!("app/lb{i}/1"), &[])).collect();
    let series = cloudwatch.series(&of, window(1), &Health::default()).await.expect("told");
    assert_eq!(series[249].counts, [counts(9, 0)]);
    let asked = asked.lock().expect("whole");
    let sizes: Vec<usize> = asked.iter().map(|call| call.metric_data_queries().len()).collect();
    assert_eq!(sizes, [500, 500, 500, 500]);
}

#[tokio::test]
async fn a_call_asks_for_no_more_points_than_a_page_holds() {
    let (cloudwatch, asked) = cloudwatch(&[("app/lb99/1 RequestCount", &[(1439, 9.0)])]);
    let of: Vec<_> = (0..100).map(|i| balancer(&format!("app/lb{i}/1"), &[])).collect();
    let day = Window { periods: 1440, ..window(0) };
    let series = cloudwatch.series(&of, day, &Health::default()).await.expect("told");
    assert_eq!(series[99].counts.last(), Some(&counts(9, 0)));
    let asked = asked.lock().expect("whole");
    let sizes: Vec<usize> = asked.iter().map(|call| call.metric_data_queries().len()).collect();
    assert_eq!(sizes, [70, 70, 70, 70, 70, 70, 70, 70, 40]);
}

/// A policy by which requests over half a second are slow.
fn slow(latency_by: LatencyBy) -> Health {
    Health { latency_target_s: Some(0.5), latency_by, ..Health::default() }
}

/// What is asked of `TargetResponseTime`, and how many queries there are.
fn asked_of_latency(asked: &Asked) -> (Vec<String>, usize) {
    let asked = asked.lock().expect("whole");
    let queries: Vec<_> = asked.iter().flat_map(GetMetricDataInput::metric_data_queries).collect();
    let of_latency = queries.iter().filter(|query| name(query).ends_with("TargetResponseTime"));
    let statistic = |query: &&MetricDataQuery| {
        let stat = query.metric_stat().and_then(|stat| stat.stat());
        stat.expect("a statistic").to_owned()
    };
    (of_latency.copied().map(|query| statistic(&query)).collect(), queries.len())
}

#[tokio::test]
async fn slow_requests_are_counted_and_one_that_is_missing_beside_others_is_0() {
    let (cloudwatch, asked) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0), (1, 200.0), (4, 10.0)]),
        ("app/a/1 HTTPCode_ELB_5XX_Count", &[(2, 5.0)]),
        ("app/a/1 TargetResponseTime", &[(1, 7.0), (4, 12.0)]),
    ]);
    let of = [balancer("app/a/1", &[])];
    let series = cloudwatch.series(&of, window(5), &slow(LatencyBy::Count)).await.expect("told");
    let expected = [
        Some(Latency::Slow(0)),
        Some(Latency::Slow(7)),
        // The load balancer answered by itself: nothing has taken its time.
        None,
        None,
        // Two of the requests came in the period before.
        Some(Latency::Slow(10)),
    ];
    assert_eq!(series[0].latency, expected);
    assert_eq!(
        asked_of_latency(&asked),
        (vec!["TC(0.5:)".to_owned()], 11),
        "with those not served"
    );
}

#[tokio::test]
async fn a_source_that_counts_no_slow_request_at_all_may_not_be_able_to() {
    let (cloudwatch, _) = cloudwatch(&[("app/a/1 RequestCount", &[(0, 100.0), (1, 200.0)])]);
    let of = [balancer("app/a/1", &[])];
    let series = cloudwatch.series(&of, window(2), &slow(LatencyBy::Count)).await.expect("told");
    assert_eq!(series[0].counts, [counts(100, 0), counts(200, 0)]);
    assert_eq!(series[0].latency, [None, None], "nothing that would pass for \"none was slow\"");
}

#[tokio::test]
async fn a_side_without_a_slow_request_is_told_from_a_source_that_cannot_count_by_the_other_side() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0)]),
        ("app/b/1 RequestCount", &[(0, 50.0)]),
        ("app/b/1 TargetResponseTime", &[(0, 7.0)]),
    ]);
    let of = [balancer("app/a/1", &[]), balancer("app/b/1", &[])];
    let series = cloudwatch.series(&of, window(1), &slow(LatencyBy::Count)).await.expect("told");
    assert_eq!(series[0].latency, [Some(Latency::Slow(0))]);
    assert_eq!(series[1].latency, [Some(Latency::Slow(7))]);
}

#[tokio::test]
async fn percentiles_are_times_and_one_that_is_missing_is_not_known() {
    let (cloudwatch, asked) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 100.0), (1, 200.0)]),
        ("app/a/1 TargetResponseTime", &[(1, 0.25), (2, 0.5)]),
    ]);
    let of = [balancer("app/a/1", &[])];
    let health = slow(LatencyBy::Percentile);
    let series = cloudwatch.series(&of, window(3), &health).await.expect("told");
    let expected = [None, Some(Latency::Percentile(0.25)), None];
    assert_eq!(series[0].latency, expected, "and none without requests");
    assert_eq!(asked_of_latency(&asked), (vec!["p95".to_owned()], 9));
}

#[tokio::test]
async fn latency_that_is_not_judged_is_not_asked_for() {
    let (cloudwatch, asked) = cloudwatch(&[("app/a/1 RequestCount", &[(0, 100.0)])]);
    let health = Health { latency_by: LatencyBy::Percentile, ..Health::default() };
    let series = cloudwatch.series(&[balancer("app/a/1", &[])], window(1), &health).await;
    assert_eq!(series.expect("told")[0].latency, []);
    assert_eq!(asked_of_latency(&asked), (vec![], 8));
}

#[tokio::test]
async fn a_window_without_periods_takes_no_call() {
    let (cloudwatch, asked) = cloudwatch(&[]);
    let of = [balancer("app/a/1", &["x/1"])];
    let series = cloudwatch.series(&of, window(0), &Health::default()).await.expect("told");
    assert_eq!(series, [Series::default()]);
    assert!(asked.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn the_pages_of_an_answer_are_put_together() {
    let cloudwatch = answering(|input| {
        let requests =
            input.metric_data_queries().iter().find(|q| name(q).ends_with("RequestCount"));
        let id = requests.and_then(|query| query.id()).expect("asked");
        let (points, next) = match input.next_token() {
            None => ([(0, 1.0)], Some("more")),
            Some(token) => {
                assert_eq!(token, "more");
                ([(1, 2.0)], None)
            }
        };
        let mut part = result(id, &points);
        part.status_code = Some(StatusCode::PartialData);
        let reply = GetMetricDataOutput::builder().metric_data_results(part);
        Answer::ok(reply.set_next_token(next.map(str::to_owned)).build())
    });
    let series = cloudwatch
        .series(&[balancer("app/a/1", &[])], window(2), &Health::default())
        .await
        .expect("told");
    assert_eq!(series[0].counts, [counts(1, 0), counts(2, 0)]);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_followed() {
    let cloudwatch =
        answering(|_| Answer::ok(GetMetricDataOutput::builder().next_token("again").build()));
    let failure =
        cloudwatch.series(&[balancer("app/a/1", &[])], window(1), &Health::default()).await;
    assert_eq!(failure.expect_err("endless").name(), "Internal");
}

#[tokio::test]
async fn several_target_groups_of_one_meter_are_added_up() {
    let (cloudwatch, _) = cloudwatch(&[
        ("app/a/1 RequestCount", &[(0, 900.0), (1, 900.0)]),
        ("app/a/1 targetgroup/g/1 RequestCount", &[(0, 100.0)]),
        ("app/a/1 targetgroup/h/1 RequestCount", &[(0, 20.0), (1, 30.0)]),
        ("app/a/1 targetgroup/g/1 HTTPCode_Target_5XX_Count", &[(0, 7.0)]),
        ("app/a/1 targetgroup/h/1 TargetConnectionErrorCount", &[(0, 2.0), (1, 3.0)]),
        ("app/a/1 targetgroup/g/1 TargetResponseTime", &[(0, 4.0)]),
        ("app/a/1 targetgroup/h/1 TargetResponseTime", &[(0, 6.0)]),
    ]);
    let both = [balancer("app/a/1,targetgroup/g/1,targetgroup/h/1", &[])];
    let counted = cloudwatch.series(&both, window(3), &slow(LatencyBy::Count)).await;
    let counted = &counted.expect("told")[0];
    assert_eq!(counted.counts, [counts(120, 9), counts(30, 3), None]);
    assert_eq!(counted.shared, [counts(900, 0), counts(900, 0), None]);
    assert_eq!(counted.latency, [Some(Latency::Slow(10)), Some(Latency::Slow(0)), None]);
    let timed = cloudwatch.series(&both, window(1), &slow(LatencyBy::Percentile)).await;
    let worst = Some(Latency::Percentile(6.0));
    assert_eq!(timed.expect("told")[0].latency, [worst], "the worse of both");
}

#[tokio::test]
async fn the_busiest_hour_of_a_day_has_the_hosts_of_that_hour() {
    // A point an hour from the midnight before; it is 00:30.
    let cloudwatch = answering(|input| {
        let start_s = input.start_time().expect("always").secs();
        assert_eq!((start_s, input.end_time().expect("always").secs()), (0, 25 * 3600));
        let results = input.metric_data_queries().iter().map(|query| {
            let points: &[(i64, f64)] = match name(query).as_str() {
                "app/a/1 RequestCount" => &[(3, 70.0), (12, 9_000.0), (24, 50.0)],
                "app/a/1 targetgroup/x/1 HealthyHostCount" => &[(3, 2.0), (12, 8.0)],
                "app/a/1 targetgroup/y/1 HealthyHostCount" => &[(3, 99.0), (12, 4.0)],
                "net/n/1 targetgroup/x/1 HealthyHostCount" => &[(3, 2.0), (9, 7.0), (12, 6.0)],
                "net/n/1 RequestCount" => panic!("it counts none"),
                _ => &[],
            };
            let at = points.iter().map(|(hour, _)| DateTime::from_secs(3600 * hour)).collect();
            MetricDataResult::builder()
                .set_id(query.id().map(str::to_owned))
                .set_timestamps(Some(at))
                .set_values(Some(points.iter().map(|(_, value)| *value).collect()))
                .status_code(StatusCode::Complete)
                .build()
        });
        let results = Some(results.collect());
        Answer::ok(GetMetricDataOutput::builder().set_metric_data_results(results).build())
    });
    let backend = |id: &str, by_node| {
        let group = |id: &str| Group { id: id.to_owned(), healthy: 1, registered: 1, by_node };
        Backend {
            called: format!("load balancer {id}"),
            id: id.to_owned(),
            meter: id.to_owned(),
            active: true,
            groups: vec![group("x/1"), group("y/1")],
        }
    };
    let now = Timestamp::from_second(24 * 3600 + 1800).expect("in range");
    for (by_node, hosts) in [(false, 12), (true, 8)] {
        let (a, silent) = (backend("app/a/1", by_node), backend("app/s/1", by_node));
        let busiest = cloudwatch.busiest_hours(&[&a, &silent], now).await.expect("told");
        let at = Timestamp::from_second(12 * 3600).expect("in range");
        let expected = Busiest { at, requests: Some(9_000), hosts };
        assert_eq!(busiest, [("app/a/1".to_owned(), expected)].into(), "nodes: {by_node}");
        let (net, silent) = (backend("net/n/1", by_node), backend("net/s/1", by_node));
        let busiest = cloudwatch.busiest_hours(&[&net, &silent], now).await.expect("told");
        let at = Timestamp::from_second(9 * 3600).expect("in range");
        let expected = Busiest { at, requests: None, hosts: 7 };
        assert_eq!(busiest, [("net/n/1".to_owned(), expected)].into(), "the hour with most hosts");
    }
}

#[tokio::test]
async fn points_outside_of_the_window_are_left_out() {
    let (cloudwatch, _) =
        cloudwatch(&[("app/a/1 RequestCount", &[(-1, 1.0), (0, 2.0), (1, 3.0), (2, 4.0)])]);
    let series = cloudwatch
        .series(&[balancer("app/a/1", &[])], window(2), &Health::default())
        .await
        .expect("told");
    assert_eq!(series[0].counts, [counts(2, 0), counts(3, 0)]);
}

#[tokio::test]
async fn a_query_that_fails_inside_of_an_answer_does_not_pass_for_no_data() {
    for (status, name) in
        [(StatusCode::Forbidden, "Refused"), (StatusCode::InternalError, "Unreachable")]
    {
        let cloudwatch = answering(move |_| {
            let mut failed = result("q0", &[]);
            failed.status_code = Some(status.clone());
            failed.messages = Some(vec![MessageData::builder().value("not today").build()]);
            Answer::ok(GetMetricDataOutput::builder().metric_data_results(failed).build())
        });
        let failure =
            cloudwatch.series(&[balancer("app/a/1", &[])], window(1), &Health::default()).await;
        let failure = failure.expect_err(name);
        assert_eq!(failure.name(), name);
        assert!(failure.to_string().contains("not today"), "{failure}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_count_or_a_time_is_a_broken_reply() {
    for (value, health) in [
        (-1.0, Health::default()),
        (f64::NAN, Health::default()),
        (f64::NAN, slow(LatencyBy::Count)),
        (-0.1, slow(LatencyBy::Percentile)),
    ] {
        let cloudwatch = answering(move |input| {
            let last = input.metric_data_queries().last().and_then(|query| query.id());
            let results = result(last.expect("asked"), &[(0, value)]);
            Answer::ok(GetMetricDataOutput::builder().metric_data_results(results).build())
        });
        let failure = cloudwatch.series(&[balancer("app/a/1", &[])], window(1), &health).await;
        assert_eq!(failure.expect_err("no value").name(), "Internal");
    }
}

#[tokio::test]
async fn each_class_of_error_has_its_name() {
    let table: Classes<3> = [
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::Http(503, String::new()), "Unreachable"),
        (|| Answer::Http(403, String::new()), "Unreachable"),
    ];
    for (answer, name) in table {
        let fake = Fake::new()
            .on(move |_: &GetMetricDataInput| answer())
            .on(move |_: &DescribeAlarmsInput| answer());
        let cloudwatch = CloudWatch::new(client!(aws_sdk_cloudwatch, fake));
        let series =
            cloudwatch.series(&[balancer("app/a/1", &[])], window(1), &Health::default()).await;
        let alarms = cloudwatch.in_alarm(&["a".to_owned()]).await;
        assert_eq!(series.expect_err(name).name(), name);
        assert_eq!(alarms.expect_err(name).name(), name);
    }
}

#[tokio::test]
async fn alarms_of_both_kinds_are_found_by_name_100_a_call() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let fake = Fake::new().on(move |input: &DescribeAlarmsInput| {
        seen.lock().expect("whole").push((input.alarm_names().len(), input.next_token.is_some()));
        let kinds = [AlarmType::MetricAlarm, AlarmType::CompositeAlarm];
        assert_eq!(input.alarm_types(), kinds, "left out, only metric alarms are found");
        let has = |name: &str| input.alarm_names().iter().any(|n| n == name);
        let reply = DescribeAlarmsOutput::builder();
        Answer::ok(if !has("a000") {
            reply.build()
        } else if input.next_token.is_none() {
            let alarm = MetricAlarm::builder().alarm_name("a000").state_value(StateValue::Alarm);
            reply.metric_alarms(alarm.build()).next_token("more").build()
        } else {
            let alarm = CompositeAlarm::builder().alarm_name("a001").state_value(StateValue::Ok);
            reply.composite_alarms(alarm.build()).build()
        })
    });
    let cloudwatch = CloudWatch::new(client!(aws_sdk_cloudwatch, fake));
    let names: Vec<String> = (0..150).map(|i| format!("a{i:03}")).collect();
    let alarms = cloudwatch.in_alarm(&names).await.expect("told");
    assert_eq!(alarms, [("a000".to_owned(), true), ("a001".to_owned(), false)]);
    assert_eq!(*asked.lock().expect("whole"), [(100, false), (100, true), (50, false)]);
    assert_eq!(cloudwatch.in_alarm(&[]).await, Ok(Vec::new()));
    assert_eq!(asked.lock().expect("whole").len(), 3, "no names, no call");
}
