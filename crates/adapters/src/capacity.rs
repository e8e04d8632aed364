//! What stands behind endpoints: load balancers and their target groups, or one target group, and how many of their
//! targets are healthy.
//!
//! Elastic Load Balancing allows 10 Describe calls a second for a whole account, which the controllers of
//! both clusters share. So there is no call for each target group: where there are many, CloudWatch tells how
//! many hosts they have, hundreds in a call, and only a few groups that it leaves open are looked at one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::DescribeLoadBalancersError;
use aws_sdk_elasticloadbalancingv2::operation::describe_target_groups::DescribeTargetGroupsError;
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancer, LoadBalancerStateEnum, LoadBalancerTypeEnum, TargetGroup,
    TargetHealthDescription, TargetHealthStateEnum, TargetTypeEnum,
};
use cutover_core::limits::{BALANCER_NAMES_PER_CALL, BALANCER_READ_PACE, BALANCERS_PER_PAGE};
use cutover_core::{Backend, Behind, Failure, GoingBack, Group, OldSide, RouteId};
use jiff::Timestamp;
use tokio::time::{Interval, MissedTickBehavior};

use crate::CloudWatch;
use crate::endpoint::Never;
use crate::errors::{failure, if_there, incomplete};
use crate::telemetry::cloudwatch::{
    Hosts, load_balancer_and_groups, load_balancers, meter_of_groups,
};

/// Up to this many load balancers are asked for their target groups one by one, and up to this many target
/// groups for their targets. For more load balancers, all target groups of the account are listed, which are
/// one or two pages of a few hundred; for more target groups, CloudWatch is asked.
const ONE_BY_ONE_MAX: usize = 8;

/// How long a roll-back waits for what is known of the old side's targets.
const OLD_SIDES_WAIT_MAX: Duration = Duration::from_secs(30);

/// Says what stands behind endpoints, and how many targets it has.
#[expect(async_fn_in_trait, reason = "the runtime has one thread: no future needs to be Send")]
pub trait Capacity {
    /// What stands behind each endpoint of these ids.
    ///
    /// # Errors
    /// `Unreachable` when a service could not be reached or throttles, `Refused` when it refuses,
    /// `Internal` when a reply makes no sense.
    async fn behind(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Behind>, Failure>;

    /// What is wrong with the old sides of routes that are to go back. A route whose old
    /// side is fine, or not known, is absent.
    ///
    /// When the targets are not known, or not soon, nothing is: an old side that served a moment ago is a
    /// better guess than a new one that failed, and traffic waits.
    async fn old_sides(
        &self,
        going_back: impl Iterator<Item = GoingBack>,
    ) -> Vec<(RouteId, OldSide)>;
}

/// Load balancers and their targets.
#[derive(Clone, Debug)]
pub struct Targets {
    client: Client,
    metrics: CloudWatch,
}

impl Targets {
    /// The load balancers of the account and region that the client is for, and the metrics of the same.
    #[must_use]
    pub const fn new(client: Client, metrics: CloudWatch) -> Self {
        Self { client, metrics }
    }

    /// What is wrong with each of these old sides, in the order asked; `None` when nothing is known to be.
    async fn conditions(&self, asked: &[GoingBack]) -> Result<Vec<Option<OldSide>>, Failure> {
        let meters: Vec<Asked<'_>> = asked.iter().map(Asked::of).collect();
        let (whole, apart): (Vec<&Asked<'_>>, Vec<&Asked<'_>>) =
            meters.iter().partition(|asked| asked.by_balancer);
        let balancers = whole.iter().map(|asked| asked.balancer).collect();
        let balancers = self.groups_of_balancers(&balancers).await?;
        let group_ids = apart.iter().flat_map(|asked| asked.groups.iter().copied()).collect();
        let mut behind_owners: BTreeMap<String, (String, Vec<Listed>)> = BTreeMap::new();
        for group in self.groups_alone(&group_ids).await? {
            let of = behind_owners.entry(stem(&group.owner_id).to_owned());
            of.or_insert((group.owner_id.clone(), Vec::new())).1.push(group);
        }
        let of = |asked: &Asked<'_>| {
            let found = if asked.by_balancer { &balancers } else { &behind_owners };
            let Some((id, all)) = found.get(stem(asked.balancer)) else {
                return Some(OldSide::Dead);
            };
            match condition(asked.own(all)) {
                Some(OldSide::Dead) => Some(OldSide::Dead),
                // Its address changed with it: records that are as cutover left them lead to one that is gone, and
                // others have drifted.
                _ if load_balancers(asked.meter).any(|of| of != id) => Some(OldSide::Replaced),
                None if asked.by_balancer => condition(all).map(|_| OldSide::PartlyUnhealthy),
                own => own,
            }
        };
        Ok(meters.iter().map(of).collect())
    }

