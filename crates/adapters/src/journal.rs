//! What a function says in its log of what it decided: one line for the cutover, and one a route,
//! which is at the same time its metrics.

use cutover_core::{
    Answer, Asked, Connections, Counts, Cutover, Route, Status, Verdict, VerdictKind,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::runtime::{Metric, Unit, emf};

/// Logs what comes next and the weights of every route.
///
/// Metric by `Route`: `IntendedShare` (what the weights written last ask for, in percent).
pub fn tell(cutover: &Cutover, now: Timestamp) {
    tell_next(cutover);
    for route in &cutover.routes {
        tell_route(cutover, route, &weights(route), now);
    }
}

/// Logs what comes next and how every route stands after a check.
///
/// Beside `IntendedShare`, for the routes that the check has judged: `MeasuredShare`, `ErrorRateOld`,
/// `ErrorRateNew` (all in percent, since the step has settled), `Log10E` (the decimal logarithm of e, the
/// evidence against the new side) and `Regressed` (1 or 0). The verdict, its sentence, the connections that failed
/// on both sides since the step has settled and `log10_limit` (what `Log10E` must reach for the route to go back) are
/// properties of the line.
pub fn tell_verdicts(cutover: &Cutover, now: Timestamp) {
    tell_next(cutover);
    for route in &cutover.routes {
        let judged = matches!(route.status, Status::Active | Status::RollingBack);
        let metrics = if judged { with_verdict(route) } else { weights(route) };
        tell_route(cutover, route, &metrics, now);
        if judged {
            tell_signals(route, now);
        }
    }
}

/// Logs how often each signal but failed requests was seen on both sides since the step has settled.
///
/// Metrics by `Route` and `Signal`: `SignalRateOld`, `SignalRateNew` (in percent).
fn tell_signals(route: &Route, now: Timestamp) {
    let signals = route.verdict.iter().flat_map(|verdict| &verdict.signals);
    for signal in signals.filter(|signal| signal.name != "failed") {
        let metrics = known([
            ("SignalRateOld", Unit::Percent, percent(signal.old.error_rate())),
            ("SignalRateNew", Unit::Percent, percent(signal.new.error_rate())),
        ]);
        if !metrics.is_empty() {
            let dimensions = [("Route", route.name.as_str()), ("Signal", signal.name.as_str())];
            emf(now, &dimensions, &metrics, &[]);
        }
    }
}

/// Logs why there is nothing to roll back, and gives the answer that says so.
#[must_use]
pub fn tell_nothing(asked: &Asked, reason: String) -> Answer {
    tracing::info!(execution = asked.execution_arn, reason, "nothing to do");
    Answer::nothing(reason)
}

/// Logs what validation found worth saying.
pub fn tell_warnings(cutover: &Cutover) {
    for warning in &cutover.warnings {
        tracing::warn!(
            execution = cutover.execution.name,
            code = warning.code,
            message = warning.message,
            "warning"
        );
    }
}

fn tell_next(cutover: &Cutover) {
    let next = &cutover.next;
    tracing::info!(
        execution = cutover.execution.name,
        step = cutover.step,
        intended = f64::from(cutover.intended()),
        routes = cutover.routes.len(),
        checks = cutover.checks,
        action = ?next.action,
        wait_s = next.wait_s,
        reason = next.reason,
        "next"
    );
}

fn tell_route(cutover: &Cutover, route: &Route, metrics: &[Metric<'_>], now: Timestamp) {
    let verdict = route.verdict.as_ref();
    let reason = route.reason.as_deref().or(verdict.map(|verdict| verdict.reason.as_str()));
    emf(
        now,
        &[("Route", route.name.as_str())],
        metrics,
        &[
            ("execution", json!(cutover.execution.name)),
            ("step", json!(cutover.step)),
            ("status", json!(route.status)),
            ("weights", json!(route.last)),
            ("verdict", json!(verdict.map(|verdict| verdict.kind.name()))),
            ("reason", json!(reason)),
            ("connections", json!(verdict.and_then(connections))),
            ("log10_limit", json!(rounded(cutover.log10_limit()))),
        ],
    );
}

/// Connections of both sides that failed since the step has settled, if any did.
fn connections(of: &Verdict) -> Option<Value> {
    let [old, new] = of.connections;
    let none = Connections::default();
    (old != none || new != none).then(|| json!({"old": old, "new": new}))
}

fn weights(route: &Route) -> Vec<Metric<'static>> {
    known([("IntendedShare", Unit::Percent, percent(route.last.share()))])
}

fn with_verdict(route: &Route) -> Vec<Metric<'static>> {
    let verdict = route.verdict.as_ref();
    let rate = |of: fn(&Verdict) -> Counts| percent(verdict.and_then(|v| of(v).error_rate()));
    let regressed = verdict.map(|v| f64::from(u8::from(v.kind == VerdictKind::Regressed)));
    known([
        ("IntendedShare", Unit::Percent, percent(route.last.share())),
        ("MeasuredShare", Unit::Percent, percent(verdict.and_then(Verdict::measured_share))),
        ("ErrorRateOld", Unit::Percent, rate(|verdict| verdict.old)),
        ("ErrorRateNew", Unit::Percent, rate(|verdict| verdict.new)),
        ("Log10E", Unit::None, verdict.and_then(|verdict| verdict.log10_e)),
        ("Regressed", Unit::Count, regressed),
    ])
}

