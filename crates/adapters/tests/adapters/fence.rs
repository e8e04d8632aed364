//! The fences of the `route53` router: writes that come late, and hands that are not ours.

use std::time::{Duration, Instant};

use adapters::{Route53, Router, Splits};
use aws_sdk_route53::types::{Change, ResourceRecordSet};
use cutover_core::{Fence, Live, Move, Moved, RouteId, Shifted, Sides, Way, Weights};
use jiff::Timestamp;

use crate::fake::Answer;
use crate::zone::{FakeZone, alias, aliases, documented_order, plain};

const CHAT: &str = "chat.example.com";
const FENCE: &str = "_cutover.chat.example.com";
const OLD: Weights = Weights { old: 100, new: 0 };
const HALF: Weights = Weights { old: 50, new: 50 };
const NEW: Weights = Weights { old: 0, new: 100 };

fn router(zone: &FakeZone) -> Route53 {
    let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
    Route53::new(zone.client(), "Z1", sides).unpaced()
}

fn fence(holder: &str, number: u32) -> Fence {
    let at = Timestamp::from_second(1_800_000_000 + i64::from(number)).expect("in range");
    let holder = format!("cutover:{holder}");
    Fence { holder, number, at, take: number == 1, last: false }
}

fn last(holder: &str, number: u32) -> Fence {
    Fence { take: false, last: true, ..fence(holder, number) }
}

async fn shapes(zone: &FakeZone, name: &str) -> Vec<u32> {
    let split = router(zone).read(&[RouteId::from(name)]).await.expect("read");
    split[0].shapes.clone()
}

fn onward(name: &str, from: Weights, to: Weights) -> Move {
    let (shapes, supersedes) = (Vec::new(), None);
    Move { route: name.into(), from: vec![from], to, shapes, way: Way::Onward, supersedes }
}

fn back(from: &[Weights]) -> Move {
    Move { from: from.to_vec(), way: Way::Back, ..onward(CHAT, OLD, OLD) }
}

async fn shift(zone: &FakeZone, asked: Move, fence: &Fence) -> Shifted {
    router(zone).shift(&[asked], Some(fence)).await.expect("shifted")
}

fn moved(shifted: &Shifted) -> &Moved {
    &shifted.moves[0].1
}

fn superseded(shifted: &Shifted) -> &str {
    match moved(shifted) {
        Moved::Superseded(why) => why,
        other => panic!("not superseded: {other:?}"),
    }
}

/// What the fence says, if there is one.
fn mark(zone: &FakeZone) -> Option<String> {
    let state = zone.state();
    let set = state.sets.iter().find(|set| set.name().trim_end_matches('.') == FENCE)?;
    Some(set.resource_records()[0].value().to_owned())
}

/// The service carries out a batch that was sent before: whether it would.
fn late(zone: &FakeZone, batch: &[Change]) -> bool {
    zone.state().changed(batch).is_ok()
}

fn foreign(holder: &str) -> ResourceRecordSet {
    let value = format!("\"cutover 4 2027-01-15T08:00:00Z {holder}\"");
    let mut set = plain(FENCE, "TXT", "", 0, 60, &[&value]);
    (set.set_identifier, set.weight) = (None, None);
    set
}

#[tokio::test]
async fn the_first_shift_takes_the_fence_and_each_write_replaces_it() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    let shifted = shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
    assert_eq!((moved(&shifted), shifted.unconfirmed), (&Moved::There, false));
    assert_eq!(shifted.receipts, ["C2"], "taking the fence moves no traffic: nobody waits for it");
    assert_eq!(mark(&zone).as_deref(), Some("\"cutover 1 2027-01-15T08:00:01Z cutover:a\""));
    assert_eq!(zone.state().batches.iter().map(Vec::len).collect::<Vec<_>>(), [1, 10]);

    shift(&zone, onward(CHAT, HALF, NEW), &fence("a", 2)).await;
    assert_eq!(mark(&zone).as_deref(), Some("\"cutover 2 2027-01-15T08:00:02Z cutover:a\""));
    assert_eq!(zone.weights(CHAT, "AAAA"), (0, 100));

    let shifted = shift(&zone, back(&[NEW]), &last("a", 4)).await;
    assert_eq!(moved(&shifted), &Moved::There);
    assert_eq!((mark(&zone), zone.weights(CHAT, "A")), (None, (100, 0)));
}

