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
                 the new side have is not read: make sure that they cover these routes, or \
                 let a probe look",
                listed(&routes)
            );
            self.warn(Problem::new("other_certificates", message));
        }
    }

    /// Names whose requests are counted with those of the routes, where a side cannot be told apart.
    pub(super) fn warn_of_shared_counts(&mut self) {
        let moving: BTreeSet<&str> =
            self.survey.routes.iter().map(|found| found.route.as_str()).collect();
        let mut said: BTreeMap<(String, Vec<String>, Vec<String>), Vec<String>> = BTreeMap::new();
        for found in &self.survey.routes {
            for side in [Side::Old, Side::New] {
                let Some(entrance) = self.entrance(found, side) else { continue };
                let Some(backend) = self.facts.backend(&found.endpoint(side).id) else { continue };
                let is_apart = self.backend(found, side) != Some(backend);
                if is_apart || entrance.others.is_empty() {
                    continue;
                }
                let others = entrance.others.iter().cloned();
                let (move_too, stay): (Vec<_>, Vec<_>) =
                    others.partition(|name| moving.contains(name.as_str()));
                let move_too = if stay.is_empty() { move_too } else { Vec::new() };
                let key = (backend.called.clone(), stay, move_too);
                said.entry(key).or_default().push(found.route.to_string());
            }
        }
        let problems: Vec<Problem> =
            said.into_iter().map(|(key, routes)| shared_counts(&key, &routes)).collect();
        for problem in problems {
            self.warn(problem);
        }
    }

    fn entrance(&self, found: &Found, side: Side) -> Option<&Entrance> {
        self.facts.entrance(&found.endpoint(side).id, &found.route)
    }
}

impl Door {
    /// Whether it lacks a certificate that the old side's door shows.
    fn shows_others_than(&self, old: &Self) -> bool {
        !self.certificates.is_superset(&old.certificates)
    }
}

fn shared_counts(
    (called, stay, move_too): &(String, Vec<String>, Vec<String>),
    routes: &[String],
) -> Problem {
    let others = if stay.is_empty() {
        listed(move_too)
    } else {
        format!("{}, which do not move", listed(stay))
    };
    let message = format!(
        "the requests of {} cannot be told from those of other names of {called} and are counted together with them: \
         {others}; a route that fails may hide behind these, and their faults speak against it: give each name its own \
         groups of targets, by rules for that name alone",
        listed(routes)
    );
    Problem::new("shared_counts", message)
}

/// Why a route's requests come to nothing at a door of the new side by which they reach the old one's targets.
fn not_answered(door: &str, old: &Door, new: Option<&Door>) -> Option<String> {
    match (new, &old.fixed_answer) {
        (None, _) => Some(format!("the old side listens on {door}, and the new one does not yet")),
        (Some(Door { fixed_answer: Some(what), .. }), None) => Some(format!(
            "on {door} the old side sends its requests to targets, the new one answers with {what}: its rules are not \
             there yet"
        )),
        (Some(_), _) => None,
    }
}
