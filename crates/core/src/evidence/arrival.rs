//! Arrival: whether the new side gets the requests that it is meant to get.
//!
//! Requests that vanish on the way (a certificate, a security group, a listener) are counted nowhere, and requests that
//! the router does not send stay on the old side. Both show in the measured share, which is lumpy by itself: it is
//! compared with what the lumps of the split allow. Whether the sum of both sides has fallen with it tells
//! the one from the other.

use jiff::Timestamp;

use crate::evidence::e_process::as_f64;
use crate::evidence::{Counts, Period};
use crate::router::lumps::Lumps;

/// Periods before a shift that its sum is compared with, and how many of these, and of those of the step, must be known.
pub const BEFORE_PERIODS: u32 = 10;
const KNOWN_PERIODS_MIN: usize = 5;
/// Periods of a step with requests of the new side that tell how lumpy the split is.
const SCATTER_PERIODS_MIN: usize = 5;
/// Standard errors of the sums that they must have fallen by.
const FALL_DEVIATIONS: f64 = 5.0;
/// Periods before a shift that tell how the sum was falling anyway; for no longer is that believed after it.
const SLOPE_PERIODS: usize = 20;
/// Standard errors by which it must have been falling.
const SLOPE_DEVIATIONS: f64 = 2.5;
/// A share as small as the measured one has at most this chance, when it alone speaks.
const CHANCE: f64 = 1e-6;
/// The same when the sum of both sides has fallen as well.
const CHANCE_BESIDE_A_FALL: f64 = 1e-2;

/// What the router was asked to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sent {
    /// The intended share of the new side, 0–1.
    pub share: f64,
    /// When these weights were written.
    pub since: Timestamp,
    /// How the split is drawn.
    pub lumps: Lumps,
    /// Seconds that a request may linger on its former side.
    pub linger_s: u32,
    /// Whether the meters count nothing but what the router splits: requests that stay where they are, of
    /// other routes, look as if they were not sent.
    pub is_alone: bool,
}

impl Sent {
    /// Whether all requests are meant for the new side.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.share >= 1.0
    }
}

/// Where the requests are that the new side should have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nowhere: the sum of both sides has fallen.
    Vanished,
    /// On the old side.
    NotSent,
    /// On the old side, or requests that nobody moves are counted as well.
    NotSentOrNotMoved,
}

/// How many requests arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// The intended share of the new side, 0–1.
    pub intended: f64,
    /// The measured one.
    pub measured: f64,
    /// Requests of both sides a period before the shift, and since the step has settled.
    pub sums: Option<[f64; 2]>,
    /// Where those are that are missing.
    pub missing: Missing,
}

impl Arrival {
    /// Looks at the periods since the step has settled; `None` when no request is missing that the lumps do not
    /// explain.
    #[must_use]
    pub fn of(all: &[Period], settled_at: Timestamp, sent: &Sent, period_s: u32) -> Option<Self> {
        let known = |period: &&Period| period.old.is_some() || period.new.is_some();
        let of_step: Vec<[u64; 2]> = all
            .iter()
            .filter(|period| period.start >= settled_at)
            .filter(known)
            .map(Period::requests)
            .collect();
        let measured = share(&of_step)?;
        if measured >= sent.share || sent.is_full() {
            return None;
        }
        // The chance of a share as small, by Chernoff's bound.
        let since: Vec<[u64; 2]> =
            all.iter().filter(|period| period.start >= sent.since).map(Period::requests).collect();
        let draws = draws(&of_step, &since, sent, period_s);
        let log_chance = -draws * divergence(measured, sent.share);
        let before: Vec<[u64; 2]> = all
            .iter()
            .filter(|period| {
                period.start.as_second() + i64::from(period_s) <= sent.since.as_second()
            })
            .filter(known)
            .map(Period::requests)
            .collect();
        let falls = falls_by(&sums(latest(&before, SLOPE_PERIODS)));
        let before = latest(&before, BEFORE_PERIODS as usize);
        let sums = (before.len().min(of_step.len()) >= KNOWN_PERIODS_MIN)
            .then(|| [before, &of_step].map(|periods| mean(&sums(periods))));
        let apart_s = settled_at.as_second() - sent.since.as_second();
        let apart = as_f64(apart_s.max(0).unsigned_abs()) / f64::from(period_s.max(1));
        let none = of_step.iter().all(|[_, new]| *new == 0);
        let vanished = (sent.is_alone || none)
            && log_chance < CHANCE_BESIDE_A_FALL.ln()
            && sums.is_some()
            && has_fallen([before, &of_step], sent.share, apart, falls);
        let missing = match (vanished, log_chance < CHANCE.ln(), sent.is_alone) {
            (true, ..) => Missing::Vanished,
            (false, true, true) => Missing::NotSent,
            (false, true, false) => Missing::NotSentOrNotMoved,
            (false, false, _) => return None,
        };
        Some(Self { intended: sent.share, measured, sums, missing })
    }
}

/// The latest periods.
fn latest(periods: &[[u64; 2]], number: usize) -> &[[u64; 2]] {
    periods.get(periods.len().saturating_sub(number)..).unwrap_or_default()
}

