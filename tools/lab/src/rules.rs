//! The rules of one listener: which host names' requests go to which target groups.

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, ForwardActionConfig,
    HostHeaderConditionConfig, Rule, RuleCondition, TargetGroupTuple,
};

use crate::error::LabError;

/// A listener whose rules can be read and changed.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The listener's ARN.
    pub listener_arn: String,
    balancers: Client,
}

/// The target groups of one rule with their weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The host name that the rule takes.
    pub host: String,
    /// ARN and weight of each group.
    pub groups: Vec<(String, u32)>,
}

impl Rules {
    /// The rules of the listener with this ARN.
    #[must_use]
    pub fn of(balancers: &Client, listener_arn: &str) -> Self {
        Self { listener_arn: listener_arn.to_owned(), balancers: balancers.clone() }
    }

    /// What every rule that takes a host name splits now, from the load balancer.
    ///
    /// # Errors
    /// `Aws` when the rules cannot be read.
    pub async fn splits(&self) -> Result<Vec<Split>, LabError> {
        let split =
            |rule: &Rule| Some(Split { host: host(rule)?.to_owned(), groups: groups(rule) });
        Ok(self.all().await?.iter().filter_map(split).collect())
    }

    /// Adds a rule that takes a host name's requests.
    ///
    /// # Errors
    /// `Aws` when it is refused.
    pub(crate) async fn add(
        &self,
        priority: i32,
        host: &str,
        action: &Action,
    ) -> Result<(), LabError> {
        let create = self.balancers.create_rule().listener_arn(&self.listener_arn);
        let create = create.priority(priority).conditions(takes(host)).actions(action.clone());
        let doing = |error| LabError::aws(format!("create the rule of {host}"), error);
        create.send().await.map(drop).map_err(doing)
    }

    /// Gives the rule of a host name another action.
    ///
    /// # Errors
    /// `Aws` when the rules cannot be read or changed.
    pub(crate) async fn set_action(&self, of: &str, action: Action) -> Result<(), LabError> {
        let arn = self.arn(of).await?;
        let modified = self.balancers.modify_rule().set_rule_arn(arn).actions(action).send().await;
        modified.map(drop).map_err(|error| LabError::aws(format!("change the rule of {of}"), error))
    }

    /// Lets the rule of one host name take another's requests.
    ///
    /// # Errors
    /// `Aws` when the rules cannot be read or changed.
    pub async fn rename(&self, of: &str, to: &str) -> Result<(), LabError> {
        let arn = self.arn(of).await?;
        let modified =
            self.balancers.modify_rule().set_rule_arn(arn).conditions(takes(to)).send().await;
        modified.map(drop).map_err(|error| LabError::aws(format!("change the rule of {of}"), error))
    }

    async fn arn(&self, of: &str) -> Result<Option<String>, LabError> {
        let rules = self.all().await?;
        Ok(rules.into_iter().find(|rule| host(rule) == Some(of)).and_then(|rule| rule.rule_arn))
    }

    async fn all(&self) -> Result<Vec<Rule>, LabError> {
        let mut rules = Vec::new();
        let mut marker = None;
        loop {
            let describe = self.balancers.describe_rules().listener_arn(&self.listener_arn);
            let page = describe.set_marker(marker).send().await;
            let page = page.map_err(|error| LabError::aws("read the rules", error))?;
            rules.extend(page.rules.unwrap_or_default());
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(rules);
            }
        }
    }
}

/// What aws-load-balancer-controller lets a listener do with requests that no rule takes.
pub(crate) fn not_found() -> Action {
    let answer = FixedResponseActionConfig::builder().status_code("404").content_type("text/plain");
    let action = Action::builder().r#type(ActionTypeEnum::FixedResponse);
    action.fixed_response_config(answer.build()).build()
}

/// Forwards to one target group.
pub(crate) fn forward_to(group_arn: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group_arn).build()
}

/// Forwards to these target groups by these weights.
pub(crate) fn forward<'a>(groups: impl IntoIterator<Item = (&'a str, u16)>) -> Action {
    let group = |(arn, weight): (&str, u16)| {
        TargetGroupTuple::builder().target_group_arn(arn).weight(i32::from(weight)).build()
    };
    let groups = groups.into_iter().map(group).collect();
    let forward = ForwardActionConfig::builder().set_target_groups(Some(groups)).build();
    Action::builder().r#type(ActionTypeEnum::Forward).order(1).forward_config(forward).build()
}

/// The condition of a rule for one host name.
fn takes(host: &str) -> RuleCondition {
    let hosts = HostHeaderConditionConfig::builder().values(host).build();
    RuleCondition::builder().field("host-header").host_header_config(hosts).build()
}

/// The host name that a rule takes.
fn host(rule: &Rule) -> Option<&str> {
    let hosts = rule.conditions().iter().find_map(RuleCondition::host_header_config)?;
    hosts.values().first().map(String::as_str)
}

/// ARN and weight of each target group of a rule. A group that is named without a weight is the only one.
fn groups(rule: &Rule) -> Vec<(String, u32)> {
    let of = |action: &Action| -> Vec<(String, u32)> {
        let Some(forward) = action.forward_config() else {
            return action.target_group_arn().map(|arn| (arn.to_owned(), 1)).into_iter().collect();
        };
        let group = |group: &TargetGroupTuple| {
            let weight = group.weight().and_then(|weight| u32::try_from(weight).ok())?;
            Some((group.target_group_arn()?.to_owned(), weight))
        };
        forward.target_groups().iter().filter_map(group).collect()
    };
    rule.actions().iter().flat_map(of).collect()
}
