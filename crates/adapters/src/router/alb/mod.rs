//! Rules of application load balancers: a route is a rule, or a listener's default action, that forwards to a
//! target group of either side.
//!
//! The service has no compare-and-swap: a rule is read, compared, written and read back. Whatever somebody
//! else writes between reading and writing is overwritten, and is not seen.

mod arn;
pub(crate) mod listing;
mod owners;
pub(crate) mod place;
pub(crate) mod rule;
mod shift;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use cutover_core::limits::ALB_WEIGHT_MAX;
use cutover_core::{
    Failure, Fence, Live, Move, Propagation, Request, RouteId, Shifted, Split, Survey,
};
use serde_json::Value;

use self::place::Place;
use self::rule::Rule;
use self::survey::Seen;
use crate::router::{Router, Splits, refuse_moves_never_made};

/// Why a route that the place does not name has no split.
const NOT_OURS: &str = "the state names no rule for it";
/// Why a route whose rule was deleted has none.
const GONE: &str = "its rule is gone";

/// Splits by the weights of two target groups in the forward action of a rule.
#[derive(Clone, Debug)]
pub struct Alb {
    client: Client,
    place: Place,
    /// Time in which a second's worth of writes is made.
    second: Duration,
}

impl Alb {
    /// The rules of the place that a request or a state names.
    ///
    /// # Errors
    /// `InvalidInput` (`unreadable_state`) when the place lacks something.
    pub fn new(client: Client, place: &Value) -> Result<Self, Failure> {
        Ok(Self { client, place: Place::read(place)?, second: Duration::from_secs(1) })
    }

    /// Without regard to how many rules a second the service writes: for a stand-in that has no such limit.
    #[must_use]
    pub fn unpaced(self) -> Self {
        Self { second: Duration::from_millis(1), ..self }
    }

    /// The rules of some routes as they are now, by their ARNs: those of whole listeners, because a call that names
    /// rules is refused when one of them is gone.
    async fn look(
        &self,
        routes: impl Iterator<Item = &RouteId>,
    ) -> Result<BTreeMap<String, Rule>, Failure> {
        let known = routes.filter_map(|route| self.place.rules.get(route));
        let listeners: BTreeSet<String> = known.map(|known| arn::listener_of(&known.arn)).collect();
        let mut found = BTreeMap::new();
        for listener in &listeners {
            let rules = listing::rules(&self.client, listener).await?;
            found.extend(rules.into_iter().map(|rule| (rule.arn.clone(), rule)));
        }
        Ok(found)
    }

    /// The side of each target group, by its ARN: as the request says, or by the tag.
    async fn sides_of_groups(
        &self,
        rules: &[(String, Rule)],
    ) -> Result<BTreeMap<String, String>, Failure> {
        if !self.place.target_groups.is_empty() {
            let sides = self.place.target_groups.iter();
            let pairs = sides.flat_map(|(side, arns)| arns.iter().map(move |arn| (arn, side)));
            return Ok(pairs.map(|(arn, side)| (arn.clone(), side.clone())).collect());
        }
        let groups = rules.iter().flat_map(|(_, rule)| rule::arns_of_groups(&rule.actions));
        let tags = listing::tags(&self.client, &groups.collect()).await?;
        let side = |tags: listing::Tags| {
            tags.into_iter().find(|(key, _)| *key == self.place.side_tag).map(|(_, side)| side)
        };
        Ok(tags.into_iter().filter_map(|(arn, tags)| Some((arn, side(tags)?))).collect())
    }

    /// What is live of one route.
    fn split(&self, route: &RouteId, found: &BTreeMap<String, Rule>) -> Split {
        let unclear = |why: &str| Split {
            route: route.clone(),
            live: Live::Unclear(why.to_owned()),
            whole: None,
            shapes: Vec::new(),
        };
        let Some(known) = self.place.rules.get(route) else { return unclear(NOT_OURS) };
        let Some(rule) = found.get(&known.arn) else { return unclear(GONE) };
        let rule::Split { live, whole, shape, .. } = rule::split(&rule.actions, known);
        Split { route: route.clone(), live, whole, shapes: vec![shape] }
    }
}

impl Splits for Alb {
    async fn read(&self, routes: &[RouteId]) -> Result<Vec<Split>, Failure> {
        let found = self.look(routes.iter()).await?;
        Ok(routes.iter().map(|route| self.split(route, &found)).collect())
    }

    /// The service does not say when all nodes of a load balancer have a change.
    async fn is_live(&self, _: &[String]) -> Result<Propagation, Failure> {
        Ok(Propagation::Unknown)
    }
}

impl Router for Alb {
    async fn survey(&self, request: &Request) -> Result<Survey, Failure> {
        let (listeners, missing) = listing::listeners(&self.client, &self.place.listeners).await?;
        let mut rules = Vec::new();
        for listener in &listeners {
            let of = listing::rules(&self.client, &listener.arn).await?;
            rules.extend(of.into_iter().map(|rule| (listener.at.clone(), rule)));
        }
        let side_of = self.sides_of_groups(&rules).await?;
        let seen = Seen { place: &self.place, listeners, rules, side_of };
        Ok(survey::survey(request, &seen, missing))
    }

    async fn find_writers(&self, _: &Request, survey: &mut Survey) -> Result<(), Failure> {
        let found = Place::read(&survey.place)?;
        let rules = found.rules.values().map(|known| known.arn.clone());
        let with_balancers: BTreeSet<String> =
            rules.flat_map(|arn| [arn::load_balancer_of(&arn), arn]).collect();
        let arns = with_balancers.iter().map(String::as_str).collect();
        let tags = listing::tags(&self.client, &arns).await?;
        owners::add(survey, &found.rules, &tags, self.place.other_writers);
        Ok(())
    }

    /// In groups, each of which is read right before it is written: ten rules at once, then some a second.
    async fn shift(&self, moves: &[Move], _: Option<&Fence>) -> Result<Shifted, Failure> {
        refuse_moves_never_made(moves, ALB_WEIGHT_MAX)?;
        self.make(moves).await
    }

    async fn release(&self, _: &[RouteId], _: &str) -> Result<(), Failure> {
        Ok(())
    }
}
