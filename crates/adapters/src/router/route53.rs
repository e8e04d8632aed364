//! Weighted records of Route 53: one record set a side and type, and a compare-and-swap of both
//! sides and all types at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_route53::Client;
use aws_sdk_route53::error::{BuildError, SdkError};
use aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsError;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cutover_core::check::ALIAS_TTL_S;
use cutover_core::split::WEIGHT_MAX;
use cutover_core::{Cutover, Failure, Move, Moved, RouteId, Shifted, Sides, Split, Weights};

use crate::errors::{failure, incomplete};
use crate::router::Router;
use crate::zone::{self, Cursor};

/// `ResourceRecord` elements of one batch, round by round: an alias is one, another record set has
/// one a value. 1,000 are allowed. A refused batch is sent once more after a second look, which settles
/// lost replies and races; then in ever smaller parts, down to a route each, so that a route that is
/// refused for good (its records may be protected) keeps no other from moving, least of all back.
/// Source: Route 53 API reference, `ChangeResourceRecordSets`, limits on requests.
const BATCH_ELEMENTS_MAX: [usize; 5] = [1000, 1000, 120, 16, 0];
/// Characters of all `Value` elements of one batch; an alias has none. Source: as above.
const BATCH_CHARACTERS_MAX: usize = 32_000;
/// Pages that a listing may take beyond one a route.
const PAGES_MAX: usize = 100;

/// Splits by the weights of two record sets of each name and type, told apart by their set
/// identifiers. A, AAAA and CNAME records count; others are not looked at.
#[derive(Clone, Debug)]
pub struct Route53 {
    client: Client,
    zone_id: String,
    sides: Sides,
}

impl Route53 {
    /// The routes of one zone, between the two sets of records named by `sides`.
    #[must_use]
    pub fn new(client: Client, zone_id: impl Into<String>, sides: Sides) -> Self {
        Self { client, zone_id: zone_id.into(), sides }
    }

    /// The routes of one cutover.
    #[must_use]
    pub fn of(client: &Client, cutover: &Cutover) -> Self {
        Self::new(client.clone(), cutover.hosted_zone.clone(), cutover.sides.clone())
    }

    /// The record sets of these names. A name without any is absent.
    ///
    /// A page is asked for from the first name that is still open, so records that stand between two
    /// routes are skipped, and a page that starts at a name tells for sure whether it has records: that
    /// needs no knowledge of how the service sorts, only the number of calls does. Names that all exist
    /// take no more calls than there are names, and about as many as there are pages between the
    /// first and the last.
    async fn record_sets(
        &self,
        routes: BTreeSet<&RouteId>,
    ) -> Result<HashMap<RouteId, Vec<ResourceRecordSet>>, Failure> {
        let mut pages_left = routes.len() + PAGES_MAX;
        let mut open: BTreeMap<String, &RouteId> =
            routes.into_iter().map(|route| (sort_key(route), route)).collect();
        let mut found: HashMap<RouteId, Vec<ResourceRecordSet>> = HashMap::new();
        while let Some((first, route)) = open.first_key_value() {
            let first = first.clone();
            let mut from = Cursor::at(route);
            loop {
                if pages_left == 0 {
                    let zone = &self.zone_id;
                    return Err(Failure::Internal(format!(
                        "the listing of zone {zone} has no end"
                    )));
                }
                pages_left -= 1;
                let page = zone::page(&self.client, &self.zone_id, Some(&from)).await?;
                let mut listed = BTreeSet::new();
                for set in page.sets {
                    let name = zone::name(set.name());
                    let key = sort_key(&name);
                    if open.contains_key(&key) {
                        found.entry(name).or_default().push(set);
                        listed.insert(key);
                    }
                }
                // The last name of a page may go on in the next one.
                let cut = page.next.and_then(|next| {
                    let key = sort_key(&zone::name(&next.name));
                    listed.remove(&key).then_some(next)
                });
                open.retain(|key, _| !listed.contains(key));
                match cut {
                    Some(next) => from = next,
                    None => break,
                }
            }
            open.remove(&first);
        }
        Ok(found)
    }

