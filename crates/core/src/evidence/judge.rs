//! Decides what the evidence says about one route; [`sentence`](super::sentence) words it.

use std::collections::VecDeque;

use crate::evidence::baseline::Baselines;
use crate::evidence::e_process::{EProcess, Test};
use crate::evidence::verdict::{Verdict, VerdictKind};
use crate::evidence::{Counts, Evidence, Latency, Period};
use crate::request::health::Health;

/// Stretches that the hard limit on errors looks at, and how many of them must be over it: one bad
/// period alone never goes back by it. The same of periods for percentiles.
const LOOKED_AT: usize = 3;
pub(super) const OVER: usize = 2;
/// Standard deviations of chance by which stretches must together be over the limit.
const CHANCE: f64 = 2.0;
/// A percentile of the new side is slower when it is over the target and over this multiple of the old
/// side's.
const PERCENTILE_RATIO: f64 = 1.5;
/// The hard limit follows the old side's worst stretch before the ramp up to here: an outage of yesterday
/// must not take the limit away.
const RAISED_LIMIT_MAX: f64 = 0.5;
/// Bounds of [`Verdict::log10_e`].
const LOG10_E_MAX: f64 = 999.0;

/// Judges one route, period by period.
///
/// Against the new side speak:
/// - a named alarm in ALARM, or no healthy target;
/// - the [e-process](crate::EProcess) of failed requests, or of slow ones, at its limit;
/// - an error rate over `error_rate_max` in two of the last three complete periods of at least
///   `requests_min` requests on the new side, together by more than chance, while the old side is not
///   over it. Periods with fewer
///   requests are added up until they have as many, so that a side that fails a little traffic is
///   found as well. The old side excuses the new one only with as many requests, or with a worse
///   stretch [before the ramp](crate::Baseline);
/// - failures that can be put down to neither side, over `error_rate_max` of the requests that both share, in two of
///   the last three such stretches: a limit for both sides together;
/// - where slow requests cannot be counted: a 95th percentile over the target and over 1.5 times the
///   old side's in two of the last three such periods.
///
/// Otherwise it tells whether there was enough to see since the step has settled. A step that is over
/// the limit as a whole is not passed, even if only one period is.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    pub(super) health: &'a Health,
    pub(super) baseline: Option<&'a Baselines>,
    pub(super) errors: EProcess,
    pub(super) slow: Option<EProcess>,
    /// The stretch that is being filled, old and new, and those that were filled last.
    stretch: (Counts, Counts),
    pub(super) stretches: VecDeque<(Counts, Counts)>,
    /// The newest percentiles, old and new, in seconds.
    pub(super) percentiles: VecDeque<(f64, f64)>,
    /// The same of the requests that both sides share.
    shared_stretch: Counts,
    pub(super) shared_stretches: VecDeque<Counts>,
    /// What was counted since the step has settled.
    pub(super) shared: Counts,
    pub(super) old: Counts,
    pub(super) new: Counts,
    /// All requests of the old and of the new side.
    pub(super) seen: (Counts, Counts),
    pub(super) periods: u32,
    /// The period in which the new side got most requests, old and new.
    pub(super) busiest: (u64, u64),
}

/// What speaks against the new side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regression {
    /// The e-process of failed requests.
    Errors,
    /// The e-process of slow requests.
    Slow,
    /// The hard limit of the error rate.
    Limit,
    /// The same limit of the failures that can be put down to neither side.
    SharedLimit,
    /// The percentiles.
    Percentile,
}

/// What decides about the new side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ground {
    /// A named alarm rings.
    Alarm,
    /// It has no healthy target.
    NoHealthyTarget,
    /// What was counted speaks against it.
    Regression(Regression),
    /// It had too few requests since the step has settled.
    TooFewRequests,
    /// It is over the limit of errors, but too seldom or by no more than chance.
    OverTheLimitInDoubt,
    /// Nothing speaks against it.
    Nothing,
}

impl Ground {
    const fn kind(self) -> VerdictKind {
        match self {
            Self::Alarm | Self::NoHealthyTarget | Self::Regression(_) => VerdictKind::Regressed,
            Self::TooFewRequests | Self::OverTheLimitInDoubt => VerdictKind::NotEnoughData,
            Self::Nothing => VerdictKind::Healthy,
        }
    }
}

