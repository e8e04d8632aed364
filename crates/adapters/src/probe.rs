//! Requests of cutover's own to both sides of a route, with its host name in TLS and in the Host header, before any
//! user is sent to the new one.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cutover_core::{Answered, Facts, Failure, Found, Probe, Probed, RouteId, Side};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Longest time of one request, in all its parts.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(3);
/// Longest time of all probes; the routes that are left then are out of reach.
const ALL_WAIT_MAX: Duration = Duration::from_secs(90);

/// Asks load balancers as a user's client would.
#[derive(Clone, Debug)]
pub struct Prober {
    tls: Arc<ClientConfig>,
}

/// Where one side listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The name or address to connect to.
    pub server: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Prober {
    /// One that trusts the system's root certificates, as the clients of AWS do.
    ///
    /// # Errors
    /// `Internal` when the system has none.
    pub fn with_system_roots() -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let message = "the system has no root certificate, so that no probe can be verified";
            return Err(Failure::Internal(message.to_owned()));
        }
        Self::with_roots(roots)
    }

    /// One that trusts these root certificates.
    ///
    /// # Errors
    /// `Internal` when TLS cannot be set up.
    pub fn with_roots(roots: RootCertStore) -> Result<Self, Failure> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Internal(format!("TLS for probes: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }

    /// Probes both sides of each route, one route after the other.
    pub async fn probe(&self, probe: &Probe, routes: &[Found], facts: &Facts) -> Vec<Probed> {
        let begin = Instant::now();
        let mut probed = Vec::new();
        for found in routes {
            let side = async |side: Side| match at(found, side, facts) {
                Some(_) if begin.elapsed() > ALL_WAIT_MAX => {
                    let seconds = ALL_WAIT_MAX.as_secs();
                    Answered::OutOfReach(format!("the probes of all routes take over {seconds} s"))
                }
                Some(at) => self.ask(probe, &at, &found.route).await,
                None => Answered::OutOfReach("it has no name of its own".to_owned()),
            };
            let (old, new) = tokio::join!(side(Side::Old), side(Side::New));
            probed.push(Probed { route: found.route.clone(), old, new });
        }
        probed
    }

    /// Sends the requests of one side, until one fails.
    pub async fn ask(&self, probe: &Probe, at: &At, route: &RouteId) -> Answered {
        // No server has the name of a wildcard.
        let host = route.as_str().replace('*', "cutover-probe");
        let mut answers = Vec::new();
        for _ in 0..probe.count {
            let begin = Instant::now();
            let one = tokio::time::timeout(REQUEST_WAIT_MAX, self.one(probe, at, &host)).await;
            let seconds = REQUEST_WAIT_MAX.as_secs();
            match one {
                Ok(Ok(status)) => {
                    let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                    answers.push((status, ms));
                }
                Ok(Err(failed)) => return failed,
                Err(_) if answers.is_empty() => {
                    return Answered::OutOfReach(format!("no answer within {seconds} s"));
                }
                Err(_) => return Answered::Badly(format!("no answer within {seconds} s")),
            }
        }
        Answered::Statuses(answers)
    }

    async fn one(&self, probe: &Probe, at: &At, host: &str) -> Result<u16, Answered> {
        let out_of_reach = |error: std::io::Error| Answered::OutOfReach(error.to_string());
        let stream = TcpStream::connect((at.server.as_str(), at.port)).await;
        let stream = stream.map_err(out_of_reach)?;
        if !at.tls {
            return exchange(stream, host, &probe.path).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(badly)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await.map_err(badly)?;
        exchange(stream, host, &probe.path).await
    }
}

fn badly(error: impl Display) -> Answered {
    Answered::Badly(error.to_string())
}

/// Sends one request on a connection and gives the status of its answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> Result<u16, Answered> {
    let request = hyper::Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "cutover-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(badly)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(badly)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // Its end does not come before the answer has been handed over, if there is one.
        _ = &mut connection => answer.await,
    };
    Ok(answer.map_err(badly)?.status().as_u16())
}

/// Where a side of a route is probed: by TLS, unless its old side is known to listen for plain requests alone.
fn at(found: &Found, side: Side, facts: &Facts) -> Option<At> {
    let server = found.endpoint(side).id.clone();
    let doors = facts.entrance(&found.old.id, &found.route).map(|entrance| &entrance.doors);
    let is_plain = doors.is_some_and(|doors| {
        !doors.is_empty() && !doors.keys().any(|door| door.ends_with(" HTTPS"))
    });
    let is_name = !server.contains(':');
    is_name.then_some(At { server, port: if is_plain { 80 } else { 443 }, tls: !is_plain })
}
