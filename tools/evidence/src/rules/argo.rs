//! Argo Rollouts' background analysis with a success rate from Prometheus.
//!
//! Source: argoproj/argo-rollouts. The template of `docs/features/analysis.md`, "Background
//! Analysis": `successCondition: result[0] >= 0.95`, `failureLimit: 3`, successes by requests, no
//! end. Its interval there is 5m; here it is the 60s that the same page has for the same condition
//! ("Inline Analysis"), as every rule of this comparison looks once a minute.
//!
//! - `analysis/analysis.go`, `assessMetricFailureInconclusiveOrError`: a run is Failed when *more*
//!   than `failureLimit` measurements failed, so at the fourth (the page's text says three),
//!   Inconclusive when more than `inconclusiveLimit` were (default 0), Error when more than
//!   `consecutiveErrorLimit` (default 4) in a row were errors; if several hold, the last of these
//!   counts. Failed and inconclusive measurements are counted over the whole run, errors until the
//!   next value.
//! - `utils/evaluate/evaluate.go`: without a failure condition, what does not succeed fails; with
//!   both, what meets neither is inconclusive. NaN succeeds at no comparison ("NaN and Infinity" of
//!   the page). An empty result has no `result[0]`, which is an error.
//! - `analysis/analysis.go`, `generateMetricTasks`: after an error the next measurement is due in
//!   10 s, whatever the interval.
//! - `rollout/analysis.go`: Failed and Error abort the rollout, which is to roll back. Inconclusive
//!   pauses it for a human, which is modelled as never rolling back.
//!
//! What Prometheus answers is modelled: the query divides two sums, and the upper one has no series
//! before the first request that succeeded, which gives an empty result; after that, a minute
//! without requests is 0 / 0, which gives NaN. A minute's counts stand for what `irate` sees in it.

use cutover_core::Counts;

use super::{Minute, Rule};

/// Measurements within a minute while they give errors: one each 10 s.
const RETRIES_A_MINUTE: u32 = 6;

/// What an `AnalysisTemplate` says of its one metric.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// `successCondition: result[0] >= …`, a share from 0 to 1.
    pub success_min: f64,
    /// `failureCondition: result[0] < …`, a share from 0 to 1, if there is one.
    pub failure_below: Option<f64>,
    /// Failed measurements that a run bears.
    pub failure_limit: u32,
    /// Inconclusive measurements that a run bears.
    pub inconclusive_limit: u32,
    /// Errors in a row that a run bears.
    pub consecutive_error_limit: u32,
}

impl Template {
    /// The one of the documentation.
    pub const DOCUMENTED: Self = Self {
        success_min: 0.95,
        failure_below: None,
        failure_limit: 3,
        inconclusive_limit: 0,
        consecutive_error_limit: 4,
    };

    fn evaluate(&self, result: Option<f64>) -> Phase {
        let Some(share) = result else { return Phase::Error };
        let is_success = share >= self.success_min;
        let is_failure = self.failure_below.map_or(!is_success, |limit| share < limit);
        match (is_failure, is_success) {
            (true, _) => Phase::Failed,
            (false, true) => Phase::Successful,
            (false, false) => Phase::Inconclusive,
        }
    }
}

/// How a measurement or a run went. A run is never `Successful` here, as it has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Successful,
    Failed,
    Inconclusive,
    Error,
}

/// One analysis run.
#[derive(Clone, Debug)]
pub struct Argo {
    template: Template,
    failed: u32,
    inconclusive: u32,
    consecutive_errors: u32,
    /// Whether the new side ever answered well, from when on the query has a result.
    has_series: bool,
    /// How the run ended, if it did.
    end: Option<Phase>,
}

impl Argo {
    /// A run of `template`, measured once a minute.
    #[must_use]
    pub const fn new(template: Template) -> Self {
        Self {
            template,
            failed: 0,
            inconclusive: 0,
            consecutive_errors: 0,
            has_series: false,
            end: None,
        }
    }

    /// What the query answers at the end of the minute: `None` is an empty vector.
    fn query(&mut self, new: Counts) -> Option<f64> {
        self.has_series |= new.errors < new.requests;
        self.has_series.then(|| new.error_rate().map_or(f64::NAN, |rate| 1.0 - rate))
    }

