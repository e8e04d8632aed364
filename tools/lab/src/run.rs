//! One run of the lab, from nothing to the summary.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use cutover_core::Counts;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::alb::AlbSpec;
use crate::balancer::Balancer;
use crate::deploy::Stack;
use crate::edges::{self, Dns, Hosts, Lookup, Traffic};
use crate::emulator::{Emulator, EmulatorOptions, LOAD_BALANCING_ENDPOINT, Program};
use crate::error::LabError;
use crate::functions::Function;
use crate::metrics::{self, Meters};
use crate::origin::{Behaviour, Fault, Origin, Second};
use crate::python::Venv;
use crate::recording::{Note, Recording, Sample};
use crate::routed::Routed;
use crate::scenario::{ERROR_RATE_USUAL, Hosting, Incident, Plan, Router, Scenario, When};
use crate::view::{self, SetUp, View, say};
use crate::watch::{self, Watch};
use crate::world::{Cluster, ClusterSpec, Groups, RecordKind, World, WorldSpec};
use crate::{aws, deploy, functions, picture};

const ZONE: &str = "lab.example.com";
/// The load balancer of both clusters.
const BALANCER: &str = "k8s-lab";
const ROUTES: [&str; 2] = ["chat.lab.example.com", "api.lab.example.com"];
const OLD: &str = "blue";
const NEW: &str = "green";
const STACK: &str = "cutover-lab";
const TARGETS: u16 = 3;
pub(crate) const TTL_S: u32 = 2;
pub(crate) const EDGES: u8 = 8;
pub(crate) const REQUESTS_PER_S: f64 = 200.0;
/// The same of the time before it began.
const REQUESTS_PER_S_PAST: u64 = 200;

/// Traffic before the event, so that there is something to compare with.
const WARM_UP: Duration = Duration::from_secs(6);
/// Traffic after the end, longer than the TTL, so that the picture shows where it went.
const AFTERGLOW: Duration = Duration::from_secs(5);
/// How often the weights are read.
const WEIGHTS_EVERY: Duration = Duration::from_millis(250);
/// What the warning says of routes whose requests cannot be told apart.
const COUNTED_TOGETHER: &str = "are counted together";
/// The longest that any scenario may take.
const RUN_MAX: Duration = Duration::from_mins(5);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The story.
    pub scenario: Scenario,
    /// What splits the requests.
    pub router: Router,
    /// Makes the same random choices again.
    pub seed: u64,
    /// Directory for the picture and the samples.
    pub out: PathBuf,
    /// Port of the emulator; a free one when not given.
    pub port: Option<u16>,
}

/// A scenario that was played, with everything still running.
#[derive(Debug)]
pub struct Played {
    /// What differed from what the scenario should come to; nothing, when all is well.
    pub differences: Vec<String>,
    recording: Recording,
    lab: Lab,
}

/// Plays a scenario.
///
/// # Errors
/// Whatever keeps the lab from running at all.
pub async fn run(options: &Options) -> Result<Played, LabError> {
    let Options { scenario, router, out, .. } = options;
    let plan = plan(*scenario, *router)?;
    say(&format!("scenario {}: {}", scenario.name(), plan.summary));
    // Made now: a run of two minutes shall not be lost to a directory that cannot be written.
    fs::create_dir_all(out)
        .map_err(|error| LabError::io(format!("create {}", out.display()), error))?;
    let mut lab = Lab::start(options, &plan).await?;
    let mut view = View::new();
    let recording = lab.play(options, &plan, &mut view).await;
    view.close();
    let recording = recording?;
    let picture = save(out, &recording)?;
    say(&format!("\n{}picture: {}", view::summary(&recording), picture.display()));
    let differences = differences(&plan, &recording);
    for difference in &differences {
        say(&format!("not as expected: {difference}"));
    }
    if !differences.is_empty() {
        say(&format!("log of the emulator: {}", lab.emulators.all.log().display()));
    }
    Ok(Played { differences, recording, lab })
}

/// What the lab plays, in its zone or at its listener.
fn plan(scenario: Scenario, router: Router) -> Result<Plan, LabError> {
    let place = match router {
        Router::Route53 => ZONE.to_owned(),
        Router::Alb => alb_spec().listener(),
    };
    scenario.plan(router, &place, NEW)
}

