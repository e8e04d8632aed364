//! Kayenta's judge, `NetflixACAJudge`, on one metric: the error rate of each minute.
//!
//! Source: spinnaker/spinnaker, below `kayenta/`.
//!
//! - `kayenta-judge/…/judge/NetflixACAJudge.scala`: a tolerance of 0.25 and a confidence level of
//!   0.98; by default points that are NaN are removed, as of minutes without requests, outliers are
//!   kept, and the effect size is the ratio of the means with an `allowedIncrease` of 1.
//! - `kayenta-judge/…/classifiers/metric/MannWhitneyClassifier.scala`: High, for a metric whose
//!   direction is `increase`, if the lower end of the confidence interval of the shift between both
//!   sides is above the tolerance times the size of its Hodges–Lehmann estimate, and the ratio of
//!   means is at least the allowed increase or cannot be told, as one of them is 0. Data that are
//!   the same, or of one value in all, pass. If each side has one value only, noise of 1e-5 of it
//!   is added, which makes the interval the difference; here it is decided without noise.
//! - `kayenta-mannwhitney/…/MannWhitney.scala`: the interval and the estimate are those of R's
//!   `wilcox.test` without exact p-values: where the standardised rank sum of the shifted sample,
//!   with its corrections for ties and for continuity, crosses a normal quantile, or 0.
//! - `kayenta-mannwhitney/…/BrentSolver.java`: that crossing is searched with Brent's method to
//!   within 1e-4, and the rank sum has steps. Where most minutes are without errors, both crossings
//!   are at 0, and what is compared is what the search leaves of them: a High hangs on it, so the
//!   same search is made here.
//! - `kayenta-judge/…/scorers/WeightedSumScorer.scala`: a canary with one metric, and that High,
//!   scores 0, which fails at any thresholds. `criticalIncrease` changes only the reason.
//!
//! The judge has no least number of points: it says Nodata of a side that has none, and the scorer
//! fails a canary with Nodata in 50 % of its metrics. Spinnaker's documentation asks for "at least
//! 50 pieces of time series data per metric" ("Best practices for configuring canary", "Run the
//! canary for enough time"). A rule with [`POINTS_RECOMMENDED`] says nothing before both sides have
//! that many, which leaves no Nodata.
//!
//! Chosen here: error rates in percent, to which the absolute accuracy of the search fits, and a
//! judgement every minute on all minutes so far, where Spinnaker would make one an interval.

use cutover_core::Counts;

use super::{Minute, NORMAL_QUANTILE_99, Rule};

/// Points a side that Spinnaker's documentation asks for.
pub const POINTS_RECOMMENDED: usize = 50;

/// Least points a side of any judgement: of two single points no interval can be computed.
const POINTS_MIN: usize = 2;
/// What the interval must be away from 0, as a share of the estimate.
const TOLERANCE: f64 = 0.25;
/// Least ratio of the mean of the new side to that of the old one.
const ALLOWED_INCREASE: f64 = 1.0;
/// The quantile of a confidence level of 0.98, two-sided.
const QUANTILE: f64 = NORMAL_QUANTILE_99;
/// To what a crossing is searched, in percentage points.
const ACCURACY: f64 = 1e-4;
/// Steps that a search makes at most.
const STEPS_MAX: usize = 1_001;

/// The judge, with the error rates of all minutes so far.
#[derive(Clone, Debug)]
pub struct Kayenta {
    points_min: usize,
    old: Rates,
    new: Rates,
}

impl Kayenta {
    /// A judge that waits until both sides have `points_min` points; fewer than two are taken as
    /// two.
    #[must_use]
    pub const fn new(points_min: usize) -> Self {
        let points_min = if points_min < POINTS_MIN { POINTS_MIN } else { points_min };
        Self { points_min, old: Rates::new(), new: Rates::new() }
    }
}

impl Rule for Kayenta {
    fn see(&mut self, minute: &Minute) -> bool {
        self.old.push(minute.old);
        self.new.push(minute.new);
        self.old.percent.len().min(self.new.percent.len()) >= self.points_min
            && is_high(&self.old, &self.new)
    }
}

