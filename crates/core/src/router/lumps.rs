//! How lumpy a split by DNS is: the worst share that the new side may get at a step.
//!
//! The model, and what it assumes:
//! - The requests come through a number of resolvers with equal shares of the traffic. Where a few are much
//!   larger than the others, name a smaller number.
//! - Each resolver keeps one answer for the TTL, then asks again, and gets the new side with the
//!   probability that the weights give, whatever it and the others got before. (How often `CloudFront`
//!   asks anew is not documented.)
//! - So the share of a moment is that of the resolvers whose answer is the new side. It changes when one of them asks,
//!   each at a moment of its own: a bake has as many chances of a lump as it has TTLs times resolvers.

use serde::{Deserialize, Serialize};

use crate::percent::Percent;

/// How it is drawn on which side requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lumps {
    /// Once for each answer to a resolver: all requests behind it follow.
    PerAnswer {
        /// Number of resolvers.
        resolvers: u32,
    },
    /// For each request by itself: there are none.
    PerRequest,
}

/// With this chance a step's share is never above the one predicted.
const CONFIDENCE: f64 = 0.99;

/// Resolvers when the request names none: few, as the lumps that have been seen (half of the requests at
/// a weight of 10 %) are likely with no more.
pub const RESOLVERS: u32 = 10;
/// Most resolvers that a request may name.
pub const RESOLVERS_MAX: u32 = 10_000;

/// The share of the requests, 0–1, that the new side gets at most at any moment of a step, with a chance of at
/// least 99 %: the least k / `resolvers` for which (P(X ≤ k))ⁿ ≥ 0.99, with X binomial by the share and n
/// the number of answers during the bake.
pub(crate) fn worst_share(share: Percent, resolvers: u32, ttl_s: u32, bake_s: u32) -> f64 {
    let resolvers = resolvers.clamp(1, RESOLVERS_MAX);
    let probability = f64::from(share.halves()) / 200.0;
    if share == Percent::FULL || share == Percent::ZERO {
        return probability;
    }
    let chances = f64::from(bake_s.div_ceil(ttl_s.max(1)).max(1)) * f64::from(resolvers);
    // Of one answer, so that all of them together keep the confidence.
    let wanted = CONFIDENCE.powf(1.0 / chances);
    let number = f64::from(resolvers);
    let odds = probability / (1.0 - probability);
    // ln P(X = k), from k = 0 up.
    let mut log_term = number * (1.0 - probability).ln();
    let mut at_most = log_term.exp();
    let mut k = 0.0;
    while at_most < wanted && k < number {
        log_term += (odds * (number - k) / (k + 1.0)).ln();
        k += 1.0;
        at_most += log_term.exp();
    }
    k / number
}

/// Hosts that a share of the requests takes, if they do as much as those of the old side.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most hosts_old")]
pub(crate) fn hosts_needed(share: f64, hosts_old: u32) -> u32 {
    // A share of whole hosts may be rounded up by the last digit.
    (share.clamp(0.0, 1.0) * f64::from(hosts_old) - 1e-9).ceil().max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn percent(percent: u8) -> Percent {
        Percent::from_halves(percent * 2).expect("in range")
    }

    #[test]
    fn few_resolvers_make_large_lumps() {
        let table = [
            (10, 1, 300, 1.0),
            (10, 2, 300, 1.0),
            (10, 10, 300, 0.6),
            (10, 100, 300, 0.25),
            (10, 10_000, 300, 0.12),
            (1, 10, 300, 0.3),
            (50, 10, 300, 1.0),
            (100, 10, 300, 1.0),
        ];
        for (share, resolvers, bake_s, at_most) in table {
            let worst = worst_share(percent(share), resolvers, 60, bake_s);
            assert!(worst <= at_most && worst > 0.6 * at_most, "{share} % {resolvers}: {worst}");
        }
    }

    #[test]
    fn an_hour_has_more_chances_of_a_lump_than_a_minute() {
        let at = |bake_s| worst_share(percent(10), 20, 60, bake_s);
        assert!(at(60) < at(3600));
    }

    #[test]
    fn hosts_are_whole() {
        assert_eq!(hosts_needed(0.5, 3), 2);
        assert_eq!(hosts_needed(1.0, 3), 3);
        assert_eq!(hosts_needed(0.1 + 0.2, 10), 3);
        assert_eq!(hosts_needed(0.0, 3), 0);
    }

    proptest! {
        #[test]
        fn a_worst_share_is_a_share_and_never_below_the_mean(
            halves in 0_u8..=200, resolvers in 1_u32..=RESOLVERS_MAX, ttl_s in 0_u32..=300,
            bake_s in 0_u32..=86_400
        ) {
            let share = Percent::from_halves(halves).expect("in range");
            let worst = worst_share(share, resolvers, ttl_s, bake_s);
            prop_assert!((0.0..=1.0).contains(&worst));
            prop_assert!(worst + 1.0 / f64::from(resolvers) >= f64::from(share) / 100.0);
        }
    }
}
