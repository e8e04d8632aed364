//! The capital of a gambler: which bets it is spread over, when they are set, and how much it may gain in a burst.

use std::collections::VecDeque;

use crate::limits::CLOUDWATCH;

/// Odds ratios that are bet on: √2 times the tolerated one, and each next one twice as large, up to 724 times.
pub(super) const RATIOS: usize = 10;
/// Part of the stake that is set before the first period. The rest is set bit by bit, over as many periods as a check reads.
const STAKE_FIRST: f64 = 0.5;
/// What of the capital is bet in each period, and the part of the stake that does so: all of it, on faults that show in every
/// period, and a fifth, on faults that come and go: what is kept outlasts the periods between them.
const BET_PARTS: [(f64, f64); 2] = [(1.0, 0.75), (0.2, 0.25)];

/// One number for each odds ratio.
pub(super) type Each = [f64; RATIOS];

/// The odds ratios, as multiples of the tolerated one.
pub(super) fn ratios() -> Each {
    let mut ratio = std::f64::consts::FRAC_1_SQRT_2;
    [(); RATIOS].map(|()| {
        ratio *= 2.0;
        ratio
    })
}

/// The part of the stake that is bet on each, in proportion to the root of its inverse: against a large one, each error says so
/// much that it needs no large stake.
fn parts() -> Each {
    let parts = ratios().map(|ratio| ratio.sqrt().recip());
    let all: f64 = parts.iter().sum();
    parts.map(|part| part / all)
}

/// ln of what the bet nearest to this multiple of the tolerated odds ratio must gain for all of them to gain 1, if it is in time.
pub(super) fn log_spread(multiple: f64) -> f64 {
    let distance = |ratio: f64| (multiple / ratio).ln().abs();
    let bets = ratios().into_iter().zip(parts());
    let nearest = bets.min_by(|(a, _), (b, _)| distance(*a).total_cmp(&distance(*b)));
    let [(_, on_all_periods), _] = BET_PARTS;
    nearest.map_or(0.0, |(_, part)| -(part * on_all_periods * STAKE_FIRST).ln())
}

/// What of a stake of 1 is set in the first periods, 0–1.
fn set_in(periods: u32) -> f64 {
    let all = CLOUDWATCH.periods_per_check;
    match periods.min(all) {
        0 => 0.0,
        periods => STAKE_FIRST + (1.0 - STAKE_FIRST) * f64::from(periods - 1) / f64::from(all - 1),
    }
}

/// How much evidence may gather in how many periods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cap {
    /// ln.
    pub(super) log: f64,
    pub(super) periods: usize,
}

/// The capital of one gambler.
#[derive(Clone, Debug)]
pub(super) struct Capital {
    cap: Cap,
    /// The part of the stake that is set on each odds ratio, 0–1.
    parts: Each,
    /// What is bet on each odds ratio, as parts of all that is bet; and ln of that.
    bets: [Each; BET_PARTS.len()],
    log_bet: f64,
    /// Number of periods that were bet on.
    periods: u32,
    /// ln of the capital after each of the latest periods; those of a warm-up are one.
    heights: VecDeque<f64>,
    is_warming: bool,
}

impl Capital {
    pub(super) fn new(cap: Cap) -> Self {
        Self {
            cap,
            parts: parts(),
            bets: [[0.0; RATIOS]; BET_PARTS.len()],
            log_bet: f64::NEG_INFINITY,
            periods: 0,
            heights: VecDeque::from([0.0]),
            is_warming: false,
        }
    }

    /// Sees what a period pays. `is_free`: no cap holds it.
    pub(super) fn bet(&mut self, log_e: &Each, is_warming: bool, is_free: bool) {
        if !is_warming && std::mem::take(&mut self.is_warming) {
            self.keep_height();
        }
        let before = set_in(self.periods);
        self.periods = self.periods.saturating_add(1);
        let set = set_in(self.periods) - before;
        self.pay(set.ln(), log_e);
        let lowest = self.heights.iter().copied().fold(f64::INFINITY, f64::min);
        let most = lowest.max(0.0) + self.cap.log;
        if self.log() > most && !is_free {
            // ln of what is left of the most beside what is still to be set: in logarithms, for e has no end.
            self.log_bet = most + (-(self.log_left() - most).exp()).ln_1p();
        }
        self.is_warming = is_warming;
        if !is_warming {
            self.keep_height();
        }
    }

    /// Bets more, ln of which is `set`, and multiplies each bet by what it is paid. What is less than the smallest number
    /// beside the rest is lost: it could not matter.
    fn pay(&mut self, set: f64, log_e: &Each) {
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
            for ((bet, ratio_part), paid) in bets.iter_mut().zip(self.parts).zip(paid) {
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

    /// ln of what is still to be set.
    fn log_left(&self) -> f64 {
        (1.0 - set_in(self.periods)).ln()
    }

    /// ln of the whole capital, which began with 1.
    pub(super) fn log(&self) -> f64 {
        let (a, b) = (self.log_bet, self.log_left());
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_stake_is_set_on_all_ratios_and_no_more() {
        assert!((parts().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mut capital = Capital::new(Cap { log: f64::INFINITY, periods: 1 });
        for _ in 0..1000 {
            assert!(capital.log().abs() < 1e-9, "what pays 1 leaves the capital as it was");
            capital.bet(&[0.0; RATIOS], false, false);
        }
        assert!(set_in(1000) >= 1.0 && set_in(1000) <= 1.0);
    }

    #[test]
    fn one_bet_that_gains_what_the_spread_asks_for_carries_all() {
        let mut capital = Capital::new(Cap { log: f64::INFINITY, periods: 1 });
        let mut log_e = [f64::NEG_INFINITY; RATIOS];
        log_e[3] = 100.0 + log_spread(ratios()[3]);
        capital.bet(&log_e, false, false);
        // A fifth of the rest of the stake, which bets that much, gains as well.
        let gained = capital.log() - 100.0;
        assert!((0.0..0.1).contains(&gained), "{gained}");
    }
}
