//! Calls of AWS: what each function asks for, counted by proxies while the real functions run on
//! emulators.

mod alb;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::types::builders::MetricDatumBuilder;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_sdk_route53::types::ChangeAction;
use cutover_core::limits::{
    CLOUDWATCH, METRIC_QUERIES_PER_CALL, REFUSED_DAY_METERS_MAX, queries_per_call,
};
use cutover_core::{BASELINE_PERIODS, Cutover, Health, Meter, Phase};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::table::markdown;
use lab::emulator::{Emulator, EmulatorOptions};
use lab::error::LabError;
use lab::metrics::create_alarm;
use lab::proxy::{Calls, Proxy};
use lab::python::Venv;
use lab::world::{
    Cluster, RecordKind, Zone, add_hosts, change, create_cluster, record_sets_of, register_targets,
};
use lab::{aws, deploy, functions};

const OLD: &str = "blue";
const NEW: &str = "green";
const ALARM: &str = "checkout";

const CHANGE: &str = "ChangeResourceRecordSets";
const METRICS: &str = "GetMetricData";
/// The columns that come first: what shifts and checks call, over and over.
const FIRST: [&str; 6] =
    [CHANGE, alb::WRITE, METRICS, "ListResourceRecordSets", alb::READ, "GetChange"];

/// What is run of each cutover.
const TASKS: [&str; 5] = [
    "validate",
    "shift-weight, first",
    "check-health, first after a shift",
    "check-health",
    "rollback",
];

/// Routes with aliases of type A and AAAA that one change of a shift may move: DELETE and CREATE of two sides,
/// two types and the fence are 10 of its 1,000 elements. With CNAME records they are 6.
/// Source: Route 53 API reference, `ChangeResourceRecordSets`.
const ROUTES_PER_SHIFT: usize = 100;
/// The same of a roll-back, which creates no fence in place of the one that it deletes: 9 elements.
const ROUTES_PER_ROLLBACK: usize = 111;
/// Fences that one change may take: it has 32,000 characters, and a mark of an execution whose name is short
/// has less than 80.
const FENCES_PER_CHANGE: usize = 400;
/// Target groups whose targets are asked for one by one. The hosts of more are those of CloudWatch.
const LOOKED_AT_MAX: usize = 8;
/// Calls that a validation and a roll-back may make, however many load balancers there are.
const VALIDATION_CALLS_MAX: u64 = 30;
const ROLLBACK_CALLS_MAX: u64 = 20;
/// What stands before each target group in the id of a meter that counts some of them.
const GROUP_MARK: &str = ",targetgroup/";
/// Of a load balancer with such meters, its requests and its own errors are asked for as well.
const SHARED_SERIES: usize = 2;
/// Data of one call. Source: CloudWatch API reference, `PutMetricData`.
const DATA_MAX: usize = 1000;
/// Periods that a check asks for, at most, and that a validation does: a day of minutes.
const PERIODS_OF_CHECK: u32 = CLOUDWATCH.periods_per_check;
const PERIODS_OF_DAY: u32 = BASELINE_PERIODS;

/// The cutovers that are measured: number of routes, and pairs of load balancers behind them. In
/// this order, so that the load balancers of one hardly lengthen the listings of the next.
const CASES: [Layout; 6] = [
    Layout::of(1, 1),
    Layout::of(50, 1),
    Layout { own_groups: true, ..Layout::of(100, 1) },
    Layout::of(250, 1),
    Layout::of(50, 50),
    Layout::of(250, 250),
];

/// What a cutover stands on.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Number of routes.
    pub routes: usize,
    /// Pairs of load balancers behind them.
    pub pairs: usize,
    /// Whether each route has a target group of its own on both sides, and a rule that leads to it.
    pub own_groups: bool,
}

impl Layout {
    /// Routes that share the one target group of their load balancers.
    #[must_use]
    pub const fn of(routes: usize, pairs: usize) -> Self {
        Self { routes, pairs, own_groups: false }
    }

    /// Target groups of one side.
    const fn groups(self) -> usize {
        if self.own_groups { self.pairs + self.routes } else { self.pairs }
    }
}

