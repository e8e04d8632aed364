//! Weighted records of Route 53: one record set a side and type, and a compare-and-swap of both
//! sides, all types and the route's fence at once.

mod change;
pub(crate) mod fence;
mod listing;
mod ownership;
mod record;
mod survey;
pub mod zone;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_route53::Client;
use aws_sdk_route53::operation::get_change::GetChangeError;
use aws_sdk_route53::types::{ChangeBatch, ChangeStatus};
use cutover_core::limits::{
    ROUTE53_CHANGES_AT_ONCE, ROUTE53_ELEMENTS_PER_BATCH, ROUTE53_LIVE_IN_S, ROUTE53_WEIGHT_MAX,
};
use cutover_core::{
    ExternalDns, Failure, Fence, Live, Move, Moved, Propagation, Request, RouteId, RouterSyntax,
    Shifted, Sides, Split, Survey, Way, Weights,
};
use serde_json::{Value, json};

use self::change::{Pace, Swap, batches, refusal};
use self::fence::Standing;
use self::listing::{Listed, listing};
use self::record::{Pair, Pairs, no_third};
use self::zone::{Zone, ZoneLookup, find_zone};
use crate::errors::{failure, if_there, incomplete};
use crate::router::{Router, Splits, host_name, refuse_moves_never_made};

/// Its name in requests and in the state.
pub(crate) const KIND: &str = "route53";
/// The field of a request and of the place that names the zone.
const HOSTED_ZONE: &str = "hosted_zone";

/// `"router": "route53"`, with `hosted_zone` beside it.
pub const SYNTAX: RouterSyntax = RouterSyntax {
    kind: KIND,
    own_fields: &[HOSTED_ZONE],
    place: |fields| {
        let allowed = "the name or id of a Route 53 hosted zone";
        let is_name = |zone: &String| !zone.is_empty() && zone.len() <= 255;
        Some(place(fields.required::<String>(HOSTED_ZONE, allowed, is_name)?))
    },
    route: host_name,
    means: |asked, alias| asked == alias,
    route_allowed: "a host name: letters, digits, - and _, with * only as the whole first label",
    meets: |place, scopes| {
        // A request that names no zone may mean any.
        let named = zone_of(place).map(|named| named.trim_start_matches('/'));
        named.map_or(true, |named| {
            let named = named.strip_prefix("hostedzone/").unwrap_or(named).trim_end_matches('.');
            scopes.iter().any(|scope| scope.eq_ignore_ascii_case(named))
        })
    },
};

/// What the state holds to find the routes again: `{"hosted_zone": "Z…"}`.
pub(crate) fn place(zone: impl Into<Value>) -> Value {
    json!({ HOSTED_ZONE: zone.into() })
}

/// The zone that a place names.
///
/// # Errors
/// `InvalidInput` (`unreadable_state`) when it names none.
pub(crate) fn zone_of(place: &Value) -> Result<&str, Failure> {
    place.get(HOSTED_ZONE).and_then(Value::as_str).ok_or_else(|| {
        let message = format!(
            "the place of router {KIND} is {place}; allowed: {{\"{HOSTED_ZONE}\": \"Z…\"}}, as cutover wrote it"
        );
        Failure::invalid("unreadable_state", message)
    })
}

/// `ResourceRecord` elements of one batch, round by round: an alias is one, another record set has
/// one a value. A refused batch is sent once more after a second look, which settles
/// lost replies and races; then in ever smaller parts, down to a route each, so that a route that is
/// refused for good (its records may be protected) keeps no other from moving, least of all back.
const BATCH_ELEMENTS_MAX: [usize; 5] =
    [ROUTE53_ELEMENTS_PER_BATCH, ROUTE53_ELEMENTS_PER_BATCH, 120, 16, 0];

/// Splits by the weights of two record sets of each name and type, told apart by their set
/// identifiers. A, AAAA and CNAME records count; others are not looked at, but for the fences.
#[derive(Clone, Debug)]
pub struct Route53 {
    client: Client,
    zone_id: String,
    sides: Sides,
    changes_at_once: u64,
}

