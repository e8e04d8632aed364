//! Which routes external-dns owns: what its TXT records say, and when nothing can say it.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::{RouteId, Sides};

use super::zone::{Record, Target};
use crate::capacity::dns_key;

/// What can be said about whether external-dns owns a route's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// It does: an ownership record says so.
    Owned,
    /// It may: its ownership records cannot be read, or there are none where it seems to be at work.
    Unknown,
    /// Nothing suggests it.
    None,
}

/// The ownership records of a zone.
///
/// external-dns writes `"heritage=external-dns,external-dns/owner=…"` with the set identifier of the record
/// that it owns, at `PREFIX[TYPE-]LABELSUFFIX.REST` for the name `LABEL.REST`. Prefix, suffix and a replacement
/// for `*` are settings of the installation, and both affixes may hold the type. So a TXT record belongs to the
/// longest name of its set identifier that it fits: `cname-my-shop-own.example.com` to `my-shop.example.com`
/// rather than to `shop.example.com`.
/// Source: external-dns, `registry/mapper` (`AffixNameMapper`) and "The TXT registry".
pub(crate) struct Registry<'r> {
    owned: BTreeSet<&'r RouteId>,
    unreadable: BTreeSet<&'r RouteId>,
    /// Whether each of the two set identifiers has an ownership record anywhere in the zone.
    both_leave_traces: bool,
}

impl<'r> Registry<'r> {
    /// Reads the TXT records that carry the set identifier of a side.
    pub(crate) fn of(records: &'r [Record], sides: &Sides) -> Self {
        let mut names: BTreeMap<&str, BTreeSet<&RouteId>> = BTreeMap::new();
        let of_sides = |record: &&'r Record| {
            let id = record.set_identifier.as_ref();
            id == Some(&sides.old) || id == Some(&sides.new)
        };
        let (texts, others): (Vec<_>, Vec<_>) =
            records.iter().filter(of_sides).partition(|record| record.kind == "TXT");
        for record in others.into_iter().filter(|record| record.carries_traffic()) {
            let id = record.set_identifier.as_deref().unwrap_or_default();
            names.entry(id).or_default().insert(&record.name);
        }
        let (mut owned, mut unreadable) = (BTreeSet::new(), BTreeSet::new());
        let mut traces = BTreeSet::new();
        for text in texts {
            let id = text.set_identifier.as_deref().unwrap_or_default();
            let of_id = names.get(id).into_iter().flatten().copied();
            let fitting = of_id.filter(|name| fits(&text.name, name));
            let name = fitting.max_by_key(|name| name.as_str().len());
            if says_external_dns(text) {
                traces.insert(id);
                owned.extend(name);
            } else {
                unreadable.extend(name);
            }
        }
        let both_leave_traces = traces.len() == 2;
        Self { owned, unreadable, both_leave_traces }
    }

    /// What can be said about one route with these records.
    pub(crate) fn ownership(&self, route: &RouteId, records: &[&Record]) -> Ownership {
        if self.owned.contains(route) {
            Ownership::Owned
        } else if self.unreadable.contains(route)
            || (!self.both_leave_traces && records.iter().any(|record| looks_written_by_it(record)))
        {
            Ownership::Unknown
        } else {
            Ownership::None
        }
    }
}

fn says_external_dns(text: &Record) -> bool {
    matches!(&text.target, Target::Values(values)
        if values.iter().any(|value| value.contains("heritage=external-dns")))
}

/// Whether a TXT record's name can be made of this name. The replacement for `*` can be anything.
fn fits(text: &RouteId, name: &RouteId) -> bool {
    let Some((label, rest)) = name.as_str().split_once('.') else { return text == name };
    let head = text.as_str().strip_suffix(rest).and_then(|head| head.strip_suffix('.'));
    head.is_some_and(|head| {
        label == "*" || head.rsplit('.').next().is_some_and(|last| last.contains(label))
    })
}

