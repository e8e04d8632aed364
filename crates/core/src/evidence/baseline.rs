//! The baseline: what the old side did before the ramp. How often its requests fail matters little, for
//! both sides are compared minute by minute; how unsteadily they fail matters much. A burst of
//! errors on a side that has one every hour says nothing about a new cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evidence::signal::{Signal, SignalKind};
use crate::evidence::stretches::{Excess, SHOWN};
use crate::evidence::{Counts, OwnSeries, Series};
use crate::request::health::Health;

/// Periods before the ramp that are looked at: a day of minutes, so that what happens once a day is
/// in it.
pub const BASELINE_PERIODS: u32 = 1440;

/// Stretches that are needed before one bad period of the new side can be told from a burst. A burst
/// that hits a side in one of 100 of its minutes has shown itself in so many with a chance of 99.9 %.
const STRETCHES_MIN: u32 = 720;

/// Neighbours that are expected to have fewer events together tell nothing of how much a rate wanders.
const PAIR_EVENTS_MIN: f64 = 10.0;
/// And so many pairs are needed.
const PAIRS_MIN: usize = 30;
/// Neighbours whose χ² is over this differ by more than chance: it does so in one of 1,000 pairs.
const BURST_CHI_SQUARE: f64 = 10.83;
/// This part of the pairs, those that differ most, is left out: bursts, which the cap of the test is
/// for.
const PAIRS_TRIMMED: f64 = 0.1;
/// The mean of χ² with one degree of freedom below its 90th percentile, 2.706: what the rest of the
/// pairs has when the rate is steady. E[χ²; χ² < z²] = 0.9 − 2 z φ(z) with z = 1.645, over 0.9.
const TRIMMED_CHI_SQUARE: f64 = 0.623;

/// How one side's requests went over a long time: in the worst stretch, and how much the rate moves from
/// one minute to the next. In JSON `[stretches, worst_rate, wander, bursts, usual_rate, excess]`: 250 of them travel with
/// the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BaselineJson", into = "(u32, f64, f64, f64, f64, f64)")]
pub struct Baseline {
    /// Stretches that were seen: periods, or several of them where one has too few requests.
    pub stretches: u32,
    /// The highest rate of a stretch, 0–1, as far as it is beyond chance.
    pub worst_rate: f64,
    /// How much the rate wanders from one stretch to the next, beyond what chance does to the counts:
    /// the squared coefficient of variation, 0 for a steady rate.
    pub wander: f64,
    /// The part of the stretches that differ from their neighbours by more than chance and wander, 0–1.
    pub bursts: f64,
    /// The rate of all of them together, 0–1.
    pub usual_rate: f64,
    /// The most that gathered at once beyond the signal's limit, in stretches of nothing but failures.
    pub excess: f64,
}

/// [`Baseline`] as this version writes it, and as the ones before did.
#[derive(Deserialize)]
#[serde(untagged)]
enum BaselineJson {
    Six(u32, f64, f64, f64, f64, f64),
    Four(u32, f64, f64, f64),
}

impl From<BaselineJson> for Baseline {
    fn from(json: BaselineJson) -> Self {
        match json {
            BaselineJson::Six(stretches, worst_rate, wander, bursts, usual_rate, excess) => {
                Self { stretches, worst_rate, wander, bursts, usual_rate, excess }
            }
            // The limit followed the worst rate then.
            BaselineJson::Four(stretches, worst_rate, wander, bursts) => Self {
                stretches,
                worst_rate,
                wander,
                bursts,
                usual_rate: worst_rate.min(0.5),
                excess: 0.0,
            },
        }
    }
}

impl From<Baseline> for (u32, f64, f64, f64, f64, f64) {
    fn from(of: Baseline) -> Self {
        (of.stretches, of.worst_rate, of.wander, of.bursts, of.usual_rate, of.excess)
    }
}

