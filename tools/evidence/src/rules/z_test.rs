//! A z-test for two proportions, as people write it at once: pooled, one-sided, at a level of 1 %,
//! on all requests so far, and looked at every minute.
//!
//! Source: the standard test of textbooks, here without a correction for continuity: NIST/SEMATECH
//! e-Handbook of Statistical Methods, 7.3.3 "How can we determine whether two processes produce the
//! same proportion of defectives?". Its level of 1 % is that of one look. Peeking makes it a larger
//! one, which is why it is here.

use cutover_core::Counts;

use super::{Minute, NORMAL_QUANTILE_99, Rule};

/// The test, with what it has counted.
#[derive(Clone, Debug, Default)]
pub struct ZTest {
    old: Counts,
    new: Counts,
}

/// By how many standard errors the new side fails more often; `None` without requests on a side, or
/// if all or none of them failed.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(super) fn z(old: Counts, new: Counts) -> Option<f64> {
    let more = new.error_rate()? - old.error_rate()?;
    let pooled = (old + new).error_rate()?;
    let variance =
        pooled * (1.0 - pooled) * (1.0 / old.requests as f64 + 1.0 / new.requests as f64);
    (variance > 0.0).then(|| more / variance.sqrt())
}

impl Rule for ZTest {
    fn see(&mut self, minute: &Minute) -> bool {
        self.old = self.old + minute.old;
        self.new = self.new + minute.new;
        z(self.old, self.new).is_some_and(|z| z > NORMAL_QUANTILE_99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    /// The squares of these are `SciPy`'s `chi2_contingency(…, correction=False)`.
    #[test]
    fn z_is_the_root_of_pearsons_chi_squared() {
        for (old, new, expected) in [
            ((1_000, 15), (1_000, 30), 2.261_656_365_159_503_4),
            ((1_000, 14), (1_000, 28), 2.183_293_111_726_557),
            ((10_000, 155), (1_000, 30), 3.399_892_760_451_681_5),
            ((1_000, 30), (1_000, 15), -2.261_656_365_159_503_4),
        ] {
            let minute = minute(old, new);
            let z = z(minute.old, minute.new).expect("both sides fail and succeed");
            assert!((z - expected).abs() < 1e-12, "{z}, not {expected}");
        }
    }

    #[test]
    fn it_counts_up_what_single_minutes_cannot_show() {
        let slightly_worse = minute((1_000, 10), (1_000, 13));
        let at = rolled_back_at(&mut ZTest::default(), &[slightly_worse; 60]);
        assert_eq!(at, Some(14)); // z of one minute is 0.629, and 2.3263² / 0.629² = 13.7
    }

    #[test]
    fn it_says_nothing_where_there_is_nothing_to_compare() {
        for (old, new) in
            [((0, 0), (10, 10)), ((10, 0), (0, 0)), ((9, 0), (9, 0)), ((9, 9), (9, 9))]
        {
            assert_eq!(rolled_back_at(&mut ZTest::default(), &[minute(old, new); 9]), None);
        }
    }

    #[test]
    fn a_better_new_side_stays() {
        let better = minute((1_000, 50), (1_000, 10));
        assert_eq!(rolled_back_at(&mut ZTest::default(), &[better; 60]), None);
    }
}
