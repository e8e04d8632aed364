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
    /// What the old side did since the step's weights were written.
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

/// Periods that the hard limit on errors looks at, and how many of them must be over it: one bad
/// period alone never goes back.
const PERIODS_LOOKED_AT: usize = 3;
const PERIODS_OVER: usize = 2;

/// Judges one route by hard limits: a named alarm in ALARM, no healthy target, an error rate over
/// `error_rate_max` in two of the last three complete periods of at least `requests_min` requests
/// on the new side while the old side is not over it. Then whether there was enough to see.
///
/// Once the old side gets no requests (at 100 %) there is nothing to compare with, and the limit
/// stands alone.
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
            "{} of the {} requests needed have been counted on the new side in this step",
            grouped(new.requests),
            grouped(health.requests_min)
        );
        return with(VerdictKind::NotEnoughData, reason);
    }
    with(VerdictKind::Healthy, compared(old, new))
}

fn over_the_limit(health: &Health, periods: &[Period]) -> Option<String> {
    let enough =
        |period: &&Period| period.new.is_some_and(|counts| counts.requests >= health.requests_min);
    let over = |counts: Counts| counts.error_rate().is_some_and(|r| r > health.error_rate_max);
    let looked_at: Vec<&Period> =
        periods.iter().rev().filter(enough).take(PERIODS_LOOKED_AT).collect();
    let bad: Vec<&Period> = looked_at
        .iter()
        .copied()
        .filter(|p| p.new.is_some_and(over) && !p.old.is_some_and(over))
        .collect();
    (bad.len() >= PERIODS_OVER).then(|| {
        let new = bad.iter().filter_map(|p| p.new).sum();
        let old = bad.iter().filter_map(|p| p.old).sum();
        format!(
            "{} in {} of the last {} periods; the limit is {}",
            compared(old, new),
            bad.len(),
            looked_at.len(),
            percent(health.error_rate_max)
        )
    })
}

/// `new 0.31 % of 48,112 requests failed, old 0.1 % of 432,880`.
fn compared(old: Counts, new: Counts) -> String {
    let side = |counts: Counts| match counts.error_rate() {
        Some(rate) => (percent(rate), grouped(counts.requests)),
        None => ("none".to_owned(), "0".to_owned()),
    };
    let ((old_rate, old_requests), (new_rate, new_requests)) = (side(old), side(new));
    format!("new {new_rate} of {new_requests} requests failed, old {old_rate} of {old_requests}")
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
            step_since: at(0),
            healthy_hosts_new: None,
            alarms: &[],
        }
    }

    #[test]
    fn two_of_the_last_three_periods_over_the_limit_are_a_regression() {
        let good = (counts(900, 1), counts(100, 0));
        let bad = (counts(900, 1), counts(100, 6));
        let thin = (counts(900, 1), counts(99, 99));
        let shared = (counts(900, 90), counts(100, 20));
        let none = (None, None);
        let old_silent = (None, counts(1000, 60));
        let at_the_limit = (counts(900, 1), counts(100, 5));
        let table: [(&str, &[_], VerdictKind); 10] = [
            ("one bad period", &[good, good, bad], VerdictKind::Healthy),
            ("two of three", &[bad, good, bad], VerdictKind::Regressed),
            ("two in a row", &[good, bad, bad], VerdictKind::Regressed),
            ("two, but long ago", &[bad, bad, good, good], VerdictKind::Healthy),
            ("thin periods do not count", &[good, thin, thin], VerdictKind::Healthy),
            ("thin periods are passed over", &[bad, thin, none, bad, thin], VerdictKind::Regressed),
            ("a fault that both share", &[good, shared, shared], VerdictKind::Healthy),
            ("nothing left on the old side", &[old_silent, old_silent], VerdictKind::Regressed),
            ("the limit itself is allowed", &[at_the_limit; 3], VerdictKind::Healthy),
            ("no data at all", &[none, none], VerdictKind::NotEnoughData),
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
    fn requests_of_earlier_steps_are_not_counted_as_data_of_this_one() {
        let mut seen =
            evidence(&[(counts(900, 0), counts(100, 0)), (counts(90, 0), counts(10, 0))]);
        assert_eq!(judge(&HEALTH(), &seen).kind, VerdictKind::Healthy);
        seen.step_since = seen.periods[1].start;
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
