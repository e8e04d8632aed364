//! Words what a [`Judge`] has decided.

use crate::evidence::arrival::{Arrival, Missing};
use crate::evidence::e_process::{EProcess, Run};
use crate::evidence::judge::{Ground, Judge, Regression, Shared, Tested};
use crate::evidence::signal::SignalKind;
use crate::evidence::stretches::{OVER, Stretch};
use crate::evidence::{Counts, Evidence, power};
use crate::words::{e_shown, grouped, listed, percent, rounded};

/// With less than this part of the hosts that it had at the start, the old side could not take the traffic
/// back: each host would get more than twice what it got.
const OLD_HOSTS_MIN: f64 = 0.5;

impl<'a> Judge<'a> {
    /// Words what decides first, because a report cuts long reasons, with the numbers that a person needs, and the
    /// warnings beside it.
    pub(super) fn sentence(&self, ground: &Ground, evidence: &Evidence<'_>) -> String {
        let failed = evidence.failed_connections(self.health);
        let mut sentence = self.reason(ground, evidence, failed.as_deref());
        if evidence.own_alone {
            sentence = format!("{sentence}; judged by {} alone", self.health.own_names());
            if self.of_step().iter().all(|side| side.requests == 0) {
                sentence.push_str("; the share is not measured");
            }
        }
        let is_cause =
            matches!(ground, Ground::Missing(Arrival { missing: Missing::Vanished, .. }));
        let warnings = [
            failed.filter(|_| !is_cause),
            self.overload(evidence),
            self.no_way_back(evidence),
            unseen_alarms(evidence),
            self.not_sent_or_not_moved(evidence),
        ];
        for warning in warnings.into_iter().flatten() {
            sentence = format!("{sentence}; warning: {warning}");
        }
        sentence
    }

    fn reason(
        &self,
        ground: &Ground,
        evidence: &Evidence<'_>,
        failed_connections: Option<&str>,
    ) -> String {
        let [_, new] = self.of_step();
        let ringing = evidence.alarms.map_or(&[][..], |alarms| &alarms.ringing);
        match ground {
            Ground::Alarm => match ringing {
                [alarm, rest @ ..] if !rest.is_empty() => {
                    format!("alarm {alarm} and {} more is in ALARM", rest.len())
                }
                alarms => format!("alarm {} is in ALARM", alarms.concat()),
            },
            Ground::NoHealthyTarget => "the new side has no healthy target".to_owned(),
            Ground::Regression(regression) => self.against(*regression),
            Ground::BothSinceTheMove(signal, both) => self.of_tested(*signal, |tested| {
                let limit = percent(tested.stretches.limit());
                format!(
                    "the move itself may be the cause: both sides have been over the {limit} limit since this step \
                     began, as the old side was not in the day before; {}",
                    tested.compared(both.old, both.new)
                )
            }),
            Ground::Missing(arrival) => {
                let failed = failed_connections.map(str::to_owned);
                missing(arrival, failed.into_iter().chain(self.before_a_side()))
            }
            Ground::TooFewRequests => format!(
                "{} of the {} requests needed have been counted on the new side since the step settled{}",
                grouped(new.requests),
                grouped(self.health.requests_min),
                self.more_needed()
            ),
            Ground::NotLately(requests, periods) => format!(
                "{} requests have been counted on the new side since the step settled, but {} in the last {periods} \
                 periods: nothing is known of now",
                grouped(new.requests),
                grouped(*requests)
            ),
            Ground::OverTheLimit(signal) => self.of_tested(*signal, Tested::over_the_limit),
            Ground::NotCounted(signal) => self.of_tested(*signal, |tested| {
                format!(
                    "no {} have been counted on the new side since the step settled, and {} on the old side",
                    tested.signal.name(),
                    grouped(tested.of_step[0].requests)
                )
            }),
            Ground::OverTheLimitInDoubt => self.of_tested(0, Tested::over_the_limit_in_doubt),
            Ground::AlarmsUnread | Ground::Nothing => self.nothing(evidence.own_alone),
        }
    }

