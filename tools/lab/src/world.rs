//! What cutover finds when it looks at an account: a hosted zone, one load balancer for each
//! cluster, and the weighted records that external-dns has written for both.

use aws_config::SdkConfig;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, LoadBalancer, ProtocolEnum, Tag, TargetDescription, TargetTypeEnum,
};
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};

use crate::error::LabError;
use crate::rules::{Rules, forward_to, not_found};

/// Changes in one batch, well under the limit of 1,000 elements.
/// Source: Amazon Route 53 API reference, `ChangeResourceRecordSets`.
const CHANGES_MAX: usize = 500;

/// TTL that external-dns gives its ownership records, in seconds.
const OWNERSHIP_TTL_S: i64 = 300;

/// The tag that names the cluster of a target group.
/// Source: aws-load-balancer-controller, "Default Tags".
const CLUSTER_TAG: &str = "elbv2.k8s.aws/cluster";

/// The port on which load balancers listen.
pub(crate) const LISTENER_PORT: u16 = 80;

/// A hosted zone.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its id, without `/hostedzone/`.
    pub id: String,
    /// Its name, without the dot at the end.
    pub name: String,
}

impl Zone {
    /// Creates a public hosted zone.
    ///
    /// # Errors
    /// `Aws` when Route 53 refuses it.
    pub async fn create(config: &SdkConfig, name: &str) -> Result<Self, LabError> {
        let reference = format!("{name}-{}", jiff::Timestamp::now().as_nanosecond());
        let created = aws_sdk_route53::Client::new(config)
            .create_hosted_zone()
            .name(name)
            .caller_reference(reference)
            .send()
            .await
            .map_err(|error| LabError::aws(format!("create the zone {name}"), error))?;
        let zone = created.hosted_zone.ok_or_else(|| empty_reply("the zone", name))?;
        let id = zone.id;
        Ok(Self { id: id.trim_start_matches("/hostedzone/").to_owned(), name: name.to_owned() })
    }
}

/// The form of a route's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// One plain CNAME a side, with this TTL in seconds.
    Cname {
        /// Seconds for which resolvers may cache an answer.
        ttl_s: u32,
    },
    /// An alias A and an alias AAAA a side, as external-dns writes them for a load balancer.
    AliasAAndAaaa,
}

impl RecordKind {
    fn types(self) -> &'static [RrType] {
        match self {
            Self::Cname { .. } => &[RrType::Cname],
            Self::AliasAAndAaaa => &[RrType::A, RrType::Aaaa],
        }
    }
}

/// One cluster to make.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Its name, which is the set identifier of its records and the tag of its target group; up to 28 letters, digits and `-`.
    pub name: String,
    /// Targets behind its load balancer; all are healthy.
    pub targets: u16,
    /// Weight of its records, or of its target group.
    pub weight: u16,
}

/// What stands behind the load balancer of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// One target group, which gets all requests.
    #[default]
    One,
    /// A target group for each host name, which gets what a rule for this name takes; all else gets a fixed 404. It is
    /// what aws-load-balancer-controller makes of an `IngressGroup`.
    EachHost,
}

/// The two clusters to make and what routes to them.
#[derive(Clone, Debug)]
pub struct WorldSpec {
    /// Host names, each inside the zone.
    pub routes: Vec<String>,
    /// The form of the records.
    pub records: RecordKind,
    /// What stands behind the load balancer of each cluster.
    pub groups: Groups,
    /// The cluster that serves today.
    pub old: ClusterSpec,
    /// The cluster that shall serve.
    pub new: ClusterSpec,
}

/// The load balancer of one cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Name of the cluster, the set identifier.
    pub name: String,
    /// What its records point at.
    pub dns_name: String,
    /// The `LoadBalancer` dimension of its metrics, `app/NAME/ID`.
    pub load_balancer: String,
    /// The `TargetGroup` dimension, `targetgroup/NAME/ID`: of the only target group, or of the first host name's.
    pub target_group: String,
    /// Registered targets in each target group, all healthy.
    pub targets: u16,
    target_group_arn: String,
    /// The ARNs of the target groups of its own that each host name has; none where there is one for all.
    each_host: Vec<String>,
    balancer_arn: String,
    alias_zone: String,
}

