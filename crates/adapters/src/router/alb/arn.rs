//! The names of listeners, rules and target groups, and what they say of each other.
//! Source: Service Authorization Reference, "Elastic Load Balancing V2" (resource types).

/// Whether this is the ARN of a listener.
pub(super) fn is_listener(text: &str) -> bool {
    is_of(text, "listener", 4)
}

/// Whether this is the ARN of a listener's rule.
pub(super) fn is_rule(text: &str) -> bool {
    is_of(text, "listener-rule", 5) && kind(text) == "app"
}

/// Whether this is the ARN of a target group.
pub(super) fn is_target_group(text: &str) -> bool {
    is_of(text, "targetgroup", 2)
}

/// Whether this is an ARN of Elastic Load Balancing for this kind of resource, with this many parts behind it.
fn is_of(text: &str, resource: &str, parts: usize) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let ["arn", partition, "elasticloadbalancing", region, account, named] =
        text.split(':').collect::<Vec<_>>()[..]
    else {
        return false;
    };
    let mut named = named.split('/');
    [partition, region, account].into_iter().all(is_word)
        && named.next() == Some(resource)
        && named.clone().count() == parts
        && named.all(is_word)
}

/// The parts of an ARN that follow the kind of resource.
fn parts(arn: &str) -> impl Iterator<Item = &str> {
    arn.rsplit(':').next().unwrap_or_default().split('/').skip(1)
}

/// What kind of load balancer a listener's or rule's ARN belongs to: `app`, `net` or `gwy`.
pub(super) fn kind(arn: &str) -> &str {
    parts(arn).next().unwrap_or_default()
}

/// The region in an ARN.
pub(super) fn region(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// The listener of a rule; a listener's own ARN as it is.
pub(super) fn listener_of(arn: &str) -> String {
    match arn.replace(":listener-rule/", ":listener/").rsplit_once('/') {
        Some((listener, _)) if arn.contains(":listener-rule/") => listener.to_owned(),
        _ => arn.to_owned(),
    }
}

/// The load balancer of a listener or of a rule.
pub(super) fn load_balancer_of(arn: &str) -> String {
    let listener = listener_of(arn).replace(":listener/", ":loadbalancer/");
    listener.rsplit_once('/').map_or(listener.clone(), |(balancer, _)| balancer.to_owned())
}

/// The name in the ARN of a load balancer or listener.
pub(super) fn name_of(arn: &str) -> &str {
    parts(arn).nth(1).unwrap_or(arn)
}

/// The name in the ARN of a target group.
pub(super) fn group_name(arn: &str) -> &str {
    parts(arn).next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012";

    #[test]
    fn arns_are_told_apart() {
        let of = |resource: &str| format!("{AT}:{resource}");
        let table = [
            (of("listener/app/shop/1a/2b"), [true, false, false]),
            (of("listener/net/shop/1a/2b"), [true, false, false]),
            (of("listener-rule/app/shop/1a/2b/3c"), [false, true, false]),
            (of("listener-rule/net/shop/1a/2b/3c"), [false, false, false]),
            (of("targetgroup/blue/1a"), [false, false, true]),
            (of("loadbalancer/app/shop/1a"), [false; 3]),
            (of("listener/app/shop/1a"), [false; 3]),
            (of("listener/app/shop/1a/"), [false; 3]),
            (of("listener/app/sh op/1a/2b"), [false; 3]),
            ("arn:aws:ec2:eu-central-1:1:listener/app/shop/1a/2b".to_owned(), [false; 3]),
            ("shop:443".to_owned(), [false; 3]),
            (String::new(), [false; 3]),
        ];
        for (text, expected) in table {
            let is = [is_listener(&text), is_rule(&text), is_target_group(&text)];
            assert_eq!(is, expected, "{text}");
        }
    }

    #[test]
    fn a_rule_names_its_listener_and_its_load_balancer() {
        let listener = format!("{AT}:listener/app/shop/1a/2b");
        let rule = format!("{AT}:listener-rule/app/shop/1a/2b/3c");
        for arn in [&listener, &rule] {
            assert_eq!(listener_of(arn), listener);
            assert_eq!(load_balancer_of(arn), format!("{AT}:loadbalancer/app/shop/1a"));
            assert_eq!((name_of(arn), kind(arn), region(arn)), ("shop", "app", "eu-central-1"));
        }
        assert_eq!(group_name(&format!("{AT}:targetgroup/blue/1a")), "blue");
    }
}
