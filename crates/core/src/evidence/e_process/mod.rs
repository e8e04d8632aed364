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
//!   what is needed, a smaller one where bursts are frequent: one burst never decides, however bad it is. Only a catastrophe
//!   may: a period in which a third of the new side's requests fail beside the old one, as never in a known day.
//! - **They count late.** An incident that the old side shows one period earlier or later excuses this one, and errors may
//!   belong to the requests of the period before.
//! - **They exchange errors.** Few resolvers carry the clients that fail to one side and back. What the new side has too
//!   many of while the old one lacks it tells nothing, for as many periods in a row as the share makes likely.
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

use std::cell::OnceCell;
use std::collections::VecDeque;

use crate::evidence::Counts;
use crate::evidence::baseline::{AROUND, Baseline, median};
use crate::evidence::hypergeometric::Table;
use crate::evidence::signal::Signal;
use crate::limits::CLOUDWATCH;
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

/// What of the capital is bet in each period, and the part of the stake that does so: all of it, on faults that show in every
/// period, and a fifth, on faults that come and go: what is kept outlasts the periods between them.
const BET_PARTS: [(f64, f64); 2] = [(1.0, 0.75), (0.2, 0.25)];

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
/// Standard deviations by which the old side's errors must be missing before they may have changed sides, …
const MISSING_DEVIATIONS: f64 = 2.0;
/// … or, because there are fewer of them, in those of the latest periods together in which the new side had too many.
const MISSING_DEVIATIONS_OF_SUM: f64 = 1.5;
/// They are on the new side in one period after the other with this chance at least: there are many periods.
const AGAIN_CHANCE: f64 = 1e-4;

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
    ratios: [f64; RATIOS],
    /// ln of the part of the stake that is bet on each.
    log_parts: [f64; RATIOS],
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
    log_e: [f64; RATIOS],
    /// The lesser of that and of the same against the limit.
    log_over: [f64; RATIOS],
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
#[derive(Clone, Copy, Debug, Default)]
struct Weighed {
    /// ln of e, against the old side.
    log_e: f64,
    /// And against the limit.
    log_over: f64,
    /// The periods since either last began to gather: since the capital was last no more than the stake.
    run: Run,
    run_over: Run,
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

/// How much evidence may gather in how many periods.
#[derive(Clone, Copy, Debug)]
struct Cap {
    log: f64,
    periods: usize,
}

/// The capital of one gambler.
#[derive(Clone, Debug)]
struct Capital {
    cap: Cap,
    /// What is bet on each odds ratio, as parts of all that is bet; and ln of that.
    bets: [[f64; RATIOS]; BET_PARTS.len()],
    log_bet: f64,
    stake: Stake,
    /// ln of the capital after each of the latest periods; those of a warm-up are one.
    heights: VecDeque<f64>,
    is_warming: bool,
}

impl Capital {
    fn new(cap: Cap) -> Self {
        Self {
            cap,
            bets: [[0.0; RATIOS]; BET_PARTS.len()],
            log_bet: f64::NEG_INFINITY,
            stake: Stake::default(),
            heights: VecDeque::from([0.0]),
            is_warming: false,
        }
    }

    /// Sees what a period pays. `is_free`: no cap holds it.
    fn bet(
        &mut self,
        parts: &[f64; RATIOS],
        log_e: &[f64; RATIOS],
        is_warming: bool,
        is_free: bool,
    ) {
        if !is_warming && std::mem::take(&mut self.is_warming) {
            self.keep_height();
        }
        let set = self.stake.next();
        self.pay(set, parts, log_e);
        let left = self.stake.left().ln();
        let lowest = self.heights.iter().copied().fold(f64::INFINITY, f64::min);
        let most = lowest.max(0.0) + self.cap.log;
        if self.log() > most && !is_free {
            // ln of what is left of the most beside what is still to be set: in logarithms, for e has no end.
            self.log_bet = most + (-(left - most).exp()).ln_1p();
        }
        self.is_warming = is_warming;
        if !is_warming {
            self.keep_height();
        }
    }