#[tokio::test]
async fn no_write_of_a_cutover_can_be_carried_out_after_its_roll_back() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
    shift(&zone, onward(CHAT, HALF, NEW), &fence("a", 2)).await;
    shift(&zone, back(&[NEW]), &last("a", 4)).await;
    let sent = zone.state().batches.clone();
    for (index, batch) in sent.iter().enumerate().skip(1) {
        assert!(!late(&zone, batch), "batch {index} moves traffic after the roll-back");
    }
    // The next cutover reaches the same weights by the same steps.
    for (number, from, to) in [(1, OLD, HALF), (2, HALF, NEW)] {
        shift(&zone, onward(CHAT, from, to), &fence("b", number)).await;
        assert!(sent.iter().all(|batch| !late(&zone, batch)), "at {to}");
    }
}

#[tokio::test]
async fn an_undo_touches_nothing_that_is_another_execution_s() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    shift(&zone, onward(CHAT, OLD, HALF), &fence("b", 1)).await;
    let shifted = shift(&zone, back(&[HALF]), &last("a", 3)).await;
    assert_eq!(superseded(&shifted), "superseded by execution cutover:b: nothing to undo");
    let shifted = shift(&zone, onward(CHAT, HALF, NEW), &fence("a", 1)).await;
    assert_eq!(superseded(&shifted), "superseded by execution cutover:b");
    assert_eq!(zone.state().batches.len(), 2, "those of b");
    assert_eq!(mark(&zone).as_deref(), Some("\"cutover 1 2027-01-15T08:00:01Z cutover:b\""));
    assert_eq!(zone.weights(CHAT, "A"), (50, 50));
}

#[tokio::test]
async fn an_undo_of_what_was_undone_or_has_completed_touches_nothing() {
    let zone = FakeZone::new(aliases(CHAT, 0, 100));
    let shifted = shift(&zone, back(&[NEW]), &last("a", 4)).await;
    assert!(superseded(&shifted).contains("given back or taken over since"));
    assert_eq!(zone.weights(CHAT, "A"), (0, 100));
    // By hand, of a cutover that has completed: taken up again, and then undone.
    let shifted = shift(&zone, back(&[NEW]), &Fence { take: true, ..last("a", 4) }).await;
    assert_eq!(moved(&shifted), &Moved::There);
    assert_eq!((mark(&zone), zone.weights(CHAT, "A")), (None, (100, 0)));
    let sent = zone.state().batches.clone();
    assert_eq!(sent.len(), 2);
    zone.state().set_weight(CHAT, "blue", 0);
    zone.state().set_weight(CHAT, "green", 100);
    assert!(!late(&zone, &sent[1]), "a call that is carried out twice undoes once");
}

#[tokio::test]
async fn a_later_write_of_the_same_execution_wins() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
    shift(&zone, onward(CHAT, HALF, NEW), &fence("a", 2)).await;
    let stale = Fence { take: false, ..fence("a", 1) };
    let shifted = shift(&zone, onward(CHAT, NEW, HALF), &stale).await;
    assert!(superseded(&shifted).contains("a later write of this execution, number 2"));
    assert_eq!(zone.weights(CHAT, "A"), (0, 100));
}

#[tokio::test]
async fn a_lost_reply_to_any_of_the_writes_is_neither_repeated_nor_taken_for_another_hand() {
    for lost in 1..=3 {
        let zone = FakeZone::new(aliases(CHAT, 100, 0));
        let mut number = 0;
        zone.state().after_change = Box::new(move |_| {
            number += 1;
            (number == lost).then_some(Answer::Lost)
        });
        let shifted = shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
        assert_eq!(moved(&shifted), &Moved::There, "reply {lost} was lost");
        assert_eq!(zone.weights(CHAT, "A"), (50, 50));
        let shifted = shift(&zone, back(&[HALF]), &last("a", 3)).await;
        assert_eq!(moved(&shifted), &Moved::There, "reply {lost} was lost");
        assert_eq!((mark(&zone), zone.weights(CHAT, "A")), (None, (100, 0)));
    }
}

#[tokio::test]
async fn a_repeat_of_a_shift_or_of_an_undo_writes_nothing() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
    let again = shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
    assert_eq!((moved(&again), again.unconfirmed, again.linger_s), (&Moved::There, true, 60));
    assert_eq!(zone.state().batches.len(), 2);
    shift(&zone, back(&[HALF]), &last("a", 3)).await;
    let again = shift(&zone, back(&[HALF]), &last("a", 3)).await;
    assert_eq!(moved(&again), &Moved::There);
    assert_eq!(zone.state().batches.len(), 3);
}

#[tokio::test]
async fn a_fence_that_was_taken_before_nothing_moved_is_removed_by_the_roll_back() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    zone.state().before_change = Box::new(|state| {
        (state.batches.len() > 1).then(|| Answer::xml_error(403, "AccessDenied", "not yours"))
    });
    let denied = router(&zone).shift(&[onward(CHAT, OLD, HALF)], Some(&fence("a", 1))).await;
    denied.expect_err("denied");
    assert!(mark(&zone).is_some());
    zone.state().before_change = Box::new(crate::zone::NOTHING);
    let shifted = shift(&zone, back(&[OLD, HALF]), &last("a", 2)).await;
    assert_eq!((moved(&shifted), mark(&zone)), (&Moved::There, None));
}