/// The error rates of one side.
#[derive(Clone, Debug)]
struct Rates {
    /// Ascending: ranks need no further sorting.
    percent: Vec<f64>,
    sum: f64,
}

impl Rates {
    const fn new() -> Self {
        Self { percent: Vec::new(), sum: 0.0 }
    }

    fn push(&mut self, counts: Counts) {
        let Some(rate) = counts.error_rate() else { return };
        let percent = 100.0 * rate;
        self.percent.insert(self.percent.partition_point(|other| *other <= percent), percent);
        self.sum += percent;
    }

    #[expect(clippy::cast_precision_loss, reason = "a cutover has far fewer minutes")]
    fn mean(&self) -> f64 {
        self.sum / self.percent.len() as f64
    }

    fn bounds(&self) -> Option<(f64, f64)> {
        Some((*self.percent.first()?, *self.percent.last()?))
    }
}

/// Whether the metric is classified as High.
fn is_high(old: &Rates, new: &Rates) -> bool {
    let (Some((old_min, old_max)), Some((new_min, new_max))) = (old.bounds(), new.bounds()) else {
        return false;
    };
    let (old_mean, new_mean) = (old.mean(), new.mean());
    if old_mean > 0.0 && new_mean > 0.0 && new_mean / old_mean < ALLOWED_INCREASE {
        return false;
    }
    if old_max <= old_min && new_max <= new_min {
        return new_min > old_min;
    }
    let z = |shift: f64| z_of_shift(shift, &old.percent, &new.percent);
    // The rank sum only falls with the shift. If it is not above its mean at a shift further below
    // 0 than the search is inaccurate, no crossing is found above 0, and the rest need not be
    // computed.
    if z(-10.0 * ACCURACY) <= 0.0 || old.percent.iter().eq(new.percent.iter()) {
        return false;
    }
    let range = (new_min - old_max, new_max - old_min);
    let lower_end = crossing(|shift| z(shift) - QUANTILE, range);
    lower_end > 0.0 && lower_end > TOLERANCE * crossing(z, range).abs()
}

/// The rank sum of the new side less `shift` among the old one, in standard deviations from its
/// mean.
fn z_of_shift(shift: f64, old: &[f64], new: &[f64]) -> f64 {
    let mut old_rest = old.iter().copied().peekable();
    let mut new_rest = new.iter().map(|percent| percent - shift).peekable();
    let (mut old_count, mut new_count) = (0.0, 0.0);
    let mut new_above_old = 0.0; // pairs; those that are equal count half
    let mut ties = 0.0;
    loop {
        let value = match (old_rest.peek(), new_rest.peek()) {
            (Some(old), Some(new)) => old.min(*new),
            (Some(value), None) | (None, Some(value)) => *value,
            (None, None) => break,
        };
        let (mut old_here, mut new_here) = (0.0, 0.0);
        while old_rest.next_if(|old| *old <= value).is_some() {
            old_here += 1.0;
        }
        while new_rest.next_if(|new| *new <= value).is_some() {
            new_here += 1.0;
        }
        new_above_old += new_here * (old_count + old_here / 2.0);
        let equal: f64 = old_here + new_here;
        ties += equal * (equal * equal - 1.0);
        old_count += old_here;
        new_count += new_here;
    }
    let (pairs, all): (f64, f64) = (old_count * new_count, old_count + new_count);
    let from_mean = new_above_old - pairs / 2.0;
    let continuity = if from_mean > 0.0 {
        0.5
    } else if from_mean < 0.0 {
        -0.5
    } else {
        0.0
    };
    let variance = pairs / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    (from_mean - continuity) / variance.sqrt()
}

/// A point of the function whose crossing is searched.
#[derive(Clone, Copy)]
struct At {
    x: f64,
    y: f64,
}

/// Where the falling `f` crosses 0 between both ends, or the end that is past it.
fn crossing(f: impl Fn(f64) -> f64, (low, high): (f64, f64)) -> f64 {
    let at = |x: f64| At { x, y: f(x) };
    let (low, high) = (at(low), at(high));
    if low.y <= 0.0 {
        low.x
    } else if high.y >= 0.0 {
        high.x
    } else {
        brent(at, low, high)
    }
}

