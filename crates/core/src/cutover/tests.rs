use proptest::prelude::*;

use super::decide::Settled;
use super::*;
use crate::evidence::Counts;
use crate::evidence::baseline::{Baseline, Baselines};
use crate::evidence::verdict::VerdictKind;
use crate::evidence::{Observed, OwnSeries, Series};
use crate::meter::{MadeAnew, OldSide};
use crate::next::Action;
use crate::request::health::{OnNoData, OwnMetric, OwnSignal};
use crate::request::ramp::ROLLBACK_EVENTS;
use crate::router::{Move, Moved, Propagation, Shifted};
use crate::seen::Seen;

const TTL_S: u32 = 60;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn name(index: usize) -> RouteId {
    RouteId::from(format!("app-{index}.example.com"))
}

/// A cutover as validation makes it: route `n` has the meters `2n` and `2n + 1`.
fn accepted(routes: usize, ramp: Ramp) -> Cutover {
    let lb = |index: usize| Meter {
        id: format!("app/k8s-cluster-{index}/0123456789abcdef"),
        hosts: vec![format!("k8s-app-{index}/0123456789abcdef")],
        baseline: None,
    };
    let original = Weights { old: 255, new: 0 };
    let route = |index: usize| Route {
        name: name(index),
        original,
        last: original,
        status: Status::Active,
        old_meter: 2 * index,
        new_meter: 2 * index + 1,
        counted_by: CountedBy::default(),
        other_writer: None,
        shapes: vec![7],
        supersedes: None,
        forced: false,
        all_or_nothing: false,
        verdict: None,
        reason: None,
    };
    Cutover {
        schema: SCHEMA,
        execution: Execution { arn: "arn:x".to_owned(), name: "x".to_owned() },
        sides: Sides { old: "blue".to_owned(), new: "green".to_owned() },
        router: RouterRef { kind: "memory".to_owned(), place: serde_json::Value::Null },
        other_writers: BTreeMap::from([(
            "external-dns".to_owned(),
            "run it with --policy=create-only".to_owned(),
        )]),
        ramp,
        step: 0,
        phase: Phase::Shifting,
        held: None,
        health: Health { metrics_delay_s: 0, ..Health::default() },
        isolate: false,
        max_failed_routes: 1,
        ready_timeout_s: 7200,
        started_at: at(0),
        first_shift_at: None,
        last_shift: None,
        lumps: Some(Lumps::PerAnswer { resolvers: 10 }),
        counted_until: None,
        checks: 0,
        fence: true,
        writes: 0,
        released: false,
        extra_events: 0,
        retry_count: 0,
        meters: (0..2 * routes).map(lb).collect(),
        own_days: BTreeMap::new(),
        routes: (0..routes).map(route).collect(),
        warnings: Vec::new(),
        next: Next { action: Action::Shift, wait_s: 0, reason: String::new() },
        report: None,
    }
}

fn two_steps() -> Ramp {
    Ramp::canary(Percent::from_halves(20).expect("10 %"), 300).expect("a ramp")
}

/// The world beside a cutover: the live weights, and what traffic would be counted.
struct World {
    live: Vec<Weights>,
    now: i64,
    /// Per route: requests and errors that the new side gets in every period.
    new: Vec<Counts>,
    writes: Vec<Vec<Weights>>,
}

const FINE: Counts = Counts { requests: 1000, errors: 0 };
const BAD: Counts = Counts { requests: 1000, errors: 300 };
const QUIET: Counts = Counts { requests: 1, errors: 0 };

/// A roll-back in which nothing is known to be wrong with an old side.
fn went_back(shifted: Shifted, splits: Vec<Split>) -> RollbackDone {
    RollbackDone { kept: vec![], old_sides: vec![], shifted, splits, function: None }
}

impl World {
    fn of(cutover: &Cutover, new: &[Counts]) -> Self {
        let live = cutover.routes.iter().map(|route| route.original).collect();
        Self { live, now: 0, new: new.to_vec(), writes: vec![] }
    }

    fn shift(&mut self, cutover: &Cutover, moves: &[Move]) -> Shifted {
        let outcome = |asked: &Move| {
            let index = cutover.routes.iter().position(|r| r.name == asked.route).expect("known");
            assert!(asked.to.old.max(asked.to.new) <= crate::limits::WEIGHT_MAX);
            let live = &mut self.live[index];
            if *live == asked.to {
                return (asked.route.clone(), Moved::There);
            }
            if !asked.from.contains(live) {
                return (asked.route.clone(), Moved::Drifted(Live::At(*live)));
            }
            *live = asked.to;
            (asked.route.clone(), Moved::There)
        };
        let moves = moves.iter().map(outcome).collect();
        self.writes.push(self.live.clone());
        Shifted {
            moves,
            receipts: vec!["C1".into()],
            unconfirmed: false,
            live_in_s: 60,
            linger_s: TTL_S,
        }
    }

    fn splits(&self, cutover: &Cutover) -> Vec<Split> {
        let both = cutover.routes.iter().zip(&self.live);
        let split = |(route, live): (&Route, &Weights)| Split {
            route: route.name.clone(),
            live: Live::At(*live),
            whole: Some(*live),
            shapes: vec![7],
        };
        both.map(split).collect()
    }

    fn observed(&self, cutover: &Cutover) -> Observed {
        let window = cutover.evidence_window(crate::limits::CLOUDWATCH, at(self.now));
        let counts = |c: Counts| vec![Some(c); window.periods as usize];
        let series = (0..cutover.meters.len())
            .map(|lb| match lb % 2 {
                0 => Series { counts: counts(FINE), ..Series::default() },
                _ => Series {
                    counts: counts(self.new[lb / 2]),
                    healthy_hosts: Some(3),
                    ..Series::default()
                },
            })
            .collect();
        Observed { window, series: Seen::Now(series), own: vec![], alarms: Seen::Now(vec![]) }
    }

    /// Obeys `next` once, as the state machine does.
    fn obey(&mut self, cutover: Cutover) -> Cutover {
        self.now += i64::from(cutover.next.wait_s);
        match cutover.next.action {
            Action::Shift => {
                let shifted = self.shift(&cutover, &cutover.pending_moves());
                cutover.after_shift(&shifted, at(self.now))
            }
            Action::Wait => {
                let checked = Checked {
                    propagated: Propagation::Done,
                    splits: Seen::Now(self.splits(&cutover)),
                    observed: self.observed(&cutover),
                };
                cutover.after_check(&checked, at(self.now))
            }
            Action::RollBack => self.roll_back(cutover),
            Action::Release => cutover.after_release(),
            end => panic!("{end:?} is an end"),
        }
    }

    fn roll_back(&mut self, cutover: Cutover) -> Cutover {
        let shifted = self.shift(&cutover, &cutover.rollback_moves(&[]));
        let splits = self.splits(&cutover);
        cutover.after_rollback(&went_back(shifted, splits))
    }

    fn run(&mut self, mut cutover: Cutover) -> Cutover {
        for _ in 0..10_000 {
            if cutover.report.is_some() && cutover.next.action != Action::Release {
                return cutover;
            }
            cutover = self.obey(cutover);
        }
        panic!("no end after 10,000 transitions: {:?}", cutover.next)
    }
}