    fn count(&mut self, measurement: Phase) {
        match measurement {
            Phase::Error => {
                let is_retried = self.consecutive_errors > 0;
                self.consecutive_errors += if is_retried { RETRIES_A_MINUTE } else { 1 };
                return;
            }
            Phase::Failed => self.failed += 1,
            Phase::Inconclusive => self.inconclusive += 1,
            Phase::Successful => {}
        }
        self.consecutive_errors = 0;
    }

    fn assess(&self) -> Option<Phase> {
        if self.consecutive_errors > self.template.consecutive_error_limit {
            Some(Phase::Error)
        } else if self.inconclusive > self.template.inconclusive_limit {
            Some(Phase::Inconclusive)
        } else if self.failed > self.template.failure_limit {
            Some(Phase::Failed)
        } else {
            None
        }
    }
}

impl Rule for Argo {
    fn see(&mut self, minute: &Minute) -> bool {
        if self.end.is_none() {
            let result = self.query(minute.new);
            self.count(self.template.evaluate(result));
            self.end = self.assess();
        }
        matches!(self.end, Some(Phase::Failed | Phase::Error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    const NEW: Argo = Argo::new(Template::DOCUMENTED);

    #[test]
    fn a_run_fails_when_more_than_the_limit_failed_and_not_before() {
        let bad = minute((900, 0), (100, 6));
        assert_eq!(rolled_back_at(&mut NEW.clone(), &[bad; 10]), Some(4));
    }

    #[test]
    fn failures_need_not_follow_each_other() {
        let (good, bad) = (minute((900, 0), (100, 5)), minute((900, 0), (100, 6)));
        assert_eq!(rolled_back_at(&mut NEW.clone(), &[good, bad].repeat(5)), Some(8));
    }

    #[test]
    fn a_success_rate_of_95_percent_succeeds() {
        for requests in [20, 40, 60, 100, 140, 700, 4_980, 1_000_000] {
            let at_the_limit = minute((900, 0), (requests, requests / 20));
            assert_eq!(rolled_back_at(&mut NEW.clone(), &[at_the_limit; 60]), None, "{requests}");
        }
    }

    #[test]
    fn silence_fails_as_nan_once_there_was_an_answer() {
        let (good, silent) = (minute((900, 0), (100, 0)), minute((900, 0), (0, 0)));
        let minutes = [good, silent, silent, silent, silent];
        assert_eq!(rolled_back_at(&mut NEW.clone(), &minutes), Some(5));
    }

    #[test]
    fn silence_from_the_start_is_retried_every_10_s_and_aborts_within_the_next_minute() {
        let (good, silent) = (minute((900, 0), (100, 0)), minute((900, 0), (0, 0)));
        assert_eq!(rolled_back_at(&mut NEW.clone(), &[silent; 5]), Some(2));
        assert_eq!(rolled_back_at(&mut NEW.clone(), &[silent, good, good]), None);
    }

    #[test]
    fn a_side_that_never_answers_well_has_no_result() {
        let broken = minute((900, 0), (100, 100));
        assert_eq!(rolled_back_at(&mut NEW.clone(), &[broken; 5]), Some(2));
    }

    #[test]
    fn an_inconclusive_run_waits_for_a_human_and_never_rolls_back() {
        let template = Template {
            success_min: 0.90,
            failure_below: Some(0.50),
            inconclusive_limit: 1,
            ..Template::DOCUMENTED
        };
        let (unclear, bad) = (minute((900, 0), (100, 30)), minute((900, 0), (100, 60)));
        let mut run = Argo::new(template);
        assert_eq!(rolled_back_at(&mut run, &[unclear, unclear, bad, bad, bad, bad, bad]), None);
        assert_eq!(run.end, Some(Phase::Inconclusive));

        let mut run = Argo::new(template);
        assert_eq!(rolled_back_at(&mut run, &[unclear, bad, bad, bad, bad, bad]), Some(5));
    }

    #[test]
    fn measurements_are_evaluated_as_documented() {
        let both = Template { failure_below: Some(0.95), ..Template::DOCUMENTED };
        for (template, result, phase) in [
            (Template::DOCUMENTED, Some(0.95), Phase::Successful),
            (Template::DOCUMENTED, Some(0.94), Phase::Failed),
            (Template::DOCUMENTED, Some(f64::NAN), Phase::Failed),
            (Template::DOCUMENTED, None, Phase::Error),
            (both, Some(f64::NAN), Phase::Inconclusive),
            (both, Some(0.94), Phase::Failed),
        ] {
            assert_eq!(template.evaluate(result), phase, "{result:?} of {template:?}");
        }
    }
}
