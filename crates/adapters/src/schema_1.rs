//! Makes states of schema 1 those of this version: the first versions had one router, Route 53, and named its things
//! in the state. `core` knows neither, so this is done where a state comes in: with an event, and in a history.

use cutover_core::limits::ROUTE53_LIVE_IN_S;
use serde_json::{Map, Value, json};

use crate::router::route53;

/// Names of fields in schema 1, and the name of the same field in schema 2.
const ROUTE: [(&str, &str); 3] = [
    ("old_lb", "old_meter"),
    ("new_lb", "new_meter"),
    ("evaluates_target_health", "all_or_nothing"),
];
const SETTLING: [(&str, &str); 2] = [("changes", "receipts"), ("ttl_s", "linger_s")];

/// Changes a state of schema 1 into one of schema 2, whether it stands alone or in an order to roll back. Anything
/// else stays as it is.
#[must_use]
pub fn upgraded(mut value: Value) -> Value {
    upgrade(&mut value);
    if let Some(state) = value.get_mut("cutover") {
        upgrade(state);
    }
    value
}

/// What is missing or odd in a state stays so, and is refused when it is read.
fn upgrade(state: &mut Value) {
    let is_former = state.get("schema").and_then(Value::as_u64) == Some(1);
    let Some(fields) = state.as_object_mut().filter(|_| is_former) else { return };
    if let Some(zone) = fields.remove("hosted_zone") {
        let router = json!({"kind": route53::KIND, "place": route53::place(zone)});
        fields.insert("router".to_owned(), router);
    }
    rename(fields, "load_balancers", "meters");
    for meter in objects(fields.get_mut("meters")) {
        rename(meter, "target_groups", "hosts");
        for host in meter.get_mut("hosts").and_then(Value::as_array_mut).into_iter().flatten() {
            // The first of them had the prefix.
            if let Some(short) = host.as_str().and_then(|id| id.strip_prefix("targetgroup/")) {
                *host = json!(short);
            }
        }
    }
    let mut is_owned = false;
    for route in objects(fields.get_mut("routes")) {
        for (old, new) in ROUTE {
            rename(route, old, new);
        }
        if route.remove("external_dns") == Some(json!(true)) {
            is_owned = true;
            route.insert("other_writer".to_owned(), json!("external-dns"));
        }
    }
    if is_owned {
        let advice = json!({"external-dns": "run it with --policy=create-only"});
        fields.insert("other_writers".to_owned(), advice);
    }
    let settling = fields.get_mut("phase").and_then(|phase| phase.get_mut("settling"));
    if let Some(settling) = settling.and_then(Value::as_object_mut) {
        for (old, new) in SETTLING {
            rename(settling, old, new);
        }
        settling.insert("live_in_s".to_owned(), json!(ROUTE53_LIVE_IN_S));
    }
    fields.insert("schema".to_owned(), json!(2));
}

fn rename(fields: &mut Map<String, Value>, old: &str, new: &str) {
    if let Some(value) = fields.remove(old) {
        fields.insert(new.to_owned(), value);
    }
}

/// The objects of a list.
fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = list.and_then(Value::as_array_mut).into_iter().flatten();
    list.filter_map(Value::as_object_mut)
}