/// What the old side did before the ramp, signal by signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// Healthy hosts at the start.
    pub hosts: u32,
    /// Failed requests.
    pub errors: Baseline,
    /// Refused ones, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Baseline>,
    /// Slow ones, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Baseline>,
    /// Counts of one's own, by the signal's name. They are of the cutover, which keeps them once: see
    /// [`Cutover::own_days`](crate::Cutover#structfield.own_days).
    #[serde(skip)]
    pub own: BTreeMap<String, Baseline>,
}

impl Baselines {
    /// Reads what a meter counted, the newest period last.
    #[must_use]
    pub fn of(series: &Series, hosts: u32, health: &Health) -> Self {
        let mut of = Self { hosts, ..Self::default() };
        for signal in health.signals() {
            let periods = series.counts_of(&signal.kind);
            let baseline = Baseline::of(periods, health.requests_min, |usual_rate| {
                health.limit(&signal, usual_rate)
            });
            // What was not asked for is not known.
            let is_known = !series.refused.is_empty();
            match signal.kind {
                SignalKind::Failed => of.errors = baseline,
                SignalKind::Refused if !is_known => {}
                SignalKind::Refused => of.refused = Some(baseline),
                SignalKind::Slow { .. } => of.slow = Some(baseline),
                // No meter has them.
                SignalKind::Own { .. } => {}
            }
        }
        of
    }

    /// Reads what others counted of the old side, in the order of [`Health::signals`](crate::Health#structfield.signals),
    /// the newest period last. By the signal's name.
    #[must_use]
    pub fn of_own(counted: &[OwnSeries], health: &Health) -> BTreeMap<String, Baseline> {
        let signals = health.signals();
        let own = signals.iter().filter(|signal| matches!(signal.kind, SignalKind::Own { .. }));
        let day = |(signal, series): (&Signal, &OwnSeries)| {
            let limit = |usual_rate| health.limit(signal, usual_rate);
            let day = Baseline::of(series.old.iter().copied(), health.requests_min, limit);
            (signal.name().to_owned(), day)
        };
        own.zip(counted).map(day).collect()
    }

    /// That of one signal.
    #[must_use]
    pub fn of_signal(&self, signal: &Signal) -> Option<&Baseline> {
        match &signal.kind {
            SignalKind::Failed => Some(&self.errors),
            SignalKind::Refused => self.refused.as_ref(),
            SignalKind::Slow { .. } => self.slow.as_ref(),
            SignalKind::Own { name } => self.own.get(name),
        }
    }

    /// Whether it is long enough to tell the bursts of every signal from something new.
    #[must_use]
    pub fn knows_bursts(&self) -> bool {
        let all = [Some(&self.errors), self.refused.as_ref(), self.slow.as_ref()];
        all.into_iter().flatten().all(Baseline::knows_bursts)
    }
}

impl Baseline {
    /// What was counted in period after period, oldest first; `None` where nothing was. Periods of
    /// fewer than `requests_min` requests are added up until they have as many. `limit`: that of the signal, by the
    /// rate of all of them.
    #[must_use]
    pub fn of(
        periods: impl IntoIterator<Item = Option<Counts>>,
        requests_min: u64,
        limit: impl Fn(f64) -> f64,
    ) -> Self {
        let mut stretches = Vec::new();
        let mut stretch = Counts::default();
        for counts in periods.into_iter().flatten() {
            stretch = stretch + counts;
            if stretch.requests >= requests_min.max(1) {
                stretches.push(stretch);
                stretch = Counts::default();
            }
        }
        let Steadiness { wander, bursts } = Steadiness::of(&stretches);
        let total: Counts = stretches.iter().copied().sum();
        let usual_rate = rounded(total.error_rate().unwrap_or_default());
        let (limit, mut excess) = (limit(usual_rate), Excess::default());
        for stretch in &stretches {
            excess.add(*stretch, limit);
        }
        Self {
            stretches: u32::try_from(stretches.len()).unwrap_or(u32::MAX),
            worst_rate: rounded(worst_rate(&stretches)),
            wander: rounded(wander),
            bursts: rounded(bursts),
            usual_rate,
            excess: rounded(excess.most()),
        }
    }