/// Whether a record looks as external-dns writes them: an alias that evaluates its target's health, or one
/// that points at a load balancer with a name of aws-load-balancer-controller.
fn looks_written_by_it(record: &Record) -> bool {
    let of_controller = |name: &str| {
        let name = dns_key(name);
        name.strip_prefix("internal-").unwrap_or(&name).starts_with("k8s-")
    };
    match &record.target {
        Target::Alias { dns_name, evaluates_health } => {
            *evaluates_health || of_controller(dns_name)
        }
        Target::Values(values) => values.iter().any(|value| of_controller(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::zone::Policy;
    use super::*;

    const OWNER: &str =
        "\"heritage=external-dns,external-dns/owner=x,external-dns/resource=ingress/default/app\"";

    fn record(name: &str, kind: &str, id: &str, value: &str) -> Record {
        Record {
            name: RouteId::from(name),
            kind: kind.to_owned(),
            set_identifier: Some(id.to_owned()),
            weight: Some(0),
            policy: Policy::Weighted,
            ttl_s: Some(60),
            shape: 7,
            health_check_id: None,
            target: Target::Values(vec![value.to_owned()]),
        }
    }

    /// What is said about `routes` in a zone where all names have records of both sides, with these TXT records.
    fn told(names: &[&str], target: &str, texts: &[(&str, &str, &str)]) -> Vec<Ownership> {
        let mut records: Vec<Record> = vec![];
        for (name, id) in names.iter().flat_map(|name| [(name, "blue"), (name, "green")]) {
            records.push(record(name, "CNAME", id, target));
        }
        records.extend(texts.iter().map(|(name, id, value)| record(name, "TXT", id, value)));
        let sides = Sides { old: "blue".to_owned(), new: "green".to_owned() };
        let registry = Registry::of(&records, &sides);
        let of = |name: &&str| {
            let name = RouteId::from(*name);
            let of_name: Vec<_> = records.iter().filter(|r| r.name == name).collect();
            registry.ownership(&name, &of_name)
        };
        names.iter().map(of).collect()
    }

    const K8S: &str = "k8s-shop-1.us-east-1.elb.amazonaws.com";
    const TERRAFORM: &str = "shop-1.us-east-1.elb.amazonaws.com";

    #[test]
    fn an_ownership_record_is_found_whatever_affixes_the_installation_has() {
        for name in [
            "app.example.com",
            "a-app.example.com",
            "aaaa-app.example.com",
            "cname-app.example.com",
            "xdns-cname-app.example.com",
            "xdns-app.example.com",
            "xdns.app.example.com",
            "_owner.cname-app.example.com",
            "cname-own.app.example.com",
            "cname-app-own.example.com",
            "app-cname-own.example.com",
        ] {
            for id in ["blue", "green"] {
                let told = told(&["app.example.com"], TERRAFORM, &[(name, id, OWNER)]);
                assert_eq!(told, [Ownership::Owned], "{name} of {id}");
            }
        }
    }

    #[test]
    fn an_ownership_record_belongs_to_the_longest_name_that_it_fits() {
        let names = ["app.example.com", "my-app.example.com", "app.my-app.example.com"];
        let both = |name| [(name, "blue", OWNER), (name, "green", OWNER)];
        for (text, owner) in [
            ("xdns-cname-app.example.com", 0),
            ("cname-my-app-own.example.com", 1),
            ("xdns-cname-app.my-app.example.com", 2),
        ] {
            let mut expected = vec![Ownership::None; 3];
            expected[owner] = Ownership::Owned;
            assert_eq!(told(&names, K8S, &both(text)), expected, "{text}");
        }
        let elsewhere = both("cname-app.example.org");
        assert_eq!(told(&names, K8S, &elsewhere), [Ownership::None; 3]);
    }

    #[test]
    fn a_wildcard_has_what_fits_no_other_name() {
        let names = ["*.example.com", "app.example.com"];
        let replaced = [("cname-any.example.com", "blue", OWNER)];
        assert_eq!(told(&names, TERRAFORM, &replaced), [Ownership::Owned, Ownership::None]);
        let of_app = [("cname-app.example.com", "blue", OWNER)];
        assert_eq!(told(&names, TERRAFORM, &of_app), [Ownership::None, Ownership::Owned]);
        let literal = [("a-*.example.com", "green", OWNER)];
        assert_eq!(told(&names, TERRAFORM, &literal), [Ownership::Owned, Ownership::None]);
    }

    #[test]
    fn a_record_of_a_third_identifier_owns_nothing() {
        let third = [("cname-app.example.com", "red", OWNER)];
        assert_eq!(told(&["app.example.com"], TERRAFORM, &third), [Ownership::None]);
    }

    #[test]
    fn what_cannot_be_read_or_leaves_no_trace_is_not_taken_for_a_no() {
        let names = ["app.example.com", "web.example.com"];
        let encrypted =
            [("cname-app.example.com", "blue", "\"h8UQ6jelUFUsEIn7SbFktc2MYXPx/q8lySqI4Vw=\"")];
        assert_eq!(told(&names, TERRAFORM, &encrypted), [Ownership::Unknown, Ownership::None]);
        assert_eq!(told(&names, K8S, &[]), [Ownership::Unknown; 2]);
        assert_eq!(told(&names, TERRAFORM, &[]), [Ownership::None; 2]);
        let of_old_alone = [("cname-app.example.com", "blue", OWNER)];
        assert_eq!(told(&names, K8S, &of_old_alone), [Ownership::Owned, Ownership::Unknown]);
    }
}
