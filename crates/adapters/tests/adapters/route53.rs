//! The `route53` router.

use std::sync::{Arc, Mutex};

use adapters::{Route53, Router, Splits};
use aws_sdk_route53::operation::get_change::{GetChangeInput, GetChangeOutput};
use aws_sdk_route53::operation::list_resource_record_sets::{
    ListResourceRecordSetsInput, ListResourceRecordSetsOutput,
};
use aws_sdk_route53::types::{
    ChangeAction, ChangeInfo, ChangeStatus, CidrRoutingConfig, ResourceRecordSet,
};
use aws_smithy_types::DateTime;
use cutover_core::{Failure, Live, Move, Moved, Propagation, RouteId, Sides, Way, Weights};

use crate::fake::{Answer, Classes, Fake, client};
use crate::zone::{FakeZone, NOTHING, alias, aliases, plain};

const CHAT: &str = "chat.example.com";

fn sides() -> Sides {
    Sides { old: "blue".to_owned(), new: "green".to_owned() }
}

fn router(zone: &FakeZone) -> Route53 {
    Route53::new(zone.client(), "Z1", sides()).unpaced()
}

fn routes<S: AsRef<str>>(names: &[S]) -> Vec<RouteId> {
    names.iter().map(|name| RouteId::from(name.as_ref())).collect()
}

const fn weights(old: u32, new: u32) -> Weights {
    Weights { old, new }
}

fn to(name: &str, from: Weights, to: Weights) -> Move {
    Move {
        route: RouteId::from(name),
        from: vec![from],
        to,
        shapes: Vec::new(),
        way: Way::Onward,
        supersedes: None,
    }
}

fn step(name: &str) -> Move {
    to(name, weights(100, 0), weights(90, 10))
}

fn there(name: &str) -> (RouteId, Moved) {
    (RouteId::from(name), Moved::There)
}

// ── reading ──

#[tokio::test]
async fn reads_the_split_of_each_route_in_the_order_asked() {
    let zone = FakeZone::new(
        [
            aliases("b.example.com", 90, 10),
            vec![
                plain("a.example.com", "CNAME", "blue", 255, 60, &["x.elb.amazonaws.com"]),
                plain("a.example.com", "CNAME", "green", 0, 60, &["y.elb.amazonaws.com"]),
            ],
        ]
        .concat(),
    );
    let splits = router(&zone).read(&routes(&["b.example.com", "a.example.com"])).await;
    let live: Vec<_> = splits.expect("read").into_iter().map(|split| split.live).collect();
    assert_eq!(live, [Live::At(weights(90, 10)), Live::At(weights(255, 0))]);
}

#[tokio::test]
async fn a_split_is_told_only_when_both_sides_are_there_and_all_types_agree() {
    let mut unweighted = alias(CHAT, "A", "green", 0);
    unweighted.weight = None;
    let table: [(Vec<ResourceRecordSet>, &str); 6] = [
        (vec![], "there is no weighted record of blue or green"),
        (vec![alias(CHAT, "A", "red", 0)], "there is no weighted record of blue or green"),
        (vec![alias(CHAT, "A", "blue", 100)], "the A record of green is missing"),
        (vec![alias(CHAT, "A", "blue", 100), unweighted], "the A record of green is missing"),
        (
            [aliases(CHAT, 100, 0)[..3].to_vec(), vec![]].concat(),
            "the AAAA record of green is missing",
        ),
        (
            [
                aliases(CHAT, 100, 0)[..2].to_vec(),
                vec![alias(CHAT, "AAAA", "blue", 90), alias(CHAT, "AAAA", "green", 10)],
            ]
            .concat(),
            "the A records have weights old 100, new 0, the AAAA records old 90, new 10",
        ),
    ];
    for (sets, sentence) in table {
        let splits = router(&FakeZone::new(sets)).read(&routes(&[CHAT])).await.expect("read");
        assert_eq!(splits[0].live, Live::Unclear(sentence.to_owned()));
    }
}

#[tokio::test]
async fn records_of_other_types_and_of_other_sides_without_weight_do_not_matter() {
    let mut sets = aliases(CHAT, 70, 30);
    sets.push(alias(CHAT, "A", "red", 0));
    sets.push(plain(CHAT, "TXT", "blue", 5, 300, &["\"heritage=external-dns\""]));
    let splits = router(&FakeZone::new(sets)).read(&routes(&[CHAT])).await.expect("read");
    assert_eq!(splits[0].live, Live::At(weights(70, 30)));
}

