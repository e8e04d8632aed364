//! What validation needs to know of the world, in plain types.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::evidence::Series;
use crate::split::RouteId;

/// How Route 53 answers for a record set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// One record set a name and type.
    Simple,
    /// By weight.
    Weighted,
    /// Latency, failover, geolocation, multivalue or any other.
    Other,
}

/// Where a record set points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An alias to an AWS resource.
    Alias {
        /// The resource's DNS name, as Route 53 has it.
        dns_name: String,
    },
    /// Plain values.
    Values(Vec<String>),
}

/// One record set of a hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: RouteId,
    /// Its type: `A`, `AAAA`, `CNAME`, `TXT`, …
    pub kind: String,
    /// Its set identifier; a simple one has none.
    pub set_identifier: Option<String>,
    /// Its weight, when it is weighted.
    pub weight: Option<u16>,
    /// How Route 53 answers for it.
    pub policy: Policy,
    /// Its TTL in seconds; an alias has none.
    pub ttl_s: Option<u32>,
    /// Fingerprint of everything but the weight.
    pub shape: u32,
    /// Where it points.
    pub target: Target,
}

/// A target group of a load balancer that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The `TargetGroup` dimension, `targetgroup/NAME/ID`.
    pub id: String,
    /// Its targets that are healthy.
    pub healthy: u32,
    /// All of its targets.
    pub registered: u32,
}

/// A load balancer that was found by its DNS name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLoadBalancer {
    /// The `LoadBalancer` dimension, `app/NAME/ID`.
    pub id: String,
    /// Whether it is active.
    pub active: bool,
    /// Its target groups.
    pub groups: Vec<Group>,
}

impl FoundLoadBalancer {
    /// Healthy targets of all its groups.
    #[must_use]
    pub fn healthy(&self) -> u32 {
        self.groups.iter().map(|group| group.healthy).sum()
    }
}

/// A running execution of the same state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its input, JSON text; `None` when it could not be had.
    pub input: Option<String>,
}

/// What was found out about the load balancers, alarms and executions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Load balancers by [`dns_key`] of their DNS name.
    pub load_balancers: BTreeMap<String, FoundLoadBalancer>,
    /// By load balancer id, what it counted up to now: [`BASELINE_PERIODS`](crate::baseline) periods at
    /// most, the newest last. Told of the old side's, and of both sides' when the cutover is resumed.
    pub history: BTreeMap<String, Series>,
    /// Of the named alarms those that exist, and whether they are in ALARM.
    pub alarms: Vec<(String, bool)>,
    /// Other running executions.
    pub running: Vec<Running>,
}

/// A load balancer's DNS name as it is compared: lower case, no dot at the end, no `dualstack.`.
#[must_use]
pub fn dns_key(dns_name: &str) -> String {
    let name = dns_name.trim_end_matches('.').to_ascii_lowercase();
    name.strip_prefix("dualstack.").map_or(name.clone(), str::to_owned)
}