    /// The load balancers of the same names as these: those themselves, or what was made anew in their place. By their
    /// names in one call, or out of all of the account where that cannot be asked: there are too many of them, or one is
    /// gone, for which the whole call is refused.
    pub(crate) async fn of_these_names(
        &self,
        ids: &BTreeSet<&str>,
    ) -> Result<Vec<Balancer>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let what = "DescribeLoadBalancers by name";
        let reply = if ids.len() > BALANCER_NAMES_PER_CALL {
            None
        } else {
            let request = self.client.describe_load_balancers().set_names(Some(names_in(ids, 1)));
            let is_missing = DescribeLoadBalancersError::is_load_balancer_not_found_exception;
            if_there(what, request.send().await, is_missing)?
        };
        let mut found = match reply {
            Some(reply) => Balancer::read_all(what, reply.load_balancers())?,
            None => self.all().await?,
        };
        let names: BTreeSet<&str> = ids.iter().map(|id| stem(id)).collect();
        found.retain(|balancer| names.contains(stem(&balancer.id)));
        Ok(found)
    }

    /// The id and the target groups of the load balancers of these names, by the name.
    async fn groups_of_balancers(
        &self,
        wanted: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, (String, Vec<Listed>)>, Failure> {
        let found = self.of_these_names(wanted).await?;
        let mut groups = self.groups(&found).await?;
        let of = |Balancer { arn, id, .. }| {
            (stem(&id).to_owned(), (id, groups.remove(&arn).unwrap_or_default()))
        };
        Ok(found.into_iter().map(of).collect())
    }

    /// Every load balancer: the service cannot be asked by DNS name.
    async fn all(&self) -> Result<Vec<Balancer>, Failure> {
        let what = "DescribeLoadBalancers";
        let request = self.client.describe_load_balancers().page_size(BALANCERS_PER_PAGE);
        let all = request.into_paginator().items().send().try_collect().await;
        Balancer::read_all(what, &all.map_err(|error| failure(what, &error))?)
    }

    /// The target groups of these load balancers.
    pub(crate) async fn list(&self, of: &[Balancer]) -> Result<Vec<Listed>, Failure> {
        let balancers: BTreeSet<&str> = of.iter().map(|balancer| balancer.arn.as_str()).collect();
        let mut listed = Vec::new();
        if balancers.len() <= ONE_BY_ONE_MAX {
            for arn in &balancers {
                listed.extend(self.list_groups(Some(arn)).await?);
            }
        } else {
            listed = self.list_groups(None).await?;
        }
        let mut known = BTreeSet::new();
        let mut groups = Vec::new();
        for group in listed {
            let mut owners = group.load_balancer_arns().iter();
            // A target group belongs to one load balancer at most.
            let owner = owners.find(|arn| balancers.contains(arn.as_str()));
            let Some(owner) = owner else { continue };
            let group = Listed::read(&group, owner)?;
            if known.insert(group.arn.clone()) {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// The target groups of each load balancer, by its ARN, with their targets counted.
    async fn groups(&self, of: &[Balancer]) -> Result<BTreeMap<String, Vec<Listed>>, Failure> {
        let mut groups = self.list(of).await?;
        self.count(&mut groups).await?;
        let mut counted: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
        for group in groups {
            counted.entry(group.owner.clone()).or_default().push(group);
        }
        Ok(counted)
    }

    /// Target groups of the names in these ids (`NAME/ID`), with their targets counted. One that is gone, or behind no
    /// load balancer, is absent.
    async fn groups_alone(&self, ids: &BTreeSet<&str>) -> Result<Vec<Listed>, Failure> {
        let names: BTreeSet<&str> = ids.iter().map(|id| stem(id)).collect();
        let mut alone = Vec::new();
        for group in self.groups_named(ids).await? {
            if let [owner] = group.load_balancer_arns() {
                alone.push(Listed::read(&group, owner)?);
            }
        }
        alone.retain(|group| names.contains(stem(&group.id)));
        self.count(&mut alone).await?;
        Ok(alone)
    }

    /// What stands behind each of these DNS names.
    async fn behind_names(
        &self,
        names: &BTreeSet<&String>,
    ) -> Result<BTreeMap<String, Behind>, Failure> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found = self.all().await?;
        found.retain(|balancer| names.contains(&balancer.dns_key));
        let mut groups = self.groups(&found).await?;
        let region = self.client.config().region().map(ToString::to_string).unwrap_or_default();
        let mut behind = BTreeMap::new();
        for Balancer { arn, id, dns_key, kind, active } in found {
            let groups = groups.remove(&arn).unwrap_or_default();
            let groups = groups.into_iter().map(Listed::counted).collect();
            let found = Behind::Found(Backend {
                called: format!("load balancer {id}"),
                id: arn,
                meter: id,
                active,
                groups,
            });
            let found = match kind {
                Some(LoadBalancerTypeEnum::Network) => uncounted(&dns_key, found),
                Some(LoadBalancerTypeEnum::Gateway) => other_type(&dns_key, "gateway"),
                _ => found,
            };
            behind.insert(dns_key, found);
        }
        for name in names {
            behind.entry((*name).clone()).or_insert_with(|| unknown(name, &region));
        }
        Ok(behind)
    }

    /// The target groups of these ids and maybe others: by their names in one call, or all of the account where that
    /// cannot be asked.
    async fn groups_named(&self, ids: &BTreeSet<&str>) -> Result<Vec<TargetGroup>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        if ids.len() > BALANCER_NAMES_PER_CALL {
            return self.list_groups(None).await;
        }
        let request = self.client.describe_target_groups().set_names(Some(names_in(ids, 0)));
        let is_missing = DescribeTargetGroupsError::is_target_group_not_found_exception;
        match if_there("DescribeTargetGroups by name", request.send().await, is_missing)? {
            Some(reply) => Ok(reply.target_groups.unwrap_or_default()),
            None => self.list_groups(None).await,
        }
    }

    /// Counts the targets of the groups, as far as they are known.
    async fn count(&self, groups: &mut [Listed]) -> Result<(), Failure> {
        // Of many groups, the order in which those are looked at that CloudWatch does not call healthy.
        let mut served = BTreeSet::new();
        if groups.len() > ONE_BY_ONE_MAX {
            let dimensions: Vec<(&str, &str)> =
                groups.iter().map(|group| (group.owner_id.as_str(), group.id.as_str())).collect();
            let counted = self.metrics.hosts(&dimensions, Timestamp::now()).await?;
            for (group, counted) in groups.iter_mut().zip(counted) {
                // 0 is no number of hosts: whoever has no registered target is not counted at all.
                group.hosts = counted.filter(|hosts| hosts.registered > 0);
                if group.hosts.is_some_and(|hosts| hosts.healthy > 0) {
                    served.insert(group.owner.clone());
                }
            }
        }
        let is_open = |group: &&mut Listed| group.hosts.is_none_or(|hosts| hosts.healthy == 0);
        let mut open: Vec<&mut Listed> = groups.iter_mut().filter(is_open).collect();
        // First those that decide whether a load balancer has a healthy target at all.
        open.sort_by_key(|group| served.contains(&group.owner));
        let mut pace = pace(BALANCER_READ_PACE);
        for group in open.into_iter().take(ONE_BY_ONE_MAX) {
            pace.tick().await;
            group.hosts = Some(self.look_at(&group.arn).await?);
        }
        Ok(())
    }

    async fn list_groups(&self, of: Option<&str>) -> Result<Vec<TargetGroup>, Failure> {
        let what = of.map_or("DescribeTargetGroups".to_owned(), |arn| {
            format!("DescribeTargetGroups of {arn}")
        });
        let request = self.client.describe_target_groups().page_size(BALANCERS_PER_PAGE);
        let request = request.set_load_balancer_arn(of.map(str::to_owned));
        let groups = request.into_paginator().items().send().try_collect().await;
        groups.map_err(|error| failure(&what, &error))
    }

    /// The targets of one group.
    async fn look_at(&self, group_arn: &str) -> Result<Hosts, Failure> {
        let what = format!("DescribeTargetHealth of {group_arn}");
        let reply = self.client.describe_target_health().target_group_arn(group_arn).send().await;
        let reply = reply.map_err(|error| failure(&what, &error))?;
        let targets = reply.target_health_descriptions();
        let number = |wanted: fn(&TargetHealthStateEnum) -> bool| {
            let state = |target: &TargetHealthDescription| target.target_health()?.state().cloned();
            let targets = targets.iter().filter_map(state).filter(wanted);
            u32::try_from(targets.count()).unwrap_or(u32::MAX)
        };
        let healthy = number(|state| *state == TargetHealthStateEnum::Healthy);
        Ok(Hosts { healthy, registered: number(gets_requests) })
    }
}

impl Capacity for Targets {
    /// The hosts of more than a few target groups are those of CloudWatch, up to five minutes old. A group
    /// that CloudWatch says nothing of has no registered target, or its first one was registered just now.
    async fn behind(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Behind>, Failure> {
        let (group_arns, names): (BTreeSet<&String>, BTreeSet<&String>) =
            ids.iter().partition(|id| group_of(id).is_some());
        let mut behind = self.behind_names(&names).await?;
        let group_ids = group_arns.iter().filter_map(|arn| group_of(arn)).collect();
        let groups = self.groups_alone(&group_ids).await?.into_iter();
        let mut groups: BTreeMap<String, Listed> =
            groups.map(|group| (group.id.clone(), group)).collect();
        for arn in group_arns {
            let found = group_of(arn).and_then(|id| groups.remove(id));
            let of = |group: Listed| {
                Behind::Found(Backend {
                    called: format!("target group {}", group.id),
                    id: arn.clone(),
                    meter: meter_of_groups(&group.owner_id, [group.id.as_str()]),
                    active: true,
                    groups: vec![group.counted()],
                })
            };
            behind.insert(arn.clone(), found.map_or_else(|| no_group(arn), of));
        }
        Ok(behind)
    }

    async fn old_sides(
        &self,
        going_back: impl Iterator<Item = GoingBack>,
    ) -> Vec<(RouteId, OldSide)> {
        let asked: Vec<GoingBack> = going_back.collect();
        let known = tokio::time::timeout(OLD_SIDES_WAIT_MAX, self.conditions(&asked)).await;
        let reason = match known {
            Ok(Ok(conditions)) => {
                let both = asked.into_iter().zip(conditions);
                return both.filter_map(|(asked, wrong)| Some((asked.route, wrong?))).collect();
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no answer within {} s", OLD_SIDES_WAIT_MAX.as_secs()),
        };
        tracing::warn!(reason, "the old side's targets are not known: all routes go back");
        Vec::new()
    }
}

/// An old side that is asked about.
struct Asked<'a> {
    meter: &'a str,
    balancer: &'a str,
    /// The target groups that its meter counts; none for all of the load balancer's.
    groups: Vec<&'a str>,
    /// Whether all groups of the load balancer must be known.
    by_balancer: bool,
}

impl<'a> Asked<'a> {
    fn of(asked: &'a GoingBack) -> Self {
        let (balancer, groups) = load_balancer_and_groups(&asked.meter);
        let by_balancer = groups.is_empty() || asked.all_or_nothing;
        Self { meter: &asked.meter, balancer, groups, by_balancer }
    }

    /// Those of these groups that its meter counts.
    fn own<'c>(&self, of: &'c [Listed]) -> Vec<&'c Listed> {
        let is_own = |of: &&Listed| self.groups.iter().any(|own| stem(own) == stem(&of.id));
        of.iter().filter(|of| self.groups.is_empty() || is_own(of)).collect()
    }
}

