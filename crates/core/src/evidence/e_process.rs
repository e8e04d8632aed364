//! The e-process: evidence that the new side's requests fail more often than they may, which can be
//! looked at after every period without spending its error rate.
//!
//! It is the capital of a gambler who bets against "the new side's odds of failing are at most θ₀ times
//! the old side's". Each period pays out a fair multiple of the stake, so that the capital grows
//! beyond 1/α with a chance of at most α, whenever one looks (Ville's inequality), if both sides are as
//! good as they may be. The stake is split:
//!
//! - **compared** bets on the likelihood ratio of the period's errors given their total
//!   ([`Table`]), at once against several odds ratios. A fault that hits both sides cancels out.
//!   Half of the stake is set from the first period on, the rest bit by bit later on, so that a fault that
//!   begins late is found as well. What a period may multiply it by is capped at half (in logarithms) of what is
//!   needed: one bad period alone never decides. A capped fair bet is still no better than fair.
//! - **alone** may decide in one period, if the old side's [`Baseline`] is long enough to know its
//!   bursts: it pays the lesser of two bets, that the new side is worse than the old one in this period, and
//!   that it is worse than θ₀ times the worst that the old side has shown before the ramp.
//!
//! The bound is exact for equal sides whose errors are independent in each period. Where each side has bursts of
//! its own or wanders, the cap, the exponent and the baseline keep it: by measurement (`docs/evidence.md`), not by
//! proof.
//!
//! Where rates wander by themselves, a period's ratio counts for less in `compared`, as the variance between
//! two equally good sides would be larger (the exponent η below; a fair bet to a power below 1 is still
//! fair). Where the baseline shows bursts, or that its rate wanders, the cap is a third instead of half.
//!
//! Source: A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-Theoretic Statistics and Safe Anytime-Valid
//! Inference", Statistical Science 38 (2023), sections 2 and 3; the late stakes as the mixtures of
//! J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", New England Journal of Statistics in Data Science
//! 2 (2023); powers of likelihood ratios as in P. Grünwald, "The Safe Bayesian", Algorithmic Learning
//! Theory (2012).

use crate::evidence::Counts;
use crate::evidence::baseline::Baseline;
use crate::evidence::hypergeometric::Table;
use crate::evidence::signal::Signal;
use crate::request::health::Health;

/// Odds ratios that are bet on.
const RATIOS: usize = 12;
/// They are log-spaced from this multiple of the tolerated one …
const RATIO_FROM: f64 = 4.0 / 3.0;
/// … by this factor, up to 1000 times.
const RATIO_STRIDE: f64 = 1.825_4;
/// On each is bet in proportion to this power of it: against a large one, each error says so much that
/// it needs no large stake.
const STAKE_POWER: f64 = -0.5;

/// Part of the stake that is set before the first period.
const STAKE_FIRST: f64 = 0.5;
/// Periods over which the rest is set.
const STAKE_PERIODS: u32 = 240;

/// Part of the capital that is bet on `compared` when there is a baseline to bet on `alone` with.
const COMPARED: f64 = 0.5;

/// What a period may multiply `compared` by, as a part of what is needed (in logarithms) …
const CAP: f64 = 0.5;
/// … and where the baseline is unsteady: more than this part of its stretches are bursts, or its rate
/// wanders by more than this (a standard deviation of a third of the mean).
const CAP_OF_UNSTEADY: f64 = 1.0 / 3.0;
const BURSTS_MAX: f64 = 0.002;
const WANDER_MAX: f64 = 0.1;

/// What the evidence is tested for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// The chance that this test takes back a cutover between equal sides, 0–1, both excluded.
    pub alpha: f64,
    /// Number of tests that share it: routes that are counted apart, times signals.
    pub tests: u32,
    /// Odds ratio up to which the new side is as good as it must be; at least 1.
    pub tolerated_odds_ratio: f64,
}

impl Test {
    /// The tests of one route of a cutover, one a signal. `routes`: those that are counted apart; with their
    /// signals they share alpha.
    #[must_use]
    pub fn of(health: &Health, signals: &[Signal], routes: u32) -> Vec<Self> {
        let number = u32::try_from(signals.len()).unwrap_or(u32::MAX);
        let tests = routes.max(1).saturating_mul(number);
        let of = |signal: &Signal| Self {
            alpha: health.alpha,
            tests,
            tolerated_odds_ratio: signal.tolerated_odds_ratio,
        };
        signals.iter().map(of).collect()
    }

