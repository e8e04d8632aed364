//! What the end-to-end tests share: one emulator with the real template deployed to it, and for
//! every test a zone, two clusters and a history of requests of its own.
//!
//! The functions reach the emulator through a proxy, which tests use to count calls and to disturb
//! their own: each world's names are unique, so tests run side by side.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a set-up that fails ends its test"
)]

mod alb;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::builders::MetricDatumBuilder;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use aws_sdk_eventbridge::types::Target;
use cutover_core::{Cutover, Report};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use lab::emulator::{Emulator, EmulatorOptions, LOAD_BALANCING_ENDPOINT, Program};
use lab::metrics::create_alarm;
use lab::proxy::Proxy;
use lab::python::Venv;
use lab::world::{Cluster, ClusterSpec, Groups, RecordKind, World, WorldSpec, Zone};
use lab::{aws, deploy, functions};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

pub use alb::GivenAlb;

/// Longest wait for anything: past it a test fails and says what it waited for.
const DEADLINE: Duration = Duration::from_mins(4);
const POLL: Duration = Duration::from_millis(200);
/// Tests that run at a time: more make the functions of all of them slow on a small machine.
const AT_A_TIME: usize = 9;
/// Seconds of requests that a world has counted before a test, and will have counted after.
const HISTORY_S: i64 = 40;
const FUTURE_S: i64 = 200;
/// 5xx answers of targets.
pub const ERRORS: &str = "HTTPCode_Target_5XX_Count";
/// Healthy hosts of a target group.
pub const HOSTS: &str = "HealthyHostCount";
/// The namespace of the metrics of load balancers.
const BALANCERS: &str = "AWS/ApplicationELB";
/// How long a minute of AWS's is here between Lambda's tries of an asynchronous invocation that fails:
/// the second comes after one of them, the third after two more.
pub const AWS_MINUTE: Duration = Duration::from_secs(3);
/// A queue that hears what the notification topic says.
const HEARD: &str = "heard";
/// Zone and sides of an execution that an event starts without naming any.
const DEFAULT_ZONE: &str = "default.test";

/// What the names of clusters begin with whose creation starts a cutover: those of all new sides.
pub const CLUSTER_NAME_PREFIX: &str = "green";

/// The account of the tests with weighted records.
static ACCOUNT: OnceCell<Account> = OnceCell::const_new();
static ROOM: Semaphore = Semaphore::const_new(AT_A_TIME);
static WORLDS: AtomicU32 = AtomicU32::new(0);

/// The emulated account. It ends with the test process: the emulator watches a pipe.
#[derive(Debug)]
struct Account {
    proxy: Proxy,
    emulator: Emulator,
    /// Load balancers that keep weights, and the proxy before them.
    balancers: Option<(Emulator, Proxy)>,
    stack: deploy::Stack,
    default_zone: Zone,
}

impl Account {
    /// Starts an account; one whose load balancers keep weights has them apart.
    async fn start(weighted_balancers: bool) -> Self {
        let root = root();
        let venv = Venv::ready(&root.join("target")).await.expect("a Python environment");
        let minute = ("LAMBDA_ASYNC_RETRY_BASE_SECONDS", AWS_MINUTE.as_secs());
        let mut env = vec![(minute.0.to_owned(), minute.1.to_string())];
        let balancers = if weighted_balancers {
            let options = EmulatorOptions { program: Program::Moto, ..Default::default() };
            let started = Emulator::start_behind_proxy(&venv, options).await.expect("moto");
            env.push((LOAD_BALANCING_ENDPOINT.to_owned(), started.1.endpoint().to_owned()));
            Some(started)
        } else {
            None
        };
        let options = EmulatorOptions { env, ..EmulatorOptions::default() };
        let started = Emulator::start_behind_proxy(&venv, options).await;
        let (emulator, proxy) = started.expect("an emulator");
        let config = aws::sdk_config(&emulator.endpoint());
        let default_zone = Zone::create(&config, DEFAULT_ZONE).await.expect("a zone");
        let functions = functions::build(&root).await.expect("the functions");
        let parameters = parameters((!weighted_balancers).then_some(&default_zone));
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
        let stack = deploy::deploy(&config, &root, "cutover", &parameters, functions)
            .await
            .expect("the stack");
        let account = Self { proxy, emulator, balancers, stack, default_zone };
        account.hear().await;
        account
    }

