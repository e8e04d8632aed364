//! The metrics of application load balancers, raw, by `GetMetricData`. What they mean is judged in
//! `core`; here it is only told apart what was counted and what was not.

mod busiest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::builders::MetricBuilder;
use aws_sdk_cloudwatch::types::{
    Dimension, MessageData, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy,
    StatusCode,
};
use aws_smithy_types::DateTime;
use cutover_core::limits::{CLOUDWATCH, METRIC_PERIOD_S, queries_per_call};
use cutover_core::{
    Connections, Counts, Failure, Health, Latency, LatencyBy, Meter, OwnSeries, OwnSignal, Series,
    Sides, TelemetryLimits, Window,
};
use jiff::Timestamp;

use crate::errors::failure;
use crate::telemetry::{Telemetry, own};

const NAMESPACE: &str = "AWS/ApplicationELB";
const NETWORK_NAMESPACE: &str = "AWS/NetworkELB";
/// Periods back to which a number of healthy hosts is still told: an older one is of targets that
/// may be gone.
const FRESH_PERIODS: usize = 3;
/// How far back a number of hosts is looked for, beside a check: CloudWatch has it within 2 or 3 minutes.
const HOSTS_PERIODS: u32 = 5;
/// Pages of one call's answer. What is asked for fits into one, but CloudWatch may divide it as it likes;
/// more than this is a token that leads nowhere.
const PAGES_MAX: usize = 50;

/// One thing to ask for. Ordered, so that equal questions are asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Query<'a> {
    load_balancer: &'a str,
    /// One of its target groups; without it, all that passes through it.
    group: Option<&'a str>,
    metric: Name<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    /// Requests for which a target was chosen.
    Requests,
    /// 5xx answers of targets.
    TargetErrors,
    /// 2xx answers of targets.
    TargetSucceeded,
    /// 3xx answers of targets.
    TargetRedirected,
    /// Requests for which no connection to a target came about.
    ConnectionErrors,
    /// 5xx answers of the load balancer itself.
    OwnErrors,
    /// Those of them for which there was no target to choose.
    Unserved,
    /// 4xx answers of targets.
    TargetRefused,
    /// 4xx answers of the load balancer itself.
    OwnRefused,
    /// Answers of rules that answer by themselves.
    FixedResponses,
    /// TLS negotiations that failed.
    TlsFailed,
    /// Connections that were rejected.
    Rejected,
    /// Healthy hosts of a target group.
    HealthyHosts,
    /// Its other hosts.
    UnhealthyHosts,
    /// How many answers of targets were slow: this statistic of their times.
    Slow(&'a str),
    /// The 95th percentile of the times.
    Percentile,
}

/// Hosts of a target group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Those that are healthy.
    pub healthy: u32,
    /// All that are registered, healthy or not.
    pub registered: u32,
}

/// One entry a period; `None` where CloudWatch has no data point. Counts are whole numbers.
pub(super) type Points = Vec<Option<f64>>;

/// Something to ask for. Ordered, so that equal questions are asked once.
pub(super) trait Asked: Ord + Clone + std::fmt::Debug {
    /// The question, whose id has this index.
    fn build(&self, index: usize, window: Window) -> MetricDataQuery;

    /// A value as CloudWatch sends it; `None` when it can be none of this metric's.
    fn read(&self, value: f64) -> Option<f64>;
}

/// CloudWatch's metrics and alarms.
#[derive(Clone, Debug)]
pub struct CloudWatch {
    pub(crate) client: Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>>,
}

