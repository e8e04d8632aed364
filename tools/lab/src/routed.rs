//! The two clusters behind what splits their requests, whichever router that is.

use aws_config::SdkConfig;

use crate::alb::{AlbSpec, AlbWorld};
use crate::error::LabError;
use crate::scenario::Router;
use crate::world::{Cluster, LiveWeights, World, WorldSpec, Zone};

/// A world with its clusters.
#[derive(Debug)]
pub enum Routed {
    /// Behind the weighted records of a zone.
    ByRecords(World),
    /// Behind the rules of one load balancer.
    ByRules(AlbWorld),
}

impl Routed {
    /// Creates a zone and the records in it; without the new side's when that comes later.
    ///
    /// # Errors
    /// `Aws` when a service refuses a part of it.
    pub async fn by_records(
        config: &SdkConfig,
        zone: &str,
        spec: WorldSpec,
        new_side: bool,
    ) -> Result<Self, LabError> {
        let zone = Zone::create(config, zone).await?;
        let world = if new_side {
            World::create(config, &zone, spec).await?
        } else {
            World::create_old(config, &zone, spec).await?
        };
        Ok(Self::ByRecords(world))
    }

    /// Creates a load balancer and its rules.
    ///
    /// # Errors
    /// `Aws` when the service refuses a part of it.
    pub async fn by_rules(config: &SdkConfig, spec: AlbSpec) -> Result<Self, LabError> {
        Ok(Self::ByRules(AlbWorld::create(config, spec).await?))
    }

    /// The host names.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        match self {
            Self::ByRecords(world) => world.routes(),
            Self::ByRules(world) => world.routes(),
        }
    }

    /// The old cluster and, once there is one, the new one.
    #[must_use]
    pub fn clusters(&self) -> (&Cluster, Option<&Cluster>) {
        match self {
            Self::ByRecords(world) => (&world.old, world.new.as_ref()),
            Self::ByRules(world) => (&world.old, Some(&world.new)),
        }
    }

    /// The weights that every route has now, in the order of [`Routed::routes`], from the router's service.
    ///
    /// # Errors
    /// `Aws` when they cannot be read.
    pub async fn live_weights(&self) -> Result<Vec<LiveWeights>, LabError> {
        match self {
            Self::ByRecords(world) => world.live_weights().await,
            Self::ByRules(world) => world.live_weights().await,
        }
    }

    /// Gives one route these weights without asking what it had.
    ///
    /// # Errors
    /// `Aws` when they cannot be read or changed.
    pub async fn overwrite_weights(&self, route: &str, old: u16, new: u16) -> Result<(), LabError> {
        match self {
            Self::ByRecords(world) => world.overwrite_weights(route, old, new).await,
            Self::ByRules(world) => world.overwrite_weights(route, old, new).await,
        }
    }

    /// The world in which a cluster can still appear.
    ///
    /// # Errors
    /// `NotPlayed` for a load balancer, behind which both stand from the start.
    pub fn growing(&mut self) -> Result<&mut World, LabError> {
        match self {
            Self::ByRecords(world) => Ok(world),
            Self::ByRules(_) => Err(LabError::NotPlayed {
                what: "a cluster that appears during the run".to_owned(),
                router: Router::Alb,
            }),
        }
    }
}
