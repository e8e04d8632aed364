//! The load balancer's own part, on loopback: an HTTP server that sends each request to a target group by the weights
//! that the emulator has now, and counts what it must answer itself.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::edges::{HttpClient, by_weight, get, http_client};
use crate::error::LabError;
use crate::origin::KEPT_S;
use crate::rules::{Rules, Split};

/// How often the weights are read.
const POLL: Duration = Duration::from_millis(200);

/// What a load balancer answered by itself in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAnswers {
    /// The fixed 404 to requests that no rule takes.
    pub not_found: u64,
    /// Answers with a 5xx status that no target gave.
    pub answers_5xx: u64,
    /// Targets that took no connection, by the ARN of their group.
    pub connection_errors: BTreeMap<String, u64>,
}

/// A running load balancer; it stops when dropped.
#[derive(Debug)]
pub struct Balancer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    rules: Rules,
    client: HttpClient,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    /// ARN and weight of the target groups of each host name.
    rules: HashMap<String, Vec<(String, u32)>>,
    /// Where the targets of a group are, by its ARN.
    targets: HashMap<String, SocketAddr>,
    random: fastrand::Rng,
    /// By Unix second in which the answer was given.
    seconds: BTreeMap<i64, OwnAnswers>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// To a target of this group.
    Target(String, SocketAddr),
    /// Nowhere: the chosen group has no target, or no group has a weight.
    NoTarget,
    /// Nowhere: no rule takes the host name.
    NoRule,
}

impl Balancer {
    /// Starts a load balancer with what the rules of its listener say now, in front of the targets of each group.
    ///
    /// # Errors
    /// `Aws` when the rules cannot be read; `Io` when it cannot listen.
    pub async fn start(
        rules: Rules,
        targets: impl IntoIterator<Item = (String, SocketAddr)>,
        seed: u64,
    ) -> Result<Self, LabError> {
        let book = Book {
            rules: by_host(rules.splits().await?),
            targets: targets.into_iter().collect(),
            random: fastrand::Rng::with_seed(seed),
            seconds: BTreeMap::new(),
        };
        let state = Arc::new(State { rules, client: http_client(), book: Mutex::new(book) });
        let cannot = |error| LabError::io("listen on loopback", error);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let app = Router::new().fallback({
            let state = Arc::clone(&state);
            async move |headers: HeaderMap| state.answer(&headers).await
        });
        // `axum::serve` retries failed accepts for ever and never returns an error.
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { address, state, server })
    }

    /// Keeps to what the rules say, until they cannot be read.
    ///
    /// # Errors
    /// `Aws` when they cannot.
    pub async fn follow(self: Arc<Self>) -> Result<Infallible, LabError> {
        loop {
            tokio::time::sleep(POLL).await;
            let now = by_host(self.state.rules.splits().await?);
            self.state.book().rules = now;
        }
    }

    /// What was answered here in the second that began at this Unix time. It is complete once the second is over.
    #[must_use]
    pub fn second(&self, unix_s: i64) -> OwnAnswers {
        self.state.book().seconds.get(&unix_s).cloned().unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    async fn answer(&self, headers: &HeaderMap) -> StatusCode {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let way = self.book().way(host);
        let (status, group) = match way {
            Way::NoRule => (StatusCode::NOT_FOUND, None),
            Way::NoTarget => (StatusCode::SERVICE_UNAVAILABLE, None),
            Way::Target(group, target) => match get(&self.client, target, host).await {
                Ok(status) => return status,
                // What went wrong is told as a real load balancer tells it: by the status and the counts.
                Err(_) => (StatusCode::BAD_GATEWAY, Some(group)),
            },
        };
        self.book().count(Timestamp::now().as_second(), status, group);
        status
    }

    /// Counts and weights are numbers: what a panicking holder left is as good as what it found.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Chooses where a request for a host name goes.
    fn way(&mut self, host: &str) -> Way {
        let Some(groups) = self.rules.get(host) else { return Way::NoRule };
        let chosen = by_weight(groups, |(_, weight)| *weight, &mut self.random);
        let target = chosen.and_then(|(group, _)| Some((group, self.targets.get(group)?)));
        target.map_or(Way::NoTarget, |(group, target)| Way::Target(group.clone(), *target))
    }

    /// Counts an answer of its own; with the group whose target took no connection, if that is why.
    fn count(&mut self, now_s: i64, status: StatusCode, group: Option<String>) {
        let second = self.seconds.entry(now_s).or_default();
        second.not_found += u64::from(status.is_client_error());
        second.answers_5xx += u64::from(status.is_server_error());
        if let Some(group) = group {
            *second.connection_errors.entry(group).or_default() += 1;
        }
        self.seconds = self.seconds.split_off(&(now_s - KEPT_S));
    }
}

fn by_host(splits: Vec<Split>) -> HashMap<String, Vec<(String, u32)>> {
    splits.into_iter().map(|split| (split.host, split.groups)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(groups: &[(&str, u32)], targets: &[(&str, u16)]) -> Book {
        let groups = groups.iter().map(|(arn, weight)| ((*arn).to_owned(), *weight)).collect();
        let target = |(arn, port): &(&str, u16)| {
            ((*arn).to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))
        };
        Book {
            rules: HashMap::from([("chat.example.com".to_owned(), groups)]),
            targets: targets.iter().map(target).collect(),
            random: fastrand::Rng::with_seed(7),
            seconds: BTreeMap::new(),
        }
    }

    #[test]
    fn each_request_is_drawn_by_the_weights_of_its_rule() {
        let mut book = book(&[("blue", 70), ("green", 30)], &[("blue", 1), ("green", 2)]);
        let ways = (0..10_000).map(|_| book.way("chat.example.com"));
        let green = ways.filter(|way| matches!(way, Way::Target(group, _) if group == "green"));
        let share = f64::from(u32::try_from(green.count()).unwrap()) / 10_000.0;
        assert!((share - 0.3).abs() < 0.02, "{share}");
        assert_eq!(book.way("api.example.com"), Way::NoRule);
    }

    #[test]
    fn a_share_on_a_group_without_targets_is_answered_here() {
        let mut empty = book(&[("blue", 0), ("green", 1)], &[("blue", 1)]);
        assert_eq!(empty.way("chat.example.com"), Way::NoTarget);
        let mut weightless = book(&[("blue", 0), ("green", 0)], &[("blue", 1), ("green", 2)]);
        assert_eq!(weightless.way("chat.example.com"), Way::NoTarget);
    }

    #[test]
    fn what_is_answered_here_is_counted_by_second_and_forgotten_after_a_while() {
        let mut book = book(&[], &[]);
        book.count(100, StatusCode::NOT_FOUND, None);
        book.count(100, StatusCode::SERVICE_UNAVAILABLE, None);
        book.count(100, StatusCode::BAD_GATEWAY, Some("green".to_owned()));
        let all = OwnAnswers {
            not_found: 1,
            answers_5xx: 2,
            connection_errors: BTreeMap::from([("green".to_owned(), 1)]),
        };
        assert_eq!(book.seconds, BTreeMap::from([(100, all)]));
        book.count(101 + KEPT_S, StatusCode::NOT_FOUND, None);
        assert!(!book.seconds.contains_key(&100), "{:?}", book.seconds);
    }
}
