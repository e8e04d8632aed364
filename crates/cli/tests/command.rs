//! The `cutover` command as people call it: what it prints, and its exit codes.

#![expect(clippy::expect_used, reason = "a helper that cannot go on has no test to go on with")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Calls the command with this standard input.
fn cutover(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cutover"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that refuses its arguments does not wait for the input.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A file of this test alone.
fn file(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("the test's directory can be written");
    path
}

/// A series of minutes: so many before the ramp, then those of the new side.
fn series(before: u32, new: &[(u64, u64)]) -> String {
    let before = (0..before).map(|_| "60000,60,0,0".to_owned());
    let since = new.iter().map(|(requests, errors)| format!("54000,54,{requests},{errors}"));
    let rows = (0..).zip(before.chain(since));
    let rows = rows.map(|(minute, row)| format!("{},{row}", 1_700_000_000 + 60 * minute));
    let header = "period_start,requests_old,errors_old,requests_new,errors_new".to_owned();
    [header].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_regression_is_told_with_its_numbers_and_the_rest_is_not_judged() {
    let judged = cutover(
        &["judge", "-"],
        &series(1440, &[(6000, 6), (6000, 300), (6000, 300), (6000, 300), (6000, 6)]),
    );
    assert_eq!(code(&judged), Some(3), "{}", text(&judged.stderr));
    let said = text(&judged.stdout);
    for part in [
        "2023-11-15T22:13:20Z       54,000    0.1 %        6,000    0.1 %     10 %",
        "2 more periods are not judged",
        "regressed after 3 period(s): new 5 % of 12,000 requests failed, old 0.1 % of 108,000; odds 52.6 times; \
         e = ",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

/// What the README shows.
#[test]
fn the_incident_of_the_readme_is_told_as_there() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/incident.csv");
    let readme = include_str!("../../../README.md");
    let judged = cutover(&["judge", path], "");
    assert_eq!(code(&judged), Some(3));
    let said = text(&judged.stdout);
    let last = said.lines().last().expect("a sentence");
    assert!(readme.contains(last), "{last}");
}

#[test]
fn a_day_before_the_ramp_lets_one_period_decide() {
    // The first two are its warm-up.
    let judged = cutover(&["judge", "-"], &series(1440, &[(6000, 6), (6000, 6), (6000, 3000)]));
    assert_eq!(code(&judged), Some(3));
    let said = text(&judged.stdout);
    assert!(said.starts_with("1,440 periods before the new side's first request are the baseline"));
    assert!(said.contains("regressed after 3 period(s)"), "{said}");
}

#[test]
fn exit_codes_tell_healthy_from_too_little_to_tell() {
    assert_eq!(code(&cutover(&["judge", "-"], &series(0, &[(6000, 6); 10]))), Some(0));
    assert_eq!(code(&cutover(&["judge", "-"], &series(0, &[(20, 0)]))), Some(4));
    let never = cutover(&["judge", "-"], &series(3, &[]));
    assert_eq!(code(&never), Some(4));
    assert!(text(&never.stdout).contains("the new side never had a request"));
}

#[test]
fn a_thin_step_is_held_and_taken_back_and_the_rest_is_not_judged() {
    let judged = cutover(&["judge", "-"], &series(0, &[(1, 0); 120]));
    assert_eq!(code(&judged), Some(3));
    let said = text(&judged.stdout);
    for part in [
        "2023-11-14T22:17:20Z       54,000    0.1 %            1      0 %      0 %      0.95  not enough data, held",
        "the step is held from 2023-11-14T22:18:20Z for 3600 s because it cannot be judged; then the traffic goes back",
        "55 more periods are not judged: the traffic would be back on the old side",
        "rolled back after 65 period(s): still not judged after 3600 s: 65 of the 100 requests needed",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert_eq!(said.matches("not enough data, held").count(), 60, "{said}");
    // Nothing is held while the step bakes.
    let baking = cutover(&["judge", "-", "--bake-s", "7200"], &series(0, &[(1, 0); 90]));
    assert_eq!(code(&baking), Some(4));
    assert!(!text(&baking.stdout).contains("held"), "{}", text(&baking.stdout));
}

#[test]
fn a_gap_in_the_series_ends_no_hold() {
    let thin = series(0, &[(1, 0); 10]);
    let later = format!("{thin}\n{},54000,54,6000,6", 1_700_000_000 + 60 * 100);
    let judged = cutover(&["judge", "-"], &later);
    assert_eq!(code(&judged), Some(3));
    let said = text(&judged.stdout);
    assert!(said.contains("rolled back after 10 period(s)"), "{said}");
}

#[test]
fn a_step_that_is_held_until_it_can_be_judged_goes_on() {
    let judged = cutover(&["judge", "-"], &series(0, &[(10, 0); 20]));
    assert_eq!(code(&judged), Some(0));
    let said = text(&judged.stdout);
    let held = "the step is held from 2023-11-14T22:18:20Z for 300 s because it cannot be judged; then it goes on";
    assert!(said.contains(held), "{said}");
}

#[test]
fn a_policy_may_go_on_without_data() {
    let policy = file("advance.json", r#"{"on_no_data": "advance", "hold_max_s": 600}"#);
    let policy = policy.to_str().expect("a path");
    let thin = series(0, &[(1, 0); 60]);
    let judged = cutover(&["judge", "-", "--json", "--policy", policy], &thin);
    assert_eq!(code(&judged), Some(4), "no verdict was healthy");
    let json: serde_json::Value = serde_json::from_slice(&judged.stdout).expect("JSON");
    assert_eq!(
        json["holds"],
        serde_json::json!([{
            "since": "2023-11-14T22:18:20Z", "until": "2023-11-14T22:28:20Z",
            "doubt": "unjudged", "end": "advanced",
        }])
    );
    assert_eq!((&json["not_judged"], &json["rolled_back_at"]), (&0.into(), &().into()));
}

/// Minutes of `(intended, old, new)`, without a failure.
fn ramp(minutes: &[(f64, u64, u64)]) -> String {
    let rows = (0..).zip(minutes).map(|(minute, (intended, old, new))| {
        format!("\n{},{old},0,{new},0,{intended}", 60 * minute)
    });
    "period_start,requests_old,errors_old,requests_new,errors_new,intended".to_owned()
        + &rows.collect::<String>()
}

#[test]
fn a_series_that_shifts_during_a_hold_is_judged_as_it_was_recorded() {
    let minutes =
        [[(0.0, 10, 0); 10].as_slice(), &[(0.1, 9, 1); 20], &[(0.5, 500, 500); 20]].concat();
    let judged = cutover(&["judge", "-"], &ramp(&minutes));
    assert_eq!(code(&judged), Some(0));
    let said = text(&judged.stdout);
    assert!(said.starts_with("10 periods before"), "{said}");
    // It has settled after a minute, and has baked five minutes later.
    let hold = "the step is held from 1970-01-01T00:16:00Z for 840 s because it cannot be judged; then the series \
                shifts, where cutover would hold: what follows is judged as recorded";
    assert!(said.contains(hold), "{said}");
    let verdict = |minute: &str| {
        let line = said.lines().find(|line| line.starts_with(minute)).expect("a period");
        line.rsplit("  ").next().map(|verdict| verdict.trim().to_owned())
    };
    let settles = "1970-01-01T00:30:00Z";
    assert_eq!(verdict(settles).as_deref(), Some("not enough data"), "of no step");
    assert_eq!(verdict("1970-01-01T00:31:00Z").as_deref(), Some("healthy"));
    // Somebody takes the traffic back: the step is over, and what was said of it stands.
    let back = [minutes, vec![(0.0, 1000, 0); 90]].concat();
    let judged = cutover(&["judge", "-"], &ramp(&back));
    assert_eq!(code(&judged), Some(0), "{}", text(&judged.stdout));
}

#[test]
fn the_last_step_waits_for_the_old_side() {
    let policy = file("old-share.json", r#"{"old_share_max": 0.01, "hold_max_s": 600}"#);
    let policy = policy.to_str().expect("a path");
    let series = ramp(&[[(0.0, 1000, 0); 10].as_slice(), &[(1.0, 100, 900); 30]].concat());
    let judged = cutover(&["judge", "-", "--policy", policy], &series);
    assert_eq!(code(&judged), Some(0));
    let said = text(&judged.stdout);
    let held = "for 600 s because the old side still gets more than old_share_max; then it goes on all the same";
    assert!(said.contains(held), "{said}");
}

#[test]
fn the_policy_is_that_of_a_request() {
    let tolerant =
        file("tolerant.json", r#"{"tolerated_odds_ratio": 100, "detectable_odds_ratio": 200}"#);
    let tolerant = tolerant.to_str().expect("a path");
    let tripled = series(0, &[(6000, 18); 30]);
    assert_eq!(code(&cutover(&["judge", "-"], &tripled)), Some(3));
    assert_eq!(code(&cutover(&["judge", "-", "--policy", tolerant], &tripled)), Some(0));
    let odd = file("odd.json", r#"{"alpha": 7, "colour": "green"}"#);
    let refused = cutover(&["judge", "-", "--policy", odd.to_str().expect("a path")], &tripled);
    assert_eq!(code(&refused), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("health.alpha is 7; allowed:") && said.contains("\"colour\""), "{said}");
}

#[test]
fn slow_requests_are_judged_when_the_policy_has_a_target() {
    let header = "period_start,requests_old,errors_old,requests_new,errors_new,slow_old,slow_new";
    let rows = (0..12).map(|at| format!("\n{},54000,54,6000,6,540,600", 60 * at));
    let csv = format!("{header}{}", rows.collect::<String>());
    let without = cutover(&["judge", "-"], &csv);
    assert_eq!(code(&without), Some(0));
    assert!(text(&without.stdout).contains("slow requests are not judged"));
    let target = file("target.json", r#"{"latency_target_s": 0.5}"#);
    let judged = cutover(&["judge", "-", "--policy", target.to_str().expect("a path")], &csv);
    assert_eq!(code(&judged), Some(3));
    assert!(text(&judged.stdout).contains("requests took over 0.5 s"), "{}", text(&judged.stdout));
}

#[test]
fn bad_input_is_refused_with_line_and_column_and_nothing_is_judged() {
    let csv =
        "period_start,requests_old,errors_old,requests_new,errors_new\n0,10,x,5,0\n60,1,2.5,5,0\n";
    let refused = cutover(&["judge", "-"], csv);
    assert_eq!((code(&refused), refused.stdout.len()), (Some(2), 0));
    let said = text(&refused.stderr);
    assert!(said.contains("line 2, errors_old: \"x\"; allowed:"), "{said}");
    assert!(said.contains("line 3, errors_old: \"2.5\"; allowed:"), "{said}");
    let missing = cutover(&["judge", "no-such-file"], "");
    assert_eq!(code(&missing), Some(2));
    assert!(text(&missing.stderr).contains("no-such-file"));
    assert_eq!(code(&cutover(&["judge"], "")), Some(2));
}

#[test]
fn the_same_as_json_and_as_a_picture() {
    let plot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plot.svg");
    let path = plot.to_str().expect("a path");
    let judged = cutover(
        &["judge", "-", "--json", "--plot", path],
        &series(1440, &[(6000, 300), (6000, 300), (6000, 300)]),
    );
    assert_eq!(code(&judged), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&judged.stdout).expect("JSON");
    assert_eq!(json["kind"], "regressed");
    assert_eq!(json["periods"].as_array().map(Vec::len), Some(3));
    assert_eq!((&json["baseline_periods"], &json["log10_limit"]), (&1440.into(), &2.0.into()));
    let svg = fs::read_to_string(&plot).expect("the picture was written");
    chart::check(&svg).expect("well-formed");
    assert!(svg.contains("cutover judge: regressed after 3 periods"));
    let unwritable =
        cutover(&["judge", "-", "--plot", "/no/such/directory/x.svg"], &series(0, &[(6000, 6)]));
    assert_eq!(code(&unwritable), Some(2));
    assert!(text(&unwritable.stderr).contains("Could not write /no/such/directory/x.svg"));
}

#[test]
fn a_plan_needs_no_aws() {
    let request =
        r#"{"new": "green", "ramp": {"canary": {"percent": 10, "bake_s": 600}}, "resolvers": 5}"#;
    let planned = cutover(&["plan", "-", "--hosts", "8", "--routes", "300"], request);
    assert_eq!(code(&planned), Some(0), "{}", text(&planned.stderr));
    let said = text(&planned.stdout);
    for part in [
        "300 route(s) to green in 2 step(s), 24 min 38 s if nothing holds one",
        "   1        0 s    10 %      90:10    2 min   10 min         80 %  7",
        "3 to write weights, a shift",
        "which takes 19 s, because the service takes only some changes a second",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let json = cutover(&["plan", "-", "--json"], request);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["steps"][0]["worst_percent"], 80.0);
    assert_eq!(json["steps"][0].get("hosts_needed"), None, "without --hosts");
    let rules =
        r#"{"new": "green", "router": {"alb": {"listener": "shop:443", "side_tag": "side"}}}"#;
    let planned = cutover(&["plan", "-", "--hosts", "8", "--routes", "40"], rules);
    assert_eq!(code(&planned), Some(0), "{}", text(&planned.stderr));
    let said = text(&planned.stdout);
    for part in ["      90:10    1 min    5 min         10 %  1", "40 to write weights, a shift"] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let refused = cutover(&["plan", "-"], r#"{"resolvers": 0}"#);
    assert_eq!(code(&refused), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("new is missing") && said.contains("resolvers is 0"), "{said}");
    let endless = r#"{"new": "green", "ramp": {"linear": {"step_percent": 0.5, "bake_s": 86400}}}"#;
    let refused = cutover(&["plan", "-"], endless);
    assert_eq!(code(&refused), Some(2));
    let said = text(&refused.stderr);
    assert!(
        said.contains("this ramp would write") && said.contains("an execution may take"),
        "{said}"
    );
    assert_eq!(code(&cutover(&["plan", "-"], "{")), Some(2));
}

#[test]
fn a_plan_that_nobody_can_judge_is_refused() {
    let requests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../core/tests/data/requests");
    for (name, status) in [("hold0", 2), ("blind", 2), ("lowtraffic_day", 0)] {
        let request = requests.join(name).with_extension("json");
        let planned = cutover(&["plan", request.to_str().expect("UTF-8")], "");
        assert_eq!(code(&planned), Some(status), "{name}");
        let said = text(&planned.stderr);
        assert_eq!(said.contains("can never be judged"), status == 2, "{name}: {said}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = cutover(&["completions", shell], "");
        assert_eq!(code(&script), Some(0));
        assert!(text(&script.stdout).contains("judge"), "{shell}");
    }
}
