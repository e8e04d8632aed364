//! Connections that fail: most of them come to no request, so that no count of requests has them.

use serde::Serialize;

use crate::evidence::e_process::as_f64;
use crate::evidence::{Evidence, Period};
use crate::request::health::Health;
use crate::router::lumps::Lumps;
use crate::words::grouped;

/// Failed connections are reported when chance alone would cause as many with at most this probability.
const CHANCE: f64 = 1e-6;

/// Connections of one side that failed, in one period or in several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// TLS negotiations that failed, as without a certificate for the name that is asked for.
    pub tls: u64,
    /// Connections that were rejected because there were too many.
    pub rejected: u64,
    /// Connections to targets that did not come about. Their requests are among the failed ones.
    pub to_targets: u64,
}

/// A kind of failed connection: how to read its number, and the words that follow it.
type Kind = (fn(&Connections) -> u64, &'static str);

const KINDS: [Kind; 3] = [
    (|of| of.tls, "TLS negotiations failed"),
    (|of| of.rejected, "connections were rejected"),
    (|of| of.to_targets, "connections to targets failed"),
];

impl std::ops::Add for Connections {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tls: self.tls.saturating_add(other.tls),
            rejected: self.rejected.saturating_add(other.rejected),
            to_targets: self.to_targets.saturating_add(other.to_targets),
        }
    }
}

/// Some periods added up: how many they are, and of the old and of the new side the requests and the failed connections.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    periods: f64,
    requests: [u64; 2],
    connections: [Connections; 2],
}

impl Sum {
    fn of<'p>(periods: impl Iterator<Item = &'p Period>) -> Self {
        periods.fold(Self::default(), |sum, period| {
            let ([a, b], [old, new]) = (sum.requests, period.requests());
            let [c, d] = sum.connections;
            let [failed_old, failed_new] = period.connections;
            Self {
                periods: sum.periods + 1.0,
                requests: [a.saturating_add(old), b.saturating_add(new)],
                connections: [c + failed_old, d + failed_new],
            }
        })
    }
}

impl Evidence<'_> {
    /// Failed connections of the old and of the new side since the step has settled.
    #[must_use]
    pub fn connections(&self) -> [Connections; 2] {
        self.of_step().connections
    }

    fn of_step(&self) -> Sum {
        let has_settled =
            |period: &&Period| self.settled_at.is_some_and(|since| period.start >= since);
        Sum::of(self.periods.iter().filter(has_settled))
    }

    /// Words the connections that fail on the new side in this step by more than chance: more than the tolerated
    /// multiple of what the old side's rate in all periods gives, and of what failed there before anything was sent to
    /// it. `None` when none do, where both sides have the same entrance (there the split comes after the connection), and
    /// once the window has no period from before the ramp any more: then nobody knows what strays there are.
    pub(super) fn failed_connections(&self, health: &Health) -> Option<String> {
        self.sent.filter(|sent| sent.lumps != Lumps::PerRequest)?;
        let before: Vec<&Period> =
            self.periods.iter().filter(|period| !self.is_of_the_ramp(period)).collect();
        if before.is_empty() {
            return None;
        }
        let before = Sum::of(before.into_iter());
        let (all, step) = (Sum::of(self.periods.iter()), self.of_step());
        let said = KINDS.iter().filter_map(|(number, did)| {
            let [of_old, _] = all.connections.each_ref().map(number);
            let [_, strays] = before.connections.each_ref().map(number);
            let [old, new] = step.connections.each_ref().map(number);
            // Nobody knows a rate better than by one more of them.
            let per_old = as_f64(of_old + 1) / as_f64(all.requests[0] + of_old).max(1.0);
            let stray = as_f64(strays + 1) / before.periods;
            let usual = per_old * as_f64(step.requests[1] + new) + stray * step.periods;
            speaks(as_f64(new), health.tolerated_odds_ratio * usual).then(|| {
                let [old, new] = [old, new].map(grouped);
                format!("{new} {did} on the new side since the step settled, {old} on the old one")
            })
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join(", and "))
    }
}