    /// What the record sets of a route's name say, or in a sentence why they say nothing.
    fn live(&self, sets: &[ResourceRecordSet]) -> Result<Live, String> {
        let Sides { old, new } = &self.sides;
        let mut kinds: BTreeMap<&str, [Option<&ResourceRecordSet>; 2]> = BTreeMap::new();
        for set in sets.iter().filter(|set| is_routing(set) && set.weight().is_some()) {
            let [of_old, of_new] = kinds.entry(set.r#type().as_str()).or_default();
            match set.set_identifier() {
                Some(id) if id == old => *of_old = Some(set),
                Some(id) if id == new => *of_new = Some(set),
                _ => {}
            }
        }
        kinds.retain(|_, pair| pair.iter().any(Option::is_some));

        let mut pairs = Vec::with_capacity(kinds.len());
        let mut split: Option<(&str, Weights)> = None;
        for (kind, pair) in kinds {
            let (of_old, of_new) = match pair {
                [Some(of_old), Some(of_new)] => (of_old, of_new),
                [None, _] => return Err(format!("the {kind} record of {old} is missing")),
                [_, None] => return Err(format!("the {kind} record of {new} is missing")),
            };
            let weights = Weights { old: weight(of_old)?, new: weight(of_new)? };
            match split {
                Some((other, differ)) if differ != weights => {
                    return Err(format!(
                        "the {other} records have weights {differ}, the {kind} records {weights}"
                    ));
                }
                _ => split = Some((kind, weights)),
            }
            pairs.push([of_old.clone(), of_new.clone()]);
        }
        match split {
            Some((_, weights)) => Ok(Live { weights, pairs }),
            None => Err(format!("there is no weighted record of {old} or {new}")),
        }
    }

    /// A third set identifier with weight takes traffic away from both sides: their weights then
    /// say nothing of the split.
    fn no_third(&self, sets: &[ResourceRecordSet]) -> Result<(), String> {
        let third =
            sets.iter().filter(|set| is_routing(set) && set.weight().is_some_and(|w| w > 0));
        let mut ids = third.filter_map(ResourceRecordSet::set_identifier);
        match ids.find(|id| *id != self.sides.old && *id != self.sides.new) {
            Some(id) => Err(format!("records of a third set identifier, {id:?}, have weight")),
            None => Ok(()),
        }
    }

    /// Sends one batch. `Ok(Err(why))`: refused as a whole, because some record is not what the batch
    /// says it is, or for a reason that no second look will change.
    async fn change(&self, batch: &[Swap]) -> Result<Result<String, String>, Failure> {
        let what = format!("ChangeResourceRecordSets of zone {}", self.zone_id);
        let changes = batch.iter().flat_map(Swap::changes).collect::<Result<Vec<_>, _>>();
        let batch = changes
            .and_then(|c| ChangeBatch::builder().comment("cutover").set_changes(Some(c)).build())
            .map_err(|error| Failure::Internal(format!("{what}: {error}")))?;
        let request = self.client.change_resource_record_sets().hosted_zone_id(&self.zone_id);
        match request.change_batch(batch).send().await {
            Ok(reply) => {
                let change = reply.change_info().ok_or_else(|| incomplete(&what, "ChangeInfo"))?;
                Ok(Ok(change.id().trim_start_matches("/change/").to_owned()))
            }
            Err(error) => match refusal(&error) {
                Some(why) => Ok(Err(format!("{what}: InvalidChangeBatch: {why}"))),
                None => Err(failure(&what, &error)),
            },
        }
    }
}

impl Router for Route53 {
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure> {
        let found = self.record_sets(routes.iter().collect()).await?;
        let split = |route: &RouteId| {
            let sets = found.get(route).map(Vec::as_slice).unwrap_or_default();
            let live = self.no_third(sets).and_then(|()| self.live(sets)).map(|live| live.weights);
            Split { route: route.clone(), live }
        };
        Ok(routes.iter().map(split).collect())
    }

