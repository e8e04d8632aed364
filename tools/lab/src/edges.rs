//! Edges: what stands between users and the weighted name. Each resolves the name from Route 53,
//! keeps the answer for its TTL, and sends all its requests there meanwhile, as CloudFront's do.
//! Few resolvers with a cached answer make the measured share lumpy. Where one load balancer serves both
//! clusters, every edge sends all its requests there.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_route53::types::{ResourceRecordSet, RrType};
use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::LabError;
use crate::world::record_sets;

/// Requests that one edge has under way at most.
const IN_FLIGHT_MAX: usize = 64;

/// How long an edge that fell behind (the machine slept) makes up for it.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Seconds for which an alias to a load balancer is answered; it carries no TTL of its own.
/// Source: Amazon Route 53 developer guide, "Choosing between alias and non-alias records".
const ALIAS_TTL_S: u64 = 60;

/// Where the load balancers' names lead on this machine.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<Mutex<HashMap<String, Leads>>>);

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    /// To whatever listens here.
    To(SocketAddr),
    /// Nowhere: no request gets an answer, and nobody counts it.
    Nowhere,
}

impl Hosts {
    /// Lets a load balancer's name lead to an origin.
    pub fn insert(&self, dns_name: &str, origin: SocketAddr) {
        self.set(dns_name, Leads::To(origin));
    }

    /// Lets no request reach a load balancer any more, as its security group can.
    pub fn cut_off(&self, dns_name: &str) {
        self.set(dns_name, Leads::Nowhere);
    }

    fn set(&self, dns_name: &str, leads: Leads) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(host_key(dns_name), leads);
    }

    fn get(&self, dns_name: &str) -> Option<Leads> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(&host_key(dns_name)).copied()
    }
}

fn host_key(dns_name: &str) -> String {
    dns_name.trim_end_matches('.').to_ascii_lowercase()
}

/// How long an edge keeps an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// For its TTL.
    Ttl,
    /// For ever: a client with a pinned address, or a resolver that ignores TTLs.
    Forever,
}

/// The traffic to make.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Makes the same choices again.
    pub seed: u64,
    /// Number of edges.
    pub edges: u8,
    /// Requests per second of all edges together.
    pub requests_per_s: f64,
    /// How long answers are kept.
    pub caching: Caching,
}

/// How edges find what serves a host name.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// By the records of a zone, as [`Dns`] has them.
    Dns(Dns),
    /// All of them are served here.
    Here(SocketAddr),
}

/// A zone on the emulator, and where the names that it leads to are.
#[derive(Clone, Debug)]
pub struct Dns {
    client: aws_sdk_route53::Client,
    zone_id: String,
    hosts: Hosts,
}

impl Dns {
    /// Resolves host names by the records of this zone.
    #[must_use]
    pub fn new(config: &SdkConfig, zone_id: &str, hosts: &Hosts) -> Self {
        let client = aws_sdk_route53::Client::new(config);
        Self { client, zone_id: zone_id.to_owned(), hosts: hosts.clone() }
    }
}

/// Starts edges that send requests to `routes`, until one fails.
pub fn spawn(
    tasks: &mut JoinSet<Result<Infallible, LabError>>,
    lookup: &Lookup,
    routes: &[String],
    traffic: &Traffic,
) {
    let mut seeds = fastrand::Rng::with_seed(traffic.seed);
    let client = http_client();
    for size in sizes(traffic.edges) {
        let edge = Edge {
            lookup: lookup.clone(),
            client: client.clone(),
            routes: routes.to_vec(),
            gap_s: 1.0 / size / traffic.requests_per_s,
            random: seeds.fork(),
            resolver: Resolver::new(traffic.caching, seeds.fork()),
        };
        tasks.spawn(edge.run());
    }
}

/// The part of all requests that each of so many edges sends. They are unequal, so that it matters which one moves.
pub(crate) fn sizes(edges: u8) -> Vec<f64> {
    let sizes: Vec<f64> = (1..=edges).map(|rank| 1.0 / f64::from(rank).sqrt()).collect();
    let total: f64 = sizes.iter().sum();
    sizes.into_iter().map(|size| size / total).collect()
}

struct Edge {
    lookup: Lookup,
    client: HttpClient,
    routes: Vec<String>,
    /// Mean seconds between two requests.
    gap_s: f64,
    random: fastrand::Rng,
    resolver: Resolver,
}

