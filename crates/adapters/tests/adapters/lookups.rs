//! What `validate` looks up: the zone, its records, the defaults, other executions.

use adapters::router::route53::zone::{
    Policy, Record, Target, Zone, ZoneLookup, find_zone, records, records_of,
};
use adapters::{executions, parameters};
use std::collections::BTreeSet;

use aws_sdk_route53::operation::get_hosted_zone::{GetHostedZoneInput, GetHostedZoneOutput};
use aws_sdk_route53::operation::list_hosted_zones_by_name::{
    ListHostedZonesByNameInput, ListHostedZonesByNameOutput,
};
use aws_sdk_route53::operation::list_resource_record_sets::ListResourceRecordSetsInput;
use aws_sdk_route53::types::{HostedZone, HostedZoneConfig};
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionInput, DescribeExecutionOutput};
use aws_sdk_sfn::operation::list_executions::{ListExecutionsInput, ListExecutionsOutput};
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use aws_sdk_ssm::operation::get_parameter::{GetParameterInput, GetParameterOutput};
use aws_sdk_ssm::types::Parameter;
use aws_smithy_types::DateTime;
use cutover_core::{RouteId, Running};
use jiff::Timestamp;
use serde_json::json;

use crate::fake::{Answer, Classes, Fake, client};
use crate::zone::{FakeZone, alias, aliases, plain};

fn hosted(id: &str, name: &str, private: bool) -> HostedZone {
    HostedZone::builder()
        .id(format!("/hostedzone/{id}"))
        .name(name)
        .caller_reference("r")
        .config(HostedZoneConfig::builder().private_zone(private).build())
        .build()
        .expect("complete")
}

fn zone(id: &str, name: &str) -> Zone {
    Zone { id: id.to_owned(), name: name.to_owned() }
}

#[tokio::test]
async fn a_zone_is_found_by_its_name_or_its_id_and_never_guessed() {
    let fake = Fake::new()
        .on(|input: &ListHostedZonesByNameInput| {
            // All from the name on, as Route 53 lists them.
            let all = [
                hosted("Z1", "example.com.", false),
                hosted("Z2", "twice.org.", false),
                hosted("Z3", "twice.org.", true),
                hosted("Z4", "zz.org.", false),
            ];
            let from = match input.dns_name().expect("always") {
                "Example.com" | "example.com." => 0,
                "twice.org" => 1,
                _ => 3,
            };
            let reply = ListHostedZonesByNameOutput::builder()
                .set_hosted_zones(Some(all[from..].to_vec()))
                .is_truncated(false)
                .max_items(100);
            Answer::ok(reply.build().expect("complete"))
        })
        .on(|input: &GetHostedZoneInput| match input.id() {
            Some("Z1") => {
                let zone = hosted("Z1", "example.com.", false);
                Answer::ok(GetHostedZoneOutput::builder().hosted_zone(zone).build())
            }
            _ => Answer::xml_error(404, "NoSuchHostedZone", "none"),
        });
    let client = client!(aws_sdk_route53, fake);
    let twice = vec![(zone("Z2", "twice.org"), false), (zone("Z3", "twice.org"), true)];
    for (asked, found) in [
        ("Example.com", ZoneLookup::Found(zone("Z1", "example.com"))),
        ("example.com.", ZoneLookup::Found(zone("Z1", "example.com"))),
        ("Z1", ZoneLookup::Found(zone("Z1", "example.com"))),
        ("/hostedzone/Z1", ZoneLookup::Found(zone("Z1", "example.com"))),
        ("Z9", ZoneLookup::None),
        ("nobody.org", ZoneLookup::None),
        ("twice.org", ZoneLookup::Many(twice)),
    ] {
        assert_eq!(find_zone(&client, asked).await, Ok(found), "{asked}");
    }
}

#[tokio::test]
async fn every_record_set_of_a_zone_is_read_page_by_page() {
    let mut simple = plain("example.com", "MX", "", 0, 300, &["10 mail.example.com."]);
    (simple.set_identifier, simple.weight) = (None, None);
    let mut latency = alias("b.example.com", "A", "eu", 0);
    latency.weight = None;
    let names: Vec<String> = (0..700).map(|i| format!("r{i:03}.example.com")).collect();
    let many = names.iter().flat_map(|name| aliases(name, 100, 0));
    let zone = FakeZone::new([simple, latency].into_iter().chain(many));
    let all = records(&zone.client(), "Z1").await.expect("read");
    assert_eq!(all.len(), 2802);
    assert_eq!(zone.state().listed.len(), 10);
    let mail = Record {
        name: RouteId::from("example.com"),
        kind: "MX".to_owned(),
        set_identifier: None,
        weight: None,
        policy: Policy::Simple,
        ttl_s: Some(300),
        shape: all[0].shape,
        health_check_id: None,
        target: Target::Values(vec!["10 mail.example.com.".to_owned()]),
    };
    assert_eq!(all[0], mail);
    assert_eq!((&all[1].policy, all[1].weight), (&Policy::Other, None));
    let green = all.iter().find(|r| r.set_identifier.as_deref() == Some("green")).expect("one");
    assert_eq!((&green.policy, green.weight, green.ttl_s), (&Policy::Weighted, Some(0), None));
    let dns_name = "dualstack.green.elb.amazonaws.com.".to_owned();
    assert_eq!(green.target, Target::Alias { dns_name, evaluates_health: true });
}

