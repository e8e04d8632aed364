//! What both sides answered to requests of cutover's own.

use std::collections::BTreeSet;

use super::Validation;
use crate::failure::Problem;
use crate::router::RouteId;

/// What one side of a route answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// To each request, a status and the milliseconds that it took.
    Statuses(Vec<(u16, u64)>),
    /// No proper answer, for this reason: a certificate that is not valid, a broken connection.
    Badly(String),
    /// Nobody could be reached from here, for this reason.
    OutOfReach(String),
}

/// What the old and the new side of a route answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The route.
    pub route: RouteId,
    /// The old side's answer.
    pub old: Answered,
    /// The new side's answer.
    pub new: Answered,
}

impl Validation {
    /// Compares what both sides of the routes answered. Without a probe in the request nothing was asked.
    pub fn look_at_probes(&mut self, probed: &[Probed]) {
        let Some(probe) = self.request.probe.clone() else { return };
        for Probed { route, old, new } in probed {
            let both = format!(
                "to {} requests for {} the old side answered {}, the new one {}",
                probe.count,
                probe.path,
                old.shown(),
                new.shown()
            );
            match (old, new) {
                (Answered::OutOfReach(_), Answered::OutOfReach(_)) => {
                    let message = format!(
                        "{both}: take probe out of the request, or probe them from inside of their network"
                    );
                    self.warn(Problem::of(route, "probe_out_of_reach", message));
                }
                _ if !new.is_as_good_as(old) => {
                    let message = format!("{both}: mend the new side first");
                    self.not_yet(Problem::of(route, "probe_differs", message));
                }
                _ => {}
            }
        }
    }
}

impl Answered {
    /// Whether all answers are such as the other side gives as well. Where that one gives none, any answer below 500
    /// is as good.
    fn is_as_good_as(&self, old: &Self) -> bool {
        let Self::Statuses(new) = self else { return false };
        let statuses = |of: &[(u16, u64)]| of.iter().map(|(status, _)| *status).collect();
        let new: BTreeSet<u16> = statuses(new);
        match old {
            Self::Statuses(old) => new.is_subset(&statuses(old)),
            Self::Badly(_) | Self::OutOfReach(_) => new.iter().all(|status| *status < 500),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Statuses(answers) => {
                let statuses: BTreeSet<u16> = answers.iter().map(|(status, _)| *status).collect();
                let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
                let slowest_ms = answers.iter().map(|(_, ms)| *ms).max().unwrap_or_default();
                format!("{} in up to {slowest_ms} ms", statuses.join(" and "))
            }
            Self::Badly(why) => format!("with a failure ({why})"),
            Self::OutOfReach(why) => format!("nothing (out of reach: {why})"),
        }
    }
}
