//! How a route's traffic is split, and what is asked of a router.

pub mod lumps;
pub mod survey;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::percent::Percent;

/// What has one split of its own, as its router names it: a host name, a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteId(String);

impl RouteId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for RouteId {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl From<&str> for RouteId {
    fn from(name: &str) -> Self {
        Self::from(name.to_owned())
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where traffic comes from and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The cluster that serves today.
    Old,
    /// The cluster that shall serve.
    New,
}

/// The set identifiers of the two sides: with external-dns, the names of the clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides {
    /// Set identifier of the old side, 1–128 characters.
    pub old: String,
    /// Set identifier of the new side, 1–128 characters.
    pub new: String,
}

/// The weights of a route's two sides. In JSON `{"old":90,"new":10}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Weight of the old side.
    pub old: u32,
    /// Weight of the new side.
    pub new: u32,
}

/// What the weights of a whole ramp sum to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// 100: every step of the ramp is a whole percent.
    Whole,
    /// 200: some step has half a percent.
    Half,
}

impl Scale {
    /// The number itself.
    pub(crate) const fn total(self) -> u32 {
        match self {
            Self::Whole => 100,
            Self::Half => 200,
        }
    }
}

impl Weights {
    /// The weights that give the new side `share`: `(100−p, p)`, or `(200−2p, 2p)` on
    /// [`Scale::Half`]. They never sum to 0, and a share above 0 never gets weight 0.
    #[must_use]
    pub const fn of(share: Percent, scale: Scale) -> Self {
        let halves = share.halves() as u32;
        match scale {
            Scale::Half => Self { old: scale.total() - halves, new: halves },
            Scale::Whole => {
                let new = halves.div_ceil(2);
                Self { old: scale.total() - new, new }
            }
        }
    }

    /// The new side's share that these weights ask for, 0 to 1; `None` for (0, 0).
    #[must_use]
    pub fn share(self) -> Option<f64> {
        let sum = f64::from(self.old) + f64::from(self.new);
        (sum > 0.0).then(|| f64::from(self.new) / sum)
    }
}

impl fmt::Display for Weights {
    /// `old 90, new 10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "old {}, new {}", self.old, self.new)
    }
}

/// The weights of a route that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// These.
    At(Weights),
    /// They are not known, for the reason that the sentence gives: a side is gone, or parts of the route disagree.
    Unclear(String),
}

/// What a router found live for one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The route.
    pub route: RouteId,
    /// Its weights.
    pub live: Live,
    /// The weights of the parts that both sides have, where these agree: known as well when one side alone has
    /// another part, so that `live` is not.
    pub whole: Option<Weights>,
    /// Fingerprints of everything but the weights of these parts, sorted: where the requests go and for how
    /// long an answer is kept.
    pub shapes: Vec<u32>,
}

/// How a [`Move`] is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the next step: everything about the route must be as cutover left it.
    Onward,
    /// Back: each part of the route goes back that is as cutover left it, whatever has become of the others.
    Back,
    /// Back, whatever the weights are now and wherever its requests go: a person insists.
    Forced,
}

/// Asks for one route to go from a split it must have now to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The route.
    pub route: RouteId,
    /// The splits it may have now. Any other is drift, unless the move is [`Way::Forced`].
    pub from: Vec<Weights>,
    /// The split it shall have.
    pub to: Weights,
    /// The fingerprints it may have now, as [`Split::shapes`] has them; empty: not compared.
    pub shapes: Vec<u32>,
    /// How it is made.
    pub way: Way,
    /// The holder of a fence that may be replaced: an execution that has ended and left it behind.
    pub supersedes: Option<String>,
}

/// The mark that a cutover puts beside each of its routes and replaces with each write, in the same
/// transaction. So the service itself refuses a write that comes late, whoever sends it: the mark that it
/// expects is no longer there. Comparing weights is not enough, because weights come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Whose mark it is: `REGION:ACCOUNT:STATE_MACHINE:EXECUTION`.
    pub holder: String,
    /// The number of this write. Each write of a cutover has a higher one than the write before.
    pub number: u32,
    /// When the write is made.
    pub at: Timestamp,
    /// Whether a route without a mark may be marked: before the first write, and to undo a completed
    /// cutover. Otherwise a mark that is gone means that somebody has undone the cutover already.
    pub take: bool,
    /// Whether this is the cutover's last write to these routes: it removes the mark.
    pub last: bool,
}

