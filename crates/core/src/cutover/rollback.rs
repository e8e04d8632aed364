//! The transition of a roll-back.

use jiff::Timestamp;

use super::{Cutover, Phase, Route, Status};
use crate::failure::Failure;
use crate::meter::{GoingBack, OldSide};
use crate::next::{Action, Next};
use crate::request::ramp::ROLLBACK_EVENTS;
use crate::router::{Fence, Live, Move, Moved, RouteId, Shifted, Split, Way, Weights};
use crate::words::{listed, percent};

/// What one roll-back did.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackDone {
    /// Routes that were left because their old side has no registered target.
    pub kept: Vec<RouteId>,
    /// What is wrong with old sides, of the routes for which something is known to be.
    pub old_sides: Vec<(RouteId, OldSide)>,
    /// What became of the moves.
    pub shifted: Shifted,
    /// The live splits afterwards, read back.
    pub splits: Vec<Split>,
    /// The name of the function that rolls back, for the command that a person is given.
    pub function: Option<String>,
}

impl RollbackDone {
    /// What a person must know about a route that has gone back.
    fn warning(&self, route: &Route) -> Option<&'static str> {
        let (_, old_side) = self.old_sides.iter().find(|(name, _)| name == &route.name)?;
        old_side.warning(route.all_or_nothing)
    }
}

impl Cutover {
    /// The fence of a roll-back. Its number is above that of a shift that is under way. With `retake`, a route
    /// whose fence is gone may be taken up again, as after completion.
    #[must_use]
    pub fn rollback_fence(&self, retake: bool, now: Timestamp) -> Option<Fence> {
        self.fence.then(|| Fence {
            holder: self.holder(),
            number: self.writes.saturating_add(2),
            at: now,
            take: self.released || retake,
            last: true,
        })
    }

    /// Marks every active route to go back, because a function could not go on.
    #[must_use]
    pub fn give_up(mut self, reason: &str) -> Self {
        self.roll_back_active(reason);
        if self.report.is_none() {
            self.next = Next::new(Action::RollBack, 0, reason);
        }
        self
    }

    /// The routes that must go back, each with its old side.
    pub fn going_back(&self) -> impl Iterator<Item = GoingBack> {
        self.with_status(Status::RollingBack).filter_map(|route| {
            let meter = self.meters.get(route.old_meter)?.id.clone();
            let all_or_nothing = route.all_or_nothing;
            Some(GoingBack { route: route.name.clone(), meter, all_or_nothing })
        })
    }

    /// What a roll-back has to do, but for the routes in `kept`: to the original weights, from
    /// what was written last or was about to be written when the function was stopped.
    ///
    /// A weight that is an original one was written back by somebody, external-dns for one, who wants what a
    /// roll-back wants: beside a weight of cutover's it is no drift.
    #[must_use]
    pub fn rollback_moves(&self, kept: &[RouteId]) -> Vec<Move> {
        let about_to_be_written = self.target();
        self.with_status(Status::RollingBack)
            .filter(|route| !kept.contains(&route.name))
            .map(|route| {
                let original = route.original;
                let ours = [route.last, about_to_be_written];
                let half = ours.into_iter().flat_map(|ours| {
                    [Weights { old: original.old, ..ours }, Weights { new: original.new, ..ours }]
                });
                let mut from = Vec::new();
                for weights in ours.into_iter().chain(half) {
                    if !from.contains(&weights) {
                        from.push(weights);
                    }
                }
                Move {
                    route: route.name.clone(),
                    from,
                    to: original,
                    shapes: route.shapes.clone(),
                    way: if route.forced { Way::Forced } else { Way::Back },
                    supersedes: route.supersedes.clone(),
                }
            })
            .collect()
    }