impl Edge {
    async fn run(mut self) -> Result<Infallible, LabError> {
        let mut requests = JoinSet::new();
        let mut next = Instant::now();
        loop {
            next += Duration::from_secs_f64(self.gap_s * self.random.f64() * 2.0);
            next = next.max(Instant::now().checked_sub(CATCH_UP).unwrap_or(next));
            tokio::time::sleep_until(next).await;
            let route = self.random.choice(&self.routes).cloned();
            let route = route.ok_or_else(|| LabError::traffic("there is no route"))?;
            // Who gets no answer waits for it and is not counted; others have more requests meanwhile.
            let Leads::To(origin) = self.resolve(&route).await? else { continue };
            requests.spawn(send(self.client.clone(), origin, route));
            let mut done = requests.try_join_next();
            while done.is_some() || requests.len() >= IN_FLIGHT_MAX {
                if let Some(sent) = done {
                    sent.map_err(|error| LabError::traffic(format!("a request ended: {error}")))??;
                }
                done = if requests.len() >= IN_FLIGHT_MAX {
                    requests.join_next().await
                } else {
                    requests.try_join_next()
                };
            }
        }
    }

    async fn resolve(&mut self, route: &str) -> Result<Leads, LabError> {
        let dns = match &self.lookup {
            Lookup::Here(address) => return Ok(Leads::To(*address)),
            Lookup::Dns(dns) => dns,
        };
        let kept = self.resolver.cached(route, Instant::now()).map(ToOwned::to_owned);
        let target = if let Some(target) = kept {
            target
        } else {
            let sets = record_sets(&dns.client, &dns.zone_id, Some(route)).await?;
            let answers: Vec<Answer> = sets.iter().filter_map(Answer::of).collect();
            let chosen = self.resolver.choose(route, &answers, Instant::now());
            chosen.ok_or_else(|| LabError::traffic(format!("{route} has no record")))?
        };
        dns.hosts.get(&target).ok_or_else(|| {
            LabError::traffic(format!(
                "{route} leads to {target}, which is no load balancer of the lab"
            ))
        })
    }
}

async fn send(client: HttpClient, origin: SocketAddr, route: String) -> Result<(), LabError> {
    get(&client, origin, &route).await.map(drop).map_err(|error| {
        LabError::traffic(format!("a request for {route} to {origin} failed: {error}"))
    })
}

/// A client with a pool of connections.
pub(crate) type HttpClient = Client<HttpConnector, Empty<Bytes>>;

pub(crate) fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends one request for a host name, and gives the status of the answer.
pub(crate) async fn get(
    client: &HttpClient,
    to: SocketAddr,
    host: &str,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let request =
        hyper::Request::get(format!("http://{to}/")).header(HOST, host).body(Empty::new())?;
    let response = client.request(request).await?;
    let status = response.status();
    // Read to the end, so that the connection goes back to the pool.
    response.into_body().collect().await?;
    Ok(status)
}

/// One weighted record as DNS would answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    target: String,
    weight: u32,
    ttl_s: u64,
}

impl Answer {
    /// `None` for a record that does not lead to a load balancer, and for AAAA, which goes with A.
    fn of(set: &ResourceRecordSet) -> Option<Self> {
        let target = match set.r#type {
            RrType::A => set.alias_target.as_ref().map(|alias| alias.dns_name.clone()),
            RrType::Cname => set.resource_records().first().map(|record| record.value.clone()),
            _ => None,
        };
        Some(Self {
            target: target?,
            weight: set.weight.and_then(|weight| u32::try_from(weight).ok())?,
            ttl_s: set.ttl.map_or(Some(ALIAS_TTL_S), |ttl| u64::try_from(ttl).ok())?,
        })
    }
}

/// Chooses among weighted records as Route 53 does. Weight 0 is never chosen beside a weight above
/// 0; when all are 0, each is as likely as another.
/// Source: Amazon Route 53 developer guide, "Weighted routing".
fn choose<'a>(answers: &'a [Answer], random: &mut fastrand::Rng) -> Option<&'a Answer> {
    by_weight(answers, |answer| answer.weight, random).or_else(|| random.choice(answers))
}

/// Draws one of several by their weights; none when all are 0.
pub(crate) fn by_weight<'a, T>(
    all: &'a [T],
    weight: impl Fn(&T) -> u32,
    random: &mut fastrand::Rng,
) -> Option<&'a T> {
    let sum: u32 = all.iter().map(&weight).sum();
    let mut ticket = (sum > 0).then(|| random.u32(0..sum))?;
    all.iter().find(|one| match ticket.checked_sub(weight(one)) {
        None => true,
        Some(rest) => {
            ticket = rest;
            false
        }
    })
}