#[tokio::test]
async fn records_that_cannot_be_are_read_as_what_a_route_must_not_be() {
    let mut odd = plain("far.example.com", "A", "blue", 300, -1, &["192.0.2.1"]);
    let mut checked = plain("near.example.com", "A", "blue", 1, i64::from(u32::MAX) + 1, &[]);
    checked.health_check_id = Some("abc".to_owned());
    let zone = FakeZone::new([odd.clone(), checked]);
    let all = records(&zone.client(), "Z1").await.expect("nothing far away stops a cutover");
    assert_eq!((&all[0].policy, all[0].weight), (&Policy::Other, None));
    assert_eq!(all[0].ttl_s, Some(u32::MAX));
    assert_eq!((&all[1].policy, all[1].weight), (&Policy::Weighted, Some(1)));
    assert_eq!(all[1].health_check_id.as_deref(), Some("abc"));
    odd.weight = Some(-1);
    let mut managed = plain("managed.example.com", "A", "blue", 1, 60, &["192.0.2.1"]);
    managed.traffic_policy_instance_id = Some("7b9f".to_owned());
    let zone = FakeZone::new([odd, managed]);
    let all = records(&zone.client(), "Z1").await.expect("read");
    assert_eq!(all[0].policy, Policy::Other);
    assert_eq!(all[1].policy, Policy::TrafficPolicy("7b9f".to_owned()));
}

#[tokio::test]
async fn named_routes_are_read_without_the_rest_of_the_zone() {
    let names: Vec<String> = (0..700).map(|i| format!("r{i:03}.example.com")).collect();
    let zone = FakeZone::new(names.iter().flat_map(|name| aliases(name, 100, 0)));
    let asked_for = ["r003.example.com", "r600.example.com", "none.example.com"].map(RouteId::from);
    let read = records_of(&zone.client(), "Z1", &asked_for).await.expect("read");
    let mut found: Vec<&str> = read.iter().map(|record| record.name.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, [["r003.example.com"; 4], ["r600.example.com"; 4]].concat());
    assert_eq!(zone.state().listed.len(), 2, "the page of none holds r003 as well");
}

#[tokio::test]
async fn a_zone_too_large_to_read_is_refused() {
    let zone = FakeZone::new((0..101).map(|i| alias(&format!("r{i}.example.com"), "A", "x", 1)));
    zone.state().page_max = 1;
    let failure = records(&zone.client(), "Z1").await.expect_err("too large");
    assert_eq!(failure.name(), "InvalidInput");
    assert!(failure.to_string().contains("zone_too_large"), "{failure}");
    zone.state().sets.pop();
    assert_eq!(records(&zone.client(), "Z1").await.expect("read").len(), 100);
}

#[tokio::test]
async fn each_class_of_error_of_a_zone_has_its_name() {
    let table: Classes<3> = [
        (|| Answer::xml_error(400, "Throttling", "Rate exceeded"), "Unreachable"),
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::xml_error(403, "AccessDenied", "not yours"), "Refused"),
    ];
    for (answer, name) in table {
        let fake = Fake::new()
            .on(move |_: &GetHostedZoneInput| answer())
            .on(move |_: &ListHostedZonesByNameInput| answer())
            .on(move |_: &ListResourceRecordSetsInput| answer());
        let client = client!(aws_sdk_route53, fake);
        assert_eq!(find_zone(&client, "Z1").await.expect_err(name).name(), name);
        assert_eq!(find_zone(&client, "example.com").await.expect_err(name).name(), name);
        assert_eq!(records(&client, "Z1").await.expect_err(name).name(), name);
    }
}

#[tokio::test]
async fn defaults_are_json_or_refused_by_the_name_of_the_parameter() {
    let fake = Fake::new().on(|input: &GetParameterInput| {
        let value = match input.name() {
            Some("/good") => r#"{"old":"blue"}"#,
            Some("/bad") => "old: blue",
            _ => return Answer::json_error(400, "ParameterNotFound", ""),
        };
        let parameter = Parameter::builder().value(value).build();
        Answer::ok(GetParameterOutput::builder().parameter(parameter).build())
    });
    let client = client!(aws_sdk_ssm, fake);
    assert_eq!(parameters::defaults(&client, "/good").await, Ok(json!({ "old": "blue" })));
    for (name, error) in [("/bad", "InvalidInput"), ("/none", "Refused")] {
        let failure = parameters::defaults(&client, name).await.expect_err(error);
        assert_eq!(failure.name(), error);
        assert!(failure.to_string().contains(name), "{failure}");
    }
}

const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:cutover";
const EXECUTION: &str = "arn:aws:states:eu-central-1:123456789012:execution:cutover";

