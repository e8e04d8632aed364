//! What the record sets of a route's name say.

use std::collections::BTreeMap;

use aws_sdk_route53::types::{ResourceRecord, ResourceRecordSet, RrType};
use cutover_core::limits::ROUTE53_ALIAS_TTL_S;
use cutover_core::{Live, Sides, Weights};

use crate::router::Fingerprint;

/// The record sets of both sides of one type.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// `A`, `AAAA` or `CNAME`.
    pub(crate) kind: RrType,
    pub(crate) old: ResourceRecordSet,
    pub(crate) new: ResourceRecordSet,
    pub(crate) weights: Weights,
    /// Fingerprint of both but for their weights.
    pub(crate) shape: u32,
}

/// A route's weighted record sets of both sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    /// One a type.
    pub(crate) whole: Vec<Pair>,
    /// Types of which one side alone has a record: the type, and whether that is the new side's.
    pub(crate) halves: Vec<(RrType, bool)>,
}

impl Pairs {
    /// # Errors
    /// A sentence, for a weight that can be none.
    pub(crate) fn of(sets: &[ResourceRecordSet], sides: &Sides) -> Result<Self, String> {
        let mut kinds: BTreeMap<&str, [Option<&ResourceRecordSet>; 2]> = BTreeMap::new();
        for set in sets.iter().filter(|set| is_routing(set) && set.weight().is_some()) {
            let [old, new] = kinds.entry(set.r#type().as_str()).or_default();
            match set.set_identifier() {
                Some(id) if *id == sides.old => *old = Some(set),
                Some(id) if *id == sides.new => *new = Some(set),
                _ => {}
            }
        }
        let mut pairs = Self::default();
        for pair in kinds.into_values() {
            match pair {
                [Some(old), Some(new)] => pairs.whole.push(Pair {
                    kind: old.r#type().clone(),
                    weights: Weights { old: weight(old)?, new: weight(new)? },
                    shape: shape(old).wrapping_add(shape(new)),
                    old: old.clone(),
                    new: new.clone(),
                }),
                [Some(alone), None] => pairs.halves.push((alone.r#type().clone(), false)),
                [None, Some(alone)] => pairs.halves.push((alone.r#type().clone(), true)),
                [None, None] => {}
            }
        }
        Ok(pairs)
    }

    /// The one split of all types.
    pub(crate) fn split(&self, sides: &Sides) -> Live {
        if let Some((kind, is_new)) = self.halves.first() {
            let missing = if *is_new { &sides.old } else { &sides.new };
            return Live::Unclear(format!("the {} record of {missing} is missing", kind.as_str()));
        }
        let Some(first) = self.whole.first() else {
            let Sides { old, new } = sides;
            return Live::Unclear(format!("there is no weighted record of {old} or {new}"));
        };
        match self.whole.iter().find(|pair| pair.weights != first.weights) {
            Some(other) => Live::Unclear(format!(
                "the {} records have weights {}, the {} records {}",
                first.kind.as_str(),
                first.weights,
                other.kind.as_str(),
                other.weights
            )),
            None => Live::At(first.weights),
        }
    }

    /// The fingerprints of all types, sorted.
    pub(crate) fn shapes(&self) -> Vec<u32> {
        let mut shapes: Vec<u32> = self.whole.iter().map(|pair| pair.shape).collect();
        shapes.sort_unstable();
        shapes
    }

    /// The weights of the pairs, where these agree, whatever one side alone has beside them.
    pub(crate) fn whole_split(&self) -> Option<Weights> {
        let first = self.whole.first()?.weights;
        self.whole.iter().all(|pair| pair.weights == first).then_some(first)
    }
}

impl Pair {
    /// Where the requests go now, for people: `old A alias lb.example, new A 192.0.2.1 TTL 60 s`.
    pub(crate) fn described(&self) -> String {
        let of = |side: &str, set: &ResourceRecordSet| {
            let kind = set.r#type().as_str();
            if let Some(alias) = set.alias_target() {
                return format!("{side} {kind} alias {}", alias.dns_name());
            }
            let values: Vec<&str> =
                set.resource_records().iter().map(ResourceRecord::value).collect();
            format!("{side} {kind} {} TTL {} s", values.join(" "), ttl_s(set))
        };
        format!("{}, {}", of("old", &self.old), of("new", &self.new))
    }

    /// How long the longer of the two answers may be kept, in seconds.
    pub(crate) fn ttl_s(&self) -> u32 {
        ttl_s(&self.old).max(ttl_s(&self.new))
    }
}

/// A third set identifier with weight takes traffic away from both sides: their weights then
/// say nothing of the split.
pub(crate) fn no_third(sets: &[ResourceRecordSet], sides: &Sides) -> Result<(), String> {
    let third = sets.iter().filter(|set| is_routing(set) && set.weight().is_some_and(|w| w > 0));
    let mut ids = third.filter_map(ResourceRecordSet::set_identifier);
    match ids.find(|id| *id != sides.old && *id != sides.new) {
        Some(id) => Err(format!("records of a third set identifier, {id:?}, have weight")),
        None => Ok(()),
    }
}

pub(crate) fn ttl_s(set: &ResourceRecordSet) -> u32 {
    match (set.alias_target(), set.ttl()) {
        (None, Some(ttl)) => u32::try_from(ttl).unwrap_or(u32::MAX),
        _ => ROUTE53_ALIAS_TTL_S,
    }
}

/// A fingerprint of everything of a record set but its weight.
pub(crate) fn shape(set: &ResourceRecordSet) -> u32 {
    let mut shape = Fingerprint::default();
    let mut add = |text: &str| shape.add(text);
    add(set.r#type().as_str());
    add(set.set_identifier().unwrap_or_default());
    add(&set.ttl().map_or_else(String::new, |ttl| ttl.to_string()));
    add(set.health_check_id().unwrap_or_default());
    add(set.traffic_policy_instance_id().unwrap_or_default());
    if let Some(alias) = set.alias_target() {
        add(alias.hosted_zone_id());
        add(&alias.dns_name().trim_end_matches('.').to_ascii_lowercase());
        add(if alias.evaluate_target_health() { "evaluates" } else { "" });
    }
    let mut values: Vec<&str> = set.resource_records().iter().map(ResourceRecord::value).collect();
    values.sort_unstable();
    values.into_iter().for_each(add);
    shape.finish()
}

pub(crate) fn is_routing(set: &ResourceRecordSet) -> bool {
    matches!(set.r#type(), RrType::A | RrType::Aaaa | RrType::Cname)
}

fn weight(set: &ResourceRecordSet) -> Result<u32, String> {
    let weight = set.weight().unwrap_or_default();
    u32::try_from(weight).map_err(|_| format!("{weight} is not a weight"))
}
