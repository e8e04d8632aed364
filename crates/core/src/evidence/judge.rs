//! Decides what the evidence says about one route; [`sentence`](super::sentence) words it.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::evidence::arrival::{Arrival, Missing};
use crate::evidence::baseline::{Baseline, Baselines};
use crate::evidence::e_process::{CATASTROPHE, EProcess, Known, Test, counted_late, is_beside};
use crate::evidence::signal::{Signal, SignalKind};
use crate::evidence::stretches::{OVER, Stretch, Stretches, is_beyond, keep};
use crate::evidence::verdict::{SignalSeen, Verdict, VerdictKind};
use crate::evidence::{Counts, Evidence, Pair, Period};
use crate::limits::CLOUDWATCH;
use crate::request::health::Health;

/// A percentile of the new side is slower when it is over the target and over this multiple of the old
/// side's.
const PERCENTILE_RATIO: f64 = 1.5;
/// Periods after a step has settled in which a fault of both sides may come from the move.
const OF_THE_MOVE_PERIODS: i64 = 5;
/// What was seen lately is the last tenth of the step, …
const LATELY_PART: usize = 10;
/// … but this many periods at least.
const LATELY_PERIODS_MIN: usize = 5;
/// In it must be this part of `requests_min`: half of what an even flow of them has there.
const LATELY_REQUESTS_PART: u64 = 20;
/// What others count is missing on the new side when its share of the requests leaves this chance of none at most.
const CHANCE_OF_NONE: f64 = 1e-6;
/// A share of more than this is not believed: a job that only the old side does is no request that moves, …
const SHARE_MAX: f64 = 0.99;
/// … and less than this many of the old side's counts say nothing.
const OLD_COUNTS_MIN: u64 = 20;
/// Bounds of [`Verdict::log10_e`].
const LOG10_E_MAX: f64 = 999.0;

/// Judges one route, period by period.
///
/// Against the new side speak:
/// - a named alarm in ALARM, or no healthy target;
/// - the [e-process](crate::EProcess) of a [signal](Signal) at its limit;
/// - the same of its rate being over its limit, and over the tolerated multiple of the old side's;
/// - a catastrophe of both sides since a step of the ramp, as there was none in the day before: the move may be the cause;
/// - failures that can be put down to neither side, over the limit of the requests that both share, in two of
///   the last three such stretches;
/// - where slow requests cannot be counted: a 95th percentile over the target and over 1.5 times the
///   old side's in two of the last three such periods;
/// - requests that [vanish](Missing::Vanished) on their way to it.
///
/// Otherwise it tells whether there was enough to see since the step has settled, and lately. A step at which the new side
/// is over the limit is not passed, whatever excuses it, nor one at which others count nothing of it.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    pub(super) health: &'a Health,
    pub(super) baseline: Option<&'a Baselines>,
    /// The signals, failed requests first.
    pub(super) tested: Vec<Tested<'a>>,
    pub(super) percentiles: Percentiles,
    /// What fails, and what is refused, on no known side.
    pub(super) shared: [Shared; 2],
    /// Requests of the old and of the new side in each period since the step has settled, of as many as a check reads.
    requests: VecDeque<[u64; 2]>,
    pub(super) periods: u32,
    /// The period in which the new side got most requests, old and new.
    pub(super) busiest: (u64, u64),
}

/// A signal under test.
#[derive(Clone, Debug)]
pub(super) struct Tested<'a> {
    pub(super) signal: Signal,
    pub(super) baseline: Option<&'a Baseline>,
    pub(super) process: EProcess,
    pub(super) stretches: Stretches,
    /// What both sides counted since the step has settled.
    pub(super) of_step: [Counts; 2],
    /// And since the ramp began.
    pub(super) seen: [Counts; 2],
    /// When the new side's newest period ended, and what it counted.
    before: Option<(Timestamp, Counts)>,
}

/// The newest percentiles, old and new, in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Percentiles {
    pub(super) latest: VecDeque<(f64, f64)>,
    /// The highest of the old side.
    old_max: f64,
    /// Requests of thin periods, and their percentiles times them.
    filling: (f64, f64, f64),
}

/// Requests that both sides share, and the bad ones among them that can be put down to neither.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) signal: Signal,
    pub(super) stretches: Stretches,
    /// What was counted since the step has settled.
    pub(super) of_step: Counts,
}

/// What speaks against the new side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regression {
    /// The e-process of a signal, by its place in [`Health::signals`].
    Tested(usize),
    /// The limit of a signal.
    Limit(usize),
    /// The limit of failed requests that can be put down to neither side.
    SharedLimit(usize),
    /// The percentiles.
    Percentile,
}

/// What decides about the new side.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ground {
    /// A named alarm rings.
    Alarm,
    /// It has no healthy target.
    NoHealthyTarget,
    /// What was counted speaks against it.
    Regression(Regression),
    /// Both sides have been over the limit of a signal since the move.
    BothSinceTheMove(usize, Stretch),
    /// Requests are missing.
    Missing(Arrival),
    /// It had too few requests since the step has settled.
    TooFewRequests,
    /// It had enough, but hardly any lately: requests, and periods.
    NotLately(u64, usize),
    /// The latest stretch is over the limit, but something excuses it.
    OverTheLimit(usize),
    /// It is over the limit of errors, but too seldom or by no more than chance.
    OverTheLimitInDoubt,
    /// What others count of the old side, they do not count of it at all.
    NotCounted(usize),
    /// Nothing speaks against it, but nobody knows whether the alarms ring.
    AlarmsUnread,
    /// Nothing speaks against it.
    Nothing,
}

impl Ground {
    const fn kind(&self) -> VerdictKind {
        match self {
            Self::Alarm
            | Self::NoHealthyTarget
            | Self::Regression(_)
            | Self::BothSinceTheMove(..)
            | Self::Missing(Arrival { missing: Missing::Vanished, .. }) => VerdictKind::Regressed,
            Self::Missing(_)
            | Self::TooFewRequests
            | Self::NotLately(..)
            | Self::OverTheLimit(_)
            | Self::OverTheLimitInDoubt
            | Self::NotCounted(_)
            | Self::AlarmsUnread => VerdictKind::NotEnoughData,
            Self::Nothing => VerdictKind::Healthy,
        }
    }
}