fn ramps() -> impl Strategy<Value = Ramp> {
    prop_oneof![
        (1_u8..=200, 0_u32..600).prop_filter_map("a ramp", |(halves, bake_s)| {
            Ramp::linear(Percent::from_halves(halves)?, bake_s)
        }),
        (1_u8..=40, 1.2_f64..9.0, 0_u32..600).prop_filter_map(
            "a ramp",
            |(halves, factor, bake_s)| {
                Ramp::exponential(Percent::from_halves(halves)?, factor, bake_s)
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_healthy_cutover_visits_every_step_once_in_order_and_ends_at_100(
        ramp in ramps().prop_filter("short", |r| r.steps().len() <= 60), routes in 1_usize..4
    ) {
        let cutover = accepted(routes, ramp.clone());
        let mut world = World::of(&cutover, &vec![FINE; routes]);
        let end = world.run(cutover);
        prop_assert_eq!(end.next.action, Action::Complete);
        let wanted: Vec<Vec<Weights>> = ramp
            .steps()
            .iter()
            .map(|step| vec![Weights::of(step.percent, ramp.scale()); routes])
            .collect();
        prop_assert_eq!(&world.writes, &wanted);
        prop_assert_eq!(wanted.last().expect("a step")[0].old, 0);
    }

    #[test]
    fn from_every_reachable_state_a_roll_back_returns_every_route(
        ramp in ramps(), transitions in 0_usize..200, lost in any::<bool>(), bad in 0_usize..3
    ) {
        let mut cutover = accepted(3, ramp);
        cutover.isolate = true;
        let mut world = World::of(&cutover, &[FINE, FINE, FINE]);
        let original = world.live.clone();
        for transition in 0..transitions {
            if transition == transitions / 2 {
                world.new[bad] = BAD;
            }
            if cutover.report.is_some() {
                break;
            }
            cutover = world.obey(cutover);
        }
        prop_assume!(cutover.next.action != Action::Complete);
        if lost && cutover.next.action == Action::Shift {
            world.shift(&cutover, &cutover.pending_moves());
        }
        let end = world.roll_back(cutover.give_up("a test says so"));
        prop_assert_eq!(end.next.action, Action::RolledBack);
        prop_assert_eq!(&world.live, &original);
        let again = world.roll_back(end.clone().give_up("again"));
        prop_assert_eq!(&world.live, &original);
        prop_assert_eq!(again, end);
    }

    #[test]
    fn a_repeated_transition_changes_nothing(
        ramp in ramps(), transitions in 0_usize..100, isolate in any::<bool>(),
        new in prop::collection::vec(prop::sample::select(vec![FINE, BAD, QUIET]), 3),
    ) {
        let mut cutover = accepted(3, ramp);
        cutover.isolate = isolate;
        let mut world = World::of(&cutover, &new);
        for _ in 0..transitions {
            if cutover.report.is_some() {
                break;
            }
            let (before, began) = (cutover.clone(), world.now);
            let once = world.obey(cutover);
            let (live, ended) = (world.live.clone(), world.now);
            // The function is run again with the state that it was given.
            world.now = began;
            let again = world.obey(before.clone());
            prop_assert_eq!(&again, &once, "after {:?}", before.next);
            prop_assert_eq!(&world.live, &live);
            world.now = ended;
            cutover = once;
        }
    }
}

#[test]
fn a_regressed_route_takes_all_back_together() {
    let cutover = accepted(3, two_steps());
    let mut world = World::of(&cutover, &[FINE, BAD, FINE]);
    let end = world.run(cutover);
    assert_eq!(end.next.action, Action::RolledBack);
    assert!(world.live.iter().all(|live| *live == Weights { old: 255, new: 0 }));
    let report = end.report.expect("an end");
    assert!(report.reason.contains("new 30 % of"), "{}", report.reason);
    assert!(report.routes.iter().all(|r| r.live == Some(r.original)));
    assert!(
        report.routes.iter().any(|r| r.reason.starts_with("goes back with the others; app-1.")),
        "{report:?}"
    );
}

#[test]
fn isolated_a_regressed_route_goes_back_alone_and_the_others_complete() {
    let mut cutover = accepted(3, two_steps());
    cutover.isolate = true;
    let mut world = World::of(&cutover, &[FINE, BAD, FINE]);
    let end = world.run(cutover);
    assert_eq!(end.next.action, Action::Complete);
    let live: Vec<u32> = world.live.iter().map(|live| live.new).collect();
    assert_eq!(live, [100, 0, 100]);
    let report = end.report.expect("an end");
    let failed = report.routes.iter().find(|r| r.route == name(1)).expect("listed");
    assert!(failed.reason.contains("the limit is 5 %"), "{}", failed.reason);
}

#[test]
fn isolated_more_failures_than_allowed_take_all_back() {
    let mut cutover = accepted(3, two_steps());
    cutover.isolate = true;
    let mut world = World::of(&cutover, &[BAD, BAD, FINE]);
    let end = world.run(cutover);
    assert_eq!(end.next.action, Action::RolledBack);
    assert!(world.live.iter().all(|live| live.new == 0));
}

#[test]
fn a_step_without_data_is_held_and_then_goes_back_or_on_as_asked() {
    let cutover = accepted(1, two_steps());
    let mut world = World::of(&cutover, &[QUIET]);
    let end = world.run(cutover.clone());
    assert_eq!(end.next.action, Action::RolledBack);
    assert!(end.next.reason.contains("still not judged after 3600 s"), "{}", end.next.reason);
    assert!((3900..4100).contains(&world.now), "held to the end: {}", world.now);

    let mut cutover = cutover;
    cutover.health.on_no_data = OnNoData::Advance;
    let mut world = World::of(&cutover, &[QUIET]);
    assert_eq!(world.run(cutover).next.action, Action::Complete);
}

/// Obeys `next`, but holds the moves of the last route while `holds` says so.
fn obey_held(world: &mut World, cutover: Cutover, holds: bool) -> Cutover {
    if cutover.next.action != Action::Shift || !holds {
        return world.obey(cutover);
    }
    world.now += i64::from(cutover.next.wait_s);
    let mut moves = cutover.pending_moves();
    let held = moves.pop().expect("some route").route;
    let mut shifted = world.shift(&cutover, &moves);
    shifted.moves.push((held, Moved::Held("its new group has no healthy target".to_owned())));
    cutover.after_shift(&shifted, at(world.now))
}

#[test]
fn a_step_whose_new_side_cannot_serve_is_held_and_tried_again_after_every_check() {
    let cutover = accepted(2, two_steps());
    let mut world = World::of(&cutover, &[FINE, FINE]);
    let mut cutover = obey_held(&mut world, cutover, true);
    let held = cutover.held.clone().expect("held");
    assert_eq!(held.since, at(0));
    assert_eq!(held.reason, "app-1.example.com: its new group has no healthy target");
    for _ in 0..3 {
        assert_eq!((cutover.next.action, cutover.step), (Action::Wait, 0));
        cutover = world.obey(cutover);
        assert_eq!(cutover.next.action, Action::Shift, "{}", cutover.next.reason);
        assert!(cutover.next.reason.contains("held for up to"), "{}", cutover.next.reason);
        cutover = obey_held(&mut world, cutover, true);
        assert_eq!(cutover.phase, Phase::Shifting);
        assert_eq!(cutover.held.as_ref().map(|held| held.since), Some(at(0)));
    }
    assert_eq!(world.live[1], cutover.routes[1].original, "untouched");
    let end = world.run(cutover);
    assert_eq!((end.next.action, &end.held), (Action::Complete, &None));
}

#[test]
fn a_step_that_is_held_for_too_long_goes_back_and_isolated_only_what_was_held() {
    for (isolate, action, live) in
        [(false, Action::RolledBack, [0, 0]), (true, Action::Complete, [100, 0])]
    {
        let mut cutover = accepted(2, two_steps());
        cutover.isolate = isolate;
        let mut world = World::of(&cutover, &[FINE, FINE]);
        while cutover.routes[1].status == Status::Active {
            cutover = obey_held(&mut world, cutover, true);
        }
        assert!((3600..3700).contains(&world.now), "{}", world.now);
        let why = cutover.routes[1].reason.clone().expect("a reason");
        assert!(why.contains("held for 3600 s; app-1.example.com: its new group"), "{why}");
        let end = world.run(cutover);
        assert_eq!(end.next.action, action, "{}", end.next.reason);
        assert_eq!(world.live.iter().map(|live| live.new).collect::<Vec<_>>(), live);
    }
}

#[test]
fn while_a_step_is_held_what_has_moved_is_judged_and_drift_is_seen() {
    let held_at_last = |world: &mut World| {
        let mut cutover = accepted(2, two_steps());
        while cutover.step == 0 {
            cutover = world.obey(cutover);
        }
        obey_held(world, cutover, true)
    };
    let mut world = World::of(&accepted(2, two_steps()), &[FINE, FINE]);
    let cutover = held_at_last(&mut world);
    world.new[1] = BAD;
    assert_eq!(world.run(cutover).next.action, Action::RolledBack);

    let mut world = World::of(&accepted(2, two_steps()), &[FINE, FINE]);
    let cutover = held_at_last(&mut world);
    world.live[1] = Weights { old: 1, new: 2 };
    assert_eq!(world.run(cutover).next.action, Action::Drifted);
}

#[test]
fn broken_metrics_hold_and_never_advance() {
    let mut cutover = accepted(1, two_steps());
    cutover.health.on_no_data = OnNoData::Advance;
    let mut world = World::of(&cutover, &[FINE]);
    cutover = world.obey(cutover);
    let mut now = 0;
    while cutover.next.action == Action::Wait {
        now += i64::from(cutover.next.wait_s);
        let splits = Seen::Now(world.splits(&cutover));
        let series = Seen::OutOfReach("Unreachable: no answer".to_owned());
        let observed = Observed { series, ..world.observed(&cutover) };
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        cutover = cutover.after_check(&checked, at(now));
    }
    assert_eq!(cutover.next.action, Action::RollBack);
    assert!(cutover.next.reason.contains("no answer"), "{}", cutover.next.reason);
    assert!(now >= 3900);
}

#[test]
fn an_alarm_that_rings_is_seen_while_the_series_cannot_be_read() {
    let mut cutover = accepted(1, two_steps());
    cutover.health.alarms = vec!["budget".to_owned()];
    let mut world = World::of(&cutover, &[FINE]);
    let mut cutover = world.obey(cutover);
    cutover.phase = Phase::Baking { since: at(0) };
    world.now = 400;
    let check = |series: Option<&str>, alarms: Seen<Vec<(String, bool)>>| {
        let observed = world.observed(&cutover);
        let series = match series {
            Some(why) => Seen::OutOfReach(why.to_owned()),
            None => observed.series,
        };
        let observed = Observed { series, alarms, ..observed };
        let splits = Seen::Now(world.splits(&cutover));
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        cutover.clone().after_check(&checked, at(400))
    };
    let rings = |rings| Seen::Now(vec![("budget".to_owned(), rings)]);
    let back = check(Some("throttled"), rings(true));
    assert_eq!(back.next.action, Action::RollBack);
    assert!(back.next.reason.contains("alarm budget is in ALARM"), "{}", back.next.reason);
    let kind = |checked: Cutover| checked.routes[0].verdict.clone().expect("judged").kind;
    assert_eq!(kind(check(Some("throttled"), rings(false))), VerdictKind::MetricsBroken);
    assert_eq!(kind(check(None, rings(false))), VerdictKind::Healthy);
    assert_eq!(kind(check(None, Seen::Now(vec![]))), VerdictKind::Healthy, "it is gone");
    let unread = Seen::OutOfReach("throttled".to_owned());
    assert_eq!(kind(check(None, unread)), VerdictKind::NotEnoughData);
}

#[test]
fn one_period_in_which_all_of_one_s_own_fail_decides_where_their_day_is_known() {
    let metric =
        OwnMetric { namespace: "Shop".into(), metric: "Orders".into(), dimensions: [].into() };
    let orders = OwnSignal {
        name: "orders".to_owned(),
        requests: metric.clone(),
        failures: metric,
        tolerated_odds_ratio: 1.5,
    };
    let counted = |errors| Some(Counts { requests: 1000, errors });
    let judged = |day_periods: usize| {
        let mut cutover = accepted(1, two_steps());
        cutover.health.signals = vec![orders.clone()];
        let day = OwnSeries { old: vec![counted(10); day_periods], ..OwnSeries::default() };
        cutover.own_days = Baselines::of_own(&[day], &cutover.health);
        let mut world = World::of(&cutover, &[FINE]);
        cutover = world.obey(cutover);
        cutover = world.obey(cutover);
        world.now = 600;
        let mut observed = world.observed(&cutover);
        let periods = observed.window.periods as usize;
        let mut new = vec![counted(10); periods];
        new[periods - 1] = counted(1000);
        observed.own =
            vec![OwnSeries { old: vec![counted(10); periods], new, ..OwnSeries::default() }];
        let splits = Seen::Now(world.splits(&cutover));
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        let judged = cutover.after_check(&checked, at(world.now));
        judged.routes[0].verdict.clone().expect("judged")
    };
    let known = judged(1440);
    assert_eq!(known.kind, VerdictKind::Regressed, "{}", known.reason);
    assert!(known.reason.contains("orders failed"), "{}", known.reason);
    assert_ne!(judged(0).kind, VerdictKind::Regressed, "without a day it takes a second one");
}

#[test]
fn what_a_step_counted_before_the_window_is_not_lost() {
    const THIN: Counts = Counts { requests: 1, errors: 0 };
    let ramp = Ramp::canary(Percent::from_halves(20).expect("10 %"), 40_000).expect("a ramp");
    let mut cutover = accepted(1, ramp);
    cutover.health.requests_min = 400;
    let mut world = World::of(&cutover, &[THIN]);
    cutover = world.obey(cutover);
    while cutover.step == 0 && cutover.next.action == Action::Wait {
        cutover = world.obey(cutover);
    }
    assert_eq!(cutover.next.action, Action::Shift, "{}", cutover.next.reason);
    assert_eq!(cutover.counted_until, None, "the next step counts for itself");
    let new = cutover.routes[0].verdict.as_ref().expect("judged").new.requests;
    assert!((650..=670).contains(&new), "one a minute, each once: {new}");
}

#[test]
fn the_last_step_keeps_what_the_old_side_did_in_the_ramp_unless_its_day_was_alike() {
    let kept = |usual_rate: f64| {
        let day =
            Baseline { stretches: 1440, requests: 1_440_000, usual_rate, ..Baseline::default() };
        let mut cutover = accepted(1, two_steps());
        cutover.meters[0].baseline = Some(Baselines { errors: day, ..Baselines::default() });
        let mut world = World::of(&cutover, &[FINE]);
        while cutover.step == 0 {
            cutover = world.obey(cutover);
        }
        cutover.meters[0].baseline.as_ref().map(|day| day.errors).expect("a day")
    };
    let alike = kept(0.0);
    assert_eq!((alike.requests, alike.stretches), (1_440_000, 1440));
    let learnt = kept(0.02);
    assert!((5_000..=30_000).contains(&learnt.requests), "{learnt:?}");
    assert!(learnt.usual_rate < 1e-9 && learnt.stretches == 1440, "{learnt:?}");
}

#[test]
fn four_requests_a_minute_suffice_for_a_bake_of_a_day() {
    let ramp = Ramp::canary(Percent::from_halves(20).expect("10 %"), 86_400).expect("a ramp");
    let mut cutover = accepted(1, ramp);
    cutover.health.check_interval_s = 600;
    let mut world = World::of(&cutover, &[FINE]);
    cutover = world.obey(cutover);
    // Of 20 requests in five minutes, the new side gets 2 at once.
    let counted = |at_s: i64| match at_s / 60 % 5 {
        0 => [2, 2],
        _ => [4, 0],
    };
    while cutover.step == 0 && cutover.next.action == Action::Wait {
        world.now += i64::from(cutover.next.wait_s);
        let window = cutover.evidence_window(crate::limits::CLOUDWATCH, at(world.now));
        let side = |side: usize| {
            let starts = (0..window.periods).map(|index| window.start_of(index).as_second());
            let counts = starts.map(|start| counted(start)[side]);
            let counts = counts.map(|requests| Some(Counts { requests, errors: 0 }));
            Series { counts: counts.collect(), ..Series::default() }
        };
        let series = Seen::Now(vec![side(0), side(1)]);
        let observed = Observed { series, ..world.observed(&cutover) };
        let splits = Seen::Now(world.splits(&cutover));
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        cutover = cutover.after_check(&checked, at(world.now));
    }
    assert_eq!(cutover.next.action, Action::Shift, "{}", cutover.next.reason);
    let new = cutover.routes[0].verdict.as_ref().expect("judged").new.requests;
    assert!((570..=580).contains(&new), "two in five minutes, each once: {new}");
}

#[test]
fn requests_that_are_not_sent_hold_a_route_that_is_counted_alone_and_only_warn_of_others() {
    for (counted_by, end) in
        [(CountedBy::Meters, Action::Complete), (CountedBy::MetersAlone, Action::RolledBack)]
    {
        let ramp = Ramp::canary(Percent::from_halves(20).expect("10 %"), 900).expect("a ramp");
        let mut cutover = accepted(1, ramp);
        cutover.routes[0].counted_by = counted_by;
        // A twentieth of the requests, where a tenth is meant for it.
        let mut world = World::of(&cutover, &[Counts { requests: 60, errors: 0 }]);
        let ended = world.run(cutover);
        let reason = &ended.next.reason;
        assert_eq!(ended.next.action, end, "{reason}");
        let is_alone = counted_by == CountedBy::MetersAlone;
        assert_eq!(is_alone, reason.contains(": the router does not"), "{reason}");
    }
}

#[test]
fn a_cutover_that_completes_tells_what_the_old_side_still_gets_and_may_wait_for_it() {
    let mut cutover = accepted(1, two_steps());
    let mut world = World::of(&cutover, &[FINE]);
    let end = world.run(cutover.clone());
    assert_eq!(end.next.action, Action::Complete);
    let said = "; the old side still gets 50 % of the requests";
    assert!(end.next.reason.ends_with(said), "{}", end.next.reason);
    cutover.health.old_share_max = Some(0.01);
    let mut world = World::of(&cutover, &[FINE]);
    let waited = world.run(cutover);
    assert_eq!(waited.next.action, Action::Complete, "it waits for hold_max_s at most");
    assert!(world.now > 3_600, "{}", world.now);
}

#[test]
fn drift_stops_the_route_and_leaves_it_untouched() {
    let mut cutover = accepted(2, two_steps());
    cutover.routes[0].other_writer = Some("external-dns".to_owned());
    let mut world = World::of(&cutover, &[FINE, FINE]);
    cutover = world.obey(cutover);
    world.live[0] = Weights { old: 255, new: 0 };
    cutover = world.obey(cutover);
    assert_eq!(cutover.next.action, Action::RollBack);
    assert!(cutover.next.reason.contains("--policy=create-only"), "{}", cutover.next.reason);
    world.live[0] = Weights { old: 1, new: 2 };
    let end = world.run(cutover);
    assert_eq!(end.next.action, Action::Drifted);
    assert_eq!(world.live, [Weights { old: 1, new: 2 }, Weights { old: 255, new: 0 }]);
}

#[test]
fn a_route_whose_old_side_is_dead_is_kept_and_said_so() {
    let cutover = accepted(2, two_steps());
    let mut world = World::of(&cutover, &[FINE, FINE]);
    let cutover = world.obey(cutover).give_up("CheckHealth could not go on");
    let kept = vec![name(0)];
    let moves = cutover.rollback_moves(&kept);
    assert_eq!(moves.len(), 1);
    let shifted = world.shift(&cutover, &moves);
    let splits = world.splits(&cutover);
    let old_sides = vec![(name(0), OldSide::Dead)];
    assert_eq!(OldSide::dead(&old_sides), kept);
    let end =
        cutover.after_rollback(&RollbackDone { kept, old_sides, ..went_back(shifted, splits) });
    assert_eq!(end.next.action, Action::RollbackFailed);
    assert_eq!(world.live[0].new, 10);
    let report = end.report.expect("an end");
    assert_eq!(report.routes[0].route, name(0), "what did not end well comes first");
    assert!(report.routes[0].reason.contains("no registered target"), "{report:?}");
}

#[test]
fn a_route_that_went_back_to_an_unhealthy_old_side_says_so_first() {
    let table: [(OldSide, bool, Option<&str>); 5] = [
        (OldSide::Unhealthy, false, Some("its old side has no healthy target, and serves")),
        (OldSide::Unhealthy, true, Some("its old side is left out by its router")),
        (OldSide::PartlyUnhealthy, true, Some("its old side is left out by its router")),
        (OldSide::PartlyUnhealthy, false, None),
        (OldSide::Dead, false, Some("its old side has no registered target")),
    ];
    for (old_side, evaluates, warning) in table {
        let mut cutover = accepted(3, two_steps());
        for route in &mut cutover.routes {
            route.all_or_nothing = evaluates;
        }
        let mut world = World::of(&cutover, &[FINE; 3]);
        let cutover = world.obey(cutover).give_up(&"CheckHealth could not go on ".repeat(60));
        let shifted = world.shift(&cutover, &cutover.rollback_moves(&[]));
        let old_sides = vec![(name(0), old_side), (name(2), old_side)];
        let done = RollbackDone { old_sides, ..went_back(shifted, world.splits(&cutover)) };
        let end = cutover.after_rollback(&done);
        assert_eq!(end.next.action, Action::RolledBack, "{old_side:?}: forced or not, it went");
        assert!(world.live.iter().all(|live| live.new == 0));
        let report = end.report.clone().expect("an end");
        let of = |index| report.routes.iter().find(|route| route.route == name(index));
        let reason = |index: usize| &of(index).expect("listed").reason;
        match warning {
            Some(warning) => {
                let first = format!("warning: app-0.example.com went back, but {warning}");
                assert!(report.reason.starts_with(&first), "{}", report.reason);
                assert!(report.reason.contains("and 1 more routes"), "{}", report.reason);
                assert!(report.reason.contains("CheckHealth could"), "{}", report.reason);
                assert!(reason(2).starts_with(warning), "{}", reason(2));
            }
            None => assert!(report.reason.starts_with("CheckHealth"), "{}", report.reason),
        }
        assert!(reason(1).starts_with("CheckHealth"), "{}", reason(1));
        assert_eq!(end.clone().after_rollback(&done), end, "a repeat says it once");
    }
}

#[test]
fn isolated_a_route_that_is_refused_is_kept_and_the_others_go_on() {
    let mut cutover = accepted(3, two_steps());
    cutover.isolate = true;
    let mut world = World::of(&cutover, &[FINE, BAD, FINE]);
    while cutover.next.action != Action::RollBack {
        cutover = world.obey(cutover);
    }
    let mut shifted = world.shift(&cutover, &[]);
    shifted.moves = vec![(name(1), Moved::Refused("it is protected".to_owned()))];
    let splits = world.splits(&cutover);
    let end = world.run(cutover.after_rollback(&went_back(shifted, splits)));
    assert_eq!(end.next.action, Action::RollbackFailed);
    assert!(end.next.reason.contains("is protected"), "{}", end.next.reason);
    let live: Vec<u32> = world.live.iter().map(|live| live.new).collect();
    assert_eq!(live, [100, 10, 100]);
}

#[test]
fn a_step_is_not_passed_while_the_live_weights_cannot_be_read() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let mut cutover = world.obey(accepted(1, two_steps()));
    while cutover.next.action == Action::Wait {
        world.now += i64::from(cutover.next.wait_s);
        let observed = world.observed(&cutover);
        let splits = Seen::OutOfReach("no answer".to_owned());
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        cutover = cutover.after_check(&checked, at(world.now));
    }
    assert_eq!(cutover.next.action, Action::RollBack);
    assert!(cutover.next.reason.contains("no answer"), "{}", cutover.next.reason);
    assert!(world.now >= 3900, "held to the end: {}", world.now);
}

#[test]
fn a_shift_may_be_under_way_for_a_while_after_its_execution_was_stopped() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let shifting = accepted(1, two_steps());
    assert!(shifting.may_be_shifting(Some(at(0)), at(SHIFT_S_MAX - 1)));
    assert!(!shifting.may_be_shifting(Some(at(0)), at(SHIFT_S_MAX)));
    assert!(!world.obey(shifting.clone()).may_be_shifting(Some(at(0)), at(1)));
    let second = Cutover { writes: 1, ..shifting };
    assert!(!second.may_be_shifting(Some(at(0)), at(1)), "its fence is gone by then");
    let without = Cutover { fence: false, ..second };
    assert!(without.may_be_shifting(Some(at(0)), at(1)));
}

#[test]
fn the_bake_begins_when_the_change_is_in_sync_and_the_ttl_is_over() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let mut cutover = world.obey(accepted(1, two_steps()));
    let check = |cutover: Cutover, world: &World, propagated, now| {
        let (splits, observed) = (Seen::Now(world.splits(&cutover)), world.observed(&cutover));
        cutover.after_check(&Checked { propagated, splits, observed }, at(now))
    };
    assert_eq!(cutover.unsettled_receipts(), ["C1"]);
    cutover = check(cutover, &world, Propagation::Pending, 30);
    assert!(matches!(cutover.phase, Phase::Settling(_)));
    cutover = check(cutover, &world, Propagation::Done, 45);
    assert_eq!(cutover.phase, Phase::Baking { since: at(105) });
    assert_eq!(cutover.next.wait_s, 30, "health is watched while the TTL runs out");
    cutover = check(cutover, &world, Propagation::Done, 400);
    assert_eq!((cutover.next.action, cutover.next.wait_s), (Action::Wait, 5));

    let Phase::Settling(lost) = &mut world.obey(accepted(1, two_steps())).phase.clone() else {
        panic!("not settling")
    };
    lost.unconfirmed = true;
    let mut cutover = world.obey(accepted(1, two_steps()));
    cutover.phase = Phase::Settling(lost.clone());
    cutover = check(cutover, &world, Propagation::Done, 10);
    assert_eq!(
        cutover.phase,
        Phase::Baking { since: at(120) },
        "a change whose id was lost gets the time that changes generally take"
    );
}

