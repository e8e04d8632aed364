//! Where the rules stand: how a request says it, and what the state keeps of it.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::{Failure, Fields, RouteId, RouterSyntax};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{arn, rule};
use crate::router::host_name;

/// Its name in requests and in the state.
pub(crate) const KIND: &str = "alb";
/// The tag that aws-load-balancer-controller puts on what it makes, with the name of its cluster.
const SIDE_TAG: &str = "elbv2.k8s.aws/cluster";

/// Listeners of one request.
const LISTENERS_MAX: usize = 20;
/// Target groups of one side. Source: Elastic Load Balancing user guide, "Quotas for your Application Load Balancers"
/// (target groups for each load balancer, for as many load balancers as there may be listeners).
const GROUPS_MAX: usize = 100 * LISTENERS_MAX;
/// Longest name of a side and longest key of a tag, in characters.
/// Source: Elastic Load Balancing API reference, `Tag`.
const NAME_CHARS_MAX: usize = 128;

const LISTENER_ALLOWED: &str = "the ARN of a listener (arn:…:listener/app/NAME/ID/ID), or the name and port of a load \
     balancer (NAME:PORT); or a list of 1 to 20 of these";
const GROUPS_ALLOWED: &str =
    "the ARN of a target group (arn:…:targetgroup/NAME/ID), or a list of these";
const SIDES_ALLOWED: &str = "the names of two or more sides, each with the ARN of its target group, or with a list of \
     these: {\"blue\": \"arn:…\", \"green\": \"arn:…\"}";

/// `"router": {"alb": {"listener": …}}`.
pub const SYNTAX: RouterSyntax = RouterSyntax {
    kind: KIND,
    own_fields: &[],
    place: |fields| Some(json!(Place::asked(fields))),
    route: |text| {
        let is_arn = arn::is_rule(text) || arn::is_listener(text);
        if is_arn { Some(RouteId::from(text)) } else { host_name(text) }
    },
    means: |asked, alias| rule::matches(alias.as_str().as_bytes(), asked.as_str().as_bytes()),
    route_allowed: "a host name (letters, digits, - and _, with * only as the whole first label), the ARN of a rule, or \
         the ARN of a listener for its default action",
    meets: |place, scopes| {
        let Some(named) = place.get("listener").and_then(named_listeners) else { return true };
        named.iter().any(|named| scopes.iter().any(|scope| scope.eq_ignore_ascii_case(named)))
    },
};

/// What to do with rules that something else writes back by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherWriters {
    /// Refuse them.
    #[default]
    Refuse,
    /// Say so and go on.
    Warn,
}

/// The place of a request, and that of a cutover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// As the request names them: ARNs, or `NAME:PORT`. In the state all are ARNs.
    pub(super) listeners: Vec<String>,
    /// Key of the tag of a target group whose value names the side; empty where `target_groups` does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) side_tag: String,
    /// The ARNs of each side's target groups, where the request names them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) target_groups: BTreeMap<String, Vec<String>>,
    /// What to do with rules that something else writes back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) other_writers: OtherWriters,
    /// What each route of a cutover stands for; a request has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) rules: BTreeMap<RouteId, Known>,
}

/// What a route stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The ARN of its rule, or that of the listener whose default action it is.
    pub(super) arn: String,
    /// The ARN of the old side's target group.
    pub(super) old: String,
    /// The ARN of the new side's target group.
    pub(super) new: String,
}

impl Place {
    /// Reads the place of a state, or the one that [`asked`](Place::asked) made.
    ///
    /// # Errors
    /// `InvalidInput` (`unreadable_state`) when it lacks something.
    pub(super) fn read(place: &Value) -> Result<Self, Failure> {
        Self::deserialize(place).map_err(|error| {
            let message = format!("the place of router {KIND} cannot be read: {error}: {place}");
            Failure::invalid("unreadable_state", message)
        })
    }