impl Played {
    /// How to look around in what is still running.
    #[must_use]
    pub fn commands(&self) -> String {
        let endpoint = self.lab.emulators.all.endpoint();
        let aws = format!("aws --endpoint-url {endpoint}");
        let emulators = &self.lab.emulators;
        let (apart, weights) = (emulators.apart(), emulators.weights(&self.lab.world));
        let machine = &self.lab.state_machine_arn;
        let execution = self.recording.execution_arn.as_deref().unwrap_or("ARN");
        let again = dry_run(&self.recording);
        [
            &format!("\nAll of AWS is served at {endpoint}{apart}, and requests still flow."),
            &format!("Its log: {}", self.lab.emulators.all.log().display()),
            "Credentials for the commands below:",
            "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
            &format!("  export AWS_DEFAULT_REGION={}", aws::REGION),
            "The execution, and its history:",
            &format!("  {aws} stepfunctions describe-execution --execution-arn {execution}"),
            &format!("  {aws} stepfunctions get-execution-history --execution-arn {execution}"),
            "The weights:",
            &format!("  {weights}"),
            "The same request again, to the side without weight, as a dry run:",
            &format!(
                "  {aws} stepfunctions start-execution --state-machine-arn {machine} \
                 --input '{again}'"
            ),
            "Ctrl-C stops everything.",
        ]
        .join("\n")
    }

    /// Keeps everything running for as long as it works.
    pub async fn broken(&mut self) -> LabError {
        self.lab.background.broken().await
    }

    /// Stops everything.
    ///
    /// # Errors
    /// `Io` when the emulator cannot be stopped.
    pub async fn stop(self) -> Result<(), LabError> {
        drop(self.lab.background);
        self.lab.emulators.stop().await
    }
}

/// The request for a dry run to the side that has no weight now.
fn dry_run(recording: &Recording) -> serde_json::Value {
    let weights = recording.end.iter().flat_map(|end| &end.weights);
    let on_new = weights.filter_map(|live| live.new).any(|weight| weight > 0);
    let mut request = recording.request.clone();
    if let Some(fields) = request.as_object_mut() {
        fields.insert("new".to_owned(), if on_new { OLD } else { NEW }.into());
        fields.insert("dry_run".to_owned(), true.into());
    }
    request
}

/// Everything that runs.
#[derive(Debug)]
struct Lab {
    config: SdkConfig,
    world: Routed,
    clusters: Clusters,
    background: Background,
    state_machine_arn: String,
    // Last, so that they are dropped last: everything above talks to them.
    emulators: Emulators,
}

/// What emulates AWS.
#[derive(Debug)]
struct Emulators {
    all: Emulator,
    /// Load balancers that keep weights, where those are what splits the requests.
    balancers: Option<Emulator>,
}

impl Emulators {
    /// Starts them; functions find their load balancers at the one that keeps weights, if there is one.
    async fn start(venv: &Venv, router: Router, port: Option<u16>) -> Result<Self, LabError> {
        let mut options = EmulatorOptions { port, ..Default::default() };
        let balancers = if router == Router::Alb {
            let moto = EmulatorOptions { program: Program::Moto, ..Default::default() };
            let moto = Emulator::start(venv, moto).await?;
            options.env.push((LOAD_BALANCING_ENDPOINT.to_owned(), moto.endpoint()));
            Some(moto)
        } else {
            None
        };
        Ok(Self { all: Emulator::start(venv, options).await?, balancers })
    }

    /// Where load balancers are.
    fn load_balancing_endpoint(&self) -> String {
        self.balancers.as_ref().unwrap_or(&self.all).endpoint()
    }

    /// Where load balancers are, after the place of all else.
    fn apart(&self) -> String {
        let apart = |moto: &Emulator| format!(" (load balancers at {})", moto.endpoint());
        self.balancers.as_ref().map_or_else(String::new, apart)
    }

