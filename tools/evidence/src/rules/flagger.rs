//! Flagger's canary analysis with its built-in success rate.
//!
//! Source: fluxcd/flagger. `pkg/controller/scheduler.go`, `advanceCanary`: a failed analysis adds
//! one to `failedChecks`, and the canary does not advance; nothing but a new revision or a new
//! canary sets the count back. The next tick compares it with the threshold before it analyses
//! anything, and rolls back. `pkg/controller/scheduler_metrics.go`, `runBuiltinMetricChecks`: no
//! value ("Halt advancement no values found") is a failed check like any other;
//! `pkg/metrics/providers/prometheus.go`: a result of NaN, as 0 of 0 requests gives, is no value.
//! `pkg/metrics/observers/istio.go`: the success rate is what did not answer 5xx.
//!
//! The numbers are those of `docs/gitbook/tutorials/istio-progressive-delivery.md`: an interval of
//! one minute, `threshold: 5`, `request-success-rate` with `min: 99`.
//!
//! Left out: that a failed check also halts the advancement, and that Flagger checks nothing while
//! the weight is 0. A rule sees only what is sent to the new side, and each minute counts.

use cutover_core::Counts;

use super::{Minute, Rule};

/// Failed checks after which the next tick rolls back.
const THRESHOLD: u32 = 5;
/// Least success rate, in percent.
const SUCCESS_PERCENT_MIN: u64 = 99;

/// The analysis of one canary.
#[derive(Clone, Debug, Default)]
pub struct Flagger {
    failed_checks: u32,
}

/// Whether the metric has a value, and it is not below the least one.
fn passes(new: Counts) -> bool {
    let succeeded = new.requests.saturating_sub(new.errors);
    new.requests > 0 && succeeded * 100 >= SUCCESS_PERCENT_MIN * new.requests
}

impl Rule for Flagger {
    fn see(&mut self, minute: &Minute) -> bool {
        if self.failed_checks >= THRESHOLD {
            return true;
        }
        self.failed_checks += u32::from(!passes(minute.new));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    #[test]
    fn the_tick_after_the_fifth_failed_check_rolls_back() {
        let bad = minute((900, 0), (100, 2));
        assert_eq!(rolled_back_at(&mut Flagger::default(), &[bad; 10]), Some(6));
    }

    #[test]
    fn it_does_so_even_if_the_tick_itself_is_fine() {
        let (good, bad) = (minute((900, 0), (100, 0)), minute((900, 0), (100, 2)));
        let minutes = [bad, bad, bad, bad, bad, good];
        assert_eq!(rolled_back_at(&mut Flagger::default(), &minutes), Some(6));
    }

    #[test]
    fn good_minutes_do_not_set_the_count_back() {
        let (good, bad) = (minute((900, 0), (100, 1)), minute((900, 0), (100, 2)));
        let minutes = [bad, good, good].repeat(5);
        assert_eq!(rolled_back_at(&mut Flagger::default(), &minutes), Some(14));
    }

    #[test]
    fn no_traffic_counts_as_failed() {
        let silent = minute((900, 0), (0, 0));
        assert_eq!(rolled_back_at(&mut Flagger::default(), &[silent; 10]), Some(6));
    }

    #[test]
    fn a_success_rate_of_99_percent_passes() {
        for (requests, errors, is_passed) in
            [(100, 1, true), (100, 2, false), (1_000, 10, true), (1_000, 11, false), (3, 1, false)]
        {
            assert_eq!(passes(Counts { requests, errors }), is_passed, "{errors} of {requests}");
        }
    }
}