impl CloudWatch {
    /// The metrics of the account and region that the client is for.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::lazily(|| client)
    }

    /// The same, with a client that is built when it is first needed: most roll-backs ask no metric.
    #[must_use]
    pub fn lazily(build: impl FnOnce() -> Client + Send + 'static) -> Self {
        Self { client: Arc::new(LazyLock::new(Box::new(build))) }
    }

    /// The newest number of hosts of each target group, in the order asked. A group is named by CloudWatch's dimensions,
    /// `(load balancer, target group)`. `None` if there is no value in the last few minutes: a group without registered
    /// targets has no such metric, and a group whose first target was just registered does not have it yet.
    ///
    /// # Errors
    /// As [`series`](Telemetry::series).
    pub async fn hosts<'a>(
        &self,
        groups: &[(&'a str, &'a str)],
        now: Timestamp,
    ) -> Result<Vec<Option<Hosts>>, Failure> {
        let window = newest_periods(now, METRIC_PERIOD_S, HOSTS_PERIODS);
        let metrics = [Name::HealthyHosts, Name::UnhealthyHosts];
        let queries = groups.iter().flat_map(|&(load_balancer, group)| {
            metrics.map(|metric| Query { load_balancer, group: Some(group), metric })
        });
        let mut points = BTreeMap::new();
        self.ask_all(queries.collect(), window, &mut points).await?;
        let hosts = |&(load_balancer, group): &(&'a str, &'a str)| {
            let told = Told { points: &points, load_balancer };
            let newest = |metric| -> Option<(usize, u32)> {
                let mut points = told.all(Some(group), metric)?.iter().enumerate().rev();
                let (at, count) = points.find_map(|(at, point)| Some((at, (*point)?)))?;
                Some((at, u32::try_from(whole(count)).unwrap_or(u32::MAX)))
            };
            let [healthy, unhealthy] = metrics.map(newest);
            // Both are told at once. If one is older, it is of hosts that may be counted otherwise now.
            let at = healthy.max(unhealthy)?.0;
            let count = |told: Option<(usize, u32)>| told.filter(|t| t.0 == at).map_or(0, |t| t.1);
            let healthy = count(healthy);
            Some(Hosts { healthy, registered: healthy.saturating_add(count(unhealthy)) })
        };
        Ok(groups.iter().map(hosts).collect())
    }

    /// How many metrics a check asks for: of the meters, and of one's own signals. What load balancers with errors of their
    /// own are asked beside them is not in it.
    #[must_use]
    pub fn metrics_per_check(meters: &[Meter], health: &Health, sides: &Sides) -> (usize, usize) {
        let statistic = health.latency_target_s.map(slower_than);
        let wanted = Wanted::of(health, statistic.as_deref(), CLOUDWATCH.periods_per_check);
        let of_meters = all_queries(meters.iter(), wanted);
        let own: BTreeSet<own::OwnQuery> = own::queries(&health.signals, sides).collect();
        (of_meters.len(), own.len())
    }

    /// Asks any number of queries, each once.
    async fn ask_all<Q: Asked>(
        &self,
        queries: BTreeSet<Q>,
        window: Window,
        points: &mut BTreeMap<Q, Points>,
    ) -> Result<(), Failure> {
        let queries: Vec<Q> = queries.into_iter().collect();
        for asked in queries.chunks(queries_per_call(window.periods)) {
            self.ask(asked, window, points).await?;
        }
        Ok(())
    }

    /// Asks up to [`queries_per_call`] queries, and adds what comes back to `points`.
    async fn ask<Q: Asked>(
        &self,
        queries: &[Q],
        window: Window,
        points: &mut BTreeMap<Q, Points>,
    ) -> Result<(), Failure> {
        let what = format!("GetMetricData of {} metrics", queries.len());
        let seconds = |time: jiff::Timestamp| DateTime::from_secs(time.as_second());
        let request = self
            .client
            .get_metric_data()
            .start_time(seconds(window.start))
            .end_time(seconds(window.end()))
            .scan_by(ScanBy::TimestampAscending)
            .set_metric_data_queries(Some(
                queries.iter().enumerate().map(|(i, query)| query.build(i, window)).collect(),
            ));
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let reply = request.clone().set_next_token(token).send().await;
            let reply = reply.map_err(|error| failure(&what, &error))?;
            for result in reply.metric_data_results() {
                refuse_half_answers(&what, result)?;
                let query = result
                    .id()
                    .and_then(|id| queries.get(id.strip_prefix('q')?.parse::<usize>().ok()?))
                    .ok_or_else(|| {
                        Failure::Internal(format!("{what}: {result:?} was not asked"))
                    })?;
                let series = points
                    .entry(query.clone())
                    .or_insert_with(|| vec![None; window.periods as usize]);
                for (at, value) in result.timestamps().iter().zip(result.values()) {
                    let value = query.read(*value).ok_or_else(|| {
                        Failure::Internal(format!("{what}: {value} is no value of {query:?}"))
                    })?;
                    // Outside of the window is what CloudWatch adds when it rounds the start.
                    if let Some(point) = period_of(*at, window).and_then(|i| series.get_mut(i)) {
                        *point = Some(value);
                    }
                }
            }
            token = reply.next_token;
            if token.is_none() {
                return Ok(());
            }
        }
        Err(Failure::Internal(format!("{what}: more than {PAGES_MAX} pages")))
    }
}

impl Telemetry for CloudWatch {
    fn limits(&self) -> TelemetryLimits {
        CLOUDWATCH
    }

