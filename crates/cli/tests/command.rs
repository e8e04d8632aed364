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
