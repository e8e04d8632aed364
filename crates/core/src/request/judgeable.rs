//! Whether a ramp leaves the time and the requests that its steps need to be judged.

use crate::evidence::judge::enough_lately;
use crate::failure::Problem;
use crate::limits::CLOUDWATCH;
use crate::request::Request;
use crate::request::health::OnNoData;
use crate::request::ramp::Step;
use crate::words::listed;

impl Request {
    /// Refuses a ramp whose steps end before anything of them can have been counted: every cutover would go back, or
    /// reach 100 % without one judged period.
    #[must_use]
    pub fn never_judged(&self) -> Option<Problem> {
        let needed_s = self.seconds_to_judge();
        let steps = self.ramp.steps();
        let blind = |step: &Step| self.stay_s(*step) < needed_s;
        let below_full = steps.len().saturating_sub(1).max(1);
        let is_refused = match self.health.on_no_data {
            OnNoData::RollBack => steps.iter().any(blind),
            OnNoData::Advance => steps.iter().take(below_full).all(blind),
        };
        if !is_refused {
            return None;
        }
        let outcome = match self.health.on_no_data {
            OnNoData::RollBack => "so every cutover would go back",
            OnNoData::Advance => "so all the traffic would be moved unseen",
        };
        let shares: Vec<String> =
            steps.iter().filter(|step| blind(step)).map(|step| step.percent.to_string()).collect();
        let shortest_s = steps.iter().map(|step| self.stay_s(*step)).min().unwrap_or_default();
        let message = format!(
            "the steps of {} can never be judged, {outcome}: bake_s and hold_max_s end a step after {shortest_s} s, but \
             its first whole period may be counted only after {needed_s} s (2 × period_s {} + metrics_delay_s {}); \
             allowed: bake_s and hold_max_s of {needed_s} or more together",
            listed(&shares),
            self.health.period_s,
            self.health.metrics_delay_s
        );
        Some(Problem::new("never_judged", message))
    }

    /// Seconds within which the first whole period of a step is counted for sure: it begins up to a period after the
    /// step has settled.
    fn seconds_to_judge(&self) -> u64 {
        2 * u64::from(self.health.period_s) + u64::from(self.health.metrics_delay_s)
    }

    /// Seconds that a step may last once it has settled.
    fn stay_s(&self, step: Step) -> u64 {
        u64::from(step.bake_s) + u64::from(self.health.hold_max_s)
    }

    /// Periods whose requests decide whether a step is judged: those of its bake and hold.
    fn periods_to_judge(&self, step: Step) -> u32 {
        let counted_s = self.stay_s(step).saturating_sub(u64::from(self.health.metrics_delay_s));
        let periods = counted_s / u64::from(self.health.period_s.max(1));
        u32::try_from(periods).unwrap_or(u32::MAX)
    }

    /// Says which steps will have too few requests to be judged, when `in_newest` says how many all sides together had in
    /// this many of the newest periods: too few of all that the step will count, which a check adds up, or of those that
    /// are recent when it looks. Each is a clause, and whether it is about the recent ones.
    #[expect(clippy::cast_precision_loss, reason = "up to 10^9")]
    pub(crate) fn thin_steps(&self, in_newest: impl Fn(u32) -> f64) -> Vec<(bool, String)> {
        let requests_min = self.health.requests_min;
        let steps = self.ramp.steps().iter().enumerate();
        let thin = steps.filter_map(|(index, step)| {
            let share = f64::from(step.percent) / 100.0;
            let periods = self.periods_to_judge(*step);
            let expected = in_newest(periods) * share;
            // A check looks back as far as this, and at the newest of these.
            let seen = periods.clamp(1, CLOUDWATCH.periods_per_check);
            let (lately, enough) = enough_lately(seen as usize, requests_min);
            let recent = in_newest(seen) * share * lately as f64 / f64::from(seen);
            let name = format!("step {} ({}): about", index + 1, step.percent);
            if expected < requests_min as f64 {
                Some((false, format!("{name} {expected:.0}")))
            } else if recent < enough as f64 {
                let last = format!("in the last {lately} periods, where {enough} are needed");
                Some((true, format!("{name} {recent:.0} {last}")))
            } else {
                None
            }
        });
        thin.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::request::tests::ROUTERS;

    fn request_of(request: &Value) -> Request {
        Request::parse(&json!({"place": "x"}), request, &ROUTERS, 60).expect("a good request")
    }

    fn request(text: &str) -> Request {
        request_of(&serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn a_ramp_that_nobody_can_judge_is_refused_with_what_would_do() {
        let hold0 = request(include_str!("../../tests/data/requests/hold0.json"));
        let said = hold0.never_judged().expect("it always goes back");
        assert_eq!(said.code, "never_judged");
        for part in [
            "the steps of 25 %, 50 %, 75 %, 100 % can never be judged, so every cutover would go back",
            "after 60 s",
            "240 or more together",
        ] {
            assert!(said.message.contains(part), "{}", said.message);
        }
        let blind = request(include_str!("../../tests/data/requests/blind.json"));
        let said = blind.never_judged().expect("it reaches 100 % unseen");
        assert!(said.message.contains("moved unseen"), "{}", said.message);
    }

    #[test]
    fn a_step_is_judged_when_bake_and_hold_are_long_enough_together() {
        let table = [
            // A period, and the one that it may have to wait for, and the delay.
            ("roll_back", 239, 0, false),
            ("roll_back", 240, 0, true),
            ("roll_back", 0, 240, true),
            ("roll_back", 120, 119, false),
            ("advance", 0, 0, false),
            ("advance", 240, 0, true),
        ];
        for (on_no_data, bake_s, hold_max_s, may) in table {
            let request = json!({
                "new": "green", "ramp": {"canary": {"percent": 10, "bake_s": bake_s}},
                "health": {"hold_max_s": hold_max_s, "on_no_data": on_no_data},
            });
            let problem = request_of(&request).never_judged();
            assert_eq!(problem.is_none(), may, "{request}: {problem:?}");
        }
        let steps = |first: u32, last: u32| {
            json!({
                "new": "green", "health": {"hold_max_s": 0, "on_no_data": "advance"},
                "ramp": [{"percent": 10, "bake_s": first}, {"percent": 100, "bake_s": last}],
            })
        };
        assert_eq!(request_of(&steps(240, 0)).never_judged(), None, "10 % was judged");
        assert!(request_of(&steps(0, 240)).never_judged().is_some(), "100 % comes unseen");
    }

    #[test]
    fn steps_that_are_too_thin_to_be_judged_are_named() {
        let day = request(include_str!("../../tests/data/requests/lowtraffic_day.json"));
        let said = |a_minute: f64| day.thin_steps(|periods| a_minute * f64::from(periods));
        assert_eq!(said(0.6), [(false, "step 1 (10 %): about 90".to_owned())], "in its 25 hours");
        // It has enough by the end, but a check must also see that the new side still serves.
        let lately = "step 1 (10 %): about 4 in the last 20 periods, where 5 are needed";
        assert_eq!(said(2.0), [(true, lately.to_owned())]);
        assert_eq!(said(4.0), [], "600 by the end, 8 in the last 20 minutes");
    }
}
