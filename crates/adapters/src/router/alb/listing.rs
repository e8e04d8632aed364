//! What is asked of the service: listeners, their rules, tags, and the targets of a group.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::operation::describe_listeners::DescribeListenersError;
use aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::DescribeLoadBalancersError;
use aws_sdk_elasticloadbalancingv2::operation::describe_rules::DescribeRulesError;
use aws_sdk_elasticloadbalancingv2::types::{Listener as Described, TargetHealthStateEnum};
use cutover_core::limits::{BALANCER_READ_PACE, BALANCERS_PER_PAGE, TAGGED_PER_CALL};
use cutover_core::{Failure, Problem};

use super::arn;
use super::place::name_and_port;
use super::rule::Rule;
use crate::capacity::pace;
use crate::errors::{failure, if_there, incomplete};

/// A listener of an application load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) arn: String,
    /// `NAME:PORT`.
    pub(super) at: String,
}

/// Some tags of a resource.
pub(super) type Tags = Vec<(String, String)>;

/// The listeners that a request names, each once, and what is wrong with the others.
pub(super) async fn listeners(
    client: &Client,
    named: &[String],
) -> Result<(Vec<Listener>, Vec<Problem>), Failure> {
    let mut pace = pace(BALANCER_READ_PACE);
    let mut of_balancers: BTreeMap<String, Vec<Described>> = BTreeMap::new();
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for named in named {
        pace.tick().await;
        let balancer = balancer(client, named).await?;
        if let Ok(arn) = &balancer
            && !of_balancers.contains_key(arn)
        {
            of_balancers.insert(arn.clone(), listeners_of(client, arn).await?);
        }
        let listeners = |arn: &String| of_balancers.get(arn).map(Vec::as_slice).unwrap_or_default();
        match balancer.and_then(|arn| pick(named, &arn, listeners(&arn))) {
            Ok(listener) if found.contains(&listener) => {}
            Ok(listener) => found.push(listener),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((found, problems))
}

/// The ARN of the application load balancer whose listener is named, or why there is none.
async fn balancer(client: &Client, named: &str) -> Result<Result<String, Problem>, Failure> {
    let Some((name, _)) = name_and_port(named) else {
        let here = client.config().region().map(ToString::to_string).unwrap_or_default();
        let there = arn::region(named);
        if !here.is_empty() && there != here {
            let message = format!(
                "the listener {named} is in the region {there}, these functions in {here}: deploy them there"
            );
            return Ok(Err(Problem::new("listener_missing", message)));
        }
        return Ok(match arn::kind(named) {
            "net" => Err(other_type(named, "network")),
            "gwy" => Err(other_type(named, "gateway")),
            _ => Ok(arn::load_balancer_of(named)),
        });
    };
    let what = format!("DescribeLoadBalancers of {name}");
    let reply = client.describe_load_balancers().names(name).send().await;
    let is_missing = DescribeLoadBalancersError::is_load_balancer_not_found_exception;
    let Some(reply) = if_there(&what, reply, is_missing)? else {
        let why = format!("no load balancer is named {name}");
        return Ok(Err(missing(named, &why)));
    };
    let balancer = reply.load_balancers().first().ok_or_else(|| incomplete(&what, "member"))?;
    let kind = balancer.r#type().map_or("application", |kind| kind.as_str());
    if kind != "application" {
        return Ok(Err(other_type(named, kind)));
    }
    let arn = balancer.load_balancer_arn().ok_or_else(|| incomplete(&what, "LoadBalancerArn"))?;
    Ok(Ok(arn.to_owned()))
}

fn other_type(named: &str, kind: &str) -> Problem {
    let message = format!(
        "{named} is a listener of a {kind} load balancer, which counts connections and no requests, so that there is \
         nothing to compare: name one of an application load balancer"
    );
    Problem::new("load_balancer_type", message)
}

fn missing(named: &str, why: &str) -> Problem {
    let message = format!(
        "there is no listener {named} in this account and region: {why}; look at the spelling of listener"
    );
    Problem::new("listener_missing", message)
}

/// All listeners of a load balancer; none when it is gone.
pub(crate) async fn listeners_of(
    client: &Client,
    balancer_arn: &str,
) -> Result<Vec<Described>, Failure> {
    let what = format!("DescribeListeners of {balancer_arn}");
    let request =
        client.describe_listeners().load_balancer_arn(balancer_arn).page_size(BALANCERS_PER_PAGE);
    let listeners = request.into_paginator().items().send().try_collect().await;
    let is_missing = DescribeListenersError::is_load_balancer_not_found_exception;
    Ok(if_there(&what, listeners, is_missing)?.unwrap_or_default())
}

/// The listener that is named, out of all of its load balancer's.
fn pick(named: &str, balancer: &str, all: &[Described]) -> Result<Listener, Problem> {
    let name = arn::name_of(balancer);
    let port_of = |listener: &Described| listener.port().unwrap_or_default();
    let found = all.iter().find(|listener| match name_and_port(named) {
        Some((_, port)) => port_of(listener) == i32::from(port),
        None => listener.listener_arn() == Some(named),
    });
    let Some((listener, arn)) =
        found.and_then(|listener| Some((listener, listener.listener_arn()?)))
    else {
        let ports: BTreeSet<i32> = all.iter().map(port_of).collect();
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let why = if ports.is_empty() {
            format!("load balancer {name} is not there, or has no listener")
        } else {
            format!("load balancer {name} has listeners on port {}", ports.join(", "))
        };
        return Err(missing(named, &why));
    };
    Ok(Listener { arn: arn.to_owned(), at: format!("{name}:{}", port_of(listener)) })
}

/// The rules of a listener, its default action among them; none when the listener is gone.
pub(crate) async fn rules(client: &Client, listener_arn: &str) -> Result<Vec<Rule>, Failure> {
    let what = format!("DescribeRules of {listener_arn}");
    let request = client.describe_rules().listener_arn(listener_arn).page_size(BALANCERS_PER_PAGE);
    let rules = request.into_paginator().items().send().try_collect().await;
    let rules = if_there(&what, rules, DescribeRulesError::is_listener_not_found_exception)?;
    rules.into_iter().flatten().map(|rule| Rule::read(&what, listener_arn, rule)).collect()
}

/// The tags of some resources, by their ARNs.
pub(super) async fn tags(
    client: &Client,
    arns: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Tags>, Failure> {
    let mut pace = pace(BALANCER_READ_PACE);
    let mut tags = BTreeMap::new();
    let arns: Vec<&str> = arns.iter().copied().collect();
    for arns in arns.chunks(TAGGED_PER_CALL) {
        pace.tick().await;
        let what = format!("DescribeTags of {} resources", arns.len());
        let arns = arns.iter().map(|arn| (*arn).to_owned()).collect();
        let reply = client.describe_tags().set_resource_arns(Some(arns)).send().await;
        let reply = reply.map_err(|error| failure(&what, &error))?;
        for described in reply.tag_descriptions.unwrap_or_default() {
            let arn = described.resource_arn.ok_or_else(|| incomplete(&what, "ResourceArn"))?;
            let of = described.tags.unwrap_or_default().into_iter();
            let of = of.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
            tags.insert(arn, of.collect());
        }
    }
    Ok(tags)
}

/// What keeps a target group from taking requests: that none of its targets is healthy. `None` when one is.
pub(super) async fn unhealthy(client: &Client, group_arn: &str) -> Result<Option<String>, Failure> {
    let what = format!("DescribeTargetHealth of {group_arn}");
    let reply = client.describe_target_health().target_group_arn(group_arn).send().await;
    let reply = reply.map_err(|error| failure(&what, &error))?;
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for target in reply.target_health_descriptions() {
        let state = target.target_health().and_then(|health| health.state());
        let state = state.ok_or_else(|| incomplete(&what, "State"))?;
        if *state == TargetHealthStateEnum::Healthy {
            return Ok(None);
        }
        *states.entry(state.to_string()).or_default() += 1;
    }
    let name = arn::group_name(group_arn);
    let all: usize = states.values().sum();
    let states: Vec<String> = states.iter().map(|(state, of)| format!("{of} {state}")).collect();
    let states =
        if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    Ok(Some(format!("its new target group {name} has no healthy target: {all} registered{states}")))
}
