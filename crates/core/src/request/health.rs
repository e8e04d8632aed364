//! The policy by which evidence is judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evidence::signal::REFUSED_TOLERATED_ODDS_RATIO;

use crate::limits::METRIC_PERIOD_S;
use crate::words::listed;

/// The shortest period that the metrics have, in seconds, where nobody says otherwise.
pub const PERIOD_S_MIN: u32 = METRIC_PERIOD_S;

/// Periods in which a new side may have to warm up, where nobody says otherwise: its first request may come at the end
/// of the first one.
const WARM_UP_PERIODS: u32 = 2;

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

/// How slow requests are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyBy {
    /// By their number: as many as failed requests can be, and tested in the same way.
    #[default]
    Count,
    /// By the time that 95 of 100 stay below: where the source cannot count.
    Percentile,
}

/// A metric whose counts somebody else publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMetric {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub metric: String,
    /// Names and values of its dimensions; `{side}` in a value is the name of the side.
    pub dimensions: BTreeMap<String, String>,
}

/// Counts of one's own that are compared beside those of the meters: of a cutover as a whole, not of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnSignal {
    /// What is counted, for sentences: `orders`.
    pub name: String,
    /// How many there are.
    pub requests: OwnMetric,
    /// How many of them failed.
    pub failures: OwnMetric,
    /// Multiple of the old side's odds to fail at which the new side may fail, 1–1000.
    pub tolerated_odds_ratio: f64,
}

/// What stands for the name of the side in a dimension's value.
pub const SIDE: &str = "{side}";

impl OwnMetric {
    /// The dimensions of one side.
    #[must_use]
    pub fn dimensions_of(&self, side: &str) -> Vec<(String, String)> {
        let of_side = |(name, value): (&String, &String)| (name.clone(), value.replace(SIDE, side));
        self.dimensions.iter().map(of_side).collect()
    }
}

/// How evidence is read and judged. A field that a state lacks, which an older version wrote, has its
/// default: a cutover that is under way while cutover is deployed anew can be rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Length of a period in seconds: a multiple of 60; at a desk or on an emulator also 1, 5, 10, 20 or 30.
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
    /// The chance that the comparison takes back a cutover between two equally good sides, 0.000001–0.5. All
    /// routes and signals share it. Beside it stand limits, alarms and `on_no_data`, which no chance bounds; and a
    /// cutover of more than 200 periods is compared over the latest 200 at each check.
    pub alpha: f64,
    /// Multiple of the old side's odds to fail at which the new side may fail, 1–100.
    pub tolerated_odds_ratio: f64,
    /// Multiple of the old side's odds to be refused (answered 4xx) at which the new side may be, and of the usual odds of
    /// both, 1–1000; `None`: refused requests are not judged.
    pub refused_tolerated_odds_ratio: Option<f64>,
    /// Smallest multiple of the old side's odds worth detecting, above `tolerated_odds_ratio`, up to 1000;
    /// verdicts say how much more traffic it would take.
    pub detectable_odds_ratio: f64,
    /// Seconds from the new side's first request in which bad periods count as one, however bad, 0–3,600; without it, two
    /// periods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up_s: Option<u32>,
    /// Requests that take longer than this many seconds are slow, 0.001–900; without it, latency
    /// is not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_target_s: Option<f64>,
    /// How slow requests are measured.
    #[serde(skip_serializing_if = "crate::is_default")]
    pub latency_by: LatencyBy,
    /// Share of the requests that the old side may still get when the cutover completes, 0–1: the last step waits for it,
    /// `hold_max_s` at most. Without it, nothing is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_share_max: Option<f64>,
    /// Requests per second that a healthy host of the new side is made for, above 0; without it, what a
    /// host of the old side would get with all of the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_host_max: Option<f64>,
    /// Counts of one's own, up to 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<OwnSignal>,
    /// Names of CloudWatch alarms that must not be in ALARM, up to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// Seconds that a step without enough data is held after its bake, 0–86,400.
    pub hold_max_s: u32,
    /// What happens then.
    pub on_no_data: OnNoData,
}

impl Health {
    /// Whether slow requests are counted.
    #[must_use]
    pub const fn counts_slow(&self) -> bool {
        self.latency_target_s.is_some() && matches!(self.latency_by, LatencyBy::Count)
    }

    /// The names of the counts of one's own, for a sentence.
    pub(crate) fn own_names(&self) -> String {
        listed(self.signals.iter().map(|own| &own.name))
    }

    /// Seconds from the new side's first request in which it may have to warm up.
    #[must_use]
    pub fn warm_up_s(&self) -> u32 {
        self.warm_up_s.unwrap_or(self.period_s.saturating_mul(WARM_UP_PERIODS))
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            period_s: 60,
            metrics_delay_s: 120,
            check_interval_s: 30,
            requests_min: 100,
            error_rate_max: 0.05,
            alpha: 0.01,
            tolerated_odds_ratio: 1.5,
            refused_tolerated_odds_ratio: Some(REFUSED_TOLERATED_ODDS_RATIO),
            detectable_odds_ratio: 3.0,
            warm_up_s: None,
            latency_target_s: None,
            latency_by: LatencyBy::Count,
            old_share_max: None,
            requests_per_host_max: None,
            signals: Vec::new(),
            alarms: Vec::new(),
            hold_max_s: 3600,
            on_no_data: OnNoData::RollBack,
        }
    }
}