    /// Whether it is long enough to tell a burst of this service from something new.
    #[must_use]
    pub const fn knows_bursts(&self) -> bool {
        self.stretches >= STRETCHES_MIN
    }
}

/// To three digits, upwards: 250 baselines travel with the state.
fn rounded(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powi(2 - exponent(value));
    (value * unit).ceil() / unit
}

/// The power of ten that a number above 0 begins with.
#[expect(clippy::cast_possible_truncation, reason = "an f64's exponent is far within i32")]
fn exponent(value: f64) -> i32 {
    value.log10().floor() as i32
}

/// The highest rate that a stretch shows beyond chance: the lower end of its 90 % interval. At least what
/// all of them show together, and one error a stretch: less cannot be told.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn worst_rate(stretches: &[Counts]) -> f64 {
    let total: Counts = stretches.iter().copied().sum();
    let one_error = stretches.len() as f64 / (total.requests as f64).max(1.0);
    let shown = stretches.iter().map(|counts| counts.rate_interval(SHOWN).0).fold(0.0, f64::max);
    shown.max(total.error_rate().unwrap_or_default()).max(one_error).min(1.0)
}

/// How steady a rate is.
struct Steadiness {
    wander: f64,
    bursts: f64,
}

impl Steadiness {
    /// How much more neighbours differ than by chance. For a steady rate, Pearson's χ² of two stretches is
    /// 1 on average; a rate that wanders adds half of its squared coefficient of variation times their events.
    /// Neighbours, because what a day does to a rate cancels out between them.
    ///
    /// Source: P. McCullagh and J. A. Nelder, "Generalized Linear Models", 2nd edition, section 4.5
    /// (over-dispersion).
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn of(stretches: &[Counts]) -> Self {
        let total: Counts = stretches.iter().copied().sum();
        let usual = total.error_rate().unwrap_or_default();
        let neighbours = stretches.iter().zip(stretches.iter().skip(1));
        // χ² and events of each pair, and whether events enough were to be expected.
        let pairs: Vec<(f64, f64, bool)> = neighbours
            .filter_map(|(a, b)| {
                let (n, k) = (a.requests as f64, b.requests as f64);
                let (x, y) = (a.errors as f64, b.errors as f64);
                let events = x + y;
                let succeeded = n + k - events;
                if events <= 0.0 || succeeded <= 0.0 {
                    return None;
                }
                let difference = x * k - y * n;
                let chi_square = difference * difference * (n + k) / (n * k * events * succeeded);
                Some((chi_square, events, usual * (n + k) >= PAIR_EVENTS_MIN))
            })
            .collect();
        let wander = wander(&pairs);
        let beyond = |(chi_square, events, _): &&(f64, f64, bool)| {
            chi_square / (1.0 + wander * events / 2.0) > BURST_CHI_SQUARE
        };
        // A burst differs from the stretch before it and from the one after it.
        let bursts = pairs.iter().filter(beyond).count() as f64 / 2.0;
        Self { wander, bursts: bursts / (stretches.len() as f64).max(1.0) }
    }
}

