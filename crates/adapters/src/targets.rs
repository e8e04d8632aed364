//! What stands behind a record: load balancers, their target groups, and how many of their
//! targets are healthy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::DescribeLoadBalancersError;
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancer, LoadBalancerStateEnum, LoadBalancerTypeEnum, TargetGroup, TargetHealthStateEnum,
};
use cutover_core::facts::{FoundLoadBalancer, Group, LoadBalancerKind, dns_key};
use cutover_core::{Failure, RouteId};

use crate::errors::{failure, incomplete};

/// Load balancers or target groups of one page. Source: Elastic Load Balancing API reference,
/// `DescribeLoadBalancers`, `DescribeTargetGroups`.
const PAGE_MAX: i32 = 400;
/// Names of one call. Source: Elastic Load Balancing API reference, `DescribeLoadBalancers`.
const NAMES_MAX: usize = 20;
/// Up to so many load balancers are asked for their target groups one by one. For more, all target
/// groups are listed: an account's few hundred are one or two pages.
const ONE_BY_ONE_MAX: usize = 8;

/// How long a roll-back waits to hear of the old side's targets.
const DEAD_WAIT_MAX: Duration = Duration::from_secs(30);

/// Load balancers and their targets.
#[derive(Clone, Debug)]
pub struct Targets {
    client: Client,
}

impl Targets {
    /// The load balancers of the account and region that the client is for.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The load balancers of these DNS names, by [`dns_key`]. A name that is none's is absent.
    ///
    /// # Errors
    /// `TransientAws` when Elastic Load Balancing could not be reached or throttles, `AwsRefused`
    /// when it refuses, `Internal` when its reply makes no sense.
    pub async fn find(
        &self,
        dns_names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, FoundLoadBalancer>, Failure> {
        let wanted: BTreeSet<String> = dns_names.iter().map(|name| dns_key(name)).collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found = self.all().await?;
        found.retain(|balancer| wanted.contains(&balancer.dns_key));
        let mut groups = self.groups(&found).await?;
        let described = found.into_iter().map(|Balancer { arn, id, dns_key, kind, active }| {
            let groups = groups.remove(&arn).unwrap_or_default();
            (dns_key, FoundLoadBalancer { id, kind, active, groups })
        });
        Ok(described.collect())
    }

    /// Healthy targets behind each of these load balancers (`app/NAME/ID`), in the order asked;
    /// 0 for one that is gone.
    ///
    /// # Errors
    /// As [`find`](Targets::find).
    pub async fn healthy_hosts(&self, load_balancer_ids: &[String]) -> Result<Vec<u32>, Failure> {
        let wanted: BTreeSet<&String> = load_balancer_ids.iter().collect();
        let mut found = match self.named(&wanted).await? {
            Some(found) => found,
            None => self.all().await?,
        };
        found.retain(|balancer| wanted.contains(&balancer.id));
        let groups = self.groups(&found).await?;
        let healthy: BTreeMap<&str, u32> = found
            .iter()
            .map(|balancer| {
                let of = groups.get(&balancer.arn).map(Vec::as_slice).unwrap_or_default();
                (balancer.id.as_str(), of.iter().map(|group| group.healthy).sum())
            })
            .collect();
        Ok(load_balancer_ids.iter().map(|id| *healthy.get(id.as_str()).unwrap_or(&0)).collect())
    }

    /// The routes that cannot go back, because the load balancer of their old side, named beside
    /// them, has no healthy target.
    ///
    /// When the targets cannot be told, or not soon, there are none: an old side that served a
    /// moment ago is a better guess than a new one that failed, and traffic waits.
    pub async fn dead(&self, going_back: impl Iterator<Item = (RouteId, String)>) -> Vec<RouteId> {
        let (routes, ids): (Vec<RouteId>, Vec<String>) = going_back.unzip();
        let told = tokio::time::timeout(DEAD_WAIT_MAX, self.healthy_hosts(&ids)).await;
        let untold = match told {
            Ok(Ok(healthy)) => {
                let both = routes.into_iter().zip(healthy);
                return both.filter(|(_, hosts)| *hosts == 0).map(|(route, _)| route).collect();
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no answer within {} s", DEAD_WAIT_MAX.as_secs()),
        };
        tracing::warn!(
            reason = untold,
            "the old side's targets cannot be told: all routes go back"
        );
        Vec::new()
    }

    /// The load balancers of these ids by their names, in one call. `None` when that cannot be
    /// asked: there are too many of them, or one is gone, for which the whole call is refused.
    async fn named(&self, ids: &BTreeSet<&String>) -> Result<Option<Vec<Balancer>>, Failure> {
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if ids.len() > NAMES_MAX {
            return Ok(None);
        }
        let what = "DescribeLoadBalancers by name";
        let name = |id: &str| id.split('/').nth(1).unwrap_or(id).to_owned();
        let names: BTreeSet<String> = ids.iter().map(|id| name(id)).collect();
        let names = Some(names.into_iter().collect());
        match self.client.describe_load_balancers().set_names(names).send().await {
            Ok(reply) => {
                let balancers = reply.load_balancers().iter();
                balancers.map(|lb| Balancer::new(what, lb)).collect::<Result<_, _>>().map(Some)
            }
            Err(error)
                if error.as_service_error().is_some_and(
                    DescribeLoadBalancersError::is_load_balancer_not_found_exception,
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failure(what, &error)),
        }
    }

    /// Every load balancer: the service cannot be asked by DNS name.
    async fn all(&self) -> Result<Vec<Balancer>, Failure> {
        let what = "DescribeLoadBalancers";
        let mut all = Vec::new();
        let request = self.client.describe_load_balancers().page_size(PAGE_MAX);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure(what, &error))?;
            for balancer in page.load_balancers() {
                all.push(Balancer::new(what, balancer)?);
            }
        }
        Ok(all)
    }