/// Keeps calls to what an account that the controllers of both clusters share has to spare: one each `period`.
pub(crate) fn pace(period: Duration) -> Interval {
    let mut pace = tokio::time::interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// A network load balancer, which counts no requests: it does where something else counts them.
fn uncounted(name: &str, found: Behind) -> Behind {
    let why = format!(
        "points at {name}, a network load balancer, which counts no requests; allowed: an application load balancer, \
         as an Ingress of aws-load-balancer-controller makes one, or health.signals with counts of your own, by which \
         alone it is judged then"
    );
    Behind::Uncounted { behind: Box::new(found), code: "load_balancer_type", why }
}

/// A load balancer of a type that is not allowed.
fn other_type(name: &str, kind: &str) -> Behind {
    let why = format!(
        "points at {name}, a {kind} load balancer, which counts no requests; allowed: an application load balancer, \
         as an Ingress of aws-load-balancer-controller makes one"
    );
    Behind::Never { code: "load_balancer_type", why }
}

/// What may stand behind a name that no load balancer of the account and region has.
fn unknown(name: &str, region: &str) -> Behind {
    let nothing = |allowed: &str| Behind::Nothing {
        code: "no_load_balancer",
        what: format!("points at {name}, which is no load balancer of this account and region"),
        allowed: format!("{allowed} of the region {region}"),
    };
    match Never::of(name, region) {
        // It may be about to appear.
        Some(Never::OtherType("network")) => {
            uncounted(name, nothing("an application or network load balancer"))
        }
        Some(Never::OtherType(kind)) => other_type(name, kind),
        Some(Never::Elsewhere(what)) => {
            let why = format!(
                "points at {name}, which is {what}; allowed: an application load balancer of this account and of \
                 the region {region}"
            );
            Behind::Never { code: "foreign_target", why }
        }
        None => nothing("an application load balancer"),
    }
}

/// The id of a target group, `NAME/ID`, from its ARN; `None` for what is none.
pub(crate) fn group_of(arn: &str) -> Option<&str> {
    arn.starts_with("arn:").then(|| arn.split_once(":targetgroup/"))?.map(|(_, id)| id)
}

/// A target group that is gone or not used.
fn no_group(arn: &str) -> Behind {
    Behind::Nothing {
        code: "no_target_group",
        what: format!(
            "is {arn}, which is no target group of a load balancer of this account and region"
        ),
        allowed: "a target group of this account and region".to_owned(),
    }
}

/// An id without its last part, which alone differs in what was made anew: names are unique in an account and region.
pub(crate) fn stem(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(stem, _)| stem)
}

