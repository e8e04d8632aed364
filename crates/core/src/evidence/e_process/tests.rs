use proptest::prelude::*;

use super::*;

const TEST: Test = Test { alpha: 0.01, tests: 1, of_route: 1, tolerated_odds_ratio: 1.5 };

fn counts(requests: u64, errors: u64) -> Counts {
    Counts { requests, errors }
}

/// A day in which a side of a steady service has 1,000 requests a minute, of which one fails.
fn steady() -> Baseline {
    Baseline::of(vec![Some(counts(1000, 1)); 1440], 100)
}

fn start(day: Option<&Baseline>) -> EProcess {
    EProcess::new(TEST, 0.05, day)
}

/// The period in which an e-process goes over its limit, counted from 1.
fn over_after(mut e: EProcess, old: Counts, new: Counts) -> Option<u32> {
    (1..=100).find(|_| {
        e.see(old, new);
        e.is_over()
    })
}

#[test]
fn one_burst_never_decides_however_bad_it_is() {
    let worst = (counts(10_000_000, 0), counts(10_000_000, 3_000_000));
    assert_eq!(over_after(start(Some(&steady())), worst.0, worst.1), Some(2));
    let shared = EProcess::new(Test { tests: 500, ..TEST }, 0.05, Some(&steady()));
    assert_eq!(over_after(shared, worst.0, worst.1), Some(4));
    for alpha in [0.5, 0.01, 1e-6] {
        let mut of_many =
            EProcess::new(Test { alpha, of_route: 13, ..TEST }, 0.05, Some(&steady()));
        of_many.see(worst.0, worst.1);
        assert!(!of_many.is_over_limit(), "{alpha}");
    }
    let of = |bursts, lasts| Baseline { bursts, lasts, ..steady() };
    let after = |day: Baseline| over_after(start(Some(&day)), worst.0, worst.1);
    assert_eq!(after(of(0.03, 1)), Some(4), "frequent bursts come together");
    assert_eq!(after(of(0.001, 5)), Some(6), "what five periods say counts once");
    assert_eq!(over_after(start(None), worst.0, worst.1), Some(6), "nobody knows how long");
}

#[test]
fn a_catastrophe_unlike_any_of_the_day_decides_alone() {
    let over = |day: Baseline, errors| {
        over_after(start(Some(&day)), counts(9000, 9), counts(1000, errors))
    };
    assert_eq!(over(steady(), 500), Some(1));
    assert_eq!(over(steady(), 300), Some(2), "less than a third");
    let short = Baseline { stretches: 100, ..steady() };
    assert_eq!(over(short, 500), Some(6), "too short to know bursts");
    let had_worse = Baseline { worst_rate: 0.6, ..steady() };
    assert_eq!(over(had_worse, 500), Some(2), "the old side had worse");
    let mut without_control = start(Some(&steady()));
    without_control.see(counts(0, 0), counts(1000, 1000));
    assert!(!without_control.is_over(), "yesterday alone never decides in one period");
}

#[test]
fn a_fault_that_comes_and_goes_adds_up() {
    let mut e = start(None);
    let over = (1..=60).find(|period| {
        e.see(counts(45_000, 45), counts(15_000, if period % 5 == 0 { 750 } else { 15 }));
        e.is_over()
    });
    assert!(over.is_some_and(|period| period <= 25), "{over:?}");
}

#[test]
fn an_incident_that_the_old_side_shows_a_period_later_or_earlier_is_excused() {
    let (fine, bad) = (0.001, 0.2);
    for (old, new) in [
        ([fine, bad, bad, fine], [bad, bad, fine, fine]),
        ([bad, bad, fine, fine], [fine, bad, bad, fine]),
    ] {
        let mut e = start(Some(&steady()));
        for (old, new) in old.into_iter().zip(new) {
            e.see(counts(54_000, to_count(54_000.0 * old)), counts(6_000, to_count(6_000.0 * new)));
            assert!(!e.is_over());
        }
        assert!(e.log_e() < 0.5, "{}", e.log_e());
    }
}

