//! The world behind one load balancer for real: rules with weights on moto, a proxy that keeps to them, and metrics
//! that tell of it.

#![expect(clippy::unwrap_used, reason = "what a test helper cannot do fails the test")]

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat};
use aws_sdk_elasticloadbalancingv2::types::{TagDescription, TargetGroup};
use jiff::Timestamp;
use lab::alb::{AlbSpec, AlbWorld};
use lab::aws::sdk_config;
use lab::balancer::Balancer;
use lab::edges::{self, Caching, Lookup, Traffic};
use lab::emulator::{Emulator, EmulatorOptions, Program};
use lab::metrics::{self, Meters};
use lab::origin::{Behaviour, Origin};
use lab::python::Venv;
use lab::world::ClusterSpec;
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(30);
const ROUTES: [&str; 2] = ["chat.example.com", "api.example.com"];
const USUAL: Behaviour = Behaviour { error_rate: 0.0, latency_ms_min: 1, latency_ms_max: 5 };

#[tokio::test]
async fn the_rules_keep_weights_tags_and_healthy_targets() {
    let moto = moto().await;
    let config = sdk_config(&moto.endpoint());
    let world = AlbWorld::create(&config, spec()).await.unwrap();
    assert_eq!(world.listener, "k8s-lab:80");
    assert_eq!(weights(&world).await, [(100, 0), (100, 0)]);
    world.overwrite_weights("api.example.com", 30, 70).await.unwrap();
    assert_eq!(weights(&world).await, [(100, 0), (30, 70)]);

    let balancing = aws_sdk_elasticloadbalancingv2::Client::new(&config);
    for (cluster, targets) in [(&world.old, 3), (&world.new, 2)] {
        let arn = cluster.target_group_arn();
        let tags = balancing.describe_tags().resource_arns(arn).send().await.unwrap();
        let tags = tags.tag_descriptions().iter().flat_map(TagDescription::tags);
        let tags: Vec<_> = tags.map(|tag| (tag.key().unwrap(), tag.value().unwrap())).collect();
        assert_eq!(tags, [("elbv2.k8s.aws/cluster", cluster.name.as_str())]);
        let health = balancing.describe_target_health().target_group_arn(arn).send().await.unwrap();
        let states = health.target_health_descriptions().iter();
        let states = states.map(|target| target.target_health().unwrap().state().unwrap().as_str());
        assert_eq!(states.collect::<Vec<_>>(), vec!["healthy"; targets]);
        let groups =
            balancing.describe_target_groups().target_group_arns(arn).send().await.unwrap();
        let owners = groups.target_groups().iter().flat_map(TargetGroup::load_balancer_arns);
        assert_eq!(owners.count(), 1, "named once, however many rules forward there");
    }
    moto.stop().await.unwrap();
}

#[tokio::test]
async fn it_stops_and_says_that_its_port_is_in_use() {
    let moto = moto().await;
    let address = moto.endpoint().replace("http://", "");
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    let options =
        EmulatorOptions { program: Program::Moto, port: Some(port), ..Default::default() };
    let error = Emulator::start(&venv().await, options).await.unwrap_err().to_string();
    assert!(error.contains("is in use"), "{error}");
    moto.stop().await.unwrap();
    assert!(TcpStream::connect(&address).is_err(), "somebody still listens on {address}");
}

