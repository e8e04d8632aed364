//! What the listeners of load balancers say of host names: which target groups serve one alone, who shares its load
//! balancer, and whether it is answered at all.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{Listener as Described, ProtocolEnum};
use cutover_core::limits::BALANCER_READ_PACE;
use cutover_core::{Backend, Behind, Door, Entrance, Failure, Found, RouteId};
use tokio::time::Interval;

use crate::capacity::{group_of, pace};
use crate::errors::{failure, incomplete};
use crate::router::alb::listing::{listeners_of, rules};
use crate::router::alb::rule::{Rule, arns_of_groups};
use crate::telemetry::cloudwatch::meter_of_groups;

/// Load balancers that are looked into, with some calls each, because Elastic Load Balancing allows 10 a second to a
/// whole account: of more, those that serve several routes.
const LOOKED_INTO_MAX: usize = 8;
/// Listeners of a load balancer whose rules and certificates are read, for the same reason: one with more is counted as
/// a whole.
const LISTENERS_MAX: usize = 4;

/// One listener of a load balancer.
struct Listener {
    /// What people call it: `443 HTTPS`.
    door: String,
    /// The ARNs of its certificates; `None` where they are not read.
    certificates: Option<BTreeSet<String>>,
    /// In the order in which they are tried, the default action last; `None` where they are not read.
    rules: Option<Vec<Rule>>,
}

/// How the requests of routes enter the load balancers of both sides, by endpoint and route.
///
/// # Errors
/// `Unreachable` when the service could not be reached or throttles, `Refused` when it refuses.
pub async fn entrances(
    client: &Client,
    routes: &[Found],
    behind: &BTreeMap<String, Behind>,
) -> Result<BTreeMap<(String, RouteId), Entrance>, Failure> {
    let mut pace = pace(BALANCER_READ_PACE);
    let mut listeners: BTreeMap<&str, Vec<Listener>> = BTreeMap::new();
    let mut entrances = BTreeMap::new();
    for Pair { old, new, routes } in chosen(routes, behind) {
        // Rules only divide what several share.
        let with_rules = routes.len() > 1 || old.1.groups.len().max(new.1.groups.len()) > 1;
        for (endpoint, backend) in [old, new] {
            if !listeners.contains_key(endpoint) {
                let read = read(client, &mut pace, &backend.id, with_rules).await?;
                listeners.insert(endpoint, read);
            }
            let of = listeners.get(endpoint).map(Vec::as_slice).unwrap_or_default();
            for route in &routes {
                let mut entrance = entrance(of, backend, route.as_str());
                let with_it = routes.iter().filter(|other| *other != route);
                entrance.others.extend(with_it.map(ToString::to_string));
                entrances.insert((endpoint.to_owned(), (*route).clone()), entrance);
            }
        }
    }
    Ok(entrances)
}

/// An endpoint, and the load balancer behind it.
type At<'a> = (&'a str, &'a Backend);

/// The load balancers of both sides of some routes.
struct Pair<'a> {
    old: At<'a>,
    new: At<'a>,
    routes: Vec<&'a RouteId>,
}

/// Pairs of load balancers that are looked into: those of most routes first.
fn chosen<'a>(routes: &'a [Found], behind: &'a BTreeMap<String, Behind>) -> Vec<Pair<'a>> {
    let mut pairs: BTreeMap<(&str, &str), Pair<'_>> = BTreeMap::new();
    let at = |id: &'a String| match behind.get(id) {
        // A target group is counted by itself already.
        Some(Behind::Found(found)) if group_of(id).is_none() => Some((id.as_str(), found)),
        _ => None,
    };
    for found in routes {
        let (Some(old), Some(new)) = (at(&found.old.id), at(&found.new.id)) else { continue };
        let pair = pairs.entry((old.0, new.0));
        pair.or_insert_with(|| Pair { old, new, routes: Vec::new() }).routes.push(&found.route);
    }
    let mut pairs: Vec<Pair<'_>> = pairs.into_values().collect();
    if 2 * pairs.len() > LOOKED_INTO_MAX {
        pairs.retain(|pair| pair.routes.len() > 1);
    }
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.routes.len()));
    pairs.truncate(LOOKED_INTO_MAX / 2);
    pairs
}

/// The listeners of a load balancer, with their rules or without.
async fn read(
    client: &Client,
    pace: &mut Interval,
    balancer_arn: &str,
    with_rules: bool,
) -> Result<Vec<Listener>, Failure> {
    let what = format!("DescribeListeners of {balancer_arn}");
    pace.tick().await;
    let all = listeners_of(client, balancer_arn).await?;
    let are_few = all.len() <= LISTENERS_MAX;
    let mut found = Vec::new();
    for described in all {
        let arn = described.listener_arn().ok_or_else(|| incomplete(&what, "ListenerArn"))?;
        let rules = if with_rules && are_few {
            pace.tick().await;
            let mut rules = rules(client, arn).await?;
            rules.sort_by_key(Rule::place);
            Some(rules)
        } else {
            None
        };
        let is_tls = described.protocol() == Some(&ProtocolEnum::Https);
        let certificates = match (is_tls, are_few) {
            (false, _) => Some(BTreeSet::new()),
            (true, false) => None,
            (true, true) => {
                pace.tick().await;
                Some(certificates(client, arn).await?)
            }
        };
        found.push(Listener { door: door(&described), certificates, rules });
    }
    Ok(found)
}

