//! The simulation: every decision rule on the same simulated traffic.

pub mod claims;
pub mod kinds;
pub mod pictures;
pub mod report;
pub mod traffic;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use cutover_core::{Baselines, Counts, Health, Series};
use serde::Serialize;

use crate::rules::cutover::Cutover;
use crate::rules::{self, Rule};
use kinds::Kind;
use traffic::{Bursts, Fault, RampShape, Scene, Traffic};

/// Faults that are played, the first of which is none.
pub const FAULTS: [Fault; 8] = [
    Fault::Equal,
    Fault::Times(2.0),
    Fault::Times(3.0),
    Fault::Times(10.0),
    Fault::Rate(0.05),
    Fault::Rate(0.5),
    Fault::Rate(1.0),
    Fault::Leak,
];

/// Which scenes are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Grid {
    /// All of them.
    Full,
    /// An eighth of them, for a check within a minute.
    Fast,
}

impl Grid {
    /// The scenes, in an order that never changes.
    #[must_use]
    pub fn scenes(self) -> Vec<Scene> {
        let full = self == Self::Full;
        let pick = |all: &[f64], few: &[f64]| if full { all.to_vec() } else { few.to_vec() };
        let rates = pick(&[2.0, 10.0, 100.0, 1000.0, 10_000.0], &[10.0, 1000.0]);
        let error_rates = pick(&[0.0, 0.001, 0.01, 0.02], &[0.001, 0.02]);
        let resolvers: &[u32] = if full { &[2, 5, 20, 200] } else { &[5, 200] };
        let bursts = [Bursts::None, Bursts::Shared, Bursts::Independent, Bursts::Wander];
        let mut scenes = Vec::new();
        for ramp in [RampShape::Canary, RampShape::Linear] {
            for day_curve in [false, true] {
                for &requests_per_s in &rates {
                    for &error_rate in &error_rates {
                        for bursts in bursts {
                            // Without errors there is nothing to burst.
                            if error_rate <= 0.0 && bursts != Bursts::None {
                                continue;
                            }
                            for &resolvers in resolvers {
                                scenes.push(Scene {
                                    ramp,
                                    requests_per_s,
                                    error_rate,
                                    bursts,
                                    resolvers,
                                    day_curve,
                                });
                            }
                        }
                    }
                }
            }
        }
        scenes
    }
}

/// What one rule did in all runs of one cell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Runs in which it rolled back.
    pub stopped: u32,
    /// The minute after which it did, in each of them, sorted.
    pub minutes: Vec<u16>,
    /// Mean of the new side's failed requests until then, or until the end of the ramp.
    pub failed: f64,
    /// Standard error of that mean.
    pub failed_error: f64,
}

impl Outcome {
    /// The median of the minutes after which it rolled back; `None` when it never did.
    #[must_use]
    pub fn median_minutes(&self) -> Option<u16> {
        self.minutes.get(self.minutes.len() / 2).copied()
    }
}

/// One scene with one fault.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The scene.
    pub scene: Scene,
    /// What is wrong with the new side.
    pub fault: Fault,
    /// Number of runs.
    pub runs: u32,
    /// One for each rule, in the order of [`rule_names`].
    pub outcomes: Vec<Outcome>,
}

impl Cell {
    /// The share of the runs in which a rule rolled back, and its 95 % interval.
    #[must_use]
    pub fn stopped(&self, rule: usize) -> Share {
        Share::of(self.outcomes.get(rule).map_or(0, |outcome| outcome.stopped), self.runs)
    }
}

/// A share of runs, with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The share, 0–1.
    pub share: f64,
    /// The 95 % interval.
    pub interval: (f64, f64),
}

impl Share {
    /// Divides, and gives Wilson's interval.
    #[must_use]
    pub fn of(hits: u32, runs: u32) -> Self {
        let hits = Counts { requests: u64::from(runs), errors: u64::from(hits) };
        Self { share: hits.error_rate().unwrap_or_default(), interval: hits.rate_interval(1.96) }
    }
}

/// How often each scene is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// With equal sides: false roll-backs are rare, and many runs tell how rare.
    pub equal: u32,
    /// With each fault.
    pub faulty: u32,
}

/// The names of all rules; ours is the first.
#[must_use]
pub fn rule_names() -> Vec<&'static str> {
    let rivals = rules::rivals();
    std::iter::once("cutover").chain(rivals.iter().map(|rival| rival.name)).collect()
}

