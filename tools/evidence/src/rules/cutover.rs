//! Our own rule: cutover's verdict, as `check-health` makes it.

use cutover_core::{Baselines, Counts, Health, Judge, Period};
use jiff::Timestamp;

use super::{Minute, Rule};

/// The judge of one route, which sees one minute after the other.
#[derive(Debug)]
pub struct Cutover<'a> {
    judge: Judge<'a>,
    /// Minutes in which the new side may still have to warm up.
    warm_up: u32,
}

impl<'a> Cutover<'a> {
    /// A cutover of one route. `baseline`: what the old side did before.
    #[must_use]
    pub fn new(health: &'a Health, baseline: Option<&'a Baselines>) -> Self {
        Self { judge: Judge::new(health, 1, baseline), warm_up: health.warm_up_s() / 60 }
    }
}

impl Rule for Cutover<'_> {
    fn see(&mut self, minute: &Minute) -> bool {
        let counted = |counts: Counts| (counts.requests > 0).then_some(counts);
        let period = Period {
            start: Timestamp::UNIX_EPOCH,
            old: counted(minute.old),
            new: counted(minute.new),
            is_warming: self.warm_up > 0,
            is_full: Some(minute.share >= 1.0),
            is_gap: minute.is_gap,
            ..Period::default()
        };
        self.warm_up = self.warm_up.saturating_sub(u32::from(minute.new.requests > 0));
        self.judge.see(&period, true);
        self.judge.regression().is_some()
    }
}
