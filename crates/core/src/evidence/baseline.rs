//! The baseline: what the old side did before the ramp. How often its requests fail matters little, for
//! both sides are compared minute by minute; how unsteadily they fail matters much. A burst of
//! errors on a side that has one every hour says nothing about a new cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evidence::e_process::{BEYOND_CHANCE, as_f64, chi_square, is_usual, to_count};
use crate::evidence::signal::{Signal, SignalKind};
use crate::evidence::{Counts, OwnSeries, Series};
use crate::request::health::Health;

/// Periods before the ramp that are looked at: a day of minutes, so that what happens once a day is
/// in it.
pub const BASELINE_PERIODS: u32 = 1440;

/// Half a day: so many stretches must be known before a bad period of the new side can be told from a burst. A burst that comes in
/// one of 100 minutes has come in that time with a chance of 99.9 %.
const STRETCHES_MIN: u32 = BASELINE_PERIODS / 2;

/// What is usual at a moment is the mean of this many stretches before and after it, without bursts; before any is known, the
/// median of twice as many, which an incident of an hour does not move.
pub(super) const AROUND: usize = 30;
/// This part of the bursts is no longer than what counts as one. The longest is left out: what happens once a day is no habit.
const BURSTS_COVERED: f64 = 0.9;
/// Stretches, added up in such blocks, tell how far rates wander: what is forgotten in a minute adds up less than what
/// lasts.
const BLOCKS: [usize; 4] = [1, 5, 15, 30];
/// Bursts that begin within this many stretches add up: what they said is forgotten later on. None counts as longer.
const TOGETHER_PERIODS: u32 = 20;
/// With one burst less than what decides, this part of a burst is lacking: minutes that were as always must not add it by chance.
const BURST_LACKING: f64 = 0.6;

/// How one side's requests went over a long time, and how unsteadily. In JSON
/// `[stretches, requests, usual_rate, worst_rate, wander, bursts, lasts]`: 250 of them travel with the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BaselineJson", into = "(u32, u64, f64, f64, f64, f64, u32)")]
pub struct Baseline {
    /// Stretches that were seen: periods, or several of them where one has too few requests.
    pub stretches: u32,
    /// Requests that were seen: of that time, or, once all requests are meant for the new side, of this ramp.
    pub requests: u64,
    /// The rate of all of them together, 0–1.
    pub usual_rate: f64,
    /// The highest rate of a stretch, 0–1.
    pub worst_rate: f64,
    /// How much the rate wanders, beyond what chance does to the counts: the variance of the logarithm of many
    /// stretches' mean, times their number. 0 for a steady rate.
    pub wander: f64,
    /// The part of the stretches in which a burst begins, 0–1.
    pub bursts: f64,
    /// How long bursts last, in stretches.
    pub lasts: u32,
}

/// [`Baseline`] as this version writes it, and as the ones before did.
#[derive(Deserialize)]
#[serde(untagged)]
enum BaselineJson {
    Seven(u32, u64, f64, f64, f64, f64, u32),
    /// The last is what gathered beyond the limit, which nothing needs any more.
    Six(u32, f64, f64, f64, f64, serde::de::IgnoredAny),
    Four(u32, f64, f64, f64),
}

impl From<BaselineJson> for Baseline {
    fn from(json: BaselineJson) -> Self {
        let (stretches, requests, usual_rate, worst_rate, wander, bursts, lasts) = match json {
            BaselineJson::Seven(stretches, requests, usual, worst, wander, bursts, lasts) => {
                (stretches, requests, usual, worst, wander, bursts, lasts)
            }
            // A stretch has a hundred requests at least, if nobody asked for another number.
            BaselineJson::Six(stretches, worst, wander, bursts, usual, _) => {
                (stretches, 100 * u64::from(stretches), usual, worst, wander, bursts, 1)
            }
            // The limit followed the worst rate then.
            BaselineJson::Four(stretches, worst, wander, bursts) => {
                (stretches, 0, worst.min(0.5), worst, wander, bursts, 1)
            }
        };
        Self { stretches, requests, usual_rate, worst_rate, wander, bursts, lasts }
    }
}

