//! The e-process: evidence that the new side's requests fail more often than they may, which can be
//! looked at after every period without spending its error rate.
//!
//! One idea: **a period's evidence counts by how much two equally good sides of this service differ.**
//!
//! It is the capital of a gambler who bets against "the new side's odds of failing are at most θ₀ times
//! the old side's". Each period pays the likelihood ratio of its errors given their total ([`Table`]), at several odds
//! ratios: a fault that hits both sides cancels out. If both sides are as good as they may be and each request fails by
//! itself, the capital grows beyond 1/α with a chance of at most α, whenever one looks (Ville's inequality). Two sides that
//! are equally good differ by more than chance, in four ways, and each makes a period count for less:
//!
//! - **They wander.** The logarithm of what a period pays is divided by how much the difference of the two varies, over what
//!   chance does: a fair bet to a power below 1 is still fair. How far the old side's rate wanders is learnt from its day, in
//!   sums of 1, 5, 15 and 30 periods; without a day, from the ramp.
//! - **They burst.** What gathers in as many periods as a burst of this service lasts is capped at a part (in logarithms) of
//!   what is needed, so small that more bursts are needed than come together by chance: one burst never decides, however bad it
//!   is. Only a catastrophe may: a period in which a third of the new side's requests fail beside the old one, as never in a
//!   known day.
//! - **They count late.** An incident that the old side shows one period earlier or later excuses this one, and errors may
//!   belong to the requests of the period before.
//! - **They exchange errors.** Few resolvers carry the clients that fail to one side and back. What the new side has too
//!   many of, while the old one lacks it, tells nothing. The smaller the share, the fewer periods in a row may be excused so.
//!
//! Half of the stake is set from the first period on, the rest bit by bit, so that a fault that begins late is found as
//! well. A quarter of it bets only a fifth of its capital in each period: so faults that come and go add up.
//!
//! Where the old side has no requests beside the new one, the new one is compared with what the old one did in the ramp's last
//! 30 periods, or with the day where both are alike, as one more row of the table, with all that is uncertain about it.
//!
//! The same gambler bets against "the rate is at most the limit, or the odds at most θ₀ times the old side's", without the
//! powers: the limit is a promise of its own.
//!
//! The bound is proven for errors that are independent, in periods in which the old side is beside the new one, with what a
//! day has taught, and within one window. For the rest it is measured (`docs/evidence.md`).
//!
//! Source: A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-Theoretic Statistics and Safe Anytime-Valid
//! Inference", Statistical Science 38 (2023), sections 2 and 3; the late stakes as the mixtures of
//! J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", New England Journal of Statistics in Data Science
//! 2 (2023); powers of likelihood ratios as in P. Grünwald, "The Safe Bayesian", Algorithmic Learning
//! Theory (2012); capped ones as in P. J. Huber, "A Robust Version of the Probability Ratio Test", Annals of Mathematical
//! Statistics 36 (1965).

mod capital;
mod excuse;

use std::cell::OnceCell;
use std::collections::VecDeque;

use capital::{Cap, Capital, Each, RATIOS};
pub(super) use excuse::counted_late;
use excuse::is_worse;

use crate::evidence::Counts;
use crate::evidence::baseline::{AROUND, Baseline, median};
use crate::evidence::hypergeometric::Table;
use crate::evidence::signal::Signal;
use crate::limits::CLOUDWATCH;
use crate::request::health::Health;

/// Where nobody knows what was sent, the old side is beside the new one with at least this part of its requests. With
/// fewer it has stragglers, which tell nothing of a side that serves.
const COMPARABLE_PART: u64 = 50;
/// χ² with one degree of freedom of what happens by chance in one of 1,000 periods.
pub(super) const BEYOND_CHANCE: f64 = 10.83;
/// χ² of one in ten: up to here two counts are alike.
const ALIKE: f64 = 2.71;
/// Without a day nobody knows how long this service's bursts are: this many periods count as one.
const LASTS_UNKNOWN: u32 = 5;
/// In one period alone this part of the new side's requests must fail to decide, where bursts are unknown to the service.
pub(super) const CATASTROPHE: f64 = 1.0 / 3.0;
/// And this many errors there must be.
const CATASTROPHE_ERRORS: f64 = 5.0;

/// What the evidence is tested for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// The chance that this test takes back a cutover between equal sides, 0–1, both excluded.
    pub alpha: f64,
    /// Number of tests that share it: routes that are counted apart, times signals.
    pub tests: u32,
    /// Those of them that look at one route: its signals.
    pub of_route: u32,
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
            of_route: number,
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