    /// Reads the router's fields of a request. Every problem is kept in `fields`.
    fn asked(fields: &mut Fields<'_>) -> Self {
        let label = fields.label("listener");
        let listener: Option<Value> = fields.required("listener", LISTENER_ALLOWED, |_| true);
        let listeners = listener.map(|value| {
            let of = Texts { label: &label, allowed: LISTENER_ALLOWED, max: LISTENERS_MAX };
            of.read(fields, &value, is_listener)
        });
        let label = fields.label("side_tag");
        let allowed = format!("the key of a tag, 1 to {NAME_CHARS_MAX} characters");
        let side_tag: Option<String> =
            fields.optional("side_tag", &allowed, |key: &String| is_name(key));
        let target_groups = target_groups(fields);
        if let (Some(side_tag), Some(_)) = (&side_tag, &target_groups) {
            let allowed =
                "one of side_tag and target_groups: each says by itself which side is whose";
            fields.refuse(&label, &json!(side_tag), allowed);
        }
        let default = if target_groups.is_some() { "" } else { SIDE_TAG };
        let other_writers =
            fields.or("other_writers", OtherWriters::default(), "\"refuse\" or \"warn\"", |_| true);
        Self {
            listeners: listeners.unwrap_or_default(),
            side_tag: side_tag.unwrap_or_else(|| default.to_owned()),
            target_groups: target_groups.unwrap_or_default(),
            other_writers,
            rules: BTreeMap::new(),
        }
    }
}

/// The target groups of each side; `None` when the request names none.
fn target_groups(fields: &mut Fields<'_>) -> Option<BTreeMap<String, Vec<String>>> {
    let label = fields.label("target_groups");
    let are_sides =
        |sides: &Map<String, Value>| sides.len() > 1 && sides.keys().all(|side| is_name(side));
    let sides = fields.optional("target_groups", SIDES_ALLOWED, are_sides)?;
    let groups = sides.into_iter().map(|(side, value)| {
        let label = format!("{label}.{side}");
        let of = Texts { label: &label, allowed: GROUPS_ALLOWED, max: GROUPS_MAX };
        let groups = of.read(fields, &value, arn::is_target_group);
        (side, groups)
    });
    Some(groups.collect())
}

/// A field that is a text or a list of texts.
struct Texts<'t> {
    label: &'t str,
    allowed: &'t str,
    max: usize,
}

impl Texts<'_> {
    /// The texts, each once. Every one that is none has a problem.
    fn read(&self, fields: &mut Fields<'_>, value: &Value, ok: fn(&str) -> bool) -> Vec<String> {
        let entries: Vec<(String, &Value)> = match value {
            Value::Array(list) if (1..=self.max).contains(&list.len()) => {
                let labels = (0..).map(|index: usize| format!("{}[{index}]", self.label));
                labels.zip(list).collect()
            }
            Value::String(_) => vec![(self.label.to_owned(), value)],
            _ => {
                fields.refuse(self.label, value, self.allowed);
                Vec::new()
            }
        };
        let mut texts = BTreeSet::new();
        for (label, value) in entries {
            if let Some(text) = value.as_str().filter(|text| ok(text)) {
                texts.insert(text.to_owned());
            } else {
                fields.refuse(&label, value, self.allowed);
            }
        }
        texts.into_iter().collect()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.chars().count())
}

fn is_listener(text: &str) -> bool {
    arn::is_listener(text) || name_and_port(text).is_some()
}

/// Reads `NAME:PORT`. Source: Elastic Load Balancing API reference, `CreateLoadBalancer` (Name), `CreateListener` (Port).
pub(super) fn name_and_port(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.split_once(':')?;
    let is_name = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let port = port.parse().ok().filter(|number| *number > 0 && u16::to_string(number) == port)?;
    is_name.then_some((name, port))
}

/// The listeners of a request as it stands, whatever else is in it; `None` when they cannot be read.
fn named_listeners(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        one => Some(vec![one.as_str()?]),
    }
}
