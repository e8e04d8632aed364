//! What the rules of some listeners say about a request.

mod sides;

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::limits::alb;
use cutover_core::{
    Endpoint, Finding, Found, Problem, Remedy, Request, RouteId, Sides, Survey, Weights, listed,
};
use serde_json::json;

use super::arn;
use super::listing::Listener;
use super::place::{Known, Place};
use super::rule::{self, Rule, Weighted};

/// Longest name of a route, in characters, without the suffix that makes it unique.
const NAME_CHARS_MAX: usize = 100;

/// What was read.
pub(super) struct Seen<'s> {
    pub(super) place: &'s Place,
    pub(super) listeners: Vec<Listener>,
    /// Every rule of these listeners, with the `NAME:PORT` of its listener.
    pub(super) rules: Vec<(String, Rule)>,
    /// The side of each target group that has one, by its ARN.
    pub(super) side_of: BTreeMap<String, String>,
}

/// A rule that may be a route.
struct Row<'s> {
    id: RouteId,
    rule: &'s Rule,
    /// Its target groups, or what is wrong with one's weight.
    groups: Result<Vec<Weighted>, String>,
    /// Names of the sides that have a group in it.
    sides: BTreeSet<&'s str>,
}

/// The rules that one entry of `routes` means.
struct Asked<'a> {
    name: &'a RouteId,
    rows: Vec<&'a Row<'a>>,
}

impl Row<'_> {
    /// Whether it forwards to no target group.
    fn answers_by_itself(&self) -> bool {
        rule::arns_of_groups(&self.rule.actions).is_empty()
    }
}

/// Finds the routes among the rules, and the old side if the request names none. `missing` is what is wrong with the
/// listeners that were not found.
pub(super) fn survey(request: &Request, seen: &Seen<'_>, missing: Vec<Problem>) -> Survey {
    let mut reader = Reader { request, seen, left_out: None, findings: vec![], warnings: vec![] };
    for problem in missing {
        reader.refuse(problem);
    }
    let rows = reader.rows();
    let mut routes: Vec<(Found, Known)> = Vec::new();
    let mut sides = None;
    if !seen.listeners.is_empty() {
        let asked = reader.asked_for(&rows);
        sides = reader.find_sides(&rows, asked.as_deref());
        if let Some(sides) = &sides {
            let chosen = match &asked {
                Some(asked) => reader.narrow(asked, sides),
                None => reader.discover(&rows, sides),
            };
            routes.extend(chosen.into_iter().filter_map(|row| reader.read_route(row, sides)));
        }
    }
    reader.warn_of_what_stays(&rows);
    reader.warn_of_stickiness(&routes);
    reader.warn_that_it_is_not_atomic();
    routes.sort_by(|(one, _), (other, _)| one.route.cmp(&other.route));
    let rules = routes.iter().map(|(found, known)| (found.route.clone(), known.clone())).collect();
    let arns = seen.listeners.iter().map(|listener| listener.arn.clone());
    let place = Place { listeners: arns.clone().collect(), rules, ..Place::default() };
    Survey {
        sides,
        routes: routes.into_iter().map(|(found, _)| found).collect(),
        left_out: reader.left_out,
        findings: reader.findings,
        warnings: reader.warnings,
        scopes: arns.chain(seen.listeners.iter().map(|listener| listener.at.clone())).collect(),
        behaviour: alb(),
        place: json!(place),
        other_writers: BTreeMap::new(),
        writers_are_known: false,
    }
}

