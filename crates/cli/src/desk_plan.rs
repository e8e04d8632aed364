//! `cutover plan`: what a request would do, as far as it can be told without AWS.

use std::fmt::Write as _;

use cutover_core::Baselines;
use cutover_core::Planned;
use cutover_core::grouped;
use cutover_core::limits::{alb, route53};
use cutover_core::{Failure, Meter, Plan, Request, RouteId, RouterSyntax};
use serde_json::{Value, json};

/// At a desk nothing is looked up: whatever a router's fields say, it is not read.
const ROUTERS: [RouterSyntax; 2] = [
    RouterSyntax {
        kind: "route53",
        own_fields: &["hosted_zone"],
        place: |fields| Some(fields.anything("hosted_zone")),
        ..UNREAD
    },
    RouterSyntax {
        kind: "alb",
        place: |fields| {
            let names = ["listener", "side_tag", "target_groups", "other_writers"];
            Some(names.map(|name| fields.anything(name)).into())
        },
        ..UNREAD
    },
];
const UNREAD: RouterSyntax = RouterSyntax {
    kind: "",
    own_fields: &[],
    place: |_| None,
    route: |name| Some(RouteId::from(name)),
    means: |_, _| false,
    route_allowed: "a text",
    meets: |_, _| true,
};

/// What a request does not say and only AWS knows.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Routes, when the request leaves them to be found.
    pub routes: Option<usize>,
    /// Pairs of load balancers that the routes share.
    pub load_balancer_pairs: usize,
    /// Healthy hosts of the old side, of each pair.
    pub hosts: Option<u32>,
    /// Longest TTL of the records, in seconds.
    pub ttl_s: u32,
}

/// Plans a request, JSON as the state machine takes it. `hosted_zone` may be left out.
///
/// # Errors
/// `InvalidInput` with every problem of the request.
pub fn plan(request: &Value, known: &Known) -> Result<(Request, Plan), Failure> {
    // Periods may be of any length.
    let request = Request::parse(&json!({}), request, &ROUTERS, 1)?;
    let (behaviour, linger_s) = match request.router.kind.as_str() {
        "alb" => (alb(), 0),
        _ => (route53(request.fence), known.ttl_s),
    };
    let unfit = request.unfit(behaviour.live_in_s.saturating_add(linger_s));
    if !unfit.is_empty() {
        return Err(Failure::InvalidInput(unfit));
    }
    let baseline = |hosts| Baselines { hosts, ..Baselines::default() };
    // The healthy hosts of target groups are counted: one a load balancer at least.
    let pairs = (0..known.load_balancer_pairs).flat_map(|pair| {
        let old = Meter {
            id: format!("old-{pair}"),
            hosts: vec![format!("old-group-{pair}")],
            baseline: known.hosts.map(baseline),
        };
        let new = Meter {
            id: format!("new-{pair}"),
            hosts: vec![format!("new-group-{pair}")],
            baseline: None,
        };
        [old, new]
    });
    let meters: Vec<Meter> = pairs.collect();
    let plan = Plan::of(&Planned {
        steps: request.ramp.steps(),
        scale: request.ramp.scale(),
        health: &request.health,
        routes: request.routes.as_ref().map_or(known.routes.unwrap_or(1), Vec::len),
        behaviour: &behaviour,
        meters: &meters,
        linger_s,
        resolvers: request.resolvers,
    });
    Ok((request, plan))
}

/// The plan as people read it.
#[must_use]
pub fn table(request: &Request, plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a `String` never fails.
    let _ = writeln!(
        out,
        "{} route(s) to {} in {} step(s), {} if nothing holds one",
        plan.routes,
        request.new,
        plan.steps.len(),
        duration(plan.duration_s)
    );
    let _ = writeln!(
        out,
        "\nstep  {:>9}  {:>6}  {:>9}  {:>7}  {:>7}  {:>11}  hosts needed",
        "begins at", "share", "weights", "settles", "bakes", "worst share"
    );
    for (index, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(
            out,
            "{:>4}  {:>9}  {:>6}  {:>9}  {:>7}  {:>7}  {:>11}  {}",
            index + 1,
            duration(step.shift_at_s),
            step.percent.to_string(),
            format!("{}:{}", step.weights.old, step.weights.new),
            duration(u64::from(step.settle_s)),
            duration(u64::from(step.bake_s)),
            format!("{} %", step.worst_percent),
            step.hosts_needed.map_or("– (name --hosts)".to_owned(), |hosts| hosts.to_string()),
        );
    }
    let _ = writeln!(
        out,
        "\nworst share: what {} resolvers may send to the new side for a while; with a chance of 99 % it is not \
         more in the whole step",
        grouped(u64::from(request.resolvers))
    );
    if request.routes.is_none() {
        let _ =
            writeln!(out, "routes: the request leaves them to be found; {} assumed", plan.routes);
    }
    let _ = writeln!(
        out,
        "calls: {} to write weights, a shift; {} checks, each {} GetMetricData of {} metrics",
        plan.change_calls_per_shift,
        grouped(plan.checks),
        plan.metric_calls_per_check,
        grouped(plan.metrics_per_check as u64)
    );
    if plan.write_s > 0 {
        let _ = writeln!(
            out,
            "each shift is written in parts, which takes {} s, because the service takes only some changes a second",
            plan.write_s
        );
    }
    let _ = writeln!(
        out,
        "cost: about USD {:.2} for state transitions and metrics, at the list prices of us-east-1",
        plan.cost_usd
    );
    out
}

/// `45 s`, `2 min`, `1 h 10 min`.
fn duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let parts = [(hours, "h"), (minutes, "min"), (rest, "s")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number} {unit}"))
        .collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}