impl<'a> Judge<'a> {
    /// Begins. `routes`: those of the cutover that are counted apart, which share alpha.
    #[must_use]
    pub fn new(health: &'a Health, routes: u32, baseline: Option<&'a Baselines>) -> Self {
        let test = Test::of(health, routes);
        let slow = baseline.and_then(|baseline| baseline.slow.as_ref());
        Self {
            health,
            baseline,
            errors: EProcess::new(test, baseline.map(|baseline| &baseline.errors)),
            slow: health.counts_slow().then(|| EProcess::new(test, slow)),
            stretch: Default::default(),
            stretches: VecDeque::with_capacity(LOOKED_AT + 1),
            percentiles: VecDeque::with_capacity(LOOKED_AT + 1),
            shared_stretch: Counts::default(),
            shared_stretches: VecDeque::with_capacity(LOOKED_AT + 1),
            shared: Counts::default(),
            old: Counts::default(),
            new: Counts::default(),
            seen: Default::default(),
            periods: 0,
            busiest: (0, 0),
        }
    }

    /// Sees one more period. `of_step`: whether it began after the current step had settled.
    pub fn see(&mut self, period: &Period, of_step: bool) {
        let (old, new) = (period.old.unwrap_or_default(), period.new.unwrap_or_default());
        let shared = period.shared.unwrap_or_default();
        if of_step {
            self.old = self.old + old;
            self.new = self.new + new;
            self.shared = self.shared + shared;
        }
        self.shared_stretch = self.shared_stretch + shared;
        if self.shared_stretch.requests >= self.health.requests_min {
            keep(&mut self.shared_stretches, std::mem::take(&mut self.shared_stretch));
        }
        self.seen = (self.seen.0 + old, self.seen.1 + new);
        self.periods = self.periods.saturating_add(1);
        if new.requests == 0 {
            return;
        }
        self.errors.see(old, new);
        if new.requests > self.busiest.1 {
            self.busiest = (old.requests, new.requests);
        }
        self.stretch = (self.stretch.0 + old, self.stretch.1 + new);
        if self.stretch.1.requests >= self.health.requests_min {
            keep(&mut self.stretches, std::mem::take(&mut self.stretch));
        }
        match (period.latency_old, period.latency_new) {
            (old_slow, Some(Latency::Slow(slow_new))) => {
                let Some(test) = &mut self.slow else { return };
                let of = |counts: Counts, slow: u64| Counts { errors: slow, ..counts };
                match old_slow {
                    Some(Latency::Slow(slow_old)) => test.see(of(old, slow_old), of(new, slow_new)),
                    _ if old.requests == 0 => test.see(old, of(new, slow_new)),
                    // The old side answered, and how slowly is not known: no evidence.
                    _ => {}
                }
            }
            (Some(Latency::Percentile(old_s)), Some(Latency::Percentile(new_s)))
                if new.requests >= self.health.requests_min =>
            {
                keep(&mut self.percentiles, (old_s, new_s));
            }
            _ => {}
        }
    }

    /// What speaks against the new side, of all that was seen.
    #[must_use]
    pub fn regression(&self) -> Option<Regression> {
        if self.errors.is_over() {
            Some(Regression::Errors)
        } else if self.slow.as_ref().is_some_and(EProcess::is_over) {
            Some(Regression::Slow)
        } else if self.is_over_the_limit() {
            Some(Regression::Limit)
        } else if self.is_over_the_shared_limit() {
            Some(Regression::SharedLimit)
        } else if self.slower().count() >= OVER {
            Some(Regression::Percentile)
        } else {
            None
        }
    }

    /// ln of e of failed requests, and of slow ones where they are tested.
    #[must_use]
    pub fn log_e(&self) -> (f64, Option<f64>) {
        (self.errors.log_e(), self.slow.as_ref().map(EProcess::log_e))
    }

    /// ln of what e must reach.
    #[must_use]
    pub fn log_limit(&self) -> f64 {
        self.errors.log_limit()
    }

    /// The limit of the new side's error rate: raised where the old side was over it by itself.
    pub(super) fn error_rate_max(&self) -> f64 {
        let worst = self.baseline.map_or(0.0, |baseline| baseline.errors.worst_rate);
        self.health.error_rate_max.max(worst.min(RAISED_LIMIT_MAX))
    }