/// The names in some ids, each once: of each id, its part of this number.
fn names_in(ids: &BTreeSet<&str>, part: usize) -> Vec<String> {
    let name = |id: &&str| id.split('/').nth(part).unwrap_or(id).to_owned();
    ids.iter().map(name).collect::<BTreeSet<String>>().into_iter().collect()
}

/// A load balancer's DNS name as it is compared: lower case, no dot at the end, no `dualstack.`.
pub(crate) fn dns_key(dns_name: &str) -> String {
    let name = dns_name.trim_end_matches('.').to_ascii_lowercase();
    name.strip_prefix("dualstack.").map_or(name.clone(), str::to_owned)
}

/// Whether a target in this state gets requests, if only when no other is healthy. One that is being
/// deregistered gets no new ones, and one that is not used none at all.
/// Source: Elastic Load Balancing user guide, "Health checks for Application Load Balancer target groups".
const fn gets_requests(state: &TargetHealthStateEnum) -> bool {
    !matches!(state, TargetHealthStateEnum::Draining | TargetHealthStateEnum::Unused)
}

/// What is wrong with an old side that has these target groups.
fn condition<'a>(groups: impl IntoIterator<Item = &'a Listed>) -> Option<OldSide> {
    let hosts: Vec<Option<Hosts>> = groups.into_iter().map(|group| group.hosts).collect();
    let known: Vec<Hosts> = hosts.iter().copied().flatten().collect();
    let all_are_known = known.len() == hosts.len();
    let has_registered = known.iter().any(|of| of.registered > 0);
    let has_healthy = known.iter().any(|of| of.healthy > 0);
    if !has_registered {
        return all_are_known.then_some(OldSide::Dead);
    }
    if !has_healthy && all_are_known {
        return Some(OldSide::Unhealthy);
    }
    known.iter().any(|of| of.healthy == 0).then_some(OldSide::PartlyUnhealthy)
}