    async fn shift(&self, moves: &[Move]) -> Result<Shifted, Failure> {
        refuse_moves_never_made(moves)?;
        let mut outcome: BTreeMap<usize, Moved> = BTreeMap::new();
        let mut changes = Vec::new();
        let mut unconfirmed = false;
        let mut ttl_s = 0;
        let mut refused: BTreeMap<usize, String> = BTreeMap::new();
        for (round, elements_max) in BATCH_ELEMENTS_MAX.into_iter().enumerate() {
            let is_open = |i: &usize| !outcome.contains_key(i) && !refused.contains_key(i);
            let open = || moves.iter().enumerate().filter(|(index, _)| is_open(index));
            let found = self.record_sets(open().map(|(_, m)| &m.route).collect()).await?;
            let mut judged = Vec::new();
            let mut swaps = Vec::new();
            for (index, m) in open() {
                let sets = found.get(&m.route).map(Vec::as_slice).unwrap_or_default();
                match self.live(sets) {
                    Ok(live) if live.weights == m.to => {
                        // Moved by an earlier try, whose reply was lost and its change id with it.
                        unconfirmed = true;
                        ttl_s = ttl_s.max(live.ttl_s());
                        judged.push((index, Moved::There));
                    }
                    Ok(live) if m.from.contains(&live.weights) => {
                        swaps.push(Swap { index, to: m.to, live });
                    }
                    other => judged.push((index, Moved::Drifted(other.map(|live| live.weights)))),
                }
            }
            outcome.extend(judged);
            let mut again = false;
            for batch in batches(swaps, elements_max) {
                match (self.change(&batch).await?, &batch[..]) {
                    (Ok(change), _) => {
                        changes.push(change);
                        ttl_s = batch.iter().map(|swap| swap.live.ttl_s()).fold(ttl_s, u32::max);
                        outcome.extend(batch.iter().map(|swap| (swap.index, Moved::There)));
                    }
                    // At its expected split, and refused alone after a second look: it is not
                    // about the weights.
                    (Err(why), [alone]) if round > 0 => drop(refused.insert(alone.index, why)),
                    // Nothing of the batch has changed, or all of it has and the reply was lost.
                    (Err(_), _) => again = true,
                }
            }
            if !again {
                break;
            }
        }
        outcome.extend(refused.into_iter().map(|(index, why)| (index, Moved::Refused(why))));
        if outcome.len() < moves.len() {
            return Err(Failure::Internal(
                "a batch of several routes was refused to the end".into(),
            ));
        }
        let moves = moves.iter().map(|m| m.route.clone()).zip(outcome.into_values()).collect();
        Ok(Shifted { moves, changes, unconfirmed, ttl_s })
    }

