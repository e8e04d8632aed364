//! Moving rules from one split to another.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::Builder;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::operation::modify_listener::ModifyListenerError;
use aws_sdk_elasticloadbalancingv2::operation::modify_rule::ModifyRuleError;
use aws_sdk_elasticloadbalancingv2::types::Action;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cutover_core::limits::{
    ALB_LIVE_IN_S, ALB_WRITES_AT_ONCE, ALB_WRITES_PER_S, BALANCER_READ_PACE,
};
use cutover_core::{Failure, Live, Move, Moved, Shifted, Way, Weights};

use super::rule::{self, Rule, Split};
use super::{Alb, GONE, NOT_OURS, arn, listing};
use crate::capacity::pace;
use crate::errors::if_there;

/// Before the second look at a rule that was written and does not have its weights: whether a reading that follows a
/// write sees it at once is not documented.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A shift that is being made.
#[derive(Default)]
struct Run<'m> {
    moves: &'m [Move],
    /// What became of the moves so far, by their index.
    outcome: BTreeMap<usize, Moved>,
    /// Moves that were written and not read back yet, and what has become of them if they were carried out.
    written: BTreeMap<usize, Moved>,
    linger_s: u32,
    /// The first write that could not be made or be heard of.
    failure: Option<Failure>,
}

impl<'m> Run<'m> {
    /// The moves of which nothing is known yet.
    fn open(&self) -> Vec<(usize, &'m Move)> {
        let all = self.moves.iter().enumerate();
        all.filter(|(index, _)| !self.outcome.contains_key(index)).collect()
    }

    fn shifted(self) -> Shifted {
        // Written now, or by an earlier try whose reply was lost: when it is live can only be waited for.
        let unconfirmed =
            self.outcome.values().any(|moved| matches!(moved, Moved::There | Moved::Partly(_)));
        let names = self.moves.iter().map(|asked| asked.route.clone());
        Shifted {
            moves: names.zip(self.outcome.into_values()).collect(),
            receipts: Vec::new(),
            unconfirmed,
            live_in_s: ALB_LIVE_IN_S,
            linger_s: self.linger_s,
        }
    }
}

/// A write that is to be made.
struct Write {
    /// The ARN of the rule, or that of the listener whose default action it is.
    arn: String,
    actions: Vec<Action>,
    /// What has become of the move then.
    then: Moved,
    /// The new side's target group, where it must have a healthy target first.
    first_look_at: Option<String>,
}