fn listed(names: impl Iterator<Item = String>, next: Option<&str>) -> Answer {
    let item = |name: String| {
        ExecutionListItem::builder()
            .execution_arn(format!("{EXECUTION}:{name}"))
            .state_machine_arn(MACHINE)
            .name(name)
            .status(ExecutionStatus::Running)
            .start_date(DateTime::from_secs(0))
            .build()
            .expect("complete")
    };
    let reply = ListExecutionsOutput::builder()
        .set_executions(Some(names.map(item).collect()))
        .set_next_token(next.map(str::to_owned));
    Answer::ok(reply.build().expect("complete"))
}

#[tokio::test]
async fn other_running_executions_are_told_with_their_input() {
    let fake = Fake::new()
        .on(|input: &ListExecutionsInput| {
            assert_eq!(input.status_filter(), Some(&ExecutionStatus::Running));
            let name = |name: &str| [name.to_owned()].into_iter();
            match input.next_token() {
                None => listed(name("own"), Some("2")),
                Some("2") => listed(name("other"), Some("3")),
                _ => listed(name("just-ended"), None),
            }
        })
        .on(|input: &DescribeExecutionInput| {
            let arn = input.execution_arn().expect("always");
            let ended = arn.ends_with("ended");
            let reply = DescribeExecutionOutput::builder()
                .execution_arn(arn)
                .state_machine_arn(MACHINE)
                .status(if ended { ExecutionStatus::Succeeded } else { ExecutionStatus::Running })
                .start_date(DateTime::from_secs(1000))
                .input(r#"{"new":"green"}"#);
            Answer::ok(reply.build().expect("complete"))
        });
    let client = client!(aws_sdk_sfn, fake);
    let own = format!("{EXECUTION}:own");
    let running =
        executions::running(&client, MACHINE, &own, &BTreeSet::new()).await.expect("told");
    let other = Running {
        name: "other".to_owned(),
        started_at: Timestamp::from_second(1000).expect("in range"),
        input: Some(r#"{"new":"green"}"#.to_owned()),
    };
    assert_eq!(running, [other]);
}

#[tokio::test]
async fn the_start_of_another_execution_is_rounded_as_an_execution_sees_its_own() {
    // StartDate comes as fractional seconds; 1000.0006 s are shown as …40.001.
    for (nanos, milliseconds) in [(600_000, 1), (400_000, 0), (999_600_000, 1000), (1_000_000, 1)] {
        let fake = Fake::new()
            .on(|_: &ListExecutionsInput| listed(["other".to_owned()].into_iter(), None))
            .on(move |_: &DescribeExecutionInput| {
                let reply = DescribeExecutionOutput::builder()
                    .execution_arn(format!("{EXECUTION}:other"))
                    .state_machine_arn(MACHINE)
                    .status(ExecutionStatus::Running)
                    .start_date(DateTime::from_secs_and_nanos(1000, nanos));
                Answer::ok(reply.build().expect("complete"))
            });
        let running =
            executions::running(&client!(aws_sdk_sfn, fake), MACHINE, "own", &BTreeSet::new())
                .await;
        let started_at = running.expect("told")[0].started_at;
        assert_eq!(started_at.as_millisecond(), 1_000_000 + milliseconds, "{nanos}");
        assert_eq!(started_at.subsec_nanosecond() % 1_000_000, 0);
    }
}

#[tokio::test]
async fn more_executions_than_can_be_looked_at_are_refused() {
    let fake =
        Fake::new().on(|_: &ListExecutionsInput| listed((0..101).map(|i| format!("e{i}")), None));
    let failure =
        executions::running(&client!(aws_sdk_sfn, fake), MACHINE, "own", &BTreeSet::new()).await;
    let failure = failure.expect_err("too many");
    assert_eq!(failure.name(), "InvalidInput");
    assert!(failure.to_string().contains("too_many_executions"), "{failure}");
}

#[tokio::test]
async fn each_class_of_error_of_the_json_services_has_its_name() {
    let table: Classes<4> = [
        (|| Answer::json_error(400, "ThrottlingException", "slow down"), "Unreachable"),
        (|| Answer::json_error(500, "InternalServerError", "oops"), "Unreachable"),
        (|| Answer::Lost, "Unreachable"),
        (|| Answer::json_error(400, "AccessDeniedException", "not yours"), "Refused"),
    ];
    for (answer, name) in table {
        let parameters = Fake::new().on(move |_: &GetParameterInput| answer());
        let failure = parameters::defaults(&client!(aws_sdk_ssm, parameters), "/p").await;
        assert_eq!(failure.expect_err(name).name(), name);
        for list_fails in [true, false] {
            let executions =
                Fake::new()
                    .on(move |_: &ListExecutionsInput| {
                        if list_fails {
                            answer()
                        } else {
                            listed(["e".to_owned()].into_iter(), None)
                        }
                    })
                    .on(move |_: &DescribeExecutionInput| answer());
            let client = client!(aws_sdk_sfn, executions);
            let failure = executions::running(&client, MACHINE, "own", &BTreeSet::new()).await;
            assert_eq!(failure.expect_err(name).name(), name);
        }
    }
}
