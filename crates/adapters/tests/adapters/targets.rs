//! Load balancers and their targets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use adapters::Targets;
use aws_sdk_elasticloadbalancingv2::operation::describe_load_balancers::{
    DescribeLoadBalancersInput, DescribeLoadBalancersOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_target_groups::{
    DescribeTargetGroupsInput, DescribeTargetGroupsOutput,
};
use aws_sdk_elasticloadbalancingv2::operation::describe_target_health::{
    DescribeTargetHealthInput, DescribeTargetHealthOutput,
};
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancer, LoadBalancerState, LoadBalancerStateEnum, TargetGroup, TargetHealth,
    TargetHealthDescription, TargetHealthStateEnum,
};
use cutover_core::facts::{FoundLoadBalancer, Group, LoadBalancerKind};

use crate::fake::{Answer, Classes, Fake, client};

const ARN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

fn balancer(name: &str, state: LoadBalancerStateEnum) -> LoadBalancer {
    LoadBalancer::builder()
        .load_balancer_arn(format!("{ARN}:loadbalancer/app/{name}/1"))
        .dns_name(format!("{name}.eu-central-1.elb.amazonaws.com"))
        .load_balancer_name(name)
        .state(LoadBalancerState::builder().code(state).build())
        .build()
}

/// An account of load balancers `lb0`…, each with two target groups: one with two of its three
/// targets healthy, one without targets. Pages hold 10. Calls are noted.
fn account(balancers: usize) -> (Targets, Arc<Mutex<Vec<String>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let calls = Arc::clone(&calls);
        move |call: String| calls.lock().expect("whole").push(call)
    };
    let all: Vec<String> = (0..balancers).map(|i| format!("lb{i}")).collect();
    let page = |marker: Option<&str>| {
        let from = marker.map_or(0, |marker| marker.parse().expect("ours"));
        (from, from + 10)
    };
    let balancers_of = {
        let (all, note) = (all.clone(), note.clone());
        move |input: &DescribeLoadBalancersInput| {
            note(format!("balancers {}", input.names().join(" ")));
            let mut listed = all.clone();
            let (mut from, mut to) = page(input.marker());
            if !input.names().is_empty() {
                if input.names().iter().any(|name| !all.contains(name)) {
                    return Answer::xml_error(400, "LoadBalancerNotFound", "one or more not found");
                }
                listed.retain(|name| input.names().contains(name));
                (from, to) = (0, usize::MAX);
            }
            let state = LoadBalancerStateEnum::Active;
            let page = listed.iter().skip(from).take(to - from);
            let page = page.map(|name| balancer(name, state.clone())).collect();
            let next = (to < listed.len()).then(|| to.to_string());
            let reply = DescribeLoadBalancersOutput::builder().set_load_balancers(Some(page));
            Answer::ok(reply.set_next_marker(next).build())
        }
    };
    let groups_of = {
        let note = note.clone();
        move |input: &DescribeTargetGroupsInput| {
            note("groups".to_owned());
            let owner = |name: &str| format!("{ARN}:loadbalancer/app/{name}/1");
            let mut listed = Vec::new();
            for name in &all {
                for group in ["web", "idle"] {
                    listed.push(
                        TargetGroup::builder()
                            .target_group_arn(format!("{ARN}:targetgroup/{name}-{group}/1"))
                            .load_balancer_arns(owner(name))
                            .build(),
                    );
                }
            }
            listed.push(
                TargetGroup::builder()
                    .target_group_arn(format!("{ARN}:targetgroup/orphan/1"))
                    .build(),
            );
            let of = |group: &TargetGroup, arn: &str| {
                group.load_balancer_arns().iter().any(|o| o == arn)
            };
            if let Some(arn) = input.load_balancer_arn() {
                listed.retain(|group| of(group, arn));
            }
            let (from, to) = page(input.marker());
            let next = (to < listed.len()).then(|| to.to_string());
            let page = listed.into_iter().skip(from).take(to - from).collect();
            let reply = DescribeTargetGroupsOutput::builder().set_target_groups(Some(page));
            Answer::ok(reply.set_next_marker(next).build())
        }
    };
    let health_of = move |input: &DescribeTargetHealthInput| {
        let arn = input.target_group_arn().expect("always");
        assert!(!arn.contains("orphan"), "nobody asked for it");
        note("health".to_owned());
        let states = if arn.contains("idle") {
            vec![]
        } else {
            vec![
                TargetHealthStateEnum::Healthy,
                TargetHealthStateEnum::Draining,
                TargetHealthStateEnum::Healthy,
            ]
        };
        let targets = states.into_iter().map(|state| {
            let health = TargetHealth::builder().state(state).build();
            TargetHealthDescription::builder().target_health(health).build()
        });
        let reply = DescribeTargetHealthOutput::builder();
        Answer::ok(reply.set_target_health_descriptions(Some(targets.collect())).build())
    };
    let fake = Fake::new().on(balancers_of).on(groups_of).on(health_of);
    (Targets::new(client!(aws_sdk_elasticloadbalancingv2, fake)), calls)
}