impl From<Baseline> for (u32, u64, f64, f64, f64, f64, u32) {
    fn from(of: Baseline) -> Self {
        (of.stretches, of.requests, of.usual_rate, of.worst_rate, of.wander, of.bursts, of.lasts)
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
            let baseline = Baseline::of(periods, health.requests_min);
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
            let day = Baseline::of(series.old.iter().copied(), health.requests_min);
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

    /// Takes what the old side did beside the new one for what is usual, where it is not: a check sees no further back than its
    /// window. `beside`: of each of these signals.
    pub(crate) fn learn<'a>(
        &mut self,
        signals: impl Iterator<Item = &'a Signal>,
        beside: &[Counts],
    ) {
        for (signal, beside) in signals.zip(beside) {
            let baseline = match &signal.kind {
                SignalKind::Failed => Some(&mut self.errors),
                SignalKind::Refused => self.refused.as_mut(),
                SignalKind::Slow { .. } => self.slow.as_mut(),
                SignalKind::Own { name } => self.own.get_mut(name),
            };
            let Some(baseline) = baseline.filter(|day| !is_usual(*beside, day.counts())) else {
                continue;
            };
            if let Some(usual_rate) = beside.error_rate() {
                baseline.requests = to_count(rounded(as_f64(beside.requests)));
                baseline.usual_rate = rounded(usual_rate);
            }
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
    /// Reads what one side counted in each period, the newest last. Periods with less than `requests_min` requests are
    /// added up.
    #[must_use]
    pub fn of(periods: impl IntoIterator<Item = Option<Counts>>, requests_min: u64) -> Self {
        let mut filling = Counts::default();
        let mut stretches = Vec::new();
        let mut total = Counts::default();
        for counts in periods.into_iter().flatten().filter(|counts| counts.requests > 0) {
            total = total + counts;
            filling = filling + counts;
            if filling.requests >= requests_min {
                stretches.push(std::mem::take(&mut filling));
            }
        }
        let Steadiness { wander, bursts, lasts } = Steadiness::of(&stretches);
        let worst_rate =
            stretches.iter().filter_map(|counts| counts.error_rate()).fold(0.0, f64::max);
        Self {
            stretches: u32::try_from(stretches.len()).unwrap_or(u32::MAX),
            requests: to_count(rounded(as_f64(total.requests))),
            usual_rate: rounded(total.error_rate().unwrap_or_default()),
            worst_rate: rounded(worst_rate),
            wander: rounded(wander),
            bursts: rounded(bursts),
            lasts,
        }
    }

    /// Whether it is long enough to tell a burst of this service from something new.
    #[must_use]
    pub const fn knows_bursts(&self) -> bool {
        self.stretches >= STRETCHES_MIN
    }

    /// What evidence may gather in one burst, as a part of what is needed: more bursts decide than come together in any one
    /// such time with a chance of alpha, and two at least.
    pub(super) fn cap_part(&self, alpha: f64) -> f64 {
        // While one lasts, no other begins.
        let others = (TOGETHER_PERIODS + 1).saturating_sub(self.lasts.max(1));
        let mean = f64::from(others) * self.bursts;
        // Poisson's chance of exactly this number, and of more.
        let mut chance = (-mean).exp();
        let mut of_more = 1.0 - chance;
        let mut number = 0;
        while number < 1 || (of_more > alpha && number < TOGETHER_PERIODS) {
            number += 1;
            chance *= mean / f64::from(number);
            of_more -= chance;
        }
        1.0 / (f64::from(number) + BURST_LACKING)
    }

    /// What was counted, to three digits.
    pub(super) fn counts(&self) -> Counts {
        let errors = to_count((as_f64(self.requests) * self.usual_rate).ceil());
        Counts { requests: self.requests, errors }
    }
}

/// The variance of the logarithm of a gamma-distributed factor with this squared coefficient of variation,
/// c: ψ′(1/c), by its series.
/// Source: NIST Digital Library of Mathematical Functions, 5.15.8.
fn log_variance(c: f64) -> f64 {
    c + c * c / 2.0 + c * c * c / 6.0
}

#[expect(clippy::cast_precision_loss, reason = "a number of periods")]
fn counted(number: usize) -> f64 {
    number as f64
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

/// How steady a rate is.
struct Steadiness {
    wander: f64,
    bursts: f64,
    lasts: u32,
}

impl Steadiness {
    /// Tells bursts from what is usual and from how that wanders. What is usual is looked for without bursts, and bursts are
    /// what is not usual: so first by medians, which a few bursts do not move.
    fn of(stretches: &[Counts]) -> Self {
        let (is_burst, held) = without_bursts(stretches, &medians(stretches), 0.0);
        let usual = usual(stretches, &is_burst);
        let wanders = farthest(|block| wander(&held, block));
        let (is_burst, held) = without_bursts(stretches, &usual, wanders);
        let lengths = is_burst.split(|is| !is).map(<[bool]>::len).filter(|length| *length > 0);
        let mut lengths: Vec<u32> = lengths.filter_map(|length| length.try_into().ok()).collect();
        let bursts = counted(lengths.len()) / counted(stretches.len()).max(1.0);
        lengths.sort_unstable();
        lengths.pop();
        let covered = to_count(BURSTS_COVERED * counted(lengths.len()));
        let lasts = usize::try_from(covered).ok().and_then(|covered| lengths.get(covered));
        Self {
            wander: farthest(|block| counted(block) * log_variance(wander(&held, block))),
            bursts,
            lasts: lasts.map_or(1, |lasts| *lasts.min(&TOGETHER_PERIODS)),
        }
    }
}

/// In which stretches there is a burst, more errors than chance and wander make of the usual rates; and the stretches as they
/// would be without.
fn without_bursts(stretches: &[Counts], usual: &[f64], wander: f64) -> (Vec<bool>, Vec<Counts>) {
    let held = stretches.iter().zip(usual).map(|(counts, usual)| {
        let expected = usual * as_f64(counts.requests);
        // The deviance of Poisson's law, with one error more in both: the first one is no burst.
        let (seen, likely) = (as_f64(counts.errors) + 1.0, expected + 1.0);
        let deviance = 2.0 * (seen * (seen / likely).ln() - (seen - likely));
        let is_burst = seen > likely && deviance > BEYOND_CHANCE * (1.0 + wander * expected);
        let errors = if is_burst { to_count(expected.round()) } else { counts.errors };
        (is_burst, Counts { errors, ..*counts })
    });
    held.unzip()
}

/// The median of the rates around each stretch.
fn medians(stretches: &[Counts]) -> Vec<f64> {
    let medians = (0..stretches.len()).step_by(AROUND).flat_map(|index| {
        let middle = index + AROUND / 2;
        let from = middle.saturating_sub(2 * AROUND);
        let around = stretches.iter().take(middle + 2 * AROUND + 1).skip(from);
        [median(around.filter_map(|counts| counts.error_rate())).unwrap_or_default(); AROUND]
    });
    medians.take(stretches.len()).collect()
}

/// The median; of an even number, the higher one of the two in the middle.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The rate around each stretch, without bursts.
fn usual(stretches: &[Counts], is_burst: &[bool]) -> Vec<f64> {
    let mut sums = vec![Counts::default()];
    let mut sum = Counts::default();
    for (counts, is_burst) in stretches.iter().zip(is_burst) {
        sum = if *is_burst { sum } else { sum + *counts };
        sums.push(sum);
    }
    let around = |index: usize| {
        let to = sums.get((index + AROUND + 1).min(stretches.len()))?;
        to.less(*sums.get(index.saturating_sub(AROUND))?).error_rate()
    };
    let all = sum.error_rate().unwrap_or_default();
    (0..stretches.len()).map(|index| around(index).unwrap_or(all)).collect()
}

/// The most of what is found in blocks of several lengths, and 0 at least.
fn farthest(of: impl Fn(usize) -> f64) -> f64 {
    BLOCKS.map(of).into_iter().fold(0.0, f64::max)
}

/// The squared coefficient of variation of the rate from one block of stretches to the next, as far as it is beyond chance.
///
/// For a steady rate, Pearson's χ² of two neighbours is 1 on average; a rate that wanders adds half of its squared
/// coefficient of variation times their events. Neighbours, because what a day does to a rate cancels out between them.
///
/// Source: P. McCullagh and J. A. Nelder, "Generalized Linear Models", 2nd edition, section 4.5
/// (over-dispersion); batch means of several lengths as in J. M. Flegal and G. L. Jones, "Batch means and spectral
/// variance estimators in Markov chain Monte Carlo", Annals of Statistics 38 (2010).
fn wander(stretches: &[Counts], block: usize) -> f64 {
    let blocks: Vec<Counts> =
        stretches.chunks_exact(block).map(|chunk| chunk.iter().copied().sum()).collect();
    let neighbours = blocks.iter().zip(blocks.iter().skip(1));
    let with_events = neighbours.filter(|(a, b)| a.errors + b.errors > 0);
    let (mut number, mut beyond, mut half_events) = (0.0_f64, 0.0, 0.0);
    for (a, b) in with_events {
        number += 1.0;
        beyond += chi_square(*a, *b) - 1.0;
        half_events += as_f64(a.errors + b.errors) / 2.0;
    }
    // One pair alone cannot tell what wanders from what rises or falls.
    if number < 2.0 {
        return 0.0;
    }
    // The farthest of several blocks is looked for, so one standard deviation of a steady rate's sum is taken off: each χ² adds
    // a variance of 2, and what it shares with its neighbours 1.
    ((beyond - (3.0 * number).sqrt()) / half_events).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of minutes with 1,000 requests each, and these errors.
    fn day(errors: impl Fn(u64) -> u64) -> Baseline {
        let minute = |minute| Some(Counts { requests: 1000, errors: errors(minute) });
        Baseline::of((0..1440).map(minute), 100)
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
        assert_eq!(steady.lasts, 1);
        assert!((steady.cap_part(0.01) - 1.0 / 1.6).abs() < 1e-9);
    }

    #[test]
    fn bursts_are_counted_with_their_length_and_do_not_pass_for_wander() {
        let of = |lasts: u64| {
            day(|minute| if minute % 40 < lasts { 400 } else { 18 + scattered(minute) % 5 })
        };
        for lasts in [1, 3, 5] {
            let bursty = of(lasts);
            assert!((0.02..0.03).contains(&bursty.bursts), "{bursty:?}");
            assert_eq!(u64::from(bursty.lasts), lasts);
            assert!(bursty.wander < 0.001, "{bursty:?}");
            assert!((bursty.worst_rate - 0.4).abs() < 1e-9, "{bursty:?}");
            assert!(bursty.cap_part(0.01) < 0.4, "{bursty:?}");
        }
        let outage = day(|minute| if (700..705).contains(&minute) { 1000 } else { 1 });
        assert_eq!(outage.lasts, 1, "once a day is no habit");
    }

    #[test]
    fn an_incident_of_an_hour_passes_for_no_wander() {
        for lasts in [20, 60] {
            let incident = 700..700 + lasts;
            let day =
                day(|minute| if incident.contains(&minute) { 200 } else { scattered(minute) % 3 });
            let fine = self::day(|minute| scattered(minute) % 3);
            assert!(day.wander < fine.wander + 0.1, "{day:?} {fine:?}");
            assert!(day.bursts > 0.0, "{day:?}");
        }
    }

    #[test]
    fn a_rate_that_moves_every_minute_wanders_and_one_that_lasts_wanders_farther() {
        // Uniform between 10 and 30 of 1,000: a variance of 400 / 12 around 20, 0.083 of 20².
        let wandering = day(|minute| 10 + scattered(minute) * 20 / 1000);
        assert!((0.02..0.15).contains(&wandering.wander), "{wandering:?}");
        assert!(wandering.bursts < 0.002, "{wandering:?}");
        let lasting = day(|minute| 10 + scattered(minute / 15) * 20 / 1000);
        assert!(lasting.wander > 5.0 * wandering.wander, "{lasting:?}");
    }

    #[test]
    fn what_a_day_does_to_the_rate_is_no_wander() {
        let tide = day(|minute| 20 + minute / 72);
        assert!(tide.wander < 1e-9 && tide.bursts < 1e-9, "{tide:?}");
    }

    #[test]
    fn the_first_error_is_no_burst() {
        let quiet = day(|minute| u64::from(minute % 400 == 7));
        assert!(quiet.bursts < 1e-9 && quiet.wander < 0.01, "{quiet:?}");
        assert_eq!(quiet.counts().requests, 1_440_000);
    }

    #[test]
    fn thin_periods_are_added_up() {
        let thin = [Some(Counts { requests: 30, errors: 0 }), None, None];
        let baseline = Baseline::of(thin.repeat(400), 100);
        assert_eq!((baseline.stretches, baseline.knows_bursts()), (100, false));
        let none = Baseline::of([], 100);
        assert_eq!((none.stretches, none.counts()), (0, Counts::default()));
    }

    #[test]
    fn what_was_written_before_is_read() {
        let read = |json: &str| serde_json::from_str::<Baseline>(json).expect("a baseline");
        let four = read("[1440,0.9,0.1,0.01]");
        assert_eq!(
            (four.stretches, four.usual_rate, four.wander, four.bursts),
            (1440, 0.5, 0.1, 0.01)
        );
        let six = read("[1440,0.9,0.1,0.01,0.002,4.75]");
        assert_eq!((six.worst_rate, six.usual_rate, six.lasts), (0.9, 0.002, 1));
    }

    #[test]
    fn it_travels_as_seven_numbers_of_three_digits() {
        let json = serde_json::to_string(&day(|minute| 10 + minute % 21)).expect("JSON");
        assert!(json.len() < 60, "{json}");
        let back: Baseline = serde_json::from_str(&json).expect("a baseline");
        assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
    }
}