    /// Bets more, ln of which is `set`, and multiplies each bet by what it is paid. What is less than the smallest number
    /// beside the rest is lost: it could not matter.
    fn pay(&mut self, set: f64, parts: &[f64; RATIOS], log_e: &[f64; RATIOS]) {
        let unit = self.log_bet.max(set);
        if unit == f64::NEG_INFINITY {
            return;
        }
        let (kept, set) = ((self.log_bet - unit).exp(), (set - unit).exp());
        let highest = log_e.iter().copied().fold(0.0, f64::max);
        let all = (-highest).exp();
        let paid = log_e.map(|log_e| (log_e - highest).exp());
        let mut sum = 0.0;
        for (bets, (part, stake)) in self.bets.iter_mut().zip(BET_PARTS) {
            for ((bet, ratio_part), paid) in bets.iter_mut().zip(parts).zip(paid) {
                *bet =
                    (*bet * kept + set * stake * ratio_part) * ((1.0 - part) * all + part * paid);
                sum += *bet;
            }
        }
        for bet in self.bets.iter_mut().flatten() {
            *bet = if sum > 0.0 { *bet / sum } else { 0.0 };
        }
        self.log_bet = unit + highest + sum.ln();
    }

    fn keep_height(&mut self) {
        self.heights.push_back(self.log());
        while self.heights.len() > self.cap.periods {
            self.heights.pop_front();
        }
    }

