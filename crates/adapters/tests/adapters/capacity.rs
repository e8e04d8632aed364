//! Load balancers and their targets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use adapters::{Capacity, CloudWatch, Targets};
use aws_sdk_cloudwatch::operation::get_metric_data::{GetMetricDataInput, GetMetricDataOutput};
use aws_sdk_cloudwatch::types::{MetricDataResult, StatusCode};
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
    LoadBalancer, LoadBalancerState, LoadBalancerStateEnum, LoadBalancerTypeEnum, TargetGroup,
    TargetHealth, TargetHealthDescription, TargetHealthStateEnum,
};
use aws_smithy_types::DateTime;
use cutover_core::{Backend, Behind, Failure, Group};
use cutover_core::{GoingBack, Meter, OldSide, RouteId};

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

/// The targets of one target group, and what CloudWatch tells of them: healthy and unhealthy ones.
type Group1 = (&'static [TargetHealthStateEnum], Option<(f64, f64)>);

const HEALTHY: TargetHealthStateEnum = TargetHealthStateEnum::Healthy;
const UNHEALTHY: TargetHealthStateEnum = TargetHealthStateEnum::Unhealthy;
const DRAINING: TargetHealthStateEnum = TargetHealthStateEnum::Draining;
const UNUSED: TargetHealthStateEnum = TargetHealthStateEnum::Unused;
const INITIAL: TargetHealthStateEnum = TargetHealthStateEnum::Initial;

const WEB: Group1 = (&[HEALTHY, DRAINING, HEALTHY], Some((2.0, 0.0)));
const IDLE: Group1 = (&[], None);

/// Load balancers `lb0`…, each with a group of targets that serve and one without targets.
fn account(balancers: usize) -> (Targets, Arc<Mutex<Vec<String>>>) {
    account_of(vec![vec![WEB, IDLE]; balancers])
}

/// An account of load balancers `lb0`… with these target groups, `lb0-0`…, and one group of nobody's. Pages
/// hold 10. Calls are noted.
fn account_of(groups: Vec<Vec<Group1>>) -> (Targets, Arc<Mutex<Vec<String>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let calls = Arc::clone(&calls);
        move |call: String| calls.lock().expect("whole").push(call)
    };
    let all: Vec<String> = (0..groups.len()).map(|i| format!("lb{i}")).collect();
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
        let (note, groups) = (note.clone(), groups.clone());
        move |input: &DescribeTargetGroupsInput| {
            note("groups".to_owned());
            let mut listed = Vec::new();
            for (name, groups) in all.iter().zip(&groups) {
                for group in 0..groups.len() {
                    listed.push(
                        TargetGroup::builder()
                            .target_group_arn(format!("{ARN}:targetgroup/{name}-{group}/1"))
                            .load_balancer_arns(format!("{ARN}:loadbalancer/app/{name}/1"))
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
            let is_named = |group: &TargetGroup, name: &String| {
                let arn = group.target_group_arn().expect("always");
                arn.contains(&format!(":targetgroup/{name}/"))
            };
            let names = input.names();
            if names.iter().any(|name| !listed.iter().any(|group| is_named(group, name))) {
                return Answer::xml_error(400, "TargetGroupNotFound", "one or more not found");
            }
            listed.retain(|g| names.is_empty() || names.iter().any(|name| is_named(g, name)));
            let (from, to) = page(input.marker());
            let next = (to < listed.len()).then(|| to.to_string());
            let page = listed.into_iter().skip(from).take(to - from).collect();
            let reply = DescribeTargetGroupsOutput::builder().set_target_groups(Some(page));
            Answer::ok(reply.set_next_marker(next).build())
        }
    };
    let health_of = {
        let (note, groups) = (note.clone(), groups.clone());
        move |input: &DescribeTargetHealthInput| {
            let arn = input.target_group_arn().expect("always");
            let name = arn.split('/').nth(1).expect("a name");
            note(format!("health {name}"));
            let targets = named(&groups, name).0.iter().map(|state| {
                let health = TargetHealth::builder().state(state.clone()).build();
                TargetHealthDescription::builder().target_health(health).build()
            });
            let reply = DescribeTargetHealthOutput::builder();
            Answer::ok(reply.set_target_health_descriptions(Some(targets.collect())).build())
        }
    };
    let elb = Fake::new().on(balancers_of).on(groups_of).on(health_of);
    (targets(elb, metrics_of(groups, note)), calls)
}

/// The group of a name: `lb3-1` is the second one of the fourth load balancer.
fn named(groups: &[Vec<Group1>], name: &str) -> Group1 {
    let parts = name.strip_prefix("lb").and_then(|name| name.split_once('-'));
    let (balancer, group) = parts.expect("a group of ours");
    let index = |text: &str| text.parse::<usize>().expect("a number");
    groups[index(balancer)][index(group)]
}

/// A CloudWatch that tells the hosts of these groups.
fn metrics_of(groups: Vec<Vec<Group1>>, note: impl Fn(String) + Send + Sync + 'static) -> Fake {
    Fake::new().on(move |input: &GetMetricDataInput| {
        note(format!("metrics {}", input.metric_data_queries().len()));
        let newest = DateTime::from_secs(input.end_time().expect("always").secs() - 120);
        let results = input.metric_data_queries().iter().map(|query| {
            let metric = query.metric_stat().and_then(|stat| stat.metric()).expect("plain");
            let of = |name| metric.dimensions().iter().find(|d| d.name() == Some(name));
            let value = |name| of(name).and_then(|d| d.value()).expect("both dimensions");
            let name = value("TargetGroup").split('/').nth(1).expect("a name");
            assert!(name.starts_with(value("LoadBalancer").split('/').nth(1).expect("a name")));
            let healthy = metric.metric_name() == Some("HealthyHostCount");
            let told = named(&groups, name).1.map(|told| if healthy { told.0 } else { told.1 });
            MetricDataResult::builder()
                .set_id(query.id().map(str::to_owned))
                .set_timestamps(Some(told.iter().map(|_| newest).collect()))
                .set_values(Some(told.into_iter().collect()))
                .status_code(StatusCode::Complete)
                .build()
        });
        let results = Some(results.collect());
        Answer::ok(GetMetricDataOutput::builder().set_metric_data_results(results).build())
    })
}

fn targets(elb: Fake, metrics: Fake) -> Targets {
    let metrics = CloudWatch::new(client!(aws_sdk_cloudwatch, metrics));
    Targets::new(client!(aws_sdk_elasticloadbalancingv2, elb), metrics)
}

fn count(calls: &Mutex<Vec<String>>, of: &str) -> usize {
    calls.lock().expect("whole").iter().filter(|call| call.starts_with(of)).count()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn all_names(balancers: usize) -> BTreeSet<String> {
    (0..balancers).map(|i| format!("lb{i}.eu-central-1.elb.amazonaws.com")).collect()
}

/// The load balancers that count requests, by the names asked for.
async fn find(
    targets: &Targets,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Backend>, Failure> {
    let behind = targets.behind(names).await?.into_iter();
    let found = behind.filter_map(|(name, behind)| match behind {
        Behind::Found(backend) => Some((name, backend)),
        Behind::Nothing { .. } | Behind::Uncounted { .. } | Behind::Never { .. } => None,
    });
    Ok(found.collect())
}

/// What is wrong with the old sides of these load balancers; routes are named as they are.
async fn old_sides(targets: &Targets, ids: &[&str]) -> Vec<(String, OldSide)> {
    old_sides_that(targets, ids, false).await
}

async fn old_sides_that(
    targets: &Targets,
    ids: &[&str],
    all_or_nothing: bool,
) -> Vec<(String, OldSide)> {
    let routes = ids.iter().map(|&id| GoingBack {
        route: RouteId::from(id),
        meter: id.to_owned(),
        all_or_nothing,
    });
    let wrong = targets.old_sides(routes).await.into_iter();
    wrong.map(|(route, old_side)| (route.to_string(), old_side)).collect()
}

#[tokio::test]
async fn a_load_balancer_is_found_by_the_name_that_a_record_points_to() {
    let (targets, calls) = account(12);
    let asked =
        names(&["lb11.eu-central-1.elb.amazonaws.com", "gone.eu-central-1.elb.amazonaws.com"]);
    let found = find(&targets, &asked).await.expect("found");
    // The one that is being deregistered gets no requests.
    let web = Group { id: "lb11-0/1".to_owned(), healthy: 2, registered: 2, by_node: false };
    let idle = Group { id: "lb11-1/1".to_owned(), healthy: 0, registered: 0, by_node: false };
    let lb11 = Backend {
        called: "load balancer app/lb11/1".to_owned(),
        id: format!("{ARN}:loadbalancer/app/lb11/1"),
        meter: "app/lb11/1".to_owned(),
        active: true,
        groups: vec![web, idle],
    };
    let expected = ("lb11.eu-central-1.elb.amazonaws.com".to_owned(), lb11);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [expected]);
    assert_eq!(count(&calls, "balancers"), 2, "pages");
    assert_eq!((count(&calls, "groups"), count(&calls, "health")), (1, 2));
    assert_eq!(
        count(&calls, "metrics"),
        0,
        "of a few groups, the targets themselves are asked for"
    );
}

#[tokio::test]
async fn many_target_groups_are_listed_together_and_their_hosts_are_those_of_cloudwatch() {
    let (targets, calls) = account(30);
    let found = find(&targets, &all_names(30)).await.expect("found");
    assert_eq!(found.len(), 30);
    for balancer in found.values() {
        let hosts: Vec<_> = balancer.groups.iter().map(|g| (g.healthy, g.registered)).collect();
        assert_eq!(hosts, [(2, 2), (0, 0)], "{balancer:?}");
    }
    assert_eq!(count(&calls, "groups"), 7, "61 groups in pages of 10, not 30 calls");
    assert_eq!(count(&calls, "metrics"), 1);
    assert_eq!(count(&calls, "health"), 8, "a few of the 30 of which CloudWatch says nothing");
}

#[tokio::test]
async fn of_many_groups_those_are_looked_at_that_decide_whether_a_load_balancer_serves() {
    let late: Group1 = (&[HEALTHY, HEALTHY], None);
    let stale: Group1 = (&[HEALTHY], Some((0.0, 3.0)));
    let unclear: Group1 = (&[INITIAL], Some((0.0, 0.0)));
    let mut groups = vec![vec![WEB, IDLE]; 10];
    groups.extend([vec![late], vec![stale], vec![unclear]]);
    let (targets, calls) = account_of(groups);
    let found = find(&targets, &all_names(13)).await.expect("found");
    let of = |i| {
        let balancer = &found[&format!("lb{i}.eu-central-1.elb.amazonaws.com")];
        (balancer.groups[0].healthy, balancer.groups[0].registered)
    };
    assert_eq!([of(0), of(10), of(11), of(12)], [(2, 2), (2, 2), (1, 1), (0, 1)]);
    let calls = calls.lock().expect("whole");
    let looked_at: Vec<&str> =
        calls.iter().filter_map(|call| call.strip_prefix("health ")).collect();
    assert_eq!(looked_at[..3], ["lb10-0", "lb11-0", "lb12-0"]);
    assert_eq!(looked_at.len(), 8);
}

#[tokio::test]
async fn groups_are_not_looked_at_faster_than_the_account_allows() {
    let (targets, calls) = account_of(vec![vec![IDLE; 8]]);
    let begin = std::time::Instant::now();
    find(&targets, &all_names(1)).await.expect("found");
    assert_eq!(count(&calls, "health"), 8);
    assert!(begin.elapsed().as_millis() >= 7 * 100, "10 a second: {:?}", begin.elapsed());
}

fn group_arns(groups: &[&str]) -> BTreeSet<String> {
    groups.iter().map(|group| format!("{ARN}:targetgroup/{group}")).collect()
}

#[tokio::test]
async fn a_target_group_is_found_by_its_arn_and_counted_apart_from_its_load_balancer() {
    let (targets, calls) = account(12);
    let found = find(&targets, &group_arns(&["lb3-0/1", "lb4-1/1"])).await.expect("found");
    let group = |id: &str, healthy| Group {
        id: id.to_owned(),
        healthy,
        registered: healthy,
        by_node: false,
    };
    let backend = |balancer: &str, group: Group| Backend {
        called: format!("target group {}", group.id),
        id: format!("{ARN}:targetgroup/{}", group.id),
        meter: format!("app/{balancer}/1,targetgroup/{}", group.id),
        active: true,
        groups: vec![group],
    };
    let expected = [backend("lb3", group("lb3-0/1", 2)), backend("lb4", group("lb4-1/1", 0))];
    assert_eq!(found.into_values().collect::<Vec<_>>(), expected);
    assert_eq!((count(&calls, "groups"), count(&calls, "health")), (1, 2));
    assert_eq!(count(&calls, "balancers"), 0);
}

#[tokio::test]
async fn a_target_group_that_is_gone_or_behind_no_load_balancer_is_nothing_to_count() {
    let (targets, _) = account(2);
    let asked = group_arns(&["lb0-0/1", "gone/1", "lb1-0/old", "orphan/1"]);
    let behind = targets.behind(&asked).await.expect("found");
    assert_eq!(behind.len(), 4);
    for (arn, behind) in behind {
        let is_there = arn.ends_with("lb0-0/1");
        match behind {
            Behind::Found(_) => assert!(is_there, "{arn}"),
            Behind::Nothing { code: "no_target_group", .. } => assert!(!is_there, "{arn}"),
            other => panic!("{arn}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn many_target_groups_of_their_own_take_a_list_and_one_call_for_their_hosts() {
    let (targets, calls) = account(30);
    let asked: Vec<String> = (0..30).map(|i| format!("lb{i}-0/1")).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let found = find(&targets, &group_arns(&asked)).await.expect("found");
    assert!(found.values().all(|backend| backend.healthy() == 2));
    assert_eq!(found.len(), 30);
    assert_eq!((count(&calls, "groups"), count(&calls, "metrics")), (7, 1));
    assert_eq!(count(&calls, "health"), 0);
}

#[tokio::test]
async fn a_part_of_a_load_balancer_goes_back_to_all_of_it_where_that_is_left_out_as_a_whole() {
    let dead: Group1 = (&[UNHEALTHY], None);
    let meter = |groups: &[usize]| {
        let groups = groups.iter().map(|group| format!(",targetgroup/lb0-{group}/1"));
        format!("app/lb0/1{}", groups.collect::<String>())
    };
    let (fine, partly, idle) = (meter(&[0, 1]), meter(&[1, 2]), meter(&[3]));
    let asked = [&fine, &partly, &idle].map(String::as_str);
    let (targets, _) = account_of(vec![vec![WEB, WEB, dead, IDLE]]);
    let part = |id: &String, old_side| (id.clone(), old_side);
    let alone = [part(&partly, OldSide::PartlyUnhealthy), part(&idle, OldSide::Dead)];
    assert_eq!(old_sides(&targets, &asked).await, alone);
    let (targets, calls) = account_of(vec![vec![WEB, WEB, dead, IDLE]]);
    let all = [part(&fine, OldSide::PartlyUnhealthy)].into_iter().chain(alone);
    assert_eq!(old_sides_that(&targets, &asked, true).await, all.collect::<Vec<_>>());
    assert_eq!((count(&calls, "groups"), count(&calls, "health")), (1, 4), "each is asked once");
}

#[tokio::test]
async fn what_is_wrong_with_an_old_target_group_is_told_of_it_alone() {
    let (targets, _) = account_of(vec![vec![WEB, IDLE, (&[UNHEALTHY], None)]]);
    let meter = |group: &str| format!("app/lb0/1,targetgroup/{group}");
    let asked = ["lb0-0/1", "lb0-1/1", "lb0-2/1"].map(meter);
    let wrong = old_sides(&targets, &asked.each_ref().map(String::as_str)).await;
    let expected = [(meter("lb0-1/1"), OldSide::Dead), (meter("lb0-2/1"), OldSide::Unhealthy)];
    assert_eq!(wrong, expected);
    // One that is gone, and its load balancer beside it.
    let wrong = old_sides(&targets, &[&meter("gone/1"), "app/lb0/1"]).await;
    let expected =
        [(meter("gone/1"), OldSide::Dead), ("app/lb0/1".to_owned(), OldSide::PartlyUnhealthy)];
    assert_eq!(wrong, expected);
}

#[tokio::test]
async fn no_names_take_no_call() {
    let (targets, calls) = account(3);
    assert!(find(&targets, &BTreeSet::new()).await.expect("found").is_empty());
    assert!(old_sides(&targets, &[]).await.is_empty());
    assert!(calls.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_an_old_side_is_told_apart() {
    use OldSide::{Dead, PartlyUnhealthy, Unhealthy};
    let table: [(&str, Vec<Group1>, Option<OldSide>); 9] = [
        ("fine", vec![(&[HEALTHY, UNHEALTHY], None)], None),
        ("an empty group", vec![WEB, IDLE], Some(PartlyUnhealthy)),
        ("a dead group", vec![WEB, (&[UNHEALTHY], None)], Some(PartlyUnhealthy)),
        ("none healthy", vec![(&[UNHEALTHY, INITIAL], None), IDLE], Some(Unhealthy)),
        ("none checked yet", vec![(&[INITIAL], None)], Some(Unhealthy)),
        ("none registered", vec![IDLE, IDLE], Some(Dead)),
        ("all are leaving", vec![(&[DRAINING, DRAINING], None)], Some(Dead)),
        ("none is used", vec![(&[UNUSED], None)], Some(Dead)),
        ("no group", vec![], Some(Dead)),
    ];
    for (what, groups, expected) in table {
        let (targets, calls) = account_of(vec![groups]);
        let wrong = old_sides(&targets, &["app/lb0/1"]).await;
        let expected: Vec<_> = expected.map(|e| ("app/lb0/1".to_owned(), e)).into_iter().collect();
        assert_eq!(wrong, expected, "{what}");
        assert_eq!(calls.lock().expect("whole")[0], "balancers lb0", "{what}");
        assert_eq!(count(&calls, "metrics"), 0, "{what}");
    }
}

#[tokio::test]
async fn an_old_side_whose_load_balancer_is_gone_is_dead() {
    let (targets, _) = account_of(vec![vec![WEB]; 3]);
    // The same name with another id is a new load balancer.
    let wrong = old_sides(&targets, &["app/gone/1", "app/lb2/1", "app/lb0/old", "app/lb2/1"]).await;
    let expected = [("app/gone/1", OldSide::Dead), ("app/lb0/old", OldSide::Replaced)];
    assert_eq!(wrong, expected.map(|(id, old_side)| (id.to_owned(), old_side)));
}

#[tokio::test]
async fn an_old_side_that_was_replaced_is_reached_by_another_address() {
    let (targets, calls) = account_of(vec![vec![WEB, IDLE], vec![WEB]]);
    let replaced = [
        "app/lb1/former",
        "app/lb1/1;app/lb1/former",
        // Its target groups stayed, or were replaced with it.
        "app/lb1/former,targetgroup/lb1-0/1",
        "app/lb1/former,targetgroup/lb1-0/former",
    ];
    let said = |id: &str, old_side| (id.to_owned(), old_side);
    for all_or_nothing in [false, true] {
        let wrong = old_sides_that(&targets, &replaced, all_or_nothing).await;
        assert_eq!(wrong, replaced.map(|id| said(id, OldSide::Replaced)), "{all_or_nothing}");
    }
    // Whatever its address, without a target it cannot serve.
    let idle = "app/lb0/former,targetgroup/lb0-1/1";
    assert_eq!(old_sides(&targets, &[idle]).await, [said(idle, OldSide::Dead)]);
    // A target group that another load balancer has now is none of this one's.
    let elsewhere = "app/lb0/1,targetgroup/lb1-0/1";
    assert_eq!(old_sides(&targets, &[elsewhere]).await, [said(elsewhere, OldSide::Dead)]);
    assert_eq!(count(&calls, "metrics"), 0, "requests tell nothing of where records point");
}

#[tokio::test]
async fn an_old_side_whose_target_groups_were_made_anew_is_not_dead() {
    let (targets, _) = account_of(vec![vec![WEB, IDLE], vec![WEB]]);
    let meter = |balancer: &str, group: &str| format!("app/{balancer}/1,targetgroup/{group}");
    let fine = meter("lb1", "lb1-0/former");
    let idle = meter("lb0", "lb0-1/former");
    // The load balancer's other groups serve other host names.
    let gone = meter("lb1", "gone/1");
    for all_or_nothing in [false, true] {
        let wrong = old_sides_that(&targets, &[&fine, &idle, &gone], all_or_nothing).await;
        let dead = [&idle, &gone].map(|id| (id.clone(), OldSide::Dead));
        assert_eq!(wrong, dead, "{all_or_nothing}");
    }
    assert!(old_sides(&targets, &["app/lb1/1;app/lb1/1,targetgroup/former/1"]).await.is_empty());
}

#[tokio::test]
async fn what_has_the_name_of_a_meter_now_is_found_and_what_is_there_still_is_left() {
    let (targets, calls) = account_of(vec![vec![WEB, IDLE], vec![WEB]]);
    let meter = |id: &str| Meter { id: id.to_owned(), hosts: vec![], baseline: None };
    let (group, former) = (",targetgroup/lb0-0", ";app/lb0/former,targetgroup/lb0-0/1");
    let table = [
        ("app/lb1/1".to_owned(), None),
        ("app/gone/1".to_owned(), None),
        (format!("app/lb0/1{group}/1"), None),
        // Its target group is still to be made.
        ("app/lb0/former,targetgroup/late/1".to_owned(), None),
        (format!("app/lb0/former{group}/1"), Some((format!("app/lb0/1{group}/1{former}"), 1))),
        (
            format!("app/lb0/1{group}/former"),
            Some((format!("app/lb0/1{group}/1;app/lb0/1{group}/former"), 1)),
        ),
        ("app/lb0/former".to_owned(), Some(("app/lb0/1;app/lb0/former".to_owned(), 2))),
        // For the second time.
        (
            "app/lb0/former;app/lb0/first".to_owned(),
            Some(("app/lb0/1;app/lb0/former".to_owned(), 2)),
        ),
    ];
    for (id, expected) in table {
        let anew = targets.made_anew(&[&meter(&id)]).await.expect("an answer");
        let found = anew.first().map(|anew| (anew.id.clone(), anew.hosts.len()));
        assert_eq!(found, expected, "{id}");
        assert!(anew.iter().all(|anew| anew.meter == id), "{anew:?}");
    }
    assert_eq!((count(&calls, "health"), count(&calls, "metrics")), (0, 0), "no hosts are counted");
}

#[tokio::test]
async fn groups_that_were_replaced_behind_a_load_balancer_are_watched_and_it_counts_as_before() {
    let (targets, _) = account_of(vec![vec![WEB, IDLE], vec![]]);
    let both = || Some(vec!["lb0-0/1".to_owned(), "lb0-1/1".to_owned()]);
    for (id, watched, expected) in [
        ("app/lb0/1", &["lb0-0/1", "lb0-1/1"][..], None),
        ("app/lb0/1", &["lb0-1/1", "lb0-0/former"], both()),
        ("app/lb0/1;app/lb0/former", &["of-another-name/former"], both()),
        // A state of long ago watches none.
        ("app/lb0/1", &[], None),
        // Those that come are still to be made.
        ("app/lb1/1", &["lb1-0/1"], None),
    ] {
        let hosts = watched.iter().map(|&group| group.to_owned()).collect();
        let meter = Meter { id: id.to_owned(), hosts, baseline: None };
        let anew = targets.made_anew(&[&meter]).await.expect("an answer");
        assert!(anew.iter().all(|anew| anew.id == id), "{anew:?}");
        assert_eq!(anew.into_iter().next().map(|anew| anew.hosts), expected, "{id} {watched:?}");
    }
}

#[tokio::test]
async fn of_many_old_sides_one_that_nothing_is_known_of_is_not_called_dead() {
    // CloudWatch knows nothing of the last 20, and only 8 of them are looked at.
    let mut groups = vec![vec![WEB]; 20];
    groups.extend(vec![vec![IDLE]; 20]);
    let (targets, calls) = account_of(groups);
    let ids: Vec<String> = (0..40).map(|i| format!("app/lb{i}/1")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let wrong = old_sides(&targets, &ids).await;
    assert_eq!(wrong.len(), 8, "{wrong:?}");
    assert!(wrong.iter().all(|(_, old_side)| *old_side == OldSide::Dead), "{wrong:?}");
    assert_eq!(count(&calls, "balancers"), 4, "more than 20 names: listed by pages");
    assert_eq!((count(&calls, "metrics"), count(&calls, "health")), (1, 8));
}

#[tokio::test]
async fn of_many_old_sides_cloudwatch_tells_which_are_unhealthy() {
    let unhealthy: Group1 = (&[UNHEALTHY, UNHEALTHY], Some((0.0, 2.0)));
    let mut groups = vec![vec![WEB]; 10];
    groups.extend([vec![unhealthy], vec![WEB, unhealthy]]);
    let (targets, _) = account_of(groups);
    let ids: Vec<String> = (0..12).map(|i| format!("app/lb{i}/1")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let wrong = old_sides(&targets, &ids).await;
    let expected = [("app/lb10/1", OldSide::Unhealthy), ("app/lb11/1", OldSide::PartlyUnhealthy)];
    assert_eq!(wrong, expected.map(|(id, old_side)| (id.to_owned(), old_side)));
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
        let targets = targets(fake, Fake::new());
        let found = find(&targets, &names(&["a.eu-central-1.elb.amazonaws.com"])).await;
        let found = found.expect("found").pop_first().expect("there");
        assert_eq!(found.1.active, active);
    }
}

#[tokio::test]
async fn each_class_of_error_has_its_name_whatever_the_call() {
    let table: Classes<4> = [
        (|| Answer::xml_error(400, "Throttling", "Rate exceeded"), "Unreachable"),
        (|| Answer::xml_error(503, "ServiceUnavailable", "later"), "Unreachable"),
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::xml_error(403, "AccessDenied", "not yours"), "Refused"),
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
            let targets = targets(fake, Fake::new());
            let failure = find(&targets, &names(&["a.eu-central-1.elb.amazonaws.com"])).await;
            assert_eq!(failure.expect_err(name).name(), name);
            let wrong = old_sides(&targets, &["app/a/1"]).await;
            assert!(wrong.is_empty(), "not known, so all routes go back: {wrong:?}");
        }
    }
}

#[tokio::test]
async fn cloudwatch_out_of_reach_is_a_failure_like_any_other() {
    let table: Classes<2> =
        [(|| Answer::Lost, "Unreachable"), (|| Answer::Http(403, String::new()), "Unreachable")];
    for (answer, name) in table {
        let elb = Fake::new()
            .on(|_: &DescribeLoadBalancersInput| {
                let active = balancer("a", LoadBalancerStateEnum::Active);
                Answer::ok(DescribeLoadBalancersOutput::builder().load_balancers(active).build())
            })
            .on(|_: &DescribeTargetGroupsInput| {
                let group = |i| {
                    TargetGroup::builder()
                        .target_group_arn(format!("{ARN}:targetgroup/a-{i}/1"))
                        .load_balancer_arns(format!("{ARN}:loadbalancer/app/a/1"))
                        .build()
                };
                let groups = Some((0..9).map(group).collect());
                Answer::ok(DescribeTargetGroupsOutput::builder().set_target_groups(groups).build())
            });
        let metrics = Fake::new().on(move |_: &GetMetricDataInput| answer());
        let targets = targets(elb, metrics);
        let failure = find(&targets, &names(&["a.eu-central-1.elb.amazonaws.com"])).await;
        assert_eq!(failure.expect_err(name).name(), name);
        assert!(old_sides(&targets, &["app/a/1"]).await.is_empty());
    }
}

/// An account of one load balancer of this type.
fn account_of_one(kind: LoadBalancerTypeEnum) -> Targets {
    let fake = Fake::new()
        .on(move |_: &DescribeLoadBalancersInput| {
            let of = balancer("a", LoadBalancerStateEnum::Active);
            let of = LoadBalancer::builder()
                .set_load_balancer_arn(of.load_balancer_arn)
                .set_dns_name(of.dns_name)
                .set_state(of.state)
                .r#type(kind.clone());
            Answer::ok(DescribeLoadBalancersOutput::builder().load_balancers(of.build()).build())
        })
        .on(|_: &DescribeTargetGroupsInput| {
            Answer::ok(DescribeTargetGroupsOutput::builder().build())
        });
    targets(fake, Fake::new())
}

#[tokio::test]
async fn only_application_load_balancers_count_requests_and_others_are_not_waited_for() {
    let name = "a.eu-central-1.elb.amazonaws.com";
    let gateway = account_of_one(LoadBalancerTypeEnum::Gateway);
    let behind = gateway.behind(&names(&[name])).await.expect("an answer");
    let Behind::Never { code, why } = &behind[name] else { panic!("{behind:?}") };
    assert_eq!(*code, "load_balancer_type");
    assert!(why.contains("a gateway load balancer, which counts no requests"), "{why}");
    let targets = account_of_one(LoadBalancerTypeEnum::Application);
    for (name, code) in [
        ("a0123456789abcdef0123456789abcde-1.eu-central-1.elb.amazonaws.com", "load_balancer_type"),
        ("k8s-x-8f3ab2c1d4e5f607.elb.us-east-1.amazonaws.com", "foreign_target"),
        ("k8s-x-1.eu-west-1.elb.amazonaws.com", "foreign_target"),
        ("x.s3-website-us-east-1.amazonaws.com", "foreign_target"),
        ("192.0.2.1", "foreign_target"),
    ] {
        let behind = targets.behind(&names(&[name])).await.expect("an answer");
        let Behind::Never { code: given, why } = &behind[name] else { panic!("{behind:?}") };
        assert_eq!(*given, code);
        assert!(why.contains(name), "{why}");
    }
    for name in ["k8s-x-1.eu-central-1.elb.amazonaws.com", "lb.example.com"] {
        let behind = targets.behind(&names(&[name])).await.expect("an answer");
        let Behind::Nothing { code, what, allowed } = &behind[name] else { panic!("{behind:?}") };
        assert_eq!(*code, "no_load_balancer");
        assert!(what.contains(name) && allowed.contains("eu-central-1"), "{what}; {allowed}");
    }
}

#[tokio::test]
async fn a_network_load_balancer_is_uncounted_and_found_or_still_to_come_all_the_same() {
    let table = [
        ("a.eu-central-1.elb.amazonaws.com", true),
        ("k8s-x-8f3ab2c1d4e5f607.elb.eu-central-1.amazonaws.com", false),
    ];
    for (name, is_there) in table {
        let targets = account_of_one(LoadBalancerTypeEnum::Network);
        let behind = targets.behind(&names(&[name])).await.expect("an answer");
        let Behind::Uncounted { behind, code, why } = &behind[name] else { panic!("{behind:?}") };
        assert_eq!(*code, "load_balancer_type");
        for said in ["a network load balancer, which counts no requests", "health.signals"] {
            assert!(why.contains(said), "{why}");
        }
        match &**behind {
            Behind::Found(found) => assert!(is_there && found.active, "{name}"),
            Behind::Nothing { code: "no_load_balancer", allowed, .. } => {
                assert!(!is_there, "{name}");
                assert!(
                    allowed.starts_with("an application or network load balancer"),
                    "{allowed}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
