//! `cargo simulate`: every decision rule on the same simulated traffic. Nothing here calls AWS.

mod rules;
mod simulate;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use simulate::claims::Claim;
use simulate::{Cell, Grid, KindCell, Runs, claims, pictures, report};

/// Compare decision rules on the same simulated traffic
///
/// Exit code: 0, or 1 when --check finds that a claim does not hold.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo simulate", version, max_term_width = 100)]
struct Arguments {
    /// Which scenes (traffic, error rates, resolvers, bursts) to play
    #[arg(long, value_enum, default_value_t = Grid::Fast)]
    grid: Grid,
    /// Runs of each bad cell (one scene with one fault of the new side)
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Runs of each scene with two equally good sides
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    equal_runs: u32,
    /// Seed for everything that is random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write evidence.md, its pictures and cells.csv into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Exit with code 1 when a claim does not hold
    #[arg(long)]
    check: bool,
    /// Runs of each other kind of traffic; 0 leaves them out
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    kind_runs: u32,
    /// Print every cell as JSON instead of the claims
    #[arg(long)]
    json: bool,
}

/// Exit code when a claim does not hold.
const CLAIM_FAILED: u8 = 1;
/// Exit code of bad input and of files that cannot be written.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(CLAIM_FAILED),
        Err(why) => {
            // Nobody is left to tell when standard error is closed as well.
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::from(REFUSED)
        }
    }
}

/// Plays the scenes, writes the report and prints the claims; false when one had to hold and does not.
fn compare(arguments: &Arguments) -> Result<bool, String> {
    if let Some(out) = &arguments.out {
        // Before minutes are spent on what could not be written.
        std::fs::create_dir_all(out)
            .map_err(|error| format!("Could not make {}: {error}", out.display()))?;
    }
    let (cells, kinds) = play(arguments);
    if let Some(out) = &arguments.out {
        write_report(&cells, &kinds, arguments, out)?;
    }
    let claims = claims::claims(&cells, &kinds);
    say(&if arguments.json { to_json(&cells)? } else { list(&claims) })?;
    let holds = claims.iter().all(|claim| claim.holds || !claim.expected);
    Ok(holds || !arguments.check)
}

/// Plays the scenes, and shows on a terminal how many are done.
fn play(arguments: &Arguments) -> (Vec<Cell>, Vec<KindCell>) {
    let shown = io::stderr().is_terminal();
    let show = |done, of| {
        if shown {
            // A terminal that is gone is shown nothing more.
            let _ = write!(io::stderr(), "\r{done} of {of} scenes");
        }
    };
    let cells = simulate::play(&arguments.grid.scenes(), arguments.runs(), arguments.seed, &show);
    let kinds = match arguments.kind_runs {
        0 => Vec::new(),
        runs => simulate::play_kinds(runs, arguments.seed, &show),
    };
    if shown {
        let _ = writeln!(io::stderr());
    }
    (cells, kinds)
}

fn write_report(
    cells: &[Cell],
    kinds: &[KindCell],
    arguments: &Arguments,
    out: &Path,
) -> Result<(), String> {
    let report = report::markdown(cells, kinds, arguments.runs(), &arguments.command(out));
    let table = report::csv(cells).map_err(|error| format!("Could not write: {error}"))?;
    for (name, text) in [
        ("evidence.md", report.into_bytes()),
        ("evidence-false.svg", pictures::false_roll_backs(cells).into_bytes()),
        ("evidence-failed.svg", pictures::failed_requests(cells).into_bytes()),
        ("evidence-cells.svg", pictures::cells(cells).into_bytes()),
        ("cells.csv", table),
    ] {
        let path = out.join(name);
        std::fs::write(&path, text)
            .map_err(|error| format!("Could not write {}: {error}", path.display()))?;
    }
    Ok(())
}

impl Arguments {
    const fn runs(&self) -> Runs {
        Runs { equal: self.equal_runs, faulty: self.runs }
    }

    /// What makes the report again.
    fn command(&self, out: &Path) -> String {
        let grid = self.grid.to_possible_value();
        format!(
            "cargo simulate --grid {} --runs {} --equal-runs {} --kind-runs {} --seed {} --out {}",
            grid.as_ref().map_or("fast", |value| value.get_name()),
            self.runs,
            self.equal_runs,
            self.kind_runs,
            self.seed,
            out.display()
        )
    }
}

/// Lists each claim in a line, with what was measured.
fn list(claims: &[Claim]) -> String {
    let mut out = String::new();
    for Claim { text, measured, holds, .. } in claims {
        let holds = if *holds { "holds" } else { "FAILS" };
        // Writing to a `String` never fails.
        let _ = writeln!(out, "{holds}: {text}: {measured}");
    }
    out
}

fn to_json(cells: &[Cell]) -> Result<String, String> {
    let json = serde_json::to_string_pretty(cells);
    json.map(|json| json + "\n").map_err(|error| format!("Could not write JSON: {error}"))
}

/// Prints. A reader that has seen enough (`| head`) is no failure.
fn say(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("Could not print: {error}"))
        }
        _ => Ok(()),
    }
}