    /// The command that shows the weights.
    fn weights(&self, world: &Routed) -> String {
        let aws = format!("aws --endpoint-url {}", self.load_balancing_endpoint());
        match world {
            Routed::ByRecords(world) => {
                let zone = &world.zone.id;
                format!("{aws} route53 list-resource-record-sets --hosted-zone-id {zone}")
            }
            Routed::ByRules(world) => {
                format!("{aws} elbv2 describe-rules --listener-arn {}", world.rules.listener_arn)
            }
        }
    }

    async fn stop(self) -> Result<(), LabError> {
        self.all.stop().await?;
        match self.balancers {
            Some(balancers) => balancers.stop().await,
            None => Ok(()),
        }
    }
}

/// What serves the requests of both sides, and who knows of it.
#[derive(Debug)]
struct Clusters {
    old: Served,
    new: Served,
    hosts: Hosts,
    meters: Meters,
}

/// What serves the requests of a side.
#[derive(Debug)]
struct Served {
    /// One for each part of the cluster.
    origins: Vec<Arc<Origin>>,
    /// The load balancer's own part, where rules divide the requests.
    balancer: Option<Arc<Balancer>>,
}

impl Served {
    async fn start(hosting: Hosting, seeds: impl Iterator<Item = u64>) -> Result<Self, LabError> {
        let error_rates = match hosting {
            Hosting::Together => vec![ERROR_RATE_USUAL],
            Hosting::Apart(rates) => rates.to_vec(),
        };
        let mut origins = Vec::new();
        for (error_rate, seed) in error_rates.into_iter().zip(seeds) {
            let usual = Behaviour { error_rate, latency_ms_min: 4, latency_ms_max: 20 };
            origins.push(Arc::new(Origin::start(usual, seed).await?));
        }
        Ok(Self { origins, balancer: None })
    }

    /// Where its load balancer listens.
    fn address(&self) -> Option<SocketAddr> {
        let balancer = self.balancer.as_ref().map(|balancer| balancer.address);
        balancer.or_else(|| self.origins.first().map(|origin| origin.address))
    }

    /// The target group of each part of a cluster, and where its targets are.
    fn targets(&self, cluster: &Cluster) -> Vec<(String, SocketAddr)> {
        let parts = cluster.parts().into_iter().zip(&self.origins);
        parts.map(|(part, origin)| (part.target_group_arn().to_owned(), origin.address)).collect()
    }

    /// What users got in the second that began at this Unix time. What the load balancer answers by itself is an error.
    fn second(&self, unix_s: i64) -> Counts {
        let of_targets = self.origins.iter().map(|origin| {
            let Second { requests, errors, .. } = origin.second(unix_s);
            Counts { requests, errors }
        });
        let own = self.balancer.iter().map(|balancer| {
            let own = balancer.second(unix_s);
            let answers = own.not_found + own.answers_5xx;
            Counts { requests: answers, errors: answers }
        });
        of_targets.chain(own).sum()
    }
}

