//! What ARCHITECTURE.md calls an invariant and the compiler does not see.

#![expect(
    clippy::expect_used,
    reason = "a helper that cannot read the sources has no test to go on with"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file under a directory of the repository.
fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut ahead = vec![root().join(directory)];
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory can be listed");
            ahead.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

/// Every Rust file under a directory of the repository, with its code: comments are left out.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let code = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source is text");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        (path, code)
    };
    rust_files(directory).into_iter().map(code).collect()
}

fn assert_none_names(directory: &str, forbidden: &[&str]) {
    for (path, code) in sources(directory) {
        for name in forbidden {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn core_names_no_clock_no_environment_and_no_sdk() {
    assert_none_names(
        "crates/core/src",
        &[
            "::now(",
            "SystemTime",
            "Instant",
            "std::env",
            "env!(",
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "std::thread",
            "tokio",
            "async ",
            "aws_config",
            "aws_sdk_",
            "aws_smithy",
        ],
    );
}

/// Words of one service. `limits.rs` is the page of what services allow.
#[test]
fn core_knows_no_service_s_words() {
    let words = [
        "route 53",
        "zone",
        "record",
        "cname",
        "txt",
        "hosted",
        "target group",
        "target_group",
        "targetgroup",
        "load balancer",
        "load_balancer",
        "loadbalancer",
    ];
    for path in rust_files("crates/core/src") {
        if path.ends_with("limits.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source is text").to_lowercase();
        for (index, line) in text.lines().enumerate() {
            // The history of an execution records what happened; "recorded" is no record.
            let line = line.replace("recorded", "");
            let said = words.iter().find(|word| line.contains(*word));
            assert_eq!(said, None, "{}:{}", path.display(), index + 1);
        }
    }
}

#[test]
fn functions_name_no_sdk_type() {
    assert_none_names("functions", &["aws_config", "aws_sdk_", "aws_smithy"]);
}

#[test]
fn a_main_of_a_function_is_wiring() {
    for (path, _) in sources("functions") {
        if path.ends_with("src/main.rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            let lines = text.lines().count();
            assert!(lines < 80, "{} has {lines} lines", path.display());
        }
    }
}

/// The texts in quotes that stand where a problem gets its code.
fn problem_codes(code: &str) -> Vec<String> {
    let is_code =
        |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut codes = vec![];
    for call in ["Problem::new(", "Problem::of(", "Failure::invalid(", "code: \""] {
        for (at, _) in code.match_indices(call) {
            let arguments = code[at + call.len() - 1..].split(';').next().unwrap_or_default();
            // With a route before it, or alone; a code that is a variable has its text elsewhere.
            let first = arguments.split('"').nth(1).filter(is_code);
            codes.extend(first.map(str::to_owned));
        }
    }
    codes
}

#[test]
fn the_readme_lists_every_problem_code_and_no_other() {
    let mut made = BTreeSet::new();
    for (path, code) in ["crates", "functions"].into_iter().flat_map(sources) {
        let path = path.strip_prefix(root()).expect("a path of the repository");
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        if is_test || path.ends_with("tests.rs") {
            continue;
        }
        let product = code.split("#[cfg(test)]").next().unwrap_or_default();
        made.extend(problem_codes(product));
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is text");
    let table = readme.split("| code | what it says |").nth(1).expect("the README has the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let first_cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<String> = first_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, made);
}

#[test]
fn every_event_is_used_by_a_test() {
    let tests: Vec<String> = ["crates", "functions", "tests/src", "tests/tests"]
        .into_iter()
        .flat_map(sources)
        .map(|(_, code)| code)
        .collect();
    for entry in fs::read_dir(root().join("events")).expect("events can be listed") {
        let name = entry.expect("an entry can be read").file_name();
        let name = name.to_str().expect("a name in ASCII");
        if name == "README.md" {
            continue;
        }
        assert!(tests.iter().any(|code| code.contains(name)), "no test uses events/{name}");
    }
}
