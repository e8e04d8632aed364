//! A hosted zone that behaves as Route 53's: it lists in order and by pages, and changes a
//! batch wholly or not at all.

use std::sync::{Arc, Mutex, MutexGuard};

use adapters::clients::Route53Client;
use aws_sdk_route53::operation::change_resource_record_sets::{
    ChangeResourceRecordSetsInput, ChangeResourceRecordSetsOutput,
};
use aws_sdk_route53::operation::list_resource_record_sets::{
    ListResourceRecordSetsInput, ListResourceRecordSetsOutput,
};
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeInfo, ChangeStatus, ResourceRecord, ResourceRecordSet,
    RrType,
};
use aws_smithy_types::DateTime;

use crate::fake::{Answer, Fake, client};

/// May change the zone, or answer in its place.
pub type Meddle = Box<dyn FnMut(&mut State) -> Option<Answer> + Send>;

pub const NOTHING: fn(&mut State) -> Option<Answer> = |_| None;

#[derive(Clone)]
pub struct FakeZone(Arc<Mutex<State>>);

pub struct State {
    pub sets: Vec<ResourceRecordSet>,
    /// Start name of each page asked for; empty for the beginning.
    pub listed: Vec<String>,
    /// Each batch sent, refused ones as well.
    pub batches: Vec<Vec<Change>>,
    /// Record sets of a page, if fewer than asked for.
    pub page_max: usize,
    /// Where a name stands in the listing.
    pub order: fn(&str) -> String,
    /// Comes before a page is listed.
    pub before_list: Box<dyn FnMut(&mut State) + Send>,
    /// Comes before a batch is looked at.
    pub before_change: Meddle,
    /// Comes after a batch was applied, before the reply.
    pub after_change: Meddle,
}

/// Labels reversed, a dot after each: as documented.
pub fn documented_order(name: &str) -> String {
    name.trim_end_matches('.').rsplit('.').fold(String::new(), |key, label| key + label + ".")
}