fn known<const N: usize>(values: [(&'static str, Unit, Option<f64>); N]) -> Vec<Metric<'static>> {
    let metric =
        |(name, unit, value): (_, _, Option<f64>)| Some(Metric { name, unit, value: value? });
    values.into_iter().filter_map(metric).collect()
}

/// To two decimal places, as a verdict has the logarithm of e.
fn rounded(log10: f64) -> f64 {
    (log10 * 100.0).round() / 100.0
}

fn percent(share: Option<f64>) -> Option<f64> {
    share.map(|share| share * 100.0)
}

#[cfg(test)]
mod tests {
    use cutover_core::{CountedBy, RouteId, Weights};

    use super::*;

    #[test]
    fn failed_connections_of_both_sides_are_told_where_there_are_any() {
        let mut verdict = Verdict::metrics_broken("a test");
        assert_eq!(connections(&verdict), None);
        verdict.connections[1].tls = 120;
        let of = |tls| json!({"tls": tls, "rejected": 0, "to_targets": 0});
        assert_eq!(connections(&verdict), Some(json!({"old": of(0), "new": of(120)})));
    }

    #[test]
    fn a_route_tells_its_shares_its_error_rates_and_its_verdict() {
        let mut route = Route {
            name: RouteId::from("chat.example.com"),
            original: Weights { old: 100, new: 0 },
            last: Weights { old: 90, new: 10 },
            status: Status::Active,
            old_meter: 0,
            new_meter: 1,
            counted_by: CountedBy::default(),
            other_writer: None,
            shapes: Vec::new(),
            supersedes: None,
            forced: false,
            all_or_nothing: false,
            verdict: None,
            reason: None,
        };
        let told = |route: &Route| -> Vec<String> {
            with_verdict(route)
                .iter()
                .map(|metric| format!("{} {}", metric.name, metric.value))
                .collect()
        };
        assert_eq!(told(&route), ["IntendedShare 10"], "no verdict, no rates");
        route.verdict = Some(Verdict {
            kind: VerdictKind::Regressed,
            old: Counts { requests: 300, errors: 3 },
            new: Counts { requests: 100, errors: 50 },
            log10_e: Some(2.5),
            failing: false,
            beside: Vec::new(),
            signals: Vec::new(),
            connections: Default::default(),
            old_share: None,
            reason: String::new(),
        });
        assert_eq!(
            told(&route),
            [
                "IntendedShare 10",
                "MeasuredShare 25",
                "ErrorRateOld 1",
                "ErrorRateNew 50",
                "Log10E 2.5",
                "Regressed 1"
            ]
        );
        route.verdict = Some(Verdict::metrics_broken("out of reach"));
        assert_eq!(told(&route), ["IntendedShare 10", "Regressed 0"], "nothing is made up");
    }
}
