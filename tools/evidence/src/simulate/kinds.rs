//! Kinds of traffic on which rules go wrong: what two equally good sides do that is not chance, and faults that do not
//! show in every minute.
//!
//! Minute by minute, as [`traffic`](super::traffic): a ramp through resolvers of the same size, each of which keeps an
//! answer for 60 s. A day of the old side comes before it, or none.

use std::ops::Range;

use cutover_core::{BASELINE_PERIODS, Counts};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};

use super::traffic::{RampShape, STEP_MINUTES, binomial, measured, poisson, stream};
use crate::rules::Minute;

/// The usual rate of failed requests.
const RATE: f64 = 0.001;
/// The minute in which a canary ramp comes to 100 %, and one of [`with_a_rest`] to its last step.
const FULL_FROM: f64 = 50.0;
const REST_FROM: f64 = 40.0;
/// Sizes of a clump and of a storm; the mean of a clump.
const CLUMP: std::ops::RangeInclusive<u64> = 10..=100;
const CLUMP_MEAN: f64 = 55.0;
const STORM: std::ops::RangeInclusive<u64> = 30..=150;
/// Storms a minute.
const STORMS: f64 = 4.0 / 60.0;
/// What bots are of the load, and the rate at which they fail.
const BOTS: (f64, f64) = (0.01, 0.2);

/// A kind: two equally good and steady sides, but for what it says.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What it is called in reports.
    pub name: String,
    /// Whether it is only played with a day of the old side before it (`true`), or only without.
    day: Option<bool>,
    /// Whether the new side gets the time to warm up that a request gets which names none; otherwise it gets none.
    pub warms_up: bool,
    /// Whether it looks like a fault of the move where it begins with a step: nothing is claimed of it.
    pub may_be_of_the_move: bool,
    /// Requests a minute, at every size.
    load: Option<f64>,
    resolvers: u32,
    /// Shares of the new side, 0–1, and the minutes that each lasts.
    steps: Vec<(f64, usize)>,
    /// The rate of failed requests, 0–1 …
    rate: f64,
    /// … but in these minutes of the day before,
    yesterday: Vec<Spell>,
    /// in these of the ramp, on both sides,
    both: Vec<Spell>,
    /// and in these on the new one, whatever both do.
    new: Vec<Spell>,
    habit: Habit,
}

/// Minutes in which another share of the requests fails.
#[derive(Clone, Debug)]
struct Spell {
    minutes: Range<f64>,
    /// They come again after this many minutes, counted from the first of all.
    every: Option<f64>,
    /// 0–1.
    rate: f64,
}

/// What is no rate at a known time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    None,
    /// At a random time before the last step of a canary both sides fail at this rate for three to ten minutes, the new one
    /// this many seconds earlier.
    Incident {
        rate: f64,
        ahead_s: f64,
    },
    /// As `Incident { rate: 0.2, ahead_s: 0.0 }`, and two periods of the old side are missing in it.
    OldMissing,
    /// A period of the new side is missing, at a random time after the first ten minutes.
    NewMissing,
    /// Clients of one resolver, 1 % of the load, fail a fifth of their requests.
    Bots,
    /// Errors come in clumps of 10 to 100: clients that try again.
    Clumps,
    /// Four times an hour one client tries again and again for a minute: 30 to 150 failed requests more, on one side.
    Storms,
    /// Each resolver's clients have a rate of their own, log-normal with σ = 1.
    OwnRates,
    /// Errors are counted a minute after their requests.
    Late,
    /// Each side has bursts of its own, × 20 in 3 % of the minutes, this many minutes long.
    OwnBursts(f64),
    /// The logarithm of each side's rate wanders with this standard deviation, and is forgotten in 15 minutes.
    Wander(f64),
}

