//! Kinds of traffic on which rules go wrong: what two equally good sides do that is not chance, and faults that do not
//! show in every minute.
//!
//! Minute by minute, as [`traffic`](super::traffic): a canary ramp of ten minutes a step through resolvers of the same size,
//! each of which keeps an answer for 60 s. A day of the old side comes before it, or none.

use cutover_core::{BASELINE_PERIODS, Counts};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};

use super::traffic::{RampShape, STEP_MINUTES, binomial, measured, poisson, stream};
use crate::rules::Minute;

/// The usual rate of failed requests.
const RATE: f64 = 0.001;
/// How many resolvers there are where a kind does not say it.
const RESOLVERS: u32 = 200;
/// What fails in an incident of both sides.
const INCIDENT_RATE: f64 = 0.2;
/// Minutes in which the ramp of a fault that begins late lasts, and after which it begins.
const LATE_MINUTES: usize = 300;
const LATE_AFTER: usize = 240;
/// The mean size of a clump, of 10 to 100.
const CLUMP_MEAN: f64 = 55.0;
/// An outage of the day before: when it began, and for how many minutes everything failed.
const OUTAGE: std::ops::Range<u32> = 700..705;

/// What is special about the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Nothing.
    Steady(f64),
    /// An incident of minutes reaches both sides, the new one this many seconds earlier.
    Incident(f64),
    /// As `Incident(0.0)`, and two periods of the old side are missing in it.
    Gap,
    /// Clients of one resolver, 1 % of the load, fail a fifth of their requests.
    Bots,
    /// Errors come in clumps of 10 to 100: clients that try again.
    Clumps,
    /// Each of 30 resolvers has its own rate, log-normal with σ = 1.
    Resolvers,
    /// The day before had a third of the errors.
    Sunday,
    /// Errors are counted a minute after their requests.
    Late,
    /// Each side has bursts of its own, × 20 in 3 % of the minutes, this many minutes long.
    OwnBursts(f64),
    /// The logarithm of each side's rate wanders with this standard deviation, and is forgotten in 15 minutes.
    Correlated(f64),
    /// At 100 % the new side fails at this rate. `true`: after five minutes in which all failed, the day before.
    AtFull(f64, bool),
    /// One minute in this many the new side fails at this rate. `true`: after such an outage.
    Intermittent(usize, f64, bool),
    /// × 10, after 240 minutes at half of the traffic.
    LateFault,
    /// 40 requests a minute, none of which ever failed on the old side; the new side fails at this rate.
    Quiet(f64),
    /// The new side fails this many times as often.
    Times(f64),
    /// The new side fails at this rate.
    Fails(f64),
}

/// All kinds with equal sides.
#[must_use]
pub fn equal() -> Vec<Kind> {
    use Kind::{
        Bots, Clumps, Correlated, Gap, Incident, Late, OwnBursts, Resolvers, Steady, Sunday,
    };
    vec![
        Steady(RATE),
        Steady(0.02),
        Steady(0.05),
        Steady(0.055),
        Steady(0.3),
        Incident(0.0),
        Incident(10.0),
        Incident(20.0),
        Incident(60.0),
        Gap,
        Bots,
        Clumps,
        Resolvers,
        Sunday,
        Late,
        OwnBursts(1.0),
        OwnBursts(3.0),
        OwnBursts(5.0),
        Correlated(0.3),
        Correlated(0.5),
    ]
}

/// All kinds with a bad new side.
#[must_use]
pub fn bad() -> Vec<Kind> {
    use Kind::{AtFull, Fails, Intermittent, LateFault, Quiet, Times};
    vec![
        Times(3.0),
        Times(10.0),
        Fails(0.05),
        Fails(0.5),
        Fails(1.0),
        AtFull(0.1, true),
        AtFull(0.2, true),
        AtFull(0.45, true),
        AtFull(0.049, false),
        Intermittent(5, 0.5, false),
        Intermittent(5, 0.5, true),
        Intermittent(5, 0.05, false),
        Intermittent(2, 0.05, false),
        LateFault,
        Quiet(0.025),
    ]
}