impl Cluster {
    /// A cluster whose target group stands behind a load balancer, still without targets.
    pub(crate) fn behind(
        name: &str,
        balancer: &LoadBalancer,
        target_group_arn: String,
    ) -> Result<Self, LabError> {
        let missing = |what: &str| empty_reply(what, name);
        let arn = balancer.load_balancer_arn().ok_or_else(|| missing("the load balancer"))?;
        let (dns_name, alias_zone) = (&balancer.dns_name, &balancer.canonical_hosted_zone_id);
        Ok(Self {
            name: name.to_owned(),
            dns_name: dns_name.clone().ok_or_else(|| missing("the DNS name"))?,
            load_balancer: resource(arn).trim_start_matches("loadbalancer/").to_owned(),
            target_group: resource(&target_group_arn),
            targets: 0,
            target_group_arn,
            each_host: vec![],
            balancer_arn: arn.to_owned(),
            alias_zone: alias_zone.clone().ok_or_else(|| missing("the alias zone"))?,
        })
    }

    /// The same cluster with another target group behind the same load balancer, still without targets.
    pub(crate) fn with_group(&self, target_group_arn: &str) -> Self {
        Self { targets: 0, ..self.part(target_group_arn) }
    }

    /// Its part behind one target group.
    fn part(&self, target_group_arn: &str) -> Self {
        Self {
            target_group: resource(target_group_arn),
            target_group_arn: target_group_arn.to_owned(),
            each_host: vec![],
            ..self.clone()
        }
    }

    /// The part of each host name, in the order of the routes; the whole, once, where one target group serves all.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        self.groups().map(|arn| self.part(arn)).collect()
    }

    /// The ARNs of all its target groups.
    fn groups(&self) -> impl Iterator<Item = &String> {
        let one = Some(&self.target_group_arn).filter(|_| self.each_host.is_empty());
        one.into_iter().chain(&self.each_host)
    }

    /// The ARN of its target group.
    #[must_use]
    pub fn target_group_arn(&self) -> &str {
        &self.target_group_arn
    }
}

/// What stands at the end of an ARN.
fn resource(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
impl Cluster {
    pub(crate) fn for_test(name: &str, targets: u16) -> Self {
        Self {
            name: name.to_owned(),
            dns_name: format!("k8s-{name}.example.com"),
            load_balancer: format!("app/k8s-{name}/1"),
            target_group: format!("targetgroup/k8s-{name}/2"),
            targets,
            target_group_arn: String::new(),
            each_host: vec![],
            balancer_arn: String::new(),
            alias_zone: String::new(),
        }
    }
}

/// The live weights of one route's two sides; `None` where a side has none.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LiveWeights {
    /// Host name, without the dot at the end.
    pub route: String,
    /// Weight of the old side.
    pub old: Option<i64>,
    /// Weight of the new side.
    pub new: Option<i64>,
}

impl LiveWeights {
    /// The new side's share, 0 to 1; `None` when a side is missing or all weights are zero.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a weight is at most 999")]
    pub fn share(&self) -> Option<f64> {
        let (old, new) = (self.old?, self.new?);
        (old + new > 0).then(|| new as f64 / (old + new) as f64)
    }
}

/// The world on the emulator, and the handles to change it.
#[derive(Debug)]
pub struct World {
    /// The zone of the records.
    pub zone: Zone,
    /// The old side.
    pub old: Cluster,
    /// The new side, once there is one.
    pub new: Option<Cluster>,
    spec: WorldSpec,
    dns: aws_sdk_route53::Client,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
}

impl World {
    /// Creates both sides, ready to be cut over.
    ///
    /// # Errors
    /// `Aws` when a service refuses a part of it.
    pub async fn create(
        config: &SdkConfig,
        zone: &Zone,
        spec: WorldSpec,
    ) -> Result<Self, LabError> {
        let mut world = Self::create_old(config, zone, spec).await?;
        world.create_new().await?;
        world.register_new_targets().await?;
        Ok(world)
    }