    /// ln of what e must reach: tests / alpha.
    #[must_use]
    pub fn log_limit(&self) -> f64 {
        (f64::from(self.tests.max(1)) / self.alpha).ln()
    }
}

/// Both sides' counts, and the periods they are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The old side's.
    pub old: Counts,
    /// The new side's.
    pub new: Counts,
    /// Number of periods.
    pub periods: u32,
}

impl Run {
    fn add(&mut self, old: Counts, new: Counts) {
        self.old = self.old + old;
        self.new = self.new + new;
        self.periods += 1;
    }
}

/// The capital so far.
#[derive(Clone, Debug, PartialEq)]
pub struct EProcess {
    test: Test,
    /// ln of what a period may multiply `compared` by.
    log_cap: f64,
    /// Multiples of the tolerated odds ratio.
    ratios: [f64; RATIOS],
    /// ln of the part of the stake that is bet on each.
    log_parts: [f64; RATIOS],
    /// ln of the capital bet on each of them, without what is still to be set.
    compared: [f64; RATIOS],
    compared_stake: Stake,
    alone: Option<Alone>,
    /// How much rates wander: the variance of their logarithm from one period to the next.
    log_variance: f64,
    /// The periods since evidence last began to gather: since the capital was last no more than the stake.
    run: Run,
}

/// The bet on single periods.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Alone {
    /// The odds of failing in the old side's worst stretch.
    worst_odds: f64,
    log_capital: f64,
    stake: Stake,
    /// The period that paid most, ln of what it paid, and both sides' counts.
    best: Option<(f64, Counts, Counts)>,
}

/// How much of a stake of 1 has been bet so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stake {
    periods: u32,
}

impl Stake {
    /// ln of what is bet on the next period.
    fn next(&mut self) -> f64 {
        self.periods = self.periods.saturating_add(1);
        if self.periods == 1 {
            STAKE_FIRST.ln()
        } else if self.periods <= STAKE_PERIODS {
            ((1.0 - STAKE_FIRST) / f64::from(STAKE_PERIODS - 1)).ln()
        } else {
            f64::NEG_INFINITY
        }
    }

    /// What is still to be bet.
    fn left(self) -> f64 {
        match self.periods {
            0 => 1.0,
            periods => {
                let left = f64::from(STAKE_PERIODS.saturating_sub(periods));
                (1.0 - STAKE_FIRST) * left / f64::from(STAKE_PERIODS - 1)
            }
        }
    }
}

impl EProcess {
    /// Begins. Without a baseline, no period decides alone, and rates are taken not to wander.
    #[must_use]
    pub fn new(test: Test, baseline: Option<&Baseline>) -> Self {
        let mut next = RATIO_FROM;
        let ratios = [(); RATIOS].map(|()| {
            let ratio = next;
            next *= RATIO_STRIDE;
            ratio
        });
        let log_parts = ratios.map(|ratio| STAKE_POWER * ratio.ln());
        let log_all = log_sum(&log_parts);
        let alone = baseline.filter(|baseline| baseline.knows_bursts()).map(|baseline| Alone {
            worst_odds: odds(baseline.worst_rate),
            log_capital: f64::NEG_INFINITY,
            stake: Stake::default(),
            best: None,
        });
        let compared_part = if alone.is_some() { COMPARED } else { 1.0 };
        let unsteady = |b: &Baseline| b.bursts > BURSTS_MAX || b.wander > WANDER_MAX;
        let cap = if baseline.is_some_and(unsteady) { CAP_OF_UNSTEADY } else { CAP };
        Self {
            test,
            // Of one test: with many routes, a period must not count for more.
            log_cap: cap * (1.0 / (test.alpha * compared_part)).ln(),
            ratios,
            log_parts: log_parts.map(|log_part| log_part - log_all),
            compared: [f64::NEG_INFINITY; RATIOS],
            compared_stake: Stake::default(),
            alone,
            log_variance: baseline.map_or(0.0, |baseline| log_variance(baseline.wander)),
            run: Run::default(),
        }
    }

    /// Sees one more period.
    pub fn see(&mut self, old: Counts, new: Counts) {
        self.see_beside(old, new, None, false);
    }

