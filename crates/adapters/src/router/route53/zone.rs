//! A Route 53 hosted zone: finding it, and reading its records.

use aws_sdk_route53::Client;
use aws_sdk_route53::operation::get_hosted_zone::GetHostedZoneError;
use aws_sdk_route53::types::{HostedZone, HostedZoneConfig, ResourceRecordSet, RrType};
use cutover_core::limits::{ROUTE53_PAGES_MAX, ROUTE53_SETS_PER_PAGE, ROUTE53_WEIGHT_MAX};
use cutover_core::{Failure, RouteId};

use super::listing::{Listed, listing};
use super::record::shape;
use crate::errors::{failure, if_there, incomplete};

/// The hosted zone of the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its id.
    pub id: String,
    /// Its name, without a dot at the end.
    pub name: String,
}

/// How Route 53 answers for a record set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// One record set a name and type.
    Simple,
    /// By weight.
    Weighted,
    /// Latency, failover, geolocation, multivalue or any other.
    Other,
    /// As the traffic policy says whose instance of this id made it: it cannot be changed by itself.
    TrafficPolicy(String),
}

/// Where a record set points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An alias to an AWS resource.
    Alias {
        /// The resource's DNS name, as Route 53 has it.
        dns_name: String,
        /// `EvaluateTargetHealth`: Route 53 answers with it only while every target group behind it has a
        /// healthy target, whatever its weight.
        evaluates_health: bool,
    },
    /// Plain values.
    Values(Vec<String>),
}

/// One record set of a hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: RouteId,
    /// Its type: `A`, `AAAA`, `CNAME`, `TXT`, …
    pub kind: String,
    /// Its set identifier; a simple one has none.
    pub set_identifier: Option<String>,
    /// Its weight, when it is weighted.
    pub weight: Option<u32>,
    /// How Route 53 answers for it.
    pub policy: Policy,
    /// Its TTL in seconds; an alias has none.
    pub ttl_s: Option<u32>,
    /// Fingerprint of everything but the weight.
    pub shape: u32,
    /// Its Route 53 health check: while that fails, the record is out of the answers.
    pub health_check_id: Option<String>,
    /// Where it points.
    pub target: Target,
}

impl Record {
    /// Whether resolvers follow it to a side: type A, AAAA or CNAME.
    #[must_use]
    pub fn carries_traffic(&self) -> bool {
        matches!(self.kind.as_str(), "A" | "AAAA" | "CNAME")
    }

    /// Whether it is an alias that evaluates its target's health.
    #[must_use]
    pub const fn evaluates_health(&self) -> bool {
        matches!(self.target, Target::Alias { evaluates_health: true, .. })
    }
}

/// What came of looking for a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneLookup {
    /// There is exactly one.
    Found(Zone),
    /// There is none.
    None,
    /// Several have this name, such as a public and a private one: each, and whether it answers
    /// only inside of VPCs.
    Many(Vec<(Zone, bool)>),
}

/// Looks for a zone by its name or its id. Ids are `Z` and capital letters and digits; a name has
/// a dot, or is at least not that.
///
/// # Errors
/// `Unreachable` when Route 53 could not be reached or throttles, `Refused` when it refuses.
pub async fn find_zone(client: &Client, name_or_id: &str) -> Result<ZoneLookup, Failure> {
    let wanted = name_or_id.trim_start_matches("/hostedzone/");
    let is_id = wanted.starts_with('Z')
        && wanted.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if is_id { zone_by_id(client, wanted).await } else { zone_by_name(client, wanted).await }
}

async fn zone_by_id(client: &Client, id: &str) -> Result<ZoneLookup, Failure> {
    let what = format!("GetHostedZone {id}");
    let reply = client.get_hosted_zone().id(id).send().await;
    let is_missing = GetHostedZoneError::is_no_such_hosted_zone;
    let Some(reply) = if_there(&what, reply, is_missing)? else { return Ok(ZoneLookup::None) };
    let listed = reply.hosted_zone().ok_or_else(|| incomplete(&what, "HostedZone"))?;
    Ok(ZoneLookup::Found(zone(listed)))
}

/// One call: the zones of a name stand together, from that name on.
async fn zone_by_name(client: &Client, wanted: &str) -> Result<ZoneLookup, Failure> {
    let what = format!("ListHostedZonesByName from {wanted}");
    let reply = client.list_hosted_zones_by_name().dns_name(wanted).send().await;
    let reply = reply.map_err(|error| failure(&what, &error))?;
    if reply.max_items == 0 {
        return Err(incomplete(&what, "MaxItems"));
    }
    let wanted = name(wanted);
    let private = |listed: &HostedZone| listed.config().is_some_and(HostedZoneConfig::private_zone);
    let mut namesakes = reply.hosted_zones().iter().filter(|listed| name(listed.name()) == wanted);
    Ok(match (namesakes.next(), namesakes.next()) {
        (None, _) => ZoneLookup::None,
        (Some(only), None) => ZoneLookup::Found(zone(only)),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(namesakes);
            ZoneLookup::Many(all.map(|listed| (zone(listed), private(listed))).collect())
        }
    })
}

fn zone(listed: &HostedZone) -> Zone {
    Zone {
        id: listed.id().trim_start_matches("/hostedzone/").to_owned(),
        name: name(listed.name()).to_string(),
    }
}

