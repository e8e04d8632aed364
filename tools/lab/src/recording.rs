//! Everything that was seen of one run, in seconds since the event: what the view shows, the
//! picture draws and `run.json` holds.

use cutover_core::{Counts, Cutover, Problem, Route, Status, Step};
use cutover_core::{VerdictKind, e_shown};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::scenario::{Router, Scenario};
use crate::world::LiveWeights;

/// A run from the event to the end.
#[derive(Clone, Debug, Serialize)]
pub struct Recording {
    /// What was played.
    pub scenario: Scenario,
    /// What splits the requests.
    pub router: Router,
    /// The seed of everything random.
    pub seed: u64,
    /// Name of the old cluster.
    pub old: String,
    /// Name of the new cluster.
    pub new: String,
    /// The host names.
    pub routes: Vec<String>,
    /// The event's detail.
    pub request: Value,
    /// When the event was sent: second 0.
    pub started_at: Timestamp,
    /// The execution that the event started.
    pub execution_arn: Option<String>,
    /// The ramp, once the request was accepted.
    pub ramp: Vec<Step>,
    /// One entry a second.
    pub samples: Vec<Sample>,
    /// The shares that the weights asked for, one entry a change.
    pub intended: Vec<Intended>,
    /// The steps that began, in order.
    pub steps: Vec<StepSeen>,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What else happened, in order.
    pub notes: Vec<Note>,
    /// How it ended, once it has.
    pub end: Option<End>,
}

/// One second of the world.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// When it began, in seconds since the event.
    pub at_s: f64,
    /// What the old cluster did.
    pub old: Counts,
    /// What the new cluster did.
    pub new: Counts,
}

/// A change of the live weights.
#[derive(Clone, Debug, Serialize)]
pub struct Intended {
    /// When it was seen first.
    pub at_s: f64,
    /// The new side's share from then on, 0–1: the mean over the routes that have weights of both
    /// sides, `None` without any.
    pub share: Option<f64>,
}

impl Sample {
    /// The new side's share of the requests, 0–1; `None` without requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "requests of one second")]
    pub fn measured(&self) -> Option<f64> {
        let all = self.old.requests + self.new.requests;
        (all > 0).then(|| self.new.requests as f64 / all as f64)
    }
}

/// One step of the ramp as it went.
#[derive(Clone, Debug, Serialize)]
pub struct StepSeen {
    /// Its number, from 1.
    pub number: usize,
    /// The intended share in percent.
    pub percent: f64,
    /// When its weights were written.
    pub from_s: f64,
    /// When the next step's were, or the cutover ended or turned back.
    pub until_s: Option<f64>,
    /// The last verdict on it.
    pub verdict: Option<VerdictKind>,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// When it was done.
    pub at_s: f64,
    /// Number of the step, from 1.
    pub step: usize,
    /// The worst verdict of all routes.
    pub verdict: VerdictKind,
    /// Why cutover does what it does next, in one sentence.
    pub sentence: String,
    /// The measured share of this step's requests so far, 0–1.
    pub measured: Option<f64>,
    /// The decimal logarithm of e, the evidence against the new side: the highest of all routes. `None`
    /// when the telemetry failed.
    pub log10_e: Option<f64>,
    /// The decimal logarithm of what e must reach for a route to go back.
    pub log10_limit: f64,
}

impl Check {
    /// Its verdict and e in a few words: `healthy, e = 0.4 of 100`.
    #[must_use]
    pub fn words(&self) -> String {
        let verdict = self.verdict.words();
        let shown = |log10: f64| e_shown(log10 * std::f64::consts::LN_10);
        match self.log10_e {
            Some(log10_e) => {
                format!("{verdict}, e = {} of {}", shown(log10_e), shown(self.log10_limit))
            }
            None => verdict.to_owned(),
        }
    }
}

/// Something worth a line.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// When.
    pub at_s: f64,
    /// What.
    pub text: String,
}

/// The end of the execution.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    /// When.
    pub at_s: f64,
    /// The end state's name, `Completed` or `RolledBack` or another.
    pub name: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The weights that Route 53 had then.
    pub weights: Vec<LiveWeights>,
}

impl Recording {
    /// Seconds since the event.
    #[must_use]
    pub fn elapsed_s(&self, now: Timestamp) -> f64 {
        now.duration_since(self.started_at).as_secs_f64()
    }

