//! The policy by which evidence is judged.

use serde::{Deserialize, Serialize};

/// What to do with a step that never had enough data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNoData {
    /// Go back: no evidence is not good evidence.
    #[default]
    RollBack,
    /// Go on: the person who asked for it knows that this route is quiet.
    Advance,
}

/// How evidence is read and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Length of a period in seconds: 1, 5, 10, 20, 30 or a multiple of 60. ALB metrics have 60.
    pub period_s: u32,
    /// Seconds after which a period's counts are taken as complete, 0–3,600.
    pub metrics_delay_s: u32,
    /// Seconds between two checks, 1–3,600.
    pub check_interval_s: u32,
    /// Requests of the new side that a period needs to count for the hard limit, and a step to
    /// be judged at all; at least 1.
    pub requests_min: u64,
    /// Hard limit of the new side's error rate, 0–1.
    pub error_rate_max: f64,
    /// Names of CloudWatch alarms that must not be in ALARM, up to 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// Seconds that a step without enough data is held after its bake, 0–86,400.
    pub hold_max_s: u32,
    /// What happens then.
    pub on_no_data: OnNoData,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            period_s: 60,
            metrics_delay_s: 120,
            check_interval_s: 30,
            requests_min: 100,
            error_rate_max: 0.05,
            alarms: Vec::new(),
            hold_max_s: 3600,
            on_no_data: OnNoData::RollBack,
        }
    }
}
