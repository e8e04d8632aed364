//! The decision rules that people use today, as the bench compares them: each in its own file,
//! which cites the source it follows.

use cutover_core::Counts;

pub mod alarm;
pub mod argo;
pub mod flagger;
pub mod kayenta;
pub mod z_test;

/// The 0.99 quantile of the standard normal distribution, to the last digit of an `f64`.
const NORMAL_QUANTILE_99: f64 = 2.326_347_874_040_841;

/// What a rule is told of one minute. A side without requests in it has zero counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// The old side.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
}

/// A rule that looks at a cutover minute by minute, and may order its roll-back.
pub trait Rule {
    /// Sees the next minute, and says whether to roll back now.
    fn see(&mut self, minute: &Minute) -> bool;
}

/// A minute with `(requests, errors)` of the old and of the new side.
#[cfg(test)]
fn minute(old: (u64, u64), new: (u64, u64)) -> Minute {
    let counts = |(requests, errors)| Counts { requests, errors };
    Minute { old: counts(old), new: counts(new) }
}

/// In which of `minutes`, counted from 1, `rule` first orders to roll back.
#[cfg(test)]
fn rolled_back_at(rule: &mut dyn Rule, minutes: &[Minute]) -> Option<usize> {
    minutes.iter().position(|minute| rule.see(minute)).map(|index| index + 1)
}