impl Lab {
    async fn start(options: &Options, plan: &Plan) -> Result<Self, LabError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let set_up = SetUp::begin();
        set_up.step("Python environment (the first time: about a minute)");
        let venv = Venv::ready(&root.join("target")).await?;
        // Before the build, which can take minutes: a port in use is told at once.
        set_up.step("starting the emulator");
        let emulators = Emulators::start(&venv, options.router, options.port).await?;
        set_up.step("building the functions");
        let functions = functions::build(&root).await?;
        let config = aws::sdk_config(&emulators.all.endpoint());
        let world = match options.router {
            Router::Route53 => {
                set_up.step("creating the zone, load balancers, targets and records");
                Routed::by_records(&config, ZONE, spec(plan), plan.new_side_ready).await?
            }
            Router::Alb => {
                set_up.step("creating the load balancer, target groups, targets and rules");
                let balancing = aws::sdk_config(&emulators.load_balancing_endpoint());
                Routed::by_rules(&balancing, alb_spec()).await?
            }
        };
        set_up.step("deploying template.yaml");
        let stack = deploy(&config, &root, &world, functions).await?;
        let state_machine_arn = state_machine_arn(stack)?;
        let mut clusters = Clusters::start(plan.hosting, options.seed).await?;
        let mut background = Background::default();
        if let (Hosting::Apart(_), Routed::ByRecords(world)) = (plan.hosting, &world) {
            clusters.balance(world, options.seed, &mut background).await?;
        }
        clusters.show(&world);
        if plan.past_s > 0 {
            set_up.step("telling CloudWatch of the day before");
            publish_past(&config, world.clusters().0, plan.past_s, options.seed).await?;
        }
        background.0.spawn(metrics::publish(config.clone(), clusters.meters.clone()));
        let lookup = clusters.lookup(&world, &config, options.seed, &mut background).await?;
        let traffic = Traffic {
            seed: options.seed,
            edges: EDGES,
            requests_per_s: REQUESTS_PER_S,
            caching: plan.caching,
        };
        edges::spawn(&mut background.0, &lookup, world.routes(), &traffic);
        set_up.step("traffic warms up");
        background.unbroken(tokio::time::sleep(WARM_UP)).await?;
        Ok(Self { config, world, clusters, background, state_machine_arn, emulators })
    }

    /// Sends the event and records what happens until some seconds after the execution's end.
    async fn play(
        &mut self,
        options: &Options,
        plan: &Plan,
        view: &mut View,
    ) -> Result<Recording, LabError> {
        let mut recording = recording(options, &plan.request);
        let started_at = recording.started_at;
        watch::send_event(&self.config, &plan.request).await?;
        recording.note(0.0, format!("Cluster Ready event sent: {}", plan.request));
        let found = Watch::find(&self.config, &self.state_machine_arn, started_at).await?;
        let Some(mut watch) = found else { return Ok(recording) };
        recording.execution_arn = Some(watch.execution_arn.clone());

        let mut incidents = plan.incidents.iter().peekable();
        let mut second = started_at.as_second() + 1;
        let mut stop_at = Instant::now() + RUN_MAX;
        while Instant::now() < stop_at {
            self.follow_weights(second, &mut recording).await?;
            recording.samples.push(self.sample(second, &recording));
            second += 1;
            if recording.end.is_none()
                && let Some(mut end) = watch.follow(&mut recording).await?
            {
                recording.close_step(end.at_s);
                end.weights = self.world.live_weights().await?;
                recording.end = Some(end);
                stop_at = Instant::now() + AFTERGLOW;
            }
            let now_s = recording.elapsed_s(Timestamp::now());
            let due = |(when, _): &&(When, Incident)| match when {
                When::After(time) => now_s >= time.as_secs_f64(),
                When::Step(number) => recording.steps.len() >= *number,
            };
            if let Some((_, incident)) = incidents.next_if(due) {
                let what = self.befall(*incident).await?;
                recording.note(now_s, format!("incident: {what}"));
            }
            view.update(&recording, now_s);
        }
        Ok(recording)
    }

    /// Reads the weights again and again until a second is over and counted, so that the recording
    /// tells closely when they changed.
    async fn follow_weights(
        &mut self,
        second: i64,
        recording: &mut Recording,
    ) -> Result<(), LabError> {
        loop {
            let live = self.world.live_weights().await?;
            recording.weights(recording.elapsed_s(Timestamp::now()), &live);
            let left = metrics::left_until_counted(second);
            if left.is_zero() {
                return Ok(());
            }
            self.background.unbroken(tokio::time::sleep(left.min(WEIGHTS_EVERY))).await?;
        }
    }

    /// What happened in the second that began at this Unix time.
    fn sample(&self, second: i64, recording: &Recording) -> Sample {
        let began = Timestamp::from_second(second).unwrap_or(recording.started_at);
        let Clusters { old, new, .. } = &self.clusters;
        let (old, new) = (old.second(second), new.second(second));
        Sample { at_s: recording.elapsed_s(began), old, new }
    }

    /// Lets an incident happen, and says what it was.
    async fn befall(&mut self, incident: Incident) -> Result<String, LabError> {
        Ok(match incident {
            Incident::NewRecords => {
                self.world.growing()?.create_new().await?;
                self.clusters.show(&self.world);
                format!("{NEW} gets its load balancer and records, still without targets")
            }
            Incident::NewTargets => {
                self.world.growing()?.register_new_targets().await?;
                self.clusters.show(&self.world);
                format!("{NEW} gets {TARGETS} healthy targets")
            }
            Incident::NewErrors(rate) => {
                self.clusters.new.origins.iter().for_each(|origin| origin.set_error_rate(rate));
                format!("{NEW} begins to fail {:.0} % of its requests", rate * 100.0)
            }
            Incident::SharedErrors { rate, seconds } => {
                // Whole seconds, so that both sides have it in the same periods.
                let from_s = Timestamp::now().as_second() + 1;
                let until_s = seconds.map_or(i64::MAX, |seconds| from_s + i64::from(seconds));
                let Clusters { old, new, .. } = &self.clusters;
                for origin in old.origins.iter().chain(&new.origins) {
                    origin.set_fault(Fault { error_rate: rate, from_s, until_s });
                }
                let percent = rate * 100.0;
                let how_long = seconds.map_or("from now on".to_owned(), |s| format!("for {s} s"));
                format!("{OLD} and {NEW} both fail {percent:.0} % of their requests {how_long}")
            }
            Incident::NewRuleLost => {
                let [.., route] = ROUTES;
                let world = self.world.growing()?;
                if let Some(new) = &world.new {
                    world.rules(new).await?.rename(route, &format!("old.{route}")).await?;
                }
                format!("somebody edits an Ingress: {NEW} has no rule for {route} any more")
            }
            Incident::NewUnreachable => {
                if let (_, Some(new)) = self.world.clusters() {
                    self.clusters.hosts.cut_off(&new.dns_name);
                }
                format!("somebody edits a security group: no request reaches {NEW} any more")
            }
            Incident::OtherWeights { old, new } => {
                let [route, ..] = ROUTES;
                self.world.overwrite_weights(route, old, new).await?;
                format!("somebody gives {route} the weights {OLD} {old}, {NEW} {new}")
            }
        })
    }
}

