//! What excuses a period: an incident that the old side shows a period earlier or later, errors that have changed sides, and
//! errors that are counted a period after their requests.

use crate::evidence::Counts;
use crate::evidence::baseline::{AROUND, median};
use crate::evidence::hypergeometric::Table;

use super::{ALIKE, BEYOND_CHANCE, EProcess, Seen, as_f64, chi_square, to_count};

/// Clients that fail come to the new side in one period after the other with this chance at least: there are many periods.
const AGAIN_CHANCE: f64 = 1e-4;

impl EProcess {
    /// The counts of a period, read as kindly as its neighbours allow.
    pub(super) fn excused(&self, index: usize, period: &Seen) -> (Counts, Counts) {
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
        // More than this is missing by chance in one of twenty periods.
        let open = |variance: f64| (ALIKE * variance).sqrt();
        if missing <= open(variance) && sum.0 <= open(sum.1) {
            return 0;
        }
        to_count((missing + open(variance)).min(too_many))
    }

    /// Errors of the new side beyond what it may have beside the old one.
    pub(super) fn too_many(&self, old: Counts, new: Counts) -> f64 {
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
}

/// Errors may be counted a period after their requests: where those became fewer, both periods are one.
pub(in crate::evidence) fn counted_late(before: Counts, now: Counts) -> Counts {
    let (was, is) = (as_f64(before.requests), as_f64(now.requests));
    if was <= is || (was - is).powi(2) <= BEYOND_CHANCE * (was + is) {
        return now;
    }
    let rate = (before + now).error_rate().unwrap_or_default();
    Counts { errors: now.errors.min(to_count((rate * is).ceil())), ..now }
}

/// Whether the rate of one is higher than another's, by more than chance.
pub(super) fn is_worse(one: Counts, than: Counts) -> bool {
    one.error_rate() > than.error_rate() && chi_square(one, than) > BEYOND_CHANCE
}