impl Route53 {
    /// The routes of one zone, between the two sets of records named by `sides`. To survey a zone its name does as well
    /// as its id, and the sides are those of the request.
    #[must_use]
    pub fn new(client: Client, zone_id: impl Into<String>, sides: Sides) -> Self {
        Self { client, zone_id: zone_id.into(), sides, changes_at_once: ROUTE53_CHANGES_AT_ONCE }
    }

    /// Without regard to how many changes a second Route 53 takes: for a stand-in that has no such limit.
    #[must_use]
    pub fn unpaced(self) -> Self {
        Self { changes_at_once: u64::MAX, ..self }
    }

    /// The zone of this name or id.
    async fn zone(&self) -> Result<Zone, Failure> {
        let name_or_id = &self.zone_id;
        match find_zone(&self.client, name_or_id).await? {
            ZoneLookup::Found(zone) => Ok(zone),
            ZoneLookup::None => {
                let message = format!(
                    "there is no hosted zone {name_or_id:?} in the account of the functions, or in that of \
                     HostedZoneRoleArn if it is set: look at the spelling and at that role"
                );
                Err(Failure::invalid("zone_missing", message))
            }
            ZoneLookup::Many(zones) => {
                let kind = |private: bool| if private { "private" } else { "public" };
                let ids: Vec<String> = zones
                    .iter()
                    .map(|(zone, private)| format!("{} ({})", zone.id, kind(*private)))
                    .collect();
                let message = format!(
                    "several hosted zones are named {name_or_id:?}: {}; name one by its id",
                    ids.join(", ")
                );
                Err(Failure::invalid("zone_ambiguous", message))
            }
        }
    }

    async fn list(&self, routes: BTreeSet<&RouteId>) -> Result<HashMap<RouteId, Listed>, Failure> {
        listing(&self.client, &self.zone_id, routes).await
    }

    /// What is live of one route.
    fn split(&self, route: &RouteId, listed: Option<&Listed>) -> Split {
        let sets = listed.map(|listed| &listed.sets[..]).unwrap_or_default();
        let pairs = no_third(sets, &self.sides).and_then(|()| Pairs::of(sets, &self.sides));
        let live = match &pairs {
            Ok(pairs) => pairs.split(&self.sides),
            Err(why) => Live::Unclear(why.clone()),
        };
        let whole = pairs.as_ref().ok().and_then(Pairs::whole_split);
        let shapes = pairs.map(|pairs| pairs.shapes()).unwrap_or_default();
        Split { route: route.clone(), live, whole, shapes }
    }

    /// What is to be done about one move.
    fn judge(
        &self,
        (index, asked): (usize, &Move),
        listed: &Listed,
        fence: Option<&Fence>,
    ) -> Result<Judged, Failure> {
        let done = |moved| Ok(Judged::Done { moved, ttl_s: 0 });
        let pairs = match Pairs::of(&listed.sets, &self.sides) {
            Ok(pairs) => pairs,
            Err(why) => return done(Moved::Drifted(Live::Unclear(why))),
        };
        let hold = match hold(asked, listed.fence.as_ref(), fence) {
            Ok(hold) => hold,
            Err(not_ours) => return done(not_ours),
        };
        if hold == Hold::Gone && !pairs.whole.iter().all(|pair| pair.weights == asked.to) {
            return done(if asked.way == Way::Onward {
                Moved::MustGoBack("somebody has removed its fence".to_owned())
            } else {
                Moved::Superseded(
                    "its fence is gone (given back or taken over since): there is nothing to undo"
                        .to_owned(),
                )
            });
        }
        let (swap, moved) = match self.parts(asked, pairs.clone()) {
            Ok(parts) => parts,
            Err(drifted) => return done(drifted),
        };
        let ttl_s = pairs.whole.iter().map(Pair::ttl_s).max().unwrap_or(0);
        let nothing_to_swap = swap.is_empty();
        let write = |fence| Swap { index, to: asked.to, pairs: swap, fence };
        let record = |fence: &Fence, number| {
            fence::record(&asked.route, fence, number).map_err(|error| {
                Failure::Internal(format!("the fence of {}: {error}", asked.route))
            })
        };
        let stands = || listed.fence.as_ref().map(|standing| standing.set.clone());
        match (hold, fence) {
            (Hold::Takeable, Some(fence)) if !(nothing_to_swap && fence.last) => {
                let taken = record(fence, fence.number.saturating_sub(1))?;
                let take =
                    Swap { index, to: asked.to, pairs: Vec::new(), fence: [stands(), Some(taken)] };
                Ok(Judged::Take(take))
            }
            (Hold::Before, Some(fence)) => {
                let shall = if fence.last { None } else { Some(record(fence, fence.number)?) };
                Ok(Judged::Write { swap: write([stands(), shall]), moved })
            }
            _ if nothing_to_swap => Ok(Judged::Done { moved, ttl_s }),
            // Without fences; or this very write was made, and somebody changed the weights since.
            (Hold::Free, _) => Ok(Judged::Write { swap: write([None, None]), moved }),
            _ => done(Moved::Drifted(pairs.split(&self.sides))),
        }
    }