/// Whether a number is above what is expected by more than chance: Chernoff's bound of a Poisson law.
fn speaks(number: f64, expected: f64) -> bool {
    let log_chance = number - expected - number * (number / expected).ln();
    number > expected && log_chance < CHANCE.ln()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::evidence::Counts;
    use crate::evidence::arrival::Sent;
    use crate::evidence::judge::judge;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).expect("in range")
    }

    /// Ten minutes before a shift to a tenth, and ten after it, with this many failed TLS negotiations a minute: of the
    /// old side, of the new one before, and of the new one after. And requests that reach the new side after.
    fn evidence(tls: [u64; 3], requests: u64) -> Evidence<'static> {
        let [old, before, after] = tls;
        let period = |minute: i64| {
            let (new, requests) = if minute < 10 { (before, 0) } else { (after, requests) };
            let side = |requests| Some(Counts { requests, errors: 0 });
            let failed = |tls| Connections { tls, ..Connections::default() };
            Period {
                start: at(minute),
                old: side(54_000),
                new: side(requests),
                connections: [failed(old), failed(new)],
                ..Period::default()
            }
        };
        let lumps = Lumps::PerAnswer { resolvers: 10 };
        let sent = Sent { share: 0.1, since: at(10), lumps, linger_s: 60, is_alone: true };
        Evidence {
            periods: (0..20).map(period).collect(),
            settled_at: Some(at(10)),
            ramp_at: Some(at(10)),
            sent: Some(sent),
            ..Evidence::default()
        }
    }

    fn said(tls: [u64; 3], requests: u64) -> Option<String> {
        evidence(tls, requests).failed_connections(&Health::default())
    }

    #[test]
    fn connections_that_fail_on_the_new_side_alone_are_said_with_their_numbers() {
        let none_arrives = said([0, 0, 12], 0).expect("said");
        assert_eq!(
            none_arrives,
            "120 TLS negotiations failed on the new side since the step settled, 0 on the old one"
        );
        assert!(said([54, 0, 60], 6_000).is_some(), "ten times as many a request");
        let of = evidence([54, 0, 60], 6_000).connections();
        assert_eq!(of.map(|side| side.tls), [540, 600]);
    }

    #[test]
    fn what_fails_as_on_the_old_side_or_before_anything_was_sent_says_nothing() {
        let table = [
            ("none", [0, 0, 0]),
            ("as often a request as on the old side", [54, 0, 6]),
            ("a few, of nobody knows what", [0, 0, 1]),
            ("scanners, who come whatever the weights are", [54, 54, 60]),
        ];
        for (what, tls) in table {
            assert_eq!(said(tls, 6_000), None, "{what}");
        }
    }

    #[test]
    fn nothing_is_said_once_no_period_from_before_the_ramp_is_in_the_window() {
        let mut evidence = evidence([0, 0, 60], 6_000);
        evidence.periods.drain(..9);
        assert!(evidence.failed_connections(&Health::default()).is_some(), "one is left");
        evidence.periods.remove(0);
        assert_eq!(evidence.failed_connections(&Health::default()), None);
    }

    #[test]
    fn sides_behind_one_entrance_are_not_compared() {
        let mut evidence = evidence([0, 0, 60], 6_000);
        let sent = evidence.sent.map(|sent| Sent { lumps: Lumps::PerRequest, ..sent });
        evidence.sent = sent;
        assert_eq!(evidence.failed_connections(&Health::default()), None);
        evidence.sent = None;
        assert_eq!(evidence.failed_connections(&Health::default()), None);
    }

    #[test]
    fn they_are_the_cause_where_requests_vanish_and_a_warning_elsewhere() {
        let verdict = |evidence: &Evidence<'_>| judge(&Health::default(), evidence, 1, None);
        let mut evidence = evidence([0, 0, 12], 0);
        let waits = verdict(&evidence);
        assert!(
            waits.reason.contains("; warning: 120 TLS negotiations failed on the new side"),
            "{}",
            waits.reason
        );
        for period in evidence.periods.iter_mut().skip(10) {
            period.old = Some(Counts { requests: 48_600, errors: 0 });
        }
        let vanished = verdict(&evidence);
        let first = "requests vanish on the way: 120 TLS negotiations failed on the new side since the step settled, \
                     0 on the old one; the new side gets 0 % of the requests";
        assert!(vanished.reason.starts_with(first), "{}", vanished.reason);
        assert!(!vanished.reason.contains("warning"), "{}", vanished.reason);
        assert_eq!(vanished.connections[1].tls, 120);
    }

    #[test]
    fn every_kind_that_speaks_is_said() {
        let mut evidence = evidence([0, 0, 0], 6_000);
        for period in evidence.periods.iter_mut().skip(10) {
            period.connections[1] = Connections { tls: 0, rejected: 30, to_targets: 20 };
        }
        let said = evidence.failed_connections(&Health::default()).expect("said");
        assert!(said.starts_with("300 connections were rejected on the new side"), "{said}");
        assert!(said.contains(", and 200 connections to targets failed on the new side"), "{said}");
    }
}
