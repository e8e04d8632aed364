//! Fisher's exact test of each ten minutes by themselves, one-sided, at a level of 1 %: a script that looks when a step ends.
//!
//! Source: R. A. Fisher, "The Logic of Inductive Inference", Journal of the Royal Statistical Society 98 (1935); A. Agresti,
//! "Categorical Data Analysis", 3rd edition, section 3.5.1. The one-sided p-value is the sum of the hypergeometric law from the
//! new side's errors on, here by the law's mid-point normal approximation where more than 10,000 errors would have to be summed.
//!
//! Chosen here: ten minutes, and no correction for the number of looks.

use cutover_core::Counts;

use super::{Minute, NORMAL_QUANTILE_99, Rule};

const MINUTES: u32 = 10;
const LEVEL: f64 = 0.01;
const SUMMED_MAX: u64 = 10_000;

/// The test, with what it has counted of the current ten minutes.
#[derive(Clone, Debug, Default)]
pub struct Fisher {
    old: Counts,
    new: Counts,
    minutes: u32,
}

/// ln of n!, by Stirling's series from 20 on.
fn log_factorial(n: f64) -> f64 {
    if n < 20.0 {
        let mut product = 1.0;
        let mut factor = 2.0;
        while factor <= n {
            product *= factor;
            factor += 1.0;
        }
        return f64::ln(product);
    }
    let y = n + 1.0;
    (y - 0.5) * y.ln() - y + 0.5 * std::f64::consts::TAU.ln() + 1.0 / (12.0 * y)
        - 1.0 / (360.0 * y.powi(3))
}

fn log_choose(n: f64, k: f64) -> f64 {
    log_factorial(n) - log_factorial(k) - log_factorial(n - k)
}

/// Whether the chance of as many errors on the new side is below the level.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn is_worse(old: Counts, new: Counts) -> bool {
    let (n, k) = (old.requests as f64, new.requests as f64);
    let all = old.errors + new.errors;
    let (m, x) = (all as f64, new.errors as f64);
    if n <= 0.0 || k <= 0.0 || m <= 0.0 {
        return false;
    }
    if all > SUMMED_MAX {
        let share = k / (n + k);
        let variance = m * share * (1.0 - share) * (n + k - m) / (n + k - 1.0);
        return (x - 0.5 - m * share) / variance.sqrt() > NORMAL_QUANTILE_99;
    }
    let most = m.min(k);
    let log_all = log_choose(n + k, m);
    let (mut chance, mut errors) = (0.0, x);
    while errors <= most {
        if m - errors <= n {
            chance += (log_choose(k, errors) + log_choose(n, m - errors) - log_all).exp();
        }
        errors += 1.0;
    }
    chance < LEVEL
}

impl Rule for Fisher {
    fn see(&mut self, minute: &Minute) -> bool {
        self.old = self.old + minute.old;
        self.new = self.new + minute.new;
        self.minutes += 1;
        if self.minutes < MINUTES {
            return false;
        }
        let Self { old, new, .. } = std::mem::take(self);
        is_worse(old, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    /// The tea-tasting lady: three of four by chance is 17 in 70, four of four is one in 70.
    #[test]
    fn the_chance_is_that_of_the_hypergeometric_law() {
        let of =
            |x: f64| (log_choose(4.0, x) + log_choose(4.0, 4.0 - x) - log_choose(8.0, 4.0)).exp();
        assert!((of(4.0) - 1.0 / 70.0).abs() < 1e-9 && (of(3.0) - 16.0 / 70.0).abs() < 1e-9);
    }

    #[test]
    fn it_looks_every_ten_minutes_and_forgets() {
        let worse = minute((5_400, 5), (600, 6));
        assert_eq!(rolled_back_at(&mut Fisher::default(), &[worse; 30]), Some(10));
        let slightly = minute((1_000, 10), (1_000, 12));
        assert_eq!(rolled_back_at(&mut Fisher::default(), &[slightly; 60]), None);
    }
}