    /// The record types that get new weights, and what the route's move has come to then.
    ///
    /// # Errors
    /// The drift that speaks against it.
    fn parts(&self, asked: &Move, pairs: Pairs) -> Result<(Vec<Pair>, Moved), Moved> {
        let live = pairs.split(&self.sides);
        let known = |pair: &Pair| asked.shapes.is_empty() || asked.shapes.contains(&pair.shape);
        let expected = |weights: &Weights| *weights == asked.to || asked.from.contains(weights);
        let elsewhere = || {
            let others = pairs.whole.iter().filter(|pair| !known(pair)).map(Pair::described);
            let others = others.collect::<Vec<_>>().join(", ");
            Moved::Drifted(Live::Unclear(format!("they are now: {others}")))
        };
        let ours = |pair: &Pair| match asked.way {
            Way::Forced => true,
            Way::Onward | Way::Back => known(pair) && expected(&pair.weights),
        };
        if asked.way == Way::Onward {
            match live {
                Live::At(at) if !expected(&at) => return Err(Moved::Drifted(live)),
                Live::At(_) if !asked.shapes.is_empty() && asked.shapes != pairs.shapes() => {
                    return Err(elsewhere());
                }
                Live::At(_) => {}
                // What cutover has moved is as it left it: beside it, a part of one side alone has appeared.
                Live::Unclear(why)
                    if pairs.whole_split().is_some_and(|whole| expected(&whole))
                        && pairs.whole.iter().all(known) =>
                {
                    return Err(Moved::MustGoBack(format!(
                        "somebody else changed its records: {why}"
                    )));
                }
                Live::Unclear(why) => return Err(Moved::Drifted(Live::Unclear(why))),
            }
        } else if !pairs.whole.iter().any(ours) {
            return Err(match live {
                Live::At(at) if expected(&at) => elsewhere(),
                live => Moved::Drifted(live),
            });
        }
        let (ours, others): (Vec<Pair>, Vec<Pair>) = pairs.whole.into_iter().partition(ours);
        let others = others.iter().filter(|pair| pair.weights.new > 0);
        let others =
            others.map(|pair| format!("{} records with {}", pair.kind.as_str(), pair.weights));
        let halves = pairs.halves.iter().filter(|(_, is_new)| *is_new);
        let halves = halves
            .map(|(kind, _)| format!("a record of type {} of the new side alone", kind.as_str()));
        let left: Vec<String> = others.chain(halves).collect();
        let moved = if left.is_empty() {
            Moved::There
        } else {
            Moved::Partly(format!(
                "went back, but {} appeared since and still sends requests to the new side",
                left.join(", ")
            ))
        };
        Ok((ours.into_iter().filter(|pair| pair.weights != asked.to).collect(), moved))
    }

