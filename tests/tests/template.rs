//! What the template promises beside the functions: who hears of what, and which events are kept.
//! It is read as text; `.ci/run` lints it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot read the template has no test to go on with"
)]

const TEMPLATE: &str = include_str!("../../template.yaml");

/// The lines of a resource, parameter or condition, without comments and what surrounds them.
fn block(name: &str) -> String {
    let heading = format!("  {name}:");
    let lines = TEMPLATE.lines().skip_while(|line| *line != heading).skip(1);
    let block: Vec<&str> = lines
        .take_while(|line| line.is_empty() || line.starts_with("   "))
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    assert!(!block.is_empty(), "the template has no {name}");
    block.join("\n")
}

/// The part of a block between this line and the next that stands as far to the left.
fn part<'a>(block: &'a str, line: &str) -> &'a str {
    let begin = block.find(line).unwrap_or_else(|| panic!("{line} is not in\n{block}"));
    let rest = block.get(begin..).expect("found there");
    let after = rest.get(line.len()..).expect("it begins with it");
    rest.get(..line.len() + after.find("- Sid:").unwrap_or(after.len())).expect("inside")
}

/// The names of the resources of a type.
fn of_type(kind: &str) -> Vec<&'static str> {
    let wanted = format!("    Type: {kind}");
    let lines: Vec<&str> = TEMPLATE.lines().collect();
    let headed = lines.windows(2).filter_map(|pair| match pair {
        [name, kind] if *kind == wanted => name.trim().strip_suffix(':'),
        _ => None,
    });
    headed.collect()
}

/// The alarms on a metric, each with the one dimension that it looks at.
fn alarms(metric: &str) -> Vec<String> {
    let on_metric = format!("      MetricName: {metric}\n");
    let alarms = of_type("AWS::CloudWatch::Alarm").into_iter().map(block);
    let found = alarms.filter(|alarm| alarm.contains(&on_metric));
    let value = |alarm: String| {
        let (_, value) = alarm.split_once("Value: ").expect("a dimension");
        value.split_once(" }]").expect("the only one").0.to_owned()
    };
    found.map(value).collect()
}

#[test]
fn eventbridge_may_publish_without_a_condition_and_alarms_of_this_stack_alone() {
    let policy = block("NotificationTopicPolicy");
    let of_events = part(&policy, "- Sid: PublishEnds");
    assert!(of_events.contains("events.amazonaws.com"), "{of_events}");
    // EventBridge supports no condition there: with one, no message would arrive.
    assert!(!of_events.contains("Condition"), "{of_events}");
    let of_alarms = part(&policy, "- Sid: PublishAlarms");
    for said in [
        "cloudwatch.amazonaws.com",
        "aws:SourceArn",
        ":alarm:${AWS::StackName}-*",
        "aws:SourceAccount",
    ] {
        assert!(of_alarms.contains(said), "{said} is not in {of_alarms}");
    }
}

#[test]
fn every_alarm_reaches_the_topic_at_the_first_bad_minute() {
    let alarms = of_type("AWS::CloudWatch::Alarm");
    assert!(!alarms.is_empty());
    for name in alarms {
        let alarm = block(name);
        for said in [
            "AlarmDescription: ",
            "Period: 60\n",
            "EvaluationPeriods: 1\n",
            "Threshold: 1\n",
            "ComparisonOperator: GreaterThanOrEqualToThreshold",
            "TreatMissingData: notBreaching",
            "AlarmActions: [!Ref NotificationTopic]",
        ] {
            assert!(alarm.contains(said), "{name}: {said} is not in\n{alarm}");
        }
        // Its generated name begins with the stack's, which the topic's policy asks for.
        assert!(!alarm.contains("AlarmName"), "{name}");
    }
}

#[test]
fn every_rule_is_watched_for_events_that_it_could_not_hand_on() {
    let mut events = vec![];
    let mut function = "";
    for line in TEMPLATE.lines() {
        if line.starts_with("  ") && !line.starts_with("   ") {
            function = line.trim().trim_end_matches(':');
        }
        let event = line.strip_prefix("        ").filter(|rest| !rest.starts_with(' '));
        let event = event.and_then(|rest| rest.strip_suffix(':'));
        events.push((function, event.unwrap_or_default(), line));
    }
    let of_events = events.windows(2).filter_map(|pair| match pair {
        [(function, event, _), (_, _, kind)] if kind.trim() == "Type: EventBridgeRule" => {
            Some(format!("!Ref {function}{event}"))
        }
        _ => None,
    });
    let of_resources = of_type("AWS::Events::Rule").into_iter().map(|name| format!("!Ref {name}"));
    let mut rules: Vec<String> = of_events.chain(of_resources).collect();
    rules.sort();
    let mut watched = alarms("FailedInvocations");
    watched.sort();
    assert_eq!((rules.len(), &rules), (4, &watched));
}

