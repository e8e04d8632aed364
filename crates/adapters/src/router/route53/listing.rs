//! Reads the record sets of some names, with the fences beside them, in as few pages as a zone's order allows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_route53::Client;
use aws_sdk_route53::types::{ResourceRecordSet, RrType};
use cutover_core::{Failure, RouteId};

use super::fence::{self, Standing};
use super::zone::{self, Cursor};

/// Pages that a listing may take beyond two a route.
const PAGES_MAX: usize = 100;

/// What a zone has of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// The record sets of its name.
    pub(crate) sets: Vec<ResourceRecordSet>,
    /// The fence beside it.
    pub(crate) fence: Option<Standing>,
}

/// A name that has not been listed to its end.
struct Open<'r> {
    route: &'r RouteId,
    name: RouteId,
    is_fence: bool,
}

/// The record sets of these routes and their fences. A route without either is absent.
///
/// A page is asked for from the first name that is still open, so records that stand between two
/// routes are skipped. A page that starts at a name tells for sure whether it has records, and so a route is
/// never taken for missing because of how the service sorts. A fence is, where a page that lists its route, or begins at it, has
/// passed its place: it stands close behind, and most listings find none. That needs the service's order to be the
/// documented one, which is checked on each page.
pub(crate) async fn listing(
    client: &Client,
    zone_id: &str,
    routes: BTreeSet<&RouteId>,
) -> Result<HashMap<RouteId, Listed>, Failure> {
    let mut pages_left = 2 * routes.len() + PAGES_MAX;
    let mut open: BTreeMap<String, Open<'_>> = BTreeMap::new();
    for route in routes {
        let own = Open { route, name: route.clone(), is_fence: false };
        open.insert(sort_key(&own.name), own);
        let fence = Open { route, name: fence::name_of(route), is_fence: true };
        open.insert(sort_key(&fence.name), fence);
    }
    let mut found: HashMap<RouteId, Listed> = HashMap::new();
    while let Some((first, begin)) = open.first_key_value() {
        let first = first.clone();
        let mut from = Cursor::at(&begin.name);
        loop {
            if pages_left == 0 {
                return Err(Failure::Internal(format!("the listing of zone {zone_id} has no end")));
            }
            pages_left -= 1;
            let page = zone::page(client, zone_id, Some(&from)).await?;
            let mut listed = BTreeSet::new();
            let mut is_sorted = true;
            let mut last = sort_key(&RouteId::from(from.name.as_str()));
            for set in page.sets {
                let key = sort_key(&zone::name(set.name()));
                is_sorted &= last <= key;
                if let Some(open) = open.get(&key) {
                    let of_route = found.entry(open.route.clone()).or_default();
                    if !open.is_fence {
                        of_route.sets.push(set);
                    } else if *set.r#type() == RrType::Txt {
                        of_route.fence = Some(Standing::read(&set));
                    }
                    listed.insert(key.clone());
                }
                last = key;
            }
            let next = page.next.map(|next| (sort_key(&zone::name(&next.name)), next));
            let in_page: BTreeSet<&RouteId> =
                listed.iter().filter_map(|key| open.get(key)).map(|open| open.route).collect();
            // The last name of a page may go on in the next one.
            let cut = next.as_ref().is_some_and(|(key, _)| listed.remove(key));
            let until = next.as_ref().map(|(key, _)| key.clone());
            let passed = |key: &String, open: &Open<'_>| {
                let is_behind = until.as_ref().is_none_or(|until| key < until);
                let with_route = in_page.contains(open.route) || sort_key(open.route) == first;
                open.is_fence && is_sorted && is_behind && with_route
            };
            open.retain(|key, open| !listed.contains(key) && !passed(key, open));
            match next {
                Some((_, next)) if cut => from = next,
                _ => break,
            }
        }
        open.remove(&first);
    }
    Ok(found)
}

/// The order of a zone's listing: labels reversed, with a dot after each. Used to ask for the
/// fewest pages, never to conclude that a route is not there.
/// Source: Route 53 API reference, `ListResourceRecordSets`.
fn sort_key(route: &RouteId) -> String {
    route.as_str().rsplit('.').fold(String::new(), |key, label| key + label + ".")
}
