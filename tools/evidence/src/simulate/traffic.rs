//! Simulated traffic: minute by minute, what both sides' load balancers would count.
//!
//! The model, so that nobody has to trust it blindly:
//! - Requests are Poisson; each fails by itself with the rate of its side in that minute.
//! - Edges ask DNS through a number of resolvers with equal shares of the traffic. Each keeps its answer
//!   for 60 s (the TTL of an alias), from a moment in the minute of its own, and gets the new side with the
//!   probability that the weights give. So few resolvers make lumps.
//! - Rates may burst (× 20 in 3 % of the minutes) on both sides at once or on each by itself, or wander
//!   (a gamma-distributed factor of mean 1 and variance ½ a minute and side).
//! - The old side has served a day before the ramp, with the same rates, bursts and load.
//!
//! A run's requests, bursts and old errors are the same for every fault and rule: they depend on
//! the seed, the scene and the run's number alone (common random numbers).

use cutover_core::BASELINE_PERIODS;
use cutover_core::Counts;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Gamma, Poisson};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::rules::Minute;

/// Minutes that every step of a ramp lasts.
pub const STEP_MINUTES: usize = 10;
/// How often a side's minutes burst, and by how much.
const BURST_CHANCE: f64 = 0.03;
const BURST_FACTOR: f64 = 20.0;
/// Shape of the gamma law; its variance is the inverse.
const WANDER_SHAPE: f64 = 2.0;
/// Minutes of the ramp after which a leak shows …
const LEAK_AFTER: usize = 25;
/// … and fails this share of the requests.
const LEAK_RATE: f64 = 0.5;
/// How far a day's load goes up and down around its mean.
const DAY_SWING: f64 = 0.6;

/// The shares of the new side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RampShape {
    /// 1, 5, 10, 25, 50, 100 %.
    Canary,
    /// 10, 20, … 100 %.
    Linear,
}

impl RampShape {
    /// What it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Linear => "linear",
        }
    }

    /// Its shares, 0–1, each for [`STEP_MINUTES`].
    #[must_use]
    pub const fn shares(self) -> &'static [f64] {
        match self {
            Self::Canary => &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0],
            Self::Linear => &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        }
    }
}

/// How the rate of failed requests moves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bursts {
    /// Not at all.
    None,
    /// Both sides burst in the same minutes.
    Shared,
    /// Each side bursts in minutes of its own.
    Independent,
    /// Each side's rate is another one every minute.
    Wander,
}

impl Bursts {
    /// What they are called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Shared => "shared",
            Self::Independent => "independent",
            Self::Wander => "wander",
        }
    }
}

/// Everything but the fault.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scene {
    /// The shares of the new side.
    pub ramp: RampShape,
    /// Requests per second of both sides.
    pub requests_per_s: f64,
    /// Rate of failed requests of the old side, 0–1.
    pub error_rate: f64,
    /// How it moves.
    pub bursts: Bursts,
    /// Resolvers that the edges ask.
    pub resolvers: u32,
    /// Whether the load follows a day's curve.
    pub day_curve: bool,
}

/// What is wrong with the new side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    Equal,
    /// It fails this many times as often.
    Times(f64),
    /// It fails at this rate.
    Rate(f64),
    /// Nothing for 25 minutes, then half of its requests.
    Leak,
}

impl Fault {
    /// The rate of failed requests of the new side in a minute of the ramp.
    #[must_use]
    pub fn rate(self, usual: f64, minute: usize) -> f64 {
        match self {
            Self::Times(factor) => usual * factor,
            Self::Rate(rate) => rate,
            Self::Leak if minute >= LEAK_AFTER => LEAK_RATE,
            Self::Equal | Self::Leak => usual,
        }
    }

    /// What it is called in reports.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Equal => "equal".to_owned(),
            Self::Times(factor) => format!("× {factor}"),
            Self::Rate(rate) if rate < 1.0 => format!("{} %", rate * 100.0),
            Self::Rate(_) => "all".to_owned(),
            Self::Leak => "leak".to_owned(),
        }
    }

    /// Whether it makes the new side worse than a side with this rate.
    #[must_use]
    pub fn is_bad(self, usual: f64) -> bool {
        self.rate(usual, LEAK_AFTER) > usual
    }
}

/// What happens in one run, but for the new side's errors.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// What the old side counted in each minute of the day before.
    pub history: Vec<Option<Counts>>,
    /// The ramp's minutes.
    minutes: Vec<Drawn>,
    usual: f64,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Drawn {
    old: Counts,
    requests_new: u64,
    factor_new: f64,
    share: f64,
}