    /// Lets a queue hear what the notification topic says.
    async fn hear(&self) {
        let topic = self.output("NotificationTopicArn");
        self.post(&format!("Action=CreateQueue&QueueName={HEARD}")).await;
        let queue = format!("arn:aws:sqs:{}:000000000000:{HEARD}", aws::REGION);
        let subscribe = format!("Action=Subscribe&TopicArn={topic}&Protocol=sqs&Endpoint={queue}");
        self.post(&subscribe).await;
    }

    /// Calls a service of the query protocol.
    async fn post(&self, form: &str) {
        let request = hyper::Request::post(self.emulator.endpoint())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form.to_owned())))
            .expect("a request");
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{form}: {answer:?}");
    }

    fn output(&self, name: &str) -> &str {
        self.stack.outputs.get(name).expect("an output of the template")
    }
}

/// What the functions of the account with weighted load balancers may change; the emulator does not hold them to it.
const LISTENER: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/any/0/0";

/// The parameters of the template: the zone, or listeners alone.
fn parameters(zone: Option<&Zone>) -> [(&'static str, String); 6] {
    let mut defaults = json!({"ramp": ramp(), "health": health()});
    // The samples' long bakes, checked every second, would fill an execution's history.
    defaults["health"]["check_interval_s"] = json!(2);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    [
        match zone {
            Some(zone) => ("HostedZoneId", zone.id.clone()),
            None => ("ListenerArns", LISTENER.to_owned()),
        },
        ("Defaults", defaults.to_string()),
        ("CreateClusterEvents", "ENABLED".to_owned()),
        ("Architecture", architecture.to_owned()),
        ("ClusterNamePrefix", CLUSTER_NAME_PREFIX.to_owned()),
        ("ShortestPeriodSeconds", "1".to_owned()),
    ]
}

/// The root of the project.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn ramp() -> Value {
    json!([{"percent": 50, "bake_s": 2}, {"percent": 100, "bake_s": 1}])
}

fn health() -> Value {
    json!({"period_s": 1, "metrics_delay_s": 1, "check_interval_s": 1, "requests_min": 10,
           "hold_max_s": 3})
}

/// What a side counts every second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests a second; none are published for 0, as AWS does.
    pub requests: u32,
    /// 5xx answers of targets a second.
    pub errors: u32,
    /// Requests a second that take two seconds; the others take a tenth of one.
    pub slow: u32,
}

/// A side that does well.
pub const FINE: Rate = Rate { requests: 100, errors: 0, slow: 0 };
/// A side that fails three requests of ten.
pub const FAILING: Rate = Rate { errors: 30, ..FINE };
/// A side that answers one request of ten slowly.
pub const SLOW: Rate = Rate { slow: 10, ..FINE };
/// A side without requests.
pub const SILENT: Rate = Rate { requests: 0, errors: 0, slow: 0 };

/// How an execution ended.
#[derive(Clone, Debug)]
pub struct End {
    /// `SUCCEEDED`, `FAILED`, …
    pub status: String,
    /// Name of the Fail state.
    pub error: String,
    /// The Fail state's cause.
    pub cause: String,
    /// The output.
    pub output: Value,
}

impl End {
    /// The report of an execution that ended by a decision.
    #[must_use]
    pub fn report(&self) -> Report {
        let report = match self.status.as_str() {
            "SUCCEEDED" => self.output.get("report").cloned().unwrap_or_default(),
            _ => serde_json::from_str(&self.cause).unwrap_or_default(),
        };
        serde_json::from_value(report).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The codes of a refusal, sorted.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        let cause: Value =
            serde_json::from_str(&self.cause).unwrap_or_else(|error| panic!("{error} in {self:?}"));
        let problems = cause["problems"].as_array().cloned().unwrap_or_default();
        let mut codes: Vec<String> =
            problems.iter().filter_map(|p| Some(p["code"].as_str()?.to_owned())).collect();
        codes.sort();
        codes
    }
}

