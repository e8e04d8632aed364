//! What a function meets at its start, with the times: the runtime API that gives it one event, and an
//! AWS that has one canned reply to each call.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What happened.
pub enum Seen {
    /// The function asks for an event.
    Poll,
    /// AWS has sent an answer, to its last byte.
    Answer,
    /// The function has answered its event, be it with a failure: its refusal of a request is an answer. With
    /// the failure, if it is one.
    Response(Option<String>),
    /// A stub was asked something that it does not know.
    Broken(String),
}

pub type Log = UnboundedSender<(Seen, Instant)>;

/// Nobody listens once the run is over.
fn note(log: &Log, seen: Seen) {
    drop(log.send((seen, Instant::now())));
}

/// A free port of 127.0.0.1.
pub async fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Serves every connection until the future is dropped.
async fn serve<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // A reply of two writes would wait for the caller's delayed acknowledgement.
        drop(stream.set_nodelay(true));
        connections.spawn(connection(stream));
    }
}

/// The runtime API: gives `event` once, and lets the second poll wait.
/// Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".
pub async fn serve_runtime(listener: TcpListener, event: Bytes, log: Log) {
    let given = std::sync::Arc::new(AtomicBool::new(false));
    serve(listener, |stream| {
        let (event, log, given) = (event.clone(), log.clone(), given.clone());
        async move {
            let service = service_fn(|request| runtime(request, &event, &given, &log));
            let http = hyper::server::conn::http1::Builder::new();
            // Its error is a caller that has gone: the end of a run.
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        }
    })
    .await;
}