impl Alb {
    /// Makes the moves. A repeat finds those that were made, and makes the others.
    pub(super) async fn make(&self, moves: &[Move]) -> Result<Shifted, Failure> {
        let mut run = Run { moves, ..Run::default() };
        self.sort_out(&mut run).await?;
        self.write(&mut run).await?;
        self.read_back(&mut run).await?;
        match run.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(run.shifted()),
        }
    }

    /// Ends the moves that are not to be written: those that were made already, those that must not be, and those whose
    /// new side could not serve.
    async fn sort_out(&self, run: &mut Run<'_>) -> Result<(), Failure> {
        let found = self.look(run.open().into_iter().map(|(_, asked)| &asked.route)).await?;
        let mut pace = pace(BALANCER_READ_PACE);
        let mut looked_at: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (index, asked) in run.open() {
            let group = match self.judge(run, asked, &found) {
                Ok(Write { first_look_at: Some(group), .. }) => group,
                Ok(_) => continue,
                Err(moved) => {
                    run.outcome.insert(index, moved);
                    continue;
                }
            };
            if !looked_at.contains_key(&group) {
                pace.tick().await;
                let unhealthy = listing::unhealthy(&self.client, &group).await?;
                looked_at.insert(group.clone(), unhealthy);
            }
            if let Some(Some(why)) = looked_at.get(&group) {
                run.outcome.insert(index, Moved::Held(why.clone()));
            }
        }
        Ok(())
    }

    /// Writes what is left, in groups that are read right before.
    async fn write(&self, run: &mut Run<'_>) -> Result<(), Failure> {
        let mut left = run.open();
        // A group has as few listeners as may be.
        left.sort_by_key(|(_, asked)| self.place.rules.get(&asked.route).map(|known| &known.arn));
        let mut pace = pace(self.second);
        let [mut size, then] =
            [ALB_WRITES_AT_ONCE, ALB_WRITES_PER_S].map(|size| usize::try_from(size).unwrap_or(1));
        while !left.is_empty() {
            pace.tick().await;
            let rest = left.split_off(left.len().min(size));
            let group = std::mem::replace(&mut left, rest);
            size = then;
            let found = self.look(group.iter().map(|(_, asked)| &asked.route)).await?;
            for (index, asked) in group {
                let write = match self.judge(run, asked, &found) {
                    Ok(write) => write,
                    Err(moved) => {
                        run.outcome.insert(index, moved);
                        continue;
                    }
                };
                match self.modify(&write.arn, write.actions).await {
                    Ok(None) => {
                        run.written.insert(index, write.then);
                    }
                    Ok(Some(moved)) => {
                        run.outcome.insert(index, moved);
                    }
                    // The others are written all the same, least of all is one kept from going back.
                    Err(failure) => {
                        run.failure.get_or_insert(failure);
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks whether each rule that was written has its weights.
    async fn read_back(&self, run: &mut Run<'_>) -> Result<(), Failure> {
        for pause in [Duration::ZERO, LOOK_AGAIN_AFTER] {
            if run.written.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            let asked = run.written.keys().filter_map(|index| run.moves.get(*index));
            let found = self.look(asked.map(|asked| &asked.route)).await?;
            for (index, then) in std::mem::take(&mut run.written) {
                let Some(asked) = run.moves.get(index) else { continue };
                let split = Self::split(self, &asked.route, &found);
                if split.whole == Some(asked.to) {
                    run.outcome.insert(index, then);
                } else if pause.is_zero() {
                    run.written.insert(index, then);
                } else {
                    run.outcome.insert(index, after_write(asked, split.whole, then, split.live)?);
                }
            }
        }
        Ok(())
    }

    /// Replaces the actions of a rule, or the default actions of a listener; what became of the move when it was not
    /// written. What is not sent stays as it is. The SDK tries it once: a repeat must read again first, because the whole
    /// list is replaced.
    async fn modify(&self, arn: &str, actions: Vec<Action>) -> Result<Option<Moved>, Failure> {
        let (client, actions) = (&self.client, Some(actions));
        let once = Builder::new().retry_config(RetryConfig::disabled());
        if arn::is_rule(arn) {
            let request = client.modify_rule().rule_arn(arn).set_actions(actions);
            let sent = request.customize().config_override(once).send().await;
            unwritten("ModifyRule", arn, sent, ModifyRuleError::is_rule_not_found_exception)
        } else {
            let request = client.modify_listener().listener_arn(arn).set_default_actions(actions);
            let sent = request.customize().config_override(once).send().await;
            let is_gone = ModifyListenerError::is_listener_not_found_exception;
            unwritten("ModifyListener", arn, sent, is_gone)
        }
    }

    /// The write that makes one move.
    ///
    /// # Errors
    /// What has become of it where nothing is to be written: it was made already, or must not be.
    fn judge(
        &self,
        run: &mut Run<'_>,
        asked: &Move,
        found: &BTreeMap<String, Rule>,
    ) -> Result<Write, Moved> {
        let unclear = |why: &str| Moved::Drifted(Live::Unclear(why.to_owned()));
        let known = self.place.rules.get(&asked.route).ok_or_else(|| unclear(NOT_OURS))?;
        let rule = found.get(&known.arn).ok_or_else(|| unclear(GONE))?;
        let (live, then) = may_move(asked, rule::split(&rule.actions, known))?;
        run.linger_s = run.linger_s.max(rule::linger_s(&rule.actions));
        if live == asked.to {
            return Err(then);
        }
        Ok(Write {
            arn: known.arn.clone(),
            actions: rule::with_weights(&rule.actions, known, asked.to),
            then,
            first_look_at: needs_healthy_target(asked, live).then(|| known.new.clone()),
        })
    }
}

/// What became of a move whose call was answered; `None` when it was written.
///
/// # Errors
/// `Unreachable` when nobody can tell.
fn unwritten<T, E>(
    action: &str,
    arn: &str,
    sent: Result<T, SdkError<E, HttpResponse>>,
    is_gone: fn(&E) -> bool,
) -> Result<Option<Moved>, Failure>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match if_there(&format!("{action} {arn}"), sent, is_gone) {
        Ok(Some(_)) => Ok(None),
        Ok(None) => Ok(Some(Moved::Drifted(Live::Unclear(GONE.to_owned())))),
        Err(Failure::Refused(why)) => Ok(Some(Moved::Refused(why))),
        Err(failed) => Err(failed),
    }
}

/// What has become of a write that was accepted and cannot be read back.
///
/// # Errors
/// `Unreachable` for a way back whose rule still has the weights of before: it is tried again. On the way onward the next
/// check sees what is live, and takes back what must go back.
fn after_write(
    asked: &Move,
    whole: Option<Weights>,
    then: Moved,
    live: Live,
) -> Result<Moved, Failure> {
    match (whole, asked.way) {
        (Some(weights), Way::Onward) if asked.from.contains(&weights) => Ok(then),
        (Some(weights), _) if asked.from.contains(&weights) => Err(Failure::Unreachable(format!(
            "{} was given {} and still has {weights}",
            asked.route, asked.to
        ))),
        _ => Ok(Moved::Drifted(live)),
    }
}

/// Whether the new side must have a healthy target for this move: before its first requests, and before the old side
/// gets none. Requests for a group without targets are answered with errors, and go to no other group.
fn needs_healthy_target(Move { to, way, .. }: &Move, live: Weights) -> bool {
    let rises = to.share() > live.share();
    *way == Way::Onward && (rises || to.old == 0)
}

/// The live weights of a route that may be moved, and what has become of it then.
///
/// # Errors
/// What speaks against it.
fn may_move(asked: &Move, split: Split) -> Result<(Weights, Moved), Moved> {
    let Split { live, whole, shape, third } = split;
    let Some(weights) = whole else { return Err(Moved::Drifted(live)) };
    let is_expected = weights == asked.to || asked.from.contains(&weights);
    let is_as_left = is_expected && (asked.shapes.is_empty() || asked.shapes == [shape]);
    match (asked.way, third) {
        (Way::Onward | Way::Back, None) if is_expected && !is_as_left => {
            let why = "its actions are no longer those that cutover found: it forwards to other target groups, or \
                       what comes before that, or its stickiness, was changed";
            Err(Moved::Drifted(Live::Unclear(why.to_owned())))
        }
        (Way::Onward | Way::Back, _) if !is_as_left => Err(Moved::Drifted(live)),
        (Way::Onward, Some(third)) => {
            Err(Moved::MustGoBack(format!("somebody else changed its rule: {third}")))
        }
        (_, None) => Ok((weights, Moved::There)),
        (_, Some(third)) => Ok((weights, Moved::Partly(format!("went back, but {third}")))),
    }
}