/// One test's own part of the account.
#[derive(Debug)]
pub struct Case<W = World> {
    account: &'static Account,
    config: SdkConfig,
    /// The clusters, and what splits their requests.
    pub world: W,
    _room: SemaphorePermit<'static>,
}

/// What a test's world is made of.
#[derive(Clone, Debug)]
pub struct Given {
    /// Number of routes.
    pub routes: usize,
    /// The form of the records.
    pub records: RecordKind,
    /// What stands behind the load balancer of each side.
    pub groups: Groups,
    /// Targets of the old and the new side.
    pub targets: (u16, u16),
    /// Whether the new side is there from the start.
    pub new_side: bool,
    /// What the old and the new side count, or each host name of theirs that has a target group of its own.
    pub rates: (Rate, Rate),
    /// Whether the world lies in the zone of the installation's defaults.
    pub default_zone: bool,
}

impl Default for Given {
    /// One route with plain records of a TTL of one second, and two sides that do well.
    fn default() -> Self {
        Self {
            routes: 1,
            records: RecordKind::Cname { ttl_s: 1 },
            groups: Groups::One,
            targets: (2, 2),
            new_side: true,
            rates: (FINE, FINE),
            default_zone: false,
        }
    }
}

impl Given {
    /// Makes it so, once there is room.
    pub async fn case(self) -> Case {
        let room = ROOM.acquire().await.expect("never closed");
        let account = ACCOUNT.get_or_init(|| Account::start(false)).await;
        let config = aws::sdk_config(&account.emulator.endpoint());
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let zone = if self.default_zone {
            account.default_zone.clone()
        } else {
            Zone::create(&config, &format!("world-{number}.test")).await.expect("a zone")
        };
        let route = |index: usize| format!("app-{index}.w{number}.{}", zone.name);
        let cluster = |side: &str, targets, weight| ClusterSpec {
            name: format!("{side}-{number}"),
            targets,
            weight,
        };
        let spec = WorldSpec {
            routes: (0..self.routes).map(route).collect(),
            records: self.records,
            groups: self.groups,
            old: cluster("blue", self.targets.0, 100),
            new: cluster("green", self.targets.1, 0),
        };
        let world = if self.new_side {
            World::create(&config, &zone, spec).await.expect("a world")
        } else {
            World::create_old(&config, &zone, spec).await.expect("a world")
        };
        let case = Case { account, config, world, _room: room };
        case.count_each(&case.world.old, &vec![self.rates.0; self.routes]).await;
        if let Some(new) = &case.world.new {
            case.count_each(new, &vec![self.rates.1; self.routes]).await;
        }
        case
    }
}

