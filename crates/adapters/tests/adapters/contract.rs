//! What any router must do, whatever its service: the same tests on each of them.

use adapters::router::alb::Alb;
use adapters::router::memory::Memory;
use adapters::{Route53, Router};
use cutover_core::{Failure, Live, Move, Moved, RouteId, Sides, Way, Weights};

use serde_json::{Value, json};

use crate::fake::Answer;
use crate::rules::{FakeRules, forward, group_arn, hosts, listener_arn, rule_arn};
use crate::zone::{FakeZone, aliases};

/// A router, and a hand in the service behind it.
pub trait Bench {
    /// The router as functions use it.
    type Router: Router;

    /// Routes by their number, each with these weights.
    fn with(live: &[Weights]) -> Self;

    fn router(&self) -> Self::Router;

    fn route(&self, index: usize) -> RouteId;

    fn live(&self, index: usize) -> Weights;

    /// Makes the service refuse every change of this route.
    fn protect(&self, index: usize);

    /// Makes the service carry the next change out and lose its reply, however often the SDK tries again.
    fn lose_reply(&self);

    /// Changes that were carried out.
    fn writes(&self) -> usize;
}

const START: Weights = weights(100, 0);
const STEP: Weights = weights(90, 10);

const fn weights(old: u32, new: u32) -> Weights {
    Weights { old, new }
}

fn step<B: Bench>(bench: &B, index: usize) -> Move {
    Move {
        route: bench.route(index),
        from: vec![START],
        to: STEP,
        shapes: Vec::new(),
        way: Way::Onward,
        supersedes: None,
    }
}

fn back<B: Bench>(bench: &B, index: usize) -> Move {
    Move { from: vec![STEP, START], to: START, way: Way::Back, ..step(bench, index) }
}

pub async fn answers_in_the_order_asked<B: Bench>() {
    let live = [START, STEP, weights(0, 100)];
    let bench = B::with(&live);
    for order in [[0, 1, 2], [2, 0, 1]] {
        let routes = order.map(|index| bench.route(index));
        let splits = adapters::Splits::read(&bench.router(), &routes).await.expect("read");
        let read: Vec<_> = splits.into_iter().map(|split| (split.route, split.live)).collect();
        let expected: Vec<_> =
            order.map(|index| (bench.route(index), Live::At(live[index]))).into();
        assert_eq!(read, expected);
    }
    let moves = [2, 0].map(|index| Move { from: vec![live[index]], ..step(&bench, index) });
    let shifted = bench.router().shift(&moves, None).await.expect("shifted");
    let told: Vec<RouteId> = shifted.moves.into_iter().map(|(route, _)| route).collect();
    assert_eq!(told, [bench.route(2), bench.route(0)]);
}

pub async fn a_route_that_does_not_exist_has_no_split<B: Bench>() {
    let bench = B::with(&[START]);
    let splits = adapters::Splits::read(&bench.router(), &[bench.route(7)]).await.expect("read");
    assert!(matches!(splits[0].live, Live::Unclear(_)), "{splits:?}");
    let shifted = bench.router().shift(&[step(&bench, 7)], None).await.expect("told");
    assert!(matches!(shifted.moves[0].1, Moved::Drifted(Live::Unclear(_))), "{shifted:?}");
}

pub async fn a_repeat_writes_nothing<B: Bench>() {
    let bench = B::with(&[START, START]);
    let moves = [step(&bench, 0), step(&bench, 1)];
    for _ in 0..2 {
        let shifted = bench.router().shift(&moves, None).await.expect("shifted");
        assert!(shifted.moves.iter().all(|(_, moved)| *moved == Moved::There), "{shifted:?}");
        assert_eq!([bench.live(0), bench.live(1)], [STEP, STEP]);
    }
    let writes = bench.writes();
    bench.router().shift(&moves, None).await.expect("shifted");
    assert_eq!(bench.writes(), writes);
}