fn count(calls: &Mutex<Vec<String>>, of: &str) -> usize {
    calls.lock().expect("whole").iter().filter(|call| call.starts_with(of)).count()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn a_load_balancer_is_found_by_the_name_that_a_record_points_to() {
    let (targets, calls) = account(12);
    let asked = names(&[
        "dualstack.LB11.eu-central-1.elb.amazonaws.com.",
        "gone.eu-central-1.elb.amazonaws.com",
    ]);
    let found = targets.find(&asked).await.expect("found");
    let web = Group { id: "targetgroup/lb11-web/1".to_owned(), healthy: 2, registered: 3 };
    let idle = Group { id: "targetgroup/lb11-idle/1".to_owned(), healthy: 0, registered: 0 };
    let lb11 = FoundLoadBalancer {
        id: "app/lb11/1".to_owned(),
        kind: LoadBalancerKind::Application,
        active: true,
        groups: vec![web, idle],
    };
    let expected = ("lb11.eu-central-1.elb.amazonaws.com".to_owned(), lb11);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [expected]);
    assert_eq!(count(&calls, "balancers"), 2, "pages");
    assert_eq!((count(&calls, "groups"), count(&calls, "health")), (1, 2));
}

#[tokio::test]
async fn the_target_groups_of_many_load_balancers_are_listed_together() {
    let (targets, calls) = account(30);
    let asked: BTreeSet<String> =
        (0..30).map(|i| format!("lb{i}.eu-central-1.elb.amazonaws.com")).collect();
    let found = targets.find(&asked).await.expect("found");
    assert_eq!(found.len(), 30);
    assert!(found.values().all(|balancer| balancer.groups.len() == 2 && balancer.healthy() == 2));
    assert_eq!(count(&calls, "groups"), 7, "61 groups in pages of 10, not 30 calls");
    assert_eq!(count(&calls, "health"), 60);
}

