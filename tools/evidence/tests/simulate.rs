//! `cargo simulate` as people call it: its claims, its report, its exit codes.

#![expect(clippy::expect_used, reason = "a helper that cannot go on has no test to go on with")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evidence"));
    command.args(arguments).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The claims of `docs/evidence.md`, on an eighth of the scenes and on the other kinds of traffic.
#[test]
fn the_claims_of_the_simulation_hold() {
    let played = simulate(&["--runs", "30", "--equal-runs", "150", "--kind-runs", "30", "--check"]);
    let said = text(&played.stdout);
    assert_eq!(played.status.code(), Some(0), "{said}{}", text(&played.stderr));
    assert!(said.lines().filter(|line| line.starts_with("holds: ")).count() >= 6, "{said}");
}

#[test]
fn the_simulation_gives_the_same_for_the_same_seed_and_writes_its_report() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("evidence");
    let out = directory.to_str().expect("a path");
    let play = |seed: &str| {
        let few = ["--runs", "1", "--equal-runs", "1", "--json"];
        let played = simulate(&[&few[..], &["--out", out, "--seed", seed]].concat());
        assert_eq!(played.status.code(), Some(0), "{}", text(&played.stderr));
        text(&played.stdout)
    };
    let once = play("3");
    assert_eq!(once, play("3"));
    assert_ne!(once, play("4"));
    for name in ["evidence-false.svg", "evidence-failed.svg", "evidence-cells.svg"] {
        let svg = fs::read_to_string(directory.join(name)).expect("a picture");
        chart::check(&svg).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    let csv = fs::read_to_string(directory.join("cells.csv")).expect("a table");
    assert_eq!(csv.lines().count(), 1 + 13 * (128 + 896));
    let report = fs::read_to_string(directory.join("evidence.md")).expect("a report");
    assert!(report.contains("--seed 4") && report.contains("| cutover | "));
}

#[test]
fn a_number_of_runs_that_cannot_be_played_is_refused() {
    for refused in [["--runs", "0"], ["--equal-runs", "100001"], ["--grid", "half"]] {
        let said = simulate(&refused);
        assert_eq!(said.status.code(), Some(2), "{refused:?}");
        assert!(text(&said.stderr).contains(refused[0]), "{refused:?}");
    }
}