pub async fn an_unknown_split_is_drift_and_untouched<B: Bench>() {
    let bench = B::with(&[START, weights(30, 70)]);
    let moves = [step(&bench, 0), step(&bench, 1)];
    let shifted = bench.router().shift(&moves, None).await.expect("told");
    assert_eq!(shifted.moves[0].1, Moved::There);
    assert_eq!(shifted.moves[1].1, Moved::Drifted(Live::At(weights(30, 70))));
    assert_eq!([bench.live(0), bench.live(1)], [STEP, weights(30, 70)]);
}

pub async fn a_way_back_is_made_from_any_split_that_cutover_may_have_left<B: Bench>() {
    let bench = B::with(&[START, STEP, weights(30, 70)]);
    let moves = [0, 1, 2].map(|index| back(&bench, index));
    let shifted = bench.router().shift(&moves, None).await.expect("told");
    let told: Vec<Moved> = shifted.moves.into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, [Moved::There, Moved::There, Moved::Drifted(Live::At(weights(30, 70)))]);
    let forced = Move { way: Way::Forced, ..back(&bench, 2) };
    let shifted = bench.router().shift(&[forced], None).await.expect("told");
    assert_eq!(shifted.moves[0].1, Moved::There, "a person insists");
    assert_eq!([0, 1, 2].map(|index| bench.live(index)), [START; 3]);
}

pub async fn one_refused_route_stops_no_other<B: Bench>() {
    let bench = B::with(&[START, START, START]);
    bench.protect(1);
    let moves = [0, 1, 2].map(|index| step(&bench, index));
    let shifted = bench.router().shift(&moves, None).await.expect("told");
    assert!(matches!(shifted.moves[1].1, Moved::Refused(_)), "{shifted:?}");
    assert_eq!([0, 1, 2].map(|index| bench.live(index)), [STEP, START, STEP]);
}

pub async fn moves_that_must_never_be_made_are_a_defect_and_touch_nothing<B: Bench>() {
    let bench = B::with(&[START, START]);
    let zero = Move { to: weights(0, 0), ..step(&bench, 1) };
    let high = Move { to: weights(1_000_000, 1), ..step(&bench, 1) };
    for never in [zero, high, step(&bench, 0)] {
        let moves = [step(&bench, 0), never];
        let failure = bench.router().shift(&moves, None).await.expect_err("a defect");
        assert!(matches!(failure, Failure::Internal(_)), "{failure:?}");
        assert_eq!([bench.live(0), bench.live(1), START], [START; 3]);
    }
}

pub async fn a_lost_reply_is_found_by_the_repeat<B: Bench>() {
    let bench = B::with(&[START]);
    bench.lose_reply();
    let moves = [step(&bench, 0)];
    // Whether the router finds it by itself is its own affair.
    if let Err(failure) = bench.router().shift(&moves, None).await {
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    }
    assert_eq!(bench.live(0), STEP, "it was carried out");
    let writes = bench.writes();
    let shifted = bench.router().shift(&moves, None).await.expect("shifted");
    assert_eq!((&shifted.moves[0].1, bench.writes()), (&Moved::There, writes));
}

/// The whole suite on each of some benches.
macro_rules! contract {
    ($($module:ident: $bench:ty),+ $(,)?) => { $(
        mod $module {
            use super::*;
            contract!(@tests $bench:
                answers_in_the_order_asked, a_route_that_does_not_exist_has_no_split, a_repeat_writes_nothing,
                an_unknown_split_is_drift_and_untouched,
                a_way_back_is_made_from_any_split_that_cutover_may_have_left,
                one_refused_route_stops_no_other,
                moves_that_must_never_be_made_are_a_defect_and_touch_nothing,
                a_lost_reply_is_found_by_the_repeat,
            );
        }
    )+ };
    (@tests $bench:ty: $($test:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $test() {
            super::$test::<$bench>().await;
        }
    )+ };
}

contract! { memory: Memory, route53: FakeZone, alb: FakeRules }

fn name(index: usize) -> RouteId {
    RouteId::from(format!("r{index}.example.com"))
}

impl Bench for Memory {
    type Router = Self;

