//! The fence of a route: a TXT record `_cutover.NAME` beside it, which each write replaces in the same batch.
//! Its value is the [text](Fence::text) of a mark in quotes.

use aws_sdk_route53::error::BuildError;
use aws_sdk_route53::types::{ResourceRecord, ResourceRecordSet, RrType};
use cutover_core::{Fence, Mark, RouteId};

/// The label before the route's name.
const LABEL: &str = "_cutover.";
/// Seconds that a resolver may keep it: people ask for it, traffic never does.
const TTL_S: i64 = 60;

/// The name of a route's fence.
pub(crate) fn name_of(route: &RouteId) -> RouteId {
    RouteId::from(format!("{LABEL}{route}"))
}

/// A fence as it stands in the zone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// The record set, for a batch that must find it so.
    pub(crate) set: ResourceRecordSet,
    /// What it says; `None` for a record that cutover did not write.
    pub(crate) mark: Option<Mark>,
}

impl Standing {
    /// Reads a TXT record set.
    pub(crate) fn read(set: &ResourceRecordSet) -> Self {
        let values = set.resource_records().iter().map(ResourceRecord::value);
        Self { set: set.clone(), mark: mark(values) }
    }
}

/// The mark that the values of a TXT record are; `None` when they are none.
pub(crate) fn mark<'v>(mut values: impl Iterator<Item = &'v str>) -> Option<Mark> {
    let (only, more) = (values.next()?, values.next());
    Mark::read(only.trim_matches('"')).filter(|_| more.is_none())
}

/// The record set of a fence with this number.
///
/// # Errors
/// Never: all that a record set must have is there.
pub(crate) fn record(
    route: &RouteId,
    fence: &Fence,
    number: u32,
) -> Result<ResourceRecordSet, BuildError> {
    let value = format!("\"{}\"", fence.text(number));
    ResourceRecordSet::builder()
        .name(name_of(route).as_str())
        .r#type(RrType::Txt)
        .ttl(TTL_S)
        .resource_records(ResourceRecord::builder().value(value).build()?)
        .build()
}