/// Actions and how often each is to be called.
type Expected = Vec<(&'static str, u64)>;

/// What one invocation of a function cost.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Who splits the requests.
    pub router: &'static str,
    /// What ran.
    pub task: &'static str,
    /// Routes of the cutover: names, each with an A and an AAAA record a side, or rules.
    pub routes: usize,
    /// Pairs behind these routes, an old and a new one: of load balancers, or of target groups.
    pub pairs: usize,
    /// Target groups behind the load balancers of one side.
    pub groups: usize,
    /// Number of calls by action.
    pub calls: BTreeMap<String, u64>,
    /// What the formulas say: actions and their numbers of calls.
    pub expected: Expected,
    /// How many calls it may make altogether.
    pub calls_max: Option<u64>,
    /// Bytes of the state that the function gave back.
    pub state_bytes: usize,
}

impl Row {
    fn of(&self, action: &str) -> u64 {
        self.calls.get(action).copied().unwrap_or_default()
    }

    /// Where a formula and the count differ, or there are too many calls, in a sentence.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let Self { router, task, routes, pairs, .. } = self;
        let of = format!("{task} of {routes} routes on {pairs} pair(s) behind {router}");
        let differs = self.expected.iter().find(|(action, calls)| self.of(action) != *calls);
        if let Some((action, expected)) = differs {
            let counted = self.of(action);
            return Some(format!("{of} made {counted} calls of {action}, not {expected}"));
        }
        let (all, most) = (self.all(), self.calls_max?);
        (all > most).then(|| format!("{of} made {all} calls, more than {most}"))
    }

    fn all(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// Change calls of the first shift, which takes the fences before it moves anything.
fn calls_of_first_shift(routes: usize) -> u64 {
    let calls = routes.div_ceil(FENCES_PER_CHANGE) + routes.div_ceil(ROUTES_PER_SHIFT);
    u64::try_from(calls).unwrap_or(u64::MAX)
}

/// Change calls of a roll-back.
fn calls_of_rollback(routes: usize) -> u64 {
    u64::try_from(routes.div_ceil(ROUTES_PER_ROLLBACK)).unwrap_or(u64::MAX)
}

/// Metric calls: ⌈distinct queries / queries a call⌉. Of each load balancer requests and two kinds of errors
/// are asked for, three kinds of refused requests and slow ones where they are judged, in a check two kinds of failed
/// connections, and the healthy hosts of each target group that is watched. Where target groups are counted alone, what
/// their load balancer does by itself is asked for once.
/// A call asks for no more than one page holds, 500 queries in a check and 70 of a day: the emulator's answers have
/// one page however long they are, so that more pages would not be seen here.
fn metric_calls<'a>(meters: impl Iterator<Item = &'a Meter>, health: &Health, periods: u32) -> u64 {
    let distinct: BTreeMap<&str, usize> =
        meters.map(|of| (of.id.as_str(), of.hosts.len())).collect();
    let refused = usize::from(health.refused_tolerated_odds_ratio.is_some());
    let latency = usize::from(health.latency_target_s.is_some());
    let connections = if periods <= PERIODS_OF_CHECK { 2 } else { 0 };
    let groups = |id: &str| id.matches(GROUP_MARK).count();
    let series = |id: &&str| match groups(id) {
        0 => 3 + 3 * refused + latency + connections,
        groups => groups * (3 + refused + latency),
    };
    let counted: usize = distinct.keys().map(series).sum();
    let apart = distinct.keys().filter(|id| groups(id) > 0);
    let shared: BTreeSet<&str> = apart.filter_map(|id| id.split(GROUP_MARK).next()).collect();
    let shared = (SHARED_SERIES + 2 * refused + connections) * shared.len();
    let queries = counted + shared + distinct.values().sum::<usize>();
    let per_call = queries_per_call(periods);
    u64::try_from(queries.div_ceil(per_call)).unwrap_or(u64::MAX)
}

/// Metric calls of one check: of both sides.
fn calls_of_check(cutover: &Cutover) -> u64 {
    metric_calls(cutover.meters.iter(), &cutover.health, PERIODS_OF_CHECK)
}

