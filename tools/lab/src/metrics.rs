//! What load balancers tell CloudWatch about themselves, published as AWS does: nothing when no
//! request flowed, no error count when there was no error.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use jiff::Timestamp;

use crate::error::LabError;
use crate::origin::{Origin, Second};
use crate::world::Cluster;

/// CloudWatch's namespace of load balancers.
const NAMESPACE: &str = "AWS/ApplicationELB";

/// How long after a second its counts are taken: an answer given at its very end may still be on
/// its way into them.
const COUNTED_AFTER_MS: i64 = 100;

/// Distinct values that one datum may carry.
/// Source: Amazon CloudWatch API reference, `MetricDatum`.
const VALUES_MAX: usize = 150;

/// The load balancers that publish.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<Vec<Meter>>>);

/// A load balancer and the origin that it stands for.
#[derive(Debug)]
struct Meter {
    cluster: Cluster,
    origin: Arc<Origin>,
}

impl Meters {
    /// Lets a load balancer publish from now on; one that does already is replaced, so that
    /// its number of targets can change.
    pub fn insert(&self, cluster: &Cluster, origin: &Arc<Origin>) {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|known| known.cluster.name != cluster.name);
        meters.push(Meter { cluster: cluster.clone(), origin: Arc::clone(origin) });
    }

    fn data(&self, unix_s: i64) -> Vec<MetricDatum> {
        let meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |meter: &Meter| data(&meter.cluster, &meter.origin.second(unix_s), unix_s);
        meters.iter().flat_map(of).collect()
    }
}

/// Publishes every second until it fails.
///
/// # Errors
/// `Aws` when CloudWatch refuses the data.
pub async fn publish(config: SdkConfig, meters: Meters) -> Result<Infallible, LabError> {
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    let mut next_s = Timestamp::now().as_second();
    loop {
        // Catches up when a call took longer than a second: no period is left out.
        tokio::time::sleep(left_until_counted(next_s)).await;
        let data = meters.data(next_s);
        if !data.is_empty() {
            cloudwatch
                .put_metric_data()
                .namespace(NAMESPACE)
                .set_metric_data(Some(data))
                .send()
                .await
                .map_err(|error| LabError::aws("publish the load balancers' metrics", error))?;
        }
        next_s += 1;
    }
}

/// How long it takes until the second that began at this Unix time is over and counted.
pub(crate) fn left_until_counted(unix_s: i64) -> Duration {
    let over_ms = (unix_s + 1) * 1000 + COUNTED_AFTER_MS;
    let left_ms = over_ms - Timestamp::now().as_millisecond();
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

/// One second of one load balancer.
fn data(cluster: &Cluster, second: &Second, unix_s: i64) -> Vec<MetricDatum> {
    let datum = |name: &str, unit: StandardUnit| {
        MetricDatum::builder()
            .metric_name(name)
            .unit(unit)
            .timestamp(DateTime::from_secs(unix_s))
            .storage_resolution(1)
            .dimensions(dimension("LoadBalancer", &cluster.load_balancer))
    };
    let count = |name: &str, value: u64| {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        datum(name, StandardUnit::Count).value(f64::from(value))
    };
    let mut data = vec![
        count("HealthyHostCount", u64::from(cluster.targets))
            .dimensions(dimension("TargetGroup", &cluster.target_group))
            .build(),
    ];
    if second.requests > 0 {
        data.push(count("RequestCount", second.requests).build());
        let mut time = datum("TargetResponseTime", StandardUnit::Seconds);
        // More distinct latencies than fit are the slowest few: left out.
        for (latency_ms, times) in second.latencies_ms.iter().take(VALUES_MAX) {
            let as_f64 = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            time = time.values(as_f64(*latency_ms) / 1000.0).counts(as_f64(*times));
        }
        data.push(time.build());
    }
    if second.errors > 0 {
        data.push(count("HTTPCode_Target_5XX_Count", second.errors).build());
    }
    data
}

fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
    fn hosts_are_told_of_the_target_group_and_requests_of_the_load_balancer_alone() {
        let second = Second { requests: 1, errors: 1, latencies_ms: BTreeMap::from([(1, 1)]) };
        for datum in data(&Cluster::for_test("blue", 3), &second, 0) {
            let names: Vec<_> = datum.dimensions().iter().filter_map(Dimension::name).collect();
            match datum.metric_name() {
                Some("HealthyHostCount") => assert_eq!(names, ["LoadBalancer", "TargetGroup"]),
                _ => assert_eq!(names, ["LoadBalancer"]),
            }
        }
    }
}