/// A crossing between `low` and `high`, where `at` is on different sides of 0.
///
/// Source: Brent, "Algorithms for Minimization without Derivatives" (1973), chapter 4, in the form
/// of R's `uniroot`.
fn brent(at: impl Fn(f64) -> At, low: At, high: At) -> f64 {
    // The crossing is between `best` and `across`.
    let (mut previous, mut best, mut across) = (low, high, low);
    for _ in 0..STEPS_MAX {
        let last_step = best.x - previous.x;
        if across.y.abs() < best.y.abs() {
            (previous, best, across) = (best, across, best);
        }
        let accuracy = 2.0 * f64::EPSILON * best.x.abs() + ACCURACY / 2.0;
        let half = (across.x - best.x) / 2.0;
        if half.abs() <= accuracy || best.y == 0.0 {
            break;
        }
        let may_interpolate = last_step.abs() >= accuracy && previous.y.abs() > best.y.abs();
        let step = Some((previous, best, across))
            .filter(|_| may_interpolate)
            .and_then(|points| interpolated(points, accuracy, last_step))
            .unwrap_or(half);
        let step = if step.abs() >= accuracy {
            step
        } else if step > 0.0 {
            accuracy
        } else {
            -accuracy
        };
        previous = best;
        best = at(best.x + step);
        if best.y * across.y > 0.0 {
            across = previous;
        }
    }
    best.x
}