/// Metric calls of a validation that accepts: of the old side over a day, and its busiest hour; and where there are
/// many target groups, of the healthy and the unhealthy hosts of each.
fn calls_of_validation(cutover: &Cutover) -> u64 {
    let old = cutover.routes.iter().filter_map(|route| cutover.meters.get(route.old_meter));
    let old = old.map(|of| Meter { hosts: Vec::new(), ..of.clone() });
    let old: Vec<Meter> = old.collect();
    let groups = cutover.meters.iter().flat_map(|of| &of.hosts).count();
    let queries = if groups > LOOKED_AT_MAX { 2 * groups } else { 0 };
    let of_hosts = u64::try_from(queries.div_ceil(METRIC_QUERIES_PER_CALL)).unwrap_or(u64::MAX);
    // Requests, and the healthy hosts of each group.
    let distinct: BTreeMap<&str, usize> = (cutover.routes.iter())
        .filter_map(|route| cutover.meters.get(route.old_meter))
        .map(|of| (of.id.as_str(), of.hosts.len() + 1))
        .collect();
    let busiest = distinct.values().sum::<usize>().div_ceil(METRIC_QUERIES_PER_CALL);
    let of_busiest = u64::try_from(busiest).unwrap_or(u64::MAX);
    let refused = cutover.health.refused_tolerated_odds_ratio;
    let refused = refused.filter(|_| distinct.len() <= REFUSED_DAY_METERS_MAX);
    let health = Health { refused_tolerated_odds_ratio: refused, ..cutover.health.clone() };
    metric_calls(old.iter(), &health, PERIODS_OF_DAY) + of_busiest + of_hosts
}

/// Runs every task of every case and counts; `say` hears what is going on.
///
/// # Errors
/// Whatever keeps the emulator or a function from working.
pub async fn measure(root: &Path, say: impl Fn(&str)) -> Result<Vec<Row>, LabError> {
    say("calls: building the functions");
    let (bench, emulator) = Bench::start(root).await?;
    let mut rows = Vec::new();
    for layout in CASES {
        let Layout { routes, pairs, .. } = layout;
        let groups = layout.groups();
        say(&format!(
            "calls: {routes} route(s), {pairs} pair(s) of load balancers, {groups} group(s)"
        ));
        rows.extend(bench.case(layout).await?.0);
    }
    emulator.stop().await?;
    rows.extend(alb::measure(root, say).await?);
    Ok(rows)
}

/// The rows as a table for each router, with a column for every action that was called.
#[must_use]
pub fn tables(rows: &[Row]) -> String {
    let of_router = |rows: &[Row]| {
        let router = rows.first().map_or("", |row| row.router);
        format!("{router}:\n\n{}", table(rows))
    };
    let tables = rows.chunk_by(|one, next| one.router == next.router).map(of_router);
    tables.collect::<Vec<_>>().join("\n")
}