/// The new side's share of the requests.
fn share(periods: &[[u64; 2]]) -> Option<f64> {
    let sum = |side: fn(&[u64; 2]) -> u64| periods.iter().map(side).fold(0, u64::saturating_add);
    let [old, new] = [sum(|[old, _]| *old), sum(|[_, new]| *new)];
    Counts { requests: old.saturating_add(new), errors: new }.error_rate()
}

/// How many times it was drawn, independently, on which side the requests go. Where periods tell, by how much their
/// shares scatter: the fewer resolvers there are, the more. Otherwise by the number that was named. `since`: the shift.
fn draws(of_step: &[[u64; 2]], since: &[[u64; 2]], sent: &Sent, period_s: u32) -> f64 {
    let (period_s, linger_s) = (f64::from(period_s.max(1)), f64::from(sent.linger_s));
    let number = counted(of_step.len());
    let requests = || of_step.iter().flatten().map(|side| as_f64(*side)).sum::<f64>();
    let Lumps::PerAnswer { resolvers } = sent.lumps else { return requests() };
    let shares: Vec<f64> = of_step.iter().filter_map(|period| share(&[*period])).collect();
    let with_some = shares.iter().filter(|share| **share > 0.0).count();
    if with_some < SCATTER_PERIODS_MIN {
        // A resolver has a lump as large as the largest that was seen.
        let largest = since.iter().filter_map(|period| share(&[*period])).fold(0.0, f64::max);
        let resolvers = f64::from(resolvers).min(1.0 / largest);
        return resolvers * number * period_s / linger_s.max(1.0);
    }
    let (mean, error) = (mean(&shares), error_of_mean(&shares));
    let variance = error * counted(shares.len());
    // No request is drawn more than once. An answer lingers into the next periods, which tell the less for it.
    let a_period = (mean * (1.0 - mean) / variance.max(1e-12)).min(requests() / number);
    a_period * number * period_s / (period_s + linger_s)
}

/// The Kullback–Leibler divergence of a coin that shows `measured` from one that shows `intended`, which is above 0 and
/// below 1.
fn divergence(measured: f64, intended: f64) -> f64 {
    let part = |seen: f64, meant: f64| if seen > 0.0 { seen * (seen / meant).ln() } else { 0.0 };
    part(measured, intended) + part(1.0 - measured, 1.0 - intended)
}