    fn of_tested(&self, signal: usize, words: impl Fn(&Tested<'a>) -> String) -> String {
        self.tested.get(signal).map(words).unwrap_or_default()
    }

    /// Words that nothing speaks against the new side, and what was looked at.
    fn nothing(&self, own_alone: bool) -> String {
        let mut reason = String::new();
        for tested in &self.tested {
            let [old, new] = tested.of_step;
            reason = match (reason.is_empty(), new.requests > 0) {
                (true, _) => format!("{}; {}", tested.compared(old, new), tested.e_words()),
                (false, true) => {
                    format!("{reason}; {}: {}", tested.signal.name(), tested.e_words())
                }
                (false, false) => format!("{reason}; {} not counted", tested.signal.name()),
            };
        }
        for answered in self.before_a_side() {
            reason = format!("{reason}; beside them {answered}");
        }
        if self.health.latency_target_s.is_none() && !own_alone {
            reason.push_str("; latency not judged");
        }
        reason + &self.more_needed()
    }

    /// Words what was answered before a side did, each by itself.
    fn before_a_side(&self) -> impl Iterator<Item = String> {
        self.shared.iter().filter(|shared| shared.of_step.errors > 0).map(|shared| {
            let limit = match shared.signal.kind {
                SignalKind::Failed => format!(" (limit {})", percent(shared.stretches.limit())),
                _ => String::new(),
            };
            shared.words(shared.of_step) + &limit
        })
    }

    /// What speaks against the new side, with the numbers that a person needs.
    fn against(&self, regression: Regression) -> String {
        match regression {
            Regression::Tested(signal) => self.of_tested(signal, Tested::against),
            Regression::Limit(signal) => self.of_tested(signal, |tested| {
                let Run { old, new, periods } = tested.process.run_over();
                let limit = percent(tested.stretches.limit());
                let compared = tested.compared(old, new);
                format!("{compared} in the last {periods} periods; the limit is {limit}")
            }),
            Regression::SharedLimit(index) => self.shared.get(index).map_or_else(String::new, |of| {
                let (Stretch { new, .. }, number) = of.stretches.over_alone();
                format!(
                    "{} in {number} of the last {} periods; the limit, which both sides share, is {}",
                    of.words(new),
                    of.stretches.number(),
                    percent(of.stretches.limit())
                )
            }),
            Regression::Percentile => {
                let (old_s, new_s) = self.slower().last().copied().unwrap_or_default();
                format!(
                    "95 of 100 requests of new took up to {new_s:.3} s, of old {old_s:.3} s, in {} of \
                     the last {} periods; the target is {} s",
                    self.slower().count(),
                    self.percentiles.latest.len(),
                    self.health.latency_target_s.unwrap_or_default()
                )
            }
        }
    }

    /// A share that is too small, where requests of others may be counted as well.
    fn not_sent_or_not_moved(&self, evidence: &Evidence<'_>) -> Option<String> {
        let arrival = self.arrival(evidence)?;
        (arrival.missing == Missing::NotSentOrNotMoved)
            .then(|| missing(&arrival, std::iter::empty()))
    }

    /// For low traffic: how many more requests it takes to detect an effect of the size that matters. Empty when enough
    /// were seen.
    fn more_needed(&self) -> String {
        let needed = || {
            let failed = self.tested.first()?;
            let [old, new] = failed.seen;
            let ratio = self.health.detectable_odds_ratio;
            let needed = power::requests_needed(
                old,
                new,
                failed.signal.tolerated_odds_ratio,
                ratio,
                failed.process.log_needed(ratio),
            )?;
            let more = needed.checked_sub(new.requests).filter(|more| *more > 0)?;
            let periods = u64::from(self.periods).saturating_mul(more) / new.requests.max(1);
            let periods = periods.saturating_add(1);
            let minutes = periods.saturating_mul(u64::from(self.health.period_s)).div_ceil(60);
            Some(format!(
                "; about {} more new-side requests ({} min) are needed to detect a {} rise",
                grouped(rounded(more)),
                grouped(rounded(minutes)),
                fold(ratio)
            ))
        };
        needed().unwrap_or_default()
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

impl Tested<'_> {
    /// `new 0.31 % of 48,112 requests failed, old 0.1 % of 432,880`.
    fn compared(&self, old: Counts, new: Counts) -> String {
        let part = |counts: Counts, what: &str| match counts.error_rate() {
            Some(rate) => format!("{} of {}{what}", percent(rate), grouped(counts.requests)),
            None => "had no request".to_owned(),
        };
        format!("new {}, old {}", part(new, &format!(" {}", self.signal.did())), part(old, ""))
    }

    fn e_words(&self) -> String {
        let (e, limit) = (self.process.log_e(), self.process.log_limit());
        format!("e = {}, limit {}", e_shown(e), e_shown(limit))
    }

    /// Words what its e-process says against the new side.
    fn against(&self) -> String {
        let test: &EProcess = &self.process;
        let Run { old, new, .. } = test.run();
        let odds = match odds_ratio(old, new) {
            Some(ratio) => format!("; odds {ratio:.1} times"),
            None => String::new(),
        };
        format!("{}{odds}; {}", self.compared(old, new), self.e_words())
    }

    /// Words why a new side that is over the limit does not go back.
    fn over_the_limit(&self) -> String {
        let [old, new] = self.of_step;
        let whole = Stretch { old, new, ..Stretch::default() };
        let stretch = self.stretches.newest().copied().unwrap_or(whole);
        let limit = percent(self.stretches.limit());
        let why = if self.stretches.is_excused(&stretch) {
            format!("both sides are over the {limit} limit")
        } else if self.stretches.over_alone().1 < OVER {
            format!("over the {limit} limit, but in only one period; a second one would decide")
        } else {
            format!("over the {limit} limit, but not yet for longer than a burst may last")
        };
        format!("{} lately: {why}", self.compared(stretch.old, stretch.new))
    }

    fn over_the_limit_in_doubt(&self) -> String {
        let why = match self.stretches.over_alone() {
            (_, number) if number < OVER => "but in only one period; a second one would decide",
            _ => "but by no more than chance; more requests would decide",
        };
        let ([old, new], limit) = (self.of_step, percent(self.stretches.limit()));
        format!("{}: over the {limit} limit, {why}", self.compared(old, new))
    }
}

impl Shared {
    /// `1.3 % of all 48,112 requests failed before a side answered`: the answer came from what stands before them both.
    fn words(&self, counted: Counts) -> String {
        let rate = percent(counted.error_rate().unwrap_or_default());
        let did = self.signal.did();
        format!("{rate} of all {} {did} before a side answered", grouped(counted.requests))
    }
}

/// Words where the requests are that do not arrive. `instead`: what became of others before a side could answer, which is
/// where requests are that vanish.
fn missing(arrival: &Arrival, instead: impl Iterator<Item = String>) -> String {
    let Arrival { intended, measured, sums, missing } = *arrival;
    let less = format!(
        "the new side gets {} of the requests where {} are meant for it, less than the lumps of the split allow",
        percent(measured),
        percent(intended)
    );
    let fallen = sums.map_or_else(String::new, |[before, now]| {
        format!("; both sides together count {now:.0} a period, {before:.0} before this step")
    });
    match missing {
        Missing::Vanished => {
            let instead: Vec<String> = instead.map(|words| words + "; ").collect();
            format!("requests vanish on the way: {}{less}{fallen}", instead.concat())
        }
        Missing::NotSent => {
            let why = "the router does not send them, or their connections last";
            format!("requests are missing: {why}; {less}")
        }
        Missing::NotSentOrNotMoved => {
            format!(
                "{less}: they are not sent to it, or requests are counted that stay where they are"
            )
        }
    }
}

/// Which of the named alarms tell nothing.
fn unseen_alarms(evidence: &Evidence<'_>) -> Option<String> {
    let alarms = evidence.alarms?;
    match (&alarms.unread, alarms.gone.is_empty()) {
        (Some(why), _) => Some(format!("the alarms cannot be read: {why}")),
        (None, false) => {
            Some(format!("no alarm of this name exists any more: {}", listed(&alarms.gone)))
        }
        (None, true) => None,
    }
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