#[tokio::test]
async fn a_third_side_with_weight_makes_the_split_unknown_but_stops_no_way_back() {
    let mut sets = aliases(CHAT, 90, 10);
    sets.push(alias(CHAT, "A", "red", 5));
    let zone = FakeZone::new(sets);
    let splits = router(&zone).read(&routes(&[CHAT])).await.expect("read");
    let why = "records of a third set identifier, \"red\", have weight".to_owned();
    assert_eq!(splits[0].live, Live::Unclear(why));
    let back = Move { way: Way::Back, ..to(CHAT, weights(90, 10), weights(100, 0)) };
    let shifted = router(&zone).shift(&[back], None).await.expect("shifted");
    assert_eq!(shifted.moves, [there(CHAT)]);
    assert_eq!(zone.weights(CHAT, "A"), (100, 0));
}

#[tokio::test]
async fn pages_that_hold_none_of_the_routes_are_skipped() {
    let filler =
        (0..2000).map(|i| plain(&format!("n{i:04}.example.com"), "A", "x", 1, 60, &["::"]));
    let zone = FakeZone::new(filler.chain(aliases("a.example.com", 100, 0)).chain(aliases(
        "z.example.com",
        100,
        0,
    )));
    let splits = router(&zone).read(&routes(&["z.example.com", "a.example.com"])).await;
    assert!(splits.expect("read").iter().all(|split| split.live == Live::At(weights(100, 0))));
    assert_eq!(zone.state().listed, ["a.example.com", "z.example.com"]);
}

#[tokio::test]
async fn routes_that_stand_together_are_read_in_as_many_calls_as_there_are_pages() {
    let names: Vec<String> = (0..250).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    let splits = router(&zone).read(&routes(&names)).await.expect("read");
    assert!(splits.iter().all(|split| split.live == Live::At(weights(100, 0))));
    assert_eq!(zone.state().listed.len(), 1000_usize.div_ceil(300));
}

#[tokio::test]
async fn a_name_that_goes_on_in_the_next_page_is_read_whole() {
    let names = ["a.example.com", "b.example.com", "c.example.com"];
    for page_max in 1..=12 {
        let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 50, 50)));
        zone.state().page_max = page_max;
        let splits = router(&zone).read(&routes(&names)).await.expect("read");
        assert!(
            splits.iter().all(|split| split.live == Live::At(weights(50, 50))),
            "{page_max} a page"
        );
    }
}