fn table(rows: &[Row]) -> String {
    let called: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.calls.keys()).map(String::as_str).collect();
    let first = FIRST.into_iter().filter(|action| called.contains(action));
    let rest = called.iter().copied().filter(|action| !FIRST.contains(action));
    let actions: Vec<&str> = first.chain(rest).collect();
    let number = |calls: u64| if calls == 0 { "–".to_owned() } else { calls.to_string() };
    let mut header = vec!["task", "routes", "pairs", "groups a side"];
    header.extend(&actions);
    header.extend(["all calls", "state, bytes"]);
    let cells = |row: &Row| {
        let numbers = [row.routes, row.pairs, row.groups].map(|number| number.to_string());
        let mut cells: Vec<String> = [row.task.to_owned()].into_iter().chain(numbers).collect();
        cells.extend(actions.iter().map(|action| number(row.of(action))));
        cells.extend([number(row.all()), row.state_bytes.to_string()]);
        cells
    };
    markdown(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// The functions, deployed.
pub struct Bench {
    config: SdkConfig,
    /// Between the functions and the emulators.
    proxies: Vec<Proxy>,
    pub endpoint: String,
    pub outputs: BTreeMap<String, String>,
}

/// What each function was given in one cutover. The records are as before the first.
pub struct Events {
    pub validate: Value,
    pub shift_weight: Value,
    pub check_health: Value,
    pub rollback: Value,
}

/// What became of a cutover: the one that was accepted, what each task was given, and for each task what the function
/// gave back and called.
struct Ran {
    accepted: Cutover,
    events: Events,
    answers: [(Value, Calls); TASKS.len()],
}

impl Ran {
    /// A row for each task of a cutover by this kind of router, with what the formulas say of it.
    fn rows(
        &self,
        kind: &'static str,
        [routes, pairs, groups]: [usize; 3],
        bounds: [(Expected, Option<u64>); TASKS.len()],
    ) -> Vec<Row> {
        let tasks = TASKS.into_iter().zip(&self.answers).zip(bounds);
        let rows = tasks.map(|((task, (answer, calls)), (expected, calls_max))| Row {
            router: kind,
            task,
            routes,
            pairs,
            groups,
            calls: calls.iter().map(|((_, action), calls)| (action.clone(), *calls)).collect(),
            expected,
            calls_max,
            state_bytes: answer.to_string().len(),
        });
        rows.collect()
    }
}

impl Bench {
    /// Builds and deploys the functions.
    pub async fn start(root: &Path) -> Result<(Self, Emulator), LabError> {
        Self::start_with(root, EmulatorOptions::default()).await
    }

    async fn start_with(
        root: &Path,
        options: EmulatorOptions,
    ) -> Result<(Self, Emulator), LabError> {
        let venv = Venv::ready(&root.join("target")).await?;
        let functions = functions::build(root).await?;
        let (emulator, proxy) = Emulator::start_behind_proxy(&venv, options).await?;
        let config = aws::sdk_config(&emulator.endpoint());
        let home = Zone::create(&config, "bench.test").await?;
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let parameters = [("HostedZoneId", home.id.as_str()), ("Architecture", architecture)];
        let stack = deploy::deploy(&config, root, "cutover", &parameters, functions).await?;
        let endpoint = emulator.endpoint();
        let bench = Self { config, proxies: vec![proxy], endpoint, outputs: stack.outputs };
        create_alarm(&bench.config, ALARM).await?;
        Ok((bench, emulator))
    }

    /// One cutover of names in Route 53.
    pub async fn case(&self, layout: Layout) -> Result<(Vec<Row>, Events), LabError> {
        let Layout { routes, pairs, .. } = layout;
        let zone = self.create_world(layout).await?;
        let request = json!({
            "new": NEW, "hosted_zone": zone.id, "health": {"alarms": [ALARM]},
        });
        let ran = self.run(&request).await?;
        let metrics = calls_of_check(&ran.accepted);
        let bounds = [
            (METRICS, calls_of_validation(&ran.accepted), Some(VALIDATION_CALLS_MAX)),
            (CHANGE, calls_of_first_shift(routes), None),
            (METRICS, metrics, None),
            (METRICS, metrics, None),
            (CHANGE, calls_of_rollback(routes), Some(ROLLBACK_CALLS_MAX)),
        ];
        let bounds = bounds.map(|(action, calls, calls_max)| (vec![(action, calls)], calls_max));
        Ok((ran.rows("route53", [routes, pairs, layout.groups()], bounds), ran.events))
    }

    /// Runs every task of one cutover, from its validation over a shift and two checks to its roll-back.
    async fn run(&self, request: &Value) -> Result<Ran, LabError> {
        let machine = self.output("StateMachineArn")?;
        let event = json!({"input": request, "execution": {
            "arn": format!("{machine}:bench").replace(":stateMachine:", ":execution:"),
            "name": "bench", "started_at": Timestamp::now(), "state_machine_arn": machine,
            "releases": true}});
        let validated = self.invoke("Validate", &event).await?;
        let accepted = cutover(&validated.0)?;
        let shifted = self.invoke("ShiftWeight", &validated.0).await?;
        // As if the shift had been a while ago: without a complete period there is nothing to ask.
        let mut settling = cutover(&shifted.0)?;
        let past = Timestamp::now() - SignedDuration::from_mins(10);
        settling.first_shift_at = Some(past);
        self.see_changes(settling.unsettled_receipts()).await?;
        let settled = self.invoke("CheckHealth", &json!(settling)).await?;
        let mut baking = cutover(&settled.0)?;
        baking.phase = Phase::Baking { since: past };
        let checked = self.invoke("CheckHealth", &json!(baking)).await?;
        let order = json!({"cutover": shifted.0, "failure": {"Error": "States.Timeout"}});
        let back = self.invoke("Rollback", &order).await?;
        let (shift_weight, check_health) = (validated.0.clone(), json!(baking));
        let events = Events { validate: event, shift_weight, check_health, rollback: order };
        Ok(Ran { accepted, events, answers: [validated, shifted, settled, checked, back] })
    }

    /// Lets these load balancers have counted requests in each of the last minutes.
    pub async fn count_minutes<'a>(
        &self,
        meters: impl Iterator<Item = &'a str>,
        minutes: i64,
    ) -> Result<(), LabError> {
        let now = Timestamp::now();
        for id in meters {
            let minute =
                |minute| datum_of(id, "RequestCount", now - SignedDuration::from_mins(minute));
            let data: Vec<MetricDatum> =
                (0..minutes).map(|m| minute(m).value(600.0).build()).collect();
            for data in data.chunks(DATA_MAX) {
                self.publish(data.iter().cloned()).await?;
            }
        }
        Ok(())
    }

    /// A zone with this many routes, whose records point at one of the pairs in turn.
    async fn create_world(&self, layout: Layout) -> Result<Zone, LabError> {
        let Layout { routes, pairs, own_groups } = layout;
        let name = format!("r{routes}p{pairs}g{}.test", layout.groups());
        let zone = Zone::create(&self.config, &name).await?;
        let hosts: Vec<String> = (0..routes).map(|route| format!("app-{route}.{name}")).collect();
        let mut sets = Vec::new();
        for (side, weight) in [(OLD, 100), (NEW, 0)] {
            let mut clusters = Vec::new();
            for pair in 0..pairs {
                let suffix = format!("{routes}x{}-{pair}", layout.groups());
                clusters.push(self.create_cluster(side, &suffix).await?);
            }
            for (host, cluster) in hosts.iter().zip(clusters.iter().cycle()) {
                sets.extend(record_sets_of(host, RecordKind::AliasAAndAaaa, cluster, weight)?);
            }
            self.count_hosts(&clusters).await?;
            if side == OLD {
                self.count_requests(&clusters).await?;
            }
            if let (true, Some(shared)) = (own_groups, clusters.first()) {
                self.give_each_a_group(shared, &hosts).await?;
            }
        }
        let changes = sets.into_iter().map(|set| (ChangeAction::Create, set)).collect();
        let dns = aws_sdk_route53::Client::new(&self.config);
        change(&dns, &zone.id, &format!("create the records of {name}"), changes).await?;
        Ok(zone)
    }

    /// Gives each host name a target group of its own behind a load balancer, which has hosts and counts requests.
    async fn give_each_a_group(&self, of: &Cluster, hosts: &[String]) -> Result<(), LabError> {
        let balancers = aws_sdk_elasticloadbalancingv2::Client::new(&self.config);
        let groups = add_hosts(&balancers, of, hosts).await?;
        let now = Timestamp::now();
        let counted = |group: &String| {
            let group = group.rsplit(':').next().unwrap_or_default();
            let group = Dimension::builder().name("TargetGroup").value(group).build();
            [
                ("HealthyHostCount", 1, 1.0),
                ("UnHealthyHostCount", 1, 0.0),
                ("RequestCount", 5, 100.0),
            ]
            .map(|(metric, minutes, value)| {
                let datum = datum(of, metric, now - SignedDuration::from_mins(minutes));
                datum.value(value).dimensions(group.clone()).build()
            })
        };
        self.publish(groups.iter().flat_map(counted)).await
    }

    /// A load balancer with one target, of the side that its records name.
    async fn create_cluster(&self, side: &str, suffix: &str) -> Result<Cluster, LabError> {
        let balancers = aws_sdk_elasticloadbalancingv2::Client::new(&self.config);
        let mut cluster = create_cluster(&balancers, &format!("{side}-{suffix}")).await?;
        register_targets(&balancers, &mut cluster, 1).await?;
        side.clone_into(&mut cluster.name);
        Ok(cluster)
    }

    /// A cutover wants traffic to compare with.
    async fn count_requests(&self, clusters: &[Cluster]) -> Result<(), LabError> {
        let at = Timestamp::now() - SignedDuration::from_mins(5);
        let requests = clusters.iter().map(|of| datum(of, "RequestCount", at).value(100.0).build());
        self.publish(requests).await
    }

    /// Where there are many target groups, a cutover takes their hosts from CloudWatch.
    async fn count_hosts(&self, clusters: &[Cluster]) -> Result<(), LabError> {
        let at = Timestamp::now() - SignedDuration::from_mins(1);
        let hosts = clusters.iter().flat_map(|of| {
            let group = Dimension::builder().name("TargetGroup").value(&of.target_group).build();
            [("HealthyHostCount", 1.0), ("UnHealthyHostCount", 0.0)].map(|(metric, value)| {
                datum(of, metric, at).value(value).dimensions(group.clone()).build()
            })
        });
        self.publish(hosts).await
    }

    async fn publish(&self, data: impl Iterator<Item = MetricDatum>) -> Result<(), LabError> {
        let put = aws_sdk_cloudwatch::Client::new(&self.config).put_metric_data();
        let put = put.namespace("AWS/ApplicationELB").set_metric_data(Some(data.collect()));
        put.send().await.map(drop).map_err(|error| LabError::aws("publish metrics", error))
    }

    /// Looks at each change of a shift once. The emulator calls a change live from the second
    /// look on; a check stops at the first that is not live, and this one shall look at all of them.
    async fn see_changes(&self, changes: &[String]) -> Result<(), LabError> {
        let client = aws_sdk_route53::Client::new(&self.config);
        for id in changes {
            let seen = client.get_change().id(id).send().await;
            seen.map_err(|error| LabError::aws(format!("look at the change {id}"), error))?;
        }
        Ok(())
    }

    /// Invokes a function, and gives its answer and the calls that it made.
    async fn invoke(&self, function: &str, event: &Value) -> Result<(Value, Calls), LabError> {
        let cannot = |reason: String| LabError::Aws { doing: format!("invoke {function}"), reason };
        let name = self.output(&format!("{function}FunctionName"))?;
        let uri = format!("{}/2015-03-31/functions/{name}/invocations", self.endpoint);
        let request = hyper::Request::post(uri).body(Full::new(Bytes::from(event.to_string())));
        let request = request.map_err(|error| cannot(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let before = self.calls();
        let answer = client.request(request).await.map_err(|error| cannot(error.to_string()))?;
        let mut calls = self.calls();
        for (action, made) in &mut calls {
            *made -= before.get(action).copied().unwrap_or_default();
        }
        calls.retain(|_, made| *made > 0);
        let failed = answer.headers().contains_key("x-amz-function-error");
        let body = answer.into_body().collect().await.map_err(|error| cannot(error.to_string()))?;
        let body = body.to_bytes();
        if failed {
            return Err(cannot(String::from_utf8_lossy(&body).into_owned()));
        }
        let answer = serde_json::from_slice(&body).map_err(|error| cannot(error.to_string()))?;
        Ok((answer, calls))
    }

    /// Counts the calls since the start.
    fn calls(&self) -> Calls {
        let mut all = Calls::new();
        for (action, made) in self.proxies.iter().flat_map(Proxy::calls) {
            *all.entry(action).or_default() += made;
        }
        all
    }

    fn output(&self, name: &str) -> Result<&str, LabError> {
        let output = self.outputs.get(name).map(String::as_str);
        output.ok_or_else(|| LabError::Deploy {
            stack: "cutover".to_owned(),
            reason: format!("the template has no output {name}"),
        })
    }
}

/// What a load balancer counted at a time, still without a value.
fn datum(of: &Cluster, metric: &str, at: Timestamp) -> MetricDatumBuilder {
    datum_of(&of.load_balancer, metric, at)
}

fn datum_of(load_balancer: &str, metric: &str, at: Timestamp) -> MetricDatumBuilder {
    let balancer = Dimension::builder().name("LoadBalancer").value(load_balancer).build();
    MetricDatum::builder()
        .metric_name(metric)
        .timestamp(aws_sdk_cloudwatch::primitives::DateTime::from_secs(at.as_second()))
        .dimensions(balancer)
}

/// The state that a function gave back.
fn cutover(state: &Value) -> Result<Cutover, LabError> {
    serde_json::from_value(state.clone())
        .map_err(|error| LabError::aws("read what a function gave back", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_balancer(id: usize, groups: usize) -> Meter {
        let group = |group| format!("targetgroup/{id}/{group}");
        let hosts = (0..groups).map(group).collect();
        Meter { id: format!("app/{id}"), hosts, baseline: None }
    }

    #[test]
    fn a_change_moves_100_routes_onward_and_111_back_and_takes_400_fences() {
        for (routes, onward, back) in [
            (1, 2, 1),
            (100, 2, 1),
            (101, 3, 1),
            (111, 3, 1),
            (112, 3, 2),
            (250, 4, 3),
            (401, 7, 4),
        ] {
            let calls = (calls_of_first_shift(routes), calls_of_rollback(routes));
            assert_eq!(calls, (onward, back), "{routes} routes");
        }
    }

    #[test]
    fn a_metric_call_asks_500_queries() {
        // A side has 8 queries, and one for its target group.
        let pairs =
            |pairs: usize| (0..2 * pairs).map(|of| load_balancer(of, 1)).collect::<Vec<_>>();
        let health = Health::default();
        for (count, calls) in [(1, 1), (27, 1), (28, 2), (250, 9)] {
            let of = pairs(count);
            assert_eq!(metric_calls(of.iter(), &health, PERIODS_OF_CHECK), calls, "{count} pairs");
        }
        let slow = Health { latency_target_s: Some(0.5), ..health };
        assert_eq!(metric_calls(pairs(26).iter(), &slow, PERIODS_OF_CHECK), 2, "20 queries a pair");
    }

    #[test]
    fn target_groups_counted_alone_share_the_queries_of_their_load_balancer() {
        let group = |id: u32| Meter {
            id: format!("app/shop/1,targetgroup/{id}"),
            hosts: vec![id.to_string()],
            baseline: None,
        };
        for (groups, calls) in [(2, 1), (98, 1), (99, 2), (198, 2), (199, 3), (250, 3)] {
            let of: Vec<Meter> = (0..groups).map(group).collect();
            let calls_made = metric_calls(of.iter(), &Health::default(), PERIODS_OF_CHECK);
            assert_eq!(calls_made, calls, "{groups} target groups");
        }
    }

    #[test]
    fn a_metric_call_asks_for_a_day_of_70_queries() {
        let old = |count: usize| (0..count).map(|of| load_balancer(of, 0)).collect::<Vec<_>>();
        for (count, calls) in [(1, 1), (11, 1), (12, 2), (250, 22)] {
            let calls_made = metric_calls(old(count).iter(), &Health::default(), PERIODS_OF_DAY);
            assert_eq!(calls_made, calls, "{count} load balancers");
        }
        let routes_of_one = [load_balancer(7, 0), load_balancer(7, 0)];
        assert_eq!(metric_calls(routes_of_one.iter(), &Health::default(), PERIODS_OF_DAY), 1);
    }

    #[test]
    fn a_count_that_breaks_its_formula_is_told() {
        let row = |calls: u64| Row {
            router: "route53",
            task: "shift-weight",
            routes: 250,
            pairs: 1,
            groups: 1,
            calls: [(CHANGE.to_owned(), calls)].into(),
            expected: vec![(CHANGE, 2)],
            calls_max: None,
            state_bytes: 0,
        };
        assert_eq!(row(2).broken(), None);
        let many = Row { calls_max: Some(1), ..row(2) };
        let broken = many.broken().unwrap();
        assert!(broken.contains("made 2 calls, more than 1"), "{broken}");
        let broken = row(3).broken().unwrap();
        assert!(broken.contains("made 3 calls of ChangeResourceRecordSets, not 2"), "{broken}");
    }
}