impl Kind {
    /// What it is called in reports.
    #[must_use]
    pub fn name(self) -> String {
        let percent = |rate: f64| format!("{:.1} %", rate * 100.0).replace(".0 %", " %");
        let outage =
            |was: bool| if was { ", after an outage of five minutes yesterday" } else { "" };
        match self {
            Self::Steady(rate) => format!("both sides steady at {}", percent(rate)),
            Self::Incident(s) if s > 0.0 => format!("an incident to 20 %, {s} s apart"),
            Self::Incident(_) => "an incident to 20 % at once".to_owned(),
            Self::Gap => "an incident, two periods of the old side missing".to_owned(),
            Self::Bots => "bots behind one resolver".to_owned(),
            Self::Clumps => "errors in clumps of 10 to 100".to_owned(),
            Self::Resolvers => "30 resolvers with rates of their own".to_owned(),
            Self::Sunday => "three times yesterday's errors".to_owned(),
            Self::Late => "errors counted a minute late, 2 %".to_owned(),
            Self::OwnBursts(minutes) => format!("own bursts of {minutes} min"),
            Self::Correlated(sd) => format!("rates that wander over 15 min, σ {sd}"),
            Self::AtFull(rate, was) => format!("{} at 100 %{}", percent(rate), outage(was)),
            Self::Intermittent(every, rate, was) => {
                format!("one minute in {every} at {}{}", percent(rate), outage(was))
            }
            Self::LateFault => "× 10 after 240 minutes".to_owned(),
            Self::Quiet(rate) => format!("40 requests a minute, {}", percent(rate)),
            Self::Times(factor) => format!("× {factor}"),
            Self::Fails(rate) => percent(rate),
        }
    }

    fn usual(self) -> f64 {
        match self {
            Self::Steady(rate) => rate,
            Self::Late => 0.02,
            Self::Quiet(_) => 0.0,
            _ => RATE,
        }
    }

    fn requests(self, per_s: f64) -> f64 {
        if matches!(self, Self::Quiet(_)) { 40.0 } else { 60.0 * per_s }
    }

    /// Whether a day of this kind can come before. An outage needs one, and what says that there is none has none.
    #[must_use]
    pub fn has(self, day: bool) -> bool {
        match self {
            Self::AtFull(_, was) | Self::Intermittent(_, _, was) => day == was,
            Self::Sunday => day,
            _ => true,
        }
    }

    /// The rate of the new side's own fault in a minute of the ramp; `None`: there is none.
    fn fault(self, minute: usize, share: f64) -> Option<f64> {
        match self {
            Self::AtFull(rate, _) => (share >= 1.0).then_some(rate),
            Self::Intermittent(every, rate, _) => (minute % every == every - 1).then_some(rate),
            Self::LateFault => (minute >= LATE_AFTER).then_some(10.0 * RATE),
            Self::Quiet(rate) | Self::Fails(rate) => Some(rate),
            Self::Times(factor) => Some(factor * RATE),
            _ => None,
        }
    }

    fn shares(self) -> Vec<f64> {
        match self {
            Self::LateFault => vec![0.5; LATE_MINUTES],
            // Long enough for a step of it to have requests.
            Self::Quiet(_) => [vec![0.5; 20], vec![1.0; 120]].concat(),
            _ => {
                RampShape::Canary.shares().iter().flat_map(|share| [*share; STEP_MINUTES]).collect()
            }
        }
    }
}

/// The day of the old side, if there is one, and the minutes of the ramp.
#[must_use]
pub fn draw(
    kind: Kind,
    requests_per_s: f64,
    day: bool,
    seed: u64,
) -> (Vec<Option<Counts>>, Vec<Minute>) {
    let mut rng = stream(seed, 7);
    let load = kind.requests(requests_per_s);
    let history = if day { history(kind, load, &mut rng) } else { Vec::new() };
    (history, ramp(kind, load, &mut rng))
}

fn history(kind: Kind, load: f64, rng: &mut impl Rng) -> Vec<Option<Counts>> {
    let mut moods = Moods::new(kind);
    let sunday = if kind == Kind::Sunday { 1.0 / 3.0 } else { 1.0 };
    let had_outage = matches!(kind, Kind::AtFull(_, true) | Kind::Intermittent(_, _, true));
    let mut late = None;
    (0..BASELINE_PERIODS)
        .map(|minute| {
            let factor = moods.next(rng)[0] * sunday;
            let requests = poisson(load, rng);
            let rate =
                if had_outage && OUTAGE.contains(&minute) { 1.0 } else { kind.usual() * factor };
            let drawn = errors(kind, requests, rate + bots(kind, 1.0), rng);
            let errors =
                if kind == Kind::Late { late.replace(drawn).unwrap_or(drawn) } else { drawn };
            (requests > 0).then_some(Counts { requests, errors: errors.min(requests) })
        })
        .collect()
}

