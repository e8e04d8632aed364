//! Evidence: what was counted on both sides, period by period.

pub mod arrival;
pub mod baseline;
pub mod connections;
pub mod e_process;
pub mod hypergeometric;
pub mod judge;
pub mod power;
mod sentence;
pub mod signal;
mod stretches;
pub mod verdict;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::evidence::arrival::Sent;
use crate::evidence::connections::Connections;
use crate::evidence::signal::SignalKind;
use crate::request::health::Health;
use crate::seen::Seen;

/// What a source of telemetry can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryLimits {
    /// Periods that one check reads at most.
    pub periods_per_check: u32,
    /// Seconds for which periods shorter than a minute are kept.
    pub short_periods_kept_s: u32,
    /// Seconds for which all longer ones are kept.
    pub periods_kept_s: u32,
}

/// Strays on a new side that nothing is sent to are at most one request in this many.
const STRAYS_PART: u64 = 20;

/// The old side has no request by chance where this many are expected, resolvers of a few sizes included.
const OLD_REQUESTS_MIN: f64 = 20.0;
/// Before a step to 100 %, the share of the new side is taken to have been no more than this.
const SHARE_BEFORE: f64 = 0.9;

/// How much of what is kept is not asked for, in seconds: a call that is tried again must not ask for what is gone by
/// then.
const KEPT_MARGIN_S: i64 = 300;

/// Complete periods, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Start of the first period, on a multiple of `period_s`.
    pub start: Timestamp,
    /// Length of a period, in seconds.
    pub period_s: u32,
    /// Number of periods: up to [`TelemetryLimits::periods_per_check`] in a check, and
    /// [`BASELINE_PERIODS`](crate::evidence::baseline::BASELINE_PERIODS) in a validation.
    pub periods: u32,
}

impl Window {
    /// The periods that have begun at or after the one that holds `since`, and are complete and
    /// counted at `now`: their end is at least `metrics_delay_s` ago.
    #[must_use]
    pub fn complete(
        since: Timestamp,
        now: Timestamp,
        health: &Health,
        limits: TelemetryLimits,
    ) -> Self {
        let period_s = i64::from(health.period_s.max(1));
        let first_s = since.as_second() - since.as_second().rem_euclid(period_s);
        Self::since(first_s, limits.periods_per_check, now, health)
    }

    /// The newest periods that are complete and counted at `now`, `most` of them: fewer, when the source
    /// does not keep so many.
    #[must_use]
    pub fn newest(most: u32, now: Timestamp, health: &Health, limits: TelemetryLimits) -> Self {
        let period_s = i64::from(health.period_s.max(1));
        let kept_s =
            if period_s < 60 { limits.short_periods_kept_s } else { limits.periods_kept_s };
        let kept_from = now.as_second() - i64::from(kept_s) + KEPT_MARGIN_S;
        let first_s = kept_from + (-kept_from).rem_euclid(period_s);
        Self::since(first_s, most, now, health)
    }

    /// The newest of those that begin at `first_s` or later, a multiple of a period.
    fn since(first_s: i64, most: u32, now: Timestamp, health: &Health) -> Self {
        let period_s = i64::from(health.period_s.max(1));
        let counted_until = now.as_second() - i64::from(health.metrics_delay_s);
        let end = counted_until - counted_until.rem_euclid(period_s);
        let start = first_s.max(end - period_s * i64::from(most));
        let count = u32::try_from((end - start).max(0) / period_s).unwrap_or(0);
        let start = Timestamp::from_second(start).unwrap_or(now);
        Self { start, period_s: health.period_s.max(1), periods: count }
    }

    /// End of the last period; the start when there is none.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.start_of(self.periods)
    }

    /// Start of period `index`.
    #[must_use]
    pub fn start_of(&self, index: u32) -> Timestamp {
        let offset_s = i64::from(index) * i64::from(self.period_s);
        self.start.checked_add(SignedDuration::from_secs(offset_s)).unwrap_or(self.start)
    }
}

