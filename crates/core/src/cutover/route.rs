//! What becomes of one route, and why.

use super::{REASON_CHARS_MAX, Route, Status, Writers};
use crate::router::{Live, Split, Weights};
use crate::words::shortened;

impl Route {
    pub(crate) fn say(&mut self, reason: &str) {
        self.reason = Some(shortened(reason, REASON_CHARS_MAX));
    }

    pub(crate) fn must_go_back(&mut self, reason: &str) {
        self.status = Status::RollingBack;
        self.say(reason);
    }

    pub(super) fn kept(&mut self, cause: &str) {
        self.status = Status::Kept;
        let why = self.reason.take().unwrap_or_default();
        self.say(&format!("could not go back: {cause}; it should because: {why}"));
    }

    pub(super) fn superseded(&mut self, why: &str) {
        self.status = Status::Superseded;
        self.say(why);
    }

    /// Compares what is live with what cutover wrote last.
    pub(super) fn compare(&mut self, split: &Split, writers: &Writers) {
        let same_shape = self.shapes.is_empty() || split.shapes == self.shapes;
        match &split.live {
            Live::At(live) if *live == self.last && same_shape => {}
            Live::At(live) if *live == self.last => {
                let why = "it has the weights that cutover wrote, but where its requests go, or for how long, was \
                           changed";
                self.drifted(&Live::Unclear(why.to_owned()), writers);
            }
            live @ Live::At(_) if !same_shape => self.drifted(live, writers),
            // What cutover has moved is as it left it: beside it, a part of one side alone has appeared.
            Live::Unclear(why) if split.whole == Some(self.last) && same_shape => {
                self.must_go_back(&format!("somebody else changed it: {why}"));
            }
            live => self.differs(live, writers),
        }
    }

    /// Weights, with everything else as it was, that are not those that cutover wrote.
    pub(super) fn differs(&mut self, live: &Live, writers: &Writers) {
        match live {
            Live::At(live) if self.is_half_reverted(*live) => {
                let side = if live.old == self.original.old { "old" } else { "new" };
                let what = format!("wrote the weight of its {side} side back ({live})");
                let reason = match (self.writer(writers), writers.first_key_value()) {
                    (Some((who, advice)), _) => format!("{who} {what}: {advice}"),
                    (None, Some((who, advice))) => {
                        format!("somebody {what}: if it was {who}, {advice}")
                    }
                    (None, None) => format!("somebody {what}"),
                };
                self.must_go_back(&reason);
            }
            live => self.drifted(live, writers),
        }
    }

    /// Who else may write its weights back, and what to do about it.
    fn writer<'a>(&'a self, writers: &'a Writers) -> Option<(&'a str, &'a str)> {
        let name = self.other_writer.as_deref()?;
        Some((name, writers.get(name)?))
    }

    /// Whether one side has its original weight again and the other still the one that cutover wrote.
    fn is_half_reverted(&self, live: Weights) -> bool {
        let (original, last) = (self.original, self.last);
        live != original
            && (live == Weights { old: original.old, ..last }
                || live == Weights { new: original.new, ..last })
    }

    pub(super) fn drifted(&mut self, live: &Live, writers: &Writers) {
        let reason = match (live, self.writer(writers)) {
            (Live::Unclear(why), _) => format!("somebody else changed it: {why}"),
            (Live::At(live), Some((who, advice))) if *live == self.original => {
                format!("{who} wrote the weights back ({live}): {advice}")
            }
            (Live::At(live), _) => {
                format!("somebody else changed its weights to {live}; cutover wrote {}", self.last)
            }
        };
        self.status = Status::Drifted;
        self.say(&reason);
    }
}