    async fn series(
        &self,
        meters: &[Meter],
        window: Window,
        health: &Health,
    ) -> Result<Vec<Series>, Failure> {
        let statistic = health.latency_target_s.map(slower_than);
        let wanted = Wanted::of(health, statistic.as_deref(), window.periods);
        let Wanted { latency, connections, .. } = wanted;
        let meters: Vec<Vec<Meter>> = meters.iter().map(under_each_id).collect();
        let mut points = BTreeMap::new();
        if window.periods > 0 {
            let queries = all_queries(meters.iter().flatten(), wanted);
            self.ask_all(queries, window, &mut points).await?;
            let whose = whose_errors(&points, connections);
            self.ask_all(whose, window, &mut points).await?;
        }
        let tells = |(query, points): (&Query<'_>, &Points)| {
            Some(query.metric) == latency && points.iter().any(Option::is_some)
        };
        let counts_slow = points.iter().any(tells);
        let (attributed, points) = (attributed(&points, window), &points);
        let answer = Answers { points, window, latency, counts_slow, connections, attributed };
        Ok(meters.iter().map(|forms| answer.under_all_ids(forms)).collect())
    }

    async fn own(
        &self,
        signals: &[OwnSignal],
        sides: &Sides,
        window: Window,
    ) -> Result<Vec<OwnSeries>, Failure> {
        let mut points = BTreeMap::new();
        if window.periods > 0 {
            self.ask_all(own::queries(signals, sides).collect(), window, &mut points).await?;
        }
        let periods = window.periods as usize;
        let series = |signal| own::series(signal, sides, periods, |query| points.get(query));
        Ok(signals.iter().map(series).collect())
    }
}

impl Asked for Query<'_> {
    fn read(&self, value: f64) -> Option<f64> {
        self.metric.read(value)
    }

    fn build(&self, index: usize, window: Window) -> MetricDataQuery {
        let (name, statistic) = match self.metric {
            Name::Requests => ("RequestCount", "Sum"),
            Name::TargetErrors => ("HTTPCode_Target_5XX_Count", "Sum"),
            Name::TargetSucceeded => ("HTTPCode_Target_2XX_Count", "Sum"),
            Name::TargetRedirected => ("HTTPCode_Target_3XX_Count", "Sum"),
            Name::ConnectionErrors => ("TargetConnectionErrorCount", "Sum"),
            Name::OwnErrors => ("HTTPCode_ELB_5XX_Count", "Sum"),
            Name::Unserved => ("HTTPCode_ELB_503_Count", "Sum"),
            Name::TargetRefused => ("HTTPCode_Target_4XX_Count", "Sum"),
            Name::OwnRefused => ("HTTPCode_ELB_4XX_Count", "Sum"),
            Name::FixedResponses => ("HTTP_Fixed_Response_Count", "Sum"),
            Name::TlsFailed => ("ClientTLSNegotiationErrorCount", "Sum"),
            Name::Rejected => ("RejectedConnectionCount", "Sum"),
            // Each node of the load balancer reports how many hosts it sees.
            Name::HealthyHosts => ("HealthyHostCount", "Maximum"),
            Name::UnhealthyHosts => ("UnHealthyHostCount", "Maximum"),
            Name::Slow(statistic) => ("TargetResponseTime", statistic),
            Name::Percentile => ("TargetResponseTime", "p95"),
        };
        let group = self.group.map(|group| format!("targetgroup/{group}"));
        let group = group.as_deref().map(|group| ("TargetGroup", group));
        let dimensions = group.into_iter().chain([("LoadBalancer", self.load_balancer)]);
        let namespace = if is_network(self.load_balancer) { NETWORK_NAMESPACE } else { NAMESPACE };
        let metric = Metric::builder().namespace(namespace).metric_name(name);
        question(index, metric, dimensions, statistic, window)
    }
}

/// This many of the newest periods of this length, up to the one that has begun.
fn newest_periods(now: Timestamp, length_s: u32, number: u32) -> Window {
    let period_s = i64::from(length_s);
    let newest_s = now.as_second() - now.as_second().rem_euclid(period_s);
    let start = Timestamp::from_second(newest_s - period_s * (i64::from(number) - 1));
    Window { start: start.unwrap_or(now), period_s: length_s, periods: number }
}

