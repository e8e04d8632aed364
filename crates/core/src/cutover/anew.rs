//! What was made anew in mid-cutover is counted under another id: the cutover follows it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{CountedBy, Cutover, REASON_CHARS_MAX, later};
use crate::evidence::{Observed, Series};
use crate::limits::{CAUSE_BYTES_MAX, STATE_BYTES_MAX};
use crate::meter::{MadeAnew, Meter};
use crate::next::Next;
use crate::seen::Seen;
use crate::validate::accept::state_bytes;
use crate::words::listed;

/// Periods without a request after which a side that should have some may have been made anew.
const SILENT_PERIODS: usize = 3;

impl Cutover {
    /// The meters of sides that should have requests, and that have no healthy host, or have now had no request for 3, 6,
    /// 12 … periods since the last shift has settled: not at each check of a side that has few.
    #[must_use]
    pub fn silent_meters(&self, observed: &Observed) -> Vec<&Meter> {
        let (Some(shift), Seen::Now(series)) = (self.last_shift, &observed.series) else {
            return Vec::new();
        };
        let window = observed.window;
        let settled_at = later(shift.at, i64::from(shift.linger_s));
        let since = |from: Timestamp| {
            (0..window.periods).filter(|index| window.start_of(*index) >= from).count()
        };
        let (settled, uncounted) = (since(settled_at), self.counted_until.map(since));
        let counted = self.active().filter(|route| route.counted_by != CountedBy::OwnCounts);
        let used = counted.flat_map(|route| {
            [(route.last.old, route.old_meter), (route.last.new, route.new_meter)]
        });
        let used: BTreeSet<usize> = used.filter(|(weight, _)| *weight > 0).map(|of| of.1).collect();
        let is_silent = |of: &Series| {
            let silence = silence(of).min(settled);
            let before = silence.saturating_sub(uncounted.unwrap_or(silence));
            of.healthy_hosts == Some(0) || doublings(silence) > doublings(before)
        };
        let is_silent = |index: &usize| series.get(*index).is_some_and(is_silent);
        used.into_iter().filter(is_silent).filter_map(|index| self.meters.get(index)).collect()
    }

    /// With the meters of what was made anew, and a sentence that says so, if one was. Their longer ids are not taken where
    /// the state could become too large with them.
    #[must_use]
    pub fn follow(mut self, anew: &[MadeAnew]) -> (Self, Option<String>) {
        let (former, mut said) = (self.clone(), BTreeSet::new());
        for MadeAnew { meter, id, hosts, called } in anew {
            let is_new = |index| self.routes.iter().any(|route| route.new_meter == index);
            let followed = self.meters.iter().position(|known| known.id == *meter);
            let side = if followed.is_some_and(is_new) { "new" } else { "old" };
            for known in self.meters.iter_mut().filter(|known| known.id == *meter) {
                known.id.clone_from(id);
                known.hosts.clone_from(hosts);
            }
            if followed.is_some() {
                said.insert(format!("the {side} side's {called}"));
            }
        }
        // Each route may still get a reason.
        let growth = self.routes.len() * REASON_CHARS_MAX + CAUSE_BYTES_MAX;
        if state_bytes(&self) + growth > STATE_BYTES_MAX {
            return (former, None);
        }
        let sentence = || format!("made anew, and counted from now on: {}", listed(&said));
        let sentence = (!said.is_empty()).then(sentence);
        (self, sentence)
    }

    /// Adds a warning to the reason of what comes next, if there is one.
    #[must_use]
    pub fn warning(mut self, warning: Option<String>) -> Self {
        if let Some(warning) = warning {
            let Next { action, wait_s, reason } = &self.next;
            self.next = Next::new(*action, *wait_s, &format!("{reason}; warning: {warning}"));
        }
        self
    }
}

/// How many of the newest periods have no request.
fn silence(series: &Series) -> usize {
    let newest = series.counts.iter().rev();
    newest.take_while(|counts| counts.is_none_or(|counts| counts.requests == 0)).count()
}

/// How often a silence of this many periods has doubled; `None` where it is no long one yet.
fn doublings(periods: usize) -> Option<u32> {
    (periods / SILENT_PERIODS).checked_ilog2()
}