/// Plays every scene with every fault. The same arguments give the same cells. `done` hears how many scenes of how many
/// are done.
#[must_use]
pub fn play(
    scenes: &[Scene],
    runs: Runs,
    seed: u64,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Cell> {
    let played = each(scenes, done, &|index, scene| play_scene(scene, index, runs, seed));
    played.into_iter().flatten().collect()
}

/// Does something with each item, on as many threads as there are cores, and gives the results in order.
fn each<T: Sync, R: Send>(
    items: &[T],
    done: &(dyn Fn(usize, usize) + Sync),
    play: &(dyn Fn(usize, &T) -> R + Sync),
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut played: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut played = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { return played };
                played.push((index, play(index, item)));
                done(finished.fetch_add(1, Ordering::Relaxed) + 1, items.len());
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(played) => played,
            // Without its cells, the claims would be made of what is left.
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    played.sort_by_key(|(index, _)| *index);
    played.into_iter().map(|(_, result)| result).collect()
}

fn play_scene(scene: &Scene, index: usize, runs: Runs, seed: u64) -> Vec<Cell> {
    let health = health();
    let rivals = rules::rivals();
    let faults =
        FAULTS.iter().filter(|fault| **fault == Fault::Equal || fault.is_bad(scene.error_rate));
    let mut cells: Vec<Cell> = faults
        .map(|fault| Cell {
            scene: *scene,
            fault: *fault,
            runs: if *fault == Fault::Equal { runs.equal } else { runs.faulty },
            outcomes: vec![Outcome::default(); rivals.len() + 1],
        })
        .collect();
    for run in 0..runs.equal.max(runs.faulty) {
        // Another seed is no other order of the same runs.
        let of_run = (index as u64) << 32 | u64::from(run);
        let traffic = Traffic::draw(scene, seed.rotate_left(48) ^ of_run);
        let history = Series { counts: traffic.history.clone(), ..Series::default() };
        let baselines = Baselines::of(&history, 1, &health);
        for cell in cells.iter_mut().filter(|cell| run < cell.runs) {
            let minutes: Vec<_> = traffic.minutes(cell.fault).collect();
            let ours: Box<dyn Rule> =
                Box::new(Cutover::new(&health, &traffic.history, Some(&baselines)));
            let all = std::iter::once(ours).chain(rivals.iter().map(|rival| (rival.start)()));
            for (rule, outcome) in all.zip(&mut cell.outcomes) {
                outcome.see(rule, &minutes);
            }
        }
    }
    for cell in &mut cells {
        for outcome in &mut cell.outcomes {
            outcome.finish(cell.runs);
        }
    }
    cells
}

/// All runs of a kind of traffic.
#[derive(Clone, Debug)]
pub struct KindCell {
    /// The kind.
    pub kind: Kind,
    /// Whether its new side is bad.
    pub is_bad: bool,
    /// Requests per second of both sides.
    pub requests_per_s: f64,
    /// Whether a day of the old side came before.
    pub day: bool,
    /// Number of runs.
    pub runs: u32,
    /// One for each rule, in the order of [`rule_names`].
    pub outcomes: Vec<Outcome>,
}

impl KindCell {
    /// The share of the runs in which a rule rolled back, and its 95 % interval.
    #[must_use]
    pub fn stopped(&self, rule: usize) -> Share {
        Share::of(self.outcomes.get(rule).map_or(0, |outcome| outcome.stopped), self.runs)
    }
}

/// Plays every kind of traffic with and without a day, at two sizes.
#[must_use]
pub fn play_kinds(runs: u32, seed: u64, done: &(dyn Fn(usize, usize) + Sync)) -> Vec<KindCell> {
    let equal = kinds::equal().into_iter().map(|kind| (kind, false));
    let bad = kinds::bad().into_iter().map(|kind| (kind, true));
    let cells: Vec<KindCell> = equal
        .chain(bad)
        .flat_map(|(kind, is_bad)| {
            KIND_SIZES.map(|(day, requests_per_s)| KindCell {
                kind: kind.clone(),
                is_bad,
                requests_per_s,
                day,
                runs,
                outcomes: Vec::new(),
            })
        })
        .filter(|cell| cell.kind.has(cell.day))
        .collect();
    each(&cells, done, &|_, cell| play_kind(cell, seed))
}

/// Whether a day comes before, and requests per second.
pub const KIND_SIZES: [(bool, f64); 4] =
    [(true, 100.0), (true, 1000.0), (false, 100.0), (false, 1000.0)];

fn play_kind(cell: &KindCell, seed: u64) -> KindCell {
    let mut health = health();
    if cell.kind.warms_up {
        health.warm_up_s = None;
    }
    let rivals = rules::rivals();
    let mut cell = cell.clone();
    cell.outcomes = vec![Outcome::default(); rivals.len() + 1];
    for run in 0..cell.runs {
        let seed = seed ^ (u64::from(run) << 20);
        let (history, minutes) = cell.kind.draw(cell.requests_per_s, cell.day, seed);
        let series = Series { counts: history, ..Series::default() };
        let baselines = cell.day.then(|| Baselines::of(&series, 1, &health));
        let ours: Box<dyn Rule> =
            Box::new(Cutover::new(&health, &series.counts, baselines.as_ref()));
        let all = std::iter::once(ours).chain(rivals.iter().map(|rival| (rival.start)()));
        for (rule, outcome) in all.zip(&mut cell.outcomes) {
            outcome.see(rule, &minutes);
        }
    }
    cell.outcomes.iter_mut().for_each(|outcome| outcome.finish(cell.runs));
    cell
}

/// The traffic has failed requests alone, and no side has to warm up.
fn health() -> Health {
    Health { refused_tolerated_odds_ratio: None, warm_up_s: Some(0), ..Health::default() }
}

impl Outcome {
    /// Plays the minutes of a run.
    fn see(&mut self, mut rule: Box<dyn Rule + '_>, minutes: &[rules::Minute]) {
        let mut failed = 0;
        let stopped = minutes.iter().position(|minute| {
            failed += minute.new.errors;
            rule.see(minute)
        });
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        self.add(failed as f64);
        if let Some(minute) = stopped {
            self.stopped += 1;
            self.minutes.push(u16::try_from(minute + 1).unwrap_or(u16::MAX));
        }
    }

    /// Adds a run's failed requests: until [`finish`](Self::finish), sums and sums of squares.
    fn add(&mut self, failed: f64) {
        self.failed += failed;
        self.failed_error += failed * failed;
    }

    fn finish(&mut self, runs: u32) {
        let n = f64::from(runs.max(1));
        let mean = self.failed / n;
        let variance = (self.failed_error / n - mean * mean).max(0.0);
        (self.failed, self.failed_error) = (mean, (variance / n).sqrt());
        self.minutes.sort_unstable();
    }
}
