//! The cost of a check: the verdicts of all routes, each over all periods, in one process. Failed and refused requests are
//! tested.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cutover_core::limits::CLOUDWATCH;
use cutover_core::{Baselines, Counts, Evidence, Health, Pair, Period, Series, judge};
use jiff::Timestamp;

/// Periods that a check looks back on.
const PERIODS: u32 = CLOUDWATCH.periods_per_check;

/// A route's evidence: 10 % of the requests on the new side, and errors that differ by route and period.
fn evidence(route: u64, requests: u64) -> Evidence<'static> {
    let periods = (0..i64::from(PERIODS)).map(|minute| {
        let jitter = (route * 31 + minute.unsigned_abs() * 17) % 7;
        let old = Counts { requests: requests * 9, errors: requests * 9 / 1000 + jitter };
        let new = Counts { requests, errors: requests / 1000 + jitter % 3 };
        Period {
            start: Timestamp::from_second(minute * 60).unwrap_or_default(),
            old: Some(old),
            new: Some(new),
            others: vec![Pair { old: Some(old), new: Some(new) }],
            ..Period::default()
        }
    });
    Evidence {
        periods: periods.collect(),
        settled_at: Some(Timestamp::UNIX_EPOCH),
        healthy_hosts_new: Some(3),
        ..Evidence::default()
    }
}

/// Grows with the routes: twice as many take twice as long.
fn routes(criterion: &mut Criterion) {
    let health = Health::default();
    let counts = vec![Some(Counts { requests: 60_000, errors: 60 }); 1440];
    let series = Series { refused: counts.clone(), counts, ..Series::default() };
    let day = Baselines::of(&series, 3, &health);
    let mut group =
        criterion.benchmark_group(format!("verdicts over {PERIODS} periods, by routes"));
    group.sample_size(20);
    for routes in [1_u64, 50, 125, 250] {
        let all: Vec<Evidence<'_>> = (0..routes).map(|route| evidence(route, 6_000)).collect();
        group.throughput(Throughput::Elements(routes));
        group.bench_with_input(BenchmarkId::from_parameter(routes), &all, |bencher, all| {
            bencher.iter(|| {
                let judged = all.iter().map(|one| judge(&health, one, 250, Some(&day)));
                judged.filter(|verdict| verdict.log10_e.is_some()).count()
            });
        });
    }
    group.finish();
}

/// Hardly grows with the traffic: large sums are not summed term by term.
fn traffic(criterion: &mut Criterion) {
    let health = Health::default();
    let mut group = criterion
        .benchmark_group(format!("one verdict over {PERIODS} periods, by requests a period"));
    for requests in [100_u64, 10_000, 1_000_000, 100_000_000] {
        let one = evidence(1, requests);
        group.bench_with_input(BenchmarkId::from_parameter(requests), &one, |bencher, one| {
            bencher.iter(|| judge(&health, one, 250, None).log10_e);
        });
    }
    group.finish();
}

criterion_group!(benches, routes, traffic);
criterion_main!(benches);