/// The answers that one edge goes by, each until it expires.
struct Resolver {
    caching: Caching,
    random: fastrand::Rng,
    kept: HashMap<String, (String, Instant)>,
}

impl Resolver {
    fn new(caching: Caching, random: fastrand::Rng) -> Self {
        Self { caching, random, kept: HashMap::new() }
    }

    /// The answer that is still good.
    fn cached(&self, route: &str, now: Instant) -> Option<&str> {
        let (target, expires) = self.kept.get(route)?;
        (self.caching == Caching::Forever || now < *expires).then_some(target)
    }

    /// Chooses an answer and keeps it. The first of a route expires early, at random, so that
    /// edges started together do not all ask again together.
    fn choose(&mut self, route: &str, answers: &[Answer], now: Instant) -> Option<String> {
        let Answer { target, ttl_s, .. } = choose(answers, &mut self.random)?.clone();
        let ttl = Duration::from_secs(ttl_s);
        let first = !self.kept.contains_key(route);
        let kept_for = if first { ttl.mul_f64(self.random.f64()) } else { ttl };
        self.kept.insert(route.to_owned(), (target.clone(), now + kept_for));
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(blue: u32, green: u32) -> [Answer; 2] {
        [("blue", blue), ("green", green)].map(|(target, weight)| Answer {
            target: target.to_owned(),
            weight,
            ttl_s: 4,
        })
    }

    fn share_of_green(blue: u32, green: u32) -> f64 {
        let mut random = fastrand::Rng::with_seed(7);
        let answers = answers(blue, green);
        let chosen = (0..10_000).filter_map(|_| choose(&answers, &mut random));
        let green = chosen.filter(|answer| answer.target == "green").count();
        f64::from(u32::try_from(green).unwrap()) / 10_000.0
    }

    #[test]
    fn records_are_chosen_by_weight() {
        for (blue, green, share) in [(90, 10, 0.1), (1, 3, 0.75), (50, 50, 0.5)] {
            let got = share_of_green(blue, green);
            assert!((got - share).abs() < 0.02, "({blue}, {green}) gave {got}");
        }
    }

    #[test]
    fn weight_zero_is_a_standby_unless_all_weights_are_zero() {
        assert!(share_of_green(100, 0).abs() < f64::EPSILON);
        assert!((share_of_green(0, 1) - 1.0).abs() < f64::EPSILON);
        assert!((share_of_green(0, 0) - 0.5).abs() < 0.02);
        assert!(choose(&[], &mut fastrand::Rng::with_seed(7)).is_none());
    }

    #[test]
    fn an_answer_is_kept_for_its_ttl_and_the_first_expires_early() {
        let mut resolver = Resolver::new(Caching::Ttl, fastrand::Rng::with_seed(7));
        let start = Instant::now();
        let ttl = Duration::from_secs(4);
        assert_eq!(resolver.choose("chat", &answers(1, 0), start), Some("blue".to_owned()));
        assert_eq!(resolver.cached("chat", start + ttl), None, "at the latest after its TTL");
        let later = start + ttl;
        assert_eq!(resolver.choose("chat", &answers(0, 1), later), Some("green".to_owned()));
        let almost = ttl.saturating_sub(Duration::from_millis(1));
        assert_eq!(resolver.cached("chat", later + almost), Some("green"));
        assert_eq!(resolver.cached("chat", later + ttl), None);
        assert_eq!(resolver.cached("api", later), None, "names are kept apart");
    }

    #[test]
    fn a_name_leads_to_its_origin_until_it_is_cut_off() {
        let (hosts, origin) = (Hosts::default(), SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!(hosts.get("lb.example.com"), None);
        hosts.insert("LB.example.com.", origin);
        assert_eq!(hosts.get("lb.example.com"), Some(Leads::To(origin)));
        hosts.cut_off("lb.example.com");
        assert_eq!(hosts.get("lb.example.com"), Some(Leads::Nowhere));
    }

    #[test]
    fn a_stale_edge_never_asks_again() {
        let mut resolver = Resolver::new(Caching::Forever, fastrand::Rng::with_seed(7));
        let start = Instant::now();
        resolver.choose("chat", &answers(1, 0), start);
        assert_eq!(resolver.cached("chat", start + Duration::from_secs(9_999)), Some("blue"));
    }
}