#[test]
fn a_change_that_never_gets_in_sync_goes_back() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let cutover = world.obey(accepted(1, two_steps()));
    let (splits, observed) = (Seen::Now(world.splits(&cutover)), world.observed(&cutover));
    let checked = Checked { propagated: Propagation::Pending, splits, observed };
    let cutover = cutover.after_check(&checked, at(SETTLE_S_MAX + 1));
    assert_eq!(cutover.next.action, Action::RollBack);
}

#[test]
fn an_execution_whose_history_is_nearly_full_goes_back_in_time() {
    let mut cutover = accepted(1, two_steps());
    cutover.health.hold_max_s = 86_400;
    cutover.health.check_interval_s = 1;
    let mut world = World::of(&cutover, &[QUIET]);
    let end = world.run(cutover);
    assert_eq!(end.next.action, Action::RolledBack);
    assert!(end.next.reason.contains("history is nearly full"), "{}", end.next.reason);
    assert!(end.checks < 2_700, "{}", end.checks);
}

#[test]
fn retries_and_roll_backs_fill_the_history_as_checks_do() {
    let mut cutover = accepted(1, two_steps());
    cutover.health.hold_max_s = 86_400;
    cutover.health.check_interval_s = 1;
    let mut world = World::of(&cutover, &[QUIET]);
    cutover = world.obey(cutover);
    let begun = cutover.clone();
    while cutover.next.action == Action::Wait {
        // AWS throttles at every check.
        cutover.retry_count = 30;
        cutover = world.obey(cutover);
    }
    assert!(cutover.next.reason.contains("history is nearly full"), "{}", cutover.next.reason);
    assert_eq!(cutover.extra_events, 90 * u64::from(cutover.checks));
    let written = 99 * u64::from(cutover.checks);
    let most = crate::limits::HISTORY_EVENTS_MAX - crate::request::ramp::HISTORY_EVENTS_RESERVED;
    assert!((most - 5_000..=most).contains(&written), "{written} events");
    let json = serde_json::to_value(&cutover).expect("JSON");
    assert!(json.get("retry_count").is_none(), "what is counted is not counted again");

    let begun = Cutover { retry_count: 2, ..begun }.give_up("a test");
    let back = world.obey(begun);
    assert_eq!(back.extra_events, 2 * RETRY_EVENTS + ROLLBACK_EVENTS);
}

