//! Whether both sides can take the traffic, and whether it can be counted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Validation, counted_lately};
use crate::evidence::{Counts, OwnSeries, Series};
use crate::failure::Problem;
use crate::request::health::OnNoData;
use crate::router::lumps::{hosts_needed, worst_share};
use crate::router::survey::{Backend, Behind, Endpoint, Found, Splitting};
use crate::router::{RouteId, Side};
use crate::validate::facts::{History, own_counts_of};
use crate::words::{grouped, listed};

/// Complete periods of the old side's traffic that are looked at before the start.
pub const TRAFFIC_PERIODS: u32 = 15;

/// What serves the two sides of some routes, and the first of these.
struct Pair {
    route: RouteId,
    old: Backend,
    new: Backend,
    /// Whether they serve these routes and nothing else.
    is_own: bool,
    /// Whether its router sends nothing to the new side while one of its groups has no healthy target.
    may_be_left_out: bool,
}

impl Validation {
    /// What stands behind a side of a route.
    pub(super) fn backend(&self, found: &Found, side: Side) -> Option<&Backend> {
        self.facts.serving(found, side)
    }

    /// The meters of a side, each once; among them [`own_counts_of`] it, where routes are judged by these.
    #[must_use]
    pub fn meters(&self, side: Side) -> BTreeSet<String> {
        self.survey.routes.iter().filter_map(|found| self.meter(found, side)).collect()
    }

    /// What counts the requests of a side of a route.
    fn meter(&self, found: &Found, side: Side) -> Option<String> {
        let backend = self.backend(found, side)?;
        let is_uncounted = self.facts.is_uncounted(found);
        Some(if is_uncounted { own_counts_of(side) } else { backend.meter.clone() })
    }

    /// The same of the old side, for a sentence.
    fn counting(&self, found: &Found, old: &Backend) -> String {
        if self.facts.is_uncounted(found) {
            format!("{} of the old side", self.request.health.own_names())
        } else {
            format!("the old {}", old.called)
        }
    }