/// A record set, whatever it says: it may be none of ours. A weight that Route 53 does not know is no weight, and
/// a TTL that cannot be is too long.
fn record(set: &ResourceRecordSet) -> Record {
    let weight = set.weight().and_then(|weight| u32::try_from(weight).ok());
    let weight = weight.filter(|weight| *weight <= ROUTE53_WEIGHT_MAX);
    let policy = match (set.traffic_policy_instance_id(), weight, set.set_identifier()) {
        (Some(instance), _, _) => Policy::TrafficPolicy(instance.to_owned()),
        (None, Some(_), _) => Policy::Weighted,
        (None, None, None) if set.weight().is_none() => Policy::Simple,
        (None, None, _) => Policy::Other,
    };
    let target = match set.alias_target() {
        Some(alias) => Target::Alias {
            dns_name: alias.dns_name().to_owned(),
            evaluates_health: alias.evaluate_target_health(),
        },
        None => Target::Values(
            set.resource_records().iter().map(|record| record.value().to_owned()).collect(),
        ),
    };
    Record {
        name: name(set.name()),
        kind: set.r#type().as_str().to_owned(),
        set_identifier: set.set_identifier().map(str::to_owned),
        weight,
        policy,
        shape: shape(set),
        ttl_s: set.ttl().map(|ttl| u32::try_from(ttl).unwrap_or(u32::MAX)),
        health_check_id: set.health_check_id().map(str::to_owned),
        target,
    }
}

/// The record sets of these names and their fences alone.
///
/// # Errors
/// `Unreachable` when Route 53 could not be reached or throttles, `Refused` when it refuses,
/// `Internal` when its listing has no end.
pub async fn records_of(
    client: &Client,
    zone_id: &str,
    names: &[RouteId],
) -> Result<Vec<Record>, Failure> {
    let listed = listing(client, zone_id, names.iter().collect()).await?;
    let sets = |listed: Listed| listed.sets.into_iter().chain(listed.fence.map(|fence| fence.set));
    Ok(listed.into_values().flat_map(sets).map(|set| record(&set)).collect())
}

/// Every record set of a zone.
///
/// # Errors
/// `Unreachable` when Route 53 could not be reached or throttles, `Refused` when it refuses,
/// `InvalidInput` (`zone_too_large`) for a zone of more than 30,000 record sets.
pub async fn records(client: &Client, zone_id: &str) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let mut from = None;
    for _ in 0..ROUTE53_PAGES_MAX {
        let page = page(client, zone_id, from.as_ref()).await?;
        records.extend(page.sets.iter().map(record));
        from = page.next;
        if from.is_none() {
            return Ok(records);
        }
    }
    Err(Failure::invalid(
        "zone_too_large",
        format!(
            "zone {zone_id} has more than {} record sets, which is the most that cutover reads: move the routes \
             into a zone of their own",
            records.len()
        ),
    ))
}

/// Where a page of a zone's listing begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) name: String,
    kind: Option<RrType>,
    set_identifier: Option<String>,
}

impl Cursor {
    /// At the first record set of a name, or after where it would stand.
    pub(crate) fn at(name: &RouteId) -> Self {
        Self { name: name.to_string(), kind: None, set_identifier: None }
    }
}

/// A page of a zone's listing, and where the next one begins.
pub(crate) struct Page {
    pub(crate) sets: Vec<ResourceRecordSet>,
    pub(crate) next: Option<Cursor>,
}

/// Reads one page. One that would continue where it began is an error, so that no caller can
/// be kept in a loop by it.
pub(crate) async fn page(
    client: &Client,
    zone_id: &str,
    from: Option<&Cursor>,
) -> Result<Page, Failure> {
    let what = format!("ListResourceRecordSets of zone {zone_id}");
    let mut request =
        client.list_resource_record_sets().hosted_zone_id(zone_id).max_items(ROUTE53_SETS_PER_PAGE);
    if let Some(from) = from {
        request = request
            .start_record_name(&from.name)
            .set_start_record_type(from.kind.clone())
            .set_start_record_identifier(from.set_identifier.clone());
    }
    let reply = request.send().await.map_err(|error| failure(&what, &error))?;
    // What is no listing at all may be read as an empty one.
    if reply.max_items == 0 {
        return Err(incomplete(&what, "MaxItems"));
    }
    let next = if reply.is_truncated {
        let name = reply.next_record_name.ok_or_else(|| incomplete(&what, "NextRecordName"))?;
        let (kind, set_identifier) = (reply.next_record_type, reply.next_record_identifier);
        Some(Cursor { name, kind, set_identifier })
    } else {
        None
    };
    if next.is_some() && next.as_ref() == from {
        return Err(Failure::Internal(format!("{what}: the next page begins where this one does")));
    }
    Ok(Page { sets: reply.resource_record_sets, next })
}

/// Reads a name as Route 53 writes it: with a dot at the end, and `\052` for `*`. Names are compared in lower case. Other escapes are left
/// alone: a dot or a backslash inside of a label must not become a plain one.
/// Source: Route 53 developer guide, "DNS domain name format".
pub(crate) fn name(listed: &str) -> RouteId {
    RouteId::from(listed.trim_end_matches('.').to_ascii_lowercase().replace(r"\052", "*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        assert_eq!(name("\\052.Example.com."), RouteId::from("*.example.com"));
        assert_eq!(name("a\\056b.example.com.").as_str(), "a\\056b.example.com");
    }
}