impl Clusters {
    async fn start(hosting: Hosting, seed: u64) -> Result<Self, LabError> {
        let seeds = |first: u64| (0..).map(move |part| seed.wrapping_add(first + 10 * part));
        Ok(Self {
            old: Served::start(hosting, seeds(1)).await?,
            new: Served::start(hosting, seeds(2)).await?,
            hosts: Hosts::default(),
            meters: Meters::default(),
        })
    }

    /// Starts the load balancers of both clusters, whose rules divide the requests.
    async fn balance(
        &mut self,
        world: &World,
        seed: u64,
        background: &mut Background,
    ) -> Result<(), LabError> {
        let sides = [(Some(&world.old), &mut self.old), (world.new.as_ref(), &mut self.new)];
        for (cluster, served) in sides {
            let Some(cluster) = cluster else { continue };
            let (rules, targets) = (world.rules(cluster).await?, served.targets(cluster));
            let balancer = Arc::new(Balancer::start(rules, targets, seed.wrapping_add(3)).await?);
            self.meters.insert_balancer(&cluster.load_balancer, &balancer);
            background.0.spawn(Arc::clone(&balancer).follow());
            served.balancer = Some(balancer);
        }
        Ok(())
    }

    /// Puts the origins behind the load balancers that there are.
    fn show(&self, world: &Routed) {
        let (old, new) = world.clusters();
        let sides = [(Some(old), &self.old), (new, &self.new)];
        for (cluster, served) in sides {
            let Some(cluster) = cluster else { continue };
            if let Some(address) = served.address() {
                self.hosts.insert(&cluster.dns_name, address);
            }
            for (part, origin) in cluster.parts().iter().zip(&served.origins) {
                self.meters.insert(part, origin);
            }
        }
    }

    /// How users find the clusters: by DNS, or through the one load balancer of both, which starts with this.
    async fn lookup(
        &self,
        world: &Routed,
        config: &SdkConfig,
        seed: u64,
        background: &mut Background,
    ) -> Result<Lookup, LabError> {
        let world = match world {
            Routed::ByRecords(world) => {
                return Ok(Lookup::Dns(Dns::new(config, &world.zone.id, &self.hosts)));
            }
            Routed::ByRules(world) => world,
        };
        let sides = [(&world.old, &self.old), (&world.new, &self.new)];
        let targets = sides.into_iter().flat_map(|(side, served)| served.targets(side));
        let rules = world.rules.clone();
        let balancer = Arc::new(Balancer::start(rules, targets, seed.wrapping_add(3)).await?);
        self.meters.insert_balancer(&world.old.load_balancer, &balancer);
        let address = balancer.address;
        background.0.spawn(balancer.follow());
        Ok(Lookup::Here(address))
    }
}