    /// Sees one more period, of which more is known. `usual_rate`: the new side must have more than the tolerated
    /// multiple of this rate as well, 0–1: a bet that pays the lesser of two fair ones is no better than fair.
    /// `needs_another`: this period must not decide alone.
    pub(super) fn see_beside(
        &mut self,
        old: Counts,
        new: Counts,
        usual_rate: Option<f64>,
        needs_another: bool,
    ) {
        if new.requests == 0 {
            return;
        }
        let table = Table::of(old, new);
        let tolerated = self.test.tolerated_odds_ratio;
        let mut log_e = table.log_e(&self.ratios.map(|ratio| ratio * tolerated), tolerated);
        if let Some(usual_rate) = usual_rate {
            let beside = log_e_beyond(odds(usual_rate) * tolerated, &self.ratios, new);
            for (log_e, beside) in log_e.iter_mut().zip(beside) {
                *log_e = log_e.min(beside);
            }
        }
        let log_compared = (old.requests > 0).then(|| self.log_bet(&log_e));
        let log_alone = self.alone.as_ref().map(|alone| {
            let log_e = log_e_beyond(alone.worst_odds * tolerated, &self.ratios, new);
            let most = if needs_another { self.log_cap } else { f64::INFINITY };
            self.log_bet(&log_e).min(log_compared.unwrap_or(f64::INFINITY)).min(most)
        });
        if let (Some(alone), Some(log_e)) = (&mut self.alone, log_alone) {
            alone.log_capital = log_add(alone.log_capital, alone.stake.next()) + log_e;
            if alone.best.is_none_or(|(most, ..)| log_e > most) {
                alone.best = Some((log_e, old, new));
            }
        }
        if log_compared.is_some() {
            // η: what wandering rates leave of a period's weight. By how much the new side's part of the
            // errors varies when both rates do, over how much it varies by chance.
            let part = table.expected_share(tolerated);
            let by_wander = 2.0 * self.log_variance * table.errors() * part * (1.0 - part);
            self.compare(&log_e.map(|log_e| log_e / (1.0 + by_wander)), old, new);
        }
    }

    /// ln of what a bet on all odds ratios pays.
    fn log_bet(&self, log_e: &[f64; RATIOS]) -> f64 {
        let mut paid = self.log_parts;
        for (paid, log_e) in paid.iter_mut().zip(log_e) {
            *paid += log_e;
        }
        log_sum(&paid)
    }

    fn compare(&mut self, log_e: &[f64; RATIOS], old: Counts, new: Counts) {
        let before = self.log_compared();
        let set = self.compared_stake.next();
        if before <= 0.0 {
            self.run = Run::default();
        }
        self.run.add(old, new);
        for ((capital, part), log_e) in self.compared.iter_mut().zip(&self.log_parts).zip(log_e) {
            *capital = log_add(*capital, set + part) + log_e;
        }
        let left = self.compared_stake.left();
        let bet = log_sum(&self.compared);
        let most = before + self.log_cap;
        if log_add(bet, left.ln()) > most {
            // ln of what is left of the most beside what is still to be set: in logarithms, for e has no end.
            let allowed = most + (-(left.ln() - most).exp()).ln_1p();
            for capital in &mut self.compared {
                *capital += allowed - bet;
            }
        }
    }

    /// ln of e: of the whole capital, which began with 1.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let (compared, alone) = self.log_capitals();
        alone.map_or(compared, |alone| log_add(compared, alone))
    }

    /// ln of the capital of `compared`, as if it were all there is.
    fn log_compared(&self) -> f64 {
        log_add(log_sum(&self.compared), self.compared_stake.left().ln())
    }

    /// ln of the capital of `compared`, and of `alone` when there is a baseline.
    fn log_capitals(&self) -> (f64, Option<f64>) {
        let compared = self.log_compared();
        match &self.alone {
            None => (compared, None),
            Some(alone) => {
                let alone = log_add(alone.log_capital, alone.stake.left().ln());
                (compared + COMPARED.ln(), Some(alone + (1.0 - COMPARED).ln()))
            }
        }
    }

    /// The period that decides alone, old and new side, if it is one that speaks most against the new side.
    #[must_use]
    pub fn alone(&self) -> Option<(Counts, Counts)> {
        let (compared, alone) = self.log_capitals();
        let (_, old, new) = self.alone.as_ref()?.best.filter(|_| alone > Some(compared))?;
        Some((old, new))
    }

    /// ln of what e must reach for the new side to be worse than it may be.
    #[must_use]
    pub fn log_limit(&self) -> f64 {
        self.test.log_limit()
    }

    /// ln of what the bet on this odds ratio must gain for e to reach its limit: more than the limit, because
    /// only a part of the stake is on it.
    #[must_use]
    pub fn log_needed(&self, odds_ratio: f64) -> f64 {
        let distance =
            |ratio: &f64| (odds_ratio / (ratio * self.test.tolerated_odds_ratio)).ln().abs();
        let nearest = self.ratios.iter().zip(&self.log_parts);
        let nearest = nearest.min_by(|(a, _), (b, _)| distance(a).total_cmp(&distance(b)));
        let log_part = nearest.map_or(0.0, |(_, log_part)| *log_part);
        let log_compared = if self.alone.is_some() { COMPARED.ln() } else { 0.0 };
        self.log_limit() - log_part - log_compared - STAKE_FIRST.ln()
    }

    /// Whether e has reached its limit.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Two capped periods reach the limit exactly; their sum may be rounded.
        self.log_e() >= self.log_limit() - 1e-9
    }

    /// The periods since evidence last began to gather.
    #[must_use]
    pub const fn run(&self) -> Run {
        self.run
    }
}

