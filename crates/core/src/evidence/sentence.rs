//! Words what a [`Judge`] has decided.

use crate::evidence::e_process::{EProcess, Run};
use crate::evidence::judge::{Ground, Judge, OVER, Regression};
use crate::evidence::{Counts, Evidence, power};
use crate::words::{e_shown, grouped, percent, rounded};

/// With less than this part of the hosts that it had at the start, the old side could not take the traffic
/// back: each host would get more than twice what it got.
const OLD_HOSTS_MIN: f64 = 0.5;

impl Judge<'_> {
    /// Words what decides, with the numbers that a person needs, and the warnings beside it.
    pub(super) fn sentence(&self, ground: Ground, evidence: &Evidence<'_>) -> String {
        let mut sentence = self.reason(ground, evidence);
        for warning in self.overload(evidence).into_iter().chain(self.no_way_back(evidence)) {
            sentence = format!("{sentence}; warning: {warning}");
        }
        sentence
    }

    fn reason(&self, ground: Ground, evidence: &Evidence<'_>) -> String {
        let Self { health, old, new, .. } = *self;
        let more_needed = || self.more_needed().map_or(String::new(), |more| format!("; {more}"));
        match ground {
            Ground::Alarm => match evidence.alarms {
                [alarm, rest @ ..] if !rest.is_empty() => {
                    format!("alarm {alarm} and {} more is in ALARM", rest.len())
                }
                alarms => format!("alarm {} is in ALARM", alarms.concat()),
            },
            Ground::NoHealthyTarget => "the new side has no healthy target".to_owned(),
            Ground::Regression(regression) => self.against(regression),
            Ground::TooFewRequests => format!(
                "{} of the {} requests needed have been counted on the new side since the step settled{}",
                grouped(new.requests),
                grouped(health.requests_min),
                more_needed()
            ),
            Ground::OverTheLimitInDoubt => {
                let why = match self.over_the_limit() {
                    (_, _, number) if number < OVER => {
                        "but in only one period; a second one would decide"
                    }
                    _ => "but by no more than chance; more requests would decide",
                };
                let limit = percent(self.error_rate_max());
                format!("{}: over the {limit} limit, {why}", compared(old, new, "failed"))
            }
            Ground::Nothing => {
                let mut reason =
                    format!("{}; {}", compared(old, new, "failed"), self.e_words(&self.errors));
                if let Some(slow) = &self.slow {
                    reason = format!("{reason}; of slow requests {}", self.e_words(slow));
                }
                if self.shared.errors > 0 {
                    let shared = compared_shared(self.shared);
                    let limit = percent(health.error_rate_max);
                    reason = format!("{reason}; beside them {shared} (limit {limit})");
                }
                reason + &more_needed()
            }
        }
    }

    /// What speaks against the new side, with the numbers that a person needs.
    fn against(&self, regression: Regression) -> String {
        let tested = |test: &EProcess, worst: Option<f64>, what: &str| {
            if let (Some((old, new)), Some(worst)) = (test.alone(), worst) {
                return format!(
                    "{} in one period; the old side's worst of the day before was {}; {}",
                    compared(old, new, what),
                    percent(worst),
                    self.e_words(test)
                );
            }
            let Run { old, new, .. } = test.run();
            let odds = match odds_ratio(old, new) {
                Some(ratio) => format!("; odds {ratio:.1} times"),
                None => String::new(),
            };
            format!("{}{odds}; {}", compared(old, new, what), self.e_words(test))
        };
        let worst = self.baseline.map(|baseline| baseline.errors.worst_rate);
        match (regression, &self.slow) {
            (Regression::Slow, Some(slow)) => {
                let target_s = self.health.latency_target_s.unwrap_or_default();
                let worst = self.baseline.and_then(|baseline| baseline.slow);
                let worst = worst.map(|slow| slow.worst_rate);
                tested(slow, worst, &format!("took over {target_s} s"))
            }
            (Regression::Errors | Regression::Slow, _) => tested(&self.errors, worst, "failed"),
            (Regression::Limit, _) => {
                let (old, new, number) = self.over_the_limit();
                format!(
                    "{} in {number} of the last {} periods; the limit is {}",
                    compared(old, new, "failed"),
                    self.stretches.len(),
                    percent(self.error_rate_max())
                )
            }
            (Regression::SharedLimit, _) => {
                let (shared, number) = self.over_the_shared_limit();
                format!(
                    "{} in {number} of the last {} periods; the limit, which both sides share, is {}",
                    compared_shared(shared),
                    self.shared_stretches.len(),
                    percent(self.health.error_rate_max)
                )
            }
            (Regression::Percentile, _) => {
                let (old_s, new_s) = self.slower().last().copied().unwrap_or_default();
                format!(
                    "95 of 100 requests of new took up to {new_s:.3} s, of old {old_s:.3} s, in {} of \
                     the last {} periods; the target is {} s",
                    self.slower().count(),
                    self.percentiles.len(),
                    self.health.latency_target_s.unwrap_or_default()
                )
            }
        }
    }

    fn e_words(&self, test: &EProcess) -> String {
        format!("e = {}, limit {}", e_shown(test.log_e()), e_shown(self.log_limit()))
    }

    /// For low traffic: how many more requests it takes to detect an effect of the size that matters.
    fn more_needed(&self) -> Option<String> {
        let (old, new) = self.seen;
        let ratio = self.health.detectable_odds_ratio;
        let needed = power::requests_needed(
            old,
            new,
            self.health.tolerated_odds_ratio,
            ratio,
            self.errors.log_needed(ratio),
        )?;
        let more = needed.checked_sub(new.requests).filter(|more| *more > 0)?;
        let periods = u64::from(self.periods).saturating_mul(more) / new.requests.max(1);
        let periods = periods.saturating_add(1);
        let minutes = periods.saturating_mul(u64::from(self.health.period_s)).div_ceil(60);
        Some(format!(
            "about {} more new-side requests ({} min) are needed to detect a {} rise",
            grouped(rounded(more)),
            grouped(rounded(minutes)),
            fold(ratio)
        ))
    }

    /// Whether a host of the new side got more than it is prepared for, in the busiest period.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn overload(&self, evidence: &Evidence<'_>) -> Option<String> {
        let (old, new) = self.busiest;
        let per_host = |requests: u64, hosts: Option<u32>| {
            let hosts = f64::from(hosts.filter(|hosts| *hosts > 0)?);
            Some(requests as f64 / f64::from(self.health.period_s) / hosts)
        };
        let got = per_host(new, evidence.healthy_hosts_new)?;
        let (limit, whose) = if let Some(limit) = self.health.requests_per_host_max {
            (limit, "requests_per_host_max")
        } else {
            let hosts = self.baseline.map(|baseline| baseline.hosts);
            (
                per_host(old.saturating_add(new), hosts)?,
                "what a host of the old side would get with all of them",
            )
        };
        (got > limit).then(|| {
            let share = new as f64 / (old as f64 + new as f64);
            format!(
                "the new side got {} of the requests in one period, {got:.1} a second and healthy host; \
                 {limit:.1} is {whose}",
                percent(share)
            )
        })
    }

    /// Whether the old side has lost so many hosts since the start that it could not take the traffic back.
    fn no_way_back(&self, evidence: &Evidence<'_>) -> Option<String> {
        let had = self.baseline.map(|baseline| baseline.hosts).filter(|hosts| *hosts > 0)?;
        match evidence.healthy_hosts_old {
            Some(has) if f64::from(has) < OLD_HOSTS_MIN * f64::from(had) => Some(format!(
                "the old side has {} of the {} hosts it had: going back would overload it",
                grouped(has.into()),
                grouped(had.into())
            )),
            None if evidence.hosts_are_missing_old => Some(format!(
                "nothing is known of the {} hosts that the old side had: it may have none to go back to",
                grouped(had.into())
            )),
            _ => None,
        }
    }
}