#[tokio::test]
async fn each_request_is_split_by_the_live_weights_and_counted_for_its_target_group() {
    let emulator = Emulator::start(&venv().await, EmulatorOptions::default()).await.unwrap();
    let moto = moto().await;
    let config = sdk_config(&emulator.endpoint());
    let world = AlbWorld::create(&sdk_config(&moto.endpoint()), spec()).await.unwrap();
    let old = Arc::new(Origin::start(USUAL, 1).await.unwrap());
    let new = Arc::new(Origin::start(Behaviour { error_rate: 1.0, ..USUAL }, 2).await.unwrap());
    let meters = Meters::default();
    let sides = [(&world.old, &old), (&world.new, &new)];
    let targets = sides.map(|(side, origin)| (side.target_group_arn().to_owned(), origin.address));
    let balancer = Arc::new(Balancer::start(world.rules.clone(), targets, 3).await.unwrap());
    for (side, origin) in sides {
        meters.insert(side, origin);
    }
    meters.insert_balancer(&world.old.load_balancer, &balancer);
    let mut tasks = JoinSet::new();
    tasks.spawn(metrics::publish(config.clone(), meters));
    tasks.spawn(Arc::clone(&balancer).follow());
    let traffic = Traffic { seed: 1, edges: 4, requests_per_s: 100.0, caching: Caching::Ttl };
    edges::spawn(&mut tasks, &Lookup::Here(balancer.address), world.routes(), &traffic);

    let started = Timestamp::now().as_second();
    let served = async |sides: [bool; 2]| {
        until(&format!("requests of the sides {sides:?} alone"), async || {
            let second = Timestamp::now().as_second() - 1;
            let counted = [&old, &new].map(|origin| origin.second(second).requests);
            counted.iter().sum::<u64>() > 50 && counted.map(|requests| requests > 0) == sides
        })
        .await;
    };
    served([true, false]).await;
    world.overwrite_weights("chat.example.com", 0, 100).await.unwrap();
    served([true, true]).await;
    world.overwrite_weights("api.example.com", 0, 100).await.unwrap();
    served([false, true]).await;
    let published = Timestamp::now().as_second();
    until("CloudWatch has what the origins counted", async || {
        let told = async |metric: &str, group: Option<&str>| {
            let dimensions = (world.old.load_balancer.as_str(), group);
            sum(&config, metric, dimensions, started..published).await
        };
        let count = |origin: &Origin| -> u64 {
            (started..published).map(|second| origin.second(second).requests).sum()
        };
        let (of_old, of_new) = (Some(&*world.old.target_group), Some(&*world.new.target_group));
        told("RequestCount", of_old).await == count(&old)
            && told("RequestCount", of_new).await == count(&new)
            && told("RequestCount", None).await == count(&old) + count(&new)
            && told("HTTPCode_Target_5XX_Count", of_new).await == count(&new)
            && told("HTTPCode_Target_5XX_Count", of_old).await == 0
            && told("HTTPCode_ELB_5XX_Count", None).await == 0
    })
    .await;

    drop(new);
    assert!(tasks.try_join_next().is_none(), "nothing broke");
    emulator.stop().await.unwrap();
    moto.stop().await.unwrap();
}

#[tokio::test]
async fn a_target_that_takes_no_connection_is_the_load_balancers_own_error() {
    let moto = moto().await;
    let world = AlbWorld::create(&sdk_config(&moto.endpoint()), spec()).await.unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let group = world.old.target_group_arn().to_owned();
    let balancer =
        Balancer::start(world.rules.clone(), [(group.clone(), nobody)], 3).await.unwrap();
    let mut tasks = JoinSet::new();
    let traffic = Traffic { seed: 1, edges: 1, requests_per_s: 50.0, caching: Caching::Ttl };
    edges::spawn(&mut tasks, &Lookup::Here(balancer.address), world.routes(), &traffic);
    until("its errors are counted", async || {
        let own = balancer.second(Timestamp::now().as_second() - 1);
        own.answers_5xx > 20 && own.connection_errors.get(&group) == Some(&own.answers_5xx)
    })
    .await;
    assert!(tasks.try_join_next().is_none(), "users get an answer");
    moto.stop().await.unwrap();
}

async fn weights(world: &AlbWorld) -> Vec<(i64, i64)> {
    let live = world.live_weights().await.unwrap();
    live.iter().map(|route| (route.old.unwrap(), route.new.unwrap())).collect()
}

/// The sum of a metric of a load balancer, or of a target group in it.
async fn sum(
    config: &SdkConfig,
    metric: &str,
    (load_balancer, group): (&str, Option<&str>),
    seconds: std::ops::Range<i64>,
) -> u64 {
    let dimension = |name, value| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace("AWS/ApplicationELB")
        .metric_name(metric)
        .dimensions(dimension("LoadBalancer", load_balancer));
    let metric = match group {
        Some(group) => metric.dimensions(dimension("TargetGroup", group)),
        None => metric,
    };
    let stat = MetricStat::builder().metric(metric.build()).period(1).stat("Sum").build();
    let query = MetricDataQuery::builder().id("q").metric_stat(stat).build();
    let data = aws_sdk_cloudwatch::Client::new(config)
        .get_metric_data()
        .start_time(DateTime::from_secs(seconds.start))
        .end_time(DateTime::from_secs(seconds.end))
        .metric_data_queries(query)
        .send()
        .await
        .unwrap();
    let sum: f64 = data.metric_data_results().iter().flat_map(MetricDataResult::values).sum();
    format!("{:.0}", sum.abs()).parse().unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn venv() -> Venv {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    Venv::ready(&target).await.unwrap()
}

async fn moto() -> Emulator {
    let options = EmulatorOptions { program: Program::Moto, ..EmulatorOptions::default() };
    Emulator::start(&venv().await, options).await.unwrap()
}

fn spec() -> AlbSpec {
    let cluster =
        |name: &str, targets, weight| ClusterSpec { name: name.to_owned(), targets, weight };
    AlbSpec {
        name: "k8s-lab".to_owned(),
        routes: ROUTES.map(ToOwned::to_owned).to_vec(),
        old: cluster("blue", 3, 100),
        new: cluster("green", 2, 0),
    }
}
