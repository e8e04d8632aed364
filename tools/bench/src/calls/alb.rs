//! The calls of the router `alb`: one listener, each rule of which has two target groups of its own.

use std::path::Path;

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use cutover_core::Cutover;
use cutover_core::limits::{ALB_WRITES_AT_ONCE, ALB_WRITES_PER_S};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    ALARM, Bench, Expected, LOOKED_AT_MAX, METRICS, NEW, OLD, Row, TASKS, calls_of_check,
    calls_of_validation, datum,
};
use lab::alb::{AlbSpec, AlbWorld};
use lab::aws;
use lab::emulator::{Emulator, EmulatorOptions, LOAD_BALANCING_ENDPOINT, Program};
use lab::error::LabError;
use lab::python::Venv;
use lab::world::{Cluster, ClusterSpec};

/// Writes the weights of one rule.
pub(super) const WRITE: &str = "ModifyRule";
/// Reads the rules of one listener: a page has 400, and a listener of these cases has fewer.
pub(super) const READ: &str = "DescribeRules";
const TARGETS: &str = "DescribeTargetHealth";
const TAGS: &str = "DescribeTags";

/// Resources of one call. Source: Elastic Load Balancing API reference, `DescribeTags`.
const TAGGED_MAX: usize = 20;
/// Rules of the cutovers that are measured.
const CASES: [usize; 3] = [1, 50, 100];
/// Calls of a task beside those that the formulas count. A validation looks once for the defaults, other executions,
/// the load balancer, its listeners, the target groups and the alarms; a roll-back for the target groups; a check for
/// the alarms.
const OTHERS_OF_VALIDATION: u64 = 6;
const OTHERS_OF_ROLLBACK: u64 = 1;
const OTHERS_OF_CHECK: u64 = 1;

/// Reads that a shift makes: one to sort out, one before each group of writes, and one to read back.
fn reads_of_shift(rules: usize) -> u64 {
    let of = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
    let later = rules.saturating_sub(of(ALB_WRITES_AT_ONCE));
    number(3 + later.div_ceil(of(ALB_WRITES_PER_S)))
}

fn number(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// Runs every task of every case and counts; `say` hears what is going on.
pub(super) async fn measure(root: &Path, say: impl Fn(&str)) -> Result<Vec<Row>, LabError> {
    let venv = Venv::ready(&root.join("target")).await?;
    let options = EmulatorOptions { program: Program::Moto, ..EmulatorOptions::default() };
    let (balancers, proxy) = Emulator::start_behind_proxy(&venv, options).await?;
    let env = vec![(LOAD_BALANCING_ENDPOINT.to_owned(), proxy.endpoint().to_owned())];
    let options = EmulatorOptions { env, ..EmulatorOptions::default() };
    let (mut bench, emulator) = Bench::start_with(root, options).await?;
    bench.proxies.push(proxy);
    let mut rows = Vec::new();
    for rules in CASES {
        say(&format!("calls: {rules} rule(s) of one load balancer"));
        rows.extend(case(&bench, &balancers, rules).await?);
    }
    emulator.stop().await?;
    balancers.stop().await?;
    Ok(rows)
}

/// One cutover of rules.
async fn case(bench: &Bench, balancers: &Emulator, rules: usize) -> Result<Vec<Row>, LabError> {
    let (listener, new) = create_world(bench, balancers, rules).await?;
    let request = json!({
        "new": new, "router": {"alb": {"listener": listener}}, "health": {"alarms": [ALARM]},
    });
    let ran = bench.run(&request).await?;
    Ok(ran.rows("alb", (rules, rules), bounds(&ran.accepted, rules)))
}

/// What each task may call.
fn bounds(accepted: &Cutover, rules: usize) -> [(Expected, Option<u64>); TASKS.len()] {
    let tags = (2 * rules).div_ceil(TAGGED_MAX) + (rules + 1).div_ceil(TAGGED_MAX);
    // The targets of more groups are those of CloudWatch.
    let one_by_one = |groups| number(if groups > LOOKED_AT_MAX { 0 } else { groups });
    let old_metrics = u64::from(rules > LOOKED_AT_MAX);
    let (writes, reads) = (number(rules), reads_of_shift(rules));
    let validation = vec![
        (READ, 1),
        (TAGS, number(tags)),
        (TARGETS, one_by_one(2 * rules)),
        (METRICS, calls_of_validation(accepted)),
    ];
    let first_shift = vec![(WRITE, writes), (READ, reads), (TARGETS, writes)];
    let check = vec![(READ, 1), (METRICS, calls_of_check(accepted))];
    // What is live then is read for the report.
    let rollback = vec![
        (WRITE, writes),
        (READ, reads + 1),
        (TARGETS, one_by_one(rules)),
        (METRICS, old_metrics),
    ];
    let bounds = [
        (validation, OTHERS_OF_VALIDATION),
        (first_shift, 0),
        (check.clone(), OTHERS_OF_CHECK),
        (check, OTHERS_OF_CHECK),
        (rollback, OTHERS_OF_ROLLBACK),
    ];
    bounds.map(|(expected, others)| {
        let calls_max = expected.iter().map(|(_, calls)| calls).sum::<u64>() + others;
        (expected, Some(calls_max))
    })
}

/// A listener with this many rules, and the name of the new side.
async fn create_world(
    bench: &Bench,
    balancers: &Emulator,
    rules: usize,
) -> Result<(String, String), LabError> {
    let cluster =
        |side, weight| ClusterSpec { name: format!("{side}-{rules}"), targets: 1, weight };
    let route = |number: usize| format!("app-{number}.rules-{rules}.test");
    let spec = AlbSpec {
        name: format!("bench-{rules}"),
        routes: vec![route(0)],
        old: cluster(OLD, 100),
        new: cluster(NEW, 0),
    };
    let mut world = AlbWorld::create(&aws::sdk_config(&balancers.endpoint()), spec).await?;
    let mut pairs = vec![[world.old.clone(), world.new.clone()]];
    for number in 1..rules {
        pairs.push(world.add_route(&route(number)).await?);
    }
    let old: Vec<Cluster> = pairs.iter().map(|[old, _]| old.clone()).collect();
    let at = Timestamp::now() - SignedDuration::from_mins(5);
    let requests = old.iter().map(|of| requests_of_group(of, at));
    bench.publish(requests).await?;
    bench.count_hosts(&pairs.concat()).await?;
    Ok((world.listener, world.new.name))
}

/// Requests that a target group had.
fn requests_of_group(of: &Cluster, at: Timestamp) -> MetricDatum {
    let group = Dimension::builder().name("TargetGroup").value(&of.target_group).build();
    datum(of, "RequestCount", at).value(100.0).dimensions(group).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_reads_the_listener_before_ten_writes_and_then_before_every_three() {
        for (rules, reads) in [(1, 3), (10, 3), (11, 4), (13, 4), (50, 17), (100, 33)] {
            assert_eq!(reads_of_shift(rules), reads, "{rules} rules");
        }
    }
}