fn door(listener: &Described) -> String {
    let protocol = listener.protocol().map_or("", ProtocolEnum::as_str);
    format!("{} {protocol}", listener.port().unwrap_or_default())
}

/// The ARNs of all certificates of a listener. Whose names they have is not asked: that takes a permission for the
/// certificates themselves.
async fn certificates(client: &Client, listener_arn: &str) -> Result<BTreeSet<String>, Failure> {
    let what = format!("DescribeListenerCertificates of {listener_arn}");
    let request = client.describe_listener_certificates().listener_arn(listener_arn);
    let certificates = request.into_paginator().items().send().try_collect().await;
    let certificates = certificates.map_err(|error| failure(&what, &error))?;
    Ok(certificates.into_iter().filter_map(|certificate| certificate.certificate_arn).collect())
}

/// How the requests for a host name enter a load balancer.
fn entrance(listeners: &[Listener], backend: &Backend, host: &str) -> Entrance {
    let ways: Vec<Option<Way<'_>>> =
        listeners.iter().map(|of| Some(Way::of(of.rules.as_deref()?, host))).collect();
    let doors = listeners.iter().zip(&ways).map(|(listener, way)| {
        let fixed_answer = way.as_ref().and_then(|way| way.fixed_answer.clone());
        let certificates = listener.certificates.clone();
        (listener.door.clone(), Door { fixed_answer, certificates })
    });
    let all_rules = || listeners.iter().filter_map(|of| of.rules.as_ref()).flatten();
    let groups: BTreeSet<&str> =
        ways.iter().flatten().flat_map(|way| way.groups.iter().copied()).collect();
    // A group that takes another name's requests as well does not tell one from the other.
    let is_shared = |rule: &Rule| {
        !rule.is_only_for(host) && !arns_of_groups(&rule.actions).is_disjoint(&groups)
    };
    let is_apart = !groups.is_empty() && !all_rules().any(is_shared);
    let others = all_rules().flat_map(|rule| &rule.hosts);
    let others: BTreeSet<String> = others
        .map(|pattern| pattern.to_ascii_lowercase())
        .filter(|pattern| pattern != host)
        .collect();
    Entrance {
        own: is_apart.then(|| part_of(backend, &groups, host)).flatten(),
        others,
        doors: doors.collect(),
    }
}

/// The part of a load balancer that consists of these target groups; `None` when one of them is new.
fn part_of(balancer: &Backend, groups: &BTreeSet<&str>, host: &str) -> Option<Backend> {
    let ids: BTreeSet<&str> = groups.iter().filter_map(|arn| group_of(arn)).collect();
    let own: Vec<_> =
        balancer.groups.iter().filter(|group| ids.contains(group.id.as_str())).cloned().collect();
    (own.len() == groups.len()).then(|| Backend {
        called: format!("part of {} for {host}", balancer.called),
        meter: meter_of_groups(&balancer.meter, ids),
        groups: own,
        ..balancer.clone()
    })
}

/// What a listener does with the requests for a host name.
struct Way<'r> {
    /// Target groups to which some of them may go.
    groups: BTreeSet<&'r str>,
    /// What answers them instead, where none may.
    fixed_answer: Option<String>,
}