/// All kinds with equal sides: a rule has no reason to go back.
#[must_use]
pub fn equal() -> Vec<Kind> {
    let rates = [RATE, 0.02, 0.05, 0.055, 0.3];
    let steady =
        rates.map(|rate| Kind { rate, ..kind(format!("both sides steady at {}", percent(rate))) });
    let incidents = [
        (0.2, 0.0, "at once"),
        (0.2, 10.0, "10 s apart"),
        (0.2, 20.0, "20 s apart"),
        (0.2, 60.0, "60 s apart"),
        (0.5, 0.0, "at once"),
        (0.5, 20.0, "20 s apart"),
    ];
    let incidents = incidents.map(|(rate, ahead_s, when)| Kind {
        may_be_of_the_move: rate > 1.0 / 3.0,
        ..habit(
            format!("an incident to {}, {when}", percent(rate)),
            Habit::Incident { rate, ahead_s },
        )
    });
    let bursts =
        [1.0, 3.0, 5.0].map(|m| habit(format!("own bursts of {m} min"), Habit::OwnBursts(m)));
    let wander = [0.3, 0.5]
        .map(|sd| habit(format!("rates that wander over 15 min, σ {sd}"), Habit::Wander(sd)));
    let storms = habit("four storms an hour of a client that retries", Habit::Storms);
    let others = [
        habit("an incident, two periods of the old side missing", Habit::OldMissing),
        habit("one period of the new side missing", Habit::NewMissing),
        habit("bots behind one resolver", Habit::Bots),
        habit("errors in clumps of 10 to 100", Habit::Clumps),
        storms.clone(),
        Kind { name: format!("{}, 10 requests/s", storms.name), load: Some(600.0), ..storms },
        Kind { resolvers: 30, ..habit("30 resolvers with rates of their own", Habit::OwnRates) },
        Kind {
            rate: 0.02,
            resolvers: 20,
            ..habit("errors counted a minute late, 2 %", Habit::Late)
        },
        // Yesterday was a Sunday.
        Kind {
            day: Some(true),
            yesterday: vec![always(RATE / 3.0)],
            ..kind("three times yesterday's errors")
        },
        // Longer than a check looks back: the old side's share of the ramp is out of sight.
        Kind {
            day: Some(true),
            yesterday: vec![always(RATE / 3.0)],
            steps: [canary(), vec![(1.0, 300)]].concat(),
            ..kind("three times yesterday's errors, five hours more at 100 %")
        },
        // A database behind both that slows down, and stays slow.
        Kind { both: drift(5.0, 40, 4.0), ..kind("both sides drift to × 4 in 40 min") },
        // Ramps that leave the old side too few requests to compare with.
        Kind {
            rate: 0.08,
            steps: with_a_rest(),
            ..kind("both sides steady at 8 %, last step 98.5 %")
        },
        Kind {
            both: vec![during(REST_FROM + 5.0..REST_FROM + 13.0, 0.2)],
            steps: with_a_rest(),
            ..kind("both sides at 20 % for 8 min, last step 98.5 %")
        },
        // Pools and caches fill. It begins with a tenth of the requests, so that the first minute has some.
        Kind {
            warms_up: true,
            steps: vec![(0.1, 20), (0.25, 10), (0.5, 10), (1.0, 20)],
            new: vec![during(0.0..1.0, 0.6)],
            ..kind("a cold start: 60 % of its first minute fail")
        },
    ];
    [steady.to_vec(), incidents.to_vec(), others.to_vec(), bursts.to_vec(), wander.to_vec()]
        .concat()
}

