//! What the listeners of load balancers say of the routes behind them, and how many calls that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use adapters::clients::LoadBalancingClient;
use adapters::listeners::entrances;
use aws_sdk_elasticloadbalancingv2::operation::describe_listener_certificates::{
    DescribeListenerCertificatesInput, DescribeListenerCertificatesOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_listeners::{
    DescribeListenersInput, DescribeListenersOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_rules::{
    DescribeRulesInput, DescribeRulesOutput,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, HostHeaderConditionConfig, Listener, ProtocolEnum, Rule,
    RuleCondition,
};
use cutover_core::{Backend, Behind, Door, Endpoint, Found, Group, RouteId, Weights};

use crate::fake::{Answer, Classes, Fake, client};

const ARN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

fn forward(group: &str) -> Action {
    let forward = Action::builder().r#type(ActionTypeEnum::Forward);
    forward.target_group_arn(format!("{ARN}:targetgroup/{group}/1")).build()
}

/// The side in a load balancer's, listener's or rule's ARN.
fn side(arn: &str) -> &str {
    arn.split('/').nth(2).expect("a name")
}

/// Load balancers that listen on 443 with a rule for each of two hosts, whose groups are `SIDE-a` and `SIDE-b`.
fn account() -> (LoadBalancingClient, Arc<Mutex<Vec<&'static str>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let calls = Arc::clone(&calls);
        move |call| calls.lock().expect("whole").push(call)
    };
    let listeners = {
        let note = note.clone();
        move |input: &DescribeListenersInput| {
            note("listeners");
            let side = side(input.load_balancer_arn().expect("named"));
            let listener = Listener::builder()
                .listener_arn(format!("{ARN}:listener/app/{side}/1/2"))
                .port(443)
                .protocol(ProtocolEnum::Https)
                .default_actions(forward(&format!("{side}-a")));
            Answer::ok(DescribeListenersOutput::builder().listeners(listener.build()).build())
        }
    };
    let rules = {
        let note = note.clone();
        move |input: &DescribeRulesInput| {
            note("rules");
            let side = side(input.listener_arn().expect("named"));
            let rule = |(priority, name): (&str, &str)| {
                let host = format!("{name}.example.com");
                let hosts = HostHeaderConditionConfig::builder().values(host).build();
                let condition = RuleCondition::builder().host_header_config(hosts).build();
                Rule::builder()
                    .rule_arn(format!("{ARN}:listener-rule/app/{side}/1/2/{priority}"))
                    .priority(priority)
                    .conditions(condition)
                    .actions(forward(&format!("{side}-{name}")))
                    .build()
            };
            // The service gives no word on their order.
            let rules = [("2", "b"), ("1", "a")].map(rule);
            Answer::ok(DescribeRulesOutput::builder().set_rules(Some(rules.into())).build())
        }
    };
    let certificates = move |input: &DescribeListenerCertificatesInput| {
        note("certificates");
        let side = side(input.listener_arn().expect("named"));
        let one = Certificate::builder().certificate_arn(format!("certificate of {side}")).build();
        let reply = DescribeListenerCertificatesOutput::builder().certificates(one);
        Answer::ok(reply.build())
    };
    let fake = Fake::new().on(listeners).on(rules).on(certificates);
    (client!(aws_sdk_elasticloadbalancingv2, fake), calls)
}

fn found(name: &str, old: &str, new: &str) -> Found {
    let endpoint = |id: &str| Endpoint { id: id.to_owned(), all_or_nothing: None };
    Found {
        route: RouteId::from(format!("{name}.example.com")),
        live: Weights { old: 100, new: 0 },
        old: endpoint(old),
        new: endpoint(new),
        linger_s: 60,
        aliases: BTreeSet::new(),
        side_names: BTreeSet::new(),
        other_writer: None,
        shapes: vec![],
        mark: None,
    }
}

fn backend(side: &str, groups: &[&str]) -> (String, Behind) {
    let group = |name: &&str| Group {
        id: format!("{side}-{name}/1"),
        healthy: 1,
        registered: 1,
        by_node: false,
    };
    let backend = Backend {
        called: format!("load balancer app/{side}/1"),
        id: format!("{ARN}:loadbalancer/app/{side}/1"),
        meter: format!("app/{side}/1"),
        active: true,
        groups: groups.iter().map(group).collect(),
    };
    (side.to_owned(), Behind::Found(backend))
}

#[tokio::test]
async fn routes_that_share_load_balancers_are_told_apart_by_their_rules() {
    let (client, calls) = account();
    let routes = [found("a", "blue", "green"), found("b", "blue", "green")];
    let behind = BTreeMap::from([backend("blue", &["a", "b"]), backend("green", &["a", "b"])]);
    let entrances = entrances(&client, &routes, &behind).await.expect("read");
    assert_eq!(entrances.len(), 4);
    let b = &entrances[&("green".to_owned(), RouteId::from("b.example.com"))];
    let own = b.own.as_ref().expect("told apart");
    assert_eq!(own.meter, "app/green/1,targetgroup/green-b/1");
    assert_eq!(own.called, "part of load balancer app/green/1 for b.example.com");
    let door = Door {
        fixed_answer: None,
        certificates: Some(BTreeSet::from(["certificate of green".to_owned()])),
    };
    assert_eq!(b.doors, BTreeMap::from([("443 HTTPS".to_owned(), door)]));
    let made = ["listeners", "rules", "certificates", "listeners", "rules", "certificates"];
    assert_eq!(*calls.lock().expect("whole"), made);
}

#[tokio::test]
async fn rules_are_asked_for_only_where_there_is_something_to_tell_apart() {
    let (client, calls) = account();
    let behind = BTreeMap::from([backend("blue", &["a"]), backend("green", &["a"])]);
    let one = [found("a", "blue", "green")];
    let read = entrances(&client, &one, &behind).await.expect("read");
    assert_eq!(read.len(), 2);
    assert!(read.values().all(|entrance| {
        entrance.own.is_none() && entrance.doors["443 HTTPS"].fixed_answer.is_none()
    }));
    assert!(!calls.lock().expect("whole").contains(&"rules"));
}

#[tokio::test]
async fn of_many_load_balancers_only_shared_ones_are_looked_into_and_of_these_eight() {
    let (client, calls) = account();
    let sides = |pair: usize| [format!("blue{pair}"), format!("green{pair}")];
    let behind: BTreeMap<String, Behind> =
        (0..250).flat_map(sides).map(|side| backend(&side, &["a"])).collect();
    let route = |index: usize, pair: usize| {
        let [old, new] = sides(pair);
        found(&format!("r{index}"), &old, &new)
    };
    let alone: Vec<Found> = (0..250).map(|index| route(index, index)).collect();
    assert_eq!(entrances(&client, &alone, &behind).await, Ok(BTreeMap::new()));
    assert_eq!(calls.lock().expect("whole").len(), 0, "250 pairs, no call");
    // Pair 7 has 3 routes, pairs 0 to 9 have 2.
    let shared: Vec<Found> = (0..20).map(|index| route(index, index % 10)).collect();
    let shared: Vec<Found> = shared.into_iter().chain([route(99, 7)]).collect();
    let read = entrances(&client, &shared, &behind).await.expect("read");
    assert!(read.contains_key(&("blue7".to_owned(), RouteId::from("r99.example.com"))));
    let looked_into: BTreeSet<&String> = read.keys().map(|(endpoint, _)| endpoint).collect();
    assert_eq!(looked_into.len(), 8);
}

#[tokio::test]
async fn each_class_of_error_of_a_listener_has_its_name() {
    let table: Classes<3> = [
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::xml_error(400, "Throttling", "Rate exceeded"), "Unreachable"),
        (|| Answer::xml_error(403, "AccessDenied", "not authorized"), "Refused"),
    ];
    for (answer, name) in table {
        let fake = Fake::new().on(move |_: &DescribeListenersInput| answer());
        let client = client!(aws_sdk_elasticloadbalancingv2, fake);
        let behind = BTreeMap::from([backend("blue", &["a"]), backend("green", &["a"])]);
        let read = entrances(&client, &[found("a", "blue", "green")], &behind).await;
        assert_eq!(read.expect_err(name).name(), name);
    }
}