#[tokio::test]
async fn a_fence_that_an_ended_execution_left_is_replaced_only_where_validation_said_so() {
    let zone = FakeZone::new([aliases(CHAT, 100, 0), vec![foreign("cutover:gone")]].concat());
    let shifted = shift(&zone, onward(CHAT, OLD, HALF), &fence("b", 1)).await;
    assert_eq!(superseded(&shifted), "superseded by execution cutover:gone");
    let supersedes = Some("cutover:gone".to_owned());
    let asked = Move { supersedes, ..onward(CHAT, OLD, HALF) };
    let shifted = shift(&zone, asked, &fence("b", 1)).await;
    assert_eq!(moved(&shifted), &Moved::There);
    let shifted = shift(&zone, back(&[HALF]), &last("gone", 9)).await;
    assert_eq!(superseded(&shifted), "superseded by execution cutover:b: nothing to undo");
}

#[tokio::test]
async fn a_record_in_the_place_of_a_fence_that_is_none_is_not_touched() {
    let mut odd = foreign("x");
    odd.resource_records.as_mut().expect("one")[0].value = "\"v=spf1 -all\"".to_owned();
    let zone = FakeZone::new([aliases(CHAT, 100, 0), vec![odd]].concat());
    let shifted = shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
    let Moved::Refused(why) = moved(&shifted) else { panic!("{shifted:?}") };
    assert!(why.contains(FENCE) && why.contains("\"fence\": false"), "{why}");
    assert!(zone.state().batches.is_empty());
}

#[tokio::test]
async fn a_record_type_that_appears_on_one_side_keeps_nothing_from_going_back() {
    for (id, partly) in [("blue", false), ("green", true)] {
        let zone = FakeZone::new(aliases(CHAT, 100, 0)[..2].to_vec());
        let shapes = shapes(&zone, CHAT).await;
        shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
        zone.state().sets.push(alias(CHAT, "AAAA", id, 100));
        let onward = Move { shapes: shapes.clone(), ..onward(CHAT, HALF, NEW) };
        let stopped = shift(&zone, onward, &fence("a", 2)).await;
        assert!(matches!(moved(&stopped), Moved::MustGoBack(_)), "{stopped:?}");
        let shifted = shift(&zone, Move { shapes, ..back(&[HALF]) }, &last("a", 4)).await;
        match moved(&shifted) {
            Moved::Partly(why) if partly => {
                assert!(why.contains("a record of type AAAA of the new side alone"), "{why}");
            }
            moved => assert_eq!((moved, partly), (&Moved::There, false)),
        }
        assert_eq!((mark(&zone), zone.weights(CHAT, "A")), (None, (100, 0)));
    }
}

#[tokio::test]
async fn a_pair_that_appears_with_other_weights_keeps_nothing_from_going_back() {
    for (weights, partly) in [((100, 0), false), ((70, 30), true)] {
        let zone = FakeZone::new(aliases(CHAT, 100, 0)[..2].to_vec());
        let shapes = shapes(&zone, CHAT).await;
        shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
        zone.state().sets.extend(aliases(CHAT, weights.0, weights.1)[2..].to_vec());
        let shifted = shift(&zone, Move { shapes, ..back(&[HALF]) }, &last("a", 3)).await;
        assert_eq!(matches!(moved(&shifted), Moved::Partly(_)), partly, "{shifted:?}");
        assert_eq!(zone.weights(CHAT, "A"), (100, 0));
        assert_eq!(zone.weights(CHAT, "AAAA"), weights, "not ours");
    }
}