/// All kinds with a bad new side: a rule must go back.
#[must_use]
pub fn bad() -> Vec<Kind> {
    let fails = |name: &str, rate: f64| Kind { new: vec![always(rate)], ..kind(name) };
    let times_20 = |from: f64| vec![since(from, 20.0 * RATE)];
    // Five minutes in which all failed.
    let outage = |of: Kind| Kind {
        name: format!("{}, after an outage of five minutes yesterday", of.name),
        day: Some(true),
        yesterday: vec![during(700.0..705.0, 1.0)],
        ..of
    };
    let full = |rate: f64| Kind {
        new: vec![since(FULL_FROM, rate)],
        ..kind(format!("{} at 100 %", percent(rate)))
    };
    let now_and_then = |every: f64, rate: f64| Kind {
        day: Some(false),
        new: vec![each(every, every - 1.0..every, rate)],
        ..kind(format!("one minute in {every} at {}", percent(rate)))
    };
    let rest = |rate: f64| Kind {
        steps: with_a_rest(),
        new: vec![since(REST_FROM, rate)],
        ..kind(format!("{} at a last step of 98.5 %", percent(rate)))
    };
    // Yesterday's incident must not teach that such minutes are usual.
    let incident = |minutes: f64| Kind {
        day: Some(true),
        yesterday: vec![during(700.0..700.0 + minutes, 0.2)],
        new: times_20(11.0),
        ..kind(format!("× 20 from minute 11, after {minutes} min at 20 % yesterday"))
    };
    vec![
        fails("× 3", 3.0 * RATE),
        fails("× 10", 10.0 * RATE),
        fails("5 %", 0.05),
        fails("50 %", 0.5),
        fails("100 %", 1.0),
        outage(full(0.1)),
        outage(full(0.2)),
        outage(full(0.45)),
        Kind { day: Some(false), ..full(0.049) },
        now_and_then(5.0, 0.5),
        outage(now_and_then(5.0, 0.5)),
        now_and_then(5.0, 0.05),
        now_and_then(2.0, 0.05),
        Kind {
            steps: vec![(0.5, 300)],
            new: vec![since(240.0, 10.0 * RATE)],
            ..kind("× 10 after 240 minutes")
        },
        // None of which ever failed on the old side. The steps are long enough to have requests.
        Kind {
            load: Some(40.0),
            rate: 0.0,
            steps: vec![(0.5, 20), (1.0, 120)],
            ..fails("40 requests a minute, 2.5 %", 0.025)
        },
        incident(20.0),
        incident(60.0),
        // A job that overloads the service every hour, and is stopped for the cutover.
        Kind {
            day: Some(true),
            yesterday: vec![each(60.0, 0.0..15.0, 0.05)],
            new: times_20(11.0),
            ..kind("× 20 from minute 11, after 15 min of each hour at 5 % yesterday")
        },
        Kind {
            day: Some(false),
            // All that is known of how both differ is from the ramp.
            both: vec![during(5.0..15.0, 0.05)],
            new: times_20(25.0),
            ..kind("× 20 from minute 25, after both sides' 10 min at 5 %")
        },
        // What both depend on is mended, and in the same minute the new side begins to fail by itself.
        Kind {
            rate: 0.003,
            both: vec![since(20.0, 0.001)],
            new: vec![since(20.0, 0.01)],
            ..kind("1 %, while the old side falls from 0.3 to 0.1 %")
        },
        // The old side has been out of sight for half an hour: all that is left is what the new one did before.
        Kind {
            day: Some(false),
            steps: [canary(), vec![(1.0, 290)]].concat(),
            new: times_20(FULL_FROM + 228.0),
            ..kind("× 20 after 3.8 hours at 100 %")
        },
        rest(0.05),
        rest(0.1),
        rest(0.2),
    ]
}

fn kind(name: impl Into<String>) -> Kind {
    Kind {
        name: name.into(),
        day: None,
        warms_up: false,
        may_be_of_the_move: false,
        load: None,
        resolvers: 200,
        steps: canary(),
        rate: RATE,
        yesterday: Vec::new(),
        both: Vec::new(),
        new: Vec::new(),
        habit: Habit::None,
    }
}

fn habit(name: impl Into<String>, habit: Habit) -> Kind {
    Kind { habit, ..kind(name) }
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0).replace(".0 %", " %")
}

fn canary() -> Vec<(f64, usize)> {
    RampShape::Canary.shares().iter().map(|share| (*share, STEP_MINUTES)).collect()
}