/// The periods of the ramp that are looked at, and what they say.
#[derive(Clone, Debug)]
pub struct EProcess {
    test: Test,
    /// The rate, 0–1, that the new side must not be over.
    limit: f64,
    day: Option<Baseline>,
    /// Multiples of the tolerated odds ratio.
    ratios: Each,
    periods: VecDeque<Seen>,
    /// What the old side did beside the new one lately: what that is compared with when the old one has none.
    beside: Counts,
    /// What is usual for it.
    usual: Counts,
    /// What the new side has done since without the old one beside it.
    alone: Counts,
    /// What all of that says; empty while nobody has asked.
    weighed: OnceCell<Weighed>,
}

/// A period, with what it says.
#[derive(Clone, Copy, Debug)]
struct Seen {
    old: Counts,
    new: Counts,
    is_beside: bool,
    /// Whether the new side had more errors than it may have.
    has_too_many: bool,
    known: Known,
    /// ln of the likelihood ratio of each odds ratio, against the tolerated one.
    log_e: Each,
    /// The lesser of that and of the same against the limit.
    log_over: Each,
    /// Errors of both sides, and the part of them that chance gives to the new side.
    errors: f64,
    part: f64,
}

/// What more is known of a period.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The new side must have more than the tolerated multiple of this rate as well, 0–1: a bet that pays the lesser of
    /// two fair ones is no better than fair.
    pub(super) usual_rate: Option<f64>,
    /// Whether the new side may still have to warm up: all such periods count as one.
    pub(super) is_warming: bool,
    /// Whether all requests are meant for the new side, so that those on the old one are stragglers; `None`: nobody knows.
    pub(super) is_full: Option<bool>,
    /// Whether nobody counted this signal on the old side: nothing is compared then, but for the limit.
    pub(super) is_uncounted: bool,
    /// Whether there are periods between it and the one before: gaps, or such in which the new side had no requests.
    pub(super) is_apart: bool,
}

/// What all periods say.
#[derive(Clone, Copy, Debug)]
struct Weighed {
    /// ln of e, against the old side.
    log_e: f64,
    /// And against the limit.
    log_over: f64,
    /// The periods since either last began to gather: since the capital was last no more than the stake.
    run: Run,
    run_over: Run,
    /// The mean of what the periods' evidence is divided by, 1 or more.
    tempering: f64,
}

impl EProcess {
    /// Begins. `limit`: a rate, 0–1, that the new side must not be over.
    #[must_use]
    pub fn new(test: Test, limit: f64, day: Option<&Baseline>) -> Self {
        Self {
            test,
            limit,
            day: day.filter(|day| day.stretches > 0).copied(),
            ratios: capital::ratios(),
            periods: VecDeque::new(),
            beside: Counts::default(),
            usual: day.map_or_else(Counts::default, Baseline::counts),
            alone: Counts::default(),
            weighed: OnceCell::new(),
        }
    }

    /// What the old side did beside the new one lately.
    pub(super) const fn beside(&self) -> Counts {
        self.beside
    }

    /// Sees one more period.
    pub fn see(&mut self, old: Counts, new: Counts) {
        self.see_beside(old, new, Known::default());
    }

    /// Sees one more period, of which more is known.
    pub(super) fn see_beside(&mut self, old: Counts, new: Counts, known: Known) {
        self.weighed.take();
        let is_beside = !known.is_uncounted && is_beside(old, new, known.is_full);
        self.periods.push_back(Seen {
            old,
            new,
            is_beside,
            has_too_many: is_beside && self.too_many(old, new) > 0.0,
            known,
            log_e: [0.0; RATIOS],
            log_over: [0.0; RATIOS],
            errors: 0.0,
            part: 0.0,
        });
        if self.periods.len() > CLOUDWATCH.periods_per_check as usize
            && let Some(oldest) = self.periods.pop_front()
            && !oldest.is_beside
            && !oldest.known.is_uncounted
        {
            self.alone = self.alone.less(oldest.new);
        }
        // What the newest period says of the one before it may excuse that.
        let newest = self.periods.len() - 1;
        if let Some(index) = newest.checked_sub(1).filter(|_| !known.is_apart)
            && let Some(before) = self.periods.get(index)
            && before.is_beside
            && is_worse(old, before.old)
        {
            self.read(index);
        }
        self.read(newest);
        if is_beside && new.requests > 0 {
            self.beside = self.lately();
        }
    }

    /// What the old side did in the latest periods beside the new one. Periods over the limit are left out, because an incident says
    /// nothing of the time after it. Where most are over it, all of them count.
    fn lately(&self) -> Counts {
        let beside = self.periods.iter().rev().filter(|period| period.is_beside).take(AROUND);
        let beside: Vec<Counts> = beside.map(|period| period.old).collect();
        let usual = median(beside.iter().filter_map(|old| old.error_rate()));
        let is_over = |old: &Counts| old.error_rate() > Some(self.limit);
        let most_are = usual > Some(self.limit);
        beside.into_iter().filter(|old| most_are || !is_over(old)).sum()
    }

