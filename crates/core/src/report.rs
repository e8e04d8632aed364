//! What became of every route, told at the end.

use serde::{Deserialize, Serialize};

use crate::failure::escaped_bytes;
use crate::limits::CAUSE_BYTES_MAX;
use crate::next::Action;
use crate::plan::Plan;
use crate::router::{RouteId, Weights};

/// The end of a cutover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which end.
    pub outcome: Action,
    /// One plain sentence why.
    pub reason: String,
    /// Every route, those that did not end well first.
    pub routes: Vec<RouteReport>,
    /// Routes left out because the report would not fit into a Cause.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub omitted: usize,
    /// For a dry run: what would be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// What became of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// The route.
    pub route: RouteId,
    /// Its weights before the cutover.
    pub original: Weights,
    /// The weights that cutover wrote last.
    pub last: Weights,
    /// The weights that were read back at the end; `None` when they could not be told.
    pub live: Option<Weights>,
    /// Why it ended so.
    pub reason: String,
}

impl Report {
    /// Reports an end, or what is known before it. Each route comes with whether it ended well.
    pub(crate) fn new(
        outcome: Action,
        reason: &str,
        routes: impl Iterator<Item = (bool, RouteReport)>,
    ) -> Self {
        let mut routes: Vec<(bool, RouteReport)> = routes.collect();
        routes.sort_by_key(|(well, _)| *well);
        let routes = routes.into_iter().map(|(_, report)| report).collect();
        let mut report =
            Self { outcome, reason: reason.to_owned(), routes, omitted: 0, plan: None };
        report.fit();
        report
    }

    /// Leaves out routes from the end until the report fits into a Cause.
    pub(crate) fn fit(&mut self) {
        let bytes =
            |report: &Self| serde_json::to_string(report).map_or(0, |json| escaped_bytes(&json));
        loop {
            let size = bytes(self);
            if size <= CAUSE_BYTES_MAX || self.routes.is_empty() {
                return;
            }
            let kept = self.routes.len();
            let fewer = (kept * CAUSE_BYTES_MAX / size).min(kept - 1);
            self.omitted += kept - fewer;
            self.routes.truncate(fewer);
        }
    }
}
