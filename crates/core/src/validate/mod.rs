//! Validation: from a request and what was found in the world to a cutover, or to every problem.
//!
//! It runs in two halves, because what to ask the load balancers depends on what the zone holds:
//! [`Survey::of`] reads the zone's records, [`Survey::conclude`] everything else.

mod endpoint;
pub mod facts;
mod ownership;
mod rivals;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cutover::{
    Action, Cutover, Execution, Next, Phase, REASON_CHARS_MAX, Route, SCHEMA, Status, holder_of,
};
use crate::evidence::baseline::Baselines;
use crate::failure::{CAUSE_BYTES_MAX, Failure, Problem};
use crate::meter::LoadBalancer;
use crate::plan::Plan;
use crate::report::Report;
use crate::request::health::OnNoData;
use crate::request::{ExternalDns, Request};
use crate::router::lumps::{hosts_needed, worst_share};
use crate::router::{Mark, RouteId, Side, Sides, WEIGHT_MAX, Weights};
use crate::validate::endpoint::Never;
use crate::validate::facts::{
    Facts, FoundLoadBalancer, LoadBalancerKind, Policy, Record, Running, Target, dns_key,
};
use crate::validate::ownership::{Ownership, Registry};
use crate::validate::rivals::Claim;

const EXTERNAL_DNS: &str = "external-dns";
const EXTERNAL_DNS_ADVICE: &str =
    "run it with --policy=create-only or set the weights in the Ingress annotations";
/// Longest TTL of a record, in seconds: longer ones leave traffic on a bad side for too long.
pub const TTL_S_MAX: u32 = 300;
/// TTL of an alias to a load balancer, in seconds.
/// Source: Route 53 developer guide, "Values specific for weighted alias records".
pub const ALIAS_TTL_S: u32 = 60;
/// Complete periods of the old side's traffic that are looked at before the start.
pub const TRAFFIC_PERIODS: u32 = 15;
/// Bytes that the state may grow to, with an error's Cause that travels with it: 256 KiB are allowed.
/// Source: Step Functions developer guide, "Quotas" (maximum input or output size).
pub const STATE_BYTES_MAX: usize = 240 * 1024;
/// Bytes that a verdict takes per route.
const VERDICT_BYTES_MAX: usize = 150;
/// Seconds since the start during which names without records of the new side are waited for, when
/// the routes are discovered.
pub const LEFT_OUT_WAIT_S: u32 = 600;
/// Longest name of a record, in characters. Source: RFC 1035, section 2.3.4.
const NAME_BYTES_MAX: usize = 253;
/// Names listed in a sentence about many routes.
const NAMES_SHOWN: usize = 5;

/// The hosted zone of the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its id.
    pub id: String,
    /// Its name, without a dot at the end.
    pub name: String,
}

/// Something that speaks against starting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    problem: Problem,
    remedy: Remedy,
}

/// What helps against a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Waiting: the new side is being built.
    Wait,
    /// A person; but it is looked at again if there is something to wait for anyway.
    MayPass,
    /// A person.
    Person,
}

/// What a validation comes to, as far as can be told before the traffic is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// A cutover, if the traffic allows it.
    Accepted,
    /// The new side is waited for.
    NotReady,
    /// A refusal.
    Refused,
}

/// A route whose records are as they must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    route: RouteId,
    live: Weights,
    ttl_s: u32,
    old_dns: String,
    new_dns: String,
    /// Whether an alias of the old side evaluates its target's health.
    old_evaluates_health: bool,
    /// The same of the new side.
    new_evaluates_health: bool,
    /// Whether a record of either side has a Route 53 health check.
    has_health_check: bool,
    /// All set identifiers of its weighted records.
    identifiers: BTreeSet<String>,
    ownership: Ownership,
    shapes: Vec<u32>,
    /// What stands in the place of its fence.
    fence: Standing,
}

/// What stands in the place of a route's fence.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing.
    Nothing,
    /// The mark of an execution.
    Mark(Mark),
    /// Something that cutover did not write.
    Other,
}

impl Standing {
    fn read(target: &Target) -> Self {
        let mark = match target {
            Target::Values(values) => match &values[..] {
                [only] => Mark::read(only.trim_matches('"')),
                _ => None,
            },
            Target::Alias { .. } => None,
        };
        mark.map_or(Self::Other, Self::Mark)
    }
}

/// What the zone's records say about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    request: Request,
    zone: Zone,
    sides: Option<Sides>,
    candidates: Vec<Candidate>,
    /// Names that have records of the old side alone: left where they are, or not written yet.
    left_out: Option<Problem>,
    findings: Vec<Finding>,
    warnings: Vec<Problem>,
}

/// Which execution validates, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The execution.
    pub execution: Execution,
    /// When the execution started.
    pub started_at: Timestamp,
    /// Now.
    pub now: Timestamp,
}

impl Attempt {
    fn waited_s(&self) -> i64 {
        self.now.as_second() - self.started_at.as_second()
    }
}

