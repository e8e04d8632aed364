//! `Ramp`: the steps by which traffic moves, and how they are asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Problem;
use crate::limits::{HISTORY_EVENTS_MAX, RETRY_EVENTS, ROUND_EVENTS, TASK_EVENTS};
use crate::percent::Percent;
use crate::request::fields::{Fields, refused};
use crate::request::health::Health;
use crate::router::Scale;

/// One step: a share and how long it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The share of traffic that the new side gets.
    pub percent: Percent,
    /// Seconds to stay on the step once it has settled, 0–604,800 (a week).
    pub bake_s: u32,
}

impl Step {
    /// Checks that the step takes when nothing holds it and a change takes `settle_s` seconds to show.
    #[must_use]
    pub fn checks(&self, check_interval_s: u32, settle_s: u32) -> u64 {
        let step_s = u64::from(settle_s) + u64::from(self.bake_s);
        step_s.div_ceil(u64::from(check_interval_s.max(1))) + 1
    }
}

/// The steps of a cutover: at least one, strictly rising, the last at 100 %.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Step>")]
pub struct Ramp(Vec<Step>);

/// The longest bake, in seconds: a week.
pub const BAKE_S_MAX: u32 = 604_800;

/// Events kept free for what no check has counted yet: retries of the validation, of one shift and one check,
/// a roll-back with all of its own, and the ends. A test adds them up from the state machine.
pub const HISTORY_EVENTS_RESERVED: u64 = 1_000;
/// Events of a roll-back, but for the retries of its last task: its first try with two retries, telling people
/// with two, and the second try (two more for a way that ends it).
pub const ROLLBACK_EVENTS: u64 = 5 + 2 * RETRY_EVENTS + 5 + 2 * RETRY_EVENTS + TASK_EVENTS;
/// Seconds that the state machine's retrier waits before the second try of a validation that is not
/// ready yet; each wait is longer than the one before, up to a limit.
pub const NOT_READY_RETRY_S: f64 = 15.0;
/// What each wait is a multiple of the one before by.
pub const NOT_READY_RETRY_RATE: f64 = 1.5;
/// The longest of these waits, in seconds.
pub const NOT_READY_RETRY_S_MAX: f64 = 60.0;

const STEPS_ALLOWED: &str = "steps that rise strictly to 100, each {\"percent\", \"bake_s\"}";
const ALLOWED: &str = "a list of up to 200 steps {\"percent\", \"bake_s\"} that rises strictly to 100, or one of \
    {\"linear\": {\"step_percent\", \"bake_s\"}}, {\"canary\": {\"percent\", \"bake_s\"}}, \
    {\"exponential\": {\"start_percent\", \"factor\", \"bake_s\"}}";

const SHARE_ALLOWED: &str = "a number above 0 and up to 100 in steps of 0.5";
const BAKE_ALLOWED: &str = "a whole number of seconds from 0 to 604800";
/// Steps of the longest list: half a percent each.
const STEPS_MAX: usize = 200;

const SHARE_OK: fn(&Percent) -> bool = |percent| *percent > Percent::ZERO;
const BAKE_OK: fn(&u32) -> bool = |bake_s| *bake_s <= BAKE_S_MAX;

impl TryFrom<Vec<Step>> for Ramp {
    type Error = String;

    fn try_from(steps: Vec<Step>) -> Result<Self, String> {
        let rises = steps.is_sorted_by(|a, b| a.percent < b.percent);
        let starts_above_0 = steps.first().is_some_and(|step| step.percent > Percent::ZERO);
        let ends_at_100 = steps.last().is_some_and(|step| step.percent == Percent::FULL);
        let bakes = steps.iter().all(|step| step.bake_s <= BAKE_S_MAX);
        if rises && starts_above_0 && ends_at_100 && bakes {
            Ok(Self(steps))
        } else {
            let shares: Vec<String> = steps.iter().map(|s| s.percent.to_string()).collect();
            Err(format!(
                "{} is not a ramp; allowed: {STEPS_ALLOWED}, bake_s 0 to {BAKE_S_MAX}",
                shares.join(", ")
            ))
        }
    }
}