#[test]
fn the_state_of_250_routes_at_their_worst_stays_under_240_kib() {
    let mut cutover =
        accepted(250, Ramp::linear(Percent::from_halves(2).expect("1 %"), 300).expect("a ramp"));
    let day = Baseline {
        stretches: 1440,
        requests: 123_000_000_000,
        usual_rate: 0.001_23,
        worst_rate: 0.001_23,
        wander: 0.123,
        bursts: 0.0123,
        lasts: 15,
    };
    // Of so many meters no day of refused requests is read.
    for lb in cutover.meters.iter_mut().step_by(2) {
        lb.baseline =
            Some(Baselines { hosts: 1000, errors: day, slow: Some(day), ..Baselines::default() });
    }
    for (index, route) in cutover.routes.iter_mut().enumerate() {
        route.name = RouteId::from(format!("application-number-{index:03}.team.example.com"));
        route.shapes = vec![u32::MAX; 2];
        route.all_or_nothing = true;
        route.counted_by = CountedBy::MetersAlone;
        let counts = Counts { requests: u64::from(u32::MAX), errors: u64::from(u32::MAX) };
        route.verdict = Some(Verdict {
            kind: VerdictKind::NotEnoughData,
            old: counts,
            new: counts,
            log10_e: Some(-888.888),
            failing: true,
            beside: Vec::new(),
            signals: Vec::new(),
            connections: Default::default(),
            old_share: None,
            reason: "not kept".repeat(100),
        });
        route.say(&"why it failed ".repeat(100));
    }
    cutover.report = Some(cutover.report_now(&[]));
    let bytes = crate::validate::accept::state_bytes(&cutover);
    assert!(bytes < 240 * 1024, "{bytes} bytes");
    assert!(bytes > 100 * 1024, "{bytes} bytes: the test's state is not at its worst");
}

