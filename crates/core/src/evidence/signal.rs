//! Signals: what is compared.

use crate::request::health::Health;

/// One thing that both sides are compared by: how many of their requests came to something bad.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// What it counts.
    pub kind: SignalKind,
    /// Multiple of the old side's odds at which the new side may have it; at least 1.
    pub tolerated_odds_ratio: f64,
}

/// What a signal counts.
#[derive(Clone, Debug, PartialEq)]
pub enum SignalKind {
    /// Requests that failed: answers 5xx, and connections that did not come about.
    Failed,
    /// Requests that were refused: answers 4xx, and what is answered by a fixed response. What a missing rule, secret
    /// or default backend looks like.
    Refused,
    /// Requests that took longer than the target.
    Slow {
        /// The target, in seconds.
        target_s: f64,
    },
    /// What somebody else counts.
    Own {
        /// What it is: `orders`.
        name: String,
    },
}

impl Signal {
    /// Whether somebody else counts it.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self.kind, SignalKind::Own { .. })
    }

    /// Its name, for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.kind {
            SignalKind::Failed => "failed",
            SignalKind::Refused => "refused",
            SignalKind::Slow { .. } => "slow",
            SignalKind::Own { name } => name,
        }
    }

    /// What some of the requests did, for a sentence: `failed`.
    pub(super) fn did(&self) -> String {
        match &self.kind {
            SignalKind::Failed => "requests failed".to_owned(),
            SignalKind::Refused => "requests were answered 4xx".to_owned(),
            SignalKind::Slow { target_s } => format!("requests took over {target_s} s"),
            SignalKind::Own { name } => format!("{name} failed"),
        }
    }
}

impl Health {
    /// The signals that are tested, failed requests first.
    #[must_use]
    pub fn signals(&self) -> Vec<Signal> {
        let of = |kind, tolerated_odds_ratio| Signal { kind, tolerated_odds_ratio };
        let slow = self.latency_target_s.filter(|_| self.counts_slow());
        let refused = self.refused_tolerated_odds_ratio;
        let own = self.signals.iter().map(|own| {
            Some(of(SignalKind::Own { name: own.name.clone() }, own.tolerated_odds_ratio))
        });
        [Some(of(SignalKind::Failed, self.tolerated_odds_ratio))]
            .into_iter()
            .chain([refused.map(|ratio| of(SignalKind::Refused, ratio))])
            .chain([
                slow.map(|target_s| of(SignalKind::Slow { target_s }, self.tolerated_odds_ratio))
            ])
            .chain(own)
            .flatten()
            .collect()
    }
}

/// Source of the requests that are refused when nothing is wrong: bots and crawlers. They come through few of the
/// resolvers, so the lumps of a split carry all of them to one side and back. One of ten resolvers has at most ten
/// times the refused requests of all.
pub const REFUSED_TOLERATED_ODDS_RATIO: f64 = 10.0;

/// The limit of signals that have none of their own: most of the requests.
const LIMIT: f64 = 0.5;

impl Health {
    /// The rate that a signal must not be over for long, whatever the other side does: for failed requests, and for the
    /// first of one's own counts where there are no others, `error_rate_max`; for all else most of the requests. What is
    /// usual for the service is allowed to it.
    pub(super) fn limit(&self, signal: &Signal, is_first: bool, usual_rate: f64) -> f64 {
        match signal.kind {
            SignalKind::Failed => self.error_rate_max.max(usual_rate),
            SignalKind::Refused | SignalKind::Slow { .. } | SignalKind::Own { .. } => {
                let odds = usual_rate / (1.0 - usual_rate).max(1e-9) * signal.tolerated_odds_ratio;
                let least = if is_first { self.error_rate_max } else { LIMIT };
                least.max(odds / (1.0 + odds))
            }
        }
    }
}
