//! What the records of a zone say about a request.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::limits::{DNS_NAME_CHARS_MAX, ROUTE53_ALIAS_TTL_S, route53};
use cutover_core::{
    Endpoint, ExternalDns, Finding, Found, Problem, Remedy, Request, RouteId, Sides, Survey,
    Weights, listed,
};

use super::ownership::{Ownership, Registry};
use super::zone::{Policy, Record, Target, Zone};
use super::{fence, place};
use crate::capacity::dns_key;

/// Longest TTL of a record, in seconds: longer ones leave traffic on a bad side for too long.
const TTL_S_MAX: u32 = 300;

/// Who else writes weights, and what to do about it.
const EXTERNAL_DNS: (&str, &str) = (
    "external-dns",
    "run it with --policy=create-only or set the weights in the Ingress annotations",
);
const OLD_IS_EVALUATED: &str = "its alias has EvaluateTargetHealth, so Route 53 sends everything to the new side \
     whatever the weights, and a roll-back would bring nothing back: give each of them a healthy target, take them \
     off the load balancer, or turn EvaluateTargetHealth off";
const NEW_IS_EVALUATED: &str = "its alias has EvaluateTargetHealth, so Route 53 would send nothing to it: give each of \
     them a healthy target, take them off the load balancer, or turn EvaluateTargetHealth off";

/// Finds the routes in the zone's records, and the old side if the request names none. [`add_owners`] adds who owns
/// the records.
pub(super) fn survey(request: &Request, zone: &Zone, records: &[Record]) -> Survey {
    let mut reader =
        Reader { request, zone, left_out: None, findings: Vec::new(), health_checked: Vec::new() };
    let by_name = by_name(records);
    let asked_for = reader.routes_asked_for(&by_name);
    let sides = reader.find_sides(&by_name);
    let fences: BTreeMap<&RouteId, &Record> =
        records.iter().filter(|r| r.kind == "TXT").map(|r| (&r.name, r)).collect();
    let mut found = Vec::new();
    if let Some(sides) = &sides {
        for route in asked_for.unwrap_or_else(|| reader.discover(&by_name, sides)) {
            let records = by_name.get(&route).map_or(&[][..], Vec::as_slice);
            if let Some(mut route) = reader.read_route(&route, records, sides) {
                reader.read_fence(&mut route, &fences);
                found.push(route);
            }
        }
    }
    let warnings = reader.warning_of_health_checks();
    Survey {
        sides,
        routes: found,
        left_out: reader.left_out,
        findings: reader.findings,
        warnings: warnings.into_iter().collect(),
        scopes: vec![zone.id.clone(), zone.name.clone()],
        behaviour: route53(request.fence),
        place: place(zone.id.as_str()),
        other_writers: BTreeMap::new(),
        writers_are_known: false,
    }
}

/// Adds to a survey which of its routes external-dns owns. Its records may stand anywhere in the zone, so `records`
/// must be all of them.
pub(super) fn add_owners(survey: &mut Survey, request: &Request, records: &[Record]) {
    let Some(sides) = &survey.sides else { return };
    let registry = Registry::of(records, sides);
    let by_name = by_name(records);
    let (mut owned, mut unknown) = (Vec::new(), Vec::new());
    for found in &mut survey.routes {
        let of_route = by_name.get(&found.route).map_or(&[][..], Vec::as_slice);
        match registry.ownership(&found.route, of_route) {
            Ownership::Owned => {
                found.other_writer = Some(EXTERNAL_DNS.0.to_owned());
                owned.push(found.route.to_string());
            }
            Ownership::Unknown => unknown.push(found.route.to_string()),
            Ownership::None => {}
        }
    }
    survey.writers_are_known = true;
    survey.other_writers.insert(EXTERNAL_DNS.0.to_owned(), EXTERNAL_DNS.1.to_owned());
    for problem in problems_of_owners(request.external_dns, &owned, &unknown) {
        match request.external_dns {
            ExternalDns::Warn => survey.warnings.push(problem),
            ExternalDns::Refuse => {
                survey.findings.push(Finding { problem, remedy: Remedy::Person });
            }
        }
    }
}