/// A target group as it was listed, and the load balancer that it belongs to.
pub(crate) struct Listed {
    arn: String,
    pub(crate) id: String,
    /// The ARN of the load balancer.
    pub(crate) owner: String,
    owner_id: String,
    /// Whether its targets are instances: with aws-load-balancer-controller, every node of the cluster.
    by_node: bool,
    /// Its targets; `None` while they are not known.
    hosts: Option<Hosts>,
}

impl Listed {
    /// The group, whose load balancer has the ARN `owner`.
    fn read(group: &TargetGroup, owner: &str) -> Result<Self, Failure> {
        let what = "DescribeTargetGroups";
        let arn = group.target_group_arn().ok_or_else(|| incomplete(what, "TargetGroupArn"))?;
        Ok(Self {
            arn: arn.to_owned(),
            id: dimension(what, arn, "targetgroup/")?,
            owner: owner.to_owned(),
            owner_id: dimension(what, owner, "loadbalancer/")?,
            by_node: group.target_type() == Some(&TargetTypeEnum::Instance),
            hosts: None,
        })
    }

    /// One whose targets are not known has none: a load balancer with too many of them does not take the traffic.
    fn counted(self) -> Group {
        let Hosts { healthy, registered } = self.hosts.unwrap_or_default();
        Group { id: self.id, healthy, registered, by_node: self.by_node }
    }
}