    /// Sends one batch.
    async fn change(&self, pace: &mut Pace, batch: &[Swap]) -> Result<Sent, Failure> {
        pace.make_room(batch).await;
        let what = format!("ChangeResourceRecordSets of zone {}", self.zone_id);
        let changes: Result<Vec<_>, _> = batch.iter().map(Swap::changes).collect();
        let batch = changes
            .and_then(|all| {
                ChangeBatch::builder().comment("cutover").set_changes(Some(all.concat())).build()
            })
            .map_err(|error| Failure::Internal(format!("{what}: {error}")))?;
        let request = self.client.change_resource_record_sets().hosted_zone_id(&self.zone_id);
        match request.change_batch(batch).send().await {
            Ok(reply) => {
                let change = reply.change_info().ok_or_else(|| incomplete(&what, "ChangeInfo"))?;
                Ok(Sent::Accepted(change.id().trim_start_matches("/change/").to_owned()))
            }
            Err(error) => match refusal(&error) {
                // The service's words first: a reason is cut off at its end.
                Some(why) => Ok(Sent::Refused(format!("InvalidChangeBatch: {why} ({what})"))),
                None => Err(failure(&what, &error)),
            },
        }
    }

    /// Takes the fences that are to be taken, by batches of their own: nothing else is written before.
    async fn take(
        &self,
        run: &mut Run<'_>,
        found: &mut HashMap<RouteId, Listed>,
        round: usize,
        elements_max: usize,
    ) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for (index, asked) in run.open() {
            let listed = found.entry(asked.route.clone()).or_default();
            if let Judged::Take(swap) = self.judge((index, asked), listed, run.fence)? {
                missing.push(swap);
            }
        }
        for batch in batches(missing, elements_max) {
            match (self.change(&mut run.pace, &batch).await?, &batch[..]) {
                (Sent::Accepted(_), _) => {
                    for swap in &batch {
                        let Some(asked) = run.moves.get(swap.index) else { continue };
                        let [_, stands] = &swap.fence;
                        found.entry(asked.route.clone()).or_default().fence =
                            stands.as_ref().map(Standing::read);
                    }
                }
                (Sent::Refused(why), [alone]) if round > 0 => {
                    run.outcome.insert(alone.index, Moved::Refused(why));
                }
                // These are looked at again in the next round.
                (Sent::Refused(_), _) => {}
            }
        }
        Ok(())
    }

    /// Writes what is to be written. Says whether another round is needed.
    async fn write(
        &self,
        run: &mut Run<'_>,
        found: &mut HashMap<RouteId, Listed>,
        round: usize,
        elements_max: usize,
    ) -> Result<bool, Failure> {
        let mut again = false;
        let mut swaps = Vec::new();
        let mut then: BTreeMap<usize, Moved> = BTreeMap::new();
        let mut done: Vec<(usize, Moved, u32)> = Vec::new();
        for (index, asked) in run.open() {
            let listed = found.entry(asked.route.clone()).or_default();
            match self.judge((index, asked), listed, run.fence)? {
                Judged::Write { swap, moved } => {
                    then.insert(index, moved);
                    swaps.push(swap);
                }
                // Its fence could not be taken; or it is not as it should be, and is looked at twice.
                Judged::Take(_) => again = true,
                Judged::Done { moved, .. } if round == 0 && moved != Moved::There => again = true,
                Judged::Done { moved, ttl_s } => done.push((index, moved, ttl_s)),
            }
        }
        for (index, moved, ttl_s) in done {
            // Moved by an earlier try, whose reply was lost and its change id with it.
            run.unconfirmed |= moved == Moved::There;
            run.ttl_s = run.ttl_s.max(ttl_s);
            run.outcome.insert(index, moved);
        }
        for batch in batches(swaps, elements_max) {
            match (self.change(&mut run.pace, &batch).await?, &batch[..]) {
                (Sent::Accepted(change), written) => {
                    run.changes.push(change);
                    run.ttl_s = written.iter().map(Swap::ttl_s).fold(run.ttl_s, u32::max);
                    let written = written.iter().map(|swap| swap.index);
                    run.outcome.extend(written.filter_map(|i| Some((i, then.remove(&i)?))));
                }
                // At its expected split, and refused alone after a second look: it is not
                // about the weights.
                (Sent::Refused(why), [alone]) if round > 0 => {
                    run.outcome.insert(alone.index, Moved::Refused(why));
                }
                // Nothing of the batch has changed, or all of it has and the reply was lost.
                (Sent::Refused(_), _) => again = true,
            }
        }
        Ok(again)
    }
}