/// The bet, for each ratio, that the new side's odds are beyond these.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn log_e_beyond(odds: f64, ratios: &[f64; RATIOS], new: Counts) -> [f64; RATIOS] {
    let (n, x) = (new.requests as f64, new.errors.min(new.requests) as f64);
    // Of two binomial laws whose odds differ by the ratio.
    ratios.map(|ratio| x * ratio.ln() - n * ((ratio - 1.0) * odds / (1.0 + odds)).ln_1p())
}

/// The variance of the logarithm of a gamma-distributed factor with this squared coefficient of variation,
/// c: ψ′(1/c), by its series.
/// Source: NIST Digital Library of Mathematical Functions, 5.15.8.
fn log_variance(c: f64) -> f64 {
    c + c * c / 2.0 + c * c * c / 6.0
}

/// The odds of a rate; finite.
fn odds(rate: f64) -> f64 {
    rate / (1.0 - rate).max(1e-9)
}

/// ln(eᵃ + eᵇ).
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

fn log_sum<const K: usize>(logs: &[f64; K]) -> f64 {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + logs.iter().map(|log| (log - highest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEST: Test = Test { alpha: 0.01, tests: 1, tolerated_odds_ratio: 1.5 };

    fn counts(requests: u64, errors: u64) -> Counts {
        Counts { requests, errors }
    }

    /// A day in which a side of a steady service has 1,000 requests a minute, of which one fails.
    fn steady() -> Baseline {
        Baseline::of(vec![Some(counts(1000, 1)); 1440], 100, |_| 0.05)
    }

    /// The period in which an e-process goes over its limit, counted from 1.
    fn over_after(mut e: EProcess, old: Counts, new: Counts) -> Option<u32> {
        (1..=100).find(|_| {
            e.see(old, new);
            e.is_over()
        })
    }

    #[test]
    fn one_bad_period_alone_never_decides_without_a_baseline() {
        let worst = (counts(10_000_000, 0), counts(10_000_000, 10_000_000));
        assert_eq!(over_after(EProcess::new(TEST, None), worst.0, worst.1), Some(2));
        let shared = Test { tests: 500, ..TEST };
        assert_eq!(over_after(EProcess::new(shared, None), worst.0, worst.1), Some(5));
        let bursty = Baseline { stretches: 300, bursts: 0.03, ..steady() };
        assert_eq!(over_after(EProcess::new(TEST, Some(&bursty)), worst.0, worst.1), Some(3));
    }

    #[test]
    fn a_period_unlike_any_of_the_baseline_decides_alone() {
        let over = |baseline: Baseline| {
            let e = EProcess::new(TEST, Some(&baseline));
            over_after(e, counts(9000, 9), counts(1000, 500))
        };
        assert_eq!(over(steady()), Some(1));
        let short = Baseline { stretches: 100, ..steady() };
        assert_eq!(over(short), Some(2), "too short to know bursts");
        let had_worse = Baseline { worst_rate: 0.6, ..steady() };
        assert_eq!(over(had_worse), Some(2), "the old side had worse");
    }

    #[test]
    fn a_fault_of_both_sides_is_none_of_the_new_one() {
        for baseline in [None, Some(steady())] {
            let e = EProcess::new(TEST, baseline.as_ref());
            assert_eq!(over_after(e, counts(9000, 4500), counts(1000, 500)), None);
        }
    }

    #[test]
    fn a_fault_that_begins_late_is_found_in_a_few_periods() {
        let mut e = EProcess::new(TEST, None);
        for _ in 0..100 {
            e.see(counts(90_000, 90), counts(10_000, 10));
        }
        assert!(e.log_e() < 0.0);
        assert!(over_after(e, counts(90_000, 90), counts(10_000, 100)) <= Some(4));
    }

    #[test]
    fn the_run_begins_where_the_evidence_does() {
        let mut e = EProcess::new(TEST, None);
        for _ in 0..20 {
            e.see(counts(90_000, 90), counts(10_000, 10));
        }
        for _ in 0..3 {
            e.see(counts(90_000, 90), counts(10_000, 100));
        }
        let run = Run { old: counts(270_000, 270), new: counts(30_000, 300), periods: 3 };
        assert_eq!(e.run(), run);
    }

    #[test]
    fn rates_that_wander_make_a_period_count_for_less() {
        let wandering = Baseline { wander: 0.5, stretches: 300, ..steady() };
        let gained = |baseline: &Baseline| {
            let mut e = EProcess::new(TEST, Some(baseline));
            e.see(counts(90_000, 90), counts(10_000, 30));
            e.log_e()
        };
        assert!(gained(&wandering) < gained(&Baseline { wander: 0.0, ..wandering }));
    }

    #[test]
    fn a_side_without_requests_tells_nothing() {
        let mut e = EProcess::new(TEST, None);
        e.see(counts(1000, 1000), counts(0, 0));
        e.see(counts(0, 0), counts(1000, 1000));
        assert!(e.log_e().abs() < 1e-12);
    }

    #[test]
    fn however_much_evidence_gathers_it_stays_a_number_and_stays_over() {
        for alpha in [0.5, 0.01, 1e-6] {
            let mut e = EProcess::new(Test { alpha, ..TEST }, None);
            let mut over = false;
            for period in 0..600 {
                e.see(counts(54_000, 54), counts(6_000, 6_000));
                over |= e.is_over();
                assert!(e.log_e().is_finite() && e.is_over() == over, "{alpha} {period}");
            }
            assert!(over);
        }
    }

    #[test]
    fn the_whole_stake_is_set_and_no_more() {
        let mut stake = Stake::default();
        let mut set = 0.0;
        for _ in 0..1000 {
            set += stake.next().exp();
            assert!((set + stake.left() - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_usual_and_what_needs_another_period_bound_a_bet() {
        let gained = |usual_rate, needs_another| {
            let mut e = EProcess::new(TEST, Some(&steady()));
            e.see_beside(counts(9000, 9), counts(1000, 500), usual_rate, needs_another);
            e
        };
        assert!(gained(None, false).is_over() && gained(Some(0.01), false).is_over());
        assert!(gained(Some(0.5), false).log_e() < 0.0, "half of them are usual");
        let mut twice = gained(None, true);
        assert!(!twice.is_over());
        twice.see_beside(counts(9000, 9), counts(1000, 500), None, true);
        assert!(twice.is_over());
    }

    proptest! {
        /// Whatever was counted, e is a number. And one more error of the new side in each period speaks against
        /// it: but for what a cap, met in another order, may cost (a factor of e at most).
        #[test]
        fn errors_of_the_new_side_speak_against_it(
            periods in prop::collection::vec(
                (0_u64..10_000_000, 0_u64..=100, 0_u64..10_000_000, 0_u64..=100), 1..6
            ),
            bursty in any::<bool>(), with_baseline in any::<bool>(),
        ) {
            let part = |requests, percent| Counts { requests, errors: requests * percent / 100 };
            let bursts = if bursty { 0.1 } else { 0.0 };
            let baseline = Baseline { bursts, ..steady() };
            let baseline = with_baseline.then_some(&baseline);
            let mut e = EProcess::new(TEST, baseline);
            let mut worse = EProcess::new(TEST, baseline);
            for (n, x, m, y) in periods {
                let (old, new) = (part(n, x), part(m, y));
                e.see(old, new);
                worse.see(old, Counts { errors: (new.errors + 1).min(new.requests), ..new });
                prop_assert!(!e.log_e().is_nan() && e.log_e() < f64::INFINITY);
            }
            prop_assert!(worse.log_e() >= e.log_e() - 1.0, "{} {}", worse.log_e(), e.log_e());
        }
    }
}