/// Independent streams of random numbers of one run.
const HISTORY: u64 = 1;
const RAMP: u64 = 2;
const ERRORS_NEW: u64 = 3;

impl Traffic {
    /// Draws one run of a scene.
    #[must_use]
    pub fn draw(scene: &Scene, seed: u64) -> Self {
        let mut rng = stream(seed, RAMP);
        let began: f64 = rng.random_range(0.0..f64::from(BASELINE_PERIODS));
        let mut resolvers: Vec<(f64, bool)> =
            (0..scene.resolvers).map(|_| (rng.random::<f64>(), false)).collect();
        let mut minutes = Vec::new();
        let mut at = began;
        for share in scene.ramp.shares() {
            for _ in 0..STEP_MINUTES {
                let to_new = measured(&mut resolvers, *share, &mut rng);
                let load = scene.requests_per_minute(at);
                let (factor_old, factor_new) = scene.bursts.factors(&mut rng);
                let requests = poisson(load * (1.0 - to_new), &mut rng);
                let errors = binomial(requests, scene.error_rate * factor_old, &mut rng);
                minutes.push(Drawn {
                    old: Counts { requests, errors },
                    requests_new: poisson(load * to_new, &mut rng),
                    factor_new,
                    share: *share,
                });
                at += 1.0;
            }
        }
        Self { history: history(scene, began, seed), minutes, usual: scene.error_rate, seed }
    }

    /// The minutes of the ramp, with a fault on the new side.
    pub fn minutes(&self, fault: Fault) -> impl Iterator<Item = Minute> {
        let mut rng = stream(self.seed, ERRORS_NEW);
        self.minutes.iter().enumerate().map(move |(minute, drawn)| {
            let requests = drawn.requests_new;
            let rate = fault.rate(self.usual, minute) * drawn.factor_new;
            let errors = binomial(requests, rate, &mut rng);
            let new = Counts { requests, errors };
            Minute { old: drawn.old, new, share: drawn.share }
        })
    }
}

fn history(scene: &Scene, began: f64, seed: u64) -> Vec<Option<Counts>> {
    let mut rng = stream(seed, HISTORY);
    (0..BASELINE_PERIODS)
        .map(|minute| {
            let (factor, _) = scene.bursts.factors(&mut rng);
            let requests = poisson(scene.requests_per_minute(began + f64::from(minute)), &mut rng);
            let errors = binomial(requests, scene.error_rate * factor, &mut rng);
            (requests > 0).then_some(Counts { requests, errors })
        })
        .collect()
}

impl Scene {
    /// Mean requests of a minute, by the minute of the day.
    fn requests_per_minute(&self, minute: f64) -> f64 {
        let day = std::f64::consts::TAU * minute / f64::from(BASELINE_PERIODS);
        let load = if self.day_curve { 1.0 + DAY_SWING * day.sin() } else { 1.0 };
        60.0 * self.requests_per_s * load
    }
}

impl Bursts {
    /// What the rates of both sides are multiplied by in one minute.
    fn factors(self, rng: &mut impl Rng) -> (f64, f64) {
        let burst = |chance: f64| if chance < BURST_CHANCE { BURST_FACTOR } else { 1.0 };
        let (old, new) = (rng.random::<f64>(), rng.random::<f64>());
        match self {
            Self::None => (1.0, 1.0),
            Self::Shared => (burst(old), burst(old)),
            Self::Independent => (burst(old), burst(new)),
            Self::Wander => match Gamma::new(WANDER_SHAPE, 1.0 / WANDER_SHAPE) {
                Ok(gamma) => (gamma.sample(rng), gamma.sample(rng)),
                Err(_) => (1.0, 1.0),
            },
        }
    }
}

/// The share of a minute's requests that the resolvers send to the new side, each asking anew once.
pub(super) fn measured(resolvers: &mut [(f64, bool)], share: f64, rng: &mut impl Rng) -> f64 {
    let number = f64::from(u32::try_from(resolvers.len()).unwrap_or(u32::MAX).max(1));
    let mut to_new = 0.0;
    for (asks_at, answer) in resolvers {
        let next = rng.random::<f64>() < share;
        to_new += if *answer { *asks_at } else { 0.0 } + if next { 1.0 - *asks_at } else { 0.0 };
        *answer = next;
    }
    (to_new / number).clamp(0.0, 1.0)
}

pub(super) fn stream(seed: u64, stream: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stream))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
pub(super) fn poisson(mean: f64, rng: &mut impl Rng) -> u64 {
    // A mean of 0 is no Poisson law to the library, and 0 requests to us.
    Poisson::new(mean).map_or(0, |law| law.sample(rng) as u64)
}

