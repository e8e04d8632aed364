//! Whether both sides can take the traffic, and whether it can be counted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Validation, counted_lately};
use crate::evidence::Counts;
use crate::failure::Problem;
use crate::request::health::OnNoData;
use crate::router::lumps::{hosts_needed, worst_share};
use crate::router::survey::{Backend, Behind, Endpoint, Found, Splitting};
use crate::router::{RouteId, Side};
use crate::validate::facts::History;
use crate::words::listed;

/// Complete periods of the old side's traffic that are looked at before the start.
pub const TRAFFIC_PERIODS: u32 = 15;

impl Found {
    /// Where a side's requests end up.
    pub(super) const fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

impl Validation {
    /// What stands behind a side of a route, if it counts requests.
    pub(super) fn backend(&self, found: &Found, side: Side) -> Option<&Backend> {
        self.facts.backend(&found.endpoint(side).id)
    }

    /// The meters of a side, each once.
    #[must_use]
    pub fn meters(&self, side: Side) -> BTreeSet<String> {
        let backends = self.survey.routes.iter().filter_map(|found| self.backend(found, side));
        backends.map(|backend| backend.meter.clone()).collect()
    }

    pub(super) fn look_behind_endpoints(&mut self) {
        // Whether a router leaves a side out is a route's matter: two routes of one pair may differ in it.
        let mut pairs: BTreeMap<(String, String), (RouteId, Option<&'static str>)> =
            BTreeMap::new();
        let mut olds: BTreeMap<Endpoint, RouteId> = BTreeMap::new();
        let routes = std::mem::take(&mut self.survey.routes);
        for found in &routes {
            let old = self.look_behind(found, Side::Old);
            let new = self.look_behind(found, Side::New);
            if old {
                olds.entry(found.old.clone()).or_insert_with(|| found.route.clone());
            }
            if old && new {
                let pair = pairs.entry((found.old.id.clone(), found.new.id.clone()));
                let (_, all_or_nothing) = pair.or_insert((found.route.clone(), None));
                *all_or_nothing = all_or_nothing.or(found.new.all_or_nothing);
            }
        }
        self.survey.routes = routes;
        for (endpoint, route) in olds {
            self.look_at_old_groups(&route, &endpoint);
        }
        for ((old_id, new_id), (route, all_or_nothing)) in pairs {
            let of = |id| self.facts.backend(id).cloned();
            let (Some(old), Some(new)) = (of(&old_id), of(&new_id)) else { continue };
            if old.meter == new.meter {
                let message = format!(
                    "both sides end at the same {}: point the new side at that of the new cluster",
                    new.called
                );
                self.refuse(Problem::of(&route, "same_endpoint", message));
                continue;
            }
            self.compare_capacity(&route, &old, &new);
            self.look_at_new_groups(&route, all_or_nothing, &new);
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
            (Some(Behind::Never { code, why }), _) => {
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
                    "its old side {what}: its requests cannot be counted; point it at {allowed}, or name the \
                     other routes alone with routes"
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

    /// An old side that its router leaves out, whatever the weights, is no side to go back to.
    fn look_at_old_groups(&mut self, route: &RouteId, endpoint: &Endpoint) {
        let Some(old) = self.facts.backend(&endpoint.id) else { return };
        let groups = without_healthy_target(old);
        if let (Some(clause), false) = (endpoint.all_or_nothing, groups.is_empty()) {
            let message = format!(
                "groups of targets of the old {} have no healthy one: {}; {clause}",
                old.called,
                listed(&groups)
            );
            self.refuse(Problem::of(route, "old_side_left_out", message));
        }
    }

    /// The same of the new side keeps all traffic on the old one.
    fn look_at_new_groups(
        &mut self,
        route: &RouteId,
        all_or_nothing: Option<&'static str>,
        new: &Backend,
    ) {
        let groups = without_healthy_target(new);
        if groups.is_empty() || new.healthy() == 0 {
            return;
        }
        if let Some(clause) = all_or_nothing {
            let message = format!(
                "groups of targets of the new {} have no healthy one yet: {}; {clause}",
                new.called,
                listed(&groups)
            );
            self.not_yet(Problem::of(route, "new_side_left_out", message));
        } else {
            let message = format!(
                "groups of targets of the {} have no healthy one: {}; what is routed to them will fail: \
                 give each of them one first",
                new.called,
                listed(&groups)
            );
            self.warn(Problem::new("unhealthy_group", message));
        }
    }

    fn compare_capacity(&mut self, route: &RouteId, old: &Backend, new: &Backend) {
        if !new.active {
            let message = format!("the new {} is not active yet: wait until it is", new.called);
            self.not_yet(Problem::of(route, "not_active", message));
        }
        let percent = u64::from(self.request.capacity_min_percent);
        let needed = (u64::from(old.healthy()) * percent).div_ceil(100);
        if new.healthy() == 0 {
            let message = format!(
                "the new {} has no healthy target yet: wait for one, and look at its health checks if none comes",
                new.called
            );
            self.not_yet(Problem::of(route, "no_healthy_target", message));
        } else if u64::from(new.healthy()) < needed {
            let message = format!(
                "the new {} has {} healthy targets, the old one {}; capacity_min_percent {percent} asks for \
                 {needed}: give it more, or lower capacity_min_percent",
                new.called,
                new.healthy(),
                old.healthy()
            );
            self.not_yet(Problem::of(route, "capacity_too_low", message));
        }
    }

    pub(super) fn look_at_traffic(&mut self, history: &History) {
        let mut silent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for found in &self.survey.routes {
            let Some(old) = self.backend(found, Side::Old) else { continue };
            let new = self.backend(found, Side::New);
            // A resumed cutover may have all of its traffic on the new side already.
            let resumed = self.request.resume
                && new.is_some_and(|new| counted_lately(history.get(&new.meter)));
            if !counted_lately(history.get(&old.meter)) && !resumed {
                silent.entry(old.called.clone()).or_default().push(found.route.to_string());
            }
        }
        let minutes = f64::from(TRAFFIC_PERIODS * self.request.health.period_s) / 60.0;
        for (called, routes) in silent {
            let message = format!(
                "the old {called} of {} counted no request in the last {minutes} minutes: there is nothing to \
                 compare with",
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

    /// What fails on no known side is a limit for both together: a cutover that begins over it would go back at once.
    pub(super) fn look_at_shared_failures(&mut self, history: &History) {
        let limit = self.request.health.error_rate_max;
        let mut over: BTreeMap<String, (f64, Vec<String>)> = BTreeMap::new();
        for found in &self.survey.routes {
            let Some(old) = self.backend(found, Side::Old) else { continue };
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
        let pairs: BTreeSet<(&String, &String)> =
            self.survey.routes.iter().map(|found| (&found.old.id, &found.new.id)).collect();
        let mut warnings = Vec::new();
        for (old, new) in pairs {
            let of = |id| self.facts.backend(id);
            let (Some(old), Some(new)) = (of(old), of(new)) else { continue };
            let lump = self.request.ramp.steps().iter().find_map(|step| {
                let worst =
                    worst_share(step.percent, self.request.resolvers, linger_s, step.bake_s);
                let needed = hosts_needed(worst, old.healthy());
                (needed > new.healthy()).then_some((step.percent, worst, needed))
            });
            if let Some((share, worst, needed)) = lump {
                let message = format!(
                    "at {share}, {} resolvers may send {} of the requests to the {} for a while, which takes \
                     {needed} hosts as the {} has them; it has {}: give it that many first",
                    self.request.resolvers,
                    crate::words::percent(worst),
                    new.called,
                    old.called,
                    new.healthy()
                );
                warnings.push(Problem::new("lumpy_split", message));
            }
        }
        self.survey.warnings.append(&mut warnings);
    }
}

fn without_healthy_target(backend: &Backend) -> Vec<String> {
    backend.groups_without_healthy_target().map(|group| group.id.clone()).collect()
}
