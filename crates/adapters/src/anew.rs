//! What was made anew during a cutover: aws-load-balancer-controller may replace a load balancer or a target group, which
//! then has the same name and another id, and is counted under that one.

use std::collections::BTreeSet;

use cutover_core::{Cutover, Failure, MadeAnew, Meter, Observed};

use crate::capacity::{Balancer, Listed, Targets, stem};
use crate::telemetry::cloudwatch::{load_balancer_and_groups, meter_made_anew, meter_of_groups};

/// The cutover with the meters of what was made anew, and a sentence that says so, where there is something to say.
/// Elastic Load Balancing is asked only about [`silent_meters`](Cutover::silent_meters). That it does not answer is no
/// reason to stop a cutover: its meters stay as they are.
pub async fn follow(
    targets: impl FnOnce() -> Targets,
    cutover: Cutover,
    observed: &Observed,
) -> (Cutover, Option<String>) {
    let silent = cutover.silent_meters(observed);
    if silent.is_empty() {
        return (cutover, None);
    }
    match targets().made_anew(&silent).await {
        Ok(anew) => cutover.follow(&anew),
        Err(failure) => {
            let reason = failure.to_string();
            tracing::warn!(reason, "not known whether silent meters were made anew");
            (cutover, None)
        }
    }
}

impl Targets {
    /// Meters whose load balancer or target groups were replaced by others of the same name; all groups must be back. A
    /// meter of all that passes through a load balancer has whatever groups are behind it.
    ///
    /// # Errors
    /// As [`Capacity::behind`](crate::Capacity::behind).
    pub async fn made_anew(&self, meters: &[&Meter]) -> Result<Vec<MadeAnew>, Failure> {
        let ids = meters.iter().map(|of| load_balancer_and_groups(&of.id).0);
        let balancers = self.of_these_names(&ids.collect()).await?;
        let groups = self.list(&balancers).await?;
        Ok(meters.iter().filter_map(|of| made_anew(of, &balancers, &groups)).collect())
    }
}

/// What has the names of a meter's load balancer and groups now; `None` where it is what the meter counts.
fn made_anew(of: &Meter, balancers: &[Balancer], groups: &[Listed]) -> Option<MadeAnew> {
    let (balancer, counted) = load_balancer_and_groups(&of.id);
    let now = balancers.iter().find(|now| stem(&now.id) == stem(balancer))?;
    let behind = || groups.iter().filter(|group| group.owner == now.arn).map(|group| &*group.id);
    let of_name = |former: &&str| behind().find(|group| stem(group) == stem(former));
    let same: BTreeSet<&str> = counted.iter().map(of_name).collect::<Option<_>>()?;
    let hosts: BTreeSet<&str> = if same.is_empty() { behind().collect() } else { same.clone() };
    let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
    let id = meter_of_groups(&now.id, same);
    let id = if id == meter_of_groups(balancer, counted.into_iter().collect::<BTreeSet<_>>()) {
        let watched: BTreeSet<&String> = of.hosts.iter().collect();
        if watched.is_empty() || hosts.is_empty() || watched == hosts.iter().collect() {
            return None;
        }
        of.id.clone()
    } else {
        meter_made_anew(&id, &of.id)
    };
    let called = if now.id == balancer {
        format!("target groups behind load balancer {balancer}: {}", hosts.join(", "))
    } else {
        format!("load balancer: {}", now.id)
    };
    Some(MadeAnew { meter: of.id.clone(), id, hosts, called })
}
