//! Whether the new side answers for a route's name as the old one does, and whose requests are counted with its own.

use std::collections::{BTreeMap, BTreeSet};

use super::Validation;
use crate::failure::Problem;
use crate::router::Side;
use crate::router::survey::Found;
use crate::validate::facts::{Door, Entrance};
use crate::words::listed;

/// Routes by what is to be said of them.
type Said = BTreeMap<String, Vec<String>>;

/// Names that are counted together.
#[derive(Default)]
struct Shared {
    /// Routes of the cutover.
    routes: BTreeSet<String>,
    /// Other names, which do not move.
    staying: BTreeSet<String>,
}

impl Validation {
    /// Compares the doors of both sides, where somebody has looked at them.
    pub(super) fn look_at_entrances(&mut self) {
        let (mut unanswered, mut unknown) = (Said::new(), Said::new());
        for found in &self.survey.routes {
            let (Some(old), Some(new)) =
                (self.entrance(found, Side::Old), self.entrance(found, Side::New))
            else {
                continue;
            };
            for (door, of_old) in &old.doors {
                let of_new = new.doors.get(door);
                if let Some(why) = not_answered(door, of_old, of_new) {
                    unanswered.entry(why).or_default().push(found.route.to_string());
                } else if of_new.is_some_and(|new| new.shows_others_than(of_old)) {
                    unknown.entry(door.clone()).or_default().push(found.route.to_string());
                }
            }
        }
        for (why, routes) in unanswered {
            let message = format!("{} would not be answered: {why}", listed(&routes));
            self.not_yet(Problem::new("not_answered", message));
        }
        // A probe looks at them as a client does.
        unknown.retain(|_, _| self.request.probe.is_none());
        for (door, routes) in unknown {
            let message = format!(
                "on {door} the new side of {} does not show every certificate of the old one; whose names those of \
                 the new side have is not read: look whether they cover these routes, or let a \
                 probe do so",
                listed(&routes)
            );
            self.warn(Problem::new("other_certificates", message));
        }
    }

    /// Says whose requests are counted with those of the routes, where these cannot be told apart.
    pub(super) fn warn_of_shared_counts(&mut self) {
        let moving: BTreeSet<&str> =
            self.survey.routes.iter().map(|found| found.route.as_str()).collect();
        let mut shared: BTreeMap<&str, Shared> = BTreeMap::new();
        for found in &self.survey.routes {
            for side in [Side::Old, Side::New] {
                let backend = self.facts.backend(&found.endpoint(side).id);
                let (Some(entrance), Some(backend)) = (self.entrance(found, side), backend) else {
                    continue;
                };
                if entrance.others.is_empty() || self.backend(found, side) != Some(backend) {
                    continue;
                }
                let of = shared.entry(&backend.called).or_default();
                of.routes.insert(found.route.to_string());
                let (moves, stays): (Vec<_>, Vec<_>) = entrance
                    .others
                    .iter()
                    .cloned()
                    .partition(|name| moving.contains(name.as_str()));
                of.routes.extend(moves);
                of.staying.extend(stays);
            }
        }
        let problems = shared.into_iter().map(|(called, of)| of.problem(called));
        let problems: Vec<Problem> = problems.collect();
        self.survey.warnings.extend(problems);
    }

    fn entrance(&self, found: &Found, side: Side) -> Option<&Entrance> {
        self.facts.entrance(&found.endpoint(side).id, &found.route)
    }
}

impl Door {
    /// Whether it lacks a certificate that the old side's door shows.
    fn shows_others_than(&self, old: &Self) -> bool {
        match (&self.certificates, &old.certificates) {
            (Some(new), Some(old)) => !new.is_superset(old),
            _ => false,
        }
    }
}

impl Shared {
    fn problem(self, called: &str) -> Problem {
        let Self { routes, staying } = self;
        let others = if staying.is_empty() {
            "from each other's".to_owned()
        } else {
            format!("from those of {}, which do not move", listed(&staying))
        };
        let message = format!(
            "behind {called} the requests of {} cannot be told {others}, and all of them are counted together: a name \
             that fails may go unseen, and the faults of one count against all; give each name its own groups of \
             targets, by rules for that name alone",
            listed(&routes)
        );
        Problem::new("shared_counts", message)
    }
}

/// Why a route's requests come to nothing at a door of the new side by which they reach the old one's targets.
fn not_answered(door: &str, old: &Door, new: Option<&Door>) -> Option<String> {
    match (new, &old.fixed_answer) {
        (None, _) => Some(format!(
            "the old side listens on {door}, and the new one does not: wait until it does, or mend it"
        )),
        (Some(Door { fixed_answer: Some(what), .. }), None) => Some(format!(
            "on {door} the old side sends its requests to targets, the new one answers with {what}: wait \
             for its rules, or write them"
        )),
        (Some(_), _) => None,
    }
}
