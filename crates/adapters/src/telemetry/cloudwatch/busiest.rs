//! The hour in which most came: a new side that suffices at night must suffice at noon as well.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::{Backend, Busiest, Failure, Window};
use jiff::Timestamp;

use super::{
    CloudWatch, Name, Points, Query, Told, counted_as, is_network, load_balancer_and_groups,
    newest_periods,
};

const HOUR_S: u32 = 3_600;
/// A day, and the hour that has begun.
const HOURS: u32 = 25;

impl CloudWatch {
    /// The busiest hour of the last day of each of these, by its meter: the requests that it counted, and how many hosts
    /// were healthy then. Of a network load balancer, which counts none, the one with most hosts. One of which nothing was
    /// counted is absent.
    ///
    /// # Errors
    /// As [`series`](crate::Telemetry::series).
    pub async fn busiest_hours(
        &self,
        backends: &[&Backend],
        now: Timestamp,
    ) -> Result<BTreeMap<String, Busiest>, Failure> {
        let window = newest_periods(now, HOUR_S, HOURS);
        let mut points = BTreeMap::new();
        let queries: BTreeSet<Query<'_>> = backends.iter().flat_map(|of| queries(of)).collect();
        self.ask_all(queries, window, &mut points).await?;
        let of = |of: &&Backend| Some((of.meter.clone(), busiest(of, window, &points)?));
        Ok(backends.iter().filter_map(of).collect())
    }
}

fn queries(of: &Backend) -> impl Iterator<Item = Query<'_>> {
    let (load_balancer, groups) = load_balancer_and_groups(&of.meter);
    let counted = counted_as(&groups).into_iter().filter(|_| !is_network(load_balancer));
    let requests = counted.map(move |group| Query { load_balancer, group, metric: Name::Requests });
    let hosts = of.groups.iter().map(move |group| Query {
        load_balancer,
        group: Some(&group.id),
        metric: Name::HealthyHosts,
    });
    requests.chain(hosts)
}

fn busiest<'a>(
    of: &'a Backend,
    window: Window,
    points: &BTreeMap<Query<'a>, Points>,
) -> Option<Busiest> {
    let (load_balancer, groups) = load_balancer_and_groups(&of.meter);
    let told = Told { points, load_balancer };
    let counted = counted_as(&groups);
    let hosts_in = |hour: usize| {
        let mut then = of.clone();
        for (group, of) in then.groups.iter_mut().zip(&of.groups) {
            let healthy = told.at(Some(&of.id), Name::HealthyHosts, hour);
            group.healthy = u32::try_from(healthy.unwrap_or(0)).unwrap_or(u32::MAX);
        }
        then.distinct()
    };
    let hours = (0..window.periods).filter_map(|index| {
        let hour = usize::try_from(index).ok()?;
        let requests = told.sum(&counted, Name::Requests, hour);
        let hosts = hosts_in(hour);
        let is_counted = requests.is_some() || (is_network(load_balancer) && hosts > 0);
        is_counted.then_some((requests, hosts, index))
    });
    let (requests, hosts, index) = hours.max()?;
    Some(Busiest { at: window.start_of(index), requests, hosts })
}