impl<W> Case<W> {
    /// The proxy between the functions and the emulator.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.account.proxy
    }

    /// How the account is reached, without the proxy between.
    #[must_use]
    pub const fn config(&self) -> &SdkConfig {
        &self.config
    }

    async fn publish(&self, namespace: &str, data: impl Iterator<Item = MetricDatumBuilder>) {
        let client = aws_sdk_cloudwatch::Client::new(&self.config);
        let put = client.put_metric_data().namespace(namespace);
        let data = data.map(MetricDatumBuilder::build).collect();
        put.set_metric_data(Some(data)).send().await.expect("metrics are published");
    }

    /// Starts an execution, as from the console, and gives its ARN.
    pub async fn start(&self, input: &Value) -> String {
        let client = aws_sdk_sfn::Client::new(&self.config);
        let start = client.start_execution().input(input.to_string());
        let started = start.state_machine_arn(self.account.output("StateMachineArn")).send().await;
        started.expect("started").execution_arn
    }

    /// Puts one event on the default bus.
    pub async fn put_event(&self, source: &str, detail_type: &str, detail: &Value) {
        let entry = aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
            .source(source)
            .detail_type(detail_type)
            .detail(detail.to_string())
            .build();
        let client = aws_sdk_eventbridge::Client::new(&self.config);
        let put = client.put_events().entries(entry).send().await.expect("put");
        assert_eq!(put.failed_entry_count, 0);
    }

    /// The ARN of the execution whose input holds this text, once there is one.
    pub async fn started_by(&self, text: &str) -> String {
        let client = aws_sdk_sfn::Client::new(&self.config);
        let arn = self.account.output("StateMachineArn");
        until(&format!("an execution for {text}"), async || {
            let list =
                client.list_executions().state_machine_arn(arn).send().await.expect("listed");
            for execution in list.executions {
                let arn = execution.execution_arn;
                let found = client.describe_execution().execution_arn(&arn).send().await;
                if found.expect("described").input().is_some_and(|input| input.contains(text)) {
                    return Some(arn);
                }
            }
            None
        })
        .await
    }

    /// Waits for an execution's end.
    pub async fn end(&self, arn: &str) -> End {
        let client = aws_sdk_sfn::Client::new(&self.config);
        until(&format!("the end of {arn}"), async || {
            let now = client.describe_execution().execution_arn(arn).send().await.expect("there");
            let status = now.status().as_str().to_owned();
            (status != "RUNNING").then(|| End {
                status,
                error: now.error().unwrap_or_default().to_owned(),
                cause: now.cause().unwrap_or_default().to_owned(),
                output: serde_json::from_str(now.output().unwrap_or("null")).unwrap_or_default(),
            })
        })
        .await
    }

    /// Stops an execution, as from the console.
    pub async fn stop(&self, arn: &str) {
        let client = aws_sdk_sfn::Client::new(&self.config);
        client.stop_execution().execution_arn(arn).send().await.expect("stopped");
    }

    /// Starts an execution and waits for its end.
    pub async fn run(&self, input: &Value) -> End {
        let arn = self.start(input).await;
        self.end(&arn).await
    }

    /// Invokes one of the functions directly, as a second try of its task would.
    ///
    /// # Errors
    /// The function's error, `{"errorType", "errorMessage"}`.
    pub async fn invoke(&self, output: &str, payload: &Value) -> Result<Value, Value> {
        let function = self.account.output(output);
        let (_, answer) = self.call(function, "RequestResponse", payload).await;
        let failed = answer.headers().contains_key("x-amz-function-error");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let value = serde_json::from_slice(&body).expect("JSON");
        if failed { Err(value) } else { Ok(value) }
    }

    /// Lambda's `Invoke`, synchronous or not.
    async fn call(
        &self,
        function: &str,
        invocation_type: &str,
        payload: &Value,
    ) -> (u16, hyper::Response<Incoming>) {
        let endpoint = self.account.emulator.endpoint();
        let uri = format!("{endpoint}/2015-03-31/functions/{function}/invocations");
        let request = hyper::Request::post(uri)
            .header("x-amz-invocation-type", invocation_type)
            .body(Full::new(Bytes::from(payload.to_string())))
            .expect("a request");
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request).await.expect("an answer");
        (answer.status().as_u16(), answer)
    }

    /// What the state machine gives `validate` for an input, in an execution that has waited for
    /// an hour: those of other tests began later, and do not stand in its way.
    #[must_use]
    pub fn validation(&self, input: &Value) -> Value {
        let machine = self.account.output("StateMachineArn");
        let started_at = Timestamp::now() - SignedDuration::from_hours(1);
        json!({"input": input, "execution": {
            "arn": format!("{machine}:direct").replace(":stateMachine:", ":execution:"),
            "name": "direct", "started_at": started_at, "state_machine_arn": machine,
            "releases": true}})
    }

    /// What EventBridge does with an event that only AWS may put: hands it to the target of the
    /// one enabled rule that it matches. Gives the ARN of the execution that this starts.
    pub async fn deliver(&self, event: &Value) -> String {
        let targets = self.targets_of(event).await;
        let arns: Vec<&str> = targets.iter().map(|target| target.arn.as_str()).collect();
        assert_eq!(arns, [self.account.output("StateMachineArn")]);
        assert!(targets.iter().all(|t| t.input.is_none() && t.input_transformer.is_none()));
        self.start(event).await
    }

    /// Waits for a message of the notification topic that says all of this, and gives it as it is in the
    /// queue: JSON with `Subject` and `Message`, in which quotes are escaped.
    pub async fn heard(&self, said: &[&str]) -> String {
        let endpoint = self.account.emulator.endpoint();
        let uri = format!("{endpoint}/_ministack/sqs/messages");
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        until(&format!("a message that says {said:?}"), async || {
            let request = hyper::Request::get(&uri).body(Full::default()).expect("a request");
            let answer = client.request(request).await.expect("an answer");
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            let queues: Value = serde_json::from_slice(&body).expect("JSON");
            let mut found = vec![];
            texts(&queues, &mut found);
            found.into_iter().find(|text| said.iter().all(|said| text.contains(said)))
        })
        .await
    }

    /// The event by which AWS tells of an execution's end.
    pub async fn end_event(&self, arn: &str) -> Value {
        let client = aws_sdk_sfn::Client::new(&self.config);
        let ended = client.describe_execution().execution_arn(arn).send().await.expect("there");
        let millis = |time: DateTime| time.to_millis().expect("a time of today");
        let stopped_at = ended.stop_date().copied().expect("it has ended");
        let time = Timestamp::from_millisecond(millis(stopped_at)).expect("a time of today");
        json!({
            "version": "0", "id": "0", "detail-type": "Step Functions Execution Status Change",
            "source": "aws.states", "account": "000000000000", "time": time,
            "region": aws::REGION, "resources": [arn],
            "detail": {
                "executionArn": arn, "stateMachineArn": ended.state_machine_arn(),
                "name": ended.name(), "status": ended.status().as_str(),
                "startDate": millis(ended.start_date), "stopDate": millis(stopped_at),
                "input": ended.input(), "output": ended.output(),
                "error": ended.error(), "cause": ended.cause(),
            }
        })
    }

    /// Delivers the event of an execution's end, which the emulator has delivered by itself, once
    /// more: EventBridge may. Nobody waits for an answer, and Lambda tries a failed invocation
    /// twice more (see [`AWS_MINUTE`]).
    pub async fn deliver_end_again(&self, event: &Value) {
        let function = self.account.output("RollbackFunctionName");
        let targets = self.targets_of(event).await;
        let to_function = |target: &Target| target.arn.ends_with(function);
        assert!(targets.iter().any(to_function), "no rule hands {event} to {function}");
        let (status, _) = self.call(function, "Event", event).await;
        assert_eq!(status, 202);
    }

    /// The targets of the enabled rules that an event matches.
    async fn targets_of(&self, event: &Value) -> Vec<Target> {
        let client = aws_sdk_eventbridge::Client::new(&self.config);
        let mut targets = vec![];
        for rule in client.list_rules().send().await.expect("listed").rules() {
            let Some(pattern) = rule.event_pattern() else { continue };
            let test = client.test_event_pattern().event_pattern(pattern).event(event.to_string());
            let enabled = rule.state().is_some_and(|state| state.as_str() == "ENABLED");
            if enabled && test.send().await.expect("tested").result {
                let name = rule.name().expect("a name");
                let of_rule = client.list_targets_by_rule().rule(name).send().await;
                targets.extend(of_rule.expect("listed").targets.unwrap_or_default());
            }
        }
        targets
    }

    /// Validates a request with the real function.
    pub async fn accepted(&self, request: &Value) -> Cutover {
        let accepted = self.invoke("ValidateFunctionName", &self.validation(request)).await;
        serde_json::from_value(accepted.expect("accepted")).expect("a cutover")
    }

    /// A cutover at its first step, by the real functions, and since when, in seconds of Unix time. Its state says that
    /// the weights are live for this long already, so that what it sees lies in the past, however slow the machine is.
    pub async fn baking(&self, request: &Value, seconds: i64) -> (Value, i64) {
        let accepted = json!(self.accepted(request).await);
        let mut state = self.invoke("ShiftWeightFunctionName", &accepted).await.expect("shifted");
        let since_s = now_s() - seconds;
        let since = json!(Timestamp::from_second(since_s).expect("a time of today"));
        state["first_shift_at"] = since.clone();
        state["last_shift"]["at"] = since.clone();
        state["phase"] = json!({"baking": {"since": since}});
        (state, since_s)
    }

    /// What comes next after a check: the action, and its reason.
    pub async fn next(&self, state: &Value) -> (String, String) {
        let checked = self.invoke("CheckHealthFunctionName", state).await.expect("checked");
        let text = |field: &str| checked["next"][field].as_str().expect("text").to_owned();
        (text("action"), text("reason"))
    }

    /// Makes an alarm, in ALARM or not.
    pub async fn set_alarm(&self, name: &str, in_alarm: bool) {
        use aws_sdk_cloudwatch::types::StateValue;
        create_alarm(&self.config, name).await.expect("an alarm");
        let client = aws_sdk_cloudwatch::Client::new(&self.config);
        let state = if in_alarm { StateValue::Alarm } else { StateValue::Ok };
        let set = client.set_alarm_state().alarm_name(name).state_value(state);
        set.state_reason("a test says so").send().await.expect("its state");
    }
}