/// A load balancer as it was listed.
pub(crate) struct Balancer {
    pub(crate) arn: String,
    pub(crate) id: String,
    dns_key: String,
    kind: Option<LoadBalancerTypeEnum>,
    active: bool,
}

impl Balancer {
    fn read_all(what: &str, listed: &[LoadBalancer]) -> Result<Vec<Self>, Failure> {
        listed.iter().map(|balancer| Self::new(what, balancer)).collect()
    }

    fn new(what: &str, listed: &LoadBalancer) -> Result<Self, Failure> {
        let arn = listed.load_balancer_arn().ok_or_else(|| incomplete(what, "LoadBalancerArn"))?;
        let state = listed.state().and_then(|state| state.code());
        Ok(Self {
            arn: arn.to_owned(),
            id: dimension(what, arn, "loadbalancer/")?,
            dns_key: dns_key(listed.dns_name().unwrap_or_default()),
            kind: listed.r#type().cloned(),
            // "Impaired" serves as well: it could not scale up.
            active: matches!(
                state,
                Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired)
            ),
        })
    }
}

/// The end of an ARN after `marker`, as the telemetry names it.
fn dimension(what: &str, arn: &str, marker: &str) -> Result<String, Failure> {
    match arn.split_once(&format!(":{marker}")) {
        Some((_, id)) if id.contains('/') => Ok(id.to_owned()),
        _ => Err(Failure::Internal(format!("{what}: {arn} has no {marker}NAME/ID"))),
    }
}
