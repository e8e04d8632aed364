//! Stretches: periods that are added up until they have enough requests, and what they show beside a limit.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::evidence::Counts;

/// Stretches that a limit looks at, and how many of them must be over it: one bad period alone never goes back
/// by it. The same of periods for percentiles.
pub(super) const LOOKED_AT: usize = 3;
pub(super) const OVER: usize = 2;
/// Standard deviations of chance by which stretches must together be over the limit.
const CHANCE: f64 = 2.0;

/// What both sides did in a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stretch {
    /// When it began.
    pub start: Timestamp,
    /// The old side.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
    /// Whether the old side served beside the new one.
    pub is_beside: bool,
}

/// The latest stretches, and since when both sides have been over the limit.
#[derive(Clone, Debug)]
pub struct Stretches {
    requests_min: u64,
    limit: f64,
    filling: Option<Stretch>,
    latest: VecDeque<Stretch>,
    /// When both sides went over the limit together; `None` while they are not.
    both: Option<Timestamp>,
}

impl Stretches {
    pub(super) fn new(requests_min: u64, limit: f64) -> Self {
        let (filling, latest) = (None, VecDeque::with_capacity(LOOKED_AT + 1));
        Self { requests_min, limit, filling, latest, both: None }
    }

    /// Adds a period in which the new side had requests.
    pub(super) fn add(&mut self, period: Stretch) {
        let stretch = match self.filling.take() {
            None => period,
            Some(filling) => Stretch {
                old: filling.old + period.old,
                new: filling.new + period.new,
                is_beside: filling.is_beside || period.is_beside,
                ..filling
            },
        };
        if stretch.new.requests < self.requests_min {
            self.filling = Some(stretch);
            return;
        }
        keep(&mut self.latest, stretch);
        // One stretch that is under the limit may be by chance.
        let (_, number) = self.over(true);
        self.both = (number > 0).then(|| self.both.unwrap_or(stretch.start));
    }

    /// The limit, a rate 0–1.
    pub(super) const fn limit(&self) -> f64 {
        self.limit
    }

    /// Number of the stretches that are looked at.
    pub(super) fn number(&self) -> usize {
        self.latest.len()
    }

    /// The newest stretch.
    pub(super) fn newest(&self) -> Option<&Stretch> {
        self.latest.back()
    }

    /// Whether the old side serves beside the new one and is over the limit as well, with requests enough to tell.
    pub(super) fn is_excused(&self, stretch: &Stretch) -> bool {
        let Stretch { old, is_beside, .. } = *stretch;
        let tells = old.requests >= self.requests_min || is_beyond(self.limit, old);
        is_beside && tells && old.error_rate() > Some(self.limit)
    }

    /// The latest stretches in which the new side is over the limit and the old side is not, or those in which both are,
    /// added up, and how many they are.
    fn over(&self, excused: bool) -> (Stretch, usize) {
        let over = self.latest.iter().filter(|stretch| {
            stretch.new.error_rate() > Some(self.limit) && self.is_excused(stretch) == excused
        });
        over.fold((Stretch::default(), 0), |(sum, number), stretch| {
            let (old, new) = (sum.old + stretch.old, sum.new + stretch.new);
            (Stretch { old, new, ..*stretch }, number + 1)
        })
    }

    /// What the new side did beyond the limit lately, and in how many stretches.
    pub(super) fn over_alone(&self) -> (Stretch, usize) {
        self.over(false)
    }

    /// Whether the new side is over the limit in enough of the latest stretches, together by more than chance.
    pub(super) fn is_over(&self) -> bool {
        let (sum, number) = self.over_alone();
        number >= OVER && is_beyond(self.limit, sum.new)
    }

    /// Since when both sides have been over the limit, in enough of the latest stretches and by more than chance, with what
    /// they did.
    pub(super) fn both_over(&self) -> Option<(Timestamp, Stretch)> {
        let (sum, number) = self.over(true);
        let is_over = number >= OVER && is_beyond(self.limit, sum.new);
        self.both.filter(|_| is_over).map(|since| (since, sum))
    }
}

/// Whether the error rate is over a limit by more than chance.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(super) fn is_beyond(limit: f64, counts: Counts) -> bool {
    let allowed = limit * counts.requests as f64;
    counts.errors as f64 > allowed + CHANCE * (allowed * (1.0 - limit)).sqrt()
}

/// Keeps the newest [`LOOKED_AT`].
pub(super) fn keep<T>(newest: &mut VecDeque<T>, next: T) {
    newest.push_back(next);
    if newest.len() > LOOKED_AT {
        newest.pop_front();
    }
}
