//! A function as Lambda runs it: a process of its own, which asks the runtime API for events.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters::runtime;
use cutover_core::Failure;
use serde_json::{Value, json};

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// The function: it gives its event back. As a test by itself it is nothing; the other one starts it with
/// the environment of a Lambda function.
#[tokio::test]
async fn echo() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        let echo = async |event: Value| Ok::<_, Failure>(event);
        runtime::serve(echo).await.expect("until it is killed");
    }
}

/// The end of an invocation: the last part of its path (`response` or `error`), and its body.
type Answer = (String, Value);

/// The runtime API: gives each event once, in their order, and hears the answers.
/// Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".
struct RuntimeApi {
    address: String,
    answers: Receiver<Answer>,
}

impl RuntimeApi {
    fn start(events: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (answered, answers) = channel();
        let events = Arc::new(Mutex::new(VecDeque::from(events)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (events, answered) = (Arc::clone(&events), answered.clone());
                let stream = stream.expect("a connection");
                std::thread::spawn(move || serve(stream, &events, &answered));
            }
        });
        Self { address, answers }
    }
}

/// Answers the requests of one connection, until the function has no more event to get, or is gone.
fn serve(stream: TcpStream, events: &Mutex<VecDeque<Vec<u8>>>, answered: &Sender<Answer>) {
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = request(&mut stream) {
        let (head, reply) = if path.ends_with("/invocation/next") {
            let Some(event) = events.lock().expect("whole").pop_front() else {
                std::thread::park();
                return;
            };
            let head = "200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\n\
                        Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
                        Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:::function:echo";
            (head, event)
        } else {
            let end = path.rsplit('/').next().unwrap_or_default().to_owned();
            let body = serde_json::from_slice(&body).expect("an answer is JSON");
            drop(answered.send((end, body)));
            ("202 Accepted", Vec::new())
        };
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", reply.len());
        if stream.get_mut().write_all(&[head.into_bytes(), reply].concat()).is_err() {
            return;
        }
    }
}

/// Path and body of the next request; `None` when there is none.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// A process that ends with its test.
struct Function(Child);

impl Function {
    fn start(api: &RuntimeApi) -> Self {
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "runtime::echo", "--nocapture"])
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "echo")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("started"))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn an_event_that_no_value_can_hold_is_invalid_input_as_any_other() {
    let nested = |depth| ["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
    let unreadable = [
        r#"{"execution_arn":"\ud800"}"#.to_owned(),
        r#"{"execution_arn":"\udc00\ud800"}"#.to_owned(),
        r#"{"input":{"new":"x","health":{"alpha":1e309}}}"#.to_owned(),
        r#"{"input":{"new":"x","health":{"alpha":-1e309}}}"#.to_owned(),
        format!("{{\"execution_arn\":{}}}", "9".repeat(400)),
        nested(200),
        nested(100_000),
        "[".repeat(200),
        // Lambda lets none of these through, but nor would they be answered otherwise.
        "{\"a\":1".to_owned(),
        "new: green".to_owned(),
        String::new(),
    ];
    let fine = json!({"new": "grün", "n": 1.5, "list": [null, true]});
    let mut events: Vec<Vec<u8>> =
        unreadable.iter().map(|event| event.clone().into_bytes()).collect();
    events.push(fine.to_string().into_bytes());
    events.push(nested(100).into_bytes());
    let api = RuntimeApi::start(events);
    let _function = Function::start(&api);
    let next = || api.answers.recv_timeout(DEADLINE).expect("an answer in time");
    for event in unreadable {
        let event: String = event.chars().take(60).collect();
        let (end, body) = next();
        assert_eq!(
            (end.as_str(), &body["errorType"]),
            ("error", &json!("InvalidInput")),
            "{event}"
        );
        let message = body["errorMessage"].as_str().expect("text");
        let cause: Value = serde_json::from_str(message).expect("JSON");
        assert_eq!(cause["problems"][0]["code"], "unreadable_event", "{event}");
        let message = cause["problems"][0]["message"].as_str().expect("text");
        assert!(message.starts_with("the event cannot be read: "), "{event}: {message}");
    }
    assert_eq!(next(), ("response".to_owned(), fine), "the function lives on");
    assert_eq!(next().0, "response");
}