/// Records by their name.
type ByName<'r> = BTreeMap<&'r RouteId, Vec<&'r Record>>;
/// The weighted records of one side of a route, by their type.
type ByKind<'r> = BTreeMap<&'r str, &'r Record>;

/// The records that resolvers follow to a side.
fn by_name(records: &[Record]) -> ByName<'_> {
    let mut by_name = ByName::new();
    for record in records.iter().filter(|record| record.carries_traffic()) {
        by_name.entry(&record.name).or_default().push(record);
    }
    by_name
}

fn problems_of_owners(policy: ExternalDns, owned: &[String], unknown: &[String]) -> Vec<Problem> {
    let mut problems = vec![];
    if !owned.is_empty() {
        let message = format!(
            "external-dns owns the records of {} route(s): {}; with --policy=sync or upsert-only it writes the \
             weights of the Ingress annotations back within a minute: run it with --policy=create-only",
            owned.len(),
            listed(owned)
        );
        problems.push(Problem::new("external_dns", message));
    }
    if !unknown.is_empty() {
        let mut message = format!(
            "it is unknown whether external-dns owns the records of {} route(s): {}; readable TXT ownership records \
             in this zone would show it, but they are encrypted or missing (see --registry and \
             --txt-encrypt-enabled of its deployment); run it with --policy=create-only if it is at work there",
            unknown.len(),
            listed(unknown)
        );
        if policy == ExternalDns::Refuse {
            message.push_str("; after that, or if it is not, set external_dns to \"warn\"");
        }
        problems.push(Problem::new("external_dns_unknown", message));
    }
    problems
}

/// Reads the records for one request, and keeps what is wrong with them.
struct Reader<'r> {
    request: &'r Request,
    zone: &'r Zone,
    left_out: Option<Problem>,
    findings: Vec<Finding>,
    /// Routes with a record that has a Route 53 health check.
    health_checked: Vec<String>,
}

