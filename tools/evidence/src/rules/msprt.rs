//! The mixture sequential probability ratio test of two rates, as A/B tests use it: a normal mixture over the difference, on
//! all requests so far, looked at every minute.
//!
//! Source: R. Johari, P. Koomen, L. Pekelis, D. Walsh, "Always Valid Inference: Continuous Monitoring of A/B Tests",
//! Operations Research 70 (2022), section 4, with the plug-in variance of two proportions:
//! `Λ = √(V / (V + τ²)) · exp(τ² d² / (2 V (V + τ²)))`, where d is the difference of the rates and V its variance.
//!
//! Chosen here: a level of 1 %, τ of one percentage point, and only differences to the new side's disadvantage. The approximation
//! by the normal law is that of the source; it wants five errors on the new side.

use cutover_core::Counts;

use super::{Minute, Rule};

const ALPHA: f64 = 0.01;
const TAU: f64 = 0.01;
const ERRORS_MIN: u64 = 5;

/// The test, with what it has counted.
#[derive(Clone, Debug, Default)]
pub struct Msprt {
    old: Counts,
    new: Counts,
}

/// ln Λ; `None` where there is nothing to compare.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn log_ratio(old: Counts, new: Counts) -> Option<f64> {
    let difference = new.error_rate()? - old.error_rate()?;
    let pooled = (old + new).error_rate()?;
    let variance =
        pooled * (1.0 - pooled) * (1.0 / old.requests as f64 + 1.0 / new.requests as f64);
    let square = TAU * TAU;
    (variance > 0.0 && difference > 0.0).then(|| {
        0.5 * (variance / (variance + square)).ln()
            + square * difference * difference / (2.0 * variance * (variance + square))
    })
}

impl Rule for Msprt {
    fn see(&mut self, minute: &Minute) -> bool {
        self.old = self.old + minute.old;
        self.new = self.new + minute.new;
        self.new.errors >= ERRORS_MIN
            && log_ratio(self.old, self.new).is_some_and(|log| log >= -ALPHA.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    /// By hand: rates of 1 and 2 % of 10,000 each; V = 0.015 · 0.985 · 2e-4 = 2.955e-6, τ² = 1e-4.
    #[test]
    fn the_ratio_is_that_of_the_formula() {
        let minute = minute((10_000, 100), (10_000, 200));
        let log = log_ratio(minute.old, minute.new).expect("both sides fail");
        let wanted =
            0.5 * (2.955e-6_f64 / 1.029_55e-4).ln() + 1e-8 / (2.0 * 2.955e-6 * 1.029_55e-4);
        assert!((log - wanted).abs() < 1e-6, "{log}, not {wanted}");
    }

    #[test]
    fn equal_and_better_sides_stay() {
        for new in [(6_000, 6), (6_000, 0)] {
            let minute = minute((54_000, 54), new);
            assert_eq!(rolled_back_at(&mut Msprt::default(), &[minute; 60]), None);
        }
    }
}