    /// Notes something.
    pub fn note(&mut self, at_s: f64, text: impl Into<String>) {
        self.notes.push(Note { at_s, text: text.into() });
    }

    /// The weights were read.
    pub fn weights(&mut self, at_s: f64, live: &[LiveWeights]) {
        let shares: Vec<f64> = live.iter().filter_map(LiveWeights::share).collect();
        let routes = f64::from(u16::try_from(shares.len()).unwrap_or(u16::MAX));
        let share = (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / routes);
        if self.intended.last().is_none_or(|last| last.share != share) {
            self.intended.push(Intended { at_s, share });
        }
    }

    /// The request was accepted.
    pub fn accepted(&mut self, at_s: f64, cutover: &Cutover) {
        self.ramp = cutover.ramp.steps().to_vec();
        let routes: Vec<&str> = cutover.routes.iter().map(|route| route.name.as_str()).collect();
        let sides = &cutover.sides;
        self.note(
            at_s,
            format!(
                "accepted: {} from {} to {} in {} steps",
                routes.join(", "),
                sides.old,
                sides.new,
                self.ramp.len()
            ),
        );
        for warning in &cutover.warnings {
            self.note(at_s, warning_words(warning));
        }
    }

    /// The weights of the current step were written.
    pub fn shifted(&mut self, at_s: f64, cutover: &Cutover) {
        self.close_step(at_s);
        let number = cutover.step + 1;
        let percent = f64::from(cutover.intended());
        self.steps.push(StepSeen { number, percent, from_s: at_s, until_s: None, verdict: None });
        self.note(at_s, format!("step {number} of {}: {percent} %", self.ramp.len()));
    }

    /// A check was done.
    pub fn checked(&mut self, at_s: f64, cutover: &Cutover) {
        // When the check orders the next step, the state already names that one.
        let Some(step) = self.steps.last_mut() else { return };
        let drifted = |route: &&Route| route.status != Status::Drifted;
        let verdicts = || cutover.routes.iter().filter(drifted).filter_map(|r| r.verdict.as_ref());
        let Some(worst) = verdicts().max_by_key(|verdict| verdict.kind.badness()) else { return };
        let log10_e = verdicts().filter_map(|verdict| verdict.log10_e).reduce(f64::max);
        let changed = step.verdict != Some(worst.kind);
        step.verdict = Some(worst.kind);
        self.checks.push(Check {
            at_s,
            step: step.number,
            verdict: worst.kind,
            sentence: cutover.next.reason.clone(),
            measured: worst.measured_share(),
            log10_e,
            log10_limit: cutover.log10_limit(),
        });
        if changed {
            let verdict = worst.kind.words();
            self.note(at_s, format!("verdict {verdict}: {}", cutover.next.reason));
        }
    }

    /// The last check of a step, by the step's number.
    #[must_use]
    pub fn last_check(&self, step: usize) -> Option<&Check> {
        self.checks.iter().rev().find(|check| check.step == step)
    }

    /// No step is under way any more.
    pub fn close_step(&mut self, at_s: f64) {
        if let Some(step) = self.steps.last_mut() {
            step.until_s.get_or_insert(at_s);
        }
    }

    /// The share of requests that the new side got between two times, 0–1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "requests of one run")]
    pub fn measured_between(&self, from_s: f64, until_s: f64) -> Option<f64> {
        let within = self.samples.iter().filter(|s| s.at_s >= from_s && s.at_s < until_s);
        let (old, new) = within.fold((0, 0), |(old, new), sample| {
            (old + sample.old.requests, new + sample.new.requests)
        });
        (old + new > 0).then(|| new as f64 / (old + new) as f64)
    }

    /// Seconds that the rest of the ramp is likely to take when nothing holds it; `None` before its
    /// first step.
    #[must_use]
    pub fn remaining_s(&self, now_s: f64) -> Option<f64> {
        let current = self.steps.last()?;
        let mut ahead = self.ramp.iter().skip(current.number.saturating_sub(1));
        let beside_bake_s = self.router.beside_bake_s();
        let likely_s = |step: &Step| f64::from(step.bake_s) + beside_bake_s;
        let of_this_s = ahead.next().map_or(0.0, likely_s) - (now_s - current.from_s);
        Some(of_this_s.max(0.0) + ahead.map(likely_s).sum::<f64>())
    }
}