impl Reader<'_> {
    fn refuse(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::Person });
    }

    fn not_yet(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::Wait });
    }

    /// The two set identifiers: the old one from the request, or the one beside the new that
    /// carries weight today.
    fn find_sides(&mut self, by_name: &ByName<'_>) -> Option<Sides> {
        let new = self.request.new.clone();
        if let Some(old) = self.request.old.clone() {
            return self.old_exists(&old, by_name).then_some(Sides { old, new });
        }
        let is_new = |record: &&&Record| record.set_identifier.as_ref() == Some(&new);
        let considered = by_name.iter().filter(|(name, records)| match &self.request.routes {
            Some(routes) => routes.contains(name),
            None => records.iter().any(|record| is_new(&record)),
        });
        let mut carrying = BTreeSet::new();
        let mut seen = false;
        for (_, records) in considered {
            seen |= records.iter().any(|record| is_new(&record));
            let others = records.iter().filter(|r| !is_new(r) && r.weight.is_some_and(|w| w > 0));
            carrying.extend(others.filter_map(|record| record.set_identifier.clone()));
        }
        let identifiers: Vec<&String> = carrying.iter().collect();
        match (identifiers.as_slice(), seen) {
            ([old], _) => Some(Sides { old: (*old).clone(), new }),
            ([], false) => {
                let message = format!(
                    "no name of {} has weighted records of {new:?} yet, and old is not named: wait for them, or look \
                     at the spelling of new",
                    self.zone.name
                );
                self.not_yet(Problem::new("no_new_record", message));
                None
            }
            ([], true) => {
                let message = format!(
                    "no set identifier beside {new:?} carries weight: name the side to go back \
                     to with old"
                );
                self.refuse(Problem::new("old_unknown", message));
                None
            }
            (many, _) => {
                let names = listed(many.iter().map(|id| format!("{id:?}")));
                let message = format!(
                    "several set identifiers beside {new:?} carry weight: {names}; name one with old"
                );
                self.refuse(Problem::new("old_ambiguous", message));
                None
            }
        }
    }

    /// A name for the old side that no record has is a mistake: nothing will ever write records for it.
    /// Where the routes are named, each of them is looked at by itself.
    fn old_exists(&mut self, old: &str, by_name: &ByName<'_>) -> bool {
        let identifiers: BTreeSet<&String> =
            by_name.values().flatten().filter_map(|r| r.set_identifier.as_ref()).collect();
        if self.request.routes.is_some() || identifiers.iter().any(|id| *id == old) {
            return true;
        }
        let known = listed(identifiers.iter().map(|id| format!("{id:?}")));
        let known = if known.is_empty() { "none" } else { &known };
        let message = format!(
            "no record of {} has the set identifier {old:?} that old names; allowed: {known}",
            self.zone.name
        );
        self.refuse(Problem::new("old_unknown", message));
        false
    }

    /// The routes that the request names, but for those that cannot be any.
    fn routes_asked_for(&mut self, by_name: &ByName<'_>) -> Option<Vec<RouteId>> {
        let suffix = format!(".{}", self.zone.name);
        let mut routes = self.request.routes.clone()?;
        routes.retain(|route| {
            let name = route.as_str();
            let problem = if name != self.zone.name && !name.ends_with(&suffix) {
                let message = format!(
                    "it is not a name of the zone {}: take it out of routes, or name its zone with hosted_zone",
                    self.zone.name
                );
                Problem::of(route, "route_outside_zone", message)
            } else if !by_name.contains_key(route) {
                let message = "it has no record of type A, AAAA or CNAME: look at the spelling, or take it out of routes";
                Problem::of(route, "no_record", message)
            } else {
                return true;
            };
            self.findings.push(Finding { problem, remedy: Remedy::Person });
            false
        });
        Some(routes)
    }

    /// Every name that has weighted records of both sides.
    fn discover(&mut self, by_name: &ByName<'_>, sides: &Sides) -> Vec<RouteId> {
        let has = |records: &[&Record], id: &String| {
            records.iter().any(|record| record.set_identifier.as_ref() == Some(id))
        };
        let mut both = vec![];
        let mut only_old = vec![];
        for (name, records) in by_name {
            match (has(records, &sides.old), has(records, &sides.new)) {
                (true, true) => both.push((*name).clone()),
                (true, false) => only_old.push(name.to_string()),
                (false, _) => {}
            }
        }
        if both.is_empty() {
            let message = format!(
                "no name of {} has weighted records of both {:?} and {:?} yet: wait for them, or look at the spelling",
                self.zone.name, sides.old, sides.new
            );
            self.not_yet(Problem::new("no_routes", message));
        } else if !only_old.is_empty() {
            let message = format!(
                "{} name(s) have records of {:?} but none of {:?}: {}; they stay where they are unless those \
                 are written first",
                only_old.len(),
                sides.old,
                sides.new,
                listed(&only_old)
            );
            self.left_out = Some(Problem::new("left_out", message));
        }
        both
    }

    /// Reads one route's records; `None`, and findings, when they are not as they must be.
    fn read_route(&mut self, route: &RouteId, records: &[&Record], sides: &Sides) -> Option<Found> {
        let before = self.findings.len();
        let of = |id: &String| -> ByKind<'_> {
            let side = records.iter().filter(|r| r.set_identifier.as_ref() == Some(id));
            side.filter(|r| r.policy == Policy::Weighted).map(|r| (r.kind.as_str(), *r)).collect()
        };
        let (old, new) = (of(&sides.old), of(&sides.new));
        self.refuse_policies(route, records, sides);
        if records.iter().all(|record| record.policy == Policy::Weighted) {
            self.find_both_sides(route, [&old, &new], sides);
        }
        let ttl_s = self.ttl_of(route, [&old, &new]);
        let live = self.split_of(route, [&old, &new]);
        let old_dns = self.only_target(route, &old, "old");
        let new_dns = self.only_target(route, &new, "new");
        if self.findings.len() > before {
            return None;
        }
        if old.values().chain(new.values()).any(|record| record.health_check_id.is_some()) {
            self.health_checked.push(route.to_string());
        }
        let is_evaluated =
            |side: &ByKind<'_>| side.values().any(|record| record.evaluates_health());
        let endpoint = |id, is_evaluated: bool, clause| Endpoint {
            id,
            all_or_nothing: is_evaluated.then_some(clause),
        };
        Some(Found {
            route: route.clone(),
            live: live?,
            old: endpoint(old_dns?, is_evaluated(&old), OLD_IS_EVALUATED),
            new: endpoint(new_dns?, is_evaluated(&new), NEW_IS_EVALUATED),
            linger_s: ttl_s,
            aliases: BTreeSet::new(),
            side_names: records.iter().filter_map(|r| r.set_identifier.clone()).collect(),
            other_writer: None,
            shapes: shapes(&old, &new),
            mark: None,
        })
    }

    fn refuse_policies(&mut self, route: &RouteId, records: &[&Record], sides: &Sides) {
        for record in records {
            let kind = &record.kind;
            match &record.policy {
                Policy::TrafficPolicy(instance) => {
                    let message = format!(
                        "its {kind} record was made by the traffic policy instance {instance}, which alone may \
                         change it: remove the instance and write weighted records in its place"
                    );
                    self.refuse(Problem::of(route, "traffic_policy_record", message));
                }
                Policy::Simple => {
                    let message = format!(
                        "its {kind} record is a simple one, beside which no weighted record can \
                         stand: give it a set identifier and a weight first"
                    );
                    self.refuse(Problem::of(route, "simple_record", message));
                }
                Policy::Other => {
                    let message = format!(
                        "its {kind} record is routed by something other than weight: give it a weight, or take \
                         the name out of routes"
                    );
                    self.refuse(Problem::of(route, "other_policy", message));
                }
                Policy::Weighted => {
                    let third = record.set_identifier.as_ref().filter(|id| {
                        **id != sides.old && **id != sides.new && record.weight != Some(0)
                    });
                    if let Some(third) = third {
                        let message = format!(
                            "{kind} records of a third set identifier, {third:?}, carry weight: \
                             set them to 0 or remove them"
                        );
                        self.refuse(Problem::of(route, "third_identifier", message));
                    }
                }
            }
        }
    }

    fn find_both_sides(&mut self, route: &RouteId, [old, new]: [&ByKind<'_>; 2], sides: &Sides) {
        if old.is_empty() {
            let message = format!(
                "it has no weighted record of the old side {:?}: write one with all the weight, or take the \
                 name out of routes",
                sides.old
            );
            self.refuse(Problem::of(route, "no_old_record", message));
        }
        if new.is_empty() {
            let message = format!(
                "it has no weighted record of the new side {:?} yet: wait for it, or take the name out of routes",
                sides.new
            );
            self.not_yet(Problem::of(route, "no_new_record", message));
        }
        if old.is_empty() || new.is_empty() {
            return;
        }
        for kind in old.keys().filter(|kind| !new.contains_key(*kind)) {
            let message = format!(
                "the new side {:?} has no {kind} record yet: wait for it, or remove that of the old side",
                sides.new
            );
            self.not_yet(Problem::of(route, "no_new_record", message));
        }
        for kind in new.keys().filter(|kind| !old.contains_key(*kind)) {
            let message = format!(
                "the old side {:?} has no {kind} record, which the new side has: write one, or remove that of \
                 the new side",
                sides.old
            );
            self.refuse(Problem::of(route, "no_old_record", message));
        }
    }

    /// The one TTL of the records, in seconds.
    fn ttl_of(&mut self, route: &RouteId, [old, new]: [&ByKind<'_>; 2]) -> u32 {
        let records = old.values().chain(new.values());
        let ttls: BTreeSet<u32> = records.map(|r| r.ttl_s.unwrap_or(ROUTE53_ALIAS_TTL_S)).collect();
        let longest = ttls.last().copied().unwrap_or(0);
        if longest > TTL_S_MAX {
            let message = format!(
                "a TTL of {longest} s leaves traffic on a bad side for that long; allowed: up to \
                 {TTL_S_MAX} s"
            );
            self.refuse(Problem::of(route, "ttl_too_long", message));
        }
        if ttls.len() > 1 {
            let all: Vec<String> = ttls.iter().map(|ttl_s| format!("{ttl_s} s")).collect();
            let message = format!(
                "its records have different TTLs: {}; give all of them the same",
                all.join(", ")
            );
            self.refuse(Problem::of(route, "ttl_differs", message));
        }
        longest
    }

    /// The one split of all record types.
    fn split_of(&mut self, route: &RouteId, [old, new]: [&ByKind<'_>; 2]) -> Option<Weights> {
        let splits: BTreeMap<&str, Weights> = old
            .iter()
            .filter_map(|(kind, old)| {
                Some((*kind, Weights { old: old.weight?, new: new.get(kind)?.weight? }))
            })
            .collect();
        let live = *splits.values().next()?;
        if splits.values().any(|split| *split != live) {
            let all: Vec<String> =
                splits.iter().map(|(kind, split)| format!("{kind} {split}")).collect();
            let message = format!(
                "its record types have different weights: {}; give all of them the same",
                all.join("; ")
            );
            self.refuse(Problem::of(route, "weights_differ", message));
        } else if live.old == 0 && live.new == 0 {
            let message = "all its weights are 0, so that every record answers alike: give the \
                           old side all the weight first";
            self.refuse(Problem::of(route, "all_weights_zero", message));
        }
        Some(live)
    }

    /// The one load balancer's DNS name that all records of a side point at.
    fn only_target(&mut self, route: &RouteId, records: &ByKind<'_>, side: &str) -> Option<String> {
        let targets = |record: &&Record| match &record.target {
            Target::Alias { dns_name, .. } => vec![dns_key(dns_name)],
            Target::Values(values) => values.iter().map(|value| dns_key(value)).collect(),
        };
        let targets: BTreeSet<String> = records.values().flat_map(targets).collect();
        if let Some(name) = targets.iter().find(|name| name.ends_with(".cloudfront.net")) {
            let message = format!(
                "its {side} record points at CloudFront ({name}); a name belongs to one \
                 distribution, so weights cannot split it: point it at the load balancers of the \
                 distribution's origin name instead and split that, or use CloudFront's \
                 continuous deployment"
            );
            self.refuse(Problem::of(route, "cloudfront_target", message));
            return None;
        }
        if targets.len() > 1 {
            let message = format!(
                "its {side} records point at {} places: {}; allowed: one load balancer a side",
                targets.len(),
                listed(targets)
            );
            self.refuse(Problem::of(route, "many_targets", message));
            return None;
        }
        let is_empty = |record: &&Record| matches!(&record.target, Target::Values(values) if values.is_empty());
        if records.values().any(is_empty) {
            let message = format!("its {side} record points nowhere: point it at a load balancer");
            self.refuse(Problem::of(route, "no_target", message));
            return None;
        }
        targets.into_iter().next()
    }

    /// Reads what stands in the place of a route's fence.
    fn read_fence(&mut self, found: &mut Found, fences: &BTreeMap<&RouteId, &Record>) {
        let name = fence::name_of(&found.route);
        if self.request.fence && name.as_str().len() > DNS_NAME_CHARS_MAX {
            let message = format!(
                "its fence {name} would have a name of more than {DNS_NAME_CHARS_MAX} characters: set fence to false"
            );
            self.refuse(Problem::of(&found.route, "fence_name_too_long", message));
        }
        let Some(record) = fences.get(&name) else { return };
        found.mark = match &record.target {
            Target::Values(values) => fence::mark(values.iter().map(String::as_str)),
            Target::Alias { .. } => None,
        };
        if found.mark.is_none() && self.request.fence {
            let message = format!(
                "the TXT record {name}, where its fence is to stand, was not written by cutover: remove it, or set \
                 fence to false"
            );
            self.refuse(Problem::of(&found.route, "fence_unreadable", message));
        }
    }

    /// The status of a health check is not read: people look at it.
    fn warning_of_health_checks(&self) -> Option<Problem> {
        let names = &self.health_checked;
        let message = format!(
            "records of {} route(s) have a Route 53 health check: {}; while one of the old side fails, Route 53 sends \
             everything to the new side whatever the weights, and a roll-back brings nothing back: make sure that \
             they pass",
            names.len(),
            listed(names)
        );
        (!names.is_empty()).then(|| Problem::new("record_health_check", message))
    }
}

/// The fingerprints of a route's records, one a type, sorted.
fn shapes(old: &ByKind<'_>, new: &ByKind<'_>) -> Vec<u32> {
    let both = old.iter().filter_map(|(kind, old)| Some((old, new.get(kind)?)));
    let mut shapes: Vec<u32> = both.map(|(old, new)| old.shape.wrapping_add(new.shape)).collect();
    shapes.sort_unstable();
    shapes
}

#[cfg(test)]
mod tests;