/// The question, whose id has this index, for one statistic of a metric.
pub(super) fn question<'d>(
    index: usize,
    metric: MetricBuilder,
    dimensions: impl Iterator<Item = (&'d str, &'d str)>,
    statistic: &str,
    window: Window,
) -> MetricDataQuery {
    let dimension = |(name, value)| Dimension::builder().name(name).value(value).build();
    let stat = MetricStat::builder()
        .metric(metric.set_dimensions(Some(dimensions.map(dimension).collect())).build())
        .period(i32::try_from(window.period_s).unwrap_or(i32::MAX))
        .stat(statistic);
    MetricDataQuery::builder().id(format!("q{index}")).metric_stat(stat.build()).build()
}

impl Name<'_> {
    /// A value as CloudWatch sends it; `None` when it can be none of this metric's.
    fn read(self, value: f64) -> Option<f64> {
        match self {
            Self::Percentile => (value.is_finite() && value >= 0.0).then_some(value),
            _ => count(value),
        }
    }
}

/// The statistic that counts what took longer than `target_s`: the boundary itself is not in it.
/// Boundaries may have ten decimal places.
///
/// Nobody has confirmed it for a load balancer's metrics on AWS: the documentation of the statistic names no
/// metric that it is not for, and that of the metric names percentiles, but no trimmed count.
/// Source: CloudWatch user guide, "CloudWatch statistics definitions" (trimmed count).
fn slower_than(target_s: f64) -> String {
    let boundary = format!("{target_s:.10}");
    format!("TC({}:)", boundary.trim_end_matches('0').trim_end_matches('.'))
}

/// What stands between a load balancer and its target group in the id of a meter that counts the group alone. No
/// name of either has a comma.
const GROUP_MARK: &str = ",targetgroup/";

/// The id of the meter of some target groups of a load balancer: `app/NAME/ID,targetgroup/NAME/ID`, and more groups
/// in the same way.
pub(crate) fn meter_of_groups<'g>(
    load_balancer: &str,
    groups: impl IntoIterator<Item = &'g str>,
) -> String {
    groups.into_iter().fold(load_balancer.to_owned(), |id, group| id + GROUP_MARK + group)
}

/// What stands before the former id of a meter whose load balancer or groups were made anew: what was counted under
/// that one belongs to it as well. No name has a semicolon.
const FORMER_MARK: char = ';';

/// The id of a meter that was counted under another one. Of that, only the newest form is kept.
pub(crate) fn meter_made_anew(id: &str, former_id: &str) -> String {
    format!("{id}{FORMER_MARK}{}", former_id.split(FORMER_MARK).next().unwrap_or_default())
}

/// The load balancers of a meter, the present one first: more than one where it was made anew.
pub(crate) fn load_balancers(meter_id: &str) -> impl Iterator<Item = &str> {
    meter_id.split(FORMER_MARK).map(|id| load_balancer_and_groups(id).0)
}

/// The load balancer of a meter, and the target groups that it counts; none where it counts all that passes through.
pub(crate) fn load_balancer_and_groups(meter_id: &str) -> (&str, Vec<&str>) {
    let id = meter_id.split(FORMER_MARK).next().unwrap_or(meter_id);
    let mut parts = id.split(GROUP_MARK);
    (parts.next().unwrap_or(id), parts.collect())
}

/// A meter under each of its ids, the present one first. The hosts are those of the present.
fn under_each_id(of: &Meter) -> Vec<Meter> {
    let form = |(index, id): (usize, &str)| {
        let hosts = of.hosts.iter().filter(|_| index == 0).cloned().collect();
        Meter { id: id.to_owned(), hosts, baseline: None }
    };
    of.id.split(FORMER_MARK).enumerate().map(form).collect()
}

/// Whether a load balancer is one of the network type, which counts no requests.
fn is_network(load_balancer: &str) -> bool {
    load_balancer.starts_with("net/")
}

/// The dimensions under which a meter's requests are counted: each of its groups, or none for all.
fn counted_as<'a>(groups: &[&'a str]) -> Vec<Option<&'a str>> {
    if groups.is_empty() { vec![None] } else { groups.iter().copied().map(Some).collect() }
}

/// What is asked of each meter beside requests, failed ones and hosts.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    refused: bool,
    connections: bool,
    latency: Option<Name<'a>>,
}

impl<'a> Wanted<'a> {
    /// `slower`: the statistic of slow requests.
    fn of(health: &Health, slower: Option<&'a str>, periods: u32) -> Self {
        let latency = slower.map(|slower| match health.latency_by {
            LatencyBy::Count => Name::Slow(slower),
            LatencyBy::Percentile => Name::Percentile,
        });
        Self {
            refused: health.refused_tolerated_odds_ratio.is_some(),
            // Both sides are compared in a check. A day of them would take calls that a validation has not.
            connections: periods <= CLOUDWATCH.periods_per_check,
            latency,
        }
    }
}