#[tokio::test]
async fn records_that_changed_in_more_than_their_weights_are_drift_until_a_person_insists() {
    let repoint = |set: &mut ResourceRecordSet| {
        let mut target = set.alias_target.clone().expect("an alias");
        target.dns_name = "other.elb.amazonaws.com.".to_owned();
        set.alias_target = Some(target);
    };
    let check = |set: &mut ResourceRecordSet| set.health_check_id = Some("h-1".to_owned());
    let changes: [&dyn Fn(&mut ResourceRecordSet); 2] = [&repoint, &check];
    for change in changes {
        let zone = FakeZone::new(aliases(CHAT, 100, 0));
        let shapes = shapes(&zone, CHAT).await;
        shift(&zone, onward(CHAT, OLD, HALF), &fence("a", 1)).await;
        zone.state().sets.iter_mut().filter(|s| s.weight.is_some()).for_each(change);
        let asked = Move { shapes: shapes.clone(), ..onward(CHAT, HALF, NEW) };
        let stopped = shift(&zone, asked, &fence("a", 2)).await;
        let Moved::Drifted(Live::Unclear(why)) = moved(&stopped) else { panic!("{stopped:?}") };
        assert!(why.starts_with("they are now: old A alias "), "{why}");
        let asked = Move { shapes: shapes.clone(), ..back(&[HALF]) };
        let left = shift(&zone, asked.clone(), &last("a", 4)).await;
        assert!(matches!(moved(&left), Moved::Drifted(Live::Unclear(_))), "{left:?}");
        assert_eq!(zone.weights(CHAT, "A"), (50, 50));
        let forced = shift(&zone, Move { way: Way::Forced, ..asked }, &last("a", 4)).await;
        assert_eq!(moved(&forced), &Moved::There);
        assert_eq!((mark(&zone), zone.weights(CHAT, "A")), (None, (100, 0)));
    }
}

#[tokio::test]
async fn a_listing_that_lacks_a_route_is_read_twice_before_it_counts() {
    let zone = FakeZone::new(aliases(CHAT, 50, 50));
    let hidden = zone.state().sets.clone();
    // The first page that is asked for has none of the records.
    let show = hidden.clone();
    zone.state().sets.clear();
    let mut first = true;
    zone.state().before_list = Box::new(move |state| {
        if !std::mem::take(&mut first) {
            state.sets.clone_from(&show);
        }
    });
    let split = router(&zone).read(&[RouteId::from(CHAT)]).await.expect("read");
    assert_eq!(split[0].live, Live::At(HALF));
    assert_eq!(zone.state().listed.len(), 2);
}

#[tokio::test]
async fn the_fences_of_250_routes_cost_no_page_a_route_and_no_batch_over_the_limit() {
    let names: Vec<String> = (0..250).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    let moves: Vec<Move> = names.iter().map(|name| onward(name, OLD, HALF)).collect();
    let router = router(&zone);
    router.shift(&moves, Some(&fence("a", 1))).await.expect("shifted");
    let sizes: Vec<usize> = zone.state().batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [250, 1000, 1000, 500]);
    assert_eq!(zone.state().listed.len(), 4, "250 routes have 1,000 record sets");
    router
        .release(&moves.iter().map(|m| m.route.clone()).collect::<Vec<_>>(), "cutover:a")
        .await
        .expect("released");
    let state = zone.state();
    assert_eq!(state.batches[4].len(), 250);
    assert_eq!(state.sets.len(), 1000, "none but the fences is gone");
    assert_eq!(state.listed.len(), 4 + 5);
}

#[tokio::test]
async fn more_changes_than_route_53_takes_at_once_are_paced() {
    let names: Vec<String> = (0..180).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    let moves: Vec<Move> = names.iter().map(|name| onward(name, OLD, HALF)).collect();
    let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
    let began = Instant::now();
    Route53::new(zone.client(), "Z1", sides).shift(&moves, None).await.expect("shifted");
    // 1,440 changes are 90 more than may be sent at once.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_release_removes_the_fences_of_its_holder_alone() {
    let zone = FakeZone::new([aliases(CHAT, 0, 100), vec![foreign("cutover:b")]].concat());
    let routes = [RouteId::from(CHAT)];
    router(&zone).release(&routes, "cutover:a").await.expect("nothing to do");
    assert!(mark(&zone).is_some());
    router(&zone).release(&routes, "cutover:b").await.expect("released");
    assert_eq!((mark(&zone), zone.weights(CHAT, "A")), (None, (0, 100)));
    router(&zone).release(&routes, "cutover:b").await.expect("a repeat finds none");
}

#[tokio::test]
async fn a_fence_is_found_whether_dots_sort_as_such_or_end_a_label() {
    let by_label = |name: &str| documented_order(name).replace('.', "\0");
    for order in [documented_order, by_label] {
        for page_max in [1, 2, 3, 5, 300] {
            let names = [CHAT, "_a.chat.example.com", "z.chat.example.com", "chat-b.example.com"];
            let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
            zone.state().order = order;
            zone.state().page_max = page_max;
            let steps = [(1, OLD, HALF), (2, HALF, NEW)];
            for (number, from, to) in steps {
                let moves = names.map(|name| onward(name, from, to));
                let shifted = router(&zone).shift(&moves, Some(&fence("a", number))).await;
                let outcome = shifted.expect("shifted").moves;
                assert!(outcome.iter().all(|(_, moved)| *moved == Moved::There), "{outcome:?}");
            }
        }
    }
}
