//! How much traffic it takes to see an effect.

use crate::evidence::Counts;

/// Requests of the new side until e is likely to reach its limit, if the new side's odds to fail are
/// `odds_ratio` times the old side's. `log_needed` is ln of what e must gain
/// ([`EProcess::log_needed`](crate::EProcess::log_needed)). `None` where nothing can be
/// said: no request on one side, or an effect that is tolerated. Where nothing has failed yet, one error among all
/// requests is assumed: at least so many are needed.
///
/// Every error falls on the new side with a probability π that depends on the odds ratio and the share of
/// requests that it gets; so ln e grows on average, an error, by the Kullback–Leibler divergence of π
/// at `odds_ratio` from π at `tolerated`. Errors are taken to be rare, the shares and the old side's error rate
/// to stay as they were in `old` and `new`.
///
/// Source: A. Wald, "Sequential Analysis" (1947), section 3.5 (average sample number, without overshoot).
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub fn requests_needed(
    old: Counts,
    new: Counts,
    tolerated: f64,
    odds_ratio: f64,
    log_needed: f64,
) -> Option<u64> {
    if odds_ratio <= tolerated || new.requests == 0 || old.requests == 0 {
        return None;
    }
    let share = new.requests as f64 / (new + old).requests as f64;
    // Without an error on the old side, those of both are the best guess of how often requests fail.
    let told = if old.errors > 0 { old } else { old + new };
    let rate = Counts { errors: told.errors.max(1), ..told }.error_rate()?;
    let part = |ratio: f64| ratio * share / (ratio * share + 1.0 - share);
    let (seen, tolerated_part) = (part(odds_ratio), part(tolerated));
    let growth_per_error = seen * (seen / tolerated_part).ln()
        + (1.0 - seen) * ((1.0 - seen) / (1.0 - tolerated_part)).ln();
    // Errors of both sides for each request of the new one.
    let errors = rate * (odds_ratio + (1.0 - share) / share);
    let requests = log_needed / (growth_per_error * errors);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "held to what fits"
    )]
    let requests = requests.clamp(1.0, 1e15) as u64;
    Some(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, errors: u64) -> Counts {
        Counts { requests, errors }
    }

    #[test]
    fn larger_effects_and_more_errors_need_fewer_requests() {
        let (old, new) = (counts(9_000, 9), counts(1_000, 1));
        let needed = |old, ratio| requests_needed(old, new, 1.5, ratio, 100_f64.ln());
        let of_three = needed(old, 3.0).expect("a number");
        assert!((9_000..11_000).contains(&of_three), "{of_three}");
        assert!(needed(old, 10.0) < needed(old, 3.0));
        assert!(needed(counts(9_000, 90), 3.0) < needed(old, 3.0));
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be() {
        let new = counts(1_000, 0);
        for (old, new, ratio) in [
            (counts(0, 0), new, 3.0),
            (counts(9_000, 9), counts(0, 0), 3.0),
            (counts(9_000, 9), new, 1.5),
        ] {
            assert_eq!(requests_needed(old, new, 1.5, ratio, 4.6), None, "{old:?} {new:?}");
        }
        let quiet = requests_needed(counts(9_000, 0), new, 1.5, 3.0, 4.6);
        assert!(quiet.is_some_and(|requests| (90_000..110_000).contains(&requests)), "{quiet:?}");
        let hopeless = requests_needed(counts(u64::MAX, 1), counts(1, 0), 1.5, 1.500_001, 4.6);
        assert!(hopeless.is_some_and(|requests| requests > 1_000_000_000));
    }
}