/// The questions for these meters, each once: none where no requests are counted.
fn all_queries<'a>(
    meters: impl Iterator<Item = &'a Meter>,
    wanted: Wanted<'a>,
) -> BTreeSet<Query<'a>> {
    meters.filter(|of| !is_network(&of.id)).flat_map(|of| queries(of, wanted)).collect()
}

fn queries<'a>(of: &'a Meter, wanted: Wanted<'a>) -> impl Iterator<Item = Query<'a>> {
    let (load_balancer, groups) = load_balancer_and_groups(&of.id);
    let mut of_targets = vec![Name::Requests, Name::TargetErrors];
    of_targets.extend(wanted.latency);
    // What a load balancer answers by itself is not counted by group: the groups share it.
    let mut of_all = vec![Name::OwnErrors];
    if wanted.refused {
        of_targets.push(Name::TargetRefused);
        of_all.extend([Name::OwnRefused, Name::FixedResponses]);
    }
    if wanted.connections {
        of_all.extend([Name::TlsFailed, Name::Rejected]);
    }
    if !groups.is_empty() {
        of_targets.push(Name::ConnectionErrors);
        of_all.push(Name::Requests);
    }
    let query = move |group, metric| Query { load_balancer, group, metric };
    let of_group = move |group| of_targets.clone().into_iter().map(move |of| query(group, of));
    let hosts = of.hosts.iter().map(move |group| query(Some(group), Name::HealthyHosts));
    counted_as(&groups)
        .into_iter()
        .flat_map(of_group)
        .chain(of_all.into_iter().map(move |metric| query(None, metric)))
        .chain(hosts)
}

/// The questions for the load balancers that have errors of their own: how many requests were not served, how many
/// the targets of each group answered, and, with `connections`, to how many no connection came about. Of the others they
/// have one answer.
fn whose_errors<'a>(
    points: &BTreeMap<Query<'a>, Points>,
    connections: bool,
) -> BTreeSet<Query<'a>> {
    let has_own_errors = |(query, points): &(&Query<'a>, &Points)| {
        let some = |point: &Option<f64>| point.is_some_and(|errors| errors > 0.0);
        query.metric == Name::OwnErrors && points.iter().any(some)
    };
    let balancers: BTreeSet<&str> =
        points.iter().filter(has_own_errors).map(|(query, _)| query.load_balancer).collect();
    let unconnected = connections.then_some(Name::ConnectionErrors);
    let of_balancer = |&load_balancer: &&'a str| {
        let metrics = [Name::Unserved].into_iter().chain(unconnected);
        metrics.map(move |metric| Query { load_balancer, group: None, metric })
    };
    let answers = [Name::TargetSucceeded, Name::TargetRedirected, Name::TargetRefused];
    let of_groups = groups_alone(points)
        .filter(|query| balancers.contains(query.load_balancer))
        .flat_map(|query| answers.map(|metric| Query { metric, ..query }));
    let asked = balancers.iter().flat_map(of_balancer).chain(of_groups);
    asked.filter(|query| !points.contains_key(query)).collect()
}

/// One question for each group that is counted apart from its load balancer.
fn groups_alone<'a>(points: &BTreeMap<Query<'a>, Points>) -> impl Iterator<Item = Query<'a>> {
    let is_apart =
        |query: &&Query<'a>| query.metric == Name::ConnectionErrors && query.group.is_some();
    points.keys().filter(is_apart).copied()
}

/// How many of a load balancer's own errors belong to one of its groups, by load balancer and period.
fn attributed<'a>(
    points: &BTreeMap<Query<'a>, Points>,
    window: Window,
) -> BTreeMap<&'a str, Vec<u64>> {
    let mut attributed: BTreeMap<&'a str, Vec<u64>> = BTreeMap::new();
    for Query { load_balancer, group, .. } in groups_alone(points) {
        let Some(group) = group else { continue };
        let told = Told { points, load_balancer };
        let sums =
            attributed.entry(load_balancer).or_insert_with(|| vec![0; window.periods as usize]);
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = sum.saturating_add(told.unanswered(group, index));
        }
    }
    attributed
}