#[test]
fn errors_that_the_old_side_lacks_have_changed_sides() {
    let moved = |both: bool| {
        let mut e = start(Some(&steady()));
        for period in 0..40 {
            let are_new = period % 4 > 1;
            let old = if are_new && both { 27 } else { 147 };
            e.see(counts(54_000, old), counts(6_000, if are_new { 123 } else { 3 }));
        }
        e
    };
    assert!(!moved(true).is_over(), "both together fail as they always did");
    assert!(moved(false).is_over());
}

#[test]
fn errors_that_are_counted_late_belong_to_the_requests_of_the_period_before() {
    let late = |is_late: bool| {
        let mut e = start(Some(&steady()));
        for _ in 0..10 {
            e.see(counts(57_000, 1140), counts(3_000, if is_late { 0 } else { 60 }));
            e.see(counts(59_940, 1140), counts(60, 60));
            e.see(counts(59_940, 1200), counts(60, if is_late { 0 } else { 60 }));
        }
        e.is_over()
    };
    assert!(!late(true));
    assert!(late(false));
}

#[test]
fn without_the_old_side_the_new_one_is_compared_with_the_ramp() {
    let after = |periods: usize, rate_in_ramp: f64, rate: f64, day: Option<&Baseline>| {
        let mut e = start(day);
        let errors = |rate: f64| to_count(30_000.0 * rate);
        for _ in 0..periods {
            e.see(counts(30_000, errors(rate_in_ramp)), counts(30_000, errors(rate_in_ramp)));
        }
        over_after(e, Counts::default(), counts(30_000, errors(rate)))
    };
    assert_eq!(after(20, 0.001, 0.049, None), Some(6));
    assert_eq!(after(20, 0.001, 0.049, Some(&steady())), Some(2));
    assert_eq!(after(20, 0.005, 0.005, Some(&steady())), None, "whatever yesterday was");
    assert_eq!(after(0, 0.0, 0.049, None), None, "there is nothing to compare with");
    assert!(
        after(0, 0.0, 0.049, Some(&steady())).is_some(),
        "but for the day, if it is all there is"
    );
}

#[test]
fn the_limit_acts_where_the_odds_are_beyond_the_tolerated_ones_as_well() {
    let over = |old: Counts, new: Counts| {
        let mut e = start(Some(&steady()));
        (1..=100).find(|_| {
            e.see(old, new);
            e.is_over_limit()
        })
    };
    assert_eq!(over(counts(0, 0), counts(1000, 80)), Some(2));
    assert_eq!(over(counts(10_000, 499), counts(1000, 62)), None, "odds of 1.26");
    assert_eq!(over(counts(60, 18), counts(240, 72)), None, "both at 30 %");
    assert_eq!(over(counts(200, 80), counts(53_800, 16_140)), Some(2), "stragglers");
    assert_eq!(over(counts(0, 0), counts(1000, 50)), None, "the limit itself");
}

#[test]
fn a_fault_of_both_sides_is_none_of_the_new_one() {
    for baseline in [None, Some(steady())] {
        let e = start(baseline.as_ref());
        assert_eq!(over_after(e, counts(9000, 4500), counts(1000, 500)), None);
    }
}

#[test]
fn a_fault_that_begins_late_is_found_in_a_few_periods() {
    let mut e = start(None);
    for _ in 0..100 {
        e.see(counts(90_000, 90), counts(10_000, 10));
    }
    assert!(e.log_e() < 0.0);
    assert!(over_after(e, counts(90_000, 90), counts(10_000, 100)) <= Some(6));
}

#[test]
fn the_run_begins_where_the_evidence_does() {
    let mut e = start(None);
    for _ in 0..20 {
        e.see(counts(90_000, 90), counts(10_000, 10));
    }
    for _ in 0..3 {
        e.see(counts(90_000, 90), counts(10_000, 100));
    }
    let run = Run { old: counts(270_000, 270), new: counts(30_000, 300), periods: 3 };
    assert_eq!(e.run(), run);
}

