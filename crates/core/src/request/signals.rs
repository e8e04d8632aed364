//! Counts of one's own, as a request names them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failure::Problem;
use crate::request::fields::{Fields, refused};
use crate::request::health::{OwnMetric, OwnSignal, SIDE};

const SIGNALS_MAX: usize = 10;
/// Names that signals of cutover have.
const TAKEN: [&str; 3] = ["failed", "refused", "slow"];

/// Reads a list of signals; `None`, with every problem, when one of them is refused. `tolerated`: their tolerated odds
/// ratio where they name none.
pub(super) fn read(
    value: &Value,
    field: &str,
    tolerated: f64,
    problems: &mut Vec<Problem>,
) -> Option<Vec<OwnSignal>> {
    let Some(list) = value.as_array().filter(|list| list.len() <= SIGNALS_MAX) else {
        problems.push(refused(field, value, "a list of up to 10 signals"));
        return None;
    };
    let mut signals: Vec<OwnSignal> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let place = format!("{field}[{index}]");
        let signal = read_one(entry, &place, tolerated, problems);
        let is_known = |signal: &OwnSignal| signals.iter().any(|known| known.name == signal.name);
        if signal.as_ref().is_some_and(is_known) {
            let name = entry.get("name").cloned().unwrap_or_default();
            let allowed = "a name that no other signal has";
            problems.push(refused(&format!("{place}.name"), &name, allowed));
        }
        signals.extend(signal);
    }
    (signals.len() == list.len()).then_some(signals)
}

fn read_one(
    entry: &Value,
    place: &str,
    tolerated: f64,
    problems: &mut Vec<Problem>,
) -> Option<OwnSignal> {
    let mut fields = Fields::of(entry.clone(), format!("{place}."), problems);
    let name = fields.required(
        "name",
        "what is counted, as \"orders\": 1 to 40 characters, and none of \"failed\", \"refused\", \"slow\"",
        |name: &String| (1..=40).contains(&name.chars().count()) && !TAKEN.contains(&name.as_str()),
    );
    let requests = read_metric(fields.object("requests"));
    let failures = read_metric(fields.object("failures"));
    let tolerated_odds_ratio =
        fields.within("tolerated_odds_ratio", tolerated, "a number", 1.0..=1000.0);
    fields.finish();
    Some(OwnSignal { name: name?, requests: requests?, failures: failures?, tolerated_odds_ratio })
}

fn read_metric(mut fields: Fields<'_>) -> Option<OwnMetric> {
    let is_name = |name: &String| (1..=255).contains(&name.chars().count());
    let namespace =
        fields.required("namespace", "a namespace of CloudWatch, 1 to 255 characters", is_name);
    let metric = fields.required("metric", "the name of a metric, 1 to 255 characters", is_name);
    let dimensions = fields.required(
        "dimensions",
        "an object of 1 to 30 names and texts, one of which has {side} in it, for the name of the side",
        |dimensions: &BTreeMap<String, String>| {
            (1..=30).contains(&dimensions.len())
                && dimensions.iter().all(|(name, value)| is_name(name) && !value.is_empty())
                && dimensions.values().any(|value| value.contains(SIDE))
        },
    );
    fields.finish();
    Some(OwnMetric { namespace: namespace?, metric: metric?, dimensions: dimensions? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metric(name: &str) -> Value {
        json!({"namespace": "Shop", "metric": name, "dimensions": {"Cluster": "shop-{side}", "Stage": "live"}})
    }

    fn orders() -> Value {
        json!({"name": "orders", "requests": metric("Orders"), "failures": metric("Failed")})
    }

    #[test]
    fn a_signal_names_two_metrics_with_the_side_in_their_dimensions() {
        let mut problems = vec![];
        let signals = read(&json!([orders()]), "health.signals", 1.5, &mut problems);
        let signal = &signals.expect("allowed")[0];
        assert_eq!((signal.name.as_str(), signal.tolerated_odds_ratio), ("orders", 1.5));
        let of_green = [("Cluster", "shop-green"), ("Stage", "live")];
        let of_green = of_green.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(signal.requests.dimensions_of("green"), of_green);
    }

    #[test]
    fn every_problem_of_every_signal_is_reported_at_once() {
        let mut constant = metric("Orders");
        constant["dimensions"] = json!({"Cluster": "shop"});
        let list = json!([
            orders(),
            orders(),
            {"name": "slow", "requests": constant, "failures": metric("Failed"), "colour": 1},
            {"name": "jobs", "requests": metric("Jobs"), "tolerated_odds_ratio": 0.5},
            7
        ]);
        let mut problems = vec![];
        assert_eq!(read(&list, "health.signals", 1.5, &mut problems), None);
        let said: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        for expected in [
            "health.signals[1].name is \"orders\"; allowed: a name that no other signal has",
            "health.signals[2].name is \"slow\"; allowed: what is counted",
            "health.signals[2].requests.dimensions is {\"Cluster\":\"shop\"}; allowed: an object",
            "health.signals[2].\"colour\" is not a field",
            "health.signals[3].failures.namespace is missing",
            "health.signals[3].tolerated_odds_ratio is 0.5; allowed: a number from 1 to 1000",
            "health.signals[4] is 7; allowed: a JSON object",
        ] {
            assert!(said.iter().any(|m| m.starts_with(expected)), "{expected} not in {said:#?}");
        }
        let mut problems = vec![];
        assert_eq!(read(&json!({}), "health.signals", 1.5, &mut problems), None);
        assert_eq!(problems.len(), 1);
    }
}