    /// What was counted of a side of a route.
    fn counted<'h>(&self, found: &Found, side: Side, history: &'h History) -> Option<&'h Series> {
        history.get(&self.meter(found, side)?)
    }

    pub(super) fn look_behind_endpoints(&mut self) {
        // Whether a router leaves a side out is a route's matter: two routes of one pair may differ in it.
        let mut pairs: BTreeMap<(String, String), Pair> = BTreeMap::new();
        let mut olds: BTreeMap<Endpoint, RouteId> = BTreeMap::new();
        let mut news: BTreeMap<Endpoint, RouteId> = BTreeMap::new();
        let routes = std::mem::take(&mut self.survey.routes);
        for found in &routes {
            let old = self.look_behind(found, Side::Old);
            let new = self.look_behind(found, Side::New);
            if old {
                olds.entry(found.old.clone()).or_insert_with(|| found.route.clone());
            }
            let both = (self.backend(found, Side::Old), self.backend(found, Side::New));
            let (true, true, (Some(old), Some(new))) = (old, new, both) else { continue };
            news.entry(found.new.clone()).or_insert_with(|| found.route.clone());
            let key = (old.meter.clone(), new.meter.clone());
            let pair = pairs.entry(key).or_insert_with(|| Pair {
                route: found.route.clone(),
                old: old.clone(),
                new: new.clone(),
                is_own: self.facts.own(&found.new.id, &found.route) == Some(new),
                may_be_left_out: false,
            });
            pair.may_be_left_out |= found.new.all_or_nothing.is_some();
        }
        self.survey.routes = routes;
        for (endpoint, route) in olds {
            self.look_at_groups(&route, &endpoint, Side::Old);
        }
        for (endpoint, route) in news {
            self.look_at_groups(&route, &endpoint, Side::New);
        }
        for pair in pairs.into_values() {
            self.look_at_pair(&pair);
        }
    }

    /// Compares what serves both sides of some routes.
    fn look_at_pair(&mut self, pair: &Pair) {
        let Pair { route, old, new, .. } = pair;
        if old.meter == new.meter {
            let message = format!(
                "both sides end at the same {}: point the new side at that of the new cluster",
                new.called
            );
            self.refuse(Problem::of(route, "same_endpoint", message));
            return;
        }
        self.compare_capacity(pair);
        self.look_at_dead_groups(pair);
    }

    fn compare_capacity(&mut self, pair: &Pair) {
        let Pair { route, old, new, .. } = pair;
        if !new.active {
            let message = format!("the new {} is not active yet: wait until it is", new.called);
            self.not_yet(Problem::of(route, "not_active", message));
        }
        if new.healthy() == 0 {
            let message = format!(
                "the new {} has no healthy target yet: wait for one, and look at its health checks if none comes",
                new.called
            );
            self.not_yet(Problem::of(route, "no_healthy_target", message));
            return;
        }
        let percent = self.request.capacity_min_percent;
        let busiest = self.facts.busiest.get(&old.meter).filter(|then| then.hosts > old.distinct());
        let (hosts, when) = match busiest {
            None => (old.distinct(), String::new()),
            Some(then) => {
                let requests =
                    then.requests.map(|requests| format!("{} requests ", grouped(requests)));
                let hour = format!("({}from {})", requests.unwrap_or_default(), then.at);
                (then.hosts, format!(" in its busiest hour of the last day {hour}"))
            }
        };
        let needed = (u64::from(hosts) * u64::from(percent)).div_ceil(100);
        if u64::from(new.distinct()) < needed {
            let message = format!(
                "the new {} has {} healthy targets, the old one {hosts}{when}; capacity_min_percent {percent} asks for \
                 {needed}: give it more, or lower capacity_min_percent",
                new.called,
                new.distinct()
            );
            self.not_yet(Problem::of(route, "capacity_too_low", message));
        }
    }

    /// What is routed to a group without a healthy target fails. Where it serves a route of the cutover and nothing
    /// else, that must be mended first; where others share the endpoint, it may be somebody else's.
    fn look_at_dead_groups(&mut self, pair: &Pair) {
        let Pair { route, old, new, is_own, may_be_left_out } = pair;
        let (of_old, of_new) = (without_healthy_target(old), without_healthy_target(new));
        let sentence = |side: &str, backend: &Backend, groups: &[String]| {
            format!(
                "groups of targets of the {side} {} have no healthy one: {}; what is routed to them fails: give each of \
                 them one first",
                backend.called,
                listed(groups)
            )
        };
        if !of_old.is_empty() {
            let problem = Problem::of(route, "unhealthy_group", sentence("old", old, &of_old));
            if *is_own { self.refuse_for_now(problem) } else { self.warn(problem) }
        }
        if !of_new.is_empty() && new.healthy() > 0 && !may_be_left_out {
            let problem = Problem::of(route, "unhealthy_group", sentence("new", new, &of_new));
            if *is_own { self.not_yet(problem) } else { self.warn(problem) }
        }
    }

    /// Whether something that counts requests stands behind a side. What can never do so is refused at once.
    fn look_behind(&mut self, found: &Found, side: Side) -> bool {
        let name = match side {
            Side::Old => "old",
            Side::New => "new",
        };
        let (route, id) = (&found.route, &found.endpoint(side).id);
        let problem = match (self.facts.behind.get(id), side) {
            (Some(Behind::Found(_)), _) => return true,
            (Some(Behind::Never { code, why } | Behind::Uncounted { code, why, .. }), _) => {
                Problem::of(route, code, format!("its {name} side {why}"))
            }
            (Some(Behind::Nothing { code, what, allowed }), Side::New) => {
                let problem = Problem::of(
                    route,
                    code,
                    format!("its new side {what} yet: wait for it, or point it at {allowed}"),
                );
                self.not_yet(problem);
                return false;
            }
            (Some(Behind::Nothing { code, what, allowed }), Side::Old) => {
                let message = format!(
                    "its old side {what}: there is nothing to compare with; point it at {allowed}, or name the other \
                     routes alone with routes"
                );
                Problem::of(route, code, message)
            }
            (None, _) => {
                let message = format!(
                    "nobody has looked at {id}, where its {name} side ends: report this defect of cutover"
                );
                Problem::of(route, "not_looked_at", message)
            }
        };
        self.refuse(problem);
        false
    }

    /// An old side that its router leaves out, whatever the weights, is no side to go back to; a new one keeps all
    /// traffic on the old one.
    fn look_at_groups(&mut self, route: &RouteId, endpoint: &Endpoint, side: Side) {
        let backend = self.facts.backend(&endpoint.id);
        let (Some(backend), Some(clause)) = (backend, endpoint.all_or_nothing) else { return };
        let groups = without_healthy_target(backend);
        if groups.is_empty() {
            return;
        }
        let (called, groups) = (&backend.called, listed(groups));
        match side {
            Side::Old => {
                let message = format!(
                    "groups of targets of the old {called} have no healthy one: {groups}; {clause}"
                );
                self.refuse(Problem::of(route, "old_side_left_out", message));
            }
            Side::New if backend.healthy() > 0 => {
                let message = format!(
                    "groups of targets of the new {called} have no healthy one yet: {groups}; {clause}"
                );
                self.not_yet(Problem::of(route, "new_side_left_out", message));
            }
            Side::New => {}
        }
    }

    pub(super) fn look_at_traffic(&mut self, history: &History) {
        let mut silent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for found in &self.survey.routes {
            let Some(old) = self.backend(found, Side::Old) else { continue };
            // A resumed cutover may have all of its traffic on the new side already.
            let resumed =
                self.request.resume && counted_lately(self.counted(found, Side::New, history));
            if !counted_lately(self.counted(found, Side::Old, history)) && !resumed {
                let what = self.counting(found, old);
                silent.entry(what).or_default().push(found.route.to_string());
            }
        }
        let minutes = f64::from(TRAFFIC_PERIODS * self.request.health.period_s) / 60.0;
        for (called, routes) in silent {
            let message = format!(
                "{called} of {} counted no request in the last {minutes} minutes: there is nothing to compare with",
                listed(&routes)
            );
            match self.request.health.on_no_data {
                OnNoData::Advance => self.warn(Problem::new("no_old_traffic", message)),
                OnNoData::RollBack => {
                    let remedy = "start when there is, or set health.on_no_data to \"advance\"";
                    self.refuse(Problem::new("no_old_traffic", format!("{message}; {remedy}")));
                }
            }
        }
    }

    /// Steps whose requests will not suffice to judge them, by what the old side had lately.
    pub(super) fn warn_of_thin_steps(&mut self, history: &History) {
        let mut thin: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
        for found in &self.survey.routes {
            let Some(old) = self.backend(found, Side::Old) else { continue };
            let series = self.counted(found, Side::Old, history);
            let Some(series) = series.filter(|series| counted_lately(Some(series))) else {
                continue;
            };
            let old_share = 1.0 - found.live.share().unwrap_or(0.0);
            let in_newest = |periods| requests_in_newest(series, periods) / old_share.max(0.01);
            for (is_recent, step) in self.request.thin_steps(in_newest) {
                let steps = thin.entry((self.counting(found, old), is_recent)).or_default();
                if !steps.contains(&step) {
                    steps.push(step);
                }
            }
        }
        let outcome = match self.request.health.on_no_data {
            OnNoData::Advance => "goes on unjudged",
            OnNoData::RollBack => "goes back",
        };
        for ((counting, is_recent), steps) in thin {
            let (what, remedy) = if is_recent {
                let what = "have too few recent requests when a step should be passed";
                (what, "begin with a larger share, lengthen period_s")
            } else {
                let what = "count fewer requests than requests_min while a step bakes and is held";
                (what, "give it a longer bake, begin with a larger share")
            };
            let message = format!(
                "at the present rate of {counting}, the new side will {what}: {}; such a step {outcome} after hold_max_s: \
                 {remedy} or lower requests_min ({})",
                listed(&steps),
                self.request.health.requests_min
            );
            self.warn(Problem::new("thin_step", message));
        }
    }

    /// What fails on no known side is a limit for both together: a cutover that begins over it would go back at once.
    pub(super) fn look_at_shared_failures(&mut self, history: &History) {
        let limit = self.request.health.error_rate_max;
        let mut over: BTreeMap<String, (f64, Vec<String>)> = BTreeMap::new();
        for found in &self.survey.routes {
            let Some(old) = self.backend(found, Side::Old) else { continue };
            // What its old endpoint answers by itself, the new side's does not.
            if self.facts.own(&found.old.id, &found.route) == Some(old) {
                continue;
            }
            let shared = history.get(&old.meter).map_or(&[][..], |series| &series.shared);
            let late: Counts =
                shared.iter().rev().take(TRAFFIC_PERIODS as usize).flatten().copied().sum();
            if let Some(rate) = late.error_rate().filter(|rate| *rate > limit) {
                let (_, routes) = over.entry(old.called.clone()).or_insert((rate, Vec::new()));
                routes.push(found.route.to_string());
            }
        }
        for (called, (rate, routes)) in over {
            let message = format!(
                "{} of the requests around the old {called} of {} fail before a side answers; error_rate_max {} \
                 holds for both sides together: mend that first, or raise it",
                crate::words::percent(rate),
                listed(&routes),
                crate::words::percent(limit)
            );
            self.refuse_for_now(Problem::new("shared_failures", message));
        }
    }

    /// A lump may bring the new side more than it has hosts for, where it was allowed to have fewer.
    pub(super) fn warn_of_lumps(&mut self) {
        if self.survey.behaviour.splits == Splitting::PerRequest {
            return;
        }
        let linger_s = self.linger_s();
        let both = |found| Some((self.backend(found, Side::Old)?, self.backend(found, Side::New)?));
        let pairs: BTreeMap<(&str, &str), (&Backend, &Backend)> = (self.survey.routes.iter())
            .filter_map(both)
            .map(|(old, new)| ((old.meter.as_str(), new.meter.as_str()), (old, new)))
            .collect();
        let mut warnings = Vec::new();
        for (old, new) in pairs.into_values() {
            let lump = self.request.ramp.steps().iter().find_map(|step| {
                let worst =
                    worst_share(step.percent, self.request.resolvers, linger_s, step.bake_s);
                let needed = hosts_needed(worst, old.distinct());
                (needed > new.distinct()).then_some((step.percent, worst, needed))
            });
            if let Some((share, worst, needed)) = lump {
                let message = format!(
                    "at {share}, {} resolvers may send {} of the requests to the {} for a while, which takes \
                     {needed} hosts as the {} has them; it has {}: give it that many first",
                    self.request.resolvers,
                    crate::words::percent(worst),
                    new.called,
                    old.called,
                    new.distinct()
                );
                warnings.push(Problem::new("lumpy_split", message));
            }
        }
        self.survey.warnings.append(&mut warnings);
    }

    /// Routes that are judged by counts of one's own alone.
    fn judged_by_own_counts(&self) -> Vec<&RouteId> {
        let routes = self.survey.routes.iter().filter(|found| self.facts.is_uncounted(found));
        routes.map(|found| &found.route).collect()
    }

    /// Says what is not seen of routes that are judged by counts of one's own alone.
    pub(super) fn warn_of_own_counts_alone(&mut self) {
        let routes = self.judged_by_own_counts();
        if routes.is_empty() {
            return;
        }
        let together = match self.survey.routes.len() {
            ..2 => String::new(),
            number => format!(
                "; these counts are of the whole cluster, {number} routes together: any route named here may be down unseen"
            ),
        };
        let message = format!(
            "a side of {} counts no requests: judged by {} alone; requests that fail, are refused or are slow are seen only \
             as far as these counts tell, and so is the share that arrives{together}",
            listed(routes),
            self.request.health.own_names()
        );
        self.warn(Problem::new("own_counts_alone", message));
    }

    /// Says which metrics of one's own had no point in the day: one that does not exist looks the same, and nothing fails
    /// by it.
    pub(super) fn warn_of_silent_metrics(&mut self, counted: &[OwnSeries]) {
        let alone = self.judged_by_own_counts();
        let are_all = !alone.is_empty() && counted.iter().all(|of| !of.silent.is_empty());
        let loud = if are_all {
            let routes = listed(alone);
            format!("look at this before you go on, because {routes} are judged by nothing else; ")
        } else {
            String::new()
        };
        let signals = self.request.health.signals.iter().zip(counted);
        let silent = signals.filter(|(_, of)| !of.silent.is_empty()).map(|(signal, of)| {
            let message = format!(
                "{loud}{}: CloudWatch has no point of its {} in the {} periods before the start: a misspelt name or \
                 dimension looks like this, and so does a service without a single one in that time",
                signal.name,
                of.silent.join(" and of its "),
                grouped(u64::try_from(of.old.len()).unwrap_or(u64::MAX))
            );
            Problem::new("own_not_counted", message)
        });
        let silent: Vec<Problem> = silent.collect();
        self.survey.warnings.extend(silent);
    }

    /// Says what targets that are nodes do not tell.
    pub(super) fn warn_of_nodes(&mut self) {
        let backends = self.survey.routes.iter().filter_map(|found| self.backend(found, Side::New));
        let of_nodes = backends.filter(|new| new.groups.iter().any(|group| group.by_node));
        let called: BTreeSet<&str> = of_nodes.map(|new| new.called.as_str()).collect();
        if called.is_empty() {
            return;
        }
        let message = format!(
            "the targets of the new {} are nodes, each of them in every group: capacity is compared by nodes, and how \
             many pods serve on them is not seen; look that as many run as on the old side",
            listed(called)
        );
        self.warn(Problem::new("node_targets", message));
    }
}

/// Requests that a meter counts in this many periods, by its newest ones: those, or as many as it has been counting
/// for.
fn requests_in_newest(series: &Series, periods: u32) -> f64 {
    let wanted = usize::try_from(periods.max(TRAFFIC_PERIODS)).unwrap_or(usize::MAX);
    let newest = series.counts.iter().rev().take(wanted);
    let (mut requests, mut since, mut seen) = (0_u64, 0_u32, 0_u32);
    for counts in newest {
        seen += 1;
        if let Some(counts) = counts {
            requests = requests.saturating_add(counts.requests);
            since = seen;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rate = requests as f64 / f64::from(since.max(1));
    rate * f64::from(periods)
}

fn without_healthy_target(backend: &Backend) -> Vec<String> {
    backend.groups_without_healthy_target().map(|group| group.id.clone()).collect()
}
