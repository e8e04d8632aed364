//! A CloudWatch alarm on the error rate of the new side, as AWS `CodeDeploy` and Amazon ECS roll
//! back on it.
//!
//! Source: AWS `CodeDeploy` User Guide, "Monitoring deployments with CloudWatch alarms": a
//! deployment stops when an alarm of its group is activated, and Amazon ECS Developer Guide, "How
//! CloudWatch alarms detect Amazon ECS deployment failures". How the alarm evaluates: Amazon
//! CloudWatch User Guide, "Evaluating an alarm", "Configuring how CloudWatch alarms treat missing
//! data" and "Avoiding premature transitions to alarm state" (awsdocs/amazon-cloudwatch-user-guide,
//! `doc_source/AlarmThatSendsEmail.md`), and "Metric math syntax and functions"
//! (`doc_source/using-metric-math.md`).
//!
//! From there: M of N data points, missing data treated as `missing` (the default), and an
//! expression in which a missing count is 0 and a division by zero drops the data point. So a
//! minute without errors is a data point of 0, and a minute without requests is none.
//!
//! Chosen here: a period of one minute; thresholds and M of N as the caller gives them;
//! `GreaterThanThreshold`; an evaluation range of N + 2 points, which the guide has in all of its
//! examples (N = 3, range 5) and otherwise leaves open. Before the cutover the new side has no data
//! points. The minutes it takes until a metric arrives are left out, as for every rule.

use super::{Minute, Rule};

/// Points that `CloudWatch` looks back beyond the evaluation periods where some are missing.
const EXTRA_RANGE: u32 = 2;

/// The alarm, with what it remembers of the last minutes.
#[derive(Clone, Debug)]
pub struct Alarm {
    /// Breaching is an error rate above this, in percent.
    threshold_percent: u32,
    /// M, `CloudWatch`'s `DatapointsToAlarm`.
    breaching_min: u32,
    /// N, its `EvaluationPeriods`.
    evaluation_periods: u32,
    /// Minutes of the evaluation range that have a data point, the newest in bit 0.
    present: u32,
    /// Those of them that are over the threshold.
    breaching: u32,
}

impl Alarm {
    /// An alarm over `threshold_percent` in `breaching_min` out of `evaluation_periods`
    /// minutes, of which it takes at most 30.
    #[must_use]
    pub const fn new(threshold_percent: u32, breaching_min: u32, evaluation_periods: u32) -> Self {
        Self { threshold_percent, breaching_min, evaluation_periods, present: 0, breaching: 0 }
    }

    /// Takes the data point of the next minute, if it has one.
    fn push(&mut self, is_breaching: Option<bool>) {
        let range = u32::MAX >> (u32::BITS - EXTRA_RANGE - self.evaluation_periods);
        self.present = (self.present << 1 | u32::from(is_breaching.is_some())) & range;
        self.breaching = (self.breaching << 1 | u32::from(is_breaching == Some(true))) & range;
    }

    fn is_in_alarm(&self) -> bool {
        let mut evaluated = self.present;
        while evaluated.count_ones() > self.evaluation_periods {
            evaluated &= !(1 << evaluated.ilog2()); // the oldest is not needed
        }
        if (self.breaching & evaluated).count_ones() >= self.breaching_min {
            return true;
        }
        // Missing points breach nothing, with one exception ("premature transitions"): every point
        // there is breaches, and the oldest is as old as M.
        let oldest = u32::BITS - self.present.leading_zeros();
        self.present == self.breaching && self.present != 0 && oldest >= self.breaching_min
    }
}

impl Rule for Alarm {
    fn see(&mut self, minute: &Minute) -> bool {
        let new = minute.new;
        let threshold = u64::from(self.threshold_percent);
        self.push((new.requests > 0).then(|| new.errors * 100 > threshold * new.requests));
        self.is_in_alarm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::minute;

    fn state(m: u32, points: &str) -> bool {
        let mut alarm = Alarm::new(1, m, 3);
        for point in points.chars().filter(|point| *point != ' ') {
            alarm.push(match point {
                '-' => None,
                point => Some(point == 'X'),
            });
        }
        alarm.is_in_alarm()
    }

    #[test]
    fn the_tables_of_the_user_guide_hold() {
        for (m, points, is_in_alarm) in [
            (3, "0 - X - X", false),
            (3, "0 - - - -", false),
            (3, "- - - - -", false),
            (3, "0 X X - X", true),
            (3, "- - X - -", true),
            (3, "- - - - X", false),
            (3, "- - - X -", false),
            (3, "- - X - 0", false),
            (2, "0 - X - X", true),
            (2, "0 0 X 0 X", true),
            (2, "0 - X - -", false),
            (2, "- - - - 0", false),
            (2, "- - - X -", true),
        ] {
            assert_eq!(state(m, points), is_in_alarm, "{m} of 3: {points}");
        }
    }

    #[test]
    fn what_left_the_evaluation_range_is_forgotten() {
        assert!(state(2, "X X - - -"));
        assert!(state(2, "X X - - - -"), "one point is left, and it is old enough");
        assert!(!state(2, "X X - - - - -"));
    }

    #[test]
    fn one_of_one_goes_off_at_the_first_minute_above_the_threshold() {
        let mut alarm = Alarm::new(5, 1, 1);
        assert!(!alarm.see(&minute((1_000, 0), (100, 5))), "5 % are not more than 5 %");
        assert!(!alarm.see(&minute((1_000, 0), (0, 0))));
        assert!(alarm.see(&minute((1_000, 0), (100, 6))));
    }

    #[test]
    fn two_of_three_forgives_one_minute_between_good_ones() {
        let mut alarm = Alarm::new(1, 2, 3);
        let (good, bad) = (minute((900, 9), (100, 0)), minute((900, 9), (100, 2)));
        for minute in [good, bad, good, good, bad, good] {
            assert!(!alarm.see(&minute));
        }
        assert!(alarm.see(&bad));
    }

    #[test]
    fn the_old_side_does_not_matter() {
        assert!(Alarm::new(1, 1, 1).see(&minute((100, 50), (100, 2))));
    }
}
