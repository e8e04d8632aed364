//! Stands between the functions and AWS: counts their calls, and disturbs those that a rule names.
//!
//! Retries, lost replies and refusals are what a cutover must survive, and the emulator itself
//! never throttles or loses anything.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::LabError;
use crate::history::{Asked, Padding};

const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// What a rule does to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answers with this error in the service's own format; the service never sees the call.
    Refuse {
        /// HTTP status; of 500 and more the service is to blame, else the caller.
        status: u16,
        /// Error code, as `Throttling`.
        code: &'static str,
    },
    /// Cuts the connection; the service never sees the call.
    DropRequest,
    /// Lets the service act, then cuts the connection without its answer.
    DropReply,
    /// Answers with this, whatever the service's format is; the service never sees the call.
    Reply {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: &'static str,
    },
    /// Lets the service act, then answers with this instead of its answer.
    ReplaceReply {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: &'static str,
    },
    /// Lets the service act, and writes one text for another in its answer: what AWS says and the emulator does not.
    Reword {
        /// What the answer says.
        text: &'static str,
        /// What it shall say instead.
        by: &'static str,
    },
    /// Lets the service act, and passes on the first half of its answer as if that were all of it.
    HalveReply,
    /// Forwards the call this much later.
    Delay(Duration),
    /// Cuts the connection at once, and lets the service act this much later: the caller has long
    /// gone, or tried again, when AWS carries the call out.
    Late(Duration),
    /// Adds failed tries to an execution's history, three events each, in the last visit of a state.
    /// Only for `GetExecutionHistory`; other calls pass.
    PadHistory {
        /// Name of a Task state.
        state: &'static str,
        /// Number of tries.
        tries: u32,
    },
}

/// Which calls to disturb, how, and how often.
#[derive(Debug, Clone)]
pub struct Rule {
    action: Option<String>,
    text: String,
    times: u32,
    effect: Effect,
}

impl Rule {
    /// Disturbs every call of an action, as `ChangeResourceRecordSets`.
    #[must_use]
    pub fn on(action: &str, effect: Effect) -> Self {
        Self { action: Some(action.to_owned()), text: String::new(), times: u32::MAX, effect }
    }

    /// Disturbs every call.
    #[must_use]
    pub fn on_every_call(effect: Effect) -> Self {
        Self { action: None, text: String::new(), times: u32::MAX, effect }
    }

    /// Only calls with this text in their path, query or body, so that a test can disturb its own
    /// host names or load balancers while others run. Form bodies are percent-encoded.
    #[must_use]
    pub fn containing(self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self }
    }

    /// Only the first `times` such calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn matches(&self, call: &Call) -> bool {
        self.action.as_ref().is_none_or(|action| *action == call.action)
            && call.contains(&self.text)
    }
}

/// Keeps a rule in force; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the rule ends when its handle is dropped"]
pub struct RuleHandle {
    id: u64,
    state: Arc<State>,
}

impl RuleHandle {
    /// How many calls the rule has disturbed so far.
    #[must_use]
    pub fn hits(&self) -> u32 {
        let book = self.state.book();
        book.rules.iter().find(|rule| rule.id == self.id).map_or(0, |rule| rule.hits)
    }

    /// What the service has answered to the calls that [`Effect::Late`] forwarded so far: status and
    /// body.
    #[must_use]
    pub fn late_answers(&self) -> Vec<(u16, String)> {
        let book = self.state.book();
        let rule = book.rules.iter().find(|rule| rule.id == self.id);
        rule.map_or_else(Vec::new, |rule| rule.late_answers.clone())
    }
}

impl Drop for RuleHandle {
    fn drop(&mut self) {
        self.state.book().rules.retain(|rule| rule.id != self.id);
    }
}

/// Number of calls by (service, action); services by the name they sign with, as `monitoring`.
pub type Calls = BTreeMap<(String, String), u64>;

