//! The worlds of the router `alb`: two clusters behind one load balancer, in an account of their own.

use std::sync::atomic::Ordering;

use aws_sdk_cloudwatch::types::Dimension;
use lab::alb::{AlbSpec, AlbWorld};
use lab::aws;
use lab::proxy::Proxy;
use lab::world::{Cluster, ClusterSpec};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    Account, Case, Counted, FINE, Rate, WORLDS, deregister_targets, health, of_group, ramp, until,
};

/// Tests of this account that run at a time, beside those of the other: they settle most of their time.
const AT_A_TIME: usize = 5;
static ROOM: Semaphore = Semaphore::const_new(AT_A_TIME);

/// The account whose load balancers keep weights.
static ACCOUNT: OnceCell<Account> = OnceCell::const_new();

/// What a test's world is made of.
#[derive(Clone, Debug)]
pub struct GivenAlb {
    /// Number of routes.
    pub routes: usize,
    /// What the old and the new side count.
    pub rates: (Rate, Rate),
}

impl Default for GivenAlb {
    /// One route and two sides that do well.
    fn default() -> Self {
        Self { routes: 1, rates: (FINE, FINE) }
    }
}

impl GivenAlb {
    /// Makes it so, once there is room.
    pub async fn case(self) -> Case<AlbWorld> {
        let room = ROOM.acquire().await.expect("never closed");
        let account = ACCOUNT.get_or_init(|| Account::start(true)).await;
        let (balancers, _) = account.balancers.as_ref().expect("apart");
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let cluster = |side: &str, weight| ClusterSpec {
            name: format!("{side}-{number}"),
            targets: 2,
            weight,
        };
        let spec = AlbSpec {
            name: format!("k8s-world-{number}"),
            routes: (0..self.routes).map(|index| format!("app-{index}.w{number}.test")).collect(),
            old: cluster("blue", 100),
            new: cluster("green", 0),
        };
        let balancing = aws::sdk_config(&balancers.endpoint());
        let world = AlbWorld::create(&balancing, spec).await.expect("a world");
        let config = aws::sdk_config(&account.emulator.endpoint());
        let case = Case { account, config, world, _room: room };
        case.count(&case.world.old, self.rates.0).await;
        case.count(&case.world.new, self.rates.1).await;
        case
    }
}

/// One load balancer has both sides: only their target groups tell them apart.
impl Counted for AlbWorld {
    fn dimensions(side: &Cluster) -> Vec<Dimension> {
        of_group(side)
    }
}

impl Case<AlbWorld> {
    /// The proxy between the functions and the load balancers.
    #[must_use]
    pub fn balancing(&self) -> &Proxy {
        &self.account.balancers.as_ref().expect("apart").1
    }

    /// A request for this world: two steps, one-second periods.
    #[must_use]
    pub fn request(&self) -> Value {
        json!({"new": self.world.new.name, "router": {"alb": {"listener": self.world.listener}},
               "ramp": ramp(), "health": health(), "ready_timeout_s": 60})
    }

    /// Takes every target away from the new side.
    pub async fn deregister_new_targets(&self) {
        let (balancers, _) = self.account.balancers.as_ref().expect("apart");
        deregister_targets(&aws::sdk_config(&balancers.endpoint()), &self.world.new).await;
    }

    /// The weights of every route, from the load balancer.
    pub async fn live(&self) -> Vec<(i64, i64)> {
        let live = self.world.live_weights().await.expect("read");
        let weight = |weight: Option<i64>| weight.unwrap_or(-1);
        live.iter().map(|route| (weight(route.old), weight(route.new))).collect()
    }

    /// Waits until the routes have these weights.
    pub async fn until_live(&self, weights: &[(i64, i64)]) {
        until(&format!("weights {weights:?} behind {}", self.world.listener), async || {
            (self.live().await == weights).then_some(())
        })
        .await;
    }
}