    /// ln of the whole capital, which began with 1.
    fn log(&self) -> f64 {
        log_add(self.log_bet, self.stake.left().ln())
    }
}

impl EProcess {
    /// Begins. `limit`: a rate, 0–1, that the new side must not be over.
    #[must_use]
    pub fn new(test: Test, limit: f64, day: Option<&Baseline>) -> Self {
        let mut next = RATIO_FROM;
        let ratios = [(); RATIOS].map(|()| {
            let ratio = next;
            next *= RATIO_STRIDE;
            ratio
        });
        let log_parts = ratios.map(|ratio| STAKE_POWER * ratio.ln());
        let log_all = log_sum(&log_parts);
        Self {
            test,
            limit,
            day: day.filter(|day| day.stretches > 0).copied(),
            ratios,
            log_parts: log_parts.map(|log_part| log_part - log_all),
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
        let before =
            newest.checked_sub(1).and_then(|before| Some((before, self.periods.get(before)?)));
        if let Some((before, _)) = before
            .filter(|(_, before)| before.is_beside && !known.is_apart && is_worse(old, before.old))
        {
            self.read(before);
        }
        self.read(newest);
        if is_beside && new.requests > 0 {
            self.beside = self.lately();
        }
    }

    /// What the old side did in the latest periods beside the new one. An incident tells nothing of what comes after it: a
    /// period over the limit is left out, unless most are.
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
        let tolerated = self.test.tolerated_odds_ratio;
        let odds_ratios = self.ratios.map(|ratio| ratio * tolerated);
        if period.is_beside {
            let table = Table::of(period.old, period.new);
            period.log_e = table.log_e(&odds_ratios, tolerated);
            (period.errors, period.part) = (table.errors(), table.expected_share(tolerated));
            let (old, new) = self.excused(index, &period);
            if (old, new) != (period.old, period.new) {
                // What is excused tells nothing: neither against the new side nor for it.
                let excused = Table::of(old, new).log_e(&odds_ratios, tolerated);
                period.log_e = lesser(period.log_e, excused.map(|log_e| log_e.max(0.0)));
            }
        } else if !period.known.is_uncounted {
            let reference = self.reference();
            let before = Table::of(reference, self.alone);
            self.alone = self.alone + period.new;
            let after = Table::of(reference, self.alone);
            let was = before.log_e(&odds_ratios, tolerated);
            period.log_e = after.log_e(&odds_ratios, tolerated);
            for (log_e, was) in period.log_e.iter_mut().zip(was) {
                *log_e -= was;
            }
            (period.errors, period.part) = (as_f64(period.new.errors), 0.5);
        }
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

    /// What the new side is compared with when the old one is not beside it: what the old one did beside it lately, or what is
    /// usual where that is much the same, but known from more requests.
    fn reference(&self) -> Counts {
        if is_usual(self.beside, self.usual) { self.usual } else { self.beside }
    }

    /// The counts of a period, read as kindly as its neighbours allow.
    fn excused(&self, index: usize, period: &Seen) -> (Counts, Counts) {
        let (mut old, mut new) = (period.old, period.new);
        let before = index.checked_sub(1).filter(|_| !period.known.is_apart);
        let before = before.and_then(|before| self.periods.get(before));
        let after = self.periods.get(index + 1).filter(|after| !after.known.is_apart);
        // Errors that the old side lacks have changed sides, and tell nothing of either.
        let moved = self.moved(index, old, new);
        old.errors = old.errors.saturating_add(moved);
        new.errors = new.errors.saturating_sub(moved);
        // An incident may reach the old side a period earlier or later.
        for near in [before, after].into_iter().flatten() {
            if is_worse(near.old, old) {
                old.errors =
                    to_count(near.old.error_rate().unwrap_or_default() * as_f64(old.requests));
            }
        }
        (old, before.map_or(new, |before| counted_late(before.new, new)))
    }

    /// How many of the new side's errors may have changed sides: what the old side lacks, as far as chance leaves that
    /// open, where it lacks more than chance and wander take away: in this period, or in this and the latest others in which
    /// the new side had too many.
    fn moved(&self, index: usize, old: Counts, new: Counts) -> u64 {
        let too_many = self.too_many(old, new);
        // Clients ask anew where to go: that they come to the new side again and again is as likely as its share allows.
        let share =
            as_f64(new.requests) / as_f64(old.requests.saturating_add(new.requests)).max(1.0);
        let runs = self.periods.range(..index).rev().take_while(|period| period.has_too_many);
        let likely = runs.fold(share, |likely, _| likely * share);
        if too_many <= 0.0 || likely < AGAIN_CHANCE {
            return 0;
        }
        let usual = self.usual_of_old(index);
        let wander = self.day.map_or(0.0, |day| day.wander);
        let lacks = |old: Counts| {
            let expected = usual * as_f64(old.requests);
            (expected - as_f64(old.errors), expected * (1.0 + wander * expected))
        };
        let (missing, variance) = lacks(old);
        let latest = self.periods.range(index.saturating_sub(AROUND)..index);
        let with_too_many = latest.filter(|period| period.has_too_many);
        let sum = with_too_many.fold((missing, variance), |(missing, variance), period| {
            let (more, by) = lacks(period.old);
            (missing + more, variance + by)
        });
        let beyond = |(missing, variance): (f64, f64), by: f64| missing > by * variance.sqrt();
        if !beyond((missing, variance), MISSING_DEVIATIONS)
            && !beyond(sum, MISSING_DEVIATIONS_OF_SUM)
        {
            return 0;
        }
        let open = MISSING_DEVIATIONS * variance.sqrt();
        to_count((missing + open).min(too_many))
    }

    /// Errors of the new side beyond what it may have beside the old one.
    fn too_many(&self, old: Counts, new: Counts) -> f64 {
        let table = Table::of(old, new);
        as_f64(new.errors) - table.errors() * table.expected_share(self.test.tolerated_odds_ratio)
    }

    /// The median of the old side's rates in the periods before and after.
    fn usual_of_old(&self, index: usize) -> f64 {
        let (from, to) = (index.saturating_sub(AROUND), index + AROUND + 1);
        let around = self.periods.range(from..to.min(self.periods.len()));
        let others = (from..).zip(around).filter(|(other, _)| *other != index);
        median(others.filter_map(|(_, period)| period.old.error_rate()))
            .unwrap_or_else(|| self.day.map_or(0.0, |day| day.usual_rate))
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
        // Of both sides' requests, as many errors more than usual as the worst of the day had.
        let worst = known.knows_bursts().then(|| {
            let beyond = self.test.tolerated_odds_ratio * known.worst_rate;
            (CATASTROPHE.max(beyond), known.worst_rate - known.usual_rate)
        });
        let unknown = if known.knows_bursts() { 1 } else { LASTS_UNKNOWN };
        // Not of all tests: with many routes, a period must not count for more.
        let log = known.cap_part() * (f64::from(self.test.of_route.max(1)) / self.test.alpha).ln();
        let cap = |periods: u32| Cap { log, periods: periods as usize };
        let mut compared = Capital::new(cap(known.lasts.max(unknown)));
        let mut over = Capital::new(cap(known.lasts.max(1)));
        let parts = self.log_parts.map(f64::exp);
        let (mut run, mut run_over) = (Run::default(), Run::default());
        for period in self.periods.iter().filter(|period| period.new.requests > 0) {
            for (capital, run) in [(&compared, &mut run), (&over, &mut run_over)] {
                if capital.log() <= 0.0 {
                    *run = Run::default();
                }
                run.add(period.old, period.new);
            }
            let by_wander = 2.0 * known.wander * period.errors * period.part * (1.0 - period.part);
            let log_e = period.log_e.map(|log_e| log_e / (1.0 + by_wander));
            let is_catastrophe = period.is_beside
                && !period.known.is_warming
                && worst.is_some_and(|(rate, more)| {
                    let errors = more * as_f64((period.old + period.new).requests);
                    period.new.error_rate() >= Some(rate)
                        && as_f64(period.new.errors) >= errors.max(CATASTROPHE_ERRORS)
                });
            compared.bet(&parts, &log_e, period.known.is_warming, is_catastrophe);
            over.bet(&parts, &period.log_over, period.known.is_warming, false);
        }
        Weighed { log_e: compared.log(), log_over: over.log(), run, run_over }
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

    /// ln of what the bet on this odds ratio must gain for e to reach its limit: more than the limit, because
    /// only a part of the stake is on it.
    #[must_use]
    pub fn log_needed(&self, odds_ratio: f64) -> f64 {
        let distance =
            |ratio: &f64| (odds_ratio / (ratio * self.test.tolerated_odds_ratio)).ln().abs();
        let nearest = self.ratios.iter().zip(&self.log_parts);
        let nearest = nearest.min_by(|(a, _), (b, _)| distance(a).total_cmp(&distance(b)));
        let log_part = nearest.map_or(0.0, |(_, log_part)| *log_part);
        self.log_limit()
            - log_part
            - BET_PARTS.first().map_or(0.0, |(_, stake)| stake.ln())
            - STAKE_FIRST.ln()
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
    pub(super) fn tolerates(&self, old: Counts, new: Counts) -> bool {
        is_beside(old, new, None)
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

fn lesser(a: [f64; RATIOS], b: [f64; RATIOS]) -> [f64; RATIOS] {
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

/// Errors may be counted a period after their requests: where those became fewer, both periods are one.
pub(super) fn counted_late(before: Counts, now: Counts) -> Counts {
    let (was, is) = (as_f64(before.requests), as_f64(now.requests));
    if was <= is || (was - is).powi(2) <= BEYOND_CHANCE * (was + is) {
        return now;
    }
    let rate = (before + now).error_rate().unwrap_or_default();
    Counts { errors: now.errors.min(to_count((rate * is).ceil())), ..now }
}

/// Whether what the old side did lately is much the same as what is usual, which is known from more requests.
pub(super) fn is_usual(lately: Counts, usual: Counts) -> bool {
    usual.requests >= lately.requests && chi_square(usual, lately) <= ALIKE
}

/// Whether the rate of one is higher than another's, by more than chance.
fn is_worse(one: Counts, than: Counts) -> bool {
    one.error_rate() > than.error_rate() && chi_square(one, than) > BEYOND_CHANCE
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
fn log_e_beyond(odds: f64, ratios: &[f64; RATIOS], new: Counts) -> [f64; RATIOS] {
    let (n, x) = (new.requests as f64, new.errors.min(new.requests) as f64);
    // Of two binomial laws whose odds differ by the ratio.
    ratios.map(|ratio| x * ratio.ln() - n * ((ratio - 1.0) * odds / (1.0 + odds)).ln_1p())
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
mod tests;