#[test]
fn the_number_of_the_fence_rises_with_each_write_and_a_roll_back_is_above_a_shift_under_way() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let mut cutover = accepted(1, two_steps());
    cutover.execution.arn = "arn:aws:states:eu-central-1:1:execution:cutover:first".to_owned();
    let shift = |cutover: &Cutover| cutover.shift_fence(at(9)).expect("a fence");
    assert_eq!((shift(&cutover).number, shift(&cutover).take), (1, true));
    assert_eq!(shift(&cutover).holder, "eu-central-1:1:cutover:first");
    cutover = world.obey(cutover);
    assert_eq!((shift(&cutover).number, shift(&cutover).take), (2, false));
    let back = cutover.rollback_fence(false, at(9)).expect("a fence");
    assert_eq!((back.number, back.take, back.last), (3, false, true));
    assert!(cutover.rollback_fence(true, at(9)).expect("a fence").take, "a person insists");
    let end = world.run(cutover);
    assert!(end.released && end.rollback_fence(false, at(9)).expect("a fence").take);
    assert!(end.to_release().is_empty());
    let without = Cutover { fence: false, ..accepted(1, two_steps()) };
    assert_eq!(without.shift_fence(at(9)), None);
    assert_eq!(without.rollback_fence(true, at(9)), None);
}