/// `new 0.31 % of 48,112 requests failed, old 0.1 % of 432,880`.
fn compared(old: Counts, new: Counts, what: &str) -> String {
    let part = |counts: Counts, what: &str| match counts.error_rate() {
        Some(rate) => format!("{} of {}{what}", percent(rate), grouped(counts.requests)),
        None => "had no request".to_owned(),
    };
    format!("new {}, old {}", part(new, &format!(" requests {what}")), part(old, ""))
}

/// `1.3 % of all 48,112 requests failed before a side answered`: the answer came from what stands before them both.
fn compared_shared(shared: Counts) -> String {
    let rate = percent(shared.error_rate().unwrap_or_default());
    format!("{rate} of all {} requests failed before a side answered", grouped(shared.requests))
}

/// The odds to fail of the new side over those of the old one; `None` where one of them has none.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn odds_ratio(old: Counts, new: Counts) -> Option<f64> {
    let odds = |side: Counts| {
        let succeeded = side.requests.checked_sub(side.errors).filter(|count| *count > 0)?;
        Some(side.errors as f64 / succeeded as f64).filter(|odds| *odds > 0.0)
    };
    Some(odds(new)? / odds(old)?)
}

/// How often as much, in a word: `threefold`, `2.5-fold`.
fn fold(ratio: f64) -> String {
    match ratio.to_string().as_str() {
        "2" => "twofold".to_owned(),
        "3" => "threefold".to_owned(),
        ratio => format!("{ratio}-fold"),
    }
}