#[test]
fn rates_that_wander_make_a_period_count_for_less() {
    let wandering = Baseline { wander: 0.5, stretches: 300, ..steady() };
    let gained = |baseline: &Baseline| {
        let mut e = start(Some(baseline));
        e.see(counts(90_000, 90), counts(10_000, 30));
        e.log_e()
    };
    let steady = Baseline { wander: 0.0, ..wandering };
    assert!(gained(&wandering) < gained(&steady));
    let needed = |day: &Baseline| {
        let mut e = start(Some(day));
        e.see(counts(90_000, 90), counts(10_000, 10));
        e.log_needed(3.0)
    };
    assert!(needed(&wandering) > 2.0 * needed(&steady), "and more of them are needed");
}

#[test]
fn a_side_without_requests_tells_nothing() {
    let mut e = start(None);
    e.see(counts(1000, 1000), counts(0, 0));
    e.see(counts(0, 0), counts(1000, 1000));
    assert!(e.log_e().abs() < 1e-12);
}

#[test]
fn however_much_evidence_gathers_it_stays_a_number_and_stays_over() {
    for alpha in [0.5, 0.01, 1e-6] {
        let mut e = EProcess::new(Test { alpha, ..TEST }, 0.05, None);
        let mut over = false;
        for period in 0..600 {
            e.see(counts(54_000, 54), counts(6_000, 6_000));
            over |= e.is_over();
            assert!(e.log_e().is_finite() && e.is_over() == over, "{alpha} {period}");
        }
        assert!(over);
    }
}

#[test]
fn what_is_usual_bounds_a_bet_and_what_warms_up_counts_once() {
    let see = |e: &mut EProcess, usual_rate, is_warming| {
        let known = Known { usual_rate, is_warming, ..Known::default() };
        e.see_beside(counts(9000, 9), counts(1000, 300), known);
    };
    let twice = |usual_rate, is_warming| {
        let mut e = start(Some(&steady()));
        see(&mut e, usual_rate, is_warming);
        see(&mut e, usual_rate, is_warming);
        e
    };
    assert!(twice(None, false).is_over() && twice(Some(0.01), false).is_over());
    assert!(twice(Some(0.5), false).log_e() < 0.0, "half of them are usual");
    let mut warming = twice(None, true);
    assert!(!warming.is_over());
    see(&mut warming, None, false);
    assert!(warming.is_over());
}

#[test]
fn no_more_periods_are_looked_at_than_a_check_reads() {
    let mut e = start(None);
    for _ in 0..1000 {
        e.see(counts(9000, 9), counts(1000, 1));
    }
    assert_eq!(e.periods.len(), CLOUDWATCH.periods_per_check as usize);
}

proptest! {
    /// Whatever was counted, e is a number. And one more error of the new side in a period speaks against it.
    #[test]
    fn errors_of_the_new_side_speak_against_it(
        periods in prop::collection::vec(
            (0_u64..10_000_000, 0_u64..=100, 0_u64..10_000_000, 0_u64..=100), 1..6
        ),
        bursty in any::<bool>(), with_baseline in any::<bool>(),
    ) {
        let part = |requests, percent| Counts { requests, errors: requests * percent / 100 };
        let day = Baseline { bursts: if bursty { 0.1 } else { 0.0 }, ..steady() };
        let day = with_baseline.then_some(&day);
        let mut e = start(day);
        for (n, x, m, y) in periods {
            let (old, new) = (part(n, x), part(m, y));
            e.see(old, new);
            prop_assert!(!e.log_e().is_nan() && e.log_e() < f64::INFINITY);
            let of = |new: Counts| {
                let mut e = start(day);
                e.see(old, new);
                e.log_e()
            };
            let worse = Counts { errors: (new.errors + 1).min(new.requests), ..new };
            prop_assert!(of(worse) >= of(new) - 1e-9, "{} {}", of(worse), of(new));
        }
    }
}
