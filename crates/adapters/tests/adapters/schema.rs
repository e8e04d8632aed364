//! Every version of the state that there ever was is read, and a roll-back can be made from it.

use std::fs;
use std::path::Path;

use adapters::schema_1::upgraded;
use cutover_core::{Cutover, Order, Status};
use serde_json::{Value, json};

/// The states of the samples of one schema, with the names of their files. A sample is a state, or an order
/// with one in it.
fn samples(schema: u32) -> Vec<(String, Value)> {
    let directory = format!("../core/tests/data/schema-{schema}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let read = |path: &Path| {
        let text = fs::read_to_string(path).expect("text");
        let sample: Value = serde_json::from_str(&text).expect("JSON");
        let state = sample.get("cutover").unwrap_or(&sample).clone();
        (path.display().to_string(), state)
    };
    let files = fs::read_dir(directory).expect("samples");
    let files = files.map(|file| file.expect("a sample").path());
    let samples: Vec<_> = files.map(|path| read(&path)).collect();
    assert!(!samples.is_empty());
    samples
}

fn read(file: &str, state: Value) -> Cutover {
    Cutover::read(upgraded(state)).unwrap_or_else(|failure| panic!("{file}: {failure}"))
}

fn all() -> impl Iterator<Item = (String, Value)> {
    (1..=cutover_core::SCHEMA).flat_map(samples)
}

#[test]
fn a_roll_back_can_be_made_from_every_state_that_was_ever_written() {
    for (file, state) in all() {
        let cutover = read(&file, state);
        let routes = cutover.routes.clone();
        assert_eq!(routes.len(), 2, "{file}");
        let order = Order::of_execution(cutover, "a test says so", false).into_cutover();
        let moves = order.rollback_moves(&[]);
        for (route, back) in routes.iter().zip(&moves) {
            assert_eq!(back.route, route.name, "{file}");
            assert_eq!(back.to, route.original, "{file}");
            assert!(back.from.contains(&route.last), "{file}");
            assert_ne!(route.status, Status::RolledBack, "{file}: nothing to give back");
        }
        assert_eq!(moves.len(), routes.len(), "{file}");
        assert_eq!(order.going_back().count(), routes.len(), "{file}: a load balancer each");
    }
}

#[test]
fn fields_that_were_added_later_do_not_keep_a_state_from_being_read() {
    for (file, state) in all() {
        let plain = read(&file, state.clone());
        let mut later = state;
        let meters = ["/meters/0", "/load_balancers/0"];
        let meters = meters.into_iter().find(|pointer| later.pointer(pointer).is_some());
        let meters = meters.expect("what counts");
        for pointer in ["", "/execution", "/health", "/ramp/0", meters, "/routes/0", "/next"] {
            let object = later.pointer_mut(pointer).and_then(Value::as_object_mut);
            let object = object.unwrap_or_else(|| panic!("{file} has no {pointer}"));
            object.insert("added_later".to_owned(), json!({"a": [1]}));
        }
        assert_eq!(read(&file, later), plain, "{file}");
    }
}

#[test]
fn a_state_that_no_known_version_wrote_is_refused_with_what_to_do() {
    let (_, good) = samples(1).remove(0);
    let with = |schema: Value| {
        let mut state = good.clone();
        state["schema"] = schema;
        Cutover::read(upgraded(state)).expect_err("refused").to_string()
    };
    let newer = with(json!(1_000_000));
    for told in ["unknown_schema", "newer version", "schema is 1000000", "Deploy the newer"] {
        assert!(newer.contains(told), "{told} is not in {newer}");
    }
    for odd in [json!(0), json!("1"), json!(1.5), json!(-1), json!(null), json!([1])] {
        let refused = with(odd.clone());
        assert!(refused.contains("no state of cutover"), "{odd}: {refused}");
    }
    for none in [json!(null), json!([]), json!({"routes": []}), json!("state")] {
        let refused = Cutover::read(upgraded(none)).expect_err("refused").to_string();
        assert!(refused.contains("its schema is missing"), "{refused}");
    }
    let mut broken = good;
    broken["routes"] = json!(7);
    let refused = Cutover::read(upgraded(broken)).expect_err("refused").to_string();
    assert!(refused.contains("unreadable_state"), "{refused}");
}