    /// Creates the old side alone: the new cluster is still being built.
    ///
    /// # Errors
    /// `Aws` when a service refuses a part of it.
    pub async fn create_old(
        config: &SdkConfig,
        zone: &Zone,
        spec: WorldSpec,
    ) -> Result<Self, LabError> {
        let dns = aws_sdk_route53::Client::new(config);
        let balancers = aws_sdk_elasticloadbalancingv2::Client::new(config);
        let mut old = create_side(&balancers, &spec, &spec.old).await?;
        register_targets(&balancers, &mut old, spec.old.targets).await?;
        let world = Self { zone: zone.clone(), old, new: None, spec, dns, balancers };
        world.create_records(&world.old, world.spec.old.weight).await?;
        Ok(world)
    }

    /// Creates the new side's load balancer and records, as its controllers do before a pod
    /// answers: no target is registered yet.
    ///
    /// # Errors
    /// `Aws` when a service refuses a part of it.
    pub async fn create_new(&mut self) -> Result<(), LabError> {
        let new = create_side(&self.balancers, &self.spec, &self.spec.new).await?;
        self.create_records(&new, self.spec.new.weight).await?;
        self.new = Some(new);
        Ok(())
    }

    /// Registers the new side's targets; nothing to do before [`World::create_new`].
    ///
    /// # Errors
    /// `Aws` when they are refused.
    pub async fn register_new_targets(&mut self) -> Result<(), LabError> {
        match &mut self.new {
            Some(new) => register_targets(&self.balancers, new, self.spec.new.targets).await,
            None => Ok(()),
        }
    }

    /// Registers the old side's targets again, after somebody has deregistered them.
    ///
    /// # Errors
    /// `Aws` when they are refused.
    pub async fn register_old_targets(&mut self) -> Result<(), LabError> {
        register_targets(&self.balancers, &mut self.old, self.spec.old.targets).await
    }

