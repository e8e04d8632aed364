//! Stretches: periods that are added up until they have enough requests, and the limit that they must not be over for
//! long.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::evidence::Counts;

/// Stretches that a limit looks at, and how many of them must be over it: one bad period alone never goes back
/// by it. The same of periods for percentiles.
pub(super) const LOOKED_AT: usize = 3;
pub(super) const OVER: usize = 2;
/// Standard deviations of chance by which stretches must together be over the limit.
const CHANCE: f64 = 2.0;
/// The 95th percentile of the normal law: a stretch shows the lower end of the 90 % interval of its rate.
pub(super) const SHOWN: f64 = 1.645;
/// The old side excuses the new one with at least this part of its requests. With fewer it has stragglers, which
/// tell nothing of a side that serves.
const COMPARABLE_PART: u64 = 50;

/// What both sides did in a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stretch {
    /// When it began.
    pub start: Timestamp,
    /// The old side.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
    /// Whether all requests were meant for the new side.
    pub is_full: bool,
}

/// The latest stretches, and what has gathered over the limit.
#[derive(Clone, Debug)]
pub struct Stretches {
    requests_min: u64,
    limit: f64,
    filling: Option<Stretch>,
    latest: VecDeque<Stretch>,
    /// What the new side did beyond the limit while the old one did not.
    beyond: Excess,
    /// When both sides went over the limit together, and what they did beyond it since; `None` while they are not.
    both: Option<(Timestamp, Excess)>,
}

impl Stretches {
    pub(super) fn new(requests_min: u64, limit: f64) -> Self {
        let (filling, latest) = (None, VecDeque::with_capacity(LOOKED_AT + 1));
        Self { requests_min, limit, filling, latest, beyond: Excess::default(), both: None }
    }

    /// Adds a period in which the new side had requests.
    pub(super) fn add(&mut self, period: Stretch) {
        let stretch = match self.filling.take() {
            None => period,
            Some(filling) => Stretch {
                old: filling.old + period.old,
                new: filling.new + period.new,
                is_full: filling.is_full && period.is_full,
                ..filling
            },
        };
        if stretch.new.requests < self.requests_min {
            self.filling = Some(stretch);
            return;
        }
        let is_over = stretch.new.error_rate() > Some(self.limit);
        if is_over && self.is_excused(&stretch) {
            let (since, mut gathered) = self.both.unwrap_or((stretch.start, Excess::default()));
            gathered.add(stretch.new, self.limit);
            self.both = Some((since, gathered));
        } else {
            self.beyond.add(stretch.new, self.limit);
            self.both = None;
        }
        keep(&mut self.latest, stretch);
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

    /// Whether the old side is over the limit as well, with requests enough to tell. Where all requests are meant for the
    /// new side, stragglers on the old one excuse nothing.
    pub(super) fn is_excused(&self, stretch: &Stretch) -> bool {
        let Stretch { old, new, is_full, .. } = *stretch;
        let comparable = old.requests.saturating_mul(COMPARABLE_PART) >= new.requests;
        let tells = old.requests >= self.requests_min || is_beyond(self.limit, old);
        !is_full && comparable && tells && old.error_rate() > Some(self.limit)
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

    /// Whether the new side is over the limit in enough of the latest stretches, together by more than chance and for
    /// more than `excess`, what it may do beyond it.
    pub(super) fn is_over(&self, excess: f64) -> bool {
        let (sum, number) = self.over_alone();
        number >= OVER && is_beyond(self.limit, sum.new) && self.beyond.now > excess
    }

    /// Since when both sides have been over the limit, in enough of the latest stretches, by more than chance and for
    /// more than `excess`, with what they did.
    pub(super) fn both_over(&self, excess: f64) -> Option<(Timestamp, Stretch)> {
        let (since, gathered) = self.both?;
        let (sum, number) = self.over(true);
        let is_over = number >= OVER && is_beyond(self.limit, sum.new) && gathered.now > excess;
        is_over.then_some((since, sum))
    }
}

/// What gathers beyond a limit, in stretches of nothing but failures: two stretches of 30 % above a limit of 5 % are half
/// of one. Of each stretch counts what it shows beyond chance, and what is below the limit takes away again. So an
/// excuse is as large and as long as what it excuses.
///
/// Source: E. S. Page, "Continuous Inspection Schemes", Biometrika 41 (1954).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Excess {
    now: f64,
    most: f64,
}

impl Excess {
    pub(super) fn add(&mut self, stretch: Counts, limit: f64) {
        let shown = stretch.rate_interval(SHOWN).0;
        self.now = (self.now + shown - limit).max(0.0);
        self.most = self.most.max(self.now);
    }

    /// The most that gathered at once.
    pub(super) const fn most(self) -> f64 {
        self.most
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