#[test]
fn events_that_start_something_are_kept_when_they_cannot_be_delivered() {
    let kept = "DeadLetterConfig:\n              Arn: !GetAtt UndeliveredEventsQueue.Arn";
    let targets = TEMPLATE.matches("Type: EventBridgeRule").count();
    assert_eq!((targets, TEMPLATE.matches(kept).count()), (3, 3));
    let policy = block("UndeliveredEventsQueuePolicy");
    assert!(policy.contains("events.amazonaws.com") && policy.contains("sqs:SendMessage"));
    for rule in [
        "CutoverStateMachineClusterReady",
        "CutoverStateMachineCreateCluster",
        "RollbackFunctionCutoverInterrupted",
    ] {
        assert!(policy.contains(&format!("- !GetAtt {rule}.Arn")), "{rule} may not write to it");
    }
    assert_eq!(
        alarms("ApproximateNumberOfMessagesVisible"),
        ["!GetAtt UndeliveredEventsQueue.QueueName"]
    );
}

#[test]
fn ends_that_need_a_person_and_failed_roll_backs_are_told_by_metrics_as_well() {
    for metric in ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] {
        assert_eq!(alarms(metric), ["!Ref CutoverStateMachine"], "{metric}");
    }
    for metric in ["Errors", "Throttles"] {
        assert_eq!(alarms(metric), ["!Ref RollbackFunction"], "{metric}");
    }
    let rollback = block("RollbackFunction");
    assert!(rollback.contains("OnFailure:\n            Type: SNS"), "{rollback}");
}

#[test]
fn the_role_of_the_zones_account_can_be_assumed_by_the_functions_and_nothing_else_can() {
    let policy = block("HostedZoneRolePolicy");
    assert!(policy.contains("Condition: HasHostedZoneRole"), "{policy}");
    assert!(
        policy.contains("Action: sts:AssumeRole\n            Resource: !Ref HostedZoneRoleArn")
    );
    for function in of_type("AWS::Serverless::Function") {
        assert!(policy.contains(&format!("- !Ref {function}Role")), "{function}");
    }
    assert_eq!(TEMPLATE.matches("sts:AssumeRole").count(), 1);
    assert!(TEMPLATE.contains("        HOSTED_ZONE_ROLE_ARN: !Ref HostedZoneRoleArn\n"));
}

#[test]
fn of_listeners_only_those_named_and_their_rules_may_be_changed() {
    let policy = block("ChangeRulesPolicy");
    assert!(policy.contains("Condition: HasListeners"), "{policy}");
    let roles: Vec<&str> = policy.lines().filter(|line| line.ends_with("Role")).collect();
    assert_eq!(
        roles,
        ["        - !Ref ShiftWeightFunctionRole", "        - !Ref RollbackFunctionRole"]
    );
    assert_eq!(TEMPLATE.matches("elasticloadbalancing:Modify").count(), 2);
    let change = part(&policy, "- Sid: ChangeRules");
    assert!(!change.contains("Resource: \"*\""), "{change}");
    assert!(change.contains("- ${ListenerArns},${Rules}/*"), "{change}");
    assert!(
        change.contains(r#"!Join [":listener-rule/", !Split [":listener/", !Ref ListenerArns]]"#)
    );
}

#[test]
fn a_zone_or_a_listener_must_be_given_and_one_of_them_is_enough() {
    for parameter in ["HostedZoneId", "ListenerArns"] {
        assert!(block(parameter).contains("    Default: \"\"\n"), "{parameter}");
        let is_given = format!("- !Not [!Equals [!Ref {parameter}, \"\"]]");
        assert!(block("SomethingToChange").contains(&is_given), "{parameter}");
    }
}

/// CloudFormation looks an `AWS::Route53::HostedZone::Id` up in the stack's own account.
#[test]
fn the_zone_may_be_one_of_another_account() {
    let zone = block("HostedZoneId");
    assert!(zone.contains("    Type: String\n"), "{zone}");
    assert!(zone.contains("    AllowedPattern: ^$|^Z[A-Z0-9]{1,31}$\n"), "{zone}");
    assert!(zone.contains("    ConstraintDescription: "), "{zone}");
    assert!(!TEMPLATE.contains("Type: AWS::Route53::HostedZone::Id"));
}

#[test]
fn the_state_machine_may_publish_to_the_topic_and_to_no_other() {
    let machine = block("CutoverStateMachine");
    let publish = part(&machine, "- Sid: TellPeople");
    assert!(publish.contains("Action: sns:Publish"), "{publish}");
    assert!(publish.contains("Resource: !Ref NotificationTopic"), "{publish}");
    assert_eq!(machine.matches("sns:Publish").count(), 1);
}

#[test]
fn room_for_the_roll_back_is_only_reserved_when_it_is_asked_for() {
    let rollback = block("RollbackFunction");
    let reserved = "ReservedConcurrentExecutions: !If\n        - HasRollbackReservedConcurrency\n        \
                    - !Ref RollbackReservedConcurrency\n        - !Ref AWS::NoValue";
    assert!(rollback.contains(reserved), "{rollback}");
    assert!(block("RollbackReservedConcurrency").contains("Default: 0"));
}