async fn runtime(
    request: Request<Incoming>,
    event: &Bytes,
    given: &AtomicBool,
    log: &Log,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut reply = Response::builder();
    let mut body = Bytes::new();
    if path.ends_with("/invocation/next") {
        note(log, Seen::Poll);
        if given.swap(true, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        reply = reply
            .header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:::function:bench");
        body = event.clone();
    } else {
        let posted = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let posted = posted.unwrap_or_default();
        if path.contains("/invocation/") {
            let failed = path.ends_with("/error");
            let failure = failed.then(|| String::from_utf8_lossy(&posted).into_owned());
            note(log, Seen::Response(failure));
        } else {
            note(log, Seen::Broken(format!("{path}: {}", String::from_utf8_lossy(&posted))));
        }
        reply = reply.status(StatusCode::ACCEPTED);
    }
    Ok(reply.body(Full::new(body)).unwrap_or_default())
}

/// AWS over https. By hand and not by hyper, which does not tell when a reply has left.
pub async fn serve_aws(listener: TcpListener, tls: TlsAcceptor, log: Log) {
    serve(listener, |stream| {
        let (tls, log) = (tls.clone(), log.clone());
        async move {
            let answered = async {
                let mut stream = BufReader::new(tls.accept(stream).await?);
                while let Some(call) = read_call(&mut stream).await? {
                    let Some(reply) = reply(&call) else {
                        note(&log, Seen::Broken(format!("no reply to the call {call}")));
                        break;
                    };
                    stream.write_all(&reply).await?;
                    stream.flush().await?;
                    note(&log, Seen::Answer);
                }
                Ok::<_, io::Error>(())
            };
            // A caller that is killed at the end of its run breaks off, and has answered by then.
            if let Err(error) = answered.await
                && error.kind() == io::ErrorKind::InvalidData
            {
                note(&log, Seen::Broken(format!("TLS failed: {error}")));
            }
        }
    })
    .await;
}

/// Head and body of the next request; `None` when the caller has closed the connection.
async fn read_call(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut call = String::new();
    let mut length = 0;
    loop {
        let start = call.len();
        if stream.read_line(&mut call).await? == 0 {
            return Ok(None);
        }
        let line = call.get(start..).unwrap_or_default().trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    call.push_str(&String::from_utf8_lossy(&body));
    Ok(Some(call))
}

const XML: &str = "Content-Type: text/xml";

/// What a call has in it, the headers of its reply, and the body.
type Reply = (&'static str, &'static str, fn() -> Vec<u8>);

/// The reply to a call, found by what is in that call alone.
fn reply(call: &str) -> Option<Vec<u8>> {
    let replies: [Reply; 5] = [
        ("/rrset?", XML, records),
        ("Action=DescribeLoadBalancers&", XML, load_balancers),
        ("Action=DescribeTargetGroups&", XML, target_groups),
        ("AmazonSSM.GetParameter", "Content-Type: application/x-amz-json-1.1", parameter),
        (
            "/operation/GetMetricData",
            "Content-Type: application/cbor\r\nsmithy-protocol: rpc-v2-cbor",
            metrics,
        ),
    ];
    let (_, headers, body) = replies.into_iter().find(|(text, _, _)| call.contains(text))?;
    let body = body();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {length}\r\n\r\n");
    Some([head.into_bytes(), body].concat())
}

/// Two routes, nine of ten requests on the old side: what the sample events expect.
fn records() -> Vec<u8> {
    let set = |route: &str, kind: &str, side: &str, weight: u8| {
        format!(
            "<ResourceRecordSet><Name>{route}.example.com.</Name><Type>{kind}</Type>\
             <SetIdentifier>{side}</SetIdentifier><Weight>{weight}</Weight><AliasTarget>\
             <HostedZoneId>Z215JYRZR1TBD5</HostedZoneId><DNSName>k8s-{side}-1234567890.\
             eu-central-1.elb.amazonaws.com.</DNSName><EvaluateTargetHealth>true\
             </EvaluateTargetHealth></AliasTarget></ResourceRecordSet>"
        )
    };
    let mut all = Vec::new();
    for route in ["api", "chat"] {
        for kind in ["A", "AAAA"] {
            all.extend([set(route, kind, "blue", 90), set(route, kind, "green", 10)]);
        }
    }
    let sets = all.concat();
    format!(
        "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse \
         xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ResourceRecordSets>{sets}\
         </ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>\
         </ListResourceRecordSetsResponse>"
    )
    .into_bytes()
}

fn load_balancers() -> Vec<u8> {
    elb(
        "DescribeLoadBalancers",
        "<LoadBalancers><member><LoadBalancerArn>arn:aws:elasticloadbalancing:eu-central-1:\
         123456789012:loadbalancer/app/k8s-blue/50dc6c495c0c9188</LoadBalancerArn><DNSName>\
         k8s-blue-1234567890.eu-central-1.elb.amazonaws.com</DNSName><CanonicalHostedZoneId>\
         Z215JYRZR1TBD5</CanonicalHostedZoneId><CreatedTime>2026-01-12T08:14:03.190Z\
         </CreatedTime><LoadBalancerName>k8s-blue</LoadBalancerName><Scheme>internet-facing\
         </Scheme><VpcId>vpc-3ac0fb5f</VpcId><State><Code>active</Code></State><Type>application\
         </Type><IpAddressType>dualstack</IpAddressType></member></LoadBalancers>",
    )
}

fn target_groups() -> Vec<u8> {
    elb("DescribeTargetGroups", "<TargetGroups/>")
}

fn elb(action: &str, result: &str) -> Vec<u8> {
    format!(
        "<{action}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
         <{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>\
         6581c0ac-f39f-11e5-bb98-57195a6eb84a</RequestId></ResponseMetadata></{action}Response>"
    )
    .into_bytes()
}

fn parameter() -> Vec<u8> {
    let parameter = serde_json::json!({"Parameter": {
        "ARN": "arn:aws:ssm:eu-central-1:123456789012:parameter/cutover/defaults",
        "DataType": "text", "LastModifiedDate": 1.773_739_800e9, "Name": "/cutover/defaults",
        "Type": "String", "Value": "{}", "Version": 1}});
    parameter.to_string().into_bytes()
}

/// `{"MetricDataResults": []}`: nothing was counted.
/// Source: RFC 8949, section 3: a map of one entry, a text of 17 bytes, an empty array.
fn metrics() -> Vec<u8> {
    [b"\xa1\x71".as_slice(), b"MetricDataResults", b"\x80"].concat()
}