impl Ramp {
    /// Steps to these shares, each with the same bake; `None` when they are no ramp.
    fn of(shares: impl IntoIterator<Item = Percent>, bake_s: u32) -> Option<Self> {
        let steps = shares.into_iter().map(|percent| Step { percent, bake_s });
        Self::try_from(steps.collect::<Vec<_>>()).ok()
    }

    /// The same stride from step to step; the last step is 100 % even if the stride would pass
    /// it. `None` for a stride of 0.
    #[must_use]
    pub fn linear(stride: Percent, bake_s: u32) -> Option<Self> {
        let stride = stride.halves();
        if stride == 0 {
            return None;
        }
        let before_full = (stride..200).step_by(usize::from(stride));
        Self::of(before_full.filter_map(Percent::from_halves).chain([Percent::FULL]), bake_s)
    }

    /// One small step, then everything.
    #[must_use]
    pub fn canary(percent: Percent, bake_s: u32) -> Option<Self> {
        Self::of([percent, Percent::FULL], bake_s)
    }

    /// Each share `factor` times the one before, rounded to half percents; steps that rounding
    /// makes equal are one. `None` for a start of 0 or a factor below 1.1.
    #[must_use]
    pub fn exponential(start: Percent, factor: f64, bake_s: u32) -> Option<Self> {
        if start == Percent::ZERO || factor.is_nan() || factor < 1.1 {
            return None;
        }
        let mut exact = f64::from(start.halves());
        let mut shares = vec![];
        while exact < 200.0 {
            shares.push(Percent::nearest(exact));
            exact *= factor;
        }
        shares.retain(|share| *share < Percent::FULL);
        shares.push(Percent::FULL);
        shares.dedup();
        Self::of(shares, bake_s)
    }

    /// Reads any of the four spellings of a ramp, which messages call `field`; `None`, and problems, for
    /// anything else.
    pub(crate) fn parse(value: &Value, field: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let known = problems.len();
        let ramp = match value {
            Value::Array(steps) if (1..=STEPS_MAX).contains(&steps.len()) => {
                Self::parse_steps(steps, field, problems)
            }
            Value::Object(kinds) => match kinds.iter().collect::<Vec<_>>().as_slice() {
                [(kind, shape)] => Self::parse_shape(kind, shape, field, problems),
                _ => None,
            },
            _ => None,
        };
        if ramp.is_none() && problems.len() == known {
            problems.push(refused(field, value, ALLOWED));
        }
        ramp
    }

