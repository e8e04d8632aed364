//! A router that keeps its routes in memory: for tests, and as the shortest example of what a router does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_core::{
    Behaviour, Endpoint, Failure, Fence, Found, Live, Move, Moved, Propagation, Request, RouteId,
    Shifted, Sides, Split, Splitting, Survey, Way, Weights,
};
use serde_json::Value;

use crate::router::{Router, Splits, refuse_moves_never_made};

/// Its name.
const KIND: &str = "memory";
/// It is as good as a router can be.
const BEHAVIOUR: Behaviour = Behaviour {
    live_in_s: 0,
    splits: Splitting::PerRequest,
    routes_per_write: u32::MAX,
    routes_at_once: u32::MAX,
    routes_per_s: 1.0,
    weight_max: 1_000,
    atomic: true,
};
/// The one fingerprint of its routes: nothing about them changes but the weights.
const SHAPE: u32 = 1;

/// Routes with their live weights.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<RouteId, Weights>,
    /// Routes that may not be changed.
    protected: BTreeSet<RouteId>,
    /// Writes made so far.
    writes: u32,
    /// Whether the next shift is made, and its reply lost.
    loses_reply: bool,
}

impl Memory {
    /// Routes with these weights.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = (RouteId, Weights)>) -> Self {
        let state = State { live: routes.into_iter().collect(), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The live weights of a route, if there is such a route.
    #[must_use]
    pub fn live(&self, route: &RouteId) -> Option<Weights> {
        self.state().live.get(route).copied()
    }

    /// Refuses every change of a route from now on.
    pub fn protect(&self, route: &RouteId) {
        self.state().protected.insert(route.clone());
    }

    /// Loses the reply to the next shift.
    pub fn lose_reply(&self) {
        self.state().loses_reply = true;
    }

    /// How many routes were written so far.
    #[must_use]
    pub fn writes(&self) -> u32 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make(&mut self, asked: &Move) -> Moved {
        let Some(live) = self.live.get(&asked.route).copied() else {
            return Moved::Drifted(Live::Unclear("there is no such route".to_owned()));
        };
        if live == asked.to {
            return Moved::There;
        }
        if asked.way != Way::Forced && !asked.from.contains(&live) {
            return Moved::Drifted(Live::At(live));
        }
        if self.protected.contains(&asked.route) {
            return Moved::Refused("it is protected".to_owned());
        }
        self.writes += 1;
        self.live.insert(asked.route.clone(), asked.to);
        Moved::There
    }
}

impl Splits for Memory {
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure> {
        let state = self.state();
        let split = |route: &RouteId| {
            let live = state.live.get(route).copied();
            Split {
                route: route.clone(),
                live: live
                    .map_or_else(|| Live::Unclear("there is no such route".to_owned()), Live::At),
                whole: live,
                shapes: live.map(|_| SHAPE).into_iter().collect(),
            }
        };
        Ok(routes.iter().map(split).collect())
    }

    async fn is_live(&self, _: &[String]) -> Result<Propagation, Failure> {
        Ok(Propagation::Done)
    }
}

impl Router for Memory {
    /// Takes every route, or those that the request names and that are there.
    async fn survey(&self, request: &Request) -> Result<Survey, Failure> {
        let state = self.state();
        let is_asked = |route: &RouteId| request.routes.as_ref().is_none_or(|r| r.contains(route));
        let endpoint = |side: &str| Endpoint { id: side.to_owned(), all_or_nothing: None };
        let sides = Sides {
            old: request.old.clone().unwrap_or_else(|| "old".to_owned()),
            new: request.new.clone(),
        };
        let found = |(route, live): (&RouteId, &Weights)| Found {
            route: route.clone(),
            live: *live,
            old: endpoint(&sides.old),
            new: endpoint(&sides.new),
            linger_s: 0,
            aliases: BTreeSet::new(),
            side_names: [sides.old.clone(), sides.new.clone()].into(),
            other_writer: None,
            shapes: vec![SHAPE],
            mark: None,
        };
        let routes = state.live.iter().filter(|(route, _)| is_asked(route)).map(found).collect();
        Ok(Survey {
            routes,
            sides: Some(sides.clone()),
            left_out: None,
            findings: Vec::new(),
            warnings: Vec::new(),
            scopes: vec![KIND.to_owned()],
            behaviour: BEHAVIOUR,
            place: Value::Null,
            other_writers: BTreeMap::new(),
            writers_are_known: true,
        })
    }

    async fn find_writers(&self, _: &Request, _: &mut Survey) -> Result<(), Failure> {
        Ok(())
    }

    async fn shift(&self, moves: &[Move], _: Option<&Fence>) -> Result<Shifted, Failure> {
        refuse_moves_never_made(moves, BEHAVIOUR.weight_max)?;
        let mut state = self.state();
        let moves =
            moves.iter().map(|asked| (asked.route.clone(), state.make(asked))).collect::<Vec<_>>();
        if std::mem::take(&mut state.loses_reply) {
            return Err(Failure::Unreachable("the reply was lost".to_owned()));
        }
        Ok(Shifted { moves, receipts: vec![], unconfirmed: false, live_in_s: 0, linger_s: 0 })
    }

    async fn release(&self, _: &[RouteId], _: &str) -> Result<(), Failure> {
        Ok(())
    }
}