#[test]
fn a_cutover_that_completed_releases_its_fences_and_then_ends_as_reported() {
    let mut world = World::of(&accepted(2, two_steps()), &[FINE, FINE]);
    let mut cutover = accepted(2, two_steps());
    while cutover.next.action != Action::Release {
        cutover = world.obey(cutover);
    }
    assert_eq!(cutover.to_release().len(), 2);
    assert_eq!(cutover.report.as_ref().map(|report| report.outcome), Some(Action::Complete));
    let end = cutover.after_release();
    assert_eq!((end.next.action, end.to_release().len()), (Action::Complete, 0));
    assert_eq!(end.clone().after_release(), end, "a repeat changes nothing");
    let mut without = Cutover { fence: false, ..accepted(1, two_steps()) };
    let mut world = World::of(&without, &[FINE]);
    while without.report.is_none() {
        without = world.obey(without);
    }
    assert_eq!(without.next.action, Action::Complete);
}

#[test]
fn a_route_that_another_execution_has_is_left_and_the_others_go_back() {
    let mut world = World::of(&accepted(2, two_steps()), &[FINE, FINE]);
    let cutover = world.obey(accepted(2, two_steps())).give_up("stopped");
    let mut shifted = world.shift(&cutover, &cutover.rollback_moves(&[]));
    let why = "superseded by execution cutover:b: nothing to undo";
    shifted.moves[0].1 = Moved::Superseded(why.to_owned());
    let done = went_back(shifted, world.splits(&cutover));
    let end = cutover.after_rollback(&done);
    assert_eq!(end.next.action, Action::Drifted);
    assert!(end.next.reason.contains(why), "{}", end.next.reason);
    assert_eq!(end.to_release(), [], "its fence is not ours");
    // An event has nothing to be sorry for.
    assert_eq!(end.clone().undone(false), Ok(end));
}

#[test]
fn a_route_that_changed_in_more_than_its_weight_is_drift() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let cutover = world.obey(accepted(1, two_steps()));
    let check = |cutover: &Cutover, shapes: Vec<u32>, live| {
        let route = cutover.routes[0].name.clone();
        let splits =
            Seen::Now(vec![Split { route, live: Live::At(live), whole: Some(live), shapes }]);
        let observed = world.observed(cutover);
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        cutover.clone().after_check(&checked, at(60))
    };
    let last = cutover.routes[0].last;
    assert_eq!(check(&cutover, vec![7], last).routes[0].status, Status::Active);
    let drifted = check(&cutover, vec![8], last);
    assert_eq!(drifted.routes[0].status, Status::Drifted);
    assert!(drifted.next.reason.contains("or for how long, was changed"), "{drifted:?}");
    let mut of_before = cutover.clone();
    of_before.routes[0].shapes.clear();
    assert_eq!(check(&of_before, vec![8], last).routes[0].status, Status::Active);
    // One side has its original weight again: everything goes back.
    let original = cutover.routes[0].original;
    for live in [Weights { old: original.old, ..last }, Weights { new: original.new, ..last }] {
        let reverted = check(&cutover, vec![7], live);
        assert_eq!(reverted.routes[0].status, Status::RollingBack, "{live}");
        assert!(reverted.rollback_moves(&[])[0].from.contains(&live));
    }
    let other = check(&cutover, vec![7], Weights { old: 1, new: 2 });
    assert_eq!(other.routes[0].status, Status::Drifted);
    // A part of one side alone has appeared beside what cutover moved: that can go back.
    let halved = |whole| {
        let (route, live) = (cutover.routes[0].name.clone(), Live::Unclear("half".to_owned()));
        let splits = Seen::Now(vec![Split { route, live, whole, shapes: vec![7] }]);
        let observed = world.observed(&cutover);
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        cutover.clone().after_check(&checked, at(60)).routes[0].status
    };
    assert_eq!(halved(Some(last)), Status::RollingBack);
    assert_eq!(halved(None), Status::Drifted);
    assert_eq!(halved(Some(Weights { old: 1, new: 2 })), Status::Drifted);
    // The same of weights that the shift finds, before a check does.
    let mut shifting = cutover.clone();
    shifting.phase = Phase::Shifting;
    let found = Weights { old: original.old, ..last };
    let moves = vec![(cutover.routes[0].name.clone(), Moved::Drifted(Live::At(found)))];
    let shifted =
        Shifted { moves, receipts: vec![], unconfirmed: false, live_in_s: 60, linger_s: 60 };
    assert_eq!(shifting.after_shift(&shifted, at(60)).routes[0].status, Status::RollingBack);
}

#[test]
fn requests_that_stay_on_the_new_side_are_said_first_with_the_command_that_takes_them_back() {
    let mut world = World::of(&accepted(1, two_steps()), &[FINE]);
    let cutover = world.obey(accepted(1, two_steps())).give_up(&"it fails ".repeat(300));
    world.live[0] = Weights { old: 1, new: 3 };
    let shifted = world.shift(&cutover, &cutover.rollback_moves(&[]));
    let function = Some("cutover-rollback".to_owned());
    let done = RollbackDone { function, ..went_back(shifted, world.splits(&cutover)) };
    let end = cutover.after_rollback(&done);
    assert_eq!((end.next.action, end.to_release().len()), (Action::Release, 1));
    assert_eq!(end.clone().after_release().next.action, Action::Drifted);
    let reason = &end.report.as_ref().expect("an end").reason;
    for said in [
        "REQUESTS STAY ON THE NEW SIDE \"green\". To take them back: aws lambda invoke \
         --function-name cutover-rollback ",
        "{\"execution_arn\":\"arn:x\",\"force\":true}",
        "They are 75 % of app-0.example.com.",
    ] {
        assert!(reason.contains(said), "{said} is not in {reason}");
    }
    assert!(reason.starts_with("REQUESTS"), "{reason}");
}

