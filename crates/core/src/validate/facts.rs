//! What validation needs to know of the world, in plain types.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::evidence::Series;
use crate::router::RouteId;
use crate::router::survey::Group;

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
        /// `EvaluateTargetHealth`: Route 53 answers with it only while every target group behind it has a
        /// healthy target, whatever its weight.
        evaluates_health: bool,
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
    pub weight: Option<u32>,
    /// How Route 53 answers for it.
    pub policy: Policy,
    /// Its TTL in seconds; an alias has none.
    pub ttl_s: Option<u32>,
    /// Fingerprint of everything but the weight.
    pub shape: u32,
    /// Its Route 53 health check: while that fails, the record is out of the answers.
    pub health_check_id: Option<String>,
    /// Where it points.
    pub target: Target,
}

impl Record {
    /// Whether resolvers follow it to a side: type A, AAAA or CNAME.
    #[must_use]
    pub fn carries_traffic(&self) -> bool {
        matches!(self.kind.as_str(), "A" | "AAAA" | "CNAME")
    }

    /// Whether it is an alias that evaluates its target's health.
    #[must_use]
    pub const fn evaluates_health(&self) -> bool {
        matches!(self.target, Target::Alias { evaluates_health: true, .. })
    }
}

/// What a load balancer balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancerKind {
    /// HTTP requests: only these are counted.
    Application,
    /// Connections.
    Network,
    /// Packets.
    Gateway,
}

/// A load balancer that was found by its DNS name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLoadBalancer {
    /// The `LoadBalancer` dimension, `app/NAME/ID`.
    pub id: String,
    /// Its type.
    pub kind: LoadBalancerKind,
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

    /// Its target groups without a healthy target, also those that are empty. With any of them, Route 53 takes
    /// an alias that evaluates the target's health out of its answers.
    /// Source: Route 53 API reference, `AliasTarget` (`EvaluateTargetHealth`).
    pub fn groups_without_healthy_target(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.healthy == 0)
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
    /// The region that they were looked for in.
    pub region: String,
    /// Load balancers by [`dns_key`] of their DNS name.
    pub load_balancers: BTreeMap<String, FoundLoadBalancer>,
    /// By load balancer id, what it counted up to now: [`BASELINE_PERIODS`](crate::evidence::baseline) periods at
    /// most, the newest last: of the old side's, and of both sides' when the cutover is resumed. It may be empty
    /// while [`Outlook`](crate::validate::Outlook) says that the new side is waited for.
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
