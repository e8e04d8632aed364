//! How the errors of one period fall on the two sides, given how many there were: Fisher's noncentral
//! hypergeometric law, and the ratio of its likelihoods at two odds ratios.
//!
//! Given the requests of both sides and their errors together, the errors of the new side depend on the
//! odds ratio θ alone: how often requests fail at that minute cancels out.
//! `P_θ(x) = C(n₁, x) · C(n₂, m − x) · θˣ / Z(θ)`, for x from max(0, m − n₂) to min(n₁, m).
//!
//! Source: A. Agresti, "Categorical Data Analysis", 3rd edition, section 3.5.2 (conditional likelihood);
//! A. Fog, "Calculation Methods for Wallenius' and Fisher's Noncentral Hypergeometric Distributions",
//! Communications in Statistics 37 (2008), section 3.

use crate::evidence::Counts;

/// From this standard deviation on, Z is not summed term by term but by Laplace's method. The terms
/// that are left out are below 1e-6 in ln Z then; the sum is exact to rounding below.
const SUMMED_DEVIATION_MAX: f64 = 40.0;

/// Terms smaller than this part of the largest one are not summed: all of them together stay below
/// the rounding of the sum.
const TERM_MIN: f64 = 1e-19;

/// The law of the new side's errors in one period, given both sides' requests and all errors.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Requests of the new side.
    n1: f64,
    /// Requests of the old side.
    n2: f64,
    /// Errors of both sides.
    m: f64,
    /// Least and most errors that the new side can have.
    from: f64,
    to: f64,
    /// Errors that it had.
    x: f64,
}

impl Table {
    /// The law of one period. Counts that cannot be (more errors than requests) are held to what can.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn of(old: Counts, new: Counts) -> Self {
        let (n1, n2) = (new.requests as f64, old.requests as f64);
        let x = (new.errors as f64).min(n1);
        let m = x + (old.errors as f64).min(n2);
        Self { n1, n2, m, from: (m - n2).max(0.0), to: m.min(n1), x }
    }

    /// Whether the errors could have fallen in one way only: then they tell nothing.
    fn is_certain(&self) -> bool {
        self.from >= self.to
    }

    /// Errors of both sides.
    #[must_use]
    pub const fn errors(&self) -> f64 {
        self.m
    }

    /// The share of the errors that the new side should have at this odds ratio when errors are rare,
    /// 0–1.
    #[must_use]
    pub fn expected_share(&self, odds_ratio: f64) -> f64 {
        let weighted = odds_ratio * self.n1;
        weighted / (weighted + self.n2).max(f64::MIN_POSITIVE)
    }

    /// `ln P(errors_new; odds ratio) − ln P(errors_new; tolerated)`, one for each of `odds_ratios`. All
    /// of them, and `tolerated`, are above 0.
    #[must_use]
    pub fn log_e<const K: usize>(&self, odds_ratios: &[f64; K], tolerated: f64) -> [f64; K] {
        if self.is_certain() {
            return [0.0; K];
        }
        let base = self.mode(tolerated);
        let base_sum = self.log_sum(tolerated, base);
        odds_ratios.map(|odds_ratio| {
            let mode = self.mode(odds_ratio);
            // The terms x and `base` of both laws, each as a part of its law's largest term.
            let at_odds_ratio = (self.x - mode) * odds_ratio.ln() - self.log_sum(odds_ratio, mode);
            let at_tolerated = (self.x - base) * tolerated.ln() - base_sum;
            at_odds_ratio - at_tolerated - self.log_ways(base, mode)
        })
    }

    /// The most likely number of errors of the new side: the last one whose term is not smaller than
    /// the one before it.
    fn mode(&self, odds_ratio: f64) -> f64 {
        self.root(odds_ratio, 1.0).floor().clamp(self.from, self.to)
    }

    /// Where θ(n₁ + s − j)(m + s − j) = (j + 1 − s)(n₂ − m + 1 − s + j), with s = `shift`.
    fn root(&self, odds_ratio: f64, shift: f64) -> f64 {
        let Self { n1, n2, m, .. } = *self;
        let rest = 1.0 - shift;
        // Of a j² − b j + c, the lesser root, without cancellation.
        let a = odds_ratio - 1.0;
        let b = odds_ratio * (n1 + m + 2.0 * shift) + n2 - m + 2.0 * rest;
        let c = odds_ratio * (n1 + shift) * (m + shift) - rest * (n2 - m + rest);
        2.0 * c / (b + (b * b - 4.0 * a * c).max(0.0).sqrt())
    }

    /// ln of the sum of all terms over the term `mode`.
    fn log_sum(&self, odds_ratio: f64, mode: f64) -> f64 {
        self.laplace(odds_ratio, mode).unwrap_or_else(|| self.summed(odds_ratio, mode).ln())
    }

    /// The sum of all terms over the term `mode`, term by term, outwards until they vanish.
    fn summed(&self, odds_ratio: f64, mode: f64) -> f64 {
        let Self { n1, n2, m, from, to, .. } = *self;
        let mut sum = 1.0;
        let (mut term, mut j) = (1.0, mode);
        while j < to && term > TERM_MIN {
            j += 1.0;
            term *= (n1 - j + 1.0) * (m - j + 1.0) * odds_ratio / (j * (n2 - m + j));
            sum += term;
        }
        (term, j) = (1.0, mode);
        while j > from && term > TERM_MIN {
            term *= j * (n2 - m + j) / ((n1 - j + 1.0) * (m - j + 1.0) * odds_ratio);
            sum += term;
            j -= 1.0;
        }
        sum
    }

    /// As [`summed`](Self::summed), by Laplace's method with its second term, for laws that are wide:
    /// `None` for the others. A sum over so wide and smooth a law is its integral.
    ///
    /// Source: N. G. de Bruijn, "Asymptotic Methods in Analysis", section 4.4; the four factorials by
    /// ψ(y + 1) = ln(y + ½) + O(y⁻²).
    fn laplace(&self, odds_ratio: f64, mode: f64) -> Option<f64> {
        let Self { n1, n2, m, .. } = *self;
        let top = self.root(odds_ratio, 0.5);
        let cells = [n1 - top + 0.5, top + 0.5, m - top + 0.5, n2 - m + top + 0.5];
        if cells.iter().any(|cell| *cell <= 1.0) {
            return None;
        }
        let powers = |power: i32| cells.map(|cell| cell.powi(-power));
        let variance = 1.0 / powers(1).iter().sum::<f64>();
        if variance < SUMMED_DEVIATION_MAX * SUMMED_DEVIATION_MAX {
            return None;
        }
        let [a, b, c, d] = powers(2);
        let third = b + d - a - c;
        let fourth = -2.0 * powers(3).iter().sum::<f64>();
        let correction =
            fourth * variance.powi(2) / 8.0 + 5.0 * third.powi(2) * variance.powi(3) / 24.0;
        let offset = mode - top;
        let top_over_mode = offset.powi(2) / (2.0 * variance) - third * offset.powi(3) / 6.0;
        Some(0.5 * (std::f64::consts::TAU * variance).ln() + correction.ln_1p() + top_over_mode)
    }

    /// ln of C(n₁, to) C(n₂, m − to) over C(n₁, from) C(n₂, m − from).
    fn log_ways(&self, from: f64, to: f64) -> f64 {
        let Self { n1, n2, m, .. } = *self;
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        let number = high - low;
        let ratio = log_rising(low, number) + log_rising(n2 - m + low, number)
            - log_rising(n1 - high, number)
            - log_rising(m - high, number);
        if from <= to { -ratio } else { ratio }
    }
}