    /// After a roll-back: ends, or goes on with the routes that stay active.
    #[must_use]
    pub fn after_rollback(mut self, done: &RollbackDone) -> Self {
        let mut warned: Vec<(RouteId, &str)> = Vec::new();
        if self.report.is_none() {
            self.count_retries();
            self.extra_events = self.extra_events.saturating_add(ROLLBACK_EVENTS);
        }
        for route in self.routes.iter_mut().filter(|r| r.status == Status::RollingBack) {
            if done.kept.contains(&route.name) {
                let why = done.warning(route);
                route.kept(why.unwrap_or("its old side has no registered target"));
                continue;
            }
            match done.shifted.moves.iter().find(|(name, _)| name == &route.name) {
                Some((_, Moved::There)) => {
                    route.status = Status::RolledBack;
                    route.last = route.original;
                    if let Some(warning) = done.warning(route) {
                        warned.push((route.name.clone(), warning));
                        let why = route.reason.take().unwrap_or_default();
                        route.say(&format!("{warning}; went back because: {why}"));
                    }
                }
                // A move back is never held.
                Some((_, Moved::Refused(why) | Moved::Held(why))) => route.kept(why),
                Some((_, Moved::Drifted(live))) => route.drifted(live, &self.other_writers),
                Some((_, Moved::Superseded(why) | Moved::MustGoBack(why))) => route.superseded(why),
                Some((_, Moved::Partly(why))) => {
                    route.last = route.original;
                    route.drifted(&Live::Unclear(why.clone()), &self.other_writers);
                }
                None => {}
            }
        }
        if self.active().next().is_some() {
            let (action, wait_s) = match self.phase {
                Phase::Shifting => (Action::Shift, 0),
                Phase::Settling(_) | Phase::Baking { .. } => {
                    (Action::Wait, self.health.check_interval_s)
                }
            };
            let reason = format!("the other routes go on; {}", self.next.reason);
            let reason = warned_first(&warned, reason);
            self.next = Next::new(action, wait_s, &reason);
            return self;
        }
        let first = |status| self.with_status(status).next();
        let (action, cause) = if let Some(kept) =
            first(Status::Kept).or_else(|| first(Status::RollingBack))
        {
            (Action::RollbackFailed, Some(kept))
        } else if let Some(left) = first(Status::Drifted).or_else(|| first(Status::Superseded)) {
            (Action::Drifted, Some(left))
        } else {
            (Action::RolledBack, None)
        };
        let mut reason = match cause {
            Some(route) => {
                format!("{}: {}", route.name, route.reason.as_deref().unwrap_or_default())
            }
            None => self.next.reason.clone(),
        };
        reason = warned_first(&warned, reason);
        if let Some(left) = self.left_on_new(done) {
            reason = format!("{left} {reason}");
        }
        self.next = Next::new(action, 0, &reason);
        self.report = Some(self.report_now(&done.splits));
        self.release_what_is_left();
        self
    }

    /// Says first and loudest that requests stay on the new side although they should go back, and how a person
    /// takes them back.
    fn left_on_new(&self, done: &RollbackDone) -> Option<String> {
        let left = |status| -> Vec<String> {
            let share = |route: &Route| {
                let split = done.splits.iter().find(|split| split.route == route.name)?;
                match &split.live {
                    Live::At(live) => {
                        let share = live.share().filter(|share| *share > 0.0)?;
                        Some(format!("{} of {}", percent(share), route.name))
                    }
                    Live::Unclear(_) => Some(format!("an unknown share of {}", route.name)),
                }
            };
            self.with_status(status).filter_map(share).collect()
        };
        let function = done.function.as_deref().unwrap_or("ROLLBACK_FUNCTION");
        let said = |left: Vec<String>, when: &str, force: bool| {
            let order = serde_json::json!({ "execution_arn": self.execution.arn, "force": force });
            (!left.is_empty()).then(|| {
                format!(
                    "REQUESTS STAY ON THE NEW SIDE {:?}. {when}: aws lambda invoke --function-name {function} \
                     --cli-binary-format raw-in-base64-out --payload '{order}' /dev/stdout. They are {}.",
                    self.sides.new,
                    listed(&left),
                )
            })
        };
        // What somebody else has changed is taken back by force; a side that cannot serve gets nothing by force.
        let drifted = said(left(Status::Drifted), "To take them back", true);
        let once = "Once the old side can serve them, this takes them back";
        // Only a person can tell that the requests reach what was made anew.
        let is_replaced =
            |route: &&Route| done.old_sides.contains(&(route.name.clone(), OldSide::Replaced));
        let (replaced, others): (Vec<&Route>, Vec<&Route>) =
            self.with_status(Status::Kept).partition(is_replaced);
        let names = |of: Vec<&Route>| listed(of.into_iter().map(|route| &route.name));
        let what_takes = match (&drifted, replaced.is_empty(), others.is_empty()) {
            (_, _, true) | (None, true, _) => None,
            (Some(_), ..) => Some("The command takes".to_owned()),
            _ => Some(format!("For {} it must be \"force\": true, which takes", names(replaced))),
        };
        let text = drifted.or_else(|| said(left(Status::Kept), once, others.is_empty()))?;
        Some(match what_takes {
            Some(takes) => {
                let others = names(others);
                format!(
                    "{text} {takes} {others} back as well, even to an old side that cannot serve."
                )
            }
            None => text,
        })
    }