/// The data points that came back of one load balancer.
///
/// A load balancer publishes a metric only when there is something to count: without errors,
/// none for errors, and without requests, none at all. So errors that are missing beside
/// requests are 0, and a period without either was not counted.
///
/// `RequestCount` has the requests for which a target was chosen. Those that end in a 502 or 504 of the load
/// balancer are among them; those that end in a 503, without a target to choose, are not, nor are those that it answers by
/// itself: 4xx and fixed responses. Whether a fixed 404 is among its 4xx nobody has confirmed, so the larger of the two
/// counts.
/// Source: Elastic Load Balancing user guide, "CloudWatch metrics for your Application Load Balancer".
///
/// What the load balancer answers by itself is not counted by target group: it belongs to a load balancer's own
/// meter. Its 502s and 504s are answers to requests for which a target was chosen and that no target answered, so of each group as
/// many are its own as it has more requests than answers. The rest is shared by the meters of the groups.
#[derive(Clone, Copy)]
struct Told<'p, 'a> {
    points: &'p BTreeMap<Query<'a>, Points>,
    load_balancer: &'a str,
}

impl<'p, 'a> Told<'p, 'a> {
    fn all(self, group: Option<&'a str>, metric: Name<'a>) -> Option<&'p Points> {
        self.points.get(&Query { load_balancer: self.load_balancer, group, metric })
    }

    fn at(self, group: Option<&'a str>, metric: Name<'a>, index: usize) -> Option<u64> {
        self.all(group, metric)?.get(index).copied().flatten().map(whole)
    }

    /// What some groups counted together, or the load balancer; `None` when none did.
    fn sum(self, counted: &[Option<&'a str>], metric: Name<'a>, index: usize) -> Option<u64> {
        let parts = counted.iter().filter_map(|group| self.at(*group, metric, index));
        parts.reduce(u64::saturating_add)
    }

    /// The load balancer's 502s and 504s in a period that belong to a group: the requests that no target answered, but
    /// no more than there were such errors, because a client may have gone or an answer be late.
    fn unanswered(self, group: &'a str, index: usize) -> u64 {
        let of_all = |metric| self.at(None, metric, index).unwrap_or(0);
        let errors = of_all(Name::OwnErrors).saturating_sub(of_all(Name::Unserved));
        if errors == 0 {
            return 0;
        }
        let at = |metric| self.at(Some(group), metric, index).unwrap_or(0);
        let answers = [
            Name::TargetSucceeded,
            Name::TargetRedirected,
            Name::TargetRefused,
            Name::TargetErrors,
        ];
        let answered = answers.map(at).into_iter().fold(0, u64::saturating_add);
        at(Name::Requests).saturating_sub(answered).min(errors)
    }

    /// What passed through it in a period. `with_targets`: with what its targets answered.
    fn through_all(self, with_targets: bool, index: usize) -> Option<InPeriod> {
        let at = |metric| self.at(None, metric, index);
        let (chosen, failed) = (at(Name::Requests), at(Name::OwnErrors));
        let refused = at(Name::OwnRefused).max(at(Name::FixedResponses));
        chosen.or(failed).or(refused)?;
        let (failed, refused) = (failed.unwrap_or(0), refused.unwrap_or(0));
        let unserved = at(Name::Unserved).unwrap_or(0);
        let requests = chosen.unwrap_or(0) + unserved + refused;
        let of_targets = |metric| at(metric).filter(|_| with_targets).unwrap_or(0);
        let failed = failed + of_targets(Name::TargetErrors);
        Some(InPeriod::of(requests, failed, refused + of_targets(Name::TargetRefused)))
    }

    /// What passed through some target groups in a period.
    fn through_groups(self, groups: &[Option<&'a str>], index: usize) -> Option<InPeriod> {
        let sum = |metric| self.sum(groups, metric, index);
        let (chosen, unconnected) = (sum(Name::Requests), sum(Name::ConnectionErrors));
        chosen.or(unconnected)?;
        let unanswered = groups.iter().flatten().map(|group| self.unanswered(group, index)).sum();
        let failed = unconnected.unwrap_or(0).max(unanswered);
        let failed = failed + sum(Name::TargetErrors).unwrap_or(0);
        let refused = sum(Name::TargetRefused).unwrap_or(0);
        Some(InPeriod::of(chosen.unwrap_or(0), failed, refused))
    }

    /// Healthy hosts of all groups, by their newest values. A group whose values have stopped has none, because CloudWatch
    /// has no value for a group without registered targets. The exception: if requests succeed, a group that was made anew
    /// serves them.
    fn healthy_hosts(self, groups: &'a [String], counts: &[Option<Counts>]) -> Option<u32> {
        let newest = counts.iter().rev().take(FRESH_PERIODS).flatten();
        let serves = newest.into_iter().any(|counts| counts.errors < counts.requests);
        let hosts = groups.iter().filter_map(|group| {
            let points = self.all(Some(group), Name::HealthyHosts)?;
            let newest = points.iter().rev().take(FRESH_PERIODS).find_map(|point| *point);
            let was_there = points.iter().any(Option::is_some);
            newest.map(whole).or_else(|| (was_there && !serves).then_some(0))
        });
        Some(u32::try_from(hosts.reduce(|a, b| a + b)?).unwrap_or(u32::MAX))
    }
}

/// What was asked, and what came back.
struct Answers<'p, 'a> {
    points: &'p BTreeMap<Query<'a>, Points>,
    window: Window,
    latency: Option<Name<'a>>,
    /// Whether any load balancer has a number of slow requests.
    counts_slow: bool,
    /// Whether failed connections were asked for.
    connections: bool,
    /// See [`attributed`].
    attributed: BTreeMap<&'a str, Vec<u64>>,
}

/// All requests of a period, and those that came to something bad.
#[derive(Clone, Copy)]
struct InPeriod {
    requests: u64,
    failed: u64,
    refused: u64,
}

impl InPeriod {
    /// A request is counted when it comes and an error when it is answered, which may be
    /// a period later: no period has more errors than requests.
    fn of(requests: u64, failed: u64, refused: u64) -> Self {
        Self { requests: requests.max(failed).max(refused), failed, refused }
    }

    const fn failed(self) -> Counts {
        Counts { requests: self.requests, errors: self.failed }
    }

    const fn refused(self) -> Counts {
        Counts { requests: self.requests, errors: self.refused }
    }
}

impl<'a> Answers<'_, 'a> {
    /// The series of a meter under each of its ids together. Where only groups were made anew, what their load balancer
    /// counts is counted once.
    fn under_all_ids(&self, forms: &'a [Meter]) -> Series {
        let mut balancers = BTreeSet::new();
        let series = forms.iter().map(|of| {
            let series = self.series(of);
            if balancers.insert(load_balancer_and_groups(&of.id).0) {
                return series;
            }
            let of_groups = |failed: Connections| Connections { tls: 0, rejected: 0, ..failed };
            let connections = series.connections.into_iter().map(of_groups).collect();
            Series { shared: vec![], shared_refused: vec![], connections, ..series }
        });
        series.reduce(Series::with).unwrap_or_default()
    }

    fn series(&self, of: &'a Meter) -> Series {
        let (load_balancer, groups) = load_balancer_and_groups(&of.id);
        let told = Told { points: self.points, load_balancer };
        let counted = counted_as(&groups);
        let periods = self.window.periods as usize;
        let counts = |periods: &[Option<InPeriod>], of: fn(InPeriod) -> Counts| {
            periods.iter().map(|period| period.map(of)).collect::<Vec<_>>()
        };
        let of_targets = |index| {
            if groups.is_empty() {
                told.through_all(true, index)
            } else {
                told.through_groups(&counted, index)
            }
        };
        let own: Vec<Option<InPeriod>> = (0..periods).map(of_targets).collect();
        let attributed = self.attributed.get(load_balancer).map_or(&[][..], Vec::as_slice);
        let shared = |index| {
            let mut all = told.through_all(false, index)?;
            all.failed = all.failed.saturating_sub(attributed.get(index).copied().unwrap_or(0));
            Some(all)
        };
        let shared: Vec<Option<InPeriod>> =
            if groups.is_empty() { Vec::new() } else { (0..periods).map(shared).collect() };
        let failed = counts(&own, InPeriod::failed);
        let latency = self.latency.map(|metric| {
            let chosen = |index| told.sum(&counted, Name::Requests, index).is_some();
            // Slow answers add up; of percentiles the worst stands for all.
            let together = if metric == Name::Percentile { f64::max } else { |a, b| a + b };
            let time = |index| {
                let of = |group| told.all(group, metric)?.get(index).copied()?;
                counted.iter().copied().filter_map(of).reduce(together)
            };
            let times: Vec<Option<f64>> = (0..periods).map(time).collect();
            slow(metric, &failed, &times, self.counts_slow, chosen)
        });
        let failed_connections = |index| {
            let of_all = |metric| told.at(None, metric, index).unwrap_or(0);
            Connections {
                tls: of_all(Name::TlsFailed),
                rejected: of_all(Name::Rejected),
                to_targets: told.sum(&counted, Name::ConnectionErrors, index).unwrap_or(0),
            }
        };
        let asked = if self.connections { 0..periods } else { 0..0 };
        let healthy_hosts = told.healthy_hosts(&of.hosts, &failed);
        let hosts_are_missing =
            healthy_hosts.is_none() && !of.hosts.is_empty() && periods >= FRESH_PERIODS;
        Series {
            refused: counts(&own, InPeriod::refused),
            shared: counts(&shared, InPeriod::failed),
            shared_refused: counts(&shared, InPeriod::refused),
            latency: latency.unwrap_or_default(),
            connections: asked.map(failed_connections).collect(),
            counts: failed,
            healthy_hosts,
            hosts_are_missing,
        }
    }
}