/// ln of the product of this many whole numbers that follow `before`. Their number is told, because beyond 2^53 a number
/// plus 1 is the number itself.
///
/// Short ones are multiplied; of long ones the logarithms of two factorials are subtracted by
/// Stirling's series, without the cancellation that subtracting two of them would have.
/// Source: NIST Digital Library of Mathematical Functions, 5.11.1.
fn log_rising(before: f64, number: f64) -> f64 {
    const MULTIPLIED_MAX: f64 = 64.0;
    /// From here on the series, cut after its third term, is exact to 1e-16.
    const SERIES_MIN: f64 = 64.0;
    let mut log = 0.0;
    let mut product = 1.0_f64;
    let multiplied =
        if number <= MULTIPLIED_MAX { number } else { (SERIES_MIN - before).clamp(0.0, number) };
    let mut done = 0.0;
    while done < multiplied {
        done += 1.0;
        product *= before + done;
        if product > 1e250 {
            log += product.ln();
            product = 1.0;
        }
    }
    log += product.ln();
    if done >= number {
        return log;
    }
    let (next, last) = (before + done + 1.0, before + number);
    // ln Γ(last + 1) − ln Γ(next).
    let (low, high) = (next, last + 1.0);
    let series = |y: f64| (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * y * y)) / (y * y)) / y;
    let distance = high - low;
    log + (low - 0.5) * (distance / low).ln_1p() + distance * high.ln() - distance
        + (series(high) - series(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(requests: u64, errors: u64) -> Counts {
        Counts { requests, errors }
    }

    #[test]
    fn agrees_with_reference_values_of_fifty_digits() {
        let file = include_str!("../../tests/data/log_e.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(file).expect("JSON");
        assert!(vectors.len() >= 42);
        for vector in vectors {
            let count = |name: &str| vector[name].as_u64().expect("a count");
            let number = |name: &str| vector[name].as_f64().expect("a number");
            let table = Table::of(
                counts(count("requests_old"), count("errors_old")),
                counts(count("requests_new"), count("errors_new")),
            );
            let [log_e] = table.log_e(&[number("odds_ratio")], number("tolerated_odds_ratio"));
            let wanted = number("log_e");
            assert!((log_e - wanted).abs() <= 1e-9 * wanted.abs(), "{vector}: {log_e}");
        }
    }

    /// What the documentation of [`SUMMED_DEVIATION_MAX`] states, where the method begins to be used:
    /// laws just wider than that, of every shape, and one of ten million requests that all fail.
    #[test]
    fn laplace_differs_from_the_sum_by_less_than_a_millionth() {
        let table = [
            (20_000, 20_000, 10_000),
            (1_000_000, 40_000, 50_000),
            (200_000, 1_800_000, 20_000),
            (7_000, 1_000_000, 900_000),
            (300_000, 30_000, 250_000),
            (5_000_000, 5_000_000, 9_900_000),
            (10_000_000, 10_000_000, 10_000_000),
        ];
        let mut compared = 0;
        for (new, old, errors) in table {
            let table = Table {
                n1: f64::from(new),
                n2: f64::from(old),
                m: f64::from(errors),
                from: f64::from((errors - old).max(0)),
                to: f64::from(errors.min(new)),
                x: 0.0,
            };
            for odds_ratio in [1.0, 1.5, 2.0, 3.0, 10.0, 50.0, 1e3, 1e4, 1e5] {
                let mode = table.mode(odds_ratio);
                let Some(fast) = table.laplace(odds_ratio, mode) else { continue };
                let exact = table.summed(odds_ratio, mode).ln();
                assert!((fast - exact).abs() < 1e-6, "{table:?} {odds_ratio}: {fast} {exact}");
                compared += 1;
            }
        }
        assert!(compared > 20, "{compared}");
    }

    #[test]
    fn ten_million_requests_a_period_stay_finite_whatever_fails() {
        for (old, new) in
            [(0, 10_000_000), (10_000_000, 0), (10_000_000, 10_000_000), (5, 5), (0, 1)]
        {
            let table = Table::of(counts(10_000_000, old), counts(10_000_000, new));
            let log_e = table.log_e(&[2.0, 1000.0], 1.5);
            assert!(log_e.iter().all(|log_e| log_e.is_finite()), "{old} {new}: {log_e:?}");
        }
        let most = 1 << 53;
        let many = Table::of(counts(most, 0), counts(most / 10, 3)).log_e(&[2.0, 1000.0], 1.5);
        assert!(many.iter().all(|log_e| log_e.is_finite()), "{many:?}");
        let [fewer] = Table::of(counts(most, 1), counts(most, 0)).log_e(&[3.0], 1.5);
        // 1 / (θ + 1) over 1 / (θ₀ + 1).
        assert!((fewer - (2.5_f64 / 4.0).ln()).abs() < 1e-9, "{fewer}");
        let nothing = Table::of(counts(0, 0), counts(10_000_000, 10_000_000));
        let [log_e] = nothing.log_e(&[3.0], 1.5);
        assert!(log_e.abs() < f64::EPSILON, "{log_e}");
    }

    #[test]
    fn a_product_of_neighbours_is_the_ratio_of_two_factorials() {
        for (first, last) in
            [(1.0, 0.0), (1.0, 5.0), (2.0, 300.0), (90.0, 4_000.0), (1e6, 1e6 + 3e4)]
        {
            let mut wanted = 0.0;
            let mut j = first;
            while j <= last {
                wanted += f64::ln(j);
                j += 1.0;
            }
            let log = log_rising(first - 1.0, last - first + 1.0);
            assert!((log - wanted).abs() <= 1e-11 * wanted.max(1.0), "{first}: {log} {wanted}");
        }
    }

    fn number(count: u64) -> f64 {
        f64::from(u32::try_from(count).expect("a small number"))
    }

    proptest! {
        /// Under the tolerated odds ratio, the mean of e over all that could have been is 1; and
        /// every e is the ratio of two sums written out.
        #[test]
        fn the_mean_of_e_under_the_tolerated_odds_ratio_is_one(
            new in 1_u64..60, old in 1_u64..60, share in 0.0_f64..1.0,
            tolerated in 1.0_f64..5.0, beyond in 1.0_f64..300.0
        ) {
            let m = (0..=new + old).rfind(|m| number(*m) <= share * number(new + old)).unwrap_or(0);
            let odds_ratio = tolerated * beyond;
            let choose = |n: u64, k: u64| -> f64 {
                (1..=k).map(|i| (number(n - k + i) / number(i)).ln()).sum()
            };
            let log_term = |x: u64, theta: f64| {
                choose(new, x) + choose(old, m - x) + number(x) * theta.ln()
            };
            let could_be: Vec<u64> = (m.saturating_sub(old)..=m.min(new)).collect();
            let log_z = |theta: f64| {
                could_be.iter().map(|x| log_term(*x, theta).exp()).sum::<f64>().ln()
            };
            let (z, z_tolerated) = (log_z(odds_ratio), log_z(tolerated));
            let mut mean = 0.0;
            for x in &could_be {
                let table = Table::of(counts(old, m - x), counts(new, *x));
                let [log_e] = table.log_e(&[odds_ratio], tolerated);
                let wanted = number(*x) * (odds_ratio / tolerated).ln() - z + z_tolerated;
                prop_assert!((log_e - wanted).abs() < 1e-8, "{log_e} {wanted}");
                mean += (log_term(*x, tolerated) - z_tolerated + log_e).exp();
            }
            prop_assert!((mean - 1.0).abs() < 1e-8, "{mean}");
        }
    }
}
