//! How a function meets Lambda: its log, its event, its errors, its metrics.

use cutover_core::Failure;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::schema_1::upgraded;

/// The namespace of cutover's own metrics.
const NAMESPACE: &str = "Cutover";

/// Sends every event of level INFO and above to stdout, as one JSON object a line.
///
/// The runtime's own log of a failed handler is left out: it is the `Debug` form of what [`serve`]
/// logs with fields.
pub fn init_logging() {
    let levels = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_ansi(false);
    tracing_subscriber::registry().with(json.with_filter(levels)).init();
}

/// Answers events with `handler` until Lambda stops the process.
///
/// The event is read here, so that one that cannot be read becomes `InvalidInput`, as every other refusal, and
/// not an error type that the state machine does not know.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve<T, R>(
    handler: impl AsyncFn(T) -> Result<R, Failure>,
) -> Result<(), lambda_runtime::Error>
where
    T: DeserializeOwned,
    R: Serialize,
{
    let handler = &handler;
    let answer = async |event: LambdaEvent<Payload>| answer(handler, event.payload).await;
    lambda_runtime::run(service_fn(answer)).await
}

/// The JSON of an event, or what keeps it from being read: JSON allows numbers, nesting and texts that no
/// Rust value has. Reading it never fails, or the runtime would answer in its own words.
struct Payload(Result<Value, String>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(event: D) -> Result<Self, D::Error> {
        Ok(Self(Value::deserialize(event).map_err(|error| error.to_string())))
    }
}

/// One event: read, handled, and its failure logged and named.
async fn answer<T, R>(
    handler: &impl AsyncFn(T) -> Result<R, Failure>,
    Payload(event): Payload,
) -> Result<R, Diagnostic>
where
    T: DeserializeOwned,
{
    let sender = Sender::by(event.as_ref().unwrap_or(&Value::Null));
    let event = event.map(upgraded);
    let read = event.and_then(|event| serde_json::from_value(event).map_err(|e| e.to_string()));
    let outcome = match read {
        // On the heap: the layout of an SDK call inside of the runtime's own layers nests deeper
        // than the compiler follows.
        Ok(event) => Box::pin(handler(event)).await,
        Err(error) => Err(Failure::invalid(
            "unreadable_event",
            format!(
                "the event cannot be read: {error}; allowed: JSON as the state machine gives it"
            ),
        )),
    };
    outcome.map_err(|failure| {
        let error_message = failure.to_string();
        let Sender { execution, step, names } = &sender;
        let error_type = names(&failure);
        tracing::error!(execution, step, error_type, error_message, "failed");
        Diagnostic { error_type: error_type.to_owned(), error_message }
    })
}

/// Where an event comes from, for the log of a failure and its name. The event may be anything.
struct Sender {
    execution: Option<String>,
    step: Option<u64>,
    /// What the definition that sent it calls failures.
    names: fn(&Failure) -> &'static str,
}

/// The first definition of the state machine that knows the errors by the names that they have now, and hands
/// its number to each task. An execution keeps the definition that it was started with.
const DEFINITION_OF_THESE_NAMES: u64 = 2;

/// What definitions before that one call failures: they would take a new name for an error that no retry helps
/// against.
fn former_name(failure: &Failure) -> &'static str {
    match failure {
        Failure::Unreachable(_) => "TransientAws",
        Failure::Refused(_) => "AwsRefused",
        Failure::InvalidInput(_) | Failure::NotReady(_) | Failure::Internal(_) => failure.name(),
    }
}

impl Sender {
    fn by(event: &Value) -> Self {
        let either = |a, b| event.pointer(a).or_else(|| event.pointer(b));
        let of_state_machine = either("/schema", "/cutover/schema")
            .or_else(|| event.pointer("/execution/state_machine_arn"));
        let definition = either("/definition", "/cutover/definition")
            .or_else(|| event.pointer("/execution/definition"))
            .and_then(Value::as_u64);
        let is_former = of_state_machine.is_some()
            && definition.is_none_or(|number| number < DEFINITION_OF_THESE_NAMES);
        let name = either("/execution/name", "/cutover/execution/name");
        Self {
            execution: name.and_then(Value::as_str).map(str::to_owned),
            step: either("/step", "/cutover/step").and_then(Value::as_u64),
            names: if is_former { former_name } else { Failure::name },
        }
    }
}

/// Unit of a [`Metric`], as CloudWatch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A number of things.
    Count,
    /// 0 to 100.
    Percent,
    /// A time.
    Seconds,
    /// Anything else, such as a code.
    None,
}

/// One value to count.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it counts in.
    pub unit: Unit,
    /// The value; one that is not finite is left out.
    pub value: f64,
}