/// The step from the best point to where a line, or an inverse parabola, through the points crosses
/// 0; `None` if it leads too far.
fn interpolated(
    (previous, best, across): (At, At, At),
    accuracy: f64,
    last_step: f64,
) -> Option<f64> {
    let width = across.x - best.x;
    let by_previous = best.y / previous.y;
    let (p, q) = if previous.x - across.x == 0.0 {
        (width * by_previous, 1.0 - by_previous)
    } else {
        let (ratio, by_across) = (previous.y / across.y, best.y / across.y);
        (
            by_previous
                * (width * ratio * (ratio - by_across) - (best.x - previous.x) * (by_across - 1.0)),
            (ratio - 1.0) * (by_across - 1.0) * (by_previous - 1.0),
        )
    };
    let (p, q) = if p > 0.0 { (p, -q) } else { (-p, q) };
    let is_near =
        p < 0.75 * width * q - (accuracy * q).abs() / 2.0 && p < (last_step * q / 2.0).abs();
    is_near.then(|| p / q)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    /// Sixty minutes of one side, of which `counts` says `(requests, errors)`.
    fn rates(counts: impl Fn(u64) -> (u64, u64)) -> Rates {
        let mut rates = Rates::new();
        for minute in 0..60 {
            let (requests, errors) = counts(minute);
            rates.push(Counts { requests, errors });
        }
        rates
    }

    /// One error among `requests` in each `minutes` minutes.
    fn every(minutes: u64, requests: u64) -> Rates {
        rates(|i| (requests, u64::from(i % minutes == 0)))
    }

    fn old() -> Rates {
        rates(|i| (2_000 + 3 * i, i * 7 % 13 + 2))
    }

    fn new() -> Rates {
        rates(|i| (1_500 + 7 * i, i * 5 % 17 + 6))
    }

    /// The lower end of the interval, and the estimate.
    fn shift(old: &Rates, new: &Rates) -> (f64, f64) {
        let z = |shift| z_of_shift(shift, &old.percent, &new.percent);
        let range = (new.percent[0] - old.percent[59], new.percent[59] - old.percent[0]);
        (crossing(|shift| z(shift) - QUANTILE, range), crossing(z, range))
    }

    fn assert_near(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value}, not {expected}");
    }

    /// `scipy.stats.mannwhitneyu(new, old, method="asymptotic", use_continuity=True)` of the same
    /// data has a p-value of 3.5423225795561203e-13, which is that of this z.
    #[test]
    fn z_at_no_shift_is_that_of_scipy() {
        let z = |old: &Rates, new: &Rates| z_of_shift(0.0, &old.percent, &new.percent);
        assert_near(z(&old(), &new()), 7.271_989_072_383_878, 1e-12);
        assert_near(z(&new(), &old()), -7.271_989_072_383_878, 1e-12);
        assert_near(z(&every(8, 60), &every(2, 60)), 4.296_039_851_380_552, 1e-12);
    }

    /// Computed with `scipy.stats.rankdata` and an implementation of its own of the search.
    #[test]
    fn interval_and_estimate_are_those_of_an_independent_computation() {
        let (lower_end, estimate) = shift(&old(), &new());
        assert_near(lower_end, 0.305_649_988_929_963_3, 1e-9);
        assert_near(estimate, 0.431_816_416_944_626, 1e-9);
        assert_near(estimate, 0.431_912_751_693_441_34, ACCURACY); // the median of all differences
        assert!(is_high(&old(), &new()));
        assert!(!is_high(&new(), &old()));
    }

    /// Most minutes have no errors: what is compared is what the search leaves of 0.
    #[test]
    fn where_most_minutes_are_zero_the_search_decides_as_kayentas_does() {
        for (old_every, new_every, lower_end, estimate, high) in [
            (8, 2, 4.004_586_892_947_335e-5, 5.569_315_235_213_335e-5, true),
            (8, 3, -2.178_635_987_062_913e-5, 5.633_924_675_535_281e-5, false),
            (4, 3, -6.154_139_880_215_165e-5, 3.820_845_369_956_823e-5, false),
            (5, 2, 5.128_786_099_562_245e-5, 5.014_726_298_097_527e-6, true),
        ] {
            let (old, new) = (every(old_every, 60), every(new_every, 60));
            let found = shift(&old, &new);
            assert_near(found.0, lower_end, 1e-12);
            assert_near(found.1, estimate, 1e-12);
            assert_eq!(
                is_high(&old, &new),
                high,
                "every {old_every} and every {new_every} minutes"
            );
        }
    }

    #[test]
    fn data_of_one_value_are_compared_as_they_are() {
        let all_of = |errors| rates(move |_| (100, errors));
        for (old, new, high) in [(0, 0, false), (3, 3, false), (0, 100, true), (3, 2, false)] {
            assert_eq!(is_high(&all_of(old), &all_of(new)), high, "{old} % and {new} %");
        }
        assert!(is_high(&all_of(0), &every(1, 60)));
        assert!(!is_high(&all_of(0), &every(59, 60)));
    }

    #[test]
    fn the_same_data_pass() {
        assert!(!is_high(&old(), &old()));
    }

    /// Seen in the source: with few points, sides that do not overlap are High whatever the level.
    #[test]
    fn two_points_a_side_are_enough_for_the_judge_and_not_for_the_documentation() {
        let minutes: Vec<Minute> =
            (0..60).map(|i| minute((1_000, 10 + i % 2), (1_000, 20 + i % 3))).collect();
        assert_eq!(rolled_back_at(&mut Kayenta::new(0), &minutes), Some(2));
        assert_eq!(rolled_back_at(&mut Kayenta::new(POINTS_RECOMMENDED), &minutes), Some(50));
    }

    #[test]
    fn minutes_without_requests_are_no_points() {
        let (seen, silent) = (minute((1_000, 10), (1_000, 30)), minute((1_000, 10), (0, 0)));
        let minutes = [seen, silent].repeat(60);
        assert_eq!(rolled_back_at(&mut Kayenta::new(POINTS_RECOMMENDED), &minutes), Some(99));
        let mut judge = Kayenta::new(POINTS_RECOMMENDED);
        assert_eq!(rolled_back_at(&mut judge, &[silent; 180]), None);
    }

    #[test]
    fn what_is_not_computed_would_not_have_been_high() {
        let z = |old: &Rates, new: &Rates, shift| z_of_shift(shift, &old.percent, &new.percent);
        let mut left_out = 0;
        for (a, b, c, d) in
            (0..256_u64).map(|i| (i % 4 + 1, i / 4 % 4 + 1, i / 16 % 4 + 1, i / 64 + 1))
        {
            let old = rates(|i| (100 + i * b, i * a % (3 + d)));
            let new = rates(|i| (100 + i * d, i * c % (3 + b)));
            if z(&old, &new, -10.0 * ACCURACY) <= 0.0 {
                left_out += 1;
                assert!(shift(&old, &new).0 <= 0.0, "{a} {b} {c} {d}");
            }
        }
        assert!(left_out > 50, "{left_out}");
    }
}
