//! What a function says in its log of what it decided: one line for the cutover, and one a route,
//! which is at the same time its metrics.

use cutover_core::{Cutover, Side, Verdict, VerdictKind};
use jiff::Timestamp;
use serde_json::json;

use crate::runtime::{Metric, Unit, emf};

/// Logs what comes next and how every route stands.
///
/// Metrics, by `Route`: `IntendedShare` (what the live weights ask for), and once there is a
/// verdict `MeasuredShare`, `ErrorRateOld`, `ErrorRateNew` (all in percent, over the current step)
/// and `Regressed` (1 or 0). The verdict itself and its sentence are properties of the line.
pub fn tell(cutover: &Cutover, now: Timestamp) {
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
    for warning in &cutover.warnings {
        tracing::warn!(
            execution = cutover.execution.name,
            code = warning.code,
            message = warning.message,
            "warning"
        );
    }
    for route in &cutover.routes {
        let percent = |share: Option<f64>| share.map(|share| share * 100.0);
        let verdict = route.verdict.as_ref();
        let rate = |side| percent(verdict.and_then(|verdict| error_rate(verdict, side)));
        let regressed = verdict.map(|v| f64::from(u8::from(v.kind == VerdictKind::Regressed)));
        let values = [
            ("IntendedShare", Unit::Percent, percent(route.last.share())),
            ("MeasuredShare", Unit::Percent, percent(verdict.and_then(Verdict::measured_share))),
            ("ErrorRateOld", Unit::Percent, rate(Side::Old)),
            ("ErrorRateNew", Unit::Percent, rate(Side::New)),
            ("Regressed", Unit::Count, regressed),
        ];
        let metrics: Vec<Metric<'_>> = values
            .into_iter()
            .filter_map(|(name, unit, value)| value.map(|value| Metric { name, unit, value }))
            .collect();
        let reason = route.reason.as_deref().or(verdict.map(|verdict| verdict.reason.as_str()));
        emf(
            now,
            &[("Route", route.name.as_str())],
            &metrics,
            &[
                ("execution", json!(cutover.execution.name)),
                ("step", json!(cutover.step)),
                ("status", json!(route.status)),
                ("weights", json!(route.last)),
                ("verdict", json!(verdict.map(|verdict| verdict.kind.name()))),
                ("reason", json!(reason)),
            ],
        );
    }
}

fn error_rate(verdict: &Verdict, side: Side) -> Option<f64> {
    match side {
        Side::Old => verdict.old.error_rate(),
        Side::New => verdict.new.error_rate(),
    }
}