/// What bots add to the rate of a side that has them for a part of a minute, at a hundredth of all of the load.
fn bots(kind: Kind, part: f64) -> f64 {
    if kind == Kind::Bots { 0.01 * 0.2 * part } else { 0.0 }
}

fn ramp(kind: Kind, load: f64, rng: &mut impl Rng) -> Vec<Minute> {
    let number = match kind {
        Kind::Resolvers => 30,
        Kind::Late => 20,
        _ => RESOLVERS,
    };
    let mut resolvers: Vec<(f64, bool)> =
        (0..number).map(|_| (rng.random::<f64>(), false)).collect();
    let mut rates: Vec<f64> = match Normal::<f64>::new(-0.5, 1.0) {
        Ok(normal) => (0..number).map(|_| normal.sample(rng).exp()).collect(),
        Err(_) => Vec::new(),
    };
    let sum: f64 = rates.iter().sum();
    for rate in &mut rates {
        *rate *= f64::from(number) / sum;
    }
    let shares = kind.shares();
    // Over before the last step: without a control nothing tells an incident from a fault.
    let begins = rng.random_range(2.0..40.0);
    let lasts = rng.random_range(3.0..10.0);
    let mut moods = Moods::new(kind);
    let mut late = [None; 2];
    let mut minutes = Vec::new();
    for (minute, share) in shares.iter().enumerate() {
        let before: Vec<bool> = resolvers.iter().map(|(_, answer)| *answer).collect();
        let to_new =
            if kind == Kind::LateFault { *share } else { measured(&mut resolvers, *share, rng) };
        // The part of the minute that each resolver's requests go to the new side.
        let parts: Vec<f64> = resolvers
            .iter()
            .zip(&before)
            .map(|((asks_at, now), before)| {
                let part = |is: bool, of: f64| if is { of } else { 0.0 };
                part(*before, *asks_at) + part(*now, 1.0 - asks_at)
            })
            .collect();
        let factors = moods.next(rng);
        let incident = |ahead_s: f64| match kind {
            Kind::Incident(_) | Kind::Gap => {
                let begin = begins - ahead_s / 60.0;
                let at = counted(minute);
                ((at + 1.0).min(begin + lasts) - at.max(begin)).clamp(0.0, 1.0)
            }
            _ => 0.0,
        };
        let ahead = if let Kind::Incident(s) = kind { s } else { 0.0 };
        let incidents = [incident(0.0), incident(ahead)];
        let heavy = parts.first().copied().unwrap_or(0.0);
        let light = if kind == Kind::Bots { 0.01 } else { 0.0 };
        let mut count = |is_new: bool, factor: f64, incident: f64, late: &mut Option<u64>| {
            let of = |new: f64| if is_new { new } else { 1.0 - new };
            let requests = poisson(load * of(to_new), rng);
            let own = kind.usual() * factor;
            let mut rate = own + incident * (INCIDENT_RATE - own);
            if kind == Kind::Resolvers {
                let failing: f64 =
                    parts.iter().zip(&rates).map(|(part, rate)| of(*part) * rate).sum();
                let all: f64 = parts.iter().map(|part| of(*part)).sum();
                rate = if all > 0.0 { RATE * failing / all } else { RATE };
            }
            if is_new {
                rate = kind.fault(minute, *share).unwrap_or(rate);
            }
            let drawn = errors(kind, requests, rate, rng);
            let bots = poisson(load * light * of(heavy), rng);
            let failed = drawn + binomial(bots, 0.2, rng);
            let errors =
                if kind == Kind::Late { late.replace(failed).unwrap_or(failed) } else { failed };
            let requests = requests + bots;
            Counts { requests: requests.max(errors), errors }
        };
        let ([factor_old, factor_new], [incident_old, incident_new]) = (factors, incidents);
        let [late_old, late_new] = &mut late;
        let old = count(false, factor_old, incident_old, late_old);
        let new = count(true, factor_new, incident_new, late_new);
        let is_gap = kind == Kind::Gap && (begins + 1.0..begins + 3.0).contains(&counted(minute));
        let old = if is_gap { Counts::default() } else { old };
        minutes.push(Minute { old, new, share: *share });
    }
    minutes
}