impl Survey {
    /// Finds the routes in the zone's records, and the old side if the request names none.
    #[must_use]
    pub fn of(request: Request, zone: Zone, records: &[Record]) -> Self {
        let mut survey = Self {
            request,
            zone,
            sides: None,
            candidates: Vec::new(),
            left_out: None,
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        let mut by_name: BTreeMap<&RouteId, Vec<&Record>> = BTreeMap::new();
        for record in records.iter().filter(|record| record.carries_traffic()) {
            by_name.entry(&record.name).or_default().push(record);
        }
        let asked_for = survey.routes_asked_for(&by_name);
        let Some(sides) = survey.find_sides(&by_name) else { return survey };
        let routes = match asked_for {
            Some(routes) => routes,
            None => survey.discover(&by_name, &sides),
        };
        let registry = Registry::of(records, &sides);
        let fences: BTreeMap<&RouteId, &Record> =
            records.iter().filter(|r| r.kind == "TXT").map(|r| (&r.name, r)).collect();
        for route in routes {
            let records = by_name.get(&route).map_or(&[][..], Vec::as_slice);
            if let Some(mut candidate) = survey.read_route(&route, records, &sides) {
                candidate.ownership = registry.ownership(&route, records);
                if let Some(fence) = fences.get(&fence_name(&route)) {
                    candidate.fence = Standing::read(&fence.target);
                }
                survey.candidates.push(candidate);
            }
        }
        survey.sides = Some(sides);
        survey
    }

    /// The DNS names of a side's load balancers, as [`dns_key`] writes them: [`Survey::conclude`] must know
    /// about those of both sides.
    #[must_use]
    pub fn dns_names(&self, side: Side) -> BTreeSet<String> {
        let of_side = |candidate: &Candidate| match side {
            Side::Old => candidate.old_dns.clone(),
            Side::New => candidate.new_dns.clone(),
        };
        self.candidates.iter().map(of_side).collect()
    }

    /// What this validation will come to, whatever the traffic is: what is costly to ask for need not be asked
    /// where there will be no cutover this time. The history of `facts` is not looked at.
    #[must_use]
    pub fn outlook(&self, facts: &Facts, attempt: &Attempt) -> Outlook {
        let mut survey = self.clone();
        survey.check_all_but_traffic(facts, attempt);
        match (survey.findings.is_empty(), survey.is_waiting(attempt)) {
            (true, _) => Outlook::Accepted,
            (_, true) => Outlook::NotReady,
            (_, false) => Outlook::Refused,
        }
    }

    /// Names of executions of the same state machine whose fences stand beside the routes: whether they run
    /// must be known for sure.
    #[must_use]
    pub fn fence_holders(&self, attempt: &Attempt) -> BTreeSet<String> {
        let ours = holder_of(&attempt.execution.arn);
        let holders = self.candidates.iter().filter_map(|candidate| match &candidate.fence {
            Standing::Mark(mark) => mark.holder.rsplit_once(':'),
            Standing::Nothing | Standing::Other => None,
        });
        let machine = ours.rsplit_once(':').map(|(machine, _)| machine);
        let here = holders.filter(|(of, _)| Some(*of) == machine);
        here.map(|(_, name)| name.to_owned()).collect()
    }

    /// The request that is being validated.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    fn refuse(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::Person });
    }