    async fn propagated(&self, changes: &[String]) -> Result<bool, Failure> {
        for id in changes {
            let what = format!("GetChange {id}");
            let reply = self.client.get_change().id(id).send().await;
            let reply = reply.map_err(|error| failure(&what, &error))?;
            let change = reply.change_info().ok_or_else(|| incomplete(&what, "ChangeInfo"))?;
            if *change.status() != ChangeStatus::Insync {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A route's record sets of both sides, and what they say.
struct Live {
    weights: Weights,
    /// Old and new side, one pair a record type.
    pairs: Vec<[ResourceRecordSet; 2]>,
}

impl Live {
    fn sets(&self) -> impl Iterator<Item = &ResourceRecordSet> {
        self.pairs.iter().flatten()
    }

    /// How long the longest of the answers may be cached.
    fn ttl_s(&self) -> u32 {
        let ttl_s = |set: &ResourceRecordSet| match (set.alias_target(), set.ttl()) {
            (None, Some(ttl)) => u32::try_from(ttl).unwrap_or(u32::MAX),
            _ => ALIAS_TTL_S,
        };
        self.sets().map(ttl_s).max().unwrap_or(0)
    }
}

/// A compare-and-swap of one route's weights.
struct Swap {
    /// Which of the moves it belongs to.
    index: usize,
    to: Weights,
    live: Live,
}

impl Swap {
    /// DELETE exactly what was read, and CREATE the same with other weights. Both sides are
    /// replaced even if only one has a new weight: what is not deleted is not compared.
    fn changes(&self) -> impl Iterator<Item = Result<Change, BuildError>> {
        self.live
            .pairs
            .iter()
            .flatten()
            .zip([self.to.old, self.to.new].into_iter().cycle())
            .flat_map(|(set, weight)| {
                let mut moved = set.clone();
                moved.weight = Some(i64::from(weight));
                [change(ChangeAction::Delete, set.clone()), change(ChangeAction::Create, moved)]
            })
    }

    /// Elements and characters that its changes add to a batch.
    fn size(&self) -> (usize, usize) {
        let size = |set: &ResourceRecordSet| {
            if set.alias_target().is_some() {
                return (1, 0);
            }
            let values = set.resource_records().iter().map(ResourceRecord::value);
            (values.len(), values.map(|value| value.chars().count()).sum())
        };
        let (elements, characters): (Vec<usize>, Vec<usize>) = self.live.sets().map(size).unzip();
        (2 * elements.iter().sum::<usize>(), 2 * characters.iter().sum::<usize>())
    }
}

fn change(action: ChangeAction, set: ResourceRecordSet) -> Result<Change, BuildError> {
    Change::builder().action(action).resource_record_set(set).build()
}

/// Fills one batch after the other. A route is never divided between two, and has one of its own
/// when it is larger than that.
fn batches(swaps: Vec<Swap>, elements_max: usize) -> Vec<Vec<Swap>> {
    let mut batches: Vec<Vec<Swap>> = Vec::new();
    let mut left = (0, 0);
    for swap in swaps {
        let (elements, characters) = swap.size();
        match batches.last_mut() {
            Some(batch) if elements <= left.0 && characters <= left.1 => batch.push(swap),
            _ => {
                left = (elements_max, BATCH_CHARACTERS_MAX);
                batches.push(vec![swap]);
            }
        }
        left = (left.0.saturating_sub(elements), left.1.saturating_sub(characters));
    }
    batches
}

/// Weights that are all 0 would give every record the same share, or none; and a route that is in two
/// moves would drift from itself. Both are defects of the caller, found before anything is touched.
fn refuse_moves_never_made(moves: &[Move]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for Move { route, to, .. } in moves {
        if to.old == 0 && to.new == 0 {
            return Err(Failure::Internal(format!("{route} would get weight 0 on both sides")));
        }
        if to.old.max(to.new) > WEIGHT_MAX {
            return Err(Failure::Internal(format!(
                "{route} would get {to}: {WEIGHT_MAX} is the most"
            )));
        }
        if !seen.insert(route) {
            return Err(Failure::Internal(format!("{route} is to be moved twice at once")));
        }
    }
    Ok(())
}

fn is_routing(set: &ResourceRecordSet) -> bool {
    matches!(set.r#type(), RrType::A | RrType::Aaaa | RrType::Cname)
}

fn weight(set: &ResourceRecordSet) -> Result<u16, String> {
    let weight = set.weight().unwrap_or_default();
    u16::try_from(weight).map_err(|_| format!("{weight} is not a weight"))
}

/// The order of a zone's listing: labels reversed, with a dot after each. Used to ask for the
/// fewest pages, never to conclude that a name is not there.
/// Source: Route 53 API reference, `ListResourceRecordSets`.
fn sort_key(route: &RouteId) -> String {
    route.as_str().rsplit('.').fold(String::new(), |key, label| key + label + ".")
}

/// Why a batch was refused, if that is what the error says.
///
/// Route 53 has two forms for it. The SDK knows `<ErrorResponse>` with a `<Code>`; of
/// `<InvalidChangeBatch>` as the root element it only tells that there was no code.
/// Source: aws-sdk-go-v2, `service/route53/internal/customizations`, which handles both.
fn refusal(error: &SdkError<ChangeResourceRecordSetsError, HttpResponse>) -> Option<String> {
    if let ChangeResourceRecordSetsError::InvalidChangeBatch(refused) = error.as_service_error()? {
        let all = refused.messages().join("; ");
        return Some(if all.is_empty() {
            refused.message().unwrap_or_default().to_owned()
        } else {
            all
        });
    }
    let body = std::str::from_utf8(error.raw_response()?.body().bytes()?).ok()?;
    let (_, refused) = body.split_once("<InvalidChangeBatch")?;
    let messages = refused.split("<Message>").skip(1).filter_map(|m| m.split("</Message>").next());
    Some(messages.map(str::trim).collect::<Vec<_>>().join("; "))
}
