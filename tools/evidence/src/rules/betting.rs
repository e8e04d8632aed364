//! A test by betting that both sides fail alike, without a tolerance: for each minute the likelihood ratio of the new side's
//! errors given all errors, at odds of 2, 4, 8 … 1,024, each with the same part of the stake.
//!
//! Source: A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-Theoretic Statistics and Safe Anytime-Valid Inference",
//! Statistical Science 38 (2023), section 2; for tables of two by two, R. Turner, A. Ly, P. Grünwald, "Generic E-variables
//! for exact sequential k-sample tests", Journal of Statistical Planning and Inference 230 (2024).
//!
//! Chosen here: a level of 1 %, the conditional law of each minute, and these odds.

use cutover_core::Table;

use super::{Minute, Rule};

const ODDS: usize = 10;
const ALPHA: f64 = 0.01;

/// The capital on each of the odds, ln.
#[derive(Clone, Debug, Default)]
pub struct Betting {
    log_capitals: [f64; ODDS],
}

impl Rule for Betting {
    fn see(&mut self, minute: &Minute) -> bool {
        let mut next = 1.0;
        let odds = [(); ODDS].map(|()| {
            next *= 2.0;
            next
        });
        let log_e = Table::of(minute.old, minute.new).log_e(&odds, 1.0);
        for (capital, log_e) in self.log_capitals.iter_mut().zip(log_e) {
            *capital += log_e;
        }
        let highest = self.log_capitals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.log_capitals.iter().map(|capital| (capital - highest).exp()).sum();
        highest + sum.ln() - (10.0_f64).ln() >= -ALPHA.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    #[test]
    fn it_adds_up_minutes_and_leaves_equal_sides() {
        let worse = minute((54_000, 54), (6_000, 12));
        let at = rolled_back_at(&mut Betting::default(), &[worse; 60]);
        assert!(at.is_some_and(|minutes| (2..20).contains(&minutes)), "{at:?}");
        let equal = minute((54_000, 54), (6_000, 6));
        assert_eq!(rolled_back_at(&mut Betting::default(), &[equal; 60]), None);
    }

    #[test]
    fn one_minute_may_decide() {
        let outage = minute((54_000, 54), (6_000, 6_000));
        assert_eq!(rolled_back_at(&mut Betting::default(), &[outage]), Some(1));
    }
}