/// A warning as the lab tells it. That the old side's bursts are not known is no surprise here, where it
/// has served for some seconds.
fn warning_words(warning: &Problem) -> String {
    let Problem { code, message, .. } = warning;
    match code.as_str() {
        "short_baseline" => format!("as expected after so short a warm-up: {message}"),
        _ => format!("warning: {message}"),
    }
}

#[cfg(test)]
impl Recording {
    /// A recording that began with the Unix epoch, with nothing in it.
    pub(crate) fn for_test() -> Self {
        Self {
            scenario: Scenario::Healthy,
            router: Router::Route53,
            seed: 1,
            old: "blue".to_owned(),
            new: "green".to_owned(),
            routes: vec!["chat.lab.example.com".to_owned()],
            request: serde_json::json!({"health": {"error_rate_max": 0.05}}),
            started_at: Timestamp::UNIX_EPOCH,
            execution_arn: None,
            ramp: vec![],
            samples: vec![],
            intended: vec![],
            steps: vec![],
            checks: vec![],
            notes: vec![],
            end: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use cutover_core::Percent;

    use super::*;

    #[test]
    fn the_rest_of_the_ramp_is_told_from_its_bakes() {
        let mut recording = Recording::for_test();
        assert_eq!(recording.remaining_s(1.0), None);
        recording.ramp = [40, 100, 200]
            .map(|halves| Step { percent: Percent::from_halves(halves).unwrap(), bake_s: 10 })
            .to_vec();
        let step =
            StepSeen { number: 2, percent: 50.0, from_s: 20.0, until_s: None, verdict: None };
        recording.steps.push(step);
        let whole_s = 10.0 + Router::Route53.beside_bake_s();
        let left_s = |now_s| recording.remaining_s(now_s).unwrap();
        assert!((left_s(25.0) - (2.0 * whole_s - 5.0)).abs() < 1e-9);
        assert!((left_s(999.0) - whole_s).abs() < 1e-9, "a held step takes no time off the next");
    }

    #[test]
    fn weights_are_kept_when_they_change_as_the_mean_over_the_routes() {
        let live = |old, new| LiveWeights { route: "r".to_owned(), old, new };
        let both = [live(Some(100), Some(0)), live(Some(60), Some(40))];
        let mut recording = Recording::for_test();
        recording.weights(1.0, &[live(Some(100), None)]);
        recording.weights(2.0, &both);
        recording.weights(3.0, &both);
        let kept: Vec<_> = recording.intended.iter().map(|i| (i.at_s, i.share)).collect();
        assert_eq!(kept, [(1.0, None), (2.0, Some(0.2))]);
    }

    #[test]
    fn a_check_tells_e_beside_its_verdict_where_there_is_one() {
        let check = |verdict, log10_e| Check {
            at_s: 0.0,
            step: 1,
            verdict,
            sentence: String::new(),
            measured: None,
            log10_e,
            log10_limit: 2.0,
        };
        for (verdict, log10_e, words) in [
            (VerdictKind::Healthy, Some(-0.39), "healthy, e = 0.41 of 100"),
            (VerdictKind::NotEnoughData, Some(0.0), "not enough data, e = 1 of 100"),
            (VerdictKind::Regressed, Some(2.38), "regressed, e = 240 of 100"),
            (VerdictKind::MetricsBroken, None, "metrics broken"),
        ] {
            assert_eq!(check(verdict, log10_e).words(), words);
        }
    }

    #[test]
    fn a_short_baseline_is_told_as_what_it_is_here() {
        for (code, words) in [
            ("short_baseline", "as expected after so short a warm-up: few seconds"),
            ("external_dns", "warning: few seconds"),
        ] {
            assert_eq!(warning_words(&Problem::new(code, "few seconds")), words);
        }
    }

    #[test]
    fn the_measured_share_of_a_time_is_taken_over_its_seconds() {
        let mut recording = Recording::for_test();
        let counts = |requests| Counts { requests, errors: 0 };
        for (at_s, new) in [(0.0, 0), (1.0, 10), (2.0, 30)] {
            recording.samples.push(Sample { at_s, old: counts(20), new: counts(new) });
        }
        let share = recording.measured_between(1.0, 3.0).unwrap();
        assert!((share - 0.5).abs() < 1e-9);
        assert_eq!(recording.measured_between(5.0, 6.0), None);
    }
}