    /// Whether the new side is over the limit, and the old side is not known to be.
    fn is_over(&self, old: Counts, new: Counts) -> bool {
        let limit = self.error_rate_max();
        let over = |side: Counts| side.error_rate().is_some_and(|rate| rate > limit);
        over(new) && !(old.requests >= self.health.requests_min && over(old))
    }

    /// The latest stretches that are over the limit, old and new, and how many they are.
    pub(super) fn over_the_limit(&self) -> (Counts, Counts, usize) {
        let over = self.stretches.iter().filter(|(old, new)| self.is_over(*old, *new));
        over.fold(Default::default(), |(old, new, number), stretch| {
            (old + stretch.0, new + stretch.1, number + 1)
        })
    }

    /// Whether enough of the latest stretches are over the limit, together by more than chance.
    fn is_over_the_limit(&self) -> bool {
        let (_, new, number) = self.over_the_limit();
        number >= OVER && is_beyond(self.error_rate_max(), new)
    }

    /// The latest stretches in which what fails on no known side is over the limit, and how many they are.
    pub(super) fn over_the_shared_limit(&self) -> (Counts, usize) {
        let limit = self.health.error_rate_max;
        let over = self.shared_stretches.iter().filter(|s| s.error_rate() > Some(limit));
        over.fold(Default::default(), |(all, number), stretch| (all + *stretch, number + 1))
    }

    fn is_over_the_shared_limit(&self) -> bool {
        let (shared, number) = self.over_the_shared_limit();
        number >= OVER && is_beyond(self.health.error_rate_max, shared)
    }

    /// Whether the newest stretch of the new side is over the limit, regardless of the old side. Before there
    /// is one, what was counted since the step has settled.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let newest = self.stretches.back().map_or(self.new, |(_, new)| *new);
        is_beyond(self.health.error_rate_max, newest)
    }

    pub(super) fn slower(&self) -> impl Iterator<Item = &(f64, f64)> {
        let target_s = self.health.latency_target_s.unwrap_or(f64::INFINITY);
        let slower =
            move |(old_s, new_s): &&(f64, f64)| *new_s > target_s.max(PERCENTILE_RATIO * old_s);
        self.percentiles.iter().filter(slower)
    }

    /// The verdict of all that was seen, with what is known of hosts and alarms now.
    #[must_use]
    pub fn verdict(&self, evidence: &Evidence<'_>) -> Verdict {
        let ground = self.ground(evidence);
        let (errors, slow) = self.log_e();
        let log10_e = errors.max(slow.unwrap_or(f64::NEG_INFINITY)) / std::f64::consts::LN_10;
        let log10_e = (log10_e * 1000.0).round() / 1000.0;
        Verdict {
            kind: ground.kind(),
            old: self.old,
            new: self.new,
            log10_e: Some(log10_e.clamp(-LOG10_E_MAX, LOG10_E_MAX)),
            failing: self.is_failing(),
            reason: self.sentence(ground, evidence),
        }
    }

    /// What decides, the strongest first.
    fn ground(&self, evidence: &Evidence<'_>) -> Ground {
        if !evidence.alarms.is_empty() {
            Ground::Alarm
        } else if evidence.healthy_hosts_new == Some(0) {
            Ground::NoHealthyTarget
        } else if let Some(regression) = self.regression() {
            Ground::Regression(regression)
        } else if self.new.requests < self.health.requests_min {
            Ground::TooFewRequests
        } else if self.is_over(self.old, self.new) {
            Ground::OverTheLimitInDoubt
        } else {
            Ground::Nothing
        }
    }
}

/// Judges one route by all of its evidence: see [`Judge`].
#[must_use]
pub fn judge(
    health: &Health,
    evidence: &Evidence<'_>,
    routes: u32,
    baseline: Option<&Baselines>,
) -> Verdict {
    let mut judge = Judge::new(health, routes, baseline);
    for period in &evidence.periods {
        judge.see(period, evidence.settled_at.is_some_and(|since| period.start >= since));
    }
    judge.verdict(evidence)
}

/// Whether the error rate is over a limit by more than chance.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn is_beyond(limit: f64, counts: Counts) -> bool {
    let allowed = limit * counts.requests as f64;
    counts.errors as f64 > allowed + CHANCE * (allowed * (1.0 - limit)).sqrt()
}