/// Tells CloudWatch of a cluster's usual traffic for so many seconds up to now.
async fn publish_past(
    config: &SdkConfig,
    cluster: &Cluster,
    past_s: u32,
    seed: u64,
) -> Result<(), LabError> {
    let now_s = Timestamp::now().as_second();
    let seconds = now_s - i64::from(past_s)..now_s;
    let usual = (REQUESTS_PER_S_PAST, ERROR_RATE_USUAL);
    metrics::publish_past(config, cluster, seconds, usual, seed.wrapping_add(4)).await
}

/// Deploys the template for where the routes are.
async fn deploy(
    config: &SdkConfig,
    root: &Path,
    world: &Routed,
    functions: Vec<Function>,
) -> Result<Stack, LabError> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let parameters = [
        match world {
            Routed::ByRecords(world) => ("HostedZoneId", world.zone.id.as_str()),
            Routed::ByRules(world) => ("ListenerArns", world.rules.listener_arn.as_str()),
        },
        ("Architecture", architecture),
        ("ShortestPeriodSeconds", "1"),
    ];
    deploy::deploy(config, root, STACK, &parameters, functions).await
}

fn state_machine_arn(mut stack: Stack) -> Result<String, LabError> {
    stack.outputs.remove("StateMachineArn").ok_or_else(|| LabError::Deploy {
        stack: STACK.to_owned(),
        reason: "template.yaml has no output StateMachineArn".to_owned(),
    })
}

/// Tasks that run until one fails; they stop when this is dropped.
#[derive(Debug, Default)]
struct Background(JoinSet<Result<Infallible, LabError>>);

impl Background {
    /// Waits until a task fails.
    async fn broken(&mut self) -> LabError {
        match self.0.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => LabError::traffic(format!("a task ended: {error}")),
            None => LabError::traffic("no task is left"),
        }
    }

    /// Does `work` while nothing fails.
    async fn unbroken<T>(&mut self, work: impl Future<Output = T>) -> Result<T, LabError> {
        tokio::select! {
            done = work => Ok(done),
            error = self.broken() => Err(error),
        }
    }
}

fn cluster(name: &str, weight: u16) -> ClusterSpec {
    ClusterSpec { name: name.to_owned(), targets: TARGETS, weight }
}

fn spec(plan: &Plan) -> WorldSpec {
    WorldSpec {
        routes: ROUTES.map(ToOwned::to_owned).to_vec(),
        records: RecordKind::Cname { ttl_s: TTL_S },
        groups: match plan.hosting {
            Hosting::Together => Groups::One,
            Hosting::Apart(_) => Groups::EachHost,
        },
        old: cluster(OLD, 100),
        new: cluster(NEW, 0),
    }
}

fn alb_spec() -> AlbSpec {
    AlbSpec {
        name: BALANCER.to_owned(),
        routes: ROUTES.map(ToOwned::to_owned).to_vec(),
        old: cluster(OLD, 100),
        new: cluster(NEW, 0),
    }
}

/// A recording that begins now, with nothing in it.
fn recording(options: &Options, request: &serde_json::Value) -> Recording {
    Recording {
        scenario: options.scenario,
        router: options.router,
        seed: options.seed,
        old: OLD.to_owned(),
        new: NEW.to_owned(),
        routes: ROUTES.map(ToOwned::to_owned).to_vec(),
        request: request.clone(),
        started_at: Timestamp::now(),
        execution_arn: None,
        ramp: vec![],
        samples: vec![],
        intended: vec![],
        steps: vec![],
        checks: vec![],
        notes: vec![],
        end: None,
    }
}