/// A shift that is being made.
struct Run<'m> {
    moves: &'m [Move],
    fence: Option<&'m Fence>,
    pace: Pace,
    /// What became of the moves so far, by their index.
    outcome: BTreeMap<usize, Moved>,
    changes: Vec<String>,
    unconfirmed: bool,
    ttl_s: u32,
}

impl<'m> Run<'m> {
    fn new(moves: &'m [Move], fence: Option<&'m Fence>, pace: Pace) -> Self {
        let (outcome, changes) = (BTreeMap::new(), Vec::new());
        Self { moves, fence, pace, outcome, changes, unconfirmed: false, ttl_s: 0 }
    }

    /// The moves of which nothing is known yet.
    fn open(&self) -> impl Iterator<Item = (usize, &'m Move)> {
        self.moves.iter().enumerate().filter(|(index, _)| !self.outcome.contains_key(index))
    }

    fn shifted(self) -> Shifted {
        let names = self.moves.iter().map(|asked| asked.route.clone());
        Shifted {
            moves: names.zip(self.outcome.into_values()).collect(),
            receipts: self.changes,
            unconfirmed: self.unconfirmed,
            live_in_s: ROUTE53_LIVE_IN_S,
            linger_s: self.ttl_s,
        }
    }
}

/// What became of a batch.
enum Sent {
    /// It is carried out; this is the id of the change.
    Accepted(String),
    /// It is refused as a whole, because some record is not what the batch says it is, or for a reason that no second
    /// look will change.
    Refused(String),
}

/// What is to be done about one move.
enum Judged {
    /// Nothing.
    Done { moved: Moved, ttl_s: u32 },
    /// Its fence is to be taken, before anything else is written.
    Take(Swap),
    /// It is to be written, and this is then what became of it.
    Write { swap: Swap, moved: Moved },
}

/// How a route's fence stands to the write that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// There are no fences.
    Free,
    /// It is of an earlier write of ours, and will be replaced.
    Before,
    /// It is of this very write: an earlier try has made it.
    Made,
    /// There is none, or one that may be replaced: it is to be taken.
    Takeable,
    /// There is none any more.
    Gone,
}

/// # Errors
/// What becomes of a route whose fence is not ours.
fn hold(asked: &Move, stands: Option<&Standing>, fence: Option<&Fence>) -> Result<Hold, Moved> {
    let nothing = if asked.way == Way::Onward { "" } else { ": nothing to undo" };
    let of_another =
        |holder: &str| Moved::Superseded(format!("superseded by execution {holder}{nothing}"));
    let Some(fence) = fence else {
        // Without a fence of its own, a route that has one is somebody else's.
        let mark = stands.and_then(|standing| standing.mark.as_ref());
        return mark.map_or(Ok(Hold::Free), |mark| Err(of_another(&mark.holder)));
    };
    let Some(standing) = stands else {
        return Ok(if fence.take { Hold::Takeable } else { Hold::Gone });
    };
    let Some(mark) = &standing.mark else {
        let name = fence::name_of(&asked.route);
        return Err(Moved::Refused(format!(
            "the record {name} was not written by cutover: remove it, or set \"fence\": false"
        )));
    };
    if mark.holder != fence.holder {
        if fence.take && asked.supersedes.as_ref() == Some(&mark.holder) {
            return Ok(Hold::Takeable);
        }
        return Err(of_another(&mark.holder));
    }
    match mark.number.cmp(&fence.number) {
        std::cmp::Ordering::Less => Ok(Hold::Before),
        std::cmp::Ordering::Equal => Ok(Hold::Made),
        std::cmp::Ordering::Greater => Err(Moved::Superseded(format!(
            "superseded by a later write of this execution, number {}{nothing}",
            mark.number
        ))),
    }
}