/// A ramp that leaves the old side a rest of the requests.
fn with_a_rest() -> Vec<(f64, usize)> {
    vec![(0.1, 10), (0.5, 10), (0.9, 10), (0.95, 10), (0.985, 30)]
}

const fn during(minutes: Range<f64>, rate: f64) -> Spell {
    Spell { minutes, every: None, rate }
}

const fn since(minute: f64, rate: f64) -> Spell {
    during(minute..f64::INFINITY, rate)
}

const fn always(rate: f64) -> Spell {
    since(0.0, rate)
}

const fn each(every: f64, minutes: Range<f64>, rate: f64) -> Spell {
    Spell { minutes, every: Some(every), rate }
}

/// The usual rate grows to this multiple of it, minute by minute, and stays there.
fn drift(from: f64, minutes: u32, times: f64) -> Vec<Spell> {
    let step = |minute: u32| {
        let part = f64::from(minute) / f64::from(minutes);
        since(from + f64::from(minute), RATE * times.powf(part))
    };
    (1..=minutes).map(step).collect()
}

impl Spell {
    /// The part of a minute that lies in it.
    fn part(&self, minute: f64) -> f64 {
        let minute = self.every.map_or(minute, |every| minute % every);
        ((minute + 1.0).min(self.minutes.end) - minute.max(self.minutes.start)).clamp(0.0, 1.0)
    }
}

/// The rate of failed requests in a minute: the usual one, or that of the last spell.
fn rate<'a>(usual: f64, spells: impl IntoIterator<Item = &'a Spell>, minute: f64) -> f64 {
    spells.into_iter().fold(usual, |rate, spell| rate + spell.part(minute) * (spell.rate - rate))
}

impl Kind {
    /// Whether a day of this kind can come before. An outage needs one, and what says that there is none has none.
    #[must_use]
    pub fn has(&self, day: bool) -> bool {
        self.day.is_none_or(|only| only == day)
    }

    /// The day of the old side, if there is one, and the minutes of the ramp.
    #[must_use]
    pub fn draw(
        &self,
        requests_per_s: f64,
        day: bool,
        seed: u64,
    ) -> (Vec<Option<Counts>>, Vec<Minute>) {
        let mut rng = stream(seed, 7);
        let load = self.load.unwrap_or(60.0 * requests_per_s);
        let history = if day { self.history(load, &mut rng) } else { Vec::new() };
        (history, self.ramp(load, &mut rng))
    }

    fn history(&self, load: f64, rng: &mut impl Rng) -> Vec<Option<Counts>> {
        let mut moods = Moods::new(self.habit);
        let mut old = Side::default();
        (0..BASELINE_PERIODS)
            .map(|minute| {
                let [mood, _] = moods.next(rng);
                let rate = rate(self.rate * mood, &self.yesterday, f64::from(minute));
                let [guests, _] = self.guests(load, [0.0, 0.0], rng);
                let counted = old.count(self.habit, load, rate, guests, rng);
                (counted.requests > 0).then_some(counted)
            })
            .collect()
    }

