//! Which router a request names, and what it must say to it.

use serde_json::{Map, Value};

use crate::failure::Problem;
use crate::request::fields::{Fields, refused};
use crate::router::RouteId;
use crate::router::survey::RouterRef;

/// How requests are written for one router: what a router's file gives to the reader of requests.
#[derive(Clone, Copy, Debug)]
pub struct RouterSyntax {
    /// Its name in a request: `"router": "NAME"`, or `"router": {"NAME": {…}}`.
    pub kind: &'static str,
    /// Fields of the request itself that are this router's when its name stands alone. Without any, its name
    /// cannot stand alone.
    pub own_fields: &'static [&'static str],
    /// Reads the router's fields; `None`, and a problem, when one is refused or missing.
    pub place: fn(&mut Fields<'_>) -> Option<Value>,
    /// Reads one entry of `routes`; `None` when it can be no route of this router.
    pub route: fn(&str) -> Option<RouteId>,
    /// Whether an entry of `routes` means a route with this alias.
    pub means: fn(&RouteId, &RouteId) -> bool,
    /// What an entry of `routes` may be, for people.
    pub route_allowed: &'static str,
    /// Whether a request with this place may mean the place of a survey with these scopes.
    pub meets: fn(&Value, &[String]) -> bool,
}

/// A router as `"router"` names it: by its name alone, or with its fields.
#[derive(Clone, Debug)]
enum Named {
    Alone,
    With(Option<Value>),
}

/// Reads which router is asked for: the first one of `routers` when none is named.
pub(crate) fn read(
    fields: &mut Fields<'_>,
    routers: &[RouterSyntax],
) -> Option<(RouterSyntax, Option<RouterRef>)> {
    let is_named = fields.has("router");
    let named = fields.read("router", |value, label, problems| {
        let read = named(value, label, routers, problems);
        if read.is_none() {
            problems.push(refused(label, value, &allowed(routers)));
        }
        read
    });
    let (syntax, named) = match named {
        Some(named) => named,
        None if is_named => {
            for router in routers {
                fields.pass_over(router.own_fields);
            }
            return None;
        }
        None => (*routers.first()?, Named::Alone),
    };
    let place = match named {
        Named::Alone => (syntax.place)(fields),
        Named::With(place) => place,
    };
    for other in routers {
        // Defaults may name the place of a router that this request does not use.
        fields.pass_over_defaults(other.own_fields);
    }
    let router = place.map(|place| RouterRef { kind: syntax.kind.to_owned(), place });
    Some((syntax, router))
}

fn named(
    value: &Value,
    label: &str,
    routers: &[RouterSyntax],
    problems: &mut Vec<Problem>,
) -> Option<(RouterSyntax, Named)> {
    let of = |kind: &str| routers.iter().find(|router| router.kind == kind).copied();
    match value {
        Value::String(kind) => {
            let syntax = of(kind).filter(|syntax| !syntax.own_fields.is_empty())?;
            Some((syntax, Named::Alone))
        }
        Value::Object(map) => {
            let (kind, place) = map.iter().next().filter(|_| map.len() == 1)?;
            let syntax = of(kind)?;
            let mut fields = Fields::of(place.clone(), format!("{label}.{kind}."), problems);
            let place = (syntax.place)(&mut fields);
            fields.finish();
            Some((syntax, Named::With(place)))
        }
        _ => None,
    }
}

/// What `router` may be, for people: `"a", {"a": {…}} or {"b": {…}}`.
fn allowed(routers: &[RouterSyntax]) -> String {
    let alone = routers.iter().filter(|router| !router.own_fields.is_empty());
    let alone = alone.map(|router| format!("{:?}", router.kind));
    let with = routers.iter().map(|router| format!("{{{:?}: {{…}}}}", router.kind));
    alone.chain(with).collect::<Vec<_>>().join(", ")
}

/// Which router another execution's request names, and its fields, however they stand: nothing is refused.
pub(crate) fn named_leniently(
    request: &Map<String, Value>,
    routers: &[RouterSyntax],
) -> Option<RouterRef> {
    let alone = |kind: &str| {
        let syntax = routers.iter().find(|router| router.kind == kind)?;
        let own = syntax
            .own_fields
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), request.get(*name)?.clone())));
        Some(RouterRef { kind: kind.to_owned(), place: Value::Object(own.collect()) })
    };
    match request.get("router") {
        None => alone(routers.first()?.kind),
        Some(Value::String(kind)) => alone(kind),
        Some(Value::Object(map)) => {
            let (kind, place) = map.iter().next().filter(|_| map.len() == 1)?;
            Some(RouterRef { kind: kind.clone(), place: place.clone() })
        }
        Some(_) => None,
    }
}