impl<W: Counted> Case<W> {
    /// Publishes what a side counted and will have counted, second by second.
    pub async fn count(&self, side: &Cluster, rate: Rate) {
        self.count_in(side, rate, all()).await;
    }

    /// The same for these seconds alone, in Unix time.
    pub async fn count_in(&self, side: &Cluster, rate: Rate, seconds: Range<i64>) {
        self.count_by(W::dimensions(side), rate, seconds.clone()).await;
        if side.targets > 0 {
            self.count_metric(of_group(side), HOSTS, u32::from(side.targets), seconds).await;
        }
    }

    /// Publishes one more metric of a side's load balancer, as [`count`](Case::count) does the usual ones.
    pub async fn count_also(&self, side: &Cluster, metric: &str, a_second: u32) {
        self.count_also_in(side, metric, a_second, all()).await;
    }

    /// The same for these seconds alone, in Unix time.
    pub async fn count_also_in(
        &self,
        side: &Cluster,
        metric: &str,
        a_second: u32,
        seconds: Range<i64>,
    ) {
        self.count_metric(W::dimensions(side), metric, a_second, seconds).await;
    }

    /// Publishes errors of sides beside what they count anyway, from two seconds from now on: no check has
    /// looked there yet, so that all see them alike.
    pub async fn burst(&self, sides: &[&Cluster], errors_a_second: u32, seconds: i64) {
        let from = now_s() + 2;
        let of = |side| {
            let of = W::dimensions(side);
            let errors = f64::from(errors_a_second);
            (from..from + seconds).map(move |second| datum(&of, ERRORS, second).value(errors))
        };
        self.publish(BALANCERS, sides.iter().flat_map(|side| of(side))).await;
    }
}

