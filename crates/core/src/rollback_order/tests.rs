use serde_json::json;

use super::*;
use crate::cutover::{RollbackDone, SHIFT_S_MAX};
use crate::next::ROLLBACK_FAILED;
use crate::router::{Moved, Shifted, Weights};

const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:cutover";
const EXECUTION: &str = "arn:aws:states:eu-central-1:123456789012:execution:cutover:green-1";
const BY_HAND: By = By::Hand { force: false };

fn state(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

/// A state in mid-ramp whose two routes go with the ramp.
fn baking() -> Value {
    state(include_str!("../../tests/data/schema-2/check-health-baking.json"))
}

/// The state that validation gives.
fn first_step() -> Value {
    state(include_str!("../../tests/data/schema-2/shift-weight-first-step.json"))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn ended(status: &str, error: Option<&str>) -> Ended {
    Ended {
        execution_arn: EXECUTION.to_owned(),
        status: status.to_owned(),
        error: error.map(str::to_owned),
        stopped_at: Some(at(1000)),
    }
}

fn stopped() -> Ended {
    ended("ABORTED", None)
}

fn recorded(state: Value) -> Recorded {
    Recorded::State { state, shift_begun: false }
}

fn asked(by: By) -> Asked {
    Asked { execution_arn: EXECUTION.to_owned(), by }
}

fn read(event: Value) -> Result<RollbackStart, Failure> {
    RollbackStart::read(event, MACHINE)
}

fn codes(refused: Result<RollbackStart, Failure>) -> Vec<String> {
    match refused {
        Err(Failure::InvalidInput(problems)) => problems.into_iter().map(|p| p.code).collect(),
        other => panic!("not refused: {other:?}"),
    }
}

/// The order for what an execution did, as a person asks for it.
fn order(past: Past) -> Order {
    match past.todo(&asked(BY_HAND), at(5000)) {
        Ok(Todo::Undo { order, .. }) => *order,
        other => panic!("nothing to undo: {other:?}"),
    }
}

fn why_nothing(past: Past) -> String {
    match past.todo(&asked(BY_HAND), at(5000)) {
        Ok(Todo::Nothing(reason)) => reason,
        other => panic!("something to undo: {other:?}"),
    }
}

/// The end of a roll-back in which every move succeeds, but for routes that are kept.
fn rolled_back(cutover: Cutover, kept: usize) -> Cutover {
    let kept: Vec<_> = cutover.routes.iter().take(kept).map(|route| route.name.clone()).collect();
    let moves = cutover.rollback_moves(&kept);
    let moves = moves.into_iter().map(|m| (m.route, Moved::There)).collect();
    let shifted =
        Shifted { moves, receipts: vec![], unconfirmed: false, live_in_s: 60, linger_s: 60 };
    cutover.after_rollback(&RollbackDone {
        kept,
        old_sides: vec![],
        shifted,
        splits: vec![],
        function: None,
    })
}

#[test]
fn the_three_ways_to_ask_for_a_roll_back_are_told_apart() {
    let by_hand = json!({"execution_arn": EXECUTION, "force": true});
    let force = By::Hand { force: true };
    assert_eq!(read(by_hand), Ok(RollbackStart::Execution(asked(force))));
    let by_hand = json!({"execution_arn": EXECUTION});
    assert_eq!(read(by_hand), Ok(RollbackStart::Execution(asked(BY_HAND))));
    let event = json!({"detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": EXECUTION, "status": "ABORTED", "stopDate": 5000}});
    assert_eq!(read(event), Ok(RollbackStart::Execution(asked(By::Event))));
    let order = json!({"cutover": baking(), "failure": null, "added_later": 1});
    assert!(matches!(read(order), Ok(RollbackStart::Order(_))));
}

#[test]
fn everything_that_is_wrong_with_what_a_person_asks_is_said_at_once() {
    let odd = json!({"execution_arn": EXECUTION.replace(":cutover:", ":other:"),
        "force": "yes", "forse": true});
    assert_eq!(codes(read(odd)), ["invalid_field", "invalid_field", "unknown_field"]);
    for arn in [json!("green-1"), json!(7), json!(MACHINE), json!(format!("{}:", MACHINE))] {
        assert_eq!(codes(read(json!({ "execution_arn": arn }))), ["invalid_field"], "{arn}");
    }
    assert_eq!(codes(read(json!({"force": true}))), ["missing_field"]);
    assert_eq!(codes(read(json!(null))), ["invalid_field", "missing_field"]);
    let refused = read(json!({"execution_arn": "green-1"})).expect_err("refused").to_string();
    let allowed = EXECUTION.replace("green-1", "NAME");
    assert!(refused.contains(&allowed), "{refused}");
}

#[test]
fn an_order_or_event_that_cannot_be_read_is_refused() {
    let odd = json!({"cutover": null, "failure": "Internal", "force": 1});
    let mut refused = codes(read(odd));
    refused.sort();
    assert_eq!(refused, ["invalid_field", "invalid_field", "unknown_schema"]);
    for event in [
        json!({"detail-type": "EC2 Instance State-change Notification", "detail": {}}),
        json!({"detail-type": "Step Functions Execution Status Change", "detail": {}}),
        json!({"detail-type": "Step Functions Execution Status Change",
            "detail": {"executionArn": EXECUTION.replace(":cutover:", ":other:")}}),
    ] {
        assert_eq!(codes(read(event)), ["unknown_event"]);
    }
}

#[test]
fn a_task_that_failed_takes_all_routes_back_and_says_its_message() {
    let order = json!({"cutover": baking(), "failure": {"Error": "Refused",
        "Cause": "{\"errorType\":\"Refused\",\"errorMessage\":\"not yours\"}"}});
    let Ok(RollbackStart::Order(order)) = read(order) else { panic!("not an order") };
    let cutover = order.into_cutover();
    assert_eq!(cutover.going_back().count(), 2);
    assert_eq!(cutover.next.reason, "could not go on: Refused: not yours");
}

#[test]
fn an_execution_that_is_running_is_never_rolled_back() {
    let refused = Past::Running.todo(&asked(By::Hand { force: true }), at(0));
    let refused = refused.expect_err("refused");
    assert_eq!(refused.name(), "InvalidInput");
    assert!(refused.to_string().contains("execution_running"), "{refused}");
    assert!(refused.to_string().contains("stop it first"), "{refused}");
    let refused = Past::Running.todo(&asked(By::Event), at(0)).expect_err("refused");
    assert_eq!(refused.name(), "Unreachable", "the event may be ahead of the description");
}

#[test]
fn what_touched_nothing_gives_nothing_back() {
    let mut planned = first_step();
    planned["next"]["action"] = json!("planned");
    let entered = |names: &[&str]| Recorded::Nothing {
        entered: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let table = [
        (ended("SUCCEEDED", None), recorded(planned), "a dry run"),
        (stopped(), recorded(first_step()), "(ABORTED) before its first shift"),
        (stopped(), entered(&[FIRST_STATE]), "(ABORTED) before its validation was done"),
        (ended("SUCCEEDED", None), entered(&[FIRST_STATE, "DecideNext"]), "asks for nothing"),
    ];
    for (ended, recorded, why) in table {
        assert_eq!(ended.without_history(BY_HAND), None);
        let reason = why_nothing(ended.past(recorded).expect("told"));
        assert!(reason.contains(why) && reason.ends_with("it touched nothing"), "{reason}");
    }
    let rejected = ended("FAILED", Some(REJECTED)).without_history(BY_HAND);
    assert!(why_nothing(rejected.expect("told")).contains("was rejected"));
}

#[test]
fn an_execution_that_was_stopped_in_its_first_shift_is_undone() {
    let recorded = Recorded::State { state: first_step(), shift_begun: true };
    let order = order(stopped().past(recorded).expect("told"));
    let cutover = order.into_cutover();
    let first = &cutover.rollback_moves(&[])[0];
    assert_eq!(first.from[..2], [Weights { old: 100, new: 0 }, Weights { old: 90, new: 10 }]);
    assert_eq!(first.to, Weights { old: 100, new: 0 });
}

#[test]
fn a_first_shift_that_failed_and_could_not_be_taken_back_is_undone_by_hand() {
    let failed = rolled_back(Cutover::read(first_step()).expect("a state").give_up("bad"), 1);
    assert_eq!(failed.first_shift_at, None);
    let state = serde_json::to_value(&failed).expect("JSON");
    let end = ended("FAILED", Some(ROLLBACK_FAILED));
    let order = order(end.past(recorded(state)).expect("told"));
    assert_eq!(order.into_cutover().rollback_moves(&[]).len(), 1);
}

#[test]
fn a_state_that_is_not_found_although_something_was_written_is_an_error() {
    for (names, told) in
        [(vec![FIRST_STATE, "ShiftWeight"], "got as far as ShiftWeight"), (vec![], "ended")]
    {
        let entered = names.into_iter().map(str::to_owned).collect();
        let failure = stopped().past(Recorded::Nothing { entered }).expect_err("an error");
        assert_eq!(failure.name(), "Internal");
        assert!(failure.to_string().contains(told), "{failure}");
        assert!(failure.to_string().contains("nothing was given back"), "{failure}");
    }
}

#[test]
fn a_last_state_of_a_newer_version_is_refused_and_no_older_one_is_taken_for_it() {
    let mut newer = baking();
    newer["schema"] = json!(3);
    let failure = stopped().past(recorded(newer)).expect_err("refused");
    assert!(failure.to_string().contains("unknown_schema"), "{failure}");
}

#[test]
fn by_event_only_an_end_that_was_not_its_own_decision_is_undone() {
    for own in [ended("SUCCEEDED", None), ended("FAILED", Some(ROLLBACK_FAILED))] {
        let Some(Past::NothingToUndo(reason)) = own.without_history(By::Event) else {
            panic!("{own:?} is not left alone")
        };
        assert!(reason.contains("decided its end itself"), "{reason}");
        assert_eq!(own.without_history(BY_HAND), None, "a person may undo it");
    }
    let crashed = ended("FAILED", Some("States.Runtime"));
    for interrupted in [stopped(), ended("TIMED_OUT", None), crashed] {
        assert_eq!(interrupted.without_history(By::Event), None);
        let past = interrupted.past(recorded(baking())).expect("told");
        let Ok(Todo::Undo { order, again }) = past.todo(&asked(By::Event), at(1001)) else {
            panic!("nothing to undo")
        };
        assert!(!again, "it was baking");
        assert_eq!(order.into_cutover().rollback_moves(&[]).len(), 2);
    }
}

#[test]
fn what_was_stopped_in_a_shift_is_undone_once_more_also_by_hand() {
    let mut shifting = baking();
    shifting["phase"] = json!("shifting");
    let again = |ended: Ended, now| {
        let past = ended.past(recorded(shifting.clone())).expect("told");
        match past.todo(&asked(BY_HAND), at(now)) {
            Ok(Todo::Undo { again, .. }) => again,
            other => panic!("nothing to undo: {other:?}"),
        }
    };
    assert!(again(stopped(), 1000 + SHIFT_S_MAX - 1));
    assert!(!again(stopped(), 1000 + SHIFT_S_MAX));
    assert!(!again(ended("FAILED", Some(ROLLBACK_FAILED)), 1001), "it waited for the shift");
}

#[test]
fn a_route_that_could_not_go_back_is_tried_again_by_hand_and_the_others_are_left() {
    let failed = rolled_back(Cutover::read(baking()).expect("a state").give_up("bad"), 1);
    assert_eq!(failed.next.action, Action::RollbackFailed);
    let end = ended("FAILED", Some(ROLLBACK_FAILED));
    let state = serde_json::to_value(&failed).expect("JSON");
    let order = order(end.clone().past(recorded(state)).expect("told"));
    assert!(!order.force, "the old side is asked about again");
    let cutover = order.into_cutover();
    let moves = cutover.rollback_moves(&[]);
    assert_eq!((moves.len(), &moves[0].route), (1, &failed.routes[0].name));

    let kept_again = rolled_back(cutover.clone(), 1);
    assert_eq!(kept_again.next.action, Action::RollbackFailed);
    let done = rolled_back(cutover, 0);
    assert_eq!(done.next.action, Action::RolledBack);
    let report = done.report.clone().expect("an end");
    let reasons: Vec<&str> = report.routes.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons, ["asked for by hand", "went back already"]);

    let state = serde_json::to_value(&done).expect("JSON");
    let reason = why_nothing(end.past(recorded(state)).expect("told"));
    assert!(reason.contains("went back already"), "{reason}");
}

#[test]
fn an_order_of_the_state_machine_leaves_a_route_that_was_kept_unless_it_is_forced() {
    let failed = rolled_back(Cutover::read(baking()).expect("a state").give_up("bad"), 2);
    let order = |force| {
        Order { cutover: failed.clone(), failure: None, force, retake: force }.into_cutover()
    };
    assert_eq!(order(false).going_back().count(), 0);
    assert_eq!(order(true).going_back().count(), 2);
}

#[test]
fn the_answer_is_the_state_or_a_plain_reason() {
    let nothing = serde_json::to_value(Answer::nothing("it was a dry run".to_owned()));
    let wanted = json!({"outcome": "nothing_to_do", "reason": "it was a dry run"});
    assert_eq!(nothing.expect("JSON"), wanted);
    let cutover = Cutover::read(baking()).expect("a state");
    let did = serde_json::to_value(Answer::from(cutover.clone())).expect("JSON");
    assert_eq!(did, serde_json::to_value(cutover).expect("JSON"));
}