impl<'a> Tested<'a> {
    fn new(
        health: &Health,
        (signal, test): (Signal, Test),
        is_first: bool,
        baselines: Option<&'a Baselines>,
    ) -> Self {
        let baseline = baselines.and_then(|baselines| baselines.of_signal(&signal));
        let usual_rate = baseline.map_or(0.0, |baseline| baseline.usual_rate);
        let limit = health.limit(&signal, is_first, usual_rate);
        Self {
            process: EProcess::new(test, limit, baseline),
            stretches: Stretches::new(health.requests_min, limit),
            of_step: Default::default(),
            seen: Default::default(),
            before: None,
            signal,
            baseline,
        }
    }

    /// Sees one more period, which ends at `end`. `is_known`: whether the old side's count is known, if it had requests.
    fn see(
        &mut self,
        counted: Pair,
        is_known: bool,
        (period, end): (&Period, Timestamp),
        of_step: bool,
    ) {
        let (old, new) = (counted.old.unwrap_or_default(), counted.new.unwrap_or_default());
        let add = |to: &mut [Counts; 2]| *to = [to[0] + old, to[1] + new];
        if of_step {
            add(&mut self.of_step);
        }
        add(&mut self.seen);
        if new.requests == 0 {
            return;
        }
        let Period { start, is_warming, is_full, .. } = *period;
        let (usual_rate, is_uncounted) = (self.usual_rate(), !is_known);
        let before = self.before.replace((end, new));
        let adjacent = before.filter(|(end, _)| *end == start);
        let is_apart = before.is_some() && adjacent.is_none();
        let known = Known { usual_rate, is_warming, is_full, is_uncounted, is_apart };
        self.process.see_beside(old, new, known);
        let new = adjacent.map_or(new, |(_, before)| counted_late(before, new));
        let is_beside = is_beside(old, new, is_full);
        self.stretches.add(Stretch { start, old, new, is_beside });
    }

    /// The rate that the tolerated multiple is of, beside the old side's of the same period: for refused requests, that
    /// of the day, or of both sides since the ramp began.
    fn usual_rate(&self) -> Option<f64> {
        let of_ramp = || (self.seen[0] + self.seen[1]).error_rate();
        match self.signal.kind {
            SignalKind::Refused => {
                let day = self.baseline.filter(|day| day.stretches > 0);
                day.map(|day| day.usual_rate).or_else(of_ramp)
            }
            SignalKind::Failed | SignalKind::Slow { .. } | SignalKind::Own { .. } => None,
        }
    }

    /// Whether the newest stretch of the new side is over the limit, regardless of the old side. Before there
    /// is one, what was counted since the step has settled.
    /// A side that has always failed that much fails all the same.
    fn is_failing(&self, error_rate_max: f64) -> bool {
        let newest = self.stretches.newest().map_or(self.of_step[1], |stretch| stretch.new);
        let limit = match self.signal.kind {
            SignalKind::Failed => error_rate_max,
            SignalKind::Refused | SignalKind::Slow { .. } | SignalKind::Own { .. } => {
                self.stretches.limit()
            }
        };
        is_beyond(limit, newest)
    }
}

impl Percentiles {
    /// Sees one more period: those with few requests are put together, weighed by them.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn see(&mut self, [old_s, new_s]: [Option<f64>; 2], requests: [u64; 2], requests_min: u64) {
        self.old_max = self.old_max.max(old_s.unwrap_or(0.0));
        let [requests_old, requests_new] = requests.map(|side| side as f64);
        // Without requests on the old side, its worst is what there is; where it has some, it must be known.
        let usual_s = (requests_old <= 0.0).then_some(self.old_max);
        let (Some(old_s), Some(new_s)) = (old_s.or(usual_s), new_s) else { return };
        let (requests, old, new) = self.filling;
        self.filling =
            (requests + requests_new, old + old_s * requests_new, new + new_s * requests_new);
        let (requests, old, new) = self.filling;
        if requests >= requests_min as f64 && requests > 0.0 {
            keep(&mut self.latest, (old / requests, new / requests));
            self.filling = Default::default();
        }
    }
}

impl Shared {
    fn new(health: &Health, kind: SignalKind) -> Self {
        let signal = Signal { kind, tolerated_odds_ratio: health.tolerated_odds_ratio };
        let limit = health.limit(&signal, false, 0.0);
        let stretches = Stretches::new(health.requests_min, limit);
        Self { signal, stretches, of_step: Counts::default() }
    }

    fn see(&mut self, counted: Option<Counts>, start: Timestamp, of_step: bool) {
        let new = counted.unwrap_or_default();
        if of_step {
            self.of_step = self.of_step + new;
        }
        self.stretches.add(Stretch { start, new, ..Stretch::default() });
    }
}

impl<'a> Judge<'a> {
    /// Begins. `routes`: those of the cutover that are counted apart, which share alpha.
    #[must_use]
    pub fn new(health: &'a Health, routes: u32, baseline: Option<&'a Baselines>) -> Self {
        Self::of(health, routes, baseline, false)
    }

    /// Begins. `own_alone`: what others count is all that there is.
    fn of(
        health: &'a Health,
        routes: u32,
        baseline: Option<&'a Baselines>,
        own_alone: bool,
    ) -> Self {
        let signals = health.signals();
        let tests = Test::of(health, &signals, routes);
        let tested = signals.into_iter().zip(tests);
        let tested = tested.filter(|(signal, _)| !own_alone || signal.is_own());
        let tested =
            tested.enumerate().map(|(index, of)| Tested::new(health, of, index == 0, baseline));
        Self {
            health,
            baseline,
            tested: tested.collect(),
            percentiles: Percentiles::default(),
            shared: [SignalKind::Failed, SignalKind::Refused].map(|kind| Shared::new(health, kind)),
            requests: VecDeque::new(),
            periods: 0,
            busiest: (0, 0),
        }
    }

    /// Adds what was counted of failed requests since the step has settled, before the first period that is seen.
    pub fn resume(&mut self, before: [Counts; 2]) {
        if let Some(failed) = self.tested.first_mut() {
            failed.of_step = before;
        }
    }

    /// A next step begins: nothing of it has been counted. What was seen still speaks against the new side.
    pub fn begin_step(&mut self) {
        self.requests.clear();
        for tested in &mut self.tested {
            tested.of_step = Default::default();
        }
        for shared in &mut self.shared {
            shared.of_step = Counts::default();
        }
    }