impl Splits for Route53 {
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure> {
        let mut found = self.list(routes.iter().collect()).await?;
        // Pages that are read during a change may disagree, and a page may be incomplete.
        let unclear = routes
            .iter()
            .filter(|route| matches!(self.split(route, found.get(*route)).live, Live::Unclear(_)));
        let unclear: BTreeSet<&RouteId> = unclear.collect();
        if !unclear.is_empty() {
            let again = self.list(unclear.clone()).await?;
            found.retain(|route, _| !unclear.contains(route));
            found.extend(again);
        }
        Ok(routes.iter().map(|route| self.split(route, found.get(route))).collect())
    }

    async fn is_live(&self, receipts: &[String]) -> Result<Propagation, Failure> {
        let mut all = Propagation::Done;
        for id in receipts {
            let what = format!("GetChange {id}");
            let reply = self.client.get_change().id(id).send().await;
            let Some(reply) = if_there(&what, reply, GetChangeError::is_no_such_change)? else {
                all = Propagation::Unknown;
                continue;
            };
            let change = reply.change_info().ok_or_else(|| incomplete(&what, "ChangeInfo"))?;
            if *change.status() != ChangeStatus::Insync {
                return Ok(Propagation::Pending);
            }
        }
        Ok(all)
    }
}

impl Router for Route53 {
    /// Reads of a request that names its routes only those names, unless routes that external-dns owns are to be
    /// refused.
    async fn survey(&self, request: &Request) -> Result<Survey, Failure> {
        let zone = self.zone().await?;
        let named = request.routes.as_ref().filter(|_| request.external_dns == ExternalDns::Warn);
        let records = match named {
            Some(routes) => zone::records_of(&self.client, &zone.id, routes).await?,
            None => zone::records(&self.client, &zone.id).await?,
        };
        let mut survey = survey::survey(request, &zone, &records);
        if named.is_none() {
            survey::add_owners(&mut survey, request, &records);
        }
        Ok(survey)
    }

    async fn find_writers(&self, request: &Request, survey: &mut Survey) -> Result<(), Failure> {
        let records = zone::records(&self.client, zone_of(&survey.place)?).await?;
        survey::add_owners(survey, request, &records);
        Ok(())
    }

    async fn shift(&self, moves: &[Move], fence: Option<&Fence>) -> Result<Shifted, Failure> {
        refuse_moves_never_made(moves, ROUTE53_WEIGHT_MAX)?;
        let mut run = Run::new(moves, fence, Pace::new(self.changes_at_once));
        for (round, elements_max) in BATCH_ELEMENTS_MAX.into_iter().enumerate() {
            let routes = run.open().map(|(_, asked)| &asked.route).collect();
            let mut found = self.list(routes).await?;
            self.take(&mut run, &mut found, round, elements_max).await?;
            if !self.write(&mut run, &mut found, round, elements_max).await? {
                return Ok(run.shifted());
            }
        }
        Err(Failure::Internal("a batch of several routes was refused to the end".into()))
    }

    async fn release(&self, routes: &[RouteId], holder: &str) -> Result<(), Failure> {
        let none = Weights { old: 0, new: 0 };
        let mut pace = Pace::new(self.changes_at_once);
        for elements_max in BATCH_ELEMENTS_MAX {
            let found = self.list(routes.iter().collect()).await?;
            let ours = found.into_values().filter_map(|listed| listed.fence);
            let ours = ours.filter(|s| s.mark.as_ref().is_some_and(|mark| mark.holder == holder));
            let remove = ours.map(|s| Swap {
                index: 0,
                to: none,
                pairs: vec![],
                fence: [Some(s.set), None],
            });
            let mut refused = false;
            for batch in batches(remove.collect(), elements_max) {
                let sent = self.change(&mut pace, &batch).await?;
                refused |= matches!(sent, Sent::Refused(_));
            }
            if !refused {
                return Ok(());
            }
        }
        Err(Failure::Refused(format!("the fences of {holder} could not all be removed")))
    }
}
