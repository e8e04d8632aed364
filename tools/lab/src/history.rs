//! Shows an execution's history as AWS keeps it, where the emulator keeps less.
//!
//! A try of a Lambda task writes three events on AWS and two on the emulator, which names them after
//! tasks in general; nothing follows an `ExecutionAborted`; and a page holds a hundred events.
//! Source: Step Functions API reference, `GetExecutionHistory` and `HistoryEvent`.

use serde_json::{Map, Value, json};

/// Events of a page; AWS may give fewer than asked for.
const PAGE_MAX: usize = 100;

/// Failed tries that are added to the last visit of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Padding {
    /// Name of a Task state; nothing is added while the execution has not been there.
    pub state: &'static str,
    /// Number of tries, three events each.
    pub tries: u32,
}

/// What a call of `GetExecutionHistory` asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    request: Map<String, Value>,
    /// Where the page begins, and how many of the emulator's events the first page was made from:
    /// later ones must not move the pages.
    cursor: Option<(usize, usize)>,
}

impl Asked {
    /// Reads a request; `None` when it is none that this module knows how to answer.
    pub fn read(body: &[u8]) -> Option<Self> {
        let request: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let cursor = match request.get("nextToken").and_then(Value::as_str) {
            None => None,
            Some(token) => {
                let (start, events) = token.split_once('/')?;
                Some((start.parse().ok()?, events.parse().ok()?))
            }
        };
        Some(Self { request, cursor })
    }

    /// The request for one of the emulator's own pages, oldest first.
    pub fn upstream(&self, token: Option<&Value>) -> Vec<u8> {
        let mut request = self.request.clone();
        request.insert("reverseOrder".to_owned(), json!(false));
        request.insert("maxResults".to_owned(), json!(1000));
        match token {
            Some(token) => request.insert("nextToken".to_owned(), token.clone()),
            None => request.remove("nextToken"),
        };
        Value::Object(request).to_string().into_bytes()
    }

    /// The page that was asked for, out of all the emulator's events.
    pub fn page(&self, mut events: Vec<Value>, padding: Option<Padding>) -> Value {
        let (start, known) = self.cursor.unwrap_or((0, events.len()));
        events.truncate(known);
        let mut events = as_aws_keeps(events, padding);
        if self.request.get("reverseOrder") == Some(&Value::Bool(true)) {
            events.reverse();
        }
        let wanted = self.request.get("maxResults").and_then(Value::as_u64).unwrap_or_default();
        let wanted = usize::try_from(wanted).unwrap_or(PAGE_MAX);
        let size = if wanted == 0 { PAGE_MAX } else { wanted.min(PAGE_MAX) };
        let end = start.saturating_add(size);
        let mut page = Map::new();
        if end < events.len() {
            page.insert("nextToken".to_owned(), json!(format!("{end}/{known}")));
        }
        let events: Vec<Value> = events.into_iter().skip(start).take(size).collect();
        page.insert("events".to_owned(), Value::Array(events));
        Value::Object(page)
    }
}

/// The events of a history as AWS writes them, oldest first, numbered from 1.
fn as_aws_keeps(events: Vec<Value>, padding: Option<Padding>) -> Vec<Value> {
    let entered = |event: &Value| part(event, "/stateEnteredEventDetails/name");
    let padded = padding
        .and_then(|padding| events.iter().rposition(|event| entered(event) == padding.state))
        .zip(padding);
    let mut kept = Vec::new();
    // Whether the running task is a Lambda function, by the resource that its state names.
    let mut lambda = true;
    for (index, event) in events.into_iter().enumerate() {
        let kind = part(&event, "/type").as_str().unwrap_or_default().to_owned();
        let at = part(&event, "/timestamp");
        match kind.as_str() {
            "TaskScheduled" => {
                let resource = part(&event, "/taskScheduledEventDetails/resource");
                lambda = resource.as_str().is_some_and(|arn| arn.contains(":lambda:"));
                let (scheduled, started) = if lambda {
                    (renamed(&event, &kind, "LambdaFunctionScheduled"), "LambdaFunctionStarted")
                } else {
                    (event, "TaskStarted")
                };
                kept.extend([scheduled, json!({"type": started, "timestamp": at})]);
            }
            "TaskSucceeded" if lambda => {
                kept.push(renamed(&event, &kind, "LambdaFunctionSucceeded"));
            }
            "TaskFailed" if lambda => kept.push(renamed(&event, &kind, "LambdaFunctionFailed")),
            _ => kept.push(event),
        }
        if let Some((_, padding)) = padded.filter(|(visit, _)| *visit == index) {
            kept.extend((0..padding.tries).flat_map(|_| failed_try(&at)));
        }
        if kind == "ExecutionAborted" {
            break;
        }
    }
    for (event, id) in kept.iter_mut().filter_map(Value::as_object_mut).zip(1_u64..) {
        event.insert("id".to_owned(), json!(id));
        event.insert("previousEventId".to_owned(), json!(id - 1));
    }
    kept
}

