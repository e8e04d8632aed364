//! `cargo lab-bench`: what a cutover costs, as the tables of the README.

mod calls;
mod cold_start;
mod memory;
mod program;
mod stubs;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use lab::error::LabError;
use serde_json::json;

/// Counts the AWS calls of the functions and measures their cold starts; with --only memory (as root), measures
/// their time and peak memory at several memory sizes.
#[derive(Parser)]
#[command(bin_name = "cargo lab-bench", version)]
struct Arguments {
    /// Measure only this; memory is measured only when named here
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Number of starts of each program
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Exit with code 1 when a cold start misses a target
    #[arg(long)]
    check: bool,
    /// Write all measurements into this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Calls,
    ColdStart,
    Memory,
}

/// More calls than the formulas say, or with `--check` a missed target.
const MISSED: u8 = 1;
/// The benchmark could not run.
const BROKEN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Measures and prints; tells whether all is as it should be.
async fn measure(arguments: &Arguments) -> Result<bool, LabError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let say = |what: &str| eprintln!("{what}");
    let mut well = true;
    let (mut counted, mut started, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    if wanted(Part::Calls) {
        counted = calls::measure(&root, say).await?;
        println!("{}", calls::tables(&counted));
        for broken in counted.iter().filter_map(calls::Row::broken) {
            well = false;
            println!("{broken}");
        }
    }
    if wanted(Part::ColdStart) {
        started = cold_start::measure(&root, arguments.runs, say).await?;
        println!("{}", cold_start::table(&started));
        for missed in cold_start::missed(&started) {
            well &= !arguments.check;
            println!("{missed}");
        }
    }
    // Only when asked for: it needs a control group, and takes a quarter of an hour.
    if arguments.only == Some(Part::Memory) {
        taken = memory::measure(&root, say).await?;
        println!("{}", memory::table(&taken));
    }
    if let Some(file) = &arguments.json {
        let all = json!({"calls": counted, "cold_start": started, "memory": taken});
        std::fs::write(file, format!("{all:#}\n"))
            .map_err(|error| LabError::io(format!("write {}", file.display()), error))?;
    }
    Ok(well)
}
