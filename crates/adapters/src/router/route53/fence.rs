//! The fence of a route: a TXT record `_cutover.NAME` beside it, which each write replaces in the same batch.
//!
//! Its text is `"cutover NUMBER TIME STATE_MACHINE:EXECUTION"`, for people and other tools to read.

use aws_sdk_route53::error::BuildError;
use aws_sdk_route53::types::{ResourceRecord, ResourceRecordSet, RrType};
use cutover_core::{Fence, RouteId};

/// The label before the route's name.
const LABEL: &str = "_cutover.";
/// Seconds that a resolver may keep it: people ask for it, traffic never does.
const TTL_S: i64 = 60;

/// The name of a route's fence.
#[must_use]
pub(crate) fn name_of(route: &RouteId) -> RouteId {
    RouteId::from(format!("{LABEL}{route}"))
}

/// A fence as it stands in the zone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// The record set, for a batch that must find it so.
    pub(crate) set: ResourceRecordSet,
    /// Whose it is and its number; `None` for a record that cutover did not write.
    pub(crate) mark: Option<Mark>,
}

/// What a fence says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `STATE_MACHINE:EXECUTION`.
    pub(crate) holder: String,
    /// The number of the write.
    pub(crate) number: u32,
}

impl Standing {
    /// Reads a TXT record set.
    pub(crate) fn read(set: &ResourceRecordSet) -> Self {
        let mark = match set.resource_records() {
            [only] => Mark::read(only.value()),
            _ => None,
        };
        Self { set: set.clone(), mark }
    }
}

impl Mark {
    /// Reads a fence's text, in quotes or without.
    pub(crate) fn read(value: &str) -> Option<Self> {
        let text = value.trim_matches('"');
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["cutover", number, _, holder] if !holder.is_empty() => {
                Some(Self { holder: holder.to_owned(), number: number.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// The record set of a fence with this number.
pub(crate) fn record(
    route: &RouteId,
    fence: &Fence,
    number: u32,
) -> Result<ResourceRecordSet, BuildError> {
    let Fence { holder, at, .. } = fence;
    // To the second: the number tells writes apart, the time is for people.
    let at = at.as_second();
    let at = jiff::Timestamp::from_second(at).unwrap_or(fence.at);
    let value = format!("\"cutover {number} {at} {holder}\"");
    ResourceRecordSet::builder()
        .name(name_of(route).as_str())
        .r#type(RrType::Txt)
        .ttl(TTL_S)
        .resource_records(ResourceRecord::builder().value(value).build()?)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_read_as_it_was_written() {
        let fence = Fence {
            holder: "cutover:0f7a".to_owned(),
            number: 3,
            at: jiff::Timestamp::from_millisecond(1_764_086_400_123).expect("in range"),
            take: false,
            last: false,
        };
        let set = record(&RouteId::from("chat.example.com"), &fence, 3).expect("a record");
        assert_eq!(set.name(), "_cutover.chat.example.com");
        assert_eq!(
            set.resource_records()[0].value(),
            "\"cutover 3 2025-11-25T16:00:00Z cutover:0f7a\""
        );
        let mark = Standing::read(&set).mark.expect("a mark");
        assert_eq!(mark, Mark { holder: "cutover:0f7a".to_owned(), number: 3 });
    }

    #[test]
    fn what_cutover_did_not_write_is_no_mark() {
        for odd in ["", "\"v=spf1 -all\"", "cutover x 2025 a:b", "cutover 1 2025 ", "cutover 1"] {
            assert_eq!(Mark::read(odd), None, "{odd}");
        }
    }
}
