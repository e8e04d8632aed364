//! Validation: from a request and what was found in the world to a cutover, or to every problem.
//!
//! It walks one way. A router's [`Survey`] and the [`Facts`] about what it found give a [`Validation`]. Its
//! [`outlook`](Validation::outlook) says whether it is worth asking for what is costly: who else writes the weights,
//! and a day of traffic. [`conclude`](Validation::conclude) then gives the cutover.

pub(crate) mod accept;
mod capacity;
mod entrances;
pub mod facts;
pub mod probes;
mod rivals;

use crate::cutover::Cutover;
use crate::evidence::Series;
use crate::failure::{Failure, Problem};
use crate::request::Request;
use crate::request::router::RouterSyntax;
use crate::router::survey::{Finding, Remedy, Survey};
use crate::validate::facts::{Attempt, Facts, History};

pub use capacity::TRAFFIC_PERIODS;
pub use rivals::mark_holders;

/// Seconds since the start during which routes without a part of the new side are waited for, when
/// the routes are discovered.
pub const LEFT_OUT_WAIT_S: u32 = 600;

/// What a validation comes to, by what is known before the traffic is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// A cutover, if the traffic allows it.
    Accepted,
    /// The new side is waited for.
    NotReady,
    /// A refusal.
    Refused,
}

/// A validation under way: everything that is known so far, and what speaks against a cutover.
#[derive(Clone, Debug)]
pub struct Validation {
    request: Request,
    attempt: Attempt,
    facts: Facts,
    survey: Survey,
}

impl Validation {
    /// Looks at everything but the traffic. `facts`: [settled](Facts::settled). `routers` read the inputs of other
    /// executions.
    #[must_use]
    pub fn of(
        request: Request,
        survey: Survey,
        facts: Facts,
        attempt: Attempt,
        routers: &[RouterSyntax],
    ) -> Self {
        let mut validation = Self { request, attempt, facts, survey };
        validation.look_at_splits();
        validation.look_behind_endpoints();
        validation.look_at_entrances();
        validation.look_at_alarms();
        validation.look_at_rivals(routers);
        validation.look_at_marks();
        validation.wait_for_stragglers();
        validation.leave_out_what_is_there();
        for problem in validation.request.unfit(validation.settle_s()) {
            validation.refuse(problem);
        }
        validation
    }