#[tokio::test]
async fn every_route_is_found_in_whatever_order_the_service_sorts() {
    let names = ["chat.example.com", "chat-b.example.com", "9.example.com", "*.example.com"];
    let listed = ["chat.example.com", "chat-b.example.com", "9.example.com", "\\052.example.com"];
    let by_label = |name: &str| crate::zone::documented_order(name).replace('.', "\0");
    let backwards = |name: &str| {
        let key = crate::zone::documented_order(name);
        key.bytes().map(|b| char::from(!b & 0x7f)).collect::<String>() + "\x7f"
    };
    for order in [crate::zone::documented_order, by_label, backwards] {
        for page_max in [1, 5, 300] {
            let zone = FakeZone::new(listed.iter().flat_map(|name| aliases(name, 50, 50)));
            zone.state().order = order;
            zone.state().page_max = page_max;
            let splits = router(&zone).read(&routes(&names)).await.expect("read");
            assert!(
                splits.iter().all(|split| split.live == Live::At(weights(50, 50))),
                "{splits:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_listing_that_does_not_advance_is_not_followed() {
    let fake = Fake::new().on(|input: &ListResourceRecordSetsInput| {
        let reply = ListResourceRecordSetsOutput::builder()
            .set_resource_record_sets(Some(aliases(CHAT, 100, 0)))
            .is_truncated(true)
            .next_record_name(CHAT)
            .set_next_record_type(input.start_record_type.clone())
            .max_items(300);
        Answer::ok(reply.build().expect("complete"))
    });
    let router = Route53::new(client!(aws_sdk_route53, fake), "Z1", sides());
    let failure = router.read(&routes(&[CHAT])).await.expect_err("endless");
    assert_eq!(failure.name(), "Internal", "{failure}");
}

// ── shifting ──

#[tokio::test]
async fn a_shift_replaces_all_types_of_both_sides_and_keeps_everything_but_the_weight() {
    let cidr = CidrRoutingConfig::builder().collection_id("c").location_name("*");
    let mut sets = aliases(CHAT, 100, 0);
    sets[0].health_check_id = Some("h-1".to_owned());
    sets[1].cidr_routing_config = Some(cidr.build().expect("complete"));
    sets.extend([
        plain("b.example.com", "A", "blue", 100, 30, &["192.0.2.1", "192.0.2.2"]),
        plain("b.example.com", "A", "green", 0, 45, &["192.0.2.3"]),
    ]);
    let zone = FakeZone::new(sets.clone());
    let shifted =
        router(&zone).shift(&[step("b.example.com"), step(CHAT)], None).await.expect("shifted");
    assert_eq!(shifted.moves, [there("b.example.com"), there(CHAT)]);
    assert_eq!(shifted.receipts, ["C1"]);
    assert!(!shifted.unconfirmed);

    let state = zone.state();
    assert_eq!(state.batches.len(), 1, "many routes, one call");
    for old in &sets {
        let mut new = old.clone();
        new.weight = Some(if old.set_identifier() == Some("blue") { 90 } else { 10 });
        let sent = |action: ChangeAction, set: &ResourceRecordSet| {
            let wanted = (&action, Some(set));
            state.batches[0].iter().any(|c| (c.action(), c.resource_record_set()) == wanted)
        };
        assert!(sent(ChangeAction::Delete, old), "exactly as it was read: {old:?}");
        assert!(sent(ChangeAction::Create, &new), "with the new weight only: {new:?}");
        assert!(state.sets.contains(&new));
    }
    assert_eq!(state.batches[0].len(), 2 * sets.len());
}

#[tokio::test]
async fn routes_of_250_names_move_in_2_change_calls() {
    let names: Vec<String> = (0..250).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    let moves: Vec<Move> = names.iter().map(|name| step(name)).collect();
    let shifted = router(&zone).shift(&moves, None).await.expect("shifted");
    assert_eq!(shifted.moves, names.iter().map(|name| there(name)).collect::<Vec<_>>());
    assert_eq!(shifted.receipts, ["C1", "C2"]);
    let sizes: Vec<usize> = zone.state().batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 1000]);
}

#[tokio::test]
async fn a_batch_holds_at_most_1000_values_and_32000_characters() {
    let long = "x".repeat(255);
    // 2 sides × DELETE and CREATE × 8 values of 255 characters: 8,160 characters a route.
    let table = [("many values", vec!["192.0.2.1"; 50], 5), ("long values", vec![&*long; 8], 3)];
    for (case, values, routes_a_batch) in table {
        let names: Vec<String> = (0..7).map(|i| format!("r{i}.example.com")).collect();
        let zone = FakeZone::new(names.iter().flat_map(|name| {
            [("blue", 100), ("green", 0)].map(|(id, w)| plain(name, "CNAME", id, w, 60, &values))
        }));
        let moves: Vec<Move> = names.iter().map(|name| step(name)).collect();
        router(&zone).shift(&moves, None).await.expect("shifted");
        let sizes: Vec<usize> = zone.state().batches.iter().map(|b| b.len() / 4).collect();
        let full = 7 / routes_a_batch;
        assert_eq!(sizes[..full], vec![routes_a_batch; full], "{case}");
        assert_eq!(sizes.iter().sum::<usize>(), 7, "{case}");
    }
}

#[tokio::test]
async fn the_ttl_to_wait_for_is_the_longest_of_the_routes_moved() {
    let plain_at = |name: &str, ttl: i64| {
        [("blue", 100), ("green", 0)].map(|(id, w)| plain(name, "A", id, w, ttl, &["192.0.2.1"]))
    };
    let table = [
        (vec![aliases(CHAT, 100, 0)], 60),
        (vec![plain_at(CHAT, 30).to_vec()], 30),
        (vec![aliases(CHAT, 100, 0), plain_at("b.example.com", 300).to_vec()], 300),
        // Drifted: not moved, not waited for.
        (vec![plain_at(CHAT, 30).to_vec(), aliases("b.example.com", 1, 1)], 30),
    ];
    for (sets, ttl_s) in table {
        let zone = FakeZone::new(sets.concat());
        let moves = [CHAT, "b.example.com"].map(step);
        let shifted = router(&zone).shift(&moves[..sets.len()], None).await.expect("shifted");
        assert_eq!(shifted.linger_s, ttl_s);
    }
}

#[tokio::test]
async fn weights_that_are_too_high_are_never_sent() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    let too_high = to(CHAT, weights(100, 0), weights(256, 0));
    let failure = router(&zone).shift(&[too_high], None).await.expect_err("refused");
    assert_eq!(failure.name(), "Internal");
    assert!(zone.state().batches.is_empty());
}