impl<W> Case<W> {
    /// Publishes the requests that something counted.
    async fn count_by(&self, of: Vec<Dimension>, rate: Rate, seconds: Range<i64>) {
        for (metric, value) in [("RequestCount", rate.requests), (ERRORS, rate.errors)] {
            self.count_metric(of.clone(), metric, value, seconds.clone()).await;
        }
        if rate.requests > 0 {
            let times = [(0.1, rate.requests - rate.slow), (2.0, rate.slow)];
            let of_second = |second| {
                let of_time = |datum: MetricDatumBuilder, (seconds, requests): (f64, u32)| {
                    datum.values(seconds).counts(f64::from(requests))
                };
                let taken = times.into_iter().filter(|(_, requests)| *requests > 0);
                taken.fold(datum(&of, "TargetResponseTime", second), of_time)
            };
            self.publish(BALANCERS, seconds.map(of_second)).await;
        }
    }

    /// Publishes a metric; nothing for 0, as AWS does.
    async fn count_metric(
        &self,
        of: Vec<Dimension>,
        metric: &str,
        a_second: u32,
        seconds: Range<i64>,
    ) {
        if a_second > 0 {
            let of_second = |second| datum(&of, metric, second).value(f64::from(a_second));
            self.publish(BALANCERS, seconds.map(of_second)).await;
        }
    }