/// How slow a load balancer's answers were, one entry a period. `chosen`: whether there was a request in a
/// period for which a target was chosen, as no other has a time.
///
/// Whether CloudWatch tells 0 or nothing of a period in which no answer was slow, nobody has confirmed. So
/// a number that is missing beside requests is 0 if there is one at all, of any load balancer (`counted`): an old
/// side without a slow answer can be compared with. A source that tells none cannot count, as far as one can
/// see, and what was not counted must not pass for "none was slow".
fn slow(
    metric: Name<'_>,
    counts: &[Option<Counts>],
    times: &[Option<f64>],
    counted: bool,
    chosen: impl Fn(usize) -> bool,
) -> Vec<Option<Latency>> {
    let in_period = |(index, counts): (usize, &Option<Counts>)| {
        let time = times.get(index).copied().flatten();
        let counts = (*counts)?;
        if metric == Name::Percentile {
            return time.map(Latency::Percentile);
        }
        let slow = match time {
            Some(number) => whole(number),
            None if counted && chosen(index) => 0,
            None => return None,
        };
        // As an error, an answer may come a period after its request.
        Some(Latency::Slow(slow.min(counts.requests)))
    };
    counts.iter().enumerate().map(in_period).collect()
}

/// A query may fail by itself inside of a call that succeeds: an empty result would then pass for
/// "nothing was counted". `PartialData` is none of these: the next page has the rest.
fn refuse_half_answers(what: &str, result: &MetricDataResult) -> Result<(), Failure> {
    let say = |code: &str| {
        let text = |message: &MessageData| message.value().unwrap_or_default().to_owned();
        let messages: Vec<String> = result.messages().iter().map(text).collect();
        format!("{what}: {code} for one of them: {}", messages.join("; "))
    };
    match result.status_code() {
        Some(StatusCode::Forbidden) => Err(Failure::Refused(say("Forbidden"))),
        Some(StatusCode::InternalError) => Err(Failure::Unreachable(say("InternalError"))),
        _ => Ok(()),
    }
}

