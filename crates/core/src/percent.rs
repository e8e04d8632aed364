//! `Percent`: a share as people write it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of traffic: 0 to 100 in steps of 0.5. In JSON a number, `12.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent {
    /// Half percents, 0–200: whole numbers, so that two shares compare exactly.
    halves: u8,
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self { halves: 0 };
    /// Everything.
    pub const FULL: Self = Self { halves: 200 };
    /// What a percent may be, for error messages.
    pub const ALLOWED: &str = "a number from 0 to 100 in steps of 0.5";

    /// A number of half percents, `None` above 200.
    #[must_use]
    pub const fn from_halves(halves: u8) -> Option<Self> {
        if halves <= 200 { Some(Self { halves }) } else { None }
    }

    /// Half percents, 0–200.
    #[must_use]
    pub const fn halves(self) -> u8 {
        self.halves
    }

    /// Whether this share needs weights that sum to 200: it has a half in it.
    pub(crate) const fn has_half(self) -> bool {
        self.halves % 2 == 1
    }

    /// The nearest share to a number of half percents that came out of arithmetic, held to
    /// 0–100 %.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0–200; what is no number becomes 0"
    )]
    pub fn nearest(half_percents: f64) -> Self {
        Self { halves: half_percents.clamp(0.0, 200.0).round() as u8 }
    }
}

impl TryFrom<f64> for Percent {
    type Error = String;

    fn try_from(percent: f64) -> Result<Self, String> {
        let halves = percent * 2.0;
        let nearest = Self::nearest(halves);
        if f64::from(nearest.halves).total_cmp(&halves).is_eq() {
            Ok(nearest)
        } else {
            Err(format!("{percent} is not a percent; allowed: {}", Self::ALLOWED))
        }
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        Self::from(percent.halves) / 2.0
    }
}

impl fmt::Display for Percent {
    /// `12.5 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_half_percents_from_0_to_100_are_percents() {
        for good in [0.0, 0.5, 1.0, 12.5, 99.5, 100.0] {
            let percent = Percent::try_from(good).expect("allowed");
            assert!(f64::from(percent).total_cmp(&good).is_eq());
        }
        for bad in [-0.5, 0.25, 100.5, 33.3, f64::NAN, f64::INFINITY] {
            Percent::try_from(bad).expect_err("refused");
        }
    }

    #[test]
    fn arithmetic_rounds_to_the_nearest_half_and_never_leaves_the_range() {
        assert_eq!(Percent::nearest(3.4), Percent { halves: 3 });
        assert_eq!(Percent::nearest(1e9), Percent::FULL);
        assert_eq!(Percent::nearest(-3.0), Percent::ZERO);
    }
}