/// Writes the picture and the samples, and gives the path of the picture.
fn save(out: &Path, recording: &Recording) -> Result<PathBuf, LabError> {
    let write = |name: &str, text: String| {
        let path = out.join(name);
        let written = fs::write(&path, text);
        written.map_err(|error| LabError::io(format!("write {}", path.display()), error))?;
        Ok(path)
    };
    let json = serde_json::to_string_pretty(recording)
        .map_err(|error| LabError::io("write the samples as JSON", error.into()))?;
    write("run.json", json)?;
    write("run.svg", picture::draw(recording))
}

/// What is not as the scenario says it must be.
fn differences(plan: &Plan, recording: &Recording) -> Vec<String> {
    if recording.execution_arn.is_none() {
        return vec!["the event started no execution".to_owned()];
    }
    let Some(end) = &recording.end else {
        return vec![format!("the execution did not end within {} s", RUN_MAX.as_secs())];
    };
    let mut differences = vec![];
    if end.name != plan.end {
        differences.push(format!("it ended as {}, not as {}", end.name, plan.end));
    }
    for (index, live) in end.weights.iter().enumerate() {
        let (old, new) = if index == 0 { plan.first_route } else { plan.other_routes };
        if (live.old, live.new) != (Some(old), Some(new)) {
            let weight = |weight: Option<i64>| weight.map_or("none".to_owned(), |w| w.to_string());
            differences.push(format!(
                "{} has the weights {OLD} {}, {NEW} {}, not {OLD} {old}, {NEW} {new}",
                live.route,
                weight(live.old),
                weight(live.new)
            ));
        }
    }
    for reason in plan.reason.iter().filter(|reason| !end.reason.contains(**reason)) {
        differences.push(format!("the reason has no {reason:?} in it"));
    }
    let hold_max_s = number(recording, "hold_max_s").unwrap_or_default();
    if plan.before_hold_ends && end.at_s >= hold_max_s {
        differences.push(format!("it took longer than hold_max_s, which is {hold_max_s} s"));
    }
    let together = |note: &Note| note.text.contains(COUNTED_TOGETHER);
    if plan.hosting != Hosting::Together && recording.notes.iter().any(together) {
        differences.push("the host names are counted together".to_owned());
    }
    if plan.limit_passed && !passes_limit(recording) {
        differences.push(format!("{NEW} never failed more than a limit alone would allow"));
    }
    differences.extend(stray_requests(plan, recording));
    differences
}

/// A number among the request's fields of `health`.
fn number(recording: &Recording, field: &str) -> Option<f64> {
    recording.request.pointer(&format!("/health/{field}"))?.as_f64()
}

/// Whether the new side's error rate was over `error_rate_max` in two of three of its seconds in a row: those
/// with `requests_min` requests.
fn passes_limit(recording: &Recording) -> bool {
    let health = |field| number(recording, field);
    let (Some(rate_max), Some(requests_min)) = (health("error_rate_max"), health("requests_min"))
    else {
        return false;
    };
    let new = recording.samples.iter().map(|sample| sample.new);
    let over: Vec<bool> = new
        .filter(|new| u32::try_from(new.requests).is_ok_and(|n| f64::from(n) >= requests_min))
        .map(|new| new.error_rate().is_some_and(|rate| rate > rate_max))
        .collect();
    over.windows(3).any(|three| three.iter().filter(|over| **over).count() >= 2)
}

/// Requests that still reach a side which has got no weight: the traffic must follow.
fn stray_requests(plan: &Plan, recording: &Recording) -> Option<String> {
    let last = recording.samples.last()?;
    let (side, requests) = match (plan.first_route, plan.other_routes) {
        ((0, _), (0, _)) => (OLD, last.old.requests),
        ((_, 0), (_, 0)) => (NEW, last.new.requests),
        _ => return None,
    };
    (requests > 0).then(|| format!("{side} still got {requests} requests in the last second"))
}

#[cfg(test)]
mod tests {
    use crate::recording::End;
    use crate::world::LiveWeights;

    use super::*;

