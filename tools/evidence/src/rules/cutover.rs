//! Our own rule: cutover's verdict, as `check-health` makes it.

use cutover_core::{Baselines, Counts, Health, Judge, Period};
use jiff::Timestamp;

use super::{Minute, Rule};

/// The judge of one route, which sees one minute after the other.
#[derive(Debug)]
pub struct Cutover<'a>(Judge<'a>);

impl<'a> Cutover<'a> {
    /// A cutover of one route. `baseline`: what the old side did before.
    #[must_use]
    pub fn new(health: &'a Health, baseline: Option<&'a Baselines>) -> Self {
        Self(Judge::new(health, 1, baseline))
    }
}

impl Rule for Cutover<'_> {
    fn see(&mut self, minute: &Minute) -> bool {
        let counted = |counts: Counts| (counts.requests > 0).then_some(counts);
        let period = Period {
            start: Timestamp::UNIX_EPOCH,
            old: counted(minute.old),
            new: counted(minute.new),
            ..Period::default()
        };
        self.0.see(&period, true);
        self.0.regression().is_some()
    }
}