    fn ramp(&self, load: f64, rng: &mut impl Rng) -> Vec<Minute> {
        let mut resolvers: Vec<(f64, bool)> =
            (0..self.resolvers).map(|_| (rng.random::<f64>(), false)).collect();
        let rates = if self.habit == Habit::OwnRates { self.own_rates(rng) } else { Vec::new() };
        let minutes: usize = self.steps.iter().map(|(_, minutes)| minutes).sum();
        let missing = rng.random_range(STEP_MINUTES..minutes.max(STEP_MINUTES + 1));
        // Over before the last step: without a control nothing tells an incident from a fault.
        let begins: f64 = rng.random_range(2.0..40.0);
        let lasts: f64 = rng.random_range(3.0..10.0);
        let incident = |ahead_s: f64, rate: f64| {
            during(begins - ahead_s / 60.0..begins + lasts - ahead_s / 60.0, rate)
        };
        let incidents = match self.habit {
            Habit::Incident { rate, ahead_s } => {
                Some([incident(0.0, rate), incident(ahead_s, rate)])
            }
            Habit::OldMissing => Some([incident(0.0, 0.2), incident(0.0, 0.2)]),
            _ => None,
        };
        let [of_old, of_new] = incidents.map_or([None, None], |both| both.map(Some));
        let mut moods = Moods::new(self.habit);
        let mut sides = [Side::default(); 2];
        let shares = self.steps.iter().flat_map(|(share, minutes)| vec![*share; *minutes]);
        let minute = |(number, share): (usize, f64)| {
            let at = counted(number);
            let before: Vec<bool> = resolvers.iter().map(|(_, answer)| *answer).collect();
            let to_new = measured(&mut resolvers, share, rng);
            let parts = parts(&resolvers, &before);
            let usual = moods.next(rng).map(|mood| self.rate * mood);
            let usual = if rates.is_empty() { usual } else { mixed(&parts, &rates, self.rate) };
            let rate_old = rate(usual[0], self.both.iter().chain(&of_old), at);
            let rate_new = rate(usual[1], self.both.iter().chain(&of_new).chain(&self.new), at);
            let heavy = parts.first().copied().unwrap_or(0.0);
            let [guests_old, guests_new] = self.guests(load, [to_new, heavy], rng);
            let [old, new] = &mut sides;
            let old = old.count(self.habit, load * (1.0 - to_new), rate_old, guests_old, rng);
            let new = new.count(self.habit, load * to_new, rate_new, guests_new, rng);
            let lacks_old =
                self.habit == Habit::OldMissing && (begins + 1.0..begins + 3.0).contains(&at);
            let lacks_new = self.habit == Habit::NewMissing && number == missing;
            let unless = |lacks: bool, of: Counts| if lacks { Counts::default() } else { of };
            Minute { old: unless(lacks_old, old), new: unless(lacks_new, new), share }
        };
        shares.enumerate().map(minute).collect()
    }

    /// The rate of each resolver's clients; their mean is the usual rate.
    fn own_rates(&self, rng: &mut impl Rng) -> Vec<f64> {
        let law = Normal::<f64>::new(-0.5, 1.0);
        let draw = |_| law.map_or(1.0, |law| law.sample(&mut *rng).exp());
        let drawn: Vec<f64> = (0..self.resolvers).map(draw).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(self.resolvers);
        drawn.iter().map(|of| self.rate * of / mean).collect()
    }

    /// Requests that come beside the load, of the old and of the new side. The new one gets `to_new` of all requests, and
    /// `heavy` of those of the first resolver.
    fn guests(&self, load: f64, [to_new, heavy]: [f64; 2], rng: &mut impl Rng) -> [Counts; 2] {
        match self.habit {
            Habit::Bots => [1.0 - heavy, heavy].map(|part| {
                let requests = poisson(load * BOTS.0 * part, rng);
                Counts { requests, errors: binomial(requests, BOTS.1, rng) }
            }),
            Habit::Storms => {
                let mut sides = [Counts::default(); 2];
                for _ in 0..poisson(STORMS, rng) {
                    let errors = rng.random_range(STORM);
                    let [old, new] = &mut sides;
                    let side = if rng.random::<f64>() < to_new { new } else { old };
                    *side = *side + Counts { requests: errors, errors };
                }
                sides
            }
            _ => Default::default(),
        }
    }
}

/// The part of the minute in which each resolver's requests go to the new side.
fn parts(resolvers: &[(f64, bool)], before: &[bool]) -> Vec<f64> {
    let part = |is: bool, of: f64| if is { of } else { 0.0 };
    let each = resolvers.iter().zip(before);
    each.map(|((asks_at, now), before)| part(*before, *asks_at) + part(*now, 1.0 - asks_at))
        .collect()
}

