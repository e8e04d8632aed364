//! The verdict: what the evidence says about one route.

use serde::{Deserialize, Serialize};

use crate::evidence::{Counts, Evidence, Period};
use crate::health::Health;

/// What the evidence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Enough was seen, and nothing speaks against the new side.
    Healthy,
    /// The new side does worse than it may.
    Regressed,
    /// Too few requests reached the new side to tell.
    NotEnoughData,
    /// The telemetry itself fails: nothing can be told.
    MetricsBroken,
}

impl VerdictKind {
    /// The kind as JSON and logs name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Regressed => "regressed",
            Self::NotEnoughData => "not_enough_data",
            Self::MetricsBroken => "metrics_broken",
        }
    }
}

/// A verdict with its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the evidence says.
    pub kind: VerdictKind,
    /// What the old side did since the step has settled.
    pub old: Counts,
    /// What the new side did since then.
    pub new: Counts,
    /// One plain sentence with the numbers. Not kept in the state that travels: 250 of them
    /// would fill it.
    #[serde(skip)]
    pub reason: String,
}

impl Verdict {
    /// Nothing can be told because the telemetry failed.
    #[must_use]
    pub fn metrics_broken(why: &str) -> Self {
        Self {
            kind: VerdictKind::MetricsBroken,
            old: Counts::default(),
            new: Counts::default(),
            reason: format!("the metrics cannot be read: {why}"),
        }
    }

    /// The share of requests that the new side really got in this step, 0–1; `None` without
    /// requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn measured_share(&self) -> Option<f64> {
        let all = self.old.requests + self.new.requests;
        (all > 0).then(|| self.new.requests as f64 / all as f64)
    }
}

/// Stretches that the hard limit on errors looks at, and how many of them must be over it: one bad
/// period alone never goes back.
const STRETCHES_LOOKED_AT: usize = 3;
const STRETCHES_OVER: usize = 2;

/// Judges one route by hard limits: a named alarm in ALARM, no healthy target, an error rate over
/// `error_rate_max` in two of the last three complete periods of at least `requests_min` requests
/// on the new side while the old side is not over it. Then whether there was enough to see since
/// the step has settled.
///
/// Periods with fewer requests are added up until they have as many, so that a side that fails
/// a little traffic is found as well. The old side excuses the new one only with as many requests: of a
/// handful that stray there, any rate may fail. Where it has fewer, as at 100 %, the limit stands alone.
/// A step that is over the limit as a whole is not passed, even if only one period is.
#[must_use]
pub fn judge(health: &Health, evidence: &Evidence<'_>) -> Verdict {
    let (old, new) = evidence.step_total();
    let with = |kind, reason| Verdict { kind, old, new, reason };
    if let [alarm, rest @ ..] = evidence.alarms {
        let more =
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        return with(VerdictKind::Regressed, format!("alarm {alarm}{more} is in ALARM"));
    }
    if evidence.healthy_hosts_new == Some(0) {
        return with(VerdictKind::Regressed, "the new side has no healthy target".to_owned());
    }
    if let Some(reason) = over_the_limit(health, &evidence.periods) {
        return with(VerdictKind::Regressed, reason);
    }
    if new.requests < health.requests_min {
        let reason = format!(
            "{} of the {} requests needed have been counted on the new side since the step settled",
            grouped(new.requests),
            grouped(health.requests_min)
        );
        return with(VerdictKind::NotEnoughData, reason);
    }
    let sentence = compared(old, new);
    if is_over(health, old, new) {
        let reason = format!("{sentence}, but in one period: another one decides");
        return with(VerdictKind::NotEnoughData, reason);
    }
    with(VerdictKind::Healthy, sentence)
}

/// Whether the new side is over the limit, and the old side is not known to be.
fn is_over(health: &Health, old: Counts, new: Counts) -> bool {
    let over = |side: Counts| side.error_rate().is_some_and(|rate| rate > health.error_rate_max);
    over(new) && !(old.requests >= health.requests_min && over(old))
}

fn over_the_limit(health: &Health, periods: &[Period]) -> Option<String> {
    let stretches = stretches(periods, health.requests_min);
    let looked_at = stretches.iter().rev().take(STRETCHES_LOOKED_AT);
    let over: Vec<&(Counts, Counts)> =
        looked_at.clone().filter(|(old, new)| is_over(health, *old, *new)).collect();
    (over.len() >= STRETCHES_OVER).then(|| {
        let old = over.iter().map(|(old, _)| *old).sum();
        let new = over.iter().map(|(_, new)| *new).sum();
        format!(
            "{} in {} of the last {} periods; the limit is {}",
            compared(old, new),
            over.len(),
            looked_at.len(),
            percent(health.error_rate_max)
        )
    })
}

/// Both sides, old and new, of each period in which the new side had requests; periods with fewer
/// than `requests_min` of them are added to the next ones until they have as many.
fn stretches(periods: &[Period], requests_min: u64) -> Vec<(Counts, Counts)> {
    let mut stretches = Vec::new();
    let (mut old, mut new) = (Counts::default(), Counts::default());
    for period in periods {
        let Some(counts) = period.new.filter(|counts| counts.requests > 0) else { continue };
        new = new + counts;
        old = old + period.old.unwrap_or_default();
        if new.requests >= requests_min {
            stretches.push((old, new));
            (old, new) = (Counts::default(), Counts::default());
        }
    }
    stretches
}

