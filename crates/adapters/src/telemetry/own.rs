//! Counts of one's own: any two metrics of CloudWatch, with the side's name in their dimensions.

use aws_sdk_cloudwatch::types::{Metric, MetricDataQuery};
use cutover_core::{Counts, OwnMetric, OwnSeries, OwnSignal, Sides, Window};

use super::cloudwatch::{Asked, Points, count, question, whole};

/// A metric of one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OwnQuery {
    namespace: String,
    metric: String,
    dimensions: Vec<(String, String)>,
}

impl OwnQuery {
    fn of(metric: &OwnMetric, side: &str) -> Self {
        Self {
            namespace: metric.namespace.clone(),
            metric: metric.metric.clone(),
            dimensions: metric.dimensions_of(side),
        }
    }

    /// Its names, as CloudWatch has them.
    fn called(&self) -> String {
        let dimensions = self.dimensions.iter().map(|(name, of)| format!(", {name}={of}"));
        format!("{} {}{}", self.namespace, self.metric, dimensions.collect::<String>())
    }
}

impl Asked for OwnQuery {
    fn build(&self, index: usize, window: Window) -> MetricDataQuery {
        let metric = Metric::builder().namespace(&self.namespace).metric_name(&self.metric);
        let dimensions = self.dimensions.iter().map(|(name, of)| (name.as_str(), of.as_str()));
        question(index, metric, dimensions, "Sum", window)
    }

    fn read(&self, value: f64) -> Option<f64> {
        count(value)
    }
}

/// The metrics of all signals, of both sides.
pub(super) fn queries<'a>(
    signals: &'a [OwnSignal],
    sides: &'a Sides,
) -> impl Iterator<Item = OwnQuery> + 'a {
    let of = |signal: &'a OwnSignal| [&signal.requests, &signal.failures];
    let both = |metric| [OwnQuery::of(metric, &sides.old), OwnQuery::of(metric, &sides.new)];
    signals.iter().flat_map(of).flat_map(both)
}

/// What came back of one signal. Failures that are missing beside requests are 0; a period without either was not
/// counted.
pub(super) fn series<'p>(
    signal: &OwnSignal,
    sides: &Sides,
    periods: usize,
    points: impl Fn(&OwnQuery) -> Option<&'p Points>,
) -> OwnSeries {
    let side = |name: &str| -> Vec<Option<Counts>> {
        let of = |metric| points(&OwnQuery::of(metric, name)).cloned().unwrap_or_default();
        let (requests, failures) = (of(&signal.requests), of(&signal.failures));
        let at = |points: &Points, index: usize| points.get(index).copied().flatten().map(whole);
        let in_period = |index| {
            let (requests, errors) = (at(&requests, index), at(&failures, index));
            let (known, errors) = (requests.or(errors)?, errors.unwrap_or(0));
            // A failure may be counted a period after its request.
            Some(Counts { requests: known.max(errors), errors })
        };
        (0..periods).map(in_period).collect()
    };
    let silent = [("requests", &signal.requests), ("failures", &signal.failures)];
    let silent = silent.into_iter().filter_map(|(what, metric)| {
        let query = OwnQuery::of(metric, &sides.old);
        let has_any = points(&query).is_some_and(|points| points.iter().any(Option::is_some));
        (!has_any).then(|| format!("{what} ({})", query.called()))
    });
    OwnSeries { old: side(&sides.old), new: side(&sides.new), silent: silent.collect() }
}
