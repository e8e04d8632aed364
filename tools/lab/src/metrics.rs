//! What load balancers tell CloudWatch about themselves, published as AWS does: nothing when no
//! request flowed, no error count when there was no error.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::builders::MetricDatumBuilder;
use aws_sdk_cloudwatch::types::{
    ComparisonOperator, Dimension, MetricDatum, StandardUnit, Statistic,
};
use jiff::Timestamp;

use crate::balancer::{Balancer, OwnAnswers};
use crate::error::LabError;
use crate::origin::{Origin, Second};
use crate::world::Cluster;

/// CloudWatch's namespace of load balancers.
const NAMESPACE: &str = "AWS/ApplicationELB";

/// How long after a second its counts are taken: an answer given at its very end may still be on
/// its way into them.
const COUNTED_AFTER_MS: i64 = 100;

/// Data that one call may carry.
/// Source: Amazon CloudWatch API reference, `PutMetricData`.
const DATA_MAX: usize = 1000;

/// Distinct values that one datum may carry.
/// Source: Amazon CloudWatch API reference, `MetricDatum`.
const VALUES_MAX: usize = 150;

/// Makes an alarm on a metric of a shop, which the functions may be asked to watch.
///
/// # Errors
/// `Aws` when the call fails.
pub async fn create_alarm(config: &SdkConfig, name: &str) -> Result<(), LabError> {
    let put = Client::new(config).put_metric_alarm();
    let put = put
        .alarm_name(name)
        .namespace("Shop")
        .metric_name("FailedCheckouts")
        .statistic(Statistic::Sum)
        .period(60)
        .evaluation_periods(1)
        .threshold(1.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold);
    put.send().await.map(drop).map_err(|error| LabError::aws("create the alarm", error))
}

/// What publishes.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<Published>>);

#[derive(Debug, Default)]
struct Published {
    clusters: Vec<Meter>,
    /// Load balancers that answer by themselves where they cannot forward, with the `LoadBalancer` dimension.
    balancers: Vec<(String, Arc<Balancer>)>,
}

/// A cluster's target group, and the origin that it stands for.
#[derive(Debug)]
struct Meter {
    cluster: Cluster,
    origin: Arc<Origin>,
}

impl Meters {
    /// Lets the target group of a cluster, or of a part of it, publish from now on; one that does already is replaced,
    /// so that its number of targets can change.
    pub fn insert(&self, cluster: &Cluster, origin: &Arc<Origin>) {
        let mut published = self.published();
        published.clusters.retain(|known| known.cluster.target_group != cluster.target_group);
        published.clusters.push(Meter { cluster: cluster.clone(), origin: Arc::clone(origin) });
    }

    /// Lets a load balancer publish what it answers itself.
    pub fn insert_balancer(&self, load_balancer: &str, balancer: &Arc<Balancer>) {
        self.published().balancers.push((load_balancer.to_owned(), Arc::clone(balancer)));
    }