    /// The host names.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.spec.routes
    }

    /// The rules of a cluster's listener.
    ///
    /// # Errors
    /// `Aws` when it cannot be found.
    pub async fn rules(&self, cluster: &Cluster) -> Result<Rules, LabError> {
        rules_of(&self.balancers, cluster).await
    }

    /// The weights that every route has now, in the order of [`World::routes`], read from Route 53.
    ///
    /// # Errors
    /// `Aws` when the records cannot be listed.
    pub async fn live_weights(&self) -> Result<Vec<LiveWeights>, LabError> {
        let sets = record_sets(&self.dns, &self.zone.id, None).await?;
        let weight = |route: &str, cluster: &str| {
            sets.iter()
                .filter(|set| self.spec.records.types().contains(&set.r#type))
                .find(|set| same_name(&set.name, route) && set.set_identifier() == Some(cluster))
                .and_then(|set| set.weight)
        };
        let live = |route: &String| LiveWeights {
            route: route.clone(),
            old: weight(route, &self.spec.old.name),
            new: weight(route, &self.spec.new.name),
        };
        Ok(self.spec.routes.iter().map(live).collect())
    }

    /// Gives one route these weights without asking what it had: what a person at the console
    /// or a controller does.
    ///
    /// # Errors
    /// `Aws` when the records cannot be listed or changed.
    pub async fn overwrite_weights(&self, route: &str, old: u16, new: u16) -> Result<(), LabError> {
        let sets = record_sets(&self.dns, &self.zone.id, Some(route)).await?;
        let changes = sets.into_iter().filter_map(|mut set| {
            let routed = self.spec.records.types().contains(&set.r#type);
            let weight = match set.set_identifier() {
                Some(name) if name == self.spec.old.name => old,
                Some(name) if name == self.spec.new.name => new,
                _ => return None,
            };
            set.weight = Some(i64::from(weight));
            routed.then_some((ChangeAction::Upsert, set))
        });
        self.change(&format!("overwrite the weights of {route}"), changes.collect()).await
    }

    /// Writes what external-dns writes for one side: the records, and a TXT beside each that says
    /// whose they are.
    async fn create_records(&self, cluster: &Cluster, weight: u16) -> Result<(), LabError> {
        let mut changes = Vec::new();
        for route in &self.spec.routes {
            let sets = record_sets_of(route, self.spec.records, cluster, weight)?;
            changes.extend(sets.into_iter().map(|set| (ChangeAction::Create, set)));
        }
        self.change(&format!("create the records of {}", cluster.name), changes).await
    }

    async fn change(
        &self,
        what: &str,
        changes: Vec<(ChangeAction, ResourceRecordSet)>,
    ) -> Result<(), LabError> {
        change(&self.dns, &self.zone.id, what, changes).await
    }
}

/// Builds one side of a route: its records, and beside each the TXT of external-dns.
///
/// # Errors
/// `Aws` when a record lacks what Route 53 requires.
pub fn record_sets_of(
    route: &str,
    records: RecordKind,
    cluster: &Cluster,
    weight: u16,
) -> Result<Vec<ResourceRecordSet>, LabError> {
    let mut sets = Vec::new();
    for kind in records.types() {
        let set = ResourceRecordSet::builder()
            .name(route)
            .r#type(kind.clone())
            .set_identifier(&cluster.name)
            .weight(i64::from(weight));
        let set = match records {
            RecordKind::Cname { ttl_s } => set
                .ttl(i64::from(ttl_s))
                .resource_records(value("the record's value", &cluster.dns_name)?),
            RecordKind::AliasAAndAaaa => set.alias_target(
                AliasTarget::builder()
                    .hosted_zone_id(&cluster.alias_zone)
                    .dns_name(&cluster.dns_name)
                    .evaluate_target_health(true)
                    .build()
                    .map_err(|error| LabError::aws("build the alias", error))?,
            ),
        };
        let owner = ResourceRecordSet::builder()
            .name(format!("{}-{route}", kind.as_str().to_ascii_lowercase()))
            .r#type(RrType::Txt)
            .set_identifier(&cluster.name)
            .weight(i64::from(weight))
            .ttl(OWNERSHIP_TTL_S)
            .resource_records(value("the ownership record", &ownership(route, cluster))?);
        for set in [set, owner] {
            sets.push(set.build().map_err(|error| LabError::aws("build a record", error))?);
        }
    }
    Ok(sets)
}

/// Makes changes, in as few batches as may be; `what` completes "Could not …".
///
/// # Errors
/// `Aws` when a batch is refused or cannot be sent.
pub async fn change(
    dns: &aws_sdk_route53::Client,
    zone_id: &str,
    what: &str,
    changes: Vec<(ChangeAction, ResourceRecordSet)>,
) -> Result<(), LabError> {
    for part in changes.chunks(CHANGES_MAX) {
        let part: Result<Vec<Change>, _> = part
            .iter()
            .map(|(action, set)| {
                Change::builder().action(action.clone()).resource_record_set(set.clone()).build()
            })
            .collect();
        let batch = part
            .and_then(|changes| ChangeBatch::builder().set_changes(Some(changes)).build())
            .map_err(|error| LabError::aws(what, error))?;
        dns.change_resource_record_sets()
            .hosted_zone_id(zone_id)
            .change_batch(batch)
            .send()
            .await
            .map_err(|error| LabError::aws(what, error))?;
    }
    Ok(())
}

/// What external-dns notes about a record that it owns.
fn ownership(route: &str, cluster: &Cluster) -> String {
    let ingress = route.split('.').next().unwrap_or(route);
    format!(
        "\"heritage=external-dns,external-dns/owner={},external-dns/resource=ingress/default/{ingress}\"",
        cluster.name
    )
}

fn value(what: &str, text: &str) -> Result<ResourceRecord, LabError> {
    ResourceRecord::builder().value(text).build().map_err(|error| LabError::aws(what, error))
}

async fn create_side(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    world: &WorldSpec,
    cluster: &ClusterSpec,
) -> Result<Cluster, LabError> {
    match world.groups {
        Groups::One => create_cluster(balancers, &cluster.name).await,
        Groups::EachHost => create_shared_cluster(balancers, &cluster.name, &world.routes).await,
    }
}

/// Makes a load balancer with one listener that forwards to one empty target group, as
/// aws-load-balancer-controller does of an Ingress.
///
/// # Errors
/// `Aws` when a call fails or its reply lacks a name.
pub async fn create_cluster(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    name: &str,
) -> Result<Cluster, LabError> {
    let (balancer, arn) = create_load_balancer(balancers, &format!("k8s-{name}")).await?;
    let target_group_arn = create_target_group(balancers, name, name).await?;
    create_listener(balancers, &arn, LISTENER_PORT, forward_to(&target_group_arn)).await?;
    Cluster::behind(name, &balancer, target_group_arn)
}

/// Makes a load balancer whose rules lead each of these host names to an empty target group of its own, as
/// aws-load-balancer-controller does of an `IngressGroup`.
async fn create_shared_cluster(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    name: &str,
    hosts: &[String],
) -> Result<Cluster, LabError> {
    let (balancer, arn) = create_load_balancer(balancers, &format!("k8s-{name}")).await?;
    create_listener(balancers, &arn, LISTENER_PORT, not_found()).await?;
    let mut cluster = Cluster::behind(name, &balancer, String::new())?;
    let each_host = add_hosts(balancers, &cluster, hosts).await?;
    if let Some(first) = each_host.first() {
        cluster = cluster.part(first);
    }
    Ok(Cluster { each_host, ..cluster })
}

/// Gives each of these host names a target group of its own behind a cluster's load balancer and a rule that leads to
/// it; gives the ARNs of the groups.
///
/// # Errors
/// `Aws` when a call fails.
pub async fn add_hosts(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    cluster: &Cluster,
    hosts: &[String],
) -> Result<Vec<String>, LabError> {
    let rules = rules_of(balancers, cluster).await?;
    let mut groups = Vec::new();
    for (host, priority) in hosts.iter().zip(1..) {
        let name = format!("{}-h{priority}", cluster.name);
        let group = create_target_group(balancers, &name, &cluster.name).await?;
        let forward = || forward_to(&group);
        // The emulator puts a group behind a load balancer by a listener alone, not by a rule.
        let by = create_listener(balancers, &cluster.balancer_arn, LISTENER_PORT + 1, forward());
        let deleted = balancers.delete_listener().listener_arn(by.await?).send().await;
        deleted.map_err(|error| LabError::aws(format!("make a group for {host}"), error))?;
        rules.add(priority, host, &forward()).await?;
        groups.push(group);
    }
    Ok(groups)
}

/// The rules of a cluster's first listener.
async fn rules_of(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    cluster: &Cluster,
) -> Result<Rules, LabError> {
    let of = balancers.describe_listeners().load_balancer_arn(&cluster.balancer_arn).send().await;
    let doing = format!("find the listener of {}", cluster.name);
    let of = of.map_err(|error| LabError::aws(doing, error))?;
    let listener = of.listeners().first().and_then(|listener| listener.listener_arn());
    let listener = listener.ok_or_else(|| empty_reply("the listener", &cluster.name))?;
    Ok(Rules::of(balancers, listener))
}

/// An application load balancer and its ARN.
pub(crate) async fn create_load_balancer(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    name: &str,
) -> Result<(LoadBalancer, String), LabError> {
    let balancer = balancers
        .create_load_balancer()
        .name(name)
        .subnets("subnet-0000000000000000a")
        .subnets("subnet-0000000000000000b")
        .send()
        .await
        .map_err(|error| LabError::aws(format!("create the load balancer {name}"), error))?
        .load_balancers
        .and_then(|all| all.into_iter().next())
        .ok_or_else(|| empty_reply("the load balancer", name))?;
    let arn = balancer.load_balancer_arn.clone();
    Ok((balancer, arn.ok_or_else(|| empty_reply("the load balancer", name))?))
}

/// The ARN of an empty target group, with the tag by which aws-load-balancer-controller knows its cluster's.
pub(crate) async fn create_target_group(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    name: &str,
    cluster: &str,
) -> Result<String, LabError> {
    let target_group = balancers
        .create_target_group()
        .name(format!("k8s-{name}"))
        .protocol(ProtocolEnum::Http)
        .port(8080)
        .vpc_id("vpc-00000001")
        .target_type(TargetTypeEnum::Ip)
        .tags(Tag::builder().key(CLUSTER_TAG).value(cluster).build())
        .send()
        .await
        .map_err(|error| LabError::aws(format!("create the target group {name}"), error))?
        .target_groups
        .and_then(|all| all.into_iter().next());
    let arn = target_group.and_then(|group| group.target_group_arn);
    arn.ok_or_else(|| empty_reply("the target group", name))
}

/// A listener that does this with what no rule of it takes; gives its ARN.
pub(crate) async fn create_listener(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    load_balancer_arn: &str,
    port: u16,
    default_action: Action,
) -> Result<String, LabError> {
    let listener = balancers
        .create_listener()
        .load_balancer_arn(load_balancer_arn)
        .protocol(ProtocolEnum::Http)
        .port(i32::from(port))
        .default_actions(default_action)
        .send()
        .await
        .map_err(|error| LabError::aws(format!("create a listener of {load_balancer_arn}"), error))?
        .listeners
        .and_then(|all| all.into_iter().next());
    let arn = listener.and_then(|listener| listener.listener_arn);
    arn.ok_or_else(|| empty_reply("a listener", load_balancer_arn))
}

/// Registers the targets 1 to `targets` in every target group of a cluster, which then counts them as its own.
///
/// # Errors
/// `Aws` when the call fails.
pub async fn register_targets(
    balancers: &aws_sdk_elasticloadbalancingv2::Client,
    cluster: &mut Cluster,
    targets: u16,
) -> Result<(), LabError> {
    let pods: Vec<_> = (1..=targets)
        .map(|pod| {
            let [high, low] = pod.to_be_bytes();
            TargetDescription::builder().id(format!("10.0.{high}.{low}")).port(8080).build()
        })
        .collect();
    for group in cluster.groups() {
        let register = balancers.register_targets().target_group_arn(group);
        let registered = register.set_targets(Some(pods.clone())).send().await;
        let doing = || format!("register targets of {}", cluster.name);
        registered.map_err(|error| LabError::aws(doing(), error))?;
    }
    cluster.targets = targets;
    Ok(())
}

/// A service has made something and does not tell of it.
pub(crate) fn empty_reply(what: &str, of: &str) -> LabError {
    LabError::Aws {
        doing: format!("create {what} of {of}"),
        reason: "the reply does not tell of it".to_owned(),
    }
}

/// All record sets of a zone, or of one name in it.
pub(crate) async fn record_sets(
    dns: &aws_sdk_route53::Client,
    zone_id: &str,
    name: Option<&str>,
) -> Result<Vec<ResourceRecordSet>, LabError> {
    let mut sets = Vec::new();
    let mut next = (name.map(ToOwned::to_owned), None, None);
    loop {
        let page = dns
            .list_resource_record_sets()
            .hosted_zone_id(zone_id)
            .set_start_record_name(next.0)
            .set_start_record_type(next.1)
            .set_start_record_identifier(next.2)
            .send()
            .await
            .map_err(|error| LabError::aws("list the records", error))?;
        let expected = sets.len() + page.resource_record_sets.len();
        let wanted = |set: &ResourceRecordSet| name.is_none_or(|name| same_name(&set.name, name));
        sets.extend(page.resource_record_sets.into_iter().take_while(wanted));
        // Names are sorted: one that is not wanted ends the search.
        if !page.is_truncated || sets.len() < expected {
            return Ok(sets);
        }
        next = (page.next_record_name, page.next_record_type, page.next_record_identifier);
    }
}

/// Whether two host names are the same to DNS.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}