/// What one side did in one period, or in several added up. In JSON `[requests, errors]`: 500 of them travel
/// with the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CountsJson", into = "(u64, u64)")]
pub struct Counts {
    /// Requests: those for which a target was chosen, and those for which there was none.
    pub requests: u64,
    /// Requests that failed: answers 5xx, of targets or before them.
    pub errors: u64,
}

/// [`Counts`] as this version writes them, and as the one before did.
#[derive(Deserialize)]
#[serde(untagged)]
enum CountsJson {
    Pair(u64, u64),
    Named { requests: u64, errors: u64 },
}

impl From<CountsJson> for Counts {
    fn from(json: CountsJson) -> Self {
        let (CountsJson::Pair(requests, errors) | CountsJson::Named { requests, errors }) = json;
        Self { requests, errors }
    }
}

impl From<Counts> for (u64, u64) {
    fn from(counts: Counts) -> Self {
        (counts.requests, counts.errors)
    }
}

impl Counts {
    /// Share of requests that failed, 0 to 1; `None` without requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn error_rate(self) -> Option<f64> {
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }

    /// Wilson's interval of the error rate, 0–1, `z` standard deviations of the normal law to each side (1.96: 95 %).
    ///
    /// Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
    /// Journal of the American Statistical Association 22 (1927).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn rate_interval(self, z: f64) -> (f64, f64) {
        let n = self.requests.max(1) as f64;
        let rate = self.errors.min(self.requests) as f64 / n;
        let centre = rate + z * z / (2.0 * n);
        let half = z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
        let bound = |value: f64| (value / (1.0 + z * z / n)).clamp(0.0, 1.0);
        (bound(centre - half), bound(centre + half))
    }
}

impl Counts {
    /// What is left of it without another.
    pub(crate) const fn less(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            errors: self.errors.saturating_sub(other.errors),
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            errors: self.errors.saturating_add(other.errors),
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), std::ops::Add::add)
    }
}

/// What a telemetry source counted of one meter over a [`Window`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Requests, and those of them that failed, one entry a period of the window; `None` where the source has
    /// nothing, which is no evidence and never "no errors".
    pub counts: Vec<Option<Counts>>,
    /// Requests, and those of them that were refused, one entry a period of the window. Empty when it was not
    /// asked.
    pub refused: Vec<Option<Counts>>,
    /// How slow its answers were, one entry a period of the window; `None` where the source does
    /// not tell. Empty when it was not asked.
    pub latency: Vec<Option<Latency>>,
    /// What the requests came to that it shares with other meters, one entry a period of the window: all of them, and
    /// the failures among them that can be put down to none. Empty where every failure belongs to a meter.
    pub shared: Vec<Option<Counts>>,
    /// The same of refused requests.
    pub shared_refused: Vec<Option<Counts>>,
    /// Connections that failed, one entry a period of the window. Empty when it was not asked.
    pub connections: Vec<Connections>,
    /// Healthy hosts behind it at the newest point of the window; `None` when not told.
    pub healthy_hosts: Option<u32>,
    /// Whether its hosts were asked for over a while and nothing came: a source says nothing of a target
    /// group without targets, but it may be late as well.
    pub hosts_are_missing: bool,
}

impl Series {
    /// Adds what was counted under a former name. Hosts and percentiles are those of this one, where it tells any.
    #[must_use]
    pub fn with(mut self, former: Self) -> Self {
        let add = |to: &mut [Option<Counts>], of: Vec<Option<Counts>>| {
            for (to, of) in to.iter_mut().zip(of) {
                *to = to.zip(of).map_or(to.or(of), |(a, b)| Some(a + b));
            }
        };
        add(&mut self.counts, former.counts);
        add(&mut self.refused, former.refused);
        add(&mut self.shared, former.shared);
        add(&mut self.shared_refused, former.shared_refused);
        for (to, of) in self.connections.iter_mut().zip(former.connections) {
            *to = *to + of;
        }
        for (to, of) in self.latency.iter_mut().zip(former.latency) {
            *to = match (*to, of) {
                (Some(Latency::Slow(a)), Some(Latency::Slow(b))) => Some(Latency::Slow(a + b)),
                (now, before) => now.or(before),
            };
        }
        self
    }