    fn data(&self, unix_s: i64) -> Vec<MetricDatum> {
        let published = self.published();
        let of_targets = |meter: &Meter| data(&meter.cluster, &meter.origin.second(unix_s), unix_s);
        let mut data: Vec<_> = published.clusters.iter().flat_map(of_targets).collect();
        for (load_balancer, balancer) in &published.balancers {
            data.extend(own_answers(load_balancer, &balancer.second(unix_s), unix_s));
        }
        data
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes every second until it fails.
///
/// # Errors
/// `Aws` when CloudWatch refuses the data.
pub async fn publish(config: SdkConfig, meters: Meters) -> Result<Infallible, LabError> {
    let cloudwatch = Client::new(&config);
    let mut next_s = Timestamp::now().as_second();
    loop {
        // Catches up when a call took longer than a second: no period is left out.
        tokio::time::sleep(left_until_counted(next_s)).await;
        put(&cloudwatch, &meters.data(next_s)).await?;
        next_s += 1;
    }
}

/// Publishes what a cluster counted in the past: in each of these Unix seconds as many requests, of which this
/// share failed, 0 to 1.
///
/// # Errors
/// `Aws` when CloudWatch refuses the data.
pub(crate) async fn publish_past(
    config: &SdkConfig,
    cluster: &Cluster,
    seconds: Range<i64>,
    (requests, error_rate): (u64, f64),
    seed: u64,
) -> Result<(), LabError> {
    let mut random = fastrand::Rng::with_seed(seed);
    let second = |unix_s| {
        let errors = (0..requests).map(|_| u64::from(random.f64() < error_rate)).sum();
        let latencies_ms = BTreeMap::from([(10, requests)]);
        data(cluster, &Second { requests, errors, latencies_ms }, unix_s)
    };
    put(&Client::new(config), &seconds.flat_map(second).collect::<Vec<_>>()).await
}

async fn put(cloudwatch: &Client, data: &[MetricDatum]) -> Result<(), LabError> {
    for part in data.chunks(DATA_MAX) {
        let put = cloudwatch.put_metric_data().namespace(NAMESPACE);
        let put = put.set_metric_data(Some(part.to_vec())).send().await;
        put.map_err(|error| LabError::aws("publish the load balancers' metrics", error))?;
    }
    Ok(())
}

/// How long it takes until the second that began at this Unix time is over and counted.
pub(crate) fn left_until_counted(unix_s: i64) -> Duration {
    let over_ms = (unix_s + 1) * 1000 + COUNTED_AFTER_MS;
    let left_ms = over_ms - Timestamp::now().as_millisecond();
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

/// One second of one cluster's targets. All but the number of hosts is told of the load balancer and, once more, of
/// the target group in it.
fn data(cluster: &Cluster, second: &Second, unix_s: i64) -> Vec<MetricDatum> {
    let of_balancer = [dimension("LoadBalancer", &cluster.load_balancer)];
    let of_group = [&of_balancer[..], &[dimension("TargetGroup", &cluster.target_group)]].concat();
    let mut data = vec![count("HealthyHostCount", u64::from(cluster.targets), &of_group, unix_s)];
    for dimensions in [&of_balancer[..], &of_group] {
        if second.requests > 0 {
            data.push(count("RequestCount", second.requests, dimensions, unix_s));
            data.push(times(second, dimensions, unix_s));
        }
        if second.errors > 0 {
            data.push(count("HTTPCode_Target_5XX_Count", second.errors, dimensions, unix_s));
        }
    }
    data
}

/// What a load balancer answered itself in one second.
fn own_answers(load_balancer: &str, own: &OwnAnswers, unix_s: i64) -> Vec<MetricDatum> {
    let of_balancer = [dimension("LoadBalancer", load_balancer)];
    let mut data = Vec::new();
    // Whether AWS counts a fixed 404 among the 4xx of the load balancer as well is not confirmed.
    for (name, answers) in
        [("HTTP_Fixed_Response_Count", own.not_found), ("HTTPCode_ELB_5XX_Count", own.answers_5xx)]
    {
        if answers > 0 {
            data.push(count(name, answers, &of_balancer, unix_s));
        }
    }
    for (group_arn, errors) in &own.connection_errors {
        let group = group_arn.rsplit(':').next().unwrap_or_default();
        let of_group = [&of_balancer[..], &[dimension("TargetGroup", group)]].concat();
        for dimensions in [&of_balancer[..], &of_group] {
            data.push(count("TargetConnectionErrorCount", *errors, dimensions, unix_s));
        }
    }
    data
}

fn count(name: &str, value: u64, dimensions: &[Dimension], unix_s: i64) -> MetricDatum {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    datum(name, StandardUnit::Count, dimensions, unix_s).value(f64::from(value)).build()
}

/// How long a second's answers took.
fn times(second: &Second, dimensions: &[Dimension], unix_s: i64) -> MetricDatum {
    let as_f64 = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    // More distinct latencies than fit are the slowest few: left out.
    let taken = second.latencies_ms.iter().take(VALUES_MAX);
    let time = datum("TargetResponseTime", StandardUnit::Seconds, dimensions, unix_s);
    taken
        .fold(time, |time, (latency_ms, times)| {
            time.values(as_f64(*latency_ms) / 1000.0).counts(as_f64(*times))
        })
        .build()
}

fn datum(
    name: &str,
    unit: StandardUnit,
    dimensions: &[Dimension],
    unix_s: i64,
) -> MetricDatumBuilder {
    MetricDatum::builder()
        .metric_name(name)
        .unit(unit)
        .timestamp(DateTime::from_secs(unix_s))
        .storage_resolution(1)
        .set_dimensions(Some(dimensions.to_vec()))
}

fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_and_values(second: &Second) -> BTreeMap<String, f64> {
        let cluster = Cluster::for_test("blue", 3);
        data(&cluster, second, 1_000)
            .into_iter()
            .map(|datum| {
                assert_eq!(datum.timestamp, Some(DateTime::from_secs(1_000)));
                assert_eq!(datum.storage_resolution, Some(1));
                let value = datum.value.or_else(|| datum.values().first().copied());
                (datum.metric_name.unwrap(), value.unwrap())
            })
            .collect()
    }

    #[test]
    fn a_second_without_requests_tells_of_hosts_alone() {
        let told = names_and_values(&Second::default());
        assert_eq!(told, BTreeMap::from([("HealthyHostCount".to_owned(), 3.0)]));
    }

    #[test]
    fn errors_are_told_only_when_there_are_some() {
        let mut second =
            Second { requests: 20, errors: 0, latencies_ms: BTreeMap::from([(8, 20)]) };
        let told = names_and_values(&second);
        assert_eq!(
            told.keys().collect::<Vec<_>>(),
            ["HealthyHostCount", "RequestCount", "TargetResponseTime"]
        );
        assert!((told["TargetResponseTime"] - 0.008).abs() < 1e-12, "in seconds");
        second.errors = 2;
        assert!((names_and_values(&second)["HTTPCode_Target_5XX_Count"] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn hosts_are_told_of_the_target_group_and_all_else_of_the_load_balancer_too() {
        let second = Second { requests: 1, errors: 1, latencies_ms: BTreeMap::from([(1, 1)]) };
        let mut told: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for datum in data(&Cluster::for_test("blue", 3), &second, 0) {
            let names: Vec<_> = datum.dimensions().iter().filter_map(Dimension::name).collect();
            assert_eq!(names, ["LoadBalancer", "TargetGroup"][..names.len()]);
            let metric = datum.metric_name().unwrap().to_owned();
            told.entry(metric).or_default().push(names.len());
        }
        let expected = [
            ("HTTPCode_Target_5XX_Count", vec![1, 2]),
            ("HealthyHostCount", vec![2]),
            ("RequestCount", vec![1, 2]),
            ("TargetResponseTime", vec![1, 2]),
        ];
        assert_eq!(told, expected.map(|(name, lengths)| (name.to_owned(), lengths)).into());
    }

    #[test]
    fn what_a_load_balancer_answers_itself_is_told_of_it_alone_but_for_lost_connections() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/k8s-green/2";
        let own = OwnAnswers {
            not_found: 5,
            answers_5xx: 3,
            connection_errors: BTreeMap::from([(arn.to_owned(), 2)]),
        };
        let told: Vec<_> = own_answers("app/lab/1", &own, 0)
            .into_iter()
            .map(|datum| {
                let dimensions = datum.dimensions.unwrap();
                let last = dimensions.last().and_then(Dimension::value).unwrap().to_owned();
                (datum.metric_name.unwrap(), last, datum.value.unwrap())
            })
            .collect();
        let expected = [
            ("HTTP_Fixed_Response_Count", "app/lab/1", 5.0),
            ("HTTPCode_ELB_5XX_Count", "app/lab/1", 3.0),
            ("TargetConnectionErrorCount", "app/lab/1", 2.0),
            ("TargetConnectionErrorCount", "targetgroup/k8s-green/2", 2.0),
        ];
        assert_eq!(told, expected.map(|(name, of, value)| (name.to_owned(), of.to_owned(), value)));
        assert_eq!(own_answers("app/lab/1", &OwnAnswers::default(), 0), []);
    }
}