/// Writes metrics of the namespace `Cutover`, as one line of Embedded Metric Format, which
/// CloudWatch Logs turns into metrics: no API call, no permission, and the line can be queried.
///
/// `dimensions` name the series (up to 30), `properties` go beside them for queries only.
pub fn emf(
    at: Timestamp,
    dimensions: &[(&str, &str)],
    metrics: &[Metric<'_>],
    properties: &[(&str, Value)],
) {
    println!("{}", emf_document(at, dimensions, metrics, properties));
}

/// Source: Amazon CloudWatch user guide, "Specification: Embedded metric format".
fn emf_document(
    at: Timestamp,
    dimensions: &[(&str, &str)],
    metrics: &[Metric<'_>],
    properties: &[(&str, Value)],
) -> Value {
    let metrics: Vec<_> = metrics.iter().filter(|metric| metric.value.is_finite()).collect();
    let named = |(name, value): &(&str, Value)| ((*name).to_owned(), value.clone());
    let mut document: Map<String, Value> = properties.iter().map(named).collect();
    document.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    document.extend(metrics.iter().map(|metric| (metric.name.to_owned(), json!(metric.value))));
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": [dimensions.iter().map(|(name, _)| name).collect::<Vec<_>>()],
        "Metrics": metrics
            .iter()
            .map(|metric| json!({ "Name": metric.name, "Unit": metric.unit }))
            .collect::<Vec<_>>(),
    });
    let meta = json!({ "Timestamp": at.as_millisecond(), "CloudWatchMetrics": [directive] });
    document.insert("_aws".to_owned(), meta);
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_that_does_not_parse_is_invalid_input() {
        let handler = async |seconds: u32| Ok(seconds + 1);
        assert_eq!(answer(&handler, Payload(Ok(json!(41)))).await, Ok(42));
        let soon = Payload(Ok(json!("soon")));
        let refused = answer(&handler, soon).await.expect_err("not a number");
        assert_eq!(refused.error_type, "InvalidInput");
        let cause: Value = serde_json::from_str(&refused.error_message).expect("JSON");
        assert_eq!(cause["problems"][0]["code"], "unreadable_event");
    }

    #[tokio::test]
    async fn a_failure_is_returned_under_its_name() {
        for failure in [
            Failure::invalid("no_zone", "no such zone"),
            Failure::NotReady(Vec::new()),
            Failure::Unreachable("later".to_owned()),
            Failure::Refused("no".to_owned()),
            Failure::Internal("?".to_owned()),
        ] {
            let handler = async |_: Value| Err::<(), _>(failure.clone());
            let diagnostic = answer(&handler, Payload(Ok(Value::Null))).await.expect_err("fails");
            assert_eq!(diagnostic.error_type, failure.name());
            assert_eq!(diagnostic.error_message, failure.to_string());
        }
    }

    #[tokio::test]
    async fn a_state_of_a_former_version_comes_in_as_one_of_this_version() {
        let state: Value = serde_json::from_str(include_str!(
            "../../core/tests/data/schema-1/check-health-settling.json"
        ))
        .expect("JSON");
        let handler = async |event: Value| {
            let state = event.get("cutover").unwrap_or(&event).clone();
            cutover_core::Cutover::read(state).map(|cutover| cutover.routes.len())
        };
        for event in [state.clone(), json!({"cutover": state, "failure": null})] {
            assert_eq!(answer(&handler, Payload(Ok(event))).await, Ok(2));
        }
    }

    #[tokio::test]
    async fn an_execution_of_a_former_definition_hears_the_names_that_it_knows() {
        let unreachable = Failure::Unreachable("later".to_owned());
        let refused = Failure::Refused("no".to_owned());
        let internal = Failure::Internal("?".to_owned());
        let state = |definition: Value| json!({"schema": 1, "definition": definition});
        let start = |definition: Value| json!({"execution": {"state_machine_arn": "arn", "definition": definition}});
        for (event, names) in [
            (state(Value::Null), ["TransientAws", "AwsRefused", "Internal"]),
            (json!({"cutover": state(Value::Null)}), ["TransientAws", "AwsRefused", "Internal"]),
            (start(Value::Null), ["TransientAws", "AwsRefused", "Internal"]),
            (state(json!(2)), ["Unreachable", "Refused", "Internal"]),
            (json!({"cutover": state(json!(2))}), ["Unreachable", "Refused", "Internal"]),
            (start(json!(3)), ["Unreachable", "Refused", "Internal"]),
            (json!({"execution_arn": "arn"}), ["Unreachable", "Refused", "Internal"]),
        ] {
            for (failure, name) in [&unreachable, &refused, &internal].into_iter().zip(names) {
                let handler = async |_: Value| Err::<(), _>(failure.clone());
                let diagnostic = answer(&handler, Payload(Ok(event.clone()))).await;
                assert_eq!(diagnostic.expect_err("fails").error_type, name, "{event}");
            }
        }
    }

    #[test]
    fn a_metrics_line_is_a_document_of_embedded_metric_format() {
        let document = emf_document(
            Timestamp::from_second(1_700_000_000).expect("in range"),
            &[("Route", "chat.example.com"), ("Side", "new")],
            &[
                Metric { name: "IntendedShare", unit: Unit::Percent, value: 12.5 },
                Metric { name: "ErrorRate", unit: Unit::Percent, value: f64::NAN },
            ],
            &[("step", json!(3))],
        );
        assert_eq!(
            document,
            json!({
                "_aws": {
                    "Timestamp": 1_700_000_000_000_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Cutover",
                        "Dimensions": [["Route", "Side"]],
                        "Metrics": [{ "Name": "IntendedShare", "Unit": "Percent" }],
                    }],
                },
                "Route": "chat.example.com",
                "Side": "new",
                "IntendedShare": 12.5,
                "step": 3,
            })
        );
        assert!(!document.to_string().contains('\n'), "one line");
    }
}