    /// What a roll-back wrote and what it read back afterwards.
    ///
    /// # Errors
    /// As [`rollback_failure`](Self::rollback_failure) when either failed.
    pub fn rollback_outcome(
        &self,
        shifted: Result<Shifted, Failure>,
        splits: Result<Vec<Split>, Failure>,
    ) -> Result<(Shifted, Vec<Split>), Failure> {
        match (shifted, splits) {
            (Ok(shifted), Ok(splits)) => Ok((shifted, splits)),
            (Err(failure), Ok(splits)) => Err(self.rollback_failure(&failure, &splits)),
            (Err(failure), Err(_)) | (Ok(_), Err(failure)) => {
                Err(self.rollback_failure(&failure, &[]))
            }
        }
    }

    /// The failure of a roll-back, with what is known of every route. `splits`: what could
    /// still be read.
    #[must_use]
    pub fn rollback_failure(&self, failure: &Failure, splits: &[Split]) -> Failure {
        let mut failed = self.clone();
        let reason = format!("the roll-back failed: {failure}; it was for: {}", self.next.reason);
        failed.next = Next::new(Action::RollbackFailed, 0, &reason);
        let report = serde_json::to_string(&failed.report_now(splits));
        let message = report.unwrap_or_else(|error| format!("{reason}; no report: {error}"));
        match failure {
            Failure::Unreachable(_) => Failure::Unreachable(message),
            Failure::Refused(_) => Failure::Refused(message),
            Failure::InvalidInput(_) | Failure::NotReady(_) | Failure::Internal(_) => {
                Failure::Internal(message)
            }
        }
    }

    /// For a roll-back that no state machine watches: only one that is done is no failure.
    ///
    /// # Errors
    /// `Unreachable` when a shift may still be under way (`again`), so that it is done once more;
    /// `Refused` with the report when some route has not its original weights.
    pub fn undone(self, again: bool) -> Result<Self, Failure> {
        if again {
            let why = "the weights were given back, but a first shift of the stopped execution may still begin: \
                       this must be done once more in three minutes";
            return Err(Failure::Unreachable(why.to_owned()));
        }
        // What another execution has now is none of this one's business, and no failure.
        let done = [Status::RolledBack, Status::Superseded];
        if self.routes.iter().all(|route| done.contains(&route.status)) {
            return Ok(self);
        }
        let report = serde_json::to_string(&self.report);
        Err(Failure::Refused(report.unwrap_or_else(|error| format!("no report: {error}"))))
    }
}

/// Puts the warning about old sides before the reason, which may be cut off at its end.
fn warned_first(warned: &[(RouteId, &str)], reason: String) -> String {
    let Some(((route, warning), others)) = warned.split_first() else { return reason };
    let more = match others.len() {
        0 => String::new(),
        more => format!(" (and {more} more routes have such an old side)"),
    };
    format!("warning: {route} went back, but {warning}{more}; {reason}")
}
