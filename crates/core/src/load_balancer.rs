//! A load balancer, as far as evidence needs to know it.

use serde::{Deserialize, Serialize};

use crate::baseline::Baselines;

/// A load balancer and its target groups, named as CloudWatch's dimensions name them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The `LoadBalancer` dimension, `app/NAME/ID`: the end of its ARN after `loadbalancer/`.
    pub id: String,
    /// The `TargetGroup` dimensions, `targetgroup/NAME/ID`, whose healthy hosts are watched:
    /// all of the new side's, none of the old side's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_groups: Vec<String>,
    /// What it did before the ramp: told of the old side's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baselines>,
}
