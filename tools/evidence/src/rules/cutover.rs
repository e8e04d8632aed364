//! Our own rule: the verdict of `check-health`, made of what a check at the end of the minute would see.
//!
//! The evidence is filled as in `crates/core/src/cutover/check.rs`. Weights are live at once, and answers linger for the
//! 60 s of the resolvers: a step has settled a minute after it began. The router splits by DNS answers, the meters count
//! nothing else, and the request names no resolvers.

use cutover_core::limits::{CLOUDWATCH, ROUTE53_ALIAS_TTL_S};
use cutover_core::{
    BEFORE_PERIODS, Baselines, Counts, Evidence, Health, Judge, Lumps, Period, RESOLVERS, Sent,
    VerdictKind, later,
};
use jiff::Timestamp;

use super::{Minute, Rule};

/// A cutover of one route, which is checked every minute.
#[derive(Debug)]
pub struct Cutover<'a> {
    health: &'a Health,
    baseline: Option<&'a Baselines>,
    /// The window of the newest check.
    evidence: Evidence<'static>,
    /// What it says. It sees minute by minute, and all of the window anew when what was seen reads differently. What the old
    /// side did before the window, a cutover keeps in its state, and this in itself.
    judge: Judge<'a>,
    now: Timestamp,
}

impl<'a> Cutover<'a> {
    /// A cutover of one route. `day`: what the old side counted in the minutes before, the newest last; `baseline`: what
    /// was learnt of it.
    #[must_use]
    pub fn new(
        health: &'a Health,
        day: &[Option<Counts>],
        baseline: Option<&'a Baselines>,
    ) -> Self {
        let judge = Judge::new(health, 1, baseline);
        let mut of = Self {
            health,
            baseline,
            evidence: Evidence::default(),
            judge,
            now: Timestamp::UNIX_EPOCH,
        };
        for old in day.get(day.len().saturating_sub(BEFORE_PERIODS as usize)..).unwrap_or(day) {
            of.add(*old, None);
        }
        of.evidence.ramp_at = Some(of.now);
        of
    }

    /// Adds the period that begins now.
    fn add(&mut self, old: Option<Counts>, new: Option<Counts>) {
        self.evidence.periods.push(Period { start: self.now, old, new, ..Period::default() });
        self.now = later(self.now, 60);
    }

    /// Begins a step, if it is another one.
    fn shift(&mut self, share: f64) -> bool {
        let is_same = |sent: Sent| (sent.share - share).abs() < 1e-9;
        if self.evidence.sent.is_some_and(is_same) {
            return false;
        }
        let lumps = Lumps::PerAnswer { resolvers: RESOLVERS };
        let linger_s = ROUTE53_ALIAS_TTL_S;
        self.evidence.sent = Some(Sent { share, since: self.now, lumps, linger_s, is_alone: true });
        self.evidence.settled_at = Some(later(self.now, linger_s.into()));
        true
    }

    /// Leaves periods behind that are no more in the window.
    fn leave(&mut self) {
        let most = CLOUDWATCH.periods_per_check as usize;
        let left = self.evidence.periods.len().saturating_sub(most);
        self.evidence.periods.drain(..left);
    }

    /// Shows the newest period to the judge, or all of the window to a new one.
    fn judge(&mut self, anew: bool) {
        if anew {
            self.judge = Judge::new(self.health, 1, self.baseline);
        }
        let Evidence { periods, settled_at, .. } = &self.evidence;
        let seen = if anew { 0 } else { periods.len().saturating_sub(1) };
        let unseen = periods.iter().skip(seen);
        for period in unseen.filter(|period| self.evidence.is_of_the_ramp(period)) {
            self.judge.see(period, settled_at.is_some_and(|since| period.start >= since));
        }
    }
}

impl Rule for Cutover<'_> {
    fn see(&mut self, minute: &Minute) -> bool {
        // A source has nothing of a minute without requests.
        let counted = |counts: Counts| (counts.requests > 0).then_some(counts);
        let shifts = self.shift(minute.share);
        self.add(counted(minute.old), counted(minute.new));
        self.leave();
        self.evidence = std::mem::take(&mut self.evidence).marked(self.health);
        self.judge(shifts);
        self.judge.verdict(&self.evidence).kind == VerdictKind::Regressed
    }
}

#[cfg(test)]
mod tests {
    use cutover_core::{Series, judge};

    use super::*;

    /// An hour of steps and then a long one, with an incident of both sides on whose edge two minutes of the old side are
    /// missing. `fault`: when the new side begins to fail 2 %.
    fn minutes(fault: i64) -> Vec<Minute> {
        let minute = |at: i64| {
            let share = [0.05, 0.25, 0.9, 0.95].get(usize::try_from(at / 10).unwrap_or(9));
            let share = share.copied().unwrap_or(1.0);
            let usual = if (25..31).contains(&at) { 200 } else { 1 };
            let side = |part: u64, per_mille: u64| Counts {
                requests: part * 100,
                errors: part * 100 * per_mille / 1000,
            };
            let new = if share >= 1.0 { 200 } else { 20 };
            let old = if share >= 1.0 { 0 } else { 180 };
            let old = if (24..26).contains(&at) { 0 } else { old };
            Minute {
                old: side(old, usual),
                new: side(new, if at >= fault { 20 } else { usual }),
                share,
            }
        };
        (0..260).map(minute).collect()
    }

    #[test]
    fn it_says_minute_by_minute_what_a_check_says_of_the_whole_window() {
        let health = Health { refused_tolerated_odds_ratio: None, ..Health::default() };
        let counts = vec![Some(Counts { requests: 20_000, errors: 20 }); 1440];
        let series = Series { counts, ..Series::default() };
        let baselines = Baselines::of(&series, 1, &health);
        for (day, baseline) in [(&series.counts[..], Some(&baselines)), (&[], None)] {
            for fault in [45, 240] {
                let mut rule = Cutover::new(&health, day, baseline);
                let begin = rule.now;
                for minute in minutes(fault) {
                    let rolls_back = rule.see(&minute);
                    let verdict = judge(&health, &rule.evidence, 1, baseline);
                    // Later on, a cutover's state tells what the window does not.
                    if rule.evidence.periods.first().is_some_and(|first| first.start <= begin) {
                        assert_eq!(rule.judge.verdict(&rule.evidence), verdict);
                        assert_eq!(rolls_back, verdict.kind == VerdictKind::Regressed);
                    }
                }
                assert_eq!(rule.evidence.periods.len(), 200, "as many as a check reads");
            }
        }
    }

    #[test]
    fn requests_that_vanish_in_a_step_are_seen() {
        let health = Health { refused_tolerated_odds_ratio: None, ..Health::default() };
        let counts = |requests, errors| Counts { requests, errors };
        let rolls_back = |new: Counts| {
            let mut rule = Cutover::new(&health, &[Some(counts(10_000, 10)); 20], None);
            let minute = Minute { old: counts(9_000, 9), new, share: 0.1 };
            (0..20).any(|_| rule.see(&minute))
        };
        assert!(!rolls_back(counts(1_000, 1)));
        assert!(rolls_back(counts(0, 0)));
    }
}