#[test]
fn a_last_step_at_which_both_sides_fail_is_held_and_does_not_complete() {
    let failing = |old: u64, new: u64| Verdict {
        kind: VerdictKind::Healthy,
        old: Counts { requests: 1000, errors: old },
        new: Counts { requests: 1000, errors: new },
        log10_e: Some(0.0),
        failing: true,
        beside: Vec::new(),
        signals: Vec::new(),
        connections: Default::default(),
        old_share: None,
        reason: "both fail".to_owned(),
    };
    let decided = |cutover: &Cutover, now| {
        let decision = cutover.decide(Settled::Since(at(0)), &Seen::Now(vec![]), now);
        cutover.clone().apply(decision)
    };
    let mut at_the_end = accepted(1, two_steps());
    at_the_end.step = 1;
    at_the_end.phase = Phase::Baking { since: at(0) };
    for (verdict, status) in
        [(failing(400, 400), Status::RollingBack), (failing(1000, 400), Status::Kept)]
    {
        let mut cutover = at_the_end.clone();
        cutover.routes[0].verdict = Some(verdict.clone());
        let held = decided(&cutover, at(300)).next;
        assert_eq!(held.action, Action::Wait, "{}", held.reason);
        assert!(held.reason.contains("are over a limit"), "{}", held.reason);
        let ended = decided(&cutover, at(300 + 3600));
        assert_eq!(ended.routes[0].status, status, "{:?}", ended.routes[0].reason);
        // At any other step it is held as well, and goes back where most of the traffic is.
        cutover = at_the_end.clone();
        cutover.step = 0;
        cutover.routes[0].verdict = Some(verdict);
        assert_eq!(decided(&cutover, at(300)).next.action, Action::Wait);
        let ended = decided(&cutover, at(300 + 3600));
        assert_eq!(ended.routes[0].status, Status::RollingBack);
    }
}

#[test]
fn e_must_reach_more_the_more_is_tested() {
    let limit = |cutover: &Cutover| cutover.log10_limit();
    let mut cutover = accepted(10, two_steps());
    cutover.health.refused_tolerated_odds_ratio = None;
    assert!((limit(&cutover) - 3.0).abs() < 1e-9, "10 pairs / 0.01");
    for route in &mut cutover.routes {
        (route.old_meter, route.new_meter) = (0, 1);
    }
    assert!((limit(&cutover) - 2.0).abs() < 1e-9, "one pair behind all routes");
    cutover.health.latency_target_s = Some(0.5);
    assert!((limit(&cutover) - 200_f64.log10()).abs() < 1e-9, "two signals");
    cutover.health.refused_tolerated_odds_ratio = Some(10.0);
    assert!((limit(&cutover) - 300_f64.log10()).abs() < 1e-9, "three signals");
}

#[test]
fn a_state_of_before_there_was_an_evidence_test_can_be_rolled_back() {
    let cutover = accepted(1, two_steps());
    let mut json = serde_json::to_value(&cutover).expect("JSON");
    let health = json["health"].as_object_mut().expect("an object");
    for newer in ["alpha", "tolerated_odds_ratio", "detectable_odds_ratio"] {
        assert!(health.remove(newer).is_some());
    }
    let back: Cutover = serde_json::from_value(json).expect("a cutover");
    assert_eq!(back.health, cutover.health);
    assert_eq!(back.give_up("stopped").going_back().count(), 1);
}

#[test]
fn the_state_survives_its_own_json() {
    let mut world = World::of(&accepted(2, two_steps()), &[FINE, BAD]);
    let mut cutover = accepted(2, two_steps());
    for _ in 0..10 {
        let json = serde_json::to_string(&cutover).expect("JSON");
        let back: Cutover = serde_json::from_str(&json).expect("a cutover");
        assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
        if cutover.report.is_none() {
            cutover = world.obey(cutover);
        }
    }
    assert_eq!(cutover.next.action, Action::RolledBack);
}

#[test]
fn every_action_has_its_name() {
    for (name, action) in Action::NAMES.into_iter().zip([
        Action::Shift,
        Action::Wait,
        Action::Release,
        Action::Complete,
        Action::Planned,
        Action::Ignored,
        Action::RollBack,
        Action::RolledBack,
        Action::Drifted,
        Action::RollbackFailed,
    ]) {
        assert_eq!(serde_json::to_value(action).expect("JSON"), name);
    }
}

/// What was seen of a route with a side that counts no requests, where others counted this.
fn with_own(world: &World, cutover: &Cutover, old: Counts, new: Counts) -> Observed {
    let mut observed = world.observed(cutover);
    let of = |counts| vec![Some(counts); observed.window.periods as usize];
    observed.own = vec![OwnSeries { old: of(old), new: of(new), ..OwnSeries::default() }];
    observed
}

#[test]
fn a_side_that_counts_no_requests_is_judged_by_what_others_count_alone() {
    let metric = |name: &str| OwnMetric {
        namespace: "Shop".to_owned(),
        metric: name.to_owned(),
        dimensions: BTreeMap::new(),
    };
    let mut cutover = accepted(1, two_steps());
    cutover.routes[0].counted_by = CountedBy::OwnCounts;
    cutover.health.signals = vec![OwnSignal {
        name: "orders".to_owned(),
        requests: metric("Orders"),
        failures: metric("Failed"),
        tolerated_odds_ratio: 1.5,
    }];
    let day = OwnSeries { old: vec![Some(FINE); 1440], ..OwnSeries::default() };
    cutover.own_days = Baselines::of_own(&[day], &cutover.health);
    // What its meters count fails, and is not looked at.
    let mut world = World::of(&cutover, &[BAD]);
    let shifted = world.obey(cutover);
    world.now = 700;
    let check = |old, new| {
        let splits = Seen::Now(world.splits(&shifted));
        let observed = with_own(&world, &shifted, old, new);
        let checked = Checked { propagated: Propagation::Done, splits, observed };
        let settled = shifted.clone().after_check(&checked, at(60));
        settled.after_check(&checked, at(world.now))
    };
    let fine = check(FINE, FINE);
    assert_eq!(fine.next.action, Action::Shift, "{}", fine.next.reason);
    let said = &fine.next.reason;
    assert!(said.contains("orders failed, old 0 % of"), "{said}");
    assert!(said.ends_with("; judged by orders alone"), "{said}");
    assert!(!said.contains("latency"), "{said}");
    let verdict = fine.routes[0].verdict.as_ref().expect("judged");
    assert_eq!((verdict.old, verdict.new), (fine_of(9), fine_of(9)), "orders are its requests");

    let bad = check(FINE, BAD);
    assert_eq!(bad.next.action, Action::RollBack);
    assert!(bad.next.reason.contains("orders failed"), "{}", bad.next.reason);

    let none = check(Counts::default(), Counts::default());
    let said = &none.next.reason;
    assert_eq!(none.next.action, Action::Wait, "{said}");
    assert!(said.contains("0 of the 100 requests needed"), "{said}");
    assert!(said.ends_with("judged by orders alone; the share is not measured"), "{said}");
}