/// `new 0.31 % of 48,112 requests failed, old 0.1 % of 432,880`.
fn compared(old: Counts, new: Counts) -> String {
    let told = |counts: Counts, what: &str| match counts.error_rate() {
        Some(rate) => format!("{} of {}{what}", percent(rate), grouped(counts.requests)),
        None => "had no request".to_owned(),
    };
    format!("new {}, old {}", told(new, " requests failed"), told(old, ""))
}

/// A rate as a percentage with two decimals at most: `0.31 %`.
pub(crate) fn percent(rate: f64) -> String {
    let text = format!("{:.2}", rate * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const HEALTH: fn() -> Health = || Health { requests_min: 100, ..Health::default() };

    #[expect(clippy::unnecessary_wraps, reason = "a side of a period is an Option")]
    fn counts(requests: u64, errors: u64) -> Option<Counts> {
        Some(Counts { requests, errors })
    }

    /// Evidence of periods `(old, new)`, one a minute, all in the current step.
    fn evidence(periods: &[(Option<Counts>, Option<Counts>)]) -> Evidence<'static> {
        let at = |minute: i64| Timestamp::from_second(minute * 60).expect("in range");
        let periods = (0..).zip(periods);
        Evidence {
            periods: periods.map(|(i, &(old, new))| Period { start: at(i), old, new }).collect(),
            settled_at: Some(at(0)),
            healthy_hosts_new: None,
            alarms: &[],
        }
    }

    #[test]
    fn two_of_the_last_three_periods_over_the_limit_are_a_regression() {
        use VerdictKind::{Healthy, NotEnoughData, Regressed};
        let good = (counts(900, 1), counts(100, 0));
        let bad = (counts(900, 1), counts(100, 6));
        let half = (counts(450, 1), counts(50, 3));
        let shared = (counts(900, 90), counts(100, 20));
        let none = (None, None);
        let quiet = (counts(900, 1), counts(0, 0));
        let old_silent = (None, counts(1000, 60));
        let old_strays = (counts(3, 3), counts(1000, 400));
        let at_the_limit = (counts(900, 1), counts(100, 5));
        let total_loss = (counts(9000, 1), counts(100, 100));
        let table: [(&str, &[_], VerdictKind); 14] = [
            ("one bad period", &[good, good, bad], Healthy),
            ("two of three", &[bad, good, bad], Regressed),
            ("two in a row", &[good, bad, bad], Regressed),
            ("two, but long ago", &[bad, bad, good, good], Healthy),
            ("four thin ones are two", &[half, half, none, half, quiet, half], Regressed),
            ("two thin ones are one", &[good, good, half, half], Healthy),
            ("thin ones alone that all fail", &[half, half], NotEnoughData),
            ("one period, all lost", &[total_loss], NotEnoughData),
            ("a fault that both share", &[good, shared, shared], Healthy),
            ("nothing left on the old side", &[old_silent, old_silent], Regressed),
            ("strays on the old side excuse nothing", &[old_strays, old_strays], Regressed),
            ("the limit itself is allowed", &[at_the_limit; 3], Healthy),
            ("no data at all", &[none, none], NotEnoughData),
            ("no requests at all", &[quiet, quiet], NotEnoughData),
        ];
        for (what, periods, kind) in table {
            assert_eq!(judge(&HEALTH(), &evidence(periods)).kind, kind, "{what}");
        }
    }

    #[test]
    fn the_sentence_gives_the_numbers() {
        let bad = (counts(432_880, 433), counts(48_112, 3000));
        let verdict = judge(&HEALTH(), &evidence(&[bad, bad]));
        assert_eq!(
            verdict.reason,
            "new 6.24 % of 96,224 requests failed, old 0.1 % of 865,760 in 2 of the last 2 periods; \
             the limit is 5 %"
        );
        let measured = verdict.measured_share().expect("requests");
        assert!((measured - 0.1).abs() < 0.001);
    }

    #[test]
    fn an_alarm_or_no_healthy_target_need_no_requests() {
        let alarms = ["error-budget".to_owned(), "latency".to_owned()];
        let verdict = judge(&HEALTH(), &Evidence { alarms: &alarms, ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        assert_eq!(verdict.reason, "alarm error-budget and 1 more is in ALARM");
        let verdict = judge(&HEALTH(), &Evidence { healthy_hosts_new: Some(0), ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::Regressed);
        let verdict = judge(&HEALTH(), &Evidence { healthy_hosts_new: Some(1), ..evidence(&[]) });
        assert_eq!(verdict.kind, VerdictKind::NotEnoughData);
    }

    #[test]
    fn requests_from_before_the_step_settled_are_not_counted_as_data_of_it() {
        let mut seen =
            evidence(&[(counts(900, 0), counts(100, 0)), (counts(90, 0), counts(10, 0))]);
        assert_eq!(judge(&HEALTH(), &seen).kind, VerdictKind::Healthy);
        seen.settled_at = None;
        assert_eq!(judge(&HEALTH(), &seen).kind, VerdictKind::NotEnoughData);
        seen.settled_at = Some(seen.periods[1].start);
        let verdict = judge(&HEALTH(), &seen);
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
    }
}
