//! An origin: a cluster behind its load balancer, as a real HTTP server on loopback that counts
//! what it does.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::LabError;

/// Seconds of counts that are kept; whoever reads them does so within a few seconds.
pub(crate) const KEPT_S: i64 = 120;

/// How an origin behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Share of requests that are answered with status 500, 0 to 1.
    pub error_rate: f64,
    /// The quickest answer, in milliseconds.
    pub latency_ms_min: u64,
    /// The slowest answer, in milliseconds.
    pub latency_ms_max: u64,
}

/// Something that an origin needs, and that fails for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Share of requests that are answered with status 500 meanwhile, 0 to 1.
    pub error_rate: f64,
    /// The first Unix second of it.
    pub from_s: i64,
    /// The Unix second in which all is well again.
    pub until_s: i64,
}

/// What an origin did in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Answers given.
    pub requests: u64,
    /// Those of them with status 500.
    pub errors: u64,
    /// How many answers took how many milliseconds.
    pub latencies_ms: BTreeMap<u64, u64>,
}

/// A running origin; it stops when dropped.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    fault: Option<Fault>,
    random: fastrand::Rng,
    /// By Unix second in which the answer was given.
    seconds: BTreeMap<i64, Second>,
}

impl Origin {
    /// Starts an origin on a free loopback port.
    ///
    /// # Errors
    /// `Io` when no port can be had.
    pub async fn start(behaviour: Behaviour, seed: u64) -> Result<Self, LabError> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|error| LabError::io("listen on loopback", error))?;
        let address =
            listener.local_addr().map_err(|error| LabError::io("listen on loopback", error))?;
        let random = fastrand::Rng::with_seed(seed);
        let state = Arc::new(Mutex::new(State {
            behaviour,
            fault: None,
            random,
            seconds: BTreeMap::new(),
        }));
        let app = Router::new().fallback({
            let state = Arc::clone(&state);
            async move || answer(&state).await
        });
        // `axum::serve` retries failed accepts for ever and never returns an error.
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { address, state, server })
    }

    /// Sets the share of requests that fail from now on, 0 to 1.
    pub fn set_error_rate(&self, error_rate: f64) {
        lock(&self.state).behaviour.error_rate = error_rate;
    }

    /// Lets something fail for a while. It takes the place of a fault before it.
    pub fn set_fault(&self, fault: Fault) {
        lock(&self.state).fault = Some(fault);
    }

    /// What was answered in the second that began at this Unix time. It is complete once the
    /// second is over.
    #[must_use]
    pub fn second(&self, unix_s: i64) -> Second {
        lock(&self.state).seconds.get(&unix_s).cloned().unwrap_or_default()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    /// Share of requests that fail in this Unix second.
    fn error_rate(&self, unix_s: i64) -> f64 {
        let fault = self.fault.filter(|fault| (fault.from_s..fault.until_s).contains(&unix_s));
        fault.map_or(self.behaviour.error_rate, |fault| fault.error_rate)
    }
}

async fn answer(state: &Mutex<State>) -> StatusCode {
    let begun = Instant::now();
    let (failed, latency_ms) = {
        let state = &mut *lock(state);
        let error_rate = state.error_rate(Timestamp::now().as_second());
        let range = state.behaviour.latency_ms_min..=state.behaviour.latency_ms_max;
        (state.random.f64() < error_rate, state.random.u64(range))
    };
    tokio::time::sleep(Duration::from_millis(latency_ms)).await;

    let now_s = Timestamp::now().as_second();
    let taken_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let State { seconds, .. } = &mut *lock(state);
    let second = seconds.entry(now_s).or_default();
    second.requests += 1;
    second.errors += u64::from(failed);
    *second.latencies_ms.entry(taken_ms).or_default() += 1;
    while seconds.first_key_value().is_some_and(|(oldest, _)| *oldest < now_s - KEPT_S) {
        seconds.pop_first();
    }
    if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

/// Counts are numbers: what a panicking holder left is as good as what it found.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_for_its_seconds_and_what_is_usual_comes_back() {
        let usual = Behaviour { error_rate: 0.1, latency_ms_min: 1, latency_ms_max: 2 };
        let mut state = State {
            behaviour: usual,
            fault: None,
            random: fastrand::Rng::with_seed(1),
            seconds: BTreeMap::new(),
        };
        let is = |state: &State, unix_s, rate: f64| (state.error_rate(unix_s) - rate).abs() < 1e-9;
        assert!(is(&state, 100, 0.1));
        state.fault = Some(Fault { error_rate: 0.4, from_s: 100, until_s: 102 });
        for (unix_s, rate) in [(99, 0.1), (100, 0.4), (101, 0.4), (102, 0.1)] {
            assert!(is(&state, unix_s, rate), "second {unix_s}");
        }
    }
}
