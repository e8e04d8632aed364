//! What was made anew in mid-cutover is counted under another id: the cutover follows it.

use std::collections::BTreeSet;

use super::{CountedBy, Cutover, later};
use crate::evidence::{Observed, Series};
use crate::meter::{MadeAnew, Meter};
use crate::next::Next;
use crate::seen::Seen;
use crate::words::listed;

/// Periods without a request after which a side that should have some may have been made anew.
const SILENT_PERIODS: u32 = 3;

impl Cutover {
    /// The meters of sides that should have requests, and that have had none since a while after the last shift.
    #[must_use]
    pub fn silent_meters(&self, observed: &Observed) -> Vec<&Meter> {
        let (Some(shift), Seen::Now(series)) = (self.last_shift, &observed.series) else {
            return Vec::new();
        };
        let window = observed.window;
        let settled_at = later(shift.at, i64::from(shift.linger_s));
        let since = window.periods.checked_sub(SILENT_PERIODS).map(|first| window.start_of(first));
        if since.is_none_or(|since| since < settled_at) {
            return Vec::new();
        }
        let counted = self.active().filter(|route| route.counted_by != CountedBy::OwnCounts);
        let used = counted.flat_map(|route| {
            [(route.last.old, route.old_meter), (route.last.new, route.new_meter)]
        });
        let used: BTreeSet<usize> = used.filter(|(weight, _)| *weight > 0).map(|of| of.1).collect();
        let is_silent = |index: &usize| series.get(*index).is_some_and(is_silent);
        used.into_iter().filter(is_silent).filter_map(|index| self.meters.get(index)).collect()
    }

    /// With the meters of what was made anew, and a sentence that says so, if one was.
    #[must_use]
    pub fn follow(mut self, anew: &[MadeAnew]) -> (Self, Option<String>) {
        let mut said = Vec::new();
        for MadeAnew { meter, id, hosts, called } in anew {
            let is_new = |index| self.routes.iter().any(|route| route.new_meter == index);
            let followed = self.meters.iter().position(|known| known.id == *meter);
            let side = if followed.is_some_and(is_new) { "new" } else { "old" };
            for known in self.meters.iter_mut().filter(|known| known.id == *meter) {
                known.id.clone_from(id);
                known.hosts.clone_from(hosts);
            }
            if followed.is_some() {
                said.push(format!("the {side} side's {called}"));
            }
        }
        let sentence = || format!("made anew, and counted from now on: {}", listed(&said));
        let sentence = (!said.is_empty()).then(sentence);
        (self, sentence)
    }

    /// Says something first of what comes next, if there is something to say.
    #[must_use]
    pub fn saying(mut self, first: Option<String>) -> Self {
        if let Some(first) = first {
            self.next = Next::new(
                self.next.action,
                self.next.wait_s,
                &format!("{first}; {}", self.next.reason),
            );
        }
        self
    }
}

/// Whether none of the newest periods has a request.
fn is_silent(series: &Series) -> bool {
    let newest = series.counts.iter().rev().take(SILENT_PERIODS as usize);
    newest.flatten().all(|counts| counts.requests == 0)
}
