//! What another execution's input lays claim to, read as the state machine reads it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::request::overlaid;
use crate::request::start::Start;
use crate::router::RouteId;
use crate::validate::Zone;

/// What another execution wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// To touch nothing.
    Nothing,
    /// Some routes.
    Routes(Wanted),
    /// Its input cannot be read: it may want anything.
    Unknown,
}

/// The routes that another execution wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Their zone, by name or id; `None` when none is named.
    zone: Option<String>,
    /// Their names; without any, all that have records of its new side.
    routes: Option<BTreeSet<RouteId>>,
    /// The set identifier of its new side.
    new: String,
}

impl Claim {
    /// Reads an input, with the defaults laid under it. It is not refused for what a request must not be:
    /// an older version of the functions may have accepted it.
    pub(crate) fn read(input: Option<&str>, defaults: &Value) -> Self {
        let Some(input) = input.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
            return Self::Unknown;
        };
        // Whatever its cluster is called: what may be a claim is one.
        let request = match Start::read(&input, "") {
            Ok(Start::Request(request)) => overlaid(defaults, &request),
            Ok(Start::Ignored(_)) | Err(_) => return Self::Nothing,
        };
        if request.get("dry_run").and_then(Value::as_bool) == Some(true) {
            return Self::Nothing;
        }
        let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
        let routes = match request.get("routes") {
            None | Some(Value::Null) => None,
            Some(Value::Array(names)) => {
                let read: Option<BTreeSet<RouteId>> =
                    names.iter().map(|name| name.as_str().map(RouteId::from)).collect();
                if read.is_none() {
                    return Self::Unknown;
                }
                read
            }
            Some(_) => return Self::Unknown,
        };
        match text("new") {
            Some(new) => Self::Routes(Wanted { zone: text("hosted_zone"), routes, new }),
            None => Self::Unknown,
        }
    }
}

impl Wanted {
    /// Those of a zone's routes that are wanted. Each has the set identifiers of its records beside it.
    pub(crate) fn among<'c>(
        &self,
        zone: &Zone,
        routes: impl Iterator<Item = (&'c RouteId, &'c BTreeSet<String>)>,
    ) -> Vec<String> {
        if self.zone.as_ref().is_some_and(|named| !is_zone(named, zone)) {
            return Vec::new();
        }
        let wanted = |(route, identifiers): &(&RouteId, &BTreeSet<String>)| match &self.routes {
            Some(routes) => routes.contains(*route),
            None => identifiers.contains(&self.new),
        };
        routes.filter(wanted).map(|(route, _)| route.to_string()).collect()
    }
}

/// Whether a request that names its zone so means this one.
fn is_zone(named: &str, zone: &Zone) -> bool {
    let named = named.trim_start_matches('/');
    let named = named.strip_prefix("hostedzone/").unwrap_or(named).trim_end_matches('.');
    named.eq_ignore_ascii_case(&zone.id) || named.eq_ignore_ascii_case(&zone.name)
}
