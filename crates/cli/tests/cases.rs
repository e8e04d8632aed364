//! Series in which something is wrong that a comparison of failed requests alone does not see, each judged as it
//! should be. Unless it says otherwise, a day of a fine old side comes first.

#![expect(clippy::expect_used, reason = "a helper that cannot go on has no test to go on with")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const HEALTHY: i32 = 0;
const REGRESSED: i32 = 3;
const NOT_ENOUGH_DATA: i32 = 4;

/// What the command says of a file, and its exit code.
fn judge(path: &str, policy: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.args(["judge", path]);
    if let Some(policy) = policy {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cases-policy.json");
        fs::write(&file, policy).expect("the test's directory can be written");
        command.arg("--policy").arg(file);
    }
    let output = command.output().expect("the command starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

#[test]
fn every_case_is_judged_as_it_should_be() {
    let latency = Some(r#"{"latency_target_s": 0.5}"#);
    let table = [
        // Ten fine minutes at 10 %, then every request fails on both sides: no step is passed on it.
        (
            "shared_total_outage_after_shift",
            None,
            NOT_ENOUGH_DATA,
            "both sides are over the 5 % limit",
        ),
        // At 100 %, 200 stragglers a minute fail at 40 % on the old side, 16,000 requests on the new one.
        ("old_stragglers_excuse", None, REGRESSED, "failed"),
        ("old_stragglers_none", None, REGRESSED, "failed"),
        // One bad minute yesterday excuses a minute, not 25.
        ("yesterday_raises_limit_100", None, REGRESSED, "30 % of 108,000 requests failed"),
        ("yesterday_fine_100", None, REGRESSED, "failed"),
        // Two minutes of traffic on the new side, then none for half an hour.
        ("traffic_then_none", None, NOT_ENOUGH_DATA, "nothing is known of now"),
        // At 100 %, without a day before, every request is slow.
        ("slow_at_100_no_day", latency, REGRESSED, "took over 0.5 s"),
        // The old side's slow requests are not counted, all of the new side's are slow.
        ("slow_missing_old", latency, REGRESSED, "took over 0.5 s"),
        // One cold minute of the new side, then as good as the old one.
        ("cold_start_one_minute", None, HEALTHY, "latency not judged"),
        // The old side still gets more than a third at the end.
        (
            "completed_with_37_percent_on_old",
            None,
            HEALTHY,
            "the old side still gets 37.04 % of the requests",
        ),
        // Half of the intended requests never arrive.
        ("half_refused", None, REGRESSED, "requests vanish on the way"),
        // As CloudWatch's console and its API give them: too few requests, but no bad input.
        ("floats", None, HEALTHY, "healthy"),
        ("descending", None, NOT_ENOUGH_DATA, "20 of the 100 requests needed"),
        // One bad minute in the day before hides nothing of 45 % at 100 %.
        ("masked-by-one-bad-minute-small", None, REGRESSED, "failed"),
        // An incident of both sides reaches the new one 20 s earlier, and later on, with a day and without.
        ("shared-incident-new-20s-earlier", None, HEALTHY, "healthy"),
        ("shared-incident-no-day", None, HEALTHY, "healthy"),
        // Both sides together fail as they always did: bots behind one resolver have changed sides.
        ("bots-move-between-sides", None, HEALTHY, "healthy"),
        // One minute in five at 5 %: over all, ten times as many as on the old side.
        ("intermittent-1-in-5-at-5pct-no-day", None, REGRESSED, "failed"),
        // At 100 %, the old side's minutes of this ramp are what the new one is compared with.
        ("no-day-blind-at-100pct", None, REGRESSED, "failed"),
        ("rate-that-both-sides-share-at-100pct", None, HEALTHY, "healthy"),
        // Never a failure in 58,000 requests, then one in 40.
        ("quiet-service-has-no-day", None, REGRESSED, "failed"),
        // Over the limit, but within what is tolerated beside the old side, which is just below it.
        ("limit-within-tolerated-odds", None, HEALTHY, "healthy"),
        // Both sides at 30 %, of few requests.
        ("limit-thin-old-side", None, NOT_ENOUGH_DATA, "both sides are over the 5 % limit"),
        // An incident of both sides, of which two periods of the old one are missing.
        (
            "gap-of-old-is-read-as-100pct",
            None,
            NOT_ENOUGH_DATA,
            "both sides are over the 5 % limit",
        ),
        // Errors are counted with the requests of the minute after.
        ("errors-counted-a-minute-later", None, HEALTHY, "healthy"),
        // Ten times as many in the last hour of seven.
        ("late-fault-after-240-periods", None, REGRESSED, "failed"),
        ("two-to-the-53", None, HEALTHY, "e = "),
    ];
    for (name, policy, wanted, sentence) in table {
        let path = format!("{}/tests/data/{name}.csv", env!("CARGO_MANIFEST_DIR"));
        let (code, said) = judge(&path, policy);
        assert_eq!(code, Some(wanted), "{name}: {said}");
        assert!(said.contains(sentence), "{sentence:?} is not in what is said of {name}:\n{said}");
    }
}

/// Minutes in which the new side gets a tenth of 6,000 requests and refuses some.
fn refused(new: u64) -> String {
    let rows = (0..30).map(|minute| format!("\n{},5400,5,600,1,54,{new}", 60 * minute));
    let header =
        "period_start,requests_old,errors_old,requests_new,errors_new,refused_old,refused_new";
    header.to_owned() + &rows.collect::<String>()
}

#[test]
fn a_new_side_that_answers_4xx_to_everything_goes_back() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cases-refused.csv");
    let of = |new: u64, policy: Option<&str>| {
        fs::write(&path, refused(new)).expect("the test's directory can be written");
        judge(path.to_str().expect("a path"), policy)
    };
    let (code, said) = of(600, None);
    assert_eq!(code, Some(REGRESSED), "{said}");
    assert!(said.contains("requests were answered 4xx"), "{said}");
    assert_eq!(of(30, None).0, Some(HEALTHY), "five times as many may be bots");
    let off = Some(r#"{"refused_tolerated_odds_ratio": "off"}"#);
    assert_eq!(of(600, off).0, Some(HEALTHY));
}