/// A running proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    endpoint: String,
    state: Arc<State>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy for `upstream`, as `http://127.0.0.1:4566`.
    ///
    /// It runs in a thread of its own, because tests share it and each has its own async runtime.
    ///
    /// # Errors
    /// `Io` when it cannot listen or run, `Aws` when `upstream` is no URL.
    pub fn start(upstream: &str) -> Result<Self, LabError> {
        let cannot = |error| LabError::io("start the proxy", error);
        let uri: Uri = upstream.parse().map_err(|error| LabError::aws("start the proxy", error))?;
        let authority = uri.into_parts().authority;
        let upstream = authority.ok_or_else(|| cannot(std::io::ErrorKind::InvalidInput.into()))?;

        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(cannot)?);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let listener = {
            let _in_runtime = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(cannot)?
        };

        let state = Arc::new(State { upstream, book: Mutex::default() });
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let served = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("lab-proxy".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, served) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(cannot)?;
        Ok(Self { endpoint, state, stop: Some(stop), thread: Some(thread) })
    }

    /// The URL to give to those whose calls shall pass through here.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Puts a rule in force until its handle is dropped. The oldest rule that matches a call and is
    /// not used up is applied, and only that.
    pub fn rule(&self, rule: Rule) -> RuleHandle {
        let mut book = self.state.book();
        book.last_id += 1;
        let id = book.last_id;
        book.rules.push(RuleInForce { id, hits: 0, late_answers: Vec::new(), rule });
        RuleHandle { id, state: Arc::clone(&self.state) }
    }

    /// Counts the calls since the start, refused and dropped ones included.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.calls_containing("")
    }

    /// Counts the calls since the start with this text in their path, query or body.
    #[must_use]
    pub fn calls_containing(&self, text: &str) -> Calls {
        let mut calls = Calls::new();
        for call in self.state.book().calls.iter().filter(|call| call.contains(text)) {
            *calls.entry((call.service.clone(), call.action.clone())).or_default() += 1;
        }
        calls
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic in the thread has been printed by the thread itself.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[derive(Debug)]
struct State {
    upstream: Authority,
    book: Mutex<Book>,
}

/// Rules and calls. Calls are kept whole for the life of the proxy, which is that of a test run.
#[derive(Debug, Default)]
struct Book {
    last_id: u64,
    rules: Vec<RuleInForce>,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct RuleInForce {
    id: u64,
    hits: u32,
    late_answers: Vec<(u16, String)>,
    rule: Rule,
}

impl State {
    /// The book, whole even if a thread panicked with it: every change to it is a single step.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call and finds what shall happen to it, and by which rule.
    fn admit(&self, call: Call) -> Option<(u64, Effect)> {
        let mut book = self.book();
        let rule = book
            .rules
            .iter_mut()
            .find(|active| active.hits < active.rule.times && active.rule.matches(&call));
        let effect = rule.map(|active| {
            active.hits += 1;
            (active.id, active.rule.effect.clone())
        });
        book.calls.push(call);
        effect
    }

    /// Notes what became of a call that a rule held back.
    fn answered_late(&self, rule: u64, answer: (u16, String)) {
        let mut book = self.book();
        if let Some(active) = book.rules.iter_mut().find(|active| active.id == rule) {
            active.late_answers.push(answer);
        }
    }
}

/// A call as it came in.
#[derive(Debug)]
struct Call {
    service: String,
    action: String,
    path: String,
    body: Bytes,
}

impl Call {
    fn new(head: &Parts, body: &Bytes) -> Self {
        let path = head.uri.path_and_query().map_or("", PathAndQuery::as_str).to_owned();
        Self { service: service(head), action: action(head, body), path, body: body.clone() }
    }

    fn contains(&self, text: &str) -> bool {
        text.is_empty()
            || self.path.contains(text)
            || self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// The service's name from the scope of the signature,
/// `Credential=<key>/<date>/<region>/<service>/aws4_request`.
fn service(head: &Parts) -> String {
    let scope = header(&head.headers, "authorization")
        .and_then(|text| text.split_once("Credential="))
        .and_then(|(_, scope)| scope.split('/').nth(3));
    scope.unwrap_or("unsigned").to_owned()
}

/// The action's name, for each protocol where that protocol has it.
fn action(head: &Parts, body: &[u8]) -> String {
    let json = || header(&head.headers, "x-amz-target")?.rsplit('.').next().map(str::to_owned);
    let cbor = || Some(head.uri.path().split_once("/operation/")?.1.to_owned());
    let query = || {
        let form = std::str::from_utf8(body).ok()?;
        let mut fields = form.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(name, _)| *name == "Action").map(|(_, action)| action.to_owned())
    };
    let unknown = || format!("{} {}", head.method, head.uri.path());
    json().or_else(cbor).or_else(|| route53_action(head)).or_else(query).unwrap_or_else(unknown)
}

/// Source: the `http` traits of the Route 53 API model, version 2013-04-01.
fn route53_action(head: &Parts) -> Option<String> {
    let path = head.uri.path().strip_prefix("/2013-04-01/")?;
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let action = match (head.method.as_str(), path.as_slice()) {
        ("POST", ["hostedzone", _, "rrset"]) => "ChangeResourceRecordSets",
        ("GET", ["hostedzone", _, "rrset"]) => "ListResourceRecordSets",
        ("GET", ["change", _]) => "GetChange",
        ("GET", ["hostedzonesbyname"]) => "ListHostedZonesByName",
        ("GET", ["hostedzone"]) => "ListHostedZones",
        ("GET", ["hostedzone", _]) => "GetHostedZone",
        _ => return None,
    };
    Some(action.to_owned())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Why a connection is cut: hyper closes it when the service fails.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("a rule says so")]
    Rule,
    #[error("the caller went away: {0}")]
    Caller(hyper::Error),
}

type Upstream = Client<HttpConnector, Full<Bytes>>;
type Reply = Response<Full<Bytes>>;

/// Accepts connections until the future is dropped, which drops them too.
async fn serve(listener: tokio::net::TcpListener, state: Arc<State>) {
    let client: Upstream = Client::builder(TokioExecutor::new()).build_http();
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The caller went away, or all file descriptors are taken until some call ends.
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let (state, client) = (Arc::clone(&state), client.clone());
        connections.spawn(async move {
            let service = service_fn(|request| handle(&state, &client, request));
            let http = hyper::server::conn::http1::Builder::new();
            // Its error is a cut, or a caller who went away: nothing to do about either.
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn handle(
    state: &Arc<State>,
    client: &Upstream,
    request: Request<Incoming>,
) -> Result<Reply, Cut> {
    let (head, sent) = request.into_parts();
    let sent = sent.collect().await.map_err(Cut::Caller)?.to_bytes();
    let Some((rule, effect)) = state.admit(Call::new(&head, &sent)) else {
        return Ok(pass(state, client, head, sent, None).await);
    };
    match effect {
        Effect::Delay(delay) => {
            tokio::time::sleep(delay).await;
            Ok(pass(state, client, head, sent, None).await)
        }
        Effect::Refuse { status, code } => Ok(refusal(&head, status, code)),
        Effect::Reply { status, body } => Ok(reply(status, body.into())),
        Effect::ReplaceReply { status, body } => {
            drop(pass(state, client, head, sent, None).await);
            Ok(reply(status, body.into()))
        }
        Effect::Reword { text, by } => {
            let (mut head, body) = whole(pass(state, client, head, sent, None).await).await;
            head.headers.remove(CONTENT_LENGTH);
            let body = String::from_utf8_lossy(&body).replace(text, by);
            Ok(Response::from_parts(head, Full::new(body.into())))
        }
        Effect::HalveReply => {
            let (mut head, body) = whole(pass(state, client, head, sent, None).await).await;
            head.headers.remove(CONTENT_LENGTH);
            let half = body.slice(..body.len() / 2);
            Ok(Response::from_parts(head, Full::new(half)))
        }
        Effect::DropRequest => Err(Cut::Rule),
        Effect::DropReply => {
            drop(pass(state, client, head, sent, None).await);
            Err(Cut::Rule)
        }
        Effect::Late(delay) => {
            let (state, client) = (Arc::clone(state), client.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let (head, body) = whole(forward(&state, &client, head, sent).await).await;
                let body = String::from_utf8_lossy(&body).into_owned();
                state.answered_late(rule, (head.status.as_u16(), body));
            });
            Err(Cut::Rule)
        }
        Effect::PadHistory { state: visited, tries } => {
            let padding = Padding { state: visited, tries };
            Ok(pass(state, client, head, sent, Some(padding)).await)
        }
    }
}

/// Passes a call on, and its answer back. Histories are shown as AWS keeps them.
async fn pass(
    state: &State,
    client: &Upstream,
    head: Parts,
    body: Bytes,
    padding: Option<Padding>,
) -> Reply {
    let asked = (action(&head, &body) == "GetExecutionHistory").then(|| Asked::read(&body));
    let Some(asked) = asked.flatten() else {
        return forward(state, client, head, body).await;
    };
    let mut events: Vec<Value> = Vec::new();
    let mut token = None;
    loop {
        let request = Bytes::from(asked.upstream(token.as_ref()));
        let (answer, body) = whole(forward(state, client, head.clone(), request).await).await;
        let page: Value = serde_json::from_slice(&body).unwrap_or_default();
        let Some(more) = page.get("events").and_then(Value::as_array) else {
            return Response::from_parts(answer, Full::new(body));
        };
        events.extend(more.iter().cloned());
        token = page.get("nextToken").cloned();
        if token.is_none() {
            let page = asked.page(events, padding).to_string();
            return Response::from_parts(answer, Full::new(Bytes::from(page)));
        }
    }
}

/// Head and body of a reply.
async fn whole(reply: Reply) -> (hyper::http::response::Parts, Bytes) {
    let (head, body) = reply.into_parts();
    match body.collect().await {
        Ok(body) => (head, body.to_bytes()),
        Err(never) => match never {},
    }
}

/// Passes a call on as it is, `Host` included, and its answer back. An upstream that cannot be
/// reached is a 502, as any gateway answers.
async fn forward(state: &State, client: &Upstream, mut head: Parts, body: Bytes) -> Reply {
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(state.upstream.clone());
    head.uri = match Uri::from_parts(uri) {
        Ok(uri) => uri,
        Err(error) => return gateway_error(&error.to_string()),
    };
    remove_hop_headers(&mut head.headers);
    let answer = match client.request(Request::from_parts(head, Full::new(body))).await {
        Ok(answer) => answer,
        Err(error) => return gateway_error(&error.to_string()),
    };
    let (mut head, body) = answer.into_parts();
    remove_hop_headers(&mut head.headers);
    match body.collect().await {
        Ok(body) => Response::from_parts(head, Full::new(body.to_bytes())),
        Err(error) => gateway_error(&error.to_string()),
    }
}

/// Those headers that speak of one connection only; the bodies are whole here and get their own.
fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, EXPECT, CONTENT_LENGTH] {
        headers.remove(name);
    }
}

fn gateway_error(reason: &str) -> Reply {
    reply(StatusCode::BAD_GATEWAY.as_u16(), reason.to_owned().into())
}

/// An answer without headers; one whose status is none is a 400.
fn reply(status: u16, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    reply
}

/// An error answer that the SDK of the service understands.
fn refusal(head: &Parts, status: u16, code: &str) -> Reply {
    const MESSAGE: &str = "Refused by a rule of the lab's proxy";
    let fault = if status >= 500 { "Receiver" } else { "Sender" };
    let (content_type, body) = if head.headers.contains_key("smithy-protocol") {
        let mut body = vec![0xa2];
        for text in ["__type", code, "message", MESSAGE] {
            cbor_text(text, &mut body);
        }
        ("application/cbor", body)
    } else if head.headers.contains_key("x-amz-target") {
        let json = serde_json::json!({ "__type": code, "message": MESSAGE });
        ("application/x-amz-json-1.1", json.to_string().into_bytes())
    } else {
        let xml = format!(
            "<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{MESSAGE}\
             </Message></Error><RequestId>lab</RequestId></ErrorResponse>"
        );
        ("text/xml", xml.into_bytes())
    };
    let mut reply = reply(status, body.into());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(protocol) = head.headers.get("smithy-protocol") {
        let name = HeaderName::from_static("smithy-protocol");
        reply.headers_mut().insert(name, protocol.clone());
    }
    reply
}

/// A text string of up to 65,535 bytes, with its length in two bytes even where one would do.
/// Source: RFC 8949, section 3, major type 3.
fn cbor_text(text: &str, out: &mut Vec<u8>) {
    out.push(0x79);
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use aws_config::SdkConfig;
    use aws_config::retry::RetryConfig;
    use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};

    use super::*;
    use crate::aws::sdk_config;

    const THROTTLED: Effect = Effect::Refuse { status: 400, code: "Throttling" };

    /// A proxy that answers every call itself: no upstream is needed.
    fn refusing() -> (Proxy, RuleHandle) {
        let proxy = Proxy::start("http://127.0.0.1:1").unwrap();
        let rule = proxy.rule(Rule::on_every_call(THROTTLED));
        (proxy, rule)
    }

    fn once(proxy: &Proxy) -> SdkConfig {
        sdk_config(proxy.endpoint()).to_builder().retry_config(RetryConfig::disabled()).build()
    }

    fn code<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> Option<String> {
        result.err()?.as_service_error()?.code().map(str::to_owned)
    }

    #[tokio::test]
    async fn a_refusal_is_understood_by_the_client_of_every_protocol() {
        let (proxy, rule) = refusing();
        let config = once(&proxy);
        let throttling = Some("Throttling".to_owned());
        let route53 = aws_sdk_route53::Client::new(&config);
        assert_eq!(code(route53.get_change().id("C1").send().await), throttling);
        let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
        assert_eq!(code(cloudwatch.describe_alarms().send().await), throttling);
        let elb = aws_sdk_elasticloadbalancingv2::Client::new(&config);
        assert_eq!(code(elb.describe_load_balancers().send().await), throttling);
        let ssm = aws_sdk_ssm::Client::new(&config);
        assert_eq!(code(ssm.get_parameter().name("/a").send().await), throttling);
        let sfn = aws_sdk_sfn::Client::new(&config);
        assert_eq!(code(sfn.describe_execution().execution_arn("e").send().await), throttling);

        let calls = [
            ("elasticloadbalancing", "DescribeLoadBalancers"),
            ("monitoring", "DescribeAlarms"),
            ("route53", "GetChange"),
            ("ssm", "GetParameter"),
            ("states", "DescribeExecution"),
        ];
        let calls = calls.map(|(service, action)| ((service.to_owned(), action.to_owned()), 1));
        assert_eq!(proxy.calls(), Calls::from(calls));
        assert_eq!(rule.hits(), 5);
    }

    #[tokio::test]
    async fn a_rule_holds_for_its_action_text_and_times_until_its_handle_is_dropped() {
        let (proxy, _answer) = refusing();
        // The rule for every call is older, and answers first.
        let front = Proxy::start(proxy.endpoint()).unwrap();
        let rule = front.rule(
            Rule::on("GetParameter", Effect::Refuse { status: 500, code: "InternalServerError" })
                .containing("/mine")
                .times(1),
        );
        let ssm = aws_sdk_ssm::Client::new(&once(&front));
        let get = async |name| code(ssm.get_parameter().name(name).send().await).unwrap();
        assert_eq!(get("/other").await, "Throttling");
        assert_eq!(get("/mine").await, "InternalServerError");
        assert_eq!(get("/mine").await, "Throttling");
        assert_eq!(rule.hits(), 1);

        let forever = front.rule(Rule::on("GetParameter", Effect::DropRequest));
        assert!(
            ssm.get_parameter().name("/a").send().await.unwrap_err().as_service_error().is_none()
        );
        drop(forever);
        assert_eq!(get("/a").await, "Throttling");
        assert_eq!(front.calls_containing("/mine").values().sum::<u64>(), 2);
    }

    #[tokio::test]
    async fn a_dropped_reply_has_reached_the_service_and_a_dropped_request_has_not() {
        let (service, _answer) = refusing();
        let proxy = Proxy::start(service.endpoint()).unwrap();
        let route53 = aws_sdk_route53::Client::new(&once(&proxy));
        for (effect, reached) in [(Effect::DropRequest, 0), (Effect::DropReply, 1)] {
            let rule = proxy.rule(Rule::on("GetChange", effect).containing("C1"));
            let error = route53.get_change().id("C1").send().await.unwrap_err();
            assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
            assert_eq!(rule.hits(), 1);
            assert_eq!(service.calls().values().sum::<u64>(), reached);
        }
    }

    #[tokio::test]
    async fn a_reply_is_replaced_reworded_or_halved_before_or_after_the_service_has_acted() {
        let (service, _answer) = refusing();
        let proxy = Proxy::start(service.endpoint()).unwrap();
        let ssm = aws_sdk_ssm::Client::new(&once(&proxy));
        let whole = r#"{"__type":"Throttling","message":"Refused by a rule of the lab's proxy"}"#;
        let reworded = whole.replace("Refused", "Mended");
        for (effect, reached, status, body) in [
            (Effect::Reply { status: 200, body: "<html>busy" }, 0, 200, "<html>busy"),
            (Effect::ReplaceReply { status: 403, body: "" }, 1, 403, ""),
            (Effect::HalveReply, 2, 400, &whole[..whole.len() / 2]),
            (Effect::Reword { text: "Refused", by: "Mended" }, 3, 400, &reworded),
        ] {
            let _rule = proxy.rule(Rule::on("GetParameter", effect));
            let error = ssm.get_parameter().name("/a").send().await.unwrap_err();
            let reply = error.raw_response().unwrap();
            assert_eq!(reply.status().as_u16(), status);
            assert_eq!(reply.body().bytes(), Some(body.as_bytes()));
            assert_eq!(service.calls().values().sum::<u64>(), reached);
        }
    }

    #[tokio::test]
    async fn a_delayed_call_arrives_later() {
        let (service, _answer) = refusing();
        let proxy = Proxy::start(service.endpoint()).unwrap();
        let delay = Duration::from_millis(200);
        let _rule = proxy.rule(Rule::on("GetChange", Effect::Delay(delay)));
        let start = Instant::now();
        let route53 = aws_sdk_route53::Client::new(&once(&proxy));
        assert_eq!(code(route53.get_change().id("C1").send().await), Some("Throttling".to_owned()));
        assert!(start.elapsed() >= delay);
    }

    #[tokio::test]
    async fn a_late_call_arrives_after_its_caller_has_given_up() {
        let (service, _answer) = refusing();
        let proxy = Proxy::start(service.endpoint()).unwrap();
        let delay = Duration::from_millis(300);
        let rule = proxy.rule(Rule::on("GetChange", Effect::Late(delay)));
        let start = Instant::now();
        let route53 = aws_sdk_route53::Client::new(&once(&proxy));
        let error = route53.get_change().id("C1").send().await.unwrap_err();
        assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
        assert_eq!((service.calls().len(), rule.late_answers().len()), (0, 0));
        while rule.late_answers().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "it never arrived");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(start.elapsed() >= delay);
        assert_eq!(service.calls().values().sum::<u64>(), 1);
        let answers = rule.late_answers();
        assert_eq!(answers[0].0, 400);
        assert!(answers[0].1.contains("Throttling"), "{answers:?}");
    }

    #[test]
    fn names_the_actions_of_route_53() {
        let action = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            super::action(&request.into_parts().0, b"")
        };
        let zone = "/2013-04-01/hostedzone/Z1";
        assert_eq!(action("POST", &format!("{zone}/rrset/")), "ChangeResourceRecordSets");
        assert_eq!(action("GET", &format!("{zone}/rrset?name=a")), "ListResourceRecordSets");
        assert_eq!(action("GET", zone), "GetHostedZone");
        assert_eq!(
            action("GET", "/2013-04-01/hostedzonesbyname?dnsname=a"),
            "ListHostedZonesByName"
        );
        assert_eq!(action("GET", "/2013-04-01/hostedzone"), "ListHostedZones");
        assert_eq!(action("DELETE", zone), "DELETE /2013-04-01/hostedzone/Z1");
    }
}