    /// What it counted of a signal in one period of the window.
    fn at(&self, kind: &SignalKind, index: usize) -> Option<Counts> {
        let counts = self.counts.get(index).copied().flatten();
        match kind {
            SignalKind::Failed => counts,
            SignalKind::Refused => self.refused.get(index).copied().flatten(),
            SignalKind::Slow { .. } => match self.latency.get(index).copied().flatten() {
                Some(Latency::Slow(slow)) => counts.map(|counts| Counts { errors: slow, ..counts }),
                _ => None,
            },
            SignalKind::Own { .. } => None,
        }
    }

    /// What it counted of a signal, one entry a period of the window.
    fn counts_of<'a>(&'a self, kind: &'a SignalKind) -> impl Iterator<Item = Option<Counts>> + 'a {
        (0..self.counts.len()).map(move |index| self.at(kind, index))
    }

    fn percentile(&self, index: usize) -> Option<f64> {
        match self.latency.get(index).copied().flatten() {
            Some(Latency::Percentile(seconds)) => Some(seconds),
            _ => None,
        }
    }
}

/// What somebody else counted on both sides, one entry a period of the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnSeries {
    /// The old side.
    pub old: Vec<Option<Counts>>,
    /// The new side.
    pub new: Vec<Option<Counts>>,
    /// What of the old side has no point in the window, each after "its": "failures (NAMESPACE METRIC, …)".
    pub silent: Vec<String>,
}

/// How slow the answers of a period were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// This many took longer than the target.
    Slow(u64),
    /// 95 of 100 took this many seconds at most.
    Percentile(f64),
}

/// What a check saw: everything that a verdict is made of. Series and alarms are read apart, so that neither blinds
/// the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The periods.
    pub window: Window,
    /// One series a meter, in the order of
    /// [`Cutover::meters`](crate::Cutover::meters).
    pub series: Seen<Vec<Series>>,
    /// Counts of one's own, in the order of [`Health::signals`](crate::Health#structfield.signals); read with
    /// the series.
    pub own: Vec<OwnSeries>,
    /// Those of the named alarms that exist, and whether each is in ALARM now.
    pub alarms: Seen<Vec<(String, bool)>>,
}

/// What both sides counted of one signal in one period; `None`: nothing known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    /// The old side.
    pub old: Option<Counts>,
    /// The new side.
    pub new: Option<Counts>,
}

/// One period of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Period {
    /// When it began.
    pub start: Timestamp,
    /// Failed requests of the old side; `None`: nothing known.
    pub old: Option<Counts>,
    /// Failed requests of the new side; `None`: nothing known.
    pub new: Option<Counts>,
    /// The other signals, in the order of [`Health::signals`].
    pub others: Vec<Pair>,
    /// Seconds in which 95 of 100 requests were answered, of the old and of the new side; `None`: nothing known.
    pub percentiles: [Option<f64>; 2],
    /// All requests that both sides share, and the failures among them that can be put down to neither; `None`:
    /// nothing known, or there are none such.
    pub shared: Option<Counts>,
    /// The same of refused requests.
    pub shared_refused: Option<Counts>,
    /// Connections that failed, of the old and of the new side.
    pub connections: [Connections; 2],
    /// Whether the new side has just got its first requests: it may have to warm up.
    pub is_warming: bool,
    /// Whether all requests were meant for the new side; `None`: nobody knows.
    pub is_full: Option<bool>,
    /// Whether nothing is known of the old side, which must have had requests: no evidence, and not zero requests.
    pub is_gap: bool,
}

