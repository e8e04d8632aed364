//! The transition of a shift, and of the release of fences after the last one.

use jiff::Timestamp;

use super::decide::Decision;
use super::{
    Cutover, Held, LastShift, Phase, REASON_CHARS_MAX, Route, SETTLING_CHECK_S_MAX, SHIFT_S_MAX,
    Status, later,
};
use crate::limits::TASK_EVENTS;
use crate::next::Action;
use crate::router::{Fence, Live, Move, Moved, RouteId, Settling, Shifted, Way};
use crate::words::shortened;

impl Cutover {
    /// Whether a shift of an execution that was stopped then may still be under way: its function
    /// goes on, and may write after a roll-back has looked.
    pub(crate) fn may_be_shifting(&self, stopped_at: Option<Timestamp>, now: Timestamp) -> bool {
        // Later shifts find their fence gone.
        let unfenced = !self.fence || self.writes == 0;
        self.phase == Phase::Shifting
            && unfenced
            && stopped_at.is_some_and(|stopped_at| now < later(stopped_at, SHIFT_S_MAX))
    }

    /// What a shift has to do: every active route from what was written last to the current
    /// step's weights. Nothing once the step is written.
    #[must_use]
    pub fn pending_moves(&self) -> Vec<Move> {
        if self.phase != Phase::Shifting {
            return Vec::new();
        }
        let to = self.target();
        self.active()
            .map(|route| Move {
                route: route.name.clone(),
                from: vec![route.last],
                to,
                shapes: route.shapes.clone(),
                way: Way::Onward,
                supersedes: route.supersedes.clone(),
            })
            .collect()
    }

    /// The fence of the next shift, if there is to be one.
    #[must_use]
    pub fn shift_fence(&self, now: Timestamp) -> Option<Fence> {
        self.fence.then(|| Fence {
            holder: self.holder(),
            number: self.writes.saturating_add(1),
            at: now,
            take: self.writes == 0,
            last: false,
        })
    }

    /// After a shift: the routes that moved begin to settle, those that drifted stop. While a new side cannot take its
    /// requests, the step stays to be written, and every check is followed by another try.
    #[must_use]
    pub fn after_shift(mut self, shifted: &Shifted, now: Timestamp) -> Self {
        if self.phase != Phase::Shifting {
            return self;
        }
        self.count_retries();
        let to = self.target();
        let mut held = Vec::new();
        for (name, moved) in &shifted.moves {
            let Some(route) = self.routes.iter_mut().find(|route| &route.name == name) else {
                continue;
            };
            match moved {
                Moved::There => route.last = to,
                Moved::Refused(why) | Moved::MustGoBack(why) => route.must_go_back(why),
                Moved::Drifted(live) => route.differs(live, &self.other_writers),
                Moved::Superseded(why) => route.superseded(why),
                Moved::Held(why) => held.push(format!("{name}: {why}")),
                // Only said of a roll-back.
                Moved::Partly(why) => {
                    route.drifted(&Live::Unclear(why.clone()), &self.other_writers);
                }
            }
        }
        self.writes = self.writes.saturating_add(1);
        if let Some((first, others)) = held.split_first() {
            if held.len() < shifted.moves.len() {
                self.first_shift_at = self.first_shift_at.or(Some(now));
            }
            return self.hold(first, others.len(), now);
        }
        self.first_shift_at = self.first_shift_at.or(Some(now));
        self.last_shift = Some(LastShift { at: now, linger_s: shifted.linger_s });
        self.held = None;
        let phase = Phase::Settling(Settling {
            receipts: shifted.receipts.clone(),
            unconfirmed: shifted.unconfirmed,
            live_in_s: shifted.live_in_s,
            linger_s: shifted.linger_s,
            shifted_at: now,
        });
        let wait_s = self.health.check_interval_s.min(SETTLING_CHECK_S_MAX);
        let reason = format!("{} asked for; settling", self.intended());
        self.apply(Decision::stay(phase, wait_s, reason))
    }

    /// Leaves the step to be written, because of the first route that is held and of others.
    fn hold(mut self, first: &str, others: usize, now: Timestamp) -> Self {
        let more = match others {
            0 => String::new(),
            others => format!(" (and {others} more routes are held)"),
        };
        let reason = shortened(&format!("{first}{more}"), REASON_CHARS_MAX);
        let since = self.held.as_ref().map_or(now, |held| held.since);
        // The next try is a task more than the ramp was reckoned with.
        self.extra_events = self.extra_events.saturating_add(TASK_EVENTS);
        let says = format!("{} is held because {reason}", self.intended());
        self.held = Some(Held { since, reason });
        let wait_s = self.health.check_interval_s.min(SETTLING_CHECK_S_MAX);
        self.apply(Decision::stay(Phase::Shifting, wait_s, says))
    }

    /// The routes whose fences are left to remove before the end.
    #[must_use]
    pub fn to_release(&self) -> Vec<RouteId> {
        let left = self.with_leftover_fence().filter(|_| self.next.action == Action::Release);
        left.map(|route| route.name.clone()).collect()
    }

    /// After the fences are gone: the end that the report names.
    #[must_use]
    pub fn after_release(mut self) -> Self {
        if let Some(report) = &self.report
            && self.next.action == Action::Release
        {
            self.next.action = report.outcome;
            self.released = true;
        }
        self
    }

    /// At an end: fences that nobody needs any more are removed before it.
    pub(super) fn release_what_is_left(&mut self) {
        if self.fence && self.with_leftover_fence().next().is_some() {
            self.next.action = Action::Release;
        }
    }

    /// Routes that have come to their end without a last write: those that completed, and those that somebody
    /// else changed. One that was kept has its fence until it can go back.
    fn with_leftover_fence(&self) -> impl Iterator<Item = &Route> {
        self.active().chain(self.with_status(Status::Drifted))
    }
}