    /// The target groups of each load balancer, by its ARN, with their targets counted.
    async fn groups(&self, of: &[Balancer]) -> Result<BTreeMap<String, Vec<Group>>, Failure> {
        let balancers: BTreeSet<&str> = of.iter().map(|balancer| balancer.arn.as_str()).collect();
        let mut listed = Vec::new();
        if balancers.len() <= ONE_BY_ONE_MAX {
            for arn in &balancers {
                listed.extend(self.list_groups(Some(arn)).await?);
            }
        } else {
            listed = self.list_groups(None).await?;
        }
        let mut groups: BTreeMap<String, Vec<Group>> = BTreeMap::new();
        let mut counted: BTreeSet<String> = BTreeSet::new();
        for group in listed {
            let mut owners = group
                .load_balancer_arns()
                .iter()
                .filter(|arn| balancers.contains(arn.as_str()))
                .peekable();
            if owners.peek().is_none() {
                continue;
            }
            let what = "DescribeTargetGroups";
            let arn = group.target_group_arn().ok_or_else(|| incomplete(what, "TargetGroupArn"))?;
            if !counted.insert(arn.to_owned()) {
                continue;
            }
            let (healthy, registered) = self.count(arn).await?;
            let id = dimension(what, arn, "targetgroup/", "targetgroup/")?;
            let group = Group { id, healthy, registered };
            for owner in owners {
                groups.entry(owner.clone()).or_default().push(group.clone());
            }
        }
        Ok(groups)
    }

    async fn list_groups(&self, of: Option<&str>) -> Result<Vec<TargetGroup>, Failure> {
        let what = of.map_or("DescribeTargetGroups".to_owned(), |arn| {
            format!("DescribeTargetGroups of {arn}")
        });
        let request = self.client.describe_target_groups().page_size(PAGE_MAX);
        let request = request.set_load_balancer_arn(of.map(str::to_owned));
        let mut pages = request.into_paginator().send();
        let mut groups = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure(&what, &error))?;
            groups.extend(page.target_groups.unwrap_or_default());
        }
        Ok(groups)
    }

    /// Healthy and registered targets of a group.
    async fn count(&self, group_arn: &str) -> Result<(u32, u32), Failure> {
        let what = format!("DescribeTargetHealth of {group_arn}");
        let reply = self.client.describe_target_health().target_group_arn(group_arn).send().await;
        let reply = reply.map_err(|error| failure(&what, &error))?;
        let targets = reply.target_health_descriptions();
        let healthy = targets.iter().filter(|target| {
            let health = target.target_health().and_then(|health| health.state());
            health == Some(&TargetHealthStateEnum::Healthy)
        });
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok((number(healthy.count()), number(targets.len())))
    }
}

/// A load balancer as it was listed.
struct Balancer {
    arn: String,
    id: String,
    dns_key: String,
    kind: LoadBalancerKind,
    active: bool,
}

impl Balancer {
    fn new(what: &str, listed: &LoadBalancer) -> Result<Self, Failure> {
        let arn = listed.load_balancer_arn().ok_or_else(|| incomplete(what, "LoadBalancerArn"))?;
        let state = listed.state().and_then(|state| state.code());
        Ok(Self {
            arn: arn.to_owned(),
            id: dimension(what, arn, "loadbalancer/", "")?,
            dns_key: dns_key(listed.dns_name().unwrap_or_default()),
            kind: match listed.r#type() {
                Some(LoadBalancerTypeEnum::Network) => LoadBalancerKind::Network,
                Some(LoadBalancerTypeEnum::Gateway) => LoadBalancerKind::Gateway,
                _ => LoadBalancerKind::Application,
            },
            // "Impaired" serves as well: it could not scale up.
            active: matches!(
                state,
                Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired)
            ),
        })
    }
}

/// CloudWatch's dimension, from the end of an ARN: `prefix` and what comes after `marker`.
fn dimension(what: &str, arn: &str, marker: &str, prefix: &str) -> Result<String, Failure> {
    match arn.split_once(&format!(":{marker}")) {
        Some((_, id)) if id.contains('/') => Ok(format!("{prefix}{id}")),
        _ => Err(Failure::Internal(format!("{what}: {arn} has no {marker}NAME/ID"))),
    }
}