    /// Sees one more period. `of_step`: whether it began after the current step had settled.
    pub fn see(&mut self, period: &Period, of_step: bool) {
        if period.is_gap {
            return;
        }
        let [old, new] = period.requests();
        self.periods = self.periods.saturating_add(1);
        if of_step {
            self.requests.push_back([old, new]);
            if self.requests.len() > CLOUDWATCH.periods_per_check as usize {
                self.requests.pop_front();
            }
        }
        let period_s = SignedDuration::from_secs(i64::from(self.health.period_s));
        let end = period.start.checked_add(period_s).unwrap_or(Timestamp::MAX);
        let shared = [period.shared, period.shared_refused];
        for (shared, counted) in self.shared.iter_mut().zip(shared) {
            shared.see(counted, period.start, of_step);
        }
        for (index, tested) in self.tested.iter_mut().enumerate() {
            let counted = period.signal(index);
            // What others count may come without any request of the old side.
            let is_known = tested.signal.is_own() || counted.old.is_some() || old == 0;
            tested.see(counted, is_known, (period, end), of_step);
        }
        if new > 0 {
            self.percentiles.see(period.percentiles, [old, new], self.health.requests_min);
            if new > self.busiest.1 {
                self.busiest = (old, new);
            }
        }
    }

    /// What speaks against the new side, of all that was seen.
    #[must_use]
    pub fn regression(&self) -> Option<Regression> {
        let place = |found: Option<usize>, of: fn(usize) -> Regression| found.map(of);
        let by_test = self.tested.iter().position(|tested| tested.process.is_over());
        let by_limit = |tested: &Tested<'_>| tested.process.is_over_limit();
        let by_limit = self.tested.iter().position(by_limit);
        // What is refused before a side is chosen tells nothing of the move: anybody may ask for what nobody has.
        let by_shared = |shared: &Shared| {
            shared.signal.kind == SignalKind::Failed && shared.stretches.is_over()
        };
        let by_shared = self.shared.iter().position(by_shared);
        place(by_test, Regression::Tested)
            .or(place(by_limit, Regression::Limit))
            .or(place(by_shared, Regression::SharedLimit))
            .or_else(|| (self.slower().count() >= OVER).then_some(Regression::Percentile))
    }

    /// ln of e of the signal that speaks most against the new side.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let all = self.tested.iter().map(|tested| tested.process.log_e());
        all.fold(f64::NEG_INFINITY, f64::max)
    }

    /// ln of what e must reach, the same for every signal.
    #[must_use]
    pub fn log_limit(&self) -> f64 {
        self.tested.first().map_or(f64::INFINITY, |tested| tested.process.log_limit())
    }

    /// Requests of both sides since the step has settled, and those of them that failed.
    pub(super) fn of_step(&self) -> [Counts; 2] {
        self.tested.first().map_or_else(Default::default, |failed| failed.of_step)
    }

    /// The first signal of which the newest stretch of the new side is over the limit, regardless of the old side.
    fn failing(&self) -> Option<usize> {
        let limit = self.health.error_rate_max;
        self.tested.iter().position(|tested| tested.is_failing(limit))
    }

    pub(super) fn slower(&self) -> impl Iterator<Item = &(f64, f64)> {
        let target_s = self.health.latency_target_s.unwrap_or(f64::INFINITY);
        let slower =
            move |(old_s, new_s): &&(f64, f64)| *new_s > target_s.max(PERCENTILE_RATIO * old_s);
        self.percentiles.latest.iter().filter(slower)
    }

    /// Requests of both sides in the newest of the periods since the step has settled.
    fn newest(&self, periods: usize) -> [u64; 2] {
        let newest = self.requests.iter().rev().take(periods);
        newest.fold([0, 0], |[a, b], [old, new]| [a.saturating_add(*old), b.saturating_add(*new)])
    }

    /// Requests of the new side in the latest periods of the step, and how many these are, when they are too few to
    /// tell how it does now.
    fn too_few_lately(&self) -> Option<(u64, usize)> {
        let (periods, enough) = enough_lately(self.requests.len(), self.health.requests_min);
        let [_, requests] = self.newest(periods);
        (requests < enough && self.requests.len() >= periods).then_some((requests, periods))
    }

    /// The share of the requests that the old side gets lately, 0–1; `None` without requests.
    #[must_use]
    pub fn old_share(&self) -> Option<f64> {
        let [old, new] = self.newest(LATELY_PERIODS_MIN);
        Counts { requests: old.saturating_add(new), errors: old }.error_rate()
    }

    /// The first signal of which others have counted nothing on the new side since the step has settled, and so much on the
    /// old one that it must be missing.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn not_counted(&self) -> Option<usize> {
        let [old, new] = self.of_step().map(|side| side.requests);
        let all = Counts { requests: old.saturating_add(new), errors: new };
        let log_none = (-all.error_rate()?.min(SHARE_MAX)).ln_1p();
        self.tested.iter().position(|tested| {
            let [old, new] = tested.of_step.map(|side| side.requests);
            let is_none = old >= OLD_COUNTS_MIN && old as f64 * log_none < CHANCE_OF_NONE.ln();
            tested.signal.is_own() && new == 0 && is_none
        })
    }

    /// A catastrophe of both sides, over the limit of a signal since the move, which the day before had nothing like. What is
    /// less may be any incident that passes: the step is held meanwhile.
    fn both_since_the_move(&self, evidence: &Evidence<'_>) -> Option<(usize, Stretch)> {
        let (sent, settled_at) = (evidence.sent?, evidence.settled_at?);
        let after_s = OF_THE_MOVE_PERIODS * i64::from(self.health.period_s);
        let of_the_move = |since: Timestamp| {
            since >= sent.since && since.as_second() < settled_at.as_second() + after_s
        };
        let knew_none = |tested: &Tested<'_>| {
            let limit = tested.stretches.limit();
            tested.baseline.is_some_and(|day| day.knows_bursts() && day.worst_rate <= limit)
        };
        let is_catastrophe = |both: &Stretch| {
            [both.old, both.new].iter().all(|side| side.error_rate() >= Some(CATASTROPHE))
        };
        self.tested.iter().enumerate().find_map(|(index, tested)| {
            let (since, both) = tested.stretches.both_over()?;
            let is_of_the_move = knew_none(tested) && of_the_move(since);
            (is_of_the_move && is_catastrophe(&both)).then_some((index, both))
        })
    }

    /// The verdict of all that was seen, with what is known of hosts and alarms now.
    #[must_use]
    pub fn verdict(&self, evidence: &Evidence<'_>) -> Verdict {
        let ground = self.ground(evidence);
        let log10_e = self.log_e() / std::f64::consts::LN_10;
        let log10_e = (log10_e * 1000.0).round() / 1000.0;
        let [old, new] = self.of_step();
        let signals = self.tested.iter().map(|tested| {
            let [old, new] = tested.of_step;
            SignalSeen { name: tested.signal.name().to_owned(), old, new }
        });
        Verdict {
            kind: ground.kind(),
            old,
            new,
            log10_e: Some(log10_e.clamp(-LOG10_E_MAX, LOG10_E_MAX)),
            failing: self.failing().is_some(),
            beside: self.tested.iter().map(|tested| tested.process.beside()).collect(),
            signals: signals.collect(),
            connections: evidence.connections(),
            old_share: self.old_share(),
            reason: self.sentence(&ground, evidence),
        }
    }

    /// What decides, the strongest first.
    fn ground(&self, evidence: &Evidence<'_>) -> Ground {
        let arrival = self.arrival(evidence);
        let (vanished, unsent): (Option<Arrival>, Option<Arrival>) = match arrival {
            Some(Arrival { missing: Missing::Vanished, .. }) => (arrival, None),
            Some(Arrival { missing: Missing::NotSent, .. }) => (None, arrival),
            _ => (None, None),
        };
        let [old, new] = self.of_step();
        let whole = Stretch { old, new, ..Stretch::default() };
        if evidence.alarms.is_some_and(|alarms| !alarms.ringing.is_empty()) {
            Ground::Alarm
        } else if evidence.healthy_hosts_new == Some(0) {
            Ground::NoHealthyTarget
        } else if let Some(regression) = self.regression() {
            Ground::Regression(regression)
        } else if let Some((signal, both)) = self.both_since_the_move(evidence) {
            Ground::BothSinceTheMove(signal, both)
        } else if let Some(arrival) = vanished {
            Ground::Missing(arrival)
        } else if new.requests < self.health.requests_min {
            Ground::TooFewRequests
        } else if let Some((requests, periods)) = self.too_few_lately() {
            Ground::NotLately(requests, periods)
        } else if let Some(arrival) = unsent {
            Ground::Missing(arrival)
        } else if let Some(signal) = self.failing() {
            Ground::OverTheLimit(signal)
        } else if self.is_over_as_a_whole(&whole, evidence) {
            Ground::OverTheLimitInDoubt
        } else if let Some(signal) = self.not_counted() {
            Ground::NotCounted(signal)
        } else if evidence.alarms.is_some_and(|alarms| alarms.unread.is_some()) {
            Ground::AlarmsUnread
        } else {
            Ground::Nothing
        }
    }

    pub(super) fn arrival(&self, evidence: &Evidence<'_>) -> Option<Arrival> {
        let (sent, settled_at) = (evidence.sent?, evidence.settled_at?);
        Arrival::of(&evidence.periods, settled_at, &sent, self.health.period_s)
    }

    /// Whether all requests of the step together are over the limit of failed ones, and over what is tolerated beside the
    /// old side.
    fn is_over_as_a_whole(&self, whole: &Stretch, evidence: &Evidence<'_>) -> bool {
        self.tested.first().is_some_and(|failed| {
            let limit = failed.stretches.limit();
            let tolerates = failed.process.tolerates(whole.old, whole.new, evidence.is_full());
            whole.new.error_rate() > Some(limit) && !tolerates
        })
    }
}