    /// Reads a list of steps; each problem names its step.
    fn parse_steps(steps: &[Value], field: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut read: Vec<Option<Step>> = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let mut fields = Fields::of(step.clone(), format!("{field}[{index}]."), problems);
            let percent = fields.required("percent", SHARE_ALLOWED, SHARE_OK);
            let bake_s = fields.required("bake_s", BAKE_ALLOWED, BAKE_OK);
            fields.finish();
            read.push(percent.zip(bake_s).map(|(percent, bake_s)| Step { percent, bake_s }));
        }
        let mut misplaced = |index: usize, allowed: &str| {
            let percent = steps.get(index).and_then(|step| step.get("percent"));
            let field = format!("{field}[{index}].percent");
            problems.push(refused(&field, percent.unwrap_or(&Value::Null), allowed));
        };
        for (index, pair) in read.windows(2).enumerate() {
            if let [Some(before), Some(step)] = pair
                && step.percent <= before.percent
            {
                let before = f64::from(before.percent);
                misplaced(index + 1, &format!("more than {before}, that of the step before"));
            }
        }
        if let Some(Some(last)) = read.last()
            && last.percent < Percent::FULL
        {
            misplaced(read.len() - 1, "100 for the last step");
        }
        Self::try_from(read.into_iter().collect::<Option<Vec<Step>>>()?).ok()
    }

    /// Reads `{"linear": …}` and its like.
    fn parse_shape(
        kind: &str,
        shape: &Value,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        if !["linear", "canary", "exponential"].contains(&kind) {
            return None;
        }
        let mut fields = Fields::of(shape.clone(), format!("{field}.{kind}."), problems);
        let bake_s = fields.required("bake_s", BAKE_ALLOWED, BAKE_OK);
        let ramp = match kind {
            "linear" => {
                let stride = fields.required("step_percent", SHARE_ALLOWED, SHARE_OK);
                stride.zip(bake_s).and_then(|(stride, bake_s)| Self::linear(stride, bake_s))
            }
            "canary" => {
                let below_100 = |p: &Percent| SHARE_OK(p) && *p < Percent::FULL;
                let allowed = "a number above 0 and below 100 in steps of 0.5";
                let percent = fields.required("percent", allowed, below_100);
                percent.zip(bake_s).and_then(|(percent, bake_s)| Self::canary(percent, bake_s))
            }
            _ => {
                let start = fields.required("start_percent", SHARE_ALLOWED, SHARE_OK);
                let factor_ok = |factor: &f64| (1.1..=100.0).contains(factor);
                let factor = fields.required("factor", "a number from 1.1 to 100", factor_ok);
                let shape = start.zip(factor).zip(bake_s);
                shape.and_then(|((start, factor), bake_s)| Self::exponential(start, factor, bake_s))
            }
        };
        fields.finish();
        ramp
    }

    /// The steps, first to last.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether weights must sum to 200: some step has half a percent.
    #[must_use]
    pub fn scale(&self) -> Scale {
        if self.0.iter().any(|step| step.percent.has_half()) { Scale::Half } else { Scale::Whole }
    }

    /// Seconds that the ramp takes when nothing holds it: every step settles and bakes.
    #[must_use]
    pub fn duration_s(&self, settle_s: u32) -> u64 {
        self.0.iter().map(|step| u64::from(settle_s) + u64::from(step.bake_s)).sum()
    }

    /// Events in the execution's history when nothing holds the ramp and validation has to wait
    /// as long as it may.
    fn history_events(&self, check_interval_s: u32, settle_s: u32, ready_timeout_s: u32) -> u64 {
        let checks = self.0.iter().map(|step| step.checks(check_interval_s, settle_s)).sum();
        history_events(checks, self.0.len(), ready_timeout_s)
    }

    /// Refuses a ramp whose history would not fit into one execution, with numbers that would.
    pub(crate) fn check_history(
        &self,
        health: &Health,
        settle_s: u32,
        ready_timeout_s: u32,
    ) -> Result<(), Problem> {
        let limit = HISTORY_EVENTS_MAX - HISTORY_EVENTS_RESERVED;
        let events = |interval_s| self.history_events(interval_s, settle_s, ready_timeout_s);
        let wanted = events(health.check_interval_s);
        if wanted <= limit {
            return Ok(());
        }
        let remedy = match (health.check_interval_s..=3600).find(|s| events(*s) <= limit) {
            Some(fits) => format!("take a check_interval_s of {fits} or more"),
            None => format!(
                "{} steps are too many for ready_timeout_s {ready_timeout_s} even with \
                 check_interval_s 3600: take fewer steps, shorter bakes or a shorter ready_timeout_s",
                self.0.len()
            ),
        };
        Err(Problem::new(
            "ramp_too_long",
            format!(
                "this ramp would write {wanted} events into the execution's history, which holds \
                 {HISTORY_EVENTS_MAX} ({HISTORY_EVENTS_RESERVED} of them kept for retries): {remedy}"
            ),
        ))
    }
}

/// Whether an execution that has made this many checks, and written `extra_events` beside those of checks
/// and shifts, must end now, while there is room in its history for the roll-back: a full history kills
/// it without one.
pub(crate) fn history_is_full(
    checks: u32,
    extra_events: u64,
    steps: usize,
    ready_timeout_s: u32,
) -> bool {
    history_events(u64::from(checks), steps, ready_timeout_s).saturating_add(extra_events)
        >= HISTORY_EVENTS_MAX - HISTORY_EVENTS_RESERVED
}