    /// Publishes one more metric of a part of a side.
    pub async fn count_part(&self, part: &Cluster, metric: &str, a_second: u32) {
        self.count_part_in(part, metric, a_second, all()).await;
    }

    /// The same for these seconds alone, in Unix time.
    pub async fn count_part_in(
        &self,
        part: &Cluster,
        metric: &str,
        a_second: u32,
        seconds: Range<i64>,
    ) {
        self.count_metric(of_group(part), metric, a_second, seconds).await;
    }

    /// Publishes business figures of a cluster, which no load balancer knows.
    pub async fn count_own(&self, side: &Cluster, metric: &str, a_second: u32) {
        let of = [dimension("Cluster", &side.name)];
        let of_second = |second| datum(&of, metric, second).value(f64::from(a_second));
        self.publish("Shop", all().map(of_second)).await;
    }
}

impl Case {
    /// Publishes what the host names of a side count, each with the part that serves it alone, and all together; without
    /// such parts, the first one is that of the side.
    pub async fn count_each(&self, side: &Cluster, rates: &[Rate]) {
        let parts = side.parts();
        if let ([_], [rate, ..]) = (parts.as_slice(), rates) {
            return self.count(side, *rate).await;
        }
        let sum = |of: fn(&Rate) -> u32| rates.iter().map(of).sum();
        let (requests, errors) = (sum(|rate| rate.requests), sum(|rate| rate.errors));
        let whole = Rate { requests, errors, slow: sum(|rate| rate.slow) };
        self.count_by(World::dimensions(side), whole, all()).await;
        for (part, rate) in parts.iter().zip(rates) {
            self.count_by(of_group(part), *rate, all()).await;
            self.count_part(part, HOSTS, u32::from(part.targets)).await;
        }
    }

    /// The name of the only or first route.
    #[must_use]
    pub fn route(&self) -> &str {
        self.world.routes().first().expect("a route")
    }

    /// The new side.
    #[must_use]
    pub fn new_side(&self) -> &Cluster {
        self.world.new.as_ref().expect("the new side is there")
    }

    /// A request for this world: two steps, one-second periods.
    #[must_use]
    pub fn request(&self) -> Value {
        let number = self.world.old.name.trim_start_matches("blue");
        json!({"new": format!("green{number}"), "hosted_zone": self.world.zone.id,
               "ramp": ramp(), "health": health(), "ready_timeout_s": 60})
    }

    /// The weights of the record sets of one type, in the order of the routes, from Route 53.
    pub async fn live_of(&self, kind: &str) -> Vec<(i64, i64)> {
        let [live] = self.live_of_each([kind]).await;
        live
    }

    /// The same of several types, from one listing: of one moment, as long as it has one page.
    pub async fn live_of_each<const N: usize>(&self, kinds: [&str; N]) -> [Vec<(i64, i64)>; N] {
        let client = aws_sdk_route53::Client::new(&self.config);
        let mut sets = vec![];
        let mut pages = client.list_resource_record_sets().hosted_zone_id(&self.world.zone.id);
        loop {
            let page = pages.clone().send().await.expect("listed");
            sets.extend(page.resource_record_sets);
            if !page.is_truncated {
                break;
            }
            pages = pages
                .set_start_record_name(page.next_record_name)
                .set_start_record_type(page.next_record_type)
                .set_start_record_identifier(page.next_record_identifier);
        }
        let weight = |kind: &str, route: &str, id: &str| {
            let set = sets.iter().find(|set| {
                set.name.trim_end_matches('.') == route
                    && set.r#type.as_str() == kind
                    && set.set_identifier() == Some(id)
            });
            set.and_then(|set| set.weight).unwrap_or(-1)
        };
        let (old, new) = (&self.world.old.name, self.world.old.name.replace("blue", "green"));
        let of = |kind: &str, route: &String| (weight(kind, route, old), weight(kind, route, &new));
        kinds.map(|kind| self.world.routes().iter().map(|route| of(kind, route)).collect())
    }

    /// The weights of the only or first route, from Route 53.
    pub async fn live(&self) -> (i64, i64) {
        *self.live_of("CNAME").await.first().expect("a route")
    }