/// What this many fine periods come to.
fn fine_of(periods: u64) -> Counts {
    Counts { requests: FINE.requests * periods, errors: 0 }
}

/// The ids of the meters that are looked up after these requests of the newest periods, and with this many healthy hosts
/// of the new side.
fn looked_up(
    cutover: &Cutover,
    now: i64,
    [old, new]: [&[u64]; 2],
    hosts: Option<u32>,
) -> Vec<String> {
    let window = cutover.evidence_window(crate::limits::CLOUDWATCH, at(now));
    let series = [(old, None), (new, hosts)].map(|(of, healthy_hosts)| {
        let quiet = vec![None; (window.periods as usize).saturating_sub(of.len())];
        let of = of.iter().map(|&requests| Some(Counts { requests, errors: 0 }));
        Series { counts: quiet.into_iter().chain(of).collect(), healthy_hosts, ..Series::default() }
    });
    let (own, alarms) = (vec![], Seen::Now(vec![]));
    let observed = Observed { window, series: Seen::Now(series.into()), own, alarms };
    cutover.silent_meters(&observed).into_iter().map(|meter| meter.id.clone()).collect()
}

#[test]
fn a_silent_side_is_looked_up_when_its_silence_has_doubled_and_one_without_hosts_at_once() {
    let shifted = World::of(&accepted(1, two_steps()), &[FINE]).obey(accepted(1, two_steps()));
    // After this many periods since it has settled, the newest of which the check before has not counted.
    let is_looked_up = |periods: i64, uncounted: i64| {
        let now = i64::from(TTL_S) + 60 * periods;
        let counted_until = Some(at(now - 60 * uncounted));
        let cutover = Cutover { counted_until, ..shifted.clone() };
        !looked_up(&cutover, now, [&[9], &[]], Some(1)).is_empty()
    };
    let periods: Vec<i64> = (0..100).filter(|periods| is_looked_up(*periods, 1)).collect();
    assert_eq!(periods, [3, 6, 12, 24, 48, 96]);
    assert!(is_looked_up(7, 2) && !is_looked_up(8, 2), "a check may count more than one period");
    assert!(!is_looked_up(3, 0), "no check asks what the one before has asked");
    let new = std::slice::from_ref(&shifted.meters[1].id);
    let now = i64::from(TTL_S) + 60;
    assert_eq!(looked_up(&shifted, now, [&[9], &[5]], Some(0)), new, "before it is a silence");
    assert!(looked_up(&shifted, now, [&[9], &[5]], None).is_empty());
}

#[test]
fn what_was_made_anew_is_looked_for_where_requests_should_be_and_is_counted_from_then_on() {
    let shifted = World::of(&accepted(1, two_steps()), &[FINE]).obey(accepted(1, two_steps()));
    let ids = |cutover: &Cutover, now, old: &[u64], new: &[u64]| {
        looked_up(cutover, now, [old, new], None)
    };
    let [old, new] = [0, 1].map(|index| shifted.meters[index].id.clone());
    assert_eq!(ids(&shifted, 600, &[9, 0, 0], &[0, 0, 0]), std::slice::from_ref(&new));
    assert_eq!(ids(&shifted, 600, &[0, 0, 0], &[0, 0, 1]), std::slice::from_ref(&old));
    assert!(ids(&shifted, 600, &[9, 9, 9], &[1, 0, 0]).is_empty());
    let too_early = i64::from(TTL_S) + 179;
    assert!(ids(&shifted, too_early, &[9, 9, 9], &[0, 0, 0]).is_empty(), "it has not settled");
    let mut other = shifted.clone();
    other.routes[0].last = Weights { old: 0, new: 100 };
    assert!(ids(&other, 600, &[0, 0, 0], &[9, 9, 9]).is_empty(), "no weight, no requests");
    other = shifted.clone();
    other.routes[0].counted_by = CountedBy::OwnCounts;
    assert!(ids(&other, 600, &[0, 0, 0], &[0, 0, 0]).is_empty(), "nothing is counted there");

    let anew = |meter: &str| MadeAnew {
        meter: meter.to_owned(),
        id: "app/2;app/1".to_owned(),
        hosts: vec!["g/2".to_owned()],
        called: "balancer: app/2".to_owned(),
    };
    let (followed, said) = shifted.clone().follow(&[anew(&new)]);
    let wanted =
        Meter { id: "app/2;app/1".to_owned(), hosts: vec!["g/2".to_owned()], baseline: None };
    assert_eq!(followed.meters, [shifted.meters[0].clone(), wanted]);
    let reason = followed.next.reason.clone();
    let warning = "; warning: made anew, and counted from now on: the new side's balancer: app/2";
    assert_eq!(followed.warning(said).next.reason, format!("{reason}{warning}"));
    assert_eq!(shifted.clone().follow(&[anew("nobody's")]), (shifted.clone(), None));
    let most = crate::limits::STATE_BYTES_MAX - crate::limits::CAUSE_BYTES_MAX;
    let long = MadeAnew { id: "x".repeat(most), ..anew(&new) };
    assert_eq!(shifted.clone().follow(&[long]), (shifted, None), "the state would not fit");

    let two = accepted(2, two_steps());
    let both = [1, 3].map(|index| anew(&two.meters[index].id));
    let said = two.follow(&both).1.expect("a sentence");
    assert!(warning.ends_with(&said), "once, not for each route: {said}");
}

#[test]
fn an_old_side_that_was_made_anew_elsewhere_keeps_the_traffic_and_a_person_is_told_how() {
    use OldSide::{Dead, Replaced};
    let harm =
        |names: &str| format!("takes {names} back as well, even to an old side that cannot serve.");
    let for_one = format!(
        "For app-0.example.com it must be \"force\": true, which {}",
        harm(&name(1).to_string())
    );
    let by_command = format!("The command {}", harm(&name(1).to_string()));
    let table: [(&[OldSide], bool, bool, Option<&str>); 5] = [
        (&[Replaced, Replaced], false, true, None),
        (&[Dead, Dead], false, false, None),
        (&[Replaced, Dead], false, false, Some(&for_one)),
        // The third one has drifted.
        (&[Replaced, Replaced], true, true, None),
        (&[Replaced, Dead], true, true, Some(&by_command)),
    ];
    for (old_sides, drifts, force, harms) in table {
        let mut world = World::of(&accepted(3, two_steps()), &[FINE; 3]);
        let cutover = world.obey(accepted(3, two_steps())).give_up("a test says so");
        if drifts {
            world.live[2] = Weights { old: 1, new: 3 };
        }
        let old_sides: Vec<(RouteId, OldSide)> =
            old_sides.iter().enumerate().map(|(index, old)| (name(index), *old)).collect();
        let kept = OldSide::dead(&old_sides);
        let shifted = world.shift(&cutover, &cutover.rollback_moves(&kept));
        let splits = world.splits(&cutover);
        let done = RollbackDone { kept, old_sides, ..went_back(shifted, splits) };
        let end = cutover.after_rollback(&done);
        let said = &end.report.as_ref().expect("an end").reason;
        assert!(said.starts_with("REQUESTS STAY"), "{said}");
        assert!(said.contains(&format!("\"force\":{force}")), "{said}");
        match harms {
            Some(harms) => assert!(said.contains(harms), "{said}"),
            None => assert!(!said.contains("as well"), "{said}"),
        }
    }
}
