//! What cutover finds where both clusters stand behind one load balancer: a listener with a rule for each host name,
//! which forwards to a target group of either cluster, by weights.

use aws_config::SdkConfig;

use crate::error::LabError;
use crate::rules::{Rules, forward, not_found};
use crate::world::{
    Cluster, ClusterSpec, LISTENER_PORT, LiveWeights, create_listener, create_load_balancer,
    create_target_group, empty_reply, register_targets,
};

/// The load balancer to make, and what it splits between which clusters.
#[derive(Clone, Debug)]
pub struct AlbSpec {
    /// Name of the load balancer; up to 32 letters, digits and `-`.
    pub name: String,
    /// Host names, each with a rule of its own.
    pub routes: Vec<String>,
    /// The cluster that serves today.
    pub old: ClusterSpec,
    /// The cluster that shall serve.
    pub new: ClusterSpec,
}

impl AlbSpec {
    /// What a request calls the listener: the load balancer's name and the port.
    #[must_use]
    pub fn listener(&self) -> String {
        format!("{}:{LISTENER_PORT}", self.name)
    }
}

/// The load balancer on the emulator, and the handles to change it.
#[derive(Clone, Debug)]
pub struct AlbWorld {
    /// The listener, as `NAME:PORT`.
    pub listener: String,
    /// The listener's rules.
    pub rules: Rules,
    /// The old side.
    pub old: Cluster,
    /// The new side.
    pub new: Cluster,
    routes: Vec<String>,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
}

impl AlbWorld {
    /// Creates it on an emulator that keeps weights, ready to be cut over.
    ///
    /// # Errors
    /// `Aws` when the service refuses a part of it.
    pub async fn create(config: &SdkConfig, spec: AlbSpec) -> Result<Self, LabError> {
        let listener = spec.listener();
        let AlbSpec { name, routes, old, new } = spec;
        let balancers = aws_sdk_elasticloadbalancingv2::Client::new(config);
        let (balancer, arn) = create_load_balancer(&balancers, &name).await?;
        let mut clusters = Vec::new();
        for spec in [&old, &new] {
            let group = create_target_group(&balancers, &spec.name, &spec.name).await?;
            let mut cluster = Cluster::behind(&spec.name, &balancer, group)?;
            if spec.targets > 0 {
                register_targets(&balancers, &mut cluster, spec.targets).await?;
            }
            clusters.push((cluster, spec.weight));
        }
        let listener_arn = create_listener(&balancers, &arn, LISTENER_PORT, not_found()).await?;
        let rules = Rules::of(&balancers, &listener_arn);
        let forward = forward(clusters.iter().map(|(c, weight)| (c.target_group_arn(), *weight)));
        for (priority, route) in (1..).zip(&routes) {
            rules.add(priority, route, &forward).await?;
        }
        let mut clusters = clusters.into_iter().map(|(cluster, _)| cluster);
        let mut next = || clusters.next().ok_or_else(|| empty_reply("the clusters", &name));
        Ok(Self { listener, rules, old: next()?, new: next()?, routes, balancers })
    }

    /// Adds a route whose rule has target groups of its own, each with one target: the old side's has all the weight.
    /// Gives both sides as that rule has them.
    ///
    /// # Errors
    /// `Aws` when the service refuses a part of it.
    pub async fn add_route(&mut self, route: &str) -> Result<[Cluster; 2], LabError> {
        let number = self.routes.len() + 1;
        let mut sides = [self.old.clone(), self.new.clone()];
        for side in &mut sides {
            let name = format!("{}-{number}", side.name);
            let group = create_target_group(&self.balancers, &name, &side.name).await?;
            *side = side.with_group(&group);
            register_targets(&self.balancers, side, 1).await?;
        }
        let arns = sides.each_ref().map(Cluster::target_group_arn);
        let forward = forward(arns.into_iter().zip([100, 0]));
        let priority = i32::try_from(number).map_err(|error| LabError::aws("add a rule", error))?;
        self.rules.add(priority, route, &forward).await?;
        self.routes.push(route.to_owned());
        Ok(sides)
    }

    /// The host names.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// The weights that every route has now, in the order of [`AlbWorld::routes`], from the load balancer.
    ///
    /// # Errors
    /// `Aws` when the rules cannot be read.
    pub async fn live_weights(&self) -> Result<Vec<LiveWeights>, LabError> {
        let splits = self.rules.splits().await?;
        let weight = |route: &str, cluster: &Cluster| {
            let split = splits.iter().find(|split| split.host == route)?;
            let group = split.groups.iter().find(|(arn, _)| arn == cluster.target_group_arn())?;
            Some(i64::from(group.1))
        };
        let live = |route: &String| LiveWeights {
            route: route.clone(),
            old: weight(route, &self.old),
            new: weight(route, &self.new),
        };
        Ok(self.routes.iter().map(live).collect())
    }

    /// Gives one route these weights without asking what it had: what a person at the console does.
    ///
    /// # Errors
    /// `Aws` when the rules cannot be read or changed.
    pub async fn overwrite_weights(&self, route: &str, old: u16, new: u16) -> Result<(), LabError> {
        let sides = [(&self.old, old), (&self.new, new)];
        let forward = forward(sides.map(|(cluster, weight)| (cluster.target_group_arn(), weight)));
        self.rules.set_action(route, forward).await
    }
}