/// Events of so many checks and steps, after a validation that was tried as often as it may be.
fn history_events(checks: u64, steps: usize, ready_timeout_s: u32) -> u64 {
    let tries = not_ready_retries(ready_timeout_s);
    ROUND_EVENTS * checks + TASK_EVENTS * (steps as u64 + 1) + RETRY_EVENTS * tries
}

/// How often a validation is tried again within this time.
#[must_use]
pub fn not_ready_retries(ready_timeout_s: u32) -> u64 {
    let (mut retries, mut waited_s, mut wait_s) = (0, 0.0, NOT_READY_RETRY_S);
    while waited_s < f64::from(ready_timeout_s) {
        retries += 1;
        waited_s += wait_s;
        wait_s = (wait_s * NOT_READY_RETRY_RATE).min(NOT_READY_RETRY_S_MAX);
    }
    retries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Vec<f64>, Vec<Problem>> {
        let mut problems = vec![];
        match Ramp::parse(value, "ramp", &mut problems) {
            Some(ramp) if problems.is_empty() => {
                Ok(ramp.steps().iter().map(|s| f64::from(s.percent)).collect())
            }
            _ => Err(problems),
        }
    }

    #[test]
    fn every_spelling_of_a_ramp_ends_at_100() {
        let table = [
            (
                json!([{"percent": 5, "bake_s": 60}, {"percent": 100, "bake_s": 0}]),
                vec![5.0, 100.0],
            ),
            (json!({"linear": {"step_percent": 30, "bake_s": 300}}), vec![30.0, 60.0, 90.0, 100.0]),
            (json!({"linear": {"step_percent": 100, "bake_s": 300}}), vec![100.0]),
            (json!({"canary": {"percent": 0.5, "bake_s": 300}}), vec![0.5, 100.0]),
            (
                json!({"exponential": {"start_percent": 1, "factor": 4, "bake_s": 1}}),
                vec![1.0, 4.0, 16.0, 64.0, 100.0],
            ),
            (
                json!({"exponential": {"start_percent": 0.5, "factor": 1.5, "bake_s": 1}}),
                vec![0.5, 1.0, 1.5, 2.5, 4.0, 5.5, 8.5, 13.0, 19.0, 29.0, 43.0, 65.0, 97.5, 100.0],
            ),
        ];
        for (spelling, steps) in table {
            assert_eq!(parse(&spelling), Ok(steps), "{spelling}");
        }
    }

    #[test]
    fn a_ramp_that_cannot_be_is_refused_with_what_is_allowed() {
        let table = [
            (json!([]), "ramp is []"),
            (
                json!([{"percent": 50, "bake_s": 1}]),
                "ramp[0].percent is 50; allowed: 100 for the last step",
            ),
            (
                json!([{"percent": 0, "bake_s": 1}, {"percent": 100, "bake_s": 1}]),
                "ramp[0].percent is 0; allowed: a number above 0",
            ),
            (
                json!([{"percent": 60, "bake_s": 1}, {"percent": 50.5, "bake_s": 1}, {"percent": 100, "bake_s": 1}]),
                "ramp[1].percent is 50.5; allowed: more than 60, that of the step before",
            ),
            (json!([{"percent": 100, "bake_s": 1.5}]), "ramp[0].bake_s is 1.5"),
            (json!([{"percent": 100, "bake_s": null}]), "ramp[0].bake_s is null"),
            (json!([{"percent": 100}]), "ramp[0].bake_s is missing"),
            (json!([{"percent": 100, "bake_s": 604_801}]), "ramp[0].bake_s is 604801"),
            (
                json!([{"percent": 100, "bake_s": 1, "x": 1}]),
                "ramp[0].\"x\" is not a field; known are percent, bake_s",
            ),
            (json!([100]), "ramp[0] is 100; allowed: a JSON object"),
            (json!(vec![json!({"percent": 100, "bake_s": 1}); 201]), "a list of up to 200 steps"),
            (json!({"linear": {"step_percent": 0, "bake_s": 1}}), "ramp.linear.step_percent is 0"),
            (json!({"linear": {"step_percent": 10}}), "ramp.linear.bake_s is missing"),
            (json!({"linear": {"step_percent": 10, "bake_s": 1, "x": 1}}), "ramp.linear.\"x\""),
            (json!({"canary": {"percent": 100, "bake_s": 1}}), "below 100"),
            (
                json!({"exponential": {"start_percent": 1, "factor": 1, "bake_s": 1}}),
                "from 1.1 to 100",
            ),
            (json!({"sudden": {}}), "allowed: a list of"),
            (json!({"linear": {}, "canary": {}}), "allowed: a list of"),
            (json!({"linear": 5}), "ramp.linear is 5; allowed: a JSON object"),
            (json!("fast"), "ramp is \"fast\""),
            (json!(null), "or leave the field out"),
        ];
        for (spelling, said) in table {
            let problems = parse(&spelling).expect_err("refused");
            assert!(problems.iter().any(|p| p.message.contains(said)), "{spelling}: {problems:?}");
        }
    }

    #[test]
    fn all_mistakes_in_a_list_of_steps_are_named_at_once() {
        let steps = json!([
            {"percent": 10, "bake_s": 1, "bake": 2},
            {"percent": 10, "bake_s": -1},
            {"percent": 5.25, "bake_s": 1},
            {"percent": 8, "bake_s": 1},
            {"percent": 7, "bake_s": 1},
        ]);
        let problems = parse(&steps).expect_err("refused");
        let named: Vec<&str> =
            problems.iter().map(|p| p.message.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(
            named,
            [
                "ramp[0].\"bake\"",
                "ramp[1].bake_s",
                "ramp[2].percent",
                "ramp[4].percent",
                "ramp[4].percent"
            ],
            "{problems:?}"
        );
    }

    #[test]
    fn a_validation_is_tried_again_less_and_less_often() {
        // After 15, 37.5, 71.25, 121.875 and then every 60 seconds.
        let table =
            [(0, 0), (15, 1), (16, 2), (37, 2), (122, 5), (181, 5), (182, 6), (86_400, 1442)];
        for (seconds, retries) in table {
            assert_eq!(not_ready_retries(seconds), retries, "{seconds} s");
        }
    }

    #[test]
    fn a_ramp_that_history_cannot_hold_is_refused_with_an_interval_that_fits() {
        let ramp = Ramp::linear(Percent::from_halves(2).expect("1 %"), 300).expect("a ramp");
        let health = Health { check_interval_s: 10, ..Health::default() };
        let problem = ramp.check_history(&health, 120, 7200).expect_err("too long");
        assert!(problem.message.contains("39773 events"), "{}", problem.message);
        assert!(problem.message.contains("check_interval_s of 18 or more"), "{}", problem.message);
        let health = Health { check_interval_s: 18, ..Health::default() };
        ramp.check_history(&health, 120, 7200).expect("what was proposed fits");
    }

    proptest! {
        #[test]
        fn any_stride_or_factor_rises_strictly_to_100(
            halves in 1_u8..=200, factor in 1.1_f64..100.0, bake_s in 0..=BAKE_S_MAX
        ) {
            let percent = Percent::from_halves(halves).expect("in range");
            let ramps = [Ramp::linear(percent, bake_s), Ramp::exponential(percent, factor, bake_s)];
            for ramp in ramps.map(|r| r.expect("a ramp")) {
                prop_assert!(ramp.steps().is_sorted_by(|a, b| a.percent < b.percent));
                prop_assert_eq!(ramp.steps().last().map(|s| s.percent), Some(Percent::FULL));
                let json = serde_json::to_value(&ramp).expect("JSON");
                prop_assert_eq!(serde_json::from_value::<Ramp>(json).expect("a ramp"), ramp);
            }
        }
    }
}
