//! The three ways in which a cutover is started, told apart.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::request::fields::shown;

/// What an input asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// A request, still unread; the defaults are laid under it.
    Request(Value),
    /// Nothing, for the reason given: the execution ends well and touches nothing.
    Ignored(String),
}

const SHAPES: &str = "a request {\"new\": …}, an EventBridge event \
    {\"source\": \"cutover\", \"detail-type\": \"Cluster Ready\", \"detail\": {request}}, or the \
    CloudTrail event of an EKS CreateCluster call";

impl Start {
    /// Tells which of the three shapes the state machine's input has. A `CreateCluster` call asks for nothing
    /// when the cluster's name does not begin with `cluster_name_prefix`.
    ///
    /// # Errors
    /// `InvalidInput` when it has none of them.
    pub fn read(input: &Value, cluster_name_prefix: &str) -> Result<Self, Failure> {
        let refuse = |what: String| {
            Err(Failure::invalid("unknown_input", format!("{what}; the input must be {SHAPES}")))
        };
        let Value::Object(fields) = input else {
            return refuse(format!("the input is {}", shown(input)));
        };
        if !fields.contains_key("detail-type") {
            return if fields.contains_key("detail") || fields.contains_key("source") {
                refuse("the input has no detail-type".to_owned())
            } else {
                Ok(Self::Request(input.clone()))
            };
        }
        let text = |pointer: &str| input.pointer(pointer).and_then(Value::as_str);
        match (text("/source"), text("/detail-type"), text("/detail/eventName")) {
            (Some("cutover"), Some("Cluster Ready"), _) => match fields.get("detail") {
                Some(detail @ Value::Object(_)) => Ok(Self::Request(detail.clone())),
                _ => refuse("the event's detail is not a request".to_owned()),
            },
            (Some("aws.eks"), Some("AWS API Call via CloudTrail"), Some("CreateCluster")) => {
                create_cluster(input, cluster_name_prefix)
            }
            (source, kind, name) => refuse(format!(
                "this event is not for cutover: source {}, detail-type {}, eventName {}",
                shown(&json!(source)),
                shown(&json!(kind)),
                shown(&json!(name)),
            )),
        }
    }
}

/// The new cluster of a `CreateCluster` call. Its name stands in `requestParameters.name`, in
/// older events in `clusterName`.
fn create_cluster(event: &Value, prefix: &str) -> Result<Start, Failure> {
    let name = ["/detail/requestParameters/name", "/detail/requestParameters/clusterName"]
        .into_iter()
        .find_map(|pointer| event.pointer(pointer))
        .and_then(Value::as_str);
    let error = event.pointer("/detail/errorCode").filter(|code| !code.is_null());
    match (error, name) {
        (Some(code), name) => Ok(Start::Ignored(format!(
            "the CreateCluster call for {} failed with {}: there is no new cluster",
            shown(&json!(name)),
            shown(code),
        ))),
        (None, Some(name)) if !name.starts_with(prefix) => Ok(Start::Ignored(format!(
            "the new cluster's name, {}, does not begin with {}, the prefix of clusters that may start \
             a cutover (parameter ClusterNamePrefix of the stack)",
            shown(&json!(name)),
            shown(&json!(prefix)),
        ))),
        (None, Some(name)) => Ok(Start::Request(json!({ "new": name }))),
        (None, None) => Err(Failure::invalid(
            "unknown_input",
            "the CreateCluster event names no cluster: neither detail.requestParameters.name nor \
             detail.requestParameters.clusterName is a text; start the cutover with a request {\"new\": …}",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_none_of_the_three_shapes_is_refused_with_the_three() {
        for odd in [
            json!(7),
            json!([]),
            json!({"source": "cutover", "detail": {"new": "green"}}),
            json!({"source": "cutover", "detail-type": "Cluster Ready", "detail": "green"}),
            json!({"source": "aws.ec2", "detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "RunInstances"}}),
            json!({"source": "aws.eks", "detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "DeleteCluster"}}),
            json!({"source": 3, "detail-type": null}),
        ] {
            match Start::read(&odd, "") {
                Err(Failure::InvalidInput(problems)) => {
                    assert!(problems[0].message.contains("the input must be"), "{problems:?}");
                }
                other => panic!("{odd} is not refused: {other:?}"),
            }
        }
    }

    #[test]
    fn a_create_cluster_event_without_a_name_is_refused() {
        let event = json!({"source": "aws.eks", "detail-type": "AWS API Call via CloudTrail",
            "detail": {"eventName": "CreateCluster", "requestParameters": {}}});
        assert!(Start::read(&event, "").is_err());
    }

    #[test]
    fn only_a_new_cluster_whose_name_begins_with_the_prefix_starts_a_cutover() {
        for spelling in ["name", "clusterName"] {
            let event = json!({"source": "aws.eks", "detail-type": "AWS API Call via CloudTrail",
                "detail": {"eventName": "CreateCluster", "requestParameters": {spelling: "shop-2"}}});
            for prefix in ["", "shop-", "shop-2"] {
                let start = Start::read(&event, prefix).expect("a start");
                assert_eq!(start, Start::Request(json!({"new": "shop-2"})), "{prefix}");
            }
            match Start::read(&event, "prod-").expect("a start") {
                Start::Ignored(reason) => {
                    for said in ["\"shop-2\"", "\"prod-\"", "ClusterNamePrefix"] {
                        assert!(reason.contains(said), "{reason}");
                    }
                }
                request @ Start::Request(_) => panic!("not ignored: {request:?}"),
            }
        }
        // Whoever writes a request or sends Cluster Ready names the cluster on purpose.
        let request = json!({"new": "shop-2"});
        let event = json!({"source": "cutover", "detail-type": "Cluster Ready", "detail": request});
        for input in [&request, &event] {
            assert_eq!(Start::read(input, "prod-"), Ok(Start::Request(request.clone())));
        }
    }
}