    fn with(live: &[Weights]) -> Self {
        let routes = live.iter().enumerate();
        Self::new(routes.map(|(index, live)| (name(index), *live)))
    }

    fn router(&self) -> Self {
        self.clone()
    }

    fn route(&self, index: usize) -> RouteId {
        name(index)
    }

    fn live(&self, index: usize) -> Weights {
        Self::live(self, &name(index)).expect("a route")
    }

    fn protect(&self, index: usize) {
        Self::protect(self, &name(index));
    }

    fn lose_reply(&self) {
        Self::lose_reply(self);
    }

    fn writes(&self) -> usize {
        Self::writes(self) as usize
    }
}

impl Bench for FakeZone {
    type Router = Route53;

    fn with(live: &[Weights]) -> Self {
        let sets = live.iter().enumerate();
        Self::new(sets.flat_map(|(index, live)| {
            aliases(name(index).as_str(), i64::from(live.old), i64::from(live.new))
        }))
    }

    fn router(&self) -> Route53 {
        let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
        Route53::new(self.client(), "Z1", sides).unpaced()
    }

    fn route(&self, index: usize) -> RouteId {
        name(index)
    }

    fn live(&self, index: usize) -> Weights {
        let (old, new) = self.weights(name(index).as_str(), "A");
        let [old, new] = [old, new].map(|weight| u32::try_from(weight).expect("a weight"));
        Weights { old, new }
    }

    fn protect(&self, index: usize) {
        let protected = format!("{}.", name(index));
        self.state().before_change = Box::new(move |state| {
            let sets = state.batches.last()?.iter();
            let mut sets = sets.filter_map(|change| change.resource_record_set());
            sets.any(|set| set.name() == protected)
                .then(|| Answer::xml_error(400, "InvalidChangeBatch", "[it is protected]"))
        });
    }

    fn lose_reply(&self) {
        let mut lost = Some(Answer::Lost);
        self.state().after_change = Box::new(move |_| lost.take());
    }

    fn writes(&self) -> usize {
        self.state().batches.len()
    }
}

impl Bench for FakeRules {
    type Router = Alb;

    fn with(live: &[Weights]) -> Self {
        let rules = Self::new();
        for (index, live) in live.iter().enumerate() {
            let [old, new] = [live.old, live.new].map(|w| i32::try_from(w).expect("a weight"));
            let actions = vec![forward(&[("blue", old), ("green", new)])];
            rules.state().add(vec![hosts(&[name(index).as_str()])], actions);
        }
        rules
    }

    fn router(&self) -> Alb {
        let number = self.state().listeners[&listener_arn("shop", 443)].len() - 1;
        let known = |index| {
            let (old, new) = (group_arn("blue"), group_arn("green"));
            let arn = rule_arn("shop", 443, index + 1);
            (name(index).to_string(), json!({ "arn": arn, "old": old, "new": new }))
        };
        let rules: serde_json::Map<String, Value> = (0..number).map(known).collect();
        let place = json!({ "listeners": [listener_arn("shop", 443)], "rules": rules });
        Alb::new(self.client(), &place).expect("a place").unpaced()
    }

    fn route(&self, index: usize) -> RouteId {
        name(index)
    }

    fn live(&self, index: usize) -> Weights {
        let weights = self.state().weights(&rule_arn("shop", 443, index + 1));
        let [old, new] = ["blue", "green"].map(|name| {
            let group = weights.iter().find(|(group, _)| group == name).expect("a group");
            u32::try_from(group.1).expect("a weight")
        });
        Weights { old, new }
    }

    fn protect(&self, index: usize) {
        let protected = rule_arn("shop", 443, index + 1);
        self.state().before_write = Box::new(move |_, arn| {
            (arn == protected)
                .then(|| Answer::xml_error(400, "OperationNotPermitted", "it is protected"))
        });
    }

    fn lose_reply(&self) {
        // As often as the SDK tries.
        let mut lost = 0..3;
        self.state().after_write = Box::new(move |_, _| lost.next().map(|_| Answer::Lost));
    }

    fn writes(&self) -> usize {
        self.state().writes
    }
}