    /// Reads what a period says.
    fn read(&mut self, index: usize) {
        let Some(mut period) = self.periods.get(index).copied() else { return };
        if period.new.requests == 0 {
            return;
        }
        if period.is_beside {
            self.compare(index, &mut period);
        } else if !period.known.is_uncounted {
            self.compare_alone(&mut period);
        }
        let tolerated = self.test.tolerated_odds_ratio;
        if let Some(usual_rate) = period.known.usual_rate {
            let beside = log_e_beyond(odds(usual_rate) * tolerated, &self.ratios, period.new);
            period.log_e = lesser(period.log_e, beside);
        }
        let over = log_e_beyond(odds(self.limit), &self.ratios, period.new);
        // Where there is nothing to compare with, the limit stands alone.
        let is_compared =
            period.is_beside || (!period.known.is_uncounted && self.reference().requests > 0);
        period.log_over = if is_compared { lesser(over, period.log_e) } else { over };
        if let Some(place) = self.periods.get_mut(index) {
            *place = period;
        }
    }

    /// Compares both sides of a period, as they were counted and as they are excused.
    fn compare(&self, index: usize, period: &mut Seen) {
        let table = Table::of(period.old, period.new);
        period.log_e = self.log_e_of(&table);
        period.errors = table.errors();
        period.part = table.expected_share(self.test.tolerated_odds_ratio);
        let (old, new) = self.excused(index, period);
        if (old, new) != (period.old, period.new) {
            // An excuse takes away what speaks against the new side. It never speaks for it.
            let excused = self.log_e_of(&Table::of(old, new));
            period.log_e = lesser(period.log_e, excused.map(|log_e| log_e.max(0.0)));
        }
    }

    /// Compares all that the new side has done without the old one with the reference: a period says what it adds to that.
    fn compare_alone(&mut self, period: &mut Seen) {
        let reference = self.reference();
        let before = self.log_e_of(&Table::of(reference, self.alone));
        self.alone = self.alone + period.new;
        period.log_e = self.log_e_of(&Table::of(reference, self.alone));
        for (log_e, before) in period.log_e.iter_mut().zip(before) {
            *log_e -= before;
        }
        (period.errors, period.part) = (as_f64(period.new.errors), 0.5);
    }

    fn log_e_of(&self, table: &Table) -> Each {
        let tolerated = self.test.tolerated_odds_ratio;
        table.log_e(&self.ratios.map(|ratio| ratio * tolerated), tolerated)
    }

    /// What the new side is compared with when the old one is not beside it: what the old one did beside it lately, or what is
    /// usual where that is much the same, but known from more requests.
    fn reference(&self) -> Counts {
        if is_usual(self.beside, self.usual) { self.usual } else { self.beside }
    }

    /// What is known of how two equally good sides of this service differ.
    fn known(&self) -> Baseline {
        self.day
            .unwrap_or_else(|| Baseline::of(self.periods.iter().map(|period| Some(period.old)), 1))
    }

    fn weighed(&self) -> &Weighed {
        self.weighed.get_or_init(|| self.weigh())
    }

    fn weigh(&self) -> Weighed {
        let known = self.known();
        let unknown = if known.knows_bursts() { 1 } else { LASTS_UNKNOWN };
        let alpha = self.test.alpha;
        let part = known.cap_part(alpha);
        let cap = |tests: u32, periods: u32| {
            let log = part * (f64::from(tests) / alpha).ln();
            Cap { log, periods: known.lasts.max(periods) as usize }
        };
        // Not of all tests: with many routes, a period must not count for more.
        let mut compared = Capital::new(cap(self.test.of_route.max(1), unknown));
        let mut over = Capital::new(cap(1, 1));
        let (mut run, mut run_over) = (Run::default(), Run::default());
        let (mut temperings, mut number) = (0.0, 0.0);
        for period in self.periods.iter().filter(|period| period.new.requests > 0) {
            for (capital, run) in [(&compared, &mut run), (&over, &mut run_over)] {
                if capital.log() <= 0.0 {
                    *run = Run::default();
                }
                run.add(period.old, period.new);
            }
            let tempering = tempering(known.wander, period.errors, period.part);
            temperings += tempering;
            number += 1.0;
            let log_e = period.log_e.map(|log_e| log_e / tempering);
            let is_warming = period.known.is_warming;
            let is_free = self.is_catastrophe(&known, period);
            compared.bet(&log_e, is_warming, is_free);
            over.bet(&period.log_over, is_warming, false);
        }
        let tempering = if number > 0.0 { temperings / number } else { 1.0 };
        Weighed { log_e: compared.log(), log_over: over.log(), run, run_over, tempering }
    }