/// How many of a step's periods are recent, and the requests that the new side needs in them.
pub(crate) fn enough_lately(periods: usize, requests_min: u64) -> (usize, u64) {
    let enough = (requests_min / LATELY_REQUESTS_PART).max(1);
    ((periods / LATELY_PART).max(LATELY_PERIODS_MIN), enough)
}

/// Judges one route by all of its evidence: see [`Judge`].
#[must_use]
pub fn judge(
    health: &Health,
    evidence: &Evidence<'_>,
    routes: u32,
    baseline: Option<&Baselines>,
) -> Verdict {
    let mut judge = Judge::of(health, routes, baseline, evidence.own_alone);
    judge.resume(evidence.before);
    for period in evidence.periods.iter().filter(|period| evidence.is_of_the_ramp(period)) {
        judge.see(period, evidence.settled_at.is_some_and(|since| period.start >= since));
    }
    judge.verdict(evidence)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evidence::arrival::Sent;
    use crate::evidence::{AlarmsSeen, Series};
    use crate::request::health::{LatencyBy, OwnMetric, OwnSignal};
    use crate::router::lumps::Lumps;
    use crate::words::{e_shown, grouped, percent};

    #[test]
    fn a_step_that_begins_is_judged_as_if_all_were_read_anew() {
        let (health, mut all) = (HEALTH(), evidence(&[(counts(9_000, 9), counts(1_000, 30)); 12]));
        let mut judge = Judge::new(&health, 1, None);
        for (minute, period) in all.periods.iter().enumerate() {
            if minute == 7 {
                judge.begin_step();
            }
            judge.see(period, !(5..7).contains(&minute));
        }
        all.settled_at = all.periods.get(7).map(|period| period.start);
        assert_eq!(judge.verdict(&all), super::judge(&health, &all, 1, None));
    }

    const HEALTH: fn() -> Health =
        || Health { requests_min: 100, refused_tolerated_odds_ratio: None, ..Health::default() };

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
    fn periods_over_the_limit_add_up() {
        use VerdictKind::{Healthy, NotEnoughData, Regressed};
        // The old side has a request now and then: too few to compare with, or to excuse anything.
        let good = (counts(3, 0), counts(1000, 1));
        let bad = (counts(3, 0), counts(1000, 80));
        let half = (counts(0, 0), counts(50, 9));
        let thin = (counts(0, 0), counts(50, 3));
        let none = (None, None);
        let quiet = (counts(900, 1), counts(0, 0));
        let old_silent = (None, counts(1000, 80));
        let old_strays = (counts(3, 3), counts(1000, 400));
        let at_the_limit = (None, counts(1000, 50));
        let shared = (counts(900, 90), counts(100, 14));
        let table: [(&str, &[_], VerdictKind); 15] = [
            ("one bad period", &[good, good, bad], NotEnoughData),
            ("two of three", &[bad, good, bad], NotEnoughData),
            ("four of seven", &[bad, good, bad, good, bad, good, bad], Regressed),
            ("two in a row", &[bad, bad], Regressed),
            ("three in a row after a good one", &[good, bad, bad, bad], Regressed),
            ("two, but long ago", &[bad, bad, good, good], Healthy),
            ("four thin ones are two", &[half, half, none, half, quiet, half], Regressed),
            ("two thin ones are one", &[good, good, half, half], NotEnoughData),
            ("what chance may do", &[thin; 4], NotEnoughData),
            ("a fault that both share", &[shared; 3], NotEnoughData),
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
            ("three times as many, far below the limit", &[tripled; 8], Regressed),
            ("one period in which all fails", &[total_loss], NotEnoughData),
            ("two of them", &[total_loss; 2], Regressed),
            ("half of both sides", &[shared; 10], NotEnoughData),
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
        let verdict = judge(&HEALTH(), &evidence(&[bad, bad]), 1, Some(&a_day()));
        assert_eq!(
            verdict.reason,
            "new 0.31 % of 96,224 requests failed, old 0.1 % of 865,760; odds 3.1 times; e = 316, \
             limit 100"
        );
        assert_eq!(verdict.log10_e, Some(2.5));
        let measured = verdict.measured_share().expect("requests");
        assert!((measured - 0.1).abs() < 0.001);
    }

    #[test]
    fn a_healthy_verdict_says_what_it_could_not_have_seen() {
        let verdict = verdict(&[(counts(5_400, 5), counts(600, 1))]);
        assert_eq!(verdict.kind, VerdictKind::Healthy);
        assert_eq!(
            verdict.reason,
            "new 0.17 % of 600 requests failed, old 0.09 % of 5,400; e = 0.8, limit 100; latency \
             not judged; about 15,000 more new-side requests (25 min) are needed to detect a threefold rise"
        );
    }

    /// A day of minutes of a steady service.
    fn a_day() -> Baselines {
        let counts = vec![counts(9000, 9); 1440];
        Baselines::of(&Series { counts, ..Series::default() }, 3, &HEALTH())
    }

    #[test]
    fn with_a_baseline_one_period_that_is_like_nothing_before_decides() {
        let kind = |periods: &[_]| judge(&HEALTH(), &evidence(periods), 1, Some(&a_day()));
        let verdict = kind(&[(counts(9000, 9), counts(1000, 1000))]);
        assert_eq!(verdict.kind, VerdictKind::Regressed, "{}", verdict.reason);
        let verdict = kind(&[(counts(9000, 9000), counts(1000, 1000))]);
        assert_ne!(verdict.kind, VerdictKind::Regressed, "both sides fail: {}", verdict.reason);
        let fine = (counts(54_000, 54), counts(6_000, 6));
        let alone = (None, counts(60_000, 18_000));
        assert_eq!(
            kind(&[fine, fine, alone]).kind,
            VerdictKind::NotEnoughData,
            "nothing beside it"
        );
        let verdict = kind(&[fine, fine, alone, alone]);
        assert_eq!(verdict.kind, VerdictKind::Regressed, "at 100 %: {}", verdict.reason);
        let said = "new 30 % of 120,000 requests failed, old had no request; e = 316";
        assert!(verdict.reason.starts_with(said), "{}", verdict.reason);
    }

    #[test]
    fn slow_requests_are_tested_like_failed_ones_where_they_are_counted() {
        let health = Health { latency_target_s: Some(0.5), ..HEALTH() };
        let of = |old: Option<u64>, new: u64| {
            let mut seen = evidence(&[(counts(9000, 9), counts(1000, 1)); 12]);
            for period in &mut seen.periods {
                let old = old.and_then(|slow| counts(9000, slow));
                period.others = vec![Pair { old, new: counts(1000, new) }];
            }
            seen
        };
        let verdict = judge(&health, &of(Some(90), 60), 1, None);
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        assert!(
            verdict
                .reason
                .starts_with("new 6 % of 12,000 requests took over 0.5 s, old 1 % of 108,000"),
            "{}",
            verdict.reason
        );
        let verdict = judge(&health, &of(Some(90), 10), 1, None);
        assert_eq!(verdict.kind, VerdictKind::Healthy);
        assert!(verdict.reason.contains("; slow: e = "), "{}", verdict.reason);
        assert!(!verdict.reason.contains("not judged"), "{}", verdict.reason);
        let day = Baselines { slow: Some(a_day().errors), ..a_day() };
        let verdict = judge(&health, &of(None, 400), 1, Some(&day));
        assert_eq!(verdict.kind, VerdictKind::Healthy, "how slow the old side is is not known");
        let verdict = judge(&health, &of(None, 1000), 1, Some(&day));
        assert_eq!(verdict.kind, VerdictKind::Regressed, "but nothing is usual about all of them");
        assert!(verdict.reason.ends_with("the limit is 50 %"), "{}", verdict.reason);
        let blind = Health { latency_target_s: None, ..HEALTH() };
        let verdict = judge(&blind, &of(Some(90), 60), 1, None);
        assert!(verdict.reason.contains("; latency not judged"), "{}", verdict.reason);
    }

    #[test]
    fn at_100_percent_and_in_thin_periods_slow_requests_are_judged_as_well() {
        let health = Health { latency_target_s: Some(0.5), ..HEALTH() };
        let kind = |requests: u64, slow: u64| {
            let mut seen = evidence(&vec![(None, counts(requests, 0)); 12]);
            for period in &mut seen.periods {
                period.others = vec![Pair { old: None, new: counts(requests, slow) }];
            }
            judge(&health, &seen, 1, None).kind
        };
        assert_eq!(kind(1000, 900), VerdictKind::Regressed);
        assert_eq!(kind(20, 18), VerdictKind::Regressed);
        assert_eq!(kind(1000, 400), VerdictKind::Healthy);
    }

    /// Evidence with these refused requests of 9,000 and 1,000 a period.
    fn refused(periods: &[(u64, u64)]) -> Evidence<'static> {
        let mut seen = evidence(&vec![(counts(9000, 9), counts(1000, 1)); periods.len()]);
        for (period, (old, new)) in seen.periods.iter_mut().zip(periods) {
            period.others = vec![Pair { old: counts(9000, *old), new: counts(1000, *new) }];
        }
        seen
    }

    #[test]
    fn a_new_side_that_refuses_goes_back_and_bots_that_change_sides_do_not() {
        use VerdictKind::{Healthy, Regressed};
        let health = Health { requests_min: 100, ..Health::default() };
        let kind = |periods: &[(u64, u64)]| judge(&health, &refused(periods), 1, None).kind;
        let verdict = judge(&health, &refused(&[(90, 1000); 3]), 1, None);
        assert_eq!(verdict.kind, Regressed);
        let said = "new 100 % of 3,000 requests were answered 4xx, old 1 % of 27,000 in the last 3 periods; the limit";
        assert!(verdict.reason.starts_with(said), "{}", verdict.reason);
        assert_eq!(kind(&[(90, 500); 12]), Regressed, "one of two hosts");
        assert_eq!(kind(&[(90, 60); 60]), Healthy, "six times as many");
        // All bots, half of what is refused, come through one of ten resolvers, which gets the new side for minutes.
        let bots_are_new = [(45, 55), (45, 55), (45, 55), (95, 5), (95, 5)];
        assert_eq!(kind(&bots_are_new.repeat(12)), Healthy);
        // All that is refused comes through it.
        assert_eq!(kind(&[(0, 100), (0, 100), (100, 0)].repeat(20)), Healthy);
        let off = Health { refused_tolerated_odds_ratio: None, ..health.clone() };
        assert_eq!(judge(&off, &refused(&[(90, 1000); 3]), 1, None).kind, Healthy);
    }

    #[test]
    fn counts_of_one_s_own_are_judged_beside_the_others() {
        let health = Health { signals: vec![orders()], ..HEALTH() };
        let verdict = judge(&health, &refused(&[(90, 100); 12]), 1, None);
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        let said = "new 10 % of 12,000 orders failed, old 1 % of 108,000; odds 11.0 times";
        assert!(verdict.reason.starts_with(said), "{}", verdict.reason);
        assert_eq!(verdict.signals[1].name, "orders");
        let verdict = judge(&health, &refused(&[(90, 10); 5]), 1, None);
        assert!(verdict.reason.contains("; orders: e = "), "{}", verdict.reason);
    }

    /// A ramp of an hour in which all bots come through one of ten resolvers: it asks anew every minute, and gets the new
    /// side by the share of the step. `load`: the part of the requests that bots send; half of them are refused.
    fn bots(run: u64, load: f64, share: impl Fn(u64) -> f64) -> Evidence<'static> {
        let mut state = run;
        let mut chance = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 32).expect("32 bits")) / f64::from(u32::MAX)
        };
        let asks_at: Vec<f64> = (0..10).map(|_| chance()).collect();
        let mut is_new: Vec<f64> = asks_at.iter().map(|_| f64::from(chance() < share(0))).collect();
        let minute = |minute| {
            let mut on_new = Vec::new();
            for (asks_at, is_new) in asks_at.iter().zip(&mut is_new) {
                let was_new = *is_new;
                *is_new = f64::from(chance() < share(minute));
                on_new.push(was_new * asks_at + *is_new * (1.0 - asks_at));
            }
            let people = 60_000.0 * (1.0 - load) * on_new.iter().sum::<f64>() / 10.0;
            let bots = 60_000.0 * load * on_new[0];
            let refused = 0.005 * people + 0.5 * bots;
            let all = 60_000.0 * (0.005 * (1.0 - load) + 0.5 * load);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests")]
            let of = |requests: f64, refused: f64| counts(requests as u64, refused as u64);
            let new = of(people + bots, refused);
            Pair { old: of(60_000.0 - people - bots, all - refused), new }
        };
        let pairs: Vec<Pair> = (0..60).map(minute).collect();
        let failed = |side: Option<Counts>| side.map(|side| Counts { errors: 0, ..side });
        let of_both: Vec<_> = pairs.iter().map(|p| (failed(p.old), failed(p.new))).collect();
        let mut seen = evidence(&of_both);
        for (period, pair) in seen.periods.iter_mut().zip(pairs) {
            period.others = vec![pair];
        }
        seen
    }

    #[test]
    fn who_scans_addresses_reaches_a_new_side_that_nothing_is_sent_to_and_does_not_count() {
        let health = Health { requests_min: 100, ..Health::default() };
        let minute = |old, new| (counts(old, 5), counts(new, 0));
        let all = [&[minute(60_000, 50); 10][..], &[minute(59_400, 650); 20]].concat();
        let mut seen = evidence(&all);
        for (number, period) in (0..).zip(&mut seen.periods) {
            let refused = if number < 10 { (48, 49) } else { (48, 50) };
            let of = |side: Option<Counts>, errors| side.map(|side| Counts { errors, ..side });
            let (old, new) = (of(period.old, refused.0), of(period.new, refused.1));
            period.others = vec![Pair { old, new }];
        }
        seen.ramp_at = Some(seen.periods[10].start);
        assert_eq!(judge(&health, &seen, 1, None).kind, VerdictKind::Regressed, "if they counted");
        let verdict = judge(&health, &seen.clone().without_strays(), 1, None);
        assert_eq!(verdict.kind, VerdictKind::Healthy, "{}", verdict.reason);
        assert_eq!(verdict.new.requests, 20 * 600);
        // One that is resumed has had its share before.
        for period in seen.periods.iter_mut().take(10) {
            period.new = counts(6_000, 3_000);
        }
        assert_eq!(seen.clone().without_strays(), seen);
    }

    #[test]
    fn bots_of_one_resolver_take_no_cutover_back() {
        let ramp = |minute: u64| {
            [0.01, 0.05, 0.1, 0.2, 0.3, 0.5][usize::try_from(minute / 10).expect("small")]
        };
        let back = |load, ratio| {
            let health = Health { refused_tolerated_odds_ratio: Some(ratio), ..Health::default() };
            // Looked at after every minute.
            let goes_back = |run: &u64| {
                let mut judge = Judge::new(&health, 1, None);
                bots(*run, load, ramp).periods.iter().any(|period| {
                    judge.see(period, true);
                    judge.regression().is_some()
                })
            };
            (1..=40).filter(goes_back).count()
        };
        for load in [0.01, 0.05, 0.2] {
            assert_eq!(back(load, Health::default().refused_tolerated_odds_ratio.expect("on")), 0);
        }
    }

    #[test]
    fn what_a_side_that_warms_up_does_counts_once() {
        let begin = |new: &[Option<Counts>], warm_up_s| {
            let periods: Vec<_> = new.iter().map(|new| (counts(9000, 9), *new)).collect();
            let health = Health { warm_up_s, ..HEALTH() };
            let seen = Evidence { ramp_at: None, ..evidence(&periods) }.marked(&health);
            judge(&health, &seen, 1, Some(&a_day())).kind
        };
        let (cold, fine, dead) = (counts(1000, 100), counts(1000, 1), counts(1000, 600));
        let then_fine = |first: &[_]| [first, &[fine; 20]].concat();
        assert_eq!(begin(&then_fine(&[cold]), None), VerdictKind::Healthy);
        assert_eq!(begin(&then_fine(&[cold, cold]), None), VerdictKind::Healthy);
        assert_eq!(begin(&[cold, cold], Some(0)), VerdictKind::Regressed);
        assert_ne!(begin(&[cold, cold], None), VerdictKind::Regressed);
        assert_eq!(begin(&[cold; 4], None), VerdictKind::Regressed);
        assert_ne!(begin(&[dead, dead], None), VerdictKind::Regressed, "even a catastrophe");
        assert_eq!(begin(&[dead; 3], None), VerdictKind::Regressed, "a catastrophe that stays");
        assert_eq!(begin(&[fine, fine, cold, cold], None), VerdictKind::Regressed, "it is warm");
    }

    #[test]
    fn what_the_old_side_did_yesterday_hides_nothing_for_longer_than_it_lasted() {
        let day = |lasts: usize, outages: usize| {
            let mut day = vec![counts(9000, 9); 1440];
            for from in [700, 900].into_iter().take(outages) {
                day[from..from + lasts].fill(counts(9000, 9000));
            }
            Baselines::of(&Series { counts: day, ..Series::default() }, 3, &HEALTH())
        };
        let after = |lasts: usize, outages: usize, periods: usize| {
            let seen = evidence(&vec![(None, counts(1000, 300)); periods]);
            judge(&HEALTH(), &seen, 1, Some(&day(lasts, outages)))
        };
        let held = after(5, 2, 5);
        assert_eq!(held.kind, VerdictKind::NotEnoughData);
        assert!(
            held.failing && held.reason.ends_with("but not yet for longer than a burst may last")
        );
        assert_eq!(after(5, 2, 6).kind, VerdictKind::Regressed, "{}", after(5, 2, 6).reason);
        assert_eq!(after(5, 1, 2).kind, VerdictKind::Regressed, "once a day is no habit");
        assert_eq!(after(1, 2, 2).kind, VerdictKind::Regressed);
        let long = after(60, 2, 21).kind;
        assert_eq!(long, VerdictKind::Regressed, "nothing excuses more than twenty minutes");
    }

    #[test]
    fn a_missing_period_of_the_old_side_is_no_evidence() {
        let fine = (counts(54_000, 54), counts(6_000, 6));
        let missing = (None, counts(6_000, 1_200));
        let seen = evidence(&[fine, missing, missing, missing]);
        let kind = |share: f64| {
            let since = seen.settled_at.expect("settled");
            let sent = Sent { share, since, lumps: Lumps::PerRequest, linger_s: 0, is_alone: true };
            let seen = Evidence { sent: Some(sent), ..seen.clone() }.marked(&HEALTH());
            judge(&HEALTH(), &seen, 1, Some(&a_day())).kind
        };
        assert_eq!(kind(0.1), VerdictKind::Healthy, "a tenth of the requests is meant for it");
        assert_eq!(kind(1.0), VerdictKind::Regressed, "all are");
    }

    /// Orders of a shop.
    fn orders() -> OwnSignal {
        let metric = |name: &str| OwnMetric {
            namespace: "Shop".to_owned(),
            metric: name.to_owned(),
            dimensions: BTreeMap::new(),
        };
        OwnSignal {
            name: "orders".to_owned(),
            requests: metric("Orders"),
            failures: metric("FailedOrders"),
            tolerated_odds_ratio: 1.5,
        }
    }

    #[test]
    fn a_new_side_of_which_others_count_nothing_is_held() {
        let health = Health { signals: vec![orders()], ..HEALTH() };
        let held = |old: Option<Counts>, new: Option<Counts>| {
            let mut seen = evidence(&[(counts(900, 0), counts(100, 0)); 5]);
            seen.periods.iter_mut().for_each(|period| period.others = vec![Pair { old, new }]);
            let verdict = judge(&health, &seen, 1, None);
            (verdict.kind == VerdictKind::NotEnoughData, verdict.reason)
        };
        let (is_held, reason) = held(counts(50, 0), None);
        assert!(is_held && reason.starts_with("no orders have been counted"), "{reason}");
        assert!(!held(counts(50, 0), counts(1, 0)).0, "there are some");
        assert!(
            !held(counts(20, 0), None).0,
            "100 on the old side, a tenth of them none by chance"
        );
        assert!(!held(None, None).0, "nobody counts any");
    }

    #[test]
    fn what_only_the_old_side_does_holds_no_step_that_gets_all_requests() {
        let health = Health { signals: vec![orders()], ..HEALTH() };
        let kind = |jobs: u64| {
            let mut seen = evidence(&[(counts(0, 0), counts(1000, 0)); 5]);
            seen.periods[0].others = vec![Pair { old: counts(jobs, 0), new: None }];
            judge(&health, &seen, 1, None).kind
        };
        assert_eq!(kind(1), VerdictKind::Healthy, "a job");
        assert_eq!(kind(19), VerdictKind::Healthy, "a few");
        assert_eq!(kind(20), VerdictKind::NotEnoughData, "orders do not come to the new side");
    }

    #[test]
    fn the_limit_of_failed_requests_is_that_of_the_first_count_where_there_are_no_others() {
        let logins = OwnSignal { name: "logins".to_owned(), ..orders() };
        let health = Health { signals: vec![orders(), logins], ..HEALTH() };
        let of = |[first, second]: [u64; 2], baseline: Option<&Baselines>| {
            let pair = |errors| Pair { old: counts(900, 9 * errors), new: counts(100, errors) };
            let mut seen = evidence(&[(None, None); 5]);
            seen.periods.iter_mut().for_each(|period| {
                period.others = vec![Pair::default(), pair(first), pair(second)];
            });
            let seen = seen.of_own_alone(&health);
            judge(&health, &seen, 1, baseline)
        };
        let over = of([20, 0], None);
        assert_eq!(over.kind, VerdictKind::NotEnoughData, "{}", over.reason);
        assert!(over.reason.contains("over the 5 % limit"), "{}", over.reason);
        assert_eq!(of([4, 0], None).kind, VerdictKind::Healthy);
        assert_eq!(of([0, 20], None).kind, VerdictKind::Healthy, "half is the second one's limit");
        let usual = Baseline { usual_rate: 0.2, ..a_day().errors };
        let own = BTreeMap::from([("orders".to_owned(), usual)]);
        let day = Baselines { own, ..a_day() };
        assert_eq!(of([20, 0], Some(&day)).kind, VerdictKind::Healthy, "as every day");
    }

    #[test]
    fn stragglers_on_the_old_side_excuse_nothing() {
        let kind = |old: Option<Counts>, is_full: Option<bool>| {
            let mut seen = evidence(&[(old, counts(53_800, 16_140)); 5]);
            seen.periods.iter_mut().for_each(|period| period.is_full = is_full);
            judge(&HEALTH(), &seen, 1, Some(&a_day())).kind
        };
        assert_eq!(kind(counts(200, 80), None), VerdictKind::Regressed);
        assert_eq!(
            kind(counts(200, 80), Some(false)),
            VerdictKind::NotEnoughData,
            "they are meant for it"
        );
        for old in [20_000, 2_800, 1_400] {
            assert_eq!(kind(counts(old, old * 4 / 10), None), VerdictKind::NotEnoughData, "{old}");
        }
        assert_eq!(kind(counts(20_000, 8_000), Some(true)), VerdictKind::Regressed, "at 100 %");
    }

    #[test]
    fn both_sides_that_fail_since_the_move_go_back_and_later_are_held() {
        let kind = |fine: usize, day: Option<&Baselines>| {
            let fine = vec![(counts(9000, 9), counts(1000, 1)); fine];
            let both = [(counts(9000, 9000), counts(1000, 1000)); 4];
            let seen = evidence(&[&fine[..], &both].concat());
            let since = seen.settled_at.expect("settled");
            let lumps = Lumps::PerRequest;
            let sent = Sent { share: 0.1, since, lumps, linger_s: 0, is_alone: true };
            judge(&HEALTH(), &Evidence { sent: Some(sent), ..seen }, 1, day)
        };
        let verdict = kind(3, Some(&a_day()));
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        assert!(verdict.reason.contains("the move itself may be the cause"), "{}", verdict.reason);
        assert_eq!(kind(30, Some(&a_day())).kind, VerdictKind::NotEnoughData, "long after");
        assert_eq!(kind(3, None).kind, VerdictKind::NotEnoughData, "nobody knows the day before");
    }

    #[test]
    fn requests_that_a_fixed_answer_keeps_from_a_side_are_said_first_among_those_that_vanish() {
        let (before, now) = ((counts(10_000, 1), None), (counts(5000, 1), None));
        let mut seen = evidence(&[[before; 10], [now; 10]].concat());
        let since = seen.periods[10].start;
        for period in &mut seen.periods[10..] {
            period.shared_refused = counts(8000, 5000);
        }
        let lumps = Lumps::PerAnswer { resolvers: 10 };
        let sent = Some(Sent { share: 0.5, since, lumps, linger_s: 60, is_alone: false });
        let verdict =
            judge(&HEALTH(), &Evidence { settled_at: Some(since), sent, ..seen }, 1, None);
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        let said = "requests vanish on the way: 62.5 % of all 80,000 requests were answered 4xx before a side \
                    answered; the new side gets 0 % of the requests where 50 % are meant for it";
        assert!(verdict.reason.starts_with(said), "{}", verdict.reason);
    }

    #[test]
    fn a_step_is_passed_on_what_was_seen_lately() {
        let fine = (counts(9000, 9), counts(1000, 1));
        let silent = (counts(9000, 9), None);
        let verdict = verdict(&[&[fine; 2][..], &[silent; 30]].concat());
        assert_eq!(verdict.kind, VerdictKind::NotEnoughData);
        assert!(verdict.reason.contains("but 0 in the last 5 periods"), "{}", verdict.reason);
        // A quiet service: a request every other period has been enough, and still comes.
        let one = [(counts(9, 0), counts(1, 0)), (counts(9, 0), None)];
        let quiet = evidence(&one.repeat(110));
        assert_eq!(judge(&HEALTH(), &quiet, 1, None).kind, VerdictKind::Healthy);
    }

    #[test]
    fn percentiles_count_in_two_of_the_last_three_periods() {
        let health =
            Health { latency_target_s: Some(0.5), latency_by: LatencyBy::Percentile, ..HEALTH() };
        let kind = |percentiles: &[(f64, f64)]| {
            let mut seen = evidence(&vec![(counts(900, 0), counts(100, 0)); percentiles.len()]);
            for (period, (old_s, new_s)) in seen.periods.iter_mut().zip(percentiles) {
                period.percentiles = [Some(*old_s), Some(*new_s)];
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
        let ringing = vec!["error-budget".to_owned(), "latency".to_owned()];
        let alarms = AlarmsSeen { ringing, ..AlarmsSeen::default() };
        let of = |seen: &Evidence<'_>| judge(&HEALTH(), seen, 1, None);
        let verdict = of(&Evidence { alarms: Some(&alarms), ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        assert_eq!(verdict.reason, "alarm error-budget and 1 more is in ALARM");
        let fine = || evidence(&[(counts(900, 0), counts(100, 0)); 3]);
        let gone = AlarmsSeen { gone: vec!["a".to_owned()], ..AlarmsSeen::default() };
        let verdict = of(&Evidence { alarms: Some(&gone), ..fine() });
        assert_eq!(verdict.kind, VerdictKind::Healthy, "it blinds nothing");
        assert!(verdict.reason.ends_with("no alarm of this name exists any more: a"));
        let unread = AlarmsSeen { unread: Some("throttled".to_owned()), ..AlarmsSeen::default() };
        let verdict = of(&Evidence { alarms: Some(&unread), ..fine() });
        assert_eq!(verdict.kind, VerdictKind::NotEnoughData);
        assert!(verdict.reason.ends_with("the alarms cannot be read: throttled"));
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