/// Keeps the newest [`LOOKED_AT`].
fn keep<T>(newest: &mut VecDeque<T>, next: T) {
    newest.push_back(next);
    if newest.len() > LOOKED_AT {
        newest.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::evidence::Series;
    use crate::request::health::LatencyBy;
    use crate::words::{e_shown, grouped, percent};

    const HEALTH: fn() -> Health = || Health { requests_min: 100, ..Health::default() };

    #[expect(clippy::unnecessary_wraps, reason = "a side of a period is an Option")]
    fn counts(requests: u64, errors: u64) -> Option<Counts> {
        Some(Counts { requests, errors })
    }

    /// Evidence of periods `(old, new)`, one a minute, all in the current step.
    fn evidence(periods: &[(Option<Counts>, Option<Counts>)]) -> Evidence<'static> {
        let at = |minute: i64| Timestamp::from_second(minute * 60).expect("in range");
        let period = |start, old, new| Period { start, old, new, ..Period::default() };
        let periods = (0..).zip(periods);
        Evidence {
            periods: periods.map(|(i, &(old, new))| period(at(i), old, new)).collect(),
            settled_at: Some(at(0)),
            ..Evidence::default()
        }
    }

    /// The verdict on periods of a cutover of one route without a baseline.
    fn verdict(periods: &[(Option<Counts>, Option<Counts>)]) -> Verdict {
        judge(&HEALTH(), &evidence(periods), 1, None)
    }

    #[test]
    fn two_of_the_last_three_periods_over_the_limit_are_a_regression() {
        use VerdictKind::{Healthy, NotEnoughData, Regressed};
        // The old side has a request now and then: too few to compare with, or to excuse anything.
        let good = (counts(3, 0), counts(1000, 1));
        let bad = (counts(3, 0), counts(1000, 80));
        let half = (counts(1, 0), counts(50, 9));
        let thin = (counts(1, 0), counts(50, 3));
        let none = (None, None);
        let quiet = (counts(900, 1), counts(0, 0));
        let old_silent = (None, counts(1000, 80));
        let old_strays = (counts(3, 3), counts(1000, 400));
        let at_the_limit = (None, counts(1000, 50));
        let shared = (counts(900, 90), counts(100, 14));
        let table: [(&str, &[_], VerdictKind); 13] = [
            ("one bad period", &[good, good, bad], Healthy),
            ("two of three", &[bad, good, bad], Regressed),
            ("two in a row", &[good, bad, bad], Regressed),
            ("two, but long ago", &[bad, bad, good, good], Healthy),
            ("four thin ones are two", &[half, half, none, half, quiet, half], Regressed),
            ("two thin ones are one", &[good, good, half, half], Healthy),
            ("what chance may do", &[thin; 4], NotEnoughData),
            ("a fault that both share", &[shared; 3], Healthy),
            ("nothing left on the old side", &[old_silent; 2], Regressed),
            ("strays on the old side excuse nothing", &[old_strays; 2], Regressed),
            ("the limit itself is allowed", &[at_the_limit; 3], Healthy),
            ("no data at all", &[none, none], NotEnoughData),
            ("no requests at all", &[quiet, quiet], NotEnoughData),
        ];
        for (what, periods, kind) in table {
            assert_eq!(verdict(periods).kind, kind, "{what}: {}", verdict(periods).reason);
        }
        assert!(verdict(&[thin; 4]).reason.ends_with(
            "over the 5 % limit, but by no more than chance; more requests would decide"
        ));
        let once = verdict(&[(None, counts(1000, 80))]);
        assert!(
            once.reason
                .ends_with("over the 5 % limit, but in only one period; a second one would decide")
        );
    }

    #[test]
    fn what_fails_before_a_side_answers_has_a_limit_that_both_share() {
        use VerdictKind::{Healthy, Regressed};
        let fine = (counts(900, 1), counts(100, 0));
        let of = |shared: &[u64]| {
            let mut evidence = evidence(&vec![fine; shared.len()]);
            for (period, errors) in evidence.periods.iter_mut().zip(shared) {
                period.shared = counts(1000, *errors);
            }
            judge(&HEALTH(), &evidence, 1, None)
        };
        let table: [(&str, &[u64], VerdictKind); 5] = [
            ("none", &[0; 5], Healthy),
            ("below the limit", &[49; 5], Healthy),
            ("one bad period", &[0, 0, 900], Healthy),
            ("two of three", &[0, 900, 0, 900], Regressed),
            ("two, but long ago", &[900, 900, 0, 0], Healthy),
        ];
        for (what, shared, kind) in table {
            assert_eq!(of(shared).kind, kind, "{what}: {}", of(shared).reason);
        }
        assert_eq!(
            of(&[900; 2]).reason,
            "90 % of all 2,000 requests failed before a side answered in 2 of the last 2 periods; the limit, which \
             both sides share, is 5 %"
        );
        let reason = of(&[2; 5]).reason;
        let said =
            "; beside them 0.2 % of all 5,000 requests failed before a side answered (limit 5 %)";
        assert!(reason.contains(said), "{reason}");
    }

    #[test]
    fn evidence_against_the_old_side_needs_no_limit() {
        use VerdictKind::{Healthy, NotEnoughData, Regressed};
        let fine = (counts(54_000, 54), counts(6_000, 6));
        let tripled = (counts(54_000, 54), counts(6_000, 18));
        let total_loss = (counts(9000, 9), counts(1000, 1000));
        let shared = (counts(54_000, 27_000), counts(6_000, 3_000));
        let table: [(&str, &[_], VerdictKind); 6] = [
            ("equal sides", &[fine; 60], Healthy),
            ("three times as many, far below the limit", &[tripled; 5], Regressed),
            ("one period in which all fails", &[total_loss], NotEnoughData),
            ("two of them", &[total_loss; 2], Regressed),
            ("half of both sides", &[shared; 10], Healthy),
            (
                "three times as many, after an hour",
                &[&[fine; 60][..], &[tripled; 9]].concat(),
                Regressed,
            ),
        ];
        for (what, periods, kind) in table {
            assert_eq!(verdict(periods).kind, kind, "{what}: {}", verdict(periods).reason);
        }
    }

    #[test]
    fn the_sentence_gives_the_numbers() {
        let bad = (counts(432_880, 433), counts(48_112, 149));
        let verdict = verdict(&[bad, bad]);
        assert_eq!(
            verdict.reason,
            "new 0.31 % of 96,224 requests failed, old 0.1 % of 865,760; odds 3.1 times; e = 100, \
             limit 100"
        );
        assert_eq!(verdict.log10_e, Some(2.0));
        let measured = verdict.measured_share().expect("requests");
        assert!((measured - 0.1).abs() < 0.001);
    }

    #[test]
    fn a_healthy_verdict_says_what_it_could_not_have_seen() {
        let verdict = verdict(&[(counts(5_400, 5), counts(600, 1))]);
        assert_eq!(verdict.kind, VerdictKind::Healthy);
        assert_eq!(
            verdict.reason,
            "new 0.17 % of 600 requests failed, old 0.09 % of 5,400; e = 0.75, limit 100; about \
             16,000 more new-side requests (26 min) are needed to detect a threefold rise"
        );
    }

    /// A day of minutes of a steady service.
    fn a_day() -> Baselines {
        let counts = vec![counts(9000, 9); 1440];
        Baselines::of(&Series { counts, ..Series::default() }, 3, &HEALTH())
    }

    #[test]
    fn with_a_baseline_one_period_that_is_like_nothing_before_decides() {
        let total_loss = [(counts(9000, 9), counts(1000, 1000))];
        let verdict = judge(&HEALTH(), &evidence(&total_loss), 1, Some(&a_day()));
        assert_eq!(verdict.kind, VerdictKind::Regressed, "{}", verdict.reason);
        let both = [(counts(9000, 9000), counts(1000, 1000))];
        let verdict = judge(&HEALTH(), &evidence(&both), 1, Some(&a_day()));
        assert_ne!(verdict.kind, VerdictKind::Regressed, "both sides fail: {}", verdict.reason);
        let fine = (counts(54_000, 54), counts(6_000, 6));
        let alone = [fine, fine, (None, counts(1000, 300))];
        let verdict = judge(&HEALTH(), &evidence(&alone), 1, Some(&a_day()));
        assert_eq!(verdict.kind, VerdictKind::Regressed, "at 100 %: {}", verdict.reason);
        assert!(
            verdict.reason.starts_with(
                "new 30 % of 1,000 requests failed, old had no request in one period; the old side's worst of \
                 the day before was 0.1"
            ),
            "{}",
            verdict.reason
        );
    }

    #[test]
    fn slow_requests_are_tested_like_failed_ones_where_they_are_counted() {
        let health = Health { latency_target_s: Some(0.5), ..HEALTH() };
        let mut seen = evidence(&[(counts(9000, 9), counts(1000, 1)); 3]);
        for period in &mut seen.periods {
            period.latency_old = Some(Latency::Slow(90));
            period.latency_new = Some(Latency::Slow(60));
        }
        let verdict = judge(&health, &seen, 1, None);
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        assert!(
            verdict
                .reason
                .starts_with("new 6 % of 3,000 requests took over 0.5 s, old 1 % of 27,000"),
            "{}",
            verdict.reason
        );
        for period in &mut seen.periods {
            period.latency_new = Some(Latency::Slow(10));
        }
        let verdict = judge(&health, &seen, 1, None);
        assert_eq!(verdict.kind, VerdictKind::Healthy);
        assert!(verdict.reason.contains("of slow requests e = "), "{}", verdict.reason);
        for period in &mut seen.periods {
            period.latency_old = None;
            period.latency_new = Some(Latency::Slow(1000));
        }
        let day = Baselines { slow: Some(a_day().errors), ..a_day() };
        let verdict = judge(&health, &seen, 1, Some(&day));
        assert_eq!(verdict.kind, VerdictKind::Healthy, "how slow the old side is is not known");
        let blind = Health { latency_target_s: None, ..HEALTH() };
        assert!(!judge(&blind, &seen, 1, None).reason.contains("slow"));
    }

    #[test]
    fn percentiles_count_in_two_of_the_last_three_periods() {
        let health =
            Health { latency_target_s: Some(0.5), latency_by: LatencyBy::Percentile, ..HEALTH() };
        let kind = |percentiles: &[(f64, f64)]| {
            let mut seen = evidence(&vec![(counts(900, 0), counts(100, 0)); percentiles.len()]);
            for (period, (old_s, new_s)) in seen.periods.iter_mut().zip(percentiles) {
                period.latency_old = Some(Latency::Percentile(*old_s));
                period.latency_new = Some(Latency::Percentile(*new_s));
            }
            judge(&health, &seen, 1, None).kind
        };
        let (fine, slow, both) = ((0.2, 0.2), (0.2, 0.9), (0.8, 0.9));
        assert_eq!(kind(&[fine, fine, slow]), VerdictKind::Healthy);
        assert_eq!(kind(&[slow, fine, slow]), VerdictKind::Regressed);
        assert_eq!(kind(&[both, both, both]), VerdictKind::Healthy);
        assert_eq!(kind(&[(0.1, 0.4), (0.1, 0.4)]), VerdictKind::Healthy, "below the target");
        assert_eq!(kind(&[slow, slow, fine, fine]), VerdictKind::Healthy, "long ago");
    }

    #[test]
    fn a_side_that_gets_more_than_it_is_prepared_for_is_warned_about() {
        let lump = [(counts(6_000, 0), counts(6_000, 0)), (counts(10_800, 0), counts(1_200, 0))];
        let seen = Evidence { healthy_hosts_new: Some(2), ..evidence(&lump) };
        let warned = |health: &Health, baseline: Option<&Baselines>| {
            judge(health, &seen, 1, baseline)
                .reason
                .split_once("; warning: ")
                .map(|(_, w)| w.to_owned())
        };
        assert_eq!(warned(&HEALTH(), None), None, "without a measure");
        let limited = Health { requests_per_host_max: Some(40.0), ..HEALTH() };
        assert_eq!(
            warned(&limited, None).as_deref(),
            Some(
                "the new side got 50 % of the requests in one period, 50.0 a second and healthy host; \
                 40.0 is requests_per_host_max"
            )
        );
        let day = |hosts| Baselines { hosts, ..a_day() };
        assert_eq!(warned(&HEALTH(), Some(&day(3))), None, "a third of 200 is more than 50");
        assert!(warned(&HEALTH(), Some(&day(5))).is_some(), "a fifth is less");
    }

    #[test]
    fn an_old_side_that_was_scaled_down_is_warned_about() {
        let warning = |has: Option<u32>, missing: bool, had: u32| {
            let seen = Evidence {
                healthy_hosts_old: has,
                hosts_are_missing_old: missing,
                ..evidence(&[(counts(900, 0), counts(900, 0)); 3])
            };
            let baseline = Baselines { hosts: had, ..a_day() };
            let verdict = judge(&HEALTH(), &seen, 1, Some(&baseline));
            assert_eq!(verdict.kind, VerdictKind::Healthy, "it says nothing of the new side");
            verdict.reason.split_once("; warning: ").map(|(_, warning)| warning.to_owned())
        };
        assert_eq!(
            warning(Some(1), false, 20).as_deref(),
            Some("the old side has 1 of the 20 hosts it had: going back would overload it")
        );
        assert!(warning(Some(0), false, 20).is_some());
        assert!(warning(Some(9), false, 20).is_some());
        assert_eq!(warning(Some(10), false, 20), None, "each host would get twice as much at most");
        assert_eq!(
            warning(None, true, 20).as_deref(),
            Some(
                "nothing is known of the 20 hosts that the old side had: it may have none to go back to"
            )
        );
        assert_eq!(warning(None, false, 20), None, "not asked yet");
        assert_eq!(warning(Some(0), false, 0), None, "it never had any");
    }

    #[test]
    fn a_new_side_fails_as_long_as_its_newest_requests_do() {
        let failing = |periods: &[(Option<Counts>, Option<Counts>)]| verdict(periods).failing;
        let fine = (counts(900, 0), counts(100, 5));
        let both = (counts(900, 360), counts(100, 40));
        let chance = (counts(900, 0), counts(100, 9));
        assert!(!failing(&[]));
        assert!(!failing(&[fine, fine]));
        assert!(!failing(&[fine, chance]), "9 of 100 may be chance");
        assert!(failing(&[fine, both]), "whatever the old side does");
        assert!(failing(&[fine, (None, counts(100, 40))]));
        assert!(!failing(&[both, both, fine]), "a burst that is over");
        let thin = (counts(900, 0), counts(50, 25));
        assert!(failing(&[thin]), "fewer requests than a stretch has");
        assert!(failing(&[fine, thin, thin]), "thin periods are added up");
        assert!(!failing(&[fine, thin]), "the newest full stretch");
        assert!(!failing(&[fine, both, (None, None), (counts(9, 0), counts(100, 0))]));
        let json = |failing| {
            let verdict = Verdict { failing, ..verdict(&[fine]) };
            serde_json::to_string(&verdict).expect("JSON").contains("failing")
        };
        assert!(json(true) && !json(false), "250 of them travel");
        let seen = Evidence { settled_at: None, ..evidence(&[thin]) };
        assert!(
            !judge(&HEALTH(), &seen, 1, None).failing,
            "nothing was counted since the step settled"
        );
    }

    #[test]
    fn an_alarm_or_no_healthy_target_need_no_requests() {
        let alarms = ["error-budget".to_owned(), "latency".to_owned()];
        let of = |seen: &Evidence<'_>| judge(&HEALTH(), seen, 1, None);
        let verdict = of(&Evidence { alarms: &alarms, ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        assert_eq!(verdict.reason, "alarm error-budget and 1 more is in ALARM");
        let verdict = of(&Evidence { healthy_hosts_new: Some(0), ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        let verdict = of(&Evidence { healthy_hosts_new: Some(1), ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::NotEnoughData);
    }

    #[test]
    fn requests_from_before_the_step_settled_are_not_counted_as_data_of_it() {
        let mut seen =
            evidence(&[(counts(900, 0), counts(100, 0)), (counts(90, 0), counts(10, 0))]);
        let of = |seen: &Evidence<'_>| judge(&HEALTH(), seen, 1, None);
        assert_eq!(of(&seen).kind, VerdictKind::Healthy);
        seen.settled_at = None;
        assert_eq!(of(&seen).kind, VerdictKind::NotEnoughData);
        seen.settled_at = Some(seen.periods[1].start);
        let verdict = of(&seen);
        assert_eq!(verdict.kind, VerdictKind::NotEnoughData);
        assert!(verdict.reason.starts_with("10 of the 100 requests needed"), "{}", verdict.reason);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(percent(0.0031), "0.31 %");
        assert_eq!(percent(0.5), "50 %");
        assert_eq!(percent(0.0), "0 %");
        let e = [0.001_f64, 0.05, 1.0, 9.99, 240.4, 3.2e7].map(|e| e_shown(e.ln()));
        assert_eq!(e, ["0.00", "0.05", "1", "9.99", "240", "10^7"]);
    }
}