    /// Whether a period may decide alone: beside the old side a third of the new one's requests fail, more than in the day's
    /// worst stretch, and more of both sides' together than that would explain.
    fn is_catastrophe(&self, known: &Baseline, period: &Seen) -> bool {
        let rate = CATASTROPHE.max(self.test.tolerated_odds_ratio * known.worst_rate);
        let of_both = as_f64((period.old + period.new).requests);
        let errors = CATASTROPHE_ERRORS.max((known.worst_rate - known.usual_rate) * of_both);
        known.knows_bursts()
            && period.is_beside
            && !period.known.is_warming
            && period.new.error_rate() >= Some(rate)
            && as_f64(period.new.errors) >= errors
    }

    /// ln of e.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.weighed().log_e
    }

    /// ln of what e must reach for the new side to be worse than it may be.
    #[must_use]
    pub fn log_limit(&self) -> f64 {
        self.test.log_limit()
    }

    /// ln of what the bet on this odds ratio must gain for e to reach its limit: more than the limit, because only a part of
    /// the stake is on it, and where rates wander each of the periods seen counts for less.
    #[must_use]
    pub fn log_needed(&self, odds_ratio: f64) -> f64 {
        let log_spread = capital::log_spread(odds_ratio / self.test.tolerated_odds_ratio);
        (self.log_limit() + log_spread) * self.weighed().tempering
    }

    /// Whether e has reached its limit.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Capped periods may reach the limit exactly, and their sum may be rounded.
        self.log_e() >= self.log_limit() - 1e-9
    }

    /// Whether the evidence that the new side is over its limit has reached 1 / alpha: a promise of its own, which shares
    /// no stake.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.weighed().log_over >= (1.0 / self.test.alpha).ln() - 1e-9
    }

    /// Whether the new side's odds are within what is tolerated beside the old side's, of comparable requests.
    pub(super) fn tolerates(&self, old: Counts, new: Counts, is_full: Option<bool>) -> bool {
        is_beside(old, new, is_full)
            && odds(new.error_rate().unwrap_or_default())
                <= self.test.tolerated_odds_ratio * odds(old.error_rate().unwrap_or_default())
    }

    /// The periods since evidence against the old side last began to gather.
    #[must_use]
    pub fn run(&self) -> Run {
        self.weighed().run
    }

    /// The periods since evidence against the limit last began to gather.
    #[must_use]
    pub fn run_over(&self) -> Run {
        self.weighed().run_over
    }
}

/// What the logarithm of a period's evidence is divided by: how much the two sides' difference varies, over what chance does
/// to it. `wander` is each side's; of the errors of both, chance gives this part to the new one.
fn tempering(wander: f64, errors: f64, part: f64) -> f64 {
    1.0 + 2.0 * wander * errors * part * (1.0 - part)
}

fn lesser(a: Each, b: Each) -> Each {
    let mut lesser = a;
    for (lesser, b) in lesser.iter_mut().zip(b) {
        *lesser = lesser.min(b);
    }
    lesser
}

/// Whether the old side serves beside the new one. `is_full`: whether all requests are meant for that, if it is known.
pub(super) fn is_beside(old: Counts, new: Counts, is_full: Option<bool>) -> bool {
    let is_comparable = old.requests.saturating_mul(COMPARABLE_PART) >= new.requests;
    old.requests > 0 && !is_full.unwrap_or(!is_comparable)
}

/// Whether what the old side did lately is much the same as what is usual, which is known from more requests.
pub(super) fn is_usual(lately: Counts, usual: Counts) -> bool {
    usual.requests >= lately.requests && chi_square(usual, lately) <= ALIKE
}

/// χ² of the rates of two counts, with one degree of freedom.
pub(super) fn chi_square(one: Counts, other: Counts) -> f64 {
    let requests = [one, other].map(|counts| as_f64(counts.requests));
    let errors = [one, other].map(|counts| as_f64(counts.errors));
    let ([n, m], [x, y]) = (requests, errors);
    let (events, succeeded) = (x + y, n + m - x - y);
    if events <= 0.0 || succeeded <= 0.0 || n * m <= 0.0 {
        return 0.0;
    }
    let difference = x * m - y * n;
    difference * difference * (n + m) / (n * m * events * succeeded)
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the last digits do not matter")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to what fits")]
pub(super) fn to_count(value: f64) -> u64 {
    value.max(0.0) as u64
}

/// The bet, for each ratio, that the new side's odds are beyond these.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn log_e_beyond(odds: f64, ratios: &Each, new: Counts) -> Each {
    let (n, x) = (new.requests as f64, new.errors.min(new.requests) as f64);
    // The likelihood ratio of two binomial laws. One has the odds, the other the ratio times as much.
    ratios.map(|ratio| x * ratio.ln() - n * ((ratio - 1.0) * odds / (1.0 + odds)).ln_1p())
}

/// The odds of a rate; finite.
fn odds(rate: f64) -> f64 {
    rate / (1.0 - rate).max(1e-9)
}

#[cfg(test)]
mod tests;