#[tokio::test]
async fn weights_that_are_all_0_are_never_sent() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    let moves = [to(CHAT, weights(100, 0), weights(0, 0))];
    let failure = router(&zone).shift(&moves, None).await.expect_err("refused");
    assert_eq!(failure.name(), "Internal");
    assert_eq!(zone.state().calls(), 0, "before any call");
}

#[tokio::test]
async fn a_route_cannot_be_moved_twice_at_once() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    let failure = router(&zone).shift(&[step(CHAT), step(CHAT)], None).await.expect_err("refused");
    assert_eq!(failure.name(), "Internal");
    assert_eq!(zone.state().calls(), 0, "before any call");
}

#[tokio::test]
async fn nothing_to_move_takes_no_call() {
    let zone = FakeZone::new([]);
    let shifted = router(&zone).shift(&[], None).await.expect("shifted");
    assert!(shifted.moves.is_empty() && shifted.receipts.is_empty() && !shifted.unconfirmed);
    assert_eq!(zone.state().calls(), 0);
}

#[tokio::test]
async fn a_repeated_shift_changes_nothing() {
    let zone = FakeZone::new(aliases(CHAT, 100, 0));
    router(&zone).shift(&[step(CHAT)], None).await.expect("shifted");
    let again = router(&zone).shift(&[step(CHAT)], None).await.expect("shifted");
    assert_eq!(again.moves, [there(CHAT)]);
    assert!(again.receipts.is_empty() && again.unconfirmed, "its change id is not known");
    assert_eq!(again.linger_s, 60);
    assert_eq!(zone.state().batches.len(), 1);
}

#[tokio::test]
async fn a_route_whose_split_is_not_the_expected_one_is_left_alone() {
    let zone = FakeZone::new(
        [aliases(CHAT, 50, 50), aliases("b.example.com", 100, 0)[..1].to_vec()].concat(),
    );
    let moves = [step(CHAT), step("b.example.com"), step("c.example.com")];
    let shifted = router(&zone).shift(&moves, None).await.expect("shifted");
    let became: Vec<Moved> = shifted.moves.into_iter().map(|(_, moved)| moved).collect();
    assert_eq!(
        became,
        [
            Moved::Drifted(Live::At(weights(50, 50))),
            Moved::Drifted(Live::Unclear("the A record of green is missing".to_owned())),
            Moved::Drifted(Live::Unclear(
                "there is no weighted record of blue or green".to_owned()
            )),
        ]
    );
    assert!(zone.state().batches.is_empty());
}

#[tokio::test]
async fn any_of_the_expected_splits_will_do() {
    let zone = FakeZone::new(aliases(CHAT, 80, 20));
    let back = Move {
        from: vec![weights(90, 10), weights(80, 20)],
        way: Way::Back,
        ..to(CHAT, weights(80, 20), weights(100, 0))
    };
    let shifted = router(&zone).shift(&[back], None).await.expect("shifted");
    assert_eq!(shifted.moves, [there(CHAT)]);
    assert_eq!(zone.weights(CHAT, "AAAA"), (100, 0));
}

#[tokio::test]
async fn a_lost_reply_is_no_drift() {
    for lost in [
        || Answer::Lost,
        || Answer::xml_error(500, "InternalFailure", "oops"),
        || Answer::xml_error(400, "Throttling", "Rate exceeded"),
    ] {
        let zone = FakeZone::new(aliases(CHAT, 100, 0));
        let mut replies = vec![lost];
        zone.state().after_change = Box::new(move |_| replies.pop().map(|lost| lost()));
        let shifted = router(&zone).shift(&[step(CHAT)], None).await.expect("shifted");
        assert_eq!(shifted.moves, [there(CHAT)]);
        assert!(shifted.receipts.is_empty() && shifted.unconfirmed);
        assert_eq!(zone.state().batches.len(), 2, "the SDK's retry was refused");
        assert_eq!(zone.weights(CHAT, "A"), (90, 10));
    }
}