impl Period {
    /// What was counted of a signal, by its place in [`Health::signals`].
    fn signal(&self, index: usize) -> Pair {
        match index.checked_sub(1) {
            None => Pair { old: self.old, new: self.new },
            Some(other) => self.others.get(other).copied().unwrap_or_default(),
        }
    }

    /// Whether nothing is known of the old side, while the weights say that it had requests: more than by chance none.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn lacks_old(&self, counted: Pair, sent: &Sent) -> bool {
        let share = if self.start < sent.since { sent.share.min(SHARE_BEFORE) } else { sent.share };
        let new = counted.new.unwrap_or_default().requests as f64;
        counted.old.is_none() && new * (1.0 - share) > OLD_REQUESTS_MIN * share
    }

    /// Requests of both sides.
    fn requests(&self) -> [u64; 2] {
        [self.old, self.new].map(|side| side.map_or(0, |counts| counts.requests))
    }
}

/// What is known of the alarms beside the evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlarmsSeen {
    /// Those that are in ALARM.
    pub ringing: Vec<String>,
    /// Those that are gone.
    pub gone: Vec<String>,
    /// Why they cannot be read.
    pub unread: Option<String>,
}

impl AlarmsSeen {
    /// Compares what was read with what was named.
    #[must_use]
    pub fn of(alarms: &Seen<Vec<(String, bool)>>, named: &[String]) -> Self {
        let found = match alarms {
            Seen::OutOfReach(why) => {
                return Self { unread: Some(why.clone()), ..Self::default() };
            }
            Seen::Now(found) => found,
        };
        let ringing = found.iter().filter(|(_, rings)| *rings).map(|(name, _)| name.clone());
        let is_gone = |name: &&String| found.iter().all(|(found, _)| found != *name);
        Self {
            ringing: ringing.collect(),
            gone: named.iter().filter(is_gone).cloned().collect(),
            unread: None,
        }
    }
}

/// The evidence for one route's verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence<'a> {
    /// Complete periods since a little before the cutover's first shift, oldest first.
    pub periods: Vec<Period>,
    /// When the current step's weights were live everywhere and no former answer was cached any
    /// more; `None` while it settles. What came before tells nothing of this step's share.
    pub settled_at: Option<Timestamp>,
    /// When the ramp began: what came before is only compared with what arrives. `None`: with the first period.
    pub ramp_at: Option<Timestamp>,
    /// What the router was asked to send; `None` where nobody knows.
    pub sent: Option<Sent>,
    /// Whether a side counts no requests: then all of the counts are what others counted.
    pub own_alone: bool,
    /// What both sides did since the step has settled, before the first of the periods.
    pub before: [Counts; 2],
    /// Healthy hosts of the new side; `None` when not told.
    pub healthy_hosts_new: Option<u32>,
    /// Healthy hosts of the old side; `None` when not told.
    pub healthy_hosts_old: Option<u32>,
    /// See [`Series::hosts_are_missing`], of the old side.
    pub hosts_are_missing_old: bool,
    /// The named alarms; `None`: there are none.
    pub alarms: Option<&'a AlarmsSeen>,
}