    /// What this validation will come to, whatever the traffic is: what is costly to ask for need not be asked
    /// where there will be no cutover this time.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        match (self.survey.findings.is_empty(), self.is_waiting()) {
            (true, _) => Outlook::Accepted,
            (_, true) => Outlook::NotReady,
            (_, false) => Outlook::Refused,
        }
    }

    /// The request that is being validated.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The survey, and the facts about it.
    #[must_use]
    pub const fn survey_and_facts(&self) -> (&Survey, &Facts) {
        (&self.survey, &self.facts)
    }

    /// The request, and the survey to add to it what was costly to find out.
    pub const fn request_and_survey(&mut self) -> (&Request, &mut Survey) {
        (&self.request, &mut self.survey)
    }

    /// Looks at the traffic and makes the cutover. `history` may be empty while the
    /// [outlook](Validation::outlook) is `NotReady`.
    ///
    /// # Errors
    /// `NotReady` when all that is wrong may pass by waiting and there is time to wait,
    /// `InvalidInput` with every problem otherwise.
    pub fn conclude(mut self, history: &History) -> Result<Cutover, Failure> {
        // While the new side is waited for, nobody has asked for the traffic yet.
        if !self.is_waiting() {
            self.look_at_traffic(history);
            self.warn_of_thin_steps(history);
            self.look_at_shared_failures(history);
        }
        self.warn_of_lumps();
        self.warn_of_shared_counts();
        self.warn_of_own_counts_alone();
        self.warn_of_nodes();
        let cutover = self.cutover(history);
        if let Some(cutover) = cutover.as_ref().filter(|_| self.survey.findings.is_empty()) {
            self.refuse_what_is_too_large(cutover);
        }
        match (cutover, self.survey.findings.is_empty()) {
            (Some(cutover), true) => Ok(cutover),
            _ => Err(self.failure()),
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.survey.findings.push(Finding { problem, remedy: Remedy::Person });
    }

    fn refuse_for_now(&mut self, problem: Problem) {
        self.survey.findings.push(Finding { problem, remedy: Remedy::MayPass });
    }

    fn not_yet(&mut self, problem: Problem) {
        self.survey.findings.push(Finding { problem, remedy: Remedy::Wait });
    }

    fn warn(&mut self, problem: Problem) {
        self.survey.warnings.push(problem);
    }

    /// How long requests may linger on their former side, in seconds: of all routes, the longest.
    fn linger_s(&self) -> u32 {
        self.survey.routes.iter().map(|found| found.linger_s).max().unwrap_or_default()
    }

    /// How long a change takes to show, in seconds.
    fn settle_s(&self) -> u32 {
        self.survey.behaviour.live_in_s.saturating_add(self.linger_s())
    }

    fn look_at_alarms(&mut self) {
        for name in self.request.health.alarms.clone() {
            match self.facts.alarms.iter().find(|(found, _)| *found == name) {
                None => {
                    let message = format!(
                        "there is no alarm named {name:?} in this region: look at the spelling, or take it out \
                         of health.alarms"
                    );
                    self.refuse(Problem::new("alarm_missing", message));
                }
                Some((_, true)) => {
                    let message = format!(
                        "the alarm {name:?} is in ALARM already: wait until it is not, or take it out of health.alarms"
                    );
                    self.refuse_for_now(Problem::new("alarm_already", message));
                }
                Some((_, false)) => {}
            }
        }
    }

    /// The new side's parts are made one after the other: routes that lack them are given some time before they
    /// are taken for routes that stay.
    fn wait_for_stragglers(&mut self) {
        let Some(problem) = self.survey.left_out.take() else { return };
        let patience_s = LEFT_OUT_WAIT_S.min(self.request.ready_timeout_s);
        if self.attempt.waited_s() < i64::from(patience_s) && !self.request.dry_run {
            self.not_yet(problem);
        } else {
            self.warn(problem);
        }
    }

    /// Whether all that is wrong so far may pass by waiting, and there is time to wait.
    fn is_waiting(&self) -> bool {
        self.may_pass() && self.attempt.waited_s() < i64::from(self.request.ready_timeout_s)
    }

    /// Whether all that is wrong so far may pass by waiting, which a dry run does not do.
    fn may_pass(&self) -> bool {
        let any = |remedy| self.survey.findings.iter().any(|finding| finding.remedy == remedy);
        any(Remedy::Wait) && !any(Remedy::Person) && !self.request.dry_run
    }

    fn failure(self) -> Failure {
        let (may_pass, is_waiting) = (self.may_pass(), self.is_waiting());
        let mut problems: Vec<Problem> =
            self.survey.findings.into_iter().map(|finding| finding.problem).collect();
        if problems.is_empty() {
            return Failure::Internal("validation found neither routes nor a problem".to_owned());
        }
        if is_waiting {
            return Failure::NotReady(problems);
        }
        if may_pass {
            let timeout_s = self.request.ready_timeout_s;
            let message = format!(
                "not ready within ready_timeout_s, {timeout_s} s: mend what is still missing and start \
                 again, or allow more time"
            );
            problems.insert(0, Problem::new("not_ready_in_time", message));
        }
        Failure::InvalidInput(problems)
    }
}

/// Whether a meter counted a request lately.
fn counted_lately(series: Option<&Series>) -> bool {
    let counts = series.map_or(&[][..], |series| &series.counts);
    let late = counts.iter().rev().take(TRAFFIC_PERIODS as usize);
    late.flatten().any(|counts| counts.requests > 0)
}

#[cfg(test)]
mod tests;