pub(super) fn binomial(requests: u64, rate: f64, rng: &mut impl Rng) -> u64 {
    Binomial::new(requests, rate.clamp(0.0, 1.0)).map_or(0, |law| law.sample(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: Scene = Scene {
        ramp: RampShape::Canary,
        requests_per_s: 100.0,
        error_rate: 0.02,
        bursts: Bursts::None,
        resolvers: 20,
        day_curve: false,
    };

    fn total(minutes: impl Iterator<Item = Minute>) -> (Counts, Counts) {
        minutes.fold(Default::default(), |(old, new), minute| (old + minute.old, new + minute.new))
    }

    /// All minutes of many runs with a fault.
    fn played(scene: &Scene, fault: Fault) -> (Counts, Counts) {
        total((0..40).flat_map(|seed| {
            let traffic = Traffic::draw(scene, seed);
            traffic.minutes(fault).collect::<Vec<_>>()
        }))
    }

    fn rate(counts: Counts) -> f64 {
        counts.error_rate().expect("requests")
    }

    #[test]
    fn rates_and_shares_are_those_of_the_scene() {
        let (old, new) = played(&SCENE, Fault::Equal);
        assert!((rate(old) - 0.02).abs() < 0.001 && (rate(new) - 0.02).abs() < 0.001);
        // 1 + 5 + 10 + 25 + 50 + 100 of 600, less the first minute of each step, in which answers age.
        let share = Counts { requests: (old + new).requests, errors: new.requests };
        assert!((0.27..0.33).contains(&rate(share)), "{}", rate(share));
        for (fault, wanted) in
            [(Fault::Times(3.0), 0.06), (Fault::Rate(0.05), 0.05), (Fault::Rate(1.0), 1.0)]
        {
            assert!((rate(played(&SCENE, fault).1) - wanted).abs() < 0.002, "{fault:?}");
        }
    }

    #[test]
    fn bursts_and_wander_have_the_frequency_and_the_size_that_they_are_said_to_have() {
        let mean = |bursts| rate(played(&Scene { bursts, ..SCENE }, Fault::Equal).0);
        // 1 + 0.03 · 19 times as many.
        assert!((mean(Bursts::Independent) / 0.0314 - 1.0).abs() < 0.15);
        assert!((mean(Bursts::Wander) / 0.02 - 1.0).abs() < 0.1);
        let both = |bursts| {
            let traffic = Traffic::draw(&Scene { bursts, ..SCENE }, 5);
            let bad = |side: Counts| side.requests > 200 && rate(side) > 0.2;
            traffic.minutes(Fault::Equal).filter(|m| bad(m.old) && bad(m.new)).count()
        };
        assert!((0..20).any(|_| both(Bursts::Shared) > 0));
    }

    #[test]
    fn a_leak_begins_after_25_minutes() {
        let traffic = Traffic::draw(&SCENE, 1);
        let minutes: Vec<Minute> = traffic.minutes(Fault::Leak).collect();
        assert_eq!(minutes.len(), 60);
        assert!(rate(total(minutes[..25].iter().copied()).1) < 0.05);
        assert!(rate(total(minutes[25..].iter().copied()).1) > 0.4);
    }

    #[test]
    fn few_resolvers_make_lumps() {
        let share_of = |resolvers| -> Vec<f64> {
            let traffic = Traffic::draw(&Scene { resolvers, ..SCENE }, 2);
            let counted = traffic.minutes(Fault::Equal).skip(20).take(10);
            let share =
                |m: Minute| Counts { requests: (m.old + m.new).requests, errors: m.new.requests };
            counted.map(|minute| rate(share(minute))).collect()
        };
        let spread = |shares: &[f64]| {
            let highest = shares.iter().copied().fold(0.0, f64::max);
            highest - shares.iter().copied().fold(1.0, f64::min)
        };
        assert!(spread(&share_of(200)) < 0.1);
        assert!(spread(&share_of(2)) > 0.2);
    }

    #[test]
    fn a_run_shares_all_but_the_new_sides_errors_among_its_faults() {
        let traffic = Traffic::draw(&SCENE, 9);
        let equal = traffic.minutes(Fault::Equal);
        for (a, b) in equal.zip(traffic.minutes(Fault::Rate(0.5))) {
            assert_eq!((a.old, a.new.requests), (b.old, b.new.requests));
        }
        assert_eq!(traffic.history.len(), 1440);
    }
}
