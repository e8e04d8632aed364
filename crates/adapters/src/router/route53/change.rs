//! Batches of changes: compare-and-swaps of several routes at once, within Route 53's limits.

use std::time::Duration;

use aws_sdk_route53::error::{BuildError, SdkError};
use aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsError;
use aws_sdk_route53::types::{Change, ChangeAction, ResourceRecord, ResourceRecordSet};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cutover_core::Weights;
use cutover_core::limits::{ROUTE53_CHANGES_PER_S, ROUTE53_CHARACTERS_PER_BATCH};
use tokio::time::Instant;

use super::record::Pair;

/// What one route's part of a batch does: all of it or nothing.
#[derive(Debug)]
pub(crate) struct Swap {
    /// Which of the moves it belongs to.
    pub(crate) index: usize,
    /// The weights that the pairs get.
    pub(crate) to: Weights,
    /// The pairs that get them.
    pub(crate) pairs: Vec<Pair>,
    /// The fence that must stand there now, and the one that shall.
    pub(crate) fence: [Option<ResourceRecordSet>; 2],
}

impl Swap {
    /// DELETE exactly what was read, and CREATE the same with other weights. Both sides are
    /// replaced even if only one has a new weight: what is not deleted is not compared. The fence comes first.
    ///
    /// # Errors
    /// When something that a change must have is missing.
    pub(crate) fn changes(&self) -> Result<Vec<Change>, BuildError> {
        let [stands, shall] = self.fence.clone();
        let mut sets = vec![(ChangeAction::Delete, stands), (ChangeAction::Create, shall)];
        for pair in &self.pairs {
            for (set, weight) in [(&pair.old, self.to.old), (&pair.new, self.to.new)] {
                let mut moved = set.clone();
                moved.weight = Some(i64::from(weight));
                sets.push((ChangeAction::Delete, Some(set.clone())));
                sets.push((ChangeAction::Create, Some(moved)));
            }
        }
        let sets = sets.into_iter().filter_map(|(action, set)| Some((action, set?)));
        let change =
            |(action, set)| Change::builder().action(action).resource_record_set(set).build();
        sets.map(change).collect()
    }

    /// How long the longest of the former answers may be kept, in seconds.
    pub(crate) fn ttl_s(&self) -> u32 {
        self.pairs.iter().map(Pair::ttl_s).max().unwrap_or(0)
    }

    /// Changes, and elements and characters that they add to a batch.
    fn size(&self) -> (usize, usize, usize) {
        let sets = self.pairs.iter().flat_map(|pair| [&pair.old, &pair.new]);
        // Deleted and created.
        let twice = sets.flat_map(|set| [set, set]).chain(self.fence.iter().flatten());
        twice.fold((0, 0, 0), |(changes, elements, characters), set| {
            if set.alias_target().is_some() {
                return (changes + 1, elements + 1, characters);
            }
            let values = set.resource_records().iter().map(ResourceRecord::value);
            let (number, length) =
                values.fold((0, 0), |(n, length), value| (n + 1, length + value.chars().count()));
            (changes + 1, elements + number, characters + length)
        })
    }
}

/// Fills one batch after the other. A route is never divided between two, and has one of its own
/// when it is larger than that.
pub(crate) fn batches(swaps: Vec<Swap>, elements_max: usize) -> Vec<Vec<Swap>> {
    let mut batches: Vec<Vec<Swap>> = Vec::new();
    let mut left = (0, 0);
    for swap in swaps {
        let (_, elements, characters) = swap.size();
        match batches.last_mut() {
            Some(batch) if elements <= left.0 && characters <= left.1 => batch.push(swap),
            _ => {
                left = (elements_max, ROUTE53_CHARACTERS_PER_BATCH);
                batches.push(vec![swap]);
            }
        }
        left = (left.0.saturating_sub(elements), left.1.saturating_sub(characters));
    }
    batches
}

/// Keeps to the changes a second that Route 53 allows an account, less what the clusters' external-dns need.
pub(crate) struct Pace {
    began: Instant,
    sent: u64,
    at_once: u64,
}

impl Pace {
    pub(crate) fn new(at_once: u64) -> Self {
        Self { began: Instant::now(), sent: 0, at_once }
    }

    /// Waits until there is room for one more batch.
    pub(crate) async fn make_room(&mut self, batch: &[Swap]) {
        let changes: usize = batch.iter().map(|swap| swap.size().0).sum();
        self.sent += u64::try_from(changes).unwrap_or(u64::MAX);
        let over = self.sent.saturating_sub(self.at_once);
        let due = Duration::from_millis(over.saturating_mul(1000) / ROUTE53_CHANGES_PER_S);
        tokio::time::sleep_until(self.began + due).await;
    }
}

/// Why a batch was refused, if that is what the error says.
///
/// Route 53 has two forms for it. The SDK knows `<ErrorResponse>` with a `<Code>`; of
/// `<InvalidChangeBatch>` as the root element it only tells that there was no code.
/// Source: aws-sdk-go-v2, `service/route53/internal/customizations`, which handles both.
pub(crate) fn refusal(
    error: &SdkError<ChangeResourceRecordSetsError, HttpResponse>,
) -> Option<String> {
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
