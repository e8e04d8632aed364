//! Why cutover could not tell or could not act: the error names that the state machine matches.

use serde::{Deserialize, Serialize};

use crate::limits::CAUSE_BYTES_MAX;
use crate::router::RouteId;

/// One thing that is wrong, said so that a person can act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable name for programs, in `snake_case`.
    pub code: String,
    /// The route it concerns; absent when it concerns the whole cutover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteId>,
    /// One plain sentence: what is wrong, and what is allowed or to be done.
    pub message: String,
}

impl Problem {
    /// A problem of the whole cutover.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), route: None, message: message.into() }
    }

    /// A problem of one route.
    #[must_use]
    pub fn of(route: &RouteId, code: &str, message: impl Into<String>) -> Self {
        Self { route: Some(route.clone()), ..Self::new(code, message) }
    }
}

/// An error of a function: "could not tell or could not act". A bad new cluster and drift are not
/// errors but data; they travel in the [`Cutover`](crate::Cutover).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The input or the plan is refused; nothing was touched.
    #[error("{}", problems_json(.0))]
    InvalidInput(Vec<Problem>),
    /// The new side is not there or not healthy *yet*.
    #[error("{}", problems_json(.0))]
    NotReady(Vec<Problem>),
    /// A throttle, a 5xx, a timeout, a broken connection (after the SDK's own retries), a clock that is off,
    /// or a reply that cannot be read.
    #[error("{0}")]
    Unreachable(String),
    /// A permission, a validation or a missing resource: trying again will not help.
    #[error("{0}")]
    Refused(String),
    /// A broken invariant: a defect of cutover, or a state that it did not write.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// Every errorType there is, as the state machine matches them.
    pub const NAMES: [&str; 5] = ["InvalidInput", "NotReady", "Unreachable", "Refused", "Internal"];

    /// The errorType of this failure: one of [`Failure::NAMES`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        let [invalid_input, not_ready, unreachable, refused, internal] = Self::NAMES;
        match self {
            Self::InvalidInput(_) => invalid_input,
            Self::NotReady(_) => not_ready,
            Self::Unreachable(_) => unreachable,
            Self::Refused(_) => refused,
            Self::Internal(_) => internal,
        }
    }

    /// What is wrong, where that is said problem by problem: of `InvalidInput` and `NotReady`.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::InvalidInput(problems) | Self::NotReady(problems) => problems,
            Self::Unreachable(_) | Self::Refused(_) | Self::Internal(_) => &[],
        }
    }

    /// A refusal for one reason.
    #[must_use]
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::InvalidInput(vec![Problem::new(code, message)])
    }
}

/// Bytes that a text takes as a JSON string.
pub(crate) fn escaped_bytes(text: &str) -> usize {
    serde_json::Value::from(text).to_string().len()
}

/// `{"problems":[{"code","route","message"}…]}`, cut to what a Cause holds: `omitted` then says
/// how many are missing.
fn problems_json(problems: &[Problem]) -> String {
    let mut kept = problems.len();
    loop {
        let shown: Vec<&Problem> = problems.iter().take(kept).collect();
        let omitted = problems.len() - kept;
        let json = if omitted == 0 {
            serde_json::json!({ "problems": shown })
        } else {
            serde_json::json!({ "problems": shown, "omitted": omitted })
        }
        .to_string();
        let bytes = escaped_bytes(&json);
        if bytes <= CAUSE_BYTES_MAX || kept == 0 {
            return json;
        }
        kept = (kept * CAUSE_BYTES_MAX / bytes).min(kept - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_every_problem_as_json() {
        let failure = Failure::InvalidInput(vec![
            Problem::new("place_missing", "no such place"),
            Problem::of(&RouteId::from("a.example.com"), "ttl_too_long", "TTL 900 s"),
        ]);
        assert_eq!(failure.name(), "InvalidInput");
        assert_eq!(
            failure.to_string(),
            r#"{"problems":[{"code":"place_missing","message":"no such place"},{"code":"ttl_too_long","message":"TTL 900 s","route":"a.example.com"}]}"#
        );
    }

    #[test]
    fn more_problems_than_a_cause_holds_are_counted() {
        let many = vec![Problem::new("no_place", "x".repeat(100)); 1000];
        let cause = Failure::InvalidInput(many).to_string();
        assert!(escaped_bytes(&cause) <= CAUSE_BYTES_MAX);
        let parsed: serde_json::Value = serde_json::from_str(&cause).expect("still JSON");
        let shown = parsed["problems"].as_array().expect("a list").len() as u64;
        assert!(shown > 100, "as many as fit, not {shown}");
        assert_eq!(shown + parsed["omitted"].as_u64().expect("a count"), 1000);
    }
}