    fn refuse_for_now(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::MayPass });
    }

    fn not_yet(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::Wait });
    }

    /// The two set identifiers: the old one from the request, or the one beside the new that
    /// carries weight today.
    fn find_sides(&mut self, by_name: &BTreeMap<&RouteId, Vec<&Record>>) -> Option<Sides> {
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
                    "no name of {} has weighted records of {new:?} yet, and old is not named",
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
                let names: Vec<String> = many.iter().map(|id| format!("{id:?}")).collect();
                let message = format!(
                    "several set identifiers beside {new:?} carry weight: {}; name one with old",
                    listed(&names)
                );
                self.refuse(Problem::new("old_ambiguous", message));
                None
            }
        }
    }

    /// A name for the old side that no record has is a mistake: nothing will ever write records for it.
    /// Where the routes are named, each of them is looked at by itself.
    fn old_exists(&mut self, old: &str, by_name: &BTreeMap<&RouteId, Vec<&Record>>) -> bool {
        let identifiers: BTreeSet<&String> =
            by_name.values().flatten().filter_map(|r| r.set_identifier.as_ref()).collect();
        if self.request.routes.is_some() || identifiers.iter().any(|id| *id == old) {
            return true;
        }
        let known: Vec<String> = identifiers.iter().map(|id| format!("{id:?}")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { listed(&known) };
        let message = format!(
            "no record of {} has the set identifier {old:?} that old names; there are: {known}",
            self.zone.name
        );
        self.refuse(Problem::new("old_unknown", message));
        false
    }

    /// The routes that the request names, but for those that cannot be any.
    fn routes_asked_for(
        &mut self,
        by_name: &BTreeMap<&RouteId, Vec<&Record>>,
    ) -> Option<Vec<RouteId>> {
        let suffix = format!(".{}", self.zone.name);
        let mut routes = self.request.routes.clone()?;
        routes.retain(|route| {
            let name = route.as_str();
            let (code, message) = if name != self.zone.name && !name.ends_with(&suffix) {
                ("route_outside_zone", format!("it is not a name of the zone {}", self.zone.name))
            } else if !by_name.contains_key(route) {
                ("no_record", "it has no record of type A, AAAA or CNAME".to_owned())
            } else {
                return true;
            };
            let problem = Problem::of(route, code, message);
            self.findings.push(Finding { problem, remedy: Remedy::Person });
            false
        });
        Some(routes)
    }

    /// Every name that has weighted records of both sides.
    fn discover(
        &mut self,
        by_name: &BTreeMap<&RouteId, Vec<&Record>>,
        sides: &Sides,
    ) -> Vec<RouteId> {
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
                "no name of {} has weighted records of both {:?} and {:?} yet",
                self.zone.name, sides.old, sides.new
            );
            self.not_yet(Problem::new("no_routes", message));
        } else if !only_old.is_empty() {
            let message = format!(
                "{} name(s) have records of {:?} but none of {:?}: {}",
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
    fn read_route(
        &mut self,
        route: &RouteId,
        records: &[&Record],
        sides: &Sides,
    ) -> Option<Candidate> {
        let before = self.findings.len();
        let of = |id: &String| -> BTreeMap<&str, &Record> {
            let side = records.iter().filter(|r| r.set_identifier.as_ref() == Some(id));
            side.filter(|r| r.policy == Policy::Weighted).map(|r| (r.kind.as_str(), *r)).collect()
        };
        let (old, new) = (of(&sides.old), of(&sides.new));
        self.check_policies(route, records, sides);
        if records.iter().all(|record| record.policy == Policy::Weighted) {
            self.check_both_sides(route, &old, &new, sides);
        }
        let ttl_s = self.check_ttl(route, old.values().chain(new.values()));
        let live = self.check_split(route, &old, &new);
        let old_dns = self.only_target(route, old.values(), "old");
        let new_dns = self.only_target(route, new.values(), "new");
        if self.findings.len() > before {
            return None;
        }
        Some(Candidate {
            route: route.clone(),
            live: live?,
            ttl_s,
            old_dns: old_dns?,
            new_dns: new_dns?,
            old_evaluates_health: old.values().any(|record| record.evaluates_health()),
            new_evaluates_health: new.values().any(|record| record.evaluates_health()),
            has_health_check: old.values().chain(new.values()).any(|r| r.health_check_id.is_some()),
            identifiers: records.iter().filter_map(|r| r.set_identifier.clone()).collect(),
            ownership: Ownership::None,
            shapes: shapes(&old, &new),
            fence: Standing::Nothing,
        })
    }

    fn check_policies(&mut self, route: &RouteId, records: &[&Record], sides: &Sides) {
        for record in records {
            let kind = &record.kind;
            match record.policy {
                Policy::Simple => {
                    let message = format!(
                        "its {kind} record is a simple one, beside which no weighted record can \
                         stand: give it a set identifier and a weight first"
                    );
                    self.refuse(Problem::of(route, "simple_record", message));
                }
                Policy::Other => {
                    let message = format!("its {kind} record is routed by something but weight");
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

    fn check_both_sides(
        &mut self,
        route: &RouteId,
        old: &BTreeMap<&str, &Record>,
        new: &BTreeMap<&str, &Record>,
        sides: &Sides,
    ) {
        if old.is_empty() {
            let message = format!(
                "it has no weighted record of the old side {:?}: write one with all the weight, or take the \
                 name out of routes",
                sides.old
            );
            self.refuse(Problem::of(route, "no_old_record", message));
        }
        if new.is_empty() {
            let message = format!("it has no weighted record of the new side {:?} yet", sides.new);
            self.not_yet(Problem::of(route, "no_new_record", message));
        }
        if old.is_empty() || new.is_empty() {
            return;
        }
        for kind in old.keys().filter(|kind| !new.contains_key(*kind)) {
            let message = format!("the new side {:?} has no {kind} record yet", sides.new);
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
    fn check_ttl<'r>(
        &mut self,
        route: &RouteId,
        records: impl Iterator<Item = &'r &'r Record>,
    ) -> u32 {
        let ttls: BTreeSet<u32> = records.map(|r| r.ttl_s.unwrap_or(ALIAS_TTL_S)).collect();
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
            let message = format!("its records have different TTLs: {}", all.join(", "));
            self.refuse(Problem::of(route, "ttl_differs", message));
        }
        longest
    }

    /// The one split of all record types, and whether a cutover can begin there.
    fn check_split(
        &mut self,
        route: &RouteId,
        old: &BTreeMap<&str, &Record>,
        new: &BTreeMap<&str, &Record>,
    ) -> Option<Weights> {
        let splits: BTreeMap<&str, Weights> = old
            .iter()
            .filter_map(|(kind, record)| {
                let new = new.get(kind)?.weight?;
                Some((*kind, Weights { old: record.weight?, new }))
            })
            .collect();
        let live = *splits.values().next()?;
        if splits.values().any(|split| *split != live) {
            let all: Vec<String> =
                splits.iter().map(|(kind, split)| format!("{kind} {split}")).collect();
            let message = format!("its record types have different weights: {}", all.join("; "));
            self.refuse(Problem::of(route, "weights_differ", message));
        } else if live.old == 0 && live.new == 0 {
            let message = "all its weights are 0, so that every record answers alike: give the \
                           old side all the weight first";
            self.refuse(Problem::of(route, "all_weights_zero", message));
        } else if !self.request.resume && (live.old == 0 || live.new != 0) {
            let message = format!(
                "its weights are {live}; a cutover begins with all weight on old and 0 on new, \
                 or goes on from here with resume: true"
            );
            self.refuse(Problem::of(route, "split_not_initial", message));
        }
        Some(live)
    }

    /// The one load balancer's DNS name that all records of a side point at.
    fn only_target<'r>(
        &mut self,
        route: &RouteId,
        records: impl Iterator<Item = &'r &'r Record>,
        side: &str,
    ) -> Option<String> {
        let records: Vec<&Record> = records.copied().collect();
        let targets: BTreeSet<String> = records
            .iter()
            .flat_map(|record| match &record.target {
                Target::Alias { dns_name, .. } => vec![dns_key(dns_name)],
                Target::Values(values) => values.iter().map(|value| dns_key(value)).collect(),
            })
            .collect();
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
            let names: Vec<String> = targets.into_iter().collect();
            let message = format!(
                "its {side} records point at {} places: {}; allowed: one load balancer a side",
                names.len(),
                listed(&names)
            );
            self.refuse(Problem::of(route, "many_targets", message));
            return None;
        }
        let is_empty = |record: &&Record| matches!(&record.target, Target::Values(values) if values.is_empty());
        if records.iter().any(is_empty) {
            let message = format!("its {side} record points nowhere: point it at a load balancer");
            self.refuse(Problem::of(route, "no_target", message));
            return None;
        }
        targets.into_iter().next()
    }

    /// Checks everything beyond the zone's records and makes the cutover.
    ///
    /// # Errors
    /// `NotReady` when all that is wrong may pass by waiting and there is time to wait,
    /// `InvalidInput` with every problem otherwise.
    pub fn conclude(mut self, facts: &Facts, attempt: &Attempt) -> Result<Cutover, Failure> {
        self.check_all_but_traffic(facts, attempt);
        // While the new side is waited for, nobody has asked for the traffic yet.
        if !self.is_waiting(attempt) {
            self.check_traffic(facts);
        }
        let ttl_s = self.ttl_s();
        self.warn_of_lumps(&facts.load_balancers, ttl_s);
        let cutover = self.cutover(facts, attempt, ttl_s);
        if let Some(cutover) = cutover.as_ref().filter(|_| self.findings.is_empty()) {
            self.check_size(cutover);
        }
        match (cutover, self.findings.is_empty()) {
            (Some(cutover), true) => Ok(cutover),
            _ => Err(self.failure(attempt)),
        }
    }

    fn check_all_but_traffic(&mut self, facts: &Facts, attempt: &Attempt) {
        self.check_load_balancers(facts);
        self.check_alarms(&facts.alarms);
        self.check_running(&facts.running, attempt);
        self.check_fences(&facts.running, attempt);
        self.check_external_dns();
        self.warn_of_health_checks();
        self.check_left_out(attempt);
        self.check_resumed();
        for problem in self.request.too_long(self.ttl_s()) {
            self.refuse(problem);
        }
    }

    /// The longest TTL of the routes, in seconds.
    fn ttl_s(&self) -> u32 {
        self.candidates.iter().map(|c| c.ttl_s).max().unwrap_or(ALIAS_TTL_S)
    }

    fn check_load_balancers(&mut self, facts: &Facts) {
        let mut pairs: BTreeMap<(String, String), Candidate> = BTreeMap::new();
        let mut evaluated: BTreeMap<String, RouteId> = BTreeMap::new();
        for candidate in self.candidates.clone() {
            let Candidate { route, old_dns, new_dns, .. } = &candidate;
            let old = self.check_endpoint(route, Side::Old, old_dns, facts);
            let new = self.check_endpoint(route, Side::New, new_dns, facts);
            if old && candidate.old_evaluates_health {
                evaluated.entry(old_dns.clone()).or_insert_with(|| route.clone());
            }
            if old && new {
                let pair = (old_dns.clone(), new_dns.clone());
                let first = pairs.entry(pair).or_insert_with(|| candidate.clone());
                first.new_evaluates_health |= candidate.new_evaluates_health;
            }
        }
        let found = &facts.load_balancers;
        for (old_dns, route) in evaluated {
            if let Some(old) = found.get(&old_dns) {
                self.check_old_groups(&route, old);
            }
        }
        for ((old_dns, new_dns), first) in pairs {
            let (Some(old), Some(new)) = (found.get(&old_dns), found.get(&new_dns)) else {
                continue;
            };
            let route = &first.route;
            if old.id == new.id {
                let message = format!(
                    "both sides point at the same load balancer, {}: point the new side's records at that of \
                     the new cluster",
                    new.id
                );
                self.refuse(Problem::of(route, "same_load_balancer", message));
                continue;
            }
            self.check_capacity(route, old, new);
            self.check_new_groups(route, new, first.new_evaluates_health);
        }
    }

    /// Whether a side's DNS name is that of an application load balancer of this account and region. What can
    /// never become one is refused at once.
    fn check_endpoint(&mut self, route: &RouteId, side: Side, name: &str, facts: &Facts) -> bool {
        let side_name = match side {
            Side::Old => "old",
            Side::New => "new",
        };
        let other_type = |kind: &str| {
            let message = format!(
                "its {side_name} record points at {name}, a {kind} load balancer, which counts no \
                 requests; allowed: an application load balancer, as an Ingress of \
                 aws-load-balancer-controller makes one"
            );
            Problem::of(route, "load_balancer_type", message)
        };
        let problem = match facts.load_balancers.get(name).map(|found| found.kind) {
            Some(LoadBalancerKind::Application) => return true,
            Some(LoadBalancerKind::Network) => other_type("network"),
            Some(LoadBalancerKind::Gateway) => other_type("gateway"),
            None => match (Never::of(name, &facts.region), side) {
                (Some(Never::OtherType(kind)), _) => other_type(kind),
                (Some(Never::Elsewhere(what)), _) => {
                    let message = format!(
                        "its {side_name} record points at {name}, which is {what}; allowed: an \
                         application load balancer of this account and of the region {}",
                        facts.region
                    );
                    Problem::of(route, "foreign_target", message)
                }
                (None, Side::Old) => {
                    let message = format!(
                        "its old record points at {name}, which is no load balancer of this account \
                         and region: its requests cannot be counted; point it at an application load \
                         balancer of the region {}, or name the other routes alone with routes",
                        facts.region
                    );
                    Problem::of(route, "no_load_balancer", message)
                }
                (None, Side::New) => {
                    let message = format!(
                        "its new record points at {name}, which is no load balancer of this account \
                         and region yet"
                    );
                    self.not_yet(Problem::of(route, "no_load_balancer", message));
                    return false;
                }
            },
        };
        self.refuse(problem);
        false
    }

    /// With a target group without a healthy target, an old side whose alias evaluates that is out of
    /// Route 53's answers: all traffic goes to the new side, at weight 0 as well.
    fn check_old_groups(&mut self, route: &RouteId, old: &FoundLoadBalancer) {
        let groups = without_healthy_target(old);
        if !groups.is_empty() {
            let message = format!(
                "target groups of the old load balancer {} have no healthy target: {}; its alias has \
                 EvaluateTargetHealth, so Route 53 sends everything to the new side whatever the weights, and \
                 a roll-back would bring nothing back: give each of them a healthy target, take them off \
                 the load balancer, or turn EvaluateTargetHealth off",
                old.id,
                listed(&groups)
            );
            self.refuse(Problem::of(route, "old_side_out_of_dns", message));
        }
    }

    /// The same of the new side keeps all traffic on the old one.
    fn check_new_groups(&mut self, route: &RouteId, new: &FoundLoadBalancer, evaluates: bool) {
        let groups = without_healthy_target(new);
        if groups.is_empty() || new.healthy() == 0 {
            return;
        }
        if evaluates {
            let message = format!(
                "target groups of the new load balancer {} have no healthy target yet: {}; its alias has \
                 EvaluateTargetHealth, so Route 53 would send nothing to it: give each of them a healthy target, \
                 take them off the load balancer, or turn EvaluateTargetHealth off",
                new.id,
                listed(&groups)
            );
            self.not_yet(Problem::of(route, "new_side_out_of_dns", message));
        } else {
            let message = format!(
                "target groups of {} have no healthy target: {}; what is routed to them will fail",
                new.id,
                listed(&groups)
            );
            self.warnings.push(Problem::new("unhealthy_target_group", message));
        }
    }

    fn check_capacity(
        &mut self,
        route: &RouteId,
        old: &FoundLoadBalancer,
        new: &FoundLoadBalancer,
    ) {
        if !new.active {
            let message = format!("the new load balancer {} is not active yet", new.id);
            self.not_yet(Problem::of(route, "load_balancer_not_active", message));
        }
        let percent = u64::from(self.request.capacity_min_percent);
        let needed = (u64::from(old.healthy()) * percent).div_ceil(100);
        if new.healthy() == 0 {
            let message = format!("the new load balancer {} has no healthy target yet", new.id);
            self.not_yet(Problem::of(route, "no_healthy_target", message));
        } else if u64::from(new.healthy()) < needed {
            let message = format!(
                "the new load balancer {} has {} healthy targets, the old one {}; \
                 capacity_min_percent {percent} asks for {needed}",
                new.id,
                new.healthy(),
                old.healthy()
            );
            self.not_yet(Problem::of(route, "capacity_too_low", message));
        }
    }

    fn check_traffic(&mut self, facts: &Facts) {
        let mut silent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for candidate in &self.candidates {
            let Some(old) = facts.load_balancers.get(&candidate.old_dns) else { continue };
            let new = facts.load_balancers.get(&candidate.new_dns);
            let counted = |lb: &FoundLoadBalancer| {
                let counts = facts.history.get(&lb.id).map_or(&[][..], |series| &series.counts);
                let late = counts.iter().rev().take(TRAFFIC_PERIODS as usize);
                late.flatten().any(|counts| counts.requests > 0)
            };
            // A resumed cutover may have all of its traffic on the new side already.
            let resumed = self.request.resume && new.is_some_and(counted);
            if !counted(old) && !resumed {
                silent.entry(old.id.clone()).or_default().push(candidate.route.to_string());
            }
        }
        let minutes = f64::from(TRAFFIC_PERIODS * self.request.health.period_s) / 60.0;
        for (id, routes) in silent {
            let message = format!(
                "the old load balancer {id} of {} counted no request in the last {minutes} \
                 minutes: there is nothing to compare with",
                listed(&routes)
            );
            let problem = Problem::new("no_old_traffic", message);
            match self.request.health.on_no_data {
                OnNoData::Advance => self.warnings.push(problem),
                OnNoData::RollBack => self.refuse(problem),
            }
        }
    }

    fn check_alarms(&mut self, alarms: &[(String, bool)]) {
        for name in self.request.health.alarms.clone() {
            match alarms.iter().find(|(found, _)| *found == name) {
                None => {
                    let message = format!("there is no alarm named {name:?} in this region");
                    self.refuse(Problem::new("alarm_missing", message));
                }
                Some((_, true)) => {
                    let message = format!("the alarm {name:?} is in ALARM already");
                    self.refuse_for_now(Problem::new("alarm_already", message));
                }
                Some((_, false)) => {}
            }
        }
    }

    /// Of two executions that want one route, the one that started first has it.
    fn check_running(&mut self, running: &[Running], attempt: &Attempt) {
        let us = (attempt.started_at, &attempt.execution.name);
        for other in running.iter().filter(|other| (other.started_at, &other.name) < us) {
            let shared = match Claim::read(other.input.as_deref(), &self.request.defaults) {
                Claim::Nothing => continue,
                Claim::Unknown => "routes that cannot be read from its input".to_owned(),
                Claim::Routes(wanted) => {
                    let ours = self.candidates.iter().map(|c| (&c.route, &c.identifiers));
                    let shared = wanted.among(&self.zone, ours);
                    if shared.is_empty() {
                        continue;
                    }
                    listed(&shared)
                }
            };
            let message = format!(
                "execution {:?}, which started first, is running for {shared}: wait for its end or stop it",
                other.name
            );
            self.refuse_for_now(Problem::new("already_running", message));
        }
    }

    /// A fence tells whose hand is on a route. That of an execution that has ended, whose last write
    /// failed, is replaced: nothing that it still does can touch the route then.
    fn check_fences(&mut self, running: &[Running], attempt: &Attempt) {
        let ours = holder_of(&attempt.execution.arn);
        let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Candidate { route, fence, .. } in self.candidates.clone() {
            let name = fence_name(&route);
            if self.request.fence && name.as_str().len() > NAME_BYTES_MAX {
                let message = format!(
                    "its fence {name} would have a name of more than {NAME_BYTES_MAX} characters: set \
                     fence to false"
                );
                self.refuse(Problem::of(&route, "fence_name_too_long", message));
            }
            match fence {
                Standing::Other if self.request.fence => {
                    let message = format!(
                        "the TXT record {name}, where its fence is to stand, was not written by cutover: remove \
                         it, or set fence to false"
                    );
                    self.refuse(Problem::of(&route, "fence_unreadable", message));
                }
                Standing::Mark(mark) if mark.holder != ours => {
                    held.entry(mark.holder).or_default().push(route.to_string());
                }
                Standing::Nothing | Standing::Other | Standing::Mark(_) => {}
            }
        }
        let machine = |holder: &str| holder.rsplit_once(':').map(|(machine, _)| machine.to_owned());
        for (holder, routes) in held {
            let routes = listed(&routes);
            let name = holder.rsplit(':').next().unwrap_or_default();
            let is_running = running.iter().any(|other| other.name == name);
            if machine(&holder) != machine(&ours) {
                self.refuse(Problem::new(
                    "fenced",
                    format!(
                        "execution {holder} of another installation of cutover has its hand on {routes}: roll \
                         it back there, or remove the TXT records _cutover.NAME if it has ended"
                    ),
                ));
            } else if is_running {
                // The one that started later is seen by the other's fence alone.
                let said = |f: &Finding| {
                    f.problem.code == "already_running" && f.problem.message.contains(name)
                };
                if !self.findings.iter().any(said) {
                    self.refuse_for_now(Problem::new(
                        "fenced",
                        format!(
                            "execution {holder} is running and has its hand on {routes}: wait for its end or \
                             stop it"
                        ),
                    ));
                }
            } else if !self.request.fence {
                self.refuse(Problem::new(
                    "fenced",
                    format!(
                        "execution {holder} has ended and left its fence beside {routes}, and could still write: \
                         remove the TXT records _cutover.NAME, or set fence to true, which replaces them"
                    ),
                ));
            } else {
                let message = format!(
                    "execution {holder} has ended and left its fence beside {routes}; this cutover replaces it, and \
                     a roll-back of that execution then finds nothing to undo"
                );
                self.warnings.push(Problem::new("fence_left", message));
            }
        }
    }

    fn check_external_dns(&mut self) {
        let with = |ownership| {
            let of = self.candidates.iter().filter(move |c| c.ownership == ownership);
            of.map(|candidate| candidate.route.to_string()).collect::<Vec<_>>()
        };
        let (owned, unknown) = (with(Ownership::Owned), with(Ownership::Unknown));
        let mut problems = vec![];
        if !owned.is_empty() {
            let message = format!(
                "external-dns owns the records of {} route(s): {}; with --policy=sync or upsert-only \
                 it writes the weights of the Ingress annotations back within a minute, so run it \
                 with --policy=create-only",
                owned.len(),
                listed(&owned)
            );
            problems.push(Problem::new("external_dns", message));
        }
        if !unknown.is_empty() {
            let mut message = format!(
                "it is unknown whether external-dns owns the records of {} route(s): {}; readable TXT ownership \
                 records in this zone would show it, but they are encrypted or missing (see --registry and \
                 --txt-encrypt-enabled of its deployment); if it is at work there, run it with \
                 --policy=create-only",
                unknown.len(),
                listed(&unknown)
            );
            if self.request.external_dns == ExternalDns::Refuse {
                message.push_str("; after that, or if it is not, set external_dns to \"warn\"");
            }
            problems.push(Problem::new("external_dns_unknown", message));
        }
        for problem in problems {
            match self.request.external_dns {
                ExternalDns::Warn => self.warnings.push(problem),
                ExternalDns::Refuse => self.refuse(problem),
            }
        }
    }

    /// The status of a health check is not read: people look at it.
    fn warn_of_health_checks(&mut self) {
        let checked = self.candidates.iter().filter(|candidate| candidate.has_health_check);
        let names: Vec<String> = checked.map(|candidate| candidate.route.to_string()).collect();
        if !names.is_empty() {
            let message = format!(
                "records of {} route(s) have a Route 53 health check: {}; while one of the old side fails, \
                 Route 53 sends everything to the new side whatever the weights, and a roll-back brings \
                 nothing back: make sure that they pass",
                names.len(),
                listed(&names)
            );
            self.warnings.push(Problem::new("record_health_check", message));
        }
    }

    /// external-dns writes the names of a new cluster one after the other: those that are missing
    /// are given some time before they are taken for names that stay.
    fn check_left_out(&mut self, attempt: &Attempt) {
        let Some(problem) = self.left_out.take() else { return };
        let patience_s = LEFT_OUT_WAIT_S.min(self.request.ready_timeout_s);
        if attempt.waited_s() < i64::from(patience_s) && !self.request.dry_run {
            self.not_yet(problem);
        } else {
            self.warnings.push(problem);
        }
    }

    /// Routes that are there already are left out of a resumed cutover, and the others must have one
    /// split: some would jump otherwise.
    fn check_resumed(&mut self) {
        if !self.request.resume || self.candidates.is_empty() {
            return;
        }
        let (there, open): (Vec<_>, Vec<_>) =
            self.candidates.drain(..).partition(|candidate| candidate.live.old == 0);
        self.candidates = open;
        let names: Vec<String> = there.iter().map(|c| c.route.to_string()).collect();
        if self.candidates.is_empty() {
            let message = "every route has all its weight on the new side already";
            self.refuse(Problem::new("nothing_to_do", message));
        } else if !names.is_empty() {
            let message = format!("all weight is on the new side already: {}", listed(&names));
            self.warnings.push(Problem::new("already_there", message));
        }
        let shares: BTreeSet<String> = self
            .candidates
            .iter()
            .filter_map(|candidate| candidate.live.share())
            .map(crate::evidence::judge::percent)
            .collect();
        if shares.len() > 1 {
            let shares: Vec<String> = shares.into_iter().collect();
            let message = format!(
                "the routes have different live shares: {}; resume those of one share at a time, \
                 with routes",
                listed(&shares)
            );
            self.refuse(Problem::new("splits_differ", message));
        }
    }

    /// A lump may bring the new side more than it has hosts for, where it was allowed to have fewer.
    fn warn_of_lumps(&mut self, found: &BTreeMap<String, FoundLoadBalancer>, ttl_s: u32) {
        let pairs: BTreeSet<(&String, &String)> =
            self.candidates.iter().map(|c| (&c.old_dns, &c.new_dns)).collect();
        let mut warnings = Vec::new();
        for (old, new) in pairs {
            let (Some(old), Some(new)) = (found.get(old), found.get(new)) else { continue };
            let lump = self.request.ramp.steps().iter().find_map(|step| {
                let worst = worst_share(step.percent, self.request.resolvers, ttl_s, step.bake_s);
                let needed = hosts_needed(worst, old.healthy());
                (needed > new.healthy()).then_some((step.percent, worst, needed))
            });
            if let Some((share, worst, needed)) = lump {
                let message = format!(
                    "at {share}, {} resolvers may send {} of the requests to {} for a while, which takes \
                     {needed} hosts as {} has them; it has {}",
                    self.request.resolvers,
                    crate::evidence::judge::percent(worst),
                    new.id,
                    old.id,
                    new.healthy()
                );
                warnings.push(Problem::new("lumpy_split", message));
            }
        }
        self.warnings.append(&mut warnings);
    }

    /// Without a day of the old side's traffic, its bursts are not known.
    fn warn_without_baseline(&mut self, load_balancers: &[LoadBalancer], routes: &[Route]) {
        let of_old: BTreeSet<usize> = routes.iter().map(|route| route.old_lb).collect();
        let known = |lb: &&LoadBalancer| {
            let knows = |b: Baselines| {
                b.errors.knows_bursts() && b.slow.is_none_or(|slow| slow.knows_bursts())
            };
            lb.baseline.is_some_and(knows)
        };
        let old = of_old.iter().filter_map(|index| load_balancers.get(*index));
        let ids: Vec<String> = old.filter(|lb| !known(lb)).map(|lb| lb.id.clone()).collect();
        if !ids.is_empty() {
            let message = format!(
                "too little traffic was counted before the start to know the bursts of {}: a bad new \
                 side is found in two periods at best, not in one",
                listed(&ids)
            );
            self.warnings.push(Problem::new("short_baseline", message));
        }
    }

    fn check_size(&mut self, cutover: &Cutover) {
        let growth = REASON_CHARS_MAX + VERDICT_BYTES_MAX;
        let bytes = state_bytes(cutover) + cutover.routes.len() * growth + CAUSE_BYTES_MAX;
        if bytes > STATE_BYTES_MAX {
            let routes = cutover.routes.len();
            let message = format!(
                "the state of {routes} routes could grow to {bytes} bytes, {STATE_BYTES_MAX} are \
                 allowed: name about {} routes an execution",
                routes * STATE_BYTES_MAX / bytes
            );
            self.refuse(Problem::new("too_many_routes", message));
        }
    }

    /// The cutover, as far as all its parts are known.
    fn cutover(&mut self, facts: &Facts, attempt: &Attempt, ttl_s: u32) -> Option<Cutover> {
        let sides = self.sides.clone()?;
        let mut load_balancers: Vec<LoadBalancer> = Vec::new();
        let health = &self.request.health;
        let mut index_of = |found: &FoundLoadBalancer, is_new: bool| {
            let groups = found.groups.iter().map(|group| group.id.clone());
            let history = facts.history.get(&found.id).filter(|_| !is_new);
            let lb = LoadBalancer {
                id: found.id.clone(),
                target_groups: groups.collect(),
                baseline: history.map(|series| Baselines::of(series, found.healthy(), health)),
            };
            load_balancers.iter().position(|known| *known == lb).unwrap_or_else(|| {
                load_balancers.push(lb);
                load_balancers.len() - 1
            })
        };
        let mut routes = Vec::new();
        for candidate in &self.candidates {
            let old = facts.load_balancers.get(&candidate.old_dns)?;
            let new = facts.load_balancers.get(&candidate.new_dns)?;
            // Resumed: going back means all weight on the old side, not the split found. Any
            // weight beside 0 does.
            let all = candidate.live.old.saturating_add(candidate.live.new).min(WEIGHT_MAX);
            routes.push(Route {
                name: candidate.route.clone(),
                original: Weights { old: all, new: 0 },
                last: candidate.live,
                status: Status::Active,
                old_lb: index_of(old, false),
                new_lb: index_of(new, true),
                other_writer: (candidate.ownership == Ownership::Owned)
                    .then(|| EXTERNAL_DNS.to_owned()),
                all_or_nothing: candidate.old_evaluates_health,
                shapes: candidate.shapes.clone(),
                supersedes: match &candidate.fence {
                    Standing::Mark(mark) => Some(mark.holder.clone()),
                    Standing::Nothing | Standing::Other => None,
                },
                forced: false,
                verdict: None,
                reason: None,
            });
        }
        let first_step = self.first_step()?;
        self.warn_without_baseline(&load_balancers, &routes);
        let request = &self.request;
        let reason = format!("{} route(s) go from {} to {}", routes.len(), sides.old, sides.new);
        let mut cutover = Cutover {
            schema: SCHEMA,
            execution: attempt.execution.clone(),
            sides,
            router: crate::router::survey::RouterRef {
                kind: request.router.kind.clone(),
                place: serde_json::json!({ "hosted_zone": self.zone.id }),
            },
            ramp: request.ramp.clone(),
            step: first_step,
            phase: Phase::Shifting,
            health: request.health.clone(),
            isolate: request.isolate,
            max_failed_routes: request.max_failed_routes,
            ready_timeout_s: request.ready_timeout_s,
            started_at: attempt.now,
            first_shift_at: None,
            checks: 0,
            fence: request.fence,
            writes: 0,
            released: false,
            extra_events: 0,
            retry_count: 0,
            other_writers: BTreeMap::from([(
                EXTERNAL_DNS.to_owned(),
                EXTERNAL_DNS_ADVICE.to_owned(),
            )]),
            load_balancers,
            routes,
            warnings: self.warnings.clone(),
            next: Next { action: Action::Shift, wait_s: 0, reason },
            report: None,
        };
        if request.dry_run {
            cutover.next.action = Action::Planned;
            let live: Vec<_> = cutover.routes.iter().map(Route::found).collect();
            let mut report = Report::of(&cutover, &live);
            report.plan = Some(Plan::of(&cutover, ttl_s, request.resolvers));
            cutover.report = Some(report);
        }
        Some(cutover)
    }

    /// The first step above the live share; the last one when none is.
    fn first_step(&self) -> Option<usize> {
        let share = self.candidates.iter().find_map(|candidate| candidate.live.share());
        let live = share.unwrap_or(0.0);
        let steps = self.request.ramp.steps();
        let above = steps.iter().position(|step| f64::from(step.percent) / 100.0 > live);
        above.or_else(|| steps.len().checked_sub(1))
    }

    /// Whether all that is wrong so far may pass by waiting, and there is time to wait.
    fn is_waiting(&self, attempt: &Attempt) -> bool {
        self.may_pass() && attempt.waited_s() < i64::from(self.request.ready_timeout_s)
    }

    /// Whether all that is wrong so far may pass by waiting, which a dry run does not do.
    fn may_pass(&self) -> bool {
        let any = |remedy| self.findings.iter().any(|finding| finding.remedy == remedy);
        any(Remedy::Wait) && !any(Remedy::Person) && !self.request.dry_run
    }

    fn failure(self, attempt: &Attempt) -> Failure {
        let (may_pass, is_waiting) = (self.may_pass(), self.is_waiting(attempt));
        let mut problems: Vec<Problem> = self.findings.into_iter().map(|f| f.problem).collect();
        if problems.is_empty() {
            return Failure::Internal("validation found neither routes nor a problem".to_owned());
        }
        if is_waiting {
            return Failure::NotReady(problems);
        }
        if may_pass {
            let timeout_s = self.request.ready_timeout_s;
            let message = format!("not ready within ready_timeout_s, {timeout_s} s");
            problems.insert(0, Problem::new("not_ready_in_time", message));
        }
        Failure::InvalidInput(problems)
    }
}

impl Route {
    /// The route's split as validation found it.
    fn found(&self) -> crate::router::Split {
        let shapes = self.shapes.clone();
        let whole = Some(self.last);
        crate::router::Split { route: self.name.clone(), live: Ok(self.last), whole, shapes }
    }
}

/// Bytes of the state as JSON.
#[must_use]
pub fn state_bytes(cutover: &Cutover) -> usize {
    serde_json::to_string(cutover).map_or(usize::MAX, |json| json.len())
}

/// The name of the TXT record that is a route's fence.
fn fence_name(route: &RouteId) -> RouteId {
    RouteId::from(format!("_cutover.{route}"))
}

/// The fingerprints of a route's records, one a type, sorted.
fn shapes(old: &BTreeMap<&str, &Record>, new: &BTreeMap<&str, &Record>) -> Vec<u32> {
    let both = old.iter().filter_map(|(kind, old)| Some((old, new.get(kind)?)));
    let mut shapes: Vec<u32> = both.map(|(old, new)| old.shape.wrapping_add(new.shape)).collect();
    shapes.sort_unstable();
    shapes
}

fn without_healthy_target(found: &FoundLoadBalancer) -> Vec<String> {
    found.groups_without_healthy_target().map(|group| group.id.clone()).collect()
}

/// Some names in a sentence, and how many more there are.
pub(crate) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
