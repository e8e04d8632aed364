//! Who else writes the weights of rules, as the tags tell.

use std::collections::BTreeMap;

use cutover_core::{Finding, Problem, Remedy, RouteId, Survey, listed};

use super::arn;
use super::listing::Tags;
use super::place::{Known, OtherWriters};

/// Something that makes rules, and may write their weights back.
struct Writer {
    name: &'static str,
    /// Whether it writes them back by itself. Otherwise it does so when people run it.
    is_at_work: bool,
    /// What to do about it: the end of a sentence.
    advice: &'static str,
    /// Whether a tag with this key and value is one of its own.
    is_tag: fn(&str, &str) -> bool,
}

/// The first whose tag a rule has is the one that writes it.
///
/// Source: aws-load-balancer-controller, `pkg/deploy/tracking`; aws-controllers-k8s, `pkg/tags`; Amazon ECS developer
/// guide, "Tagging Amazon ECS resources"; `CloudFormation` user guide, "Resource tags". Terraform has no tag of its own: it is
/// known by those that people give.
const WRITERS: [Writer; 5] = [
    Writer {
        name: "aws-load-balancer-controller",
        is_at_work: true,
        advice: "set the weights in the Ingress annotation alb.ingress.kubernetes.io/actions.NAME, or take the rule out \
                 of the controller's hands",
        is_tag: |key, _| matches!(key, "ingress.k8s.aws/stack" | "elbv2.k8s.aws/cluster"),
    },
    Writer {
        name: "ACK",
        is_at_work: true,
        advice: "set the weights in the resource that ACK makes the rule from, or take the rule out of its hands",
        is_tag: |key, _| key == "services.k8s.aws/controller-version",
    },
    Writer {
        name: "Amazon ECS",
        is_at_work: true,
        advice: "take the rule out of the service's load balancer settings, or let no deployment of it run meanwhile",
        is_tag: |key, _| key.starts_with("aws:ecs:") || key.starts_with("AmazonECSManaged"),
    },
    Writer {
        name: "CloudFormation",
        is_at_work: false,
        advice: "update its stack only after the cutover, with the new weights in the template",
        is_tag: |key, _| key == "aws:cloudformation:stack-name",
    },
    Writer {
        name: "Terraform",
        is_at_work: false,
        advice: "apply it only after the cutover, with the new weights, or let it ignore changes of the rule's action",
        is_tag: |key, value| {
            value.eq_ignore_ascii_case("terraform")
                || (key.eq_ignore_ascii_case("terraform") && value.eq_ignore_ascii_case("true"))
        },
    },
];

/// Adds to a survey who else writes the weights of its routes. Rules without a telling tag are taken for those of
/// whoever has made their load balancer.
pub(super) fn add(
    survey: &mut Survey,
    rules: &BTreeMap<RouteId, Known>,
    tags: &BTreeMap<String, Tags>,
    policy: OtherWriters,
) {
    let of = |arn: &str| tags.get(arn).and_then(writer_of);
    for found in &mut survey.routes {
        let Some(known) = rules.get(&found.route) else { continue };
        let writer = of(&known.arn).or_else(|| of(&arn::load_balancer_of(&known.arn)));
        if let Some(writer) = writer {
            found.other_writer = Some(writer.name.to_owned());
            survey.other_writers.insert(writer.name.to_owned(), writer.advice.to_owned());
        }
    }
    survey.writers_are_known = true;
    for writer in &WRITERS {
        let theirs = survey.routes.iter();
        let theirs = theirs.filter(|found| found.other_writer.as_deref() == Some(writer.name));
        let theirs: Vec<String> = theirs.map(|found| found.route.to_string()).collect();
        if theirs.is_empty() {
            continue;
        }
        let problem = problem(writer, &theirs, policy);
        match policy {
            OtherWriters::Refuse if writer.is_at_work => {
                survey.findings.push(Finding { problem, remedy: Remedy::Person });
            }
            OtherWriters::Refuse | OtherWriters::Warn => survey.warnings.push(problem),
        }
    }
}

fn problem(writer: &Writer, routes: &[String], policy: OtherWriters) -> Problem {
    let Writer { name, is_at_work, advice, .. } = writer;
    let (many, all) = (routes.len(), listed(routes));
    let when = if *is_at_work {
        "it writes their weights back by itself"
    } else {
        "its next run writes their weights back"
    };
    let mut message =
        format!("{name} has made the rules of {many} route(s): {all}; {when}: {advice}");
    if *is_at_work && policy == OtherWriters::Refuse {
        message.push_str("; to go on all the same, set other_writers to \"warn\"");
    }
    Problem::new("other_writer", message)
}

fn writer_of(tags: &Tags) -> Option<&'static Writer> {
    WRITERS.iter().find(|writer| tags.iter().any(|(key, value)| (writer.is_tag)(key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_known_by_its_tags() {
        let table = [
            (vec![("elbv2.k8s.aws/cluster", "blue")], Some("aws-load-balancer-controller")),
            (vec![("ingress.k8s.aws/stack", "shop")], Some("aws-load-balancer-controller")),
            (vec![("services.k8s.aws/controller-version", "v1")], Some("ACK")),
            (vec![("aws:ecs:serviceName", "shop")], Some("Amazon ECS")),
            (vec![("AmazonECSManaged", "")], Some("Amazon ECS")),
            (vec![("aws:cloudformation:stack-name", "shop")], Some("CloudFormation")),
            (vec![("ManagedBy", "Terraform")], Some("Terraform")),
            (vec![("Terraform", "true")], Some("Terraform")),
            (vec![("Terraform", "false"), ("team", "shop")], None),
            (vec![("managed-by", "terraform"), ("aws:ecs:x", "")], Some("Amazon ECS")),
            (vec![], None),
        ];
        for (tags, name) in table {
            let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let tags: Tags = tags.collect();
            assert_eq!(writer_of(&tags).map(|writer| writer.name), name, "{tags:?}");
        }
    }
}