/// A name for a rule that people read: its hosts, then its paths. It may not be the only one of this name.
fn short_name(at: &str, rule: &Rule) -> String {
    let name = match &rule.priority {
        None => format!("default of {at}"),
        Some(_) => rule.hosts.join(",") + &rule.paths.join(","),
    };
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// Reads the rules for one request, and keeps what is wrong with them.
struct Reader<'r, 's> {
    request: &'r Request,
    seen: &'r Seen<'s>,
    left_out: Option<Problem>,
    findings: Vec<Finding>,
    warnings: Vec<Problem>,
}

impl<'r> Reader<'r, '_> {
    fn refuse(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::Person });
    }

    fn not_yet(&mut self, problem: Problem) {
        self.findings.push(Finding { problem, remedy: Remedy::Wait });
    }

    fn listeners(&self) -> String {
        listed(self.seen.listeners.iter().map(|listener| &listener.at))
    }

    /// Every rule, with a name that no other one has.
    fn rows(&mut self) -> Vec<Row<'r>> {
        let seen = self.seen;
        let mut number_of: BTreeMap<String, usize> = BTreeMap::new();
        for (at, rule) in &seen.rules {
            *number_of.entry(short_name(at, rule)).or_default() += 1;
        }
        let mut rows = Vec::new();
        for (at, rule) in &seen.rules {
            let name = short_name(at, rule);
            let is_telling = !rule.has_other_conditions && number_of.get(&name).copied() == Some(1);
            let id = match &rule.priority {
                Some(priority) if name.is_empty() => format!("rule {priority} of {at}"),
                Some(priority) if !is_telling => format!("{name} (rule {priority} of {at})"),
                _ => name,
            };
            let (id, groups) = (RouteId::from(id), rule::groups(&rule.actions));
            let side = |arn: &str| seen.side_of.get(arn).map(String::as_str);
            let sides = rule::arns_of_groups(&rule.actions).into_iter().filter_map(side).collect();
            rows.push(Row { id, rule, groups, sides });
        }
        rows
    }

    /// The rules that the request names; `None` when it names none. An entry that means none is refused.
    fn asked_for<'a>(&mut self, rows: &'a [Row<'a>]) -> Option<Vec<Asked<'a>>>
    where
        'r: 'a,
    {
        let request = self.request;
        let mut asked = Vec::new();
        for name in request.routes.as_ref()? {
            let is_meant = |row: &&Row<'_>| {
                row.rule.arn == name.as_str() || row.rule.is_for_host(name.as_str())
            };
            let meant: Vec<&Row<'_>> = rows.iter().filter(is_meant).collect();
            let why = if meant.is_empty() {
                "has this ARN, or a condition that this host name matches"
            } else if meant.iter().all(|row| row.answers_by_itself()) {
                "for it forwards to a target group: it is answered by a fixed response or a redirect"
            } else {
                asked.push(Asked { name, rows: meant });
                continue;
            };
            let message = format!("no rule of {} {why}", self.listeners());
            self.refuse(Problem::of(name, "no_rule", message));
        }
        Some(asked)
    }

    /// Keeps those of the asked rules that forward to a group of either side.
    fn narrow<'a>(&mut self, asked: &[Asked<'a>], sides: &Sides) -> Vec<&'a Row<'a>> {
        let is_ours =
            |row: &Row<'_>| [&sides.old, &sides.new].iter().any(|s| row.sides.contains(s.as_str()));
        let mut chosen: BTreeMap<&str, &'a Row<'a>> = BTreeMap::new();
        let mut by_arn: BTreeSet<&str> = BTreeSet::new();
        for Asked { name, rows } in asked {
            let named = rows.iter().map(|row| row.rule.arn.as_str());
            by_arn.extend(named.filter(|arn| *arn == name.as_str()));
            let ours = rows.iter().copied().filter(|row| is_ours(row));
            let ours: Vec<_> = ours.map(|row| (row.rule.arn.as_str(), row)).collect();
            if ours.is_empty() {
                let message = format!(
                    "no rule for it has a target group of {:?} or {:?}; {}",
                    sides.old,
                    sides.new,
                    self.sides_there_are(rows.iter().copied())
                );
                self.refuse(Problem::of(name, "no_old_group", message));
            }
            chosen.extend(ours);
        }
        let by_host = chosen.values().filter(|row| !by_arn.contains(row.rule.arn.as_str()));
        self.warn_of_wider_rules(by_host.copied());
        chosen.into_values().collect()
    }

    /// A rule is taken as a whole, with all of its host names.
    fn warn_of_wider_rules<'a>(&mut self, rows: impl Iterator<Item = &'a Row<'a>>) {
        let asked: BTreeSet<&str> =
            self.request.routes.iter().flatten().map(RouteId::as_str).collect();
        let is_asked = |host: &String| asked.contains(host.to_ascii_lowercase().as_str());
        let wider = rows.filter_map(|row| {
            let others: Vec<&String> =
                row.rule.hosts.iter().filter(|host| !is_asked(host)).collect();
            (!others.is_empty()).then(|| format!("{} (also {})", row.id, listed(others)))
        });
        let wider: Vec<String> = wider.collect();
        if !wider.is_empty() {
            let message = format!(
                "{} rule(s) take requests for host names that routes does not name, which move as well: {}",
                wider.len(),
                listed(&wider)
            );
            self.warnings.push(Problem::new("wider_rule", message));
        }
    }

    /// Every rule that has a target group of both sides.
    fn discover<'a>(&mut self, rows: &'a [Row<'a>], sides: &Sides) -> Vec<&'a Row<'a>> {
        let has = |row: &Row<'_>, side: &String| row.sides.contains(side.as_str());
        let (both, others): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| has(row, &sides.old) && has(row, &sides.new));
        let only_old = others.into_iter().filter(|row| has(row, &sides.old));
        let only_old: Vec<&RouteId> = only_old.map(|row| &row.id).collect();
        if both.is_empty() {
            let message = format!(
                "no rule of {} has a target group of both {:?} and {:?} yet: {}",
                self.listeners(),
                sides.old,
                sides.new,
                self.how_to_add(&sides.new)
            );
            self.not_yet(Problem::new("no_routes", message));
        } else if !only_old.is_empty() {
            let message = format!(
                "{} rule(s) have a target group of {:?} but none of {:?}: {}",
                only_old.len(),
                sides.old,
                sides.new,
                listed(&only_old)
            );
            self.left_out = Some(Problem::new("left_out", message));
        }
        both
    }

    /// Reads one rule; `None`, and findings, when it is not as it must be.
    fn read_route(&mut self, row: &Row<'_>, sides: &Sides) -> Option<(Found, Known)> {
        let Row { id, rule, .. } = row;
        let before = self.findings.len();
        self.refuse_what_cannot_be_written(row);
        let (old, new) = (self.only_group(row, &sides.old), self.only_group(row, &sides.new));
        self.find_both_sides(row, sides);
        self.refuse_third_groups(row, sides);
        let (old, new) = (old?, new?);
        let live = Weights { old: old.weight, new: new.weight };
        if live.old == 0 && live.new == 0 {
            let message =
                "all its weights are 0: give the old side's target group all the weight first";
            self.refuse(Problem::of(id, "all_weights_zero", message));
        }
        if self.findings.len() > before {
            return None;
        }
        let endpoint = |group: &Weighted| Endpoint { id: group.arn.clone(), all_or_nothing: None };
        let found = Found {
            route: id.clone(),
            live,
            old: endpoint(old),
            new: endpoint(new),
            linger_s: rule::linger_s(&rule.actions),
            side_names: row.sides.iter().map(|side| (*side).to_owned()).collect(),
            other_writer: None,
            shapes: vec![rule::shape(&rule.actions)],
            mark: None,
            aliases: Self::aliases(rule),
        };
        let (arn, old, new) = (rule.arn.clone(), old.arn.clone(), new.arn.clone());
        Some((found, Known { arn, old, new }))
    }

    fn refuse_what_cannot_be_written(&mut self, row: &Row<'_>) {
        let Row { id, rule, .. } = row;
        if let Err(why) = &row.groups {
            self.refuse(Problem::of(id, "no_weight", why));
        }
        if let Some(kind) = rule::unknown_action(&rule.actions) {
            let message = format!(
                "it has an action of the type {kind}, which this version of cutover does not know and would lose \
                 by writing: take the rule out of this cutover"
            );
            self.refuse(Problem::of(id, "unknown_action", message));
        }
    }

    /// The one group of a side: if there are several, the one that has weight.
    fn only_group<'a>(&mut self, row: &'a Row<'_>, side: &str) -> Option<&'a Weighted> {
        let side_of = |group: &Weighted| self.seen.side_of.get(&group.arn).map(String::as_str);
        let of_side = row.groups.iter().flatten().filter(|group| side_of(group) == Some(side));
        let groups: Vec<&Weighted> = of_side.collect();
        let weighted: Vec<&Weighted> =
            groups.iter().copied().filter(|group| group.weight > 0).collect();
        match (groups.as_slice(), weighted.as_slice()) {
            ([], _) => None,
            ([only], _) | (_, [only]) => Some(only),
            (many, _) => {
                let names = listed(many.iter().map(|group| arn::group_name(&group.arn)));
                let message = format!(
                    "it has {} target groups of the side {side:?}: {names}; allowed: one, or one with weight beside others \
                     with weight 0",
                    many.len()
                );
                self.refuse(Problem::of(&row.id, "third_group", message));
                None
            }
        }
    }

    fn find_both_sides(&mut self, row: &Row<'_>, sides: &Sides) {
        if !row.sides.contains(sides.old.as_str()) {
            let message = format!(
                "it has no target group of the old side {:?}: give it one with all the weight, or take the rule out of \
                 routes; {}",
                sides.old,
                self.sides_there_are([row])
            );
            self.refuse(Problem::of(&row.id, "no_old_group", message));
        }
        if !row.sides.contains(sides.new.as_str()) {
            let message = format!(
                "it has no target group of the new side {:?} yet: {}",
                sides.new,
                self.how_to_add(&sides.new)
            );
            self.not_yet(Problem::of(&row.id, "no_new_group", message));
        }
    }

    fn refuse_third_groups(&mut self, row: &Row<'_>, sides: &Sides) {
        let side_of = |group: &Weighted| self.seen.side_of.get(&group.arn);
        let is_third = |group: &&Weighted| {
            let side = side_of(group);
            group.weight > 0 && side != Some(&sides.old) && side != Some(&sides.new)
        };
        let third: Vec<String> = row
            .groups
            .iter()
            .flatten()
            .filter(is_third)
            .map(|group| format!("{} ({})", arn::group_name(&group.arn), group.weight))
            .collect();
        if !third.is_empty() {
            let message = format!(
                "target groups of neither side have weight: {}; set it to 0, or take them out of the rule",
                listed(&third)
            );
            self.refuse(Problem::of(&row.id, "third_group", message));
        }
    }

    /// Rules that answer by themselves have nothing to split.
    fn warn_of_what_stays(&mut self, rows: &[Row<'_>]) {
        let is_asked = |row: &&Row<'_>| {
            let is_meant = |name: &RouteId| {
                row.rule.arn == name.as_str() || row.rule.is_for_host(name.as_str())
            };
            self.request.routes.as_ref().is_none_or(|routes| routes.iter().any(is_meant))
        };
        let stay = rows.iter().filter(|row| row.answers_by_itself()).filter(is_asked);
        let stay: Vec<&RouteId> = stay.map(|row| &row.id).collect();
        if !stay.is_empty() {
            let message = format!(
                "{} rule(s) answer with a fixed response or a redirect and stay as they are: {}",
                stay.len(),
                listed(&stay)
            );
            self.warnings.push(Problem::new("fixed_answers", message));
        }
    }

    fn warn_of_stickiness(&mut self, routes: &[(Found, Known)]) {
        let bakes = self.request.ramp.steps().iter().map(|step| step.bake_s);
        let Some(shortest_s) = bakes.min() else { return };
        let sticky = routes.iter().filter(|(found, _)| found.linger_s > shortest_s);
        let sticky: Vec<String> =
            sticky.map(|(found, _)| format!("{} ({} s)", found.route, found.linger_s)).collect();
        if !sticky.is_empty() {
            let message = format!(
                "the stickiness of {} route(s) lasts longer than the shortest bake, {shortest_s} s: {}; sessions stay on \
                 their side for that long, each step waits for it, and a roll-back brings them back no sooner",
                sticky.len(),
                listed(&sticky)
            );
            self.warnings.push(Problem::new("sticky_sessions", message));
        }
    }

    fn warn_that_it_is_not_atomic(&mut self) {
        let message = "Elastic Load Balancing has no compare-and-swap: cutover reads a rule, compares, writes, and reads \
                       it back, and would overwrite what somebody else writes in the second or two between: let nothing \
                       else change these rules during the cutover";
        self.warnings.push(Problem::new("not_atomic", message));
    }

    /// What else `routes` may call a rule: its ARN, and each pattern of a host name.
    fn aliases(rule: &Rule) -> BTreeSet<RouteId> {
        let hosts = rule.hosts.iter().map(|host| host.to_ascii_lowercase());
        hosts.chain([rule.arn.clone()]).map(RouteId::from).collect()
    }
}
