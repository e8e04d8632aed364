//! A group-sequential z-test with O'Brien and Fleming's boundary: six looks, one at the end of each ten minutes, at 1 % together.
//!
//! Source: P. C. O'Brien, T. R. Fleming, "A Multiple Testing Procedure for Clinical Trials", Biometrics 35 (1979); C. Jennison,
//! B. W. Turnbull, "Group Sequential Methods" (2000), section 2.3: the boundary at look k of K is C √(K / k).
//!
//! Chosen here: C for one-sided 1 % and six looks, which the tables do not have: the 99th percentile of the highest of six sums
//! of standard normal numbers over √6, of 1.5 million simulated; six looks; a linear ramp goes on after the last one without any. The looks have the same number of minutes; their
//! requests on the new side grow with its share, which the boundary does not know.

use cutover_core::Counts;

use super::{Minute, Rule};

const LOOK_MINUTES: u32 = 10;
const LOOKS: u32 = 6;
/// C: one-sided 1 %, six looks.
const BOUNDARY: f64 = 2.397;

/// The test, with what it has counted.
#[derive(Clone, Debug, Default)]
pub struct OBrienFleming {
    old: Counts,
    new: Counts,
    minutes: u32,
}

impl Rule for OBrienFleming {
    fn see(&mut self, minute: &Minute) -> bool {
        self.old = self.old + minute.old;
        self.new = self.new + minute.new;
        self.minutes += 1;
        let look = self.minutes / LOOK_MINUTES;
        if !self.minutes.is_multiple_of(LOOK_MINUTES) || look > LOOKS {
            return false;
        }
        let boundary = BOUNDARY * (f64::from(LOOKS) / f64::from(look)).sqrt();
        super::z_test::z(self.old, self.new).is_some_and(|z| z > boundary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{minute, rolled_back_at};

    #[test]
    fn the_first_look_wants_more_than_the_last() {
        // z of ten minutes is 4.8: below 5.87 at the first look; at the second it is 6.8, beyond 4.15.
        let worse = minute((1_000, 10), (1_000, 18));
        let ten = Counts { requests: 10_000, errors: 100 };
        let z = super::super::z_test::z(ten, Counts { errors: 180, ..ten }).expect("both fail");
        assert!((4.6..4.9).contains(&z), "{z}");
        assert_eq!(rolled_back_at(&mut OBrienFleming::default(), &[worse; 60]), Some(20));
        let equal = minute((1_000, 10), (1_000, 10));
        assert_eq!(rolled_back_at(&mut OBrienFleming::default(), &[equal; 120]), None);
    }
}