    /// A run that came to this end for a reason like that of the evidence.
    fn ended(name: &str, weights: [(i64, i64); 2], last: (u64, u64)) -> Recording {
        let counts = |requests| Counts { requests, errors: 0 };
        let mut recording = Recording::for_test();
        recording.execution_arn = Some("arn".to_owned());
        let (old, new) = (counts(last.0), counts(last.1));
        recording.samples.push(Sample { at_s: 0.0, old, new });
        let live = |(route, (old, new)): (&str, (i64, i64))| LiveWeights {
            route: route.to_owned(),
            old: Some(old),
            new: Some(new),
        };
        recording.end = Some(End {
            at_s: 1.0,
            name: name.to_owned(),
            reason: "odds 30.2 times; e = 240, limit 100".to_owned(),
            weights: ROUTES.into_iter().zip(weights).map(live).collect(),
        });
        recording
    }

    #[test]
    fn it_matters_what_took_the_traffic_back() {
        let plan = plan(Scenario::Regressed, Router::Route53).unwrap();
        let mut run = ended("RolledBack", [(100, 0); 2], (9, 0));
        assert_eq!(differences(&plan, &run), [""; 0]);
        run.end.as_mut().unwrap().reason = "new 6 % of 90 requests failed; the limit is 5 %".into();
        assert_eq!(differences(&plan, &run), ["the reason has no \"e = \" in it"]);
    }

    #[test]
    fn what_is_seen_must_decide_before_the_hold_ends_and_each_host_name_by_itself() {
        let plan = plan(Scenario::SharedAlb, Router::Route53).unwrap();
        let mut run = ended("Completed", [(0, 100); 2], (0, 9));
        run.request = plan.request.clone();
        assert_eq!(differences(&plan, &run), [""; 0]);
        run.end.as_mut().unwrap().at_s = 120.0;
        run.note(1.0, "behind load balancer app/k8s-blue/1 all of them are counted together: …");
        assert_eq!(
            differences(&plan, &run),
            [
                "it took longer than hold_max_s, which is 120 s",
                "the host names are counted together"
            ]
        );
    }

    #[test]
    fn noise_must_be_more_than_a_limit_alone_would_allow() {
        let plan = plan(Scenario::Noisy, Router::Route53).unwrap();
        let told = |seconds: &[(u64, u64)]| {
            let mut run = ended("Completed", [(0, 100); 2], (0, 9));
            run.request = plan.request.clone();
            let sample = |(requests, errors)| Sample {
                at_s: 0.0,
                old: Counts::default(),
                new: Counts { requests, errors },
            };
            run.samples.splice(0..0, seconds.iter().copied().map(sample));
            differences(&plan, &run)
        };
        let quiet = ["green never failed more than a limit alone would allow"];
        assert_eq!(told(&[(40, 16), (40, 0), (40, 15)]), [""; 0], "two of three");
        assert_eq!(told(&[(40, 16), (19, 19), (0, 0), (40, 15), (40, 0)]), [""; 0], "thin ones");
        assert_eq!(told(&[(40, 16), (40, 0), (40, 0), (40, 15)]), quiet, "too far apart");
        assert_eq!(told(&[(40, 2), (40, 2), (40, 2)]), quiet, "at the limit");
    }

    #[test]
    fn a_run_differs_by_its_end_its_weights_and_its_traffic() {
        let plan = |scenario| plan(scenario, Router::Route53).unwrap();
        let (forth, back) = ((0, 100), (100, 0));
        let told = |scenario, name: &str, weights, last| {
            differences(&plan(scenario), &ended(name, weights, last))
        };
        let none: [&str; 0] = [];
        assert_eq!(told(Scenario::Healthy, "Completed", [forth; 2], (0, 9)), none);
        assert_eq!(told(Scenario::Drift, "Drifted", [(70, 30), back], (5, 5)), none);
        assert_eq!(
            told(Scenario::Healthy, "RolledBack", [back, forth], (3, 9)),
            [
                "it ended as RolledBack, not as Completed",
                "chat.lab.example.com has the weights blue 100, green 0, not blue 0, green 100",
                "blue still got 3 requests in the last second",
            ]
        );
        let never = Recording { execution_arn: None, ..ended("", [forth; 2], (0, 9)) };
        assert_eq!(
            differences(&plan(Scenario::Healthy), &never),
            ["the event started no execution"]
        );
    }
}
