//! What the form of a DNS name says about what stands behind it.
//!
//! Only names that no load balancer of the account has are judged by their form: one that was found is
//! judged by its type.

use core::net::IpAddr;

/// What a name belongs to that can never be an application load balancer of this account and region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Never {
    /// A load balancer of another type.
    OtherType(&'static str),
    /// Something else, or something elsewhere, in words that follow "which is".
    Elsewhere(String),
}

/// Ends of names that AWS services give out and that no load balancer has.
const NO_LOAD_BALANCER: [&str; 8] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amplifyapp.com",
    ".awsapprunner.com",
    ".awsglobalaccelerator.com",
    ".elasticbeanstalk.com",
    ".on.aws",
    ".api.aws",
];

impl Never {
    /// Judges a name, as [`dns_key`](crate::capacity::dns_key) writes it. `None`: a load balancer of this
    /// name may still appear, or its form says nothing.
    ///
    /// Source: Elastic Load Balancing user guides, "DNS name": application and classic load balancers are
    /// `NAME-ID.REGION.elb.amazonaws.com`, network ones `NAME-ID.elb.REGION.amazonaws.com`.
    pub(crate) fn of(name: &str, region: &str) -> Option<Self> {
        let elsewhere = |what: &str| Some(Self::Elsewhere(what.to_owned()));
        let foreign = |of: &str| {
            let is_foreign = !region.is_empty() && of != region;
            is_foreign.then(|| Self::Elsewhere(format!("a load balancer of the region {of}")))
        };
        if name.parse::<IpAddr>().is_ok() {
            return elsewhere("an IP address");
        }
        let aws = name.strip_suffix(".cn").unwrap_or(name).strip_suffix(".amazonaws.com");
        let (host, last) = aws.and_then(|labels| labels.rsplit_once('.')).unwrap_or_default();
        if last == "elb" {
            let (balancer, of) = host.rsplit_once('.').unwrap_or(("", host));
            if is_classic(balancer) {
                return Some(Self::OtherType("classic"));
            }
            return foreign(of);
        }
        if host.rsplit_once('.').is_some_and(|(_, last)| last == "elb") {
            return Some(foreign(last).unwrap_or(Self::OtherType("network")));
        }
        if aws.is_some_and(|labels| labels.contains("s3-website")) {
            return elsewhere("an S3 website");
        }
        if NO_LOAD_BALANCER.iter().any(|end| name.ends_with(end)) {
            return elsewhere("an AWS endpoint and no load balancer");
        }
        None
    }
}

/// Whether a load balancer's name is one that Kubernetes itself gives a classic load balancer: `a` and the
/// Service's UID, cut to 32 characters. Others have the form of an application load balancer's.
/// Source: kubernetes/cloud-provider, `DefaultLoadBalancerName`.
fn is_classic(name: &str) -> bool {
    let name = name.strip_prefix("internal-").unwrap_or(name);
    name.split_once('-').is_some_and(|(stem, _)| {
        stem.len() == 32
            && stem.starts_with('a')
            && stem.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_can_never_become_an_application_load_balancer_here() {
        let elsewhere = |what: &str| Some(Never::Elsewhere(what.to_owned()));
        let network = Some(Never::OtherType("network"));
        let table = [
            ("k8s-shop-web-1a2b-123456789.us-east-1.elb.amazonaws.com", None),
            ("internal-k8s-shop-web-1a2b-123456789.us-east-1.elb.amazonaws.com", None),
            ("k8s-shop-8f3ab2c1.us-east-1.elb.amazonaws.com", None),
            ("lb.example.com", None),
            ("localhost", None),
            ("k8s-shop-1a2b-8f3ab2c1d4e5f607.elb.us-east-1.amazonaws.com", network),
            (
                "k8s-shop-1a2b-8f3ab2c1d4e5f607.elb.cn-north-1.amazonaws.com.cn",
                elsewhere("a load balancer of the region cn-north-1"),
            ),
            (
                "a0123456789abcdef0123456789abcde-123456789.us-east-1.elb.amazonaws.com",
                Some(Never::OtherType("classic")),
            ),
            (
                "k8s-shop-123456789.eu-west-1.elb.amazonaws.com",
                elsewhere("a load balancer of the region eu-west-1"),
            ),
            (
                "k8s-shop-123456789.cn-north-1.elb.amazonaws.com.cn",
                elsewhere("a load balancer of the region cn-north-1"),
            ),
            ("s3-website-us-east-1.amazonaws.com", elsewhere("an S3 website")),
            ("shop.s3-website.eu-central-1.amazonaws.com", elsewhere("an S3 website")),
            ("shop.s3.us-east-1.amazonaws.com", elsewhere("an AWS endpoint and no load balancer")),
            (
                "d-1a2b.execute-api.us-east-1.amazonaws.com",
                elsewhere("an AWS endpoint and no load balancer"),
            ),
            ("a1b2.awsglobalaccelerator.com", elsewhere("an AWS endpoint and no load balancer")),
            ("192.0.2.7", elsewhere("an IP address")),
            ("2001:db8::7", elsewhere("an IP address")),
        ];
        for (name, never) in table {
            assert_eq!(Never::of(name, "us-east-1"), never, "{name}");
        }
    }

    #[test]
    fn where_our_region_is_not_known_no_load_balancer_is_foreign() {
        assert_eq!(Never::of("k8s-shop-1.eu-west-1.elb.amazonaws.com", ""), None);
    }
}
