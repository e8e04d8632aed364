//! The world for real: records as external-dns writes them, traffic that follows the weights, and
//! metrics that tell of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test helper cannot do fails the test"
)]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_route53::types::RrType;
use jiff::Timestamp;
use lab::aws::sdk_config;
use lab::balancer::Balancer;
use lab::edges::{self, Caching, Dns, Hosts, Lookup, Traffic};
use lab::emulator::{Emulator, EmulatorOptions};
use lab::metrics::{self, Meters};
use lab::origin::{Behaviour, Fault, Origin};
use lab::python::Venv;
use lab::world::{Cluster, ClusterSpec, Groups, RecordKind, World, WorldSpec, Zone};
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(30);
const ERRORS: &str = "HTTPCode_Target_5XX_Count";
const USUAL: Behaviour = Behaviour { error_rate: 0.0, latency_ms_min: 1, latency_ms_max: 5 };

#[tokio::test]
async fn aliases_are_written_for_both_address_families_with_their_owner() {
    let (emulator, config) = emulator().await;
    let zone = Zone::create(&config, "example.com").await.unwrap();
    let spec = spec(&["chat.example.com"], RecordKind::AliasAAndAaaa);
    let mut world = World::create_old(&config, &zone, spec).await.unwrap();
    let live = world.live_weights().await.unwrap();
    assert_eq!((live[0].old, live[0].new), (Some(100), None), "the new side comes later");
    world.create_new().await.unwrap();
    world.register_new_targets().await.unwrap();

    let route53 = aws_sdk_route53::Client::new(&config);
    let listed = route53.list_resource_record_sets().hosted_zone_id(&zone.id).send().await.unwrap();
    let of = |name: &str, kind: &RrType| {
        let sets = listed.resource_record_sets().iter();
        sets.filter(|set| set.name == name && &set.r#type == kind).collect::<Vec<_>>()
    };
    for (kind, owner) in
        [(RrType::A, "a-chat.example.com."), (RrType::Aaaa, "aaaa-chat.example.com.")]
    {
        let records = of("chat.example.com.", &kind);
        assert_eq!(records.iter().map(|set| set.weight.unwrap()).collect::<Vec<_>>(), [100, 0]);
        assert_eq!(records[1].set_identifier(), Some("green"));
        let alias = records[1].alias_target().unwrap();
        assert_eq!(alias.dns_name.trim_end_matches('.'), world.new.as_ref().unwrap().dns_name);
        let owners = of(owner, &RrType::Txt);
        assert_eq!(owners.len(), 2);
        assert!(owners[0].resource_records()[0].value.contains("heritage=external-dns"));
    }
    emulator.stop().await.unwrap();
}

#[tokio::test]
async fn more_routes_than_fit_into_one_batch_are_created_and_read_back() {
    let (emulator, config) = emulator().await;
    let zone = Zone::create(&config, "example.com").await.unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("r{n}.example.com")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let spec = spec(&names, RecordKind::Cname { ttl_s: 2 });
    let world = World::create(&config, &zone, spec).await.unwrap();
    let live = world.live_weights().await.unwrap();
    assert_eq!(live.len(), 300);
    assert!(live.iter().all(|route| (route.old, route.new) == (Some(100), Some(0))));
    emulator.stop().await.unwrap();
}

#[tokio::test]
async fn traffic_follows_the_weights_once_the_ttl_is_over_and_cloudwatch_tells_of_it() {
    let (emulator, config) = emulator().await;
    let zone = Zone::create(&config, "example.com").await.unwrap();
    let route = "chat.example.com";
    let spec = spec(&[route], RecordKind::Cname { ttl_s: 1 });
    let world = World::create(&config, &zone, spec).await.unwrap();
    let old = Arc::new(Origin::start(USUAL, 1).await.unwrap());
    let new = Arc::new(Origin::start(Behaviour { error_rate: 1.0, ..USUAL }, 2).await.unwrap());
    let (hosts, meters) = (Hosts::default(), Meters::default());
    for (cluster, origin) in [(&world.old, &old), (world.new.as_ref().unwrap(), &new)] {
        hosts.insert(&cluster.dns_name, origin.address);
        meters.insert(cluster, origin);
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(metrics::publish(config.clone(), meters));
    let traffic = Traffic { seed: 1, edges: 4, requests_per_s: 100.0, caching: Caching::Ttl };
    let lookup = Lookup::Dns(Dns::new(&config, &zone.id, &hosts));
    edges::spawn(&mut tasks, &lookup, world.routes(), &traffic);

    let started = Timestamp::now().as_second();
    until("the old side serves everything", async || {
        let second = Timestamp::now().as_second() - 1;
        old.second(second).requests > 50 && new.second(second).requests == 0
    })
    .await;
    world.overwrite_weights(route, 0, 100).await.unwrap();
    until("the new side serves everything", async || {
        let second = Timestamp::now().as_second() - 1;
        old.second(second).requests == 0 && new.second(second).requests > 50
    })
    .await;

    let published = Timestamp::now().as_second();
    let new_cluster = world.new.as_ref().unwrap();
    until("CloudWatch has what the origins counted", async || {
        let requests = sum(&config, new_cluster, "RequestCount", started, published).await;
        let errors = sum(&config, new_cluster, ERRORS, started, published).await;
        let served: u64 = (started..published).map(|second| new.second(second).requests).sum();
        requests == served && errors == served
    })
    .await;
    let old_errors = sum(&config, &world.old, ERRORS, started, published).await;
    assert_eq!(old_errors, 0, "a side without errors has no series");
    assert!(tasks.try_join_next().is_none(), "nothing broke");
    emulator.stop().await.unwrap();
}

#[tokio::test]
async fn what_both_clusters_need_fails_both_in_the_same_seconds_alone() {
    let (emulator, config) = emulator().await;
    let zone = Zone::create(&config, "example.com").await.unwrap();
    let route = "chat.example.com";
    let spec = spec(&[route], RecordKind::Cname { ttl_s: 1 });
    let world = World::create(&config, &zone, spec).await.unwrap();
    world.overwrite_weights(route, 50, 50).await.unwrap();
    let old = Arc::new(Origin::start(USUAL, 1).await.unwrap());
    let new = Arc::new(Origin::start(USUAL, 2).await.unwrap());
    let hosts = Hosts::default();
    hosts.insert(&world.old.dns_name, old.address);
    hosts.insert(&world.new.as_ref().unwrap().dns_name, new.address);
    let mut tasks = JoinSet::new();
    let traffic = Traffic { seed: 1, edges: 8, requests_per_s: 200.0, caching: Caching::Ttl };
    let lookup = Lookup::Dns(Dns::new(&config, &zone.id, &hosts));
    edges::spawn(&mut tasks, &lookup, world.routes(), &traffic);
    let both = |second: i64| [old.second(second), new.second(second)];
    until("both sides serve", async || {
        both(Timestamp::now().as_second() - 1).iter().all(|counted| counted.requests > 0)
    })
    .await;

    let from_s = Timestamp::now().as_second() + 1;
    let until_s = from_s + 2;
    for origin in [&old, &new] {
        origin.set_fault(Fault { error_rate: 1.0, from_s, until_s });
    }
    until("the fault is over", async || Timestamp::now().as_second() > until_s + 2).await;
    for counted in both(from_s - 1).iter().chain(&both(until_s + 1)) {
        assert_eq!(counted.errors, 0, "before and after: {counted:?}");
    }
    // A request may begin in one second and be answered in the next.
    let meanwhile = both(from_s + 1);
    for counted in &meanwhile {
        assert_eq!(counted.errors, counted.requests, "meanwhile: {counted:?}");
    }
    assert!(meanwhile.iter().any(|counted| counted.requests > 0), "somebody asked");
    assert!(tasks.try_join_next().is_none(), "nothing broke");
    emulator.stop().await.unwrap();
}

#[tokio::test]
async fn behind_a_shared_load_balancer_each_host_name_has_its_own_group_until_its_rule_is_gone() {
    let (emulator, config) = emulator().await;
    let zone = Zone::create(&config, "example.com").await.unwrap();
    let hosts = ["chat.example.com", "api.example.com"];
    let spec = spec(&hosts, RecordKind::Cname { ttl_s: 1 });
    let spec = WorldSpec { groups: Groups::EachHost, ..spec };
    let world = World::create(&config, &zone, spec).await.unwrap();
    let parts = world.old.parts();
    let origins = [Origin::start(USUAL, 1).await.unwrap(), Origin::start(USUAL, 2).await.unwrap()];
    let origins = origins.map(Arc::new);
    let targets = parts.iter().zip(&origins);
    let targets =
        targets.map(|(part, origin)| (part.target_group_arn().to_owned(), origin.address));
    let rules = world.rules(&world.old).await.unwrap();
    let balancer = Arc::new(Balancer::start(rules.clone(), targets, 3).await.unwrap());
    let (names, meters) = (Hosts::default(), Meters::default());
    names.insert(&world.old.dns_name, balancer.address);
    for (part, origin) in parts.iter().zip(&origins) {
        assert_eq!((part.targets, &part.load_balancer), (3, &world.old.load_balancer));
        meters.insert(part, origin);
    }
    meters.insert_balancer(&world.old.load_balancer, &balancer);
    let mut tasks = JoinSet::new();
    tasks.spawn(metrics::publish(config.clone(), meters));
    tasks.spawn(Arc::clone(&balancer).follow());
    let traffic = Traffic { seed: 1, edges: 4, requests_per_s: 100.0, caching: Caching::Ttl };
    let lookup = Lookup::Dns(Dns::new(&config, &zone.id, &names));
    edges::spawn(&mut tasks, &lookup, world.routes(), &traffic);

    let started = Timestamp::now().as_second();
    let last = || Timestamp::now().as_second() - 1;
    until("both are served, each by its own group", async || {
        origins.iter().all(|origin| origin.second(last()).requests > 10)
    })
    .await;
    rules.rename("api.example.com", "apo.example.com").await.unwrap();
    until("one is answered 404", async || {
        origins[1].second(last()).requests == 0 && balancer.second(last()).not_found > 10
    })
    .await;
    assert!(origins[0].second(last()).requests > 10, "the other is served");
    let published = Timestamp::now().as_second();
    let served = |origin: &Origin| -> u64 {
        (started..published).map(|second| origin.second(second).requests).sum()
    };
    let answered: u64 = (started..published).map(|second| balancer.second(second).not_found).sum();
    until("CloudWatch has what was counted", async || {
        let of_part = async |part: &Cluster| {
            sum_of(&config, part, "RequestCount", true, started..published).await
        };
        let all = async |metric| sum(&config, &world.old, metric, started, published).await;
        of_part(&parts[0]).await == served(&origins[0])
            && of_part(&parts[1]).await == served(&origins[1])
            && all("RequestCount").await == served(&origins[0]) + served(&origins[1])
            && all("HTTP_Fixed_Response_Count").await == answered
    })
    .await;

    names.cut_off(&world.old.dns_name);
    until("nothing arrives, and nobody counts it", async || {
        let own = balancer.second(last()).not_found;
        own + origins.iter().map(|origin| origin.second(last()).requests).sum::<u64>() == 0
    })
    .await;
    assert!(tasks.try_join_next().is_none(), "nothing broke");
    emulator.stop().await.unwrap();
}

/// The sum of a load balancer's metric from one Unix second to another.
async fn sum(config: &SdkConfig, cluster: &Cluster, name: &str, from: i64, until: i64) -> u64 {
    sum_of(config, cluster, name, false, from..until).await
}

/// The same; with `group`, of its target group alone.
async fn sum_of(
    config: &SdkConfig,
    cluster: &Cluster,
    name: &str,
    group: bool,
    seconds: Range<i64>,
) -> u64 {
    let dimension = |name, value: &str| Dimension::builder().name(name).value(value).build();
    let of_group = group.then(|| dimension("TargetGroup", &cluster.target_group));
    let dimensions = [dimension("LoadBalancer", &cluster.load_balancer)];
    let metric = Metric::builder()
        .namespace("AWS/ApplicationELB")
        .metric_name(name)
        .set_dimensions(Some(dimensions.into_iter().chain(of_group).collect()))
        .build();
    let stat = MetricStat::builder().metric(metric).period(1).stat("Sum").build();
    let query = MetricDataQuery::builder().id("q").metric_stat(stat).build();
    let data = aws_sdk_cloudwatch::Client::new(config)
        .get_metric_data()
        .start_time(DateTime::from_secs(seconds.start))
        .end_time(DateTime::from_secs(seconds.end))
        .metric_data_queries(query)
        .send()
        .await
        .unwrap();
    let sum: f64 = data.metric_data_results()[0].values().iter().sum();
    format!("{:.0}", sum.abs()).parse().unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn emulator() -> (Emulator, SdkConfig) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let venv = Venv::ready(&target).await.unwrap();
    let emulator = Emulator::start(&venv, EmulatorOptions::default()).await.unwrap();
    let config = sdk_config(&emulator.endpoint());
    (emulator, config)
}

fn spec(routes: &[&str], records: RecordKind) -> WorldSpec {
    let cluster = |name: &str, weight| ClusterSpec { name: name.to_owned(), targets: 3, weight };
    WorldSpec {
        routes: routes.iter().map(|route| (*route).to_owned()).collect(),
        records,
        groups: Groups::One,
        old: cluster("blue", 100),
        new: cluster("green", 0),
    }
}