impl<'r> Way<'r> {
    fn of(rules: &'r [Rule], host: &str) -> Self {
        let mut way = Self { groups: BTreeSet::new(), fixed_answer: None };
        for rule in rules.iter().filter(|rule| rule.hosts.is_empty() || rule.is_for_host(host)) {
            way.groups.extend(arns_of_groups(&rule.actions));
            if rule.paths.is_empty() && !rule.has_other_conditions {
                // No later rule is reached.
                way.fixed_answer = rule.fixed_answer().filter(|_| way.groups.is_empty());
                break;
            }
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{
        Action, ActionTypeEnum, FixedResponseActionConfig, HostHeaderConditionConfig,
        PathPatternConditionConfig, Rule as DescribedRule, RuleCondition,
    };
    use cutover_core::Group;

    use super::*;

    const AT: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

    fn forward(group: &str) -> Action {
        let forward = Action::builder().r#type(ActionTypeEnum::Forward);
        forward.target_group_arn(format!("{AT}:targetgroup/{group}/1")).build()
    }

    fn not_found() -> Action {
        let fixed = FixedResponseActionConfig::builder().status_code("404").build();
        let action = Action::builder().r#type(ActionTypeEnum::FixedResponse);
        action.fixed_response_config(fixed).build()
    }

    /// A rule for these hosts and paths, each a list divided by spaces; `default` is the priority of the default action.
    fn rule(priority: &str, hosts: &str, paths: &str, action: Action) -> Rule {
        let values = |text: &str| {
            Some(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
                .filter(|values| !values.is_empty())
        };
        let host = values(hosts).map(|values| {
            let config = HostHeaderConditionConfig::builder().set_values(Some(values)).build();
            RuleCondition::builder().field("host-header").host_header_config(config).build()
        });
        let path = values(paths).map(|values| {
            let config = PathPatternConditionConfig::builder().set_values(Some(values)).build();
            RuleCondition::builder().field("path-pattern").path_pattern_config(config).build()
        });
        let described = DescribedRule::builder()
            .rule_arn(format!("{AT}:listener-rule/app/shop/1/2/{priority}"))
            .priority(priority)
            .is_default(priority == "default")
            .set_conditions(Some(host.into_iter().chain(path).collect()))
            .actions(action)
            .build();
        Rule::read("DescribeRules", &format!("{AT}:listener/app/shop/1/2"), described)
            .expect("a whole rule")
    }

    fn shop(rules: Vec<Rule>) -> Vec<Listener> {
        let (door, certificates) = ("80 HTTP".to_owned(), None);
        vec![Listener { door, certificates, rules: Some(rules) }]
    }

    fn balancer(groups: &[&str]) -> Backend {
        let group = |name: &&str| Group {
            id: format!("{name}/1"),
            healthy: 2,
            registered: 2,
            by_node: false,
        };
        Backend {
            called: "load balancer app/shop/1".to_owned(),
            id: format!("{AT}:loadbalancer/app/shop/1"),
            meter: "app/shop/1".to_owned(),
            active: true,
            groups: groups.iter().map(group).collect(),
        }
    }

    #[test]
    fn a_host_name_is_counted_by_the_groups_that_serve_it_alone() {
        let (default, none) = ("default", "");
        // The case, the rules, and the meter of a.example.com; none where it is counted together with others.
        let table: [(&str, Vec<Rule>, Option<&str>); 9] = [
            (
                "each host has its own group",
                vec![
                    rule("1", "a.example.com", none, forward("a")),
                    rule("2", "b.example.com", none, forward("b")),
                    rule(default, none, none, not_found()),
                ],
                Some("app/shop/1,targetgroup/a/1"),
            ),
            (
                "a path of its own",
                vec![
                    rule("1", "a.example.com", "/api/*", forward("api")),
                    rule("2", "A.example.com", none, forward("a")),
                    rule(default, none, none, not_found()),
                ],
                Some("app/shop/1,targetgroup/a/1,targetgroup/api/1"),
            ),
            (
                "a path that answers 404 otherwise",
                vec![
                    rule("1", "a.example.com", "/api/*", forward("api")),
                    rule(default, none, none, not_found()),
                ],
                Some("app/shop/1,targetgroup/api/1"),
            ),
            (
                "two hosts in one rule",
                vec![rule("1", "a.example.com b.example.com", none, forward("a"))],
                None,
            ),
            (
                "another host's rule leads to the same group",
                vec![
                    rule("1", "a.example.com", none, forward("a")),
                    rule("2", "b.example.com", "/a", forward("a")),
                ],
                None,
            ),
            (
                "what is left of it goes to all",
                vec![
                    rule("1", "a.example.com", "/api/*", forward("api")),
                    rule("2", "*.example.com", none, forward("a")),
                ],
                None,
            ),
            (
                "a rule for all comes behind",
                vec![
                    rule("1", "a.example.com", none, forward("a")),
                    rule("2", "*.example.com", none, forward("b")),
                ],
                Some("app/shop/1,targetgroup/a/1"),
            ),
            ("all goes to the default action", vec![rule(default, none, none, forward("a"))], None),
            (
                "nothing is there for it",
                vec![
                    rule("1", "b.example.com", none, forward("b")),
                    rule(default, none, none, not_found()),
                ],
                None,
            ),
        ];
        let backend = balancer(&["a", "api", "b"]);
        for (case, rules, meter) in table {
            let found = entrance(&shop(rules), &backend, "a.example.com");
            assert_eq!(found.own.map(|own| own.meter).as_deref(), meter, "{case}");
        }
    }

    #[test]
    fn others_of_a_load_balancer_and_what_it_answers_by_itself_are_told() {
        let rules = || {
            vec![
                rule("1", "B.example.com", "", forward("b")),
                rule("2", "c.example.com a.example.com", "/c", forward("b")),
                rule("default", "", "", not_found()),
            ]
        };
        let found = |host: &str| entrance(&shop(rules()), &balancer(&["b"]), host);
        let a = found("a.example.com");
        assert_eq!(a.others, ["b.example.com", "c.example.com"].map(str::to_owned).into());
        assert_eq!(a.doors["80 HTTP"].fixed_answer, None, "some of its requests are served");
        let d = found("d.example.com");
        assert_eq!(d.doors["80 HTTP"].fixed_answer.as_deref(), Some("a fixed response 404"));
        assert_eq!(d.own, None);
    }

    #[test]
    fn a_group_that_was_not_there_when_they_were_listed_is_not_left_out() {
        let rules = vec![rule("1", "a.example.com", "", forward("late"))];
        assert_eq!(entrance(&shop(rules), &balancer(&["a"]), "a.example.com").own, None);
    }
}
