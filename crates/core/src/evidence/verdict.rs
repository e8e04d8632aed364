//! The verdict: what the evidence says about one route.

use serde::{Deserialize, Serialize};

use crate::evidence::Counts;
use crate::evidence::connections::Connections;

/// What the evidence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Enough was seen, and nothing speaks against the new side.
    Healthy,
    /// The new side does worse than it may.
    Regressed,
    /// Too few requests reached the new side to tell.
    NotEnoughData,
    /// The telemetry itself fails: nothing can be said.
    MetricsBroken,
}

impl VerdictKind {
    /// The kind as JSON and logs name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Regressed => "regressed",
            Self::NotEnoughData => "not_enough_data",
            Self::MetricsBroken => "metrics_broken",
        }
    }

    /// How bad it is, the worst highest.
    #[must_use]
    pub const fn badness(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::NotEnoughData => 1,
            Self::MetricsBroken => 2,
            Self::Regressed => 3,
        }
    }

    /// The kind as people read it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Regressed => "regressed",
            Self::NotEnoughData => "not enough data",
            Self::MetricsBroken => "metrics broken",
        }
    }
}

/// What was counted of one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalSeen {
    /// The signal's [name](crate::Signal::name).
    pub name: String,
    /// What the old side did since the step has settled.
    pub old: Counts,
    /// What the new side did since then.
    pub new: Counts,
}

/// A verdict with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the evidence says.
    pub kind: VerdictKind,
    /// What the old side did since the step has settled.
    pub old: Counts,
    /// What the new side did since then.
    pub new: Counts,
    /// The decimal logarithm of e, of the signal that speaks most against the new side, −999 to 999;
    /// `None` when the telemetry failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log10_e: Option<f64>,
    /// Whether the new side's newest requests are over the limit of a signal by more than chance,
    /// whatever the old side does. Over as soon as the errors are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failing: bool,
    /// What the old side did beside the new one in the latest 30 periods, of each signal that is judged. Not kept in the state
    /// that travels.
    #[serde(skip)]
    pub beside: Vec<Counts>,
    /// What both sides counted of each signal since the step has settled. Not kept in the state that travels.
    #[serde(skip)]
    pub signals: Vec<SignalSeen>,
    /// Connections of the old and of the new side that failed since the step has settled. Not kept either.
    #[serde(skip)]
    pub connections: [Connections; 2],
    /// The share of the requests that the old side gets lately, 0–1. Not kept either.
    #[serde(skip)]
    pub old_share: Option<f64>,
    /// One plain sentence with the numbers. Not kept in the state that travels: 250 of them
    /// would fill it.
    #[serde(skip)]
    pub reason: String,
}

impl Verdict {
    /// Nothing can be said because the telemetry failed.
    #[must_use]
    pub fn metrics_broken(why: &str) -> Self {
        Self {
            kind: VerdictKind::MetricsBroken,
            old: Counts::default(),
            new: Counts::default(),
            log10_e: None,
            failing: false,
            beside: Vec::new(),
            signals: Vec::new(),
            connections: Default::default(),
            old_share: None,
            reason: format!("the metrics cannot be read: {why}"),
        }
    }

    /// The share of requests that the new side really got in this step, 0–1; `None` without
    /// requests.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn measured_share(&self) -> Option<f64> {
        let all = (self.old + self.new).requests;
        (all > 0).then(|| self.new.requests as f64 / all as f64)
    }
}