#[tokio::test]
async fn no_names_take_no_call() {
    let (targets, calls) = account(3);
    assert!(targets.find(&BTreeSet::new()).await.expect("found").is_empty());
    assert!(targets.healthy_hosts(&[]).await.expect("told").is_empty());
    assert!(calls.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn only_a_load_balancer_that_serves_is_active() {
    for (state, active) in [
        (LoadBalancerStateEnum::Active, true),
        (LoadBalancerStateEnum::ActiveImpaired, true),
        (LoadBalancerStateEnum::Provisioning, false),
        (LoadBalancerStateEnum::Failed, false),
    ] {
        let fake = Fake::new()
            .on(move |_: &DescribeLoadBalancersInput| {
                let listed = balancer("a", state.clone());
                Answer::ok(DescribeLoadBalancersOutput::builder().load_balancers(listed).build())
            })
            .on(|_: &DescribeTargetGroupsInput| {
                Answer::ok(DescribeTargetGroupsOutput::builder().build())
            });
        let targets = Targets::new(client!(aws_sdk_elasticloadbalancingv2, fake));
        let found = targets.find(&names(&["a.eu-central-1.elb.amazonaws.com"])).await;
        let found = found.expect("found").pop_first().expect("there");
        assert_eq!(found.1.active, active);
    }
}

#[tokio::test]
async fn a_load_balancer_is_found_with_its_type() {
    use aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum;
    for (listed, kind) in [
        (LoadBalancerTypeEnum::Application, LoadBalancerKind::Application),
        (LoadBalancerTypeEnum::Network, LoadBalancerKind::Network),
        (LoadBalancerTypeEnum::Gateway, LoadBalancerKind::Gateway),
    ] {
        let fake = Fake::new()
            .on(move |_: &DescribeLoadBalancersInput| {
                let mut of_type = balancer("a", LoadBalancerStateEnum::Active);
                of_type.r#type = Some(listed.clone());
                Answer::ok(DescribeLoadBalancersOutput::builder().load_balancers(of_type).build())
            })
            .on(|_: &DescribeTargetGroupsInput| {
                Answer::ok(DescribeTargetGroupsOutput::builder().build())
            });
        let targets = Targets::new(client!(aws_sdk_elasticloadbalancingv2, fake));
        let found = targets.find(&names(&["a.eu-central-1.elb.amazonaws.com"])).await;
        assert_eq!(found.expect("found").pop_first().expect("there").1.kind, kind);
    }
}

#[tokio::test]
async fn healthy_hosts_are_told_in_the_order_asked_and_0_for_what_is_gone() {
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    let (targets, calls) = account(3);
    assert_eq!(targets.healthy_hosts(&ids(&["app/lb1/1"])).await, Ok(vec![2]));
    assert_eq!(calls.lock().expect("whole")[0], "balancers lb1");
    // The same name with another id is a new load balancer.
    let asked = ids(&["app/gone/1", "app/lb2/1", "app/lb1/old", "app/lb2/1"]);
    assert_eq!(targets.healthy_hosts(&asked).await, Ok(vec![0, 2, 0, 2]));
    let many: Vec<String> = (0..25).map(|i| format!("app/lb{i}/1")).collect();
    let (targets, calls) = account(25);
    assert_eq!(targets.healthy_hosts(&many).await, Ok(vec![2; 25]));
    assert_eq!(count(&calls, "balancers"), 3, "more than 20 names: listed by pages");
}

#[tokio::test]
async fn each_class_of_error_has_its_name_whatever_the_call() {
    let table: Classes<4> = [
        (|| Answer::xml_error(400, "Throttling", "Rate exceeded"), "TransientAws"),
        (|| Answer::xml_error(503, "ServiceUnavailable", "later"), "TransientAws"),
        (|| Answer::Lost, "TransientAws"),
        (|| Answer::xml_error(403, "AccessDenied", "not yours"), "AwsRefused"),
    ];
    for (answer, name) in table {
        for failing in 0..3 {
            let listed = || {
                let active = balancer("a", LoadBalancerStateEnum::Active);
                Answer::ok(DescribeLoadBalancersOutput::builder().load_balancers(active).build())
            };
            let grouped = || {
                let group = TargetGroup::builder()
                    .target_group_arn(format!("{ARN}:targetgroup/a/1"))
                    .load_balancer_arns(format!("{ARN}:loadbalancer/app/a/1"));
                Answer::ok(
                    DescribeTargetGroupsOutput::builder().target_groups(group.build()).build(),
                )
            };
            let fake = Fake::new()
                .on(
                    move |_: &DescribeLoadBalancersInput| {
                        if failing == 0 { answer() } else { listed() }
                    },
                )
                .on(
                    move |_: &DescribeTargetGroupsInput| {
                        if failing == 1 { answer() } else { grouped() }
                    },
                )
                .on(move |_: &DescribeTargetHealthInput| answer());
            let targets = Targets::new(client!(aws_sdk_elasticloadbalancingv2, fake));
            let failure = targets.find(&names(&["a.eu-central-1.elb.amazonaws.com"])).await;
            assert_eq!(failure.expect_err(name).name(), name);
            let failure = targets.healthy_hosts(&["app/a/1".to_owned()]).await;
            assert_eq!(failure.expect_err(name).name(), name);
        }
    }
}