/// Which period of the window a data point belongs to.
fn period_of(at: DateTime, window: Window) -> Option<usize> {
    let offset_s = u64::try_from(at.secs() - window.start.as_second()).ok()?;
    usize::try_from(offset_s / u64::from(window.period_s.max(1))).ok()
}

/// The largest count that is read: up to here every whole number is an f64.
const COUNT_MAX: f64 = 9_007_199_254_740_992.0;

/// A count as CloudWatch sends it; `None` when it is none.
pub(super) fn count(value: f64) -> Option<f64> {
    (0.0..=COUNT_MAX).contains(&value).then(|| value.round())
}

/// A count that has been [read](count).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole, and 0 to COUNT_MAX"
)]
pub(super) const fn whole(count: f64) -> u64 {
    count as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_count_or_a_time_is_one() {
        let count = |value| Name::Requests.read(value).map(whole);
        assert_eq!(count(0.0), Some(0));
        assert_eq!(count(1234.4), Some(1234));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(count(bad), None, "{bad}");
            assert_eq!(Name::Slow("TC(1:)").read(bad), None, "{bad}");
        }
        assert_eq!(Name::Percentile.read(0.25), Some(0.25));
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Name::Percentile.read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_boundary_is_written_plainly() {
        let statistics = [0.5, 2.0, 0.001, 900.0, 0.1 + 0.2, 30.0].map(slower_than);
        let plain =
            ["0.5", "2", "0.001", "900", "0.3", "30"].map(|number| format!("TC({number}:)"));
        assert_eq!(statistics, plain);
    }
}
