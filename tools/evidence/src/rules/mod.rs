//! The decision rules that people use today, as the simulation compares them: each in its own file,
//! which cites the source it follows.

use cutover_core::Counts;

pub mod alarm;
pub mod argo;
pub mod betting;
pub mod cutover;
pub mod fisher;
pub mod flagger;
pub mod kayenta;
pub mod msprt;
pub mod obrien_fleming;
pub mod z_test;

/// The 0.99 quantile of the standard normal distribution, to the last digit of an `f64`.
const NORMAL_QUANTILE_99: f64 = 2.326_347_874_040_841;

/// What a rule sees of one minute. A side without requests in it, or of which the source has nothing, has zero counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minute {
    /// The old side.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
    /// The intended share of the new side, 0–1.
    pub share: f64,
}

impl Default for Minute {
    fn default() -> Self {
        Self { old: Counts::default(), new: Counts::default(), share: 0.5 }
    }
}

/// A rule that looks at a cutover minute by minute, and may order its roll-back.
pub trait Rule {
    /// Sees the next minute, and says whether to roll back now.
    fn see(&mut self, minute: &Minute) -> bool;
}

/// A rule to compare with.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    /// What tables call it.
    pub name: &'static str,
    /// Makes the rule for a new cutover.
    pub start: fn() -> Box<dyn Rule>,
}

/// All rules to compare with, in the order of tables.
#[must_use]
pub fn rivals() -> Vec<Rival> {
    vec![
        Rival { name: "alarm 1 %, 1 of 1", start: || Box::new(alarm::Alarm::new(1, 1, 1)) },
        Rival { name: "alarm 1 %, 2 of 3", start: || Box::new(alarm::Alarm::new(1, 2, 3)) },
        Rival { name: "alarm 5 %, 1 of 1", start: || Box::new(alarm::Alarm::new(5, 1, 1)) },
        Rival { name: "alarm 5 %, 2 of 3", start: || Box::new(alarm::Alarm::new(5, 2, 3)) },
        Rival { name: "Flagger", start: || Box::<flagger::Flagger>::default() },
        Rival {
            name: "Argo Rollouts",
            start: || Box::new(argo::Argo::new(argo::Template::DOCUMENTED)),
        },
        Rival {
            name: "Kayenta",
            start: || Box::new(kayenta::Kayenta::new(kayenta::POINTS_RECOMMENDED)),
        },
        Rival { name: "z-test, peeked", start: || Box::<z_test::ZTest>::default() },
        Rival { name: "betting, no tolerance", start: || Box::<betting::Betting>::default() },
        Rival { name: "mSPRT", start: || Box::<msprt::Msprt>::default() },
        Rival { name: "Fisher, 10 min", start: || Box::<fisher::Fisher>::default() },
        Rival {
            name: "O'Brien–Fleming",
            start: || Box::<obrien_fleming::OBrienFleming>::default(),
        },
    ]
}

/// A minute with `(requests, errors)` of the old and of the new side.
#[cfg(test)]
fn minute(old: (u64, u64), new: (u64, u64)) -> Minute {
    let counts = |(requests, errors)| Counts { requests, errors };
    Minute { old: counts(old), new: counts(new), ..Minute::default() }
}

/// In which of `minutes`, counted from 1, `rule` first orders to roll back.
#[cfg(test)]
fn rolled_back_at(rule: &mut dyn Rule, minutes: &[Minute]) -> Option<usize> {
    minutes.iter().position(|minute| rule.see(minute)).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rival_has_a_name_of_its_own() {
        let mut names: Vec<&str> = rivals().iter().map(|rival| rival.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rivals().len());
    }

    #[test]
    fn every_rival_rolls_back_a_new_side_that_fails_all_and_keeps_one_that_fails_nothing() {
        let (fine, broken) = (minute((500, 0), (500, 0)), minute((500, 0), (500, 500)));
        for Rival { name, start } in rivals() {
            assert_eq!(rolled_back_at(&mut *start(), &[fine; 180]), None, "{name}");
            let at = rolled_back_at(&mut *start(), &[broken; 180]);
            let latest = match name {
                "Kayenta" => 50,
                "Fisher, 10 min" | "O'Brien–Fleming" => 10,
                _ => 6,
            };
            assert!(at.is_some_and(|minute| minute <= latest), "{name}: {at:?}");
        }
    }
}