/// Both forms of the refusal; the SDK knows only the first.
fn refusals() -> [fn() -> Answer; 2] {
    [
        || Answer::xml_error(400, "InvalidChangeBatch", "[no match]"),
        || {
            Answer::Http(
                400,
                "<?xml version=\"1.0\"?>\n\
                 <InvalidChangeBatch xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
                 <Messages><Message>no match</Message></Messages></InvalidChangeBatch>"
                    .to_owned(),
            )
        },
    ]
}

#[tokio::test]
async fn a_second_writer_in_the_middle_of_a_shift_stops_its_route_only() {
    for refusal in refusals() {
        let names = ["a.example.com", "b.example.com", "c.example.com"];
        let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
        let mut first = true;
        zone.state().before_change = Box::new(move |state| {
            std::mem::take(&mut first).then(|| {
                state.set_weight("b.example.com", "green", 77);
                refusal()
            })
        });
        let shifted = router(&zone).shift(&names.map(step), None).await.expect("shifted");
        let drifted = Moved::Drifted(Live::At(weights(100, 77)));
        assert_eq!(shifted.moves[0], there(names[0]));
        assert_eq!(shifted.moves[1], (RouteId::from(names[1]), drifted));
        assert_eq!(shifted.moves[2], there(names[2]));
        assert_eq!(shifted.receipts, ["C2"]);
        assert_eq!(zone.weights("b.example.com", "A"), (100, 77), "untouched");
        assert_eq!(zone.weights("c.example.com", "AAAA"), (90, 10));
    }
}

#[tokio::test]
async fn routes_that_are_there_that_move_and_that_drifted_can_be_in_one_shift() {
    let names = ["a.example.com", "b.example.com", "c.example.com"];
    let zone = FakeZone::new(
        [aliases(names[0], 90, 10), aliases(names[1], 100, 0), aliases(names[2], 1, 2)].concat(),
    );
    let shifted = router(&zone).shift(&names.map(step), None).await.expect("shifted");
    assert_eq!(shifted.moves[..2], [there(names[0]), there(names[1])]);
    assert_eq!(shifted.moves[2].1, Moved::Drifted(Live::At(weights(1, 2))));
    assert_eq!((shifted.receipts.len(), shifted.unconfirmed), (1, true));
    assert_eq!(zone.state().batches[0].len(), 8, "only the route that has to move");
}

#[tokio::test]
async fn a_refusal_for_another_reason_than_the_weights_is_not_tried_forever() {
    for refusal in refusals() {
        let zone = FakeZone::new(aliases(CHAT, 100, 0));
        zone.state().before_change = Box::new(move |_| Some(refusal()));
        let shifted = router(&zone).shift(&[step(CHAT)], None).await.expect("told");
        let Moved::Refused(why) = &shifted.moves[0].1 else { panic!("{shifted:?}") };
        assert!(why.contains("InvalidChangeBatch"), "{why}");
        assert!(why.contains("no match"), "what the service says: {why}");
        assert_eq!(zone.state().batches.len(), 2, "once more after a second look");
        assert_eq!(zone.weights(CHAT, "A"), (100, 0));
    }
}

#[tokio::test]
async fn a_route_that_is_refused_for_good_keeps_no_other_from_moving() {
    let names: Vec<String> = (0..130).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    zone.state().before_change = Box::new(|state| {
        let sets = state.batches.last()?.iter().filter_map(|change| change.resource_record_set());
        let is_protected = sets.into_iter().any(|set| set.name() == "r042.example.com.");
        is_protected.then(|| Answer::xml_error(400, "InvalidChangeBatch", "[r042 is protected]"))
    });
    let moves: Vec<Move> = names.iter().map(|name| step(name)).collect();
    let shifted = router(&zone).shift(&moves, None).await.expect("told");
    let refused = shifted.moves.iter().filter(|(_, moved)| *moved != Moved::There);
    let refused: Vec<_> = refused.collect();
    let [(_, Moved::Refused(why))] = &refused[..] else { panic!("{refused:?}") };
    assert!(why.starts_with("InvalidChangeBatch: [r042 is protected]"), "{why}");
    let splits = router(&zone).read(&routes(&names)).await.expect("read");
    let still: Vec<&str> = splits
        .iter()
        .filter(|split| split.live != Live::At(weights(90, 10)))
        .map(|split| split.route.as_str())
        .collect();
    assert_eq!(still, ["r042.example.com"]);
    assert!(zone.state().batches.len() < 25, "by parts, not one by one");
}