/// A part of an event; null where there is none.
fn part(event: &Value, pointer: &str) -> Value {
    event.pointer(pointer).cloned().unwrap_or_default()
}

/// The same event under the name that AWS gives it for a Lambda function.
fn renamed(event: &Value, from: &str, to: &str) -> Value {
    let details = |kind: &str| {
        let (first, rest) = kind.split_at(1);
        format!("{}{rest}EventDetails", first.to_lowercase())
    };
    let said = part(event, &format!("/{}", details(from)));
    json!({"type": to, "timestamp": part(event, "/timestamp"), details(to): said})
}

fn failed_try(at: &Value) -> [Value; 3] {
    let cause = json!({"errorType": "Unreachable", "errorMessage": "added by the lab's proxy"});
    [
        json!({"type": "LambdaFunctionScheduled", "timestamp": at,
               "lambdaFunctionScheduledEventDetails": {"resource": "added by the lab's proxy"}}),
        json!({"type": "LambdaFunctionStarted", "timestamp": at}),
        json!({"type": "LambdaFunctionFailed", "timestamp": at,
               "lambdaFunctionFailedEventDetails":
                   {"error": "Unreachable", "cause": cause.to_string()}}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(name: &str) -> Value {
        json!({"type": "TaskStateEntered", "timestamp": 1, "id": 7,
               "stateEnteredEventDetails": {"name": name, "input": "{}"}})
    }

    fn scheduled(resource: &str) -> Value {
        json!({"type": "TaskScheduled", "timestamp": 1,
               "taskScheduledEventDetails": {"resourceType": "lambda", "resource": resource}})
    }

    fn of_type(kind: &str) -> Value {
        json!({"type": kind, "timestamp": 1})
    }

    fn types(events: &[Value]) -> Vec<&str> {
        events.iter().filter_map(|event| event["type"].as_str()).collect()
    }

    const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:rollback";

    #[test]
    fn a_try_of_a_lambda_task_has_three_events_and_nothing_follows_the_abort() {
        let failed = json!({"type": "TaskFailed", "timestamp": 1,
            "taskFailedEventDetails": {"error": "Unreachable", "cause": "why"}});
        let history = vec![
            entered("RollBack"),
            scheduled(FUNCTION),
            failed,
            scheduled("arn:aws:states:::sns:publish"),
            of_type("TaskSucceeded"),
            of_type("ExecutionAborted"),
            of_type("TaskStateExited"),
        ];
        let kept = as_aws_keeps(history, None);
        assert_eq!(
            types(&kept),
            [
                "TaskStateEntered",
                "LambdaFunctionScheduled",
                "LambdaFunctionStarted",
                "LambdaFunctionFailed",
                "TaskScheduled",
                "TaskStarted",
                "TaskSucceeded",
                "ExecutionAborted",
            ]
        );
        assert_eq!(kept[1]["lambdaFunctionScheduledEventDetails"]["resource"], FUNCTION);
        assert_eq!(kept[3]["lambdaFunctionFailedEventDetails"]["error"], "Unreachable");
        let ids: Vec<_> = kept.iter().map(|event| event["id"].as_u64()).collect();
        assert_eq!((ids[0], ids[7]), (Some(1), Some(8)));
    }

    #[test]
    fn added_tries_stand_in_the_last_visit_of_their_state_page_by_page() {
        let history = vec![
            entered("RollBack"),
            entered("CheckHealth"),
            entered("RollBack"),
            of_type("TaskStateExited"),
        ];
        let padding = Some(Padding { state: "RollBack", tries: 201 });
        let mut asked = json!({"executionArn": "e", "reverseOrder": true, "maxResults": 1000});
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let request = Asked::read(asked.to_string().as_bytes()).unwrap();
            let mut history = history.clone();
            if pages > 0 {
                // What happens later moves no page.
                history.push(of_type("ExecutionFailed"));
            }
            let page = request.page(history, padding);
            let events = page["events"].as_array().unwrap().clone();
            assert!(events.len() <= 100);
            seen.extend(events);
            pages += 1;
            match page.get("nextToken") {
                Some(token) => asked["nextToken"] = token.clone(),
                None => break,
            }
        }
        assert_eq!((seen.len(), pages), (4 + 3 * 201, 7));
        assert_eq!(seen[0]["type"], "TaskStateExited");
        assert_eq!(seen[1]["type"], "LambdaFunctionFailed");
        assert_eq!(seen[603]["type"], "LambdaFunctionScheduled");
        assert_eq!(seen[604]["stateEnteredEventDetails"]["name"], "RollBack");
        assert_eq!(seen[605]["stateEnteredEventDetails"]["name"], "CheckHealth");
        assert_eq!(seen[606]["id"], 1);
    }
}