/// The sum of both sides in each period.
fn sums(periods: &[[u64; 2]]) -> Vec<f64> {
    periods.iter().map(|[old, new]| as_f64(*old) + as_f64(*new)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / counted(values.len()).max(1.0)
}

/// The squared standard error of a mean; infinite where there is one value alone.
fn error_of_mean(values: &[f64]) -> f64 {
    let (number, mean) = (counted(values.len()), mean(values));
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    if number > 1.0 { squares / (number - 1.0) / number } else { f64::INFINITY }
}

/// Whether the sum of both sides has fallen by at least half of what the new side lacks, by more than chance, and by more than
/// it was falling anyway, which is that much from one period to the next: evenings have less traffic. `apart`: periods between.
fn has_fallen([before, of_step]: [&[[u64; 2]]; 2], share: f64, apart: f64, falls: f64) -> bool {
    let new: Vec<f64> = of_step.iter().map(|[_, new]| as_f64(*new)).collect();
    let (before, now) = (sums(before), sums(of_step));
    let distance = apart + f64::midpoint(counted(before.len()), counted(now.len()));
    let distance = distance.min(counted(SLOPE_PERIODS));
    let fallen = mean(&before) - mean(&now) - falls * distance;
    let error = (error_of_mean(&before) + error_of_mean(&now)).sqrt();
    fallen >= (share * mean(&before) - mean(&new)) / 2.0 && fallen > FALL_DEVIATIONS * error
}

/// By how much values fall from one to the next, by more than chance: the line of least squares.
fn falls_by(values: &[f64]) -> f64 {
    let (middle, mean) = ((counted(values.len()) - 1.0) / 2.0, mean(values));
    let (mut products, mut squares) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let from_middle = counted(index) - middle;
        products += from_middle * (value - mean);
        squares += from_middle * from_middle;
    }
    let falls = -products / squares.max(f64::MIN_POSITIVE);
    // What is left beside the line: the error of its slope.
    let all = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let left = (all - falls * falls * squares).max(0.0) / (counted(values.len()) - 2.0).max(1.0);
    if falls > SLOPE_DEVIATIONS * (left / squares.max(f64::MIN_POSITIVE)).sqrt() {
        falls
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of periods")]
const fn counted(periods: usize) -> f64 {
    periods as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten periods of a minute before a shift, all on the old side, then those of the step.
    fn periods(before: u64, of_step: &[(u64, u64)]) -> Vec<Period> {
        let all = std::iter::repeat_n((before, 0), 10).chain(of_step.iter().copied());
        let side = |requests| Some(Counts { requests, errors: 0 });
        (0..)
            .zip(all)
            .map(|(minute, (old, new))| Period {
                start: Timestamp::from_second(minute * 60).expect("in range"),
                old: side(old),
                new: side(new),
                ..Period::default()
            })
            .collect()
    }

    fn sent(share: f64, resolvers: u32) -> Sent {
        let since = Timestamp::from_second(600).expect("in range");
        let lumps = Lumps::PerAnswer { resolvers };
        Sent { share, since, lumps, linger_s: 60, is_alone: true }
    }

    fn missing(of_step: &[(u64, u64)], sent: &Sent) -> Option<Missing> {
        let arrival = Arrival::of(&periods(54_000, of_step), sent.since, sent, 60);
        arrival.map(|arrival| arrival.missing)
    }

    type Case<'a> = (&'static str, &'a [(u64, u64)], &'a Sent, Option<Missing>);

    #[test]
    fn what_is_missing_has_vanished_or_stays_on_the_old_side() {
        let ten = sent(0.1, 10);
        let others = Sent { is_alone: false, ..ten };
        let table: [Case<'_>; 9] = [
            ("as intended", &[(48_600, 5_400); 30], &ten, None),
            ("half never arrive", &[(48_600, 2_700); 30], &ten, Some(Missing::Vanished)),
            ("none arrive", &[(48_600, 0); 6], &ten, Some(Missing::Vanished)),
            ("none are sent", &[(54_000, 0); 18], &ten, Some(Missing::NotSent)),
            ("half are sent", &[(51_300, 2_700); 30], &ten, Some(Missing::NotSent)),
            ("a lump of none is likely", &[(54_000, 0); 4], &ten, None),
            ("none arrive of others' as well", &[(48_600, 0); 6], &others, Some(Missing::Vanished)),
            (
                "half arrive, or others' requests stay",
                &[(48_600, 2_700); 30],
                &others,
                Some(Missing::NotSentOrNotMoved),
            ),
            ("all are meant for it", &[(20_000, 34_000); 30], &sent(1.0, 10), None),
        ];
        for (what, of_step, sent, wanted) in table {
            assert_eq!(missing(of_step, sent), wanted, "{what}");
        }
        assert_eq!(Arrival::of(&[], ten.since, &ten, 60), None);
    }

    #[test]
    fn a_resolver_that_went_over_and_back_before_the_step_settled_is_as_large_as_it_showed() {
        let ten = sent(0.1, 10);
        let settled_at = Timestamp::from_second(660).expect("in range");
        let missing = |first: (u64, u64)| {
            let of_step = [&[first][..], &[(48_600, 0); 6]].concat();
            Arrival::of(&periods(54_000, &of_step), settled_at, &ten, 60)
                .map(|arrival| arrival.missing)
        };
        assert_eq!(missing((48_600, 5_400)), Some(Missing::Vanished));
        assert_eq!(
            missing((27_000, 27_000)),
            None,
            "two resolvers, of which none goes over by chance"
        );
    }

    /// Numbers from 0 to 1 that look like chance.
    struct Chance(u64);

    impl Chance {
        fn next(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(self.0 >> 32).expect("32 bits")) / f64::from(u32::MAX)
        }
    }

    /// A healthy step of an hour: each resolver asks anew every minute, at a moment of its own, and the traffic of a
    /// minute varies by 5 %.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests")]
    fn healthy(chance: &mut Chance, share: f64, resolvers: u32) -> Vec<(u64, u64)> {
        let mut resolvers: Vec<(f64, bool)> =
            (0..resolvers).map(|_| (chance.next(), chance.next() < share)).collect();
        let number = counted(resolvers.len());
        let minute = |_| {
            let requests = 54_000.0 * (0.95 + 0.1 * chance.next());
            let mut new = 0.0;
            for (asks_at, is_new) in &mut resolvers {
                let was_new = *is_new;
                *is_new = chance.next() < share;
                let part = |is_new: bool, time: f64| if is_new { time } else { 0.0 };
                new += part(was_new, *asks_at) + part(*is_new, 1.0 - *asks_at);
            }
            let new = requests * new / number;
            ((requests - new) as u64, new as u64)
        };
        (0..60).map(minute).collect()
    }

    #[test]
    fn a_healthy_cutover_is_not_taken_back_however_few_its_resolvers_are() {
        for (share, resolvers) in [(0.01, 2), (0.01, 10), (0.1, 2), (0.1, 10), (0.5, 2), (0.9, 3)] {
            let mut chance = Chance(7);
            let (mut vanished, mut held) = (0, 0);
            for _ in 0..200 {
                let step = healthy(&mut chance, share, resolvers);
                // Looked at after every minute; ten resolvers are what a request that names none means.
                let all = |until| missing(step.get(..until).unwrap_or_default(), &sent(share, 10));
                let seen: Vec<Missing> = (1..=step.len()).filter_map(all).collect();
                vanished += u32::from(seen.contains(&Missing::Vanished));
                held += u32::from(seen.last() == Some(&Missing::NotSent));
            }
            assert_eq!(vanished, 0, "{share} {resolvers}");
            assert!(
                held <= 10,
                "{share} {resolvers}: {held} of 200 are held at the end of the hour"
            );
        }
    }
}