#[tokio::test]
async fn a_shift_that_failed_half_way_is_finished_by_a_repeat() {
    let names: Vec<String> = (0..200).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    let moves: Vec<Move> = names.iter().map(|name| step(name)).collect();
    zone.state().before_change = Box::new(|state| {
        (state.batches.len() > 1).then(|| Answer::xml_error(403, "AccessDenied", "not yours"))
    });
    let failure = router(&zone).shift(&moves, None).await.expect_err("the second batch is refused");
    assert_eq!(failure.name(), "Refused");
    zone.state().before_change = Box::new(NOTHING);
    let shifted = router(&zone).shift(&moves, None).await.expect("shifted");
    assert!(shifted.moves.iter().all(|(_, moved)| *moved == Moved::There));
    assert_eq!((shifted.receipts.len(), shifted.unconfirmed), (1, true));
    assert_eq!(zone.state().batches[2].len(), 75 * 8, "what the first one did not move");
}

#[tokio::test]
async fn an_earlier_change_of_the_zone_and_a_throttle_are_waited_for() {
    for code in ["PriorRequestNotComplete", "Throttling"] {
        let zone = FakeZone::new(aliases(CHAT, 100, 0));
        let mut busy = 2;
        zone.state().before_change = Box::new(move |_| {
            busy -= 1;
            (busy >= 0).then(|| Answer::xml_error(400, code, "later"))
        });
        let shifted = router(&zone).shift(&[step(CHAT)], None).await.expect("the SDK tries again");
        assert_eq!((shifted.moves, shifted.unconfirmed), (vec![there(CHAT)], false));
        assert_eq!(zone.state().batches.len(), 3, "{code}");
    }
}

#[tokio::test]
async fn each_class_of_error_has_its_name_whatever_the_call() {
    let table: Classes<5> = [
        (|| Answer::xml_error(400, "Throttling", "Rate exceeded"), "Unreachable"),
        (|| Answer::xml_error(503, "ServiceUnavailable", "later"), "Unreachable"),
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::xml_error(403, "AccessDenied", "not yours"), "Refused"),
        (|| Answer::xml_error(404, "NoSuchHostedZone", "no Z1"), "Refused"),
    ];
    for (answer, name) in table {
        let fake = Fake::new()
            .on(move |_: &ListResourceRecordSetsInput| answer())
            .on(move |_: &GetChangeInput| answer());
        let router = Route53::new(client!(aws_sdk_route53, fake), "Z1", sides());
        let read = router.read(&routes(&[CHAT])).await.expect_err(name);
        let propagated = router.is_live(&["C1".to_owned()]).await.expect_err(name);
        let zone = FakeZone::new(aliases(CHAT, 100, 0));
        zone.state().before_change = Box::new(move |_| Some(answer()));
        let shift = self::router(&zone).shift(&[step(CHAT)], None).await.expect_err(name);
        assert_eq!([read.name(), propagated.name(), shift.name()], [name; 3]);
        assert!(read.to_string().starts_with("ListResourceRecordSets of zone Z1: "), "{read}");
        assert!(shift.to_string().starts_with("ChangeResourceRecordSets of zone Z1: "), "{shift}");
        assert!(propagated.to_string().starts_with("GetChange C1: "), "{propagated}");
    }
}

// ── propagation ──

#[tokio::test]
async fn changes_have_propagated_once_none_is_pending() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let fake = Fake::new().on(move |input: &GetChangeInput| {
        let id = input.id().expect("an id");
        seen.lock().expect("whole").push(id.to_owned());
        let status = if id == "C2" { ChangeStatus::Pending } else { ChangeStatus::Insync };
        let info = ChangeInfo::builder().id(id).status(status).submitted_at(DateTime::from_secs(0));
        let info = info.build().expect("complete");
        Answer::ok(GetChangeOutput::builder().change_info(info).build())
    });
    let router = Route53::new(client!(aws_sdk_route53, fake), "Z1", sides());
    for (ids, propagated) in [
        (&[][..], Propagation::Done),
        (&["C1"], Propagation::Done),
        (&["C1", "C3"], Propagation::Done),
        (&["C1", "C2", "C3"], Propagation::Pending),
    ] {
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        assert_eq!(router.is_live(&ids).await, Ok::<_, Failure>(propagated));
    }
    let asked = asked.lock().expect("whole");
    assert_eq!(*asked, ["C1", "C1", "C3", "C1", "C2"], "no question after the first PENDING");
}
