//! Evidence: what was counted on both sides, period by period.

pub mod baseline;
pub mod e_process;
pub mod hypergeometric;
pub mod judge;
pub mod power;
mod sentence;
pub mod verdict;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::request::health::Health;

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
    /// One entry a period of the window; `None` where the source has nothing, which is no
    /// evidence and never "no errors".
    pub counts: Vec<Option<Counts>>,
    /// How slow its answers were, one entry a period of the window; `None` where the source does
    /// not tell. Empty when it was not asked.
    pub latency: Vec<Option<Latency>>,
    /// What the requests came to that it shares with other meters, one entry a period of the window: all of them, and
    /// the failures among them that can be put down to none. Empty where every failure belongs to a meter.
    pub shared: Vec<Option<Counts>>,
    /// Healthy hosts behind it at the newest point of the window; `None` when not told.
    pub healthy_hosts: Option<u32>,
    /// Whether its hosts were asked for over a while and nothing came: a source says nothing of a target
    /// group without targets, but it may be late as well.
    pub hosts_are_missing: bool,
}

/// How slow the answers of a period were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// So many took longer than the target.
    Slow(u64),
    /// 95 of 100 took so many seconds at most.
    Percentile(f64),
}

/// What a check saw: everything that a verdict is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The periods.
    pub window: Window,
    /// One series a meter, in the order of
    /// [`Cutover::meters`](crate::Cutover::meters).
    pub series: Vec<Series>,
    /// Those of the named alarms that are in ALARM now.
    pub alarms: Vec<String>,
}

/// One period of one route.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Period {
    /// When it began.
    pub start: Timestamp,
    /// The old side; `None`: nothing known.
    pub old: Option<Counts>,
    /// The new side; `None`: nothing known.
    pub new: Option<Counts>,
    /// How slow the old side's answers were; `None`: nothing known.
    pub latency_old: Option<Latency>,
    /// How slow the new side's answers were; `None`: nothing known.
    pub latency_new: Option<Latency>,
    /// All requests that both sides share, and the failures among them that can be put down to neither; `None`:
    /// nothing known, or there are none such.
    pub shared: Option<Counts>,
}

/// The evidence for one route's verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence<'a> {
    /// Complete periods since the cutover's first shift, oldest first.
    pub periods: Vec<Period>,
    /// When the current step's weights were live everywhere and no former answer was cached any
    /// more; `None` while it settles. What came before tells nothing of this step's share.
    pub settled_at: Option<Timestamp>,
    /// Healthy hosts of the new side; `None` when not told.
    pub healthy_hosts_new: Option<u32>,
    /// Healthy hosts of the old side; `None` when not told.
    pub healthy_hosts_old: Option<u32>,
    /// See [`Series::hosts_are_missing`], of the old side.
    pub hosts_are_missing_old: bool,
    /// Named alarms in ALARM.
    pub alarms: &'a [String],
}

impl Evidence<'_> {
    /// Puts the series of two meters side by side.
    #[must_use]
    pub fn new<'a>(
        observed: &'a Observed,
        old: &Series,
        new: &Series,
        settled_at: Option<Timestamp>,
    ) -> Evidence<'a> {
        let at = |series: &Series, index: u32| {
            let index = usize::try_from(index).ok();
            let counts = index.and_then(|i| series.counts.get(i).copied()).flatten();
            (counts, index.and_then(|i| series.latency.get(i).copied()).flatten())
        };
        let new_shared =
            |index: u32| new.shared.get(usize::try_from(index).ok()?).copied().flatten();
        let periods = (0..observed.window.periods)
            .map(|index| {
                let start = observed.window.start_of(index);
                let ((old, latency_old), (new, latency_new)) = (at(old, index), at(new, index));
                let shared = new_shared(index);
                Period { start, old, new, latency_old, latency_new, shared }
            })
            .collect();
        Evidence {
            periods,
            settled_at,
            healthy_hosts_new: new.healthy_hosts,
            healthy_hosts_old: old.healthy_hosts,
            hosts_are_missing_old: old.hosts_are_missing,
            alarms: &observed.alarms,
        }
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