fn key(set: &ResourceRecordSet, order: fn(&str) -> String) -> (String, String, String) {
    let id = set.set_identifier().unwrap_or_default();
    (order(set.name()), set.r#type().as_str().to_owned(), id.to_owned())
}

impl FakeZone {
    pub fn new(sets: impl IntoIterator<Item = ResourceRecordSet>) -> Self {
        Self(Arc::new(Mutex::new(State {
            sets: sets.into_iter().collect(),
            listed: Vec::new(),
            batches: Vec::new(),
            page_max: usize::MAX,
            order: documented_order,
            before_list: Box::new(|_| ()),
            before_change: Box::new(NOTHING),
            after_change: Box::new(NOTHING),
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    pub fn client(&self) -> Route53Client {
        let (list, change) = (self.clone(), self.clone());
        let fake = Fake::new()
            .on(move |input: &ListResourceRecordSetsInput| list.state().list(input))
            .on(move |input: &ChangeResourceRecordSetsInput| change.state().change(input));
        client!(aws_sdk_route53, fake)
    }

    /// Weights of the two sides of a name and type.
    pub fn weights(&self, name: &str, kind: &str) -> (i64, i64) {
        let state = self.state();
        let of = |id: &str| {
            let set = state.sets.iter().find(|set| {
                set.name() == format!("{name}.")
                    && set.r#type().as_str() == kind
                    && set.set_identifier() == Some(id)
            });
            set.expect("is there").weight().expect("is weighted")
        };
        (of("blue"), of("green"))
    }
}

impl State {
    fn list(&mut self, input: &ListResourceRecordSetsInput) -> Answer {
        let mut before = std::mem::replace(&mut self.before_list, Box::new(|_| ()));
        before(self);
        self.before_list = before;
        let order = self.order;
        self.sets.sort_by_cached_key(|set| key(set, order));
        self.listed.push(input.start_record_name().unwrap_or_default().to_owned());
        let start = (
            input.start_record_name().map(|name| order(&name.replace('*', "\\052"))),
            input.start_record_type().map(|kind| kind.as_str().to_owned()),
            input.start_record_identifier().map(str::to_owned),
        );
        let start =
            (start.0.unwrap_or_default(), start.1.unwrap_or_default(), start.2.unwrap_or_default());
        let mut rest = self.sets.iter().filter(|set| key(set, order) >= start);
        let size = usize::try_from(input.max_items().unwrap_or(300)).expect("positive");
        let page: Vec<_> = rest.by_ref().take(size.min(self.page_max)).cloned().collect();
        let next = rest.next();
        let reply = ListResourceRecordSetsOutput::builder()
            .set_resource_record_sets(Some(page))
            .is_truncated(next.is_some())
            .set_next_record_name(next.map(|set| set.name().to_owned()))
            .set_next_record_type(next.map(|set| set.r#type().clone()))
            .set_next_record_identifier(next.and_then(|set| set.set_identifier.clone()))
            .max_items(300);
        Answer::ok(reply.build().expect("complete"))
    }

    fn change(&mut self, input: &ChangeResourceRecordSetsInput) -> Answer {
        let changes = input.change_batch().expect("a batch").changes().to_vec();
        self.batches.push(changes.clone());
        let mut before = std::mem::replace(&mut self.before_change, Box::new(NOTHING));
        let answer = before(self);
        self.before_change = before;
        if let Some(answer) = answer {
            return answer;
        }
        match self.changed(&changes) {
            Err(why) => return Answer::xml_error(400, "InvalidChangeBatch", &format!("[{why}]")),
            Ok(sets) => self.sets = sets,
        }
        let mut after = std::mem::replace(&mut self.after_change, Box::new(NOTHING));
        let answer = after(self);
        self.after_change = after;
        answer.unwrap_or_else(|| {
            let info = ChangeInfo::builder()
                .id(format!("/change/C{}", self.batches.len()))
                .status(ChangeStatus::Pending)
                .submitted_at(DateTime::from_secs(0));
            let info = info.build().expect("complete");
            Answer::ok(ChangeResourceRecordSetsOutput::builder().change_info(info).build())
        })
    }

    /// The zone after a batch, or why it is refused.
    pub fn changed(&self, changes: &[Change]) -> Result<Vec<ResourceRecordSet>, String> {
        let mut sets = self.sets.clone();
        for change in changes {
            let set = change.resource_record_set().expect("a record set");
            let same = |other: &ResourceRecordSet| {
                (&other.name, &other.r#type, &other.set_identifier)
                    == (&set.name, &set.r#type, &set.set_identifier)
            };
            let at = sets.iter().position(same);
            match (change.action(), at) {
                (ChangeAction::Delete, Some(at)) if sets[at] == *set => drop(sets.remove(at)),
                (ChangeAction::Delete, Some(_)) => {
                    let name = set.name();
                    return Err(format!(
                        "Tried to delete resource record set [name='{name}'] but the values \
                         provided do not match the current values"
                    ));
                }
                (ChangeAction::Delete, None) => return Err("it was not found".to_owned()),
                (ChangeAction::Create, None) => sets.push(set.clone()),
                (ChangeAction::Create, Some(_)) => return Err("it already exists".to_owned()),
                (action, _) => panic!("{action:?} is no compare-and-swap"),
            }
        }
        Ok(sets)
    }

    pub fn calls(&self) -> usize {
        self.listed.len() + self.batches.len()
    }

    /// What somebody else does.
    pub fn set_weight(&mut self, name: &str, id: &str, weight: i64) {
        let name = format!("{name}.");
        for set in &mut self.sets {
            if set.name == name && set.set_identifier() == Some(id) {
                set.weight = Some(weight);
            }
        }
    }
}

pub fn alias(name: &str, kind: &str, id: &str, weight: i64) -> ResourceRecordSet {
    let target = AliasTarget::builder()
        .dns_name(format!("dualstack.{id}.elb.amazonaws.com."))
        .hosted_zone_id("ZELB")
        .evaluate_target_health(true);
    ResourceRecordSet::builder()
        .name(format!("{name}."))
        .r#type(RrType::from(kind))
        .set_identifier(id)
        .weight(weight)
        .alias_target(target.build().expect("complete"))
        .build()
        .expect("complete")
}

pub fn plain(
    name: &str,
    kind: &str,
    id: &str,
    weight: i64,
    ttl: i64,
    values: &[&str],
) -> ResourceRecordSet {
    let value = |value: &&str| ResourceRecord::builder().value(*value).build().expect("complete");
    ResourceRecordSet::builder()
        .name(format!("{name}."))
        .r#type(RrType::from(kind))
        .set_identifier(id)
        .weight(weight)
        .ttl(ttl)
        .set_resource_records(Some(values.iter().map(value).collect()))
        .build()
        .expect("complete")
}

/// Aliases of both sides, A and AAAA: what external-dns writes for a load balancer.
pub fn aliases(name: &str, old: i64, new: i64) -> Vec<ResourceRecordSet> {
    ["A", "AAAA"]
        .into_iter()
        .flat_map(|kind| [alias(name, kind, "blue", old), alias(name, kind, "green", new)])
        .collect()
}