impl Evidence<'_> {
    /// Puts the series of two meters side by side, and with them what others counted.
    #[must_use]
    pub fn new<'a>(
        window: Window,
        [old, new]: [&Series; 2],
        own: &[OwnSeries],
        health: &Health,
    ) -> Evidence<'a> {
        let signals = health.signals();
        let of_meters = signals.iter().filter(|signal| !signal.is_own());
        let of_meters: Vec<&SignalKind> = of_meters.skip(1).map(|signal| &signal.kind).collect();
        let periods = (0..window.periods).filter_map(|number| {
            let index = usize::try_from(number).ok()?;
            let of =
                |kind: &SignalKind| Pair { old: old.at(kind, index), new: new.at(kind, index) };
            let at = |series: &[Option<Counts>]| series.get(index).copied().flatten();
            let own = own.iter().map(|own| Pair { old: at(&own.old), new: at(&own.new) });
            let failed = |of: &Series| of.connections.get(index).copied().unwrap_or_default();
            Some(Period {
                start: window.start_of(number),
                old: old.at(&SignalKind::Failed, index),
                new: new.at(&SignalKind::Failed, index),
                others: of_meters.iter().map(|kind| of(kind)).chain(own).collect(),
                percentiles: [old, new].map(|side| side.percentile(index)),
                shared: at(&new.shared),
                shared_refused: at(&new.shared_refused),
                connections: [old, new].map(failed),
                ..Period::default()
            })
        });
        Evidence {
            periods: periods.collect(),
            healthy_hosts_new: new.healthy_hosts,
            healthy_hosts_old: old.healthy_hosts,
            hosts_are_missing_old: old.hosts_are_missing,
            ..Evidence::default()
        }
    }

    /// Leaves what others counted alone, where a side counts no requests: the first of it stands for the requests.
    #[must_use]
    pub fn of_own_alone(mut self, health: &Health) -> Self {
        self.own_alone = true;
        for period in &mut self.periods {
            let first = period.others.len().saturating_sub(health.signals.len());
            let mut own = std::mem::take(&mut period.others).into_iter().skip(first);
            let Pair { old, new } = own.next().unwrap_or_default();
            let (start, others) = (period.start, own.collect());
            *period = Period { start, old, new, others, ..Period::default() };
        }
        self
    }

    /// Whether all requests are meant for the new side, if it is known what was sent.
    fn is_full(&self) -> Option<bool> {
        self.sent.as_ref().map(Sent::is_full)
    }

    /// Marks the periods in which the new side may still warm up: from its first request on, where the periods go back to
    /// it. And those of this step, if all requests are meant for it; those of which the old side is missing, if not.
    #[must_use]
    pub fn marked(mut self, health: &Health) -> Self {
        let starts = self.periods.first().map(|period| period.start);
        let has_begin = self.ramp_at.is_none_or(|ramp_at| starts <= Some(ramp_at));
        let mut of_ramp = self.periods.iter().filter(|period| self.is_of_the_ramp(period));
        let first = of_ramp.find(|period| period.requests()[1] > 0).filter(|_| has_begin);
        let warm_up = SignedDuration::from_secs(i64::from(health.warm_up_s()));
        let warm_at = first.and_then(|first| first.start.checked_add(warm_up).ok());
        let full_since = self.settled_at.filter(|_| self.is_full() == Some(true));
        // One's own signals whose old side has points: what is missing of them is a gap.
        let others = self.periods.first().map_or(0, |period| period.others.len());
        let own = others.saturating_sub(health.signals.len())..others;
        let has_points = |place: &usize| {
            let mut of = self.periods.iter().map(|period| period.others.get(*place));
            of.any(|pair| pair.is_some_and(|pair| pair.old.is_some()))
        };
        let published: Vec<usize> = own.filter(has_points).collect();
        for period in &mut self.periods {
            period.is_warming = warm_at.is_some_and(|warm_at| period.start < warm_at);
            let is_full = full_since.is_some_and(|since| period.start >= since);
            period.is_full = self.sent.map(|_| is_full);
            let Some(sent) = self.sent else { continue };
            period.is_gap = period.lacks_old(period.signal(0), &sent);
            for place in &published {
                let lacks = period.lacks_old(period.signal(place + 1), &sent);
                if let Some(own) = period.others.get_mut(*place).filter(|_| lacks) {
                    *own = Pair::default();
                }
            }
        }
        self
    }

    /// Takes away what reached the new side in a period before the ramp, when nothing was sent to it: whoever scans
    /// addresses asks no router, and at a small share would outweigh everybody else. A new side that had more than a
    /// small part of the requests was sent some.
    #[must_use]
    pub fn without_strays(mut self) -> Self {
        let before = self.periods.iter().filter(|period| !self.is_of_the_ramp(period));
        let before: Vec<Period> = before.cloned().collect();
        let number = u64::try_from(before.len()).unwrap_or(u64::MAX).max(1);
        let sum = |signal: usize| -> Counts {
            before.iter().filter_map(|period| period.signal(signal).new).sum()
        };
        let old: Counts = before.iter().filter_map(|period| period.old).sum();
        if sum(0).requests.saturating_mul(STRAYS_PART) > old.requests {
            return self;
        }
        let ramp_at = self.ramp_at;
        for period in self.periods.iter_mut().filter(|period| Some(period.start) >= ramp_at) {
            let without = |side: Option<Counts>, signal: usize| {
                let (side, strays) = (side?, sum(signal));
                let requests = side.requests.saturating_sub(strays.requests / number);
                let errors = side.errors.saturating_sub(strays.errors / number).min(requests);
                Some(Counts { requests, errors })
            };
            period.new = without(period.new, 0);
            for (signal, pair) in (1..).zip(&mut period.others) {
                pair.new = without(pair.new, signal);
            }
        }
        self
    }

    /// Whether a period is one of the ramp, and not of before.
    #[must_use]
    pub fn is_of_the_ramp(&self, period: &Period) -> bool {
        self.ramp_at.is_none_or(|ramp_at| period.start >= ramp_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CLOUDWATCH;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_period_counts_once_it_is_over_and_its_delay_has_passed() {
        let health = Health { period_s: 60, metrics_delay_s: 120, ..Health::default() };
        let window = |now| Window::complete(at(6_000), at(now), &health, CLOUDWATCH);
        assert_eq!(window(6_179).periods, 0);
        assert_eq!(window(6_180).periods, 1);
        assert_eq!(window(6_239).periods, 1);
        assert_eq!(window(6_240).end(), at(6_120));
        assert_eq!(window(6_000).periods, 0, "a window never runs backwards");
    }

    #[test]
    fn counts_are_read_as_they_were_written_before_as_well() {
        let counts = Counts { requests: 300, errors: 7 };
        assert_eq!(serde_json::to_string(&counts).expect("JSON"), "[300,7]");
        for json in ["[300,7]", r#"{"requests": 300, "errors": 7}"#] {
            assert_eq!(serde_json::from_str::<Counts>(json).expect(json), counts);
        }
    }

    #[test]
    fn a_long_cutover_looks_back_a_bounded_number_of_periods() {
        let health = Health { period_s: 60, metrics_delay_s: 0, ..Health::default() };
        let window = Window::complete(at(0), at(1_000_000 * 60), &health, CLOUDWATCH);
        assert_eq!(window.periods, CLOUDWATCH.periods_per_check);
        assert_eq!(window.end(), at(1_000_000 * 60));
    }

    #[test]
    fn a_history_is_as_long_as_asked_for_but_no_longer_than_periods_are_kept() {
        let now_s = 1_000_000_800;
        // Length of a period, delay, and how many of 1,440 periods there are: all of them, or those that
        // begin up to 2 h 55 min or 15 days ago.
        for (period_s, metrics_delay_s, periods) in [
            (1, 0, 1440),
            (5, 0, 1440),
            (10, 0, 1050),
            (30, 600, 330),
            (60, 120, 1440),
            (3600, 0, 359),
        ] {
            let health = Health { period_s, metrics_delay_s, ..Health::default() };
            let window = Window::newest(1440, at(now_s), &health, CLOUDWATCH);
            assert_eq!(window.periods, periods, "{period_s} s");
            assert_eq!(window.start.as_second() % i64::from(period_s), 0);
            let last = now_s - i64::from(metrics_delay_s) - window.end().as_second();
            assert!(
                (0..i64::from(period_s)).contains(&last),
                "{period_s} s: {last} s are left out"
            );
        }
        let health = Health { period_s: 60, metrics_delay_s: 120, ..Health::default() };
        assert_eq!(Window::newest(15, at(6_240), &health, CLOUDWATCH).start, at(5_220));
    }
}