/// Errors of a number of requests: one by one, or in clumps.
fn errors(kind: Kind, requests: u64, rate: f64, rng: &mut impl Rng) -> u64 {
    if kind != Kind::Clumps {
        return binomial(requests, rate, rng);
    }
    let clumps = poisson(as_f64(requests) * rate / CLUMP_MEAN, rng);
    let all: u64 = (0..clumps).map(|_| rng.random_range(10..=100)).sum();
    all.min(requests)
}

#[expect(clippy::cast_precision_loss, reason = "a number of minutes")]
fn counted(minute: usize) -> f64 {
    minute as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn as_f64(requests: u64) -> f64 {
    requests as f64
}

/// What the rates of both sides are multiplied by, minute after minute.
struct Moods {
    kind: Kind,
    bursts_left: [f64; 2],
    logs: Option<[f64; 2]>,
}

impl Moods {
    fn new(kind: Kind) -> Self {
        Self { kind, bursts_left: [0.0; 2], logs: None }
    }

    fn next(&mut self, rng: &mut impl Rng) -> [f64; 2] {
        match self.kind {
            Kind::OwnBursts(minutes) => self.bursts_left.each_mut().map(|left| {
                if *left > 0.0 {
                    *left -= 1.0;
                } else if rng.random::<f64>() < 0.03 / minutes {
                    *left = minutes;
                }
                if *left > 0.0 { 20.0 } else { 1.0 }
            }),
            Kind::Correlated(sd) => {
                let keep = (-1.0_f64 / 15.0).exp();
                let mut normal = || Normal::new(0.0, sd).map_or(0.0, |law| law.sample(&mut *rng));
                let begin = [normal(), normal()];
                let next = self.logs.map_or(begin, |logs| {
                    let fresh = (1.0 - keep * keep).sqrt();
                    [logs[0] * keep + fresh * begin[0], logs[1] * keep + fresh * begin[1]]
                });
                self.logs = Some(next);
                next.map(|log| (log - sd * sd / 2.0).exp())
            }
            _ => [1.0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(counts: Counts) -> f64 {
        counts.error_rate().expect("requests")
    }

    fn total(kind: Kind) -> (Counts, Counts) {
        let minutes = (0..20).flat_map(|seed| draw(kind, 100.0, false, seed).1);
        minutes.fold(Default::default(), |(old, new), minute| (old + minute.old, new + minute.new))
    }

    #[test]
    fn two_equal_sides_fail_alike_in_the_long_run() {
        for kind in equal() {
            let (old, new) = total(kind);
            let sum = (old + new).requests;
            assert!((6_500_000..7_500_000).contains(&sum), "{}: {sum}", kind.name());
            let (low, high) = match kind {
                // An incident is over before the new side has most of the requests.
                Kind::Incident(_) | Kind::Gap => (0.1, 1.2),
                _ => (0.6, 1.6),
            };
            let ratio = rate(new) / rate(old);
            assert!((low..high).contains(&ratio), "{}: {ratio}", kind.name());
        }
    }

    #[test]
    fn bots_change_sides_and_both_together_fail_as_ever() {
        let (day, minutes) = draw(Kind::Bots, 1000.0, true, 5);
        let usual = rate(day.into_iter().flatten().sum());
        assert!((0.0029..0.0031).contains(&usual), "{usual}");
        for minute in minutes {
            assert!((0.002..0.004).contains(&rate(minute.old + minute.new)));
        }
    }

    #[test]
    fn an_outage_and_a_gap_are_where_they_are_said_to_be() {
        let (day, _) = draw(Kind::AtFull(0.2, true), 100.0, true, 1);
        assert_eq!(day.into_iter().flatten().filter(|counts| rate(*counts) > 0.9).count(), 5);
        let (none, minutes) = draw(Kind::Gap, 100.0, false, 1);
        assert!(none.is_empty());
        assert_eq!(minutes.iter().take(40).filter(|minute| minute.old.requests == 0).count(), 2);
    }

    #[test]
    fn a_bad_side_is_bad_where_it_is_said_to_be() {
        for kind in bad() {
            let (old, new) = total(kind);
            assert!(rate(new) > 2.0 * rate(old), "{}", kind.name());
        }
        let (_, minutes) = draw(Kind::Intermittent(5, 0.5, false), 1000.0, false, 3);
        let bad = minutes.iter().filter(|minute| minute.new.error_rate() > Some(0.3));
        assert!((10..=12).contains(&bad.count()));
    }
}