/// The squared coefficient of variation, of the pairs that can tell.
#[expect(clippy::cast_precision_loss, reason = "a number of pairs")]
fn wander(pairs: &[(f64, f64, bool)]) -> f64 {
    let mut telling: Vec<(f64, f64)> =
        pairs.iter().filter(|pair| pair.2).map(|pair| (pair.0, pair.1)).collect();
    if telling.len() < PAIRS_MIN {
        return 0.0;
    }
    telling.sort_by(|a, b| a.0.total_cmp(&b.0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length"
    )]
    let kept = (telling.len() as f64 * (1.0 - PAIRS_TRIMMED)) as usize;
    let (mut beyond_chance, mut half_events) = (0.0, 0.0);
    for (chi_square, events) in telling.iter().take(kept) {
        beyond_chance += chi_square / TRIMMED_CHI_SQUARE - 1.0;
        half_events += events / 2.0;
    }
    (beyond_chance / half_events).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of minutes with 1,000 requests each, and these errors.
    fn day(errors: impl Fn(u64) -> u64) -> Baseline {
        let minute = |minute| Some(Counts { requests: 1000, errors: errors(minute) });
        Baseline::of((0..1440).map(minute), 100, |_| 0.05)
    }

    /// A number from 0 to 999 that looks like chance.
    fn scattered(minute: u64) -> u64 {
        (minute.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 1000
    }

    #[test]
    fn a_steady_day_has_neither_bursts_nor_wander() {
        let steady = day(|minute| 18 + scattered(minute) % 5);
        assert!(steady.knows_bursts());
        assert!(steady.wander < 1e-9 && steady.bursts < 1e-9, "{steady:?}");
        assert!((0.02..0.023).contains(&steady.worst_rate), "{steady:?}");
    }

    #[test]
    fn bursts_are_counted_and_do_not_pass_for_wander() {
        let bursty = day(|minute| if minute % 40 == 7 { 400 } else { 18 + scattered(minute) % 5 });
        assert!((0.02..0.03).contains(&bursty.bursts), "{bursty:?}");
        assert!(bursty.wander < 0.001, "{bursty:?}");
        assert!((0.37..0.4).contains(&bursty.worst_rate), "{bursty:?}");
    }

    #[test]
    fn a_rate_that_moves_every_minute_wanders() {
        // Uniform between 10 and 30 of 1,000: a variance of 400 / 12 around 20, 0.083 of 20².
        let wandering = day(|minute| 10 + scattered(minute) * 20 / 1000);
        assert!((0.02..0.12).contains(&wandering.wander), "{wandering:?}");
        assert!(wandering.bursts < 0.002, "{wandering:?}");
    }

    #[test]
    fn what_a_day_does_to_the_rate_is_no_wander() {
        let tide = day(|minute| 20 + minute / 72);
        assert!(tide.wander < 1e-9 && tide.bursts < 1e-9, "{tide:?}");
    }

    #[test]
    fn thin_periods_are_added_up_and_no_error_is_not_told_from_one() {
        let thin = [Some(Counts { requests: 30, errors: 0 }), None, None];
        let baseline = Baseline::of(thin.repeat(400), 100, |_| 0.05);
        assert_eq!((baseline.stretches, baseline.knows_bursts()), (100, false));
        assert!((1.0 / 121.0..0.01).contains(&baseline.worst_rate), "{baseline:?}");
        let none = Baseline::of([], 100, |_| 0.05);
        assert_eq!(none, Baseline::default());
    }

    #[test]
    fn what_gathers_beyond_the_limit_is_as_large_as_it_is_long() {
        let excess = |errors: fn(u64) -> u64| day(errors).excess;
        assert!(excess(|_| 50) < 1e-9, "the limit itself is allowed");
        assert!((excess(|minute| if minute == 700 { 1000 } else { 1 }) - 0.95).abs() < 0.01);
        let five = excess(|minute| if (700..705).contains(&minute) { 550 } else { 1 });
        assert!((five - 2.4).abs() < 0.05, "five minutes of 50 % beyond it, less chance: {five}");
    }

    #[test]
    fn what_was_written_before_is_read_with_a_limit_as_it_was() {
        let read: Baseline = serde_json::from_str("[1440,0.9,0.1,0.01]").expect("four numbers");
        assert_eq!((read.stretches, read.usual_rate, read.excess), (1440, 0.5, 0.0));
    }

    #[test]
    fn it_travels_as_six_numbers_of_three_digits() {
        let json = serde_json::to_string(&day(|minute| 10 + minute % 21)).expect("JSON");
        assert!(json.len() < 50, "{json}");
        let back: Baseline = serde_json::from_str(&json).expect("a baseline");
        assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
    }
}