/// The rates of both sides, of the resolvers that each has; `usual` where it has none.
fn mixed(parts: &[f64], rates: &[f64], usual: f64) -> [f64; 2] {
    [false, true].map(|is_new| {
        let of = |new: f64| if is_new { new } else { 1.0 - new };
        let failing: f64 = parts.iter().zip(rates).map(|(part, rate)| of(*part) * rate).sum();
        let all: f64 = parts.iter().map(|part| of(*part)).sum();
        if all > 0.0 { failing / all } else { usual }
    })
}

/// A side that counts.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Errors that are counted a minute late.
    late: Option<u64>,
}

impl Side {
    /// What it counts in a minute.
    fn count(
        &mut self,
        habit: Habit,
        load: f64,
        rate: f64,
        guests: Counts,
        rng: &mut impl Rng,
    ) -> Counts {
        let requests = poisson(load, rng);
        let drawn = if habit == Habit::Clumps {
            let clumps = poisson(load * rate / CLUMP_MEAN, rng);
            (0..clumps).map(|_| rng.random_range(CLUMP)).sum::<u64>().min(requests)
        } else {
            binomial(requests, rate, rng)
        };
        let errors =
            if habit == Habit::Late { self.late.replace(drawn).unwrap_or(drawn) } else { drawn };
        Counts { requests: requests.max(errors), errors } + guests
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of minutes")]
fn counted(minute: usize) -> f64 {
    minute as f64
}

/// What the rates of both sides are multiplied by, minute after minute.
struct Moods {
    habit: Habit,
    bursts_left: [f64; 2],
    logs: Option<[f64; 2]>,
}

impl Moods {
    fn new(habit: Habit) -> Self {
        Self { habit, bursts_left: [0.0; 2], logs: None }
    }

    fn next(&mut self, rng: &mut impl Rng) -> [f64; 2] {
        match self.habit {
            Habit::OwnBursts(minutes) => self.bursts_left.each_mut().map(|left| {
                if *left > 0.0 {
                    *left -= 1.0;
                } else if rng.random::<f64>() < 0.03 / minutes {
                    *left = minutes;
                }
                if *left > 0.0 { 20.0 } else { 1.0 }
            }),
            Habit::Wander(sd) => {
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

    const RUNS: u64 = 20;

    fn rate(counts: Counts) -> f64 {
        counts.error_rate().expect("requests")
    }

    fn minutes(kind: &Kind) -> impl Iterator<Item = Minute> {
        (0..RUNS).flat_map(|seed| kind.draw(100.0, false, seed).1)
    }

    fn named(name: &str) -> Kind {
        let mut all = equal().into_iter().chain(bad());
        all.find(|kind| kind.name == name).expect(name)
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_and_the_requests_of_its_ramp() {
        let all = [equal(), bad()].concat();
        let mut names: Vec<&str> = all.iter().map(|kind| kind.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for kind in all {
            let length: usize = kind.steps.iter().map(|(_, minutes)| minutes).sum();
            let meant = kind.load.unwrap_or(6000.0) * counted(length) * 20.0;
            let all: Counts = minutes(&kind).map(|minute| minute.old + minute.new).sum();
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            let part = all.requests as f64 / meant;
            assert!((0.95..1.05).contains(&part), "{}: {part}", kind.name);
        }
    }

    /// The common ratio of the sides' rates, minute by minute, by N. Mantel and W. Haenszel.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn ratio(kind: &Kind) -> f64 {
        let (of_new, of_old) = minutes(kind).fold((0.0, 0.0), |(of_new, of_old), minute| {
            let all = (minute.old + minute.new).requests.max(1) as f64;
            let part = |errors: u64, requests: u64| errors as f64 * requests as f64 / all;
            (
                of_new + part(minute.new.errors, minute.old.requests),
                of_old + part(minute.old.errors, minute.new.requests),
            )
        });
        of_new / of_old
    }

    #[test]
    fn two_equal_sides_fail_alike_in_the_long_run() {
        for kind in equal().iter().filter(|kind| kind.new.is_empty()) {
            let ratio = ratio(kind);
            assert!((0.6..1.6).contains(&ratio), "{}: {ratio}", kind.name);
        }
    }

    #[test]
    fn a_bad_side_fails_more_than_twice_as_much_as_without_its_fault() {
        for kind in bad() {
            let new = |kind: &Kind| rate(minutes(kind).map(|minute| minute.new).sum());
            let without = Kind { new: Vec::new(), ..kind.clone() };
            assert!(new(&kind) > 2.0 * new(&without), "{}", kind.name);
        }
    }

    #[test]
    fn spells_are_where_they_are_said_to_be() {
        let rates = |spell: &Spell| [0.0, 1.0, 2.0, 3.0].map(|minute| spell.part(minute));
        let parts = |spell: Spell, wanted: [f64; 4]| {
            let near = |(part, wanted): (f64, f64)| (part - wanted).abs() < 1e-9;
            assert!(rates(&spell).into_iter().zip(wanted).all(near), "{spell:?}");
        };
        parts(during(0.5..2.25, 0.2), [0.5, 1.0, 0.25, 0.0]);
        parts(always(0.2), [1.0; 4]);
        parts(each(2.0, 1.0..2.0, 0.2), [0.0, 1.0, 0.0, 1.0]);
        let drifting = drift(1.0, 2, 4.0);
        let at = |minute: f64| super::rate(RATE, &drifting, minute) / RATE;
        assert!((at(1.0) - 1.0).abs() < 1e-9, "{}", at(1.0));
        assert!((at(2.0) - 2.0).abs() < 1e-9 && (at(9.0) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn bots_change_sides_and_both_together_fail_as_ever() {
        let (day, minutes) = named("bots behind one resolver").draw(1000.0, true, 5);
        let usual = rate(day.into_iter().flatten().sum());
        assert!((0.0029..0.0031).contains(&usual), "{usual}");
        for minute in minutes {
            assert!((0.002..0.004).contains(&rate(minute.old + minute.new)));
        }
    }

    #[test]
    fn storms_come_four_times_an_hour_on_one_side() {
        let (day, _) = named("four storms an hour of a client that retries").draw(10.0, true, 1);
        let storms = day.into_iter().flatten().filter(|counts| counts.errors >= 30).count();
        assert!((75..120).contains(&storms), "{storms}");
    }

    #[test]
    fn yesterday_and_gaps_are_where_they_are_said_to_be() {
        let (day, _) =
            named("20 % at 100 %, after an outage of five minutes yesterday").draw(100.0, true, 1);
        assert_eq!(day.into_iter().flatten().filter(|counts| rate(*counts) > 0.9).count(), 5);
        let (none, minutes) =
            named("an incident, two periods of the old side missing").draw(100.0, false, 1);
        assert!(none.is_empty());
        let missing = minutes.iter().take(50).filter(|minute| minute.old.requests == 0);
        assert_eq!(missing.count(), 2);
        let (_, minutes) = named("one period of the new side missing").draw(1000.0, false, 1);
        assert_eq!(minutes.iter().skip(10).filter(|minute| minute.new.requests == 0).count(), 1);
    }

    #[test]
    fn faults_come_and_go_as_they_are_said_to() {
        let bad = |name: &str, from: usize| {
            let (_, minutes) = named(name).draw(1000.0, false, 3);
            let minutes = minutes.into_iter().enumerate().skip(from);
            let bad = minutes.filter(|(_, minute)| minute.new.error_rate() > Some(0.006));
            bad.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(bad("one minute in 5 at 50 %", 12), (14..60).step_by(5).collect::<Vec<_>>());
        assert_eq!(bad("10 % at a last step of 98.5 %", 10), (40..70).collect::<Vec<_>>());
        assert_eq!(bad("a cold start: 60 % of its first minute fail", 0), [0]);
    }
}