    /// Waits until the first route has these weights.
    pub async fn until_live(&self, weights: (i64, i64)) {
        until(&format!("weights {weights:?} of {}", self.route()), async || {
            (self.live().await == weights).then_some(())
        })
        .await;
    }

    /// A file of `events/` with this world's names and times in the place of its example's.
    #[must_use]
    pub fn event(&self, file: &str) -> Value {
        let path = root().join("events").join(file);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let ago = |seconds| (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string();
        let (old, new) = (&self.world.old, self.new_side());
        let second = self.world.routes().last().map_or("", String::as_str);
        let names = [
            ("chat.example.com", self.route().to_owned()),
            ("api.example.com", second.to_owned()),
            ("\"example.com\"", format!("\"{}\"", self.world.zone.name)),
            ("Z0123456789EXAMPLE", self.world.zone.id.clone()),
            ("app/k8s-blue/50dc6c495c0c9188", old.load_balancer.clone()),
            ("app/k8s-green/8c5a1d3e7f902b46", new.load_balancer.clone()),
            (
                "k8s-green/6d0ecf831eec9f09",
                new.target_group.trim_start_matches("targetgroup/").to_owned(),
            ),
            ("\"blue\"", format!("\"{}\"", old.name)),
            ("\"green\"", format!("\"{}\"", new.name)),
            ("\\\"green\\\"", format!("\\\"{}\\\"", new.name)),
            ("arn:aws:states:eu-central-1:123456789012:stateMachine:cutover", {
                self.account.output("StateMachineArn").to_owned()
            }),
            ("2026-03-17T09:30:00Z", ago(3600)),
            ("2026-03-17T09:40:00Z", ago(20)),
            ("2026-03-17T09:41:20Z", ago(10)),
        ];
        let text = names.iter().fold(text, |text, (example, here)| text.replace(example, here));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Takes every target away from the old side.
    pub async fn deregister_old_targets(&self) {
        self.deregister(&self.world.old).await;
    }

    /// Takes every target away from a side, or from a part of it.
    pub async fn deregister(&self, side: &Cluster) {
        deregister_targets(&self.config, side).await;
    }
}

/// Takes every target away from a side.
async fn deregister_targets(balancing: &SdkConfig, side: &Cluster) {
    let client = aws_sdk_elasticloadbalancingv2::Client::new(balancing);
    let group = side.target_group_arn();
    let health = client.describe_target_health().target_group_arn(group).send().await;
    let targets: Vec<TargetDescription> = health
        .expect("listed")
        .target_health_descriptions()
        .iter()
        .filter_map(|described| described.target().cloned())
        .collect();
    let deregister = client.deregister_targets().target_group_arn(group);
    deregister.set_targets(Some(targets)).send().await.expect("deregistered");
}

/// Every text in a JSON value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}

/// The dimensions of a side's target group.
fn of_group(side: &Cluster) -> Vec<Dimension> {
    vec![
        dimension("LoadBalancer", &side.load_balancer),
        dimension("TargetGroup", &side.target_group),
    ]
}

fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build()
}

/// A world whose sides are counted.
pub trait Counted {
    /// The dimensions of what a side counts.
    fn dimensions(side: &Cluster) -> Vec<Dimension>;
}

/// Each side has a load balancer of its own.
impl Counted for World {
    fn dimensions(side: &Cluster) -> Vec<Dimension> {
        vec![dimension("LoadBalancer", &side.load_balancer)]
    }
}

/// What is told of one second, still without a value.
fn datum(of: &[Dimension], metric: &str, second: i64) -> MetricDatumBuilder {
    MetricDatum::builder()
        .metric_name(metric)
        .timestamp(DateTime::from_secs(second))
        .storage_resolution(1)
        .set_dimensions(Some(of.to_vec()))
}

/// The seconds of a world, in Unix time.
fn all() -> Range<i64> {
    now_s() - HISTORY_S..now_s() + FUTURE_S
}

/// Now, in seconds of Unix time.
#[must_use]
pub fn now_s() -> i64 {
    Timestamp::now().as_second()
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none in time.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(POLL).await;
    }
}