impl Fence {
    /// The text of a mark with this number, for people and other tools to read:
    /// `cutover NUMBER TIME REGION:ACCOUNT:STATE_MACHINE:EXECUTION`.
    #[must_use]
    pub fn text(&self, number: u32) -> String {
        // To the second: the number tells writes apart, the time is for people.
        let at = Timestamp::from_second(self.at.as_second()).unwrap_or(self.at);
        format!("cutover {number} {at} {}", self.holder)
    }
}

/// What the mark beside a route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose it is: `REGION:ACCOUNT:STATE_MACHINE:EXECUTION`.
    pub holder: String,
    /// The number of the write.
    pub number: u32,
}

impl Mark {
    /// Reads the [text](Fence::text) of a mark; `None` when it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["cutover", number, _, holder] if !holder.is_empty() => {
                Some(Self { holder: holder.to_owned(), number: number.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// What became of a [`Move`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The route has the split it shall have: moved now, or by an earlier try.
    There,
    /// It went back but for something that was not there when the cutover began, named here.
    Partly(String),
    /// Of a move onward: it was not made, for the reason given, but what cutover has moved is as cutover left it
    /// and can go back.
    MustGoBack(String),
    /// Of a move onward: the new side cannot take its requests now, for the reason given. It is tried again.
    Held(String),
    /// The service refused this move for good, for the reason given; the route is where it was.
    Refused(String),
    /// Somebody else changed the split, to this or so that it cannot be told. It was left as it is.
    Drifted(Live),
    /// The route is no longer this cutover's: another execution has it, or a later write of this one. The
    /// sentence says which. It was left as it is.
    Superseded(String),
}

/// Whether changes are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Every one is live on all of the service's servers.
    Done,
    /// Some are not.
    Pending,
    /// Some are not known to the service: as with a lost reply, they can only be waited for.
    Unknown,
}

/// The outcome of a shift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shifted {
    /// What became of each move, in the order asked.
    pub moves: Vec<(RouteId, Moved)>,
    /// The service's ids of the changes made, to ask later whether they are live everywhere.
    pub receipts: Vec<String>,
    /// Whether some route was at its target without a change of ours to ask about (an earlier
    /// try whose reply was lost): its propagation can only be waited for.
    pub unconfirmed: bool,
    /// Seconds until a change without a receipt is live, generally.
    pub live_in_s: u32,
    /// How long requests may go on to the former side once the changes are live, in seconds: a TTL, or stickiness.
    pub linger_s: u32,
}

/// A settle that has begun: the changes to ask about and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// Ids of the changes, as the router gave them.
    pub receipts: Vec<String>,
    /// Whether a change without an id must be waited for as well.
    pub unconfirmed: bool,
    /// As [`Shifted::live_in_s`].
    pub live_in_s: u32,
    /// As [`Shifted::linger_s`].
    pub linger_s: u32,
    /// When the weights were written.
    pub shifted_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn weights_sum_to_the_total_and_a_share_above_0_never_gets_weight_0(halves in 0_u8..=200) {
            let share = Percent::from_halves(halves).expect("in range");
            for (scale, total) in [(Scale::Whole, 100), (Scale::Half, 200)] {
                let weights = Weights::of(share, scale);
                prop_assert_eq!(weights.old + weights.new, total);
                prop_assert_eq!(weights.new == 0, share == Percent::ZERO);
            }
            prop_assert_eq!(Weights::of(share, Scale::Half).new, u32::from(halves));
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let fence = Fence {
            holder: "cutover:0f7a".to_owned(),
            number: 3,
            at: Timestamp::from_millisecond(1_764_086_400_123).expect("in range"),
            take: false,
            last: false,
        };
        let text = fence.text(2);
        assert_eq!(text, "cutover 2 2025-11-25T16:00:00Z cutover:0f7a");
        let mark = Mark { holder: "cutover:0f7a".to_owned(), number: 2 };
        assert_eq!(Mark::read(&text), Some(mark));
        for odd in ["", "v=spf1 -all", "cutover x 2025 a:b", "cutover 1 2025 ", "cutover 1"] {
            assert_eq!(Mark::read(odd), None, "{odd}");
        }
    }
}
